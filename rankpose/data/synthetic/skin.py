"""What does the skin look like? Paints the face's part of the atlas, in the rest coordinates of `shape`.

The bulk is painted once per person; eyes, brows and mouth are painted again for every expression.
"""

from dataclasses import dataclass

import cv2
import numpy as np

from rankpose.data.synthetic import hair, shape
from rankpose.data.synthetic.surface import Array, Region, bell, blend, darken, noise, rgb, smoothstep
from rankpose.data.synthetic.traits import EYE_TONES, Expression, Identity

REGION = Region(0, 0, 320, 304)
SCLERA = rgb(0.86, 0.83, 0.81)
TEETH = rgb(0.86, 0.83, 0.76)
MOUTH_DARK = rgb(0.15, 0.05, 0.05)
LASHES = rgb(0.07, 0.05, 0.05)


def _per_pixel(grid: Array) -> Array:
    """(height, width) float32: an (R, C) grid of the mesh, interpolated as the renderer will."""
    rows, columns = grid.shape
    across = np.clip((np.arange(REGION.width) - 1) / (REGION.width - 3), 0, 1) * (columns - 1)
    down = np.clip((np.arange(REGION.height) - 1) / (REGION.height - 3), 0, 1) * (rows - 1)
    map_x, map_y = np.meshgrid(across.astype(np.float32), down.astype(np.float32))
    return cv2.remap(grid.astype(np.float32), map_x, map_y, cv2.INTER_LINEAR)


@dataclass(frozen=True)
class Window:
    """The pixels that cover a box of rest coordinates on the front of the face."""

    rows: slice
    columns: slice
    x: Array
    y: Array
    side: Array
    """|x|: features are painted on both halves at once."""

    def of(self, layer: Array) -> Array:
        """The view of a (3, height, width) layer."""
        return layer[:, self.rows, self.columns]


ANGLE = _per_pixel(np.broadcast_to(shape.COLUMNS, shape.REST_X.shape))[:1]
"""(1, width): an angle is a column."""
REST = [_per_pixel(shape.TEMPLATE.points[..., k]) for k in range(3)]
FRONT = _per_pixel(shape.TEMPLATE.front)


def _blotches(rng: np.random.Generator, cell: float) -> Array:
    """(height, width) float32 noise of about unit deviation whose blobs measure `cell` centimetres on the skin."""
    around, down = 7.0 * (ANGLE + np.pi) / cell + 1, (12.0 - REST[1]) / cell + 1
    coarse = rng.standard_normal((int(24.0 / cell) + 4, int(44.0 / cell) + 4), dtype=np.float32)
    return cv2.remap(coarse, np.broadcast_to(around, down.shape).copy(), down, cv2.INTER_LINEAR)


def window(left: float, right: float, low: float, high: float) -> Window:
    """The window over a box in rest centimetres."""
    x, y, z = REST
    inside = (x >= left) & (x <= right) & (y >= low) & (y <= high) & (z > -0.8)
    rows, columns = np.flatnonzero(inside.any(1)), np.flatnonzero(inside.any(0))
    area = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
    return Window(area[0], area[1], x[area], y[area], np.abs(x[area]))


WHOLE = Window(slice(0, REGION.height), slice(0, REGION.width), REST[0], REST[1], np.abs(REST[0]))
EYES = window(-6.3, 6.3, -2.0, 4.0)
NOSE = window(-2.6, 2.6, -5.2, 1.4)
MOUTH = window(-3.9, 3.9, -9.3, -4.5)
EYE_OF_SIDE = (window(-4.9, -1.3, -1.5, 1.8), window(1.3, 4.9, -1.5, 1.8))
BROWS = window(-6.3, 6.3, 0.5, 4.0)
LIPS = window(-3.2, 3.2, -8.3, -4.8)
FACE = window(-6.8, 6.8, -10.9, 6.5)
FACE_FRONT = FACE.of(FRONT[None])[0]
BEARD = window(-7.2, 7.2, -11.3, -2.5)
FOREHEAD = window(-5.5, 5.5, 2.4, 7.5)


