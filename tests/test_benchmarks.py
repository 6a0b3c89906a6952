"""The benchmarks run and their figures mean what they say; how high they are is no matter of a test."""

import json
import os
import subprocess
import sys

import cv2
import numpy as np
import onnx
import onnxruntime
import pandas as pd
import pytest
import torch
from commands import PROJECT, SMALL, run, succeed
from films import write_film
from onnx import TensorProto, helper, numpy_helper

from benchmarks import detectors, gpu_train, labels, networks, predict, rivals
from rankpose.data.crop import face_points, read_image
from rankpose.data.crop_rules import RankPoseCrop
from rankpose.data.readers.aflw2000 import read_aflw2000
from rankpose.data.readers.photographs import read_faces
from rankpose.pose import ANGLES
from rankpose.predictors import FaceMeshPredictor, PythonPredictor

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def tiny_run(tmp_path_factory):
    """The folder that a tiny run of `benchmarks.gpu_train` on the CPU left, and what it printed."""
    out = tmp_path_factory.mktemp("benchmark")
    options = "--backbone resnet10_slim --size 32 --batch 8 --seconds 1 --modes bf16"
    command = [sys.executable, "-m", "benchmarks.gpu_train", *options.split(), "--out", str(out)]
    environment = os.environ | {"CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        command, cwd=PROJECT, env=environment, capture_output=True, text=True, timeout=1200, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return out, done.stdout


@pytest.mark.long
def test_gpu_train_measures_a_mode_on_the_device_and_loaded(tiny_run):
    _, output = tiny_run
    report = json.loads(output.splitlines()[-1])
    assert set(report["results"]) == {"bf16"}
    for mode in report["results"].values():
        for place in ("on_device", "loaded"):
            found = mode[place]
            assert found["images_per_second"] > 0
            assert found["images_per_second"] == pytest.approx(8 * found["steps"] / found["seconds"])
            assert 0 <= found["waiting_share"] <= 1
            assert "peak_gb" not in found, "there is no GPU"
    assert report["loader_images_per_second"] > 0
    assert all(rate > 0 for rate in report["tflops"].values())
    assert report["gpu"] == "none"


def test_gpu_train_counts_the_operations_of_the_network(tiny_run):
    """Backward takes about twice what forward takes: the first layer alone needs no gradient of its input."""
    _, output = tiny_run
    net = gpu_train._task("resnet10_slim", 32).net.eval()
    products = []  # multiplications and additions of every convolution and linear layer, by their definition

    def count(module, inputs, result):
        per_value = module.weight[0].numel()
        products.append(2 * per_value * result.numel())

    for module in net.modules():
        if isinstance(module, (torch.nn.Conv2d, torch.nn.Linear)):
            module.register_forward_hook(count)
    net(torch.zeros(1, 3, 32, 32, dtype=torch.uint8))
    report = json.loads(output.splitlines()[-1])
    assert report["flop_per_image"] == pytest.approx(3 * sum(products) - products[0], rel=0.01)


def test_gpu_train_prints_a_table_and_keeps_it(tiny_run):
    out, output = tiny_run
    assert json.loads((out / "gpu_train.json").read_text()) == json.loads(output.splitlines()[-1])
    table = (out / "gpu_train.md").read_text()
    assert table in output
    assert "the figures are the CPU's" in table
    rows = [line.strip("| ").split(" | ") for line in table.splitlines() if line.startswith("|")]
    header, _, *modes = rows
    assert [row[0] for row in modes] == ["bf16"]
    assert all(len(row) == len(header) for row in modes)


@pytest.mark.long
def test_gpu_train_says_why_a_mode_failed(monkeypatch):
    monkeypatch.chdir(PROJECT)
    task = {"mode": "float32", "backbone": "resnet10_slim", "size": 32, "batch": 8, "seconds": 1, "devices": 1}
    found = gpu_train._both(task | {"packed": "nowhere.arrow"})
    assert "DatasetError" in found["failed"]
    assert "nowhere.arrow" in found["failed"]


def test_labels_are_held_against_true_poses(real_data, tmp_path, capsys):
    root, out = real_data / "aflw2000", tmp_path / "crops"
    labels.main(["crops", str(root), str(out), "--most", "5", "--size", "90"])
    found = read_faces(out)
    assert len(found) == 5
    assert read_image(found.images[0]).shape == (90, 90, 3)
    # the face box that is taken for granted in such a crop is the landmarks'
    true = read_aflw2000(root)
    own, taken = true[0], found[0]
    assert taken.name == own.name.replace(".jpg", ".png")
    assert (taken.face_box[2:] - taken.face_box[:2]).max() == pytest.approx(60)
    table = pd.DataFrame(true.pose[:5], columns=list(ANGLES)).assign(image=list(found.names), rejected="")
    table["yaw"] += 3
    table["presence"], table["spread"] = [1, 1, 1, 0.2, 0.2], 8.0
    table.to_csv(tmp_path / "labels.csv", index=False)
    labels.main(["errors", str(tmp_path / "labels.csv"), str(root)])
    rows = {row["faces"]: row for row in json.loads(capsys.readouterr().out.splitlines()[-1])}
    assert (rows["answered"]["count"], rows["presence >= 0.5"]["count"]) == (5, 3)
    assert [rows["answered"][of] for of in (*ANGLES, "mean")] == pytest.approx([3, 0, 0, 1], abs=1e-3)
    assert (rows["answers within 10 degrees"]["count"], rows["answers within 5 degrees"]["count"]) == (5, 0)


def test_detectors_are_measured_on_a_few_photographs(real_data, capsys):
    detectors.main([str(real_data / "aflw2000"), "--most", "6"])
    found = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert found["centerface"]["found"] + found["centerface"]["missed"] == 6
    assert found["centerface"]["side"] == pytest.approx(0.925, abs=0.15)
    assert "yunet" not in found, "its model was not given"
    assert 0.05 < found["training"]["side_deviation"] < 0.1


def test_predict_measures_every_step_of_a_film(trained, small_set, tmp_path, capsys):
    head = read_image(str(small_set / "SYN_TRAIN" / "SYN_000003_0.jpg"))
    film = write_film(tmp_path / "film.mp4", [head] * 12)
    predict.main([str(film), "--model", f"mine={trained}", "--repeats", "1", "--steadiness"])
    found = json.loads(capsys.readouterr().out.splitlines()[-1])["mine"]
    assert set(found["ms"]) == set(predict.STEPS)
    assert min(found["ms"][step] for step in ("decode", "detect", "network", "encode")) > 0
    assert found["frames_a_second"] > 0
    assert max(found["smoothed"].values()) < 0.5, "it holds still"


class Frontal:
    """A model that looks straight ahead."""

    size = 16

    def __call__(self, image):
        return torch.zeros(len(image), 3)


def test_networks_of_others_are_timed_as_they_are():
    predictor = PythonPredictor(Frontal(), RankPoseCrop(1.4), {}, "mine")
    (found,) = networks.networks("mine", predictor, [np.zeros((16, 16, 3), np.uint8)] * 4, None, seconds=0)
    assert (found.name, found.away_deg, found.mae) == ("mine", None, None)
    assert 0 < found.together_ms < found.alone_ms
    header, line, row = networks.table([found]).splitlines()
    assert header.count("|") == line.count("|") == row.count("|")


def test_a_network_of_eight_bits_says_almost_the_same(tmp_path):
    rng = np.random.default_rng(0)
    weights = {"kernel": rng.normal(0, 0.01, (3, 3, 5, 5)).astype(np.float32), "ratio": np.float32(1 / 255)}
    nodes = [
        helper.make_node("Cast", ["image"], ["pixels"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["pixels", "ratio"], ["scaled"]),
        helper.make_node("Conv", ["scaled", "kernel"], ["seen"]),
        helper.make_node("GlobalAveragePool", ["seen"], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["pose"]),
    ]
    image = helper.make_tensor_value_info("image", TensorProto.UINT8, ["batch", 3, 32, 32])
    pose = helper.make_tensor_value_info("pose", TensorProto.FLOAT, ["batch", 3])
    kept = [numpy_helper.from_array(np.asarray(value), name) for name, value in weights.items()]
    graph = helper.make_graph(nodes, "poses", [image], [pose], kept)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.save(model, tmp_path / "float32.onnx")
    crops = rng.integers(0, 256, (20, 3, 32, 32), np.uint8)
    networks.write_int8(tmp_path / "float32.onnx", crops, tmp_path / "int8.onnx")
    said = [
        onnxruntime.InferenceSession(tmp_path / name).run(None, {"image": crops})[0]
        for name in ("float32.onnx", "int8.onnx")
    ]
    assert 0 < np.abs(said[0] - said[1]).max() < 0.02 * np.abs(said[0]).max()
    kinds = {tensor.data_type for tensor in onnx.load(tmp_path / "int8.onnx").graph.initializer}
    assert TensorProto.INT8 in kinds


def test_the_mesh_sees_in_a_crop_what_it_sees_in_the_picture(real_data):
    file = real_data / "peers" / "face_landmarker.task"
    record = read_aflw2000(real_data / "aflw2000")[0]
    image, points = read_image(record.image), face_points(record)
    mesh = networks.Mesh(file)
    crop = torch.from_numpy(mesh.crop(image, points, mesh.size)).permute(2, 0, 1)[None]
    alone = FaceMeshPredictor(file, looks=1).answer(image, points)
    assert mesh(crop).pose[0].numpy() == pytest.approx(alone.pose, abs=1)


def test_rivals_times_every_method_with_and_without_ranking(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["rivals", "--steps", "1", "--size", "32", "--batch", "4"])
    rivals.main()
    lines = capsys.readouterr().out.splitlines()
    report = json.loads(lines[-1])
    assert len(report["step_ms"]) == 2 * 10
    assert all(value > 0 for value in report["step_ms"].values())
    # ranking brings no weights
    for name, count in report["weights"].items():
        assert count == report["weights"][name.replace("share 0.5", "share 0")]
    assert report["weights"]["fsanet_published, share 0"] < 300_000 < report["weights"]["euler, share 0"]
    assert sum(line.startswith("| ") for line in lines) == 2 + 20


@pytest.mark.long
def test_landmarks_pairs_runs_by_seed_and_answers_for_each_configuration(tmp_path):
    """On real runs, of which two are the same network: nothing is between them."""
    people = [f"data.reader.{part}_identities={count}" for part, count in (("train", 8), ("val", 2), ("test", 10))]
    given = ("data.root=faces", *SMALL, *people, "trainer.max_steps=2", "loss.weight=0", "data.num_workers=0")
    for seed in (0, 1):
        for loss in ("mse", "rank_mse"):
            options = [one for one in given if loss == "rank_mse" or not one.startswith("loss.")]
            where = f"hydra.run.dir=runs/{loss}_{seed}"
            succeed(run("train", *options, f"loss={loss}", f"seed={seed}", where, cwd=tmp_path))
    few = ["--pairs", "2", "--heads", "3", "--resamples", "50", "--figure", "figure.png", "--data"]
    asked = ["runs", *few, "data.root=faces", *people, "data.reader.images_per_identity=6"]
    done = succeed(
        run("landmarks", *asked, cwd=tmp_path, env={"PYTHONPATH": str(PROJECT)}, fresh=True, package="benchmarks.")
    )
    found = json.loads(done.stdout.splitlines()[-1])["runs"]
    assert list(found) == ["mse", "rank_mse"]
    assert not any(found["mse"]["change"].values())
    for kind, question in (("knows", "yaw"), ("knows", "identity"), ("moves", "yaw"), ("looks", "occlusion")):
        change = found["rank_mse"]["change"][kind][question]
        assert change[:3] == [0, 0, 0], "a ranking loss of weight 0 is the squared error"
        assert change[4] == 2, "seeds"
        assert f"{found['mse']['mean'][kind][question]:.2f} (+0.00; +0.00 to +0.00; 0/2)" in done.stdout
    assert cv2.imread(str(tmp_path / "figure.png")).std() > 1
