"""Which precision `auto` takes, and that all processes and starts of a run take the same."""

import json
import logging

import pytest
import torch
from commands import SMALL, succeed, train
from omegaconf import OmegaConf
from torch import nn

from rankpose.command import precision
from rankpose.command.configuration import build, composed
from rankpose.command.precision import FLOAT, HALF, choose_precision, keep_precision, time_steps
from rankpose.command.training import make_task
from rankpose.pose import PoseOutput


@pytest.fixture
def parts(monkeypatch):
    """A configuration with what is made of it, before anything is decided."""
    for name in ("RANKPOSE_PRECISION", "LOCAL_RANK", "TORCHELASTIC_RUN_ID", "WORLD_SIZE", "SLURM_STEP_ID"):
        # set first, so that what is set meanwhile goes as well
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    config = composed("train", [*SMALL, "run_dir=RUN", "trainer.accelerator=cpu", "trainer.precision=auto"])
    return config, make_task(config), build(config.data)


@pytest.mark.parametrize(("half", "chosen"), [(0.5, HALF), (0.9, FLOAT), (7.0, FLOAT)])
def test_the_faster_is_taken_if_it_is_much_faster_and_both_times_are_told(parts, monkeypatch, caplog, half, chosen):
    monkeypatch.setattr(precision, "_step", lambda net, batch, which: half if which == HALF else 1.0)
    monkeypatch.setattr(precision, "_SECONDS", 100.0)
    with caplog.at_level(logging.INFO):
        choose_precision(*parts)
    assert parts[0].trainer.precision == chosen
    images = 4 if half > 4 else parts[2].images_per_batch
    assert images != 4 or half > 4
    assert f"a step of {images} images takes 1 s in float32, {half:g} s in bfloat16" in caplog.text


def test_the_very_network_takes_both_kinds_of_step_and_stays_as_it_was(parts):
    _, task, data = parts
    seen = []

    class Watched(nn.Module):
        def __init__(self):
            super().__init__()
            self.norm = nn.BatchNorm2d(3)
            self.last = nn.Linear(3, 3)

        def forward(self, image):
            pose = self.last(nn.functional.dropout(self.norm(image.float())).mean((2, 3)))
            seen.append(pose.dtype)
            return PoseOutput(pose.float(), pose)

    task.net = Watched()
    before = {name: value.clone() for name, value in task.net.state_dict().items()}
    state = torch.random.get_rng_state()
    images, times = time_steps(task.net, data.size, 4, "cpu")
    assert images == 4
    assert {torch.float32, torch.bfloat16} == set(seen)
    assert min(times.values()) > 0
    assert all(torch.equal(value, before[name]) for name, value in task.net.state_dict().items())
    assert torch.equal(torch.random.get_rng_state(), state)
    assert all(weight.grad is None for weight in task.net.parameters())


@pytest.mark.parametrize(
    ("seconds_an_image", "tried"), [(1e-4, 64), (0.25 / 32, 32), (10.0, 4)], ids=["as trained", "half", "few"]
)
def test_steps_are_as_large_as_a_training_s_where_that_is_quick(monkeypatch, seconds_an_image, tried):
    seen = []

    def step(net, batch, which):
        seen.append(len(batch))
        # bfloat16 gains with the size of a step
        return seconds_an_image * len(batch) * (1.0 if which == FLOAT or len(batch) < 32 else 0.5)

    monkeypatch.setattr(precision, "_step", step)
    images, times = time_steps(nn.Linear(1, 1), 8, 64, "cpu")
    assert images == tried == max(seen)
    assert times[HALF] / times[FLOAT] == (0.5 if tried >= 32 else 1.0)


def test_a_process_that_lightning_starts_does_as_the_first_one(parts, monkeypatch):
    monkeypatch.setattr(precision, "time_steps", lambda *_: (64, {FLOAT: 1.0, HALF: 0.1}))
    choose_precision(*parts)
    monkeypatch.setattr(precision, "time_steps", lambda *_: pytest.fail("it was timed again"))
    monkeypatch.setenv("LOCAL_RANK", "1")
    parts[0].trainer.precision = "auto"
    choose_precision(*parts)
    assert parts[0].trainer.precision == HALF


@pytest.mark.parametrize(("there", "chosen"), [({"amx_bf16": True}, HALF), ({}, FLOAT)])
def test_processes_that_are_started_together_go_by_their_instructions(parts, monkeypatch, there, chosen):
    monkeypatch.setattr(precision, "time_steps", lambda *_: pytest.fail("it was timed"))
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: there, raising=False)
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "1")
    choose_precision(*parts)
    assert parts[0].trainer.precision == chosen


@pytest.mark.slow
def test_a_run_that_goes_on_keeps_what_it_began_with(small_set, tmp_path):
    succeed(train(small_set, "hydra.run.dir=run", "trainer.precision=auto", cwd=tmp_path))
    run = tmp_path / "run"
    began = OmegaConf.load(run / "config.yaml").trainer.precision
    assert began in (FLOAT, HALF)
    assert json.loads((run / "run.json").read_text())["devices"]["precision"] == began
    other = {FLOAT: HALF, HALF: FLOAT}[began]
    (run / "config.yaml").write_text(
        (run / "config.yaml").read_text().replace(f"precision: {began}", f"precision: {other}")
    )
    for given, kept in (("auto", other), (began, began)):
        config = composed("train", ["run_dir=RUN", f"trainer.precision={given}"])
        keep_precision(config, run, str(run / "checkpoints" / "last.ckpt"))
        assert config.trainer.precision == kept
    keep_precision(config := composed("train", ["run_dir=RUN"]), run, None)
    assert config.trainer.precision == "auto"
