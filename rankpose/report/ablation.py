"""Which configuration is best, by how much, and how sure is that? Runs of several seeds as the table of a paper.

A row is a configuration, a figure the mean over its seeds with their standard deviation (of the sample, n - 1). The
difference to the baseline is taken between runs of equal seed: each image's error is averaged over the seeds that both
have, and identities are drawn with replacement (`rankpose.evaluation.statistics.paired_bootstrap`). Its interval speaks
of other people under the same networks; how training itself scatters is said by the standard deviation, and by how
many of the seeds agree on the sign.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from rankpose.errors import ConfigError
from rankpose.evaluation.runs import PRECISION, Found, Run, RunCell, Value, cells_of, check_comparable, differing_keys
from rankpose.evaluation.scores import Evaluation, rising
from rankpose.evaluation.statistics import Difference, paired_bootstrap
from rankpose.files import json_text, write_whole
from rankpose.metrics import identity_totals, image_scores
from rankpose.report import text_table
from rankpose.report.main_table import SCORES, Score, images_in_words, p_value, tex_label
from rankpose.report.panels import MODEL_COLOURS, Panel, model_colour, model_style, new_panel, to_panel
from rankpose.report.templates import render
from rankpose.report.text_table import NO_VALUE, Block, Column, Format, Row, TextTable, as_number, mark_best
from rankpose.run.directory import shown

SCHEMA_VERSION = 2
"""Of `comparison.json`; grows when a key changes its meaning or goes."""

_SHOWN = ("yaw_mae", "pitch_mae", "roll_mae", "mae", "geodesic", "pair_order")
COLUMNS = tuple(score for score in SCORES if score.name in _SHOWN)
"""What stands in the tables."""
COMPARED = ("mae", "pair_order")
"""By which scores a configuration is compared with its baseline."""
WEIGHT = "loss.weight"
"""The key that figures are drawn against."""


@dataclass(frozen=True)
class Spread:
    """A score over seeds."""

    by_seed: Mapping[int, float]

    @property
    def mean(self) -> float:
        """Of all seeds."""
        return float(np.mean(list(self.by_seed.values())))

    @property
    def deviation(self) -> float:
        """The standard deviation of the sample; NaN of a single seed."""
        return float(np.std(list(self.by_seed.values()), ddof=1)) if len(self.by_seed) > 1 else math.nan


@dataclass(frozen=True)
class Change:
    """A score of a configuration less that of its baseline, over the seeds that both have."""

    difference: Difference
    seeds: Mapping[int, float]
    """The difference of each seed."""

    def agreeing(self) -> int:
        """How many seeds differ in the direction of the mean."""
        return sum(value * self.difference.value > 0 for value in self.seeds.values())

    def sure(self) -> bool:
        """Whether the interval is on one side of zero and all seeds are on that side."""
        apart = self.difference.low > 0 or self.difference.high < 0
        return apart and self.agreeing() == len(self.seeds)


@dataclass(frozen=True, eq=False)
class Cell:
    """A row: one configuration."""

    name: str
    values: Mapping[str, Value]
    seeds: list[int]
    scores: Mapping[str, Mapping[str, Spread]]
    """By test, then by score."""
    baseline: str
    """The name of the configuration it is compared with; its own name where it is a baseline."""
    changes: Mapping[str, Mapping[str, Change]]
    """By test, then by score; nothing for a baseline, and nothing where no seed is common."""


@dataclass(frozen=True, eq=False)
class Ablation:
    """All that is said of a set of runs."""

    keys: list[str]
    cells: list[Cell]
    tests: dict[str, Evaluation]
    """By name, any run's: for what is the same in all."""
    absent: list[str]
    """Runs that are missing or failed, a sentence each."""
    remarks: list[str]

    def panels(self) -> dict[str, list[Panel]]:
        """By test: MAE and pair order against the weight; nothing where the weight does not differ."""
        weights = sorted({weight for cell in self.cells if math.isfinite(weight := _weight(cell))})
        if WEIGHT not in self.keys or len(weights) < 2:
            return {}
        return {
            test: [
                _panel(self, test, score, weights)
                for score in COLUMNS
                if score.name in COMPARED and math.isfinite(self.cells[0].scores[test][score.name].mean)
            ]
            for test in self.tests
        }


