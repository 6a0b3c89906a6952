"""The index of a folder and the packed file: the same data, whole or not at all, and clear words where it is not."""

import json
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
import torch
from commands import PROJECT, run, succeed
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.io import loadmat, savemat
from torch.utils.data import DataLoader

from rankpose.data.augment import Augment, Views
from rankpose.data.batches import CropDataset, PlainCrops, default_workers
from rankpose.data.crop import View, crop_matrix, plain_square, reach, square_matrix, warp_points
from rankpose.data.crop_rules import BoxCrop, FSANetCrop, HopeNetCrop, RankPoseCrop, extent_of
from rankpose.data.datamodule import PoseDataModule
from rankpose.data.identity_sampler import Draw, IdentitySampler
from rankpose.data.packed import reading as store
from rankpose.data.packed.reading import PackedSquare, open_packed
from rankpose.data.packed.writing import prepare
from rankpose.data.readers.w300lp import read_300w_lp, split_by_photograph
from rankpose.errors import ConfigError, DatasetError
from rankpose.evaluation.protocol import Protocol
from rankpose.pose import euler_to_rotmat

SHAPE = np.random.default_rng(0).normal(size=(68, 3)) * [1, 1.2, 0.6]
"""Any rigid set of points will do for a head."""
SIDE = 240
PEOPLE, VIEWS = 6, 5


