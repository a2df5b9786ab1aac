"""The largest of a model's scores, where they can be seen."""

import math
from typing import Any

from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

FUSED = "_scaled_dot_product"  # what PyTorch's fused kernels begin with


class Scores(TorchDispatchMode):
    """Notes the largest product of queries and keys, of either sign.

    Seen are those that are one batched product, [.., T, d] by [.., d, S] with
    as many rows and columns as there are tokens, in or before their scale, as
    the model computes them; and those inside of PyTorch's fused kernels,
    which are computed here once more, scaled.

    Parameters
    ----------
    tokens : int
        In the text, and in its source.

    Attributes
    ----------
    number : int
        How many products were seen.
    largest : float
        Of all that were seen, masked ones among them.
    """

    def __init__(self, tokens: int) -> None:
        super().__init__()
        self.tokens, self.number, self.largest = tokens, 0, 0.0

    def __torch_dispatch__(
        self,
        func: Any,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        out = func(*args, **(kwargs or {}))
        name = func.name().removeprefix("aten::")
        if name.startswith(FUSED) and "backward" not in name:
            self._note(_scored(args[0], args[1], (kwargs or {}).get("scale")))
        elif name == "bmm" and self._scores(out, args[0]):
            self._note(out)
        return out

    def _scores(self, out: Tensor, left: Tensor) -> bool:
        """Whether it is of queries and keys, and not of weights and values.

        Where a head is as wide as the text is long, that cannot be told.
        """
        n = self.tokens
        return out.shape[-2:] == (n, n) and left.shape[-1] != n

    def _note(self, scores: Tensor) -> None:
        self.number += 1
        self.largest = max(self.largest, float(scores.abs().max()))

    def near(self, name: str, end: float) -> str:
        """How near the end of a format they come, in a sentence."""
        if not self.number:
            return (
                "Its scores were not seen: queries and keys are multiplied in"
                " a way of its own."
            )
        return (
            f"The largest score, of {self.number} products of queries and"
            f" keys, was {self.largest:.3g}: {self.largest / end:.2g} of the"
            f" largest number of {name}, {end:.6g}."
        )


def _scored(Q: Tensor, K: Tensor, scale: float | None) -> Tensor:
    """Products of each query and key, heads that share one included."""
    shared = Q.shape[-3] // K.shape[-3]
    K = K.repeat_interleave(shared, -3) if shared > 1 else K
    scale = 1 / math.sqrt(Q.shape[-1]) if scale is None else scale
    return (Q @ K.mT) * scale
