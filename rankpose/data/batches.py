"""From records to batches: crops, and loaders of them. Knows nothing of training, so loader processes stay small.

A batch (`Batch`) is a dict of tensors. Images of one identity stand together, K at a time.
"""

import gc
import math
import multiprocessing
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import wait
from typing import Any, NotRequired, TypedDict, cast

import cv2
import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, Sampler, get_worker_info

from rankpose.data import pool
from rankpose.data.augment import Augment, follow_pose
from rankpose.data.corruption import Corruption, image_rng
from rankpose.data.crop import View, crop_matrix, face_points, points_around, read_image, warp_image, warp_points
from rankpose.data.crop_rules import CropRule
from rankpose.data.identity_sampler import Draw, EveryImage
from rankpose.data.record import Records
from rankpose.errors import ConfigError, LoaderError


class Batch(TypedDict):
    """What a loader gives and a task takes."""

    image: torch.Tensor
    """(N, 3, H, W) uint8, red first."""
    pose: torch.Tensor
    """(N, 3) true yaw, pitch, roll, degrees."""
    identity: torch.Tensor
    """(N,) whole numbers."""
    index: torch.Tensor
    """(N,) rows in the set's records."""
    weight: NotRequired[torch.Tensor]
    """(N,) float32, how much each image counts: of training, where the set has weights."""


class CropDataset(Dataset[Batch]):
    """Training crops of a set's images, a batch at a time: `dataset[draws]` is a `Batch`.

    Args:
        records: the set.
        size: side of the network's input, pixels.
        test_scale: side of the square over the face box's larger side where nothing is augmented.
        augment: the variations, or none.
    """

    def __init__(self, records: Records, size: int, test_scale: float = 1.4, augment: Augment | None = None) -> None:
        self.records, self.size, self.augment = records, size, augment
        self.test_view = View(scale=test_scale)

    def __len__(self) -> int:
        return len(self.records)

    def __getitem__(self, draws: list[Draw]) -> Batch:
        records, landmarks = self.records, self.records.landmarks
        rows = np.array([draw.row for draw in draws])
        views = [self._view(draw) for draw in draws]
        buffer = _image_buffer((len(draws), self.size, self.size, 3))
        images = buffer.numpy()
        points = []
        for i, (draw, view) in enumerate(zip(draws, views, strict=True)):
            face = points_around(records.face_box[draw.row], None if landmarks is None else landmarks[draw.row])
            matrix = crop_matrix(face, self.size, view)
            image = warp_image(read_image(records.images[draw.row]), matrix, self.size)
            if self.augment is not None and self.augment.colours is not None:
                image = self.augment.colours(image, draw.image_seed)
            images[i] = image
            points.append(warp_points(face, matrix))
        if self.augment is not None and self.augment.surroundings is not None:
            if landmarks is None:
                raise ConfigError(
                    f"augment=surroundings cuts faces out by their landmarks, which {records.dataset} has not: "
                    "choose another, such as augment=published."
                )
            swapped = self.augment.surroundings(images, np.stack(points), np.random.default_rng(draws[0].image_seed))
            images[...] = swapped
        weight = None if records.weight is None else records.weight[rows]
        return _batch(buffer, follow_pose(records.pose[rows], views), records.identity[rows], rows, weight)

    def _view(self, draw: Draw) -> View:
        if self.augment is None or self.augment.views is None:
            return self.test_view
        return self.augment.views.draw(
            np.random.default_rng(draw.visit_seed), np.random.default_rng([draw.image_seed, 1])
        )


class PlainCrops(Dataset[Batch]):
    """What a model under test sees of a set's images, a batch at a time: nothing is augmented.

    Args:
        records: the set.
        crop: the model's crop rule.
        size: side of its input, pixels.
        corruption: what is done to every image, or to its face box, before it is cropped.
        seed: of the corruption's draws, which are an image's own whatever the batch.
    """

    def __init__(
        self, records: Records, crop: CropRule, size: int, corruption: Corruption | None = None, seed: int = 0
    ) -> None:
        self.records, self.crop, self.size = records, crop, size
        self.corruption, self.seed = corruption, seed

    def __len__(self) -> int:
        return len(self.records)

    def __getitem__(self, draws: list[Draw]) -> Batch:
        rows = np.array([draw.row for draw in draws])
        buffer = _image_buffer((len(draws), self.size, self.size, 3))
        images = buffer.numpy()
        for i, row in enumerate(rows.tolist()):
            record = self.records[row]
            image, face = read_image(record.image), face_points(record)
            if self.corruption is not None:
                rng = image_rng(self.seed, row)
                face = self.corruption.points(face, rng)
                image = self.corruption.image(image, record.face_box, rng)
            images[i] = self.crop(image, face, self.size)
        return _batch(buffer, self.records.pose[rows], self.records.identity[rows], rows)


