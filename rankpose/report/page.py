"""How does an evaluation become one page that can be read, mailed, printed and shown?

A section a protocol, the same for one model as for ten, and for the test that ends a training, which has a section
about the training as well. Style, figures and photographs are inside the page, so it opens without a network and years
later. The figures come from `main_table` and `tables`, the panels from `model_panels`, `robustness` and
`training_panels`; here they are put in order and said in words. To draw a page again from what lies in a folder::

    python -m rankpose.report.page FOLDER
"""

import argparse
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from rankpose.errors import one_line_errors
from rankpose.evaluation.differences import ModelDifference
from rankpose.evaluation.scores import Evaluation
from rankpose.evaluation.stored import Failure, read_evaluations
from rankpose.files import write_whole
from rankpose.pose import ANGLES
from rankpose.report import model_panels, tables, training_panels
from rankpose.report.heads import Tile, degrees, head_tile
from rankpose.report.main_table import (
    SCORES,
    Published,
    differences_table,
    images_in_words,
    main_table,
    published_figures,
    signed,
)
from rankpose.report.panels import MODEL_COLOURS, Panel, model_colour
from rankpose.report.robustness import robustness_curves, strength_table
from rankpose.report.templates import render
from rankpose.report.text_table import (
    Block,
    Cell,
    Column,
    Row,
    TextTable,
    format_number,
    interval_text,
    table_of,
)
from rankpose.run.curves import read_curves

WORST = 12
"""How many of the worst images are shown of one or two models; of more models fewer, so that the page stays small."""
OTHERS = 6
"""How many images around the median, and how many of the best, are shown of a single model."""
MOST_TILES = 24
TILE = 320
SMALL_TILE = 256
"""Pixels of a picture, shown at about half of that: where it stands alone and where models stand side by side."""
PAIR_TILE = 288
SIDE_BY_SIDE = 3
"""Up to how many models each has its own tables of comparison and its own panels in sight."""
MOST_FILES = 500
"""How many left-out files are listed for a reason."""


@dataclass(frozen=True)
class Card:
    """A headline figure."""

    label: str
    value: str
    unit: str
    below: str
    kind: str
    """The name of its colour: mean, yaw, pitch, roll or empty."""


@dataclass(frozen=True)
class ShownImage:
    """An image with what each model made of it."""

    name: str
    tiles: list[tuple[str, Tile]]
    """The name of the model's colour, and the picture, whose name is the model's."""


@dataclass(frozen=True)
class PairTile:
    """Two images of one person."""

    identity: str
    tiles: tuple[Tile, Tile]
    rows: list[tuple[str, str, str, str]]
    """angle, true difference, predicted difference (first minus second, degrees), verdict: right, wrong or tie."""


@dataclass(frozen=True)
class Pairs:
    """Images of one person, two by two."""

    tiles: list[PairTile]
    table: TextTable


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
    table: TextTable


