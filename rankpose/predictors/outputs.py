"""What the numbers that a model gives mean: from its outputs to (yaw, pitch, roll) in the project's convention.

One class a kind of output; a model's description names it as `output.kind`. Numbers of one image may have any shape:
they are counted in the order in which they lie in memory. To add a kind, write one class here and name it in
`OUTPUT_KINDS`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import roma
import torch
from torch import Tensor

from rankpose.errors import ConfigError
from rankpose.pose import ANGLES, rotmat_to_euler

DIRECTIONS = {
    "right": (1.0, 0.0, 0.0),
    "left": (-1.0, 0.0, 0.0),
    "up": (0.0, 1.0, 0.0),
    "down": (0.0, -1.0, 0.0),
    "towards": (0.0, 0.0, 1.0),
    "away": (0.0, 0.0, -1.0),
}
"""Directions in the project's frame, as one who looks at the image sees them: towards and away from the viewer."""


class OutputKind(Protocol):
    """The interface of a kind of output."""

    @property
    def names(self) -> tuple[str, ...]:
        """The model's outputs that it reads."""
        ...

    def to_pose(self, outputs: Mapping[str, Tensor]) -> Tensor:
        """Outputs by name, each (N, ...), to (N, 3) yaw, pitch, roll in degrees, float32.

        Raises:
            ConfigError: an output has too few or too many numbers; the message opens with the key, without its parent.
        """
        ...

    @property
    def keys(self) -> Mapping[str, str]:
        """The key, without its parent, that is wrong where all angles are (`unit`) or one has the wrong sign."""
        ...


def _check_sign(sign: float) -> None:
    if sign not in (1, -1):
        raise ConfigError(f"sign={sign}: must be 1 or -1.")


@dataclass(frozen=True)
class Angle:
    """Where one angle is: the number at `index` of output `name`, times `sign`."""

    name: str
    sign: int
    index: int = 0

    def __post_init__(self) -> None:
        _check_sign(self.sign)
        if not isinstance(self.index, int) or self.index < 0:
            raise ConfigError(f"index={self.index}: must be a whole number, 0 for the first.")


@dataclass(frozen=True)
class AngleOutput:
    """Three angles, in `degrees` or `radians`; a sign of -1 turns one that counts the other way."""

    unit: str
    yaw: Angle
    pitch: Angle
    roll: Angle

    def __post_init__(self) -> None:
        if self.unit not in ("degrees", "radians"):
            raise ConfigError(f"unit={self.unit}: must be degrees or radians.")

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(getattr(self, angle).name for angle in ANGLES))

    def to_pose(self, outputs: Mapping[str, Tensor]) -> Tensor:
        pose = torch.stack([self._read(outputs, key) for key in ANGLES], dim=1)
        return torch.rad2deg(pose) if self.unit == "radians" else pose

    @property
    def keys(self) -> Mapping[str, str]:
        return {"unit": "unit", **{angle: f"{angle}.sign" for angle in ANGLES}}

    def _read(self, outputs: Mapping[str, Tensor], key: str) -> Tensor:
        angle: Angle = getattr(self, key)
        numbers = outputs[angle.name].float().flatten(1)
        if angle.index >= numbers.shape[1]:
            raise ConfigError(
                f"{key}.index={angle.index}: output {angle.name} has {numbers.shape[1]} numbers an image."
            )
        return angle.sign * numbers[:, angle.index]


@dataclass(frozen=True)
class Logits:
    """Where the scores of one angle's bins are: output `name`, its expectation times `sign`."""

    name: str
    sign: int

    def __post_init__(self) -> None:
        _check_sign(self.sign)


