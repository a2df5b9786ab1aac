"""Inputs for attention of any kind, and what it means that two kinds are the same."""

import torch
from oracle import normal
from torch import Tensor


def inputs(*lead: int, T=13, S=13, d_k=7, d_v=11, dtype=torch.float64, size=1.0) -> tuple[Tensor, ...]:
    """Q, K and V that want gradients; `size` multiplies the queries, and so the scores."""
    Q, K, V = (normal(*lead, n, d, seed=s, grad=False) for n, d, s in ((T, d_k, 1), (S, d_k, 2), (S, d_v, 3)))
    return tuple(x.to(dtype).requires_grad_() for x in (Q * size, K, V))


def lower(T: int, S: int) -> Tensor:
    """Causal, and the last query sees every key."""
    return torch.ones(T, S, dtype=torch.bool).tril(S - T)


def gradients(output: Tensor, tensors) -> tuple[Tensor, ...]:
    """Of a number that depends on every entry of the output."""
    pull = normal(*output.shape, grad=False).to(output.dtype)
    return torch.autograd.grad((output * pull).sum(), tensors) if tensors else ()


def assert_same(ours: Tensor, theirs: Tensor, tensors, tolerance=1e-12) -> None:
    """Values and gradients."""
    torch.testing.assert_close(ours, theirs, rtol=tolerance, atol=tolerance)
    for a, b in zip(gradients(ours, tensors), gradients(theirs, tensors), strict=True):
        torch.testing.assert_close(a, b, rtol=tolerance, atol=tolerance)
