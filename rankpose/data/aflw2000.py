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
from pathlib import Path

import numpy as np

from rankpose.data.annotation import check_whole, landmark_box, read_mat
from rankpose.data.record import Records, not_found, read_records

NAME = "AFLW2000-3D"
HOW = (
    "Download AFLW2000-3D.zip from its authors' page (3DDFA, CVPR 2016), unpack it, and set protocol.root to the "
    "folder that holds image00002.jpg and its .mat; data/README.md has the details."
)


def read_aflw2000(root: str | Path, max_angle: float | None = 99.0, strict: bool = False) -> Records:
    """Reads AFLW2000-3D's folder; every image is an identity of its own.

    Args:
        root: the folder that holds the images.
        max_angle: leave out images with an angle beyond +- this many degrees; None keeps all.
        strict: raise at the first unusable file instead of leaving it out.

    Raises:
        DatasetNotFoundError: no such folder, or no images in it.
        DatasetError: an unusable file (strict), or none usable.
    """
    root = Path(root)
    if not root.is_dir():
        raise not_found(NAME, root, "no such folder", HOW)
    names = os.listdir(root)
    stems = sorted({Path(name).stem for name in names if name.startswith("image") and name.endswith((".jpg", ".mat"))})
    if not stems:
        raise not_found(NAME, root, "no images (image*.jpg)", HOW)

    def annotation_of(image: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        pose, landmarks = read_mat(image, "pt3d_68")
        check_whole(image)
        return pose, landmark_box(landmarks), landmarks

    files = [os.path.join(root, f"{stem}.jpg") for stem in stems]
    return read_records(NAME, files, lambda image: Path(image).stem, annotation_of, max_angle, strict)
