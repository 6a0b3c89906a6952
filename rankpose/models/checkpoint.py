"""From a checkpoint back to a network."""

from collections.abc import Callable, Mapping
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

import torch

from rankpose.errors import CheckpointError, ConfigError
from rankpose.files import CONFIG_DIR, read_yaml
from rankpose.models import PoseNet, build_backbone
from rankpose.pose import Representation

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
    net = PoseNet(backbone, _representation(path, config["representation"]))
    weights = {
        key.removeprefix("net."): value for key, value in content["state_dict"].items() if key.startswith("net.")
    }
    net.load_state_dict(weights)
    return net.eval(), config


def by_choice(group: str, part: Mapping[str, Any]) -> dict[str, Any]:
    """A part of the configuration as it is stored: `choice` names the file of its group that says which class it is.

    A class that no file of the group names, a user's own, is stored as it is.

    Args:
        group: of the configuration, as `representation`.
        part: plain, with a `_target_`; one that is stored already, by whatever version, is brought to the same form.
    """
    kept = {key: value for key, value in part.items() if key not in ("_target_", "_partial_")}
    if "choice" in part:
        return kept
    # by the name alone: modules move
    name = str(part["_target_"]).rpartition(".")[2]
    for path in sorted(Path(CONFIG_DIR, group).glob("*.yaml")):
        if read_yaml(path).get("_target_", "").rpartition(".")[2] == name and str(part["_target_"]).startswith(
            "rankpose."
        ):
            return {"choice": path.stem, **kept}
    return dict(part)


def _representation(checkpoint: str | Path, stored: Mapping[str, Any]) -> Callable[[int], Representation]:
    settings = by_choice("representation", stored)
    target = settings.pop("_target_", None)
    if target is None:
        choice = settings.pop("choice")
        path = Path(CONFIG_DIR, "representation", f"{choice}.yaml")
        if not path.is_file():
            raise CheckpointError(f"checkpoint={checkpoint}: this version has no representation={choice}.")
        target = read_yaml(path)["_target_"]
    module, _, name = str(target).rpartition(".")
    settings.pop("_partial_", None)
    try:
        return partial(getattr(import_module(module), name), **settings)
    except (ImportError, AttributeError, ValueError) as error:
        raise CheckpointError(
            f"checkpoint={checkpoint}: its representation, {target}, cannot be found here."
        ) from error


def check_same_task(path: str | None, config: Mapping[str, Any]) -> None:
    """Raises where a run would go on from a checkpoint with another configuration than it was trained with.

    Raises:
        ConfigError: names the first key that differs.
        CheckpointError: see `read_checkpoint`.
    """
    if path is None:
        return
    before = dict(read_checkpoint(path)[KEY])
    before["representation"] = by_choice("representation", before["representation"])
    for key, value in config.items():
        if before.get(key) != value:
            raise ConfigError(
                f"ckpt_path={path} was trained with {key}={before.get(key)}, this run has {key}={value}: repeat the "
                "overrides of the run that goes on."
            )
