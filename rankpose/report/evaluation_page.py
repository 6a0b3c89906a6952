"""How do several models under several protocols become one page? A section a protocol, the same for one as for ten.

Like a run's page it is a single file with everything inside. The figures come from `main_table`, the panels from
`comparison` and `robustness`; here they are put in order and said in words.
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from markupsafe import Markup

from rankpose.evaluation.scored import Evaluation, Failure, ModelDifference
from rankpose.pose import ANGLES
from rankpose.report import comparison, tables
from rankpose.report.main_table import (
    COMPARED,
    MainTable,
    Published,
    images_in_words,
    main_table,
    p_value,
    signed,
)
from rankpose.report.page import Card
from rankpose.report.pictures import MODEL_COLOURS, Panel, model_colour
from rankpose.report.robustness import robustness_curves, strength_table
from rankpose.report.templates import render
from rankpose.report.tiles import Tile, head_tile

WORST = 12
"""How many of the worst images are shown of one or two models; of more models fewer, so that the page stays small."""
MOST_TILES = 24
TILE = 320
SMALL_TILE = 256
"""Pixels of a picture, where it stands alone and where models stand side by side."""
SIDE_BY_SIDE = 3
"""Up to how many models each has its own tables of comparison and its own panels in sight."""
MOST_FILES = 500
"""How many left-out files are listed for a reason."""


@dataclass(frozen=True)
class WorstImage:
    """An image with what each model made of it."""

    name: str
    tiles: list[tuple[str, Tile]]
    """The name of the model's colour, and the picture, whose name is the model's."""


@dataclass(frozen=True)
class Verdict:
    """What the comparison of two models says by one score."""

    score: str
    difference: str
    interval: str
    p: str
    better: str | None


@dataclass(frozen=True)
class LeftOut:
    """Images that a set left out for one reason."""

    reason: str
    count: int
    files: list[str]
    """At most `MOST_FILES`."""


@dataclass(frozen=True)
class Robustness:
    """How a protocol's models bear corruption."""

    protocol: str
    title: str
    panels: list[Panel]
    table: Markup


@dataclass(frozen=True)
class Section:
    """What the page says about one protocol."""

    anchor: str
    name: str
    title: str
    images: str
    models: list[str]
    remarks: list[str]
    table: MainTable
    comparisons: list[tuple[str, str, list[Verdict]]]
    """Two models, and the verdicts."""
    matrix: list[tuple[str, list[tuple[str, str]]]]
    """For many models: the mean absolute error of each less that of each other, and `better`, `worse` or nothing."""
    cumulative: list[Panel]
    pair_order: Panel | None
    by_angle: list[Panel]
    scatter: list[tuple[str, list[Panel]]]
    alignment: Markup
    worst: list[WorstImage]
    left_out: list[LeftOut]


def evaluation_page(
    folder: Path,
    evaluations: Sequence[Evaluation],
    compared: Sequence[ModelDifference],
    papers: Mapping[str, Sequence[Published]],
    *,
    title: str,
    notes: Sequence[str] = (),
    config_text: str | None = None,
    failures: Sequence[Failure] = (),
) -> str:
    """The page as text.

    Args:
        folder: where an image whose path is relative is looked for, after the working directory.
        evaluations: of any models, protocols and corruptions, none twice.
        compared: as `rankpose.evaluation.scored.differences` gives them.
        papers: as `main_table.published_figures` gives them.
        title: what was tested.
        notes: one paragraph each, plain text.
        config_text: the configuration, shown as it is.
        failures: what else was asked for.
    """
    about = {one.model: one.about for one in reversed(evaluations)}
    models = list(dict.fromkeys(one.model for one in evaluations))
    numbers = {model: number for number, model in enumerate(models)}
    clean = [one for one in evaluations if one.strength == 0]
    sections: list[Section] = []
    for protocol in dict.fromkeys(one.protocol for one in clean):
        group = [one for one in clean if one.protocol == protocol]
        pairs = [pair for pair in compared if pair.protocol == protocol]
        sections.append(_section(folder, group, pairs, papers, numbers, f"protocol-{len(sections) + 1}"))
    return render(
        "evaluation.html.jinja",
        title=title,
        models=[(model, about[model]) for model in models],
        colours={model: _swatch(number) for model, number in numbers.items()},
        side_by_side=SIDE_BY_SIDE,
        cards=_cards(clean[0]) if len(clean) == 1 else [],
        glance=_glance(clean, models) if len(sections) > 1 else None,
        sections=sections,
        robustness=_robustness(evaluations, numbers),
        strengths=Markup(tables.to_html(strength_table(), "What each strength is")),
        notes=list(notes),
        config_text=config_text,
        failures=list(failures),
    )


