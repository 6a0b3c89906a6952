"""Which figures sum up a table of predictions, and how are they written as a table?

Every function takes and gives plain values: no file is read or written here. A table is a `pandas.DataFrame` of raw
numbers until `to_html` or `to_markdown` turns it into text, so that the same table serves a page, a notebook and a log.

The table of predictions has one row an image: `name` (which image of the data set it is), `image` (where its pixels
are), `identity`, `yaw`, `pitch`, `roll` (the truth), `yaw_pred`, `pitch_pred`, `roll_pred`, `geodesic`, `crop_x`,
`crop_y`, `crop_side`. Angles are degrees, crops are pixels.
"""

import html
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from rankpose.pose import ANGLES

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
NO_VALUE = "\N{EN DASH}"
MINUS = "\N{MINUS SIGN}"
YAW_EDGES_DEG = (0.0, 30.0, 60.0, 99.0)
"""Edges of the |yaw| groups: near-frontal, half-turned, profile. 99 is where the usual protocols stop."""

_METRIC_NAMES = {
    "mae": "Mean absolute error",
    "yaw_mae": "Yaw error",
    "pitch_mae": "Pitch error",
    "roll_mae": "Roll error",
    "geodesic": "Geodesic error",
    "pair_order": "Pairs in the right order",
}


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
    return (np.asarray(predicted, dtype=float) - np.asarray(true, dtype=float) + 180.0) % 360.0 - 180.0


def metrics_table(metrics: Mapping[str, float | None]) -> pd.DataFrame:
    """The flat metrics of a run as rows (metric, value), the known ones first and under their full names.

    A missing or null value is kept as NaN. A share (`pair_order`) is in per cent; everything else is left as it is.
    """
    rows: list[tuple[str, str]] = []
    known = [f"test/{name}" for name in _METRIC_NAMES]
    for key in [*known, *(key for key in metrics if key not in known)]:
        name = _METRIC_NAMES.get(key.removeprefix("test/"), _spelled(key))
        value = as_number(metrics.get(key))
        if key.endswith("pair_order"):
            text = format_number(100 * value, 1) + ("" if math.isnan(value) else " %")
        else:
            unit = "°" if key in known or "mae" in key or "geodesic" in key else ""
            text = format_number(value, 2) + ("" if math.isnan(value) else unit)
        rows.append((name, text))
    return pd.DataFrame(rows, columns=["metric", "value"])


def error_summary(predictions: pd.DataFrame) -> pd.DataFrame:
    """How each error is spread, in degrees: a row for yaw, pitch, roll, their mean and the geodesic error.

    Columns: `mean`, `median`, `90 %` (nine images of ten are better) and `largest` of the absolute error; `bias`, the
    mean of predicted minus true, which a constant turn between two datasets' zero poses shows up in; `answering 0`,
    the mean error of the answer "straight ahead", below which a method must be to be worth anything.
    """
    signed = signed_errors_deg(predictions)
    absolute = signed.abs()
    rows: dict[str, dict[str, float]] = {}
    for angle in ANGLES:
        rows[angle] = _spread(absolute[angle]) | {
            "bias": float(signed[angle].mean()),
            "answering 0": float(predictions[angle].abs().mean()),
        }
    rows["mean"] = _spread(absolute.mean(axis=1, skipna=False)) | {
        "bias": math.nan,
        "answering 0": float(np.mean([rows[angle]["answering 0"] for angle in ANGLES])),
    }
    rows["geodesic"] = _spread(predictions["geodesic"]) | {"bias": math.nan, "answering 0": math.nan}
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("degrees").reset_index()


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


def as_number(value: Any) -> float:
    """A float; NaN for None, text and whatever else is no number."""
    try:
        return float(value)
    except (TypeError, ValueError):
        return math.nan


def format_number(value: Any, digits: int = 2) -> str:
    """A number for reading: a true minus sign, thousands apart, whole numbers without decimals, `NO_VALUE` for NaN."""
    if isinstance(value, (bool, np.bool_)):
        return "yes" if value else "no"
    if isinstance(value, (int, np.integer)):
        return f"{int(value):,}".replace("-", MINUS)
    number = as_number(value)
    if not math.isfinite(number):
        return NO_VALUE
    text = f"{number:,.{digits}f}"
    # -0.00 would read as a sign that is not there
    return text.lstrip("-") if float(text.replace(",", "")) == 0 else text.replace("-", MINUS)


def to_html(frame: pd.DataFrame, caption: str, protocol: str = "", digits: int = 2) -> str:
    """The table as HTML, every text escaped, numbers aligned right; the first column holds the row headings.

    `caption` says what it is; `protocol`, on which data and by which rules it was measured.
    """
    under = f"<small>{html.escape(protocol)}</small>" if protocol else ""
    numeric = [_is_numeric(frame.iloc[:, column]) for column in range(frame.shape[1])]
    head = "".join(
        f'<th scope="col"{_number_class(number)}>{html.escape(str(name))}</th>'
        for name, number in zip(frame.columns, numeric, strict=True)
    )
    body = []
    for row in frame.itertuples(index=False):
        cells = [
            f"<td{_number_class(number)}>{html.escape(_cell(value, digits))}</td>"
            for value, number in zip(row, numeric, strict=True)
        ]
        cells[0] = f'<th scope="row">{html.escape(_cell(row[0], digits))}</th>'
        body.append(f"<tr>{''.join(cells)}</tr>")
    return (
        f'<div class="table"><table><caption>{html.escape(caption)}{under}</caption>'
        f"<thead><tr>{head}</tr></thead><tbody>{''.join(body)}</tbody></table></div>"
    )


def to_markdown(frame: pd.DataFrame, digits: int = 2) -> str:
    """The table as GitHub Markdown, numbers aligned right, `|` in a text escaped."""
    numeric = [_is_numeric(frame.iloc[:, column]) for column in range(frame.shape[1])]
    lines = [
        [str(name) for name in frame.columns],
        ["---:" if number else "---" for number in numeric],
        *([_cell(value, digits) for value in row] for row in frame.itertuples(index=False)),
    ]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines) + "\n"


def _spelled(key: str) -> str:
    """A metric's key as words: `test/aligned_mae` is "Aligned MAE"."""
    words = key.removeprefix("test/").replace("_", " ").replace("/", ", ").split(" ")
    text = " ".join(word.upper() if word in ("mae", "maev") else word for word in words)
    return text[:1].upper() + text[1:]


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


def _is_numeric(column: pd.Series) -> bool:
    return bool(pd.api.types.is_numeric_dtype(column)) or column.name == "value"


def _number_class(number: bool) -> str:
    return ' class="number"' if number else ""


def _cell(value: Any, digits: int) -> str:
    if isinstance(value, str):
        return value
    return format_number(value, digits)
