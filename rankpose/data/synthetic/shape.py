"""What shape is a head? A template skull, the features laid on it, and where the 68 landmarks lie.

Everything is placed by *rest coordinates*: x and y in centimetres on the template as seen from the front, with the
lips parted by `SLIT`. The texture is painted in the same coordinates, so that shape and paint agree, and identities
and expressions only move the vertices. Origin: between the eyes in height, about the ears in depth.
"""

import numpy as np
from scipy.interpolate import PchipInterpolator

from rankpose.data.synthetic.surface import Array, bell, smoothstep
from rankpose.data.synthetic.traits import Expression, Identity

MOUTH_Y, NOSE_BASE_Y, CHIN_Y = -6.15, -4.3, -10.75
SLIT = 0.5
"""Gap between the lips in rest coordinates: room in the texture for the inside of the mouth."""

# Horizontal sections of the template, measured at the front: height, half width, front z, back z, z of the widest
# place, squareness (2 an ellipse, less: pointed).
SECTIONS = np.array([
    (11.7, 0.0, -1.2, -1.2, -1.2, 2.0), (11.5, 2.3, 1.6, -4.2, -1.2, 2.0), (10.8, 4.3, 4.0, -6.6, -1.2, 2.0),
    (9.4, 6.1, 6.3, -8.7, -1.2, 2.05), (7.6, 7.2, 7.9, -10.0, -1.2, 2.1), (5.5, 7.6, 8.75, -10.6, -1.2, 2.15),
    (3.5, 7.55, 9.05, -10.7, -1.0, 2.25), (1.9, 7.35, 8.95, -10.5, -0.8, 2.3), (0.0, 7.1, 8.3, -10.1, -0.6, 2.15),
    (-2.0, 7.0, 8.4, -9.4, -0.4, 2.1), (-4.3, 6.95, 8.75, -8.7, -0.2, 2.0), (-6.5, 6.85, 8.8, -8.0, 0.0, 1.85),
    (-8.4, 6.75, 8.5, -7.4, 0.2, 1.7), (-9.8, 6.5, 8.4, -7.0, 0.4, 1.58), (-10.45, 6.25, 8.05, -6.8, 0.4, 1.53),
    (-10.8, 5.9, 7.5, -6.7, 0.4, 1.53), (-11.0, 5.0, 6.2, -5.5, 0.6, 1.7), (-11.15, 3.4, 4.2, -3.5, 0.8, 2.0),
    (-11.2, 1.5, 2.5, -1.5, 1.0, 2.0),
])  # fmt: skip
# Rows of the face run back and up to the ear, most along the jaw: lift per centimetre behind the front, and its bend.
LIFT_SLOPE, LIFT_BEND, LIFT_LIMIT = 0.40, 0.14, 8.0

ROWS = np.concatenate([
    [11.7, 11.4, 10.7, 9.7], np.linspace(8.6, 3.6, 6), np.linspace(2.9, 1.2, 5), np.linspace(0.85, -1.0, 9),
    np.linspace(-1.4, -3.0, 4), np.linspace(-3.27, -4.55, 7), np.linspace(-4.85, -7.5, 13),
    np.linspace(-8.0, -10.45, 5), [-10.65, -10.8, -10.95, -11.1, -11.2],
])  # fmt: skip
"""Heights of the mesh's rows at the front: dense at eyes, nostrils and lips."""
_HALF = np.concatenate([np.linspace(0, 0.64, 16), np.linspace(0.75, 1.57, 8), np.linspace(1.82, np.pi, 6)])
COLUMNS = np.concatenate([-_HALF[:0:-1], _HALF])
"""Angles of the mesh's columns about the vertical axis, radians from straight ahead: dense in front."""

# The jaw line as (row height, column angle) on the template, from the chin to beside the ear at eye height.
JAW_LINE = np.array([
    (-10.75, 0.00), (-10.75, 0.45), (-10.75, 0.75), (-10.8, 1.02), (-10.8, 1.28), (-10.65, 1.44), (-10.1, 1.52),
    (-6.9, 1.52), (-2.0, 1.50),
])  # fmt: skip


