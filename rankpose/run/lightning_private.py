"""Which private names of Lightning are taken, and what for: they stand here and nowhere else.

`PRIVATE` lists them. A version of Lightning without one of them fails `tests/test_private.py`, and pyproject.toml keeps
versions out with which that has not been tried.
"""

from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.loggers import Logger, WandbLogger
from pytorch_lightning.loggers.csv_logs import ExperimentWriter

PRIVATE = {
    "Trainer._signal_connector.received_sigterm": "a run that got SIGTERM ends after a step, not at the epoch's end",
    "Trainer._logger_connector.on_batch_end": "a run that is stopped after a step keeps the row of that step",
    "Trainer._logger_connector.update_train_step_metrics": "the same",
    "Trainer.fit_loop._data_fetcher": "a checkpoint between two steps leaves nothing undone",
    "Trainer.fit_loop._should_accumulate": "the same",
    "Trainer.fit_loop.epoch_loop._should_check_val_fx": "the same",
    "Trainer.fit_loop.epoch_loop._is_training_done": "the same",
    "CSVLogger._experiment": "the file of the curves is never half rewritten",
    "ExperimentWriter._rewrite_with_new_header": "the same",
    "WandbLogger._experiment": "a W&B run begins with what is logged first",
    "WandbLogger._wandb_init": "a W&B run is named, and goes on, by what is known only after its logger is made",
}


def sigterm_taken(trainer: pl.Trainer) -> bool:
    """Whether Lightning's own handler got SIGTERM, with which it would end the run at the epoch's end and code 0.

    It forgets it.
    """
    received: bool = trainer.received_sigterm
    trainer._signal_connector.received_sigterm = False
    return received


def write_row(trainer: pl.Trainer) -> None:
    """Logs this step now, which Lightning does after the callbacks' hook."""
    trainer._logger_connector.on_batch_end()
    trainer._logger_connector.update_train_step_metrics()


def is_between_steps(trainer: pl.Trainer) -> bool:
    """Whether a checkpoint now leaves nothing undone.

    Lightning, going on from one, takes a validation that was due after this batch for done, and gradients that wait for
    more batches are not part of it.
    """
    loop = trainer.fit_loop
    data = loop._data_fetcher
    return (
        not trainer.is_last_batch
        and not loop._should_accumulate()
        and data is not None
        and not loop.epoch_loop._should_check_val_fx(data)
        and not loop.epoch_loop._is_training_done
    )


def has_begun(logger: Logger) -> bool:
    """Whether a logger for CSV files or W&B has its writer or run; asking for its `experiment` would begin it."""
    return logger._experiment is not None  # type: ignore[attr-defined]


def begin(logger: Logger, writer: Any) -> None:
    """Gives a logger for CSV files its writer."""
    logger._experiment = writer  # type: ignore[attr-defined]


def wandb_arguments(logger: WandbLogger) -> dict[str, Any]:
    """The arguments with which the logger is going to call `wandb.init`, to be changed in place until then."""
    arguments: dict[str, Any] = logger._wandb_init
    return arguments


class CurveWriter(ExperimentWriter):
    """Lightning's writer of CSV files; `rewrite(path, columns)` writes the file anew when new columns come up."""

    def rewrite(self, path: Path, columns: list[str]) -> None:
        raise NotImplementedError

    def _rewrite_with_new_header(self, fieldnames: list[str]) -> None:
        self.rewrite(Path(self.metrics_file_path), fieldnames)
