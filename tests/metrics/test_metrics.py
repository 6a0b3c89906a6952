"""Properties of the metrics."""

import math

import numpy as np
import pytest
import roma
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation
from scipy.stats import spearmanr

from rankpose.losses import same_identity_pairs
from rankpose.metrics import (
    PoseScores,
    aligned,
    alignment,
    angle_error,
    axis_error,
    cumulative_share,
    evaluation_scores,
    geodesic_error,
    identity_totals,
    image_scores,
    pair_counts,
    pair_order,
    pose_scores,
    rotation_angle,
    scores,
    spearman,
)
from rankpose.pose import euler_to_rotmat, rotmat_to_euler, turn_pose


def random_poses(count, seed=0):
    return (torch.rand(count, 3, generator=torch.Generator().manual_seed(seed)) - 0.5) * 160


def turn(axis, angle_deg):
    """The rotation about an axis."""
    axis = torch.tensor(axis, dtype=torch.float64)
    return roma.rotvec_to_rotmat(math.radians(angle_deg) * axis / axis.norm())


def turned_left(poses, rotation):
    return rotmat_to_euler(rotation @ euler_to_rotmat(poses.double()))


def turned_right(poses, rotation):
    return rotmat_to_euler(euler_to_rotmat(poses.double()) @ rotation)


def noisy(poses, spread=4.0, seed=9):
    return poses + spread * torch.randn(poses.shape, generator=torch.Generator().manual_seed(seed), dtype=poses.dtype)


def test_errors_wrap_around():
    assert angle_error(torch.tensor([[179.0, -179.0, 0.0]]), torch.tensor([[-179.0, 179.0, 360.0]])).tolist() == [
        [2.0, 2.0, 0.0]
    ]


def test_geodesic_error_is_scipys():
    first, second = random_poses(50, 1), random_poses(50, 2)

    def rotation(pose):
        yaw, pitch, roll = pose.double().numpy().T
        return Rotation.from_euler("XYZ", np.stack([-pitch, -yaw, -roll], 1), degrees=True)

    expected = np.degrees((rotation(first).inv() * rotation(second)).magnitude())
    assert np.allclose(geodesic_error(first, second).numpy(), expected, atol=1e-3)


def test_turning_the_image_is_a_geodesic_error_of_the_turn():
    poses = random_poses(20).double()
    assert torch.allclose(geodesic_error(turn_pose(poses, 5.0), poses), torch.full((20,), 5.0).double(), atol=1e-4)


def test_pair_order_counts_pairs_by_hand():
    target = torch.tensor([[0.0, 0, 0], [10, 10, 0], [5, 5, 5]])
    prediction = torch.tensor([[0.0, 3, 0], [1, 2, 0], [9, 9, 9]])
    # pairs of identity 0 are images 0 and 1: yaw right, pitch wrong, roll equal; image 2 is alone
    assert pair_order(prediction, target, torch.tensor([0, 0, 1])) == pytest.approx(0.5)


def test_no_pair_has_no_order():
    assert math.isnan(pair_order(torch.zeros(2, 3), torch.ones(2, 3), torch.tensor([0, 1])))


def test_scores_do_not_depend_on_batches_repeats_or_order():
    prediction, target, identity = random_poses(30, 1), random_poses(30, 2), torch.arange(30) // 3
    expected = pose_scores(prediction, target, identity)
    metric = PoseScores()
    for rows in (torch.arange(20, 30), torch.arange(0, 12), torch.tensor([5, 5, 3]), torch.arange(12, 20)):
        metric.update(rows, prediction[rows], target[rows], identity[rows])
    for name, value in metric.compute().items():
        assert value == pytest.approx(float(expected[name]), rel=1e-6), name
    assert metric.table()["index"].tolist() == list(range(30))


