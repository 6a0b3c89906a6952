"""What a sample is: the one type that readers give and everything else takes.

`Records` is a whole set as columns (no Python object per image, so that workers share its memory); `Record` is one row.
Where a set has an index or is packed, the larger columns stay in the file and are read through a memory map.
"""

import os
import re
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pyarrow as pa

from rankpose.data.columns import MappedColumn, Prefixed, as_numpy, fixed_lists
from rankpose.errors import ConfigError, DatasetError

Texts = np.ndarray | MappedColumn | Prefixed
"""A column of texts."""


@dataclass(frozen=True)
class Reject:
    """A file that was left out, and why."""

    file: str
    reason: str


@dataclass(frozen=True)
class Record:
    """One annotated head."""

    name: str
    """Path of the image below the data set's folder: what tables call it."""
    image: str
    """Where the pixels are, for `rankpose.data.crop.read_image`: a path, or `FILE.arrow#ROW` of a packed file."""
    pose: np.ndarray
    """(3,) float32: yaw, pitch, roll, degrees."""
    face_box: np.ndarray
    """(4,) float32: left, top, right, bottom, pixels of the image, y down."""
    landmarks: np.ndarray | None
    """(68, 2) float32 pixels, where the data set has them."""
    identity: str
    """Who: images with the same identity show the same person."""


@dataclass(frozen=True)
class Records:
    """A set of annotated heads, as columns of equal length."""

    dataset: str
    """What the set is called in tables."""
    names: Texts
    """(N,) path of each image below the data set's folder."""
    images: Texts
    """(N,) where the pixels of each image are: see `Record.image`."""
    pose: np.ndarray
    """(N, 3) float32: yaw, pitch, roll, degrees."""
    face_box: np.ndarray
    """(N, 4) float32: left, top, right, bottom, pixels."""
    landmarks: np.ndarray | MappedColumn | None
    """(N, 68, 2) float32 pixels, or None where the data set has no landmarks."""
    identity: np.ndarray
    """(N,) int64: place of each image's identity in `identity_names`."""
    identity_names: np.ndarray
    """(I,) unicode."""
    rejects: tuple[Reject, ...] = field(default=())
    """Files that were left out."""
    weight: np.ndarray | None = None
    """(N,) float32: how much each image counts in a loss; None is 1 each."""

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> Record:
        return Record(
            name=str(self.names[index]),
            image=str(self.images[index]),
            pose=self.pose[index],
            face_box=self.face_box[index],
            landmarks=None if self.landmarks is None else self.landmarks[index],
            identity=str(self.identity_names[self.identity[index]]),
        )

    def select(self, rows: np.ndarray) -> "Records":
        """The given rows (indices or a mask), identities renumbered."""
        codes, identity = np.unique(self.identity[rows], return_inverse=True)
        return replace(
            self,
            names=self.names[rows],
            images=self.images[rows],
            pose=self.pose[rows],
            face_box=self.face_box[rows],
            landmarks=None if self.landmarks is None else self.landmarks[rows],
            identity=identity.astype(np.int64),
            identity_names=self.identity_names[codes],
            weight=None if self.weight is None else self.weight[rows],
        )

    def identified(self, pattern: str) -> "Records":
        """The same images with identities taken from their names.

        Args:
            pattern: a regular expression that is found in a name without its extension, from its beginning; its first
                group, else all that it finds, is the identity. `(.+)_\\d+` takes `Ann_1.jpg` and `Ann_2.jpg` for Ann's.

        Raises:
            ConfigError: no regular expression, or a name that does not fit it.
        """
        who = people_of(pattern, [str(self.names[row]) for row in range(len(self))])
        identity, identity_names = numbered(pa.array(who, pa.string()))
        return replace(self, identity=identity, identity_names=identity_names)

    def summary(self, of: int | None = None) -> str:
        """One line: what the set holds, where it is a part out of how many images, and what was left out."""
        part = f"{len(self):,}" if of in (None, len(self)) else f"{len(self):,} of {of:,}"
        line = f"{self.dataset}: {part} images of {len(self.identity_names):,} identities"
        if not self.rejects:
            return line
        reasons: dict[str, int] = {}
        for reject in self.rejects:
            reasons[reject.reason] = reasons.get(reject.reason, 0) + 1
        counts = ", ".join(f"{count:,} {reason}" for reason, count in sorted(reasons.items()))
        return f"{line}; left out {len(self.rejects):,}: {counts}"


@dataclass(frozen=True)
class Splits:
    """The three parts of a data set; no identity is in two of them."""

    train: Records
    val: Records
    test: Records


