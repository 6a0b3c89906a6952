"""Which runs are there, what differs between them, and may they stand in one table?

`find_runs` reads finished runs and says why the others are none; `check_comparable` refuses to mix data or protocols;
`differing_keys` and `cells_of` tell configurations apart, so that runs which differ by their seed alone stand together.
Keys are written as on the command line of `rankpose.train`: `representation`, `loss.weight`.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from rankpose.errors import ConfigError, DatasetError, one_line
from rankpose.evaluation.protocol import HELD_OUT, HELD_OUT_TITLE
from rankpose.evaluation.scores import Evaluation
from rankpose.evaluation.stored import METRICS, PREDICTIONS, read_metrics, read_predictions
from rankpose.files import read_yaml
from rankpose.metrics import scores
from rankpose.pose import ANGLES
from rankpose.run import outcome
from rankpose.run.directory import check_folders, shown
from rankpose.run.keys import AUTO_PRECISIONS, Kind, kind_of, typed, without_copies
from rankpose.run.stored import CHOICES, as_stored, completed

NO_FOLDER = "a number that the sweep left out: it came to nothing before training began"

Value = Any
"""A leaf of a configuration: a number, a text, a list, None."""

_NOT_WHAT = (Kind.PLACE, Kind.DISPLAY, Kind.MACHINE, Kind.SEED)
"""Kinds of keys that say where, how and how often a run ran, not what it was."""
PRECISION = "trainer.precision"
_OF_A_RUN = ("config.yaml", "checkpoints", outcome.NAME)
"""Each makes a folder a run's."""


@dataclass(frozen=True, eq=False)
class Run:
    """A finished run."""

    folder: Path
    config: Mapping[str, Value]
    """Flat: `loss.weight` to 1.0; a choice stands under its group's name, `loss` to `rank_mse`."""
    tests: Mapping[str, Evaluation]
    """By protocol, `HELD_OUT` first; predictions in the order of image names, without intervals."""
    remarks: tuple[str, ...] = ()
    """Tests of this run that cannot be used, and why."""

    @property
    def seed(self) -> int:
        """Of weights, order and augmentation."""
        return int(self.config["seed"])


@dataclass(frozen=True)
class Failure:
    """A run that gives no figures."""

    folder: Path
    reason: str
    config: Mapping[str, Value] | None
    """None where the run ended before it wrote one."""


@dataclass(frozen=True, eq=False)
class Found:
    """What lies in the given folders."""

    runs: list[Run]
    failures: list[Failure]


@dataclass(frozen=True, eq=False)
class RunCell:
    """One configuration with its runs."""

    values: Mapping[str, Value]
    """Of the keys that differ; None where the configuration has no such key."""
    runs: Mapping[int, Run]
    """By seed, in rising order."""


def find_runs(folders: Iterable[Path]) -> Found:
    """Reads runs, and those in the folders of sweeps, at any depth.

    Raises:
        DatasetError: no such folder, or one without a run.
    """
    found: dict[Path, Run | Failure] = {}
    folders = list(folders)
    check_folders(folders)
    for folder in folders:
        places = _run_folders(folder)
        if not places:
            raise DatasetError(f"{folder}: holds no run; a run's folder has a config.yaml.")
        found |= {place.resolve(): _read(place) for place in places}
        found |= {place.resolve(): Failure(place, NO_FOLDER, None) for place in _gaps(places)}
    runs = [one for one in found.values() if isinstance(one, Run)]
    failures = [one for one in found.values() if isinstance(one, Failure)]
    if not runs:
        raise DatasetError(
            f"none of the {len(failures)} runs gives figures; {shown(failures[0].folder)}: {failures[0].reason}"
        )
    return Found(runs, failures)


def check_comparable(runs: Sequence[Run]) -> None:
    """Raises `DatasetError`, naming two runs and the difference, where data or a protocol are not the same."""
    first = runs[0]
    for other in runs[1:]:
        both = f"{shown(first.folder)} and {shown(other.folder)}"
        ours, theirs = (_data_of(run.config) for run in (first, other))
        for key in dict.fromkeys([*ours, *theirs]):
            if ours.get(key) != theirs.get(key):
                raise DatasetError(
                    f"{both} are not of the same data: {key} is {_said(ours, key)} and {_said(theirs, key)}. "
                    "Compare them apart."
                )
    for protocol in dict.fromkeys(name for run in runs for name in run.tests):
        having = [run for run in runs if protocol in run.tests]
        for other in having[1:]:
            difference = _difference_of_tests(having[0].tests[protocol], other.tests[protocol])
            if difference is not None:
                raise DatasetError(
                    f"{shown(having[0].folder)} and {shown(other.folder)} were not tested alike under {protocol}: "
                    f"{difference}. Compare them apart, or test them again."
                )


