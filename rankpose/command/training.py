"""From a configuration to a trained and tested network: what `python -m rankpose.train` does once it is understood."""

import logging
from collections.abc import Sequence
from dataclasses import fields
from typing import Literal

import pytorch_lightning as pl
import torch
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf
from pandas import DataFrame
from pytorch_lightning.callbacks import Checkpoint, LearningRateMonitor, ProgressBar
from torch import Tensor

from rankpose import checks
from rankpose.callbacks.averaging import MovingAverage
from rankpose.command.configuration import (
    build,
    check_own_keys,
    checked,
    current_job,
    plain,
    quiet_libraries,
    refusals,
    stopped_by,
    stored,
    stored_text,
    told,
)
from rankpose.command.contradictions import check, check_batches
from rankpose.command.precision import choose_precision, keep_precision
from rankpose.command.repeat import Repeated, own_overrides
from rankpose.command.testing import after_training, leave_reports
from rankpose.command.trials import about_network
from rankpose.data.crop_rules import RankPoseCrop
from rankpose.data.datamodule import Training
from rankpose.evaluation.protocol import HELD_OUT, HELD_OUT_TITLE, OWN_MODEL, Protocol
from rankpose.evaluation.scores import evaluate
from rankpose.files import write_whole
from rankpose.models import PoseNet, build_backbone
from rankpose.models.checkpoint import MadeFrom, begin_with, check_same_task
from rankpose.report.main_table import images_in_words
from rankpose.report.results import write_results
from rankpose.report.text_table import table_of
from rankpose.report.to_wandb import log_results
from rankpose.run import record as run_record
from rankpose.run.begin import Run, begin
from rankpose.run.curves import gather_curves
from rankpose.run.directory import check_agreed, shown
from rankpose.run.keys import literal
from rankpose.run.loggers import log_configuration
from rankpose.task import PoseTask

log = logging.getLogger(__name__)

PARTS = ("train", "val", "test")


def make_task(config: DictConfig) -> PoseTask:
    """The network, its loss and its optimizer."""
    made_from = MadeFrom.of({field.name: plain(config[field.name]) for field in fields(MadeFrom)})
    # the weights of `init` take the place of those that the backbone would fetch
    fetched = {"pretrained": False, "weights": None} if config.init is not None else {}
    net = PoseNet(
        build_backbone(**plain(config.backbone) | fetched), build(config.representation), config.channels_last
    )
    if config.init is not None:
        begin_with(net, made_from, config.init)
    if config.compile:
        net.compile()  # in its place: the names of the weights stay
    return PoseTask(
        net,
        build(config.loss),
        build(config.optimizer),
        build(config.schedule),
        weight_decay=config.weight_decay,
        lr_scaling=config.lr_scaling,
        lr_reference_batch=config.lr_reference_batch,
        made_from=made_from,
    )


@checks.checked(precision="float32_matmul")
def set_float32_matmul(precision: Literal["highest", "high", "medium"]) -> None:
    """Decides how this process multiplies float32 matrices."""
    torch.set_float32_matmul_precision(precision)


def make_callbacks(config: DictConfig) -> list[pl.Callback]:
    """The callbacks of the configuration and that of `ema`, without those that Lightning would refuse."""
    callbacks = [one for one in build(config.get("callbacks") or {}).values() if one is not None]
    if config.ema is not None:
        callbacks.append(MovingAverage(config.ema))
    wanted = {
        ProgressBar: config.trainer.get("enable_progress_bar", True),
        LearningRateMonitor: bool(config.get("logger")),
    }
    return [one for one in callbacks if all(there or not isinstance(one, kind) for kind, there in wanted.items())]


def make_trainer(config: DictConfig, callbacks: Sequence[pl.Callback]) -> pl.Trainer:
    """Lightning's trainer with the loggers of the configuration."""
    set_float32_matmul(config.float32_matmul)
    loggers = [one for one in build(config.get("logger") or {}).values() if one is not None]
    # otherwise Lightning adds a checkpoint of its own
    keeps = any(isinstance(one, Checkpoint) for one in callbacks)
    trainer: pl.Trainer = build(config.trainer, logger=loggers, callbacks=list(callbacks), enable_checkpointing=keeps)
    return trainer


def settle(config: DictConfig, overrides: Sequence[str], run: Run) -> Repeated:
    """Makes a configuration that of this run: as the run that it repeats was, and with its folder in it."""
    if isinstance(config.protocols, str):  # a single name, in a file
        config.protocols = [config.protocols]
    repeated = Repeated(config.repeat)
    repeated.restore(config, overrides)
    check_own_keys(config, "train")
    OmegaConf.update(config, "run_dir", literal(str(run.folder)))
    keep_precision(config, run.folder, run.checkpoint)
    return repeated


