"""The LightningDataModules: training, validation and test batches of a data set (`rankpose.data.batches`).

`Training` is what a run asks for; `PoseDataModule` gives it of one set, `rankpose.data.mixture` of several.
"""

import functools
from collections.abc import Callable
from dataclasses import replace
from typing import Annotated, Any

import numpy as np
import pytorch_lightning as pl
from annotated_types import Ge
from torch.utils.data import DataLoader, Dataset, Sampler

from rankpose.checks import Count, NotNegative, checked
from rankpose.data.augment import Augment
from rankpose.data.batches import Batch, CropDataset, PlainCrops, every_image, make_loader
from rankpose.data.crop_rules import RankPoseCrop
from rankpose.data.identity_sampler import IdentitySampler, Pairs
from rankpose.data.packed import reading as store
from rankpose.data.record import Records, Splits
from rankpose.errors import ConfigError


class Training(pl.LightningDataModule):
    """What training asks of its data, whether they are of one set or of several.

    Args:
        num_workers, eval_batch_size, seed: see `PoseDataModule`.
    """

    size: int
    """Side of the network's input, pixels."""
    test_scale: float
    """Side of the crop over the face box's in validation and test."""
    images_per_identity: int
    """The most images of an identity that stand together in a batch."""

    @checked("data.", seed="seed")
    def __init__(
        self, num_workers: Annotated[int, Ge(0)] | None, eval_batch_size: Count, seed: Annotated[int, Ge(0)]
    ) -> None:
        super().__init__()
        self.num_workers, self.eval_batch_size, self.seed = num_workers, eval_batch_size, seed

    @property
    def images_per_batch(self) -> int:
        """Images of a training batch of one process."""
        raise NotImplementedError

    @property
    def tested(self) -> "PoseDataModule":
        """The one set that is tested on."""
        raise NotImplementedError

    def records(self, part: str) -> Records:
        """The records of `train`, `val` or `test`."""
        raise NotImplementedError

    def batches_per_epoch(self) -> int:
        """Training batches of one process in an epoch."""
        raise NotImplementedError

    def left_out(self) -> dict[str, int]:
        """How many identities, with how many images, training does not visit: those with fewer than K."""
        raise NotImplementedError

    def told(self) -> str:
        """What is trained on, in a line."""
        return self.records("train").summary()

    def prepare_data(self) -> None:
        """Reads the data once on one process, so that the embedded set is made before the others look for it."""
        self.setup("fit")

    def val_dataloader(self) -> DataLoader[Batch]:
        return self._evaluation("val")

    def test_dataloader(self) -> DataLoader[Batch]:
        return self._evaluation("test")

    def _evaluation(self, part: str) -> DataLoader[Batch]:
        records = self.records(part)
        if not len(records):
            raise ConfigError(f"data.split: leaves no image for {part}; set data.split.{part}_share above 0.")
        crops = PlainCrops(records, RankPoseCrop(self.test_scale), self.size)
        return every_image(crops, self.eval_batch_size, self.num_workers, *self._process())

    def _train_loader(self, dataset: Dataset[Batch], order: Sampler[Any]) -> DataLoader[Batch]:
        processes = self.trainer.num_devices if self.trainer is not None else 1
        return make_loader(dataset, order, self.num_workers, processes)

    def _process(self) -> tuple[int, int]:
        """Rank and number of processes."""
        return (self.trainer.global_rank, self.trainer.world_size) if self.trainer is not None else (0, 1)

    def _where_to_begin(self) -> tuple[int, int]:
        """Epoch and batch at which training (re)starts."""
        if self.trainer is None:
            return 0, 0
        loop = self.trainer.fit_loop
        batches = loop.epoch_loop.batch_progress
        start = 0 if batches.is_last_batch else batches.current.ready
        epochs: Any = loop.epoch_progress.current  # declared as a base class, which has no `processed`
        return epochs.processed, start if loop.restarting else 0


