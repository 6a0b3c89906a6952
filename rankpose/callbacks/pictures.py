"""How does a network see heads while it trains? A few of them as pictures in W&B."""

from typing import Any

import numpy as np
import pytorch_lightning as pl

from rankpose.checks import Count, checked
from rankpose.data.crop_rules import RankPoseCrop
from rankpose.evaluation.scores import pose_table
from rankpose.pose import ANGLES
from rankpose.report.heads import degrees, head_or_grey
from rankpose.run.loggers import run_loggers


class ValidationPictures(pl.Callback):
    """Sends a few validation images with true and predicted axes to W&B as `val/heads`, the same ones each time.

    They are spread evenly over the yaw of the validation set. Without W&B nothing is drawn.

    Args:
        every: with every n-th validation.
        images: how many.
        size: side of a picture, pixels.
    """

    @checked("callbacks.pictures.")
    def __init__(self, every: Count = 1, images: Count = 8, size: Count = 192) -> None:
        self.every, self.images, self.size = every, images, size
        self._validations = 0

    def on_validation_epoch_end(self, trainer: pl.Trainer, pl_module: Any) -> None:
        if trainer.sanity_checking or not run_loggers(trainer.loggers):
            return
        self._validations += 1
        if (self._validations - 1) % self.every:
            return
        scores = pl_module.val_scores
        with scores.sync_context(should_sync=trainer.world_size > 1):
            table = {name: column.cpu() for name, column in scores.table().items()}
        if not trainer.is_global_zero:
            return
        records = trainer.datamodule.records("val")  # type: ignore[attr-defined]
        rows = np.flatnonzero(np.isin(table["index"].numpy(), spread(records.pose[:, 0], self.images)))
        shown = records.select(table["index"].numpy()[rows])
        poses = pose_table(table["prediction"][rows], shown, RankPoseCrop(trainer.datamodule.test_scale))  # type: ignore[attr-defined]
        drawn = [(head_or_grey(row, self.size), _caption(row)) for row in poses.to_dict("records")]
        for logger in run_loggers(trainer.loggers):
            logger.log_pictures("val/heads", drawn, trainer.global_step)

    def state_dict(self) -> dict[str, Any]:
        return {"validations": self._validations}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self._validations = state_dict["validations"]


def spread(yaw: Any, count: int) -> np.ndarray:
    """Rows at equal steps through the order by yaw. (N,) degrees to at most `count` rows."""
    order = np.argsort(np.asarray(yaw), kind="stable")
    places = np.linspace(0, len(order) - 1, min(count, len(order)))
    return np.asarray(order[np.unique(places.round().astype(int))])


def _caption(row: dict[Any, Any]) -> str:
    angles = ", ".join(f"{angle} {degrees(row[angle])} / {degrees(row[f'{angle}_pred'])}" for angle in ANGLES)
    return f"{row['name']}: off by {degrees(row['geodesic'])}° (true / predicted: {angles})"
