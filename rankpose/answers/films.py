"""From the frames of a film to the heads in them: found, followed, posed and smoothed."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from time import perf_counter

import numpy as np
import torch

from rankpose.answers.rows import Row, row_of
from rankpose.errors import ConfigError
from rankpose.faces import Face
from rankpose.faces.films import Frame
from rankpose.faces.following import Follower
from rankpose.faces.smoothing import OneEuro
from rankpose.pose import rotmat_to_euler
from rankpose.predictors.load import Estimator, Head


@dataclass(frozen=True, eq=False)
class Seen:
    """A frame and who is in it."""

    frame: Frame
    heads: Sequence[Head]
    people: Sequence[int]
    """Of each head the person, from 1."""


def film_rows(name: str, seen: Seen) -> list[Row]:
    """The rows of a frame for the table of poses, of a film that is called `name` there."""
    place = (seen.frame.number, seen.frame.time)
    if not seen.heads:
        return [row_of(name, None, None, *place)]
    return [row_of(name, head, person, *place) for head, person in zip(seen.heads, seen.people, strict=True)]


Located = tuple[Frame, dict[int, Face]]


class FilmPoses:
    """Called with a film's frames, it gives the same frames with the heads in them, in order.

    Args:
        estimator: detector and predictor.
        rate: of the film, frames a second.
        every: the detector sees every so many-th frame; between two of these, boxes move evenly from one to the next.
        size: the longer side of the frames as the detector sees them, pixels; None takes the detector's own.
        frames: that wait for each other to be posed as one batch.
        smoothing: makes a filter of rotations for each person; None leaves poses as they are predicted.
        patience_s: see `Follower`.

    Raises:
        ConfigError: `every` or `frames` below 1.
    """

    def __init__(
        self,
        estimator: Estimator,
        rate: float,
        every: int = 1,
        size: int | None = None,
        frames: int = 8,
        smoothing: Callable[[], OneEuro] | None = OneEuro,
        patience_s: float = 2.0,
    ) -> None:
        for name, value in (("every", every), ("frames", frames)):
            if value < 1:
                raise ConfigError(f"{name}={value}: must be at least 1.")
        self.estimator, self.every, self.frames, self._smoothing = estimator, every, frames, smoothing
        self._detector = estimator.detector.for_films(size)
        self._follower = Follower(rate, estimator.detector.min_score, patience_s)
        self._filters: dict[int, OneEuro] = {}
        self.seconds: dict[str, float] = dict.fromkeys(("detect", "follow", "crop", "network", "smooth"), 0.0)
        """What each step has taken so far."""

    def __call__(self, frames: Iterable[Frame]) -> Iterator[Seen]:
        waiting: list[Located] = []
        for located in self._located(frames):
            waiting.append(located)
            if len(waiting) >= self.frames:
                yield from self._posed(waiting)
                waiting = []
        yield from self._posed(waiting)

    def _located(self, frames: Iterable[Frame]) -> Iterator[Located]:
        before: Located | None = None
        between: list[Frame] = []
        for frame in frames:
            if frame.number % self.every:
                between.append(frame)
                continue
            now = frame, self._people(frame)
            yield from _moved(before, between, now)
            yield now
            before, between = now, []
        yield from _moved(before, between, None)

    def _people(self, frame: Frame) -> dict[int, Face]:
        with self._timed("detect"):
            faces = self._detector(frame.image)
        with self._timed("follow"):
            people = self._follower(faces, frame.time)
        known = {person: face for person, face in zip(people, faces, strict=True) if person is not None}
        return dict(sorted(known.items()))

    def _posed(self, located: Sequence[Located]) -> Iterator[Seen]:
        with self._timed("crop"):
            crops = [self.estimator.crop(frame.image, face) for frame, found in located for face in found.values()]
        with self._timed("network"):
            posed = iter(self.estimator.posed(crops, [face for _, found in located for face in found.values()]))
        seen = [
            (frame, {person: head for person in found if (head := next(posed)) is not None}) for frame, found in located
        ]
        with self._timed("smooth"):
            who = [(person, frame.time) for frame, heads in seen for person in heads]
            smoothed = iter(self._smoothed([head for _, heads in seen for head in heads.values()], who))
        for frame, heads in seen:
            yield Seen(frame, [next(smoothed) for _ in heads], list(heads))

    def _smoothed(self, heads: Sequence[Head], who: Sequence[tuple[int, float]]) -> Sequence[Head]:
        """Heads with the person and time of each, in the order of time."""
        if self._smoothing is None or not heads:
            return heads
        rotations = []
        for head, (person, time) in zip(heads, who, strict=True):
            if person not in self._filters:
                self._filters[person] = self._smoothing()
            rotations.append(self._filters[person](head.rotation, time))
        poses = rotmat_to_euler(torch.from_numpy(np.stack(rotations))).tolist()
        return [
            replace(head, rotation=rotation, yaw=yaw, pitch=pitch, roll=roll)
            for head, rotation, (yaw, pitch, roll) in zip(heads, rotations, poses, strict=True)
        ]

    @contextmanager
    def _timed(self, step: str) -> Iterator[None]:
        begun = perf_counter()
        yield
        self.seconds[step] += perf_counter() - begun


def _moved(before: Located | None, between: Sequence[Frame], after: Located | None) -> Iterator[Located]:
    """The frames between two in which faces were looked for, with boxes on the way from one to the other.

    Who is in only one of the two is taken to be there in the half that is nearer to it.
    """
    if before is None:
        return
    (first, had), (last, have) = before, after or (None, {})
    for frame in between:
        share = 0.0 if last is None else (frame.time - first.time) / max(last.time - first.time, 1e-9)
        found = {}
        for person in sorted({*had, *have}):
            one, other = had.get(person), have.get(person)
            if one is not None and other is not None:
                box = (1 - share) * np.array(one.box) + share * np.array(other.box)
                left, top, right, bottom = box.tolist()
                found[person] = Face((left, top, right, bottom), (1 - share) * one.score + share * other.score)
            elif one is not None and (share < 0.5 or last is None):
                found[person] = one
            elif other is not None and share >= 0.5:
                found[person] = other
        yield frame, found
