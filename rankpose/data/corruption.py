"""How is a test image made worse, and by how much? Eight kinds of corruption at five strengths each.

The model is ImageNet-C (Hendrycks and Dietterich, ICLR 2019): common corruptions at five severities, here from hardly
visible to hard while a person still reads the pose. Its levels are pixels of an image that one object fills. A face in
a photograph has any size, so ours are **relative to the face**: a share of the larger side of the face box, or pixels
of a face that is `REFERENCE` pixels large. The same strength then means the same in every photograph, but that a face
of few pixels has less to lose.

Pixels are corrupted before the crop is taken, in the neighbourhood of the face alone (`REACH`). A box that is wrong
leaves the pixels as they are and moves the points that the crop is made from.

An image's random draws are the same at every strength: a curve over strengths shows the strength, not the luck.
"""

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
from scipy.special import ndtri

from rankpose.errors import ConfigError

REFERENCE = 112
"""Side in pixels at which noise and JPEG see a face: what an input of 157 pixels shows of it under the crop of 1.4."""
REACH = 0.65
"""How far the neighbourhood reaches beyond the face box, over its side; FSA-Net's crop, the widest, takes 0.6."""
STRENGTHS = (1, 2, 3, 4, 5)


@dataclass(frozen=True)
class Levels:
    """What the five strengths of a corruption are."""

    values: tuple[float, float, float, float, float]
    unit: str
    """What a value measures, as in a table's head."""


KINDS = {
    # out of focus or in motion; at 0.055 an eye is a smudge, and the head's outline is left
    "blur": Levels((0.01, 0.018, 0.028, 0.04, 0.055), "Gaussian sigma, share of the face's side"),
    # high ISO in ever less light, brightened again
    "noise": Levels((400, 150, 60, 28, 14), f"electrons at white, face of {REFERENCE} px"),
    # from a chat programme's quality to that of a thumbnail
    "jpeg": Levels((50, 30, 18, 11, 7), f"JPEG quality, face of {REFERENCE} px"),
    # evening, a lit street, a car at night, with the noise of so little light, and not brightened
    "dark": Levels((0.5, 1.2, 2, 3, 4), "stops of underexposure"),
    # a finger, a hand, a mask, a scarf, half of the face
    "occlusion": Levels((0.05, 0.12, 0.2, 0.32, 0.45), "share of the face box covered"),
    # detectors disagree by up to a tenth; at 0.2 the crop at 1.4 times the box begins to lose the face
    "box_shift": Levels((0.04, 0.08, 0.13, 0.19, 0.26), "shift, share of the face's side"),
    # boxes with and without forehead differ by 1.3; larger or smaller with equal chance
    "box_scale": Levels((1.08, 1.16, 1.26, 1.4, 1.6), "factor of the box's side, or its inverse"),
    # a passer-by, a guest of a video call, a spectator on a stand
    "low_resolution": Levels((64, 48, 32, 24, 16), "pixels across the face"),
}
"""Names as `protocol.corruption` takes them."""

_READ_NOISE = 2.0  # electrons, a good sensor's
_DARK_ELECTRONS = 1000.0  # at white before it gets dark: a small camera's, indoors
_STRIP = 16  # rows at a time: page faults of larger temporary arrays can cost more than the arithmetic
_TEXTURE = 64  # pixels a side, enlarged to the patch


def _light(display: np.ndarray) -> np.ndarray:
    """sRGB (IEC 61966-2-1) to linear light, both 0 to 1."""
    return np.where(display <= 0.04045, display / 12.92, ((display + 0.055) / 1.055) ** 2.4)


def _display(light: np.ndarray) -> np.ndarray:
    """The inverse, as a pixel's value."""
    curve = np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)
    return np.round(255 * curve).astype(np.uint8)


_LIGHT_TABLE = _light(np.arange(256) / 255)  # of a pixel's value
_DISPLAY_TABLE = _display(np.arange(65536) / 65535)  # of light in 16 bits
# 16 random bits to a normal number: seven times as fast as drawing one, and its variance is right to 0.1 %
_NORMAL_TABLE = ndtri((np.arange(65536) + 0.5) / 65536).astype(np.float32)


