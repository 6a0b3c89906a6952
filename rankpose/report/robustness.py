"""How fast does each model get worse as its images get worse? A table and a panel a corruption.

The scores come as a tidy table, a row for each model, corruption and strength: `model`, `corruption`, `strength` (0 is
clean, 1 to 5) and a column for each score. Columns `SCORE_low` and `SCORE_high`, where there are any, are the ends of
its interval. The clean images are the same for every corruption, so a model's row of strength 0 is wanted once.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from rankpose.data.corruption import KINDS, STRENGTHS
from rankpose.report.panels import Panel, model_style, new_panel, to_panel, up_to_a_tick

CLEAN = "clean"
"""What strength 0 is called, and what the corruption of its row may be called."""

_ALL = (0, *STRENGTHS)


@dataclass(frozen=True)
class RobustnessCurves:
    """One score of several models under several corruptions."""

    table: pd.DataFrame
    """A row for each corruption and model: `corruption`, `model`, `clean`, `1` to `5`, `mean` (of 1 to 5) and `added`
    (mean minus clean). Where there are several corruptions, rows `all` hold the means over them. NaN where one of the
    values behind a figure is missing."""
    panels: list[Panel]
    """A panel a corruption, a line a model, all on one scale."""


def robustness_curves(
    scores: pd.DataFrame,
    score: str = "mae",
    label: str = "mean absolute error, degrees",
    numbers: Mapping[str, int] | None = None,
    about: str = "",
) -> RobustnessCurves:
    """Score against strength.

    Args:
        scores: see the module. Models and corruptions keep the order in which they first appear.
        score: the column to show.
        label: what it is, with its unit, as the panels say it.
        numbers: of models, which decide how their lines look (`panels.model_style`); by default in their order.
        about: on which data, where a page shows several.

    Raises:
        ValueError: a column is missing, there is no corrupted row, a strength is not 0 to 5, or there are two scores
            for the same.
    """
    spread = _complete(scores, score)
    top = 1.05 * float(np.nanmax(spread.to_numpy(), initial=0.0)) or 1.0  # room for the highest mark
    if numbers is None:
        numbers = {model: number for number, model in enumerate(scores["model"].unique())}
    panels = [
        _panel_of(lines.reset_index(), score, label, f"Robustness: {_spoken(str(corruption))}", top, numbers, about)
        for corruption, lines in spread.groupby(level="corruption", sort=False)
    ]
    return RobustnessCurves(_table(spread[score]), panels)


def strength_table() -> pd.DataFrame:
    """What each strength of each corruption is: `corruption`, `1` to `5` and `unit`."""
    rows = [
        {"corruption": _spoken(kind)}
        | {str(strength): f"{value:g}" for strength, value in zip(STRENGTHS, levels.values, strict=True)}
        | {"unit": levels.unit}
        for kind, levels in KINDS.items()
    ]
    return pd.DataFrame(rows)


def _complete(scores: pd.DataFrame, score: str) -> pd.DataFrame:
    """A row for every corruption, model and strength (the index), the clean ones repeated; NaN where there is none."""
    keys = ["corruption", "model", "strength"]
    missing = [column for column in (*keys, score) if column not in scores.columns]
    if missing:
        raise ValueError(f"the scores lack the column(s) {', '.join(missing)}")
    strange = set(scores["strength"]) - set(_ALL)
    if strange:
        raise ValueError(f"strengths are whole numbers from 0 to {STRENGTHS[-1]}, not {strange.pop()}")
    columns = [name for name in (score, f"{score}_low", f"{score}_high") if name in scores.columns]
    clean = scores["strength"] == 0
    corruptions = scores.loc[~clean, "corruption"].unique()
    if not len(corruptions):
        raise ValueError("the scores have no row of strength 1 or more")
    untouched = scores.loc[clean, ["model", "strength", *columns]].drop_duplicates()
    repeated = untouched.merge(pd.DataFrame({"corruption": corruptions}), how="cross")
    rows = pd.concat([repeated, scores.loc[~clean]])
    twice = rows[rows.duplicated(keys)]
    if len(twice):
        corruption, model, strength = twice.iloc[0][keys]
        raise ValueError(f"two scores of {model} on {f'{corruption} at strength {strength}' if strength else CLEAN}")
    everything = pd.MultiIndex.from_product([corruptions, scores["model"].unique(), _ALL], names=keys)
    return rows.set_index(keys)[columns].astype(float).reindex(everything)


def _table(series: pd.Series) -> pd.DataFrame:
    """See `RobustnessCurves`; the series has a value for every corruption, model and strength."""
    corruptions, models = (series.index.unique(level) for level in ("corruption", "model"))
    values = series.to_numpy().reshape(len(corruptions), len(models), len(_ALL))
    names = [_spoken(corruption) for corruption in corruptions]
    if len(corruptions) > 1:
        values, names = np.concatenate([values, values.mean(axis=0, keepdims=True)]), [*names, "all"]
    rows = pd.MultiIndex.from_product([names, models], names=["corruption", "model"])
    table = pd.DataFrame(values.reshape(-1, len(_ALL)), rows, [CLEAN, *map(str, STRENGTHS)])
    table["mean"] = table[[str(strength) for strength in STRENGTHS]].mean(axis=1, skipna=False)
    table["added"] = table["mean"] - table[CLEAN]
    return table.reset_index()


def _panel_of(
    lines: pd.DataFrame, score: str, label: str, title: str, top: float, numbers: Mapping[str, int], about: str
) -> Panel:
    """The panel of one corruption; `lines` has a row for every model and strength."""
    figure, axes = new_panel()
    for model in lines["model"].unique():
        line = lines[lines["model"] == model]
        style = model_style(numbers[model])
        axes.plot(line["strength"], line[score], label=str(model), **style)
        if {f"{score}_low", f"{score}_high"} <= set(line.columns):
            low, high = line[f"{score}_low"], line[f"{score}_high"]
            axes.fill_between(line["strength"], low, high, color=style["color"], alpha=0.16, linewidth=0)
    axes.set_xticks(_ALL, [CLEAN, *map(str, STRENGTHS)])
    axes.set_xlim(-0.15, STRENGTHS[-1] + 0.15)
    up_to_a_tick(axes, 5, top)
    axes.set_xlabel("strength")
    axes.set_ylabel(label)
    axes.legend(loc="upper left")
    return to_panel(figure, title, about)


def _spoken(kind: str) -> str:
    return "JPEG" if kind == "jpeg" else kind.replace("_", " ")
