"""How a folder's annotations are read once instead of at every start: the index.

The index is an Arrow file with what `rankpose.data.record.annotate` gives. It lies in the data set's folder as
`.rankpose-<data set>.arrow`, or in the user's cache where that folder is read-only (`RANKPOSE_CACHE` names another). It
is made again when any image or annotation was added, removed or changed (name, size, time of change).
"""

import contextlib
import hashlib
import io
import logging
import os
import re
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

import platformdirs
import pyarrow as pa
from filelock import FileLock
from tqdm import tqdm

from rankpose.data import pool
from rankpose.data.columns import open_mapped
from rankpose.data.record import Layout, Records, annotate, records_of
from rankpose.files import write_whole

log = logging.getLogger(__name__)

_VERSION = 2
"""To be raised when the same files give another table."""
_CHUNK = 1024
_WORTH_PROCESSES = 8_000
"""Below so many images, starting processes takes longer than reading."""
_KEY = b"rankpose_index"
_IMAGES, _ANNOTATION = (".jpg", ".png"), ".mat"


def survey(root: Path, folders: Sequence[str]) -> tuple[list[str], str]:
    """What a data set's folders hold, without opening a file.

    An annotation without an image counts as a sample, so that its absence is told.

    Args:
        root: the data set's folder.
        folders: those of its folders that hold samples; "" is the folder itself.

    Returns:
        the sorted names of samples (paths below `root`), and a digest that changes when any of their files does.
    """
    digest, names = hashlib.sha256(), []
    for folder in folders:
        samples: dict[str, str] = {}
        found = []
        with os.scandir(root / folder) as entries:
            for entry in entries:
                name = entry.name
                suffix = name[-4:]
                if suffix == _ANNOTATION:
                    samples.setdefault(name[:-4], f"{name[:-4]}.jpg")
                elif suffix in _IMAGES:
                    samples[name[:-4]] = name
                else:
                    continue
                status = entry.stat()
                found.append(f"{name}/{status.st_size}/{status.st_mtime_ns}")
        found.sort()
        digest.update("\n".join([folder, *found, ""]).encode())
        prefix = f"{folder}/" if folder else ""
        names += [f"{prefix}{name}" for name in sorted(samples.values())]
    return names, digest.hexdigest()


def read_indexed(
    layout: Layout,
    root: Path,
    names: Sequence[str],
    digest: str,
    max_angle: float | None,
    strict: bool,
    workers: int | None = None,
) -> Records:
    """The records of a folder, through its index.

    Args:
        layout: what the files mean.
        root: the data set's folder.
        names, digest: as `survey` gives them.
        max_angle, strict: see `rankpose.data.record.records_of`.
        workers: processes that read annotations where there is no index yet; None takes one a core.

    Raises:
        DatasetError: a file cannot be used and `strict` is set, or none can be used.
    """
    key = f"{_VERSION} {layout.dataset} {digest}".encode()
    for path in places(root, layout.dataset):
        table = _open(path, key)
        if table is not None:
            return records_of(layout.dataset, root, table, max_angle, strict, path)
    table = None
    for path in places(root, layout.dataset):
        if not _may_write(path.parent):
            continue
        # where this one cannot be written the next is tried; a file that cannot be read fails again below, aloud
        with contextlib.suppress(OSError), _only_one(path):
            found = _open(path, key)  # another process may have made it meanwhile
            if found is None:
                table = _annotate_all(layout, root, names, workers) if table is None else table
                write_whole(path, _as_file(table, key))
                found = _open(path, key)
            if found is not None:
                return records_of(layout.dataset, root, found, max_angle, strict, path)
    log.warning("%s: no index could be kept, neither there nor in the user's cache: set RANKPOSE_CACHE.", root)
    table = _annotate_all(layout, root, names, workers) if table is None else table
    return records_of(layout.dataset, root, table, max_angle, strict)


def places(root: Path, dataset: str) -> tuple[Path, Path]:
    """Where the index of a folder is looked for: in the folder, then in the user's cache."""
    name = re.sub(r"[^a-z0-9]+", "-", dataset.lower()).strip("-")
    cache = Path(os.environ.get("RANKPOSE_CACHE") or platformdirs.user_cache_path("rankpose"))
    where = hashlib.sha256(str(root.resolve()).encode()).hexdigest()[:16]
    return root / f".rankpose-{name}.arrow", cache / f"{name}-{where}.arrow"


def _open(path: Path, key: bytes) -> pa.Table | None:
    """The index, where it is there, whole and of these files."""
    try:
        table = open_mapped(path)
    except (OSError, pa.ArrowInvalid):
        return None
    return table if (table.schema.metadata or {}).get(_KEY) == key else None


def _may_write(folder: Path) -> bool:
    """Whether files may be made in a folder, or in the one that it would be made in.

    A folder that nobody may write to is meant to stay as it is, even if a superuser could.
    """
    while not folder.exists():
        folder = folder.parent
    return bool(folder.stat().st_mode & 0o222) and os.access(folder, os.W_OK)


@contextlib.contextmanager
def _only_one(path: Path) -> Iterator[None]:
    """One process at a time makes an index; the lock is in nobody's way afterwards."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = path.with_suffix(".lock")
    with FileLock(lock):
        yield
    lock.unlink(missing_ok=True)


def _annotate_all(layout: Layout, root: Path, names: Sequence[str], workers: int | None) -> pa.Table:
    if len(names) < _WORTH_PROCESSES:
        return annotate(layout, root, names)
    parts = [names[first : first + _CHUNK] for first in range(0, len(names), _CHUNK)]
    with (
        pool.workers(workers, len(parts)) as mapped,
        tqdm(total=len(names), unit="image", desc=f"reading {layout.dataset}'s annotations once") as bar,
    ):
        tables = []
        for table in mapped(partial(annotate, layout, root), parts):
            tables.append(table)
            bar.update(len(table))
    return pa.concat_tables(tables, promote_options="default")


def _as_file(table: pa.Table, key: bytes) -> bytes:
    """One record batch, so that columns of numbers are contiguous."""
    (batch,) = table.combine_chunks().to_batches()
    buffer = io.BytesIO()
    with pa.ipc.new_file(buffer, batch.schema.with_metadata({_KEY: key})) as writer:
        writer.write_batch(batch.replace_schema_metadata({_KEY: key}))
    return buffer.getvalue()
