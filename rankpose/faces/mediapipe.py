"""MediaPipe's face detector (BlazeFace, short range): very quick, for faces that fill a good part of the picture.

The model is a file that one gives: `blaze_face_short_range.tflite` or `face_landmarker.task`, both of Google's model
pages (Apache-2.0). LiteRT runs it, the extra `mediapipe`; the package `mediapipe` itself would bring its own OpenCV.

Cite
    V. Bazarevsky, Y. Kartynnik, A. Vakunov, K. Raveendran, M. Grundmann: BlazeFace: Sub-millisecond Neural Face
    Detection on Mobile GPUs. CVPR Workshops 2019.
"""

import zipfile
from functools import cached_property
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from rankpose.errors import ConfigError, first_line
from rankpose.faces import Face, FaceDetector, apart, surest
from rankpose.faces.sessions import given

SIZE = 128
"""Side of the input, pixels."""
_IN_TASK = "face_detector.tflite"
_SAME = 0.3


def anchors() -> np.ndarray:
    """(896, 2) x and y, pixels of the input, that the model's boxes are told from."""
    parts = []
    for stride, count in ((8, 2), (16, 6)):
        middles = (np.arange(SIZE // stride) + 0.5) * stride
        grid = np.stack(np.meshgrid(middles, middles), axis=-1).reshape(-1, 2)
        parts.append(np.repeat(grid, count, axis=0))
    return np.concatenate(parts)


class MediaPipe(FaceDetector):
    """The detector; its model is opened on first use.

    Args:
        model: the `.tflite`, or a `.task` that holds it.
        min_score: detections below are no faces, 0 to 1.
        threads: of the CPU.
        side, lower: see `FaceDetector`.

    Raises:
        ConfigError: no such file, LiteRT is not installed; on first use, a file that is no such model.
    """

    def __init__(
        self,
        model: str | Path | None = None,
        min_score: float = 0.5,
        threads: int = 1,
        side: float = 0.975,
        lower: float = 0.055,
    ) -> None:
        super().__init__(side, lower)
        self.model = given(model, "mediapipe", "blaze_face_short_range.tflite or face_landmarker.task of MediaPipe")
        self.min_score, self.threads = min_score, threads
        self._anchors = anchors()
        try:
            import ai_edge_litert.interpreter  # noqa: F401  (that it lacks is told before any picture is read)
        except ImportError:
            raise ConfigError(
                "detector=mediapipe: LiteRT is not installed. Install it (pip install ai-edge-litert), or choose "
                "another detector=."
            ) from None

    def __call__(self, image: np.ndarray) -> list[Face]:
        height, width = image.shape[:2]
        factor = SIZE / max(height, width)
        # the picture in the middle of a black square
        matrix = np.array([[factor, 0, 0], [0, factor, 0]])
        matrix[:, 2] = (SIZE - 1) / 2 - factor * (np.array([width, height]) - 1) / 2
        if factor < 1:
            columns, rows = (max(1, round(factor * side)) for side in (width, height))
            seen: np.ndarray = np.zeros((SIZE, SIZE, 3), np.uint8)
            left, top = (SIZE - columns) // 2, (SIZE - rows) // 2
            seen[top : top + rows, left : left + columns] = cv2.resize(
                image, (columns, rows), interpolation=cv2.INTER_AREA
            )
        else:
            seen = cv2.warpAffine(image, matrix, (SIZE, SIZE))
        numbers, logits = self._run(seen[None].astype(np.float32) / 127.5 - 1)
        scores = 1 / (1 + np.exp(-np.clip(logits, -80, 80)))
        sure = scores >= self.min_score
        centre, extent = self._anchors[sure] + numbers[sure, :2], numbers[sure, 2:4]
        boxes = np.concatenate([centre - extent / 2, centre + extent / 2], axis=1) - 0.5
        boxes = (boxes - np.tile(matrix[:, 2], 2)) / factor
        kept = apart(boxes, scores[sure], _SAME)
        return surest(boxes[kept], scores[sure][kept])

    def _run(self, numbers: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(896, 16) boxes and points, and (896,) scores before the sigmoid."""
        runner = self._runner
        runner.set_tensor(runner.get_input_details()[0]["index"], numbers)
        runner.invoke()
        outputs = [runner.get_tensor(one["index"])[0] for one in runner.get_output_details()]
        boxes, scores = sorted(outputs, key=lambda output: -output.shape[-1])
        return boxes, scores[:, 0]

    @cached_property
    def _runner(self) -> Any:
        from ai_edge_litert.interpreter import Interpreter

        refused = ConfigError(
            f"detector.model={self.model}: is no BlazeFace of {SIZE} pixels, nor a task that holds one."
        )
        try:
            content = self.model.read_bytes()
            if zipfile.is_zipfile(self.model):
                with zipfile.ZipFile(self.model) as task:
                    content = task.read(_IN_TASK)
            runner = Interpreter(model_content=content, num_threads=self.threads)
            runner.allocate_tensors()
        except (OSError, KeyError, ValueError, RuntimeError, zipfile.BadZipFile) as error:
            raise ConfigError(f"{refused} ({first_line(error)})") from error
        shapes = sorted(tuple(one["shape"]) for one in runner.get_output_details())
        if tuple(runner.get_input_details()[0]["shape"]) != (1, SIZE, SIZE, 3) or shapes != [(1, 896, 1), (1, 896, 16)]:
            raise refused
        return runner
