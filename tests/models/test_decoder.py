"""Language models of a few thousand numbers: against transformers' Llama, and cuts by their laws."""

import copy
import math
import re

import pytest
import torch
from foreign import foreign_defaults
from llama import ask, llama
from torch.nn.functional import silu

from surgeon import create_causal_mask, create_reverse_mask, create_window_mask
from surgeon.anatomy.cache import KeyValueCache
from surgeon.anatomy.groups import grouped_attention
from surgeon.anatomy.heads import merge_heads, split_heads
from surgeon.anatomy.positions import Alibi, DistanceBias, Positions, Rotary, Sinusoidal, rotary
from surgeon.models.cuts import Cut, own_diagonal, silent, top_k, uniform, unscaled, windowed
from surgeon.models.decoder import Sizes
from surgeon.models.encoder import Encoder
from surgeon.models.language_model import _choose, untrained

SIZES = Sizes(37, layers=3, heads=6, key_heads=2, d_k=10, width=42, inner=29, base=500.0, epsilon=1e-3, limit=64)
TEXT = [5, 0, 36, 7, 7, 11, 2, 30, 19, 23, 1]
T, L, H = len(TEXT), SIZES.layers, SIZES.heads
CLOSE = {"rtol": 0.0, "atol": 1e-12}


@pytest.fixture(scope="module")
def model():
    """Large enough numbers that its heads have something to say."""
    return untrained(SIZES, seed=3, spread=0.6).double()


@pytest.fixture
def x(model):
    return model.embed(torch.tensor([TEXT])).requires_grad_()


def last(model, x, cuts=()):
    *_, step = model.walk(x, cuts)
    return step.x[0]


def reached(model, x, t, cuts):
    """Which tokens the output at `t` depends on."""
    (gradient,) = torch.autograd.grad(last(model, x, cuts)[t].sum(), x)
    return (gradient[0] != 0).any(-1)


# The oracle


@pytest.mark.parametrize("key_heads", [1, 2, 3, 6])
def test_it_is_transformers_llama(key_heads):
    """To single precision, in which theirs keeps its norms and its angles."""
    model = untrained(SIZES._replace(key_heads=key_heads), seed=5, spread=0.6)
    theirs, trace = ask(llama(model), torch.tensor([TEXT])), model.trace(TEXT)
    pairs = {
        "logits": (trace.logits, theirs.logits[0]),
        "weights": (trace.weights, torch.cat(theirs.attentions)),
        "hidden": (trace.hidden[:-1], torch.cat(theirs.hidden_states[:-1])),
        "normed": (model.norm(trace.hidden[-1]), theirs.hidden_states[-1][0]),
    }
    for name, (ours, expected) in pairs.items():
        assert (ours - expected).abs().max() < 1e-4 * max(1, expected.std()), name


def test_each_layer_is_our_grouped_attention(model):
    trace = model.trace(TEXT)
    layer = model.layers[1]
    z = layer.norm_1(trace.hidden[1])
    Q, K, V = (split_heads(W(z), n) for W, n in ((layer.W_Q, 6), (layer.W_K, 2), (layer.W_V, 2)))
    Q, K = (rotary(x, base=SIZES.base) for x in (Q, K))
    looked, weights = grouped_attention(Q, K, V, create_causal_mask(T))
    torch.testing.assert_close(trace.weights[1], weights, **CLOSE)
    torch.testing.assert_close(trace.values[1], V, **CLOSE)
    torch.testing.assert_close(trace.scores[1], Q @ K.repeat_interleave(3, 0).mT, **CLOSE)
    middle = trace.hidden[1] + layer.W_O(merge_heads(looked))
    z = layer.norm_2(middle)
    torch.testing.assert_close(trace.hidden[2], middle + layer.down(silu(layer.gate(z)) * layer.up(z)), **CLOSE)


def test_several_texts_of_one_length_are_read_at_once(model):
    texts = torch.tensor([TEXT, TEXT[::-1], [3] * T])
    for cuts in ([], [Cut(heads=[1, 2], shift_keys=2), Cut(hide=3, mask=create_window_mask_of_two)]):
        together = model(texts, cuts)
        for n, text in enumerate(texts.tolist()):
            torch.testing.assert_close(together[n], model.logits(text, cuts=cuts), **CLOSE)


