"""AFLW2000-3D: 2,000 photographs with fitted poses, the field's main test set.

Format
    * `image00002.jpg` and `.mat` in one folder.
    * `Pose_Para` as in 300W-LP; `pt3d_68` 3x68 landmarks, x and y in pixels. The `pt2d` of this set is 2x21 with -1 for
      an unseen point, so no box is made from it.
Protocol
    31 images have an angle beyond +-99 degrees; almost every paper leaves them out, said or unsaid: 1,969 remain.
Cite
    X. Zhu, Z. Lei, X. Liu, H. Shi, S. Z. Li: Face Alignment Across Large Poses: A 3D Solution. CVPR 2016.
"""

import os
from functools import partial
from pathlib import Path

from rankpose.data.readers.index import read_indexed, survey
from rankpose.data.readers.mat_files import read_annotated
from rankpose.data.readers.sources import AFLW2000
from rankpose.data.record import Layout, Records

NAME = AFLW2000.name


def identity_of(name: str) -> str:
    """The stem of an image's name: every photograph shows somebody else."""
    return name.rpartition(".")[0]


LAYOUT = Layout(NAME, identity_of, partial(read_annotated, points="pt3d_68"))


def read_aflw2000(root: str | Path, max_angle: float | None = 99.0, strict: bool = False) -> Records:
    """Reads AFLW2000-3D's folder, through its index (`rankpose.data.readers.index`).

    Every image is an identity of its own.

    Args:
        root: the folder that holds the images.
        max_angle: leave out images with an angle beyond +- this many degrees; None keeps all.
        strict: raise at the first unusable file instead of leaving it out.

    Raises:
        DatasetNotFoundError: no such folder, or no images in it.
        DatasetError: an unusable file (strict), or none usable.
    """
    root = Path(root)
    if not os.path.isdir(root):
        raise AFLW2000.missing(root)
    found = survey(root, [""])
    if not found.names:
        raise AFLW2000.missing(root, "no images (image*.jpg)")
    return read_indexed(LAYOUT, root, found, max_angle, strict)
