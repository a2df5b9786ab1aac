import re

import pytest
import torch
from foreign import foreign_defaults
from hypothesis import given, settings
from hypothesis import strategies as st
from oracle import normal

from surgeon.anatomy.cache import KeyValueCache, WindowCache
from surgeon.anatomy.heads import MultiHeadAttention, causal_after
from surgeon.anatomy.latent import LatentAttention
from surgeon.anatomy.masks import create_causal_mask, create_padding_mask
from surgeon.anatomy.positions import Alibi, DistanceBias, Rotary, Sinusoidal, count_places

T = 11
no_grad = torch.no_grad()


def built(num_kv_heads, dtype=torch.float64):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return MultiHeadAttention(42, 6, num_kv_heads=num_kv_heads).to(dtype)


def tokens(*lead, dtype=torch.float64):
    return normal(*lead, T, 42, dtype=dtype, grad=False)


def decode(layer, x, sizes, mask=None, capacity=T):
    """Outputs side by side, and weights with a column of zeros for each key that was not there yet."""
    cache, outputs, rows = KeyValueCache(capacity), [], []
    for chunk in x.split(sizes, -2):
        start, stop = len(cache), len(cache) + chunk.shape[-2]
        output, weights = layer(chunk, mask=None if mask is None else mask[..., start:stop, :stop], cache=cache)
        assert len(cache) == weights.shape[-1] == stop
        outputs.append(output)
        rows.append(torch.nn.functional.pad(weights, (0, x.shape[-2] - stop)))
    return torch.cat(outputs, -2), torch.cat(rows, -2), cache


def chunks(draw):
    cuts = sorted(draw(st.sets(st.integers(1, T - 1))))
    return [b - a for a, b in zip([0, *cuts], [*cuts, T], strict=True)]


@settings(max_examples=40, deadline=None)
@given(st.composite(chunks)(), st.sampled_from([1, 2, 3, 6]), st.sampled_from([(), (2,), (2, 3)]))
@no_grad
def test_in_whatever_chunks_a_text_is_read_it_is_the_full_causal_pass(sizes, num_kv_heads, lead):
    layer, x = built(num_kv_heads), tokens(*lead)
    output, weights, _ = decode(layer, x, sizes, capacity=T + 2)
    expected, expected_weights = layer(x, mask=create_causal_mask(T))
    torch.testing.assert_close(output, expected, rtol=0, atol=1e-12)
    torch.testing.assert_close(weights, expected_weights, rtol=0, atol=1e-12)


@pytest.mark.parametrize("sizes", [[1] * T, [T], [5, 1, 2, 3]], ids=str)
@pytest.mark.parametrize("kind", ["for all", "per sequence", "per head", "integer", "additive"])
@no_grad
def test_a_mask_hides_more_and_never_less(sizes, kind):
    """None of these masks is causal: the cache is."""
    layer, x = built(2), tokens(3)
    hidden = torch.rand(3, 6, T, T, generator=torch.Generator().manual_seed(0)) < 0.3
    hidden[..., 4, :] = True  # the fifth token sees nothing
    mask = {
        "for all": ~hidden[0, 0],
        "per sequence": ~hidden[:, 0],
        "per head": ~hidden,
        "additive": torch.zeros(3, T, T).masked_fill(hidden[:, 0], -torch.inf) + normal(T, T, grad=False),
        "integer": (~hidden[:, 0]).int() * 7,
    }[kind]
    causal = torch.ones(T, T, dtype=torch.bool).tril()
    both = mask.masked_fill(~causal, -torch.inf) if kind == "additive" else mask * causal
    output, weights, _ = decode(layer, x, sizes, mask)
    expected, expected_weights = layer(x, mask=both)
    torch.testing.assert_close(output, expected, rtol=0, atol=1e-12)
    torch.testing.assert_close(weights, expected_weights, rtol=0, atol=1e-12)


def test_one_token_after_others_needs_no_mask():
    Q = torch.ones(2, 6, 1, 7)
    assert causal_after(3, None, Q) is None
    assert causal_after(3, Q, Q) is Q


