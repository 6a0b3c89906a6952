"""What does it take to repeat a run? `run.json`: how it was called, with which code, on which data, and how it ended.

Written when training starts, so that a run that is killed has it too, and again when it ends. `config.yaml` beside it
is the whole configuration; `rankpose.command.repeat` reads both. Nothing in it names a machine or a user.

    schema_version   grows when a key changes its meaning
    command          as typed, `overrides` the same as a list, those of a repeated run included
    seed             of weights, order and augmentation
    data             digest, images and identities of each part, see `data_digest`, and how many of those of training it
                     does not visit (`left_out`), for want of images
    rankpose         version, git commit, whether files of the checkout were changed (then `changes.diff` has how, if it
                     is not too long) and which were not yet under version control
    versions         of Python and of every package that rankpose asks for
    machine          processor, cores, GPUs, system
    devices          kind, number of processes, of machines, precision
    starts           one for each start of the run, the first and those that went on: when, from which checkpoint, when
                     and how it ended (finished, pruned, stopped, failed; null while it runs or after a kill), seconds,
                     reason
"""

import hashlib
import json
import platform
import shlex
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from packaging.requirements import Requirement

from rankpose.data import pool
from rankpose.errors import ConfigError
from rankpose.files import write_whole
from rankpose.run.outcome import State, ended_by

if TYPE_CHECKING:
    import pytorch_lightning as pl

    from rankpose.data.record import Records

SCHEMA_VERSION = 1
FILE = "run.json"
_CHANGES = "changes.diff"
_LARGEST_DIFF = 1_000_000
"""Bytes: a longer one is the history of something else."""
_CODE = ("rankpose", "conf", "hydra_plugins")
"""What decides a run, below the checkout's top."""


class RunRecord:
    """The record of a run that is under way; see `kept`."""

    def __init__(self, folder: Path, overrides: Sequence[str], seed: int, checkpoint: str | None) -> None:
        self.folder, self.overrides, self.seed = folder, list(overrides), seed
        self.checkpoint = checkpoint
        self.ended: tuple[State, str | None] = ("finished", None)
        """How, and why, where nothing is raised."""
        self.content: dict[str, Any] | None = None
        self._began = time.monotonic()

    def begin(self, parts: Mapping[str, "Records"], left_out: Mapping[str, int], trainer: "pl.Trainer") -> None:
        """Writes the record as training starts.

        Args:
            parts: the records that the run uses, by the name of the part.
            left_out: how many identities and images of the training part it does not visit.
            trainer: that is about to train.
        """
        code, changes = code_state()
        start = {"started": _now(), "ended": None, "exit": None, "seconds": None, "reason": None}
        start["checkpoint"] = None if self.checkpoint is None else _below(self.checkpoint, self.folder)
        before = read(self.folder)["starts"] if (self.folder / FILE).is_file() else []
        self.content = {
            "schema_version": SCHEMA_VERSION,
            "command": shlex.join(["python", "-m", "rankpose.train", *self.overrides]),
            "overrides": self.overrides,
            "seed": self.seed,
            "data": {
                "digest": data_digest(parts),
                "images": {part: len(records) for part, records in parts.items()},
                "identities": {part: len(records.identity_names) for part, records in parts.items()},
                "left_out": dict(left_out),
            },
            "rankpose": code,
            "versions": versions(),
            "machine": machine(),
            "devices": {
                "accelerator": type(trainer.accelerator).__name__.removesuffix("Accelerator").lower(),
                "processes": trainer.world_size,
                "machines": trainer.num_nodes,
                "precision": str(trainer.precision),
            },
            "starts": [*before, start],
        }
        if changes is not None:
            write_whole(self.folder / _CHANGES, changes)
        self._write()

    def end(self, how: State, reason: str | None) -> None:
        """Writes how it ended; nothing if it never began."""
        if self.content is not None:
            seconds = round(time.monotonic() - self._began, 1)
            self.content["starts"][-1] |= {"ended": _now(), "exit": how, "seconds": seconds, "reason": reason}
            self._write()

    def _write(self) -> None:
        write_whole(self.folder / FILE, json.dumps(self.content, indent=2, sort_keys=True) + "\n")


