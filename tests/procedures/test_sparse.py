"""Few keys, chosen or nearby, give what dense attention gives under the mask that hides the others."""

import re

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from oracle import CAUSAL, CONVENTIONS, budget, normal, reference
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

from surgeon.anatomy.dot_product import attention, dissect
from surgeon.anatomy.mask_reading import as_additive
from surgeon.anatomy.masks import create_window_mask
from surgeon.procedures.topk import TopK, largest, topk_attention, topk_mask
from surgeon.procedures.window import window_attention

SIZES = [(1, 1), (5, 5), (13, 13), (3, 37), (37, 3), (23, 11)]


def inputs(*lead, T=13, S=13, d_k=7, d_v=11, dtype=torch.float64):
    Q, K, V = (normal(*lead, n, d, seed=s, grad=False) for n, d, s in ((T, d_k, 1), (S, d_k, 2), (S, d_v, 3)))
    return tuple(x.to(dtype).requires_grad_() for x in (Q, K, V))


def lower(T, S):
    """Causal, and the last query sees every key."""
    return torch.ones(T, S, dtype=torch.bool).tril(S - T)


def gradients(output, tensors):
    return torch.autograd.grad((output * normal(*output.shape, grad=False).to(output.dtype)).sum(), tensors)


def assert_same(ours, theirs, tensors, tolerance=1e-12):
    torch.testing.assert_close(ours, theirs, rtol=tolerance, atol=tolerance)
    for a, b in zip(gradients(ours, tensors), gradients(theirs, tensors), strict=True):
        torch.testing.assert_close(a, b, rtol=tolerance, atol=tolerance)


def dense(Q, K, V, k, mask=None, scale=True):
    """Attention that sees the k largest scores alone: two masks added, and the second is a constant."""
    scores = dissect(Q, K, V, mask, scale).masked.detach()
    chosen = as_additive(topk_mask(scores, k), scores.shape, dtype=scores.dtype, device=scores.device)
    added = 0 if mask is None else as_additive(mask, scores.shape, dtype=scores.dtype, device=scores.device)
    return attention(Q, K, V, chosen + added, scale)


# The best keys


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


# The nearby keys


@pytest.mark.parametrize("causal", [False, True], ids=["both-sides", "causal"])
@pytest.mark.parametrize("scale", [True, False], ids=["scaled", "unscaled"])
@pytest.mark.parametrize("window", [0, 1, 3, 7, 41])
@pytest.mark.parametrize("T", [1, 5, 23, 37])
def test_window_is_attention_under_the_mask_values_and_gradients(T, window, scale, causal):
    Q, K, V = inputs(2, T=T, S=T)
    ours = window_attention(Q, K, V, window, causal=causal, scale=scale, block=5)
    theirs, _ = attention(Q, K, V, create_window_mask(T, window, causal=causal), scale)
    assert_same(ours, theirs, (Q, K, V))


@pytest.mark.parametrize("size", [1.0, 300.0], ids=["small-scores", "large-scores"])
@pytest.mark.parametrize("lead", [(), (2,), (2, 3), (0,)], ids=str)
def test_window_is_pytorch_s_attention(lead, size):
    Q, K, V = inputs(*lead, T=23, S=23)
    allowed = create_window_mask(23, 4) == 0
    assert_same(window_attention(Q * size, K, V, 4, block=8), reference(Q * size, K, V, allowed), (Q, K, V), 1e-10)


@settings(max_examples=60, deadline=None)
@given(T=st.integers(1, 31), window=st.integers(0, 35), block=st.integers(1, 33), causal=st.booleans())
def test_window_law(T, window, block, causal):
    Q, K, V = inputs(T=T, S=T, d_k=3, d_v=2)
    ours = window_attention(Q, K, V, window, causal=causal, block=block)
    assert_same(ours, attention(Q, K, V, create_window_mask(T, window, causal=causal))[0], (Q, K, V))


