"""What a finished test leaves behind: predictions, metrics and the report, each written whole or not at all."""

import json
import logging
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from rankpose.files import write_whole
from rankpose.report.page import write_report
from rankpose.run.directory import shown

log = logging.getLogger(__name__)


def leave_results(
    folder: Path,
    predictions: pd.DataFrame,
    metrics: Mapping[str, float],
    *,
    title: str,
    subtitle: str,
    config_text: str,
    curves: pd.DataFrame | None = None,
    notes: Sequence[str] = (),
) -> None:
    """Writes `predictions.parquet`, `metrics.json` and `report.html`, and tells the user the figures.

    `metrics.json` is flat, its keys are sorted, and what is not a number is null. For the rest see
    `rankpose.report.page.write_report`.
    """
    write_whole(folder / "predictions.parquet", predictions.to_parquet(index=False))
    clean = {key: (None if math.isnan(value) else value) for key, value in metrics.items()}
    write_whole(folder / "metrics.json", json.dumps(clean, indent=2, sort_keys=True) + "\n")
    page = write_report(
        folder,
        predictions=predictions,
        metrics=metrics,
        title=title,
        subtitle=subtitle,
        curves=curves,
        config_text=config_text,
        notes=list(notes),
    )
    log.info("%s: %s", title, subtitle)
    for name, value in sorted(metrics.items()):
        log.info("%-16s %s", name, "-" if math.isnan(value) else f"{value:.3f}")
    log.info("report: %s", shown(page))