def create_window_mask_of_two(T):
    return create_window_mask(T, 2)


# Cuts that change nothing


@pytest.mark.parametrize(
    "cut",
    [
        Cut(),
        Cut(scale=1),
        Cut(mask=create_causal_mask),
        Cut(mask=create_causal_mask, causal=False),
        Cut(layers=[], causal=False),
        Cut(heads=[], weights=silent),
        Cut(hide=T),
        Cut(mute=[T, T + 5]),
        Cut(positions=Rotary(base=SIZES.base)),
        Cut(shift_queries=7, shift_keys=7),
        Cut(heads=2, shift_queries=-2.5, shift_keys=-2.5),
        Cut(weights=top_k(T)),
        windowed(T),
        windowed(1, sinks=T),
    ],
)
def test_a_cut_that_is_none_changes_nothing(model, cut):
    before, after = model.trace(TEXT), model.trace(TEXT, cuts=[cut])
    for one, other in zip(before[2:], after[2:], strict=True):
        # Another order of the same sums: what rounding does is by the size of the largest.
        torch.testing.assert_close(other, one, rtol=0.0, atol=CLOSE["atol"] * max(1.0, float(one.abs().max())))


# Masks


def test_the_future_has_no_derivative_and_without_a_mask_it_has(model, x):
    for t in range(T):
        assert reached(model, x, t, []).tolist() == [s <= t for s in range(T)]
    assert reached(model, x, 0, [Cut(causal=False)]).all()
    backwards = reached(model, x, 4, [Cut(mask=create_reverse_mask, causal=False)])
    assert backwards.tolist() == [s >= 4 for s in range(T)]
    with_own = reached(model, x, 4, [Cut(mask=create_reverse_mask)])
    assert with_own.tolist() == [s == 4 for s in range(T)]


def test_a_mask_that_some_heads_lack_leaks_through_them_alone(model):
    open_ = [Cut(layers=1, heads=[2, 5], causal=False)]
    weights = model.trace(TEXT, cuts=open_).weights
    leaking = (weights.triu(1) > 0).any(-1).any(-1)
    expected = torch.zeros(L, H, dtype=torch.bool)
    expected[1, [2, 5]] = True
    assert torch.equal(leaking, expected)
    closed = model.trace(TEXT, cuts=[*open_, Cut(mask=create_causal_mask)])
    torch.testing.assert_close(closed.weights, model.trace(TEXT).weights, **CLOSE)


def test_a_hidden_token_has_no_derivative_anywhere_but_at_itself(model, x):
    for t in range(T):
        expected = [s <= t and (s not in (0, 4) or s == t) for s in range(T)]
        assert reached(model, x, t, [Cut(hide=[0, 4])]).tolist() == expected
    weights = model.trace(TEXT, cuts=[Cut(layers=1, heads=3, hide=4)]).weights
    assert (weights[1, 3, :, 4] == 0).all()
    assert (weights[1, 2, 4:, 4] > 0).all()


def test_a_row_that_may_look_at_nothing_is_zero(model):
    trace = model.trace(TEXT, cuts=[Cut(hide=0)])
    assert (trace.weights[:, :, 0] == 0).all()
    assert torch.isfinite(trace.logits).all()


def test_a_window_and_its_sinks_are_all_that_a_query_sees(model, x):
    """Through three layers a window of three reaches back six tokens; a sink sees what is before itself."""
    assert reached(model, x, 10, [windowed(3)]).tolist() == [s >= 4 for s in range(T)]
    assert reached(model, x, 10, [windowed(3, sinks=2)]).tolist() == [s >= 4 or s < 2 for s in range(T)]
    weights = model.trace(TEXT, cuts=[windowed(3, 2, layers=1, heads=4)]).weights
    seen = (weights > 0)[1]
    band = create_window_mask(T, sliding_window=3, causal=True) == 0
    sinks = torch.zeros(T, T, dtype=torch.bool)
    sinks[:, :2] = True
    assert torch.equal(seen[4], (band | sinks).tril())
    assert torch.equal(seen[5], torch.ones(T, T, dtype=torch.bool).tril())
    assert torch.equal(windowed(3).mask(T), band)


