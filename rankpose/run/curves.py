"""The curves of a run as a table: those before and after an interruption become one, in `metrics.csv`.

Lightning's CSV logger starts a file of its own, `curves/version_N/metrics.csv`, whenever a run goes on.
"""

import io
from pathlib import Path

import pandas as pd

from rankpose.files import write_whole


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


def read_curves(run: Path) -> pd.DataFrame | None:
    """The curves of a finished run; None where it has none."""
    try:
        return pd.read_csv(run / "metrics.csv")
    except (FileNotFoundError, pd.errors.EmptyDataError):  # a logger that logged nothing leaves an empty file
        return None


def lowest(run: Path, name: str) -> float | None:
    """The least value of a curve of a finished run; None where there is no such curve."""
    table = read_curves(run)
    return None if table is None or name not in table else float(table[name].min())
