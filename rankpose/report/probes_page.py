"""What is shown of what networks know and where they look? A page like an evaluation's, and the maps as pictures."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import cv2
import matplotlib
import numpy as np

from rankpose.evaluation.statistics import Difference, Interval
from rankpose.pose import ANGLES
from rankpose.probing.features import POOLED
from rankpose.probing.maps import PLACES_OF_INTEREST
from rankpose.probing.pairs import TURNS
from rankpose.probing.study import Look, Study
from rankpose.report.heads import jpeg_uri
from rankpose.report.main_table import signed
from rankpose.report.panels import COLOURS, Panel, model_colour, model_style, new_panel, to_panel
from rankpose.report.templates import render
from rankpose.report.text_table import Block, Cell, Column, Row, TextTable, format_number, interval_text

TILE = 224
"""Pixels of a map's picture, shown at about half of that."""
_LOWEST = -0.5
"""Where an interval of a score that is worse than chance is cut off."""
_STRONGEST = 0.995
"""The quantile of a map that is drawn brightest: one bright pixel would darken all others."""


@dataclass(frozen=True)
class MapTile:
    """The mean map of an angle over the mean face of a bin of yaw."""

    bin: str
    angle: str
    label: str
    uri: str


def probes_page(study: Study) -> str:
    """The page as text."""
    names = list(study.networks)
    colours = {name: model_colour(number) for number, name in enumerate(names)}
    looks = [(name, _tiles(name, look)) for name, look in study.looks.items()]
    known = bool(study.scores)
    return render(
        "probes.html.jinja",
        title="What features know, and where they look",
        data=study.data,
        networks=list(study.networks.items()),
        colours=colours,
        know=know_table(study) if known else None,
        know_panels=_know_panels(study) if known else [],
        differences=[_difference_table(pair, found, study) for pair, found in study.differences.items()],
        by_stage=[stage_table(study, name) for name in names] if known else [],
        moved=moved_table(study) if known else None,
        moved_panels=_moved_panels(study) if known else [],
        looks=looks,
        heads={
            name: "Heads: " + ", ".join(f"{bin_.heads} {bin_.bin}" for bin_ in look.bins) + " (more than 30° of yaw)."
            for name, look in study.looks.items()
        },
        shares=shares_table(study) if any(_has_shares(look) for look in study.looks.values()) else None,
        sanity=_sanity_table(study),
        notes=study.notes,
    )


def _blocks(study: Study, rows: Mapping[str, Row]) -> list[Block]:
    """Rows by the heading of their factor."""
    groups = list(dict.fromkeys(study.groups.values()))
    return [
        Block([rows[name] for name, own in study.groups.items() if own == group and name in rows], group)
        for group in groups
    ]


def _interval_cell(found: Interval | None) -> Cell:
    return Cell("") if found is None else Cell(format_number(found.value), about=interval_text(found.low, found.high))


def know_table(study: Study) -> TextTable:
    """Scores of pooled features, factors down, networks and floors across."""
    every = {name: places[POOLED] for name, places in study.scores.items()} | study.floors
    rows = {
        factor: Row([Cell(factor), *(_interval_cell(found.get(factor)) for found in every.values())])
        for factor in study.groups
    }
    return TextTable([Column("", number=False), *map(Column, every)], _blocks(study, rows), "What pooled features know")


def stage_table(study: Study, network: str) -> TextTable:
    """Scores of each stage of one network."""
    places = study.scores[network]
    rows = {
        factor: Row(
            [
                Cell(factor),
                *(Cell(format_number(found[factor].value) if factor in found else "") for found in places.values()),
            ]
        )
        for factor in study.groups
    }
    return TextTable([Column("", number=False), *map(Column, places)], _blocks(study, rows), network)


