"""How does a run survive a signal, a kill, or the death of its loader processes? By a checkpoint to go on from.

It is written between two steps, at a moment from which a resumed run goes on as if nothing had happened.
"""

import logging
import math
import signal
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import Checkpoint
from pytorch_lightning.trainer.states import TrainerFn

from rankpose.callbacks.turns import in_any_process, is_turn
from rankpose.errors import ConfigError, LoaderError
from rankpose.run.directory import shown
from rankpose.run.keys import typed
from rankpose.run.lightning_private import is_between_steps, sigterm_taken, write_row
from rankpose.run.stopping import SIGNALS, TRY_AGAIN, Stopped, give_back, known_signals, only_once

log = logging.getLogger(__name__)


class KeepLast(Checkpoint):
    """Keeps `last.ckpt` ready to go on from: every few minutes, at every validation, and when a signal stops the run.

    A signal takes effect after the batch, one during validation or at the end of an epoch before the next batch, one
    during the test after the batch of it; a second Ctrl-C ends at once. Whoever handled the signal before, such as
    submitit, which puts the job back into the queue, is then called. Where loader processes die, what the steps until
    then have made is saved as well.

    Args:
        dirpath: folder of the checkpoints.
        every_minutes: between two checkpoints within an epoch; None writes them at validations and epoch ends only.
        signals: names of the signals that stop a run.
        exit_code: of a run that a signal has stopped: try again.
    """

    def __init__(
        self,
        dirpath: str,
        every_minutes: float | None = 10.0,
        signals: Sequence[str] = SIGNALS,
        exit_code: int = TRY_AGAIN,
    ) -> None:
        known = {one.name for one in signal.Signals}
        for name in signals:
            if name not in known and name not in SIGNALS:
                raise ConfigError(f"callbacks.last.signals: {name!r} is no signal of this system, such as SIGTERM.")
        if every_minutes is not None and not every_minutes >= 0:
            raise ConfigError(f"callbacks.last.every_minutes={every_minutes}: must be 0 or more, or null.")
        self.path = f"{dirpath}/last.ckpt"
        self.every_s = math.inf if every_minutes is None else 60 * every_minutes
        self.signals = known_signals(signals)
        self.exit_code = exit_code
        self.received: signal.Signals | None = None
        # read before Lightning puts its own in their place
        self._others = {number: signal.getsignal(number) for number in self.signals}
        self._replaced: dict[signal.Signals, Any] = {}
        self._saved_at = time.monotonic()
        self._batches: int | None = None
        self._at_rest = False
        """Whether a checkpoint now would leave nothing undone: between the end of a step and the next batch."""

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._listen()
        if sigterm_taken(trainer):
            self.received = signal.SIGTERM
        self._saved_at = time.monotonic()
        if self._batches not in (None, trainer.num_training_batches):
            raise ConfigError(
                f"ckpt_path={shown(str(trainer.ckpt_path))} was written with {self._batches} batches an epoch, now "
                f"there are {trainer.num_training_batches}: the data have changed. Start a new run."
            )

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        # the end of the epoch before has been saved, and logged since; a run that only now begins has nothing to save
        saved = trainer.global_step > 0 and Path(self.path).exists()
        if in_any_process(trainer, saved and self.received is not None):
            self._stop(trainer)

    def on_train_batch_start(self, *args: Any) -> None:
        self._at_rest = False

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        self._at_rest = is_between_steps(trainer)
        look = is_turn(trainer)
        if (trainer.world_size > 1 and not look) or not self._at_rest:
            return
        if in_any_process(trainer, self.received is not None):
            write_row(trainer)  # this hook does not return
            self._save(trainer)
            self._stop(trainer)
        # a step at which curves are written is none to save at: killed in between, the row would be missing for good
        if look and in_any_process(trainer, time.monotonic() - self._saved_at >= self.every_s):
            self._save(trainer)

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if trainer.state.fn == TrainerFn.FITTING and not trainer.sanity_checking and not trainer.is_last_batch:
            self._save(trainer)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        # after the best one, which comes first in the configuration: its score is part of what is saved
        self._save(trainer)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if in_any_process(trainer, self.received is not None):
            self._stop(trainer)

    def on_test_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._listen()

    def on_test_batch_end(self, trainer: pl.Trainer, *args: Any, **kwargs: Any) -> None:
        if trainer.world_size == 1 and self.received is not None:
            self._stop(trainer)

    def teardown(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        self._restore()

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        # other processes would have to save with this one
        if isinstance(exception, LoaderError) and self._at_rest and trainer.world_size == 1:
            self._save(trainer)
            again = typed("ckpt_path", shown(self.path))
            log.info("saved at step %d; go on: repeat the command with %s", trainer.global_step, again)
        self._restore()

    def on_save_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        checkpoint["order"] = {"batches": trainer.num_training_batches, "processes": trainer.world_size}

    def on_load_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        order: Mapping[str, Any] = checkpoint.get("order", {})
        if trainer.state.fn != TrainerFn.FITTING or not order:
            return
        if order["processes"] != trainer.world_size:
            raise ConfigError(
                f"ckpt_path={shown(str(trainer.ckpt_path))} was written by {order['processes']} processes, now there "
                f"are {trainer.world_size}: set trainer.devices and trainer.num_nodes as before, or start a new run."
            )
        self._batches = order["batches"]

    def _save(self, trainer: Any) -> None:
        if trainer.fast_dev_run:
            return
        trainer.save_checkpoint(self.path)
        self._saved_at = time.monotonic()

    def _stop(self, trainer: pl.Trainer) -> None:
        for logger in trainer.loggers:
            logger.save()
        number = self.received
        name = "another process's signal" if number is None else number.name
        other = None if number is None else self._others[number]
        if number is not None and callable(other) and other is not signal.default_int_handler:
            # its way of ending the process would hide from whoever started it that the run can go on
            with suppress(SystemExit):
                other(number, None)
        raise Stopped(f"stopped by {name} at step {trainer.global_step}", self.exit_code)

    def _receive(self, number: int, frame: FrameType | None) -> None:
        only_once(number)
        self.received = signal.Signals(number)

    def _listen(self) -> None:
        if threading.current_thread() is threading.main_thread():
            for number in self.signals:
                if signal.getsignal(number) != signal.SIG_IGN:
                    replaced = signal.signal(number, self._receive)
                    self._replaced.setdefault(number, replaced)

    def _restore(self) -> None:
        give_back(self._replaced, self._receive)
        self._replaced = {}
