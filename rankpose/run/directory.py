"""Where a run lives: a new folder, or the folder of the run that goes on."""

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from rankpose.errors import CheckpointError, ConfigError, DatasetError, TrainingError, user_error
from rankpose.files import NO_ROOM, no_room_for
from rankpose.run.keys import typed


@contextmanager
def opened(output_dir: str, ckpt_path: str | None) -> Iterator[tuple[Path, str | None]]:
    """The run's folder and the checkpoint to go on from, if any.

    A checkpoint in a run's `checkpoints` folder goes on in that run's folder, in which half-written files of a killed
    run are removed. A folder that Hydra made for a run that came to nothing is removed.

    Args:
        output_dir: the folder that Hydra made.
        ckpt_path: None for a new run; a path; `last`: of `output_dir`, else of the newest run beside it; `auto`: of
            `output_dir` where there is one, else a new run there.

    Raises:
        CheckpointError: no such checkpoint.
        ConfigError: the folder holds another run already.
    """
    made = Path(output_dir)
    try:
        checkpoint = _find(made, ckpt_path)
        if checkpoint is None:
            if ckpt_path is None and (made / "checkpoints").exists() and first_process():
                raise ConfigError(
                    f"{shown(made)} holds a run already: go on with "
                    f"{typed('ckpt_path', shown(made / 'checkpoints' / 'last.ckpt'))}, or choose another hydra.run.dir."
                )
            run = made
        else:
            run = checkpoint.parent.parent if checkpoint.parent.name == "checkpoints" else made
        if first_process():
            _remove_leftovers(run)
        yield run, None if checkpoint is None else str(checkpoint)
    finally:
        if made.is_dir() and not any(made.iterdir()):
            made.rmdir()


def _find(made: Path, ckpt_path: str | None) -> Path | None:
    if ckpt_path is None:
        return None
    own = made / "checkpoints" / "last.ckpt"
    if ckpt_path not in ("last", "auto"):
        path = Path(str(ckpt_path)).resolve()
        if not path.is_file():
            raise CheckpointError(f"ckpt_path={ckpt_path}: no such file.")
        return path
    if own.is_file():
        return own.resolve()
    if ckpt_path == "auto":
        return None
    others = sorted(made.parent.parent.glob("*/*/checkpoints/last.ckpt"), key=lambda path: path.stat().st_mtime)
    if not others:
        raise CheckpointError(
            f"ckpt_path=last: no run in {shown(made.parent.parent)} has a checkpoint yet; give its path, or start "
            "without."
        )
    return others[-1].resolve()


def _remove_leftovers(run: Path) -> None:
    """Temporary files of killed processes: `.NAME.PID`, as `rankpose.files.write_whole` names them."""
    for folder in (run, run / "checkpoints"):
        for path in folder.glob(".*.*"):
            if path.suffix[1:].isdigit():
                path.unlink(missing_ok=True)


def first_process() -> bool:
    """Whether this is the first of the processes that Lightning, torchrun or srun has started."""
    return all(os.environ.get(name, "0") == "0" for name in ("RANK", "LOCAL_RANK", "NODE_RANK", "SLURM_PROCID"))


_STARTERS = (("torchrun", "TORCHELASTIC_RUN_ID", "WORLD_SIZE"), ("srun", "SLURM_STEP_ID", "SLURM_NTASKS"))
"""What starts all processes of a run at once, the variable by which it shows, and that of how many they are."""


def started_together() -> bool:
    """Whether torchrun or srun has started this process, perhaps with others, rather than Lightning or nobody."""
    return any(mark in os.environ for _, mark, _ in _STARTERS)


def check_agreed(given: bool) -> None:
    """Raises where torchrun or srun has started several processes and each would name a folder after its own time.

    Args:
        given: whether `hydra.run.dir` is on the command line, which is the same for all.

    Raises:
        ConfigError: as said.
    """
    for starter, mark, count in _STARTERS:
        processes = os.environ.get(count, "1")
        if mark in os.environ and processes != "1" and not given:
            raise ConfigError(
                f"{starter} has started {processes} processes, each of which would name the run's folder after its own "
                "time: give hydra.run.dir=runs/NAME, a folder that all of them see."
            )


def check_folders(folders: Iterable[Path]) -> None:
    """Raises `DatasetError` where the folder of a run or of a sweep is none."""
    for folder in folders:
        if not folder.is_dir():
            raise DatasetError(f"{folder}: no such folder; give the folder of a run or of a sweep.")


def check_writable(out: Path) -> None:
    """Raises `ConfigError` where a folder could not be made or written to once all work is done."""
    there = next(folder for folder in (out.absolute(), *out.absolute().parents) if folder.exists())
    if not there.is_dir():
        raise ConfigError(f"out={out}: {there} is a file; name a folder.")
    if not os.access(there, os.W_OK):
        raise ConfigError(f"out={out}: {there} cannot be written to; name another folder with out=.")


def shown(path: str | Path) -> str:
    """A path as a user would type it: relative to the working directory where it lies below that."""
    path = Path(path).resolve()
    text = str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)
    # a command would take it for an option, or for the home folder
    return f"./{text}" if text[0] in "-~" else text


def last_good(run: Path) -> str:
    """The end of a message about a run that failed: which checkpoint stands."""
    path = run / "checkpoints" / "last.ckpt"
    return f"the last good checkpoint is {shown(path)}" if path.is_file() else "no checkpoint was written before"


def no_room(run: Path, what: str, error: OSError) -> TrainingError:
    """The error of a file that found no room.

    Args:
        run: the run's folder.
        what: the file, and how large it is where that is known.
        error: one with a number of `NO_ROOM`.
    """
    return TrainingError(
        f"{shown(run)}: {no_room_for(what, run, error)}; {last_good(run)}. Make room, then repeat the command with "
        "ckpt_path=auto and the same folder."
    )


@contextmanager
def telling_no_room(run: Path) -> Iterator[None]:
    """Turns a full disk met by whatever writes into a run's folder into one line.

    Raises:
        TrainingError: instead of the `OSError`.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in NO_ROOM:
            raise
        # leaving a record of the failure may have failed in its turn
        what = shown(error.filename) if error.filename else "its files"
        raise user_error(error) or no_room(run, what, error) from error
