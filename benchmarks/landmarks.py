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
from typing import Any

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
from rankpose.errors import one_line_errors
from rankpose.evaluation.runs import Run, RunCell, cells_of, differing_keys, find_runs
from rankpose.evaluation.statistics import difference_of, mean_samples
from rankpose.files import checkpoint_file
from rankpose.probing import maps, pairs, probes
from rankpose.probing.factors import known_factors
from rankpose.probing.features import POOLED, read_features, stages
from rankpose.probing.study import Network, Settings, map_heads, seen_of
from rankpose.report.ablation import Change, baselines_of
from rankpose.report.ablation_study import setting
from rankpose.report.text_table import table_of

BASELINE = {"loss": "mse"}
KNOWS, MOVES, LOOKS = KINDS = ("knows", "moves", "looks")
TITLES = {
    KNOWS: "what a linear probe reads from the features, 0 by chance, 1 at best",
    MOVES: "how far one changed factor moves the features, over 5 degrees of pose",
    LOOKS: "share of the map within a tenth of the face of the landmarks, mean of three angles",
}
AREA = "of the area"
"""What a map would have there that is alike everywhere."""


Answers = dict[str, dict[str, np.ndarray]]
"""Of one run, by kind and question: (1 + resamples,), of everybody, then of people drawn with replacement."""


@dataclass(frozen=True, eq=False)
class Column:
    """One configuration."""

    name: str
    mean: dict[str, dict[str, float]]
    change: dict[str, dict[str, Change]]
    """To the baseline; nothing for a baseline."""


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


def look_into(run: Path, data: tuple[str, ...], settings: Settings) -> Answers:
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
    return {KNOWS: knows, MOVES: moves, LOOKS: looks}


def _shares(network: Network, seen: maps.Seen, settings: Settings) -> dict[str, np.ndarray]:
    last = maps.last_map(network.net, list(stages(network.net.backbone)), seen.image)
    near = maps.places(seen)["landmarks"]
    samples = partial(mean_samples, identity=seen.person, resamples=settings.resamples, seed=settings.seed)
    found = {AREA: samples(near.mean((1, 2)))}
    for method, of_angles in maps.look(network.net, seen.image, last, settings.batch_size).items():
        found[method] = samples(np.mean([maps.share_of_each(of_angles[:, place], near) for place in range(3)], axis=0))
    return found


def compared(runs: Sequence[Run]) -> list[tuple[RunCell, RunCell]]:
    """Each configuration with the one that it is compared with.

    Raises:
        ConfigError: a configuration without such a one.
    """
    keys = differing_keys([run.config for run in runs])
    cells = cells_of(runs, keys)
    return list(zip(cells, baselines_of(cells, keys, BASELINE), strict=True))


def column_of(cell: RunCell, other: RunCell, found: Mapping[Path, Answers]) -> Column:
    """What the runs of a configuration answer in the mean, and how that differs from its baseline's answers."""
    ours, theirs = ({seed: found[run.folder] for seed, run in one.runs.items()} for one in (cell, other))
    column = Column(setting(cell.values), {kind: {} for kind in KINDS}, {kind: {} for kind in KINDS})
    for kind in KINDS:
        for question in next(iter(ours.values()))[kind]:
            column.mean[kind][question] = float(np.mean([one[kind][question][0] for one in ours.values()]))
            if other is not cell:
                both = {s: ours[s][kind][question] - theirs[s][kind][question] for s in ours if s in theirs}
                mean = np.mean(list(both.values()), axis=0)
                column.change[kind][question] = Change(
                    difference_of(float(mean[0]), mean[1:], len(mean)), {s: float(one[0]) for s, one in both.items()}
                )
    return column


def numbers(change: Change) -> tuple[float, float, float, int, int]:
    """The difference, its interval, how many seeds are on its side, and of how many."""
    found = change.difference
    return found.value, found.low, found.high, change.agreeing(), len(change.seeds)


def table(columns: Sequence[Column], kind: str) -> str:
    """Markdown: a row for each question, the difference to the baseline in brackets."""
    rows = []
    for question in columns[0].mean[kind]:
        row = [question]
        for column in columns:
            text, change = f"{column.mean[kind][question]:.2f}", column.change[kind].get(question)
            if change is not None:
                value, low, high, agreeing, seeds = numbers(change)
                differs = f"({value:+.2f}; {low:+.2f} to {high:+.2f}; {agreeing}/{seeds})"
                text = f"{text} **{differs}**" if change.sure() else f"{text} {differs}"
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
            colour, found = "tab:red" if change.sure() else "tab:blue", change.difference
            axis.plot([found.low, found.high], [place, place], color=colour, linewidth=2)
            axis.plot(found.value, place, "o", color=colour, markersize=4)
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
    sweeps = {folder.name: compared(find_runs([folder]).runs) for folder in given.sweeps}
    folders = [run.folder for cells in sweeps.values() for cell, _ in cells for run in cell.runs.values()]
    with ProcessPoolExecutor(given.processes) as pool:
        look = partial(look_into, data=tuple(given.data), settings=settings)
        found = dict(zip(folders, pool.map(look, folders), strict=True))
    columns = {name: [column_of(*both, found) for both in cells] for name, cells in sweeps.items()}
    for name, some in columns.items():
        print(f"{name}\n")
        for kind in KINDS:
            print(table(some, kind))
    if given.figure is not None:
        draw(columns, given.figure)
    said: dict[str, Any] = {
        name: {
            one.name: {
                "mean": one.mean,
                "change": {kind: {of: numbers(it) for of, it in asked.items()} for kind, asked in one.change.items()},
            }
            for one in some
        }
        for name, some in columns.items()
    }
    print(json.dumps(said | describe("torch", "timm", "scikit-learn")))


if __name__ == "__main__":
    main()
