"""What happens around the runs of a sweep: a failed one does not stop the others, and the end says how each went."""

import csv
import functools
import io
import logging
import multiprocessing
import shlex
import signal
import sys
import traceback
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path
from types import FrameType
from typing import Any, ClassVar

from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.plugins import Plugins
from hydra.experimental.callback import Callback
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf, read_write

from rankpose.command.configuration import output_dir, told
from rankpose.command.hydra_private import context, product, sweeps_one_product
from rankpose.data.pool import usable_cores
from rankpose.errors import ConfigError, user_error
from rankpose.files import write_whole
from rankpose.run import outcome
from rankpose.run.directory import shown
from rankpose.run.keys import assignment, literal
from rankpose.run.outcome import FAILURE, Outcome
from rankpose.run.stopping import SIGNALS, TRY_AGAIN, Stopped
from rankpose.sweep import hydra_plugin
from rankpose.sweep.grids import GridSweeper

log = logging.getLogger(__name__)

Job = Callable[[DictConfig], float | None]


def share_of_cores(runs: int) -> int:
    """The cores of each of so many runs side by side; -1 is as many as there are cores."""
    return max(1, usable_cores() // runs) if runs > 0 else 1


OmegaConf.register_new_resolver("share_of_cores", share_of_cores, replace=True)


def recorded(job: Job) -> Job:
    """Lets the runs of a sweep leave notes on how they went; an error becomes a `failure.txt`, and the others go on.

    A run that is finished already is not done again. A signal that stops a run ends the sweep.

    Returns:
        the job; in a sweep it gives its metric, None where it failed.

    Raises:
        ConfigError: the run's folder holds a run with other overrides.
    """

    @functools.wraps(job)
    def wrapper(config: DictConfig) -> float | None:
        hydra = HydraConfig.get()
        if hydra.mode != RunMode.MULTIRUN:
            return job(config)
        if Announce.stopped:
            return None
        if multiprocessing.get_start_method() == "loky":
            # joblib's way of starting processes, which is not for those of torch's loaders: back to the default
            multiprocessing.set_start_method(multiprocessing.get_all_start_methods()[0], force=True)
        folder = Path(output_dir())
        own = Outcome(hydra.job.num, _what(told(hydra)))
        before = outcome.read(folder)
        if before is not None:
            if before.overrides != own.overrides:
                raise ConfigError(
                    f"{shown(folder)} holds the run of {_said(before)}, not of {_said(own)}: go on with the command "
                    "that began the sweep, or choose another hydra.sweep.dir."
                )
            if before.state in ("finished", "pruned"):
                log.info("%s is %s already", shown(folder), before.state)
                return before.value
            own.validations = before.validations
        (folder / FAILURE).unlink(missing_ok=True)
        outcome.write(folder, own)
        try:
            with _alone(hydra):
                value = job(config)
        except Exception as error:
            mistake = user_error(error)
            said = f"error: {mistake}" if mistake is not None else "".join(traceback.format_exception(error)).rstrip()
            write_whole(folder / FAILURE, f"{said}\n")
            print(said, file=sys.stderr)
            return _leave(folder, own, error)
        except BaseException as stop:
            _leave(folder, own, stop)
            if multiprocessing.parent_process() is None:
                raise
            # joblib would kill the runs beside it, which are saving still
            Announce.stopped = True
            return None
        ended = outcome.read(folder)
        if ended is not None and ended.state == "pruned":
            return ended.value
        return _leave(folder, own, value=value)

    return wrapper


@contextmanager
def _alone(hydra: Any) -> Iterator[None]:
    """Has Lightning start further processes of a run, as for DDP, with the command of this run, not of the sweep."""
    main: Any = sys.modules["__main__"]
    kept = sys.argv[1:], main.__spec__, hydra.run.dir
    # a launcher's own process was started as another module
    sys.argv[1:], main.__spec__ = told(hydra), find_spec("rankpose.train")
    with read_write(hydra):
        hydra.run.dir = literal(output_dir())
        try:
            yield
        finally:
            sys.argv[1:], main.__spec__, hydra.run.dir = kept


def _leave(folder: Path, own: Outcome, error: BaseException | None = None, value: float | None = None) -> float | None:
    latest = outcome.read(folder) or own
    latest.state, latest.reason = ("finished", None) if error is None else outcome.ended_by(error)
    latest.value = latest.value if value is None else value
    outcome.write(folder, latest)
    return latest.value


def _what(overrides: Sequence[str]) -> list[str]:
    """Overrides without the word on whether to go on."""
    return [override for override in overrides if not override.startswith("ckpt_path=")]


def _said(run: Outcome) -> str:
    return " ".join(run.overrides) or "the defaults"


class Announce(Callback):
    """Hydra's callback that says at the start of a sweep, in its folder, what is swept; `reported` ends it."""

    sweep: ClassVar[DictConfig | None] = None
    """The configuration of the sweep that this process has begun."""
    planned: ClassVar[int] = 0
    """How many runs it is to have."""
    stopped: ClassVar[bool] = False
    """Whether a signal has ended it: this process begins no further run."""

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        for part in ("sweeper", "launcher"):
            plugin = str(config.hydra[part]._target_).rpartition(".")[0]
            if plugin != hydra_plugin.PLACE and not _installed(plugin):
                choice = config.hydra.runtime.choices[f"hydra/{part}"]
                sys.exit(f"error: hydra/{part}={choice} is not installed: pip install 'rankpose[sweeps]'.")
        folder = Path(config.hydra.sweep.dir)
        if outcome.of_sweep(folder) and config.ckpt_path != "auto":
            sys.exit(
                f"error: {shown(folder)} holds a sweep already: go on with ckpt_path=auto, or choose another "
                "hydra.sweep.dir."
            )
        write_whole(folder / "multirun.yaml", OmegaConf.to_yaml(config))
        for name in SIGNALS:
            if hasattr(signal, name):
                signal.signal(getattr(signal, name), _end)
        Announce.sweep, Announce.planned = config, _planned(config)


def _end(number: int, frame: FrameType | None) -> None:
    if frame is None:
        return  # `rankpose.callbacks.keep_last.KeepLast` calls, to say that it ends the run itself
    if number == signal.SIGINT:
        signal.signal(number, signal.SIG_DFL)
    Announce.stopped = True
    runs = [one for one in multiprocessing.active_children() if type(one).__module__.startswith("joblib.")]
    for run in runs:
        run.terminate()  # which a run takes for SIGTERM: it saves, and then the launcher returns
    if not runs:
        raise Stopped(f"stopped by {signal.Signals(number).name}", _exit_code())


def _exit_code() -> int:
    code = OmegaConf.select(Announce.sweep, "callbacks.last.exit_code") if Announce.sweep is not None else None
    return TRY_AGAIN if code is None else int(code)


def _installed(module: str) -> bool:
    with suppress(ModuleNotFoundError):
        return find_spec(module) is not None
    return False


def _planned(config: DictConfig) -> int:
    if "n_trials" in config.hydra.sweeper:
        return int(config.hydra.sweeper.n_trials)
    asked = context()
    sweeper = Plugins.instance().instantiate_sweeper(config=config, hydra_context=asked, task_function=_planned)
    parser = OverridesParser.create(config_loader=asked.config_loader)
    given = told(config.hydra)
    if isinstance(sweeper, GridSweeper):
        return len(sweeper.runs(parser.parse_overrides(given)))
    if not sweeps_one_product(sweeper):
        return 0
    swept = [f"{key}={value}" for key, value in (config.hydra.sweeper.params or {}).items()]
    return len(product(parser.parse_overrides(swept + given)))


def reported(main: Callable[[], None]) -> Callable[[], None]:
    """Ends a sweep with how its runs went, in `runs.csv` and on the screen.

    The exit code is that of a stopped run where a signal has ended it, else 1 where a run has failed.
    """

    @functools.wraps(main)
    def wrapper() -> None:
        try:
            main()
        except BaseException as error:
            runs = report()
            if isinstance(error, Exception) and Announce.stopped:
                sys.exit(_exit_code())  # joblib misses a process that ended before its run began
            # a search in which every trial has failed ends with an error that says nothing more
            if isinstance(error, Exception) and runs and all(run.state == "failed" for run in runs):
                sys.exit(1)
            raise
        states = {run.state for run in report()}
        if Announce.stopped or "stopped" in states:
            sys.exit(_exit_code())
        if states - {"finished", "pruned"}:
            sys.exit(1)

    return wrapper


def report() -> list[Outcome]:
    """Tells and writes how the runs of this process's sweep went; without a sweep there are none."""
    if Announce.sweep is None:
        return []
    sweep = Path(Announce.sweep.hydra.sweep.dir)
    found = outcome.of_sweep(sweep)
    common = set.intersection(*(set(run.overrides) for run in found.values())) if len(found) > 1 else set()
    own = {folder: " ".join(one for one in run.overrides if one not in common) for folder, run in found.items()}
    rows = [
        {
            "number": run.number,
            "state": run.state,
            "val/mae": run.value,
            "folder": str(folder.relative_to(sweep)),
            "overrides": own[folder],
            "reason": run.reason,
        }
        for folder, run in found.items()
    ]
    text = io.StringIO()
    columns = ("number", "state", "val/mae", "folder", "overrides", "reason")
    table = csv.DictWriter(text, columns, lineterminator="\n")
    table.writeheader()
    table.writerows(rows)
    write_whole(sweep / "runs.csv", text.getvalue())
    states = Counter(_NAMES.get(run.state, run.state) for run in found.values())
    missing = max(0, Announce.planned - len(found))
    counts = [f"{count} {state}" for state, count in states.items()] + [f"{missing} not begun"] * bool(missing)
    print(f"\n{shown(sweep)}: {', '.join(counts)}; runs.csv there lists them")
    for folder, run in found.items():
        if run.state not in ("finished", "pruned"):
            why = run.reason or "it was killed, or is running still"
            print(f"{_NAMES.get(run.state, run.state)}: #{run.number} {own[folder]} ({shown(folder)}): {why}")
    if states["finished"]:
        print(f"compare them: python -m rankpose.compare {shlex.quote(shown(sweep))}")
    if states.total() + missing > states["finished"] + states["pruned"]:
        print(f"go on, without what is finished: {_again(sweep)}")
    sys.stdout.flush()
    return list(found.values())


_NAMES = {"running": "not finished"}


def _again(sweep: Path) -> str:
    """The command that does what is left of a sweep."""
    given = [one for one in sys.argv[1:] if not one.startswith(("hydra.sweep.dir=", "ckpt_path="))]
    # all keys must stand together, which those given do
    first = next((place for place, one in enumerate(given) if "=" in one and one[0] != "-"), len(given))
    given[first:first] = [assignment("hydra.sweep.dir", shown(sweep)), "ckpt_path=auto"]
    return shlex.join(["python", "-m", "rankpose.train", *given])
