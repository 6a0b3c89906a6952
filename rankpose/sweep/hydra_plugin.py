"""How does a class of this package become a plugin of Hydra?

Hydra takes plugins only from the package `hydra_plugins`, in which it does not find those of an editable installation.
So a class says that it is from there, and can be imported from there.
"""

import sys
from contextlib import suppress
from importlib import import_module
from types import ModuleType

from hydra.core.plugins import Plugins
from hydra.plugins.plugin import Plugin

PLACE = "hydra_plugins.rankpose"
"""A `_target_` is this and the name of the class."""


def register(plugin: type[Plugin]) -> None:
    """Makes a launcher or a sweeper known to Hydra, as `hydra_plugins.rankpose.NAME`."""
    plugins = Plugins.instance()  # looks for installed plugins first
    with suppress(ModuleNotFoundError):
        import_module("hydra_plugins")
    sys.modules.setdefault("hydra_plugins", ModuleType("hydra_plugins"))
    setattr(sys.modules.setdefault(PLACE, ModuleType(PLACE)), plugin.__name__, plugin)
    plugin.__module__ = PLACE
    plugins.register(plugin)
