"""A user's own class as a predictor: for models that a description (`rankpose.predictors.description`) cannot say.

The class lies in a Python file of the user's and has

    crop    a crop rule: a name of `rankpose.data.crop_rules.CROP_RULES`, or an object of one of its classes
    size    side of its input, pixels

and one of two methods. `__call__` (`forward` of an `nn.Module`) takes crops, (N, 3, size, size) uint8 with red first,
and gives (N, 3) yaw, pitch, roll in degrees, as a tensor, an array or a list; a row of NaN says that there is no face.
`answer` takes one whole picture and is an onlooker's, see `rankpose.predictors.onlookers`.
"""

import importlib.util
import inspect
import sys
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from rankpose.data.crop_rules import CROP_RULES, CropRule
from rankpose.errors import CheckpointError, ConfigError, RankPoseError, one_line
from rankpose.pose import ANGLES, PoseOutput
from rankpose.predictors.onlookers import Onlooker


def python_predictor(
    file: str | Path, name: str | None = None, arguments: Mapping[str, Any] | None = None
) -> "PythonPredictor | Onlooker":
    """The predictor that a class in a Python file is.

    Args:
        file: the Python file. Modules that lie beside it can be imported by it.
        name: the class; None takes the only one of the file that has `__call__`, `forward` or `answer`.
        arguments: what the class is made with.

    Raises:
        CheckpointError: no such file.
        ConfigError: no such class, or one that cannot be made or asked, or answers something else: names the file.
    """
    path = Path(file)
    if not path.is_file():
        raise CheckpointError(f"predictor.file={file}: no such file; it is a Python file with a class that predicts.")
    found = _class_of(_module_of(path), name, path)
    said = f"predictor.file={file}: {found.__name__}"
    try:
        model = found(**dict(arguments or {}))
    except RankPoseError:
        raise
    except Exception as error:
        raise ConfigError(f"{said} cannot be made ({type(error).__name__}: {one_line(error)}).") from error
    for key in ("crop", "size"):
        if not hasattr(model, key):
            raise ConfigError(f"{said} has no {key}.")
    if not isinstance(model.size, int) or model.size < 1:
        raise ConfigError(f"{said}: size={model.size} must be a whole number of pixels.")
    crop = _crop_of(model.crop, said)
    keys = dict.fromkeys(("unit", *ANGLES), f"what {found.__name__} of {file} answers")
    if hasattr(model, "answer"):
        model.crop, model.keys = crop, keys
        onlooker: Onlooker = model
        return onlooker
    return PythonPredictor(model, crop, keys, said)


class PythonPredictor(nn.Module):
    """An object that a user's class made. It is asked for two black crops at once, so that what is wrong is told early.

    Args:
        model: has `size` and can be called; where it is an `nn.Module` it goes to the trainer's device, any other is
            given tensors of the CPU.
        crop: what it sees of an image.
        keys: see `rankpose.predictors.Predictor`.
        said: what it is called in errors.
    """

    def __init__(self, model: Any, crop: CropRule, keys: Mapping[str, str], said: str) -> None:
        super().__init__()
        self.model, self.crop, self.keys, self.said = model, crop, keys, said
        self.size: int = model.size
        with torch.inference_mode():
            self.eval()(torch.zeros(2, 3, self.size, self.size, dtype=torch.uint8))

    def forward(self, image: Tensor) -> PoseOutput:
        """(N, 3, size, size) uint8, red first, to poses (N, 3) in degrees, float32; NaN where it sees no face."""
        given = image if isinstance(self.model, nn.Module) else image.cpu()
        try:
            answer = self.model(given)
            answer = answer.pose if isinstance(answer, PoseOutput) else answer
            pose = answer if isinstance(answer, Tensor) else torch.from_numpy(np.asarray(answer, np.float64))
        except RankPoseError:
            raise
        except Exception as error:
            raise ConfigError(
                f"{self.said} does not answer for {len(image)} crops ({type(error).__name__}: {one_line(error)})."
            ) from error
        if pose.shape != (len(image), 3):
            raise ConfigError(
                f"{self.said} answers with the shape {tuple(pose.shape)} for {len(image)} crops; yaw, pitch and roll "
                f"of each are {(len(image), 3)}."
            )
        pose = pose.to(image.device, torch.float32)
        return PoseOutput(pose, pose)


def _module_of(path: Path) -> ModuleType:
    """The file as a module, under a name that no other has; what lies beside it can be imported."""
    name = f"predictor_{path.stem}_{abs(hash(path.resolve())):x}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ConfigError(f"predictor.file={path}: is no Python file; its name must end with .py.")
    module = importlib.util.module_from_spec(spec)
    # where classes look for the module that they are of
    sys.modules[name] = module
    beside = str(path.resolve().parent)
    sys.path.insert(0, beside)
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise ConfigError(f"predictor.file={path}: {type(error).__name__}: {one_line(error)}.") from error
    finally:
        sys.path.remove(beside)
    return module


def _class_of(module: ModuleType, name: str | None, path: Path) -> type:
    own = {
        key: value
        for key, value in vars(module).items()
        if inspect.isclass(value)
        and value.__module__ == module.__name__
        and any(method in vars(value) for method in ("__call__", "forward", "answer"))
    }
    if name is None and len(own) == 1:
        return next(iter(own.values()))
    if name in own:
        return own[name]
    there = f"has {', '.join(own)}" if own else "has no class with __call__, forward or answer"
    asked = "name the class (predictor.name)" if name is None else f"not {name} (predictor.name)"
    raise ConfigError(f"predictor.file={path}: {there}; {asked}.")


def _crop_of(crop: Any, said: str) -> CropRule:
    if isinstance(crop, str):
        if crop not in CROP_RULES:
            raise ConfigError(f"{said}: crop={crop} must be one of {', '.join(CROP_RULES)}, or a crop rule.")
        rule: CropRule = CROP_RULES[crop]()
        return rule
    if not (callable(crop) and hasattr(crop, "rectangle")):
        raise ConfigError(f"{said}: crop={crop!r} must be one of {', '.join(CROP_RULES)}, or a crop rule.")
    own: CropRule = crop
    return own
