"""Other roads to the same output, some of which lead past a mask.

Weights or none, gradients or none, one tensor for queries, keys and values.
"""

import inspect
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import nn

from surgeon.checkup.exam import Exam
from surgeon.checkup.forms import Inputs
from surgeon.checkup.probes.maps import leak
from surgeon.checkup.probes.reading import Ask, sight
from surgeon.checkup.subjects.answering import SubjectError, answer
from surgeon.checkup.subjects.layer import Layer
from surgeon.checkup.subjects.subject import Subject

ROADS, SLOPED = "same by every road", "Where gradients are wanted"
# What an attention may be asked for besides its output
FLAGS = (
    "need_weights",
    "return_weights",
    "return_attention",
    "return_attentions",
    "return_attn",
    "return_attn_weights",
    "return_attention_weights",
    "return_attention_scores",
    "return_scores",
    "output_attentions",
    "output_attention",
    "with_weights",
    "use_cache",
    "return_cache",
)


class Road(NamedTuple):
    """How it is said, a context in which it is taken, and what it takes."""

    said: str
    taken: Callable[[], AbstractContextManager[None]]
    inputs: Callable[[Inputs], Inputs] = lambda inputs: inputs


def probe_roads(exam: Exam) -> None:
    """Without a mask, and with what makes it causal: the same by each?"""
    asks: list[Ask] = [exam.ask]
    if exam.held.can_be_causal:
        asks.append(exam.ask_causal)
    worst, named = 0.0, []
    for road in _roads(exam):
        try:
            offs = [_off(exam, ask, road) for ask in asks]
        except SubjectError:  # a road that is closed
            continue
        if max(offs) > exam.tolerance:
            meaning = f"{road.said}, {_differs(exam, road, offs)}"
            exam.fail(ROADS, meaning, max(offs), exam.tolerance)
            return
        worst = max(worst, *offs)
        named.append(road.said)
    if not named:
        exam.skip(ROADS, why="It answers by one road alone.")
    exam.note(ROADS, True, worst, exam.tolerance)


def _off(exam: Exam, ask: Ask, road: Road) -> float:
    """How far the output by a road is from the usual one."""
    inputs = road.inputs(exam.draw())
    right = ask(*inputs)
    with road.taken():
        got = ask(*inputs)
    size = max(1.0, float(right.nan_to_num().abs().max()))
    return exam.off(got, right) / size


def _differs(exam: Exam, road: Road, offs: list[float]) -> str:
    """In what: all of it, or who sees whom behind a mask."""
    if offs[0] > exam.tolerance:
        return "the output is another."
    with road.taken():
        seen = sight(exam, road.inputs(exam.draw()), exam.ask_causal)
    if leak(seen) > exam.tolerance:
        return "outputs depend on later tokens: its mask is lost."
    return "the output behind a mask is another."


def _roads(exam: Exam) -> Iterator[Road]:
    """Those that there are: by its flags, and by what is handed to it."""
    subject, held = exam.subject, exam.held
    for name, value in flags(subject):
        flag = {name: value}
        yield Road(f"With {name}={value}", partial(_with, subject, flag))
    yield Road(SLOPED, partial(_called, subject, _with_slopes))
    if exam.d_k == exam.d_v and held.heads == held.kv_heads:
        yield Road(
            "With one tensor for queries, keys and values",
            partial(_called, subject, _with_one),
            lambda inputs: (inputs[0],) * 3,
        )


def flags(subject: Subject | Layer) -> Iterator[tuple[str, bool]]:
    """What can be asked for besides, and is not, or the other way round."""
    target, held = subject.target, subject.held
    asked = target.forward if isinstance(target, nn.Module) else target
    try:
        parameters = inspect.signature(asked).parameters
    except (TypeError, ValueError):
        return
    options = held.options
    given = answer(options, 1) if callable(options) else options or {}
    for name in FLAGS:
        if name not in parameters or name in given:
            continue
        usual = parameters[name].default
        if usual in (None, True, False):
            yield name, not usual


@contextmanager
def _with(subject: Subject, more: dict[str, Any]) -> Iterator[None]:
    """These arguments beside every question."""
    subject.beside = more
    try:
        yield
    finally:
        subject.beside = {}


@contextmanager
def _called(subject: Subject, way: Callable[..., Any]) -> Iterator[None]:
    """Every question is put in another way."""
    usual = subject.call
    subject.call = partial(way, usual)
    try:
        yield
    finally:
        subject.call = usual


def _with_slopes(call: Callable[..., Any], target: Any, *sent: Any) -> Any:
    *inputs, extras = sent
    with torch.enable_grad():
        for x in inputs:
            x.requires_grad_()
        return call(target, *inputs, extras)


def _with_one(call: Callable[..., Any], target: Any, *sent: Any) -> Any:
    Q, *_, extras = sent
    return call(target, Q, Q, Q, extras)
