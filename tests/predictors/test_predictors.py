"""Any model under any protocol: crops, outputs, ONNX files, tables, and the export of our own networks."""

import copy
import json
import pickle
import shutil
import subprocess
import sys
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import pytorch_lightning as pl
import torch
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from omegaconf import OmegaConf
from onnx import TensorProto, helper
from scipy.spatial.transform import Rotation

from rankpose.command.configuration import build
from rankpose.data.crop import face_points, read_image
from rankpose.data.crop_rules import CROP_RULES, BoxCrop, FSANetCrop, HopeNetCrop, RankPoseCrop
from rankpose.data.readers.aflw2000 import read_aflw2000
from rankpose.data.record import Records, Reject
from rankpose.errors import CheckpointError, ConfigError, DatasetError
from rankpose.export import main
from rankpose.files import CONFIG_DIR
from rankpose.metrics import angle_error
from rankpose.models import PoseNet, build_backbone
from rankpose.models.checkpoint import MadeFrom
from rankpose.pose import VectorProjection, euler_to_rotmat
from rankpose.pose.decoding import DIRECTIONS
from rankpose.predictors import (
    CheckpointPredictor,
    OnnxPredictor,
    TablePredictor,
    description,
    onnx_predictor,
    python_predictor,
)
from rankpose.predictors.export import export_onnx
from rankpose.predictors.outputs import (
    Angle,
    AngleOutput,
    BinOutput,
    LandmarkOutput,
    Logits,
    MatrixOutput,
    QuaternionOutput,
    ScaledRowsOutput,
    SixNumberOutput,
)
from rankpose.task import PoseScoring

RULES = [*(rule() for rule in CROP_RULES.values()), HopeNetCrop(zoom=256 / 224), BoxCrop(0.1, 0.4, 0.2, 0.0)]
SIZE = 32


def corners(left, top, right, bottom):
    return np.array([[left, top], [right, bottom], [(left + right) / 2, top]], dtype=np.float64)


def seen_coordinates(rectangle):
    """Where in the image the middle of each of the input's pixels lies: (SIZE,) x and (SIZE,) y."""
    left, top, right, bottom = rectangle
    share = (np.arange(SIZE) + 0.5) / SIZE
    return left + share * (right - left), top + share * (bottom - top)


@pytest.mark.parametrize("rule", RULES, ids=repr)
@pytest.mark.parametrize("face", [(70, 80, 130, 150), (90.3, 60.6, 141.2, 91.4), (5, 10, 60, 65), (170, 185, 230, 230)])
def test_the_edges_of_the_rectangle_become_those_of_the_input(rule, face):
    """On an image whose colours are its coordinates, each pixel of a crop says where it comes from."""
    y, x = np.mgrid[:240, :240].astype(np.uint8)
    crop = rule(np.dstack([x, y, np.full_like(x, 255)]), corners(*face), SIZE)
    assert crop.shape == (SIZE, SIZE, 3)
    assert crop.dtype == np.uint8
    xs, ys = seen_coordinates(rule.rectangle(corners(*face)))
    margin = 4  # of the image's pixels: what a pixel of the crop gathers
    inside_x, inside_y = (np.flatnonzero((c > margin) & (c < 239 - margin)) for c in (xs, ys))
    assert len(inside_x) > SIZE / 3
    assert len(inside_y) > SIZE / 3
    inside = crop[np.ix_(inside_y, inside_x)].astype(float)
    assert inside[..., 2].min() == 255
    # HopeNet's sides are rounded to whole pixels of the input twice: as they are resized, and as they are cut
    pixel = xs[1] - xs[0] if isinstance(rule, HopeNetCrop) else 0
    assert np.abs(inside[..., 0] - xs[inside_x]).max() <= 1 + pixel
    assert np.abs(inside[..., 1] - ys[inside_y][:, None]).max() <= 1 + pixel


@pytest.mark.parametrize("rule", RULES, ids=repr)
def test_past_the_edge_of_the_image_it_is_black(rule):
    face = corners(-20, 40, 30, 100)
    crop = rule(np.full((90, 70, 3), 200, np.uint8), face, SIZE)
    xs, ys = seen_coordinates(rule.rectangle(face))
    outside = (xs < -5)[None, :] | (xs > 75)[None, :] | (ys < -5)[:, None] | (ys > 95)[:, None]
    inside = ((xs > 5) & (xs < 65))[None, :] & ((ys > 5) & (ys < 85))[:, None]
    assert outside.any()
    assert inside.any()
    assert crop[outside].max() == 0
    assert crop[inside].min() >= 199


@pytest.mark.parametrize("rule", RULES, ids=repr)
def test_a_face_that_is_not_in_the_image_at_all_is_black(rule):
    assert rule(np.full((50, 50, 3), 200, np.uint8), corners(300, 300, 340, 350), SIZE).max() == 0


def test_bounds_worked_out_by_hand():
    # 20 wide and 40 high: -1.2, -3.6, 42.8, 84.4 go to the nearest whole pixels, of which the last two are outside
    assert FSANetCrop().rectangle(corners(10.8, 20.4, 30.8, 60.4)) == (-1.5, -4.5, 42.5, 83.5)
    # 100 wide and 80 high: left 60, top 68, then right 200 + 0.4 * 140 = 256, bottom 180 + 0.12 * 112 = 193.44
    assert HopeNetCrop().rectangle(corners(100, 100, 200, 180)) == (95, 67.5, 220, 192.5)
    assert HopeNetCrop(zoom=1.25).rectangle(corners(100, 100, 200, 180)) == (107.5, 80, 207.5, 180)
    assert RankPoseCrop(1.5).rectangle(corners(10, 10, 30, 50)) == (-10, 0, 50, 60)
    assert BoxCrop().rectangle(corners(10, 20, 30, 60)) == (9.5, 19.5, 29.5, 59.5)
    assert BoxCrop(0.5, 0.25, 0.1, 0).rectangle(corners(10, 20, 30, 60)) == (-0.5, 9.5, 31.5, 59.5)


def test_a_bare_box_of_the_size_of_the_input_is_taken_as_it_is():
    image = np.random.default_rng(0).integers(0, 256, (60, 60, 3), dtype=np.uint8)
    assert np.array_equal(BoxCrop()(image, corners(10, 20, 10 + SIZE, 20 + SIZE), SIZE), image[20:52, 10:42])
    assert np.array_equal(HopeNetCrop(0)(image, corners(10, 20, 10 + SIZE, 20 + SIZE), SIZE), image[20:52, 10:42])
    # of a wide one HopeNet's keeps the middle
    assert np.array_equal(HopeNetCrop(0)(image, corners(6, 20, 14 + SIZE, 20 + SIZE), SIZE), image[20:52, 10:42])