def write_tree(root):
    """Images with smooth content, and the parallel projection of a rigid head as landmarks."""
    rng = np.random.default_rng(1)
    for person in range(PEOPLE):
        for view in range(VIEWS):
            pose = rng.uniform(-50, 50, 3)
            seen = SHAPE @ euler_to_rotmat(torch.tensor(pose)).numpy().T
            points = rng.uniform(100, 140, 2) + 20 * seen[:, :2] * [1, -1]
            image = cv2.resize(
                rng.integers(0, 255, (9, 9, 3), dtype=np.uint8), (SIDE, SIDE), interpolation=cv2.INTER_CUBIC
            )
            stem = root / "AFW" / f"AFW_{person}_{view}"
            stem.parent.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(f"{stem}.jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 98])
            yaw, pitch, roll = np.radians(pose)
            savemat(f"{stem}.mat", {"Pose_Para": np.array([[pitch, yaw, roll, 0, 0, 0, 1]]), "pt2d": points.T})
    return root


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    return write_tree(tmp_path_factory.mktemp("tree") / "lp")


def pack(root, out, **options):
    records = read_300w_lp(root, max_angle=99.0)
    return prepare(records, root, out, read_300w_lp, 99.0, **{"workers": 1} | options)


@pytest.fixture(scope="module")
def packed(tree):
    out = tree.parent / "lp.arrow"
    pack(tree, out)
    return out


def module(tree, packed, augment=None, **options):
    options = {"size": 96, "identities_per_batch": 2, "num_workers": 0} | options
    split = partial(split_by_photograph, val_share=0.2, test_share=0.2)
    return PoseDataModule(read_300w_lp, str(tree), split, augment=augment, packed=packed and str(packed), **options)


def turned_pose(points, mirrored):
    """The rotation that shows SHAPE (mirrored or not) as these points, by least squares."""
    shape = SHAPE * [-1, 1, 1] if mirrored else SHAPE
    fit = np.linalg.lstsq(shape - shape.mean(0), (points - points.mean(0)) * [1, -1], rcond=None)[0].T
    right, up = fit / np.linalg.norm(fit, axis=1, keepdims=True)
    return np.stack([right, up, np.cross(right, up)])


# The crop


@settings(deadline=None)
@given(
    st.tuples(*[st.floats(-80, 80)] * 3),
    st.floats(0, 45),
    st.floats(1.2, 2.0),
    st.integers(0, 10**6),
)
def test_every_view_lies_within_the_packed_square(pose, turn, scale, seed):
    seen = SHAPE @ euler_to_rotmat(torch.tensor(pose, dtype=torch.float64)).numpy().T
    points = 100 + 30 * seen[:, :2]
    views = Views(scale=(1.2, scale), enlarge=1.1, zoom=0.2, turn_deg=turn, flip_p=0.5)
    left, top, side = reach(points, views.extent, views.largest_turn_deg)
    for number in range(8):
        view = views.draw(np.random.default_rng(seed), np.random.default_rng(seed + number))
        matrix = crop_matrix(points, 100, view)
        corners = np.array([[-0.5, -0.5], [99.5, -0.5], [-0.5, 99.5], [99.5, 99.5]])
        source = warp_points(corners, cv2.invertAffineTransform(matrix))
        # between two of the turns that are looked at, a corner may be out by a hundredth
        assert (source >= [left - 0.005 * side, top - 0.005 * side]).all()
        assert (source <= [left + 1.005 * side, top + 1.005 * side]).all()


def test_the_square_is_no_larger_than_the_test_crop_where_nothing_turns():
    points = np.array([[10.0, 20.0], [50.0, 40.0], [30.0, 22.0]])
    assert reach(points, 1.4, 0.0) == pytest.approx((2, 2, 56))
    corners = warp_points(np.array([[2.0, 2.0], [58.0, 58.0]]), square_matrix(2, 2, 56, 64))
    assert np.allclose(corners, [[-0.5, -0.5], [63.5, 63.5]])


@given(st.integers(2, 9), st.floats(0, 60), st.floats(1, 3), st.floats(1, 3), st.integers(0, 10**6))
def test_a_crop_that_a_file_holds_lies_within_its_square(count, turn, extent, wanted, seed):
    points = np.random.default_rng(seed).uniform(-1, 1, (count, 2)) * np.random.default_rng(seed + 1).uniform(0, 9, 2)
    left, top, side = reach(points, extent, turn)
    inner_left, inner_top, inner = plain_square(points, wanted)
    inside = min(inner_left - left, inner_top - top, left + side - inner_left - inner) > -2e-3 * side
    assert inside or not PackedSquare(extent=extent, turn_deg=turn).holds(wanted, 0)
    assert PackedSquare(extent=extent, turn_deg=turn).holds(extent, turn)
    assert not PackedSquare(extent=extent, turn_deg=turn).holds(extent, turn + 1)


@given(
    st.integers(0, 10**6), st.sampled_from([RankPoseCrop(1.4), HopeNetCrop(), FSANetCrop(), BoxCrop(0.1, 0.3, 0, 1)])
)
def test_a_rules_extent_is_the_square_that_holds_what_it_takes(seed, rule):
    points = np.random.default_rng(seed).uniform(300, 700, (68, 2))
    extent = extent_of(rule, points, points)
    left, top, side = plain_square(points, extent)
    bounds = np.array(rule.rectangle(points)) - [left, top, left + side, top + side]
    outward = bounds * [-1, -1, 1, 1]
    assert outward.max() == pytest.approx(0, abs=1.6), "whole pixels"


# Packed and folder are one


def test_packed_and_folder_give_the_same_labels_and_crops(tree, packed):
    folder, file = (module(tree, place) for place in (None, packed))
    for part in ("train", "val", "test"):
        a, b = folder.records(part), file.records(part)
        assert list(a.names) == list(b.names)
        assert np.array_equal(a.pose, b.pose)
        assert list(a.identity_names[a.identity]) == list(b.identity_names[b.identity])
    one, two = next(iter(folder.train_dataloader())), next(iter(file.train_dataloader()))
    assert torch.equal(one["index"], two["index"])
    assert torch.equal(one["pose"], two["pose"])
    difference = (one["image"].float() - two["image"].float()).abs()
    assert difference.mean() < 2.5, "JPEG and one more resampling"
    assert one["image"].float().std() > 20, "there is something to see"


def test_what_the_file_says_of_itself(tree, packed):
    packing = store.read_packing(packed)
    assert (packing.images, packing.identities, packing.version) == (PEOPLE * VIEWS, PEOPLE, store.VERSION)
    assert packing.crop == PackedSquare()
    assert len(packing.sources) == 64
    table = pd.read_feather(packed)
    assert list(table["subset"].unique()) == ["AFW"]
    assert table["rotation"][0].shape == (3,)
    first = open_packed(packed)[0]
    rotation = np.stack(table["rotation"][0])
    assert np.allclose(rotation, euler_to_rotmat(torch.tensor(first.pose)).numpy(), atol=1e-5)
    image = cv2.imdecode(np.frombuffer(table["image"][0], np.uint8), cv2.IMREAD_COLOR)
    assert image.shape == (256, 256, 3)
    # the square leads back to the source's pixels
    square = square_matrix(*table.loc[0, ["crop_left", "crop_top", "crop_side"]].astype(float), 256)
    source = loadmat(tree / Path(first.name).with_suffix(".mat"))["pt2d"].T
    assert np.allclose(warp_points(source, square), first.landmarks, atol=1e-2)
    assert np.allclose(first.face_box, [*first.landmarks.min(0), *first.landmarks.max(0)], atol=1e-2)


class Watch:
    """Stands where the surroundings swap does, and keeps the landmarks that it is given."""

    def __call__(self, images, landmarks, rng):
        self.landmarks = landmarks
        return images


@pytest.mark.parametrize("place", ["folder", "packed"])
def test_labels_follow_every_augmentation(tree, packed, place):
    """The pose recovered from the warped landmarks of each image is its label."""
    watch = Watch()
    augment = Augment(Views(scale=(1.2, 1.6), turn_deg=20, flip_p=0.5), surroundings=watch)
    data = module(tree, packed if place == "packed" else None, augment)
    mirrored = []
    for epoch in range(6):
        loader = data.train_dataloader()
        loader.sampler.set_epoch(epoch)
        for batch in loader:
            for points, pose in zip(watch.landmarks, batch["pose"], strict=True):
                label = euler_to_rotmat(pose.double()).numpy()
                errors = [np.abs(turned_pose(points, flip) - label).max() for flip in (False, True)]
                assert min(errors) < 2e-3
                mirrored.append(errors[1] < errors[0])
    assert set(mirrored) == {False, True}


@pytest.mark.long
def test_workers_started_afresh_see_the_same_file(tree, packed):
    records = split_by_photograph(open_packed(packed), 0.2, 0.2).train
    dataset = CropDataset(records, 64, augment=Augment(Views(turn_deg=20)))
    batches = []
    for options in ({"num_workers": 0}, {"num_workers": 1, "multiprocessing_context": "spawn"}):
        sampler = IdentitySampler(records.identity, records.pose, 2, seed=4)
        batches.append(next(iter(DataLoader(dataset, sampler=sampler, batch_size=None, **options))))
    assert all(torch.equal(batches[0][key], batches[1][key]) for key in batches[0])


def test_two_ranks_see_disjoint_images_and_together_every_identity(tree, packed):
    records = open_packed(packed)
    order = [
        IdentitySampler(records.identity, records.pose, 1, draws_per_identity=1, rank=rank, world_size=2)
        for rank in (0, 1)
    ]
    rows = [{draw.row for batch in share for draw in batch} for share in order]
    assert not rows[0] & rows[1]
    assert set(records.identity[sorted(rows[0] | rows[1])]) == set(range(PEOPLE))


def test_a_file_that_cannot_serve_the_configuration_is_refused(tree, packed):
    with pytest.raises(ConfigError, match=r"crop\.turn_deg=40"):
        module(tree, packed, Augment(Views(turn_deg=40))).setup("fit")
    with pytest.raises(ConfigError, match=r"crop\.extent=2"):
        module(tree, packed, test_scale=2.0).setup("fit")
    with pytest.raises(DatasetError, match=r"99 degrees, no limit.*max_angle"):
        module(tree, packed, max_angle=None).setup("fit")
    with pytest.raises(DatasetError, match="was packed from"):
        store.read_packed(packed, partial(read_300w_lp, subsets=["AFW"]), 99.0)
    few = store.read_packed(packed, read_300w_lp, 30.0)
    assert 0 < len(few) < PEOPLE * VIEWS
    assert len(few) + len(few.rejects) == PEOPLE * VIEWS
    assert np.abs(few.pose).max() <= 30


@pytest.mark.parametrize("most", [1.63, 1.777, 2.0])
def test_the_settings_that_a_refusal_names_are_enough(tree, packed, most):
    views = Views(scale=(1.2, most), turn_deg=33.3)
    with pytest.raises(ConfigError) as refused:
        module(tree, packed, Augment(views)).setup("fit")
    told = re.search(r"crop\.extent=(\S+) crop\.turn_deg=(\S+),", str(refused.value))
    assert PackedSquare(extent=float(told[1]), turn_deg=float(told[2])).holds(views.extent, views.largest_turn_deg)


RULES = {"rankpose": RankPoseCrop(1.4), "hopenet": HopeNetCrop(), "fsanet": FSANetCrop()}
REFUSED = {("fsanet", None), ("fsanet", "box_shift"), ("hopenet", "box_shift")} | {
    (name, "box_scale") for name in RULES
}


@pytest.fixture(scope="module")
def white(tmp_path_factory):
    """Heads in white images that are larger than any crop: only what was not packed is black."""
    root = tmp_path_factory.mktemp("white") / "lp"
    (root / "AFW").mkdir(parents=True)
    rng = np.random.default_rng(2)
    for number in range(20):
        points = 200 + rng.uniform(8, 16, 2) * rng.normal(size=(68, 2))
        cv2.imwrite(f"{root}/AFW/AFW_{number}_0.png", np.full((400, 400, 3), 255, np.uint8))
        savemat(f"{root}/AFW/AFW_{number}_0.mat", {"Pose_Para": np.zeros((1, 7)), "pt2d": points.T})
    pack(root, root.parent / "lp.arrow")
    return root


def darkest(protocol, rule):
    """The darkest pixel of all that a test sees."""
    records = protocol.records()
    rows = [Draw(row) for row in range(len(records))]
    return min(
        PlainCrops(records, rule, 64, corruption)[rows]["image"].min().item() for corruption in protocol.corruptions()
    )


@pytest.mark.parametrize("corruption", [None, "box_shift", "box_scale"])
@pytest.mark.parametrize("name", RULES)
def test_a_test_from_a_packed_file_sees_what_the_folder_shows_or_is_refused(white, tmp_path, name, corruption):
    protocol = partial(Protocol, "lp", "", read_300w_lp, str(white), corruption=corruption)
    file, rule = white.parent / "lp.arrow", RULES[name]
    if (name, corruption) in REFUSED:
        narrow = protocol(packed=str(file))
        with pytest.raises(ConfigError, match=r"protocol\.packed=.*lp\.arrow.*packed=null") as refused:
            narrow.check_reach(narrow.records(), rule)
        assert darkest(narrow, rule) == 0
        told = re.search(r"rankpose\.prepare\) with crop\.extent=(\S+) crop\.turn_deg=(\S+),", str(refused.value))
        file = tmp_path / "wide.arrow"
        pack(white, file, crop=PackedSquare(extent=float(told[1]), turn_deg=float(told[2])))
    for wide in (protocol(packed=str(file)), protocol()):
        wide.check_reach(wide.records(), rule)
        assert darkest(wide, rule) > 150, "a pixel of the edge"
        assert bool(wide.remarks(wide.records())) == (wide.packed is not None), "figures are not quite the folder's"


@pytest.mark.parametrize(("damage", "told"), [("cut", "cut off"), ("foreign", "none that rankpose.prepare wrote")])
def test_a_file_that_is_no_packed_one_is_refused_by_name(tree, packed, tmp_path, damage, told):
    bad = tmp_path / "bad.arrow"
    if damage == "cut":
        bad.write_bytes(packed.read_bytes()[:-1000])
    else:
        pd.DataFrame({"a": [1]}).to_feather(bad, compression="uncompressed")
    with pytest.raises(DatasetError, match=told) as refused:
        open_packed(bad)
    assert str(bad) in str(refused.value)
    assert "prepare it again" in str(refused.value)
    with pytest.raises(DatasetError, match=told):  # and it is not written over
        pack(tree, bad)
    with pytest.raises(DatasetError, match="no such file"):
        open_packed(tmp_path / "nowhere.arrow")


# Preparing


def prepare_lp(tree, out, *more, **options):
    return run("prepare", "data=300w_lp", f"data.root={tree}", f"out={out}", *more, cwd=out.parent, **options)


IN_PARTS = """
import sys
from pathlib import Path
sys.path[:0] = ["tests", "tests/data"]
from test_packed import pack
pack(Path(sys.argv[1]), Path(sys.argv[2]), shard=2)
"""


@pytest.mark.long
@pytest.mark.slow
def test_killed_at_any_moment_it_goes_on_without_doing_parts_again(tree, packed, tmp_path):
    out = tmp_path / "lp.arrow"
    arguments = [sys.executable, "-c", IN_PARTS, str(tree), str(out)]
    kept: dict[Path, int] = {}
    for _ in range(3):
        running = subprocess.Popen(arguments, stderr=subprocess.DEVNULL, cwd=PROJECT)
        begin = time.monotonic()
        while running.poll() is None and time.monotonic() < begin + 1200:
            if len(set(tmp_path.glob("*.parts/*/[0-9]*.arrow"))) > len(kept):
                break
            time.sleep(0.001)
        os.kill(running.pid, signal.SIGKILL)
        running.wait()
        if out.exists():
            break
        now = {part: part.stat().st_mtime_ns for part in tmp_path.glob("*.parts/*/[0-9]*.arrow")}
        assert len(now) > len(kept)
        assert all(now[part] == written for part, written in kept.items()), "a finished part was written again"
        kept = now
    assert kept, "it was never stopped half-way"
    subprocess.run(arguments, check=True, stderr=subprocess.DEVNULL, cwd=PROJECT)
    assert not list(tmp_path.glob("*.parts"))
    whole = tmp_path / "whole.arrow"
    pack(tree, whole, shard=2)
    assert out.read_bytes() == whole.read_bytes()
    assert pd.read_feather(out).equals(pd.read_feather(packed)), "parts of any size make the same table"


@pytest.mark.long
@pytest.mark.slow
def test_a_full_disk_ends_it_with_one_line_and_it_goes_on_from_there(tree, tmp_path):
    out = tmp_path / "lp.arrow"

    def little_room():
        resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, resource.RLIM_INFINITY))

    read_300w_lp(tree)  # the index is there
    failed = prepare_lp(tree, out, prepare=little_room)
    assert failed.returncode == 1
    (line,) = [line for line in failed.stderr.splitlines() if line.startswith("error:")]
    assert "no room" in line
    assert str(out) in line
    assert "Traceback" not in failed.stderr
    assert not out.exists()
    succeed(prepare_lp(tree, out))
    assert len(open_packed(out)) == PEOPLE * VIEWS