class PoseDataModule(Training):
    """Training, validation and test batches of one data set.

    Args:
        reader: reads (and, for the embedded set, first makes) the data: called with `root`, `max_angle` and `strict`,
            gives `Records`.
        root: where the data lie.
        split: from `Records` to `Splits`; None for a set that nobody may train on.
        packed: take the images from this file, which `rankpose.prepare` made of them, instead of from `root`.
        size: side of the network's input, pixels.
        augment: training's variations.
        identities_per_batch: P, of one process.
        images_per_identity: K.
        draws_per_identity: how often an epoch visits each identity.
        test_scale: side of the crop over the face box's in validation and test; below 1 it would cut into the face.
        eval_batch_size: images a batch in validation and test.
        max_angle: images with an angle beyond +- this many degrees are left out; None keeps all.
        strict: stop at the first unusable file instead of leaving it out.
        num_workers: loader processes; None takes this process's share of the cores, at most 8.
        seed: decides order, augmentation, the identities of `train_identities` and the noise.
        pairs: which images of an identity stand together, see `IdentitySampler`.
        train_identities: train on this many identities, drawn from those with K images; None takes all.
        identity: takes who an image shows from its name instead of from the data set, see `Records.identified`.
        label_noise_deg: standard deviation of normal noise that is added to the training labels, once for each image,
            as an annotator errs; validation and test keep theirs.
    """

    @checked("data.", size="image_size", test_scale="test_scale", seed="seed")
    def __init__(
        self,
        reader: Callable[..., Records],
        root: str,
        split: Callable[[Records], Splits] | None,
        size: Count,
        packed: str | None = None,
        augment: Augment | None = None,
        identities_per_batch: Count = 32,
        images_per_identity: Count = 2,
        draws_per_identity: Count = 5,
        test_scale: Annotated[float, Ge(1)] = 1.4,
        eval_batch_size: int = 128,
        max_angle: float | None = 99.0,
        strict: bool = False,
        num_workers: int | None = None,
        seed: int = 0,
        pairs: Pairs = "any",
        train_identities: Count | None = None,
        label_noise_deg: NotNegative = 0.0,
        identity: str | None = None,
    ) -> None:
        super().__init__(num_workers, eval_batch_size, seed)
        self.reader = functools.partial(reader, root=root, max_angle=max_angle, strict=strict)
        self.root, self.split, self.packed, self.max_angle = root, split, packed, max_angle
        self.size, self.augment = size, augment
        self.identities_per_batch, self.images_per_identity = identities_per_batch, images_per_identity
        self.draws_per_identity, self.test_scale, self.pairs = draws_per_identity, test_scale, pairs
        self.train_identities, self.label_noise_deg = train_identities, label_noise_deg
        self.identity = identity
        self.splits: Splits | None = None

    def setup(self, stage: str) -> None:
        if self.splits is not None:
            return
        if self.split is None:
            raise ConfigError("this data set is for testing only: take it as a protocol, and train on another (data=).")
        splits = self.split(self.read())
        self.splits = replace(splits, train=self._noisy(self._fewer(splits.train)))

    def read(self) -> Records:
        """All records of the set, of no part yet."""
        records = self.reader() if self.packed is None else self._open_packed(self.packed)
        return records if self.identity is None else records.identified(self.identity)

    def _fewer(self, records: Records) -> Records:
        """Training's identities, or a draw of them."""
        if self.train_identities is None:
            return records
        there = np.flatnonzero(np.bincount(records.identity) >= self.images_per_identity)
        if not 0 < self.train_identities <= len(there):
            raise ConfigError(
                f"data.train_identities={self.train_identities}: the training part has {len(there):,} people with "
                f"data.images_per_identity={self.images_per_identity} images or more."
            )
        drawn = np.random.default_rng([self.seed, 1]).choice(there, self.train_identities, replace=False)
        return records.select(np.flatnonzero(np.isin(records.identity, drawn)))

    def _noisy(self, records: Records) -> Records:
        """Training's labels, or these with noise."""
        if self.label_noise_deg == 0:
            return records
        noise = np.random.default_rng([self.seed, 2]).normal(0, self.label_noise_deg, records.pose.shape)
        return replace(records, pose=(records.pose + noise).astype(np.float32))

    def _open_packed(self, path: str) -> Records:
        """The packed file's records, if it holds all that the augmentation may ask for."""
        views = self.augment.views if self.augment is not None else None
        extent = max(self.test_scale, views.extent if views is not None else 0.0)
        turn = views.largest_turn_deg if views is not None else 0.0
        store.check_reach("data.packed", path, extent, turn, "change augment or test_scale")
        return store.read_packed(path, self.reader, self.max_angle)

    @property
    def tested(self) -> "PoseDataModule":
        return self

    def records(self, part: str) -> Records:
        self.setup(part)
        records: Records = getattr(self.splits, part)
        return records

    def crops(self, records: Records) -> CropDataset:
        """Training's crops of records."""
        return CropDataset(records, self.size, self.test_scale, self.augment)

    def order(
        self, identities: int, seed: int, rank: int, world_size: int, epoch: int = 0, start_batch: int = 0
    ) -> IdentitySampler:
        """Training's batches of so many identities; see `IdentitySampler`."""
        train = self.records("train")
        return IdentitySampler(
            train.identity,
            train.pose,
            identities,
            self.images_per_identity,
            self.draws_per_identity,
            seed,
            rank,
            world_size,
            epoch=epoch,
            start_batch=start_batch,
            pairs=self.pairs,
        )

    def train_dataloader(self) -> DataLoader[Batch]:
        return self._train_loader(self.crops(self.records("train")), self._training_order(*self._where_to_begin()))

    @property
    def images_per_batch(self) -> int:
        return self.identities_per_batch * self.images_per_identity

    def batches_per_epoch(self) -> int:
        return len(self._training_order())

    def left_out(self) -> dict[str, int]:
        return self._training_order().left_out

    def _training_order(self, epoch: int = 0, start_batch: int = 0) -> IdentitySampler:
        return self.order(self.identities_per_batch, self.seed, *self._process(), epoch, start_batch)