@pytest.mark.parametrize(
    ("rule", "key"),
    [
        (lambda: RankPoseCrop(0), "scale=0"),
        (lambda: HopeNetCrop(-1), "k=-1"),
        (lambda: HopeNetCrop(0.2, 0.5), "zoom=0.5"),
        (lambda: BoxCrop(top=-0.5, bottom=-0.5), "top=-0.5"),
    ],
)
def test_a_crop_that_leaves_nothing_is_refused(rule, key):
    with pytest.raises(ConfigError, match=key):
        rule()


ANY_POSE = st.tuples(st.floats(-85, 85), st.floats(-170, 170), st.floats(-170, 170))
FRAMES = [
    [x, y, z]
    for x in DIRECTIONS
    for y in DIRECTIONS
    for z in DIRECTIONS
    if abs(np.linalg.det([DIRECTIONS[word] for word in (x, y, z)])) == 1
]


@given(pose=ANY_POSE, frame=st.sampled_from(FRAMES), transpose=st.booleans(), scale=st.floats(0.2, 5))
@settings(deadline=None, max_examples=60)
def test_a_rotation_in_any_frame_gives_its_pose(pose, frame, transpose, scale):
    """The model's matrix holds the head's axes, in the camera's axes as the model names them."""
    pose = torch.tensor([pose], dtype=torch.float64)
    ours = euler_to_rotmat(pose)[0].numpy()
    axes = [np.array(DIRECTIONS[word]) for word in frame]
    # entry (i, j): how much of its axis i the head's own axis j has after the rotation
    matrix = np.array([[first @ ours @ second for second in axes] for first in axes])
    matrix = matrix.T if transpose else matrix
    outputs = {"R": torch.from_numpy(scale * matrix).float()[None]}
    found = MatrixOutput("R", frame, transpose).to_pose(outputs)
    assert torch.allclose(found.double(), pose, atol=0.01)
    if np.linalg.det(matrix) > 0:
        first, second = matrix[:, 0], matrix[:, 1]
        numbers = torch.from_numpy(np.concatenate([scale * first, 0.3 * first + second])).float()[None]
        found = SixNumberOutput("six", frame, transpose).to_pose({"six": numbers})
        assert torch.allclose(found.double(), pose, atol=0.01)
        x, y, z, w = -scale * Rotation.from_matrix(matrix).as_quat()
        for order, quaternion in (("xyzw", [x, y, z, w]), ("wxyz", [w, x, y, z])):
            found = QuaternionOutput("q", frame, transpose, order).to_pose({"q": torch.tensor([quaternion])})
            assert torch.allclose(found.double(), pose, atol=0.01)


@given(pose=ANY_POSE, scale=st.floats(1e-4, 1e-3), shift=st.floats(-100, 100))
@settings(deadline=None, max_examples=30)
def test_3ddfa_gives_two_rows_of_a_scaled_rotation(pose, scale, shift):
    """As its public code reads them: numbers times their deviation plus their mean, then rows of unit length."""
    content = yaml.safe_load(Path(CONFIG_DIR, "predictor", "3ddfa_v2.yaml").read_text(encoding="utf-8"))
    kind = ScaledRowsOutput(**{key: value for key, value in content["description"]["output"].items() if key != "kind"})
    rotation = euler_to_rotmat(torch.tensor([pose], dtype=torch.float64))[0].numpy()
    fit = np.column_stack([scale * rotation, [shift] * 3]).reshape(-1)
    numbers = np.concatenate([(fit[:7] - kind.mean) / kind.std, fit[7:], np.ones(50)])
    assert kind.to_pose({"output": torch.from_numpy(numbers)[None]})[0].tolist() == pytest.approx(pose, abs=0.01)


def test_too_few_numbers_for_two_rows_are_told():
    frame = ["right", "up", "towards"]
    with pytest.raises(ConfigError, match="mean: must be 7 numbers, not 6"):
        ScaledRowsOutput("p", frame, [0.0] * 6, [1.0] * 7)
    with pytest.raises(ConfigError, match="name=p: has 6 numbers an image"):
        ScaledRowsOutput("p", frame, [0.0] * 7, [1.0] * 7).to_pose({"p": torch.zeros(1, 6)})


@given(pose=ANY_POSE)
@settings(deadline=None, max_examples=30)
def test_6drepnet_gives_the_transposed_rotation(pose):
    """It learns `Rz(roll) Ry(yaw) Rx(pitch)` of 300W-LP's angles."""
    yaw, pitch, roll = pose
    matrix = Rotation.from_euler("xyz", [pitch, yaw, roll], degrees=True).as_matrix()
    kind = MatrixOutput("R", transpose=True, frame=["right", "up", "towards"])
    assert kind.to_pose({"R": torch.from_numpy(matrix)[None]})[0].tolist() == pytest.approx(pose, abs=0.01)


def test_bins_give_their_expectation():
    """HopeNet's 66 bins of three degrees from -99."""
    kind = BinOutput(-99, 3, Logits("a", 1), Logits("b", 1), Logits("c", -1))
    scores = torch.full((3, 1, 66), -100.0)
    scores[0, 0, 33] = scores[1, 0, 0] = scores[2, 0, 40] = scores[2, 0, 41] = 0.0
    pose = kind.to_pose(dict(zip("abc", scores, strict=True)))
    assert pose.tolist() == [pytest.approx([0, -99, -22.5], abs=1e-4)]


def test_bins_of_an_angle_may_begin_elsewhere():
    """WHENet's yaw: 120 bins from -180, beside 66 from -99."""
    kind = BinOutput(-99, 3, Logits("a", 1, first=-180), Logits("b", 1), Logits("c", 1))
    outputs = {name: torch.full((1, count), -100.0) for name, count in (("a", 120), ("b", 66), ("c", 66))}
    outputs["a"][0, 110] = outputs["b"][0, 10] = outputs["c"][0, 33] = 0.0
    assert kind.to_pose(outputs).tolist() == [pytest.approx([150, -69, 0], abs=1e-4)]