@pytest.mark.parametrize("sizes", [[1] * T, [T], [5, 1, 2, 3]], ids=str)
@no_grad
def test_floating_zeros_and_ones_are_refused_before_a_row_of_zeros_could_open_what_it_blocks(sizes):
    """Cut to the new tokens, such a mask is one of permissions if it has a 1, and else adds nothing."""
    layer, x, permissions = built(2), tokens(3), torch.ones(T, T).tril(-1)  # the first token sees nothing
    message = (
        "mask must be boolean, or numbers to add, where tokens follow a cache, got floating zeros and ones, "
        "of which a row of zeros would block nothing; use mask.bool()."
    )
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        decode(layer, x, sizes, permissions)
    output, weights, _ = decode(layer, x, sizes, permissions.bool())
    expected, expected_weights = layer(x, mask=permissions)
    torch.testing.assert_close(output, expected, rtol=0, atol=1e-12)
    torch.testing.assert_close(weights, expected_weights, rtol=0, atol=1e-12)
    assert (weights[:, :, 0] == 0).all()


@no_grad
def test_zeros_to_add_are_no_permissions_with_a_cache_either():
    layer, x = built(2), tokens(3)
    output, _, _ = decode(layer, x, [5, 1, 2, 3], create_causal_mask(T))  # its last rows are zeros
    torch.testing.assert_close(output, layer(x, mask=create_causal_mask(T))[0], rtol=0, atol=1e-12)


MODES = {"inference": torch.inference_mode, "no_grad": torch.no_grad, "frozen": torch.enable_grad}


@pytest.mark.parametrize("then", MODES)
@pytest.mark.parametrize("first", MODES)
def test_a_cache_goes_on_in_another_mode_than_it_was_filled_in(first, then):
    layer, x = built(2).requires_grad_(False), tokens(2)
    cache, outputs = KeyValueCache(T), []
    for mode, chunk in zip((first, then, first), x.split([5, 2, 4], 1), strict=True):
        with MODES[mode]():
            outputs.append(layer(chunk.clone(), cache=cache)[0])
    expected, _ = layer(x, mask=create_causal_mask(T))
    torch.testing.assert_close(torch.cat(outputs, 1), expected, rtol=0, atol=1e-12)


@no_grad
def test_padding_is_told_over_all_keys():
    layer, x, cache = built(2), tokens(3), KeyValueCache(T)
    layer(x[:, :5], mask=create_padding_mask([1, 3, 5], 5), cache=cache)
    _, weights = layer(x[:, 5:6], mask=create_padding_mask([1, 3, 5], 6), cache=cache)
    assert torch.equal(weights[:, 4, 0] != 0, create_padding_mask([1, 3, 5], 6)[:, 0])


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("num_kv_heads", [1, 2, 6])
@no_grad
def test_its_bytes_are_counted(num_kv_heads, dtype):
    _, _, cache = decode(built(num_kv_heads, dtype), tokens(5, dtype=dtype), [3, 7, 1], capacity=13)
    assert cache.nbytes == 2 * 5 * num_kv_heads * 11 * 7 * dtype.itemsize
    assert cache.capacity == 13
    assert KeyValueCache(13).nbytes == len(KeyValueCache(13)) == 0


def test_what_it_hands_back_stays_and_is_no_copy():
    cache = KeyValueCache(5)
    first = normal(2, 3, 7, seed=1, grad=False), normal(2, 3, 11, seed=2, grad=False)
    K, V = cache.append(*first)
    later = normal(2, 2, 7, seed=3, grad=False), normal(2, 2, 11, seed=4, grad=False)
    all_K, all_V = cache.append(*later)
    assert torch.equal(K, first[0])
    assert torch.equal(V, first[1])
    assert torch.equal(all_K, torch.cat([first[0], later[0]], -2))
    assert torch.equal(all_V, torch.cat([first[1], later[1]], -2))
    assert all_K.data_ptr() == K.data_ptr()
    first[0].zero_()  # what was given is not what is kept
    assert torch.equal(all_K[:, :3], K)
    assert K.all()


def pair(*shape, **options):
    return torch.ones(*shape, **options), torch.ones(*shape, **options)


FULL = "[2, 2, 7] torch.float32 on cpu"


