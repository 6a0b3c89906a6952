"""Faces: detectors, boxes, pictures of every kind, people followed through a film, poses that hold still."""

import io
import os
import struct
import zlib
from itertools import pairwise

import numpy as np
import pytest
from films import crossing, write_film
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from scipy.spatial.transform import Rotation

from rankpose.command.configuration import build, composed
from rankpose.data.crop import read_image
from rankpose.data.readers.aflw2000 import read_aflw2000
from rankpose.data.readers.w300lp import read_300w_lp
from rankpose.errors import ConfigError, DatasetError
from rankpose.faces import FaceDetector, apart
from rankpose.faces.boxes import TableBoxes
from rankpose.faces.centerface import CenterFace
from rankpose.faces.films import Camera, Film, read_ahead
from rankpose.faces.following import Follower
from rankpose.faces.found import REASON, found_by
from rankpose.faces.mediapipe import MediaPipe, anchors
from rankpose.faces.pictures import as_pixels, open_picture
from rankpose.faces.smoothing import OneEuro
from rankpose.faces.whole import Whole
from rankpose.faces.yunet import YuNet

numbers = st.floats(-500, 500)


@pytest.fixture(scope="module")
def renders(small_set):
    """Two renders of different people."""
    return [read_image(str(small_set / "SYN_TRAIN" / f"SYN_00000{person}_0.jpg")) for person in (3, 4)]


@given(numbers, numbers, st.floats(1, 300), st.floats(1, 300), st.floats(0.2, 5))
def test_a_face_box_moves_and_grows_with_the_box(x, y, width, height, factor):
    detector = FaceDetector(side=0.9, lower=0.15)
    face = detector.to_face_box((x, y, x + width, y + height))
    moved = detector.to_face_box((x + 7, y - 3, x + 7 + width, y - 3 + height))
    assert np.allclose(moved - face, [7, -3, 7, -3])
    grown = detector.to_face_box((factor * x, factor * y, factor * (x + width), factor * (y + height)))
    assert np.allclose(grown, factor * face)
    assert np.isclose(face[2] - face[0], face[3] - face[1])


@given(st.lists(st.tuples(numbers, numbers, st.floats(1, 90), st.floats(1, 90), st.floats(0, 1)), max_size=12))
def test_what_is_kept_is_apart_and_takes_in_the_rest(boxes):
    boxes = np.array(boxes).reshape(-1, 5)
    corners, scores = np.concatenate([boxes[:, :2], boxes[:, :2] + boxes[:, 2:4]], axis=1), boxes[:, 4]

    kept = apart(corners, scores, 0.3)
    for place in range(len(corners)):
        surer = [other for other in kept if other != place and overlap(corners[place], corners[other]) >= 0.3]
        if place in kept:
            assert not surer
        else:
            assert any(scores[other] >= scores[place] for other in surer)


def overlap(one, other):
    """Share of the union of two boxes that both cover."""
    common = np.clip(np.minimum(one[2:], other[2:]) - np.maximum(one[:2], other[:2]), 0, None).prod()
    return common / ((one[2:] - one[:2]).prod() + (other[2:] - other[:2]).prod() - common)


def test_centerface_finds_a_face_wherever_it_is(renders):
    detector = CenterFace()
    (here,) = (np.array(face.box) for face in detector(renders[0]))
    wide = np.full((400, 500, 3), 128, np.uint8)
    wide[100:292, 220:412] = renders[0]
    (there,) = (np.array(face.box) for face in detector(wide))
    assert overlap(there - [220, 100, 220, 100], here) > 0.75
    large = np.repeat(np.repeat(renders[0], 4, axis=0), 4, axis=1)  # is made smaller for the network
    (large_face,) = (np.array(face.box) for face in detector(large))
    assert overlap(large_face / 4, here) > 0.75
    assert detector(np.zeros((64, 48, 3), np.uint8)) == []


def test_whole_is_what_networks_see_of_a_crop():
    face = Whole().to_face_box(Whole()(np.zeros((80, 80, 3), np.uint8))[0].box)
    assert np.isclose(1.4 * (face[2] - face[0]), 80)


def test_blazeface_has_its_anchors_inside():
    assert anchors().shape == (896, 2)
    assert anchors().min() > 0
    assert anchors().max() < 128