@given(pose=ANY_POSE)
@settings(deadline=None, max_examples=30)
def test_a_mean_face_is_laid_onto_landmarks(pose):
    face = np.random.default_rng(0).normal(size=(12, 3))
    turned = 40 * face @ euler_to_rotmat(torch.tensor([pose], dtype=torch.float64))[0].numpy().T + [100, 90, -7]
    for frame, signs in ((["right", "up", "towards"], [1, 1, 1]), (["right", "down", "away"], [1, -1, -1])):
        kind = LandmarkOutput("points", frame, face.tolist())
        found = kind.to_pose({"points": torch.from_numpy(turned * signs).flatten()[None]})
        assert torch.allclose(euler_to_rotmat(found), euler_to_rotmat(torch.tensor([pose])), atol=1e-3)
    with pytest.raises(ConfigError, match="has 33 numbers an image, 12 landmarks of mean_face are 36"):
        kind.to_pose({"points": torch.zeros(1, 33)})


def test_angles_by_output_index_sign_and_unit():
    kind = AngleOutput("radians", Angle("two", -1, 1), Angle("two", 1, 0), Angle("one", 1))
    outputs = {"one": torch.tensor([0.1, 0.2]), "two": torch.tensor([[[0.3, 0.4]], [[0.5, 0.6]]])}
    outputs["one"] = outputs["one"][:, None]
    expected = np.degrees([[-0.4, 0.3, 0.1], [-0.6, 0.5, 0.2]])
    assert kind.to_pose(outputs).numpy() == pytest.approx(expected, rel=1e-5)


def means_model(path, batch="N", size=4, numbers=TensorProto.FLOAT, layout="nchw", offset=0.0, squeeze=False):
    """An ONNX file whose output `pose` is the mean of each channel of what it is given, plus `offset`."""
    shape, axes = ([batch, 3, size, size], [2, 3]) if layout == "nchw" else ([batch, size, size, 3], [1, 2])
    nodes = [
        helper.make_node("Cast", ["image"], ["real"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["real"], ["mean"], axes=axes, keepdims=0),
        helper.make_node("Add", ["mean", "offset"], ["moved"]),
        helper.make_node("Squeeze", ["moved", "first"], ["pose"])
        if squeeze
        else helper.make_node("Identity", ["moved"], ["pose"]),
    ]
    constants = [
        helper.make_tensor("offset", TensorProto.FLOAT, [1], [offset]),
        helper.make_tensor("first", TensorProto.INT64, [1], [0]),
    ]
    graph = helper.make_graph(
        nodes,
        "means",
        [helper.make_tensor_value_info("image", numbers, shape)],
        [helper.make_tensor_value_info("pose", TensorProto.FLOAT, None)],
        constants if squeeze else constants[:1],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), path)
    return path


def described(*files, **changes):
    """A description of `means_model`, with some keys changed; a change of None takes the key away."""
    content = {
        "files": [str(file) for file in files],
        "input": "image",
        "size": 4,
        "colour": "rgb",
        "layout": "nchw",
        "pixels": {"divide_by": 1, "mean": 0, "std": 1},
        "crop": {"rule": "fsanet"},
        "output": {"kind": "angles", "unit": "degrees"}
        | {angle: {"name": "pose", "index": k, "sign": 1} for k, angle in enumerate(("yaw", "pitch", "roll"))},
    }
    for key, value in changes.items():
        place = content
        *above, last = key.split("__")
        for name in above:
            place = place[name]
        place[last] = value
        if value is None:
            del place[last]
    return content


