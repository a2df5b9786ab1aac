"""A rule's tiles are those of its mask, PyTorch's own among them, and in them flash attention is what it is whole."""

import re

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from oracle import normal
from tensors import assert_same, inputs, lower
from torch.nn.attention.flex_attention import create_block_mask
from torch.utils._python_dispatch import TorchDispatchMode

from surgeon.anatomy.document_masks import create_document_mask, number_documents
from surgeon.anatomy.dot_product import attention
from surgeon.anatomy.mask_rules import (
    all_of,
    any_of,
    causal,
    documents,
    global_tokens,
    mask_of,
    prefix,
    shifted,
    window,
)
from surgeon.anatomy.masks import create_causal_mask
from surgeon.procedures.flash import flash_attention
from surgeon.procedures.online import partial_attention
from surgeon.procedures.rule_tiles import EMPTY, FULL, PARTIAL, RuleTiles, tiles_of
from surgeon.procedures.window import window_attention

PACKED = (torch.arange(64)[None] * torch.tensor([[1], [3]])) // 19  # two rows, packed differently
LENGTHS, HEADS = torch.tensor([0, 11]), torch.tensor([0, 2, 40])
RULES = {
    "causal": causal,
    "window": window(5, 2),
    "prefix": prefix(9),
    "documents": documents(PACKED),
    "global and window": all_of(causal, any_of(window(3, 3), global_tokens(2))),
    "padding, with a text of none": lambda b, h, i, j: j < LENGTHS[b],
    "another window in each head": lambda b, h, i, j: (i - j).abs() <= HEADS[h],
    "batch and head": lambda b, h, i, j: (i - j >= HEADS[h]) & (j < LENGTHS[b]),
    "nothing": lambda b, h, i, j: i < 0 * j,
    "everything": lambda b, h, i, j: torch.tensor(True),
}
every = pytest.mark.parametrize("name", RULES)


def kinds_of(mask, t, s):
    """Of a whole mask: empty, partial and full tiles, the last ones cut off where it ends."""
    rows = [
        torch.stack([tile.any((-2, -1)).to(torch.int8) + tile.all(-1).all(-1) for tile in row.split(s, -1)], -1)
        for row in mask.split(t, -2)
    ]
    return torch.stack(rows, -2)


# Which tiles


@every
@pytest.mark.parametrize(("T", "S", "t", "s"), [(17, 17, 5, 3), (13, 23, 4, 4), (23, 13, 1, 99)])
def test_the_kinds_are_those_of_the_mask(name, T, S, t, s):
    made = tiles_of(RULES[name], (2, 3, T, S), block_q=t, block_k=s)
    assert (made.shape, made.block, made.kinds.dtype) == ((2, 3, T, S), (t, s), torch.int8)
    assert torch.equal(made.kinds, kinds_of(mask_of(RULES[name], (2, 3, T, S)), t, s))
    counted = [int((made.kinds == kind).sum()) for kind in (EMPTY, PARTIAL, FULL)]
    assert list(made.tally().items()) == list(zip(("empty", "partial", "full"), counted, strict=True))


@every
def test_pytorch_counts_the_same_tiles(name):
    """Where tiles divide the tokens; PyTorch fills up the last ones, and calls them partial."""
    theirs = create_block_mask(RULES[name], 2, 3, 48, 64, device="cpu", BLOCK_SIZE=(16, 8))
    ours = tiles_of(RULES[name], (2, 3, 48, 64), block_q=16, block_k=8).kinds
    assert torch.equal((ours == PARTIAL).sum(-1), theirs.kv_num_blocks)
    assert torch.equal((ours == FULL).sum(-1), theirs.full_kv_num_blocks)
    assert torch.equal((ours > EMPTY).int(), theirs.to_dense())


