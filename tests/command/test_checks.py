"""Arguments are held against their hints: what is refused is told by key, value and what it must be."""

from dataclasses import dataclass
from typing import Annotated, Any, Literal

import numpy as np
import pytest
import torch
from annotated_types import Ge

from rankpose.checks import Count, NotNegative, Positive, checked, fault, simple
from rankpose.errors import ConfigError

RANGE = Annotated[float, Ge(1)] | None


@pytest.mark.parametrize(
    ("hint", "right", "wrong"),
    [
        (int, [0, -3, np.int64(3)], {"few": "a whole number", 2.0: "a whole number", True: "a whole number"}),
        (float, [0, 1e-3, np.float32(2)], {"1": "a number", False: "a number", float("nan"): "a finite number"}),
        (bool, [True], {"maybe": "true or false", 1: "true or false"}),
        (int | None, [None, 2], {"all": "a whole number or null"}),
        (Literal["near", "far"], ["far"], {"any": "near or far", 1: "near or far"}),
        (Literal[1, -1], [-1], {2: "1 or -1"}),
        (Literal["all"] | int, ["all", 2], {"some": "all or a whole number"}),
        (Count, [1], {0: "at least 1", 2.5: "a whole number"}),
        (Positive, [1e-9, 1], {0: "above 0", "big": "a number"}),
        (NotNegative, [0], {-0.5: "at least 0"}),
        (RANGE, [None, 1, 1.4], {0.5: "at least 1 or null"}),
        (str, ["a"], {3: "a word"}),
    ],
)
def test_a_value_is_held_against_a_hint(hint, right, wrong):
    for value in right:
        assert fault(simple(hint, texts=True), value) is None
    for value, said in wrong.items():
        assert fault(simple(hint, texts=True), value) == said


@pytest.mark.parametrize("hint", [Any, object, str, str | int, list[int] | int, np.ndarray, dict[str, int], None])
def test_what_a_file_may_hold_in_another_way_is_left_to_who_takes_it(hint):
    assert simple(hint) is None


def test_a_number_or_an_object_is_a_number_in_a_file():
    assert simple(float | torch.Tensor) is float


@checked("data.", size="image_size")
def made(size: Count, share: NotNegative = 0.0, extra: object = None) -> float:
    return size * share


@checked()
@dataclass(frozen=True)
class Rule:
    zoom: Annotated[float, Ge(1)] = 1.0


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: made(0), "image_size=0: must be at least 1."),
        (lambda: made(size="big"), "image_size=big: must be a whole number."),
        (lambda: made(1, share=-1), "data.share=-1: must be at least 0."),
        (lambda: Rule("wide"), "zoom=wide: must be a number."),
        (lambda: Rule(zoom=0.5), "zoom=0.5: must be at least 1."),
    ],
)
def test_a_refusal_names_key_value_and_what_it_must_be(call, said):
    with pytest.raises(ConfigError) as error:
        call()
    assert str(error.value) == said


def test_what_is_right_is_taken_as_it_is():
    assert made(3, share=0.5, extra="anything") == 1.5
    assert Rule(2) == Rule(zoom=2.0)
    assert type(Rule(2).zoom) is int
    with pytest.raises(TypeError, match="unexpected keyword"):
        made(1, colour="red")
