"""The entry points as a user runs them: real processes, small sizes."""

import shutil
import subprocess
from pathlib import Path

import cv2
import pandas as pd
import pytest
from commands import SMALL, metrics, run, succeed, train

pytestmark = pytest.mark.slow


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
