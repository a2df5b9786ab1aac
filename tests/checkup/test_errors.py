"""Errors: the subject's, which become findings, and the caller's, which are one sentence."""

import itertools
import re

import pytest
import torch
from examined import Fused, causal, names, softened
from kinds import in_halves
from torch import nn

from surgeon import MultiHeadAttention, attention, examine
from surgeon.checkup import course
from surgeon.checkup.finding import LAWS


def raising(Q, K, V, mask=None):
    raise RuntimeError("no luck today")


@pytest.mark.parametrize(
    ("subject", "said"),
    [
        (raising, "RuntimeError: no luck today"),
        (lambda Q, K, V, mask=None: None, "The subject must return a tensor first, got NoneType."),
        (lambda Q, K, V, mask=None: V[..., :-1], "The output must have shape [2, 5, 11], got [2, 5, 10]."),
    ],
)
def test_a_subject_that_does_not_answer_fails_and_nothing_else_is_told(subject, said):
    report = examine(subject)
    assert names(report) == ["answers"]
    assert said in report["answers"].meaning
    assert all(finding.passed is None for finding in report if finding.name != "answers")


def test_a_subject_that_breaks_down_half_way_does_not_take_the_examination_with_it():
    for patience in (3, 5, 8, 13, 40):
        calls = itertools.count()

        def subject(Q, K, V, mask=None, calls=calls, patience=patience):
            if next(calls) >= patience:
                raise MemoryError("enough")
            return attention(Q, K, V, mask)

        report = examine(subject)
        assert [finding.name for finding in report] == list(LAWS)
        assert any("MemoryError: enough" in finding.meaning for finding in report)


def test_a_mask_that_is_refused_is_no_pass():
    def subject(Q, K, V, mask=None):
        if mask is not None:
            raise NotImplementedError("masks come later")
        return attention(Q, K, V)

    report = examine(subject)
    assert names(report) == ["mask obeyed"]
    assert "NotImplementedError: masks come later" in report["mask obeyed"].meaning


def test_an_error_in_one_probe_leaves_the_others():
    def subject(Q, K, V, mask=None):
        if Q.dtype in (torch.float16, torch.bfloat16):
            raise TypeError("single or double precision, please")
        return attention(Q, K, V, mask)

    report = examine(subject)
    assert report.passed
    for name in ("half precision", "scale before overflow"):
        assert report[name].passed is None
        assert "TypeError: single or double precision, please" in report[name].meaning


def test_an_error_of_a_causal_flag_is_told_and_no_pass():
    def subject(Q, K, V, is_causal=False):
        if is_causal:
            raise RuntimeError("causal comes later")
        return attention(Q, K, V)

    report = examine(subject, causal="is_causal")
    assert names(report) == ["future, evaluating"]
    said = "Asked by is_causal to hide the future, it raises RuntimeError: causal comes later"
    assert report["future, evaluating"].meaning == said
    assert all(finding.meaning for finding in report)


def test_what_is_lost_to_an_error_is_counted():
    def subject(Q, K, V, mask=None):
        if Q.requires_grad:
            raise RuntimeError("no gradients here")
        return attention(Q, K, V, mask)

    report = examine(subject)
    assert report["gradients"].meaning == "Cannot be told: the subject raises RuntimeError: no gradients here"
    held = sum(finding.passed is True for finding in report)
    assert report.diagnosis == (
        f"Nothing found: {held} laws hold, 1 could not be told because the subject raised an error,"
        f" {len(LAWS) - held - 1} do not apply."
    )


def test_nothing_is_left_without_a_reason():
    calls = [{}, {"mask": "none"}, {"causal": "is_causal"}, {"padding": "padding"}, {"causal": True}]
    for held in calls:
        for finding in examine(lambda Q, K, V, mask=None, **more: attention(Q, K, V, mask), **held):
            assert finding.meaning
            assert '""' not in finding.meaning


# Bugs of the examination are not the subject's


def by_nature(Q, K, V):
    return causal(Q, K, V, is_causal=True)


def failing(*given, **named):
    raise ZeroDivisionError("a bug of ours")


PROBES = [name for name in vars(course) if name.startswith("probe_")]


@pytest.mark.parametrize("probe", PROBES)
def test_a_bug_in_a_probe_comes_out(probe, monkeypatch):
    monkeypatch.setattr(course, probe, failing)
    subjects = {"probe_always_causal": by_nature, "probe_behaviour": softened}
    subjects |= dict.fromkeys(["probe_nobody_else", "probe_future", "probe_coarse"], in_halves)
    always = probe == "probe_always_causal"
    with pytest.raises(ZeroDivisionError, match="a bug of ours"):
        examine(subjects.get(probe, attention), causal=always or None)


INSIDE = [
    "exam.Exam.off",
    "exam.Exam.agree",
    "probes.unknown.read_weights",
    "exam.spread",
    "designs.design.stable_softmax",
    "adapting.causal",
    "subjects.subject.encode",
    "subjects.subject.bring_back",
    "subjects.subject.lay_out",
    "subjects.subject.parts",
    "subjects.subject.Question.written",
    "probes.rows.random_mask",
    "probes.rows._lost",
    "probes.rows._kind",
    "probes.rows._send_back",
    "probes.maps.directions",
    "probes.sight._identify",
    "probes.sight.reach",
    "probes.precision._budget",
    "probes.unknown.fit_factor",
    "probes.manners.generators",
]


