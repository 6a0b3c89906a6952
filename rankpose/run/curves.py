"""The curves of a run as files: a kill costs none of them, and those before and after an interruption become one.

Lightning's CSV logger starts a file of its own, `curves/version_N/metrics.csv`, whenever a run goes on.
"""

import csv
import io
from pathlib import Path
from typing import Any

import pandas as pd
from pytorch_lightning.loggers import CSVLogger
from pytorch_lightning.loggers.csv_logs import ExperimentWriter
from pytorch_lightning.loggers.logger import rank_zero_experiment

from rankpose.files import write_whole


class CurveLogger(CSVLogger):
    """Lightning's CSV logger, whose file is never half rewritten when a new column comes up."""

    @property
    @rank_zero_experiment
    def experiment(self) -> Any:
        if self._experiment is None:
            Path(self.root_dir).mkdir(parents=True, exist_ok=True)
            self._experiment = _Writer(log_dir=self.log_dir)
        return self._experiment


class _Writer(ExperimentWriter):
    def _rewrite_with_new_header(self, fieldnames: list[str]) -> None:
        path = Path(self.metrics_file_path)
        with path.open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        text = io.StringIO(newline="")
        writer = csv.DictWriter(text, fieldnames=fieldnames)
        writer.writeheader()
        writer.writerows(rows)
        write_whole(path, text.getvalue())


def gather_curves(run: Path) -> pd.DataFrame | None:
    """Joins what the CSV logger wrote before and after each interruption into `metrics.csv`.

    Steps that were done again after a resume count once, as done last. A line that a killed run left unfinished does
    not count.
    """
    parts = sorted((run / "curves").glob("version_*/metrics.csv"), key=lambda path: int(path.parent.name.split("_")[1]))
    curves: pd.DataFrame | None = None
    for path in parts:
        text = path.read_text(encoding="utf-8")
        whole = text[: text.rfind("\n") + 1]
        if not whole:
            continue
        part = pd.read_csv(io.StringIO(whole))
        if curves is None:
            curves = part
        elif len(part):
            curves = pd.concat([curves[curves["step"] < part["step"].min()], part], ignore_index=True)
    if curves is not None:
        write_whole(run / "metrics.csv", curves.to_csv(index=False))
    return curves


def lowest(run: Path, name: str) -> float | None:
    """The least value of a curve of a finished run; None where there is no such curve."""
    path = run / "metrics.csv"
    table = pd.read_csv(path) if path.is_file() else pd.DataFrame()
    return float(table[name].min()) if name in table else None
