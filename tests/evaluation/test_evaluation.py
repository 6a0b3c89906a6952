"""What must hold for an evaluation and its report: right, comparable, whole, and readable without a network."""

import io
import json
import math
import re
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
import roma
import torch
import wandb
from hypothesis import given, settings
from hypothesis import strategies as st
from omegaconf import OmegaConf
from pages import Elements, make_predictions
from scipy.io import savemat

from rankpose.data.crop_rules import FSANetCrop, RankPoseCrop
from rankpose.data.readers.aflw2000 import read_aflw2000
from rankpose.data.record import Reject
from rankpose.errors import ConfigError, DatasetError
from rankpose.evaluation.differences import differences
from rankpose.evaluation.names import check_folder_name, distinct_names
from rankpose.evaluation.protocol import Protocol
from rankpose.evaluation.scores import Evaluation, evaluate, evaluation_of, rising
from rankpose.evaluation.stored import as_json, check_distinct
from rankpose.evaluation.suspicions import suspicions
from rankpose.files import CONFIG_DIR, json_text
from rankpose.metrics import geodesic_error
from rankpose.pose import ANGLES, euler_to_rotmat, rotmat_to_euler
from rankpose.report import results as report
from rankpose.report.main_table import (
    SCORES,
    images_in_words,
    main_table,
    published_figures,
    tidy_scores,
)
from rankpose.report.text_table import NO_VALUE
from rankpose.report.to_wandb import log_evaluation

FILES = {"metrics.json", "predictions.parquet", "report.html", "tables.csv", "tables.md", "tables.tex"}


def evaluation(model: str, predictions: pd.DataFrame, **changes: object) -> Evaluation:
    known = {"about": f"the file of {model}", "protocol": "aflw2000", "title": "A test set", "expected": None}
    return evaluation_of(predictions, model=model, **(known | changes))


def with_errors(predictions: pd.DataFrame, spread: float, seed: int = 1) -> pd.DataFrame:
    """The same images, predicted with errors of a spread in degrees."""
    wrong = np.random.default_rng(seed).normal(0, spread, (len(predictions), 3))
    changed = predictions.copy()
    changed[[f"{angle}_pred" for angle in ANGLES]] = predictions[list(ANGLES)].to_numpy() + wrong
    pose = [torch.from_numpy(changed[[f"{a}{end}" for a in ANGLES]].to_numpy(copy=True)) for end in ("", "_pred")]
    changed["geodesic"] = geodesic_error(*pose).numpy()
    return changed


@pytest.fixture(scope="module")
def predictions(tmp_path_factory: pytest.TempPathFactory) -> pd.DataFrame:
    return make_predictions(tmp_path_factory.mktemp("images"), 60, images_a_person=4)


@pytest.fixture(scope="module")
def two(predictions: pd.DataFrame) -> list[Evaluation]:
    """A good model and a bad one under one protocol."""
    return [evaluation("good", with_errors(predictions, 2)), evaluation("bad", with_errors(predictions, 12))]


@pytest.fixture(scope="module")
def lonely(predictions: pd.DataFrame) -> Evaluation:
    """Of people who are on one image each."""
    return evaluation("good", with_errors(predictions, 3).assign(identity=predictions["name"]))


