"""How an image with a MATLAB annotation beside it is read: what 300W-LP and AFLW2000-3D have in common."""

import io
import os

import numpy as np
from scipy.io import loadmat

from rankpose.data.images import check_image, read_file
from rankpose.data.record import Annotation, BadFile

SUFFIXES = (".mat", ".MAT")
"""Of annotations: an image's is the first of these that is there."""


def check_inside(landmarks: np.ndarray, size: tuple[int, int]) -> None:
    """Raises `BadFile` where most of the (M, 2) landmarks are outside an image of the given width and height.

    A few beyond the edge are normal: a tenth of AFLW2000-3D's faces touch it.
    """
    inside = ((landmarks >= -0.5) & (landmarks <= np.array(size) - 0.5)).all(axis=1)
    if 2 * inside.sum() < len(landmarks):
        raise BadFile("with its landmarks outside the image")


def read_mat(image: str, points: str) -> tuple[np.ndarray, np.ndarray]:
    """The annotation beside an image.

    Args:
        image: path of the image; the annotation has the same stem.
        points: the field that holds the landmarks: `pt2d` (300W-LP) or `pt3d_68` (AFLW2000-3D, whose `pt2d` has -1 for
            unseen points).

    Returns:
        pose (3,) yaw, pitch, roll in degrees, from `Pose_Para[0, :3]`, which is (pitch, yaw, roll) in radians; and the
        landmarks (68, 2) in pixels.

    Raises:
        BadFile: missing or malformed annotation.
    """
    paths = [os.path.splitext(image)[0] + suffix for suffix in SUFFIXES]
    path = next(filter(os.path.lexists, paths), paths[0])
    content = read_file(path, ".mat annotation")
    try:
        fields = loadmat(io.BytesIO(content), variable_names=["Pose_Para", points])  # type: ignore[arg-type]
        pitch, yaw, roll = np.asarray(fields["Pose_Para"], dtype=np.float64)[0, :3]
        landmarks = np.asarray(fields[points], dtype=np.float32)[:2].T
    except NotImplementedError:
        raise BadFile("with a .mat annotation of MATLAB's version 7.3: save it with -v7", path) from None
    except Exception as error:  # loadmat answers a malformed file with whatever its parser meets
        raise BadFile("with a malformed .mat annotation", path) from error
    if landmarks.shape != (68, 2):
        raise BadFile(f"with a malformed .mat annotation ({points} is not 68 points)", path)
    return np.degrees([yaw, pitch, roll]), landmarks


def read_annotated(image: str, points: str) -> Annotation:
    """An image's annotation by `read_mat`, its face box around the landmarks; checks that the image is whole.

    Raises:
        BadFile: what cannot be used, and why.
    """
    pose, landmarks = read_mat(image, points)
    size = check_image(image)
    if np.isfinite(landmarks).all():
        check_inside(landmarks, size)
    return Annotation(pose, landmark_box(landmarks), landmarks)


def landmark_box(landmarks: np.ndarray) -> np.ndarray:
    """The face box around landmarks: (..., 68, 2) to (..., 4) left, top, right, bottom."""
    return np.concatenate([landmarks.min(axis=-2), landmarks.max(axis=-2)], axis=-1)
