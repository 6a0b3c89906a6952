"""Which records training gets: all, few, or with wrong labels."""

import numpy as np
import pytest
from commands import PEOPLE

from rankpose.data.datamodule import PoseDataModule
from rankpose.data.readers.w300lp import read_300w_lp, split_by_folder
from rankpose.data.synthetic.dataset import read_synthetic
from rankpose.errors import ConfigError


@pytest.fixture(scope="module")
def part(small_set):
    def read(**settings):
        return read_synthetic(
            **settings, **{f"{name}_identities": n for name, n in PEOPLE.items()}, images_per_identity=6
        )

    def split(records):
        return split_by_folder(records, "SYN_TRAIN", "SYN_VAL", "SYN_TEST")

    def records(name="train", **options):
        return PoseDataModule(read, str(small_set), split, 32, **options).records(name)

    return records


def test_noise_is_an_images_own_and_of_the_training_labels_alone(part):
    clean, noisy = part(), part(label_noise_deg=5.0)
    noise = noisy.pose - clean.pose
    assert noise.std() == pytest.approx(5, rel=0.15)
    assert np.array_equal(part(label_noise_deg=5.0).pose, noisy.pose)
    assert not np.array_equal(part(label_noise_deg=5.0, seed=1).pose, noisy.pose)
    for name in ("val", "test"):
        assert np.array_equal(part(name, label_noise_deg=5.0).pose, part(name).pose)


def test_fewer_people_keep_all_their_images(part):
    few = part(train_identities=5)
    assert len(few.identity_names) == 5
    assert (np.bincount(few.identity) == 6).all()
    assert set(few.identity_names) < set(part().identity_names)
    assert set(few.identity_names) != set(part(train_identities=5, seed=2).identity_names)
    assert len(part("val", train_identities=5)) == len(part("val"))


def test_people_are_drawn_from_those_who_are_visited(small_set):
    def module(**options):
        def read(**settings):
            records = read_300w_lp(small_set)
            alone = [f"SYN_TRAIN/{name}" for name in sorted({n.partition("/")[2] for n in records.identity_names})[:6]]
            first = np.unique(records.identity, return_index=True)[1]
            few = np.isin(records.identity_names[records.identity], alone)
            return records.select(np.union1d(np.flatnonzero(~few), first))

        def split(records):
            return split_by_folder(records, "SYN_TRAIN", "SYN_VAL", "SYN_TEST")

        return PoseDataModule(read, str(small_set), split, 32, identities_per_batch=2, **options)

    assert module().left_out() == {"identities": 6, "images": 6}
    assert module(train_identities=6).left_out() == {"identities": 0, "images": 0}
    with pytest.raises(ConfigError, match=r"data\.train_identities=7.* 6 people with data\.images_per_identity=2"):
        module(train_identities=7).records("train")


@pytest.mark.parametrize("options", [{"train_identities": 13}, {"train_identities": 0}, {"label_noise_deg": -1.0}])
def test_what_cannot_be_is_named(part, options):
    with pytest.raises(ConfigError, match=f"data.{next(iter(options))}="):
        part(**options)
