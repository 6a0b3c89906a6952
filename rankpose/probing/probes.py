"""What do features know? Linear probes, tested on people whom they have not seen.

A probe reads a factor from features that are standardised and, where there are more, brought to their `MOST_DIMENSIONS`
principal directions (of all pictures, without any label): ridge regression for numbers, logistic regression for classes
(scikit-learn). Folds are of people, so a probe cannot know the person; who it is, it is asked of other pictures of the
same people. How strongly a probe is held back is chosen among the training people of each fold, by people again.

Scores are 0 by chance and 1 at best. Of numbers it is R2, the share of the squared distance from the training people's
mean that the probe explains, of several numbers together after each is brought to one spread. Of classes it is the
accuracy, averaged over classes so that a common one does not count more, between that of guessing and 1. Intervals, and
those of differences of two networks on the same pictures, draw people with replacement.
"""

import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from sklearn.decomposition import PCA
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import recall_score
from sklearn.model_selection import GroupKFold, StratifiedKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

from rankpose.errors import DatasetError
from rankpose.evaluation.statistics import Difference, Interval, difference_of, draws, interval_of
from rankpose.probing.factors import IDENTITY, Factor

FOLDS = 5
MOST_DIMENSIONS = 128
ALPHAS = (1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6)
"""Of ridge regression: the last one leaves next to nothing but the mean."""
STRENGTHS = (1e-4, 1e-3, 1e-2)
"""Of logistic regression (`C`): the first one leaves next to nothing but the guess."""


@dataclass(frozen=True, eq=False)
class Answers:
    """What a probe said of all pictures, summed over the pictures of each person."""

    good: np.ndarray
    """(P, K) of each person: how many pictures of each class were right; for numbers, K = 1, the squared error."""
    of: np.ndarray
    """(P, K) out of how many; for numbers the squared distance from the training people's mean."""
    is_class: bool

    def score(self, weights: np.ndarray) -> np.ndarray:
        """(B, P) how often each person counts -> (B,) scores; NaN where nothing counts."""
        with np.errstate(invalid="ignore", divide="ignore"):
            share = (weights @ self.good) / (weights @ self.of)
            if not self.is_class:
                return np.asarray(1 - share[:, 0])
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", RuntimeWarning)  # no class at all in a draw
                right = np.nanmean(share, axis=1)
        chance = 1 / self.good.shape[1]
        return np.asarray((right - chance) / (1 - chance))

    def value(self) -> float:
        return float(self.score(np.ones((1, len(self.good))))[0])

    def resampled(self, resamples: int, seed: int) -> np.ndarray:
        """(resamples,) scores of people drawn with replacement; of any probe of these people the same draws."""
        return np.concatenate([self.score(one) for one in draws(len(self.good), 4, resamples, seed)])


@dataclass(frozen=True)
class Missing:
    """A factor that could not be asked for."""

    name: str
    reason: str


def probe(
    features: np.ndarray, factors: Sequence[Factor], person: np.ndarray, folds: int = FOLDS, seed: int = 0
) -> tuple[dict[str, Answers], list[Missing]]:
    """Asks features for factors.

    Args:
        features: (N, C).
        factors: of the same pictures.
        person: (N,) who is on each.
        folds: how many parts people are dealt into; each is asked of once.
        seed: of the deals.

    Returns:
        the answers by the factor's name, and the factors that could not be asked for, with reasons.

    Raises:
        DatasetError: fewer than twice as many people as folds.
    """
    with threadpool_limits(1, "blas"):  # matrices are small, and sums in one order give the same figures again
        return _probe(features, factors, np.unique(person, return_inverse=True)[1], folds, seed)


def _probe(
    features: np.ndarray, factors: Sequence[Factor], codes: np.ndarray, folds: int, seed: int
) -> tuple[dict[str, Answers], list[Missing]]:
    people = int(codes.max()) + 1
    if people < 2 * folds:
        raise DatasetError(
            f"probe: {people} people are too few for {folds} folds, which need {2 * folds}: choose another part= or "
            "data=, or fewer folds."
        )
    features = _reduced(features)
    numbers: list[Factor] = []
    answers: dict[str, Answers] = {}
    missing: list[Missing] = []
    for factor in factors:
        if not factor.is_class:
            if factor.values.std(axis=0).min() > 0:
                numbers.append(factor)
            else:
                missing.append(Missing(factor.name, "the same on all pictures"))
        elif factor.name == IDENTITY:
            answers[factor.name] = _identity(features, codes, folds, seed)
        else:
            rows, reason = _usable(factor.values, codes, folds)
            if reason:
                missing.append(Missing(factor.name, reason))
            else:
                answers[factor.name] = _classes(features[rows], factor.values[rows], codes[rows], people, folds, seed)
    if numbers:
        answers |= _numbers(features, numbers, codes, people, folds, seed)
    return {factor.name: answers[factor.name] for factor in factors if factor.name in answers}, missing


def _usable(classes: np.ndarray, codes: np.ndarray, folds: int) -> tuple[np.ndarray, str]:
    """The pictures whose class as many people have as there are folds, and why there are too few."""
    names, code = np.unique(classes, return_inverse=True)
    holders = np.array([len(np.unique(codes[code == place])) for place in range(len(names))])
    rows = np.flatnonzero((holders >= folds)[code])
    left = len(np.unique(classes[rows]))
    return rows, "" if left > 1 else f"fewer than two classes that {folds} people have"


def _reduced(features: np.ndarray) -> np.ndarray:
    """(N, D): standardised, and turned to their principal directions; no label has a say."""
    most = min(MOST_DIMENSIONS, features.shape[1], len(features) - 1)
    pipeline = make_pipeline(StandardScaler(), PCA(most, svd_solver="covariance_eigh"))
    return np.asarray(pipeline.fit_transform(features.astype(np.float64)))


