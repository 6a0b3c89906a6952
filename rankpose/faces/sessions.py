"""How is a model file of a detector found and opened? One line for whatever is wrong with it."""

import importlib.util
from pathlib import Path

import onnxruntime

from rankpose.errors import ConfigError, first_line


def carried(package: str, file: str, how: str) -> Path:
    """A file that an installed package carries, found without importing the package.

    Args:
        package: its name to `import`.
        file: relative to the package's folder.
        how: what to install, or to choose instead.

    Raises:
        ConfigError: the package or its file is not there.
    """
    found = importlib.util.find_spec(package)
    places = [Path(place) / file for place in (found.submodule_search_locations or [] if found is not None else [])]
    path = next((place for place in places if place.is_file()), None)
    if path is None:
        raise ConfigError(f"detector: the package {package} with its {file} is not installed. {how}")
    return path


def given(model: str | Path | None, name: str, where: str) -> Path:
    """The model file that a user named.

    Args:
        model: the path, None where none was given.
        name: of the detector.
        where: where such a file is to be had.

    Raises:
        ConfigError: there is none.
    """
    if model is None:
        raise ConfigError(f"detector.model is not set: detector={name} needs detector.model=FILE, {where}.")
    if not Path(model).is_file():
        raise ConfigError(f"detector.model={model}: no such file; detector={name} needs {where}.")
    return Path(model)


def opened(model: bytes | str, name: str, threads: int = 0) -> onnxruntime.InferenceSession:
    """A session on the CPU.

    Args:
        model: the content of an ONNX file, or its path.
        name: of the file, for an error.
        threads: 0 takes as many as there are cores.

    Raises:
        ConfigError: it is no ONNX model that can be run.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    # waiting threads would take the cores from the network and from the film's encoder
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime has an exception of its own for each thing that can be wrong
        raise ConfigError(f"{name} is no ONNX model that can be run ({first_line(error)}).") from error
