"""Is a trial hopeless? Asks one of Optuna's pruners after each validation, and ends the run that is.

Optuna's storage stays with the process that searches; the trials of a sweep tell each other by their notes
(`rankpose.run.outcome`), so that pruning works with every launcher and without a database.
"""

import logging
import warnings
from pathlib import Path

import optuna
import pytorch_lightning as pl
from optuna.exceptions import ExperimentalWarning
from optuna.pruners import BasePruner
from optuna.trial import TrialState, create_trial

from rankpose.run import outcome
from rankpose.run.outcome import Outcome, Pruned


class PruneTrial(pl.Callback):
    """Ends the run of a sweep when the pruner says so; a run outside a sweep has nothing to be compared with.

    Args:
        run_dir: the run's folder; the trials to compare with lie in the folders of the same sweep.
        pruner: one that asks for the trial and the finished ones only, such as `MedianPruner`, `PercentilePruner` or
            `ThresholdPruner`; steps are epochs, counted from 0.
        monitor: the metric, of which less is better.
    """

    def __init__(self, run_dir: str, pruner: BasePruner, monitor: str = "val/mae") -> None:
        self.folder, self.pruner, self.monitor = Path(run_dir), pruner, monitor

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if trainer.sanity_checking or (own := outcome.read(self.folder)) is None:
            return
        value, epoch = float(trainer.callback_metrics[self.monitor]), trainer.current_epoch
        hopeless = False
        if trainer.is_global_zero:
            own.validations[epoch] = value
            outcome.write(self.folder, own)
            hopeless = self._hopeless(own, epoch)
        # another process may see a trial finish in between; all must end at the same validation
        if trainer.strategy.broadcast(hopeless):
            own.state, own.value = "pruned", min(own.validations.values(), default=value)
            own.reason = f"pruned in epoch {epoch} at {self.monitor} {value:.3f}: trials before it were better there"
            if trainer.is_global_zero:
                outcome.write(self.folder, own)
            raise Pruned(own.reason, own.value)

    def _hopeless(self, own: Outcome, epoch: int) -> bool:
        level = optuna.logging.get_verbosity()
        optuna.logging.set_verbosity(logging.WARNING)
        study = optuna.create_study(direction="minimize", pruner=self.pruner)
        optuna.logging.set_verbosity(level)
        for other in outcome.of_sweep(self.folder.parent).values():
            if other.state == "finished" and other.value is not None and other.number != own.number:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore", ExperimentalWarning)  # of Optuna 2 only
                    finished = create_trial(
                        state=TrialState.COMPLETE, value=other.value, intermediate_values=other.validations
                    )
                    study.add_trial(finished)
        trial = study.ask()
        for before in sorted(own.validations):
            if before <= epoch:
                trial.report(own.validations[before], before)
        return trial.should_prune()
