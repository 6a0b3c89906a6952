"""A table of predictions made elsewhere: no image is read, the answers are looked up."""

import csv
import logging
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import torch
from torch import Tensor

from rankpose.data.record import Records
from rankpose.errors import DatasetError
from rankpose.pose import ANGLES

log = logging.getLogger(__name__)

COLUMNS = ("image", *ANGLES)


class TablePredictor:
    """Predictions in a CSV file.

    Its first line names the columns: `image`, `yaw`, `pitch` and `roll` (degrees, the project's convention); others
    are ignored. `image` is the image's path, whole names only, as much of its end as makes it unique, with or without
    its extension: `image00002.jpg`, `image00002`, `01/frame_00003_rgb.png` or a path from further up. Backslashes
    separate folders as slashes do. An image whose three angles are empty (or `nan`) was not answered: its face was not
    found, for example.

    Args:
        table: the CSV file.
        key: that names it.

    Raises:
        DatasetError: no such file, no CSV, a column that is missing, or an angle that is no number: names file and
            line.
    """

    def __init__(self, table: str | Path, key: str = "predictor.table") -> None:
        self.file = Path(table)
        if not self.file.is_file():
            raise DatasetError(f"{key}={self.file}: no such file.")
        self.images: list[str] = []
        self.lines: list[int] = []
        """Where each row ends in the file."""
        poses = []
        try:
            with self.file.open(newline="", encoding="utf-8-sig") as text:
                rows = csv.DictReader(text, skipinitialspace=True, strict=True)
                self._check_columns(rows.fieldnames or [])
                for row in rows:
                    self.images.append((row["image"] or "").strip().replace("\\", "/"))
                    self.lines.append(rows.line_num)
                    poses.append(self._read(row))
        except (csv.Error, UnicodeDecodeError) as error:
            raise DatasetError(f"{self.file}: cannot be read as CSV ({error}).") from error
        self.pose = torch.tensor(poses, dtype=torch.float32).reshape(-1, 3)
        """(N, 3) degrees."""
        self.keys = {"unit": f"the unit of {self.file}"} | {
            name: f"the column {name} of {self.file}" for name in ANGLES
        }

    def predict(self, records: Records) -> Tensor:
        """The predictions for a set of records, in their order.

        Rows of images that the set left out (`records.rejects`) are passed over; so are, with a warning, those of
        images that it has not.

        Returns:
            (N, 3) yaw, pitch, roll in degrees, float32; NaN where an image has no row, or one without angles.

        Raises:
            DatasetError: an image with two rows, a row of two images, or no row of any image: names file, line, image.
        """
        places = _Endings(np.asarray(records.names))
        bare = _Endings(PurePosixPath(name).with_suffix("") for name in np.asarray(records.names))
        left_out = _Endings(PurePosixPath(reject.file).with_suffix("") for reject in records.rejects)
        row_of: dict[int, int] = {}
        strangers = []
        for row, name in enumerate(self.images):
            found = places.find(name) or bare.find(name)
            if not found:
                if not (left_out.find(name) or left_out.find(PurePosixPath(name).with_suffix(""))):
                    strangers.append(row)
                continue
            if len(found) > 1:
                first, second = (records.names[place] for place in found[:2])
                raise DatasetError(f"{self._line(row)}: is both {first} and {second}; give more of the path.")
            (place,) = found
            if place in row_of:
                raise DatasetError(f"{self._line(row)}: this image is in line {self.lines[row_of[place]]} already.")
            row_of[place] = row
        if not row_of:
            first = f" The first: {self._line(strangers[0])}." if strangers else ""
            raise DatasetError(
                f"{self.file}: none of its {len(self.images):,} rows is of an image that {records.dataset} has under "
                f"this protocol: correct names or folder.{first}"
            )
        if strangers:
            log.warning(
                "%s: %s has no such image under this protocol; so it is with %s of the table's %s rows",
                self._line(strangers[0]),
                records.dataset,
                f"{len(strangers):,}",
                f"{len(self.images):,}",
            )
        pose = torch.full((len(records), 3), math.nan)
        pose[list(row_of)] = self.pose[list(row_of.values())]
        return pose

    def _check_columns(self, names: Sequence[str]) -> None:
        missing = next((name for name in COLUMNS if name not in names), None)
        if missing is not None:
            raise DatasetError(
                f"{self.file}: has no column {missing}; its first line must name {', '.join(COLUMNS)}, it is "
                f"{','.join(names) or 'empty'}."
            )

    def _read(self, row: Mapping[str | None, Any]) -> list[float]:
        """The angles of the row that was read last."""
        if not self.images[-1]:
            raise DatasetError(f"{self._line(-1)}: names no image.")
        if None in row:
            raise DatasetError(f"{self._line(-1)}: has more fields than the first line.")
        angles: list[float] = []
        if all((row[name] or "").strip().lower() in ("", "nan") for name in ANGLES):
            return [math.nan] * len(ANGLES)
        for name in ANGLES:
            try:
                angles.append(float(row[name] or ""))
            except ValueError:
                angles.append(math.nan)
            if not math.isfinite(angles[-1]):
                raise DatasetError(f"{self._line(-1)}: {name}={row[name] or '(empty)'} is no angle.")
        return angles

    def _line(self, row: int) -> str:
        return f"{self.file}, line {self.lines[row]}, {self.images[row] or '(no name)'}"


class _Endings:
    """Finds paths by how they end."""

    def __init__(self, paths: Iterable[str | PurePosixPath]) -> None:
        self.parts = [PurePosixPath(path).parts for path in paths]
        self.by_count: dict[int, dict[tuple[str, ...], list[int]]] = {}

    def find(self, ending: str | PurePosixPath) -> list[int]:
        """The places of the paths that end as `ending` does, or that are its end."""
        wanted = PurePosixPath(ending).parts
        found = self._ending(wanted)
        for count in range(len(wanted) - 1, 0, -1):
            if found:
                break
            found = [place for place in self._ending(wanted[-count:]) if len(self.parts[place]) == count]
        return found

    def _ending(self, wanted: tuple[str, ...]) -> list[int]:
        """The places of the paths whose last names are these."""
        count = len(wanted)
        if count not in self.by_count:
            table = self.by_count[count] = {}
            for place, parts in enumerate(self.parts):
                if len(parts) >= count:
                    table.setdefault(parts[len(parts) - count :], []).append(place)
        return self.by_count[count].get(wanted, [])
