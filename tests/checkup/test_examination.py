"""The check-up itself: adapters, reports, the command line, errors, and what it leaves behind."""

import itertools
import math
import os
import random
import re
import signal
import subprocess
import sys
import time
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from bs4 import BeautifulSoup
from oracle import normal
from torch import nn

from surgeon import MultiHeadAttention, attention, create_causal_mask, examine
from surgeon.checkup.__main__ import give_up, main
from surgeon.checkup.finding import LAWS
from surgeon.checkup.subjects.conventions import MASKS
from surgeon.checkup.subjects.layouts import LAYOUTS, bring_back, lay_out
from surgeon.zoo.catalogue import ZOO

ROOT = Path(__file__).resolve().parents[2]


def names(report):
    return [finding.name for finding in report.failed]


def softened(Q, K, V, mask=None):
    """Attention whose scores are squeezed: no fault that has a name."""
    scores = torch.tanh(Q @ K.mT / math.sqrt(Q.shape[-1]))
    weights = torch.softmax(scores if mask is None else scores.masked_fill(~mask, -torch.inf), -1)
    return weights @ V


# The report


def test_a_report_tells_every_law_in_order_with_its_page():
    report = examine(attention)
    assert [finding.name for finding in report] == list(LAWS)
    for finding in report:
        assert finding.meaning.endswith((".", "]", ")")), finding
        assert finding.page == "reference/checkup" or (ROOT / "book" / f"{finding.page}.md").is_file()
    assert report.passed
    assert len(report) == len(report.findings) == len(LAWS)
    assert report["scale"].measured == pytest.approx(7**-0.5)
    assert report["scale"].bound == pytest.approx(7**-0.5)
    assert report.diagnosis.startswith("Nothing found: ")
    report.raise_if_failed()
    with pytest.raises(KeyError, match=r"name must be one of answers, .*; got 'scales'"):
        report["scales"]


def test_a_report_as_text_and_as_html():
    report = ZOO["unscaled"].examine()
    text = str(report)
    assert all(f"  {finding.name} " in text for finding in report)
    assert re.search(r"^FAIL  scale +Scores are not scaled. Measured 1; sound: 0.378. See anatomy/scaling.", text, re.M)
    assert text.endswith("scale: Scores are not scaled.")
    table = BeautifulSoup(report._repr_html_(), "html.parser").table
    rows = {row.th.get_text(): [cell.get_text() for cell in row.find_all("td")] for row in table.tbody.find_all("tr")}
    assert list(rows) == list(LAWS)
    assert rows["scale"] == ["FAIL", "1", "0.378", "Scores are not scaled.", "anatomy/scaling"]
    header = ["finding", "verdict", "measured", "sound", "meaning", "page"]
    assert [cell.get_text() for cell in table.thead.find_all("th", scope="col")] == header
    assert {tuple(row["class"]) for row in table.tbody.find_all("tr")} == {
        ("checkup-pass",),
        ("checkup-fail",),
        ("checkup-na",),
    }
    assert len(table.thead.find_all("th")) == len(table.tbody.tr.find_all(["th", "td"])) == 6
    assert table.find_all("th", scope="row")
    assert repr(report) == f"<Report on {report.subject}: 1 of {len(LAWS)} findings failed>"


def test_html_is_escaped():
    def subject(Q, K, V, mask=None):
        raise RuntimeError("<b>1 & 2</b>")

    html = examine(subject)._repr_html_()
    assert "&lt;b&gt;1 &amp; 2&lt;/b&gt;" in html
    assert "<b>" not in html


def test_a_test_suite_gets_one_error_with_all_that_failed():
    with pytest.raises(
        AssertionError, match=r"unscaled .* fails its check-up\.\nscale: Scores are not scaled\. Measured 1"
    ):
        ZOO["unscaled"].examine().raise_if_failed()


def hides_three_laws(Q, K, V, mask=None):
    """Its output is sound; its inputs are spoilt, a number is drawn, and the weights are others."""
    output, weights = attention(Q, K, V, mask)
    if not Q.requires_grad:
        Q.mul_(torch.rand(()))
    return output, weights / 2


