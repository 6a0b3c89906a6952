"""What other methods minimise, each from its paper; `rankpose.pose.rivals` has the representations.

Errors are averages over images, with weights as in `rankpose.losses.ranking`. Each may have ranking of its angles added
(`share`), RankPose's idea on top of another method's.
"""

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from rankpose.checks import NotNegative, checked
from rankpose.losses.ranking import (
    PoseLoss,
    following_factor,
    gradient_norm,
    gradient_ratio,
    rank_loss,
    weighted_mean,
)
from rankpose.pose import PoseOutput, euler_to_rotmat
from rankpose.pose.rivals import (
    AxisVectors,
    Bins,
    MatrixFisher,
    OrdinalQuaternions,
    log_normaliser,
    quaternion_distance,
)


class RivalLoss(PoseLoss):
    """The interface of these losses: their own terms, and where asked for the order within pairs of one person.

    The ranking term (`rank_loss`, degrees) has a weight that follows, as in `BalancedRankMSE`: its gradient by the raw
    output, of which some of these losses say more than the pose, keeps a fixed share of the loss's own.

    Args:
        share: the former over the latter; 0 leaves ranking out.
    """

    pulls: Tensor

    def __init__(self, share: float = 0.0) -> None:
        super().__init__()
        self.share, self.needs_pairs = share, share > 0
        if share > 0:
            # a buffer, so that a resumed run goes on with it
            self.register_buffer("pulls", torch.zeros(2))

    def own_terms(self, output: PoseOutput, pose: Tensor, identity: Tensor, weight: Tensor | None) -> dict[str, Tensor]:
        """The terms without ranking."""
        raise NotImplementedError

    def terms(self, output: PoseOutput, pose: Tensor, identity: Tensor, weight: Tensor | None) -> dict[str, Tensor]:
        terms = self.own_terms(output, pose, identity, weight)
        if self.share == 0:
            return terms
        rank = rank_loss(output.pose, pose, identity, weight=weight)
        if not output.raw.requires_grad:
            return terms | {"rank": rank}
        norms = torch.stack([gradient_norm(term, output.raw) for term in (terms["loss"], rank)])
        factor = following_factor(self.pulls, norms, self.share)
        return terms | {
            "loss": terms["loss"] + factor * rank,
            "rank": rank,
            "gradient_ratio": gradient_ratio(factor * norms[1], norms[0]),
            "weight": factor,
        }


class BinsAndMSE(RivalLoss):
    """HopeNet's (Ruiz et al., CVPR Workshops 2018): `sum over angles of H(y, p) + alpha MSE(y*, E p)`.

    H is the cross-entropy of the true angle's bin, E p the expectation, in degrees.

    Args:
        alpha: weight of the squared error: 1 and 2 in the paper, 0.001 in the public training scripts of many.
        share: of ranking, see `RivalLoss`.
    """

    wants = Bins

    @checked("loss.")
    def __init__(self, alpha: NotNegative = 1.0, share: NotNegative = 0.0) -> None:
        super().__init__(share)
        self.alpha = alpha

    def own_terms(self, output: PoseOutput, pose: Tensor, identity: Tensor, weight: Tensor | None) -> dict[str, Tensor]:
        scores = output.raw.unflatten(-1, (3, Bins.bins)).transpose(1, 2)
        entropy = weighted_mean(F.cross_entropy(scores, Bins.bin_of(pose), reduction="none").sum(dim=1), weight)
        mse = weighted_mean((output.pose - pose).square().sum(dim=1), weight)
        return {"loss": entropy + self.alpha * mse, "cross_entropy": entropy, "mse": mse / 3}


class MAE(RivalLoss):
    """FSA-Net's (Yang et al., CVPR 2019): the mean absolute error of the three angles, degrees; any representation."""

    @checked("loss.")
    def __init__(self, share: NotNegative = 0.0) -> None:
        super().__init__(share)

    def own_terms(self, output: PoseOutput, pose: Tensor, identity: Tensor, weight: Tensor | None) -> dict[str, Tensor]:
        return {"loss": weighted_mean((output.pose - pose).abs().mean(dim=1), weight)}


