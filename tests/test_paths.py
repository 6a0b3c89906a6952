"""Folders may be called anything: training, evaluation, repeating, comparing and what a command prints work there."""

import pytest
from commands import NAME, SMALL, metrics, run, succeed

from rankpose.run.keys import assignment, quoted, typed

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def odd(small_set, tmp_path_factory):
    """A finished run in a folder of that name, with its data in such a folder, as a command in a shell."""
    cwd = tmp_path_factory.mktemp("odd")
    (cwd / NAME).mkdir()
    (cwd / NAME / "data").symlink_to(small_set)
    data = f"./{NAME}/data"
    given = [assignment("data.root", data), *SMALL, "protocols=[synthetic]", assignment("roots.synthetic", data)]
    given += ["trainer.max_epochs=1", assignment("hydra.run.dir", f"./{NAME}/run"), "ckpt_path=auto"]
    succeed(run("train", *given, cwd=cwd))
    return cwd, given


def test_a_run_is_trained_tested_and_gone_on_with(odd):
    cwd, given = odd
    assert metrics(cwd / NAME / "run")["test/mae"] > 0
    assert (cwd / NAME / "run" / "evaluation" / "synthetic" / "predictions.parquet").is_file()
    assert "is finished: nothing is left to do" in succeed(run("train", *given, cwd=cwd)).stdout
    refused = run("train", *given[:-1], cwd=cwd)
    (line,) = [line for line in refused.stderr.splitlines() if line.startswith("error:")]
    assert f"go on with {typed('ckpt_path', f'./{NAME}/run/checkpoints/last.ckpt')}, or" in line


@pytest.mark.long
def test_a_run_is_repeated_evaluated_and_compared(odd):
    cwd, _ = odd
    folder = f"./{NAME}/run"
    succeed(run("train", assignment("repeat", folder), assignment("hydra.run.dir", f"./{NAME}/again"), cwd=cwd))
    again = cwd / NAME / "again"
    assert (again / "metrics.json").read_bytes() == (cwd / NAME / "run" / "metrics.json").read_bytes()
    both = f"checkpoint={','.join(quoted(f'./{NAME}/{one}/checkpoints/best.ckpt') for one in ('run', 'again'))}"
    place = assignment("roots.synthetic", f"./{NAME}/data")
    succeed(run("evaluate", both, "protocol=synthetic", place, assignment("out", f"./{NAME}/out"), cwd=cwd))
    assert (cwd / NAME / "out" / "report.html").is_file()
    assert "\nsynthetic: Rendered heads" in succeed(run("compare", folder, cwd=cwd)).stdout