def differing_keys(configs: Sequence[Mapping[str, Value]]) -> list[str]:
    """The keys that tell configurations apart, seeds and places aside, in the configuration's order.

    A key counts where it differs among those with the same choice for its group: that `loss.margin` comes with a
    ranking loss is said by `loss` already, and `backbone.options` by `backbone.name`. Of the two precisions that `auto`
    takes, which it was counts only where a configuration has run with one seed in both.
    """
    keys = dict.fromkeys(key for config in configs for key in config if kind_of(key) not in _NOT_WHAT)
    differing = []
    for key in keys:
        alike: dict[str, set[str]] = {}
        for config in configs:
            alike.setdefault(repr(_chosen_around(key, config)), set()).add(repr(config.get(key, "")))
        if any(len(values) > 1 for values in alike.values()):
            differing.append(key)
    if PRECISION in differing and {config.get(PRECISION) for config in configs} <= {*AUTO_PRECISIONS}:
        others = [key for key in differing if key != PRECISION]
        taken: dict[str, set[str]] = {}
        for config in configs:
            alike_seed = repr([config.get(key) for key in ("seed", *others)])
            taken.setdefault(alike_seed, set()).add(repr(config.get(PRECISION)))
        if all(len(values) == 1 for values in taken.values()):
            return others
    return differing


def _chosen_around(key: str, config: Mapping[str, Value]) -> list[Value]:
    """What the groups around a key are."""
    parts = key.split(".")
    groups = [".".join(parts[:depth]) for depth in range(1, len(parts))]
    return [config.get(one) for group in groups for one in (group, f"{group}.name") if one != key]


def cells_of(runs: Sequence[Run], keys: Sequence[str]) -> list[RunCell]:
    """Runs by configuration; numbers rise, other values keep the order in which they first appear.

    Raises:
        ConfigError: two runs of the same configuration and seed.
    """
    groups: dict[tuple[str, ...], dict[int, Run]] = {}
    for run in runs:
        seeds = groups.setdefault(tuple(repr(run.config.get(key)) for key in keys), {})
        if run.seed in seeds:
            raise ConfigError(
                f"{shown(seeds[run.seed].folder)} and {shown(run.folder)} have the same configuration and seed "
                f"{run.seed}; leave one of them out."
            )
        seeds[run.seed] = run
    ranks = {key: _ranks([run.config.get(key) for run in runs]) for key in keys}
    cells = [
        RunCell({key: next(iter(seeds.values())).config.get(key) for key in keys}, dict(sorted(seeds.items())))
        for seeds in groups.values()
    ]
    return sorted(cells, key=lambda cell: [ranks[key][repr(cell.values[key])] for key in keys])


def _ranks(values: Sequence[Value]) -> dict[str, int]:
    distinct = list({repr(value): value for value in values}.values())
    if all(value is None or _is_number(value) for value in distinct):
        distinct.sort(key=lambda value: -np.inf if value is None else value)
    return {repr(value): place for place, value in enumerate(distinct)}


def _is_number(value: Value) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _run_folders(folder: Path) -> list[Path]:
    if any((folder / clue).exists() for clue in _OF_A_RUN):
        return [folder]
    below = sorted((path for path in folder.iterdir() if path.is_dir() and path.name[0] != "."), key=_natural)
    found = [run for path in below for run in _run_folders(path)]
    # a sweep may keep a log beside its runs; where there are no runs it is that of one that failed early
    return found or ([folder] if _logs(folder) else [])


def _logs(folder: Path) -> list[Path]:
    return [path for path in (folder / "failure.txt", *sorted(folder.glob("*.log"))) if path.is_file()]


def _gaps(places: Iterable[Path]) -> Iterable[Path]:
    """Folders that the numbering of a sweep skips: `rankpose.train` removes the folder of a run that never began."""
    for sweep in dict.fromkeys(place.parent for place in places):
        numbers = {int(place.name) for place in sweep.iterdir() if place.name.isdigit()}
        if (sweep / "multirun.yaml").is_file() and numbers:
            yield from (sweep / str(number) for number in range(max(numbers)) if number not in numbers)


def _natural(path: Path) -> list[tuple[int, str]]:
    """Folder 10 comes after folder 9."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", path.name)]


def _read(folder: Path) -> Run | Failure:
    config = None
    try:
        if (folder / "config.yaml").is_file():
            config = _config(folder)
        if not (folder / METRICS).is_file():
            return Failure(folder, _why_unfinished(folder), config)
        if config is None:
            return Failure(folder, "has no config.yaml", None)
        held_out = _test(folder, folder, HELD_OUT, HELD_OUT_TITLE, None)
    except DatasetError as error:
        return Failure(folder, str(error), config)
    tests, remarks = {HELD_OUT: held_out}, []
    for place in sorted((folder / "evaluation").glob("*/predictions.parquet")):
        try:
            test = _evaluation(folder, place.parent)
        except DatasetError as error:
            remarks.append(f"{shown(place.parent)} is left out: {error}")
        else:
            tests[test.protocol] = test
    return Run(folder, config, tests, tuple(remarks))


def _config(folder: Path) -> dict[str, Value]:
    try:
        content = read_yaml(folder / "config.yaml")
    except (OSError, ValueError) as error:
        raise DatasetError(f"config.yaml cannot be read: {one_line(error)}") from error
    if not isinstance(content, dict) or not isinstance(content.get("seed"), int):
        raise DatasetError("config.yaml is not that of a run: it has no seed")
    own = str(content.get("run_dir"))
    leaves = without_copies(completed(as_stored(content)))
    # a group whose choice says all is empty
    leaves = {key: value for key, value in leaves.items() if value != {} and not key.endswith("_partial_")}
    said = {_said_of(key): _without_place(value, own) for key, value in leaves.items()}
    groups = list(dict.fromkeys([*content, *(key.partition(".")[0] for key in said)]))
    # a choice stands before what its group says
    return dict(sorted(said.items(), key=lambda one: groups.index(one[0].partition(".")[0])))


def _said_of(key: str) -> str:
    """A choice stands under its group's name; that of the data is about the reader, as values of `data` say more."""
    group = key.removeprefix(f"{CHOICES}.")
    if "@" in group:
        return group.partition("@")[2]
    return key if group == key or kind_of(key) in _NOT_WHAT else "data.reader" if group == "data" else group


