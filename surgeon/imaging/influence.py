"""Who reaches whom: how each output row depends on each input row."""

from collections.abc import Callable

import torch
from torch import Tensor

from surgeon.anatomy.softmax import at_least_float32

AT_ONCE = 128  # numbers of the output, each with a backward pass of its own


def influence_map(
    function: Callable[[Tensor], Tensor],
    x: Tensor,
) -> Tensor:
    r"""How strongly each output depends on each input, at `x`.

    A cell holds the size of a block of the Jacobian:

    .. math::
       M_{ij} = \left\lVert \frac{\partial y_i}{\partial x_j}
       \right\rVert_F, \qquad y = f(x)

    It is 0 if and only if every derivative in its block came out as
    exactly 0, as it does where no path leads from token `j` to output `i`. A
    causal function has zeros above the diagonal.

    Parameters
    ----------
    function : callable
        Takes [S, width] and gives [T, any width]; whatever else it needs, it
        brings along. A path that autograd cannot follow (`detach`, NumPy,
        `argmax`) counts as none.
    x : Tensor
        [S, width], floating point: where the derivative is taken.

    Returns
    -------
    Tensor
        [T, S], the dtype and device of `x`: Frobenius norms of the blocks
        [output width, width]; NaN where a derivative is NaN. Zeros throughout
        if the output does not depend on `x`. It carries no gradient, and
        leaves none in the parameters of `function`.

    Raises
    ------
    ValueError
        If `x` or what `function` returns is no floating tensor with two axes,
        none of them 0.

    Notes
    -----
    One backward pass for each number of the output, 128 at a time: made for
    small inputs.
    Under `torch.no_grad` and `torch.inference_mode` it gives the same.

    Examples
    --------
    Each row is the sum of all rows so far:

    >>> influence_map(lambda x: x.cumsum(0), torch.ones(3, 1))
    tensor([[1., 0., 0.],
            [1., 1., 0.],
            [1., 1., 1.]])

    Each block is the identity of width 4, whose norm is 2:

    >>> influence_map(lambda x: x.flip(0), torch.ones(2, 4))
    tensor([[0., 2.],
            [2., 0.]])
    """
    _check_rows("x", x)
    with torch.inference_mode(False), torch.enable_grad():
        # A copy, because what inference mode made knows no gradient.
        x = x.detach().clone().requires_grad_()
        # And another, because a leaf may not be changed in place.
        y = _check_rows("what function returns", function(x.clone()))
        if not y.requires_grad:  # a constant
            return x.new_zeros(len(y), len(x))
        slopes = _slopes(y.flatten(), x)
    # [T, output width, S, width] -> [T, S, output width, width]
    blocks = slopes.unflatten(0, y.shape).transpose(1, 2)
    return _frobenius(blocks).to(x.dtype)


def _slopes(numbers: Tensor, x: Tensor) -> Tensor:
    """Of each number with respect to `x`; zeros where there is no path.

    Many at once; one by one where a function's own `backward` knows no other
    way.
    """
    each = torch.eye(len(numbers), dtype=numbers.dtype, device=numbers.device)
    try:
        several = each.split(AT_ONCE)
        return torch.cat([_backward(numbers, x, some) for some in several])
    except Exception:  # what is raised again, one by one, is the function's
        return torch.stack([_backward(numbers, x, one) for one in each])


def _backward(numbers: Tensor, x: Tensor, by: Tensor) -> Tensor:
    """One pass for one vector, or for each of several."""
    (gradient,) = torch.autograd.grad(
        numbers,
        x,
        by,
        retain_graph=True,
        allow_unused=True,
        is_grads_batched=by.ndim == 2,
    )
    unused = gradient is None
    return x.new_zeros(*by.shape[:-1], *x.shape) if unused else gradient


def _frobenius(blocks: Tensor) -> Tensor:
    """Norms over the last two axes.

    No square underflows, so that a tiny block is not taken for none.
    """
    blocks = blocks.to(at_least_float32(blocks.dtype)).flatten(-2)
    unit = blocks.abs().amax(-1, keepdim=True)
    unit = unit.masked_fill((unit == 0) | ~unit.isfinite(), 1.0)
    return unit.squeeze(-1) * (blocks / unit).square().sum(-1).sqrt()


def _check_rows(name: str, rows: Tensor) -> Tensor:
    if not isinstance(rows, Tensor) or not rows.is_floating_point():
        got = getattr(rows, "dtype", type(rows).__name__)
        raise ValueError(
            f"{name} must be a floating-point tensor, got {got}."
        )
    if rows.ndim != 2 or 0 in rows.shape:
        raise ValueError(
            f"{name} must have shape [tokens, width], none of them 0, got"
            f" {list(rows.shape)}."
        )
    return rows
