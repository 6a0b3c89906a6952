"""Models that come with the package, weights that are sent to others, and training that begins with them."""

import hashlib
import json
import re

import numpy as np
import pandas as pd
import pytest
import torch
from commands import run, succeed, train
from safetensors import safe_open
from safetensors.torch import save_file

from rankpose.errors import CheckpointError, ConfigError
from rankpose.files import checkpoint_file, shipped_models
from rankpose.models import PoseNet, build_backbone
from rankpose.models.checkpoint import MadeFrom, begin_with, load_net, write_weights
from rankpose.models.shipped import list_models, read_card
from rankpose.pose import Euler, VectorProjection, euler_to_rotmat
from rankpose.predictors import CheckpointPredictor

MODELS = sorted(shipped_models())


@pytest.fixture
def net():
    torch.manual_seed(0)
    return PoseNet(build_backbone("resnet10t", options={"channels": (8, 16, 24, 32)}), VectorProjection).eval()


MADE_FROM = MadeFrom(
    backbone={"name": "resnet10t", "options": {"channels": [8, 16, 24, 32]}, "pretrained": False, "weights": None},
    representation={"choice": "vector_projection"},
    image_size=64,
    test_scale=1.4,
)


def test_weights_come_back_within_half_precision(net, tmp_path):
    write_weights(net, MADE_FROM, tmp_path / "net.safetensors")
    again, made_from = load_net(tmp_path / "net.safetensors")
    assert made_from == MADE_FROM
    image = torch.randint(0, 256, (4, 3, 64, 64), dtype=torch.uint8)
    with torch.inference_mode():
        assert torch.allclose(net(image).pose, again(image).pose, atol=0.5)
    assert all(value.dtype == torch.float32 for value in again.parameters())
    with safe_open(tmp_path / "net.safetensors", "pt") as file:
        assert {file.get_tensor(name).dtype for name in file.keys()} == {torch.float16}  # noqa: SIM118


def test_files_that_hold_no_such_weights_are_named(net, tmp_path):
    (tmp_path / "text.safetensors").write_text("no weights")
    with pytest.raises(CheckpointError, match=r"text\.safetensors: is no file of weights, or cut off"):
        load_net(tmp_path / "text.safetensors")
    save_file({"a": torch.zeros(2)}, tmp_path / "bare.safetensors")
    with pytest.raises(CheckpointError, match="does not say what its network is made from"):
        load_net(tmp_path / "bare.safetensors")
    write_weights(net, MADE_FROM, tmp_path / "whole.safetensors")
    whole = (tmp_path / "whole.safetensors").read_bytes()
    (tmp_path / "cut.safetensors").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(CheckpointError, match="cut off"):
        load_net(tmp_path / "cut.safetensors")
    wrong = MadeFrom(MADE_FROM.backbone | {"options": {"channels": [8, 16, 24, 40]}}, MADE_FROM.representation, 64, 1.4)
    write_weights(net, wrong, tmp_path / "wrong.safetensors")
    with pytest.raises(CheckpointError, match="its weights are not those of resnet10t"):
        load_net(tmp_path / "wrong.safetensors")


def test_the_mirrored_crop_is_asked_as_well(net, tmp_path):
    write_weights(net, MADE_FROM, tmp_path / "net.safetensors")
    model = CheckpointPredictor(tmp_path / "net.safetensors", mirror=True)
    image = torch.randint(0, 256, (4, 3, 64, 64), dtype=torch.uint8)
    with torch.inference_mode():
        pose, other = model(image).pose, model(image.flip(-1)).pose
    # what it says of a mirror image is the mirror image of what it says
    assert torch.allclose(euler_to_rotmat(pose), euler_to_rotmat(other * torch.tensor([-1, 1, -1])), atol=1e-4)


