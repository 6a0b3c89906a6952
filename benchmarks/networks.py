"""How much processor time does a network take for a face, by what computes it, and what does that do to its poses?

Part of `python -m benchmarks.predict`. A network of ours is timed in torch, as `torch.compile` makes it, and in ONNX
Runtime with numbers of 32 and of 8 bits (convolutions alone, calibrated on rendered heads); any other as it is.
"""

import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import process_time
from typing import Any

import numpy as np
import torch
from onnxruntime.quantization import CalibrationDataReader, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process
from torch import Tensor, nn

from rankpose.data.crop import face_points, points_around, read_image
from rankpose.data.crop_rules import CropRule, RankPoseCrop
from rankpose.data.record import Records
from rankpose.data.synthetic.dataset import read_synthetic
from rankpose.data.synthetic.write import write_synthetic
from rankpose.pose import PoseOutput
from rankpose.predictors import FaceMeshPredictor, OnnxPredictor, Predictor, onnx_predictor
from rankpose.predictors.checkpoint import CheckpointPredictor
from rankpose.predictors.export import INPUT, describe, export_onnx
from rankpose.predictors.load import Estimator

CALIBRATED_ON = {"train": 30, "val": 1, "test": 1}
"""People who are rendered to find the ranges of 8-bit numbers."""
IMAGES_EACH = 4


class Mesh(nn.Module):
    """MediaPipe's mesh as a predictor of crops, one look each: as often as it looks at a frame of a film.

    Args:
        file: `face_landmarker.task`.
    """

    def __init__(self, file: Path) -> None:
        super().__init__()
        self.mesh = FaceMeshPredictor(file, looks=1)
        self.crop: CropRule = RankPoseCrop(self.mesh.crop.scale)
        self.size = self.mesh.size
        self.keys = self.mesh.keys
        # of the box in a crop, so that what the mesh cuts out of the crop is all of it
        margin = self.size * (1 - 1 / self.mesh.crop.scale) / 2
        low, high = margin - 0.5, self.size - margin - 0.5
        self.points = points_around(np.array([low, low, high, high]), None)

    def forward(self, image: Tensor) -> PoseOutput:
        """(N, 3, size, size) uint8, red first, to poses (N, 3) in degrees."""
        crops = image.permute(0, 2, 3, 1).cpu().numpy()
        pose = torch.from_numpy(np.array([self.mesh.answer(crop, self.points).pose for crop in crops])).float()
        return PoseOutput(pose, pose)


@dataclass(frozen=True)
class Timed:
    """What was measured of a network."""

    name: str
    together_ms: float
    """A face, of a batch."""
    alone_ms: float
    """A face that comes by itself."""
    away_deg: float | None
    """Of the same network in torch: the mean absolute difference of an angle on the film's faces."""
    mae: float | None
    """On photographs."""


def networks(
    name: str, predictor: Any, film_crops: Sequence[np.ndarray], photographs: Records | None, seconds: float
) -> Iterator[Timed]:
    """Times a network, and one of ours in all its forms.

    Args:
        name: what it is called.
        predictor: the network.
        film_crops: (size, size, 3) uint8 each: a batch of what it sees.
        photographs: with poses, for the error of all forms of a network of ours; None measures none.
        seconds: that each form is timed for.
    """
    batch = _batch(film_crops)
    known: tuple[Tensor, np.ndarray] | None = None
    if photographs is not None and isinstance(predictor, CheckpointPredictor):
        known = _batch(crops_of(predictor, photographs)), photographs.pose
    in_torch: np.ndarray | None = None
    with tempfile.TemporaryDirectory() as folder:
        for form, call in _forms(predictor, Path(folder)):
            with torch.inference_mode():
                pose = _pose(call, batch)
                in_torch = pose if in_torch is None else in_torch
                together, alone = _seconds(call, batch, seconds) / len(batch), _seconds(call, batch[:1], seconds)
                mae = None
                if known is not None and form != "torch.compile":  # that would be compiled again for other sizes
                    found = np.concatenate([_pose(call, part) for part in known[0].split(64)])
                    mae = float(np.abs(found - known[1]).mean())
            away = float(np.abs(pose - in_torch).mean()) if form and form != "torch" else None
            yield Timed(f"{name}, {form}" if form else name, 1000 * together, 1000 * alone, away, mae)