def paint_person(who: Identity) -> Array:
    """(3, height, width) float32 sRGB, 0..1: everything but eyes, brows and mouth."""
    rng = np.random.default_rng([who.seed, 1])
    colour = np.empty((3, REGION.height, REGION.width), np.float32)
    colour[:] = who.skin[:, None, None]
    grain = _blotches(rng, 0.1)
    _tone(who, colour, grain, rng)
    _shade_form(who, colour)
    _age(who, colour, rng)
    _spots(who, colour, rng)
    _nose(who, colour)
    chin_grain = BEARD.of(grain[None])[0]
    hair.paint_beard(who, BEARD.of(colour), BEARD.x, BEARD.y, BEARD.of(REST[2][None])[0], chin_grain, rng)
    hair.paint_scalp(who, colour, REST[1], ANGLE, rng)
    return colour


def paint_expression(who: Identity, face: Expression, base: Array) -> list[tuple[Window, Array]]:
    """The windows to paint over `base` for this expression: where, and (3, h, w) float32 colour."""
    if "scratch" not in who.cache:
        who.cache["scratch"] = base.copy()
    layer: Array = who.cache["scratch"]  # only these two windows ever change
    for area in (EYES, MOUTH):
        area.of(layer)[:] = area.of(base)
    rng = np.random.default_rng([who.seed, 2])
    for eye in EYE_OF_SIDE:
        _eye(who, face, eye, eye.of(layer))
    _brows(who, face, BROWS.of(layer), rng)
    _mouth_folds(who, face, MOUTH.of(layer))
    _lips(who, face, LIPS.of(layer), rng)
    return [(EYES, EYES.of(layer)), (MOUTH, MOUTH.of(layer))]


def gloss(who: Identity) -> Array:
    """(height, width) uint8: oily T-zone, moist eyes and lips, dull scalp."""
    side, y = WHOLE.side, WHOLE.y
    shine = 0.25 + 0.5 * who.skin_gloss * (bell(side, 1.6) * smoothstep(-5, -2, y) + 0.5 * bell(side - 4, 1.5))
    shine[EYES.rows, EYES.columns] += 0.6 * bell(EYES.side - who.eye_spacing, 0.6) * bell(EYES.y - who.eye_height, 0.25)
    lips = bell(MOUTH.side, 1.6) * bell(MOUTH.y - shape.mouth_y(who), 0.55)
    shine[MOUTH.rows, MOUTH.columns] += (0.25 + 0.4 * who.lipstick) * lips
    pixels: Array = (np.clip(shine * FRONT + 0.12 * (1 - FRONT), 0, 1) * 255).astype(np.uint8)
    return pixels


# --- once per person ----------------------------------------------------------------------------------------------


def _tone(who: Identity, colour: Array, grain: Array, rng: np.random.Generator) -> None:
    """Mottling, and blood under the skin of cheeks, nose, chin and ears."""
    mottle = 0.03 * _blotches(rng, 1.8) + 0.018 * _blotches(rng, 0.45) + 0.018 * FRONT * grain
    colour *= 1 + who.mottling * mottle
    side, y = FACE.side, FACE.y
    cheeks = bell(side - 4.0, 1.3) * bell(y + 2.9, 1.5) + 0.6 * bell(side, 1.0) * bell(y + 3.5, 0.9)
    blood = who.redness * (1 - 0.6 * who.skin_tone) * (cheeks + 0.3 * bell(side, 1.5) * bell(y + 9.7, 0.8))
    blush = 0.8 * who.makeup * bell(side - 4.6, 1.0) * bell(y + 2.6 - 0.4 * (side - 4.6), 0.7)
    layer = FACE.of(colour)
    layer *= 1 + (blood + blush) * FACE_FRONT * rgb(0.05, -0.09, -0.08)
    hollow_eyes = bell(EYES.side - who.eye_spacing + 0.5, 0.9) * bell(EYES.y - who.eye_height + 0.75, 0.35)
    darken(EYES.of(colour), (0.08 + 0.12 * who.age) * hollow_eyes)


