"""What must hold for the page of an evaluation: it stands alone, it is right about directions, and it is whole."""

import json
import math
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest

from rankpose.report import page, pictures, tables

COUNT = 30


def make_predictions(folder: Path, count: int = COUNT, images_a_person: int | None = 3) -> pd.DataFrame:
    """A table of made-up predictions and as many small photographs in `folder`."""
    random = np.random.default_rng(0)
    true = random.uniform((-85, -40, -30), (85, 40, 30), size=(count, 3))
    predicted = true + random.normal(0, 4, size=(count, 3))
    rows = []
    for number in range(count):
        path = folder / f"image{number:05d}.jpg"
        cv2.imwrite(str(path), random.integers(0, 255, size=(60, 80, 3), dtype=np.uint8))
        person = None if images_a_person is None else f"person {number // images_a_person}"
        rows.append(
            {"name": path.name, "image": str(path), "identity": person}
            | dict(zip(tables.ANGLES, true[number], strict=True))
            | {f"{angle}_pred": value for angle, value in zip(tables.ANGLES, predicted[number], strict=True)}
            | {"geodesic": float(np.linalg.norm(predicted[number] - true[number]))}
            | {"crop_x": -10.0, "crop_y": -5.5, "crop_side": 70.0}
        )
    return pd.DataFrame(rows)


def make_curves() -> pd.DataFrame:
    """A log as Lightning's CSVLogger writes it: wide, every line with a few of the columns."""
    training = pd.DataFrame({"step": range(0, 200, 2)})
    training["epoch"] = training["step"] // 50
    training["train/mse"] = 300 * np.exp(-training["step"] / 40) + 4
    training["train/rank"] = 0.01 * training["train/mse"]
    training["train/loss"] = training["train/mse"] + training["train/rank"]
    training["train/gradient_ratio"] = 0.03
    validation = pd.DataFrame({"step": [49, 99, 149, 199], "epoch": range(4), "val/mae": [12.0, 8.0, 5.0, 5.5]})
    for angle in tables.ANGLES:
        validation[f"val/{angle}_mae"] = validation["val/mae"] * 1.1
    return pd.concat([training, validation, pd.DataFrame({"step": range(0, 200, 50), "lr-Adam": 1e-3})])


METRICS = {
    "test/mae": 3.66,
    "test/yaw_mae": 2.99,
    "test/pitch_mae": 4.75,
    "test/roll_mae": 3.25,
    "test/geodesic": 6.1,
    "test/pair_order": 0.953,
}


def write(run_dir: Path, predictions: pd.DataFrame, **changes: object) -> str:
    """Write a report and give its text."""
    arguments: dict[str, object] = {
        "predictions": predictions,
        "metrics": METRICS,
        "title": "A network",
        "subtitle": "AFLW2000, within 99",
        "curves": make_curves(),
        "config_text": "backbone: resnet50\n",
        "notes": ["A note."],
    }
    path = page.write_report(run_dir, **(arguments | changes))  # type: ignore[arg-type]
    assert path == run_dir / "report.html"
    return path.read_text(encoding="utf-8")


class Elements(HTMLParser):
    """All elements of a page with their attributes, and a check that every opened one is closed."""

    VOID = ("meta", "img", "br", "link", "input", "hr")

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.feed(text)
        assert not self.open, f"never closed: {self.open}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag, f"</{tag}> closes another element"


def brightest(image: np.ndarray, channel: int) -> np.ndarray:
    """x, y of the pixels in which one colour stands out, (M, 2)."""
    others = np.delete(image.astype(int), channel, axis=2).max(axis=2)
    rows, columns = np.nonzero(image[..., channel].astype(int) - others > 60)
    return np.column_stack([columns, rows])


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    write(folder, make_predictions(folder))
    return folder


@pytest.fixture(scope="module")
def text(run_dir: Path) -> str:
    return (run_dir / "report.html").read_text(encoding="utf-8")