@pytest.mark.parametrize(
    ("K", "V", "message"),
    [
        ([1.0], torch.ones(2, 1, 7), "K must be a floating-point tensor [..., tokens, width], got list."),
        (
            *pair(2, 0, 7),
            "K must be a floating-point tensor [..., tokens, width], got [2, 0, 7] torch.float32 on cpu.",
        ),
        (
            torch.ones(2, 1, 7),
            torch.ones(2, 1, 7).int(),
            "V must be a floating-point tensor [..., tokens, width], got [2, 1, 7] torch.int32 on cpu.",
        ),
        (
            torch.ones(2, 1, 7),
            torch.ones(2, 3, 7),
            "K and V must differ in nothing but their width, "
            "got [2, 1, 7] torch.float32 on cpu and [2, 3, 7] torch.float32 on cpu.",
        ),
        (
            torch.ones(2, 1, 7),
            torch.ones(2, 1, 7).double(),
            "K and V must differ in nothing but their width, "
            "got [2, 1, 7] torch.float32 on cpu and [2, 1, 7] torch.float64 on cpu.",
        ),
        (
            torch.ones(2, 1, 7),
            torch.ones(2, 1, 7, device="meta"),
            "K and V must differ in nothing but their width, "
            "got [2, 1, 7] torch.float32 on cpu and [2, 1, 7] torch.float32 on meta.",
        ),
        (*pair(3, 2, 7), f"K must be as what is kept, {FULL}, got [3, 2, 7] torch.float32 on cpu."),
        (*pair(2, 2, 5), f"K must be as what is kept, {FULL}, got [2, 2, 5] torch.float32 on cpu."),
        (*pair(5, 2, 2, 7), f"K must be as what is kept, {FULL}, got [5, 2, 2, 7] torch.float32 on cpu."),
        (
            *pair(2, 2, 7, dtype=torch.float64),
            f"K must be as what is kept, {FULL}, got [2, 2, 7] torch.float64 on cpu.",
        ),
        (*pair(2, 2, 7, device="meta"), f"K must be as what is kept, {FULL}, got [2, 2, 7] torch.float32 on meta."),
        (
            torch.ones(2, 2, 7),
            torch.ones(2, 2, 5),
            f"V must be as what is kept, {FULL}, got [2, 2, 5] torch.float32 on cpu.",
        ),
        (*pair(2, 3, 7), "cache must hold at most 5 tokens, got 3 to add to 3."),
        (
            *pair(2, 2, 7, requires_grad=True),
            "K and V must come without gradients, got some that require them: use torch.no_grad().",
        ),
    ],
)
def test_bad_input_gets_one_sentence_and_leaves_the_cache_alone(K, V, message):
    cache = KeyValueCache(5)
    kept, _ = cache.append(*pair(2, 3, 7))
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        cache.append(K, V)
    assert len(cache) == 3
    again, _ = cache.append(*pair(2, 2, 7))
    assert torch.equal(again[:, :3], kept)


@pytest.mark.parametrize("name", ["K", "V"])
def test_keys_or_values_alone_must_not_want_gradients_either(name):
    given = {"K": torch.ones(2, 1, 7), "V": torch.ones(2, 1, 7)} | {name: torch.ones(2, 1, 7, requires_grad=True)}
    cache = KeyValueCache(5)
    with pytest.raises(ValueError, match=r"^K and V must come without gradients"):
        cache.append(**given)
    assert len(cache) == 0
    with no_grad:
        all_K, all_V = cache.append(**given)
    assert not all_K.requires_grad
    assert not all_V.requires_grad


@pytest.mark.parametrize("capacity", [0, 1.5, True])
def test_the_capacity_is_a_positive_integer(capacity):
    with pytest.raises(ValueError, match=f"^capacity must be an integer of at least 1, got {capacity!r}.$"):
        KeyValueCache(capacity)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda layer, x, cache: layer(x, x, cache=cache),
            "cache must not come with a context, whose keys do not grow token by token, got both.",
        ),
        (
            lambda layer, x, cache: layer(x, mask=create_causal_mask(T), cache=cache),
            "mask must end in (queries, keys) = (11, 14), got shape [11, 11].",
        ),
        (
            lambda layer, x, cache: layer(x[:, :1], mask=torch.ones(1, 1), cache=cache),
            "mask must end in (queries, keys) = (1, 4), got shape [1, 1].",
        ),
        (lambda layer, x, cache: layer(x, cache=cache), "cache must hold at most 13 tokens, got 11 to add to 3."),
    ],
)
@no_grad
def test_the_layer_refuses_and_keeps_nothing(call, message):
    layer, x, cache = built(2), tokens(2), KeyValueCache(13)
    layer(x[:, :3], cache=cache)
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        call(layer, x, cache)
    assert len(cache) == 3
    expected, _ = layer(x[:, :4], mask=create_causal_mask(4))
    torch.testing.assert_close(layer(x[:, 3:4], cache=cache)[0], expected[:, 3:])


