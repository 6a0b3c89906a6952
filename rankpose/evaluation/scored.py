"""What is a model worth under a protocol, and is it better than another? Predictions with all that is known of them.

`evaluate` turns predictions into an `Evaluation`, `differences` compares the models of several, and `as_json` is what
`metrics.json` holds of them. `rankpose.report.evaluation` makes of them what people read.
"""

import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from itertools import combinations, takewhile
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from rankpose.data.crop import face_points
from rankpose.data.crop_rules import CropRule
from rankpose.data.record import Records, Reject
from rankpose.errors import ConfigError, DatasetError
from rankpose.evaluation.protocol import Protocol
from rankpose.evaluation.statistics import Difference, Interval, score_differences, score_intervals
from rankpose.metrics import aligned, alignment, angle_error, evaluation_scores, geodesic_error
from rankpose.pose import ANGLES

SCHEMA_VERSION = 1
"""Of `as_json`; grows when a key changes its meaning or goes."""

_RISING = ("within_", "auc_", "pair_order", "spearman")


@dataclass(frozen=True, eq=False)
class Evaluation:
    """One model under one protocol, on clean images or under one corruption."""

    model: str
    """Short, unique in tables; a folder's name."""
    about: str
    """Where the model comes from and what it sees: files, crop rule, input size."""
    protocol: str
    """The protocol's name; a folder's name."""
    title: str
    """The protocol in one line."""
    expected: int | None
    """How many images the whole set has; None where that is not fixed."""
    predictions: pd.DataFrame
    """A row an image, columns `rankpose.report.tables.PREDICTION_COLUMNS`."""
    scores: Mapping[str, float]
    """As `rankpose.metrics.evaluation_scores` gives them."""
    intervals: Mapping[str, Interval]
    """Of the scores as they are and of the `aligned_` ones."""
    corruption: str | None = None
    strength: int = 0
    """0 for clean images, 1 to 5 for corrupted ones."""
    remarks: tuple[str, ...] = ()
    """What a reader of the figures must know, one sentence each."""
    rejects: tuple[Reject, ...] = ()
    """What the set left out, and why."""
    available: int | None = None
    """Of how many images `predictions` are those that were tested; None where they are all."""
    changes: tuple[str, ...] = ()
    """`KEY=VALUE` of what the protocol was run with otherwise than its name stands for."""

    def __post_init__(self) -> None:
        check_folder_name("model", self.model)
        check_folder_name("protocol", self.protocol)
        if (self.corruption is None) != (self.strength == 0):
            raise ConfigError(
                f"strength={self.strength}: clean images have strength 0, corrupted ones 1 to 5 and a corruption."
            )

    @property
    def key(self) -> tuple[str, str, str | None, int]:
        """Model, protocol, corruption, strength: what tells evaluations apart."""
        return self.model, self.protocol, self.corruption, self.strength

    @property
    def complete(self) -> bool:
        """Whether this is the whole set of the protocol unchanged, as published figures are about."""
        return self.expected == len(self.predictions) and not self.changes

    def poses(self) -> tuple[Tensor, Tensor, Tensor]:
        """Predicted and true poses, (N, 3) degrees each, and identities, (N,) whole numbers."""
        return _poses(self.predictions)


@dataclass(frozen=True)
class Failure:
    """Something that was asked for and came to nothing."""

    what: str
    """A model under a protocol."""
    reason: str

    def __str__(self) -> str:
        return f"{self.what}: {self.reason}"


@dataclass(frozen=True)
class ModelDifference:
    """The scores of a model less those of another, on the same images."""

    protocol: str
    first: str
    second: str
    scores: Mapping[str, Difference]
    """First less second, as they are and `aligned_`."""

    def better(self, score: str) -> str | None:
        """The model that is better by this score; None where the interval holds 0 or there is none."""
        found = self.scores[score]
        if not (found.low > 0 or found.high < 0):
            return None
        return self.first if (found.value > 0) == rising(score) else self.second


def check_folder_name(key: str, name: str) -> None:
    """Raises `ConfigError` where a name of `model` or `protocol` cannot be that of a folder."""
    if not name or name.startswith(".") or _IN_NO_FOLDER.search(name):
        raise ConfigError(
            f"{key}={name!r}: is no name for a folder; give one without slashes that does not begin with a dot."
        )


