"""Which models come with the package, and what is known of each: its card.

The weights lie in `rankpose/models/weights/NAME.safetensors`, the card beside them as `NAME.json`. A name stands for
its weights wherever a checkpoint is asked for (`rankpose.files.checkpoint_file`): `checkpoint=NAME` of
`rankpose.evaluate` and `rankpose.export`, `teacher=NAME` of `rankpose.label`, `load_net(NAME)`.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from rankpose.errors import CheckpointError, first_line
from rankpose.files import checkpoint_file, json_text, shipped_models


@dataclass(frozen=True)
class Card:
    """What must be known of a model before its poses mean anything."""

    name: str
    summary: str
    """In a sentence."""
    licence: str
    """What it may be used for."""
    trained_on: str
    """Data, number of images seen, labels."""
    command: str
    """What makes it again."""
    backbone: str
    input_pixels: int
    """Side of its input."""
    weights: int
    """How many it has."""
    sha256: str
    """Of the file of its weights."""
    figures: tuple[Mapping[str, Any], ...]
    """A protocol each: its name, images, scores in degrees, and the command that gives them."""

    def as_json(self) -> str:
        return json_text(asdict(self))


def read_card(name: str | Path) -> Card:
    """The card of a model, by its name or the file of its weights.

    Raises:
        CheckpointError: no such model, no card beside it, or one that cannot be read.
    """
    file = checkpoint_file(name).with_suffix(".json")
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        figures = tuple(content.pop("figures"))
        return Card(
            **{field.name: content[field.name] for field in fields(Card) if field.name != "figures"}, figures=figures
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"{file}: is no card of a model ({first_line(error)}).") from error


def list_models() -> list[Card]:
    """The cards of the models that come with the package."""
    return [read_card(name) for name in shipped_models()]