class Template:
    """The skull under every identity, as a function of row height and column angle and as a grid."""

    def __init__(self) -> None:
        table = SECTIONS[::-1]
        self._section = PchipInterpolator(table[:, 0], table[:, 1:])
        self.points = self.at(ROWS[:, None], COLUMNS[None, :]).astype(np.float32)
        """(rows, columns, 3)."""
        self.front = smoothstep(0.3, 3.5, self.points[..., 2])
        """(rows, columns) 0 at the back and sides, 1 on the face."""

    def at(self, height: Array, angle: Array) -> Array:
        """(..., 3) points on the skull at row heights and column angles."""
        height, angle = np.broadcast_arrays(height, angle)
        half, front, back, side, square = np.moveaxis(self._section(np.clip(height, -11.2, 11.7)), -1, 0)
        sine, cosine = np.sin(angle), np.cos(angle)
        x = half * np.sign(sine) * np.abs(sine) ** (2 / square)
        reach = np.sign(cosine) * np.abs(cosine) ** (2 / square)
        z = side + np.where(reach > 0, (front - side) * reach, (side - back) * reach)
        behind = np.clip(front - z, 0, LIFT_LIMIT)
        share = np.clip(-height / -CHIN_Y, 0, 1)
        y = height + share * (LIFT_SLOPE * behind + LIFT_BEND * np.square(np.maximum(behind - 3, 0)))
        return np.stack([x, y, z], -1)

    def locate(self, points: Array) -> Array:
        """(n, 2) fractional grid row and column of (n, 2) rest coordinates on the front of the face."""
        height, angle = points[:, 1].astype(float), np.arcsin(np.clip(points[:, 0] / 7.5, -0.95, 0.95))
        for _ in range(5):
            there = self.at(height, angle)
            height = height + points[:, 1] - there[:, 1]
            angle = np.clip(angle + (points[:, 0] - there[:, 0]) / 7.0, -1.5, 1.5)
        return self.fractions(height, angle)

    def fractions(self, height: Array, angle: Array) -> Array:
        """(n, 2) fractional grid row and column of row heights and column angles."""
        rows = np.interp(-height, -ROWS, np.arange(len(ROWS)))
        return np.stack([rows, np.interp(angle, COLUMNS, np.arange(len(COLUMNS)))], -1)


TEMPLATE = Template()
REST_X, REST_Y, REST_Z = (TEMPLATE.points[..., k] for k in range(3))
_SIDE = np.abs(REST_X)
_FRONT = TEMPLATE.front


def sample_grid(grid: Array, place: Array) -> Array:
    """(n, 3) points of an (R, C, 3) grid at (n, 2) fractional rows and columns."""
    corner = np.minimum(place.astype(int), np.array(grid.shape[:2]) - 2)
    (r, c), (fr, fc) = corner.T, (place - corner).T[..., None]
    top = grid[r, c] * (1 - fc) + grid[r, c + 1] * fc
    points: Array = top * (1 - fr) + (grid[r + 1, c] * (1 - fc) + grid[r + 1, c + 1] * fc) * fr
    return points


# --- where the features are, in rest coordinates ------------------------------------------------------------------


def nose_base_y(who: Identity) -> float:
    """Height of the point where the nose meets the upper lip."""
    return NOSE_BASE_Y + who.eye_height - who.nose_length


def mouth_y(who: Identity) -> float:
    """Height of the line between the lips."""
    return MOUTH_Y + 0.5 * (who.eye_height - who.nose_length) + who.mouth_height


def mouth_line(who: Identity, x: Array) -> tuple[Array, Array]:
    """Height of the line between the lips at `x`, and the half opening of the slit there (0 beyond the corners)."""
    across = np.clip(np.abs(x) / who.mouth_width, 0, 1)
    return mouth_y(who) - 0.15 * across**2, 0.5 * SLIT * np.sqrt(1 - across**2)


def lip_heights(who: Identity, x: Array) -> tuple[Array, Array]:
    """Thickness of the upper and the lower lip at `x`."""
    across = np.clip(np.abs(x) / who.mouth_width, 0, 1)
    bow = 0.13 * bell(across - 0.22, 0.12) - 0.05 * bell(across, 0.08)
    return who.lip_upper * (0.85 * (1 - across**1.8) + bow), who.lip_lower * (1 - across**2) ** 0.8


def brow_line(who: Identity, face: Expression, side: Array) -> Array:
    """Height of the middle of the brow at a distance `side` from the middle of the face."""
    arch = who.brow_arch * (1 - np.square((side - 3.3) / 2.2))
    inner = smoothstep(3.2, 1.6, side)
    return who.brow_height + who.eye_height + arch + face.brows * (0.7 + 0.3 * inner) - 0.35 * face.frown * inner


