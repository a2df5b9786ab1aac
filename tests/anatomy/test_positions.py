import math
import re

import pytest
import torch
from foreign import foreign_defaults
from oracle import CAUSAL, normal
from torch import nn

from surgeon import KeyValueCache, MultiHeadAttention, create_padding_mask
from surgeon.anatomy.heads import split_heads
from surgeon.anatomy.positions import (
    Alibi,
    DistanceBias,
    Positions,
    Rotary,
    Sinusoidal,
    alibi,
    alibi_slopes,
    count_places,
    distance_buckets,
    distances,
    rotary,
    rotary_angles,
    rotary_frequencies,
    rotate,
    sinusoidal,
)
from surgeon.models.transformer import TransformerLM, make_model

PAIRS = ["halves", "neighbours"]


def learned(num_heads, **options):
    """A learned bias that has learned something."""
    scheme = DistanceBias(num_heads, num_buckets=8, max_distance=11, **options).double()
    with torch.no_grad():
        scheme.table.copy_(normal(8, num_heads, grad=False))
    return scheme


SCHEMES = {
    "sinusoidal": lambda H: Sinusoidal(0.3, base=101.0),
    "rotary": lambda H: Rotary(base=101.0),
    "rotary, neighbours": lambda H: Rotary(pairs="neighbours", stretch=3.0),
    "rotary, a share": lambda H: Rotary(share=0.5),
    "rotary, own frequencies": lambda H: Rotary(frequencies=torch.tensor([0.7, 0.2, 0.05])),
    "alibi": Alibi,
    "distance": learned,
    "distance, causal": lambda H: learned(H, causal=True),
}
schemes = pytest.mark.parametrize("scheme", SCHEMES.values(), ids=SCHEMES)


def built(positions, **options):
    """Three query heads of width 14."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return MultiHeadAttention(42, 3, positions=positions, **options).double()


def fitted(scheme):
    """Half of a head's width is odd here, where a share of it is turned: four sevenths are not."""
    made = scheme(3)
    return Rotary(share=4 / 7) if isinstance(made, Rotary) and made.share == 0.5 else made


def turned_by_complex_numbers(x, angles, pairs):
    """The same rotation, as the complex plane knows it."""
    n = angles.shape[-1]
    if pairs == "neighbours":
        z = torch.view_as_complex(x[..., : 2 * n].unflatten(-1, (n, 2)).contiguous())
    else:
        z = torch.complex(x[..., :n], x[..., n : 2 * n])
    z = z * torch.polar(torch.ones_like(angles), angles)
    back = torch.view_as_real(z).flatten(-2) if pairs == "neighbours" else torch.cat([z.real, z.imag], -1)
    return torch.cat([back, x[..., 2 * n :]], -1)


def test_waves_are_what_the_paper_says_entry_by_entry():
    waves = sinusoidal(torch.tensor([0.0, 1.0, 5.0, 113.0], dtype=torch.float64), 6)
    for row, t in zip(waves, [0, 1, 5, 113], strict=True):
        for i in range(3):
            angle = t / 10_000 ** (2 * i / 6)
            assert math.isclose(row[2 * i], math.sin(angle), abs_tol=1e-12)
            assert math.isclose(row[2 * i + 1], math.cos(angle), abs_tol=1e-12)


def test_the_product_of_two_waves_depends_on_their_distance_alone():
    waves = sinusoidal(torch.arange(13).double(), 14, base=101.0)
    products = waves @ waves.mT
    frequencies = rotary_frequencies(14, base=101.0, dtype=torch.float64)
    apart = distances(torch.arange(13), torch.arange(13))
    torch.testing.assert_close(products, (apart[..., None] * frequencies).cos().sum(-1))


def test_frequencies_fall_from_one_by_the_same_factor():
    found = rotary_frequencies(14, base=101.0, stretch=5.0, dtype=torch.float64)
    assert torch.allclose(found, torch.tensor([101.0 ** (-i / 7) / 5 for i in range(7)], dtype=torch.float64))


