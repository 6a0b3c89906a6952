"""How do several models do on the same images? Panels with a line a model; one model is the simplest case.

A model looks the same in every panel of a page (`panels.model_style`): by its number there.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pandas as pd
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MultipleLocator
from torch import Tensor

from rankpose.evaluation.scores import Evaluation
from rankpose.metrics import CURVE_LIMIT_DEG, GAPS_DEG, aligned, alignment, cumulative_share, geodesic_error
from rankpose.pose import ANGLES
from rankpose.report.panels import (
    COLOURS,
    SQUARE,
    Panel,
    model_colour,
    model_style,
    new_panel,
    stacked_axes,
    to_panel,
    up_to_a_tick,
)
from rankpose.report.tables import error_by_bin
from rankpose.report.text_table import NO_VALUE

FURTHEST_DEG = 100.0
"""Beyond, Euler angles are ambiguous, and a few such images would shrink all the others."""
FEW = 5
"""A mean of fewer images than this is drawn pale."""

GAP_NAMES = [*(f"{low}_{high}" for low, high in pairwise(GAPS_DEG)), f"{GAPS_DEG[-1]}_up"]
"""How scores name the bins of label differences: `pair_order_0_5` and so on."""


def cumulative_curves(evaluations: Sequence[Evaluation], numbers: Mapping[str, int]) -> list[Panel]:
    """The share of images within each geodesic error to 30 degrees, as it is and aligned; areas are in the legend.

    Args:
        evaluations: of one protocol, a model each.
        numbers: of models on the page.
    """
    as_is, turned = {}, {}
    for one in evaluations:
        prediction, target, _ = one.poses()
        as_is[one.model] = geodesic_error(prediction, target)
        turned[one.model] = geodesic_error(aligned(prediction, alignment(prediction, target)), target)
    return [
        _cumulative("Images within a geodesic error", "", as_is, evaluations, numbers),
        _cumulative("The same, aligned", "aligned_", turned, evaluations, numbers),
    ]


def _cumulative(
    title: str, frame: str, errors: Mapping[str, Tensor], evaluations: Sequence[Evaluation], numbers: Mapping[str, int]
) -> Panel:
    figure, axes = new_panel(300)
    limits = torch.linspace(0, CURVE_LIMIT_DEG, 10 * CURVE_LIMIT_DEG + 1, dtype=torch.float64)
    for one in evaluations:
        share = cumulative_share(errors[one.model], limits)
        style = model_style(numbers[one.model]) | {"marker": None}
        area = one.scores[f"{frame}auc_{CURVE_LIMIT_DEG}"]
        axes.plot(limits.numpy(), 100 * share.numpy(), label=f"{one.model}, area {area:.3f}", **style)
    axes.set_xlim(0, CURVE_LIMIT_DEG)
    axes.set_ylim(0, 103)
    axes.set_yticks([0, 25, 50, 75, 100])
    axes.set_xlabel("geodesic error, degrees")
    axes.set_ylabel("% of images")
    axes.legend(loc="lower right")
    return _panel(title, figure, evaluations)


def error_by_angle(evaluations: Sequence[Evaluation], numbers: Mapping[str, int]) -> list[Panel]:
    """For yaw, pitch and roll: each model's mean absolute error in 10-degree bins of the true angle, over their images.

    Bins of fewer than five images are left out of the lines and shown as pale marks, lines may leave the frame where
    there is less than 1 % of the images, and bins beyond 100 degrees are left out.
    """
    bins = [_angle_bins(one.predictions) for one in evaluations]
    scale = _bin_scale((table for tables in bins for table in tables.values()), share=0.01)
    panels = []
    for angle in ANGLES:
        figure, errors, counts = stacked_axes()
        for one, tables in zip(evaluations, bins, strict=True):
            table = tables[angle]
            centre, style = (table["low"] + table["high"]) / 2, model_style(numbers[one.model])
            errors.plot(centre, table["mae"].where(table["n"] >= FEW), label=one.model, **style)
            errors.plot(centre, table["mae"].where(table["n"] < FEW), alpha=0.4, **style | {"linestyle": "none"})
        table = bins[0][angle]
        wide = 0.86 * (table["high"] - table["low"])
        counts.bar((table["low"] + table["high"]) / 2, table["n"], wide, color=COLOURS["muted"], alpha=0.55)
        counts.set_xlabel(f"true {angle}, degrees")
        scale.apply(errors, counts, float(table["n"].max()) if len(table) else 1.0)
        panels.append(_panel(f"Error by true {angle}", figure, evaluations))
    return panels


def calibration(evaluations: Sequence[Evaluation], numbers: Mapping[str, int]) -> Panel | None:
    """Errors that models expected against those that they made, in ten groups of equally many images, surest first.

    Both are the angle whose cosine is the mean cosine of the geodesic errors, which is what a distribution over
    rotations predicts (`rankpose.pose.rivals.expected_error`). None where no model says what it expects.
    """
    sure = [one for one in evaluations if "expected" in one.predictions]
    if not sure:
        return None
    figure, axes = new_panel(SQUARE)
    largest = 0.0
    for one in sure:
        table = one.predictions[["expected", "geodesic"]].dropna().sort_values("expected")
        groups = [group for group in np.array_split(np.radians(table.to_numpy(float)), GROUPS) if len(group)]
        points = np.degrees([np.arccos(np.cos(group).mean(axis=0)) for group in groups])
        axes.plot(points[:, 0], points[:, 1], label=one.model, **model_style(numbers[one.model]))
        largest = max(largest, float(points.max()))
    axes.plot([0, 1.05 * largest], [0, 1.05 * largest], color=COLOURS["muted"], linewidth=0.8, zorder=0)
    axes.set_xlim(0, 1.05 * largest)
    axes.set_ylim(0, 1.05 * largest)
    axes.set_xlabel("expected error, degrees")
    axes.set_ylabel("geodesic error, degrees")
    axes.legend(loc="upper left")
    return _panel("Expected and actual error", figure, sure)


GROUPS = 10
"""Of images, by how sure a model is."""


def pair_order_by_gap(evaluations: Sequence[Evaluation], numbers: Mapping[str, int]) -> Panel | None:
    """The share of same-person pairs in the right order by how far apart their labels are, with 95 % intervals.

    None where no person is on two images.
    """
    if all(math.isnan(one.scores["pair_order"]) for one in evaluations):
        return None
    figure, axes = new_panel(300)
    places = np.arange(len(GAP_NAMES))
    axes.axhline(50, color=COLOURS["muted"], linewidth=0.9, dashes=(4, 3))
    axes.annotate("by chance", (len(GAP_NAMES) - 0.6, 50), (0, -12), textcoords="offset points", ha="right")
    lowest = 50.0
    for place, one in enumerate(evaluations):
        found = [one.intervals[f"pair_order_{name}"] for name in GAP_NAMES]
        value, low, high = (100 * np.array([getattr(i, key) for i in found]) for key in ("value", "low", "high"))
        shift = 0.08 * (place - (len(evaluations) - 1) / 2)
        style = model_style(numbers[one.model])
        axes.vlines(places + shift, low, high, color=style["color"], linewidth=1.2)
        axes.plot(places + shift, value, label=one.model, **style)
        lowest = min(lowest, float(np.nanmin([*low, *value, 50.0])))
    ends = [*(f"{low}{NO_VALUE}{high}" for low, high in pairwise(GAPS_DEG))]
    axes.set_xticks(places, [*ends, f"{GAPS_DEG[-1]}+"])
    axes.set_xlim(-0.4, len(GAP_NAMES) - 0.6)
    axes.set_ylim(10 * math.floor((lowest - 4) / 10), 102)
    axes.yaxis.set_major_locator(MultipleLocator(10))
    axes.set_xlabel("difference of the two labels, degrees")
    axes.set_ylabel("% of pairs in the right order")
    return _panel("Pair order by difference", figure, evaluations)


def scatter(evaluations: Sequence[Evaluation], numbers: Mapping[str, int]) -> list[tuple[str, list[Panel]]]:
    """For each model its name and for yaw, pitch and roll a panel, predicted against true degrees, a dot an image.

    On the diagonal the two agree. All panels are on one scale; angles beyond about 100 degrees are outside.
    """
    limit = _scatter_limit(one.predictions for one in evaluations)
    return [
        (one.model, [_scatter_panel(one, angle, limit, model_colour(numbers[one.model])) for angle in ANGLES])
        for one in evaluations
    ]


def _scatter_panel(one: Evaluation, angle: str, limit: float, colour: str) -> Panel:
    x, y = (one.predictions[name].to_numpy(dtype=float) for name in (angle, f"{angle}_pred"))
    figure, axes = new_panel(SQUARE)
    axes.plot([-limit, limit], [-limit, limit], color=COLOURS["muted"], linewidth=0.9, dashes=(4, 3))
    # a dot an image would be megabytes of SVG: pixels, whatever the number of images
    alpha = float(np.clip(12 / math.sqrt(max(len(x), 1)), 0.12, 0.8))
    axes.plot(x, y, "o", color=COLOURS[colour], markersize=4, markeredgewidth=0, alpha=alpha, rasterized=True)
    axes.set_xlim(-limit, limit)
    axes.set_ylim(-limit, limit)
    axes.xaxis.set_major_locator(_degree_ticks(limit))
    axes.yaxis.set_major_locator(_degree_ticks(limit))
    axes.grid(True, axis="both")
    axes.set_xlabel(f"true {angle}, degrees")
    axes.set_ylabel("predicted, degrees")
    return to_panel(figure, f"{angle.capitalize()}, predicted against true", f"{one.model}, {one.protocol}")


def _panel(title: str, figure: Figure, evaluations: Sequence[Evaluation]) -> Panel:
    return to_panel(figure, title, evaluations[0].protocol)


def _angle_bins(predictions: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """For yaw, pitch and roll the bins that hold images, to 100 degrees, as `tables.error_by_bin` gives them."""
    bins = {angle: error_by_bin(predictions, angle) for angle in ANGLES}
    return {
        angle: table[(table["n"] > 0) & (table["low"] >= -FURTHEST_DEG) & (table["high"] <= FURTHEST_DEG)]
        for angle, table in bins.items()
    }


@dataclass(frozen=True)
class _BinScale:
    """The scale that panels of errors against angles share, so that they compare; degrees."""

    top: float
    low: float
    high: float

    def apply(self, errors: Axes, counts: Axes, images: float) -> None:
        """To the axes of `stacked_axes`; `images` is the fullest bin's number."""
        up_to_a_tick(errors, 4, self.top or 1.0)
        up_to_a_tick(counts, 2, images, whole=True)
        counts.xaxis.set_major_locator(_degree_ticks((self.high - self.low) / 2))
        counts.set_xlim(self.low - 3, self.high + 3)


