"""How good predicted poses are: pure functions, and thin torchmetrics classes that are right under DDP.

Angles are degrees, ordered (yaw, pitch, roll); errors of angles are wrapped, so 179 and -179 are 2 apart. `pose_scores`
are the few that training logs, `scores` all of them, `aligned` takes out the rotation by which a predictor's frame
differs from the data set's. Except for the median, every score is a ratio of two sums over identities
(`identity_totals`), which is what `rankpose.evaluation.statistics` resamples.

Whoever evaluates refuses predictions that are not numbers. Here a NaN makes means, the median and the alignment NaN,
and counts as beyond every threshold, as wrongly ordered, and as no rank correlation.
"""

from itertools import pairwise
from typing import Any, NamedTuple

import roma
import torch
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat

from rankpose.pose import ANGLES, euler_to_rotmat, rotmat_to_euler, wrap_angle

AXES = ("left", "down", "front")
"""The head's axes: to its own left, to its chin, out of its face.

They are the columns of TriNet's rotation (Cao, Chu, Liu, Chen: A Vector-based Representation to Enhance Head Pose
Estimation, WACV 2021), whose frame has y down. They are the columns of ours as well: ours has y up, so that its second
column points to the crown, which turns by the same angle as its opposite.
"""
THRESHOLDS_DEG = (5, 10, 15)
"""Within which error the share of images is counted."""
CURVE_LIMIT_DEG = 30
"""Where the cumulative curve ends."""
GAPS_DEG = (0, 5, 10, 20, 40)
"""Where bins of label differences begin, for the order of pairs; the last has no end."""
BIN_DEG = 10
"""How wide bins of a true angle are."""


def angle_error(prediction: Tensor, target: Tensor) -> Tensor:
    """The absolute error of each angle. (N, 3) and (N, 3) degrees to (N, 3) in [0, 180].

    >>> angle_error(torch.tensor([[179.0, 0.0, 2.0]]), torch.tensor([[-179.0, 1.0, 0.0]]))
    tensor([[2., 1., 2.]])
    """
    return wrap_angle(prediction - target).abs()


def geodesic_error(prediction: Tensor, target: Tensor) -> Tensor:
    """The angle of the rotation between predicted and true head, `angle(R1^T R2)`. (N, 3) degrees to (N,) in [0, 180].

    >>> geodesic_error(torch.tensor([[30.0, 0.0, 0.0]]), torch.tensor([[0.0, 0.0, 0.0]])).round()
    tensor([30.])
    """
    # double: near 0 the angle of a float32 rotation is only good to 0.02 degrees
    first, second = euler_to_rotmat(prediction.double()), euler_to_rotmat(target.double())
    return torch.rad2deg(roma.rotmat_geodesic_distance(first, second)).to(prediction.dtype)


def axis_error(prediction: Tensor, target: Tensor) -> Tensor:
    """The angle between the predicted and the true position of each of the head's axes, `AXES`.

    Its mean over images is MAEV, the mean absolute error of vectors (TriNet, WACV 2021); unlike errors of Euler angles
    it does not grow without reason near yaw +-90. (N, 3) and (N, 3) degrees to (N, 3) in [0, 180].

    >>> axis_error(torch.tensor([[30.0, 0.0, 0.0]]), torch.tensor([[0.0, 0.0, 0.0]])).round().abs()
    tensor([[30.,  0., 30.]])
    """
    first, second = euler_to_rotmat(prediction.double()), euler_to_rotmat(target.double())
    # Kahan's angle between unit vectors: an arccos of their product loses half the digits near 0 and 180
    half = torch.atan2((first - second).norm(dim=-2), (first + second).norm(dim=-2))
    return torch.rad2deg(2 * half).to(prediction.dtype)


def cumulative_share(error: Tensor, limits: Tensor) -> Tensor:
    """The share of errors that are at most each limit: the cumulative error curve. (N,) and (T,) degrees to (T,)."""
    return torch.searchsorted(error.sort().values, limits.to(error.dtype), right=True) / len(error)


class BinnedError(NamedTuple):
    """A mean error against an angle, see `binned_error`."""

    edges: Tensor
    """(B + 1,) degrees, from -180 to 180; a bin holds its lower edge and not its upper one."""
    images: Tensor
    """(B,) how many."""
    mean: Tensor
    """(B,) degrees, NaN where there is no image."""


