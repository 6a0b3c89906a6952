"""A strength means the same on every face, harms more than the one before it, and repeats; curves say what it costs."""

import re
import sys
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from rankpose.data import corruption_sheet
from rankpose.data.corruption import KINDS, REACH, REFERENCE, STRENGTHS, Corruption, image_rng
from rankpose.data.crop import View, crop_matrix, warp_image
from rankpose.data.readers.mat_files import landmark_box
from rankpose.data.synthetic import scene
from rankpose.data.synthetic.head import build_mesh, draw_expression, make_identity
from rankpose.errors import ConfigError
from rankpose.report.robustness import robustness_curves, strength_table

BOX_KINDS = ("box_shift", "box_scale")
PIXEL_KINDS = tuple(kind for kind in KINDS if kind not in BOX_KINDS)
RANDOM_PIXEL_KINDS = ("noise", "dark", "occlusion")
POINTS = np.random.default_rng(0).normal(size=(68, 2)) * (30, 40) + (100, 80)
every_strength = pytest.mark.parametrize("strength", STRENGTHS)

Photograph = tuple[np.ndarray, np.ndarray]
"""(H, W, 3) uint8 and the face box (4,)."""


@pytest.fixture(scope="session")
def photograph() -> Photograph:
    rng = np.random.default_rng(3)
    mesh = build_mesh(make_identity(3), draw_expression(rng))
    picture, landmarks = scene.render(mesh, np.array([25.0, -5.0, 8.0]), scene.draw_scene(np.random.default_rng(8)))
    return picture, landmark_box(landmarks)


def crop(image: np.ndarray, box: np.ndarray, side: int = 96) -> np.ndarray:
    """What a network sees, as float."""
    return warp_image(image, crop_matrix(box.reshape(2, 2), side, View()), side).astype(float)


def harm(image: np.ndarray, box: np.ndarray, corruption: Corruption, rows: int = 1) -> float:
    """Root mean squared difference to the clean crop, over draws."""
    clean = crop(image, box)
    corrupted = [crop(corruption.image(image, box, image_rng(0, row)), box) for row in range(rows)]
    return float(np.sqrt(np.mean([(other - clean) ** 2 for other in corrupted])))


def linear(display: np.ndarray) -> np.ndarray:
    """sRGB to light, written down again."""
    value = display / 255.0
    return np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)


# All kinds


@pytest.mark.parametrize("kind", KINDS)
def test_strength_zero_is_the_clean_image_and_box(photograph: Photograph, kind: str) -> None:
    image, box = photograph
    clean = Corruption(kind, 0)
    np.testing.assert_array_equal(clean.image(image, box, image_rng(0, 0)), image)
    np.testing.assert_array_equal(clean.points(POINTS, image_rng(0, 0)), POINTS)
    assert "clean" in str(clean)


@pytest.mark.parametrize("kind", KINDS)
def test_a_corruption_says_what_it_is_in_its_unit(kind: str) -> None:
    for strength, value in zip(STRENGTHS, KINDS[kind].values, strict=True):
        assert str(Corruption(kind, strength)) == f"{kind}, strength {strength} of 5 ({KINDS[kind].unit}: {value:g})"


@pytest.mark.parametrize("kind", KINDS)
@given(data=st.data())
@settings(max_examples=25, deadline=None)
def test_any_image_and_any_box_give_an_image_of_the_same_size(kind: str, data: st.DataObject) -> None:
    height, width = data.draw(st.integers(1, 60)), data.draw(st.integers(1, 60))
    left, top = data.draw(st.floats(-80, 80)), data.draw(st.floats(-80, 80))
    box = np.array([left, top, left + data.draw(st.floats(0.01, 300)), top + data.draw(st.floats(0.01, 300))])
    image = np.random.default_rng(height).integers(0, 256, (height, width, 3), dtype=np.uint8)
    before = image.copy()
    corruption = Corruption(kind, data.draw(st.sampled_from(STRENGTHS)))
    corrupted = corruption.image(image, box.astype(np.float32), image_rng(0, 0))
    np.testing.assert_array_equal(image, before)
    assert corrupted.shape == image.shape
    assert corrupted.dtype == np.uint8
    reach = REACH * max(box[2] - box[0], box[3] - box[1], 1) + 2
    if (box[2:] + reach < 0).any() or (box[:2] - reach > (width, height)).any():
        np.testing.assert_array_equal(corrupted, image)


