"""The notebooks run from top to bottom, and what is kept in them is what they show."""

import re
import sys

import nbformat
import pytest
from commands import PROJECT

sys.path.insert(0, str(PROJECT / "docs" / "site"))
from notebooks import digest, executed, shown

NOTEBOOKS = sorted((PROJECT / "notebooks").glob("*.ipynb"))


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_it_shows_what_its_code_gave(path):
    kept = nbformat.read(path, as_version=4)
    assert kept.metadata.get("shows") == digest(kept), "its code was changed: make notebooks"
    assert path.stat().st_size < 300_000
    said = str([cell.get("outputs") for cell in kept.cells])
    assert not re.search(r"/(home|root|work|Users)/", said)
    assert sum(kinds.count("picture") for kinds in shown(kept)) == 3  # each draws as many


@pytest.mark.long
@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook_runs(path, tmp_path):
    assert shown(executed(path, tmp_path)) == shown(nbformat.read(path, as_version=4))
