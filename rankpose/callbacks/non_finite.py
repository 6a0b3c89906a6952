"""What ends a run whose loss is no number, before a checkpoint is written of it?"""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback
from pytorch_lightning.trainer.states import TrainerFn
from torch import Tensor

from rankpose.callbacks.turns import in_any_process, is_turn
from rankpose.errors import TrainingError
from rankpose.run.directory import last_good, shown


class StopAtNonFinite(Callback):
    """Stops a run whose loss or weights are not finite, before a checkpoint is written of them.

    The loss is watched on the device and looked at once every `log_every_n_steps` steps, before a validation and before
    a checkpoint; weights are looked at before a checkpoint. With a loss scaler (`trainer.precision=16-mixed`) single
    steps that overflow are skipped, which is how a scaler works; then only as many in a row stop the run.
    """

    def __init__(self) -> None:
        self._first = torch.tensor(0)
        self._streak = torch.tensor(0)

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._first = self._streak = torch.tensor(0, device=pl_module.device)

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        loss: Tensor = outputs["loss"] if isinstance(outputs, Mapping) else outputs
        bad = ~torch.isfinite(loss.detach())
        self._first = torch.where(bad & (self._streak == 0), trainer.global_step, self._first)
        self._streak = (self._streak + 1) * bad if _scales(trainer) else self._streak + bad
        if is_turn(trainer):
            self._look(trainer)

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if trainer.state.fn == TrainerFn.FITTING and not trainer.sanity_checking:
            self._look(trainer)

    def on_save_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        self._look(trainer)
        tensors = [*pl_module.parameters(), *pl_module.buffers()]
        finite = [torch.isfinite(tensor.detach()).all() for tensor in tensors if tensor.is_floating_point()]
        if in_any_process(trainer, bool(finite) and not bool(torch.stack(finite).all())):
            raise TrainingError(self._message(trainer, f"weights are not finite at step {trainer.global_step}"))

    def _look(self, trainer: Any) -> None:
        limit = max(1, trainer.log_every_n_steps) if _scales(trainer) else 1
        if not in_any_process(trainer, int(self._streak) >= limit):
            return
        first = int(self._first)
        terms = ", ".join(
            f"{name}={float(value):g}"
            for name, value in trainer.callback_metrics.items()
            if name.startswith("train/") and not math.isfinite(value)
        )
        raise TrainingError(
            self._message(trainer, f"the loss is not finite from step {first} on ({terms or 'in another process'})")
        )

    def _message(self, trainer: pl.Trainer, what: str) -> str:
        rates = sorted({float(group["lr"]) for optimizer in trainer.optimizers for group in optimizer.param_groups})
        run = Path(trainer.default_root_dir)
        return (
            f"{shown(run)}: {what}, with learning rate {', '.join(f'{rate:.3g}' for rate in rates)} and "
            f"trainer.precision={trainer.precision}; {last_good(run)}. Try a lower optimizer.lr, "
            "trainer.gradient_clip_val=1, or trainer.precision=32-true (bf16-mixed instead of 16-mixed)."
        )


def _scales(trainer: pl.Trainer) -> bool:
    return getattr(trainer.precision_plugin, "scaler", None) is not None
