"""Scaled dot-product attention in six steps, each of them to be seen."""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from surgeon.anatomy.mask_reading import as_additive
from surgeon.anatomy.precision import at_least_float32, without_autocast
from surgeon.anatomy.score_bounds import soft_cap
from surgeon.anatomy.sinks import share_of_keys
from surgeon.anatomy.softmax import stable_softmax
from surgeon.arguments import probability, truth


class Stages(NamedTuple):
    """Every stage of one attention, in the order in which they arise.

    The first three are kept in the working precision (at least float32), the
    last two in the precision of the inputs.
    """

    scores: Tensor  #: :math:`QK^T`, [..., T, S]
    scaled: Tensor  #: scores over the square root of d_k, [..., T, S]
    masked: Tensor  #: minus infinity where the mask blocks, [..., T, S]
    #: what multiplies V: each row sums to one, or is zero, unless dropout was
    #: on, [..., T, S]
    weights: Tensor
    output: Tensor  #: weighted sums of the rows of V, [..., T, d_v]


def attention(
    Q: Tensor,
    K: Tensor,
    V: Tensor,
    mask: Tensor | None = None,
    scale: bool = True,
    *,
    dropout: float = 0.0,
    generator: torch.Generator | None = None,
) -> tuple[Tensor, Tensor]:
    r"""Scaled dot-product attention.

    .. math::

        \mathrm{Attention}(Q, K, V)
        = \mathrm{softmax}\left(\frac{QK^T}{\sqrt{d_k}}\right) V

    Parameters
    ----------
    Q : Tensor
        Queries [..., T, d_k]: [batch, seq, d_k] as in the assignment, or any
        other leading axes, or none.
    K : Tensor
        Keys [..., S, d_k].
    V : Tensor
        Values [..., S, d_v].
    mask : Tensor, optional
        Ends in (queries, keys) = (T, S), read as
        `surgeon.anatomy.mask_reading.as_additive` reads it.
    scale : bool
        Whether scores are divided by :math:`\sqrt{d_k}`.
    dropout : float
        Probability, in [0, 1), with which each weight is set to zero; the
        others grow by 1 / (1 - dropout).
    generator : torch.Generator, optional
        Where dropout takes its randomness from.

    Returns
    -------
    output : Tensor
        [..., T, d_v], in the precision of the inputs.
    attention_weights : Tensor
        [..., T, S]: what multiplied V. A row that may look at nothing is
        zero, and so are its output and its gradients.

    Raises
    ------
    ValueError
        If an input is no floating tensor, if shapes, dtypes or devices
        disagree, if a sequence is empty, if the mask cannot be read, if
        `scale` is no boolean, or if `dropout` is outside [0, 1).

    Notes
    -----
    Half precision is computed in float32, under `torch.autocast` too, so that
    no product overflows whose scaled value is finite. Source: vaswani2017
    (book/references.bib), section 3.2.1.

    Examples
    --------
    >>> Q = torch.tensor([[2.0, 0.0]])
    >>> K = torch.tensor([[0.0, 1.0], [0.0, -1.0]])  # at right angles to it
    >>> attention(Q, K, torch.tensor([[1.0], [3.0]]))
    (tensor([[2.]]), tensor([[0.5000, 0.5000]]))
    """
    # Steps 1 to 5, one after the other.
    stages = dissect(
        Q, K, V, mask, scale, dropout=dropout, generator=generator
    )
    # 6. Hand back what was found, and where it was found.
    return stages.output, stages.weights


def dissect(
    Q: Tensor,
    K: Tensor,
    V: Tensor,
    mask: Tensor | None = None,
    scale: bool = True,
    *,
    dropout: float = 0.0,
    generator: torch.Generator | None = None,
) -> Stages:
    """Attention with nothing thrown away: every stage by name.

    Parameters
    ----------
    Q, K, V, mask, scale, dropout, generator
        As `attention` takes them.

    Returns
    -------
    Stages
        scores, scaled, masked, weights, output.

    Raises
    ------
    ValueError
        As `attention`.

    Examples
    --------
    >>> x = torch.eye(4)
    >>> stages = dissect(x, x, x)
    >>> stages.scores[0], stages.scaled[0]
    (tensor([1., 0., 0., 0.]), tensor([0.5000, 0.0000, 0.0000, 0.0000]))
    """
    check_inputs(Q, K, V)
    scale, dropout = truth("scale", scale), probability("dropout", dropout)
    additive = read_mask(mask, Q, K)
    return attend(Q, K, V, additive, scale, dropout, generator)


