"""What a sample is: the one type that readers give and everything else takes.

`Records` is a whole set as columns (no Python object per image, so that workers share its memory); `Record` is one row.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from rankpose.errors import DatasetError, DatasetNotFoundError


@dataclass(frozen=True)
class Reject:
    """A file that was left out, and why."""

    file: str
    reason: str


@dataclass(frozen=True)
class Record:
    """One annotated head."""

    image: str
    """Path of the image file."""
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
    images: np.ndarray
    """(N,) unicode: path of each image file."""
    pose: np.ndarray
    """(N, 3) float32: yaw, pitch, roll, degrees."""
    face_box: np.ndarray
    """(N, 4) float32: left, top, right, bottom, pixels."""
    landmarks: np.ndarray | None
    """(N, 68, 2) float32 pixels, or None where the data set has no landmarks."""
    identity: np.ndarray
    """(N,) int64: place of each image's identity in `identity_names`."""
    identity_names: np.ndarray
    """(I,) unicode."""
    rejects: tuple[Reject, ...] = field(default=())
    """Files that were left out."""

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> Record:
        return Record(
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
            images=self.images[rows],
            pose=self.pose[rows],
            face_box=self.face_box[rows],
            landmarks=None if self.landmarks is None else self.landmarks[rows],
            identity=identity.astype(np.int64),
            identity_names=self.identity_names[codes],
        )

    def summary(self) -> str:
        """One line: what the set holds and what was left out."""
        line = f"{self.dataset}: {len(self):,} images of {len(self.identity_names):,} identities"
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


BEYOND_RANGE = "with an angle beyond the range"


def read_records(
    dataset: str,
    files: Sequence[str],
    identity_of: Callable[[str], str],
    annotation_of: Callable[[str], tuple[np.ndarray, np.ndarray, np.ndarray | None]],
    max_angle: float | None,
    strict: bool,
) -> Records:
    """Reads every file's annotation; leaves out and counts what cannot be used.

    Args:
        dataset: the set's name.
        files: paths of image files.
        identity_of: image path to identity.
        annotation_of: image path to pose (3,) in degrees, face box (4,) and landmarks (68, 2) or None; raises
            `BadFile`.
        max_angle: leave out images with an angle beyond +- this many degrees; None keeps all.
        strict: raise at the first unusable file instead. An angle beyond the range is no fault of the file and never
            raises.

    Raises:
        DatasetError: a file cannot be used and `strict` is set, or none can be used.
    """
    images, poses, boxes, points, identities, rejects = [], [], [], [], [], []
    for file in files:
        try:
            pose, box, landmarks = annotation_of(file)
            if not (np.isfinite(pose).all() and np.isfinite(box).all()):
                raise BadFile("with NaN in the annotation")
            if box[2] <= box[0] or box[3] <= box[1]:
                raise BadFile("with an empty face box")
        except BadFile as bad:
            name = bad.file or file
            if strict:
                raise DatasetError(f"{name}: {bad.reason}. Repair or remove it, or set data.strict=false.") from None
            rejects.append(Reject(name, bad.reason))
            continue
        if max_angle is not None and np.abs(pose).max() > max_angle:
            rejects.append(Reject(file, f"{BEYOND_RANGE} of +-{max_angle:g} degrees"))
            continue
        images.append(file)
        poses.append(pose)
        boxes.append(box)
        if landmarks is not None:
            points.append(landmarks)
        identities.append(identity_of(file))
    if not images:
        first = f" The first: {rejects[0].file} ({rejects[0].reason})." if rejects else ""
        raise DatasetError(f"{dataset}: none of the {len(files):,} images can be used.{first}")
    names, codes = np.unique(np.array(identities), return_inverse=True)
    return Records(
        dataset=dataset,
        images=np.array(images),
        pose=np.array(poses, dtype=np.float32),
        face_box=np.array(boxes, dtype=np.float32),
        landmarks=np.array(points, dtype=np.float32) if points else None,
        identity=codes.astype(np.int64),
        identity_names=names,
        rejects=tuple(rejects),
    )


def not_found(dataset: str, root: object, what: str, how: str) -> DatasetNotFoundError:
    """The error for a data set that is not where it should be: names the folder and the ways out."""
    return DatasetNotFoundError(f"{dataset}: {what} in {root}. {how} Without any download, use data=synthetic.")
