"""What must hold for a table of runs: hand-worked figures, nothing mixed that differs, nothing missing unsaid."""

import copy
import functools
import json
import re
import shutil

import cv2
import numpy as np
import pandas as pd
import pytest
from commands import run, succeed, written

from rankpose.command.configuration import stored_text
from rankpose.compare import wanted_baseline
from rankpose.errors import ConfigError, DatasetError
from rankpose.evaluation.protocol import HELD_OUT
from rankpose.evaluation.runs import find_runs
from rankpose.files import json_text
from rankpose.pose import ANGLES
from rankpose.report import ablation_study
from rankpose.report.ablation import as_json, make_ablation, tidy, to_latex, to_markdown, to_page, write_ablation

PEOPLE, EACH = 5, 4


def predictions(error, missing=0):
    """Labels in steps of 10 degrees within a person; every angle of every image is off by `error` degrees."""
    rows = []
    for person in range(PEOPLE):
        for image in range(EACH):
            pose = np.array([10.0 * image - 15, 5.0 * image, 2.0 * image])
            rows.append(
                {"name": f"p{person}_{image}.jpg", "image": "gone.jpg", "identity": f"p{person}"}
                | dict(zip(ANGLES, pose, strict=True))
                | {f"{angle}_pred": value for angle, value in zip(ANGLES, pose + error, strict=True)}
                | {"geodesic": 0.0, "crop_x": 1.0, "crop_y": 2.0, "crop_side": 30.0}
            )
    return pd.DataFrame(rows[missing:])


composition = functools.cache(written)


def write_run(folder, error, *given, seed=0, loss="mse", weight=None, representation="euler", table=None):
    """A run's folder as `rankpose.train` leaves it, of a command line and with an error."""
    folder.mkdir(parents=True)
    overrides = [f"loss={loss}", f"representation={representation}", f"data.reader.test_identities={PEOPLE}", *given]
    config = copy.deepcopy(composition(*overrides, *([] if weight is None else [f"loss.weight={weight}"])))
    config |= {"seed": seed, "run_dir": str(folder)}
    config["data"]["root"] = str(folder.parent / "data")
    (folder / "config.yaml").write_text(stored_text(config))
    (folder / "metrics.json").write_text("{}")
    (predictions(error) if table is None else table).to_parquet(folder / "predictions.parquet")
    return folder


def write_test(folder, error, protocol="aflw2000", title="AFLW2000, within 99", **changes):
    """What `rankpose.evaluate` leaves in a run's folder."""
    place = folder / "evaluation" / protocol
    place.mkdir(parents=True)
    result = {"protocol": protocol, "title": title, "expected": 1969, "strength": 0} | changes
    (place / "metrics.json").write_text(json.dumps({"schema_version": 1, "results": [result]}))
    predictions(error).to_parquet(place / "predictions.parquet")


@pytest.fixture
def sweep(tmp_path):
    """Two losses, three seeds; the errors of mse are 4, 5, 6 degrees, of rank_mse 2, 4, 3."""
    folder = tmp_path / "sweep"
    for seed, (plain, ranked) in enumerate([(4.0, 2.0), (5.0, 4.0), (6.0, 3.0)]):
        write_run(folder / f"{2 * seed}", plain, seed=seed)
        write_run(folder / f"{2 * seed + 1}", ranked, seed=seed, loss="rank_mse")
    return folder


def ablation_of(*folders, **baseline):
    return make_ablation(find_runs(folders), baseline or None)


def test_means_deviations_and_differences_are_those_worked_by_hand(sweep):
    found = ablation_of(sweep)
    assert found.keys == ["loss"]  # the weight comes with the loss; seeds and places are no configuration
    mse, rank = found.cells
    assert (mse.name, rank.name, rank.baseline) == ("mse", "rank_mse", "mse")
    assert mse.seeds == rank.seeds == [0, 1, 2]
    for angle in ("mae", *(f"{angle}_mae" for angle in ANGLES)):
        assert mse.scores[HELD_OUT][angle].mean == pytest.approx(5)
        assert mse.scores[HELD_OUT][angle].deviation == pytest.approx(1)  # n - 1
        assert rank.scores[HELD_OUT][angle].mean == pytest.approx(3)
    change = rank.changes[HELD_OUT]["mae"]
    assert change.seeds == pytest.approx({0: -2, 1: -1, 2: -3})
    assert change.agreeing() == 3
    assert change.difference.value == pytest.approx(-2)
    # all images differ alike, so that other people would change nothing
    assert (change.difference.low, change.difference.high) == pytest.approx((-2, -2))
    assert change.sure()
    # a constant error keeps the order of pairs
    assert rank.scores[HELD_OUT]["pair_order"].mean == 1
    assert rank.changes[HELD_OUT]["pair_order"].difference.value == 0
    assert not mse.changes


