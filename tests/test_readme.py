"""README does what it says: its commands run as they stand, its links lead somewhere, its figures are measured."""

import io
import re
import shlex
import shutil
import subprocess
from contextlib import redirect_stdout

import numpy as np
import pytest
from commands import INTERRUPT, PROJECT, SMALL, run, succeed

from rankpose.command.help import choices, groups_of
from rankpose.files import shipped_models
from rankpose.models.shipped import read_card

README = (PROJECT / "README.md").read_text(encoding="utf-8")
PAGES = [PROJECT / "README.md", PROJECT / "CONTRIBUTING.md", PROJECT / "data" / "README.md"]
PAGES = [page for page in (*PAGES, *sorted((PROJECT / "docs").glob("*.md"))) if page.is_file()]
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
COMMANDS = [line for kind, body in FENCE.findall(README) if not kind for line in body.splitlines()]
PYTHON = [body for kind, body in FENCE.findall(README) if kind == "python"]
TEXT = {"capture_output": True, "text": True, "check": False}
SMALLER = {"train": [*SMALL, "data.num_workers=0", "trainer.max_epochs=1"], "evaluate": ["num_workers=0"]}
"""What is appended to a command of README, by its module, so that it ends soon."""


def module_of(command):
    """The module and arguments of `python -m rankpose.MODULE ...`; None of anything else."""
    words = shlex.split(command, comments=True)
    if words[1:2] != ["-m"] or words[0] not in ("python", ".venv/bin/python"):
        return None
    return words[2].removeprefix("rankpose."), words[3:]


def anchors(page):
    """What links can name of a page, as GitHub and the site make it of headings."""
    headings = re.findall(r"^#+ (.*)$", FENCE.sub("", page.read_text(encoding="utf-8")), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_it_is_short():
    assert len(README.splitlines()) <= 150


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(PROJECT).as_posix())
def test_links_lead_somewhere(page):
    text = FENCE.sub("", page.read_text(encoding="utf-8"))
    for link in re.findall(r"\]\(([^)\s]+)\)", text):
        target, _, anchor = link.partition("#")
        if "://" in link:
            continue
        found = (page.parent / target).resolve() if target else page
        assert found.exists(), f"{page.name}: {link}"
        assert not anchor or anchor in anchors(found), f"{page.name}: {link}"


def test_make_calls_what_the_text_says():
    for command in COMMANDS:
        if command.startswith("make "):
            done = subprocess.run(["make", "--dry-run", "--always-make", *command.split()[1:]], cwd=PROJECT, **TEXT)
            assert done.returncode == 0, done.stderr
            wanted = {"train": "-m rankpose.train", "test": "-m pytest", "install": "pip install"}
            assert wanted[command.split()[1]] in done.stdout


def test_it_names_all_that_can_be_chosen():
    table = README[README.index("| group |") : README.index("## Where to go on")]
    lines = [line for line in table.splitlines() if line.startswith("| `")]
    rows = {name: row for row in lines for name in re.findall(r"`(\w+)`", row.split("|")[1])}
    for group in set(groups_of(PROJECT / "conf", "train")) & set(rows):
        row = re.sub(
            r"`(\w+)0` to `(\d)`", lambda m: " ".join(f"`{m[1]}{k}`" for k in range(int(m[2]) + 1)), rows[group]
        )
        named = set(re.findall(r"`(\w+)`", row))
        assert set(choices(PROJECT / "conf", group)) <= named, group
    assert set(rows) >= {"data", "augment", "backbone", "representation", "loss", "optimizer", "schedule", "trainer"}


@pytest.mark.parametrize("model", sorted(shipped_models()))
def test_its_figures_are_those_of_the_card(model):
    rows = [row.split("|") for row in README.splitlines() if row.startswith(f"| `{model}` |")]
    told = [(tested_on.strip(), mae.strip(" *")) for *_, tested_on, mae, _ in rows]
    figures = read_card(model).figures
    assert len(told) == len(figures)
    for figure in figures:
        what = "photographs of AFLW2000-3D" if figure["protocol"] == "aflw2000" else "renders of people never seen"
        mirrored = ", mirrored as well" if figure["mirrored"] else ""
        assert (f"{figure['images']:,} {what}{mirrored}", f"{figure['mae']:.2f}") in told


def test_the_heads_of_its_picture_are_of_nobody_that_the_model_was_trained_on():
    from rankpose.answers import turning

    shown = re.search(r"--people ([\d ]+)", turning.__doc__)[1]
    people = 3000 + 50 + 80  # of experiment=shipped_photographs, drawn as rankpose.data.synthetic.write draws them
    trained_on = {int(np.random.default_rng([0, number]).integers(2**31)) for number in range(people)}
    assert not trained_on & set(map(int, shown.split()))


@pytest.fixture(scope="module")
def user(small_set, tmp_path_factory):
    """A folder as a user has it: a photograph, and the embedded set, which is rendered already."""
    folder = tmp_path_factory.mktemp("user")
    (folder / "data").mkdir()
    (folder / "data" / "synthetic").symlink_to(small_set)
    shutil.copy(small_set / "SYN_TRAIN" / "SYN_000003_0.jpg", folder / "photo.jpg")
    return folder


@pytest.mark.slow
def test_its_commands_run_one_after_the_other(user):
    ran = [found for found in map(module_of, COMMANDS) if found is not None]
    assert {"train", "evaluate", "predict", "export"} <= {module for module, _ in ran}
    lines = []
    for module, arguments in ran:
        smaller = [] if "--help" in arguments else SMALLER.get(module, [])
        lines.append(shlex.join([f"rankpose.{module}", *arguments, *smaller]))
    succeed(run("in_turn", "\n".join(lines), cwd=user, env=INTERRUPT, package=""))
    for left in ("photo_poses/poses.csv", "photo_poses/photo.jpg", "mine/poses.csv", "model.onnx", "model.yaml"):
        assert (user / left).is_file(), left
    assert (user / "runs" / "mine" / "report.html").is_file()


@pytest.mark.slow
@pytest.mark.parametrize("code", PYTHON)
def test_its_python_runs(code, user, monkeypatch):
    monkeypatch.chdir(user)
    said = io.StringIO()
    with redirect_stdout(said):
        exec(compile(code, "README.md", "exec"), {})
    assert len(re.findall(r"-?\d+\.\d+", said.getvalue())) == 7  # one head: four of its box, three of its pose


def test_every_command_is_known():
    """A line that none of the tests above would run."""
    others = [command for command in COMMANDS if module_of(command) is None and not command.startswith("make ")]
    assert others == ["git clone <this repository> rankpose && cd rankpose"]