def test_axes_are_the_heads_left_crown_and_face():
    """At yaw 90 the face looks along the image's x axis to the left, and the crown stays up."""
    assert torch.allclose(
        euler_to_rotmat(torch.tensor([90.0, 0.0, 0.0])),
        torch.tensor([[0.0, 0, -1], [0, 1, 0], [1, 0, 0]]),
        atol=1e-6,
    )
    # a turn about one of them leaves it where it is and turns the two others by its whole angle
    for angle, errors in enumerate([[20.0, 0, 20], [0.0, 20, 20], [20.0, 20, 0]]):
        pose = 20.0 * torch.eye(3).double()[angle : angle + 1]
        assert axis_error(pose, torch.zeros_like(pose))[0].tolist() == pytest.approx(errors, abs=1e-9)


@pytest.mark.parametrize("angle", [1e-6, 0.01, 90.0, 179.99, 180.0])
def test_axis_error_keeps_its_digits_at_both_ends(angle):
    prediction = torch.tensor([[angle, 0.0, 0.0]], dtype=torch.float64)
    found = axis_error(prediction, torch.zeros(1, 3).double())[0].tolist()
    assert found == pytest.approx([angle, 0, angle], rel=1e-9, abs=1e-12)


def test_axis_error_is_the_angle_between_columns():
    prediction, target = random_poses(40, 1).double(), random_poses(40, 2).double()
    cosine = (euler_to_rotmat(prediction) * euler_to_rotmat(target)).sum(dim=1)
    assert torch.allclose(axis_error(prediction, target), torch.rad2deg(torch.arccos(cosine)), atol=1e-6)


def test_an_axis_never_errs_more_than_the_whole_head():
    prediction, target = random_poses(100, 1).double(), random_poses(100, 2).double()
    assert (axis_error(prediction, target) <= geodesic_error(prediction, target)[:, None] + 1e-9).all()


def test_turning_the_camera_changes_no_error_of_rotations():
    prediction, target = random_poses(50, 1).double(), random_poses(50, 2).double()
    rotation = turn([1.0, 2, 3], 70)
    both = turned_left(prediction, rotation), turned_left(target, rotation)
    assert torch.allclose(geodesic_error(*both), geodesic_error(prediction, target), atol=1e-6)
    assert torch.allclose(axis_error(*both), axis_error(prediction, target), atol=1e-6)


def test_cumulative_share_by_hand():
    error = torch.tensor([1.0, 5.0, 5.1, 40.0])
    assert cumulative_share(error, torch.tensor([0.0, 1.0, 5.0, 30.0, 40.0])).tolist() == [0, 0.25, 0.5, 0.75, 1]


def test_area_is_that_under_the_cumulative_curve():
    prediction, target = random_poses(60, 1).double(), random_poses(60, 1).double() + random_poses(60, 2).double() / 4
    limits = torch.linspace(0, 30, 30001, dtype=torch.float64)
    curve = cumulative_share(geodesic_error(prediction, target), limits)
    found = scores(prediction, target, torch.arange(60))
    assert found["auc_30"] == pytest.approx(float(torch.trapezoid(curve, limits)) / 30, abs=1e-4)
    assert 0 < found["auc_30"] < 1
    for limit in (5, 10, 15):
        assert found[f"within_{limit}"] == pytest.approx(float(curve[1000 * limit]))


def test_pairs_by_gap_by_hand():
    target = torch.tensor([[0.0, 0, 0], [5, 0, 0], [45, 3, 0]])
    prediction = torch.tensor([[0.0, 1, 0], [5, 2, 1], [4, 3, 2]])
    counts = pair_counts(prediction, target, torch.tensor([7, 7, 7]))
    # yaw: 0 before 5 right (gap 5), 0 before 45 right, 5 before 45 wrong (gap 40 belongs to the last bin)
    assert counts.ordered[0, 0].tolist() == [0, 1, 0, 0, 2]
    assert counts.right[0, 0].tolist() == [0, 1, 0, 0, 1]
    # pitch: the first two labels are equal and do not count; roll: no two differ
    assert counts.ordered[0, 1].tolist() == counts.right[0, 1].tolist() == [2, 0, 0, 0, 0]
    assert counts.ordered[0, 2].sum() == 0


