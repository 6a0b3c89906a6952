"""From a picture or a film to poses, by the command as a user types it and from Python."""

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
import torch
from commands import run, succeed
from films import crossing, cut, ffmpeg, read_film, write_film
from PIL import Image
from scipy.spatial.transform import Rotation

import rankpose
from rankpose.answers.drawing import draw_heads
from rankpose.answers.rows import row_of
from rankpose.command.bare_input import with_input
from rankpose.data.crop import read_image
from rankpose.errors import CheckpointError, ConfigError
from rankpose.faces import Face, FaceDetector
from rankpose.pose import euler_to_rotmat
from rankpose.predictors.load import Head

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def heads(small_set):
    """Files of renders in which the detector finds the head."""
    return [small_set / "SYN_TRAIN" / f"SYN_00000{person}_0.jpg" for person in (3, 4)]


def predict(trained, *arguments, cwd, **options):
    return run("predict", *arguments, f"checkpoint={trained}", cwd=cwd, **options)


def rows_of(path):
    with path.open(newline="") as text:
        return list(csv.DictReader(text))


def test_python_gives_the_heads_of_whatever_shows_them(trained, heads, tmp_path):
    estimator = rankpose.load(trained)
    (head,) = estimator(heads[0])
    pixels = np.asarray(Image.open(heads[0]))
    for same in (str(heads[0]), Image.open(heads[0]), pixels):
        (other,) = estimator(same)
        assert (other.box, other.yaw, other.score) == (head.box, head.yaw, head.score)
    angles = np.array([head.yaw, head.pitch, head.roll])
    assert np.allclose(head.rotation, Rotation.from_euler("XYZ", -angles[[1, 0, 2]], degrees=True).as_matrix())
    assert head.expected_error is None
    assert estimator(np.zeros((60, 50, 3), np.uint8)) == []


def test_a_distribution_says_how_far_off_it_may_be_and_that_grows_where_less_can_be_seen(heads, tmp_path):
    estimator = rankpose.load("rankpose-renders")
    image = read_image(str(heads[0]))
    faces = estimator.detector(image)
    blurred = [cv2.GaussianBlur(image, (0, 0), width) if width else image for width in (0, 8, 20)]
    said = [head.expected_error for (head,) in estimator.heads(blurred, [faces] * 3)]
    assert 0.5 < said[0] < said[1] < said[2] < 120
    (head,) = estimator(heads[0])
    assert row_of("clear.jpg", head, 1, None, None)["expected_error"] == pytest.approx(said[0], abs=1e-3)
    shutil.copy(heads[0], tmp_path / "clear.jpg")
    succeed(run("predict", "clear.jpg", "checkpoint=rankpose-renders", cwd=tmp_path))
    (row,) = rows_of(tmp_path / "clear_poses" / "poses.csv")
    assert float(row["expected_error"]) == pytest.approx(said[0], abs=0.01)


def test_many_heads_go_through_the_network_as_they_would_alone(trained, heads):
    estimator = rankpose.load(trained)
    images = [read_image(str(path)) for path in heads]
    faces = [estimator.detector(image) for image in images]
    together = estimator.heads([*images, images[0]], [*faces, []])
    assert [len(one) for one in together] == [1, 1, 0]
    for image, alone in zip(images, together, strict=False):
        assert np.allclose(estimator(image)[0].rotation, alone[0].rotation, atol=1e-4)


def test_a_model_is_a_run_a_checkpoint_or_an_onnx_file(trained, heads, tmp_path):
    succeed(run("export", f"checkpoint={trained}/checkpoints/best.ckpt", f"out={tmp_path}/model.onnx", cwd=tmp_path))
    sources = (trained, trained / "checkpoints" / "best.ckpt", tmp_path / "model.onnx", tmp_path / "model.yaml")
    yaws = [rankpose.load(source)(heads[0])[0].yaw for source in sources]
    assert np.ptp(yaws) < 1e-2
    (tmp_path / "model.yaml").unlink()
    with pytest.raises(CheckpointError, match=r"model\.yaml, is missing"):
        rankpose.load(tmp_path / "model.onnx")
    with pytest.raises(CheckpointError, match="nowhere"):
        rankpose.load("nowhere")


