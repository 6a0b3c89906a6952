"""How good predicted poses are: pure functions, and thin torchmetrics classes that are right under DDP.

Angles are degrees, ordered (yaw, pitch, roll); errors of angles are wrapped, so 179 and -179 are 2 apart. `pose_scores`
are the few that training logs, `scores` all of them, `aligned` takes out the rotation by which a predictor's frame
differs from the data set's. Except for the median, every score is a ratio of two sums over identities
(`identity_totals`), which is what `rankpose.evaluation.statistics` resamples.

Whoever evaluates refuses predictions that are not numbers. Here a NaN makes means, the median and the alignment NaN,
and counts as beyond every threshold, as wrongly ordered, and as no rank correlation.
"""

from rankpose.metrics.angles import AXES, angle_error, axis_error, geodesic_error, rotation_angle, slope
from rankpose.metrics.curves import CURVE_LIMIT_DEG, THRESHOLDS_DEG, cumulative_share
from rankpose.metrics.frames import aligned, alignment
from rankpose.metrics.order import GAPS_DEG, PairCounts, pair_counts, pair_order, spearman
from rankpose.metrics.table import (
    PoseScores,
    Total,
    evaluation_scores,
    identity_totals,
    image_scores,
    pose_scores,
    scores,
)

__all__ = [
    "AXES",
    "CURVE_LIMIT_DEG",
    "GAPS_DEG",
    "THRESHOLDS_DEG",
    "PairCounts",
    "PoseScores",
    "Total",
    "aligned",
    "alignment",
    "angle_error",
    "axis_error",
    "cumulative_share",
    "evaluation_scores",
    "geodesic_error",
    "identity_totals",
    "image_scores",
    "pair_counts",
    "pair_order",
    "pose_scores",
    "rotation_angle",
    "scores",
    "slope",
    "spearman",
]