def test_pair_counts_are_those_of_all_pairs():
    rows = torch.Generator().manual_seed(3)
    identity = torch.randint(5, (60,), generator=rows) * 3 - 4
    target = torch.randint(-30, 30, (60, 3), generator=rows).float()
    prediction = (target + torch.randint(-20, 20, (60, 3), generator=rows)).float()
    first, second = same_identity_pairs(identity)
    order, predicted = (torch.sign(x[first] - x[second]) for x in (target, prediction))
    gap = (target[first] - target[second]).abs()
    counts = pair_counts(prediction, target, identity)
    for k, name in enumerate(identity.unique().tolist()):
        mine = identity[first] == name
        for b, (low, high) in enumerate([(0, 5), (5, 10), (10, 20), (20, 40), (40, math.inf)]):
            inside = mine[:, None] & (order != 0) & (gap >= low) & (gap < high)
            assert counts.ordered[k, :, b].tolist() == inside.sum(dim=0).tolist()
            assert counts.right[k, :, b].tolist() == (inside & (predicted == order)).sum(dim=0).tolist()


def test_pair_order_scores_share_their_pairs():
    target, identity = random_poses(600, 1), torch.arange(600) // 6
    found = scores(noisy(target, 20), target, identity)
    assert found["pair_order"] == pytest.approx(float(pair_order(noisy(target, 20), target, identity)))
    assert found["pair_order_0_5"] < found["pair_order_10_20"] < found["pair_order_40_up"]
    # no labels tie, so that each angle has as many pairs as another
    assert found["pair_order"] == pytest.approx(np.mean([found[f"{k}_pair_order"] for k in ("yaw", "pitch", "roll")]))


def test_equal_predictions_are_no_order():
    target = random_poses(10)
    assert pair_order(torch.zeros(10, 3), target, torch.zeros(10, dtype=torch.long)) == 0
    found = scores(torch.zeros(10, 3), target, torch.zeros(10, dtype=torch.long))
    assert found["spearman"] == 0
    assert found["yaw_pair_order"] == 0


def test_order_survives_any_growing_map():
    target, identity = random_poses(40), torch.arange(40) // 8
    found = scores(target**3 / 1000 + 7, target, identity)
    assert found["pair_order"] == found["spearman"] == 1
    opposite = scores(-target, target, identity)
    assert opposite["pair_order"] == 0
    assert opposite["spearman"] == -1


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 8))
def test_spearman_is_scipys_with_ties(seed, levels):
    rows = torch.Generator().manual_seed(seed)
    identity = torch.randint(6, (50,), generator=rows)
    target, prediction = (torch.randint(levels + extra, (50, 3), generator=rows).float() for extra in (0, 1))
    found = spearman(prediction, target, identity)
    for k, name in enumerate(identity.unique().tolist()):
        for angle in range(3):
            true, guess = target[identity == name, angle].numpy(), prediction[identity == name, angle].numpy()
            if len(true) < 3 or len(set(true)) == 1:
                assert math.isnan(found[k, angle])
            elif len(set(guess)) == 1:
                assert found[k, angle] == 0
            else:
                assert float(found[k, angle]) == pytest.approx(spearmanr(true, guess).statistic, abs=1e-12)


def test_spearman_is_averaged_over_those_who_have_one():
    target = torch.tensor([[1.0, 0, 0], [2, 0, 0], [3, 0, 0], [1, 0, 0], [2, 0, 0], [3, 0, 0], [1, 9, 9], [2, 8, 8]])
    prediction = target.clone()
    prediction[3:6, 0] = torch.tensor([3.0, 2, 1])
    found = scores(prediction, target, torch.tensor([0, 0, 0, 1, 1, 1, 2, 2]))
    assert found["yaw_spearman"] == found["spearman"] == 0  # 1 and -1; a pair of images and equal labels have none
    assert math.isnan(found["pitch_spearman"])