class BadFile(Exception):
    """A reader's word that a file cannot be used; the message is the reason, without the file's name."""

    def __init__(self, reason: str, file: str | None = None) -> None:
        super().__init__(reason)
        self.reason, self.file = reason, file


@dataclass(frozen=True)
class Annotation:
    """What a data set says about an image."""

    pose: np.ndarray
    """(3,) yaw, pitch, roll, degrees."""
    face_box: np.ndarray
    """(4,) left, top, right, bottom, pixels."""
    landmarks: np.ndarray | None = None
    """(68, 2) pixels, where the data set has them."""


@dataclass(frozen=True)
class Layout:
    """What the files of a data set mean. Functions of a module, so that other processes can call them."""

    dataset: str
    """What the set is called in tables."""
    identity_of: Callable[[str], str]
    """From an image's name (its path below the data set's folder) to its identity."""
    annotation_of: Callable[[str], Annotation]
    """From an image's path to its annotation; raises `BadFile`."""
    has_landmarks: bool = True


BEYOND_RANGE = "with an angle beyond the range"


def annotate(
    layout: Layout, root: str | Path, names: Sequence[str], refused: Mapping[str, str] | None = None
) -> pa.Table:
    """Reads the annotations of images; a file that cannot be used keeps its row, with the reason.

    Args:
        layout: what the files mean.
        root: the data set's folder.
        names: paths of images below it.
        refused: those of them that are not to be opened, and why.

    Returns:
        columns `name`, `identity`, `pose` (3), `face_box` (4), `landmarks` (68, 2) where the set has them, `reason`
        (null for a usable image) and `file` (the one that is at fault, its path below `root`).
    """
    pose, box = np.zeros((len(names), 3), np.float32), np.zeros((len(names), 4), np.float32)
    landmarks = np.zeros((len(names), 68, 2), np.float32)
    reasons: list[str | None] = [None] * len(names)
    files: list[str | None] = [None] * len(names)
    for i, name in enumerate(names):
        path = os.path.join(root, name)
        try:
            if refused and name in refused:
                raise BadFile(refused[name])
            found = layout.annotation_of(path)
            if not (np.isfinite(found.pose).all() and np.isfinite(found.face_box).all()):
                raise BadFile("with NaN in the annotation")
            if found.face_box[2] <= found.face_box[0] or found.face_box[3] <= found.face_box[1]:
                raise BadFile("with an empty face box")
        except BadFile as bad:
            # below the root: an index moves with its folder
            reasons[i], files[i] = bad.reason, os.path.relpath(bad.file or path, root)
            continue
        pose[i], box[i] = found.pose, found.face_box
        if found.landmarks is not None:
            landmarks[i] = found.landmarks
    columns = {
        "name": pa.array(names, pa.string()),
        "identity": pa.array([layout.identity_of(name) for name in names], pa.string()),
        "pose": fixed_lists(pose),
        "face_box": fixed_lists(box),
        "reason": pa.array(reasons, pa.string()),
        "file": pa.array(files, pa.string()),
    }
    if layout.has_landmarks:
        columns["landmarks"] = fixed_lists(landmarks)
    return pa.table(columns)


def records_of(
    dataset: str,
    root: str | Path,
    annotations: pa.Table,
    max_angle: float | None,
    strict: bool,
    mapped: Path | None = None,
) -> Records:
    """The usable images of annotated ones; counts what was left out.

    Args:
        dataset: the set's name.
        root: the data set's folder.
        annotations: as `annotate` gives them.
        max_angle: leave out images with an angle beyond +- this many degrees; None keeps all.
        strict: raise at the first unusable file instead. An angle beyond the range is no fault of the file and never
            raises.
        mapped: the Arrow file that holds just these annotations, whose larger columns then stay there.

    Raises:
        DatasetError: a file cannot be used and `strict` is set, or none can be used.
    """
    whole = annotations.combine_chunks()
    reasons = whole.column("reason")
    bad = np.flatnonzero(reasons.is_valid().to_numpy())
    rejects = [Reject(os.path.join(root, whole.column("file")[int(i)].as_py()), reasons[int(i)].as_py()) for i in bad]
    if strict and rejects:
        raise DatasetError(
            f"{rejects[0].file}: {rejects[0].reason}. Repair or remove it, or set strict=false to leave it out."
        )
    usable = np.ones(len(whole), bool)
    usable[bad] = False
    pose = as_numpy(one_chunk(whole, "pose"))
    if max_angle is not None:
        beyond = np.flatnonzero(usable & (np.abs(pose).max(axis=1) > max_angle))
        reason = f"{BEYOND_RANGE} of +-{max_angle:g} degrees"
        rejects += [Reject(os.path.join(root, whole.column("name")[int(i)].as_py()), reason) for i in beyond]
        usable[beyond] = False
    rows = np.flatnonzero(usable)
    if not len(rows):
        first = f" The first: {rejects[0].file} ({rejects[0].reason})." if rejects else ""
        raise DatasetError(f"{dataset}: none of the {len(whole):,} images can be used.{first}")
    names: Texts = np.array(whole.column("name")) if mapped is None else MappedColumn(mapped, "name")
    landmarks: np.ndarray | MappedColumn | None = None
    if "landmarks" in whole.column_names:
        landmarks = as_numpy(one_chunk(whole, "landmarks")) if mapped is None else MappedColumn(mapped, "landmarks")
    identity, identity_names = numbered(one_chunk(whole, "identity"))
    return Records(
        dataset=dataset,
        names=names,
        images=Prefixed(os.path.join(root, ""), names),
        pose=pose,
        face_box=as_numpy(one_chunk(whole, "face_box")),
        landmarks=landmarks,
        identity=identity,
        identity_names=identity_names,
        rejects=tuple(rejects),
    ).select(rows)


