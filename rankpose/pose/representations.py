"""How a network says a pose: the last layer, its range and its initialisation.

A representation takes a backbone's features to a raw output and a raw output to (yaw, pitch, roll) in degrees. Here are
RankPose's and the baseline, in `rankpose.pose.rivals` those of other methods. To add one, write one class and one file
in `conf/representation/`.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

HALF_TURN = 180.0


class PoseOutput(NamedTuple):
    """What a network gives for a batch."""

    pose: Tensor
    """(N, 3) yaw, pitch, roll, degrees, float32."""
    raw: Tensor
    """(N, ...) what the representation computed it from: cosines, an angle before scaling, logits."""
    rotation: Tensor | None = None
    """(N, 3, 3), of a representation that computes its pose from a rotation."""


class Representation(nn.Module):
    """The interface: features (N, C) to a `PoseOutput`. Computes in float32 whatever the autocast around it."""

    def raw(self, features: Tensor) -> Tensor:
        """(N, C) float32 features to the raw output."""
        raise NotImplementedError

    def to_pose(self, raw: Tensor) -> Tensor:
        """The raw output to (N, 3) degrees."""
        raise NotImplementedError

    def from_pose(self, pose_deg: Tensor) -> Tensor:
        """A raw output that says a pose: what `to_pose` makes (N, 3) degrees of. For tests, and for those who ask."""
        raise NotImplementedError

    def expected_error(self, raw: Tensor) -> Tensor | None:
        """How far the pose of a raw output is thought to be from the truth, (N,) degrees; None where it does not say.

        It is the angle whose cosine is the mean cosine of what may be: near to the root of the mean square.
        """
        return None

    def output(self, raw: Tensor) -> PoseOutput:
        """All that a raw output says."""
        return PoseOutput(self.to_pose(raw), raw)

    def forward(self, features: Tensor) -> PoseOutput:
        with torch.autocast(features.device.type, enabled=False):
            return self.output(self.raw(features.float()))


class Euler(Representation):
    """The baseline: an unbounded linear layer in degrees; the raw output is the pose.

    Range: all numbers. Initialisation: weights from N(0, 0.01), zero bias, so that it starts at the zero pose.
    """

    def __init__(self, in_features: int) -> None:
        super().__init__()
        self.linear = nn.Linear(in_features, 3)
        nn.init.normal_(self.linear.weight, std=0.01)
        nn.init.zeros_(self.linear.bias)

    def raw(self, features: Tensor) -> Tensor:
        pose: Tensor = self.linear(features)
        return pose

    def to_pose(self, raw: Tensor) -> Tensor:
        return raw

    def from_pose(self, pose_deg: Tensor) -> Tensor:
        return pose_deg


class _Cosine(Representation):
    """The cosine between the feature f and one weight vector w_k an angle, `<f, w_k> / (|f| |w_k|)`, in [-1, 1].

    Initialisation: w_k are rows of a random orthogonal matrix (unit norm, no two angles alike), made orthogonal to the
    all-ones vector, about which pooled non-negative features lie: so training starts near the zero pose.
    """

    def __init__(self, in_features: int) -> None:
        super().__init__()
        if in_features < 4:
            raise ValueError(f"a cosine representation needs at least 4 features, the backbone gives {in_features}")
        weight = torch.randn(3, in_features)
        weight = weight - weight.mean(dim=1, keepdim=True)
        self.weight = nn.Parameter(torch.linalg.qr(weight.T).Q.T.contiguous())

    shortest = 1e-3
    """Features are divided by their length, but by no less than this: where all are zero, as after a ReLU that lets
    nothing through, the derivative would be so large that float16 training skipped every step with such an image."""

    def raw(self, features: Tensor) -> Tensor:
        return F.normalize(features, dim=-1, eps=self.shortest) @ F.normalize(self.weight, dim=-1).T


class VectorProjection(_Cosine):
    """RankPose's vector projection: `angle_k = 180 cos(f, w_k)` degrees, in [-180, 180] (BMVC 2020)."""

    def to_pose(self, raw: Tensor) -> Tensor:
        return HALF_TURN * raw

    def from_pose(self, pose_deg: Tensor) -> Tensor:
        return pose_deg / HALF_TURN


class VectorAngle(_Cosine):
    """RankPose's vector angle: `theta_k = arccos(cos(f, w_k))`, `angle_k = 180 (1 - 2 theta_k / pi)` degrees.

    Range: (-180, 180). The derivative of arccos is infinite at +-1, so the cosine is clamped 1e-6 inside (float32; half
    precision could not hold that margin).
    """

    margin = 1e-6

    def to_pose(self, raw: Tensor) -> Tensor:
        theta = torch.arccos(raw.clamp(-1 + self.margin, 1 - self.margin))
        return HALF_TURN * (1 - 2 * theta / torch.pi)

    def from_pose(self, pose_deg: Tensor) -> Tensor:
        return torch.cos(torch.pi / 2 * (1 - pose_deg / HALF_TURN))