def test_a_constant_turn_of_the_camera_is_an_error_as_it_is_and_none_aligned():
    target = random_poses(200).double()
    rotation = turn([1.0, -2, 0.5], 5)
    found = evaluation_scores(turned_left(target, rotation), target, torch.arange(200) // 4)
    assert found["geodesic"] == pytest.approx(5, abs=1e-6)
    assert found["geodesic_median"] == pytest.approx(5, abs=1e-6)
    for name in ("geodesic", "geodesic_median", "mae", "maev"):
        assert found[f"aligned_{name}"] == pytest.approx(0, abs=1e-6), name
    assert found["aligned_auc_30"] == pytest.approx(1, abs=1e-6)
    assert found["alignment"] == pytest.approx(5, abs=1e-6)
    angles = torch.tensor([found[f"alignment_{name}"] for name in ("yaw", "pitch", "roll")]).double()
    assert torch.allclose(euler_to_rotmat(angles), rotation, atol=1e-6)


def test_another_zero_head_is_taken_out_only_where_heads_look_one_way():
    rotation = turn([1.0, 0, 0], 5)

    def left_over(target):
        prediction = turned_right(target, rotation)
        assert torch.allclose(geodesic_error(prediction, target), torch.full((len(target),), 5.0).double(), atol=1e-6)
        return float(geodesic_error(aligned(prediction, alignment(prediction, target)), target).mean())

    spread = random_poses(300).double()
    assert left_over(torch.zeros(5, 3).double() + 20) == pytest.approx(0, abs=1e-6)
    assert left_over(spread / 20) < 0.5
    assert 1 < left_over(spread) < 5


def test_alignment_is_the_best_rotation():
    target = random_poses(100).double()
    prediction = noisy(turned_left(target, turn([0.0, 1, 1], 12)))
    found = alignment(prediction, target)
    assert torch.allclose(found @ found.mT, torch.eye(3).double(), atol=1e-12)
    assert torch.det(found) == pytest.approx(1)

    def chordal(rotation):
        difference = euler_to_rotmat(prediction) - rotation @ euler_to_rotmat(target)
        return float(difference.square().sum())

    for axis in torch.eye(3).tolist():
        for angle in (-0.5, 0.5):
            assert chordal(turn(axis, angle) @ found) > chordal(found)


def test_alignment_turns_with_the_predictor():
    target, rotation = random_poses(50).double(), turn([3.0, 1, 2], 40)
    prediction = noisy(target)
    turned = turned_left(prediction, rotation)
    found = alignment(turned, target)
    assert torch.allclose(found, rotation @ alignment(prediction, target), atol=1e-9)
    removed = aligned(turned, found), aligned(prediction, alignment(prediction, target))
    assert torch.allclose(geodesic_error(*removed), torch.zeros(50).double(), atol=1e-5)


def test_what_is_aligned_needs_no_alignment():
    target = random_poses(80).double()
    prediction = noisy(turned_left(target, turn([1.0, 1, 0], 8)))
    again = alignment(aligned(prediction, alignment(prediction, target)), target)
    assert rotation_angle(again) == pytest.approx(0, abs=1e-6)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(*[st.floats(-400, 400)] * 3), min_size=1, max_size=5))
def test_no_rotation_leaves_predictions_as_they_are(poses):
    poses = torch.tensor(poses, dtype=torch.float64)
    poses = poses[torch.cos(torch.deg2rad(poses[:, 0])).abs() > 1e-4]  # pitch and roll are not unique at yaw +-90
    assert torch.allclose(aligned(poses, torch.eye(3).double()), poses, atol=1e-6)


def test_aligned_angles_keep_to_their_range():
    """A yaw of 100 turned by 3 is 97 or 103, not 83 with pitch and roll half a turn off."""
    pose = torch.tensor([[100.0, 5.0, -4.0]])
    found = aligned(pose, turn([0.0, 1, 0], 3))
    assert found.dtype == torch.float32
    assert (found - pose).abs().max() < 8
    expected = turn([0.0, 1, 0], 3).mT @ euler_to_rotmat(pose.double())
    assert torch.allclose(euler_to_rotmat(found.double()), expected, atol=1e-5)


def test_rotation_angle_is_the_turn():
    for angle in (0.0, 1e-4, 5.0, 120.0, 180.0):
        assert rotation_angle(turn([1.0, 2, -1], angle)) == pytest.approx(angle, abs=1e-6)


