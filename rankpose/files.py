"""Where the configuration lies, files that are whole or not there, and how YAML is read."""

import difflib
import errno
import json
import math
import os
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml  # type: ignore[import-untyped]

from rankpose.errors import CheckpointError, one_line

_HERE = Path(__file__).resolve().parent
CONFIG_DIR = str(_HERE / "conf" if (_HERE / "conf").is_dir() else _HERE.parent / "conf")
"""In a wheel the configuration lies inside the package, in a checkout beside it."""


WEIGHTS_DIR = _HERE / "models" / "weights"
"""Where the models lie that come with the package, each with its card."""


PUBLISHED, DESCRIPTION = "model.safetensors", "config.json"
"""What Hugging Face's hub calls the weights of a model and what says what they are of."""


def shipped_models() -> dict[str, Path]:
    """The models that come with the package, by name: their weights."""
    return {file.stem: file for file in sorted(WEIGHTS_DIR.glob("*.safetensors"))}


def checkpoint_file(path: str | Path) -> Path:
    """The checkpoint that a path means: of a run's folder, or of the folder of its checkpoints, the best one.

    A folder as Hugging Face's hub has it (`PUBLISHED`) means its weights, as does the name of a model that comes with
    the package (`shipped_models`).

    Raises:
        CheckpointError: there is none.
    """
    path, shipped = Path(path), shipped_models()
    places = (path / place for place in ("checkpoints/best.ckpt", "best.ckpt", PUBLISHED))
    found = next((place for place in places if place.exists()), path)
    if not found.exists() and str(path) in shipped:
        return shipped[str(path)]
    if not found.is_file():
        models = difflib.get_close_matches(str(path), shipped, n=1, cutoff=0.5) or list(shipped)
        hint = f" By name there is {' and '.join(models)}." if models else ""
        raise CheckpointError(f"checkpoint={path}: no such file; a run keeps them in RUN/checkpoints/.{hint}")
    return found


NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""A full disk, a full quota, a file larger than the process may write."""


def no_room_for(what: str, folder: Path, error: OSError) -> str:
    """What is said of a file that found no room in a folder: which, why, and how much is free."""
    there = next(place for place in (folder.absolute(), *folder.absolute().parents) if place.exists())
    free = shutil.disk_usage(there).free
    said = f"{free / 1e9:,.2f} GB" if free >= 1e9 else f"{free / 1e6:,.1f} MB"
    return f"no room for {what}: {os.strerror(error.errno or 0)}, {said} are free"


def write_whole(path: Path, content: str | bytes | memoryview, synced: bool = False) -> None:
    """Writes a file under a temporary name and renames it: the name never holds half a file.

    Args:
        path: its name; the folder is made where there is none.
        content: a text is written as UTF-8.
        synced: wait until the disk has it; otherwise a power cut may leave an empty file.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    # `run.directory.opened` finds by this name what a killed run left
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with temporary.open("wb") as file:
            file.write(content.encode() if isinstance(content, str) else content)
            if synced:
                file.flush()
                os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    if synced:  # a rename is on the disk when its folder is
        number = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(number)
        finally:
            os.close(number)


def json_text(content: Any) -> str:
    """Plain values as JSON with sorted keys; what is not a number is null."""
    return json.dumps(_finite(content), indent=2, sort_keys=True, allow_nan=False) + "\n"


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _finite(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(entry) for entry in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


class _Loader(yaml.SafeLoader):  # type: ignore[misc]
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
        raise ValueError(one_line(error)) from error


def model_file(source: str | Path) -> Path:
    """The file that a model is: a checkpoint, of a run's folder the best one, or the description of an ONNX file.

    Args:
        source: a checkpoint, a run's folder, a folder as the hub has it, a model's name, an ONNX file with its
            description beside it (FILE.onnx and FILE.yaml), or a description.

    Returns:
        a checkpoint, or a `.yaml`.

    Raises:
        CheckpointError: there is none.
    """
    path = Path(source)
    if path.suffix.lower() not in (".onnx", ".yaml", ".yml") or path.is_dir():
        return checkpoint_file(path)
    if not path.is_file():
        raise CheckpointError(f"checkpoint={path}: no such file.")
    if path.suffix.lower() != ".onnx":
        return path
    description = path.with_suffix(".yaml")
    if not description.is_file():
        raise CheckpointError(
            f"checkpoint={path}: its description, {description}, is missing: rankpose.export writes it beside the "
            "file, rankpose/predictors/description.py says what one holds."
        )
    return description
