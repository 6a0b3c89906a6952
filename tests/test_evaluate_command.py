"""`python -m rankpose.evaluate` as a user runs it: models, protocols, and what goes wrong."""

import csv
import html
import json
import logging
import re
import shutil
import sys
from functools import partial

import numpy as np
import pandas as pd
import pytest
import torch
from biwi_tree import write_biwi
from commands import PROJECT, run, succeed, train
from scipy.io import loadmat, savemat

from rankpose import evaluate
from rankpose.command.several import with_lists, with_several
from rankpose.data.packed.reading import PackedSquare
from rankpose.data.packed.writing import prepare
from rankpose.data.readers.aflw2000 import read_aflw2000
from rankpose.data.readers.w300lp import read_300w_lp
from rankpose.errors import ConfigError
from rankpose.pose import euler_to_rotmat, rotmat_to_euler

pytestmark = pytest.mark.slow


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


def test_no_face_is_an_answer_which_is_counted(photographs, tmp_path):
    whole = pd.read_csv(table(photographs, tmp_path / "whole.csv", lambda pose: pose + 2))
    records = read_aflw2000(photographs)
    lacking = whole.astype({"yaw": float})
    lacking.loc[:5, ["yaw", "pitch", "roll"]] = np.nan
    lacking.to_csv(tmp_path / "lacking.csv", index=False)
    poses = np.column_stack([whole[name] for name in ("yaw", "pitch", "roll")]) - 2
    arguments = ("predictor=table", f"protocol.root={photographs}")
    told = succeed(run("evaluate", *arguments, "predictor.table=lacking.csv", "out=page", cwd=tmp_path))
    (result,) = results(tmp_path / "page").values()
    assert (result["images"], result["unanswered"]) == (len(records) - 6, 6)
    assert result["scores"]["mae"] == pytest.approx(2, abs=1e-3)
    zero = (np.abs(poses[:6]).mean() * 6 + 2 * (len(records) - 6)) / len(records)
    assert result["mae_rest_zero"] == pytest.approx(zero, abs=1e-3)
    page = (tmp_path / "page" / "report.html").read_text()
    assert "answered, %" in page
    assert "gives no pose of 6 of" in page
    assert "gives no pose of 6 of" in told.stdout + told.stderr
    succeed(run("report.page", "page", cwd=tmp_path))


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


@pytest.fixture
def here(monkeypatch, tmp_path, capsys):
    """Calls the command in this process: exit code and what it wrote to stderr."""
    root = logging.getLogger()
    before = root.handlers[:], root.level

    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["evaluate.py", *map(str, arguments)])
        code = 0
        try:
            evaluate.main()
        except SystemExit as end:
            code = end.code
        return code, capsys.readouterr().err

    monkeypatch.chdir(tmp_path)
    yield call
    root.handlers[:], root.level = before


def test_several_values_are_taken_apart():
    arguments = with_several(["checkpoint=a,b", "protocol=[x, y]", "out=o,p", "predictor=fsanet"])
    assert [one for one in arguments if one[0] != "+"] == ["checkpoint=a", "protocol=x", "out=o,p", "predictor=fsanet"]
    assert [one for one in arguments if one[0] == "+"] == [
        "++several.checkpoint=[a,b]",
        "++several.protocol=[x,y]",
        "++several.predictor=[fsanet]",
    ]
    assert with_several(["protocols=x,y"]) == with_several(["protocol=[x,y]"]), "as rankpose.train calls it"
    for nothing in ("protocol=[]", "checkpoint=", "checkpoint=a,,b", "checkpoint=a,", "name=,"):
        with pytest.raises(ConfigError, match=r"names nothing|cannot be read as KEY=VALUE"):
            with_several([nothing])
    with pytest.raises(ConfigError, match="names a twice"):
        with_several(["checkpoint=a,b,a"])


def test_training_names_protocols_as_evaluation_does():
    for given, wanted in (("x,y", "[x,y]"), ("x", "[x]"), ("[x,y]", "[x,y]"), ("null", "[]"), ("", "[]")):
        assert with_lists([f"protocols={given}", "loss=mse,rank_mse"]) == [f"protocols={wanted}", "loss=mse,rank_mse"]
    assert with_lists(["-m", "protocols=x,y"]) == ["-m", "protocols=[x],[y]"], "a run each"
    with pytest.raises(ConfigError, match="names x twice"):
        with_lists(["protocols=x,x"])


