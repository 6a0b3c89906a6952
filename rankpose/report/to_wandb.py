"""What does W&B get of an evaluation? The tables and pictures of the page, where runs are compared."""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import wandb
from pytorch_lightning.loggers import Logger

from rankpose.evaluation.differences import ModelDifference
from rankpose.evaluation.scores import Evaluation
from rankpose.report import model_panels
from rankpose.report.heads import degrees, head_or_grey
from rankpose.report.main_table import SCORES, differences_table
from rankpose.report.page import WORST, robustness_scores, worst_rows
from rankpose.report.robustness import robustness_curves
from rankpose.run.loggers import configuration_digest, how_to_view, run_loggers

log = logging.getLogger(__name__)

TILE = 160
"""Pixels of a picture in a table."""


def log_evaluation(
    run: Any, evaluations: Sequence[Evaluation], compared: Sequence[ModelDifference] = (), worst: int = 50
) -> None:
    """Sends an evaluation to a W&B run, online or offline.

    `evaluation/scores` and `evaluation/differences` are tables; `evaluation/PROTOCOL/worst` is a table of the worst
    images with every model's axes, `evaluation/PROTOCOL/heads` are the gravest of them as pictures,
    `evaluation/PROTOCOL/...` are the panels of the page. The run's summary gets each score as `PROTOCOL/MODEL/SCORE`.

    Args:
        run: a W&B run; of a `WandbLogger`, its `experiment`.
        evaluations: of any models, protocols and corruptions.
        compared: as `rankpose.evaluation.differences.differences` gives them.
        worst: how many images with pictures for each protocol.
    """
    numbers = {model: number for number, model in enumerate(dict.fromkeys(one.model for one in evaluations))}
    content: dict[str, Any] = {"evaluation/scores": wandb.Table(dataframe=scores_table(evaluations))}
    if compared:
        content["evaluation/differences"] = wandb.Table(dataframe=differences_table(compared))
    for protocol in dict.fromkeys(one.protocol for one in evaluations):
        group = [one for one in evaluations if one.protocol == protocol]
        clean = [one for one in group if one.strength == 0]
        panels = []
        if clean:
            panels += [*model_panels.cumulative_curves(clean, numbers), model_panels.pair_order_by_gap(clean, numbers)]
            panels += model_panels.error_by_angle(clean, numbers)
            panels += [panel for _, three in model_panels.scatter(clean, numbers) for panel in three]
            content[f"evaluation/{protocol}/worst"] = _worst_table(clean, worst)
            # W&B keeps a table's pictures outside the folder of an offline run; these are in it
            content[f"evaluation/{protocol}/heads"] = [_heads(clean, rows) for rows in worst_rows(clean, WORST)]
        if len(group) > len(clean):
            panels += robustness_curves(robustness_scores(group), numbers=numbers, about=protocol).panels
        for panel in filter(None, panels):
            content[f"evaluation/{protocol}/{panel.label}"] = wandb.Html(panel.svg, inject=False)
    run.log(content)
    for one in evaluations:
        if one.strength == 0:
            run.summary.update({f"{one.protocol}/{one.model}/{name}": value for name, value in one.scores.items()})


def scores_table(evaluations: Sequence[Evaluation]) -> pd.DataFrame:
    """A row for each evaluation, as it is and aligned, with the main table's scores in columns; shares in [0, 1]."""
    rows = [
        {"protocol": one.protocol, "model": one.model, "corruption": one.corruption or "clean"}
        | {"strength": one.strength, "frame": frame, "images": len(one.predictions)}
        | {score.name: one.scores[prefix + score.name] for score in SCORES}
        for one in evaluations
        for frame, prefix in (("as it is", ""), ("aligned", "aligned_"))
    ]
    return pd.DataFrame(rows)


def _worst_table(group: Sequence[Evaluation], count: int) -> wandb.Table:
    columns = list(group[0].predictions.columns)
    table = wandb.Table(columns=["model", "crop", *columns])
    for rows in worst_rows(group, count):
        for one, row in zip(group, rows, strict=True):
            table.add_data(one.model, wandb.Image(head_or_grey(row, TILE)), *(row[column] for column in columns))
    return table


def _heads(group: Sequence[Evaluation], rows: Sequence[dict[Any, Any]]) -> wandb.Image:
    """One image with the axes of every model, side by side."""
    errors = ", ".join(f"{one.model} {degrees(row['geodesic'])}°" for one, row in zip(group, rows, strict=True))
    return wandb.Image(np.hstack([head_or_grey(row, TILE) for row in rows]), caption=f"{rows[0]['name']}: {errors}")


def log_results(
    loggers: Sequence[Logger],
    test: Evaluation,
    scores: Mapping[str, float],
    checkpoint: Path,
    config: Mapping[str, Any],
    record: Mapping[str, Any],
) -> None:
    """Sends what a run ends with: its best checkpoint, and the tables, pictures and figures of its test.

    Args:
        loggers: of the trainer.
        test: that ends the training.
        scores: by key as they are logged, of the test and of the checkpoint's validation.
        checkpoint: the best.
        config: the run's.
        record: what it takes to repeat the run, as `rankpose.run.record` writes it.
    """
    metadata: dict[str, Any] = {key: float(value) for key, value in scores.items()}
    metadata |= {"config_sha256": configuration_digest(config), "data_sha256": record["data"]["digest"]}
    metadata |= {"commit": record["rankpose"]["commit"], "config": dict(config)}
    for logger in run_loggers(loggers):
        if logger.checkpoint:
            logger.attempt(lambda run: _send_checkpoint(run, checkpoint, metadata))
        logger.attempt(lambda run: log_evaluation(run, [test]))
        logger.attempt(lambda run: log.info("%s", how_to_view(run)))


def _send_checkpoint(run: Any, checkpoint: Path, metadata: Mapping[str, Any]) -> None:
    artifact = wandb.Artifact(f"checkpoint-{run.id}", type="model", metadata=dict(metadata))
    # neither copied into W&B's staging folder nor into its cache: a checkpoint is large and stays where it is
    artifact.add_file(str(checkpoint.resolve()), name=checkpoint.name, policy="immutable", skip_cache=True)
    run.log_artifact(artifact, aliases=["best", "latest"])