@pytest.mark.parametrize("name", ["centerface", "yunet", "mediapipe", "whole"])
def test_detectors_find_faces_where_landmarks_are(name, real_data):
    """With the ratio that the files in conf/detector have, the square is the landmarks' on average."""
    model = {"yunet": "detector/face_detection_yunet.onnx", "mediapipe": "peers/face_landmarker.task"}.get(name)
    if name == "mediapipe":
        pytest.importorskip("ai_edge_litert")
    overrides = [f"detector={name}", *([f"detector.model={real_data / model}"] if model else [])]
    detector = build(composed("predict", overrides).detector)
    records = read_aflw2000(real_data / "aflw2000")
    ratios, lower, missed = [], [], 0
    for row in range(0, len(records), 7):
        record = records[row]
        low, high = record.landmarks.min(axis=0), record.landmarks.max(axis=0)
        middle, side = (low + high) / 2, (high - low).max()
        boxes = [detector.to_face_box(face.box) for face in detector(read_image(record.image))]
        away = [np.linalg.norm((box[:2] + box[2:]) / 2 - middle) for box in boxes]
        if not away or min(away) > side / 2:
            missed += 1
            continue
        box = boxes[int(np.argmin(away))]
        ratios.append((box[2] - box[0]) / side)
        lower.append(((box[1] + box[3]) / 2 - middle[1]) / side)
    assert missed <= 2
    if name != "whole":
        assert abs(np.mean(ratios) - 1) < 0.03
        assert abs(np.mean(lower)) < 0.03


def test_a_missing_or_wrong_model_is_one_line(tmp_path):
    wrong = tmp_path / "wrong.onnx"
    wrong.write_bytes(b"no model")
    with pytest.raises(ConfigError, match=r"detector\.model is not set"):
        YuNet()
    with pytest.raises(ConfigError, match=r"detector\.model=.*no such file"):
        MediaPipe(tmp_path / "nowhere.task")
    for detector in (YuNet(wrong), CenterFace(wrong), MediaPipe(wrong)):
        with pytest.raises(ConfigError, match=r"^detector\.model=.*wrong\.onnx: is no"):
            detector(np.zeros((64, 64, 3), np.uint8))
    with pytest.raises(ConfigError, match=r"detector\.size=4"):
        CenterFace(size=4)


def test_a_table_of_boxes_names_the_line_that_is_wrong(tmp_path):
    table = tmp_path / "faces.csv"
    table.write_text("image,x,y,w,h\na.jpg,1,2,30,40\na.jpg,50,2,30,40\n")
    assert [face.box for face in TableBoxes(table).of("a.jpg")] == [(1, 2, 31, 42), (50, 2, 80, 42)]
    assert TableBoxes(table).of("b.jpg") == []
    for text, said in {
        "image,x,y,w\n": "no column h",
        "image,x,y,w,h\n": "has no lines",
        "image,x,y,w,h\na.jpg,1,2,3,four\n": "line 2: h=four",
        "image,x,y,w,h\na.jpg,1,2,0,4\n": "line 2",
        "image,x,y,w,h\na.jpg,1,2,nan,4\n": "w=nan",
    }.items():
        table.write_text(text)
        with pytest.raises(DatasetError, match=said):
            TableBoxes(table)


def test_a_set_gets_the_boxes_that_a_detector_finds(small_set):
    records = read_300w_lp(small_set, max_angle=None)
    rows = np.flatnonzero(np.abs(records.pose).max(axis=1) < 40)[:12]
    records = records.select(rows)
    found = found_by(CenterFace(), records)
    assert len(found) + len(found.rejects) - len(records.rejects) == len(records)
    assert len(found) >= 10
    assert found.landmarks is None
    places = [list(records.names).index(name) for name in found.names]
    assert np.array_equal(found.pose, records.pose[places])
    for box, place in zip(found.face_box, places, strict=True):
        low, high = records.landmarks[place].min(axis=0), records.landmarks[place].max(axis=0)
        assert overlap(box, np.concatenate([low, high])) > 0.4
    none = found_by(CenterFace(min_score=0.999), records)
    assert len(none) == 0
    assert {reject.reason for reject in none.rejects[len(records.rejects) :]} == {REASON}


# pictures


@pytest.fixture
def scene():
    """(30, 40, 3): no two of its eight orientations are the same."""
    image = np.zeros((30, 40, 3), np.uint8)
    image[:15, :20], image[:15, 20:], image[15:, :20] = (250, 10, 10), (10, 250, 10), (10, 10, 250)
    return image