# Values and weights


def test_silencing_all_heads_is_no_attention(model, x):
    expected = x
    for layer in model.layers:
        z = layer.norm_2(expected)
        expected = expected + layer.down(silu(layer.gate(z)) * layer.up(z))
    torch.testing.assert_close(last(model, x, [Cut(weights=silent)]), expected[0], **CLOSE)


def test_silencing_a_head_is_taking_its_columns_from_the_output(model):
    other = copy.deepcopy(model)
    other.layers[1].W_O.weight[:, 40:50] = 0
    after = model.logits(TEXT, cuts=[Cut(1, 4, weights=silent)])
    torch.testing.assert_close(after, other.logits(TEXT), **CLOSE)
    assert (after - model.logits(TEXT)).abs().max() > 1e-3


def test_a_mute_token_is_looked_at_and_gives_nothing(model):
    before, after = model.trace(TEXT), model.trace(TEXT, cuts=[Cut(1, [0, 5], mute=[2, 3])])
    torch.testing.assert_close(after.weights[1], before.weights[1], **CLOSE)
    values = before.values[1].repeat_interleave(3, 0)
    for h in (0, 5):
        values[h, [2, 3]] = 0
    layer = model.layers[1]
    middle = before.hidden[1] + layer.W_O(merge_heads(before.weights[1] @ values))
    z = layer.norm_2(middle)
    torch.testing.assert_close(after.hidden[2], middle + layer.down(silu(layer.gate(z)) * layer.up(z)), **CLOSE)
    torch.testing.assert_close(after.values[1], before.values[1], **CLOSE)


def test_values_of_a_mute_token_have_no_derivative(model, x):
    """Its key is still seen: through the weights it counts, unless these are even."""
    even = [Cut(weights=uniform)]
    assert reached(model, x, 10, even).all()
    muted = [Cut(weights=uniform), Cut(mute=4)]
    assert not reached(model, x, 10, muted)[4]
    assert reached(model, x, 10, [Cut(mute=4)])[4]


def test_top_k_keeps_the_largest_and_shares_them_out(model):
    before, after = (model.trace(TEXT, cuts=c).weights[0] for c in ([], [Cut(0, weights=top_k(3))]))
    assert ((after > 0).sum(-1) == torch.arange(1, T + 1).clamp(max=3)).all()
    torch.testing.assert_close(after.sum(-1), torch.ones(H, T).double(), **CLOSE)
    kept = before * (after > 0)
    torch.testing.assert_close(after, kept / kept.sum(-1, keepdim=True), **CLOSE)
    assert (kept.amax(-1) == before.amax(-1)).all()
    nothing = torch.zeros(2, 3, 5)
    assert torch.equal(top_k(2)(nothing, nothing > 0), nothing)


def test_a_scale_multiplies_the_scores_before_they_are_divided(model):
    before = model.trace(TEXT)
    after = model.trace(TEXT, cuts=[unscaled(0, 2, d_k=10)])
    hidden = create_causal_mask(T)
    torch.testing.assert_close(after.weights[0, 2], (before.scores[0, 2] + hidden).softmax(-1), **CLOSE)
    torch.testing.assert_close(after.weights[0, 3], before.weights[0, 3], **CLOSE)


# Positions


def test_without_rotation_and_mask_the_order_is_gone(model):
    blind, order = (
        [Cut(positions=Positions(), causal=False)],
        torch.randperm(T, generator=torch.Generator().manual_seed(7)),
    )
    shuffled = [TEXT[n] for n in order]
    torch.testing.assert_close(model.logits(shuffled, cuts=blind), model.logits(TEXT, cuts=blind)[order], **CLOSE)
    whole = [Cut(causal=False)]
    gap = model.logits(shuffled, cuts=whole) - model.logits(TEXT, cuts=whole)[order]
    assert gap.abs().max() > 0.1


