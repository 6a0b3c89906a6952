"""Which settings contradict each other, or the machine? What no part of a run sees alone, told before data are read."""

import copy
import logging
from collections.abc import Mapping
from typing import Any

import torch

from rankpose.data.datamodule import Training
from rankpose.errors import ConfigError, one_line
from rankpose.metrics import pose_scores
from rankpose.task import PoseTask

log = logging.getLogger(__name__)

Settings = Mapping[str, Any]
"""A part of the configuration, plain."""

_NOT_OURS = {
    "logger": "loggers are a group: logger=csv, or logger=null for none",
    "callbacks": "callbacks are a group: +callbacks.NAME._target_=CLASS adds one, callbacks=null leaves all out",
    "overfit_batches": "cannot keep a person's images together; overfit to few people: data.train_identities=N",
    "use_distributed_sampler": "our samplers divide the work themselves, it would be divided twice; leave it false",
    "barebones": "a run logs, keeps checkpoints and shows its progress; leave it out",
    "enable_checkpointing": "a run ends with a test of the checkpoint that it keeps; leave it true",
}
"""Options of Lightning's trainer that a run cannot have otherwise than as it sets them, and the way out."""
_AS_WE_DO = {"use_distributed_sampler": False, "barebones": False, "enable_checkpointing": True, "overfit_batches": 0}
_PRECISIONS = ("auto", "32-true", "32", "16-mixed", "16", "bf16-mixed", "bf16")


def check(task: PoseTask, data: Training, trainer: Settings, schedule: Settings, callbacks: Settings) -> None:
    """Raises `ConfigError`, naming the key and the way out.

    Args:
        task, data: as they are about to be used.
        trainer, schedule, callbacks: as the configuration has them.
    """
    if task.loss.needs_pairs and data.images_per_identity < 2:
        raise ConfigError(
            f"data.images_per_identity={data.images_per_identity}: a ranking loss needs two images of a person in a "
            "batch. Set data.images_per_identity=2, or loss=mse."
        )
    wants = task.loss.wants
    if wants is not None and not isinstance(task.net.representation, wants):
        raise ConfigError(
            f"loss: {type(task.loss).__name__} looks at the raw output of {wants.__name__}, this network's is "
            f"{type(task.net.representation).__name__}. Set representation=, or take an experiment that has both."
        )
    _check_size(task.net.backbone, data)
    _check_options(trainer)
    _check_length(task, trainer, schedule)
    _check_device(trainer)
    _check_monitors(callbacks)


def check_batches(batches: int, trainer: Settings) -> None:
    """Raises `ConfigError` where an epoch has too few batches for what is asked of it.

    Args:
        batches: of an epoch, of one process.
        trainer: as the configuration has it.
    """
    interval = trainer.get("val_check_interval")
    if isinstance(interval, int) and interval > batches and trainer.get("check_val_every_n_epoch") is not None:
        raise ConfigError(
            f"trainer.val_check_interval={interval}: an epoch has {batches} batches. Set {batches} at most, or "
            "trainer.check_val_every_n_epoch=null to count over epochs."
        )
    share = trainer.get("limit_train_batches")
    if isinstance(share, float) and share * batches < 1:
        raise ConfigError(
            f"trainer.limit_train_batches={share}: is less than one of the {batches} batches of an epoch."
        )


def _check_size(backbone: Any, data: Training) -> None:
    """A backbone may need more pixels, or more images, than there are, or cut some off in silence."""
    size = data.size
    patch = getattr(getattr(backbone, "patch_embed", None), "patch_size", None)
    side = patch[0] if isinstance(patch, tuple) else patch
    if isinstance(side, int) and size % side:
        raise ConfigError(
            f"image_size={size}: the backbone sees patches of {side} pixels. Set image_size to a multiple of {side}, "
            f"such as {max(1, round(size / side)) * side}."
        )
    training = backbone.training
    try:
        with torch.inference_mode():
            backbone.eval()(torch.zeros(1, 3, size, size))
    except (RuntimeError, AssertionError) as error:
        reason = one_line(error)
        raise ConfigError(f"image_size={size}: the backbone cannot take images of this size ({reason}).") from error
    finally:
        backbone.train(training)
    if data.images_per_batch == 1:
        try:
            with torch.inference_mode():
                copy.deepcopy(backbone).train()(torch.zeros(1, 3, size, size))
        except ValueError as error:
            raise ConfigError(
                "data.identities_per_batch=1: one image gives the backbone's batch normalisation no variance. Set "
                "data.identities_per_batch to 2 or more."
            ) from error


