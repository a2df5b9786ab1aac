"""The map of influence: closed forms, exact zeros, and what a careful caller may rely on."""

import re

import pytest
import torch
from oracle import normal
from torch import nn

from surgeon import create_causal_mask
from surgeon.anatomy.dot_product import attention
from surgeon.imaging.influence import AT_ONCE, influence_map

T, S, WIDTH = 5, 7, 3
FUTURE = torch.ones(T, T, dtype=torch.bool).triu(1)


def rows(n=S, width=WIDTH, **kwargs):
    return normal(n, width, grad=False, **kwargs)


def test_a_linear_map_of_rows_and_columns():
    """y = M x W: the block from row j to row i is M_ij W."""
    M, W = normal(T, S, grad=False), normal(WIDTH, 11, grad=False)
    expected = M.abs() * W.norm()
    torch.testing.assert_close(influence_map(lambda x: M @ x @ W, rows()), expected, rtol=1e-13, atol=0)


def test_cumulative_sum_is_a_triangle_of_ones():
    assert torch.equal(influence_map(lambda x: x.cumsum(0), rows(T, 1)), torch.ones(T, T, dtype=torch.float64).tril())


def test_a_permutation_is_drawn_as_itself():
    order = torch.tensor([3, 0, 4, 1, 2])
    expected = torch.eye(T, dtype=torch.float64)[order] * WIDTH**0.5
    torch.testing.assert_close(influence_map(lambda x: x[order], rows(T)), expected, rtol=1e-15, atol=0)


def test_a_nonlinear_function_is_measured_where_it_stands():
    """y_i = |x_i|²: the block is 2 x_i, and only on the diagonal."""
    x = rows()
    expected = torch.diag(2 * x.norm(dim=-1))
    torch.testing.assert_close(influence_map(lambda x: x.square().sum(-1, keepdim=True), x), expected)


def test_blocks_are_those_of_the_whole_jacobian():
    x, W = rows(), normal(WIDTH, WIDTH, grad=False)

    def function(x):
        return torch.tanh(x @ W) @ x.mT  # [S, S]: another width than the input's

    jacobian = torch.autograd.functional.jacobian(function, x)  # [S, S, S, WIDTH]
    expected = torch.linalg.vector_norm(jacobian, dim=(1, 3))
    torch.testing.assert_close(influence_map(function, x), expected, rtol=1e-13, atol=0)


def test_attention_to_fixed_scores_shows_its_weights():
    """With V = x alone, the block is the weight times the identity."""
    Q, K = normal(T, 11, grad=False), normal(S, 11, grad=False)
    _, weights = attention(Q, K, rows())
    found = influence_map(lambda x: attention(Q, K, x)[0], rows())
    torch.testing.assert_close(found, weights * WIDTH**0.5, rtol=1e-13, atol=0)


def test_causal_attention_has_exact_zeros_above_the_diagonal_and_nowhere_else():
    x = rows(T)
    found = influence_map(lambda x: attention(x, x, x, create_causal_mask(T))[0], x)
    assert (found[FUTURE] == 0).all()
    assert (found[~FUTURE] > 0).all()
    assert (influence_map(lambda x: attention(x, x, x)[0], x) > 0).all()


def test_an_output_that_does_not_depend_on_the_input_gives_zeros():
    constant = normal(T, 2)  # requires grad, but not through x
    for function in (lambda x: constant, lambda x: constant.detach(), lambda x: x.detach()[:T] + constant[:, :1]):
        assert torch.equal(influence_map(function, rows()), torch.zeros(T, S, dtype=torch.float64))


def test_a_row_without_a_path_is_zero_beside_rows_with_one():
    found = influence_map(lambda x: torch.stack([x[1], x[0].detach()]), rows(2))
    assert torch.equal(found != 0, torch.tensor([[False, True], [False, False]]))


def test_a_tiny_influence_is_not_taken_for_none():
    """Its square underflows in float32."""
    found = influence_map(lambda x: 1e-30 * x, torch.ones(2, 1))
    torch.testing.assert_close(found, 1e-30 * torch.eye(2), rtol=1e-6, atol=0)


def test_a_tiny_influence_beside_a_large_one_is_not_taken_for_none():
    sizes = torch.tensor([[1e-30], [1.0]])
    found = influence_map(lambda x: sizes * x, torch.ones(2, 1))
    torch.testing.assert_close(found, sizes.flatten().diag(), rtol=1e-6, atol=0)


def test_nan_and_infinite_derivatives_are_shown():
    """The square root has an infinite slope at 0, and none below."""
    found = influence_map(torch.sqrt, torch.tensor([[4.0], [0.0], [-1.0]]))
    assert found[0, 0] == 0.25
    assert found[1, 1] == torch.inf
    assert found[2, 2].isnan()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64], ids=str)
