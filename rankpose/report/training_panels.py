"""What does a training look like? Panels of a run's curves, as Lightning's `CSVLogger` writes them."""

import math
import re

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import LogLocator, NullLocator
from numpy.typing import NDArray

from rankpose.report.panels import COLOURS, Panel, new_panel, to_panel
from rankpose.report.text_table import MINUS

_LOSS_TITLES = {
    "train/loss": "Training loss",
    "train/mse": "Squared error term",
    "train/rank": "Ranking term",
    "train/mae": "Mean absolute error in training",
    "train/gradient_ratio": "Gradient norm, ranking / squared error",
}


def training_panels(curves: pd.DataFrame) -> list[Panel]:
    """The validation error, if there is one, then the losses and the learning rate."""
    validation = validation_panel(curves)
    return ([validation] if validation else []) + loss_panels(curves)


def loss_panels(curves: pd.DataFrame) -> list[Panel]:
    """A panel for every `train/...` column of a run's curves, and one for the learning rate, against the step.

    Where there are many points the measured ones are pale and their running mean is solid. A column of Lightning's
    `_step` and `_epoch` kind is one curve, the finer one. Columns without a value are left out.
    """
    names: dict[str, str] = {}
    for column in curves.columns:
        name = re.sub(r"_(step|epoch)$", "", column)
        if column.startswith("train/") and not (name in names and column.endswith("_epoch")):
            names[name] = column
    ordered = sorted(names, key=lambda name: (list(_LOSS_TITLES).index(name) if name in _LOSS_TITLES else 99, name))
    panels = []
    for name in ordered:
        x, y = _series(curves, names[name], "step")
        if not len(x):
            continue
        title = _LOSS_TITLES.get(name, name.removeprefix("train/").replace("_", " "))
        figure, axes = new_panel()
        if len(x) > 60:
            axes.plot(x, y, color=COLOURS["yaw"], alpha=0.28, linewidth=0.7)
            y = pd.Series(y).ewm(span=max(5, len(y) / 25)).mean().to_numpy()
        axes.plot(x, y, color=COLOURS["yaw"], linewidth=1.6, marker="o" if len(x) < 8 else None, markersize=3)
        _log_if_wide(axes, y)
        axes.set_xlabel(_x_name(curves, "step"))
        panels.append(to_panel(figure, title))
    rates = [column for column in curves.columns if column.startswith("lr-")]
    drawn = [(column, *_series(curves, column, "step")) for column in rates]
    drawn = [series for series in drawn if len(series[1])]
    if drawn:
        figure, axes = new_panel()
        for (column, x, y), colour in zip(drawn[:3], ("yaw", "pitch", "roll"), strict=False):
            axes.plot(x, y, color=COLOURS[colour], linewidth=1.4, label=column.removeprefix("lr-"))
        axes.set_ylim(bottom=0)
        axes.yaxis.set_major_formatter(_plain)
        axes.set_xlabel(_x_name(curves, "step"))
        if len(drawn) > 1:
            axes.legend()
        panels.append(to_panel(figure, "Learning rate"))
    return panels


def validation_panel(curves: pd.DataFrame) -> Panel | None:
    """Mean absolute error on the validation set by epoch: mean, yaw, pitch, roll; the best mean is marked.

    None where the curves have no `val/...mae` column with a value.
    """
    figure, axes = new_panel()
    found = False
    for key, name in (("yaw_mae", "yaw"), ("pitch_mae", "pitch"), ("roll_mae", "roll"), ("mae", "mean")):
        x, y = _series(curves, f"val/{key}", "epoch")
        if not len(x):
            continue
        found = True
        axes.plot(
            x,
            y,
            color=COLOURS[name],
            linewidth=2.2 if name == "mean" else 1.3,
            marker="o" if len(x) < 8 else None,
            markersize=3,
            label=name,
        )
        if name == "mean":
            best = int(np.argmin(y))
            axes.plot(x[best], y[best], "o", color=COLOURS["mean"], markersize=5, label=f"best, {y[best]:.2f}°")
    if not found:
        return None
    axes.set_ylim(bottom=0)
    axes.set_xlabel(_x_name(curves, "epoch"))
    axes.set_ylabel("degrees")
    axes.legend(loc="upper right")
    title = "Validation error"
    return to_panel(figure, title)


def _log_if_wide(axes: Axes, values: NDArray[np.float64]) -> None:
    """A logarithmic scale for a curve that falls by more than a factor of 20; else from zero, where it is positive.

    The scale is that of the running mean: one wild step at the start must not flatten the rest.
    """
    low, high = float(values.min()), float(values.max())
    if low > 0 and high > 20 * low:
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(subs=(1.0,) if high > 200 * low else (1.0, 3.0)))
        axes.yaxis.set_minor_locator(NullLocator())
        axes.yaxis.set_major_formatter(_plain)
    elif low >= 0:
        axes.set_ylim(0, 1.4 * high if high > 0 else 1.0)


def _plain(value: float, _position: float = 0) -> str:
    return f"{value:g}".replace("-", MINUS)


def _x_name(curves: pd.DataFrame, wanted: str) -> str:
    other = "step" if wanted == "epoch" else "epoch"
    return wanted if wanted in curves.columns else other if other in curves.columns else "row of the log"


def _series(curves: pd.DataFrame, column: str, against: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The finite values of a column of Lightning's wide log, in the order of steps; a step logged twice counts once."""
    if column not in curves.columns:
        return np.empty(0), np.empty(0)
    y = pd.to_numeric(curves[column], errors="coerce")
    name = _x_name(curves, against)
    x = pd.to_numeric(curves[name], errors="coerce") if name in curves.columns else pd.Series(range(len(y)), y.index)
    table = pd.DataFrame({"x": x, "y": y}).replace([np.inf, -np.inf], math.nan).dropna()
    table = table.drop_duplicates("x", keep="last").sort_values("x")
    return table["x"].to_numpy(dtype=float), table["y"].to_numpy(dtype=float)
