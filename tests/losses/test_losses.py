"""Properties of the losses."""

from functools import partial

import numpy as np
import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st

from rankpose.errors import ConfigError
from rankpose.losses import (
    MSE,
    BalancedRankMSE,
    RankMSE,
    gradient_norm,
    gradient_ratio,
    rank_loss,
    same_identity_pairs,
    squared_error,
)
from rankpose.pose import PoseOutput

PAIR = torch.tensor([0, 0])


def said(pose):
    """What a network says whose raw output is the pose."""
    return PoseOutput(pose, pose)


def test_right_order_costs_nothing_and_wrong_order_costs_its_size():
    target = torch.tensor([[-30.0, 0.0, 5.0], [10.0, 20.0, -5.0]])
    assert rank_loss(target, target, PAIR) == 0
    # each angle is wrong by its own distance
    assert rank_loss(-target, target, PAIR) == pytest.approx((40 + 20 + 10) / 3)
    assert rank_loss(-target, target, PAIR, squared=True) == pytest.approx((1600 + 400 + 100) / 3)


def test_order_is_of_signed_angles():
    """For labels -30 and +10 the second is the larger one, whatever their absolute values say."""
    target = torch.tensor([[-30.0, 0.0, 0.0], [10.0, 0.0, 0.0]])
    prediction = target.clone().requires_grad_()
    loss = rank_loss(torch.stack([prediction[1], prediction[0]]), target, PAIR)
    loss.backward()
    # the smaller label's prediction is pushed down, the larger label's up
    assert prediction.grad[1, 0] > 0 > prediction.grad[0, 0]


def test_equal_labels_give_no_term():
    target = torch.tensor([[10.0, 0.0, 0.0], [10.0, 3.0, 0.0]])
    prediction = torch.tensor([[5.0, 1.0, 9.0], [-5.0, 0.0, -9.0]])
    assert rank_loss(prediction, target, PAIR) == pytest.approx(1.0)


def test_margin_asks_for_a_distance():
    target = torch.tensor([[0.0, 0.0, 0.0], [1.0, 1.0, 1.0]])
    assert rank_loss(target, target, PAIR, margin=3.0) == pytest.approx(2.0)


def test_strangers_are_not_ranked():
    target = torch.tensor([[0.0, 0.0, 0.0], [1.0, 1.0, 1.0]])
    assert rank_loss(-target, target, torch.tensor([0, 1])) == 0


@given(st.lists(st.integers(0, 5), min_size=0, max_size=20))
def test_pairs_are_all_pairs_of_an_identity(identities):
    identity = torch.tensor(identities, dtype=torch.long)
    first, second = same_identity_pairs(identity)
    found = {(min(i, j), max(i, j)) for i, j in zip(first.tolist(), second.tolist(), strict=True)}
    expected = {
        (i, j) for i in range(len(identities)) for j in range(i + 1, len(identities)) if identities[i] == identities[j]
    }
    assert found == expected
    assert len(first) == len(expected)


def test_the_loss_is_half_the_published_one():
    torch.manual_seed(0)
    prediction, target = torch.randn(2, 3) * 20, torch.randn(2, 3) * 20
    published = sum(((p - y) ** 2).mean() for p, y in zip(prediction, target, strict=True))
    published = published + 3.0 * rank_loss(prediction, target, PAIR)
    assert RankMSE(weight=3.0)(said(prediction), target, PAIR)["loss"] == pytest.approx(float(published) / 2, rel=1e-5)


def test_units_change_the_balance_by_180():
    torch.manual_seed(0)
    target = torch.randn(8, 3) * 20
    identity = torch.arange(8) // 2
    ratios = {}
    for unit in ("degrees", "normalised"):
        prediction = (target + torch.randn(8, 3, generator=torch.Generator().manual_seed(1)) * 30).requires_grad_()
        ratios[unit] = RankMSE(weight=1.0, unit=unit)(said(prediction), target, identity)["gradient_ratio"]
    assert ratios["normalised"] == pytest.approx(180 * float(ratios["degrees"]), rel=1e-4)


def test_gradient_norm_is_that_of_the_gradient():
    prediction = torch.tensor([[3.0, 4.0, 0.0]], requires_grad=True)
    assert gradient_norm((prediction**2).sum(), prediction) == pytest.approx(10)
    assert gradient_ratio(torch.tensor(1.0), torch.tensor(4.0)) == 0.25
    assert gradient_ratio(torch.tensor(0.0), torch.tensor(0.0)) == 0


def wrong_pairs(seed, people=8):
    """Outputs of which some are in the wrong order, with labels and identities."""
    generator = torch.Generator().manual_seed(seed)
    target = torch.randn(2 * people, 3, generator=generator) * 20
    prediction = (target + torch.randn(2 * people, 3, generator=generator) * 30).requires_grad_()
    return said(prediction), target, torch.arange(2 * people) // 2


@pytest.mark.parametrize("unit", ["degrees", "normalised"])
@pytest.mark.parametrize("share", [0.1, 2.0])
def test_a_balanced_loss_keeps_its_share_whatever_the_unit(share, unit):
    loss = BalancedRankMSE(share=share, unit=unit)
    ratios = [float(loss(*wrong_pairs(seed))["gradient_ratio"]) for seed in range(200)]
    assert np.mean(ratios[50:]) == pytest.approx(share, rel=0.05)
    terms = loss(*wrong_pairs(0))
    expected = terms["mse"] + terms["weight"] / 2 * terms["rank"]
    assert float(terms["loss"]) == pytest.approx(float(expected), rel=1e-5)


