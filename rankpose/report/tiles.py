"""How is one head shown? The crop with true and predicted axes, and its angles in words."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from rankpose.pose import ANGLES
from rankpose.report.pictures import Image, crop_from_file, gallery_tile, jpeg_uri
from rankpose.report.tables import format_number, wrapped_errors_deg

NO_PICTURE = 128
"""The grey of an image that has gone."""


@dataclass(frozen=True)
class Tile:
    """One image of a gallery."""

    name: str
    uri: str | None
    """None: the image file is gone."""
    rows: list[tuple[str, str, str, str]]
    """angle, true, predicted, absolute error; as text, degrees."""
    geodesic: str


def head_tile(row: dict[Any, Any], folder: Path, size: int) -> Tile:
    """A row of a table of predictions as a tile.

    Args:
        row: the columns `tables.PREDICTION_COLUMNS`.
        folder: where an image whose path is relative is looked for, after the working directory.
        size: of the picture, pixels.
    """
    true, predicted = poses(row)
    drawn = head_picture(row, size, folder)
    errors = np.abs(wrapped_errors_deg(predicted, true))
    rows = [(angle, degrees(true[k]), degrees(predicted[k]), degrees(errors[k])) for k, angle in enumerate(ANGLES)]
    return Tile(str(row["name"]), None if drawn is None else jpeg_uri(drawn), rows, degrees(row["geodesic"]))


def head_picture(row: dict[Any, Any], size: int, folder: Path = Path()) -> Image | None:
    """What the network saw with true and predicted axes, (size, size, 3); None where the image has gone."""
    reference = str(row["image"])
    crop = None
    for place in (reference, str(folder / reference)):
        if crop is None:
            crop = crop_from_file(place, row["crop_x"], row["crop_y"], row["crop_side"], size)
    return None if crop is None else gallery_tile(crop, *poses(row))


def head_or_grey(row: dict[Any, Any], size: int) -> Image:
    """As `head_picture`, and a grey square where the image has gone."""
    drawn = head_picture(row, size)
    return np.full((size, size, 3), NO_PICTURE, np.uint8) if drawn is None else drawn


def poses(row: dict[Any, Any]) -> tuple[np.ndarray, np.ndarray]:
    """True and predicted pose, each (3,) degrees."""
    true, predicted = ([row[f"{angle}{end}"] for angle in ANGLES] for end in ("", "_pred"))
    return np.array(true, dtype=float), np.array(predicted, dtype=float)


def degrees(value: float) -> str:
    """An angle for reading."""
    return format_number(float(value), 1)
