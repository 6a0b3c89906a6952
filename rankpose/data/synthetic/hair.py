"""What grows on the head or covers it? Hair shells, falling hair, beards, hats, hoods and headscarves."""

import numpy as np

from rankpose.data.synthetic import shape
from rankpose.data.synthetic.surface import (
    Array,
    Patch,
    Region,
    bell,
    blend,
    darken,
    grid_normals,
    grid_patch,
    noise,
    smoothstep,
    to_bytes,
)
from rankpose.data.synthetic.traits import COVERED, Identity

HAIR = Region(0, 336, 256, 176)
CLOTH = Region(384, 112, 128, 128)
NAPE = -3.4
"""Rest height at which short hair ends at the back."""
EAR_TOP = 1.4
_BACK = shape.TEMPLATE.points[::2, 0]
_ARC = np.cumsum(np.append(0, np.linalg.norm(np.diff(_BACK, axis=0), axis=1)))
SPREAD = (0.5 + 0.5 * shape.COLUMNS[::2] / np.pi, _ARC / _ARC[-1])
"""Where the columns and rows of a shell lie in the hair's texture: by angle and by arc, so that strands are even."""


def hair_line(who: Identity, angle: Array) -> Array:
    """Rest height above which hair grows, at angles from straight ahead (radians)."""
    away = np.abs(angle)
    front = np.full_like(away, who.hair_line)
    if who.hair_style == "receding":
        front = front + 1.0 + 1.4 * bell(away - 0.55, 0.25)
    front = front - 0.3 * bell(away, 0.25) * (who.hair_line > 5) + 0.25 * np.sin(3 * angle + who.hair_parting * 4)
    side = who.hair_side if who.hair_style != "bald" else 1.0
    temple = np.minimum(front, 3.2)
    line: Array = front + (temple - front) * smoothstep(0.72, 1.02, away)
    line += (side - temple) * smoothstep(1.14, 1.38, away)
    notch = who.ears_bare * smoothstep(1.42, 1.52, away) * smoothstep(2.15, 1.95, away)
    line = line + (np.maximum(line, EAR_TOP) - line) * notch
    line += (NAPE - line) * smoothstep(1.95, 2.3, away)
    return line


def hat_line(who: Identity, angle: Array) -> Array:
    """Rest height above which cloth covers the head."""
    away = np.abs(angle)
    if who.hair_style in ("hood", "headscarf"):
        return 6.4 - 20 * smoothstep(0.8, 1.2, away)
    front = 5.4 if who.hair_style == "beanie" else 5.0
    return front - 3.0 * smoothstep(0.6, 2.4, away)


# --- paint --------------------------------------------------------------------------------------------------------


def paint_scalp(who: Identity, colour: Array, y: Array, angle: Array, rng: np.random.Generator) -> None:
    """Hair roots on the skin under and just beyond the shell's edge, so that hair does not end like a helmet."""
    ragged = 0.22 * noise(rng, y.shape, (40, 1.5)) + 0.2 * noise(rng, y.shape, (30, 6))
    line = hair_line(who, angle) + ragged * (1 + 0.8 * (who.hair_line < 5))
    roots = smoothstep(-0.45, 0.45, y - line)
    if who.hair_style in ("cap", "beanie", "hat"):
        roots = np.maximum(roots, smoothstep(0.0, 0.4, y - hat_line(who, angle)))
    if who.hair_style == "bald":  # a shaved wreath
        wreath = smoothstep(6.5, 3.0, y) * smoothstep(1.1, 1.5, np.abs(angle))
        roots = 0.3 * (1 - who.age) * wreath * smoothstep(-1.5, 1.5, y - line)
    blend(colour, 0.97 * roots, 0.8 * who.hair[:, None, None])
    if who.hair_style not in ("bald", "crop"):
        darken(colour, 0.25 * smoothstep(-1.1, 0.2, y - line) * smoothstep(1.0, 0.0, y - line))


