"""How tests run the entry points: real processes, small sizes."""

import json
import os
import subprocess
import sys

PEOPLE = {"train": 12, "val": 3, "test": 4}
SMALL = [
    *(f"data.reader.{part}_identities={count}" for part, count in PEOPLE.items()),
    "data.reader.images_per_identity=6",
    "data.identities_per_batch=4",
    "data.num_workers=1",
    "image_size=32",
    "backbone.options.channels=[8,16,24,32]",
    "trainer.max_epochs=2",
    "logger=csv",
]


def run(module, *arguments, cwd, **options):
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("WANDB", "PL_"))}
    return subprocess.run(
        [sys.executable, "-m", f"rankpose.{module}", *map(str, arguments)],
        cwd=cwd,
        env=environment | options.pop("env", {}),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=600,
        **options,
    )


def train(small_set, *arguments, cwd, **options):
    # of two values for a key the later one counts
    return run("train", f"data.root={small_set}", *SMALL, *arguments, cwd=cwd, **options)


def succeed(process):
    assert process.returncode == 0, process.stdout[-3000:] + process.stderr[-5000:]
    return process


def metrics(run_dir):
    return json.loads((run_dir / "metrics.json").read_text())
