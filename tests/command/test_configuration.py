"""Configuration that can be trusted: every choice composes, every experiment runs, a mistake is told in one line."""

import inspect
import json
import logging
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pandas as pd
import pytest
import pytorch_lightning as pl
import timm
import torch
import yaml
from commands import PEOPLE, PROJECT, SMALL, metrics
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from rankpose import evaluate, export, label, prepare, probe, train
from rankpose.command.configuration import build, plain
from rankpose.command.help import WIDTH, choices, groups_of, meaning
from rankpose.data.readers.w300lp import read_300w_lp
from rankpose.errors import ConfigError
from rankpose.files import CONFIG_DIR
from rankpose.losses import BalancedRankMSE, RankMSE
from rankpose.pose import ANGLES
from rankpose.sweep import runs as sweeps

CONF = Path(CONFIG_DIR)
COMMANDS = {
    "train": train.main,
    "evaluate": evaluate.main,
    "prepare": prepare.main,
    "export": export.main,
    "label": label.main,
    "probe": probe.main,
}
CHOICES = [
    pytest.param(command, group, choice, id=f"{command}-{group}={choice}")
    for command in COMMANDS
    for group in groups_of(CONF, command)
    for choice in choices(CONF, group)
]


def composed(*overrides, name="train"):
    with initialize_config_dir(CONFIG_DIR, version_base="1.3"):
        return compose(name, [*overrides, "run_dir=RUN"] if name == "train" else list(overrides))


def choices_of(group):
    return list(choices(CONF, group))


@pytest.fixture
def command(monkeypatch, tmp_path, capsys):
    """Calls an entry point in this process, in a folder without a file: exit code, stdout and stderr."""
    # where data are looked for, so that it is told what else is wrong
    for folder in ("no_data", "data/300W_LP"):
        (tmp_path / folder).mkdir(parents=True)
    root = logging.getLogger()
    before = root.handlers[:], root.level

    def call(name, *arguments):
        monkeypatch.setattr(sys, "argv", [f"{name}.py", *map(str, arguments)])
        code = 0
        try:
            COMMANDS[name]()
        except SystemExit as end:
            code = end.code
        said = capsys.readouterr()
        return code, said.out, said.err

    monkeypatch.chdir(tmp_path)
    yield call
    # Hydra's handlers write to what pytest has closed by then
    root.handlers[:], root.level = before
    torch.use_deterministic_algorithms(False)
    # a process is one command otherwise
    sweeps.Announce.sweep = None


@pytest.mark.parametrize(("command_name", "group", "choice"), CHOICES)
def test_every_choice_composes_and_resolves(command_name, group, choice):
    given = ["protocol.root=nowhere"] if group == "protocol" else []
    config = composed(f"{group}={choice}", *given, name=command_name)
    for name in config:
        if name not in ("predictor", "data") or command_name == "train":  # these ask for more than a choice
            plain(config[name])


@pytest.mark.parametrize("path", sorted(CONF.rglob("*.yaml")), ids=lambda path: path.stem)
def test_every_file_opens_with_what_choosing_it_means(path):
    assert meaning(path).endswith((".", ":"))


@pytest.mark.parametrize(
    "path", [file for file in CONF.rglob("*.yaml") if "hydra" not in file.parts], ids=lambda file: file.stem
)
def test_a_mapping_that_is_the_users_can_be_given_on_the_command_line(path):
    # Hydra takes KEY={a: b} where KEY is null, and refuses it where KEY is {}
    def walk(node):
        for value in node.values() if isinstance(node, dict) else []:
            assert value != {}
            walk(value)

    walk(yaml.safe_load(path.read_text(encoding="utf-8")))


