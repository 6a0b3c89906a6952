"""Properties of crops, augmentation and the order of batches."""

import multiprocessing
import os
import re
import signal
import subprocess
import sys
import threading
import time

import albumentations as A
import cv2
import numpy as np
import pytest
import torch
from broken import Broken
from commands import PROJECT
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from rankpose.data import batches
from rankpose.data.augment import Colours, SurroundingsSwap, Views, face_mask, follow_pose
from rankpose.data.crop import View, crop_matrix, face_points, plain_square, warp_image, warp_points
from rankpose.data.identity_sampler import EveryImage, IdentitySampler
from rankpose.data.record import Record
from rankpose.errors import ConfigError, DatasetError, LoaderError, RankPoseError
from rankpose.pose import euler_to_rotmat

views = st.builds(
    View,
    scale=st.floats(1.2, 1.8),
    zoom=st.floats(0.8, 1.2),
    shift=st.tuples(st.floats(-0.1, 0.1), st.floats(-0.1, 0.1)),
    turn_deg=st.floats(-60, 60),
    flip=st.booleans(),
)
SHAPE = np.random.default_rng(0).normal(size=(68, 3))
"""Any rigid set of points will do for a head."""


def project(pose, shape=SHAPE):
    """Parallel projection of a head: (68, 2) pixels, y down."""
    seen = shape @ euler_to_rotmat(torch.tensor(pose, dtype=torch.float64)).numpy().T
    return 100 + 30 * seen[:, :2] * [1, -1]


@given(st.tuples(*[st.floats(-60, 60)] * 3), views)
def test_labels_follow_every_view(pose, view):
    """The warped landmarks of a head are those of a head with the label that the view gives."""
    warped = warp_points(project(pose), crop_matrix(project(pose), 64, view))
    followed = follow_pose(np.array([pose]), [view])[0].tolist()
    # a mirror image shows the mirrored head
    shape = SHAPE * [-1, 1, 1] if view.flip else SHAPE
    expected = project(followed, shape)
    scale = np.linalg.norm(warped - warped.mean(0)) / np.linalg.norm(expected - expected.mean(0))
    assert np.allclose(warped - warped.mean(0), scale * (expected - expected.mean(0)), atol=1e-2)


@given(st.tuples(*[st.floats(-60, 60)] * 3), st.floats(-60, 60))
def test_a_turned_head_is_cropped_as_an_upright_one_would_be(pose, turn):
    """The face box goes around the turned landmarks: it has the same share of the crop at every turn."""
    warped = warp_points(project(pose), crop_matrix(project(pose), 140, View(scale=1.4, turn_deg=turn)))
    extent = (warped.max(0) - warped.min(0)).max()
    assert extent == pytest.approx(100)
    assert np.allclose((warped.max(0) + warped.min(0)) / 2, 69.5)


def test_plain_crop_is_the_named_square():
    points = np.array([[10.0, 20.0], [50.0, 40.0]])
    left, top, side = plain_square(points, 1.4)
    assert (left, top, side) == pytest.approx((2, 2, 56))
    corners = warp_points(np.array([[left, top], [left + side, top + side]]), crop_matrix(points, 57, View()))
    assert np.allclose(corners, [[-0.5, -0.5], [56.5, 56.5]])


def test_a_box_without_landmarks_keeps_its_extent():
    record = Record("", "", np.zeros(3), np.array([10.0, 20, 50, 80]), None, "")
    points = face_points(record)
    assert np.allclose(points.min(0), [10, 20], atol=0.2)
    assert np.allclose(points.max(0), [50, 80], atol=0.2)


@pytest.mark.parametrize("zoom", [1.0, 0.3, 0.1])
def test_warped_content_lands_where_its_landmarks_land(zoom):
    image = np.zeros((400, 400, 3), np.uint8)
    cv2.circle(image, (230, 170), 12, (255, 255, 255), -1)
    matrix = crop_matrix(np.array([[100.0, 100], [300, 300]]), 200, View(zoom=zoom, turn_deg=25))
    warped = warp_image(image, matrix, 200)[..., 0].astype(float)
    rows, columns = np.indices(warped.shape)
    found = np.array([(columns * warped).sum(), (rows * warped).sum()]) / warped.sum()
    assert np.allclose(found, warp_points(np.array([230.0, 170.0]), matrix), atol=0.15)


