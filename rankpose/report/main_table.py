"""Which figures stand in the table that everybody reads first, and beside which published ones?

`main_table` is one protocol's: a block of rows as the models are, with what papers report under the same protocol, and
a block aligned. `tidy_scores` is all figures for a spreadsheet.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd

from rankpose.evaluation.differences import ModelDifference
from rankpose.evaluation.scores import Evaluation, rising
from rankpose.files import read_yaml
from rankpose.metrics import THRESHOLDS_DEG
from rankpose.pose import ANGLES
from rankpose.report.text_table import (
    MINUS,
    NO_VALUE,
    Block,
    Cell,
    Column,
    Row,
    TextTable,
    format_number,
    interval_text,
    mark_best,
)

PUBLISHED = Path(__file__).with_name("published.yaml")


@dataclass(frozen=True)
class Score:
    """A column: one of `rankpose.metrics.scores`."""

    name: str
    group: str
    """What stands above several columns."""
    heading: str
    percent: bool = False
    digits: int = 2

    def text(self, value: float) -> str:
        """The figure as it is shown, without unit."""
        return format_number(100 * value if self.percent else value, self.digits)


SCORES = (
    *(Score(f"{angle}_mae", "MAE, degrees", angle) for angle in ANGLES),
    Score("mae", "MAE, degrees", "mean"),
    Score("geodesic", "Geodesic, degrees", "mean"),
    Score("geodesic_median", "Geodesic, degrees", "median"),
    Score("maev", "MAEV", "degrees"),
    *(Score(f"within_{limit}", "Images within, %", f"{limit}°", percent=True, digits=1) for limit in THRESHOLDS_DEG),
    Score("pair_order", "Same person", "pairs, %", percent=True, digits=1),
    Score("spearman", "Same person", "Spearman", digits=3),
)
"""The columns; those without a value under a protocol are left out there."""


@dataclass(frozen=True)
class Published:
    """What a paper reports under a protocol; figures as printed, None where there is none."""

    method: str
    source: str
    yaw: str | None = None
    pitch: str | None = None
    roll: str | None = None
    mean: str | None = None

    def figure(self, score: Score) -> str | None:
        """What it reports for a column."""
        by_name = {"mae": self.mean} | {f"{angle}_mae": getattr(self, angle) for angle in ANGLES}
        return by_name.get(score.name)


def published_figures() -> dict[str, list[Published]]:
    """What papers report, by protocol, from `published.yaml`."""
    return {str(protocol): [Published(**row) for row in rows] for protocol, rows in read_yaml(PUBLISHED).items()}


def main_table(evaluations: Sequence[Evaluation], papers: Mapping[str, Sequence[Published]]) -> TextTable:
    """The table of one protocol, on clean images, with 95 % intervals.

    Args:
        evaluations: of one protocol, a model each.
        papers: as `published_figures` gives them; they are shown beside the whole set only.
    """
    first = evaluations[0]
    scores = [score for score in SCORES if any(math.isfinite(one.scores[score.name]) for one in evaluations)]
    reported = list(papers.get(first.protocol, ()))
    complete = all(evaluation.complete for evaluation in evaluations)
    beside = [
        Row([Cell(paper.method), *(Cell(paper.figure(score) or "") for score in scores)], paper.source)
        for paper in reported
    ]
    better = [None, *(rising(score.name) for score in scores)]
    blocks = [
        Block(mark_best([*_rows(evaluations, scores, ""), *(beside if complete else [])], better), "As it is"),
        Block(mark_best(_rows(evaluations, scores, "aligned_"), better), "Aligned"),
    ]
    columns = [Column("", number=False), *(Column(score.heading, score.group) for score in scores)]
    if any(one.unanswered for one in evaluations):
        columns += [Column("answered, %", "Coverage"), Column("MAE, rest as 0", "Coverage")]
        blocks = [replace(block, rows=[_covered(row, evaluations) for row in block.rows]) for block in blocks]
    return TextTable(
        columns,
        blocks,
        f"{first.protocol}: {first.title}",
        images_in_words(first),
        "Small: 95 % bootstrap intervals. Aligned: without the constant rotation between predictor and data set. In "
        "italics: as published.",
        _note(first, reported, complete),
        tex_label(first.protocol),
    )


def _covered(row: Row, evaluations: Sequence[Evaluation]) -> Row:
    """A row with how many images its model has answered, and its error with the zero pose for the others."""
    one = next((one for one in evaluations if one.model == row.cells[0].text and not row.source), None)
    mae = None if one is None else one.scores["mae"] if one.mae_rest_zero is None else one.mae_rest_zero
    told = ("", "") if one is None or mae is None else (format_number(100 * one.coverage, 1), format_number(mae))
    return replace(row, cells=[*row.cells, *map(Cell, told)])


def tex_label(name: str) -> str:
    """A name as a label of LaTeX."""
    return "".join(letter if letter.isalnum() else "-" for letter in name)


def images_in_words(evaluation: Evaluation) -> str:
    """How many images and people there were, and how many the whole set has."""
    images, people = len(evaluation.predictions), evaluation.predictions["identity"].nunique()
    part = "" if evaluation.available in (None, images) else f" of {evaluation.available:,}"
    text = f"{format_number(images)}{part} image{'s' if images != 1 or part else ''}"
    if people < images:
        text += f" of {format_number(people)} {'people' if people != 1 else 'person'}"
    return text if evaluation.expected in (None, images) else f"{text}; the whole set has {evaluation.expected:,}"


def tidy_scores(evaluations: Iterable[Evaluation], papers: Mapping[str, Sequence[Published]]) -> pd.DataFrame:
    """All figures, a row each, unrounded; and the published ones of the same protocols.

    Columns: `protocol`, `method`, `kind` (`measured` or `published`), `corruption` (`clean` for none), `strength`,
    `frame` (`as_is` or `aligned`), `score`, `value`, `low`, `high` (95 % interval), `images`, `expected`, `source` (of
    a published figure). Shares are in [0, 1].
    """
    rows: list[dict[str, object]] = []
    complete: dict[str, bool] = {}
    for one in evaluations:
        complete[one.protocol] = complete.get(one.protocol, True) and one.complete
        condition = {
            "protocol": one.protocol,
            "method": one.model,
            "kind": "measured",
            "corruption": one.corruption or "clean",
            "strength": one.strength,
        }
        for name, value in one.scores.items():
            interval = one.intervals.get(name)
            rows.append(
                condition
                | {"frame": "aligned" if name.startswith("aligned_") else "as_is"}
                | {"score": name.removeprefix("aligned_"), "value": value}
                | {"low": interval.low if interval else math.nan, "high": interval.high if interval else math.nan}
                | {"images": len(one.predictions), "expected": one.expected, "source": ""}
            )
    for protocol, whole in complete.items():
        for paper in papers.get(protocol, ()) if whole else ():
            condition = {
                "protocol": protocol,
                "method": paper.method,
                "kind": "published",
                "corruption": "clean",
                "strength": 0,
            }
            for score in SCORES:
                if (figure := paper.figure(score)) is not None:
                    rows.append(
                        condition
                        | {"frame": "as_is", "score": score.name, "value": float(figure), "source": paper.source}
                    )
    table = pd.DataFrame(rows)
    return table.astype({"images": "Int64", "expected": "Int64"})


def differences_table(compared: Sequence[ModelDifference]) -> pd.DataFrame:
    """Which of two models is better by which score: a row for each pair and score, as text."""
    rows = []
    for pair in compared:
        for name, label in COMPARED:
            found = pair.scores[name]
            known = math.isfinite(found.low)
            rows.append(
                {
                    "models": f"{pair.first} {MINUS} {pair.second}",
                    "score": label,
                    "difference": signed(found.value),
                    "95 % interval": f"{signed(found.low)} to {signed(found.high)}" if known else NO_VALUE,
                    "p": p_value(found.p),
                    "better": pair.better(name) or "not told apart",
                }
            )
    return pd.DataFrame(rows)


COMPARED = (
    ("mae", "MAE"),
    ("geodesic", "geodesic"),
    ("aligned_mae", "MAE, aligned"),
    ("aligned_geodesic", "geodesic, aligned"),
)
"""By which scores models are compared for readers; `metrics.json` has all."""


def signed(value: float) -> str:
    """A difference of degrees with its sign."""
    text = format_number(value)
    return f"+{text}" if value > 0 and text != format_number(0.0) else text


def p_value(p: float) -> str:
    """A p of 2,000 resamples, whose smallest is 0.001."""
    return NO_VALUE if math.isnan(p) else "≤ 0.001" if p <= 0.001 else f"{p:.3f}"


def _rows(evaluations: Sequence[Evaluation], scores: Sequence[Score], frame: str) -> list[Row]:
    rows = []
    for one in evaluations:
        cells = [Cell(one.model)]
        for score in scores:
            name = frame + score.name
            found = one.intervals.get(name)
            about = interval_text(found.low, found.high, score.text) if found else ()
            cells.append(Cell(score.text(one.scores[name]), about=about))
        rows.append(Row(cells))
    return rows


def _note(first: Evaluation, reported: Sequence[Published], complete: bool) -> str:
    if not reported:
        return "No published figure is known to have been measured under just this protocol."
    if first.changes:
        return f"Published figures are not shown: here {first.protocol} was run with {', '.join(first.changes)}."
    if not complete:
        return (
            f"Published figures are not shown: they are about all {format_number(first.expected)} images of this "
            f"protocol, these about {format_number(len(first.predictions))}."
        )
    return (
        "Published figures are as printed. " + "; ".join(f"{paper.method}: {paper.source}" for paper in reported) + "."
    )