class TestEvaluation:
    @settings(deadline=None, max_examples=10)
    @given(st.lists(st.floats(-1, 1), min_size=3, max_size=3).filter(lambda axis: math.hypot(*axis) > 0.1))
    def test_the_truth_turned_by_five_degrees_scores_five_as_it_is_and_nothing_aligned(
        self, predictions: pd.DataFrame, axis: list[float]
    ) -> None:
        turn = roma.rotvec_to_rotmat(torch.tensor(axis).double() / math.hypot(*axis) * math.radians(5))
        true = torch.from_numpy(predictions[list(ANGLES)].to_numpy(copy=True))
        turned = predictions.copy()
        turned[[f"{angle}_pred" for angle in ANGLES]] = rotmat_to_euler(turn @ euler_to_rotmat(true)).numpy()
        found = evaluation("turned", turned)
        assert found.scores["geodesic"] == pytest.approx(5)
        assert found.scores["alignment"] == pytest.approx(5)
        assert found.scores["aligned_geodesic"] == pytest.approx(0, abs=1e-4)

    def test_every_score_is_in_its_interval(self, two: list[Evaluation]) -> None:
        for one in two:
            names = {name for name in one.scores if not name.startswith("alignment")}
            assert set(one.intervals) == names
            for name, found in one.intervals.items():
                assert found.value == pytest.approx(one.scores[name], nan_ok=True)
                assert found.low <= found.value <= found.high

    def test_the_order_of_the_images_changes_nothing(self, two: list[Evaluation]) -> None:
        for one in two:
            other = evaluation(one.model, one.predictions.sample(frac=1, random_state=3))
            assert other.scores == pytest.approx(dict(one.scores))
            for name, found in one.intervals.items():
                assert other.intervals[name].low == pytest.approx(found.low)

    @pytest.mark.parametrize("value", [math.nan, math.inf])
    def test_a_prediction_that_is_no_number_is_refused_by_name(self, predictions: pd.DataFrame, value: float) -> None:
        broken = predictions.copy()
        broken.loc[7, "roll_pred"] = value
        with pytest.raises(DatasetError, match=r"net under aflw2000: 1 of 60 .* image00007\.jpg"):
            evaluation("net", broken)

    @pytest.mark.parametrize("name", ["", "../up", "a/b", "a\\b", ".hidden", "two\nlines"])
    def test_names_are_folders(self, predictions: pd.DataFrame, name: str) -> None:
        with pytest.raises(ConfigError, match="model="):
            evaluation(name, predictions)
        with pytest.raises(ConfigError, match="protocol="):
            evaluation("net", predictions, protocol=name)

    def test_a_corruption_has_a_strength(self, predictions: pd.DataFrame) -> None:
        for changes in ({"corruption": "blur"}, {"strength": 2}):
            with pytest.raises(ConfigError, match="strength"):
                evaluation("net", predictions, **changes)

    def test_two_of_a_name_are_refused(self, two: list[Evaluation], predictions: pd.DataFrame) -> None:
        check_distinct([*two, evaluation("good", predictions, protocol="biwi")])
        with pytest.raises(ConfigError, match="model=good: 2 models"):
            check_distinct([*two, two[0]])
        with pytest.raises(ConfigError, match="nothing"):
            check_distinct([])


@pytest.fixture
def aflw2000(tmp_path: Path) -> Path:
    """Five images in AFLW2000-3D's layout, one of them beyond 99 degrees."""
    folder = tmp_path / "AFLW2000"
    folder.mkdir()
    random = np.random.default_rng(0)
    for number in range(5):
        stem = folder / f"image{number:05d}"
        cv2.imwrite(f"{stem}.jpg", random.integers(0, 255, (120, 120, 3), np.uint8))
        pose = np.radians([[10 * number, 120 if number == 3 else -20, 5, 0, 0, 0, 0]])
        points = np.vstack([random.uniform((30, 40), (90, 70), (68, 2)).T, np.zeros(68)])
        savemat(f"{stem}.mat", {"Pose_Para": pose, "pt3d_68": points})
    return folder


