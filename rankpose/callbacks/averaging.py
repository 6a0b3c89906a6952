"""Which weights are validated, tested and kept where the optimizer's own are too restless: their moving average."""

import warnings
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import WeightAveraging
from pytorch_lightning.strategies import ModelParallelStrategy
from pytorch_lightning.trainer.states import TrainerFn
from torch import Tensor

from rankpose.errors import ConfigError


class MovingAverage(WeightAveraging):
    """Keeps the exponential moving average of weights and of normalisation statistics.

    After step n, counted from 0, the average moves by `1 - min(decay, (1 + n) / (10 + n))` of its distance to the
    weights: at first it follows them closely, so that a short run is not held back by its random start. Validation,
    test and the `state_dict` of every checkpoint have the average; a checkpoint has the optimizer's weights beside it
    (`current_model_state`), with which a resumed run goes on.

    Args:
        decay: share of the average that a step keeps, at least 0 and below 1: it spans about `1 / (1 - decay)` steps.

    Raises:
        ConfigError: a decay that is none, or sharded weights.
    """

    def __init__(self, decay: float) -> None:
        if not isinstance(decay, int | float) or not 0 <= decay < 1:
            raise ConfigError(f"ema={decay}: a share that a step keeps, at least 0 and below 1, such as 0.999.")
        super().__init__(multi_avg_fn=self._move)
        self.decay = decay

    def _move(self, averages: Any, weights: Any, steps: Tensor | int) -> None:
        step = int(steps)
        keep = min(self.decay, (1 + step) / (10 + step))
        if averages[0].is_floating_point():
            torch._foreach_lerp_(averages, weights, 1 - keep)
        else:  # counters have no average
            torch._foreach_copy_(averages, weights)

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        if isinstance(trainer.strategy, ModelParallelStrategy):
            raise ConfigError("ema cannot be had with trainer=fsdp, whose weights are in parts: set ema=null.")
        with warnings.catch_warnings():
            # that a sharded model would not fit: it was refused
            warnings.filterwarnings("ignore", ".*configure_model.*")
            super().setup(trainer, pl_module, stage)

    def on_load_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        # Lightning would put the optimizer's weights into the module for testing as well
        if trainer.state.fn == TrainerFn.FITTING:
            super().on_load_checkpoint(trainer, pl_module, checkpoint)