def lid_lines(who: Identity, face: Expression, along: Array) -> tuple[Array, Array]:
    """Height above the eye's middle of the upper and lower lid at `along`, -1 the inner to 1 the outer corner."""
    arc = np.clip(1 - along**2, 0, None)
    squint = 0.25 * max(face.smile, 0.0)
    low = -(0.42 - squint * 0.5) * who.eye_opening * arc
    top = 0.60 * who.eye_opening * arc**0.7 * (1 - 0.12 * along)
    return low + (top - low) * np.clip(face.lids * (1 - 0.5 * squint), 0.02, 1.3), low


# --- shape --------------------------------------------------------------------------------------------------------


def neutral_face(who: Identity) -> Array:
    """(rows, columns, 3) float32 skin with this person's features, in rest pose (lips parted by the slit)."""
    points = TEMPLATE.points.copy()
    forward = np.zeros_like(REST_X)
    forward += _eye_relief(who) + _forehead_relief(who) + _cheek_relief(who)
    forward += _nose_relief(who) + _lip_relief(who) + _chin_relief(who)
    points[..., 2] += forward * _FRONT
    return reshape_skull(who, points)


def scalp(who: Identity) -> Array:
    """(rows, columns, 3) float32 skull of this person without features: what hair and hats sit on."""
    return reshape_skull(who, TEMPLATE.points)


def reshape_skull(who: Identity, points: Array) -> Array:
    """The points moved by this person's broad proportions; smooth, so that it can carry anything."""
    x, y, z = points[..., 0], points[..., 1], points[..., 2]
    jaw = smoothstep(-2.0, -7.5, y)
    chin = smoothstep(-7.0, -10.5, y)
    width = who.head_width * (1 + (who.jaw_width - 1) * jaw + (who.chin_width - 1) * chin * smoothstep(2, 6, z))
    fat = who.fullness * bell(y + 5.5, 2.5) * 0.035
    longer = who.chin_length * smoothstep(-6.5, -10.5, y) * smoothstep(-1.0, 6.0, z)
    moved = np.empty_like(points)
    moved[..., 0] = x * (width + fat) + who.asymmetry * y * smoothstep(0, 6, z)
    moved[..., 1] = y * np.where(y > 0, who.head_height, 0.5 + 0.5 * who.head_height) - longer
    slope = 0.012 * who.forehead_slope * np.square(np.clip(y - 2, 0, 7)) * smoothstep(0, 5, z)
    moved[..., 2] = z * who.head_depth - slope + who.chin_forward * chin * smoothstep(2, 7, z)
    return moved


def _eye_relief(who: Identity) -> Array:
    away, up = _SIDE - who.eye_spacing, REST_Y - who.eye_height
    socket = (1.0 + who.eye_depth) * bell(away + 0.35, 1.35) * bell(up - 0.15, 0.95)
    ball = (0.95 + 0.3 * who.eye_depth) * bell(away - 0.05, 0.95) * bell(up - 0.05, 0.6)
    lid_fold = 0.10 * bell(away, 1.0) * bell(up - 0.75, 0.18)
    bag = 0.12 * (0.4 + who.age) * bell(away, 0.9) * bell(up + 0.95, 0.3)
    inner_corner = 0.25 * bell(away + 1.25, 0.4) * bell(up, 0.4)
    forward: Array = ball + lid_fold + bag - socket - inner_corner
    return forward


def _forehead_relief(who: Identity) -> Array:
    ridge = (0.25 + who.brow_ridge) * bell(_SIDE - 2.6, 1.9) * bell(REST_Y - who.eye_height - 1.9, 0.75)
    glabella = 0.15 * bell(REST_X, 1.2) * bell(REST_Y - 2.0, 0.8)
    forward: Array = ridge + glabella
    return forward


def _cheek_relief(who: Identity) -> Array:
    bone = (0.35 + who.cheekbones) * bell(_SIDE - 4.4, 1.4) * bell(REST_Y + 1.9, 1.3)
    hollow = (0.15 - 0.4 * who.fullness) * bell(_SIDE - 4.6, 1.3) * bell(REST_Y + 5.6, 1.6)
    beside_nose = 0.25 * bell(_SIDE - 1.9, 0.6) * bell(REST_Y + 2.6, 1.2)
    fold = (0.12 + 0.3 * who.age) * bell(_SIDE - 2.0 + 0.35 * (REST_Y + 4.6), 0.32) * bell(REST_Y + 4.9, 0.9)
    forward: Array = bone - hollow - beside_nose - fold
    return forward


