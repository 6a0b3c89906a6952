"""How does an evaluation become one page that can be read, mailed, printed and shown?

`write_report` puts everything into a single `report.html`: style, figures and photographs are inside it, so it opens
without a network and years later. The figures come from `tables`, the pictures from `pictures`; here they are put in
order. To draw a page again from the files of a run::

    python -m rankpose.report.page RUN_DIR
"""

import argparse
import json
import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from markupsafe import Markup

from rankpose.files import write_whole
from rankpose.pose import ANGLES
from rankpose.report import pictures, tables
from rankpose.report.templates import render
from rankpose.report.tiles import Tile, degrees, head_tile

TILE = 320
"""Pixels of a gallery picture, shown at about half of that: sharp on a phone and in print."""
PAIR_TILE = 288


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
class Gallery:
    """A row of tiles under one heading."""

    title: str
    tiles: list[Tile]


@dataclass(frozen=True)
class PairTile:
    """Two images of one person."""

    identity: str
    tiles: tuple[Tile, Tile]
    rows: list[tuple[str, str, str, str]]
    """angle, true difference, predicted difference (first minus second, degrees), verdict: right, wrong or tie."""


def write_report(
    run_dir: Path,
    *,
    predictions: pd.DataFrame,
    metrics: Mapping[str, float],
    title: str,
    subtitle: str,
    curves: pd.DataFrame | None,
    config_text: str | None,
    notes: list[str],
) -> Path:
    """Write `run_dir/report.html`, and `run_dir/report.json` with the title, subtitle and notes for drawing it again.

    Args:
        run_dir: an existing folder. Image paths that are relative are looked for from the working directory, then here.
        predictions: a row an image, with the columns `tables.PREDICTION_COLUMNS`; degrees and pixels.
        metrics: flat, `test/mae` and so on, degrees; a missing, null or NaN value is shown as a dash.
        title: what was tested. subtitle: on which data, **under which protocol**: a figure without it is no figure.
        curves: the log of the training as Lightning's `CSVLogger` writes it; None for an evaluation alone.
        config_text: the configuration, shown as it is.
        notes: one paragraph each, plain text.

    Returns:
        The path of the page. It appears whole or not at all: a page of an earlier run stays where drawing fails.

    Raises:
        ValueError: the predictions lack a column or have no rows.
    """
    tables.check_predictions(predictions)
    predictions = predictions.reset_index(drop=True)
    page = _render(run_dir, predictions, metrics, title, subtitle, curves, config_text, notes)
    words = json.dumps({"title": title, "subtitle": subtitle, "notes": notes}, indent=2, ensure_ascii=False)
    write_whole(run_dir / "report.json", words + "\n")
    write_whole(run_dir / "report.html", page)
    return run_dir / "report.html"


def redraw(run_dir: Path) -> Path:
    """Draw the page of a run again from its files.

    Needs `predictions.parquet` and `metrics.json`; uses `metrics.csv`, `config.yaml` and `report.json` where there are.

    Raises:
        FileNotFoundError: the run or a file that it needs is missing; the message names it.
        ValueError: a file cannot be read as what it should be.
    """
    if not run_dir.is_dir():
        raise FileNotFoundError(f"no run directory {run_dir}")
    needed = [run_dir / name for name in ("predictions.parquet", "metrics.json")]
    for path in needed:
        if not path.is_file():
            raise FileNotFoundError(f"no {path}: evaluate the run first")
    predictions = pd.read_parquet(needed[0])
    metrics = _read_json(needed[1])
    words = _read_json(run_dir / "report.json") if (run_dir / "report.json").is_file() else {}
    curves_path, config_path = run_dir / "metrics.csv", run_dir / "config.yaml"
    try:
        curves = pd.read_csv(curves_path) if curves_path.is_file() else None
    except pd.errors.EmptyDataError:  # a logger that logged nothing leaves an empty file
        curves = None
    return write_report(
        run_dir,
        predictions=predictions,
        metrics=metrics,
        title=str(words.get("title", run_dir.resolve().name)),
        subtitle=str(words.get("subtitle", "")),
        curves=curves,
        config_text=config_path.read_text(encoding="utf-8") if config_path.is_file() else None,
        notes=[str(note) for note in words.get("notes", [])],
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m rankpose.report.page", description="Draw a run's report.html again from the run's files."
    )
    parser.add_argument("run_dir", type=Path, help="holds predictions.parquet and metrics.json")
    run_dir = parser.parse_args(arguments).run_dir
    try:
        path = redraw(run_dir)
    except (OSError, ValueError) as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        return 1
    print(path)
    return 0


def _render(
    run_dir: Path,
    predictions: pd.DataFrame,
    metrics: Mapping[str, float],
    title: str,
    subtitle: str,
    curves: pd.DataFrame | None,
    config_text: str | None,
    notes: list[str],
) -> str:
    summary = tables.error_summary(predictions)
    order = tables.pair_order(predictions)
    training = []
    if curves is not None:
        validation = pictures.validation_panel(curves)
        training = ([validation] if validation else []) + pictures.loss_panels(curves)
    return render(
        "page.html.jinja",
        title=title,
        subtitle=subtitle,
        counts=_counts(predictions),
        cards=_cards(metrics, summary, order is not None),
        metrics_table=Markup(tables.to_html(tables.metrics_table(metrics), "Metrics as computed", subtitle)),
        summary_table=Markup(tables.to_html(summary, "How the errors spread", subtitle)),
        yaw_table=Markup(tables.to_html(tables.error_by_yaw(predictions), "Errors in degrees by turn", subtitle)),
        cumulative=pictures.cumulative_panel(predictions),
        by_angle=pictures.error_by_angle_panels(predictions),
        scatter=pictures.scatter_panels(predictions),
        training=training,
        galleries=_galleries(predictions, run_dir),
        pairs=[_pair(predictions, pair, run_dir) for pair in order.pairs] if order else [],
        pair_table=Markup(tables.to_html(order.table, "All pairs of one person", subtitle, digits=1)) if order else "",
        config_text=config_text,
        notes=[*notes, *_remarks(predictions)],
    )