@given(T=st.integers(1, 30), S=st.integers(1, 30), t=st.integers(1, 31), s=st.integers(1, 31), back=st.integers(-3, 30))
@settings(deadline=None)
def test_kinds_law(T, S, t, s, back):
    rule = lambda b, h, i, j: i - j <= back
    assert torch.equal(tiles_of(rule, (T, S), block_q=t, block_k=s).kinds, kinds_of(mask_of(rule, (T, S)), t, s))


def test_what_differs_between_heads_is_partial_for_all():
    made = tiles_of(RULES["another window in each head"], (2, 3, 8, 8), block_q=2, block_k=2)
    assert made.kinds[0, :, 0, 3].tolist() == [EMPTY, EMPTY, FULL]
    assert made.for_all()[0][3] == PARTIAL
    assert tiles_of(causal, (2, 3, 8, 8), block_q=2, block_k=2).for_all() == [
        [1, 0, 0, 0], [2, 1, 0, 0], [2, 2, 1, 0], [2, 2, 2, 1],
    ]  # fmt: skip
    assert tiles_of(causal, (0, 3, 5, 8), block_q=2, block_k=2).for_all() == [[0] * 4] * 3


# Attention in them


@every
@pytest.mark.parametrize(("T", "S"), [(17, 17), (13, 23), (23, 13)])
@pytest.mark.parametrize("size", [1.0, 50.0], ids=["small-scores", "large-scores"])
def test_flash_with_a_rule_is_attention_under_its_mask(name, T, S, size):
    """Values, log-sum-exps and gradients; some rows see nothing, a text of none among them."""
    Q, K, V = inputs(2, 3, T=T, S=S, size=size)
    ours = flash_attention(Q, K, V, rule=RULES[name], block_q=5, block_k=4, return_lse=True)
    theirs = partial_attention(Q, K, V, mask_of(RULES[name], (2, 3, T, S)))
    seen = theirs.lse > -torch.inf
    assert torch.equal(ours.lse > -torch.inf, seen)
    both = [torch.cat([part.out.flatten(), part.lse[seen]]) for part in (ours, theirs)]
    assert_same(*both, (Q, K, V), 1e-11)


@pytest.mark.parametrize("lead", [(), (2,), (2, 3), (1, 3), (0,), (0, 3)], ids=str)
def test_leading_axes_are_those_of_the_scores(lead):
    Q, K, V = inputs(*lead, T=13, S=13)
    mask = mask_of(RULES["batch and head"], (*lead, 13, 13))
    ours = flash_attention(Q, K, V, rule=RULES["batch and head"], block_q=4, block_k=3)
    assert_same(ours, attention(Q, K, V, mask)[0], (Q, K, V))


def test_heads_of_queries_may_share_keys():
    Q, (_, K, V) = normal(2, 3, 13, 7), inputs(2, 1)
    mask = mask_of(RULES["batch and head"], (2, 3, 13, 13))
    ours = flash_attention(Q, K, V, rule=RULES["batch and head"], block_q=4, block_k=3)
    assert_same(ours, attention(Q, K, V, mask)[0], (Q, K, V))


@pytest.mark.parametrize("numbers", [False, True], ids=["permissions", "numbers"])
def test_a_rule_is_on_top_of_a_mask_and_of_causal(numbers):
    """Which counts from the other end where there are not as many queries as keys."""
    Q, K, V = inputs(2, 3, T=13, S=17)
    mask = normal(3, 13, 17, grad=numbers)
    mask = mask if numbers else mask > -0.5
    rule = all_of(window(9, 9), RULES["padding, with a text of none"])
    ours = flash_attention(Q, K, V, mask, causal=True, rule=rule, block_q=4, block_k=3)
    hidden = torch.zeros(2, 3, 13, 17, dtype=torch.float64)
    hidden.masked_fill_(~(mask_of(rule, (2, 3, 13, 17)) & lower(13, 17)), -torch.inf)
    theirs = mask + hidden if numbers else mask & (hidden == 0)
    assert_same(ours, attention(Q, K, V, theirs)[0], (Q, K, V, mask) if numbers else (Q, K, V))


