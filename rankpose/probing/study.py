"""What do several networks know, what moves them, where do they look? All that `python -m rankpose.probe` measures."""

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import combinations
from pathlib import Path
from typing import Annotated, Any

import cv2
import numpy as np
import pandas as pd
import torch
from annotated_types import Ge
from torch import Tensor

from rankpose.checks import Count, checked
from rankpose.data.batches import PlainCrops, every_image
from rankpose.data.crop import View, crop_matrix, face_points, points_around, warp_points
from rankpose.data.crop_rules import RankPoseCrop
from rankpose.data.record import Records
from rankpose.data.synthetic.rendering import BACKGROUND, HAIR, HAT, described, render
from rankpose.errors import ConfigError
from rankpose.evaluation.statistics import Difference, Interval
from rankpose.models import PoseNet
from rankpose.models.checkpoint import MadeFrom, load_net
from rankpose.pose import ANGLES
from rankpose.predictors.load import placed
from rankpose.probing import maps, pairs, probes
from rankpose.probing.factors import Factor, known_factors
from rankpose.probing.features import POOLED, POSE, floor, read_features, stages

log = logging.getLogger(__name__)

MOST_IN_PAIRS = 4
"""Up to how many networks are compared two by two."""
FLOORS = {"untrained": "random weights", "imagenet": "ImageNet weights"}


@checked("")
@dataclass(frozen=True)
class Settings:
    """How much is measured."""

    folds: Annotated[int, Ge(2)] = probes.FOLDS
    """Of people, in probes."""
    pairs: Annotated[int, Ge(2)] = 32
    """Heads that are rendered twice for each factor."""
    heads: Annotated[int, Ge(3)] = 64
    """Heads that maps are made of."""
    resamples: Count = 2000
    """Of the bootstrap."""
    floors: tuple[str, ...] = ("untrained", "imagenet")
    """What stands beside the networks."""
    batch_size: Count = 64
    num_workers: Annotated[int, Ge(0)] | None = None
    seed: Annotated[int, Ge(0)] = 0

    def __post_init__(self) -> None:
        other = [name for name in self.floors if name not in FLOORS]
        if other:
            raise ConfigError(f"floors: {other[0]} is none; there are {', '.join(FLOORS)}.")


@dataclass(frozen=True, eq=False)
class Network:
    """A checkpoint that is looked into."""

    name: str
    about: str
    net: PoseNet
    made_from: MadeFrom

    @classmethod
    def of(cls, name: str, checkpoint: str | Path, device: str | None = None) -> "Network":
        """Of a checkpoint, on a device as `rankpose.predictors.load.placed` takes it."""
        net, made_from = load_net(checkpoint)
        backbone = made_from.backbone["name"]
        return cls(name, f"{backbone}, {made_from.image_size} pixels", placed(net, device), made_from)

    @property
    def crop(self) -> RankPoseCrop:
        return RankPoseCrop(self.made_from.test_scale)

    @property
    def size(self) -> int:
        return self.made_from.image_size

    @property
    def device(self) -> torch.device:
        return next(self.net.parameters()).device


@dataclass(frozen=True, eq=False)
class Look:
    """Where a network looks."""

    bins: list[maps.Averaged]
    shares: Mapping[str, Mapping[str, Mapping[str, tuple[Interval, float]]]]
    """By method, angle and place: the share of the map there, and of the area."""
    shuffled: Mapping[str, float]
    """By method: how alike the maps are to those of the same network with shuffled weights, as a rank correlation."""


@dataclass(eq=False)
class Study:
    """All that was found."""

    data: str
    """Of what pictures, in a line."""
    networks: dict[str, str]
    """What each is, by its name."""
    groups: dict[str, str] = field(default_factory=dict)
    """Factors that were asked for, with the heading under which each stands."""
    scores: dict[str, dict[str, dict[str, Interval]]] = field(default_factory=dict)
    """By network, place (stage or pooled) and factor."""
    floors: dict[str, dict[str, Interval]] = field(default_factory=dict)
    """By floor and factor, of pooled features."""
    differences: dict[tuple[str, str], dict[str, Difference]] = field(default_factory=dict)
    """By two networks and factor, of pooled features: the first less the second."""
    moved: dict[str, dict[str, pairs.Moved]] = field(default_factory=dict)
    """By network and change."""
    looks: dict[str, Look] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    """What could not be measured, and why."""

    def as_plain(self) -> dict[str, Any]:
        """All figures for `probes.json`, rounded to what is no rounding of a machine."""
        plain: dict[str, Any] = _rounded({
            "data": self.data,
            "networks": self.networks,
            "probes": {name: _plain(places) for name, places in self.scores.items()},
            "floors": _plain(self.floors),
            "differences": {f"{one} less {other}": _plain(found) for (one, other), found in self.differences.items()},
            "moved": _plain(self.moved),
            "maps": {
                name: {
                    "shares": {
                        method: {
                            angle: {place: asdict(found[0]) | {"area": found[1]} for place, found in there.items()}
                            for angle, there in angles.items()
                        }
                        for method, angles in one.shares.items()
                    },
                    "heads": {bin_.bin: bin_.heads for bin_ in one.bins},
                    "likeness to shuffled weights": dict(one.shuffled),
                }
                for name, one in self.looks.items()
            },
            "notes": self.notes,
        })  # fmt: skip
        return plain


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _plain(one) for key, one in value.items()}
    return asdict(value)


