"""From the numbers by which a network may say a pose to rotations and angles: for representations and predictors alike.

Numbers come in double or single precision and are computed in what they come in; all of these can be derived, so that
a network may learn through them.
"""

from collections.abc import Sequence

import roma
import torch
from torch import Tensor

from rankpose.pose.conventions import nearest_rotation

DIRECTIONS = {
    "right": (1.0, 0.0, 0.0),
    "left": (-1.0, 0.0, 0.0),
    "up": (0.0, 1.0, 0.0),
    "down": (0.0, -1.0, 0.0),
    "towards": (0.0, 0.0, 1.0),
    "away": (0.0, 0.0, -1.0),
}
"""Directions in the project's frame, as one who looks at the image sees them: towards and away from the viewer."""


def matrix_to_rotmat(numbers: Tensor) -> Tensor:
    """(..., 9), a matrix row after row, to (..., 3, 3): the rotation that is nearest to it (Procrustes)."""
    return nearest_rotation(numbers.unflatten(-1, (3, 3)))


def six_numbers_to_rotmat(numbers: Tensor) -> Tensor:
    """(..., 6), a rotation's first two columns, to (..., 3, 3): orthonormal by Gram-Schmidt (Zhou et al., CVPR 2019).

    Six numbers that are two rows give the transposed rotation.
    """
    rotation: Tensor = roma.special_gramschmidt(numbers.unflatten(-1, (2, 3)).mT)
    return rotation


def quaternion_to_rotmat(numbers: Tensor) -> Tensor:
    """(..., 4), a quaternion (x, y, z, w) of any length and either sign but zero, to (..., 3, 3)."""
    rotation: Tensor = roma.unitquat_to_rotmat(roma.quat_normalize(numbers))
    return rotation


def bins_to_angle(scores: Tensor, first: float, width: float) -> Tensor:
    """HopeNet's bins, (..., K) scores to (...,) degrees: `sum_i softmax(scores)_i (first + width i)` (CVPRW 2018).

    Args:
        scores: of the bins, before softmax.
        first, width: what the first bin stands for, and how far apart bins are, degrees: -99 and 3 in HopeNet's 66.
    """
    centres = first + width * torch.arange(scores.shape[-1]).to(scores)
    # not a matrix product, which autocast would do in half precision
    return (scores.softmax(dim=-1) * centres).sum(dim=-1)


def frame_axes(directions: Sequence[str]) -> Tensor:
    """The matrix A whose columns are somebody's x, y and z axis in the project's frame; float64, on the CPU.

    A rotation M of theirs is `A M A^T` in the project's convention, where M takes the head's axes to the camera's and
    both lie alike at zero pose.

    Args:
        directions: three of `DIRECTIONS`: [right, up, towards] is the project's own frame, [right, down, away] that of
            most cameras and of BIWI.

    Raises:
        ValueError: other words, not three, or two along one line.
    """
    words = [directions] if isinstance(directions, str) else list(directions)
    if len(words) == 3 and all(word in DIRECTIONS for word in words):
        axes = torch.tensor([DIRECTIONS[word] for word in words], dtype=torch.float64).T
        # of unit vectors along the axes: orthogonal exactly where the determinant is 1 or -1
        if abs(torch.det(axes)) == 1:
            return axes
    raise ValueError(f"frame={words}: must be three words, for x, y and z: right or left, up or down, towards or away.")
