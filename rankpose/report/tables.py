"""Which figures sum up a table of predictions?

Every function takes and gives plain values: no file is read or written here. A table is a `pandas.DataFrame` of raw
numbers until `text_table` turns it into text, so that the same table serves a page, a notebook and a log.

The table of predictions has one row an image: `name` (which image of the data set it is), `image` (where its pixels
are), `identity`, `yaw`, `pitch`, `roll` (the truth), `yaw_pred`, `pitch_pred`, `roll_pred`, `geodesic`, `crop_x`,
`crop_y`, `crop_side`. Angles are degrees, crops are pixels.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import ArrayLike, NDArray

from rankpose.evaluation.scores import poses_of
from rankpose.evaluation.statistics import Interval, slope_intervals
from rankpose.pose import ANGLES
from rankpose.report.text_table import NO_VALUE, format_number, interval_text

PREDICTION_COLUMNS = (
    "name",
    "image",
    "identity",
    *ANGLES,
    *(f"{angle}_pred" for angle in ANGLES),
    "geodesic",
    "crop_x",
    "crop_y",
    "crop_side",
)
YAW_EDGES_DEG = (0.0, 30.0, 60.0, 99.0)
"""Edges of the |yaw| groups: near-frontal, half-turned, profile. 99 is where the usual protocols stop."""


def check_predictions(predictions: pd.DataFrame) -> None:
    """Raise `ValueError`, naming what is wrong, unless `predictions` has every column and at least one row."""
    missing = [column for column in PREDICTION_COLUMNS if column not in predictions.columns]
    if missing:
        raise ValueError(f"the predictions lack the column(s) {', '.join(missing)}")
    if predictions.empty:
        raise ValueError("the predictions have no rows")


def signed_errors_deg(predictions: pd.DataFrame) -> pd.DataFrame:
    """Predicted minus true, (N, 3) degrees in [-180, 180), columns yaw, pitch, roll.

    Wrapped, because 179 and -179 degrees are two degrees apart.
    """
    errors = {
        angle: wrapped_errors_deg(predictions[f"{angle}_pred"].astype(float), predictions[angle].astype(float))
        for angle in ANGLES
    }
    return pd.DataFrame(errors, index=predictions.index)


def wrapped_errors_deg(predicted: ArrayLike, true: ArrayLike) -> NDArray[np.float64]:
    """Predicted minus true, degrees of any shape, in [-180, 180)."""
    difference = np.subtract(predicted, true, dtype=np.float64)
    return np.asarray((difference + 180.0) % 360.0 - 180.0)


def error_summary(predictions: pd.DataFrame) -> pd.DataFrame:
    """How each error is spread, in degrees: a row for yaw, pitch, roll, their mean and the geodesic error.

    Columns: `mean`, `median`, `90 %` (nine images of ten are better) and `largest` of the absolute error; `bias`, the
    mean of predicted minus true, which a constant turn between two datasets' zero poses shows up in; `slope`, how much
    of the truth near-frontal predictions follow (|yaw| below 30 degrees, `rankpose.metrics.slope`), a text with its
    95 % interval; `answering 0`, the mean error of the answer "straight ahead", below which a method must be to be
    worth anything.
    """
    slopes = near_frontal_slopes(predictions)
    signed = signed_errors_deg(predictions)
    absolute = signed.abs()
    rows: dict[str, dict[str, Any]] = {}
    for angle in ANGLES:
        rows[angle] = _spread(absolute[angle]) | {
            "bias": float(signed[angle].mean()),
            "slope": " ".join([format_number(slopes[angle].value), *map("({})".format, _ends(slopes[angle]))]),
            "answering 0": float(predictions[angle].abs().mean()),
        }
    rows["mean"] = _spread(absolute.mean(axis=1, skipna=False)) | {
        "bias": math.nan,
        "slope": NO_VALUE,
        "answering 0": float(np.mean([rows[angle]["answering 0"] for angle in ANGLES])),
    }
    rows["geodesic"] = _spread(predictions["geodesic"]) | {
        "bias": math.nan,
        "slope": NO_VALUE,
        "answering 0": math.nan,
    }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("degrees").reset_index()


def _ends(found: Interval) -> tuple[str, ...]:
    return interval_text(found.low, found.high)


def near_frontal_slopes(predictions: pd.DataFrame) -> dict[str, Interval]:
    """By angle, `rankpose.metrics.slope` of the images with |yaw| below 30 degrees; NaN where there are not two."""
    frontal = predictions[predictions["yaw"].abs() < YAW_EDGES_DEG[1]]
    prediction, target, identity = poses_of(frontal)
    usable = torch.isfinite(prediction).all(dim=1) & torch.isfinite(target).all(dim=1)
    if usable.sum() < 2:
        return dict.fromkeys(ANGLES, Interval(math.nan, math.nan, math.nan))
    found = slope_intervals(prediction[usable], target[usable], identity[usable])
    return dict(zip(ANGLES, found, strict=True))


def error_by_yaw(predictions: pd.DataFrame, edges_deg: Sequence[float] = YAW_EDGES_DEG) -> pd.DataFrame:
    """Mean absolute errors in degrees by how far the head is turned, with the number of images `n` of each group.

    Groups are [a, b) of the true |yaw|, the last one closed. A row for images beyond the last edge is added only where
    there are any; the last row is all images. A group without images has NaN errors.
    """
    absolute = signed_errors_deg(predictions).abs()
    turned = predictions["yaw"].abs().to_numpy(dtype=float)
    groups: list[tuple[str, NDArray[np.bool_]]] = []
    for low, high in pairwise(edges_deg):
        inside = (turned >= low) & ((turned < high) | ((high == edges_deg[-1]) & (turned == high)))
        groups.append((f"{low:g}{NO_VALUE}{high:g}°", inside))
    if (turned > edges_deg[-1]).any():
        groups.append((f"beyond {edges_deg[-1]:g}°", turned > edges_deg[-1]))
    groups.append(("all", np.ones(len(turned), dtype=bool)))
    rows = []
    for name, inside in groups:
        means = absolute[inside].mean()
        rows.append(
            {"true |yaw|": name, "n": int(inside.sum())}
            | {angle: float(means[angle]) for angle in ANGLES}
            | {"mean": float(means.mean(skipna=False)), "geodesic": float(predictions["geodesic"][inside].mean())}
        )
    return pd.DataFrame(rows)


def error_by_bin(predictions: pd.DataFrame, angle: str, width_deg: float = 10.0) -> pd.DataFrame:
    """Mean absolute error of one angle in bins of its true value.

    Columns: `low`, `high` (degrees, bin edges at multiples of `width_deg`), `n`, `mae` (degrees, NaN in an empty bin).
    Bins run without a gap from the smallest to the largest true value.
    """
    true = predictions[angle].to_numpy(dtype=float)
    error = signed_errors_deg(predictions)[angle].abs().to_numpy(dtype=float)
    usable = np.isfinite(true) & np.isfinite(error)
    number = np.floor(true[usable] / width_deg).astype(int)
    if not number.size:
        return pd.DataFrame({"low": [], "high": [], "n": [], "mae": []})
    first = number.min()
    count = np.bincount(number - first)
    total = np.bincount(number - first, weights=error[usable])
    low = (first + np.arange(len(count))) * width_deg
    mae = np.divide(total, count, out=np.full(len(count), math.nan), where=count > 0)
    return pd.DataFrame({"low": low, "high": low + width_deg, "n": count, "mae": mae})


def known_identities(predictions: pd.DataFrame) -> pd.Series:
    """Who is in each image, as text; images whose identity is absent (null, empty or a negative number) are left out.

    The index is that of `predictions`.
    """
    identity = predictions["identity"]
    known = identity.notna()
    if pd.api.types.is_numeric_dtype(identity):
        known &= identity.fillna(-1) >= 0
    names = identity[known].astype(str)
    return names[names.str.strip() != ""]


@dataclass(frozen=True)
class Pair:
    """Two images of one person, by their positions (rows) in the table of predictions."""

    identity: str
    first: int
    second: int
    order: tuple[bool | None, bool | None, bool | None]
    """Whether the order of the two predictions is that of the two labels: yaw, pitch, roll. None: the labels tie."""


@dataclass(frozen=True)
class PairOrder:
    """What all pairs of one person's images say."""

    table: pd.DataFrame
    """A row an angle: `angle`, `pairs` (those whose labels differ), `in the right order` (per cent)."""
    pairs: list[Pair]
    """A few pairs to look at, see `pair_order`."""