def test_beyond_the_image_is_black_and_nothing_is_squeezed():
    image = np.full((50, 50, 3), 255, np.uint8)
    crop = warp_image(image, crop_matrix(np.array([[0.0, 0], [50, 50]]), 100, View(scale=2.0)), 100)
    assert crop[:20].max() == 0
    assert crop[30:70, 30:70].min() == 255


def test_views_share_scale_and_flip_within_a_visit():
    draw = Views(turn_deg=20, flip_p=0.5).draw
    seen = set()
    for visit in range(20):
        first, second = (draw(np.random.default_rng(visit), np.random.default_rng(100 * visit + k)) for k in (1, 2))
        assert (first.scale, first.flip) == (second.scale, second.flip)
        assert first.turn_deg != second.turn_deg
        seen.add(first.flip)
    assert seen == {False, True}


def test_published_views_stay_in_their_ranges():
    view = [Views().draw(np.random.default_rng(k), np.random.default_rng(1000 + k)) for k in range(500)]
    assert all(1.4 <= v.scale <= 1.6 and 0.99 <= v.zoom <= 1.21 and not v.flip and v.turn_deg == 0 for v in view)
    assert max(abs(v.shift[0]) for v in view) <= 0.105


def transforms_of(base, **needed):
    """Every albumentations transform of a kind that can be made of nothing but these arguments."""
    for name in sorted(vars(A)):
        kind = getattr(A, name)
        if isinstance(kind, type) and issubclass(kind, base) and kind is not base:
            try:
                yield kind(p=0.01, **needed.get(name, {}))
            except (TypeError, ValueError):
                continue


MOVING = {"Resize": {"height": 64, "width": 64}, "RandomCrop": {"height": 64, "width": 64}}


def keeps_keypoints(transform):
    """Whether albumentations leaves points where they are, whatever it draws."""
    points = np.array([[10.0, 20.0, 0, 0, 0], [40.0, 50.0, 0, 0, 0]])
    image = np.random.default_rng(0).integers(256, size=(64, 80, 3), dtype=np.uint8)
    return all(
        np.allclose(transform(image=image, keypoints=points, force_apply=True)["keypoints"], points) for _ in range(9)
    )


def refusal(transforms):
    """What is said against them; nothing where they are taken."""
    try:
        Colours(transforms)
    except ConfigError as error:
        return str(error)
    return ""


def test_colours_refuse_every_transform_that_moves_pixels_and_take_those_that_do_not():
    transforms = {type(one).__name__: one for one in transforms_of(A.DualTransform, **MOVING)}
    said = {name: refusal([A.OneOf([A.Sequential([one])])]) for name, one in transforms.items()}
    assert all(name in text for name, text in said.items() if text)
    taken = {name for name, text in said.items() if not text}
    assert {"CoarseDropout", "PixelDropout", "GridDropout", "NoOp"} <= taken
    assert all(keeps_keypoints(transforms[name]) for name in taken)
    assert {"HorizontalFlip", "Rotate", "Affine", "RandomScale", "Resize", "RandomCrop"} <= set(said) - taken


def test_colours_take_every_change_of_colour_and_refuse_what_gives_another_kind_of_image():
    image = np.random.default_rng(0).integers(256, size=(96, 96, 3), dtype=np.uint8)
    transforms = {type(one).__name__: one for one in transforms_of(A.ImageOnlyTransform)}
    said = {name: refusal([one]) for name, one in transforms.items()}
    taken = {name for name, text in said.items() if not text}
    assert {"HueSaturationValue", "ChannelShuffle", "Downscale", "GaussNoise", "ToGray", "ZoomBlur"} <= taken
    for name in taken:
        transforms[name].p = 1.0
        colours = Colours([transforms[name]])
        changed = colours(image, 3)
        assert (changed.shape, changed.dtype) == (image.shape, image.dtype)
        assert np.array_equal(changed, colours(image, 3))
    assert not any("\n" in text for text in said.values())
    assert all("float32" in said[name] for name in ("Normalize", "ToFloat"))


def test_a_refused_colour_names_the_keys_where_geometry_belongs():
    with pytest.raises(ConfigError, match=r"augment\.colours: HorizontalFlip .*augment\.views\.flip_p, turn_deg"):
        Colours([A.HorizontalFlip(p=0.5)])
    with pytest.raises(ConfigError, match=r"augment\.colours: function"):
        Colours([lambda image: image])


