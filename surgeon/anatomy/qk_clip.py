"""Weights of queries and keys made smaller where scores have grown."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from surgeon.anatomy.heads import MultiHeadAttention
from surgeon.anatomy.precision import at_least_float32
from surgeon.arguments import positive_number


@torch.no_grad()
def clip_heads(
    layer: MultiHeadAttention,
    largest: Tensor | Sequence[float],
    threshold: float,
) -> Tensor:
    r"""Shrink W_Q and W_K of each head whose largest score is too large.

    .. math::

        W^Q_h \leftarrow \sqrt{\gamma_h}\, W^Q_h, \qquad
        W^K_h \leftarrow \sqrt{\gamma_h}\, W^K_h, \qquad
        \gamma_h = \min\!\left(1, \frac{\tau}{s_h}\right)

    The biases too. All scores of head `h` are then :math:`\gamma_h` times
    what they were. Where several heads share their keys, the queries take the
    whole factor, and the others' scores stay. It is called after a step of
    training; the forward pass does not change.

    Parameters
    ----------
    layer : MultiHeadAttention
        What is changed, in place.
    largest : Tensor or sequence of float
        Each head's largest score :math:`s_h`, [H], as softmax saw it: over
        the root of the width.
    threshold : float
        The largest score :math:`\tau` that may stay, positive and finite.

    Returns
    -------
    Tensor
        The factors :math:`\gamma_h`, [H], at least float32.

    Raises
    ------
    ValueError
        If the layer normalises queries and keys, which takes back any
        factor, if `largest` is not one finite number a head (a head that saw
        nothing may have minus infinity), or if `threshold` is not positive
        and finite.

    Notes
    -----
    Source: kimi2025 (book/references.bib).

    Examples
    --------
    >>> layer = MultiHeadAttention(12, 3)
    >>> clip_heads(layer, [5.0, 40.0, 80.0], threshold=20.0)
    tensor([1.0000, 0.5000, 0.2500])
    """
    if layer.qk_norm is not None and layer.qk_norm.kind is not None:
        raise ValueError(
            "layer must not normalise its queries and keys, which would undo"
            f" the factor, got qk_norm={layer.qk_norm.kind!r}."
        )
    H = layer.num_heads
    weight = layer.W_Q.weight
    wide = at_least_float32(weight.dtype)
    largest = torch.as_tensor(largest, dtype=wide, device=weight.device)
    if largest.shape != (H,) or not (largest < torch.inf).all():
        raise ValueError(
            f"largest must hold one finite number for each of {H} heads, got"
            f" {largest.tolist()}."
        )
    threshold = positive_number("threshold", threshold)

    # 1. A factor for each head: 1 where nothing has grown too large.
    factors = torch.where(largest > threshold, threshold / largest, 1.0)
    # 2. Half of it, by the root, to queries and half to keys; where heads
    #    share keys, all of it to queries.
    alone = layer.num_kv_heads == H
    shrink(layer.W_Q, factors.sqrt() if alone else factors)
    if alone:
        shrink(layer.W_K, factors.sqrt())

    return factors


def shrink(linear: nn.Linear, factors: Tensor) -> None:
    """Multiply what a linear map makes for each head by that head's factor.

    That is rows of its weight and of its bias.
    """
    for parameter in (linear.weight, linear.bias):
        heads = parameter.unflatten(0, (len(factors), -1))
        axes = [1] * (heads.ndim - 1)
        heads *= factors.to(heads).view(-1, *axes)
