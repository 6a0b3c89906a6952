"""Where a run lives: a new folder, or the folder of the run that goes on."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pandas as pd

from rankpose.errors import CheckpointError, ConfigError
from rankpose.files import write_whole


@contextmanager
def opened(output_dir: str, ckpt_path: str | None) -> Iterator[tuple[Path, str | None]]:
    """The run's folder and the checkpoint to go on from, if any.

    A checkpoint in a run's `checkpoints` folder goes on in that run's folder. A folder that Hydra made for a run that
    came to nothing is removed.

    Args:
        output_dir: the folder that Hydra made.
        ckpt_path: None for a new run; a path; or `last`: of `output_dir`, else of the newest run beside it.

    Raises:
        CheckpointError: no such checkpoint.
        ConfigError: the folder holds another run already.
    """
    made = Path(output_dir)
    try:
        checkpoint = _find(made, ckpt_path)
        if checkpoint is None:
            if (made / "checkpoints").exists() and _first_process():
                raise ConfigError(
                    f"{shown(made)} holds a run already: go on with ckpt_path={shown(made)}/checkpoints/last.ckpt, or "
                    "choose another hydra.run.dir."
                )
            yield made, None
        else:
            run = checkpoint.parent.parent if checkpoint.parent.name == "checkpoints" else made
            yield run, str(checkpoint)
    finally:
        if made.is_dir() and not any(made.iterdir()):
            made.rmdir()


def _find(made: Path, ckpt_path: str | None) -> Path | None:
    if ckpt_path is None:
        return None
    if ckpt_path != "last":
        path = Path(ckpt_path).resolve()
        if not path.is_file():
            raise CheckpointError(f"ckpt_path={ckpt_path}: no such file.")
        return path
    own = made / "checkpoints" / "last.ckpt"
    if own.is_file():
        return own.resolve()
    others = sorted(made.parent.parent.glob("*/*/checkpoints/last.ckpt"), key=lambda path: path.stat().st_mtime)
    if not others:
        raise CheckpointError(
            f"ckpt_path=last: no run in {shown(made.parent.parent)} has a checkpoint yet; give its path, or start "
            "without."
        )
    return others[-1].resolve()


def _first_process() -> bool:
    return os.environ.get("LOCAL_RANK", "0") == "0" and os.environ.get("NODE_RANK", "0") == "0"


def shown(path: str | Path) -> str:
    """A path as a user would type it: relative to the working directory where it lies below that."""
    path = Path(path).resolve()
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)


def gather_curves(run: Path) -> pd.DataFrame | None:
    """Joins what the CSV logger wrote before and after each interruption into `metrics.csv`.

    Steps that were done again after a resume count once, as done last.
    """
    parts = sorted((run / "curves").glob("version_*/metrics.csv"), key=lambda path: int(path.parent.name.split("_")[1]))
    curves: pd.DataFrame | None = None
    for path in parts:
        part = pd.read_csv(path)
        if curves is None:
            curves = part
        elif len(part):
            curves = pd.concat([curves[curves["step"] < part["step"].min()], part], ignore_index=True)
    if curves is not None:
        write_whole(run / "metrics.csv", curves.to_csv(index=False))
    return curves