@pytest.mark.parametrize(("T", "S"), [(13, 13), (5, 13), (1, 13), (13, 5)])
def test_a_shifted_rule_is_causal_as_flash_has_it(T, S):
    Q, K, V = inputs(2, T=T, S=S)
    ours = flash_attention(Q, K, V, rule=shifted(causal, S - T), block_q=4, block_k=3)
    assert_same(ours, flash_attention(Q, K, V, causal=True), (Q, K, V))
    unshifted = flash_attention(Q, K, V, rule=causal, block_q=4, block_k=3)
    assert torch.equal(unshifted, ours) == (T == S)


@pytest.mark.parametrize("ahead", [0, 4])
def test_a_window_as_a_rule_is_the_window(ahead):
    Q, K, V = inputs(2, T=37, S=37)
    theirs = window_attention(Q, K, V, 4, causal=not ahead, block=8)
    assert_same(flash_attention(Q, K, V, rule=window(4, ahead), block_q=8, block_k=8), theirs, (Q, K, V))


def test_derivatives():
    rule = RULES["batch and head"]
    function = lambda *x: flash_attention(*x, rule=rule, block_q=2, block_k=2)
    assert torch.autograd.gradcheck(function, inputs(2, 2, T=3, S=5, d_k=2, d_v=3))


def test_tiles_serve_many_calls():
    Q, K, V = inputs(2, 3, T=17, S=13)
    asked = []

    def rule(b, h, i, j):
        asked.append((int(i[0]), int(j[0])))
        return i >= j

    made = tiles_of(rule, (2, 3, 17, 13), block_q=5, block_k=4)
    assert len(asked) == len(set(asked)) == 4 * 4  # each tile once
    asked.clear()
    first = flash_attention(Q, K, V, rule=made)
    assert sorted(asked) == [(5 * i, 4 * j) for i, j in (made.kinds[0, 0] == PARTIAL).nonzero().tolist()]
    first.sum().backward()
    assert torch.equal(flash_attention(Q, K, V, rule=made, block_q=5, block_k=4), first)
    assert_same(first, attention(Q, K, V, mask_of(causal, (17, 13)))[0], ())


# What it does not do


class Seen(TorchDispatchMode):
    """The matrix products of a run, and the largest tensor that any operation makes."""

    def __init__(self):
        super().__init__()
        self.products, self.largest = 0, 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        self.products += "bmm" in str(function)
        for x in result if isinstance(result, tuple | list) else [result]:
            self.largest = max(self.largest, x.numel() if isinstance(x, torch.Tensor) else 0)
        return result


def seen(Q, K, V, **how):
    """Forward and backward."""
    with Seen() as forward:
        output = flash_attention(Q, K, V, **how)
    with Seen() as backward:
        torch.autograd.grad(output.sum(), (Q, K, V))
    return forward, backward


@pytest.mark.parametrize("name", ["causal", "window", "prefix", "documents", "global and window", "nothing"])
@pytest.mark.parametrize("too", [False, True], ids=["alone", "causal-too"])
def test_empty_tiles_cost_no_product(name, too):
    """Two products a tile forward, five backward."""
    runs = seen(*inputs(T=64, S=64), rule=RULES[name], causal=too, block_q=8, block_k=8)
    kinds = tiles_of(RULES[name], (64, 64), block_q=8, block_k=8).kinds
    computed = int((kinds.tril() if too else kinds).count_nonzero())
    assert [run.products for run in runs] == [2 * computed, 5 * computed]


