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
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import platformdirs
import pyarrow as pa
from filelock import FileLock
from tqdm import tqdm

from rankpose.data import pool
from rankpose.data.columns import open_mapped
from rankpose.data.images import size_and_time
from rankpose.data.readers.mat_files import SUFFIXES
from rankpose.data.record import Layout, Records, annotate, records_of
from rankpose.errors import DatasetError
from rankpose.files import write_whole

log = logging.getLogger(__name__)

_VERSION = 3
"""To be raised when the same files give another table."""
_CHUNK = 1024
_WORTH_PROCESSES = 8_000
"""Below so many images, starting processes takes longer than reading."""
_KEY = b"rankpose_index"
_IMAGES = (".jpg", ".jpeg", ".png")
"""In small letters or capitals."""


class Survey(NamedTuple):
    """What a data set's folders hold, found without opening a file."""

    names: list[str]
    """Of samples, in order: paths of their images below the data set's folder."""
    refused: dict[str, str]
    """Those that are no use whatever their files hold, and why."""
    digest: str
    """Changes when any of their files does."""


def entries(folder: Path) -> list[os.DirEntry[str]]:
    """What a folder holds, hidden files left out (as `._image00002.jpg`, which macOS leaves on other disks).

    Raises:
        DatasetError: it cannot be listed.
    """
    try:
        with os.scandir(folder) as found:
            return [entry for entry in found if not entry.name.startswith(".")]
    except OSError as error:
        raise DatasetError(f"{folder}: cannot be listed ({error.strerror}).") from error


def survey(root: Path, folders: Sequence[str]) -> Survey:
    """Finds a data set's samples.

    An annotation without an image counts as a sample, so that its absence is told.

    Args:
        root: the data set's folder.
        folders: those of its folders that hold samples; "" is the folder itself.

    Raises:
        DatasetError: a folder cannot be listed.
    """
    digest, names, refused = hashlib.sha256(), [], {}
    for folder in folders:
        images: dict[str, list[str]] = {}
        annotations, found, below = [], [], []
        for entry in entries(root / folder):
            stem, dot, suffix = entry.name.rpartition(".")
            suffix = dot + suffix
            if suffix.lower() in _IMAGES:
                images.setdefault(stem, []).append(entry.name)
            elif suffix in SUFFIXES:
                images.setdefault(stem, [])
                annotations.append(stem)
            else:
                continue
            found.append(f"{entry.name}/{size_and_time(entry)}")
        digest.update(os.fsencode("\n".join([folder, *sorted(found), ""])))
        doubled = {stem for stem, count in Counter(annotations).items() if count > 1}
        for stem in images:
            for image in images[stem] or [f"{stem}.jpg"]:
                name = os.path.join(folder, image)
                shown = name.encode(errors="backslashreplace").decode()
                below.append(shown)
                if shown != name:
                    refused[shown] = "with a name outside the locale's encoding"
                elif len(images[stem]) > 1:
                    refused[name] = "with another image of the same name beside it"
                elif stem in doubled:
                    refused[name] = "with two .mat annotations"
        names += sorted(below)
    return Survey(names, refused, digest.hexdigest())


def read_indexed(
    layout: Layout,
    root: Path,
    found: Survey,
    max_angle: float | None,
    strict: bool,
    workers: int | None = None,
) -> Records:
    """The records of a folder, through its index.

    Args:
        layout: what the files mean.
        root: the data set's folder.
        found: as `survey` gives it.
        max_angle, strict: see `rankpose.data.record.records_of`.
        workers: processes that read annotations where there is no index yet; None takes one a core.

    Raises:
        DatasetError: a file cannot be used and `strict` is set, or none can be used.
    """
    key = f"{_VERSION} {layout.dataset} {found.digest}".encode()
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
            kept = _open(path, key)  # another process may have made it meanwhile
            if kept is None:
                table = _annotate_all(layout, root, found, workers) if table is None else table
                write_whole(path, _as_file(table, key))
                kept = _open(path, key)
            if kept is not None:
                return records_of(layout.dataset, root, kept, max_angle, strict, path)
    log.warning("%s: no index could be kept, neither there nor in the user's cache: set RANKPOSE_CACHE.", root)
    table = _annotate_all(layout, root, found, workers) if table is None else table
    return records_of(layout.dataset, root, table, max_angle, strict)


def places(root: Path, dataset: str) -> tuple[Path, Path]:
    """Where the index of a folder is looked for: in the folder, then in the user's cache."""
    name = re.sub(r"[^a-z0-9]+", "-", dataset.lower()).strip("-")
    cache = Path(os.environ.get("RANKPOSE_CACHE") or platformdirs.user_cache_path("rankpose"))
    where = hashlib.sha256(os.fsencode(root.resolve())).hexdigest()[:16]
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


def _annotate_all(layout: Layout, root: Path, found: Survey, workers: int | None) -> pa.Table:
    names, work = found.names, partial(annotate, layout, root, refused=found.refused)
    if len(names) < _WORTH_PROCESSES:
        return work(names)
    parts = [names[first : first + _CHUNK] for first in range(0, len(names), _CHUNK)]
    with (
        pool.workers(workers, len(parts)) as mapped,
        tqdm(total=len(names), unit="image", desc=f"reading {layout.dataset}'s annotations once") as bar,
    ):
        tables = []
        for table in mapped(work, parts):
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
