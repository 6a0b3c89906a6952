"""What training minimises: the error of each image and the order within each pair of images of one person.

A loss is given all that the network said (`PoseOutput`: the pose and the raw output it came from), the true pose, the
identity and perhaps a weight for each image. Which of these it looks at is its own matter.

The published loss of a pair is `MSE(p1, y1) + MSE(p2, y2) + weight * L_rank` (Dai, Wong, Chen: RankPose, BMVC 2020).
Here it is divided by two, so that the first part is the ordinary mean squared error of the batch and `weight` keeps its
published meaning: `loss = MSE + weight / 2 * L_rank`.

**Units.** The squared error grows with the square of the unit, the hinge with the unit: the same weight means a ranking
term 180 times stronger with `unit="normalised"` (angles divided by 180 before both terms) than with `unit="degrees"`
(the published choice). `gradient_ratio` says what a weight does: it is logged in training.

**Weights of images**, as for labels that are less sure: the squared error is `sum w e / sum w`, and a pair of images
has the product of both weights, so an image of weight zero is as one that is not there.

All terms are computed in float32. To add a loss, write a `PoseLoss` in this folder and one file in `conf/loss/`.
"""

from typing import Literal

import torch
from torch import Tensor, distributed, nn
from torch.nn import functional as F

from rankpose.checks import NotNegative, Positive, checked
from rankpose.pose import PoseOutput, Representation

Unit = Literal["degrees", "normalised"]
UNITS: dict[str, float] = {"degrees": 1.0, "normalised": 180.0}
Robust = Literal["none", "smooth_l1"]


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
    weight: Tensor | None = None,
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
        weight: (N,) of each image, not negative; a pair has the product of both. None is 1 for each.

    Returns:
        a scalar: the weighted mean over pairs and angles whose labels differ; equal labels have no order and give no
        term. Zero where there is no pair.
    """
    first, second = same_identity_pairs(identity)
    difference = target[first] - target[second]
    order = torch.sign(difference)
    hinge = F.relu(margin + slope * difference.abs() - order * (prediction[first] - prediction[second]))
    if squared:
        hinge = hinge.square()
    ordered = order != 0
    if weight is None:
        return (hinge * ordered).sum() / ordered.sum().clamp(min=1)
    weights = (weight[first] * weight[second])[:, None] * ordered
    return (hinge * weights).sum() / weights.sum().clamp(min=torch.finfo(torch.float32).tiny)


def squared_error(
    prediction: Tensor, target: Tensor, robust: Robust = "none", beta: float = 1.0, weight: Tensor | None = None
) -> Tensor:
    """The mean over angles and (weighted) images of the squared error, or of what a wrong label pulls less in.

    Args:
        prediction: (N, 3) angles, any unit.
        target: (N, 3) angles, the same unit.
        robust: `none` for `e^2`; `smooth_l1` for `e^2` where `|e| < beta` and the straight line
            `beta (2 |e| - beta)` beyond, 2 beta times the smooth L1 of Girshick (Fast R-CNN, 2015): small errors weigh
            as they do without it, so the weight of another term keeps its meaning.
        beta: where the line begins, the same unit.
        weight: (N,) of each image, not negative; None is 1 for each.
    """
    how = "mean" if weight is None else "none"
    if robust == "none":
        errors = F.mse_loss(prediction, target, reduction=how)
    else:
        errors = 2 * beta * F.smooth_l1_loss(prediction, target, reduction=how, beta=beta)
    return errors if weight is None else weighted_mean(errors.mean(dim=1), weight)


def weighted_mean(errors: Tensor, weight: Tensor | None) -> Tensor:
    """The mean over images, `sum w e / sum w`. (N,) errors and (N,) weights, or None for equal ones, to a scalar."""
    if weight is None:
        return errors.mean()
    return (errors * weight).sum() / weight.sum().clamp(min=torch.finfo(torch.float32).tiny)


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


def following_factor(pulls: Tensor, norms: Tensor, share: float) -> Tensor:
    """The factor of a ranking term that keeps its pull at a share of another term's, both averaged over many steps.

    Args:
        pulls: (2,) averages of the norms, zeros at first; the step's are added to them in place.
        norms: (2,) of the gradients of the other term and of the ranking term (`gradient_norm`) in this process; those
            of all processes count, so that each has the same factor, which is that of one with their whole batch.
        share: of the former.
    """
    if distributed.is_available() and distributed.is_initialized():
        # of a mean over the images of all processes, of which each holds a part
        squares = norms.square()
        distributed.all_reduce(squares)
        norms = squares.sqrt() / distributed.get_world_size()
    # both averages start at zero alike: their ratio needs no correction for it
    pulls.mul_(_DECAY).add_((1 - _DECAY) * norms)
    factor = share * pulls[0] / pulls[1].clamp(min=torch.finfo(torch.float32).tiny)
    return torch.where(pulls[1] > 0, factor, torch.zeros_like(factor))


_DECAY = 0.99
"""Of the averages, a step."""


class PoseLoss(nn.Module):
    """The interface: what the network said and what is true of a batch, to the terms by name.

    `loss` is what is minimised; the others are for the log.
    """

    needs_pairs = False
    """Whether a batch must hold two images of an identity."""
    wants: type[Representation] | None = None
    """The representation whose raw output it looks at; None where it looks at poses or rotations alone."""

    def terms(self, output: PoseOutput, pose: Tensor, identity: Tensor, weight: Tensor | None) -> dict[str, Tensor]:
        """The terms by name, `loss` among them; all that is given is float32."""
        raise NotImplementedError

    def forward(
        self, output: PoseOutput, pose: Tensor, identity: Tensor, weight: Tensor | None = None
    ) -> dict[str, Tensor]:
        """Scalars by name.

        Args:
            output: of the network.
            pose: (N, 3) true yaw, pitch, roll, degrees.
            identity: (N,) whole numbers.
            weight: (N,) of each image, not negative; None is 1 for each.
        """
        with torch.autocast(pose.device.type, enabled=False):
            rotation = output.rotation if output.rotation is None else output.rotation.float()
            output = PoseOutput(output.pose.float(), output.raw.float(), rotation)
            return self.terms(output, pose.float(), identity, None if weight is None else weight.float())


class MSE(PoseLoss):
    """The mean squared error over images and angles.

    Args:
        unit: `degrees` (as published) or `normalised`.
        robust, beta: see `squared_error`; beta in the loss's unit.
    """

    @checked("loss.")
    def __init__(self, unit: Unit = "degrees", robust: Robust = "none", beta: Positive = 1.0) -> None:
        super().__init__()
        self.unit, self.robust, self.beta = unit, robust, beta

    def terms(self, output: PoseOutput, pose: Tensor, identity: Tensor, weight: Tensor | None) -> dict[str, Tensor]:
        scale = UNITS[self.unit]
        return self.angle_terms(output.pose / scale, pose / scale, identity, weight)

    def angle_terms(
        self, prediction: Tensor, target: Tensor, identity: Tensor, weight: Tensor | None
    ) -> dict[str, Tensor]:
        """The terms of angles in the loss's unit."""
        return {"loss": self.error(prediction, target, weight)}

    def error(self, prediction: Tensor, target: Tensor, weight: Tensor | None) -> Tensor:
        return squared_error(prediction, target, self.robust, self.beta, weight)


