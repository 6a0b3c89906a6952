"""What W&B gets of training, read back from the files of real offline runs."""

import base64
import hashlib
import json
import logging
import math
import os
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pandas as pd
import pytest
import pytorch_lightning as pl
import torch
import yaml
from commands import metrics, succeed, train
from torch import nn

from rankpose import workspace
from rankpose.callbacks import pictures, speed
from rankpose.errors import ConfigError
from rankpose.report import dashboard
from rankpose.run import loggers
from rankpose.run.job import Job

pytestmark = pytest.mark.slow

VALIDATIONS = 2
IMAGES = 8


def records(folder):
    """The records of the newest run file in a run's folder, as W&B's own reader gives them."""
    (path,) = (folder / "wandb").glob("offline-run-*")
    command = [sys.executable, "-m", "wandb", "leet", "inspect", "--json", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, stdin=subprocess.DEVNULL)
    return [json.loads(line) for line in done.stdout.splitlines()]


class Read:
    """A run as its file holds it."""

    def __init__(self, folder):
        self.folder, self.records = folder, records(folder)
        (self.files,) = (folder / "wandb").glob("offline-run-*/files")
        (self.run,) = self.of("run")
        self.history = [record["item"] for record in self.of("history")]
        self.config, self.summary = {}, {}
        for record in self.of("config"):
            self.config |= record["update"]
        for record in self.of("summary"):
            self.summary |= record["update"]

    def of(self, kind):
        return [record[kind] for record in self.records if record["type"] == kind]

    def artifact(self, kind, word=""):
        (found,) = [one for one in self.of("artifact") if one["type"] == kind and word in one["name"]]
        return found

    def curve(self, key):
        """Step to value."""
        return {row["trainer/global_step"]: row[key] for row in self.history if key in row}


@pytest.fixture(scope="module")
def logged(small_set, tmp_path_factory):
    """Two runs of one sweep, one after the other in one process; nobody is logged in."""
    folder = tmp_path_factory.mktemp("wandb")
    arguments = ["-m", "loss=mse,rank_mse", "logger=default", "data.num_workers=0", "trainer.log_every_n_steps=5"]
    arguments += ["hydra.sweep.dir=study", f"callbacks.pictures.images={IMAGES}", "seed=3"]
    environment = {"HOME": str(folder), "XDG_DATA_HOME": str(folder / "data")}
    # W&B finds its folders when it is imported
    process = succeed(train(small_set, *arguments, cwd=folder, env=environment, fresh=True))
    return SimpleNamespace(
        folder=folder / "study",
        said=process.stdout + process.stderr,
        runs=[Read(folder / "study" / str(number)) for number in range(2)],
    )


def test_each_run_of_a_process_is_a_run_of_its_own(logged):
    first, second = logged.runs
    assert first.run["run_id"] != second.run["run_id"]
    for run in logged.runs:
        (end,) = run.of("exit")
        assert end.get("exit_code", 0) == 0
        assert [row["test/mae"] for row in run.history if "test/mae" in row] == [
            pytest.approx(metrics(run.folder)["test/mae"])
        ]
    assert not any("train/rank" in row for row in first.history)
    assert "wandb sync" in logged.said
    assert "wandb leet" in logged.said


def test_runs_are_named_by_what_differs_and_grouped_by_their_sweep(logged):
    for run, loss in zip(logged.runs, ("mse", "rank_mse"), strict=True):
        assert run.run["display_name"] == f"loss={loss} seed=3"
        assert run.run["run_group"] == "study"
        assert run.run["job_type"] == "train"
        assert {"synthetic", loss} <= set(run.run["tags"])
        assert run.config["variant"] == f"loss={loss}"


def test_the_configuration_is_that_of_the_run(logged):
    for run in logged.runs:
        written = yaml.safe_load((run.folder / "config.yaml").read_text())
        assert {key: run.config[key] for key in written} == written


