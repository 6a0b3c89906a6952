"""MediaPipe's Face Landmarker (Google; Apache-2.0): its mesh of 468 points, and the pose that lays its mean face there.

`face_landmarker.task` is a zip file with a network for the mesh (256 x 256 pixels to 478 points and how sure it is that
they are a face's) and the mean face that they are points of. The network wants an upright face in a square of 1.5 times
its points' box, which only it can say: so it looks three times, first at the face box, then twice where its own points
are. MediaPipe's own face detector takes no part: the face box is given.
"""

import zipfile
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import roma
import torch

from rankpose.data.crop import View, crop_matrix, warp_image
from rankpose.data.crop_rules import RankPoseCrop
from rankpose.errors import CheckpointError, ConfigError, first_line
from rankpose.pose import ANGLES, rotmat_to_euler
from rankpose.predictors.onlookers import Answer
from rankpose.predictors.per_process import PerProcess

_NETWORK, _GEOMETRY = "face_landmarks_detector.tflite", "geometry_pipeline_metadata_landmarks.binarypb"
_POINTS = 468
"""Of the mean face; the network's last ten are the irises'."""
_EYES = (33, 263)
"""Outer corners of the right and the left eye."""
_FIRST, _AGAIN = 1.4, 1.5


class FaceMeshPredictor:
    """MediaPipe's mesh as a predictor that is given whole pictures.

    Args:
        file: `face_landmarker.task`.
        looks: 1 stays with the square around the face's points; each further one goes to where the last one found
            the face.
        min_presence: a face that it is less sure of is none: the pose is NaN.

    Raises:
        CheckpointError: a file that is missing or of another kind.
        ConfigError: a package that is missing, `looks` below 1.
    """

    size = 256

    def __init__(self, file: str | Path, looks: int = 3, min_presence: float = 0.0) -> None:
        if looks < 1:
            raise ConfigError(f"predictor.looks={looks}: must be at least 1.")
        self.file, self.looks, self.min_presence = Path(file), looks, min_presence
        self.crop = RankPoseCrop(_FIRST)
        self.keys = dict.fromkeys(("unit", *ANGLES), str(file))
        if not self.file.is_file():
            raise CheckpointError(
                f"predictor.file: {file} does not exist; put MediaPipe's face_landmarker.task there, or name it."
            )
        try:
            with zipfile.ZipFile(self.file) as parts:
                network, geometry = parts.read(_NETWORK), parts.read(_GEOMETRY)
        except (OSError, KeyError, zipfile.BadZipFile) as error:
            raise CheckpointError(f"predictor.file: {file} is no Face Landmarker ({first_line(error)}).") from error
        self.mean_face = mean_face(geometry)
        """(468, 3) in centimetres: x to the right of the image, y up, z towards the camera."""
        self._interpreter = PerProcess(partial(_open, network, self.file))
        self._interpreter()

    def answer(self, image: np.ndarray, points: np.ndarray) -> Answer:
        """See `rankpose.predictors.onlookers.Onlooker`."""
        mesh, presence = self._look(image, points, View(scale=_FIRST))
        for _ in range(1, self.looks):
            right, left = (mesh[k, :2] for k in _EYES)
            # a turn that looks counter-clockwise lifts the right of the image: it is against a line that falls there
            tilt = np.degrees(np.arctan2(left[1] - right[1], left[0] - right[0]))
            mesh, presence = self._look(image, mesh[:, :2], View(scale=_AGAIN, turn_deg=float(tilt)))
        if not presence >= self.min_presence:
            return Answer(np.full(3, np.nan), presence)
        there = torch.from_numpy(mesh * [1, -1, -1])
        rotation, _ = roma.rigid_points_registration(torch.from_numpy(self.mean_face), there, compute_scaling=False)
        return Answer(rotmat_to_euler(rotation).numpy(), presence)

    def _look(self, image: np.ndarray, points: np.ndarray, view: View) -> tuple[np.ndarray, float]:
        """The mesh in the image's own frame, (468, 3) pixels with y down and z away, and how sure it is, 0 to 1."""
        matrix = crop_matrix(points, self.size, view)
        crop = warp_image(image, matrix, self.size)
        network = self._interpreter()
        inputs, outputs = network.get_input_details(), network.get_output_details()
        network.set_tensor(inputs[0]["index"], crop[None].astype(np.float32) / 255)
        network.invoke()
        mesh, sure, *_ = (network.get_tensor(output["index"]).reshape(-1).astype(np.float64) for output in outputs)
        mesh = mesh.reshape(-1, 3)[:_POINTS]
        back = np.linalg.inv(matrix[:, :2])
        # depth is in the pixels of the crop, too
        depth = mesh[:, 2] * np.sqrt(abs(np.linalg.det(back)))
        return np.column_stack([(mesh[:, :2] - matrix[:, 2]) @ back.T, depth]), float(1 / (1 + np.exp(-sure[0])))


def _open(network: bytes, file: Path) -> Any:
    try:
        from ai_edge_litert.interpreter import Interpreter
    except ImportError as error:
        raise ConfigError(
            "predictor=mediapipe: the package ai-edge-litert is not installed. It comes with the extra mediapipe: "
            "pip install 'rankpose[mediapipe]'."
        ) from error
    try:
        interpreter = Interpreter(model_content=network, num_threads=1)
        interpreter.allocate_tensors()
    except (RuntimeError, ValueError) as error:
        raise CheckpointError(f"predictor.file: {file} holds no network that runs ({first_line(error)}).") from error
    return interpreter


def mean_face(geometry: bytes) -> np.ndarray:
    """MediaPipe's canonical face, (468, 3), from its `GeometryPipelineMetadata` (a protocol buffer).

    Field 2 of the message is the mesh; field 3 of that its vertices, each x, y, z and two texture coordinates.

    Raises:
        CheckpointError: another message.
    """
    try:
        (mesh,) = (value for field, value in _fields(geometry) if field == 1)
        numbers = np.frombuffer(b"".join(value for field, value in _fields(mesh) if field == 3), "<f4")
        return numbers.reshape(_POINTS, 5)[:, :3].astype(np.float64)
    except (IndexError, ValueError) as error:
        raise CheckpointError(f"predictor.file: {_GEOMETRY} holds no mesh of {_POINTS} points.") from error


def _fields(message: bytes) -> list[tuple[int, bytes]]:
    """A protocol buffer's fields that have bytes: numbers of four bytes, and texts or messages."""
    found, place = [], 0
    while place < len(message):
        key, place = _number(message, place)
        kind = key & 7
        if kind == 0:
            _, place = _number(message, place)
            continue
        if kind == 2:
            length, place = _number(message, place)
        elif kind in (1, 5):
            length = 8 if kind == 1 else 4
        else:
            raise ValueError("a field of an unknown kind")
        found.append((key >> 3, message[place : place + length]))
        place += length
    return found


def _number(message: bytes, place: int) -> tuple[int, int]:
    """A number of seven bits a byte, and where the next field begins."""
    value = shift = 0
    while True:
        byte = message[place]
        value, shift, place = value | (byte & 127) << shift, shift + 7, place + 1
        if byte < 128:
            return value, place
