"""What is a figure of a page? A small panel, drawn with matplotlib and given as SVG text.

A panel is as wide as a phone, so a page can put three beside each other or one below the other without shrinking the
letters. Its colours are CSS variables with a fallback, so the panel follows the light or dark scheme of the page it
stands in, and still shows in a notebook.

matplotlib is used through its `Figure` class alone: pyplot keeps figures in a global list.
"""

import html
import io
import re
import zlib
from dataclasses import dataclass
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

_POINT = 1 / 72  # inches; the page shows a point as about one CSS pixel
_PANEL = (340, 236)  # width, height of a panel in points
_LEFT, _RIGHT, _TOP, _BOTTOM = 40, 10, 24, 36  # the same margins in every panel, so that axes align side by side
SQUARE = _PANEL[0] - _LEFT - _RIGHT + _TOP + _BOTTOM
"""The height in points that makes a panel's axes as high as wide."""
COLOURS = {  # each once: a panel's colours become CSS variables of these names
    "ink": "#1d2126",
    "muted": "#69707a",
    "grid": "#e0e3e8",
    "mean": "#3a4049",
    "yaw": "#3566b0",
    "pitch": "#c8731a",
    "roll": "#1f8a78",
    "model-1": "#2466c9",
    "model-2": "#d9591f",
    "model-3": "#0f917d",
    "model-4": "#9a3f9e",
    "model-5": "#8a7415",
    "model-6": "#c02f50",
}
MODEL_COLOURS = 6
"""How many models have a colour of their own; a seventh gets the first one's, dashed."""
_DASHES = ("-", (0, (5, 2)), (0, (1, 1.5)))
_MARKS = "os^Dv"


@dataclass(frozen=True)
class Panel:
    """One small figure."""

    title: str
    label: str
    """The title and, where a page shows several of the same kind, what of: unique there."""
    svg: str
    """`<svg>...</svg>`: scales with its width, text is text, colours are CSS variables."""


