"""The keys that score highest give what dense attention gives under the mask that hides the others."""

import re

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from oracle import CAUSAL, CONVENTIONS, normal, reference
from tensors import assert_same, gradients, inputs, lower

from surgeon.anatomy.dot_product import attention, dissect
from surgeon.anatomy.mask_reading import as_additive
from surgeon.procedures.topk import TopK, largest, topk_attention, topk_mask

SIZES = [(1, 1), (5, 5), (13, 13), (3, 37), (37, 3), (23, 11)]


def dense(Q, K, V, k, mask=None, scale=True):
    """Attention that sees the k largest scores alone: two masks added, and the second is a constant."""
    scores = dissect(Q, K, V, mask, scale).masked.detach()
    chosen = as_additive(topk_mask(scores, k), scores.shape, dtype=scores.dtype, device=scores.device)
    added = 0 if mask is None else as_additive(mask, scores.shape, dtype=scores.dtype, device=scores.device)
    return attention(Q, K, V, chosen + added, scale)


@pytest.mark.parametrize("causal", [False, True], ids=["open", "causal"])
@pytest.mark.parametrize("scale", [True, False], ids=["scaled", "unscaled"])
@pytest.mark.parametrize("k", [1, 2, 5, 11, 41])
@pytest.mark.parametrize(("T", "S"), SIZES)
def test_topk_is_attention_under_the_mask_values_and_gradients(T, S, k, scale, causal):
    """k may exceed the keys, and the visible keys; (37, 3) and (23, 11) leave causal queries without a key."""
    Q, K, V = inputs(2, T=T, S=S)
    ours = topk_attention(Q, K, V, k, scale=scale, causal=causal, block_q=4)
    mask = lower(T, S) if causal else None
    theirs, weights = dense(Q, K, V, k, mask, scale)
    assert_same(ours.output, theirs, (Q, K, V))
    assert ours.weights.shape == ours.indices.shape == (2, T, min(k, S))
    scattered = torch.zeros_like(weights).scatter_add(-1, ours.indices, ours.weights)
    torch.testing.assert_close(scattered, weights, rtol=1e-12, atol=1e-14)
    assert not causal or T <= S or (ours.output[:, : T - S] == 0).all()


@pytest.mark.parametrize("lead", [(), (2,), (2, 3), (0,)], ids=str)
def test_as_many_as_there_are_is_pytorch_s_attention(lead):
    Q, K, V = inputs(*lead, S=17)
    ours = topk_attention(Q, K, V, 17)
    assert_same(ours.output, reference(Q, K, V), (Q, K, V))
    assert torch.equal(ours.indices, torch.arange(17).expand(*lead, 13, 17))


@pytest.mark.parametrize("name", CONVENTIONS)
def test_every_mask_convention_hides_keys_from_the_choice(name):
    Q, K, V = inputs(3, T=5, S=5)
    ours = topk_attention(Q, K, V, 2, CONVENTIONS[name], block_q=2)
    assert_same(ours.output, dense(Q, K, V, 2, CAUSAL)[0], (Q, K, V))
    assert (ours.indices.masked_fill(ours.weights == 0, 0) <= torch.arange(5)[:, None]).all()


@pytest.mark.parametrize("shape", [(13, 17), (1, 17), (3, 1, 13, 17), (2, 1, 1, 17)], ids=str)
def test_a_mask_to_add_decides_on_the_choice_and_gets_its_gradient(shape):
    Q, K, V = inputs(2, 3, S=17)
    Q, mask = inputs(2, 3)[0], (3 * normal(*shape[-2:], seed=5)).detach().expand(*shape).clone()
    mask = mask[:1].clone() if len(shape) == 4 and shape[0] == 3 else mask  # [1, 1, 13, 17]
    mask[..., 3] = -torch.inf
    mask.requires_grad_()
    ours = topk_attention(Q, K, V, 4, mask, block_q=5)
    assert_same(ours.output, dense(Q, K, V, 4, mask)[0], (Q, K, V, mask))
    assert ((ours.indices != 3) | (ours.weights == 0)).all()


def test_a_place_without_a_key_takes_nothing_from_the_last_key():
    """Where fewer than k are visible, the index of the others may be that of a key that is chosen."""
    Q, K, V = inputs(S=37)
    mask = torch.full((13, 37), -torch.inf, dtype=torch.float64)
    mask[:, 36] = normal(13, grad=False)
    mask[5:, 20] = normal(8, grad=False)
    mask.requires_grad_()
    ours = topk_attention(Q, K, V, 3, mask)
    assert (ours.indices == 36).sum() > 13
    assert_same(ours.output, dense(Q, K, V, 3, mask)[0], (Q, K, V, mask))


def test_a_query_that_sees_nothing_is_zero_and_passes_zeros_back():
    Q, K, V = inputs(2)
    mask = torch.zeros(13, 13, dtype=torch.bool)
    mask[1, 2] = True
    ours = topk_attention(Q, K, V, 3, mask, block_q=4)  # blocks beside it are blocked entirely
    assert (ours.output[:, 2:] == 0).all()
    torch.testing.assert_close(ours.output[:, 1], V[:, 2])
    alone = gradients(ours.output[:, 2:], (Q, K, V))
    assert all((g == 0).all() for g in alone)


