"""`make test` itself: what dies or hangs in a test ends the run with the test's name, nothing is left waiting."""

import shlex
import subprocess
import sys

import pytest
from commands import PROJECT

pytestmark = pytest.mark.slow
DIES = """
import os, pathlib, signal, time

def test_dies():
    while not pathlib.Path("others_are_under_way").exists():
        time.sleep(0.01)
    os.kill(os.getpid(), signal.SIGKILL)

def test_after():
    pass
"""
FINE = """
import pathlib, pytest

@pytest.mark.parametrize("number", range(4))
def test_fine(number):
    pathlib.Path("others_are_under_way").touch()
"""


HANGS = """
import os, pathlib, time

def test_hangs():
    while not pathlib.Path("others_are_under_way").exists():
        time.sleep(0.01)
    if not os.fork():  # holds the pipes of the process open
        time.sleep(10_000)
    time.sleep(10_000)
"""
WATCHED = """
import sys
sys.path.insert(0, {tests!r})
from watchdog import watch

def pytest_configure(config):
    watch(config, grace=5)
"""


def suite(folder, bad, *options):
    """What `make test` runs, of three files of quick tests and a bad one; over when all that it started is."""
    made = subprocess.run(["make", "-n", "test"], cwd=PROJECT, capture_output=True, text=True, check=True)
    (command,) = [line for line in made.stdout.splitlines() if " -m pytest " in line]
    _, *arguments = shlex.split(command)
    (folder / "pytest.ini").touch()
    (folder / "conftest.py").write_text(WATCHED.format(tests=str(PROJECT / "tests")))
    (folder / "test_bad.py").write_text(bad)
    for number in range(3):
        (folder / f"test_fine_{number}.py").write_text(FINE)
    arguments = [sys.executable, *arguments, *options]
    return subprocess.run(arguments, cwd=folder, capture_output=True, text=True, timeout=2400, check=False)


def test_a_test_that_dies_ends_the_suite_with_its_name(tmp_path):
    done = suite(tmp_path, DIES)
    assert done.returncode == 1, done.stdout[-3000:]
    assert "crashed while running 'test_bad.py::test_dies'" in done.stdout


def test_a_test_that_hangs_ends_the_suite_with_its_name_and_place(tmp_path):
    done = suite(tmp_path, HANGS, "-o", "faulthandler_timeout=20")
    assert done.returncode == 1, done.stdout[-3000:]
    assert "in test_hangs" in done.stderr
    assert "s of test_bad.py::test_hangs" in done.stderr
