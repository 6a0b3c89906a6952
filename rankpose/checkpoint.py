"""From a checkpoint back to a network."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from rankpose.configuration import build
from rankpose.errors import CheckpointError, ConfigError
from rankpose.models import PoseNet, build_backbone

KEY = "rankpose"


def checkpoint_file(path: str | Path) -> Path:
    """The checkpoint that a path means: of a run's folder, or of the folder of its checkpoints, the best one."""
    path = Path(path)
    found = (path / place for place in ("checkpoints/best.ckpt", "best.ckpt"))
    return next((place for place in found if place.exists()), path)


def read_checkpoint(path: str | Path) -> dict[str, Any]:
    """The content of a checkpoint that `rankpose.train` wrote.

    Raises:
        CheckpointError: missing, unreadable, or written by something else.
    """
    path = checkpoint_file(path)
    if not path.is_file():
        raise CheckpointError(f"checkpoint={path}: no such file; a run keeps them in RUN/checkpoints/.")
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch answers a file of another kind with whatever its readers meet
        raise CheckpointError(f"checkpoint={path}: is no checkpoint, or cut off ({type(error).__name__}).") from error
    if not isinstance(content, dict) or not content.get(KEY) or "state_dict" not in content:
        raise CheckpointError(f"checkpoint={path}: was not written by rankpose.train.")
    return content


def load_net(path: str | Path) -> tuple[PoseNet, dict[str, Any]]:
    """The network of a checkpoint in evaluation mode, and what it was built from.

    The second has `backbone`, `representation`, `image_size` (side of the input, pixels) and `test_scale` (side of the
    crop over the face box's).

    Raises:
        CheckpointError: see `read_checkpoint`.
    """
    content = read_checkpoint(path)
    config = content[KEY]
    backbone = build_backbone(config["backbone"]["name"], options=config["backbone"].get("options"))
    net = PoseNet(backbone, build(config["representation"]))
    weights = {
        key.removeprefix("net."): value for key, value in content["state_dict"].items() if key.startswith("net.")
    }
    net.load_state_dict(weights)
    return net.eval(), config


def check_same_task(path: str | None, config: Mapping[str, Any]) -> None:
    """Raises where a run would go on from a checkpoint with another configuration than it was trained with.

    Raises:
        ConfigError: names the first key that differs.
        CheckpointError: see `read_checkpoint`.
    """
    if path is None:
        return
    before = read_checkpoint(path)[KEY]
    for key, value in config.items():
        if before.get(key) != value:
            raise ConfigError(
                f"ckpt_path={path} was trained with {key}={before.get(key)}, this run has {key}={value}: repeat the "
                "overrides of the run that goes on."
            )