def test_other_pairs_or_another_base_turn_otherwise(model):
    scores = {
        name: model.trace(TEXT, cuts=[Cut(0, [1, 4], positions=scheme)]).scores[0]
        for name, scheme in {
            "own": None,
            "pairs": Rotary(base=SIZES.base, pairs="neighbours"),
            "base": Rotary(base=7.0),
            "none": Positions(),
        }.items()
    }
    for name in ("pairs", "base", "none"):
        changed = (scores[name] - scores["own"]).abs().amax((-1, -2)) > 0.1
        assert changed.tolist() == [h in (1, 4) for h in range(H)]
        torch.testing.assert_close(scores[name].diagonal(dim1=1, dim2=2), scores["own"].diagonal(dim1=1, dim2=2))


@pytest.mark.parametrize(("of_queries", "of_keys"), [(3, 0), (0, -2), (1.5, 4)])
def test_a_shift_moves_every_distance(model, of_queries, of_keys):
    layer, x = model.layers[0], model.embed(torch.tensor(TEXT))
    z, places = layer.norm_1(x), torch.arange(T)
    Q = rotary(split_heads(layer.W_Q(z), 6), places + of_queries, base=SIZES.base)
    K = rotary(split_heads(layer.W_K(z), 2), places + of_keys, base=SIZES.base)
    cut = Cut(0, 5, shift_queries=of_queries, shift_keys=of_keys)
    found = model.trace(TEXT, cuts=[cut]).scores[0]
    torch.testing.assert_close(found[5], Q[5] @ K[1].mT)
    torch.testing.assert_close(found[4], model.trace(TEXT).scores[0, 4], **CLOSE)
    halves = [Cut(0, 5, shift_queries=of_queries / 2, shift_keys=of_keys / 2)] * 2
    torch.testing.assert_close(model.trace(TEXT, cuts=halves).scores[0], found, **CLOSE)


def test_what_distances_add_takes_the_place_of_the_rotation(model):
    scheme = Alibi(H)
    found, blind = (model.trace(TEXT, cuts=[Cut(0, [2, 3], positions=p)]) for p in (scheme, Positions()))
    torch.testing.assert_close(found.scores[0], blind.scores[0], **CLOSE)
    bias = scheme.bias(torch.arange(T), torch.arange(T)) + create_causal_mask(T)
    expected = (blind.scores[0] / math.sqrt(10) + bias).softmax(-1)
    torch.testing.assert_close(found.weights[0, [2, 3]], expected[[2, 3]])
    torch.testing.assert_close(found.weights[0, [1, 4]], blind.weights[0, [1, 4]], **CLOSE)
    learned = DistanceBias(H)
    same = model.trace(TEXT, cuts=[Cut(0, [2, 3], positions=learned)])
    torch.testing.assert_close(same.weights[0], blind.weights[0], **CLOSE)


def test_of_two_positions_the_last_holds(model):
    cuts = [Cut(positions=Positions()), Cut(heads=1, positions=Rotary(base=SIZES.base))]
    scores = model.trace(TEXT, cuts=cuts).scores[0]
    torch.testing.assert_close(scores[1], model.trace(TEXT).scores[0, 1], **CLOSE)
    torch.testing.assert_close(scores[2], model.trace(TEXT, cuts=cuts[:1]).scores[0, 2], **CLOSE)


# The cache

WITH_CACHE = {
    "none": [],
    "scale": [Cut(heads=[1, 3], scale=3)],
    "window": [windowed(3)],
    "window with sinks": [windowed(3, 2, layers=[0, 2])],
    "mask of zeros and ones": [Cut(mask=lambda T: torch.ones(T, T).tril().triu(-2))],
    "hidden": [Cut(hide=[0, 6])],
    "mute": [Cut(mute=[1, 8], heads=2)],
    "silent": [Cut(1, 4, weights=silent)],
    "uniform": [Cut(weights=uniform, layers=2)],
    "own diagonal": [Cut(weights=own_diagonal, heads=[0, 5])],
    "top two": [Cut(weights=top_k(2))],
    "no rotation": [Cut(positions=Positions(), heads=[1, 2])],
    "wrong pairs": [Cut(positions=Rotary(pairs="neighbours"))],
    "distances": [Cut(1, positions=Alibi(H))],
    "shifted": [Cut(shift_queries=2), Cut(heads=5, shift_keys=-1)],
}