class TestPage:
    def test_needs_nothing_from_outside(self, text: str) -> None:
        for tag, attributes in Elements(text).found:
            assert tag not in ("link", "script", "iframe", "object", "embed", "base")
            for name in ("src", "href", "xlink:href", "srcset", "data", "poster"):
                address = attributes.get(name)
                assert address is None or address.startswith(("data:", "#")), f"<{tag} {name}={address!r:.60}>"
        assert "@import" not in text
        assert text.count("<style") == 1  # a figure's own style would hold for the whole page
        assert not re.search(r"url\((?!#)", text)

    def test_ids_are_unique_and_every_reference_has_its_target(self, text: str) -> None:
        ids = [attributes["id"] for _, attributes in Elements(text).found if "id" in attributes]
        assert len(ids) == len(set(ids))
        assert set(re.findall(r"url\(#([^)]*)\)", text)) <= set(ids)
        assert set(re.findall(r'href="#([^"]*)"', text)) <= set(ids)

    def test_shows_figures_tables_and_heads(self, text: str) -> None:
        elements = Elements(text).found
        labels = [attributes.get("aria-label") for tag, attributes in elements if tag == "svg"]
        for label in (
            "Training loss",
            "Squared error term",
            "Ranking term",
            "Validation error",
            "Error by true yaw",
            "Pitch, predicted against true",
            "Images within a geodesic error",
        ):
            assert label in labels
        assert "3.66" in text
        assert "95.3" in text
        assert "30 images of 10 identities" in text
        photographs = [1 for tag, attributes in elements if tag == "img"]
        assert len(photographs) == 12 + 6 + 6 + 2 * 6

    def test_says_the_protocol_in_every_table(self, text: str) -> None:
        captions = re.findall(r"<caption>(.*?)</caption>", text)
        assert len(captions) == 4
        assert all("AFLW2000, within 99" in caption for caption in captions)

    def test_no_head_is_shown_twice_in_a_small_set(self, tmp_path: Path) -> None:
        for count in (1, 2, 5, 11):
            text = write(tmp_path, make_predictions(tmp_path, count, images_a_person=None), curves=None)
            assert text.count("<img") == count
            assert "Same person" not in text

    def test_shows_unknown_metrics_as_a_dash(self, tmp_path: Path) -> None:
        metrics = {"test/mae": 3.0, "test/pair_order": math.nan, "test/geodesic": None}
        text = write(tmp_path, make_predictions(tmp_path, 4, images_a_person=1), metrics=metrics)
        values = re.findall(r'class="value">([^<]*)<span class="unit">([^<]*)<', text)
        assert [value for value, _ in values] == ["3.00", *5 * [tables.NO_VALUE]]
        assert [unit for _, unit in values] == ["°", *5 * [""]]
        assert "nan" not in re.sub(r"base64,[^\"]*", "", text).lower()

    def test_a_missing_photograph_becomes_a_tile_that_says_so(self, tmp_path: Path) -> None:
        predictions = make_predictions(tmp_path, 6, images_a_person=None)
        Path(predictions["image"][2]).unlink()
        Path(predictions["image"][3]).write_bytes(b"no image at all")
        text = write(tmp_path, predictions)
        assert text.count("<img") == 4
        assert text.count('class="gone"') == 2

    def test_escapes_what_it_is_given(self, tmp_path: Path) -> None:
        evil = '<script>alert("x")</script>'
        predictions = make_predictions(tmp_path, 6)
        predictions["identity"] = evil
        predictions.loc[0, ["name", "image"]] = [evil, f"/nowhere/{evil}"]
        curves = make_curves().rename(columns={"train/rank": f"train/{evil}", "lr-Adam": f"lr-{evil}"})
        metrics = METRICS | {f"test/{evil}": 1.0}
        text = write(
            tmp_path,
            predictions,
            title=evil,
            subtitle=evil,
            notes=[evil],
            config_text=evil,
            metrics=metrics,
            curves=curves,
        )
        assert "script" not in {tag for tag, _ in Elements(text).found}

    def test_leaves_the_old_page_when_drawing_fails(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        predictions = make_predictions(tmp_path, 4)
        before = write(tmp_path, predictions)
        files = sorted(tmp_path.iterdir())
        words = (tmp_path / "report.json").read_text()

        def fail(_: pd.DataFrame) -> None:
            raise RuntimeError("no ink")

        monkeypatch.setattr(pictures, "scatter_panels", fail)
        with pytest.raises(RuntimeError, match="no ink"):
            write(tmp_path, predictions, title="Another")
        assert (tmp_path / "report.html").read_text(encoding="utf-8") == before
        assert (tmp_path / "report.json").read_text() == words
        assert sorted(tmp_path.iterdir()) == files

    def test_leaves_nothing_when_writing_fails(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def fail(self: Path, target: Path) -> None:
            raise OSError("disk full")

        predictions = make_predictions(tmp_path, 4)
        files = sorted(tmp_path.iterdir())
        monkeypatch.setattr(Path, "replace", fail)
        with pytest.raises(OSError, match="disk full"):
            write(tmp_path, predictions)
        assert sorted(tmp_path.iterdir()) == files

    def test_says_which_column_is_missing(self, tmp_path: Path) -> None:
        with pytest.raises(ValueError, match="crop_side"):
            write(tmp_path, make_predictions(tmp_path, 3).drop(columns="crop_side"))
        with pytest.raises(ValueError, match="no rows"):
            write(tmp_path, make_predictions(tmp_path, 3).head(0))

    def test_warns_of_angles_beyond_99_and_of_broken_predictions(self, tmp_path: Path) -> None:
        predictions = make_predictions(tmp_path, 15)
        predictions.loc[0, "pitch"] = 380.0
        predictions.loc[1, ["yaw_pred", "geodesic"]] = math.nan
        text = write(tmp_path, predictions)
        assert "1 of 15 images have a true angle beyond" in text
        assert "1 of 15 predictions are not a number" in text

    def test_is_small_and_the_same_twice(self, tmp_path: Path) -> None:
        predictions = pd.concat([make_predictions(tmp_path)] * 54, ignore_index=True)
        first = write(tmp_path, predictions)
        assert len(first.encode()) < 3_000_000
        assert write(tmp_path, predictions) == first


class TestCommandLine:
    def run(self, run_dir: Path) -> "subprocess.CompletedProcess[str]":
        command = [sys.executable, "-m", "rankpose.report.page", str(run_dir)]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    def test_draws_the_same_page_from_the_files(self, tmp_path: Path) -> None:
        predictions, curves = make_predictions(tmp_path, 8), make_curves()
        predictions.to_parquet(tmp_path / "predictions.parquet")
        curves.to_csv(tmp_path / "metrics.csv", index=False)
        (tmp_path / "metrics.json").write_text(json.dumps(METRICS | {"test/pair_order": None}))
        (tmp_path / "config.yaml").write_text("backbone: resnet50\n")
        before = write(tmp_path, predictions, metrics=METRICS | {"test/pair_order": math.nan})
        (tmp_path / "report.html").unlink()
        done = self.run(tmp_path)
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout.strip() == str(tmp_path / "report.html")
        assert (tmp_path / "report.html").read_text(encoding="utf-8") == before

    def test_says_in_one_line_which_file_is_missing(self, tmp_path: Path) -> None:
        done = self.run(tmp_path)
        assert done.returncode == 1
        assert done.stderr.count("\n") == 1
        assert str(tmp_path / "predictions.parquet") in done.stderr

    @pytest.mark.parametrize("broken", ["predictions.parquet", "metrics.json"])
    def test_says_in_one_line_which_file_is_broken(
        self, tmp_path: Path, broken: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        make_predictions(tmp_path, 3).to_parquet(tmp_path / "predictions.parquet")
        (tmp_path / "metrics.json").write_text("{}")
        (tmp_path / broken).write_text("<html>")
        assert page.main([str(tmp_path)]) == 1
        error = capsys.readouterr().err
        assert error.count("\n") == 1
        assert broken in error

    @pytest.mark.parametrize("room", ["page", "evaluation"])
    def test_needs_no_training_code(self, room: str) -> None:
        code = (
            f"import sys, rankpose.report.{room}; "
            "print(sorted({n.split('.')[0] for n in sys.modules} & {'pytorch_lightning', 'lightning', 'timm'}))"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        assert done.stdout.strip() == "[]"


class TestAxes:
    CANVAS = np.full((201, 201, 3), 128, dtype=np.uint8)

    def test_straight_ahead_is_a_cross_with_a_dot(self) -> None:
        drawn = pictures.draw_axes(self.CANVAS, (0, 0, 0), length=70)
        x, y, z = (brightest(drawn, channel) for channel in range(3))
        assert np.abs(z - 100).max() < 10  # a dot in the middle
        assert np.abs(y[:, 0] - 100).max() < 4
        assert y[:, 1].min() < 35
        assert y[:, 1].max() <= 101
        assert np.abs(x[:, 1] - 100).max() < 4
        assert x[:, 0].max() > 165
        assert x[:, 0].min() >= 99

    @pytest.mark.parametrize(
        ("pose", "direction"),
        [((60, 0, 0), (-1, 0)), ((-60, 0, 0), (1, 0)), ((0, 60, 0), (0, -1)), ((0, -60, 0), (0, 1))],
    )
    def test_z_goes_where_the_face_looks(self, pose: tuple[float, ...], direction: tuple[float, ...]) -> None:
        # R = Rx(-pitch) Ry(-yaw) Rz(-roll): its third column is (-sin yaw, sin pitch, .) for one angle; y is up
        drawn = pictures.draw_axes(self.CANVAS, pose, length=70)
        tips = brightest(drawn, 2) - 100
        along = tips @ np.array(direction)
        across = tips @ np.array(direction[::-1])
        assert along.max() == pytest.approx(70 * math.sin(math.radians(60)), abs=7)
        assert along.min() > -4
        assert np.abs(across).max() < 8

    def test_a_positive_roll_turns_the_crown_to_the_right(self) -> None:
        # column y of Rz(-roll) is (sin roll, cos roll, 0)
        crown = brightest(pictures.draw_axes(self.CANVAS, (0, 0, 30), length=70), 1) - 100
        tip = crown[crown[:, 1].argmin()]
        assert tip == pytest.approx((35, -60.6), abs=4)

    def test_agrees_with_scipy_for_any_pose(self) -> None:
        from scipy.spatial.transform import Rotation

        for yaw, pitch, roll in np.random.default_rng(1).uniform(-70, 70, size=(8, 3)):
            rotation = Rotation.from_euler("XYZ", [-pitch, -yaw, -roll], degrees=True).as_matrix()
            drawn = pictures.draw_axes(self.CANVAS, (yaw, pitch, roll), length=80)
            expected = np.array([100 + 80 * rotation[0, 2], 100 - 80 * rotation[1, 2]])
            dot = brightest(drawn, 2)
            assert np.linalg.norm(dot - expected, axis=1).min() < 2.5

    def test_leaves_the_image_alone(self) -> None:
        image = self.CANVAS.copy()
        drawn = pictures.draw_axes(image, (10, 20, 30), centre=(-500.0, 20.5), length=4000)
        assert (image == 128).all()
        assert drawn.shape == image.shape
        assert drawn.dtype == np.uint8
        assert (pictures.draw_axes(image, (math.nan, 0, 0)) == image).all()

    def test_true_and_predicted_axes_differ(self) -> None:
        solid = pictures.draw_axes(self.CANVAS, (20, 10, 0))
        dashed = pictures.draw_axes(self.CANVAS, (20, 10, 0), dashed=True)
        assert (dashed != 128).any(axis=2).sum() < (solid != 128).any(axis=2).sum()


class TestCrop:
    def test_is_the_square_and_black_outside(self, tmp_path: Path) -> None:
        path = tmp_path / "image.png"
        image = np.zeros((40, 50, 3), dtype=np.uint8)
        image[10:30, 20:40] = (10, 20, 250)  # OpenCV writes blue first: a red square
        cv2.imwrite(str(path), image)
        crop = pictures.crop_from_file(path, 19.5, 9.5, 20.0, 60)
        assert crop is not None
        assert crop.shape == (60, 60, 3)
        assert (np.abs(crop[2:-2, 2:-2].astype(int) - (250, 20, 10)) <= 1).all()
        outside = pictures.crop_from_file(path, -100.0, -100.0, 90.0, 32)
        assert outside is not None
        assert not outside.any()

    def test_a_large_square_is_averaged(self, tmp_path: Path) -> None:
        path = tmp_path / "image.png"
        stripes = np.zeros((400, 400, 3), dtype=np.uint8)
        stripes[:, ::2] = 200
        cv2.imwrite(str(path), stripes)
        crop = pictures.crop_from_file(path, -0.5, -0.5, 400.0, 50)
        assert crop is not None
        assert (np.abs(crop[2:-2, 2:-2].astype(int) - 100) < 12).all()

    @pytest.mark.parametrize("square", [(math.nan, 0.0, 10.0), (0.0, 0.0, 0.0), (0.0, 0.0, -5.0)])
    def test_no_square_no_crop(self, tmp_path: Path, square: tuple[float, float, float]) -> None:
        path = tmp_path / "image.png"
        cv2.imwrite(str(path), np.zeros((10, 10, 3), dtype=np.uint8))
        assert pictures.crop_from_file(path, *square, 32) is None


class TestTables:
    def test_errors_are_wrapped(self) -> None:
        row = {"yaw": [179.0], "pitch": [0.0], "roll": [-5.0]}
        row |= {"yaw_pred": [-179.0], "pitch_pred": [1.0], "roll_pred": [-7.0]}
        assert tables.signed_errors_deg(pd.DataFrame(row)).iloc[0].tolist() == [2.0, 1.0, -2.0]

    def test_groups_by_yaw_hold_every_image_once(self, tmp_path: Path) -> None:
        predictions = make_predictions(tmp_path)
        predictions.loc[:4, "yaw"] = [30.0, -60.0, 99.0, 99.5, -29.999]
        table = tables.error_by_yaw(predictions).set_index("true |yaw|")["n"]
        assert table.iloc[:-1].sum() == table["all"] == COUNT
        assert table["beyond 99°"] == 1
        assert "beyond 99°" not in tables.error_by_yaw(make_predictions(tmp_path))["true |yaw|"].tolist()

    def test_bins_give_back_the_mean(self, tmp_path: Path) -> None:
        predictions = make_predictions(tmp_path)
        for angle in tables.ANGLES:
            bins = tables.error_by_bin(predictions, angle)
            total = tables.signed_errors_deg(predictions)[angle].abs().mean()
            assert (bins["n"] * bins["mae"].fillna(0)).sum() / COUNT == pytest.approx(total)
            assert ((bins["high"] - bins["low"]) == 10).all()

    def test_a_perfect_prediction_orders_every_pair(self, tmp_path: Path) -> None:
        predictions = make_predictions(tmp_path)
        for angle in tables.ANGLES:
            predictions[f"{angle}_pred"] = predictions[angle]
        order = tables.pair_order(predictions)
        assert order is not None
        assert order.table["pairs"].tolist() == [COUNT] * 3  # 10 people, 3 pairs each
        assert (order.table.iloc[:, -1] == 100).all()
        predictions["roll_pred"] *= -1
        order = tables.pair_order(predictions)
        assert order is not None
        assert order.table.iloc[:, -1].tolist() == [100, 100, 0]

    def test_pair_order_is_the_metric_s(self, tmp_path: Path) -> None:
        metrics = pytest.importorskip("rankpose.metrics")
        import torch

        predictions = make_predictions(tmp_path, 60, images_a_person=4)
        predictions.loc[1, "yaw"] = predictions.loc[0, "yaw"]  # a tie
        order = tables.pair_order(predictions)
        assert order is not None
        share = (order.table.iloc[:, -1] * order.table["pairs"]).sum() / order.table["pairs"].sum() / 100
        columns = [list(tables.ANGLES), [f"{angle}_pred" for angle in tables.ANGLES]]
        true, predicted = (torch.tensor(predictions[names].to_numpy(copy=True)) for names in columns)
        identity = torch.arange(60) // 4
        assert float(metrics.pair_order(predicted, true, identity)) == pytest.approx(share)

    def test_pairs_to_show_are_mistakes_and_successes_of_one_person_each(self, tmp_path: Path) -> None:
        predictions = make_predictions(tmp_path)
        predictions.loc[0, "yaw_pred"] = -predictions.loc[0, "yaw"] * 3
        order = tables.pair_order(predictions)
        assert order is not None
        assert len({pair.identity for pair in order.pairs}) == len(order.pairs) == 6
        for pair in order.pairs:
            assert predictions["identity"][pair.first] == predictions["identity"][pair.second] == pair.identity
            for angle, right in zip(tables.ANGLES, pair.order, strict=True):
                one, two = predictions.loc[pair.first], predictions.loc[pair.second]
                assert right == ((one[angle] - two[angle]) * (one[f"{angle}_pred"] - two[f"{angle}_pred"]) > 0)
        assert not all(order.pairs[0].order)
        assert all(order.pairs[-1].order)

    @pytest.mark.parametrize("nobody", [None, "", -1, math.nan])
    def test_unknown_people_make_no_pairs(self, tmp_path: Path, nobody: object) -> None:
        predictions = make_predictions(tmp_path, 4)
        predictions["identity"] = nobody
        assert tables.pair_order(predictions) is None

    def test_numbers_read_well(self) -> None:
        assert tables.format_number(-3.14159) == tables.MINUS + "3.14"
        assert tables.format_number(-0.001) == "0.00"
        assert tables.format_number(12345) == "12,345"
        assert tables.format_number(math.nan) == tables.format_number(None) == tables.NO_VALUE

    def test_markdown_and_html_hold_the_same_cells(self) -> None:
        frame = pd.DataFrame({"who": ["a|b", "<i>"], "n": [1, 2000], "error": [1.234, math.nan]})
        assert tables.to_markdown(frame).splitlines()[1:] == [
            "| --- | ---: | ---: |",
            "| a\\|b | 1 | 1.23 |",
            f"| <i> | 2,000 | {tables.NO_VALUE} |",
        ]
        text = tables.to_html(frame, "Errors & more", "on <this>")
        assert "Errors &amp; more" in text
        assert "on &lt;this&gt;" in text
        assert "&lt;i&gt;" in text
        assert "1.23" in text
        Elements(text)


class TestFigures:
    def test_an_angle_beyond_99_does_not_shrink_the_rest(self, tmp_path: Path) -> None:
        predictions = make_predictions(tmp_path)
        before = [panel.svg for panel in pictures.error_by_angle_panels(predictions)]
        far = predictions.iloc[[0]].assign(yaw=170.0, yaw_pred=10.0, pitch=380.0, roll=-120.0)
        both = pd.concat([predictions, far], ignore_index=True)
        after = [panel.svg for panel in pictures.error_by_angle_panels(both)]
        assert after == before

    @pytest.mark.parametrize("value", [math.nan, 0.0])
    def test_are_drawn_of_nothing_to_see(self, tmp_path: Path, value: float) -> None:
        predictions = make_predictions(tmp_path, 3)
        predictions[[f"{angle}_pred" for angle in tables.ANGLES]] = value
        predictions["geodesic"] = value
        panels = [*pictures.error_by_angle_panels(predictions), *pictures.scatter_panels(predictions)]
        for panel in [*panels, pictures.cumulative_panel(predictions)]:
            assert panel.svg.startswith("<svg")
            assert panel.svg.endswith("</svg>")


class TestCurves:
    def test_a_column_logged_by_step_and_epoch_is_one_panel(self) -> None:
        curves = pd.DataFrame(
            {"step": [0, 1, 2], "train/loss_step": [3.0, 2.0, 1.0], "train/loss_epoch": [None, None, 2.0]}
        )
        assert [panel.title for panel in pictures.loss_panels(curves)] == ["Training loss"]

    def test_empty_columns_draw_nothing(self) -> None:
        curves = pd.DataFrame({"step": [0, 1], "train/loss": [math.nan, math.nan], "val/mae": [None, math.inf]})
        assert pictures.loss_panels(curves) == []
        assert pictures.validation_panel(curves) is None
