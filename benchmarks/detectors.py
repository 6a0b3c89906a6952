"""How do detectors' boxes lie to those of 68 landmarks? `python -m benchmarks.detectors FOLDER [--model NAME=FILE]`

FOLDER is AFLW2000-3D's. For each detector of conf/detector whose model is there: heads found and missed among the
photographs within 99 degrees; the side of the landmarks' square over the geometric mean of the box's sides, with its
standard deviation; how far its middle lies lower, over its side; how far aside, as a deviation; and milliseconds a
picture. The means of side and lower are what conf/detector/NAME.yaml has. The last row says how much the crops of
training (augment=geometric) differ from those of a test in the same way. Prints a table and, last, JSON.
"""

import argparse
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from time import perf_counter

import numpy as np

from benchmarks.machine import describe
from rankpose.command.configuration import build, composed
from rankpose.data.augment import Views
from rankpose.data.crop import View, face_points, read_image
from rankpose.data.readers.aflw2000 import read_aflw2000
from rankpose.data.record import Records
from rankpose.errors import ConfigError
from rankpose.faces import FaceDetector
from rankpose.faces.centerface import CenterFace
from rankpose.faces.mediapipe import MediaPipe
from rankpose.faces.mtcnn import Mtcnn
from rankpose.faces.yunet import YuNet

DETECTORS: dict[str, type[FaceDetector]] = {
    "centerface": CenterFace,
    "yunet": YuNet,
    "mediapipe": MediaPipe,
    "mtcnn": Mtcnn,
}


@dataclass(frozen=True)
class Measured:
    """What was found of one detector."""

    found: int
    missed: int
    side: float
    side_deviation: float
    lower: float
    lower_deviation: float
    aside_deviation: float
    ms: float


def measure(detector: FaceDetector, records: Records) -> Measured:
    """The face whose middle is nearest to that of the landmarks counts, up to half their side away."""
    sides, offsets, seconds = [], [], 0.0
    for row in range(len(records)):
        record = records[row]
        image, points = read_image(record.image), face_points(record)
        low, high = points.min(axis=0), points.max(axis=0)
        middle, side = (low + high) / 2, float((high - low).max())
        begun = perf_counter()
        boxes = np.array([face.box for face in detector(image)]).reshape(-1, 4)
        seconds += perf_counter() - begun
        away = np.linalg.norm((boxes[:, :2] + boxes[:, 2:]) / 2 - middle, axis=1)
        if len(boxes) and away.min() <= side / 2:
            box = boxes[away.argmin()]
            sides.append(side / np.sqrt((box[2] - box[0]) * (box[3] - box[1])))
            offsets.append((middle - (box[:2] + box[2:]) / 2) / side)
    across, down = np.array(offsets).T
    return Measured(
        found=len(sides),
        missed=len(records) - len(sides),
        side=float(np.mean(sides)),
        side_deviation=float(np.std(sides)),
        lower=float(down.mean()),
        lower_deviation=float(down.std()),
        aside_deviation=float(across.std()),
        ms=1000 * seconds / len(records),
    )


def drawn(views: Views, count: int = 20_000) -> dict[str, float]:
    """How crops of training differ from those of a test: mean and deviation of their size, and of where they lie.

    Args:
        views: draws them.
        count: how many.
    """
    rng = np.random.default_rng(0)
    seen = [views.draw(rng, rng) for _ in range(count)]
    size = np.array([view.scale / view.zoom for view in seen])
    across, down = (np.array([view.shift for view in seen]) * size[:, None]).T
    return {
        "side": float(size.mean() / View().scale),
        "side_deviation": float(size.std() / View().scale),
        "lower": float(down.mean()),
        "lower_deviation": float(down.std()),
        "aside_deviation": float(across.std()),
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("root", type=Path)
    parser.add_argument("--model", action="append", default=[], help="NAME=FILE, for yunet and mediapipe")
    parser.add_argument("--most", type=int, default=None, help="so many photographs")
    options = parser.parse_args(arguments)
    models = dict(one.split("=", 1) for one in options.model)
    records = read_aflw2000(options.root)
    records = records.select(np.arange(len(records))[: options.most])
    results = {}
    print(f"{'detector':>12} {'found':>6} {'missed':>7} {'side':>14} {'lower':>14} {'aside':>6} {'ms':>6}")
    for name, kind in DETECTORS.items():
        try:
            detector = kind(**({"model": models[name]} if name in models else {}))
        except ConfigError as error:
            print(f"{name:>12} left out: {error}")
            continue
        one = measure(detector, records)
        results[name] = {key: round(value, 3) for key, value in asdict(one).items()}
        side, lower = (
            f"{mean:.3f} ± {deviation:.3f}"
            for mean, deviation in ((one.side, one.side_deviation), (one.lower, one.lower_deviation))
        )
        aside = f"{one.aside_deviation:.3f}"
        print(f"{name:>12} {one.found:>6} {one.missed:>7} {side:>14} {lower:>14} {aside:>6} {one.ms:>6.1f}")
    training = drawn(build(composed("train", ["augment=geometric"]).augment).views)
    results["training"] = {key: round(value, 3) for key, value in training.items()}
    side, lower = (f"{training[key]:.3f} ± {training[f'{key}_deviation']:.3f}" for key in ("side", "lower"))
    print(f"{'training':>12} {'':>6} {'':>7} {side:>14} {lower:>14} {training['aside_deviation']:>6.3f}")
    print(json.dumps(results | describe("onnxruntime", "opencv-python", "numpy")))


if __name__ == "__main__":
    main()
