"""Other methods' representations and losses: their equations, and that they can be learnt at every pose."""

import math
import subprocess
import sys

import pandas as pd
import pytest
import roma
import torch
from commands import PROJECT, run, succeed, train
from hypothesis import given
from hypothesis import strategies as st

import benchmarks.rivals
from rankpose.errors import CheckpointError, ConfigError
from rankpose.losses import MAE, BinsAndMSE, FisherNLL, Geodesic, OrdinalQuaternion, OrthogonalAxes, RankMSE
from rankpose.models import FSANet, PoseNet, build_backbone
from rankpose.models.checkpoint import MadeFrom
from rankpose.models.fsanet import Capsules
from rankpose.pose import (
    AxisVectors,
    Bins,
    MatrixFisher,
    OrdinalQuaternions,
    PoseOutput,
    SixNumbers,
    StagedRegression,
    euler_to_rotmat,
    rotmat_to_euler,
)
from rankpose.pose.conventions import nearest_rotation, nearest_rotation_by_sums
from rankpose.pose.rivals import angles_of, expected_error, log_normaliser
from rankpose.predictors.export import export_onnx

REPRESENTATIONS = {
    "bins": Bins,
    "six_numbers": SixNumbers,
    "axis_vectors": AxisVectors,
    "ordinal_quaternions": OrdinalQuaternions,
    "matrix_fisher": MatrixFisher,
    "staged_regression": StagedRegression,
}
LOSSES = {
    Bins: BinsAndMSE,
    SixNumbers: Geodesic,
    AxisVectors: OrthogonalAxes,
    OrdinalQuaternions: OrdinalQuaternion,
    MatrixFisher: FisherNLL,
    StagedRegression: MAE,
}
angles = st.tuples(st.floats(-89, 89), st.floats(-179, 179), st.floats(-179, 179))
everyone = torch.arange(1)


@given(angles)
def test_angles_are_those_of_the_rotation(pose):
    rotation = euler_to_rotmat(torch.tensor([pose], dtype=torch.float64))
    assert torch.allclose(angles_of(rotation), rotmat_to_euler(rotation), atol=1e-6)


@pytest.mark.parametrize("yaw", [90.0, -90.0, 89.99, 45.0])
@pytest.mark.parametrize("kind", REPRESENTATIONS.values(), ids=REPRESENTATIONS)
def test_every_pose_can_be_learnt_at_gimbal_lock_too(kind, yaw):
    true = torch.tensor([[yaw, 10.0, -20.0], [yaw, -3.0, 5.0]], dtype=torch.float32)
    representation = kind(12)
    raw = representation.from_pose(true + torch.tensor([[0.0, 0.0, 0.0], [1.0, 2.0, 3.0]])).requires_grad_()
    output = representation.output(raw)
    for loss in (LOSSES[kind](), RankMSE()):
        (gradient,) = torch.autograd.grad(
            loss(output, true, torch.zeros(2, dtype=torch.long))["loss"], raw, retain_graph=True
        )
        assert torch.isfinite(gradient).all()


def test_gradients_are_those_of_finite_differences():
    raw = torch.randn(4, 9, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).requires_grad_()
    assert torch.autograd.gradcheck(
        lambda numbers: angles_of(roma.special_procrustes(numbers.unflatten(-1, (3, 3)))), raw
    )
    assert torch.autograd.gradcheck(lambda numbers: log_normaliser(3 * numbers.unflatten(-1, (3, 3))), raw)


def test_hopenets_loss_is_cross_entropy_and_the_square_of_the_expectation():
    scores = torch.randn(5, 3, 66)
    pose = torch.tensor([[-98.0, 0.0, 95.0]]).repeat(5, 1)
    share = scores.softmax(dim=-1)
    expectation = (share * (-99 + 3 * torch.arange(66.0))).sum(dim=-1)
    # -98 lies in the first bin, 0 in number 33, 95 in number 64
    entropy = -(share[:, 0, 0].log() + share[:, 1, 33].log() + share[:, 2, 64].log()).mean()
    mse = (expectation - pose).square().sum(dim=1).mean()
    said = Bins(8).output(scores.flatten(1))
    terms = BinsAndMSE(alpha=0.5)(said, pose, torch.arange(5))
    assert torch.isclose(terms["loss"], entropy + 0.5 * mse, rtol=1e-5)


