"""What the three angles mean: between (yaw, pitch, roll) and rotations, and what image operations do to them.

One convention holds in the whole project, the one of 300W-LP and AFLW2000-3D: angles in degrees, ordered (yaw, pitch,
roll); the rotation turns the head from zero pose, `R = Rx(-pitch) Ry(-yaw) Rz(-roll)`, in a frame with x to the right
of the image, y up and z towards the camera. A positive yaw turns the face to the left of the image, a positive pitch
lifts the chin, a positive roll turns the head clockwise as the image shows it.
"""

import roma
import torch
from torch import Tensor

ANGLES = ("yaw", "pitch", "roll")
"""The order of the three angles in every tensor, table and file."""

_FLIP = torch.tensor([-1.0, 1.0, -1.0])


def euler_to_rotmat(pose_deg: Tensor) -> Tensor:
    """The rotation of a pose.

    Args:
        pose_deg: (..., 3), yaw, pitch and roll in degrees, any range.

    Returns:
        (..., 3, 3), columns are the head's x, y and z axes in the camera's frame.
    """
    yaw, pitch, roll = pose_deg.unbind(-1)
    rotation: Tensor = roma.euler_to_rotmat("XYZ", [-pitch, -yaw, -roll], degrees=True)
    return rotation


def rotmat_to_euler(rotation: Tensor) -> Tensor:
    """The pose of a rotation.

    Args:
        rotation: (..., 3, 3), proper rotations.

    Returns:
        (..., 3), yaw in [-90, 90], pitch and roll in (-180, 180] degrees. At |yaw| = 90 pitch and roll are not unique
        (gimbal lock): one of the solutions is returned, whose rotation is the given one.
    """
    pitch, yaw, roll = roma.rotmat_to_euler("XYZ", rotation, degrees=True).unbind(-1)
    return torch.stack([-yaw, -pitch, -roll], dim=-1)


def flip_pose(pose_deg: Tensor) -> Tensor:
    """The pose that the mirrored image shows: yaw and roll change sign. (..., 3) degrees to (..., 3) degrees."""
    return pose_deg * _FLIP.to(pose_deg)


def turn_pose(pose_deg: Tensor, turn_deg: Tensor | float) -> Tensor:
    """The pose after the image is turned in its plane.

    Multiplies the rotation from the left by one about z; all three angles may change.

    Args:
        pose_deg: (..., 3) degrees.
        turn_deg: (...,) or a number: counter-clockwise as the image shows it, degrees.

    Returns:
        (..., 3) degrees, as `rotmat_to_euler` gives them.
    """
    turn = torch.as_tensor(turn_deg, dtype=pose_deg.dtype, device=pose_deg.device)
    zero = torch.zeros_like(turn)
    about_z = roma.rotvec_to_rotmat(torch.deg2rad(torch.stack([zero, zero, turn], dim=-1)))
    return rotmat_to_euler(about_z @ euler_to_rotmat(pose_deg))


def wrap_angle(angle_deg: Tensor) -> Tensor:
    """The same angle in [-180, 180) degrees, any shape."""
    return torch.remainder(angle_deg + 180.0, 360.0) - 180.0


def nearest_rotation(matrix: Tensor) -> Tensor:
    """The rotation nearest to a matrix (least squares; Procrustes), (..., 3, 3) to (..., 3, 3); it can be derived.

    roma keeps a constant that its first call makes; made in inference mode, no later call could be derived through.
    """
    if torch.onnx.is_in_onnx_export():
        return nearest_rotation_by_sums(matrix)
    if torch.is_inference_mode_enabled():
        with torch.inference_mode(False), torch.no_grad():
            return nearest_rotation(matrix.clone())
    nearest: Tensor = roma.special_procrustes(matrix)
    return nearest


def nearest_rotation_by_sums(matrix: Tensor, steps: int = 24) -> Tensor:
    """As `nearest_rotation`, by sums, products and quotients alone, which ONNX has and singular values it has not.

    F. L. Markley, Attitude Determination Using Vector Observations: A Fast Optimal Matrix Algorithm (Journal of the
    Astronautical Sciences, 1993). With l the sum of the proper singular values, the largest root of
    `(l^2 - |A|^2)^2 - 8 l det A - 4 |cof A|^2`, and k = (l^2 - |A|^2) / 2::

        R = [(k + |A|^2) A + l cof A - A A^T A] / (k l - det A)

    The root is found by Newton's steps from above, where they cannot miss it. Where the nearest rotation is not unique
    (the two smaller singular values are opposite), the result means nothing, as that of singular values does.

    Args:
        matrix: (..., 3, 3), of any scale.
        steps: Newton's.
    """
    a = matrix.double()
    a = a / a.square().sum(dim=(-2, -1), keepdim=True).sqrt().clamp(min=1e-30)
    first, second, third = a.unbind(-2)
    cofactors = torch.stack([_cross(second, third), _cross(third, first), _cross(first, second)], dim=-2)
    det = (first * cofactors[..., 0, :]).sum(dim=-1)
    areas = cofactors.square().sum(dim=(-2, -1))
    total = torch.full_like(det, 3.0**0.5)
    for _ in range(steps):
        value = (total.square() - 1).square() - 8 * total * det - 4 * areas
        slope = 4 * total * (total.square() - 1) - 8 * det
        total = total - value / slope.clamp(min=1e-12)
    k = (total.square() - 1) / 2
    top = (k + 1)[..., None, None] * a + total[..., None, None] * cofactors - a @ a.mT @ a
    return (top / (k * total - det).clamp(min=1e-12)[..., None, None]).to(matrix.dtype)


def _cross(a: Tensor, b: Tensor) -> Tensor:
    """Written out: the exporter has no cross product in double."""
    (x, y, z), (u, v, w) = a.unbind(-1), b.unbind(-1)
    return torch.stack([y * w - z * v, z * u - x * w, x * v - y * u], dim=-1)


def mean_rotation(rotations: Tensor) -> Tensor:
    """The rotation nearest to several (least squares over the matrices): (T, ..., 3, 3) to (..., 3, 3)."""
    return nearest_rotation(rotations.mean(dim=0))


def spread(rotations: Tensor) -> Tensor:
    """How far apart those two of several rotations are that differ most: (T, ..., 3, 3) to (...,) degrees."""
    apart = torch.zeros(rotations.shape[1:-2], dtype=rotations.dtype, device=rotations.device)
    for i in range(len(rotations)):
        for j in range(i):
            angle = roma.rotmat_geodesic_distance(rotations[i], rotations[j])
            apart = torch.maximum(apart, torch.rad2deg(angle))
    return apart
