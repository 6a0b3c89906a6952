"""May a run go on, and is anything left of it to do?"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml  # type: ignore[import-untyped]

from rankpose.errors import ConfigError
from rankpose.run.directory import first_process, shown, started_together
from rankpose.run.keys import Kind, kind_of, under, without_copies
from rankpose.run.stored import CHOICES, as_stored, completed

_FREE = (Kind.PLACE, Kind.DISPLAY)
"""Kinds of keys that a resumed run may have otherwise without a word: they change nothing of what is trained."""
_FIXED = (Kind.SEED, Kind.DATA, Kind.SAMPLE, Kind.METHOD)
"""Those that decide which batches are still to come, or that a checkpoint brings along whatever is asked for."""


@dataclass(frozen=True)
class Onward:
    """What a run that goes on is about to do."""

    changes: list[str]
    """What it has otherwise than before, as `key=value (was value)`."""
    finished: bool
    """Whether nothing is left to do."""


def onward(run: Path, config_text: str, protocols: Sequence[str]) -> Onward:
    """Decides whether a run may go on with a configuration, and whether there is a need to.

    It is finished where it has been trained and tested, under these protocols as well, and is to train no longer. A
    process that Lightning starts for a run on many devices is told that it is not: it begins when the first one has
    decided to go on, and has written the new configuration.

    Args:
        run: its folder; one without `config.yaml` has nothing to compare with.
        config_text: the configuration now, as it is written to `config.yaml`.
        protocols: that it is to be tested under.

    Raises:
        ConfigError: names the first key that would give other batches than those still to come, or that would have no
            effect because the checkpoint restores it.
    """
    changes = _changes(run, config_text)
    if not started_together() and not first_process():
        return Onward(changes, False)
    results = [run, *(run / "evaluation" / protocol for protocol in protocols)]
    longer = any(kind_of(change.partition("=")[0]) == Kind.LENGTH for change in changes)
    return Onward(changes, not longer and all((folder / "metrics.json").is_file() for folder in results))


def _changes(run: Path, config_text: str) -> list[str]:
    """What it has otherwise than before, where that is allowed."""
    path = run / "config.yaml"
    if not path.is_file():
        return []
    texts = (path.read_text(encoding="utf-8"), config_text)
    stored, *_ = contents = [yaml.safe_load(text) or {} for text in texts]
    before, now = (without_copies(completed(as_stored(content))) for content in contents)
    if CHOICES not in stored:  # what an earlier version did not say is no change
        before |= {key: value for key, value in now.items() if under(key, [CHOICES]) and key != "choices.schedule"}
    changes = []
    for key in dict.fromkeys([*before, *now]):
        kind = kind_of(key)
        if kind in _FREE or before.get(key) == now.get(key):
            continue
        change = f"{key}={now.get(key)} (was {before.get(key)})"
        # all other schedules are laid out over the length of the run
        if kind in _FIXED or (kind == Kind.LENGTH and before.get("choices.schedule") != "constant"):
            raise ConfigError(
                f"{shown(run)} cannot go on with {change}: its checkpoint holds the optimizer, the schedule and the "
                "place in the order of batches. Repeat the overrides of its first start, or start a new run."
            )
        changes.append(change)
    return changes
