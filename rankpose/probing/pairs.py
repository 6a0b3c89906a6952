"""How much of the features does each factor move? The same head twice, with one factor changed and all else equal.

Pairs are rendered for this (`rankpose.data.synthetic.rendering`): camera, crop and film are those of the first picture.
A change of features is the distance of the two, a change of pose the angle between the two predicted rotations. What
counts is the ratio to what 5 degrees of pose move, on the same heads: below 1 a factor moves less than that.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from rankpose.data.crop_rules import CropRule
from rankpose.data.synthetic import background, poses
from rankpose.data.synthetic.rendering import (
    Person,
    Picture,
    Scene,
    draw_expression,
    draw_person,
    draw_scene,
    make_identity,
    render,
    without_film,
)
from rankpose.evaluation.statistics import Interval, interval_of, mean_samples
from rankpose.metrics import geodesic_error

STEP_DEG = 5.0
TURNS = ("yaw", "pitch", "roll")
"""The changes of pose, each by `STEP_DEG`: what the others are measured by."""
Factors = tuple[Person, np.ndarray, Scene]
Change = Callable[[Factors, np.random.Generator], Factors]

SKIN = ("skin_tone", "skin_red", "skin_green", "skin_blue", "redness", "mottling", "freckles", "lip_redness")
HAIR = ("hair_style", "hair_colour", "hair_red", "hair_green", "hair_blue", "hair_thickness", "hair_line", "hair_side",
        "hair_length", "hair_curl", "hair_opening", "hair_parting", "ears_bare")  # fmt: skip
SHAPE = ("femininity", "head_width", "head_depth", "head_height", "jaw_width", "chin_width", "chin_length",
         "chin_forward", "cheekbones", "fullness", "forehead_slope", "brow_ridge", "eye_spacing", "eye_height",
         "eye_width", "eye_opening", "eye_tilt", "eye_depth", "brow_height", "brow_arch", "nose_length", "nose_forward",
         "nose_width", "nose_bridge", "nose_hump", "nose_tip_up", "mouth_height", "mouth_width", "lip_upper",
         "lip_lower", "lips_forward")  # fmt: skip
LIGHT = ("light", "key_direction", "key_strength", "fill_direction", "fill_strength", "rim_direction", "rim_strength",
         "ambient", "shadow", "shadow_softness")  # fmt: skip


def _turned(place: int) -> Change:
    def change(factors: Factors, rng: np.random.Generator) -> Factors:
        person, pose, scene = factors
        other = pose.copy()
        other[place] += STEP_DEG * (-1 if other[place] > 0 else 1)  # towards the middle, where labels are sure
        return person, other, scene

    return change


def _other_scene(*names: str) -> Change:
    def change(factors: Factors, rng: np.random.Generator) -> Factors:
        person, pose, scene = factors
        drawn = draw_scene(rng)
        return person, pose, replace(scene, **{name: getattr(drawn, name) for name in names})

    return change


def _set_scene(**values: float) -> Change:
    return lambda factors, rng: (factors[0], factors[1], replace(factors[2], **values))  # type: ignore[arg-type]


def _other_person(*names: str) -> Change:
    def change(factors: Factors, rng: np.random.Generator) -> Factors:
        return factors[0].like(make_identity(int(rng.integers(2**31))), names), factors[1], factors[2]

    return change


def _expression(factors: Factors, rng: np.random.Generator) -> Factors:
    return replace(factors[0], expression=draw_expression(rng)), factors[1], factors[2]


def _background(factors: Factors, rng: np.random.Generator) -> Factors:
    person, pose, scene = factors
    kinds = [kind for kind in background.KINDS if kind != scene.background]
    return person, pose, replace(scene, background=str(rng.choice(kinds)))


CHANGES: Mapping[str, Change] = {
    **{name: _turned(place) for place, name in enumerate(TURNS)},
    "expression": _expression,
    "shape of the face": _other_person(*SHAPE),
    "skin": _other_person(*SKIN),
    "hair": _other_person(*HAIR),
    "light": _other_scene(*LIGHT),
    "exposure": _other_scene("exposure"),
    "white balance": _other_scene("white_balance"),
    "background": _background,
    "blur": _set_scene(blur_px=1.2),
    "noise": _set_scene(noise=0.03),
}
"""What is changed, by name."""


@dataclass(frozen=True, eq=False)
class Pair:
    """A picture and the same with one factor changed."""

    change: str
    head: int
    """Which head it is, from 0."""
    first: Picture
    second: Picture


def draw_heads(count: int, seed: int) -> list[Factors]:
    """Heads for pairs: a person each, all kinds of light and pose, nothing of the film."""
    rng = np.random.default_rng([seed, 14])
    angles = poses.draw_poses(rng, count)
    return [
        (
            draw_person(int(rng.integers(2**31)), draw_expression(rng)),
            pose,
            without_film(draw_scene(rng)),
        )
        for pose in angles
    ]


def controlled_pairs(heads: Sequence[Factors], seed: int, changes: Mapping[str, Change] = CHANGES) -> list[Pair]:
    """Every head with every change, heads outside."""
    pairs = []
    for number, (person, pose, scene) in enumerate(heads):
        first = render(person, pose, scene)
        for place, (name, change) in enumerate(changes.items()):
            other = change((person, pose, scene), np.random.default_rng([seed, number, place]))
            # the camera is aimed anew at a turned head: a pose is meant along its axis, and the box stays
            second = render(*other, camera=None if name in TURNS else first.camera)
            pairs.append(Pair(name, number, first, second))
    return pairs


def crops_of(pairs: Sequence[Pair], crop: CropRule, size: int) -> tuple[torch.Tensor, torch.Tensor]:
    """What a network sees of the first and of the second pictures through one square, (N, 3, size, size) uint8."""
    seen = [
        np.stack(
            [crop(picture.image, pair.first.landmarks.astype(float), size) for picture in (pair.first, pair.second)]
        )
        for pair in pairs
    ]
    both = torch.from_numpy(np.stack(seen)).permute(1, 0, 4, 2, 3)
    return both[0], both[1]


@dataclass(frozen=True)
class Moved:
    """What a factor moves, of one network."""

    features: Interval
    """The mean change of features over that by `STEP_DEG` of pose (mean of yaw, pitch and roll)."""
    pose_deg: Interval
    """The mean angle between the two predicted rotations, degrees."""
    pose: Interval
    """The same over that by `STEP_DEG` of pose."""


def moved(
    names: Sequence[str],
    heads: np.ndarray,
    features: tuple[np.ndarray, np.ndarray],
    pose: tuple[np.ndarray, np.ndarray],
    resamples: int,
    seed: int,
) -> dict[str, Moved]:
    """What each change moves, with intervals over heads.

    Args:
        names: (N) the change of each pair.
        heads: (N,) whose it is, from 0.
        features: (N, C) of the first and of the second pictures.
        pose: (N, 3) degrees, predicted for them.
        resamples: of the bootstrap.
        seed: of its draws.
    """
    turned = geodesic_error(*(torch.from_numpy(one).double() for one in pose)).numpy()
    far, angle = (_means(names, heads, one, resamples, seed) for one in (_distance(features), turned))

    def with_interval(samples: np.ndarray) -> Interval:
        return interval_of(float(samples[0]), samples[1:], int(heads.max()) + 1)

    return {
        name: Moved(
            with_interval(far[name] / _step(far)),
            with_interval(angle[name]),
            with_interval(angle[name] / _step(angle)),
        )
        for name in far
    }


def feature_ratios(
    names: Sequence[str], heads: np.ndarray, features: tuple[np.ndarray, np.ndarray], resamples: int, seed: int
) -> dict[str, np.ndarray]:
    """By change (1 + resamples,) of `Moved.features`: of all heads, then of heads drawn; arguments as of `moved`.

    The same heads are drawn for every network, so that two can be compared.
    """
    far = _means(names, heads, _distance(features), resamples, seed)
    return {name: samples / _step(far) for name, samples in far.items()}


def _distance(features: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
    return np.asarray(np.linalg.norm(features[1].astype(float) - features[0], axis=1))


def _means(
    names: Sequence[str], heads: np.ndarray, values: np.ndarray, resamples: int, seed: int
) -> dict[str, np.ndarray]:
    """By change (1 + resamples,): the mean of all heads, then of heads drawn with replacement."""
    rows = {name: np.array(names) == name for name in dict.fromkeys(names)}
    return {name: mean_samples(values[one], heads[one], resamples, seed) for name, one in rows.items()}


def _step(means: Mapping[str, np.ndarray]) -> np.ndarray:
    """Of `STEP_DEG` of pose, the mean of the three angles."""
    return np.asarray(np.mean([means[name] for name in TURNS], axis=0))