def _rounded(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _rounded(one) for key, one in value.items()}
    if isinstance(value, list):
        return [_rounded(one) for one in value]
    return round(value, 4) if isinstance(value, float) else value


def study_of(networks: Sequence[Network], records: Records, table: pd.DataFrame | None, settings: Settings) -> Study:
    """Everything that can be measured on a set.

    Args:
        networks: to look into.
        records: the pictures.
        table: what was drawn for each; None where nobody knows: then there are maps only.
        settings: how much.

    Raises:
        RankPoseError: too few people for a probe.
    """
    people = len(records.identity_names)
    data = f"{records.dataset}: {len(records):,} images of {people:,} people"
    study = Study(data, {one.name: one.about for one in networks})
    if table is None:
        study.notes.append(f"{records.dataset} has no factors (factors.parquet), so there are maps only.")
    else:
        factors = known_factors(records.pose, records.identity, table)
        study.groups = {factor.name: factor.group for factor in factors}
        _ask(study, networks, records, factors, settings)
        _move(study, networks, settings)
    rows = map_heads(records.pose[:, 0], settings)
    for network in networks:
        log.info("%s: maps of %d heads", network.name, len(rows))
        study.looks[network.name] = look_of(network, seen_of(network, records, table, rows, settings), settings)
    return study


def _images(network: Network, records: Records, settings: Settings) -> Iterable[Tensor]:
    crops = PlainCrops(records, network.crop, network.size)
    return (batch["image"] for batch in every_image(crops, settings.batch_size, settings.num_workers))


def _ask(
    study: Study, networks: Sequence[Network], records: Records, factors: Sequence[Factor], settings: Settings
) -> None:
    """Probes of all features, with floors beside them."""
    asked: dict[str, dict[str, probes.Answers]] = {}
    floors: dict[str, str] = {}
    for network in networks:
        features = read_features(network.net, _images(network, records, settings), network.device)
        features.pop(POSE)
        log.info("%s: probes of %s", network.name, ", ".join(features))
        answers = {}
        for place, values in features.items():
            answers[place], missing = probes.probe(values, factors, records.identity, settings.folds, settings.seed)
            for lacking in missing:
                note = f"{lacking.name} is not asked for: {lacking.reason}."
                if note not in study.notes:
                    study.notes.append(note)
                study.groups.pop(lacking.name, None)
        study.scores[network.name] = {
            place: probes.scores(found, settings.resamples, settings.seed) for place, found in answers.items()
        }
        asked[network.name] = answers[POOLED]
        made = network.made_from
        for kind in settings.floors:
            name = f"{FLOORS[kind]}, {made.backbone['name']}"
            key = f"{name} {made.backbone.get('options')} {made.image_size} {made.test_scale}"
            if key in floors.values():
                continue
            other = floor(network.net, made, kind, settings.seed)  # type: ignore[arg-type]
            if other is None:
                note = (
                    f"There are no ImageNet weights of {made.backbone['name']} at hand, so they do not stand beside it."
                )
                study.notes += [note] if note not in study.notes else []
                continue
            shown = name if name not in floors else f"{name}, {network.name}"
            floors[shown] = key
            found = read_features(other, _images(network, records, settings), network.device)[POOLED]
            beside, _ = probes.probe(found, factors, records.identity, settings.folds, settings.seed)
            study.floors[shown] = probes.scores(beside, settings.resamples, settings.seed)
    names = list(asked)
    compared = list(combinations(names, 2))
    if len(names) > MOST_IN_PAIRS:
        compared = [(other, names[0]) for other in names[1:]]
        study.notes.append(f"Of {len(names)} networks each is compared with the first, {names[0]}, alone.")
    for one, another in compared:
        study.differences[one, another] = probes.differences(
            asked[one], asked[another], settings.resamples, settings.seed
        )


