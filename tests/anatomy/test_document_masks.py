import re

import pytest
import torch
from foreign import foreign_defaults
from hypothesis import given, settings
from hypothesis import strategies as st
from oracle import normal

from surgeon.anatomy.document_masks import create_document_mask, number_documents
from surgeon.anatomy.dot_product import attention
from surgeon.anatomy.mask_reading import visible
from surgeon.anatomy.mask_rules import KINDS, all_of, causal, documents, mask_of
from surgeon.anatomy.masks import combine_masks, create_causal_mask, create_padding_mask


def blocks(*lengths, causal=False):
    """One triangle or square after the other."""
    tables = (torch.ones(n, n, dtype=torch.bool) for n in lengths)
    return torch.block_diag(*(table.tril() if causal else table for table in tables)).bool()


lengths = st.lists(st.integers(0, 5), min_size=1, max_size=5).filter(any)


@settings(deadline=None, max_examples=30)
@given(lengths, st.booleans(), st.integers(0, 3))
def test_texts_are_blocks_on_the_diagonal_and_padding_is_the_last(lengths, causal, padding):
    T = sum(lengths) + padding
    mask = create_document_mask(lengths=lengths, seq_len=T, causal=causal)
    expected = blocks(*filter(None, [*lengths, padding]), causal=causal)
    assert mask.dtype == torch.bool
    assert torch.equal(mask, expected)
    assert mask.any(-1).all()  # no row is empty
    assert torch.equal(mask, create_document_mask(number_documents(lengths, T), causal=causal))


@settings(deadline=None, max_examples=30)
@given(lengths, st.booleans())
def test_a_packed_row_is_each_text_alone(lengths, causal):
    """Outputs, and gradients: what is asked of one text leaves the others alone."""
    T = sum(lengths)
    Q, K, V = (normal(T, d, seed=seed) for seed, d in enumerate((7, 7, 11)))
    packed, _ = attention(Q, K, V, create_document_mask(lengths=lengths, causal=causal))
    start = 0
    for n in filter(None, lengths):
        own = slice(start, start + n)
        alone, _ = attention(Q[own], K[own], V[own], create_causal_mask(n) if causal else None)
        torch.testing.assert_close(packed[own], alone, rtol=0, atol=1e-12)
        pulled = torch.autograd.grad(packed[own].square().sum(), (Q, K, V), retain_graph=True)
        expected = torch.autograd.grad(alone.square().sum(), (Q, K, V))
        for got, want in zip(pulled, expected, strict=True):
            torch.testing.assert_close(got, want, rtol=0, atol=1e-12)
            assert not got[:start].any()
            assert not got[start + n :].any()
        start += n


@settings(deadline=None, max_examples=30)
@given(lengths)
def test_a_place_in_a_text_is_how_many_tokens_are_seen_before(lengths):
    places = create_document_mask(lengths=lengths, causal=True).sum(-1) - 1
    assert places.tolist() == [place for n in lengths for place in range(n)]


@pytest.mark.parametrize("rows", [[[3, 2, 2], [1, 6], [7]], [[3], [1, 1], [2, 0, 2]]], ids=["full", "filled up"])
@pytest.mark.parametrize("causal", [False, True])
def test_each_row_of_a_batch_is_packed_in_its_own_way(rows, causal):
    mask = create_document_mask(lengths=rows, causal=causal)
    T = max(map(sum, rows))
    assert mask.shape == (3, T, T)
    for row, own in zip(rows, mask, strict=True):
        assert torch.equal(own, create_document_mask(lengths=row, seq_len=T, causal=causal))
    tensors = [torch.tensor(row) for row in rows]
    assert torch.equal(mask, create_document_mask(lengths=tensors, causal=causal))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("causal", [False, True])
def test_every_convention_says_the_same(kind, causal):
    numbers = torch.tensor([[0, 0, 0, 1, 1], [4, 4, -1, -1, 2]])
    mask, boolean = (create_document_mask(numbers, causal=causal, kind=k) for k in (kind, "boolean"))
    if kind == "blocked":
        assert torch.equal(mask, ~boolean)
    else:
        assert torch.equal(visible(mask, (2, 5, 5)), boolean)
        assert mask.dtype == {"boolean": torch.bool, "integer": torch.long}.get(kind, torch.float32)


