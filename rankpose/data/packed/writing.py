"""How a data set becomes one packed file (`rankpose.data.packed.reading`): in shards, in parallel, whole or not at all.

Shards lie in `FILE.parts` until the file is whole; a run that was killed goes on with those that are missing. The file
appears under its name by a rename.
"""

import csv
import hashlib
import io
import json
import logging
import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from filelock import FileLock
from tqdm import tqdm

from rankpose.data import pool
from rankpose.data.columns import fixed_lists, open_mapped
from rankpose.data.crop import face_points, reach, square_matrix, warp_image, warp_points
from rankpose.data.images import decode, read_file, size_and_time
from rankpose.data.packed import reading as store
from rankpose.data.packed.reading import PackedSquare, Packing
from rankpose.data.record import BadFile, Records, Reject, Texts
from rankpose.errors import DatasetError
from rankpose.files import NO_ROOM, no_room_for, write_whole
from rankpose.pose import ANGLES, euler_to_rotmat

log = logging.getLogger(__name__)

SHARD = 512
FACTORS = "factors.parquet"
"""In a folder of the embedded set: what was drawn for each image."""


@dataclass(frozen=True)
class _Job:
    """What every shard is made by; goes to the worker processes."""

    root: Path
    parts: Path
    crop: PackedSquare
    strict: bool
    factors: pa.DataType | None


def prepare(
    records: Records,
    root: str | Path,
    out: str | Path,
    reader: Callable[..., Records],
    max_angle: float | None,
    crop: PackedSquare | None = None,
    strict: bool = False,
    workers: int | None = None,
    shard: int = SHARD,
) -> Packing:
    """Writes the packed file of a set; returns what it says of itself.

    A file that is already there, of the same sources and settings, stays as it is. Several processes may call this at
    once: one writes, the others wait. Beside the file, `.rejects.csv` names every source that was left out, and why.

    Args:
        records: the set as read from its folder.
        root: that folder.
        out: the file to write, ending with `.arrow`.
        reader: what read it, with its settings.
        max_angle: the limit that it was read with.
        crop: which square is packed.
        strict: stop at the first image that cannot be decoded.
        workers: processes; None takes one a core.
        shard: images of a part: what each process of a killed run does over again.

    Raises:
        DatasetError: the name does not end with `.arrow`, or is taken by something else; the disk is full; an image
            cannot be decoded (strict), or none can.
    """
    root, out, crop = Path(root), Path(out), crop or PackedSquare()
    if out.suffix != ".arrow":
        raise DatasetError(f"out={out}: a packed file's name ends with .arrow.")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{out}.lock"):
            described = store.describe(reader)
            plan = _plan(records, described, max_angle, crop)
            if out.exists():
                return _as_planned(out, plan)
            return _write(records, root, out, described, max_angle, crop, strict, workers, plan, shard)
    except OSError as error:
        if error.errno in NO_ROOM:
            raise DatasetError(
                f"{no_room_for(str(out), out.parent, error)}. Make room, or name a file on another disk (out=); "
                "finished parts are kept, and the same command goes on from them."
            ) from error
        raise DatasetError(f"{out}: cannot be written ({error.strerror or error}).") from error


def _plan(records: Records, reader: str, max_angle: float | None, crop: PackedSquare) -> str:
    """The digest of what is to be packed and how: nothing is opened."""
    # as floats: 99 and 99.0 are one setting
    numbers = [None if max_angle is None else float(max_angle), *map(float, asdict(crop).values())]
    digest = hashlib.sha256(json.dumps([store.VERSION, reader, numbers]).encode())
    digest.update(records.pose.tobytes() + records.face_box.tobytes())
    if records.weight is not None:
        digest.update(records.weight.tobytes())
    for i in range(len(records)):
        digest.update(f"{records.names[i]}/{size_and_time(records.images[i])}\n".encode())
    return digest.hexdigest()


