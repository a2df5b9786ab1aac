"""Keys near enough to be seen, and one too many or too few of them."""

# Pages show these functions, which all have the signature of the first.
# mypy: allow-untyped-defs, check-untyped-defs

import torch

from surgeon.zoo.designs.design import (
    ahead,
    placed,
    scored,
    sound,
    weighed,
    wrong,
)


def banded(Q, K, V, back, on, mask=None):
    """Attention to the keys from `back` behind to `on` ahead."""
    distance = ahead(Q, K)
    near = (distance >= -back) & (distance <= on)
    scores = scored(Q, K).masked_fill(~near, -torch.inf)
    return weighed(scores, mask) @ V


@sound(sliding_window=3, causal=True, mask="none")
def sliding(Q, K, V):
    """A sliding window: three keys, the query's own counted."""
    return banded(Q, K, V, 2, 0)


@sound(window=1)
def window(Q, K, V, mask=None):
    """A window to both sides: one key, the query's own, one key."""
    return banded(Q, K, V, 1, 1, mask)


@sound(window=(2, 1))
def uneven_window(Q, K, V, mask=None):
    """A window of two keys behind and one ahead."""
    return banded(Q, K, V, 2, 1, mask)


@wrong(
    sliding,
    "window",
    thread="NVIDIA-NeMo/Megatron-Bridge#2656",
    repair="(w - 1, 0): the query's own key is counted.",
)
def one_key_too_many(Q, K, V):
    """The kernel counts the keys behind, and is given one of them more."""
    return banded(Q, K, V, 3, 0)


@wrong(
    sliding,
    "window",
    thread="microsoft/unilm#1612",
    repair="Take one off once.",
)
def one_key_too_few(Q, K, V):
    """The query's own key is taken off the window twice."""
    return banded(Q, K, V, 1, 0)


@wrong(
    sliding,
    "window",
    thread="proger/hippogriff#7",
    repair="(w - 1, 0): a negative number means no limit.",
)
def window_without_end(Q, K, V):
    """The window is given as a negative number, which means no limit."""
    return banded(Q, K, V, K.shape[-2], 0)


@wrong(
    sliding,
    "future, evaluating",
    thread="ModelTC/LightLLM#1311",
    repair="(w - 1, 0), not (w - 1, w - 1).",
)
def window_ahead(Q, K, V):
    """The window reaches as far ahead as behind, and shows the future."""
    return banded(Q, K, V, 2, 2)


@wrong(
    uneven_window,
    "window",
    thread="huggingface/transformers#47010",
    repair="distance <= ahead.",
)
def one_too_few_ahead(Q, K, V, mask=None):
    """Ahead, the comparison is strict, and one key is lost."""
    return banded(Q, K, V, 2, 0, mask)


@wrong(uneven_window, "window", repair="(behind, ahead).")
def window_reversed(Q, K, V, mask=None):
    """Behind and ahead are taken for each other."""
    return banded(Q, K, V, 1, 2, mask)


@wrong(sliding, "window", repair="A band, not blocks.")
def blocks_for_a_band(Q, K, V):
    """Each query sees the keys of its block, up to itself."""
    t, s = placed(Q, K)
    near = (t[:, None] // 3 == s // 3) & (ahead(Q, K) <= 0)
    scores = scored(Q, K).masked_fill(~near, -torch.inf)
    return weighed(scores) @ V