def test_a_difference_of_pair_orders_is_that_of_the_shares(tmp_path):
    swapped = predictions(0.0)
    # yaw of the first two images of one person the wrong way round: 1 of 5 people x 6 pairs x 3 angles
    swapped.loc[[0, 1], "yaw_pred"] = swapped.loc[[1, 0], "yaw_pred"].to_numpy()
    write_run(tmp_path / "0", 0.0)
    write_run(tmp_path / "1", 0.0, loss="rank_mse", table=swapped)
    change = ablation_of(tmp_path).cells[1].changes[HELD_OUT]["pair_order"]
    assert change.difference.value == pytest.approx(-1 / 90)
    assert change.seeds[0] == pytest.approx(-1 / 90)
    assert change.difference.high == 0  # without that person there is no difference
    assert not change.sure()


def test_seeds_that_disagree_are_no_sure_difference(tmp_path):
    for seed, (plain, ranked) in enumerate([(4.0, 1.0), (4.0, 1.0), (4.0, 5.0)]):
        write_run(tmp_path / f"{2 * seed}", plain, seed=seed)
        write_run(tmp_path / f"{2 * seed + 1}", ranked, seed=seed, loss="rank_mse")
    found = ablation_of(tmp_path)
    change = found.cells[1].changes[HELD_OUT]["mae"]
    assert change.difference.high < 0
    assert change.agreeing() == 2
    assert not change.sure()
    assert "verdict-better" not in to_page(found).partition("</style>")[2]


def test_seeds_are_pooled_whatever_precision_auto_took(tmp_path):
    half, whole = "trainer.precision=bf16-mixed", "trainer.precision=32-true"
    for seed, given in enumerate([half, whole, half]):
        write_run(tmp_path / f"{seed}", 4.0, given, seed=seed)
        write_run(tmp_path / f"{seed}r", 2.0, whole, seed=seed, loss="rank_mse")
    found = ablation_of(tmp_path)
    assert found.keys == ["loss"]
    assert [cell.seeds for cell in found.cells] == [[0, 1, 2]] * 2
    assert found.remarks == ["Computed partly in bf16-mixed and partly in 32-true, as trainer.precision=auto chose."]
    # a seed that has run in both was asked to
    write_run(tmp_path / "both", 4.0, half, seed=1)
    assert ablation_of(tmp_path).keys == ["loss", "trainer.precision"]


def test_differences_use_common_seeds_only_and_say_what_lacks(sweep, tmp_path):
    alone = write_run(tmp_path / "more" / "a", 1.0, seed=7, loss="rank_mse")
    (sweep / "3" / "metrics.json").unlink()
    (sweep / "3" / "failure.txt").write_text("Traceback (most recent call last):\n  x\nRuntimeError: out of memory\n")
    (sweep / "5" / "metrics.json").unlink()
    found = ablation_of(sweep, alone)
    rank = found.cells[1]
    assert rank.seeds == [0, 7]
    assert rank.scores[HELD_OUT]["mae"].mean == pytest.approx(1.5)
    assert rank.changes[HELD_OUT]["mae"].seeds == pytest.approx({0: -2})
    absent = "\n".join(found.absent)
    assert re.search(r"sweep/3 gives no figures: failed: RuntimeError: out of memory\.", absent)
    assert re.search(r"sweep/5 gives no figures: unfinished or still running", absent)
    assert "rank_mse lacks seeds 1, 2." in absent
    assert "mse lacks seed 7." in absent
    for text in (to_markdown(found), to_page(found), json.dumps(as_json(found))):
        assert "RuntimeError: out of memory" in text