def _deals(codes: np.ndarray, folds: int, seed: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Training and test rows of each fold, by people."""
    return list(GroupKFold(folds, shuffle=True, random_state=seed).split(codes, groups=codes))


def _numbers(
    features: np.ndarray, factors: Sequence[Factor], codes: np.ndarray, people: int, folds: int, seed: int
) -> dict[str, Answers]:
    """All at once: ridge regression costs no more for many targets than for one."""
    columns = np.concatenate([factor.values for factor in factors], axis=1)
    error, spread = np.empty_like(columns), np.empty_like(columns)
    for train, test in _deals(codes, folds, seed):
        middle, scale = columns[train].mean(0), columns[train].std(0)
        wanted = (columns - middle) / np.where(scale > 0, scale, 1)
        losses = np.zeros((len(ALPHAS), columns.shape[1]))
        for inner, held in _deals(codes[train], 3, seed):
            path = _ridge_path(features[train[inner]], wanted[train[inner]], features[train[held]])
            losses += np.stack([np.square(guess - wanted[train[held]]).sum(0) for guess in path])
        # one strength for the numbers that belong together
        starts = np.cumsum([0, *(factor.values.shape[1] for factor in factors)])
        for first, last in pairwise(starts):
            best = ALPHAS[int(losses[:, first:last].sum(1).argmin())]
            part = slice(first, last)
            said = Ridge(best).fit(features[train], wanted[train, part]).predict(features[test])
            error[test, part] = np.square(said.reshape(len(test), -1) - wanted[test, part])
        spread[test] = np.square(wanted[test])
    found, place = {}, 0
    for factor in factors:
        part = slice(place, place + factor.values.shape[1])
        place = part.stop
        wrong, whole = (
            np.bincount(codes, weights=one[:, part].sum(1), minlength=people)[:, None] for one in (error, spread)
        )
        found[factor.name] = Answers(wrong, whole, is_class=False)
    return found


def _ridge_path(features: np.ndarray, wanted: np.ndarray, others: np.ndarray) -> Iterator[np.ndarray]:
    """What ridge regression with each of `ALPHAS` says of other features: one decomposition serves all."""
    middle, mean = features.mean(0), wanted.mean(0)
    size, turn = np.linalg.eigh((features - middle).T @ (features - middle))
    against, towards = (others - middle) @ turn, turn.T @ ((features - middle).T @ (wanted - mean))
    for alpha in ALPHAS:
        yield mean + against @ (towards / (size.clip(0) + alpha)[:, None])


def _logistic(strength: float) -> LogisticRegression:
    return LogisticRegression(C=strength, class_weight="balanced", max_iter=300, tol=1e-3)


def _classes(
    features: np.ndarray, classes: np.ndarray, codes: np.ndarray, people: int, folds: int, seed: int
) -> Answers:
    names, wanted = np.unique(classes, return_inverse=True)
    said = np.empty_like(wanted)
    for train, test in _deals(codes, folds, seed):
        inner, held = _deals(codes[train], 3, seed)[0]
        right = []
        for strength in STRENGTHS:
            guess = _fitted(strength, features[train[inner]], wanted[train[inner]]).predict(features[train[held]])
            there = wanted[train[held]]
            right.append(recall_score(there, guess, labels=np.unique(there), average="macro"))
        model = _fitted(STRENGTHS[int(np.argmax(right))], features[train], wanted[train])
        said[test] = model.predict(features[test])
    return _counted(said, wanted, codes, people, len(names))


def _identity(features: np.ndarray, codes: np.ndarray, folds: int, seed: int) -> Answers:
    """Who it is, asked of pictures that the probe has not seen of people whom it has."""
    said = np.empty_like(codes)
    fewest = int(np.bincount(codes).min())
    if fewest < 2:
        raise DatasetError("probe: a person with a single picture cannot be told; take a set with two or more of each.")
    for train, test in StratifiedKFold(min(folds, fewest), shuffle=True, random_state=seed).split(codes, codes):
        said[test] = _fitted(1e-2, features[train], codes[train]).predict(features[test])
    people = int(codes.max()) + 1
    return _counted(said, codes, codes, people, people)


def _fitted(strength: float, features: np.ndarray, classes: np.ndarray) -> LogisticRegression:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # a score does not change in the last steps
        return _logistic(strength).fit(features, classes)


def _counted(said: np.ndarray, wanted: np.ndarray, codes: np.ndarray, people: int, classes: int) -> Answers:
    good, of = np.zeros((people, classes)), np.zeros((people, classes))
    np.add.at(of, (codes, wanted), 1)
    np.add.at(good, (codes, wanted), said == wanted)
    return Answers(good, of, is_class=True)


def scores(answers: Mapping[str, Answers], resamples: int, seed: int) -> dict[str, Interval]:
    """The score of each factor with its interval."""
    return {
        name: interval_of(one.value(), one.resampled(resamples, seed), _counting(one)) for name, one in answers.items()
    }


def differences(
    first: Mapping[str, Answers], second: Mapping[str, Answers], resamples: int, seed: int
) -> dict[str, Difference]:
    """The score of one network's features less that of another's, on the same pictures."""
    return {
        name: difference_of(
            one.value() - second[name].value(),
            one.resampled(resamples, seed) - second[name].resampled(resamples, seed),
            _counting(one),
        )
        for name, one in first.items()
        if name in second
    }


def _counting(answers: Answers) -> int:
    return int((answers.of.sum(1) > 0).sum())
