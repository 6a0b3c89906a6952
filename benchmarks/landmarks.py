"""What does ranking do to features? `python -m benchmarks.landmarks SWEEP [SWEEP ...] [--figure FILE]`

Of finished runs (`experiment=landmarks`, `experiment=ranking_on_photographs`) what `python -m rankpose.probe` asks of
the pooled features on the test part of the embedded set: linear probes, one factor changed at a time, and how much of
the maps lies near the landmarks. A column is a configuration: the mean over its seeds. It is compared with the
squared error at the same number of images of a person, runs paired by seed, on the same people, whom the bootstrap
draws; bold is where the interval and all seeds are on one side. Prints Markdown, a table for each sweep, and last JSON.
"""

import argparse
import json
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from matplotlib.figure import Figure

from benchmarks.machine import describe
from rankpose.command.configuration import build, composed
from rankpose.data.batches import PlainCrops, every_image
from rankpose.data.datamodule import PoseDataModule
from rankpose.data.record import Records
from rankpose.data.synthetic.rendering import read_factors
from rankpose.errors import ConfigError, one_line_errors
from rankpose.evaluation.runs import Run, RunCell, cells_of, differing_keys, find_runs
from rankpose.evaluation.statistics import difference_of, draws
from rankpose.files import checkpoint_file
from rankpose.probing import maps, pairs, probes
from rankpose.probing.factors import known_factors
from rankpose.probing.features import POOLED, read_features, stages
from rankpose.probing.study import Network, Settings, map_heads, seen_of
from rankpose.report.ablation_study import setting
from rankpose.report.text_table import table_of

BASELINE = "mse"
KNOWS, MOVES, LOOKS = KINDS = ("knows", "moves", "looks")
TITLES = {
    KNOWS: "what a linear probe reads from the features, 0 by chance, 1 at best",
    MOVES: "how far one changed factor moves the features, over 5 degrees of pose",
    LOOKS: "share of the map within a tenth of the face of the landmarks, mean of three angles",
}


AREA = "of the area"
"""What a map would have there that is alike everywhere."""


@dataclass(frozen=True, eq=False)
class Found:
    """Of one run, by kind and question: (1 + resamples,), of everybody, then of people drawn with replacement."""

    answers: Mapping[str, Mapping[str, np.ndarray]]


@dataclass(frozen=True, eq=False)
class Column:
    """One configuration."""

    name: str
    mean: Mapping[str, Mapping[str, float]]
    change: Mapping[str, Mapping[str, tuple[float, float, float, int, int]]]
    """To the baseline: value, interval, how many seeds agree, of how many; nothing for a baseline."""


@cache
def embedded(overrides: tuple[str, ...]) -> tuple[Records, pd.DataFrame | None]:
    """The people whom nobody trains on, and what was drawn for their pictures."""
    config = composed("probe", ["data=synthetic", *overrides])
    module: PoseDataModule = build(config.data)
    records = module.records("test")
    return records, read_factors(str(config.data.root), records.names)


@cache
def rendered_pairs(heads: int, seed: int) -> list[pairs.Pair]:
    """Rendered once in each process: no network changes them."""
    return pairs.controlled_pairs(pairs.draw_heads(heads, seed), seed)


def look_into(run: Path, data: tuple[str, ...], settings: Settings) -> Found:
    """Everything that is asked of a run's network."""
    torch.set_num_threads(1)
    records, table = embedded(data)
    network = Network.of(run.name, checkpoint_file(run), "cpu")
    crops = PlainCrops(records, network.crop, network.size)
    images = (batch["image"] for batch in every_image(crops, settings.batch_size, 0))
    features = read_features(network.net, images)[POOLED]
    said, _ = probes.probe(
        features, known_factors(records.pose, records.identity, table), records.identity, settings.folds, settings.seed
    )
    knows = {
        name: np.concatenate([[one.value()], one.resampled(settings.resamples, settings.seed)])
        for name, one in said.items()
    }
    drawn = rendered_pairs(settings.pairs, settings.seed)
    first, second = (
        read_features(network.net, one.split(settings.batch_size))[POOLED]
        for one in pairs.crops_of(drawn, network.crop, network.size)
    )
    changes, heads = [one.change for one in drawn], np.array([one.head for one in drawn])
    moves = pairs.feature_ratios(changes, heads, (first, second), settings.resamples, settings.seed)
    seen = seen_of(network, records, table, map_heads(records.pose[:, 0], settings), settings)
    looks = _shares(network, seen, settings)
    return Found({KNOWS: knows, MOVES: moves, LOOKS: looks})