def plain_images(count=7):
    """Images of one colour each: (N, 3, 4, 4), and their colours (N, 3)."""
    colours = torch.randint(0, 256, (count, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    return colours[:, :, None, None].expand(-1, -1, 4, 4).contiguous(), colours.float()


def test_pixels_are_scaled_as_described(tmp_path):
    images, colours = plain_images()
    scaled = {"divide_by": 255, "mean": [0.1, 0.2, 0.3], "std": [0.5, 0.25, 2]}
    file = means_model(tmp_path / "model.onnx")
    mean, std = torch.tensor(scaled["mean"]), torch.tensor(scaled["std"])
    rgb = onnx_predictor(described(file, pixels=scaled))(images).pose
    assert torch.allclose(rgb, (colours / 255 - mean) / std, atol=1e-4)
    bgr = onnx_predictor(described(file, pixels=scaled, colour="bgr"))(images).pose
    assert torch.allclose(bgr, (colours.flip(1) / 255 - mean) / std, atol=1e-4)
    signed = onnx_predictor(described(file, pixels={"divide_by": 1, "mean": 127.5, "std": 128}))(images).pose
    assert torch.allclose(signed, (colours - 127.5) / 128, atol=1e-4)


@pytest.mark.parametrize(
    "kind",
    [
        {"batch": 1},
        {"batch": 1, "squeeze": True},
        {"batch": 3},
        {"layout": "nhwc"},
        {"numbers": TensorProto.UINT8},
        {"numbers": TensorProto.DOUBLE},
        {"numbers": TensorProto.FLOAT16},
    ],
    ids=str,
)
def test_every_sort_of_input_is_fed(tmp_path, kind):
    images, colours = plain_images()
    file = means_model(tmp_path / "model.onnx", **kind)
    predictor = onnx_predictor(described(file, layout=kind.get("layout", "nchw")))
    for count in (7, 1):
        output = predictor(images[:count])
        assert output.pose.dtype == torch.float32
        assert torch.allclose(output.pose, colours[:count], atol=1e-3)
        assert torch.allclose(output.raw, colours[:count], atol=1e-3)


def test_several_files_give_their_mean(tmp_path):
    images, colours = plain_images()
    files = [means_model(tmp_path / f"{offset}.onnx", offset=offset) for offset in (1.0, 2.0, 6.0)]
    assert torch.allclose(onnx_predictor(described(*files))(images).pose, colours + 3, atol=1e-4)


def test_a_description_file_finds_its_model_beside_it(tmp_path, monkeypatch):
    means_model(tmp_path / "model.onnx")
    (tmp_path / "model.yaml").write_text(OmegaConf.to_yaml(described("model.onnx")))
    monkeypatch.chdir(tmp_path.parent)
    predictor = onnx_predictor(tmp_path / "model.yaml")
    assert predictor.size == 4
    assert predictor.crop == FSANetCrop()
    by_name = build(OmegaConf.load(Path(CONFIG_DIR) / "predictor" / "onnx.yaml"), description=tmp_path / "model.yaml")
    images, colours = plain_images()
    assert torch.allclose(by_name(images).pose, colours, atol=1e-4)


@pytest.mark.long
@pytest.mark.slow
def test_a_predictor_goes_to_other_processes(tmp_path):
    images, colours = plain_images()
    predictor = onnx_predictor(described(means_model(tmp_path / "model.onnx")))
    for other in (pickle.loads(pickle.dumps(predictor)), copy.deepcopy(predictor)):
        assert torch.allclose(other(images).pose, colours, atol=1e-4)
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        pose = pool.submit(predictor.forward, images).result(timeout=1200).pose
    assert torch.allclose(pose, colours, atol=1e-4)


def test_a_forked_process_opens_the_files_for_itself(tmp_path, monkeypatch):
    """The threads of an open model stay behind in the parent: the child would wait for them for ever."""
    images, _ = plain_images()
    file = means_model(tmp_path / "model.onnx")
    predictor = onnx_predictor(described(file))
    file.unlink()
    predictor(images)
    monkeypatch.setattr("os.getpid", lambda: 0)
    with pytest.raises(CheckpointError, match=r"model\.onnx does not exist"):
        predictor(images)


@pytest.mark.long
@pytest.mark.slow
def test_forked_processes_do_not_wait_for_threads_that_stayed_behind(real_data):
    """In a process of its own: it hung, now and then, where a session with threads was destroyed in a child."""
    script = """
import os, signal, sys, time
import torch
torch.set_num_threads(3)
from rankpose.predictors import OpentrackPredictor
predictor = OpentrackPredictor(sys.argv[1])
for _ in range(8):
    child = os.fork()
    if not child:
        predictor._session()
        os._exit(0)
    limit = time.monotonic() + 600
    while (ended := os.waitpid(child, os.WNOHANG)) == (0, 0):
        if time.monotonic() > limit:
            os.kill(child, signal.SIGKILL)
            sys.exit("it waits")
        time.sleep(0.05)
    assert ended[1] == 0, ended
"""
    command = [sys.executable, "-c", script, str(real_data / "peers" / "opentrack-head-pose-0.4-small-int8.onnx")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=1200)
    assert done.returncode == 0, done.stderr


def test_lightning_tests_a_predictor_as_it_tests_a_network(tmp_path):
    images, colours = plain_images()
    batch = {"image": images, "pose": colours - 2, "identity": torch.zeros(7, dtype=torch.int64)}
    batch["index"] = torch.arange(7)
    trainer = pl.Trainer(
        accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False, barebones=False
    )
    test = PoseScoring(onnx_predictor(described(means_model(tmp_path / "model.onnx"))))
    (scores,) = trainer.test(test, torch.utils.data.DataLoader([batch], batch_size=None), verbose=False)
    assert scores["test/mae"] == pytest.approx(2, abs=1e-3)
    assert torch.allclose(test.test_table["prediction"], colours, atol=1e-3)


def grey_model(path):
    """One grey channel to its mean: `pose` of 3 numbers an image, `sure` of one, as (N,), and `points`, 4 landmarks."""
    points = np.eye(4, 3, dtype=np.float32).flatten()
    nodes = [
        helper.make_node("ReduceMean", ["image"], ["mean"], axes=[1, 2, 3], keepdims=0),
        helper.make_node("ReduceMean", ["image"], ["column"], axes=[2, 3], keepdims=0),
        helper.make_node("Concat", ["column", "column", "column"], ["pose"], axis=1),
        helper.make_node("Sub", ["mean", "middle"], ["sure"]),
        helper.make_node("Mul", ["column", "face"], ["points"]),
    ]
    constants = [
        helper.make_tensor("middle", TensorProto.FLOAT, [], [100.0]),
        helper.make_tensor("face", TensorProto.FLOAT, [1, 12], points),
    ]
    outputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in ("pose", "sure", "points")]
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, ["N", 1, 4, 4])
    graph = helper.make_graph(nodes, "grey", [image], outputs, constants)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), path)
    return path


def test_a_grey_model_says_whether_it_sees_a_face(tmp_path):
    file = grey_model(tmp_path / "grey.onnx")
    images, colours = plain_images()
    grey = (colours @ torch.tensor([0.299, 0.587, 0.114])).round()
    predictor = onnx_predictor(described(file, colour="grey"))
    assert torch.allclose(predictor(images).pose, grey[:, None].expand(-1, 3), atol=1e-3)
    sure = {"name": "sure", "logit": True, "min": 0.5}
    pose = onnx_predictor(described(file, colour="grey", presence=sure))(images).pose
    assert pose.isnan().all(dim=1).tolist() == (grey < 100).tolist()
    assert 0 < pose.isnan().all(dim=1).sum() < 7
    assert (
        onnx_predictor(described(file, colour="grey", presence={"name": "sure", "min": 300}))(images).pose.isnan().all()
    )
    with pytest.raises(ConfigError, match=r"presence\.index=1: output sure has 1 numbers an image"):
        onnx_predictor(described(file, colour="grey", presence={"name": "sure", "min": 0, "index": 1}))
    with pytest.raises(ConfigError, match=r"presence\.min: is missing"):
        onnx_predictor(described(file, colour="grey", presence={"name": "sure"}))
    with pytest.raises(ConfigError, match=r"takes Nx1x4x4, not Nx3x4x4"):
        onnx_predictor(described(file))
    with pytest.raises(ConfigError, match=r"pixels\.mean=.*must be one number where colour is grey"):
        onnx_predictor(described(file, colour="grey", pixels={"divide_by": 1, "mean": [1, 2, 3], "std": 1}))


def test_a_mean_face_lies_beside_its_description(tmp_path):
    file = grey_model(tmp_path / "grey.onnx")
    np.savetxt(tmp_path / "face.txt", np.eye(4, 3))
    output = {"kind": "landmarks", "name": "points", "mean_face": "face.txt", "frame": ["right", "up", "towards"]}
    content = described(file, colour="grey", output=output)
    (tmp_path / "grey.yaml").write_text(OmegaConf.to_yaml(OmegaConf.create(content)), encoding="utf-8")
    pose = onnx_predictor(tmp_path / "grey.yaml")(torch.full((2, 3, 4, 4), 50, dtype=torch.uint8)).pose
    assert pose.abs().max() < 1e-3
    (tmp_path / "face.txt").write_text("1 2 3\n4 5\n", encoding="utf-8")
    with pytest.raises(
        ConfigError, match=r"grey\.yaml: output\.mean_face=.*face\.txt: cannot be read as rows of numbers"
    ):
        onnx_predictor(tmp_path / "grey.yaml")