@pytest.mark.parametrize("chunks", [[1] * T, [4, 1, 3, 1, 2], [T]], ids=["one by one", "chunks", "at once"])
@pytest.mark.parametrize("cuts", WITH_CACHE.values(), ids=WITH_CACHE)
def test_with_a_cache_it_says_what_it_says_of_the_whole(model, cuts, chunks):
    caches = [KeyValueCache(T) for _ in model.layers]
    parts = torch.tensor([TEXT]).split(chunks, dim=1)
    with torch.no_grad():
        found = torch.cat([model(part, cuts, caches) for part in parts], dim=1)
    torch.testing.assert_close(found[0], model.logits(TEXT, cuts=cuts), **CLOSE)


def test_cuts_may_change_while_it_writes(model):
    """Keys are kept before they are turned: what they are asked for is what the cuts say now."""
    caches = [KeyValueCache(T) for _ in model.layers]
    first, rest = torch.tensor([TEXT]).split([6, 5], dim=1)
    with torch.no_grad():
        model(first, [], caches)
        *_, step = model.walk(model.embed(rest), [Cut(0, positions=Positions())], caches)
    assert step.weights.shape == (1, H, 5, T)
    assert step.values.shape == (1, 2, T, 10)
    assert len(caches[0]) == T


@pytest.mark.parametrize("cache", [True, False])
def test_what_it_writes_is_what_it_finds_likeliest(model, cache):
    text, expected = list(TEXT), []
    for _ in range(5):
        expected.append(int(model.logits(text)[-1].argmax()))
        text.append(expected[-1])
    assert model.generate(TEXT, 5, cache=cache) == " ".join(map(str, expected))


def test_what_sees_the_future_is_written_without_a_cache(model):
    cuts = [Cut(causal=False)]
    text = list(TEXT)
    for _ in range(4):
        text.append(int(model.logits(text, cuts=cuts)[-1].argmax()))
    assert model.generate(TEXT, 4, cuts=cuts) == " ".join(map(str, text[T:]))


def test_draws_follow_the_seed_and_the_temperature(model):
    drawn = [model.generate(TEXT, 9, seed=seed) for seed in (1, 1, 2, 3)]
    assert drawn[0] == drawn[1]
    assert len(set(drawn)) > 1
    assert model.generate(TEXT, 9, seed=1, temperature=1e-4) == model.generate(TEXT, 9)
    generator = torch.Generator().manual_seed(1)
    assert model.generate(TEXT, 9, seed=generator) == drawn[0]
    logits = model.logits(TEXT)[-1] / 5
    often = _choose(logits.expand(4000, -1), torch.Generator().manual_seed(2))
    share = torch.bincount(often[:, 0], minlength=37) / 4000
    assert (share - logits.softmax(-1)).abs().max() < 0.035  # four standard errors


def test_it_ends_where_the_text_does(model):
    first = int(model.generate(TEXT, 1))
    ends = copy.copy(model)
    ends.end = first
    assert ends.generate(TEXT, 5) == ""


def test_the_limit_holds_for_what_it_writes_as_well(model):
    assert len(model.generate([1] * 60, 5).split()) == 5
    with pytest.raises(ValueError, match=r"^text must have at most 64 tokens, which the model was made for, got 65\.$"):
        model.generate([1] * 60, 6)


# What is said


def test_losses_are_those_of_the_logits(model):
    log_p = model.logits(TEXT)[:-1].log_softmax(-1)
    expected = -log_p.gather(-1, torch.tensor(TEXT[1:])[:, None])[:, 0]
    torch.testing.assert_close(model.losses(TEXT), expected, **CLOSE)
    assert model.loss(TEXT) == pytest.approx(float(expected.mean()))
    assert model.loss(TEXT, cuts=[Cut(weights=silent)]) != pytest.approx(model.loss(TEXT))


def test_an_untrained_model_follows_its_seed():
    one, same, other = (untrained(SIZES, seed=n) for n in (5, 5, 6))
    assert torch.equal(one.logits(TEXT), same.logits(TEXT))
    assert not torch.equal(one.logits(TEXT), other.logits(TEXT))
    assert one.unembed.weight.data_ptr() == one.word.weight.data_ptr()
    assert one.layers[0].up.weight.std() == pytest.approx(0.02, rel=0.15)
    assert not any(parameter.requires_grad for parameter in one.parameters())