def _difference_table(pair: tuple[str, str], found: Mapping[str, Difference], study: Study) -> TextTable:
    rows = {
        factor: Row(
            [
                Cell(factor),
                Cell(
                    signed(one.value), about=interval_text(one.low, one.high, signed), best=one.low > 0 or one.high < 0
                ),
            ]
        )
        for factor, one in found.items()
    }
    columns = [Column("", number=False), Column("difference")]
    return TextTable(columns, _blocks(study, rows), f"{pair[0]} less {pair[1]}")


def moved_table(study: Study) -> TextTable:
    """What each factor moves, features and pose, networks across."""
    changes = list(next(iter(study.moved.values())))
    columns = [Column("", number=False)]
    for name in study.moved:
        columns += [Column("features", name), Column("pose, degrees", name), Column("pose, ratio", name)]
    rows = []
    for change in changes:
        cells = [Cell(f"{change}, 5°" if change in TURNS else change)]
        for moved in study.moved.values():
            one = moved[change]
            cells += [_interval_cell(one.features), _interval_cell(one.pose_deg), _interval_cell(one.pose)]
        rows.append(Row(cells))
    return TextTable(columns, [Block(rows)], "What one factor moves")


def _has_shares(look: Look) -> bool:
    return any(places for angles in look.shares.values() for places in angles.values())


def shares_table(study: Study) -> TextTable:
    """Shares of maps at each place, the mean of the three angles, percent."""
    columns = [Column("", number=False), *(Column(place) for place in PLACES_OF_INTEREST)]
    blocks = []
    for name, look in study.looks.items():
        rows = []
        for method, angles in look.shares.items():
            cells = [Cell(method)]
            for place in PLACES_OF_INTEREST:
                found = [places[place] for places in angles.values() if place in places]
                share, area = (100 * float(np.mean(one or [np.nan])) for one in ([f[0].value for f in found],
                                                                               [f[1] for f in found]))  # fmt: skip
                cells.append(Cell(format_number(share, 1), about=(f"area {format_number(area, 1)}",) if found else ()))
            rows.append(Row(cells))
        blocks.append(Block(rows, name))
    return TextTable(columns, blocks, "Percent of the maps")


def _sanity_table(study: Study) -> TextTable:
    methods = list(dict.fromkeys(method for look in study.looks.values() for method in look.shuffled))
    rows = [
        Row([Cell(name), *(Cell(format_number(look.shuffled.get(method))) for method in methods)])
        for name, look in study.looks.items()
    ]
    return TextTable([Column("", number=False), *map(Column, methods)], [Block(rows)], "Likeness to shuffled weights")


def _dots(
    names: Sequence[str], rows: Mapping[str, Mapping[str, Interval]], title: str, label: str, highest: float
) -> Panel:
    """A factor a line, a network a mark with its interval."""
    figure, axes = new_panel(90 + 21 * len(names) + 15 * len(rows))
    axes.set_position((0.42, axes.get_position().y0, 0.55, axes.get_position().height))
    places = np.arange(len(names))[::-1]
    for number, (network, found) in enumerate(rows.items()):
        style = (
            model_style(number) | {"linestyle": "none"}
            if number < len(rows) - _floors(rows)
            else {"color": COLOURS["muted"], "marker": "|x"[number % 2], "linestyle": "none", "markersize": 6}
        )
        shift = 0.16 * ((len(rows) - 1) / 2 - number)
        for name, place in zip(names, places, strict=True):
            if name in found:
                one = found[name]
                axes.plot([one.low, one.high], [place + shift] * 2, color=style["color"], linewidth=1.1)
        there = [(found[name].value, place + shift) for name, place in zip(names, places, strict=True) if name in found]
        axes.plot(*zip(*there, strict=True), label=network, **style)
    axes.axvline(0, color=COLOURS["muted"], linewidth=0.9)
    axes.grid(True, axis="x", color=COLOURS["grid"], linewidth=0.8)
    axes.set_yticks(places, names)
    axes.set_ylim(-0.6 - 0.8 * len(rows), len(names) - 0.3)  # room for the legend
    lows = [one.low for found in rows.values() for one in found.values() if np.isfinite(one.low)]
    axes.set_xlim(max(_LOWEST, min([-0.05, *lows])), highest)
    axes.set_xlabel(label)
    axes.legend(loc="lower right", fontsize=9)
    return to_panel(figure, title)