@given(angles, angles)
def test_the_geodesic_loss_is_the_angle_of_the_rotation_between(one, other):
    poses = torch.tensor([one, other], dtype=torch.float32)
    rotations = euler_to_rotmat(poses)
    angle = roma.rotmat_geodesic_distance(rotations[:1], rotations[1:])[0]
    said = SixNumbers(8).output(SixNumbers(8).from_pose(poses[:1]))
    loss = Geodesic()(said, poses[1:], everyone)["loss"]
    assert abs(loss - angle) < 2e-2 if angle < 3.0 else loss > 2.9
    without = Geodesic()(PoseOutput(poses[:1], poses[:1]), poses[1:], everyone)["loss"]
    assert torch.isclose(loss, without, atol=1e-3)


def test_trinets_loss_pulls_vectors_to_axes_and_to_right_angles():
    pose = torch.tensor([[20.0, -10.0, 5.0]])
    axes = euler_to_rotmat(pose)[0].T
    wrong = axes + torch.tensor([[0.1, 0.0, 0.0], [0.0, 0.0, 0.2], [0.0, 0.0, 0.0]])
    products = [float(wrong[i] @ wrong[j]) ** 2 for i, j in ((0, 1), (0, 2), (1, 2))]
    terms = OrthogonalAxes(weight=0.3)(AxisVectors(8).output(wrong.flatten()[None]), pose, everyone)
    assert float(terms["loss"]) == pytest.approx(0.05 + 0.3 * sum(products), rel=1e-4)


def test_quatnets_loss_knows_no_difference_between_a_quaternion_and_its_opposite():
    pose = torch.tensor([[20.0, -10.0, 5.0]])
    raw = OrdinalQuaternions(8).from_pose(pose)
    other = torch.cat([-3 * raw[:, :4], raw[:, 4:]], dim=1)
    for numbers in (raw, other):
        terms = OrdinalQuaternion()(OrdinalQuaternions(8).output(numbers), pose, everyone)
        assert float(terms["loss"]) == pytest.approx(0, abs=1e-5)
    above = OrdinalQuaternions.above(pose)[0].sum(dim=1)
    # thresholds at -96, -93, ...: those below 20, -10 and 5
    assert above.tolist() == [39, 29, 34]


def test_fishers_normaliser_is_the_mean_over_all_rotations():
    random = roma.random_rotmat(400_000, dtype=torch.float64)
    for singular in ([1.0, 0.5, 0.2], [2.0, 1.0, -0.5], [3.0, 3.0, 3.0], [0.0, 0.0, 0.0]):
        turn, other = roma.random_rotmat(2, dtype=torch.float64)
        matrix = turn @ torch.diag(torch.tensor(singular, dtype=torch.float64)) @ other.T
        mean = (matrix * random).sum(dim=(1, 2)).exp().mean().log()
        assert float(log_normaliser(matrix[None])[0]) == pytest.approx(float(mean), abs=0.05)
    # and is a number where a network is very sure
    sure = torch.diag(torch.tensor([4e3, 3e3, 2e3], dtype=torch.float64))[None]
    # the asymptote of large singular values: c ~ exp(s1 + s2 + s3) / sqrt(8 pi (s1 + s2) (s1 + s3) (s2 + s3))
    asymptote = 9e3 - 0.5 * math.log(8 * math.pi * 7e3 * 6e3 * 5e3)
    assert float(log_normaliser(sure)[0]) == pytest.approx(asymptote, abs=0.01)


def test_who_is_surer_expects_a_smaller_error_and_means_it():
    pose = torch.tensor([[20.0, -10.0, 5.0]])
    raw = MatrixFisher(8).from_pose(pose)
    expected = [float(expected_error(scale * raw)[0]) for scale in (2.0, 10.0, 100.0)]
    assert expected == sorted(expected, reverse=True)
    # 10 I: sampled by weighting random rotations with their density
    random = roma.random_rotmat(400_000, dtype=torch.float64)
    trace = random.diagonal(dim1=1, dim2=2).sum(dim=1)
    density = (10 * trace).exp()
    cosine = ((trace - 1) / 2 * density).sum() / density.sum()
    assert expected[1] == pytest.approx(math.degrees(math.acos(float(cosine))), rel=0.05)


