"""Heat maps in words: the words come from the data."""

import math
import re

import pytest
import torch
from pictures import weights_of

from surgeon.anatomy.masks import create_causal_mask
from surgeon.imaging.words import describe_attention

pytestmark = pytest.mark.usefixtures("nothing_global")


def test_a_description_says_what_is_seen():
    weights = torch.tensor([[1.0, 0.0, 0.0], [0.25, 0.75, 0.0], [0.0, 0.125, 0.875]])
    assert describe_attention(weights, ["the", "cut", "the"], mask=create_causal_mask(3)) == (
        "Heat map of attention weights, 3 queries in rows by 3 keys in columns. "
        "3 of 9 cells are blocked, and hatched. "
        'The largest weight is 1.00, from "the" at 0 to "the" at 0; 88% of the weight lies on the diagonal. '
        'Strongest key of each query: "the" at 0 to "the" at 0 1.00, "cut" to "cut" 0.75, '
        '"the" at 2 to "the" at 2 0.88.'
    )
    holed = torch.tensor([[0.0, 0.0, 0.0], [0.0, 0.5, 0.5]])
    text = describe_attention(holed, ["a", "b"], key_tokens=["x", "y", "z"])
    assert '"a" to none, "b" to 2 keys alike 0.50.' in text
    assert "50% of the weight lies on the diagonal" in text
    assert "blocked" not in text
    holed[0] = math.nan
    assert "3 of 6 cells hold NaN, and are black." in describe_attention(holed, ["a", "b"], key_tokens=["x", "y", "z"])
    assert "Strongest" not in describe_attention(weights_of(11, 11), range(11))


def test_a_description_of_a_grid_goes_head_by_head():
    text = describe_attention(torch.stack([torch.eye(3), torch.eye(3)[[1, 2, 0]]]), ["a", "b", "c"])
    assert text == (
        "Grid of 2 heat maps of attention weights, one a head, 3 queries in rows by 3 keys in columns. "
        'Head 0: the largest weight is 1.00, from "a" to "a"; 100% of the weight lies on the diagonal. '
        'Head 1: the largest weight is 1.00, from "a" to "b"; 0% of the weight lies on the diagonal.'
    )


@pytest.mark.parametrize("shape", [(5,), (1, 1, 1, 1)], ids=["one-axis", "four-axes"])
def test_what_is_no_heat_map_has_no_description(shape):
    expected = "[queries, keys] or [num_heads, queries, keys]"
    message = f"attention_weights must have shape {expected}, none of them 0, got {list(shape)}."
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        describe_attention(torch.ones(shape), ["a"])
