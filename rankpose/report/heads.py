"""How is one head shown? The crop with true and predicted axes, as a picture, and its angles in words.

A head's three axes are drawn on a photograph (`draw_axes`) of the square that the network saw (`crop_from_file`).
"""

import base64
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from rankpose.data.crop import read_image, square_matrix, warp_image
from rankpose.errors import DatasetError
from rankpose.pose import ANGLES, euler_to_rotmat
from rankpose.report.tables import wrapped_errors_deg
from rankpose.report.text_table import format_number

Image = NDArray[np.uint8]
"""(H, W, 3), RGB."""

AXIS_RGB = ((226, 54, 54), (46, 174, 82), (48, 118, 244))
"""Colours of the x, y and z axis."""
NO_PICTURE = 128
"""The grey of an image that has gone."""


@dataclass(frozen=True)
class Tile:
    """One image of a gallery."""

    name: str
    uri: str | None
    """None: the image file is gone."""
    rows: list[tuple[str, str, str, str]]
    """angle, true, predicted, absolute error; as text, degrees."""
    geodesic: str


def head_tile(row: dict[Any, Any], folder: Path, size: int) -> Tile:
    """A row of a table of predictions as a tile.

    Args:
        row: the columns `tables.PREDICTION_COLUMNS`.
        folder: where an image whose path is relative is looked for, after the working directory.
        size: of the picture, pixels.
    """
    true, predicted = poses(row)
    drawn = head_picture(row, size, folder)
    errors = np.abs(wrapped_errors_deg(predicted, true))
    rows = [(angle, degrees(true[k]), degrees(predicted[k]), degrees(errors[k])) for k, angle in enumerate(ANGLES)]
    return Tile(str(row["name"]), None if drawn is None else jpeg_uri(drawn), rows, degrees(row["geodesic"]))


def head_picture(row: dict[Any, Any], size: int, folder: Path = Path()) -> Image | None:
    """What the network saw with true and predicted axes, (size, size, 3); None where the image has gone."""
    reference = str(row["image"])
    crop = None
    for place in (reference, str(folder / reference)):
        if crop is None:
            crop = crop_from_file(place, row["crop_x"], row["crop_y"], row["crop_side"], size)
    return None if crop is None else gallery_tile(crop, *poses(row))


def head_or_grey(row: dict[Any, Any], size: int) -> Image:
    """As `head_picture`, and a grey square where the image has gone."""
    drawn = head_picture(row, size)
    return np.full((size, size, 3), NO_PICTURE, np.uint8) if drawn is None else drawn


def poses(row: dict[Any, Any]) -> tuple[np.ndarray, np.ndarray]:
    """True and predicted pose, each (3,) degrees."""
    true, predicted = ([row[f"{angle}{end}"] for angle in ANGLES] for end in ("", "_pred"))
    return np.array(true, dtype=float), np.array(predicted, dtype=float)


def degrees(value: float) -> str:
    """An angle for reading."""
    return format_number(float(value), 1)


def draw_axes(
    image: Image,
    pose_deg: ArrayLike,
    centre: tuple[float, float] | None = None,
    length: float | None = None,
    thickness: float = 3.0,
    dashed: bool = False,
) -> Image:
    """Draw a head's three axes on a copy of an image.

    They are the columns of the head's rotation in the frame x right, y up, z towards the camera, projected along the
    camera's axis (no perspective). At zero pose: **x, red**, points to the right of the image (the person's own left
    ear); **y, green**, points **up** to the crown of the head; **z, blue**, comes out of the face at the camera and is
    a dot. A positive yaw moves the tip of z to the left of the image, a positive pitch moves it up.

    Args:
        image: (H, W, 3) uint8, RGB. Left as it is.
        pose_deg: (3,) yaw, pitch, roll in degrees.
        centre: x, y in pixels where the axes meet; the middle of the image by default.
        length: length in pixels of an axis that lies in the image plane; 0.36 of the shorter side by default.
        thickness: of a line, pixels.
        dashed: thin pale dashes, for the true pose beside a predicted one.

    Returns:
        (H, W, 3) uint8, RGB. A pose that is not finite draws nothing.
    """
    canvas = np.ascontiguousarray(image).copy()
    pose = np.asarray(pose_deg, dtype=np.float64)
    if pose.shape != (3,):
        raise ValueError(f"a pose is (yaw, pitch, roll), got the shape {pose.shape}")
    if not np.isfinite(pose).all():
        return canvas
    height, width = canvas.shape[:2]
    middle = np.array(centre if centre is not None else ((width - 1) / 2, (height - 1) / 2))
    length = 0.36 * min(height, width) if length is None else length
    rotation = euler_to_rotmat(torch.from_numpy(pose)).numpy()  # columns: the head's axes seen by the camera
    tips = middle + length * rotation[:2].T * (1.0, -1.0)  # (3, 2) pixels; rows of an image grow downwards
    # the axis that points farthest away from the camera comes first, to be covered by the nearer ones
    for axis in np.argsort(rotation[2]):
        colour = AXIS_RGB[axis]
        if dashed:
            pale = tuple(int(255 - 0.22 * (255 - value)) for value in colour)
            _dashes(canvas, middle, tips[axis], pale, thickness, dash=0.1 * length)
            if axis == 2:
                _dot(canvas, tips[axis], 0.9 * thickness, pale, rim=0.5 * thickness)
        else:
            _line(canvas, middle, tips[axis], (20, 22, 26), thickness + 1.6)  # a dark rim stands out on any skin
            _line(canvas, middle, tips[axis], colour, thickness)
            if axis == 2:
                _dot(canvas, tips[axis], 1.5 * thickness, colour, rim=0.8)
    return canvas