def check_settings(config: DictConfig, task: PoseTask, data: Training, checkpoint: str | None) -> None:
    """Raises `ConfigError` for what contradicts itself, the machine, or the checkpoint that the run goes on from."""
    check(task, data, *(checked(config.get(part) or {}) for part in ("trainer", "schedule", "callbacks")))
    assert task.made_from is not None
    check_same_task(checkpoint, task.made_from)


def check_data(config: DictConfig, data: Training, repeated: Repeated) -> None:
    """Reads the data, says what there is, and raises where it is too little or not what was to be repeated."""
    data.prepare_data()
    repeated.check_data(config, {part: data.records(part) for part in PARTS})
    check_batches(data.batches_per_epoch(), config.trainer)
    left_out = data.left_out()
    log.info("training on %s", data.told())
    if left_out["identities"]:
        log.warning(
            "of these, {identities:,} identities with {images:,} images are not visited: they have fewer than "
            "data.images_per_identity={least}".format(**left_out, least=data.images_per_identity)
        )


def note(config: DictConfig, run: Run, trainer: pl.Trainer, data: Training, repeated: Repeated) -> None:
    """Leaves what it takes to repeat the run, before training begins."""
    if trainer.is_global_zero:
        write_whole(run.folder / "config.yaml", stored_text(stored(config)))
        run.record.begin({part: data.records(part) for part in PARTS}, data.left_out(), trainer)
        repeated.warn()
        log_configuration(trainer.loggers, stored(config), current_job())


def test(config: DictConfig, run: Run, trainer: pl.Trainer, task: PoseTask, data: Training) -> None:
    """Tests the best checkpoint on people never seen: an evaluation under the protocol `held_out`."""
    if not trainer.strategy.broadcast(run.best_checkpoint.exists()):
        log.warning("no validation has chosen a best checkpoint: the last state is kept as the best")
        trainer.save_checkpoint(run.best_checkpoint)
    (scores,) = trainer.test(task, datamodule=data, ckpt_path=str(run.best_checkpoint), verbose=False)
    best: Tensor | None = getattr(trainer.checkpoint_callback, "best_model_score", None)
    run.best = None if best is None else float(best)
    if not trainer.is_global_zero:
        return
    records, crop = data.records("test"), RankPoseCrop(config.test_scale)
    rows, prediction = task.tested()
    source = data.tested
    protocol = Protocol(HELD_OUT, HELD_OUT_TITLE, source.reader, source.root, source.max_angle, packed=source.packed)
    about = about_network("checkpoints/best.ckpt", config.image_size, crop)
    tested = evaluate(
        prediction, records, protocol, crop, model=OWN_MODEL, about=about, rows=rows, expected=task.expected()
    )
    page = write_results(
        run.folder,
        [tested],
        title=f"RankPose on {records.dataset}",
        config_text=stored_text(stored(config)),
        curves=gather_curves(run.folder),
        flat=scores,
    )
    log.info("tested on %s, %s", records.dataset, images_in_words(tested))
    for remark in tested.remarks:
        log.warning("%s", remark)
    told_scores = table_of(DataFrame(sorted(scores.items()), columns=["score", "value"]), digits=3)
    log.info("%s", told_scores.as_text("txt").rstrip())
    log.info("report: %s", shown(page))
    known = dict(scores) | ({} if run.best is None else {"val/mae": run.best})
    record = run_record.read(run.folder)
    log_results(trainer.loggers, tested, known, run.best_checkpoint, stored(config), record)


def train(config: DictConfig) -> float | None:
    """Trains and tests what a configuration describes; gives the best validation MAE, which a search makes small."""
    quiet_libraries()
    overrides = own_overrides(told(HydraConfig.get()))
    check_agreed("hydra.run.dir" in " ".join(HydraConfig.get().overrides.hydra))
    with begin(config.run_dir, config.ckpt_path, overrides, config.seed, stopped_by(config)) as run:
        repeated = settle(config, overrides, run)
        if run.has_ended(stored_text(stored(config)), config.protocols):
            return run.best
        data = build(config.data)  # which refuses a seed that is none
        pl.seed_everything(config.seed, workers=True, verbose=False)
        task = make_task(config)
        check_settings(config, task, data, run.checkpoint)
        choose_precision(config, task, data)
        trainer = make_trainer(config, make_callbacks(config))
        check_data(config, data, repeated)
        seen = RankPoseCrop(config.test_scale)
        further = after_training(config.protocols, config.roots, config.data.num_workers, seen)
        note(config, run, trainer, data, repeated)
        with refusals():
            trainer.fit(task, datamodule=data, ckpt_path=run.checkpoint)
        test(config, run, trainer, task, data)
        leave_reports(further, run.best_checkpoint, trainer.is_global_zero)
    return run.best