def test_a_configuration_of_failed_runs_alone_is_named(sweep):
    failed = write_run(sweep / "6", 1.0, loss="rank_mse", weight=30.0)
    (failed / "metrics.json").unlink()
    assert "rank_mse loss.weight=30 has no finished run, and so no row." in ablation_of(sweep).absent


def test_a_run_that_failed_before_its_configuration_tells_what_its_log_says(sweep):
    (sweep / "sweep.log").write_text("the sweep's own\n")
    (sweep / "6").mkdir()
    (sweep / "6" / "train.log").write_text("reading\nerror: data.root is not set\nthe end\n")
    (absent,) = ablation_of(sweep).absent
    assert absent.endswith("sweep/6 gives no figures: failed: error: data.root is not set.")


def test_a_number_that_a_sweep_left_out_is_told(sweep):
    (sweep / "multirun.yaml").write_text("hydra: {}\n")
    assert ablation_of(sweep).absent == []
    for file in (sweep / "1").iterdir():
        file.unlink()
    (sweep / "1").rmdir()
    assert "sweep/1 gives no figures" in ablation_of(sweep).absent[0]


@pytest.mark.parametrize("change", ["reader", "images", "labels", "crops", "protocol"])
def test_runs_that_differ_in_data_or_protocol_are_never_mixed(sweep, change):
    table, given = predictions(1.0), []
    if change == "reader":
        given = ["data.reader.test_identities=99"]
    elif change == "images":
        table = predictions(1.0, missing=1)
    elif change == "labels":
        table["yaw"] += 0.5
    elif change == "crops":
        table["crop_side"] *= 1.1
    other = write_run(sweep / "6", 1.0, *given, seed=3, table=table)
    if change == "protocol":
        write_test(sweep / "0", 1.0)
        write_test(other, 1.0, title="AFLW2000, all")
    with pytest.raises(DatasetError, match=r"sweep/0 and .*sweep/6") as error:
        ablation_of(sweep)
    named = {"reader": "data.reader.test_identities is 5 and 99", "images": "p0_0.jpg", "labels": "label of p0_0.jpg"}
    named |= {"crops": "crop of p0_0.jpg", "protocol": "'AFLW2000, within 99' and 'AFLW2000, all'"}
    assert named[change] in str(error.value)
    assert "\n" not in str(error.value)


def test_how_training_draws_from_the_same_data_is_an_axis(tmp_path):
    for place, count in enumerate((4, 2)):
        write_run(tmp_path / str(place), 1.0 + count, f"data.images_per_identity={count}")
    found = ablation_of(tmp_path)
    assert found.keys == ["data.images_per_identity"]
    assert [cell.values["data.images_per_identity"] for cell in found.cells] == [2, 4]


def test_the_same_run_twice_is_an_error_and_given_twice_is_one(sweep, tmp_path):
    assert len(find_runs([sweep, sweep / "0"]).runs) == 6
    again = write_run(tmp_path / "again", 1.0, seed=0)
    with pytest.raises(ConfigError, match=r"sweep/0 and .*again have the same configuration and seed 0"):
        ablation_of(sweep, again)


def test_a_protocol_gets_a_table_where_every_run_was_tested_under_it(sweep):
    for place in sorted(sweep.iterdir()):
        write_test(place, 8.0 if int(place.name) % 2 else 7.0)
    write_test(sweep / "0", 1.0, protocol="biwi")
    found = ablation_of(sweep)
    assert list(found.tests) == [HELD_OUT, "aflw2000"]
    assert [cell.scores["aflw2000"]["mae"].mean for cell in found.cells] == pytest.approx([7, 8])
    assert found.cells[1].changes["aflw2000"]["mae"].difference.value == pytest.approx(1)
    assert any("Protocol biwi has no table: 5 of 6 runs" in remark for remark in found.remarks)
    assert "### aflw2000: AFLW2000, within 99" in to_markdown(found)


def test_machine_and_display_make_no_configuration_and_settings_do(tmp_path):
    exact = ["float32_matmul=highest", "trainer.precision=32-true"]
    elsewhere = [
        *exact,
        "trainer=gpu",
        "compile=true",
        "trainer.log_every_n_steps=3",
        "protocols=[biwi]",
        "roots.biwi=/biwi",
    ]
    write_run(tmp_path / "0", 1.0, *exact)
    write_run(tmp_path / "1", 2.0, *elsewhere, "trainer.deterministic=true", "data.num_workers=0", seed=1)
    (one,) = ablation_of(tmp_path).cells
    assert one.seeds == [0, 1]
    write_run(tmp_path / "2", 2.0, exact[0], "trainer.precision=16-mixed", "data.size=40", seed=2)
    assert set(ablation_of(tmp_path).keys) == {"data.size", "trainer.precision"}