def _shares(network: Network, seen: maps.Seen, settings: Settings) -> dict[str, np.ndarray]:
    last = maps.last_map(network.net, list(stages(network.net.backbone)), seen.image)
    near = maps.places(seen)["landmarks"]
    people, codes = np.unique(seen.person, return_inverse=True)
    weights = np.concatenate(
        [
            np.ones((1, len(people))),
            *draws(len(people), len(people), settings.resamples, settings.seed),
        ]
    )
    count = weights @ np.bincount(codes)
    found = {AREA: (weights @ np.bincount(codes, near.mean((1, 2)))) / count}
    for method, of_angles in maps.look(network.net, seen.image, last, settings.batch_size).items():
        each = np.mean([maps.share_of_each(of_angles[:, place], near) for place in range(3)], axis=0)
        found[method] = (weights @ np.bincount(codes, each)) / count
    return found


def columns_of(runs: Sequence[Run], found: Mapping[Path, Found]) -> list[Column]:
    """Configurations with what they change.

    Raises:
        ConfigError: a configuration without a baseline of the same other values.
    """
    cells = cells_of(runs, differing_keys([run.config for run in runs]))
    return [Column(_name(cell), _means(cell, found), _changes(cell, _baseline(cell, cells), found)) for cell in cells]


def _name(cell: RunCell) -> str:
    return setting(cell.values)


def _baseline(cell: RunCell, cells: Sequence[RunCell]) -> RunCell | None:
    if cell.values["loss"] == BASELINE:
        return None
    wanted = {**cell.values, "loss": BASELINE}
    for other in cells:
        if other.values == wanted:
            return other
    raise ConfigError(f"{_name(cell)}: no run with loss={BASELINE} is like it otherwise.")


def _of(cell: RunCell, found: Mapping[Path, Found], kind: str, question: str) -> dict[int, np.ndarray]:
    return {seed: found[run.folder].answers[kind][question] for seed, run in cell.runs.items()}


def _questions(cell: RunCell, found: Mapping[Path, Found]) -> list[tuple[str, str]]:
    answers = found[next(iter(cell.runs.values())).folder].answers
    return [(kind, question) for kind in KINDS for question in answers[kind]]


def _means(cell: RunCell, found: Mapping[Path, Found]) -> dict[str, dict[str, float]]:
    means: dict[str, dict[str, float]] = {kind: {} for kind in KINDS}
    for kind, question in _questions(cell, found):
        means[kind][question] = float(np.mean([one[0] for one in _of(cell, found, kind, question).values()]))
    return means


def _changes(
    cell: RunCell, other: RunCell | None, found: Mapping[Path, Found]
) -> dict[str, dict[str, tuple[float, float, float, int, int]]]:
    changes: dict[str, dict[str, tuple[float, float, float, int, int]]] = {kind: {} for kind in KINDS}
    if other is None:
        return changes
    for kind, question in _questions(cell, found):
        ours, theirs = _of(cell, found, kind, question), _of(other, found, kind, question)
        by_seed = [ours[seed] - theirs[seed] for seed in ours if seed in theirs]
        mean = np.mean(by_seed, axis=0)
        interval = difference_of(float(mean[0]), mean[1:], 2)
        agreeing = sum(one[0] * mean[0] > 0 for one in by_seed)
        changes[kind][question] = (interval.value, interval.low, interval.high, int(agreeing), len(by_seed))
    return changes


