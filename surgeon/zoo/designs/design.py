"""What is known of a design's right attention, and of the wrong ones."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

import torch
from torch import Tensor

from surgeon.anatomy.softmax import stable_softmax
from surgeon.checkup.examination import examine
from surgeon.checkup.report import Report
from surgeon.zoo.fault import Mask, seen
from surgeon.zoo.shipped import Shipped

Made = TypeVar("Made", bound=Callable[..., Any])


@dataclass(frozen=True)
class Sound:
    """A right attention, and what the check-up has to be told of it.

    Parameters
    ----------
    name : str
        Its key in `surgeon.zoo.designs.catalogue.RIGHT`.
    design : str
        What it is, in one sentence.
    made : callable
        A function ``f(Q, K, V, ...)``, or a module's class.
    held : mapping
        The declaration: arguments of `surgeon.examine`.
    """

    name: str
    design: str
    made: Callable[..., Any]
    held: Mapping[str, Any] = field(default_factory=dict)

    def subject(self) -> Callable[..., Any]:
        """What to examine."""
        return _instance(self.made)

    def examine(self, seed: int = 0) -> Report:
        """The report of its check-up."""
        return examine(self.subject(), seed=seed, **self.held)


@dataclass(frozen=True)
class Wrong(Shipped):
    """A wrong attention, the right one beside it, and where it was shipped.

    Parameters
    ----------
    name : str
        Its key in `surgeon.zoo.designs.catalogue.WRONG`.
    story : str
        What is wrong, in one sentence.
    twin : Sound
        The right one, with the declaration of both.
    finding : str
        The finding of `surgeon.examine` that names it.
    repair : str
        What to write instead.
    thread : str
        Where it was shipped, as ``owner/repository#number``; empty for one
        that nobody is known to have shipped.
    made : callable
        As of the twin.
    """

    name: str
    story: str
    twin: Sound
    finding: str
    repair: str
    thread: str
    made: Callable[..., Any]

    def subject(self) -> Callable[..., Any]:
        """What to examine."""
        return _instance(self.made)

    def examine(self, seed: int = 0) -> Report:
        """The report of its check-up, told what it is meant to be."""
        return examine(self.subject(), seed=seed, **self.twin.held)


SOUND: dict[str, Sound] = {}
FAULTY: dict[str, Wrong] = {}


def sound(**held: Any) -> Callable[[Made], Made]:
    """Put a right attention among the designs, with its declaration.

    The first line of its docstring says what it is.
    """

    def put(made: Made) -> Made:
        name = made.__name__
        SOUND[name] = Sound(name, _first_line(made), made, held)
        return made

    return put


def wrong(
    twin: Callable[..., Any], finding: str, *, repair: str, thread: str = ""
) -> Callable[[Made], Made]:
    """Put a wrong attention beside its right twin.

    The first line of its docstring is its story; the rest as in `Wrong`.
    """

    def put(made: Made) -> Made:
        name, beside = made.__name__, SOUND[twin.__name__]
        story = _first_line(made)
        FAULTY[name] = Wrong(
            name, story, beside, finding, repair, thread, made
        )
        return made

    return put


def scored(Q: Tensor, K: Tensor) -> Tensor:
    """Scores, scaled: [..., T, d] and [..., S, d] to [..., T, S]."""
    return (Q / math.sqrt(Q.shape[-1])) @ K.mT


def weighed(scores: Tensor, mask: Mask = None) -> Tensor:
    """Weights of scores, 0 where the mask hides."""
    if mask is not None:
        scores = scores.masked_fill(~seen(mask, scores), -math.inf)
    return stable_softmax(scores)


def placed(Q: Tensor, K: Tensor) -> tuple[Tensor, Tensor]:
    """The places of queries and keys: the last query at the last key's."""
    T, S = Q.shape[-2], K.shape[-2]
    return torch.arange(S - T, S), torch.arange(S)


def ahead(Q: Tensor, K: Tensor) -> Tensor:
    """How far each key lies ahead of each query, [T, S]."""
    t, s = placed(Q, K)
    return s - t[:, None]


def _first_line(made: Callable[..., Any]) -> str:
    return (made.__doc__ or "").strip().splitlines()[0]


def _instance(made: Callable[..., Any]) -> Callable[..., Any]:
    """The function; or a module, whose weights depend on nothing else."""
    if not isinstance(made, type):
        return made
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(0)
        module: Callable[..., Any] = made()
    return module