def test_two_at_once_do_each_other_no_harm(tree, packed, tmp_path):
    out = tmp_path / "lp.arrow"
    with ThreadPoolExecutor(2) as both:
        packings = list(both.map(lambda _: pack(tree, out), range(2)))
    assert packings[0] == packings[1] == store.read_packing(out)
    assert out.read_bytes() == packed.read_bytes()


@pytest.mark.slow
def test_a_finished_file_stays_and_one_of_other_settings_is_not_written_over(tree, tmp_path):
    out = tmp_path / "lp.arrow"
    first = succeed(prepare_lp(tree, out))
    assert f"{PEOPLE * VIEWS} images of {PEOPLE} identities" in first.stdout
    written = out.stat().st_mtime_ns
    pack(tree, out)
    assert out.stat().st_mtime_ns == written
    with pytest.raises(DatasetError, match="delete it, or name another"):
        pack(tree, out, crop=PackedSquare(size=128))
    with pytest.raises(DatasetError, match=r"ends with \.arrow"):
        pack(tree, tmp_path / "lp.bin")


@pytest.fixture
def faulty(tmp_path):
    """A tree with one of each fault, and what is to be said of it."""
    root = write_tree(tmp_path / "lp")
    stems = [root / "AFW" / f"AFW_0_{view}" for view in range(VIEWS)] + [
        root / "AFW" / f"AFW_1_{view}" for view in (0, 1)
    ]
    cut, missing, malformed, nan, beyond, outside, broken = stems

    def change(stem, **fields):
        old = {key: value for key, value in loadmat(f"{stem}.mat").items() if key[0] != "_"}
        savemat(f"{stem}.mat", old | fields)

    image = Path(f"{cut}.jpg")
    image.write_bytes(image.read_bytes()[:3000])
    Path(f"{missing}.mat").unlink()
    Path(f"{malformed}.mat").write_bytes(b"MATLAB 5.0 MAT-file, but not really")
    change(nan, Pose_Para=np.full((1, 7), np.nan))
    change(beyond, Pose_Para=np.radians([[0, 120.0, 0, 0, 0, 0, 0]]))
    change(outside, pt2d=loadmat(f"{outside}.mat")["pt2d"] + 500)
    # whole at both ends, but not between
    image = Path(f"{broken}.jpg")
    image.write_bytes(b"\xff\xd8" + image.read_bytes()[2:20] + b"\xff\xd9")
    told = {
        f"{cut}.jpg": "cut-off",
        f"{missing}.mat": "no .mat",
        f"{malformed}.mat": "malformed",
        f"{nan}.jpg": "NaN",
        f"{beyond}.jpg": "beyond the range",
        f"{outside}.jpg": "outside the image",
        f"{broken}.jpg": "",
    }
    return root, told


