"""What all of the room's public functions have in common, whatever they compute."""

import copy
import inspect
import re
from functools import cache

import numpy as np
import pytest
import torch
from foreign import foreign_defaults
from oracle import CAUSAL, CONVENTIONS, normal
from torch.utils._python_dispatch import TorchDispatchMode

import surgeon
from surgeon.anatomy import mask_reading
from surgeon.anatomy.cache import KeyValueCache
from surgeon.anatomy.document_masks import create_document_mask
from surgeon.anatomy.dot_product import attend, attention, dissect
from surgeon.anatomy.groups import grouped_attention
from surgeon.anatomy.heads import MultiHeadAttention, merge_heads, split_heads
from surgeon.anatomy.latent import LatentAttention
from surgeon.anatomy.mask_reading import as_additive, read_in_tiles, visible
from surgeon.anatomy.mask_rules import causal, mask_of
from surgeon.anatomy.masks import (
    combine_masks,
    create_causal_mask,
    create_padding_mask,
    create_reverse_mask,
    create_window_mask,
)
from surgeon.anatomy.qk_clip import clip_heads
from surgeon.anatomy.score_bounds import rms_norm, soft_cap, unit_length
from surgeon.anatomy.softmax import log_sum_exp, naive_softmax, stable_softmax

HALVES = [torch.float16, torch.bfloat16]


@cache
def floats(*shape, seed=0, dtype=torch.float32):
    return normal(*shape, seed=seed, dtype=dtype, grad=False)


@cache
def layer():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return MultiHeadAttention(42, 6, num_kv_heads=2)


@cache
def bounded():
    """All that holds scores, at once."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return MultiHeadAttention(42, 6, num_kv_heads=2, qk_norm="rms", temperature=True, softcap=3.0, sink=0.5)


@cache
def latent():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return LatentAttention(42, 6, 11, d_rotary=2)


def qkv(*lead):
    return floats(*lead, 5, 7, seed=1), floats(*lead, 5, 7, seed=2), floats(*lead, 5, 11)


def groups():
    """Six heads of queries, two of keys."""
    return floats(2, 6, 5, 7), floats(2, 2, 5, 7), floats(2, 2, 5, 11)


def continued(module, x, mask):
    """Three tokens are kept, and five follow; of the three, the mask hides none."""
    cache, nothing = KeyValueCache(13), 0 if mask.is_floating_point() else 1
    past = mask.new_full((5, 3), nothing)
    with torch.no_grad():
        module(x[:, :3], cache=cache)
        return module(x, mask=torch.cat([past, mask], -1), cache=cache)


# Every function that takes a mask, called with one for five queries and five keys.
MASKED = {
    "attention": lambda mask: attention(*qkv(2), mask),
    "dissect": lambda mask: dissect(*qkv(2), mask),
    "grouped": lambda mask: grouped_attention(*groups(), mask),
    "layer": lambda mask: layer()(floats(2, 5, 42), mask=mask),
    "bounded layer": lambda mask: bounded()(floats(2, 5, 42), mask=mask),
    "layer, of sequences": lambda mask: layer()(floats(2, 5, 42), mask=mask.expand(2, 5, 5)),
    "layer, of heads": lambda mask: layer()(floats(2, 5, 42), mask=mask.expand(2, 6, 5, 5)),
    "latent": lambda mask: latent()(floats(2, 5, 42), mask=mask),
    "latent, absorbed, of heads": lambda mask: latent()(floats(2, 5, 42), mask=mask.expand(2, 6, 5, 5), absorbed=True),
    "combined": lambda mask: combine_masks(mask),
    "additive": lambda mask: as_additive(mask, (5, 5), dtype=torch.float32, device="cpu"),
    "tiles": lambda mask: read_in_tiles(mask, (5, 5), dtype=torch.float32, device="cpu")(slice(1, 3), slice(2, 5)),
    "visible": lambda mask: visible(mask, (2, 5, 5)),
}
CACHED = {
    "layer with a cache": lambda mask: continued(layer(), floats(2, 5, 42), mask),
    "latent with a cache": lambda mask: continued(latent(), floats(2, 5, 42), mask),
}
# And all others
UNMASKED = {
    "attention, open": lambda: attention(*qkv(2)),
    "dropout": lambda: attention(*qkv(2), dropout=0.5, generator=torch.Generator("cpu").manual_seed(0)),
    "split": lambda: split_heads(floats(5, 21), 3),
    "merge": lambda: merge_heads(floats(3, 5, 7)),
    "causal": lambda: create_causal_mask(5),
    "reverse": lambda: create_reverse_mask(5),
    "window": lambda: create_window_mask(5, 2, causal=True),
    "sliding window": lambda: create_window_mask(5, sliding_window=2, causal=True),
    "rule": lambda: mask_of(causal, (3, 5), kind="additive"),
    "padding": lambda: create_padding_mask([1, 5], 5),
    "padding from NumPy": lambda: create_padding_mask(np.array([1, 5]), 5),
    "documents": lambda: create_document_mask([0, 0, 1], causal=True),
    "documents from NumPy": lambda: create_document_mask(lengths=np.array([1, 5])),
    "everything visible": lambda: visible(None, (3, 5)),
    "naive softmax": lambda: naive_softmax(floats(3, 5)),
    "stable softmax": lambda: stable_softmax(floats(3, 5)),
    "log-sum-exp": lambda: log_sum_exp(floats(3, 5)),
    "rms norm": lambda: rms_norm(floats(3, 5), floats(5)),
    "unit length": lambda: unit_length(floats(3, 5)),
    "soft cap": lambda: soft_cap(floats(3, 5), 0.7),
    "clipped": lambda: clip_heads(copy.deepcopy(layer()), [9.0, 1.0, 2.0, 3.0, 4.0, 5.0], 3.0),
    "layer, cross": lambda: layer()(floats(2, 5, 42), floats(2, 3, 42)),
}


def tensors(result):
    return [result] if isinstance(result, torch.Tensor) else list(result)


def masks_for(name):
    """With a cache, floating zeros and ones are refused; a test of the cache says so."""
    return [kind for kind in CONVENTIONS if name not in CACHED or not kind.startswith("zero-one")]


ALL = [
    pytest.param(call, CONVENTIONS[kind], id=f"{name}, {kind}")
    for name, call in (MASKED | CACHED).items()
    for kind in masks_for(name)
]
EVERY = [*ALL, *(pytest.param(lambda _, call=call: call(), None, id=name) for name, call in UNMASKED.items())]


@pytest.mark.parametrize(("call", "mask"), EVERY)
def test_what_is_made_lies_with_the_inputs_whatever_the_defaults(call, mask):
    expected = tensors(call(mask))
    with foreign_defaults():
        found = tensors(call(mask))
    for ours, theirs in zip(found, expected, strict=True):
        assert (ours.dtype, ours.device) == (theirs.dtype, theirs.device)
        assert torch.equal(ours, theirs)


class NoDoubles(TorchDispatchMode):
    """A processor like some graphics cards, which knows no float64."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        for made in result if isinstance(result, tuple | list) else [result]:
            assert not isinstance(made, torch.Tensor) or made.dtype != torch.float64, f"{func} makes float64"
        return result


