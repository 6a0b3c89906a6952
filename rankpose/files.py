"""Where the configuration lies, files that are whole or not there, and how YAML is read."""

import json
import math
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml  # type: ignore[import-untyped]

_HERE = Path(__file__).resolve().parent
CONFIG_DIR = str(_HERE / "conf" if (_HERE / "conf").is_dir() else _HERE.parent / "conf")
"""In a wheel the configuration lies inside the package, in a checkout beside it."""


def write_whole(path: Path, content: str | bytes) -> None:
    """Writes a file under a temporary name and renames it: the name never holds half a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        temporary.write_bytes(content.encode() if isinstance(content, str) else content)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def json_text(content: Any) -> str:
    """Plain values as JSON with sorted keys; what is not a number is null."""
    return json.dumps(_finite(content), indent=2, sort_keys=True, allow_nan=False) + "\n"


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _finite(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(entry) for entry in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


class _Loader(yaml.SafeLoader):
    """PyYAML's, but for numbers: `1e-3` is one, as YAML 1.2 and Hydra's files have it."""


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"[-+]?(\d[\d_]*\.?[\d_]*|\.\d[\d_]*)[eE][-+]?\d+$"), list("-+0123456789.")
)


def read_yaml(path: str | Path) -> Any:
    """The plain content of a YAML file.

    Raises:
        OSError: it cannot be read.
        ValueError: it is no YAML; the message is one line.
    """
    try:
        return yaml.load(Path(path).read_text(encoding="utf-8"), _Loader)
    except yaml.YAMLError as error:
        raise ValueError(" ".join(str(error).split())) from error
