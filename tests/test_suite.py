"""`make test` itself: what dies in a test ends the run with the test's name instead of leaving the rest waiting."""

import shlex
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow
PROJECT = Path(__file__).resolve().parent.parent
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


def test_a_test_that_dies_ends_the_suite_with_its_name(tmp_path):
    made = subprocess.run(["make", "-n", "test"], cwd=PROJECT, capture_output=True, text=True, check=True)
    (command,) = [line for line in made.stdout.splitlines() if " -m pytest " in line]
    _, *arguments = shlex.split(command)
    (tmp_path / "pytest.ini").touch()
    (tmp_path / "test_dies.py").write_text(DIES)
    for number in range(3):
        (tmp_path / f"test_fine_{number}.py").write_text(FINE)
    done = subprocess.run(
        [sys.executable, *arguments], cwd=tmp_path, capture_output=True, text=True, timeout=2400, check=False
    )
    assert done.returncode == 1, done.stdout[-3000:]
    assert "crashed while running 'test_dies.py::test_dies'" in done.stdout
