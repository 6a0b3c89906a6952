"""What an installation needs: the base package predicts, evaluates and exports, and says what else is missing.

A wheel of it does so alone: in an environment of its own, with no repository around it and no network.
"""

import csv
import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tomllib
import venv
import zipfile
from importlib import metadata
from pathlib import Path

import pytest
from commands import PROJECT
from packaging.requirements import Requirement

from rankpose.errors import EXTRAS, ConfigError, user_error

ASKED = tomllib.loads((PROJECT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
BASE, OPTIONAL = ASKED["dependencies"], ASKED["optional-dependencies"]
RUN = """
import json, runpy, sys
refused = set(json.loads(sys.argv.pop(1)))

class Without:
    def __init__(self, finder):
        self.finder = finder

    def find_spec(self, name, path=None, target=None):
        return None if name.split(".")[0] in refused else self.finder.find_spec(name, path, target)

    def __getattr__(self, name):  # importlib.metadata asks for distributions
        return getattr(self.finder, name)

sys.meta_path[:] = [Without(finder) for finder in sys.meta_path]
import rankpose
sys.argv[0] = sys.argv[1] + ".py"
runpy.run_module("rankpose." + sys.argv.pop(1), run_name="__main__")
"""

ALONE = """
import atexit, socket, sys

def refuse(event, arguments):
    if event == "socket.getaddrinfo" or event == "socket.connect" and arguments[0].family != socket.AF_UNIX:
        raise OSError(f"no network here: {event}{arguments[1:]}")

def tell():
    files = {str(module.__file__) for name, module in sys.modules.items() if name.split(".")[0] == "rankpose"}
    with open("loaded.txt", "w", encoding="utf-8") as text:
        print(*sorted(files), sep="\\n", file=text)

sys.addaudithook(refuse)
atexit.register(tell)
"""
"""`sitecustomize`: nothing is asked of a network; files of the package that were imported are listed at the end."""


def named(name):
    return re.sub(r"[-_.]+", "-", name).lower()


def brought(asked):
    """The names of all packages that a list of requirements brings, by what is installed here."""
    extras, left = {}, [Requirement(one) for one in asked]
    while left:
        one = left.pop()
        name = named(one.name)
        if name == "rankpose":
            left += [Requirement(text) for extra in one.extras for text in OPTIONAL[extra]]
            continue
        if name in extras and one.extras <= extras[name]:
            continue
        extras[name] = extras.get(name, set()) | one.extras
        try:
            further = metadata.requires(name) or ()
        except metadata.PackageNotFoundError:
            continue  # of another Python, as mtcnn's
        for requirement in map(Requirement, further):
            if requirement.marker is None or any(
                requirement.marker.evaluate({"extra": extra}) for extra in (*extras[name], "")
            ):
                left.append(requirement)
    return set(extras)


def modules_without(packages):
    """The top-level modules that only other packages bring."""
    owners = metadata.packages_distributions()
    shared = {"hydra_plugins"}  # a place where many packages put something
    return sorted({one for one, names in owners.items() if not {named(name) for name in names} & packages} - shared)


@pytest.fixture(scope="module")
def bare(tmp_path_factory):
    """Runs a command where only the packages of the base installation can be imported."""
    refused = json.dumps(modules_without(brought(BASE) | {"rankpose"}))
    folder = tmp_path_factory.mktemp("bare")

    def run(*arguments):
        command = [sys.executable, "-c", RUN, refused, *map(str, arguments)]
        return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=1200)

    run.folder = folder
    return run


def test_the_base_has_at_most_half_of_the_packages():
    base, everything = brought(BASE), brought(OPTIONAL["dev"]) | brought(BASE)
    assert len(base) <= len(everything) / 2, (len(base), len(everything))
    assert not base & {"wandb", "albumentations", "hydra-optuna-sweeper", "mkdocs"}


def test_every_extra_but_those_for_developers_is_in_dev():
    assert set(re.findall(r"rankpose\[(.*)\]", OPTIONAL["dev"][0])[0].split(",")) == set(OPTIONAL) - {"dev"}


@pytest.mark.slow
def test_the_base_predicts(bare, small_set):
    done = bare("predict", small_set / "SYN_TRAIN" / "SYN_000003_0.jpg", "out=poses")
    assert done.returncode == 0, done.stderr[-3000:]
    assert "1 heads in 1 files" in done.stdout


@pytest.mark.long
@pytest.mark.slow
def test_the_base_evaluates_and_exports(bare, small_set):
    given = ("checkpoint=rankpose-photographs", "protocol=synthetic", f"roots.synthetic={small_set}", "num_workers=0")
    done = bare("evaluate", *given, "out=page")
    assert done.returncode == 0, done.stderr[-3000:]
    assert (bare.folder / "page" / "report.html").is_file()
    done = bare("export", "checkpoint=rankpose-photographs", "out=model.onnx")
    assert done.returncode == 0, done.stderr[-3000:]
    assert (bare.folder / "model.yaml").is_file()


@pytest.mark.slow
def test_a_command_that_needs_more_says_which_extra(bare, small_set):
    done = bare("train", f"data.root={small_set}")
    assert done.returncode == 1
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert "is not installed: pip install 'rankpose[train]'" in line


def test_extras_bring_what_is_said_of_them():
    owners = metadata.packages_distributions()
    for module, extra in EXTRAS.items():
        packages = {named(name) for name in owners.get(module, [])}
        assert not packages or packages & brought(OPTIONAL[extra]), module
        assert not packages & brought(BASE), module
        assert isinstance(user_error(ModuleNotFoundError("none", name=f"{module}.part")), ConfigError)
    assert user_error(ModuleNotFoundError("none", name="rankpose.nothing")) is None


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """The wheel of this package, built where nothing else of the repository lies."""
    source = tmp_path_factory.mktemp("source")
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(PROJECT / name, source)
    for name in ("rankpose", "conf"):
        shutil.copytree(PROJECT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    build = "import sys; from setuptools.build_meta import build_wheel; build_wheel(sys.argv[1])"
    made = tmp_path_factory.mktemp("wheel")
    done = subprocess.run(
        [sys.executable, "-c", build, made], cwd=source, capture_output=True, text=True, check=False, timeout=1200
    )
    assert done.returncode == 0, done.stderr[-3000:]
    (file,) = made.glob("rankpose-*.whl")
    return file


@pytest.mark.slow
def test_a_wheel_holds_all_that_the_package_has(wheel):
    own = {path.relative_to(PROJECT).as_posix() for path in (PROJECT / "rankpose").rglob("*") if path.is_file()}
    own |= {f"rankpose/{path.relative_to(PROJECT).as_posix()}" for path in (PROJECT / "conf").rglob("*.yaml")}
    with zipfile.ZipFile(wheel) as content:
        names = {name for name in content.namelist() if name.startswith("rankpose/")}
    assert names == {name for name in own if "__pycache__" not in name}


@pytest.mark.slow
def test_a_wheel_predicts_with_no_repository_and_no_network(wheel, small_set, tmp_path):
    env, place = tmp_path / "env", tmp_path / "empty"
    venv.create(env)
    packages = Path(sysconfig.get_path("purelib", "venv", {"base": str(env), "platbase": str(env)}))
    # what is installed here serves there as well, but for this package
    (packages / "others.pth").write_text(f"{metadata.distribution('torch').locate_file('')}\n", encoding="utf-8")
    python = Path(sysconfig.get_path("scripts", "venv", {"base": str(env), "platbase": str(env)}), "python")
    install = [sys.executable, "-m", "pip", "--python", python, "install", "--quiet", "--no-deps", "--no-index", wheel]
    subprocess.run(install, check=True, timeout=1200)
    (packages / "sitecustomize.py").write_text(ALONE, encoding="utf-8")
    place.mkdir()
    shutil.copy(small_set / "SYN_TRAIN" / "SYN_000003_0.jpg", place / "photo.jpg")
    command = [python.with_name("rankpose-predict"), "photo.jpg", "out=poses"]
    isolated = ["unshare", "--map-root-user", "--net"]
    if (
        shutil.which("unshare")
        and subprocess.run([*isolated, "true"], capture_output=True, check=False).returncode == 0
    ):
        command = [*isolated, *command]
    done = subprocess.run(
        command,
        cwd=place,
        env={key: value for key, value in os.environ.items() if not key.startswith("PYTHON")},
        capture_output=True,
        text=True,
        check=False,
        timeout=1200,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    with (place / "poses" / "poses.csv").open(encoding="utf-8", newline="") as text:
        (row,) = csv.DictReader(text)
    assert -99 < float(row["yaw"]) < 99
    loaded = (place / "loaded.txt").read_text(encoding="utf-8").split()
    assert len(loaded) > 20
    assert all(Path(file).is_relative_to(packages / "rankpose") for file in loaded), loaded