@pytest.mark.parametrize("causal", [False, True], ids=["both-sides", "causal"])
def test_a_token_out_of_sight_leaves_no_trace(causal):
    Q, K, V = (x.detach() for x in inputs(T=37, S=37))
    before = window_attention(Q, K, V, 3, causal=causal, block=8)
    K[20] += 1
    V[20] += 1
    changed = (window_attention(Q, K, V, 3, causal=causal, block=8) != before).any(-1).nonzero().flatten().tolist()
    assert changed == list(range(20 if causal else 17, 24))


# Both


BOTH = {
    "topk": lambda Q, K, V, **how: topk_attention(Q, K, V, 3, **how).output,
    "window": lambda Q, K, V, **how: window_attention(Q, K, V, 2, **how),
}
both = pytest.mark.parametrize("sparse", BOTH.values(), ids=BOTH)


@both
def test_first_derivatives_are_those_of_finite_differences(sparse):
    assert torch.autograd.gradcheck(sparse, inputs(2, T=5, S=5, d_k=2, d_v=3))


@both
def test_a_second_derivative_is_refused(sparse):
    Q, K, V = inputs(2)
    name = "topk_attention" if sparse is BOTH["topk"] else "window_attention"
    message = f"{name} can be differentiated once; use attention for second derivatives."
    with pytest.raises(RuntimeError, match=f"^{re.escape(message)}$"):
        torch.autograd.grad(sparse(Q, K, V).sum(), Q, create_graph=True)


@both
def test_one_set_of_keys_serves_many_heads(sparse):
    Q, (_, K, V) = normal(2, 3, 13, 7), inputs(2, 1)
    wide = sparse(Q, K.expand(2, 3, 13, 7), V.expand(2, 3, 13, 11))
    assert_same(sparse(Q, K, V), wide, (Q, K, V))


@both
def test_inputs_need_not_be_contiguous_and_are_left_alone(sparse):
    Q, K, V = (x.detach() for x in inputs(3, 2))
    turned = [x.mT.contiguous().mT for x in (Q, K, V)]
    kept = [x.clone() for x in turned]
    torch.testing.assert_close(sparse(*turned), sparse(Q, K, V), rtol=1e-13, atol=1e-13)
    assert all(torch.equal(x, y) for x, y in zip(turned, kept, strict=True))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32], ids=str)
def test_rounding_stays_within_what_pytorch_allows_itself(dtype):
    Q, K, V = inputs(2, 3, T=31, S=31, d_k=17, d_v=13, dtype=dtype)
    exact = [x.detach().double().requires_grad_() for x in (Q, K, V)]
    top = topk_attention(Q, K, V, 5)
    chosen = torch.zeros(2, 3, 31, 31, dtype=torch.bool).scatter_(-1, top.indices, True)
    for ours, allowed in [(top.output, chosen), (window_attention(Q, K, V, 4), create_window_mask(31, 4) == 0)]:
        right, low = reference(*exact, allowed), reference(Q, K, V, allowed)
        assert ours.dtype == dtype
        assert float((ours.double() - right).detach().abs().max()) <= budget(right.detach(), low.detach())
        triples = zip(gradients(ours, (Q, K, V)), gradients(right, exact), gradients(low, (Q, K, V)), strict=True)
        for mine, true, theirs in triples:
            assert float((mine.double() - true).abs().max()) <= budget(true, theirs)
    assert top.weights.dtype == dtype


class Largest(TorchDispatchMode):
    """The numbers in the largest tensor that any operation gives."""

    numbers = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        for x in result if isinstance(result, (tuple, list)) else [result]:
            self.numbers = max(self.numbers, x.numel() if isinstance(x, torch.Tensor) else 0)
        return result


def most(function, *tensors):
    """That number, of forward and of backward."""
    with Largest() as forward:
        output = function(*tensors)
    with Largest() as backward:
        torch.autograd.grad(output.sum(), tensors)
    assert min(forward.numbers, backward.numbers) >= output.numel()  # something was seen
    return max(forward.numbers, backward.numbers)


