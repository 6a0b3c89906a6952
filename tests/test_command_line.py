"""The entry points as a user runs them: real processes, small sizes."""

import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import cv2
import pandas as pd
import pytest
from commands import SMALL, metrics, run, succeed, train


def test_a_run_leaves_what_the_readme_says(trained):
    for name in ("config.yaml", "metrics.json", "predictions.parquet", "metrics.csv", "report.html"):
        assert (trained / name).stat().st_size > 0, name
    assert {path.name for path in (trained / "checkpoints").iterdir()} == {"best.ckpt", "last.ckpt"}
    scores = metrics(trained)
    expected = {f"test/{name}" for name in ("mae", "yaw_mae", "pitch_mae", "roll_mae", "geodesic", "pair_order")}
    assert set(scores) == expected
    assert scores["test/mae"] == pytest.approx(
        (scores["test/yaw_mae"] + scores["test/pitch_mae"] + scores["test/roll_mae"]) / 3, rel=1e-5
    )
    predictions = pd.read_parquet(trained / "predictions.parquet")
    assert len(predictions) == 24
    assert predictions["identity"].nunique() == 4
    error = (predictions["yaw_pred"] - predictions["yaw"]).abs().mean()
    assert error == pytest.approx(scores["test/yaw_mae"], rel=1e-4)
    curves = pd.read_csv(trained / "metrics.csv")
    assert {"train/mse", "train/rank", "train/gradient_ratio", "val/mae", "val/pair_order"} <= set(curves)


def test_the_same_seed_gives_the_same_metrics(small_set, trained, tmp_path):
    succeed(train(small_set, "hydra.run.dir=again", "data.num_workers=0", cwd=tmp_path))
    assert (tmp_path / "again" / "metrics.json").read_bytes() == (trained / "metrics.json").read_bytes()


def test_a_stopped_run_goes_on_where_it_was(small_set, tmp_path):
    """SIGTERM in the middle of an epoch, resume, and the metrics are those of the run that was left alone."""
    longer = [part for part in SMALL if "max_epochs" not in part]
    longer += ["data.draws_per_identity=40", "trainer.max_epochs=3", f"data.root={small_set}"]
    succeed(run("train", *longer, "hydra.run.dir=whole", cwd=tmp_path))
    command = [sys.executable, "-m", "rankpose.train", *longer]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    with subprocess.Popen([*command, "hydra.run.dir=stopped"], cwd=tmp_path, **pipes) as process:
        last = tmp_path / "stopped" / "checkpoints" / "last.ckpt"
        while not last.exists() and process.poll() is None:
            time.sleep(0.05)
        time.sleep(0.3)  # some batches into the second epoch
        process.send_signal(signal.SIGTERM)
        output, _ = process.communicate(timeout=300)
    assert process.returncode == 128 + signal.SIGTERM, output[-3000:]
    assert not (tmp_path / "stopped" / "metrics.json").exists()
    step = int(re.search(r"at step (\d+)", output).group(1))
    assert step % 120 != 0, "stopped between epochs: nothing was shown"
    succeed(run("train", *longer, "ckpt_path=stopped/checkpoints/last.ckpt", cwd=tmp_path))
    assert metrics(tmp_path / "stopped") == metrics(tmp_path / "whole")
    curves = [
        pd.read_csv(tmp_path / name / "metrics.csv").set_index("step")["train/loss"].dropna()
        for name in ("stopped", "whole")
    ]
    assert curves[0].equals(curves[1])
    assert not list(tmp_path.glob("runs/*/*")), "resuming leaves no empty run behind"


def test_two_processes_test_to_the_metrics_of_one(small_set, tmp_path):
    devices = ["trainer=ddp", "trainer.accelerator=cpu", "trainer.devices=2", "trainer.precision=32-true"]
    succeed(train(small_set, *devices, "hydra.run.dir=two", cwd=tmp_path))
    assert (tmp_path / "two" / "report.html").exists()
    arguments = ["checkpoint=two/checkpoints/best.ckpt", "protocol=synthetic", f"protocol.root={small_set}", "out=one"]
    succeed(run("evaluate", *arguments, cwd=tmp_path))
    (result,), two = metrics(tmp_path / "one")["results"], metrics(tmp_path / "two")
    for name, value in two.items():
        assert result["scores"][name.removeprefix("test/")] == pytest.approx(value, abs=1e-4), name
    frames = [pd.read_parquet(tmp_path / name / "predictions.parquet") for name in ("one", "two")]
    assert list(frames[0]["image"]) == list(frames[1]["image"])


def test_multirun_gives_each_run_its_directory(small_set, tmp_path):
    sweep = ["--multirun", "representation=euler,vector_angle", "loss=mse,rank_mse", "trainer.max_steps=2"]
    succeed(run("train", *sweep, f"data.root={small_set}", *SMALL, "hydra.sweep.dir=sweep", cwd=tmp_path))
    assert sorted(path.name for path in (tmp_path / "sweep").iterdir() if path.is_dir()) == ["0", "1", "2", "3"]
    assert len({(tmp_path / "sweep" / str(job) / "metrics.json").read_text() for job in range(4)}) == 4