def _shade_form(who: Identity, colour: Array) -> None:
    """Ambient occlusion: what hollows lose of the sky's light, which the renderer's few lamps do not show."""
    side, y = WHOLE.side, WHOLE.y
    under_chin = smoothstep(-10.6, -11.1, y + 0.5 * (1 - FRONT))
    jaw_shadow = smoothstep(-4.5, -6.5, y) * smoothstep(2.0, -1.0, REST[2])
    by_ear = bell(side - 7.1, 0.35) * bell(y + 1.2, 2.2)
    darken(colour, 0.25 * under_chin + 0.25 * jaw_shadow + 0.15 * by_ear)
    side, up = EYES.side, EYES.y - who.eye_height
    socket = bell(side - 2.0, 0.65) * bell(up - 0.55, 0.7) + 0.6 * bell(side - who.eye_spacing, 1.3) * bell(
        up - 0.6, 0.5
    )
    darken(EYES.of(colour), (0.22 + 0.2 * who.eye_depth) * socket)
    side, up = MOUTH.side, MOUTH.y - shape.mouth_y(who)
    under_lip = bell(side, 1.3) * bell(up + 1.75, 0.3)
    darken(MOUTH.of(colour), 0.17 * under_lip + 0.06 * bell(side, 0.22) * bell(up - 1.3, 0.35))


def _age(who: Identity, colour: Array, rng: np.random.Generator) -> None:
    """Furrows of the forehead and crow's feet; wrinkles wobble, so that no two foreheads are alike."""
    furrow = max(who.age - 0.3, 0.0)
    if furrow == 0:
        return
    wave = 0.15 * noise(rng, FOREHEAD.y.shape, (200, 40))
    lines = np.zeros_like(FOREHEAD.y)
    for height in (3.4, 4.3, 5.1):
        lines += rng.uniform(0.3, 1) * bell(FOREHEAD.y - height - wave - 0.012 * FOREHEAD.side**2, 0.07)
    darken(FOREHEAD.of(colour), 0.28 * furrow * lines * smoothstep(4.6, 2.5, FOREHEAD.side))
    away, up = EYES.side - who.eye_spacing - 1.3, EYES.y - who.eye_height
    fan = sum(bell(up - slope * away - 0.05, 0.05) for slope in (-0.55, -0.1, 0.35))
    darken(EYES.of(colour), 0.3 * furrow * fan * smoothstep(0.0, 0.2, away) * smoothstep(1.3, 0.6, away))
    bag = bell(up + 0.85 - 0.25 * np.square(away + 1.3), 0.07) * bell(away + 1.4, 0.7)
    darken(EYES.of(colour), 0.35 * furrow * bag)


def _spots(who: Identity, colour: Array, rng: np.random.Generator) -> None:
    """Freckles across nose and cheeks, single moles."""
    side, y = WHOLE.side, WHOLE.y
    if who.freckles:
        speckle = smoothstep(1.2, 2.0, _blotches(rng, 0.14))
        darken(colour, 0.3 * who.freckles * speckle * bell(side, 4.0) * bell(y + 1.8, 2.2) * FRONT)
    for _ in range(int(who.moles)):
        x, up = rng.uniform(-4.5, 4.5), rng.uniform(-8.5, 6)
        spot = window(x - 0.3, x + 0.3, up - 0.3, up + 0.3)
        mask = smoothstep(1.6, 0.7, np.hypot(spot.x - x, spot.y - up) / rng.uniform(0.06, 0.14))
        darken(spot.of(colour), 0.6 * mask)


def _nose(who: Identity, colour: Array) -> None:
    """Nostrils, the creases round the wings, a lighter ridge."""
    layer = NOSE.of(colour)
    up, half = NOSE.y - shape.nose_base_y(who), who.nose_width
    darken(layer, 0.10 * bell(NOSE.side - 1.15 * half, 0.3) * smoothstep(4.6, 3.0, up) * smoothstep(-0.3, 1.2, up))
    layer *= 1 + 0.06 * bell(NOSE.side, 0.3) * smoothstep(0.3, 1.2, up) * smoothstep(4.6, 3.6, up)
    crease = np.hypot((NOSE.side - 1.15 * half) / 0.5, (up - 0.55) / 0.55)
    darken(layer, 0.28 * bell(crease - 1.0, 0.16) * smoothstep(-0.1, 0.4, NOSE.side - 1.1 * half))
    darken(layer, 0.30 * bell(up - 0.02, 0.14) * smoothstep(1.3 * half, 0.9 * half, NOSE.side))
    tilt = up - 0.22 - 0.12 * (NOSE.side - 0.6 * half)
    hole = smoothstep(1.25, 0.75, np.hypot((NOSE.side - 0.62 * half) / (0.36 * half), tilt / 0.16))
    blend(layer, 0.85 * hole, who.skin[:, None, None] * rgb(0.26, 0.17, 0.16))


