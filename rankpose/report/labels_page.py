"""What do labels that models gave look like? Their poses, and faces that were agreed on, disputed and left out."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.ticker import MaxNLocator

from rankpose.data.crop import face_points, read_image
from rankpose.data.crop_rules import RankPoseCrop
from rankpose.data.record import Records
from rankpose.errors import DatasetError
from rankpose.pose import ANGLES
from rankpose.predictors.teachers import Agreement, counts
from rankpose.report.heads import NO_PICTURE, degrees, draw_axes, jpeg_uri
from rankpose.report.panels import COLOURS, Panel, new_panel, to_panel
from rankpose.report.templates import render
from rankpose.report.text_table import table_of

SHOWN = 18
"""Faces of a gallery."""
_TILE = 224


@dataclass(frozen=True)
class Face:
    """A face with what was said of it."""

    name: str
    uri: str
    about: str
    """How far apart the answers are, or why the face was left out."""
    rows: list[list[str]]
    """angle, label, and what each teacher says, as text in degrees."""


def labels_page(labels: pd.DataFrame, records: Records, teachers: Sequence[str], agreement: Agreement) -> str:
    """The page as text.

    Args:
        labels: as `Agreement.labels` gives them.
        records: the faces.
        teachers: their names.
        agreement: what was asked of the answers.
    """
    found = counts(labels)
    kept = labels[labels["rejected"] == ""].sort_values("spread", kind="stable")
    left_out = labels[labels["rejected"] != ""].sort_values("spread", kind="stable")
    rows = [{"faces": reason or "with a label", "count": count} for reason, count in found.items()]
    agreed, disputed = kept.index[: len(kept) // 2], kept.index[len(kept) // 2 :][::-1]
    galleries = [
        ("Agreed on", "From the half with the smaller spread, evenly over it.", _evenly(agreed)),
        ("Least agreed on", "The labels with the largest spread, which weigh least.", list(disputed[:SHOWN])),
        ("Left out", "Evenly over all that have no label.", _evenly(left_out.index)),
    ]
    return render(
        "labels.html.jinja",
        title=f"Labels of {records.dataset}",
        teachers=list(teachers),
        agreement=agreement,
        table=table_of(pd.DataFrame(rows), "Faces"),
        panels=[*(_histogram(kept, angle) for angle in ANGLES), _spread(labels, agreement)],
        galleries=[
            (title, about, [_face(labels.loc[row], row, records, teachers) for row in chosen])
            for title, about, chosen in galleries
            if len(chosen)
        ],
    )


def _evenly(rows: pd.Index) -> list[Any]:
    return (
        [rows[place] for place in np.unique(np.linspace(0, len(rows) - 1, SHOWN).round().astype(int))]
        if len(rows)
        else []
    )


def _face(row: Any, place: int, records: Records, teachers: Sequence[str]) -> Face:
    record = records[place]
    try:
        picture = RankPoseCrop()(read_image(record.image), face_points(record), _TILE)
    except DatasetError:
        picture = np.full((_TILE, _TILE, 3), NO_PICTURE, np.uint8)
    said = [[angle, degrees(row[angle]), *(degrees(row[f"{one}_{angle}"]) for one in teachers)] for angle in ANGLES]
    about = row["rejected"] or f"{degrees(row['spread'])}° apart"
    return Face(str(row["image"]), jpeg_uri(draw_axes(picture, row[list(ANGLES)].to_numpy(float))), about, said)


def _histogram(kept: pd.DataFrame, angle: str) -> Panel:
    figure, axes = new_panel()
    values = kept[angle].to_numpy(float)
    axes.hist(
        values, bins=np.arange(np.floor(values.min() / 5) * 5, values.max() + 5, 5).tolist(), color=COLOURS[angle]
    )
    axes.set_xlabel(f"{angle}, degrees")
    axes.set_ylabel("faces")
    axes.yaxis.set_major_locator(MaxNLocator(4, integer=True))
    return to_panel(figure, angle.capitalize())


def _spread(labels: pd.DataFrame, agreement: Agreement) -> Panel:
    figure, axes = new_panel()
    apart = labels["spread"].dropna().clip(upper=2 * agreement.agree_deg)
    axes.hist(apart, bins=np.linspace(0, 2 * agreement.agree_deg, 41).tolist(), color=COLOURS["mean"])
    axes.axvline(agreement.agree_deg, color=COLOURS["muted"], linewidth=1.2)
    axes.set_xlabel("largest difference of two answers, degrees")
    axes.set_ylabel("faces")
    return to_panel(figure, "How far answers are apart")
