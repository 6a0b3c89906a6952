"""What happens around steps: a run that is told to stop saves first."""

import signal
import threading
from collections.abc import Sequence
from types import FrameType
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import Checkpoint

EXIT_STOPPED = 128 + signal.SIGTERM


class Stopped(SystemExit):
    """Training was told to stop and has saved: ends the process with the code of SIGTERM."""

    def __init__(self, message: str) -> None:
        super().__init__(EXIT_STOPPED)
        self.message = message


class StopOnSignal(Checkpoint):
    """On SIGTERM finishes the batch, writes `last.ckpt`, and ends the run; resuming goes on with the next batch.

    A signal during validation waits until it is over and one more batch is done: half of a validation says nothing.

    Args:
        dirpath: folder of the checkpoints.
        signals: names of the signals that stop a run.
    """

    def __init__(self, dirpath: str, signals: Sequence[str] = ("SIGTERM",)) -> None:
        self.path = f"{dirpath}/last.ckpt"
        self.signals = [signal.Signals[name] for name in signals]
        self.received: str | None = None
        self._previous: dict[signal.Signals, Any] = {}

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        # after Lightning has put its own handlers, which would break off a validation half way
        if threading.current_thread() is threading.main_thread():
            self._previous = {number: signal.signal(number, self._receive) for number in self.signals}

    def _receive(self, number: int, frame: FrameType | None) -> None:
        self.received = signal.Signals(number).name

    def on_train_batch_end(self, trainer: pl.Trainer, *args: Any, **kwargs: Any) -> None:
        stop = self.received is not None
        if trainer.world_size > 1:
            # one process may get the signal alone or a batch earlier; all must stop at the same one
            stop = trainer.strategy.reduce_boolean_decision(stop, all=False)
        if stop:
            trainer.save_checkpoint(self.path)
            for logger in trainer.loggers:
                logger.save()
            raise Stopped(f"stopped by {self.received or 'a signal'} at step {trainer.global_step}; saved {self.path}")

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._restore()

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        self._restore()

    def _restore(self) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)
        self._previous = {}