def beard_mask(who: Identity, x: Array, y: Array, z: Array) -> Array:
    """0..1 where the beard grows, at rest coordinates."""
    side, mouth = np.abs(x), shape.mouth_y(who)
    line, half = shape.mouth_line(who, x)
    upper, lower = shape.lip_heights(who, x)
    lips = smoothstep(-0.1, 0.12, np.maximum(y - line - half - upper, line - half - lower - y))
    lips = np.maximum(lips, smoothstep(who.mouth_width - 0.1, who.mouth_width + 0.15, side))
    base = shape.nose_base_y(who)
    top = base - 0.15 - 0.22 * np.maximum(side - 0.8, 0)
    lip_hair = smoothstep(top, top - 0.35, y) * smoothstep(mouth - 1.0, mouth - 0.2, y)
    lip_hair = lip_hair * smoothstep(who.mouth_width + 1.0, who.mouth_width + 0.3, side)
    corner = bell(side - who.mouth_width - 0.45, 0.45) * smoothstep(mouth - 3.5, mouth - 1.5, y)
    corner = corner * smoothstep(mouth + 1, mouth, y)
    chin = smoothstep(2.3, 1.4, side) * smoothstep(mouth - 1.1, mouth - 1.6, y)
    cheek_line = mouth + 0.2 + 0.30 * np.maximum(side - 2.6, 0) ** 1.35
    cheeks = smoothstep(cheek_line + 0.5, cheek_line - 0.5, y) * smoothstep(-0.9, 0.3, z)
    cheeks = cheeks * smoothstep(1.0, 2.6, side + 2.0 * smoothstep(mouth - 1.1, mouth - 1.7, y))
    grown = {
        "none": np.zeros_like(side),
        "moustache": lip_hair,
        "goatee": np.maximum(np.maximum(lip_hair, corner), chin),
    }.get(who.beard, np.maximum(np.maximum(lip_hair, cheeks), np.maximum(corner, chin)))
    mask: Array = grown * lips * smoothstep(-1.5, 0.5, z)
    return mask


def paint_beard(
    who: Identity, colour: Array, x: Array, y: Array, z: Array, grain: Array, rng: np.random.Generator
) -> None:
    """Stubble as a bluish cast with dots (`grain`, unit deviation), longer beards as strands."""
    if who.beard == "none":
        return
    mask = beard_mask(who, x, y, z)
    skin, tone = who.skin[:, None, None], who.hair[:, None, None] * (0.85 if who.hair.mean() < 0.55 else 0.95)
    fine = grain
    if who.beard == "stubble":
        blend(colour, mask * who.beard_density * (0.42 + 0.2 * fine), 0.6 * tone + 0.25 * skin)
    else:
        strands = 1 + 0.25 * noise(rng, x.shape, (9, 1.5)) + 0.15 * fine
        patchy = np.clip(mask * (0.6 + 0.5 * who.beard_density) + 0.25 * (mask - mask**2) * fine, 0, 0.97)
        blend(colour, patchy, np.clip(strands, 0.4, 1.7) * tone)


def grow_beard(who: Identity, points: Array) -> Array:
    """(rows, columns, 3) the skin with the volume of the beard on it."""
    if who.beard in ("none", "stubble"):
        return points
    if "beard volume" not in who.cache:
        mask = beard_mask(who, shape.REST_X, shape.REST_Y, shape.REST_Z)
        away = np.stack([0.6 * shape.REST_X, shape.REST_Y + 5.0, shape.REST_Z * 0.7], -1)
        away /= np.linalg.norm(away, axis=-1, keepdims=True) + 1e-6
        length = who.beard_length * (0.45 + 0.55 * smoothstep(-6.5, -9.5, shape.REST_Y))
        lumps = 1 + 0.2 * noise(np.random.default_rng([who.seed, 4]), mask.shape, 3)
        who.cache["beard volume"] = (away * (length * lumps * mask)[..., None]).astype(np.float32)
    bearded: Array = points + who.cache["beard volume"]
    return bearded


