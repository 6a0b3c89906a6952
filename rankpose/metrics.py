"""How good predicted poses are: pure functions, and one torchmetrics class that is right under DDP.

Angles are degrees, ordered (yaw, pitch, roll); errors of angles are wrapped, so 179 and -179 are 2 apart.
"""

from typing import Any

import roma
import torch
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat

from rankpose.losses import same_identity_pairs
from rankpose.pose import ANGLES, euler_to_rotmat, wrap_angle


def angle_error(prediction: Tensor, target: Tensor) -> Tensor:
    """The absolute error of each angle. (N, 3) and (N, 3) degrees to (N, 3) in [0, 180].

    >>> angle_error(torch.tensor([[179.0, 0.0, 2.0]]), torch.tensor([[-179.0, 1.0, 0.0]]))
    tensor([[2., 1., 2.]])
    """
    return wrap_angle(prediction - target).abs()


def geodesic_error(prediction: Tensor, target: Tensor) -> Tensor:
    """The angle of the rotation between predicted and true head, `angle(R1^T R2)`. (N, 3) degrees to (N,) in [0, 180].

    >>> geodesic_error(torch.tensor([[30.0, 0.0, 0.0]]), torch.tensor([[0.0, 0.0, 0.0]])).round()
    tensor([30.])
    """
    # double: near 0 the angle of a float32 rotation is only good to 0.02 degrees
    first, second = euler_to_rotmat(prediction.double()), euler_to_rotmat(target.double())
    return torch.rad2deg(roma.rotmat_geodesic_distance(first, second)).to(prediction.dtype)


def pair_order(prediction: Tensor, target: Tensor, identity: Tensor) -> Tensor:
    """The share of same-person pairs put in the right order, over all three angles.

    Args:
        prediction: (N, 3) degrees.
        target: (N, 3) degrees.
        identity: (N,) whole numbers.

    Returns:
        a scalar in [0, 1], 0.5 by chance; pairs with equal labels do not count, equal predictions count as wrong. NaN
        where no identity has two images.
    """
    first, second = same_identity_pairs(identity)
    order = torch.sign(target[first] - target[second])
    right = torch.sign(prediction[first] - prediction[second]) == order
    ordered = order != 0
    return (right & ordered).sum() / ordered.sum()


def pose_scores(prediction: Tensor, target: Tensor, identity: Tensor) -> dict[str, Tensor]:
    """All scores of a set by name: `mae`, `yaw_mae`, `pitch_mae`, `roll_mae`, `geodesic` (degrees), `pair_order`."""
    error = angle_error(prediction, target).mean(dim=0)
    scores = {"mae": error.mean()}
    scores |= {f"{name}_mae": error[k] for k, name in enumerate(ANGLES)}
    scores["geodesic"] = geodesic_error(prediction, target).mean()
    scores["pair_order"] = pair_order(prediction, target, identity)
    return scores


class PoseScores(Metric):
    """`pose_scores` over batches and processes.

    Keeps every prediction with its sample's index: a process that must repeat samples to fill its last batch does not
    change the result, and neither does the number of processes nor the order.
    """

    full_state_update = False
    index: list[Tensor]
    prediction: list[Tensor]
    target: list[Tensor]
    identity: list[Tensor]

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        for state in ("index", "prediction", "target", "identity"):
            self.add_state(state, default=[], dist_reduce_fx="cat")

    def update(self, index: Tensor, prediction: Tensor, target: Tensor, identity: Tensor) -> None:
        """Adds a batch: (N,) indices of the samples in their set, (N, 3) and (N, 3) degrees, (N,) identities."""
        self.index.append(index)
        self.prediction.append(prediction.float())
        self.target.append(target.float())
        self.identity.append(identity)

    def table(self) -> dict[str, Tensor]:
        """Index, prediction, target and identity of every sample once, by index. Call it where states are synced."""
        index = dim_zero_cat(self.index)
        order = torch.argsort(index, stable=True)
        first = torch.ones_like(order, dtype=torch.bool)
        first[1:] = index[order][1:] != index[order][:-1]
        rows = order[first]
        return {
            "index": index[rows],
            "prediction": dim_zero_cat(self.prediction)[rows],
            "target": dim_zero_cat(self.target)[rows],
            "identity": dim_zero_cat(self.identity)[rows],
        }

    def compute(self) -> dict[str, Tensor]:
        table = self.table()
        return pose_scores(table["prediction"], table["target"], table["identity"])