OWN = """
import torch
from beside import OFF

class Means:
    crop, size = "box", 4
    def __init__(self, off=OFF):
        self.off = off
    def __call__(self, images):
        means = images.float().mean(dim=(2, 3)) + self.off
        means[means[:, 0] > 200] = float("nan")
        return means.tolist()

class NoCrop:
    size = 4
    def __call__(self, images):
        return images

class FlatAnswer(Means):
    def __call__(self, images):
        return torch.zeros(3)

class Breaks(Means):
    def __call__(self, images):
        raise ValueError("as it\\nmust")

class Looks:
    crop, size = "rankpose", 4
    def answer(self, image, points):
        raise AssertionError
"""


def test_a_class_of_ones_own_answers_for_crops(tmp_path):
    file = tmp_path / "own.py"
    file.write_text(OWN, encoding="utf-8")
    (tmp_path / "beside.py").write_text("OFF = 1.0\n", encoding="utf-8")
    images, colours = plain_images()
    predictor = python_predictor(file, "Means", {"off": 3})
    assert predictor.crop == BoxCrop()
    pose = predictor(images).pose
    seen = colours[:, 0] + 3 <= 200
    assert pose.dtype == torch.float32
    assert torch.allclose(pose[seen], colours[seen] + 3, atol=1e-3)
    assert pose[~seen].isnan().all()
    assert torch.allclose(python_predictor(file, "Means")(images[:1]).pose, colours[:1] + 1, atol=1e-3)
    assert python_predictor(file, "Looks").crop == RankPoseCrop()
    for name, message in (
        (None, r"own\.py: has Means, NoCrop, FlatAnswer, Breaks, Looks; name the class \(predictor.name\)"),
        ("Mean", "not Mean"),
        ("NoCrop", "NoCrop has no crop"),
        ("FlatAnswer", r"shape \(3,\) for 2 crops; yaw, pitch and roll of each are \(2, 3\)"),
        ("Breaks", r"does not answer for 2 crops \(ValueError: as it must\)"),
    ):
        with pytest.raises(ConfigError, match=message):
            python_predictor(file, name)
    with pytest.raises(ConfigError, match=r"cannot be made \(TypeError: .*of"):
        python_predictor(file, "Means", {"of": 3})
    (tmp_path / "broken.py").write_text("import nothing_of_this_name\n", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"broken\.py: ModuleNotFoundError: .*nothing_of_this_name"):
        python_predictor(tmp_path / "broken.py")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"input": "x"}, r"input=x: .*model\.onnx has the inputs image"),
        ({"size": 8}, r"size=8.*model\.onnx takes Nx3x4x4, not Nx3x8x8"),
        ({"layout": "nhwc"}, r"layout=nhwc: .*model\.onnx takes Nx3x4x4, not Nx4x4x3"),
        ({"output__yaw__name": "angles"}, r"model\.onnx has no output angles; it has pose"),
        ({"output__roll__index": 3}, r"output\.roll\.index=3: pose has 3 numbers.*model\.onnx|roll\.index=3"),
        (
            {"output": {"kind": "matrix", "name": "pose", "transpose": False, "frame": ["right", "up", "towards"]}},
            r"output\.name=pose: has 3 numbers an image, it takes 9.*model\.onnx",
        ),
        (
            {"output": {"kind": "six_numbers", "name": "pose", "transpose": True, "frame": ["right", "up", "away"]}},
            r"output\.name=pose: has 3 numbers an image, it takes 6.*model\.onnx",
        ),
    ],
)
def test_a_model_that_does_not_fit_its_description_is_named_with_key_and_truth(tmp_path, changes, message):
    file = means_model(tmp_path / "model.onnx")
    with pytest.raises(ConfigError, match=message) as error:
        onnx_predictor(described(file, **changes))
    assert "\n" not in str(error.value)


def test_whole_pixels_take_no_scale(tmp_path):
    file = means_model(tmp_path / "model.onnx", numbers=TensorProto.UINT8)
    with pytest.raises(ConfigError, match=r"pixels: .*model\.onnx takes whole pixels"):
        onnx_predictor(described(file, pixels__divide_by=255))


def angles_model(path, shape, numbers=TensorProto.FLOAT, value=1.0):
    """An ONNX file with an output of any shape an image for each angle: yaw, pitch, roll are 1, 2, 3 times `value`."""
    nodes, constants = [], []
    count = int(np.prod(shape))
    nodes.append(helper.make_node("ReduceMean", ["image"], ["flat"], axes=[1, 2, 3], keepdims=0))
    nodes.append(helper.make_node("Mul", ["flat", "zero"], ["nought"]))
    nodes.append(helper.make_node("Unsqueeze", ["nought", "one"], ["column"]))
    constants.append(helper.make_tensor("zero", TensorProto.FLOAT, [], [0.0]))
    constants.append(helper.make_tensor("one", TensorProto.INT64, [1], [1]))
    constants.append(helper.make_tensor("shape", TensorProto.INT64, [1 + len(shape)], [-1, *shape]))
    for number, name in enumerate(("yaw", "pitch", "roll"), start=1):
        constants.append(helper.make_tensor(f"{name}_is", TensorProto.FLOAT, [1, count], count * [number * value]))
        nodes.append(helper.make_node("Add", ["column", f"{name}_is"], [f"{name}_row"]))
        nodes.append(helper.make_node("Reshape", [f"{name}_row", "shape"], [f"{name}_shaped"]))
        nodes.append(helper.make_node("Cast", [f"{name}_shaped"], [name], to=numbers))
    graph = helper.make_graph(
        nodes,
        "angles",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["N", 3, 4, 4])],
        [helper.make_tensor_value_info(name, numbers, None) for name in ("yaw", "pitch", "roll")],
        constants,
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), path)
    return path


THREE_OUTPUTS = {"kind": "angles", "unit": "degrees"} | {
    angle: {"name": angle, "sign": 1} for angle in ("yaw", "pitch", "roll")
}


@pytest.mark.parametrize("shape", [(), (1,), (1, 1), (2,), (2, 1, 2)])
@pytest.mark.parametrize("numbers", [TensorProto.FLOAT, TensorProto.DOUBLE, TensorProto.INT64], ids=str)
def test_an_output_for_each_angle_may_have_any_shape(tmp_path, shape, numbers):
    predictor = onnx_predictor(described(angles_model(tmp_path / "m.onnx", shape, numbers), output=THREE_OUTPUTS))
    for count in (1, 2, 7):
        assert predictor(plain_images(count)[0]).pose.tolist() == count * [[1, 2, 3]]