def test_curves_hold_what_metrics_csv_holds(logged):
    run = logged.runs[1]
    table = pd.read_csv(run.folder / "metrics.csv").set_index("step")
    losses = {f"train/{term}" for term in ("loss", "mse", "rank", "gradient_ratio", "mae", "gradient_norm")}
    others = {"val/mae", "val/pair_order", "val/geodesic", "speed/images_per_s", "speed/waiting_share"}
    assert losses | others <= set(table)
    for key in losses | others:
        values = table[key].dropna().to_dict()
        assert len(values) == (VALIDATIONS if key.startswith("val/") else 6), key
        assert run.curve(key) == pytest.approx(values), key
    assert any(key.startswith("lr-") for key in table)
    assert all(0 <= share <= 1 for share in run.curve("speed/waiting_share").values())
    assert min(run.curve("speed/images_per_s").values()) > 0


def test_the_summary_keeps_the_best_validation_and_the_test(logged):
    for run in logged.runs:
        assert run.summary["val/mae"]["min"] == pytest.approx(min(run.curve("val/mae").values()))
        assert run.summary["val/pair_order"]["max"] == pytest.approx(max(run.curve("val/pair_order").values()))
        for key, value in metrics(run.folder).items():
            assert run.summary[key] == pytest.approx(value)
            assert run.summary[key.replace("test/", "held_out/RankPose/")] == pytest.approx(value, rel=1e-4)


def test_the_same_validation_heads_are_drawn_each_time(logged):
    run = logged.runs[1]
    logged = [row for row in run.history if "val/heads.filenames" in row]
    assert len(logged) == VALIDATIONS
    names = [[caption.partition(":")[0] for caption in row["val/heads.captions"]] for row in logged]
    assert names[0] == names[1]
    assert len(set(names[0])) == IMAGES
    first, last = ([cv2.imread(str(run.files / name)) for name in row["val/heads.filenames"]] for row in logged)
    for before, after in zip(first, last, strict=True):
        # the crop is the same, the predicted axes have moved
        changed = (before != after).any(axis=2).mean()
        assert 0 < changed < 0.3


def test_the_worst_cases_are_a_table_with_pictures_beside_the_run(logged):
    run = logged.runs[1]
    predictions = pd.read_parquet(run.folder / "predictions.parquet").sort_values("geodesic", ascending=False)
    table = run.artifact("run_table", "worst")
    contents = {entry["path"]: Path(entry["local_path"]) for entry in table["manifest"]["contents"]}
    content = json.loads(contents["evaluation/held_out/worst.table.json"].read_text())
    rows = [dict(zip(content["columns"], row, strict=True)) for row in content["data"]]
    assert [row["name"] for row in rows] == list(predictions["name"][:50])
    assert [row["geodesic"] for row in rows] == pytest.approx(list(predictions["geodesic"][:50]))
    for row in rows:
        picture = contents[row["crop"]["path"]]
        assert run.folder in picture.parents, "pictures stay with the run"
        assert cv2.imread(str(picture)).std() > 5
    heads = [row for row in run.history if "evaluation/held_out/heads.filenames" in row]
    assert heads[0]["evaluation/held_out/heads.captions"][0].startswith(rows[0]["name"])
    assert not (logged.folder.parent / "data").exists(), "nothing is left in the home folder"


def test_the_best_checkpoint_is_an_artifact_with_its_metrics(logged):
    for run in logged.runs:
        artifact = run.artifact("model")
        assert set(artifact["aliases"]) == {"best", "latest"}
        (entry,) = artifact["manifest"]["contents"]
        best = run.folder / "checkpoints" / "best.ckpt"
        assert base64.b64decode(entry["digest"]) == hashlib.md5(best.read_bytes()).digest()
        assert Path(entry["local_path"]) == best, "not copied"
        told = json.loads(artifact["metadata"])
        for key, value in metrics(run.folder).items():
            assert told[key] == pytest.approx(value)
        assert told["val/mae"] == pytest.approx(min(run.curve("val/mae").values()))
        assert told["data_sha256"] == json.loads((run.folder / "run.json").read_text())["data"]["digest"]
    digests = [json.loads(run.artifact("model")["metadata"])["config_sha256"] for run in logged.runs]
    assert digests[0] != digests[1]
    config = yaml.safe_load((logged.runs[1].folder / "config.yaml").read_text())
    elsewhere = config | {"run_dir": "elsewhere", "logger": {}}
    assert loggers.configuration_digest(elsewhere) == digests[1]


