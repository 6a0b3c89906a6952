"""YuNet, the detector that OpenCV runs: small and quick; its model is a file that one gives.

The model is one file of 230 kB, `face_detection_yunet_2023mar.onnx` of OpenCV's model zoo (MIT licence).

Cite
    W. Wu, H. Peng, S. Yu: YuNet: A Tiny Millisecond-level Face Detector. Machine Intelligence Research 2023.
"""

from functools import cached_property
from pathlib import Path

import cv2
import numpy as np

from rankpose.data.readers.detect import open_yunet
from rankpose.errors import ConfigError
from rankpose.faces import Face, FaceDetector, surest
from rankpose.faces.sessions import given


class YuNet(FaceDetector):
    """The detector; its model is opened on first use.

    Args:
        model: the ONNX file.
        size: the picture's longer side as the network sees it, pixels; a smaller picture is not enlarged.
        min_score: detections below are no faces, 0 to 1.
        side, lower: see `FaceDetector`.

    Raises:
        ConfigError: no such file; on first use, one that is no model of YuNet.
    """

    def __init__(
        self,
        model: str | Path | None = None,
        size: int = 640,
        min_score: float = 0.6,
        side: float = 0.916,
        lower: float = 0.146,
    ) -> None:
        super().__init__(side, lower)
        self.model = given(model, "yunet", "face_detection_yunet_2023mar.onnx of OpenCV's model zoo")
        self.size: int = size
        self.min_score = min_score

    def __call__(self, image: np.ndarray) -> list[Face]:
        height, width = image.shape[:2]
        factor = min(1.0, self.size / max(height, width))
        columns, rows = (max(1, round(factor * side)) for side in (width, height))
        seen = cv2.resize(image, (columns, rows), interpolation=cv2.INTER_AREA) if factor < 1 else image
        try:
            self._detector.setInputSize((columns, rows))
            _, found = self._detector.detect(np.ascontiguousarray(seen[..., ::-1]))
        except cv2.error:
            raise self._no_model() from None
        if found is None:
            return []
        left, top, wide, tall = found[:, :4].astype(np.float64).T
        boxes = np.stack([left, top, left + wide, top + tall], axis=1)
        boxes = (boxes + 0.5) * np.tile([width / columns, height / rows], 2) - 0.5
        return surest(boxes, found[:, -1])

    @cached_property
    def _detector(self) -> "cv2.FaceDetectorYN":
        return open_yunet(self.model, self.min_score, self._no_model())

    def _no_model(self) -> ConfigError:
        return ConfigError(f"detector.model={self.model}: is not a model of YuNet that OpenCV can run.")