def test_outputs_that_are_no_numbers_are_refused_by_file(tmp_path):
    file = angles_model(tmp_path / "words.onnx", (1,), TensorProto.STRING)
    with pytest.raises(ConfigError, match=r"^predictor\.description: output: yaw of .*words\.onnx holds object"):
        onnx_predictor(described(file, output=THREE_OUTPUTS))


def test_files_whose_outputs_differ_in_size_have_no_mean(tmp_path):
    files = [angles_model(tmp_path / f"{count}.onnx", (count,)) for count in (3, 4)]
    with pytest.raises(ConfigError, match=r"files: yaw of .*4\.onnx has 4 numbers an image, that of .*3\.onnx 3"):
        onnx_predictor(described(*files, output=THREE_OUTPUTS))


def test_an_output_without_the_images_axis_is_refused(tmp_path):
    file = means_model(tmp_path / "model.onnx")
    model = onnx.load(file)
    model.graph.node[1].attribute[0].ints[:] = [0, 2, 3]  # the mean over images as well: three numbers for all of them
    onnx.save(model, file)
    with pytest.raises(ConfigError, match=r"pose of .*model\.onnx"):
        onnx_predictor(described(file))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"files": None}, "files: is missing"),
        ({"files": []}, r"files=\[\]: must be a list"),
        ({"colour": None}, "colour: is missing"),
        ({"colour": "rbg"}, "colour=rbg: must be rgb, bgr or grey"),
        ({"layout": "chw"}, "layout=chw"),
        ({"size": "big"}, "size=big"),
        ({"input": 3}, "input=3: must be a word"),
        ({"pixels": 255}, "pixels: must hold keys and values, not 255"),
        ({"pixels__std": 0}, r"pixels\.std=0: must be above 0"),
        ({"pixels__mean": [1, 2]}, r"pixels\.mean=\[1, 2\]: must be one number, or three"),
        ({"pixels__mean": "none"}, r"pixels\.mean=none: must be a number"),
        ({"crop__rule": "square"}, r"crop\.rule=square: must be one of rankpose, hopenet, fsanet, box"),
        ({"crop__margin": 1}, r"crop\.margin: no such key; there are left"),
        ({"crop": {"rule": "hopenet", "k": "wide"}}, r"crop\.k=wide: must be a number"),
        ({"crop": {"rule": "hopenet", "zoom": 0.5}}, r"crop\.zoom=0\.5"),
        ({"output__kind": "rotvec"}, r"output\.kind=rotvec: must be one of angles"),
        ({"output__unit": "turns"}, r"output\.unit=turns"),
        ({"output__yaw__sign": 2}, r"output\.yaw\.sign=2: must be 1 or -1"),
        ({"output__yaw__sign": None}, r"output\.yaw\.sign: is missing"),
        ({"output__yaw__index": -1}, r"output\.yaw\.index=-1"),
        ({"output__colour": "red"}, r"output\.colour: no such key"),
        (
            {"output": {"kind": "matrix", "name": "R", "transpose": False, "frame": ["right", "left", "up"]}},
            r"output\.frame=\['right', 'left', 'up'\]: must be three words",
        ),
        (
            {"output": {"kind": "matrix", "name": "R", "transpose": "maybe", "frame": ["right", "up", "towards"]}},
            r"output\.transpose=maybe: must be true or false",
        ),
        (
            {
                "output": {"kind": "quaternion", "name": "q", "transpose": False, "order": "zyx"}
                | {"frame": ["right", "up", "towards"]}
            },
            r"output\.order=zyx: must be xyzw or wxyz",
        ),
    ],
)
def test_a_wrong_description_is_answered_with_its_key(changes, message):
    with pytest.raises(ConfigError, match=message) as error:
        onnx_predictor(described("model.onnx", **changes))
    assert str(error.value).startswith("predictor.description: ")
    assert "\n" not in str(error.value)


def test_files_that_are_missing_or_no_model_are_named(tmp_path):
    with pytest.raises(ConfigError, match=r"nowhere\.yaml: no such file"):
        onnx_predictor(tmp_path / "nowhere.yaml")
    (tmp_path / "broken.yaml").write_text("files: [model.onnx\n  size: {")
    with pytest.raises(ConfigError, match=r"broken\.yaml: cannot be read as YAML"):
        onnx_predictor(tmp_path / "broken.yaml")
    (tmp_path / "list.yaml").write_text("- model.onnx\n")
    with pytest.raises(ConfigError, match=r"list\.yaml: the description: must hold keys"):
        onnx_predictor(tmp_path / "list.yaml")
    (tmp_path / "model.yaml").write_text(OmegaConf.to_yaml(described("model.onnx")))
    with pytest.raises(CheckpointError, match=r"model\.yaml: files: .*model\.onnx does not exist"):
        onnx_predictor(tmp_path / "model.yaml")
    (tmp_path / "model.onnx").write_bytes(b"no model")
    with pytest.raises(CheckpointError, match=r"model\.onnx is no ONNX model") as error:
        onnx_predictor(tmp_path / "model.yaml")
    assert "\n" not in str(error.value)


def test_fsanet_gets_its_figure_on_real_photographs(real_data):
    """4.05, 6.43, 4.68 and 5.05 on these 490 of the 1,969 photographs, on which its authors published 5.07."""
    config = OmegaConf.load(Path(CONFIG_DIR) / "predictor" / "fsanet.yaml")
    config = OmegaConf.merge(config, {"roots": {"peers": str(real_data / "peers")}})
    files = [real_data / "peers" / Path(file).name for file in config.description.files]
    if not all(file.is_file() for file in (*files, real_data / "aflw2000" / "image00020.jpg")):
        pytest.skip(f"{real_data} holds no peers/fsanet-*.onnx or no aflw2000")
    config.description.files = [str(file) for file in files]
    del config["roots"]
    predictor = build(config)
    records = read_aflw2000(real_data / "aflw2000")
    assert len(records) == 490
    crops = [
        predictor.crop(read_image(record.image), face_points(record), predictor.size)
        for record in map(records.__getitem__, range(len(records)))
    ]
    pose = predictor(torch.from_numpy(np.stack(crops)).permute(0, 3, 1, 2)).pose
    error = angle_error(pose, torch.from_numpy(records.pose)).mean(dim=0)
    assert error.tolist() == pytest.approx([4.05, 6.43, 4.68], abs=0.03)
    assert error.mean().item() == pytest.approx(5.05, abs=0.03)


