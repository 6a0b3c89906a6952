"""`python -m rankpose.evaluate` as a user runs it: models, protocols, and what goes wrong."""

import csv
import json
import shutil

import numpy as np
import pandas as pd
import pytest
import torch
from commands import run, succeed
from scipy.io import loadmat, savemat

from rankpose.data.aflw2000 import read_aflw2000
from rankpose.data.synthetic.biwi_tree import write_biwi
from rankpose.errors import ConfigError
from rankpose.evaluate import several
from rankpose.pose import euler_to_rotmat, rotmat_to_euler


def results(folder):
    content = json.loads((folder / "metrics.json").read_text())
    assert content["schema_version"] == 1
    return {(result["model"], result["protocol"], result["strength"]): result for result in content["results"]}


@pytest.fixture(scope="module")
def photographs(small_set, tmp_path_factory):
    """Rendered heads in AFLW2000's layout."""
    root = tmp_path_factory.mktemp("aflw") / "AFLW2000"
    root.mkdir()
    for number, image in enumerate(sorted(small_set.glob("SYN_T*/*.jpg"))[:30]):
        shutil.copy(image, root / f"image{number:05d}.jpg")
        fields = loadmat(image.with_suffix(".mat"))
        points = np.vstack([fields["pt2d"], np.zeros(68)])
        savemat(root / f"image{number:05d}.mat", {"Pose_Para": fields["Pose_Para"], "pt3d_68": points})
    return root


def table(root, path, change=lambda pose: pose):
    """A CSV of predictions for a folder in AFLW2000's layout."""
    records = read_aflw2000(root)
    poses = change(torch.tensor(records.pose, dtype=torch.float64))
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["image", "yaw", "pitch", "roll"])
        for i in range(len(records)):
            writer.writerow([records.names[i], *poses[i].tolist()])
    return path


def test_several_values_are_taken_apart():
    kept, values = several(["checkpoint=a,b", "protocol=[x, y]", "out=o,p", "predictor=fsanet"])
    assert kept == ["checkpoint=a", "protocol=x", "out=o,p", "predictor=fsanet"]
    assert values == {"checkpoint": ["a", "b"], "protocol": ["x", "y"], "predictor": ["fsanet"]}
    with pytest.raises(ConfigError, match="names nothing"):
        several(["protocol=[]"])


def test_two_models_under_two_protocols(trained, small_set, photographs, tmp_path):
    again = tmp_path / "again"
    shutil.copytree(trained / "checkpoints", again / "checkpoints")
    best = [f"{folder}/checkpoints/best.ckpt" for folder in (trained, again)]
    places = [f"roots.aflw2000={photographs}", f"roots.synthetic={small_set}"]
    arguments = [f"checkpoint={','.join(best)}", "protocol=[aflw2000,synthetic]", *places, "num_workers=0", "out=out"]
    succeed(run("evaluate", *arguments, cwd=tmp_path))
    found = results(tmp_path / "out")
    assert set(found) == {(m, p, 0) for m in (trained.name, "again") for p in ("aflw2000", "synthetic")}
    assert found["again", "aflw2000", 0]["images"] == 30
    assert found["again", "aflw2000", 0]["scores"] == found[trained.name, "aflw2000", 0]["scores"]
    assert "1,969" in found["again", "aflw2000", 0]["remarks"][0]
    tested = json.loads((trained / "metrics.json").read_text())
    # training tests in bfloat16 where the machine has it
    assert found["again", "synthetic", 0]["scores"]["mae"] == pytest.approx(tested["test/mae"], abs=0.2)
    differences = json.loads((tmp_path / "out" / "metrics.json").read_text())["differences"]
    assert {pair["scores"]["mae"]["value"] for pair in differences} == {0.0}
    for name in ("report.html", "tables.md", "tables.tex", "tables.csv", "again/synthetic/predictions.parquet"):
        assert (tmp_path / "out" / name).stat().st_size > 0, name


def test_two_processes_score_as_one(trained, photographs, tmp_path):
    arguments = [f"checkpoint={trained}/checkpoints/best.ckpt", f"roots.aflw2000={photographs}", "num_workers=0"]
    # one at a time: in batches of other sizes a network's float32 sums are rounded otherwise
    arguments += ["trainer.accelerator=cpu", "batch_size=1"]
    succeed(run("evaluate", *arguments, "out=one", cwd=tmp_path))
    succeed(run("evaluate", *arguments, "out=two", "trainer.devices=2", "trainer.strategy=ddp", cwd=tmp_path))
    one, two = (results(tmp_path / name)[trained.name, "aflw2000", 0] for name in ("one", "two"))
    assert one["images"] == two["images"] == 30
    for name, value in one["scores"].items():
        assert two["scores"][name] == pytest.approx(value, abs=1e-6), name