@pytest.mark.parametrize("kind", REPRESENTATIONS.values(), ids=REPRESENTATIONS)
def test_ranking_comes_on_top_of_every_loss_with_its_share_of_the_pull(kind):
    pose = torch.tensor([[20.0, -10.0, 5.0], [-15.0, 12.0, 0.0]])
    identity = torch.zeros(2, dtype=torch.long)
    representation = kind(12)
    raw = (representation.from_pose(pose.flip(0)) + 0.01).requires_grad_()  # in the wrong order
    own, ranked = LOSSES[kind](), LOSSES[kind](share=0.5)
    assert (own.needs_pairs, ranked.needs_pairs) == (False, True)
    without, terms = (loss(representation.output(raw), pose, identity) for loss in (own, ranked))
    assert float(terms["gradient_ratio"]) == pytest.approx(0.5, rel=1e-4)
    assert terms["loss"].item() == pytest.approx((without["loss"] + terms["weight"] * terms["rank"]).item(), rel=1e-5)
    (pull,) = torch.autograd.grad(terms["loss"] - without["loss"], raw, retain_graph=True)
    (loss_pull,) = torch.autograd.grad(without["loss"], raw)
    assert float(pull.norm() / loss_pull.norm()) == pytest.approx(0.5, rel=1e-2)
    # people apart, and validation without a gradient: no order, no error
    apart = ranked(representation.output(raw.detach()), pose, torch.arange(2))
    assert float(apart["rank"]) == 0


def test_staged_regression_adds_ever_finer_stages():
    random = torch.Generator().manual_seed(0)
    raw = torch.randn(5, 3, 3, 5, generator=random)
    said = StagedRegression(12).to_pose(raw)
    for n in range(5):
        for angle in range(3):
            whole, width = 0.0, 1.0
            for p0, p1, p2, eta, delta in raw[n, angle].tolist():
                shares = [math.exp(p) / sum(map(math.exp, (p0, p1, p2))) for p in (p0, p1, p2)]
                width *= 3 * (1 + math.tanh(delta) / 2)
                whole += sum(p * (i - 1 + math.tanh(eta)) for i, p in enumerate(shares)) / width
            assert float(said[n, angle]) == pytest.approx(99 * whole, rel=1e-4)


def test_a_stage_reads_its_own_part_of_the_features():
    features = torch.randn(1, 48, requires_grad=True)
    raw = StagedRegression(48)(features).raw
    for stage in range(3):
        # 8 numbers say the distribution, 4 the shift, 4 the scale
        for numbers, there in (
            (raw[..., stage, :3], (0, 8)),
            (raw[..., stage, 3], (8, 12)),
            (raw[..., stage, 4], (12, 16)),
        ):
            (gradient,) = torch.autograd.grad(numbers.sum(), features, retain_graph=True)
            (seen,) = gradient[0].nonzero(as_tuple=True)
            assert seen.tolist() == [16 * stage + place for place in range(*there)]


def test_capsules_agree_by_routing():
    capsules = Capsules(inputs=4, width=5, capsules=3, size=2)
    features = torch.randn(2, 4, 5)

    def squash(s):
        return s.norm() ** 2 / (1 + s.norm() ** 2) * s / s.norm()

    for features_one, said in zip(features, capsules(features), strict=True):
        votes = [[capsules.weight[j, i] @ features_one[i] for i in range(4)] for j in range(3)]
        first = [squash(sum(votes[j][i] / 3 for i in range(4))) for j in range(3)]
        agree = torch.stack([torch.stack([votes[j][i] @ first[j] for i in range(4)]) for j in range(3)]).softmax(dim=0)
        for j in range(3):
            assert torch.allclose(said[j], squash(sum(agree[j, i] * votes[j][i] for i in range(4))), atol=1e-5)
    # nothing seen, nothing said, and a gradient that is a number
    nothing = torch.zeros(1, 4, 5, requires_grad=True)
    capsules(nothing).sum().backward()
    assert torch.isfinite(nothing.grad).all()


