"""What was this run told, and is it one of a sweep? Names for places where many runs stand side by side.

A run of a sweep is named by what differs within the sweep, a single run by its main choices; both end with the seed.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from rankpose.files import read_yaml
from rankpose.run.keys import Kind, kind_of

MAIN = ("experiment", "data", "backbone", "representation", "loss")
"""Groups whose choices name a single run."""
_UNTOLD = (Kind.PLACE, Kind.DISPLAY, Kind.MACHINE, Kind.SEED)
"""Kinds of keys that say where, how often and with what display a run ran, not what it was."""
_LONGEST = 120
"""Letters of a name; W&B takes 128."""


@dataclass(frozen=True)
class Job:
    """The command line of one run, taken apart."""

    choices: Mapping[str, str] = field(default_factory=dict)
    """Group to choice, for groups with a choice: `loss` to `rank_mse`."""
    overrides: Sequence[str] = ()
    """`KEY=VALUE`, of a sweep those of this run."""
    sweep: Path | None = None
    """The sweep's folder; None for a single run."""

    @property
    def group(self) -> str | None:
        """The sweep's name: that of its folder, with the date where the folder is named by a time."""
        if self.sweep is None:
            return None
        parts = self.sweep.resolve().parts
        return " ".join(parts[-2:] if re.fullmatch(r"\d\d-\d\d-\d\d", parts[-1]) else parts[-1:])

    @property
    def variant(self) -> str:
        """What the run is, seed aside: the same for runs that differ by their seed alone."""
        own = [override for override in self.overrides if not _is_place(override)]
        if self.sweep is not None:
            common = _common(self.sweep)
            differing = [override for override in own if override not in common]
            if differing:
                return _cut(" ".join(differing))
        chosen = [self.choices[group] for group in MAIN if group in self.choices]
        return _cut(" ".join([*chosen, *(override for override in own if _key(override) not in self.choices)]))

    def name(self, seed: int) -> str:
        """Of the run, as lists show it."""
        return f"{self.variant} seed={seed}".strip()


def _common(sweep: Path) -> set[str]:
    """Overrides that all runs of a sweep have alike, where the sweep's folder can be seen from here."""
    try:
        hydra = read_yaml(sweep / "multirun.yaml")["hydra"]
        params = hydra.get("sweeper", {}).get("params") or {}
        return {*hydra["overrides"]["task"], *(f"{key}={value}" for key, value in params.items())}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return set()  # other sweepers than Hydra's own write no such file


def _key(override: str) -> str:
    return override.lstrip("+~").partition("=")[0].partition("@")[0]


def _is_place(override: str) -> bool:
    return kind_of(_key(override).replace("/", ".")) in _UNTOLD


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST - 12 else text[: _LONGEST - 15] + "..."