def test_no_line_is_wider_than_the_table():
    report = examine(hides_three_laws)
    assert len(report.failed) == 3
    assert len(report.diagnosis) > 110
    told = str(report)
    assert max(map(len, told.splitlines())) <= 110
    for finding in report.failed:
        assert f"\n{finding.name}: {finding.meaning[:40]}" in told
    with pytest.raises(AssertionError) as raised:
        report.raise_if_failed()
    assert max(map(len, str(raised.value).splitlines())) <= 110


@pytest.mark.parametrize("subject", [nn.Identity(), nn.Linear(5, 5), lambda x: 2 * x])
def test_what_may_be_no_attention_is_said_to_be_so_at_once(subject):
    report = examine(subject, width=5)
    assert report.passed
    tried = sum(finding.passed is not None for finding in report)
    assert tried < 10
    assert "takes no mask" in report["mask obeyed"].meaning
    said = f"only {tried} of {len(LAWS)} laws could be tried, and not those that say whether it is attention"
    assert report.diagnosis == f"Nothing found, but {said}."
    assert f": {said}." in str(report).split("\npass")[0].replace("\n ", "")
    assert said in BeautifulSoup(report._repr_html_(), "html.parser").caption.get_text()


# The map of the future


def test_wide_heads_are_no_more_work_than_narrow_ones():
    """A backward pass for each direction, and not for each number of the output."""
    passes = {}
    for d in (8, 89):
        seen = []

        def subject(Q, K, V, mask=None, seen=seen):
            output = attention(Q, K, V, mask)[0]
            if output.requires_grad:
                output.register_hook(lambda gradient: seen.append(1))
            return output

        assert (examine(subject, widths=(d, d))["future, evaluating"].map.triu(1) == 0).all()
        passes[d] = len(seen)
    assert passes[8] < passes[89] < 2 * passes[8]


def test_a_leak_into_one_column_of_many_is_seen():
    def leaky(Q, K, V, mask=None):
        output = attention(Q, K, V, mask)[0]
        if mask is not None and not mask[..., 0, 1:].any():
            output[..., 0, 71] += 1e-15 * V[..., -1, 13]
        return output

    report = examine(leaky, widths=(89, 89))
    assert names(report) == ["future, evaluating"]
    assert (report["future, evaluating"].map.triu(1) != 0).nonzero().tolist() == [[0, 4]]


def test_the_map_of_a_causal_attention_is_lower_triangular():
    found = examine(attention)["future, evaluating"].map
    assert (found.triu(1) == 0).all()
    assert (found.tril() != 0).sum() == 15


def test_the_map_is_kept_when_another_finding_explains_the_leak():
    report = ZOO["lost_mask"].examine()
    assert names(report) == ["mask obeyed"]
    finding = report["future, evaluating"]
    assert finding.passed is None
    assert finding.meaning == 'Follows from "mask obeyed".'
    assert (finding.map != 0).all()


def test_both_modes_have_their_own_map():
    report = ZOO["CausalInTrainingOnly"].examine()
    assert (report["future, training"].map.triu(1) == 0).all()
    assert report["future, training"].passed
    assert (report["future, evaluating"].map.triu(1)[0, 1:] != 0).all()


def test_a_leak_that_autograd_cannot_see_is_seen():
    def leaky(Q, K, V, mask=None):
        output, weights = attention(Q, K, V, mask)
        if mask is None:
            return output, weights
        return output + torch.from_numpy(1e-3 * V.detach().numpy().mean(-2, keepdims=True)), weights

    report = examine(leaky)
    assert names(report) == ["future, evaluating"]
    assert (report["future, evaluating"].map.triu(1)[0, 1:] > 0).all()


# What has no name


