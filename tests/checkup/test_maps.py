"""The maps of who reaches whom."""

import torch
from examined import names

from surgeon import attention, examine
from surgeon.checkup.designs.pictures import Picture
from surgeon.checkup.designs.wrong_pictures import wrong_pictures
from surgeon.imaging import influence
from surgeon.zoo.catalogue import ZOO


def test_wide_heads_are_no_more_work_than_narrow_ones(monkeypatch):
    """A backward pass for each direction, and not for each number of the output."""
    passes = []
    backward = influence._backward

    def counted(numbers, x, by):
        passes.append(len(by))
        return backward(numbers, x, by)

    monkeypatch.setattr(influence, "_backward", counted)
    for d in (7, 89):
        assert (examine(attention, widths=(d, d))["future, evaluating"].map.triu(1) == 0).all()
    assert passes == [5 * 7, 5 * 12]


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


def test_windows_at_an_edge_may_be_filled_up_if_they_lack_a_single_key():
    """In one row, a window of three lacks one at either end; blocks that fit lack none."""
    edge = "Windows at the edge are filled up, and what fills them is seen."
    lacking = Picture(rows=1, columns=7, height=1, width=3, kind="cut")
    assert lacking.lacking().tolist() == [1, 0, 0, 0, 0, 0, 1]
    assert edge in dict(wrong_pictures(lacking))
    assert edge not in dict(wrong_pictures(Picture(rows=2, columns=6, height=2, width=3)))