def made_records(*names, root="/data/set", rejects=()):
    count = len(names)
    return Records(
        dataset="a set",
        names=np.array(names),
        images=np.array([f"{root}/{name}" for name in names]),
        pose=np.zeros((count, 3), np.float32),
        face_box=np.tile(np.array([0, 0, 9, 9], np.float32), (count, 1)),
        landmarks=None,
        identity=np.arange(count),
        identity_names=np.array(names),
        rejects=tuple(Reject(f"{root}/{name}", "with something") for name in rejects),
    )


FRAMES_OF_TWO = ("01/frame_1_rgb.png", "01/frame_2_rgb.png", "02/frame_1_rgb.png")


def table(folder, *rows, header="image,yaw,pitch,roll"):
    file = folder / "poses.csv"
    file.write_text("\n".join([header, *rows]) + "\n")
    return file


def test_a_table_is_looked_up_in_the_order_of_the_set(tmp_path):
    file = table(
        tmp_path,
        '2, 5, "01/frame_2_rgb.png", -1.5, 0',
        "",
        "7, 1e1, 02/frame_1_rgb.png, 3, 9",
        "1, 4, set/01/frame_1_rgb.png, 2, 0.25",
        header="score, pitch, image, yaw, roll",
    )
    predictor = build(OmegaConf.load(Path(CONFIG_DIR) / "predictor" / "table.yaml"), table=file)
    pose = predictor.predict(made_records(*FRAMES_OF_TWO))
    assert pose.dtype == torch.float32
    assert pose.tolist() == [[2, 4, 0.25], [-1.5, 5, 0], [3, 10, 9]]


def test_base_names_and_whole_paths_serve_where_they_are_unique(tmp_path):
    file = table(tmp_path, "/data/set/b.jpg,1,2,3", "a.jpg,4,5,6")
    assert TablePredictor(file).predict(made_records("a.jpg", "b.jpg")).tolist() == [[4, 5, 6], [1, 2, 3]]


def test_rows_of_images_that_the_set_left_out_are_passed_over(tmp_path):
    """A table of all 2,000 images serves the protocol of 1,969; a reject may be named by its annotation."""
    file = table(tmp_path, "a.jpg,1,2,3", "b.jpg,4,5,6", "c.jpg,7,8,9")
    records = made_records("b.jpg", rejects=("a.jpg", "c.mat"))
    assert TablePredictor(file).predict(records).tolist() == [[4, 5, 6]]


SPELLINGS = {
    "as they are": lambda name: name,
    "no extension": lambda name: name.removesuffix(".png"),
    "backslashes": lambda name: name.replace("/", "\\"),
    "backslashes, no extension": lambda name: name.replace("/", "\\").removesuffix(".png"),
    "a drive": lambda name: f"C:/data/set/{name}".replace("/", "\\"),
    "from here": lambda name: f"./{name}",
}


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_an_image_may_be_spelt_as_others_spell_it(tmp_path, spelling):
    rejected = "02/frame_7_rgb.png"
    rows = [f"{SPELLINGS[spelling](name)},{number},0,0" for number, name in enumerate((*FRAMES_OF_TWO, rejected))]
    predictor = TablePredictor(table(tmp_path, *rows[::-1]))
    pose = predictor.predict(made_records(*FRAMES_OF_TWO, root="C:/data/set", rejects=[rejected]))
    assert pose[:, 0].tolist() == [0, 1, 2]


WHOLE = [f"{name},1,2,3" for name in FRAMES_OF_TWO]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([], r"poses\.csv: none of its 0 rows is of an image that a set has"),
        ([*WHOLE, WHOLE[1]], r"poses\.csv, line 5, 01/frame_2_rgb\.png: this image is in line 3 already"),
        ([*WHOLE, "set/" + WHOLE[1]], r"line 5, set/01/frame_2_rgb\.png: this image is in line 3 already"),
        (["frame_1_rgb,1,2,3"], r"line 2, frame_1_rgb: is both .*01/frame.* and .*02/frame"),
        (["frame_1_rgb.png,1,2,3"], r"line 2, frame_1_rgb\.png: is both .*01/frame.* and .*02/frame"),
        (["e_1_rgb.png,1,2,3"], r"none of its 1 rows is of an image .* The first: .*line 2, e_1_rgb\.png"),
        ([*WHOLE[:2], "02/frame_1_rgb.png,1,nan,3"], r"line 4, 02/frame_1_rgb\.png: pitch=nan is no angle"),
        (["01/frame_1_rgb.png,1,2,inf"], r"line 2, .*: roll=inf is no angle"),
        (["01/frame_1_rgb.png,left,2,3"], r"line 2, .*: yaw=left is no angle"),
        (["01/frame_1_rgb.png,1,2"], r"line 2, .*: roll=\(empty\) is no angle"),
        ([",1,2,3"], r"line 2, \(no name\): names no image"),
        (["01/frame_1_rgb.png,1,2,3,4"], r"line 2, .*: has more fields than the first line"),
    ],
)
def test_a_wrong_table_is_answered_with_file_and_line(tmp_path, rows, message):
    with pytest.raises(DatasetError, match=message) as error:
        TablePredictor(table(tmp_path, *rows)).predict(made_records(*FRAMES_OF_TWO))
    assert "\n" not in str(error.value)


def test_images_without_an_answer_and_rows_without_an_image_are_told(tmp_path, caplog):
    strangers = ["03/a.png,1,2,3", "04/b.png,1,2,3"]
    file = table(tmp_path, WHOLE[0], "02/frame_1_rgb.png,,nan,", *strangers)
    pose = TablePredictor(file).predict(made_records(*FRAMES_OF_TWO))
    # the second image has no row, the third one without angles
    assert pose[0].tolist() == [1, 2, 3]
    assert torch.isnan(pose[1:]).all()
    (told,) = caplog.messages
    assert "line 4, 03/a.png: a set has no such image" in told
    assert "2 of the table's 4 rows" in told


