"""Readers on generated stand-ins with the real layouts, and on real samples."""

import shutil
from functools import partial
from pydoc import locate

import cv2
import numpy as np
import pytest
from scipy.io import savemat

from rankpose.data.readers.aflw2000 import read_aflw2000
from rankpose.data.readers.biwi import read_biwi
from rankpose.data.readers.sources import BY_READER, check_there
from rankpose.data.readers.w300lp import identity_of, photograph_of, read_300w_lp, split_by_folder, split_by_photograph
from rankpose.errors import DatasetError, DatasetNotFoundError


def write_sample(stem, pose_deg=(10.0, 20.0, -5.0), field="pt2d"):
    """An image and its annotation; the pose is yaw, pitch, roll."""
    stem.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(len(stem.name))
    cv2.imwrite(f"{stem}.jpg", rng.integers(0, 255, (90, 90, 3), dtype=np.uint8))
    yaw, pitch, roll = np.radians(pose_deg)
    points = rng.uniform(20, 70, (3 if field == "pt3d_68" else 2, 68))
    savemat(f"{stem}.mat", {"Pose_Para": np.array([[pitch, yaw, roll, 0, 0, 0, 1e-3]]), field: points})
    return points[:2].T


@pytest.fixture
def lp(tmp_path):
    """Six photographs with three views each, two of them mirrored as well."""
    for number in range(6):
        for view in range(3):
            write_sample(tmp_path / "AFW" / f"AFW_{number}_1_{view}", (10 * view, 5, 3))
            if number < 2:
                write_sample(tmp_path / "AFW_Flip" / f"AFW_{number}_1_{view}", (-10 * view, 5, -3))
    write_sample(tmp_path / "landmarks" / "no_sample_0")
    return tmp_path


def test_300w_lp_order_identity_and_box(lp):
    records = read_300w_lp(lp)
    assert len(records) == 24
    assert len(records.identity_names) == 8
    record = records[list(records.images).index(str(lp / "AFW" / "AFW_3_1_2.jpg"))]
    assert record.identity == "AFW/AFW_3_1"
    assert record.pose == pytest.approx([20, 5, 3], abs=1e-4)
    assert record.face_box == pytest.approx([*record.landmarks.min(0), *record.landmarks.max(0)])


def test_split_keeps_a_photograph_and_its_mirror_image_together(lp):
    splits = split_by_photograph(read_300w_lp(lp))
    photographs = [{photograph_of(name) for name in part.identity_names} for part in (splits.train, splits.val)]
    photographs.append({photograph_of(name) for name in splits.test.identity_names})
    assert sum(map(len, photographs)) == len(set.union(*photographs)) == 6
    assert sum(map(len, (splits.train, splits.val, splits.test))) == 24
    again = split_by_photograph(read_300w_lp(lp))
    assert list(again.test.images) == list(splits.test.images)


@pytest.mark.parametrize("mirrored", ["{}_{}_flip", "{}_flip_{}", "{}_{}_Flip", "{}_{}_mirror", "{}_{}-flipped"])
def test_a_mirror_image_beside_its_original_is_of_the_same_person(tmp_path, mirrored):
    for number in range(8):
        for view in range(2):
            write_sample(tmp_path / "AFW" / f"AFW_{number}_1_{view}", (10 * view, 5, 3))
            write_sample(tmp_path / "AFW" / mirrored.format(f"AFW_{number}_1", view), (-10 * view, 5, -3))
    records = read_300w_lp(tmp_path)
    assert list(records.identity_names) == [f"AFW/AFW_{number}_1" for number in range(8)]
    assert (np.bincount(records.identity) == 4).all()
    splits = split_by_photograph(records, 0.2, 0.2)
    people = [set(part.identity_names) for part in (splits.train, splits.val, splits.test)]
    assert sum(map(len, people)) == len(set.union(*people)) == 8


@pytest.mark.parametrize(
    ("name", "identity"),
    [
        ("AFW/AFW_134212_1_0.jpg", "AFW/AFW_134212_1"),
        ("AFW_Flip/AFW_134212_1_16.jpg", "AFW_Flip/AFW_134212_1"),
        ("IBUG/IBUG_image_008_1_0.jpg", "IBUG/IBUG_image_008_1"),
        ("HELEN/HELEN_1269874180_1.jpg", "HELEN/HELEN_1269874180"),
        ("LFPW/LFPW_image_train_0858_0_flip.png", "LFPW/LFPW_image_train_0858"),
        ("AFW/flip_book_7.jpg", "AFW/flip_book"),
        ("AFW/somebody.jpg", "AFW/somebody"),
    ],
)
def test_who_is_in_an_image_follows_from_its_name(name, identity):
    assert identity_of(name) == identity


@pytest.mark.parametrize("folder", ["AFW_Flip", "AFW_flip", "AFW_mirrored", "AFW-Flip"])
def test_no_two_parts_may_show_the_same_photographs(tmp_path, folder):
    assert photograph_of(f"{folder}/AFW_1") == "AFW/AFW_1"
    for name in ("AFW", "HELEN", folder):
        write_sample(tmp_path / name / "ONE_1_0")
    records = read_300w_lp(tmp_path)
    for test in (folder, "AFW"):
        with pytest.raises(DatasetError, match=rf"data\.split\.test={test}: shows people of data\.split\.train"):
            split_by_folder(records, "AFW", "HELEN", test)


