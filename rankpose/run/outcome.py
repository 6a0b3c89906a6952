"""How did a run end, and how does one of a sweep stand? The words that `run.json` and the note of a sweep's run share.

The note lies in the run's folder, for its sweep, later trials and `rankpose.compare`: runs of a sweep may be in other
processes or on other machines, and what they know of each other is what lies on the disk.
"""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Literal

from rankpose.errors import one_line, user_error
from rankpose.files import write_whole

NAME = "outcome.json"
FAILURE = "failure.txt"
"""Beside it, where a run failed: a user's mistake in one line, or a traceback."""

State = Literal["running", "finished", "pruned", "stopped", "failed"]
_OLD_WORDS = {"done": "finished"}
"""Of earlier versions."""


@dataclass
class Outcome:
    """A run of a sweep, as far as it has come."""

    number: int
    overrides: list[str]
    """What the sweep chose for it, as on the command line."""
    state: State = "running"
    """`running` is also what a run says that was killed."""
    value: float | None = None
    """The best validation metric, degrees; None before there is one."""
    reason: str | None = None
    """Why it has no test, in one line."""
    validations: dict[int, float] = field(default_factory=dict)
    """The metric by epoch; only where trials are pruned."""


class Pruned(Exception):
    """A run ended early because trials before it were better at the same epoch.

    Args:
        message: when, and at what.
        best: its best metric until then.
    """

    def __init__(self, message: str, best: float) -> None:
        super().__init__(message)
        self.best = best


def ended_by(error: BaseException) -> tuple[State, str]:
    """How a run ends that an exception leaves, and why in one line."""
    if isinstance(error, Pruned):
        return "pruned", str(error)
    if isinstance(error, SystemExit | KeyboardInterrupt):
        return "stopped", str(getattr(error, "message", type(error).__name__))
    mistake = user_error(error)
    return "failed", f"error: {mistake}" if mistake else f"{type(error).__name__}: {one_line(error)}"


def read(folder: Path) -> Outcome | None:
    """A run's note; None where the folder is not that of a run of a sweep."""
    try:
        content = json.loads((folder / NAME).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    content["state"] = _OLD_WORDS.get(content["state"], content["state"])
    content["validations"] = {int(epoch): value for epoch, value in content["validations"].items()}
    return Outcome(**content)


def write(folder: Path, outcome: Outcome) -> None:
    """Leaves the note; never half of one."""
    write_whole(folder / NAME, json.dumps(asdict(outcome), indent=2))


def of_sweep(sweep: Path) -> dict[Path, Outcome]:
    """The notes of all runs that a sweep has begun, by folder, in the order of their numbers."""
    found = {path.parent: read(path.parent) for path in sweep.glob(f"**/{NAME}")}
    known = {folder: outcome for folder, outcome in found.items() if outcome is not None}
    return dict(sorted(known.items(), key=lambda item: item[1].number))
