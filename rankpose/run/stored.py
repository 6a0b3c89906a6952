"""How does a configuration lie on a disk? By its choices, so that a module may move and what is stored stays true.

`choices` says `loss: rank_mse`; the classes that a choice's file in `conf/` names are left out, all values stand beside
it. A class of somebody else's, or one of ours where no choice names it, is stored as it is.
"""

import re
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from rankpose.files import CONFIG_DIR, read_yaml
from rankpose.run.keys import LEARNT, flat

CHOICES = "choices"


def to_store(content: Mapping[str, Any], choices: Mapping[str, str]) -> dict[str, Any]:
    """A configuration as it is stored.

    Args:
        content: plain, as it was composed.
        choices: group to choice. Where the class that a group has was given in another way, as by an experiment, the
            choice that names it is stored instead. What is chosen for another place is named with it, as Hydra does:
            `data@data.sources.renders`.
    """
    kept = dict(choices)
    for group in choices:
        part = content.get(group)
        target = part.get("_target_") if isinstance(part, Mapping) else None
        if _is_ours(target) and _name(target) not in _classes(group, choices[group]):
            others = [one for one in _files(group) if _name(_leaves_of(group, one).get("_target_")) == _name(target)]
            if others:
                kept[group] = others[0]
    named = {name for group, choice in kept.items() for name in _classes(group, choice)}
    return {CHOICES: kept, **_without(content, named)}


def as_stored(content: Mapping[str, Any]) -> dict[str, Any]:
    """What was read from `config.yaml`, as it would be stored now: one of an earlier version has no choices."""
    if CHOICES in content:
        return dict(content)
    parts = {group: part for group, part in content.items() if isinstance(part, Mapping) and _files(group)}
    return to_store(content, {group: _nearest(group, part) for group, part in parts.items()})


def completed(content: Mapping[str, Any]) -> dict[str, Any]:
    """A stored configuration, flat, with what an earlier version had no key for.

    What is learnt, and the top level, are as the files in `conf/` say today where nothing else is said.
    """
    choices = content.get(CHOICES, {})
    today = dict(read_yaml(Path(CONFIG_DIR, "train.yaml")))
    for group in LEARNT:
        leaves = _leaves_of(group, choices[group]) if group in choices else {}
        today |= {
            f"{group}.{key}": value for key, value in leaves.items() if not key.endswith(("_target_", "_partial_"))
        }
    plain = {key: value for key, value in today.items() if not isinstance(value, Mapping | list)}
    known = dict(flat(content))
    return known | {key: value for key, value in plain.items() if key not in known and "${" not in str(value)}


def _nearest(group: str, part: Mapping[str, Any]) -> str:
    """The choice that says most of what a part of a configuration says."""
    leaves = _told(dict(flat(part)))

    def agreement(choice: str) -> int:
        said = _told(_leaves_of(group, choice))
        return len(said & leaves) - len(said - leaves)

    return max(_files(group), key=agreement)


def _told(leaves: Mapping[str, Any]) -> set[tuple[str, str]]:
    return {(key, _name(value) if key.endswith("_target_") else repr(value)) for key, value in leaves.items()}


def _without(content: Any, named: set[str]) -> Any:
    if isinstance(content, Mapping):
        ours = _is_ours(content.get("_target_")) and _name(content["_target_"]) in named
        left_out = ("_target_", "_partial_") if ours else ()
        return {key: _without(value, named) for key, value in content.items() if key not in left_out}
    return [_without(one, named) for one in content] if isinstance(content, list) else content


@cache
def _files(group: str) -> list[str]:
    return sorted(path.stem for path in Path(CONFIG_DIR, group).glob("*.yaml"))


@cache
def _classes(group: str, choice: str) -> frozenset[str]:
    """The names of all classes in a choice's file, at any depth."""
    return frozenset(_named(_leaves_of(group, choice)))


def _named(content: Any) -> Iterator[str]:
    for key, value in content.items() if isinstance(content, Mapping) else enumerate(content):
        if str(key).endswith("_target_"):
            yield _name(value)
        elif isinstance(value, Mapping | list):
            yield from _named(value)


@cache
def _leaves_of(group: str, choice: str) -> dict[str, Any]:
    """A choice's file, over those that its defaults name; flat."""
    path = Path(CONFIG_DIR, group.partition("@")[0], f"{choice}.yaml")  # data@data.sources.renders is one of data
    own = read_yaml(path) if path.is_file() else {}
    leaves: dict[str, Any] = {}
    for other_group, other in _defaults(own):
        leaves |= _leaves_of(other_group or group, other)
    return leaves | dict(flat({key: value for key, value in own.items() if key != "defaults"}))


def _defaults(own: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for one in own.get("defaults", ()):
        for place in [f"{key}/{value}" for key, value in one.items()] if isinstance(one, Mapping) else [one]:
            found = re.fullmatch(r"(?:/?(\w+)/)?(\w+)(?:@_here_)?", place)
            if found and found[2] != "_self_":
                yield found[1] or "", found[2]


def _name(target: Any) -> str:
    return str(target).rpartition(".")[2]


def _is_ours(target: Any) -> bool:
    return str(target).startswith(("rankpose.", "hydra_plugins.rankpose."))
