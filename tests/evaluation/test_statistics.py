"""Properties of the intervals and comparisons."""

import math

import numpy as np
import pytest
import scipy.stats
import torch

from rankpose.evaluation import statistics
from rankpose.evaluation.statistics import (
    Interval,
    bootstrap_median,
    draws,
    paired_bootstrap,
    score_differences,
    score_intervals,
    slope_intervals,
)
from rankpose.metrics import aligned, alignment, evaluation_scores, geodesic_error, image_scores, scores, slope


@pytest.fixture
def rng():
    return np.random.default_rng(5)


@pytest.fixture
def people():
    """Labels, predictions whose error differs from person to person, and identities: 12 people, 10 images each."""
    seed = torch.Generator().manual_seed(2)
    identity = torch.arange(120) // 10
    target = (torch.rand(120, 3, generator=seed) - 0.5) * 100
    own = 4 * torch.randn(12, 3, generator=seed)
    return target + own[identity] + 2 * torch.randn(120, 3, generator=seed), target, identity


def of_the_mean(values, identity, **options):
    """The interval of a mean error: that of the difference to a model without errors."""
    found = paired_bootstrap(values, np.zeros_like(values), identity, **options)
    return Interval(found.value, found.low, found.high)


def test_draws_are_multinomial():
    counts = np.concatenate(list(draws(5, 5, resamples=20_000)))
    assert (counts.sum(axis=1) == 5).all()
    assert counts.mean(axis=0) == pytest.approx(np.ones(5), abs=0.03)
    assert counts.var(axis=0) == pytest.approx(np.full(5, 0.8), abs=0.03)  # n p (1 - p) with n = 5, p = 1 / 5
    assert np.cov(counts.T)[0, 1] == pytest.approx(-0.2, abs=0.03)  # -n p p


def test_draws_do_not_depend_on_how_many_are_held(monkeypatch):
    whole = np.concatenate(list(draws(7, 7, resamples=101)))
    monkeypatch.setattr(statistics, "NUMBERS_AT_ONCE", 50)
    blocks = list(draws(7, 9, resamples=101))
    assert len(blocks) == 21
    assert (np.concatenate(blocks) == whole).all()


def test_two_images_by_hand():
    """Of two images a resample holds both in half of the cases, and either of them twice in a quarter."""
    assert of_the_mean(np.array([0.0, 1.0]), np.arange(2)) == Interval(0.5, 0.0, 1.0)
    assert bootstrap_median(np.array([0.0, 1.0]), np.arange(2)) == Interval(0.5, 0.0, 1.0)


def test_the_interval_of_a_mean_is_scipys_and_the_normal_one(rng):
    values = rng.gamma(2, 3, 400)
    found = of_the_mean(values, np.arange(400), resamples=20_000)
    peer = scipy.stats.bootstrap((values,), np.mean, n_resamples=20_000, method="percentile", rng=rng)
    width = 2 * 1.96 * values.std() / 20
    assert found.value == pytest.approx(values.mean())
    assert (found.low, found.high) == pytest.approx(tuple(peer.confidence_interval), abs=0.03 * width)
    assert found.high - found.low == pytest.approx(width, rel=0.05)


@pytest.mark.parametrize("images", [100, 101])
def test_the_interval_of_a_median_is_scipys(rng, images):
    values = rng.gamma(2, 3, images)
    found = bootstrap_median(values, np.arange(images), resamples=10_000)
    peer = scipy.stats.bootstrap((values,), np.median, n_resamples=10_000, method="percentile", rng=rng, batch=1000)
    assert found.value == np.median(values)
    assert (found.low, found.high) == pytest.approx(tuple(peer.confidence_interval), abs=0.1 * (found.high - found.low))


def test_the_median_of_each_resample_is_that_of_its_images(rng):
    values, identity = rng.normal(size=40).round(1), rng.integers(6, size=40)
    medians = statistics._medians(values, identity, 50, 3)
    people = np.unique(identity)
    for counts, median in zip(next(draws(len(people), 40, 50, 3)), medians, strict=True):
        times = counts[np.searchsorted(people, identity)].astype(int)
        assert np.median(np.repeat(values, times)) == median