def _section(
    folder: Path,
    group: Sequence[Evaluation],
    pairs: Sequence[ModelDifference],
    papers: Mapping[str, Sequence[Published]],
    numbers: Mapping[str, int],
    anchor: str,
) -> Section:
    first = group[0]
    return Section(
        anchor=anchor,
        name=first.protocol,
        title=first.title,
        images=images_in_words(first),
        models=[one.model for one in group],
        remarks=list(dict.fromkeys(remark for one in group for remark in one.remarks)),
        table=main_table(group, papers),
        comparisons=[(pair.first, pair.second, _verdicts(pair)) for pair in pairs],
        matrix=_matrix([one.model for one in group], pairs) if pairs and len(group) > SIDE_BY_SIDE else [],
        cumulative=comparison.cumulative_curves(group, numbers),
        pair_order=comparison.pair_order_by_gap(group, numbers),
        by_angle=comparison.error_by_angle(group, numbers),
        scatter=comparison.scatter(group, numbers),
        alignment=Markup(tables.to_html(alignment_table(group), "The rotation between predictions and labels")),
        worst=_worst(folder, group, numbers),
        left_out=_left_out(group),
    )


def alignment_table(group: Sequence[Evaluation]) -> pd.DataFrame:
    """The constant rotation found for each model, degrees, and what is left of the error without it."""
    rows = [
        {"model": one.model, "rotation": one.scores["alignment"]}
        | {angle: one.scores[f"alignment_{angle}"] for angle in ANGLES}
        | {"MAE as it is": one.scores["mae"], "MAE aligned": one.scores["aligned_mae"]}
        | {"geodesic as it is": one.scores["geodesic"], "geodesic aligned": one.scores["aligned_geodesic"]}
        for one in group
    ]
    return pd.DataFrame(rows)


def robustness_scores(evaluations: Sequence[Evaluation]) -> pd.DataFrame:
    """The table that `robustness_curves` takes."""
    rows = [
        {
            "model": one.model,
            "corruption": one.corruption or "clean",
            "strength": one.strength,
            "mae": one.scores["mae"],
            "mae_low": one.intervals["mae"].low,
            "mae_high": one.intervals["mae"].high,
        }
        for one in evaluations
    ]
    return pd.DataFrame(rows)


def worst_rows(group: Sequence[Evaluation], count: int) -> list[list[dict[Any, Any]]]:
    """The images with the largest geodesic error of any model, worst first: for each image a row of every model."""
    by_name = [one.predictions.set_index("name", drop=False) for one in group]
    every = pd.concat([table["geodesic"] for table in by_name], axis=1)
    names = every.max(axis=1).sort_values(ascending=False, kind="stable").index[:count]
    return [[table.loc[name].to_dict() for table in by_name if name in table.index] for name in names]


def _swatch(number: int) -> str:
    """The style's classes for a model's colour; those of a second round have half a swatch."""
    return model_colour(number) + (" again" if number >= MODEL_COLOURS else "")


