"""How fast is a film answered, and how steady are its poses? `python -m benchmarks.predict FILM --model RUN`

    python -m benchmarks.predict FILM --model RUN --model fsanet=DESCRIPTION.yaml ... [--steadiness]

Each model goes the whole way of `rankpose.predict`: decode, detect, follow, crop, network, smooth, draw, encode. Prints
each step's milliseconds a frame and share, frames a second with and without encoding, and last JSON. A model is a run,
a checkpoint or an ONNX file with its description, with a name before it if one likes; all of them are behind the same
detector in the same process. `--steadiness` adds the standard deviation of the second difference of each angle,
degrees, with and without smoothing.
"""

import argparse
import json
import os
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

from benchmarks.machine import describe
from rankpose.answers.drawing import draw_heads
from rankpose.answers.film_file import FilmFile
from rankpose.answers.films import FilmPoses
from rankpose.faces.centerface import CenterFace
from rankpose.faces.films import Film, Frame, read_ahead
from rankpose.faces.smoothing import OneEuro
from rankpose.pose import ANGLES
from rankpose.predictors.load import Estimator, load

STEPS = ("decode", "detect", "follow", "crop", "network", "smooth", "draw", "encode")


def whole_way(estimator: Estimator, film: Path, every: int, size: int) -> tuple[dict[str, float], int]:
    """Seconds that each step takes, one after the other, and the number of frames."""
    seconds = dict.fromkeys(STEPS, 0.0)

    def timed(frames: Iterator[Frame]) -> Iterator[Frame]:
        while True:
            begun = perf_counter()
            frame = next(frames, None)
            seconds["decode"] += perf_counter() - begun
            if frame is None:
                return
            yield frame

    count = 0
    with tempfile.TemporaryDirectory() as folder, Film(film) as source:
        poses = FilmPoses(estimator, source.rate, every, size)
        out = FilmFile(Path(folder) / "out.mp4", source)
        for seen in poses(timed(source.frames())):
            begun = perf_counter()
            drawn = draw_heads(seen.frame.image, seen.heads, seen.people, "axes")
            between = perf_counter()
            out.write(seen.frame, drawn)
            seconds["draw"] += between - begun
            seconds["encode"] += perf_counter() - between
            count += 1
        begun = perf_counter()
        out.close()
        seconds["encode"] += perf_counter() - begun
        seconds |= poses.seconds
    return seconds, count


def frames_a_second(estimator: Estimator, film: Path, every: int, size: int, draw: bool) -> float:
    """As the command works, decoding beside the rest; all but encoding."""
    with Film(film) as source:
        poses = FilmPoses(estimator, source.rate, every, size)
        begun, count = perf_counter(), 0
        for seen in poses(read_ahead(source)):
            if draw:
                draw_heads(seen.frame.image, seen.heads, seen.people, "axes")
            count += 1
        return count / (perf_counter() - begun)


def unsteadiness(estimator: Estimator, film: Path, every: int, size: int, smooth: bool) -> dict[str, float]:
    """Standard deviation of the second difference of each angle of the first person, degrees."""
    with Film(film) as source:
        poses = FilmPoses(estimator, source.rate, every, size, smoothing=OneEuro if smooth else None)
        found = [
            [head.yaw, head.pitch, head.roll]
            for seen in poses(read_ahead(source))
            for head, person in zip(seen.heads, seen.people, strict=True)
            if person == 1
        ]
    return dict(zip(ANGLES, np.diff(np.array(found), n=2, axis=0).std(axis=0).round(3).tolist(), strict=True))


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("film", type=Path)
    parser.add_argument("--model", action="append", required=True, help="[NAME=]RUN, checkpoint or ONNX file; several")
    parser.add_argument("--every", type=int, default=3, help="as film.every")
    parser.add_argument("--size", type=int, default=320, help="as film.size")
    parser.add_argument("--repeats", type=int, default=3, help="of each measurement; the quickest counts")
    parser.add_argument("--steadiness", action="store_true", help="measure this as well")
    options = parser.parse_args(arguments)
    results: dict[str, Any] = {}
    for given in options.model:
        name, _, path = given.rpartition("=")
        estimator = load(path, CenterFace())
        film = (options.film, options.every, options.size)
        runs = [whole_way(estimator, *film) for _ in range(options.repeats)]
        seconds, count = min(runs, key=lambda run: sum(run[0].values()))
        rate = max(frames_a_second(estimator, *film, draw=True) for _ in range(options.repeats))
        name = name or Path(path).stem
        total = sum(seconds.values())
        print(f"\n{name}: {rate:.1f} frames a second without encoding, {count / total:.1f} one step after the other")
        print(f"{'step':>10} {'ms a frame':>12} {'share':>7}")
        for step in STEPS:
            print(f"{step:>10} {1000 * seconds[step] / count:>12.2f} {seconds[step] / total:>7.0%}")
        results[name] = {"frames_a_second": round(rate, 1)}
        results[name]["ms"] = {step: round(1000 * value / count, 2) for step, value in seconds.items()}
        if options.steadiness:
            for kind, smooth in (("as predicted", False), ("smoothed", True)):
                results[name][kind] = unsteadiness(estimator, *film, smooth)
                print(f"second difference, {kind}: {results[name][kind]}")
    threads = os.environ.get("OMP_NUM_THREADS", "")
    print(json.dumps(results | {"OMP_NUM_THREADS": threads} | describe("av", "onnxruntime", "opencv-python", "torch")))


if __name__ == "__main__":
    main()