@pytest.mark.parametrize(
    ("subject", "finding"),
    [
        (softened, "known form"),
        (lambda Q, K, V, mask=None: attention(Q, K, V, mask)[0] + 0.01, "known form"),
        (lambda Q, K, V, mask=None: attention(K, Q, V, mask)[0] if Q.shape == K.shape else V * 0, "known form"),
        (lambda Q, K, V, mask=None: V * math.nan, "known form"),
        (lambda Q, K, V, mask=None: attention(Q, K, V, create_causal_mask(Q.shape[-2]))[0], "known form"),
        (lambda Q, K, V, mask=None: attention(Q, K, 2 * V, mask)[0], "convex hull"),
        (lambda Q, K, V, mask=None: attention(-Q, K, V, mask)[0], "scale"),
        (lambda Q, K, V, mask=None: attention(Q, K, V[..., [1, 0, *range(2, V.shape[-2])], :], mask)[0], "known form"),
        (lambda Q, K, V, mask=None: attention(0.9 * Q, K, V, mask)[0], "scale"),
    ],
    ids=["tanh", "bias", "Q and K swapped", "NaN", "always causal", "twice", "negative", "two values", "0.9"],
)
def test_misbehaviour_without_a_name_fails_all_the_same(subject, finding):
    found = names(examine(subject))
    if finding == "known form" and found == ["values in step with keys"]:
        return  # two values exchanged: it has a name after all
    if finding == "known form" and found == ["answers"]:
        return
    assert found == [finding]


def test_a_mask_of_no_known_kind_fails():
    """Each query sees what the one before it may see, too: under a causal mask, nothing more."""
    wider = lambda mask: mask | torch.cat([mask[..., :1, :], mask[..., :-1, :]], -2)
    odd = lambda Q, K, V, mask=None: attention(Q, K, V, None if mask is None else wider(mask))
    report = examine(odd)
    assert names(report) == ["known form"]
    assert report["known form"].meaning == "With a mask, the output agrees with no known form of attention."


@pytest.mark.parametrize(("fill", "said"), [(-5.0, "set to -5"), (-0.5, "set to -0.5")])
def test_a_small_stand_in_is_measured(fill, said):
    def subject(Q, K, V, mask=None):
        scores = Q / math.sqrt(Q.shape[-1]) @ K.mT
        return torch.softmax(scores if mask is None else scores.masked_fill(~mask, fill), -1) @ V

    report = examine(subject)
    assert names(report) == ["minus infinity"]
    assert said in report["minus infinity"].meaning


def test_something_kept_between_calls_is_no_dropout():
    seen = itertools.count()
    report = examine(lambda Q, K, V, mask=None: attention(Q, K, V, mask)[0] + 0.01 * next(seen))
    assert names(report) == ["same answer twice"]
    assert "kept between calls" in report["same answer twice"].meaning


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


def test_a_subject_of_single_precision_is_examined_in_it():
    def subject(Q, K, V, mask=None):
        if Q.dtype == torch.float64:
            raise TypeError("not double")
        return attention(Q, K, V, mask)

    inside = lambda Q, K, V, mask=None: attention(Q.float(), K.float(), V.float(), mask)[0].to(Q.dtype)
    assert examine(subject)["answers"].measured == "float32"
    assert examine(subject).passed
    assert examine(inside)["answers"].measured == "float32, whatever comes"
    assert examine(inside).passed


# Errors of the subject


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
    assert ", 1 could not be told because the subject raised an error, " in report.diagnosis


@pytest.mark.parametrize("on", [True, False], ids=["with weights", "without"])
def test_a_flag_that_is_a_hint_comes_with_its_mask(on):
    """PyTorch's module takes `is_causal` only beside the mask that it speaks of."""
    module = nn.MultiheadAttention(28, 4, batch_first=True)
    report = examine(module, causal="is_causal", dead_rows="any", options={"need_weights": on})
    assert report.passed, report.diagnosis
    for name in ("mask obeyed", "mask polarity", "mask diagonal", "future, training", "future, evaluating"):
        assert report[name].passed, name
    assert not any('""' in finding.meaning for finding in report)


def test_nothing_is_left_without_a_reason():
    calls = [{}, {"mask": "none"}, {"causal": "is_causal"}, {"padding": "padding"}, {"causal": True}]
    for held in calls:
        for finding in examine(lambda Q, K, V, mask=None, **more: attention(Q, K, V, mask), **held):
            assert finding.meaning
            assert '""' not in finding.meaning


# Adapters


PADDED = {
    "True attends": lambda padding: padding,
    "True blocks": lambda padding: ~padding,
    "0-1": lambda padding: padding.bool(),
    "additive": lambda padding: padding == 0,
}


