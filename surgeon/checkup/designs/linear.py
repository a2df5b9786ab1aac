"""Products of features for weights, and no exponential."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import elu

Features = Callable[[Tensor], Tensor]
FEATURES: dict[str, Features] = {
    "elu+1": lambda x: elu(x) + 1,
    "relu": torch.relu,
    "exp": torch.exp,
    "identity": lambda x: x,
}


@dataclass(frozen=True)
class Linear:
    """Weights that are products of features, over their sum.

    Parameters
    ----------
    features : callable
        Of queries and keys.
    normalised : bool
        Whether weights are divided by their sum.
    only : str
        "Q" or "K", if the other is left as it is.
    open_sum : bool
        Whether the sum runs over hidden keys, too.
    """

    features: Features
    normalised: bool = True
    only: str = ""
    open_sum: bool = False

    def weights(self, Q: Tensor, K: Tensor, seen: Tensor) -> Tensor:
        """[B, H, T, S], of those that `seen`, broadcastable to it, shows."""
        q = Q if self.only == "K" else self.features(Q)
        k = K if self.only == "Q" else self.features(K)
        products = q @ k.mT
        weights = products * seen
        if not self.normalised:
            return weights
        total = (products if self.open_sum else weights).sum(-1, keepdim=True)
        return weights / total.masked_fill(total == 0, 1.0)


def read_linear(said: Any, normalised: bool | None) -> Linear | None:
    """The feature map, by its name or as a function."""
    if said is None:
        if normalised is not None:
            raise ValueError(
                "normalised belongs to linear attention: give linear, too."
            )
        return None
    whole = normalised is not False
    if callable(said):
        return Linear(said, whole)
    if said not in FEATURES:
        names = ", ".join(map(repr, FEATURES))
        raise ValueError(
            f"linear must be one of {names}, or a function, got {said!r}."
        )
    return Linear(FEATURES[said], whole)


def wrong_linear(right: Linear) -> Iterator[tuple[str, Linear]]:
    """What is meant, and what is there instead."""
    said = "divided by their sum"
    yield (
        f"Weights are not {said}."
        if right.normalised
        else f"Weights are {said}.",
        replace(right, normalised=not right.normalised),
    )
    for only, which in (("Q", "Keys"), ("K", "Queries")):
        yield (
            f"{which} have no feature map: they are as they come.",
            replace(right, only=only),
        )
    for name, features in FEATURES.items():
        if features is not right.features:
            yield (
                f"The features are those of {name}, which is another map.",
                replace(right, features=features),
            )


def open_sums(right: Linear) -> Iterator[tuple[str, Linear]]:
    """What shows behind a mask alone."""
    yield (
        "Weights are divided by the sum over all keys, hidden ones included.",
        replace(right, open_sum=True),
    )