class RankMSE(MSE):
    """RankPose's loss: MSE and the order within pairs of one person.

    Args:
        weight: lambda of the paper, 1 there.
        margin: in the loss's unit, 0 in the paper.
        squared: square each hinge.
        unit: `degrees` (as published) or `normalised`.
        slope: a margin in proportion to the labels' difference, see `rank_loss`; 0 in the paper.
        robust, beta: of the squared error, as for `MSE`; `none` in the paper.
    """

    needs_pairs = True

    @checked("loss.")
    def __init__(
        self,
        weight: NotNegative = 1.0,
        margin: NotNegative = 0.0,
        squared: bool = False,
        unit: Unit = "degrees",
        slope: NotNegative = 0.0,
        robust: Robust = "none",
        beta: Positive = 1.0,
    ) -> None:
        super().__init__(unit, robust, beta)
        self.weight, self.margin, self.squared, self.slope = weight, margin, squared, slope

    def angle_terms(
        self, prediction: Tensor, target: Tensor, identity: Tensor, weight: Tensor | None
    ) -> dict[str, Tensor]:
        mse, rank = self._parts(prediction, target, identity, weight)
        weighted = self.weight / 2 * rank
        terms = {"loss": mse + weighted, "mse": mse, "rank": rank}
        if prediction.requires_grad:
            norms = gradient_norm(weighted, prediction), gradient_norm(mse, prediction)
            terms["gradient_ratio"] = gradient_ratio(*norms)
        return terms

    def _parts(
        self, prediction: Tensor, target: Tensor, identity: Tensor, weight: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """The squared error, and the ranking term without its weight."""
        rank = rank_loss(prediction, target, identity, self.margin, self.squared, self.slope, weight)
        return self.error(prediction, target, weight), rank


class BalancedRankMSE(RankMSE):
    """RankPose's loss with a weight that follows: the ranking term keeps a fixed share of the squared error's pull.

    A fixed weight means another thing in each unit and at each stage of training, since the hinge vanishes as pairs
    come into order. Here `weight / 2 = share * |gradient of MSE| / |gradient of the ranking term|`, both norms averaged
    over some hundred steps, so that one wrong pair in an otherwise right batch is not blown up to the whole share.

    Args:
        share: gradient of the weighted ranking term over that of the squared error, 0.5 for half as strong.
        margin, squared, unit, slope, robust, beta: as for `RankMSE`.
    """

    pulls: Tensor

    @checked("loss.")
    def __init__(
        self,
        share: NotNegative = 0.5,
        margin: NotNegative = 0.0,
        squared: bool = False,
        unit: Unit = "degrees",
        slope: NotNegative = 0.0,
        robust: Robust = "none",
        beta: Positive = 1.0,
    ) -> None:
        super().__init__(1.0, margin, squared, unit, slope, robust, beta)
        self.share = share
        # averages of the two norms; a buffer, so that a resumed run goes on with them
        self.register_buffer("pulls", torch.zeros(2))

    def angle_terms(
        self, prediction: Tensor, target: Tensor, identity: Tensor, weight: Tensor | None
    ) -> dict[str, Tensor]:
        mse, rank = self._parts(prediction, target, identity, weight)
        if not prediction.requires_grad:
            return {"loss": mse, "mse": mse, "rank": rank}
        norms = torch.stack([gradient_norm(mse, prediction), gradient_norm(rank, prediction)])
        factor = following_factor(self.pulls, norms, self.share)
        return {
            "loss": mse + factor * rank,
            "mse": mse,
            "rank": rank,
            "gradient_ratio": gradient_ratio(factor * norms[1], norms[0]),
            "weight": 2 * factor,
        }