def _counts(predictions: pd.DataFrame) -> str:
    identity = tables.known_identities(predictions)
    images, people = len(predictions), identity.nunique()
    text = f"{tables.format_number(images)} image{'s' if images != 1 else ''}"
    if not people:
        return text + "; who is on them is not known"
    if people == len(identity):
        return text + ", no identity twice"
    return text + f" of {tables.format_number(int(people))} identit{'ies' if people != 1 else 'y'}"


def _cards(metrics: Mapping[str, float], summary: pd.DataFrame, people_repeat: bool) -> list[Card]:
    spread = summary.set_index(summary.columns[0])
    cards = []
    for key, label, row, kind in (
        ("mae", "Mean absolute error", "mean", "mean"),
        ("yaw_mae", "Yaw", "yaw", "yaw"),
        ("pitch_mae", "Pitch", "pitch", "pitch"),
        ("roll_mae", "Roll", "roll", "roll"),
    ):
        below = f"answering 0: {tables.format_number(spread.loc[row, 'answering 0'], 1)}°"
        cards.append(_card(label, metrics.get(f"test/{key}"), "°", below, kind))
    median = tables.format_number(spread.loc["geodesic", "median"], 1)
    cards.append(_card("Geodesic", metrics.get("test/geodesic"), "°", f"median: {median}°", ""))
    share = 100 * tables.as_number(metrics.get("test/pair_order"))
    below = "guessing: 50 %" if math.isfinite(share) else "not measured" if people_repeat else "no person twice"
    cards.append(_card("Pair order", share, " %", below, "", digits=1))
    return cards


def _card(label: str, value: Any, unit: str, below: str, kind: str, digits: int = 2) -> Card:
    text = tables.format_number(tables.as_number(value), digits)
    return Card(label, text, "" if text == tables.NO_VALUE else unit, below, kind)


def _galleries(predictions: pd.DataFrame, run_dir: Path) -> list[Gallery]:
    """The worst twelve, six around the median and the best six; no image twice, so fewer of each in a small set."""
    ranked = predictions["geodesic"].dropna().sort_values(kind="stable").index.to_numpy()
    count = len(ranked)
    worst = min(12, (count + 1) // 2)
    best = min(6, count - worst)
    between = ranked[best : count - worst]
    at = int(np.clip(count // 2 - best - 3, 0, max(0, len(between) - 6)))
    middle = between[at : at + 6]
    galleries = []
    for title, rows in (("Worst", ranked[count - worst :][::-1]), ("Typical", middle), ("Best", ranked[:best])):
        if len(rows):
            galleries.append(Gallery(title, [_tile(predictions, int(row), run_dir, TILE) for row in rows]))
    return galleries


def _tile(predictions: pd.DataFrame, row: int, run_dir: Path, size: int) -> Tile:
    return head_tile(predictions.iloc[row].to_dict(), run_dir, size)


def _pair(predictions: pd.DataFrame, pair: tables.Pair, run_dir: Path) -> PairTile:
    one = predictions.iloc[pair.first].to_dict()
    two = predictions.iloc[pair.second].to_dict()
    rows = []
    for angle, right in zip(ANGLES, pair.order, strict=True):
        verdict = "tie" if right is None else "right" if right else "wrong"
        predicted = float(one[f"{angle}_pred"]) - float(two[f"{angle}_pred"])
        rows.append((angle, degrees(float(one[angle]) - float(two[angle])), degrees(predicted), verdict))
    tiles = (_tile(predictions, pair.first, run_dir, PAIR_TILE), _tile(predictions, pair.second, run_dir, PAIR_TILE))
    return PairTile(pair.identity, tiles, rows)


def _remarks(predictions: pd.DataFrame) -> list[str]:
    """What a reader must know about this table of predictions and might not ask."""
    remarks = []
    beyond = int((predictions[list(ANGLES)].abs() > tables.YAW_EDGES_DEG[-1]).any(axis=1).sum())
    if beyond:
        remarks.append(
            f"{beyond} of {len(predictions)} images have a true angle beyond ±99°, where Euler angles are ambiguous: "
            "their errors by angle mean little, and the figures leave them outside the frame. Read the geodesic "
            "error, or leave these images out, as most papers do."
        )
    broken = int(predictions[[f"{angle}_pred" for angle in ANGLES]].isna().any(axis=1).sum())
    if broken:
        remarks.append(f"{broken} of {len(predictions)} predictions are not a number; they are left out of the means.")
    return remarks


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} is no JSON: {error}") from error
    if not isinstance(content, dict):
        raise ValueError(f"{path} holds no JSON object")
    return content


if __name__ == "__main__":
    sys.exit(main())
