"""What features know, what moves them, where a network looks: against answers that are known."""

import importlib.util
from dataclasses import fields, replace
from types import SimpleNamespace

import cv2
import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor, nn

from rankpose.data.crop_rules import RankPoseCrop
from rankpose.data.synthetic import traits
from rankpose.data.synthetic.rendering import BACKGROUND
from rankpose.data.synthetic.write import Settings, write_identity
from rankpose.errors import ConfigError, DatasetError
from rankpose.models import PoseNet, build_backbone
from rankpose.models.checkpoint import MadeFrom
from rankpose.pose import Euler
from rankpose.probing import factors, maps, pairs, probes
from rankpose.probing.factors import Factor, known_factors
from rankpose.probing.features import POOLED, POSE, floor, read_features, stages

PEOPLE, EACH = 40, 8
PERSON = np.repeat(np.arange(PEOPLE), EACH)


def draw(seed: int = 0) -> tuple[np.random.Generator, np.ndarray]:
    random = np.random.default_rng(seed)
    return random, random.normal(size=(PEOPLE * EACH, 3))


def score(features: np.ndarray, factor: Factor, **given: int) -> tuple[float, float, float]:
    answers, missing = probes.probe(features, [factor], PERSON, **given)
    assert not missing
    found = probes.scores(answers, 500, 0)[factor.name]
    return found.value, found.low, found.high


# What features know


def test_features_that_are_the_pose_know_it_and_nothing_of_the_light() -> None:
    random, pose = draw()
    light = Factor("light", "light", random.normal(size=(len(pose), 3)))
    kind = Factor("kind", "light", random.choice(["sun", "lamp", "flash"], len(pose)))
    assert score(pose, Factor("pose", "pose", pose))[0] == pytest.approx(1, abs=1e-4)
    for factor in (light, kind):
        value, low, _ = score(pose, factor)
        assert low <= 0.01, factor.name
        assert value < 0.05, factor.name


def test_features_that_are_a_class_tell_it() -> None:
    random, noise = draw()
    kinds = random.choice(["sun", "lamp", "flash"], len(noise))
    features = np.stack([kinds == name for name in ("sun", "lamp", "flash")], 1) + 0.01 * noise
    assert score(features, Factor("kind", "light", kinds))[0] == pytest.approx(1)


def test_random_features_give_chance_within_their_intervals() -> None:
    inside = []
    for seed in range(4):
        random, _ = draw(seed)
        features = random.normal(size=(PEOPLE * EACH, 30))
        asked = [
            Factor("number", "", random.normal(size=(PEOPLE * EACH, 1))),
            Factor("of a person", "", random.normal(size=(PEOPLE, 2))[PERSON]),
            Factor("class", "", random.choice(["a", "b", "c", "d"], PEOPLE * EACH)),
            Factor("class of a person", "", random.choice(["a", "b"], PEOPLE)[PERSON]),
            Factor(factors.IDENTITY, "", PERSON.astype(str)),
        ]
        answers, _ = probes.probe(features, asked, PERSON)
        found = probes.scores(answers, 1000, 0)
        inside += [one.low - 0.01 <= 0 <= one.high + 0.01 for one in found.values()]
        assert max(abs(one.value) for one in found.values()) < 0.2
    assert sum(inside) >= 18, "of 20 intervals of 95 %"


def test_a_probe_cannot_know_the_person_unless_that_is_the_question() -> None:
    random, _ = draw()
    own = random.normal(size=(PEOPLE, 25))
    features = own[PERSON] + 0.1 * random.normal(size=(PEOPLE * EACH, 25))
    skin = Factor("skin", "face", random.normal(size=(PEOPLE, 1))[PERSON])  # has nothing to do with the features
    assert score(features, skin)[0] < 0.1
    assert score(features, Factor(factors.IDENTITY, "identity", PERSON.astype(str)))[0] > 0.95


def test_differences_are_of_the_same_draws() -> None:
    random, pose = draw()
    wanted = [Factor("pose", "pose", pose)]
    same, worse = pose @ random.normal(size=(3, 3)), pose + random.normal(size=pose.shape)
    answers = [probes.probe(one, wanted, PERSON)[0] for one in (pose, same, worse)]
    alike = probes.differences(answers[0], answers[1], 500, 0)["pose"]
    assert abs(alike.value) < 1e-3
    apart = probes.differences(answers[0], answers[2], 500, 0)["pose"]
    assert apart.low > 0.2
    assert apart.p < 0.01


