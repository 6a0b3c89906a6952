"""How far is a predicted pose from the true one? Errors of an image, degrees."""

import roma
import torch
from torch import Tensor

from rankpose.pose import euler_to_rotmat, wrap_angle

AXES = ("left", "down", "front")
"""The head's axes: to its own left, to its chin, out of its face.

They are the columns of TriNet's rotation (Cao, Chu, Liu, Chen: A Vector-based Representation to Enhance Head Pose
Estimation, WACV 2021), whose frame has y down. They are the columns of ours as well: ours has y up, so that its second
column points to the crown, which turns by the same angle as its opposite.
"""


def angle_error(prediction: Tensor, target: Tensor) -> Tensor:
    """The absolute error of each angle. (N, 3) and (N, 3) degrees to (N, 3) in [0, 180].

    >>> angle_error(torch.tensor([[179.0, 0.0, 2.0]]), torch.tensor([[-179.0, 1.0, 0.0]]))
    tensor([[2., 1., 2.]])
    """
    return wrap_angle(prediction - target).abs()


def geodesic_error(prediction: Tensor, target: Tensor) -> Tensor:
    """The angle of the rotation between predicted and true head, `angle(R1^T R2)`. (N, 3) degrees to (N,) in [0, 180].

    >>> geodesic_error(torch.tensor([[30.0, 0.0, 0.0]]), torch.tensor([[0.0, 0.0, 0.0]])).round()
    tensor([30.])
    """
    # double: near 0 the angle of a float32 rotation is only good to 0.02 degrees
    first, second = euler_to_rotmat(prediction.double()), euler_to_rotmat(target.double())
    return torch.rad2deg(roma.rotmat_geodesic_distance(first, second)).to(prediction.dtype)


def axis_error(prediction: Tensor, target: Tensor) -> Tensor:
    """The angle between the predicted and the true position of each of the head's axes, `AXES`.

    Its mean over images is MAEV, the mean absolute error of vectors (TriNet, WACV 2021); unlike errors of Euler angles
    it does not grow without reason near yaw +-90. (N, 3) and (N, 3) degrees to (N, 3) in [0, 180].

    >>> axis_error(torch.tensor([[30.0, 0.0, 0.0]]), torch.tensor([[0.0, 0.0, 0.0]])).round().abs()
    tensor([[30.,  0., 30.]])
    """
    first, second = euler_to_rotmat(prediction.double()), euler_to_rotmat(target.double())
    # Kahan's angle between unit vectors: an arccos of their product loses half the digits near 0 and 180
    half = torch.atan2((first - second).norm(dim=-2), (first + second).norm(dim=-2))
    return torch.rad2deg(2 * half).to(prediction.dtype)


def rotation_angle(rotation: Tensor) -> Tensor:
    """How far a rotation turns. (..., 3, 3) to (...,) degrees in [0, 180]."""
    return torch.rad2deg(roma.rotmat_to_rotvec(rotation).norm(dim=-1))


def slope(prediction: Tensor, target: Tensor) -> Tensor:
    """How much of the truth a prediction follows: the slope of the line through (truth, prediction) of each angle.

    Of total least squares, so that it is the same whichever of both has the errors: the first principal axis. A network
    that is unsure answers nearer to the middle than the truth is, which gives a slope below 1; where the truths' mean
    is not 0, that looks like a bias.

    Args:
        prediction, target: (N, 3) degrees, two images or more.

    Returns:
        (3,); NaN where truth and predictions are all the same.

    >>> slope(torch.tensor([[8.0, 0.0, 1.0], [-8.0, 1.0, 0.0]]), torch.tensor([[10.0, 0.0, 1.0], [-10.0, 1.0, 0.0]]))
    tensor([0.8000, 1.0000, 1.0000])
    """
    x, y = target.double() - target.double().mean(dim=0), prediction.double() - prediction.double().mean(dim=0)
    xx, yy, xy = x.square().sum(dim=0), y.square().sum(dim=0), (x * y).sum(dim=0)
    # the direction (x, y) of the larger eigenvalue of the matrix of both variances and their covariance
    larger = (xx + yy + ((xx - yy).square() + 4 * xy.square()).sqrt()) / 2
    return ((larger - xx) / xy).to(prediction.dtype)