@pytest.mark.parametrize("convention", PADDED)
def test_padding_without_a_mask(convention):
    def subject(Q, K, V, key_padding_mask=None):
        read = PADDED[convention]
        return attention(Q, K, V, None if key_padding_mask is None else read(key_padding_mask)[:, None])

    report = examine(subject, padding="key_padding_mask", mask=convention)
    assert report["padding on keys"].passed, report["padding on keys"]
    assert report.passed
    assert "takes no mask" in report["mask obeyed"].meaning
    if convention == "True blocks":
        inverted = examine(subject, padding="key_padding_mask")
        assert names(inverted) == ["padding on keys"]
        assert inverted["padding on keys"].meaning.startswith("Padding is inverted")
    lost = examine(lambda Q, K, V, key_padding_mask=None: attention(Q, K, V), padding="key_padding_mask")
    assert names(lost) == ["padding on keys"]


def test_padding_beside_a_causal_flag():
    def subject(Q, K, V, is_causal=False, padding=None):
        allowed = torch.ones(Q.shape[-2], K.shape[-2], dtype=torch.bool)
        allowed = allowed.tril(K.shape[-2] - Q.shape[-2]) if is_causal else allowed
        return attention(Q, K, V, allowed if padding is None else allowed & padding[:, None])

    report = examine(subject, padding="padding", causal="is_causal")
    assert report.passed, report.diagnosis
    assert report["padding on keys"].passed
    assert report["future, evaluating"].passed


def test_a_layout_that_was_not_declared_is_named():
    for layout, heads, name in (("B T H d", 3, "heads apart"), ("T B d", 1, "batch elements apart")):
        subject = laid_out(layout)
        report = examine(subject, layout="B H T d" if heads > 1 else None, mask_shape="B 1 T S")
        assert names(report) == [name]
        assert "layout" in report[name].meaning
    four = lambda Q, K, V, mask=None: laid_out("B T H d")(*(x.reshape(x.shape) for x in (Q, K, V)), mask)
    report = examine(lambda Q, K, V, mask=None: four(Q, K, V, mask) if Q.ndim == 4 else Q.sum().item(), heads=3)
    assert 'layout="B T H d"' in report["heads apart"].meaning


def test_heads_in_the_width_that_were_not_declared_are_named():
    def subject(Q, K, V, mask=None):
        Q, K, V = (x.unflatten(-1, (4, -1)).transpose(1, 2) for x in (Q, K, V))
        return attention(Q, K, V, mask)[0].transpose(1, 2).flatten(2)

    report = examine(subject)
    assert names(report) == ["known form"]
    assert report["known form"].meaning.endswith('say so: layout="B T (H d)", heads=4.')
    assert examine(subject, layout="B T (H d)", heads=4, mask_shape="T S").passed


@pytest.mark.parametrize("scale", [None, 0.25])
def test_equal_widths_are_tried_too(scale):
    """As in PyTorch's function, whose flash kernel takes no widths that differ."""
    right = lambda Q, K, V, mask: attention(Q if scale is None else Q * scale * Q.shape[-1] ** 0.5, K, V, mask)[0]

    def subject(Q, K, V, mask=None):
        return right(Q, K, V, mask) + 0.01 * (Q.shape[-1] == V.shape[-1])

    report = examine(subject, scale=scale)
    assert names(report) == ["known form"]
    assert report["known form"].meaning.endswith("So it is where d_k and d_v are both 8; with 7 and 11 it holds.")
    assert examine(subject, scale=scale, widths=(7, 11)).passed
    assert examine(lambda Q, K, V, mask=None: right(Q, K, V, mask), scale=scale).passed


def laid_out(layout):
    """Our attention with another layout, its arguments and output in it."""
    heads = 3 if "H" in layout else 1

    def subject(Q, K, V, mask=None):
        output, weights = attention(*(bring_back(x, layout, heads) for x in (Q, K, V)), mask)
        return lay_out(output, layout), weights

    return subject


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout(layout):
    heads = 3 if "H" in layout else 1
    report = examine(laid_out(layout), layout=layout, heads=heads, mask_shape="B 1 T S")
    assert report.passed, report.diagnosis
    for name in ("known form", "mask obeyed", "padding on keys", "weights returned", "strided inputs"):
        assert report[name].passed, name


