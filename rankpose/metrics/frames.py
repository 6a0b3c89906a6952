"""By which rotation does a predictor's frame differ from the data set's, and what is left without it?"""

import torch
from torch import Tensor

from rankpose.pose import euler_to_rotmat, rotmat_to_euler, wrap_angle
from rankpose.pose.conventions import nearest_rotation


def alignment(prediction: Tensor, target: Tensor) -> Tensor:
    """The constant rotation by which a predictor's frame differs from the data set's: A in `R_pred = A R_true`.

    The mean of `R_pred R_true^T` over the images, projected onto rotations (Procrustes), which minimises the sum of
    squared chordal distances (Cobo, Valle, Buenaposada, Baumela: On the representation and methodology for wide and
    short range head pose estimation, Pattern Recognition 2024). A multiplies from the left, as in their code: it turns
    the camera's frame. Their code takes the geodesic mean of those within 90 degrees; the chordal mean needs no such
    cut. For BIWI it aligns each sequence by itself, which removes more than one rotation for the whole set.

    A predictor whose zero head differs is turned from the right, `R_pred = R_true B`. Where all heads look about one
    way that is much the same; over a spread of poses A takes out only a part: of a B of 5 degrees, 1.7 to 2.8 are left
    over the poses of BIWI and AFLW2000-3D.

    Args:
        prediction: (N, 3) degrees.
        target: (N, 3) degrees; of many images, since that of one image takes out all of its error.

    Returns:
        (3, 3) float64.
    """
    relative = euler_to_rotmat(prediction.double()) @ euler_to_rotmat(target.double()).mT
    return nearest_rotation(relative.mean(dim=0))


def aligned(prediction: Tensor, rotation: Tensor) -> Tensor:
    """Predictions without the constant rotation A that `alignment` found: `A^T R_pred` as angles.

    Of the two triples of a rotation, (y, p, r) and (180 - y, p + 180, r + 180), it is the one nearer to the prediction,
    so that an angle keeps to its range. At yaw +-90 exactly (gimbal lock) pitch and roll are not unique; see
    `rotmat_to_euler`.

    Args:
        prediction: (N, 3) degrees.
        rotation: (3, 3).

    Returns:
        (N, 3) degrees.
    """
    turned = rotmat_to_euler(rotation.double().mT @ euler_to_rotmat(prediction.double()))
    other = turned * turned.new_tensor([-1.0, 1.0, 1.0]) + 180.0
    change = wrap_angle(torch.stack([turned, other]) - prediction)
    nearer = change.abs().sum(dim=-1).argmin(dim=0)
    return (prediction + change[nearer, torch.arange(len(prediction), device=nearer.device)]).to(prediction.dtype)