def _move(study: Study, networks: Sequence[Network], settings: Settings) -> None:
    log.info("%d heads with one factor changed at a time", settings.pairs)
    drawn = pairs.controlled_pairs(pairs.draw_heads(settings.pairs, settings.seed), settings.seed)
    names, heads = [pair.change for pair in drawn], np.array([pair.head for pair in drawn])
    for network in networks:
        read = [
            read_features(network.net, images.split(settings.batch_size), network.device)
            for images in pairs.crops_of(drawn, network.crop, network.size)
        ]
        features, pose = ((read[0][place], read[1][place]) for place in (POOLED, POSE))
        study.moved[network.name] = pairs.moved(names, heads, features, pose, settings.resamples, settings.seed)


def map_heads(yaw: np.ndarray, settings: Settings) -> np.ndarray:
    """Rows of heads for maps, as many of each bin of yaw as there are."""
    order = np.random.default_rng([settings.seed, 3]).permutation(len(yaw))
    each = -(-settings.heads // len(maps.YAW_BINS))
    rows = [[row for row in order if low <= yaw[row] < high][:each] for low, high in maps.YAW_BINS.values()]
    return np.sort(np.concatenate([np.array(one, int) for one in rows])[: settings.heads])


def seen_of(
    network: Network, records: Records, table: pd.DataFrame | None, rows: np.ndarray, settings: Settings
) -> maps.Seen:
    """What a network sees of some pictures, with landmarks, hair and background where they are known."""
    part = records.select(rows)
    image = torch.cat(list(_images(network, part, settings)))
    matrices = [
        crop_matrix(face_points(part[i]), network.size, View(scale=network.crop.scale)) for i in range(len(part))
    ]
    landmarks = None
    if part.landmarks is not None:
        landmarks = np.stack([warp_points(part.landmarks[i], matrix) for i, matrix in enumerate(matrices)])
    hair = background = None
    if table is not None:
        parts = []
        for place, matrix in zip(rows, matrices, strict=True):
            drawn = render(*described(table.iloc[int(place)]))
            shape = (network.size, network.size)
            parts.append(cv2.warpAffine(drawn.parts, matrix, shape, flags=cv2.INTER_NEAREST, borderValue=BACKGROUND))
        hair, background = np.isin(parts, (HAIR, HAT)), np.stack(parts) == BACKGROUND
    return maps.Seen(image, part.pose[:, 0], part.identity, landmarks, hair=hair, background=background)


def look_of(network: Network, seen: maps.Seen, settings: Settings) -> Look:
    """Where a network looks on what it sees."""
    net, image = network.net, seen.image.to(network.device)
    names = list(stages(net.backbone))
    found = maps.look(net, image, maps.last_map(net, names, image), settings.batch_size)
    few = slice(0, max(3, settings.heads // 4))
    other = maps.shuffled(net, settings.seed)
    against = maps.look(other, image[few], maps.last_map(other, names, image), settings.batch_size)
    where = maps.places(seen)
    shares = {
        method: {
            angle: maps.shares(one[:, place], where, seen.person, settings.resamples, settings.seed)
            for place, angle in enumerate(ANGLES)
        }
        for method, one in found.items()
    }
    alike = {method: maps.likeness(one[few], against[method]) for method, one in found.items()}
    return Look(maps.averaged(seen, found), shares, alike)


def study_of_pictures(
    networks: Sequence[Network], faces: Sequence[tuple[np.ndarray, np.ndarray]], data: str, settings: Settings
) -> Study:
    """Where networks look on anybody's pictures: maps only, in a frame that the first network's pose gives.

    Args:
        networks: to look into.
        faces: of each the picture, (H, W, 3) uint8, and the face box, (4,) pixels.
        data: what they are, in a line.
        settings: how much.
    """
    study = Study(data, {one.name: one.about for one in networks})
    study.notes.append(
        "Own pictures have no factors and no landmarks: there are maps only, turned upright by the roll and sorted by "
        f"the yaw that {networks[0].name} predicts."
    )
    pose: np.ndarray | None = None
    for network in networks:
        seen = [network.crop(image, points_around(box, None), network.size) for image, box in faces]
        image = torch.from_numpy(np.stack(seen)).permute(0, 3, 1, 2)
        if pose is None:
            pose = read_features(network.net, image.split(settings.batch_size), network.device)[POSE]
        frame = _upright(pose[:, 2], network.size)
        there = maps.Seen(image, pose[:, 0], np.arange(len(image)), None, frame)
        study.looks[network.name] = look_of(network, there, settings)
    return study


def _upright(roll: np.ndarray, size: int) -> np.ndarray:
    """(N, 3, 2) the middle of each crop, a point up along the head and one across it, pixels."""
    angle = np.radians(roll.astype(float))
    up, across = np.stack([np.sin(angle), -np.cos(angle)], 1), np.stack([np.cos(angle), np.sin(angle)], 1)
    middle = np.full_like(up, (size - 1) / 2)
    return np.stack([middle, middle + size / 4 * up, middle + size / 4 * across], 1)
