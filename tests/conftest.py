"""Where the real samples are, and small sets that tests share."""

import os
from pathlib import Path

# before torch is imported, here and in what tests start: as many processes as cores work already, and threads that wait
# for each other turn in a circle meanwhile
os.environ.setdefault("OMP_NUM_THREADS", "1")

import commands
import pytest
from commands import PEOPLE, PROJECT, succeed, train
from hypothesis import settings
from watchdog import watch

from rankpose.data.synthetic.write import write_synthetic

# a time limit an example would fail on a busy machine
settings.register_profile("any machine", deadline=None)
settings.load_profile("any machine")


LONGEST_FIRST = ("sweeps", "wandb", "survival", "scaling", "notebooks", "configuration", "evaluate_command", "packed")
"""Files that begin early, so that no process works on one of them alone when all others have finished."""


LONG = ("survivor", "sharded", "logged", "tiny_run")
"""What takes a minute: a run killed again and again, two with half of a network each, a sweep in W&B, a benchmark."""


def pytest_configure(config):
    watch(config)


def pytest_collection_modifyitems(items):
    """Orders files, and marks what needs a run: slow starts an entry point, as `commands.run` makes sure of."""
    places = {f"test_{name}": place for place, name in enumerate(LONGEST_FIRST)}
    items.sort(key=lambda item: places.get(item.path.stem, len(places)))
    for item in items:
        wanted = getattr(item, "fixturenames", ())
        if "trained" in wanted:
            item.add_marker("slow")
        if set(LONG) & set(wanted):
            item.add_marker("long")


def pytest_runtest_setup(item):
    commands.running = item


@pytest.fixture(scope="session", autouse=True)
def cache(tmp_path_factory):
    """Indices of folders that are read-only, such as that of the real samples, stay out of the user's cache."""
    os.environ["RANKPOSE_CACHE"] = str(tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real samples: RANKPOSE_REAL_DATA, else ../shared/data beside the project."""
    for place in (os.environ.get("RANKPOSE_REAL_DATA"), PROJECT.parent / "shared" / "data"):
        if place and Path(place).is_dir():
            return Path(place)
    pytest.skip("no real samples: neither RANKPOSE_REAL_DATA nor ../shared/data exists")


@pytest.fixture(scope="session")
def small_set(tmp_path_factory):
    """A rendered set of 19 people."""
    root = tmp_path_factory.mktemp("data") / "synthetic"
    write_synthetic(root, PEOPLE, images_per_identity=6, workers=1, progress=False)
    return root


@pytest.fixture(scope="session")
def trained(small_set, tmp_path_factory):
    """A finished run."""
    folder = tmp_path_factory.mktemp("trained")
    succeed(train(small_set, "hydra.run.dir=run", cwd=folder))
    return folder / "run"
