"""How does a film become upright RGB frames with their times? By PyAV, which carries FFmpeg's libraries.

A film that breaks off gives what can be read, and says so afterwards (`Film.damage`).
"""

from collections.abc import Callable, Generator
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from pathlib import Path
from queue import Full, Queue
from threading import Event, Thread
from typing import Any

import av
import cv2
import numpy as np
from av.error import FFmpegError

from rankpose.errors import ConfigError, DatasetError, first_line

av.logging.set_level(av.logging.PANIC)  # what FFmpeg says of a damaged file is told by us, in one line

_BAD_PACKETS = 1000
"""So many in a row that cannot be decoded, and the rest of a film is given up."""


@dataclass(frozen=True, eq=False)
class Frame:
    """One frame of a film."""

    number: int
    """From 0."""
    time: float
    """Seconds from the film's start."""
    image: np.ndarray
    """(H, W, 3) uint8, red first, upright."""
    stamp: int | None = None
    """Its time as the file has it, in units of `Film.time_base`; None of a camera."""


class Film:
    """A film's file, opened.

    Args:
        path: of the file.

    Raises:
        DatasetError: it cannot be opened, or has no pictures that can be decoded: names the file and the reason.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        try:
            # an edit list says when pictures and sound begin, which counts, and which pictures are hidden; these are
            # kept, as a table has a row for every frame of the file
            options = {"advanced_editlist": "0"}
            self._container = av.open(str(self.path), "r", metadata_errors="ignore", options=options)
        except (FFmpegError, OSError, ValueError) as error:
            said = getattr(error, "strerror", None) or first_line(error)
            raise DatasetError(f"{self.path}: is no film that can be read ({said}).") from error
        films = [one for one in self._container.streams.video if one.codec_context is not None]
        if not films:
            self.close()
            raise DatasetError(f"{self.path}: has no moving pictures.")
        self._stream = films[0]
        self._stream.thread_type = "AUTO"
        self.sound = next((one for one in self._container.streams.audio if one.codec_context is not None), None)
        """PyAV's stream of sound, None where there is none."""
        self.time_base: Fraction = self._stream.time_base or Fraction(1, 90_000)
        self.rate = float(self._stream.average_rate or self._stream.guessed_rate or 25)
        """Frames a second, on average."""
        self.expected = self._stream.frames or round(self._seconds() * self.rate)
        """How many frames it has, as its header says; 0 where that says nothing."""
        start = self._container.start_time
        self.start = Fraction(start, av.time_base) if start is not None else Fraction(0)
        """Of its first picture or sound, seconds."""
        self.note = (
            f"its edit list hides the first {-float(self.start):.1f} s, which are taken too"
            if self.start < -0.5
            else ""
        )
        """What else a user should know of it."""
        self.damage = ""
        """What could not be read, once `frames` is through; empty where all could."""

    def frames(self, on_sound: Callable[[Any], None] | None = None) -> Generator[Frame, None, None]:
        """All frames, once.

        Args:
            on_sound: gets PyAV's packets of sound as they come.
        """
        streams = [self._stream, *([self.sound] if self.sound is not None and on_sound is not None else [])]
        number, bad, in_a_row, last, broken = 0, 0, 0, -1.0, ""
        packets = self._container.demux(*streams)
        while in_a_row < _BAD_PACKETS:
            try:
                packet = next(packets)
            except StopIteration:
                break
            except (FFmpegError, OSError) as error:
                broken = first_line(error)
                break
            if self.sound is not None and packet.stream.index == self.sound.index:
                if on_sound is not None and packet.dts is not None:
                    on_sound(packet)
                continue
            try:
                decoded: list[Any] = packet.decode()
                in_a_row = 0
            except FFmpegError:
                bad, in_a_row = bad + 1, in_a_row + 1
                continue
            for one in decoded:
                time = number / self.rate if one.pts is None else float(one.pts * self.time_base - self.start)
                time = max(time, last + 1e-6)  # a damaged film may go back
                yield Frame(number, time, self._pixels(one), one.pts)
                number, last = number + 1, time
        self.damage = self._damage(number, bad, broken)

    def close(self) -> None:
        self._container.close()

    def __enter__(self) -> "Film":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _seconds(self) -> float:
        if self._stream.duration and self._stream.time_base:
            return float(self._stream.duration * self._stream.time_base)
        return float(self._container.duration or 0) / av.time_base

    def _pixels(self, frame: Any) -> np.ndarray:
        ratio = float(self._stream.sample_aspect_ratio or 1)
        width = frame.width if not 0.1 < ratio < 10 else max(1, round(frame.width * ratio))
        pixels = frame.to_ndarray(format="rgb24", width=width, height=frame.height)
        turns = round((frame.rotation or 0) / 90) % 4  # counter-clockwise, as a phone wants its film shown
        return np.ascontiguousarray(np.rot90(pixels, turns)) if turns else pixels

    def _damage(self, number: int, bad: int, broken: str) -> str:
        if broken:
            return f"breaks off after {number} frames ({broken})"
        if self._stream.frames and number < self._stream.frames - max(1, self._stream.frames // 100):
            return f"breaks off after {number} of {self._stream.frames} frames"
        return f"has {bad} parts that cannot be decoded" if bad else ""


class Camera:
    """A camera, opened.

    Args:
        source: its number; or whatever else OpenCV captures from.

    Raises:
        ConfigError: there is no such camera.
    """

    expected = 0
    damage = note = ""
    sound = None
    time_base = Fraction(1, 90_000)
    start = Fraction(0)

    def __init__(self, source: int | str) -> None:
        level = cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
        try:
            self._capture = cv2.VideoCapture(source)
        finally:
            cv2.utils.logging.setLogLevel(level)
        if not self._capture.isOpened():
            raise ConfigError(f"input={source}: there is no such camera here; the first one is 0.")
        self.rate = min(max(self._capture.get(cv2.CAP_PROP_FPS) or 30.0, 1.0), 240.0)

    def frames(self, on_sound: Callable[[Any], None] | None = None) -> Generator[Frame, None, None]:
        """Frames as they come, with the times at which they came, until the camera gives none."""
        from time import monotonic

        begun, number = monotonic(), 0
        while True:
            there, image = self._capture.read()
            if not there:
                return
            yield Frame(number, monotonic() - begun, cv2.cvtColor(image, cv2.COLOR_BGR2RGB))
            number += 1

    def close(self) -> None:
        self._capture.release()

    def __enter__(self) -> "Camera":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def read_ahead(
    source: Film, on_sound: Callable[[Any], None] | None = None, depth: int = 8
) -> Generator[Frame, None, None]:
    """The frames of `source.frames`, decoded by a thread of their own while others are worked on.

    Args:
        source: the film.
        on_sound: gets packets of sound, in the thread of the caller.
        depth: frames and packets that may wait.

    Raises:
        Exception: whatever reading raises.
    """
    waiting: Queue[tuple[str, Any]] = Queue(maxsize=depth)
    left = Event()

    def put(kind: str, what: Any) -> None:
        while not left.is_set():
            try:
                return waiting.put((kind, what), timeout=0.1)
            except Full:
                continue

    def read() -> None:
        try:
            for frame in source.frames(None if on_sound is None else partial(put, "sound")):
                if left.is_set():
                    return
                put("frame", frame)
            put("end", None)
        except BaseException as error:
            put("error", error)

    reader = Thread(target=read, name="film", daemon=True)
    reader.start()
    try:
        while True:
            kind, what = waiting.get()
            if kind == "frame":
                yield what
            elif kind == "sound" and on_sound is not None:
                on_sound(what)
            elif kind == "error":
                raise what
            elif kind == "end":
                return
    finally:
        left.set()
        reader.join()
