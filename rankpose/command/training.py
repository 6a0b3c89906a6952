"""From a configuration to a trained and tested network: what `python -m rankpose.train` does once it is understood."""

import logging
from pathlib import Path

import pytorch_lightning as pl
import torch
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf
from pytorch_lightning.callbacks import Checkpoint, LearningRateMonitor, ProgressBar
from torch import Tensor

from rankpose.callbacks.averaging import MovingAverage
from rankpose.command.configuration import (
    build,
    check_own_keys,
    checked,
    current_job,
    plain,
    precision_told,
    quiet_libraries,
    refusals,
    stopped_by,
    told,
)
from rankpose.command.contradictions import check, check_batches
from rankpose.command.repeat import Repeated, own_overrides
from rankpose.command.testing import after_training, leave_reports
from rankpose.data.crop_rules import RankPoseCrop
from rankpose.data.datamodule import PoseDataModule
from rankpose.errors import ConfigError
from rankpose.evaluation.scored import pose_table
from rankpose.files import write_whole
from rankpose.models import PoseNet, build_backbone
from rankpose.models.checkpoint import by_choice, check_same_task
from rankpose.report.results import leave_results
from rankpose.report.to_wandb import log_results
from rankpose.run import directory as run_directory
from rankpose.run import record as run_record
from rankpose.run.curves import gather_curves, lowest
from rankpose.run.keys import literal
from rankpose.run.loggers import log_configuration, one_wandb_run
from rankpose.run.outcome import Pruned
from rankpose.run.stopping import stoppable
from rankpose.task import PoseTask

log = logging.getLogger(__name__)


def make_task(config: DictConfig) -> PoseTask:
    """The network, its loss and its optimizer."""
    net = PoseNet(build_backbone(**plain(config.backbone)), build(config.representation), config.channels_last)
    if config.compile:
        net.compile()  # in its place: the names of the weights stay
    kept = {key: plain(config[key]) for key in ("backbone", "representation", "image_size", "test_scale", "ema")}
    kept["representation"] = by_choice("representation", kept["representation"])
    return PoseTask(
        net,
        build(config.loss),
        build(config.optimizer),
        build(config.schedule),
        weight_decay=config.weight_decay,
        lr_scaling=config.lr_scaling,
        lr_reference_batch=config.lr_reference_batch,
        config=kept,
    )


def set_float32_matmul(precision: str) -> None:
    """Decides how this process multiplies float32 matrices."""
    known = ("highest", "high", "medium")
    if precision not in known:
        raise ConfigError(f"float32_matmul={precision}: is not one of {', '.join(known)}.")
    torch.set_float32_matmul_precision(precision)


def averaging(decay: float | None) -> list[pl.Callback]:
    """The callback that averages weights, if any."""
    return [] if decay is None else [MovingAverage(decay)]


def make_trainer(config: DictConfig) -> pl.Trainer:
    """Lightning's trainer with the loggers and callbacks of the configuration; either group may be left out."""
    loggers = list(build(config.get("logger") or {}).values())
    callbacks = [*build(config.get("callbacks") or {}).values(), *averaging(config.ema)]
    # what Lightning would refuse instead of leaving it out
    wanted = {ProgressBar: config.trainer.get("enable_progress_bar", True), LearningRateMonitor: bool(loggers)}
    callbacks = [one for one in callbacks if all(there or not isinstance(one, kind) for kind, there in wanted.items())]
    # otherwise Lightning adds a checkpoint of its own
    keeps = any(isinstance(one, Checkpoint) for one in callbacks)
    return build(config.trainer, logger=loggers, callbacks=callbacks, enable_checkpointing=keeps)