def _cards(one: Evaluation) -> list[Card]:
    cards = []
    for name, label, kind in (
        ("mae", "Mean absolute error", "mean"),
        *((f"{angle}_mae", angle.capitalize(), angle) for angle in ANGLES),
        ("geodesic", "Geodesic", ""),
        ("aligned_mae", "MAE, aligned", ""),
    ):
        found = one.intervals[name]
        interval = f"{tables.format_number(found.low)}{tables.NO_VALUE}{tables.format_number(found.high)}°"
        below = f"95 %: {interval}" if np.isfinite(found.low) else ""
        cards.append(Card(label, tables.format_number(found.value), "°", below, kind))
    return cards


def _glance(
    clean: Sequence[Evaluation], models: Sequence[str]
) -> tuple[list[str], list[tuple[str, list[tuple[str, str]]]]]:
    """Protocols, and for each model its mean absolute error under each, as it is and aligned."""
    found = {(one.model, one.protocol): one.scores for one in clean}
    protocols = list(dict.fromkeys(one.protocol for one in clean))
    rows = []
    for model in models:
        cells = []
        for protocol in protocols:
            scores = found.get((model, protocol), {})
            as_is, turned = (tables.format_number(scores.get(name)) for name in ("mae", "aligned_mae"))
            cells.append((as_is, turned))
        rows.append((model, cells))
    return protocols, rows


def _verdicts(pair: ModelDifference) -> list[Verdict]:
    verdicts = []
    for name, label in COMPARED:
        found = pair.scores[name]
        interval = f"{signed(found.low)} to {signed(found.high)}" if np.isfinite(found.low) else tables.NO_VALUE
        verdicts.append(Verdict(label, signed(found.value), interval, p_value(found.p), pair.better(name)))
    return verdicts


def _matrix(models: Sequence[str], pairs: Sequence[ModelDifference]) -> list[tuple[str, list[tuple[str, str]]]]:
    cells = {}
    for pair in pairs:
        found, better = pair.scores["mae"], pair.better("mae")
        for one, other, value in ((pair.first, pair.second, found.value), (pair.second, pair.first, -found.value)):
            cells[one, other] = signed(value), "" if better is None else "better" if better == one else "worse"
    return [(one, [cells.get((one, other), ("", "")) for other in models]) for one in models]


def _worst(folder: Path, group: Sequence[Evaluation], numbers: Mapping[str, int]) -> list[WorstImage]:
    count = min(WORST, max(4, MOST_TILES // len(group)))
    images = []
    for rows in worst_rows(group, count):
        tiles = []
        for one, row in zip(group, rows, strict=True):
            tile = head_tile(row, folder, TILE if len(group) == 1 else SMALL_TILE)
            tiles.append((_swatch(numbers[one.model]), tile if len(group) == 1 else replace(tile, name=one.model)))
        images.append(WorstImage(str(rows[0]["name"]), tiles))
    return images


def _left_out(group: Sequence[Evaluation]) -> list[LeftOut]:
    """Models of one protocol read the same set: what any of them left out, once."""
    rejects = list(dict.fromkeys(reject for one in group for reject in one.rejects))
    if not rejects:
        return []
    folder = os.path.commonpath([Path(reject.file).parent for reject in rejects])
    by_reason: dict[str, list[str]] = {}
    for reject in rejects:
        by_reason.setdefault(reject.reason, []).append(os.path.relpath(reject.file, folder or "."))
    return [
        LeftOut(reason, len(files), sorted(files)[:MOST_FILES])
        for reason, files in sorted(by_reason.items(), key=lambda entry: -len(entry[1]))
    ]


def _robustness(evaluations: Sequence[Evaluation], numbers: Mapping[str, int]) -> list[Robustness]:
    found = []
    for protocol in dict.fromkeys(one.protocol for one in evaluations if one.strength):
        group = [one for one in evaluations if one.protocol == protocol]
        curves = robustness_curves(robustness_scores(group), numbers=numbers, about=protocol)
        table = tables.to_html(curves.table, "Mean absolute error, degrees, by strength", protocol)
        found.append(Robustness(protocol, group[0].title, curves.panels, Markup(table)))
    return found
