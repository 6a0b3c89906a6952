"""From pictures to heads: several at a time, so that all their faces go through the network together."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from rankpose.errors import DatasetError
from rankpose.faces.boxes import TableBoxes
from rankpose.faces.pictures import Picture, open_picture
from rankpose.predictors.load import Estimator, Head


@dataclass(frozen=True, eq=False)
class AnsweredPicture:
    """What came of one picture."""

    name: str
    """As tables call it."""
    picture: Picture | None
    """None: it could not be read."""
    heads: Sequence[Head]
    failure: str = ""
    """Why it could not be read."""


def picture_poses(
    estimator: Estimator, pictures: Iterable[tuple[str, Path]], at_once: int = 8, pixels_at_once: int = 40_000_000
) -> Iterator[AnsweredPicture]:
    """The heads of pictures, in their order.

    Args:
        estimator: detector and predictor.
        pictures: the name of each in tables, and its file.
        at_once: pictures whose heads are posed as one batch, at most.
        pixels_at_once: fewer where they have more pixels than this together.
    """
    waiting: list[tuple[str, Picture | None, str]] = []
    pixels = 0
    for name, path in pictures:
        try:
            picture = open_picture(path)
            waiting.append((name, picture, ""))
            pixels += picture.image.size // 3
        except DatasetError as error:
            waiting.append((name, None, str(error)))
        if len(waiting) >= at_once or pixels >= pixels_at_once:
            yield from _answers(estimator, waiting)
            waiting, pixels = [], 0
    yield from _answers(estimator, waiting)


def _answers(estimator: Estimator, waiting: Sequence[tuple[str, Picture | None, str]]) -> Iterator[AnsweredPicture]:
    read = [(name, picture) for name, picture, _ in waiting if picture is not None]
    detector = estimator.detector
    faces = [
        detector.of(name) if isinstance(detector, TableBoxes) else detector(picture.image) for name, picture in read
    ]
    heads = iter(estimator.heads([picture.image for _, picture in read], faces))
    for name, picture, failure in waiting:
        yield AnsweredPicture(name, picture, [] if picture is None else next(heads), failure)
