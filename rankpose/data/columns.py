"""Columns that processes share: where a set's annotations and texts are kept when they are too many to copy.

A `MappedColumn` reads an Arrow file through a memory map: the pages are the system's, once for all processes whether
they were forked or started afresh, and nothing is read before it is asked for.
"""

import functools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from rankpose.errors import DatasetError


class MappedColumn:
    """A column of an Arrow file, read row by row; `column[rows]` is again a column, nothing is copied.

    An element is a number, a text, bytes (a zero-copy buffer) or, of a fixed-size list, an array.

    Args:
        path: an Arrow IPC file. It must not change while the column is in use.
        name: of the column.
        rows: which rows, by default all.

    Raises:
        DatasetError: the file changed since the column was made (told when a worker opens it).
    """

    def __init__(self, path: str | Path, name: str, rows: np.ndarray | None = None) -> None:
        self._path, self._name = str(path), name
        self._stamp = _stamp(self._path)
        self._attach()
        self._rows = np.arange(self._starts[-1]) if rows is None else rows

    def _attach(self) -> None:
        self._chunks, self._starts = _open_column(self._path, self._stamp, self._name)

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, int | np.integer):
            row = self._rows[index]
            chunk = int(np.searchsorted(self._starts, row, side="right")) - 1
            value = self._chunks[chunk][int(row - self._starts[chunk])]
            if not isinstance(value, pa.Scalar):
                return value
            return value.as_buffer() if pa.types.is_binary(value.type) else value.as_py()
        part = object.__new__(MappedColumn)
        part.__dict__ = self.__dict__ | {"_rows": self._rows[index]}
        return part

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.array([self[i] for i in range(len(self))], dtype=dtype)

    def __getstate__(self) -> dict[str, Any]:
        return {key: value for key, value in self.__dict__.items() if key not in ("_chunks", "_starts")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__ = state
        if _stamp(self._path) != self._stamp:
            raise DatasetError(f"{self._path} was changed while it was in use: start again.")
        self._attach()


class Prefixed:
    """Texts that begin alike, such as the paths of a folder's files; put together when asked for."""

    def __init__(self, prefix: str, tails: "np.ndarray | MappedColumn | Prefixed") -> None:
        self._prefix, self._tails = prefix, tails

    def __len__(self) -> int:
        return len(self._tails)

    def __getitem__(self, index: Any) -> Any:
        tail = self._tails[index]
        return f"{self._prefix}{tail}" if isinstance(index, int | np.integer) else Prefixed(self._prefix, tail)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.array([self[i] for i in range(len(self))], dtype=dtype)


def fixed_lists(values: np.ndarray) -> pa.Array:
    """(N, a, b, ...) numbers as an Arrow array of N nested fixed-size lists."""
    array = pa.array(np.ascontiguousarray(values).reshape(-1))
    for size in reversed(values.shape[1:]):
        array = pa.FixedSizeListArray.from_arrays(array, size)
    return array


def as_numpy(array: pa.Array) -> np.ndarray:
    """Numbers, or nested fixed-size lists of numbers, without nulls, as (N, a, b, ...) over the same memory."""
    shape = [len(array)]
    while pa.types.is_fixed_size_list(array.type):
        shape.append(array.type.list_size)
        array = array.flatten()
    numbers: np.ndarray = array.to_numpy(zero_copy_only=True)
    return numbers.reshape(shape)


def open_mapped(path: str | Path) -> pa.Table:
    """The table of an Arrow IPC file, over a memory map.

    Raises:
        OSError: the file cannot be opened.
        pyarrow.ArrowInvalid: it is no Arrow file, or cut off.
    """
    return _open_table(str(path), _stamp(str(path)))


def _stamp(path: str) -> tuple[int, int, int]:
    status = Path(path).stat()
    return status.st_ino, status.st_size, status.st_mtime_ns


@functools.lru_cache(maxsize=8)
def _open_table(path: str, stamp: tuple[int, int, int]) -> pa.Table:
    return pa.ipc.open_file(pa.memory_map(path)).read_all()


@functools.lru_cache(maxsize=64)
def _open_column(path: str, stamp: tuple[int, int, int], name: str) -> tuple[Sequence[Any], np.ndarray]:
    chunks = [chunk for chunk in _open_table(path, stamp).column(name).chunks if len(chunk)]
    starts = np.cumsum([0, *(len(chunk) for chunk in chunks)])
    numbers = not chunks or not (pa.types.is_string(chunks[0].type) or pa.types.is_binary(chunks[0].type))
    return ([as_numpy(chunk) for chunk in chunks] if numbers else chunks), starts
