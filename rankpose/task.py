"""What one step is: the LightningModule."""

import logging
from collections.abc import Callable
from typing import Any, Literal

import pytorch_lightning as pl
import torch
from pytorch_lightning.strategies import ModelParallelStrategy
from timm.optim import param_groups_weight_decay  # type: ignore[attr-defined]
from torch import Tensor, nn
from torch.optim import Optimizer

from rankpose.checks import Count, NotNegative, checked
from rankpose.data.batches import Batch
from rankpose.errors import ConfigError
from rankpose.losses import PoseLoss
from rankpose.metrics import PoseScores, angle_error
from rankpose.models import PoseNet
from rankpose.models.checkpoint import KEY, MadeFrom
from rankpose.models.sharding import shard
from rankpose.pose import PoseOutput
from rankpose.schedules import Schedule

log = logging.getLogger(__name__)

LrScaling = Literal["none", "linear", "sqrt"]


class PoseScoring(pl.LightningModule):
    """Tests a network: the part of a task that needs no loss.

    Args:
        net: images to poses, as a `PoseNet` or any predictor that sees images (`rankpose.predictors`).
    """

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net
        self.test_scores = PoseScores()
        self.test_table: dict[str, Tensor] = {}
        """After testing: index, prediction, target, identity and expected error of every image."""

    def forward(self, image: Tensor) -> PoseOutput:
        output: PoseOutput = self.net(image)
        return output

    def test_step(self, batch: Batch, batch_idx: int) -> None:
        self._score(self.test_scores, batch, expected=True)

    def on_test_epoch_end(self) -> None:
        with self.test_scores.sync_context(should_sync=self.trainer.world_size > 1):
            self.test_table = {name: column.cpu() for name, column in self.test_scores.table().items()}
        self.log_dict({f"test/{name}": value for name, value in self.test_scores.compute().items()})
        self.test_scores.reset()

    def tested(self) -> tuple[Tensor, Tensor]:
        """Which samples were tested, (N,) places in their set, and the poses predicted for them, (N, 3) degrees.

        Raises:
            ConfigError: none was.
        """
        if not self.test_table:
            raise ConfigError("trainer.limit_test_batches: no image was tested; leave it out, or ask for more.")
        return self.test_table["index"], self.test_table["prediction"]

    def expected(self) -> Tensor | None:
        """After testing, beside `tested`: (N,) degrees, the error that the network expects; None where it says none."""
        found = self.test_table["expected"]
        return found if bool(torch.isfinite(found).any()) else None

    def _score(self, scores: PoseScores, batch: Batch, expected: bool = False) -> None:
        said: PoseOutput = self(batch["image"])
        # of a network or a checkpoint of ours; what somebody else's model makes of one is not ours to say
        expects = getattr(self.net, "expected_error", None) if expected else None
        error = None if expects is None else expects(said)
        scores.update(batch["index"], said.pose, batch["pose"], batch["identity"], error)