@pytest.mark.parametrize(
    ("name", "argument"),
    [
        ("label", "data.columns={identity: person}"),
        ("train data=photographs", "data.reader.columns={identity: person}"),
        ("train data=mixture", "data.weights={renders: 0.5}"),
        ("train backbone=resnet18", "backbone.options={drop_rate: 0.1}"),
        ("train backbone=fsanet", "backbone.options.trunk_options={drop_rate: 0.1}"),
        ("evaluate predictor=python", "predictor.arguments={size: 3}"),
    ],
)
def test_mappings_that_are_the_users_compose(command, name, argument):
    command_name, *choice = name.split()
    key = argument.split("=")[0]
    code, out, err = command(command_name, *choice, argument, "--cfg", "job")
    assert code == 0, err
    config = OmegaConf.create(out)
    assert OmegaConf.to_container(OmegaConf.select(config, key)) == yaml.safe_load(argument.partition("=")[2])


def test_what_choices_share_is_no_choice():
    for command_name in COMMANDS:
        for group in groups_of(CONF, command_name):
            for choice, text in choices(CONF, group).items():
                assert "not a choice" not in text, f"{group}={choice}"


@pytest.mark.parametrize("choice", choices_of("protocol"))
def test_every_protocol_builds(choice):
    protocol = build(composed(f"protocol={choice}", "protocol.root=nowhere", name="evaluate").protocol)
    assert protocol.name == choice
    with pytest.raises(Exception, match="nowhere"):
        protocol.records()


USED = "mobilenetv2_100 tf_efficientnet_lite0 tf_efficientnetv2_b0 regnety_002 densenet121 vgg11_bn mobileone_s0"
"""Families of timm that users take, beside those in conf/backbone."""
USED_TOO = "repvgg_a0 ghostnet_100 fastvit_t8 hrnet_w18_small edgenext_xx_small"


@pytest.mark.long
@pytest.mark.slow
def test_every_backbone_takes_a_training_step(tmp_path):
    """In processes of their own: what torch does wrong in native code takes the process with it."""
    names = [*(f"={choice}" for choice in choices_of("backbone")), *USED.split(), *USED_TOO.split()]
    script = PROJECT / "tests" / "backbone_steps.py"
    done = subprocess.run([sys.executable, script, *names], cwd=tmp_path, capture_output=True, text=True)
    assert json.loads(done.stdout) == dict.fromkeys(names, "ok"), done.stderr[-5000:]


@pytest.mark.parametrize("group", ["representation", "loss", "optimizer", "schedule", "augment", "callbacks"])
def test_every_choice_builds(group):
    for choice in choices_of(group):
        assert build(composed(f"{group}={choice}")[group]) is not None


def test_paper_experiment_is_the_published_set_up():
    config = composed("experiment=paper")
    assert config.backbone.name == "resnet50"
    assert config.backbone.pretrained
    assert config.image_size == 224
    data = config.data
    assert (data.identities_per_batch, data.images_per_identity, data.draws_per_identity) == (64, 2, 5)
    assert config.optimizer._target_ == "torch.optim.Adam"
    assert config.optimizer.lr == 1e-3
    assert (config.trainer.max_epochs, config.trainer.check_val_every_n_epoch) == (80, 5)
    assert config.loss.weight == 1
    assert config.loss.unit == "degrees"


