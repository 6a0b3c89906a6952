"""How is a key of a nested configuration named and found? As on the command line, with dots: `loss.weight`."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any


def flat(content: Mapping[Any, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """The leaves of a plain configuration with their keys, in its order; what is empty is a leaf."""
    for name, value in content.items():
        if isinstance(value, Mapping) and value:
            yield from flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def under(key: str, groups: Iterable[str]) -> bool:
    """Whether a key is one of some, or below one of them."""
    return any(key == group or key.startswith(f"{group}.") for group in groups)