def _nose_relief(who: Identity) -> Array:
    """Bridge, tip, wings and a real underside: the ridge falls from the tip to the base within a centimetre."""
    base = nose_base_y(who)
    along = (REST_Y - (who.eye_height + 0.6)) / (base - (who.eye_height + 0.6))  # 0 at the root, 1 at the base
    up = 0.06 * who.nose_tip_up
    ridge = np.interp(
        along,
        [-0.35, -0.1, 0.1, 0.35, 0.58, 0.74 - up, 0.83 - up, 0.90 - up, 0.96, 1.03, 1.12],
        [0.08, 0.42, 0.98, 1.72, 2.42, 2.62, 2.48, 2.00, 1.30, 0.50, 0.0],
    )
    ridge = ridge * who.nose_forward + 0.35 * (who.nose_bridge - 1) * bell(along - 0.3, 0.25)
    ridge += who.nose_hump * bell(along - 0.45, 0.15)
    width = who.nose_width * np.interp(along, [0, 0.35, 0.7, 0.85, 1.0], [0.75, 0.72, 0.85, 0.95, 0.85])
    section = np.exp(-np.power(_SIDE / width, 2.3))
    flare = 1.22 * who.nose_width
    wing = 1.0 * bell(_SIDE - flare, 0.36) * bell(along - 0.84, 0.06)
    wing += 0.45 * bell(_SIDE - 0.8 * flare, 0.4) * bell(along - 0.75, 0.12)
    nostril = 0.35 * bell(_SIDE - 0.62 * who.nose_width, 0.25) * bell(along - 0.965, 0.035)
    forward: Array = ridge * section + wing * (1 - section * 0.6) - nostril
    return forward


def _lip_relief(who: Identity) -> Array:
    line, half = mouth_line(who, REST_X)
    upper, lower = lip_heights(who, REST_X)
    over, under = REST_Y - line - half, line - half - REST_Y
    inside = smoothstep(1.05, 0.8, _SIDE / who.mouth_width)
    muzzle = 0.40 * bell(REST_X, 2.0) * bell(REST_Y - mouth_y(who) - 0.4, 1.5)
    swell_up = (0.52 + who.lips_forward) * bell(over - 0.85 * upper, 0.42 * upper + 0.1)
    swell_low = (0.58 + who.lips_forward) * bell(under - 0.72 * lower, 0.38 * lower + 0.1)
    gap = smoothstep(0.0, -0.12, np.maximum(over, under))
    philtrum = 0.08 * bell(REST_X, 0.25) * bell(REST_Y - 0.5 * (nose_base_y(who) + mouth_y(who) + 0.6), 0.4)
    corner = 0.22 * bell(_SIDE - who.mouth_width - 0.1, 0.45) * bell(REST_Y - line, 0.5)
    forward: Array = muzzle + inside * (np.maximum(swell_up, swell_low) - 0.35 * gap) - philtrum - corner
    return forward


def _chin_relief(who: Identity) -> Array:
    middle = mouth_y(who)
    groove = 0.45 * bell(REST_X, 1.7) * bell(REST_Y - middle + 2.0, 0.5)
    pad = 0.45 * bell(REST_X, 1.5) * bell(REST_Y + 9.6, 0.75)
    forward: Array = pad - groove
    return forward


# --- expression ---------------------------------------------------------------------------------------------------