_IN_NO_FOLDER = re.compile(r"[/\\\x00-\x1f]")


def distinct_names(models: Sequence[tuple[str, Sequence[str]]]) -> list[str]:
    """What models are called in tables and folders: by the part of their paths that tells them apart.

    Args:
        models: for each what it would be called alone, and the parts of its whole path.

    Returns:
        names of folders, no two of which differ by case alone.

    >>> distinct_names([("run", ["a", "run", "best"]), ("run", ["b", "run", "best"]), ("net", ["c", "net"])])
    ['a', 'b', 'net']
    >>> distinct_names([("run", ["a", "run", "best"]), ("run", ["a", "run", "last"])])
    ['best', 'last']
    """
    names = [_folder_name(short) for short, _ in models]
    for alike in _alike(names):
        for place, parts in zip(alike, _differing([models[place][1] for place in alike]), strict=True):
            names[place] = _folder_name("-".join(parts)) if parts else names[place]
    while groups := _alike(names):
        for alike in groups:
            for number, place in enumerate(alike[1:], start=2):
                names[place] += f"-{number}"
    return names


def _folder_name(text: str) -> str:
    return _IN_NO_FOLDER.sub("_", text).lstrip(".") or "model"


def _alike(names: Sequence[str]) -> list[list[int]]:
    """The places of each name that several have, upper and lower case being one to some file systems."""
    places: dict[str, list[int]] = {}
    for place, name in enumerate(names):
        places.setdefault(name.casefold(), []).append(place)
    return [group for group in places.values() if len(group) > 1]


def _differing(paths: Sequence[Sequence[str]]) -> list[list[str]]:
    """Paths without the parts at their beginnings and ends that all have in common."""
    rests = [path[_in_common(paths) :] for path in paths]
    ended = _in_common([rest[::-1] for rest in rests])
    return [list(rest[: len(rest) - ended]) for rest in rests]


def _in_common(paths: Iterable[Sequence[str]]) -> int:
    """With how many equal parts all paths begin."""
    return sum(1 for _ in takewhile(lambda parts: len(set(parts)) == 1, zip(*paths, strict=False)))


def suspicions(prediction: Tensor, target: Tensor, keys: Mapping[str, str]) -> list[str]:
    """What may be wrong with the numbers that a model gives: radians for degrees, or the sign of an angle.

    Args:
        prediction: (N, 3) degrees.
        target: (N, 3) degrees.
        keys: what to look at for `unit` and for each angle, as a predictor's `keys`.
    """
    found = []
    if prediction.abs().max() < _MOST_RADIANS <= target.abs().max():
        found.append(
            f"no angle is beyond +-{_MOST_RADIANS}, as if they were radians where degrees are meant: look at "
            f"{keys['unit']}"
        )
        prediction = torch.rad2deg(prediction)
    errors, turned = (angle_error(sign * prediction, target).mean(dim=0).tolist() for sign in (1, -1))
    found += [
        f"with the sign of {angle} turned, its error would be {other:.2f} instead of {error:.2f} degrees: look at "
        f"{keys[angle]}"
        for angle, error, other in zip(ANGLES, errors, turned, strict=True)
        if other < error / 2
    ]
    return found


_MOST_RADIANS = 3.2
"""A little over pi."""


def rising(score: str) -> bool:
    """Whether more of a score of `rankpose.metrics.scores` is better: shares, areas, orders; not errors."""
    return any(word in score for word in _RISING)


def evaluate(
    prediction: Tensor,
    records: Records,
    protocol: Protocol,
    crop: CropRule,
    *,
    model: str,
    about: str,
    corruption: str | None = None,
    strength: int = 0,
    rows: Tensor | None = None,
    remarks: Sequence[str] = (),
) -> Evaluation:
    """Scores of a model's predictions for the images of a protocol, with their intervals.

    Args:
        prediction: (N, 3) yaw, pitch, roll in degrees.
        records: the protocol's.
        protocol: what the figures are figures of.
        crop: what the model sees of an image; for the pictures.
        model, about, corruption, strength: see `Evaluation`.
        rows: (N,) of which records the predictions are; None: of all, in their order.
        remarks: what else a reader must know.

    Raises:
        DatasetError: a prediction is no number, or there are not as many as images.
        ConfigError: a name that is none for a folder.
    """
    known = protocol.remarks(records)
    part = records if rows is None else records.select(rows.numpy())
    if len(part) < len(records):
        known.append(f"only {len(part):,} of {len(records):,} images were tested (trainer.limit_test_batches).")
    return evaluation_of(
        pose_table(prediction, part, crop),
        model=model,
        about=about,
        protocol=protocol.name,
        title=protocol.described,
        expected=protocol.expected,
        corruption=corruption,
        strength=strength,
        remarks=(*known, *remarks),
        rejects=records.rejects,
        available=len(records),
        changes=protocol.changes,
    )