def test_swap_keeps_the_face_and_changes_the_rest():
    rng = np.random.default_rng(0)
    images = np.stack([np.full((64, 64, 3), value, np.uint8) for value in (10, 250)])
    face = 32 + 12 * np.column_stack([np.cos(np.linspace(0, 6.28, 68)), np.sin(np.linspace(0, 6.28, 68))])
    landmarks = np.stack([face, face])
    while True:  # until the draw gives both another's surroundings
        swapped = SurroundingsSwap(p=1.0, grow=(1.0, 1.0))(images, landmarks, rng)
        if swapped[0, 0, 0, 0] != 10:
            break
    assert swapped[0, 0, 0, 0] == 250
    assert swapped[0, 32, 32, 0] == 10
    assert images[0].max() == 10, "the input stays as it is"


def test_face_mask_follows_the_landmarks():
    angles = np.linspace(0, 2 * np.pi, 68)
    mask = face_mask(20 + 8 * np.column_stack([np.cos(angles), np.sin(angles)]), 64, 1.0, 0.0)
    assert mask[20, 20] == 1
    assert mask[50, 50] == 0


IDENTITY = np.repeat(np.arange(20), [1, 2, 3, 4, 5] * 4)
POSE = np.random.default_rng(1).uniform(-60, 60, (len(IDENTITY), 3)).astype(np.float32)


def order(rank=0, world=1, epoch=0, start=0, **options):
    options = {"identities_per_batch": 4, "images_per_identity": 2, "draws_per_identity": 5} | options
    place = {"rank": rank, "world_size": world, "epoch": epoch, "start_batch": start}
    return IdentitySampler(IDENTITY, POSE, **options, seed=3, **place)


def test_a_batch_holds_p_identities_with_k_different_images_side_by_side():
    batches = list(order(images_per_identity=3))
    assert len(batches) == len(order(images_per_identity=3))
    for batch in batches:
        assert len(batch) == 12
        for visit in range(4):
            rows = [draw.row for draw in batch[3 * visit : 3 * visit + 3]]
            assert len(set(rows)) == 3
            assert len(set(IDENTITY[rows])) == 1
            assert len({draw.visit_seed for draw in batch[3 * visit : 3 * visit + 3]}) == 1
            assert len({draw.image_seed for draw in batch[3 * visit : 3 * visit + 3]}) == 3


def test_an_epoch_visits_every_identity_that_can_form_a_pair():
    visits = np.bincount([IDENTITY[draw.row] for batch in order() for draw in batch], minlength=20) // 2
    alone = np.bincount(IDENTITY) < 2
    assert (visits[alone] == 0).all()
    assert (visits[~alone] == 5).all()


def test_every_image_of_an_identity_comes_up():
    rows = {draw.row for epoch in range(20) for batch in order(epoch=epoch) for draw in batch}
    assert len(rows) == (np.bincount(IDENTITY)[IDENTITY] >= 2).sum()


def test_processes_see_disjoint_visits_of_equal_number_and_together_the_whole_epoch():
    one = [draw for batch in order(identities_per_batch=8) for draw in batch]
    two = [[draw for batch in order(rank, 2) for draw in batch] for rank in (0, 1)]
    assert len(two[0]) == len(two[1])
    assert not {draw.image_seed for draw in two[0]} & {draw.image_seed for draw in two[1]}
    assert sorted(two[0] + two[1]) == sorted(one)


def test_the_order_follows_from_seed_and_epoch():
    assert list(order(epoch=2)) == list(order(epoch=2))
    assert list(order(epoch=2)) != list(order(epoch=3))
    later = order()
    later.set_epoch(2)
    assert list(later) == list(order(epoch=2))


def test_a_resumed_epoch_goes_on_with_the_batches_to_come():
    assert list(order(epoch=1, start=3)) == list(order(epoch=1))[3:]
    resumed = order(epoch=1, start=3)
    resumed.set_epoch(1)
    assert len(list(resumed)) == len(order()) - 3
    resumed.set_epoch(2)
    assert list(resumed) == list(order(epoch=2))


def turn_between(one, other):
    first, second = (
        Rotation.from_matrix(euler_to_rotmat(torch.from_numpy(POSE[row]).double())) for row in (one, other)
    )
    return (first.inv() * second).magnitude()


