"""Several sources in one training: what a batch holds, and that it is as exact as one source."""

import functools
import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from commands import SMALL, run, succeed
from torch.utils.data import DataLoader

from rankpose.command.configuration import build, composed
from rankpose.data.augment import Augment, Views
from rankpose.data.datamodule import PoseDataModule
from rankpose.data.mixture import MixtureDataModule
from rankpose.data.readers.w300lp import read_300w_lp, split_by_folder
from rankpose.errors import ConfigError
from rankpose.losses import RankMSE
from rankpose.pose import PoseOutput
from rankpose.run.keys import Kind, kind_of

split = functools.partial(split_by_folder, train="SYN_TRAIN", val="SYN_VAL", test="SYN_TEST")


def alone(root, weight=None, **settings):
    """The embedded set as photographs of nobody twice."""
    records = read_300w_lp(root)
    count = len(records)
    names = np.array([f"{records.identity_names[k]}-{i}" for i, k in enumerate(records.identity)])
    weights = None if weight is None else np.full(count, weight, np.float32)
    return replace(records, identity=np.arange(count), identity_names=names, weight=weights)


@pytest.fixture(scope="module")
def mixture(small_set):
    def make(people=None, photographs=None, **options):
        def reader(**settings):
            return read_300w_lp(settings["root"])

        pairs = PoseDataModule(reader, str(small_set), split, 32, draws_per_identity=3, **people or {})
        single = {"images_per_identity": 1, "draws_per_identity": 1, "reader": alone} | (photographs or {})
        singles = PoseDataModule(single.pop("reader"), str(small_set), split, 32, **single)
        options = {"shares": {"people": 0.5, "photographs": 0.5}, "epoch": "people", "val": "people"} | options
        options = {"test": "people", "images_per_batch": 8, "num_workers": 0} | options
        return MixtureDataModule({"people": pairs, "photographs": singles}, **options)

    return make


class AsProcess:
    """What a data module asks of its trainer."""

    num_devices = 1

    def __init__(self, rank, world, epoch=0, batch=0):
        self.global_rank, self.world_size, self.epoch, self.batch = rank, world, epoch, batch
        self.fit_loop = self.epoch_loop = self.batch_progress = self.epoch_progress = self
        self.is_last_batch, self.restarting = False, batch > 0
        self.current = self
        self.ready, self.processed = batch, epoch


def batches(module, epochs=1, **process):
    if process:
        module.trainer = AsProcess(**process)
    loader = module.train_dataloader()
    assert isinstance(loader, DataLoader)
    seen = []
    first = loader.sampler.epoch
    for epoch in range(first, epochs):
        loader.sampler.set_epoch(epoch)
        seen += list(loader)
    return seen


def test_a_batch_has_the_share_of_each_and_keeps_their_people_apart(mixture):
    module = mixture(shares={"people": 3, "photographs": 1})
    assert module.visits == {"people": 3, "photographs": 2}
    assert module.images_per_batch == 8
    train = module.records("train")
    many = len(module.sources["people"].records("train").identity_names)
    for batch in batches(module):
        identity = batch["identity"]
        assert (identity[0:6:2] == identity[1:6:2]).all()
        assert (identity[:6] < many).all()
        assert (identity[6:] >= many).all()
        assert np.array_equal(train.identity[batch["index"]], identity)
        assert "weight" not in batch
    assert len(np.unique(train.identity_names)) == many + 12 * 6
    assert {name.partition("/")[0] for name in train.identity_names} == {"people", "photographs"}


def test_an_epoch_is_a_round_of_its_source_and_the_other_goes_on_where_it_was(mixture):
    module = mixture()
    # 12 people three times, two a batch; 72 photographs, four a batch
    assert module.batches_per_epoch() == 18
    seen = batches(module, epochs=2)
    assert len(seen) == 36
    many = len(module.sources["people"].records("train"))
    rows = torch.cat([batch["index"][4:] for batch in seen]).numpy() - many
    assert sorted(rows[:72]) == list(range(72))
    assert sorted(rows[72:]) == list(range(72))
    assert not np.array_equal(rows[:72], rows[72:])
    shorter = mixture(people={"train_identities": 8})
    rows = torch.cat([batch["index"][4:] for batch in batches(shorter, epochs=3)]).numpy() - 48
    assert sorted(rows[:72]) == list(range(72))


def same(one, other):
    assert len(one) == len(other)
    for mine, theirs in zip(one, other, strict=True):
        assert mine.keys() == theirs.keys()
        assert all(torch.equal(mine[name], theirs[name]) for name in mine)


def test_a_resumed_run_goes_on_with_the_batches_to_come_whatever_the_workers(mixture):
    augments = {"photographs": Augment(Views(turn_deg=10, flip_p=0.5))}
    whole = batches(mixture(augments=augments), epochs=3)
    same(whole[23:], batches(mixture(augments=augments), epochs=3, rank=0, world=1, epoch=1, batch=5))
    same(whole, batches(mixture(augments=augments, num_workers=2), epochs=3))


def test_processes_share_the_rounds_of_both_sources(mixture):
    both = [batches(mixture(), rank=rank, world=2) for rank in (0, 1)]
    assert len(both[0]) == len(both[1]) == 9
    index = torch.cat([batch["index"][4:] for part in both for batch in part])
    assert len(index.unique()) == 72


def test_each_source_has_its_own_augmentation_and_weight(mixture):
    turned = Augment(Views(scale=(1.4, 1.4), enlarge=1, zoom=0, flip_p=1))
    module = mixture(augments={"people": turned}, weights={"people": 0.5}, photographs={"reader": weighted(4.0)})
    train = module.records("train")
    for batch in batches(module):
        assert torch.allclose(batch["weight"], torch.tensor([0.5] * 4 + [4.0] * 4))
        assert np.allclose(batch["pose"][:4, 0], -train.pose[batch["index"][:4], 0], atol=1e-3)
        assert np.allclose(batch["pose"][4:], train.pose[batch["index"][4:]])
        assert np.allclose(train.weight[batch["index"]], batch["weight"])