@pytest.mark.parametrize("pairs", PAIRS)
@pytest.mark.parametrize("n", [2, 5, 7])
def test_a_rotation_is_a_product_of_complex_numbers(pairs, n):
    x, angles = normal(2, 3, 11, 14, grad=False), normal(2, 1, 11, n, grad=False)
    turned = rotate(x, angles, pairs=pairs)
    torch.testing.assert_close(turned, turned_by_complex_numbers(x, angles, pairs))
    torch.testing.assert_close(turned.norm(dim=-1), x.norm(dim=-1))
    assert torch.equal(turned[..., 2 * n :], x[..., 2 * n :])


def test_the_two_ways_to_pair_columns_are_one_after_a_permutation():
    q, k, places = normal(5, 14, grad=False), normal(5, 14, seed=1, grad=False), torch.arange(5)
    order = torch.arange(14).reshape(7, 2).mT.flatten()  # 0 2 4 ... 1 3 5 ...
    neighbours = rotary(q, places, pairs="neighbours") @ rotary(k, places, pairs="neighbours").mT
    halves = rotary(q[:, order], places) @ rotary(k[:, order], places).mT
    torch.testing.assert_close(neighbours, halves)
    assert not torch.allclose(neighbours, rotary(q, places) @ rotary(k, places).mT)


@pytest.mark.parametrize("pairs", PAIRS)
@pytest.mark.parametrize("share", [1.0, 4 / 7])
def test_a_rotary_score_depends_on_the_distance_alone(pairs, share):
    q, k = normal(5, 14, grad=False), normal(5, 14, seed=1, grad=False)
    at = lambda start: (
        rotary(q, offset=start, share=share, pairs=pairs) @ rotary(k, offset=start, share=share, pairs=pairs).mT
    )
    torch.testing.assert_close(at(7), at(0))
    assert not torch.allclose(at(0), q @ k.mT)


def test_places_offset_base_stretch_share_and_frequencies_say_the_same_in_two_ways():
    x = normal(3, 5, 14, grad=False)
    places = torch.tensor([2.0, 3.0, 4.0, 5.0, 6.0], dtype=torch.float64)
    assert torch.equal(rotary(x, offset=2), rotary(x, places))
    torch.testing.assert_close(rotary(x, places, stretch=4.0), rotary(x, places / 4))
    eight = rotary_frequencies(8, base=101.0, dtype=torch.float64)
    by_share, by_hand = rotary(x, places, base=101.0, share=4 / 7), rotary(x, places, frequencies=eight)
    torch.testing.assert_close(by_share, by_hand)
    torch.testing.assert_close(by_share, rotate(x, rotary_angles(places, eight)))


def test_places_of_a_batch_are_each_sequence_s_own():
    x, places = normal(3, 2, 5, 14, grad=False), torch.tensor([[0, 1, 2, 3, 4], [7, 8, 9, 10, 11], [2, 2, 2, 2, 2]])
    turned = Rotary().turn(x, places)
    for b in range(3):
        assert torch.equal(turned[b], Rotary().turn(x[b], places[b]))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_half_precision_is_turned_in_float32(dtype):
    """Angles in half precision would be off by whole turns at place 10,007."""
    x = normal(5, 14, dtype=dtype, grad=False)
    turned = rotary(x, offset=10_007)
    assert turned.dtype == dtype
    exact = rotary(x.double(), offset=10_007)
    torch.testing.assert_close(turned.double(), exact, rtol=0, atol=2 * torch.finfo(dtype).eps * float(x.abs().max()))


@pytest.mark.parametrize(
    ("num_heads", "slopes"),
    [
        (1, [2**-8]),
        (2, [2**-4, 2**-8]),
        (4, [2**-2, 2**-4, 2**-6, 2**-8]),
        (3, [2**-4, 2**-8, 2**-2]),
        (6, [2**-2, 2**-4, 2**-6, 2**-8, 2**-1, 2**-3]),
    ],
)
def test_slopes_are_powers_of_two(num_heads, slopes):
    assert alibi_slopes(num_heads).tolist() == slopes


def test_distance_lowers_scores_by_the_slope():
    bias = alibi(2, torch.tensor([4, 5]), torch.arange(7))
    for h, slope in enumerate([2**-4, 2**-8]):
        for t, place in enumerate([4, 5]):
            assert bias[h, t].tolist() == [-slope * abs(place - s) for s in range(7)]