@contextmanager
def kept(folder: Path, overrides: Sequence[str], seed: int, checkpoint: str | None) -> Iterator[RunRecord]:
    """A record for what happens inside: `begin` writes it, leaving says how it ended.

    Args:
        folder: the run's.
        overrides: the arguments that it was called with.
        seed: of weights, order and augmentation.
        checkpoint: that it goes on from.
    """
    record = RunRecord(folder, overrides, seed, checkpoint)
    try:
        yield record
    except BaseException as error:
        record.end(*ended_by(error))
        raise
    record.end(*record.ended)


def read(folder: Path) -> dict[str, Any]:
    """The record in a run's folder.

    Raises:
        ConfigError: none is there, or none that this version can read.
    """
    path = folder / FILE
    try:
        content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        version = content["schema_version"]
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such file; a run writes it when its training starts.") from None
    except (OSError, ValueError, KeyError, TypeError):
        raise ConfigError(f"{path}: cannot be read as the record of a run.") from None
    if version != SCHEMA_VERSION:
        raise ConfigError(f"{path}: is of version {version}, this rankpose reads {SCHEMA_VERSION}.")
    return content


def data_digest(parts: Mapping[str, "Records"]) -> str:
    """A checksum over name, pose, face box, identity and weight of every image, in order, part by part.

    The same data give the same digest wherever their folder lies. Pixels do not enter: to read them takes minutes.
    """
    import numpy as np

    digest = hashlib.sha256()
    for part, records in parts.items():
        names, people = ("\n".join(np.asarray(texts).tolist()) for texts in (records.names, records.identity_names))
        for text in (part, str(len(records)), names, people):
            digest.update(text.encode() + b"\0")
        columns = [(records.pose, "<f4"), (records.face_box, "<f4"), (records.identity, "<i8")]
        for column, kind in columns if records.weight is None else [*columns, (records.weight, "<f4")]:
            digest.update(np.ascontiguousarray(column, dtype=kind).tobytes())
    return digest.hexdigest()


def versions() -> dict[str, str]:
    """Of Python and of the packages that rankpose asks for, whatever of it is installed."""
    found = {"python": platform.python_version()}
    try:
        wanted = [Requirement(text) for text in metadata.requires("rankpose") or ()]
    except metadata.PackageNotFoundError:  # started from a checkout that was not installed
        wanted = [Requirement(name) for name in ("torch", "pytorch-lightning", "timm", "numpy", "hydra-core")]
    for requirement in wanted:
        if requirement.marker is None or requirement.marker.evaluate({"extra": "train"}):
            try:
                found[requirement.name] = metadata.version(requirement.name)
            except metadata.PackageNotFoundError:
                continue  # two packages may provide the same module, as OpenCV's do
    return found


def machine() -> dict[str, Any]:
    """What it computes with; neither its name nor its user's."""
    import torch

    return {
        "cpu": _cpu_name(),
        "cores": pool.usable_cores(),
        "gpus": [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())],
        "system": f"{platform.system()} {platform.machine()}",
    }


def _cpu_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def code_state() -> tuple[dict[str, Any], str | None]:
    """Version and git state of the code that runs, and what was changed in it since the commit.

    Returns:
        `version`, `commit`, `changed`, `untracked` (all but the first null outside of a checkout), and the difference
        where there is one that is not too long.
    """
    try:
        version = metadata.version("rankpose")
    except metadata.PackageNotFoundError:
        version = None
    state: dict[str, Any] = {"version": version, "commit": None, "changed": None, "untracked": None}
    top = Path(__file__).resolve().parents[2]
    commit = _git(top, "rev-parse", "HEAD") if (top / ".git").exists() else None
    if commit is None:
        return state, None
    diff = _git(top, "diff", "HEAD", "--", *_CODE) or ""
    listed = _git(top, "ls-files", "--others", "--exclude-standard", "--", *_CODE) or ""
    untracked = sorted(listed.splitlines())
    state |= {"commit": commit.strip(), "changed": bool(diff or untracked), "untracked": untracked}
    return state, diff if diff and len(diff.encode()) <= _LARGEST_DIFF else None


def _git(top: Path, *arguments: str) -> str | None:
    # without optional locks it writes nothing, so that many runs may ask at once
    command = ["git", "--no-optional-locks", "-C", str(top), *arguments]
    try:
        done = subprocess.run(command, capture_output=True, timeout=30, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.decode(errors="replace")


def _below(path: str, folder: Path) -> str:
    place = Path(path).resolve()
    return str(place.relative_to(folder.resolve())) if place.is_relative_to(folder.resolve()) else place.name


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
