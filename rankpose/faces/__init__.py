"""Where are the faces of a picture, and who is who in a film? A file a detector, one interface.

A detector gives its own boxes. Networks were trained on crops around the box of 68 landmarks (brows to chin, ear to
ear); how the two lie to each other is a detector's `side` and `lower`, measured on the photographs of AFLW2000-3D
within 99 degrees (docs/predict.md).

To add a detector, write a class with `FaceDetector`'s interface in a file here, and `conf/detector/NAME.yaml`.
"""

import copy
import math
from dataclasses import dataclass
from typing import Self

import numpy as np

from rankpose.errors import ConfigError

Box = tuple[float, float, float, float]
"""Left, top, right, bottom in pixels; whole numbers are pixel centres, y points down."""


@dataclass(frozen=True)
class Face:
    """One face of a picture."""

    box: Box
    """As the detector draws it."""
    score: float
    """How sure the detector is, 0 to 1."""


class FaceDetector:
    """The interface: a picture to its faces.

    Args:
        side: of the square around 68 landmarks, over the geometric mean of the sides of the detector's box (its larger
            side says less: a turned head's box is narrow).
        lower: how far the square's middle lies below the box's, over the side of the square.

    Raises:
        ConfigError: a `side` that is no size.
    """

    def __init__(self, side: float, lower: float) -> None:
        if not side > 0:
            raise ConfigError(f"detector.side={side}: must be above 0.")
        self.side, self.lower = side, lower

    min_score = 1.0
    """Detections below are no faces."""

    def __call__(self, image: np.ndarray) -> list[Face]:
        """The faces of a picture, the surest first.

        Args:
            image: (H, W, 3) uint8, red first, upright.
        """
        raise NotImplementedError

    size: int | None = None
    """The picture's longer side as the detector sees it, pixels; None where that cannot be chosen."""

    def for_films(self, size: int | None = None) -> Self:
        """The same detector, which also gives faces half as sure: they go on with people who are known.

        Args:
            size: see `size`, where that can be chosen; None leaves it.
        """
        other = copy.copy(self)
        for name in ("_detector", "_session", "_network", "_runner"):  # what was opened belongs to one of the two
            other.__dict__.pop(name, None)
        other.min_score = self.min_score / 2
        if self.size is not None and size is not None:
            other.size = size
        return other

    def to_face_box(self, box: Box) -> np.ndarray:
        """(4,) left, top, right, bottom of the landmarks' square for one of the detector's boxes, pixels."""
        left, top, right, bottom = box
        square = self.side * math.sqrt((right - left) * (bottom - top))
        x, y, half = (left + right) / 2, (top + bottom) / 2 + self.lower * square, square / 2
        return np.array([x - half, y - half, x + half, y + half])


def surest(boxes: np.ndarray, scores: np.ndarray) -> list[Face]:
    """Faces from (K, 4) boxes and (K,) scores, the surest first; boxes without an extent are none."""
    return [
        Face((float(box[0]), float(box[1]), float(box[2]), float(box[3])), float(scores[place]))
        for place in np.argsort(-scores, kind="stable")
        for box in (boxes[place],)
        if np.isfinite(box).all() and box[2] > box[0] and box[3] > box[1]
    ]


def apart(boxes: np.ndarray, scores: np.ndarray, overlap: float) -> np.ndarray:
    """The places of boxes that are left when each has taken those that overlap it and are less sure.

    Args:
        boxes: (K, 4) left, top, right, bottom.
        scores: (K,).
        overlap: from which share of their union on two boxes are of one face.
    """
    area = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    left = np.argsort(-scores, kind="stable")
    kept = []
    while len(left):
        first, left = left[0], left[1:]
        kept.append(first)
        low = np.maximum(boxes[left, :2], boxes[first, :2])
        high = np.minimum(boxes[left, 2:], boxes[first, 2:])
        common = np.clip(high - low, 0, None).prod(axis=1)
        left = left[common < overlap * (area[left] + area[first] - common)]
    return np.array(kept, dtype=int)