class TestFromRecords:
    def test_images_labels_crops_and_rejects_are_the_set_s(self, aflw2000: Path) -> None:
        protocol = Protocol("aflw2000", "within 99", read_aflw2000, str(aflw2000), expected=1969)
        records = protocol.records()
        found = evaluate(torch.zeros(4, 3), records, protocol, FSANetCrop(), model="zero", about="answers 0")
        table = found.predictions
        assert list(table["name"]) == [f"image0000{number}.jpg" for number in (0, 1, 2, 4)]
        assert table[list(ANGLES)].to_numpy() == pytest.approx(
            np.array([[-20, p, 5] for p in (0, 10, 20, 40)]), abs=1e-4
        )
        assert found.scores["yaw_mae"] == pytest.approx(20, abs=1e-4)
        assert found.scores["pitch_mae"] == pytest.approx(17.5, abs=1e-4)
        assert [Path(reject.file).name for reject in found.rejects] == ["image00003.jpg"]
        assert not found.complete
        assert len(found.remarks) == 1
        assert "1,969" in found.remarks[0]
        for row, record in zip(table.itertuples(), (records[k] for k in range(4)), strict=True):
            left, top, right, bottom = FSANetCrop().rectangle(record.landmarks)
            assert row.crop_side == pytest.approx(max(right - left, bottom - top))
            assert row.crop_x + row.crop_side / 2 == pytest.approx((left + right) / 2)
            assert row.crop_y + row.crop_side / 2 == pytest.approx((top + bottom) / 2)
            assert cv2.imread(row.image) is not None

    def test_a_part_of_the_images_is_told_as_a_part(self, aflw2000: Path) -> None:
        protocol = Protocol("aflw2000", "AFLW", read_aflw2000, str(aflw2000), max_angle=45)
        found = evaluate(
            torch.zeros(2, 3),
            protocol.records(),
            protocol,
            FSANetCrop(),
            model="zero",
            about="",
            rows=torch.tensor([1, 3]),
        )
        assert list(found.predictions["name"]) == ["image00001.jpg", "image00004.jpg"]
        assert found.title == "AFLW, all angles within 45 degrees"
        assert images_in_words(found) == "2 of 4 images"
        assert "only 2 of 4 images" in found.remarks[-1]

    @pytest.mark.parametrize("shape", [(3, 3), (5, 3), (4, 2)])
    def test_a_wrong_number_of_predictions_is_refused(self, aflw2000: Path, shape: tuple[int, int]) -> None:
        protocol = Protocol("aflw2000", "within 99", read_aflw2000, str(aflw2000))
        with pytest.raises(DatasetError, match="4 images"):
            evaluate(torch.zeros(shape), protocol.records(), protocol, RankPoseCrop(), model="zero", about="")


PARTS = st.lists(st.sampled_from(["a", "A", "b", "a.b", "..", "a\\b", "a/b", "x\n", "lr_0.1", "lr_0.01"]), min_size=1)


class TestNames:
    @given(st.lists(PARTS, min_size=1, max_size=6))
    def test_are_folders_of_their_own(self, paths: list[list[str]]) -> None:
        names = distinct_names([(path[-1], path) for path in paths])
        for name in names:
            check_folder_name("model", name)
        assert len({name.casefold() for name in names}) == len(paths)

    @pytest.mark.parametrize(
        ("paths", "names"),
        [
            (["x/run/best"], ["run"]),
            (["x/lr_0.001/best", "x/lr_0.01/best"], ["lr_0.001", "lr_0.01"]),
            (["a/run/best", "b/run/best"], ["a", "b"]),
            (["a/run/best", "a/run/last"], ["best", "last"]),
            (["lr_0.1/0/best", "lr_0.2/0/best", "x/net/best"], ["lr_0.1", "lr_0.2", "net"]),
            (["a/run/best", "a/run/last", "b/run/best"], ["a-run-best", "a-run-last", "b-run-best"]),
            (["run/best", "a/run/best"], ["run", "a"]),
        ],
    )
    def test_are_the_shortest_part_that_tells_apart(self, paths: list[str], names: list[str]) -> None:
        parts = [["home", *path.split("/")] for path in paths]
        assert distinct_names([(path[-2], path) for path in parts]) == names