def test_the_gradient_of_the_weights_flows_too():
    Q, K, V = inputs(2, T=5)
    ours = topk_attention(Q, K, V, 3, block_q=2)
    _, weights = dense(Q, K, V, 3)
    same = weights.gather(-1, ours.indices)
    *found, of_values = gradients(ours.weights, (Q, K, V))
    for a, b in zip(found, gradients(same, (Q, K)), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-13)
    assert (of_values == 0).all()
    assert not ours.indices.requires_grad


def test_only_the_chosen_receive_a_gradient():
    Q, K, V = inputs(T=1, S=37)
    ours = topk_attention(Q, K, V, 5)
    others = torch.ones(37, dtype=torch.bool).index_fill(0, ours.indices[0], False)
    for g in gradients(ours.output, (K, V)):
        assert (g[others] == 0).all()
        assert (g[~others] != 0).any(-1).all()


@settings(max_examples=60, deadline=None)
@given(T=st.integers(1, 7), S=st.integers(1, 70), k=st.integers(1, 80), block_q=st.integers(1, 9), causal=st.booleans())
def test_topk_law(T, S, k, block_q, causal):
    Q, K, V = inputs(T=T, S=S, d_k=3, d_v=2)
    ours = topk_attention(Q, K, V, k, causal=causal, block_q=block_q)
    assert_same(ours.output, dense(Q, K, V, k, lower(T, S) if causal else None)[0], (Q, K, V))


@settings(max_examples=100, deadline=None)
@given(
    S=st.integers(1, 150),
    k=st.integers(1, 9),
    levels=st.integers(1, 5),
    hidden=st.floats(0, 1),
    seed=st.integers(0, 99),
)
def test_equal_scores_fall_to_the_first_keys(S, k, levels, hidden, seed):
    """Few levels make ties, also between groups; the mask takes a stable sort of the whole row."""
    generator = torch.Generator().manual_seed(seed)
    scores = torch.randint(levels, (2, 5, S), generator=generator).double()
    scores[torch.rand(2, 5, S, generator=generator) < hidden] = -torch.inf
    values, places = largest(scores, min(k, S))
    seen = values > -torch.inf
    found = torch.zeros(2, 5, S, dtype=torch.int64).scatter_add_(-1, places, seen.long())  # a key twice would show
    assert torch.equal(found, topk_mask(scores, k).long())
    assert torch.equal(scores.gather(-1, places)[seen], values[seen])
    assert (places.diff(dim=-1) >= 0).all()


def test_the_mask_is_what_one_would_choose_by_eye():
    scores = torch.tensor([[3.0, 1.0, 3.0, 2.0], [0.0, 0.0, 0.0, 0.0], [-torch.inf, 1.0, -torch.inf, -torch.inf]])
    assert topk_mask(scores, 2).int().tolist() == [[1, 0, 1, 0], [1, 1, 0, 0], [0, 1, 0, 0]]
    Q, K = torch.ones(1, 1), torch.tensor([[0.0], [2.0], [2.0], [2.0]])
    assert topk_attention(Q, K, K, 2).indices.tolist() == [[1, 2]]


def test_the_nearest_neighbours_of_unit_vectors_are_the_nearest_in_space():
    points = torch.nn.functional.normalize(normal(1, 53, 5, grad=False), dim=-1)
    near = torch.cdist(points, points).topk(4, largest=False).indices.sort().values
    assert torch.equal(topk_attention(points, points, points, 4).indices, near)


def test_what_topk_gives_has_names():
    Q, K, V = (x.detach() for x in inputs(2))
    output, weights, indices = topk_attention(Q, K, V, 3)
    assert TopK._fields == ("output", "weights", "indices")
    taken = torch.stack([V[b][indices[b]] for b in range(2)])  # [2, T, 3, d_v]
    torch.testing.assert_close(output, (weights[..., None] * taken).sum(-2), rtol=1e-13, atol=1e-14)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"k": 0}, "k must be an integer of at least 1, got 0."),
        ({"k": 2.0}, "k must be an integer of at least 1, got 2.0."),
        ({"k": True}, "k must be an integer of at least 1, got True."),
        ({"block_q": 0}, "block_q must be an integer of at least 1, got 0."),
        ({"K": torch.ones(2, 5, 3)}, "Q and K must share their last axis (d_k), got 7 and 3."),
        (
            {"mask": torch.full((5, 5), 1e300, dtype=torch.float64)},
            "mask must hold numbers that are finite in torch.float32, the precision of the scores, got 1e+300.",
        ),
        ({"mask": torch.ones(5, 7)}, "mask must end in (queries, keys) = (5, 5), got shape [5, 7]."),
    ],
)
def test_bad_input_gets_one_sentence(changes, message):
    given = {"Q": torch.ones(2, 5, 7), "K": torch.ones(2, 5, 7), "V": torch.ones(2, 5, 11), "k": 1}
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        topk_attention(**given | changes)


def test_a_mask_of_less_than_one_key_is_refused():
    with pytest.raises(ValueError, match=r"^k must be an integer of at least 1, got -1\.$"):
        topk_mask(torch.ones(2, 2), -1)
