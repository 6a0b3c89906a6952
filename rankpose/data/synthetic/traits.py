"""Who is the head, and what does it do with its face? Every choice is a plain named number or word."""

import dataclasses
from dataclasses import dataclass, field
from typing import Any

import numpy as np

SKIN_TONES = np.array(  # sRGB from light to deep
    [
        (0.94, 0.79, 0.71), (0.91, 0.73, 0.63), (0.86, 0.66, 0.53), (0.77, 0.56, 0.42),
        (0.64, 0.44, 0.32), (0.50, 0.33, 0.23), (0.37, 0.24, 0.17), (0.27, 0.17, 0.12),
    ],
    np.float32,
)  # fmt: skip
HAIR_TONES: dict[str, tuple[float, float, float]] = {
    "black": (0.07, 0.06, 0.06), "dark brown": (0.15, 0.10, 0.07), "brown": (0.26, 0.17, 0.10),
    "light brown": (0.40, 0.27, 0.16), "blond": (0.66, 0.51, 0.31), "pale blond": (0.80, 0.69, 0.49),
    "red": (0.46, 0.20, 0.09), "grey": (0.50, 0.50, 0.50), "white": (0.82, 0.82, 0.81), "dyed": (0.45, 0.12, 0.30),
}  # fmt: skip
EYE_TONES: dict[str, tuple[float, float, float]] = {
    "dark": (0.14, 0.08, 0.05), "brown": (0.30, 0.18, 0.10), "hazel": (0.38, 0.30, 0.16),
    "blue": (0.32, 0.46, 0.58), "green": (0.30, 0.42, 0.28), "grey": (0.42, 0.47, 0.50),
}  # fmt: skip
FEMALE_STYLES = {"long": 8, "medium": 5, "bun": 3, "fringe": 3, "short": 2, "afro": 1, "headscarf": 1, "hat": 1,
                 "hood": 0.4, "beanie": 0.5, "cap": 0.4}  # fmt: skip
MALE_STYLES = {"short": 9, "crop": 4, "receding": 3, "bald": 2, "fringe": 2, "medium": 1, "long": 0.8, "afro": 0.8,
               "cap": 1.3, "beanie": 1, "hat": 0.8, "hood": 0.8, "bun": 0.3}  # fmt: skip
COVERED = ("cap", "beanie", "hat", "hood", "headscarf")
"""Styles in which cloth covers the top of the head."""


