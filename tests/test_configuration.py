"""Every choice composes and builds."""

from pathlib import Path

import pytest
import torch
from hydra import compose, initialize_config_dir

from rankpose.configuration import CONFIG_DIR, build, plain
from rankpose.errors import ConfigError
from rankpose.train import make_task

NOT_A_CHOICE = {"base"}


def choices(group):
    return sorted(path.stem for path in (Path(CONFIG_DIR) / group).glob("*.yaml") if path.stem not in NOT_A_CHOICE)


def composed(*overrides, name="train"):
    with initialize_config_dir(CONFIG_DIR, version_base="1.3"):
        return compose(name, [*overrides, "run_dir=RUN"] if name == "train" else list(overrides))


GROUPS = sorted(
    path.name for path in Path(CONFIG_DIR).iterdir() if path.is_dir() and path.name not in ("protocol", "predictor")
)


@pytest.mark.parametrize(("group", "choice"), [(group, choice) for group in GROUPS for choice in choices(group)])
def test_every_choice_composes_and_resolves(group, choice):
    plain(composed(f"{group}={choice}"))


@pytest.mark.parametrize("path", sorted(Path(CONFIG_DIR).rglob("*.yaml")), ids=lambda path: path.stem)
def test_every_file_opens_with_what_choosing_it_means(path):
    lines = [line for line in path.read_text().splitlines() if line != "# @package _global_"]
    assert lines[0].startswith("# ")
    assert lines[0].endswith((".", ":"))


@pytest.mark.parametrize("choice", choices("protocol"))
def test_every_protocol_builds(choice):
    protocol = build(composed(f"protocol={choice}", "protocol.root=nowhere", name="evaluate").protocol)
    assert protocol.name == choice
    with pytest.raises(Exception, match="nowhere"):
        protocol.records()


@pytest.mark.parametrize("choice", choices("backbone"))
def test_every_backbone_takes_a_training_step(choice):
    torch.manual_seed(0)
    config = composed(f"backbone={choice}", "backbone.pretrained=false")
    task = make_task(config)
    image = torch.randint(0, 256, (4, 3, config.image_size, config.image_size), dtype=torch.uint8)
    with torch.autocast("cpu", torch.bfloat16, enabled=config.trainer.precision == "bf16-mixed"):
        pose = task(image).pose
        terms = task.loss(pose, torch.randn(4, 3) * 20, torch.tensor([0, 0, 1, 1]))
    terms["loss"].backward()
    # a backbone may have a layer whose gradient is exactly zero on so few images, none may have a broken one
    gradients = [p.grad for p in task.net.parameters() if p.grad is not None]
    assert gradients
    assert all(torch.isfinite(gradient).all() for gradient in gradients)


@pytest.mark.parametrize("group", ["representation", "loss", "optimizer", "schedule", "augment", "callbacks"])
def test_every_choice_builds(group):
    for choice in choices(group):
        assert build(composed(f"{group}={choice}")[group]) is not None


def test_paper_experiment_is_the_published_set_up():
    config = composed("experiment=paper")
    assert config.backbone.name == "resnet50"
    assert config.backbone.pretrained
    assert config.image_size == 224
    data = config.data
    assert (data.identities_per_batch, data.images_per_identity, data.draws_per_identity) == (64, 2, 5)
    assert config.optimizer._target_ == "torch.optim.Adam"
    assert config.optimizer.lr == 1e-3
    assert (config.trainer.max_epochs, config.trainer.check_val_every_n_epoch) == (80, 5)
    assert config.loss.weight == 1
    assert config.loss.unit == "degrees"


def test_a_key_that_its_target_does_not_take_is_named():
    with pytest.raises(ConfigError, match="colour"):
        build(composed("+loss.colour=red").loss)
