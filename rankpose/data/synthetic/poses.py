"""Which way do heads point in photographs? Draws poses as people hold them, and turns labels into rotations.

People turn about their own neck, then nod, then tilt the whole head in the image. Drawing the label's own angles
independently would give profiles that no photograph shows: at a large yaw the label's pitch and roll go together
(correlation 0.78, 0.91, 0.98 for |yaw| 30-60, 60-75, 75-99 in AFLW2000-3D), which this order reproduces.
"""

import numpy as np
from numpy.typing import ArrayLike

MAX_ANGLE_DEG = 99.0
"""No angle of a label is beyond this: peers leave such images out of 300W-LP and AFLW2000-3D."""


def label_to_rotation(pose: ArrayLike) -> np.ndarray:
    """(..., 3) yaw, pitch, roll in degrees -> (..., 3, 3) rotation; x right, y up, z towards the camera.

    The same as scipy's `Rotation.from_euler("XYZ", [-pitch, -yaw, -roll], degrees=True)`, ten times as fast for one.
    """
    yaw, pitch, roll = np.moveaxis(np.asarray(pose, float), -1, 0)
    rotation: np.ndarray = _about(0, -pitch) @ _about(1, -yaw) @ _about(2, -roll)
    return rotation


def rotation_to_label(rotation: ArrayLike) -> np.ndarray:
    """(..., 3, 3) rotation -> (..., 3) yaw, pitch, roll in degrees, |yaw| <= 90."""
    r = np.asarray(rotation, float)
    yaw = -np.arcsin(np.clip(r[..., 0, 2], -1, 1))
    pitch = -np.arctan2(-r[..., 1, 2], r[..., 2, 2])
    roll = -np.arctan2(-r[..., 0, 1], r[..., 0, 0])
    label: np.ndarray = np.degrees(np.stack([yaw, pitch, roll], -1))
    return label


def natural_to_rotation(turn: ArrayLike, nod: ArrayLike, tilt: ArrayLike) -> np.ndarray:
    """Turn about the head's own axis, then nod, then tilt in the image (degrees) -> (..., 3, 3) rotation.

    With one angle alone it is the label of the same name: R = Rz(-tilt) Rx(-nod) Ry(-turn).
    """
    tilted, nodded = _about(2, -np.asarray(tilt)), _about(0, -np.asarray(nod))
    rotation: np.ndarray = tilted @ nodded @ _about(1, -np.asarray(turn))
    return rotation


def rotation_to_natural(rotation: ArrayLike) -> np.ndarray:
    """(..., 3, 3) rotation -> (..., 3) turn, nod, tilt in degrees: the inverse of `natural_to_rotation`."""
    r = np.asarray(rotation, float)
    turn = -np.arctan2(-r[..., 2, 0], r[..., 2, 2])
    nod = -np.arcsin(np.clip(r[..., 2, 1], -1, 1))
    tilt = -np.arctan2(-r[..., 0, 1], r[..., 1, 1])
    natural: np.ndarray = np.degrees(np.stack([turn, nod, tilt], -1))
    return natural


def _about(axis: int, angle_deg: ArrayLike) -> np.ndarray:
    """(..., 3, 3) right-handed rotation about x, y or z (0, 1, 2)."""
    angle = np.radians(angle_deg)
    matrix = np.zeros((*angle.shape, 3, 3))
    first, second = (axis + 1) % 3, (axis + 2) % 3
    matrix[..., axis, axis] = 1
    matrix[..., first, first] = matrix[..., second, second] = np.cos(angle)
    matrix[..., second, first] = np.sin(angle)
    matrix[..., first, second] = -matrix[..., second, first]
    return matrix


def draw_poses(rng: np.random.Generator, n: int) -> np.ndarray:
    """(n, 3) float64 labels (yaw, pitch, roll) in degrees, each within +-99.

    Spread as in AFLW2000-3D, except that more turn past 50 degrees (about 30 % of the poses, 20 % of the photographs):
    networks shrink large yaws, and few examples make it worse.
    """
    kept = np.empty((0, 3))
    while len(kept) < n:
        poses = _draw_unchecked(rng, n)
        kept = np.concatenate([kept, poses[(np.abs(poses) <= MAX_ANGLE_DEG).all(1)]])
    return kept[:n]


def _draw_unchecked(rng: np.random.Generator, n: int) -> np.ndarray:
    """(n, 3) labels that may exceed the limit."""
    turn = np.where(rng.random(n) < 0.4, rng.normal(0, 27, n), rng.uniform(-97, 97, n))
    # People look down at a book or a child when facing the camera, hardly ever in profile: -6 degrees fading to +1.
    usual_nod = -6 + 7 * np.clip(np.abs(turn) / 60, 0, 1)
    nod = np.where(rng.random(n) < 0.8, rng.normal(usual_nod, 11), rng.uniform(-38, 38, n))
    # A turned head leans a little towards the shoulder that it looks over.
    usual_tilt = -2 * np.clip(turn / 20, -1, 1)
    tilt = np.where(rng.random(n) < 0.8, rng.normal(usual_tilt, 9), rng.normal(usual_tilt, 26))
    return rotation_to_label(natural_to_rotation(turn, nod, tilt))
