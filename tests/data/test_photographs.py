"""One's own pictures with a table of poses: what is read, and what is refused."""

import zipfile
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest

from rankpose.data.batches import CropDataset
from rankpose.data.crop import read_image
from rankpose.data.datamodule import PoseDataModule
from rankpose.data.identity_sampler import Draw
from rankpose.data.packed.reading import PackedSquare, read_packed
from rankpose.data.packed.writing import prepare
from rankpose.data.readers.photographs import read_faces, read_photographs, split_by_person
from rankpose.errors import ConfigError, DatasetError, DatasetNotFoundError
from rankpose.pose import ANGLES

NAMES = [f"{person}_{k}.png" for person in ("ann", "bob", "cid") for k in range(3)]


@pytest.fixture
def pictures(tmp_path):
    """A folder of nine pictures, each of a brightness of its own, and their table."""
    for i, name in enumerate(NAMES):
        cv2.imwrite(str(tmp_path / name), np.full((60, 48, 3), 20 * i, np.uint8))
    pose = np.linspace(-40, 40, 27).reshape(9, 3).round(2)
    return tmp_path, pd.DataFrame({"image": NAMES, **dict(zip(ANGLES, pose.T, strict=True))})


def read(pictures, folder=None, **options):
    root, table = pictures
    table.to_csv(root / "poses.csv", index=False)
    return read_photographs(folder or root, **options)


def test_a_table_gives_poses_and_boxes_in_the_middle(pictures):
    records = read(pictures, crop_scale=1.5)
    assert np.allclose(records.pose, pictures[1][list(ANGLES)])
    # a face of 48 / 1.5 pixels around the middle of 48x60
    assert np.allclose(records.face_box, [7.5, 13.5, 39.5, 45.5])
    assert records.weight is None
    assert records.landmarks is None
    assert len(records.identity_names) == 9


def test_weights_may_be_left_out_of_account(pictures):
    pictures[1]["weight"] = np.linspace(0.1, 0.9, 9)
    assert read(pictures).weight is not None
    assert read(pictures, weighted=False).weight is None


def test_boxes_landmarks_weights_and_who_come_from_the_table(pictures):
    root, table = pictures
    table["person"] = ["ann"] * 3 + ["bob"] * 6
    table["weight"] = np.linspace(0.1, 0.9, 9)
    table["rejected"] = ["", "0", "blurred", "", "1", "", "", "", ""]
    points = np.random.default_rng(0).uniform(5, 40, (9, 68, 2))
    points[0, 0] = 2, 3
    columns = {f"{axis}{k}": points[:, k, i] for k in range(68) for i, axis in enumerate("xy")}
    records = read((root, pd.concat([table, pd.DataFrame(columns)], axis=1)), columns={"identity": "person"})
    assert [reject.reason for reject in records.rejects] == ["rejected by the table: blurred", "rejected by the table"]
    assert records.identity_names[records.identity].tolist() == ["ann"] * 2 + ["bob"] * 5
    kept = [0, 1, 3, 5, 6, 7, 8]
    assert np.allclose(records.landmarks, points[kept])
    assert np.allclose(records.face_box[0][:2], [2, 3])
    assert np.allclose(records.weight, table["weight"][kept])
    batch = CropDataset(records, 32)[[Draw(1), Draw(6)]]
    assert np.allclose(batch["weight"], [0.2, 0.9])
    table[["left", "top", "right", "bottom"]] = 10, 11, 30, 41
    assert np.allclose(read((root, table)).face_box, [10, 11, 30, 41])


def test_a_zip_file_and_parquet_are_read_as_they_are(pictures, tmp_path):
    root, table = pictures
    with zipfile.ZipFile(tmp_path / "set.zip", "w") as file:
        for name in NAMES:
            file.write(root / name, name)
    folder, zipped = read(pictures), read(pictures, tmp_path / "set.zip")
    assert np.array_equal(read_image(zipped.images[4]), read_image(folder.images[4]))
    assert np.array_equal(zipped.pose, folder.pose)
    table.to_parquet(root / "poses.parquet")
    assert np.array_equal(read_photographs(root, table="poses.parquet").pose, folder.pose)


def test_who_it_is_from_the_folder_or_from_the_name(pictures):
    root, table = pictures
    for name in NAMES[:3]:
        (root / "zoe").mkdir(exist_ok=True)
        (root / name).rename(root / "zoe" / name)
    table["image"] = [f"zoe/{name}" for name in NAMES[:3]] + NAMES[3:]
    assert len(read(pictures).identity_names) == 7

    def records(**options):
        return PoseDataModule(read_photographs, str(root), split_by_person, 32, **options).records

    pattern = r"(?:.*/)?(.+)_\d+"
    people = [records(identity=pattern)(part).identity_names.tolist() for part in ("train", "val", "test")]
    assert sorted(name for part in people for name in part) == ["ann", "bob", "cid"]
    with pytest.raises(ConfigError, match=r"data\.identity=\(\.\+\)_x: does not fit zoe/ann_0\.png"):
        records(identity="(.+)_x")("train")
    with pytest.raises(ConfigError, match=r"data\.identity=\(: is no regular expression"):
        records(identity="(")("train")