def test_it_refuses_to_cut_gradients_silently():
    with pytest.raises(ValueError, match=r"^K and V must come without gradients"):
        built(2)(tokens(2), cache=KeyValueCache(T))


# A ring

WINDOWS = [(0, 0), (2, 0), (2, 3), (5, 1), (20, 2)]


def banded(window, sinks):
    """What the whole text sees: a causal band, and the first tokens."""
    i, j = torch.arange(T)[:, None], torch.arange(T)
    return (j <= i) & ((i - j <= window) | (j < sinks))


def wound(layer, x, sizes, cache, mask=None, places=None):
    """The outputs of a text that is read in chunks into a ring."""
    outputs = []
    for chunk in x.split(sizes, -2):
        start, stop = len(cache), len(cache) + chunk.shape[-2]
        told = {"mask": None if mask is None else mask[..., start:stop, :stop]}
        told["places"] = None if places is None else places[..., :stop]
        output, weights = layer(chunk, cache=cache, **told)
        assert len(cache) == stop
        torch.testing.assert_close(weights.sum(-1).max(), torch.ones((), dtype=x.dtype))
        outputs.append(output)
    return torch.cat(outputs, -2)


@settings(max_examples=30, deadline=None)
@given(st.composite(chunks)(), st.sampled_from(WINDOWS), st.sampled_from([1, 6]), st.sampled_from([(), (2,)]))
@no_grad
def test_a_ring_is_a_window_over_the_whole(sizes, kept, num_kv_heads, lead):
    (window, sinks), layer, x = kept, built(num_kv_heads), tokens(*lead)
    cache = WindowCache(window, sinks=sinks)
    expected, _ = layer(x, mask=banded(window, sinks))
    torch.testing.assert_close(wound(layer, x, sizes, cache), expected, rtol=0, atol=1e-12)
    assert cache.nbytes == 2 * max(1, *lead, 1) * num_kv_heads * min(T, window + 1 + sinks) * 7 * 8


