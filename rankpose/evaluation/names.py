"""What is a model called in tables and folders?"""

import re
from collections.abc import Iterable, Sequence
from itertools import takewhile

from rankpose.errors import ConfigError


def check_folder_name(key: str, name: str) -> None:
    """Raises `ConfigError` where a name of `model` or `protocol` cannot be that of a folder."""
    if not name or name.startswith(".") or _IN_NO_FOLDER.search(name):
        raise ConfigError(
            f"{key}={name!r}: is no name for a folder; give one without slashes that does not begin with a dot."
        )


_IN_NO_FOLDER = re.compile(r"[/\\\x00-\x1f]")


def distinct_names(models: Sequence[tuple[str, Sequence[str]]]) -> list[str]:
    """What models are called in tables and folders: by the part of their paths that tells them apart.

    Args:
        models: for each what it would be called alone, and the parts of its whole path.

    Returns:
        names of folders, no two of which differ by case alone.

    >>> distinct_names([("run", ["a", "run", "best"]), ("run", ["b", "run", "best"]), ("net", ["c", "net"])])
    ['a', 'b', 'net']
    >>> distinct_names([("run", ["a", "run", "best"]), ("run", ["a", "run", "last"])])
    ['best', 'last']
    """
    names = [_folder_name(short) for short, _ in models]
    for alike in _alike(names):
        for place, parts in zip(alike, _differing([models[place][1] for place in alike]), strict=True):
            names[place] = _folder_name("-".join(parts)) if parts else names[place]
    while groups := _alike(names):
        for alike in groups:
            for number, place in enumerate(alike[1:], start=2):
                names[place] += f"-{number}"
    return names


def _folder_name(text: str) -> str:
    return _IN_NO_FOLDER.sub("_", text).lstrip(".") or "model"


def _alike(names: Sequence[str]) -> list[list[int]]:
    """The places of each name that several have, upper and lower case being one to some file systems."""
    places: dict[str, list[int]] = {}
    for place, name in enumerate(names):
        places.setdefault(name.casefold(), []).append(place)
    return [group for group in places.values() if len(group) > 1]


def _differing(paths: Sequence[Sequence[str]]) -> list[list[str]]:
    """Paths without the parts at their beginnings and ends that all have in common."""
    rests = [path[_in_common(paths) :] for path in paths]
    ended = _in_common([rest[::-1] for rest in rests])
    return [list(rest[: len(rest) - ended]) for rest in rests]


def _in_common(paths: Iterable[Sequence[str]]) -> int:
    """With how many equal parts all paths begin."""
    return sum(1 for _ in takewhile(lambda parts: len(set(parts)) == 1, zip(*paths, strict=False)))
