"""On what a figure was measured."""

import platform
from importlib.metadata import version
from typing import Any

import torch


def describe(*packages: str) -> dict[str, str]:
    """Processor, cores, GPU, Python and the versions of packages, for a benchmark's JSON."""
    cpu: dict[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()
    described = {
        "machine": f"{cpu.get('cpu_name') or platform.machine()}, {cpu.get('num_logical_cores') or '?'} cores",
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else "none",
        "python": platform.python_version(),
    }
    return described | {name: version(name) for name in packages}
