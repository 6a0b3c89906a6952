"""A model that a lab gives to others, in a folder as Hugging Face's hub has it."""

import json

import numpy as np
import pytest
import torch
from huggingface_hub import ModelCard, constants
from safetensors.torch import load_file, save_file

import rankpose
from rankpose.data.crop_rules import RankPoseCrop
from rankpose.errors import CheckpointError, ConfigError
from rankpose.faces.whole import Whole
from rankpose.models import PoseNet, build_backbone
from rankpose.models.checkpoint import MadeFrom, write_folder
from rankpose.pose import VectorProjection
from rankpose.predictors.python import PythonPredictor

MADE_FROM = MadeFrom(
    backbone={"name": "resnet10t", "options": {"channels": [8, 16, 24, 32]}, "pretrained": True, "weights": "mine.pth"},
    representation={"choice": "vector_projection"},
    image_size=64,
    test_scale=1.25,
)


class Frontal:
    """A model of a user's own."""

    size = 64

    def __call__(self, image):
        return torch.zeros(len(image), 3)


@pytest.fixture(scope="module")
def net():
    torch.manual_seed(0)
    return PoseNet(build_backbone("resnet10t", options={"channels": (8, 16, 24, 32)}), VectorProjection).eval()


@pytest.fixture(scope="module")
def pictures():
    return np.random.default_rng(0).integers(0, 256, (3, 90, 80, 3), np.uint8)


def angles(estimator, pictures):
    return np.array([[(head.yaw, head.pitch, head.roll) for head in estimator(picture)] for picture in pictures])


def test_what_is_saved_comes_back_with_the_same_answers(net, pictures, tmp_path):
    write_folder(net, MADE_FROM, tmp_path / "first")
    first = rankpose.load(tmp_path / "first", Whole(), device="cpu")
    first.save_pretrained(
        tmp_path / "model", model_card_kwargs={"licence": "cc-by-4.0", "trained_on": "Nobody's face."}
    )
    assert {file.name for file in (tmp_path / "model").iterdir()} == {"README.md", "config.json", "model.safetensors"}
    wanted = angles(first, pictures)
    for again in (
        rankpose.load(tmp_path / "model", Whole(), device="cpu"),
        rankpose.Estimator.from_pretrained(tmp_path / "model", detector=Whole(), device="cpu"),
    ):
        assert np.abs(angles(again, pictures) - wanted).max() < 1e-6
    crop = torch.randint(0, 256, (2, 3, 64, 64), dtype=torch.uint8)
    with torch.inference_mode():
        assert torch.equal(first.predictor(crop).pose, net(crop).pose), "weights lose nothing"
    config = json.loads((tmp_path / "model" / "config.json").read_text())
    assert config["backbone"] | {"pretrained": False, "weights": None} == config["backbone"], "the machine's own paths"
    assert (config["image_size"], config["test_scale"]) == (64, 1.25)


def test_the_card_says_what_is_known(net, tmp_path):
    write_folder(net, MADE_FROM, tmp_path / "mine")
    rankpose.load(tmp_path / "mine", Whole()).save_pretrained(tmp_path, model_card_kwargs={"licence": "cc-by-4.0"})
    card = ModelCard.load(tmp_path / "README.md")
    assert (card.data.license, card.data.library_name) == ("cc-by-4.0", "rankpose")
    assert "64 x 64 pixels, 1.25 times" in card.text
    with pytest.raises(ConfigError, match=r"model_card_kwargs: license is none of summary, trained_on, licence"):
        rankpose.load(tmp_path, Whole()).generate_model_card(license="mit")
    shipped = rankpose.load("rankpose-renders", Whole()).generate_model_card()
    assert shipped.data.license == "other"
    (figure, *_) = next(card for card in rankpose.list_models() if card.name == "rankpose-renders").figures
    assert f"| {figure['mae']:.2f} |" in shipped.text


def test_folders_of_others_are_refused_and_run_nothing(net, tmp_path):
    write_folder(net, MADE_FROM, tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())

    def refused(said, **changes):
        (tmp_path / "config.json").write_text(json.dumps(config | changes))
        with pytest.raises(CheckpointError, match=said):
            rankpose.Estimator.from_pretrained(tmp_path, detector=Whole())

    refused(r"its representation, pathlib\.Path, is a class", representation={"_target_": "pathlib.Path"})
    (tmp_path / "own.yaml").write_text("_target_: pathlib.Path\n")
    refused("this version has no representation", representation={"choice": str(tmp_path / "own")})
    refused("its representation cannot be made", representation={"choice": "vector_projection", "turns": 3})
    for wrong in ({"backbone": "resnet10t"}, {"image_size": "large"}, {"representation": None}):
        refused("does not say what its network is made from", **wrong)
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(CheckpointError, match=r"config\.json: cannot be read as JSON"):
        rankpose.load(tmp_path, Whole())
    (tmp_path / "config.json").unlink()
    with pytest.raises(CheckpointError, match="does not say what its network is made from"):
        rankpose.load(tmp_path, Whole())
    (tmp_path / "config.json").write_text(json.dumps(config))
    weights = load_file(tmp_path / "model.safetensors")
    save_file({key: weights[key] for key in list(weights)[:-3]}, tmp_path / "model.safetensors")
    with pytest.raises(CheckpointError, match="its weights are not those of resnet10t"):
        rankpose.load(tmp_path, Whole())


def test_what_others_could_not_load_is_not_saved(net, tmp_path):
    own = MadeFrom(MADE_FROM.backbone, {"_target_": "mine.Own"}, 64, 1.25)
    with pytest.raises(ConfigError, match=r"mine\.Own, is a class of somebody's own"):
        write_folder(net, own, tmp_path / "own")
    predictor = PythonPredictor(Frontal(), RankPoseCrop(1.4), {}, "mine")
    with pytest.raises(ConfigError, match=r"only a network of rankpose\.train can be saved so, not .* PythonPredictor"):
        rankpose.Estimator(predictor, Whole()).save_pretrained(tmp_path / "other")


def test_a_hub_out_of_reach_is_told_in_a_line(monkeypatch, tmp_path):
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    for name, said in {
        "lab/model": "the hub cannot be reached, nor does its cache hold a model of that name",
        "no/such/place": "could not be had from the hub (Repo id must be",
    }.items():
        with pytest.raises(CheckpointError) as caught:
            rankpose.Estimator.from_pretrained(name, cache_dir=tmp_path)
        assert str(caught.value).startswith(f"from_pretrained({name!r}): is no folder here, and {said}")
        assert "\n" not in str(caught.value)
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(CheckpointError, match="empty: no such file"):
        rankpose.Estimator.from_pretrained(empty)
