"""Adapters of functions: layouts, widths, conventions, names, flags and choices."""

import inspect

import pytest
import torch
from examined import READINGS, causal, laid_out, names, reader
from kinds import SOUND
from torch import nn

from surgeon import attention, examine
from surgeon.checkup.subjects.conventions import MASKS
from surgeon.checkup.subjects.layouts import LAYOUTS
from surgeon.zoo.catalogue import ZOO

pytestmark = pytest.mark.long

PADDED = {
    "True attends": lambda padding: padding,
    "True blocks": lambda padding: ~padding,
    "0-1": lambda padding: padding.bool(),
    "additive": lambda padding: padding == 0,
}


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
    assert report["known form"].meaning.endswith("So it is where d_k and d_v are both 64; with 7 and 11 it holds.")
    assert examine(subject, scale=scale, widths=(7, 11)).passed
    assert examine(lambda Q, K, V, mask=None: right(Q, K, V, mask), scale=scale).passed


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


@pytest.mark.parametrize("name", ["ALiBi", "rotary", "a sink", "cosines", "a cap of 5", "a window", "documents"])
def test_a_convention_is_found_out_whatever_the_form(name):
    subject, _ = SOUND[name]
    report = examine(lambda Q, K, V, mask=None: subject(Q, K, V, None if mask is None else ~mask), mask="find")
    assert names(report) == [], report.diagnosis
    assert report["mask polarity"].measured == "True blocks"
    assert report["mask obeyed"].passed


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


def test_a_causal_flag_and_a_causal_nature():
    flagged = examine(causal, causal="is_causal")
    assert flagged.passed
    assert flagged["rectangular causal"].measured == "bottom-right"
    by_nature = examine(lambda Q, K, V: causal(Q, K, V, is_causal=True), causal=True)
    assert by_nature.passed, by_nature.diagnosis
    for name in ("future, evaluating", "mask diagonal", "known form", "large scores", "rectangular causal"):
        assert by_nature[name].passed, name


@pytest.mark.parametrize(
    ("diagonal", "finding"), [(1, "mask diagonal"), (-1, "mask diagonal"), (9, "future, evaluating")]
)
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


@pytest.mark.parametrize("on", [True, False], ids=["with weights", "without"])
def test_a_flag_that_is_a_hint_comes_with_its_mask(on):
    """PyTorch's module takes `is_causal` only beside the mask that it speaks of."""
    module = nn.MultiheadAttention(28, 4, batch_first=True)
    report = examine(module, causal="is_causal", dead_rows="any", options={"need_weights": on})
    assert report.passed, report.diagnosis
    for name in ("mask obeyed", "mask polarity", "mask diagonal", "future, training", "future, evaluating"):
        assert report[name].passed, name
    assert not any('""' in finding.meaning for finding in report)


ASKED_FOR = """
need_weights return_weights return_attention return_attentions return_attn return_attn_weights
return_attention_weights return_attention_scores return_scores output_attentions output_attention with_weights
use_cache return_cache
"""


@pytest.mark.parametrize("flag", ASKED_FOR.split())
def test_what_is_asked_for_besides_is_known_by_the_names_that_people_use(flag):
    def subject(Q, K, V, mask=None, **asked):
        output = attention(Q, K, V, mask)[0]
        return 2 * output if asked.get(flag) else output

    usual = inspect.signature(lambda Q, K, V, mask=None: None)
    more = inspect.Parameter(flag, inspect.Parameter.KEYWORD_ONLY, default=False)
    subject.__signature__ = usual.replace(parameters=[*usual.parameters.values(), more])
    report = examine(subject)
    assert names(report) == ["same by every road"]
    assert report["same by every road"].meaning == f"With {flag}=True, the output is another."


def test_padding_that_is_called_like_a_mask_is_no_mask():
    def subject(Q, K, V, attention_mask=None):
        return attention(Q, K, V, None if attention_mask is None else attention_mask[:, None])

    report = examine(subject, padding="attention_mask")
    assert report.passed, report.diagnosis
    assert report["padding on keys"].passed
    assert "takes no mask" in report["mask obeyed"].meaning