@dataclass(eq=False)
class Identity:
    """A person. Lengths in centimetres in the head's frame, the rest as ratios or shares of 1 unless said otherwise.

    Zero or one is the middle of every shape parameter, so that the mean of many identities is the neutral head.
    """

    seed: int
    femininity: float
    """0 a rugged, 1 a delicate face: narrows the jaw, thins the brow ridge, fills the lips."""
    age: float
    """0 young, 1 old: wrinkles, sagging, grey."""
    # skull
    head_width: float
    head_depth: float
    head_height: float
    jaw_width: float
    chin_width: float
    chin_length: float
    chin_forward: float
    cheekbones: float
    fullness: float
    """Fat in the cheeks and under the chin, -1..1."""
    forehead_slope: float
    brow_ridge: float
    asymmetry: float
    # features
    eye_spacing: float
    eye_height: float
    eye_width: float
    eye_opening: float
    eye_tilt: float
    eye_depth: float
    lid_crease: float
    brow_height: float
    brow_arch: float
    brow_thickness: float
    brow_density: float
    nose_length: float
    nose_forward: float
    nose_width: float
    nose_bridge: float
    nose_hump: float
    nose_tip_up: float
    mouth_height: float
    mouth_width: float
    lip_upper: float
    lip_lower: float
    lips_forward: float
    ear_size: float
    ear_angle: float
    """Degrees that the ears stand off."""
    # colour
    skin_tone: float
    """0 light, 1 deep."""
    skin_red: float
    skin_green: float
    skin_blue: float
    skin_gloss: float
    redness: float
    mottling: float
    freckles: float
    moles: float
    eye_colour: str
    lip_redness: float
    makeup: float
    lipstick: float
    # hair
    hair_style: str
    hair_colour: str
    hair_red: float
    hair_green: float
    hair_blue: float
    hair_thickness: float
    hair_line: float
    hair_side: float
    """Height at which the hair ends in front of the ears."""
    hair_length: float
    """Height of the tips of falling hair."""
    hair_curl: float
    hair_opening: float
    """Angle from straight ahead, radians, at which falling hair begins."""
    hair_parting: float
    ears_bare: float
    beard: str
    beard_length: float
    beard_density: float
    # things worn
    glasses: str
    glasses_width: float
    glasses_height: float
    glasses_thickness: float
    glasses_roundness: float
    glasses_tone: float
    cloth_red: float
    cloth_green: float
    cloth_blue: float
    collar: str
    hat_red: float
    hat_green: float
    hat_blue: float
    neck_width: float
    shoulder_width: float
    cache: dict[str, Any] = field(default_factory=dict, repr=False)
    """What every expression of this person shares, kept by `build_mesh`."""

    def factors(self) -> dict[str, float | str]:
        """All parameters, for records."""
        return _plain(self)

    @property
    def skin(self) -> np.ndarray:
        """(3,) float32 sRGB colour of the skin."""
        return np.array([self.skin_red, self.skin_green, self.skin_blue], np.float32)

    @property
    def hair(self) -> np.ndarray:
        """(3,) float32 sRGB colour of the hair."""
        return np.array([self.hair_red, self.hair_green, self.hair_blue], np.float32)

    @property
    def cloth(self) -> np.ndarray:
        """(3,) float32 sRGB colour of the clothes."""
        return np.array([self.cloth_red, self.cloth_green, self.cloth_blue], np.float32)

    @property
    def hat(self) -> np.ndarray:
        """(3,) float32 sRGB colour of the hat, hood or headscarf."""
        return np.array([self.hat_red, self.hat_green, self.hat_blue], np.float32)


@dataclass(frozen=True)
class Expression:
    """What the face does; the default is neutral."""

    mouth_open: float = 0.0
    """Gap between the lips, centimetres."""
    smile: float = 0.0
    """-0.4 mouth corners down, 1 a broad smile."""
    teeth: float = 0.0
    """Share of the gap that shows upper teeth."""
    lids: float = 1.0
    """0 eyes shut, 1 as open as the person's eyes usually are."""
    gaze_x: float = 0.0
    gaze_y: float = 0.0
    """Shift of the irises, centimetres."""
    brows: float = 0.0
    """Raised by so many centimetres."""
    frown: float = 0.0
    """Inner brow ends lowered and drawn together, 0..1."""

    def factors(self) -> dict[str, float | str]:
        """All parameters, for records."""
        return _plain(self)


def draw_expression(rng: np.random.Generator) -> Expression:
    """A random expression: half of the mouths are shut, one eye pair in ten is nearly closed."""
    smile = float(rng.uniform(-0.3, 1.0)) if rng.random() < 0.6 else 0.0
    is_open = rng.random() < 0.5
    widely = rng.random() < 0.3
    mouth_open = float(rng.uniform(0.15, 2.6 if widely else 1.0)) if is_open else 0.0
    return Expression(
        mouth_open=mouth_open,
        smile=smile,
        teeth=float(rng.uniform(0.3, 1.0)) if rng.random() < 0.4 + 0.5 * max(smile, 0.0) else 0.0,
        lids=float(rng.uniform(0.7, 1.15) if rng.random() < 0.9 else rng.uniform(0.0, 0.6)),
        gaze_x=float(np.clip(rng.normal(0, 0.2), -0.5, 0.5)),
        gaze_y=float(np.clip(rng.normal(0, 0.07), -0.15, 0.15)),
        brows=float(rng.uniform(-0.15, 0.4)) if rng.random() < 0.5 else 0.0,
        frown=float(rng.uniform(0.2, 1.0)) if rng.random() < 0.2 else 0.0,
    )