def test_buckets_are_for_one_distance_each_then_for_more_and_the_last_for_the_rest():
    behind = -torch.arange(200)
    found = distance_buckets(behind, num_buckets=12, max_distance=50, causal=True)
    assert found[:6].tolist() == [0, 1, 2, 3, 4, 5]
    assert (found.diff() >= 0).all()
    assert found.unique().tolist() == list(range(12))
    assert (found[50:] == 11).all()
    both = distance_buckets(torch.arange(-99, 100), num_buckets=12, max_distance=50)
    assert torch.equal(both[100:], both[:99].flip(0) + 6)  # ahead: as behind, in buckets of its own
    ahead = distance_buckets(torch.arange(1, 99), num_buckets=12, causal=True)
    assert not ahead.any()


def test_padding_that_comes_first_is_not_counted():
    real = torch.tensor([[False, False, True, True, True], [True, True, True, True, False]])
    assert count_places(real).tolist() == [[0, 0, 0, 1, 2], [0, 1, 2, 3, 3]]


def by_hand(layer, x, allowed, places):
    """The layer's output, each part of its scores written down by itself."""
    scheme, d, T = layer.positions, 14, x.shape[-2]
    if isinstance(scheme, Sinusoidal):
        x = x + scheme.amplitude * sinusoidal(places.double(), 42, base=scheme.base)
    Q, K, V = (split_heads(W(x), W.weight.shape[0] // d) for W in (layer.W_Q, layer.W_K, layer.W_V))
    if isinstance(scheme, Rotary):
        n = 7 if scheme.share == 1 else round(7 * scheme.share)
        frequencies = rotary_frequencies(2 * n, base=scheme.base, stretch=scheme.stretch, dtype=torch.float64)
        if scheme.frequencies is not None:
            frequencies = scheme.frequencies.double()
        angles = places[:, None] * frequencies
        Q, K = (turned_by_complex_numbers(z, angles, scheme.pairs) for z in (Q, K))
    K, V = (z.repeat_interleave(3 // z.shape[-3], -3) for z in (K, V))
    added = torch.zeros(3, T, T, dtype=torch.float64)
    for h in range(3):
        for t in range(T):
            for s in range(T):
                far = int(places[s] - places[t])
                if isinstance(scheme, Alibi):
                    added[h, t, s] = -float(alibi_slopes(3)[h]) * abs(far)
                if isinstance(scheme, DistanceBias):
                    added[h, t, s] = scheme.table[scheme.bucket(torch.tensor(far)), h]
    added = added.masked_fill(~allowed, -torch.inf)
    heads = nn.functional.scaled_dot_product_attention(Q, K, V, attn_mask=added)
    return layer.W_O(heads.transpose(-3, -2).flatten(-2))


@schemes
@pytest.mark.parametrize("num_kv_heads", [3, 1])
def test_a_layer_with_positions_is_what_its_parts_say(scheme, num_kv_heads):
    layer = built(fitted(scheme), num_kv_heads=num_kv_heads)
    x, places = normal(2, 5, 42), torch.tensor([3, 5, 6, 10, 11])
    output, weights = layer(x, mask=CAUSAL, places=places)
    torch.testing.assert_close(output, by_hand(layer, x, CAUSAL, places))
    torch.testing.assert_close(weights.sum(-1), torch.ones(2, 3, 5, dtype=torch.float64))
    without = built(None, num_kv_heads=num_kv_heads)(x, mask=CAUSAL)[0]
    assert not torch.allclose(output, without)


@schemes
def test_equal_words_get_different_rows_and_without_a_scheme_the_same(scheme):
    x = normal(5, 42, grad=False)[[0, 1, 2, 0, 3]]
    rows, _ = built(fitted(scheme))(x)
    assert not torch.allclose(rows[0], rows[3])
    rows, _ = built(None)(x)
    torch.testing.assert_close(rows[0], rows[3])


@schemes
def test_the_shift_law(scheme):
    """All places seven later: scores that know the distance alone do not move."""
    layer, x = built(fitted(scheme)), normal(2, 5, 42, grad=False)
    here, there = (layer(x, places=torch.arange(5) + shift)[0] for shift in (0, 7))
    assert torch.allclose(here, there) != isinstance(layer.positions, Sinusoidal)


@schemes
@torch.no_grad()
@pytest.mark.parametrize("chunks", [[1, 1, 1, 1, 1], [3, 2], [2, 1, 2]], ids=str)
def test_a_cache_answers_as_the_whole(scheme, chunks):
    layer, x, cache = built(fitted(scheme), num_kv_heads=1), normal(2, 5, 42, grad=False), KeyValueCache(5)
    expected, _ = layer(x, mask=CAUSAL)
    found = [layer(chunk, cache=cache)[0] for chunk in x.split(chunks, 1)]
    torch.testing.assert_close(torch.cat(found, 1), expected)


@schemes
@torch.no_grad()
def test_padding_on_either_side_changes_nothing(scheme):
    """On the left the places are counted from the first real token, or the last part would stand elsewhere."""
    layer, x = built(fitted(scheme)), normal(3, 42, grad=False)
    alone, _ = layer(x, mask=CAUSAL[:3, :3])
    pad = torch.full((2, 42), 0.7, dtype=torch.float64)
    right, _ = layer(torch.cat([x, pad])[None], mask=create_padding_mask([3], 5) & CAUSAL)
    torch.testing.assert_close(right[0, :3], alone)
    real = torch.tensor([[False, False, True, True, True]])
    left = lambda **at: layer(torch.cat([pad, x])[None], mask=real[:, None] & CAUSAL, **at)[0][0, 2:]
    torch.testing.assert_close(left(places=count_places(real)), alone)
    # Where distances alone count, counting from the padding does no harm.
    assert torch.allclose(left(), alone) != isinstance(layer.positions, Sinusoidal)


@schemes
@torch.no_grad()
def test_a_padded_batch_is_continued_from_a_cache(scheme):
    layer, x, cache = built(fitted(scheme)), normal(5, 42, grad=False), KeyValueCache(7)
    expected, _ = layer(x, mask=CAUSAL)
    pad = torch.full((2, 42), 0.7, dtype=torch.float64)
    real = torch.tensor([[False, False, *[True] * 5]])
    places, hidden = count_places(real), real[:, None]
    layer(torch.cat([pad, x[:3]])[None], mask=hidden[..., :5], cache=cache, places=places[:, :5])
    for t in (3, 4):
        row, _ = layer(x[None, t : t + 1], mask=hidden[..., : t + 3], cache=cache, places=places[:, : t + 3])
        torch.testing.assert_close(row[0], expected[t : t + 1])


@schemes
def test_gradients_are_those_of_numerical_differences(scheme):
    layer, x = built(fitted(scheme)), normal(1, 3, 42)
    parameters = [*layer.positions.parameters()]
    assert torch.autograd.gradcheck(lambda x, *_: layer(x, mask=CAUSAL[:3, :3])[0].sum(-1), (x, *parameters))


@schemes
def test_a_layer_works_where_its_tokens_are_whatever_the_defaults(scheme):
    layer, x = built(fitted(scheme)), normal(2, 5, 42, grad=False)
    layer.float()
    expected, _ = layer(x.float())
    with foreign_defaults():
        found, _ = layer(x.float())
    assert found.device == x.device
    torch.testing.assert_close(found, expected)


def test_a_layer_without_positions_has_the_state_that_it_always_had():
    keys = {f"W_{name}.{part}" for name in "QKVO" for part in ("weight", "bias")}
    assert set(built(None).state_dict()) == keys
    assert set(built(Rotary()).state_dict()) == keys
    assert set(built(learned(3)).state_dict()) == keys | {"positions.table"}


# What others have: transformers' own layers, with our numbers in them.


def copied(theirs, ours):
    """The numbers of a linear map of theirs."""
    with torch.no_grad():
        ours.weight.copy_(theirs.weight)
        ours.bias.copy_(torch.zeros_like(ours.bias) if theirs.bias is None else theirs.bias)


def agree(ours, theirs, x):
    """In value and gradient."""
    torch.testing.assert_close(ours, theirs)
    (a,), (b,) = (torch.autograd.grad(y.square().sum(), x) for y in (ours, theirs))
    torch.testing.assert_close(a, b)


def drawn(make):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return make().double().eval()


def test_llama_turns_halves():
    from transformers.models.llama import modeling_llama as llama

    config = llama.LlamaConfig(hidden_size=42, num_attention_heads=3, num_key_value_heads=1, rope_theta=101.0)
    config._attn_implementation = "eager"
    theirs = drawn(lambda: llama.LlamaAttention(config, 0))
    base = config.rope_parameters["rope_theta"]
    ours = built(Rotary(base=base), num_kv_heads=1)
    for a, b in zip("qkvo", (ours.W_Q, ours.W_K, ours.W_V, ours.W_O), strict=True):
        copied(getattr(theirs, f"{a}_proj"), b)
    x, places = normal(2, 5, 42), torch.arange(5)[None] + 3
    # their tables are float32, rounded once; in float64 they are as ours
    angles = places[..., None] * base ** (-torch.arange(0, 14, 2).double() / 14)
    tables = tuple(torch.cat([wave(angles)] * 2, -1) for wave in (torch.cos, torch.sin))
    own = llama.LlamaRotaryEmbedding(config)(x, places)
    torch.testing.assert_close(own, tables, rtol=0, atol=1e-6)
    mask = torch.zeros(1, 1, 5, 5, dtype=torch.float64).masked_fill(~CAUSAL, -torch.inf)
    expected, _ = theirs(x, position_embeddings=tables, attention_mask=mask)
    agree(ours(x, mask=CAUSAL, places=places[0])[0], expected, x)


def test_gpt_neox_turns_a_share_of_the_width():
    from transformers.models.gpt_neox import modeling_gpt_neox as neox

    config = neox.GPTNeoXConfig(hidden_size=48, num_attention_heads=3, rotary_pct=0.25)
    config._attn_implementation = "eager"
    theirs = drawn(lambda: neox.GPTNeoXAttention(config, 0))
    ours = MultiHeadAttention(48, 3, positions=Rotary(share=0.25)).double()
    weight, bias = (z.unflatten(0, (3, 3, 16)) for z in (theirs.query_key_value.weight, theirs.query_key_value.bias))
    with torch.no_grad():
        for i, W in enumerate((ours.W_Q, ours.W_K, ours.W_V)):
            W.weight.copy_(weight[:, i].flatten(0, 1))
            W.bias.copy_(bias[:, i].flatten(0, 1))
    copied(theirs.dense, ours.W_O)
    x, places = normal(2, 5, 48), torch.arange(5)[None]
    cos, sin = neox.GPTNeoXRotaryEmbedding(config)(x.float(), places)
    assert cos.shape[-1] == 4
    angles = places[..., None] * 10_000 ** (-torch.arange(0, 4, 2).double() / 4)
    tables = tuple(torch.cat([wave(angles)] * 2, -1) for wave in (torch.cos, torch.sin))
    torch.testing.assert_close((cos.double(), sin.double()), tables, rtol=0, atol=1e-6)
    mask = torch.zeros(1, 1, 5, 5, dtype=torch.float64).masked_fill(~CAUSAL, -torch.inf)
    expected = theirs(x, attention_mask=mask, position_embeddings=tables)[0]
    agree(ours(x, mask=CAUSAL)[0], expected, x)


@pytest.mark.parametrize("causal", [False, True], ids=["encoder", "decoder"])
def test_t5_learns_a_bias_by_distance(causal):
    from transformers.models.t5 import modeling_t5 as t5

    config = t5.T5Config(
        d_model=42,
        d_kv=14,
        num_heads=3,
        relative_attention_num_buckets=8,
        relative_attention_max_distance=11,
        is_decoder=causal,
    )
    theirs = drawn(lambda: t5.T5Attention(config, has_relative_attention_bias=True, layer_idx=0))
    ours = built(learned(3, causal=causal), scale=False)
    for a, b in zip("qkvo", (ours.W_Q, ours.W_K, ours.W_V, ours.W_O), strict=True):
        copied(getattr(theirs, a), b)
    with torch.no_grad():
        theirs.relative_attention_bias.weight.copy_(ours.positions.table)
    x = normal(2, 17, 42)
    allowed = torch.ones(17, 17, dtype=torch.bool).tril() if causal else torch.ones(17, 17, dtype=torch.bool)
    mask = torch.zeros(1, 1, 17, 17, dtype=torch.float64).masked_fill(~allowed, -torch.inf)
    agree(ours(x, mask=allowed)[0], theirs(x, mask=mask)[0], x)


def test_buckets_are_t5_s():
    from transformers.models.t5.modeling_t5 import T5Attention

    far = torch.arange(-300, 301)
    for causal in (False, True):
        for num_buckets, max_distance in ((32, 128), (8, 11), (12, 50)):
            expected = T5Attention._relative_position_bucket(far, not causal, num_buckets, max_distance)
            ours = distance_buckets(far, num_buckets=num_buckets, max_distance=max_distance, causal=causal)
            assert torch.equal(ours, expected)


@pytest.mark.parametrize("num_heads", [3, 6])
def test_bloom_lowers_scores_by_distance(num_heads):
    """It adds the slope times the key's place: along a row that differs by a constant, which softmax does not see."""
    from transformers.models.bloom import modeling_bloom as bloom

    config = bloom.BloomConfig(hidden_size=42, n_head=num_heads, hidden_dropout=0.0, attention_dropout=0.0)
    theirs = drawn(lambda: bloom.BloomAttention(config, 0))
    with torch.random.fork_rng():
        ours = MultiHeadAttention(42, num_heads, positions=Alibi(num_heads)).double()
    d = 42 // num_heads
    with torch.no_grad():
        for i, W in enumerate((ours.W_Q, ours.W_K, ours.W_V)):
            W.weight.copy_(theirs.query_key_value.weight.unflatten(0, (num_heads, 3, d))[:, i].flatten(0, 1))
            W.bias.copy_(theirs.query_key_value.bias.unflatten(0, (num_heads, 3, d))[:, i].flatten(0, 1))
    copied(theirs.dense, ours.W_O)
    x = normal(2, 5, 42)
    slopes = bloom.build_alibi_tensor(torch.ones(2, 5), num_heads, torch.float64)
    mask = torch.zeros(2, 1, 5, 5, dtype=torch.float64).masked_fill(~CAUSAL, -torch.inf)
    expected = theirs(x, torch.zeros_like(x), slopes, mask)[0]
    agree(ours(x, mask=CAUSAL)[0], expected, x)


# In the book's language model


def test_a_model_without_its_table_still_starts_as_the_others():
    """Models that differ in their positions alone start with the same numbers."""
    learned_table, turned, waves = (
        make_model(7, 5, d_model=12, num_heads=3, positions=p) for p in ("learned", Rotary(), Sinusoidal())
    )
    assert "position.weight" in learned_table.state_dict()
    assert "position.weight" not in turned.state_dict()
    for name, x in turned.state_dict().items():
        assert torch.equal(x, learned_table.state_dict()[name])
        assert torch.equal(x, waves.state_dict()[name])


@torch.no_grad()
@pytest.mark.parametrize("in_layers", [True, False], ids=["every layer", "the input"])
def test_a_scheme_is_asked_once_at_the_input_or_in_every_layer(in_layers):
    scheme = Rotary() if in_layers else Sinusoidal()
    model = make_model(7, 5, d_model=12, num_heads=3, positions=scheme).double()
    tokens = torch.tensor([[3, 1, 4, 1, 6]])
    x = scheme.add(model.word(tokens), torch.arange(5))
    for block in model.blocks:
        assert (block.attention.positions is scheme) == in_layers
        x, _ = block(x, CAUSAL)
    torch.testing.assert_close(model(tokens, CAUSAL)[0], model.unembed(model.norm(x)))


def test_a_text_without_positions_and_mask_is_a_set():
    tokens = torch.tensor([[3, 1, 4, 5, 6]])
    none, turned = (make_model(7, 5, d_model=12, num_heads=3, positions=p).double() for p in (None, Rotary()))
    for model, same in ((none, True), (turned, False)):
        assert torch.allclose(model(tokens.flip(1))[0].flip(1), model(tokens)[0]) == same


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: sinusoidal([1, 2], 4), "places must be a tensor of real numbers, got list."),
        (lambda: sinusoidal(torch.tensor([True]), 4), "places must be a tensor of real numbers, got torch.bool."),
        (lambda: sinusoidal(torch.arange(3), 5), "width must be even, got 5."),
        (lambda: sinusoidal(torch.arange(3), 0), "width must be an integer of at least 1, got 0."),
        (lambda: sinusoidal(torch.arange(3), 4, base=1.0), "base must be finite and above 1, got 1.0."),
        (lambda: rotary_frequencies(4, base=math.inf), "base must be finite and above 1, got inf."),
        (lambda: rotary_frequencies(4, stretch=0.0), "stretch must be positive and finite, got 0.0."),
        (lambda: rotary_frequencies(4, stretch=math.inf), "stretch must be positive and finite, got inf."),
        (
            lambda: rotary(torch.ones(3)),
            "x must be a floating-point tensor [..., tokens, width], got torch.float32 [3].",
        ),
        (
            lambda: rotary(torch.ones(3, 4).int()),
            "x must be a floating-point tensor [..., tokens, width], got torch.int32 [3, 4].",
        ),
        (lambda: rotary(7), "x must be a floating-point tensor [..., tokens, width], got int."),
        (lambda: rotary(torch.ones(3, 4), torch.arange(5)), "places must be one for each of 3 tokens, got shape [5]."),
        (lambda: rotary(torch.ones(3, 4), torch.tensor(5)), "places must be one for each of 3 tokens, got shape []."),
        (lambda: rotary(torch.ones(3, 4), offset=-1), "offset must be an integer of at least 0, got -1."),
        (
            lambda: rotary(torch.ones(3, 4), share=0.25),
            "share must be in (0, 1] and give an even number of columns of 4, got 0.25.",
        ),
        (
            lambda: rotary(torch.ones(3, 4), share=1.5),
            "share must be in (0, 1] and give an even number of columns of 4, got 1.5.",
        ),
        (
            lambda: rotary(torch.ones(3, 5)),
            "share must be in (0, 1] and give an even number of columns of 5, got 1.0.",
        ),
        (
            lambda: rotate(torch.ones(3, 5), torch.ones(3, 3)),
            "angles must be at most one for two columns of x (5), got 3.",
        ),
        (
            lambda: rotate(torch.ones(3, 4), torch.ones(3, 2), pairs="thirds"),
            "pairs must be one of halves, neighbours, got 'thirds'.",
        ),
        (lambda: Rotary(pairs="half"), "pairs must be one of halves, neighbours, got 'half'."),
        (lambda: alibi_slopes(0), "num_heads must be an integer of at least 1, got 0."),
        (lambda: alibi(2, torch.arange(3), 3), "places must be a tensor of real numbers, got int."),
        (lambda: Alibi(0), "num_heads must be an integer of at least 1, got 0."),
        (lambda: DistanceBias(0), "num_heads must be an integer of at least 1, got 0."),
        (
            lambda: DistanceBias(3, num_buckets=6),
            "num_buckets must be a multiple of 4 (of 2, and at least 4, if causal), got 6.",
        ),
        (
            lambda: DistanceBias(3, num_buckets=2, causal=True),
            "num_buckets must be a multiple of 4 (of 2, and at least 4, if causal), got 2.",
        ),
        (lambda: DistanceBias(3, max_distance=8), "max_distance must be more than 8, got 8."),
        (lambda: DistanceBias(3, causal=1), "causal must be True or False, got 1."),
        (lambda: count_places(torch.ones(3)), "real must be a boolean tensor [..., tokens], got torch.float32."),
        (lambda: count_places([True]), "real must be a boolean tensor [..., tokens], got list."),
        (
            lambda: MultiHeadAttention(21, 3, positions="rotary"),
            "positions must be a scheme of surgeon.anatomy.positions, got 'rotary'.",
        ),
        (
            lambda: built(Alibi(3))(torch.ones(5, 42).double(), torch.ones(7, 42).double()),
            "context must not come with positions, which are those of one text, got both.",
        ),
        (
            lambda: built(None)(torch.ones(5, 42).double(), places=torch.arange(5)),
            "places must come with a layer that has positions, got some for one that has none.",
        ),
        (
            lambda: built(Alibi(3))(torch.ones(2, 5, 42).double(), places=torch.arange(7)),
            "places must have shape [5] or [2, 5], got [7].",
        ),
        (
            lambda: TransformerLM(7, 5, positions="rotary"),
            "positions must be \"learned\", None, or a scheme of surgeon.anatomy.positions, got 'rotary'.",
        ),
    ],
)
def test_bad_input_gets_one_sentence(call, message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        call()


def test_a_scheme_that_changes_nothing_changes_nothing():
    layer, x = built(Positions()), normal(2, 5, 42, grad=False)
    assert torch.equal(layer(x, mask=CAUSAL)[0], built(None)(x, mask=CAUSAL)[0])