def _check_options(trainer: Settings) -> None:
    for name, way_out in _NOT_OURS.items():
        if name in trainer and trainer[name] != _AS_WE_DO.get(name, object()):
            raise ConfigError(f"trainer.{name}={trainer[name]}: {way_out}.")
    for name, what in (("limit_train_batches", "trained on"), ("limit_test_batches", "tested on")):
        if trainer.get(name, 1.0) == 0:
            raise ConfigError(f"trainer.{name}=0: nothing would be {what}. Set 1 or more, or leave it out.")
    if trainer.get("val_check_interval", 1.0) == 0:
        raise ConfigError("trainer.val_check_interval=0: must be above 0; trainer.limit_val_batches=0 never validates.")


def _check_length(task: PoseTask, trainer: Settings, schedule: Settings) -> None:
    epochs, steps = trainer.get("max_epochs"), trainer.get("max_steps", -1)
    for name, value in (("max_epochs", epochs), ("max_steps", steps)):
        if value is not None and value != -1 and value < 1:
            raise ConfigError(f"trainer.{name}={value}: must be at least 1, or -1 for no limit.")
    for name in ("accumulate_grad_batches", "check_val_every_n_epoch", "log_every_n_steps", "num_nodes"):
        if trainer.get(name) is not None and trainer[name] < 1:
            raise ConfigError(f"trainer.{name}={trainer[name]}: must be at least 1.")
    if (trainer.get("gradient_clip_val") or 0) < 0:
        raise ConfigError(f"trainer.gradient_clip_val={trainer['gradient_clip_val']}: must be above 0, or null.")
    if epochs in (None, -1) and steps == -1 and trainer.get("max_time") is None:
        raise ConfigError(
            "trainer.max_epochs=-1 and trainer.max_steps=-1: training would never end. Set one of them above 0."
        )
    if epochs in (None, -1) and steps == -1 and not _goes_on(task):
        raise ConfigError(
            f"trainer.max_time={trainer['max_time']}: the schedule needs the length of the run in steps. Set "
            "trainer.max_epochs or trainer.max_steps as well, or schedule=constant."
        )
    if isinstance(schedule.get("epochs"), int) and isinstance(epochs, int) and 0 < epochs < schedule["epochs"]:
        log.warning(
            "schedule.epochs=%d is longer than trainer.max_epochs=%d: the learning rate stops on its way down",
            *(schedule["epochs"], epochs),
        )


def _goes_on(task: PoseTask) -> bool:
    """Whether the schedule can do more steps than it was made for."""
    optimizer = task.make_optimizer([torch.nn.Parameter(torch.zeros(1))])
    schedule = task.make_schedule(optimizer, 2, 2)
    try:
        for _ in range(4):
            optimizer.step()
            schedule.step()
    except ValueError:
        return False
    return True


def _check_device(trainer: Settings) -> None:
    accelerator, devices = trainer.get("accelerator", "auto"), trainer.get("devices", 1)
    gpus = torch.cuda.device_count()
    if accelerator in ("gpu", "cuda") and not gpus and not (accelerator == "gpu" and torch.backends.mps.is_available()):
        raise ConfigError(f"trainer.accelerator={accelerator}: there is no GPU. Set trainer.accelerator=auto.")
    on_gpu = accelerator in ("gpu", "cuda") or (accelerator == "auto" and gpus > 0)
    if on_gpu and isinstance(devices, int) and devices > gpus > 0:
        raise ConfigError(f"trainer.devices={devices}: there are {gpus} GPUs here. Set {gpus} at most.")
    if (isinstance(devices, int) and devices < (-1 if on_gpu else 1)) or devices == 0:
        raise ConfigError(f"trainer.devices={devices}: must be at least 1.")
    on_cpu = accelerator == "cpu" or (accelerator == "auto" and not gpus and not torch.backends.mps.is_available())
    if on_cpu and trainer.get("sync_batchnorm"):
        raise ConfigError("trainer.sync_batchnorm=true: is for GPUs. Set trainer.sync_batchnorm=false.")
    precision = str(trainer.get("precision") or "32-true")
    if precision not in _PRECISIONS:
        raise ConfigError(
            f"trainer.precision={precision}: poses are computed in float32. Set trainer.precision=32-true, "
            "bf16-mixed or 16-mixed."
        )
    if on_cpu and precision in ("16", "16-mixed"):
        raise ConfigError(
            f"trainer.precision={precision}: half precision is for GPUs. Set trainer.precision=bf16-mixed or 32-true."
        )


def _check_monitors(callbacks: Settings) -> None:
    """A metric that nobody logs would be missed after the first epoch."""
    none = torch.zeros(2, 3)
    known = [f"val/{name}" for name in pose_scores(none, none, torch.zeros(2, dtype=torch.long))]
    for name, callback in callbacks.items():
        monitor = callback.get("monitor") if isinstance(callback, Mapping) else None
        if monitor is not None and not monitor.startswith("train/") and monitor not in known:
            raise ConfigError(
                f"callbacks.{name}.monitor={monitor}: is never logged. Validation logs {', '.join(known)}."
            )
