"""What training minimises: the error of each image and the order within each pair of images of one person.

The published loss of a pair is `MSE(p1, y1) + MSE(p2, y2) + weight * L_rank` (Dai, Wong, Chen: RankPose, BMVC 2020).
Here it is divided by two, so that the first part is the ordinary mean squared error of the batch and `weight` keeps its
published meaning: `loss = MSE + weight / 2 * L_rank`.

**Units.** The squared error grows with the square of the unit, the hinge with the unit: the same weight means a ranking
term 180 times stronger with `unit="normalised"` (angles divided by 180 before both terms) than with `unit="degrees"`
(the published choice). `gradient_ratio` says what a weight does: it is logged in training.

All terms are computed in float32. To add a loss, write one class here and one file in `conf/loss/`.
"""

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

Unit = Literal["degrees", "normalised"]
UNITS: dict[str, float] = {"degrees": 1.0, "normalised": 180.0}


def same_identity_pairs(identity: Tensor) -> tuple[Tensor, Tensor]:
    """All pairs of two images of one identity.

    Args:
        identity: (N,) whole numbers.

    Returns:
        two (M,) index tensors, the earlier image first; M = K(K-1)/2 for each identity with K images.
    """
    order = torch.argsort(identity, stable=True)
    _, counts = torch.unique_consecutive(identity[order], return_counts=True)
    starts = counts.cumsum(0) - counts
    firsts, seconds = [order[:0]], [order[:0]]
    # identities with equally many images go together: work and memory grow with the pairs, not with N squared
    for count in counts.unique().tolist():
        if count > 1:
            members = order[starts[counts == count, None] + torch.arange(count, device=order.device)]
            i, j = torch.triu_indices(count, count, offset=1, device=order.device)
            firsts.append(members[:, i].flatten())
            seconds.append(members[:, j].flatten())
    return torch.cat(firsts), torch.cat(seconds)


def rank_loss(
    prediction: Tensor, target: Tensor, identity: Tensor, margin: float = 0.0, squared: bool = False
) -> Tensor:
    """Punishes a wrong order within a pair: `mean max(0, margin - sign(y1 - y2) (p1 - p2))`, signed against signed.

    Args:
        prediction: (N, 3) angles, any unit.
        target: (N, 3) angles, the same unit.
        identity: (N,) whole numbers; every pair of images of one identity is ranked, angle by angle.
        margin: how far apart a rightly ordered pair must be, the same unit.
        squared: take the square of each hinge.

    Returns:
        a scalar: the mean over pairs and angles whose labels differ; equal labels have no order and give no term. Zero
        where there is no pair.
    """
    first, second = same_identity_pairs(identity)
    order = torch.sign(target[first] - target[second])
    hinge = F.relu(margin - order * (prediction[first] - prediction[second]))
    if squared:
        hinge = hinge.square()
    ordered = order != 0
    return (hinge * ordered).sum() / ordered.sum().clamp(min=1)


def gradient_ratio(rank_term: Tensor, mse_term: Tensor, prediction: Tensor) -> Tensor:
    """How strong the ranking term pulls: the norm of its gradient by the predictions over that of the MSE term.

    Args:
        rank_term: scalar, weight included.
        mse_term: scalar.
        prediction: (N, 3), part of the graph of both.

    Returns:
        a scalar without gradient; 0 where no pair is wrong.
    """
    (rank_gradient,) = torch.autograd.grad(rank_term, prediction, retain_graph=True)
    (mse_gradient,) = torch.autograd.grad(mse_term, prediction, retain_graph=True)
    ratio: Tensor = rank_gradient.norm() / mse_gradient.norm().clamp(min=torch.finfo(torch.float32).tiny)
    return ratio


class PoseLoss(nn.Module):
    """The interface: (N, 3) predicted and true degrees and (N,) identities to the terms by name.

    `loss` is what is minimised; the others are for the log.
    """

    needs_pairs = False
    """Whether a batch must hold two images of an identity."""

    def __init__(self, unit: Unit = "degrees") -> None:
        super().__init__()
        if unit not in UNITS:
            raise ValueError(f"loss.unit={unit!r} is not one of {', '.join(UNITS)}")
        self.unit = unit

    def terms(self, prediction: Tensor, target: Tensor, identity: Tensor) -> dict[str, Tensor]:
        """The terms in the loss's unit; `loss` among them."""
        raise NotImplementedError

    def forward(self, prediction: Tensor, target: Tensor, identity: Tensor) -> dict[str, Tensor]:
        scale = UNITS[self.unit]
        with torch.autocast(prediction.device.type, enabled=False):
            return self.terms(prediction.float() / scale, target.float() / scale, identity)


class MSE(PoseLoss):
    """The mean squared error over images and angles."""

    def terms(self, prediction: Tensor, target: Tensor, identity: Tensor) -> dict[str, Tensor]:
        return {"loss": F.mse_loss(prediction, target)}


class RankMSE(PoseLoss):
    """RankPose's loss: MSE and the order within pairs of one person.

    Args:
        weight: lambda of the paper, 1 there.
        margin: in the loss's unit, 0 in the paper.
        squared: square each hinge.
        unit: `degrees` (as published) or `normalised`.
    """

    needs_pairs = True

    def __init__(self, weight: float = 1.0, margin: float = 0.0, squared: bool = False, unit: Unit = "degrees") -> None:
        super().__init__(unit)
        self.weight, self.margin, self.squared = weight, margin, squared

    def terms(self, prediction: Tensor, target: Tensor, identity: Tensor) -> dict[str, Tensor]:
        mse = F.mse_loss(prediction, target)
        rank = rank_loss(prediction, target, identity, self.margin, self.squared)
        weighted = self.weight / 2 * rank
        terms = {"loss": mse + weighted, "mse": mse, "rank": rank}
        if prediction.requires_grad:
            terms["gradient_ratio"] = gradient_ratio(weighted, mse, prediction)
        return terms
