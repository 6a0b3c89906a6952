"""A drawn set on disk is 300W-LP's layout, the same from any number of processes, and never half there."""

import errno
import json
import os
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from pathlib import Path

import cv2
import numpy as np
import pyarrow.parquet as pq
import pytest
from scipy.io import loadmat

from rankpose.data.synthetic import scene, write

SMALL = {"train": 2, "val": 1}


def make(root: Path, workers: int = 1, seed: int = 0) -> Path:
    return write.ensure_synthetic(root, SMALL, 4, 2, seed=seed, workers=workers, progress=False)


def content(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make(tmp_path_factory.mktemp("synthetic") / "set")


def test_layout(drawn: Path) -> None:
    names = {name for name in content(drawn) if name.endswith(".jpg")}
    train = {f"SYN_TRAIN/SYN_{number:06d}_{index}.jpg" for number in (0, 1) for index in range(4)}
    assert names == train | {f"SYN_VAL/SYN_000002_{index}.jpg" for index in range(4)}
    assert all((drawn / name).with_suffix(".mat").exists() for name in names)
    picture = cv2.imread(str(drawn / "SYN_VAL/SYN_000002_0.jpg"))
    assert picture.shape == (scene.IMAGE_SIZE, scene.IMAGE_SIZE, 3)
    assert not list(drawn.parent.glob("*.partial*"))


def test_labels_have_the_real_files_fields_shapes_and_types(drawn: Path, real_data: Path) -> None:
    real = loadmat(real_data / "300w_lp" / "IBUG_image_008_1_0.mat")
    ours = loadmat(drawn / "SYN_TRAIN" / "SYN_000000_0.mat")
    fields = {key for key in real if not key.startswith("__")}
    assert {key for key in ours if not key.startswith("__")} == fields
    for key in fields:
        assert (ours[key].shape, ours[key].dtype) == (real[key].shape, real[key].dtype), key


def test_factors_agree_with_labels(drawn: Path) -> None:
    rows = pq.read_table(drawn / "SYN_TRAIN" / "factors.parquet").to_pylist()
    assert len(rows) == 8
    for row in rows:
        label = loadmat(drawn / "SYN_TRAIN" / row["file"].replace(".jpg", ".mat"))
        pose = np.degrees(label["Pose_Para"][0, [1, 0, 2]])
        np.testing.assert_allclose(pose, [row["yaw"], row["pitch"], row["roll"]], atol=1e-4)
        assert row["file"].startswith(row["identity"])
        box = np.ptp(label["pt2d"], axis=1)
        assert box.max() == pytest.approx(row["scene_box_side_px"], abs=0.05)
    assert {key.split("_")[0] for key in rows[0]} == {"file", "identity", "yaw", "pitch", "roll", "expression", "scene"}
    people = [{key: row[key] for key in row if key.startswith("identity")} for row in rows]
    assert people[0] == people[3] != people[4]


def test_weak_perspective_of_the_label_is_near_the_landmarks(drawn: Path) -> None:
    label = loadmat(drawn / "SYN_TRAIN" / "SYN_000000_0.mat")
    x, y, scale = label["Pose_Para"][0, [3, 4, 6]]
    middle = label["pt2d"].mean(1)
    assert 3 < scale < 12  # pixels a centimetre
    assert np.hypot(x - middle[0], scene.IMAGE_SIZE + 1 - y - middle[1]) < 60


def test_bytes_do_not_depend_on_the_number_of_processes(drawn: Path, tmp_path: Path) -> None:
    assert content(make(tmp_path / "set", workers=2)) == content(drawn)


def test_another_seed_draws_other_people(drawn: Path, tmp_path: Path) -> None:
    other = content(make(tmp_path / "set", seed=1))
    ours = content(drawn)
    assert not any(other[name] == ours[name] for name in ours if name.endswith(".jpg"))


def test_mat_bytes_hold_any_shape() -> None:
    fields = {"a": np.arange(6.0).reshape(2, 3), "LongerName_1": np.array([[1, -2, 3]], np.int16)}
    packed = write.mat_bytes(fields)
    assert packed == write.mat_bytes(fields)
    loaded = loadmat(BytesIO(packed))
    for key, value in fields.items():
        np.testing.assert_array_equal(loaded[key], value)
        assert loaded[key].dtype == value.dtype


# What is there already


def test_a_finished_set_is_taken_as_it_is(drawn: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(write, "_write", lambda *_: pytest.fail("drawn again"))
    make(drawn)


def test_other_settings_and_other_folders_are_refused(drawn: Path, tmp_path: Path) -> None:
    with pytest.raises(write.SyntheticSetError, match="seed 0 instead of 5") as refused:
        make(drawn, seed=5)
    assert str(drawn) in str(refused.value)
    assert "delete" in str(refused.value)
    assert "\n" not in str(refused.value)
    (tmp_path / "photographs").mkdir()
    (tmp_path / "photographs" / "mine.jpg").write_bytes(b"precious")
    with pytest.raises(write.SyntheticSetError, match="no synthetic set"):
        make(tmp_path / "photographs")
    with pytest.raises(write.SyntheticSetError, match="already there"):
        write.write_synthetic(tmp_path / "photographs", SMALL, 4, 2, workers=1, progress=False)
    assert (tmp_path / "photographs" / "mine.jpg").read_bytes() == b"precious"


def test_an_empty_folder_is_filled(tmp_path: Path) -> None:
    (tmp_path / "set").mkdir()
    make(tmp_path / "set")
    assert json.loads((tmp_path / "set" / "synthetic.json").read_text())["identities"] == SMALL


def test_nonsense_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="identities"):
        write.ensure_synthetic(tmp_path / "set", {"train": 0})
    with pytest.raises(ValueError, match="expressions_per_identity"):
        write.ensure_synthetic(tmp_path / "set", SMALL, 4, 8)


# What goes wrong


def test_interrupted_writing_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    render = scene.render

    def interrupted(*arguments: object) -> object:
        calls.append(arguments)
        if len(calls) == 6:
            raise KeyboardInterrupt
        return render(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(scene, "render", interrupted)
    with pytest.raises(KeyboardInterrupt):
        make(tmp_path / "set")
    assert not [path for path in tmp_path.iterdir() if path.is_dir()]
    monkeypatch.undo()
    make(tmp_path / "set")


def test_a_killed_runs_leftovers_are_cleared(tmp_path: Path) -> None:
    left = tmp_path / "set.partial-99999999"
    left.mkdir()
    (left / "half.jpg").write_bytes(b"...")
    make(tmp_path / "set")
    assert not left.exists()


def test_two_at_once_draw_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    runs = []
    draw = write._write
    monkeypatch.setattr(write, "_write", lambda *arguments: (runs.append(1), draw(*arguments)))
    with ThreadPoolExecutor(2) as both:
        roots = list(both.map(make, [tmp_path / "set"] * 2))
    assert roots[0] == roots[1]
    assert len(runs) == 1


def test_too_small_a_disk_is_noticed_beforehand(tmp_path: Path) -> None:
    people = {"train": shutil.disk_usage(tmp_path).free // (16 * write.BYTES_PER_IMAGE) + 10}
    with pytest.raises(write.SyntheticSetError, match="no room") as refused:
        write.ensure_synthetic(tmp_path / "set", people, progress=False)
    assert "GB" in str(refused.value)
    assert not (tmp_path / "set").exists()


@pytest.mark.parametrize("workers", [1, 2])
def test_a_disk_that_fills_up_ends_with_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, workers: int) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    if (
        os.geteuid() != 0
        or subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(disk)], capture_output=True
        ).returncode
    ):
        pytest.skip("needs a small disk of its own, which only root can mount")
    try:
        monkeypatch.setattr(write, "_check_room", lambda *_: None)
        with pytest.raises(write.SyntheticSetError, match="no room") as refused:
            make(disk / "set", workers=workers)
        assert str(disk / "set") in str(refused.value)
        assert "\n" not in str(refused.value)
        assert refused.value.__cause__.errno == errno.ENOSPC  # type: ignore[union-attr]
        assert not [path for path in disk.iterdir() if path.is_dir()]
    finally:
        subprocess.run(["umount", "--lazy", str(disk)], check=True)


def test_the_estimate_is_enough_but_not_absurd(drawn: Path) -> None:
    blocks = sum(-(-path.stat().st_size // 4096) * 4096 for path in drawn.rglob("*") if path.is_file())
    tables = sum(path.stat().st_size for path in drawn.rglob("*.parquet"))  # mostly fixed cost in so small a set
    assert blocks - tables < sum(SMALL.values()) * 4 * write.BYTES_PER_IMAGE < 3 * blocks
