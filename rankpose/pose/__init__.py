"""The mathematics of head pose: conventions, rotations and representations. Imports torch and roma only."""

from rankpose.pose.conventions import (
    ANGLES,
    euler_to_rotmat,
    flip_pose,
    mean_rotation,
    rotmat_to_euler,
    spread,
    turn_pose,
    wrap_angle,
)
from rankpose.pose.representations import Euler, PoseOutput, Representation, VectorAngle, VectorProjection
from rankpose.pose.rivals import AxisVectors, Bins, MatrixFisher, OrdinalQuaternions, SixNumbers, StagedRegression

__all__ = [
    "ANGLES",
    "AxisVectors",
    "Bins",
    "Euler",
    "MatrixFisher",
    "OrdinalQuaternions",
    "PoseOutput",
    "Representation",
    "SixNumbers",
    "StagedRegression",
    "VectorAngle",
    "VectorProjection",
    "euler_to_rotmat",
    "flip_pose",
    "mean_rotation",
    "rotmat_to_euler",
    "spread",
    "turn_pose",
    "wrap_angle",
]