class TestSuspicions:
    KEYS = {name: f"the key of {name}" for name in ("unit", *ANGLES)}  # noqa: RUF012

    @pytest.mark.parametrize("radians", [False, True])
    @pytest.mark.parametrize("signs", [(1, 1, 1), (-1, 1, 1), (1, -1, 1), (1, 1, -1), (-1, -1, 1), (-1, -1, -1)])
    def test_are_of_the_unit_and_of_the_signs_that_are_wrong(self, radians: bool, signs: tuple[int, int, int]) -> None:
        generator = torch.Generator().manual_seed(0)
        target = 30 * torch.randn(200, 3, generator=generator)
        prediction = (target + 4 * torch.randn(200, 3, generator=generator)) * torch.tensor(signs)
        found = suspicions(torch.deg2rad(prediction) if radians else prediction, target, self.KEYS)
        wrong = ["unit"] * radians + [angle for angle, sign in zip(ANGLES, signs, strict=True) if sign < 0]
        assert [text.rpartition("the key of ")[2] for text in found] == wrong

    def test_of_a_model_that_knows_nothing_there_is_none_about_signs(self) -> None:
        target = 30 * torch.randn(200, 3, generator=torch.Generator().manual_seed(0))
        assert suspicions(torch.full((200, 3), 4.0), target, self.KEYS) == []


class TestDifferences:
    def test_a_better_model_is_better_by_every_score_and_in_both_orders(self, two: list[Evaluation]) -> None:
        (forth,), (back,) = differences(two), differences(two[::-1])
        for name in two[0].intervals:
            assert forth.better(name) in ("good", None)
            assert back.better(name) == forth.better(name)
            assert forth.scores[name].value == pytest.approx(-back.scores[name].value)
        for name in ("mae", "geodesic_median", "within_5", "auc_30", "pair_order", "spearman", "aligned_mae"):
            assert forth.better(name) == "good"

    def test_a_model_is_not_better_than_itself(self, two: list[Evaluation]) -> None:
        again = evaluation("again", two[0].predictions.sample(frac=1, random_state=0))
        (found,) = differences([two[0], again])
        for name in two[0].intervals:
            assert found.better(name) is None
            assert found.scores[name].value == pytest.approx(0, abs=1e-9)

    def test_errors_fall_and_shares_rise(self, two: list[Evaluation]) -> None:
        for name in two[0].intervals:
            assert rising(name) == ("mae" not in name and "geodesic" not in name and "maev" not in name)

    def test_only_models_of_one_protocol_on_clean_images_are_compared(self, predictions: pd.DataFrame) -> None:
        evaluations = [
            evaluation("a", predictions),
            evaluation("b", predictions),
            evaluation("c", predictions),
            evaluation("a", predictions, protocol="biwi"),
            evaluation("a", predictions, corruption="blur", strength=1),
            evaluation("b", predictions, corruption="blur", strength=1),
        ]
        pairs = [(pair.protocol, pair.first, pair.second) for pair in differences(evaluations)]
        assert pairs == [("aflw2000", "a", "b"), ("aflw2000", "a", "c"), ("aflw2000", "b", "c")]

    def test_other_images_or_other_labels_are_refused(self, two: list[Evaluation], predictions: pd.DataFrame) -> None:
        with pytest.raises(DatasetError, match=r"good and few .* 10 .* image00050\.jpg"):
            differences([two[0], evaluation("few", predictions.head(50))])
        relabelled = predictions.copy()
        relabelled.loc[4, "pitch"] += 1
        with pytest.raises(DatasetError, match=r"labels.*image00004\.jpg"):
            differences([two[0], evaluation("other", relabelled)])


