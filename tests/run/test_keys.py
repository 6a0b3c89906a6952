"""Every key of a configuration says what it is about, and every value comes back from a command line as it was."""

import os
import shlex
from pathlib import Path

import pytest
import yaml
from commands import written
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from hypothesis import example, given
from hypothesis import strategies as st
from omegaconf import OmegaConf

from rankpose.command.configuration import at_home, build, composed, explained, plain, stored_text, texts_of
from rankpose.command.help import choices, groups_of
from rankpose.command.repeat import own_overrides
from rankpose.command.several import with_several
from rankpose.errors import ConfigError
from rankpose.files import CONFIG_DIR
from rankpose.run.directory import shown
from rankpose.run.going_on import onward
from rankpose.run.job import Job
from rankpose.run.keys import (
    KINDS,
    Kind,
    assignment,
    classified,
    flat,
    from_home,
    kind_of,
    literal,
    quoted,
    typed,
    without_copies,
)
from rankpose.run.loggers import configuration_digest
from rankpose.run.stored import as_stored

CHOICES = [
    f"{group}={choice}"
    for group in groups_of(Path(CONFIG_DIR), "train")
    if not group.startswith("hydra/")
    for choice in choices(Path(CONFIG_DIR), group)
]
ODD = "ab1.~-=,[]{}()'\"$\\#%:/ *?!&|;<>é"
NAMES = (st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1) | st.text(ODD, min_size=1)).filter(
    lambda text: text != "???"
)  # stands for a missing value, and cannot be written otherwise


def composition(*overrides):
    """As a run writes it to `config.yaml`, flat."""
    return dict(flat(written(*overrides)))


@pytest.fixture(scope="module")
def compositions():
    return {choice: composition(choice) for choice in CHOICES}


def test_every_key_that_training_can_have_is_classified(compositions):
    missing = {key for config in compositions.values() for key in config if classified(key) is None}
    assert not missing, "name them in rankpose.run.keys.KINDS"


def test_every_name_in_the_table_is_one_of_a_key(compositions):
    keys = {key for config in compositions.values() for key in config}
    keys |= {"hydra", "trainer.limit_train_batches"}  # on a command line
    unused = [name for name in KINDS if not any(key == name or key.startswith(f"{name}.") for key in keys)]
    assert not unused


def test_a_run_elsewhere_with_another_seed_differs_in_places_and_seeds_alone():
    here, there = composition(), composition("run_dir=/elsewhere", "seed=3", "data.root=/data", "roots.biwi=/biwi")
    differing = {kind_of(key) for key in here if here[key] != there[key]}
    assert differing == {Kind.PLACE, Kind.MACHINE, Kind.SEED}


def test_what_is_stored_names_no_module_and_gives_its_choices_back(compositions):
    for choice, config in compositions.items():
        assert not [value for value in config.values() if "rankpose." in str(value)], choice
    for choice in CHOICES:
        group, _, name = choice.partition("=")
        before = as_stored(plain(composed("train", ["run_dir=RUN", choice])))  # as an earlier version stored it
        if group not in ("experiment", "hparams_search"):  # what these choose stands in other groups
            assert before["choices"][group] == name
        assert (
            dict(flat(before)).items()
            >= {key: value for key, value in compositions[choice].items() if not key.startswith("choices.")}.items()
        )


def test_a_class_that_no_choice_names_is_stored():
    assert written("loss._target_=my.Loss")["loss"]["_target_"] == "my.Loss"
    assert written("optimizer=sgd")["optimizer"]["_target_"] == "torch.optim.SGD"
    assert written("data.split._target_=rankpose.mine")["data"]["split"]["_target_"] == "rankpose.mine"
    given = written("~schedule", "+schedule={_target_: rankpose.schedules.constant}")
    assert given["schedule"] == {"_target_": "rankpose.schedules.constant"}, "it is nobody's choice"
    assert written("loss._target_=rankpose.losses.BalancedRankMSE")["choices"]["loss"] == "rank_mse_balanced"


def test_texts_that_look_like_numbers_come_back_as_texts():
    text = stored_text(written("data.root='1e-3'", "run_dir='\\${x}'"))
    assert yaml.safe_load(text)["data"]["root"] == OmegaConf.create(text).data.root == "1e-3"
    assert yaml.safe_load(text)["run_dir"] == "${x}"


def test_copies_are_left_out_unless_set_by_hand():
    assert not {"data.size", "data.test_scale", "data.augment.views.turn_deg"} & without_copies(composition()).keys()
    assert without_copies(composition("data.size=40"))["data.size"] == 40


@pytest.mark.parametrize(
    ("override", "refused"),
    [
        ("lr_scaling=sqrt", True),
        ("loss=mse", True),
        ("representation=euler", True),
        ("callbacks.seed_batches.seed=3", True),
        ("image_size=40", True),
        ("callbacks.checkpoint.monitor=val/geodesic", False),
        ("trainer.gradient_clip_val=1", False),
        ("data.root=/moved", False),
    ],
)
def test_a_run_that_goes_on_keeps_its_method_and_is_told_the_rest(tmp_path, override, refused):
    (tmp_path / "config.yaml").write_text(stored_text(written("run_dir=A")))
    text = stored_text(written("run_dir=B", override))
    if refused:
        with pytest.raises(ConfigError, match=f"cannot go on with (choices.)?{override} "):
            onward(tmp_path, text, [])
    else:
        assert [change.partition(" ")[0] for change in onward(tmp_path, text, []).changes] == [override]


