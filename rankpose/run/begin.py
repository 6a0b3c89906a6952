"""How does a run begin? Its folder, its record, the checkpoint to go on from, and whether anything is left to do."""

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rankpose.run import directory, record
from rankpose.run.curves import lowest
from rankpose.run.directory import shown
from rankpose.run.going_on import onward
from rankpose.run.loggers import one_wandb_run
from rankpose.run.outcome import Pruned, ended_by
from rankpose.run.stopping import stoppable

log = logging.getLogger(__name__)


@dataclass
class Run:
    """A run that is under way; see `begin`."""

    folder: Path
    checkpoint: str | None
    """That it goes on from; None for a new run."""
    record: record.RunRecord
    best: float | None = None
    """Its best validation metric, once it is known."""

    @property
    def best_checkpoint(self) -> Path:
        """The best by validation, which is tested."""
        return self.folder / "checkpoints" / "best.ckpt"

    def has_ended(self, config_text: str, protocols: Sequence[str]) -> bool:
        """Whether it has been trained and tested before, so that nothing is left to do.

        Args:
            config_text: the configuration now, as it is written to `config.yaml`.
            protocols: that it is to be tested under as well.

        Raises:
            ConfigError: it may not go on with this configuration.
        """
        if self.checkpoint is None:
            return False
        ahead = onward(self.folder, config_text, protocols)
        if ahead.finished:
            log.info("%s is finished: nothing is left to do.", shown(self.folder))
            self.best = lowest(self.folder, "val/mae")
            return True
        log.info("going on from %s%s", shown(self.checkpoint), "".join(f", {one}" for one in ahead.changes))
        return False


@contextmanager
def begin(
    output_dir: str, ckpt_path: str | None, overrides: Sequence[str], seed: int, stops: Mapping[str, Any] | None = None
) -> Iterator[Run]:
    """A run for what happens inside; leaving says in its record how it ended.

    Args:
        output_dir: the folder that is made for it.
        ckpt_path: that it goes on from, see `rankpose.run.directory.opened`; another run's goes on in its folder.
        overrides: the arguments that it was called with.
        seed: of weights, order and augmentation.
        stops: arguments of `rankpose.run.stopping.stoppable`: which signals end it, with which exit code.

    Raises:
        RankPoseError: no such checkpoint, a folder that holds another run, or no room on the disk.
        Stopped: by a signal.
    """
    with (
        directory.opened(output_dir, ckpt_path) as (folder, checkpoint),
        directory.telling_no_room(folder),
        stoppable(folder, **(stops or {})),
        record.kept(folder, overrides, seed, checkpoint) as kept,
        one_wandb_run(),
    ):
        run = Run(folder, checkpoint, kept)
        try:
            yield run
        except Pruned as pruned:
            log.info("%s", pruned)
            run.best = pruned.best
            kept.ended = ended_by(pruned)
