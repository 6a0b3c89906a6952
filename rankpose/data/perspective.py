"""A crop away from the image's centre shows the head turned: from the pose that it shows to that in the camera's frame.

A network sees a crop and nothing of where it was cut, so it answers as if its camera looked straight at the crop's
middle. Let that imagined camera C stand where the real one does, its axis through the crop's middle pixel p. What it
sees is what the real one sees, warped by a homography, since both have one centre; near p this homography is a stretch
by 1 / cos a across and 1 / cos^2 a along the direction from the image's centre, a the angle between both axes, and no
turn, if C is turned from the real camera by the smallest rotation T that takes the one axis to the other. So an upright
crop is what C sees, but for a stretch of 1 / cos a, which is 1.5 % at 10 degrees and left as it is.

A direction that C says, v in its frame, is T v in the camera's. With the ray of p, through the pixel that the lens
would show it at without distortion, `(x, y, 1) = K^-1 (p_x, p_y, 1)`, in the project's frame (y up, z towards the
camera) `r = (x, -y, -1) / |(x, y, 1)|`, and the axis `e = (0, 0, -1)`::

    R_camera = T R_crop,    T = 1 + [n]x + [n]x^2 / (1 + e . r),    n = e x r

A head at the right edge of BIWI's image is seen 30 degrees off the axis; most are within 10.
"""

import numpy as np

_AXIS = np.array([0.0, 0.0, -1.0])


def turn_towards(ray: np.ndarray) -> np.ndarray:
    """The smallest rotation that takes a camera's axis to a ray.

    Args:
        ray: (..., 3) from the camera, of any length, in a frame with x right, y up, z towards the camera; not behind.

    Returns:
        (..., 3, 3) float64.
    """
    direction = ray / np.linalg.norm(ray, axis=-1, keepdims=True)
    n = np.cross(_AXIS, direction)
    zero = np.zeros_like(n[..., 0])
    cross = np.stack(
        [zero, -n[..., 2], n[..., 1], n[..., 2], zero, -n[..., 0], -n[..., 1], n[..., 0], zero], axis=-1
    ).reshape(*n.shape[:-1], 3, 3)
    return np.asarray(np.eye(3) + cross + cross @ cross / (1 - direction[..., 2])[..., None, None])
