"""How fast is a film answered, and how steady are its poses? `python -m benchmarks.predict FILM --model RUN`

    python -m benchmarks.predict FILM --model RUN --model fsanet=DESCRIPTION.yaml ... [--steadiness] [--networks]

Each model goes the whole way of `rankpose.predict`: decode, detect, follow, crop, network, smooth, draw, encode. Prints
each step's milliseconds a frame and share, frames a second with and without encoding, and last JSON. A model is a run,
a checkpoint or an ONNX file with its description, with a name before it if one likes; all of them are behind the same
detector in the same process; `--mediapipe` adds the mesh of MediaPipe's Face Landmarker, which then looks once a frame.
`--steadiness` adds the standard deviation of the second difference of each angle, degrees, with and without smoothing;
`--networks` the processor time that each network alone takes for a face, ours in torch, torch.compile, and ONNX Runtime
with float32 and int8, and with `--aflw2000` how wrong each of these is on those photographs.
"""

import argparse
import json
import os
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from time import perf_counter, process_time
from typing import Any

import numpy as np

from benchmarks.machine import describe
from benchmarks.networks import Mesh, Timed, faces_of, networks, table
from rankpose.answers.drawing import draw_heads
from rankpose.answers.film_file import FilmFile
from rankpose.answers.films import FilmPoses
from rankpose.data.readers.aflw2000 import read_aflw2000
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


def frames_a_second(estimator: Estimator, film: Path, every: int, size: int, draw: bool) -> tuple[float, float]:
    """As the command works, decoding beside the rest; all but encoding. And milliseconds of processor time a frame."""
    with Film(film) as source:
        poses = FilmPoses(estimator, source.rate, every, size)
        begun, computed, count = perf_counter(), process_time(), 0
        for seen in poses(read_ahead(source)):
            if draw:
                draw_heads(seen.frame.image, seen.heads, seen.people, "axes")
            count += 1
        return count / (perf_counter() - begun), 1000 * (process_time() - computed) / count


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


def speed(name: str, estimator: Estimator, film: tuple[Path, int, int], repeats: int) -> dict[str, Any]:
    """Measures the whole way and prints it."""
    runs = [whole_way(estimator, *film) for _ in range(repeats)]
    seconds, count = min(runs, key=lambda run: sum(run[0].values()))
    rates, computed = zip(*(frames_a_second(estimator, *film, draw=True) for _ in range(repeats)), strict=True)
    rate, processor = max(rates), min(computed)
    total = sum(seconds.values())
    print(f"\n{name}: {rate:.1f} frames a second without encoding, {count / total:.1f} one step after the other")
    print(f"{processor:.1f} ms of processor time a frame without encoding")
    print(f"{'step':>10} {'ms a frame':>12} {'share':>7}")
    for step in STEPS:
        print(f"{step:>10} {1000 * seconds[step] / count:>12.2f} {seconds[step] / total:>7.0%}")
    return {
        "frames_a_second": round(rate, 1),
        "processor_ms": round(processor, 1),
        "ms": {step: round(1000 * value / count, 2) for step, value in seconds.items()},
    }


def _named(given: str) -> tuple[str, str]:
    name, _, path = given.rpartition("=")
    return name, path


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("film", type=Path)
    parser.add_argument("--model", action="append", required=True, help="[NAME=]RUN, checkpoint or ONNX file; several")
    parser.add_argument("--mediapipe", type=Path, help="face_landmarker.task, as a further model")
    parser.add_argument("--every", type=int, default=3, help="as film.every")
    parser.add_argument("--size", type=int, default=320, help="as film.size")
    parser.add_argument("--repeats", type=int, default=3, help="of each measurement; the quickest counts, 0: none")
    parser.add_argument("--steadiness", action="store_true", help="measure this as well")
    parser.add_argument("--networks", action="store_true", help="time each network alone as well")
    parser.add_argument("--batch", type=int, default=8, help="faces of a batch there, as film.frames")
    parser.add_argument("--seconds", type=float, default=2.0, help="that each network is timed for")
    parser.add_argument("--aflw2000", type=Path, help="folder of photographs, for the error of each network")
    options = parser.parse_args(arguments)
    results: dict[str, Any] = {}
    timed: list[Timed] = []
    photographs = read_aflw2000(options.aflw2000) if options.aflw2000 else None
    # on the CPU, as the others
    models = {name or Path(path).stem: load(path, CenterFace(), "cpu") for name, path in map(_named, options.model)}
    if options.mediapipe:
        models["mediapipe"] = Estimator(Mesh(options.mediapipe), CenterFace())
    for name, estimator in models.items():
        film = (options.film, options.every, options.size)
        results[name] = {}
        if options.repeats:
            results[name] = speed(name, estimator, film, options.repeats)
        if options.steadiness:
            for kind, smooth in (("as predicted", False), ("smoothed", True)):
                results[name][kind] = unsteadiness(estimator, *film, smooth)
                print(f"second difference, {kind}: {results[name][kind]}")
        if options.networks:
            with Film(options.film) as source:
                every = islice(source.frames(), 0, None, 5)
                crops = faces_of(estimator, [frame.image for frame in islice(every, options.batch)])
            for one in networks(name, estimator.predictor, crops, photographs, options.seconds):
                print(f"{one.name}: {one.together_ms:.2f} ms a face of a batch")
                timed.append(one)
    if timed:
        print(f"\n{table(timed)}")
        results["networks"] = [asdict(one) for one in timed]
    threads = os.environ.get("OMP_NUM_THREADS", "")
    print(json.dumps(results | {"OMP_NUM_THREADS": threads} | describe("av", "onnxruntime", "opencv-python", "torch")))


if __name__ == "__main__":
    main()
