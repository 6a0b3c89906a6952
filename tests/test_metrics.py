"""Properties of the metrics."""

import math

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from rankpose.metrics import PoseScores, angle_error, geodesic_error, pair_order, pose_scores
from rankpose.pose import turn_pose


def random_poses(count, seed=0):
    return (torch.rand(count, 3, generator=torch.Generator().manual_seed(seed)) - 0.5) * 160


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