def test_the_dtype_is_that_of_the_input(dtype):
    found = influence_map(lambda x: 2 * x.double(), torch.ones(2, 4, dtype=dtype))
    assert torch.equal(found, 4 * torch.eye(2, dtype=dtype))  # a block is 2 times the identity of width 4


def test_it_leaves_no_gradient_behind_and_works_without_grad():
    layer, x = nn.Linear(WIDTH, 2, bias=False).double(), rows().requires_grad_()
    with torch.no_grad():
        found = influence_map(layer, x)
    assert layer.weight.grad is None
    assert x.grad is None
    assert not found.requires_grad
    torch.testing.assert_close(found, torch.eye(S) * layer.weight.norm().detach(), check_dtype=False)


@pytest.mark.parametrize(
    "mode", [torch.enable_grad, torch.no_grad, torch.inference_mode], ids=["grad", "no-grad", "inference"]
)
@pytest.mark.parametrize("made_in_it", [False, True], ids=["input-from-outside", "input-made-in-it"])
def test_what_surrounds_the_call_changes_nothing(mode, made_in_it):
    layer, given = nn.Linear(WIDTH, 11).double(), rows(T)
    function = lambda x: layer(attention(x, x, x, create_causal_mask(T))[0])
    expected = influence_map(function, given)
    with mode():
        found = influence_map(function, given.clone() if made_in_it else given)
        assert torch.equal(found, expected)
        assert (found[~FUTURE] > 0).all()
        assert not found.requires_grad
    assert layer.weight.grad is None


class Once(torch.autograd.Function):
    """Its backward step takes one vector at a time: it leaves PyTorch for NumPy."""

    @staticmethod
    def forward(ctx, x):
        return 3 * x

    @staticmethod
    def backward(ctx, gradient):
        return torch.from_numpy(3 * gradient.numpy())


class Refusing(Once):
    @staticmethod
    def backward(ctx, gradient):
        raise ArithmeticError("no way back")


def test_a_backward_step_that_takes_one_vector_at_a_time_is_given_one():
    x, W = rows(T), normal(WIDTH, 2, grad=False)
    expected = influence_map(lambda x: torch.tanh(3 * x) @ W, x)
    torch.testing.assert_close(influence_map(lambda x: torch.tanh(Once.apply(x)) @ W, x), expected, rtol=1e-13, atol=0)
    with pytest.raises(ArithmeticError, match=r"^no way back$"):
        influence_map(Refusing.apply, x)


def test_of_many_numbers_some_are_taken_at_a_time():
    """More than go together, and not a multiple of them: the same as by the whole Jacobian."""
    x, W = rows(), normal(WIDTH, 2 * AT_ONCE // S + 3, grad=False)
    found = influence_map(lambda x: torch.tanh(x.flip(0) @ W), x)
    jacobian = torch.autograd.functional.jacobian(lambda x: torch.tanh(x.flip(0) @ W), x)
    torch.testing.assert_close(found, torch.linalg.vector_norm(jacobian, dim=(1, 3)), rtol=1e-13, atol=0)


def test_a_constant_is_one_in_inference_mode_too():
    with torch.inference_mode():
        constant = normal(T, 2, grad=False)
        assert torch.equal(influence_map(lambda x: constant, rows()), torch.zeros(T, S, dtype=torch.float64))


def test_a_function_may_change_its_input_in_place():
    x = rows(2)
    before = x.clone()
    found = influence_map(lambda x: x.mul_(3.0), x)
    torch.testing.assert_close(found, 3 * WIDTH**0.5 * torch.eye(2, dtype=torch.float64), rtol=1e-15, atol=0)
    assert torch.equal(x, before)


@pytest.mark.parametrize(
    ("function", "x", "message"),
    [
        (torch.sin, [[1.0]], "x must be a floating-point tensor, got list."),
        (torch.sin, torch.ones(2, 3, dtype=torch.int64), "x must be a floating-point tensor, got torch.int64."),
        (torch.sin, torch.ones(2, 3, 5), "x must have shape [tokens, width], none of them 0, got [2, 3, 5]."),
        (torch.sin, torch.ones(0, 3), "x must have shape [tokens, width], none of them 0, got [0, 3]."),
        (torch.sum, torch.ones(2, 3), "what function returns must have shape [tokens, width], none of them 0, got []."),
        (
            lambda x: (x, x),
            torch.ones(2, 3),
            "what function returns must be a floating-point tensor, got tuple.",
        ),
    ],
    ids=["list", "integers", "batch", "empty", "scalar-out", "tuple-out"],
)
def test_errors_name_what_was_expected_and_what_came(function, x, message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        influence_map(function, x)
