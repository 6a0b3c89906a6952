"""How soon do commands answer? `python -m benchmarks.start_up [--runs 3]`

Processor time of whole processes (user and system), as the operating system counts it: the help of every command, a
wrong key, and beside them the import of torch, in turns, so that a machine whose speed drifts slows all of them. Prints
medians and their ratio to the import of torch, and last JSON.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from statistics import median

from benchmarks.machine import describe

COMMANDS = ("train", "prepare", "evaluate", "export", "compare", "workspace")
WHAT = {
    "import torch": ["-c", "import torch"],
    "import rankpose": ["-c", "import rankpose"],
    **{f"{name} --help": ["-m", f"rankpose.{name}", "--help"] for name in COMMANDS},
    "train --cfg job": ["-m", "rankpose.train", "--cfg", "job"],
    "train, a wrong key": ["-m", "rankpose.train", "los=mse"],
    "evaluate, a wrong key": ["-m", "rankpose.evaluate", "protocl=biwi"],
    "evaluate, no such checkpoint": ["-m", "rankpose.evaluate", "checkpoint=nowhere"],
    "compare, no such folder": ["-m", "rankpose.compare", "nowhere"],
}
"""What is timed, and the arguments of Python."""


def processor_seconds(arguments: list[str], folder: str) -> float:
    """Of a whole process that is started in a folder."""
    process = subprocess.Popen(
        [sys.executable, *arguments], cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    _, _, used = os.wait4(process.pid, 0)
    return used.ru_utime + used.ru_stime


def main() -> None:
    """Measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=3, help="of each, after one that fills caches and is not counted")
    arguments = parser.parse_args()
    seconds: dict[str, list[float]] = {name: [] for name in WHAT}
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(1 + arguments.runs):
            for name, what in WHAT.items():
                seconds[name].append(processor_seconds(what, folder))
    medians = {name: median(found[1:]) for name, found in seconds.items()}
    torch = medians["import torch"]
    print(f"{'':<24} {'seconds':>8} {'ratio':>6}")
    for name, value in medians.items():
        print(f"{name:<24} {value:>8.2f} {value / torch:>6.2f}")
    print(json.dumps({"processor_seconds": medians} | describe("torch", "hydra-core")))


if __name__ == "__main__":
    main()
