"""Faults of time: a diagonal too far, a wrong corner, a mask in one mode."""

# Pages show these functions, which all have the signature of `right`.
# mypy: allow-untyped-defs, check-untyped-defs

import torch
from torch import Tensor

from surgeon.anatomy.masks import combine_masks
from surgeon.zoo.fault import Layer, Mask, fault, right


def up_to(diagonal: int, Q: Tensor, K: Tensor, mask: Mask) -> Tensor:
    """What a mask shows of the keys up to a diagonal, [T, S] or as the mask.

    Diagonal 0 ends at the last key of the last query.
    """
    T, S = Q.shape[-2], K.shape[-2]
    whole = torch.ones(T, S, dtype=torch.bool, device=Q.device)
    causal = whole.tril(S - T + diagonal)
    return causal if mask is None else combine_masks(mask, causal)


@fault(
    "mask diagonal",
    repair="triu(1) hides the future; triu() hides the token too.",
    causal="causal",
)
def blind_to_itself(Q, K, V, mask=None, *, causal=False):
    """The causal mask hides the diagonal too: no token sees itself."""
    if causal:
        mask = up_to(-1, Q, K, mask)
    return right(Q, K, V, mask)


@fault("mask diagonal", repair="tril(), not tril(1).", causal="causal")
def sees_the_next(Q, K, V, mask=None, *, causal=False):
    """The causal mask is too wide: each token sees what it is to predict."""
    if causal:
        mask = up_to(1, Q, K, mask)
    return right(Q, K, V, mask)


@fault(
    "rectangular causal",
    thread="pytorch103082",
    repair="tril(S - T): the last query sees the last key.",
    scene="two new tokens, five keys",
    causal="causal",
)
def top_left_causal(Q, K, V, mask=None, *, causal=False):
    """The causal mask starts at the first key, and a cache is not seen."""
    if causal:
        mask = up_to(Q.shape[-2] - K.shape[-2], Q, K, mask)
    return right(Q, K, V, mask)


@fault(
    "future, evaluating",
    thread="kronos199",
    repair="Causal in both modes.",
    scene="evaluating",
    causal=True,
)
class CausalInTrainingOnly(Layer):
    """The layer is causal if it trains: `is_causal=self.training`."""

    def attend(self, Q, K, V, mask):
        if self.training:
            mask = up_to(0, Q, K, mask)
        return super().attend(Q, K, V, mask)


@fault(
    "future, training",
    repair="Causal in both modes.",
    scene="training",
    causal=True,
)
class CausalInEvaluationOnly(Layer):
    """The layer is causal when it writes, and sees answers in training."""

    def attend(self, Q, K, V, mask):
        if not self.training:
            mask = up_to(0, Q, K, mask)
        return super().attend(Q, K, V, mask)