def test_wandb_offline_never_asks(small_set, tmp_path):
    arguments = ["logger=default", "trainer.max_steps=2", "hydra.run.dir=run"]
    process = succeed(train(small_set, *arguments, cwd=tmp_path, env={"HOME": str(tmp_path)}))
    assert "wandb sync" in process.stderr + process.stdout
    assert list((tmp_path / "run" / "wandb").glob("offline-run-*/*.wandb"))


def test_300w_lp_layout_with_a_real_image_beside_rendered_ones(small_set, real_data, tmp_path):
    root = tmp_path / "300W_LP"
    shutil.copytree(small_set / "SYN_TRAIN", root / "AFW")
    (root / "IBUG").mkdir()
    for path in (real_data / "300w_lp").glob("IBUG_image_008_1_0.*"):
        shutil.copy(path, root / "IBUG" / path.name)
    arguments = [part for part in SMALL if "data.reader" not in part]
    arguments += ["data=300w_lp", f"data.root={root}", "augment=published", "data.split.val_share=0.2"]
    succeed(run("train", *arguments, "hydra.run.dir=run", cwd=tmp_path))
    assert metrics(tmp_path / "run")["test/mae"] > 0


MISTAKES = {
    "no data folder": (["data=300w_lp", "data.root=nowhere"], ["nowhere", "Download", "data=synthetic"]),
    "empty folder": (["data=300w_lp", "data.root=empty"], ["empty", "Download", "data=synthetic"]),
    "unknown backbone": (["backbone.name=resnet5O"], ["resnet5O", "resnet50"]),
    "ranking needs pairs": (["loss=rank_mse", "data.images_per_identity=1"], ["images_per_identity", "loss=mse"]),
    "no checkpoint": (["ckpt_path=text.ckpt"], ["text.ckpt", "no checkpoint"]),
    "checkpoint of something else": (["ckpt_path=other.ckpt"], ["other.ckpt", "rankpose.train"]),
    "missing checkpoint": (["ckpt_path=nowhere.ckpt"], ["nowhere.ckpt"]),
    "no weights": (["backbone.weights=nowhere.pth"], ["nowhere.pth"]),
    "other settings": (["data.reader.test_identities=5"], ["synthetic"]),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_one_line_and_leaves_nothing(small_set, tmp_path, mistake):
    import torch

    (tmp_path / "empty").mkdir()
    (tmp_path / "text.ckpt").write_text("no checkpoint at all")
    torch.save({"state_dict": {}}, tmp_path / "other.ckpt")
    before = {path.name for path in tmp_path.iterdir()}
    arguments, told = MISTAKES[mistake]
    data = [] if any("data.root" in argument for argument in arguments) else [f"data.root={small_set}"]
    small = [part for part in SMALL if not ("data=300w_lp" in arguments and "data.reader" in part)]
    process = run("train", *small, *data, *arguments, "hydra.run.dir=runs/a/b", cwd=tmp_path)
    assert process.returncode != 0
    assert "Traceback" not in process.stderr
    (line,) = [line for line in process.stderr.splitlines() if line.startswith("error:")]
    for word in told:
        assert word in line
    left = {path.name for path in tmp_path.iterdir()} - before
    assert left <= {"runs"}
    assert not [path for path in tmp_path.glob("runs/**/*") if path.is_file()]


def test_an_unknown_choice_lists_the_choices(tmp_path):
    process = run("train", "backbone=resnet51", cwd=tmp_path)
    assert process.returncode != 0
    assert "resnet50" in process.stderr
    assert "Traceback" not in process.stderr


def test_a_full_disk_ends_the_embedded_set_with_one_line(tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(disk)], capture_output=True)
    if mounted.returncode != 0:
        pytest.skip("cannot mount a small file system here")
    try:
        process = run("train", *SMALL, f"data.root={disk}/synthetic", "hydra.run.dir=run", cwd=tmp_path)
        assert process.returncode != 0
        assert "Traceback" not in process.stderr
        (line,) = [line for line in process.stderr.splitlines() if line.startswith("error:")]
        assert "synthetic" in line
        assert not [path for path in Path(disk).iterdir() if path.is_dir()]
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_sheets_are_pictures(trained, tmp_path):
    succeed(run("report.sheet", trained, "predictions.png", "--rows", "2", "--columns", "3", cwd=tmp_path))
    succeed(run("data.synthetic.sheet", "heads.png", "--identities", "1", "--poses", "3", cwd=tmp_path))
    assert cv2.imread(str(tmp_path / "predictions.png")).shape == (2 * 144, 3 * 144, 3)
    assert cv2.imread(str(tmp_path / "heads.png")).std() > 20
    process = run("report.sheet", "nowhere", "out.png", cwd=tmp_path)
    assert process.returncode == 1
    assert process.stderr.startswith("error: nowhere")
