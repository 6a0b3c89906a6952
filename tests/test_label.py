"""Labels that models give: when they are labels, and `python -m rankpose.label` as a user runs it."""

import contextlib
import shlex
import shutil
import zipfile

import numpy as np
import pandas as pd
import pytest
import torch
from commands import run, succeed, train
from films import crossing, write_film
from hypothesis import given
from hypothesis import strategies as st

from rankpose.command.configuration import build, composed
from rankpose.command.labelling import asked
from rankpose.data.crop import read_image
from rankpose.data.crop_rules import RankPoseCrop
from rankpose.data.readers.photographs import read_faces
from rankpose.data.record import Records
from rankpose.errors import ConfigError, DatasetError, DatasetNotFoundError
from rankpose.files import shipped_models
from rankpose.pose import ANGLES, euler_to_rotmat
from rankpose.predictors import Answer
from rankpose.predictors.onlookers import Faces
from rankpose.predictors.teachers import LEAST_WEIGHT, Agreement


def faces(count):
    return Records(
        dataset="faces",
        names=np.array([f"{i}.jpg" for i in range(count)]),
        images=np.array([f"{i}.jpg" for i in range(count)]),
        pose=np.zeros((count, 3), np.float32),
        face_box=np.tile(np.array([10, 10, 50, 60], np.float32), (count, 1)),
        landmarks=None,
        identity=np.arange(count),
        identity_names=np.array([f"p{i}" for i in range(count)]),
        rejects=(),
    )


def said(*poses, presence=1.0):
    return np.array([[[*pose, presence] for pose in poses]], float)


angles = st.floats(-80, 80)


@given(st.tuples(angles, angles, angles))
def test_teachers_of_one_mind_are_right_and_weigh_one(pose):
    (row,) = Agreement().labels(said(pose, pose), ["a"], faces(1)).to_dict("records")
    rotations = euler_to_rotmat(torch.tensor([pose, [row[angle] for angle in ANGLES]], dtype=torch.float64))
    assert torch.allclose(rotations[0], rotations[1], atol=1e-3)
    assert row["weight"] == 1
    assert row["rejected"] == ""


@given(st.floats(0, 30))
def test_a_label_lies_between_its_teachers_and_weighs_less_the_farther_they_are_apart(apart):
    answers = said((10 - apart / 2, 0, 0), (10 + apart / 2, 0, 0), presence=0.8)
    (row,) = Agreement(agree_deg=20).labels(answers, ["a", "b"], faces(1)).to_dict("records")
    assert row["yaw"] == pytest.approx(10, abs=1e-2)
    assert row["spread"] == pytest.approx(apart, abs=1e-2)
    assert row["weight"] == pytest.approx(max(0.8 * (1 - (apart / 20) ** 2), LEAST_WEIGHT), abs=1e-2)
    if abs(apart - 20) > 0.01:
        assert row["rejected"] == ("answers more than 20 degrees apart" if apart > 20 else "")
    assert (row["a_yaw"], row["b_yaw"]) == pytest.approx((10 - apart / 2, 10 + apart / 2), abs=1e-2)


def test_who_sees_no_face_or_doubts_it_leaves_it_out():
    blind = said((5, 0, 0), (np.nan,) * 3, (5, 0, 0), (5, 0, 0))
    (row,) = Agreement().labels(blind, ["a", "b"], faces(1)).to_dict("records")
    assert row["rejected"] == "b sees no face"
    assert np.isnan(row["yaw"])
    assert (row["a_yaw"], np.isnan(row["b_yaw"])) == (5, True)
    (row,) = Agreement().labels(said((5, 0, 0), presence=0.4), ["a"], faces(1)).to_dict("records")
    assert row["rejected"] == "presence below 0.5"
    with pytest.raises(ConfigError, match="agree_deg=0"):
        Agreement(agree_deg=0)
    with pytest.raises(ConfigError, match="min_presence=2"):
        Agreement(min_presence=2)