@pytest.mark.slow
def test_rejects_go_to_a_table_with_file_and_reason(faulty, tmp_path):
    root, told = faulty
    out = tmp_path / "lp.arrow"
    done = succeed(prepare_lp(root, out))
    table = pd.read_csv(tmp_path / "lp.rejects.csv").set_index("file")["reason"]
    assert set(table.index) == set(told)
    assert all(word in table[file] for file, word in told.items())
    assert len(open_packed(out)) == PEOPLE * VIEWS - len(told)
    assert {reject.file for reject in open_packed(out).rejects} == set(told)
    assert "lp.rejects.csv" in done.stdout
    strict = prepare_lp(root, tmp_path / "s.arrow", "strict=true")
    assert strict.returncode == 1
    assert "strict=false" in strict.stderr
    assert any(file in strict.stderr for file in told)
    assert not (tmp_path / "s.arrow").exists()


# The index


def test_the_index_spares_reading_and_is_made_again_when_a_file_changed(tmp_path):
    root = write_tree(tmp_path / "lp")
    before = read_300w_lp(root)
    (index,) = root.glob(".rankpose-*.arrow")
    annotation = root / "AFW" / "AFW_2_1.mat"
    status, content = annotation.stat(), annotation.read_bytes()
    # the same size and time: who reads the folder again would stumble over it
    annotation.write_bytes(b"x" * len(content))
    os.utime(annotation, ns=(status.st_atime_ns, status.st_mtime_ns))
    again = read_300w_lp(root)
    assert np.array_equal(again.pose, before.pose)
    assert all(np.array_equal(again.landmarks[i], before.landmarks[i]) for i in range(len(again)))
    os.utime(annotation)
    assert len(read_300w_lp(root)) == len(before) - 1
    annotation.write_bytes(content)
    assert len(read_300w_lp(root)) == len(before)
    for suffix in (".jpg", ".mat"):
        shutil.copy(root / "AFW" / f"AFW_2_1{suffix}", root / "AFW" / f"AFW_9_1{suffix}")
    assert len(read_300w_lp(root)) == len(before) + 1
    (root / "AFW" / "AFW_9_1.mat").unlink()
    assert len(read_300w_lp(root)) == len(before)
    index.write_bytes(b"no index")
    assert len(read_300w_lp(root)) == len(before)
    assert not list(root.glob("*.lock"))


