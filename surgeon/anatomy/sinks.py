"""A sink: a score beside the keys, for a row that wants none of them."""

import math
from numbers import Real

import numpy as np
import torch
from torch import Tensor, nn

from surgeon.anatomy.softmax import log_sum_exp


def share_of_keys(scores: Tensor, sink: Tensor) -> Tensor:
    r"""What a sink leaves to the keys of each row.

    .. math::

        \frac{\sum_j e^{s_j}}{e^b + \sum_j e^{s_j}} = \sigma(\ell - b),
        \qquad \ell = \log \sum_j e^{s_j}

    A row's weights, multiplied by it, are those of a softmax over one more
    column, the sink's, which is dropped afterwards. What the column took
    goes to nobody.

    Parameters
    ----------
    scores : Tensor
        Masked scores [..., T, S], floating point; :math:`-\infty` marks what
        may not be seen.
    sink : Tensor
        Scores :math:`b` of the sinks, finite, which broadcast to [..., T, 1].
        A sink of 0 adds 1 to softmax's denominator.

    Returns
    -------
    Tensor
        [..., T, 1], between 0 and 1, at least float32: 0 for a row that may
        see nothing.

    Raises
    ------
    ValueError
        If `scores` is no floating tensor, or has no numbers in its last axis.

    Notes
    -----
    Source: miller2023 (a sink of 0), openai2025 (learned, one a head)
    (book/references.bib).

    Examples
    --------
    Three keys of score 0, and a sink of 0:

    >>> share_of_keys(torch.zeros(1, 3), torch.tensor(0.0))
    tensor([[0.7500]])
    """
    # 1. What the keys weigh together, as one score.
    together = log_sum_exp(scores, keepdim=True)
    # 2. That score against the sink's: a softmax of two.
    return torch.sigmoid(together - sink)


def install_sink(
    layer: nn.Module, sink: bool | float | None, heads: int
) -> None:
    """Give a layer its sinks, [heads], as `layer.sink`.

    A parameter if they are learned, a buffer if they are fixed, or None.

    Raises
    ------
    ValueError
        If `sink` is given, and is no boolean and no finite number.
    """
    sink = False if sink is None else sink
    given = isinstance(sink, Real) and math.isfinite(sink)
    if not given and not isinstance(sink, np.bool_):
        raise ValueError(
            "sink must be True, False, a finite number or None, got"
            f" {sink!r}."
        )
    fixed = None
    if not isinstance(sink, bool | np.bool_):
        fixed = torch.full((heads,), float(sink))
    elif sink:
        layer.register_parameter("sink", nn.Parameter(torch.zeros(heads)))
        return
    layer.register_buffer("sink", fixed, persistent=False)