@pytest.mark.parametrize(("call", "mask"), [p for p in EVERY if getattr(p.values[1], "dtype", None) != torch.float64])
def test_no_float64_is_made_where_none_comes_in(call, mask):
    call(mask)  # makes the inputs, which come from float64
    with NoDoubles():
        call(mask)


@pytest.mark.parametrize(("call", "mask"), ALL)
def test_a_mask_is_read_once(call, mask, monkeypatch):
    """Its numbers and its shape: reading is two passes over memory, and a wait for a graphics card."""
    seen = {"zeros_block": 0, "check_mask": 0}
    for name in seen:
        original = getattr(mask_reading, name)

        def counted(*args, original=original, name=name):
            seen[name] += 1
            return original(*args)

        monkeypatch.setattr(mask_reading, name, counted)
    call(mask)
    assert seen == {"zeros_block": 1, "check_mask": 1}


@pytest.mark.parametrize("call", MASKED.values(), ids=MASKED)
def test_permissions_have_no_gradient_and_numbers_to_add_have(call):
    permissions = CAUSAL.float().requires_grad_()
    numbers = torch.where(CAUSAL, 0.5, -torch.inf).requires_grad_()
    for mask in (permissions, numbers):
        result = tensors(call(mask))[-1]
        if result.requires_grad:
            result.masked_fill(result == -torch.inf, 0.0).square().sum().backward()
    assert permissions.grad is None
    assert (numbers.grad is None) == (call is MASKED["visible"])


