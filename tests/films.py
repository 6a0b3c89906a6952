"""Films for tests: made of frames, with sound, turned as a phone does it, or cut off."""

import subprocess
from fractions import Fraction
from pathlib import Path

import av
import numpy as np


def write_film(path, frames, times=None, rate=25, sound=True):
    """A film of frames (H, W, 3) uint8; at the given times in seconds, else evenly."""
    with av.open(str(path), "w") as container:
        pictures = container.add_stream("libx264", rate=rate)
        pictures.height, pictures.width = frames[0].shape[:2]
        pictures.pix_fmt, pictures.options = "yuv420p", {"crf": "12", "preset": "ultrafast"}
        pictures.codec_context.time_base = Fraction(1, 1000)
        heard = container.add_stream("aac", rate=16_000, layout="mono") if sound else None
        for number, frame in enumerate(frames):
            shown = av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24")
            shown.time_base = Fraction(1, 1000)
            shown.pts = round(1000 * (number / rate if times is None else times[number]))
            container.mux(pictures.encode(shown))
        container.mux(pictures.encode(None))
        if heard is not None:
            wave = 0.2 * np.sin(np.arange(16_000 * len(frames) // rate) * 0.2)
            for start in range(0, len(wave) - 1024, 1024):
                piece = av.AudioFrame.from_ndarray(wave[None, start : start + 1024].astype(np.float32), "fltp", "mono")
                piece.sample_rate, piece.pts, piece.time_base = 16_000, start, Fraction(1, 16_000)
                container.mux(heard.encode(piece))
            container.mux(heard.encode(None))
    return path


def ffmpeg(*arguments):
    """Runs the program that the package `imageio-ffmpeg` carries."""
    from imageio_ffmpeg import get_ffmpeg_exe

    subprocess.run([get_ffmpeg_exe(), "-loglevel", "error", "-y", *map(str, arguments)], check=True)


def read_film(path):
    """The frames as arrays, their times in seconds, and the kinds of streams."""
    with av.open(str(path)) as container:
        kinds = [(stream.type, stream.codec_context.name) for stream in container.streams]
        decoded = list(container.decode(video=0))
        return [frame.to_ndarray(format="rgb24") for frame in decoded], [frame.time for frame in decoded], kinds


def crossing(one, other, count=50, size=(256, 640)):
    """Frames in which `one` goes to the right before `other`, which goes to the left; both are square pictures.

    Returns:
        frames, and where the middle of `one` is in each, pixels from the left.
    """
    height, width = size
    side = one.shape[0]
    grey = np.full((height, width, 3), 128, np.uint8)
    frames, middles = [], []
    for share in np.linspace(0, 1, count):
        frame = grey.copy()
        away = round(share * (width - side))
        frame[32 : 32 + side, width - side - away : width - away] = other
        frame[32 : 32 + side, away : away + side] = one
        frames.append(frame)
        middles.append(away + side / 2)
    return frames, middles


def cut(path: Path, out: Path, share: float) -> Path:
    """The first part of a file."""
    content = path.read_bytes()
    out.write_bytes(content[: round(share * len(content))])
    return out
