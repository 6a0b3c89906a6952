"""Drawn pictures mean what their labels say, and differ only where their scenes do."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.io import loadmat
from scipy.spatial.transform import Rotation

from rankpose.data.synthetic import poses, scene
from rankpose.data.synthetic.head import build_mesh, draw_expression, make_identity
from rankpose.data.synthetic.mesh import Mesh

angle = st.floats(-89, 89)


@pytest.fixture(scope="module")
def mesh() -> Mesh:
    return build_mesh(make_identity(3), draw_expression(np.random.default_rng(3)))


@pytest.fixture
def plain() -> scene.Scene:
    """A scene without anything that hides, blurs or cuts."""
    drawn = scene.draw_scene(np.random.default_rng(8))
    return replace(
        drawn, occluder="none", edge="none", blur_px=0.0, motion_px=0.0, downscale=1.0, noise=0.0, dapple=0.0
    )


def real_poses(real_data: Path) -> np.ndarray:
    """(N, 3) yaw, pitch, roll in degrees of AFLW2000-3D within 99; the list has the opposite sign of yaw."""
    listed = np.loadtxt(
        real_data / "aflw2000" / "aflw2000_poses_landmarks.txt", delimiter=";", skiprows=1, usecols=(2, 3, 4)
    )
    listed[:, 0] *= -1
    return listed[(np.abs(listed) <= 99).all(1)]


def pitch_roll_correlation(labels: np.ndarray, low: float, high: float) -> float:
    """How pitch goes with roll (mirrored for left turns) where |yaw| is in a range."""
    kept = labels[(np.abs(labels[:, 0]) >= low) & (np.abs(labels[:, 0]) < high)]
    return float(np.corrcoef(kept[:, 1], kept[:, 2] * np.sign(kept[:, 0]))[0, 1])


# Poses


@given(angle, angle, angle)
def test_rotations_are_those_of_the_labels_convention(yaw: float, pitch: float, roll: float) -> None:
    expected = Rotation.from_euler("XYZ", [-pitch, -yaw, -roll], degrees=True).as_matrix()
    rotation = poses.label_to_rotation([yaw, pitch, roll])
    np.testing.assert_allclose(rotation, expected, atol=1e-12)
    np.testing.assert_allclose(poses.rotation_to_label(rotation), [yaw, pitch, roll], atol=1e-6)


@given(angle, angle, angle)
def test_natural_order_returns(turn: float, nod: float, tilt: float) -> None:
    rotation = poses.natural_to_rotation(turn, nod, tilt)
    np.testing.assert_allclose(poses.rotation_to_natural(rotation), [turn, nod, tilt], atol=1e-6)


def test_poses_are_spread_as_in_photographs(real_data: Path) -> None:
    drawn, real = poses.draw_poses(np.random.default_rng(0), 20_000), real_poses(real_data)
    assert np.abs(drawn).max() <= 99
    for low, high in ((30, 60), (60, 75), (75, 99)):
        difference = pitch_roll_correlation(drawn, low, high) - pitch_roll_correlation(real, low, high)
        assert abs(difference) < 0.06, (low, high)
    frontal, real_frontal = (labels[np.abs(labels[:, 0]) < 30] for labels in (drawn, real))
    np.testing.assert_allclose(frontal.std(0)[1:], real_frontal.std(0)[1:], rtol=0.35)
    np.testing.assert_allclose(frontal.mean(0)[1:], real_frontal.mean(0)[1:], atol=2.5)
    assert (np.abs(drawn[:, 0]) > 50).mean() > 1.3 * (np.abs(real[:, 0]) > 50).mean()


# Geometry


@pytest.mark.parametrize("sign", [1, -1])
def test_unrotated_landmarks_of_photographs_coincide_in_this_convention_only(real_data: Path, sign: int) -> None:
    shapes = []
    for path in sorted((real_data / "aflw2000").glob("*.mat"))[::4]:
        sample = loadmat(path)
        pitch, yaw, roll = np.degrees(sample["Pose_Para"][0, :3])
        upright = sample["pt3d_68"] * [[1], [-1], [1]]
        centred = upright - upright.mean(1, keepdims=True)
        straight = poses.label_to_rotation(sign * np.array([yaw, pitch, roll])).T @ centred
        shapes.append(straight / np.linalg.norm(straight))
    if len(shapes) < 8:
        pytest.skip("fewer than 32 samples of AFLW2000-3D")
    away = np.linalg.norm(np.stack(shapes) - np.mean(shapes, 0), axis=(1, 2)).mean()
    assert away < 0.1 if sign == 1 else away > 0.3


@pytest.mark.parametrize("pose", [(0, 0, 0), (40, 0, 0), (0, 30, 0), (0, 0, 30), (-65, 25, -20), (85, -30, 40)])
def test_labels_project_the_head_onto_its_landmarks(mesh: Mesh, plain: scene.Scene, pose: tuple[float, ...]) -> None:
    _, seen = scene.render(mesh, np.array(pose), replace(plain, distance_cm=1500.0))
    seen = seen * [1, -1]

    def misfit(label: np.ndarray) -> float:
        turned = mesh.landmarks @ poses.label_to_rotation(label)[:2].T
        centred, target = turned - turned.mean(0), seen - seen.mean(0)
        scale = (centred * target).sum() / (centred**2).sum()
        return float(np.abs(scale * centred - target).max())

    assert misfit(np.array(pose)) < 1.0
    for axis in range(3):
        if abs(pose[axis]) > 0:
            mirrored = np.array(pose, float)
            mirrored[axis] *= -1
            assert misfit(mirrored) > 5.0


@pytest.mark.parametrize("index", [0, 30, 8, 16])
def test_the_picture_shows_a_point_where_its_landmark_is(plain: scene.Scene, index: int) -> None:
    landmarks = np.random.default_rng(1).uniform(-7, 7, (68, 3)).astype(np.float32)
    corners = np.array([[-1, -1, 0], [1, -1, 0], [1, 1, 0], [-1, 1, 0]], np.float32)
    square = Mesh(
        vertices=corners + landmarks[index],
        normals=np.tile(np.array([0, 0, 1], np.float32), (4, 1)),
        uv=np.full((4, 2), 4, np.float32),
        body=np.zeros(4, np.float32),
        faces=np.array([[0, 1, 2], [0, 2, 3]], np.int32),
        albedo=np.full((8, 8, 4), 200, np.uint8),
        landmarks=landmarks,
    )
    away = replace(plain, background="black", background_gain=0.0, haze=0.0, box_right_px=9.0, box_down_px=-6.0)
    picture, seen = scene.render(square, np.zeros(3), replace(away, ambient=1.0, exposure=1.0, gloss=0.0))
    bright = picture.sum(-1).astype(float)
    rows, columns = np.indices(bright.shape)
    centre = [(columns * bright).sum() / bright.sum(), (rows * bright).sum() / bright.sum()]
    np.testing.assert_allclose(centre, seen[index], atol=0.6)


def test_face_box_is_where_and_as_large_as_the_scene_says(mesh: Mesh) -> None:
    rng = np.random.default_rng(4)
    for pose in poses.draw_poses(rng, 40):
        drawn = scene.draw_scene(rng)
        _, seen = scene.aim(mesh.landmarks, poses.label_to_rotation(pose), drawn)
        low, high = seen.min(0), seen.max(0)
        assert (high - low).max() == pytest.approx(drawn.box_side_px, abs=0.05)
        middle = (scene.IMAGE_SIZE - 1) / 2
        wanted = [middle + drawn.box_right_px, middle + drawn.box_down_px]
        np.testing.assert_allclose((low + high) / 2, wanted, atol=0.3)
        assert low.min() > 0
        assert high.max() < scene.IMAGE_SIZE - 1


def test_boxes_have_the_proportions_of_photographs() -> None:
    rng = np.random.default_rng(5)
    heads = [build_mesh(make_identity(n), draw_expression(rng)).landmarks for n in range(24)]
    labels = poses.draw_poses(rng, 1200)
    ratio = np.empty(len(labels))
    for i, label in enumerate(labels):
        _, seen = scene.aim(heads[i % 24], poses.label_to_rotation(label), scene.draw_scene(rng))
        width, height = np.ptp(seen, axis=0)
        ratio[i] = width / height
    yaw = np.abs(labels[:, 0])
    # Measured on AFLW2000-3D's 1,969 photographs. 300W-LP's mean face seen by the same cameras has 1.02 in the first
    # range: photographs' labels know no perspective, which hides the far edge of a near face.
    for low, high, photographs in ((0, 20, 1.06), (20, 45, 1.03), (45, 70, 0.95), (70, 99, 0.87)):
        tolerance = 0.07 if low == 0 else 0.05
        assert ratio[(yaw >= low) & (yaw < high)].mean() == pytest.approx(photographs, abs=tolerance), (low, high)


# Pictures


def test_pictures_repeat_and_scenes_are_plain_values(mesh: Mesh) -> None:
    first, second = (scene.draw_scene(np.random.default_rng(6)) for _ in range(2))
    assert first == second
    assert all(type(value) in (float, int, str) for value in first.factors().values())
    pictures = [scene.render(mesh, np.array([20.0, 5, 3]), drawn)[0] for drawn in (first, second)]
    np.testing.assert_array_equal(*pictures)
    assert pictures[0].shape == (scene.IMAGE_SIZE, scene.IMAGE_SIZE, 3)
    assert pictures[0].dtype == np.uint8


def test_light_changes_the_head_and_nothing_behind_it(mesh: Mesh, plain: scene.Scene) -> None:
    pose = np.array([15.0, 0, 0])
    left = replace(plain, key_direction=(-0.8, 0.36, 0.48), key_strength=1.0, ambient=0.2, background="plain")
    right = replace(left, key_direction=(0.8, 0.36, 0.48))
    from_left, seen = scene.render(mesh, pose, left)
    from_right, _ = scene.render(mesh, pose, right)
    face = tuple(slice(int(low), int(high)) for low, high in zip(seen.min(0)[::-1], seen.max(0)[::-1], strict=True))
    change = from_left[face].astype(float).mean(-1) - from_right[face].astype(float).mean(-1)
    third = change.shape[1] // 3
    assert change[:, :third].mean() > 10
    assert change[:, -third:].mean() < -10
    np.testing.assert_array_equal(from_left[:8, :8], from_right[:8, :8])


def test_a_cast_shadow_darkens(mesh: Mesh, plain: scene.Scene) -> None:
    above = replace(plain, key_direction=(0.3, 0.9, 0.316), key_strength=1.0, ambient=0.2, shadow=1.0)
    shadowed, _ = scene.render(mesh, np.zeros(3), above)
    lit, _ = scene.render(mesh, np.zeros(3), replace(above, shadow=0.0))
    darker = lit.astype(int).mean(-1) - shadowed.astype(int).mean(-1)
    assert darker.min() > -3
    assert (darker > 20).mean() > 0.02


@pytest.mark.parametrize("side", ["left", "right", "top", "bottom"])
def test_photographs_end_on_the_named_side(mesh: Mesh, plain: scene.Scene, side: str) -> None:
    cut = replace(plain, edge=side, edge_fill="black", edge_px=20.0, haze=0.1)
    picture, _ = scene.render(mesh, np.zeros(3), cut)
    strips = {"left": picture[:, :20], "right": picture[:, -20:], "top": picture[:20], "bottom": picture[-20:]}
    assert strips.pop(side).max() == 0
    assert all(strip.max() > 0 for strip in strips.values())


def test_every_kind_of_scene_can_be_drawn(mesh: Mesh) -> None:
    rng = np.random.default_rng(7)
    base = scene.draw_scene(rng)
    for kind in scene.background.KINDS:
        picture, _ = scene.render(mesh, np.zeros(3), replace(base, background=kind))
        assert picture.std() > 0
    bare = scene.render(mesh, np.zeros(3), replace(base, occluder="none"))[0]
    for kind in scene.background.OCCLUDERS:
        assert (scene.render(mesh, np.zeros(3), replace(base, occluder=kind))[0] != bare).any()
    for pose in poses.draw_poses(rng, 60):
        picture, seen = scene.render(mesh, pose, scene.draw_scene(rng))
        assert np.isfinite(seen).all()
