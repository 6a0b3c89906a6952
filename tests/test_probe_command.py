"""`python -m rankpose.probe`: what it leaves, that it repeats, and what it says of what it cannot use."""

import json
import re
import shutil
from pathlib import Path

import pytest
from commands import PEOPLE, run, succeed

pytestmark = pytest.mark.slow

SMALL = ["part=train", "folds=3", "pairs=2", "heads=3", "resamples=50", "num_workers=0", "batch_size=32"]


def on(small_set: Path) -> list[str]:
    people = [f"data.reader.{part}_identities={count}" for part, count in PEOPLE.items()]
    return [f"data.root={small_set}", *people, "data.reader.images_per_identity=6", *SMALL]


@pytest.fixture(scope="module")
def probed(trained, small_set, tmp_path_factory):
    """The page of the best and the last checkpoint of one run; W&B gets it as well."""
    folder = tmp_path_factory.mktemp("probed")
    best, last = trained / "checkpoints" / "best.ckpt", trained / "checkpoints" / "last.ckpt"
    arguments = [f"checkpoint={best},{last}", *on(small_set), "name=one,other"]
    # W&B keeps pictures in a folder that belongs to one process, not to copies of it
    succeed(run("probe", *arguments, "out=first", "wandb=true", cwd=folder, env={"WANDB_MODE": "offline"}, fresh=True))
    return folder, arguments


@pytest.mark.long
def test_it_leaves_a_page_figures_and_maps(probed):
    out = probed[0] / "first"
    page = (out / "report.html").read_text(encoding="utf-8")
    assert not re.findall(r'(?:src|href)="(?!data:|#)[^"]*"', page)
    for said in (
        "one",
        "other",
        "one less other",
        "Stage by stage",
        "integrated gradients",
        "random weights, resnet10t",
    ):
        assert said in page
    assert sorted(path.name for path in (out / "maps").glob("*.png")) == [
        f"{name}_{method}.png"
        for name in ("one", "other")
        for method in ("Grad-CAM", "integrated_gradients", "occlusion")
    ]
    figures = json.loads((out / "probes.json").read_text(encoding="utf-8"))
    assert list(figures["probes"]["one"]) == ["act1", "layer1", "layer2", "layer3", "layer4", "pooled"]
    pooled = figures["probes"]["one"]["pooled"]
    assert {"yaw", "pitch", "roll", "identity", "light, direction", "background"} <= set(pooled)
    assert all(one["value"] <= 1 for one in pooled.values())
    assert figures["moved"]["one"]["yaw"]["features"]["value"] > 0
    shares = figures["maps"]["one"]["shares"]["occlusion"]["yaw"]
    assert set(shares) == {"landmarks", "outline", "hair", "background"}
    assert all(0 <= one["value"] <= 1 for one in shares.values())
    assert any("no ImageNet weights of resnet10t" in note for note in figures["notes"])


def test_wandb_gets_tables_and_maps(probed):
    (sent,) = (probed[0] / "first" / "wandb").glob("offline-run-*")
    files = [path.name for path in sent.rglob("*") if path.is_file()]
    assert any("probes" in name and name.endswith(".table.json") for name in files)
    assert any("maps" in str(path) for path in sent.rglob("*.png"))


@pytest.mark.long
def test_the_same_seed_gives_the_same_figures(probed):
    folder, arguments = probed
    succeed(run("probe", *arguments, "out=second", cwd=folder))
    first, second = (folder / name / "probes.json" for name in ("first", "second"))
    assert first.read_text(encoding="utf-8") == second.read_text(encoding="utf-8")


def test_a_set_without_factors_has_maps_only(trained, small_set, tmp_path):
    shutil.copytree(small_set / "SYN_TRAIN", tmp_path / "set" / "AFW", ignore=shutil.ignore_patterns("*.parquet"))
    arguments = ["data=300w_lp", "data.root=set", *SMALL, "out=out"]
    done = succeed(run("probe", f"checkpoint={trained}", *arguments, cwd=tmp_path))
    assert "has no factors (factors.parquet), so there are maps only" in done.stdout
    figures = json.loads((tmp_path / "out" / "probes.json").read_text(encoding="utf-8"))
    assert figures["probes"] == figures["moved"] == {}
    assert set(figures["maps"]["run"]["shares"]["occlusion"]["yaw"]) == {"landmarks", "outline"}
    page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert "<h2>What features know</h2>" not in page
    assert "<h2>Where it looks</h2>" in page


def test_own_photographs_have_maps(trained, small_set, tmp_path):
    (tmp_path / "mine").mkdir()
    for file in sorted((small_set / "SYN_TEST").glob("*.jpg"))[:4]:
        shutil.copy(file, tmp_path / "mine")
    (tmp_path / "mine" / "0_damaged.jpg").write_bytes(b"no picture")
    done = succeed(
        run("probe", f"checkpoint={trained}", "images=mine", "detector=whole", "heads=4", "out=out", cwd=tmp_path)
    )
    assert "0_damaged.jpg" in done.stdout + done.stderr
    figures = json.loads((tmp_path / "out" / "probes.json").read_text(encoding="utf-8"))
    assert figures["data"] == "mine: 4 faces of 5 pictures"
    assert figures["maps"]["run"]["shares"]["occlusion"] == {"yaw": {}, "pitch": {}, "roll": {}}
    assert len(list((tmp_path / "out" / "maps").glob("*.png"))) == 3


@pytest.mark.long
def test_what_cannot_be_used_is_one_line(trained, small_set, tmp_path):
    (tmp_path / "empty").mkdir()
    mine = f"checkpoint={trained}"
    wrong = {
        (): "checkpoint is not set",
        (mine, "images=empty"): "images=empty: holds no pictures",
        (mine, *on(small_set), "part=best"): "part=best: must be one of train, val, test",
        (mine, *on(small_set), "part=test"): "4 people are too few for 3 folds, which need 6",
        (mine, *on(small_set), "floors=[pretrained]"): "floors: pretrained is none; there are untrained, imagenet",
        (mine, *on(small_set), "folds=1"): "folds=1: must be at least 2",
        (mine, *on(small_set), "name=a,b"): "name=a,b: must be 1 names",
        (mine, *on(small_set), "device=abacus"): "device=abacus: cannot be used here",
    }
    for arguments, said in wrong.items():
        done = run("probe", *arguments, "out=out", cwd=tmp_path)
        assert done.returncode == 1, arguments
        assert said in done.stderr, done.stderr
        assert done.stderr.splitlines()[-1].startswith("error: "), done.stderr
    assert not (tmp_path / "out").exists()