# what an experiment needs that has other data or another backbone than the default ones
EXPERIMENT_NEEDS = {
    "paper": lambda root, folder: [
        f"data.root={photographs(root, folder)}",
        f"backbone.weights={weights('resnet50', folder)}",
        "data.split.val_share=0.1",
        "data.split.test_share=0.1",
    ],
    "shipped_renders": lambda root, folder: [*embedded(root, folder), "data.reader.seed=0", "image_size=32"],
    "shipped_photographs": lambda root, folder: [
        *(argument.replace("data.", "data.sources.renders.", 1) for argument in embedded(root, folder)),
        "data.sources.renders.reader.seed=0",
        f"data.sources.photographs.root={zipped(root, folder, 'aflw_crops')}",
        f"data.sources.people.root={zipped(root, folder, 'people_crops')}",
        "data.sources.photographs.split.val_share=0.3",
        "image_size=32",
    ],
    "fine_tune": lambda root, folder: [
        f"data.root={zipped(root, folder, 'crops')}",
        "data.reader.table=crops_poses.csv",
        "data.split.val_share=0.3",
        "data.split.test_share=0.3",
    ],
    "gains_on_photographs": lambda root, folder: [
        *(argument.replace("data.", "data.sources.renders.", 1) for argument in embedded(root, folder)),
        f"data.sources.photographs.root={zipped(root, folder, 'aflw_crops')}",
        "image_size=32",
    ],
    "ranking_on_photographs": lambda root, folder: [
        *(argument.replace("data.", "data.sources.renders.", 1) for argument in embedded(root, folder)),
        f"data.sources.photographs.root={zipped(root, folder, 'aflw_crops')}",
        f"data.sources.people.root={zipped(root, folder, 'people_crops')}",
        "data.sources.renders.train_identities=null",
        "data.sources.people.images_per_identity=1",
        "image_size=32",
    ],
}


def photographs(small_set, folder):
    """A tree in 300W-LP's layout."""
    shutil.copytree(small_set / "SYN_TRAIN", folder / "300W_LP" / "AFW")
    return folder / "300W_LP"


def zipped(small_set, folder, name):
    """A zip file of pictures, and beside it the table of their poses, as `rankpose.label` names it."""
    records = read_300w_lp(small_set, subsets=["SYN_VAL"])
    names = [Path(one).name for one in records.names]
    with zipfile.ZipFile(folder / f"{name}.zip", "w") as archive:
        for image, one in zip(records.images, names, strict=True):
            archive.write(image, one)
    table = pd.DataFrame({"image": names, **dict(zip(ANGLES, records.pose.T, strict=True))})
    table.to_csv(folder / f"{name}_poses.csv", index=False)
    return folder / f"{name}.zip"


def weights(backbone, folder):
    torch.save(timm.create_model(backbone).state_dict(), folder / "weights.pth")
    return folder / "weights.pth"


def embedded(root, folder):
    people = [f"data.reader.{part}_identities={count}" for part, count in PEOPLE.items()]
    return [f"data.root={root}", *people, "data.reader.images_per_identity=6"]


@pytest.mark.slow
@pytest.mark.parametrize("experiment", choices_of("experiment"))
def test_every_experiment_runs(command, small_set, tmp_path, experiment):
    needs = EXPERIMENT_NEEDS.get(experiment, embedded)(small_set, tmp_path)
    mixed = "photographs" in experiment
    size = "data.images_per_batch=16" if mixed else "data.identities_per_batch=2"
    few = [size, "data.num_workers=0", "data.eval_batch_size=4", "logger=csv"]
    short = ["trainer.max_epochs=1", "trainer.check_val_every_n_epoch=1", "+trainer.limit_train_batches=1"]
    code, _, said = command("train", f"experiment={experiment}", *needs, *few, *short, "hydra.run.dir=run")
    assert code == 0, said[-3000:]
    assert metrics(tmp_path / "run")["test/mae"] > 0


@pytest.mark.parametrize("name", COMMANDS)
def test_help_reads_as_documentation(command, name):
    code, page, said = command(name, "--help")
    assert (code, said) == (0, "")
    assert f"python -m rankpose.{name}" in page
    assert max(map(len, page.splitlines())) <= WIDTH
    assert "${" not in page
    words = " ".join(page.split())
    for group, default in groups_of(CONF, name).items():
        for choice, text in choices(CONF, group).items():
            assert text in words, f"{group}={choice}"
            assert (f"{choice} * {text}" in words) == (choice == default)