def binned_error(error: Tensor, angle_deg: Tensor) -> BinnedError:
    """The mean error in bins of 10 degrees of a true angle.

    Args:
        error: (N,) degrees, of that angle or any other.
        angle_deg: (N,) degrees, any range; 370 is in the bin of 10.
    """
    bins = 360 // BIN_DEG
    # the wrapped angle just below -180 rounds up to 180
    place = ((wrap_angle(angle_deg.double()) + 180) / BIN_DEG).long().clamp(max=bins - 1)
    images = torch.bincount(place, minlength=bins)
    total = torch.bincount(place, weights=error.double(), minlength=bins)
    return BinnedError(torch.linspace(-180, 180, bins + 1, dtype=torch.float64), images, total / images)


class PairCounts(NamedTuple):
    """Pairs of images of one person, by identity (in the order of `torch.unique`), angle and bin of `GAPS_DEG`."""

    right: Tensor
    """(I, 3, B): pairs that the predictions put in the order of the labels."""
    ordered: Tensor
    """(I, 3, B): pairs whose labels differ."""


def pair_counts(prediction: Tensor, target: Tensor, identity: Tensor) -> PairCounts:
    """How many same-person pairs are put in the right order, and of how many.

    Labels and predictions are compared as numbers, as the ranking loss does: an angle does not wrap around here. A pair
    with equal labels does not count, equal predictions are wrong. Holds a few numbers an image, never all pairs.

    Args:
        prediction: (N, 3) degrees.
        target: (N, 3) degrees.
        identity: (N,) whole numbers.
    """
    order = torch.argsort(identity, stable=True)
    prediction, target = prediction[order], target[order]
    _, person, images = torch.unique_consecutive(identity[order], return_inverse=True, return_counts=True)
    row = torch.arange(len(order), device=order.device)
    following = images.cumsum(0)[person] - 1 - row
    shape = (len(images), len(ANGLES), len(GAPS_DEG))
    cells = len(images) * len(ANGLES) * len(GAPS_DEG)
    series = (person[:, None] * len(ANGLES) + torch.arange(len(ANGLES), device=order.device)) * len(GAPS_DEG)
    starts = torch.tensor(GAPS_DEG[1:], dtype=target.dtype, device=order.device)
    counts = torch.zeros(2, cells, dtype=torch.long, device=order.device)
    # at each step every image meets the one so many places on, of all persons at once
    for step in range(1, int(images.max())):
        row = row[following[row] >= step]
        difference = target[row] - target[row + step]
        ordered = difference != 0
        right = ordered & (torch.sign(prediction[row] - prediction[row + step]) == torch.sign(difference))
        cell = series[row] + torch.bucketize(difference.abs(), starts, right=True)
        counts[0] += torch.bincount(cell[right], minlength=cells)
        counts[1] += torch.bincount(cell[ordered], minlength=cells)
    return PairCounts(counts[0].reshape(shape), counts[1].reshape(shape))


def pair_order(prediction: Tensor, target: Tensor, identity: Tensor) -> Tensor:
    """The share of same-person pairs put in the right order, over all three angles.

    Args:
        prediction: (N, 3) degrees.
        target: (N, 3) degrees.
        identity: (N,) whole numbers.

    Returns:
        a scalar in [0, 1], 0.5 by chance; pairs with equal labels do not count, equal predictions count as wrong. NaN
        where no identity has two images.
    """
    counts = pair_counts(prediction, target, identity)
    share: Tensor = counts.right.sum() / counts.ordered.sum()
    return share.to(prediction.dtype)


def spearman(prediction: Tensor, target: Tensor, identity: Tensor) -> Tensor:
    """Spearman's rank correlation between predictions and labels within each identity.

    Equal values share the mean of their ranks, as in `scipy.stats.spearmanr`.

    Args:
        prediction: (N, 3) degrees.
        target: (N, 3) degrees.
        identity: (N,) whole numbers.

    Returns:
        (I, 3) in [-1, 1], float64, by identity (in the order of `torch.unique`) and angle. NaN where the identity has
        fewer than three images or only one label; 0 where its labels differ and its predictions have no order (are
        all equal, or one is NaN).
    """
    _, person, images = torch.unique(identity, return_inverse=True, return_counts=True)

    def summed(values: Tensor) -> Tensor:
        return values.new_zeros(len(images), values.shape[1]).index_add(0, person, values)

    def centred_ranks(values: Tensor) -> Tensor:
        """Ranks of each identity's values less their mean: ranks of all, identity by identity, differ by a constant."""
        columns = []
        for column in values.unbind(dim=1):
            _, place = torch.unique(column, return_inverse=True)
            _, group, ties = torch.unique(person * len(place) + place, return_inverse=True, return_counts=True)
            last = ties.cumsum(0).double()
            columns.append((last - (ties - 1).double() / 2)[group].masked_fill(column.isnan(), torch.nan))
        ranks = torch.stack(columns, dim=1)
        mean: Tensor = (summed(ranks) / images[:, None])[person]
        return ranks - mean

    predicted, true = centred_ranks(prediction), centred_ranks(target)
    spread = summed(true.square())
    correlation = summed(predicted * true) / (summed(predicted.square()) * spread).sqrt()
    counted: Tensor = (images[:, None] >= 3) & (spread > 0)
    return torch.where(counted, correlation.nan_to_num(0.0), torch.nan)


