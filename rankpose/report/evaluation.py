"""What does an evaluation leave behind? A page, the same figures for papers, sheets and programs, and the predictions.

All files are written first and put in place at the end, so that what fails leaves no half of a report.
"""

import json
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from rankpose.evaluation.scored import Evaluation, Failure, ModelDifference, as_json, check_distinct
from rankpose.files import write_whole
from rankpose.report.evaluation_page import alignment_table, evaluation_page, robustness_scores
from rankpose.report.main_table import (
    MainTable,
    Published,
    differences_table,
    main_table,
    published_figures,
    tidy_scores,
    to_latex,
    to_markdown,
)
from rankpose.report.robustness import robustness_curves
from rankpose.report.tables import check_predictions
from rankpose.report.tables import to_markdown as frame_to_markdown


def write_evaluation_report(
    folder: Path,
    evaluations: Sequence[Evaluation],
    compared: Sequence[ModelDifference] = (),
    *,
    title: str | None = None,
    notes: Sequence[str] = (),
    config_text: str | None = None,
    failures: Sequence[Failure] = (),
) -> Path:
    """Writes `report.html`, `tables.md`, `tables.tex`, `tables.csv`, `metrics.json` and the predictions.

    The predictions of a single evaluation are `predictions.parquet`; those of several are in `MODEL/PROTOCOL/`, and of
    corrupted images in `MODEL/PROTOCOL/CORRUPTION_STRENGTH/`. Either all files are put in place or none.

    Args:
        folder: made where it does not exist; files of the same names are replaced.
        evaluations: of any models, protocols and corruptions, in the order in which they are shown.
        compared: as `rankpose.evaluation.scored.differences` gives them.
        title: of the page; by default it says which models under which protocols.
        notes: one paragraph each, plain text.
        config_text: the configuration, shown on the page as it is.
        failures: what else was asked for.

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
    files: dict[str, str | bytes] = {
        "metrics.json": json.dumps(as_json(evaluations, compared, failures), indent=2, sort_keys=True, allow_nan=False)
        + "\n",
        "tables.csv": tidy_scores(evaluations, papers).to_csv(index=False),
        "tables.md": tables_as_markdown(evaluations, compared, papers, failures),
        "tables.tex": "% \\usepackage{booktabs}\n" + "\n".join(map(to_latex, _tables(evaluations, papers))),
    }
    for one in evaluations:
        place = _place(one) if len(evaluations) > 1 else Path()
        files[str(place / "predictions.parquet")] = one.predictions.to_parquet(index=False)
    files["report.html"] = evaluation_page(
        folder,
        evaluations,
        compared,
        papers,
        title=_title(evaluations) if title is None else title,
        notes=notes,
        config_text=config_text,
        failures=failures,
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
            parts.append(to_markdown(main_table(clean, papers)))
            pairs = [pair for pair in compared if pair.protocol == protocol]
            if pairs:
                parts += ["Paired differences, degrees:\n", frame_to_markdown(differences_table(pairs))]
            parts += ["The constant rotation between predictions and labels, degrees:\n"]
            parts += [frame_to_markdown(alignment_table(clean))]
            remarks = dict.fromkeys(remark for one in clean for remark in one.remarks)
            parts += [f"{remark[:1].upper()}{remark[1:]}\n" for remark in remarks]
        if any(one.strength for one in group):
            curves = robustness_curves(robustness_scores(group))
            parts += [f"### {protocol}: mean absolute error by strength of corruption, degrees\n"]
            parts += [frame_to_markdown(curves.table)]
    return "\n".join(parts)


def _tables(evaluations: Sequence[Evaluation], papers: Mapping[str, Sequence[Published]]) -> list[MainTable]:
    groups = ([one for one in group if one.strength == 0] for group in _by_protocol(evaluations).values())
    return [main_table(group, papers) for group in groups if group]


def _by_protocol(evaluations: Sequence[Evaluation]) -> dict[str, list[Evaluation]]:
    groups: dict[str, list[Evaluation]] = {}
    for one in evaluations:
        groups.setdefault(one.protocol, []).append(one)
    return groups


def _place(one: Evaluation) -> Path:
    place = Path(one.model, one.protocol)
    return place if one.corruption is None else place / f"{one.corruption}_{one.strength}"


def _title(evaluations: Sequence[Evaluation]) -> str:
    models, protocols = (list(dict.fromkeys(getattr(one, key) for one in evaluations)) for key in ("model", "protocol"))
    who = " and ".join(models) if len(models) < 3 else f"{len(models)} models"
    where = f"protocol {protocols[0]}" if len(protocols) == 1 else f"{len(protocols)} protocols"
    return f"{who} under {where}"


def _put(folder: Path, files: Mapping[str, str | bytes]) -> None:
    """Writes all files beside the folder, then moves each to its place."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{folder.name}.", dir=folder.parent) as beside:
        for name, content in files.items():
            write_whole(Path(beside, name), content)
        for name in files:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            Path(beside, name).replace(folder / name)
