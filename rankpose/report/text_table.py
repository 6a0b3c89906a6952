"""How is a table written? The same cells for a terminal, GitHub, a paper and a page: a template a format."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Any, Literal

import numpy as np
import pandas as pd

from rankpose.report.templates import render

NO_VALUE = "\N{EN DASH}"
MINUS = "\N{MINUS SIGN}"
GAP = "  "
"""Between the columns of a table for a terminal."""

Format = Literal["txt", "md", "tex"]


@dataclass(frozen=True)
class Column:
    """What stands above cells."""

    heading: str
    group: str = ""
    """What stands above several columns."""
    number: bool = True
    """Whether its cells stand at the right."""

    @property
    def full(self) -> str:
        """The heading where there is no line of groups."""
        return f"{self.group}: {self.heading}" if self.group else self.heading


@dataclass(frozen=True)
class Cell:
    """A figure or a name as text."""

    text: str
    spread: str = ""
    """What belongs to it in one breath: `± 0.12`."""
    about: tuple[str, ...] = ()
    """What stands in brackets or small below: an interval, a p. TeX has room for the first."""
    best: bool = False
    """Whether nothing in its column and block is better, as far as the shown digits tell."""
    verdict: str = ""
    """`better`, `worse` or `tie`: its colour on a page."""

    def in_line(self, bold: Callable[[str], str] = str) -> str:
        """All of it in one line."""
        text = bold(self.text) if self.best else self.text
        about = f"({'; '.join(self.about)})" if self.about else ""
        return " ".join(filter(None, (text, self.spread, about)))

    @property
    def below(self) -> list[str]:
        """What stands below it where there is room, a line each."""
        return [*filter(None, [self.spread]), *self.about]


@dataclass(frozen=True)
class Row:
    """What belongs to one model or configuration; the first cell says which."""

    cells: list[Cell]
    source: str = ""
    """Of a published row; empty for what was measured here."""

    @property
    def name(self) -> str:
        """Whose row it is."""
        return self.cells[0].text


@dataclass(frozen=True)
class Block:
    """Rows that compare."""

    rows: list[Row]
    title: str = ""


@dataclass(frozen=True)
class TextTable:
    """A table whose cells are text."""

    columns: list[Column]
    blocks: list[Block]
    title: str = ""
    about: str = ""
    """On which data, and by which rules, it was measured."""
    reading: str = ""
    """How it is to be read, where the table stands alone, as in a paper."""
    note: str = ""
    """What stands below."""
    label: str = ""
    """By which a paper refers to it."""

    def groups(self) -> list[tuple[str, int]]:
        """What stands above the columns, and above how many."""
        return [(name, len(list(columns))) for name, columns in groupby(self.columns, key=lambda column: column.group)]

    def as_text(self, how: Format) -> str:
        """For a terminal (`txt`), for GitHub (`md`) or for a paper that has `\\usepackage{booktabs}` (`tex`)."""
        return render(f"table.{how}.jinja", table=self, padded=_padded, gap=GAP)


def table_of(
    frame: pd.DataFrame, title: str = "", about: str = "", digits: int = 2, right: Sequence[str] = ()
) -> TextTable:
    """A table of raw numbers, the first column being the row's name.

    Args:
        frame: numbers and texts.
        title: what it is.
        about: on which data and by which rules it was measured.
        digits: of numbers that are not whole.
        right: columns whose texts stand at the right as numbers do.
    """
    columns = [
        Column(str(name), number=bool(pd.api.types.is_numeric_dtype(frame.iloc[:, place])) or name in right)
        for place, name in enumerate(frame.columns)
    ]
    rows = [
        Row([Cell(value if isinstance(value, str) else format_number(value, digits)) for value in row])
        for row in frame.itertuples(index=False)
    ]
    return TextTable(columns, [Block(rows)], title, about)


def mark_best(rows: Sequence[Row], rising: Sequence[bool | None]) -> list[Row]:
    """Marks the best of each column that has two figures or more, as they are shown: what looks equal is equal.

    Args:
        rows: that compare.
        rising: for each column whether more is better; None where nothing is.
    """
    columns = []
    for cells, more in zip(zip(*(row.cells for row in rows), strict=True), rising, strict=True):
        values = [math.nan if more is None else _shown_number(cell.text) for cell in cells]
        finite = [value for value in values if math.isfinite(value)]
        best = None if len(finite) < 2 else max(finite) if more else min(finite)
        columns.append([replace(cell, best=value == best) for cell, value in zip(cells, values, strict=True)])
    return [replace(row, cells=list(cells)) for row, cells in zip(rows, zip(*columns, strict=True), strict=True)]


def _shown_number(text: str) -> float:
    return as_number(text.replace(MINUS, "-").replace(",", ""))


def format_number(value: Any, digits: int = 2) -> str:
    """A number for reading: a true minus sign, thousands apart, whole numbers without decimals, `NO_VALUE` for NaN."""
    if isinstance(value, bool | np.bool_):
        return "yes" if value else "no"
    if isinstance(value, int | np.integer):
        return f"{int(value):,}".replace("-", MINUS)
    number = as_number(value)
    if not math.isfinite(number):
        return NO_VALUE
    text = f"{number:,.{digits}f}"
    # -0.00 would read as a sign that is not there
    return text.lstrip("-") if float(text.replace(",", "")) == 0 else text.replace("-", MINUS)


def as_number(value: Any) -> float:
    """A float; NaN for None, text and whatever else is no number."""
    try:
        return float(value)
    except (TypeError, ValueError):
        return math.nan


def interval_text(low: float, high: float, text: Callable[[float], str] = format_number) -> tuple[str, ...]:
    """From low to high as a cell's `about`; nothing where it is not known."""
    return (f"{text(low)}{NO_VALUE}{text(high)}",) if math.isfinite(low) and math.isfinite(high) else ()


def _padded(table: TextTable) -> list[list[str]]:
    """Lines of equally wide cells, the headings first; what stands over several columns, or alone, is a line's own."""
    rows = [[cell.in_line(lambda text: f"{text}*") for cell in row.cells] for b in table.blocks for row in b.rows]
    heads = [column.heading for column in table.columns]
    widths = [max(map(len, column)) for column in zip(heads, *rows, strict=True)]
    above, first = [], 0
    for name, count in table.groups():
        inside = sum(widths[first : first + count]) + len(GAP) * (count - 1)
        widths[first + count - 1] += max(0, len(name) - inside)
        above.append(name.center(max(inside, len(name))))
        first += count

    def line(texts: Sequence[str]) -> list[str]:
        return [
            text.rjust(width) if column.number else text.ljust(width)
            for text, width, column in zip(texts, widths, table.columns, strict=True)
        ]

    lines = [*([above] if any(map(str.strip, above)) else []), line(heads)]
    for block in table.blocks:
        lines += [[block.title]] if block.title else []
        lines += [line(rows.pop(0)) for _ in block.rows]
    return lines
