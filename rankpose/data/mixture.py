"""Several data sets in one training: each batch has a share of each.

Each source is a data module of its own, with its identities, augmentation and labels; here its training batches are put
together. Identities of two sources are never the same one, whatever their names. The sources go round independently:
which images the n-th batch of a run holds follows from the seed and n alone, so a resumed run, and each process of
several, goes on exactly as one source does.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, Sampler

from rankpose.data.augment import Augment
from rankpose.data.batches import Batch, CropDataset, as_batch
from rankpose.data.datamodule import PoseDataModule, Training
from rankpose.data.identity_sampler import Draw, IdentitySampler
from rankpose.data.record import Records
from rankpose.errors import ConfigError


class MixtureDataModule(Training):
    """Training batches of several sources; validation and test are those of a named one.

    Args:
        sources: data modules by name. One that has no share trains nothing, and may be validated or tested on; if it
            has no split, as a test set, then on all of it.
        shares: of a batch, by source; their sum is the whole.
        images_per_batch: of one process; each source gets the whole visits (K images) nearest to its share.
        weights: how much an image of a source counts in the loss, by source; 1 where nothing is said.
        augments: training's variations by source; a source that is not named keeps its own.
        epoch: the source whose one round is an epoch.
        val, test: the sources to pick the checkpoint by, and to test on.
        num_workers: loader processes; None takes this process's share of the cores, at most 8.
        eval_batch_size: images a batch in validation and test.
        seed: decides order and augmentation.
    """

    def __init__(
        self,
        sources: Mapping[str, PoseDataModule],
        shares: Mapping[str, float],
        epoch: str,
        val: str,
        test: str,
        images_per_batch: int = 64,
        weights: Mapping[str, float] | None = None,
        augments: Mapping[str, Augment] | None = None,
        num_workers: int | None = None,
        eval_batch_size: int = 128,
        seed: int = 0,
    ) -> None:
        super().__init__(num_workers, eval_batch_size, seed)
        self.sources, weights, augments = dict(sources), dict(weights or {}), dict(augments or {})
        self.shares = {name: share for name, share in shares.items() if share is not None}
        named = {"shares": [*self.shares], "weights": [*weights], "augments": [*augments]}
        for key, names in {**named, "epoch": [epoch], "val": [val], "test": [test]}.items():
            for name in names:
                if name not in self.sources:
                    raise ConfigError(f"data.{key}: there is no source {name}, only {', '.join(self.sources)}.")
        for key, numbers in {"shares": self.shares, "weights": weights}.items():
            for name, number in numbers.items():
                if not isinstance(number, int | float) or not number > 0:
                    raise ConfigError(
                        f"data.{key}.{name}={number}: must be a number above 0; data.shares.{name}=null leaves it out."
                    )
        if epoch not in self.shares:
            raise ConfigError(f"data.epoch={epoch}: has no share of a batch; name one of {', '.join(self.shares)}.")
        for name, augment in augments.items():
            self.sources[name].augment = augment
        self.epoch, self.evaluated = epoch, {"val": val, "test": test}
        self.weights = weights if set(weights.values()) - {1} else {}
        whole = sum(self.shares.values())
        self.visits = {
            name: round(images_per_batch * share / whole / self.sources[name].images_per_identity)
            for name, share in self.shares.items()
        }
        """How many identities of each source a batch of one process holds."""
        for name, visits in self.visits.items():
            if not visits:
                raise ConfigError(
                    f"data.shares.{name}={self.shares[name]}: of data.images_per_batch={images_per_batch} that is less "
                    f"than one visit of {self.sources[name].images_per_identity} images: raise either."
                )
        first = self.sources[epoch]
        self.size, self.test_scale = first.size, first.test_scale
        self.images_per_identity = max(self.sources[name].images_per_identity for name in self.shares)
        self._joined: Records | None = None
        self._whole: dict[str, Records] = {}

    @property
    def images_per_batch(self) -> int:
        return sum(visits * self.sources[name].images_per_identity for name, visits in self.visits.items())

    @property
    def tested(self) -> PoseDataModule:
        return self.sources[self.evaluated["test"]]

    def setup(self, stage: str) -> None:
        for name in dict.fromkeys([*self.shares, *self.evaluated.values()]):
            source = self.sources[name]
            if name in self.shares or source.split is not None:
                source.setup(stage)
            elif name not in self._whole:
                self._whole[name] = source.read()

    def records(self, part: str) -> Records:
        self.setup(part)
        if part in self.evaluated:
            name = self.evaluated[part]
            return self._whole[name] if name in self._whole else self.sources[name].records(part)
        if self._joined is None:
            self._joined = joined({name: self._weighted(name) for name in self.shares})
        return self._joined

    def told(self) -> str:
        parts = []
        for name, visits in self.visits.items():
            images = visits * self.sources[name].images_per_identity
            parts.append(f"{images} of {name} ({self.sources[name].records('train').summary()})")
        return f"batches of {self.images_per_batch} images: {'; '.join(parts)}"

    def _weighted(self, name: str) -> Records:
        """A source's training part, in which images have weights where those of any source have."""
        records = self.sources[name].records("train")
        if not self.weights and all(self.sources[one].records("train").weight is None for one in self.shares):
            return records
        weight = np.ones(len(records), np.float32) if records.weight is None else records.weight
        return replace(records, weight=(weight * self.weights.get(name, 1.0)).astype(np.float32))

    def left_out(self) -> dict[str, int]:
        each = [self._order_of(name).left_out for name in self.shares]
        return {what: sum(one[what] for one in each) for what in ("identities", "images")}

    def batches_per_epoch(self) -> int:
        return len(self._order_of(self.epoch))

    def _order_of(self, name: str) -> IdentitySampler:
        # sources of equal size would otherwise have the same turns and colours side by side
        seed = self.seed + 1_000_003 * list(self.shares).index(name)
        source, (rank, processes) = self.sources[name], self._process()
        images = np.bincount(source.records("train").identity)
        usable, wanted = int((images >= source.images_per_identity).sum()), self.visits[name] * processes
        if usable * source.draws_per_identity < wanted:
            way_out = (
                f"draws_per_identity={-(-wanted // usable)} visits them often enough"
                if usable
                else f"images_per_identity={images.max()} takes them as they are"
            )
            raise ConfigError(
                f"data.sources.{name}: {usable:,} of {len(images):,} identities have "
                f"images_per_identity={source.images_per_identity} images; each visited {source.draws_per_identity} "
                f"times, they do not give the {wanted:,} visits of a batch. data.sources.{name}.{way_out}."
            )
        return source.order(self.visits[name], seed, rank, processes)

    def train_dataloader(self) -> DataLoader[Batch]:
        parts = [self.sources[name].crops(self._weighted(name)) for name in self.shares]
        order = MixedSampler([self._order_of(name) for name in self.shares], self.batches_per_epoch())
        order.epoch, order.start_batch = self._where_to_begin()
        return self._train_loader(MixedCrops(parts), order)


