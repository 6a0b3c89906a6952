"""What everything of a kind must hold: each file of `conf/` is tested by being there.

A new reader, representation, loss, backbone, protocol, predictor, corruption, augmentation, schedule, optimizer or
callback fails here with what is still missing. What they do beyond that is tested where they are.
"""

import inspect
from pathlib import Path

import numpy as np
import pytest
import pytorch_lightning as pl
import timm
import torch
from hydra.utils import instantiate
from omegaconf import OmegaConf

from rankpose.command.configuration import build, composed
from rankpose.data.augment import Augment
from rankpose.data.corruption import KINDS, STRENGTHS, Corruption, image_rng
from rankpose.data.crop_rules import CROP_RULES
from rankpose.data.datamodule import Training
from rankpose.errors import ConfigError, DatasetNotFoundError, RankPoseError
from rankpose.evaluation.protocol import Protocol
from rankpose.files import CONFIG_DIR
from rankpose.pose import Euler, PoseOutput, euler_to_rotmat
from rankpose.predictors.outputs import OUTPUT_KINDS


def every(group):
    """A test for each choice of a group."""
    files = sorted(Path(CONFIG_DIR, group).glob("*.yaml"))
    assert files
    return pytest.mark.parametrize("choice", [file.stem for file in files])


def chosen(group, choice, *overrides):
    return composed("train", [f"{group}={choice}", *overrides])[group]


def batch(count=8, seed=0):
    """Poses that differ, their predictions, and who is on the images: two of each person."""
    random = torch.Generator().manual_seed(seed)
    pose = 60 * (torch.rand(count, 3, generator=random) - 0.5)
    return pose + 5 * torch.randn(count, 3, generator=random), pose, torch.arange(count) // 2


@every("representation")
def test_a_representation_gives_poses_that_can_be_learnt(choice):
    torch.manual_seed(0)
    representation = build(chosen("representation", choice))(16)
    features = torch.randn(32, 16, requires_grad=True)
    output = representation(features)
    assert isinstance(output, PoseOutput)
    assert output.pose.shape == (32, 3)
    assert output.pose.dtype == torch.float32
    assert len(output.raw) == 32
    output.pose.square().mean().backward()
    for weight in [features, *representation.parameters()]:
        assert torch.isfinite(weight.grad).all()
        assert weight.grad.abs().max() > 0
    pose = 120 * (torch.rand(64, 3) - 0.5)
    assert torch.allclose(representation.to_pose(representation.from_pose(pose)), pose, atol=0.01)
    # far beyond what features are, and in half precision
    for extreme in (1e4 * torch.randn(32, 16), torch.zeros(4, 16)):
        assert torch.isfinite(representation(extreme).pose).all()
    with torch.autocast("cpu", torch.bfloat16):
        half = representation(features).pose
    assert half.dtype == torch.float32
    far = torch.linalg.matrix_norm(euler_to_rotmat(half) - euler_to_rotmat(output.pose))
    assert far.max() < 0.2


@every("loss")
def test_a_loss_is_least_at_the_truth_and_heeds_weights(choice):
    def loss(*arguments):
        """A new one each time: some go by the batches before."""
        return build(chosen("loss", choice))(*arguments)

    wants = build(chosen("loss", choice)).wants or Euler
    representation = wants(16)
    prediction, pose, identity = batch()
    raw = representation.from_pose(prediction).requires_grad_()
    said = representation.output(raw)
    terms = loss(said, pose, identity, None)
    assert all(torch.isfinite(term) for term in terms.values())
    terms["loss"].backward(retain_graph=True)
    assert torch.isfinite(raw.grad).all()
    assert raw.grad.abs().max() > 0
    right = loss(representation.output(representation.from_pose(pose)), pose, identity, None)["loss"]
    assert right < terms["loss"]
    if wants is Euler:
        assert abs(right) <= 1e-6
    # equal weights are none, and an image of weight 0 is not there
    same = loss(said, pose, identity, torch.full((8,), 0.5))
    assert torch.isclose(same["loss"], terms["loss"], rtol=1e-4)
    without = loss(representation.output(raw[:6]), pose[:6], identity[:6], None)
    weights = torch.tensor([1.0] * 6 + [0.0] * 2)
    assert torch.isclose(loss(said, pose, identity, weights)["loss"], without["loss"], rtol=1e-4)


@every("backbone")
def test_a_backbone_is_one_of_timm(choice):
    backbone = chosen("backbone", choice)
    assert {"name", "pretrained", "weights", "options"} <= set(backbone)
    options = OmegaConf.to_container(backbone, resolve=True)["options"] or {}
    with torch.device("meta"):
        net = timm.create_model(backbone.name, pretrained=False, num_classes=0, **options)
    assert net.num_features > 0
    assert net.pretrained_cfg["mean"]


@every("data")
def test_a_data_set_says_how_to_get_it_where_it_is_not_there(choice, tmp_path):
    config = chosen("data", choice)
    if "sources" in config:  # each of them is a choice of its own
        assert set(config.shares) == set(config.sources)
        return
    signature = inspect.signature(instantiate({"_target_": "hydra.utils.get_object", "path": config.reader._target_}))
    assert {"root", "max_angle", "strict"} <= set(signature.parameters)
    if "synthetic" in choice:
        return  # is made where it is not there
    nowhere = tmp_path / "nowhere"
    data = build(composed("train", [f"data={choice}", f"data.root={nowhere}", "augment=none"]).data)
    assert isinstance(data, Training)
    with pytest.raises(DatasetNotFoundError, match="nowhere"):
        data.reader()


