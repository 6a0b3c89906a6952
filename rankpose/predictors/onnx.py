"""Anybody's ONNX model as a predictor, by its description (`rankpose.predictors.description`).

onnxruntime computes, on the CPU, whatever the accelerator of the trainer: figures do not depend on the machine's GPU.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch
from torch import Tensor, nn

from rankpose.errors import CheckpointError, ConfigError, first_line
from rankpose.faces.sessions import opened
from rankpose.files import read_yaml
from rankpose.pose import PoseOutput
from rankpose.predictors.description import OnnxDescription, parse_description
from rankpose.predictors.per_process import PerProcess

_LUMA = (0.299, 0.587, 0.114)
"""Of red, green and blue in grey (ITU-R BT.601), as image libraries have it."""
NUMBERS = {
    "tensor(uint8)": torch.uint8,
    "tensor(float16)": torch.float16,
    "tensor(float)": torch.float32,
    "tensor(double)": torch.float64,
}
"""What a model's input may be made of."""


def onnx_predictor(description: str | Path | Mapping[str, Any]) -> "OnnxPredictor":
    """The predictor that a description describes.

    Args:
        description: the path of a YAML file, whose `files` lie relative to it; or what such a file holds, whose `files`
            lie relative to the working directory.

    Raises:
        ConfigError: no such description, or one that is wrong or does not fit its model: names the key.
        CheckpointError: a model file that is missing or no ONNX model.
    """
    if isinstance(description, Mapping):
        with _named("predictor.description"):
            return OnnxPredictor(parse_description(description), "predictor.description")
    path = Path(description)
    if not path.is_file():
        raise ConfigError(f"predictor.description={path}: no such file; it is a YAML file that describes the model.")
    try:
        content = read_yaml(path)
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path}: cannot be read as YAML ({first_line(error)}).") from error
    with _named(str(path)):
        return OnnxPredictor(parse_description(content, path.parent), str(path))


