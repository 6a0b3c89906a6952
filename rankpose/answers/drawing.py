"""How is a pose drawn on somebody's picture? Axes or a cube, one colour a person, the angles beside the head."""

from collections.abc import Sequence

import cv2
import numpy as np

from rankpose.errors import ConfigError
from rankpose.faces import Box
from rankpose.predictors.load import Head
from rankpose.report.heads import draw_axes

KINDS = ("axes", "cube", "none")
PERSON_RGB = (
    *((255, 196, 0), (0, 200, 255), (255, 96, 160), (120, 220, 80), (190, 130, 255), (255, 130, 40)),
    *((80, 230, 190), (240, 240, 90), (120, 160, 255), (230, 150, 210)),
)
"""Of person 1, 2 and so on, and from the start again."""
_DARK = (20, 22, 26)
_WHITE = (255, 255, 255)
_FONT = cv2.FONT_HERSHEY_SIMPLEX
_EDGES = [(a, b) for a in range(8) for b in range(a + 1, 8) if bin(a ^ b).count("1") == 1]
"""Of a cube whose corner `k` has the signs of k's three bits."""


def check_kind(kind: str) -> str:
    """Raises `ConfigError` where there is no such way to draw."""
    if kind not in KINDS:
        raise ConfigError(f"draw={kind}: must be one of {', '.join(KINDS)}.")
    return kind


def colour_of(person: int | None) -> tuple[int, int, int]:
    """Red, green, blue of a person; grey for nobody."""
    return (190, 190, 190) if person is None else PERSON_RGB[(person - 1) % len(PERSON_RGB)]


def draw_heads(image: np.ndarray, heads: Sequence[Head], people: Sequence[int | None], kind: str) -> np.ndarray:
    """A copy of a picture with its heads drawn.

    Args:
        image: (H, W, 3) uint8, red first.
        heads: of the picture.
        people: of each head the person, which says its colour.
        kind: one of `KINDS`; `none` draws nothing.

    Returns:
        (H, W, 3) uint8.
    """
    drawn = np.ascontiguousarray(image).copy()
    if kind == "none":
        return drawn
    for head, person in zip(heads, people, strict=True):
        left, top, right, bottom = head.box
        middle, side = ((left + right) / 2, (top + bottom) / 2), max(right - left, bottom - top)
        _corners(drawn, head, colour_of(person))
        if kind == "axes":
            _axes(drawn, head, middle, side)
        else:
            _cube(drawn, head.rotation, middle, 0.5 * side, colour_of(person))
    taken = [head.box for head in heads]
    for head, person in zip(heads, people, strict=True):  # on top of all axes
        taken.append(_label(drawn, head, person, taken))
    return drawn


def _fixed(points: np.ndarray) -> np.ndarray:
    return np.round(np.asarray(points) * 16).astype(np.int32)


def _stroke(canvas: np.ndarray, start: np.ndarray, end: np.ndarray, colour: Sequence[int], thickness: int) -> None:
    """A line with a dark rim, which stands out on light and on dark."""
    (x0, y0), (x1, y1) = _fixed(np.clip(start, -2e4, 2e4)).tolist(), _fixed(np.clip(end, -2e4, 2e4)).tolist()
    for tint, width in ((_DARK, thickness + 2), (tuple(colour), thickness)):
        cv2.line(canvas, (x0, y0), (x1, y1), tint, width, cv2.LINE_AA, 4)


def _corners(canvas: np.ndarray, head: Head, colour: Sequence[int]) -> None:
    left, top, right, bottom = head.box
    thickness = max(1, round((right - left) / 90))
    for x, y, to_x, to_y in ((left, top, 1, 1), (right, top, -1, 1), (left, bottom, 1, -1), (right, bottom, -1, -1)):
        corner = np.array([x, y])
        for along in ((to_x * (right - left) / 5, 0), (0, to_y * (bottom - top) / 5)):
            _stroke(canvas, corner, corner + along, colour, thickness)


