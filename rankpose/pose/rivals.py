"""How other methods say a pose: bins, quaternions, six numbers, axes, a distribution over rotations.

Each follows its paper; what is ours is the convention (`rankpose.pose.conventions`: degrees, 300W-LP's signs) and the
backbone, which may be any. Where a network says a rotation, the angles come from it by `angles_of`, through which a
loss on angles can be learnt at every pose.
"""

import math
from functools import lru_cache

import numpy as np
import roma
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from rankpose.pose.conventions import euler_to_rotmat, nearest_rotation
from rankpose.pose.decoding import bins_to_angle, quaternion_to_rotmat, six_numbers_to_rotmat
from rankpose.pose.representations import PoseOutput, Representation


def angles_of(rotation: Tensor) -> Tensor:
    """As `rotmat_to_euler`, with a derivative that is finite everywhere. (N, 3, 3) to (N, 3) degrees.

    At yaw +-90 (gimbal lock) pitch and roll are not unique and the derivatives of all three have poles: there, within
    about 0.1 degrees, pitch and roll pass no gradient on, and that of yaw is bounded.
    """
    # R = Rx(a) Ry(b) Rz(c), a = -pitch, b = -yaw, c = -roll
    across = rotation[..., 0, :2].square().sum(dim=-1)
    locked = across < 4e-6
    b = torch.atan2(rotation[..., 0, 2], torch.where(locked, across.detach() + 1e-12, across).sqrt())
    a = _atan2(-rotation[..., 1, 2], rotation[..., 2, 2], locked)
    c = _atan2(-rotation[..., 0, 1], rotation[..., 0, 0], locked)
    return -torch.rad2deg(torch.stack([b, a, c], dim=-1))


def _atan2(y: Tensor, x: Tensor, locked: Tensor) -> Tensor:
    return torch.atan2(torch.where(locked, y.detach(), y), torch.where(locked, x.detach() + 1e-12, x))


class _Linear(Representation):
    """One linear layer; starts with small weights at the raw output of the zero pose."""

    numbers: int
    """Of the raw output."""

    def __init__(self, in_features: int) -> None:
        super().__init__()
        self.linear = nn.Linear(in_features, self.numbers)
        nn.init.normal_(self.linear.weight, std=0.01)
        with torch.no_grad():
            self.linear.bias.copy_(self.from_pose(torch.zeros(1, 3))[0])

    def raw(self, features: Tensor) -> Tensor:
        numbers: Tensor = self.linear(features)
        return numbers


class _Rotation(_Linear):
    """A representation that says a rotation."""

    def to_rotmat(self, raw: Tensor) -> Tensor:
        """The raw output to (N, 3, 3)."""
        raise NotImplementedError

    def to_pose(self, raw: Tensor) -> Tensor:
        return angles_of(self.to_rotmat(raw))

    def output(self, raw: Tensor) -> PoseOutput:
        rotation = self.to_rotmat(raw)
        return PoseOutput(angles_of(rotation), raw, rotation)


class Bins(_Linear):
    """HopeNet's: 66 bins of 3 degrees an angle, read as their expectation (Ruiz, Chong, Rehg, CVPR Workshops 2018).

    Raw: (N, 198) scores, yaw's first. `angle = sum_i softmax(scores)_i (-99 + 3 i)`; the published expectation takes
    each bin by its lower edge, which is half a bin less than its middle: training makes up for it.
    Range: -99 to 96 degrees.
    """

    bins, first, width = 66, -99.0, 3.0
    numbers = 3 * bins

    def to_pose(self, raw: Tensor) -> Tensor:
        return bins_to_angle(raw.unflatten(-1, (3, self.bins)), self.first, self.width)

    def from_pose(self, pose_deg: Tensor) -> Tensor:
        # two neighbours that share the weight; in the middle of the range where there is no pose between two bins
        place = ((pose_deg - self.first) / self.width).clamp(0, self.bins - 1)
        lower = place.floor().clamp(max=self.bins - 2)
        share = place - lower
        scores = torch.full((*pose_deg.shape, self.bins), -30.0, dtype=pose_deg.dtype)
        for offset, part in ((0, 1 - share), (1, share)):
            scores.scatter_(-1, (lower + offset).long()[..., None], part.clamp(min=1e-13).log()[..., None])
        return scores.flatten(-2)

    @classmethod
    def bin_of(cls, pose_deg: Tensor) -> Tensor:
        """(N, 3) degrees to the (N, 3) numbers of their bins; those beyond the range fall into the first or last."""
        return ((pose_deg - cls.first) / cls.width).floor().clamp(0, cls.bins - 1).long()

    def __init__(self, in_features: int) -> None:
        super().__init__(in_features)
        nn.init.zeros_(self.linear.bias)  # all bins alike; those of a pose would hardly be left again