def test_one_wrong_pair_is_not_blown_up_to_the_whole_share():
    loss = BalancedRankMSE(share=1.0)
    for seed in range(100):
        usual = loss(*wrong_pairs(seed))
    _, target, identity = wrong_pairs(0)
    right = (target.clone() + 1.0).detach()
    right[0, 0], right[1, 0] = right[1, 0].clone(), right[0, 0].clone()
    terms = loss(said(right.requires_grad_()), target, identity)
    assert float(terms["weight"]) == pytest.approx(float(usual["weight"]), rel=0.2)


def test_a_balanced_loss_without_wrong_pairs_is_the_squared_error():
    _, target, identity = wrong_pairs(0)
    prediction = (target * 1.01).requires_grad_()
    terms = BalancedRankMSE(share=2.0)(said(prediction), target, identity)
    assert terms["loss"] == terms["mse"]
    assert terms["weight"] == 0


def test_a_resumed_balanced_loss_goes_on_with_its_averages():
    loss, other = BalancedRankMSE(), BalancedRankMSE()
    for seed in range(5):
        loss(*wrong_pairs(seed))
    other.load_state_dict(loss.state_dict())
    assert loss(*wrong_pairs(9))["loss"] == other(*wrong_pairs(9))["loss"]


@given(st.lists(st.floats(-90, 90), min_size=6, max_size=6), st.floats(0.1, 1), st.floats(-20, 20))
def test_a_slope_asks_for_its_share_of_the_difference(labels, slope, shift):
    """Predicting the slope's share of every difference is enough, less is not; a common shift costs nothing."""
    target = torch.tensor(labels, dtype=torch.float64).reshape(2, 3)
    assume((target[0] - target[1]).abs().max() > 1e-3)
    assert rank_loss(slope * target + shift, target, PAIR, slope=slope) == pytest.approx(0, abs=1e-9)
    assert rank_loss(0.9 * slope * target, target, PAIR, slope=slope) > 0


def test_no_pair_in_a_batch_leaves_the_squared_error():
    prediction, target = torch.randn(4, 3).requires_grad_(), torch.randn(4, 3)
    terms = RankMSE()(said(prediction), target, torch.arange(4))
    assert terms["loss"] == MSE()(said(prediction), target, torch.arange(4))["loss"]
    terms["loss"].backward()


def test_half_precision_predictions_give_a_float32_loss():
    with torch.autocast("cpu", torch.bfloat16):
        terms = RankMSE()(said(torch.randn(4, 3).bfloat16()), torch.randn(4, 3), torch.tensor([0, 0, 1, 1]))
    assert terms["loss"].dtype == torch.float32


def test_unknown_options_are_named():
    with pytest.raises(ConfigError, match=r"^loss\.unit=radians: must be degrees or normalised\.$"):
        MSE(unit="radians")
    with pytest.raises(ConfigError, match=r"^loss\.robust=huber: must be none or smooth_l1\.$"):
        MSE(robust="huber")
    with pytest.raises(ConfigError, match=r"^loss\.beta=0\.0: must be above 0\.$"):
        RankMSE(robust="smooth_l1", beta=0.0)


LOSSES = {
    "mse": MSE,
    "rank_mse": lambda **options: RankMSE(weight=50.0, **options),
    "rank_mse_balanced": BalancedRankMSE,
}


@pytest.mark.parametrize("robust", ["none", "smooth_l1"])
@pytest.mark.parametrize("name", LOSSES)
def test_equal_weights_are_none_and_weight_zero_is_not_there(name, robust):
    output, target, identity = wrong_pairs(0)
    make = partial(LOSSES[name], robust=robust, beta=10.0)
    plain = make()(output, target, identity)["loss"]
    for weight in (1.0, 0.3):
        terms = make()(output, target, identity, torch.full((16,), weight))
        assert float(terms["loss"]) == pytest.approx(float(plain), rel=1e-5)
    there = torch.tensor([True, True, False, True] * 4)
    left = make()(output, target, identity, there.float())["loss"]
    alone = make()(PoseOutput(output.pose[there], output.raw[there]), target[there], identity[there])["loss"]
    assert float(left) == pytest.approx(float(alone), rel=1e-5)


@given(st.floats(0, 5), st.floats(0, 5))
def test_a_pair_weighs_the_product_of_its_images(first, second):
    target = torch.tensor([[0.0, 0.0, 0.0], [1.0, 1.0, 1.0], [0.0, 0.0, 0.0], [2.0, 2.0, 2.0]])
    weight = torch.tensor([first, second, 1.0, 1.0])
    found = rank_loss(-target, target, torch.tensor([0, 0, 1, 1]), weight=weight)
    assert float(found) == pytest.approx((first * second * 1 + 2) / (first * second + 1), rel=1e-5)


def test_no_weight_at_all_gives_nothing_and_no_nan():
    output, target, identity = wrong_pairs(0)
    terms = RankMSE()(output, target, identity, torch.zeros(16))
    terms["loss"].backward()
    assert terms["loss"] == 0


@given(st.floats(-60, 60), st.floats(0.5, 30))
def test_a_robust_error_is_the_square_up_to_beta_and_a_line_beyond(error, beta):
    prediction = torch.full((1, 3), error, dtype=torch.float64, requires_grad=True)
    loss = squared_error(prediction, torch.zeros(1, 3, dtype=torch.float64), "smooth_l1", beta)
    loss.backward()
    slope = 2 * np.clip(error, -beta, beta)
    assert float(prediction.grad.sum()) == pytest.approx(slope, abs=1e-9)
    assert float(loss) == pytest.approx(error**2 if abs(error) < beta else beta * (2 * abs(error) - beta))