@dataclass(frozen=True)
class Section:
    """What the page says about one protocol."""

    anchor: str
    name: str
    title: str
    images: str
    models: list[str]
    remarks: list[str]
    table: TextTable
    spread: list[tuple[str, list[TextTable]]]
    """Of each model how its errors spread, and how they grow as heads turn."""
    comparisons: list[TextTable]
    """Of each two models by each score."""
    matrix: TextTable | None
    """For many models instead: the mean absolute error of each less that of each other."""
    cumulative: list[Panel]
    pair_order: Panel | None
    calibration: Panel | None
    by_angle: list[Panel]
    scatter: list[tuple[str, list[Panel]]]
    alignment: TextTable
    galleries: list[tuple[str, list[ShownImage]]]
    """Under a heading each: the worst heads, and of a single model those around the median and the best as well."""
    pairs: Pairs | None
    """Of a single model, where a person is on two images."""
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
    curves: pd.DataFrame | None = None,
) -> str:
    """The page as text.

    Args:
        folder: where an image whose path is relative is looked for, after the working directory.
        evaluations: of any models, protocols and corruptions, none twice.
        compared: as `rankpose.evaluation.differences.differences` gives them.
        papers: as `main_table.published_figures` gives them.
        title: what was tested.
        notes: one paragraph each, plain text.
        config_text: the configuration, shown as it is.
        failures: what else was asked for.
        curves: of the training that the test ends, as Lightning's `CSVLogger` writes them.
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
        "page.html.jinja",
        title=title,
        models=[(model, about[model]) for model in models],
        colours={model: _swatch(number) for model, number in numbers.items()},
        side_by_side=SIDE_BY_SIDE,
        cards=_cards(clean[0]) if len(clean) == 1 else [],
        glance=_glance(clean, models) if len(sections) > 1 else None,
        sections=sections,
        robustness=_robustness(evaluations, numbers),
        strengths=table_of(strength_table(), "What each strength is"),
        notes=list(notes),
        config_text=config_text,
        failures=list(failures),
        training=[] if curves is None else training_panels.training_panels(curves),
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
        spread=[(one.model, _spread(one)) for one in group],
        comparisons=[_comparison(pair) for pair in pairs],
        matrix=_matrix([one.model for one in group], pairs) if pairs and len(group) > SIDE_BY_SIDE else None,
        cumulative=model_panels.cumulative_curves(group, numbers),
        pair_order=model_panels.pair_order_by_gap(group, numbers),
        calibration=model_panels.calibration(group, numbers),
        by_angle=model_panels.error_by_angle(group, numbers),
        scatter=model_panels.scatter(group, numbers),
        alignment=table_of(alignment_table(group), "The rotation between predictions and labels", "degrees"),
        galleries=_galleries(folder, group, numbers),
        pairs=_pairs(folder, first) if len(group) == 1 else None,
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
    return _rows_of(group, _ranked(group)[:count])


def _ranked(group: Sequence[Evaluation]) -> list[str]:
    """Names of images, that with the largest geodesic error of any model first."""
    every = pd.concat([one.predictions.set_index("name")["geodesic"] for one in group], axis=1)
    return list(every.max(axis=1).sort_values(ascending=False, kind="stable").index)


def _rows_of(group: Sequence[Evaluation], names: Sequence[str]) -> list[list[dict[Any, Any]]]:
    by_name = [one.predictions.set_index("name", drop=False) for one in group]
    return [[table.loc[name].to_dict() for table in by_name if name in table.index] for name in names]


def _swatch(number: int) -> str:
    """The style's classes for a model's colour; those of a second round have half a swatch."""
    return model_colour(number) + (" again" if number >= MODEL_COLOURS else "")


def _cards(one: Evaluation) -> list[Card]:
    ordered = np.isfinite(one.scores["pair_order"])
    sixth = ("pair_order", "Pair order", "") if ordered else ("aligned_mae", "MAE, aligned", "")
    cards = []
    for name, label, kind in (
        ("mae", "Mean absolute error", "mean"),
        *((f"{angle}_mae", angle.capitalize(), angle) for angle in ANGLES),
        ("geodesic", "Geodesic", ""),
        sixth,
    ):
        score = next(score for score in SCORES if score.name == name.removeprefix("aligned_"))
        found, unit = one.intervals[name], " %" if score.percent else "°"
        below = "".join(f"95 %: {text}{unit}" for text in interval_text(found.low, found.high, score.text))
        cards.append(Card(label, score.text(found.value), unit, below, kind))
    return cards


def _spread(one: Evaluation) -> list[TextTable]:
    about = f"{one.model}, {one.protocol}"
    return [
        table_of(tables.error_summary(one.predictions), "All images", about, right=("slope",)),
        table_of(tables.error_by_yaw(one.predictions), "By how far the head is turned", about),
    ]


def _glance(clean: Sequence[Evaluation], models: Sequence[str]) -> TextTable:
    """For each model its mean absolute error under each protocol, as it is and aligned."""
    found = {(one.model, one.protocol): one.scores for one in clean}
    protocols = list(dict.fromkeys(one.protocol for one in clean))
    rows = []
    for model in models:
        cells = [Cell(model)]
        for protocol in protocols:
            scores = found.get((model, protocol), {})
            as_is, turned = (format_number(scores.get(name)) for name in ("mae", "aligned_mae"))
            cells.append(Cell(as_is, about=(turned,)))
        rows.append(Row(cells))
    return TextTable([Column("", number=False), *map(Column, protocols)], [Block(rows)])


def _comparison(pair: ModelDifference) -> TextTable:
    figures = ["difference", "95 % interval", "p"]
    frame = differences_table([pair])[["score", "better", *figures]]
    on = "" if pair.images is None else f", on {pair.images:,} images"
    return table_of(frame, f"{pair.first} less {pair.second}", f"degrees{on}", right=figures)


def _matrix(models: Sequence[str], pairs: Sequence[ModelDifference]) -> TextTable:
    cells = {}
    for pair in pairs:
        found, better = pair.scores["mae"], pair.better("mae")
        for one, other, value in ((pair.first, pair.second, found.value), (pair.second, pair.first, -found.value)):
            verdict = "tie" if better is None else "better" if better == one else "worse"
            cells[one, other] = Cell(signed(value), verdict=verdict)
    rows = [Row([Cell(one), *(cells.get((one, other), Cell("")) for other in models)]) for one in models]
    return TextTable(
        [Column("", number=False), *map(Column, models)],
        [Block(rows)],
        "Mean absolute error of the row less that of the column, degrees",
        "Pale: not told apart. Intervals and other scores are in tables.md and metrics.json.",
    )


def _galleries(
    folder: Path, group: Sequence[Evaluation], numbers: Mapping[str, int]
) -> list[tuple[str, list[ShownImage]]]:
    """No image twice, so a small set has fewer of each."""
    ranked = _ranked(group)
    if len(group) > 1:
        return [("Worst", _shown(folder, group, numbers, ranked[: min(WORST, max(4, MOST_TILES // len(group)))]))]
    count = len(ranked)
    worst = min(WORST, (count + 1) // 2)
    best = min(OTHERS, count - worst)
    start = int(np.clip((count - OTHERS) // 2, worst, max(worst, count - best - OTHERS)))
    typical = ranked[start : min(start + OTHERS, count - best)]
    parts = (("Worst", ranked[:worst]), ("Typical", typical), ("Best", ranked[count - best :][::-1]))
    return [(title, _shown(folder, group, numbers, names)) for title, names in parts if names]


def _shown(
    folder: Path, group: Sequence[Evaluation], numbers: Mapping[str, int], names: Sequence[str]
) -> list[ShownImage]:
    images = []
    for rows in _rows_of(group, names):
        tiles = []
        for one, row in zip(group, rows, strict=True):
            tile = head_tile(row, folder, TILE if len(group) == 1 else SMALL_TILE)
            tiles.append((_swatch(numbers[one.model]), tile if len(group) == 1 else replace(tile, name=one.model)))
        images.append(ShownImage(str(rows[0]["name"]), tiles))
    return images


def _pairs(folder: Path, one: Evaluation) -> Pairs | None:
    order = tables.pair_order(one.predictions)
    if order is None:
        return None
    table = table_of(order.table, "All pairs of one person", f"{one.model}, {one.protocol}", digits=1)
    return Pairs([_pair(folder, one.predictions, pair) for pair in order.pairs], table)


def _pair(folder: Path, predictions: pd.DataFrame, pair: tables.Pair) -> PairTile:
    one, two = (predictions.iloc[row].to_dict() for row in (pair.first, pair.second))
    rows = []
    for angle, right in zip(ANGLES, pair.order, strict=True):
        verdict = "tie" if right is None else "right" if right else "wrong"
        true, predicted = (float(one[name]) - float(two[name]) for name in (angle, f"{angle}_pred"))
        rows.append((angle, degrees(true), degrees(predicted), verdict))
    return PairTile(pair.identity, (head_tile(one, folder, PAIR_TILE), head_tile(two, folder, PAIR_TILE)), rows)


def _left_out(group: Sequence[Evaluation]) -> list[LeftOut]:
    """Models of one protocol read the same set: what any of them left out, once."""
    rejects = max((one.rejects for one in group), key=len)
    if not rejects:
        return []
    folder = os.path.commonpath([Path(reject.file).parent for reject in rejects])
    by_reason: dict[str, list[str]] = {}
    for reject in rejects:
        name = os.path.relpath(reject.file, folder or ".") if reject.file else ""
        by_reason.setdefault(reject.reason, []).append(name)
    return [
        LeftOut(reason, len(files), sorted(filter(None, files))[:MOST_FILES])
        for reason, files in sorted(by_reason.items(), key=lambda entry: -len(entry[1]))
    ]


def _robustness(evaluations: Sequence[Evaluation], numbers: Mapping[str, int]) -> list[Robustness]:
    found = []
    for protocol in dict.fromkeys(one.protocol for one in evaluations if one.strength):
        group = [one for one in evaluations if one.protocol == protocol]
        curves = robustness_curves(robustness_scores(group), numbers=numbers, about=protocol)
        table = table_of(curves.table, "Mean absolute error, degrees, by strength", protocol)
        found.append(Robustness(protocol, group[0].title, curves.panels, table))
    return found


def redraw(folder: Path) -> Path:
    """Draws the page of an evaluation, or of a finished run, again from its files.

    Raises:
        DatasetError: one is missing or cannot be read; the message names it.
    """
    stored = read_evaluations(folder)
    config = folder / "config.yaml"
    page = evaluation_page(
        folder,
        stored.evaluations,
        stored.compared,
        published_figures(),
        title=str(stored.content.get("title") or title_of(stored.evaluations)),
        notes=[str(note) for note in stored.content.get("notes", [])],
        config_text=config.read_text(encoding="utf-8") if config.is_file() else None,
        failures=stored.failures,
        curves=read_curves(folder),
    )
    write_whole(folder / "report.html", page)
    return folder / "report.html"


def title_of(evaluations: Sequence[Evaluation]) -> str:
    """Which models under which protocols."""
    models, protocols = (list(dict.fromkeys(getattr(one, key) for one in evaluations)) for key in ("model", "protocol"))
    who = " and ".join(models) if len(models) < 3 else f"{len(models)} models"
    where = f"protocol {protocols[0]}" if len(protocols) == 1 else f"{len(protocols)} protocols"
    return f"{who} under {where}"


@one_line_errors
def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m rankpose.report.page", description="Draws report.html again from the other files beside it."
    )
    parser.add_argument("folder", type=Path, help="of a finished run or of an evaluation")
    print(redraw(parser.parse_args().folder))


if __name__ == "__main__":
    main()