def test_equal_numbers_are_one_text_wherever_they_stand():
    mask = create_document_mask([5, 9, 5], causal=True)
    assert mask.tolist() == [[True, False, False], [False, True, False], [True, False, True]]


def test_it_is_the_rule_with_the_same_name():
    numbers = number_documents([[3, 4], [5, 1]])
    mask = create_document_mask(numbers, causal=True)
    assert torch.equal(mask, mask_of(all_of(causal, documents(numbers)), (2, 7, 7)))


def test_it_combines_with_other_masks():
    both = combine_masks(create_document_mask(lengths=[2, 3]), create_padding_mask([4], 5))
    assert torch.equal(both[0] == 0, blocks(2, 3) & (torch.arange(5) < 4))


def test_numbers_go_up_and_padding_is_minus_one():
    assert number_documents([2, 0, 1], 5).tolist() == [0, 0, 2, -1, -1]
    assert number_documents([[1, 1], [0, 3]]).tolist() == [[0, 1, -1], [1, 1, 1]]
    assert number_documents(torch.tensor([1, 2])).tolist() == [0, 1, 1]
    assert number_documents(torch.tensor([[1, 2], [2, 1]])).tolist() == [[0, 1, 1], [0, 0, 1]]
    assert number_documents([2]).dtype == torch.int64


def test_masks_are_what_and_where_was_asked_for_whatever_the_defaults():
    with foreign_defaults():
        masks = [create_document_mask([0, 1]), create_document_mask(lengths=[1, 1])]
        numbers = number_documents([1, 1])
    assert all(mask.device.type == "cpu" and mask.dtype == torch.bool for mask in masks)
    assert numbers.device.type == "cpu"
    assert masks[0].tolist() == masks[1].tolist() == [[True, False], [False, True]]
    assert create_document_mask([0, 1], causal=True, device="meta").device.type == "meta"
    assert number_documents([0, 1], device="meta").device.type == "meta"


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (create_document_mask, "one of numbers and lengths must be given, got none."),
        (lambda: create_document_mask([0], lengths=[1]), "one of numbers and lengths must be given, got both."),
        (
            lambda: create_document_mask([0, 1], seq_len=2),
            "seq_len must come with lengths, whose rows it fills up, got it with numbers.",
        ),
        (lambda: create_document_mask("a"), "numbers must be integers [T] or [B, T], got 'a'."),
        (
            lambda: create_document_mask([0.5]),
            "numbers must be integers [T] or [B, T], a tensor, got torch.float32 [1].",
        ),
        (lambda: create_document_mask(3), "numbers must be integers [T] or [B, T], a tensor, got torch.int64 []."),
        (
            lambda: create_document_mask(torch.zeros(2, 3, 5).long()),
            "numbers must be integers [T] or [B, T], a tensor, got torch.int64 [2, 3, 5].",
        ),
        (
            lambda: create_document_mask(torch.zeros(2, 0).long()),
            "seq_len must be an integer of at least 1, got 0.",
        ),
        (lambda: create_document_mask([0], causal=1), "causal must be True or False, got 1."),
        (
            lambda: create_document_mask([0], kind="float"),
            "kind must be one of boolean, integer, zero-one, additive, blocked, got 'float'.",
        ),
        (
            lambda: number_documents([]),
            "lengths must be a sequence of integers, got torch.float32 values of shape [0].",
        ),
        (lambda: number_documents(3), "lengths must be a sequence of integers, got torch.int64 values of shape []."),
        (lambda: number_documents([0, 0]), "seq_len must be an integer of at least 1, got 0."),
        (lambda: number_documents([1], 0), "seq_len must be an integer of at least 1, got 0."),
        (
            lambda: number_documents([1, 2.5]),
            "lengths must be a sequence of integers, got torch.float32 values of shape [2].",
        ),
        (lambda: number_documents([2, -1]), "lengths must be at least 0, got [[2, -1]]."),
        (lambda: number_documents([2, 3], 4), "lengths must add up to at most seq_len (4) in a row, got 5."),
        (lambda: number_documents([[1], [2, 3]], 4), "lengths must add up to at most seq_len (4) in a row, got 5."),
        (lambda: number_documents([[1], 2]), "lengths must be a sequence of integers, got [[1], 2]."),
    ],
)
def test_bad_input_gets_one_sentence(call, message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        call()