class TestJson:
    def test_holds_every_figure_unrounded_and_null_for_what_is_none(self, lonely: Evaluation) -> None:
        (result,) = json.loads(json_text(as_json([lonely])))["results"]
        for name, value in lonely.scores.items():
            assert result["scores"][name] == (None if math.isnan(value) else value)
            if name in result["intervals"]:
                low = lonely.intervals[name].low
                assert result["intervals"][name]["low"] == (None if math.isnan(low) else low)
        assert result["scores"]["pair_order"] is None
        assert result["images"] == result["identities"] == 60

    def test_is_the_same_text_twice_with_sorted_keys(
        self, two: list[Evaluation], predictions: pd.DataFrame, tmp_path: Path
    ) -> None:
        again = [evaluation("good", with_errors(predictions, 2)), evaluation("bad", with_errors(predictions, 12))]
        texts = []
        for number, evaluations in enumerate((two, again)):
            report.write_results(tmp_path / str(number), evaluations, differences(evaluations))
            texts.append((tmp_path / str(number) / "metrics.json").read_text())
        assert texts[0] == texts[1]

        def ordered(pairs: list[tuple[str, object]]) -> dict[str, object]:
            assert [key for key, _ in pairs] == sorted(key for key, _ in pairs)
            return dict(pairs)

        whole = json.loads(texts[0], object_pairs_hook=ordered)
        assert whole["schema_version"] == 1
        assert set(whole["versions"]) == {"rankpose", "torch"}
        assert [(one["first"], one["second"]) for one in whole["differences"]] == [("good", "bad")]

    def test_counts_what_was_left_out_by_reason(self, predictions: pd.DataFrame) -> None:
        rejects = tuple(Reject(f"/set/{k}.jpg", "torn" if k < 3 else "empty") for k in range(5))
        (result,) = as_json([evaluation("net", predictions, rejects=rejects)])["results"]
        assert result["rejects"] == {"torn": 3, "empty": 2}


def markdown_cells(text: str) -> list[list[str]]:
    return [[cell.strip() for cell in line[2:-2].split(" | ")] for line in text.splitlines() if "|" in line]


def tex_rows(text: str) -> list[list[str]]:
    """The cells of each row between top and bottom rule, a `\\multicolumn` as often as it is wide."""
    inside = text[text.index("\\toprule") : text.index("\\bottomrule")]
    rows = []
    for line in re.findall(r"^.*\\\\$", inside, flags=re.MULTILINE):
        cells: list[str] = []
        for cell in re.split(r"(?<!\\)&", line.removesuffix("\\\\")):
            wide = re.match(r"\s*\\multicolumn\{(\d+)\}", cell)
            cells += [cell.strip()] * (int(wide[1]) if wide else 1)
        rows.append(cells)
    return rows


