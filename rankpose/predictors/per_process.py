"""What does not survive a fork or a pickle."""

import os
from collections.abc import Callable
from typing import Any, Generic, TypeVar

T = TypeVar("T")

_inherited: list[Any] = []


class PerProcess(Generic[T]):
    """Something that does not survive a fork or a pickle, such as a session with threads: made anew in each process.

    A copy that a fork left here is kept to the end, unused: its threads are in the parent alone, and to destroy it
    would wait for them for ever (seen of onnxruntime 1.32 with two threads, now and then).

    Args:
        make: makes it; can be pickled.
    """

    def __init__(self, make: Callable[[], T]) -> None:
        self._make = make
        self._made: tuple[int, T] | None = None

    def __call__(self) -> T:
        if self._made is not None and self._made[0] != os.getpid():
            _inherited.append(self._made)
            self._made = None
        if self._made is None:
            self._made = (os.getpid(), self._make())
        return self._made[1]

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_made": None}