def test_an_index_moves_with_its_folder(tmp_path):
    root = write_tree(tmp_path / "lp")
    (root / "AFW" / "AFW_0_0.mat").unlink()
    read_300w_lp(root)
    (index,) = root.glob(".rankpose-*.arrow")
    written = index.stat().st_mtime_ns
    moved = root.rename(tmp_path / "moved")
    records = read_300w_lp(moved)
    assert (moved / index.name).stat().st_mtime_ns == written
    assert [reject.file for reject in records.rejects] == [str(moved / "AFW" / "AFW_0_0.mat")]
    assert Path(records.images[0]).is_file()


def test_the_index_of_a_read_only_folder_goes_to_the_users_cache(tmp_path, monkeypatch):
    root = write_tree(tmp_path / "lp")
    monkeypatch.setenv("RANKPOSE_CACHE", str(tmp_path / "cache"))
    root.chmod(0o555)
    try:
        records = read_300w_lp(root)
        assert not list(root.glob(".rankpose*"))
        (index,) = (tmp_path / "cache").glob("*.arrow")
        written = index.stat().st_mtime_ns
        assert list(read_300w_lp(root).names) == list(records.names)
        assert index.stat().st_mtime_ns == written
    finally:
        root.chmod(0o755)


def test_a_folder_needs_no_index_where_none_can_be_kept(tmp_path, monkeypatch, caplog):
    root = write_tree(tmp_path / "lp")
    (tmp_path / "cache").mkdir(mode=0o555)
    monkeypatch.setenv("RANKPOSE_CACHE", str(tmp_path / "cache"))
    root.chmod(0o555)
    try:
        assert len(read_300w_lp(root)) == PEOPLE * VIEWS
        assert "RANKPOSE_CACHE" in caplog.text
    finally:
        root.chmod(0o755)