def test_a_file_that_is_no_table_is_named(tmp_path):
    with pytest.raises(DatasetError, match=r"nowhere\.csv: no such file"):
        TablePredictor(tmp_path / "nowhere.csv")
    with pytest.raises(DatasetError, match=r"poses\.csv: has no column pitch; .* it is image,yaw,roll"):
        TablePredictor(table(tmp_path, "a.jpg,1,2", header="image,yaw,roll"))
    for content in (
        b"",
        b"\xff\xfe\x00image",
        b'image,yaw,pitch,roll\n"a,1,2,3\nb',
    ):
        (tmp_path / "poses.csv").write_bytes(content)
        with pytest.raises(DatasetError, match=r"poses\.csv") as error:
            TablePredictor(tmp_path / "poses.csv")
        assert "\n" not in str(error.value)


MADE_FROM = {
    "backbone": {"name": "resnet10t", "options": {"stem_type": "", "channels": [8, 16, 24, 32]}},
    "representation": {"choice": "vector_projection"},
    "image_size": SIZE,
    "test_scale": 1.3,
    "ema": None,
}


@pytest.fixture(scope="module")
def small_net():
    torch.manual_seed(0)
    backbone = build_backbone(MADE_FROM["backbone"]["name"], options=MADE_FROM["backbone"]["options"])
    net = PoseNet(backbone, VectorProjection)
    with torch.no_grad():  # batch statistics of their own, so that leaving them out would show
        for _ in range(3):
            net(torch.randint(0, 256, (8, 3, SIZE, SIZE), dtype=torch.uint8))
    return net.eval()


@pytest.fixture(scope="module")
def checkpoint(small_net, tmp_path_factory):
    file = tmp_path_factory.mktemp("run") / "best.ckpt"
    state = {f"net.{key}": value for key, value in small_net.state_dict().items()}
    torch.save({"rankpose": MADE_FROM, "state_dict": state}, file)
    return file


@pytest.fixture(scope="module")
def exported(checkpoint):
    """What the entry point leaves beside a checkpoint."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["export", f"checkpoint={checkpoint}", "hydra/job_logging=none"])
        main()
    return checkpoint.with_suffix(".onnx")


def test_a_checkpoint_predicts_with_its_own_crop(checkpoint, small_net):
    config = OmegaConf.create(
        {"checkpoint": str(checkpoint), "predictor": OmegaConf.load(Path(CONFIG_DIR) / "predictor" / "checkpoint.yaml")}
    )
    predictor = build(config.predictor)
    assert isinstance(predictor, CheckpointPredictor)
    assert predictor.crop == RankPoseCrop(1.3)
    assert predictor.size == SIZE
    crops = torch.randint(0, 256, (3, 3, SIZE, SIZE), dtype=torch.uint8)
    with torch.inference_mode():
        assert torch.equal(predictor(crops).pose, small_net(crops).pose)


def test_an_exported_network_gives_the_poses_of_its_checkpoint(exported, small_net):
    assert {path.name for path in exported.parent.iterdir()} == {"best.ckpt", "best.onnx", "best.yaml"}
    predictor = onnx_predictor(exported.with_suffix(".yaml"))
    assert isinstance(predictor, OnnxPredictor)
    assert predictor.crop == RankPoseCrop(1.3)
    assert predictor.size == SIZE
    for count in (1, 6):
        crops = torch.randint(0, 256, (count, 3, SIZE, SIZE), dtype=torch.uint8)
        with torch.inference_mode():
            expected = small_net(crops).pose
        assert expected.std() > 1e-3
        assert torch.allclose(predictor(crops).pose, expected, atol=1e-3)


def test_an_exported_file_says_what_it_is_and_nothing_of_the_machine(exported):
    onnx.checker.check_model(onnx.load(exported), full_check=True)
    session = onnxruntime.InferenceSession(str(exported), providers=["CPUExecutionProvider"])
    (node,) = session.get_inputs()
    assert (node.name, node.type, node.shape[1:]) == ("image", "tensor(uint8)", [3, SIZE, SIZE])
    meta = session.get_modelmeta().custom_metadata_map
    assert json.loads(meta["made_from"]) == MADE_FROM
    assert "yaw, pitch, roll, degrees" in meta["output"]
    for place in (str(Path.home()), str(Path(CONFIG_DIR).parent), sys.prefix):
        assert place.encode() not in exported.read_bytes()


def test_a_file_that_gives_other_poses_than_its_network_is_not_left(exported, small_net, tmp_path, monkeypatch):
    other = copy.deepcopy(small_net)
    with torch.no_grad():
        other.representation.weight.add_(0.001)
    monkeypatch.setattr(
        "rankpose.predictors.export._write_onnx", lambda net, size, made_from, file: shutil.copy(exported, file)
    )
    with pytest.raises(CheckpointError, match=r"model\.onnx: was not written: its poses are up to .* degrees"):
        export_onnx(other, MadeFrom.of(MADE_FROM), tmp_path / "model.onnx")
    assert not list(tmp_path.iterdir())
    assert export_onnx(small_net, MadeFrom.of(MADE_FROM), tmp_path / "model.onnx") < 1e-3


def test_a_checkpoint_that_is_not_there_is_one_line(tmp_path, monkeypatch, capsys):
    for argument, message in (
        (f"checkpoint={tmp_path}/no.ckpt", "no.ckpt: no such file"),
        ("out=a.onnx", "is not set"),
    ):
        monkeypatch.setattr(sys, "argv", ["export", argument, "hydra/job_logging=none"])
        with pytest.raises(SystemExit) as error:
            main()
        assert error.value.code == 1
        told = capsys.readouterr().err
        assert message in told
        assert told.count("\n") == 1


def test_an_export_has_its_ending(small_net, tmp_path):
    with pytest.raises(ConfigError, match=r"out=.*model\.yaml: must end with \.onnx"):
        export_onnx(small_net, MadeFrom.of(MADE_FROM), tmp_path / "model.yaml")


def test_the_description_that_the_module_shows_is_one():
    shown = "\n".join(line for line in description.__doc__.splitlines() if line.startswith("    "))
    read = description.parse_description(OmegaConf.to_container(OmegaConf.create(shown)), Path("beside"))
    assert read.files == (Path("beside/model.onnx"),)
    assert read.crop == HopeNetCrop()


def test_a_description_reads_as_it_was_exported(exported):
    content = OmegaConf.to_container(OmegaConf.load(exported.with_suffix(".yaml")))
    read = description.parse_description(content, exported.parent)
    assert read.files == (exported,)
    assert read.pixels.unchanged
