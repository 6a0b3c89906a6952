"""opentrack's head-pose network (M. Welter; ISC licence), which looks twice.

The file `head-pose-0.4-small-int8.onnx` of the head tracker opentrack takes one grey channel of 129 x 129 pixels and
answers with a quaternion, a box, and how sure it is of both. It was trained on 300W-LP and more, so its zero pose is
this project's. The second look is at the box that the first one answered.
"""

from functools import partial
from pathlib import Path

import cv2
import numpy as np
import torch

from rankpose.data.crop import square_matrix, warp_image
from rankpose.data.crop_rules import RankPoseCrop
from rankpose.errors import ConfigError
from rankpose.pose import ANGLES, rotmat_to_euler
from rankpose.pose.decoding import frame_axes, quaternion_to_rotmat
from rankpose.predictors.onlookers import Answer
from rankpose.predictors.onnx import open_session
from rankpose.predictors.per_process import PerProcess

_NODES = {"x": (1, 129, 129), "quat": (4,), "box": (4,)}
_FIRST, _AGAIN = 1.2, 1.05
"""Side of the square over the larger side of the face box, and over that of the box that the network answers."""
_DARK, _WHITE, _LIT = 127, 255, 0.45
"""A darker picture, by its 90th percentile, is lit until that percentile is `_LIT`."""


class OpentrackPredictor:
    """opentrack's network as a predictor that is given whole pictures.

    Args:
        file: the ONNX file.
        looks: 1 stays with the square around the face's points; 2 looks again at the box that the network found.

    Raises:
        CheckpointError: a file that is missing or no ONNX model.
        ConfigError: another model, or `looks` below 1.
    """

    size = 129

    def __init__(self, file: str | Path, looks: int = 2) -> None:
        if looks < 1:
            raise ConfigError(f"predictor.looks={looks}: must be at least 1.")
        self.file, self.looks = Path(file), looks
        self.crop = RankPoseCrop(_FIRST)
        self.keys = dict.fromkeys(("unit", *ANGLES), str(file))
        self._axes = frame_axes(["right", "down", "away"])
        self._session = PerProcess(partial(open_session, self.file, "predictor.file"))
        session = self._session()
        has = {node.name: tuple(node.shape[1:]) for node in [*session.get_inputs(), *session.get_outputs()]}
        if not has.items() >= _NODES.items():
            raise ConfigError(f"predictor.file={file}: is not opentrack's network: it has {', '.join(has)}.")

    def answer(self, image: np.ndarray, points: np.ndarray) -> Answer:
        """See `rankpose.predictors.onlookers.Onlooker`."""
        left, top, right, bottom = self.crop.rectangle(points)
        centre, side = np.array([left + right, top + bottom]) / 2, right - left
        said = self._look(image, centre, side)
        for _ in range(1, self.looks):
            corners = centre + said["box"].reshape(2, 2) * side / 2
            # a box without an inside would leave nothing to look at
            if not np.isfinite(corners).all() or (corners[1] - corners[0]).max() < 1:
                break
            centre, side = corners.mean(axis=0), _AGAIN * float((corners[1] - corners[0]).max())
            said = self._look(image, centre, side)
        rotation = quaternion_to_rotmat(torch.from_numpy(said["quat"]).double())
        return Answer(rotmat_to_euler(self._axes @ rotation @ self._axes.T).numpy())

    def _look(self, image: np.ndarray, centre: np.ndarray, side: float) -> dict[str, np.ndarray]:
        left, top = centre - side / 2
        crop = warp_image(image, square_matrix(left, top, side, self.size), self.size)
        grey = cv2.cvtColor(crop, cv2.COLOR_RGB2GRAY).astype(np.float32)
        bright = float(np.percentile(grey, 90))
        factor = _LIT / max(5.0, bright) if bright < _DARK else 1 / _WHITE
        quat, box = self._session().run(["quat", "box"], {"x": (grey * factor - 0.5)[None, None]})
        return {"quat": quat[0], "box": box[0]}
