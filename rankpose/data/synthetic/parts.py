"""What belongs to a portrait besides face and hair? Ears, neck and shoulders, glasses."""

import numpy as np

from rankpose.data.synthetic.surface import (
    Array,
    Patch,
    Region,
    bell,
    blend,
    darken,
    grid_patch,
    join,
    mirrored,
    noise,
    rgb,
    smoothstep,
    to_bytes,
)
from rankpose.data.synthetic.traits import Identity

EAR = Region(384, 0, 128, 112)
TORSO = Region(256, 336, 192, 128)
FRAME = Region(384, 240, 32, 32)
LENS = Region(416, 240, 32, 32)

# Rings from the throat to the chest: height, half width, half depth, centre z, share that stays with the body.
TORSO_RINGS = np.array([
    (-4.0, 4.9, 4.9, -3.0, 0.0), (-7.0, 5.0, 5.0, -3.0, 0.1), (-9.5, 5.2, 5.2, -3.0, 0.25),
    (-11.5, 5.4, 5.4, -3.1, 0.45), (-13.0, 5.7, 5.6, -3.4, 0.65), (-14.2, 6.4, 5.9, -3.7, 0.85),
    (-15.1, 7.7, 6.5, -4.0, 1.0), (-16.0, 10.0, 7.0, -4.3, 1.0), (-17.2, 13.3, 7.4, -4.6, 1.0),
    (-18.7, 16.6, 7.8, -4.8, 1.0), (-21.0, 18.6, 8.6, -4.6, 1.0), (-26.0, 19.6, 9.6, -4.2, 1.0),
    (-34.0, 19.8, 10.5, -4.0, 1.0),
])  # fmt: skip
TORSO_COLUMNS = 29
EAR_HINGE = (7.05, -1.5, -0.3)
"""Where the middle of the ear meets the head."""


# --- ears ---------------------------------------------------------------------------------------------------------


def build_ears(who: Identity) -> list[Patch]:
    """A shell of concentric rings from the canal to the rim and round to the back of the ear, on both sides."""
    around = np.linspace(-np.pi, np.pi, 19)
    rings = np.array([0.0, 0.35, 0.62, 0.80, 0.93, 1.0, 0.92, 0.5])[:, None]
    relief = np.array([-0.50, -0.42, 0.0, -0.02, 0.2, 0.12, -0.1, -0.7])[:, None]  # bowl, fold, groove, rim, back
    forward, up = np.cos(around), np.sin(around)
    egg = (1 - 0.3 * smoothstep(0.3, -1.0, up)) * np.where(forward > 0, 0.62, 1.0)  # slim lobe, flat front
    behind = -rings * 2.0 * who.ear_size * egg * forward + 0.9
    height = rings * 3.0 * who.ear_size * up
    out = relief * (1 - 0.6 * smoothstep(0.2, 1.0, forward)) - 0.25 * smoothstep(0.0, 1.0, forward)
    turn, lean = (
        np.radians(who.ear_angle) * (1 - 0.4 * smoothstep(0.0, -1.0, up)),
        0.20,
    )  # the ear stands off and leans back
    x = EAR_HINGE[0] + out * np.cos(turn) + behind * np.sin(turn)
    z = EAR_HINGE[2] - behind * np.cos(turn) + out * np.sin(turn) - lean * height
    points = np.stack([x, EAR_HINGE[1] + height, z], -1)
    right = grid_patch(points[::-1] * [who.head_width, 1, who.head_depth], EAR, closed=True)
    return [right, mirrored(right)]


def paint_ears(who: Identity, atlas: Array) -> None:
    """Dark bowl, light rim, a shadow under the rim; redder than the face. Rows run from the back to the canal."""
    block = EAR.of(atlas)
    inward = np.linspace(0, 7, EAR.height)[:, None]  # ring number from the outside
    around = np.linspace(-np.pi, np.pi, EAR.width)[None]
    layer = np.empty((3, EAR.height, EAR.width), np.float32)
    layer[:] = who.skin[:, None, None] * rgb(0.97, 0.86, 0.84)
    darken(layer, 0.30 * bell(inward - 4.0, 0.4) * smoothstep(-0.9, 0.1, np.sin(around)))
    darken(layer, 0.45 * smoothstep(5.2, 6.4, inward) + 0.25 * smoothstep(1.5, 0.0, inward))
    layer *= 1 + 0.08 * bell(inward - 2.6, 0.5)
    block[..., :3] = to_bytes(layer)
    block[..., 3] = 60


