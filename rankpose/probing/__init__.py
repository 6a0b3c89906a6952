"""What do features know, what moves them, and where does a network look? Measured, for any checkpoint.

`features` reads them, `factors` says what is known of each picture, `probes` asks features for it, `pairs` changes one
factor at a time, `maps` looks where the pose comes from, `study` does all of it for several networks.
"""

import importlib.util

from rankpose.errors import ConfigError


def check_extra() -> None:
    """Raises `ConfigError` where what this room is made with is not installed."""
    missing = [name for name in ("captum", "sklearn") if importlib.util.find_spec(name) is None]
    if missing:
        raise ConfigError(
            f"rankpose.probe needs {' and '.join(missing)} of the extra probe: pip install 'rankpose[probe]'."
        )