# --- once per expression ------------------------------------------------------------------------------------------


def _eye(who: Identity, face: Expression, eye: Window, layer: Array) -> None:
    """Eyeball, iris, lashes, lid folds; all distances in centimetres."""
    along = (eye.side - who.eye_spacing) / who.eye_width
    up = eye.y - who.eye_height - who.eye_tilt * along * who.eye_width
    upper, lower = shape.lid_lines(who, face, along)
    wide_open = shape.lid_lines(who, Expression(), along)[0]
    within = smoothstep(1.06, 0.94, np.abs(along))
    made_up, beside = who.makeup, bell(along, 0.75)

    if made_up:
        shadow_tone = np.random.default_rng([who.seed, 3]).uniform(0.1, 0.5, (3, 1, 1)).astype(np.float32)
        lid = smoothstep(0.0, 0.1, up - upper) * smoothstep(1.1, 0.3, up - wide_open) * beside
        blend(layer, 0.5 * made_up * lid, shadow_tone)
    crease = bell(up - np.maximum(wide_open, upper) - 0.24, 0.06) * smoothstep(1.25, 0.8, np.abs(along - 0.05))
    darken(layer, (0.25 + 0.35 * who.lid_crease) * min(face.lids, 1.0) * crease)
    darken(layer, 0.18 * bell(up - lower + 0.35, 0.1) * beside)  # fold under the eye

    opening = smoothstep(-0.04, 0.04, upper - up) * smoothstep(-0.04, 0.04, up - lower) * within
    ball = np.broadcast_to(SCLERA, layer.shape) * (1 - 0.25 * np.abs(along) ** 3)
    ball = ball * (0.62 + 0.38 * smoothstep(0.0, 0.32, upper - up))  # the lid's shadow
    blend(ball, 0.5 * bell(along + 0.98, 0.14), rgb(0.75, 0.45, 0.42))
    centre = np.sign(eye.x) * who.eye_spacing + face.gaze_x
    radius = np.hypot(eye.x - centre, up - 0.06 - face.gaze_y)
    iris = rgb(*EYE_TONES[who.eye_colour]) * (0.75 + 0.5 * smoothstep(0.25, 0.5, radius))
    blend(ball, smoothstep(0.63, 0.55, radius), iris * (0.8 + 0.2 * smoothstep(0.0, 0.3, upper - up)))
    blend(ball, 0.75 * bell(radius - 0.57, 0.05), LASHES)
    blend(ball, smoothstep(0.27, 0.2, radius), rgb(0.02, 0.02, 0.02))
    blend(ball, smoothstep(0.14, 0.06, np.hypot(eye.x - centre - 0.17, up - 0.25 - face.gaze_y)), rgb(1, 1, 1))
    blend(layer, opening, ball)

    lash_width = 0.035 + 0.02 * who.femininity + 0.05 * made_up
    edge = smoothstep(1.15, 0.9, np.abs(along - 0.05))
    blend(layer, (0.75 + 0.2 * made_up) * bell(up - upper - 0.03, lash_width) * edge, LASHES)
    blend(layer, (0.22 + 0.3 * made_up) * bell(up - lower + 0.02, 0.045) * edge, LASHES)


def _brows(who: Identity, face: Expression, layer: Array, rng: np.random.Generator) -> None:
    """Hairs that slant outward, dense in the middle of the brow, sparse at its ends."""
    side = BROWS.side
    middle = shape.brow_line(who, face, side)
    inner, outer = who.eye_spacing - 1.5 - 0.2 * face.frown, who.eye_spacing + 2.5
    taper = np.interp(side, [inner, inner + 0.8, outer - 1.2, outer], [0.8, 1.0, 0.75, 0.25]).astype(np.float32)
    height = (BROWS.y - middle) / (who.brow_thickness * taper)
    ends = smoothstep(inner - 0.25, inner + 0.35, side) * smoothstep(outer + 0.15, outer - 0.6, side)
    strokes = rng.random(512).astype(np.float32)
    place = (side * 14 - (BROWS.y - middle) * 9 + 100 * (BROWS.x > 0)) % 511
    hairs = 0.45 + 0.75 * strokes[place.astype(np.int32)]
    fuzz = bell(height, 1.0) * ends * hairs
    hair_tone, skin_tone = who.hair[:, None, None], who.skin[:, None, None]
    tone = 0.7 * hair_tone if who.hair.mean() < 0.6 else 0.55 * hair_tone + 0.25 * skin_tone * rgb(0.9, 0.8, 0.6)
    if who.hair_colour == "dyed":
        tone = rgb(0.12, 0.08, 0.06)
    blend(layer, (0.55 + 0.5 * who.brow_density) * fuzz, tone)
    if face.frown:
        darken(layer, 0.3 * face.frown * bell(side - 0.45, 0.09) * bell(BROWS.y - who.eye_height - 1.7, 0.5))


