"""Sweeps as a user starts them: every launcher, a search with pruning, runs that fail, and going on."""

import json
import os
import shlex
import signal
import subprocess
import sys
import time
from contextlib import nullcontext

import optuna
import pandas as pd
import pytest
import pytorch_lightning as pl
import torch
import yaml
from commands import NAME, PROJECT, SMALL, run, succeed
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import OmegaConf
from wandb.sdk.launch.sweeps.utils import create_sweep_command_args

from rankpose.callbacks.pruning import PruneTrial
from rankpose.command.configuration import composed
from rankpose.evaluation.runs import find_runs
from rankpose.run import outcome
from rankpose.run.keys import assignment
from rankpose.run.outcome import Outcome, Pruned
from rankpose.sweep.runs import Announce, _again

pytestmark = pytest.mark.slow

SHORT = ["trainer.max_epochs=1", "+trainer.limit_train_batches=2", "callbacks.progress.refresh_rate=0"]
ONE_FAILS = ["loss=mse,rank_mse", "data.images_per_identity=1"]
"""A ranking loss needs two images of a person."""


def sweep(small_set, *arguments, cwd):
    # a search takes no key twice
    given = {one.partition("=")[0]: one for one in (f"data.root={small_set}", *SMALL, *SHORT, *arguments)}
    return run("train", "-m", *given.values(), cwd=cwd)


def outcomes(folder):
    return {run.number: run for run in outcome.of_sweep(folder).values()}


def check_one_failed(folder, process):
    """The other run is whole, and the end tells which has failed, where and why."""
    assert process.returncode == 1, process.stdout[-3000:] + process.stderr[-5000:]
    assert {number: one.state for number, one in outcomes(folder).items()} == {0: "finished", 1: "failed"}
    assert json.loads((folder / "0" / "metrics.json").read_text())["test/mae"] > 0
    (line,) = [line for line in process.stdout.splitlines() if line.startswith("failed: #1")]
    for word in ("loss=rank_mse", f"{folder.name}/1", "data.images_per_identity=1: a ranking loss needs two images"):
        assert word in line
    assert line.endswith((folder / "1" / "failure.txt").read_text().strip().partition("error: ")[2])
    assert f"python -m rankpose.compare {folder.name}" in process.stdout
    table = pd.read_csv(folder / "runs.csv")
    assert list(table["state"]) == ["finished", "failed"]
    assert table["val/mae"].notna().tolist() == [True, False]


FOUR = ["loss=mse,rank_mse", "seed=0,1", assignment("hydra.sweep.dir", f"./{NAME}")]


@pytest.fixture(scope="module")
def serial(small_set, tmp_path_factory):
    """A sweep of four runs, one after the other."""
    cwd = tmp_path_factory.mktemp("serial")
    return cwd, sweep(small_set, *FOUR, cwd=cwd)


def test_multirun_gives_each_run_its_directory(serial):
    cwd, process = serial
    assert process.returncode == 0, process.stdout[-3000:] + process.stderr[-5000:]
    assert sorted(path.name for path in (cwd / NAME).iterdir() if path.is_dir()) == ["0", "1", "2", "3"]
    assert len({(cwd / NAME / str(job) / "metrics.json").read_text() for job in range(4)}) == 4
    assert "4 finished" in process.stdout
    swept = yaml.safe_load((cwd / NAME / "multirun.yaml").read_text())["hydra"]["overrides"]["task"]
    assert "loss=mse,rank_mse" in swept


def test_runs_of_a_sweep_that_differ_by_their_seed_are_one_configuration(serial):
    """As the last lines of the sweep say how to compare them, in a shell."""
    cwd, process = serial
    (line,) = [line for line in process.stdout.splitlines() if line.startswith("compare them: ")]
    _, _, module, folder = shlex.split(line.removeprefix("compare them: "))
    table = succeed(run(module.removeprefix("rankpose."), folder, cwd=cwd)).stdout
    rows = [row.split()[:2] for row in table.splitlines() if "±" in row]
    assert rows[:2] == [["mse", "2"], ["rank_mse", "2"]]


def test_the_command_that_goes_on_is_that_of_the_sweep(serial, monkeypatch):
    cwd, _ = serial
    monkeypatch.chdir(cwd)
    monkeypatch.setattr(sys, "argv", ["train", "-m", *FOUR, "roots.biwi='a b'"])
    flag, *overrides = shlex.split(_again(cwd / NAME))[3:]
    found = {one.key_or_group: one for one in OverridesParser.create().parse_overrides(overrides)}
    assert flag == "-m"
    assert OmegaConf.create({"it": found["hydra.sweep.dir"].value()}).it == f"./{NAME}"
    assert (found["ckpt_path"].value(), found["roots.biwi"].value()) == ("auto", "a b")
    assert [one.input_line for one in found.values()][2:-1] == FOUR[:2]


