"""A fault in the shape that the book's attention has: its checks, its scale and its dropout, whatever is inside."""

import pytest
import torch
from foreign import foreign_defaults
from oracle import normal

from surgeon import attention
from surgeon.zoo.catalogue import ZOO, in_the_brief_s_shape
from surgeon.zoo.fault import right

SHAPED = in_the_brief_s_shape(right)


def inputs():
    return normal(2, 5, 7, grad=False), normal(2, 11, 7, grad=False), normal(2, 11, 3, grad=False)


def test_what_is_sound_answers_as_attention_does():
    Q, K, V = inputs()
    mask = torch.ones(5, 11, dtype=torch.bool).tril(3)
    for how in ({}, {"mask": mask}, {"scale": False}, {"mask": mask, "scale": False}):
        torch.testing.assert_close(SHAPED(Q, K, V, **how), attention(Q, K, V, **how))
    assert SHAPED.__name__ == "right"
    assert SHAPED.__doc__ == attention.__doc__


def test_what_is_inside_answers():
    Q, K, V = inputs()
    output, weights = in_the_brief_s_shape(ZOO["undivided"].made)(Q, K, V)
    assert (weights.sum(-1) != 1).all()
    torch.testing.assert_close(output, weights @ V)


def test_weights_are_dropped_and_the_others_grow_whatever_the_caller_s_defaults():
    Q, K, V = (x.float() for x in inputs())
    _, whole = SHAPED(Q, K, V)
    generator = torch.Generator().manual_seed(3)
    with foreign_defaults():
        output, weights = SHAPED(Q, K, V, dropout=0.25, generator=generator)
    kept = weights != 0
    assert 0 < (~kept).sum() < kept.sum()
    torch.testing.assert_close(weights[kept], whole[kept] / 0.75)
    torch.testing.assert_close(output, weights @ V)
    again = SHAPED(Q, K, V, dropout=0.25, generator=torch.Generator().manual_seed(3))
    assert torch.equal(again[1], weights)


def test_bad_input_is_refused_as_by_attention():
    Q, K, V = inputs()
    with pytest.raises(ValueError, match="K and V must have as many keys as values"):
        SHAPED(Q, K, V[:, :5])
    with pytest.raises(ValueError, match="mask must"):
        SHAPED(Q, K, V, torch.ones(4, 11, dtype=torch.bool))
