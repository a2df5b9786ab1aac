"""Faults of heads and batches: split or joined by the wrong reshape, repeated in the wrong order, mixed."""

from torch import Tensor

from surgeon.zoo.fault import Layer, fault, right


@fault(
    "heads apart",
    thread="jsbaan6",
    repair="unflatten(-1, (H, d)).transpose(-3, -2).",
)
class ViewedHeads(Layer):
    """`view(B, H, T, d)` where a transpose was meant: the right shape, and tokens cut across heads."""

    def split(self, x: Tensor, heads: int) -> Tensor:
        return x.reshape(*x.shape[:-2], heads, x.shape[-2], -1)


@fault(
    "heads apart", thread="opacus825", repair="transpose(-3, -2).flatten(-2)."
)
class ViewedMerge(Layer):
    """Heads are split well, and joined without the transpose: an output of one token holds others' heads."""

    def merge(self, x: Tensor) -> Tensor:
        return x.reshape(*x.shape[:-3], x.shape[-2], -1)


@fault(
    "grouped heads in order",
    thread="onnx7274",
    repair="repeat_interleave, not repeat.",
)
class HeadsInTurns(Layer):
    """Key heads are repeated in turns, 0 1 0 1, where neighbours should share, 0 0 1 1."""

    def repeat(self, x: Tensor) -> Tensor:
        group = self.num_heads // self.num_kv_heads
        return x.repeat(*[1] * (x.ndim - 3), group, 1, 1)


@fault(
    "batch elements apart",
    thread="tabformer14",
    repair="Know whether the batch comes first.",
    layout="B T d",
)
def batch_for_sequence(
    Q: Tensor, K: Tensor, V: Tensor, mask: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """The first axis is taken for the sequence: tokens attend to their like in other texts."""
    if Q.ndim < 3 or Q.shape[-2] != K.shape[-2]:
        return right(Q, K, V, mask)
    output, weights = right(*(x.transpose(0, -2) for x in (Q, K, V)))
    return output.transpose(0, -2), weights


@fault("values in step with keys", repair="Append keys and values alike.")
def keys_from_the_other_end(
    Q: Tensor, K: Tensor, V: Tensor, mask: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Keys are kept oldest first and values newest first: each weight meets another key's value."""
    _, weights = right(Q, K, V, mask)
    return weights @ V.flip(-2), weights


@fault("values in step with keys", repair="Shift both, or neither.")
def values_one_late(
    Q: Tensor, K: Tensor, V: Tensor, mask: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Values were shifted by one place, keys were not."""
    _, weights = right(Q, K, V, mask)
    return weights @ V.roll(1, -2), weights
