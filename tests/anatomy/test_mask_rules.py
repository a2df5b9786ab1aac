"""A rule gives the mask that one would write down by hand, in every convention, and PyTorch reads it alike."""

import re

import pytest
import torch
from foreign import foreign_defaults
from hypothesis import given, settings
from hypothesis import strategies as st
from oracle import normal
from torch import nn
from torch.nn.attention.flex_attention import create_mask

from surgeon.anatomy.mask_reading import as_additive, visible
from surgeon.anatomy.mask_rules import (
    KINDS,
    all_of,
    any_of,
    ask,
    causal,
    documents,
    global_tokens,
    mask_of,
    prefix,
    shifted,
    window,
)
from surgeon.anatomy.masks import create_causal_mask, create_padding_mask, create_window_mask

PACKED = torch.tensor([[0, 0, 0, 1, 1, 2, 2], [0, 1, 1, 1, 1, 1, 1]])  # two rows of seven tokens
LENGTHS, HEADS = torch.tensor([3, 7]), torch.tensor([1, 2, 5])
RULES = {
    "causal": causal,
    "window": window(2, 1),
    "prefix": prefix(3),
    "documents": documents(PACKED[0]),
    "documents of a batch": all_of(causal, documents(PACKED)),
    "global and window": any_of(window(1, 1), global_tokens(2)),
    "shifted": shifted(causal, 2),
    "padding": lambda b, h, i, j: j < LENGTHS[b],
    "another window in each head": lambda b, h, i, j: i - j < HEADS[h],
    "batch and head": lambda b, h, i, j: (i - j < HEADS[h]) & (j < LENGTHS[b]),
    "queries alone": lambda b, h, i, j: i > 2,
    "all": lambda b, h, i, j: torch.tensor(True),
}


def by_hand(rule, B, H, T, S):
    """One pair after the other."""
    numbers = lambda *ns: [torch.tensor(n) for n in ns]
    pairs = [bool(rule(*numbers(b, h, i, j))) for b in range(B) for h in range(H) for i in range(T) for j in range(S)]
    return torch.tensor(pairs).view(B, H, T, S)


@pytest.mark.parametrize("name", RULES)
@pytest.mark.parametrize(("T", "S"), [(7, 7), (5, 7), (7, 3)])
def test_all_pairs_at_once_are_one_after_the_other_and_pytorch_s(name, T, S):
    mask = mask_of(RULES[name], (2, 3, T, S))
    assert mask.dtype == torch.bool
    assert mask.is_contiguous()
    assert torch.equal(mask, by_hand(RULES[name], 2, 3, T, S))
    assert torch.equal(mask, create_mask(RULES[name], 2, 3, T, S, device="cpu"))


def test_the_gallery_is_what_it_says():
    i, j = torch.arange(7)[:, None], torch.arange(7)
    drawn = lambda rule: mask_of(rule, (7, 7))
    assert torch.equal(drawn(causal), create_causal_mask(7) == 0)
    assert torch.equal(drawn(window(2, 2)), create_window_mask(7, 2) == 0)
    assert torch.equal(drawn(window(2, 0)), create_window_mask(7, 2, causal=True) == 0)
    assert torch.equal(drawn(window(0, 3)), (j >= i) & (j - i <= 3))
    assert torch.equal(drawn(prefix(0)), drawn(causal))
    assert torch.equal(drawn(prefix(3)), (j <= i) | (j < 3))
    assert torch.equal(drawn(documents(PACKED[0])), torch.block_diag(*(torch.ones(n, n) for n in (3, 2, 2))) == 1)
    assert torch.equal(drawn(global_tokens(2)), (i < 2) | (j < 2))


@pytest.mark.parametrize("shape", [(7, 5), (2, 7, 5), (2, 3, 7, 5)], ids=str)
def test_an_axis_that_is_not_there_has_the_number_0(shape):
    mask = mask_of(RULES["batch and head"], shape)
    whole = by_hand(RULES["batch and head"], 2, 3, 7, 5)
    assert mask.shape == shape
    assert torch.equal(mask, whole[(slice(None),) * (len(shape) - 2) + (0,) * (4 - len(shape))])


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_is_read_as_it_is_meant(kind):
    rule = RULES["batch and head"]
    mask, may_look = mask_of(rule, (2, 3, 7, 5), kind=kind), mask_of(rule, (2, 3, 7, 5))
    dtypes = {"integer": torch.int64, "zero-one": torch.float32, "additive": torch.float32}
    assert mask.dtype == dtypes.get(kind, torch.bool)
    read = visible(mask, (2, 3, 7, 5))
    assert torch.equal(read, ~may_look if kind == "blocked" else may_look)


def test_blocked_is_what_the_module_takes():
    module = nn.MultiheadAttention(6, 3, batch_first=True, dtype=torch.float64)
    x = normal(2, 7, 6, grad=False)
    blocked = mask_of(RULES["documents of a batch"], (2, 3, 7, 7), kind="blocked")
    _, weights = module(x, x, x, attn_mask=blocked.flatten(0, 1), average_attn_weights=False)
    assert torch.equal(weights > 0, ~blocked)


@given(T=st.integers(1, 9), S=st.integers(1, 9), past=st.integers(0, 9), back=st.integers(0, 9))
@settings(deadline=None)
def test_laws(T, S, past, back):
    """Causal and a window to both sides are the window to one; a shift is a cut of the longer mask."""
    near = window(back, back)
    assert torch.equal(mask_of(all_of(causal, near), (T, S)), mask_of(window(back, 0), (T, S)))
    assert torch.equal(mask_of(any_of(causal, near), (T, S)), mask_of(causal, (T, S)) | mask_of(near, (T, S)))
    assert torch.equal(mask_of(shifted(near, past), (T, S)), mask_of(near, (T + past, S))[past:])
    assert torch.equal(mask_of(all_of(near), (T, S)), mask_of(any_of(near), (T, S)))