def cut_off(sample):
    content = sample.with_suffix(".jpg").read_bytes()
    sample.with_suffix(".jpg").write_bytes(content[: len(content) // 2])


def no_annotation(sample):
    sample.with_suffix(".mat").unlink()


def no_image(sample):
    sample.with_suffix(".jpg").unlink()


def empty_image(sample):
    sample.with_suffix(".jpg").write_bytes(b"")


def malformed(sample):
    sample.with_suffix(".mat").write_bytes(b"this is no MATLAB file, whatever its name says" * 10)


def cut_off_annotation(sample):
    content = sample.with_suffix(".mat").read_bytes()
    sample.with_suffix(".mat").write_bytes(content[: len(content) // 2])


def nan_pose(sample):
    points = np.random.default_rng(0).random((2, 68))
    savemat(sample.with_suffix(".mat"), {"Pose_Para": np.full((1, 7), np.nan), "pt2d": points})


def few_points(sample):
    points = np.random.default_rng(0).random((2, 21))
    savemat(sample.with_suffix(".mat"), {"Pose_Para": np.zeros((1, 7)), "pt2d": points})


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (cut_off, "cut-off"),
        (no_annotation, "no .mat"),
        (no_image, "no image"),
        (empty_image, "unreadable"),
        (malformed, "malformed"),
        (cut_off_annotation, "malformed"),
        (nan_pose, "NaN"),
        (few_points, "68 points"),
    ],
)
def test_a_bad_file_is_named_and_counted_or_fatal(lp, damage, reason):
    damage(lp / "AFW" / "AFW_2_1_1")
    records = read_300w_lp(lp)
    assert len(records) == 23
    (reject,) = records.rejects
    assert "AFW_2_1_1" in reject.file
    assert reason in reject.reason
    assert "left out 1" in records.summary()
    with pytest.raises(DatasetError, match="AFW_2_1_1") as error:
        read_300w_lp(lp, strict=True)
    assert reason in str(error.value)
    assert "\n" not in str(error.value)


def test_angles_beyond_the_range_are_left_out_and_counted(lp):
    write_sample(lp / "AFW" / "AFW_9_1_0", (120.0, 0, 0))
    records = read_300w_lp(lp, strict=True)
    assert len(records) == 24
    assert "99 degrees" in records.summary()
    assert len(read_300w_lp(lp, max_angle=None)) == 25


@pytest.mark.parametrize("reader", [read_300w_lp, read_aflw2000, read_biwi])
def test_missing_and_empty_folders_say_what_to_do(tmp_path, reader):
    for folder in (tmp_path / "nowhere", tmp_path):
        with pytest.raises(DatasetNotFoundError) as error:
            reader(folder)
        message = str(error.value)
        assert str(folder) in message
        assert "Download" in message
        assert "data=synthetic" in message
        assert "\n" not in message


def test_aflw2000_takes_its_box_from_pt3d_68(tmp_path):
    points = write_sample(tmp_path / "image00002", (-30, 4, 2), "pt3d_68")
    records = read_aflw2000(tmp_path)
    assert records.pose[0] == pytest.approx([-30, 4, 2], abs=1e-4)
    assert records.face_box[0] == pytest.approx([*points.min(0), *points.max(0)], rel=1e-5)


def test_real_aflw2000_samples(real_data):
    records = read_aflw2000(real_data / "aflw2000")
    assert len(records) == 490
    assert len(records.rejects) == 10
    # what answering zero every time gets
    assert np.abs(records.pose).mean() == pytest.approx(17.49, abs=0.01)


def test_filter_keeps_1969_of_the_real_pose_list(real_data):
    lines = (real_data / "aflw2000" / "aflw2000_poses_landmarks.txt").read_text().splitlines()
    poses = np.array([line.split(";")[1:5] for line in lines if not line.startswith("#")], dtype=object)
    angles = poses[:, 1:4].astype(float)
    assert len(angles) == 2000
    assert (np.abs(angles).max(axis=1) <= 99).sum() == 1969


def test_real_300w_lp_sample(real_data, tmp_path):
    for name in ("IBUG_image_008_1_0.jpg", "IBUG_image_008_1_0.mat"):
        (tmp_path / "IBUG").mkdir(exist_ok=True)
        shutil.copy(real_data / "300w_lp" / name, tmp_path / "IBUG" / name)
    record = read_300w_lp(tmp_path, strict=True)[0]
    assert record.identity == "IBUG/IBUG_image_008_1"
    assert np.abs(record.pose).max() < 99
    left, top, right, bottom = record.face_box
    assert 0 < left < right < 450
    assert 0 < top < bottom < 450


@pytest.mark.parametrize("reader", BY_READER)
def test_a_missing_folder_is_told_before_its_reader_is_imported_as_by_the_reader(reader, tmp_path):
    said = []
    for look in (partial(check_there, reader), locate(reader)):
        with pytest.raises(DatasetNotFoundError, match="nowhere") as told:
            look(root=str(tmp_path / "nowhere"))
        said.append(str(told.value))
    assert said[0] == said[1]
