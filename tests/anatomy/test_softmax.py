import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from oracle import normal

from surgeon.anatomy.softmax import (
    log_sum_exp,
    naive_softmax,
    stable_softmax,
)

HALF = [torch.float16, torch.bfloat16]
scores = st.lists(st.floats(-700, 700), min_size=1, max_size=13)


@pytest.mark.parametrize("softmax", [naive_softmax, stable_softmax])
@pytest.mark.parametrize("dim", [-1, 0, 1])
def test_it_is_softmax_along_any_axis(softmax, dim):
    x = normal(3, 5, 7)
    torch.testing.assert_close(softmax(x, dim), torch.softmax(x, dim), rtol=1e-14, atol=0)


def test_logarithms_give_their_ratios():
    weights = stable_softmax(torch.log(torch.tensor([1.0, 2.0, 5.0], dtype=torch.float64)))
    torch.testing.assert_close(weights, torch.tensor([1, 2, 5], dtype=torch.float64) / 8, rtol=1e-15, atol=0)


@settings(deadline=None)
@given(scores)
def test_weights_are_shares_of_one_and_keep_the_order(row):
    s = torch.tensor(row, dtype=torch.float64)
    a = stable_softmax(s)
    assert abs(float(a.sum()) - 1) < 1e-12
    assert (a >= 0).all()
    assert (a[s.argsort()].diff() >= 0).all()


@settings(deadline=None)
@given(scores, st.floats(-1e4, 1e4))
def test_a_shift_changes_nothing(row, shift):
    s = torch.tensor(row, dtype=torch.float64)
    moved = stable_softmax(s + shift)  # s + shift rounds; the shift itself is free
    torch.testing.assert_close(moved, stable_softmax((s + shift) - shift), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64], ids=str)
def test_the_naive_form_dies_where_the_exponential_does_and_the_stable_one_does_not(dtype):
    last = math.log(torch.finfo(dtype).max)
    assert naive_softmax(torch.tensor([last * 0.99, 0], dtype=dtype)).isfinite().all()
    assert naive_softmax(torch.tensor([last * 1.01, 0], dtype=dtype)).isnan().any()
    assert naive_softmax(torch.tensor([-10 * last, -10 * last], dtype=dtype)).isnan().all()
    assert stable_softmax(torch.tensor([last * 1.01, 0], dtype=dtype))[0] == 1
    assert stable_softmax(torch.tensor([-10 * last, -10 * last], dtype=dtype)).tolist() == [0.5, 0.5]


def test_the_jacobian_is_diag_a_minus_a_a_transposed():
    s = normal(7)
    a = stable_softmax(s).detach()
    jacobian = torch.autograd.functional.jacobian(stable_softmax, s)
    torch.testing.assert_close(jacobian, a.diag() - a.outer(a), rtol=0, atol=1e-16)


@pytest.mark.parametrize("function", [stable_softmax, log_sum_exp])
def test_first_and_second_derivatives(function):
    x = normal(3, 5)
    assert torch.autograd.gradcheck(function, x)
    assert torch.autograd.gradgradcheck(function, x)


@pytest.mark.parametrize("function", [stable_softmax, log_sum_exp])
def test_derivatives_with_blocked_scores(function):
    blocked = torch.tensor([[0, 0, 1, 0, 1], [1, 1, 1, 1, 1], [0, 0, 0, 0, 0]], dtype=torch.bool)

    def masked(x):
        out = function(x.masked_fill(blocked, -torch.inf))
        return out.masked_fill(out == -torch.inf, 0.0)

    x = normal(3, 5)
    assert torch.autograd.gradcheck(masked, x)
    masked(x).sum().backward()
    assert (x.grad[blocked] == 0).all()


def test_an_empty_row_is_zero_and_passes_zeros_back():
    x = torch.full((2, 3), -torch.inf, dtype=torch.float64)
    x[1] = torch.tensor([1.0, 2.0, -torch.inf])
    x.requires_grad_()
    weights = stable_softmax(x)
    (weights * torch.tensor([1.0, 3.0, 5.0])).sum().backward()
    assert weights[0].tolist() == [0, 0, 0]
    assert weights[1, 2] == 0
    assert x.grad.isfinite().all()
    assert x.grad[0].tolist() == [0, 0, 0]


def test_log_sum_exp_is_the_log_of_the_denominator():
    x = normal(3, 5, 7) * 100
    torch.testing.assert_close(log_sum_exp(x), torch.logsumexp(x, -1), rtol=1e-14, atol=0)
    assert log_sum_exp(x, 1, keepdim=True).shape == (3, 1, 7)
    torch.testing.assert_close(log_sum_exp(x, 1), torch.logsumexp(x, 1), rtol=1e-14, atol=0)


@pytest.mark.parametrize("function", [stable_softmax, log_sum_exp])
def test_each_row_has_a_maximum_of_its_own(function):
    """2000 below another row's largest score, a row shifted by that would be empty."""
    x = torch.tensor([[-1000.0, -1000.0], [1000.0, 1000.0]], dtype=torch.float64)
    expected = {stable_softmax: [[0.5, 0.5]] * 2, log_sum_exp: [-1000 + math.log(2), 1000 + math.log(2)]}[function]
    torch.testing.assert_close(function(x), torch.tensor(expected, dtype=torch.float64), rtol=1e-15, atol=0)
    assert torch.equal(function(x.mT, 0), function(x) if function is log_sum_exp else function(x).mT)


def test_log_sum_exp_of_nothing_is_minus_infinity_and_passes_zeros_back():
    x = torch.full((2, 3), -torch.inf, requires_grad=True)
    result = log_sum_exp(x)
    result.sum().backward()
    assert result.tolist() == [-torch.inf, -torch.inf]
    assert (x.grad == 0).all()


@pytest.mark.parametrize("dtype", HALF, ids=str)
def test_half_precision_adds_up_in_float32(dtype):
    """1/3001 is far below float16's resolution near one: a running sum in half precision would stop short."""
    x = torch.zeros(3001, dtype=dtype)
    assert stable_softmax(x).dtype == dtype
    assert stable_softmax(x)[0] == torch.tensor(1 / 3001).to(dtype)
    assert log_sum_exp(x).dtype == torch.float32
    torch.testing.assert_close(log_sum_exp(x), torch.tensor(math.log(3001)))
