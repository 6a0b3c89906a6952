"""All scores of a set by name, from one table of predictions."""

from itertools import pairwise
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat

from rankpose.metrics.angles import AXES, angle_error, axis_error, geodesic_error, rotation_angle
from rankpose.metrics.curves import CURVE_LIMIT_DEG, THRESHOLDS_DEG
from rankpose.metrics.frames import aligned, alignment
from rankpose.metrics.order import GAPS_DEG, pair_counts, pair_order, spearman
from rankpose.pose import ANGLES, rotmat_to_euler


def image_scores(prediction: Tensor, target: Tensor) -> dict[str, Tensor]:
    """What each image adds to the scores that are means over images.

    Args:
        prediction: (N, 3) degrees.
        target: (N, 3) degrees.

    Returns:
        (N,) float64 by name: errors in degrees (`mae`, `yaw_mae` ..., `geodesic`, `maev`, `maev_left` ...); 0 or 1 for
        the share within a threshold of the geodesic error and of each angle's (`within_5` ..., `yaw_within_5` ...); and
        `auc_30`, whose mean is the area under the cumulative curve of the geodesic error to 30 degrees over that of a
        perfect one.
    """
    prediction, target = prediction.double(), target.double()
    error, axes, geodesic = (
        angle_error(prediction, target),
        axis_error(prediction, target),
        geodesic_error(prediction, target),
    )
    values = {"mae": error.mean(dim=1), "geodesic": geodesic, "maev": axes.mean(dim=1)}
    values |= {f"{name}_mae": error[:, k] for k, name in enumerate(ANGLES)}
    values |= {f"maev_{name}": axes[:, k] for k, name in enumerate(AXES)}
    for limit in THRESHOLDS_DEG:
        values[f"within_{limit}"] = (geodesic <= limit).double()
        values |= {f"{name}_within_{limit}": (error[:, k] <= limit).double() for k, name in enumerate(ANGLES)}
    # the area under a step at e is what is left of the range behind it
    values[f"auc_{CURVE_LIMIT_DEG}"] = (1 - geodesic / CURVE_LIMIT_DEG).clamp(min=0)
    return values


class Total(NamedTuple):
    """A score before its division: `numerator.sum() / denominator.sum()`, each (I,) float64, one number an identity."""

    numerator: Tensor
    denominator: Tensor

    def score(self) -> Tensor:
        """The score, a scalar; NaN where nothing counts."""
        return self.numerator.sum() / self.denominator.sum()


def identity_totals(prediction: Tensor, target: Tensor, identity: Tensor) -> dict[str, Total]:
    """All scores but the median, by name, before their division; see `scores`.

    Identities are in the order of `torch.unique`.

    Args:
        prediction: (N, 3) degrees.
        target: (N, 3) degrees.
        identity: (N,) whole numbers.
    """
    prediction, target = prediction.double(), target.double()
    _, person, images = torch.unique(identity, return_inverse=True, return_counts=True)
    totals = {
        name: Total(torch.zeros_like(images, dtype=torch.float64).index_add(0, person, values), images.double())
        for name, values in image_scores(prediction, target).items()
    }
    right, ordered = (counts.double() for counts in pair_counts(prediction, target, identity))
    totals["pair_order"] = Total(right.sum(dim=(1, 2)), ordered.sum(dim=(1, 2)))
    for k, name in enumerate(ANGLES):
        totals[f"{name}_pair_order"] = Total(right[:, k].sum(dim=1), ordered[:, k].sum(dim=1))
    bins = [*(f"{low}_{high}" for low, high in pairwise(GAPS_DEG)), f"{GAPS_DEG[-1]}_up"]
    for k, name in enumerate(bins):
        totals[f"pair_order_{name}"] = Total(right[:, :, k].sum(dim=1), ordered[:, :, k].sum(dim=1))
    correlation = spearman(prediction, target, identity)
    counted = (~correlation.isnan()).double()
    correlation = correlation.nan_to_num(0.0)
    totals["spearman"] = Total(correlation.sum(dim=1), counted.sum(dim=1))
    totals |= {f"{name}_spearman": Total(correlation[:, k], counted[:, k]) for k, name in enumerate(ANGLES)}
    return totals