def pair_order(predictions: pd.DataFrame, show: int = 6) -> PairOrder | None:
    """How often two images of one person are put in the right order, angle by angle; None where no person repeats.

    All K (K - 1) / 2 pairs of a person's K images count; a pair whose labels are equal on an angle does not count for
    that angle. `pairs` holds at most `show` pairs of different people. Half of them are the gravest mistakes (the
    wrong order in spite of the largest true difference), as far as there are any; the rest are the pairs that
    differ most in yaw and are right on every angle, so that the strip shows both sides and says so.
    """
    identity = known_identities(predictions)
    groups = [group for group in identity.groupby(identity).groups.items() if len(group[1]) > 1]
    if not groups:
        return None
    rows_of = {label: row for row, label in enumerate(predictions.index)}
    true = predictions[list(ANGLES)].to_numpy(dtype=float)
    predicted = predictions[[f"{angle}_pred" for angle in ANGLES]].to_numpy(dtype=float)
    right, counted = np.zeros(3, dtype=int), np.zeros(3, dtype=int)
    mistakes: list[tuple[float, Pair]] = []
    successes: list[tuple[float, Pair]] = []
    for name, labels in groups:
        rows = np.array([rows_of[label] for label in labels])
        one, two = np.triu_indices(len(rows), k=1)
        gap = true[rows[one]] - true[rows[two]]
        agrees = gap * (predicted[rows[one]] - predicted[rows[two]]) > 0
        differs = np.isfinite(gap) & (gap != 0)
        right += (agrees & differs).sum(axis=0)
        counted += differs.sum(axis=0)
        wrong_gap = np.where(differs & ~agrees, np.abs(gap), 0.0).max(axis=1)
        worst = int(wrong_gap.argmax())
        if wrong_gap[worst] > 0:
            mistakes.append((float(wrong_gap[worst]), _pair(str(name), rows, one, two, worst, agrees, differs)))
        yaw_gap = np.where(wrong_gap == 0, np.abs(np.nan_to_num(gap[:, 0])), -1.0)
        widest = int(yaw_gap.argmax())
        if yaw_gap[widest] >= 0:
            successes.append((float(yaw_gap[widest]), _pair(str(name), rows, one, two, widest, agrees, differs)))
    mistakes.sort(key=lambda scored: -scored[0])
    successes.sort(key=lambda scored: -scored[0])
    chosen = [pair for _, pair in mistakes[: show // 2]]
    seen = {pair.identity for pair in chosen}
    chosen += [pair for _, pair in successes if pair.identity not in seen][: show - len(chosen)]
    share = np.divide(100.0 * right, counted, out=np.full(3, math.nan), where=counted > 0)
    table = pd.DataFrame({"angle": list(ANGLES), "pairs": counted, "in the right order, %": share})
    return PairOrder(table=table, pairs=chosen)


def _spread(errors: pd.Series) -> dict[str, float]:
    return {
        "mean": float(errors.mean()),
        "median": float(errors.median()),
        "90 %": float(errors.quantile(0.9)),
        "largest": float(errors.max()),
    }


def _pair(
    identity: str,
    rows: NDArray[np.intp],
    one: NDArray[np.intp],
    two: NDArray[np.intp],
    which: int,
    agrees: NDArray[np.bool_],
    differs: NDArray[np.bool_],
) -> Pair:
    yaw, pitch, roll = (bool(a) if d else None for a, d in zip(agrees[which], differs[which], strict=True))
    return Pair(identity, int(rows[one[which]]), int(rows[two[which]]), (yaw, pitch, roll))