def express(who: Identity, neutral: Array, face: Expression) -> Array:
    """(rows, columns, 3) float32 the neutral skin with mouth, jaw and cheeks moved."""
    points = neutral.copy()
    gap = max(face.mouth_open, 0.03)
    line, half = mouth_line(who, REST_X)
    inside = np.where(who.mouth_width > _SIDE, half / (0.5 * SLIT), 0.0)
    over, under = REST_Y - line, line - REST_Y

    # the upper edge of the slit goes to 15 % of the gap above the line, the lower one falls with the jaw
    rise = (0.15 * gap * inside - half) * smoothstep(1.7, 0.6, over)
    fall_edge = 0.85 * gap
    jaw = fall_edge * smoothstep(0.0, 2.4, under)
    fall = jaw + inside * (fall_edge * (1 - smoothstep(0.0, 2.4, under)))
    close = half * smoothstep(2.0, 0.8, under)
    within = np.clip(over / np.maximum(half, 1e-3), -1, 1)  # 1 on the upper lip, -1 on the lower
    reach = smoothstep(-1.0, 5.0, REST_Z)
    points[..., 1] += np.where(over > 0, rise * np.maximum(within, 0), -(fall * reach - close) * np.maximum(-within, 0))
    points[..., 2] -= 0.22 * jaw * reach
    cavity = (0.10 + 0.55 * min(gap, 1.2)) * (1 - within**2) * (half > 1e-3)
    points[..., 2] -= cavity * inside
    points[..., 0] *= 1 - 0.06 * face.mouth_open * bell(_SIDE - who.mouth_width, 1.0) * bell(over, 1.2) * _FRONT

    # a smile pulls the corners out, up and back, and lifts the cheeks
    corner = bell(_SIDE - who.mouth_width, 0.9) * bell(over, 0.9) * _FRONT
    points[..., 0] += np.sign(REST_X) * 0.45 * face.smile * corner
    points[..., 1] += 0.50 * face.smile * corner
    points[..., 2] -= 0.30 * face.smile * corner
    points[..., 2] += 0.35 * max(face.smile, 0) * bell(_SIDE - 3.7, 1.0) * bell(REST_Y + 2.7, 1.0) * _FRONT
    return points


# --- landmarks ----------------------------------------------------------------------------------------------------


def landmark_places(who: Identity, face: Expression) -> Array:
    """(68, 2) fractional grid row and column of the landmarks, in 300W-LP's order."""
    jaw = TEMPLATE.fractions(*JAW_LINE.T)
    middle = TEMPLATE.fractions(np.zeros(1), np.zeros(1))[0, 1]
    other = np.stack([jaw[:, 0], 2 * middle - jaw[:, 1]], -1)  # the columns mirror about the middle one
    rest = np.concatenate([_brow_points(who, face), _nose_points(who), _eye_points(who, face), _mouth_points(who)])
    return np.concatenate([other[:0:-1], jaw, TEMPLATE.locate(rest)])


def _both_sides(points: Array) -> Array:
    """(2n, 2) the viewer's left side in reverse order, then the right side as given."""
    return np.concatenate([points[::-1] * [-1, 1], points])


def _brow_points(who: Identity, face: Expression) -> Array:
    side = who.eye_spacing + np.array([-1.2, -0.32, 0.66, 1.66, 2.46])
    return _both_sides(np.stack([side, brow_line(who, face, side)], -1))


def _nose_points(who: Identity) -> Array:
    base, root = nose_base_y(who), who.eye_height + 0.05
    tip = base + (1.06 + 0.25 * who.nose_tip_up) * (root - base) / 4.35
    ridge = [(0.0, root + t * (tip - root)) for t in (0.0, 0.345, 0.69, 1.0)]
    half = who.nose_width
    bottom = [(s * half, base + up) for s, up in ((-1.12, 0.22), (-0.64, 0.1), (0, 0.0), (0.64, 0.1), (1.12, 0.22))]
    return np.array(ridge + bottom)


def _eye_points(who: Identity, face: Expression) -> Array:
    along = np.array([1.0, 0.42, -0.32, -1.0, -0.36, 0.40])  # outer corner, upper lid, inner corner, lower lid
    upper, lower = lid_lines(who, face, along)
    x = who.eye_spacing + along * who.eye_width
    up = np.where(np.arange(6) < 3, upper, lower) + who.eye_height + who.eye_tilt * along * who.eye_width
    right = np.stack([x, up], -1)
    return np.concatenate([right * [-1, 1], right[[3, 2, 1, 0, 5, 4]]])


def _mouth_points(who: Identity) -> Array:
    outer = np.array([-1, -0.65, -0.225, 0, 0.225, 0.65, 1, 0.63, 0.32, 0, -0.32, -0.63]) * who.mouth_width
    inner = np.array([-0.92, -0.29, 0, 0.29, 0.92, 0.285, 0, -0.285]) * who.mouth_width
    above_outer, above_inner = np.arange(12) < 7, np.arange(8) < 5
    line, half = mouth_line(who, outer)
    upper, lower = lip_heights(who, outer)
    outer_y = np.where(above_outer, line + half + upper, line - half - lower)
    line, half = mouth_line(who, inner)
    rim = 0.08  # the red of the lip starts a little outside the edge of the gap
    inner_y = np.where(above_inner, line + half + rim, line - half - rim)
    inner_y[[0, 4]] = line[[0, 4]]
    return np.concatenate([np.stack([outer, outer_y], -1), np.stack([inner, inner_y], -1)])
