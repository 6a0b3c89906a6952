"""How does a run that goes on draw in a training step what it would have drawn?"""

from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback


class SeedBatches(Callback):
    """Seeds what is random in a training step, such as dropout, by seed, process and step.

    So a run that goes on draws what it would have drawn, and no generator's state need be kept.

    Args:
        seed: of the run.
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def on_train_batch_start(self, trainer: pl.Trainer, *args: Any, **kwargs: Any) -> None:
        batch = trainer.fit_loop.epoch_loop.total_batch_idx
        mixed = np.random.SeedSequence([self.seed, trainer.global_rank, batch])
        torch.manual_seed(int(mixed.generate_state(1, np.uint64)[0] >> 1))