def test_scores_by_hand():
    target = torch.zeros(2, 3)
    prediction = torch.tensor([[6.0, 0, 0], [0, 0, 12]])
    found = scores(prediction, target, torch.tensor([0, 1]))
    expected = {
        "yaw_mae": 3, "pitch_mae": 0, "roll_mae": 6, "mae": 3, "geodesic": 9, "geodesic_median": 9,
        "maev_left": 9, "maev_down": 6, "maev_front": 3, "maev": 6,
        "within_5": 0, "within_10": 0.5, "within_15": 1, "yaw_within_5": 0.5, "pitch_within_5": 1,
        "roll_within_10": 0.5, "auc_30": 0.7,
    }  # fmt: skip
    assert {name: found[name] for name in expected} == pytest.approx(expected)
    assert list(found) == sorted(found)
    for name in ("pair_order", "yaw_pair_order", "pair_order_0_5", "spearman", "roll_spearman"):
        assert math.isnan(found[name])


def test_the_truth_is_perfect():
    target = random_poses(40)
    for name, value in scores(target, target, torch.arange(40) // 8).items():
        perfect = 0 if name.endswith("mae") or name.startswith(("geodesic", "maev")) else 1
        assert value == pytest.approx(perfect, abs=1e-6), name


def test_one_image_has_scores_but_no_order():
    found = evaluation_scores(torch.tensor([[3.0, 0, 0]]), torch.zeros(1, 3), torch.tensor([4]))
    assert found["geodesic"] == pytest.approx(3)
    assert found["aligned_geodesic"] == pytest.approx(0, abs=1e-6)
    assert math.isnan(found["pair_order"])
    assert math.isnan(found["spearman"])


def test_scores_are_those_of_training():
    target, identity = random_poses(60), torch.arange(60) // 5
    logged = pose_scores(noisy(target), target, identity)
    found = scores(noisy(target), target, identity)
    assert {name: float(value) for name, value in logged.items()} == pytest.approx({k: found[k] for k in logged})


def test_totals_of_two_sets_of_people_are_totals_of_both():
    target, identity = random_poses(60), torch.arange(60) // 5
    prediction = noisy(target)
    whole = identity_totals(prediction, target, identity)
    halves = [identity_totals(prediction[half], target[half], identity[half]) for half in (slice(30), slice(30, 60))]
    for name, total in whole.items():
        for part in (0, 1):
            assert torch.allclose(torch.cat([half[name][part] for half in halves]), total[part]), name


def test_image_scores_average_to_the_scores():
    target, identity = random_poses(60), torch.arange(60) // 5
    found = scores(noisy(target), target, identity)
    for name, values in image_scores(noisy(target), target).items():
        assert values.shape == (60,)
        assert float(values.mean()) == pytest.approx(found[name]), name


def test_a_missing_prediction_never_flatters():
    target, identity = random_poses(12), torch.arange(12) // 6
    prediction = target.clone()
    prediction[3] = torch.nan
    found = scores(prediction, target, identity)
    for name in ("mae", "geodesic", "geodesic_median", "maev", "auc_30"):
        assert math.isnan(found[name]), name
    assert found["within_5"] == pytest.approx(11 / 12)
    assert found["pair_order"] == pytest.approx(25 / 30)
    assert found["spearman"] == 0.5


def test_two_processes_give_the_metric_of_one():
    prediction, target, identity = noisy(random_poses(31)), random_poses(31), torch.arange(31) // 3
    one, ranks = PoseScores(), [PoseScores(), PoseScores()]
    one.update(torch.arange(31), prediction, target, identity)
    for rank, process in enumerate(ranks):
        # as DistributedSampler deals: every other sample, and the first one again to make them even
        rows = torch.cat([torch.arange(31), torch.arange(1)])[rank::2]
        for batch in rows.split(5):
            process.update(batch, prediction[batch], target[batch], identity[batch])
    ranks[0].merge_state(ranks[1])
    merged, alone = ranks[0].compute(), one.compute()
    assert merged.keys() == alone.keys()
    for name, value in alone.items():
        assert float(merged[name]) == pytest.approx(float(value), abs=1e-12, nan_ok=True), name