def test_equal_widths_are_found_out():
    def subject(Q, K, V, mask=None):
        assert Q.shape[-1] == V.shape[-1]
        return attention(Q, K, V, mask)

    report = examine(subject)
    assert report.passed
    assert report["scale"].bound == pytest.approx(8**-0.5)


def test_four_axes_are_found_out():
    def subject(Q, K, V, mask=None):
        assert Q.ndim == 4
        return attention(Q, K, V, mask)

    report = examine(subject)
    assert report.passed
    assert report["heads apart"].passed
    assert "B H T d" in report.subject


READINGS = {
    "True attends": lambda mask: mask,
    "True blocks": lambda mask: ~mask,
    "additive": lambda mask: mask,
    "0-1": lambda mask: mask.bool(),
}


def reader(convention):
    return lambda Q, K, V, mask=None: attention(Q, K, V, None if mask is None else READINGS[convention](mask))


@pytest.mark.parametrize("convention", READINGS)
def test_every_convention_declared_and_found_out(convention):
    declared = examine(reader(convention), mask=convention)
    assert declared.passed, declared.diagnosis
    assert declared["mask polarity"].passed
    found = examine(reader(convention), mask="find")
    assert found.passed, found.diagnosis
    assert found["mask polarity"].passed is None
    assert found["mask polarity"].meaning.startswith("Found out, not declared: ")
    boolean = convention.startswith("True")
    assert not boolean or found["mask polarity"].measured == convention


@pytest.mark.parametrize(("obeyed", "declared"), [("True blocks", "True attends"), ("True attends", "True blocks")])
def test_the_wrong_declaration_is_an_inverted_mask(obeyed, declared):
    assert names(examine(reader(obeyed), mask=declared)) == ["mask polarity"]


def test_the_lowest_number_is_another_convention():
    report = examine(reader("additive"), mask="additive, lowest", dead_rows="any")
    assert report.passed, report.diagnosis
    assert report["dead rows, forward"].measured != "zero"
    assert "additive, lowest" in MASKS


def test_names_of_arguments():
    def subject(*, value, key, query, attn_mask=None):
        return attention(query, key, value, attn_mask)

    called = {"Q": "query", "K": "key", "V": "value", "mask": "attn_mask"}
    assert examine(subject, names=called).passed
    assert examine(lambda q, k, v, m: attention(q, k, v, m), names={"mask": "m"}).passed


def test_no_mask_is_not_held_against_anybody():
    report = examine(lambda Q, K, V: attention(Q, K, V))
    assert report.passed
    for name in ("mask obeyed", "mask polarity", "dead rows, forward", "future, evaluating"):
        assert report[name].passed is None
        assert "takes no mask" in report[name].meaning


def causal(Q, K, V, mask=None, is_causal=False):
    T, S = Q.shape[-2], K.shape[-2]
    triangle = torch.ones(T, S, dtype=torch.bool).tril(S - T)
    return attention(Q, K, V, triangle if is_causal else mask)


def test_a_causal_flag_and_a_causal_nature():
    flagged = examine(causal, causal="is_causal")
    assert flagged.passed
    assert flagged["rectangular causal"].measured == "bottom-right"
    by_nature = examine(lambda Q, K, V: causal(Q, K, V, is_causal=True), causal=True)
    assert by_nature.passed, by_nature.diagnosis
    for name in ("future, evaluating", "mask diagonal", "known form", "large scores", "rectangular causal"):
        assert by_nature[name].passed, name


@pytest.mark.parametrize(("diagonal", "finding"), [(1, "mask diagonal"), (-1, "mask diagonal"), (9, "mask obeyed")])
def test_a_causal_nature_that_is_wrong(diagonal, finding):
    def subject(Q, K, V):
        T, S = Q.shape[-2], K.shape[-2]
        return attention(Q, K, V, torch.ones(T, S, dtype=torch.bool).tril(S - T + diagonal))

    assert names(examine(subject, causal=True)) == [finding]