@without_autocast
def attend(
    Q: Tensor,
    K: Tensor,
    V: Tensor,
    mask: Tensor | None = None,
    scale: bool = True,
    dropout: float = 0.0,
    generator: torch.Generator | None = None,
    softcap: float | None = None,
    sink: Tensor | None = None,
) -> Stages:
    """The steps of attention, for inputs that have been checked.

    `mask` is as `read_mask` returns it: what is added to the scores, after
    these have been capped by `softcap`, if there is one; `sink` is a score
    beside those of each row's keys, whose share of the row goes to nobody
    (`surgeon.anatomy.sinks`). All other parameters are as `attention` takes
    them.
    """
    given, working = Q.dtype, at_least_float32(Q.dtype)
    Q, K, V = Q.to(working), K.to(working), V.to(working)
    d_k = Q.shape[-1]

    # 1. Every query meets every key: [..., T, d_k] @ [..., d_k, S].
    scores = Q @ K.mT
    # 2. Back to a spread of about one, whatever the width.
    scaled = scores / math.sqrt(d_k) if scale else scores

    if softcap is not None:
        scaled = soft_cap(scaled, softcap)

    # 3. Minus infinity where a query may not look.
    masked = scaled if mask is None else scaled + mask
    # 4. Each row becomes shares of one.
    weights = stable_softmax(masked)

    if sink is not None:
        weights = weights * share_of_keys(masked, sink)

    if dropout:
        weights = drop(weights, dropout, generator)

    # 5. Each query's average of the values: [..., T, S] @ [..., S, d_v].
    output = weights @ V

    weights, output = weights.to(given), output.to(given)
    return Stages(scores, scaled, masked, weights, output)


def read_mask(mask: Tensor | None, Q: Tensor, K: Tensor) -> Tensor | None:
    """What a mask adds to the scores of Q and K, or None for nothing."""
    if mask is None:
        return None
    lead = common_shape(Q.shape[:-2], K.shape[:-2])
    shape = (*lead, Q.shape[-2], K.shape[-2])
    dtype = at_least_float32(Q.dtype)
    return as_additive(mask, shape, dtype=dtype, device=Q.device)


def drop(
    weights: Tensor, dropout: float, generator: torch.Generator | None
) -> Tensor:
    """Inverted dropout: the expectation of every weight stays what it was."""
    chance = torch.rand(
        weights.shape,
        generator=generator,
        device=weights.device,
        dtype=weights.dtype,
    )
    return weights * (chance >= dropout) / (1 - dropout)


def check_inputs(Q: Tensor, K: Tensor, V: Tensor) -> None:
    """Raise a ValueError, as `attention` documents it, if these misfit."""
    for name, x in (("Q", Q), ("K", K), ("V", V)):
        check_tokens(name, x)
    if not Q.dtype == K.dtype == V.dtype:
        raise ValueError(
            f"Q, K and V must share one dtype, got {Q.dtype}, {K.dtype}"
            f" and {V.dtype}."
        )
    if not Q.device == K.device == V.device:
        raise ValueError(
            f"Q, K and V must be on one device, got {Q.device}, {K.device}"
            f" and {V.device}."
        )
    if Q.shape[-1] != K.shape[-1]:
        raise ValueError(
            f"Q and K must share their last axis (d_k), got {Q.shape[-1]}"
            f" and {K.shape[-1]}."
        )
    if K.shape[-2] != V.shape[-2]:
        raise ValueError(
            f"K and V must have as many keys as values, got {K.shape[-2]}"
            f" and {V.shape[-2]}."
        )
    try:
        common_shape(Q.shape[:-2], K.shape[:-2], V.shape[:-2])
    except RuntimeError:
        lead = ", ".join(str(list(x.shape[:-2])) for x in (Q, K, V))
        raise ValueError(
            f"Q, K and V must have leading axes that broadcast, got {lead}."
        ) from None


def common_shape(*shapes: torch.Size) -> torch.Size:
    """`torch.broadcast_shapes`, which is slow where all are alike.

    In a small model it takes as long as the products, and when it is first
    called it imports what takes a second.
    """
    alike = all(shape == shapes[0] for shape in shapes)
    return shapes[0] if alike else torch.broadcast_shapes(*shapes)


def check_tokens(name: str, x: Tensor) -> None:
    """Raise a ValueError if this is no floating tensor [..., T, d]."""
    if not isinstance(x, Tensor) or not x.is_floating_point():
        got = x.dtype if isinstance(x, Tensor) else type(x).__name__
        raise ValueError(
            f"{name} must be a floating-point tensor, got {got}."
        )
    if x.ndim < 2:
        raise ValueError(
            f"{name} must have at least two axes (sequence, width), got"
            f" shape {list(x.shape)}."
        )
    if 0 in x.shape[-2:]:
        raise ValueError(
            f"{name} must hold at least one token of width at least 1, got"
            f" shape {list(x.shape)}."
        )
