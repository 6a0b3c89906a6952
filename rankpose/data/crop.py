"""Which square of an image a network sees: from landmarks or a face box to one affine warp.

Pixel coordinates: whole numbers are pixel centres, y points down.
"""

import re
from dataclasses import dataclass

import cv2
import numpy as np

from rankpose.data.images import decode, read_file
from rankpose.data.packed.reading import packed_image
from rankpose.data.record import BadFile, Record
from rankpose.errors import DatasetError

cv2.setNumThreads(0)  # workers are processes; threads of OpenCV in each would fight for the same cores

_PACKED = re.compile(r"(.*\.arrow)#(\d+)$")
_OUTLINE = np.linspace(0, 2 * np.pi, 32, endpoint=False)


@dataclass(frozen=True)
class View:
    """How a crop departs from the plain one. The defaults are the test's view."""

    scale: float = 1.4
    """Side of the square over the larger side of the face box; 1.4 in testing, 1.4 to 1.6 in training (RankPose)."""
    zoom: float = 1.0
    """How much larger the content appears."""
    shift: tuple[float, float] = (0.0, 0.0)
    """How far the content moves right and down, as a share of the input's side."""
    turn_deg: float = 0.0
    """How far the image turns in its plane, counter-clockwise as it shows, degrees."""
    flip: bool = False
    """Whether left and right are mirrored, last of all."""


def face_points(record: Record) -> np.ndarray:
    """The points that a record's face box goes around: see `points_around`."""
    return points_around(record.face_box, record.landmarks)


def points_around(face_box: np.ndarray, landmarks: np.ndarray | None) -> np.ndarray:
    """The points that the face box goes around: (68, 2) landmarks, or the (32, 2) ellipse that fills the box.

    The box of a turned face is the box around the turned points, as if the turned image had been annotated.
    """
    if landmarks is not None:
        return landmarks.astype(np.float64)
    left, top, right, bottom = face_box.astype(np.float64)
    centre, half = np.array([left + right, top + bottom]) / 2, np.array([right - left, bottom - top]) / 2
    return np.asarray(centre + half * np.column_stack([np.cos(_OUTLINE), np.sin(_OUTLINE)]))


def crop_matrix(points: np.ndarray, size: int, view: View) -> np.ndarray:
    """The affine map from image pixels to network input: crop and all geometric augmentation in one.

    Args:
        points: (M, 2) pixels, what the face box goes around.
        size: side of the network's input, pixels.
        view: the crop.

    Returns:
        (2, 3) float64, for column vectors (x, y, 1).
    """
    turn = np.radians(view.turn_deg)
    # y points down, so a turn that looks counter-clockwise has its sine on the other side
    rotation = np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])
    turned = points @ rotation.T
    low, high = turned.min(axis=0), turned.max(axis=0)
    factor = view.zoom * size / (view.scale * (high - low).max())
    middle = (size - 1) / 2 + size * np.array(view.shift)
    matrix = np.column_stack([factor * rotation, middle - factor * (low + high) / 2])
    if view.flip:
        matrix[0] = [-matrix[0, 0], -matrix[0, 1], size - 1 - matrix[0, 2]]
    return matrix


def plain_square(points: np.ndarray, scale: float) -> tuple[float, float, float]:
    """Left, top and side in pixels of the plain crop around the points; it may reach past the image's edge."""
    low, high = points.min(axis=0), points.max(axis=0)
    side = scale * float((high - low).max())
    left, top = (low + high) / 2 - side / 2
    return float(left), float(top), side


def reach(points: np.ndarray, extent: float, turn_deg: float) -> tuple[float, float, float]:
    """The smallest square that holds every crop up to a size and an in-plane turn.

    Args:
        points: (M, 2) pixels, what the face box goes around.
        extent: side of the largest crop over the larger side of the box around the turned points.
        turn_deg: largest turn either way, degrees.

    Returns:
        left, top and side in pixels; the middle is that of the plain crop.
    """
    turns = np.radians(np.linspace(-turn_deg, turn_deg, 1 + 2 * int(np.ceil(turn_deg))))
    cos, sin = np.cos(turns), np.sin(turns)
    rotation = np.stack([np.stack([cos, sin], -1), np.stack([-sin, cos], -1)], -2)
    middle = (points.min(axis=0) + points.max(axis=0)) / 2
    turned = (points - middle) @ rotation.transpose(0, 2, 1)
    low, high = turned.min(axis=1), turned.max(axis=1)
    # back in the image: the middle of each turned crop, and how far its corners are from there
    centre = np.einsum("tji,tj->ti", rotation, (low + high) / 2)
    half = extent * (high - low).max(axis=1) / 2 * (np.abs(cos) + np.abs(sin))
    side = 2 * float((np.abs(centre).max(axis=1) + half).max())
    left, top = middle - side / 2
    return float(left), float(top), side


def square_matrix(left: float, top: float, side: float, size: int) -> np.ndarray:
    """The (2, 3) affine map from image pixels to those of a square resized to `size`; see `plain_square`."""
    factor = size / side
    corner = np.array([[left, top]]).T
    return np.hstack([factor * np.eye(2), (size - 1) / 2 - factor * (corner + side / 2)])


def warp_points(points: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """(..., 2) image pixels to (..., 2) input pixels."""
    return np.asarray(points @ matrix[:, :2].T + matrix[:, 2])


def warp_image(image: np.ndarray, matrix: np.ndarray, size: int) -> np.ndarray:
    """(H, W, 3) uint8 to (size, size, 3) uint8; black where the crop reaches past the image.

    Where the map shrinks by two or more, blocks of pixels are averaged first: bilinear sampling alone would alias.
    """
    (a, b, _), (c, d, _) = matrix.tolist()
    shrink = int(abs(a * d - b * c) ** -0.5)
    if shrink >= 2:
        height, width = image.shape[0] // shrink, image.shape[1] // shrink
        whole = image[: height * shrink, : width * shrink]
        image = cv2.resize(whole, (width, height), interpolation=cv2.INTER_AREA)
        # pixel x' of the small image covers pixels around shrink * x' + (shrink - 1) / 2 of the large one
        linear, offset = matrix[:, :2], matrix[:, 2]
        matrix = np.column_stack([shrink * linear, offset + linear @ np.full(2, (shrink - 1) / 2)])
    # OpenCV warps four channels in well under half the time that three take
    warped = cv2.warpAffine(cv2.cvtColor(image, cv2.COLOR_RGB2RGBA), matrix, (size, size), flags=cv2.INTER_LINEAR)
    return cv2.cvtColor(warped, cv2.COLOR_RGBA2RGB)


def read_image(reference: str) -> np.ndarray:
    """(H, W, 3) uint8, red first.

    Args:
        reference: a path, or `FILE.arrow#ROW` of a packed file (`rankpose.data.packed.reading`).

    Raises:
        DatasetError: the image cannot be read.
    """
    packed = _PACKED.match(reference)
    try:
        return decode(read_file(reference, "image file") if packed is None else packed_image(packed[1], int(packed[2])))
    except BadFile as bad:
        way_out = "remove it with its annotation" if packed is None else "prepare the file again"
        raise DatasetError(f"{reference}: {bad.reason}; repair it, or {way_out}.") from None