TURNED = {
    1: lambda image: image,
    2: lambda image: image[:, ::-1],
    3: lambda image: image[::-1, ::-1],
    4: lambda image: image[::-1],
    5: lambda image: image.transpose(1, 0, 2),
    6: lambda image: np.rot90(image, 1),
    7: lambda image: image[::-1, ::-1].transpose(1, 0, 2),
    8: lambda image: np.rot90(image, -1),
}
"""How the pixels of an upright picture lie in a file with each orientation of EXIF."""


@pytest.mark.parametrize("orientation", TURNED)
def test_exif_says_what_is_up(orientation, scene, tmp_path):
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = Image.fromarray(np.ascontiguousarray(TURNED[orientation](scene)))
    stored.save(tmp_path / "a.png", exif=exif)
    assert np.array_equal(open_picture(tmp_path / "a.png").image, scene)
    assert np.array_equal(as_pixels(Image.open(tmp_path / "a.png")), scene)


def test_every_kind_of_picture_is_seen_as_a_person_sees_it(scene, tmp_path):
    rgb = Image.fromarray(scene)
    grey = np.asarray(rgb.convert("L"))
    rgb.convert("L").save(tmp_path / "grey.png")
    assert np.array_equal(open_picture(tmp_path / "grey.png").image, np.repeat(grey[..., None], 3, axis=2))
    clear = np.dstack([scene, np.full(scene.shape[:2], 255, np.uint8)])
    clear[:5, :, 3] = 0
    Image.fromarray(clear).save(tmp_path / "clear.png")
    seen = open_picture(tmp_path / "clear.png").image
    assert (seen[:5] == 255).all()
    assert np.array_equal(seen[5:], scene[5:])
    Image.fromarray(grey.astype(np.uint16) * 257).save(tmp_path / "deep.png")
    Image.fromarray(grey.astype(np.uint16) * 257).save(tmp_path / "deep.tif")
    for name in ("deep.png", "deep.tif"):
        assert np.array_equal(open_picture(tmp_path / name).image[..., 0], grey)
    rgb.convert("CMYK").save(tmp_path / "print.jpg", quality=98)
    assert np.abs(open_picture(tmp_path / "print.jpg").image.astype(int) - scene).mean() < 12
    rgb.quantize(8).save(tmp_path / "palette.png")
    assert np.abs(open_picture(tmp_path / "palette.png").image.astype(int) - scene).mean() < 12
    frames = [rgb, Image.fromarray(scene[::-1]), rgb]
    frames[0].save(tmp_path / "moving.gif", save_all=True, append_images=frames[1:])
    moving = open_picture(tmp_path / "moving.gif")
    assert moving.note == "the first of 3 frames"
    assert np.abs(moving.image.astype(int) - scene).mean() < 12
    rgb.convert("1").save(tmp_path / "bits.png")
    assert set(np.unique(open_picture(tmp_path / "bits.png").image)) == {0, 255}


def bomb(width, height):
    """The header of a PNG that would be so large."""

    def chunk(kind, content):
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(64))) + chunk(b"IEND", b"")
    )


def test_what_is_no_picture_is_refused_with_its_name(scene, tmp_path):
    content = io.BytesIO()
    Image.fromarray(scene).save(content, "PNG")
    files = {
        "text.jpg": b"this is no picture",
        "empty.png": b"",
        "cut.png": content.getvalue()[:-60],
        "bomb.png": bomb(100_000, 100_000),
        "large.png": bomb(14_000, 12_000),
        "phone.heic": b"\0\0\0\x18ftypheic",
    }
    large = r"too large to be decoded \(.*more than 150 million pixels\)"
    for name, said in zip(files, ("no picture", "empty", "damaged", large, large, "HEIC"), strict=True):
        (tmp_path / name).write_bytes(files[name])
        with pytest.raises(DatasetError, match=f"{name}: .*{said}"):
            open_picture(tmp_path / name)
    os.mkfifo(tmp_path / "pipe.jpg")
    with pytest.raises(DatasetError, match=r"pipe\.jpg: is no file"):
        open_picture(tmp_path / "pipe.jpg")
    with pytest.raises(DatasetError, match="nowhere"):
        open_picture(tmp_path / "nowhere.jpg")
    Image.fromarray(scene[..., 0].astype(np.float32)).save(tmp_path / "float.tif")
    with pytest.raises(DatasetError, match="floating-point"):
        open_picture(tmp_path / "float.tif")


def test_an_array_of_another_kind_is_refused(scene):
    assert np.array_equal(as_pixels(scene[..., 0]), np.repeat(scene[..., :1], 3, axis=2))
    for wrong in (scene / 255, scene[None], scene[..., :2], scene[:0]):
        with pytest.raises(DatasetError, match="an image must"):
            as_pixels(wrong)


