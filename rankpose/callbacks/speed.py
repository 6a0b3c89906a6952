"""How fast does a network train, and how large are its gradients?"""

import time
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.strategies import FSDPStrategy, ModelParallelStrategy
from torch.nn.utils import get_total_norm
from torch.optim import Optimizer

GIB = 2**30


class TrainingSpeed(pl.Callback):
    """Logs, every `trainer.log_every_n_steps` steps, what the steps since the last time were like.

    `speed/images_per_s` of all processes together and `speed/waiting_share`, the share of time in [0, 1] in which this
    process waited for data; validation and the writing of checkpoints between epochs do not count.
    `speed/gpu_memory_gib`, the most that this process has allocated since it started, where there is a GPU.
    `train/gradient_norm`, of the step itself, before clipping; not under FSDP, where no process holds the gradients.

    Nothing is asked of a GPU between two logs, so that its queue never runs empty: over an interval the times are
    right, over a single step they would be those of the queue. (Lightning's ThroughputMonitor waits for the GPU at each
    step.)
    """

    def __init__(self) -> None:
        self._restart(0)
        self._norm: torch.Tensor | None = None

    def _restart(self, step: int) -> None:
        self._images, self._waited, self._worked, self._logged = 0, 0.0, 0.0, step

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._restart(trainer.global_step)
        self._since = time.perf_counter()  # a run that goes on in the middle of an epoch does not start one

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._since = time.perf_counter()

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._since = time.perf_counter()

    def on_train_batch_start(self, trainer: pl.Trainer, *args: Any, **kwargs: Any) -> None:
        now = time.perf_counter()
        self._waited += now - self._since
        self._since = now

    def on_before_optimizer_step(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, optimizer: Optimizer
    ) -> None:
        if _is_due(trainer, trainer.global_step + 1) and not _sharded(trainer):
            gradients = [weight.grad for weight in pl_module.parameters() if weight.grad is not None]
            self._norm = get_total_norm(gradients).detach()

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        self._images += len(batch["image"])
        step = trainer.global_step
        due = _is_due(trainer, step) and step != self._logged
        # whatever is read off the GPU is read before the clock, so that the interval's work is in the interval
        values = {} if self._norm is None or not due else {"train/gradient_norm": float(self._norm)}
        now = time.perf_counter()
        self._worked += now - self._since
        self._since = now
        if not due:
            return
        spent = self._waited + self._worked
        values["speed/images_per_s"] = self._images * trainer.world_size / spent
        values["speed/waiting_share"] = self._waited / spent
        device = trainer.strategy.root_device
        if device.type == "cuda":
            values["speed/gpu_memory_gib"] = torch.cuda.max_memory_allocated(device) / GIB
        for logger in trainer.loggers:
            # the step under which Lightning logs this batch's losses
            logger.log_metrics({**values, "epoch": trainer.current_epoch}, step=step - 1)
        self._norm = None
        self._restart(step)


def _sharded(trainer: pl.Trainer) -> bool:
    return isinstance(trainer.strategy, FSDPStrategy | ModelParallelStrategy)


def _is_due(trainer: pl.Trainer, step: int) -> bool:
    every: int = trainer.log_every_n_steps  # type: ignore[attr-defined]
    return every > 0 and step % every == 0
