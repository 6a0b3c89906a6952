"""When do callbacks look at what makes a GPU, or the other processes, wait?"""

from typing import Any

import pytorch_lightning as pl


def in_any_process(trainer: pl.Trainer, fact: bool) -> bool:
    """Whether a fact holds in one process at least; all of them call this."""
    return fact if trainer.world_size == 1 else trainer.strategy.reduce_boolean_decision(fact, all=False)


def is_turn(trainer: Any) -> bool:
    """Once every `log_every_n_steps` steps, half way between those at which curves are written.

    Often enough to look at what makes a GPU, or the other processes, wait.
    """
    every = max(1, int(trainer.log_every_n_steps))
    return int(trainer.global_step) % every == every // 2
