"""How do drawn frames become a film that every browser plays? H.264 and the film's own sound, in an MP4 file."""

import contextlib
import os
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.error import FFmpegError
from av.video.reformatter import ColorRange, Colorspace

from rankpose.errors import DatasetError, first_line
from rankpose.faces.films import Camera, Film, Frame
from rankpose.files import NO_ROOM, no_room_for

KEPT = ("aac", "mp3", "opus", "flac")
"""Kinds of sound that browsers play in such a file; others become AAC."""
_BT709 = 1
"""As H.264 numbers primaries, transfer and matrix of high-definition television."""


class FilmFile:
    """A film that is being written. It has its name only once it is closed, and then it is whole.

    Args:
        path: of the film, ends with `.mp4`.
        source: what it is made from: rate, time base, sound.
        quality: constant rate factor of H.264, 0 to 51; lower is better and larger.
        preset: how long the encoder may look for a smaller file, as x264 names it.

    Raises:
        DatasetError: on any call, where the file cannot be written: names it and the reason.
    """

    def __init__(self, path: Path, source: Film | Camera, quality: int = 20, preset: str = "veryfast") -> None:
        self.path, self._source, self._quality, self._preset = path, source, quality, preset
        path.parent.mkdir(parents=True, exist_ok=True)
        self._temporary = path.with_name(f".{path.name}.{os.getpid()}")
        self._container = av.open(str(self._temporary), "w", format="mp4", options={"movflags": "+faststart"})
        self._stream: Any = None
        self._last = -1
        self._sound: Any = None
        self._encodes = False
        self.silent = False
        """Whether the source has sound that this film cannot take."""
        self._early: list[Any] = []
        """Packets of sound that came before the first frame."""

    def write(self, frame: Frame, image: np.ndarray) -> None:
        """Adds a frame.

        Args:
            frame: says the time.
            image: (H, W, 3) uint8, red first, what is shown; all of one size.
        """
        try:
            image = _even(image)
            if self._stream is None:
                self._add_pictures(*image.shape[1::-1])
            if image.shape[1::-1] != (self._stream.width, self._stream.height):  # a film whose size changes midway
                image = _fitted(image, self._stream.width, self._stream.height)
            shown = av.VideoFrame.from_ndarray(image, format="rgb24").reformat(
                format="yuv420p", dst_colorspace=Colorspace.ITU709, dst_color_range=ColorRange.MPEG
            )
            shown.time_base = self._source.time_base
            stamp = round(frame.time / self._source.time_base)
            self._last = shown.pts = max(stamp, self._last + 1)
            self._container.mux(self._stream.encode(shown))
        except (FFmpegError, OSError) as error:
            raise self._failure(error) from error

    def sound(self, packet: Any) -> None:
        """Adds a packet of the source's sound."""
        if self._stream is None:
            self._early.append(packet)
            return
        if self._sound is None:
            return
        try:
            shift = round(self._source.start / packet.time_base)
            packet.pts = None if packet.pts is None else packet.pts - shift
            packet.dts = None if packet.dts is None else packet.dts - shift
            if not self._encodes:
                packet.stream = self._sound
                self._container.mux(packet)
                return
            for heard in packet.decode():
                for resampled in self._resampler.resample(heard):
                    self._container.mux(self._sound.encode(resampled))
        except av.error.InvalidDataError:
            return  # a damaged piece of sound is left out
        except (FFmpegError, OSError) as error:
            raise self._failure(error) from error

    def close(self) -> bool:
        """Ends the film and gives it its name; without a frame there is none. Whether there is one."""
        try:
            if self._stream is None:
                return False
            self._container.mux(self._stream.encode(None))
            if self._encodes:
                self._container.mux(self._sound.encode(None))
            self._container.close()
            self._temporary.replace(self.path)
            return True
        except (FFmpegError, OSError) as error:
            raise self._failure(error) from error
        finally:
            self.discard()

    def discard(self) -> None:
        """Leaves nothing of a film that is not closed."""
        with contextlib.suppress(FFmpegError, OSError):
            self._container.close()
        self._temporary.unlink(missing_ok=True)

    def _add_pictures(self, width: int, height: int) -> None:
        rate = Fraction(self._source.rate).limit_denominator(100_000)
        self._stream = self._container.add_stream("libx264", rate=rate)
        self._stream.width, self._stream.height, self._stream.pix_fmt = width, height, "yuv420p"
        # players guess the colours of what does not say them, each in its own way
        context = self._stream.codec_context
        context.colorspace = context.color_primaries = context.color_trc = _BT709
        context.color_range = ColorRange.MPEG
        self._stream.options = {"crf": str(self._quality), "preset": self._preset}
        self._stream.time_base = self._stream.codec_context.time_base = self._source.time_base
        if self._source.sound is not None:
            self._add_sound(self._source.sound)
        for packet in self._early:
            self.sound(packet)
        self._early = []

    def _add_sound(self, source: Any) -> None:
        self._encodes = source.codec_context.name not in KEPT
        try:
            if not self._encodes:
                self._sound = self._container.add_stream_from_template(source)
                return
            self._sound = self._container.add_stream("aac", rate=source.codec_context.sample_rate)
            self._resampler = av.AudioResampler("fltp", "stereo", source.codec_context.sample_rate)
        except (FFmpegError, ValueError):
            self._sound, self._encodes = None, False  # a film without its sound is better than none
            self.silent = True

    def _failure(self, error: Exception) -> DatasetError:
        if isinstance(error, OSError) and error.errno in NO_ROOM:
            return DatasetError(f"{self.path}: {no_room_for('the film', self.path.parent, error)}.")
        return DatasetError(f"{self.path}: cannot be written ({first_line(error)}).")


def _even(image: np.ndarray) -> np.ndarray:
    """With a last line and column once more where there is an odd number: H.264 halves the colours' resolution."""
    height, width = image.shape[:2]
    if height % 2 or width % 2:
        image = np.pad(image, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
    return np.ascontiguousarray(image)


def _fitted(image: np.ndarray, width: int, height: int) -> np.ndarray:
    import cv2

    return cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)