def test_a_packed_file_that_shows_too_little_is_refused_before_the_first_test(trained, small_set, tmp_path):
    reader = partial(read_300w_lp, subsets=["SYN_TEST"])
    prepare(reader(small_set), small_set, tmp_path / "faces.arrow", reader, 99.0, PackedSquare(turn_deg=0), workers=1)
    arguments = [f"checkpoint={trained}/checkpoints/best.ckpt", "protocol=synthetic", f"roots.synthetic={small_set}"]
    arguments += ["protocol.packed=faces.arrow", "num_workers=0", "protocol.corruption=box_scale", "out=out"]
    failed = run("evaluate", *arguments, cwd=tmp_path)
    assert failed.returncode == 1
    (line,) = [line for line in failed.stderr.splitlines() if line.startswith("error:")]
    assert re.search(r"protocol\.packed=faces\.arrow: .*rankpose\.prepare.*crop\.extent=2\.24 ", line)
    assert "MAE" not in failed.stdout
    assert not (tmp_path / "out").exists()


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


@pytest.mark.long
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


def test_two_tables_are_named_side_by_side(here, photographs, tmp_path):
    for name, off in (("one", 2.0), ("two", 3.0)):
        table(photographs, tmp_path / f"{name}.csv", lambda pose, off=off: pose + off)
    places = [f"roots.aflw2000={photographs}", "out=out"]
    assert here("predictor=table", "predictor.table=one.csv,two.csv", *places)[0] == 0
    found = results(tmp_path / "out")
    assert {model: round(one["scores"]["mae"], 3) for (model, *_), one in found.items()} == {"one": 2.0, "two": 3.0}
    (pair,) = json.loads((tmp_path / "out" / "metrics.json").read_text())["differences"]
    assert (pair["first"], pair["second"]) == ("one", "two")
    assert pair["scores"]["mae"]["value"] == pytest.approx(-1, abs=1e-3)
    code, said = here("predictor=table", "predictor.table=one.csv,./one.csv", *places)
    assert code == 1
    assert said == "error: predictor=table: ./one.csv is named twice.\n"
    code, said = here("predictor=fsanet,mediapipe", "predictor.table=one.csv", *places)
    assert "predictor.table=one.csv: none of fsanet, mediapipe has this key; predictor=table has." in said


def test_a_model_of_ones_own_is_named_by_its_file_and_by_a_choice(here, photographs, tmp_path):
    """What docs/protocols.md shows, as it stands there."""
    text = (PROJECT / "docs" / "protocols.md").read_text(encoding="utf-8")
    for kind, file in (("python", "two_scales.py"), ("yaml", "predictor/two_scales.yaml")):
        (block,) = re.findall(rf"```{kind}\n(# my_models/{re.escape(file)}\n.*?)```", text, re.DOTALL)
        place = tmp_path / "my_models" / file
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(block, encoding="utf-8")
    (line,) = re.findall(r"^python -m rankpose.evaluate (--config-dir .*)$", text, re.MULTILINE)
    places = [f"roots.aflw2000={photographs}", "num_workers=0"]
    assert here(*line.split(), *places, "out=both") == (0, "")
    both = results(tmp_path / "both")
    assert {model for model, *_ in both} == {"rankpose-photographs", "two_scales"}
    file = "predictor.file=my_models/two_scales.py"
    assert here("predictor=python", file, "+predictor.arguments.inner=0.8", *places, "out=one") == (0, "")
    (one,) = results(tmp_path / "one").values()
    assert one["model"] == "two_scales"
    assert one["scores"]["mae"] == pytest.approx(both["two_scales", "aflw2000", 0]["scores"]["mae"], abs=1e-4)
    assert one["scores"]["mae"] != both["rankpose-photographs", "aflw2000", 0]["scores"]["mae"]


