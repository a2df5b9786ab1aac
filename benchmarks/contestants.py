"""Who takes part, and on what: each a function of Q, K, V, [1, heads, tokens, width], and whether it is causal."""

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.functional import scaled_dot_product_attention

from surgeon import attention, create_causal_mask, create_window_mask
from surgeon.procedures.flash import flash_attention
from surgeon.procedures.topk import topk_attention
from surgeon.procedures.window import window_attention

Contestant = Callable[[Tensor, Tensor, Tensor, bool], Tensor]
WINDOW = 256  # how far a query sees
TOP = 32  # how many keys it chooses
# What makes scores too large to do without a running maximum.
GROW = 4.0

FUSED = [SDPBackend.FLASH_ATTENTION, SDPBackend.EFFICIENT_ATTENTION, SDPBackend.CUDNN_ATTENTION]


def sdpa(backends: list[SDPBackend], Q: Tensor, K: Tensor, V: Tensor, causal: bool) -> Tensor:
    with sdpa_kernel(backends):
        return scaled_dot_product_attention(Q, K, V, is_causal=causal)


def plain(Q: Tensor, K: Tensor, V: Tensor, causal: bool) -> Tensor:
    mask = create_causal_mask(Q.shape[-2], Q.device) if causal else None
    return attention(Q, K, V, mask)[0]


def flash(Q: Tensor, K: Tensor, V: Tensor, causal: bool, grow: float = 1.0) -> Tensor:
    """Attention in tiles, of scores that may be made larger."""
    out = flash_attention(Q if grow == 1 else Q * grow, K, V, causal=causal)
    assert isinstance(out, Tensor)
    return out


def window(Q: Tensor, K: Tensor, V: Tensor, causal: bool) -> Tensor:
    return window_attention(Q, K, V, WINDOW, causal=causal)


def topk(Q: Tensor, K: Tensor, V: Tensor, causal: bool) -> Tensor:
    return topk_attention(Q, K, V, TOP, causal=causal).output


def dense_window(Q: Tensor, K: Tensor, V: Tensor, causal: bool) -> Tensor:
    """The window as one would otherwise have it: a dense mask, made beforehand in any real program, so not timed."""
    key = (Q.shape[-2], causal, str(Q.device))
    if key not in _masks:
        _masks.clear()
        _masks[key] = create_window_mask(Q.shape[-2], WINDOW, causal=causal, device=Q.device) == 0
    return scaled_dot_product_attention(Q, K, V, attn_mask=_masks[key])


_masks: dict[tuple[int, bool, str], Tensor] = {}

CONTESTANTS: dict[str, Contestant] = {
    "SDPA, fused": partial(sdpa, FUSED),
    "SDPA, math": partial(sdpa, [SDPBackend.MATH]),
    "plain": plain,
    "flash": flash,
    "flash, large scores": partial(flash, grow=GROW),
    f"window of {WINDOW}": window,
    f"top {TOP}": topk,
    f"SDPA, mask of the window of {WINDOW}": dense_window,
}
HOLDS_THE_MATRIX = ("SDPA, math", "plain")


def inputs(heads: int, tokens: int, width: int, device: str, gradients: bool) -> list[Tensor]:
    """Q, K, V and what is multiplied with the output before it is summed, standard normal."""
    generator = torch.Generator().manual_seed(0)
    draws = [torch.randn(1, heads, tokens, width, generator=generator).to(device) for _ in range(4)]
    return [x.requires_grad_(gradients and i < 3) for i, x in enumerate(draws)]


def once(contestant: Contestant, tensors: list[Tensor], causal: bool, gradients: bool) -> list[Tensor]:
    """Forward, and backward where gradients are wanted; all that a caller would hold afterwards."""
    *three, pull = tensors
    with torch.set_grad_enabled(gradients):
        output = contestant(*three, causal)
        return [output.detach(), *(torch.autograd.grad(output, three, pull) if gradients else [])]