@pytest.mark.parametrize("kind", KINDS)
def test_draws_follow_from_seed_and_row(photograph: Photograph, kind: str) -> None:
    image, box = photograph
    corruption = Corruption(kind, 3)

    def drawn(seed: int, row: int) -> tuple[bytes, bytes]:
        pixels = corruption.image(image, box, image_rng(seed, row))
        return pixels.tobytes(), corruption.points(POINTS, image_rng(seed, row)).tobytes()

    first = drawn(1, 7)
    assert drawn(1, 7) == first
    others = [drawn(1, row) for row in range(8, 16)] + [drawn(2, 7)]
    is_random = kind in (*RANDOM_PIXEL_KINDS, *BOX_KINDS)
    assert any(other != first for other in others) == is_random


@pytest.mark.parametrize("wrong", [6, -1, 2.5, 2.0, "3", None])
def test_a_strength_that_does_not_exist_is_refused(wrong: object) -> None:
    with pytest.raises(ConfigError, match="whole number from 0"):
        Corruption("blur", wrong)  # type: ignore[arg-type]


def test_an_unknown_corruption_is_answered_with_the_known_ones() -> None:
    with pytest.raises(ConfigError) as error:
        Corruption("fog", 1)
    assert "protocol.corruption=fog" in str(error.value)
    assert all(kind in str(error.value) for kind in KINDS)


# Pixels


@pytest.mark.parametrize("kind", PIXEL_KINDS)
def test_each_strength_harms_more_than_the_one_before(photograph: Photograph, kind: str) -> None:
    image, box = photograph
    harms = [harm(image, box, Corruption(kind, strength)) for strength in STRENGTHS]
    assert harms[0] > 0.5
    assert (np.diff(harms) > 0).all(), harms


@pytest.mark.parametrize("kind", PIXEL_KINDS)
@pytest.mark.parametrize("times", [1.5, 3.0])
def test_a_strength_means_the_same_at_any_size_of_the_photograph(
    photograph: Photograph, kind: str, times: float
) -> None:
    image, box = photograph
    sized = cv2.resize(image, None, fx=times, fy=times, interpolation=cv2.INTER_CUBIC)
    size = sized.shape[0] / image.shape[0]
    sized_box = size * box + (size - 1) / 2  # whole numbers are pixel centres
    for strength in (2, 4):
        corruption = Corruption(kind, strength)
        expected = harm(image, box, corruption, rows=6)
        assert harm(sized, sized_box, corruption, rows=6) == pytest.approx(expected, rel=0.25)


@pytest.mark.parametrize("kind", PIXEL_KINDS)
@every_strength
def test_pixels_far_from_the_face_stay(kind: str, strength: int) -> None:
    image = np.random.default_rng(1).integers(0, 256, (280, 320, 3), dtype=np.uint8)
    box = np.array([130.3, 90.6, 190.2, 170.9])
    corrupted = Corruption(kind, strength).image(image, box, image_rng(0, 0))
    changed = np.argwhere((corrupted != image).any(axis=2))[:, ::-1]
    reach = REACH * 80.3 + 1
    assert len(changed)
    assert (changed >= box[:2] - reach).all()
    assert (changed <= box[2:] + reach).all()


