"""How work on many images is spread over processes, without surprises for who starts them.

Imports OpenCV only where it works: a command that asks for the number of cores answers at once.
"""

import contextlib
import ctypes
import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from types import ModuleType
from typing import Any

from rankpose.errors import DatasetError

Mapped = Callable[[Callable[..., Any], Iterable[Any]], Iterator[Any]]
_SIGNALS = {
    getattr(signal, name)
    for name in ("SIGINT", "SIGTERM", "SIGUSR1", "SIGUSR2")
    if hasattr(signal, "sigwaitinfo")  # Linux; elsewhere nobody could tell who has sent one
}
"""What a scheduler or a terminal sends to all processes at once, and what only the first of them is to answer."""


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
        import cv2

        threads = cv2.getNumThreads()
        cv2.setNumThreads(1)
        try:
            yield map
        finally:
            cv2.setNumThreads(threads)
        return
    others = set(multiprocessing.active_children())
    try:
        # Started afresh: a copy of a process that has used CUDA or threads may hang.
        pool = ProcessPoolExecutor(count, multiprocessing.get_context("spawn"), _start)
        with _without_main(), signals_left_to_parent():
            for _ in range(count):  # each starts a process, as none is idle yet
                pool.submit(os.getpid)
    except OSError as error:
        raise DatasetError(f"worker processes cannot be started ({error}): use workers=1.") from error
    try:
        with _sigterm_as_exit():
            yield lambda function, items: pool.map(function, items, chunksize=chunk)
    except BaseException as error:
        # Killed: a SIGTERM of ours is lost where that of a whole group, which they ignore, still waits to be looked at,
        # as in one that is importing; and the pool would wait for it for ever.
        for process in set(multiprocessing.active_children()) - others:
            process.kill()
        if isinstance(error, BrokenProcessPool):
            told = "a worker process was killed, perhaps for want of memory: use fewer workers."
            raise DatasetError(told) from error
        raise
    finally:
        pool.shutdown(cancel_futures=True)


@contextlib.contextmanager
def _sigterm_as_exit() -> Iterator[None]:
    """Where nobody handles SIGTERM it ends this process as Ctrl-C would, by way of all that cleans up."""
    if threading.current_thread() is not threading.main_thread() or signal.getsignal(signal.SIGTERM) != signal.SIG_DFL:
        yield
        return
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


@contextlib.contextmanager
def signals_left_to_parent() -> Iterator[None]:
    """Processes started meanwhile leave signals to this one; each is to call `heed_parent` as it begins.

    Blocked and not ignored, so that there is no moment at which one of them could end by a signal, and the parent's own
    `terminate()` counts. torch's handler of SIGCHLD, which raises wherever this process happens to be, is not kept: who
    waits for a process's batch finds that it has gone.
    """
    child_handler = signal.getsignal(signal.SIGCHLD) if _SIGNALS else None
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS) if _SIGNALS else ()
    try:
        yield
    finally:
        if _SIGNALS:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
            if signal.getsignal(signal.SIGCHLD) is not child_handler:
                signal.signal(signal.SIGCHLD, child_handler or signal.SIG_DFL)


def heed_parent() -> None:
    """Has this process, started within `signals_left_to_parent`, end when its parent terminates it."""
    if _SIGNALS:
        threading.Thread(target=_wait_for_parent, daemon=True).start()


def _wait_for_parent() -> None:
    while True:
        told = signal.sigwaitinfo(_SIGNALS)
        if told.si_signo == signal.SIGTERM and told.si_pid == os.getppid():
            os._exit(0)


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
    import cv2

    cv2.setNumThreads(1)
    heed_parent()
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
