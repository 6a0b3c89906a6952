"""How work on many images is spread over processes, without surprises for who starts them."""

import contextlib
import ctypes
import multiprocessing
import os
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from types import ModuleType
from typing import Any

import cv2

from rankpose.errors import DatasetError

Mapped = Callable[[Callable[..., Any], Iterable[Any]], Iterator[Any]]


def usable_cores() -> int:
    """How many cores this process may use: RANKPOSE_CORES, which runs side by side are given, else all there are."""
    if os.environ.get("RANKPOSE_CORES"):
        return max(1, int(float(os.environ["RANKPOSE_CORES"])))
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@contextlib.contextmanager
def workers(count: int | None, most: int, chunk: int = 1) -> Iterator[Mapped]:
    """A `map` that keeps the order and works in other processes, or here where one is enough.

    Args:
        count: processes; None takes one a core.
        most: no more than this, as there is no more to do.
        chunk: items handed over at a time.

    Raises:
        DatasetError: from the map, where a process was killed.
    """
    count = max(1, min(count or usable_cores(), most))
    if count == 1:
        threads = cv2.getNumThreads()
        cv2.setNumThreads(1)
        try:
            yield map
        finally:
            cv2.setNumThreads(threads)
        return
    # Started afresh: a copy of a process that has used CUDA or threads may hang.
    pool = ProcessPoolExecutor(count, multiprocessing.get_context("spawn"), _start)
    try:
        with _without_main():
            for _ in range(count):  # each starts a process, as none is idle yet
                pool.submit(os.getpid)
        yield lambda function, items: pool.map(function, items, chunksize=chunk)
    except BrokenProcessPool as error:
        raise DatasetError("a worker process was killed, perhaps for want of memory: use fewer workers.") from error
    finally:
        pool.shutdown(cancel_futures=True)


@contextlib.contextmanager
def _without_main() -> Iterator[None]:
    """Processes started meanwhile do not import the program that starts them, a trainer of a gigabyte perhaps."""
    main = sys.modules["__main__"]
    sys.modules["__main__"] = ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main


def _start() -> None:
    """One thread a process; and end with the parent, or processes whose parent was killed would wait for ever."""
    cv2.setNumThreads(1)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    keep_freed_memory()


def keep_freed_memory() -> None:
    """Keeps the memory of freed arrays in this process: each large one costs page faults anew, a tenth of the time."""
    with contextlib.suppress(OSError, AttributeError):  # only glibc has it
        allocator = ctypes.CDLL(None)
        trim_threshold, mmap_threshold = -1, -3
        allocator.mallopt(mmap_threshold, 1 << 28)
        allocator.mallopt(trim_threshold, 1 << 28)


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