def test_the_workspace_shows_keys_that_runs_log(logged):
    run = logged.runs[1]
    logged = {key for row in run.history for key in row}
    measured = {f"system/{key}" for record in run.of("stats") for key in record["item"]}
    there = {
        "history": logged | measured | {"system/cpu", *dashboard.ONLY_WITH_A_GPU},  # the processor only after 15 s
        "summary": set(run.summary),
        "config": set(dotted(run.config)),
        "media": {key.rpartition(".")[0] for key in logged if key.endswith("._type")},
        "table": {key.rpartition(".")[0] for key in logged if key.endswith(".nrows")},
    }
    built = dashboard.dashboard("team", "heads")
    shown = set(dashboard.keys_of(built))
    for kind, key in shown:
        found = any(re.fullmatch(key, one) for one in logged) if kind == "pattern" else key in there[kind]
        assert found, (kind, key)
    assert {kind for kind, _ in shown} == {"pattern", *there}
    # and the other way round: no curve of training is left out
    curves = {key for key in logged if key.startswith(("train/", "val/", "speed/")) and "." not in key}
    assert curves <= {key for _, key in shown} | {"val/heads"}
    titles = [section.name for section in built.sections]
    assert titles == ["Training", "Validation", "Test and worst cases", "Ablation", "Speed and system"]
    # what W&B would be sent holds all of it
    sent = built._to_model().spec.model_dump_json(by_alias=True)
    assert all(json.dumps(key)[1:-1] in sent for kind, key in shown if kind in ("history", "media", "table"))


def dotted(config, prefix=""):
    for key, value in config.items():
        yield f"{prefix}{key}"
        if isinstance(value, dict):
            yield from dotted(value, f"{prefix}{key}.")


def test_the_workspace_command(monkeypatch, capsys, tmp_path):
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "none"))
    monkeypatch.setattr(sys, "argv", ["workspace", "team/heads", "--print"])
    workspace.main()
    said = capsys.readouterr().out
    for word in ("team/heads", "Ablation", "loss.weight", "val/heads", "lr-"):
        assert word in said
    for arguments, told in ((["team/heads"], "wandb login"), (["heads"], "ENTITY/PROJECT")):
        monkeypatch.setattr(sys, "argv", ["workspace", *arguments])
        with pytest.raises(SystemExit) as ended:
            workspace.main()
        assert ended.value.code == 1
        (line,) = capsys.readouterr().err.splitlines()
        assert line.startswith("error: ")
        assert told in line
    monkeypatch.setitem(sys.modules, "wandb_workspaces.workspaces", None)
    with pytest.raises(ConfigError, match=r"pip install 'rankpose\[dashboards\]'"):
        dashboard.dashboard("team", "heads")


@pytest.fixture
def alone(monkeypatch, tmp_path):
    """Without what the user of this machine has set."""
    for key in ("WANDB_API_KEY", "WANDB_MODE", "WANDB_DATA_DIR", "WANDB_RUN_ID"):
        monkeypatch.delenv(key, raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "none"))
    monkeypatch.setenv("WANDB_SILENT", "true")


def test_a_run_that_goes_on_is_the_same_run(alone, tmp_path):
    """With its name and group, whatever command it goes on with, in a file of its own where it is offline."""
    jobs = [Job({"loss": "mse"}, ("loss=mse",), tmp_path / "study"), Job({"loss": "mse"}, ("loss=mse",))]
    for part, job in enumerate(jobs):
        with loggers.one_wandb_run():
            logger = loggers.wandb_logger(str(tmp_path / "run"))
            loggers.log_configuration([logger], {"seed": 1}, job)
            logger.log_metrics({"val/mae": 9.0 - part}, step=part)
            assert Path(logger.experiment.dir).parent.parent.parent == tmp_path / "run"
    files = sorted((tmp_path / "run" / "wandb").glob("offline-run-*/*.wandb"))
    # two starts within one second share a folder
    assert len({path.stem for path in files}) == 1
    identity = json.loads((tmp_path / "run" / "wandb" / "identity.json").read_text())
    assert files[0].stem == f"run-{identity['id']}"
    assert identity["name"] == "loss=mse seed=1"
    assert identity["group"] == "study"