def test_the_same_seed_gives_the_same_answers() -> None:
    random, pose = draw()
    features = random.normal(size=(PEOPLE * EACH, 20)) + pose[:, :1]
    wanted = [Factor("pose", "pose", pose), Factor("kind", "", random.choice(["a", "b"], len(pose)))]
    one, other = (probes.probe(features, wanted, PERSON, seed=3)[0] for _ in range(2))
    assert all((one[name].good == other[name].good).all() for name in one)


def test_what_cannot_be_asked_for_is_said() -> None:
    _, pose = draw()
    with pytest.raises(DatasetError, match="3 people are too few for 5 folds, which need 10"):
        probes.probe(pose[:24], [Factor("pose", "", pose[:24])], PERSON[:24])
    rare = np.where(PERSON < 2, "hat", "none")
    asked = [Factor("hat", "", rare), Factor("fixed", "", np.ones((len(pose), 1)))]
    answers, missing = probes.probe(pose, asked, PERSON)
    assert not answers
    assert {one.name: one.reason for one in missing} == {
        "hat": "fewer than two classes that 5 people have",
        "fixed": "the same on all pictures",
    }
    single = np.arange(len(pose))
    with pytest.raises(DatasetError, match="a single picture"):
        probes.probe(pose, [Factor(factors.IDENTITY, "", single.astype(str))], single)


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> pd.DataFrame:
    folder = tmp_path_factory.mktemp("rows")
    settings = Settings({"test": 3}, images_per_identity=6, expressions_per_identity=2, seed=1)
    return pd.concat([write_identity(folder, settings, number).to_pandas() for number in range(3)], ignore_index=True)


def test_every_factor_of_the_issue_is_in_the_table(table: pd.DataFrame) -> None:
    pose = table[["yaw", "pitch", "roll"]].to_numpy()
    known = known_factors(pose, pd.factorize(table["identity"])[0], table)
    assert {factor.group for factor in known} == {"pose", "person", "light", "camera", "surroundings"}
    assert all(len(factor.values) == 18 for factor in known)
    assert all(np.isfinite(factor.values).all() for factor in known if not factor.is_class)
    assert len({factor.name for factor in known}) == len(known)
    assert [factor.name for factor in known_factors(pose, np.arange(18), None)] == ["yaw", "pitch", "roll", "identity"]


# What moves them


@pytest.fixture(scope="module")
def drawn() -> list[pairs.Pair]:
    return pairs.controlled_pairs(pairs.draw_heads(2, seed=4), seed=4)


def test_a_change_is_of_one_factor() -> None:
    (head,) = pairs.draw_heads(1, seed=4)
    own = {"expression": "expression", "shape of the face": "identity", "skin": "identity", "hair": "identity"}
    for name, change in pairs.CHANGES.items():
        other = change(head, np.random.default_rng(0))
        differ = {
            "pose": (head[1] != other[1]).any(),
            "expression": head[0].expression != other[0].expression,
            "identity": head[0].identity.factors() != other[0].identity.factors(),
            "scene": head[2] != other[2],
        }
        expected = "pose" if name in pairs.TURNS else own.get(name, "scene")
        assert [kind for kind, there in differ.items() if there] == [expected], name
    traits_of = {field.name for field in fields(traits.Identity)}
    for names in (pairs.SKIN, pairs.HAIR, pairs.SHAPE):
        assert set(names) <= traits_of
    assert not set(pairs.SKIN) & set(pairs.SHAPE) | set(pairs.HAIR) & set(pairs.SHAPE)


def test_pixels_outside_of_the_factor_are_equal(drawn: list[pairs.Pair]) -> None:
    assert len(drawn) == 2 * len(pairs.CHANGES)
    for pair in drawn:
        differ = (pair.first.image != pair.second.image).any(-1)
        assert differ.any(), pair.change
        head = (pair.first.parts != BACKGROUND) | (pair.second.parts != BACKGROUND)
        may = {"background": pair.first.parts == BACKGROUND}.get(pair.change, head)
        if pair.change not in ("white balance", "blur", "noise"):  # of the film: everywhere
            outside = cv2.dilate(may.astype(np.uint8), np.ones((9, 9))) == 0
            # behind a head a crack of its mesh may show, a pixel or two wide
            assert differ[outside].sum() <= (8 if pair.change == "background" else 0), pair.change
        if pair.change not in pairs.TURNS:
            assert pair.first.camera == pair.second.camera, pair.change