def test_no_tensor_of_queries_by_keys_is_made():
    """Twice the inputs, or a block of queries by all keys, or by k keys of the width; dense attention makes T·S."""
    T = 1499
    Q, K, V = inputs(T=T, S=T, d_k=7, d_v=11, dtype=torch.float32)
    assert most(lambda *x: attention(*x)[0], Q, K, V) == T * T
    assert most(lambda *x: window_attention(*x, 13), Q, K, V) <= 2 * max(T * 11, 128 * 128)
    assert most(lambda *x: topk_attention(*x, 13, block_q=16).output, Q, K, V) <= max(2 * 16 * T + 16 * T, T * 13)


def test_twice_the_length_takes_twice_the_products():
    """Multiplications are counted, since times are not to be trusted."""

    def products(T):
        x = normal(2, T, 8)
        with FlopCounterMode(display=False) as counter:
            window_attention(x, x, x, 100, block=64).sum().backward()
        return counter.get_total_flops()

    assert 1.9 < products(2048) / products(1024) < 2.2
    band = 2 * 100 + 3 * 64  # no query meets more keys: the window, and what the tiles hold beyond it
    assert products(1024) <= 7 * 2 * (2 * 1024 * band * 8)  # two products forward, five backward


def bad(function, **changes):
    given = {"Q": torch.ones(2, 5, 7), "K": torch.ones(2, 5, 7), "V": torch.ones(2, 5, 11)} | changes
    return lambda: function(**given)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (bad(topk_attention, k=0), "k must be an integer of at least 1, got 0."),
        (bad(topk_attention, k=2.0), "k must be an integer of at least 1, got 2.0."),
        (bad(topk_attention, k=True), "k must be an integer of at least 1, got True."),
        (bad(topk_attention, k=1, block_q=0), "block_q must be an integer of at least 1, got 0."),
        (
            bad(topk_attention, k=1, K=torch.ones(2, 5, 3)),
            "Q and K must share their last axis (d_k), got 7 and 3.",
        ),
        (
            bad(topk_attention, k=1, mask=torch.ones(5, 7)),
            "mask must end in (queries, keys) = (5, 5), got shape [5, 7].",
        ),
        (lambda: topk_mask(torch.ones(2, 2), -1), "k must be an integer of at least 1, got -1."),
        (bad(window_attention, window=-1), "window must be an integer of at least 0, got -1."),
        (bad(window_attention, window=1.0), "window must be an integer of at least 0, got 1.0."),
        (bad(window_attention, window=True), "window must be an integer of at least 0, got True."),
        (bad(window_attention, window=1, block=0), "block must be an integer of at least 1, got 0."),
        (
            bad(window_attention, window=1, Q=torch.ones(2, 3, 7)),
            "Q and K must have as many queries as keys, got 3 and 5.",
        ),
        (bad(window_attention, window=1, Q=[[1.0]]), "Q must be a floating-point tensor, got list."),
        (
            bad(window_attention, window=1, V=torch.ones(2, 3, 11)),
            "K and V must have as many keys as values, got 5 and 3.",
        ),
    ],
)
def test_bad_input_gets_one_sentence(call, message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        call()


def test_what_topk_gives_has_names():
    Q, K, V = (x.detach() for x in inputs(2))
    output, weights, indices = topk_attention(Q, K, V, 3)
    assert TopK._fields == ("output", "weights", "indices")
    taken = torch.stack([V[b][indices[b]] for b in range(2)])  # [2, T, 3, d_v]
    torch.testing.assert_close(output, (weights[..., None] * taken).sum(-2), rtol=1e-13, atol=1e-14)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@both
def test_a_cuda_device_gives_the_same(sparse):
    Q, K, V = (x.detach() for x in inputs(2))
    on_device = sparse(Q.cuda(), K.cuda(), V.cuda())
    assert on_device.is_cuda
    torch.testing.assert_close(on_device.cpu(), sparse(Q, K, V), rtol=1e-12, atol=1e-12)