def scores(prediction: Tensor, target: Tensor, identity: Tensor) -> dict[str, float]:
    """All scores of a set by name, sorted.

    * `mae`, `yaw_mae`, `pitch_mae`, `roll_mae`: mean absolute error, degrees, wrapped.
    * `geodesic`, `geodesic_median`: `geodesic_error`, degrees.
    * `maev`, `maev_left`, `maev_down`, `maev_front`: `axis_error`, degrees.
    * `within_5`, `within_10`, `within_15` of the geodesic error and `yaw_within_5` ... of each angle's: shares.
    * `auc_30`: area under the cumulative curve of the geodesic error, in [0, 1].
    * `pair_order`, `yaw_pair_order` ..., and by how far apart two labels are `pair_order_0_5`, `pair_order_5_10`,
      `pair_order_10_20`, `pair_order_20_40`, `pair_order_40_up`: shares of same-person pairs.
    * `spearman`, `yaw_spearman` ...: the mean over identities (and angles) of `spearman`.

    NaN where nothing counts: no identity with two images, none with three, no pair so far apart.

    Args:
        prediction: (N, 3) degrees, N at least 1.
        target: (N, 3) degrees.
        identity: (N,) whole numbers.
    """
    values = {name: total.score() for name, total in identity_totals(prediction, target, identity).items()}
    values["geodesic_median"] = geodesic_error(prediction.double(), target.double()).quantile(0.5)
    return {name: float(value) for name, value in sorted(values.items())}


def evaluation_scores(prediction: Tensor, target: Tensor, identity: Tensor) -> dict[str, float]:
    """`scores` as they are and aligned, sorted by name, and the alignment between them.

    Beside each score stands `aligned_` and its name, the same of the `aligned` predictions. `alignment` is the angle of
    the rotation that was taken out, `alignment_yaw`, `alignment_pitch` and `alignment_roll` its Euler angles, degrees.
    """
    rotation = alignment(prediction, target)
    values = scores(prediction, target, identity)
    values |= {
        f"aligned_{name}": value
        for name, value in scores(aligned(prediction.double(), rotation), target, identity).items()
    }
    values["alignment"] = float(rotation_angle(rotation))
    values |= {f"alignment_{name}": float(angle) for name, angle in zip(ANGLES, rotmat_to_euler(rotation), strict=True)}
    return dict(sorted(values.items()))


def pose_scores(prediction: Tensor, target: Tensor, identity: Tensor) -> dict[str, Tensor]:
    """What training logs, by name: `mae`, `yaw_mae`, `pitch_mae`, `roll_mae`, `geodesic` (degrees), `pair_order`."""
    images = image_scores(prediction, target)
    names = ("mae", *(f"{name}_mae" for name in ANGLES), "geodesic")
    few = {name: images[name].mean().to(prediction.dtype) for name in names}
    few["pair_order"] = pair_order(prediction, target, identity)
    return few


class PoseScores(Metric):
    """`pose_scores` over batches and processes.

    Keeps every prediction with its sample's index: a process that must repeat samples to fill its last batch does not
    change the result, and neither does the number of processes nor the order.
    """

    full_state_update = False
    index: list[Tensor]
    prediction: list[Tensor]
    target: list[Tensor]
    identity: list[Tensor]
    expected: list[Tensor]

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        for state in ("index", "prediction", "target", "identity", "expected"):
            self.add_state(state, default=[], dist_reduce_fx="cat")

    def update(
        self, index: Tensor, prediction: Tensor, target: Tensor, identity: Tensor, expected: Tensor | None = None
    ) -> None:
        """Adds a batch.

        Args:
            index: (N,) of the samples in their set.
            prediction, target: (N, 3) degrees.
            identity: (N,).
            expected: (N,) degrees, the error that the network expects; None where it does not say.
        """
        self.expected.append(torch.full_like(prediction[:, 0].float(), torch.nan) if expected is None else expected)
        self.index.append(index)
        self.prediction.append(prediction.float())
        self.target.append(target.float())
        self.identity.append(identity)

    def table(self) -> dict[str, Tensor]:
        """All that was added, of every sample once, by index. Call it where states are synced."""
        index = dim_zero_cat(self.index)
        order = torch.argsort(index, stable=True)
        first = torch.ones_like(order, dtype=torch.bool)
        first[1:] = index[order][1:] != index[order][:-1]
        rows = order[first]
        return {
            "index": index[rows],
            "prediction": dim_zero_cat(self.prediction)[rows],
            "target": dim_zero_cat(self.target)[rows],
            "identity": dim_zero_cat(self.identity)[rows],
            "expected": dim_zero_cat(self.expected)[rows],
        }

    def compute(self) -> dict[str, Tensor]:
        table = self.table()
        return pose_scores(table["prediction"], table["target"], table["identity"])
