"""Private names of other libraries: each stands in one module, and is there in the version that is installed."""

import ast
import importlib
import inspect
import re
import tomllib
from functools import cache
from importlib.metadata import version

import hydra
import omegaconf
import pytest
import pytorch_lightning as pl
from packaging.requirements import Requirement
from packaging.version import Version
from pytorch_lightning.loggers import CSVLogger, WandbLogger
from pytorch_lightning.loggers.csv_logs import ExperimentWriter
from test_house import MODULES, PACKAGE, imported

from rankpose.command import hydra_private
from rankpose.run import lightning_private

LIBRARIES = ("pytorch_lightning", "lightning_fabric", "hydra", "omegaconf", "wandb")
CONTAINED = {"command.hydra_private": ("hydra", "omegaconf"), "run.lightning_private": ("pytorch_lightning",)}
"""Which module may take private names of which library."""
OTHERS = ("os._exit", "torch.UntypedStorage._new_shared")
"""Of Python and of torch, which are no matter of this file."""


def is_private(name: str) -> bool:
    return name.startswith("_") and not name.endswith("_")


def libraries_of(module: str) -> tuple[str, ...]:
    """Those of which a module may take no private name."""
    return tuple(library for library in LIBRARIES if library not in CONTAINED.get(module, ()))


@pytest.mark.parametrize("module", MODULES)
def test_nothing_private_is_imported(module):
    """`hydra._internal`, `wandb.sdk`, which W&B reserves for itself, or a name with an underscore."""
    for name in imported(MODULES[module]):
        if name.startswith(libraries_of(module)):
            assert not any(is_private(part) for part in name.split(".")), name
            assert not name.startswith("wandb.sdk")


@cache
def own_names() -> set[str]:
    """The private attributes that classes and modules of this package have of their own."""
    names = set()
    for path in MODULES.values():
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef | ast.ClassDef):
                names.add(node.name)
            elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
                names.add(node.attr)
            elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                names.add(node.id)
    return names


@pytest.mark.parametrize("module", sorted(set(MODULES) - set(CONTAINED)))
def test_no_private_attribute_of_another_object_is_taken(module):
    """Of one that is not `self`: a name that nothing in this package has belongs to a library."""
    for node in ast.walk(ast.parse(MODULES[module].read_text(encoding="utf-8"))):
        if isinstance(node, ast.Attribute) and is_private(node.attr):
            of_self = isinstance(node.value, ast.Name) and node.value.id in ("self", "cls")
            assert of_self or node.attr in own_names() or ast.unparse(node) in OTHERS, ast.unparse(node)


USERS = {module for module, path in MODULES.items() if any(name.startswith(LIBRARIES) for name in imported(path))}


@pytest.mark.parametrize("module", sorted(USERS - set(CONTAINED)))
def test_no_class_shares_a_private_attribute_with_its_library(module):
    """An attribute of `self` that Lightning or Hydra has as well would be theirs, or overwrite theirs."""
    loaded = importlib.import_module(f"rankpose.{module}")
    for _, one in inspect.getmembers(loaded, inspect.isclass):
        theirs = [base for base in one.__mro__ if base.__module__.startswith(LIBRARIES)]
        if one.__module__ != loaded.__name__ or not theirs:
            continue
        tree = ast.parse(inspect.getsource(one).strip())
        names = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute) and is_private(node.attr)}
        names |= {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef) and is_private(node.name)}
        for base in theirs:
            assert not names & private_names(base), f"{one.__name__} takes from {base.__name__}"


@cache
def private_names(cls):
    return set(re.findall(r"(?:self\.|def )(_\w+)", inspect.getsource(cls)))


@pytest.fixture(scope="module")
def objects(tmp_path_factory):
    folder = str(tmp_path_factory.mktemp("private"))
    quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
    return {
        "Trainer": pl.Trainer(accelerator="cpu", enable_model_summary=False, **quiet),
        "CSVLogger": CSVLogger(folder),
        "WandbLogger": WandbLogger(save_dir=folder, offline=True),
        "ExperimentWriter": ExperimentWriter(folder),
        "hydra": hydra,
        "omegaconf": omegaconf,
    }


@pytest.mark.parametrize("name", lightning_private.PRIVATE)
def test_lightning_has_the_name(objects, name):
    there(objects, name, "pytorch-lightning", lightning_private.PRIVATE[name])


@pytest.mark.parametrize("name", hydra_private.PRIVATE)
def test_hydra_and_omegaconf_have_the_name(objects, name):
    package = "omegaconf" if name.startswith("omegaconf") else "hydra-core"
    there(objects, name, package, hydra_private.PRIVATE[name])


def there(objects, name, package, purpose):
    first, *rest = name.split(".")
    place = objects[first]
    for part in rest:
        if not hasattr(place, part):
            pytest.fail(f"{package} {version(package)} has no {name}, for: {purpose}")
        place = getattr(place, part)


@pytest.mark.parametrize("module", [lightning_private, hydra_private], ids=lambda module: module.__name__)
def test_the_list_is_whole(module):
    tree = ast.parse(inspect.getsource(module))
    used = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute) and is_private(node.attr)}
    used |= {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef) and is_private(node.name)}
    listed = {part for name in module.PRIVATE for part in name.split(".") if is_private(part)}
    assert used == listed - {"_internal"}


@pytest.mark.parametrize("package", ["pytorch-lightning", "hydra-core", "omegaconf"])
def test_a_version_that_has_not_been_tried_is_kept_out(package):
    project = tomllib.loads((PACKAGE.parent / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    (needed,) = (one for one in map(Requirement, project["dependencies"]) if one.name == package)
    major, minor = Version(version(package)).release[:2]
    assert needed.specifier.contains(version(package))
    assert not needed.specifier.contains(f"{major}.{minor + 1}.0")
