import math
import re
import subprocess
import sys

import pytest
import torch
from foreign import foreign_defaults
from hypothesis import given, settings
from hypothesis import strategies as st
from oracle import CAUSAL, CONVENTIONS, budget, normal, reference

from surgeon import create_causal_mask, create_padding_mask, create_reverse_mask
from surgeon.anatomy.dot_product import attention, common_shape, dissect

LEADING = [(), (2,), (2, 3)]
DTYPES = [torch.float16, torch.bfloat16, torch.float32, torch.float64]


def inputs(*lead, T=5, S=5, d_k=7, d_v=11, dtype=torch.float64):
    return (
        normal(*lead, T, d_k, seed=1, dtype=dtype),
        normal(*lead, S, d_k, seed=2, dtype=dtype),
        normal(*lead, S, d_v, seed=3, dtype=dtype),
    )


def gradients(output, *tensors):
    return torch.autograd.grad((output * normal(*output.shape, grad=False).to(output.dtype)).sum(), tensors)


@pytest.mark.parametrize("scale", [True, False])
@pytest.mark.parametrize("lead", LEADING, ids=str)
@pytest.mark.parametrize("S", [5, 13])
def test_it_is_pytorch_s_attention(lead, S, scale):
    Q, K, V = inputs(*lead, S=S)
    output, weights = attention(Q, K, V, scale=scale)
    expected = reference(Q, K, V, scale=scale)
    torch.testing.assert_close(output, expected, rtol=1e-13, atol=1e-13)
    torch.testing.assert_close(weights.sum(-1), torch.ones_like(weights[..., 0]), rtol=1e-14, atol=0)
    for ours, theirs in zip(gradients(output, Q, K, V), gradients(expected, Q, K, V), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("name", CONVENTIONS)
@pytest.mark.parametrize("lead", LEADING, ids=str)
def test_every_mask_convention_blocks_alike_forward_and_backward(name, lead):
    Q, K, V = inputs(*lead)
    output, weights = attention(Q, K, V, CONVENTIONS[name])
    expected = reference(Q, K, V, CAUSAL)
    torch.testing.assert_close(output, expected, rtol=1e-13, atol=1e-13)
    assert (weights[..., ~CAUSAL] == 0).all()
    for ours, theirs in zip(gradients(output, Q, K, V), gradients(expected, Q, K, V), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-13)


def test_masks_of_a_batch_and_of_a_padding():
    Q, K, V = inputs(3)
    mask = create_padding_mask([1, 3, 5], 5)
    torch.testing.assert_close(attention(Q, K, V, mask)[0], reference(Q, K, V, mask.expand(3, 5, 5)))
    for b, length in enumerate([1, 3, 5]):
        alone, _ = attention(Q[b], K[b, :length], V[b, :length])
        torch.testing.assert_close(attention(Q, K, V, mask)[0][b], alone)


@pytest.mark.parametrize(("T", "S"), [(1, 1), (5, 5), (3, 7), (7, 3)])
@pytest.mark.parametrize("additive", [False, True], ids=["boolean", "additive"])
def test_blocked_rows_are_zero_and_pass_no_nan_back(T, S, additive):
    """(7, 3) leaves four queries without a key."""
    Q, K, V = inputs(2, T=T, S=S)
    mask = torch.ones(T, S, dtype=torch.bool).tril(S - T)
    if additive:
        mask = torch.zeros(T, S).masked_fill(~mask, -torch.inf)
    output, weights = attention(Q, K, V, mask)
    output[:, -1].sum().backward()
    dead = max(T - S, 0)
    assert (weights[:, :dead] == 0).all()
    assert (output[:, :dead] == 0).all()
    assert all(x.grad.isfinite().all() for x in (Q, K, V))
    assert (Q.grad[:, :-1] == 0).all()


@pytest.mark.parametrize("name", CONVENTIONS)
def test_nothing_to_look_at_gives_zero_gradients_everywhere(name):
    Q, K, V = inputs(2)
    mask = CONVENTIONS[name] * 1
    if mask.is_floating_point() and mask.min() == -torch.inf:
        mask = torch.full_like(mask, -torch.inf)
    elif not mask.is_floating_point():
        mask = torch.zeros_like(mask, dtype=torch.bool if name == "boolean" else mask.dtype)
    else:
        mask[1:] = 0  # one 1 must stay, or the zeros would be additive
    output, weights = attention(Q, K, V, mask)
    output[:, 1:].sum().backward()
    assert (weights[:, 1:] == 0).all()
    assert (output[:, 1:] == 0).all()
    assert all((x.grad == 0).all() for x in (Q, K, V))


def test_stages_follow_from_each_other():
    Q, K, V = inputs(2, S=5)
    stages = dissect(Q, K, V, create_causal_mask(5))
    torch.testing.assert_close(stages.scores, torch.einsum("btd,bsd->bts", Q, K))
    torch.testing.assert_close(stages.scaled, stages.scores / math.sqrt(7))
    assert torch.equal(stages.masked == -torch.inf, ~CAUSAL.expand(2, 5, 5))
    assert torch.equal(stages.masked[:, CAUSAL], stages.scaled[:, CAUSAL])
    torch.testing.assert_close(stages.weights, torch.softmax(stages.masked, -1))
    torch.testing.assert_close(stages.output, stages.weights @ V)
    assert torch.equal(dissect(Q, K, V, scale=False).scaled, stages.scores)
    output, weights = attention(Q, K, V, create_causal_mask(5))
    assert torch.equal(output, stages.output)
    assert torch.equal(weights, stages.weights)


@pytest.mark.parametrize("mask", [None, "causal", "dead"])
def test_first_and_second_derivatives(mask):
    Q, K, V = inputs(2, T=3, S=3, d_k=2, d_v=5)
    masks = {
        "causal": create_causal_mask(3),
        "dead": create_reverse_mask(3) + torch.tensor([[0, -torch.inf, -torch.inf]]),
    }
    function = lambda q, k, v: attention(q, k, v, masks.get(mask))
    assert torch.autograd.gradcheck(function, (Q, K, V))
    assert torch.autograd.gradgradcheck(function, (Q, K, V))


@pytest.mark.parametrize("dtype", DTYPES[:3], ids=str)
@pytest.mark.parametrize("masked", [False, True], ids=["open", "causal"])
def test_rounding_stays_within_what_pytorch_allows_itself(dtype, masked):
    Q, K, V = inputs(2, 3, T=31, S=31, d_k=17, d_v=13, dtype=dtype)
    allowed = torch.ones(31, 31, dtype=torch.bool).tril() if masked else None
    exact_inputs = [x.detach().double().requires_grad_() for x in (Q, K, V)]
    exact, low = reference(*exact_inputs, allowed), reference(Q, K, V, allowed)
    output, weights = attention(Q, K, V, allowed)
    assert output.dtype == weights.dtype == dtype
    assert float((output.double() - exact).detach().abs().max()) <= budget(exact.detach(), low.detach())
    triples = zip(gradients(output, Q, K, V), gradients(exact, *exact_inputs), gradients(low, Q, K, V), strict=True)
    for ours, right, theirs in triples:
        assert float((ours.double() - right).abs().max()) <= budget(right, theirs)


def test_half_precision_does_not_overflow_in_the_product():
    """60 · 60 · 128 is beyond float16; divided by √128 it is not."""
    Q = torch.full((2, 128), 60.0, dtype=torch.float16)
    K = torch.tensor([[60.0], [59.0]], dtype=torch.float16).expand(2, 128)
    V = torch.eye(2, dtype=torch.float16)
    stages = dissect(Q, K, V)
    assert (Q @ K.T).isinf().any()
    assert stages.scores.isfinite().all()
    assert torch.equal(stages.output, torch.tensor([[1, 0], [1, 0]], dtype=torch.float16))


def test_inputs_need_not_be_contiguous_and_are_left_alone():
    Q, K, V = (x.detach() for x in inputs(3, 2))
    turned = [x.transpose(-1, -2).contiguous().transpose(-1, -2) for x in (Q, K, V)]
    kept = [x.clone() for x in turned]
    assert not turned[0].is_contiguous()
    assert torch.equal(attention(*turned, create_causal_mask(5))[0], attention(Q, K, V, create_causal_mask(5))[0])
    assert all(torch.equal(x, y) for x, y in zip(turned, kept, strict=True))


def test_one_set_of_keys_serves_many_heads():
    Q, (_, K, V) = normal(2, 3, 5, 7), inputs(2, 1)
    output, weights = attention(Q, K, V)
    assert weights.shape == (2, 3, 5, 5)
    torch.testing.assert_close(output, reference(Q, K.expand(2, 3, 5, 7), V.expand(2, 3, 5, 11)))


@settings(max_examples=30, deadline=None)
@given(st.permutations(range(7)), st.permutations(range(5)))
def test_keys_have_no_order_and_queries_no_neighbours(keys, queries):
    Q, K, V = (x.detach() for x in inputs(2, S=7))
    output, weights = attention(Q, K, V)
    shuffled, moved = attention(Q[:, queries], K[:, keys], V[:, keys])
    torch.testing.assert_close(shuffled, output[:, queries])
    torch.testing.assert_close(moved, weights[:, queries][:, :, keys])


def test_each_output_lies_between_the_values():
    Q, K, V = inputs(2, S=7)
    output, _ = attention(Q, K, V)
    assert (output <= V.amax(-2, keepdim=True)).all()
    assert (output >= V.amin(-2, keepdim=True)).all()


def test_the_future_leaves_no_trace_in_a_causal_output():
    Q, K, V = inputs()
    for i in range(5):
        dK, dV = torch.autograd.grad(attention(Q, K, V, create_causal_mask(5))[0][i].sum(), (K, V))
        assert (dK[i + 1 :] == 0).all()
        assert (dV[i + 1 :] == 0).all()
        assert (dV[: i + 1] != 0).all()


def test_the_gradient_of_a_query_is_a_covariance_of_the_keys():
    """d(output · u)/dq = Cov_a(k, v · u) / √d_k, the keys and values weighted by a."""
    Q, K, V = inputs(T=1)
    u = normal(11, grad=False)
    output, a = attention(Q, K, V)
    (dq,) = torch.autograd.grad((output @ u).sum(), Q)
    value, a = V @ u, a[0]
    covariance = a @ (K * value[:, None]) - (a @ K) * (a @ value)
    torch.testing.assert_close(dq[0], covariance / math.sqrt(7))


def test_dropout_keeps_the_expectation_and_follows_its_generator():
    Q, K, V = (x.detach() for x in inputs(2003))
    generator = torch.Generator().manual_seed(0)
    output, weights = attention(Q, K, V, dropout=0.3, generator=generator)
    _, whole = attention(Q, K, V)
    dropped = weights == 0
    assert abs(float(dropped.double().mean()) - 0.3) < 5 * math.sqrt(0.3 * 0.7 / dropped.numel())
    torch.testing.assert_close(weights[~dropped], whole[~dropped] / 0.7)
    torch.testing.assert_close(output, weights @ V)
    spread = (whole.square().sum() * 0.3 / 0.7).sqrt()
    assert abs(float(weights.sum() - whole.sum())) < 5 * float(spread)
    again, _ = attention(Q, K, V, dropout=0.3, generator=torch.Generator().manual_seed(0))
    assert torch.equal(again, output)


def test_global_randomness_is_left_alone():
    state = torch.get_rng_state()
    attention(*inputs(2), dropout=0.5, generator=torch.Generator().manual_seed(0))
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_what_it_computes_and_draws_follows_from_the_inputs_alone(dtype):
    """Not from the default precision or the default device: the same weights drop."""
    Q, K, V = inputs(2, dtype=dtype)
    draw = lambda: torch.Generator().manual_seed(0)
    expected, expected_weights = attention(Q, K, V, CAUSAL, dropout=0.5, generator=draw())
    generator = draw()
    with foreign_defaults():
        output, weights = attention(Q, K, V, CAUSAL, dropout=0.5, generator=generator)
    assert torch.equal(output, expected)
    assert torch.equal(weights, expected_weights)


def test_a_draw_equal_to_the_probability_keeps_its_weight():
    """Draws lie in [0, 1): those below p, and no others, are a share of p. One more would be dropped too often."""
    Q, K, V = (torch.ones(1, 1) for _ in "QKV")
    p = float(torch.rand(1, generator=torch.Generator().manual_seed(0)))
    for dropout, kept in [(p, True), (p + 2**-24, False)]:
        _, weights = attention(Q, K, V, dropout=dropout, generator=torch.Generator().manual_seed(0))
        assert (float(weights) > 0) == kept


@settings(deadline=None)  # the first look at shapes that differ imports a part of PyTorch
@given(shapes=st.lists(st.lists(st.integers(0, 3), max_size=3), min_size=1, max_size=3))
def test_shapes_have_in_common_what_pytorch_says(shapes):
    shapes = [torch.Size(shape) for shape in shapes]
    try:
        expected = torch.broadcast_shapes(*shapes)
    except RuntimeError:
        with pytest.raises(RuntimeError):
            common_shape(*shapes)
    else:
        assert common_shape(*shapes) == expected


def test_shapes_that_are_alike_load_no_algebra():
    """PyTorch's own look at shapes imports SymPy, which takes longer than all the rest of a small check."""
    code = (
        "import sys, torch, surgeon; x = torch.ones(2, 3, 5); mask = torch.ones(3, 3).bool(); {}; print(*sys.modules)"
    )
    for call in ("surgeon.attention(x, x, x, mask)", "surgeon.flash_attention(x, x, x, mask)"):
        done = subprocess.run([sys.executable, "-c", code.format(call)], capture_output=True, text=True, check=True)
        assert "sympy" not in done.stdout.split()


def test_a_batch_of_nothing_gives_nothing():
    output, weights = attention(torch.ones(0, 5, 7), torch.ones(0, 13, 7), torch.ones(0, 13, 11))
    assert output.shape == (0, 5, 11)
    assert weights.shape == (0, 5, 13)


def bad(**changes):
    given = {"Q": torch.ones(2, 5, 7), "K": torch.ones(2, 5, 7), "V": torch.ones(2, 5, 11)} | changes
    return lambda: attention(**given)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (bad(Q=[[1.0]]), "Q must be a floating-point tensor, got list."),
        (bad(K=torch.ones(2, 5, 7, dtype=torch.int64)), "K must be a floating-point tensor, got torch.int64."),
        (bad(V=torch.ones(5)), "V must have at least two axes (sequence, width), got shape [5]."),
        (bad(Q=torch.ones(2, 0, 7)), "Q must hold at least one token of width at least 1, got shape [2, 0, 7]."),
        (bad(K=torch.ones(2, 0, 7)), "K must hold at least one token of width at least 1, got shape [2, 0, 7]."),
        (bad(V=torch.ones(2, 5, 0)), "V must hold at least one token of width at least 1, got shape [2, 5, 0]."),
        (
            bad(Q=torch.ones(2, 5, 7).double()),
            "Q, K and V must share one dtype, got torch.float64, torch.float32 and torch.float32.",
        ),
        (
            bad(V=torch.ones(2, 5, 11, device="meta")),
            "Q, K and V must be on one device, got cpu, cpu and meta.",
        ),
        (bad(K=torch.ones(2, 5, 3)), "Q and K must share their last axis (d_k), got 7 and 3."),
        (bad(V=torch.ones(2, 3, 11)), "K and V must have as many keys as values, got 5 and 3."),
        (bad(Q=torch.ones(3, 5, 7)), "Q, K and V must have leading axes that broadcast, got [3], [2], [2]."),
        (bad(K=torch.ones(3, 5, 7)), "Q, K and V must have leading axes that broadcast, got [2], [3], [2]."),
        (bad(V=torch.ones(3, 5, 11)), "Q, K and V must have leading axes that broadcast, got [2], [2], [3]."),
        (bad(dropout=1.0), "dropout must be a probability in [0, 1), got 1.0."),
        (bad(dropout=-0.1), "dropout must be a probability in [0, 1), got -0.1."),
        (bad(dropout=math.nan), "dropout must be a probability in [0, 1), got nan."),
        (bad(mask=torch.ones(5, 7)), "mask must end in (queries, keys) = (5, 5), got shape [5, 7]."),
        (bad(mask=torch.ones(2, 5)), "mask must end in (queries, keys) = (5, 5), got shape [2, 5]."),
    ],
)
def test_bad_input_gets_one_sentence(call, message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        call()


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_a_cuda_device_gives_the_same(dtype):
    Q, K, V = (x.detach() for x in inputs(2, dtype=dtype))
    on_device, weights = attention(Q.cuda(), K.cuda(), V.cuda(), create_causal_mask(5, "cuda"))
    exact = reference(Q.double(), K.double(), V.double(), CAUSAL)
    assert weights.is_cuda
    assert float((on_device.cpu().double() - exact).abs().max()) <= budget(exact, reference(Q, K, V, CAUSAL))