@dataclass(frozen=True)
class BinOutput:
    """HopeNet's bins: `angle = sum_i softmax(scores)_i (first + width i)` degrees; -99 and 3 in its 66 bins."""

    first: float
    width: float
    yaw: Logits
    pitch: Logits
    roll: Logits

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(getattr(self, angle).name for angle in ANGLES)

    def to_pose(self, outputs: Mapping[str, Tensor]) -> Tensor:
        return torch.stack([self._expectation(outputs, key) for key in ANGLES], dim=1)

    @property
    def keys(self) -> Mapping[str, str]:
        return {"unit": "width", **{angle: f"{angle}.sign" for angle in ANGLES}}

    def _expectation(self, outputs: Mapping[str, Tensor], key: str) -> Tensor:
        logits: Logits = getattr(self, key)
        scores = outputs[logits.name].float().flatten(1)
        if scores.shape[1] < 2:
            raise ConfigError(
                f"{key}.name={logits.name}: has {scores.shape[1]} number an image, bins need two or more."
            )
        centres = self.first + self.width * torch.arange(scores.shape[1]).to(scores)
        # not a matrix product, which autocast would do in half precision
        return logits.sign * (scores.softmax(dim=1) * centres).sum(dim=1)


@dataclass(frozen=True)
class _RotationOutput:
    """A rotation M, brought into the project's convention as `R = A M A^T`.

    M takes the head's axes to the camera's, both of which lie alike at zero pose. The columns of A are the model's x,
    y and z axis in the project's frame.

    Args:
        name: the model's output.
        transpose: whether the output is M transposed: the camera's axes to the head's.
        frame: where the model's x, y and z axis point, in words of `DIRECTIONS`: [right, up, towards] is the project's
            own frame, [right, down, away] that of most cameras and of BIWI.
    """

    name: str
    transpose: bool
    frame: Sequence[str]

    def __post_init__(self) -> None:
        if not isinstance(self.transpose, bool):
            raise ConfigError(f"transpose={self.transpose}: must be true or false.")
        words = [self.frame] if isinstance(self.frame, str) else list(self.frame)
        # the axes are unit vectors: they are orthogonal exactly where the determinant is 1 or -1
        if any(word not in DIRECTIONS for word in words) or len(words) != 3 or not abs(torch.det(self._axes())) == 1:
            raise ConfigError(
                f"frame={words}: must be three words, for x, y and z: right or left, up or down, towards or away."
            )

    @property
    def names(self) -> tuple[str, ...]:
        return (self.name,)

    def to_pose(self, outputs: Mapping[str, Tensor]) -> Tensor:
        # double: near +-90 degrees of yaw the angles of a float32 rotation are only good to 0.02 degrees
        rotation = self.to_rotmat(outputs[self.name].double().flatten(1))
        rotation = rotation.mT if self.transpose else rotation
        axes = self._axes().to(rotation)
        return rotmat_to_euler(axes @ rotation @ axes.T).float()

    @property
    def keys(self) -> Mapping[str, str]:
        return dict.fromkeys(("unit", *ANGLES), "frame")

    def to_rotmat(self, numbers: Tensor) -> Tensor:
        """(N, K) to (N, 3, 3) rotations."""
        raise NotImplementedError

    def _axes(self) -> Tensor:
        return torch.tensor([DIRECTIONS[word] for word in self.frame], dtype=torch.float64).T

    def _check_count(self, numbers: Tensor, count: int) -> None:
        if numbers.shape[1] != count:
            raise ConfigError(f"name={self.name}: has {numbers.shape[1]} numbers an image, it takes {count}.")


@dataclass(frozen=True)
class MatrixOutput(_RotationOutput):
    """A rotation matrix, row after row; one that is not quite a rotation is taken to the nearest (Procrustes)."""

    def to_rotmat(self, numbers: Tensor) -> Tensor:
        self._check_count(numbers, 9)
        rotation: Tensor = roma.special_procrustes(numbers.view(-1, 3, 3))
        return rotation


@dataclass(frozen=True)
class SixNumberOutput(_RotationOutput):
    """Two columns of a rotation, one after the other, made orthonormal by Gram-Schmidt (Zhou et al., CVPR 2019).

    A model whose six numbers are two rows gives the transposed rotation.
    """

    def to_rotmat(self, numbers: Tensor) -> Tensor:
        self._check_count(numbers, 6)
        rotation: Tensor = roma.special_gramschmidt(numbers.view(-1, 2, 3).mT)
        return rotation


OUTPUT_KINDS: dict[str, type] = {
    "angles": AngleOutput,
    "bins": BinOutput,
    "matrix": MatrixOutput,
    "six_numbers": SixNumberOutput,
}
"""The kinds by the names that a model's description uses."""
