"""What training minimises: RankPose's losses (`ranking`), and those that other methods bring (`rivals`)."""

from rankpose.losses.ranking import (
    MSE,
    UNITS,
    BalancedRankMSE,
    PoseLoss,
    RankMSE,
    gradient_norm,
    gradient_ratio,
    rank_loss,
    same_identity_pairs,
    squared_error,
    weighted_mean,
)
from rankpose.losses.rivals import MAE, BinsAndMSE, FisherNLL, Geodesic, OrdinalQuaternion, OrthogonalAxes

__all__ = [
    "MAE",
    "MSE",
    "UNITS",
    "BalancedRankMSE",
    "BinsAndMSE",
    "FisherNLL",
    "Geodesic",
    "OrdinalQuaternion",
    "OrthogonalAxes",
    "PoseLoss",
    "RankMSE",
    "gradient_norm",
    "gradient_ratio",
    "rank_loss",
    "same_identity_pairs",
    "squared_error",
    "weighted_mean",
]
