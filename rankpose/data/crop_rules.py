"""Which part of an image each published model was made to see: named rules from a face's points to a network's input.

A figure belongs to its crop. A rule is a small class that is called with the image, the points that the face box goes
around (`rankpose.data.crop.face_points`) and the side of the input. All rules reach past the image's edge where the
face does and see black there; none shifts the crop.

Pixel coordinates: whole numbers are pixel centres, y points down. To add a rule, write one class here and name it in
`CROP_RULES`.
"""

from dataclasses import dataclass
from typing import Annotated, Protocol

import cv2
import numpy as np
from annotated_types import Ge
from PIL import Image
from torchvision.transforms import functional as pil_transforms

from rankpose.checks import NotNegative, Positive, checked
from rankpose.data.crop import View, crop_matrix, plain_square, warp_image
from rankpose.errors import ConfigError

Rectangle = tuple[float, float, float, float]
"""Left, top, right and bottom edge in pixels; pixel 0 reaches from -0.5 to 0.5."""


class CropRule(Protocol):
    """The interface of a crop rule."""

    def rectangle(self, points: np.ndarray) -> Rectangle:
        """The part of the image that the network sees; its edges become those of the input. (M, 2) pixels."""
        ...

    def __call__(self, image: np.ndarray, points: np.ndarray, size: int) -> np.ndarray:
        """(H, W, 3) uint8 and (M, 2) pixels to (size, size, 3) uint8."""
        ...


@checked()
@dataclass(frozen=True)
class RankPoseCrop:
    """RankPose's: the square with the middle of the face box, its side `scale` times the box's larger side."""

    scale: Positive = 1.4

    def rectangle(self, points: np.ndarray) -> Rectangle:
        left, top, side = plain_square(points, self.scale)
        return left, top, left + side, top + side

    def __call__(self, image: np.ndarray, points: np.ndarray, size: int) -> np.ndarray:
        return warp_image(image, crop_matrix(points, size, View(scale=self.scale)), size)


@checked()
@dataclass(frozen=True)
class HopeNetCrop:
    """HopeNet's in testing (Ruiz et al., CVPR Workshops 2018), which 6DRepNet and many others took over.

    The box grows to the left and top by 2k of its width and height. The original code then measures the width and
    height anew, so that it grows by 2k (1 + 2k) to the right and 0.6k (1 + 2k) at the bottom: 0.56 and 0.168 for
    k = 0.2. Bounds are cut to whole pixels, the short side is resized to the input's (bilinear, anti-aliased), and the
    middle square is kept.

    The original code takes AFLW2000's `pt2d`, which has -1 for unseen points; here every rule gets the same 68 points.

    Args:
        k: how far the box grows.
        zoom: the short side after resizing over the input's side: 1 for HopeNet, 256/224 for 6DRepNet.
    """

    k: NotNegative = 0.2
    zoom: Annotated[float, Ge(1)] = 1.0

    def rectangle(self, points: np.ndarray) -> Rectangle:
        left, top, right, bottom = self._box(points)
        half = min(right - left, bottom - top) / 2 / self.zoom
        x, y = (left + right - 1) / 2, (top + bottom - 1) / 2
        return x - half, y - half, x + half, y + half

    def __call__(self, image: np.ndarray, points: np.ndarray, size: int) -> np.ndarray:
        loose = pil_transforms.resize(Image.fromarray(image).crop(self._box(points)), [round(self.zoom * size)])
        return np.array(pil_transforms.center_crop(loose, [size]))

    def _box(self, points: np.ndarray) -> tuple[int, int, int, int]:
        (left, top), (right, bottom) = points.min(axis=0), points.max(axis=0)
        left, top = left - 2 * self.k * (right - left), top - 2 * self.k * (bottom - top)
        right, bottom = right + 2 * self.k * (right - left), bottom + 0.6 * self.k * (bottom - top)
        return _pixels(np.trunc([left, top, right, bottom]))


@checked()
@dataclass(frozen=True)
class BoxCrop:
    """The face box with a margin on each side, bounds rounded to whole pixels, resized to the input (bilinear).

    A box that is not square is stretched. Margins are shares of the box's width (left, right) and height (top,
    bottom).
    """

    left: float = 0.0
    top: float = 0.0
    right: float = 0.0
    bottom: float = 0.0

    def __post_init__(self) -> None:
        for first, second in (("left", "right"), ("top", "bottom")):
            if not getattr(self, first) + getattr(self, second) > -1:
                raise ConfigError(f"{first}={getattr(self, first)}, {second}={getattr(self, second)}: leave no box.")

    def rectangle(self, points: np.ndarray) -> Rectangle:
        left, top, right, bottom = self._box(points)
        return left - 0.5, top - 0.5, right - 0.5, bottom - 0.5

    def __call__(self, image: np.ndarray, points: np.ndarray, size: int) -> np.ndarray:
        box = np.asarray(Image.fromarray(image).crop(self._box(points)))
        return cv2.resize(box, (size, size), interpolation=cv2.INTER_LINEAR)

    def _box(self, points: np.ndarray) -> tuple[int, int, int, int]:
        low, high = points.min(axis=0), points.max(axis=0)
        outer_low = low - (high - low) * [self.left, self.top]
        outer_high = high + (high - low) * [self.right, self.bottom]
        return _pixels(np.round([*outer_low, *outer_high]))


@dataclass(frozen=True)
class FSANetCrop(BoxCrop):
    """FSA-Net's (Yang et al., CVPR 2019): the face box with 0.6 of its side added on every side, stretched."""

    left: float = 0.6
    top: float = 0.6
    right: float = 0.6
    bottom: float = 0.6


CROP_RULES: dict[str, type] = {
    "rankpose": RankPoseCrop,
    "hopenet": HopeNetCrop,
    "fsanet": FSANetCrop,
    "box": BoxCrop,
}
"""The rules by the names that a model's description uses."""


_LARGE = 10_000  # pixels


def extent_of(rule: CropRule, points: np.ndarray, face: np.ndarray) -> float:
    """Side of the square about a face box's middle that holds a crop, over the box's larger side.

    Args:
        rule: takes the crop.
        points: (M, 2) pixels, what it goes around.
        face: (M, 2) pixels, what the face box goes around: the same, but where a corruption has moved the points.
    """
    low, high = face.min(axis=0), face.max(axis=0)
    # as on a large face, where whole pixels are small
    rectangle = rule.rectangle((points - (low + high) / 2) * (_LARGE / (high - low).max()))
    return 2 * max(map(abs, rectangle)) / _LARGE


def _pixels(bounds: np.ndarray) -> tuple[int, int, int, int]:
    """Whole bounds, right and bottom outside; a face smaller than a pixel still gets one."""
    left, top, right, bottom = (int(bound) for bound in bounds)
    return left, top, max(right, left + 1), max(bottom, top + 1)
