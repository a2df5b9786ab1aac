"""Misbehaviour that no hypothesis explains."""

import itertools
import math

import pytest
import torch
from examined import names, softened
from oracle import normal

from surgeon import attention, create_causal_mask, examine


@pytest.mark.parametrize(
    ("subject", "finding"),
    [
        (lambda Q, K, V, mask=None: attention(K, Q, V, mask)[0] if Q.shape == K.shape else V * 0, "known form"),
        (lambda Q, K, V, mask=None: V * math.nan, "known form"),
        (lambda Q, K, V, mask=None: attention(Q, K, V, create_causal_mask(Q.shape[-2]))[0], "known form"),
        (lambda Q, K, V, mask=None: attention(Q, K, 2 * V, mask)[0], "convex hull"),
        (lambda Q, K, V, mask=None: attention(-Q, K, V, mask)[0], "scale"),
        (
            lambda Q, K, V, mask=None: attention(Q, K, V[..., [1, 0, *range(2, V.shape[-2])], :], mask)[0],
            "values in step with keys",
        ),
        (lambda Q, K, V, mask=None: attention(0.9 * Q, K, V, mask)[0], "scale"),
    ],
    ids=["Q and K swapped", "NaN", "always causal", "twice", "negative", "two values", "0.9"],
)
def test_misbehaviour_without_a_name_fails_all_the_same(subject, finding):
    assert names(examine(subject)) == [finding]


def test_a_mask_of_no_known_kind_fails():
    """Each query sees what the one before it may see, too: under a causal mask, nothing more."""
    wider = lambda mask: mask | torch.cat([mask[..., :1, :], mask[..., :-1, :]], -2)
    odd = lambda Q, K, V, mask=None: attention(Q, K, V, None if mask is None else wider(mask))
    report = examine(odd)
    assert names(report) == ["mask obeyed"]
    assert "keeps a weight" in report["mask obeyed"].meaning


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


def test_the_seed_decides():
    first, second, other = (examine(softened, seed=seed) for seed in (0, 0, 1))
    assert [f.measured for f in first] == [f.measured for f in second]
    assert names(first) == names(other)


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
