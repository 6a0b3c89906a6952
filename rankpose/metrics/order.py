"""Are images of one person in the right order?"""

from typing import NamedTuple

import torch
from torch import Tensor

from rankpose.pose import ANGLES

GAPS_DEG = (0, 5, 10, 20, 40)
"""Where bins of label differences begin, for the order of pairs; the last has no end."""


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