def test_the_digest_of_a_configuration_is_the_same_in_every_folder():
    digests = {
        configuration_digest(written(f"run_dir={place}", *given))
        for place, given in (("A", []), ("B", ["data.root=/moved", "data.num_workers=3"]))
    }
    assert len(digests) == 1
    assert configuration_digest(written("run_dir=A", "seed=1")) not in digests


def test_names_tell_what_a_run_is_and_not_where():
    told = ["data.root=/x", "protocols=[biwi]", "callbacks.progress.refresh_rate=0", "logger=csv", "seed=3"]
    assert Job({}, [*told, "loss.weight=3", "callbacks.checkpoint.monitor=val/geodesic"]).name(3) == (
        "loss.weight=3 callbacks.checkpoint.monitor=val/geodesic seed=3"
    )
    assert own_overrides([*told, "repeat=x", "ckpt_path=auto", "run_dir=x"]) == told


@given(NAMES)
@example("null")
@example("1e3")
@example("a=~/x,~/y")
@example("2026/07")
@example("a\\${b}\\")
@example('\\"')
def test_hydra_and_a_shell_read_back_what_is_written(text):
    (argument,) = shlex.split(typed("key", text))
    parsed = OverridesParser.create().parse_override(argument)
    assert parsed.key_or_group == "key"
    assert not parsed.is_sweep_override()
    assert OmegaConf.create({"key": parsed.value()}).key == text
    assert texts_of(argument) == [text]
    assert at_home(argument) == argument or text == "~" or text.startswith("~/")


@given(st.lists(NAMES, min_size=1, max_size=4))
def test_a_list_of_any_values_is_read_one_by_one(texts):
    joined = ",".join(map(quoted, texts))
    assert texts_of(f"key=[{joined}]") == texts
    assert texts_of(f"key={joined}") == texts
    if len({*texts}) == len(texts):
        first, values, other = with_several([f"checkpoint={joined}", "batch_size=2"])
        assert (first, other) == (assignment("checkpoint", texts[0]), "batch_size=2")
        assert values.partition("=")[0] == "++several.checkpoint"
        assert texts_of(values) == texts


@given(NAMES)
def test_what_is_built_gets_the_texts_of_its_configuration(text):
    config = OmegaConf.create({"place": literal(text), "part": {"_target_": "builtins.dict", "a": ["${place}/x"]}})
    assert build(config.part) == {"a": [f"{text}/x"]}


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("data.root=~/x", "data.root=/home/jörg/x"),
        ("data.root=~", "data.root=/home/jörg"),
        ("+roots.mine='~/a b'", "+roots.mine=/home/jörg/a b"),
        ("hydra.run.dir=~/x/${now:%Y}", "hydra.run.dir=/home/jörg/x/${now:%Y}"),
        ("data.root=~jörg/x", None),
        ("data.root=./~/x", None),
        ("~logger.wandb", None),
    ],
)
def test_the_home_folder_is_known_wherever_a_path_begins(monkeypatch, given, expected):
    monkeypatch.setenv("HOME", "/home/jörg")
    if expected is None:
        assert at_home(given) == given
    else:
        key, _, value = expected.partition("=")
        parsed = OverridesParser.create().parse_override(at_home(given))
        assert (parsed.input_line.partition("=")[0], parsed.value()) == (key, value)


def test_each_of_several_paths_may_begin_at_home(monkeypatch):
    monkeypatch.setenv("HOME", "/h")
    for argument in ("checkpoint=~/a,~/b", "checkpoint=[~/a, ~/b]", "checkpoint='~/a',\"~/b\""):
        assert with_several([at_home(argument)]) == ["checkpoint=/h/a", "++several.checkpoint=[/h/a,/h/b]"]


def test_a_value_that_hydra_cannot_read_comes_with_the_quoted_one():
    argument = "data.root=/data/a=b,c#d"
    with pytest.raises(ConfigError, match="cannot be read as KEY=VALUE") as error:
        texts_of(argument)
    assert str(error.value).endswith("""is quoted twice: 'data.root="/data/a=b,c#d"'""")
    with pytest.raises(HydraException) as refused:
        OverridesParser.create().parse_overrides([argument])
    assert explained(refused.value, "train", [argument]) == str(error.value)


def test_a_folder_that_looks_like_an_option_is_shown_as_a_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert [shown(name) for name in ("-x", "~/y", "z")] == ["./-x", "./~/y", "z"]
    assert shown(os.sep) == os.sep
    # as `rankpose.compare` takes them
    assert [from_home(text) for text in ("./~/y", "~y", "~/y")] == ["./~/y", "~y", f"{Path.home()}/y"]
