"""From a picture to the poses of all heads in it: `rankpose.load(SOURCE)` in one call.

estimator = rankpose.load("runs/DATE/TIME")
for head in estimator("photo.jpg"):
    print(head.box, head.yaw, head.pitch, head.roll, head.expected_error, head.score)
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from PIL import Image
from torch import nn

from rankpose.data.crop import points_around
from rankpose.errors import ConfigError, first_line
from rankpose.faces import Box, Face, FaceDetector
from rankpose.faces.pictures import as_pixels
from rankpose.files import model_file
from rankpose.pose import euler_to_rotmat
from rankpose.predictors import Predictor
from rankpose.predictors.checkpoint import CheckpointPredictor
from rankpose.predictors.hub import Published
from rankpose.predictors.onnx import onnx_predictor

Network = TypeVar("Network", bound=nn.Module)


@dataclass(frozen=True, eq=False)
class Head:
    """One head of a picture."""

    box: Box
    """Of the face as the detector draws it: left, top, right, bottom in pixels of the upright picture."""
    yaw: float
    """Degrees, with the signs of 300W-LP: positive turns the face to the left of the picture."""
    pitch: float
    """Degrees; positive lifts the chin."""
    roll: float
    """Degrees; positive tilts the head clockwise."""
    score: float
    """How sure the detector is, 0 to 1."""
    rotation: np.ndarray
    """(3, 3) float64: the head's axes in a frame with x right, y up, z towards the camera, as columns."""
    expected_error: float | None = None
    """How far the model thinks the pose to be from the truth, degrees; None of one that does not say."""


class Estimator(Published):
    """A detector and a predictor: pictures to heads. `rankpose.predictors.hub` says how others get it.

    Args:
        predictor: gives poses of crops.
        detector: gives the boxes that crops are cut around.
        batch_size: heads that go through the predictor at once, at most.
    """

    def __init__(self, predictor: Predictor, detector: FaceDetector, batch_size: int = 64) -> None:
        self.predictor, self.detector, self.batch_size = predictor, detector, batch_size

    @classmethod
    def _of(cls, folder: Path, **options: Any) -> "Estimator":
        return load(folder, **options)

    def __call__(self, image: np.ndarray | Image.Image | str | Path) -> list[Head]:
        """The heads of a picture, the surest face first.

        Args:
            image: (H, W, 3) uint8, red first; a grey one (H, W); a Pillow image; or a path. Files and Pillow images are
                turned as their EXIF says.

        Raises:
            DatasetError: no picture.
        """
        pixels = as_pixels(image)
        (heads,) = self.heads([pixels], [self.detector(pixels)])
        return heads

    def heads(self, images: Sequence[np.ndarray], faces: Sequence[Sequence[Face]]) -> list[list[Head]]:
        """The heads of several pictures, all in one batch.

        Args:
            images: (H, W, 3) uint8 each, red first.
            faces: of each picture, as the detector gives them.

        Returns:
            of each picture one head a face, in its order; none of a face that the predictor says is none.
        """
        crops = [self.crop(image, face) for image, found in zip(images, faces, strict=True) for face in found]
        heads = iter(self.posed(crops, [face for found in faces for face in found]))
        return [[head for _ in found if (head := next(heads)) is not None] for found in faces]

    def posed(self, crops: Sequence[np.ndarray], faces: Sequence[Face]) -> list[Head | None]:
        """A head of each crop, (size, size, 3) uint8, and the face that it was cut around.

        None where the predictor sees no face: its pose is no number.
        """
        pose, expected = self._said(crops)
        seen = pose.isfinite().all(dim=1).tolist()
        rotations = euler_to_rotmat(pose).numpy()
        found = zip(faces, pose.tolist(), rotations, seen, expected, strict=True)
        return [
            Head(face.box, yaw, pitch, roll, face.score, rotation, error) if there else None
            for face, (yaw, pitch, roll), rotation, there, error in found
        ]

    def crop(self, image: np.ndarray, face: Face) -> np.ndarray:
        """What the predictor sees of a face, (size, size, 3) uint8."""
        points = points_around(self.detector.to_face_box(face.box), None)
        return self.predictor.crop(image, points, self.predictor.size)

    def _said(self, crops: Sequence[np.ndarray]) -> tuple[torch.Tensor, list[float | None]]:
        """(N, 3) poses in degrees of N crops, float64 on the CPU, and how far each is thought to be off, degrees."""
        predictor = self.predictor
        device = next((one.device for one in _weights(predictor)), torch.device("cpu"))
        poses, errors = [torch.zeros(0, 3, dtype=torch.float64)], list[float | None]()
        for start in range(0, len(crops), self.batch_size):
            batch = torch.from_numpy(np.stack(crops[start : start + self.batch_size])).permute(0, 3, 1, 2)
            with torch.inference_mode():
                said = predictor(batch.to(device))
                poses.append(said.pose.double().cpu())
                error = predictor.expected_error(said) if isinstance(predictor, CheckpointPredictor) else None
            errors += [None] * len(batch) if error is None else error.tolist()
        return torch.cat(poses), errors


def load(source: str | Path, detector: FaceDetector | None = None, device: str | None = None) -> Estimator:
    """The model of a run, a checkpoint or an ONNX file, behind a face detector.

    Args:
        source: see `rankpose.files.model_file`.
        detector: of `rankpose.faces`; CenterFace by default.
        device: where a checkpoint's network computes, as torch names it; None takes a GPU where there is one. ONNX
            files compute on the CPU.

    Raises:
        CheckpointError: no such model, or none that can be read.
        ConfigError: a description that does not fit its model; a detector that is not installed.
    """
    if detector is None:
        from rankpose.faces.centerface import CenterFace

        detector = CenterFace()
    return Estimator(predictor_of(source, device), detector)


def predictor_of(source: str | Path, device: str | None = None) -> Predictor:
    """The predictor alone; see `load`."""
    path = model_file(source)
    if path.suffix.lower() in (".yaml", ".yml"):
        return onnx_predictor(path)
    return placed(CheckpointPredictor(path).eval(), device)


def placed(network: Network, device: str | None) -> Network:
    """A network where it computes; None takes a GPU where there is one.

    Raises:
        ConfigError: no such device here.
    """
    try:
        return network.to(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    except (RuntimeError, AssertionError) as error:  # of torch: no such device, or none of it here
        raise ConfigError(f"device={device}: cannot be used here ({first_line(error)}).") from error


def _weights(predictor: Predictor) -> Sequence[nn.Parameter]:
    return list(predictor.parameters()) if isinstance(predictor, nn.Module) else []