def make_identity(seed: int) -> Identity:
    """The person with this number; the same number gives the same person."""
    rng = np.random.default_rng([seed, 68])

    def near(middle: float, spread: float) -> float:
        return float(middle + spread * np.clip(rng.normal(), -2.2, 2.2))

    def between(low: float, high: float) -> float:
        return float(rng.uniform(low, high))

    female = rng.random() < 0.5
    femininity = float(np.clip(rng.normal(0.75 if female else 0.25, 0.15), 0, 1))
    lean = femininity - 0.5
    age = float(rng.beta(1.3, 2.0))
    skin_tone = float(rng.beta(0.9, 1.8))
    skin = _skin_colour(rng, skin_tone)
    hair_colour = _hair_colour(rng, skin_tone, age)
    hair = np.clip(np.array(HAIR_TONES[hair_colour]) * rng.uniform(0.7, 1.3) + rng.normal(0, 0.015, 3), 0.03, 0.92)
    style = _pick(rng, FEMALE_STYLES if female else MALE_STYLES)
    made_up = female and rng.random() < 0.55
    cloth, hat = _cloth_colour(rng), _cloth_colour(rng)
    fringed = style == "fringe" or (style in ("medium", "long") and rng.random() < 0.3)
    return Identity(
        seed=seed, femininity=femininity, age=age,
        head_width=near(1.0, 0.035), head_depth=near(1.0, 0.035), head_height=near(1.0, 0.03),
        jaw_width=near(1.0 - 0.12 * lean, 0.04), chin_width=near(1.0 - 0.16 * lean, 0.09),
        chin_length=near(-0.4 * lean, 0.28), chin_forward=near(0.0, 0.3),
        cheekbones=near(0.0, 0.25), fullness=near(0.3 * lean, 0.4),
        forehead_slope=near(-0.6 * lean, 0.35), brow_ridge=near(-0.5 * lean, 0.12), asymmetry=near(0.0, 0.008),
        eye_spacing=near(3.0, 0.13), eye_height=near(0.0, 0.12), eye_width=near(1.15, 0.09),
        eye_opening=near(0.70 + 0.20 * lean, 0.09), eye_tilt=near(0.02 + 0.06 * lean, 0.06),
        eye_depth=near(0.0, 0.2), lid_crease=float(np.clip(near(0.6, 0.35), 0, 1)),
        brow_height=near(1.45 + 0.4 * lean, 0.18), brow_arch=near(0.8 + 0.2 * lean, 0.16),
        brow_thickness=near(0.28 - 0.22 * lean, 0.05), brow_density=between(0.45, 1.0),
        nose_length=near(0.0, 0.22), nose_forward=near(1.0 - 0.2 * lean, 0.12),
        nose_width=near(1.0 - 0.2 * lean + 0.15 * (skin_tone - 0.33), 0.1), nose_bridge=near(1.0, 0.15),
        nose_hump=near(-0.1 * lean, 0.14), nose_tip_up=near(0.15 * lean, 0.12),
        mouth_height=near(0.0, 0.14), mouth_width=near(2.42, 0.16),
        lip_upper=near(0.66 + 0.22 * lean, 0.11), lip_lower=near(0.85 + 0.22 * lean, 0.11),
        lips_forward=near(0.0, 0.14) + 0.15 * (skin_tone - 0.33),
        ear_size=near(1.0, 0.08), ear_angle=between(12, 42),
        skin_tone=skin_tone, skin_red=float(skin[0]), skin_green=float(skin[1]), skin_blue=float(skin[2]),
        skin_gloss=between(0.1, 0.6), redness=between(0.2, 1.2), mottling=between(0.3, 1.2),
        freckles=between(0.3, 1.0) if skin_tone < 0.35 and rng.random() < 0.2 else 0.0,
        moles=float(rng.integers(0, 4)),
        eye_colour=_pick(rng, {"dark": 3, "brown": 3, "hazel": 1, "blue": 2, "green": 1, "grey": 1}
                         if skin_tone < 0.4 else {"dark": 6, "brown": 2}),
        lip_redness=between(0.2, 0.9), makeup=between(0.3, 1.0) if made_up else 0.0,
        lipstick=between(0.3, 1.0) if made_up and rng.random() < 0.7 else 0.0,
        hair_style=style, hair_colour=hair_colour,
        hair_red=float(hair[0]), hair_green=float(hair[1]), hair_blue=float(hair[2]),
        hair_thickness=_hair_thickness(rng, style),
        hair_line=between(2.6, 4.6) if fringed else near(7.5, 0.6),
        hair_side=between(-1.0, 1.0) if female else between(-3.0, 0.5),
        hair_length=between(-10, -5) if style == "medium" else between(-24, -12),
        hair_curl=float(rng.random() ** 2), hair_opening=between(0.65, 1.3), hair_parting=between(-0.8, 0.8),
        ears_bare=float(rng.random() < (0.3 if style in ("medium", "long", "headscarf", "hood", "afro") else 0.9)),
        beard="none" if female else _pick(rng, {"none": 5, "stubble": 2.5, "full": 2, "goatee": 0.8,
                                                "moustache": 0.6}),
        beard_length=between(0.15, 1.3), beard_density=between(0.5, 1.0),
        glasses=_pick(rng, {"none": 74, "clear": 18, "sun": 8}),
        glasses_width=between(2.2, 2.8), glasses_height=between(1.4, 2.3), glasses_thickness=between(0.08, 0.3),
        glasses_roundness=between(2.0, 4.5), glasses_tone=between(0.02, 0.3) if rng.random() < 0.8 else 0.7,
        cloth_red=float(cloth[0]), cloth_green=float(cloth[1]), cloth_blue=float(cloth[2]),
        collar=_pick(rng, {"crew": 3, "vee": 2, "shirt": 2, "high": 1, "bare": 1}),
        hat_red=float(hat[0]), hat_green=float(hat[1]), hat_blue=float(hat[2]),
        neck_width=near(5.7 - 1.6 * lean, 0.35), shoulder_width=near(19.0 - 3.0 * lean, 1.3),
    )  # fmt: skip