# --- neck and shoulders -------------------------------------------------------------------------------------------


def build_torso(who: Identity) -> list[Patch]:
    """Neck, trapezius and shoulders in one loft, and a collar."""
    rings = np.stack([np.interp(np.linspace(0, 12, 19), np.arange(13), column) for column in TORSO_RINGS.T], -1)
    height, half, depth, centre, body = rings.T
    neck = smoothstep(-17.5, -14.0, height)
    half = half * np.where(neck > 0, 1 + (who.neck_width / 5.7 - 1) * neck, 1)
    half = half * (1 + (who.shoulder_width / 19 - 1) * (1 - neck))
    depth = depth * (1 + (who.neck_width / 5.7 - 1) * neck)
    round_ = np.linspace(-np.pi, np.pi, TORSO_COLUMNS)
    sine, cosine = np.sin(round_), np.cos(round_)
    x, z = half[:, None] * sine, centre[:, None] + depth[:, None] * cosine
    y = height[:, None] - 1.6 * (1 - neck[:, None]) * np.maximum(cosine, 0) ** 2 + 0.8 * neck[:, None] * -cosine
    apple = 0.35 * (1 - who.femininity) * bell(height[:, None] + 12.0, 0.7) * bell(round_, 0.16)
    tendon = 0.3 * bell(np.abs(round_) - 0.75 + 0.04 * (height[:, None] + 15), 0.16) * neck[:, None]
    points = np.stack([x * (1 + 0.03 * tendon), y, z + apple + tendon], -1)
    patches = [grid_patch(points, TORSO, np.broadcast_to(body[:, None], y.shape), closed=True)]
    if who.collar in ("shirt", "high"):
        patches.append(_collar(who))
    return patches


def _collar(who: Identity) -> Patch:
    """A standing ring of cloth round the neck, folded over outward; a shirt's is open in front."""
    start = 0.25 if who.collar == "shirt" else 0.0
    round_ = np.linspace(2 * np.pi - start, start, 29)
    top = -12.2 if who.collar == "high" else -12.9
    height = np.array([-15.8, top, top - 0.1, -15.2])[:, None] + 0.9 * -np.cos(round_)
    grow = np.array([0.2, 0.3, 0.65, 2.2])[:, None]
    half = (who.neck_width + 0.4 + grow) * np.ones_like(round_)
    points = np.stack([-half * np.sin(round_), height, -3.5 + half * np.cos(round_)], -1)
    patch = grid_patch(points, TORSO, 1.0)
    patch.uv[:] = TORSO.uv(np.linspace(0, 1, 29)[None] * np.ones((4, 1)), 0.9).reshape(-1, 2)
    return patch


def paint_torso(who: Identity, atlas: Array) -> None:
    """Skin down to the neckline, cloth below; shadow under the jaw."""
    rng = np.random.default_rng([who.seed, 8])
    block = TORSO.of(atlas)
    size = block.shape[:2]
    ring = np.linspace(0, 12, size[0])[:, None] * np.ones((1, size[1]))
    height = np.interp(ring, np.arange(13), TORSO_RINGS[:, 0])
    round_ = np.linspace(-np.pi, np.pi, size[1])[None]
    layer = np.empty((3, *size), np.float32)
    layer[:] = who.skin[:, None, None] * rgb(0.97, 0.93, 0.92)
    layer *= 1 + 0.03 * noise(rng, size, 12)
    darken(layer, 0.28 * smoothstep(-14.0, -9.5, height) * (0.6 + 0.4 * np.cos(round_)))
    darken(layer, 0.12 * bell(np.abs(round_) - 0.5, 0.12) * smoothstep(-16.5, -15, height))
    if who.hair_style in ("short", "medium", "long", "fringe", "afro"):
        blend(
            layer,
            smoothstep(-8.6, -6.4, height + 0.5 * noise(rng, size, (20, 2))) * smoothstep(2.1, 2.5, np.abs(round_)),
            0.8 * who.hair[:, None, None],
        )
    neckline = {"crew": -15.0, "vee": -15.4, "shirt": -14.3, "high": -13.3, "bare": -18.5}[who.collar]
    dip = {"vee": 6.0, "shirt": 3.0}.get(who.collar, 1.0) * np.maximum(1 - np.abs(round_) / 0.7, 0)
    worn = smoothstep(0.2, -0.2, height - neckline + dip)
    folds = 1 + 0.07 * noise(rng, size, (12, 20)) + 0.04 * noise(rng, size, 1.3)
    darken(layer, 0.3 * smoothstep(0.9, 0.0, height - neckline + dip))
    blend(layer, worn, who.cloth[:, None, None] * folds)
    block[..., :3] = to_bytes(layer)
    block[..., 3] = np.where(worn > 0.5, 8, 50)


