"""Which private names of Hydra and OmegaConf are taken, and what for: they stand here and nowhere else.

What lies in `hydra.core` is what Hydra's own plugins and examples import, and counts as public. A version without one
of these names fails `tests/test_private.py`, and pyproject.toml keeps versions out with which that has not been tried.
"""

from collections.abc import Sequence
from typing import Any

from hydra._internal.callbacks import Callbacks
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.types import Override
from hydra.types import HydraContext
from omegaconf import DictConfig

PRIVATE = {
    "hydra._internal.callbacks.Callbacks": "a sweeper is made to ask it how many runs it would begin",
    "hydra._internal.core_plugins.basic_sweeper.BasicSweeper.split_arguments": "a part of a study is swept as Hydra "
    "sweeps a command line",
    "omegaconf.DictConfig._get_full_key": "an error names the key as it is given on a command line",
}


def context() -> HydraContext:
    """What Hydra gives to a sweeper, of the Hydra that runs."""
    return HydraContext(config_loader=GlobalHydra.instance().config_loader(), callbacks=Callbacks())


def sweeps_one_product(sweeper: object) -> bool:
    """Whether a sweeper is Hydra's own."""
    # not by its class, of which there are two: Hydra executes the modules of its own plugins a second time
    return type(sweeper).__name__ == BasicSweeper.__name__


def product(overrides: Sequence[Override]) -> list[list[str]]:
    """The overrides of each run of a sweep, as Hydra makes them of swept and other ones."""
    (runs,) = BasicSweeper.split_arguments(list(overrides), None)
    return runs


def full_key(config: DictConfig, key: str = "") -> str:
    """The key below a part of a configuration, as it is called from the top; of the part itself without a key."""
    full: Any = config._get_full_key(key)
    return str(full)
