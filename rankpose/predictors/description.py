"""What one must say about an ONNX file before its figures mean anything: its description, a YAML file.

    files: [model.onnx]        # beside the description; the outputs of several files are averaged
    input: image               # name of the model's input
    size: 224                  # side of the input, pixels
    colour: rgb                # rgb, bgr: the order of the input's channels; or grey: one channel
    layout: nchw               # nchw or nhwc
    pixels: {divide_by: 255, mean: [0.485, 0.456, 0.406], std: [0.229, 0.224, 0.225]}
                               # (pixel / divide_by - mean) / std, in the order of the channels; pixels are 0 to 255
    crop: {rule: hopenet}      # see rankpose.data.crop_rules, with the arguments of the rule
    output:                    # see rankpose.predictors.outputs, with the arguments of the kind
      kind: angles
      unit: degrees
      yaw: {name: pose, index: 0, sign: 1}
      pitch: {name: pose, index: 1, sign: 1}
      roll: {name: pose, index: 2, sign: 1}
    presence: {name: sure, index: 0, logit: true, min: 0.5}
                               # an output that says how sure it is of a face: below min there is no pose

All keys but `index`, `presence` and the arguments of a crop rule must be there: a wrong guess would give figures, and
wrong ones.
"""

from collections.abc import Mapping, Sequence
from dataclasses import MISSING, dataclass, fields, is_dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar

import numpy as np

from rankpose.checks import Count, Positive, checked, fault
from rankpose.data.crop_rules import CROP_RULES, CropRule
from rankpose.errors import ConfigError
from rankpose.predictors.outputs import OUTPUT_KINDS, OutputKind, Presence

T = TypeVar("T")


@checked()
@dataclass(frozen=True)
class Pixels:
    """How pixels of 0 to 255 become the model's input: `(pixel / divide_by - mean) / std`.

    `mean` and `std` are one number, or three in the order of the input's channels.
    """

    divide_by: Positive
    mean: float | Sequence[float]
    std: float | Sequence[float]

    def __post_init__(self) -> None:
        for key, value in (("mean", self.mean), ("std", self.std)):
            numbers = [value] if isinstance(value, str) or not isinstance(value, Sequence) else list(value)
            if len(numbers) not in (1, 3):
                raise ConfigError(f"{key}={value}: must be one number, or three.")
            for number in numbers:
                said = fault(Positive if key == "std" else float, number)
                if said is not None:
                    raise ConfigError(f"{key}={number}: must be {said}.")

    @property
    def unchanged(self) -> bool:
        """Whether pixels go in as they are."""
        return self.divide_by == 1 and not np.any(self.mean) and bool(np.all(np.asarray(self.std) == 1))


@checked()
@dataclass(frozen=True)
class OnnxDescription:
    """What an ONNX model takes and gives; the module says what each key means."""

    files: Sequence[Path]
    input: str
    size: Count
    colour: Literal["rgb", "bgr", "grey"]
    layout: Literal["nchw", "nhwc"]
    pixels: Pixels
    crop: CropRule
    output: OutputKind
    presence: Presence | None = None

    def __post_init__(self) -> None:
        for key in ("mean", "std"):
            value = getattr(self.pixels, key)
            if self.colour == "grey" and isinstance(value, Sequence) and len(value) == 3:
                raise ConfigError(f"pixels.{key}={value}: must be one number where colour is grey.")

    @property
    def channels(self) -> int:
        """Of the model's input."""
        return 1 if self.colour == "grey" else 3

    @property
    def names(self) -> tuple[str, ...]:
        """The model's outputs that are read."""
        more = () if self.presence is None else (self.presence.name,)
        return tuple(dict.fromkeys((*self.output.names, *more)))


def parse_description(content: Any, folder: Path = Path()) -> OnnxDescription:
    """A description from what its YAML holds.

    Args:
        content: mappings, lists, strings and numbers.
        folder: where relative `files` lie.

    Raises:
        ConfigError: opens with the key that is missing, unknown or has no such value.
    """
    if isinstance(content, Mapping):
        content = dict(content)
        if "files" in content:
            content["files"] = _files(content["files"], folder)
        if "crop" in content:
            content["crop"] = _choose(CROP_RULES, content["crop"], "rule", "crop")
        if "output" in content:
            content["output"] = _choose(OUTPUT_KINDS, _with_place(content["output"], folder), "kind", "output")
        if content.get("presence") is not None:
            content["presence"] = _fill(Presence, content["presence"], "presence")
    return _fill(OnnxDescription, content, "")


def _with_place(output: Any, folder: Path) -> Any:
    """An output whose mean face lies beside the description."""
    if isinstance(output, Mapping) and isinstance(output.get("mean_face"), str):
        return {**output, "mean_face": folder / output["mean_face"]}
    return output


def _files(value: Any, folder: Path) -> tuple[Path, ...]:
    names = list(value) if isinstance(value, Sequence) and not isinstance(value, str) else []
    if not names or not all(isinstance(name, str | Path) for name in names):
        raise ConfigError(f"files={value}: must be a list of one file or more.")
    return tuple(folder / name for name in names)


def _choose(choices: Mapping[str, type], content: Any, key: str, where: str) -> Any:
    """The class that `content[key]` names, made from the rest."""
    _check_mapping(content, where)
    if content.get(key) not in choices:
        raise ConfigError(f"{where}.{key}={content.get(key)}: must be one of {', '.join(choices)}.")
    return _fill(choices[content[key]], {name: value for name, value in content.items() if name != key}, where)


def _fill(cls: type[T], content: Any, where: str) -> T:
    """A dataclass from a mapping of its fields, and theirs."""
    _check_mapping(content, where)
    dot = f"{where}." if where else ""
    known = {field.name: field for field in fields(cls)}  # type: ignore[arg-type]
    unknown = next((key for key in content if key not in known), None)
    if unknown is not None:
        raise ConfigError(f"{dot}{unknown}: no such key; there are {', '.join(known)}.")
    missing = next((name for name, field in known.items() if field.default is MISSING and name not in content), None)
    if missing is not None:
        raise ConfigError(f"{dot}{missing}: is missing.")
    values = {
        name: _fill(known[name].type, value, dot + name)  # type: ignore[arg-type]
        if isinstance(known[name].type, type) and is_dataclass(known[name].type)
        else value
        for name, value in content.items()
    }
    try:
        return cls(**values)
    except ConfigError as error:
        raise ConfigError(f"{dot}{error}") from None


def _check_mapping(content: Any, where: str) -> None:
    if not isinstance(content, Mapping):
        raise ConfigError(f"{where or 'the description'}: must hold keys and values, not {content!r}.")