def test_a_truth_turned_by_five_degrees_scores_five_and_none_aligned(photographs, tmp_path):
    turn = euler_to_rotmat(torch.tensor([5.0, 0, 0], dtype=torch.float64))
    made = table(photographs, tmp_path / "turned.csv", lambda pose: rotmat_to_euler(turn @ euler_to_rotmat(pose)))
    arguments = ["predictor=table", f"predictor.table={made}", f"roots.aflw2000={photographs}", "out=out"]
    succeed(run("evaluate", *arguments, cwd=tmp_path))
    scores = results(tmp_path / "out")["turned", "aflw2000", 0]["scores"]
    assert scores["geodesic"] == pytest.approx(5, abs=1e-3)
    assert scores["aligned_geodesic"] == pytest.approx(0, abs=1e-3)
    assert scores["aligned_mae"] == pytest.approx(0, abs=1e-2)
    assert (scores["alignment"], scores["alignment_yaw"]) == pytest.approx((5, 5), abs=1e-3)


def test_corruption_gives_a_curve(trained, photographs, tmp_path):
    arguments = [f"checkpoint={trained}/checkpoints/best.ckpt", f"roots.aflw2000={photographs}", "num_workers=0"]
    succeed(run("evaluate", *arguments, "protocol.corruption=box_shift", "out=out", cwd=tmp_path))
    found = results(tmp_path / "out")
    assert [strength for *_, strength in found] == [0, 1, 2, 3, 4, 5]
    poses = [pd.read_parquet(path)["yaw_pred"].to_numpy() for path in (tmp_path / "out").rglob("predictions.parquet")]
    assert len(poses) == 6
    assert not any(np.allclose(poses[0], other) for other in poses[1:])


def test_the_stand_in_of_biwi_under_its_protocols(trained, tmp_path):
    write_biwi(tmp_path / "BIWI", ["01", "02"], 3)
    names = [f"{sequence}/frame_{k:05d}_rgb.png" for sequence in ("01", "02") for k in range(3)]
    found = sorted(path.relative_to(tmp_path / "BIWI").as_posix() for path in (tmp_path / "BIWI").glob("*/*.png"))
    assert len(found) == len(names)
    boxes = np.array([[240, 160, 160, 160]] * 4)
    np.savez(tmp_path / "boxes.npz", images=np.array(found[:4]), bbox=boxes)
    arguments = [f"checkpoint={trained}/checkpoints/best.ckpt", "roots.biwi=BIWI", "num_workers=0"]
    succeed(run("evaluate", *arguments, "protocol=biwi,biwi_7030", "out=both", cwd=tmp_path))
    images = {protocol: result["images"] for (_, protocol, _), result in results(tmp_path / "both").items()}
    assert images == {"biwi": 6, "biwi_7030": 3}
    succeed(
        run(
            "evaluate",
            *arguments,
            "protocol=biwi_fsanet",
            "protocol.reader.boxes.path=boxes.npz",
            "out=f",
            cwd=tmp_path,
        )
    )
    (result,) = results(tmp_path / "f").values()
    assert result["images"] == 4
    assert sum(result["rejects"].values()) == 2


def test_fsanet_on_the_real_photographs(real_data, tmp_path):
    places = [f"roots.aflw2000={real_data}/aflw2000", f"roots.peers={real_data}/peers"]
    succeed(run("evaluate", "predictor=fsanet", *places, "out=out", cwd=tmp_path))
    scores = results(tmp_path / "out")["fsanet", "aflw2000", 0]["scores"]
    figures = [scores[f"{name}mae"] for name in ("yaw_", "pitch_", "roll_", "")]
    assert figures == pytest.approx([4.05, 6.43, 4.68, 5.05], abs=0.03)


MISTAKES = {
    "no checkpoint": ([], "checkpoint=RUN"),
    "too few rows": (["predictor=table", "predictor.table=few.csv"], "few.csv"),
    "one override for two": (
        ["predictor=table", "predictor.table=good.csv", "protocol=aflw2000,aflw2000_all", "protocol.name=mine"],
        "protocol.name=mine",
    ),
    "corrupted table": (["predictor=table", "predictor.table=good.csv", "protocol.corruption=blur"], "elsewhere"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_one_line_and_leaves_no_report(photographs, tmp_path, mistake):
    lines = table(photographs, tmp_path / "good.csv").read_text().splitlines()
    (tmp_path / "few.csv").write_text("\n".join(lines[:-2]) + "\n")
    arguments, told = MISTAKES[mistake]
    process = run("evaluate", f"roots.aflw2000={photographs}", *arguments, "out=out", cwd=tmp_path)
    assert process.returncode != 0
    assert "Traceback" not in process.stderr
    (line,) = [line for line in process.stderr.splitlines() if line.startswith("error:")]
    assert told in line
    assert not (tmp_path / "out").exists()


def test_a_missing_image_is_left_out_and_told(photographs, tmp_path):
    root = tmp_path / "some"
    shutil.copytree(photographs, root)
    (root / "image00003.jpg").unlink()
    made = table(photographs, tmp_path / "all.csv")
    arguments = ["predictor=table", f"predictor.table={made}", f"roots.aflw2000={root}", "out=out"]
    succeed(run("evaluate", *arguments, cwd=tmp_path))
    (result,) = results(tmp_path / "out").values()
    assert result["images"] == 29
    assert result["rejects"] == {"with no image file": 1}
