"""Trains a head-pose network and tests it on people it has never seen: `python -m rankpose.train`."""

import logging
from pathlib import Path

import hydra
import pytorch_lightning as pl
from omegaconf import DictConfig, OmegaConf

from rankpose import run_directory
from rankpose.callbacks import Stopped
from rankpose.checkpoint import check_same_task
from rankpose.configuration import CONFIG_DIR, build, plain, quiet_libraries
from rankpose.data.crop_rules import RankPoseCrop
from rankpose.data.datamodule import PoseDataModule
from rankpose.errors import ConfigError, one_line_errors
from rankpose.evaluation import pose_table
from rankpose.files import write_whole
from rankpose.loggers import log_configuration, log_results
from rankpose.models import PoseNet, build_backbone
from rankpose.results import leave_results
from rankpose.task import PoseTask

log = logging.getLogger(__name__)


def make_task(config: DictConfig) -> PoseTask:
    """The network, its loss and its optimizer."""
    net = PoseNet(build_backbone(**plain(config.backbone)), build(config.representation))
    kept = {key: plain(config[key]) for key in ("backbone", "representation", "image_size", "test_scale")}
    return PoseTask(
        net,
        build(config.loss),
        build(config.optimizer),
        build(config.schedule),
        weight_decay=config.weight_decay,
        config=kept,
    )


def check(task: PoseTask, data: PoseDataModule) -> None:
    """What no part can see alone."""
    if task.loss.needs_pairs and data.images_per_identity < 2:
        raise ConfigError(
            f"data.images_per_identity={data.images_per_identity}: a ranking loss needs two images of a person in a "
            "batch. Set data.images_per_identity=2, or loss=mse."
        )


def finish(config: DictConfig, trainer: pl.Trainer, task: PoseTask, data: PoseDataModule, run: Path) -> None:
    """Tests the best checkpoint and leaves metrics, predictions and the report in the run's directory."""
    best = run / "checkpoints" / "best.ckpt"
    if not best.exists():
        log.warning("the run ended before its first validation: its last state is kept as the best")
        trainer.save_checkpoint(best)
    (scores,) = trainer.test(task, datamodule=data, ckpt_path=str(best), verbose=False)
    if not trainer.is_global_zero:
        return
    records = data.records("test")
    tested = records.select(task.test_table["index"].numpy())
    predictions = pose_table(task.test_table["prediction"], tested, RankPoseCrop(config.test_scale))
    leave_results(
        run,
        predictions,
        scores,
        title=f"RankPose on {records.dataset}",
        subtitle=f"{records.summary()}, none of them seen in training",
        curves=run_directory.gather_curves(run),
        config_text=OmegaConf.to_yaml(config, resolve=True),
    )
    log_results(trainer.loggers, predictions)


@hydra.main(version_base="1.3", config_path=CONFIG_DIR, config_name="train")
@one_line_errors
def main(config: DictConfig) -> None:
    """Seed, data, task, trainer, fit, test."""
    quiet_libraries()
    with run_directory.opened(config.run_dir, config.ckpt_path) as (run, checkpoint):
        OmegaConf.update(config, "run_dir", str(run))
        pl.seed_everything(config.seed, workers=True, verbose=False)
        data, task = build(config.data), make_task(config)
        check(task, data)
        check_same_task(checkpoint, task.config)
        data.prepare_data()
        log.info("training on %s", data.records("train").summary())
        trainer = build(
            config.trainer,
            callbacks=list(build(config.callbacks).values()),
            logger=list(build(config.logger).values()),
        )
        if trainer.is_global_zero:
            write_whole(run / "config.yaml", OmegaConf.to_yaml(config, resolve=True))
            log_configuration(trainer.loggers, plain(config))
        try:
            trainer.fit(task, datamodule=data, ckpt_path=checkpoint)
        except Stopped as stopped:
            log.info("%s", stopped.message)
            log.info("go on: repeat the command with ckpt_path=%s/checkpoints/last.ckpt", run_directory.shown(run))
            raise
        finish(config, trainer, task, data, run)


if __name__ == "__main__":
    main()
