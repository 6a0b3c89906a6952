"""How does an evaluation lie on a disk? `metrics.json` and its tables of predictions, written and read back."""

import json
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pandas as pd

from rankpose.data.record import Reject
from rankpose.errors import ConfigError, DatasetError, one_line
from rankpose.evaluation.differences import ModelDifference
from rankpose.evaluation.protocol import HELD_OUT, HELD_OUT_TITLE, OWN_MODEL
from rankpose.evaluation.scores import Evaluation, evaluation_of
from rankpose.evaluation.statistics import Difference, Interval

SCHEMA_VERSION = 1
"""Of `as_json`; grows when a key changes its meaning or goes."""
METRICS = "metrics.json"
PREDICTIONS = "predictions.parquet"


@dataclass(frozen=True)
class Failure:
    """Something that was asked for and came to nothing."""

    what: str
    """A model under a protocol."""
    reason: str

    def __str__(self) -> str:
        return f"{self.what}: {self.reason}"


@dataclass(frozen=True, eq=False)
class Stored:
    """What was read back."""

    evaluations: list[Evaluation]
    """Of what a set left out they know how much and why; the names of the files are not stored."""
    compared: list[ModelDifference]
    failures: list[Failure]
    content: dict[str, Any]
    """All of `metrics.json`."""


def check_distinct(evaluations: Sequence[Evaluation]) -> None:
    """Raises `ConfigError` where there are no evaluations, or two that tables could not tell apart."""
    if not evaluations:
        raise ConfigError("there is nothing to report: no model was tested.")
    (model, protocol, *_), count = Counter(evaluation.key for evaluation in evaluations).most_common(1)[0]
    if count > 1:
        raise ConfigError(f"model={model}: {count} models of this name under protocol {protocol}; give each its own.")


def place_of(one: Evaluation, evaluations: Sequence[Evaluation]) -> Path:
    """Where the predictions of one of some evaluations lie, below their folder."""
    if len(evaluations) == 1:
        return Path(PREDICTIONS)
    corrupted = () if one.corruption is None else (f"{one.corruption}_{one.strength}",)
    return Path(one.model, one.protocol, *corrupted, PREDICTIONS)


def as_json(
    evaluations: Sequence[Evaluation], compared: Sequence[ModelDifference] = (), failures: Sequence[Failure] = ()
) -> dict[str, Any]:
    """All figures as plain values, unrounded.

    `schema_version`; `versions` of rankpose and torch; `results`, one for each evaluation: `model`, `about`,
    `protocol`, `title`, `corruption`, `strength`, `images` (tested and answered) of `available`, `unanswered`
    (no face was found) and `mae_rest_zero` (degrees, with the zero pose for these), `identities`, `expected`, `scores`
    and `intervals` by name, `remarks`, `changes` and how many images were left out for which reason (`rejects`);
    `differences`, one for each pair of models: `protocol`, `first`, `second`, `images` and `scores` by name, first less
    second; `failures`: `what` and `reason` of what was asked for and is not there.
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
            "unanswered": evaluation.unanswered,
            "mae_rest_zero": evaluation.mae_rest_zero,
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
            "images": pair.images,
            "scores": {name: asdict(found) for name, found in pair.scores.items()},
        }
        for pair in compared
    ]
    versions = {name: version(name) for name in ("rankpose", "torch")}
    return {
        "schema_version": SCHEMA_VERSION,
        "versions": versions,
        "results": results,
        "differences": pairs,
        "failures": [asdict(failure) for failure in failures],
    }


def read_evaluations(folder: Path) -> Stored:
    """What an evaluation, or the test that ends a training, left in a folder.

    Raises:
        DatasetError: a file is missing or cannot be read; the message names it.
    """
    content = read_metrics(folder)
    if "results" not in content:  # the test of a run of an earlier version
        table = read_predictions(folder / PREDICTIONS)
        known = {"about": "", "title": HELD_OUT_TITLE, "expected": None}
        return Stored([evaluation_of(table, model=OWN_MODEL, protocol=HELD_OUT, **known)], [], [], content)
    try:
        found = [_evaluation(folder, result, content["results"]) for result in content["results"]]
        compared = [
            ModelDifference(
                pair["protocol"],
                pair["first"],
                pair["second"],
                {name: Difference(**_numbers(values)) for name, values in pair["scores"].items()},
                pair.get("images"),
            )
            for pair in content["differences"]
        ]
        return Stored(found, compared, [Failure(**failure) for failure in content["failures"]], content)
    except (KeyError, TypeError) as error:
        raise DatasetError(f"{folder / METRICS}: is of another version of RankPose; test again.") from error


def read_metrics(folder: Path) -> dict[str, Any]:
    """The content of `metrics.json`.

    Raises:
        DatasetError: it is missing or cannot be read.
    """
    path = folder / METRICS
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise DatasetError(f"{path}: no such file; a finished run or an evaluation has one.") from None
    except (OSError, ValueError) as error:
        raise DatasetError(f"{path}: cannot be read ({one_line(error)}).") from error
    if not isinstance(content, dict):
        raise DatasetError(f"{path}: holds no JSON object.")
    return content


def _evaluation(folder: Path, result: dict[str, Any], results: Sequence[Any]) -> Evaluation:
    scores, ends = _numbers(result["scores"]), result["intervals"]
    intervals = {name: Interval(scores[name], **_numbers(found)) for name, found in ends.items()}
    same = ("model", "about", "protocol", "title", "expected", "corruption", "strength", "available")
    since = {name: result[name] for name in ("unanswered", "mae_rest_zero") if name in result}
    lists = {name: tuple(result[name]) for name in ("remarks", "changes")}
    rejects = tuple(Reject("", reason) for reason, count in result["rejects"].items() for _ in range(count))
    bare = {name: result[name] for name in same} | since | lists | {"scores": scores, "intervals": intervals}
    bare["rejects"] = rejects
    empty = Evaluation(predictions=pd.DataFrame(), **bare)
    return Evaluation(predictions=read_predictions(folder / place_of(empty, results)), **bare)


def read_predictions(path: Path) -> pd.DataFrame:
    """A table of predictions.

    Raises:
        DatasetError: it is missing or cannot be read.
    """
    try:
        return pd.read_parquet(path)
    except FileNotFoundError:
        raise DatasetError(f"{path}: no such file; test again.") from None
    except (OSError, ValueError) as error:
        raise DatasetError(f"{path}: cannot be read ({one_line(error)}).") from error


def _numbers(values: dict[str, float | None]) -> dict[str, float]:
    """With NaN where JSON has null."""
    return {name: math.nan if value is None else value for name, value in values.items()}