def test_people_are_drawn_whole(rng):
    """Images of one person that err alike are one piece of news, however many there are."""
    each = rng.gamma(4, 1, 30)
    identity = np.repeat(np.arange(30), 20)
    together = of_the_mean(each[identity], identity)
    alone = of_the_mean(each, np.arange(30))
    apart = of_the_mean(each[identity], np.arange(600))
    assert (together.value, together.low, together.high) == pytest.approx((alone.value, alone.low, alone.high))
    assert apart.high - apart.low < (together.high - together.low) / 3


def test_people_weigh_by_their_images():
    """Drawn are {A, A}, {A, B} or {B, B}: the mean of the middle one is over all four images."""
    found = of_the_mean(np.array([0.0, 8.0, 8.0, 8.0]), np.array([3, 9, 9, 9]))
    assert found == Interval(6.0, 0.0, 8.0)


def test_the_interval_holds_the_truth_in_95_of_100_sets(rng):
    held = []
    for seed in range(400):
        values = rng.normal(3, 1, 60)
        interval = of_the_mean(values, np.arange(60), resamples=500, seed=seed)
        held.append(interval.low <= 3 <= interval.high)
    assert 0.91 <= np.mean(held) <= 0.98


def test_one_person_says_nothing_about_others(people):
    prediction, target, _ = people
    found = score_intervals(prediction, target, torch.full((120,), 4))
    for name in ("mae", "geodesic_median", "pair_order"):
        assert math.isfinite(found[name].value)
        assert math.isnan(found[name].low)
        assert math.isnan(found[name].high)


def test_there_is_an_interval_for_every_score(people):
    found, expected = score_intervals(*people), scores(*people)
    assert list(found) == list(expected)
    for name, interval in found.items():
        assert interval.value == pytest.approx(expected[name]), name
        assert interval.low <= interval.value <= interval.high, name
    for name in ("mae", "maev_left", "geodesic", "geodesic_median", "pair_order", "yaw_spearman"):
        assert found[name].low < found[name].value < found[name].high, name


def test_intervals_of_scores_are_those_of_their_images(people):
    prediction, target, identity = people
    found = score_intervals(*people)
    values = {name: column.numpy() for name, column in image_scores(prediction, target).items()}
    for name, interval in ((name, of_the_mean(column, identity.numpy())) for name, column in values.items()):
        assert (interval.low, interval.high) == pytest.approx((found[name].low, found[name].high)), name


def test_intervals_repeat(people):
    assert score_intervals(*people) == score_intervals(*people)
    assert score_intervals(*people) != score_intervals(*people, seed=1)


def test_intervals_do_not_depend_on_the_order_of_rows(people):
    """Which rows stand where does not matter as long as people keep their numbers."""
    rows = torch.randperm(120, generator=torch.Generator().manual_seed(1))
    found, shuffled = score_intervals(*people), score_intervals(*(column[rows] for column in people))
    for name, interval in found.items():
        assert (shuffled[name].low, shuffled[name].high) == pytest.approx((interval.low, interval.high)), name


def test_resamples_without_a_pair_do_not_count(people):
    """Two people with two images and eight with one: one resample in nine has no pair, the others have an order."""
    prediction, target, _ = people
    identity = torch.tensor([0, 0, 1, 1, *range(2, 10)])
    found = score_intervals(prediction[:12], target[:12], identity)["pair_order"]
    assert 0 <= found.low <= found.value <= found.high <= 1


def test_singles_have_no_interval_of_order(people):
    prediction, target, _ = people
    found = score_intervals(prediction, target, torch.arange(120))
    assert math.isnan(found["pair_order"].value)
    assert math.isnan(found["pair_order"].low)
    assert found["geodesic"].low < found["geodesic"].high


def test_aligned_values_have_intervals_of_their_own(people):
    """The value inside the interval of aligned predictions is the one that is reported beside it."""
    prediction, target, identity = people
    straight = aligned(prediction.double(), alignment(prediction, target))
    found = score_intervals(straight, target, identity)["geodesic"]
    assert found.value == pytest.approx(evaluation_scores(*people)["aligned_geodesic"])
    assert found.low < found.value < found.high


def test_a_model_differs_not_from_itself(people):
    prediction, target, identity = people
    for name, difference in score_differences(prediction, prediction, target, identity).items():
        assert (difference.value, difference.low, difference.high) == (0, 0, 0), name
        assert (difference.below_zero, difference.p) == (0, 1), name