@every("protocol")
def test_a_protocol_has_a_title_and_says_what_is_missing(choice, tmp_path):
    protocol = build(composed("evaluate", [f"protocol={choice}", f"protocol.root={tmp_path / 'nowhere'}"]).protocol)
    assert isinstance(protocol, Protocol)
    assert protocol.name == choice
    assert protocol.title
    assert protocol.labels
    assert str(protocol.max_angle or "geodesic") in protocol.described.replace(".0", "")
    with pytest.raises((DatasetNotFoundError, ConfigError), match=r"nowhere|boxes"):
        protocol.records()


@every("predictor")
def test_a_predictor_says_which_file_is_missing(choice, tmp_path):
    config = composed("evaluate", [f"predictor={choice}", f"roots.peers={tmp_path}", "checkpoint=nowhere"]).predictor
    for key in ("table", "description", "file"):
        if key in config.keys() and OmegaConf.is_missing(config, key):  # noqa: SIM118  # what is missing is not in it
            config[key] = "nowhere"
    with pytest.raises(RankPoseError) as refused:
        build(config)
    assert "nowhere" in str(refused.value) or str(tmp_path) in str(refused.value)


@pytest.mark.parametrize("kind", OUTPUT_KINDS)
def test_a_kind_of_output_names_what_it_reads(kind):
    assert {"names", "to_pose", "keys"} <= set(dir(OUTPUT_KINDS[kind]))
    assert OUTPUT_KINDS[kind].__doc__


@pytest.mark.parametrize("kind", KINDS)
def test_a_corruption_is_the_same_each_time_and_grows(kind):
    image = np.random.default_rng(0).integers(256, size=(400, 480, 3), dtype=np.uint8)
    box = np.array([100, 50, 350, 350], np.float32)
    points = np.random.default_rng(1).uniform(100, 300, (68, 2))
    changes = []
    for strength in STRENGTHS:
        corruption = Corruption(kind, strength)
        once, again = (corruption.image(image, box, image_rng(0, 5)) for _ in range(2))
        assert once.shape == image.shape
        assert once.dtype == np.uint8
        assert np.array_equal(once, again)
        moved = corruption.points(points, image_rng(0, 5))
        assert moved.shape == points.shape
        changes.append(np.abs(once.astype(float) - image).mean() + np.abs(moved - points).mean())
    assert changes[0] > 0
    assert changes[-1] > changes[0]


@pytest.mark.parametrize("rule", CROP_RULES)
def test_a_crop_rule_gives_a_square_of_the_part_that_it_names(rule):
    crop = CROP_RULES[rule]()
    image = np.full((200, 300, 3), 90, np.uint8)
    points = np.random.default_rng(0).uniform([120, 60], [180, 140], (68, 2))
    assert crop(image, points, 48).shape == (48, 48, 3)
    left, top, right, bottom = crop.rectangle(points)
    middle = points.min(axis=0) / 2 + points.max(axis=0) / 2
    assert left < middle[0] < right
    assert top < middle[1] < bottom


@every("augment")
def test_an_augmentation_leaves_images_images_and_is_repeatable(choice):
    augment = build(chosen("augment", choice))
    assert isinstance(augment, Augment)
    image = np.random.default_rng(0).integers(256, size=(64, 64, 3), dtype=np.uint8)
    if augment.views is not None:
        views = [augment.views.draw(np.random.default_rng(1), np.random.default_rng(2)) for _ in range(2)]
        assert views[0] == views[1]
        assert views[0].scale <= augment.views.extent
    if augment.colours is not None:
        for seed in range(12):
            changed = augment.colours(image, seed)
            assert (changed.shape, changed.dtype) == (image.shape, np.uint8)
            assert np.array_equal(changed, augment.colours(image, seed))


@every("schedule")
def test_a_schedule_keeps_rates_above_zero_and_below_the_optimizers(choice):
    optimizer = torch.optim.AdamW([torch.nn.Parameter(torch.zeros(1))], lr=0.01)
    schedule = build(chosen("schedule", choice))(optimizer, 40, 10)
    rates = []
    for _ in range(40):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    assert min(rates) >= 0
    assert max(rates) == pytest.approx(0.01, rel=0.1)


@every("optimizer")
def test_an_optimizer_descends(choice):
    weight = torch.nn.Parameter(torch.tensor([3.0]))
    optimizer = build(chosen("optimizer", choice))([weight])
    for _ in range(5):
        optimizer.zero_grad()
        weight.square().sum().backward()
        optimizer.step()
    assert weight.abs() < 3


@every("callbacks")
def test_callbacks_are_lightnings(choice, tmp_path):
    config = composed("train", [f"callbacks={choice}", f"run_dir={tmp_path}"]).callbacks
    for name in config:
        assert isinstance(build(config[name]), pl.Callback), name