def evaluation_of(predictions: pd.DataFrame, *, model: str, protocol: str, **known: Any) -> Evaluation:
    """The same from a table of predictions, such as a `predictions.parquet`; `known` are fields of `Evaluation`."""
    columns = [f"{angle}{end}" for angle in ANGLES for end in ("", "_pred")]
    broken = predictions[~np.isfinite(predictions[columns].to_numpy(dtype=float)).all(axis=1)]
    if len(broken):
        raise DatasetError(
            f"{model} under {protocol}: {len(broken):,} of {len(predictions):,} poses are no numbers, the first that "
            f"of {broken['name'].iloc[0]}. The model is {known['about']}."
        )
    prediction, target, identity = _poses(predictions)
    intervals = score_intervals(prediction, target, identity)
    turned = aligned(prediction, alignment(prediction, target))
    intervals |= {f"aligned_{name}": found for name, found in score_intervals(turned, target, identity).items()}
    return Evaluation(
        model=model,
        protocol=protocol,
        predictions=predictions.reset_index(drop=True),
        scores=evaluation_scores(prediction, target, identity),
        intervals=intervals,
        **known,
    )


def pose_table(prediction: Tensor, records: Records, crop: CropRule) -> pd.DataFrame:
    """Predictions and truth, a row an image.

    Args:
        prediction: (N, 3) degrees.
        records: in the same order.
        crop: what the model saw; of a part that is not square, the square around it.

    Returns:
        columns `name`, `image`, `identity`, `yaw`, `pitch`, `roll`, `yaw_pred`, `pitch_pred`, `roll_pred` and
        `geodesic` (degrees), `crop_x`, `crop_y`, `crop_side` (pixels of the image).

    Raises:
        DatasetError: not as many predictions as images.
    """
    if prediction.shape != (len(records), 3):
        raise DatasetError(
            f"{records.dataset}: {len(records):,} images need as many predictions of yaw, pitch and roll, these are "
            f"{' x '.join(map(str, prediction.shape))}."
        )
    target = torch.from_numpy(np.asarray(records.pose))
    columns: dict[str, object] = {
        "name": np.asarray(records.names[:]),
        "image": np.asarray(records.images[:]),
        "identity": records.identity_names[records.identity],
    }
    columns |= {name: target[:, k].numpy() for k, name in enumerate(ANGLES)}
    columns |= {f"{name}_pred": prediction[:, k].float().numpy() for k, name in enumerate(ANGLES)}
    columns["geodesic"] = geodesic_error(prediction.float(), target).numpy()
    squares = np.array([_square(crop.rectangle(face_points(records[row]))) for row in range(len(records))])
    columns |= {name: squares[:, k] for k, name in enumerate(("crop_x", "crop_y", "crop_side"))}
    return pd.DataFrame(columns)


def differences(evaluations: Iterable[Evaluation]) -> list[ModelDifference]:
    """Paired bootstrap of every two models under the same protocol, on clean images.

    Raises:
        DatasetError: two models were not tested on the same images with the same labels.
    """
    by_protocol: dict[str, list[Evaluation]] = {}
    for evaluation in evaluations:
        if evaluation.strength == 0:
            by_protocol.setdefault(evaluation.protocol, []).append(evaluation)
    return [_difference(*pair) for group in by_protocol.values() for pair in combinations(group, 2)]


def check_distinct(evaluations: Sequence[Evaluation]) -> None:
    """Raises `ConfigError` where there are no evaluations, or two that tables could not tell apart."""
    if not evaluations:
        raise ConfigError("there is nothing to report: no model was tested.")
    (model, protocol, *_), count = Counter(evaluation.key for evaluation in evaluations).most_common(1)[0]
    if count > 1:
        raise ConfigError(f"model={model}: {count} models of this name under protocol {protocol}; give each its own.")