@pytest.fixture
def grid(tmp_path):
    """Two representations; mse, and rank_mse at two weights; two seeds."""
    number = 0
    for seed in range(2):
        for representation, extra in (("euler", 0.0), ("vector_angle", 1.0)):
            for loss, weight, error in (("mse", None, 5.0), ("rank_mse", 1.0, 4.0), ("rank_mse", 30.0, 3.0)):
                chosen = {"representation": representation, "loss": loss, "weight": weight}
                write_run(tmp_path / "grid" / str(number), error + extra, seed=seed, **chosen)
                number += 1
    return tmp_path / "grid"


def test_a_baseline_that_fits_several_is_each_ones_own(grid):
    found = ablation_of(grid, loss="mse")
    assert [cell.baseline for cell in found.cells] == ["euler mse"] * 3 + ["vector_angle mse"] * 3
    assert [cell.changes[HELD_OUT]["mae"].difference.value for cell in found.cells if cell.changes] == pytest.approx(
        [-1, -2, -1, -2]
    )
    first = ablation_of(grid)
    assert {cell.baseline for cell in first.cells} == {"euler mse"}
    assert make_ablation(find_runs([grid]), {"loss.weight": "30", "representation": "euler"}).cells[0].baseline == (
        "euler rank_mse loss.weight=30"
    )
    without = make_ablation(find_runs([grid]), {"loss.weight": "null", "representation": "euler"})
    assert {cell.baseline for cell in without.cells} == {"euler mse"}


@pytest.mark.parametrize(
    ("baseline", "says"),
    [
        ({"lr": "1"}, "lr does not differ"),
        ({"loss": "l1"}, "no configuration"),
        ({"loss": "rank_mse"}, "name more keys"),
    ],
)
def test_a_baseline_that_is_none_says_what_there_is(grid, baseline, says):
    with pytest.raises(ConfigError, match=says):
        make_ablation(find_runs([grid]), baseline)


def test_panels_against_the_weight_begin_with_the_loss_without_ranking(grid, sweep):
    (error, order) = ablation_of(grid).panels()[HELD_OUT]
    for panel in (error, order):
        assert [float(text) for text in re.findall(r">(0|1|30)</text>", panel.svg)][:3] == [0, 1, 30]
        assert panel.svg.count("opacity: 0.45") == 12  # a dot a run
    assert ablation_of(sweep).panels() == {}  # one weight is no axis


def test_every_format_says_the_same_and_the_best_is_bold(sweep, tmp_path):
    found = ablation_of(sweep)
    page = write_ablation(tmp_path / "out", found)
    text = page.read_text()
    assert not re.search(r'(src|href)="(?!#|data:)', text)
    assert "<b>3.00</b>" in text
    assert "<b>5.00</b>" not in text
    assert "**3.00** ± 1.00" in (tmp_path / "out" / "table.md").read_text()
    latex = to_latex(found)
    assert "\\textbf{3.00}" in latex
    assert "rank\\_mse" in latex
    rows = [line for line in latex.splitlines() if line.endswith("\\\\") and "multicolumn" not in line]
    assert {line.count(" & ") for line in rows} == {len(found.keys) + 6 + 2}
    table = pd.read_csv(tmp_path / "out" / "table.csv")
    row = table[(table["loss"] == "rank_mse") & (table["score"] == "mae")].iloc[0]
    assert row[["mean", "deviation", "difference", "low", "common_seeds"]].tolist() == pytest.approx([3, 1, -2, -2, 3])
    assert len(table) == len(tidy(found)) == 2 * 6
    content = json.loads((tmp_path / "out" / "comparison.json").read_text())
    assert content["configurations"][1]["scores"][HELD_OUT]["mae"]["by_seed"] == pytest.approx({"0": 2, "1": 4, "2": 3})


