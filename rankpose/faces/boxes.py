"""No detector: boxes that somebody else found, in a table."""

import csv
import math
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from rankpose.errors import DatasetError
from rankpose.faces import Box, Face, FaceDetector

COLUMNS = ("image", "x", "y", "w", "h")


class TableBoxes(FaceDetector):
    """The boxes of a table, of pictures by their names.

    Args:
        table: a CSV file with the columns `image,x,y,w,h`: the left and top edge, width and height in pixels. A picture
            has a line for each of its faces. Other columns are passed over.
        side, lower: see `FaceDetector`; as they stand, the boxes are those around 68 landmarks.

    Raises:
        DatasetError: no such file, no CSV, a column that is missing or a box that is none: names file and line.
    """

    def __init__(self, table: str | Path, side: float = 1.0, lower: float = 0.0) -> None:
        super().__init__(side, lower)
        self.table = Path(table)
        self.boxes = read_boxes(self.table)

    def __call__(self, image: np.ndarray) -> list[Face]:
        raise TypeError("boxes of a table are told by a picture's name: see of()")

    def of(self, name: str) -> list[Face]:
        """The faces of the picture of this name, in the table's order, with score 1."""
        return [Face(box, 1.0) for box in self.boxes.get(name, [])]


def read_boxes(table: Path) -> Mapping[str, list[Box]]:
    """The boxes of a table by the picture's name; see `TableBoxes`."""
    if not table.is_file():
        raise DatasetError(f"{table}: no such file.")
    boxes: dict[str, list[Box]] = {}
    try:
        with table.open(newline="", encoding="utf-8-sig") as text:
            rows = csv.DictReader(text, skipinitialspace=True, strict=True)
            lacking = [name for name in COLUMNS if name not in (rows.fieldnames or [])]
            if lacking:
                raise DatasetError(
                    f"{table}: has no column {', '.join(lacking)}; a table of boxes has {','.join(COLUMNS)}."
                )
            for row in rows:
                x, y, w, h = (_number(row[name], name, f"{table}, line {rows.line_num}") for name in COLUMNS[1:])
                if not (row["image"] or "").strip() or w <= 0 or h <= 0:
                    raise DatasetError(f"{table}, line {rows.line_num}: must have an image, and w and h above 0.")
                boxes.setdefault(row["image"].strip(), []).append((x, y, x + w, y + h))
    except (csv.Error, UnicodeDecodeError, OSError) as error:
        raise DatasetError(f"{table}: cannot be read as CSV ({error}).") from error
    if not boxes:
        raise DatasetError(f"{table}: has no lines.")
    return boxes


def _number(text: str | None, name: str, place: str) -> float:
    try:
        number = float(text or "")
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise DatasetError(f"{place}: {name}={text}: must be a number.")
    return number