def test_fsanet_is_as_small_as_published():
    """Its three scorings, which the paper takes the mean of, have about 1.2 million weights."""
    count = {
        scoring: sum(weight.numel() for weight in PoseNet(FSANet(scoring), StagedRegression).parameters())
        for scoring in ("1x1", "var", "uniform")
    }
    assert sum(count.values()) == pytest.approx(1.2e6, rel=0.1)
    # a score by 64 weights and a bias is all that tells these apart
    assert count["1x1"] - count["var"] == 65
    with pytest.raises(ConfigError, match=r"scoring=3x3: must be one of 1x1, var, uniform"):
        build_backbone("fsanet", options={"scoring": "3x3"})
    with pytest.raises(ConfigError, match="no ImageNet weights"):
        build_backbone("fsanet", pretrained=True)
    with pytest.raises(ConfigError, match=r"trunk=resnet: timm has no such model"):
        build_backbone("fsanet", options={"trunk": "resnet"})


@pytest.mark.parametrize(
    ("scoring", "trunk"), [("1x1", None), ("var", None), ("uniform", None), ("1x1", "resnet10t"), ("var", "resnet10t")]
)
def test_fsanet_learns_and_weighs_places(scoring, trunk):
    torch.manual_seed(0)
    options = {} if trunk is None else {"trunk": trunk, "trunk_options": {"channels": (8, 8, 8, 8)}}
    net = PoseNet(build_backbone("fsanet", options={"scoring": scoring, **options}), StagedRegression)
    images = torch.randint(0, 256, (4, 3, 8, 8), dtype=torch.uint8).repeat_interleave(8, -1).repeat_interleave(8, -2)
    pose = 60 * (torch.rand(4, 3) - 0.5)
    optimizer = torch.optim.Adam(net.parameters(), 1e-2)
    losses = []
    for _ in range(25):
        loss = MAE()(net(images), pose, everyone)["loss"]
        optimizer.zero_grad()
        loss.backward()
        assert all(torch.isfinite(weight.grad).all() for weight in net.parameters())
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0] / 2
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.isfinite(net(images).pose).all()


def small_net(kind):
    backbone = build_backbone("resnet10t", options={"channels": (8, 8, 8, 8)})
    return PoseNet(backbone, kind).eval()


@pytest.mark.slow
@pytest.mark.parametrize(
    "choice", ["bins", "six_numbers", "ordinal_quaternions", "axis_vectors", "matrix_fisher", "fsanet"]
)
def test_networks_become_onnx_files_that_say_the_same(choice, tmp_path):
    torch.manual_seed(0)
    made_from = MadeFrom({"name": "resnet10t", "options": {"channels": (8, 8, 8, 8)}}, {"choice": choice}, 32, 1.4)
    if choice == "fsanet":
        made_from = MadeFrom({"name": "fsanet", "options": {}}, {"choice": "staged_regression"}, 64, 1.4)
        net = PoseNet(build_backbone("fsanet", options={}), StagedRegression).eval()
    else:
        net = small_net(REPRESENTATIONS[choice])
        with torch.no_grad():  # away from the zero pose, and from a rotation
            net.representation.linear.bias.add_(torch.randn_like(net.representation.linear.bias) * 0.2)
    # it compares the file's poses with the network's
    assert export_onnx(net, made_from, tmp_path / "net.onnx") < 1e-3


class BySingularValues(MatrixFisher):
    def to_rotmat(self, raw):
        return torch.linalg.svdvals(raw.unflatten(-1, (3, 3)))[..., None] * torch.eye(3)


def test_a_network_that_cannot_become_an_onnx_file_is_refused_in_a_line(tmp_path):
    made_from = MadeFrom({"name": "resnet10t", "options": {"channels": (8, 8, 8, 8)}}, {"choice": "own"}, 32, 1.4)
    with pytest.raises(CheckpointError, match=r"backbone resnet10t: cannot be exported \("):
        export_onnx(small_net(BySingularValues), made_from, tmp_path / "net.onnx")
    assert not list(tmp_path.iterdir())


def properly_singular(matrix):
    """The singular values of the rotation's part: the smallest is negative for a reflection."""
    first, second, third = torch.linalg.svdvals(matrix).unbind(-1)
    return first, second, third * torch.det(matrix).sign()