def _as_planned(out: Path, plan: str) -> Packing:
    """The file that is already there, if it is the wanted one."""
    packing = store.read_packing(out)
    if packing.plan != plan:
        raise DatasetError(
            f"{out}: is already there, packed from other files or with other settings: delete it, or name another "
            "file with out=."
        )
    log.info("%s is already there, whole and of these files", out)
    return packing


def _write(
    records: Records,
    root: Path,
    out: Path,
    reader: str,
    max_angle: float | None,
    crop: PackedSquare,
    strict: bool,
    workers: int | None,
    plan: str,
    shard: int,
) -> Packing:
    parts = out.with_name(f"{out.name}.parts")
    kept = parts / f"{plan[:16]}-{shard}"
    for other in parts.iterdir() if parts.is_dir() else ():
        if other != kept:  # of files or settings that are no longer these
            shutil.rmtree(other)
    kept.mkdir(parents=True, exist_ok=True)
    job = _Job(root, kept, crop, strict, _factors_type(root, records.names))
    shards = [
        (number, np.arange(first, min(first + shard, len(records))))
        for number, first in enumerate(range(0, len(records), shard))
    ]
    missing = [(number, rows) for number, rows in shards if not _is_whole(_part(kept, number))]
    done = len(records) - sum(len(rows) for _, rows in missing)
    if done:
        log.info("going on after %s of %s images", f"{done:,}", f"{len(records):,}")
    with (
        pool.workers(workers, len(missing)) as mapped,
        tqdm(total=len(records), initial=done, unit="image", desc=out.name, smoothing=0.05) as bar,
    ):
        tasks = ((number, records.select(rows)) for number, rows in missing)
        for count in mapped(partial(_write_shard, job), tasks):
            bar.update(count)
    packing = _join(records, [_part(kept, number) for number, _ in shards], out, reader, max_angle, crop, plan)
    shutil.rmtree(parts)
    return packing


def _part(parts: Path, number: int) -> Path:
    return parts / f"{number:06d}.arrow"


def _is_whole(part: Path) -> bool:
    try:
        open_mapped(part)
    except (OSError, pa.ArrowInvalid):
        return False
    return True


def _write_shard(job: _Job, task: tuple[int, Records]) -> int:
    """Packs the images of a shard; returns how many there were."""
    number, records = task
    size, used, rejects, crops, squares = job.crop.size, [], [], [], []
    digest = hashlib.sha256()
    for i in range(len(records)):
        record = records[i]
        try:
            source = read_file(record.image, "image file")
            image = decode(source)
        except BadFile as bad:
            if job.strict:
                raise DatasetError(f"{record.image}: {bad.reason}. Repair or remove it, or set strict=false.") from None
            rejects.append(Reject(record.image, bad.reason))
            continue
        digest.update(f"{record.name}/{len(source)}\n".encode() + source)
        square = reach(face_points(record), job.crop.extent, job.crop.turn_deg)
        crop = warp_image(image, square_matrix(*square, size), size)
        _, jpeg = cv2.imencode(
            ".jpg", cv2.cvtColor(crop, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, job.crop.quality]
        )
        used.append(i)
        crops.append(jpeg.tobytes())
        squares.append(square)
    table = _table(records.select(np.array(used, dtype=np.int64)), crops, np.array(squares).reshape(-1, 3), job)
    told = {"rejects": [asdict(reject) for reject in rejects], "sources": digest.hexdigest()}
    buffer = io.BytesIO()
    with pa.ipc.new_file(buffer, table.schema.with_metadata({store.KEY: json.dumps(told)})) as writer:
        writer.write_table(table)
    write_whole(_part(job.parts, number), buffer.getvalue())
    return len(records)


