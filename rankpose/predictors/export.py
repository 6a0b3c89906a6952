"""How a network becomes an ONNX file with its description.

The file takes uint8 images as they are cropped, (N, 3, size, size) with red first, and gives (N, 3) yaw, pitch, roll in
degrees. Beside it goes the YAML that describes it, for `predictor=onnx predictor.description=model.yaml`.
"""

import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import yaml  # type: ignore[import-untyped]
from torch import Tensor, nn

from rankpose.errors import CheckpointError, ConfigError, first_line
from rankpose.files import write_whole
from rankpose.models import PoseNet
from rankpose.models.checkpoint import MadeFrom
from rankpose.pose import ANGLES
from rankpose.predictors.onnx import onnx_predictor

INPUT, OUTPUT = "image", "pose"
TOLERANCE_DEG = 1e-3
"""How far the file's poses may be from the network's."""


class _Poses(nn.Module):
    """A network that gives the poses alone."""

    def __init__(self, net: PoseNet) -> None:
        super().__init__()
        self.net = net

    def forward(self, image: Tensor) -> Tensor:
        pose: Tensor = self.net(image).pose
        return pose


def describe(file: str, made_from: MadeFrom) -> dict[str, Any]:
    """The description of an exported file; see `rankpose.predictors.description`."""
    return {
        "files": [file],
        "input": INPUT,
        "size": made_from.image_size,
        "colour": "rgb",
        "layout": "nchw",
        "pixels": {"divide_by": 1, "mean": 0, "std": 1},
        "crop": {"rule": "rankpose", "scale": made_from.test_scale},
        "output": {"kind": "angles", "unit": "degrees"}
        | {angle: {"name": OUTPUT, "index": k, "sign": 1} for k, angle in enumerate(ANGLES)},
    }


def export_onnx(net: PoseNet, made_from: MadeFrom, out: Path) -> float:
    """Writes `out` and, with the ending `.yaml`, its description, after checking one against the other.

    Args:
        net: the network, in evaluation mode.
        made_from: as `load_net` gives it.
        out: ends with `.onnx`.

    Returns:
        the largest difference between the file's poses and the network's on random images, degrees.

    Raises:
        ConfigError: `out` has another ending.
        CheckpointError: a network that cannot be exported, or whose file gives other poses: nothing is written.
    """
    if out.suffix != ".onnx":
        raise ConfigError(f"out={out}: must end with .onnx (the description goes beside it as .yaml) or .safetensors.")
    size = made_from.image_size
    with tempfile.TemporaryDirectory() as folder:
        draft = Path(folder) / out.name
        _write_onnx(_Poses(net).eval(), size, made_from, draft)
        difference = _difference(net, size, describe(str(draft), made_from))
        if not difference <= TOLERANCE_DEG:
            raise CheckpointError(
                f"{out}: was not written: its poses are up to {difference:.2g} degrees from the network's, more than "
                f"{TOLERANCE_DEG:g}."
            )
        write_whole(out, draft.read_bytes())
    meaning = f"# What {out.name} takes and gives: predictor=onnx predictor.description={out.stem}.yaml.\n"
    write_whole(out.with_suffix(".yaml"), meaning + yaml.safe_dump(describe(out.name, made_from), sort_keys=False))
    return difference


def _write_onnx(net: nn.Module, size: int, made_from: MadeFrom, file: Path) -> None:
    try:
        program = torch.onnx.export(
            net,
            (torch.zeros(2, 3, size, size, dtype=torch.uint8),),
            input_names=[INPUT],
            output_names=[OUTPUT],
            dynamic_shapes=({0: torch.export.Dim("batch")},),
            dynamo=True,
            verbose=False,
        )
    except torch.onnx.errors.OnnxExporterError as error:
        raise CheckpointError(
            f"backbone {made_from.backbone['name']}: cannot be exported ({first_line(error)})."
        ) from error
    assert program is not None
    # the exporter notes the source line of every node, with the paths of this machine
    for node in program.model.graph.all_nodes():
        node.metadata_props.clear()
    program.model.metadata_props.update(
        {
            "made_from": json.dumps(made_from.stored(), sort_keys=True),
            "input": f"{INPUT}: uint8 (N, 3, {size}, {size}), red first",
            "output": f"{OUTPUT}: (N, 3) {', '.join(ANGLES)}, degrees, signs of 300W-LP",
        }
    )
    program.save(file, external_data=False)


def _difference(net: PoseNet, size: int, description: Mapping[str, Any]) -> float:
    """The largest difference between network and file, in batches of another size than the export's, degrees."""
    predictor = onnx_predictor(description)
    random = torch.Generator().manual_seed(0)
    largest = 0.0
    for count in (1, 7):
        crops = torch.randint(0, 256, (count, 3, size, size), dtype=torch.uint8, generator=random)
        with torch.inference_mode():
            largest = max(largest, float((net(crops).pose - predictor(crops).pose).abs().max()))
    return largest
