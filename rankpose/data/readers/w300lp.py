"""300W-LP: 122,450 photographs turned to new poses, the field's training set.

What it is
    3,837 photographs of AFW, HELEN, IBUG and LFPW, each fitted with a 3D face model and turned to up to some 16 further
    yaws, and all of it mirrored (`*_Flip`). Images of 450x450 pixels.
Format
    * `<subset>/<stem>_<N>.jpg` and `.mat`, subset one of `AFW HELEN IBUG LFPW AFW_Flip HELEN_Flip IBUG_Flip LFPW_Flip`;
      the folders `landmarks` and `Code` hold no samples.
    * The stem without its last `_N` is the photograph, so the identity. Mirror images that lie beside their originals
      (`<stem>_<N>_flip.jpg` and the like) are of the original's identity.
    * `Pose_Para` 1x7: pitch, yaw, roll in radians, then translation and scale; `pt2d` 2x68 landmarks in pixels.
Licence
    For research, as its authors' page states. The embedded set (`data=synthetic`) has the same layout and no such
    limit.
Cite
    X. Zhu, Z. Lei, X. Liu, H. Shi, S. Z. Li: Face Alignment Across Large Poses: A 3D Solution. CVPR 2016.
"""

import os
import re
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np

from rankpose.data.readers.index import entries, read_indexed, survey
from rankpose.data.readers.mat_files import read_annotated
from rankpose.data.readers.sources import W300LP
from rankpose.data.record import Layout, Records, Splits, split_by_share
from rankpose.errors import DatasetError

NAME = W300LP.name
NO_SAMPLES = ("landmarks", "Code")
_MIRRORED = r"[_-](?:h?flip(?:ped)?|mirror(?:ed)?)"
_VIEW = re.compile(rf"(?:{_MIRRORED})?(?:_\d+)?(?:{_MIRRORED})?$", re.IGNORECASE)
_MIRRORED_FOLDER = re.compile(rf"{_MIRRORED}$", re.IGNORECASE)


def subset_folders(root: Path) -> list[str]:
    """The folders of `root` that hold samples, sorted."""
    return sorted(entry.name for entry in entries(root) if os.path.isdir(entry) and entry.name not in NO_SAMPLES)


def identity_of(name: str) -> str:
    """`<subset>/<stem without the last _N and without what marks a mirror image>` of an image's path below the root."""
    return _VIEW.sub("", name.rpartition(".")[0], count=1)


LAYOUT = Layout(NAME, identity_of, partial(read_annotated, points="pt2d"))


def read_300w_lp(
    root: str | Path, subsets: Sequence[str] | None = None, max_angle: float | None = 99.0, strict: bool = False
) -> Records:
    """Reads a folder in 300W-LP's layout, through its index (`rankpose.data.readers.index`).

    Args:
        root: the folder that holds the subsets.
        subsets: folders to read; by default all that hold samples.
        max_angle: leave out images with an angle beyond +- this many degrees; None keeps all.
        strict: raise at the first unusable file instead of leaving it out.

    Raises:
        DatasetNotFoundError: no such folder, or no images in it.
        DatasetError: an unusable file (strict), or none usable.
    """
    root = Path(root)
    if not os.path.isdir(root):
        raise W300LP.missing(root)
    found = survey(root, subset_folders(root))
    if not found.names:
        raise W300LP.missing(root, "no images (<subset>/*.jpg)")
    records = read_indexed(LAYOUT, root, found, max_angle, strict)
    if subsets is None:
        return records
    missing = sorted(set(subsets) - {subset_of(name) for name in records.identity_names})
    if missing:
        raise W300LP.missing(root, f"no images of {', '.join(missing)}")
    wanted = np.array([subset_of(name) in subsets for name in records.identity_names])
    return records.select(np.flatnonzero(wanted[records.identity]))


def subset_of(identity: str) -> str:
    """The folder of an identity's images."""
    return identity.partition("/")[0]


def photograph_of(identity: str) -> str:
    """The photograph behind an identity: a mirrored subset shows the same people as its original."""
    subset, _, stem = identity.partition("/")
    return f"{_MIRRORED_FOLDER.sub('', subset)}/{stem}"


def split_by_photograph(records: Records, val_share: float = 0.02, test_share: float = 0.02) -> Splits:
    """300W-LP in three parts by photograph, always the same ones: a checksum of its name decides.

    A photograph and its mirror image fall into the same part.

    Args:
        records: the whole set.
        val_share: share of photographs kept to pick the checkpoint by.
        test_share: share of photographs kept to test on people never seen.

    Raises:
        DatasetError: fewer than three photographs.
    """
    photographs = np.array([photograph_of(name) for name in records.identity_names])
    return split_by_share(records, photographs, "photographs", val_share, test_share)


def read_holdout(
    root: str | Path,
    max_angle: float | None = 99.0,
    strict: bool = False,
    val_share: float = 0.02,
    test_share: float = 0.02,
) -> Records:
    """The photographs of 300W-LP that `split_by_photograph` keeps for testing; arguments as there."""
    return split_by_photograph(read_300w_lp(root, max_angle=max_angle, strict=strict), val_share, test_share).test


def split_by_folder(records: Records, train: str, val: str, test: str) -> Splits:
    """A set in 300W-LP's layout in three parts, each a folder.

    Args:
        records: the whole set.
        train, val, test: names of folders.

    Raises:
        DatasetError: a folder holds no image that can be used, or photographs of another's, as its mirror images do.
    """
    subsets = np.array([subset_of(name) for name in records.identity_names])[records.identity]
    parts: list[Records] = []
    key_of: dict[str, str] = {}
    for key, folder in (("train", train), ("val", val), ("test", test)):
        rows = np.flatnonzero(subsets == folder)
        if not len(rows):
            raise DatasetError(f"{records.dataset}: no usable images in {folder}; there are {sorted(set(subsets))}.")
        parts.append(records.select(rows))
        for photograph in map(photograph_of, parts[-1].identity_names):
            if key_of.setdefault(photograph, key) != key:
                raise DatasetError(
                    f"data.split.{key}={folder}: shows people of data.split.{key_of[photograph]}, such as "
                    f"{photograph}; nobody may be in two parts."
                )
    return Splits(*parts)
