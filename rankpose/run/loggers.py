"""Where curves go: W&B online where the user is logged in, otherwise offline. Never a prompt, a hang or a lost run.

A run's folder keeps the W&B run's identity (`wandb/identity.json`), so that a resumed run goes on there. What is
logged, and under which keys, is in `docs/wandb.md`; `rankpose.workspace` draws the dashboard of these keys.
"""

import hashlib
import json
import logging
import netrc
import os
import secrets
import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

import numpy as np
import wandb
from lightning_fabric.loggers.logger import rank_zero_experiment
from pytorch_lightning.loggers import Logger, WandbLogger
from pytorch_lightning.utilities import rank_zero_only

from rankpose.errors import ConfigError, first_line
from rankpose.files import write_whole
from rankpose.run.job import MAIN, Job
from rankpose.run.keys import Kind, flat, kind_of
from rankpose.run.lightning_private import has_begun, wandb_arguments

log = logging.getLogger(__name__)
_LOGIN_TIMEOUT_S = 20
_FINISH_TIMEOUT_S = 900
"""How long the end of a run waits for uploads; what is left then is in the run's folder, for `wandb sync`."""

_MODES = ("online", "offline", "disabled")
_OLD_MODES = {"run": "online", "dryrun": "offline"}
"""What W&B takes as well."""

BEST = {
    "val/mae": "min",
    "val/yaw_mae": "min",
    "val/pitch_mae": "min",
    "val/roll_mae": "min",
    "val/geodesic": "min",
    "val/pair_order": "max",
    "speed/images_per_s": "mean",
    "speed/waiting_share": "mean",
}
"""What a run's summary keeps of a curve, beside the last value: `val/mae.min`."""


def logged_in() -> bool:
    """Whether W&B knows this user: an API key in the environment or in the netrc file."""
    if os.environ.get("WANDB_API_KEY"):
        return True
    host = urlparse(os.environ.get("WANDB_BASE_URL", "https://api.wandb.ai")).hostname or ""
    try:
        return netrc.netrc(os.environ.get("NETRC")).authenticators(host) is not None
    except (OSError, netrc.NetrcParseError):
        return False


class RunLogger(WandbLogger):
    """A `WandbLogger` that goes on in the run of its folder, and whose troubles do not end training.

    The W&B run begins when something is logged first. No connection then means that it is offline; any failure later is
    told once, and nothing more is sent.

    Args:
        save_dir: the run's folder, which gets the `wandb/` folder.
        mode: `online`, `offline` or `disabled`.
        checkpoint: keep the best checkpoint as an artifact.
        init: further arguments of `wandb.init`.
    """

    def __init__(self, save_dir: str, mode: str, checkpoint: bool = True, **init: Any) -> None:
        # relative image paths of W&B's own would be lost with the working directory
        self.folder, self.mode, self.checkpoint = Path(save_dir).resolve(), mode, checkpoint
        self._failed = False
        settings = wandb.Settings(init_timeout=_LOGIN_TIMEOUT_S, finish_timeout=_FINISH_TIMEOUT_S)
        super().__init__(save_dir=str(self.folder), mode=mode, settings=settings, log_model=False, **init)

    @property
    @rank_zero_experiment
    def experiment(self) -> Any:
        """The W&B run."""
        if not has_begun(self) and self.mode != "disabled":
            self._take_identity()
            try:
                return super().experiment
            except wandb.errors.Error as error:
                if self.mode != "online":
                    raise
                log.warning("W&B: no connection (%s); this run is logged offline.", first_line(error))
                wandb.teardown()  # its service would go on holding the run's id
                self.mode = wandb_arguments(self)["mode"] = "offline"
        return super().experiment

    def named(self, job: Job, seed: int) -> None:
        """Names a run that has no name of the user's by what it was told, before it begins."""
        init = wandb_arguments(self)
        init["name"] = init.get("name") or job.name(seed)
        init["group"] = init.get("group") or job.group
        # W&B takes tags of up to 64 letters
        chosen = [job.choices[group][:64] for group in MAIN if group in job.choices]
        init["tags"] = list(dict.fromkeys([*(init.get("tags") or ()), *chosen]))

    def attempt(self, action: Callable[[Any], Any]) -> None:
        """Calls `action(run)` on the first process; a failure is told, and ends what is sent, not the training."""
        if self._failed or self.mode == "disabled" or rank_zero_only.rank != 0:  # type: ignore[attr-defined]
            return
        try:
            action(self.experiment)
        except Exception as error:  # a connection, a full disk, a dead service: each raises errors of its own
            self._failed = True
            log.warning(
                "W&B: %s (%s); nothing more is sent there, all else goes on.", first_line(error), type(error).__name__
            )

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        self.attempt(lambda _: super(RunLogger, self).log_metrics(metrics, step))

    def log_hyperparams(self, params: Any, *args: Any, **kwargs: Any) -> None:
        self.attempt(lambda _: super(RunLogger, self).log_hyperparams(params))

    def log_pictures(self, key: str, pictures: Sequence[tuple[np.ndarray, str]], step: int) -> None:
        """Sends (H, W, 3) uint8 RGB pictures with their captions."""

        def send(run: Any) -> None:
            images = [wandb.Image(picture, caption=caption) for picture, caption in pictures]
            run.log({key: images, "trainer/global_step": step})

        self.attempt(send)

    def _take_identity(self) -> None:
        path = self.folder / "wandb" / "identity.json"
        init = wandb_arguments(self)
        if path.is_file():
            # a run that goes on keeps its name, whatever command line it goes on with
            init.update(json.loads(path.read_text(encoding="utf-8")))
        else:
            init["id"] = init.get("id") or os.environ.get("WANDB_RUN_ID") or secrets.token_hex(4)
            known = {key: init.get(key) for key in ("id", "name", "group")}
            write_whole(path, json.dumps(known, indent=2) + "\n")
        # where W&B puts pictures of tables until they are uploaded: with the run, not in the home folder
        os.environ.setdefault("WANDB_DATA_DIR", str(path.parent))


