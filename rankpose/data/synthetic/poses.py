"""Which way do heads point in photographs? Draws poses as people hold them, and turns labels into rotations.

People turn about their own neck, then nod, then tilt the whole head in the image. Drawing the label's own angles
independently would give profiles that no photograph shows: at a large yaw the label's pitch and roll go together
(correlation 0.78, 0.91, 0.98 for |yaw| 30-60, 60-75, 75-99 in AFLW2000-3D), which this order reproduces.
"""

import numpy as np
from numpy.typing import ArrayLike
from scipy.spatial.transform import Rotation

MAX_ANGLE_DEG = 99.0
"""No angle of a label is beyond this: peers leave such images out of 300W-LP and AFLW2000-3D."""


def label_to_rotation(pose: ArrayLike) -> np.ndarray:
    """(..., 3) yaw, pitch, roll in degrees -> (..., 3, 3) rotation; x right, y up, z towards the camera."""
    yaw, pitch, roll = np.moveaxis(np.asarray(pose, float), -1, 0)
    return Rotation.from_euler("XYZ", -np.stack([pitch, yaw, roll], -1), degrees=True).as_matrix()


def rotation_to_label(rotation: ArrayLike) -> np.ndarray:
    """(..., 3, 3) rotation -> (..., 3) yaw, pitch, roll in degrees, |yaw| <= 90."""
    angles = -Rotation.from_matrix(np.asarray(rotation, float)).as_euler("XYZ", degrees=True)
    return angles[..., [1, 0, 2]]


def natural_to_rotation(turn: ArrayLike, nod: ArrayLike, tilt: ArrayLike) -> np.ndarray:
    """Turn about the head's own axis, then nod, then tilt in the image (degrees) -> (..., 3, 3) rotation.

    With one angle alone it is the label of the same name: R = Rz(-tilt) Rx(-nod) Ry(-turn).
    """
    return Rotation.from_euler("ZXY", -np.stack(np.broadcast_arrays(tilt, nod, turn), -1), degrees=True).as_matrix()


def rotation_to_natural(rotation: ArrayLike) -> np.ndarray:
    """(..., 3, 3) rotation -> (..., 3) turn, nod, tilt in degrees: the inverse of `natural_to_rotation`."""
    angles = -Rotation.from_matrix(np.asarray(rotation, float)).as_euler("ZXY", degrees=True)
    return angles[..., [2, 1, 0]]


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
