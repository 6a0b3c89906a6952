"""Whatever the machine is like, its locale, its home, its login: a run is trained, or one line says why not."""

import ast
import os
import subprocess
import sys

import pytest
from commands import PROJECT, metrics, succeed, train

from rankpose.errors import ConfigError
from rankpose.run.loggers import wandb_logger

ASCII = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
"""A locale that knows no letter beyond ASCII, which Python would take for UTF-8 by itself."""
CODE = sorted(path for folder in ("rankpose", "benchmarks") for path in (PROJECT / folder).rglob("*.py"))


def texts_without_encoding(tree):
    """The lines of calls that read or write text in whatever encoding the locale has."""
    for call in ast.walk(tree):
        if isinstance(call, ast.Call):
            name = getattr(call.func, "attr", getattr(call.func, "id", None))
            module = getattr(getattr(call.func, "value", None), "id", None)
            told = {keyword.arg for keyword in call.keywords}
            words = [one.value for one in ast.walk(call) if isinstance(one, ast.Constant)]
            binary = any(isinstance(word, str) and "b" in word and set(word) <= set("rwxab+") for word in words)
            opens = name == "open" and not binary and module not in ("os", "Image", "av")
            if (opens or name in ("read_text", "write_text") or "text" in told) and "encoding" not in told:
                yield call.lineno


@pytest.mark.parametrize("path", CODE, ids=lambda path: str(path.relative_to(PROJECT)))
def test_text_is_utf8_whatever_the_locale(path):
    assert not list(texts_without_encoding(ast.parse(path.read_text(encoding="utf-8"))))


def test_a_file_without_an_encoding_would_be_found():
    code = 'open(p)\np.open("w")\np.read_text()\np.open("rb")\np.read_text(encoding="utf-8")\nos.open(p, 0)\n'
    assert list(texts_without_encoding(ast.parse(code))) == [1, 2, 3]


def test_what_a_terminal_cannot_show_ends_no_command():
    code = "from rankpose.errors import one_line_errors; one_line_errors(lambda: print('5\\u00b0 \\udcc3'))()"
    command = [sys.executable, "-c", code]
    for encoding in ("ascii", "latin-1", "utf-8"):
        environment = os.environ | ASCII | {"PYTHONIOENCODING": encoding}
        done = subprocess.run(command, env=environment, capture_output=True, check=False)
        assert (done.returncode, done.stderr) == (0, b""), encoding
        degree = "\\xb0" if encoding == "ascii" else "\u00b0"
        assert done.stdout.decode(encoding).strip() == f"5{degree} \\udcc3"


@pytest.mark.long
@pytest.mark.slow
def test_a_run_needs_neither_utf8_nor_a_home_nor_a_login(small_set, tmp_path):
    # nobody, not even root, can make a folder there
    environment = {**ASCII, "HOME": "/proc/nowhere", "WANDB_MODE": "run"}
    arguments = ["logger=default", "trainer.max_epochs=1", "hydra.run.dir=run", "data.num_workers=0"]
    process = succeed(train(small_set, *arguments, cwd=tmp_path, env=environment, fresh=True))
    assert metrics(tmp_path / "run")["test/mae"] > 0
    assert "this run is logged offline" in process.stdout
    assert list((tmp_path / "run" / "wandb").glob("offline-run-*/*.wandb"))
    assert "Traceback" not in process.stderr


@pytest.mark.parametrize(("given", "mode"), [("run", "online"), ("dryrun", "offline"), ("disabled", "disabled")])
def test_the_modes_of_wandb(monkeypatch, tmp_path, given, mode):
    monkeypatch.setenv("WANDB_MODE", given)
    assert wandb_logger(str(tmp_path)).mode == mode


def test_an_unknown_mode_of_wandb_is_told(monkeypatch, tmp_path):
    monkeypatch.setenv("WANDB_MODE", "onlien")
    with pytest.raises(ConfigError, match="WANDB_MODE=onlien"):
        wandb_logger(str(tmp_path))
    with pytest.raises(ConfigError, match=r"logger\.wandb\.mode=onlien"):
        wandb_logger(str(tmp_path), mode="onlien")
