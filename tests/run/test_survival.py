"""A run that is stopped, killed or out of room ends where it would have, and never loses a good checkpoint."""

import json
import os
import re
import resource
import shutil
import signal
from contextlib import suppress
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import pytorch_lightning as pl
import torch
from commands import INTERRUPT, at_step, metrics, train
from pytorch_lightning.callbacks import Callback, LearningRateMonitor, ModelCheckpoint
from torch import nn
from torch.utils.data import DataLoader, Dataset

from rankpose.callbacks.keep_last import KeepLast
from rankpose.callbacks.non_finite import StopAtNonFinite
from rankpose.callbacks.seeding import SeedBatches
from rankpose.data.datamodule import PoseDataModule
from rankpose.data.identity_sampler import IdentitySampler
from rankpose.errors import CheckpointError, ConfigError, LoaderError, TrainingError
from rankpose.files import write_whole
from rankpose.models.checkpoint import read_checkpoint
from rankpose.run import directory as run_directory
from rankpose.run.checkpoints import WholeCheckpoints
from rankpose.run.curve_logger import CurveLogger
from rankpose.run.curves import gather_curves
from rankpose.run.going_on import Onward, onward
from rankpose.run.stopping import SIGNALS, Stopped, stoppable

pytestmark = pytest.mark.slow

EPOCHS, BATCHES, LOG_EVERY = 3, 12, 5


class Points(Dataset):
    """What a draw stands for: a point that its seeds decide."""

    def __getitem__(self, draws):
        rows = [[draw.row, draw.visit_seed % 97, draw.image_seed % 89] for draw in draws]
        return torch.tensor(rows, dtype=torch.float32) / 100

    def __len__(self):
        return 48


class PointData(pl.LightningDataModule):
    """The project's order of batches and its way of going on, without images."""

    _where_to_begin = PoseDataModule._where_to_begin

    def train_dataloader(self):
        epoch, start = self._where_to_begin()
        people = {"identity": np.arange(48) // 4, "pose": np.zeros((48, 3)), "identities_per_batch": 2}
        order = IdentitySampler(**people, draws_per_identity=2, epoch=epoch, start_batch=start)
        return DataLoader(Points(), sampler=order, batch_size=None)

    def val_dataloader(self):
        return DataLoader(torch.linspace(0, 1, 24).view(8, 3), batch_size=4)


class Line(pl.LightningModule):
    """A net with dropout, so that what is drawn in a step matters."""

    def __init__(self, lr=0.01, poison=None):
        super().__init__()
        self.lr, self.poison = lr, poison
        self.net = nn.Sequential(nn.Linear(3, 16), nn.ReLU(), nn.Dropout(0.5), nn.Linear(16, 1))
        self.ballast = nn.Parameter(torch.zeros(20_000))

    def training_step(self, batch, batch_idx):
        loss = self.net(batch).square().mean() + (self.ballast.sum() - 1).square() * 1e-6
        if self.poison is not None and self.poison(self.trainer.global_step):
            loss = loss * float("nan")
        self.log("train/loss", loss.detach(), batch_size=len(batch))
        return loss

    def validation_step(self, batch, batch_idx):
        self.log("val/mae", (self.net(batch) - 0.1).abs().mean(), batch_size=len(batch))

    def configure_optimizers(self):
        optimizer = torch.optim.AdamW(self.parameters(), lr=self.lr)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=self.lr, total_steps=EPOCHS * BATCHES + 1)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


class At(Callback):
    """Does something during the step after which `step` steps are done."""

    def __init__(self, step, act):
        self.step, self.act = step, act

    def on_train_batch_start(self, trainer, *args):
        if trainer.global_step == self.step - 1:
            self.act()


class AtValidation(Callback):
    def on_validation_batch_start(self, trainer, *args):
        os.kill(os.getpid(), signal.SIGUSR1)