@every_strength
@pytest.mark.parametrize("side", [60, 300])
def test_blur_spreads_an_edge_by_its_share_of_the_face(strength: int, side: int) -> None:
    image = np.zeros((side, 3 * side, 3), np.uint8)
    image[:, 3 * side // 2 :] = 255
    box = np.array([side, 0, 2 * side, side])
    blurred = Corruption("blur", strength).image(image, box, image_rng(0, 0))
    slope = np.diff(blurred[side // 2, :, 0].astype(float))[side:-side]
    place = np.arange(len(slope))
    middle = (slope * place).sum() / slope.sum()
    sigma = np.sqrt((slope * (place - middle) ** 2).sum() / slope.sum())
    expected = KINDS["blur"].values[strength - 1] * side
    assert sigma == pytest.approx(expected, rel=0.06, abs=0.08)  # a pixel's own width and whole grey levels


@every_strength
@pytest.mark.parametrize("grey", [90, 150])
def test_noise_is_that_of_counted_electrons(strength: int, grey: int) -> None:
    image = np.full((300, 300, 3), grey, np.uint8)
    box = np.array([100, 100, 100 + REFERENCE, 100 + REFERENCE])
    noisy = Corruption("noise", strength).image(image, box, image_rng(0, 0))[100:200, 100:200]
    electrons, light = KINDS["noise"].values[strength - 1], float(linear(np.array(grey)))
    deviation = np.sqrt(electrons * light + 4) / electrons  # shot noise and two electrons of read noise
    # black clips the lower half of it: a normal distribution's 50 and 90 % points
    middle, high = np.quantile(linear(noisy), (0.5, 0.9))
    assert middle == pytest.approx(light, rel=0.05)
    assert (high - middle) / 1.2816 == pytest.approx(deviation, rel=0.08)


@every_strength
def test_dark_takes_light_away_by_stops(strength: int) -> None:
    image = np.full((300, 300, 3), 200, np.uint8)
    box = np.array([100, 100, 200, 200])
    darkened = Corruption("dark", strength).image(image, box, image_rng(0, 0))[100:200, 100:200]
    stops = np.log2(linear(image[0, 0]) / linear(darkened).mean(axis=(0, 1)))
    np.testing.assert_allclose(stops, KINDS["dark"].values[strength - 1], atol=0.1)
    assert darkened.std() > 0.5


def test_occlusion_covers_its_share_of_the_box_and_grows_in_place() -> None:
    image = np.zeros((300, 400, 3), np.uint8)
    image[:] = (255, 0, 255)
    box = np.array([100.0, 50.0, 300.0, 250.0])
    centres, shares = [], []
    for row in range(40):
        smaller = np.zeros(image.shape[:2], bool)
        for strength in STRENGTHS:
            covered = (Corruption("occlusion", strength).image(image, box, image_rng(0, row)) != image).any(axis=2)
            assert covered[50:250, 100:300].sum() == covered.sum()
            shares.append(covered.sum() / 200**2 / KINDS["occlusion"].values[strength - 1])
            assert (covered | ~smaller).all()
            smaller = covered
        centres.append(np.argwhere(covered).mean(axis=0))
    np.testing.assert_allclose(shares, 1, atol=0.08)  # edges of a narrow bar fall on whole pixels
    assert np.mean(shares) == pytest.approx(1, abs=0.01)
    assert np.ptp(centres, axis=0).min() > 40


def test_low_resolution_leaves_no_detail_finer_than_its_pixels() -> None:
    side = 512
    column = np.arange(3 * side)
    box = np.array([side, side, 2 * side, 2 * side])
    for strength, pixels in zip(STRENGTHS, KINDS["low_resolution"].values, strict=True):
        for cycles, survives in ((0.2 * pixels, True), (pixels, False)):  # across the face; pixels / 2 is the limit
            wave = 127.5 + 100 * np.sin(2 * np.pi * cycles * column / side)
            image = np.repeat(np.tile(wave, (3 * side, 1))[..., None], 3, axis=2).astype(np.uint8)
            small = Corruption("low_resolution", strength).image(image, box, image_rng(0, 0))
            contrast = small[side : 2 * side, side : 2 * side].std() / image.std()
            assert contrast > 0.6 if survives else contrast < 0.2, (strength, cycles)


def test_a_face_already_smaller_is_not_made_smaller(photograph: Photograph) -> None:
    image, _ = photograph
    box = np.array([100, 100, 115, 112])
    corrupted = Corruption("low_resolution", 5).image(image, box, image_rng(0, 0))
    np.testing.assert_array_equal(corrupted, image)


# Boxes


@pytest.mark.parametrize("kind", PIXEL_KINDS)
def test_corrupted_pixels_leave_the_box(kind: str) -> None:
    np.testing.assert_array_equal(Corruption(kind, 5).points(POINTS, image_rng(0, 0)), POINTS)


@pytest.mark.parametrize("kind", BOX_KINDS)
def test_a_wrong_box_leaves_the_pixels(photograph: Photograph, kind: str) -> None:
    image, box = photograph
    np.testing.assert_array_equal(Corruption(kind, 5).image(image, box, image_rng(0, 0)), image)


@every_strength
def test_shifted_boxes_go_as_far_as_they_should_in_all_directions(strength: int) -> None:
    shift = Corruption("box_shift", strength)
    before = POINTS.copy()
    moves = np.array([shift.points(POINTS, image_rng(0, row)) - POINTS for row in range(400)])
    np.testing.assert_array_equal(POINTS, before)
    np.testing.assert_allclose(moves, np.broadcast_to(moves[:, :1], moves.shape), atol=1e-9)
    share = np.linalg.norm(moves[:, 0], axis=1) / np.ptp(POINTS, axis=0).max()
    np.testing.assert_allclose(share, KINDS["box_shift"].values[strength - 1])
    directions = moves[:, 0] / np.linalg.norm(moves[:, 0], axis=1, keepdims=True)
    assert np.linalg.norm(directions.mean(axis=0)) < 0.15  # 0.05 for 400 draws of every direction


@every_strength
def test_scaled_boxes_are_larger_as_often_as_smaller(strength: int) -> None:
    scale = Corruption("box_scale", strength)
    before = POINTS.copy()
    boxes = [scale.points(POINTS, image_rng(0, row)) for row in range(400)]
    np.testing.assert_array_equal(POINTS, before)
    factors = np.array([np.ptp(points, axis=0) / np.ptp(POINTS, axis=0) for points in boxes])
    middles = np.array([points.min(axis=0) + points.max(axis=0) for points in boxes]) / 2
    np.testing.assert_allclose(np.exp(np.abs(np.log(factors))), KINDS["box_scale"].values[strength - 1])
    assert 0.4 < (factors[:, 0] > 1).mean() < 0.6
    np.testing.assert_allclose(middles, np.tile((POINTS.min(axis=0) + POINTS.max(axis=0)) / 2, (400, 1)))


def test_the_sheet_has_a_row_for_each_kind(real_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "sheet.png"
    arguments = ["sheet", str(out), "--images", str(real_data / "aflw2000"), "--side", "64"]
    monkeypatch.setattr(sys, "argv", arguments)
    corruption_sheet.main()
    sheet = np.asarray(Image.open(out))
    assert sheet.shape == (4 + 68 * len(KINDS), 4 + 68 * (1 + len(STRENGTHS)), 3)
    tiles = sheet[4:, 4:].reshape(len(KINDS), 68, 1 + len(STRENGTHS), 68, 3).swapaxes(1, 2)[:, :, :64, :64]
    assert (tiles[:, 0] == tiles[0, 0]).all()
    assert all((tiles[:, strength] != tiles[0, 0]).any(axis=(1, 2, 3)).all() for strength in STRENGTHS)


# Curves


def scores(models: dict[str, float], corruptions: tuple[str, ...] = ("noise", "blur")) -> pd.DataFrame:
    """Errors that grow from a clean one by a degree a strength, under the second corruption by two."""
    rows: list[dict[str, object]] = []
    for model, clean in models.items():
        rows.append({"model": model, "corruption": "clean", "strength": 0, "mae": clean})
        for steep, corruption in enumerate(corruptions, 1):
            for strength in STRENGTHS:
                error = clean + steep * strength
                rows.append({"model": model, "corruption": corruption, "strength": strength, "mae": error})
    return pd.DataFrame(rows)


def test_table_has_clean_strengths_mean_and_what_was_added() -> None:
    table = robustness_curves(scores({"ours": 4.0, "a peer": 5.0})).table
    names = [("noise", "ours"), ("noise", "a peer"), ("blur", "ours"), ("blur", "a peer"), ("all", "ours")]
    assert list(zip(table["corruption"], table["model"], strict=True))[:5] == names
    by_name = table.set_index(["corruption", "model"])
    assert by_name.loc[("blur", "a peer")].tolist() == [5, 7, 9, 11, 13, 15, 11, 6]
    assert by_name.loc[("all", "ours")].tolist() == [4, 5.5, 7, 8.5, 10, 11.5, 8.5, 4.5]


def test_a_missing_strength_leaves_its_means_unsaid() -> None:
    partial = scores({"ours": 4.0, "a peer": 5.0})
    gap = (partial["model"] == "ours") & (partial["corruption"] == "blur") & (partial["strength"] == 5)
    curves = robustness_curves(partial[~gap])
    by_name = curves.table.set_index(["corruption", "model"])
    assert by_name.loc[("blur", "ours"), ["5", "mean", "added"]].isna().all()
    assert by_name.loc[("all", "ours"), ["5", "mean"]].isna().all()
    assert by_name.loc[("all", "ours"), "4"] == 10
    assert by_name.loc["noise"].notna().all(axis=None)
    assert len(curves.panels) == 2


def test_panels_draw_each_model_at_its_height_on_one_scale() -> None:
    measured = scores({"ours": 4.0, "a peer": 5.0})
    measured["mae_low"], measured["mae_high"] = measured["mae"] - 1, measured["mae"] + 1
    with_band = robustness_curves(measured).panels
    without = robustness_curves(measured.drop(columns=["mae_low", "mae_high"])).panels
    assert [panel.title for panel in with_band] == ["Robustness: noise", "Robustness: blur"]
    scales = []
    for panel in with_band:
        assert {">ours<", ">a peer<", ">clean<"} <= set(re.findall(r">[^<>]+<", panel.svg))
        scales.append(re.findall(r">(\d+)<", panel.svg))
    assert scales[0] == scales[1]
    assert all("fill-opacity: 0.16" in panel.svg for panel in with_band)
    assert not any("fill-opacity: 0.16" in panel.svg for panel in without)
    ids = [name for panel in with_band for name in re.findall(r'\bid="([^"]+)"', panel.svg)]
    assert len(ids) == len(set(ids))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda rows: rows.drop(columns="model"), "lack the column.* model"),
        (lambda rows: rows.drop(columns="mae"), "lack the column.* mae"),
        (lambda rows: rows[rows["strength"] == 0], "no row of strength 1"),
        (lambda rows: rows.assign(strength=rows["strength"] + 1), "not 6"),
        (lambda rows: pd.concat([rows, rows.tail(1)]), "two scores of ours on blur at strength 5"),
        (lambda rows: pd.concat([rows, rows.head(1).assign(mae=9.0)]), "two scores of ours on clean"),
    ],
)
def test_scores_that_contradict_themselves_are_refused(change, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        robustness_curves(change(scores({"ours": 4.0})))


def test_a_clean_score_may_be_repeated_for_every_corruption() -> None:
    rows = scores({"ours": 4.0, "a peer": 5.0})
    clean = rows["strength"] == 0
    repeated = [rows[~clean]] + [rows[clean].assign(corruption=kind) for kind in ("noise", "blur")]
    pd.testing.assert_frame_equal(robustness_curves(pd.concat(repeated)).table, robustness_curves(rows).table)


def test_strengths_are_explained_for_every_kind() -> None:
    table = strength_table()
    assert len(table) == len(KINDS)
    assert table.loc[table["corruption"] == "low resolution", "5"].item() == "16"
