"""From a checkpoint back to a network.

A checkpoint is what `rankpose.train` left, or a `.safetensors` file with a network's weights alone, without anything
that could be run: what can be sent to others. It is one file in half precision (`write_weights`), or a folder as
Hugging Face's hub has it (`write_folder`), with what the network is made from in `config.json`.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from rankpose.errors import CheckpointError, ConfigError, first_line, one_line
from rankpose.files import CONFIG_DIR, DESCRIPTION, PUBLISHED, checkpoint_file, json_text, read_yaml, write_whole
from rankpose.models import PoseNet, build_backbone
from rankpose.pose import Representation

KEY = "rankpose"
"""Under which a checkpoint has what it was made from."""


@dataclass(frozen=True)
class MadeFrom:
    """What a network was made from: all that it takes to make it again, and to cut the images that it is given.

    `stored` is as a checkpoint has it, and `of` reads that, of whatever version.
    """

    backbone: Mapping[str, Any]
    """The arguments of `build_backbone`."""
    representation: Mapping[str, Any]
    """Its `choice` in `conf/representation/`, or `_target_`, a class of a user's own; and the arguments."""
    image_size: int
    """Side of the input, pixels."""
    test_scale: float
    """Side of the crop over the face box's."""
    ema: float | None = None
    """Of which moving average the weights are; None where they are the optimizer's."""

    @classmethod
    def of(cls, stored: Mapping[str, Any]) -> "MadeFrom":
        known = {field.name: stored[field.name] for field in fields(cls) if field.name in stored}
        return cls(**known | {"representation": by_choice("representation", stored["representation"])})

    def stored(self) -> dict[str, Any]:
        return asdict(self)


def read_checkpoint(path: str | Path) -> dict[str, Any]:
    """The content of a checkpoint that `rankpose.train` wrote.

    Raises:
        CheckpointError: missing, unreadable, or written by something else.
    """
    path = checkpoint_file(path)
    if path.suffix == ".safetensors":
        return _read_weights(path)
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch answers a file of another kind with whatever its readers meet
        raise CheckpointError(f"checkpoint={path}: is no checkpoint, or cut off ({type(error).__name__}).") from error
    if not isinstance(content, dict) or not content.get(KEY) or "state_dict" not in content:
        raise CheckpointError(f"checkpoint={path}: was not written by rankpose.train.")
    return content


def _read_weights(path: Path) -> dict[str, Any]:
    try:
        with safe_open(path, framework="pt") as file:
            made_from = json.loads((file.metadata() or {}).get(KEY, "null"))
            weights = {f"net.{name}": file.get_tensor(name).float() for name in file.keys()}  # noqa: SIM118
    except (OSError, ValueError, SafetensorError) as error:
        raise CheckpointError(f"checkpoint={path}: is no file of weights, or cut off ({first_line(error)}).") from error
    if made_from is None:
        made_from = _beside(path)
    if not _says_all(made_from):
        raise CheckpointError(f"checkpoint={path}: does not say what its network is made from: rankpose.export does.")
    try:
        check_free_of_code(by_choice("representation", made_from["representation"]))
    except ConfigError as error:
        raise CheckpointError(f"checkpoint={path}: {error}") from None
    return {KEY: made_from, "state_dict": weights}


def _beside(weights: Path) -> Any:
    """What the description beside a file of weights says; None where there is none."""
    path = weights.with_name(DESCRIPTION)
    if weights.name != PUBLISHED or not path.is_file():
        return None
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path}: cannot be read as JSON ({first_line(error)}).") from error


def _says_all(made_from: Any) -> bool:
    """Whether this is what `MadeFrom.stored` gives: others may have written it."""
    if not isinstance(made_from, Mapping):
        return False
    backbone, representation = made_from.get("backbone"), made_from.get("representation")
    numbers = [made_from.get(key) for key in ("image_size", "test_scale")]
    return (
        isinstance(backbone, Mapping)
        and isinstance(backbone.get("name"), str)
        and isinstance(representation, Mapping)
        and not {"choice", "_target_"}.isdisjoint(representation)
        and all(isinstance(number, int | float) and number > 0 for number in numbers)
    )


def check_free_of_code(representation: Mapping[str, Any]) -> None:
    """Raises `ConfigError` where a representation is no choice of `conf/representation/`: others have no such class."""
    if "choice" not in representation:
        raise ConfigError(
            f"its representation, {representation['_target_']}, is a class of somebody's own: weights that are sent to "
            "others name choices of conf/representation alone, and nothing that would be imported."
        )


