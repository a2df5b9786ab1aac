"""Who is attending now: calls of a model, followed by hooks."""

from collections.abc import Callable
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from surgeon.checkup.subjects.projections import HEADS, number
from surgeon.recording.comparing import (
    asked_plainly,
    autocast_to,
    change_of,
    check_alike,
    in_backward,
    tensors,
)
from surgeon.recording.cut_layers import CutLayers
from surgeon.recording.cutting import Cuts, cut_weights, seen_of
from surgeon.recording.handed import Read, check_handed
from surgeon.recording.layers import by_head
from surgeon.recording.recording import Recording, listed
from surgeon.recording.unseen import Frame, Unseen, attends_by_name
from surgeon.recording.watch import Use, Watch

Called = tuple[str, nn.Module]


class Session:
    """What happens in a model while it is captured.

    Parameters
    ----------
    recording : Recording
        Where weights are kept.
    cuts : sequence of Cut, or mapping
        What is cut; layers are counted in the order in which they attend, or
        named.
    check : bool
        Whether each call is made twice, and compared.
    read : dict
        For modules that hand out their weights, by id: how to read them.
    """

    def __init__(
        self,
        recording: Recording,
        cuts: Cuts,
        check: bool,
        read: dict[int, Read],
    ) -> None:
        self._recording, self._check = recording, check
        self._cuts = CutLayers(cuts)
        self._read = read
        self._stack: list[Called] = []
        self._frames: list[Frame] = []  # one for each call in the stack
        self._unseen = Unseen()
        self._attended: set[tuple[object, str]] = set()
        self._quiet = 0  # how many there are whose inside is left alone
        self._plain = False  # whether this is the call to compare with
        self._watch: Watch | None = None
        self._before: Any = None
        self._order: list[str] = []  # who attended in this call
        self._batch: set[int] = set()
        self._device = "cpu"
        self._coarse: set[torch.dtype] = set()  # what autocast computes in
        self._called = self._dropping = self._again = False

    def enter(
        self, name: str, module: nn.Module, args: tuple, named: Any
    ) -> None:
        """A module of the model is called."""
        if self._plain:
            return
        self._stack.append((name, module))
        self._frames.append(Frame(self._told() if self._frames else 0))
        self._quiet += id(module) in self._read
        if len(self._stack) == 1:
            self._begin(module, args, named)
        self._coarse |= autocast_to(self._device)

    def leave(self, name: str, module: nn.Module, output: Any) -> None:
        """A module of the model has answered, or failed with an error."""
        if self._plain or self._stack[-1:] != [(name, module)]:
            return
        read = self._read.get(id(module))
        self._quiet -= read is not None
        try:
            if read is not None and output is not None:
                self.hand_in(name, read(output))
            elif output is not None and not self._quiet:
                self._look_at(name, module, output)
        finally:
            self._stack.pop()
            self._frames.pop()
            if not self._stack:
                self.end()
        if not self._stack and output is not None:
            self._compare(name or type(module).__name__, output)

    def end(self) -> None:
        """Nothing is watched any more, whatever happened."""
        if self._watch is not None:
            self._watch.__exit__(None, None, None)
        self._watch, self._stack, self._quiet = None, [], 0
        self._frames, self._attended = [], set()

    def check_seen(self) -> None:
        """Raise a ValueError if the model was called, and nothing seen."""
        recorded = self._recording.weights or self._recording.left_out
        if self._called and not recorded:
            unseen = listed(self._recording.unseen)
            raise ValueError(
                "model must attend where it is seen, by PyTorch's kernel or a"
                " softmax over the last axis that weighs a sum, got"
                f" {f'none in {unseen}' if unseen else 'none'}: name with of"
                " what returns (output, weights)."
            )

    def hand_in(self, name: str, weights: Any) -> None:
        """Record weights that somebody handed out."""
        if self._again:
            return
        check_handed(name, weights, self._dropping)
        layer, name = self._next(name)
        if self._cuts.of(layer, name):
            raise ValueError(
                f"cuts must be in layers whose weights are used where they"
                f" are seen, got one in {name}, which hands them out."
            )
        heads = self._heads()
        self._recording.keep(name, by_head(weights, heads, self._batch))

    def seen_in(
        self, name: str, read: Read
    ) -> Callable[[Callable[[], Any]], Any]:
        """How a function is called that hands out its weights."""

        def call(function: Callable[[], Any]) -> Any:
            if self._watch is None or self._quiet:
                return function()
            self._quiet += 1
            try:
                output = function()
            finally:
                self._quiet -= 1
            inside = self._stack[-1][0]
            where = f"{inside}.{name}" if inside else name
            self.hand_in(where, read(output))
            return output

        return call

    def noticing(
        self, function: Callable[..., Any]
    ) -> Callable[[Callable[[], Any]], Any]:
        """How a function is called that attends, and may not be seen to."""

        def call(asked: Callable[[], Any]) -> Any:
            before = self._told()
            output = asked()
            active = self._watch is not None and not self._quiet
            if active and self._told() == before:
                self._attends_unseen(f"calls {function.__name__}")
            return output

        return call

    def _begin(self, module: nn.Module, args: tuple, named: Any) -> None:
        """A call from outside begins."""
        self._again = in_backward()
        if self._again:
            self._begin_again()
            return
        self._order, self._before, self._unseen = [], None, Unseen()
        first = next(tensors((args, named)), None)
        self._batch = set() if first is None else set(first.shape[:2])
        self._device = "cpu" if first is None else first.device.type
        self._coarse = set()
        self._dropping = any(one.training for one in module.modules())
        if self._check and not self._dropping:
            with self._left_alone():
                self._before = asked_plainly(module, args, named)
        self._look(self._use)

    def _begin_again(self) -> None:
        """A part is called again, by the backward pass of a call."""
        name, module = self._stack[-1]
        if self._cuts.any:
            raise ValueError(
                "cuts must be made where each part is called once, got a call"
                f" of {name or type(module).__name__} in the backward pass,"
                " as under activation checkpointing."
            )
        # The same steps, whose results the first call has kept for it.
        self._look(lambda weights, scores: weights)

    def _look(self, use: Use) -> None:
        aside = lambda: bool(self._quiet)
        self._watch = Watch(use, aside, self._attends_unseen)
        self._watch.__enter__()

    def _told(self) -> int:
        """How often something attended in this call, seen or not."""
        return len(self._order) + len(self._unseen.found)

    def _attends_unseen(self, why: str) -> None:
        """Something attends in the module that is called now, unseen."""
        self._unseen.add(self._stack[-1], why)

    def _look_at(self, name: str, module: nn.Module, output: Any) -> None:
        """Did a module that has answered attend, and nobody saw it?"""
        why = attends_by_name(module)
        if why and self._told() == self._frames[-1].told:
            around = self._frames[-2] if len(self._frames) > 1 else None
            self._unseen.add((name, module), why, output, around)

    @contextmanager
    def _left_alone(self) -> Any:
        self._plain = True
        try:
            yield
        finally:
            self._plain = False

    def _compare(self, name: str, output: Any) -> None:
        """A call from outside has ended well."""
        if self._again:
            return
        before, self._before, self._called = self._before, None, True
        self._recording.tell_unseen(self._unseen.found, bool(self._order))
        self._recording.warn()
        self._cuts.check_layers(self._order)
        if before is None:
            return
        if self._cuts.any:
            self._recording.change = change_of(before, output)
        else:
            check_alike(before, output, name, self._coarse)
            self._recording.compared += 1

    def _use(self, weights: Tensor, scores: Tensor) -> Tensor:
        """What multiplies the values in the layer that attends now."""
        layer, name = self._next(self._stack[-1][0])
        self._unseen.seen(self._frames[-1], weights.shape[-1])
        heads = self._heads()
        shown = by_head(weights.detach(), heads, self._batch)
        cuts = self._cuts.of(layer, name)
        if cuts:
            split = by_head(weights, heads, self._batch)
            known = self._of_weights(scores, weights)
            with torch.no_grad():
                seen = split != 0
                if known is not None:
                    seen = seen_of(known)[..., : split.shape[-1]]
            used = cut_weights(split.nan_to_num(), seen, cuts, known)
            shown, weights = used.detach(), used.reshape(weights.shape)
        # Rows that may see nothing are NaN in some programs.
        holes = shown.isnan().any()
        self._recording.keep(name, shown.nan_to_num() if holes else shown)
        return weights

    def _of_weights(self, scores: Tensor, weights: Tensor) -> Tensor | None:
        """The scores, by head as their weights are, if they are of them."""
        alike = scores.shape[:-1] == weights.shape[:-1]
        if not alike or scores.shape[-1] < weights.shape[-1]:
            return None
        return by_head(scores, self._heads(), self._batch)

    def _next(self, name: str) -> tuple[int, str]:
        """The number and the name of the layer that attends now."""
        name = name or type(self._stack[-1][1]).__name__
        if (self._frames[-1], name) in self._attended:
            self._recording.again(name)
            self._cuts.check_numbers(name)
        self._attended.add((self._frames[-1], name))
        again = sum(one.split("#")[0] == name for one in self._order)
        self._order.append(f"{name}#{again + 1}" if again else name)
        return len(self._order) - 1, self._order[-1]

    def _heads(self) -> int | None:
        """How many heads the module says it has, or the one around it."""
        for _, module in reversed(self._stack[-3:]):
            heads = number(module, HEADS)
            if heads:
                return heads
        return None