@pytest.mark.parametrize("dtype", [*HALVES, torch.float32, torch.float64], ids=str)
def test_autocast_takes_no_precision_away(dtype):
    """Scores and log-sum-exps are at least float32, and the rest is what it is without autocast."""
    Q, K, V = (x.to(dtype) for x in qkv(2))
    calls = [
        lambda: dissect(Q, K, V, CAUSAL),
        lambda: attention(Q, K, V, CAUSAL),
        lambda: grouped_attention(*(x.to(dtype) for x in groups()), CAUSAL),
        lambda: [naive_softmax(Q), stable_softmax(Q), log_sum_exp(Q)],
        lambda: [combine_masks(CAUSAL, create_causal_mask(5))],
    ]
    expected = [call() for call in calls]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = [call() for call in calls]
        assert (Q.float() @ K.float().mT).dtype == torch.bfloat16  # autocast is on, then and now
    for ours, theirs in zip(found, expected, strict=True):
        for a, b in zip(ours, theirs, strict=True):
            assert a.dtype == b.dtype
            assert torch.equal(a, b)
    assert found[0].scores.dtype == torch.promote_types(dtype, torch.float32)


def test_under_autocast_a_layer_multiplies_its_half_precision_queries_in_float32():
    module, x = layer(), floats(2, 5, 42) * 3
    with torch.autocast("cpu", dtype=torch.bfloat16):
        _, weights = module(x, mask=CAUSAL)
        Q = split_heads(module.W_Q(x), 6)
        K, V = (split_heads(W(x), 2) for W in (module.W_K, module.W_V))
    assert Q.dtype == torch.bfloat16
    assert torch.equal(weights, grouped_attention(Q, K, V, CAUSAL)[1])


def test_a_gradient_passes_back_through_autocast():
    Q, K, V = (x.clone().requires_grad_() for x in qkv(2))
    expected = torch.autograd.grad(attention(Q, K, V, CAUSAL)[0].sum(), (Q, K, V))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        output, _ = attention(Q, K, V, CAUSAL)
    for ours, theirs in zip(torch.autograd.grad(output.sum(), (Q, K, V)), expected, strict=True):
        assert torch.equal(ours, theirs)


@pytest.mark.parametrize("call", MASKED.values(), ids=MASKED)
def test_what_float32_cannot_hold_is_refused_above_and_blocks_below(call):
    high, low = (torch.zeros(5, 5, dtype=torch.float64) for _ in range(2))
    high[0, 4], low[0, 4] = 1e300, -1e300  # outside the tile that is looked at
    wide = call in (MASKED["combined"], MASKED["visible"])  # in the mask's own precision
    if wide:
        assert tensors(call(high))[0].isfinite().all()
        assert tensors(call(low))[0].isfinite().all()
        return
    message = "mask must hold numbers that are finite in torch.float32, the precision of the scores, got 1e+300."
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        call(high)
    blocked = low.masked_fill(low < 0, -torch.inf)
    for ours, theirs in zip(tensors(call(low)), tensors(call(blocked)), strict=True):
        assert torch.equal(ours, theirs)


def test_what_rounds_to_the_largest_number_is_held():
    """The limit lies half a step beyond it."""
    top = torch.finfo(torch.float32).max
    step = 2.0**104
    for number, held in [(top + 0.49 * step, True), (top + 0.5 * step, False)]:
        mask = torch.tensor([[number, 0.0]], dtype=torch.float64)
        if held:
            assert float(as_additive(mask, (1, 2), dtype=torch.float32, device="cpu")[0, 0]) == top
        else:
            with pytest.raises(ValueError, match=r"finite in torch\.float32"):
                as_additive(mask, (1, 2), dtype=torch.float32, device="cpu")
    assert as_additive(mask, (1, 2), dtype=torch.float64, device="cpu")[0, 0] == number


SWITCHES = {
    "scale of attention": lambda value: attention(*qkv(2), scale=value),
    "scale of dissect": lambda value: dissect(*qkv(2), scale=value),
    "scale of grouped_attention": lambda value: grouped_attention(*qkv(2), scale=value),
    "scale of MultiHeadAttention": lambda value: MultiHeadAttention(21, 3, scale=value),
    "temperature of MultiHeadAttention": lambda value: MultiHeadAttention(21, 3, temperature=value),
    "causal of create_document_mask": lambda value: create_document_mask([0, 0, 1], causal=value),
    "causal of create_window_mask": lambda value: create_window_mask(5, 2, causal=value),
    "keepdim of log_sum_exp": lambda value: log_sum_exp(floats(3, 5), keepdim=value),
}