def weighted(weight):
    return functools.partial(alone, weight=weight)


def test_images_without_a_partner_take_part_in_the_squared_error_alone(mixture):
    batch = batches(mixture())[0]
    pose = batch["pose"].flip(0).clone().requires_grad_()
    terms = RankMSE(weight=1e6)(PoseOutput(pose, pose), batch["pose"], batch["identity"])
    terms["rank"].backward()
    assert pose.grad[:4].abs().sum() > 0
    assert not pose.grad[4:].any()


def test_a_source_without_a_share_validates_and_a_test_set_does_so_whole(mixture):
    module = mixture(shares={"people": 1, "photographs": None}, val="photographs")
    module.sources["photographs"].split = None
    assert module.visits == {"people": 4}
    assert len(module.records("val")) == 19 * 6
    assert len(module.records("test")) == 4 * 6
    assert module.tested is module.sources["people"]
    assert sum(len(batch["index"]) for batch in module.val_dataloader()) == 19 * 6


WRONG = {
    "data.shares.people=0: must be a number above 0; data.shares.people=null": {
        "shares": {"people": 0, "photographs": 1}
    },
    "data.shares: there is no source faces, only people, photographs": {"shares": {"faces": 1}},
    "data.val: there is no source faces": {"val": "faces"},
    "data.epoch=photographs: has no share": {"shares": {"people": 1}, "epoch": "photographs"},
    "data.shares.people=0.01: of data.images_per_batch=8 that is less": {"shares": {"people": 0.01, "photographs": 1}},
    "data.weights.people=-1: must be a number above 0": {"weights": {"people": -1}},
    "data.shares.people=half: must be a number above 0": {"shares": {"people": "half", "photographs": 1}},
}


@pytest.mark.parametrize("told", WRONG)
def test_what_is_no_mixture_is_told(mixture, told):
    with pytest.raises(ConfigError) as error:
        mixture(**WRONG[told])
    assert str(error.value).startswith(told)


@pytest.mark.parametrize(
    ("photographs", "way_out"),
    [
        ({"train_identities": 2}, r"draws_per_identity=2 visits them often enough"),
        ({"images_per_identity": 2}, r"images_per_identity=1 takes them as they are"),
    ],
)
def test_a_source_that_does_not_fill_its_share_is_named_with_the_way_out(mixture, photographs, way_out):
    module = mixture(photographs=photographs)
    with pytest.raises(
        ConfigError, match=rf"^data\.sources\.photographs: .*\. data\.sources\.photographs\.{way_out}\.$"
    ):
        module.train_dataloader()


def test_an_empty_part_is_told(mixture):
    module = mixture()
    module.sources["people"].split = lambda records: replace(split(records), val=records.select(np.zeros(0, int)))
    with pytest.raises(ConfigError, match=r"leaves no image for val; set data\.split\.val_share above 0"):
        module.val_dataloader()


def test_the_configuration_describes_a_mixture_and_a_further_source(small_set):
    further = ["+data@data.sources.faces=aflw2000", "data.val=faces"]
    config = composed("train", ["data=mixture", *further, "data.shares.renders=3", "run_dir=RUN"])
    module = build(config.data)
    assert module.visits == {"renders": 27, "photographs": 9}
    assert module.images_per_batch == 63
    assert module.sources["renders"].augment.surroundings is not None
    assert module.sources["photographs"].augment.surroundings is None
    assert module.sources["faces"].split is None
    assert {kind_of("data.sources.faces.root"), kind_of("data.sources.faces.packed")} == {Kind.MACHINE}
    assert kind_of("data.sources.faces.num_workers") == Kind.DISPLAY
    assert kind_of("data.shares.renders") == Kind.METHOD


@pytest.mark.slow
@pytest.mark.parametrize("processes", [1, pytest.param(2, marks=pytest.mark.long)])
def test_a_mixture_trains_from_renders_and_a_table(small_set, tmp_path, processes):
    names = sorted(path.relative_to(small_set) for path in (small_set / "SYN_TRAIN").glob("*.jpg"))
    poses = np.random.default_rng(0).uniform(-40, 40, (len(names), 3)).round(2)
    rows = [f"{name},{yaw},{pitch},{roll},0.5" for name, (yaw, pitch, roll) in zip(names, poses, strict=True)]
    (tmp_path / "poses.csv").write_text("\n".join(["image,yaw,pitch,roll,weight", *rows]))
    # of several values for a key the last one counts
    small = [argument.replace("data.reader", "data.sources.renders.reader") for argument in SMALL]
    small = [argument for argument in small if not argument.startswith("data.identities_per_batch")]
    arguments = [
        *("data=mixture", f"data.sources.renders.root={small_set}", f"data.sources.photographs.root={small_set}"),
        *(f"data.sources.photographs.reader.table={tmp_path}/poses.csv", 'data.sources.photographs.identity=".+"'),
        *(*small, "data.images_per_batch=8", "trainer.max_epochs=1", "trainer.accelerator=cpu", "hydra.run.dir=run"),
        *(["trainer=ddp", "trainer.devices=2"] if processes == 2 else []),
    ]
    said = succeed(run("train", *arguments, cwd=tmp_path)).stdout
    assert "batches of 8 images: 4 of renders (rendered heads: 72 images of 12 identities); 4 of photographs" in said
    record = json.loads((tmp_path / "run" / "run.json").read_text())
    assert record["data"]["images"]["train"] == 72 + 64
    assert record["devices"]["processes"] == processes
