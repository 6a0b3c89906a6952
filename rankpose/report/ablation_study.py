"""What did a sweep over losses find? Prints the tables of docs/ablation.md and draws its figure.

python -m rankpose.report.ablation_study SWEEP --figure FILE
"""

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from rankpose.errors import one_line_errors
from rankpose.evaluation.protocol import HELD_OUT
from rankpose.evaluation.runs import Run, Value, find_runs
from rankpose.report.ablation import Ablation, Cell, Change, make_ablation
from rankpose.report.text_table import table_of
from rankpose.run.curves import read_curves
from rankpose.run.directory import check_folders

CONFIRM = "confirm"
"""The part of the sweep that has seeds of its own."""
FIGURES = ((HELD_OUT, "mae", 1), (HELD_OUT, "pair_order", 100), ("aflw2000", "mae", 1))
"""Test, score, and what it is multiplied by."""
HEADS = ("MAE held out", "less mse", "pairs held out, %", "less mse", "MAE photographs", "less mse")
_ASIDE = ("identities_per_batch", "draws_per_identity")
_USUAL: Mapping[str, Value] = {
    "images_per_identity": 2,
    "pairs": "any",
    "label_noise_deg": 0,
    "unit": "degrees",
    "squared": False,
    "slope": 0,
}
"""By a key's last part: of a mixture each source has its own."""
_LIMIT = 0.6
"""Degrees either way that the figure shows."""


def setting(values: Mapping[str, Value]) -> str:
    """What a configuration has other than most, in few words."""
    told = []
    for key, value in values.items():
        group, _, name = key.rpartition(".")
        if value is not None and name not in _ASIDE and value != _USUAL.get(name):
            text = f"{value:g}" if isinstance(value, float) else str(value)
            told.append(f"{name}={text}" if group else text)
    return " ".join(dict.fromkeys(told))


def pull(runs: Sequence[Run], cell: Cell) -> float:
    """The gradient of the ranking term over that of the squared error, mean of the last quarter of a cell's runs."""
    shares = []
    for run in runs:
        if all(run.config.get(key) == value for key, value in cell.values.items()):
            curves = read_curves(run.folder)
            if curves is not None and "train/gradient_ratio" in curves:
                ratio = curves["train/gradient_ratio"].dropna()
                shares.append(float(ratio.tail(len(ratio) // 4).mean()))
    return float(np.mean(shares)) if shares else 0.0


def said(change: Change | None, factor: float) -> str:
    """A difference with its interval and the seeds that agree."""
    if change is None:
        return ""
    found = change.difference
    value, low, high = (f"{factor * number:+.2f}" for number in (found.value, found.low, found.high))
    return f"{value} ({low} to {high}; {change.agreeing()}/{len(change.seeds)})"


def table(ablation: Ablation, runs: Sequence[Run]) -> str:
    """A row for each configuration, for Markdown; bold where the interval and all seeds are on one side."""
    rows = []
    for cell in ablation.cells:
        row = [f"`{setting(cell.values)}`", f"{100 * pull(runs, cell):.0f} %"]
        for test, score, factor in FIGURES:
            spread, change = cell.scores[test][score], cell.changes.get(test, {}).get(score)
            text = said(change, factor)
            row += [f"{factor * spread.mean:.2f} ± {factor * spread.deviation:.2f}"]
            row += [f"**{text}**" if change is not None and change.sure() else text]
        rows.append(row)
    return table_of(pd.DataFrame(rows, columns=["setting", "pull", *HEADS])).as_text("md")


def draw(ablation: Ablation, path: Path) -> None:
    """The differences in MAE with their intervals and single seeds; what lies outside is written at the edge."""
    cells = [cell for cell in ablation.cells if cell.changes][::-1]
    figure = Figure(figsize=(12, 1 + 0.28 * len(cells)))
    axes = figure.subplots(1, 2, sharey=True)
    for axis, test, title in zip(axes, (HELD_OUT, "aflw2000"), ("held-out people", "490 photographs"), strict=True):
        for place, cell in enumerate(cells):
            change = cell.changes[test]["mae"]
            found = change.difference
            colour = "tab:blue" if not change.sure() else ("tab:green" if found.value < 0 else "tab:red")
            if abs(found.value) > _LIMIT:
                axis.annotate(
                    f"{found.value:+.1f}",
                    (np.sign(found.value) * _LIMIT * 0.97, place),
                    color=colour,
                    ha="right" if found.value > 0 else "left",
                    va="center",
                )
                continue
            axis.plot([found.low, found.high], [place, place], color=colour, linewidth=2)
            axis.plot(found.value, place, "o", color=colour)
            axis.plot(list(change.seeds.values()), [place] * len(change.seeds), "|", color="black", markersize=7)
        axis.axvline(0, color="grey", linewidth=0.8)
        axis.set(xlim=(-_LIMIT, _LIMIT), title=title, xlabel="MAE with ranking less MAE without, degrees")
        axis.grid(axis="x", alpha=0.3)
    axes[0].set_yticks(range(len(cells)), [setting(cell.values) for cell in cells], fontsize=8)
    figure.tight_layout()
    figure.savefig(path, dpi=110)


@one_line_errors
def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m rankpose.report.ablation_study", description=__doc__.splitlines()[0]
    )
    parser.add_argument("sweep", type=Path, help="folder of a sweep, as of `rankpose.train -m experiment=ablation`")
    parser.add_argument("--figure", type=Path, required=True, help="where the figure goes, as a PNG")
    given = parser.parse_args()
    check_folders([given.sweep])
    confirm, parts = given.sweep / CONFIRM, [given.sweep]
    if confirm.is_dir():
        parts = [path for path in sorted(given.sweep.iterdir()) if path.is_dir() and path != confirm]
    found = find_runs(parts)
    ablation = make_ablation(found, {"loss": "mse"})
    print(table(ablation, found.runs))
    draw(ablation, given.figure)
    if confirm.is_dir():
        confirmed = find_runs([confirm])
        for baseline in ({"loss": "mse"}, {"loss": "mse", "data.images_per_identity": "2"}):
            print(f"Seeds of their own, baseline {baseline}:\n")
            print(table(make_ablation(confirmed, baseline), confirmed.runs))


if __name__ == "__main__":
    main()