def alignment(prediction: Tensor, target: Tensor) -> Tensor:
    """The constant rotation by which a predictor's frame differs from the data set's: A in `R_pred = A R_true`.

    The mean of `R_pred R_true^T` over the images, projected onto rotations (Procrustes), which minimises the sum of
    squared chordal distances (Cobo, Valle, Buenaposada, Baumela: On the representation and methodology for wide and
    short range head pose estimation, Pattern Recognition 2024). A multiplies from the left, as in their code: it turns
    the camera's frame. Their code takes the geodesic mean of those within 90 degrees; the chordal mean needs no such
    cut. For BIWI it aligns each sequence by itself, which removes more than one rotation for the whole set.

    A predictor whose zero head differs is turned from the right, `R_pred = R_true B`. Where all heads look about one
    way that is much the same; over a spread of poses A takes out only a part: of a B of 5 degrees, 1.7 to 2.8 are left
    over the poses of BIWI and AFLW2000-3D.

    Args:
        prediction: (N, 3) degrees.
        target: (N, 3) degrees; of many images, since that of one image takes out all of its error.

    Returns:
        (3, 3) float64.
    """
    relative = euler_to_rotmat(prediction.double()) @ euler_to_rotmat(target.double()).mT
    rotation: Tensor = roma.special_procrustes(relative.mean(dim=0))
    return rotation


def aligned(prediction: Tensor, rotation: Tensor) -> Tensor:
    """Predictions without the constant rotation A that `alignment` found: `A^T R_pred` as angles.

    Of the two triples of a rotation, (y, p, r) and (180 - y, p + 180, r + 180), it is the one nearer to the prediction,
    so that an angle keeps to its range. At yaw +-90 exactly (gimbal lock) pitch and roll are not unique; see
    `rotmat_to_euler`.

    Args:
        prediction: (N, 3) degrees.
        rotation: (3, 3).

    Returns:
        (N, 3) degrees.
    """
    turned = rotmat_to_euler(rotation.double().mT @ euler_to_rotmat(prediction.double()))
    other = turned * turned.new_tensor([-1.0, 1.0, 1.0]) + 180.0
    change = wrap_angle(torch.stack([turned, other]) - prediction)
    nearer = change.abs().sum(dim=-1).argmin(dim=0)
    return (prediction + change[nearer, torch.arange(len(prediction), device=nearer.device)]).to(prediction.dtype)


def rotation_angle(rotation: Tensor) -> Tensor:
    """How far a rotation turns. (..., 3, 3) to (...,) degrees in [0, 180]."""
    return torch.rad2deg(roma.rotmat_to_rotvec(rotation).norm(dim=-1))


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


class PoseTable(Metric):
    """Every prediction of a set, over batches and processes: what the scores are computed from.

    Keeps every prediction with its sample's index: a process that must repeat samples to fill its last batch does not
    change the result, and neither does the number of processes nor the order.
    """

    full_state_update = False
    index: list[Tensor]
    prediction: list[Tensor]
    target: list[Tensor]
    identity: list[Tensor]

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        for state in ("index", "prediction", "target", "identity"):
            self.add_state(state, default=[], dist_reduce_fx="cat")

    def update(self, index: Tensor, prediction: Tensor, target: Tensor, identity: Tensor) -> None:
        """Adds a batch: (N,) indices of the samples in their set, (N, 3) and (N, 3) degrees, (N,) identities."""
        self.index.append(index)
        self.prediction.append(prediction.float())
        self.target.append(target.float())
        self.identity.append(identity)

    def table(self) -> dict[str, Tensor]:
        """Index, prediction, target and identity of every sample once, by index. Call it where states are synced."""
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
        }


class PoseScores(PoseTable):
    """`pose_scores` over batches and processes."""

    def compute(self) -> dict[str, Tensor]:
        table = self.table()
        return pose_scores(table["prediction"], table["target"], table["identity"])


class EvaluationScores(PoseTable):
    """`evaluation_scores` over batches and processes."""

    def compute(self) -> dict[str, float]:
        table = self.table()
        return evaluation_scores(table["prediction"], table["target"], table["identity"])
