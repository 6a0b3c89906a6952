"""What the numbers that a model gives mean: from its outputs to (yaw, pitch, roll) in the project's convention.

One class a kind of output; a model's description names it as `output.kind`. Numbers of one image may have any shape:
they are counted in the order in which they lie in memory. To add a kind, write one class here and name it in
`OUTPUT_KINDS`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar, Literal, Protocol

import numpy as np
import torch
from annotated_types import Ge
from torch import Tensor

from rankpose.checks import checked
from rankpose.errors import ConfigError
from rankpose.pose import ANGLES, rotmat_to_euler
from rankpose.pose.conventions import nearest_rotation
from rankpose.pose.decoding import (
    bins_to_angle,
    frame_axes,
    matrix_to_rotmat,
    quaternion_to_rotmat,
    six_numbers_to_rotmat,
)

_OF_TWO_ROWS = 7


@checked()
@dataclass(frozen=True)
class Presence:
    """How sure a model is that it sees a face: the number at `index` of output `name`.

    Where it is below `min`, the image has no pose. `logit` is true where the number is one before its sigmoid.
    """

    name: str
    min: float
    index: Annotated[int, Ge(0)] = 0
    logit: bool = False

    def seen(self, outputs: Mapping[str, Tensor]) -> Tensor:
        """(N,) whether there is a face."""
        numbers = outputs[self.name].float().flatten(1)
        if self.index >= numbers.shape[1]:
            raise ConfigError(f"index={self.index}: output {self.name} has {numbers.shape[1]} numbers an image.")
        sure = numbers[:, self.index]
        return (torch.sigmoid(sure) if self.logit else sure) >= self.min


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


Sign = Literal[1, -1]


@checked()
@dataclass(frozen=True)
class Angle:
    """Where one angle is: the number at `index` of output `name`, times `sign`."""

    name: str
    sign: Sign
    index: Annotated[int, Ge(0)] = 0


@checked()
@dataclass(frozen=True)
class AngleOutput:
    """Three angles, in `degrees` or `radians`; a sign of -1 turns one that counts the other way."""

    unit: Literal["degrees", "radians"]
    yaw: Angle
    pitch: Angle
    roll: Angle

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


@checked()
@dataclass(frozen=True)
class Logits:
    """Where the scores of one angle's bins are: output `name`, its expectation times `sign`.

    `first` is where these bins begin, where that is elsewhere than those of the other angles.
    """

    name: str
    sign: Sign
    first: float | None = None


@checked()
@dataclass(frozen=True)
class BinOutput:
    """HopeNet's bins, see `bins_to_angle`; -99 and 3 in its 66 bins. An angle may begin elsewhere (`yaw.first`)."""

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
        first = self.first if logits.first is None else logits.first
        return logits.sign * bins_to_angle(scores, first, self.width)


@dataclass(frozen=True)
class _FramedOutput:
    """Numbers about a frame of the model's own.

    Args:
        name: the model's output.
        frame: where the model's x, y and z axis point, as for `frame_axes`.
    """

    name: str
    frame: Sequence[str]

    def __post_init__(self) -> None:
        try:
            frame_axes(self.frame)
        except ValueError as error:
            raise ConfigError(str(error)) from None

    @property
    def names(self) -> tuple[str, ...]:
        return (self.name,)

    @property
    def keys(self) -> Mapping[str, str]:
        return dict.fromkeys(("unit", *ANGLES), "frame")

    def _pose(self, rotation: Tensor) -> Tensor:
        """(N, 3, 3), the head's axes to the camera's in the model's frame, to (N, 3) degrees."""
        axes = frame_axes(self.frame).to(rotation)
        return rotmat_to_euler(axes @ rotation @ axes.T).float()


@dataclass(frozen=True)
class _RotationOutput(_FramedOutput):
    """A rotation, brought into the project's convention (`frame_axes`).

    Args:
        transpose: whether the output is the rotation transposed: the camera's axes to the head's.
    """

    count: ClassVar[int]
    """Numbers an image."""
    transpose: bool

    def to_pose(self, outputs: Mapping[str, Tensor]) -> Tensor:
        # double: near +-90 degrees of yaw the angles of a float32 rotation are only good to 0.02 degrees
        numbers = outputs[self.name].double().flatten(1)
        if numbers.shape[1] != self.count:
            raise ConfigError(f"name={self.name}: has {numbers.shape[1]} numbers an image, it takes {self.count}.")
        rotation = self.to_rotmat(numbers)
        return self._pose(rotation.mT if self.transpose else rotation)

    def to_rotmat(self, numbers: Tensor) -> Tensor:
        """(N, count) to (N, 3, 3) rotations."""
        raise NotImplementedError


@checked()
@dataclass(frozen=True)
class MatrixOutput(_RotationOutput):
    """A rotation matrix, row after row; one that is not quite a rotation is taken to the nearest."""

    count = 9

    def to_rotmat(self, numbers: Tensor) -> Tensor:
        return matrix_to_rotmat(numbers)


