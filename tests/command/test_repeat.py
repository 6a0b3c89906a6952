"""A run says what it takes to repeat it, and a repeated run is the same run."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import pytorch_lightning as pl
from commands import metrics, run
from omegaconf import OmegaConf
from scipy.io import loadmat, savemat

from rankpose.command.configuration import composed, plain, stored
from rankpose.command.repeat import Repeated, own_overrides, with_recorded_overrides
from rankpose.data.readers.w300lp import read_300w_lp, split_by_folder
from rankpose.errors import ConfigError, DatasetError
from rankpose.evaluation.runs import differing_keys, find_runs
from rankpose.run import record as run_record


def parts_of(root):
    splits = split_by_folder(read_300w_lp(root), "SYN_TRAIN", "SYN_VAL", "SYN_TEST")
    return {"train": splits.train, "val": splits.val, "test": splits.test}


@pytest.fixture(scope="module")
def parts(small_set):
    return parts_of(small_set)


@pytest.fixture(scope="module")
def repetition(trained, tmp_path_factory):
    """The finished run, repeated by a process of its own."""
    folder = tmp_path_factory.mktemp("repetition")
    process = run("train", f"repeat={trained}", "hydra.run.dir=again", cwd=folder)
    assert process.returncode == 0, process.stderr[-3000:]
    return folder / "again"


@pytest.mark.long
def test_a_repeated_run_gives_the_same_figures_to_the_byte(trained, repetition):
    assert (repetition / "metrics.json").read_bytes() == (trained / "metrics.json").read_bytes()
    assert metrics(repetition)["test/mae"] > 0


def test_a_repeated_run_has_the_configuration_of_the_first(trained, repetition):
    found = find_runs([trained, repetition])
    assert differing_keys([one.config for one in found.runs]) == []
    first, second = (OmegaConf.to_container(OmegaConf.load(one / "config.yaml")) for one in (trained, repetition))
    assert second["callbacks"]["checkpoint"]["dirpath"] == str(repetition / "checkpoints")
    assert "repeat" not in second
    assert first.keys() == second.keys()
    assert run_record.read(repetition)["overrides"] == run_record.read(trained)["overrides"]


def test_a_run_records_what_it_takes(trained, parts):
    text = (trained / "run.json").read_text()
    record = json.loads(text)
    assert text == json.dumps(record, indent=2, sort_keys=True) + "\n"
    assert record["schema_version"] == 1
    assert "image_size=32" in record["overrides"]
    assert record["command"].startswith("python -m rankpose.train ")
    assert record["seed"] == 0
    assert record["data"]["digest"] == run_record.data_digest(parts)
    assert record["data"]["identities"] == {"train": 12, "val": 3, "test": 4}
    assert {"python", "torch", "pytorch-lightning", "timm", "numpy"} <= record["versions"].keys()
    assert record["rankpose"].keys() == {"version", "commit", "changed", "untracked"}
    assert record["machine"].keys() == {"cpu", "cores", "gpus", "system"}
    assert record["devices"]["processes"] == 1
    (start,) = record["starts"]
    assert (start["exit"], start["checkpoint"], start["reason"]) == ("finished", None, None)
    assert start["seconds"] > 0
    assert start["started"] <= start["ended"]


def test_the_digest_is_of_the_data_and_not_of_their_place(small_set, parts, tmp_path):
    shutil.copytree(small_set, tmp_path / "elsewhere")
    digest = run_record.data_digest(parts)
    assert run_record.data_digest(parts_of(tmp_path / "elsewhere")) == digest
    train = parts["train"]
    pose, box, identity = train.pose.copy(), train.face_box.copy(), train.identity.copy()
    pose[3, 1] += 1e-3
    box[-1, 0] += 1e-3
    identity[0] = 1
    names = np.array(np.asarray(train.names))
    names[0] = "another.jpg"
    fewer = train.select(np.arange(1, len(train)))
    for other in (fewer, *(replace(train, **one) for one in ({"pose": pose}, {"face_box": box}, {"names": names}))):
        assert run_record.data_digest(parts | {"train": other}) != digest
    assert run_record.data_digest(parts | {"train": replace(train, identity=identity)}) != digest
    assert run_record.data_digest({"train": train, "val": parts["test"], "test": parts["val"]}) != digest


@pytest.fixture
def past(trained, tmp_path):
    """A finished run that a test may change."""
    folder = tmp_path / "past"
    folder.mkdir()
    for name in ("config.yaml", "run.json"):
        shutil.copy(trained / name, folder)
    return folder


def record(folder, **changes):
    content = run_record.read(folder) | changes
    (folder / "run.json").write_text(json.dumps(content))


def repeated_config(folder, *arguments):
    """As `rankpose.train` makes it of a command line."""
    overrides = with_recorded_overrides([f"repeat={folder}", *arguments])
    # within a command Hydra's part stands elsewhere
    config = composed("train", [*overrides, "run_dir=RUN"], hydra=True)
    Repeated(str(folder)).restore(config, own_overrides(overrides))
    return config


def test_what_comes_after_repeat_comes_on_top(past):
    config = stored(repeated_config(past, "seed=5", "image_size=40"))
    assert (config["seed"], config["data"]["seed"]) == (5, 5)
    assert (config["image_size"], config["data"]["size"]) == (40, 40)
    assert config["backbone"]["options"]["channels"] == [8, 16, 24, 32]
    assert config["run_dir"] == "RUN"


def test_a_group_that_is_chosen_anew_drops_what_was_set_in_it(past):
    record(past, overrides=[*run_record.read(past)["overrides"], "loss.weight=3"])
    content = OmegaConf.load(past / "config.yaml")
    content.loss.weight = 3
    OmegaConf.save(content, past / "config.yaml")
    assert repeated_config(past).loss.weight == 3
    assert repeated_config(past, "loss.weight=2").loss.weight == 2
    config = repeated_config(past, "loss=mse")
    assert plain(config.loss) == plain(composed("train", ["loss=mse"]).loss)
    assert config.image_size == 32
    assert repeated_config(past, "loss=rank_mse_squared").loss.weight == 1


def test_what_conf_says_by_now_does_not_change_a_repeated_run(past, caplog):
    content = OmegaConf.load(past / "config.yaml")
    content.weight_decay = 0.0123
    content.callbacks.progress.refresh_rate = 99
    OmegaConf.save(content, past / "config.yaml")
    config = repeated_config(past)
    assert config.weight_decay == 0.0123
    assert config.callbacks.progress.refresh_rate == 99
    assert "weight_decay" in caplog.text
    assert repeated_config(past, "weight_decay=0.5").weight_decay == 0.5


def test_other_data_are_refused_unless_they_were_asked_for(past, parts, small_set, tmp_path, caplog):
    other = tmp_path / "other"
    shutil.copytree(small_set, other)
    path = next(other.glob("SYN_TRAIN/*.mat"))
    content = {key: value for key, value in loadmat(path).items() if not key.startswith("__")}
    content["Pose_Para"][0, 1] += 0.01
    savemat(path, content)
    repeated = Repeated(str(past))
    repeated.check_data(repeated_config(past), parts)
    with pytest.raises(DatasetError, match="are not those of that run"):
        repeated.check_data(repeated_config(past, f"data.root={other}"), parts_of(other))
    repeated.check_data(repeated_config(past, "data.max_angle=50"), parts_of(other))
    assert "data.max_angle" in caplog.text


def test_other_versions_and_other_code_are_told_in_a_line_each(past, caplog):
    content = run_record.read(past)
    versions, code = content["versions"] | {"torch": "0.1"}, content["rankpose"] | {"commit": "abc"}
    record(past, versions=versions, rankpose=code)
    Repeated(str(past)).warn()
    told = [message for message in caplog.messages if "torch was 0.1 then" in message or "commit abc then" in message]
    assert len(told) == 2


def test_what_is_no_run_is_refused_by_name(past, tmp_path):
    with pytest.raises(ConfigError, match="nowhere: no such folder"):
        with_recorded_overrides(["repeat=nowhere"])
    (tmp_path / "empty").mkdir()
    with pytest.raises(ConfigError, match=r"empty: holds no config\.yaml"):
        with_recorded_overrides([f"repeat={tmp_path / 'empty'}"])
    (past / "run.json").write_text("{")
    with pytest.raises(ConfigError, match=r"run\.json: cannot be read"):
        with_recorded_overrides([f"repeat={past}"])
    (past / "run.json").unlink()
    with pytest.raises(ConfigError, match=r"holds no run\.json"):
        with_recorded_overrides([f"repeat={past}"])


def begin(folder, parts, checkpoint=None):
    record = run_record.RunRecord(folder, ["seed=3"], 3, checkpoint)
    record.begin(
        parts, {"identities": 0, "images": 0}, pl.Trainer(accelerator="cpu", logger=False, enable_checkpointing=False)
    )
    return record


def test_a_run_that_is_killed_has_its_record(parts, tmp_path):
    begin(tmp_path, parts)
    (start,) = run_record.read(tmp_path)["starts"]
    assert (start["exit"], start["ended"]) == (None, None)


def test_how_a_run_ended_is_recorded_for_each_of_its_starts(parts, tmp_path):
    trainer = pl.Trainer(accelerator="cpu", logger=False, enable_checkpointing=False)

    def start(error, checkpoint):
        with run_record.kept(tmp_path, [], 0, checkpoint) as record:
            record.begin(parts, {"identities": 0, "images": 0}, trainer)
            if error is not None:
                raise error

    last = str(tmp_path / "checkpoints" / "last.ckpt")
    with pytest.raises(SystemExit):
        start(SystemExit(75), None)
    with pytest.raises(ValueError, match="odd"):
        start(ValueError("odd\nnumber"), last)
    start(None, last)
    starts = run_record.read(tmp_path)["starts"]
    assert [one["exit"] for one in starts] == ["stopped", "failed", "finished"]
    assert [one["checkpoint"] for one in starts] == [None, "checkpoints/last.ckpt", "checkpoints/last.ckpt"]
    assert starts[1]["reason"] == "ValueError: odd number"


def test_a_mistake_before_training_leaves_no_record(tmp_path):
    with pytest.raises(ValueError, match="early"), run_record.kept(tmp_path, [], 0, None):
        raise ValueError("early")
    assert not list(tmp_path.iterdir())


def test_code_that_was_changed_is_saved_beside(parts, tmp_path, monkeypatch):
    state = {"version": "1", "commit": "abc", "changed": True, "untracked": []}
    monkeypatch.setattr(run_record, "code_state", lambda: (state, "diff --git a b\n"))
    begin(tmp_path, parts)
    assert (tmp_path / "changes.diff").read_text() == "diff --git a b\n"
    assert run_record.read(tmp_path)["rankpose"] == state