def test_disabled_leaves_nothing(alone, tmp_path):
    with loggers.one_wandb_run():
        logger = loggers.wandb_logger(str(tmp_path / "run"), mode="disabled")
        loggers.log_configuration([logger], {"seed": 1}, Job())
        logger.log_metrics({"val/mae": 9.0}, step=1)
        logger.log_pictures("val/heads", [(np.zeros((8, 8, 3), np.uint8), "")], 1)
    assert not (tmp_path / "run").exists()
    assert not loggers.run_loggers([logger])


def test_without_a_connection_a_logged_in_user_is_offline(alone, monkeypatch, tmp_path, caplog):
    monkeypatch.setenv("WANDB_API_KEY", "0" * 40)
    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:1")
    monkeypatch.setattr(loggers, "_LOGIN_TIMEOUT_S", 2)
    with loggers.one_wandb_run(), caplog.at_level(logging.WARNING):
        logger = loggers.wandb_logger(str(tmp_path / "run"))
        assert logger.mode == "online"
        logger.log_metrics({"val/mae": 9.0}, step=1)
    assert "offline" in caplog.text
    assert list((tmp_path / "run" / "wandb").glob("offline-run-*/*.wandb"))


DIES = """
import logging, os, signal
from pathlib import Path
import pytorch_lightning as pl, torch
from pytorch_lightning.demos.boring_classes import BoringModel
from rankpose.run.job import Job
from rankpose.run.loggers import log_configuration, one_wandb_run, wandb_logger

logging.basicConfig(format="%(message)s")

class Killer(pl.Callback):
    def on_train_batch_end(self, trainer, module, outputs, batch, batch_idx):
        if trainer.global_step == 10:
            me, killed = str(os.getpid()), 0
            for place in Path("/proc").glob("[0-9]*/cmdline"):
                try:
                    words = place.read_bytes().split(b"\\0")
                except OSError:
                    continue
                if words[0].endswith(b"wandb-core") and me.encode() in words:
                    os.kill(int(place.parent.name), signal.SIGKILL)
                    killed += 1
            assert killed

with one_wandb_run():
    logger = wandb_logger("run", mode="offline")
    log_configuration([logger], {"seed": 1}, Job())
    options = dict(enable_progress_bar=False, enable_model_summary=False, enable_checkpointing=False)
    options |= dict(callbacks=[Killer()], limit_val_batches=1)
    trainer = pl.Trainer(max_steps=40, logger=logger, log_every_n_steps=1, **options)
    class Model(BoringModel):
        def training_step(self, batch, batch_idx):
            loss = super().training_step(batch, batch_idx)["loss"]
            self.log("loss", loss)
            return loss
    trainer.fit(Model())
print("trained", trainer.global_step)
"""


@pytest.mark.long
def test_training_outlives_wandb(tmp_path):
    process = subprocess.run(
        [sys.executable, "-c", DIES],
        cwd=tmp_path,
        # this process may have a service of its own, which others would take for theirs
        env={key: value for key, value in os.environ.items() if not key.startswith("WANDB")},
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        timeout=1200,
    )
    assert process.returncode == 0, process.stderr[-3000:]
    assert "trained 40" in process.stdout
    # once while training, if it is noticed by then, and once at the end
    assert 1 <= process.stderr.count("W&B: ") <= 2


class Clocked(pl.LightningModule):
    """Whose data take 3 seconds a batch, whose steps take 1, whose validation takes 100; all gradients are 3."""

    def __init__(self, clock):
        super().__init__()
        self.net, self.clock = nn.Linear(4, 4, bias=False), clock

    def training_step(self, batch, batch_idx):
        self.clock.now += 1
        return 3 * self.net.weight.sum()

    def validation_step(self, batch, batch_idx):
        self.clock.now += 100

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), 0.1)


