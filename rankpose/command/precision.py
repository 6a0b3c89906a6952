"""In float32 or in bfloat16: which is faster here, for this very network? `trainer.precision=auto` tries.

Which instructions a processor has does not say: depthwise convolutions in bfloat16 may take many times as long as in
float32, and a small network gains nothing.
"""

import copy
import logging
import os
import time
from pathlib import Path

import torch
from omegaconf import DictConfig

from rankpose.command.configuration import computes_on_gpu
from rankpose.data.datamodule import Training
from rankpose.files import read_yaml
from rankpose.run.directory import first_process, started_together
from rankpose.run.keys import AUTO_PRECISIONS
from rankpose.task import PoseTask

log = logging.getLogger(__name__)

FLOAT, HALF = AUTO_PRECISIONS
_TOLD = "RANKPOSE_PRECISION"
"""What the first process has chosen, for those that Lightning starts from it."""
_WORTH = 1.2
"""bfloat16 is taken where it is faster by this factor: closer times are chance, and float32 is repeatable."""
_HOPELESS = 4.0
"""After steps of a few images that took so many times as long in bfloat16, no more are tried."""
_FEW, _MOST = 4, 64
"""Images of the first steps, and at most: what bfloat16 gains shows in steps as large as a training's, if at all."""
_SECONDS = 0.25
"""On a CPU no more images are tried than take about so long in float32."""


def keep_precision(config: DictConfig, run: Path, checkpoint: str | None) -> None:
    """Has a run that goes on compute as it began, unless it is told otherwise."""
    before = run / "config.yaml"
    if config.trainer.get("precision") == "auto" and checkpoint is not None and before.is_file():
        config.trainer.precision = read_yaml(before).get("trainer", {}).get("precision") or "auto"


def choose_precision(config: DictConfig, task: PoseTask, data: Training) -> None:
    """Puts a precision in the place of `auto`, the same one in all processes, and says which and why."""
    precision, why = config.trainer.get("precision"), "as asked for"
    if precision == "auto":
        precision, why = _chosen(config, task, data)
        config.trainer.precision = precision
    log.info("computing in %s: %s", "float32" if str(precision or 32).startswith("32") else precision, why)


def _chosen(config: DictConfig, task: PoseTask, data: Training) -> tuple[str, str]:
    trainer = config.trainer
    accelerator = trainer.get("accelerator", "auto")
    gpu = computes_on_gpu(accelerator)
    known = os.environ.get(_TOLD)
    if not first_process() and not started_together() and known:
        return known, "as the first process does"
    if accelerator not in ("auto", "cpu", "gpu", "cuda"):
        return FLOAT, f"not tried on {accelerator}"
    # processes that find out for themselves might not agree, and a network in parts has no place on one device
    if started_together() or trainer.get("num_nodes", 1) > 1 or not isinstance(trainer.get("strategy", "auto"), str):
        chosen = HALF if _has_instructions(gpu) else FLOAT
        why = f"by the {'GPU' if gpu else 'processor'}'s instructions, nothing was tried on so many processes"
    elif gpu and not _has_instructions(gpu):
        chosen, why = FLOAT, "this GPU has no bfloat16 instructions"
    else:
        images, times = time_steps(task.net, data.size, max(2, data.images_per_batch), "cuda" if gpu else "cpu")
        chosen = HALF if _WORTH * times[HALF] < times[FLOAT] else FLOAT
        why = f"a step of {images} images takes {times[FLOAT]:.3g} s in float32, {times[HALF]:.3g} s in bfloat16"
    os.environ[_TOLD] = chosen
    return chosen, why


def _has_instructions(gpu: bool) -> bool:
    if gpu:
        return torch.cuda.is_available() and torch.cuda.is_bf16_supported(False)
    found: dict[str, bool] = getattr(torch.cpu, "get_capabilities", dict)()
    return bool(found.get("avx512_bf16") or found.get("amx_bf16"))


def time_steps(net: torch.nn.Module, size: int, images: int, device: str) -> tuple[int, dict[str, float]]:
    """Seconds that a training step of a copy of the network takes, by precision: the best of three, taken in turns.

    Args:
        net: takes (N, 3, size, size) uint8.
        images: N of a training's steps.
        device: `cpu` or `cuda`.

    Returns:
        How many images were tried: as many, but no more than 64 or than take a quarter of a second on a CPU; the times.
    """
    few = min(images, _FEW)

    def both(count: int) -> dict[str, float]:
        batch = torch.zeros(count, 3, size, size, dtype=torch.uint8, device=device)
        return {precision: _step(net, batch, precision) for precision in (FLOAT, HALF)}

    with torch.random.fork_rng():
        net = copy.deepcopy(net).to(device).train()
        first = both(few)
        if first[HALF] > _HOPELESS * first[FLOAT]:
            return few, first
        fit = _MOST if device == "cuda" else max(few, int(few * _SECONDS / both(few)[FLOAT]))
        images = min(images, _MOST, fit)
        both(images)
        tries = [both(images) for _ in range(3)]
    return images, {precision: min(one[precision] for one in tries) for precision in (FLOAT, HALF)}


def _step(net: torch.nn.Module, batch: torch.Tensor, precision: str) -> float:
    """Seconds from images to gradients."""
    net.zero_grad()
    began = time.perf_counter()
    with torch.autocast(batch.device.type, torch.bfloat16, enabled=precision == HALF):
        pose = net(batch).pose
    pose.square().mean().backward()
    if batch.device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - began
