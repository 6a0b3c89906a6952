"""Networks: a timm backbone with a pose representation on top."""

from rankpose.models.fsanet import FSANet
from rankpose.models.posenet import PoseNet, build_backbone

__all__ = ["FSANet", "PoseNet", "build_backbone"]