def _axes(canvas: np.ndarray, head: Head, middle: tuple[float, float], side: float) -> None:
    """Draws on the part around the head alone: `draw_axes` copies what it is given."""
    centre = np.array(middle)
    low = np.clip(np.floor(centre - side), 0, canvas.shape[1::-1]).astype(int)
    high = np.clip(np.ceil(centre + side), 0, canvas.shape[1::-1]).astype(int)
    if (high > low).all():
        part = canvas[low[1] : high[1], low[0] : high[0]]
        x, y = (centre - low).tolist()
        part[:] = draw_axes(part, (head.yaw, head.pitch, head.roll), (x, y), 0.6 * side, max(2.0, side / 45))


def _cube(
    canvas: np.ndarray, rotation: np.ndarray, middle: tuple[float, float], half: float, colour: Sequence[int]
) -> None:
    """The edges of a cube that turns with the head; the face in front, which the head looks out of, filled a little."""
    signs = np.array([[2 * (k >> axis & 1) - 1 for axis in range(3)] for k in range(8)])
    corners = signs @ np.asarray(rotation).T  # right, up, towards the camera
    points = np.array(middle) + half * corners[:, :2] * (1, -1)
    front = [4, 5, 7, 6]  # the corners with the head's z towards the camera at zero pose
    low = np.maximum(np.floor(points[front].min(axis=0)).astype(int), 0)
    high = np.minimum(np.ceil(points[front].max(axis=0)).astype(int) + 1, canvas.shape[1::-1])
    if (high > low).all():
        part = canvas[low[1] : high[1], low[0] : high[0]]
        tinted = part.copy()
        cv2.fillConvexPoly(tinted, _fixed(points[front] - low), tuple(colour), cv2.LINE_AA, 4)
        part[:] = cv2.addWeighted(part, 0.65, tinted, 0.35, 0)
    thickness = max(1, round(half / 30))
    for a, b in sorted(_EDGES, key=lambda edge: corners[list(edge), 2].sum()):  # the farthest edge first
        nearest = a & b & 4
        _stroke(canvas, points[a], points[b], colour if nearest else _WHITE, thickness + (1 if nearest else 0))


def _label(canvas: np.ndarray, head: Head, person: int | None, taken: Sequence[Box]) -> Box:
    """The angles on a dark plate beside the head, inside of the picture and off what is taken; gives its place."""
    height, width = canvas.shape[:2]
    tall_face = head.box[3] - head.box[1]
    scale = float(np.clip(tall_face / 260, 0.4, 1.6)) * min(1.0, max(0.25, width / 320))
    lines = [f"{name} {round(getattr(head, name)):+d}" for name in ("yaw", "pitch", "roll")]
    if person is not None:
        lines.insert(0, f"#{person}")
    weight = max(1, round(1.6 * scale))
    sizes = [cv2.getTextSize(line, _FONT, scale, weight)[0] for line in lines]
    step, margin = round(1.5 * max(size[1] for size in sizes)), round(8 * scale)
    wide, tall = max(size[0] for size in sizes) + 3 * margin, step * len(lines) + margin
    x, y = _free_place(head.box, (wide, tall), (width, height), taken)
    plate = canvas[y : y + tall, x : x + wide]
    plate[:] = (0.35 * plate + 0.65 * np.array(_DARK)).astype(np.uint8)
    plate[:, : max(2, margin // 2)] = colour_of(person)
    for number, line in enumerate(lines):
        place = (x + 2 * margin, y + step * (number + 1))
        cv2.putText(canvas, line, place, _FONT, scale, _WHITE, weight, cv2.LINE_AA)
    return x, y, x + wide, y + tall


def _free_place(box: Box, extent: tuple[int, int], picture: tuple[int, int], taken: Sequence[Box]) -> tuple[int, int]:
    """Left and top of a plate to the right of a head, to its left, below or above: where it covers least."""
    left, top, right, bottom = box
    wide, tall = extent
    gap = 0.15 * (right - left)
    wanted = [(right + gap, top), (left - gap - wide, top), (left, bottom + gap), (left, top - gap - tall)]
    places = [
        (round(min(max(0.0, x), max(0, picture[0] - wide))), round(min(max(0.0, y), max(0, picture[1] - tall))))
        for x, y in wanted
    ]

    def covered(place: tuple[int, int]) -> float:
        x, y = place
        return sum(
            max(0.0, min(x + wide, other[2]) - max(x, other[0])) * max(0.0, min(y + tall, other[3]) - max(y, other[1]))
            for other in taken
        )

    return min(places, key=covered)