class TestMainTable:
    def test_published_figures_stand_beside_the_whole_set_of_their_protocol_only(
        self, predictions: pd.DataFrame
    ) -> None:
        papers = published_figures()

        def sources(**changes: object) -> list[str]:
            table = main_table([evaluation("net", predictions, **changes)], papers)
            assert not any(row.source for row in table.blocks[1].rows)
            return [row.name for row in table.blocks[0].rows if row.source]

        assert sources(expected=60) == [paper.method for paper in papers["aflw2000"]]
        assert "RankPose" in sources(expected=60)
        assert sources(expected=61) == []
        assert sources(expected=None) == []
        assert sources(expected=60, protocol="aflw2000_all") == []
        assert sources(expected=60, changes=("max_angle=60",)) == []
        note = main_table([evaluation("net", predictions, expected=1969)], papers).note
        assert "1,969" in note
        assert "60" in note

    def test_published_figures_are_of_known_protocols_and_their_mean_is_that_of_the_angles(self) -> None:
        protocols = {
            str(content.name)
            for path in Path(CONFIG_DIR, "protocol").glob("*.yaml")
            if "name" in (content := OmegaConf.load(path))
        }
        for protocol, papers in published_figures().items():
            assert protocol in protocols
            for paper in papers:
                if paper.yaw is not None:
                    angles = [float(getattr(paper, angle) or math.nan) for angle in ANGLES]
                    assert float(paper.mean or math.nan) == pytest.approx(np.mean(angles), abs=0.07)

    def test_the_best_of_a_column_is_bold_published_or_not(self, predictions: pd.DataFrame) -> None:
        models = [
            evaluation(name, with_errors(predictions, spread), expected=60) for name, spread in (("a", 5), ("b", 9))
        ]
        as_is, turned = main_table(models, published_figures()).blocks
        for place, score in enumerate(SCORES, start=1):
            values = {row.name: row.cells[place].text for row in as_is.rows if row.cells[place].text}
            pick = max if rising(score.name) else min
            best = pick(float(text) for text in values.values())
            assert {name for name, text in values.items() if float(text) == best} == {
                row.name for row in as_is.rows if row.cells[place].best
            }
            assert any(row.cells[place].best for row in turned.rows)
        assert next(row for row in as_is.rows if row.name == "RankPose").cells[1].best

    def test_nothing_is_best_of_one(self, two: list[Evaluation]) -> None:
        assert not any(c.best for b in main_table(two[:1], {}).blocks for row in b.rows for c in row.cells)

    def test_columns_without_a_value_are_left_out(self, lonely: Evaluation, two: list[Evaluation]) -> None:
        def columns(models: list[Evaluation]) -> list[tuple[str, str]]:
            return [(column.group, column.heading) for column in main_table(models, {}).columns[1:]]

        assert columns(two) == [(score.group, score.heading) for score in SCORES]
        assert columns([lonely]) == [
            (score.group, score.heading) for score in SCORES if score.name not in ("pair_order", "spearman")
        ]

    def test_markdown_shows_the_scores(self, two: list[Evaluation]) -> None:
        rows = markdown_cells(main_table(two, {}).as_text("md"))
        assert {len(row) for row in rows} == {len(SCORES) + 1}
        good = next(row for row in rows if row[0] == "good")
        for score, cell in zip(SCORES, good[1:], strict=True):
            shown = re.match(r"\*\*([\d.]+)\*\* \(([\d.]+)" + NO_VALUE + r"([\d.]+)\)$", cell)
            assert shown is not None, cell
            scale = 100 if score.percent else 1
            found = two[0].intervals[score.name]
            for text, value in zip(shown.groups(), (found.value, found.low, found.high), strict=True):
                assert float(text) == pytest.approx(scale * value, abs=0.51 * 10**-score.digits)

    def test_latex_is_balanced_and_escaped(self, predictions: pd.DataFrame) -> None:
        evil = "50% of_a & b #1 {x} $y^2~"
        table = main_table(
            [evaluation(evil, predictions, expected=60), evaluation("b", predictions, expected=60)], published_figures()
        )
        text = table.as_text("tex")
        plain = re.sub(r"\\[\\%&#_{}$]|\\ensuremath\{\^\\circ\}", "", text)
        assert plain.count("{") == plain.count("}")
        assert not re.search(r"[%#_$^~]", re.sub(r"\\label\{.*?\}", "", plain))
        assert text.isascii()
        rows = tex_rows(text)
        assert len(rows) == 2 + 2 + 2 * 4 + len(published_figures()["aflw2000"])
        assert {len(row) for row in rows} == {len(SCORES) + 1}
        begun, ended = (re.findall(rf"\\{word}\{{(\S+?)\}}", text) for word in ("begin", "end"))
        assert begun == ended[::-1]

    def test_csv_is_tidy_and_unrounded(self, two: list[Evaluation], predictions: pd.DataFrame) -> None:
        blurred = evaluation("good", predictions, corruption="blur", strength=3)
        whole = tidy_scores([*two, blurred], published_figures())
        table = pd.read_csv(io.StringIO(whole.to_csv(index=False)))
        keys = ["protocol", "method", "kind", "corruption", "strength", "frame", "score"]
        assert not table.duplicated(keys).any()
        indexed = table.set_index(keys)["value"]
        for one in (*two, blurred):
            for name, value in one.scores.items():
                frame = "aligned" if name.startswith("aligned_") else "as_is"
                place = ("aflw2000", one.model, "measured", one.corruption or "clean", one.strength, frame)
                assert indexed[(*place, name.removeprefix("aligned_"))] == pytest.approx(value, rel=1e-12)