def _mouth_folds(who: Identity, face: Expression, layer: Array) -> None:
    """The folds from the nose to the mouth, deeper in a smile and with age, and the pits at the corners."""
    side, y = MOUTH.side, MOUTH.y
    fold = (
        bell(side - 1.55 - 0.5 * np.maximum(-3.9 - y, 0), 0.11) * smoothstep(-7.2, -6.0, y) * smoothstep(-4.4, -5.0, y)
    )
    darken(layer, (0.05 + 0.3 * who.age + 0.28 * max(face.smile, 0)) * fold)
    corner = np.hypot(side - who.mouth_width - 0.02, 1.3 * (y - shape.mouth_y(who) + 0.15))
    darken(layer, (0.25 + 0.2 * abs(face.smile)) * bell(corner, 0.2))


def _lips(who: Identity, face: Expression, layer: Array, rng: np.random.Generator) -> None:
    """Lips, and between them the inside of the mouth with teeth and tongue."""
    side, y = LIPS.side, LIPS.y
    line, half = shape.mouth_line(who, LIPS.x)
    upper, lower = shape.lip_heights(who, LIPS.x)
    over, under = y - line - half, line - half - y  # above the upper lip's edge, below the lower one's
    across = smoothstep(1.03, 0.93, side / who.mouth_width)

    natural = who.skin[:, None, None] * rgb(0.92, 0.72 - 0.14 * who.lip_redness, 0.73 - 0.13 * who.lip_redness)
    stick = rgb(*rng.uniform((0.45, 0.08, 0.12), (0.85, 0.35, 0.4)))
    red = natural + who.lipstick * (stick - natural)
    wrinkles = 1 + 0.05 * rng.standard_normal(64, dtype=np.float32)[(LIPS.x * 11 + 500).astype(np.int32) % 64]
    soft = 0.07 - 0.03 * who.lipstick
    on_upper = smoothstep(upper + soft, upper - soft, over) * smoothstep(-0.06, 0.0, over)
    on_lower = smoothstep(lower + soft, lower - soft, under) * smoothstep(-0.06, 0.0, under)
    blend(layer, 0.9 * across * on_upper, 0.86 * wrinkles * red)
    blend(layer, 0.9 * across * on_lower, (1.02 + 0.12 * bell(under - 0.35, 0.15)) * wrinkles * red)
    darken(layer, 0.5 * across * (bell(over, 0.07) + bell(under, 0.05)))

    gap = max(face.mouth_open, 0.03)
    inside = smoothstep(0.03, -0.03, np.maximum(over, under)) * smoothstep(1.0, 0.95, side / who.mouth_width)
    depth = (half - (y - line)) / np.maximum(2 * half, 0.05)  # 0 at the upper lip, 1 at the lower
    cavity = np.broadcast_to(MOUTH_DARK, layer.shape).copy()
    if gap > 0.5:
        blend(cavity, 0.8 * smoothstep(0.55, 0.9, depth) * bell(side, 1.2), rgb(0.55, 0.25, 0.24))
    if face.teeth and gap > 0.1:
        share = min(0.95 * face.teeth / gap, 1.1)
        between = bell((LIPS.x / 0.8) % 1 - 0.5, 0.05)
        crown = (1 - 0.22 * between - 0.55 * smoothstep(0.4, 0.95, side / who.mouth_width)) * TEETH
        blend(cavity, smoothstep(share, share - 0.12, depth), crown * (0.75 + 0.25 * smoothstep(0.0, 0.25, depth)))
    blend(layer, inside, cavity)