def make_ablation(found: Found, baseline: Mapping[str, str] | None = None) -> Ablation:
    """Statistics of runs.

    Args:
        found: as `rankpose.evaluation.runs.find_runs` gives them.
        baseline: values of some of the keys that differ, as text. Where they describe one configuration, all are
            compared with it; where they describe several, each with the one that has its other values (`loss=mse`: each
            representation with its own). By default the first configuration.

    Raises:
        DatasetError: runs of different data or protocols.
        ConfigError: the same run twice, or a baseline that is none or not a single one.
    """
    check_comparable(found.runs)
    unfinished = [failure.config for failure in found.failures if failure.config is not None]
    configs = [*(run.config for run in found.runs), *unfinished]
    keys = differing_keys(configs)
    groups = cells_of(found.runs, keys)
    everywhere = [name for name in found.runs[0].tests if all(name in run.tests for run in found.runs)]
    base = baselines_of(groups, keys, baseline)
    cells = [
        Cell(
            _name(group.values),
            group.values,
            list(group.runs),
            {
                test: {
                    score.name: Spread({seed: run.tests[test].scores[score.name] for seed, run in group.runs.items()})
                    for score in COLUMNS
                }
                for test in everywhere
            },
            _name(other.values),
            {} if other is group else {test: _changes(group, other, test) for test in everywhere},
        )
        for group, other in zip(groups, base, strict=True)
    ]
    remarks = [remark for run in found.runs for remark in run.remarks]
    computed = dict.fromkeys(str(run.config.get(PRECISION)) for run in found.runs)
    if PRECISION not in keys and len(computed) > 1:
        remarks.append(f"Computed partly in {' and partly in '.join(computed)}, as {PRECISION}=auto chose.")
    for name in dict.fromkeys(name for run in found.runs for name in run.tests):
        without = [run for run in found.runs if name not in run.tests]
        if without:
            remarks.append(
                f"Protocol {name} has no table: {len(without)} of {len(found.runs)} runs were not tested under it, the "
                f"first {shown(without[0].folder)}."
            )
    tests = {name: found.runs[0].tests[name] for name in everywhere}
    return Ablation(keys, cells, tests, _absent(groups, keys, found), remarks)


def write_ablation(folder: Path, ablation: Ablation) -> Path:
    """Writes `report.html`, `table.md`, `table.tex`, `table.csv` and `comparison.json`; gives the page's path."""
    files = {
        "table.md": to_markdown(ablation),
        "table.tex": to_latex(ablation),
        "table.csv": tidy(ablation).to_csv(index=False),
        "comparison.json": json_text(as_json(ablation)),
        "report.html": to_page(ablation),
    }
    for name, content in files.items():
        write_whole(folder / name, content)
    return folder / "report.html"


# --------------------------------------------------------------------------------------------------------- formats
def to_markdown(ablation: Ablation) -> str:
    """The tables for GitHub and the like."""
    return _standing(ablation, "md", lambda lines: "\n".join(f"- {line}" for line in lines) + "\n")


def to_text(ablation: Ablation) -> str:
    """The tables for a terminal."""
    return _standing(ablation, "txt", lambda lines: "\n".join(lines) + "\n")


def _standing(ablation: Ablation, how: Format, listed: Callable[[list[str]], str]) -> str:
    tables = [replace(_table(ablation, name), reading="").as_text(how) for name in ablation.tests]
    return "\n".join([*tables, listed([*reading(ablation), *ablation.absent, *ablation.remarks])])


def to_latex(ablation: Ablation) -> str:
    """The tables for a paper; they need `\\usepackage{booktabs}`."""
    tables = (_table(ablation, name).as_text("tex") for name in ablation.tests)
    return "\n".join(["% \\usepackage{booktabs}", *tables])


def tidy(ablation: Ablation) -> pd.DataFrame:
    """All figures, unrounded, a row for each configuration, test and score; shares are in [0, 1].

    Columns: a key each, `test`, `score`, `seeds`, `mean`, `deviation`, `baseline`, and of the difference to it
    `difference`, `low`, `high`, `p`, `common_seeds`, `agreeing_seeds`.
    """
    rows = []
    for cell in ablation.cells:
        for test, scores in cell.scores.items():
            for name, spread in scores.items():
                change = cell.changes.get(test, {}).get(name)
                row: dict[str, object] = {key: _value(value) for key, value in cell.values.items()}
                row |= {"test": test, "score": name, "seeds": len(cell.seeds)}
                row |= {"mean": spread.mean, "deviation": spread.deviation, "baseline": cell.baseline}
                if change is not None:
                    found = change.difference
                    row |= {"difference": found.value, "low": found.low, "high": found.high, "p": found.p}
                    row |= {"common_seeds": len(change.seeds), "agreeing_seeds": change.agreeing()}
                rows.append(row)
    return pd.DataFrame(rows).astype({"seeds": "Int64"})


