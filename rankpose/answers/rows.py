"""The table of poses: one row a head, and one without a pose where a picture or a frame has none."""

import csv
import io
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import roma
import torch

from rankpose.errors import ConfigError
from rankpose.files import write_whole
from rankpose.pose import ANGLES
from rankpose.predictors.load import Head

COLUMNS: dict[str, type] = {
    "file": str,  # as it was given, or its path below the folder that was
    "frame": int,  # of a film, from 0
    "time": float,  # of a film, seconds from its start
    "person": int,  # from 1: of a film the same person all along, of a picture the surest face first
    **dict.fromkeys(("left", "top", "right", "bottom"), float),  # of the face as the detector draws it, pixels
    **dict.fromkeys(ANGLES, float),  # degrees
    **dict.fromkeys(("qx", "qy", "qz", "qw"), float),  # the same rotation, in a frame x right, y up, z to the camera
    "expected_error": float,  # degrees that the model thinks the pose to be off; empty of one that does not say
    "score": float,  # of the detector, 0 to 1
}
"""What a row says; all but the file may be empty."""
FORMATS = ("csv", "parquet", "jsonl")
_DECIMALS = {"time": 6, "score": 4, **dict.fromkeys(("qx", "qy", "qz", "qw"), 7)}

Row = dict[str, Any]


def check_format(name: str) -> str:
    """Raises `ConfigError` where there is no such format."""
    if name not in FORMATS:
        raise ConfigError(f"format={name}: must be one of {', '.join(FORMATS)}.")
    return name


def row_of(file: str, head: Head | None, person: int | None, frame: int | None, time: float | None) -> Row:
    """One row; without a head it has no pose."""
    row: Row = dict.fromkeys(COLUMNS)
    row |= {"file": file, "frame": frame, "time": _rounded("time", time), "person": person}
    if head is not None:
        x, y, z, w = roma.rotmat_to_unitquat(torch.from_numpy(np.asarray(head.rotation))).tolist()
        numbers: dict[str, float | None] = dict(zip(("left", "top", "right", "bottom"), head.box, strict=True))
        numbers |= {"yaw": head.yaw, "pitch": head.pitch, "roll": head.roll}
        numbers |= {"expected_error": head.expected_error, "score": head.score}
        # of the two quaternions of a rotation the one with w >= 0
        sign = 1 if w >= 0 else -1
        numbers |= {"qx": sign * x, "qy": sign * y, "qz": sign * z, "qw": sign * w}
        row |= {name: _rounded(name, value) for name, value in numbers.items()}
    return row


def _rounded(name: str, value: float | None) -> float | None:
    return None if value is None else round(value, _DECIMALS.get(name, 3))


def write_rows(path: Path, rows: Sequence[Row]) -> None:
    """Writes the table, whole; its ending says in which of `FORMATS`."""
    writers: dict[str, Callable[[Sequence[Row]], str | memoryview]]
    writers = {".csv": _csv, ".jsonl": _jsonl, ".parquet": _parquet}
    write_whole(path, writers[path.suffix](rows))


def _csv(rows: Sequence[Row]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def _jsonl(rows: Sequence[Row]) -> str:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def _parquet(rows: Sequence[Row]) -> memoryview:
    import pyarrow as pa
    from pyarrow import parquet

    kinds = {str: pa.string(), int: pa.int64(), float: pa.float64()}
    schema = pa.schema([(name, kinds[kind]) for name, kind in COLUMNS.items()])
    sink = pa.BufferOutputStream()
    parquet.write_table(pa.Table.from_pylist(list(rows), schema=schema), sink)
    return memoryview(sink.getvalue())