def test_a_broken_sweep_goes_on_without_redoing_what_is_done(small_set, serial):
    cwd, _ = serial
    folder = cwd / NAME
    kept = {number: (folder / str(number) / "metrics.json").stat().st_mtime_ns for number in (0, 2, 3)}
    before = (folder / "1" / "metrics.json").read_bytes()
    # what kill -9 leaves of a run that has begun to train
    killed = outcome.read(folder / "1")
    killed.state, killed.value = "running", None
    outcome.write(folder / "1", killed)
    (folder / "1" / "metrics.json").unlink()
    process = sweep(small_set, *FOUR, "ckpt_path=auto", cwd=cwd)
    assert process.returncode == 0, process.stdout[-3000:] + process.stderr[-5000:]
    assert {number: (folder / str(number) / "metrics.json").stat().st_mtime_ns for number in kept} == kept
    assert (folder / "1" / "metrics.json").read_bytes() == before
    assert process.stdout.count("is finished already") == 3


@pytest.mark.long
def test_a_signal_to_a_sweep_with_joblib_has_each_run_save(small_set, tmp_path):
    """And begins no further one; the command that goes on is told."""
    long = ["trainer.max_epochs=1000", "callbacks.last.every_minutes=0", "hydra/launcher=local", "seed=0,1,2"]
    given = {one.partition("=")[0]: one for one in (f"data.root={small_set}", *SMALL, *SHORT, *long)}
    with (tmp_path / "output").open("w") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "rankpose.train", "-m", *given.values(), "hydra.sweep.dir=sweep"],
            cwd=tmp_path,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    while process.poll() is None and len(list(tmp_path.glob("sweep/*/checkpoints/last.ckpt"))) < 2:
        time.sleep(0.1)
    os.killpg(process.pid, signal.SIGTERM)
    code, told = process.wait(timeout=1200), (tmp_path / "output").read_text()
    assert code == 75, told[-5000:]
    assert "Traceback" not in told
    ended = outcomes(tmp_path / "sweep")
    assert {number: one.state for number, one in ended.items()} == {0: "stopped", 1: "stopped"}
    for number, one in ended.items():
        step = torch.load(tmp_path / f"sweep/{number}/checkpoints/last.ckpt", weights_only=True)["global_step"]
        assert one.reason == f"stopped by SIGTERM at step {step}"
    assert "2 stopped, 1 not begun" in told
    assert "go on, without what is finished: python -m rankpose.train -m hydra.sweep.dir=sweep ckpt_path=auto" in told


@pytest.mark.long
def test_submitit_runs_in_jobs_of_their_own_and_compare_tells_the_failed_one(small_set, tmp_path):
    process = sweep(small_set, *ONE_FAILS, "hydra/launcher=submitit_local", "hydra.sweep.dir=sweep", cwd=tmp_path)
    check_one_failed(tmp_path / "sweep", process)
    assert list((tmp_path / "sweep" / ".submitit").glob("*/*_log.out"))
    found = find_runs([tmp_path / "sweep"])
    assert [run.folder.name for run in found.runs] == ["0"]
    (failure,) = found.failures
    assert failure.folder.name == "1"
    assert "a ranking loss needs two images" in failure.reason


@pytest.mark.long
def test_ray_runs_on_a_cluster(small_set, tmp_path):
    process = sweep(small_set, *ONE_FAILS, "hydra/launcher=ray", "hydra.sweep.dir=sweep", cwd=tmp_path)
    check_one_failed(tmp_path / "sweep", process)


SEARCH_SEED = 23
"""Of the sampler: among its first four trials are some that fail, are pruned and are finished."""


@pytest.mark.long
def test_a_search_with_joblib_prunes_and_outlives_failures(small_set, tmp_path):
    """Two trials at a time; each ends as its choices say: without pairs it fails, in a second epoch it is pruned."""
    # a finished trial that no other can come near
    outcome.write(tmp_path / "sweep" / "before", Outcome(-1, [], "finished", 0.0, validations={0: 0.0, 1: 0.0}))
    arguments = [
        "hparams_search=optuna",
        "hydra/launcher=local",
        "hydra.sweeper.n_trials=4",
        "hydra.sweeper.n_jobs=2",
        f"hydra.sweeper.sampler.seed={SEARCH_SEED}",
        "callbacks.prune.pruner.n_startup_trials=1",
        "callbacks.prune.pruner.n_warmup_steps=1",
        "trainer.max_epochs=choice(1, 2)",
        "data.images_per_identity=choice(1, 2)",
        *("optimizer.lr=3e-3", "weight_decay=0", "loss.weight=1", "representation=euler", "augment.views.turn_deg=0"),
    ]
    process = sweep(small_set, *arguments, "hydra.sweep.dir=sweep", "ckpt_path=auto", cwd=tmp_path)
    trials = outcomes(tmp_path / "sweep")
    del trials[-1]
    assert len(trials) == 4, process.stdout[-3000:] + process.stderr[-5000:]
    assert process.returncode == 1
    for one in trials.values():
        chosen = dict(override.split("=", 1) for override in one.overrides)
        expected = "pruned" if chosen["trainer.max_epochs"] == "2" else "finished"
        assert one.state == ("failed" if chosen["data.images_per_identity"] == "1" else expected), one
    assert {one.state for one in trials.values()} == {"finished", "pruned", "failed"}
    best = yaml.safe_load((tmp_path / "sweep" / "optimization_results.yaml").read_text())
    assert best["best_value"] == min(one.value for one in trials.values() if one.value is not None)
    (tmp_path / "sweep" / "before" / outcome.NAME).unlink()
    reasons = {int(one.folder.name): one.reason for one in find_runs([tmp_path / "sweep"]).failures}
    assert reasons.keys() == {number for number, one in trials.items() if one.state != "finished"}
    for number, one in trials.items():
        assert reasons.get(number, "").startswith("pruned in epoch 1") == (one.state == "pruned")