def test_a_picture_gets_a_row_and_its_axes(trained, heads, tmp_path):
    shutil.copy(heads[0], tmp_path / "photo.jpg")
    succeed(predict(trained, "photo.jpg", cwd=tmp_path))
    (row,) = rows_of(tmp_path / "photo_poses" / "poses.csv")
    assert (row["file"], row["person"], row["frame"]) == ("photo.jpg", "1", "")
    pose = np.array([float(row[name]) for name in ("yaw", "pitch", "roll")])
    quaternion = [float(row[name]) for name in ("qx", "qy", "qz", "qw")]
    assert np.allclose(Rotation.from_quat(quaternion).as_matrix(), euler_to_rotmat(torch.tensor(pose)), atol=1e-3)
    drawn, plain = (np.asarray(Image.open(tmp_path / one)) for one in ("photo_poses/photo.jpg", "photo.jpg"))
    assert drawn.shape == plain.shape
    assert np.abs(drawn.astype(int) - plain).mean() > 2

    before = (tmp_path / "photo_poses" / "poses.csv").read_bytes()
    again = predict(trained, "photo.jpg", "draw=cube", cwd=tmp_path)
    assert again.returncode == 1
    assert "poses.csv and 1 more is there already" in again.stderr
    assert (tmp_path / "photo_poses" / "poses.csv").read_bytes() == before
    succeed(predict(trained, "photo.jpg", "draw=cube", "overwrite=true", cwd=tmp_path))
    assert not np.array_equal(np.asarray(Image.open(tmp_path / "photo_poses/photo.jpg")), drawn)


def test_a_folder_goes_on_past_what_is_broken(trained, heads, tmp_path):
    folder = tmp_path / "holiday"
    (folder / "deep" / "er").mkdir(parents=True)
    image = Image.open(heads[0])
    exif = Image.Exif()
    exif[0x0112] = 6
    image.rotate(90, expand=True).save(folder / "deep" / "phone.png", exif=exif)
    image.save(folder / "plain.png")
    image.convert("L").save(folder / "deep" / "er" / "grey, with a comma.png")
    image.save(folder / "still.gif", save_all=True, append_images=[image.rotate(9)])
    Image.new("RGB", (80, 60)).save(folder / "black.png")
    (folder / "text.jpg").write_text("no picture")
    (folder / "half.jpg").write_bytes(heads[0].read_bytes()[:2000])
    (folder / "notes.txt").write_text("of the holiday")
    done = predict(trained, "holiday", "out=holiday/answers", "format=jsonl", cwd=tmp_path)
    assert done.returncode == 1, done.stderr
    assert done.stderr.splitlines()[-1].startswith("error: 2 of 7 files could not be read")
    assert "text.jpg: is no picture" in done.stderr
    assert "half.jpg: is a damaged picture" in done.stderr
    assert "Traceback" not in done.stderr
    for said in ("black.png: no face found", "still.gif: the first of 2 frames", "1 .txt"):
        assert said in done.stdout
    rows = [json.loads(line) for line in (folder / "answers" / "poses.jsonl").read_text().splitlines()]
    found = {row["file"]: row["yaw"] for row in rows}
    assert found.keys() == {"black.png", "plain.png", "still.gif", "deep/phone.png", "deep/er/grey, with a comma.png"}
    assert found["black.png"] is None
    assert np.isclose(found["deep/phone.png"], found["plain.png"])
    assert (folder / "answers" / "deep" / "er" / "grey, with a comma.png").is_file()
    assert (folder / "answers" / "still.gif.jpg").is_file()
    # what it left there itself is not looked at the next time
    again = predict(trained, "holiday", "out=holiday/answers", "overwrite=true", "draw=none", cwd=tmp_path)
    assert len(rows_of(folder / "answers" / "poses.csv")) == 5, again.stderr


def test_boxes_from_elsewhere_are_taken_and_names_lead_nowhere(trained, heads, tmp_path):
    inner = tmp_path / "a" / "b"
    inner.mkdir(parents=True)
    shutil.copy(heads[0], tmp_path / "up.jpg")
    shutil.copy(heads[1], inner / "here.jpg")
    lines = ["../../up.jpg,50,40,90,100", "here.jpg,50,40,90,100", "here.jpg,20,10,60,60", f"{heads[0]},50,40,90,100"]
    (inner / "faces.csv").write_text("image,x,y,w,h\n" + "\n".join([*lines, "gone.jpg,1,1,5,5"]) + "\n")
    before = {path for path in tmp_path.rglob("*")}
    done = predict(trained, "a/b/faces.csv", "out=answers", "format=parquet", cwd=tmp_path)
    assert done.returncode == 1
    assert "gone.jpg: cannot be read" in done.stderr
    table = pd.read_parquet(tmp_path / "answers" / "poses.parquet")
    assert table.groupby("file").size().to_dict() == {"../../up.jpg": 1, "here.jpg": 2, str(heads[0]): 1}
    assert table[table.file == "here.jpg"].left.tolist() == [50, 20]
    new = {path for path in tmp_path.rglob("*")} - before
    assert all(path.is_relative_to(tmp_path / "answers") for path in new)
    assert len([path for path in new if path.suffix == ".jpg"]) == 3