def test_what_is_a_choice_can_be_declared():
    nan, uniform = ZOO["dead_rows_nan"].made, ZOO["dead_rows_uniform"].made
    assert names(examine(nan)) == names(examine(uniform)) == ["dead rows, forward"]
    assert examine(nan, dead_rows="nan").passed
    assert examine(uniform, dead_rows="uniform").passed
    assert names(examine(attention, dead_rows="nan")) == ["dead rows, forward"]
    assert examine(nan, dead_rows="any").passed
    top_left = ZOO["top_left_causal"].made
    assert examine(top_left, causal="causal", alignment="top-left").passed
    assert examine(top_left, causal="causal", alignment="any").passed
    assert names(examine(torch.nn.functional.scaled_dot_product_attention, alignment="bottom-right")) == [
        "rectangular causal"
    ]
    assert examine(ZOO["unscaled"].made, scale=1.0).passed
    assert names(examine(attention, scale=1.0)) == ["scale"]


def test_a_dropout_of_a_function_is_asked_for_by_name():
    def subject(Q, K, V, mask=None, p=0.0):
        return attention(Q, K, V, mask, dropout=p)

    report = examine(subject, dropout="p")
    assert report.passed
    assert report["dropout after softmax"].measured == "0 or 2 times"
    assert examine(subject)["dropout after softmax"].passed is None


class Fused(nn.Module):
    """One projection for queries, keys and values, in nested submodules."""

    def __init__(self, wrong=False):
        super().__init__()
        self.inner = nn.ModuleDict({"all": nn.Linear(28, 84), "out": nn.Linear(28, 28)})
        self.wrong = wrong

    def forward(self, x, attn_mask=None):
        Q, K, V = (z.unflatten(-1, (4, 7)).transpose(1, 2) for z in self.inner["all"](x).chunk(3, -1))
        output, weights = attention(Q, K, V, attn_mask)
        merged = output.reshape(x.shape) if self.wrong else output.transpose(1, 2).flatten(2)
        return self.inner["out"](merged), weights


def test_projections_by_their_dotted_names():
    held = {"projections": ("inner.all", "inner.out"), "heads": 4}
    report = examine(Fused(), **held)
    assert report.passed, report.diagnosis
    assert report["known form"].passed
    assert report["weights returned"].passed
    assert names(examine(Fused(wrong=True), **held)) == ["heads apart"]


def test_a_layer_from_outside_tells_what_it_can():
    report = examine(Fused(), width=28)
    assert report.passed
    told = ("batch elements apart", "mask obeyed", "future, training", "future, evaluating", "dead rows, forward")
    assert all(report[name].passed for name in told)
    assert report["scale"].passed is None
    assert "projections" in report["scale"].meaning
    assert names(examine(Fused(wrong=True), width=28)) != []


def test_a_layer_from_outside_that_writes_into_what_it_is_given():
    class Writer(Fused):
        def forward(self, x, attn_mask=None):
            return super().forward(x.mul_(2.0), attn_mask)

    class MaskWriter(Fused):
        def forward(self, x, attn_mask=None):
            output = super().forward(x, attn_mask)
            if attn_mask is not None:
                attn_mask.fill_(True)
            return output

    assert examine(Fused(), width=28)["inputs unchanged"].passed
    for kind, said in ((Writer, "x"), (MaskWriter, "the mask")):
        report = examine(kind(), width=28)
        assert names(report) == ["inputs unchanged"]
        assert report["inputs unchanged"].meaning == f"It writes into {said}."


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda keep: keep, ""),
        (lambda keep: ~keep, "Padding reaches the tokens beside it"),
        (lambda keep: keep | True, "Padding reaches the tokens beside it"),
        (lambda keep: keep & False | torch.eye(5, dtype=torch.bool), "Real tokens are hidden"),
    ],
    ids=["sound", "inverted", "lost", "too much"],
)
def test_padding_of_a_layer_from_outside(change, said):
    class Padded(Fused):
        def forward(self, x, keep=None):
            return super().forward(x, None if keep is None else change(keep[:, None, None]))

    report = examine(Padded(), width=28, padding="keep")
    assert report["padding on keys"].passed == (not said)
    assert said in report["padding on keys"].meaning
    assert names(report) == ["padding on keys"] * bool(said)


@pytest.mark.parametrize(
    ("kind", "finding"),
    [
        ("CausalInTrainingOnly", "future, evaluating"),
        ("CausalInEvaluationOnly", "future, training"),
        ("DropoutInEvaluation", "same answer twice"),
    ],
)
def test_a_faulty_layer_from_outside(kind, finding):
    fault = ZOO[kind]
    assert names(examine(fault.subject(), projections=False, **fault.held)) == [finding]


