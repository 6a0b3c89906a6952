"""Which figures stand in the table that everybody reads first, beside which published ones, and how is it written?

A `MainTable` is one protocol's: a block of rows as the models are, with what papers report under the same protocol, and
a block aligned. Markdown, LaTeX and the page show the same cells; `tidy_scores` is all figures for a spreadsheet.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import pandas as pd

from rankpose.evaluation.scored import Evaluation, ModelDifference, rising
from rankpose.files import read_yaml
from rankpose.metrics import THRESHOLDS_DEG
from rankpose.pose import ANGLES
from rankpose.report.tables import MINUS, NO_VALUE, format_number

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


@dataclass(frozen=True)
class Cell:
    """A figure as text."""

    text: str
    interval: str = ""
    """From low to high; empty where it is not known."""
    best: bool = False
    """Whether nothing in its column and block is better, as far as the shown digits tell."""


@dataclass(frozen=True)
class Row:
    """A model's figures, or a paper's."""

    name: str
    cells: list[Cell]
    source: str = ""
    """Of a published row; empty for a model that was tested here."""


@dataclass(frozen=True)
class Block:
    """Rows that compare."""

    title: str
    rows: list[Row]


@dataclass(frozen=True)
class MainTable:
    """The table of one protocol."""

    protocol: str
    title: str
    images: str
    """How many, in words."""
    columns: list[Score]
    blocks: list[Block]
    note: str
    """About the published figures: where they are from, or why there are none."""

    def groups(self) -> list[tuple[str, int]]:
        """What stands above the columns, and above how many."""
        return [(name, len(list(columns))) for name, columns in groupby(self.columns, key=lambda score: score.group)]


def published_figures() -> dict[str, list[Published]]:
    """What papers report, by protocol, from `published.yaml`."""
    return {str(protocol): [Published(**row) for row in rows] for protocol, rows in read_yaml(PUBLISHED).items()}


def main_table(evaluations: Sequence[Evaluation], papers: Mapping[str, Sequence[Published]]) -> MainTable:
    """The table of one protocol, on clean images.

    Args:
        evaluations: of one protocol, a model each.
        papers: as `published_figures` gives them; they are shown beside the whole set only.
    """
    first = evaluations[0]
    columns = [score for score in SCORES if any(math.isfinite(one.scores[score.name]) for one in evaluations)]
    reported = list(papers.get(first.protocol, ()))
    complete = all(evaluation.complete for evaluation in evaluations)
    beside = [
        Row(paper.method, [Cell(paper.figure(score) or "") for score in columns], paper.source) for paper in reported
    ]
    blocks = [
        Block("As it is", _with_best([*_rows(evaluations, columns, ""), *(beside if complete else [])], columns)),
        Block("Aligned", _with_best(_rows(evaluations, columns, "aligned_"), columns)),
    ]
    return MainTable(
        first.protocol, first.title, images_in_words(first), columns, blocks, _note(first, reported, complete)
    )


def images_in_words(evaluation: Evaluation) -> str:
    """How many images and people there were, and how many the whole set has."""
    images, people = len(evaluation.predictions), evaluation.predictions["identity"].nunique()
    part = "" if evaluation.available in (None, images) else f" of {evaluation.available:,}"
    text = f"{format_number(images)}{part} image{'s' if images != 1 or part else ''}"
    if people < images:
        text += f" of {format_number(people)} {'people' if people != 1 else 'person'}"
    return text if evaluation.expected in (None, images) else f"{text}; the whole set has {evaluation.expected:,}"


def to_markdown(table: MainTable) -> str:
    """The table for GitHub and the like, with 95 % intervals; the best of a column is bold."""
    heads = ["", *(f"{score.group}: {score.heading}" for score in table.columns)]
    lines = [heads, ["---", *("---:" for _ in table.columns)]]
    for block in table.blocks:
        lines.append([f"*{block.title}*", *("" for _ in table.columns)])
        for row in block.rows:
            name = row.name.replace("|", "\\|")
            lines.append([f"{name} (published)" if row.source else name, *map(_markdown_cell, row.cells)])
    body = "\n".join("| " + " | ".join(line) + " |" for line in lines)
    return f"### {table.protocol}: {table.title}\n\n{table.images}.\n\n{body}\n\n{table.note}\n"


def to_latex(table: MainTable) -> str:
    """The table for a paper, with 95 % intervals under the figures; needs `\\usepackage{booktabs}`."""
    rules, column = [], 2
    for _, width in table.groups():
        rules.append(f"\\cmidrule(lr){{{column}-{column + width - 1}}}")
        column += width
    lines = [
        "\\begin{table*}",
        "\\centering\\footnotesize\\setlength{\\tabcolsep}{3pt}",
        f"\\caption{{{tex(table.title)} ({tex(table.protocol)}): {tex(table.images)}. Small: 95\\,\\% bootstrap "
        "intervals. Aligned: without the constant rotation between predictor and data set. In italics: as published.}",
        f"\\label{{tab:{''.join(c if c.isalnum() else '-' for c in table.protocol)}}}",
        f"\\begin{{tabular}}{{l{'r' * len(table.columns)}}}",
        "\\toprule",
        " & ".join(["", *(f"\\multicolumn{{{width}}}{{c}}{{{tex(name)}}}" for name, width in table.groups())])
        + " \\\\",
        "".join(rules),
        " & ".join(["", *(tex(score.heading) for score in table.columns)]) + " \\\\",
    ]
    for block in table.blocks:
        lines += ["\\midrule", f"\\multicolumn{{{len(table.columns) + 1}}}{{l}}{{{tex(block.title)}}} \\\\"]
        for row in block.rows:
            name = f"\\textit{{{tex(row.name)}}}" if row.source else tex(row.name)
            lines.append(" & ".join([name, *(_latex_cell(cell, bool(row.source)) for cell in row.cells)]) + " \\\\")
            if any(cell.interval for cell in row.cells):
                small = (f"{{\\tiny {tex(cell.interval)}}}" if cell.interval else "" for cell in row.cells)
                lines.append(" & ".join(["", *small]) + " \\\\")
    note = f"\\par\\smallskip\\parbox{{\\textwidth}}{{\\scriptsize {tex(table.note)}}}"
    return "\n".join([*lines, "\\bottomrule", "\\end{tabular}", note, "\\end{table*}"]) + "\n"


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
            rows.append(
                {
                    "models": f"{pair.first} {MINUS} {pair.second}",
                    "score": label,
                    "difference": signed(found.value),
                    "95 % interval": f"{signed(found.low)} to {signed(found.high)}",
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


def _rows(evaluations: Sequence[Evaluation], columns: Sequence[Score], frame: str) -> list[Row]:
    rows = []
    for one in evaluations:
        cells = []
        for score in columns:
            name = frame + score.name
            found = one.intervals.get(name)
            known = found is not None and math.isfinite(found.low) and math.isfinite(found.high)
            interval = f"{score.text(found.low)}{NO_VALUE}{score.text(found.high)}" if found and known else ""
            cells.append(Cell(score.text(one.scores[name]), interval))
        rows.append(Row(one.model, cells))
    return rows


def _with_best(rows: Sequence[Row], columns: Sequence[Score]) -> list[Row]:
    """Marks the best of each column that has at least two figures."""
    best: list[float | None] = []
    for place, score in enumerate(columns):
        values = [value for row in rows if math.isfinite(value := _number(row.cells[place].text))]
        best.append(None if len(values) < 2 else max(values) if rising(score.name) else min(values))
    return [
        Row(
            row.name,
            [Cell(c.text, c.interval, _number(c.text) == top) for c, top in zip(row.cells, best, strict=True)],
            row.source,
        )
        for row in rows
    ]


def _number(text: str) -> float:
    """The figure that is shown, so that what looks equal is equal."""
    return float(text.replace(MINUS, "-").replace(",", "")) if text not in ("", NO_VALUE) else math.nan


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


def _markdown_cell(cell: Cell) -> str:
    text = f"**{cell.text}**" if cell.best else cell.text
    return f"{text} ({cell.interval})" if cell.interval else text


def _latex_cell(cell: Cell, published: bool) -> str:
    text = tex(cell.text)
    text = f"\\textit{{{text}}}" if published and text else text
    return f"\\textbf{{{text}}}" if cell.best else text


_TEX = (
    {
        "\\": "\\textbackslash{}",
        "°": "\\ensuremath{^\\circ}",
        "±": "\\ensuremath{\\pm}",
        MINUS: "\\ensuremath{-}",
        NO_VALUE: "--",
    }
    | {letter: f"\\{letter}" for letter in "&%$#_{}"}
    | {"~": "\\textasciitilde{}", "^": "\\textasciicircum{}"}
)


def tex(text: str) -> str:
    """Text that LaTeX shows as it is."""
    return "".join(_TEX.get(letter, letter) for letter in text)