def as_json(ablation: Ablation) -> dict[str, Any]:
    """All that is known, for programs."""
    cells = [
        {
            "name": cell.name,
            "configuration": dict(cell.values),
            "seeds": cell.seeds,
            "baseline": cell.baseline,
            "scores": {
                test: {
                    name: {"mean": found.mean, "deviation": found.deviation, "by_seed": dict(found.by_seed)}
                    for name, found in scores.items()
                }
                for test, scores in cell.scores.items()
            },
            "differences": {
                test: {
                    name: asdict(change.difference) | {"by_seed": dict(change.seeds), "agreeing": change.agreeing()}
                    for name, change in changes.items()
                }
                for test, changes in cell.changes.items()
            },
        }
        for cell in ablation.cells
    ]
    tests = {
        name: {"title": test.title, "images": len(test.predictions), "expected": test.expected}
        for name, test in ablation.tests.items()
    }
    whole = {"schema_version": SCHEMA_VERSION, "keys": ablation.keys, "tests": tests, "configurations": cells}
    return whole | {"absent": ablation.absent, "remarks": ablation.remarks}


def to_page(ablation: Ablation) -> str:
    """One HTML page with everything inside."""
    panels = ablation.panels()
    sections = [(name, test, images_in_words(test), _table(ablation, name)) for name, test in ablation.tests.items()]
    return render(
        "ablation.html.jinja",
        title=f"{len(ablation.cells)} configurations, {sum(len(cell.seeds) for cell in ablation.cells)} runs",
        keys=ablation.keys,
        sections=sections,
        panels=panels,
        lines=[(model_colour(number), number >= MODEL_COLOURS, name) for number, name in enumerate(_lines(ablation))],
        reading=reading(ablation),
        absent=ablation.absent,
        remarks=ablation.remarks,
    )


def reading(ablation: Ablation) -> list[str]:
    """How the tables are to be read, a sentence each."""
    sentences = ["Figures are means over seeds ± their standard deviation; the best mean of each column is marked."]
    bases = list(dict.fromkeys(cell.baseline for cell in ablation.cells))
    if any(cell.changes for cell in ablation.cells):
        whose = bases[0] if len(bases) == 1 else "the baseline with the same other values: " + "; ".join(bases)
        sentences += [
            f"Differences are to {whose}.",
            "They pair runs of equal seed and the same images: errors are averaged over the common seeds, and the 95 % "
            "interval draws people anew (bootstrap). It holds for these trained networks; how training scatters is "
            "said by the standard deviation and by how many seeds agree on the sign.",
        ]
        if any(len(one.seeds) == 1 for cell in ablation.cells for c in cell.changes.values() for one in c.values()):
            sentences.append("A difference of a single seed may be chance of training.")
    return sentences


# ------------------------------------------------------------------------------------------------- table as text
def _table(ablation: Ablation, test: str) -> TextTable:
    scores = [s for s in COLUMNS if any(math.isfinite(cell.scores[test][s.name].mean) for cell in ablation.cells)]
    compared = [score for score in scores if any(score.name in cell.changes.get(test, {}) for cell in ablation.cells)]
    rows = []
    for cell in ablation.cells:
        texts = [text_table.Cell(text) for text in (*_values(ablation, cell), str(len(cell.seeds)))]
        for score in scores:
            found = cell.scores[test][score.name]
            spread = f"± {score.text(found.deviation)}" if math.isfinite(found.deviation) else ""
            texts.append(text_table.Cell(score.text(found.mean), spread))
        rows.append(Row([*texts, *(_change_text(cell, test, score) for score in compared)]))
    columns = [
        *(Column(key, number=False) for key in ablation.keys),
        Column("seeds"),
        *(Column(score.heading, score.group) for score in scores),
        *(Column(_SHORT[score.name], "Less the baseline's") for score in compared),
    ]
    whole, images = ablation.tests[test], images_in_words(ablation.tests[test])
    title, text = f"{test}: {whole.title}", " ".join(reading(ablation))
    better = [*[None] * (len(ablation.keys) + 1), *(rising(score.name) for score in scores), *[None] * len(compared)]
    return TextTable(
        columns, [Block(mark_best(rows, better))], title, images, text, label=f"ablation-{tex_label(test)}"
    )


def _values(ablation: Ablation, cell: Cell) -> list[str]:
    return [_value(cell.values[key]) for key in ablation.keys]