def test_elsewhere_defaults_may_be_other_ones(model):
    expected = model.trace(TEXT, cuts=[Cut(shift_keys=1), windowed(4, 1)])
    plain = untrained(SIZES, seed=3).logits(TEXT)
    with foreign_defaults():
        found = model.trace(TEXT, cuts=[Cut(shift_keys=1), windowed(4, 1)])
        assert torch.equal(untrained(SIZES, seed=3).logits(TEXT), plain)
    assert torch.equal(found.logits, expected.logits)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"hide": None}, "hide must be an integer or a sequence of them, got None."),
        ({"mute": [1, -1]}, "mute must be an integer of at least 0, got -1."),
        ({"mute": 1.0}, "mute must be an integer, a sequence of them, or None, got float."),
        ({"causal": None}, "causal must be True or False, got None."),
        (
            {"positions": "none"},
            "positions must be a scheme of surgeon.anatomy.positions that changes queries, keys or scores, or None, got"
            " str.",
        ),
        (
            {"positions": Sinusoidal()},
            "positions must be a scheme of surgeon.anatomy.positions that changes queries, keys or scores, or None, got"
            " Sinusoidal.",
        ),
        ({"shift_queries": math.nan}, "shift_queries must be a finite number, got nan."),
        ({"shift_keys": True}, "shift_keys must be a finite number, got True."),
    ],
)
def test_a_cut_says_what_is_wrong_with_it(options, message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        Cut(**options)


@pytest.mark.parametrize("arguments", [(0,), (3, -1), (2.5,)])
def test_a_window_says_what_is_wrong(arguments):
    with pytest.raises(ValueError, match=r"^(width|sinks) must be an integer of at least \d, got "):
        windowed(*arguments)


@pytest.mark.parametrize(
    "cut", [Cut(causal=False), Cut(positions=Positions()), Cut(shift_queries=1), Cut(layers=2, shift_keys=1)]
)
def test_an_encoder_has_nothing_of_the_kind_to_cut(cut):
    with torch.device("meta"):
        encoder = Encoder()
    message = (
        "cuts of an encoder must leave causal, positions, shift_queries and shift_keys as they are, since its heads"
        " have no mask and no rotation to cut, got one that does not."
    )
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        list(encoder.walk(torch.zeros(1, 3, 384), [3], [Cut(), cut]))


@pytest.mark.parametrize(
    ("ask", "message"),
    [
        (lambda m: m.logits("a"), "text must be numbers of tokens for a model without a tokenizer, got a string."),
        (lambda m: m.logits(3), "text must be a string or a sequence of integers, got int."),
        (lambda m: m.logits([3, 37]), "tokens of text must be an integer from 0 to 36, got 37."),
        (lambda m: m.logits([3, "a"]), "tokens of text must be an integer from 0 to 36, got 'a'."),
        (lambda m: m.logits([]), "text must have at least 1 token, got 0."),
        (lambda m: m.loss([3]), "text must have at least 2 tokens, got 1."),
        (lambda m: m.trace([3] * 65), "text must have at most 64 tokens, which the model was made for, got 65."),
        (lambda m: m.generate([3], 0), "steps must be an integer of at least 1, got 0."),
        (lambda m: m.generate([3], 1, temperature=0), "temperature must be a positive, finite number, got 0."),
        (lambda m: m.logits([3], cuts=[Cut(layers=3)]), "layers must be integers from 0 to 2, got 3."),
        (lambda m: m.logits([3], cuts=Cut()), "cuts must be a sequence of Cut, got Cut("),
        (
            lambda m: m.logits([3], cuts=[Cut(positions=Alibi(5))]),
            "positions of a cut must be for all 6 heads of a layer, got some for 5.",
        ),
        (
            lambda m: m(torch.tensor([[3]]), caches=[KeyValueCache(3)]),
            "caches must be one for each of 3 layers, got 1.",
        ),
        (
            lambda m: m(torch.tensor([[3]]), [Cut(causal=False)], [KeyValueCache(3)] * 3),
            "cuts must keep causal where tokens follow a cache, whose tokens did not see them, got one with"
            " causal=False.",
        ),
    ],
)
def test_reading_says_what_is_wrong(model, ask, message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}"):
        ask(model)
