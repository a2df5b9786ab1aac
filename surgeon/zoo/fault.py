"""What is known of a faulty attention, and the right one behind each."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from surgeon.anatomy.heads import (
    MultiHeadAttention,
    merge_heads,
    split_heads,
)
from surgeon.anatomy.mask_reading import visible
from surgeon.anatomy.softmax import stable_softmax
from surgeon.checkup.examination import examine
from surgeon.checkup.report import Report

Mask = Tensor | None
Result = tuple[Tensor, Tensor]  # output and weights
Made = TypeVar("Made", bound=Callable[..., Any])

CAUSAL = "a causal text"  # the scene that needs nothing special
NEEDS = ("", "dropout", "shared heads", "padding")


@dataclass(frozen=True)
class Fault:
    """A faulty attention and its story.

    Parameters
    ----------
    name : str
        Its key in `surgeon.zoo.catalogue.ZOO`.
    story : str
        What is wrong, in one sentence.
    finding : str
        The finding of `surgeon.examine` that must name it.
    repair : str
        What to write instead.
    thread : str
        A key of the book's list of sources: where it was shipped; empty for a
        mistake from the textbook.
    needs : str
        What a layer or its texts must have for the fault to be there at all:
        one of `NEEDS`, and mostly nothing.
    scene : str
        The circumstance that shows the fault on five tokens, as
        `surgeon.ablations.bug_scenes` arranges them; empty if none can.
    made : callable
        The faulty thing: a function ``f(Q, K, V, mask)``, or a subclass of
        `Layer`.
    held : mapping
        What `surgeon.examine` has to be told.
    """

    name: str
    story: str
    finding: str
    repair: str
    thread: str
    needs: str
    scene: str
    made: Callable[..., Any]
    held: Mapping[str, Any] = field(default_factory=dict)

    @property
    def is_layer(self) -> bool:
        return isinstance(self.made, type)

    @property
    def is_causal(self) -> bool:
        """Whether it hides the future by itself, and needs no mask."""
        return bool(self.held.get("causal"))

    def subject(self) -> Callable[..., Any]:
        """What to examine: the function, or a small layer.

        The weights of the layer depend on nothing but its sizes.
        """
        if not self.is_layer:
            return self.made
        shared = 2 if self.needs == "shared heads" else 4
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(0)
            return self.made(28, 4, num_kv_heads=shared, dropout=0.25)

    def examine(self, seed: int = 0) -> Report:
        """The report of its check-up."""
        return examine(self.subject(), seed=seed, **self.held)


FAULTS: dict[str, Fault] = {}


def fault(
    finding: str,
    *,
    repair: str,
    thread: str = "",
    needs: str = "",
    scene: str = CAUSAL,
    **held: Any,
) -> Callable[[Made], Made]:
    """Put a function or a layer into the zoo, with what is known of it.

    The first line of its docstring is its story; the rest is as in `Fault`.
    """

    def put(made: Made) -> Made:
        name = made.__name__
        story = (made.__doc__ or "").strip().splitlines()[0]
        FAULTS[name] = Fault(
            name, story, finding, repair, thread, needs, scene, made, held
        )
        return made

    return put


def right(Q: Tensor, K: Tensor, V: Tensor, mask: Mask = None) -> Result:
    """Attention as it should be: every function of the zoo, but for a line.

    Parameters
    ----------
    Q, K, V : Tensor
        [..., T, d_k], [..., S, d_k], [..., S, d_v].
    mask : Tensor, optional
        As `surgeon.anatomy.mask_reading.as_additive` reads it.

    Returns
    -------
    (Tensor, Tensor)
        Output [..., T, d_v] and weights [..., T, S].
    """
    scores = (Q / math.sqrt(Q.shape[-1])) @ K.mT
    if mask is not None:
        scores = scores.masked_fill(~seen(mask, scores), -math.inf)
    weights = stable_softmax(scores)
    return weights @ V, weights


def seen(mask: Tensor, scores: Tensor) -> Tensor:
    """Who may look at whom, in any convention: booleans, one a score."""
    return visible(mask, scores.shape, scores.device)


class Layer(MultiHeadAttention):
    """Heads as they should be, in parts of which a fault replaces one."""

    def forward(  # type: ignore[override]
        self, x: Tensor, context: Tensor | None = None, mask: Mask = None
    ) -> Result:
        """[B, T, d_model] to the same, and the weights [B, H, T, S]."""
        context = x if context is None else context
        if mask is not None and mask.ndim == x.ndim and x.ndim > 2:
            mask = mask.unsqueeze(-3)  # the same for every head
        Q = self.split(self.W_Q(x), self.num_heads)
        K = self.split(self.W_K(context), self.num_kv_heads)
        V = self.split(self.W_V(context), self.num_kv_heads)
        output, weights = self.attend(Q, self.repeat(K), self.repeat(V), mask)
        return self.W_O(self.merge(output)), weights

    def split(self, x: Tensor, heads: int) -> Tensor:
        """[B, T, H * d] -> [B, H, T, d]"""
        return split_heads(x, heads)

    def merge(self, x: Tensor) -> Tensor:
        """[B, H, T, d] -> [B, T, H * d]"""
        return merge_heads(x)

    def repeat(self, x: Tensor) -> Tensor:
        """[B, H_kv, S, d] -> [B, H, S, d]: neighbouring heads share."""
        return x.repeat_interleave(self.num_heads // self.num_kv_heads, -3)

    def attend(self, Q: Tensor, K: Tensor, V: Tensor, mask: Mask) -> Result:
        """Attention in each head, its weights dropped while training."""
        if not self.scale:
            Q = Q * math.sqrt(Q.shape[-1])
        weights = self.drop(right(Q, K, V, mask)[1])
        return weights @ V, weights

    def drop(self, weights: Tensor) -> Tensor:
        """Inverted dropout."""
        return nn.functional.dropout(weights, self.dropout, self.training)