def finish(config: DictConfig, trainer: pl.Trainer, task: PoseTask, data: PoseDataModule, run: Path) -> None:
    """Tests the best checkpoint and leaves metrics, predictions and the report in the run's directory."""
    best = run / "checkpoints" / "best.ckpt"
    if not trainer.strategy.broadcast(best.exists()):
        log.warning("no validation has chosen a best checkpoint: the last state is kept as the best")
        trainer.save_checkpoint(best)
    (scores,) = trainer.test(task, datamodule=data, ckpt_path=str(best), verbose=False)
    if not trainer.is_global_zero:
        return
    records = data.records("test")
    index, prediction = task.tested()
    tested = records.select(index.numpy())
    if len(tested) < len(records):
        log.warning(
            "tested on %s of %s images, as trainer.limit_test_batches or fast_dev_run ask", *map(len, (tested, records))
        )
    predictions = pose_table(prediction, tested, RankPoseCrop(config.test_scale))
    leave_results(
        run,
        predictions,
        scores,
        title=f"RankPose on {records.dataset}",
        subtitle=f"{tested.summary(of=len(records))}, none of them seen in training",
        curves=gather_curves(run),
        config_text=OmegaConf.to_yaml(config, resolve=True),
    )
    best_score = getattr(trainer.checkpoint_callback, "best_model_score", None)
    scores = dict(scores) | ({} if best_score is None else {"val/mae": best_score})
    log_results(trainer.loggers, predictions, scores, best, plain(config), run_record.read(run))


def train(config: DictConfig) -> float | None:
    """Trains and tests what a configuration describes; gives the best validation MAE, which a search makes small."""
    quiet_libraries()
    overrides = own_overrides(told(HydraConfig.get()))
    run_directory.check_agreed("hydra.run.dir" in " ".join(HydraConfig.get().overrides.hydra))
    with (
        run_directory.opened(config.run_dir, config.ckpt_path) as (run, checkpoint),
        run_directory.telling_no_room(run),
        stoppable(run, **stopped_by(config)),
        run_record.kept(run, overrides, config.seed, checkpoint) as record,
        one_wandb_run(),
    ):
        repeated = Repeated(config.repeat)
        repeated.restore(config, overrides)
        check_own_keys(config, "train")
        OmegaConf.update(config, "run_dir", literal(str(run)))
        if checkpoint is not None:
            changes = run_directory.changes_on_resume(run, OmegaConf.to_yaml(config, resolve=True))
            if run_directory.is_finished(run, changes, config.protocols):
                log.info("%s is finished: nothing is left to do.", run_directory.shown(run))
                return lowest(run, "val/mae")
            log.info("going on from %s%s", run_directory.shown(checkpoint), "".join(f", {one}" for one in changes))
        data = build(config.data)
        pl.seed_everything(config.seed, workers=True, verbose=False)
        set_float32_matmul(config.float32_matmul)
        task = make_task(config)
        check(task, data, *(checked(config.get(part) or {}) for part in ("trainer", "schedule", "callbacks")))
        check_same_task(checkpoint, task.config)
        trainer = make_trainer(config)
        data.prepare_data()
        seen = RankPoseCrop(config.test_scale)
        further = after_training(config.protocols, config.roots, config.data.num_workers, seen)
        parts = {part: data.records(part) for part in ("train", "val", "test")}
        repeated.check_data(config, parts)
        check_batches(data.batches_per_epoch(), config.trainer)
        left_out = data.left_out()
        log.info("training on %s", data.records("train").summary())
        if left_out["identities"]:
            log.warning(
                "of these, {identities:,} identities with {images:,} images are not visited: they have fewer than "
                "data.images_per_identity={least}".format(**left_out, least=data.images_per_identity)
            )
        log.info("computing in %s", precision_told(config.trainer))
        if trainer.is_global_zero:
            write_whole(run / "config.yaml", OmegaConf.to_yaml(config, resolve=True))
            record.begin(parts, left_out, trainer)
            repeated.warn()
            log_configuration(trainer.loggers, plain(config), current_job())
        try:
            with refusals():
                trainer.fit(task, datamodule=data, ckpt_path=checkpoint)
        except Pruned as pruned:
            log.info("%s", pruned)
            return pruned.best
        finish(config, trainer, task, data, run)
        leave_reports(further, run / "checkpoints" / "best.ckpt", trainer.is_global_zero)
        best: Tensor | None = getattr(trainer.checkpoint_callback, "best_model_score", None)
        return None if best is None else float(best)