def _bin_scale(bins: Iterable[pd.DataFrame], share: float = 0.0) -> _BinScale:
    """One scale for several tables of bins; errors of bins with few images, or under a share of them, may run off."""
    bins = list(bins)
    tops = [float(table.loc[table["n"] >= max(FEW, share * table["n"].sum()), "mae"].max()) for table in bins]
    every = [float(table["mae"].max()) for table in bins]
    return _BinScale(
        top=max([v for v in tops if math.isfinite(v)] or [v for v in every if math.isfinite(v)] or [1.0]),
        low=min([float(table["low"].min()) for table in bins if len(table)] or [-10.0]),
        high=max([float(table["high"].max()) for table in bins if len(table)] or [10.0]),
    )


def _scatter_limit(predictions: Iterable[pd.DataFrame]) -> float:
    """Up to how many degrees scatter panels must reach for these tables; about 100 at most."""
    columns = [*ANGLES, *(f"{angle}_pred" for angle in ANGLES)]
    every = np.concatenate([table[columns].to_numpy(dtype=float).ravel() for table in predictions])
    furthest = min(float(np.abs(every[np.isfinite(every)]).max(initial=0)), FURTHEST_DEG)
    return max(20.0, 10 * math.ceil(furthest / 10 + 0.2))


def _degree_ticks(limit: float) -> MultipleLocator:
    """Ticks at round angles for an axis of about -limit to limit degrees."""
    return MultipleLocator(30 if limit > 60 else 20 if limit > 30 else 10)
