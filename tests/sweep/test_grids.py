"""A sweep of several products: every run is there once, in its part's folder, and composes."""

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.plugins import Plugins
from hydra.types import HydraContext

from rankpose.errors import ConfigError
from rankpose.files import CONFIG_DIR
from rankpose.sweep import grids

PARTS = {"core": [{"loss": "mse,rank_mse"}], "noise": [{"loss": "mse"}, {"loss": "rank_mse", "loss.weight": "1,30"}]}


def runs(*arguments, config=None, **settings):
    """The runs of a sweep, each as a dict of its overrides."""
    sweeper = grids.GridSweeper(**settings) if config is None else Plugins.instance()._instantiate(config.hydra.sweeper)
    loader = GlobalHydra.instance().config_loader()
    sweeper.hydra_context = HydraContext(config_loader=loader, callbacks=None)
    parsed = OverridesParser.create(config_loader=loader).parse_overrides(list(arguments))
    return [dict(override.split("=", 1) for override in run) for run in sweeper.runs(parsed)]


@pytest.fixture(autouse=True)
def hydra():
    with initialize_config_dir(CONFIG_DIR, version_base="1.3"):
        yield


def test_parts_are_products_of_their_own_with_what_they_share():
    found = runs(parts=PARTS, params={"seed": "range(2)"})
    assert len(found) == 2 * (2 + 1 + 2)
    assert all(run["seed"] in "01" for run in found)
    folders = [run["hydra.sweep.subdir"] for run in found]
    assert folders == [f"core/{k}" for k in range(4)] + [f"noise/{k}" for k in range(6)]
    assert {run.get("loss.weight") for run in found if run["loss"] == "mse"} == {None}


def test_a_part_and_then_the_command_line_come_on_top():
    parts = {"core": [{"loss": "mse", "seed": "7,8"}]}
    assert [run["seed"] for run in runs(parts=parts, params={"seed": 0})] == ["7", "8"]
    (run,) = runs("seed=3", "image_size=32", parts=parts)
    assert (run["seed"], run["image_size"]) == ("3", "32")


def test_a_part_can_leave_something_out():
    (run,) = runs(parts={"share": [{"data.shares.photographs": None, "ema": None, "compile": True}]})
    told = [f"{key}={value}" for key, value in run.items() if not key.startswith("hydra")]
    config = compose("train", ["data=mixture", *told])
    assert config.data.shares.photographs is None
    assert (config.ema, config.compile) == (None, True)


def test_a_part_can_be_run_alone():
    assert {run["hydra.sweep.subdir"].split("/")[0] for run in runs(parts=PARTS, only=["noise"])} == {"noise"}
    with pytest.raises(ConfigError, match="no part noisy; there are core, noise"):
        runs(parts=PARTS, only=["noisy"])
    with pytest.raises(ConfigError, match="nothing to sweep"):
        runs(parts={})


def test_every_rival_runs_with_and_without_ranking_as_often_and_as_long():
    grids.register()
    found = runs("experiment=rivals", config=compose("train", ["experiment=rivals"], return_hydra_config=True))
    what = {tuple(sorted((key, value) for key, value in run.items() if key != "hydra.sweep.subdir")) for run in found}
    assert len(what) == len(found)
    methods: dict[tuple[str, ...], list[tuple[str, str]]] = {}
    budgets = set()
    for run in found:
        one = compose("train", [f"{key}={value}" for key, value in run.items() if not key.startswith("hydra")])
        alpha = str(one.loss.get("alpha"))
        methods.setdefault(
            (one.backbone.name, str(one.backbone.options.get("trunk")), one.representation._target_, alpha), []
        ).append((str(one.loss.share), str(one.seed)))
        budgets.add(
            (one.trainer.max_epochs, one.data.draws_per_identity, one.data.identities_per_batch, one.image_size)
        )
    assert len(methods) == 12
    assert len(budgets) == 1
    for pairs in methods.values():
        assert sorted(pairs) == sorted((share, str(seed)) for share in ("0", "0.5") for seed in range(3)) or sorted(
            pairs
        ) == sorted((share, str(seed)) for share in ("0.0", "0.5") for seed in range(3))


def test_each_gain_on_photographs_is_measured_from_one_configuration_and_as_many_images():
    grids.register()
    config = compose("train", ["experiment=gains_on_photographs"], return_hydra_config=True)
    found = runs("experiment=gains_on_photographs", config=config)
    assert len({str(sorted(run.items())) for run in found}) == len(found)
    lengths, parts = set(), {}
    for run in found:
        name, _, _ = run["hydra.sweep.subdir"].partition("/")
        told = [f"{key}={value}" for key, value in run.items() if not key.startswith("hydra")]
        one = compose("train", ["experiment=gains_on_photographs", *told])
        renders = one.data.sources.renders
        rounds = renders.reader.train_identities * renders.images_per_identity * renders.draws_per_identity
        images = rounds / one.data.shares.renders * one.trainer.max_epochs
        if name != "length":
            lengths.add(images)
        parts.setdefault(name, []).append(images)
    assert lengths == {16_000}
    assert set(parts["length"]) == {32_000}
    assert all(len(runs) % 3 == 0 for runs in parts.values())


def test_no_run_of_the_ablation_is_there_twice_and_all_see_as_many_images():
    grids.register()
    config = compose("train", ["experiment=ablation"], return_hydra_config=True)
    found = runs("experiment=ablation", config=config)
    what = [tuple(sorted((key, value) for key, value in run.items() if key != "hydra.sweep.subdir")) for run in found]
    assert len(set(what)) == len(what)
    assert len({run["hydra.sweep.subdir"] for run in found}) == len(found)
    images = set()
    for run in found:
        if run["seed"] == "0" and any(key.startswith("data.") for key in run):
            one = compose("train", [f"{key}={value}" for key, value in run.items() if not key.startswith("hydra")])
            people = one.data.train_identities or one.data.reader.train_identities
            images.add(people * one.data.draws_per_identity * one.data.images_per_identity)
            assert one.data.identities_per_batch * one.data.images_per_identity == 64
    assert images == {8000}