def model_style(number: int) -> dict[str, Any]:
    """How the lines of a model are drawn, the same in every panel of a page: arguments of matplotlib's `plot`."""
    return {
        "color": COLOURS[model_colour(number)],
        "linestyle": _DASHES[number // MODEL_COLOURS % len(_DASHES)],
        "marker": _MARKS[number % len(_MARKS)],
        "markersize": 4,
        "linewidth": 1.6,
    }


def model_colour(number: int) -> str:
    """The name of a model's colour: a key of `COLOURS` and a variable of the page's style."""
    return f"model-{number % MODEL_COLOURS + 1}"


def new_figure(height: float) -> Figure:
    """An empty figure of a panel's width; height in points."""
    return Figure(figsize=(_PANEL[0] * _POINT, height * _POINT))


def new_panel(height: float = _PANEL[1]) -> tuple[Figure, Axes]:
    """A figure with one pair of axes, its margins in points, dressed."""
    figure = new_figure(height)
    width = _PANEL[0]
    box = (_LEFT / width, _BOTTOM / height, 1 - (_LEFT + _RIGHT) / width, 1 - (_TOP + _BOTTOM) / height)
    axes = figure.add_axes(box)
    dress(axes)
    return figure, axes


def stacked_axes() -> tuple[Figure, Axes, Axes]:
    """A figure with a large pair of axes, for errors, over a small one, for how many images there are."""
    width, height = _PANEL[0], _PANEL[1] + 34
    figure = new_figure(height)
    split = 0.38 * (height - _TOP - _BOTTOM)
    box_width = (width - _LEFT - _RIGHT) / width
    counts = figure.add_axes((_LEFT / width, _BOTTOM / height, box_width, (split - 26) / height))
    errors = figure.add_axes(
        (_LEFT / width, (_BOTTOM + split) / height, box_width, 1 - (_TOP + _BOTTOM + split) / height),
        sharex=counts,
    )
    for axes in (errors, counts):
        dress(axes)
    errors.set_ylabel("error, degrees")
    errors.tick_params(axis="x", labelbottom=False)
    counts.set_ylabel("images")
    return figure, errors, counts


def dress(axes: Axes) -> None:
    """Grid, ticks and frame as in every panel."""
    axes.set_axisbelow(True)
    axes.grid(True, axis="y", color=COLOURS["grid"], linewidth=0.8)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.spines["bottom"].set_color(COLOURS["muted"])
    axes.tick_params(axis="both", length=0, labelsize=10, labelcolor=COLOURS["muted"], pad=5)
    axes.tick_params(axis="x", length=3, width=0.8, color=COLOURS["muted"], pad=3)
    axes.yaxis.set_major_locator(MaxNLocator(5))
    axes.xaxis.set_major_locator(MaxNLocator(6))


def up_to_a_tick(axes: Axes, ticks: int, highest: float, whole: bool = False) -> None:
    """Let the vertical axis run from zero to a labelled tick at or above `highest`."""
    locator = MaxNLocator(ticks, integer=whole)
    values = locator.tick_values(0, highest)
    axes.yaxis.set_major_locator(locator)
    axes.set_ylim(0, next((float(value) for value in values if value >= highest), highest))


_STYLE = {
    "svg.fonttype": "none",  # text stays text: small, and in the page's own letters
    "svg.hashsalt": "rankpose",  # the same figure gives the same file
    "axes.unicode_minus": True,
}


def to_panel(figure: Figure, title: str, *about: str) -> Panel:
    """A drawn figure as a panel; `about` says what of, where a page shows several of this title."""
    label = ", ".join(filter(None, (title, *about)))
    return Panel(title, label, _svg(figure, label))


def _svg(figure: Figure, label: str) -> str:
    """The figure as an `<svg>` element that can stand beside others of other labels in one HTML page."""
    for axes in figure.axes:
        for text in (axes.xaxis.label, axes.yaxis.label, *axes.texts):
            text.set_color(COLOURS["muted"])
            text.set_fontsize(10)
        for line in (*axes.get_xgridlines(), *axes.get_ygridlines()):
            line.set_color(COLOURS["grid"])
            line.set_linewidth(0.8)
        # labels of all panels at the same place, whatever the width of the numbers
        axes.xaxis.labelpad = 4
        if label_of_y := axes.get_ylabel():
            axes.set_ylabel("")
            axes.annotate(
                label_of_y,
                (0, 1),
                (-_LEFT + 2, 9),
                xycoords="axes fraction",
                textcoords="offset points",
                fontsize=10,
                color=COLOURS["muted"],
                annotation_clip=False,
            )
        legend = axes.get_legend()
        if legend is not None:
            legend.set_frame_on(False)
            for entry in legend.get_texts():
                entry.set_fontsize(10)
                entry.set_color(COLOURS["ink"])
    buffer = io.StringIO()
    with matplotlib.rc_context(_STYLE):  # type: ignore[arg-type]  # its stub wants literal keys
        figure.savefig(buffer, format="svg", transparent=True, dpi=180)
    drawn = buffer.getvalue()
    drawn = drawn[drawn.index("<svg") :]
    drawn = re.sub(r"<metadata>.*?</metadata>", "", drawn, flags=re.DOTALL)
    # a style inside one figure would hold for everything on the page
    drawn = re.sub(r"<defs>\s*<style.*?</style>\s*</defs>", "", drawn, flags=re.DOTALL)
    # ids are unique in a figure only
    prefix = f"f{zlib.crc32(label.encode()):x}"
    drawn = re.sub(r'\bid="', f'id="{prefix}-', drawn)
    drawn = drawn.replace("url(#", f"url(#{prefix}-").replace('href="#', f'href="#{prefix}-')
    box = re.search(r'viewBox="[^"]*"', drawn)
    assert box is not None, "matplotlib wrote an SVG without a viewBox"
    drawn = re.sub(
        r"<svg[^>]*>",
        f'<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" '
        f'{box.group()} stroke-linejoin="round" role="img" aria-label="{html.escape(label)}">',
        drawn,
        count=1,
    )
    for name, value in COLOURS.items():
        drawn = drawn.replace(value, f"var(--{name}, {value})")
    return str(drawn).strip()