def write_weights(net: PoseNet, made_from: MadeFrom, out: Path) -> None:
    """Writes a network's weights in half precision, with what it is made from, as `out` (`.safetensors`)."""
    weights = {
        name: value.half().contiguous() if value.is_floating_point() else value
        for name, value in net.state_dict().items()
        if not name.endswith("num_batches_tracked")
    }
    write_whole(out, save(weights, {KEY: json.dumps(_for_others(made_from), sort_keys=True)}))


def write_folder(net: PoseNet, made_from: MadeFrom, folder: Path) -> None:
    """Writes a network as Hugging Face's hub has it: weights as they are, and a description of what they are of.

    Raises:
        ConfigError: a representation that others do not have.
    """
    stored = _for_others(made_from)
    weights = {name: value.detach().cpu().contiguous() for name, value in net.state_dict().items()}
    write_whole(folder / PUBLISHED, save(weights, {"format": "pt"}))
    write_whole(folder / DESCRIPTION, json_text(stored))


def _for_others(made_from: MadeFrom) -> dict[str, Any]:
    check_free_of_code(made_from.representation)
    # by an ImageNet package or the hub it is not made again
    return made_from.stored() | {"backbone": dict(made_from.backbone) | {"pretrained": False, "weights": None}}


def load_net(path: str | Path) -> tuple[PoseNet, MadeFrom]:
    """The network of a checkpoint in evaluation mode, and what it was made from.

    Raises:
        CheckpointError: see `read_checkpoint`.
    """
    content = read_checkpoint(path)
    made_from = MadeFrom.of(content[KEY])
    backbone = build_backbone(made_from.backbone["name"], options=made_from.backbone.get("options"))
    try:
        net = PoseNet(backbone, _representation(path, made_from.representation))
    except TypeError as error:
        raise CheckpointError(f"checkpoint={path}: its representation cannot be made ({one_line(error)}).") from error
    weights = {
        key.removeprefix("net."): value for key, value in content["state_dict"].items() if key.startswith("net.")
    }
    own = net.state_dict()
    # how many batches an average has seen matters to training alone
    counted = {key: own[key] for key in own if key.endswith("num_batches_tracked")}
    try:
        net.load_state_dict(counted | weights)
    except RuntimeError as error:
        raise CheckpointError(
            f"checkpoint={path}: its weights are not those of {made_from.backbone['name']} ({one_line(error)[:200]})."
        ) from error
    return net.eval(), made_from


def begin_with(net: PoseNet, made_from: MadeFrom, source: str | Path) -> None:
    """Gives a network the weights of another one that is built alike.

    Args:
        net: new.
        made_from: what it is made from.
        source: a checkpoint, a run, or the name of a shipped model.

    Raises:
        ConfigError: it is there, and is built otherwise.
        CheckpointError: see `read_checkpoint`.
    """
    try:
        other, of = load_net(source)
    except CheckpointError as error:
        raise CheckpointError(str(error).replace("checkpoint=", "init=", 1)) from error
    for key, own, theirs in (
        ("backbone.name", made_from.backbone["name"], of.backbone["name"]),
        ("backbone.options", made_from.backbone.get("options") or {}, of.backbone.get("options") or {}),
        ("representation", made_from.representation, of.representation),
    ):
        if own != theirs:
            raise ConfigError(
                f"init={source}: has {key}={theirs}, this run {key}={own}; choose what it has. backbone.weights=FILE "
                "takes the backbone's weights alone, whatever the representation."
            )
    net.load_state_dict(other.state_dict())


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
    settings = dict(stored)
    target = settings.pop("_target_", None)
    if target is None:
        choice = settings.pop("choice")
        known = {path.stem: path for path in Path(CONFIG_DIR, "representation").glob("*.yaml")}
        if choice not in known:  # by name alone: a path would lead elsewhere
            raise CheckpointError(f"checkpoint={checkpoint}: this version has no representation={choice}.")
        target = read_yaml(known[choice])["_target_"]
    module, _, name = str(target).rpartition(".")
    settings.pop("_partial_", None)
    try:
        return partial(getattr(import_module(module), name), **settings)
    except (ImportError, AttributeError, ValueError) as error:
        raise CheckpointError(
            f"checkpoint={checkpoint}: its representation, {target}, cannot be found here."
        ) from error


def check_same_task(path: str | None, made_from: MadeFrom) -> None:
    """Raises where a run would go on from a checkpoint whose network is made from something else.

    Raises:
        ConfigError: names the first key that differs.
        CheckpointError: see `read_checkpoint`.
    """
    if path is None:
        return
    before = MadeFrom.of(read_checkpoint(path)[KEY]).stored()
    for key, value in made_from.stored().items():
        if before[key] != value:
            raise ConfigError(
                f"ckpt_path={path} was trained with {key}={before[key]}, this run has {key}={value}: repeat the "
                "overrides of the run that goes on."
            )