@pytest.mark.parametrize("value", [0.125, None, 1, 0, "no", torch.tensor(True)], ids=repr)
@pytest.mark.parametrize("switch", SWITCHES)
def test_a_switch_is_true_or_false(switch, value):
    name = switch.split()[0]
    with pytest.raises(ValueError, match=f"^{name} must be True or False, got {re.escape(repr(value))}.$"):
        SWITCHES[switch](value)
    for truth in (True, np.True_):
        SWITCHES[switch](truth)


def test_every_switch_of_a_public_function_is_among_these():
    rooms = {"softmax", "masks", "document_masks", "mask_reading", "dot_product", "groups", "cache", "heads", "latent"}
    found = set()
    for name in surgeon.__all__:
        thing = getattr(surgeon, name)
        if getattr(thing, "__module__", "").rpartition(".")[2] in rooms and callable(thing):
            options = inspect.signature(thing).parameters.values()
            found |= {f"{o.name} of {name}" for o in options if isinstance(o.default, bool)}
    assert found == set(SWITCHES)


INTEGERS = {
    "causal": (create_causal_mask, create_causal_mask(3)),
    "reverse": (create_reverse_mask, create_reverse_mask(3)),
    "window": (lambda n: create_window_mask(n, n), create_window_mask(3, 3)),
    "sliding window": (
        lambda n: create_window_mask(n, sliding_window=n, causal=True),
        create_causal_mask(3),
    ),
    "padding": (lambda n: create_padding_mask([n, n], n), create_padding_mask([3, 3], 3)),
    "documents": (lambda n: create_document_mask(lengths=[n], seq_len=n), create_document_mask(lengths=[3], seq_len=3)),
    "heads": (lambda n: split_heads(torch.ones(5, 21), n), split_heads(torch.ones(5, 21), 3)),
    "layer": (
        lambda n: MultiHeadAttention(n * 7, n, num_kv_heads=n)(torch.zeros(5, 21))[1],
        torch.full((3, 5, 5), 0.2),
    ),
    "capacity": (lambda n: torch.tensor(KeyValueCache(n).capacity), torch.tensor(3)),
    "axis": (lambda n: stable_softmax(torch.ones(5, 7, 2, 3), n), torch.full((5, 7, 2, 3), 1 / 3)),
}


@pytest.mark.parametrize("name", INTEGERS)
def test_numpy_s_integers_are_integers(name):
    call, expected = INTEGERS[name]
    assert torch.equal(call(np.int64(3)), expected)


