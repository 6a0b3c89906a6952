"""What does 300W-LP cost at full size? `python -m benchmarks.full_size DIR`

Makes a tree of 7,697 identities and 122,450 images in DIR (2 GB; kept for the next time), then measures, each in a
process of its own: building the annotation index and opening through it, preparing the packed file, opening that to the
first batch with the published augmentation, one epoch of loading, and memory with workers forked and started afresh.
Prints a table and, last, JSON.
"""

import argparse
import json
import multiprocessing
import os
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from benchmarks.data import memory, training_data
from benchmarks.machine import describe
from benchmarks.tree import IMAGES, identities, make_tree
from rankpose.data.readers.index import places
from rankpose.data.readers.w300lp import NAME, read_300w_lp

LIMITS = {
    "index, first time, s": 60,
    "index, afterwards, s": 2,
    "prepare, s": 900,
    "packed, open to first batch, s": 2,
    "packed, main process, MB": 700,
    "packed, a forked worker's own, MB": 250,
    "packed, a fresh worker's own, MB": 250,
}
"""What two cores should stay below."""


def main() -> None:
    """Make the tree, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, metavar="DIR")
    parser.add_argument("--real-data", type=Path, help="folder with 300w_lp/identities.txt, for its names")
    arguments = parser.parse_args()
    root, packed = arguments.folder / "300W_LP", arguments.folder / "300W_LP.arrow"
    if not root.exists():
        unfinished = root.with_name("300W_LP.unfinished")
        make_tree(unfinished, identities(arguments.real_data), IMAGES)
        unfinished.rename(root)
    for place in places(root, NAME):
        place.unlink(missing_ok=True)
    packed.unlink(missing_ok=True)
    results: dict[str, float] = {}
    for step in STEPS:
        command = [sys.executable, "-c", "import benchmarks.full_size as b; b.measure()", step, str(root), str(packed)]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, encoding="utf-8")
        results |= json.loads(done.stdout.splitlines()[-1])
    results["packed, GB"] = packed.stat().st_size / 1e9
    print("| what | measured | at most |\n| --- | --- | --- |")
    for name, value in results.items():
        print(f"| {name} | {value:,.2f} | {LIMITS.get(name, '')} |")
    rounded = {name: round(value, 3) for name, value in results.items()}
    print(json.dumps({"results": rounded} | describe("torch", "opencv-python", "pyarrow")))


def measure() -> None:
    """The measuring process: prints one line of JSON."""
    step, root, packed = sys.argv[1:]
    print(json.dumps(STEPS[step](root, packed)))


def _index(name: str, root: str, packed: str) -> dict[str, float]:
    begin = time.perf_counter()
    read_300w_lp(root)
    return {name: time.perf_counter() - begin}


def _prepare(root: str, packed: str) -> dict[str, float]:
    command = [sys.executable, "-m", "rankpose.prepare", "data=300w_lp", f"data.root={root}", f"out={packed}"]
    begin = time.perf_counter()
    subprocess.run(command, check=True, stdout=sys.stderr)
    return {"prepare, s": time.perf_counter() - begin}


def _open(root: str, packed: str) -> dict[str, float]:
    begin = time.perf_counter()
    next(iter(training_data(root, packed, 0).train_dataloader()))
    return {"packed, open to first batch, s": time.perf_counter() - begin}


def _epoch(root: str, packed: str) -> dict[str, float]:
    """A training epoch's batches, taken and dropped."""
    loader = training_data(root, packed, len(os.sched_getaffinity(0))).train_dataloader()
    begin, images = time.perf_counter(), 0
    for batch in loader:
        images += len(batch["image"])
    seconds = time.perf_counter() - begin
    own, each = memory()
    return {
        "packed, images of an epoch": images,
        "packed, epoch of loading, s": seconds,
        "packed, images/s": images / seconds,
        "packed, main process, MB": own,
        "packed, a forked worker's own, MB": each,
    }


def _spawn(root: str, packed: str) -> dict[str, float]:
    """What workers that were started afresh, and so share nothing but the file, have for themselves."""
    multiprocessing.set_start_method("spawn")
    batches = iter(training_data(root, packed, len(os.sched_getaffinity(0))).train_dataloader())
    for _ in range(20):
        next(batches)
    return {"packed, a fresh worker's own, MB": memory()[1]}


def _imports(root: str, packed: str) -> dict[str, float]:
    """What importing torch, Lightning and the rest takes before any data is opened."""
    return {"imports alone, MB": memory()[0]}


STEPS: dict[str, Callable[[str, str], dict[str, float]]] = {
    "index": partial(_index, "index, first time, s"),
    "index again": partial(_index, "index, afterwards, s"),
    "prepare": _prepare,
    "open": _open,
    "epoch": _epoch,
    "spawn": _spawn,
    "imports": _imports,
}


if __name__ == "__main__":
    main()
