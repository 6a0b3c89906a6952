"""Properties of poses and rotations."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from rankpose.pose import (
    Euler,
    VectorAngle,
    VectorProjection,
    euler_to_rotmat,
    flip_pose,
    rotmat_to_euler,
    turn_pose,
    wrap_angle,
)
from rankpose.pose.decoding import (
    bins_to_angle,
    frame_axes,
    matrix_to_rotmat,
    quaternion_to_rotmat,
    six_numbers_to_rotmat,
)

angle = st.floats(-85, 85)
poses = st.tuples(angle, angle, angle).map(lambda values: torch.tensor(values, dtype=torch.float64))
MIRROR = torch.diag(torch.tensor([-1.0, 1.0, 1.0], dtype=torch.float64))


@given(poses)
def test_angles_to_rotation_and_back(pose):
    assert torch.allclose(rotmat_to_euler(euler_to_rotmat(pose)), pose, atol=1e-6)


@given(poses)
def test_rotation_is_scipys_intrinsic_xyz_with_opposite_signs(pose):
    yaw, pitch, roll = pose.tolist()
    expected = Rotation.from_euler("XYZ", [-pitch, -yaw, -roll], degrees=True).as_matrix()
    assert np.allclose(euler_to_rotmat(pose).numpy(), expected, atol=1e-9)


@given(poses)
def test_flip_is_the_mirrored_rotation(pose):
    rotation = euler_to_rotmat(pose)
    assert torch.allclose(euler_to_rotmat(flip_pose(pose)), MIRROR @ rotation @ MIRROR, atol=1e-9)


@given(poses, st.floats(-180, 180))
def test_turn_turns_the_heads_axes_in_the_image(pose, turn):
    before, after = euler_to_rotmat(pose), euler_to_rotmat(turn_pose(pose, turn))
    radians = np.radians(turn)
    plane = torch.tensor([[np.cos(radians), -np.sin(radians)], [np.sin(radians), np.cos(radians)]])
    assert torch.allclose(after[:2], plane @ before[:2], atol=1e-6)
    assert torch.allclose(after[2], before[2], atol=1e-6)


def test_signs_of_the_three_angles():
    yaw, pitch, roll = euler_to_rotmat(torch.eye(3) * 30)
    assert yaw[0, 2] < 0, "a positive yaw turns the face to the left of the image"
    assert pitch[1, 2] > 0, "a positive pitch lifts the face"
    assert roll[0, 1] > 0, "a positive roll moves the top of the head to the right"


def test_gimbal_lock_gives_a_pose_of_the_same_rotation():
    rotation = euler_to_rotmat(torch.tensor([90.0, 20.0, 10.0], dtype=torch.float64))
    assert torch.allclose(euler_to_rotmat(rotmat_to_euler(rotation)), rotation, atol=1e-6)


@given(st.floats(-1000, 1000))
def test_wrapped_angles_are_the_same_angle(value):
    wrapped = wrap_angle(torch.tensor(value, dtype=torch.float64))
    assert -180 <= wrapped < 180
    assert torch.isclose(torch.cos(torch.deg2rad(wrapped)), torch.tensor(np.cos(np.radians(value))), atol=1e-9)


@pytest.mark.parametrize("kind", [VectorProjection, VectorAngle])
def test_bounded_representations_stay_in_range_and_differentiate_at_the_ends(kind):
    torch.manual_seed(0)
    head = kind(16)
    # features along a weight vector: the cosine is exactly 1, where arccos has no derivative
    features = torch.cat([head.weight.detach(), -head.weight.detach(), torch.randn(50, 16) * 100]).requires_grad_()
    pose = head(features).pose
    assert pose.abs().max() <= 180 * (1 + 1e-6)
    pose.sum().backward()
    assert torch.isfinite(features.grad).all()
    assert torch.isfinite(head.weight.grad).all()


def test_bounded_representations_ignore_the_length_of_the_feature():
    for kind in (VectorProjection, VectorAngle):
        head, features = kind(16), torch.randn(5, 16)
        assert torch.allclose(head(features).pose, head(7 * features).pose, atol=1e-3)


def test_projection_and_angle_agree_on_the_sign_and_at_zero():
    head = VectorProjection(16)
    other = VectorAngle(16)
    other.load_state_dict(head.state_dict())
    features = torch.randn(100, 16)
    projected, angles = head(features).pose, other(features).pose
    assert torch.equal(projected.sign(), angles.sign())
    # near zero: 180 c against 180 (1 - 2 arccos(c) / pi) = 360 / pi c
    small = projected.abs() < 5
    assert torch.allclose(angles[small], projected[small] * 2 / torch.pi, atol=0.01)


@pytest.mark.parametrize("kind", [Euler, VectorProjection, VectorAngle])
def test_training_starts_near_the_zero_pose(kind):
    torch.manual_seed(0)
    features = torch.rand(200, 256)  # pooled activations are not negative
    assert kind(256)(features).pose.abs().mean() < 15


@pytest.mark.parametrize("kind", [Euler, VectorProjection, VectorAngle])
def test_pose_is_float32_under_autocast(kind):
    head = kind(16)
    with torch.autocast("cpu", torch.bfloat16):
        output = head(torch.randn(4, 16).bfloat16())
    assert output.pose.dtype == torch.float32


NUMBERS = {"matrix": (matrix_to_rotmat, 9), "six": (six_numbers_to_rotmat, 6), "quaternion": (quaternion_to_rotmat, 4)}


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 2**32), st.sampled_from(sorted(NUMBERS)))
def test_any_numbers_give_a_rotation_that_can_be_learnt_through(seed, kind):
    decode, count = NUMBERS[kind]
    numbers = torch.randn(2, 5, count, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    rotation = decode(numbers.requires_grad_())
    assert rotation.shape == (2, 5, 3, 3)
    assert torch.allclose(rotation @ rotation.mT, torch.eye(3, dtype=torch.float64).expand(2, 5, 3, 3), atol=1e-8)
    assert torch.allclose(torch.det(rotation), torch.ones(2, 5, dtype=torch.float64))
    rotation.square().cumsum(-1).sum().backward()
    assert torch.isfinite(numbers.grad).all()


@given(poses, st.sampled_from(sorted(NUMBERS)), st.floats(0.1, 10))
def test_numbers_of_a_rotation_give_it_back_at_any_scale(pose, kind, scale):
    rotation = euler_to_rotmat(pose)
    numbers = {
        "matrix": rotation.flatten(),
        "six": rotation[:, :2].T.flatten(),
        "quaternion": torch.from_numpy(Rotation.from_matrix(rotation.numpy()).as_quat()),
    }[kind]
    assert torch.allclose(NUMBERS[kind][0](scale * numbers), rotation, atol=1e-6)


@given(st.floats(-95, 95))
def test_bins_that_are_sure_give_the_angle_between_them(angle_deg):
    """Two neighbours whose shares say how near the angle is to each."""
    place = (angle_deg + 99) / 3
    near = 1 - abs(torch.arange(66.0) - place)
    assert bins_to_angle(near.clamp(min=1e-12).log(), -99, 3).item() == pytest.approx(angle_deg, abs=1e-2)


@pytest.mark.parametrize("frame", ["right", ["right", "up"], ["right", "left", "up"], ["x", "up", "away"]])
def test_a_frame_that_is_none_is_refused(frame):
    with pytest.raises(ValueError, match=r"frame=.*must be three words"):
        frame_axes(frame)