class TestReport:
    @pytest.fixture(scope="class")
    def mixed(self, two: list[Evaluation], predictions: pd.DataFrame) -> list[Evaluation]:
        """Two models under two protocols, one of them corrupted as well."""
        blurred = [
            evaluation(one.model, with_errors(predictions, 3 * strength), corruption="blur", strength=strength)
            for one in two
            for strength in (1, 3)
        ]
        rejects = tuple(Reject(f"/set/of/{k}.jpg", "with an empty face box") for k in range(3))
        other = [
            evaluation(
                one.model, one.predictions, protocol="biwi", expected=99, remarks=("it is not whole",), rejects=rejects
            )
            for one in two
        ]
        return [*two, *other, *blurred]

    @pytest.fixture(scope="class")
    def folder(self, mixed: list[Evaluation], tmp_path_factory: pytest.TempPathFactory) -> Path:
        folder = tmp_path_factory.mktemp("out") / "new" / "folder"
        page = report.write_results(folder, mixed, differences(mixed), notes=["A note."], config_text="a: 1")
        assert page == folder / "report.html"
        return folder

    @pytest.fixture(scope="class")
    def text(self, folder: Path) -> str:
        return (folder / "report.html").read_text(encoding="utf-8")

    def test_leaves_all_files_and_nothing_else(self, folder: Path, mixed: list[Evaluation]) -> None:
        places = {f"{one.model}/{one.protocol}" for one in mixed if not one.strength}
        places |= {f"{one.model}/{one.protocol}/blur_{one.strength}" for one in mixed if one.strength}
        found = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
        assert found == FILES - {"predictions.parquet"} | {f"{place}/predictions.parquet" for place in places}
        assert list(folder.parent.iterdir()) == [folder]
        pd.testing.assert_frame_equal(pd.read_parquet(folder / "good/biwi/predictions.parquet"), mixed[2].predictions)

    def test_of_a_single_evaluation_the_predictions_are_in_the_folder(self, lonely: Evaluation, tmp_path: Path) -> None:
        report.write_results(tmp_path / "out", [lonely])
        assert {path.name for path in (tmp_path / "out").iterdir()} == FILES

    def test_the_page_needs_nothing_from_outside(self, text: str) -> None:
        ids = []
        for tag, attributes in Elements(text).found:
            assert tag not in ("link", "script", "iframe", "object", "embed", "base")
            ids += [attributes["id"]] if "id" in attributes else []
            for name in ("src", "href", "xlink:href", "srcset", "data", "poster"):
                address = attributes.get(name)
                assert address is None or address.startswith(("data:", "#")), f"<{tag} {name}={address!r:.60}>"
        assert len(ids) == len(set(ids))
        assert set(re.findall(r'href="#([^"]*)"', text)) | set(re.findall(r"url\(#([^)]*)\)", text)) <= set(ids)
        assert not re.search(r"url\((?!#)|@import", text)

    def test_the_page_shows_every_part_of_every_protocol(self, text: str, two: list[Evaluation]) -> None:
        labels = [attributes.get("aria-label") for tag, attributes in Elements(text).found if tag == "svg"]
        for protocol in ("aflw2000", "biwi"):
            wanted = ["Images within a geodesic error", "The same, aligned", "Pair order by difference"]
            wanted += [f"Error by true {angle}" for angle in ANGLES]
            wanted += [f"{angle.capitalize()}, predicted against true, {one.model}" for angle in ANGLES for one in two]
            assert {f"{label}, {protocol}" for label in wanted} <= set(labels)
        assert "Robustness: blur, aflw2000" in labels
        assert "It is not whole" in text
        assert "3 with an empty face box" in text
        assert "/set/of/" not in text  # which folder it was is the machine's own business
        assert text.count("<img") == 2 * 2 * 12
        for one in two:
            for name in ("auc_30", "aligned_auc_30"):
                assert text.count(f"{one.model}, area {one.scores[name]:.3f}") >= 2
        assert "nan" not in re.sub(r'base64,[^"]*', "", text).lower()

    def test_worst_heads_are_the_worst_of_any_model(self, text: str, two: list[Evaluation]) -> None:
        shown = re.findall(r'<figcaption title="([^"]*)"', text)
        every = pd.concat([one.predictions.set_index("name")["geodesic"] for one in two], axis=1).max(axis=1)
        assert shown == 2 * list(every.nlargest(12).index)

    def test_the_page_escapes_what_it_is_given(self, predictions: pd.DataFrame, tmp_path: Path) -> None:
        evil = '<script>alert("x")<script>'
        changed = predictions.assign(identity=evil, name=[f"{k}{evil}" for k in range(len(predictions))])
        one = evaluation(evil, changed, about=evil, title=evil, remarks=(evil,), rejects=(Reject(evil, evil),))
        page = report.write_results(
            tmp_path / "out", [one, evaluation("b", changed)], title=evil, notes=[evil], config_text=evil
        )
        assert "script" not in {tag for tag, _ in Elements(page.read_text()).found}

    def test_markdown_has_a_table_a_protocol_and_the_comparison(self, folder: Path) -> None:
        text = (folder / "tables.md").read_text()
        for wanted in ("### aflw2000: A test set", "### biwi: A test set", "Paired differences", "It is not whole"):
            assert wanted in text
        assert text.count("good − bad") == 2 * 4  # noqa: RUF001

    def test_a_failure_leaves_what_was_there(
        self, two: list[Evaluation], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        folder = tmp_path / "out"

        def fail(*_: object, **__: object) -> str:
            raise OSError("disk full")

        for name in ("evaluation_page", "write_whole"):
            with monkeypatch.context() as patched:
                patched.setattr(report, name, fail)
                with pytest.raises(OSError, match="disk full"):
                    report.write_results(folder, two)
            assert list(tmp_path.iterdir()) == []
        report.write_results(folder, two)
        before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
        with monkeypatch.context() as patched:
            patched.setattr(report, "write_whole", fail)
            with pytest.raises(OSError, match="disk full"):
                report.write_results(folder, two[:1])
        assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before
        assert list(tmp_path.iterdir()) == [folder]

    def test_mistakes_are_found_before_anything_is_written(self, two: list[Evaluation], tmp_path: Path) -> None:
        with pytest.raises(ConfigError, match="2 models of this name"):
            report.write_results(tmp_path / "out", [two[0], two[0]])
        assert list(tmp_path.iterdir()) == []

    def test_a_page_of_two_models_and_2000_images_is_small(self, predictions: pd.DataFrame, tmp_path: Path) -> None:
        many = pd.concat([predictions] * 34, ignore_index=True)
        many["name"] = [f"{k}.jpg" for k in range(len(many))]
        models = [evaluation(name, with_errors(many, spread)) for name, spread in (("a", 4), ("b", 8))]
        page = report.write_results(tmp_path / "out", models, differences(models))
        assert len(many) >= 2000
        assert page.stat().st_size < 5_000_000


class TestWandb:
    def test_gets_tables_pictures_and_scores(self, two: list[Evaluation], tmp_path: Path) -> None:
        class Run:
            """What a W&B run is asked for."""

            def __init__(self) -> None:
                self.logged: dict[str, object] = {}
                self.summary: dict[str, float] = {}

            def log(self, content: dict[str, object]) -> None:
                self.logged |= content

        run = Run()
        log_evaluation(run, two, differences(two), worst=5)
        worst = run.logged["evaluation/aflw2000/worst"]
        assert isinstance(worst, wandb.Table)
        assert len(worst.data) == 5 * 2
        assert isinstance(worst.data[0][1], wandb.Image)
        heads = run.logged["evaluation/aflw2000/heads"]
        assert isinstance(heads, list)
        assert len(heads) == 12
        assert all(isinstance(head, wandb.Image) and head._width == 2 * head._height for head in heads)
        scores = run.logged["evaluation/scores"]
        assert isinstance(scores, wandb.Table)
        frame = scores.get_dataframe().set_index(["model", "frame"])
        for one in two:
            assert frame.loc[(one.model, "as it is"), "mae"] == pytest.approx(one.scores["mae"])
            assert frame.loc[(one.model, "aligned"), "mae"] == pytest.approx(one.scores["aligned_mae"])
            assert run.summary[f"aflw2000/{one.model}/geodesic"] == one.scores["geodesic"]
        assert sum(isinstance(value, wandb.Html) for value in run.logged.values()) == 2 + 1 + 3 + 2 * 3
