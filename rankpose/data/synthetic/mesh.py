"""What a head is to the camera: one triangle mesh with one texture atlas.

The head's part (`head.py`: who it is) makes it, the scene's part (`scene.py`: how it is seen) draws it; they share
nothing else.
"""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Mesh:
    """A head with hair, neck, shoulders and accessories at zero pose, ready to be turned, lit and drawn.

    The frame is the one of the pose labels: x right, y up, z towards the camera, in centimetres, origin inside the
    head near the middle of the axis that it turns about. One mesh serves every image of one identity with one
    expression.
    """

    vertices: np.ndarray
    """(V, 3) float32, centimetres."""
    normals: np.ndarray
    """(V, 3) float32, unit length, outward."""
    uv: np.ndarray
    """(V, 2) float32, column and row in `albedo` (pixel centres at whole numbers)."""
    body: np.ndarray
    """(V,) float32: 0 turns with the head, 1 stays with the body, between: neck and long hair."""
    faces: np.ndarray
    """(F, 3) int32."""
    albedo: np.ndarray
    """(H, W, 4) uint8: red, green, blue (sRGB), and gloss in the fourth."""
    landmarks: np.ndarray
    """(68, 3) float32, the 68 landmarks in 300W-LP's order, centimetres."""
