"""A data set of which a batch is an error, or the end of the process that makes it."""

import builtins
import os
import signal

import numpy as np
from torch.utils.data import Dataset

from rankpose import errors
from rankpose.data.batches import _batch, _image_buffer


class Broken(Dataset):
    """Batches of which the second one is an error, or the end of whoever makes it; of none, all are fine.

    Args:
        how: the name of an error or of a signal.
    """

    def __init__(self, how: str | None) -> None:
        self.how = how

    def __getitem__(self, draws):
        rows = np.array([draw.row for draw in draws])
        if self.how is not None and rows[0] > 0:
            if self.how.startswith("SIG"):
                os.kill(os.getpid(), signal.Signals[self.how])
            kind = getattr(errors, self.how, None) or getattr(builtins, self.how)
            raise kind("data.root=x: is no good.")
        images = _image_buffer((len(rows), 96, 96, 3))
        return _batch(images.fill_(0), np.zeros((len(rows), 3), np.float32), rows, rows)

    def __len__(self):
        return 600