MISSPELT = {
    ("train", "loss.wieght=2"): "Did you mean loss.weight?",
    ("train", "lr=1e-3"): "Did you mean optimizer.lr?",
    ("train", "max_epochs=3"): "Did you mean trainer.max_epochs?",
    ("train", "images_per_identity=2"): "data.images_per_identity",
    ("train", "bakbone=vit"): "Did you mean backbone?",
    ("train", "backbone=resnet51"): "Did you mean resnet50? There are convnext",
    ("train", "experiment=papr"): "Did you mean paper?",
    ("train", "predictor=onnx"): "no group of this command",
    ("train", "hydra.run.dri=here"): "Did you mean hydra.run.dir?",
    ("train", "+loss.weight=2"): "leave the plus sign out",
    ("train", "+loss.colour=red"): "colour",
    ("train", "--seed=3"): "without dashes: seed=3",
    ("train", "loss"): "KEY=VALUE",
    ("train", "image_size=${imge_size}"): "imge_size",
    ("evaluate", "protocol=aflw200"): "Did you mean aflw2000?",
    ("evaluate", "protocol=synthetic,nowhere"): "nowhere",
    ("evaluate", "predictor=table"): "predictor.table",
    ("evaluate", "batch_size=few"): "batch_size=few: must be a whole number",
    ("evaluate", "batchsize=3"): "Did you mean batch_size?",
    ("prepare", "data.packd=x"): "Did you mean data.packed?",
    ("prepare", "crop.size=large"): "crop.size=large: must be a whole number",
    ("export", "chekpoint=x"): "Did you mean checkpoint?",
}


@pytest.mark.parametrize(("name", "argument"), MISSPELT, ids=lambda value: value)
def test_an_unknown_key_or_choice_is_one_line_that_says_what_would_be_right(command, tmp_path, name, argument):
    code, _, said = command(name, argument)
    assert code == 1
    (line,) = said.splitlines()
    assert line.startswith("error: ")
    assert MISSPELT[name, argument] in line
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_a_key_of_another_choice_names_that_choice(command):
    code, _, said = command("train", "loss=mse", "loss.weight=2")
    assert code == 1
    assert (
        "loss.weight=2: no such key in loss=mse, but in loss=ordinal_quaternion, loss=orthogonal_axes, loss=rank_mse."
        in said
    )


@pytest.mark.parametrize("arguments", [["-m", "loss=mse,rankmse"], ["loss.wieght=1,2", "-m", "seed=1"]])
def test_a_sweep_over_what_does_not_exist_never_starts(command, tmp_path, arguments):
    code, _, said = command("train", *arguments)
    assert code == 1
    assert "rank_mse" in said or "loss.weight" in said
    assert "Traceback" not in said
    assert not list(tmp_path.rglob("config.yaml"))


CONTRADICTORY = {
    "seed=abc": "seed=abc: must be a whole number",
    "seed=-1": "seed=-1: must be at least 0",
    "image_size=0": "image_size=0",
    "image_size=wide": "image_size=wide: must be a whole number",
    "test_scale=0.5": "test_scale=0.5: must be at least 1",
    "weight_decay=-1": "weight_decay=-1",
    "loss.weight=-1": "loss.weight=-1",
    "loss.weight=heavy": "loss.weight=heavy: must be a number",
    "loss.margin=-1": "loss.margin=-1",
    "loss.unit=radians": "loss.unit=radians: must be degrees or normalised",
    "loss.squared=maybe": "loss.squared=maybe: must be true or false",
    "data.images_per_identity=1": "Set data.images_per_identity=2, or loss=mse",
    "data.identities_per_batch=0": "data.identities_per_batch=0",
    "data.draws_per_identity=0": "data.draws_per_identity=0",
    "data.num_workers=-1": "data.num_workers=-1",
    "data.packed=nowhere.arrow": "nowhere.arrow",
    "optimizer.lr=0": "optimizer.lr=0",
    "optimizer.lr=-1": "optimizer",
    "optimizer.lr=fast": "optimizer.lr=fast: must be a number",
    "schedule.warmup=2": "schedule",
    "compile=maybe": "compile=maybe: must be true or false",
    "weight_decay=heavy": "weight_decay=heavy: must be a number",
    "trainer.max_epochs=-1": "trainer.max_epochs=-1 and trainer.max_steps=-1: training would never end",
    "trainer.max_epochs=two": "trainer.max_epochs=two: must be a whole number",
    "trainer.accumulate_grad_batches=0": "trainer.accumulate_grad_batches=0",
    "trainer.devices=0": "trainer.devices=0",
    "callbacks.checkpoint.monitor=val/mea": "Validation logs val/mae",
    "augment.views.flip_p=2": "augment.views.flip_p=2",
    "augment.views.scale=3": "augment.views.scale=3",
    "repeat=nowhere": "repeat=nowhere",
    "hydra.run.dir=/dev/null/run": "hydra.run.dir",
    f"hydra.run.dir={'a' * 300}": "the name is too long",
    "hydra.run.dir=\udcc3\udca4": "ä: is no name in",
}


