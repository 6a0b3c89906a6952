"""Where is the face, by its looks? YuNet, the detector that OpenCV loads, as a source of boxes.

The model is one file of 230 kB, `face_detection_yunet_2023mar.onnx` of OpenCV's model zoo (MIT licence).

Cite
    W. Wu, H. Peng, S. Yu: YuNet: A Tiny Millisecond-level Face Detector. Machine Intelligence Research 2023.
"""

from functools import cached_property
from pathlib import Path

import cv2
import numpy as np

from rankpose.data.images import decode, read_file
from rankpose.data.readers.boxes import BoxSource, Frame
from rankpose.data.record import BadFile
from rankpose.errors import ConfigError

FOREHEAD_SHARE = 0.22
"""How much of YuNet's box lies above the brows. It begins near the hair line, landmarks begin at the brows: without
this share, its box is the one around 68 landmarks (frontal faces of AFLW2000-3D: 0.97 by 1.00 of their larger side)."""


def open_yunet(model: Path, min_score: float, no_model: ConfigError) -> "cv2.FaceDetectorYN":
    """OpenCV's YuNet; raises `no_model` where the file is none."""
    level = cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)  # it warns about its own defaults
    try:
        return cv2.FaceDetectorYN.create(str(model), "", (320, 320), min_score)
    except cv2.error:
        raise no_model from None
    finally:
        cv2.utils.logging.setLogLevel(level)


class YuNet:
    """The detector. The model is loaded on first use.

    Args:
        model: the ONNX file.
        min_score: detections below are no faces, 0 to 1.

    Raises:
        ConfigError: on first use, where the file is missing or no model of YuNet.
    """

    def __init__(self, model: str | Path, min_score: float = 0.6) -> None:
        self.model, self.min_score = Path(model), min_score

    def faces(self, image: np.ndarray) -> np.ndarray:
        """Boxes of all faces in a picture, brows to chin.

        Args:
            image: (H, W, 3) uint8, red first.

        Returns:
            (K, 4) left, top, right, bottom, pixels, the surest first; K may be 0.
        """
        self._detector.setInputSize((image.shape[1], image.shape[0]))
        try:
            _, found = self._detector.detect(np.ascontiguousarray(image[..., ::-1]))
        except cv2.error:
            raise self._no_model() from None
        if found is None:
            return np.empty((0, 4))
        left, top, width, height = found[np.argsort(-found[:, -1]), :4].astype(np.float64).T
        return np.stack([left, top + FOREHEAD_SHARE * height, left + width, top + height], axis=1)

    @cached_property
    def _detector(self) -> "cv2.FaceDetectorYN":
        if not self.model.is_file():
            raise ConfigError(
                f"{self.model}: no such face detector. Give the path of face_detection_yunet_2023mar.onnx, which is in "
                "OpenCV's model zoo."
            )
        return open_yunet(self.model, self.min_score, self._no_model())

    def _no_model(self) -> ConfigError:
        return ConfigError(f"{self.model}: is not a model of YuNet that OpenCV can run.")


class DetectedBoxes(BoxSource):
    """The detected face nearest the head's known place; where none is within the head box's side, there is none.

    Args:
        detector: YuNet's ONNX file.
        min_score: detections below are no faces, 0 to 1. Low, because where the head is is known.
    """

    def __init__(self, detector: str | Path, min_score: float = 0.6) -> None:
        self.yunet = YuNet(detector, min_score)

    def box(self, frame: Frame) -> np.ndarray:
        head = frame.head_box
        faces = self.yunet.faces(decode(read_file(frame.image, "image file")))
        away = np.linalg.norm((faces[:, :2] + faces[:, 2:]) / 2 - (head[:2] + head[2:]) / 2, axis=1)
        if not (away < head[2] - head[0]).any():
            raise BadFile("without a detected face", frame.image)
        return np.asarray(faces[away.argmin()])