class Validated:
    """As much of a trainer as a callback asks for after a validation."""

    sanity_checking, is_global_zero = False, True

    def __init__(self, epoch, value):
        self.current_epoch, self.callback_metrics, self.strategy = epoch, {"val/mae": value}, self

    def broadcast(self, decision):
        return decision


@pytest.mark.parametrize(("values", "pruned"), [((9.0, 4.0, 3.0), None), ((9.0, 7.0, 3.0), 1), ((5.5, 9.0), None)])
def test_a_trial_is_pruned_when_its_best_is_worse_than_the_median(tmp_path, values, pruned):
    """Finished trials stood at 5, 6 and 7 in epoch 1; the first epoch is free."""
    for number, there in enumerate((5.0, 6.0, 7.0)):
        outcome.write(tmp_path / str(number), Outcome(number, [], "finished", there, validations={0: 8.0, 1: there}))
    outcome.write(tmp_path / "3", Outcome(3, [], "failed", validations={1: 0.1}))
    outcome.write(tmp_path / "4", Outcome(4, ["x=1"]))
    callback = PruneTrial(str(tmp_path / "4"), optuna.pruners.MedianPruner(n_startup_trials=3, n_warmup_steps=1))
    for epoch, value in enumerate(values):
        expected = pytest.raises(Pruned, match=f"epoch {epoch}") if epoch == pruned else nullcontext()
        with expected as ended:
            callback.on_validation_end(Validated(epoch, value), pl.LightningModule())
        if epoch == pruned:
            assert ended.value.best == min(values[: epoch + 1])
            break
    left = outcome.read(tmp_path / "4")
    assert left.state == ("running" if pruned is None else "pruned")
    assert left.overrides == ["x=1"]


def test_the_wandb_sweep_gives_arguments_that_training_takes():
    """What an agent would call, with the ends of every range."""
    sweep = yaml.safe_load((PROJECT / "docs" / "wandb_sweep.yaml").read_text())
    assert sweep["method"] in ("bayes", "random", "grid")
    assert sweep["metric"] == {"name": "val/mae", "goal": "minimize"}
    assert sweep["early_terminate"]["type"] == "hyperband"
    assert sweep["command"][:4] == ["${env}", "python", "-m", "rankpose.train"]
    assert sweep["command"][4:] == ["${args_no_hyphens}"]
    chosen = {}
    for key, space in sweep["parameters"].items():
        assert set(space) in ({"value"}, {"values"}, {"distribution", "min", "max"}), key
        chosen[key] = [space["value"]] if "value" in space else space.get("values") or [space["min"], space["max"]]
        assert space.get("min", 0) < space.get("max", 1), key
    for end in (0, -1):
        told = {"args": {key: {"value": values[end]} for key, values in chosen.items()}}
        config = composed("train", create_sweep_command_args(told)["args_no_hyphens"])
        for key, values in chosen.items():
            if key != "representation":
                node = config
                for part in key.split("."):
                    node = node[part]
                assert node == values[end], key


def test_a_launcher_that_is_not_installed_is_told_in_one_line(monkeypatch):
    # Hydra may have imported the plugin in an earlier test
    monkeypatch.delitem(sys.modules, "hydra_plugins.hydra_joblib_launcher.joblib_launcher", raising=False)
    monkeypatch.setitem(sys.modules, "hydra_plugins.hydra_joblib_launcher", None)
    target = "hydra_plugins.hydra_joblib_launcher.joblib_launcher.JoblibLauncher"
    plugins = {"launcher": {"_target_": target}, "sweeper": {"_target_": f"{BasicSweeper.__module__}.BasicSweeper"}}
    choices = {"hydra/launcher": "local", "hydra/sweeper": "basic"}
    config = OmegaConf.create({"hydra": {**plugins, "runtime": {"choices": choices}}})
    with pytest.raises(SystemExit, match=r"hydra/launcher=local is not installed: pip install 'rankpose\[sweeps\]'"):
        Announce().on_multirun_start(config)
