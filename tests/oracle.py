"""What is right: inputs to try, PyTorch's own attention in float64, and how far rounding may lead away from it."""

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

CAUSAL = torch.ones(5, 5, dtype=torch.bool).tril()
CONVENTIONS = {
    "boolean": CAUSAL,
    "integer": CAUSAL.to(torch.int64),
    "byte": CAUSAL.to(torch.uint8) * 7,
    "zero-one": CAUSAL.to(torch.float32),
    "zero-one-half": CAUSAL.to(torch.float16),
    "additive": torch.zeros(5, 5).masked_fill(~CAUSAL, -torch.inf),
    "additive-double": torch.zeros(5, 5, dtype=torch.float64).masked_fill(~CAUSAL, -torch.inf),
}


def normal(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64, grad: bool = True) -> Tensor:
    """Standard normal numbers, another draw for every shape."""
    generator = torch.Generator().manual_seed(seed + sum(n * 31**i for i, n in enumerate(shape)))
    return torch.randn(*shape, generator=generator, dtype=torch.float64).to(dtype).requires_grad_(grad)


def reference(Q: Tensor, K: Tensor, V: Tensor, allowed: Tensor | None = None, scale: bool = True) -> Tensor:
    """PyTorch's attention; `allowed` is boolean, and every row must see a key."""
    return scaled_dot_product_attention(Q, K, V, attn_mask=allowed, scale=None if scale else 1.0)


def budget(exact: Tensor, low: Tensor) -> float:
    """Twice the error of PyTorch's own result in the low precision, and one rounding of the largest value."""
    rounding = torch.finfo(low.dtype).eps * float(exact.abs().max())
    return 2 * float((low.double() - exact).abs().max()) + rounding