def test_training_begins_with_the_weights_of_a_network_that_is_built_alike(net, tmp_path):
    write_weights(net, MADE_FROM, tmp_path / "net.safetensors")
    new = PoseNet(build_backbone("resnet10t", options={"channels": (8, 16, 24, 32)}), VectorProjection)
    begin_with(new, MADE_FROM, tmp_path / "net.safetensors")
    for own, theirs in zip(new.parameters(), net.parameters(), strict=True):
        assert torch.equal(own, theirs.half().float())
    euler = MadeFrom(MADE_FROM.backbone, {"choice": "euler"}, 64, 1.4)
    with pytest.raises(ConfigError, match=r"representation=.*vector_projection.*this run representation=.*euler"):
        begin_with(PoseNet(build_backbone("resnet10t"), Euler), euler, tmp_path / "net.safetensors")
    with pytest.raises(CheckpointError, match="init=nowhere: no such file"):
        begin_with(new, MADE_FROM, "nowhere")


@pytest.mark.long
@pytest.mark.slow
def test_a_run_is_exported_tested_and_begun_with(small_set, tmp_path):
    succeed(train(small_set, "trainer.max_steps=3", "hydra.run.dir=first", cwd=tmp_path))
    done = succeed(run("export", "checkpoint=first", "out=net.safetensors", cwd=tmp_path))
    assert re.search(r"net\.safetensors: \d+\.\d MB of weights in half precision", done.stdout)
    arguments = ("protocol=synthetic", f"roots.synthetic={small_set}", "num_workers=0")
    succeed(run("evaluate", "checkpoint=first,net.safetensors", *arguments, "out=page", cwd=tmp_path))
    figures = json.loads((tmp_path / "page" / "metrics.json").read_text())["results"]
    assert len({result["model"] for result in figures}) == 2
    maes = [result["scores"]["mae"] for result in figures]
    assert abs(maes[0] - maes[1]) < 0.05
    second = ("init=net.safetensors", "trainer.max_steps=1", "optimizer.lr=1e-12", "hydra.run.dir=second")
    succeed(train(small_set, *second, cwd=tmp_path))
    before, after = (load_net(tmp_path / place)[0] for place in ("net.safetensors", "second"))
    for own, theirs in zip(before.parameters(), after.parameters(), strict=True):
        assert torch.allclose(own, theirs, atol=1e-6)
    refused = train(small_set, "init=net.safetensors", "representation=euler", cwd=tmp_path)
    assert refused.returncode == 1
    assert "error: init=net.safetensors: has representation=" in refused.stderr


@pytest.mark.parametrize("name", MODELS)
def test_a_shipped_model_is_what_its_card_says(name):
    card, file = read_card(name), checkpoint_file(name)
    assert hashlib.sha256(file.read_bytes()).hexdigest() == card.sha256
    assert file.stat().st_size <= 8e6
    net, made_from = load_net(name)
    assert sum(weight.numel() for weight in net.parameters()) == card.weights
    assert (made_from.backbone["name"], made_from.image_size) == (card.backbone, card.input_pixels)
    assert card.figures
    assert all("command" in figure for figure in card.figures)
    assert card in list_models()


@pytest.mark.slow
@pytest.mark.parametrize("name", MODELS)
def test_a_shipped_model_has_the_figures_of_its_card(name, real_data, tmp_path):
    (figure,) = [one for one in read_card(name).figures if one["protocol"] == "aflw2000" and not one["mirrored"]]
    arguments = (f"checkpoint={name}", "protocol=aflw2000", f"roots.aflw2000={real_data / 'aflw2000'}", "out=page")
    succeed(run("evaluate", *arguments, "num_workers=1", cwd=tmp_path))
    (result,) = json.loads((tmp_path / "page" / "metrics.json").read_text())["results"]
    for score in ("mae", "yaw", "pitch", "roll", "geodesic"):
        key = score if score in ("mae", "geodesic") else f"{score}_mae"
        assert abs(result["scores"][key] - figure[score]) < 0.02
    predictions = pd.read_parquet(next((tmp_path / "page").rglob("predictions.parquet")))
    assert len(predictions) == figure["images"]
    assert np.isfinite(predictions["yaw_pred"]).all()


def test_no_such_model_is_told_with_those_there_are():
    with pytest.raises(CheckpointError, match="checkpoint=rankpose-nothing: no such file"):
        checkpoint_file("rankpose-nothing")