class Loader(DataLoader[Batch]):
    """A loader whose errors are those of the dataset, whichever process they come from.

    Raises:
        LoaderError: from an iterator, where processes cannot be started, have died, or find no shared memory.
    """

    def __iter__(self) -> Any:
        with self._told():
            try:
                if self.num_workers:
                    # what torch makes first: halfway into its own, a failure would be told by its clean-up as well
                    multiprocessing.Lock()
                with pool.signals_left_to_parent():
                    batches = super().__iter__()
            except OSError as error:
                raise LoaderError(f"loader processes cannot be started ({error}); {_ALONE}.") from error
        return self._each(batches)

    def _each(self, batches: Iterator[Batch]) -> Iterator[Batch]:
        with self._told():
            yield from batches

    @contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            text = str(error).rstrip()
            processes = getattr(self._iterator, "_workers", ())
            if isinstance(error, RuntimeError) and text.startswith("DataLoader worker"):
                raise LoaderError(_death(processes)) from error
            # a batch that is announced and not yet handed over goes with its process
            if isinstance(error, ConnectionError | EOFError) and _has_died(processes):
                raise LoaderError(_death(processes)) from error
            if isinstance(error, RuntimeError) and "</torch_" in text:
                raise LoaderError(f"{_NO_SHARED_MEMORY} ({text.splitlines()[-1]}); {_ALONE}.") from error
            if not text.startswith(f"Caught {type(error).__name__} in "):
                raise
            # torch makes the process's whole traceback the message
            kind = type(error).__qualname__
            name = kind if type(error).__module__ == "builtins" else f"{type(error).__module__}.{kind}"
            raise type(error)(text.rpartition(f"\n{name}: ")[2]) from error


_NO_SHARED_MEMORY = "loader processes hand batches over in shared memory (/dev/shm), in which there is no room"
_ALONE = "data.num_workers=0 (of rankpose.evaluate num_workers=0) does without them"


def _has_died(processes: Any) -> bool:
    """Whether one of some processes has died, or does within a second: its connections end first."""
    return bool(wait([process.sentinel for process in processes], timeout=1))


def _death(processes: Any) -> str:
    """Why a loader process is gone: others may have ended in peace by then, and how it did be known a moment later."""
    until = time.monotonic() + 1
    while not (code := next((process.exitcode for process in processes if process.exitcode), 0)):
        if time.monotonic() > until:
            break
        time.sleep(0.01)
    if code == -signal.SIGBUS:
        return f"{_NO_SHARED_MEMORY}; {_ALONE}."
    how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with code {code}"
    return f"a loader process {how}, perhaps for want of memory: use fewer; {_ALONE}."


def _image_buffer(shape: tuple[int, ...]) -> torch.Tensor:
    """An uninitialised uint8 tensor; in a loader process in memory that it shares with the one that takes the batch.

    Otherwise the batch would be copied there afterwards, which takes a fifth of the time that an image takes.
    """
    if get_worker_info() is None:
        return torch.empty(shape, dtype=torch.uint8)
    # as torch's default_collate does it
    storage = torch.UntypedStorage._new_shared(math.prod(shape))
    return torch.tensor([], dtype=torch.uint8).set_(storage).view(shape)


def _batch(
    buffer: torch.Tensor, pose: np.ndarray, identity: np.ndarray, rows: np.ndarray, weight: np.ndarray | None = None
) -> Batch:
    """A batch of images (N, H, W, 3)."""
    arrays = {"pose": pose, "identity": identity, "index": rows}
    if weight is not None:
        arrays["weight"] = weight
    tensors = {name: torch.from_numpy(array) for name, array in arrays.items()}
    return as_batch({"image": buffer.permute(0, 3, 1, 2)} | tensors)


def as_batch(tensors: dict[str, torch.Tensor]) -> Batch:
    """A batch of its tensors; in a loader process all in shared memory.

    Otherwise a thread of torch's would put it there, and a batch that found no room would be waited for for ever.
    """
    if get_worker_info() is not None:
        tensors = {name: tensor.share_memory_() for name, tensor in tensors.items()}
    return cast(Batch, tensors)


def make_loader(dataset: Dataset[Batch], sampler: Sampler[Any], num_workers: int | None, processes: int = 1) -> Loader:
    """A loader of the batches that `sampler` names, with settings that suit the machine.

    Args:
        dataset: gives the batches.
        sampler: names them.
        num_workers: loader processes; None takes what `default_workers` says.
        processes: that train on this machine, each with a loader of its own.
    """
    workers = default_workers(processes) if num_workers is None else num_workers
    if workers < 0:
        raise ConfigError(f"num_workers={workers}: must be at least 0, or null.")
    gpu = torch.cuda.is_available()
    # batch_size=None: the sampler gives whole batches and the dataset answers with them
    return Loader(
        dataset,
        sampler=sampler,
        batch_size=None,
        num_workers=workers,
        persistent_workers=workers > 0,
        # a GPU takes a batch in less time than a busy core may be late by; a CPU does not
        prefetch_factor=(4 if gpu else 2) if workers > 0 else None,
        pin_memory=gpu,
        worker_init_fn=start_loader,
    )


def every_image(
    dataset: PlainCrops, batch_size: int = 128, num_workers: int | None = None, rank: int = 0, world_size: int = 1
) -> Loader:
    """A loader of every image of a set in order, as in testing; see `EveryImage`."""
    if batch_size < 1:
        raise ConfigError(f"batch_size={batch_size}: must be at least 1.")
    return make_loader(dataset, EveryImage(len(dataset), batch_size, rank, world_size), num_workers, world_size)


def default_workers(processes: int = 1) -> int:
    """Loader processes for each of some training processes: its share of the cores, at least one, at most 8."""
    return max(1, min(8, pool.usable_cores() // processes))


def start_loader(worker: int) -> None:
    """What a loader process does first."""
    # what the parent left over is not destroyed here: the threads that its destructors wait for are in the parent alone
    gc.freeze()
    pool.heed_parent()
    cv2.setNumThreads(0)
    torch.set_num_threads(1)
    pool.keep_freed_memory()