class Geodesic(RivalLoss):
    """6DRepNet's (Hempel et al., ICIP 2022): the angle between predicted and true rotation, in radians.

    `theta = 2 arcsin(|R1 - R2| / (2 sqrt 2))` (Frobenius norm), which is the published
    `arccos((tr(R1 R2^T) - 1) / 2)` without its infinite derivative at 0. For any representation: from its rotation,
    or where it has none from its angles.
    """

    @checked("loss.")
    def __init__(self, share: NotNegative = 0.0) -> None:
        super().__init__(share)

    def own_terms(self, output: PoseOutput, pose: Tensor, identity: Tensor, weight: Tensor | None) -> dict[str, Tensor]:
        rotation = output.rotation if output.rotation is not None else euler_to_rotmat(output.pose)
        squared = (rotation - euler_to_rotmat(pose)).square().sum(dim=(1, 2))
        # smooth at 0, and away from the pole at 180 degrees
        half = ((squared + _TINY).sqrt() - math.sqrt(_TINY)) / math.sqrt(8)
        return {"loss": weighted_mean(2 * torch.arcsin(half.clamp(max=1 - 1e-6)), weight)}


_TINY = 1e-10


class OrthogonalAxes(RivalLoss):
    """TriNet's (Cao et al., WACV 2021): squared error of the three vectors, and of their right angles.

    `sum_i |v_i - r_i|^2 + weight sum_{i<j} (v_i . v_j)^2`.

    Args:
        weight: of the right angles.
        share: of ranking, see `RivalLoss`.
    """

    wants = AxisVectors

    @checked("loss.")
    def __init__(self, weight: NotNegative = 0.1, share: NotNegative = 0.0) -> None:
        super().__init__(share)
        self.weight = weight

    def own_terms(self, output: PoseOutput, pose: Tensor, identity: Tensor, weight: Tensor | None) -> dict[str, Tensor]:
        vectors = output.raw.unflatten(-1, (3, 3))
        error = weighted_mean((vectors - euler_to_rotmat(pose).mT).square().sum(dim=(1, 2)), weight)
        products = vectors @ vectors.mT
        i, j = torch.triu_indices(3, 3, offset=1, device=products.device)
        right = weighted_mean(products[:, i, j].square().sum(dim=1), weight)
        return {"loss": error + self.weight * right, "axes": error, "orthogonality": right}


class OrdinalQuaternion(RivalLoss):
    """QuatNet's (Hsu et al., IEEE T-MM 2019): squared error of the quaternion, and ordinal regression of the angles.

    A quaternion and its opposite are one rotation: the nearer counts. The ordinal part is the mean binary cross-entropy
    of "is the angle above this threshold?".

    Args:
        weight: of the ordinal part.
        share: of ranking, see `RivalLoss`.
    """

    wants = OrdinalQuaternions

    @checked("loss.")
    def __init__(self, weight: NotNegative = 1.0, share: NotNegative = 0.0) -> None:
        super().__init__(share)
        self.weight = weight

    def own_terms(self, output: PoseOutput, pose: Tensor, identity: Tensor, weight: Tensor | None) -> dict[str, Tensor]:
        quaternion = weighted_mean(quaternion_distance(output.raw[:, :4], euler_to_rotmat(pose)), weight)
        above = OrdinalQuaternions.above(pose).flatten(1)
        said = F.binary_cross_entropy_with_logits(output.raw[:, 4:], above, reduction="none").mean(dim=1)
        ordinal = weighted_mean(said, weight)
        return {"loss": quaternion + self.weight * ordinal, "quaternion": quaternion, "ordinal": ordinal}


class FisherNLL(RivalLoss):
    """The negative log-likelihood of the true rotation under a matrix Fisher distribution (Mohlin et al., 2020)."""

    wants = MatrixFisher

    @checked("loss.")
    def __init__(self, share: NotNegative = 0.0) -> None:
        super().__init__(share)

    def own_terms(self, output: PoseOutput, pose: Tensor, identity: Tensor, weight: Tensor | None) -> dict[str, Tensor]:
        # double: the normaliser's logarithm and the trace are large numbers that nearly cancel
        matrix = output.raw.double().unflatten(-1, (3, 3))
        trace = (matrix * euler_to_rotmat(pose).double()).sum(dim=(1, 2))
        return {"loss": weighted_mean((log_normaliser(matrix) - trace).float(), weight)}