def test_five_degrees_are_five_degrees(drawn: list[pairs.Pair]) -> None:
    """Features that are the pose: a turn moves them by 5 degrees, and all else by nothing."""
    heads = pairs.draw_heads(3, seed=4)
    names, number, first, second = [], [], [], []
    for place, head in enumerate(heads):
        for name, change in pairs.CHANGES.items():
            names.append(name)
            number.append(place)
            first.append(head[1])
            second.append(change(head, np.random.default_rng(place))[1])
    pose = np.array(first), np.array(second)
    found = pairs.moved(names, np.array(number), pose, pose, resamples=100, seed=0)
    for name, moved in found.items():
        expected = 1 if name in pairs.TURNS else 0
        assert moved.features.value == pytest.approx(expected)
        assert moved.pose.value == pytest.approx(expected, abs=1e-4)
        assert moved.pose_deg.value == pytest.approx(pairs.STEP_DEG * expected, abs=1e-3)


def test_crops_of_a_pair_are_of_one_square(drawn: list[pairs.Pair]) -> None:
    first, second = pairs.crops_of([pair for pair in drawn if pair.change == "background"], RankPoseCrop(1.0), 48)
    assert first.shape == second.shape == (2, 3, 48, 48)
    middle = (slice(None), slice(None), slice(20, 28), slice(20, 28))  # on the face
    assert (first[middle] == second[middle]).all()


# Features


