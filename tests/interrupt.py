"""What ends processes at a chosen step, for tests that must not depend on timing.

`+callbacks.interrupt._target_=interrupt.AtStep`, with the folder of this file on PYTHONPATH.
"""

import multiprocessing
import os
import signal
import subprocess

from pytorch_lightning.callbacks import Callback


class AtStep(Callback):
    """Sends the named signal during the step after which `step` steps are done.

    Args:
        whom: `self`; `group`, as a terminal or a scheduler does, which is neither of the processes; or the `loader`s.
    """

    def __init__(self, step: int, name: str, whom: str = "self") -> None:
        self.step, self.name, self.whom = step, name, whom

    def on_train_batch_start(self, trainer, *args):
        if trainer.global_step != self.step - 1 or not trainer.is_global_zero:
            return
        if self.whom == "group":
            subprocess.run(["sh", "-c", f"kill -s {self.name.removeprefix('SIG')} 0"])
            return
        loaders = [one.pid for one in multiprocessing.active_children()] if self.whom == "loader" else []
        for pid in loaders or [os.getpid()]:
            os.kill(pid, signal.Signals[self.name])
