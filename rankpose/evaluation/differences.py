"""Is a model better than another on the same images?"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from rankpose.errors import DatasetError
from rankpose.evaluation.scores import Evaluation, poses_of, rising
from rankpose.evaluation.statistics import Difference, score_differences
from rankpose.metrics import aligned, alignment
from rankpose.pose import ANGLES


@dataclass(frozen=True)
class ModelDifference:
    """The scores of a model less those of another, on the same images."""

    protocol: str
    first: str
    second: str
    scores: Mapping[str, Difference]
    """First less second, as they are and `aligned_`."""
    images: int | None = None
    """How many both have answered; None of an earlier version."""

    def better(self, score: str) -> str | None:
        """The model that is better by this score; None where the interval holds 0 or there is none."""
        found = self.scores[score]
        if not (found.low > 0 or found.high < 0):
            return None
        return self.first if (found.value > 0) == rising(score) else self.second


def differences(evaluations: Iterable[Evaluation]) -> list[ModelDifference]:
    """Paired bootstrap of every two models under the same protocol, on clean images.

    Raises:
        DatasetError: two models were not tested on the same images with the same labels.
    """
    by_protocol: dict[str, list[Evaluation]] = {}
    for evaluation in evaluations:
        if evaluation.strength == 0:
            by_protocol.setdefault(evaluation.protocol, []).append(evaluation)
    return [_difference(*pair) for group in by_protocol.values() for pair in combinations(group, 2)]


def _difference(first: Evaluation, second: Evaluation) -> ModelDifference:
    one, two = (evaluation.predictions.set_index("name") for evaluation in (first, second))
    both = f"{first.model} and {second.model} under {first.protocol}"
    only = one.index.symmetric_difference(two.index)
    if first.unanswered or second.unanswered:  # the images that both have answered
        one = one.loc[one.index.intersection(two.index)]
        if len(one) < 2:
            raise DatasetError(f"{both}: there are not two images that both have answered.")
    elif len(only):
        raise DatasetError(
            f"{both}: a comparison needs the same images, {len(only):,} are of one model only, the first {only[0]}."
        )
    two = two.loc[one.index]
    other = ~np.isclose(one[list(ANGLES)].to_numpy(float), two[list(ANGLES)].to_numpy(float), atol=1e-3).all(axis=1)
    if other.any():
        raise DatasetError(f"{both}: a comparison needs the same labels, they differ for {one.index[other][0]}.")
    prediction_a, target, identity = poses_of(one)
    prediction_b, _, _ = poses_of(two)
    turned_a, turned_b = (aligned(pose, alignment(pose, target)) for pose in (prediction_a, prediction_b))
    found = score_differences(prediction_a, prediction_b, target, identity)
    turned = score_differences(turned_a, turned_b, target, identity)
    found |= {f"aligned_{name}": difference for name, difference in turned.items()}
    return ModelDifference(first.protocol, first.model, second.model, found, len(one))
