"""A model that is examined: a copy of it, and the precision it is in."""

import copy
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from surgeon.checkup.models.adapter import Adapter
from surgeon.checkup.models.precise import Roundings, in_double
from surgeon.checkup.models.question import Question, Reply
from surgeon.checkup.subjects.answering import SubjectError, answer
from surgeon.checkup.subjects.surroundings import apart

GIB = 2**30
TRIED = ((True, False), (True, True), (False, False))
PLAIN = (
    "Its experts are asked by their plain program: the fused one has no"
    " float64."
)


class ModelSubject:
    """A model, its adapter, and how it is asked.

    A module is copied, and the copy is cast to float64 if it fits into the
    memory that it is allowed; a function is asked as it is.

    Parameters
    ----------
    model : callable
        What is examined; it is left as it was.
    adapter : Adapter
        How it is called.
    title : str
        What it is called in the report.
    memory : float
        GiB that copies and gradients may take.

    Attributes
    ----------
    model : callable
        The copy, or the function.
    copied, double, raised : bool
        Whether it is a copy, cast to float64, and asked so that what computes
        in a lower precision by itself does not.
    said : list of str
        What was done to it, for the portrait.
    """

    def __init__(
        self,
        model: Callable[..., Any],
        adapter: Adapter,
        title: str,
        memory: float,
    ) -> None:
        self.original, self.adapter, self.title = model, adapter, title
        self.memory = memory
        self.is_module = isinstance(model, nn.Module)
        self.copied = self.double = self.raised = False
        self.plain = False
        self.model, self.said = model, list(adapter.said)

    # What it is asked in

    def settle(self, asked: Question) -> Reply:
        """The finest precision in which it answers, and the first answer.

        Raises
        ------
        SubjectError
            What it raises as it is, if it answers in none.
        """
        if self.is_module and self._fits(torch.float64):
            for raised, plain in TRIED:
                self.copied = self.double = True
                self.raised, self.plain = raised, plain
                try:
                    self.model = self.fresh()
                    reply = self.ask(asked)
                    if plain:
                        self.said.append(PLAIN)
                    return reply
                except (
                    SubjectError,
                    TypeError,
                    RuntimeError,
                    AttributeError,
                ):
                    continue
        self.double = self.raised = self.plain = False
        self.copied = self.is_module and self._fits(None)
        try:
            self.model = self.fresh()
        except (TypeError, RuntimeError):
            self.copied, self.model = False, self.original
        if self.is_module:
            self.said.append("It is examined in its own precision.")
        return self.ask(asked)

    def fresh(self) -> Any:
        """Another copy of what was given, cast as this one."""
        if not self.copied:
            return self.original
        assert isinstance(self.original, nn.Module)
        model = copy.deepcopy(self.original)
        if self.plain:
            # the library's mixtures have a fused program without float64
            switch: Any = model.set_experts_implementation
            answer(switch, "eager")
        return model.double() if self.double else model

    def another(self) -> Any:
        """A copy as the one that is asked, its experts included."""
        if not self.copied:
            return self.original
        return copy.deepcopy(self.model)

    def _fits(self, dtype: torch.dtype | None) -> bool:
        """Whether a copy and its gradients fit into memory."""
        assert isinstance(self.original, nn.Module)
        bytes_ = sum(
            x.numel() * (dtype or x.dtype).itemsize
            for x in self.original.parameters()
        )
        return 2 * bytes_ <= self.memory * GIB

    # How it is asked

    def ask(
        self,
        asked: Question,
        *,
        training: bool = False,
        seed: int | None = 0,
        by: Any = None,
        cloned: bool = True,
    ) -> Reply:
        """What it answers, in float64, gradients and all.

        Parameters
        ----------
        asked : Question
            What it is asked.
        training : bool
            In which mode.
        seed : int or None
            Of the global generators meanwhile, which are put back; None
            leaves them in the open.
        by : callable, optional
            Another copy to ask in its place.
        cloned : bool
            Whether it is handed copies, and cannot write into the question.
        """
        model = self.model if by is None else by
        adapter = self.adapter
        if asked.caching and asked.cache is None and adapter.new_cache:
            asked = asked.but(cache=answer(adapter.new_cache))
        asked = asked.cloned() if cloned else asked
        with apart(seed), self.asking(model, training=training):
            reply = answer(adapter.call, model, asked)
            read = adapter.read(reply, asked, asked.cache)
        return Reply(read.output.double(), read.cache)

    @contextmanager
    def asking(self, model: Any, *, training: bool = False) -> Iterator[None]:
        """In its mode, and in float64 where that is so."""
        double = in_double() if self.raised else nullcontext()
        with self.mode(model, training), double:
            yield

    @contextmanager
    def mode(self, model: Any, training: bool) -> Iterator[None]:
        """In training or not; put back, if it is no copy."""
        if not isinstance(model, nn.Module):
            yield
            return
        before = [(m, m.training) for m in model.modules()]
        # thousands of questions come by here, and few change the mode
        learns = model.training if training else any(m for _, m in before)
        if learns != training:
            model.train(training)
        try:
            yield
        finally:
            for module, mode in before:
                if module.training != mode:
                    module.training = mode

    def rounding(self, asked: Question) -> float:
        """What rounding may make of an answer, as a share of its size."""
        roundings = Roundings()
        with torch.no_grad(), roundings:
            self.ask(asked)
        return roundings.share()

    @property
    def parameters(self) -> dict[str, nn.Parameter]:
        """Those of the copy that learn, by name."""
        if not isinstance(self.model, nn.Module):
            return {}
        return {
            n: p for n, p in self.model.named_parameters() if p.requires_grad
        }

    def gradients(
        self,
        asked: Question,
        towards: Callable[[Tensor], Tensor],
        *,
        training: bool = False,
        by: Any = None,
    ) -> dict[str, Tensor | None]:
        """Of a number made of the output, for each parameter."""
        model: Any = self.model if by is None else by
        learn = {n: p for n, p in model.named_parameters() if p.requires_grad}
        # checkpoints compute again on the way back, in the same mode
        with torch.enable_grad(), self.asking(model, training=training):
            total = towards(self.ask(asked, training=training, by=by).output)
            found = answer(
                torch.autograd.grad,
                total,
                list(learn.values()),
                allow_unused=True,
            )
        return dict(zip(learn, found, strict=True))


def free_memory() -> float:
    """GiB, half of what is free; 4 where the system does not tell."""
    try:
        pages = os.sysconf("SC_AVPHYS_PAGES")
        return pages * os.sysconf("SC_PAGE_SIZE") / 2 / GIB
    except (AttributeError, ValueError, OSError):
        return 4.0