@pytest.mark.parametrize("sizes", [[1] * T, [T], [5, 1, 2, 3], [2, 9]], ids=str)
@pytest.mark.parametrize("scheme", [Sinusoidal(), Rotary(), Alibi(7), DistanceBias(7)], ids=lambda s: type(s).__name__)
@no_grad
def test_places_are_those_of_the_text_not_of_the_slots(scheme, sizes):
    """Padding first, in two of three texts: places are counted from the first word."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        layer = MultiHeadAttention(42, 7, positions=scheme).double()
    for parameter in scheme.parameters():
        parameter.copy_(normal(*parameter.shape, grad=False))
    x, real = tokens(3), torch.arange(T) >= torch.tensor([[0], [2], [4]])
    mask = (real[:, None] & banded(3, 1)) | torch.eye(T, dtype=torch.bool)
    expected, _ = layer(x, mask=mask, places=count_places(real))
    found = wound(layer, x, sizes, WindowCache(3, sinks=1), mask, count_places(real))
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("sizes", [[1] * T, [5, 1, 2, 3]], ids=str)
@no_grad
def test_numbers_to_add_are_those_of_the_keys(sizes):
    layer, x, bias = built(2), tokens(3), normal(6, T, T, grad=False)
    mask = torch.where(banded(2, 1), bias, -torch.inf).expand(3, 6, T, T)
    found = wound(layer, x, sizes, WindowCache(2, sinks=1), bias.expand(3, 6, T, T))
    torch.testing.assert_close(found, layer(x, mask=mask)[0], rtol=0, atol=1e-12)


@no_grad
def test_latents_lie_in_a_ring_as_well():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        layer = LatentAttention(42, 6, 5, d_rotary=4).double()
    x, cache = tokens(3), WindowCache(2, sinks=1)
    expected, _ = layer(x, mask=banded(2, 1))
    found = torch.cat([layer(chunk, cache=cache)[0] for chunk in x.split([4, 1, 1, 3, 2], 1)], 1)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)


def test_a_token_lies_in_the_slot_of_one_that_is_not_seen_any_more():
    cache, rows = WindowCache(2, sinks=1), []
    for token in range(6):
        coming = cache.coming(1).tolist()
        K, V = cache.append(torch.full((1, 1), float(token)), torch.full((1, 2), float(token)))
        assert K.flatten().tolist() == V[:, 1].tolist() == coming
        rows.append(coming)
    assert rows == [[0], [0, 1], [0, 1, 2], [0, 1, 2, 3], [0, 4, 2, 3], [0, 4, 5, 3]]
    assert cache.coming(2).tolist() == [0, 4, 5, 3, 6, 7]
    assert cache.seen(2).int().tolist() == [[1, 1, 1, 0, 1, 0], [1, 0, 1, 0, 1, 1]]


def test_nothing_that_is_still_seen_is_dropped_while_several_come():
    """A prompt longer than the window: keys are handed back before they are overwritten."""
    cache, K = WindowCache(1), torch.arange(5.0)[:, None]
    handed, _ = cache.append(K, K)
    assert torch.equal(handed, K)
    assert cache.nbytes == 2 * 2 * 4
    handed, _ = cache.append(K[:2] + 5, K[:2] + 5)
    assert handed.flatten().tolist() == [4, 3, 5, 6]


def test_a_sliding_window_counts_the_token_itself():
    ring = WindowCache(sliding_window=3, sinks=2)
    assert (ring.window, ring.sinks, ring.capacity) == (2, 2, 5)
    assert WindowCache(2).window == 2


def test_an_unbounded_cache_tells_its_places_too():
    cache = KeyValueCache(5)
    assert cache.coming(2).tolist() == [0, 1]
    cache.append(torch.ones(2, 7), torch.ones(2, 7))
    assert cache.coming(1).tolist() == [0, 1, 2]
    assert cache.coming(1, "meta").device.type == WindowCache(1).coming(2, "meta").device.type == "meta"


@pytest.mark.parametrize("then", MODES)
@pytest.mark.parametrize("first", MODES)
def test_a_ring_goes_on_in_another_mode_than_it_was_filled_in(first, then):
    layer, x = built(2).requires_grad_(False), tokens(2)
    cache, outputs = WindowCache(3), []
    for mode, chunk in zip((first, then, first), x.split([5, 1, 5], 1), strict=True):
        with MODES[mode]():
            outputs.append(layer(chunk.clone(), cache=cache)[0])
    expected, _ = layer(x, mask=banded(3, 0))
    torch.testing.assert_close(torch.cat(outputs, 1), expected, rtol=0, atol=1e-12)


@no_grad
def test_a_ring_works_where_its_tokens_are_whatever_the_defaults():
    layer, x, cache = built(2), tokens(2), WindowCache(2)
    with foreign_defaults():
        found = torch.cat([layer(chunk, cache=cache)[0] for chunk in x.split([1, 1, 1, 1, 7], 1)], 1)
    torch.testing.assert_close(found, layer(x, mask=banded(2, 0))[0], rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (WindowCache, "one of window and sliding_window must be given, got none."),
        (lambda: WindowCache(1, sliding_window=2), "one of window and sliding_window must be given, got both."),
        (lambda: WindowCache(-1), "window must be an integer of at least 0, got -1."),
        (lambda: WindowCache(sliding_window=0), "sliding_window must be an integer of at least 1, got 0."),
        (lambda: WindowCache(1, sinks=-1), "sinks must be an integer of at least 0, got -1."),
        (lambda: WindowCache(1, sinks=0.5), "sinks must be an integer of at least 0, got 0.5."),
    ],
)
def test_a_ring_is_made_of_numbers(call, message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        call()


def test_a_ring_refuses_what_a_cache_refuses_and_is_left_alone():
    cache = WindowCache(2)
    cache.append(*pair(2, 3, 7))
    for K, V in (pair(2, 2, 5), pair(3, 2, 7), pair(2, 1, 7, dtype=torch.float64), pair(2, 1, 7, requires_grad=True)):
        with pytest.raises(ValueError, match=r"^K (and V )?must"):
            cache.append(K, V)
    assert len(cache) == 3


@pytest.mark.parametrize("past", [0, 4])
@no_grad
def test_a_mask_is_of_all_tokens_that_came(past):
    layer, x, cache = built(2), tokens(2), WindowCache(1)
    if past:
        layer(x[:, :past], cache=cache)
    message = f"mask must end in (queries, keys) = (1, {past + 1}), got shape [1, {past + 2}]."
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        layer(x[:, past : past + 1], mask=torch.ones(1, past + 2).bool(), cache=cache)
    assert len(cache) == past