def paint_hair(who: Identity, atlas: Array) -> None:
    """Strands down the hair's block, in three widths; curls break them up. Gloss in the fourth channel."""
    rng = np.random.default_rng([who.seed, 5])
    size = (HAIR.height, HAIR.width)
    along = 60 * (1 - 0.93 * who.hair_curl)
    strands = (
        0.12 * noise(rng, size, (along, 1.0)) + 0.12 * noise(rng, size, (along, 3)) + 0.08 * noise(rng, size, (90, 9))
    )
    if who.hair_curl > 0.4 or who.hair_style == "afro":
        strands = strands + 0.10 * noise(rng, size, (4, 3)) + 0.12 * noise(rng, size, 1.5)
    block = HAIR.of(atlas)
    block[..., :3] = to_bytes(who.hair[:, None, None] * np.clip(1 + (1.0 - 0.5 * who.hair.mean()) * strands, 0.35, 1.8))
    block[..., 3] = 50 + 70 * (1 - who.hair_curl)


def paint_cloth(who: Identity, atlas: Array) -> None:
    """The hat's weave and folds."""
    rng = np.random.default_rng([who.seed, 6])
    block = CLOTH.of(atlas)
    size = block.shape[:2]
    folds = 0.08 * noise(rng, size, 24) + 0.05 * noise(rng, size, 1.2)
    if who.hair_style == "beanie":
        folds = folds + 0.15 * np.sin(np.arange(size[1]) * np.pi / 3)[None]
    block[..., :3] = to_bytes(who.hat[:, None, None] * (1 + folds))
    block[..., 3] = 10


# --- shape --------------------------------------------------------------------------------------------------------


def build_hair(who: Identity, scalp: Array) -> list[Patch]:
    """All patches of hair and headwear on the (rows, columns, 3) scalp."""
    rng = np.random.default_rng([who.seed, 7])
    scalp = scalp[::2, ::2]
    angle = np.broadcast_to(shape.COLUMNS[::2], scalp.shape[:2])
    y = shape.REST_Y[::2, ::2]
    outward = grid_normals(scalp, closed=True)
    style, patches = who.hair_style, []
    if style != "bald":
        patches.append(_hair_shell(who, scalp, outward, y, angle, rng))
    if style in ("long", "medium"):
        patches.append(_falling_hair(who, rng))
    if style == "bun":
        centre = (0.0, rng.uniform(4, 12), -9.0 + rng.uniform(-1, 2))
        patches.append(grid_patch(_ball(centre, rng.uniform(2.2, 3.4)), HAIR))
    if style in COVERED:
        patches += _headwear(who, scalp, outward, y, angle, rng)
    return patches


def _hair_shell(who: Identity, scalp: Array, outward: Array, y: Array, angle: Array, rng: np.random.Generator) -> Patch:
    """A clumpy layer over the scalp, thin at its edge; where no hair grows it lies under the skin and is cut away."""
    _rows, columns = y.shape
    fringe = who.hair_line < 5
    ragged = (0.5 if fringe else 0.2) * noise(rng, (1, columns), (1, 1.7))
    line = hair_line(who, angle) + ragged
    # how far inside the hair: the line runs steeply down the temples, where height alone would overstate it
    inside = (y - line) / np.sqrt(1 + np.square(np.gradient(line, axis=1) / np.gradient(angle, axis=1) / 7.0))
    mask, sunk = smoothstep(-0.05, 0.45, inside), np.clip(0.5 * inside, -0.5, 0.0)  # it dives where no hair grows
    thickness = 0.35 if who.hair_style in COVERED else who.hair_thickness
    swell = (0.45 if fringe else 0.15) + smoothstep(0.0, 2.2 + 0.8 * thickness, inside)
    lumps = 0.16 * noise(rng, y.shape, (7, 2.2)) + 0.16 * noise(rng, y.shape, (5, 7))  # clumps run down the strands
    lumps += (0.05 + 0.2 * who.hair_curl) * noise(rng, y.shape, (2, 2))
    lumps *= min(thickness, 1.3) * smoothstep(11.6, 9.5, y)
    lumps[:, -1] = lumps[:, 0]
    top = smoothstep(3.0, 9.0, y)
    volume = 0.55 + 0.55 * top * np.cos(0.5 * angle) + 0.2 * who.hair_parting * np.sin(angle) * top
    if who.hair_style == "afro":
        volume = 0.65 + 0.35 * smoothstep(-1, 5, y)
    reach = np.clip(thickness * volume + lumps, 0.1, None) * swell * mask + sunk
    if who.hair_style in COVERED:  # pressed flat under the cloth
        reach -= (reach + 0.3) * smoothstep(0.1, 0.6, y - hat_line(who, angle))
    points = scalp + outward * reach[..., None]
    points[0] = points[0].mean(0)
    return grid_patch(points, HAIR, closed=True, keep=inside > 0, spread=SPREAD)