def read_records(
    layout: Layout, root: str | Path, names: Sequence[str], max_angle: float | None, strict: bool
) -> Records:
    """Reads every image's annotation, here and now; see `annotate` and `records_of`.

    Raises:
        DatasetError: a file cannot be used and `strict` is set, or none can be used.
    """
    return records_of(layout.dataset, root, annotate(layout, root, names), max_angle, strict)


def numbered(texts: pa.Array) -> tuple[np.ndarray, np.ndarray]:
    """(N,) texts as (N,) int64 places in the sorted (I,) different ones."""
    coded = texts.dictionary_encode()
    different = np.array(coded.dictionary.to_pylist())
    order = np.argsort(different)
    place = np.empty(len(order), np.int64)
    place[order] = np.arange(len(order))
    return place[coded.indices.to_numpy()], different[order]


def people_of(pattern: str, names: Sequence[str]) -> list[str]:
    """Who pictures show, by their names; see `Records.identified`."""
    try:
        wanted = re.compile(pattern)
    except re.error as error:
        raise ConfigError(f"data.identity={pattern}: is no regular expression ({error}).") from None
    found = [wanted.match(os.path.splitext(name)[0]) for name in names]
    if None in found:
        name = names[found.index(None)]
        raise ConfigError(f"data.identity={pattern}: does not fit {name}, so that nobody knows who it shows.")
    return [match[1] if match.re.groups else match[0] for match in found if match is not None]


def split_by_share(
    records: Records, persons: np.ndarray, what: str, val_share: float, test_share: float, may_lack: bool = False
) -> Splits:
    """A set in three parts, always the same ones: a checksum of each person's name decides.

    Args:
        records: the whole set.
        persons: (I,) what each identity belongs to: identities with the same one fall into the same part.
        what: what these are, in the plural.
        val_share: share of them kept to pick the checkpoint by.
        test_share: share of them kept to test on people never seen.
        may_lack: a share may be 0, and its part empty.

    Raises:
        DatasetError: fewer than parts that are to have some.
    """
    for name, share in (("val_share", val_share), ("test_share", test_share)):
        if not ((share == 0 and may_lack) or 0 < share < 1) or val_share + test_share >= 1:
            raise ConfigError(
                f"data.split.{name}={share}: shares must be above 0 and, val_share and test_share together, below 1."
            )
    drawn = sorted(set(persons.tolist()), key=lambda name: (zlib.crc32(name.encode()), name))
    if len(drawn) < 1 + (val_share > 0) + (test_share > 0):
        raise DatasetError(
            f"{records.dataset}: holds images of {len(drawn)} {what}; training, validation and test need one "
            "each at least."
        )
    val, test = (max(1, round(share * len(drawn))) if share else 0 for share in (val_share, test_share))
    part = np.zeros(len(persons), dtype=np.int64)
    part[np.isin(persons, drawn[:val])] = 1
    part[np.isin(persons, drawn[val : val + test])] = 2
    rows = part[records.identity]
    return Splits(*(records.select(np.flatnonzero(rows == k)) for k in (0, 1, 2)))


def one_chunk(table: pa.Table, column: str) -> pa.Array:
    """A column as one array; copies only where it has several pieces."""
    chunks = table.column(column).chunks
    return chunks[0] if len(chunks) == 1 else pa.concat_arrays(chunks)