def _plain(record: Any) -> dict[str, float | str]:
    values = ((f.name, getattr(record, f.name)) for f in dataclasses.fields(record) if f.name != "cache")
    return {name: value if isinstance(value, str) else float(value) for name, value in values}


def _pick(rng: np.random.Generator, weights: dict[str, float]) -> str:
    share = np.array(list(weights.values()), float)
    return str(rng.choice(list(weights), p=share / share.sum()))


def _skin_colour(rng: np.random.Generator, tone: float) -> np.ndarray:
    place = tone * (len(SKIN_TONES) - 1.001)
    below = int(place)
    mix = SKIN_TONES[below] + (place - below) * (SKIN_TONES[below + 1] - SKIN_TONES[below])
    colour: np.ndarray = np.clip(mix * rng.uniform(0.93, 1.05) + rng.normal(0, 0.012, 3), 0.05, 0.97)
    return colour


def _hair_colour(rng: np.random.Generator, skin_tone: float, age: float) -> str:
    if rng.random() < (age - 0.4) * 1.3:
        return _pick(rng, {"grey": 2, "white": 1})
    fair = {"dark brown": 3, "brown": 4, "light brown": 3, "blond": 2.5, "pale blond": 1, "red": 1, "black": 2,
            "dyed": 0.2}  # fmt: skip
    return _pick(rng, fair if skin_tone < 0.35 else {"black": 6, "dark brown": 3, "brown": 0.7, "dyed": 0.2})


def _hair_thickness(rng: np.random.Generator, style: str) -> float:
    low, high = {
        "bald": (0.0, 0.0), "crop": (0.12, 0.35), "receding": (0.3, 1.0), "short": (0.6, 2.0), "afro": (2.5, 5.0),
        "bun": (0.4, 0.9), "cap": (0.5, 0.9), "beanie": (0.6, 1.6), "hat": (0.7, 1.2), "hood": (0.7, 1.6),
        "headscarf": (0.5, 1.1),
    }.get(style, (0.8, 1.8))  # fmt: skip
    return float(rng.uniform(low, high))


def _cloth_colour(rng: np.random.Generator) -> np.ndarray:
    """Mostly muted: grey, navy and white are commoner than neon."""
    grey = rng.uniform(0.05, 0.9)
    colour: np.ndarray = np.clip(grey + rng.normal(0, 1, 3) * rng.choice([0.02, 0.1, 0.25]), 0.03, 0.95)
    return colour