def as_json(
    evaluations: Sequence[Evaluation], compared: Sequence[ModelDifference] = (), failures: Sequence[Failure] = ()
) -> dict[str, Any]:
    """All figures as plain values for JSON, unrounded; what is not a number is null.

    `schema_version`; `versions` of rankpose and torch; `results`, one for each evaluation: `model`, `about`,
    `protocol`, `title`, `corruption`, `strength`, `images` (tested) of `available`, `identities`, `expected`, `scores`
    and `intervals` by name, `remarks`, `changes` and how many images were left out for which reason (`rejects`);
    `differences`, one for each pair of models: `protocol`, `first`, `second` and `scores` by name, first less second;
    `failures`: `what` and `reason` of what was asked for and is not there.
    """
    results = [
        {
            "model": evaluation.model,
            "about": evaluation.about,
            "protocol": evaluation.protocol,
            "title": evaluation.title,
            "corruption": evaluation.corruption,
            "strength": evaluation.strength,
            "images": len(evaluation.predictions),
            "available": len(evaluation.predictions) if evaluation.available is None else evaluation.available,
            "identities": int(evaluation.predictions["identity"].nunique()),
            "expected": evaluation.expected,
            "scores": dict(evaluation.scores),
            "intervals": {name: {"low": i.low, "high": i.high} for name, i in evaluation.intervals.items()},
            "remarks": list(evaluation.remarks),
            "changes": list(evaluation.changes),
            "rejects": dict(Counter(reject.reason for reject in evaluation.rejects)),
        }
        for evaluation in evaluations
    ]
    pairs = [
        {
            "protocol": pair.protocol,
            "first": pair.first,
            "second": pair.second,
            "scores": {name: asdict(found) for name, found in pair.scores.items()},
        }
        for pair in compared
    ]
    versions = {name: version(name) for name in ("rankpose", "torch")}
    whole = {
        "schema_version": SCHEMA_VERSION,
        "versions": versions,
        "results": results,
        "differences": pairs,
        "failures": [asdict(failure) for failure in failures],
    }
    plain: dict[str, Any] = _without_nan(whole)
    return plain


def _poses(predictions: pd.DataFrame) -> tuple[Tensor, Tensor, Tensor]:
    prediction, target = (
        torch.from_numpy(predictions[[f"{angle}{end}" for angle in ANGLES]].to_numpy(dtype=np.float64, copy=True))
        for end in ("_pred", "")
    )
    # sorted by name, so that the order of images does not decide what the bootstrap draws
    _, identity = np.unique(predictions["identity"].astype(str), return_inverse=True)
    return prediction, target, torch.from_numpy(identity)


def _square(rectangle: tuple[float, float, float, float]) -> tuple[float, float, float]:
    """Left, top and side of the square around a rectangle."""
    left, top, right, bottom = rectangle
    side = max(right - left, bottom - top)
    return (left + right - side) / 2, (top + bottom - side) / 2, side


def _difference(first: Evaluation, second: Evaluation) -> ModelDifference:
    one, two = (evaluation.predictions.set_index("name") for evaluation in (first, second))
    both = f"{first.model} and {second.model} under {first.protocol}"
    only = one.index.symmetric_difference(two.index)
    if len(only):
        raise DatasetError(
            f"{both}: a comparison needs the same images, {len(only):,} are of one model only, the first {only[0]}."
        )
    two = two.loc[one.index]
    other = ~np.isclose(one[list(ANGLES)].to_numpy(float), two[list(ANGLES)].to_numpy(float), atol=1e-3).all(axis=1)
    if other.any():
        raise DatasetError(f"{both}: a comparison needs the same labels, they differ for {one.index[other][0]}.")
    prediction_a, target, identity = _poses(one)
    prediction_b, _, _ = _poses(two)
    turned_a, turned_b = (aligned(pose, alignment(pose, target)) for pose in (prediction_a, prediction_b))
    found = score_differences(prediction_a, prediction_b, target, identity)
    turned = score_differences(turned_a, turned_b, target, identity)
    found |= {f"aligned_{name}": difference for name, difference in turned.items()}
    return ModelDifference(first.protocol, first.model, second.model, found)


def _without_nan(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_nan(entry) for key, entry in value.items()}
    if isinstance(value, list):
        return [_without_nan(entry) for entry in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
