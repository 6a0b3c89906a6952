"""Where the configuration lies, and files that are whole or not there."""

import os
from pathlib import Path

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