def test_annotators_that_agree_give_the_mean_and_the_first_alone_beyond_its_limit(pictures):
    root, table = pictures
    one = pd.DataFrame({"yaw": [10.0] * 7 + [70.0] * 2, "pitch": 0.0, "roll": 0.0})
    other = one.assign(yaw=[20.0] * 6 + [40.0, 20.0, 75.0])
    columns = {f"{who}_{angle}": pose[angle] for who, pose in (("fit", one), ("mesh", other)) for angle in ANGLES}
    records = read((root, table[["image"]].assign(**columns)), annotators=["fit", "mesh"], agree_deg=15)
    assert np.allclose(records.pose, [[15, 0, 0]] * 6 + [[70, 0, 0]] * 2, atol=1e-4)
    assert [reject.reason for reject in records.rejects] == ["with annotators more than 15 degrees apart"]


@pytest.mark.parametrize("source", ["folder", "zip"])
def test_the_packed_file_holds_it_all(pictures, tmp_path, source):
    root, table = pictures
    table["weight"] = np.linspace(0.1, 0.9, 9)
    table["identity"] = [name[:3] for name in NAMES]
    if source == "zip":
        with zipfile.ZipFile(tmp_path / "set.zip", "w") as file:
            for name in NAMES:
                file.write(root / name, name)
        root = root / "set.zip"
    records = read((pictures[0], table), root)
    out = tmp_path / "set.arrow"
    prepare(records, root, out, read_photographs, 99.0, PackedSquare(size=64), workers=1)
    packed = read_packed(out, read_photographs, 99.0)
    assert np.array_equal(packed.weight, records.weight)
    assert packed.identity_names[packed.identity].tolist() == table["identity"].tolist()
    assert np.allclose(packed.pose, records.pose)
    # the middle of each picture
    assert [int(read_image(image)[32, 32, 0]) for image in packed.images] == pytest.approx(range(0, 180, 20), abs=1)


def wrong(change):
    def changed(pictures):
        root, table = pictures
        return root, change(root, table)

    return changed


WRONG = {
    "has no column pitch; there are image, yaw, roll. data.reader.columns={pitch: NAME}": lambda _, table: table.drop(
        columns="pitch"
    ),
    "has no column image": lambda _, table: table.drop(columns="image"),
    "names ann_1.png more than once": lambda _, table: table.assign(image=[*NAMES[:8], NAMES[1]]),
    "all angles are below 3.2, as if they were in radians. Set data.reader.unit=radians": lambda _, table: table.assign(
        **{angle: table[angle] / 57.3 for angle in ANGLES}
    ),
    "bob_0.png: yaw is no number (left)": lambda _, table: table.assign(yaw=[0, 0, 0, "left", 0, 0, 0, 0, 9]),
    "cid_2.png: has a weight below 0": lambda _, table: table.assign(weight=[1.0] * 8 + [-1]),
    "has no rows": lambda _, table: table[:0],
    "has a column left and none top, right, bottom: a face box is": lambda _, table: table.assign(left=3),
    "has a column x0 and none y0, x1, y1, ...: a face box is": lambda _, table: table.assign(x0=3),
}


@pytest.mark.parametrize("told", WRONG)
def test_a_table_that_cannot_be_used_is_told_in_one_line(pictures, told):
    with pytest.raises(DatasetError) as error:
        read(wrong(WRONG[told])(pictures))
    assert told in str(error.value)
    assert "poses.csv" in str(error.value)
    assert "\n" not in str(error.value)


def test_a_table_of_faces_to_label_has_its_own_key_for_columns(pictures):
    root, table = pictures
    table.rename(columns={"image": "file"}).to_csv(root / "faces.csv", index=False)
    with pytest.raises(DatasetError, match=r"has no column image; .* data\.columns=\{image: NAME\}"):
        read_faces(root, "faces.csv")
    assert len(read_faces(root, "faces.csv", {"image": "file"})) == 9


def test_one_person_can_be_trained_on_where_another_set_judges(pictures):
    pictures[1]["identity"] = "ann"
    records = read(pictures)
    assert [len(part) for part in vars(split_by_person(records, 0, 0)).values()] == [9, 0, 0]
    with pytest.raises(DatasetError, match="holds images of 1 people; training, validation and test need one each"):
        split_by_person(records, 0.1, 0)


def test_radians_are_read_when_they_are_named(pictures):
    table = pictures[1]
    degrees = table[list(ANGLES)].to_numpy()
    table[list(ANGLES)] = np.radians(degrees)
    assert np.allclose(read(pictures, unit="radians").pose, degrees, atol=1e-4)
    assert np.allclose(read(pictures, unit="degrees").pose, np.radians(degrees))


def test_a_picture_that_is_missing_or_without_a_pose_is_counted_or_refused(pictures):
    root, table = pictures
    table.loc[0, "yaw"] = np.nan
    (root / NAMES[4]).unlink()
    records = read(pictures)
    assert {Path(reject.file).name: reject.reason for reject in records.rejects} == {
        "ann_0.png": "without a pose",
        "bob_1.png": "with no image file",
    }
    with pytest.raises(DatasetError, match=r"ann_0\.png: without a pose.*strict=false"):
        read(pictures, strict=True)


def test_a_missing_folder_or_table_says_what_is_wanted(tmp_path):
    with pytest.raises(DatasetNotFoundError, match=r"no such folder or zip file.*data\.reader\.table"):
        read_photographs(tmp_path / "nowhere")
    with pytest.raises(DatasetNotFoundError, match=r"no table poses\.csv"):
        read_photographs(tmp_path)
