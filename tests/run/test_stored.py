"""What an earlier version of this project left on a disk is still read: runs, checkpoints and packed files.

`tests/data/first_house` was written when modules lay elsewhere, by `rankpose.train` and `rankpose.prepare` on a
rendered set: a finished run, one that SIGTERM stopped at step 6 of 20, and a packed file.
"""

import json
import re
import shutil
from functools import partial

import pandas as pd
import pytest
import torch
import yaml
from commands import PROJECT, metrics, run, succeed

from rankpose.data.packed.reading import read_packed
from rankpose.data.readers.w300lp import read_300w_lp
from rankpose.data.synthetic.dataset import read_synthetic
from rankpose.errors import DatasetError
from rankpose.models.checkpoint import load_net

pytestmark = pytest.mark.slow

OLD = PROJECT / "tests" / "data" / "first_house"
PEOPLE = {"train_identities": 8, "val_identities": 2, "test_identities": 3}
SET = {**PEOPLE, "images_per_identity": 4, "seed": 0}


@pytest.fixture(scope="module")
def old_packed():
    return read_packed(OLD / "pack.arrow", partial(read_synthetic, **SET), 99.0)


def test_a_packed_file_is_read_with_the_reader_that_has_moved(old_packed):
    assert len(old_packed) == sum(PEOPLE.values()) * 4
    with pytest.raises(DatasetError, match="was packed from"):
        read_packed(OLD / "pack.arrow", partial(read_synthetic, **SET | {"seed": 1}), 99.0)
    with pytest.raises(DatasetError, match="was packed from"):
        read_packed(OLD / "pack.arrow", read_300w_lp, 99.0)


def test_a_checkpoint_gives_its_network():
    net, made_from = load_net(OLD / "run")
    assert made_from.image_size == 32
    with torch.inference_mode():
        assert torch.isfinite(net(torch.zeros(1, 3, 32, 32, dtype=torch.uint8)).pose).all()


@pytest.fixture(scope="module")
def gone_on(tmp_path_factory):
    """The stopped run, gone on with, and the finished one done again; beside them the finished one as it was."""
    folder = tmp_path_factory.mktemp("first_house")
    shutil.copytree(OLD / "stopped", folder / "stopped")
    shutil.copytree(OLD / "run", folder / "run")
    overrides = json.loads((OLD / "run" / "run.json").read_text())["overrides"]
    # as then, whatever this processor is best at
    again = ("hydra.run.dir=stopped", "ckpt_path=auto", "trainer.precision=32-true")
    succeed(run("train", *overrides, *again, cwd=folder))
    # a set rendered by another processor may differ in the last bit of a label: asked for as other data
    succeed(run("train", "repeat=run", "hydra.run.dir=again", "data.max_angle=98", cwd=folder))
    return folder


@pytest.mark.long
def test_a_stopped_run_goes_on_to_where_it_would_have_ended(gone_on):
    assert torch.load(gone_on / "stopped" / "checkpoints" / "last.ckpt", weights_only=False)["global_step"] == 20
    # a processor of another kind rounds otherwise
    assert metrics(gone_on / "stopped") == pytest.approx(metrics(OLD / "run"), rel=0.2)


def test_a_run_is_repeated(gone_on):
    assert metrics(gone_on / "again") == pytest.approx(metrics(OLD / "run"), rel=0.2)
    tables = [pd.read_parquet(folder / "predictions.parquet") for folder in (gone_on / "again", OLD / "run")]
    pd.testing.assert_series_equal(*(table["name"] for table in tables))


def test_runs_of_then_and_now_stand_in_one_table(gone_on):
    """Of one configuration and seed, so that they are known for the same."""
    compared = run("compare", "run", "stopped", cwd=gone_on)
    assert compared.returncode == 1
    assert "run and stopped have the same configuration and seed 0" in compared.stderr


def test_nothing_that_is_stored_names_a_module(gone_on):
    """What is written now: a choice, or the name of a class of somebody else's."""
    stored = torch.load(gone_on / "again" / "checkpoints" / "best.ckpt", weights_only=True)["rankpose"]
    assert stored["representation"] == {"choice": "vector_projection"}
    config = yaml.safe_load((gone_on / "again" / "config.yaml").read_text())
    assert config["choices"]["loss"] == "rank_mse"
    for name in ("config.yaml", "run.json", "metrics.json"):
        assert not re.search(r"rankpose\.[a-z_]+\.", (gone_on / "again" / name).read_text()), name
    succeed(run("prepare", "data=synthetic", "data.root=data", *_reader(), "out=pack.arrow", cwd=gone_on))
    packed = (gone_on / "pack.arrow").read_bytes()
    assert not re.search(rb"rankpose\.data", packed)


def _reader():
    return [f"data.reader.{key}={value}" for key, value in SET.items() if key != "seed"]