def _table(records: Records, crops: Sequence[bytes], squares: np.ndarray, job: _Job) -> pa.Table:
    count = len(records)
    matrices = [square_matrix(left, top, side, job.crop.size) for left, top, side in squares]
    boxes = [warp_points(records.face_box[i].reshape(2, 2), matrix) for i, matrix in enumerate(matrices)]
    names = [str(records.names[i]) for i in range(count)]
    columns = {
        "name": pa.array(names, pa.string()),
        "subset": pa.array([name.rpartition("/")[0] for name in names], pa.string()),
        "identity": pa.array([str(records.identity_names[code]) for code in records.identity], pa.string()),
        **{angle: pa.array(records.pose[:, k]) for k, angle in enumerate(ANGLES)},
        "rotation": fixed_lists(euler_to_rotmat(torch.from_numpy(records.pose)).numpy().astype(np.float32)),
        "face_box": fixed_lists(np.array(boxes, np.float32).reshape(-1, 4)),
        **{
            name: pa.array(squares[:, k], pa.float32()) for k, name in enumerate(("crop_left", "crop_top", "crop_side"))
        },
        "image": pa.array(crops, pa.binary()),
    }
    if records.weight is not None:
        columns["weight"] = pa.array(records.weight, pa.float32())
    if records.landmarks is not None:
        points = [warp_points(records.landmarks[i], matrix) for i, matrix in enumerate(matrices)]
        columns["landmarks"] = fixed_lists(np.array(points, np.float32).reshape(-1, 68, 2))
    if job.factors is not None:
        columns["factors"] = pa.array(_factors(job.root, names), job.factors)
    return pa.table(columns)


def _factors_type(root: Path, names: Texts) -> pa.DataType | None:
    """The columns of the embedded set's table of factors; None for a set without one."""
    for folder in sorted({str(names[i]).rpartition("/")[0] for i in range(len(names))}):
        path = root / folder / FACTORS
        if path.is_file():
            schema = pq.read_schema(path)
            return pa.struct([field for field in schema if field.name not in ("file", "identity", *ANGLES)])
    return None


def _factors(root: Path, names: Sequence[str]) -> list[dict[str, Any] | None]:
    """What was drawn for each image, where its folder's table says so."""
    rows: dict[str, dict[str, Any]] = {}
    for folder in sorted({name.rpartition("/")[0] for name in names}):
        path = root / folder / FACTORS
        if path.is_file():
            files = [name.rpartition("/")[2] for name in names if name.startswith(f"{folder}/")]
            table = pq.read_table(path, filters=[("file", "in", files)])
            rows |= {f"{folder}/{row.pop('file')}": row for row in table.to_pylist()}
    return [rows.get(name) for name in names]


def _join(
    records: Records,
    parts: Sequence[Path],
    out: Path,
    reader: str,
    max_angle: float | None,
    crop: PackedSquare,
    plan: str,
) -> Packing:
    """Puts the shards together, one in memory at a time."""
    sources, rejects = hashlib.sha256(), list(records.rejects)
    identities: set[str] = set()
    count = 0
    for part in parts:
        table = open_mapped(part)
        told = json.loads(table.schema.metadata[store.KEY])
        sources.update(told["sources"].encode())
        rejects += [Reject(**reject) for reject in told["rejects"]]
        identities.update(table.column("identity").unique().to_pylist())
        count += len(table)
        schema = table.schema
    if not count:
        raise DatasetError(f"{records.dataset}: none of the {len(records):,} images can be decoded.")
    packing = Packing(
        store.VERSION,
        records.dataset,
        reader,
        max_angle,
        crop,
        count,
        len(identities),
        tuple(rejects),
        plan,
        sources.hexdigest(),
    )
    text = io.StringIO()
    table_of_rejects = csv.writer(text)
    table_of_rejects.writerow(("file", "reason"))
    table_of_rejects.writerows((reject.file, reject.reason) for reject in rejects)
    write_whole(out.with_suffix(".rejects.csv"), text.getvalue())
    unfinished = out.with_name(f".{out.name}.unfinished")
    try:
        with open(unfinished, "wb") as file:
            with pa.ipc.new_file(file, schema.with_metadata({store.KEY: packing.as_json()})) as writer:
                for part in parts:
                    writer.write_table(pa.ipc.open_file(pa.memory_map(str(part))).read_all())
            file.flush()
            os.fsync(file.fileno())
        unfinished.replace(out)
    finally:
        unfinished.unlink(missing_ok=True)
    return packing
