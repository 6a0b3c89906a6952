"""How an image with a MATLAB annotation beside it is read: what 300W-LP and AFLW2000-3D have in common."""

from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError
from scipy.io import loadmat

from rankpose.data.record import Annotation, BadFile

_ENDS = {"JPEG": b"\xff\xd9", "PNG": b"IEND\xaeB`\x82"}


def check_whole(image: str) -> tuple[int, int]:
    """Width and height of an image, in pixels; raises `BadFile` where it is missing, empty, cut off or no image.

    A whole JPEG or PNG ends with its end marker, which spares decoding it; any other file is decoded.
    """
    try:
        with open(image, "rb") as file, Image.open(file) as header:
            size, end = header.size, _ENDS.get(header.format or "")
            if end is not None:
                file.seek(-len(end), 2)
                if file.read() == end:
                    return size
            file.seek(0)
            with Image.open(file) as decoded:
                decoded.load()
            return size
    except FileNotFoundError:
        raise BadFile("with no image file", image) from None
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError):
        raise BadFile("with a cut-off or unreadable image", image) from None


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
        image: path of the image; the annotation has the same stem and ends with `.mat`.
        points: the field that holds the landmarks: `pt2d` (300W-LP) or `pt3d_68` (AFLW2000-3D, whose `pt2d` has -1 for
            unseen points).

    Returns:
        pose (3,) yaw, pitch, roll in degrees, from `Pose_Para[0, :3]`, which is (pitch, yaw, roll) in radians; and the
        landmarks (68, 2) in pixels.

    Raises:
        BadFile: missing or malformed annotation.
    """
    path = str(Path(image).with_suffix(".mat"))
    try:
        fields = loadmat(path, variable_names=["Pose_Para", points])
        pitch, yaw, roll = np.asarray(fields["Pose_Para"], dtype=np.float64)[0, :3]
        landmarks = np.asarray(fields[points], dtype=np.float32)[:2].T
    except FileNotFoundError:
        raise BadFile("with no .mat annotation", path) from None
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
    size = check_whole(image)
    if np.isfinite(landmarks).all():
        check_inside(landmarks, size)
    return Annotation(pose, landmark_box(landmarks), landmarks)


def landmark_box(landmarks: np.ndarray) -> np.ndarray:
    """The face box around landmarks: (..., 68, 2) to (..., 4) left, top, right, bottom."""
    return np.concatenate([landmarks.min(axis=-2), landmarks.max(axis=-2)], axis=-1)