@pytest.mark.parametrize(
    ("name", "options", "expected"),
    [
        ("resnet10t", {"stem_type": "", "channels": [8, 16, 24, 32]}, ["act1", "layer1", "layer2", "layer3", "layer4"]),
        ("vit_tiny_patch16_224", {"img_size": 32, "depth": 8}, [f"blocks.{place}" for place in (0, 2, 4, 5, 7)]),
        ("convnext_atto", {}, [f"stages.{place}" for place in range(4)]),
    ],
)
def test_stages_are_named_by_the_backbone(name: str, options: dict, expected: list[str]) -> None:
    net = PoseNet(build_backbone(name, options=options), Euler).eval()
    assert list(stages(net.backbone)) == expected
    image = torch.randint(0, 256, (3, 3, 32, 32), dtype=torch.uint8)
    found = read_features(net, [image[:2], image[2:]])
    assert list(found) == [*expected, POOLED, POSE]
    assert all(len(one) == 3 for one in found.values())
    assert [found[stage].shape[1] for stage in expected] == list(stages(net.backbone).values())
    with torch.no_grad():
        np.testing.assert_allclose(found[POSE], net(image).pose.numpy(), rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(found[POOLED], net.backbone(normalised(net, image)).numpy(), rtol=1e-4, atol=1e-5)
    assert not net.backbone._forward_hooks


def normalised(net: PoseNet, image: Tensor) -> Tensor:
    return (image.float() / 255 - net.mean) / net.std


def test_a_backbone_without_stages_is_told() -> None:
    with pytest.raises(ConfigError, match="timm does not say which stages Linear has"):
        stages(nn.Linear(2, 2))


def test_floors_are_built_alike_and_know_nothing_of_the_network() -> None:
    made_from = MadeFrom({"name": "resnet10t", "options": {"channels": [8, 16, 24, 32]}}, {"choice": "euler"}, 32, 1.4)
    net = PoseNet(build_backbone("resnet10t", options={"channels": [8, 16, 24, 32]}), Euler).eval()
    one, other = (floor(net, made_from, "untrained", seed=2) for _ in range(2))
    assert one is not None
    assert other is not None
    state, again = one.state_dict(), other.state_dict()
    assert all((state[key] == again[key]).all() for key in state)
    assert any((state[key] != value).any() for key, value in net.state_dict().items())
    assert floor(net, made_from, "imagenet") is None


# Where a network looks


class LeftHalf(nn.Module):
    """All angles are the mean of the left half."""

    def __init__(self) -> None:
        super().__init__()
        self.stage = nn.Conv2d(3, 4, 3, padding=1, stride=2)
        nn.init.constant_(self.stage.weight, 0.01)
        self.backbone = nn.ModuleDict({"stage": self.stage})

    def forward(self, image: Tensor) -> SimpleNamespace:
        seen = self.stage(image.float())
        half = seen[..., : seen.shape[-1] // 2].mean((1, 2, 3))
        return SimpleNamespace(pose=torch.stack([half, 2 * half, -half], 1))


@pytest.fixture(scope="module")
def half_maps() -> dict[str, np.ndarray]:
    image = torch.randint(0, 256, (5, 3, 40, 40), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    net = LeftHalf()
    return maps.look(net, image, net.stage, batch_size=2)


@pytest.mark.parametrize("method", maps.METHODS)
def test_a_network_that_reads_the_left_half_has_its_map_there(half_maps: dict[str, np.ndarray], method: str) -> None:
    one = half_maps[method]
    assert one.shape == (5, 3, 40, 40)
    np.testing.assert_allclose(one.sum((2, 3)), 1, rtol=1e-4)
    if method != maps.GRAD_CAM:  # which says how strong a place is where the whole map is read
        assert one[..., :24].sum((2, 3)).min() > 0.99


def test_shares_are_of_places(half_maps: dict[str, np.ndarray]) -> None:
    left = np.zeros((5, 40, 40), bool)
    left[:, :, :24] = True
    found = maps.shares(half_maps[maps.GRADIENTS][:, 0], {"left": left, "all": left | True}, np.arange(5), 100, 0)
    assert found["left"][0].value > 0.99
    assert found["left"][1] == pytest.approx(0.6)
    assert found["all"][0].value == pytest.approx(1, abs=1e-5)


def test_places_are_near_landmarks_and_along_the_jaw() -> None:
    points = np.full((68, 2), 50.0)
    points[:17] = np.stack([np.linspace(20, 80, 17), np.full(17, 80.0)], 1)
    seen = maps.Seen(torch.zeros(1, 3, 100, 100, dtype=torch.uint8), np.zeros(1), np.zeros(1, int), points[None])
    found = maps.places(seen)
    assert set(found) == {"landmarks", "outline"}
    assert found["landmarks"][0, 50, 55]
    assert not found["landmarks"][0, 50, 58]
    assert found["outline"][0, 80, 50]
    assert not found["outline"][0, 50, 50]
    assert maps.places(replace(seen, landmarks=None)) == {}


def test_faces_are_brought_into_one_frame() -> None:
    random = np.random.default_rng(0)
    face = random.uniform(10, 50, (68, 2))
    turn = np.array([[np.cos(0.3), -np.sin(0.3)], [np.sin(0.3), np.cos(0.3)]])
    matrix = maps.fit(face @ (1.2 * turn).T + [3, -4], face)
    np.testing.assert_allclose(matrix[:, :2], turn.T / 1.2, atol=1e-9)
    # a bright spot at a landmark of each head comes to lie on one place
    heads = np.stack([face, face @ turn.T + [12, -6]])
    image = np.zeros((2, 64, 64), np.float32)
    for one, points in zip(image, heads, strict=True):
        x, y = np.rint(points[30]).astype(int)
        one[y - 1 : y + 2, x - 1 : x + 2] = 1
    seen = maps.Seen(torch.zeros(2, 3, 64, 64, dtype=torch.uint8), np.array([0.0, 5.0]), np.arange(2), heads)
    (bin_,) = maps.averaged(seen, {"one": np.repeat(image[:, None], 3, 1)})
    assert (bin_.bin, bin_.heads) == ("frontal", 2)
    y, x = np.unravel_index(bin_.maps["one"][0].argmax(), (64, 64))
    assert np.linalg.norm([x, y] - heads[:, 30].mean(0)) < 2
    assert bin_.maps["one"][0].max() > 0.7


def test_shuffled_weights_give_another_map() -> None:
    net = PoseNet(build_backbone("resnet10t", options={"channels": [8, 16, 24, 32], "stem_type": ""}), Euler).eval()
    image = torch.randint(0, 256, (3, 3, 32, 32), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    stage = maps.last_map(net, list(stages(net.backbone)), image)
    assert stage is not None
    other = maps.shuffled(net, seed=1)
    again = maps.shuffled(net, seed=1)
    for one, two, three in zip(net.parameters(), other.parameters(), again.parameters(), strict=True):
        np.testing.assert_allclose(one.detach().flatten().sort().values, two.detach().flatten().sort().values)
        assert (two == three).all()
    found = maps.look(net, image, stage)[maps.GRADIENTS]
    assert maps.likeness(found, found) == pytest.approx(1)
    assert maps.likeness(found, maps.look(other, image)[maps.GRADIENTS]) < 0.9
    assert maps.GRAD_CAM not in maps.look(other, image)


def test_captum_that_is_missing_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"needs captum and sklearn.* pip install 'rankpose\[probe\]'"):
        maps.look(LeftHalf(), torch.zeros(1, 3, 8, 8))
