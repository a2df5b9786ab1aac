"""Faults of heads and batches: taken apart or put together the wrong way."""

# Pages show these functions, which all have the signature of `right`.
# mypy: allow-untyped-defs, check-untyped-defs

from surgeon.zoo.fault import Layer, fault, right


@fault(
    "heads apart",
    thread="fuxictr30",
    repair="unflatten(-1, (H, d)).transpose(-3, -2).",
)
class ViewedHeads(Layer):
    """`view(B, H, T, d)` without a transpose cuts tokens across heads."""

    def split(self, x, heads):
        return x.reshape(*x.shape[:-2], heads, x.shape[-2], -1)


@fault(
    "heads apart",
    thread="opacus825",
    repair="transpose(-3, -2).flatten(-2).",
)
class ViewedMerge(Layer):
    """Heads are joined without the transpose, and hold others' outputs."""

    def merge(self, x):
        return x.reshape(*x.shape[:-3], x.shape[-2], -1)


@fault(
    "grouped heads in order",
    thread="onnx7274",
    repair="repeat_interleave, not repeat.",
    needs="shared heads",
)
class HeadsInTurns(Layer):
    """Key heads are in the order 0 1 0 1, where 0 0 1 1 is meant."""

    def repeat(self, x):
        group = self.num_heads // self.num_kv_heads
        return x.repeat(*[1] * (x.ndim - 3), group, 1, 1)


@fault(
    "batch elements apart",
    thread="tabformer14",
    repair="Know whether the batch comes first.",
    scene="five texts in a batch",
    layout="B T d",
)
def batch_for_sequence(Q, K, V, mask=None):
    """The batch is taken for the sequence: tokens attend across texts."""
    if Q.ndim < 3 or Q.shape[-2] != K.shape[-2]:
        return right(Q, K, V, mask)
    output, weights = right(*(x.transpose(0, -2) for x in (Q, K, V)))
    return output.transpose(0, -2), weights


@fault("values in step with keys", repair="Append keys and values alike.")
def keys_from_the_other_end(Q, K, V, mask=None):
    """Keys are kept oldest first, values newest first."""
    _, weights = right(Q, K, V, mask)
    return weights @ V.flip(-2), weights


@fault("values in step with keys", repair="Shift both, or neither.")
def values_one_late(Q, K, V, mask=None):
    """Values were shifted by one place, keys were not."""
    _, weights = right(Q, K, V, mask)
    return weights @ V.roll(1, -2), weights
