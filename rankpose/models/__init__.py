"""Networks: a timm backbone with a pose representation on top."""

from rankpose.models.posenet import PoseNet, build_backbone

__all__ = ["PoseNet", "build_backbone"]
