"""Many processes, precision, averaging, compilation: what is computed stays the same however it is computed."""

import copy
import json
import logging
import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import pytorch_lightning as pl
import torch
from commands import INTERRUPT, PEOPLE, at_step, metrics, run, succeed
from hydra import compose, initialize_config_dir
from pytorch_lightning.loggers import CSVLogger
from pytorch_lightning.strategies import ModelParallelStrategy
from torch import nn

from rankpose.callbacks.averaging import MovingAverage
from rankpose.command import configuration
from rankpose.command.configuration import build, plain
from rankpose.command.training import make_task, set_float32_matmul
from rankpose.errors import ConfigError
from rankpose.files import CONFIG_DIR
from rankpose.metrics import pose_scores
from rankpose.models import PoseNet, build_backbone
from rankpose.models.checkpoint import check_same_task, load_net
from rankpose.models.sharding import blocks, shard
from rankpose.pose import Euler, VectorAngle, VectorProjection
from rankpose.run import directory as run_directory
from rankpose.task import PoseScoring

pytestmark = pytest.mark.slow

# no batch normalisation, no choice between kernels, and an optimizer that adds to a weight what its gradient says
EXACT = [
    *(f"data.reader.{part}_identities={count}" for part, count in PEOPLE.items()),
    *("data.reader.images_per_identity=6", "data.draws_per_identity=4", "data.num_workers=0"),
    *("augment=geometric", "image_size=32", "backbone=vit", "backbone.name=vit_tiny_patch16_224"),
    *("+backbone.options.embed_dim=24", "+backbone.options.depth=2", "+backbone.options.num_heads=3"),
    *("optimizer=sgd", "loss.unit=normalised", "logger=csv"),
    *("trainer.max_epochs=2", "trainer.log_every_n_steps=2", "trainer.precision=32-true", "trainer.accelerator=cpu"),
]
BATCH_NORM = [
    *(part for part in EXACT if "backbone" not in part),
    *("backbone.options.channels=[8,16,24,32]", "data.identities_per_batch=4", "ema=0.8"),
]
"""Small batches and batch normalisation, whose statistics are averaged as well."""
PAIRS = 3
"""Identities in a batch of one of two processes; so few that nobody comes twice in a step.

Two visits of a person would make six pairs in one process, and one in each of two.
"""
TERMS = ["train/loss", "train/mse", "train/rank", "train/mae"]
CLOSE = {"rtol": 1e-4, "atol": 1e-5}
"""Float32 sums in another order, over a run of 16 steps."""


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """Networks so small compute in one; on a busy machine several would wait for each other."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def composed(*overrides):
    with initialize_config_dir(CONFIG_DIR, version_base="1.3"):
        return compose("train", [*overrides, "run_dir=RUN"])


def fitted(small_set, folder, *overrides, base=EXACT, callbacks=(), ckpt_path=None):
    """A run in this process: its task, its trainer and its curves, a row every second step."""
    config = composed(f"data.root={small_set}", *base, *overrides)
    pl.seed_everything(0, verbose=False)
    task, data = make_task(config), build(config.data)
    settings = plain(config.trainer) | {"default_root_dir": str(folder)}
    trainer = build(
        settings,
        callbacks=[*([] if config.ema is None else [MovingAverage(config.ema)]), *callbacks],
        logger=CSVLogger(folder, name="curves"),
        enable_progress_bar=False,
        enable_checkpointing=False,
    )
    trainer.fit(task, datamodule=data, ckpt_path=ckpt_path)
    return SimpleNamespace(task=task, trainer=trainer, data=data, curves=steps(folder / "curves" / "version_0"))


def steps(folder):
    curves = pd.read_csv(folder / "metrics.csv")
    return curves[curves["train/loss"].notna()].set_index("step")


def weights(path):
    return torch.load(path, weights_only=True)["state_dict"]


def assert_same_weights(one, other):
    assert one.keys() == other.keys()
    for name, value in one.items():
        torch.testing.assert_close(value, other[name], **CLOSE, msg=lambda said, name=name: f"{name}: {said}")


@pytest.fixture(scope="module")
def whole(small_set, tmp_path_factory):
    """One process with the whole batch."""
    return fitted(small_set, tmp_path_factory.mktemp("whole"), f"data.identities_per_batch={2 * PAIRS}")


@pytest.fixture(scope="module")
def two(small_set, tmp_path_factory):
    """Two processes with half of it each, started by Lightning for a run of a sweep."""
    folder = tmp_path_factory.mktemp("two")
    arguments = [f"data.root={small_set}", *EXACT, f"data.identities_per_batch={PAIRS}", "trainer.devices=2"]
    arguments += ["trainer=ddp", "protocols=[synthetic]", f"roots.synthetic={small_set}"]
    process = succeed(run("train", "-m", *arguments, "hydra.sweep.dir=sweep", cwd=folder))
    return SimpleNamespace(folder=folder, run=folder / "sweep" / "0", output=process.stdout + process.stderr)


@pytest.fixture(scope="module")
def sharded(small_set, tmp_path_factory):
    """Two processes with half of the batch and half of the weights each, started by torchrun."""
    folder = tmp_path_factory.mktemp("sharded")
    arguments = [f"data.root={small_set}", *EXACT, f"data.identities_per_batch={PAIRS}", "trainer.devices=2"]
    command = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "rankpose.train"]
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("WANDB", "PL_"))}
    process = subprocess.run(
        [sys.executable, *command, *arguments, "trainer=fsdp", "hydra.run.dir=run"],
        cwd=folder,
        env=environment | {"OMP_NUM_THREADS": "1"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=1200,
    )
    succeed(process)
    return SimpleNamespace(folder=folder, run=folder / "run", output=process.stdout + process.stderr)


def ranks(small_set, world_size, identities):
    """The training batches of each of some processes, as the data module gives them."""
    config = composed(f"data.root={small_set}", *EXACT, f"data.identities_per_batch={identities}")
    found = []
    for rank in range(world_size):
        data = build(config.data)
        loops = pl.Trainer(accelerator="cpu", logger=False, enable_checkpointing=False).fit_loop
        data.trainer = SimpleNamespace(
            global_rank=rank, world_size=world_size, num_devices=world_size, fit_loop=loops, current_epoch=0
        )
        found.append(list(data.train_dataloader()))
    return found


def test_two_processes_share_the_batches_of_one(small_set):
    """No pair is split, no visit comes twice, none is left out: together the two see what one would see."""
    (one,), (first, second) = ranks(small_set, 1, 2 * PAIRS), ranks(small_set, 2, PAIRS)
    assert len(one) == len(first) == len(second) > 1
    people = set()
    for all_of_it, *halves in zip(one, first, second, strict=True):
        for half in halves:
            pairs = half["identity"].reshape(-1, 2)
            assert torch.equal(pairs[:, 0], pairs[:, 1])
            people |= set(pairs[:, 0].tolist())
        for name, values in all_of_it.items():
            visits = [half[name].unflatten(0, (-1, 2)) for half in halves]
            together = torch.stack(visits, dim=1).flatten(0, 2)
            assert torch.equal(together, values), name
    assert len(people) == PEOPLE["train"]


def test_two_processes_train_as_one_with_the_whole_batch(whole, two):
    curves = steps(two.run / "curves" / "version_0")
    assert len(curves) == len(whole.curves) == PEOPLE["train"] * 4 // (2 * PAIRS)  # every second step of two epochs
    np.testing.assert_allclose(curves[TERMS], whole.curves[TERMS], **CLOSE)
    assert_same_weights(weights(two.run / "checkpoints" / "last.ckpt"), whole.task.state_dict())


def test_two_processes_with_half_of_the_weights_each_train_as_one(whole, sharded):
    curves = steps(sharded.run / "curves" / "version_0")
    np.testing.assert_allclose(curves[TERMS], whole.curves[TERMS], **CLOSE)
    last = sharded.run / "checkpoints" / "last.ckpt"
    assert_same_weights(weights(last), whole.task.state_dict())
    net, _ = load_net(last)
    image = torch.randint(0, 256, (2, 3, 32, 32), dtype=torch.uint8)
    whole.task.net.eval()
    with torch.inference_mode():
        torch.testing.assert_close(net(image).pose, whole.task(image).pose, rtol=1e-3, atol=1e-2)


@pytest.mark.long
@pytest.mark.parametrize("method", ["hopenet", "quatnet", "6drepnet", "trinet", "matrix_fisher", "fsanet"])
def test_two_processes_train_every_method_as_one(small_set, tmp_path, method):
    """With ranking. FSA-Net's own streams have batch normalisation, whose statistics are a process's."""
    own = method == "fsanet"
    base = [one for one in EXACT if one != "loss.unit=normalised" and not (own and "backbone" in one)]
    base += [f"experiment={method}", "loss.share=0.5", "optimizer.lr=0.0001", *(["image_size=64"] if own else [])]
    halves = [*base, f"data.identities_per_batch={PAIRS}", "trainer=ddp", "trainer.devices=2"]
    succeed(run("train", f"data.root={small_set}", *halves, "hydra.run.dir=run", cwd=tmp_path))
    curves = steps(tmp_path / "run" / "curves" / "version_0")
    assert np.isfinite(curves["train/loss"]).all()
    last = weights(tmp_path / "run" / "checkpoints" / "last.ckpt")
    if own:
        assert all(value.isfinite().all() for value in last.values())
        return
    one = fitted(small_set, tmp_path, f"data.identities_per_batch={2 * PAIRS}", base=base)
    np.testing.assert_allclose(curves["train/loss"], one.curves["train/loss"], **CLOSE)
    assert_same_weights(last, one.task.state_dict())


def test_two_processes_test_to_the_metrics_of_one(two):
    """The same people, tested by both processes at the end of training and by the first one alone afterwards."""
    assert (two.run / "report.html").exists()
    alone = two.run / "evaluation" / "synthetic"
    found = metrics(two.run)
    (result,) = json.loads((alone / "metrics.json").read_text())["results"]
    for name, value in found.items():
        assert result["scores"][name.removeprefix("test/")] == pytest.approx(value, abs=1e-4), name
    frames = [pd.read_parquet(folder / "predictions.parquet") for folder in (alone, two.run)]
    assert list(frames[0]["image"]) == list(frames[1]["image"])


def test_processes_started_one_by_one_must_be_told_their_folder(monkeypatch):
    run_directory.check_agreed(given=False)
    for variables in (
        {"TORCHELASTIC_RUN_ID": "none", "WORLD_SIZE": "2"},
        {"SLURM_STEP_ID": "0", "SLURM_NTASKS": "8"},
    ):
        with monkeypatch.context() as patch:
            for name, value in variables.items():
                patch.setenv(name, value)
            run_directory.check_agreed(given=True)
            with pytest.raises(ConfigError, match=r"hydra\.run\.dir"):
                run_directory.check_agreed(given=False)


TWO = ["trainer=ddp", "trainer.devices=2", f"data.identities_per_batch={PAIRS}", "data.num_workers=1"]


@pytest.mark.long
def test_a_signal_to_the_group_stops_all_processes_at_one_step(small_set, tmp_path):
    arguments = [f"data.root={small_set}", *EXACT, *TWO, at_step(4, "SIGUSR1", "group"), "hydra.run.dir=run"]
    process = run("train", *arguments, cwd=tmp_path, env=INTERRUPT)
    assert process.returncode == 75, process.stdout[-3000:] + process.stderr[-5000:]
    step = torch.load(tmp_path / "run" / "checkpoints" / "last.ckpt", weights_only=True)["global_step"]
    assert f"stopped by SIGUSR1 at step {step}; go on: repeat the command with ckpt_path=run/checkpoints/last.ckpt" in (
        process.stdout
    )
    # processes look for each other's signals every second step here
    assert step in (4, 5)
    assert "Traceback" not in process.stderr


@pytest.mark.long
def test_a_signal_to_torchrun_and_its_group_leaves_a_checkpoint(small_set, tmp_path):
    """torchrun hands SIGTERM on to its processes, and then ends in its own way."""
    command = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "rankpose.train"]
    arguments = [f"data.root={small_set}", *EXACT, *TWO, "trainer.max_epochs=1000", "callbacks.last.every_minutes=0"]
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("WANDB", "PL_"))}
    with (tmp_path / "output").open("w") as output:
        process = subprocess.Popen(
            [sys.executable, *command, *arguments, "hydra.run.dir=run"],
            cwd=tmp_path,
            env=environment | {"OMP_NUM_THREADS": "1"},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    last = tmp_path / "run" / "checkpoints" / "last.ckpt"
    while process.poll() is None and not last.exists():
        time.sleep(0.1)
    os.killpg(process.pid, signal.SIGTERM)
    process.wait(timeout=1200)
    told = (tmp_path / "output").read_text()
    (step,) = re.findall(r"stopped by SIGTERM at step (\d+); go on: repeat", told)
    assert torch.load(last, weights_only=True)["global_step"] == int(step), told[-5000:]
    assert "DataLoader worker" not in told


def test_accumulated_batches_train_as_one_large_batch(small_set, whole, tmp_path):
    accumulated = [f"data.identities_per_batch={PAIRS}", "trainer.accumulate_grad_batches=2"]
    found = fitted(small_set, tmp_path, *accumulated)
    assert found.trainer.global_step == whole.trainer.global_step
    assert_same_weights(found.task.state_dict(), whole.task.state_dict())


def test_the_learning_rate_follows_the_images_a_step_where_asked_to(small_set, tmp_path, caplog):
    caplog.set_level(logging.INFO, "rankpose.task")
    few = [f"data.identities_per_batch={PAIRS}", "trainer.accumulate_grad_batches=2", "trainer.max_steps=2"]
    few += ["+trainer.limit_val_batches=0", "schedule=constant", "optimizer.lr=0.01", "lr_reference_batch=3"]
    rates = {}
    for scaling in ("none", "linear", "sqrt"):
        found = fitted(small_set, tmp_path / scaling, *few, f"lr_scaling={scaling}")
        (rates[scaling],) = {group["lr"] for group in found.trainer.optimizers[0].param_groups}
    # 3 people x 2 images x 2 batches = 12 images a step, four times the reference
    assert rates == {"none": 0.01, "linear": pytest.approx(0.04), "sqrt": pytest.approx(0.02)}
    lines = [record.getMessage() for record in caplog.records if record.name == "rankpose.task"]
    assert len(lines) == 3
    assert "12 images" in lines[1]
    assert "0.04" in lines[1]


def test_processes_count_as_images_a_step(two):
    assert re.search(rf"{4 * PAIRS} images .*processes: 2", two.output)


def test_an_unknown_precision_of_products_is_named():
    before = torch.get_float32_matmul_precision()
    with pytest.raises(ConfigError, match=r"float32_matmul=higher.*highest"):
        set_float32_matmul("higher")
    assert torch.get_float32_matmul_precision() == before


def test_an_unknown_scaling_is_named():
    with pytest.raises(ConfigError, match=r"lr_scaling=cubic.*linear"):
        make_task(composed("lr_scaling=cubic"))


class Recorder(pl.Callback):
    """The weights after every step, and the validation scores."""

    def __init__(self):
        self.weights, self.validated = [], []

    def on_train_batch_end(self, trainer, pl_module, *_):
        self.weights.append(copy.deepcopy(pl_module.state_dict()))

    def on_validation_end(self, trainer, pl_module):
        self.validated.append(float(trainer.callback_metrics["val/mae"]))


class Keep(pl.Callback):
    """Saves after an epoch, as the last of all callbacks."""

    def __init__(self, path, epoch=None):
        self.path, self.epoch = path, epoch

    def on_train_epoch_end(self, trainer, pl_module):
        if self.epoch in (None, trainer.current_epoch):
            trainer.save_checkpoint(self.path)


@pytest.fixture(scope="module")
def averaged(small_set, tmp_path_factory):
    folder = tmp_path_factory.mktemp("averaged")
    recorder = Recorder()
    keep = [recorder, Keep(folder / "first.ckpt", epoch=0), Keep(folder / "last.ckpt")]
    found = fitted(small_set, folder, base=BATCH_NORM, callbacks=keep)
    return SimpleNamespace(folder=folder, recorder=recorder, **vars(found))


def test_the_checkpoint_holds_the_moving_average(averaged):
    average = None
    for step, state in enumerate(averaged.recorder.weights):
        keep = min(0.8, (1 + step) / (10 + step))
        average = {
            name: value
            if average is None or not value.is_floating_point()
            else keep * average[name] + (1 - keep) * value
            for name, value in state.items()
        }
    found = weights(averaged.folder / "last.ckpt")
    for name, value in found.items():
        torch.testing.assert_close(value, average[name], rtol=1e-4, atol=1e-5)
    raw = averaged.recorder.weights[-1]
    assert any(not torch.allclose(value.float(), raw[name].float(), rtol=1e-2) for name, value in found.items())


def score(small_set, net):
    trainer = pl.Trainer(accelerator="cpu", logger=False, enable_progress_bar=False, enable_model_summary=False)
    data = build(composed(f"data.root={small_set}", *BATCH_NORM).data)
    (scores,) = trainer.test(PoseScoring(net), dataloaders=data.val_dataloader(), verbose=False)
    return scores["test/mae"]


def test_validation_and_test_see_the_moving_average(small_set, averaged):
    net, _ = load_net(averaged.folder / "last.ckpt")
    expected = score(small_set, net)
    assert averaged.recorder.validated[-1] == pytest.approx(expected, abs=1e-4)
    # the optimizer's own weights are another network
    net.load_state_dict({name.removeprefix("net."): value for name, value in averaged.recorder.weights[-1].items()})
    assert abs(score(small_set, net) - expected) > 0.01
    for loader in (averaged.data.val_dataloader(), averaged.data.test_dataloader()):
        path = str(averaged.folder / "last.ckpt")
        (tested,) = averaged.trainer.test(averaged.task, dataloaders=loader, ckpt_path=path, verbose=False)
        if loader.dataset.records is averaged.data.records("val"):
            assert tested["test/mae"] == pytest.approx(expected, abs=1e-4)


def test_a_resumed_run_goes_on_with_average_and_weights(small_set, averaged, tmp_path):
    last = tmp_path / "last.ckpt"
    first = str(averaged.folder / "first.ckpt")
    fitted(small_set, tmp_path, base=BATCH_NORM, callbacks=[Keep(last)], ckpt_path=first)
    found, expected = (torch.load(path, weights_only=True) for path in (last, averaged.folder / "last.ckpt"))
    for part in ("state_dict", "current_model_state", "averaging_state"):
        for name, value in expected[part].items():
            assert torch.equal(found[part][name], value), (part, name)


def test_a_run_with_an_average_does_not_go_on_without(averaged):
    with pytest.raises(ConfigError, match="ema"):
        check_same_task(str(averaged.folder / "last.ckpt"), replace(averaged.task.made_from, ema=None))


@pytest.mark.parametrize("decay", [1.0, -0.1])
def test_an_average_that_is_none_is_refused(decay):
    with pytest.raises(ConfigError, match="ema="):
        MovingAverage(decay)


def test_sharded_weights_have_no_average():
    trainer = SimpleNamespace(strategy=ModelParallelStrategy())
    with pytest.raises(ConfigError, match="ema"):
        MovingAverage(0.9).setup(trainer, None, "fit")


def test_what_has_no_blocks_is_not_sharded():
    net = PoseNet(build_backbone("resnet10t"), VectorProjection)
    assert not blocks(net.backbone)
    with pytest.raises(ConfigError, match="trainer=ddp"):
        shard(net, None, "32-true")
    assert len(blocks(build_backbone("vit_tiny_patch16_224"))) == 12


def test_a_compiled_network_computes_and_is_kept_as_it_is(small_set, tmp_path, monkeypatch):
    """With a backend that needs no C++ compiler: names of weights, result, and going on without compiling."""
    compiled = []
    as_it_is = nn.Module.compile

    def without_compiler(module):
        compiled.append(module)
        as_it_is(module, backend="aot_eager")

    monkeypatch.setattr(nn.Module, "compile", without_compiler)
    few = [
        f"data.identities_per_batch={PAIRS}",
        "schedule=constant",
        "+trainer.limit_val_batches=0",
        "trainer.max_epochs=1",
    ]
    plain_run = fitted(small_set, tmp_path / "plain", *few)
    assert not compiled
    last = tmp_path / "last.ckpt"
    found = fitted(small_set, tmp_path / "compiled", *few, "compile=true", callbacks=[Keep(last)])
    assert compiled == [found.task.net]
    assert_same_weights(weights(last), plain_run.task.state_dict())
    load_net(last)
    more = [*few[:-1], "trainer.max_epochs=2"]
    resumed = fitted(small_set, tmp_path / "resumed", *more, "compile=true", ckpt_path=str(last))
    assert resumed.trainer.global_step == 2 * found.trainer.global_step


def test_channels_last_is_a_switch_that_changes_no_pose():
    poses = []
    image = torch.randint(0, 256, (2, 3, 64, 64), dtype=torch.uint8)
    for switch, memory_format in (("true", torch.channels_last), ("false", torch.contiguous_format)):
        torch.manual_seed(0)
        net = make_task(composed(f"channels_last={switch}")).net.eval()
        convolutions = [module.weight for module in net.modules() if isinstance(module, nn.Conv2d)]
        assert all(weight.is_contiguous(memory_format=memory_format) for weight in convolutions)
        with torch.inference_mode():
            poses.append(net(image).pose)
    torch.testing.assert_close(*poses, rtol=1e-3, atol=1e-2)


def settings(*overrides):
    config = composed(*overrides)
    return {name: config.trainer[name] for name in ("deterministic", "benchmark")} | {
        "float32_matmul": config.float32_matmul
    }


def test_a_gpu_is_used_fast_and_a_cpu_repeatably(monkeypatch):
    repeatable = {"deterministic": "warn", "benchmark": False, "float32_matmul": "highest"}
    fast = {"deterministic": False, "benchmark": True, "float32_matmul": "high"}
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert settings().items() >= repeatable.items()
    assert settings("trainer=ddp").items() >= repeatable.items()
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    for trainer in ("default", "gpu", "ddp", "fsdp"):
        assert settings(f"trainer={trainer}") == fast
    assert settings("trainer.accelerator=cpu").items() >= repeatable.items()


def test_a_gpu_that_is_not_there_is_missed(monkeypatch):
    if torch.cuda.is_available():
        pytest.skip("there is one")
    with pytest.raises(ConfigError, match="gpu"):
        build(composed("trainer=gpu", "trainer.precision=32-true").trainer, default_root_dir=None)


REPRESENTATIONS = [Euler, VectorProjection, VectorAngle]


@pytest.mark.parametrize("kind", REPRESENTATIONS)
def test_the_derivative_of_a_representation_is_right(kind):
    torch.manual_seed(0)
    representation = kind(7).double()
    features = torch.randn(5, 7, dtype=torch.float64, requires_grad=True)
    parameters = dict(representation.named_parameters())

    def pose(features, *values):
        given = dict(zip(parameters, values, strict=True))
        return torch.func.functional_call(Poses(representation), {f"of.{k}": v for k, v in given.items()}, features)

    assert torch.autograd.gradcheck(pose, (features, *parameters.values()))


class Poses(nn.Module):
    """A representation in the precision of its input."""

    def __init__(self, of):
        super().__init__()
        self.of = of

    def forward(self, features):
        return self.of.to_pose(self.of.raw(features))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("kind", REPRESENTATIONS)
@pytest.mark.parametrize("loss", ["mse", "rank_mse", "rank_mse_squared"])
def test_a_cosine_of_one_gives_finite_poses_and_gradients(kind, dtype, loss):
    """Features along a weight vector, against it, and none at all, as they come out of a backbone under autocast."""
    torch.manual_seed(0)
    representation = kind(16)
    weight = next(representation.parameters()).detach()
    features = torch.cat([weight, -weight, 1e3 * weight, torch.zeros(2, 16)]).to(dtype).requires_grad_()
    target = torch.empty(len(features), 3).uniform_(-99, 99)
    identity = torch.arange(len(features)) // 2
    with torch.autocast("cpu", torch.bfloat16 if dtype == torch.float32 else dtype):
        pose, raw, _ = output = representation(features)
        terms = build(composed(f"loss={loss}").loss)(output, target, identity)
    assert pose.dtype == raw.dtype == torch.float32
    assert all(term.dtype == torch.float32 and term.isfinite() for term in terms.values())
    if kind is not Euler and dtype == torch.float32:
        cosines, poses = raw.detach(), pose.detach()
        assert cosines[:3].diagonal().numpy() == pytest.approx(1, abs=1e-6)
        assert cosines[3:6].diagonal().numpy() == pytest.approx(-1, abs=1e-6)
        assert poses[:6].abs().amax(dim=1).numpy() == pytest.approx(180, abs=0.5)
    # float16 is trained with a loss that is scaled down until gradients fit
    (terms["loss"] * (2**-10 if dtype == torch.float16 else 1)).backward()
    for value in (features, *representation.parameters()):
        assert value.grad.isfinite().all()
    assert features.grad.abs().sum() > 0


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("representation", ["euler", "vector_projection", "vector_angle"])
def test_half_precision_stays_within_the_backbone(dtype, representation):
    torch.manual_seed(0)
    task = make_task(composed(f"representation={representation}", "backbone.options.channels=[8,16,24,32]"))
    seen = {}
    task.net.backbone.register_forward_hook(lambda *found: seen.update(features=found[-1].dtype))
    image = torch.randint(0, 256, (4, 3, 64, 64), dtype=torch.uint8)
    target, identity = torch.randn(4, 3) * 30, torch.tensor([0, 0, 1, 1])
    with torch.autocast("cpu", dtype):
        pose, raw, _ = output = task(image)
        terms = task.loss(output, target, identity)
        scores = pose_scores(pose.detach(), target, identity)
    assert seen["features"] == dtype
    assert pose.dtype == raw.dtype == terms["loss"].dtype == torch.float32
    outside = task.loss(output, target, identity)
    assert all(torch.equal(terms[name], value) for name, value in outside.items())
    assert all(torch.equal(scores[name], value) for name, value in pose_scores(pose.detach(), target, identity).items())
    terms["loss"].backward()
    assert all(p.grad.isfinite().all() for p in task.net.parameters() if p.grad is not None)


def test_resolvers_ask_for_the_accelerator():
    assert configuration.computes_on_gpu("gpu")
    assert not configuration.computes_on_gpu("cpu")