def _change_text(cell: Cell, test: str, score: Score) -> text_table.Cell:
    if cell.baseline == cell.name:
        return text_table.Cell("baseline", verdict="tie")
    change = cell.changes[test].get(score.name)
    if change is None:
        return text_table.Cell("no common seed", verdict="tie")
    found = change.difference
    better = (found.value > 0) == rising(score.name)
    verdict = "tie" if not change.sure() else "better" if better else "worse"
    seeds = f"{change.agreeing()}/{len(change.seeds)} seeds"
    about: tuple[str, ...] = (seeds,)
    if math.isfinite(found.low):
        about = (f"{_signed(score, found.low)} to {_signed(score, found.high)}", f"p {p_value(found.p)}, {seeds}")
    return text_table.Cell(_signed(score, found.value), about=about, verdict=verdict)


def _signed(score: Score, value: float) -> str:
    text = score.text(value)
    return f"+{text}" if value > 0 and text != score.text(0.0) else text


_SHORT = {"mae": "MAE, degrees", "pair_order": "pairs, %"}


# ---------------------------------------------------------------------------------------------------- statistics
def _changes(group: RunCell, base: RunCell, test: str) -> dict[str, Change]:
    seeds = [seed for seed in group.runs if seed in base.runs]
    if not seeds:
        return {}
    own, others = ([cell.runs[seed] for seed in seeds] for cell in (group, base))
    _, _, identity = own[0].tests[test].poses()
    found = {"mae": paired_bootstrap(_errors(own, test), _errors(others, test), identity.numpy())}
    ordered, right_own = _right_pairs(own, test)
    _, right_others = _right_pairs(others, test)
    if ordered.any():
        # as many entries for a person as there are pairs: the means are then the shares of all pairs
        counts = ordered.astype(int)
        own_share, other_share = (np.repeat(right / counts.clip(1), counts) for right in (right_own, right_others))
        found["pair_order"] = paired_bootstrap(own_share, other_share, np.repeat(np.arange(len(counts)), counts))
    return {
        name: Change(
            difference,
            {
                seed: one.tests[test].scores[name] - other.tests[test].scores[name]
                for seed, one, other in zip(seeds, own, others, strict=True)
            },
        )
        for name, difference in found.items()
    }


def _errors(runs: Sequence[Run], test: str) -> np.ndarray:
    """(N,) absolute error of an image, mean of the angles and of the runs, degrees."""
    errors = [
        image_scores(prediction, target)["mae"] for prediction, target, _ in (r.tests[test].poses() for r in runs)
    ]
    return np.asarray(np.mean([error.numpy() for error in errors], axis=0))


def _right_pairs(runs: Sequence[Run], test: str) -> tuple[np.ndarray, np.ndarray]:
    """(I,) ordered pairs of each identity, and (I,) how many of them are right, the mean of the runs."""
    totals = [identity_totals(*run.tests[test].poses())["pair_order"] for run in runs]
    return totals[0].denominator.numpy(), np.mean([total.numerator.numpy() for total in totals], axis=0)


def baselines_of(groups: Sequence[RunCell], keys: Sequence[str], wanted: Mapping[str, str] | None) -> list[RunCell]:
    """The baseline of each configuration; `wanted` as `make_ablation` takes it.

    Raises:
        ConfigError: a baseline that is none or not a single one.
    """
    if wanted is None:
        return [groups[0]] * len(groups)
    text = ",".join(f"{key}={value}" for key, value in wanted.items())
    unknown = [key for key in wanted if key not in keys]
    if unknown:
        raise ConfigError(
            f"--baseline {text}: {unknown[0]} does not differ between these runs; what differs is "
            f"{', '.join(keys) or 'nothing'}."
        )
    # what is shown as a dash is typed as null
    typed = {key: NO_VALUE if value == "null" else value for key, value in wanted.items()}
    fitting = [group for group in groups if all(_value(group.values[k]) == v for k, v in typed.items())]
    if not fitting:
        raise ConfigError(
            f"--baseline {text}: no configuration is this; there are {'; '.join(_name(g.values) for g in groups)}."
        )
    if len(fitting) == 1:
        return fitting * len(groups)
    return [_own_baseline(group, fitting, wanted, text) for group in groups]