@checked()
@dataclass(frozen=True)
class SixNumberOutput(_RotationOutput):
    """Two columns of a rotation, one after the other; a model whose numbers are two rows gives it transposed."""

    count = 6

    def to_rotmat(self, numbers: Tensor) -> Tensor:
        return six_numbers_to_rotmat(numbers)


@checked()
@dataclass(frozen=True)
class QuaternionOutput(_RotationOutput):
    """A quaternion of any length; `order` is xyzw or wxyz, for where its real part w stands."""

    count = 4
    order: Literal["xyzw", "wxyz"]

    def to_rotmat(self, numbers: Tensor) -> Tensor:
        return quaternion_to_rotmat(numbers.roll(-1, dims=1) if self.order == "wxyz" else numbers)


@checked()
@dataclass(frozen=True)
class LandmarkOutput(_FramedOutput):
    """Landmarks in three dimensions, onto which a mean face is laid (Procrustes, any size): its rotation is the pose.

    Args:
        name: the model's output, x, y, z of one landmark after the other, all in one unit.
        mean_face: the same landmarks of a face at zero pose, in any unit, in the project's frame (x right, y up, z
            towards the camera): rows of three numbers, or a text file of them.
    """

    mean_face: str | Path | Sequence[Sequence[float]]

    def __post_init__(self) -> None:
        super().__post_init__()
        face = self._face()
        if face.ndim != 2 or face.shape[1] != 3 or len(face) < 3 or not np.isfinite(face).all():
            raise ConfigError(f"mean_face: must be three landmarks or more of three numbers each, not {face.shape}.")

    def to_pose(self, outputs: Mapping[str, Tensor]) -> Tensor:
        numbers = outputs[self.name].double().flatten(1)
        face = torch.from_numpy(self._face()).to(numbers)
        if numbers.shape[1] != face.numel():
            raise ConfigError(
                f"name={self.name}: has {numbers.shape[1]} numbers an image, {len(face)} landmarks of mean_face are "
                f"{face.numel()}."
            )
        there = numbers.unflatten(1, (-1, 3)) @ frame_axes(self.frame).to(numbers).T
        # the nearest rotation to the covariance; the scale makes no difference to it
        centred, own = there - there.mean(dim=1, keepdim=True), face - face.mean(dim=0)
        return rotmat_to_euler(nearest_rotation(centred.mT @ own)).float()

    def _face(self) -> np.ndarray:
        if not isinstance(self.mean_face, str | Path):
            return np.asarray(self.mean_face, np.float64)
        try:
            return np.loadtxt(self.mean_face, dtype=np.float64, ndmin=2)
        except (OSError, ValueError) as error:
            raise ConfigError(f"mean_face={self.mean_face}: cannot be read as rows of numbers ({error}).") from None


@checked()
@dataclass(frozen=True)
class ScaledRowsOutput(_FramedOutput):
    """The two rows of a scaled rotation that stand among the numbers of a 3D morphable model's fit.

    3DDFA's networks (Guo et al., ECCV 2020) give a 3x4 matrix of scale, rotation and shift, row after row, before shape
    and expression, each number less its mean in training and over its deviation there. The rotation is of its first
    two rows: the third of so small a matrix says less than their product.

    Args:
        mean, std: of the model's first seven numbers, in its training set: two rows but the second's shift.
    """

    mean: Sequence[float]
    std: Sequence[float]

    def __post_init__(self) -> None:
        super().__post_init__()
        for key in ("mean", "std"):
            if len(getattr(self, key)) != _OF_TWO_ROWS:
                raise ConfigError(f"{key}: must be {_OF_TWO_ROWS} numbers, not {len(getattr(self, key))}.")

    def to_pose(self, outputs: Mapping[str, Tensor]) -> Tensor:
        numbers = outputs[self.name].double().flatten(1)
        if numbers.shape[1] < _OF_TWO_ROWS:
            raise ConfigError(
                f"name={self.name}: has {numbers.shape[1]} numbers an image, two rows are {_OF_TWO_ROWS} or more."
            )
        numbers = numbers[:, :_OF_TWO_ROWS] * numbers.new_tensor(self.std) + numbers.new_tensor(self.mean)
        # six numbers that are two rows give the transposed rotation
        return self._pose(six_numbers_to_rotmat(numbers[:, [0, 1, 2, 4, 5, 6]]).mT)


OUTPUT_KINDS: dict[str, type] = {
    "angles": AngleOutput,
    "bins": BinOutput,
    "matrix": MatrixOutput,
    "six_numbers": SixNumberOutput,
    "quaternion": QuaternionOutput,
    "landmarks": LandmarkOutput,
    "scaled_rows": ScaledRowsOutput,
}
"""The kinds by the names that a model's description uses."""