@pytest.mark.parametrize("place", INSIDE)
def test_a_bug_inside_the_examination_comes_out(place, monkeypatch):
    monkeypatch.setattr(f"surgeon.checkup.{place}", failing)
    with pytest.raises(ZeroDivisionError, match="a bug of ours"):
        examine(attention, widths=(13, 13))


@pytest.mark.parametrize(
    "place",
    [
        "outside.Outside.within",
        "subjects.layer.parts",
        "subjects.layer.encode",
        "probes.maps.directions",
        "probes.tokens.note_written",
        "probes.tokens._order",
        "probes.tokens._strides",
        "probes.token_maps.leak",
        "probes.token_maps._dead_row",
    ],
)
def test_a_bug_comes_out_of_an_examination_from_outside(place, monkeypatch):
    monkeypatch.setattr(f"surgeon.checkup.{place}", failing)
    with pytest.raises(ZeroDivisionError, match="a bug of ours"):
        examine(MultiHeadAttention(28, 4), projections=False)


@pytest.mark.parametrize("patience", range(1, 22, 3))
@pytest.mark.parametrize("held", [{}, {"projections": False}], ids=["probed", "from outside"])
def test_a_layer_that_breaks_down_half_way(patience, held):
    calls = itertools.count()

    class Tired(MultiHeadAttention):
        def forward(self, *given, **named):
            if next(calls) >= patience:
                raise MemoryError("enough")
            return super().forward(*given, **named)

    report = examine(Tired(28, 4), **held)
    assert any("MemoryError: enough" in finding.meaning for finding in report)


class Broken(torch.autograd.Function):
    """An identity whose gradient raises."""

    @staticmethod
    def forward(context, x):
        return x.clone()

    @staticmethod
    def backward(context, gradient):
        raise KeyError("no way back")


def test_an_error_on_the_way_back_is_the_subject_s():
    report = examine(lambda Q, K, V, mask=None: Broken.apply(attention(Q, K, V, mask)[0]))
    for name in ("gradients", "dead rows, backward"):
        assert report[name].passed is None
        assert report[name].meaning == "Cannot be told: the subject raises KeyError: 'no way back'"
    assert report["future, evaluating"].passed


# Errors of the caller


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: examine(3), "subject must be callable, got int."),
        (
            lambda: examine(MultiHeadAttention),
            "subject must be a function or an instance, got the class MultiHeadAttention.",
        ),
        (
            lambda: examine(attention, layout="BTd"),
            "layout must be one of 'B T d', 'B H T d', 'B T H d', 'T B d', 'B T (H d)', 'T B (H d)', got 'BTd'.",
        ),
        (
            lambda: examine(attention, mask="bool"),
            "mask must be one of 'True attends', 'True blocks', 'additive', 'additive, lowest', '0-1', 'find', 'none', "
            "got 'bool'.",
        ),
        (
            lambda: examine(attention, dead_rows="zeros"),
            "dead_rows must be one of 'zero', 'nan', 'uniform', 'any', got 'zeros'.",
        ),
        (
            lambda: examine(attention, alignment="left"),
            "alignment must be one of 'bottom-right', 'top-left', 'any', got 'left'.",
        ),
        (lambda: examine(attention, heads=0), "heads must be an integer of at least 1, got 0."),
        (lambda: examine(attention, layout="B T d", heads=2), "layout must have an axis H for 2 heads, got 'B T d'."),
        (
            lambda: examine(attention, layout="B H T d", heads=4, kv_heads=3),
            "kv_heads must divide heads (4), got 3.",
        ),
        (
            lambda: examine(attention, names={"query": "Q"}),
            "names must have keys among Q, K, V, mask, x and context, got ['query'].",
        ),
        (lambda: examine(attention, seed=1.5), "seed must be an integer from 0 to 2**32 - 1, got 1.5."),
        (
            lambda: examine(attention, patience=0),
            "patience must be a positive number of seconds or None, got 0.",
        ),
        (
            lambda: examine(attention, scale=0.0),
            "scale must be a finite number other than 0, or a function of d_k, queries and keys, got 0.0.",
        ),
        (
            lambda: examine(Fused(), projections=("inner.all", "inner.exit")),
            "projections must name submodules of Fused, got 'inner.exit'.",
        ),
        (
            lambda: examine(Fused(), projections=("inner.all", "inner.out")),
            "heads must be given: Fused does not tell how many it has.",
        ),
        *(
            (
                lambda subject=subject: examine(subject, documents="documents"),
                f"documents must be an argument of {name}, or a function of their numbers that returns its arguments"
                " by name, got 'documents'.",
            )
            for name, subject in {
                "attention": attention,
                "MultiHeadAttention": MultiHeadAttention(28, 4),
                "MultiheadAttention": nn.MultiheadAttention(28, 4),
                "TransformerEncoderLayer": nn.TransformerEncoderLayer(28, 4, 56),
                "TransformerEncoder": nn.TransformerEncoder(
                    nn.TransformerEncoderLayer(28, 4, 56), 1, enable_nested_tensor=False
                ),
            }.items()
        ),
        (
            lambda: examine(nn.Identity()),
            "width must be given: Identity does not tell how wide x is.",
        ),
    ],
)
def test_bad_input_gets_one_sentence(call, message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        call()