@pytest.mark.parametrize("images", [2, 3])
def test_close_pairs_are_of_the_nearer_half_and_far_ones_of_the_farther(images):
    for pairs in ("close", "far"):
        for batch in order(pairs=pairs, images_per_identity=images):
            rows = np.array([draw.row for draw in batch]).reshape(-1, images)
            for first, *partners in rows:
                assert len({first, *partners}) == images
                others = np.flatnonzero((IDENTITY[first] == IDENTITY) & (np.arange(len(IDENTITY)) != first))
                turns = {row: turn_between(first, row) for row in others}
                half = max(-(-len(others) // 2), images - 1)
                allowed = sorted(others, key=turns.get, reverse=pairs == "far")[:half]
                assert set(partners) <= set(allowed)


def test_unknown_pairs_are_named():
    with pytest.raises(ConfigError, match=r"data\.pairs=near"):
        order(pairs="near")


def test_what_an_epoch_does_not_visit_is_counted():
    for images in range(1, 6):
        sampler = order(images_per_identity=images)
        visited = {IDENTITY[draw.row] for batch in sampler for draw in batch}
        assert sampler.left_out["identities"] == 20 - len(visited)
        assert sampler.left_out["images"] == (~np.isin(IDENTITY, list(visited))).sum()


@given(st.integers(1, 8), st.integers(1, 120), st.integers(1, 5), st.integers(1, 3))
def test_the_settings_that_a_refusal_names_fill_a_batch_and_larger_ones_do_not(images, identities, draws, world):
    given = {"images_per_identity": images, "identities_per_batch": identities, "draws_per_identity": draws}
    try:
        assert len(order(world=world, **given)) > 0
        return
    except DatasetError as error:
        said = str(error)
    assert f"data.images_per_identity={images}:" in said
    assert ("data.reader.images_per_identity" in said) == (images > 5)
    named = re.findall(r"data\.(\w+)=(\d+)", said.partition(" Set ")[2].partition(" at most")[0])
    assert named or "both" in said
    for key, value in named:
        assert len(order(world=world, **given | {key: int(value)})) > 0
        with pytest.raises(DatasetError):
            order(world=world, **given | {key: int(value) + 1})


@pytest.mark.parametrize(("count", "world"), [(10, 1), (10, 2), (11, 2), (3, 4)])
def test_evaluation_sees_every_image_with_equally_many_batches(count, world):
    shares = [list(EveryImage(count, 4, rank, world)) for rank in range(world)]
    assert len({len(share) for share in shares}) == 1
    assert {draw.row for share in shares for batch in share for draw in batch} == set(range(count))


def test_convention_holds_on_real_annotations(real_data):
    """Un-rotated landmarks of different people coincide under our convention, and under no other sign."""
    from scipy.io import loadmat

    def spread(signs):
        heads = []
        for path in sorted((real_data / "aflw2000").glob("*.mat"))[:60]:
            fields = loadmat(path)
            pitch, yaw, roll = np.degrees(fields["Pose_Para"][0, :3])
            points = fields["pt3d_68"].T * [1, -1, 1]
            points = points - points.mean(0)
            rotation = Rotation.from_euler("XYZ", np.multiply(signs, [pitch, yaw, roll]), degrees=True).as_matrix()
            heads.append(points @ rotation / np.linalg.norm(points) * np.sqrt(68))
        heads = np.array(heads)
        return np.linalg.norm(heads - heads.mean(0), axis=-1).mean()

    assert spread([-1, -1, -1]) < 0.1 < 0.3 < spread([1, 1, 1])


def error_of(how, num_workers):
    loader = batches.make_loader(Broken(how), EveryImage(8, 4), num_workers)
    with pytest.raises((RankPoseError, ValueError, OSError, RuntimeError)) as found:
        list(loader)
    return found.value


@pytest.mark.parametrize("how", ["ConfigError", "DatasetError", "ValueError", "OSError", "RuntimeError"])
def test_an_error_of_a_loader_process_is_that_of_the_dataset(how):
    """In kind and words; the process's own traceback stays with it as its cause."""
    here, there = error_of(how, 0), error_of(how, 1)
    assert type(there) is type(here)
    assert str(there) == str(here)
    assert "broken.py" in str(there.__cause__)


@pytest.mark.parametrize(
    ("how", "told"),
    [("SIGKILL", "SIGKILL, perhaps for want of memory"), ("SIGBUS", r"/dev/shm\), in which .* no room")],
)
def test_a_loader_process_that_dies_is_told_in_one_line(how, told):
    error = error_of(how, 1)
    assert isinstance(error, LoaderError)
    assert re.search(told, str(error))
    assert "data.num_workers=0" in str(error)
    assert "\n" not in str(error)


@pytest.mark.parametrize("kind", [ConnectionResetError, EOFError])
def test_a_batch_that_is_lost_with_its_process_is_told_as_its_death(kind):
    """A batch is announced first and handed over then, by a process that may have been killed between."""
    loader = batches.make_loader(Broken(None), EveryImage(8, 4), 1)
    first = iter(loader)
    next(first)
    with pytest.raises(kind), loader._told():
        raise kind("of something else: the process lives")
    (process,) = loader._iterator._workers
    os.kill(process.pid, signal.SIGKILL)
    with pytest.raises(LoaderError, match="was killed by SIGKILL"), loader._told():
        raise kind("connection reset")


def test_the_process_that_was_killed_is_told_and_not_one_that_ended_in_peace():
    fork = multiprocessing.get_context("fork")
    peaceful, killed = fork.Process(target=time.sleep, args=(0,)), fork.Process(target=time.sleep, args=(600,))
    peaceful.start()
    killed.start()
    peaceful.join()
    assert peaceful.exitcode == 0
    threading.Timer(0.2, killed.kill).start()  # how it ended is known a moment after its connections end
    assert "was killed by SIGKILL" in batches._death([peaceful, killed])
    assert "ended with code 0" in batches._death([peaceful])


SHARED = """
from broken import Broken
from rankpose.data.batches import make_loader
from rankpose.data.identity_sampler import EveryImage
from rankpose.errors import LoaderError
for workers in (2, 0):
    try:
        print(sum(len(batch["index"]) for batch in make_loader(Broken(None), EveryImage(600, 300), workers)))
    except LoaderError as error:
        print(error)
"""


@pytest.mark.parametrize("kind", ["size=1m", "size=1m,ro"])
def test_shared_memory_without_room_names_the_way_out_which_works(kind):
    """In a namespace where /dev/shm is small, or cannot be written to."""
    inside = ["unshare", "--map-root-user", "--mount", "sh", "-c"]
    mount = f"mount -t tmpfs -o {kind} none /dev/shm"
    if sys.platform != "linux" or subprocess.run([*inside, mount], capture_output=True).returncode:
        pytest.skip("no namespaces here")
    command = [*inside, f'{mount} && exec "$@"', "sh", sys.executable, "-c", SHARED]
    process = subprocess.run(command, cwd=PROJECT / "tests", capture_output=True, text=True, timeout=1200)
    assert process.stderr == ""
    told, works = process.stdout.splitlines()
    assert "data.num_workers=0" in told
    assert "Read-only file system" in told if "ro" in kind else "/dev/shm" in told
    assert works == "600"


POOL = """
import os, subprocess, sys, time
from rankpose.data import pool
from rankpose.errors import one_line_errors
@one_line_errors
def main():
    with pool.workers(2, 4) as mapped:
        for number, _ in enumerate(mapped(abs, range(4))):
            if number == 1:
                subprocess.run(["sh", "-c", "kill -s {} 0"])
                time.sleep(600)
main()
"""


SLOW_TO_IMPORT = """
import os, time
try:
    os.close(os.open({0!r}, os.O_CREAT | os.O_EXCL))
except FileExistsError:  # another worker was here before
    time.sleep(8)
def setNumThreads(count): pass
"""


@pytest.mark.parametrize("slow", [False, True], ids=["started", "still importing"])
@pytest.mark.parametrize(("name", "code"), [("INT", 130), ("TERM", 143)])
def test_a_signal_to_all_processes_of_a_pool_shows_no_traceback(name, code, slow, tmp_path):
    """Also where one of them comes to look at signals only when it has been told twice, by the group and the pool."""
    if slow:
        (tmp_path / "cv2.py").write_text(SLOW_TO_IMPORT.format(str(tmp_path / "first")))
    process = subprocess.run(
        [sys.executable, "-c", POOL.format(name)],
        capture_output=True,
        text=True,
        timeout=1200,
        start_new_session=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), str(PROJECT)])},
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    assert process.returncode == code, process.stderr
    assert process.stderr == ""
