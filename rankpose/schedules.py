"""How the learning rate moves. Each takes the optimizer, the number of steps of the run and of an epoch."""

from collections.abc import Callable

from torch.optim import Optimizer
from torch.optim.lr_scheduler import ConstantLR, CosineAnnealingWarmRestarts, LRScheduler, OneCycleLR

Schedule = Callable[[Optimizer, int, int], LRScheduler]


def one_cycle(optimizer: Optimizer, total_steps: int, epoch_steps: int, warmup: float = 0.2) -> LRScheduler:
    """Rises for the share `warmup` of the run, then falls to nearly zero along a cosine, step by step."""
    rates = [group["lr"] for group in optimizer.param_groups]
    return OneCycleLR(optimizer, max_lr=rates, total_steps=max(2, total_steps), pct_start=warmup)


def cosine_restarts(optimizer: Optimizer, total_steps: int, epoch_steps: int, epochs: int = 10) -> LRScheduler:
    """The published schedule: a cosine from the learning rate to zero that starts again every `epochs` epochs."""
    if epochs < 1:
        raise ValueError(f"epochs={epochs} must be at least 1")
    return CosineAnnealingWarmRestarts(optimizer, T_0=max(1, epochs * epoch_steps))


def constant(optimizer: Optimizer, total_steps: int, epoch_steps: int) -> LRScheduler:
    """Keeps the learning rate."""
    return ConstantLR(optimizer, factor=1.0, total_iters=0)