class OnnxPredictor(nn.Module):
    """An ONNX model, or the mean of several, that gives poses.

    Every process opens the files for itself when it first predicts, so the module can be pickled and sent to others.
    Threads are as many as torch may use. A model made for a batch of fixed size gets its images in such batches.

    Args:
        description: what the files take and give; its crop and size are the predictor's.
        origin: what the description is called.

    Raises:
        CheckpointError: a file that is missing or no ONNX model.
        ConfigError: a file that does not fit the description: names the file, the key, and what the model has.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, description: OnnxDescription, origin: str = "the description") -> None:
        super().__init__()
        self.description = description
        self.keys = {fault: f"output.{key} of {origin}" for fault, key in description.output.keys.items()}
        self.crop, self.size = description.crop, description.size
        for name in ("mean", "std"):
            values = torch.tensor(getattr(description.pixels, name), dtype=torch.float32)
            self.register_buffer(name, values.view(1, -1, 1, 1), persistent=False)
        self._models = PerProcess(self._open)
        self._models()

    def forward(self, image: Tensor) -> PoseOutput:
        """Predicts.

        Args:
            image: (N, 3, size, size), red first, uint8 or float in [0, 255].

        Returns:
            poses (N, 3) in degrees, float32, NaN where the model's presence says that there is no face, and all numbers
            of the model's outputs (N, K).
        """
        batch = self._input(image)
        answers = [model(batch) for model in self._models()]
        outputs = {
            name: torch.from_numpy(np.mean([answer[name] for answer in answers], axis=0)).to(image.device)
            for name in self.description.names
        }
        raw = torch.cat(list(outputs.values()), dim=1)
        pose = self.description.output.to_pose(outputs)
        if self.description.presence is not None:
            pose = torch.where(self.description.presence.seen(outputs)[:, None], pose, torch.nan)
        return PoseOutput(pose, raw)

    def _input(self, image: Tensor) -> Tensor:
        """(N, 3, H, W) pixels, red first, to what the model takes, in float32."""
        pixels = image.float()
        if self.description.colour == "grey":
            # whole numbers, as a grey picture has
            pixels = (pixels * pixels.new_tensor(_LUMA)[:, None, None]).sum(dim=1, keepdim=True).round()
        if self.description.colour == "bgr":
            pixels = pixels.flip(1)
        pixels = (pixels / self.description.pixels.divide_by - self.mean) / self.std
        return pixels.permute(0, 2, 3, 1) if self.description.layout == "nhwc" else pixels

    def _open(self) -> list["_Model"]:
        """Predicts black images once, so that whatever does not fit is said before the first real one."""
        models = [_Model(file, self.description) for file in self.description.files]
        black = self._input(torch.zeros(2, 3, self.size, self.size, device=self.mean.device))
        first: dict[str, torch.Size] = {}
        for model in models:
            outputs = {name: torch.from_numpy(numbers) for name, numbers in model(black).items()}
            said = "output."
            try:
                self.description.output.to_pose(outputs)
                said = "presence."
                if self.description.presence is not None:
                    self.description.presence.seen(outputs)
            except ConfigError as error:
                raise ConfigError(f"{said}{error} The model is {model.file}.") from None
            for name, numbers in outputs.items():
                if first.setdefault(name, numbers.shape) != numbers.shape:
                    raise ConfigError(
                        f"files: {name} of {model.file} has {numbers.shape[1]} numbers an image, that of "
                        f"{models[0].file} {first[name][1]}: they have no mean."
                    )
        return models


class _Model:
    """One open file. Called with a batch, it gives the outputs that the description reads, (N, K) numbers each."""

    def __init__(self, file: Path, description: OnnxDescription) -> None:
        self.file, self.names = file, list(description.names)
        self.session = open_session(file, "files")
        self._check_names(description)
        (node,) = self.session.get_inputs()
        self._check_input(node.shape, node.type, description)
        self.input, self.dtype = node.name, NUMBERS[node.type]
        self.batch = node.shape[0] if isinstance(node.shape[0], int) else None

    def __call__(self, batch: Tensor) -> dict[str, np.ndarray]:
        numbers = batch.to(self.dtype).cpu().contiguous()
        if self.batch is None:
            return self._run(numbers)
        parts = [self._run(self._filled(part)) for part in numbers.split(self.batch)]
        return {name: np.concatenate([part[name] for part in parts])[: len(batch)] for name in self.names}

    def _filled(self, part: Tensor) -> Tensor:
        """The last batch filled up with its last image."""
        assert self.batch is not None
        return torch.cat([part, part[-1:].expand(self.batch - len(part), *part.shape[1:])])

    def _run(self, numbers: Tensor) -> dict[str, np.ndarray]:
        try:
            answers = self.session.run(self.names, {self.input: numbers.numpy()})
        except Exception as error:
            raise ConfigError(
                f"size, layout: {self.file} cannot compute images of shape {tuple(numbers.shape)} "
                f"({first_line(error)})."
            ) from error
        outputs = {}
        for name, answer in zip(self.names, answers, strict=True):
            if not isinstance(answer, np.ndarray) or answer.size == 0 or answer.size % len(numbers):
                raise ConfigError(f"output: {name} of {self.file} does not hold the same numbers for every image.")
            # a model of one image may leave the batch's axis out
            fits = answer.ndim and answer.shape[0] == len(numbers)
            if not fits and len(numbers) > 1:
                raise ConfigError(
                    f"output: {name} of {self.file} has shape {answer.shape} for {len(numbers)} images: the first axis "
                    "must be the images'."
                )
            if not np.issubdtype(answer.dtype, np.number) or np.iscomplexobj(answer):
                raise ConfigError(f"output: {name} of {self.file} holds {answer.dtype}, which are no angles.")
            outputs[name] = np.asarray(answer, dtype=np.float32).reshape(len(numbers), -1)
        return outputs

    def _check_names(self, description: OnnxDescription) -> None:
        inputs = [node.name for node in self.session.get_inputs()]
        outputs = [node.name for node in self.session.get_outputs()]
        if description.input not in inputs:
            raise ConfigError(f"input={description.input}: {self.file} has the inputs {', '.join(inputs)}.")
        if len(inputs) > 1:
            raise ConfigError(f"input={description.input}: {self.file} takes {', '.join(inputs)}; only one can be fed.")
        for name in self.names:
            if name not in outputs:
                raise ConfigError(f"output: {self.file} has no output {name}; it has {', '.join(outputs)}.")

    def _check_input(self, shape: list[int | str | None], numbers: str, description: OnnxDescription) -> None:
        size = description.size
        channels = description.channels
        wanted = (channels, size, size) if description.layout == "nchw" else (size, size, channels)
        fits = len(shape) == 4 and all(
            have == want or not isinstance(have, int) for have, want in zip(shape[1:], wanted, strict=True)
        )
        if not fits:
            raise ConfigError(
                f"size={size}, layout={description.layout}: {self.file} takes {_shown(shape)}, not "
                f"{_shown(['N', *wanted])}."
            )
        if numbers not in NUMBERS:
            raise ConfigError(
                f"input={description.input}: {self.file} takes {numbers}, not one of {', '.join(NUMBERS)}."
            )
        if NUMBERS[numbers] == torch.uint8 and not description.pixels.unchanged:
            raise ConfigError(f"pixels: {self.file} takes whole pixels of 0 to 255; say divide_by: 1, mean: 0, std: 1.")


def open_session(file: Path, key: str) -> onnxruntime.InferenceSession:
    """An ONNX file, open on the CPU with as many threads as torch may use.

    Args:
        file: the model.
        key: that names it.

    Raises:
        CheckpointError: missing, or no ONNX model.
    """
    if not file.is_file():
        raise CheckpointError(f"{key}: {file} does not exist; put it there, or name another file.")
    try:
        return opened(str(file), str(file), torch.get_num_threads())
    except ConfigError as error:
        raise CheckpointError(f"{key}: {error}") from error


@contextmanager
def _named(origin: str) -> Iterator[None]:
    """Puts the description's name before what is wrong with it."""
    try:
        yield
    except (CheckpointError, ConfigError) as error:
        raise type(error)(f"{origin}: {error}") from error


def _shown(shape: list[Any]) -> str:
    return "x".join("N" if isinstance(side, str) or side is None else str(side) for side in shape)
