"""How do several models do on the same images? Panels with a line a model; one model is the simplest case.

A model looks the same in every panel of a page (`pictures.model_style`): by its number there.
"""

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise

import numpy as np
import torch
from matplotlib.figure import Figure
from matplotlib.ticker import MultipleLocator
from torch import Tensor

from rankpose.evaluation.scored import Evaluation
from rankpose.metrics import CURVE_LIMIT_DEG, GAPS_DEG, aligned, alignment, cumulative_share, geodesic_error
from rankpose.pose import ANGLES
from rankpose.report.pictures import (
    COLOURS,
    FEW,
    Panel,
    angle_bins,
    bin_scale,
    model_colour,
    model_style,
    new_panel,
    scatter_limit,
    scatter_panels,
    stacked_axes,
    to_panel,
)
from rankpose.report.tables import NO_VALUE

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
    bins = [angle_bins(one.predictions) for one in evaluations]
    scale = bin_scale((table for tables in bins for table in tables.values()), share=0.01)
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
    """For each model its name and three panels, prediction against truth, all on one scale."""
    limit = scatter_limit(one.predictions for one in evaluations)
    return [
        (
            one.model,
            scatter_panels(
                one.predictions, limit, [model_colour(numbers[one.model])] * 3, f"{one.model}, {one.protocol}"
            ),
        )
        for one in evaluations
    ]


def _panel(title: str, figure: Figure, evaluations: Sequence[Evaluation]) -> Panel:
    return to_panel(figure, title, evaluations[0].protocol)
