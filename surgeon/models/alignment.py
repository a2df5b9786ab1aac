"""How well attention's weights tell where a letter was copied from."""

from torch import Tensor

from surgeon.imaging.patterns import check_weights


def score_alignment(
    attention_weights: Tensor, truth: Tensor
) -> dict[str, float]:
    r"""Weights against an alignment that is known.

    With :math:`\pi` the truth, means over all outputs that have one:

    .. math:: \text{on\_truth} = \overline{a_{t\,\pi(t)}}, \qquad
              \text{argmax\_right} = \overline{[\operatorname{argmax}_j a_{tj}
              = \pi(t)]}

    Parameters
    ----------
    attention_weights : Tensor
        [..., T, S], rows that sum to one or to zero.
    truth : Tensor
        Integers [..., T], each a key from 0 to S - 1, or negative where there
        is none to find.

    Returns
    -------
    dict
        `on_truth` and `argmax_right`, both from 0 to 1. An even row has 1 /
        (visible keys) for the first.

    Raises
    ------
    ValueError
        If the weights are none, if shapes disagree, if a truth is no key, or
        if no output has one.

    Notes
    -----
    A row of zeros has its largest weight nowhere, and is wrong.

    Examples
    --------
    >>> import torch
    >>> weights = torch.tensor([[0.5, 0.5, 0.0], [0.25, 0.0, 0.75]])
    >>> score_alignment(weights, torch.tensor([1, 2]))
    {'on_truth': 0.625, 'argmax_right': 0.5}
    """
    weights = check_weights(attention_weights).detach()
    _check_truth(truth, weights)
    truth = truth.to(weights.device)
    known = truth >= 0
    rows, keys = weights[known], truth[known]  # [outputs, S], [outputs]
    largest = rows.max(-1)
    right = (largest.indices == keys) & (largest.values > 0)
    on_truth = rows.gather(-1, keys[:, None])
    return {
        "on_truth": float(on_truth.double().mean()),
        "argmax_right": float(right.double().mean()),
    }


def _check_truth(truth: Tensor, weights: Tensor) -> None:
    *expected, S = weights.shape
    if list(truth.shape) != expected:
        raise ValueError(
            "truth must have the shape of the weights but for the last axis,"
            f" {expected}, got {list(truth.shape)}."
        )
    if truth.is_floating_point() or (truth >= S).any():
        raise ValueError(
            f"truth must be integers below the number of keys ({S}), got"
            f" {truth.max().item()}."
        )
    if not (truth >= 0).any():
        raise ValueError(
            "truth must name a key for at least one output, got none."
        )
