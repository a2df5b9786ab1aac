"""Faults of time: a diagonal too far, a corner too early, a mask in one mode alone."""

import torch
from torch import Tensor

from surgeon.anatomy.masks import combine_masks
from surgeon.zoo.fault import Layer, fault, right


def triangle(Q: Tensor, K: Tensor, diagonal: int) -> Tensor:
    """[T, S], True up to a diagonal; 0 is that of the last token."""
    T, S = Q.shape[-2], K.shape[-2]
    return torch.ones(T, S, dtype=torch.bool, device=Q.device).tril(
        S - T + diagonal
    )


@fault(
    "mask diagonal",
    repair="triu(1) hides the future; triu() hides the token too.",
    causal="causal",
)
def blind_to_itself(
    Q: Tensor,
    K: Tensor,
    V: Tensor,
    mask: Tensor | None = None,
    *,
    causal: bool = False,
) -> tuple[Tensor, Tensor]:
    """The causal mask hides the diagonal too: no token sees itself, and the first sees nothing."""
    masks = [
        m
        for m in (mask, triangle(Q, K, -1) if causal else None)
        if m is not None
    ]
    return right(Q, K, V, combine_masks(*masks) if masks else None)


@fault("mask diagonal", repair="tril(), not tril(1).", causal="causal")
def sees_the_next(
    Q: Tensor,
    K: Tensor,
    V: Tensor,
    mask: Tensor | None = None,
    *,
    causal: bool = False,
) -> tuple[Tensor, Tensor]:
    """The causal mask is one diagonal too wide: each token sees the one that it has to predict."""
    masks = [
        m
        for m in (mask, triangle(Q, K, 1) if causal else None)
        if m is not None
    ]
    return right(Q, K, V, combine_masks(*masks) if masks else None)


@fault(
    "rectangular causal",
    thread="pytorch103082",
    repair="tril(S - T): the last query sees the last key.",
    causal="causal",
)
def top_left_causal(
    Q: Tensor,
    K: Tensor,
    V: Tensor,
    mask: Tensor | None = None,
    *,
    causal: bool = False,
) -> tuple[Tensor, Tensor]:
    """The causal mask starts at the first key, so that a token after a cache sees the oldest key alone."""
    T, S = Q.shape[-2], K.shape[-2]
    masks = [
        m
        for m in (mask, triangle(Q, K, T - S) if causal else None)
        if m is not None
    ]
    return right(Q, K, V, combine_masks(*masks) if masks else None)


@fault(
    "future, evaluating",
    thread="kronos199",
    repair="Causal in both modes.",
    causal=True,
)
class CausalInTrainingOnly(Layer):
    """The layer is causal if it trains: `is_causal=self.training`."""

    def attend(
        self, Q: Tensor, K: Tensor, V: Tensor, mask: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        return causal_if(self, self.training, Q, K, V, mask)


@fault("future, training", repair="Causal in both modes.", causal=True)
class CausalInEvaluationOnly(Layer):
    """The layer is causal when it writes, and sees the whole text while it trains, the answers included."""

    def attend(
        self, Q: Tensor, K: Tensor, V: Tensor, mask: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        return causal_if(self, not self.training, Q, K, V, mask)


def causal_if(
    layer: Layer,
    causal: bool,
    Q: Tensor,
    K: Tensor,
    V: Tensor,
    mask: Tensor | None,
) -> tuple[Tensor, Tensor]:
    """Attention that adds a causal mask, or does not."""
    masks = [
        m
        for m in (mask, triangle(Q, K, 0) if causal else None)
        if m is not None
    ]
    return Layer.attend(
        layer, Q, K, V, combine_masks(*masks) if masks else None
    )