def test_a_difference_on_every_image_is_certain(rng):
    errors = rng.gamma(2, 3, 200)
    found = paired_bootstrap(errors, errors + 0.1, np.arange(200) // 4)
    assert (found.value, found.low, found.high) == pytest.approx((-0.1, -0.1, -0.1))
    assert found.below_zero == 1
    assert found.p == pytest.approx(2 / 2001)


def test_a_paired_difference_is_scipys(rng):
    first, second = rng.gamma(2, 3, (2, 300))
    found = paired_bootstrap(first, second, np.arange(300), resamples=20_000)
    peer = scipy.stats.bootstrap((first - second,), np.mean, n_resamples=20_000, method="percentile", rng=rng)
    width = found.high - found.low
    assert (found.low, found.high) == pytest.approx(tuple(peer.confidence_interval), abs=0.03 * width)
    # for a mean of 300 images the two-sided p is near that of the paired t test
    assert found.p == pytest.approx(scipy.stats.ttest_rel(first, second).pvalue, abs=0.02)


def test_swapping_the_models_turns_the_difference_around(rng):
    first, second = rng.gamma(2, 3, (2, 100))
    one, other = (paired_bootstrap(*pair, np.arange(100) // 5) for pair in ((first, second), (second, first)))
    assert (one.value, one.low, one.high) == pytest.approx((-other.value, -other.high, -other.low))
    assert one.below_zero == pytest.approx(1 - other.below_zero)
    assert one.p == other.p


def test_a_true_null_is_rejected_in_5_of_100_sets(rng):
    p = [paired_bootstrap(*rng.normal(size=(2, 60)), np.arange(60), 500, seed).p for seed in range(400)]
    assert 0.02 <= np.mean(np.array(p) < 0.05) <= 0.09


def test_pairing_tells_more_than_two_intervals(people):
    prediction, target, identity = people
    worse = target + 1.1 * (prediction - target)
    apart = [score_intervals(pose, target, identity)["mae"] for pose in (prediction, worse)]
    assert apart[0].high > apart[1].low
    assert score_differences(prediction, worse, target, identity)["mae"].high < 0


def test_score_differences_are_paired_bootstraps(people):
    prediction, target, identity = people
    other = target + 0.5 * (prediction - target).flip(1)
    found = score_differences(prediction, other, target, identity)
    assert list(found) == list(scores(*people))
    errors = [geodesic_error(pose.double(), target.double()).numpy() for pose in (prediction, other)]
    alone = paired_bootstrap(*errors, identity.numpy())
    for name in ("value", "low", "high", "below_zero", "p"):
        assert getattr(found["geodesic"], name) == pytest.approx(getattr(alone, name))
    assert found["geodesic_median"].value == pytest.approx(np.median(errors[0]) - np.median(errors[1]))
    assert found["geodesic_median"].low < found["geodesic_median"].value < found["geodesic_median"].high


@pytest.mark.parametrize(("first", "second", "people"), [(3, 2, 3), (3, 1, 3), (3, 3, 2)])
def test_a_pair_needs_the_same_images(first, second, people):
    with pytest.raises(ValueError, match=f"same images: {first} and {second} errors, {people} identities"):
        paired_bootstrap(np.ones(first), np.ones(second), np.arange(people))


def test_the_interval_of_a_slope_is_that_of_lines_through_people_drawn_anew(people):
    prediction, target, identity = people
    prediction = 0.8 * prediction + 3
    found = slope_intervals(prediction, target, identity, resamples=300)
    samples = []
    for block in draws(12, 16, resamples=300):
        for counts in block.astype(int):
            rows = np.concatenate([np.repeat(np.flatnonzero(identity == k), counts[k]) for k in range(12)])
            samples.append(slope(prediction[rows].double(), target[rows].double()).numpy())
    low, high = np.quantile(samples, [0.025, 0.975], axis=0)
    assert [one.low for one in found] == pytest.approx(low, abs=1e-6)
    assert [one.high for one in found] == pytest.approx(high, abs=1e-6)
    values = slope(prediction.double(), target.double()).numpy()
    assert [one.value for one in found] == pytest.approx(values, abs=1e-9)
    assert (np.array([one.low for one in found]) < values).all()
    assert all(math.isnan(one.low) for one in slope_intervals(prediction[:10], target[:10], identity[:10]))
