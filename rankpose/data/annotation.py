"""How an image with a MATLAB annotation beside it is read: what 300W-LP and AFLW2000-3D have in common."""

from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError
from scipy.io import loadmat

from rankpose.data.record import BadFile

_JPEG_START, _JPEG_END = b"\xff\xd8", b"\xff\xd9"


def check_whole(image: str) -> None:
    """Raises `BadFile` where the image file is missing, empty, cut off or no image.

    A whole JPEG starts with its start marker and ends with its end marker, which costs two reads. Any other file is
    decoded to the end.
    """
    try:
        with open(image, "rb") as file:
            start = file.read(2)
            if start == _JPEG_START:
                file.seek(-2, 2)
                if file.read(2) == _JPEG_END:
                    return
        with Image.open(image) as decoded:
            decoded.load()
    except FileNotFoundError:
        raise BadFile("with no image file", image) from None
    except (UnidentifiedImageError, OSError, SyntaxError):
        raise BadFile("with a cut-off or unreadable image", image) from None


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


def landmark_box(landmarks: np.ndarray) -> np.ndarray:
    """The face box around landmarks: (..., 68, 2) to (..., 4) left, top, right, bottom."""
    return np.concatenate([landmarks.min(axis=-2), landmarks.max(axis=-2)], axis=-1)
