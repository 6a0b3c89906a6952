"""Which share of images is within which error?"""

import torch
from torch import Tensor

THRESHOLDS_DEG = (5, 10, 15)
"""Within which error the share of images is counted."""
CURVE_LIMIT_DEG = 30
"""Where the cumulative curve ends."""


def cumulative_share(error: Tensor, limits: Tensor) -> Tensor:
    """The share of errors that are at most each limit: the cumulative error curve. (N,) and (T,) degrees to (T,)."""
    return torch.searchsorted(error.sort().values, limits.to(error.dtype), right=True) / len(error)
