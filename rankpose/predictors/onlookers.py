"""How does any model answer for one face of one picture? Models that look at a picture more than once, and all others.

A `Predictor` sees a crop that is cut once, in batches. An `Onlooker` is given the whole picture with a face's points,
and may look twice: find its own crop, turn it upright, say that it sees no face. `onlooker` makes one of either, and
`answers` asks it for many pictures in several processes.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np
import torch
from torch import nn

from rankpose.data.batches import Loader, default_workers, start_loader
from rankpose.data.corruption import Corruption, image_rng
from rankpose.data.crop import face_points, read_image
from rankpose.data.crop_rules import CropRule
from rankpose.data.record import Records
from rankpose.pose import flip_pose


class Answer(NamedTuple):
    """What a model says of one face."""

    pose: np.ndarray
    """(3,) yaw, pitch, roll, degrees; NaN where it sees no face."""
    presence: float = 1.0
    """How sure it is that a face is there, 0 to 1; 1 of a model that does not say."""


@runtime_checkable
class Onlooker(Protocol):
    """A model that is given whole pictures."""

    crop: CropRule
    """What it looks at first."""
    size: int
    """Side of its input, pixels."""
    keys: Mapping[str, str]
    """As a predictor's (`rankpose.predictors.Predictor`)."""

    def answer(self, image: np.ndarray, points: np.ndarray) -> Answer:
        """For the face that (M, 2) pixels `points` go around, in an image (H, W, 3) uint8, red first."""
        ...


class ByCrop:
    """A predictor that sees crops, as one that is given pictures."""

    def __init__(self, predictor: nn.Module) -> None:
        self.predictor = predictor
        self.crop: CropRule = predictor.crop  # type: ignore[assignment]
        self.size: int = predictor.size  # type: ignore[assignment]
        self.keys: Mapping[str, str] = predictor.keys  # type: ignore[assignment]

    def answer(self, image: np.ndarray, points: np.ndarray) -> Answer:
        crop = torch.from_numpy(self.crop(image, points, self.size)).permute(2, 0, 1)[None]
        with torch.inference_mode():
            return Answer(self.predictor(crop).pose[0].double().cpu().numpy())


def onlooker(predictor: Any) -> Onlooker:
    """Any predictor that sees images, as one that is given whole pictures."""
    return predictor if isinstance(predictor, Onlooker) else ByCrop(predictor)


def mirrored(model: Onlooker, image: np.ndarray, points: np.ndarray) -> Answer:
    """What a model says of the mirrored picture, as a pose in the picture itself; arguments as of `answer`."""
    right = image.shape[1] - 1
    said = model.answer(np.ascontiguousarray(image[:, ::-1]), np.array([right, 0]) + points * [-1, 1])
    return Answer(flip_pose(torch.from_numpy(said.pose)).numpy(), said.presence)


@dataclass(frozen=True)
class Faces(torch.utils.data.Dataset[np.ndarray]):
    """`faces[row]` is what each model says of a record: (M, 4), yaw, pitch, roll in degrees, presence.

    Args:
        models: that are asked.
        records: faces.
        mirror: whether each is asked of the mirrored picture as well; these answers come after the others.
        corruption, seed: what is done to every image, as in `rankpose.data.batches.PlainCrops`.
    """

    models: Sequence[Onlooker]
    records: Records
    mirror: bool = False
    corruption: Corruption | None = None
    seed: int = 0

    def __len__(self) -> int:
        return len(self.records)

    def __getitem__(self, row: int) -> np.ndarray:
        record = self.records[row]
        image, points = read_image(record.image), face_points(record)
        if self.corruption is not None:
            rng = image_rng(self.seed, row)
            points = self.corruption.points(points, rng)
            image = self.corruption.image(image, record.face_box, rng)
        said = [model.answer(image, points) for model in self.models]
        if self.mirror:
            said += [mirrored(model, image, points) for model in self.models]
        return np.array([[*pose, presence] for pose, presence in said], np.float64)


def answers(faces: Faces, rows: Sequence[int] | None = None, num_workers: int | None = None) -> Iterator[np.ndarray]:
    """Asks for one face after the other, in several processes.

    Args:
        faces: whom to ask about what.
        rows: of the records, in which order; None: all.
        num_workers: processes; 0 asks in this one, None takes one a core, at most 8.

    Returns:
        an iterator of what `faces[row]` is.
    """
    wanted = list(range(len(faces))) if rows is None else list(rows)
    workers = default_workers() if num_workers is None else num_workers
    loader: Any = Loader(
        faces,  # type: ignore[arg-type]
        sampler=wanted,
        batch_size=None,
        num_workers=workers,
        prefetch_factor=8 if workers else None,
        worker_init_fn=start_loader,
        collate_fn=_as_it_is,  # type: ignore[arg-type]
    )
    yield from loader


def _as_it_is(said: np.ndarray) -> np.ndarray:
    return said
