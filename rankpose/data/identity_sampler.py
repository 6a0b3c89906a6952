"""Which images stand together in a batch: P identities with K images each.

An epoch visits each identity `draws_per_identity` times (RankPose: 5), each time with K different images of it
(RankPose: 2). Every draw carries the seeds of its augmentation, so that what a batch holds follows from (seed, epoch)
alone, whatever the number of workers; a run that stopped in the middle of an epoch goes on with the batches that were
still to come.
"""

from collections.abc import Iterator
from typing import Literal, NamedTuple

import numpy as np
import torch
from torch.utils.data import Sampler

from rankpose.checks import checked
from rankpose.errors import DatasetError
from rankpose.pose import euler_to_rotmat

Pairs = Literal["any", "close", "far"]


class Draw(NamedTuple):
    """One image of a batch."""

    row: int
    """In the records."""
    visit_seed: int = 0
    """Shared by the K images of one visit of an identity."""
    image_seed: int = 0
    """This image's own."""


class IdentitySampler(Sampler[list[Draw]]):
    """Yields a training batch at a time: `identities` visits of `images` draws, those of a visit side by side.

    Under DDP each process takes its own share of the visits; all have equally many batches. Visits beyond the last full
    round of batches are left out of the epoch (shuffling leaves out others the next time).

    Args:
        identity: (N,) identity of each record.
        pose: (N, 3) degrees, of each record.
        identities_per_batch: P, of one process.
        images_per_identity: K.
        draws_per_identity: visits an epoch.
        seed: of the run.
        rank, world_size: which process, of how many.
        epoch, start_batch: where to begin, for a run that goes on.
        pairs: which images of an identity stand together: `any`, or those with a pose `close` to the first one's or
            `far` from it, which are drawn from the nearer or farther half of its images (by the angle of the rotation
            between two heads).

    Raises:
        ConfigError: no such `pairs`.
        DatasetError: identities with K images are too few for one batch; names what would fill it.
    """

    @checked("data.", seed="seed")
    def __init__(
        self,
        identity: np.ndarray,
        pose: np.ndarray,
        identities_per_batch: int,
        images_per_identity: int = 2,
        draws_per_identity: int = 5,
        seed: int = 0,
        rank: int = 0,
        world_size: int = 1,
        epoch: int = 0,
        start_batch: int = 0,
        pairs: Pairs = "any",
    ) -> None:
        self.identities_per_batch, self.images_per_identity = identities_per_batch, images_per_identity
        self.draws_per_identity, self.seed = draws_per_identity, seed
        self.rank, self.world_size = rank, world_size
        self.epoch, self.start_batch, self.pairs = epoch, start_batch, pairs
        self._pose = pose
        self._rows = np.argsort(identity, kind="stable")
        counts = np.bincount(identity)
        self._starts, self._counts = np.cumsum(counts) - counts, counts
        self.usable = np.flatnonzero(counts >= images_per_identity)
        """Identities with at least K images; the others can form no pair and are not visited."""
        self.left_out = {
            "identities": len(counts) - len(self.usable),
            "images": int(counts.sum() - counts[self.usable].sum()),
        }
        """What is not visited."""
        if len(self) == 0:
            raise DatasetError(
                f"data.images_per_identity={images_per_identity}: {len(self.usable):,} of {len(counts):,} identities "
                f"have so many images; each visited {draws_per_identity} times, they do not fill one batch of "
                f"data.identities_per_batch={identities_per_batch} on each of {world_size} processes. {self._way_out()}"
            )

    def _way_out(self) -> str:
        """The largest settings that fill a batch."""
        needed = -(-self.identities_per_batch * self.world_size // self.draws_per_identity)
        most = np.sort(self._counts)[::-1]
        ways = []
        if needed <= len(most):
            images = most[needed - 1]
            ways.append(f"data.images_per_identity={images}{' with loss=mse' if images == 1 else ''}")
        fitting = len(self.usable) * self.draws_per_identity // self.world_size
        if fitting:
            ways.append(f"data.identities_per_batch={fitting}")
        if not ways:
            ways.append("both much lower")
        more = f" data=synthetic renders more with data.reader.images_per_identity={self.images_per_identity}."
        return f"Set {' or '.join(ways)} at most.{more if self.images_per_identity > most[0] else ''}"

    def __len__(self) -> int:
        visits = len(self.usable) * self.draws_per_identity
        return visits // (self.identities_per_batch * self.world_size)

    def set_epoch(self, epoch: int) -> None:
        """Called by Lightning before each epoch."""
        if epoch != self.epoch:
            self.epoch, self.start_batch = epoch, 0

    def __iter__(self) -> Iterator[list[Draw]]:
        rng = np.random.default_rng([self.seed, self.epoch])
        # whole rounds one after the other: an identity seldom comes twice in one batch
        visits = np.concatenate([rng.permutation(self.usable) for _ in range(self.draws_per_identity)])
        seeds = rng.integers(2**63, size=(len(visits), 1 + self.images_per_identity))
        keys = rng.random((len(visits), self.images_per_identity))
        mine = np.arange(len(self) * self.identities_per_batch) * self.world_size + self.rank
        start = self.start_batch * self.identities_per_batch
        for first in range(start, len(mine), self.identities_per_batch):
            batch = []
            for visit in mine[first : first + self.identities_per_batch]:
                rows = self._choose(int(visits[visit]), keys[visit])
                visit_seed, *image_seeds = (int(seed) for seed in seeds[visit])
                batch += [Draw(int(row), visit_seed, seed) for row, seed in zip(rows, image_seeds, strict=True)]
            yield batch

    def _choose(self, identity: int, keys: np.ndarray) -> np.ndarray:
        """K different rows of an identity, from K numbers in [0, 1)."""
        rows = self._rows[self._starts[identity] : self._starts[identity] + self._counts[identity]].copy()
        if self.pairs == "any":
            return _shuffled(rows, keys)
        first = int(keys[0] * len(rows))
        others = np.delete(rows, first)
        by_distance = others[np.argsort(_turns(self._pose[rows[first]], self._pose[others]), kind="stable")]
        # never fewer than are wanted
        half = max(-(-len(others) // 2), len(keys) - 1)
        partners = by_distance[:half] if self.pairs == "close" else by_distance[len(others) - half :]
        return np.concatenate([rows[first : first + 1], _shuffled(partners, keys[1:])])


def _shuffled(rows: np.ndarray, keys: np.ndarray) -> np.ndarray:
    """As many different rows as there are keys, numbers in [0, 1): a partial Fisher-Yates shuffle, in place."""
    for k, key in enumerate(keys):
        other = k + int(key * (len(rows) - k))
        rows[[k, other]] = rows[[other, k]]
    return rows[: len(keys)]


def _turns(pose: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Rises with the angle of the rotation from a pose (3) to each other (M, 3): minus the rotation's trace."""
    one, many = (euler_to_rotmat(torch.from_numpy(np.asarray(angles, np.float64))) for angles in (pose, others))
    return -(many * one).sum((-2, -1)).numpy()


class EveryImage(Sampler[list[Draw]]):
    """Yields every record in order, for validation and test.

    Under DDP each process takes every n-th; the last batch is filled up by repeating records, so that all processes
    have equally many; the metrics count a record once.
    """

    def __init__(self, count: int, batch_size: int, rank: int = 0, world_size: int = 1) -> None:
        self.batch_size = batch_size
        share = -(-count // world_size)
        self._indices = (np.arange(share) * world_size + rank) % count

    def __len__(self) -> int:
        return -(-len(self._indices) // self.batch_size)

    def __iter__(self) -> Iterator[list[Draw]]:
        for first in range(0, len(self._indices), self.batch_size):
            yield [Draw(int(row)) for row in self._indices[first : first + self.batch_size]]
