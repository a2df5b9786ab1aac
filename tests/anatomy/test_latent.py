import math
import re

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from oracle import CAUSAL, budget, normal, reference
from torch.utils.flop_counter import FlopCounterMode

from surgeon import KeyValueCache, LatentAttention, MultiHeadAttention, create_causal_mask
from surgeon.anatomy.heads import split_heads
from surgeon.anatomy.latent import by_head
from surgeon.anatomy.positions import rotary

T = 11
no_grad = torch.no_grad()
ways = pytest.mark.parametrize("absorbed", [False, True], ids=["made", "absorbed"])
turns = pytest.mark.parametrize("d_rotary", [0, 2, 6])


def built(d_rotary=2, dtype=torch.float64):
    """Three heads of width 7, from a latent of 5."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return LatentAttention(21, 3, 5, d_rotary=d_rotary).to(dtype)


def tokens(*lead, grad=False, dtype=torch.float64):
    return normal(*lead, T, 21, grad=grad, dtype=dtype)


def turned(x):
    """Neighbouring columns turned by complex numbers; a token's place is its row."""
    n = x.shape[-1]
    if n == 0:
        return x
    angles = torch.arange(x.shape[-2]).double()[:, None] * 10_000.0 ** (-torch.arange(0, n, 2).double() / n)
    pairs = torch.view_as_complex(x.double().unflatten(-1, (n // 2, 2)).contiguous())
    return torch.view_as_real(pairs * torch.polar(torch.ones_like(angles), angles)).flatten(-2).to(x.dtype)


def by_formula(layer, x):
    """Head by head, with PyTorch's attention, under a causal mask."""
    n, heads = layer.d_rotary, []
    c, k_turned = layer.W_DKV(x)[..., :5], turned(layer.W_DKV(x)[..., 5:])
    for h in range(3):
        q = layer.W_Q(x)[..., (7 + n) * h : (7 + n) * (h + 1)]
        W_UK, W_UV = (W.weight[7 * h : 7 * (h + 1)].mT for W in (layer.W_UK, layer.W_UV))
        Q, K = torch.cat([q[..., :7], turned(q[..., 7:])], -1), torch.cat([c @ W_UK, k_turned], -1)
        heads.append(reference(Q, K, c @ W_UV, create_causal_mask(T) == 0))
    return layer.W_O(torch.cat(heads, -1))


@ways
@turns
@pytest.mark.parametrize("lead", [(), (2,), (2, 3)], ids=str)
def test_it_is_what_the_formula_says_head_by_head(d_rotary, lead, absorbed):
    layer, x = built(d_rotary), tokens(*lead)
    output, weights = layer(x, mask=create_causal_mask(T), absorbed=absorbed)
    torch.testing.assert_close(output, by_formula(layer, x))
    assert weights.shape == (*lead, 3, T, T)
    torch.testing.assert_close(weights.sum(-1), torch.ones(*lead, 3, T, dtype=torch.float64))


@turns
@pytest.mark.parametrize(
    "mask",
    [None, CAUSAL, CAUSAL.expand(2, 5, 5), torch.rand(2, 3, 5, 5, generator=torch.Generator().manual_seed(0)) < 0.6],
    ids=["open", "causal", "of sequences", "of heads"],
)
def test_absorbed_is_the_same_in_value_and_gradient(d_rotary, mask):
    layer, x = built(d_rotary), tokens(2, grad=True)
    found = []
    for absorbed in (False, True):
        output, weights = layer(x[:, :5], mask=mask, absorbed=absorbed)
        loss = output.square().sum() + (weights * normal(2, 3, 5, 5, grad=False)).sum()
        found.append((output, weights, *torch.autograd.grad(loss, [x, *layer.parameters()])))
    for made, absorbed in zip(*found, strict=True):
        torch.testing.assert_close(absorbed, made, rtol=0, atol=1e-12)


@ways
@turns
def test_the_gradient_is_the_derivative(d_rotary, absorbed):
    layer, x = built(d_rotary), normal(3, 21)
    assert torch.autograd.gradcheck(lambda x: layer(x, mask=create_causal_mask(3), absorbed=absorbed), x)


@ways
def test_transformers_own_layer_is_this_one(absorbed):
    """DeepSeek-V2's, with our numbers, and without what it normalises."""
    from transformers.models.deepseek_v2 import modeling_deepseek_v2 as deepseek

    config = deepseek.DeepseekV2Config(
        hidden_size=21,
        num_attention_heads=3,
        num_key_value_heads=3,
        q_lora_rank=None,
        kv_lora_rank=5,
        qk_nope_head_dim=7,
        qk_rope_head_dim=6,
        v_head_dim=7,
        attention_bias=True,
    )
    config._attn_implementation = "eager"
    with torch.random.fork_rng():
        theirs = deepseek.DeepseekV2Attention(config, 0).double().eval()
    theirs.kv_a_layernorm = torch.nn.Identity()
    theirs.q_proj = torch.nn.Linear(21, 39).double()  # theirs has no bias here
    layer = built(6)
    per_head = layer.W_Q.weight, layer.W_Q.bias
    # ours are side by side in a head already, as theirs are
    with no_grad:
        for a, b in zip((theirs.q_proj.weight, theirs.q_proj.bias), per_head, strict=True):
            a.copy_(b)
        for a, b in ((theirs.kv_a_proj_with_mqa, layer.W_DKV), (theirs.o_proj, layer.W_O)):
            a.weight.copy_(b.weight)
            a.bias.copy_(b.bias)
        up = [W.weight.unflatten(0, (3, 7)) for W in (layer.W_UK, layer.W_UV)]
        theirs.kv_b_proj.weight.copy_(torch.cat(up, 1).flatten(0, 1))
    x = tokens(2, grad=True)
    angles = torch.arange(T).double()[None, :, None] * 10_000.0 ** (-torch.arange(0, 6, 2).double() / 6)
    turn = torch.polar(torch.ones_like(angles), angles)
    mask = create_causal_mask(T).double()[None, None]
    expected, expected_weights = theirs(x, position_embeddings=turn, attention_mask=mask)
    output, weights = layer(x, mask=create_causal_mask(T), absorbed=absorbed)
    # they turn in float32
    torch.testing.assert_close(output, expected, rtol=0, atol=1e-6)
    torch.testing.assert_close(weights, expected_weights, rtol=0, atol=1e-6)
    ours, others = (torch.autograd.grad(y.square().sum(), x)[0] for y in (output, expected))
    torch.testing.assert_close(ours, others, rtol=0, atol=1e-5)


# The cache


def decode(layer, x, sizes, ways, capacity=T):
    cache, outputs = KeyValueCache(capacity), []
    for chunk, absorbed in zip(x.split(sizes, -2), ways, strict=True):
        outputs.append(layer(chunk, cache=cache, absorbed=absorbed)[0])
    return torch.cat(outputs, -2), cache


def chunks(draw):
    cuts = sorted(draw(st.sets(st.integers(1, T - 1))))
    sizes = [b - a for a, b in zip([0, *cuts], [*cuts, T], strict=True)]
    return sizes, [draw(st.booleans()) for _ in sizes]


@settings(max_examples=40, deadline=None)
@given(st.composite(chunks)(), st.sampled_from([0, 2, 6]), st.sampled_from([(), (2,), (2, 3)]))
@no_grad
def test_in_whatever_chunks_and_ways_a_text_is_read_it_is_the_full_causal_pass(how, d_rotary, lead):
    layer, x = built(d_rotary), tokens(*lead)
    expected, _ = layer(x, mask=create_causal_mask(T))
    torch.testing.assert_close(decode(layer, x, *how, capacity=T + 2)[0], expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64], ids=str)
@turns
@no_grad
def test_its_bytes_are_those_of_the_latent_and_of_what_turns_whatever_the_heads(d_rotary, dtype):
    _, cache = decode(built(d_rotary, dtype), tokens(2, dtype=dtype), [3, 7, 1], [True] * 3)
    assert cache.nbytes == 2 * T * (5 + d_rotary) * dtype.itemsize
    with torch.random.fork_rng():
        one_head, cache = LatentAttention(21, 1, 5, d_rotary=d_rotary).to(dtype), KeyValueCache(T)
    one_head(tokens(2, dtype=dtype), cache=cache)
    assert cache.nbytes == 2 * T * (5 + d_rotary) * dtype.itemsize


@no_grad
def test_what_is_kept_is_the_latent_unturned_and_columns_that_are_turned_once():
    layer, x, cache = built(), tokens(), KeyValueCache(T)
    layer(x[:8], cache=cache)
    layer(x[8:10], cache=cache)
    row = torch.zeros(1, 1, 5, dtype=torch.float64), torch.zeros(1, 1, 2, dtype=torch.float64)
    c, turned = (kept[0, :10] for kept in cache.append(*row))
    expected = layer.W_DKV(x[:10])
    torch.testing.assert_close(c, expected[:, :5])
    torch.testing.assert_close(turned, rotary(expected[:, 5:], pairs="neighbours"))


@no_grad
def test_a_step_does_the_operations_that_are_said():
    """Products of matrices, for one text; below r d / (r - d) = 19.25 tokens after many, absorbing does fewer."""
    with torch.random.fork_rng():
        layer = LatentAttention(35, 5, 11, d_rotary=2)  # heads of width 7

    def counted(new, past, absorbed):
        cache = KeyValueCache(past + new)
        cache.append(torch.zeros(1, past, 11), torch.zeros(1, past, 2))  # one head
        with FlopCounterMode(display=False) as counter:
            layer(torch.zeros(new, 35), cache=cache, absorbed=absorbed)
        assert len(cache) == past + new
        outside = 2 * new * 35 * (35 + 5 * 2 + 11 + 2 + 35)  # W_Q, W_DKV, W_O
        return counter.get_total_flops() - outside

    for new, past in ((1, 13), (3, 17)):
        S = past + new
        made = 2 * 5 * (2 * S * 11 * 7 + new * S * (7 + 2 + 7))
        absorbed = 2 * 5 * (2 * new * 11 * 7 + new * S * (11 + 2 + 11))
        assert (counted(new, past, False), counted(new, past, True)) == (made, absorbed)
    assert counted(19, 20_000, True) < counted(19, 20_000, False)
    assert counted(20, 20_000, True) > counted(20, 20_000, False)


# Places


@ways
def test_only_distances_count_so_padding_in_front_changes_nothing(absorbed):
    layer, x = built(6), tokens()
    padded = torch.cat([normal(3, 21, seed=1, grad=False), x])
    mask = torch.ones(T + 3, T + 3, dtype=torch.bool).tril()
    mask[:, :3] = False
    output, weights = layer(padded, mask=mask, absorbed=absorbed)
    expected, expected_weights = layer(x, mask=create_causal_mask(T))
    torch.testing.assert_close(output[3:], expected, rtol=0, atol=1e-12)
    torch.testing.assert_close(weights[:, 3:, 3:], expected_weights, rtol=0, atol=1e-12)


@turns
def test_without_turned_columns_the_order_of_the_keys_does_not_count(d_rotary):
    layer, x = built(d_rotary), tokens()
    output, _ = layer(x)
    same = torch.allclose(layer(x.flip(0))[0].flip(0), output)
    assert same == (d_rotary == 0)


def test_turned_keys_cannot_be_absorbed_another_matrix_stands_between_for_each_distance():
    """A score of a query at 13 and a key `k` before it, keys made of the latent and turned: q R(k) W_UK' c."""
    layer, x = built(0), tokens()
    W_Q, W_UK = layer.W_Q.weight[:6].mT, by_head(layer.W_UK, 3)[0, :, :6]  # six of head 0's columns: pairs
    c = x @ layer.W_DKV.weight.mT
    eye, places = torch.eye(6, dtype=torch.float64), torch.arange(14)
    between = torch.stack(
        [W_Q @ rotary(eye, torch.full((6,), k), base=7.0) @ W_UK.mT for k in range(14)]  # [14, 21, 5]
    )
    for k in places:
        q = rotary(x[:1] @ W_Q, torch.tensor([13]), base=7.0)
        key = rotary(c @ W_UK, torch.full((T,), 13 - int(k)), base=7.0)
        torch.testing.assert_close(q @ key.mT, x[:1] @ between[k] @ c.mT)
    torch.testing.assert_close(between[0], W_Q @ W_UK.mT)
    apart = torch.cdist(between.flatten(1), between.flatten(1)) / between[0].norm()
    assert apart.fill_diagonal_(math.inf).min() > 0.01
    # and no few of them serve for all: they span as many dimensions as a head has columns
    assert torch.linalg.matrix_rank(between.flatten(1)) == 6


# What it can do


@pytest.mark.parametrize("num_kv_heads", [1, 2, 6])
@ways
def test_a_layer_with_shared_heads_is_one_whose_latent_is_all_that_it_keeps(num_kv_heads, absorbed):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        shared = MultiHeadAttention(42, 6, num_kv_heads=num_kv_heads).double()
        width = 7 * num_kv_heads
        layer = LatentAttention(42, 6, 2 * width).double()
    picked = torch.eye(width, dtype=torch.float64).unflatten(0, (num_kv_heads, 7))
    picked = picked.repeat_interleave(6 // num_kv_heads, 0).flatten(0, 1)  # [42, width]: neighbours share
    none = torch.zeros_like(picked)
    with no_grad:
        layer.load_state_dict(
            {
                **{name: value for name, value in shared.state_dict().items() if name[:3] in ("W_Q", "W_O")},
                "W_DKV.weight": torch.cat([shared.W_K.weight, shared.W_V.weight]),
                "W_DKV.bias": torch.cat([shared.W_K.bias, shared.W_V.bias]),
                "W_UK.weight": torch.cat([picked, none], 1),
                "W_UV.weight": torch.cat([none, picked], 1),
            }
        )
    x = normal(2, T, 42, grad=False)
    for ours, theirs in zip(layer(x, absorbed=absorbed), shared(x), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-12)


def test_the_scores_of_all_heads_have_at_most_the_latent_s_rank():
    with torch.random.fork_rng():
        layer = LatentAttention(42, 6, 11).double()
    x = normal(37, 42, grad=False)
    Q, c = split_heads(layer.W_Q(x), 6), layer.W_DKV(x)
    stack = (Q @ (c @ by_head(layer.W_UK, 6)).mT).flatten(0, 1)
    assert torch.linalg.matrix_rank(stack) == 11


@ways
@turns
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
@no_grad
def test_half_precision_comes_out_as_near_as_pytorch_s_own_attention_brings_it(d_rotary, dtype, absorbed):
    layer, x = built(d_rotary, dtype), tokens(2, dtype=dtype)
    exact = by_formula(built(d_rotary, dtype).double(), x.double())
    output, weights = layer(x, mask=create_causal_mask(T), absorbed=absorbed)
    assert output.dtype == weights.dtype == dtype
    assert float((output.double() - exact).abs().max()) <= budget(exact, by_formula(layer, x))


# What it refuses


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: LatentAttention(0, 1, 5), "d_model must be an integer of at least 1, got 0."),
        (
            lambda: LatentAttention(21, 2, 5),
            "num_heads must be a positive integer that divides d_model (21), got 2.",
        ),
        (lambda: LatentAttention(21, 3, 0), "d_latent must be an integer of at least 1, got 0."),
        (lambda: LatentAttention(21, 3, 5, d_rotary=3), "d_rotary must be even, got 3."),
        (lambda: LatentAttention(21, 3, 5, d_rotary=-2), "d_rotary must be an integer of at least 0, got -2."),
        (lambda: built()(torch.ones(5, 7)), "x must have shape [..., tokens, d_model = 21], got [5, 7]."),
        (lambda: built()(torch.ones(21)), "x must have shape [..., tokens, d_model = 21], got [21]."),
        (lambda: built()([1.0]), "x must have shape [..., tokens, d_model = 21], got list."),
        (
            lambda: built()(torch.ones(0, 21)),
            "x must hold at least one token of width at least 1, got shape [0, 21].",
        ),
        (
            lambda: built()(tokens(), mask=CAUSAL),
            "mask must end in (queries, keys) = (11, 11), got shape [5, 5].",
        ),
        (lambda: built()(tokens(), absorbed=1), "absorbed must be True or False, got 1."),
    ],
)
def test_what_does_not_fit_gets_one_sentence(call, message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        call()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda layer, x, cache: layer(x, cache=cache), "cache must hold at most 13 tokens, got 11 to add to 3."),
        (
            lambda layer, x, cache: layer(x[:, :1], mask=torch.ones(1, 1), cache=cache),
            "mask must end in (queries, keys) = (1, 4), got shape [1, 1].",
        ),
        (
            lambda layer, x, cache: layer(x[0], cache=cache),
            "K must be as what is kept, [2, 1, 11, 5] torch.float64 on cpu, got ",
        ),
    ],
)
@ways
@no_grad
def test_it_refuses_and_keeps_nothing(call, message, absorbed):
    layer, x, cache = built(), tokens(2), KeyValueCache(13)
    layer(x[:, :3], cache=cache)
    with pytest.raises(ValueError, match=f"^{re.escape(message)}"):
        call(layer, x, cache)
    assert len(cache) == 3
    expected, _ = layer(x[:, :4], mask=create_causal_mask(4))
    torch.testing.assert_close(layer(x[:, 3:4], cache=cache, absorbed=absorbed)[0], expected[:, 3:])


def test_it_refuses_to_cut_gradients_silently():
    with pytest.raises(ValueError, match=r"^K and V must come without gradients"):
        built()(tokens(2), cache=KeyValueCache(T))