@given(st.integers(0, 2**32 - 1), st.floats(1e-6, 1e6), st.booleans())
def test_the_nearest_rotation_by_sums_is_that_of_singular_values(seed, scale, flat):
    matrix = torch.randn(32, 3, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)) * scale
    if flat:  # of rank two: the rotation is as unique as that of any other
        matrix[..., 2] = matrix[..., 0] - 2 * matrix[..., 1]
    first, second, third = properly_singular(matrix)
    unique = (second + third) / first > 1e-2  # at 0 there are many that are as near
    nearest = nearest_rotation_by_sums(matrix)[unique]
    assert torch.allclose(nearest, nearest_rotation(matrix)[unique], atol=1e-8)
    assert torch.allclose(nearest.mT @ nearest, torch.eye(3, dtype=torch.float64).expand_as(nearest), atol=1e-8)


def test_the_nearest_rotation_by_sums_is_finite_where_there_is_none():
    hopeless = torch.stack([torch.zeros(3, 3), -torch.eye(3), torch.diag(torch.tensor([1.0, 0.0, 0.0]))])
    assert nearest_rotation_by_sums(hopeless).isfinite().all()
    reflection = torch.diag(torch.tensor([3.0, 2.0, -1.0]))
    assert torch.allclose(nearest_rotation_by_sums(reflection), torch.eye(3), atol=1e-6)


@pytest.mark.long
@pytest.mark.slow
@pytest.mark.parametrize("experiment", ["hopenet", "6drepnet", "trinet", "quatnet", "matrix_fisher"])
def test_a_method_is_trained_by_its_name(experiment, small_set, tmp_path):
    small = [f"experiment={experiment}", "trainer.max_epochs=1", "hydra.run.dir=run"]
    succeed(train(small_set, *small, cwd=tmp_path))
    assert (tmp_path / "run" / "metrics.json").is_file()
    predictions = pd.read_parquet(tmp_path / "run" / "predictions.parquet")
    sure = experiment == "matrix_fisher"
    assert ("expected" in predictions) == sure
    assert ("How sure, and how right" in (tmp_path / "run" / "report.html").read_text()) == sure
    if sure:
        assert predictions["expected"].between(0, 180).all()
        assert predictions["expected"].nunique() > 1


@pytest.mark.long
@pytest.mark.slow
def test_the_rivals_are_swept_and_compared_with_and_without_ranking(small_set, tmp_path, monkeypatch, capsys):
    small = ["hydra.sweeper.only=[quatnet]", "seed=0", "trainer.max_epochs=1", "hydra.sweep.dir=sweep"]
    succeed(train(small_set, "-m", "experiment=rivals", *small, cwd=tmp_path))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["rivals", "sweep", "--steps", "1", "--size", "32", "--batch", "4"])
    benchmarks.rivals.main()
    told = capsys.readouterr().out
    assert "| loss.share | seeds |" in told
    assert "Differences are to loss.share=0." in told
    assert "| method | weights | ms a step |" in told
    assert (tmp_path / "sweep" / "comparison" / "report.html").is_file()


@pytest.mark.slow
def test_a_loss_refuses_the_output_of_another_representation(small_set, tmp_path):
    refused = train(small_set, "loss=bins_and_mse", cwd=tmp_path)
    assert refused.returncode == 1
    assert (
        "error: loss: BinsAndMSE looks at the raw output of Bins, this network's is VectorProjection" in refused.stderr
    )
    assert run("train", "experiment=hopenet", "--cfg", "job", cwd=tmp_path).returncode == 0


AFTER_INFERENCE = """
import torch
from rankpose.pose.conventions import nearest_rotation
with torch.inference_mode():
    nearest_rotation(torch.eye(3) + 0.1)
matrix = torch.randn(4, 3, 3, requires_grad=True)
nearest_rotation(matrix).square()[:, 0].sum().backward()
assert matrix.grad.isfinite().all()
"""


def test_a_rotation_can_be_derived_after_the_first_was_only_asked_for():
    """In a process of its own: what the first call leaves stays."""
    subprocess.run([sys.executable, "-c", AFTER_INFERENCE], cwd=PROJECT, check=True, timeout=600)