# Training from it


@pytest.mark.slow
def test_training_from_the_packed_file_needs_no_folder(tree, packed, tmp_path):
    arguments = ["data=300w_lp", f"data.root={tmp_path / 'gone'}"]
    arguments += [f"data.packed={packed}", "data.split.val_share=0.2", "data.split.test_share=0.2"]
    arguments += [
        "data.max_angle=35",
        "augment=published",
        "image_size=32",
        "data.identities_per_batch=2",
        "data.num_workers=1",
    ]
    arguments += ["backbone.options.channels=[8,16,24,32]", "trainer.max_epochs=1", "logger=csv", "hydra.run.dir=run"]
    done = succeed(run("train", *arguments, cwd=tmp_path))
    assert json.loads((tmp_path / "run" / "metrics.json").read_text())["test/mae"] > 0
    assert "1 identities with 1 images are not visited" in done.stdout + done.stderr
    known = json.loads((tmp_path / "run" / "run.json").read_text())["data"]
    assert (known["identities"]["train"], known["left_out"]) == (2, {"identities": 1, "images": 1})
    predictions = pd.read_parquet(tmp_path / "run" / "predictions.parquet")
    assert predictions["name"].str.startswith("AFW/").all()
    page = (tmp_path / "run" / "report.html").read_text()
    assert page.count("data:image/jpeg") >= len(predictions), "the gallery shows the packed crops"
    assert predictions["name"][0].rpartition("/")[2] in page


def test_a_test_set_is_not_trained_on(tree):
    data = PoseDataModule(read_300w_lp, str(tree), None, size=32)
    with pytest.raises(ConfigError, match="for testing only"):
        data.setup("fit")


@pytest.mark.parametrize(("key", "value"), [("size", 0), ("extent", 0.5), ("turn_deg", 200), ("quality", 101)])
def test_a_crop_that_cannot_be_is_refused(key, value):
    with pytest.raises(ConfigError, match=f"crop.{key}={value}"):
        PackedSquare(**{key: value})


def test_views_beyond_the_file_name_their_extent():
    assert Views().extent == pytest.approx(1.6 / 0.99)
    assert PackedSquare().extent > Views().extent
    assert View().scale <= PackedSquare().extent


def test_loader_processes_are_shared_between_training_processes():
    assert default_workers(1000) == 1
    assert 1 <= default_workers(2) <= default_workers() <= 8
