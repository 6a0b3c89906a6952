"""Whose poses are tested: our checkpoints, anybody's ONNX files and classes, and tables of predictions made elsewhere.

A `Predictor` sees crops. It is an `nn.Module`, so that Lightning's Trainer, batches, processes and metrics serve it
as they serve our own networks. An `Onlooker` is given whole pictures, and cuts out of them what it wants to see. A
`TablePredictor` saw them elsewhere, and only looks its answers up.
"""

from collections.abc import Mapping
from typing import Protocol

from torch import Tensor

from rankpose.data.crop_rules import CropRule
from rankpose.pose import PoseOutput
from rankpose.predictors.checkpoint import CheckpointPredictor
from rankpose.predictors.face_mesh import FaceMeshPredictor
from rankpose.predictors.onlookers import Answer, Onlooker
from rankpose.predictors.onnx import OnnxPredictor, onnx_predictor
from rankpose.predictors.opentrack import OpentrackPredictor
from rankpose.predictors.python import PythonPredictor, python_predictor
from rankpose.predictors.table import TablePredictor

__all__ = [
    "Answer",
    "CheckpointPredictor",
    "FaceMeshPredictor",
    "Onlooker",
    "OnnxPredictor",
    "OpentrackPredictor",
    "Predictor",
    "PythonPredictor",
    "TablePredictor",
    "onnx_predictor",
    "python_predictor",
]


class Predictor(Protocol):
    """What every predictor that sees crops has: whoever loads the images asks it for crop and size."""

    @property
    def crop(self) -> CropRule:
        """What it sees of an image."""

    @property
    def size(self) -> int:
        """Side of its input, pixels."""

    @property
    def keys(self) -> Mapping[str, str]:
        """Where to look if all angles seem to be of another unit (`unit`), or one, by its name, of another sign."""

    def __call__(self, image: Tensor) -> PoseOutput:
        """(N, 3, size, size) uint8, red first, to poses (N, 3) in degrees."""
        ...