class PoseTask(PoseScoring):
    """Trains, validates and tests a `PoseNet`.

    Args:
        net: images to poses.
        loss: what the network said, labels, identities and perhaps weights of images to terms.
        optimizer: parameter groups, which bring their weight decay along, to an optimizer.
        schedule: see `rankpose.schedules`.
        weight_decay: of all weights but biases and normalisation.
        lr_scaling: `none` takes the optimizer's learning rate as it is. Else it counts for steps of
            `lr_reference_batch` images and is multiplied by `images a step / lr_reference_batch` (`linear`: Goyal et
            al., Accurate, Large Minibatch SGD, 2017) or its square root (`sqrt`, for Adam: Malladi, Lyu, Panigrahi,
            Arora: On the SDEs and Scaling Rules for Adaptive Gradient Algorithms, NeurIPS 2022). Images a step are
            those of all processes and accumulated batches.
        lr_reference_batch: images.
        made_from: what the network was made from; goes into checkpoints, which cannot be loaded without.
    """

    @checked()
    def __init__(
        self,
        net: PoseNet,
        loss: PoseLoss,
        optimizer: Callable[[Any], Optimizer],
        schedule: Schedule,
        weight_decay: NotNegative = 0.0,
        lr_scaling: LrScaling = "none",
        lr_reference_batch: Count = 64,
        made_from: MadeFrom | None = None,
    ) -> None:
        super().__init__(net)
        self.lr_scaling, self.lr_reference_batch = lr_scaling, lr_reference_batch
        self.loss = loss
        self.make_optimizer, self.make_schedule, self.weight_decay = optimizer, schedule, weight_decay
        self._check_optimizer()
        self.made_from = made_from
        self.val_scores = PoseScores()

    def _check_optimizer(self) -> None:
        """Has optimizer and schedule refuse now what they would refuse as training begins."""
        try:
            optimizer = self.make_optimizer([nn.Parameter(torch.zeros(1))])
        except (TypeError, ValueError) as error:
            raise ConfigError(f"optimizer: {error}.") from error
        if not optimizer.param_groups[0]["lr"] > 0:
            raise ConfigError(f"optimizer.lr={optimizer.param_groups[0]['lr']}: must be above 0.")
        try:
            self.make_schedule(optimizer, 100, 10)
        except (TypeError, ValueError) as error:
            raise ConfigError(f"schedule: {error}.") from error

    def configure_model(self) -> None:
        if isinstance(self.trainer.strategy, ModelParallelStrategy):
            assert self.device_mesh is not None
            assert isinstance(self.net, PoseNet)
            shard(self.net, self.device_mesh, str(self.trainer.precision))

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        output: PoseOutput = self(batch["image"])
        pose = output.pose
        terms: dict[str, Tensor] = self.loss(output, batch["pose"], batch["identity"], batch.get("weight"))
        curves = {name: value.detach() for name, value in terms.items()}
        curves["mae"] = angle_error(pose.detach(), batch["pose"]).mean()
        for name, value in self._over_processes(curves).items():
            self.log(f"train/{name}", value, prog_bar=name == "mae", batch_size=len(pose))
        return terms["loss"]

    def _over_processes(self, scalars: dict[str, Tensor]) -> dict[str, Tensor]:
        """The means over processes where they are written down; elsewhere nobody sees them, and waiting takes time."""
        every: int = self.trainer.log_every_n_steps  # type: ignore[attr-defined]  # set, but not declared
        if self.trainer.world_size == 1 or (self.trainer.global_step + 1) % every:
            return scalars
        means = self.trainer.strategy.reduce(torch.stack(list(scalars.values())), reduce_op="mean")
        return dict(zip(scalars, means, strict=True))

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        self._score(self.val_scores, batch)

    def on_validation_epoch_end(self) -> None:
        scores = self.val_scores.compute()
        self.log("val/mae", scores.pop("mae"), prog_bar=True)
        self.log_dict({f"val/{name}": value for name, value in scores.items()})
        self.val_scores.reset()

    def configure_optimizers(self) -> Any:
        optimizer = self.make_optimizer(param_groups_weight_decay(self.net, self.weight_decay))
        self._scale_learning_rate(optimizer)
        total_steps, epoch_steps = self._steps()
        schedule = self.make_schedule(optimizer, total_steps, epoch_steps)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def _scale_learning_rate(self, optimizer: Optimizer) -> None:
        trainer = self.trainer
        datamodule: Any = getattr(trainer, "datamodule", None)
        if not hasattr(datamodule, "images_per_batch"):
            if self.lr_scaling != "none":
                raise ConfigError(f"lr_scaling={self.lr_scaling}: the data do not say how many images a batch has.")
            return
        batch, processes, batches = datamodule.images_per_batch, trainer.world_size, trainer.accumulate_grad_batches
        images = batch * processes * batches
        ratio = images / self.lr_reference_batch
        factor = {"none": 1.0, "linear": ratio, "sqrt": ratio**0.5}[self.lr_scaling]
        for group in optimizer.param_groups:
            group["lr"] *= factor
        rates = ", ".join(sorted({f"{group['lr']:g}" for group in optimizer.param_groups}))
        if trainer.is_global_zero:
            made_of = f"{batch} a batch, processes: {processes}, batches a step: {batches}"
            how = "as given" if self.lr_scaling == "none" else f"the given one x {factor:g}, {self.lr_scaling}"
            log.info("a step has %d images (%s); learning rate %s (%s)", images, made_of, rates, how)

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
        checkpoint[KEY] = {} if self.made_from is None else self.made_from.stored()