def wandb_logger(
    save_dir: str,
    project: str = "rankpose",
    name: str | None = None,
    mode: str = "auto",
    entity: str | None = None,
    group: str | None = None,
    job_type: str | None = None,
    tags: Sequence[str] = (),
    checkpoint: bool = True,
) -> RunLogger:
    """A W&B logger that never asks.

    Args:
        save_dir: folder that gets the `wandb/` folder; one that has one goes on with its run.
        project, name, entity, group, job_type, tags: as W&B shows them. For name and group see `RunLogger.named`.
        mode: `online`, `offline`, `disabled`, or `auto`: WANDB_MODE where it is set, else online for a logged-in user,
            else offline. Online falls back to offline where no connection comes about.
        checkpoint: keep the best checkpoint as an artifact.
    """
    name_of_mode = "logger.wandb.mode"
    if mode == "auto":
        name_of_mode = "WANDB_MODE"
        mode = os.environ.get("WANDB_MODE") or ("online" if logged_in() else "offline")
        mode = _OLD_MODES.get(mode, mode)
    if mode not in _MODES:
        raise ConfigError(f"{name_of_mode}={mode}: W&B has no such mode here. Set {', '.join(_MODES)}.")
    os.environ.setdefault("WANDB_SILENT", "true")
    known = {"project": project, "name": name, "entity": entity, "group": group, "job_type": job_type}
    return RunLogger(save_dir, mode, checkpoint, tags=list(tags), **known)


def run_loggers(loggers: Sequence[Logger]) -> list[RunLogger]:
    """Those of a trainer's loggers that are for W&B: the same in every process, whatever may have failed in one."""
    return [logger for logger in loggers if isinstance(logger, RunLogger) and logger.mode != "disabled"]


@contextmanager
def one_wandb_run() -> Iterator[None]:
    """Ends the W&B run that begins inside, so that the next run in this process does not log into it.

    A failure inside makes it a failed run, a stop (`SystemExit`) one that may go on.
    """
    data_dir = os.environ.get("WANDB_DATA_DIR")
    code = 1
    try:
        yield
        code = 0
    except SystemExit as stop:
        code = stop.code if isinstance(stop.code, int) else 1
        _end(lambda run: run.mark_preempting())
        raise
    finally:
        _end(lambda run: run.finish(exit_code=code))
        if data_dir is None:
            os.environ.pop("WANDB_DATA_DIR", None)


def _end(action: Callable[[Any], Any]) -> None:
    if wandb.run is not None:
        try:
            action(wandb.run)
        except Exception as error:
            log.warning("W&B: %s (%s)", first_line(error), type(error).__name__)


def how_to_view(run: Any) -> str:
    """One line for the user: where a W&B run can be seen."""
    if getattr(run, "url", None):
        return f"W&B: {run.url}"
    folder = Path(os.path.relpath(Path(run.dir).parent))
    # a run that went on has a file for each start
    starts = f"offline-run-*-{run.id}"
    own = shlex.quote(str(folder))
    upload = f"{shlex.quote(str(folder.parent))}/{starts}" if len(list(folder.parent.glob(starts))) > 1 else own
    return f"W&B, offline: `wandb leet {own}` shows the run here, `wandb sync {upload}` uploads it."


def log_configuration(loggers: Sequence[Logger], config: Mapping[str, Any], job: Job) -> None:
    """Begins the W&B run: its name, its group and its configuration, where runs are told apart by it.

    The configuration gets one key more, `variant`: what the run is, seed aside. Grouped by it, runs are averaged over
    seeds.
    """
    for logger in run_loggers(loggers):
        logger.named(job, config["seed"])
        logger.log_hyperparams({**config, "variant": job.variant})
        logger.attempt(_define_summaries)


def _define_summaries(run: Any) -> None:
    for key, kept in BEST.items():
        run.define_metric(key, step_metric="trainer/global_step", step_sync=True, summary=f"{kept},last")


def configuration_digest(config: Mapping[str, Any]) -> str:
    """SHA-256 of a configuration without the keys that say where a run lies, on which machine, and how it is shown."""
    where = (Kind.PLACE, Kind.DISPLAY, Kind.MACHINE)
    what = {key: value for key, value in flat(config) if kind_of(key) not in where}
    return hashlib.sha256(json.dumps(what, sort_keys=True, default=str).encode()).hexdigest()
