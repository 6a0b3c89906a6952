"""What may be wrong with the numbers that a model gives?"""

from collections.abc import Mapping

import torch
from torch import Tensor

from rankpose.metrics import angle_error
from rankpose.pose import ANGLES


def suspicions(prediction: Tensor, target: Tensor, keys: Mapping[str, str]) -> list[str]:
    """What may be wrong with the numbers that a model gives: radians for degrees, or the sign of an angle.

    Args:
        prediction: (N, 3) degrees.
        target: (N, 3) degrees.
        keys: what to look at for `unit` and for each angle, as a predictor's `keys`.
    """
    found = []
    if prediction.abs().max() < _MOST_RADIANS <= target.abs().max():
        found.append(
            f"no angle is beyond +-{_MOST_RADIANS}, as if they were radians where degrees are meant: look at "
            f"{keys['unit']}"
        )
        prediction = torch.rad2deg(prediction)
    errors, turned = (angle_error(sign * prediction, target).mean(dim=0).tolist() for sign in (1, -1))
    found += [
        f"with the sign of {angle} turned, its error would be {other:.2f} instead of {error:.2f} degrees: look at "
        f"{keys[angle]}"
        for angle, error, other in zip(ANGLES, errors, turned, strict=True)
        if other < error / 2
    ]
    return found


_MOST_RADIANS = 3.2
"""A little over pi."""
