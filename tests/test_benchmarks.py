"""The benchmarks run and their figures mean what they say; how high they are is no matter of a test."""

import json
import os
import subprocess
import sys

import pandas as pd
import pytest
import torch
from commands import PROJECT
from films import write_film

from benchmarks import detectors, gpu_train, labels, predict, rivals
from rankpose.data.crop import read_image
from rankpose.data.readers.aflw2000 import read_aflw2000
from rankpose.data.readers.photographs import read_faces
from rankpose.pose import ANGLES

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
