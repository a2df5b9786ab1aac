"""The adapter: whatever its signature, a subject is asked in one way."""

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from surgeon.checkup.subjects.answering import SubjectError, answer
from surgeon.checkup.subjects.conventions import encode, shape
from surgeon.checkup.subjects.declaration import Held
from surgeon.checkup.subjects.layouts import bring_back, lay_out, shape_in
from surgeon.checkup.subjects.surroundings import apart


class Answer(NamedTuple):
    """What a subject gave.

    The output [B, H, T, d_v], and its weights [B, H, T, S], or [B, 1, T, S]
    (a mean), or None.
    """

    output: Tensor
    weights: Tensor | None


@dataclass
class Question:
    """Tensors and arguments on their way to a subject.

    Parameters
    ----------
    inputs : dict
        Name to tensor, in the subject's layout.
    extras : dict
        Further arguments by name: a mask, a flag, options.
    mask_name : str
        Which of them is the mask.
    """

    inputs: dict[str, Tensor]
    extras: dict[str, Any]
    mask_name: str = "mask"
    kept: dict[str, tuple[Tensor, Tensor]] = field(init=False)

    def __post_init__(self) -> None:
        sent = self.inputs | {
            "the mask" if name == self.mask_name else name: value
            for name, value in self.extras.items()
            if isinstance(value, Tensor)
        }
        self.kept = {n: (x, x.detach().clone()) for n, x in sent.items()}

    def written(self) -> list[str]:
        """Which of its tensors hold something else since it was made."""
        kept = self.kept.items()
        return [
            name
            for name, (now, then) in kept
            if not torch.equal(now.detach(), then)
        ]


class Subject:
    """A callable or module, and how it is held.

    Parameters
    ----------
    target : callable
        What is examined; a module is a copy that may be changed.
    call : callable
        From (target, Q, K, V, extras) in the subject's layout to what it
        returns; it calls the target by `answer`.
    title : str
        Its name, for the report.
    held : Held
        Everything needed to ask it; replaced where something is found out.

    Attributes
    ----------
    said : list of str
        Sentences about how it is held, for the portrait.
    beside : dict
        Arguments that are set for a while, in every question.
    """

    def __init__(
        self,
        target: Callable[..., Any],
        call: Callable[..., Any],
        title: str,
        held: Held,
    ) -> None:
        self.target, self.call, self.title = target, call, title
        self.held = held
        self.said: list[str] = []
        self._copies: dict[torch.dtype, nn.Module] = {}
        self.beside: dict[str, Any] = {}

    @property
    def is_module(self) -> bool:
        return isinstance(self.target, nn.Module)

    def change(self, **found: Any) -> None:
        """Hold it in another way from now on."""
        self.held = replace(self.held, **found)

    def fresh(self) -> "Subject":
        """The same subject, which nobody has asked yet.

        What the module learned is shared, for it may be large.
        """
        twin = Subject(self.target, self.call, self.title, self.held)
        for dtype, used in self._copies.items():
            assert isinstance(self.target, nn.Module)
            learned = dict(used.named_parameters())
            shared: dict[int, Any] = {
                id(x): learned[name]
                for name, x in self.target.named_parameters()
                if name in learned
            }
            copied = copy.deepcopy(self.target, shared)
            twin._copies[dtype] = answer(copied.to, "cpu", dtype)
        return twin

    def compiled(self) -> "Subject":
        """A fresh one, whose target is compiled when it is first asked."""
        twin = self.fresh()
        for copied in twin._copies.values():
            copied.compile()
        if not isinstance(self.target, nn.Module):
            twin.target = torch.compile(self.target)
        return twin

    def ask(
        self,
        Q: Tensor,
        K: Tensor,
        V: Tensor,
        allowed: Tensor | None = None,
        *,
        train: bool = False,
        seed: int | None = 0,
        **more: Any,
    ) -> Answer:
        """Ask once, behind a private random state (or, with no seed, not).

        Parameters
        ----------
        Q, K, V : Tensor
            [B, H, T, d_k], [B, H_kv, S, d_k], [B, H_kv, S, d_v].
        allowed : Tensor, optional
            Boolean [T, S] or [B, 1, T, S].
        train : bool
            Whether a module trains.
        more
            Whatever else `compose` takes.

        Raises
        ------
        SubjectError
            If it raises, or returns no output of the right shape.
        """
        question = self.compose(Q, K, V, allowed, **more)
        return self.put(question, Q, K, V, train=train, seed=seed)

    def compose(
        self,
        Q: Tensor,
        K: Tensor,
        V: Tensor,
        allowed: Tensor | None = None,
        *,
        padding: Tensor | None = None,
        documents: Tensor | None = None,
        causal: bool = False,
        dropout: float = 0.0,
        strided: str = "",
    ) -> Question:
        """A question in the subject's own terms.

        Parameters
        ----------
        padding : Tensor, optional
            Boolean [B, S], True for a real key, for the subject's own
            argument.
        documents : Tensor, optional
            Integers [B, T], the number of each token's document; one document
            if not given.
        causal, dropout, strided
            Whether the causal flag is set; the probability to ask for; how
            inputs lie in memory: see `lay_out`.
        """
        held, (B, H, T), S = self.held, Q.shape[:3], K.shape[2]
        extras = options_for(held.options, T, Q.dtype) | self.beside
        mask_name = held.mask_name or "mask"
        if allowed is None and held.open_mask:
            allowed = torch.ones(T, S, dtype=torch.bool)
        if allowed is not None:
            shaped = shape(allowed, held.mask_shape or "T S", B, H)
            mask = encode(shaped, Q.dtype, held.mask)
            extras[mask_name] = mask.contiguous()
        elif held.mask_needed:
            extras[mask_name] = None
        if padding is not None and held.padding:
            reads = held.padding_reads or held.mask
            extras[held.padding] = encode(padding, Q.dtype, reads)
        extras |= by_documents(held, documents, (B, T))
        if causal and isinstance(held.causal, str):
            extras[held.causal] = True
        if dropout and held.dropout:
            extras[held.dropout] = dropout
        inputs = {
            name: lay_out(x, held.layout, strided)
            for name, x in (("Q", Q), ("K", K), ("V", V))
        }
        return Question(inputs, extras, mask_name)

    def put(
        self,
        question: Question,
        Q: Tensor,
        K: Tensor,
        V: Tensor,
        *,
        train: bool = False,
        seed: int | None = 0,
    ) -> Answer:
        """Ask what was composed of Q, K and V."""
        target = self._in(Q.dtype)
        if isinstance(target, nn.Module):
            target.train(train)
        sent = question.inputs.values()
        with apart(seed):
            returned = self.call(target, *sent, dict(question.extras))
        return self._read(returned, Q, K, V)

    def _in(self, dtype: torch.dtype) -> Callable[..., Any]:
        """The module in a precision; a function takes any."""
        if not isinstance(self.target, nn.Module):
            return self.target
        if dtype not in self._copies:
            twin = copy.deepcopy(self.target)
            self._copies[dtype] = answer(twin.to, "cpu", dtype)
        return self._copies[dtype]

    def _read(self, returned: Any, Q: Tensor, K: Tensor, V: Tensor) -> Answer:
        """The output and the weights among what came back."""
        output, *rest = parts(returned)
        wanted = shape_in(self.held.layout, *Q.shape[:-1], V.shape[-1])
        if output.shape != wanted:
            raise SubjectError(
                f"The output must have shape {list(wanted)}, got"
                f" {list(output.shape)}."
            )
        output = bring_back(output, self.held.layout, self.held.heads)
        B, H, T, S = *Q.shape[:3], K.shape[2]
        for x in rest:
            if not isinstance(x, Tensor):
                continue
            if x.shape == (B, T, S):
                return Answer(output, x.unsqueeze(1))
            if x.shape == (B, H, T, S):
                return Answer(output, x)
        return Answer(output, None)