def test_a_model_or_protocol_that_is_not_there_does_not_cost_the_others(here, photographs, tmp_path):
    table(photographs, tmp_path / "good.csv")
    places = [f"roots.aflw2000={photographs}", "roots.biwi=nowhere", "roots.peers=nowhere", "out=out"]
    code, said = here("predictor=fsanet,table", "predictor.table=good.csv", "protocol=biwi,aflw2000", *places)
    assert code == 1
    assert "3 of 4 tests failed" in said
    content = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert [(one["model"], one["protocol"]) for one in content["results"]] == [("good", "aflw2000")]
    failed = {one["what"]: one["reason"] for one in content["failures"]}
    assert set(failed) == {"fsanet under biwi", "fsanet under aflw2000", "good under biwi"}
    assert "fsanet-1x1" in failed["fsanet under aflw2000"]
    assert "nowhere" in failed["good under biwi"]
    assert "Failed: good under biwi: " in (tmp_path / "out" / "report.html").read_text()


def test_perspective_stands_beside_the_poses_as_they_are(here, tmp_path):
    drawn = write_biwi(tmp_path / "BIWI", ["01", "02"], 3)
    rows = "".join(f"{frame.name},{','.join(map(str, frame.seen))}\n" for frame in drawn)
    (tmp_path / "poses.csv").write_text("image,yaw,pitch,roll\n" + rows)
    arguments = ["predictor=table", "predictor.table=poses.csv", "protocol.perspective=true", "out=out"]
    assert here(*arguments, "protocol=biwi", "roots.biwi=BIWI") == (0, "")
    found = results(tmp_path / "out")
    plain, turned = (found[name, "biwi", 0]["scores"]["geodesic"] for name in ("poses", "poses-perspective"))
    # boxes here are of the head's centre, not of the face that the renderer looks at
    assert turned < 1 < 2 < plain
    page = (tmp_path / "out" / "report.html").read_text()
    assert "poses-perspective" in page
    assert "taken to the camera&#39;s frame" in page
    code, said = here(*arguments, "protocol=aflw2000", "roots.aflw2000=BIWI")
    assert code == 1
    assert "protocol.perspective=true: aflw2000 does not know the cameras of its pictures" in said


def test_a_second_annotation_is_the_floor(here, photographs, tmp_path):
    table(photographs, tmp_path / "poses.csv", lambda pose: pose + 2)
    table(photographs, tmp_path / "again.csv", lambda pose: pose + torch.tensor([1.0, 0.0, -4.0]))
    arguments = ["predictor=table", "predictor.table=poses.csv", f"roots.aflw2000={photographs}", "out=out"]
    assert here(*arguments, "protocol.second_labels=again.csv")[0] == 0
    (result,) = results(tmp_path / "out").values()
    (floor,) = [remark for remark in result["remarks"] if "again.csv" in remark]
    assert floor.startswith("the labels of 30 of 30 images differ from those of again.csv: MAE 1.67° (1.67 to 1.67)")
    assert "yaw 1.00° (1.00 to 1.00), pitch 0.00° (0.00 to 0.00), roll 4.00°" in floor
    assert result["changes"] == []
    # it begins a sentence there
    assert floor[1:] in html.unescape((tmp_path / "out" / "report.html").read_text())
    code, said = here(*arguments, "protocol.second_labels=nowhere.csv")
    assert code == 1
    assert "protocol.second_labels=nowhere.csv: no such file" in said