@every
def test_nothing_of_the_size_of_queries_by_keys_is_ever_made(name):
    """Room for two tiles of all heads, and the inputs; the whole mask of one head would be larger."""
    T, (B, H) = 320, (2, 3)
    runs = seen(*inputs(B, H, T=T, S=T, d_k=3, d_v=5), rule=RULES_FOR_ALL[name], block_q=16, block_k=16)
    assert max(run.largest for run in runs) == B * H * max(T * 5, 2 * 16 * 16, (T // 16) ** 2)
    assert B * H * T * 5 < T * T


RULES_FOR_ALL = RULES | {"documents": documents(torch.arange(320)[None].expand(2, -1) // 50)}


def test_a_class_is_public_with_what_it_holds():
    assert RuleTiles._fields == ("rule", "shape", "block", "kinds")


# Bad input

X = torch.ones(2, 5, 3)
MADE = tiles_of(causal, (2, 5, 5), block_q=2, block_k=3)
DEEP = (
    "shape must be that of scores [queries, keys], [batch, queries, keys] or [batch, heads, queries, keys], got"
    " [2, 2, 2, 5, 5]."
)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: flash_attention(X, X, X, rule=lambda b, h, i, j: i - j),
            "rule must return a boolean tensor, got torch.int64.",
        ),
        (
            lambda: flash_attention(X, X, X, rule=lambda b, h, i, j: (i >= j)[:3], block_q=4),
            "rule must return a tensor that broadcasts to (batch, heads, queries, keys) = (2, 1, 4, 5), got shape"
            " [3, 5].",
        ),
        (lambda: flash_attention(X, X, X, rule=lower(5, 5)), "rule must be a function of b, h, i, j, got Tensor."),
        (lambda: flash_attention(*[X.expand(2, 2, 2, 5, 3)] * 3, rule=causal), DEEP),
        (
            lambda: flash_attention(X[:1], X[:1], X[:1], rule=MADE),
            "rule has tiles for scores of [2, 5, 5], got scores of [1, 5, 5].",
        ),
        (
            lambda: flash_attention(X, X, X, rule=MADE, block_k=4),
            "rule has tiles for blocks of [2, 3], got blocks of [2, 4].",
        ),
        (lambda: tiles_of(causal, (5, 5), block_q=0), "block_q must be an integer of at least 1, got 0."),
        (lambda: tiles_of(causal, (5, 5), block_k=1.0), "block_k must be an integer of at least 1, got 1.0."),
        (lambda: tiles_of(causal, (5,)), "shape must end in (queries, keys), as that of scores does, got [5]."),
        (lambda: tiles_of(None, (5, 5)), "rule must be a function of b, h, i, j, got NoneType."),
    ],
)
def test_bad_input_gets_one_sentence(call, message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        call()


# Texts packed in a row


@pytest.mark.parametrize("other", ["each text alone", "the mask"])
@pytest.mark.parametrize("how", ["one rule", "a rule, and causal"])
def test_packed_texts_in_tiles_are_each_as_alone_with_their_gradients(how, other):
    lengths, x = [19, 2, 30, 13], inputs(3, T=64, S=64)
    numbers = number_documents(lengths)
    ways = {"one rule": {"rule": all_of(causal, documents(numbers))}}
    ways["a rule, and causal"] = {"rule": documents(numbers), "causal": True}
    packed = flash_attention(*x, block_q=8, block_k=8, **ways[how])
    if other == "the mask":
        assert_same(packed, attention(*x, create_document_mask(numbers, causal=True))[0], x)
        return
    texts = zip(*(part.split(lengths, 1) for part in x), strict=True)
    alone = [attention(Q, K, V, create_causal_mask(Q.shape[1]))[0] for Q, K, V in texts]
    assert_same(packed, torch.cat(alone, 1), x)


def test_tiles_of_two_texts_are_skipped():
    numbers = number_documents([32, 32])
    tiles = tiles_of(all_of(causal, documents(numbers)), (64, 64), block_q=16, block_k=16)
    assert tiles.kinds.tolist() == [[1, 0, 0, 0], [2, 1, 0, 0], [0, 0, 1, 0], [0, 0, 2, 1]]