@pytest.mark.parametrize("argument", CONTRADICTORY, ids=lambda text: ascii(text)[:80])
def test_a_contradiction_is_told_before_data_are_read(command, tmp_path, argument):
    # there are no data in their folder: whoever reads it says so
    code, _, said = command("train", "data=300w_lp", "data.root=no_data", argument)
    assert code == 1
    (line,) = said.splitlines()
    assert CONTRADICTORY[argument] in line
    assert "Download" not in line
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


@pytest.mark.skipif(torch.cuda.is_available(), reason="of a machine without a GPU")
@pytest.mark.parametrize(
    ("argument", "way_out"),
    [
        ("trainer.precision=16-mixed", "trainer.precision=bf16-mixed"),
        ("trainer.accelerator=gpu", "trainer.accelerator=auto"),
        ("trainer=gpu", "trainer.accelerator=auto"),
    ],
)
def test_what_needs_a_gpu_says_so_where_there_is_none(command, argument, way_out):
    code, _, said = command("train", "data=300w_lp", "data.root=no_data", argument)
    assert code == 1
    (line,) = said.splitlines()
    assert way_out in line


@pytest.mark.parametrize(
    ("arguments", "way_out"),
    [
        (["backbone=vit", "image_size=65"], "a multiple of 16, such as 64"),
        (["backbone=convnext", "image_size=8"], "image_size=8"),
    ],
)
def test_an_image_that_does_not_fit_the_backbone_is_told_before_data_are_read(command, arguments, way_out):
    code, _, said = command("train", "data=300w_lp", "data.root=no_data", *arguments)
    assert code == 1
    (line,) = said.splitlines()
    assert way_out in line


def test_people_that_do_not_fill_a_batch_are_told_before_training(command, small_set, tmp_path):
    code, _, said = command("train", *embedded(small_set, tmp_path), "data.identities_per_batch=500")
    assert code == 1
    assert f"Set data.identities_per_batch={5 * PEOPLE['train']} at most" in said.splitlines()[-1]


def test_more_images_of_each_than_there_are_name_the_key_that_asks_for_them(command, small_set, tmp_path):
    code, _, said = command("train", *embedded(small_set, tmp_path), "data.images_per_identity=17")
    assert code == 1
    assert "data.images_per_identity=17: 0 of 12 identities" in said.splitlines()[-1]
    assert "Set data.images_per_identity=6 at most" in said.splitlines()[-1]
    assert "data.reader.images_per_identity=17" in said.splitlines()[-1]
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_shares_of_photographs_leave_some_to_train_on(command, small_set, tmp_path):
    shares = ["data.split.val_share=0.5", "data.split.test_share=0.5"]
    code, _, said = command("train", "data=300w_lp", f"data.root={photographs(small_set, tmp_path)}", *shares)
    assert code == 1
    assert "data.split.val_share=0.5" in said.splitlines()[-1]


def test_a_key_that_its_target_does_not_take_is_named():
    with pytest.raises(ConfigError, match="colour"):
        build(composed("+loss.colour=red").loss)