def parts(returned: Any) -> list[Any]:
    """What a subject returned, a tensor on the CPU first."""
    several = isinstance(returned, (tuple, list)) and len(returned) > 0
    found = list(returned) if several else [returned]
    if not isinstance(found[0], Tensor):
        kind = type(found[0]).__name__
        raise SubjectError(
            f"The subject must return a tensor first, got {kind}."
        )
    if found[0].device.type != "cpu":
        raise SubjectError(
            "The output must be where its inputs are, on the CPU, got"
            f" {found[0].device}."
        )
    return found


def by_documents(
    held: Held, numbers: Tensor | None, sizes: tuple[int, int]
) -> dict[str, Any]:
    """The arguments that say which document each token belongs to.

    All to one, [B, T], if no numbers are given: who says so by the mask need
    not say it then.
    """
    by = held.documents
    if not by:
        return {}
    one = torch.zeros(sizes, dtype=torch.int64)
    given = one if numbers is None else numbers
    named = {by: given} if isinstance(by, str) else dict(answer(by, given))
    if numbers is None:
        named.pop(held.mask_name or "mask", None)
    return named


def options_for(options: Any, tokens: int, dtype: torch.dtype) -> dict:
    """Further arguments for a call, their tensors in its precision."""
    given = answer(options, tokens) if callable(options) else options or {}
    return {name: in_precision(x, dtype) for name, x in given.items()}


def in_precision(value: Any, dtype: torch.dtype) -> Any:
    """Floating tensors, alone or in a tuple or list, in a precision."""
    if isinstance(value, (tuple, list)):
        return type(value)(in_precision(part, dtype) for part in value)
    if isinstance(value, Tensor) and value.is_floating_point():
        return value.to(dtype)
    return value


def by_argument(
    names: Mapping[str, str], mask_name: str | None
) -> Callable[..., Any]:
    """Call with Q, K and V, by place or name; a nameless mask is fourth."""

    def call(
        target: Callable[..., Any],
        Q: Tensor,
        K: Tensor,
        V: Tensor,
        extras: dict[str, Any],
    ) -> Any:
        given = {"Q": Q, "K": K, "V": V}
        placed = [x for name, x in given.items() if name not in names]
        named = {names[n]: x for n, x in given.items() if n in names}
        if mask_name is None and "mask" in extras:
            placed.append(extras.pop("mask"))
        return answer(target, *placed, **named, **extras)

    return call