def test_nothing_is_written_through_a_link_or_over_what_is_looked_at(trained, heads, tmp_path):
    (tmp_path / "in").mkdir()
    shutil.copy(heads[0], tmp_path / "in" / "photo.jpg")
    (tmp_path / "out").mkdir()
    (tmp_path / "elsewhere.jpg").write_bytes(b"mine")
    (tmp_path / "out" / "photo.jpg").symlink_to(tmp_path / "elsewhere.jpg")
    linked = predict(trained, "in", "out=out", "overwrite=true", cwd=tmp_path)
    assert linked.returncode == 1
    assert "is a link to somewhere else" in linked.stderr
    assert (tmp_path / "elsewhere.jpg").read_bytes() == b"mine"
    same = predict(trained, "in", "out=in", "overwrite=true", cwd=tmp_path)
    assert "is what is looked at" in same.stderr
    assert (tmp_path / "in" / "photo.jpg").read_bytes() == heads[0].read_bytes()


@pytest.fixture(scope="module")
def film(heads, tmp_path_factory):
    """Two people who cross, 50 frames at uneven times, with sound."""
    frames, _ = crossing(*(read_image(str(path)) for path in heads))
    times = [number / 25 + (0.2 if number > 30 else 0) for number in range(len(frames))]
    return write_film(tmp_path_factory.mktemp("film") / "talk.mp4", frames, times), times


def test_a_film_keeps_its_frames_times_people_and_sound(trained, film, tmp_path):
    path, times = film
    succeed(predict(trained, path, "out=.", "film.every=1", "smooth=false", cwd=tmp_path))
    rows = pd.read_csv(tmp_path / "poses.csv")
    assert sorted(set(rows.frame)) == list(range(50))
    assert np.allclose(rows.groupby("frame").time.first(), times, atol=2e-3)
    assert set(rows.person.dropna()) == {1, 2}
    drawn, shown, kinds = read_film(tmp_path / "talk.mp4")
    assert len(drawn) == 50
    assert np.allclose(np.array(shown) - shown[0], times, atol=2e-3)
    assert kinds == [("video", "h264"), ("audio", "aac")]
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []
    succeed(predict(trained, path, "out=less", "film.every=5", "draw=none", cwd=tmp_path))
    fewer = pd.read_csv(tmp_path / "less" / "poses.csv")
    assert sorted(set(fewer.frame)) == list(range(50))
    both = rows.merge(fewer, on=["frame", "person"])
    assert (both.left_x - both.left_y).abs().median() < 6
    assert not (tmp_path / "less" / "talk.mp4").exists()


def test_a_film_of_a_turned_phone_is_upright(trained, film, tmp_path):
    path, _ = film
    upright, _, _ = read_film(path)
    ffmpeg("-i", path, "-vf", "transpose=2", tmp_path / "lying.mp4")
    ffmpeg("-display_rotation", "-90", "-i", tmp_path / "lying.mp4", "-c", "copy", tmp_path / "turned.mp4")
    succeed(predict(trained, "turned.mp4", "out=out", cwd=tmp_path))
    drawn, _, _ = read_film(tmp_path / "out" / "turned.mp4")
    assert drawn[0].shape == upright[0].shape
    assert np.abs(drawn[0].astype(int) - upright[0]).mean() < 12
    assert pd.read_csv(tmp_path / "out" / "poses.csv").yaw.notna().mean() > 0.9