# films


def test_people_keep_their_numbers_where_one_hides_another(renders):
    frames, middles = crossing(*renders)
    detector = CenterFace()
    follower = Follower(25, detector.min_score)
    seen = []
    for number, (frame, middle) in enumerate(zip(frames, middles, strict=True)):
        faces = detector.for_films()(frame)
        people = follower(faces, number / 25)
        seen.append(
            [(person, (face.box[0] + face.box[2]) / 2 - middle) for person, face in zip(people, faces, strict=True)]
        )
    assert min(len(one) for one in seen) == 1, "one is hidden for a while"
    (one,) = [person for person, away in seen[0] if abs(away) < 50]
    (other,) = [person for person, away in seen[0] if abs(away) > 50]
    assert {one, other} == {1, 2}
    for now in (*seen[:15], *seen[-15:]):
        assert {person for person, away in now if abs(away) < 50} == {one}
        assert {person for person, away in now if abs(away) > 50} == {other}
    assert {person for now in seen for person, _ in now} == {one, other}


def test_a_person_comes_back_under_the_same_number(renders):
    detector = CenterFace()
    faces = detector(renders[0])
    follower = Follower(25, detector.min_score, patience_s=2)
    assert follower(faces, 0.0) == [1]
    for number in range(1, 30):
        assert follower([], number / 25) == []
    assert follower(faces, 30 / 25) == [1]
    for number in range(31, 150):
        follower([], number / 25)
    assert follower(faces, 6.0) == [2]


def test_a_camera_gives_frames_with_the_times_at_which_they_come(renders, tmp_path):
    """A film stands in for the camera: OpenCV captures from either."""
    film = write_film(tmp_path / "film.mp4", renders * 3, sound=False)
    with Camera(str(film)) as camera:
        frames = list(camera.frames())
    assert [frame.number for frame in frames] == list(range(6))
    times = [frame.time for frame in frames]
    assert times == sorted(times)
    assert np.abs(frames[0].image.astype(int) - renders[0]).mean() < 12, "red first"
    with pytest.raises(ConfigError, match="input=97: there is no such camera"):
        Camera(97)


def test_reading_ahead_changes_nothing_and_can_be_left(renders, tmp_path):
    film = write_film(tmp_path / "film.mp4", renders * 20)
    with Film(film) as source:
        plain = [(frame.number, frame.time, frame.image.sum()) for frame in source.frames()]
    heard = []
    with Film(film) as source:
        ahead = [(frame.number, frame.time, frame.image.sum()) for frame in read_ahead(source, heard.append)]
    assert ahead == plain
    assert len(plain) == 40
    assert len(heard) > 10
    with Film(film) as source:
        frames = read_ahead(source)
        assert next(frames).number == 0
        frames.close()  # ends the reader, which would otherwise read from a film that is closed


@settings(max_examples=20)
@given(st.integers(0, 1000))
def test_smoothing_holds_still_and_follows(seed):
    rng = np.random.default_rng(seed)
    start = Rotation.random(rng=rng)
    times = np.arange(100) / 25
    noisy = [start * Rotation.from_rotvec(rng.normal(0, 0.02, 3)) for _ in times]
    filtered = OneEuro()
    still = [Rotation.from_matrix(filtered(one.as_matrix(), time)) for one, time in zip(noisy, times, strict=True)]

    def unsteadiness(rotations):
        return np.mean([(a.inv() * b).magnitude() for a, b in pairwise(rotations[20:])])

    assert unsteadiness(still) < 0.6 * unsteadiness(noisy)
    filtered = OneEuro()
    turning = [start * Rotation.from_rotvec([0, np.radians(90) * time, 0]) for time in times]
    followed = [Rotation.from_matrix(filtered(one.as_matrix(), time)) for one, time in zip(turning, times, strict=True)]
    # 90 degrees a second: 3.6 degrees are one frame
    assert max((a.inv() * b).magnitude() for a, b in zip(turning, followed, strict=True)) < np.radians(3.6)


def test_smoothing_does_not_depend_on_the_frame_of_reference():
    rng = np.random.default_rng(0)
    turn = Rotation.random(rng=rng)
    one, other = OneEuro(), OneEuro()
    for number in range(30):
        rotation = Rotation.from_rotvec(rng.normal(0, 0.3, 3))
        here = one(rotation.as_matrix(), number / 25)
        there = other((turn * rotation).as_matrix(), number / 25)
        assert np.allclose(turn.as_matrix() @ here, there)