_FLOOR_WORDS = ("random weights", "ImageNet weights")


def _floors(rows: Mapping[str, object]) -> int:
    return sum(name.startswith(_FLOOR_WORDS) for name in rows)


def _know_panels(study: Study) -> list[Panel]:
    every = {name: places[POOLED] for name, places in study.scores.items()} | study.floors
    first = [name for name, group in study.groups.items() if group in ("pose", "person")]
    others = [name for name in study.groups if name not in first]
    parts = (("Pose and person", first), ("Light, camera, surroundings", others))
    return [_dots(names, every, title, "score: 0 chance, 1 all", 1.03) for title, names in parts if names]


def _moved_panels(study: Study) -> list[Panel]:
    changes = [change for change in next(iter(study.moved.values())) if change not in TURNS]
    panels = []
    for title, kind in (("Features moved, over 5° of pose", "features"), ("Predicted pose moved, degrees", "pose_deg")):
        rows = {name: {c: getattr(moved[c], kind) for c in changes} for name, moved in study.moved.items()}
        highest = max(
            one.high if np.isfinite(one.high) else one.value for found in rows.values() for one in found.values()
        )
        label = "ratio" if kind == "features" else "degrees"
        panels.append(_dots(changes, rows, title, label, 1.05 * highest))
    return panels


def overlay(face: np.ndarray, heat: np.ndarray) -> np.ndarray:
    """(TILE, TILE, 3) uint8: a map (S, S) over a face (S, S, 3), which is grey."""
    grey = cv2.cvtColor(cv2.resize(face, (TILE, TILE), interpolation=cv2.INTER_CUBIC), cv2.COLOR_RGB2GRAY)
    smooth = cv2.GaussianBlur(heat.astype(np.float32), (0, 0), max(1.0, heat.shape[0] / 64))
    strong = cv2.resize(smooth, (TILE, TILE), interpolation=cv2.INTER_LINEAR)
    strong = np.clip(strong / max(float(np.quantile(strong, _STRONGEST)), 1e-12), 0, 1)
    colour = matplotlib.colormaps["inferno"](strong)[..., :3] * 255
    share = 0.25 + 0.6 * strong[..., None]
    mixed: np.ndarray = np.rint(grey[..., None] * 0.8 * (1 - share) + colour * share).clip(0, 255).astype(np.uint8)
    return mixed


def _tiles(name: str, look: Look) -> list[tuple[str, list[MapTile]]]:
    """By method, bins of yaw across and angles within."""
    methods = list(look.shares)
    return [
        (
            method,
            [
                MapTile(
                    bin_.bin.removeprefix("turned "),
                    angle,
                    f"{name}, {method}, {angle}, {bin_.bin}",
                    jpeg_uri(overlay(bin_.face, bin_.maps[method][place])),
                )
                for bin_ in look.bins
                for place, angle in enumerate(ANGLES)
            ],
        )
        for method in methods
    ]


def map_images(study: Study) -> dict[str, np.ndarray]:
    """RGB pictures by name: of each network and method the maps, bins of yaw down and angles across."""
    return {
        f"{name}_{method.replace(' ', '_')}": np.vstack(
            [np.hstack([overlay(bin_.face, bin_.maps[method][place]) for place in range(3)]) for bin_ in look.bins]
        )
        for name, look in study.looks.items()
        for method in look.shares
    }


def map_pictures(study: Study) -> dict[str, bytes]:
    """The same as PNG files."""
    return {
        name: cv2.imencode(".png", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))[1].tobytes()
        for name, picture in map_images(study).items()
    }
