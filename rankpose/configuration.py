"""The door: where Hydra's configuration is, and how it becomes plain objects. Only entry points import this."""

import logging
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import hydra
import torch
from hydra.errors import InstantiationException
from omegaconf import DictConfig, OmegaConf

from rankpose.errors import ConfigError, user_error

_HERE = Path(__file__).resolve().parent
CONFIG_DIR = str(_HERE / "conf" if (_HERE / "conf").is_dir() else _HERE.parent / "conf")
"""In a wheel the configuration lies inside the package, in a checkout beside it."""


def fast_precision() -> str:
    """`bf16-mixed` where the machine computes in bfloat16, else `32-true`."""
    if torch.cuda.is_available():
        return "bf16-mixed" if torch.cuda.is_bf16_supported() else "32-true"
    cpu: dict[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()
    return "bf16-mixed" if cpu.get("avx512_bf16") or cpu.get("amx_bf16") else "32-true"


OmegaConf.register_new_resolver("fast_precision", fast_precision, replace=True)


def quiet_libraries() -> None:
    """Keeps Lightning's advertisements and other libraries' deprecation notes out of what a user reads."""
    for name in ("pytorch_lightning", "pytorch_lightning.utilities.rank_zero", "lightning_fabric.utilities.rank_zero"):
        logging.getLogger(name).setLevel(logging.WARNING)
    for message in (".*LeafSpec.*", ".*weights_only.*", ".*could not find the monitored key.*", ".*num_workers.*"):
        warnings.filterwarnings("ignore", message, module="pytorch_lightning.*")


def build(config: DictConfig | Mapping[str, Any], **overrides: Any) -> Any:
    """What a configuration with `_target_` describes; a user's mistake found on the way is raised as such.

    Raises:
        RankPoseError: found by what is built.
        ConfigError: a key that the target does not take.
    """
    try:
        return hydra.utils.instantiate(config, _convert_="all", **overrides)
    except InstantiationException as error:
        mistake = user_error(error)
        if mistake is not None:
            raise mistake from error
        lines = [line for line in str(error).splitlines() if line.strip()]
        raise ConfigError(" ".join(lines)) from error


def plain(config: Any) -> Any:
    """A configuration as plain dicts and lists, everything resolved."""
    return OmegaConf.to_container(config, resolve=True) if OmegaConf.is_config(config) else config