@pytest.fixture(scope="module")
def pictures(small_set, tmp_path_factory):
    """A folder of pictures without poses, a folder a person."""
    root = tmp_path_factory.mktemp("pictures") / "people"
    for person in sorted({image.name.rpartition("_")[0] for image in small_set.glob("SYN_T*/*.jpg")})[:8]:
        (root / person).mkdir(parents=True)
        for image in sorted(small_set.glob(f"SYN_T*/{person}_*.jpg"))[:4]:
            shutil.copy(image, root / person)
    return root


@pytest.fixture(scope="module")
def teachers(small_set, tmp_path_factory):
    """Two runs."""
    folder = tmp_path_factory.mktemp("teachers")
    for seed in (0, 1):
        succeed(train(small_set, f"seed={seed}", "trainer.max_steps=2", f"hydra.run.dir=run{seed}", cwd=folder))
    return [folder / "run0", folder / "run1" / "checkpoints" / "best.ckpt"]


def photographs_of(done, folder):
    """The labelled photographs in a training as the command has it that the log ends with, typed in a folder."""
    command = shlex.split(done.stdout.splitlines()[-1].partition("rankpose.train ")[2])
    assert command[0] == "data=mixture", "of so few people"
    with contextlib.chdir(folder):
        source = build(composed("train", [*command, "image_size=32"]).data.sources.photographs)
        source.setup("fit")
    return source


@pytest.mark.slow
def test_pictures_are_labelled_and_trained_on(pictures, teachers, tmp_path):
    shutil.copytree(pictures, tmp_path / "people")
    (tmp_path / "people" / "broken.jpg").write_bytes(b"no picture")
    both = ("data.root=people", f"teacher={teachers[0]},{teachers[1]}", "agree_deg=180", "num_workers=1")
    done = succeed(run("label", *both, cwd=tmp_path))
    assert "32 of 32 faces have a label" in done.stdout
    assert "1 with a cut-off, damaged or unreadable image" in done.stdout
    table = pd.read_csv(tmp_path / "people" / "poses.csv", keep_default_na=False)
    assert {*ANGLES, "weight", "rejected", "run0_yaw", "run1_yaw", "spread"} <= set(table)
    assert table["identity"].nunique() == 8
    assert "<svg" in (tmp_path / "people" / "poses.html").read_text()
    assert not list((tmp_path / "people").glob("*.partial"))
    source = photographs_of(done, tmp_path)
    train = source.records("train")
    assert len(train) == 32
    assert train.weight is not None
    assert len(source.order(32, 0, 0, 1)) > 0
    refused = run("label", *both, cwd=tmp_path)
    assert refused.returncode == 1
    assert (
        refused.stderr
        == "error: out=people/poses.csv: is there already; overwrite=true replaces it, out=FILE takes another.\n"
    )


@pytest.mark.slow
def test_a_film_becomes_faces_that_a_training_takes(pictures, teachers, tmp_path):
    one, other = (read_image(str(sorted(pictures.rglob("*.jpg"))[place])) for place in (0, 4))
    frames, _ = crossing(one, other, count=20)
    write_film(tmp_path / "talk.mp4", frames, rate=10, sound=False)
    asked_for = ("data.root=talk.mp4", f"teacher={teachers[0]}", "agree_deg=180", "num_workers=0", "film.every=1")
    done = succeed(run("label", *asked_for, cwd=tmp_path))
    folder = tmp_path / "talk_faces"
    table = pd.read_csv(folder / "poses.csv", keep_default_na=False)
    assert set(table["identity"]) == {"talk/person1", "talk/person2"}
    assert set(table["source"]) == {"talk.mp4"}
    assert {"frame", "time", "left", "weight", "run0_yaw"} <= set(table)
    assert sorted(folder.glob("*.*")) == [folder / "poses.csv", folder / "poses.html"]
    source = photographs_of(done, tmp_path)
    assert len(source.records("train")) == len(table)
    assert len(source.order(32, 0, 0, 1)) > 0
    refused = run("label", *asked_for, cwd=tmp_path)
    assert "error: out=talk_faces: poses.csv is there already" in refused.stderr


