"""Numbers too small for all their digits, and who counts them as zero."""

from contextlib import nullcontext

import pytest
import torch

from surgeon.ablations import no_scale
from surgeon.anatomy.precision import subnormals_as_zero

TINY = torch.finfo(torch.float32).tiny


def halved():
    return float(torch.full((37,), TINY).div(2).sum())


@pytest.fixture
def left_alone():
    yield
    torch.set_flush_denormal(False)


pytestmark = pytest.mark.skipif(not torch.set_flush_denormal(False), reason="this processor cannot")


def test_what_is_too_small_counts_as_zero_only_inside():
    assert halved() == 37 * TINY / 2
    with subnormals_as_zero():
        assert halved() == 0
    assert halved() == 37 * TINY / 2


def test_it_ends_with_an_error_and_is_as_it_was(left_alone):
    for before in (True, False):
        torch.set_flush_denormal(before)
        with pytest.raises(KeyError), subnormals_as_zero():
            raise KeyError
        assert (halved() == 0) == before


def test_training_leaves_it_as_it_was(left_alone):
    no_scale.train_with_and_without_scale([5], steps=2, seeds=[0])
    assert halved() > 0


def test_what_is_learned_does_not_hang_on_it(monkeypatch):
    """Of a model whose softmax has chosen; gradients are measured outside, as small as they are."""
    found = []
    for context in (subnormals_as_zero, nullcontext):
        monkeypatch.setattr(no_scale, "subnormals_as_zero", context)
        found.append(no_scale.train_with_and_without_scale([251], steps=31, seeds=[0], record_every=7))
    assert found[0].equals(found[1])
    assert found[0].accuracy.nunique() > 3
