"""What is here, and what is wrong with it? For `rankpose.doctor`; each thing by itself, so that none hides another."""

import hashlib
import os
import platform
import shutil
import textwrap
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import Any, Literal

from omegaconf import OmegaConf
from packaging.requirements import Requirement

from rankpose.errors import ConfigError, first_line
from rankpose.files import CONFIG_DIR, json_text, read_yaml, shipped_models
from rankpose.run import record

State = Literal["fine", "absent", "broken"]
LEAST_FREE_GB = 1.0
"""For a run and its checkpoints."""
_DATA = {
    "aflw2000": ("image*.mat", 2000, "photographs"),
    "biwi": ("[0-2][0-9]", 24, "recordings"),
    "w300lp": ("[AHIL][A-Z]*", 8, "folders"),
    "synthetic": ("SYN_*", 3, "parts"),
}
"""By root: what a whole set holds."""


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at."""

    topic: str
    name: str
    said: str
    state: State = "fine"
    """`absent`: not there, and not needed; `broken`: needed, or asked for by name."""
    way_out: str | None = None


def examine(roots: Sequence[str] = ()) -> list[Finding]:
    """All findings.

    Args:
        roots: `roots.NAME=PATH`, in the place of those in `conf/roots/`.

    Raises:
        ConfigError: no such root.
    """
    places, named = _places(roots)
    looks: dict[str, Callable[[], Iterator[Finding]]] = {
        "versions": _versions,
        "devices": _devices,
        "weights": _weights,
        "data": partial(_data, places, named),
        "disk": _disk,
    }
    findings: list[Finding] = []
    for topic, look in looks.items():
        try:
            findings += look()
        except Exception as error:  # whatever is broken here: that is what is asked
            said = f"{type(error).__name__}: {first_line(error)}"
            findings.append(Finding(topic, "looking at it", said, "broken", "run make install again, or report this"))
    return findings


def broken(findings: Sequence[Finding]) -> bool:
    """Whether something that is needed is."""
    return any(finding.state == "broken" for finding in findings)


def as_json(findings: Sequence[Finding]) -> str:
    """For programs: `{"broken": ..., "findings": [...]}`."""
    return json_text({"broken": broken(findings), "findings": [asdict(finding) for finding in findings]})


def as_text(findings: Sequence[Finding]) -> str:
    """For people: a line each, and below it the way out."""
    signs = {"fine": " ", "absent": "-", "broken": "!"}
    lines, topic = [], ""
    for finding in findings:
        if finding.topic != topic:
            topic = finding.topic
            lines += ["", topic]
        lines.append(f" {signs[finding.state]} {finding.name:<22} {finding.said}")
        if finding.way_out:
            lines += textwrap.wrap(f"-> {finding.way_out}", 110, initial_indent=" " * 26, subsequent_indent=" " * 29)
    count = sum(finding.state == "broken" for finding in findings)
    end = f"{count} broken (!)" if count else "nothing that is needed is broken"
    return "\n".join([*lines[1:], "", f"{end}; - is not there and not needed", ""])


def _places(given: Sequence[str]) -> tuple[dict[str, Path], set[str]]:
    known = read_yaml(Path(CONFIG_DIR) / "roots" / "default.yaml")
    named = set()
    for text in given:
        key, equals, value = text.partition("=")
        name = key.removeprefix("roots.")
        if not equals or not value or name not in known:
            raise ConfigError(f"{text}: write roots.NAME=PATH, NAME one of {', '.join(known)}.")
        known[name] = value
        named.add(name)
    resolved: dict[str, Any] = OmegaConf.to_container(OmegaConf.create(known), resolve=True)  # type: ignore[assignment]
    return {name: Path(str(value)).expanduser() for name, value in resolved.items()}, named


def _versions() -> Iterator[Finding]:
    code, _ = record.code_state()
    commit = f", commit {code['commit'][:12]}{', changed' if code['changed'] else ''}" if code["commit"] else ""
    yield Finding("versions", "rankpose", f"{code['version'] or 'not installed'}{commit}")
    system = f"{platform.system()} {platform.release()} {platform.machine()}"
    yield Finding("versions", "python", f"{platform.python_version()}, {system}")
    missing: dict[str, list[str]] = {}
    for requirement in map(Requirement, metadata.requires("rankpose") or ()):
        extra = _extra_of(requirement)
        if extra is None and requirement.marker is not None and not requirement.marker.evaluate({"extra": ""}):
            continue
        try:
            found = metadata.version(requirement.name)
        except metadata.PackageNotFoundError:
            if extra is not None:
                missing.setdefault(extra, []).append(requirement.name)
            else:
                yield Finding("versions", requirement.name, "is not installed", "broken", "pip install rankpose again")
            continue
        if found not in requirement.specifier:
            said = f"{found}, and {requirement.specifier} is asked for"
            way_out = f"pip install '{requirement.name}{requirement.specifier}', or in a checkout make install"
            yield Finding("versions", requirement.name, said, "broken" if extra is None else "absent", way_out)
        elif extra is None:
            yield Finding("versions", requirement.name, found)
    for extra, names in missing.items():
        yield Finding(
            "versions", f"extra {extra}", f"lacks {', '.join(names)}", "absent", f"pip install 'rankpose[{extra}]'"
        )
    yield from _one_opencv()


def _extra_of(requirement: Requirement) -> str | None:
    """The extra that asks for a package here, on this Python; None of what all need."""
    extras = sorted(metadata.metadata("rankpose").get_all("Provides-Extra") or ())
    if requirement.marker is None or requirement.name == "rankpose":
        return None
    return next((one for one in extras if requirement.marker.evaluate({"extra": one})), None)


def _one_opencv() -> Iterator[Finding]:
    found = set()
    for name in ("opencv-python", "opencv-python-headless"):
        try:
            found.add(metadata.version(name))
        except metadata.PackageNotFoundError:
            continue
    if len(found) > 1:
        said = f"{' and '.join(sorted(found))} lie in one folder"
        yield Finding(
            "versions", "two OpenCVs", said, "broken", "install opencv-python and opencv-python-headless at one version"
        )


def _devices() -> Iterator[Finding]:
    import torch

    machine = record.machine()
    yield Finding("devices", "processor", f"{machine['cpu']}, {machine['cores']} cores for this process")
    for name in machine["gpus"]:
        yield Finding("devices", "gpu", name)
    if not machine["gpus"]:
        if Path("/proc/driver/nvidia/version").is_file():
            built = torch.version.cuda or "no CUDA"
            way_out = "update the driver, or install a torch that is built for its CUDA version"
            yield Finding("devices", "gpu", f"a driver is here, but torch ({built}) finds no GPU", "broken", way_out)
        else:
            yield Finding("devices", "gpu", "none; training takes a processor", "absent")


def _weights() -> Iterator[Finding]:
    from rankpose.models.checkpoint import load_net
    from rankpose.models.shipped import read_card

    timed = None
    for name, file in shipped_models().items():
        if hashlib.sha256(file.read_bytes()).hexdigest() != read_card(name).sha256:
            yield Finding(
                "weights", name, "is not the file of its card", "broken", f"get {file.name} again, or reinstall"
            )
            continue
        net, made_from = load_net(name)
        yield Finding("weights", name, f"{file.stat().st_size / 1e6:.1f} MB, opens, {made_from.image_size} pixels")
        timed = timed or (net, made_from.image_size, name)
    if timed is not None:
        yield _precision(*timed)


def _precision(net: Any, size: int, name: str) -> Finding:
    import torch

    from rankpose.command.precision import time_steps

    device = "cuda" if torch.cuda.is_available() else "cpu"
    images, seconds = time_steps(net, size, 64, device)
    said = ", ".join(f"{1000 * value:.3g} ms in {precision}" for precision, value in seconds.items())
    return Finding("precision", f"a step on {device}", f"{said}, of {name} with {images} images")


def _data(places: dict[str, Path], named: set[str]) -> Iterator[Finding]:
    way_out = "data/README.md says what to put where; roots.{}=PATH if it lies elsewhere"
    for name, place in places.items():
        if not place.exists():
            state: State = "broken" if name in named else "absent"
            yield Finding("data", f"roots.{name}", f"{place}: not there", state, way_out.format(name))
        elif name not in _DATA:
            files = sorted(one.name for one in place.iterdir() if one.is_file()) if place.is_dir() else [place.name]
            yield Finding("data", f"roots.{name}", f"{place}: {', '.join(files[:8]) or 'empty'}")
        else:
            pattern, whole, what = _DATA[name]
            count = sum(1 for _ in place.glob(pattern)) or sum(1 for _ in place.glob(f"*/{pattern}"))
            said = f"{place}: {count:,} {what}"
            if count == whole or (name == "synthetic" and count):
                yield Finding("data", f"roots.{name}", said)
            elif count:
                partly = "figures on a part do not compare with published ones"
                yield Finding("data", f"roots.{name}", f"{said} of {whole:,}", "absent", partly)
            else:
                state = "broken" if name in named else "absent"
                yield Finding("data", f"roots.{name}", f"{said}, it is another folder", state, way_out.format(name))


def _disk() -> Iterator[Finding]:
    here = Path.cwd()
    free = shutil.disk_usage(here).free / 1e9
    said = f"{free:,.1f} GB free"
    if not os.access(here, os.W_OK):
        yield Finding(
            "disk", "working directory", f"{here} cannot be written to", "broken", "go to a folder of your own"
        )
    elif free < LEAST_FREE_GB:
        yield Finding(
            "disk", "working directory", said, "broken", "make room, or name another disk: hydra.run.dir=FOLDER"
        )
    else:
        yield Finding("disk", "working directory", said)
