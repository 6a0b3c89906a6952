"""A callback that ends its own process at a chosen step, for tests that must not depend on timing.

`+callbacks.interrupt._target_=interrupt.AtStep`, with the folder of this file on PYTHONPATH.
"""

import os
import signal

from pytorch_lightning.callbacks import Callback


class AtStep(Callback):
    """Sends the named signal to this process during the step after which `step` steps are done."""

    def __init__(self, step: int, name: str) -> None:
        self.step, self.number = step, signal.Signals[name]

    def on_train_batch_start(self, trainer, *args):
        if trainer.global_step == self.step - 1:
            os.kill(os.getpid(), self.number)