def joined(parts: Mapping[str, Records]) -> Records:
    """Sources as one set: names and identities begin with the source's name, which keeps them apart."""
    sets = list(parts.values())
    people = np.cumsum([0, *(len(one.identity_names) for one in sets)])
    weighted = any(one.weight is not None for one in sets)
    return Records(
        dataset=f"a mixture of {', '.join(parts)}",
        names=np.concatenate([[f"{name}/{one.names[i]}" for i in range(len(one))] for name, one in parts.items()]),
        images=np.concatenate([np.asarray(one.images) for one in sets]),
        pose=np.concatenate([one.pose for one in sets]),
        face_box=np.concatenate([one.face_box for one in sets]),
        landmarks=None,
        identity=np.concatenate([one.identity + first for one, first in zip(sets, people[:-1], strict=True)]),
        identity_names=np.concatenate([[f"{name}/{who}" for who in one.identity_names] for name, one in parts.items()]),
        rejects=tuple(reject for one in sets for reject in one.rejects),
        weight=np.concatenate([one.weight for one in sets if one.weight is not None]) if weighted else None,
    )


class MixedSampler(Sampler[list[list[Draw]]]):
    """Yields a batch's draws, a list for each source.

    Args:
        orders: of the sources, each of which begins its next round where its own batches end.
        batches: of an epoch.
    """

    def __init__(self, orders: Sequence[IdentitySampler], batches: int) -> None:
        self.orders, self.batches = orders, batches
        self.epoch, self.start_batch = 0, 0

    def __len__(self) -> int:
        return self.batches

    def set_epoch(self, epoch: int) -> None:
        """Called by Lightning before each epoch."""
        if epoch != self.epoch:
            self.epoch, self.start_batch = epoch, 0

    def __iter__(self) -> Iterator[list[list[Draw]]]:
        first = self.epoch * self.batches + self.start_batch
        rounds = [_rounds(order, first) for order in self.orders]
        for _ in range(self.start_batch, self.batches):
            yield [next(one) for one in rounds]


def _rounds(order: IdentitySampler, first: int) -> Iterator[list[Draw]]:
    """The batches of a source from the n-th of the run on, round after round."""
    order.epoch, order.start_batch = divmod(first, len(order))
    while True:
        yield from order
        order.set_epoch(order.epoch + 1)


class MixedCrops(Dataset[Batch]):
    """Training crops of several sources, a batch at a time: `dataset[draws of each source]` is a `Batch`."""

    def __init__(self, parts: Sequence[CropDataset]) -> None:
        self.parts = parts
        self.rows = np.cumsum([0, *(len(part) for part in parts)])
        self.people = np.cumsum([0, *(len(part.records.identity_names) for part in parts)])

    def __len__(self) -> int:
        return int(self.rows[-1])

    def __getitem__(self, draws: list[list[Draw]]) -> Batch:
        batches = [part[those] for part, those in zip(self.parts, draws, strict=True)]
        for batch, rows, people in zip(batches, self.rows[:-1], self.people[:-1], strict=True):
            batch["index"] = batch["index"] + int(rows)
            batch["identity"] = batch["identity"] + int(people)
        tensors: list[dict[str, torch.Tensor]] = [dict(batch) for batch in batches]  # type: ignore[arg-type]
        return as_batch({name: torch.cat([one[name] for one in tensors]) for name in tensors[0]})
