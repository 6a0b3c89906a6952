"""What does an evaluation leave behind? A page, the same figures for papers, sheets and programs, and the predictions.

The test that ends a training is an evaluation like any other, under the protocol `held_out`. All files are written
first and put in place at the end, so that what fails leaves no half of a report.
"""

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from rankpose.evaluation.differences import ModelDifference
from rankpose.evaluation.scores import Evaluation
from rankpose.evaluation.stored import METRICS, Failure, as_json, check_distinct, place_of
from rankpose.files import json_text, write_whole
from rankpose.report.main_table import Published, differences_table, main_table, published_figures, tidy_scores
from rankpose.report.page import alignment_table, evaluation_page, robustness_scores, title_of
from rankpose.report.robustness import robustness_curves
from rankpose.report.tables import check_predictions
from rankpose.report.text_table import TextTable, table_of


def write_results(
    folder: Path,
    evaluations: Sequence[Evaluation],
    compared: Sequence[ModelDifference] = (),
    *,
    title: str | None = None,
    notes: Sequence[str] = (),
    config_text: str | None = None,
    failures: Sequence[Failure] = (),
    curves: pd.DataFrame | None = None,
    flat: Mapping[str, float] | None = None,
) -> Path:
    """Writes `report.html`, `tables.md`, `tables.tex`, `tables.csv`, `metrics.json` and the predictions.

    The predictions of a single evaluation are `predictions.parquet`; those of several are in `MODEL/PROTOCOL/`, and of
    corrupted images in `MODEL/PROTOCOL/CORRUPTION_STRENGTH/`. Either all files are put in place or none.

    Args:
        folder: made where it does not exist; files of the same names are replaced.
        evaluations: of any models, protocols and corruptions, in the order in which they are shown.
        compared: as `rankpose.evaluation.differences.differences` gives them.
        title: of the page; by default it says which models under which protocols.
        notes: one paragraph each, plain text.
        config_text: the configuration, shown on the page as it is.
        failures: what else was asked for.
        curves: of the training that the test ends.
        flat: scores by key as they are logged, which stand in `metrics.json` beside all else.

    Returns:
        The path of the page.

    Raises:
        ConfigError: there is nothing to report, or the same model twice under one protocol.
        ValueError: predictions that lack a column or have no rows.
    """
    check_distinct(evaluations)
    for one in evaluations:
        check_predictions(one.predictions)
    papers = published_figures()
    title = title_of(evaluations) if title is None else title
    content = as_json(evaluations, compared, failures) | {"title": title, "notes": list(notes)} | dict(flat or {})
    latex = [table.as_text("tex") for table in _tables(evaluations, papers)]
    files: dict[str, str | bytes] = {
        METRICS: json_text(content),
        "tables.csv": tidy_scores(evaluations, papers).to_csv(index=False),
        "tables.md": tables_as_markdown(evaluations, compared, papers, failures),
        "tables.tex": "% \\usepackage{booktabs}\n" + "\n".join(latex),
    }
    for one in evaluations:
        files[str(place_of(one, evaluations))] = one.predictions.to_parquet(index=False)
    files["report.html"] = evaluation_page(
        folder,
        evaluations,
        compared,
        papers,
        title=title,
        notes=notes,
        config_text=config_text,
        failures=failures,
        curves=curves,
    )
    _put(folder, files)
    return folder / "report.html"


def tables_as_markdown(
    evaluations: Sequence[Evaluation],
    compared: Sequence[ModelDifference],
    papers: Mapping[str, Sequence[Published]],
    failures: Sequence[Failure] = (),
) -> str:
    """The tables of the page as one Markdown text."""
    parts = [f"Failed: {failure}\n" for failure in failures]
    for protocol, group in _by_protocol(evaluations).items():
        clean = [one for one in group if one.strength == 0]
        if clean:
            parts.append(main_table(clean, papers).as_text("md"))
            pairs = [pair for pair in compared if pair.protocol == protocol]
            if pairs:
                parts += ["Paired differences, degrees:\n", table_of(differences_table(pairs)).as_text("md")]
            parts += ["The constant rotation between predictions and labels, degrees:\n"]
            parts += [table_of(alignment_table(clean)).as_text("md")]
            remarks = dict.fromkeys(remark for one in clean for remark in one.remarks)
            parts += [f"{remark[:1].upper()}{remark[1:]}\n" for remark in remarks]
        if any(one.strength for one in group):
            curves = robustness_curves(robustness_scores(group))
            parts += [f"### {protocol}: mean absolute error by strength of corruption, degrees\n"]
            parts += [table_of(curves.table).as_text("md")]
    return "\n".join(parts)


def _tables(evaluations: Sequence[Evaluation], papers: Mapping[str, Sequence[Published]]) -> list[TextTable]:
    groups = ([one for one in group if one.strength == 0] for group in _by_protocol(evaluations).values())
    return [main_table(group, papers) for group in groups if group]


def _by_protocol(evaluations: Sequence[Evaluation]) -> dict[str, list[Evaluation]]:
    groups: dict[str, list[Evaluation]] = {}
    for one in evaluations:
        groups.setdefault(one.protocol, []).append(one)
    return groups


def _put(folder: Path, files: Mapping[str, str | bytes]) -> None:
    """Writes all files beside the folder, then moves each to its place."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".new.", dir=folder.parent) as beside:
        for name, content in files.items():
            write_whole(Path(beside, name), content)
        for name in files:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            Path(beside, name).replace(folder / name)
