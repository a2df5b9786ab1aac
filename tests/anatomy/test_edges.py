"""Attention at the edges of arithmetic, and a layer's way with randomness: what other tests would not notice."""

import pytest
import torch
from oracle import normal, reference
from torch.nn.functional import scaled_dot_product_attention

from surgeon import MultiHeadAttention, attention


def shifted(by):
    """Q, K and V whose scores all are moved by the same number, which softmax must not notice."""
    Q, K, V = normal(2, 5, 7, seed=1, grad=False), normal(2, 11, 7, seed=2, grad=False), normal(2, 11, 13, grad=False)
    Q[..., 0], K[..., 0] = 1.0, 0.0
    still = reference(Q, K, V)
    K = K.clone()
    K[..., 0] = by * 7**0.5
    return (Q, K, V), still


@pytest.mark.parametrize("by", [1000.0, -1000.0, 60.0])
def test_a_constant_added_to_every_score_changes_nothing(by):
    """e¹⁰⁰⁰ is infinite and e⁻¹⁰⁰⁰ is 0; a score cut off at 50 would be like all others that are."""
    inputs, still = shifted(by)
    torch.testing.assert_close(attention(*inputs)[0], still, rtol=0, atol=1e-10)


def test_rows_of_very_different_scores_do_not_know_each_other():
    (Q, K, V), _ = shifted(0.0)
    K[..., 0] = 1000.0
    Q[..., 0] = torch.tensor([1.0, -1.0, 1.0, 0.0, -1.0], dtype=torch.float64)
    alone = torch.cat([attention(Q[:, [i]], K, V)[0] for i in range(5)], 1)
    torch.testing.assert_close(attention(Q, K, V)[0], alone, rtol=0, atol=1e-12)
    torch.testing.assert_close(alone, scaled_dot_product_attention(Q, K, V), rtol=0, atol=1e-10)


def test_half_precision_takes_scores_that_fit_once_they_are_scaled():
    """60 · 60 · 128 is beyond float16; divided by √128 it is not."""
    Q = torch.full((1, 128), 60.0, dtype=torch.float16)
    K = torch.cat([Q, Q - 1])
    output, weights = attention(Q, K, torch.eye(2, dtype=torch.float16))
    assert (Q @ K.T).isinf().all()
    assert output.tolist() == weights.tolist() == [[1.0, 0.0]]


def test_a_layer_that_drops_draws_from_the_global_generator_and_does_not_seed_it():
    """As `nn.Dropout`: what is drawn later depends on what was drawn before."""
    layer, x, states = MultiHeadAttention(21, 3, dropout=0.25), torch.ones(2, 5, 21), []
    with torch.random.fork_rng(devices=[]):
        for seed in (0, 1):
            torch.manual_seed(seed)
            before = torch.get_rng_state()
            layer(x)
            states.append(torch.get_rng_state())
            assert not torch.equal(states[-1], before)
    assert not torch.equal(*states)