class Counts:
    """A teacher that says how often it was asked, and dies after so many times."""

    crop, size, keys = RankPoseCrop(), 1, {}

    def __init__(self, dies_after=None):
        self.asked, self.dies_after = 0, dies_after

    def answer(self, image, points):
        if self.asked == self.dies_after:
            raise KeyboardInterrupt
        self.asked += 1
        return Answer(np.array([points.mean(), image.mean() / 10, 0.0]))


def test_it_goes_on_where_it_was_stopped(pictures, tmp_path):
    with zipfile.ZipFile(tmp_path / "faces.zip", "w") as archive:
        for image in pictures.rglob("*.jpg"):
            archive.write(image, image.relative_to(pictures).as_posix())
    records, partial = read_faces(tmp_path / "faces.zip"), tmp_path / "poses.csv.partial"
    whole = asked(Faces([Counts()], records), tmp_path / "other.partial", ["a"], 0)
    with pytest.raises(KeyboardInterrupt):
        asked(Faces([Counts(dies_after=10)], records), partial, ["a"], 0)
    with partial.open("a") as file:
        file.write("[10, [[1.5, 2.")  # a line that was cut off
    other, again = Counts(), Counts()
    assert np.array_equal(asked(Faces([again], records), partial, ["a"], 0), whole)
    assert again.asked == len(records) - 10
    asked(Faces([other], records, mirror=True), partial, ["a"], 0)  # another question
    assert other.asked == 2 * len(records)


@pytest.mark.slow
@pytest.mark.skipif(not shipped_models(), reason="no model comes with the package")
def test_a_shipped_model_may_be_the_teacher(pictures, tmp_path):
    (name, *_) = shipped_models()
    asked_for = (f"data.root={pictures}", f"teacher={name}", "agree_deg=180", "out=poses.csv", "num_workers=0")
    succeed(run("label", *asked_for, cwd=tmp_path))
    assert f"{name}_yaw" in pd.read_csv(tmp_path / "poses.csv")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["data.root=nowhere"], "data.root=nowhere: no such folder, zip file or film."),
        (["data.root={film}", "boxes=crop"], "whose faces the detector finds"),
        (["data.root={film}", "teacher={run}", "out=faces"], "no face is found in 1 file"),
        (["data.root={pictures}", "boxes=dectector"], "boxes=dectector: must be crop, detector or null."),
        (["data.root={pictures}", "teacher={run}", "data.crop_scale=4"], "boxes=detector finds the faces"),
        (["data.root={pictures}", "teacher=opentrak"], "teacher=opentrak: is no run, checkpoint or description"),
        (["data.root={pictures}", "teacher={run}", "agree_deg=1e-9", "out=a.csv"], "no face has a label"),
    ],
)
def test_mistakes_are_told_in_a_line(arguments, told, pictures, teachers, tmp_path):
    film = tmp_path / "grey.mp4"
    if "data.root={film}" in arguments:
        write_film(film, [np.full((64, 64, 3), 128, np.uint8)] * 4, sound=False)
    given = [one.format(pictures=pictures, run=teachers[0], film=film) for one in arguments]
    done = run("label", *given, "num_workers=0", cwd=tmp_path)
    assert done.returncode == 1
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert told in line
    assert not list(pictures.parent.rglob("poses.csv"))


def test_folders_and_files_without_pictures_are_named(tmp_path):
    (tmp_path / "notes.txt").write_text("no zip file")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DatasetNotFoundError, match="holds no picture"):
        read_faces(tmp_path / "empty")
    with pytest.raises(DatasetError, match=r"notes\.txt: is no folder, and no zip file that can be read"):
        read_faces(tmp_path / "notes.txt")
    with pytest.raises(DatasetNotFoundError, match=r"no table boxes\.csv"):
        read_faces(tmp_path / "empty", table="boxes.csv")
