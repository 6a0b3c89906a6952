"""What is behind and before the head? Walls, rooms, gardens, other people; hands, hair, scarves.

A background is mostly out of focus, so it is painted small and enlarged.
"""

from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import ArrayLike

Painter = Callable[[np.random.Generator, int], np.ndarray]
Colour = tuple[float, float, float]


def draw_background(rng: np.random.Generator, kind: str, size: int, blur_px: float) -> np.ndarray:
    """(size, size, 3) float32 RGB, display values (0 black, 1 white, brighter is blown out), blurred by `blur_px`."""
    small = size // 2 if blur_px >= 1.5 else size
    image = _PAINTERS[kind](rng, small)
    image = cv2.GaussianBlur(image, (0, 0), max(blur_px * small / size, 0.4))
    if small != size:
        image = cv2.resize(image, (size, size), interpolation=cv2.INTER_LINEAR)
    return np.maximum(image, 0.0, out=image)


def draw_colour(rng: np.random.Generator) -> np.ndarray:
    """(3,) float32: mostly greyish, dark and light ones common, now and then strong."""
    grey = rng.beta(0.7, 0.75)
    spread = rng.choice([0.02, 0.06, 0.18], p=[0.5, 0.36, 0.14])
    return np.clip(grey + rng.normal(0, spread, 3), 0.01, 1.0).astype(np.float32)


def smooth_noise(rng: np.random.Generator, size: int, cell_px: float, channels: int = 1) -> np.ndarray:
    """(size, size) or (size, size, channels) float32 noise of about unit deviation, blobs of `cell_px`."""
    cells = max(2, int(size / cell_px) + 2)
    coarse = rng.standard_normal((cells, cells, channels), dtype=np.float32)
    return cv2.resize(coarse, (size, size), interpolation=cv2.INTER_LINEAR)


def _plain(rng: np.random.Generator, size: int) -> np.ndarray:
    """A wall or a studio's paper: one colour, brighter towards one side."""
    column = np.linspace(-1, 1, size, dtype=np.float32)
    slope = rng.normal(0, 0.16, 2)
    shade = 1 + slope[0] * column[None, :] + slope[1] * column[:, None]
    if rng.random() < 0.5:
        shade = shade + rng.uniform(0, 0.08) * smooth_noise(rng, size, size * rng.uniform(0.1, 0.5))
    image: np.ndarray = shade.astype(np.float32)[..., None] * draw_colour(rng)
    return image


def _black(rng: np.random.Generator, size: int) -> np.ndarray:
    """Unlit."""
    return _plain(rng, size) * np.float32(rng.uniform(0, 0.12))


def _white(rng: np.random.Generator, size: int) -> np.ndarray:
    """Blown out."""
    image = np.full((size, size, 3), rng.uniform(0.93, 1.3), np.float32)
    return image + np.float32(rng.uniform(0, 0.1)) * smooth_noise(rng, size, size * 0.3)[..., None]


def _blotches(rng: np.random.Generator, size: int) -> np.ndarray:
    """Anything at all far out of focus."""
    image = np.empty((size, size, 3), np.float32)
    image[:] = draw_colour(rng)
    for cell in (rng.uniform(0.3, 0.7), rng.uniform(0.08, 0.25)):
        grey = smooth_noise(rng, size, cell * size)[..., None]
        image += np.float32(rng.uniform(0.04, 0.2)) * grey
        image += np.float32(rng.uniform(0, 0.06)) * smooth_noise(rng, size, cell * size, 3)
    return image