@pytest.mark.parametrize("wrong", [{"weight": -1.0}, {"margin": -0.1}, {"slope": -1.0}])
def test_a_ranking_loss_refuses_to_reward_a_wrong_order(wrong):
    with pytest.raises(ConfigError, match=rf"^loss\.{next(iter(wrong))}=.*: must be at least 0\."):
        RankMSE(**wrong)
    with pytest.raises(ConfigError, match=r"^loss\.share=-1\.0: must be at least 0\."):
        BalancedRankMSE(share=-1.0)


REFUSED = {
    "+trainer.logger=false": "logger=null",
    "+trainer.callbacks=[]": "callbacks=null",
    "+trainer.barebones=true": "leave it out",
    "+trainer.enable_checkpointing=false": "leave it true",
    "+trainer.overfit_batches=1": "data.train_identities=N",
    "+trainer.overfit_batches=0.1": "data.train_identities=N",
    "trainer.use_distributed_sampler=true": "divided twice",
    "trainer.precision=bf16-true": "bf16-mixed",
    "trainer.precision=64-true": "32-true",
    "trainer.precision=transformer-engine": "bf16-mixed",
    "trainer.deterministic=maybe": "true or false",
    "trainer.accelerator=gup": "Available names are",
    "+trainer.strategy=nonsense": "nonsense",
    "trainer.devices=two": "devices",
    "trainer.accelerator=cpu +trainer.sync_batchnorm=true": "trainer.sync_batchnorm=false",
    "+trainer.limit_train_batches=0": "nothing would be trained",
    "+trainer.limit_train_batches=1.5": "limit_train_batches",
    "+trainer.limit_test_batches=0": "nothing would be tested",
    "+trainer.val_check_interval=0": "trainer.limit_val_batches=0",
    "+trainer.gradient_clip_algorithm=median": "'value', 'norm'",
    "+trainer.profiler=slow": "simple",
    "+trainer.reload_dataloaders_every_n_epochs=-1": "reload_dataloaders_every_n_epochs",
    "trainer.max_epochs=1 +trainer.max_time=soon": "DD:HH:MM:SS",
    "trainer.max_epochs=-1 +trainer.max_time=00:00:00:01": "schedule=constant",
    "+trainer.gpus=1": "gpus",
    "+trainer.resume_from_checkpoint=last.ckpt": "resume_from_checkpoint",
    "data.identities_per_batch=1 data.images_per_identity=1 loss=mse image_size=32": "2 or more",
    "augment=published +augment.colours.4.var_limit=[1,2]": "var_limit",
    "augment=published +augment.colours.0.strength=1": "augment.colours",
    "data=null": "300w_lp",
    "augment=null": "none",
    "~loss": "rank_mse",
    "trainer=null": "ddp",
}
"""Options that a run cannot have, and a word of the line that says so."""
OF_FIT = {
    "+trainer.val_check_interval=100": "Set 15 at most",
    "+trainer.limit_train_batches=0.01": "one of the 15 batches",
    "+trainer.limit_val_batches=0.5": "limit_val_batches",
}
"""Those that are wrong for the data at hand."""
WORKING = {
    "of Lightning": [
        *("trainer.accelerator=cpu", "+trainer.strategy=auto", "trainer.devices=auto", "trainer.num_nodes=1"),
        *("trainer.precision=bf16-mixed", "trainer.plugins=null", "+trainer.sync_batchnorm=false"),
        *("trainer.max_epochs=null", "trainer.max_steps=2", "+trainer.min_epochs=1", "+trainer.min_steps=1"),
        *("+trainer.max_time=00:01:00:00", "+trainer.limit_train_batches=0.5", "+trainer.limit_val_batches=1"),
        *("+trainer.limit_test_batches=1", "+trainer.limit_predict_batches=1", "trainer.check_val_every_n_epoch=null"),
        *("+trainer.val_check_interval=2", "trainer.num_sanity_val_steps=1", "trainer.log_every_n_steps=1"),
        *("+trainer.enable_progress_bar=false", "trainer.enable_model_summary=true", "+trainer.profiler=simple"),
        *("trainer.gradient_clip_val=1", "+trainer.gradient_clip_algorithm=value", "trainer.benchmark=true"),
        *("trainer.deterministic=true", "+trainer.inference_mode=false", "+trainer.detect_anomaly=true"),
        *("trainer.accumulate_grad_batches=2", "+trainer.reload_dataloaders_every_n_epochs=1"),
        *("trainer.default_root_dir=elsewhere", "+trainer.enable_autolog_hparams=false"),
        *("+trainer.model_registry=null", "+trainer.enable_checkpointing=true", "data.eval_batch_size=4"),
    ],
    "a try": ["+trainer.fast_dev_run=true", "experiment=null", "hparams_search=null", "experiment=null"],
    "nothing but training": ["logger=null", "callbacks=null", "trainer.max_epochs=1", "trainer.max_steps=1"],
    "no curves": ["~logger.csv", "~callbacks.checkpoint", "callbacks.progress=null", "trainer.max_epochs=1"],
    "nowhere else": ["logger=default", "logger.wandb=null", "trainer.max_epochs=1", "hydra.job.chdir=true"],
    "by the clock": ["trainer.max_epochs=-1", "+trainer.max_time={seconds:1}", "schedule=constant", "logger=null"],
}