def crop_from_file(reference: str | Path, crop_x: float, crop_y: float, crop_side: float, size: int) -> Image | None:
    """The square that the network saw, (size, size, 3) RGB; black where it reaches past the edge of the image.

    `reference` is what `rankpose.data.crop.read_image` reads. `crop_x`, `crop_y` (the left and top edge) and
    `crop_side` are pixels of that image, whole numbers at pixel centres. None where there is no such file, it is no
    image, or the square is no square: pictures of a run outlive its data.
    """
    if not (math.isfinite(crop_x) and math.isfinite(crop_y) and math.isfinite(crop_side) and crop_side > 0):
        return None
    try:
        stored = read_image(str(reference))
    except DatasetError:
        return None
    return warp_image(stored, square_matrix(crop_x, crop_y, crop_side, size), size)


def gallery_tile(crop: Image, true_deg: ArrayLike, predicted_deg: ArrayLike) -> Image:
    """A crop with the predicted axes (solid) and the true ones (pale dashes on top), legible at half its size."""
    size = crop.shape[0]
    drawn = draw_axes(crop, predicted_deg, thickness=size / 68)
    return draw_axes(drawn, true_deg, thickness=size / 130, dashed=True)


def jpeg_uri(image: Image, quality: int = 84) -> str:
    """An RGB image as a `data:` address. Colour is kept at full resolution: half of it would smear thin red lines."""
    options = [
        cv2.IMWRITE_JPEG_QUALITY,
        quality,
        cv2.IMWRITE_JPEG_SAMPLING_FACTOR,
        cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444,
        cv2.IMWRITE_JPEG_OPTIMIZE,
        1,
    ]
    written, data = cv2.imencode(".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), options)
    if not written:
        raise ValueError("OpenCV could not write the image as JPEG")
    return "data:image/jpeg;base64," + base64.b64encode(data.tobytes()).decode()


_SUBPIXEL_BITS = 4


def _fixed(point: NDArray[np.float64]) -> tuple[int, int]:
    """OpenCV's fixed-point pixels: short axes would otherwise jump from whole pixel to whole pixel."""
    x, y = np.round(point * (1 << _SUBPIXEL_BITS)).astype(int)
    return int(x), int(y)


def _line(
    canvas: Image, start: NDArray[np.float64], end: NDArray[np.float64], colour: Sequence[int], thickness: float
) -> None:
    """An antialiased line with round ends, of any width (OpenCV's own are of whole pixels): a filled outline."""
    along = end - start
    angle = math.degrees(math.atan2(along[1], along[0]))
    half = thickness / 2
    # the outline: half a circle around each end
    turn = np.radians(np.arange(90, 271, 15) + angle)
    arc = half * np.stack([np.cos(turn), np.sin(turn)], axis=1)
    outline = np.concatenate([start + arc, end - arc])
    points = np.round(outline * (1 << _SUBPIXEL_BITS)).astype(np.int32)
    cv2.fillConvexPoly(canvas, points, tuple(colour), cv2.LINE_AA, _SUBPIXEL_BITS)


def _dashes(
    canvas: Image,
    start: NDArray[np.float64],
    end: NDArray[np.float64],
    colour: Sequence[int],
    thickness: float,
    dash: float,
) -> None:
    distance = float(np.hypot(*(end - start)))
    pieces = max(1, round((distance / dash + 0.7) / 1.7))  # a gap is 0.7 dashes; both ends are dashes
    step = 1.0 / (pieces + 0.7 * (pieces - 1))
    for piece in range(pieces):
        first = start + (end - start) * (1.7 * piece * step)
        last = start + (end - start) * (1.7 * piece + 1) * step
        _line(canvas, first, last, (20, 22, 26), thickness + 1.4)
        _line(canvas, first, last, colour, thickness)


def _dot(canvas: Image, point: NDArray[np.float64], radius: float, colour: Sequence[int], rim: float) -> None:
    one = 1 << _SUBPIXEL_BITS
    cv2.circle(canvas, _fixed(point), round((radius + rim) * one), (20, 22, 26), -1, cv2.LINE_AA, _SUBPIXEL_BITS)
    cv2.circle(canvas, _fixed(point), round(radius * one), tuple(colour), -1, cv2.LINE_AA, _SUBPIXEL_BITS)
