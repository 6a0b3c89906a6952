"""Where curves go: W&B online where the user is logged in, otherwise offline. Never a prompt, never a hang."""

import logging
import netrc
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

import numpy as np
import pandas as pd
import wandb
from pytorch_lightning.loggers import Logger, WandbLogger

from rankpose.report.tiles import NO_PICTURE, head_picture

log = logging.getLogger(__name__)
_LOGIN_TIMEOUT_S = 20
_TILE = 160


def logged_in() -> bool:
    """Whether W&B knows this user: an API key in the environment or in the netrc file."""
    if os.environ.get("WANDB_API_KEY"):
        return True
    host = urlparse(os.environ.get("WANDB_BASE_URL", "https://api.wandb.ai")).hostname or ""
    try:
        return netrc.netrc(os.environ.get("NETRC")).authenticators(host) is not None
    except (OSError, netrc.NetrcParseError):
        return False


def wandb_logger(save_dir: str, project: str = "rankpose", name: str | None = None, mode: str = "auto") -> WandbLogger:
    """A W&B logger that never asks.

    Args:
        save_dir: folder that gets the `wandb/` folder.
        project, name: as W&B shows them.
        mode: `online`, `offline`, `disabled`, or `auto`: WANDB_MODE where it is set, else online for a logged-in user,
            else offline. Online falls back to offline where no connection comes about.
    """
    if mode == "auto":
        mode = os.environ.get("WANDB_MODE") or ("online" if logged_in() else "offline")
    os.environ.setdefault("WANDB_SILENT", "true")
    Path(save_dir).mkdir(parents=True, exist_ok=True)

    def make(mode: str) -> WandbLogger:
        settings = wandb.Settings(init_timeout=_LOGIN_TIMEOUT_S)
        return WandbLogger(save_dir=save_dir, project=project, name=name, mode=mode, settings=settings, log_model=False)

    logger = make(mode)
    if mode == "online":
        try:
            _ = logger.experiment
        except wandb.errors.Error as error:
            log.warning("W&B: no connection (%s); this run is logged offline.", str(error).splitlines()[0])
            logger = make("offline")
    return logger


def how_to_view(logger: WandbLogger) -> str:
    """One line for the user: where the run can be seen."""
    run = logger.experiment
    if getattr(run, "url", None):
        return f"W&B: {run.url}"
    folder = os.path.relpath(Path(run.dir).parent)
    return f"W&B, offline: `wandb leet {folder}` shows the run here, `wandb sync {folder}` uploads it."


def log_configuration(loggers: Sequence[Logger], config: dict[str, Any]) -> None:
    """Sends the run's configuration to W&B, where runs are told apart by it."""
    for logger in loggers:
        if isinstance(logger, WandbLogger):
            logger.log_hyperparams(config)


def log_results(loggers: Sequence[Logger], predictions: pd.DataFrame, rows: int = 50) -> None:
    """Sends the worst predictions with pictures to W&B.

    Args:
        loggers: of the trainer.
        predictions: as `rankpose.evaluation.pose_table` gives it.
        rows: how many.
    """
    for logger in loggers:
        if not isinstance(logger, WandbLogger):
            continue
        worst = predictions.nlargest(rows, "geodesic")
        table = wandb.Table(columns=["crop", *worst.columns])
        for row in worst.to_dict("records"):
            drawn = head_picture(row, _TILE)
            picture = np.full((_TILE, _TILE, 3), NO_PICTURE, np.uint8) if drawn is None else drawn
            table.add_data(wandb.Image(picture), *row.values())
        logger.experiment.log({"test/worst": table})
        log.info(how_to_view(logger))
