"""Ends a suite in which a test hangs, with its name.

pytest's own limit (`faulthandler_timeout`) shows where a test hangs. Could it end the test's process as well, the suite
would not end: pytest-xdist waits until the process's pipes are closed, and what the test has started holds them open.
"""

import os
import threading
import time

import psutil
import pytest

GRACE_S = 60
"""Seconds after pytest's own limit, in which it shows where the test is."""


class Watchdog:
    """Watches from the process that gives out the tests."""

    def __init__(self, limit: float) -> None:
        self.limit = limit
        self.began: dict[str, float] = {}
        # a test's output is captured; what ends the suite is for the reader
        self.stderr = os.dup(2)
        threading.Thread(target=self._watch, daemon=True).start()

    def pytest_runtest_logstart(self, nodeid):
        self.began[nodeid] = time.monotonic()

    def pytest_runtest_logfinish(self, nodeid):
        self.began.pop(nodeid, None)

    def pytest_runtest_logreport(self, report):
        if report.when == "???":  # xdist's word for a test whose process died
            self.began.pop(report.nodeid, None)

    def _watch(self) -> None:
        while True:
            time.sleep(min(self.limit, 5))
            late = [test for test, began in self.began.copy().items() if time.monotonic() - began > self.limit]
            if late:
                os.write(self.stderr, f"\nerror: ended after {self.limit:.0f} s of {', '.join(late)}\n".encode())
                for process in psutil.Process().children(recursive=True):
                    process.kill()
                os._exit(1)


def watch(config: pytest.Config, grace: float = GRACE_S) -> None:
    """Has the suite watched, unless this is one of its worker processes, or there is no limit."""
    limit = float(config.getini("faulthandler_timeout") or 0)
    if limit and not hasattr(config, "workerinput"):
        config.pluginmanager.register(Watchdog(limit + grace))
