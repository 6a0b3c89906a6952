"""What a finished test leaves behind: predictions, metrics and the report, each written whole or not at all."""

import json
import math
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd
from torch import Tensor

from rankpose.data.crop import outline, plain_square
from rankpose.data.record import Records
from rankpose.files import write_whole
from rankpose.metrics import geodesic_error
from rankpose.pose import ANGLES


def prediction_table(table: Mapping[str, Tensor], records: Records, test_scale: float) -> pd.DataFrame:
    """One row an image: file, identity, true and predicted pose, error, and the square that the network saw.

    Args:
        table: as `PoseScores.table` gives it.
        records: the tested set.
        test_scale: side of the square over the face box's.

    Returns:
        columns `image`, `identity`, `yaw`, `pitch`, `roll`, `yaw_pred`, `pitch_pred`, `roll_pred` and `geodesic`
        (degrees), `crop_x`, `crop_y`, `crop_side` (pixels of the image).
    """
    rows = table["index"].numpy()
    columns: dict[str, object] = {
        "image": records.images[rows],
        "identity": records.identity_names[records.identity[rows]],
    }
    columns |= {name: table["target"][:, k].numpy() for k, name in enumerate(ANGLES)}
    columns |= {f"{name}_pred": table["prediction"][:, k].numpy() for k, name in enumerate(ANGLES)}
    columns["geodesic"] = geodesic_error(table["prediction"], table["target"]).numpy()
    squares = np.array([plain_square(outline(records[int(row)]), test_scale) for row in rows])
    columns |= {name: squares[:, k] for k, name in enumerate(("crop_x", "crop_y", "crop_side"))}
    return pd.DataFrame(columns)


def write_metrics(path: Path, metrics: Mapping[str, float]) -> None:
    """Writes `metrics.json`: flat, keys sorted, what is not a number as null."""
    clean = {key: (None if math.isnan(value) else value) for key, value in metrics.items()}
    write_whole(path, json.dumps(clean, indent=2, sort_keys=True) + "\n")


def write_predictions(path: Path, predictions: pd.DataFrame) -> None:
    """Writes `predictions.parquet`."""
    write_whole(path, predictions.to_parquet(index=False))
