"""What a finished test leaves behind: predictions, metrics and the report, each written whole or not at all."""

import json
import logging
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from torch import Tensor

from rankpose.data.crop import outline, plain_square
from rankpose.data.record import Records
from rankpose.files import write_whole
from rankpose.metrics import geodesic_error
from rankpose.pose import ANGLES
from rankpose.report.page import write_report
from rankpose.run_directory import shown

log = logging.getLogger(__name__)


def prediction_table(table: Mapping[str, Tensor], records: Records, test_scale: float) -> pd.DataFrame:
    """One row an image: what it is, where its pixels are, true and predicted pose, error, and the square seen.

    Args:
        table: as `PoseScores.table` gives it.
        records: the tested set.
        test_scale: side of the square over the face box's.

    Returns:
        columns `name`, `image`, `identity`, `yaw`, `pitch`, `roll`, `yaw_pred`, `pitch_pred`, `roll_pred` and
        `geodesic` (degrees), `crop_x`, `crop_y`, `crop_side` (pixels of the image).
    """
    rows = table["index"].numpy()
    columns: dict[str, object] = {
        "name": np.asarray(records.names[rows]),
        "image": np.asarray(records.images[rows]),
        "identity": records.identity_names[records.identity[rows]],
    }
    columns |= {name: table["target"][:, k].numpy() for k, name in enumerate(ANGLES)}
    columns |= {f"{name}_pred": table["prediction"][:, k].numpy() for k, name in enumerate(ANGLES)}
    columns["geodesic"] = geodesic_error(table["prediction"], table["target"]).numpy()
    squares = np.array([plain_square(outline(records[int(row)]), test_scale) for row in rows])
    columns |= {name: squares[:, k] for k, name in enumerate(("crop_x", "crop_y", "crop_side"))}
    return pd.DataFrame(columns)


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
