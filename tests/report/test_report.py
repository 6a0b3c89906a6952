"""What must hold for the page of a test that ends a training: it stands alone, is right about directions, and whole."""

import json
import math
import re
import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
from commands import PROJECT
from pages import COUNT, Elements, make_predictions

from rankpose.evaluation.scores import evaluation_of
from rankpose.report import heads, model_panels, page, results, tables, templates, text_table, training_panels


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


FLAT = {"test/mae": 3.66, "test/pair_order": 0.953}
TITLE = "People who were not seen"


def write(run_dir: Path, predictions: pd.DataFrame, **changes: object) -> str:
    """Leave what the test that ends a training leaves, and give the page's text."""
    known = {"model": "RankPose", "about": "checkpoints/best.ckpt", "protocol": "held_out", "title": TITLE}
    known |= {"expected": None} | {key: changes.pop(key) for key in list(changes) if key in ("about", "remarks")}
    arguments: dict[str, object] = {
        "title": "RankPose on photographs",
        "curves": make_curves(),
        "config_text": "backbone: resnet50\n",
        "notes": ["A note."],
        "flat": FLAT,
    }
    path = results.write_results(run_dir, [evaluation_of(predictions, **known)], **(arguments | changes))  # type: ignore[arg-type]
    assert path == run_dir / "report.html"
    return path.read_text(encoding="utf-8")


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
            "Error by true yaw, held_out",
            "Pitch, predicted against true, RankPose, held_out",
            "Images within a geodesic error, held_out",
            "Pair order by difference, held_out",
        ):
            assert label in labels
        assert "30 images of 10 people" in text
        photographs = [1 for tag, attributes in elements if tag == "img"]
        assert len(photographs) == 12 + 6 + 6 + 2 * 6

    def test_figures_are_those_of_the_test(self, run_dir: Path, text: str) -> None:
        content = json.loads((run_dir / "metrics.json").read_text())
        (result,) = content["results"]
        assert {key: content[key] for key in FLAT} == FLAT
        values = re.findall(r'class="value">([^<]*)<span class="unit">([^<]*)<', text)
        wanted = [result["scores"][name] for name in ("mae", "yaw_mae", "pitch_mae", "roll_mae", "geodesic")]
        assert values[:5] == [(f"{value:.2f}", "°") for value in wanted]
        assert values[5:] == [(f"{100 * result['scores']['pair_order']:.1f}", " %")]

    def test_says_the_protocol_with_every_table_of_errors(self, text: str) -> None:
        captions = re.findall(r"<caption>(.*?)</caption>", text)
        assert [caption.partition("<")[0] for caption in captions] == [
            "All images",
            "By how far the head is turned",
            "The rotation between predictions and labels",
            "All pairs of one person",
        ]
        assert all("RankPose, held_out" in captions[place] for place in (0, 1, 3))

    def test_no_head_is_shown_twice_in_a_small_set(self, tmp_path: Path) -> None:
        for count in (1, 2, 5, 11):
            text = write(tmp_path, make_predictions(tmp_path, count, images_a_person=None), curves=None)
            assert text.count("<img") == count
            assert "Same person" not in text

    def test_where_no_person_is_on_two_images_nothing_is_said_of_pairs(self, tmp_path: Path) -> None:
        text = write(tmp_path, make_predictions(tmp_path, 4, images_a_person=1))
        assert "MAE, aligned" in text
        assert "Pair order" not in text
        assert "nan" not in re.sub(r'base64,[^"]*', "", text).lower()
        assert json.loads((tmp_path / "metrics.json").read_text())["results"][0]["scores"]["pair_order"] is None

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
        text = write(
            tmp_path,
            predictions,
            title=evil,
            about=evil,
            remarks=(evil,),
            notes=[evil],
            config_text=evil,
            curves=curves,
        )
        assert "script" not in {tag for tag, _ in Elements(text).found}

    def test_leaves_what_was_there_when_drawing_fails(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        predictions = make_predictions(tmp_path, 4)
        write(tmp_path, predictions)
        before = {path: path.read_bytes() for path in tmp_path.iterdir()}

        def fail(*_: object) -> None:
            raise RuntimeError("no ink")

        monkeypatch.setattr(model_panels, "scatter", fail)
        with pytest.raises(RuntimeError, match="no ink"):
            write(tmp_path, predictions, title="Another")
        assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before

    def test_says_which_column_is_missing(self, tmp_path: Path) -> None:
        with pytest.raises(ValueError, match="crop_side"):
            write(tmp_path, make_predictions(tmp_path, 3).drop(columns="crop_side"))

    def test_is_small_and_the_same_twice(self, tmp_path: Path) -> None:
        predictions = pd.concat([make_predictions(tmp_path)] * 54, ignore_index=True)
        predictions["name"] = [f"{number}.jpg" for number in range(len(predictions))]
        first = write(tmp_path, predictions)
        assert len(first.encode()) < 3_000_000
        assert write(tmp_path, predictions) == first


class TestDrawingAgain:
    def again(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> int:
        monkeypatch.setattr(sys, "argv", ["page", str(folder)])
        try:
            page.main()
        except SystemExit as end:
            return int(end.code or 0)
        return 0

    def test_gives_the_same_page_from_the_files(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        make_curves().to_csv(tmp_path / "metrics.csv", index=False)
        (tmp_path / "config.yaml").write_text("backbone: resnet50\n")
        before = write(tmp_path, make_predictions(tmp_path, 8), remarks=("it is small",))
        (tmp_path / "report.html").unlink()
        assert self.again(tmp_path, monkeypatch) == 0
        assert capsys.readouterr().out.strip() == str(tmp_path / "report.html")
        assert (tmp_path / "report.html").read_text(encoding="utf-8") == before

    def test_of_a_run_of_an_earlier_version(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        shutil.copytree(PROJECT / "tests" / "data" / "first_house" / "run", tmp_path / "run")
        assert self.again(tmp_path / "run", monkeypatch) == 0
        text = (tmp_path / "run" / "report.html").read_text(encoding="utf-8")
        scores = json.loads((tmp_path / "run" / "metrics.json").read_text())
        assert f"{scores['test/mae']:.2f}" in text
        assert "RankPose under protocol held_out" in text

    @pytest.mark.parametrize("broken", ["predictions.parquet", "metrics.json"])
    @pytest.mark.parametrize("content", [None, "<html>"])
    def test_says_in_one_line_which_file_is_missing_or_broken(
        self,
        tmp_path: Path,
        broken: str,
        content: str | None,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        write(tmp_path, make_predictions(tmp_path, 3))
        (tmp_path / broken).unlink()
        if content is not None:
            (tmp_path / broken).write_text(content)
        assert self.again(tmp_path, monkeypatch) == 1
        error = capsys.readouterr().err
        assert error.count("\n") == 1
        assert broken in error


class TestRoom:
    @pytest.mark.parametrize("room", ["results", "ablation"])
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
        drawn = heads.draw_axes(self.CANVAS, (0, 0, 0), length=70)
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
        drawn = heads.draw_axes(self.CANVAS, pose, length=70)
        tips = brightest(drawn, 2) - 100
        along = tips @ np.array(direction)
        across = tips @ np.array(direction[::-1])
        assert along.max() == pytest.approx(70 * math.sin(math.radians(60)), abs=7)
        assert along.min() > -4
        assert np.abs(across).max() < 8

    def test_a_positive_roll_turns_the_crown_to_the_right(self) -> None:
        # column y of Rz(-roll) is (sin roll, cos roll, 0)
        crown = brightest(heads.draw_axes(self.CANVAS, (0, 0, 30), length=70), 1) - 100
        tip = crown[crown[:, 1].argmin()]
        assert tip == pytest.approx((35, -60.6), abs=4)

    def test_agrees_with_scipy_for_any_pose(self) -> None:
        from scipy.spatial.transform import Rotation

        for yaw, pitch, roll in np.random.default_rng(1).uniform(-70, 70, size=(8, 3)):
            rotation = Rotation.from_euler("XYZ", [-pitch, -yaw, -roll], degrees=True).as_matrix()
            drawn = heads.draw_axes(self.CANVAS, (yaw, pitch, roll), length=80)
            expected = np.array([100 + 80 * rotation[0, 2], 100 - 80 * rotation[1, 2]])
            dot = brightest(drawn, 2)
            assert np.linalg.norm(dot - expected, axis=1).min() < 2.5

    def test_leaves_the_image_alone(self) -> None:
        image = self.CANVAS.copy()
        drawn = heads.draw_axes(image, (10, 20, 30), centre=(-500.0, 20.5), length=4000)
        assert (image == 128).all()
        assert drawn.shape == image.shape
        assert drawn.dtype == np.uint8
        assert (heads.draw_axes(image, (math.nan, 0, 0)) == image).all()

    def test_true_and_predicted_axes_differ(self) -> None:
        solid = heads.draw_axes(self.CANVAS, (20, 10, 0))
        dashed = heads.draw_axes(self.CANVAS, (20, 10, 0), dashed=True)
        assert (dashed != 128).any(axis=2).sum() < (solid != 128).any(axis=2).sum()


class TestCrop:
    def test_is_the_square_and_black_outside(self, tmp_path: Path) -> None:
        path = tmp_path / "image.png"
        image = np.zeros((40, 50, 3), dtype=np.uint8)
        image[10:30, 20:40] = (10, 20, 250)  # OpenCV writes blue first: a red square
        cv2.imwrite(str(path), image)
        crop = heads.crop_from_file(path, 19.5, 9.5, 20.0, 60)
        assert crop is not None
        assert crop.shape == (60, 60, 3)
        assert (np.abs(crop[2:-2, 2:-2].astype(int) - (250, 20, 10)) <= 1).all()
        outside = heads.crop_from_file(path, -100.0, -100.0, 90.0, 32)
        assert outside is not None
        assert not outside.any()

    def test_a_large_square_is_averaged(self, tmp_path: Path) -> None:
        path = tmp_path / "image.png"
        stripes = np.zeros((400, 400, 3), dtype=np.uint8)
        stripes[:, ::2] = 200
        cv2.imwrite(str(path), stripes)
        crop = heads.crop_from_file(path, -0.5, -0.5, 400.0, 50)
        assert crop is not None
        assert (np.abs(crop[2:-2, 2:-2].astype(int) - 100) < 12).all()

    @pytest.mark.parametrize("square", [(math.nan, 0.0, 10.0), (0.0, 0.0, 0.0), (0.0, 0.0, -5.0)])
    def test_no_square_no_crop(self, tmp_path: Path, square: tuple[float, float, float]) -> None:
        path = tmp_path / "image.png"
        cv2.imwrite(str(path), np.zeros((10, 10, 3), dtype=np.uint8))
        assert heads.crop_from_file(path, *square, 32) is None


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
        assert text_table.format_number(-3.14159) == text_table.MINUS + "3.14"
        assert text_table.format_number(-0.001) == "0.00"
        assert text_table.format_number(12345) == "12,345"
        assert text_table.format_number(math.nan) == text_table.format_number(None) == text_table.NO_VALUE


class TestTextTables:
    FRAME = pd.DataFrame({"who": ["a|b", "<i>"], "n": [1, 2000], "error": [1.234, math.nan]})

    def test_every_format_holds_the_same_cells(self) -> None:
        table = text_table.table_of(self.FRAME, "Errors & more", "on <this>")
        dash = text_table.NO_VALUE
        assert table.as_text("md").splitlines()[-3:] == [
            "| --- | ---: | ---: |",
            "| a\\|b | 1 | 1.23 |",
            f"| <i> | 2,000 | {dash} |",
        ]
        assert table.as_text("txt").splitlines()[-3:] == [
            "who      n  error",
            "a|b      1   1.23",
            f"<i>  2,000      {dash}",
        ]
        latex = table.as_text("tex")
        assert "Errors \\& more: on <this>." in latex
        assert "<i> & 2,000 & -- \\\\" in latex
        text = self.page(table)
        assert "Errors &amp; more" in text
        assert "on &lt;this&gt;" in text
        assert "&lt;i&gt;" in text
        assert "1.23" in text
        Elements(text)

    def page(self, table: text_table.TextTable) -> str:
        source = '{% from "parts.html.jinja" import text_table with context %}{{ text_table(table) }}'
        return str(templates.environment_of("html").from_string(source).render(table=table))

    def test_what_stands_below_a_figure_is_in_every_format(self) -> None:
        cell = text_table.Cell("3.0", "± 0.5", ("1 to 2", "p 0.3"), best=True)
        columns = [text_table.Column("", number=False), text_table.Column("yaw", "MAE")]
        rows = [text_table.Row([text_table.Cell("net"), cell])]
        table = text_table.TextTable(columns, [text_table.Block(rows, "As it is")])
        assert table.as_text("md").splitlines() == [
            "|  | MAE: yaw |",
            "| --- | ---: |",
            "| *As it is* |  |",
            "| net | **3.0** ± 0.5 (1 to 2; p 0.3) |",
        ]
        assert table.as_text("txt").splitlines() == [
            "                MAE",
            "                            yaw",
            "As it is",
            "net  3.0* ± 0.5 (1 to 2; p 0.3)",
        ]
        latex = table.as_text("tex")
        assert "net & \\textbf{3.0} \\\\\n & {\\tiny \\ensuremath{\\pm} 0.5} \\\\" in latex
        assert "<b>3.0</b><small>± 0.5</small><small>1 to 2</small><small>p 0.3</small>" in self.page(table)


class TestFigures:
    def drawn(self, predictions: pd.DataFrame) -> list[model_panels.Panel]:
        one = evaluation_of(predictions, model="net", about="", protocol="p", title="", expected=None)
        three = [panel for _, panels in model_panels.scatter([one], {"net": 0}) for panel in panels]
        curves = model_panels.cumulative_curves([one], {"net": 0})
        return [*model_panels.error_by_angle([one], {"net": 0}), *three, *curves]

    def test_an_angle_beyond_99_does_not_shrink_the_rest(self, tmp_path: Path) -> None:
        predictions = make_predictions(tmp_path)
        before = [panel.svg for panel in self.drawn(predictions)[:3]]
        far = predictions.iloc[[0]].assign(yaw=170.0, yaw_pred=10.0, pitch=380.0, roll=-120.0)
        both = pd.concat([predictions, far], ignore_index=True)
        after = [panel.svg for panel in self.drawn(both)[:3]]
        assert after == before

    def test_are_drawn_of_nothing_to_see(self, tmp_path: Path) -> None:
        predictions = make_predictions(tmp_path, 3)
        predictions[[f"{angle}_pred" for angle in tables.ANGLES]] = 0.0
        predictions["geodesic"] = 0.0
        for panel in self.drawn(predictions):
            assert panel.svg.startswith("<svg")
            assert panel.svg.endswith("</svg>")


class TestCurves:
    def test_a_column_logged_by_step_and_epoch_is_one_panel(self) -> None:
        curves = pd.DataFrame(
            {"step": [0, 1, 2], "train/loss_step": [3.0, 2.0, 1.0], "train/loss_epoch": [None, None, 2.0]}
        )
        assert [panel.title for panel in training_panels.loss_panels(curves)] == ["Training loss"]

    def test_empty_columns_draw_nothing(self) -> None:
        curves = pd.DataFrame({"step": [0, 1], "train/loss": [math.nan, math.nan], "val/mae": [None, math.inf]})
        assert training_panels.loss_panels(curves) == []
        assert training_panels.validation_panel(curves) is None
