"""Weights to numbers: four statistics of an attention pattern.

And what the mask alone would give.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from surgeon.anatomy.mask_reading import visible
from surgeon.anatomy.softmax import at_least_float32
from surgeon.arguments import natural_number


def analyze_attention_patterns(
    attention_weights: Tensor, *, mask: Tensor | None = None, window: int = 1
) -> dict[str, float]:
    r"""Four numbers that say what an attention pattern looks like.

    With weights :math:`a_{ij}` of query `i` on key `j`, and `R` rows that
    hold any weight:

    .. math::
       \text{max\_attention} &= \max_{ij} a_{ij}, \\
       \text{entropy} &= -\frac1R \sum_{ij} a_{ij} \log a_{ij}, \\
       \text{diagonal\_mass} &= \frac{\sum_i a_{ii}}{\sum_{ij} a_{ij}}, \\
       \text{local\_vs\_global} &=
       \frac{\sum_{|i-j| \le w} a_{ij}}{\sum_{|i-j| > w} a_{ij}}

    Parameters
    ----------
    attention_weights : Tensor
        [T, S], or with leading axes, [heads, T, S] or [batch, heads, T, S].
        Leading axes are pooled: the largest weight is the largest of all, the
        entropy a mean over all rows, and masses are added up before they are
        divided. Each row sums to one, or to zero where a query may look at
        nothing; such a row is left out of the entropy.
    mask : Tensor, optional
        The mask that the weights were made under. Rows that it hides whole
        are left out, whatever they hold; elsewhere no weight may lie where it
        blocks.
    window : int
        How far from its query, in tokens, a key still counts as local; 0 is
        the diagonal alone.

    Returns
    -------
    dict
        `max_attention` (0 to 1), `entropy` (nats, 0 to log S),
        `diagonal_mass` (0 to 1) and `local_vs_global` (0 to infinity, which
        it is where no mass lies outside the window).

    Raises
    ------
    ValueError
        If the weights are no floating tensor [..., T, S] of rows that sum to
        one or zero, if all of them are zero, if weight lies where the mask
        blocks, or if `window` is negative.

    Notes
    -----
    Positions are counted from the first query and the first key. Where T and
    S differ, the diagonal is still i = j, and ends with the shorter of them.

    Examples
    --------
    >>> analyze_attention_patterns(torch.eye(4))
    {'max_attention': 1.0, 'entropy': 0.0, 'diagonal_mass': 1.0,
     'local_vs_global': inf}

    Of 16 cells, 10 lie inside the window and 6 outside:

    >>> even = torch.full((4, 4), 0.25)
    >>> analyze_attention_patterns(even)["local_vs_global"]
    1.6666666666666667
    """
    weights, _, live = _read(attention_weights, mask)
    T, S = weights.shape[-2:]
    query = torch.arange(T, device=weights.device)
    key = torch.arange(S, device=weights.device)
    # |i - j|: [T, S].
    distance = (query[:, None] - key).abs()
    inside = distance <= natural_number("window", window)
    # Leading axes are pooled: [T, S].
    mass = weights.reshape(-1, T, S).sum(0, dtype=torch.float64)
    local, outside = float(mass[inside].sum()), float(mass[~inside].sum())
    entropies = row_entropy(weights)[live]
    return {
        "max_attention": float(weights.max()),
        "entropy": float(entropies.mean(dtype=torch.float64)),
        "diagonal_mass": float(mass[distance == 0].sum() / mass.sum()),
        "local_vs_global": local / outside if outside > 0 else float("inf"),
    }


def row_entropy(attention_weights: Tensor) -> Tensor:
    r"""Shannon's entropy of each row, in nats.

    .. math:: H_i = -\sum_j a_{ij} \log a_{ij}

    A weight of zero adds nothing (:math:`x \log x \to 0`), so keys that a
    mask hides do not count, and it passes a gradient of zero back where the
    formula's own is infinite.

    Parameters
    ----------
    attention_weights : Tensor
        [..., S]: each row sums to one, or to zero.

    Returns
    -------
    Tensor
        [...], at least float32: 0 where all the weight lies on one key, the
        logarithm of the number of keys where it is spread evenly; 0 for a row
        of zeros.

    Raises
    ------
    ValueError
        If the weights are no floating tensor of rows that sum to one or zero.

    Notes
    -----
    Source: shannon1948 (book/references.bib).

    Examples
    --------
    >>> row_entropy(torch.tensor([[1.0, 0.0], [0.5, 0.5]]))  # 0 and log 2
    tensor([0.0000, 0.6931])
    """
    weights = check_weights(attention_weights, axes=1)
    # 1 log 1 = 0, and nothing flows back into what was filled.
    safe = weights.masked_fill(weights == 0, 1.0)
    entropies = (safe * -torch.log(safe)).sum(-1)
    # A weight of 1, rounded up, has a logarithm above 0.
    return entropies.clamp(min=0.0)


def normalized_entropy(
    attention_weights: Tensor, mask: Tensor | None = None
) -> float:
    r"""How much of the entropy that the mask allows is there.

    It is 1 where weight is spread evenly, 0 where each query has one key:

    .. math::
       \frac{\sum_i H_i}{\sum_i \log n_i}, \qquad
       n_i = \text{number of keys that query } i \text{ may look at}

    Dividing by :math:`\log S` instead counts keys that the mask hides, and
    calls the most even causal attention uneven.

    Parameters
    ----------
    attention_weights : Tensor
        [..., T, S].
    mask : Tensor, optional
        The mask that the weights were made under; without it every key counts
        as visible.

    Returns
    -------
    float
        From 0 to 1; NaN where no query has a choice, that is, where none may
        look at more than one key.

    Raises
    ------
    ValueError
        As `analyze_attention_patterns`.

    Examples
    --------
    >>> from surgeon.anatomy.masks import create_causal_mask
    >>> causal = create_causal_mask(64)
    >>> even = uniform_weights(causal)
    >>> round(normalized_entropy(even), 2)
    0.77
    >>> round(normalized_entropy(even, causal), 2)
    1.0
    """
    weights, may_look, live = _read(attention_weights, mask)
    # How many keys each query may look at: [rows with any weight].
    choices = may_look.sum(-1)[live]
    most = float(torch.log(choices.to(torch.float64)).sum())
    found = float(row_entropy(weights)[live].sum(dtype=torch.float64))
    return found / most if most > 0 else float("nan")


def uniform_weights(
    mask: Tensor | None = None,
    shape: Sequence[int] | None = None,
    *,
    dtype: torch.dtype = torch.float32,
) -> Tensor:
    """The weights of queries that care for no key more than for another.

    Each key that a query sees has the weight 1 / (keys that it sees).

    Parameters
    ----------
    mask : Tensor, optional
        Any mask that `surgeon.anatomy.mask_reading.as_additive` reads. Only
        what it blocks counts; finite numbers to add are ignored.
    shape : sequence of int, optional
        [..., T, S] of the weights wanted; the mask's own if it is not given.
    dtype : torch.dtype
        Precision of the weights.

    Returns
    -------
    Tensor
        Weights of that shape, on the mask's device; a row that may look at
        nothing is zero.

    Raises
    ------
    ValueError
        If there is neither a mask nor a shape, if the shape is not [..., T,
        S], or if the mask cannot be read.

    Examples
    --------
    >>> from surgeon.anatomy.masks import create_causal_mask
    >>> uniform_weights(create_causal_mask(2))
    tensor([[1.0000, 0.0000],
            [0.5000, 0.5000]])
    """
    shape = _check_shape(mask, shape)
    device = getattr(mask, "device", "cpu")
    # 1 where a query may look, 0 where it may not: [..., T, S].
    may_look = visible(mask, shape, device).to(dtype)
    # How many keys each query sees: [..., T, 1].
    keys = may_look.sum(-1, keepdim=True)
    # They share a weight of one; a query that sees none keeps its zeros.
    return may_look / keys.clamp(min=1)


def baseline_patterns(
    mask: Tensor | None = None,
    shape: Sequence[int] | None = None,
    *,
    window: int = 1,
) -> dict[str, float]:
    """The statistics that a mask gives by itself: those of `uniform_weights`.

    A pattern says something about a model only where it differs from these.

    Parameters
    ----------
    mask, shape
        As `uniform_weights` takes them.
    window : int
        As `analyze_attention_patterns` takes it.

    Returns
    -------
    dict
        The keys of `analyze_attention_patterns`.

    Raises
    ------
    ValueError
        As `uniform_weights` and `analyze_attention_patterns`.

    Examples
    --------
    >>> from surgeon.anatomy.masks import create_causal_mask
    >>> causal = baseline_patterns(create_causal_mask(64))
    >>> open_to_all = baseline_patterns(shape=(64, 64))
    >>> [round(e["diagonal_mass"], 3) for e in (causal, open_to_all)]
    [0.074, 0.016]
    """
    if isinstance(mask, Tensor):
        mask = mask.cpu()  # which has double precision
    even = uniform_weights(mask, shape, dtype=torch.float64)
    return analyze_attention_patterns(even, mask=mask, window=window)


def check_weights(attention_weights: Tensor, *, axes: int = 2) -> Tensor:
    """The weights in at least float32, if they are weights.

    They are floating, not negative, and each row sums to one or to zero. The
    sum may be off by 1e-4, or by four roundings of the precision that
    came where that is more.
    """
    given = attention_weights
    if not isinstance(given, Tensor) or not given.is_floating_point():
        got = getattr(given, "dtype", type(given).__name__)
        raise ValueError(
            f"attention_weights must be a floating-point tensor, got {got}."
        )
    shape = list(given.shape)
    if len(shape) < axes or 0 in shape:
        ending = "[..., queries, keys]" if axes == 2 else "[..., keys]"
        raise ValueError(
            f"attention_weights must have shape {ending}, none of them 0, got"
            f" {shape}."
        )
    weights = given.to(at_least_float32(given.dtype))
    if weights.isnan().any():
        raise ValueError("attention_weights must be numbers, got NaN.")
    if (weights < 0).any():
        raise ValueError(
            "attention_weights must not be negative, got"
            f" {float(weights.detach().min()):.4g}."
        )
    sums = weights.detach().sum(-1)
    tolerance = max(1e-4, 4 * torch.finfo(given.dtype).eps)
    wrong = sums[((sums - 1).abs() > tolerance) & (sums > tolerance)]
    if len(wrong):
        raise ValueError(
            "attention_weights must have rows that sum to one or to zero,"
            f" got {float(wrong[0]):.4g}."
        )
    return weights


def check_blocked(weights: Tensor, may_look: Tensor) -> None:
    """Raise a ValueError if weight lies where `may_look` is False."""
    leaks = ((weights != 0) & ~may_look).nonzero()
    if len(leaks):
        cell = tuple(leaks[0].tolist())
        raise ValueError(
            "attention_weights must be zero where the mask blocks, got"
            f" {float(weights[cell]):.4g} at {list(cell)}."
        )


def _check_shape(
    mask: Tensor | None, shape: Sequence[int] | None
) -> Sequence[int]:
    """The shape of the weights wanted: as given, or else the mask's."""
    shape = getattr(mask, "shape", None) if shape is None else shape
    if shape is None:
        raise ValueError(
            "uniform_weights needs a mask or a shape, got neither."
        )
    if len(shape) < 2 or min(shape) < 1:
        raise ValueError(
            "shape must be [..., queries, keys], each at least 1, got"
            f" {list(shape)}."
        )
    return shape


def _read(
    attention_weights: Tensor, mask: Tensor | None
) -> tuple[Tensor, Tensor, Tensor]:
    """The weights, who may look, and which rows hold any weight, [..., T].

    All on the CPU, which has double precision. A row that the mask hides
    whole is zero, whatever it held.
    """
    check_weights(attention_weights)
    weights = attention_weights.detach().cpu()
    may_look = visible(mask, weights.shape, attention_weights.device).cpu()
    hidden = ~may_look.any(-1, keepdim=True)
    check_blocked(weights, may_look | hidden)
    weights = weights.masked_fill(hidden, 0.0)
    live = weights.sum(-1) > 0
    if not live.any():
        raise ValueError(
            "attention_weights must hold some weight, got zeros throughout."
        )
    return weights, may_look, live