def test_of_a_film_that_is_cut_all_that_is_there_is_kept(trained, film, tmp_path):
    ffmpeg("-i", film[0], "-c", "copy", "-movflags", "+faststart", tmp_path / "front.mp4")
    cut(tmp_path / "front.mp4", tmp_path / "half.mp4", 0.6)
    done = predict(trained, "half.mp4", "out=out", cwd=tmp_path)
    assert done.returncode == 1
    assert "half.mp4: breaks off after" in done.stderr
    assert "Traceback" not in done.stderr
    rows = pd.read_csv(tmp_path / "out" / "poses.csv")
    drawn, _, _ = read_film(tmp_path / "out" / "half.mp4")
    assert 10 < len(drawn) == rows.frame.nunique() < 50
    cut(film[0], tmp_path / "headless.mp4", 0.5)  # what says where frames are stood at the end
    broken = predict(trained, "headless.mp4", "out=other", cwd=tmp_path)
    assert broken.returncode == 1
    assert broken.stderr.startswith("error: ")
    assert "headless.mp4: is no film that can be read" in broken.stderr


@pytest.mark.long
@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
def test_a_signal_leaves_a_whole_film_and_table(name, trained, heads, tmp_path):
    frames, _ = crossing(*(read_image(str(path)) for path in heads), count=400)
    write_film(tmp_path / "long.mp4", frames)
    number = getattr(signal, name)
    command = [sys.executable, "-m", "rankpose.predict", "long.mp4", f"checkpoint={trained}", "out=out"]
    with subprocess.Popen(
        command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        written = tmp_path / "out"
        for _ in range(1200):
            if any(path.stat().st_size > 5000 for path in written.glob(".long.mp4.*")) or process.poll() is not None:
                break
            time.sleep(0.1)
        process.send_signal(number)
        said, _ = process.communicate(timeout=120)
    assert process.returncode == 128 + number, said
    assert f"stopped by {name}" in said
    rows = pd.read_csv(written / "poses.csv")
    drawn, _, kinds = read_film(written / "long.mp4")
    assert 1 <= len(drawn) == rows.frame.nunique() < 400
    assert kinds[0] == ("video", "h264")
    assert not list(written.glob(".*"))


def test_a_mistake_is_one_line(trained, heads, tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "text.txt").write_text("no picture")
    (tmp_path / "faces.csv").write_text("image,x,y\n")
    shutil.copy(heads[0], tmp_path / "photo.jpg")
    for arguments, said in {
        ("nowhere.jpg",): "input=nowhere.jpg: no such file or folder",
        ("empty",): "input=empty: holds no picture and no film",
        ("text.txt",): "text.txt: is no picture",
        ("faces.csv",): "faces.csv: has no column w, h",
        ("photo.jpg", "draw=circle"): "draw=circle: must be one of axes, cube, none",
        ("photo.jpg", "format=xls"): "format=xls: must be one of csv, parquet, jsonl",
        ("photo.jpg", "out=photo.jpg"): "out=photo.jpg: ",
        ("photo.jpg", "detector=yunet"): "detector.model is not set",
        ("photo.jpg", "detector.size=big"): "detector.size=big: must be a whole number",
        ("photo.jpg", "film.every=0"): "film.every=0: must be a whole number, at least 1",
        ("photo.jpg", "smoothing.gap_s=0"): "smoothing.gap_s=0: must be above 0",
        ("photo.jpg", "detecto=yunet"): "Did you mean detector",
        ("photo.jpg", "photo.jpg"): "one input at a time",
        ("photo.jpg", "device=abacus"): "device=abacus: cannot be used here",
        ("9",): "input=9: there is no such camera",
    }.items():
        done = predict(trained, *arguments, cwd=tmp_path)
        assert done.returncode == 1, arguments
        assert said in done.stderr, (arguments, done.stderr)
        assert len(done.stderr.splitlines()) == 1, (arguments, done.stderr)
        assert not list(tmp_path.glob("*_poses")), arguments


def test_a_bare_argument_is_the_input():
    assert with_input(["a b.jpg", "out=x"]) == ['input="a b.jpg"', "out=x"]
    assert with_input(["0"]) == ['input="0"']
    assert with_input(["-1", "-c", "job"]) == ['input="-1"', "-c", "job"]
    assert with_input(["--cfg", "job", "input=a.jpg"]) == ["--cfg", "job", "input=a.jpg"]
    with pytest.raises(ConfigError, match="one input at a time"):
        with_input(["a.jpg", "input=b.jpg"])


@pytest.mark.parametrize("shade", [0, 255])
@pytest.mark.parametrize("kind", ["axes", "cube"])
def test_what_is_drawn_stands_out_and_stays_inside(kind, shade):
    picture = np.full((200, 300, 3), shade, np.uint8)
    rotation = euler_to_rotmat(torch.tensor([20.0, 10.0, 5.0])).numpy()
    for box in ((10.0, 10.0, 90.0, 110.0), (200.0, 90.0, 299.0, 199.0), (-50.0, -40.0, 400.0, 300.0)):
        head = Head(box, 20.0, 10.0, 5.0, 0.9, rotation)
        drawn = draw_heads(picture, [head, head], [1, None], kind)
        assert drawn.shape == picture.shape
        assert (picture == shade).all(), "the picture itself stays as it is"
        assert (np.abs(drawn.astype(int) - shade).max(axis=2) > 100).mean() > 0.01
    assert np.array_equal(draw_heads(picture, [head], [1], "none"), picture)
    for size in ((1, 1), (3, 40), (40, 3)):
        tiny = np.full((*size, 3), shade, np.uint8)
        assert (
            draw_heads(tiny, [Head((0.0, 0.0, 3.0, 3.0), 1.0, 2.0, 3.0, 1.0, rotation)], [1], kind).shape == tiny.shape
        )


def test_angles_of_neighbours_do_not_cover_each_other():
    picture = np.full((300, 700, 3), 255, np.uint8)
    boxes = [(100.0, 80.0, 200.0, 200.0), (320.0, 80.0, 420.0, 200.0), (540.0, 80.0, 640.0, 200.0)]
    heads = [Head(box, 0.0, 0.0, 0.0, 1.0, np.eye(3)) for box in boxes]
    together = draw_heads(picture, heads, [1, 2, 3], "axes")
    alone = [draw_heads(picture, [head], [person], "axes") for person, head in enumerate(heads, 1)]
    for one in alone[:2]:  # beside the others each looks as it does alone
        changed = (one != 255).any(axis=2)
        assert np.array_equal(together[changed], one[changed])


def test_torch_hub_gives_an_estimator(trained, heads):
    root = Path(rankpose.__file__).parent.parent
    estimator = torch.hub.load(str(root), "estimator", trained, source="local")
    assert estimator(heads[0])[0].yaw == rankpose.load(trained)(heads[0])[0].yaw


@pytest.mark.long
def test_evaluate_says_what_a_detector_costs(trained, small_set, tmp_path):
    arguments = (f"checkpoint={trained}", "protocol=synthetic", f"roots.synthetic={small_set}", "num_workers=1")
    done = succeed(run("evaluate", *arguments, "protocol.boxes=centerface", "out=found", cwd=tmp_path))
    assert "these figures do not compare with" in done.stdout + done.stderr
    found = pd.read_parquet(tmp_path / "found" / "predictions.parquet")
    succeed(run("evaluate", *arguments, "out=given", cwd=tmp_path))
    given = pd.read_parquet(tmp_path / "given" / "predictions.parquet")
    assert 0.7 * len(given) < len(found) <= len(given)
    both = found.merge(given, on="name")
    assert len(both) == len(found)
    assert (both.crop_side_x != both.crop_side_y).all()
    assert (both.crop_side_x / both.crop_side_y).median() == pytest.approx(1, abs=0.3)
    for wrong, said in {
        "protocol.boxes=centreface": "protocol.boxes=centreface: must be one of",
        "protocol.boxes=yunet": "roots.yunet=data/face_detection_yunet_2023mar.onnx: no such file",
    }.items():
        refused = run("evaluate", *arguments, wrong, cwd=tmp_path)
        assert refused.returncode == 1
        assert refused.stderr.startswith(f"error: {said}")


def test_a_talking_head_is_one_person(trained, real_data, tmp_path):
    succeed(predict(trained, real_data / "video" / "talking_head.mp4", "out=out", cwd=tmp_path))
    rows = pd.read_csv(tmp_path / "out" / "poses.csv")
    assert len(rows) == 158
    assert set(rows.person) == {1}
    drawn, _, kinds = read_film(tmp_path / "out" / "talking_head.mp4")
    assert len(drawn) == 158
    assert kinds == [("video", "h264"), ("audio", "aac")]


def test_a_detector_of_ones_own_serves_as_well(trained, heads):
    class Middle(FaceDetector):
        def __call__(self, image):
            return [Face((50.0, 40.0, 140.0, 140.0), 1.0)]

    (head,) = rankpose.load(trained, detector=Middle(1.0, 0.0))(heads[0])
    assert head.box == (50.0, 40.0, 140.0, 140.0)
    assert os.environ.get("RANKPOSE_CACHE")