# --- glasses ------------------------------------------------------------------------------------------------------


def build_glasses(who: Identity, ridge_z: float) -> list[Patch]:
    """Rims, bridge and temples; dark glasses have lenses too. `ridge_z` is the depth of the nose's root."""
    if who.glasses == "none":
        return []
    around = np.linspace(-np.pi, np.pi, 27)
    power = 2 / who.glasses_roundness
    ring_x = np.sign(np.cos(around)) * np.abs(np.cos(around)) ** power
    ring_y = np.sign(np.sin(around)) * np.abs(np.sin(around)) ** power
    middle_x, middle_y = 3.2, who.eye_height - 0.25
    thick, half_w, half_h = who.glasses_thickness, who.glasses_width, who.glasses_height

    def depth(x: Array) -> Array:
        z: Array = ridge_z + 0.55 - 0.045 * np.square(x)
        return z

    tube = np.linspace(0, 2 * np.pi, 5)[:, None]
    x = middle_x + (half_w + thick * np.cos(tube)) * ring_x
    y = middle_y + (half_h + thick * np.cos(tube)) * ring_y
    rim = grid_patch(np.stack([x, y, depth(x) + thick * np.sin(tube)], -1)[:, ::-1], FRAME, closed=True)
    patches = [rim, mirrored(rim)]
    if who.glasses == "sun":
        out = np.linspace(0, 1, 4)[:, None]
        x, y = middle_x + half_w * out * ring_x, middle_y + half_h * out * ring_y
        lens = grid_patch(np.stack([x, y, depth(x)], -1), LENS, closed=True)
        patches += [lens, mirrored(lens)]
    hinge = middle_x + half_w
    back = np.linspace(0, 1, 6)
    side_x = np.interp(back, [0, 0.15, 1], [hinge, 7.15, 7.7]) * who.head_width
    side_z = depth(np.array(hinge)) + back * (-2.2 - depth(np.array(hinge)))
    bar = np.array([0.25 + thick, -0.1])[:, None] + middle_y + 0.45
    temple = grid_patch(np.stack(np.broadcast_arrays(side_x, bar, side_z), -1), FRAME)
    span = np.linspace(-1, 1, 5) * (middle_x - half_w + 0.15)
    bar = middle_y + 0.45 + np.array([thick, -thick])[:, None]
    bridge = grid_patch(
        np.stack(np.broadcast_arrays(span, bar + 0.15 * (1 - np.square(span)), depth(span) + 0.1), -1), FRAME
    )
    return [join([*patches, temple, mirrored(temple), bridge])]


def paint_glasses(who: Identity, atlas: Array) -> None:
    """One colour for the frame, a gradient for the lenses."""
    frame, lens = FRAME.of(atlas), LENS.of(atlas)
    frame[..., :3] = np.clip(who.glasses_tone * np.array([1.1, 0.95, 0.85], np.float32) * 255, 0, 255)
    frame[..., 3] = 150
    down, round_ = np.linspace(0, 1, LENS.height)[:, None], np.linspace(-np.pi, np.pi, LENS.width)
    lens[..., :3] = (22 - 14 * down * np.sin(round_))[..., None]  # lighter below
    lens[..., 3] = 230