class Slow(torch.utils.data.Dataset):
    def __init__(self, clock, seconds):
        self.clock, self.seconds = clock, seconds

    def __len__(self):
        return 12

    def __getitem__(self, index):
        self.clock.now += self.seconds
        return {"image": torch.zeros(8, 3)}


class Kept(pl.loggers.Logger):
    name, version = "kept", 0

    def __init__(self):
        super().__init__()
        self.rows = []

    def log_hyperparams(self, *args, **kwargs):
        pass

    def log_metrics(self, metrics, step=None):
        self.rows.append({"step": step} | dict(metrics))


@pytest.mark.parametrize("accumulate", [1, 2])
def test_speed_is_images_over_waiting_and_work(monkeypatch, tmp_path, accumulate):
    clock, logger = SimpleNamespace(now=0.0), Kept()
    monkeypatch.setattr(speed, "time", SimpleNamespace(perf_counter=lambda: clock.now))
    trainer = pl.Trainer(
        max_epochs=3,
        accelerator="cpu",
        logger=logger,
        log_every_n_steps=3,
        accumulate_grad_batches=accumulate,
        gradient_clip_val=0.1,
        callbacks=[speed.TrainingSpeed()],
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        default_root_dir=tmp_path,
    )
    loaders = (torch.utils.data.DataLoader(Slow(clock, seconds), batch_size=None) for seconds in (3, 50))
    trainer.fit(Clocked(clock), *loaders)
    rows = [row for row in logger.rows if "speed/images_per_s" in row]
    assert [row["step"] for row in rows] == list(range(2, 36 // accumulate, 3))
    for row in rows:
        assert row["speed/images_per_s"] == pytest.approx(8 / 4)
        assert row["speed/waiting_share"] == pytest.approx(3 / 4)
        assert row["train/gradient_norm"] == pytest.approx(3 * math.sqrt(16)), "before clipping"


def test_pictures_are_spread_over_the_yaw():
    yaw = np.array([50.0, -80.0, 0.0, 80.0, 10.0, -40.0])
    assert list(yaw[pictures.spread(yaw, 3)]) == [-80.0, 0.0, 80.0]
    assert sorted(pictures.spread(yaw, 20)) == list(range(6))
    with pytest.raises(ConfigError, match=r"callbacks\.pictures\.every=0"):
        pictures.ValidationPictures(every=0)


def test_names(tmp_path):
    choices = {"data": "synthetic", "backbone": "resnet18", "representation": "euler", "loss": "rank_mse", "x": "y"}
    places = ("data.root=/x", "seed=4", "ckpt_path=last", "logger.wandb.mode=offline", "loss=rank_mse")
    single = Job(choices, (*places, "loss.weight=30"))
    assert single.name(4) == "synthetic resnet18 euler rank_mse loss.weight=30 seed=4"
    assert single.group is None
    sweep = tmp_path / "2030-01-02" / "10-11-12"
    sweep.mkdir(parents=True)
    part = Job(choices, (*places, "trainer.max_epochs=2", "loss.weight=30"), sweep)
    assert part.group == "2030-01-02 10-11-12"
    # a search leaves no list of what it varies
    assert part.variant == "loss=rank_mse trainer.max_epochs=2 loss.weight=30"
    told = {"overrides": {"task": ["loss=rank_mse", "trainer.max_epochs=2", "loss.weight=1,30", "seed=4,5"]}}
    (sweep / "multirun.yaml").write_text(yaml.safe_dump({"hydra": told}))
    assert part.name(4) == "loss.weight=30 seed=4"
    seeds_only = Job(choices, ("loss=rank_mse", "seed=5"), sweep)
    assert seeds_only.name(5) == "synthetic resnet18 euler rank_mse seed=5"
    long = Job(choices, tuple(f"key{i}={i}" for i in range(100)))
    assert len(long.name(123456)) <= 128
