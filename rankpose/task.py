"""What one step is: the LightningModule."""

from collections.abc import Callable, Mapping
from typing import Any

import pytorch_lightning as pl
from timm.optim import param_groups_weight_decay
from torch import Tensor, nn
from torch.optim import Optimizer

from rankpose.losses import PoseLoss
from rankpose.metrics import PoseScores, angle_error
from rankpose.models import PoseNet
from rankpose.pose import PoseOutput
from rankpose.schedules import Schedule


class PoseTest(pl.LightningModule):
    """Tests a network: the part of a task that needs no loss.

    Args:
        net: images to poses, as a `PoseNet` or any predictor that sees images (`rankpose.predictors`).
    """

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net
        self.test_scores = PoseScores()
        self.test_table: dict[str, Tensor] = {}
        """After testing: index, prediction, target and identity of every image."""

    def forward(self, image: Tensor) -> PoseOutput:
        return self.net(image)

    def test_step(self, batch: dict[str, Tensor], batch_idx: int) -> None:
        self._score(self.test_scores, batch)

    def on_test_epoch_end(self) -> None:
        with self.test_scores.sync_context(should_sync=self.trainer.world_size > 1):
            self.test_table = {name: column.cpu() for name, column in self.test_scores.table().items()}
        self.log_dict({f"test/{name}": value for name, value in self.test_scores.compute().items()})
        self.test_scores.reset()

    def _score(self, scores: PoseScores, batch: dict[str, Tensor]) -> None:
        scores.update(batch["index"], self(batch["image"]).pose, batch["pose"], batch["identity"])


class PoseTask(PoseTest):
    """Trains, validates and tests a `PoseNet`.

    Args:
        net: images to poses.
        loss: predicted poses, labels and identities to terms.
        optimizer: parameter groups, which bring their weight decay along, to an optimizer.
        schedule: see `rankpose.schedules`.
        weight_decay: of all weights but biases and normalisation.
        config: what it takes to build this task again; goes into checkpoints.
    """

    def __init__(
        self,
        net: PoseNet,
        loss: PoseLoss,
        optimizer: Callable[[Any], Optimizer],
        schedule: Schedule,
        weight_decay: float = 0.0,
        config: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(net)
        self.loss = loss
        self.make_optimizer, self.make_schedule, self.weight_decay = optimizer, schedule, weight_decay
        self.config = dict(config or {})
        self.val_scores = PoseScores()

    def training_step(self, batch: dict[str, Tensor], batch_idx: int) -> Tensor:
        pose = self(batch["image"]).pose
        terms = self.loss(pose, batch["pose"], batch["identity"])
        self.log_dict({f"train/{name}": value.detach() for name, value in terms.items()}, batch_size=len(pose))
        mae = angle_error(pose.detach(), batch["pose"]).mean()
        self.log("train/mae", mae, prog_bar=True, batch_size=len(pose))
        return terms["loss"]

    def validation_step(self, batch: dict[str, Tensor], batch_idx: int) -> None:
        self._score(self.val_scores, batch)

    def on_validation_epoch_end(self) -> None:
        scores = self.val_scores.compute()
        self.log("val/mae", scores.pop("mae"), prog_bar=True)
        self.log_dict({f"val/{name}": value for name, value in scores.items()})
        self.val_scores.reset()

    def configure_optimizers(self) -> Any:
        optimizer = self.make_optimizer(param_groups_weight_decay(self.net, self.weight_decay))
        total_steps, epoch_steps = self._steps()
        schedule = self.make_schedule(optimizer, total_steps, epoch_steps)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def _steps(self) -> tuple[int, int]:
        """Optimizer steps of the run and of an epoch.

        Asked from the data module rather than from Lightning's estimate, which would open the training loader before a
        resumed run knows at which batch to go on.
        """
        trainer = self.trainer
        datamodule = getattr(trainer, "datamodule", None)
        if datamodule is None or not hasattr(datamodule, "batches_per_epoch"):
            total = int(trainer.estimated_stepping_batches)
            return total, max(1, total // max(1, trainer.max_epochs or 1))
        batches = datamodule.batches_per_epoch()
        limit = trainer.limit_train_batches
        batches = min(batches, limit) if isinstance(limit, int) else int(batches * (1.0 if limit is None else limit))
        epoch = max(1, -(-batches // trainer.accumulate_grad_batches))
        whole = epoch * trainer.max_epochs if trainer.max_epochs and trainer.max_epochs > 0 else None
        steps = trainer.max_steps if trainer.max_steps > 0 else None
        known = [count for count in (whole, steps) if count is not None]
        return (min(known) if known else epoch), epoch

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["rankpose"] = self.config