MISTAKES = {
    "no checkpoint": ([], "checkpoint=RUN"),
    "no row of these images": (["predictor=table", "predictor.table=other.csv"], "other.csv: none of its 1 rows is of"),
    "one override for two": (
        ["predictor=table", "predictor.table=good.csv", "protocol=aflw2000,aflw2000_all", "protocol.name=mine"],
        "protocol.name=mine",
    ),
    "corrupted table": (["predictor=table", "predictor.table=good.csv", "protocol.corruption=blur"], "elsewhere"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_one_line_and_leaves_no_report(photographs, tmp_path, mistake):
    lines = table(photographs, tmp_path / "good.csv").read_text().splitlines()
    (tmp_path / "other.csv").write_text(f"{lines[0]}\nelsewhere.jpg,1,2,3\n")
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


def test_two_checkpoints_of_a_run_and_a_part_of_the_images(here, trained, photographs, tmp_path):
    """A run's folder means its best checkpoint; what was not tested is not counted."""
    arguments = [f"roots.aflw2000={photographs}", "num_workers=0", "batch_size=4", "+trainer.limit_test_batches=2"]
    code, said = here(f"checkpoint={trained},{trained}/checkpoints/last.ckpt", *arguments, "out=out")
    assert (code, said) == (0, "")
    found = results(tmp_path / "out")
    assert set(found) == {(name, "aflw2000", 0) for name in ("best", "last")}
    assert len(pd.read_parquet(tmp_path / "out" / "best" / "aflw2000" / "predictions.parquet")) == 8
    for result in found.values():
        assert (result["images"], result["available"]) == (8, 30)
        assert "only 8 of 30 images were tested (trainer.limit_test_batches)." in result["remarks"]
    for name in ("report.html", "tables.md", "tables.tex"):
        assert "8 of 30 images" in (tmp_path / "out" / name).read_text()
    code, said = here(f"checkpoint={trained}", *arguments[:-1], "+trainer.limit_test_batches=0", "out=none")
    assert code == 1
    assert "limit_test_batches: no image was tested" in said


def test_the_test_that_ends_a_training_counts_what_it_tested(small_set, tmp_path):
    limits = ["trainer.max_epochs=1", "+trainer.limit_test_batches=1", "data.eval_batch_size=4"]
    said = succeed(train(small_set, *limits, "hydra.run.dir=run", cwd=tmp_path)).stdout
    for text in (said, (tmp_path / "run" / "report.html").read_text()):
        assert "4 of 24 images of 1 person" in text
        assert "24 images of 4" not in text


def test_what_fails_takes_nothing_else_with_it(here, photographs, small_set, tmp_path):
    made = table(photographs, tmp_path / "good.csv")
    places = [f"roots.aflw2000={photographs}", f"roots.synthetic={small_set}"]
    code, said = here("predictor=table", f"predictor.table={made}", *places, "protocol=synthetic,aflw2000", "out=out")
    assert code == 1
    (line,) = [line for line in said.splitlines() if line.startswith("error:")]
    assert "1 of 2 tests failed: good under synthetic: " in line
    assert "good.csv" in line
    content = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert [result["protocol"] for result in content["results"]] == ["aflw2000"]
    assert content["results"][0]["scores"]["mae"] < 0.01
    assert [failure["what"] for failure in content["failures"]] == ["good under synthetic"]
    for name in ("report.html", "tables.md"):
        assert "Failed: good under synthetic: " in (tmp_path / "out" / name).read_text()


def test_a_changed_protocol_says_what_it_is(here, photographs, tmp_path):
    made = table(photographs, tmp_path / "poses.csv")
    arguments = ["predictor=table", f"predictor.table={made}", f"roots.aflw2000={photographs}"]
    crop = "+protocol.crop._target_=rankpose.data.crop_rules.HopeNetCrop"
    assert here(*arguments, "protocol.max_angle=20", "protocol.expected=1969", crop, "out=other")[0] == 0
    (changed,) = results(tmp_path / "other").values()
    assert (
        changed["title"]
        == "AFLW2000-3D, all angles within 20 degrees, every model through HopeNetCrop(k=0.2, zoom=1.0)"
    )
    assert changed["changes"] == ["max_angle=20", "crop._target_=rankpose.data.crop_rules.HopeNetCrop"]
    page = (tmp_path / "other" / "report.html").read_text()
    assert "was run with max_angle=20" in page
    assert "within 99" not in page
    # a set may be whole and yet not the one that papers report on
    count = str(changed["images"])
    for given, expected in (([], None), ([f"protocol.expected={count}"], int(count))):
        assert here(*arguments, "protocol.max_angle=20", *given, "out=again")[0] == 0
        (again,) = results(tmp_path / "again").values()
        assert again["expected"] == expected
        assert "<small>published</small>" not in (tmp_path / "again" / "report.html").read_text()


def test_labels_and_boxes_are_told_as_they_are_read(here, tmp_path):
    write_biwi(tmp_path / "BIWI", ["01"], 2)
    found = [path.relative_to(tmp_path / "BIWI").as_posix() for path in (tmp_path / "BIWI").glob("*/*.png")]
    np.savez(tmp_path / "boxes.npz", images=np.array(found), bbox=np.array([[240, 160, 160, 160]] * len(found)))
    rows = "".join(f"{name},0,0,0\n" for name in found)
    (tmp_path / "poses.csv").write_text("image,yaw,pitch,roll\n" + rows)
    arguments = ["predictor=table", "predictor.table=poses.csv", "roots.biwi=BIWI", "out=out"]
    assert here(*arguments, "protocol=biwi", "protocol.reader.labels=colour", "protocol.max_angle=null")[0] == 0
    (result,) = results(tmp_path / "out").values()
    assert "colour camera's frame" in result["title"]
    assert "within" not in result["title"]
    page = (tmp_path / "out" / "report.html").read_text()
    assert "depth camera" not in page.replace("&#39;", "'")
    assert here(*arguments, "protocol=biwi_fsanet", "protocol.reader.boxes.path=boxes.npz")[0] == 0
    (result,) = results(tmp_path / "out").values()
    assert result["title"].endswith("but with reader.boxes.path=boxes.npz")
    shutil.copy(tmp_path / "boxes.npz", tmp_path / "Biwi_FSA-Net.npz")
    assert here(*arguments, "protocol=biwi_fsanet", f"protocol.reader.boxes.path={tmp_path}/Biwi_FSA-Net.npz")[0] == 0
    (result,) = results(tmp_path / "out").values()
    assert result["changes"] == []  # where a file lies is no matter
    assert result["expected"] == 13219


def test_a_table_in_radians_is_told(here, photographs, tmp_path):
    made = table(photographs, tmp_path / "rad.csv", lambda pose: torch.deg2rad(pose) * torch.tensor([1.0, -1, 1]))
    assert here("predictor=table", f"predictor.table={made}", f"roots.aflw2000={photographs}", "out=out")[0] == 0
    (result,) = results(tmp_path / "out").values()
    radians, pitch = (remark for remark in result["remarks"] if remark.startswith("rad: "))
    assert f"radians where degrees are meant: look at the unit of {made}" in radians
    assert "sign of pitch turned, its error would be 0.00 instead of" in pitch
    assert f"look at the column pitch of {made}" in pitch
    assert radians.removeprefix("rad: ") in (tmp_path / "out" / "report.html").read_text()


def test_models_are_named_apart_or_as_asked(here, trained, photographs, tmp_path):
    runs = [tmp_path / sweep / "run" for sweep in ("lr_0.001", "lr_0.01")]
    for place in runs:
        (place / "checkpoints").mkdir(parents=True)
        (place / "checkpoints" / "best.ckpt").symlink_to(trained / "checkpoints" / "best.ckpt")
    arguments = [f"checkpoint={','.join(map(str, runs))}", f"roots.aflw2000={photographs}", "num_workers=0"]
    assert here(*arguments, "name=1,two words", "out=named") == (0, "")
    assert {model for model, *_ in results(tmp_path / "named")} == {"1", "two words"}
    assert (tmp_path / "named" / "two words" / "aflw2000" / "predictions.parquet").is_file()


REFUSED = {
    "sweep": (["-m", "protocol.corruption=blur,noise"], "-m: checkpoint, predictor, protocol, name take several"),
    "a file for a folder": (["out=good.csv"], "is a file; name a folder"),
    "below a file": (["out=good.csv/out"], "is a file; name a folder"),
    "too many names": (["name=a,b"], "name=a,b: 2 for 1 models: good."),
    "no name": (["name=.hidden"], "name=.hidden: must be names of folders"),
    "another protocol's name": (["protocol=aflw2000_all", "protocol.name=aflw2000"], "is the name of another protocol"),
    "the same twice": (["protocol=aflw2000,aflw2000"], "names aflw2000 twice"),
    "nothing between": (["protocol=aflw2000,,biwi"], "protocol=aflw2000,,biwi: cannot be read as KEY=VALUE"),
}


@pytest.mark.parametrize("mistake", REFUSED)
def test_what_cannot_be_is_told_before_the_first_test(here, photographs, tmp_path, mistake):
    table(photographs, tmp_path / "good.csv")
    before = sorted(tmp_path.rglob("*"))
    given, told = REFUSED[mistake]
    code, said = here("predictor=table", "predictor.table=good.csv", f"roots.aflw2000={photographs}", *given)
    assert code == 1
    (line,) = said.splitlines()
    assert line.startswith("error: ")
    assert told in line
    assert sorted(tmp_path.rglob("*")) == before