def _room(rng: np.random.Generator, size: int) -> np.ndarray:
    """A wall with a window, a door or a shelf, and things on it."""
    image = _plain(rng, size)
    for _ in range(rng.integers(1, 4)):  # tall things: doors, curtains, window frames
        left, width = int(rng.uniform(-0.2, 1) * size), int(rng.uniform(0.04, 0.45) * size)
        top, bottom = (-1, size) if rng.random() < 0.5 else (int(rng.uniform(-0.2, 0.5) * size), size)
        colour = draw_colour(rng) * (1.0 if rng.random() < 0.7 else rng.uniform(1.2, 2.0))
        cv2.rectangle(image, (left, top), (left + width, bottom), _scalar(colour), -1)
        if rng.random() < 0.4:
            cv2.rectangle(image, (left, top), (left + width, bottom), _scalar(draw_colour(rng)), max(1, size // 40))
    if rng.random() < 0.5:
        shelf = int(rng.uniform(0, 1) * size)
        cv2.line(image, (0, shelf), (size, shelf + int(rng.normal(0, 4))), _scalar(draw_colour(rng)), size // 30)
    for _ in range(rng.integers(0, 7)):  # small things
        corner = rng.uniform(-0.1, 1, 2) * size
        extent = rng.uniform(0.03, 0.2, 2) * size
        _rectangle(image, corner, extent, draw_colour(rng))
    return image


def _outdoor(rng: np.random.Generator, size: int) -> np.ndarray:
    """Sky, a strip of trees or houses, ground; or leaves all over."""
    if rng.random() < 0.4:
        image = np.empty((size, size, 3), np.float32)
        image[:] = _leaf_colour(rng)
    else:
        sky = np.array([0.75, 0.87, 1.0], np.float32) * rng.uniform(0.5, 1.4) + np.float32(rng.uniform(0, 0.3))
        image = np.empty((size, size, 3), np.float32)
        image[:] = sky
        horizon = int(rng.uniform(0.2, 1.1) * size)
        image[horizon:] = _leaf_colour(rng) if rng.random() < 0.5 else draw_colour(rng)
        for _ in range(rng.integers(0, 5)):
            width, height = rng.uniform(0.1, 0.5) * size, rng.uniform(0.05, 0.6) * size
            colour = _leaf_colour(rng) if rng.random() < 0.6 else draw_colour(rng)
            _rectangle(image, (rng.uniform(-0.2, 1) * size, horizon - height), (width, height + 2), colour)
    foliage = smooth_noise(rng, size, rng.uniform(1.5, 6)) + smooth_noise(rng, size, rng.uniform(6, 25))
    image *= (1 + np.float32(rng.uniform(0.05, 0.25)) * foliage)[..., None]
    return image


def _lights(rng: np.random.Generator, size: int) -> np.ndarray:
    """Out-of-focus lamps or sun through leaves."""
    image = _blotches(rng, size) * np.float32(rng.uniform(0.2, 0.9))
    for _ in range(rng.integers(4, 18)):
        place = rng.uniform(0, size, 2).astype(int)
        colour = np.clip(rng.uniform(0.5, 1.6) + rng.normal(0, 0.2, 3), 0, 2)
        cv2.circle(image, (int(place[0]), int(place[1])), int(rng.uniform(0.01, 0.06) * size), _scalar(colour), -1)
    return image


def _people(rng: np.random.Generator, size: int) -> np.ndarray:
    """Other heads with shoulders, some as near as the one that counts."""
    image = _room(rng, size) if rng.random() < 0.5 else _blotches(rng, size)
    for _ in range(rng.integers(1, 5)):
        x, y = rng.uniform(-0.05, 1.05) * size, rng.uniform(0.1, 0.9) * size
        radius = rng.uniform(0.06, 0.2) * size
        light = rng.uniform(0.4, 1.1)
        skin = np.array([0.85, 0.64, 0.53]) * light * rng.choice([1.0, 0.85, 0.55])
        hair = np.array([0.2, 0.14, 0.1]) * light * rng.uniform(0.3, 3.0)
        _ellipse(image, (x, y + 2.1 * radius), (1.7 * radius, radius), draw_colour(rng))
        _ellipse(image, (x, y - 0.25 * radius), (0.9 * radius, 1.15 * radius), hair)
        _ellipse(image, (x, y), (0.72 * radius, radius), skin)
        _ellipse(image, (x + 0.25 * radius, y + 0.1 * radius), (0.4 * radius, 0.8 * radius), skin * 0.8)
    return image


def _stripes(rng: np.random.Generator, size: int) -> np.ndarray:
    """Blinds, brick, boards, text: something with a beat."""
    angle = rng.choice([0.0, np.pi / 2, rng.uniform(0, np.pi)])
    along = np.arange(size, dtype=np.float32)
    across = np.cos(angle) * along[None, :] + np.sin(angle) * along[:, None]
    wave = np.sin(across * np.float32(2 * np.pi / (rng.uniform(0.04, 0.3) * size)) + rng.uniform(0, 6))
    sharp = np.clip(wave * rng.uniform(0.7, 4), -1, 1).astype(np.float32) * 0.5 + 0.5
    mix: np.ndarray = sharp[..., None]
    return np.asarray(mix * draw_colour(rng) + (1 - mix) * draw_colour(rng), np.float32)


def _leaf_colour(rng: np.random.Generator) -> np.ndarray:
    return np.array([0.36, 0.42, 0.27]) * rng.uniform(0.3, 1.6) * (1 + rng.normal(0, 0.09, 3))


def _scalar(colour: np.ndarray) -> Colour:
    return (float(colour[0]), float(colour[1]), float(colour[2]))


def _rectangle(image: np.ndarray, corner: ArrayLike, extent: ArrayLike, colour: np.ndarray) -> None:
    start = np.asarray(corner, float)
    end = start + np.asarray(extent, float)
    cv2.rectangle(image, (int(start[0]), int(start[1])), (int(end[0]), int(end[1])), _scalar(colour), -1)


def _ellipse(image: np.ndarray, centre: tuple[float, float], axes: tuple[float, float], colour: np.ndarray) -> None:
    cv2.ellipse(image, (int(centre[0]), int(centre[1])), (int(axes[0]), int(axes[1])), 0, 0, 360, _scalar(colour), -1)


def draw_occluder(
    rng: np.random.Generator, kind: str, image: np.ndarray, landmarks: np.ndarray, light: np.ndarray
) -> None:
    """Put something in front of the face, in place.

    `image` is (H, W, 3) float32 linear RGB, `landmarks` (68, 2) pixels, `light` the key light's direction (3,).
    """
    low, high = landmarks.min(0), landmarks.max(0)
    layer = np.zeros((*image.shape[:2], 4), np.float32)
    _OCCLUDERS[kind](rng, layer, image, (low + high) / 2, float((high - low).max()), light)
    red, green, blue, alpha = cv2.split(layer)
    clear = 1 - alpha
    image *= cv2.merge([clear, clear, clear])
    image += cv2.merge([red, green, blue])  # drawn with smooth edges over black, so already times alpha


def _hand(
    rng: np.random.Generator,
    layer: np.ndarray,
    image: np.ndarray,
    centre: np.ndarray,
    side: float,
    light: np.ndarray,
) -> None:
    """Fingers from below or beside, in the face's own colour."""
    skin = _colour_at(image, centre) * rng.uniform(0.75, 1.1)
    angle = rng.choice([-1, 1]) * rng.uniform(0.1, 1.3)  # 0 points up
    along = np.array([np.sin(angle), -np.cos(angle)])
    across = np.array([-along[1], along[0]])
    tip = centre + side * np.array([-np.sign(angle) * rng.uniform(0.15, 0.65), rng.uniform(-0.1, 0.55)])
    thick = side * rng.uniform(0.085, 0.115)
    palm = tip - along * side * 0.62
    _limb(layer, palm, palm - along * side * 0.8, 3.2 * thick, skin * 0.9, light)
    for finger in range(4):
        base = palm + across * (finger - 1.5) * thick * 1.02
        length = side * (0.5, 0.6, 0.57, 0.43)[finger] * rng.uniform(0.75, 1)
        bend = across * rng.normal(0.02, 0.04) * side
        _limb(layer, base, base + along * length + bend, thick, skin * rng.uniform(0.9, 1.05), light)


def _strand(
    rng: np.random.Generator,
    layer: np.ndarray,
    image: np.ndarray,
    centre: np.ndarray,
    side: float,
    light: np.ndarray,
) -> None:
    """Hair blown over the face."""
    hair = np.array([0.12, 0.08, 0.055]) * rng.uniform(0.1, 2.5) * (0.3 + _colour_at(image, centre).mean() * 2)
    start = centre + side * np.array([rng.uniform(-0.5, 0.5), rng.uniform(-0.75, -0.5)])
    end = centre + side * np.array([rng.uniform(-0.6, 0.6), rng.uniform(0, 0.7)])
    middle = (start + end) / 2 + side * rng.normal(0, 0.22, 2)
    t = np.linspace(0, 1, 14)[:, None]
    for _ in range(rng.integers(3, 22)):
        wander = side * rng.normal(0, [[0.03, 0.0], [0.04, 0.03], [0.06, 0.08]])
        p0, p1, p2 = start + wander[0], middle + wander[1], end + wander[2]
        path = (1 - t) ** 2 * p0 + 2 * t * (1 - t) * p1 + t**2 * p2
        colour = (*(hair * rng.uniform(0.6, 1.5) * 0.7).tolist(), 0.7)  # thinner than a pixel
        cv2.polylines(layer, [np.rint(path * 16).astype(np.int32)], False, colour, 1, cv2.LINE_AA, 4)


def _microphone(
    rng: np.random.Generator,
    layer: np.ndarray,
    image: np.ndarray,
    centre: np.ndarray,
    side: float,
    light: np.ndarray,
) -> None:
    """A dark stick with a round end before the mouth."""
    tone = np.array([0.03, 0.03, 0.03]) * rng.uniform(0.5, 4)
    tip = centre + side * np.array([rng.uniform(-0.3, 0.3), rng.uniform(0.2, 0.5)])
    end = tip + side * np.array([rng.uniform(-0.7, 0.7), rng.uniform(0.5, 0.9)])
    _limb(layer, tip, end, side * 0.09, tone, light)
    _limb(layer, tip, tip + (end - tip) * 0.05, side * 0.19, tone * 1.8, light)


def _cloth(
    rng: np.random.Generator,
    layer: np.ndarray,
    image: np.ndarray,
    centre: np.ndarray,
    side: float,
    light: np.ndarray,
) -> None:
    """A scarf or a raised collar over the chin."""
    tone = draw_colour(rng) ** 2 * 0.7
    level = centre[1] + side * rng.uniform(0.3, 0.5)
    bow = side * rng.uniform(-0.1, 0.12)
    columns = np.linspace(centre[0] - side, centre[0] + side, 15)
    rows = level + bow * ((columns - centre[0]) / side) ** 2 + rng.normal(0, side * 0.012, 15)
    for fold in range(6):
        outline = np.stack([columns, rows + fold * side * 0.1], 1)
        polygon = np.concatenate([outline, [[columns[-1], 400], [columns[0], 400]]])
        colour = (*(tone * rng.uniform(0.6, 1.1)).tolist(), 1.0)
        cv2.fillPoly(layer, [np.rint(polygon * 16).astype(np.int32)], colour, cv2.LINE_AA, 4)


def _limb(
    layer: np.ndarray, start: np.ndarray, end: np.ndarray, thick: float, colour: np.ndarray, light: np.ndarray
) -> None:
    """A round stick: dark at the rim, brighter on the side of the light."""
    aside = np.array([light[0], -light[1]]) * thick
    for size, offset, gain in ((1.0, 0.0, 0.5), (0.82, 0.05, 0.8), (0.55, 0.11, 1.0), (0.3, 0.16, 1.12)):
        ends = [tuple(np.rint((p + aside * offset) * 16).astype(int).tolist()) for p in (start, end)]
        shade = (*(np.asarray(colour) * gain).tolist(), 1.0)
        cv2.line(layer, ends[0], ends[1], shade, max(1, round(thick * size)), cv2.LINE_AA, 4)


def _colour_at(image: np.ndarray, place: np.ndarray) -> np.ndarray:
    """(3,) the mean colour in a small window."""
    column, row = int(place[0]), int(place[1])
    colour: np.ndarray = image[max(row - 12, 0) : row + 12, max(column - 12, 0) : column + 12].mean((0, 1))
    return colour


_OCCLUDERS = {"hand": _hand, "strand": _strand, "cloth": _cloth, "microphone": _microphone}
OCCLUDERS = tuple(_OCCLUDERS)


_PAINTERS: dict[str, Painter] = {
    "plain": _plain,
    "black": _black,
    "white": _white,
    "blotches": _blotches,
    "room": _room,
    "outdoor": _outdoor,
    "lights": _lights,
    "people": _people,
    "stripes": _stripes,
}
KINDS = tuple(_PAINTERS)
