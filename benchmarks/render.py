"""How fast are heads rendered, finished files included? `python -m benchmarks.render [--identities 60]`

Writes the same set with one process and with one a core into a temporary folder, prints a table and, last, JSON. The
time counts from the first finished person to the last, so that starting processes (once, some seconds) does not enter.
"""

import argparse
import json
import os
import tempfile
import time
from pathlib import Path

from benchmarks.machine import describe
from rankpose.data.synthetic.write import write_synthetic


def images_per_second(identities: int, workers: int) -> float:
    """Finished images a second."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "set"
        write_synthetic(root, {"train": identities}, workers=workers, progress=False)
        written = sorted(path.stat().st_mtime for path in root.glob("SYN_TRAIN/*.mat"))
    # the first person of each process came before the clock starts
    skipped = 16 * workers
    return (len(written) - skipped) / (written[-1] - written[skipped - 1])


def main() -> None:
    """Measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--identities", type=int, default=60, help="people to draw, 16 pictures each")
    arguments = parser.parse_args()
    cores = len(os.sched_getaffinity(0))
    begin = time.time()
    rates = {workers: images_per_second(arguments.identities, workers) for workers in sorted({1, cores})}
    print(f"{'processes':>10} {'images/s':>10} {'ratio':>7}")
    for workers, rate in rates.items():
        print(f"{workers:>10} {rate:>10.0f} {rate / rates[1]:>7.2f}")
    result = {"images_per_second": {str(key): round(value, 1) for key, value in rates.items()}}
    print(json.dumps(result | {"seconds": round(time.time() - begin)} | describe("opencv-python", "numpy")))


if __name__ == "__main__":
    main()