class StagedRegression(Representation):
    """FSA-Net's soft stagewise regression, SSR (Yang et al., CVPR 2019, after SSR-Net, IJCAI 2018).

    An angle is the sum of K = 3 stages, each of which is finer than the one before, of s = 3 bins each::

        angle = V sum_k [ sum_i p_i^(k) (i - 1 + eta^(k)) ] / prod_{j <= k} s (1 + Delta^(j)),   i = 0, 1, 2,  V = 99

    p is a stage's distribution over its bins, eta shifts them, Delta scales the stage and all finer ones; all three are
    answers of the network, an angle each.

    Raw: (N, 3 angles, K, s + 2): before softmax (p) and tanh (eta, Delta). As in the paper a stage reads its own part
    of the features: half of it for p, a quarter each for eta and Delta. The public code takes p by ReLU, which is no
    distribution; here it is one, as in the paper. Delta is held to +-0.5, so that no stage is divided by nothing.
    Range: beyond -99 to 99 degrees.
    """

    stages, bins, reach = 3, 3, 99.0

    def __init__(self, in_features: int) -> None:
        super().__init__()
        if in_features < 4 * self.stages:
            raise ValueError(f"staged regression needs at least 12 features, the backbone gives {in_features}")
        base, more = divmod(in_features, self.stages)
        self.parts = [base + (stage < more) for stage in range(self.stages)]
        self.splits = [[part - 2 * (part // 4), part // 4, part // 4] for part in self.parts]
        self.linear = nn.ModuleList(
            nn.ModuleList(nn.Linear(count, 3 * out) for count, out in zip(split, (self.bins, 1, 1), strict=True))
            for split in self.splits
        )

    def raw(self, features: Tensor) -> Tensor:
        stages = []
        for part, split, layers in zip(features.split(self.parts, dim=-1), self.splits, self.linear, strict=True):
            assert isinstance(layers, nn.ModuleList)
            said = [
                layer(numbers).unflatten(-1, (3, -1))
                for layer, numbers in zip(layers, part.split(split, dim=-1), strict=True)
            ]
            stages.append(torch.cat(said, dim=-1))
        return torch.stack(stages, dim=-2)

    def to_pose(self, raw: Tensor) -> Tensor:
        share = raw[..., : self.bins].softmax(dim=-1)
        shift, scale = torch.tanh(raw[..., self.bins]), 1 + torch.tanh(raw[..., self.bins + 1]) / 2
        # products of shares and bins, written out: autocast would do a matrix product in half precision
        place = (share * (torch.arange(self.bins).to(raw) - self.bins // 2)).sum(dim=-1) + shift
        # each stage is divided by its own bins and by those of all before it
        angle = torch.zeros_like(place[..., 0])
        for stage in reversed(range(self.stages)):
            angle = (angle + place[..., stage]) / (self.bins * scale[..., stage])
        return self.reach * angle

    def from_pose(self, pose_deg: Tensor) -> Tensor:
        # all in the first stage, half by its distribution and half by its shift; the others answer zero
        raw = torch.zeros(*pose_deg.shape, self.stages, self.bins + 2, dtype=pose_deg.dtype)
        scale = 0.55
        half = pose_deg / self.reach * self.bins * scale / 2
        half = half.clamp(-0.99, 0.99)
        raw[..., 0, 0], raw[..., 0, 1], raw[..., 0, 2] = ((1 - half) / 2).log(), -30.0, ((1 + half) / 2).log()
        raw[..., 0, 3], raw[..., 0, 4] = half.atanh(), math.atanh(2 * (scale - 1))
        return raw


class SixNumbers(_Rotation):
    """6DRepNet's: a rotation's first two columns, made orthonormal by Gram-Schmidt (Hempel et al., ICIP 2022).

    Raw: (N, 6). Range: all rotations. The representation is Zhou et al.'s (CVPR 2019), the loss `Geodesic`.
    """

    numbers = 6

    def to_rotmat(self, raw: Tensor) -> Tensor:
        return six_numbers_to_rotmat(raw)

    def from_pose(self, pose_deg: Tensor) -> Tensor:
        return euler_to_rotmat(pose_deg)[..., :2].mT.flatten(-2)


class AxisVectors(_Rotation):
    """TriNet's: the three axes of the head as three vectors (Cao, Chu, Liu, Chen, WACV 2021).

    Raw: (N, 9), a rotation's columns one after the other. While training they are held to the true axes and to right
    angles by the loss (`OrthogonalAxes`); the pose is that of the nearest rotation (Procrustes). The paper's stages of
    soft regression are not taken over: here a linear layer says the numbers.
    """

    numbers = 9

    def to_rotmat(self, raw: Tensor) -> Tensor:
        return nearest_rotation(raw.unflatten(-1, (3, 3)).mT)

    def from_pose(self, pose_deg: Tensor) -> Tensor:
        return euler_to_rotmat(pose_deg).mT.flatten(-2)


class OrdinalQuaternions(_Rotation):
    """QuatNet's: a quaternion, and beside it an ordinal answer for each angle (Hsu et al., IEEE T-MM 2019).

    Raw: (N, 4 + 3 x 65): x, y, z, w of any length; then for yaw, pitch and roll how sure it is (logits) that the angle
    is above each of 65 thresholds 3 degrees apart, from -96. The pose is the quaternion's; the ordinal part teaches the
    features order, by thresholds where RankPose does by pairs.
    """

    thresholds, first, width = 65, -96.0, 3.0
    numbers = 4 + 3 * thresholds

    def to_rotmat(self, raw: Tensor) -> Tensor:
        return quaternion_to_rotmat(raw[..., :4])

    def from_pose(self, pose_deg: Tensor) -> Tensor:
        quaternion = roma.rotmat_to_unitquat(euler_to_rotmat(pose_deg))
        return torch.cat([quaternion, 30.0 * (2 * self.above(pose_deg).flatten(-2) - 1)], dim=-1)

    @classmethod
    def above(cls, pose_deg: Tensor) -> Tensor:
        """(N, 3) degrees to (N, 3, 65): 1 where the angle is above the threshold, else 0."""
        thresholds = cls.first + cls.width * torch.arange(cls.thresholds).to(pose_deg)
        return (pose_deg[..., None] > thresholds).to(pose_deg.dtype)

    def __init__(self, in_features: int) -> None:
        super().__init__(in_features)
        with torch.no_grad():
            self.linear.bias[4:] = 0


class MatrixFisher(_Rotation):
    """A distribution over rotations (Mohlin, Bianchi, Sullivan, NeurIPS 2020): `p(R) = exp(tr(A^T R)) / c(A)`.

    Raw: (N, 9), A row after row. The pose is the mode, the rotation nearest to A; the larger A's singular values, the
    surer. Learnt by `FisherNLL`.
    """

    numbers = 9

    def to_rotmat(self, raw: Tensor) -> Tensor:
        return nearest_rotation(raw.unflatten(-1, (3, 3)))

    def from_pose(self, pose_deg: Tensor) -> Tensor:
        return euler_to_rotmat(pose_deg).flatten(-2)

    def expected_error(self, raw: Tensor) -> Tensor | None:
        return expected_error(raw)


def log_normaliser(matrix: Tensor, nodes: int = 256) -> Tensor:
    """The logarithm of `c(A)`, the integral of `exp(tr(A^T R))` over all rotations. (N, 3, 3) to (N,).

    With the proper singular values `s1 >= s2 >= |s3|` of A (T. Lee, Bayesian Attitude Estimation with the Matrix Fisher
    Distribution on SO(3), IEEE TAC 2018)::

        c = integral over u from -1 to 1 of 1/2 I0((s1 - s2)(1 - u) / 2) I0((s1 + s2)(1 + u) / 2) exp(s3 u) du

    by Gauss-Legendre quadrature, with the growth of all three factors taken out, so that nothing overflows.
    """
    sign = torch.det(matrix.detach()).sign()
    s1, s2, s3 = torch.linalg.svdvals(matrix).unbind(-1)
    s3 = torch.where(sign < 0, -s3, s3)
    u, weight = (torch.from_numpy(numbers).to(matrix) for numbers in _legendre(nodes))
    first, second = (s1 - s2)[:, None] * (1 - u) / 2, (s1 + s2)[:, None] * (1 + u) / 2
    # exponents of the three factors; their largest sum is that at u = 1
    grows = first + second + s3[:, None] * u
    top = (s1 + s2 + s3)[:, None]
    inside = 0.5 * torch.special.i0e(first) * torch.special.i0e(second) * torch.exp(grows - top)
    logarithm: Tensor = (inside * weight).sum(dim=-1).log() + top[:, 0]
    return logarithm


@lru_cache
def _legendre(nodes: int) -> tuple[np.ndarray, np.ndarray]:
    """Places in [-1, 1] and weights of the Gauss-Legendre quadrature."""
    return np.polynomial.legendre.leggauss(nodes)


def expected_error(raw: Tensor, nodes: int = 256) -> Tensor:
    """How far a `MatrixFisher` expects its mode to be from the truth: raw (N, 9) to (N,) degrees.

    `E tr(M^T R) = sum_i d log c / d s_i` for the mode M, and a rotation by t has the trace `1 + 2 cos t`.
    """
    with torch.inference_mode(False), torch.enable_grad():
        matrix = raw.detach().clone().double().unflatten(-1, (3, 3)).requires_grad_()
        (mean,) = torch.autograd.grad(log_normaliser(matrix, nodes).sum(), matrix)
    mode = nearest_rotation(matrix.detach())
    cosine = ((mode * mean).sum(dim=(-2, -1)) - 1) / 2
    return torch.rad2deg(torch.arccos(cosine.clamp(-1, 1))).to(raw.dtype)


def quaternion_distance(numbers: Tensor, rotation: Tensor) -> Tensor:
    """The squared distance of a normalised quaternion from that of a rotation, of whichever sign is nearer.

    Args:
        numbers: (N, 4) x, y, z, w of any length.
        rotation: (N, 3, 3).

    Returns:
        (N,) in [0, 2].
    """
    own = F.normalize(numbers, dim=-1)
    true: Tensor = roma.rotmat_to_unitquat(rotation)
    return 2 - 2 * (own * true).sum(dim=-1).abs()


__all__ = [
    "AxisVectors",
    "Bins",
    "MatrixFisher",
    "OrdinalQuaternions",
    "SixNumbers",
    "StagedRegression",
    "angles_of",
    "expected_error",
    "log_normaliser",
    "quaternion_distance",
]