def _without_place(value: Value, run_dir: str) -> Value:
    return value.replace(run_dir, "RUN") if isinstance(value, str) else value


def _why_unfinished(folder: Path) -> str:
    known = outcome.read(folder)
    if known is not None and known.state == "pruned":
        return str(known.reason)
    for path in _logs(folder):
        lines = [
            line.strip() for line in path.read_text(errors="replace", encoding="utf-8").splitlines() if line.strip()
        ]
        errors = [line for line in lines if re.match(r"(\w+\.)*(\w*Error|\w*Exception|error)\b", line)]
        # the last lines of a log that tells no error are about progress
        said = errors or (lines if path.name == "failure.txt" else [])
        if said:
            return f"failed: {said[-1]}"
    last = folder / "checkpoints" / "last.ckpt"
    ended = "unfinished or still running: it has no metrics.json"
    return f"{ended}; go on with {typed('ckpt_path', shown(last))}" if last.is_file() else ended


def _evaluation(run: Path, folder: Path) -> Evaluation:
    """What `rankpose.evaluate` left of one protocol."""
    content = read_metrics(folder)
    try:
        (result,) = [result for result in content["results"] if result["strength"] == 0]
        known = result["protocol"], result["title"], result["expected"]
    except (ValueError, KeyError, TypeError) as error:
        raise DatasetError(
            "its metrics.json is of an older version or of several models; test again with rankpose.evaluate"
        ) from error
    return _test(run, folder, *known)


def _test(run: Path, folder: Path, protocol: str, title: str, expected: int | None) -> Evaluation:
    path = folder / PREDICTIONS
    table = read_predictions(path)
    wanted = ["name", "identity", *ANGLES, *(f"{angle}_pred" for angle in ANGLES), "crop_x", "crop_y", "crop_side"]
    missing = [column for column in wanted if column not in table]
    if missing:
        raise DatasetError(
            f"{path.name} lacks the column {missing[0]}: this is of an older version of RankPose; make it again with "
            f"python -m rankpose.{'train' if protocol == HELD_OUT else 'evaluate'}"
        )
    if table["name"].duplicated().any():
        raise DatasetError(f"{path.name} holds {table['name'][table['name'].duplicated()].iloc[0]} twice")
    poses = table[[*ANGLES, *(f"{angle}_pred" for angle in ANGLES)]].to_numpy(dtype=float)
    if not len(table) or not np.isfinite(poses).all():
        raise DatasetError(f"{path.name} holds poses that are no numbers" if len(table) else f"{path.name} is empty")
    ordered = table.sort_values("name", ignore_index=True)
    bare = Evaluation(run.resolve().name, shown(run), protocol, title, expected, ordered, scores={}, intervals={})
    return replace(bare, scores=scores(*bare.poses()))


def _data_of(config: Mapping[str, Value]) -> dict[str, Value]:
    return {key: value for key, value in config.items() if kind_of(key) == Kind.DATA}


def _difference_of_tests(one: Evaluation, other: Evaluation) -> str | None:
    for name, ours, theirs in (("title", one.title, other.title), ("size", one.expected, other.expected)):
        if ours != theirs:
            return f"the protocol's {name} is {ours!r} and {theirs!r}"
    a, b = (test.predictions.set_index("name") for test in (one, other))
    only = a.index.symmetric_difference(b.index)
    if len(only):
        return f"{len(only):,} images are of one of them only, the first {only[0]}"
    for what, columns, tolerance in (("label", list(ANGLES), 1e-3), ("crop", ["crop_x", "crop_y", "crop_side"], 0.01)):
        same = np.isclose(a[columns].to_numpy(float), b[columns].to_numpy(float), atol=tolerance, equal_nan=True)
        if not same.all():
            return f"the {what} of {a.index[~same.all(axis=1)][0]} differs"
    person = a["identity"].astype(str) != b["identity"].astype(str)
    return f"the identity of {a.index[person][0]} differs" if person.any() else None


def _said(config: Mapping[str, Value], key: str) -> str:
    return repr(config[key]) if key in config else "not set"
