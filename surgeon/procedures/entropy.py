"""How evenly each row of attention is spread, without its weights."""

import torch
from torch import Tensor

from surgeon.anatomy.dot_product import check_inputs
from surgeon.anatomy.mask_reading import as_additive
from surgeon.anatomy.precision import at_least_float32
from surgeon.procedures.flash import flash_attention
from surgeon.procedures.inputs import score_factor
from surgeon.procedures.online import Partial


def attention_entropy(
    Q: Tensor,
    K: Tensor,
    mask: Tensor | None = None,
    scale: bool = True,
    *,
    causal: bool = False,
) -> Tensor:
    r"""Shannon's entropy of each row of weights, without the weights.

    .. math::

        H_i = -\sum_j a_{ij} \log a_{ij}
            = \ell_i - c\, q_i \cdot \sum_j a_{ij} k_j

    in nats, with the log-sum-exp :math:`\ell_i` and the factor `c` of the
    scores. The sum is attention with its keys as values.

    Parameters
    ----------
    Q : Tensor
        Queries [..., T, d_k].
    K : Tensor
        Keys [..., S, d_k].
    mask, scale, causal
        As `surgeon.procedures.flash.flash_attention` takes them; the mask may
        block, but not add other numbers to the scores.

    Returns
    -------
    Tensor
        [..., T], at least float32: 0 where all the weight lies on one key,
        the logarithm of the number of visible keys where it is spread evenly;
        0 for a row that may look at nothing. Differentiable, once.

    Raises
    ------
    ValueError
        As `surgeon.attention`, or if the mask adds finite numbers to scores.

    Notes
    -----
    The difference of two numbers as large as the scores is rounded as they
    are: to about 1e-7 of the largest score in float32. Source: shannon1948,
    dao2022 (book/references.bib).

    Examples
    --------
    Four keys alike, log 4:

    >>> attention_entropy(torch.zeros(1, 2), torch.ones(4, 2))
    tensor([1.3863])
    """
    check_inputs(Q, K, K)
    _check_only_blocks(mask)
    Q, K = Q.to(at_least_float32(Q.dtype)), K.to(at_least_float32(K.dtype))
    part = flash_attention(
        Q, K, K, mask, scale, causal=causal, return_lse=True
    )
    assert isinstance(part, Partial)
    average = score_factor(Q, scale) * (Q * part.out).sum(-1)
    entropy = part.lse - average
    # an empty row has 0, and so has one key, not a rounding error less
    return entropy.masked_fill(part.lse == -torch.inf, 0.0).clamp(min=0.0)


def _check_only_blocks(mask: Tensor | None) -> None:
    if (
        not isinstance(mask, Tensor)
        or not mask.is_floating_point()
        or mask.ndim < 2
        or mask.numel() == 0
    ):
        return  # nothing to add, or for flash_attention to refuse
    added = as_additive(
        mask,
        mask.shape,
        dtype=torch.promote_types(mask.dtype, torch.float32),
        device=mask.device,
    )
    other = added[(added != 0) & (added != -torch.inf)]
    if len(other):
        raise ValueError(
            "mask must only block where entropy is taken without weights,"
            f" got {float(other[0]):g} to add."
        )
