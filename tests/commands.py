"""How tests run the entry points: real processes, small sizes."""

import functools
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

from warm import Warm

from rankpose.command.configuration import composed, stored

PROJECT = Path(__file__).resolve().parent.parent
INTERRUPT = {"PYTHONPATH": str(Path(__file__).parent)}
"""The environment in which `interrupt.AtStep` is found."""
PEOPLE = {"train": 12, "val": 3, "test": 4}
SMALL = [
    *(f"data.reader.{part}_identities={count}" for part, count in PEOPLE.items()),
    "data.reader.images_per_identity=6",
    "data.identities_per_batch=4",
    "data.num_workers=1",
    "image_size=32",
    "backbone.options.channels=[8,16,24,32]",
    "trainer.max_epochs=2",
    "trainer.precision=32-true",  # auto would try both, and might find now this and now that
    "logger=csv",
]

NAME = "~-=a, [b] {c} (d) 'e\" ${f} $g \\h\\ #i %20 & ; * ? é"
"""Of a folder: what Hydra, OmegaConf, a shell, argparse, glob patterns and URLs read as something else."""


warm = functools.cache(Warm)
running = None
"""The test that runs, as pytest knows it."""


def run(module, *arguments, cwd, prepare=None, env=None, fresh=False, package="rankpose."):
    """What `python -m rankpose.MODULE ARGUMENTS` gives, in a group of its own.

    Args:
        prepare: called in the process before it starts.
        fresh: in a new interpreter; else in a copy of one that has imported the libraries (`warm.py`).
        package: what the module is of; nothing of a module of tests/, with `env=INTERRUPT`.
    """
    assert running is None or running.get_closest_marker("slow"), "what starts an entry point is marked as slow"
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("WANDB", "PL_"))}
    environment |= env or {}
    arguments = list(map(str, arguments))
    if not fresh and prepare is None and sys.platform == "linux":
        return warm().run(f"{package}{module}", arguments, Path(cwd), environment, timeout=1200)
    return subprocess.run(
        [sys.executable, "-m", f"{package}{module}", *arguments],
        cwd=cwd,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=1200,
        # a test that signals its group must not be one of it; and a shell may have told us to ignore Ctrl-C
        start_new_session=True,
        preexec_fn=lambda: (signal.signal(signal.SIGINT, signal.SIG_DFL), prepare and prepare()),
    )


def train(small_set, *arguments, cwd, **options):
    # of two values for a key the later one counts
    return run("train", f"data.root={small_set}", *SMALL, *arguments, cwd=cwd, **options)


def at_step(step, name, whom="self"):
    """The argument that has a run signalled; with `env=INTERRUPT`."""
    return f"+callbacks.interrupt={{_target_: interrupt.AtStep, step: {step}, name: {name}, whom: {whom}}}"


def succeed(process):
    assert process.returncode == 0, process.stdout[-3000:] + process.stderr[-5000:]
    return process


def written(*overrides):
    """What a run of this command line keeps as its configuration."""
    return stored(composed("train", ["run_dir=RUN", *overrides], hydra=True))


def metrics(run_dir):
    """The flat scores of a run, which scripts read: `test/mae` and so on."""
    content = json.loads((run_dir / "metrics.json").read_text())
    return {key: value for key, value in content.items() if key.startswith("test/")}
