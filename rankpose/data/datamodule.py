"""From records to batches: the LightningDataModule.

A batch is a dict of tensors: `image` (N, 3, H, W) uint8, `pose` (N, 3) degrees, `identity` (N,), `index` (N,) rows in
the set's records. Images of one identity stand together, K at a time.
"""

import functools
import os
from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
import pytorch_lightning as pl
import torch
from torch.utils.data import DataLoader, Dataset, Sampler

from rankpose.data.augment import Augment, follow_pose
from rankpose.data.crop import View, crop_matrix, outline, read_image, warp_image, warp_points
from rankpose.data.identity_sampler import Draw, EveryImage, IdentitySampler
from rankpose.data.record import Records, Splits
from rankpose.errors import ConfigError

Batch = dict[str, torch.Tensor]


class CropDataset(Dataset[Batch]):
    """Crops of a set's images, a batch at a time: `dataset[draws]` is a `Batch`.

    Args:
        records: the set.
        size: side of the network's input, pixels.
        test_scale: side of the square over the face box's larger side where nothing is augmented.
        augment: training's variations; None for validation and test.
    """

    def __init__(self, records: Records, size: int, test_scale: float = 1.4, augment: Augment | None = None) -> None:
        self.records, self.size, self.augment = records, size, augment
        self.test_view = View(scale=test_scale)

    def __len__(self) -> int:
        return len(self.records)

    def __getitem__(self, draws: list[Draw]) -> Batch:
        rows = np.array([draw.row for draw in draws])
        views = [self._view(draw) for draw in draws]
        images = np.empty((len(draws), self.size, self.size, 3), np.uint8)
        points = []
        for i, (draw, view) in enumerate(zip(draws, views, strict=True)):
            record = self.records[draw.row]
            face = outline(record)
            matrix = crop_matrix(face, self.size, view)
            images[i] = warp_image(read_image(record.image), matrix, self.size)
            points.append(warp_points(face, matrix))
            if self.augment is not None and self.augment.colours is not None:
                images[i] = self.augment.colours(images[i], draw.image_seed)
        if self.augment is not None and self.augment.surroundings is not None:
            if self.records.landmarks is None:
                raise ConfigError(
                    f"augment=surroundings cuts faces out by their landmarks, which {self.records.dataset} has not: "
                    "choose another, such as augment=published."
                )
            images = self.augment.surroundings(images, np.stack(points), np.random.default_rng(draws[0].image_seed))
        return {
            "image": torch.from_numpy(images).permute(0, 3, 1, 2),
            "pose": torch.from_numpy(follow_pose(self.records.pose[rows], views)),
            "identity": torch.from_numpy(self.records.identity[rows]),
            "index": torch.from_numpy(rows),
        }

    def _view(self, draw: Draw) -> View:
        if self.augment is None or self.augment.views is None:
            return self.test_view
        return self.augment.views.draw(
            np.random.default_rng(draw.visit_seed), np.random.default_rng([draw.image_seed, 1])
        )


class PoseDataModule(pl.LightningDataModule):
    """Training, validation and test batches of one data set.

    Args:
        source: reads (and, for the embedded set, first makes) the data: called with `root`, `max_angle` and `strict`,
            gives `Splits`.
        root: where the data lie.
        size: side of the network's input, pixels.
        augment: training's variations.
        identities_per_batch: P, of one process.
        images_per_identity: K.
        draws_per_identity: how often an epoch visits each identity.
        test_scale: side of the crop over the face box's in validation and test.
        eval_batch_size: images a batch in validation and test.
        max_angle: images with an angle beyond +- this many degrees are left out; None keeps all.
        strict: stop at the first unusable file instead of leaving it out.
        num_workers: loader processes; None takes one a core, at most 8.
        seed: decides order and augmentation.
    """

    def __init__(
        self,
        source: Callable[..., Splits],
        root: str,
        size: int,
        augment: Augment | None = None,
        identities_per_batch: int = 32,
        images_per_identity: int = 2,
        draws_per_identity: int = 5,
        test_scale: float = 1.4,
        eval_batch_size: int = 128,
        max_angle: float | None = 99.0,
        strict: bool = False,
        num_workers: int | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.source = functools.partial(source, root=root, max_angle=max_angle, strict=strict)
        self.size, self.augment, self.seed = size, augment, seed
        self.identities_per_batch, self.images_per_identity = identities_per_batch, images_per_identity
        self.draws_per_identity, self.test_scale, self.eval_batch_size = draws_per_identity, test_scale, eval_batch_size
        self.num_workers = num_workers
        self.splits: Splits | None = None

    def prepare_data(self) -> None:
        """Reads the data once on one process, so that the embedded set is made before the others look for it."""
        self.setup("fit")

    def setup(self, stage: str) -> None:
        if self.splits is None:
            self.splits = self.source()

    def records(self, part: str) -> Records:
        """The records of `train`, `val` or `test`."""
        self.setup(part)
        return getattr(self.splits, part)

    def train_dataloader(self) -> DataLoader[Batch]:
        dataset = CropDataset(self.records("train"), self.size, self.test_scale, self.augment)
        return make_loader(dataset, self._training_order(*self._where_to_begin()), self.num_workers)

    def batches_per_epoch(self) -> int:
        """Training batches of one process in an epoch."""
        return len(self._training_order())

    def _training_order(self, epoch: int = 0, start_batch: int = 0) -> IdentitySampler:
        return IdentitySampler(
            self.records("train").identity,
            self.identities_per_batch,
            self.images_per_identity,
            self.draws_per_identity,
            self.seed,
            *self._process(),
            epoch=epoch,
            start_batch=start_batch,
        )

    def val_dataloader(self) -> DataLoader[Batch]:
        return self._evaluation("val")

    def test_dataloader(self) -> DataLoader[Batch]:
        return self._evaluation("test")

    def _evaluation(self, part: str) -> DataLoader[Batch]:
        return every_image(
            self.records(part), self.size, self.test_scale, self.eval_batch_size, self.num_workers, *self._process()
        )

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


def make_loader(dataset: CropDataset, sampler: Sampler[list[Draw]], num_workers: int | None) -> DataLoader[Batch]:
    """A loader of the batches that `sampler` names; `num_workers` None takes one process a core, at most 8."""
    workers = default_workers() if num_workers is None else num_workers
    # batch_size=None: the sampler gives whole batches and the dataset answers with them
    return DataLoader(
        dataset,
        sampler=sampler,
        batch_size=None,
        num_workers=workers,
        persistent_workers=workers > 0,
        pin_memory=torch.cuda.is_available(),
        worker_init_fn=_one_thread,
    )


def every_image(
    records: Records,
    size: int,
    test_scale: float = 1.4,
    batch_size: int = 128,
    num_workers: int | None = None,
    rank: int = 0,
    world_size: int = 1,
) -> DataLoader[Batch]:
    """A loader of every image of a set in order, as in testing; see `CropDataset` and `EveryImage`."""
    sampler = EveryImage(len(records), batch_size, rank, world_size)
    return make_loader(CropDataset(records, size, test_scale), sampler, num_workers)


def default_workers() -> int:
    """One loader process a core that this process may use, at most 8."""
    return min(8, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)


def _one_thread(worker: int) -> None:
    cv2.setNumThreads(0)
    torch.set_num_threads(1)