def test_every_option_of_lightning_is_tried():
    given = " ".join([*REFUSED, *OF_FIT, *(option for options in WORKING.values() for option in options)])
    options = set(inspect.signature(pl.Trainer.__init__).parameters) - {"self"}
    assert options <= set(re.findall(r"trainer\.(\w+)=", given))


@pytest.mark.parametrize("arguments", REFUSED)
def test_an_option_that_a_run_cannot_have_is_told_in_one_line_before_data_are_read(command, tmp_path, arguments):
    data = [] if arguments == "data=null" else ["data=300w_lp", "data.root=no_data"]
    code, _, said = command("train", *data, *arguments.split())
    assert code == 1
    (line,) = said.splitlines()
    assert REFUSED[arguments] in line
    assert re.match(r"error: [a-z_.0-9]+(=|:)", line), "opens with the key"
    assert "Download" not in line
    assert "object at" not in line
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


@pytest.mark.parametrize("argument", OF_FIT)
def test_an_option_that_does_not_fit_the_data_is_told_in_one_line(command, small_set, argument):
    code, _, said = command("train", f"data.root={small_set}", *SMALL, "data.num_workers=0", argument)
    assert code == 1
    line = said.splitlines()[-1]
    assert line.startswith("error: trainer")
    assert OF_FIT[argument] in line
    assert "Traceback" not in said


@pytest.mark.slow
@pytest.mark.parametrize("options", WORKING)
def test_options_work(command, small_set, tmp_path, options):
    root = tmp_path / "relative"
    root.symlink_to(small_set)
    arguments = ["data.root=relative", *SMALL, "data.num_workers=0", "hydra.run.dir=run", *WORKING[options]]
    code, out, said = command("train", *arguments)
    assert code == 0, said[-3000:]
    run = tmp_path / "run"
    assert metrics(run)["test/mae"] > 0
    kept = {path.name for path in run.rglob("*.ckpt")}
    assert kept == ({"best.ckpt"} if options in ("a try", "nothing but training") else {"best.ckpt", "last.ckpt"})
    assert (run / "metrics.csv").exists() == (options in ("of Lightning", "nowhere else"))
    assert not list(run.rglob("synthetic*")), "no data are made in a run's folder"
    if options == "of Lightning":
        assert "computing in bf16-mixed: as asked for" in out
        assert "4 of 24 images" in out
        assert "Profiler Report" in out
        assert "resnet10" in out or "PoseNet" in out, "the model's summary"
    else:
        assert "computing in " in out
