"""What is known of a faulty model, and the right twin beside it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from surgeon.checkup.models.examination import examine_model
from surgeon.checkup.report import Report
from surgeon.zoo.models.reader import HELD, Reader
from surgeon.zoo.shipped import Shipped


@dataclass(frozen=True)
class ModelFault(Shipped):
    """A faulty model and its story.

    Parameters
    ----------
    name : str
        Its key in `surgeon.zoo.models.catalogue.MODELS`.
    story : str
        What is wrong, in one sentence.
    finding : str
        The finding of `surgeon.examine_model` that names it.
    repair : str
        What to write instead.
    thread : str
        Where it was shipped, as ``owner/repository#number``; empty for one
        that nobody is known to have shipped.
    weight : str
        What it weighs: "fault", or "hazard".
    made, twin : type
        The faulty model, and the right one.
    sizes : mapping
        What both are made with.
    held, told : mapping
        What the check-up is told of the twin, and of the faulty one.
    """

    name: str
    story: str
    finding: str
    repair: str
    thread: str
    weight: str
    made: Callable[..., nn.Module]
    twin: Callable[..., nn.Module]
    sizes: Mapping[str, Any] = field(default_factory=dict)
    held: Mapping[str, Any] = field(default_factory=dict)
    told: Mapping[str, Any] = field(default_factory=dict)

    def model(self) -> nn.Module:
        """What to examine, with weights that depend on nothing else."""
        return _drawn(self.made, self.sizes)

    def right(self) -> nn.Module:
        """The twin."""
        return _drawn(self.twin, self.sizes)

    def examine(self, seed: int = 0) -> Report:
        """The report of its check-up."""
        return examine_model(self.model(), seed=seed, **self.told)


FAULTY_MODELS: dict[str, ModelFault] = {}


def model_fault(
    finding: str,
    *,
    repair: str,
    thread: str = "",
    weight: str = "fault",
    twin: Callable[..., nn.Module] = Reader,
    sizes: Mapping[str, Any] | None = None,
    instead: Mapping[str, Any] | None = None,
    **held: Any,
) -> Callable[[type[nn.Module]], type[nn.Module]]:
    """Put a model into the zoo, with what is known of it.

    The first line of its docstring is its story; the rest as in `ModelFault`.
    What is told of both comes beside `surgeon.zoo.models.reader.HELD`;
    `instead` is what the faulty one brings along in its place, as a cache.
    """

    def put(made: type[nn.Module]) -> type[nn.Module]:
        name = made.__name__
        story = (made.__doc__ or "").strip().splitlines()[0]
        FAULTY_MODELS[name] = ModelFault(
            name,
            story,
            finding,
            repair,
            thread,
            weight,
            made,
            twin,
            dict(sizes or {}),
            {**HELD, **held},
            {**HELD, **held, **(instead or {})},
        )
        return made

    return put


def _drawn(
    made: Callable[..., nn.Module], sizes: Mapping[str, Any]
) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(0)
        return made(**sizes)
