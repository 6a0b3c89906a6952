"""BIWI: labels in both cameras' frames, boxes from everywhere, on rendered recordings and on the real label files."""

import os
import shutil
import tarfile
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch
import yaml
from biwi_tree import write_biwi
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from rankpose.command.configuration import build, composed
from rankpose.data.crop import read_image
from rankpose.data.crop_rules import RankPoseCrop
from rankpose.data.perspective import turn_towards
from rankpose.data.readers import biwi
from rankpose.data.readers.biwi import (
    FLIP_Y_AND_Z,
    PERSONS,
    pose_to_pyr,
    pyr_to_pose,
    read_biwi,
    read_camera,
    read_colour_camera,
    read_pose,
    rotation_to_pose,
    split_biwi,
)
from rankpose.data.readers.boxes import FileBoxes, scale_box
from rankpose.data.readers.detect import DetectedBoxes, YuNet
from rankpose.errors import ConfigError, DatasetError, DatasetNotFoundError
from rankpose.evaluation.protocol import Protocol
from rankpose.files import CONFIG_DIR
from rankpose.metrics import geodesic_error
from rankpose.pose import euler_to_rotmat, rotmat_to_euler

CONFIG_FOLDER = Path(CONFIG_DIR)
SEQUENCES = ("01", "03", "15")
FRAMES = 4


@pytest.fixture(scope="session")
def rendered(tmp_path_factory):
    """A folder in BIWI's layout, and what is known about its frames; 03 and 15 are the same person."""
    root = tmp_path_factory.mktemp("biwi") / "hpdb"
    return root, write_biwi(root, SEQUENCES, FRAMES)


@pytest.fixture
def tree(rendered, tmp_path):
    """A copy to damage."""
    return shutil.copytree(rendered[0], tmp_path / "hpdb")


def file_of(drawn, scale=1.0):
    """Names and (N, 4) x, y, w, h of the boxes around the drawn landmarks."""
    boxes = scale_box(np.array([[*f.landmarks.min(0), *f.landmarks.max(0)] for f in drawn]), scale)
    return np.array([frame.name for frame in drawn]), np.hstack([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]])


# labels


def test_colour_labels_are_what_the_pictures_show(rendered):
    root, drawn = rendered
    records = read_biwi(root, labels="colour")
    assert records.pose == pytest.approx(np.array([frame.pose for frame in drawn]), abs=1e-3)