@dataclass(frozen=True)
class Corruption:
    """One kind at one strength.

    Args:
        kind: one of `KINDS`.
        strength: 1 to 5; 0 changes nothing.

    Raises:
        ConfigError: no such kind or strength.
    """

    kind: str
    strength: int

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ConfigError(f"protocol.corruption={self.kind}: no such corruption; choose one of {', '.join(KINDS)}.")
        if not isinstance(self.strength, int) or self.strength not in (0, *STRENGTHS):
            raise ConfigError(
                f"protocol.corruption={self.kind} at strength {self.strength}: "
                f"a strength is a whole number from 0 (clean) to {STRENGTHS[-1]}."
            )

    @property
    def level(self) -> float | None:
        """What the strength is in the kind's unit; None where it is clean."""
        return KINDS[self.kind].values[self.strength - 1] if self.strength else None

    def __str__(self) -> str:
        if self.level is None:
            return f"{self.kind}, clean"
        return f"{self.kind}, strength {self.strength} of {STRENGTHS[-1]} ({KINDS[self.kind].unit}: {self.level:g})"

    def image(self, image: np.ndarray, face_box: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """The image as the network's crop is taken from it.

        Args:
            image: (H, W, 3) uint8, RGB; left as it is.
            face_box: (4,) left, top, right, bottom in pixels; may reach past the image.
            rng: see `image_rng`.

        Returns:
            (H, W, 3) uint8; the given array itself where nothing changes.
        """
        level, corrupt = self.level, _PIXELS.get(self.kind)
        if level is None or corrupt is None:
            return image
        box = np.asarray(face_box, dtype=np.float64)
        reach = REACH * _side(box)
        size = np.array([image.shape[1], image.shape[0]])
        left, top = np.clip(np.floor(box[:2] - reach), 0, size).astype(int)
        right, bottom = np.clip(np.ceil(box[2:] + reach) + 1, 0, size).astype(int)
        if left >= right or top >= bottom:
            return image
        corrupted = image.copy()
        region = corrupted[top:bottom, left:right]
        region[:] = corrupt(region, box - (left, top, left, top), level, rng)
        return corrupted

    def points(self, points: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """The points that the crop goes around.

        Args:
            points: (M, 2) pixels, as `rankpose.data.crop.face_points` gives them; left as they are.
            rng: see `image_rng`.

        Returns:
            (M, 2) pixels; the given array itself where nothing changes.
        """
        level, corrupt = self.level, _POINTS.get(self.kind)
        return points if level is None or corrupt is None else corrupt(points, level, rng)


def image_rng(seed: int, row: int) -> np.random.Generator:
    """The random draws of an image, from its row in the set: the same in whichever process and order it is read."""
    return np.random.default_rng([seed, row])


def _side(box: np.ndarray) -> float:
    """The larger side of (4,) left, top, right, bottom; a face below a pixel would be enlarged without end."""
    return float(max(box[2] - box[0], box[3] - box[1], 1.0))


def _resize(image: np.ndarray, width: int, height: int) -> np.ndarray:
    """Bilinear; averages where it shrinks to a half or less, where bilinear sampling alone would alias."""
    shrinks = 4 * width * height <= image.shape[0] * image.shape[1]
    return cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)


def _scaled(region: np.ndarray, scale: float) -> np.ndarray:
    height, width = region.shape[:2]
    return _resize(region, max(1, round(scale * width)), max(1, round(scale * height)))


# Each takes the neighbourhood (H, W, 3) uint8, the face box (4,) in its pixels, the level and the random draws.
def _blur(region: np.ndarray, box: np.ndarray, sigma_share: float, rng: np.random.Generator) -> np.ndarray:
    sigma = sigma_share * _side(box)
    # a wide Gaussian is as good on a smaller image, where shrinking and enlarging add 1.4 % to its width
    shrink = max(1.0, sigma / 3)
    small = _scaled(region, 1 / shrink) if shrink > 1 else region
    small = cv2.GaussianBlur(small, (0, 0), sigma / shrink)
    return _resize(small, region.shape[1], region.shape[0])


def _noise(region: np.ndarray, box: np.ndarray, electrons: float, rng: np.random.Generator) -> np.ndarray:
    return _at_reference(region, box, lambda seen: _sensor(seen, electrons, rng))


def _jpeg(region: np.ndarray, box: np.ndarray, quality: float, rng: np.random.Generator) -> np.ndarray:
    def compress(seen: np.ndarray) -> np.ndarray:
        # OpenCV takes blue first; albumentations does not reorder, and would thin out the wrong colours
        _, packed = cv2.imencode(
            ".jpg", cv2.cvtColor(seen, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, int(quality)]
        )
        return np.asarray(cv2.imdecode(packed, cv2.IMREAD_COLOR_RGB))

    return _at_reference(region, box, compress)


def _dark(region: np.ndarray, box: np.ndarray, stops: float, rng: np.random.Generator) -> np.ndarray:
    dim = cv2.LUT(region, _display(2.0**-stops * _LIGHT_TABLE))
    return _at_reference(dim, box, lambda seen: _sensor(seen, _DARK_ELECTRONS, rng))


def _occlude(region: np.ndarray, box: np.ndarray, share: float, rng: np.random.Generator) -> np.ndarray:
    """An opaque rectangle, from a lying to a standing bar, anywhere in the face box."""
    height, width = region.shape[:2]
    lies, x, y, *place = rng.uniform(size=5)
    extent = np.array([share ** (0.25 + 0.5 * lies), share ** (0.75 - 0.5 * lies)])  # of the box; the product is share
    corner = (1 - extent) * (x, y)
    sides = box[2:] - box[:2]
    low, high = (box[:2] + sides * corners for corners in (corner, corner + extent))
    left, top = np.clip(np.round(low), 0, (width, height)).astype(int)
    right, bottom = np.clip(np.round(high), 0, (width, height)).astype(int)
    colour = np.clip(region[int(place[1] * height), int(place[0] * width)], 50, 205)  # room for the texture
    if left < right and top < bottom:
        patch = np.clip(colour + 255 * _natural_texture(rng), 0, 255).astype(np.uint8)
        region[top:bottom, left:right] = _resize(patch, right - left, bottom - top)
    return region


def _low_resolution(region: np.ndarray, box: np.ndarray, pixels: float, rng: np.random.Generator) -> np.ndarray:
    scale = pixels / _side(box)
    return region if scale >= 1 else _resize(_scaled(region, scale), region.shape[1], region.shape[0])


def _at_reference(region: np.ndarray, box: np.ndarray, corrupt: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """Adds what a corruption does to the face at `REFERENCE` pixels.

    Finer detail of a larger face stays; on a smaller face the change is averaged as the face would be.
    """
    seen = _scaled(region, REFERENCE / _side(box))
    change = cv2.subtract(corrupt(seen), seen, dtype=cv2.CV_16S)
    return cv2.add(region, _resize(change, region.shape[1], region.shape[0]), dtype=cv2.CV_8U)


def _sensor(scene: np.ndarray, electrons: float, rng: np.random.Generator) -> np.ndarray:
    """What a sensor sees that counts so many electrons at white: shot noise and read noise on linear light.

    The Gaussian model of Foi et al., "Practical Poissonian-Gaussian noise modeling" (IEEE TIP 2008): a value x of x N
    electrons has the variance x N + r^2. albumentations' ISONoise brightens and depends on the contrast of the picture;
    its ShotNoise draws Poisson numbers, thirty times as slow.
    """
    light_table = (65535 * _LIGHT_TABLE).astype(np.float32)
    deviation = np.sqrt(electrons * _LIGHT_TABLE + _READ_NOISE**2) / electrons
    deviation_table = (65535 * deviation).astype(np.float32)
    seen = np.empty_like(scene)
    for top in range(0, len(scene), _STRIP):
        strip = scene[top : top + _STRIP]
        normal = cv2.LUT(rng.integers(65536, size=strip.shape, dtype=np.uint16), _NORMAL_TABLE)
        noise = cv2.multiply(normal, cv2.LUT(strip, deviation_table))
        # 16 bits saturate at black and at white
        counted = cv2.add(cv2.LUT(strip, light_table), noise, dtype=cv2.CV_16U)
        seen[top : top + _STRIP] = cv2.LUT(counted, _DISPLAY_TABLE)
    return seen


def _natural_texture(rng: np.random.Generator) -> np.ndarray:
    """(64, 64, 3) with the 1/f amplitudes of natural images (Field 1987), mean 0, deviation 0.12, mostly grey."""
    cycles = np.fft.fftfreq(_TEXTURE)[:, None], np.fft.rfftfreq(_TEXTURE)
    frequency = np.hypot(*cycles)
    frequency[0, 0] = np.inf
    white = np.fft.rfft2(rng.standard_normal((_TEXTURE, _TEXTURE, 4)), axes=(0, 1))
    grey, *colours = np.moveaxis(np.fft.irfft2(white / frequency[..., None], axes=(0, 1)), 2, 0)
    texture = np.stack([grey + 0.12 * colour for colour in colours], axis=2)
    return np.asarray(0.12 * texture / texture.std())


def _shift(points: np.ndarray, share: float, rng: np.random.Generator) -> np.ndarray:
    """By a share of the larger side, in any direction."""
    direction = rng.uniform(0, 2 * np.pi)
    towards = np.array([np.cos(direction), np.sin(direction)])
    return np.asarray(points + share * np.ptp(points, axis=0).max() * towards)


def _scale(points: np.ndarray, factor: float, rng: np.random.Generator) -> np.ndarray:
    """About the middle of the box around the points."""
    middle = (points.min(axis=0) + points.max(axis=0)) / 2
    return np.asarray(middle + factor ** (1 if rng.random() < 0.5 else -1) * (points - middle))


_PIXELS = {
    "blur": _blur,
    "noise": _noise,
    "jpeg": _jpeg,
    "dark": _dark,
    "occlusion": _occlude,
    "low_resolution": _low_resolution,
}
_POINTS = {"box_shift": _shift, "box_scale": _scale}
