"""Every fault of the zoo, by name."""

from collections.abc import Callable
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor

from surgeon.anatomy.dot_product import attention, check_inputs
from surgeon.anatomy.mask_reading import as_additive
from surgeon.zoo import (
    arithmetic,
    causality,
    heads,
    masking,
    randomness,
    scaling,
    shares,
)
from surgeon.zoo.fault import FAULTS, Mask, Result

# Imported, each has put its faults there.
FILES = (arithmetic, causality, heads, masking, randomness, scaling, shares)

#: name: Fault, in the order of the files
ZOO = MappingProxyType(FAULTS)


def in_the_brief_s_shape(function: Callable[..., Any]) -> Callable[..., Any]:
    """A function ``f(Q, K, V, mask)`` in the place of `surgeon.attention`.

    Parameters
    ----------
    function : callable
        Returns (output, weights).

    Returns
    -------
    callable
        Checks its inputs as `surgeon.attention` does, and takes `scale`,
        `dropout` and `generator`.
    """

    def faulty(
        Q: Tensor,
        K: Tensor,
        V: Tensor,
        mask: Mask = None,
        scale: bool = True,
        *,
        dropout: float = 0.0,
        generator: torch.Generator | None = None,
    ) -> Result:
        check_inputs(Q, K, V)
        if mask is not None:
            lead = torch.broadcast_shapes(Q.shape[:-2], K.shape[:-2])
            shape = (*lead, Q.shape[-2], K.shape[-2])
            as_additive(mask, shape, dtype=torch.float64, device=Q.device)
        if not scale:
            Q = Q * Q.shape[-1] ** 0.5
        output, weights = function(Q, K, V, mask)
        if dropout:
            chance = torch.rand(
                weights.shape,
                generator=generator,
                device=weights.device,
                dtype=weights.dtype,
            )
            weights = weights * (chance >= dropout) / (1 - dropout)
            output = weights @ V
        return output, weights

    faulty.__name__, faulty.__doc__ = function.__name__, attention.__doc__
    return faulty
