"""How does a signal stop a run? Which ones do, with which exit code, and what they do outside of training."""

import logging
import os
import signal
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

from rankpose.run.directory import first_process, shown
from rankpose.run.keys import typed

log = logging.getLogger(__name__)

SIGNALS = ("SIGTERM", "SIGUSR1", "SIGUSR2", "SIGINT")
"""Those that stop a run; a system that lacks one goes without."""
TRY_AGAIN = 75
"""EX_TEMPFAIL of sysexits.h."""


class Stopped(SystemExit):
    """The run was told to stop and can go on: ends the process with the given code."""

    def __init__(self, message: str, code: int) -> None:
        super().__init__(code)
        self.message = message


@contextmanager
def stoppable(run: Path, signals: Sequence[str] = SIGNALS, exit_code: int = TRY_AGAIN) -> Iterator[None]:
    """Has a signal end at once what happens outside of training, and says how to go on with a run that was stopped.

    Args:
        run: its folder.
        signals: names of the signals; one that something else handles or ignores is left to that.
        exit_code: as of `KeepLast`, which takes the signals over while it can save what they stop.

    Raises:
        Stopped: by a signal.
    """

    def stop(number: int, frame: FrameType | None) -> None:
        if frame is not None:  # else it is `KeepLast` that calls, and ends the run itself
            only_once(number)
            raise Stopped(f"stopped by {signal.Signals(number).name}", exit_code)

    free = [number for number in known_signals(signals) if signal.getsignal(number) in _NOBODY]
    replaced = {number: signal.signal(number, stop) for number in free}
    try:
        yield
    except Stopped as stopped:
        if first_process():
            path = run / "checkpoints" / "last.ckpt"
            onward = f"go on: repeat the command with {typed('ckpt_path', shown(path))}"
            log.info("%s; %s", stopped.message, onward if path.is_file() else "nothing was saved before")
        raise
    finally:
        give_back(replaced, stop)


_NOBODY = (signal.SIG_DFL, signal.default_int_handler)
"""Who handles a signal that nobody has asked for."""


def known_signals(names: Sequence[str]) -> list[signal.Signals]:
    """The signals of these names that this system has."""
    return [one for one in signal.Signals if one.name in names]


def only_once(number: int) -> None:
    """Lets a second Ctrl-C end the process wherever it is."""
    if number == signal.SIGINT:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        # print fails where it was print that the signal interrupted
        os.write(2, b"\nstopping; Ctrl-C again ends at once\n")


def give_back(replaced: Mapping[signal.Signals, Any], own: Any) -> None:
    """Puts handlers back where `own` stands in their place."""
    for number, handler in replaced.items():
        if signal.getsignal(number) == own:
            signal.signal(number, handler)