def _sheet(
    openings: Array, heights: Array, widths: Array, depths: Array, thick: Array, centre_z: Array, columns: int
) -> Array:
    """(R, columns, 3) sheet hanging round the head, `thick` off its surface but close at its front edges.

    All arguments are per row. It begins at the opening angle on the one side and runs round the back to the other.
    """
    share = np.linspace(0, 1, columns)
    angle = openings[:, None] + share * (2 * np.pi - 2 * openings[:, None])
    edge = 1 - smoothstep(0.0, 0.1, share) * smoothstep(1.0, 0.9, share)
    off = thick[:, None] * (1 - 0.85 * edge * smoothstep(0.0, 0.5, openings)[:, None])
    x, z = np.sin(angle), np.cos(angle)
    z = np.where(z > 0, 0.86 * z, z)  # the face is nearer to the axis than the back of the head
    x, z = (widths[:, None] + off) * x, centre_z[:, None] + (depths[:, None] + off) * z
    return np.stack([x, np.broadcast_to(heights[:, None], x.shape), z], -1)


def _falling_hair(who: Identity, rng: np.random.Generator) -> Patch:
    """Hair that falls past the ears to the neck or over the shoulders, in clumps with ragged ends."""
    rows, columns = 15, 45
    down = np.linspace(0, 1, rows)
    height = 6.5 + (who.hair_length - 6.5) * down
    thick = (0.35 + 0.75 * who.hair_thickness) * smoothstep(-0.1, 0.3, down)
    width = np.interp(height, [-24, -17, -9, -3, 4, 6.5], [9.0, 8.4, 7.2, 7.6, 7.5, 6.6])
    depth = np.interp(height, [-24, -17, -9, -3, 4, 6.5], [10.5, 9.3, 8.2, 9.4, 9.6, 8.9])
    first = who.hair_opening + 0.9 * who.ears_bare  # bare ears: the hair is tucked behind them
    opening = np.interp(down, [0, 0.3, 1], [max(1.4, first), 0.4 + 0.7 * first, first])
    points = _sheet(opening, height, width, depth, thick, np.full(rows, -1.0), columns)
    clumps = 0.045 * noise(rng, (rows, columns), (8, 2.0)) + 0.04 * noise(rng, (rows, columns), (5, 5))
    clumps += 0.05 * who.hair_curl * noise(rng, (rows, columns), (2, 2))
    clumps *= (0.3 + 0.7 * down)[:, None]
    points[..., 0] *= 1 + clumps
    points[..., 2] += (points[..., 2] + 1) * clumps
    points[..., 1] += down[:, None] ** 2 * 0.06 * (who.hair_length - 6.5) * noise(rng, (1, columns), (1, 2.0))
    body = (
        smoothstep(0.25, 1.0, down)[:, None] * np.ones(columns) * smoothstep(-6.0, -15.0, who.hair_length * np.ones(1))
    )
    return grid_patch(points * [who.head_width, 1, who.head_depth], HAIR, body)