def _own_baseline(group: RunCell, fitting: Sequence[RunCell], wanted: Mapping[str, str], text: str) -> RunCell:
    if group in fitting:
        return group
    # what the baseline does not have, such as the weight of a term that it lacks, cannot tell it apart
    differing = {
        id(one): [k for k, v in one.values.items() if k not in wanted and v is not None and v != group.values[k]]
        for one in fitting
    }
    alike = [one for one in fitting if not differing[id(one)]] or [
        # where none is alike, the baseline's own settings below a named key may differ, such as its unit
        one
        for one in fitting
        if all(any(key.startswith(f"{name}.") for name in wanted) for key in differing[id(one)])
    ]
    if len(alike) != 1:
        raise ConfigError(
            f"--baseline {text}: describes {len(fitting)} configurations, {len(alike)} of them with the other values "
            f"of {_name(group.values)}; name more keys."
        )
    return alike[0]


def _absent(groups: Sequence[RunCell], keys: Sequence[str], found: Found) -> list[str]:
    """A sentence for each run that failed, and for each seed that others have and a configuration lacks."""
    sentences = [
        f"{shown(failure.folder)} gives no figures: {failure.reason.rstrip('.')}." for failure in found.failures
    ]
    every = sorted({seed for group in groups for seed in group.runs})
    for group in groups:
        lacking = [str(seed) for seed in every if seed not in group.runs]
        if lacking:
            word = "seeds" if len(lacking) > 1 else "seed"
            sentences.append(f"{_name(group.values)} lacks {word} {', '.join(lacking)}.")
    finished = {repr(list(group.values.values())) for group in groups}
    for config in (failure.config for failure in found.failures if failure.config is not None):
        values = {key: config.get(key) for key in keys}
        if repr(list(values.values())) not in finished:
            finished.add(repr(list(values.values())))
            sentences.append(f"{_name(values)} has no finished run, and so no row.")
    return sentences


def _name(values: Mapping[str, Value]) -> str:
    """A configuration in words: what is chosen by a group's name stands without it."""
    parts = [
        _value(value) if "." not in key and isinstance(value, str) else f"{key}={_value(value)}"
        for key, value in values.items()
        if value is not None
    ]
    return " ".join(parts) or "the configuration"


def _value(value: Value) -> str:
    """A value as it is typed on a command line."""
    if value is None:
        return NO_VALUE
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, list):
        return f"[{','.join(map(_value, value))}]"
    return str(value)


# -------------------------------------------------------------------------------------------------------- figures
def _weight(cell: Cell) -> float:
    """0 where the loss has no ranking term: it is the same loss."""
    weight = cell.values.get(WEIGHT)
    return 0.0 if weight is None else as_number(weight)


def _lines(ablation: Ablation) -> dict[str, list[Cell]]:
    """Configurations that differ by the weight alone, by name; one without ranking term begins each that it fits."""
    lines: dict[str, list[Cell]] = {}
    shared = {id(cell): {k: v for k, v in cell.values.items() if k != WEIGHT} for cell in ablation.cells}
    for cell in ablation.cells:
        if cell.values.get(WEIGHT) is not None:
            lines.setdefault(_name(shared[id(cell)]), []).append(cell)
    for cell in (cell for cell in ablation.cells if cell.values.get(WEIGHT) is None):
        for line in lines.values():
            other = shared[id(line[0])]
            if all(v is None or v == other[k] for k, v in shared[id(cell)].items() if k != "loss"):
                line.append(cell)
    return {name: sorted(line, key=_weight) for name, line in lines.items()}


def _panel(ablation: Ablation, test: str, score: Score, weights: Sequence[float]) -> Panel:
    figure, axes = new_panel()
    place = {weight: number for number, weight in enumerate(weights)}
    unit = 100 if score.percent else 1
    lines = _lines(ablation)
    for number, line in enumerate(lines.values()):
        style = model_style(number)
        aside = 0.12 * (number - (len(lines) - 1) / 2) / max(1, len(lines) - 1)  # dots of several lines stay apart
        for cell in line:
            values = [unit * value for value in cell.scores[test][score.name].by_seed.values()]
            at = [place[_weight(cell)] + aside] * len(values)
            axes.plot(at, values, "o", color=style["color"], markersize=4, markeredgewidth=0, alpha=0.45)
        means = [unit * cell.scores[test][score.name].mean for cell in line]
        axes.plot([place[_weight(cell)] + aside for cell in line], means, **(style | {"marker": None}))
    axes.set_xticks(range(len(weights)), [f"{weight:g}" for weight in weights])
    axes.set_xlim(-0.3, len(weights) - 0.7)
    axes.margins(y=0.12)
    axes.set_xlabel("rank weight")
    axes.set_ylabel("degrees" if score.name == "mae" else "%")
    title = "Mean absolute error" if score.name == "mae" else "Same-person pairs in the right order"
    return to_panel(figure, title, test)
