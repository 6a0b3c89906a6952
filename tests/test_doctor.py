"""The doctor says what is here, and what is wrong with it."""

import json
import shutil
import subprocess
from importlib import metadata

import pytest
from commands import PROJECT, run

from rankpose.command import examining
from rankpose.command.examining import as_json, as_text, broken, examine
from rankpose.errors import ConfigError
from rankpose.run import record

pytestmark = pytest.mark.filterwarnings("ignore")


def of(findings, topic, name):
    (found,) = [one for one in findings if (one.topic, one.name) == (topic, name)]
    return found


@pytest.fixture(scope="module")
def findings():
    return examine()


def test_a_sound_installation_has_nothing_broken(findings):
    assert not broken(findings), as_text(findings)
    assert of(findings, "versions", "torch").said == metadata.version("torch")
    assert of(findings, "weights", "rankpose-photographs").state == "fine"
    assert "in 32-true" in of(findings, "precision", "a step on cpu").said or "cuda" in as_text(findings)
    assert {one.topic for one in findings} == {"versions", "devices", "weights", "precision", "data", "disk"}


def test_programs_and_people_are_told_the_same(findings):
    told = json.loads(as_json(findings))
    assert told["broken"] is False
    text = as_text(findings)
    for one in told["findings"]:
        assert one["name"] in text
        assert one["said"] in text


def test_data_are_counted_and_a_folder_that_was_named_must_be_there(small_set, tmp_path):
    places, named = examining._places([f"roots.synthetic={small_set}", f"biwi={tmp_path / 'nowhere'}"])
    found = list(examining._data(places, named))
    assert of(found, "data", "roots.synthetic").state == "fine"
    assert of(found, "data", "roots.biwi").state == "broken"
    assert of(found, "data", "roots.aflw2000").state == "absent"
    (tmp_path / "part").mkdir()
    (tmp_path / "part" / "image00002.mat").touch()
    part = list(examining._data(*examining._places([f"roots.aflw2000={tmp_path / 'part'}"])))
    assert "1 photographs of 2,000" in of(part, "data", "roots.aflw2000").said
    for wrong in ("roots.nothing=x", "roots.biwi", "roots.biwi="):
        with pytest.raises(ConfigError, match=r"write roots\.NAME=PATH"):
            examine([wrong])


def test_weights_that_are_not_those_of_their_card_are_told(monkeypatch, tmp_path):
    (name, file), *_ = examining.shipped_models().items()
    shutil.copy(file, tmp_path / file.name)
    with (tmp_path / file.name).open("ab") as content:
        content.write(b"0")
    monkeypatch.setattr(examining, "shipped_models", lambda: {name: tmp_path / file.name})
    assert of(list(examining._weights()), "weights", name).state == "broken"


def test_what_cannot_be_looked_at_hides_nothing_else(monkeypatch):
    def torn():
        raise OSError("libtorch_cpu.so: file too short")

    monkeypatch.setattr(examining, "_weights", torn)
    monkeypatch.setattr(examining, "_devices", torn)
    found = examine()
    assert sum("file too short" in one.said for one in found) == 2
    assert of(found, "disk", "working directory").state == "fine"


def test_the_code_is_named_by_its_commit():
    if not (PROJECT / ".git").exists():
        pytest.skip("this is no git checkout")
    head = subprocess.check_output(["git", "-C", str(PROJECT), "rev-parse", "HEAD"], text=True).strip()
    assert record.code_state()[0]["commit"] == head


@pytest.mark.slow
def test_the_exit_code_says_whether_something_is_broken(tmp_path):
    done = run("doctor", "--json", "roots.biwi=nowhere", cwd=tmp_path)
    assert done.returncode == 1
    told = json.loads(done.stdout)
    assert [one["name"] for one in told["findings"] if one["state"] == "broken"] == ["roots.biwi"]