def crops_of(predictor: Predictor, records: Records) -> list[np.ndarray]:
    """What a predictor sees of each record."""
    found = (records[row] for row in range(len(records)))
    return [predictor.crop(read_image(one.image), face_points(one), predictor.size) for one in found]


def faces_of(estimator: Estimator, images: Sequence[np.ndarray]) -> list[np.ndarray]:
    """What the predictor sees of the surest face of each picture that has one."""
    found = [(image, estimator.detector(image)) for image in images]
    return [estimator.crop(image, faces[0]) for image, faces in found if faces]


def _forms(predictor: Any, folder: Path) -> Iterator[tuple[str, Callable[[Tensor], PoseOutput]]]:
    """A network in all its forms, each with its name; of others' there is one, without."""
    if not isinstance(predictor, CheckpointPredictor):
        yield "", predictor
        return
    predictor = predictor.cpu()
    yield "torch", predictor
    yield "torch.compile", torch.compile(predictor)
    export_onnx(predictor.net, predictor.made_from, folder / "float32.onnx")
    yield "ONNX Runtime", _session("float32.onnx", folder, predictor)
    write_synthetic(folder / "heads", CALIBRATED_ON, images_per_identity=IMAGES_EACH, workers=1, progress=False)
    train, val, test = CALIBRATED_ON.values()
    heads = read_synthetic(folder / "heads", train, val, test, images_per_identity=IMAGES_EACH)
    write_int8(folder / "float32.onnx", _batch(crops_of(predictor, heads)).numpy(), folder / "int8.onnx")
    yield "ONNX Runtime, int8", _session("int8.onnx", folder, predictor)


def write_int8(file: Path, crops: np.ndarray, out: Path) -> None:
    """Writes an exported network with convolutions of 8-bit numbers.

    Args:
        file: as `export_onnx` writes it.
        crops: (N, 3, size, size) uint8, from which the ranges of numbers are taken.
        out: the new one.
    """

    class Crops(CalibrationDataReader):  # type: ignore[misc]
        parts = iter(np.array_split(crops, max(1, len(crops) // 16)))

        def get_next(self) -> dict[str, np.ndarray] | None:
            part = next(self.parts, None)
            return None if part is None else {INPUT: part}

    with tempfile.TemporaryDirectory() as folder:
        prepared = Path(folder) / "prepared.onnx"  # normalisation lies in the convolutions
        quant_pre_process(file, prepared, skip_symbolic_shape=True)
        quantize_static(
            prepared,
            out,
            Crops(),
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            op_types_to_quantize=["Conv"],  # what turns features into angles keeps its precision
        )


def _session(file: str, folder: Path, predictor: CheckpointPredictor) -> OnnxPredictor:
    return onnx_predictor(describe(str(folder / file), predictor.made_from))


def _batch(crops: Sequence[np.ndarray]) -> Tensor:
    return torch.from_numpy(np.stack(crops)).permute(0, 3, 1, 2).contiguous()


def _pose(call: Callable[[Tensor], PoseOutput], batch: Tensor) -> np.ndarray:
    return call(batch).pose.double().numpy()


def _seconds(call: Callable[[Tensor], PoseOutput], batch: Tensor, seconds: float) -> float:
    """The median of the processor time of a call: what else the machine does is not counted."""
    call(batch)
    taken: list[float] = []
    while sum(taken) < seconds or len(taken) < 5:
        begun = process_time()
        call(batch)
        taken.append(process_time() - begun)
    return float(np.median(taken))


def table(found: Sequence[Timed]) -> str:
    """The networks as Markdown; times beside that of the first one."""
    first = found[0]
    lines = [
        "| network | ms a face, of a batch | of the first's | ms a face, alone | of the first's | away, ° | MAE, ° |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for one in found:
        together = f"{one.together_ms:.2f} | {one.together_ms / first.together_ms:.2f}"
        alone = f"{one.alone_ms:.2f} | {one.alone_ms / first.alone_ms:.2f}"
        away, mae = ("" if value is None else f"{value:.2f}" for value in (one.away_deg, one.mae))
        lines.append(f"| {one.name} | {together} | {alone} | {away} | {mae} |")
    return "\n".join(lines)