@pytest.mark.parametrize(("T", "S"), [(5, 5), (2, 7), (1, 7), (7, 3)])
def test_shifted_by_what_came_before_the_last_query_sees_every_key(T, S):
    """As `causal=True` has it: the triangle at the bottom right."""
    assert torch.equal(mask_of(shifted(causal, S - T), (T, S)), torch.ones(T, S, dtype=torch.bool).tril(S - T))


@pytest.mark.parametrize("name", RULES)
def test_a_rectangle_is_a_cut_of_the_whole(name):
    part = ask(RULES[name], (2, 3), slice(1, 4), slice(2, 7), "cpu")
    assert torch.equal(part.expand(2, 3, 3, 5), mask_of(RULES[name], (2, 3, 7, 7))[:, :, 1:4, 2:7])


def test_a_rule_is_asked_for_what_it_looks_at_only():
    assert ask(causal, (2, 3), slice(0, 5), slice(0, 7), "cpu").shape == (1, 1, 5, 7)
    assert ask(RULES["padding"], (2, 3), slice(0, 5), slice(0, 7), "cpu").shape == (2, 1, 1, 7)


def test_a_mask_lies_where_it_was_asked_for_whatever_the_defaults():
    with foreign_defaults():
        masks = [mask_of(prefix(2), (2, 5, 5), kind=kind) for kind in KINDS]
    assert [mask.device.type for mask in masks] == ["cpu"] * len(KINDS)
    expected = [mask_of(prefix(2), (2, 5, 5), kind=kind) for kind in KINDS]
    assert all(torch.equal(mask, right) for mask, right in zip(masks, expected, strict=True))
    assert all(mask_of(causal, (3, 5), kind=kind, device="meta").is_meta for kind in KINDS if kind != "zero-one")


def test_a_padding_mask_is_a_rule():
    theirs = create_padding_mask(LENGTHS, 7).expand(2, 5, 7)
    assert torch.equal(mask_of(lambda b, h, i, j: j < LENGTHS[b], (2, 5, 7)), theirs)
    shape = {"shape": (2, 5, 7), "dtype": torch.float32, "device": "cpu"}
    assert torch.equal(mask_of(RULES["padding"], (2, 5, 7), kind="additive"), as_additive(theirs, **shape))


def test_rows_without_a_key_are_allowed_but_not_as_zeros_alone():
    nothing = lambda b, h, i, j: i < j - 7
    assert not mask_of(nothing, (3, 5)).any()
    message = (
        "rule must let some query look at some key for a mask of kind zero-one, since zeros alone block nothing;"
        " use boolean."
    )
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        mask_of(nothing, (3, 5), kind="zero-one")


FULL = "rule must return a tensor that broadcasts to (batch, heads, queries, keys) = (2, 1, 5, 7), got shape"
SHAPE = (
    "shape must be that of scores [queries, keys], [batch, queries, keys] or [batch, heads, queries, keys], got"
    " [1, 2, 3, 5, 7]."
)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: mask_of(causal, (7,)), "shape must end in (queries, keys), as that of scores does, got [7]."),
        (lambda: mask_of(causal, (1, 2, 3, 5, 7)), SHAPE),
        (
            lambda: mask_of(causal, (5, 7), kind="bool"),
            "kind must be one of boolean, integer, zero-one, additive, blocked, got 'bool'.",
        ),
        (lambda: mask_of(torch.ones(5, 7), (5, 7)), "rule must be a function of b, h, i, j, got Tensor."),
        (lambda: mask_of(lambda b, h, i, j: i - j, (5, 7)), "rule must return a boolean tensor, got torch.int64."),
        (lambda: mask_of(lambda b, h, i, j: True, (5, 7)), "rule must return a boolean tensor, got bool."),
        (lambda: mask_of(lambda b, h, i, j: (i >= j).T, (2, 5, 7)), f"{FULL} [7, 5]."),
        (lambda: mask_of(lambda b, h, i, j: (i >= j)[:2], (2, 5, 7)), f"{FULL} [2, 7]."),
        (lambda: mask_of(lambda b, h, i, j: (b >= j)[None], (2, 5, 7)), f"{FULL} [1, 2, 1, 1, 7]."),
        (lambda: window(-1, 0), "back must be an integer of at least 0, got -1."),
        (lambda: window(0, 1.0), "ahead must be an integer of at least 0, got 1.0."),
        (lambda: prefix(-1), "length must be an integer of at least 0, got -1."),
        (lambda: global_tokens(0), "count must be an integer of at least 1, got 0."),
        (lambda: shifted(causal, 0.5), "by must be an integer, got 0.5."),
        (lambda: all_of(), "at least one rule must be given, got none."),
        (lambda: any_of(), "at least one rule must be given, got none."),
        (lambda: documents([0, 1]), "numbers must be integers [T] or [B, T], a tensor, got list."),
        (
            lambda: documents(torch.ones(3)),
            "numbers must be integers [T] or [B, T], a tensor, got torch.float32 [3].",
        ),
        (
            lambda: documents(PACKED[None]),
            "numbers must be integers [T] or [B, T], a tensor, got torch.int64 [1, 2, 7].",
        ),
    ],
)
def test_bad_input_gets_one_sentence(call, message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        call()