def sure(change: tuple[float, float, float, int, int]) -> bool:
    """Whether the interval and all seeds are on one side of zero."""
    _, low, high, agreeing, seeds = change
    return (low > 0 or high < 0) and agreeing == seeds


def table(columns: Sequence[Column], kind: str) -> str:
    """Markdown: a row for each question, the difference to the baseline in brackets."""
    rows = []
    for question in columns[0].mean[kind]:
        row = [question]
        for column in columns:
            text, change = f"{column.mean[kind][question]:.2f}", column.change[kind].get(question)
            if change is not None:
                differs = f"{change[0]:+.2f}; {change[1]:+.2f} to {change[2]:+.2f}; {change[3]}/{change[4]}"
                text = f"{text} **({differs})**" if sure(change) else f"{text} ({differs})"
            row.append(text)
        rows.append(row)
    heads = [TITLES[kind], *(f"`{column.name}`" for column in columns)]
    return table_of(pd.DataFrame(rows, columns=heads)).as_text("md")


def draw(sweeps: Mapping[str, Sequence[Column]], path: Path) -> None:
    """The differences to the squared error in what probes read: a panel for each sweep and configuration."""
    panels = [(name, one) for name, columns in sweeps.items() for one in columns if one.change[KNOWS]]
    questions = list(panels[0][1].change[KNOWS])[::-1]
    figure = Figure(figsize=(1.6 + 1.9 * len(panels), 1.4 + 0.26 * len(questions)))
    axes = figure.subplots(1, len(panels), sharey=True, sharex=True, squeeze=False)[0]
    for axis, (sweep, column) in zip(axes, panels, strict=True):
        for place, question in enumerate(questions):
            change = column.change[KNOWS].get(question)
            if change is None:
                continue
            colour = "tab:red" if sure(change) else "tab:blue"
            axis.plot(change[1:3], [place, place], color=colour, linewidth=2)
            axis.plot(change[0], place, "o", color=colour, markersize=4)
        axis.axvline(0, color="grey", linewidth=0.8)
        axis.grid(axis="x", alpha=0.3)
        axis.set_title(f"{sweep}\n{column.name}".replace(" ", "\n"), fontsize=8)
        axis.tick_params(labelsize=8)
    axes[0].set_yticks(range(len(questions)), questions, fontsize=8)
    figure.supxlabel("score of the probe less that after the squared error alone", fontsize=9)
    figure.tight_layout()
    figure.savefig(path, dpi=110)


@one_line_errors
def main() -> None:
    """Measure, print, draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sweeps", nargs="+", type=Path, help="folders of runs, each with its own tables")
    parser.add_argument("--data", nargs="+", default=(), help="overrides of data=synthetic, as data.root=FOLDER")
    parser.add_argument("--figure", type=Path, help="where the figure goes, as a PNG")
    parser.add_argument("--pairs", type=int, default=32, help="heads that are rendered twice for each factor")
    parser.add_argument("--heads", type=int, default=64, help="of which maps are made")
    parser.add_argument("--resamples", type=int, default=2000, help="of the bootstrap")
    parser.add_argument("--processes", type=int, default=1, help="networks at a time")
    given = parser.parse_args()
    settings = Settings(pairs=given.pairs, heads=given.heads, resamples=given.resamples, num_workers=0)
    sweeps = {folder.name: find_runs([folder]).runs for folder in given.sweeps}
    folders = [run.folder for runs in sweeps.values() for run in runs]
    with ProcessPoolExecutor(given.processes) as pool:
        look = partial(look_into, data=tuple(given.data), settings=settings)
        found = dict(zip(folders, pool.map(look, folders), strict=True))
    columns = {name: columns_of(runs, found) for name, runs in sweeps.items()}
    for name, some in columns.items():
        print(f"{name}\n")
        for kind in KINDS:
            print(table(some, kind))
    if given.figure is not None:
        draw(columns, given.figure)
    said = {
        name: {one.name: {"mean": one.mean, "change": one.change} for one in some} for name, some in columns.items()
    }
    print(json.dumps(said | describe("torch", "timm", "scikit-learn")))


if __name__ == "__main__":
    main()