one = torch.ones(4)
zero = torch.tensor(1.0)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: attention(one, one, one), "Q must have at least two axes (sequence, width), got shape [4]."),
        (lambda: dissect(zero, zero, zero), "Q must have at least two axes (sequence, width), got shape []."),
        (
            lambda: grouped_attention(zero, zero, zero),
            "Q must be a tensor [..., heads, sequence, width], got shape [].",
        ),
        (lambda: split_heads(one, 2), "x must have at least two axes (sequence, width), got shape [4]."),
        (lambda: split_heads(zero, 1), "x must have at least two axes (sequence, width), got shape []."),
        (lambda: split_heads([4.0], 1), "x must be a tensor, got list."),
        (lambda: merge_heads(one), "x must have at least three axes (heads, sequence, width), got shape [4]."),
        (lambda: merge_heads(None), "x must be a tensor, got NoneType."),
        (lambda: MultiHeadAttention(4, 2)(one), "x must have shape [..., tokens, d_model = 4], got [4]."),
        (lambda: MultiHeadAttention(4, 2)(zero), "x must have shape [..., tokens, d_model = 4], got []."),
        (lambda: MultiHeadAttention(4, 2)("a b"), "x must have shape [..., tokens, d_model = 4], got str."),
        (
            lambda: MultiHeadAttention(4, 2)(torch.ones(3, 4), one),
            "context must have shape [..., tokens, d_model = 4], got [4].",
        ),
        (
            lambda: KeyValueCache(3).append(one, one),
            "K must be a floating-point tensor [..., tokens, width], got [4] torch.float32 on cpu.",
        ),
        (lambda: combine_masks(one), "mask must have at least two axes (queries, keys), got shape [4]."),
        (lambda: combine_masks(CAUSAL, zero), "mask must have at least two axes (queries, keys), got shape []."),
        (
            lambda: visible(None, (3,)),
            "shape must end in (queries, keys), as that of scores does, got [3].",
        ),
        (
            lambda: as_additive(CAUSAL, (), dtype=torch.float32, device="cpu"),
            "shape must end in (queries, keys), as that of scores does, got [].",
        ),
        (lambda: visible(zero, (2, 3)), "mask must end in (queries, keys) = (2, 3), got shape []."),
        (
            lambda: create_padding_mask(torch.tensor(3), 5),
            "lengths must be a sequence of integers, got torch.int64 values of shape [].",
        ),
        (lambda: create_padding_mask(None, 5), "lengths must be a sequence of integers, got None."),
        (lambda: stable_softmax(zero, 1), "dim must be an axis of scores, from -1 to 0, got 1."),
        (lambda: log_sum_exp(CAUSAL.float(), -3), "dim must be an axis of scores, from -2 to 1, got -3."),
        (lambda: naive_softmax(one, True), "dim must be an axis of scores, from -1 to 0, got True."),
    ],
)
def test_too_few_axes_get_one_sentence(call, message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        call()


@pytest.mark.parametrize("function", [naive_softmax, stable_softmax, log_sum_exp])
@pytest.mark.parametrize(
    ("scores", "got"),
    [
        (torch.tensor([1, 2, 5]), "torch.int64"),
        (torch.tensor([True, False]), "torch.bool"),
        (torch.tensor([1j]), "torch.complex64"),
        ([1.0, 2.0], "list"),
        (np.ones(3), "ndarray"),
    ],
    ids=str,
)
def test_softmax_is_taken_of_floating_numbers(function, scores, got):
    """As PyTorch's own, and as attention's inputs: whole numbers have no room for shares of one."""
    with pytest.raises(ValueError, match=f"^scores must be a floating-point tensor, got {got}.$"):
        function(scores)


@pytest.mark.parametrize("function", [naive_softmax, stable_softmax, log_sum_exp])
def test_of_no_numbers_there_is_no_softmax(function):
    with pytest.raises(ValueError, match=r"^scores must hold a number along axis -1, got shape \[5, 0\].$"):
        function(torch.ones(5, 0))
    assert function(torch.ones(0, 5)).numel() == 0  # of no rows there is none either, and that is no fault
    assert function(torch.tensor(3.0)).shape == ()


@pytest.mark.parametrize("name", ["Q", "K", "V"])
@pytest.mark.parametrize("bad", [torch.ones(2, 5, 7).long(), torch.ones(2, 5, 7).bool()], ids=["integer", "boolean"])
@pytest.mark.parametrize("function", [attention, dissect, grouped_attention])
def test_attention_is_paid_to_floating_numbers(function, bad, name):
    given = dict.fromkeys("QKV", torch.ones(2, 5, 7)) | {name: bad}
    with pytest.raises(ValueError, match=f"^{name} must be a floating-point tensor, got {bad.dtype}.$"):
        function(**given)


@pytest.mark.parametrize("autocast", [False, True])
def test_the_steps_take_their_options_by_name_too(autocast):
    Q, K, V = qkv(2)
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=autocast):
        stages = attend(Q=Q, K=K, V=V, scale=False)
    assert torch.equal(stages.output, dissect(Q, K, V, scale=False).output)


@pytest.mark.parametrize("mask", [torch.ones(0, 5, 13), torch.ones(5, 13), torch.ones(0, 5, 13, dtype=torch.bool)])
def test_a_batch_of_nothing_has_a_mask_of_nothing(mask):
    output, weights = attention(torch.ones(0, 5, 7), torch.ones(0, 13, 7), torch.ones(0, 13, 11), mask)
    assert (output.shape, weights.shape) == ((0, 5, 11), (0, 5, 13))


def test_shapes_can_be_asked_for_where_no_numbers_are():
    """PyTorch's meta device: it has no autocast to be switched off."""
    there = lambda *shape: torch.ones(*shape, device="meta")
    mask = torch.ones(5, 13, dtype=torch.bool, device="meta")
    output, weights = attention(there(2, 5, 7), there(2, 13, 7), there(2, 13, 11), mask)
    assert (output.shape, weights.shape) == ((2, 5, 11), (2, 5, 13))
    output, weights = grouped_attention(there(6, 5, 7), there(2, 13, 7), there(2, 13, 11), mask)
    assert (output.shape, weights.shape) == ((6, 5, 11), (6, 5, 13))
    assert output.is_meta
    assert create_padding_mask([1, 3], 3, device="meta").is_meta
