"""The house: who may import whom. Read from the source of every module, whatever it imports when."""

import ast
from pathlib import Path

import pytest
from commands import PROJECT

PACKAGE = PROJECT / "rankpose"
ROOMS = (
    *("errors", "checks", "files", "pose", "data", "faces", "models", "losses", "schedules", "metrics", "predictors"),
    *("run", "evaluation", "probing", "report", "answers", "task", "callbacks", "command", "sweep"),
)
"""In the order in which a sample goes through them: each imports only itself and those before it."""
COMMANDS = (
    *("train", "prepare", "evaluate", "label", "predict", "demo", "export", "compare", "workspace", "probe", "doctor"),
)
DOORS = ("command", "sweep")
"""Rooms that know Hydra, besides the commands."""
MODULES = {
    ".".join(path.relative_to(PACKAGE).with_suffix("").parts).removesuffix(".__init__"): path
    for path in sorted(PACKAGE.rglob("*.py"))
    if path != PACKAGE / "__init__.py"
}


def imported(path: Path) -> set[str]:
    """The modules that a file names in its imports, wherever these stand."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {one.name for one in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {f"{node.module}.{one.name}" for one in node.names}
    return found


def room_of(module: str) -> str:
    return module.removeprefix("rankpose.").split(".")[0]


def test_every_module_has_a_room():
    assert {room_of(module) for module in MODULES} == {*ROOMS, *COMMANDS}


@pytest.mark.parametrize("module", MODULES)
def test_a_room_imports_only_rooms_before_it(module):
    own = room_of(module)
    others = {room_of(name) for name in imported(MODULES[module]) if name.startswith("rankpose.")} - {own}
    if own in COMMANDS:
        assert not others & set(COMMANDS), "a command is for users, not for other commands"
    else:
        assert others <= set(ROOMS[: ROOMS.index(own)])


@pytest.mark.parametrize("module", MODULES)
def test_only_doors_know_hydra(module):
    libraries = {name.split(".")[0] for name in imported(MODULES[module])}
    assert room_of(module) in (*DOORS, *COMMANDS) or not libraries & {"hydra", "omegaconf", "hydra_plugins"}