def _headwear(
    who: Identity, scalp: Array, outward: Array, y: Array, angle: Array, rng: np.random.Generator
) -> list[Patch]:
    """Cap, beanie, hat, hood or headscarf."""
    style = who.hair_style
    inside = y - hat_line(who, angle)
    thick = who.hair_thickness * (1 + 0.12 * noise(rng, y.shape, (6, 9)) * smoothstep(11.6, 9, y))
    if style == "hat":
        thick = thick + 1.6 * smoothstep(5.0, 9.0, y)
    if style == "hood":
        thick = thick + 0.3
    if style in ("hood", "headscarf"):  # below, the draped cloth takes over
        inside = np.minimum(inside, y - 4.0)
    reach = np.clip(thick, 0.3, None) * smoothstep(-0.05, 0.3, inside) + np.clip(0.7 * inside, -0.5, 0.0)
    points = scalp + outward * reach[..., None]
    points[0] = points[0].mean(0)
    patches = [grid_patch(points, CLOTH, closed=True, keep=inside > 0, spread=SPREAD)]
    if style == "cap":
        patches.append(grid_patch(_brim(who, np.linspace(-1.15, 1.15, 17), 5.6, 0.25), CLOTH))
    elif style == "hat":
        patches.append(
            grid_patch(_brim(who, np.linspace(-np.pi, np.pi, 41), rng.uniform(3, 7), 0.1), CLOTH, closed=True)
        )
    elif style in ("hood", "headscarf"):
        patches.append(_draped(who, loose=style == "hood"))
    return patches


def _brim(who: Identity, angle: Array, length: float, droop: float) -> Array:
    """(6, n, 3) a brim that reaches `length` centimetres out from the hat's edge."""
    out = np.linspace(-1.2, length, 6)[:, None]
    taper = np.cos(np.clip(angle * 1.3, -1.5, 1.5)) ** 0.5 if angle[-1] < 2 else np.ones_like(angle)
    line = hat_line(who, angle) + 0.1
    edge = shape.TEMPLATE.at(line, angle)
    thick = 1 + who.hair_thickness / 9
    x = edge[:, 0] * thick + out * taper * np.sin(angle)
    z = edge[:, 2] * thick + out * taper * np.cos(angle)
    y = line - droop * out * taper - 0.015 * np.square(x) * (angle[-1] < 2)
    return np.stack([x, np.broadcast_to(y, x.shape), z], -1) * [who.head_width, who.head_height, who.head_depth]


def _draped(who: Identity, loose: bool) -> Patch:
    """Cloth from the head's sides to the shoulders, closed under the chin."""
    height = np.array([7.5, 5.0, 2.0, -2.0, -6.0, -9.0, -11.0, -12.2, -14.0, -17.0, -20.0])
    opening = np.array([0.6, 0.88, 1.0, 1.06, 1.04, 0.95, 0.7, 0.05, -0.2, -0.2, -0.2]) + 0.04 * loose
    thick = who.hair_thickness + 0.5 * loose
    width = np.array([6.5, 7.4, 7.5, 7.3, 7.1, 6.8, 6.7, 7.2, 8.4, 11.5, 15.5])
    depth = np.array([8.4, 10.0, 10.2, 9.6, 8.9, 8.6, 8.8, 9.2, 9.8, 11.0, 12.0])
    points = _sheet(opening, height, width, depth, np.full(11, thick), np.linspace(-0.8, -3.0, 11), 37)
    body = np.array([0, 0, 0, 0.05, 0.15, 0.3, 0.45, 0.6, 0.8, 1, 1])[:, None]
    return grid_patch(points * [who.head_width, 1, who.head_depth], CLOTH, np.broadcast_to(body, (11, 37)))


def _ball(centre: tuple[float, float, float], radius: float) -> Array:
    """(9, 17, 3) a sphere."""
    down, round_ = np.meshgrid(np.linspace(0, np.pi, 9), np.linspace(-np.pi, np.pi, 17), indexing="ij")
    unit = np.stack([np.sin(down) * np.sin(round_), np.cos(down), np.sin(down) * np.cos(round_)], -1)
    return np.array(centre) + radius * unit