def test_bert_from_its_own_library():
    bert = pytest.importorskip("transformers.models.bert.modeling_bert")
    config = bert.BertConfig(hidden_size=28, num_attention_heads=4, num_hidden_layers=1, attn_implementation="eager")
    report = examine(bert.BertSelfAttention(config), mask="additive", dead_rows="any")
    for name in ("known form", "heads apart", "mask obeyed", "future, training", "dropout after softmax", "scale"):
        assert report[name].passed, report.diagnosis


# What it leaves behind


def test_nothing_global_is_touched():
    for subject in (attention, ZOO["SeedsEverything"].subject(), ZOO["DropoutInEvaluation"].subject()):
        torch.manual_seed(3)
        states = torch.get_rng_state(), np.random.get_state(legacy=False), random.getstate()
        examine(subject)
        assert torch.equal(torch.get_rng_state(), states[0])
        assert np.array_equal(np.random.get_state(legacy=False)["state"]["key"], states[1]["state"]["key"])
        assert random.getstate() == states[2]


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("projections", [None, False], ids=["probed", "from outside"])
def test_a_module_is_left_as_it_was(training, projections):
    layer = MultiHeadAttention(28, 4, dropout=0.25).train(training)
    layer.W_V.weight.grad = torch.ones(28, 28)
    kept = {name: x.detach().clone() for name, x in layer.named_parameters()}
    examine(layer, projections=projections)
    assert all(torch.equal(x, kept[name]) for name, x in layer.named_parameters())
    assert (layer.W_V.weight.grad == 1).all()
    assert layer.W_Q.weight.grad is None
    assert layer.training == training
    assert all(module.training == training for module in layer.modules())
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in layer.modules())
    assert layer.W_Q.weight.dtype == torch.float32


def test_the_seed_decides():
    first, second, other = (examine(softened, seed=seed) for seed in (0, 0, 1))
    assert [f.measured for f in first] == [f.measured for f in second]
    assert names(first) == names(other)


def test_warnings_are_told_once_in_the_report():
    def subject(Q, K, V, mask=None):
        warnings.warn("this is slow <here> (Triggered internally at /a/b.cpp:3.)", UserWarning, stacklevel=1)
        return attention(Q, K, V, mask)

    with warnings.catch_warnings(record=True) as leaked:
        warnings.simplefilter("always")
        filters = list(warnings.filters)
        report = examine(subject)
        assert warnings.filters == filters
    assert leaked == []
    assert len(report.warnings) == 1
    assert re.fullmatch(r"UserWarning: this is slow <here> \(\d\d+ times\)", report.warnings[0])
    assert report.passed
    assert f"\nWarned: {report.warnings[0]}\nNothing found: " in str(report)
    assert "this is slow &lt;here&gt;" in report._repr_html_()
    assert "tfoot" not in examine(attention)._repr_html_()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert examine(subject).passed


# Patience


def hanging(Q, K, V, mask=None):
    while mask is not None:
        try:
            while True:
                time.sleep(0.01)
        except Exception:
            continue
    return attention(Q, K, V)


def test_a_subject_that_never_returns_is_given_up():
    before = signal.getsignal(signal.SIGALRM)
    report = examine(hanging, mask_shape="T S", patience=0.7)
    assert names(report) == ["answers"]
    said = r"he examination was given up after 0.7 s, while “.+” was tried."
    assert re.fullmatch(f"T{said}", report["answers"].meaning)
    assert re.fullmatch(f"Cannot be told: t{said}", report["gradients"].meaning)
    assert (report["answers"].measured, report["answers"].bound) == ("no answer", "an output each time")
    assert signal.getsignal(signal.SIGALRM) == before
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)

    class Endless(nn.Module):
        def forward(self, x):
            while True:
                pass

    assert names(examine(Endless(), width=5, patience=0.3)) == ["answers"]


def test_what_was_found_before_it_hung_stays():
    def late(Q, K, V, mask=None):
        return hanging(Q, K, V, True) if Q.requires_grad else attention(Q, K, V, mask)

    report = examine(late, patience=2.0)
    assert names(report) == ["answers"]
    assert report["scale"].passed or "given up after 2 s" in report["scale"].meaning