class Copies(WholeCheckpoints):
    """Keeps every last.ckpt that was ever there."""

    def save_checkpoint(self, checkpoint, path, storage_options=None):
        super().save_checkpoint(checkpoint, path, storage_options)
        folder = Path(path).parent.parent / "copies"
        folder.mkdir(exist_ok=True)
        shutil.copy(path, folder / f"{len(list(folder.iterdir())):03d}-{Path(path).name}")


def fit(folder, *further, ckpt_path=None, every_minutes=None, model=None, io=None, data=None, **options):
    """Trains (on) in `folder` and gives the final weights."""
    checkpoints = f"{folder}/checkpoints"
    best = {"filename": "best", "monitor": "val/mae", "enable_version_counter": False}
    callbacks = [
        ModelCheckpoint(checkpoints, **best, auto_insert_metric_name=False),
        KeepLast(checkpoints, every_minutes=every_minutes),
        StopAtNonFinite(),
        SeedBatches(3),
        LearningRateMonitor(),
        *further,
    ]
    pl.seed_everything(1, verbose=False)
    model = model or Line()
    settings = {"accelerator": "cpu", "max_epochs": EPOCHS, "log_every_n_steps": LOG_EVERY, "num_sanity_val_steps": 0}
    quiet = {"enable_progress_bar": False, "enable_model_summary": False, "use_distributed_sampler": False}
    trainer = pl.Trainer(
        **(settings | quiet | options),
        default_root_dir=folder,
        callbacks=callbacks,
        plugins=[io or WholeCheckpoints()],
        logger=CurveLogger(str(folder), name="curves"),
    )
    trainer.fit(model, datamodule=data or PointData(), ckpt_path=None if ckpt_path is None else str(ckpt_path))
    assert trainer.global_step == EPOCHS * BATCHES // trainer.accumulate_grad_batches
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def same(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def curves(folder):
    table = gather_curves(Path(folder))
    long = table.melt(["step", "epoch"], ignore_index=True).dropna(subset="value")
    return long.drop(columns="epoch").sort_values(["variable", "step"], ignore_index=True)


def last(folder):
    return Path(folder) / "checkpoints" / "last.ckpt"


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A run that was left alone: its folder and final weights."""
    folder = tmp_path_factory.mktemp("whole")
    return folder, fit(folder)


def terminate():
    os.kill(os.getpid(), signal.SIGTERM)


# with a row of the curves, without one, before the last batch of an epoch, at it, first batch, the very last
@pytest.mark.parametrize("step", [15, 17, 11, 12, 1, 36])
def test_a_run_stopped_at_any_step_ends_as_if_it_had_not_been(whole, tmp_path, step):
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(Stopped) as stopped:
        fit(tmp_path, At(step, terminate))
    assert stopped.value.code == 75
    assert signal.getsignal(signal.SIGTERM) is before
    assert int(re.search(r"at step (\d+)", stopped.value.message).group(1)) == step
    assert read_step(last(tmp_path)) == step
    assert same(fit(tmp_path, ckpt_path=last(tmp_path)), whole[1])
    pd.testing.assert_frame_equal(curves(tmp_path), curves(whole[0]))
    assert best(tmp_path) == best(whole[0])


def read_step(path):
    return torch.load(path, weights_only=False)["global_step"]


def best(folder):
    content = torch.load(Path(folder) / "checkpoints" / "best.ckpt", weights_only=False)
    return content["global_step"], content["state_dict"]["net.0.bias"].tolist()


def test_a_signal_during_validation_waits_until_it_is_over(whole, tmp_path):
    with pytest.raises(Stopped) as stopped:
        fit(tmp_path, AtValidation())
    assert f"SIGUSR1 at step {BATCHES}" in stopped.value.message
    assert same(fit(tmp_path, ckpt_path=last(tmp_path)), whole[1])
    pd.testing.assert_frame_equal(curves(tmp_path), curves(whole[0]))


class Breaking(PointData):
    """Its loader dies after some batches of the second epoch."""

    def __init__(self, batches):
        super().__init__()
        self.batches = batches

    def train_dataloader(self):
        return Endless(super().train_dataloader(), BATCHES + self.batches)


class Endless:
    """A loader that gives so many batches in all."""

    def __init__(self, loader, left):
        self.loader, self.left, self.sampler = loader, left, loader.sampler

    def __len__(self):
        return len(self.loader)

    def __iter__(self):
        for batch in self.loader:
            if self.left == 0:
                raise LoaderError("a loader process is gone")
            self.left -= 1
            yield batch


# after the validation at the end of the epoch before, with a row of the curves, without one, before the last batch
@pytest.mark.parametrize("batches", [0, 3, 5, BATCHES - 1])
def test_a_run_whose_loaders_die_saves_every_step_before(whole, tmp_path, batches):
    with pytest.raises(LoaderError):
        fit(tmp_path, data=Breaking(batches))
    assert read_step(last(tmp_path)) == BATCHES + batches
    assert same(fit(tmp_path, ckpt_path=last(tmp_path)), whole[1])
    pd.testing.assert_frame_equal(curves(tmp_path), curves(whole[0]))
    assert best(tmp_path) == best(whole[0])


@pytest.fixture
def own_signals():
    """Puts the handlers back that a test changes, and lets Ctrl-C be one."""
    numbers = [signal.Signals[name] for name in SIGNALS]
    kept = {number: signal.getsignal(number) for number in numbers}
    for number in numbers:
        signal.signal(number, signal.SIG_DFL)
    yield numbers
    for number, handler in kept.items():
        signal.signal(number, handler)


def test_outside_of_training_a_signal_ends_at_once_and_says_how_to_go_on(tmp_path, own_signals, caplog):
    caplog.set_level("INFO")

    @stoppable(tmp_path)
    def wait(number):
        os.kill(os.getpid(), number)
        signal.pause()

    for number in own_signals:
        with pytest.raises(Stopped, match="75") as stopped:
            wait(number)
        assert stopped.value.message == f"stopped by {number.name}"
        assert "nothing was saved before" in caplog.messages[-1]
        assert signal.getsignal(number) == signal.SIG_DFL
    last(tmp_path).parent.mkdir()
    last(tmp_path).touch()
    with suppress(Stopped):
        wait(signal.SIGTERM)
    assert caplog.messages[-1].endswith(f"go on: repeat the command with ckpt_path={last(tmp_path)}")


def test_what_others_handle_or_ignore_is_left_to_them(tmp_path, own_signals):
    seen = []

    def requeue(number, frame):
        seen.append(number)

    signal.signal(signal.SIGUSR2, requeue)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # as a shell does for what it puts into the background
    with stoppable(tmp_path):
        os.kill(os.getpid(), signal.SIGUSR2)
        os.kill(os.getpid(), signal.SIGINT)
        with pytest.raises(Stopped, match="75"):
            fit(tmp_path, At(4, lambda: os.kill(os.getpid(), signal.SIGUSR2)), At(2, lambda: os.kill(os.getpid(), 2)))
    assert seen == [signal.SIGUSR2] * 2
    assert read_step(last(tmp_path)) == 4


def test_a_second_ctrl_c_ends_at_once(own_signals):
    """The first one is answered after the step, which here does not end."""
    keep = KeepLast("checkpoints")
    signal.signal(signal.SIGINT, signal.default_int_handler)
    keep._listen()
    child = os.fork()
    if child == 0:
        for _ in range(2):
            os.kill(os.getpid(), signal.SIGINT)
        while True:
            signal.pause()
    keep._restore()
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGINT


def test_signals_that_a_system_lacks_are_left_out_and_others_refused(monkeypatch):
    monkeypatch.setattr(signal, "Signals", [one for one in signal.Signals if one.name in ("SIGINT", "SIGTERM")])
    assert {one.name for one in KeepLast("checkpoints").signals} == {"SIGINT", "SIGTERM"}
    with pytest.raises(ConfigError, match="SIGTREM"):
        KeepLast("checkpoints", signals=["SIGTREM"])


@pytest.mark.parametrize("options", [{"val_check_interval": 0.5}, {"accumulate_grad_batches": 2}], ids=str)
def test_every_checkpoint_ever_written_leads_to_the_same_end(tmp_path, options):
    """So a kill costs at most what came after the last one."""
    whole = fit(tmp_path / "whole", every_minutes=0, io=Copies(), **options)
    copies = sorted((tmp_path / "whole" / "copies").glob("*-last.ckpt"))
    steps = [read_step(path) for path in copies]
    inside = [step for step in steps if step % (BATCHES // options.get("accumulate_grad_batches", 1))]
    assert len(inside) >= 3, "checkpoints within an epoch"
    assert len(set(steps) - set(inside)) == EPOCHS, "and at its end"
    expected = curves(tmp_path / "whole")
    for number, path in enumerate(copies):
        folder = tmp_path / str(number)
        (folder / "checkpoints").mkdir(parents=True)
        shutil.copy(path, last(folder))
        assert same(fit(folder, ckpt_path=last(folder), **options), whole), path
        # a step's row has the number of the step before
        still = expected[expected["step"] >= steps[number]].reset_index(drop=True)
        if len(still):
            pd.testing.assert_frame_equal(curves(folder), still)


def test_who_handled_the_signal_before_is_called_after_saving(tmp_path):
    """As submitit's handler, which puts the job back into the queue and then ends the process."""
    seen = []

    def requeue(number, frame):
        seen.append(last(tmp_path).exists())
        raise SystemExit(-1)

    before = signal.signal(signal.SIGUSR2, requeue)
    try:
        with pytest.raises(Stopped, match="75"):
            fit(tmp_path, At(4, lambda: os.kill(os.getpid(), signal.SIGUSR2)))
    finally:
        signal.signal(signal.SIGUSR2, before)
    assert seen == [True]


def test_best_is_the_best_by_validation_whatever_else_is_saved(whole, tmp_path):
    fit(tmp_path, every_minutes=0)
    table = pd.read_csv(next((tmp_path / "curves").glob("*/metrics.csv"))).dropna(subset="val/mae")
    assert best(tmp_path)[0] == int(table.loc[table["val/mae"].idxmin(), "step"]) + 1
    assert read_step(last(tmp_path)) == EPOCHS * BATCHES


def is_sound(path):
    content = torch.load(path, weights_only=False)
    return all(torch.isfinite(tensor).all() for tensor in content["state_dict"].values())


@pytest.mark.parametrize("poison", [lambda step: step >= 15, lambda step: step == 15], ids=["from then on", "once"])
def test_a_loss_that_is_no_number_stops_with_one_line_and_leaves_the_good_checkpoint(tmp_path, poison):
    with pytest.raises(TrainingError) as stopped:
        fit(tmp_path, every_minutes=0, model=Line(poison=poison))
    message = str(stopped.value)
    for part in ("from step 16 on", "train/loss=nan", "learning rate", "32-true", "optimizer.lr", "last.ckpt"):
        assert part in message
    assert "\n" not in message
    assert read_step(last(tmp_path)) < 16
    assert all(is_sound(path) for path in (tmp_path / "checkpoints").iterdir())


def test_weights_that_are_no_numbers_are_never_saved(tmp_path):
    model = Line()

    class Spoil(Callback):
        """As a gradient would whose norm overflows after a loss that was fine."""

        def on_before_zero_grad(self, trainer, pl_module, optimizer):
            if trainer.global_step == EPOCHS * BATCHES - 1:
                pl_module.ballast.data[0] = float("inf")

    with pytest.raises(TrainingError, match="not finite"):
        fit(tmp_path, Spoil(), model=model)
    assert read_step(last(tmp_path)) == (EPOCHS - 1) * BATCHES
    assert all(is_sound(path) for path in (tmp_path / "checkpoints").iterdir())


def test_a_scaler_may_skip_steps_but_not_for_ever():
    """A fake trainer: a scaler works on a GPU only."""
    from types import SimpleNamespace

    plugin, module = SimpleNamespace(scaler=object()), SimpleNamespace(device="cpu")
    trainer = SimpleNamespace(
        global_step=0, world_size=1, log_every_n_steps=4, precision_plugin=plugin, precision="16-mixed", optimizers=[]
    )
    trainer.callback_metrics, trainer.default_root_dir = {"train/loss": torch.tensor(torch.inf)}, "run"
    watch = StopAtNonFinite()
    watch.on_train_start(trainer, module)
    good, bad = torch.tensor(1.0), torch.tensor(torch.inf)

    def steps(losses):
        for loss in losses:
            trainer.global_step += 1
            watch.on_train_batch_end(trainer, module, {"loss": loss}, None, 0)

    steps([good, bad, good, good, bad, bad, good, good, good, bad, good])
    with pytest.raises(TrainingError, match="from step 12 on"):
        steps([bad] * 8)


@pytest.fixture
def little_room():
    """Makes every file that is written end at 64 kB, less than a checkpoint here, once called."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    yield lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (64_000, hard))
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_disk_that_fills_up_leaves_the_last_good_checkpoint(whole, tmp_path, little_room):
    with pytest.raises(TrainingError) as stopped:
        fit(tmp_path, At(20, little_room))
    message = str(stopped.value)
    assert re.search(r"no room for (best|last)\.ckpt \(\d\.\d MB\)", message), message
    for part in (str(tmp_path), "File too large, ", "B are free", f"last good checkpoint is {last(tmp_path)}"):
        assert part in message
    assert {path.name for path in (tmp_path / "checkpoints").iterdir()} == {"best.ckpt", "last.ckpt"}
    assert read_step(last(tmp_path)) == BATCHES
    resource.setrlimit(resource.RLIMIT_FSIZE, resource.getrlimit(resource.RLIMIT_FSIZE)[1:] * 2)
    assert same(fit(tmp_path, ckpt_path=last(tmp_path)), whole[1])
    pd.testing.assert_frame_equal(curves(tmp_path), curves(whole[0]))


def test_curves_without_room_are_told_as_well(tmp_path, little_room):
    (tmp_path / "checkpoints").mkdir()
    little_room()
    found = r"no room for its files: .*no checkpoint was written"
    with pytest.raises(TrainingError, match=found), run_directory.telling_no_room(tmp_path):
        write_whole(tmp_path / "metrics.csv", bytes(100_000))
    with pytest.raises(PermissionError), run_directory.telling_no_room(tmp_path):
        raise PermissionError(13, "another thing")


def test_a_checkpoint_is_written_beside_and_renamed(tmp_path, monkeypatch):
    """At the moment of the renaming the disk has the whole new file, and the old one is untouched."""
    path = tmp_path / "checkpoints" / "last.ckpt"
    WholeCheckpoints().save_checkpoint({"state": 1}, path)
    seen, replace, fsync = [], Path.replace, os.fsync
    synced = []
    monkeypatch.setattr(os, "fsync", lambda number: (synced.append(os.fstat(number).st_ino), fsync(number)))

    def watched(source, target):
        content = [torch.load(file, weights_only=True)["state"] for file in (source, target)]
        seen.append((*content, source.stat().st_ino in synced))
        return replace(source, target)

    monkeypatch.setattr(Path, "replace", watched)
    WholeCheckpoints().save_checkpoint({"state": 2}, path)
    assert seen == [(2, 1, True)]
    assert torch.load(path, weights_only=True) == {"state": 2}
    assert list(path.parent.iterdir()) == [path]


def test_half_a_checkpoint_is_refused_and_leftovers_go(tmp_path):
    path = tmp_path / "run" / "checkpoints" / "last.ckpt"
    WholeCheckpoints().save_checkpoint({"state_dict": {"a": torch.zeros(9999)}, "rankpose": {"a": 1}}, path)
    read_checkpoint(path)
    path.write_bytes(path.read_bytes()[:20_000])
    with pytest.raises(CheckpointError, match="cut off"):
        read_checkpoint(path)
    leftovers = [path.with_name(".last.ckpt.4711"), path.parent.parent / ".metrics.json.12"]
    for leftover in leftovers:
        leftover.write_text("half")
    (path.parent.parent / ".hidden").write_text("a user's")
    with run_directory.opened(str(tmp_path / "run"), "auto") as (folder, checkpoint):
        assert (folder, checkpoint) == (tmp_path / "run", str(path))
    assert not any(leftover.exists() for leftover in leftovers)
    assert (path.parent.parent / ".hidden").exists()


def test_auto_starts_anew_where_there_is_nothing_to_go_on_from(tmp_path):
    other = tmp_path / "day" / "other" / "checkpoints" / "last.ckpt"
    other.parent.mkdir(parents=True)
    other.write_text("of another run")
    for made in (tmp_path / "day" / "run", tmp_path / "day" / "killed_early"):
        (made / ("checkpoints" if "early" in made.name else "")).mkdir(parents=True)
        with run_directory.opened(str(made), "auto") as (folder, checkpoint):
            assert (folder, checkpoint) == (made, None)


CONFIG = """
seed: 0
run_dir: {run}
data: {{identities_per_batch: {people}, num_workers: {workers}, root: data}}
optimizer: {{lr: {lr}}}
schedule: {{_target_: rankpose.schedules.{schedule}}}
trainer: {{max_epochs: {epochs}, precision: {precision}}}
"""
ASKED = {
    "run": "a", "people": 4, "workers": 1, "lr": 0.001, "schedule": "one_cycle", "epochs": 14, "precision": "32-true"
}  # fmt: skip


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"people": 8}, "data.identities_per_batch=8 (was 4)"),
        ({"lr": 0.1}, "optimizer.lr=0.1 (was 0.001)"),
        ({"epochs": 20}, "trainer.max_epochs=20 (was 14)"),
    ],
)
def test_what_a_resumed_run_cannot_have_otherwise_is_refused(tmp_path, change, told):
    (tmp_path / "config.yaml").write_text(CONFIG.format(**ASKED))
    with pytest.raises(ConfigError) as refused:
        onward(tmp_path, CONFIG.format(**(ASKED | change)), [])
    assert told in str(refused.value)


def test_what_a_resumed_run_may_have_otherwise_is_told(tmp_path):
    ours = ASKED | {"schedule": "constant"}
    (tmp_path / "config.yaml").write_text(CONFIG.format(**ours))
    same = CONFIG.format(**(ours | {"workers": 3, "run": "b"}))
    assert onward(tmp_path, same, []) == Onward([], finished=False)
    (tmp_path / "metrics.json").write_text("{}")
    assert onward(tmp_path, same, []) == Onward([], finished=True)
    assert not onward(tmp_path, same, ["aflw2000"]).finished
    longer = CONFIG.format(**(ours | {"epochs": 20, "precision": "bf16"}))
    changes = ["trainer.max_epochs=20 (was 14)", "trainer.precision=bf16 (was 32-true)"]
    assert onward(tmp_path, longer, []) == Onward(changes, finished=False)


def test_data_that_have_changed_are_told(tmp_path):
    with pytest.raises(Stopped):
        fit(tmp_path, At(4, terminate))
    with pytest.raises(ConfigError, match=r"with 12 batches an epoch, now there are 7"):
        fit(tmp_path, ckpt_path=last(tmp_path), limit_train_batches=7)


def test_curves_join_over_a_line_cut_off_and_a_file_just_begun(tmp_path):
    for number, text in enumerate(["step,train/loss\n4,0.5\n9,0.4\n14,0.1", "", "step,train/loss\n9,0.3\n"]):
        (tmp_path / "curves" / f"version_{number}").mkdir(parents=True)
        (tmp_path / "curves" / f"version_{number}" / "metrics.csv").write_text(text)
    assert gather_curves(tmp_path).to_dict("list") == {"step": [4, 9], "train/loss": [0.5, 0.3]}


@pytest.fixture(scope="module")
def survivor(small_set, tmp_path_factory):
    """One command, started until it is done: killed, without its loader, told to stop, left alone, and once more."""
    folder = tmp_path_factory.mktemp("survivor")
    command = [small_set, "ckpt_path=auto", "hydra.run.dir=run", "callbacks.last.every_minutes=0"]
    ends, steps = [], []
    told = [(8, "SIGKILL"), (12, "SIGKILL", "loader"), (20, "SIGINT", "group")]
    for further in (*([at_step(*one)] for one in told), [], []):
        ends.append(train(*command, *further, cwd=folder, env=INTERRUPT))
        steps.append(read_step(last(folder / "run")))
    return folder / "run", ends, steps


def test_a_killed_and_stopped_run_ends_with_what_it_would_have_had(trained, survivor):
    folder, ends, steps = survivor
    codes = [process.returncode for process in ends]
    assert codes == [-signal.SIGKILL, 1, 75, 0, 0], ends[-1].stderr[-3000:]
    assert (steps[0], steps[2:]) == (5, [20, 30, 30]), "15 steps an epoch"
    # batches that the loader had ready are not lost
    assert 12 <= steps[1] < 15
    assert metrics(folder) == metrics(trained)
    predictions = [pd.read_parquet(run / "predictions.parquet") for run in (folder, trained)]
    pd.testing.assert_frame_equal(*predictions)
    what = ["train/loss", "val/mae"]
    tables = [pd.read_csv(run / "metrics.csv").set_index("step")[what].dropna(how="all") for run in (folder, trained)]
    pd.testing.assert_frame_equal(*tables)
    assert list(tables[0]["train/loss"].dropna().index) == [9, 19, 29]
    assert not [path for path in folder.parent.iterdir() if path != folder], "going on leaves no other folder behind"


def test_each_start_says_what_it_does(survivor):
    folder, (_, lost, stopped, finished, again), steps = survivor
    assert (
        f"saved at step {steps[1]}; go on: repeat the command with ckpt_path=run/checkpoints/last.ckpt" in lost.stdout
    )
    line = error_line(lost)
    assert "a loader process was killed by SIGKILL, perhaps for want of memory" in line
    assert "data.num_workers=0" in line
    assert "going on from run/checkpoints/last.ckpt" in stopped.stdout
    assert "stopped by SIGINT at step 20; go on: repeat the command with ckpt_path=run/checkpoints/last.ckpt" in (
        stopped.stdout
    )
    assert "report:" in finished.stdout
    assert "run is finished" in again.stdout
    assert "training on" not in again.stdout
    assert not any("Traceback" in process.stderr for process in (lost, stopped, finished, again))
    starts = [one["exit"] for one in json.loads((folder / "run.json").read_text())["starts"]]
    assert starts == [None, "failed", "stopped", "finished"]


def error_line(process):
    assert process.returncode == 1, process.stderr[-3000:]
    assert "Traceback" not in process.stderr
    (line,) = [line for line in process.stderr.splitlines() if line.startswith("error:")]
    return line


@pytest.mark.long
def test_a_learning_rate_far_too_high_ends_with_one_line(small_set, tmp_path):
    line = error_line(train(small_set, "optimizer.lr=1e30", "hydra.run.dir=run", cwd=tmp_path))
    for part in ("run: the loss is not finite from step", "train/loss=", "learning rate", "a lower optimizer.lr"):
        assert part in line
    assert not list((tmp_path / "run").glob("checkpoints/*"))


@pytest.mark.long
def test_a_full_disk_ends_with_one_line(small_set, tmp_path):
    def little_room():
        resource.setrlimit(resource.RLIMIT_FSIZE, (30_000, resource.RLIM_INFINITY))

    # a loader process hands its batches over in files, which the limit would count as well
    alone = ("hydra.run.dir=run", "data.num_workers=0")
    line = error_line(train(small_set, *alone, cwd=tmp_path, prepare=little_room))
    assert re.search(r"run: no room for .* [MG]B are free; no checkpoint was written", line), line
    assert not list((tmp_path / "run").glob("checkpoints/*"))