def test_depth_and_colour_labels_differ_by_one_rotation_a_recording(rendered):
    root, _ = rendered
    depth, colour = (
        euler_to_rotmat(torch.from_numpy(read_biwi(root, labels=labels).pose).double()) for labels in biwi.LABELS
    )
    between = Rotation.from_matrix((colour @ depth.mT).numpy())
    for first in range(0, len(between), FRAMES):
        camera = read_camera(root / SEQUENCES[first // FRAMES] / "rgb.cal").rotation
        expected = Rotation.from_matrix(FLIP_Y_AND_Z @ camera @ FLIP_Y_AND_Z)
        assert np.degrees((between[first : first + FRAMES] * expected.inv()).magnitude()) == pytest.approx(0, abs=1e-3)
    assert np.degrees(between.magnitude()) == pytest.approx(3, abs=1e-3)


def test_landmarks_project_to_where_they_were_drawn(rendered):
    root, drawn = rendered
    for frame in drawn:
        camera = read_colour_camera(root / frame.name[:2])
        rotation, centre = read_pose(str(root / frame.name).replace("_rgb.png", "_pose.txt"))
        projected = camera.project((frame.shape @ FLIP_Y_AND_Z) @ rotation.T + centre)
        assert projected == pytest.approx(frame.landmarks, abs=0.01)


# perspective


@given(st.tuples(st.floats(-2, 2), st.floats(-2, 2)))
def test_the_axis_is_turned_to_a_ray_by_the_smallest_rotation(place):
    ray = np.array([*place, -1.0])
    turn = turn_towards(ray)
    assert turn @ [0, 0, -1] == pytest.approx(ray / np.linalg.norm(ray), abs=1e-9)
    angle = np.arctan(np.hypot(*place))
    assert Rotation.from_matrix(turn).magnitude() == pytest.approx(angle, abs=1e-6)
    assert turn @ turn.T == pytest.approx(np.eye(3), abs=1e-9)


@pytest.mark.parametrize("labels", biwi.LABELS)
def test_a_pose_that_a_crop_shows_becomes_the_cameras(rendered, tmp_path, labels):
    """Heads off the image's centre, drawn by a camera of known place: what a perfect network says of their crops."""
    root, drawn = rendered
    names, boxes = file_of(drawn)
    np.savez(tmp_path / "boxes.npz", images=names, bbox=boxes)
    reader = partial(read_biwi, labels=labels, boxes=FileBoxes(tmp_path / "boxes.npz"))
    protocol = Protocol("biwi", "", reader, str(root), cameras=biwi.ColourCameras(labels), perspective=True)
    records = protocol.records()
    said = torch.tensor(np.array([frame.seen for frame in drawn]))
    said[0] = torch.nan
    found = protocol.in_camera(said, records, RankPoseCrop(), torch.arange(len(drawn)))
    assert found[0].isnan().all()
    true = torch.from_numpy(records.pose).double()[1:]
    assert geodesic_error(said[1:], true).mean() > 2
    assert geodesic_error(found[1:], true).max() < 0.1
    # a lens that draws heads elsewhere than a pinhole does is told by its calibration
    camera = read_camera(root / "01" / "rgb.cal")
    bent = replace(camera, distortion=np.array([0.2, -0.1, 0.01, 0.0]))
    points = np.array([[30.0, 40.0, 900.0], [-200.0, 100.0, 1000.0]])
    seen = bent.rays(bent.project(points)) * bent.to_camera(points)[:, 2:]
    assert seen == pytest.approx(bent.to_camera(points), abs=0.1)


def test_perspective_is_refused_where_no_camera_is_known():
    with pytest.raises(ConfigError, match="does not know the cameras of its pictures"):
        Protocol("mine", "", read_biwi, "", perspective=True)
    with pytest.raises(ConfigError, match="packed"):
        Protocol("mine", "", read_biwi, "", packed="x.arrow", cameras=biwi.ColourCameras(), perspective=True)


def test_a_detector_finds_each_head_where_the_renderer_drew_it(rendered, real_data):
    """The check that looks at the pixels: where a detector that was trained on photographs sees the face."""
    root, drawn = rendered
    yunet = YuNet(real_data / "detector" / "face_detection_yunet.onnx")
    for frame in drawn:
        boxes = yunet.faces(read_image(str(root / frame.name)))
        assert len(boxes) == 1
        side = np.ptp(frame.landmarks, axis=0).max()
        middle = (frame.landmarks.min(0) + frame.landmarks.max(0)) / 2
        assert np.linalg.norm((boxes[0, :2] + boxes[0, 2:]) / 2 - middle) < 0.2 * side
        assert np.ptp(boxes[0, 1::2]) == pytest.approx(side, rel=0.25)


def test_labels_are_hopenets_reading():
    rotation = Rotation.random(random_state=0).as_matrix()
    r = rotation.T
    yaw = -np.arctan2(-r[2, 0], np.hypot(r[2, 1], r[2, 2]))
    pitch, roll = np.arctan2(r[2, 1], r[2, 2]), -np.arctan2(r[1, 0], r[0, 0])
    assert rotation_to_pose(rotation) == pytest.approx(np.degrees([yaw, pitch, roll]), abs=1e-6)


@given(st.tuples(st.floats(-89, 89), st.floats(-89, 89), st.floats(-89, 89)))
def test_pyr_is_the_same_rotation_read_in_the_opposite_order(pose):
    pose = torch.tensor(pose, dtype=torch.float64)
    pitch, yaw, roll = pose_to_pyr(pose)
    rotation = Rotation.from_euler("ZYX", [roll, yaw, pitch], degrees=True).as_matrix()
    assert rotation == pytest.approx(euler_to_rotmat(pose).numpy(), abs=1e-9)
    assert euler_to_rotmat(pyr_to_pose(pose_to_pyr(pose))).numpy() == pytest.approx(rotation, abs=1e-9)


def label_file(real_data, name):
    """Names of frames, yaw-pitch-roll and pitch-yaw-roll of a file of HeadPose+."""
    with np.load(real_data / "biwi" / name) as file:
        return file["images"], torch.from_numpy(file["ypr"]), torch.from_numpy(file["pyr"])


@pytest.fixture(scope="session")
def genuine(real_data):
    """Real frames: three of recording 12, ten of recording 01 with a borrowed calibration of its colour camera."""
    root = real_data / "biwi" / "hpdb"
    if not root.is_dir():
        pytest.skip(f"no real frames of BIWI: {root} does not exist")
    return root


PROTOCOLS = ("biwi", "biwi_7030", "biwi_fsanet", "biwi_plus", "biwi_yunet")


@pytest.mark.parametrize("name", PROTOCOLS)
def test_real_frames_are_read_under_every_protocol(genuine, real_data, name):
    """Recordings 01 and 12, as HeadPose+ lists them; 70/30 tests on neither, and is asked for 12."""
    part = composed("evaluate", [f"protocol={name}", f"roots.biwi={genuine}"]).protocol
    if "path" in part.reader.boxes:
        part.reader.boxes.path = str(real_data / "biwi" / Path(part.reader.boxes.path).name)
    if "detector" in part.reader.boxes:
        part.reader.boxes.detector = str(real_data / "detector" / "face_detection_yunet.onnx")
    if name == "biwi_7030":
        with pytest.raises(DatasetNotFoundError, match=r"no frames \(02/frame_"):
            build(part).records()
        part.reader.sequences = ["12"]
    records = build(part).records()
    assert not [reject for reject in records.rejects if "detector" not in reject.reason and "box" not in reject.reason]
    assert set(records.identity_names) <= {"F01", "M06"}
    if name != "biwi_7030":
        assert len(records) == 13 - len(records.rejects) >= 10
    assert {Path(one).parent.name for one in records.images} <= {"01", "12"}
    images, true, _ = label_file(real_data, "Biwi_plus.npz" if part.reader.labels == "colour" else "Biwi_FSA-Net.npz")
    row_of = {image: row for row, image in enumerate(images)}
    both = [(row, row_of[str(image)]) for row, image in enumerate(records.names) if str(image) in row_of]
    assert len(both) >= 2
    own, theirs = (
        torch.tensor(np.array(rows)) for rows in zip(*((records.pose[a], true[b]) for a, b in both), strict=True)
    )
    own, theirs = own.double(), theirs.double()
    # what is borrowed for 01 is the colour camera, which turns no label of the depth camera
    if part.reader.labels == "colour":
        kept = torch.tensor(["12/" in str(records.names[a]) for a, _ in both])
        own, theirs = own[kept], theirs[kept]
    assert geodesic_error(own, theirs).max() < 0.05


def test_a_detector_finds_the_real_heads_where_their_centre_is_projected_to(genuine, real_data):
    records = read_biwi(genuine)
    yunet = YuNet(real_data / "detector" / "face_detection_yunet.onnx")
    found = 0
    for row in range(len(records)):
        boxes = yunet.faces(read_image(str(records.images[row])))
        if not len(boxes):
            continue
        found += 1
        left, top, right, bottom = records.face_box[row]
        distance = np.linalg.norm((boxes[0, :2] + boxes[0, 2:]) / 2 - [(left + right) / 2, (top + bottom) / 2])
        assert distance < 0.5 * (right - left)
    assert found >= 10


@pytest.fixture(scope="session")
def binary_poses(real_data):
    """By frame, such as `01/frame_00004`: (15677, 3) rotations of BIWI's binary files, in the depth camera's frame."""
    file = real_data / "biwi" / "pose_bin.tgz"
    if not file.is_file():
        pytest.skip(f"no binary poses of BIWI: {file} does not exist")
    with tarfile.open(file) as archive:
        numbers = {
            member.name.removesuffix("_pose.bin"): np.frombuffer(archive.extractfile(member).read(), "<f4")
            for member in archive
            if member.isfile()
        }
    # the head's centre, then the angles by which it is turned about x, y and z, one after the other
    angles = np.array(list(numbers.values()), np.float64)[:, 3:]
    return dict(zip(numbers, Rotation.from_euler("xyz", angles, degrees=True).as_matrix(), strict=True))


def test_labels_are_those_of_all_binary_poses(binary_poses, genuine, real_data):
    assert len(binary_poses) == 15_677
    for file in sorted(genuine.glob("*/*_pose.txt")):
        rotation, _ = read_pose(file)
        assert rotation == pytest.approx(binary_poses[f"{file.parent.name}/{file.name[:11]}"], abs=1e-5)
    row_of = {name: row for row, name in enumerate(binary_poses)}
    own = torch.from_numpy(rotation_to_pose(np.array(list(binary_poses.values()))))

    def both(file):
        """Names, our labels and the file's, of the frames that have a binary pose: all but the first of all."""
        images, theirs, _ = label_file(real_data, file)
        names = np.array([str(image).removesuffix("_rgb.png") for image in images])
        there = np.isin(names, list(row_of))
        assert there.sum() >= len(names) - 1
        return names[there], own[[row_of[name] for name in names[there]]], theirs[torch.from_numpy(there)].double()

    _, read, depth = both("Biwi_FSA-Net.npz")
    assert geodesic_error(read, depth).max() < 0.01
    # and of every frame, turned by one rotation a recording, those of the colour camera
    names, read, colour = both("Biwi_plus.npz")
    assert len(names) == 15_677
    turns = (euler_to_rotmat(colour) @ euler_to_rotmat(read).mT).numpy()
    recordings = np.array([name[:2] for name in names])
    for recording in np.unique(recordings):
        between = Rotation.from_matrix(turns[recordings == recording])
        assert np.degrees((between * between.mean().inv()).magnitude()).max() < 0.05


@pytest.mark.parametrize(("name", "frames"), [("Biwi_plus.npz", 15678), ("Biwi_FSA-Net.npz", 13219)])
def test_the_two_orders_of_the_real_labels_come_out_of_each_other(real_data, name, frames):
    images, ypr, pyr = label_file(real_data, name)
    assert len(images) == frames
    assert (pose_to_pyr(ypr) - pyr).abs().max() < 1e-6
    assert (pyr_to_pose(pyr) - ypr).abs().max() < 1e-6


def test_real_colour_labels_are_real_depth_labels_times_one_rotation_a_camera(real_data):
    """What the calibration does to a label: it multiplies from the left, and two set-ups were recorded."""
    images, ypr, _ = label_file(real_data, "Biwi_plus.npz")
    row_of = {name: row for row, name in enumerate(images)}
    images, depth, _ = label_file(real_data, "Biwi_FSA-Net.npz")
    colour = euler_to_rotmat(ypr[[row_of[name] for name in images]])
    depth = euler_to_rotmat(depth)
    sequences = np.array([name[:2] for name in images])
    cameras = {}
    for sequence in PERSONS:
        rows = torch.from_numpy(sequences == sequence)
        left = Rotation.from_matrix((colour[rows] @ depth[rows].mT).numpy())
        camera = left.mean()
        # from the one file's labels to the other's, as the reader does it
        again = rotmat_to_euler(torch.from_numpy(camera.as_matrix()) @ depth[rows])
        assert (again - rotmat_to_euler(colour[rows])).abs().max() < 0.001
        right = Rotation.from_matrix((depth[rows].mT @ colour[rows]).numpy())
        assert np.degrees((right * right.mean().inv()).magnitude()).max() > 0.5
        cameras[sequence] = camera
    angles = {sequence: np.degrees(camera.magnitude()) for sequence, camera in cameras.items()}
    second = {sequence for sequence, angle in angles.items() if angle == pytest.approx(1.489, abs=1e-3)}
    assert second == {"06", *(f"{k}" for k in range(15, 25))}
    assert all(angles[sequence] == pytest.approx(1.044, abs=1e-3) for sequence in PERSONS.keys() - second)


# boxes


def test_head_centre_boxes_hold_the_face(rendered):
    root, drawn = rendered
    for frame, box in zip(drawn, read_biwi(root).face_box, strict=True):
        low, high = frame.landmarks.min(0), frame.landmarks.max(0)
        assert box[2] - box[0] == pytest.approx((high - low).max(), rel=0.25)
        assert np.abs((box[:2] + box[2:]) / 2 - (low + high) / 2).max() < 0.4 * (high - low).max()


def test_head_centre_is_projected_through_both_cameras(tree):
    """By hand: the depth camera upside down, the colour camera turned a quarter about its axis, both moved aside."""
    folder, still = tree / "01", "1 0 0\n0 1 0\n0 0 1"
    camera = "500 0 320\n0 500 240\n0 0 1\n\n0 0 0 0\n\n{rotation}\n\n{translation}\n\n640 480\n"
    (folder / "depth.cal").write_text(camera.format(rotation="-1 0 0\n0 -1 0\n0 0 1", translation="10 0 0"))
    (folder / "rgb.cal").write_text(camera.format(rotation="0 -1 0\n1 0 0\n0 0 1", translation="0 20 0"))
    (folder / "frame_00003_pose.txt").write_text(f"{still}\n\n110 50 1000\n")
    records = read_biwi(tree, labels="colour", sequences=["01"])
    # (110, 50, 1000) is (-100, -50, 1000) in the common frame and (50, -80, 1000) in the colour camera's
    left, top, right, bottom = records.face_box[0]
    assert ((left + right) / 2, (top + bottom) / 2) == pytest.approx((320 + 25, 240 - 40))
    assert (right - left, bottom - top) == pytest.approx((75, 75))
    # half a turn and a quarter from x to y, clockwise in the picture, are a quarter anticlockwise
    assert records.pose[0] == pytest.approx([0, 0, -90], abs=1e-4)


def test_lens_distortion_moves_the_box(tree):
    path = tree / "01" / "rgb.cal"
    plain = read_biwi(tree, sequences=["01"]).face_box[0]
    path.write_text(path.read_text().replace("\n\n0 0 0 0\n\n", "\n\n-0.2 0 0 0\n\n"))
    barrel = read_biwi(tree, sequences=["01"]).face_box[0]
    principal = np.array([320, 240.5])
    away, nearer = (np.linalg.norm((box[:2] + box[2:]) / 2 - principal) for box in (plain, barrel))
    assert 0 < nearer < away


@pytest.mark.parametrize("suffix", [".npz", ".csv"])
def test_a_box_file_decides_frames_and_boxes(rendered, tmp_path, suffix):
    root, drawn = rendered
    listed = [drawn[5], drawn[0], drawn[9]]
    names, boxes = file_of(listed, scale=1.8)
    path = tmp_path / f"boxes{suffix}"
    if suffix == ".npz":
        np.savez(path, images=names, bbox=boxes)
    else:
        rows = [f"{name}," + ",".join(map(str, box)) for name, box in zip(names, boxes, strict=True)]
        path.write_text("\n".join(["image,x,y,w,h", *rows]) + "\n")
    # a frame that the file does not list is no fault, so strict does not stop at it
    records = read_biwi(root, boxes=FileBoxes(path, scale=1 / 1.8), strict=True)
    order = [0, 5, 9]
    assert list(records.images) == [str(root / drawn[k].name) for k in order]
    expected = [[*drawn[k].landmarks.min(0), *drawn[k].landmarks.max(0)] for k in order]
    assert records.face_box == pytest.approx(np.array(expected), abs=1e-3)
    assert f"left out 9: 9 without a box in boxes{suffix}" in records.summary()


def test_a_box_file_needs_no_calibration_where_labels_are_the_depth_cameras(tree, rendered, tmp_path):
    for path in tree.glob("*/*.cal"):
        path.unlink()
    names, boxes = file_of(rendered[1])
    np.savez(tmp_path / "boxes.npz", images=names, bbox=boxes)
    assert len(read_biwi(tree, boxes=FileBoxes(tmp_path / "boxes.npz"), strict=True)) == len(names)


@pytest.mark.parametrize(("name", "array", "frames"), [
    ("Biwi_plus.npz", "bbox", 15678),
    ("Biwi_FSA-Net.npz", "bbox", 13219),
    ("Biwi_FSA-Net.npz", "bbox_from_BiwiPlus", 13219),
])  # fmt: skip
def test_real_box_files_list_what_their_protocols_hold(real_data, name, array, frames):
    boxes = FileBoxes(real_data / "biwi" / name, array)
    images, _, _ = label_file(real_data, name)
    assert sum(boxes.leaves_out(image) is None for image in images) == frames
    assert boxes.leaves_out("01/frame_00000_rgb.png") == f"without a box in {name}"


def test_file_boxes_of_bad_files_are_named(tmp_path):
    names, boxes = np.array(["01/frame_00003_rgb.png"] * 2), np.ones((2, 4))
    np.savez(tmp_path / "twice.npz", images=names, bbox=boxes)
    np.savez(tmp_path / "no_boxes.npz", images=names)
    np.savez(tmp_path / "few.npz", images=names, bbox=boxes[:1])
    np.savez(tmp_path / "objects.npz", images=names, bbox=np.array([None, 1], dtype=object))
    (tmp_path / "text.npz").write_text("no archive")
    (tmp_path / "corners.csv").write_text("image,left,top,right,bottom\n01/frame_00003_rgb.png,1,2,3,4\n")
    (tmp_path / "words.csv").write_text("image,x,y,w,h\n01/frame_00003_rgb.png,1,2,wide,4\n")
    (tmp_path / "empty.csv").write_text("")
    (tmp_path / "boxes.txt").write_text("01/frame_00003_rgb.png 1 2 3 4\n")
    reasons = {
        "twice.npz": "more than once",
        "no_boxes.npz": "bbox",
        "few.npz": r"\(1, 4\)",
        "objects.npz": "cannot be read",
        "text.npz": "cannot be read",
        "corners.csv": "image,x,y,w,h",
        "words.csv": "numbers",
        "empty.csv": "cannot be read",
        "boxes.txt": "npz",
        "absent.csv": "no such box file",
    }
    for name, reason in reasons.items():
        with pytest.raises((DatasetError, DatasetNotFoundError), match=reason) as error:
            FileBoxes(tmp_path / name).leaves_out("01/frame_00003_rgb.png")
        assert name in str(error.value)
        assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("box", "reason"),
    [
        ([700, 100, 80, 80], "outside the image"),
        ([300, -200, 80, 80], "outside the image"),
        ([300, 200, 0, 80], "empty"),
        ([300, 200, np.nan, 80], "NaN"),
    ],
)
def test_a_listed_box_that_cannot_be_cropped_is_left_out(rendered, tmp_path, box, reason):
    root, drawn = rendered
    names, boxes = file_of(drawn)
    boxes[7] = box
    np.savez(tmp_path / "boxes.npz", images=names, bbox=boxes)
    records = read_biwi(root, boxes=FileBoxes(tmp_path / "boxes.npz"))
    (reject,) = records.rejects
    assert names[7] in reject.file
    assert reason in reject.reason
    with pytest.raises(DatasetError, match=names[7]):
        read_biwi(root, boxes=FileBoxes(tmp_path / "boxes.npz"), strict=True)


def test_a_box_that_reaches_past_the_edge_is_kept(rendered, tmp_path):
    root, drawn = rendered
    np.savez(tmp_path / "boxes.npz", images=[drawn[0].name], bbox=[[-30, 100, 80, 80]])
    assert len(read_biwi(root, boxes=FileBoxes(tmp_path / "boxes.npz"), strict=True)) == 1


def test_a_box_file_for_other_frames_is_named(rendered, tmp_path):
    np.savez(tmp_path / "boxes.npz", images=["sequence1/3.png"], bbox=[[1, 2, 3, 4]])
    with pytest.raises(DatasetError, match=r"all 12 frames are without a box in boxes\.npz.*01/frame_00003_rgb"):
        read_biwi(rendered[0], boxes=FileBoxes(tmp_path / "boxes.npz"))


def test_detected_boxes_are_near_the_head_and_hold_the_face(rendered, real_data):
    root, drawn = rendered
    records = read_biwi(root, boxes=DetectedBoxes(real_data / "detector" / "face_detection_yunet.onnx"))
    assert len(records) == len(drawn)
    for frame, box in zip(drawn, records.face_box, strict=True):
        inside = ((frame.landmarks > box[:2]) & (frame.landmarks < box[2:])).all(axis=1)
        assert inside.mean() > 0.7


def test_a_detected_face_elsewhere_is_not_the_head(tree, real_data):
    detector = DetectedBoxes(real_data / "detector" / "face_detection_yunet.onnx")
    folder = tree / "01"
    picture = cv2.imread(str(folder / "frame_00003_rgb.png"))
    elsewhere = np.roll(picture, 250, axis=1)
    both = np.hstack([picture[:, :400], elsewhere[:, 400:]])
    for number, changed in ((4, elsewhere), (5, both)):
        cv2.imwrite(str(folder / f"frame_0000{number}_rgb.png"), changed)
        shutil.copy(folder / "frame_00003_pose.txt", folder / f"frame_0000{number}_pose.txt")
    faces = detector.yunet.faces(both[..., ::-1])
    assert len(faces) == 2
    for face in faces:
        head = SimpleNamespace(image=str(folder / "frame_00005_rgb.png"), head_box=face + 15)
        assert detector.box(head) == pytest.approx(face)
    records = read_biwi(tree, boxes=detector, sequences=["01"])
    (reject,) = records.rejects
    assert "frame_00004" in reject.file
    assert reject.reason == "without a detected face"
    assert records.face_box[1] == pytest.approx(records.face_box[0], abs=5)


@pytest.mark.parametrize("content", [None, b"no model"])
def test_a_detector_that_is_none_is_named(rendered, tmp_path, content):
    path = tmp_path / "yunet.onnx"
    if content:
        path.write_bytes(content)
    with pytest.raises(ConfigError, match=r"yunet\.onnx") as error:
        read_biwi(rendered[0], boxes=DetectedBoxes(path))
    assert "\n" not in str(error.value)


# people, parts and bad trees


def test_a_person_is_an_identity_in_every_recording(rendered):
    assert len(PERSONS) == 24
    recordings = {person: [k for k, who in PERSONS.items() if who == person] for person in PERSONS.values()}
    assert len(recordings) == 20
    twice = {person: of for person, of in recordings.items() if len(of) > 1}
    assert twice == {"F02": ["02", "21"], "F03": ["03", "15"], "F05": ["05", "18"], "M01": ["07", "22"]}
    records = read_biwi(rendered[0].parent)
    assert list(records.identity_names) == ["F01", "F03"]
    assert np.bincount(records.identity).tolist() == [FRAMES, 2 * FRAMES]


def test_split_keeps_people_apart(rendered):
    root, _ = rendered
    records = read_biwi(root)
    with pytest.raises(ConfigError, match="F03"):
        split_biwi(records, ["01"], ["15"])
    with pytest.raises(DatasetError, match="train"):
        split_biwi(records, ["01"], ["03", "15"])


def test_the_70_30_parts_are_those_of_the_protocol(rendered, real_data):
    data, protocol = (
        yaml.safe_load((CONFIG_FOLDER / group).read_text()) for group in ("data/biwi.yaml", "protocol/biwi_7030.yaml")
    )
    parts = {"val": data["split"]["val_sequences"], "test": data["split"]["test_sequences"]}
    assert parts["test"] == protocol["reader"]["sequences"]
    parts["train"] = sorted(PERSONS.keys() - {*parts["val"], *parts["test"]})
    assert [len(parts[part]) for part in ("train", "val", "test")] == [14, 2, 8]
    people = [{PERSONS[sequence] for sequence in parts[part]} for part in parts]
    assert sum(map(len, people)) == len(set.union(*people)) == 20
    assert len(people[2]) == data["identities_per_batch"]
    images, _, _ = label_file(real_data, "Biwi_plus.npz")
    frames = {part: int(np.isin([name[:2] for name in images], parts[part]).sum()) for part in parts}
    assert frames == {"train": 9942, "val": 1001, "test": protocol["expected"]}


def test_split_of_rendered_recordings(tmp_path):
    write_biwi(tmp_path, ["01", "05", "04"], frames=2)
    config = yaml.safe_load((CONFIG_FOLDER / "data/biwi.yaml").read_text())
    splits = build(config["split"])(build(config["reader"])(root=tmp_path))
    assert [list(part.identity_names) for part in (splits.train, splits.val, splits.test)] == [
        ["F05"],
        ["F01"],
        ["F04"],
    ]


def no_pose(frame):
    frame.with_name(frame.name + "_pose.txt").unlink()


def short_pose(frame):
    path = frame.with_name(frame.name + "_pose.txt")
    path.write_text("\n".join(path.read_text().splitlines()[:3]))


def scaled_pose(frame):
    path = frame.with_name(frame.name + "_pose.txt")
    path.write_text("2 0 0\n0 2 0\n0 0 2\n\n0 0 1000\n")


def behind(frame):
    path = frame.with_name(frame.name + "_pose.txt")
    path.write_text("1 0 0\n0 1 0\n0 0 1\n\n0 0 -1000\n")


def no_picture(frame):
    frame.with_name(frame.name + "_rgb.png").unlink()


def cut_off_picture(frame):
    path = frame.with_name(frame.name + "_rgb.png")
    path.write_bytes(path.read_bytes()[:-500])


def damaged_picture(frame):
    path = frame.with_name(frame.name + "_rgb.png")
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 255
    path.write_bytes(content)


def folder_for_a_picture(frame):
    no_picture(frame)
    frame.with_name(frame.name + "_rgb.png").mkdir()


def pipe_for_a_pose(frame):
    path = frame.with_name(frame.name + "_pose.txt")
    path.unlink()
    os.mkfifo(path)


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (no_pose, "no pose file"),
        (short_pose, "malformed pose file"),
        (scaled_pose, "malformed pose file"),
        (behind, "behind the camera"),
        (no_picture, "no image"),
        (cut_off_picture, "cut-off"),
        (damaged_picture, "damaged"),
        (folder_for_a_picture, "no image file"),
        (pipe_for_a_pose, "no pose file"),
    ],
)
def test_a_bad_frame_is_named_and_counted_or_fatal(tree, damage, reason):
    damage(tree / "03" / "frame_00004")
    records = read_biwi(tree)
    (reject,) = records.rejects
    assert "03/frame_00004" in reject.file
    assert reason in reject.reason
    with pytest.raises(DatasetError, match=reason) as error:
        read_biwi(tree, strict=True)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", ["rgb.cal", "depth.cal"])
@pytest.mark.parametrize(
    ("content", "reason"), [(None, "with no"), ("1 2 3\n", "malformed"), ("0 0 0\n" * 3, "malformed")]
)
def test_a_bad_calibration_is_named(tree, name, content, reason):
    path = tree / "15" / name
    path.unlink()
    if content:
        path.write_text(f"{content}\n0 0 0 0\n\n{content}\n0 0 0\n\n640 480\n")
    records = read_biwi(tree)
    assert len(records) == 2 * FRAMES
    assert len(records.rejects) == FRAMES
    assert {reject.file for reject in records.rejects} == {str(path)}
    assert all(reason in reject.reason and name in reject.reason for reject in records.rejects)


def test_unknown_labels_and_recordings_are_named(rendered):
    with pytest.raises(ConfigError, match="labels=rgb"):
        read_biwi(rendered[0], labels="rgb")
    with pytest.raises(ConfigError, match=r"sequences=\[2\]"):
        read_biwi(rendered[0], sequences=[2])


def test_the_stand_in_spares_what_is_there(tree):
    with pytest.raises(DatasetError, match="exists"):
        write_biwi(tree, ["01"], frames=1)
    with pytest.raises(DatasetError, match="25"):
        write_biwi(tree, ["25"], frames=1)