def test_runs_that_cannot_be_read_say_why(sweep, tmp_path):
    predictions(1.0).drop(columns="name").to_parquet(sweep / "0" / "predictions.parquet")
    (sweep / "1" / "config.yaml").write_text("a: [")
    broken = predictions(1.0)
    broken.loc[3, "yaw_pred"] = np.nan
    broken.to_parquet(sweep / "2" / "predictions.parquet")
    absent = "\n".join(ablation_of(sweep).absent)
    assert "sweep/0 gives no figures: predictions.parquet lacks the column name: this is of an older version" in absent
    assert "sweep/1 gives no figures: config.yaml cannot be read" in absent
    assert "sweep/2 gives no figures: predictions.parquet holds poses that are no numbers" in absent
    (tmp_path / "empty").mkdir()
    with pytest.raises(DatasetError, match="empty: holds no run"):
        find_runs([tmp_path / "empty"])
    with pytest.raises(DatasetError, match="nowhere: no such folder"):
        find_runs([tmp_path / "nowhere"])


def test_one_seed_has_no_deviation_and_one_configuration_no_difference(tmp_path):
    found = ablation_of(write_run(tmp_path / "one", 2.0))
    assert np.isnan(found.cells[0].scores[HELD_OUT]["mae"].deviation)
    assert "±" not in to_markdown(found).split("\n- ")[0]
    assert json.loads(json_text(as_json(found)))["configurations"][0]["scores"][HELD_OUT]["mae"]["deviation"] is None
    assert "less the baseline" not in to_markdown(found)
    assert "<html" in to_page(found)


def test_baseline_on_the_command_line():
    assert wanted_baseline("loss=mse, loss.weight=1") == {"loss": "mse", "loss.weight": "1"}
    with pytest.raises(ConfigError, match="KEY=VALUE"):
        wanted_baseline("mse")


@pytest.mark.slow
def test_the_command(sweep, tmp_path):
    process = succeed(run("compare", "sweep", "--baseline", "loss=rank_mse", cwd=tmp_path))
    assert re.search(r"^mse +3 +5\.00 ± 1\.00", process.stdout, re.MULTILINE)
    assert "Differences are to rank_mse." in process.stdout
    assert process.stdout.endswith("report: sweep/comparison/report.html\n")
    names = {path.name for path in (sweep / "comparison").iterdir()}
    assert names == {"report.html", "table.md", "table.tex", "table.csv", "comparison.json"}
    write_run(sweep / "9", 1.0, "data.reader.test_identities=99", seed=3)
    process = run("compare", "sweep", cwd=tmp_path)
    assert process.returncode == 1
    assert process.stderr.startswith("error: sweep/0 and sweep/9 are not of the same data")
    assert process.stderr.count("\n") == 1


def test_the_study_of_the_documentation(tmp_path, monkeypatch, capsys):
    """Parts of a sweep against the squared error, and one with seeds of its own: a table each, and the figure."""
    for part, seeds, images in (("core", (0, 1), [2]), ("confirm", (7, 8), [2, 8])):
        for seed in seeds:
            for loss, error in (("mse", 4.0), ("rank_mse", 2.0)):
                for each in images:
                    given = f"data.images_per_identity={each}"
                    place = tmp_path / "study" / part / f"{loss}{each}_{seed}"
                    write_test(write_run(place, error, given, seed=seed, loss=loss), error + 1)
    monkeypatch.setattr("sys.argv", ["study", str(tmp_path / "study"), "--figure", str(tmp_path / "figure.png")])
    ablation_study.main()
    out = capsys.readouterr().out
    row = "| `rank_mse` | 0 % | 2.00 ± 0.00 | **-2.00 (-2.00 to -2.00; 2/2)** | 100.00 ± 0.00 |"
    assert out.count(row) == 3, "of the first part, and of the other by both baselines"
    assert out.count(row.replace("`rank_mse`", "`images_per_identity=8 rank_mse`")) == 2
    assert cv2.imread(str(tmp_path / "figure.png")).std() > 5
    shutil.rmtree(tmp_path / "study" / "confirm")
    ablation_study.main()
    assert capsys.readouterr().out.count(row) == 1, "of a sweep without such a part"
    shutil.rmtree(tmp_path / "study")
    with pytest.raises(SystemExit):
        ablation_study.main()
    assert re.fullmatch("error: .*study: no such folder.*\n", capsys.readouterr().err)
