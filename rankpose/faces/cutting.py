"""Which faces of a photograph or a film are worth a label? Each cut out, with its box in the cut-out.

A cut-out has room for every crop that training may draw of it, and no more pixels than networks see: it reads in a
fraction of the time that the photograph takes. Frames that follow each other show the same head in the same pose, so a
film gives few of each person, spread over its length.
"""

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from typing import Annotated

import cv2
import numpy as np
from annotated_types import Ge

from rankpose.checks import Count, NotNegative, checked
from rankpose.faces import FaceDetector
from rankpose.faces.films import Film, read_ahead
from rankpose.faces.following import Follower

_THUMBNAIL = (32, 18)
_OTHER_SCENE = 25.0
"""Mean difference of grey levels between two frames, 0 to 255, from which on they are of two scenes."""


@dataclass(frozen=True, eq=False)
class CutOut:
    """A face that was cut out of a picture."""

    image: np.ndarray
    """(H, W, 3) uint8, red first."""
    face_box: np.ndarray
    """(4,) left, top, right, bottom of the square around the landmarks, pixels of the cut-out."""


@checked("faces.")
@dataclass(frozen=True)
class Scissors:
    """Cuts faces out of a picture; see `conf/label.yaml` for what the numbers mean."""

    room: Annotated[float, Ge(1)] = 2.4
    size: Annotated[int, Ge(32)] = 384
    min_side: NotNegative = 32.0

    def __call__(self, image: np.ndarray, face_box: np.ndarray) -> CutOut | None:
        """The square about a face, as far as it lies in the picture; None where the face is too small.

        Args:
            image: (H, W, 3) uint8.
            face_box: (4,) left, top, right, bottom of the square around the landmarks, pixels.
        """
        side = float((face_box[2:] - face_box[:2]).max())
        if side < self.min_side:
            return None
        middle, half = (face_box[:2] + face_box[2:]) / 2, self.room * side / 2
        low = np.maximum(np.floor(middle - half), 0).astype(int)
        high = np.minimum(np.ceil(middle + half) + 1, image.shape[1::-1]).astype(int)
        if (high - low < 2).any():
            return None
        cut = image[low[1] : high[1], low[0] : high[0]]
        factor = min(1.0, self.size / (2 * half))
        if factor < 1:
            width, height = np.maximum(np.round(factor * (high - low)), 1).astype(int)
            cut = cv2.resize(cut, (int(width), int(height)), interpolation=cv2.INTER_AREA)
        scale = np.array(cut.shape[1::-1]) / (high - low)
        # edges of the cut-out stay edges; a pixel's centre is half a pixel from its edge
        return CutOut(cut, (face_box - np.tile(low, 2) + 0.5) * np.tile(scale, 2) - 0.5)


@checked("film.")
@dataclass(frozen=True)
class FilmSampling:
    """Which frames of a film are looked at, and which faces are taken; see `conf/label.yaml`."""

    every: Count = 3
    apart_s: NotNegative = 0.5
    most: Annotated[int, Ge(2)] = 100
    size: Annotated[int, Ge(32)] | None = None
    patience_s: NotNegative = 2.0


@dataclass(frozen=True, eq=False)
class PersonSeen:
    """Somebody's face in a frame of a film."""

    person: int
    """From 1; after a change of scene everybody has another number."""
    frame: int
    time: float
    """Seconds from the film's start."""
    cut: CutOut
    let_go: list[int]
    """Frames of this person that were given before and are too many now."""


@dataclass
class Spread:
    """Says which moments of each person are kept: far enough apart, and at most so many, evenly over the time.

    Args:
        apart_s: seconds between two of them at least.
        most: when there are more, every second one is let go, and those to come lie twice as far apart.
    """

    apart_s: float
    most: int
    _kept: dict[int, list[tuple[float, int]]] = field(default_factory=dict)
    _apart: dict[int, float] = field(default_factory=dict)

    def wants(self, person: int, time: float) -> bool:
        """Whether a face at this time is to be kept."""
        kept = self._kept.get(person)
        return not kept or time >= kept[-1][0] + self._apart.get(person, self.apart_s) - 1e-6

    def keep(self, person: int, time: float, frame: int) -> list[int]:
        """Keeps a face; gives the frames of those that are let go for it."""
        kept = self._kept.setdefault(person, [])
        kept.append((time, frame))
        if len(kept) <= self.most:
            return []
        # where every frame is kept, the distance is that of two frames
        self._apart[person] = 2 * max(self._apart.get(person, self.apart_s), kept[1][0] - kept[0][0])
        self._kept[person] = kept[::2]
        return [frame for _, frame in kept[1::2]]


def faces_in(image: np.ndarray, detector: FaceDetector, scissors: Scissors) -> list[CutOut]:
    """The faces of a photograph, the largest first."""
    boxes = [detector.to_face_box(face.box) for face in detector(image)]
    boxes.sort(key=lambda box: box[0] - box[2])
    return [cut for box in boxes if (cut := scissors(image, box)) is not None]


def people_in(
    film: Film, detector: FaceDetector, scissors: Scissors, sampling: FilmSampling
) -> Iterator[list[PersonSeen]]:
    """Follows the people of a film: for each of its frames, the faces that are kept of it."""
    looking, spread = detector.for_films(sampling.size), Spread(sampling.apart_s, sampling.most)

    def new_follower() -> Follower:
        return Follower(film.rate, detector.min_score, sampling.patience_s)

    follower, thumbnail, before, last = new_follower(), None, 0, 0
    with closing(read_ahead(film)) as frames:
        for frame in frames:
            seen: list[PersonSeen] = []
            if frame.number % sampling.every == 0:
                was, thumbnail = thumbnail, _thumbnail(frame.image)
                if was is not None and np.abs(thumbnail - was).mean() > _OTHER_SCENE:
                    # somebody else may be where somebody was
                    follower, before = new_follower(), last
                faces = looking(frame.image)
                for number, face in zip(follower(faces, frame.time), faces, strict=True):
                    person = before + (number or 0)
                    last = max(last, person)
                    if number is None or face.score < detector.min_score or not spread.wants(person, frame.time):
                        continue
                    cut = scissors(frame.image, detector.to_face_box(face.box))
                    if cut is not None:
                        let_go = spread.keep(person, frame.time, frame.number)
                        seen.append(PersonSeen(person, frame.number, frame.time, cut, let_go))
            yield seen


def _thumbnail(image: np.ndarray) -> np.ndarray:
    small = cv2.resize(image, _THUMBNAIL, interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.cvtColor(small, cv2.COLOR_RGB2GRAY), np.float32)
