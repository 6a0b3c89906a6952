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
    prediction: Tensor,
    target: Tensor,
    identity: Tensor,
    margin: float = 0.0,
    squared: bool = False,
    slope: float = 0.0,
) -> Tensor:
    """Punishes a wrong order within a pair: `mean max(0, margin - sign(y1 - y2) (p1 - p2))`, signed against signed.

    Args:
        prediction: (N, 3) angles, any unit.
        target: (N, 3) angles, the same unit.
        identity: (N,) whole numbers; every pair of images of one identity is ranked, angle by angle.
        margin: how far apart a rightly ordered pair must be, the same unit.
        squared: take the square of each hinge.
        slope: adds this times `|y1 - y2|` to the margin, so that poses far apart must be predicted far apart; 1 asks
            for the full difference.

    Returns:
        a scalar: the mean over pairs and angles whose labels differ; equal labels have no order and give no term. Zero
        where there is no pair.
    """
    first, second = same_identity_pairs(identity)
    difference = target[first] - target[second]
    order = torch.sign(difference)
    hinge = F.relu(margin + slope * difference.abs() - order * (prediction[first] - prediction[second]))
    if squared:
        hinge = hinge.square()
    ordered = order != 0
    return (hinge * ordered).sum() / ordered.sum().clamp(min=1)


def gradient_norm(term: Tensor, prediction: Tensor) -> Tensor:
    """How strong a term pulls: the norm of its gradient by the predictions.

    Args:
        term: scalar.
        prediction: (N, 3), part of the term's graph, which stays usable.

    Returns:
        a scalar without gradient.
    """
    (gradient,) = torch.autograd.grad(term, prediction, retain_graph=True)
    norm: Tensor = gradient.norm()
    return norm


def gradient_ratio(rank_norm: Tensor, mse_norm: Tensor) -> Tensor:
    """The ranking term's pull (`gradient_norm`, weight included) over that of the squared error; 0 without a pull."""
    return rank_norm / mse_norm.clamp(min=torch.finfo(torch.float32).tiny)


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
        slope: a margin in proportion to the labels' difference, see `rank_loss`; 0 in the paper.
    """

    needs_pairs = True

    def __init__(
        self,
        weight: float = 1.0,
        margin: float = 0.0,
        squared: bool = False,
        unit: Unit = "degrees",
        slope: float = 0.0,
    ) -> None:
        super().__init__(unit)
        self.weight, self.margin, self.squared, self.slope = weight, margin, squared, slope
        for name, value in (("weight", weight), ("margin", margin), ("slope", slope)):
            if value < 0:
                raise ValueError(f"loss.{name}={value}: must not be negative; loss=mse ranks nothing.")

    def terms(self, prediction: Tensor, target: Tensor, identity: Tensor) -> dict[str, Tensor]:
        mse, rank = self._parts(prediction, target, identity)
        weighted = self.weight / 2 * rank
        terms = {"loss": mse + weighted, "mse": mse, "rank": rank}
        if prediction.requires_grad:
            norms = gradient_norm(weighted, prediction), gradient_norm(mse, prediction)
            terms["gradient_ratio"] = gradient_ratio(*norms)
        return terms

    def _parts(self, prediction: Tensor, target: Tensor, identity: Tensor) -> tuple[Tensor, Tensor]:
        """The squared error, and the ranking term without its weight."""
        rank = rank_loss(prediction, target, identity, self.margin, self.squared, self.slope)
        return F.mse_loss(prediction, target), rank


class BalancedRankMSE(RankMSE):
    """RankPose's loss with a weight that follows: the ranking term keeps a fixed share of the squared error's pull.

    A fixed weight means another thing in each unit and at each stage of training, since the hinge vanishes as pairs
    come into order. Here `weight / 2 = share * |gradient of MSE| / |gradient of the ranking term|`, both norms averaged
    over some hundred steps, so that one wrong pair in an otherwise right batch is not blown up to the whole share.

    Args:
        share: gradient of the weighted ranking term over that of the squared error, 0.5 for half as strong.
        margin, squared, unit, slope: as for `RankMSE`.
    """

    decay = 0.99
    """Of the averages, a step."""
    pulls: Tensor

    def __init__(
        self,
        share: float = 0.5,
        margin: float = 0.0,
        squared: bool = False,
        unit: Unit = "degrees",
        slope: float = 0.0,
    ) -> None:
        super().__init__(1.0, margin, squared, unit, slope)
        self.share = share
        if share < 0:
            raise ValueError(f"loss.share={share}: must not be negative; loss=mse ranks nothing.")
        # averages of the two norms; a buffer, so that a resumed run goes on with them
        self.register_buffer("pulls", torch.zeros(2))

    def terms(self, prediction: Tensor, target: Tensor, identity: Tensor) -> dict[str, Tensor]:
        mse, rank = self._parts(prediction, target, identity)
        if not prediction.requires_grad:
            return {"loss": mse, "mse": mse, "rank": rank}
        norms = torch.stack([gradient_norm(mse, prediction), gradient_norm(rank, prediction)])
        # both averages start at zero alike: their ratio needs no correction for it
        self.pulls.mul_(self.decay).add_((1 - self.decay) * norms)
        weight = self.share * self.pulls[0] / self.pulls[1].clamp(min=torch.finfo(torch.float32).tiny)
        weight = torch.where(self.pulls[1] > 0, weight, torch.zeros_like(weight))
        return {
            "loss": mse + weight * rank,
            "mse": mse,
            "rank": rank,
            "gradient_ratio": gradient_ratio(weight * norms[1], norms[0]),
            "weight": 2 * weight,
        }
