"""Properties of the losses."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from rankpose.losses import MSE, RankMSE, gradient_ratio, rank_loss, same_identity_pairs

PAIR = torch.tensor([0, 0])


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
    assert RankMSE(weight=3.0)(prediction, target, PAIR)["loss"] == pytest.approx(float(published) / 2, rel=1e-5)


def test_units_change_the_balance_by_180():
    torch.manual_seed(0)
    target = torch.randn(8, 3) * 20
    identity = torch.arange(8) // 2
    ratios = {}
    for unit in ("degrees", "normalised"):
        prediction = (target + torch.randn(8, 3, generator=torch.Generator().manual_seed(1)) * 30).requires_grad_()
        ratios[unit] = RankMSE(weight=1.0, unit=unit)(prediction, target, identity)["gradient_ratio"]
    assert ratios["normalised"] == pytest.approx(180 * float(ratios["degrees"]), rel=1e-4)


def test_gradient_ratio_is_that_of_the_norms():
    prediction = torch.tensor([[3.0, 0.0, 0.0]], requires_grad=True)
    assert gradient_ratio(prediction.sum() * 2, (prediction**2).sum(), prediction) == pytest.approx(12**0.5 / 6)


def test_no_pair_in_a_batch_leaves_the_squared_error():
    prediction, target = torch.randn(4, 3).requires_grad_(), torch.randn(4, 3)
    terms = RankMSE()(prediction, target, torch.arange(4))
    assert terms["loss"] == MSE()(prediction, target, torch.arange(4))["loss"]
    terms["loss"].backward()


def test_half_precision_predictions_give_a_float32_loss():
    with torch.autocast("cpu", torch.bfloat16):
        terms = RankMSE()(torch.randn(4, 3).bfloat16(), torch.randn(4, 3), torch.tensor([0, 0, 1, 1]))
    assert terms["loss"].dtype == torch.float32


def test_unknown_unit_is_named():
    with pytest.raises(ValueError, match="radians"):
        MSE(unit="radians")