def test_where_no_timer_can_ring_there_is_no_limit():
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(examine, attention, patience=1e-3).result().passed
    signal.setitimer(signal.ITIMER_REAL, 1000.0)
    try:
        assert examine(attention, patience=1e-3).passed
        assert signal.getitimer(signal.ITIMER_REAL)[0] > 0
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
    assert examine(attention, patience=None).passed


def test_the_command_line_gives_up(tmp_path, monkeypatch, capsys):
    (tmp_path / "endless.py").write_text("def f(Q, K, V):\n    while True:\n        pass\n", encoding="utf8")
    monkeypatch.syspath_prepend(tmp_path)
    assert main(["endless:f", "--patience", "0.3"]) == 1
    assert "given up after 0.3 s, while “answers” was" in capsys.readouterr().out
    codes = []
    monkeypatch.setattr(os, "_exit", codes.append)
    give_up("endless:f", 70.0)
    assert codes == [2]
    said = "address must name something that answers, got 'endless:f': nothing within 70 s.\n"
    assert capsys.readouterr().err == said


# The command line


def test_the_command_line_says_what_it_found(capsys):
    assert main(["surgeon:attention"]) == 0
    assert "Nothing found: " in capsys.readouterr().out
    assert main(["surgeon.zoo.scaling:unscaled"]) == 1
    assert "FAIL  scale" in capsys.readouterr().out
    assert main(["surgeon.zoo.masking:dead_rows_nan", "--dead-rows", "nan"]) == 0


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["surgeon"], "address must be package.module:function, got 'surgeon'."),
        (
            ["surgeonn:attention"],
            "address must name a module that can be imported, got 'surgeonn': No module named 'surgeonn'.",
        ),
        (["surgeon:attend"], "address must name something in surgeon, got 'attend', which it lacks."),
        (
            ["surgeon:MultiHeadAttention"],
            "subject must be a function or an instance, got the class MultiHeadAttention.",
        ),
        (
            ["surgeon:attention", "--patience", "-11"],
            "patience must be a positive number of seconds or None, got -11.0.",
        ),
        (["surgeon:attention", "--seed", "-1"], "seed must be an integer from 0 to 2**32 - 1, got -1."),
    ],
)
def test_a_bad_address_is_one_sentence_and_a_two(arguments, said, capsys):
    assert main(arguments) == 2
    output = capsys.readouterr()
    assert output.err == f"{said}\n"
    assert output.out == ""


def test_the_command_line_finds_a_module_in_the_folder_it_stands_in(tmp_path):
    (tmp_path / "mine.py").write_text(
        "from surgeon import MultiHeadAttention, attention\n"
        "def upside_down(Q, K, V, mask=None):\n"
        "    return attention(Q, K, V, None if mask is None else ~mask)\n"
        "def build():\n"
        "    return MultiHeadAttention(28, 4)\n",
        encoding="utf8",
    )
    command = [sys.executable, "-m", "surgeon.checkup"]
    done = subprocess.run([*command, "mine:upside_down"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 1, done.stderr
    assert re.search("^FAIL  mask polarity", done.stdout, re.MULTILINE)
    assert done.stderr == ""
    done = subprocess.run([*command, "mine:build", "--build"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


# Errors


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
        (lambda: examine(attention, scale=0.0), "scale must be a finite number other than 0, got 0.0."),
        (
            lambda: examine(Fused(), projections=("inner.all", "inner.exit")),
            "projections must name submodules of Fused, got 'inner.exit'.",
        ),
        (
            lambda: examine(Fused(), projections=("inner.all", "inner.out")),
            "heads must be given: Fused does not tell how many it has.",
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


def test_inputs_of_a_probe_are_no_special_numbers():
    """No probe relies on tensors that the subject could recognise: all inputs of the first question differ."""
    asked = []

    def subject(Q, K, V, mask=None):
        asked.append((Q.clone(), K.clone(), V.clone()))
        return attention(Q, K, V, mask)

    examine(subject)
    Q, K, V = asked[0]
    assert len(torch.cat([Q.flatten(), K.flatten(), V.flatten()]).unique()) == Q.numel() + K.numel() + V.numel()
    assert not torch.allclose(Q, normal(*Q.shape))
