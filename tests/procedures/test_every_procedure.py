"""What holds for attention in tiles, to the best keys and to the nearby ones alike, and for what is built on them."""

import gc
import re

import numpy as np
import pytest
import torch
import torch.distributed as dist
from foreign import foreign_defaults
from oracle import CONVENTIONS, budget, normal, reference
from tensors import assert_same, gradients, inputs
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode

from surgeon.anatomy.dot_product import attention
from surgeon.anatomy.mask_rules import all_of, causal, window
from surgeon.anatomy.masks import create_window_mask
from surgeon.procedures.entropy import attention_entropy
from surgeon.procedures.flash import flash_attention
from surgeon.procedures.online import empty_partial, merge, partial_attention
from surgeon.procedures.ring import ring_attention, shard, unshard
from surgeon.procedures.ring_check import check_ring
from surgeon.procedures.rule_tiles import tiles_of
from surgeon.procedures.topk import topk_attention, topk_mask
from surgeon.procedures.window import window_attention

# Each as a function of Q, K, V and its options, to one tensor.
KINDS = {
    "flash": flash_attention,
    "flash, ruled": lambda *inputs, **how: flash_attention(*inputs, rule=window(9, 9), **how),
    "topk": lambda Q, K, V, mask=None, **how: topk_attention(Q, K, V, 3, mask, **how).output,
    "window": lambda Q, K, V, **how: window_attention(Q, K, V, 2, **how),
    "ring": ring_attention,
    "entropy": lambda Q, K, V, mask=None, **how: attention_entropy(Q, K, mask, **how),
    "partial": lambda Q, K, V, mask=None, **how: partial_attention(Q, K, V, mask, **how).out,
}
kinds = lambda *names: pytest.mark.parametrize("kind", names)
every = kinds(*KINDS)
by_hand = kinds("flash", "flash, ruled", "topk", "window")  # a backward of their own


@pytest.fixture(autouse=True, scope="module")
def a_group_of_one():
    """A process group of this process alone: a ring needs one."""
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    yield
    dist.destroy_process_group()


# Derivatives


@by_hand
def test_first_derivatives_are_those_of_finite_differences(kind):
    assert torch.autograd.gradcheck(KINDS[kind], inputs(2, T=5, S=5, d_k=2, d_v=3))


@kinds("flash", "topk", "window", "ring")
def test_a_second_derivative_is_refused(kind):
    Q, K, V = inputs(2)
    message = f"{kind}_attention can be differentiated once; use attention for second derivatives."
    with pytest.raises(RuntimeError, match=f"^{re.escape(message)}$"):
        torch.autograd.grad(KINDS[kind](Q, K, V).sum(), Q, create_graph=True)


@kinds("flash", "topk", "entropy", "partial")
@pytest.mark.parametrize("name", ["zero-one", "zero-one-half", "additive", "additive-double"])
def test_only_numbers_to_add_have_a_gradient(kind, name):
    """A mask of zeros and ones is read as permissions, whatever its dtype."""
    mask = CONVENTIONS[name].clone().requires_grad_()
    output = KINDS[kind](*inputs(2, T=5, S=5), mask)
    (gradient,) = torch.autograd.grad(output.sum(), mask, allow_unused=True)
    assert (gradient is None) == name.startswith("zero-one")
    assert gradient is None or gradient.dtype == mask.dtype


@by_hand
def test_one_set_of_keys_serves_many_heads(kind):
    Q, (_, K, V) = normal(2, 3, 13, 7), inputs(2, 1)
    wide = KINDS[kind](Q, K.expand(2, 3, 13, 7), V.expand(2, 3, 13, 11))
    assert_same(KINDS[kind](Q, K, V), wide, (Q, K, V))


@by_hand
def test_inputs_need_not_be_contiguous_and_are_left_alone(kind):
    Q, K, V = (x.detach() for x in inputs(3, 2))
    turned = [x.mT.contiguous().mT for x in (Q, K, V)]
    before = [x.clone() for x in turned]
    torch.testing.assert_close(KINDS[kind](*turned), KINDS[kind](Q, K, V), rtol=1e-13, atol=1e-13)
    assert all(torch.equal(x, y) for x, y in zip(turned, before, strict=True))


# Memory


class Made(TorchDispatchMode):
    """Every piece of memory that an operation makes beyond what was given, and how large it is."""

    def __init__(self, *given):
        super().__init__()
        self.given = {x.untyped_storage()._cdata for x in given}
        self.pieces, self.numbers = {}, 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        for x in result if isinstance(result, tuple | list) else [result]:
            if isinstance(x, torch.Tensor):
                self.numbers = max(self.numbers, x.numel())
                memory = StorageWeakRef(x.untyped_storage())
                if memory.cdata not in self.given:
                    self.pieces[memory.cdata] = memory, x.untyped_storage().nbytes()
        return result

    def alive(self):
        """Bytes of those that are still there."""
        gc.collect()
        return sum(nbytes for memory, nbytes in self.pieces.values() if not memory.expired())


@pytest.mark.parametrize("masked", [False, True], ids=["open", "masked"])
@by_hand
def test_nothing_waits_for_the_backward_but_what_it_needs(kind, masked):
    """The output and a log-sum-exp a query; or the output, and of each chosen key its weight and its place."""
    N, T, d_v = 3, 53, 11
    Q, K, V = inputs(N, T=T, S=T, d_v=d_v, dtype=torch.float32)
    mask = {"mask": torch.ones(T, T, dtype=torch.bool).tril()} if masked and kind != "window" else {}
    with Made(Q, K, V, *mask.values()) as made:
        output = KINDS[kind](Q, K, V, causal=True, **mask)
    a_query = 3 * (4 + 8) if kind == "topk" else 4
    assert made.alive() == N * T * (4 * d_v + a_query)
    output.sum().backward()


def most(function, *tensors):
    """Numbers in the largest tensor that any operation gives, forward and backward."""
    with Made() as forward:
        output = function(*tensors)
    with Made() as backward:
        torch.autograd.grad(output.sum(), tensors)
    assert min(forward.numbers, backward.numbers) >= output.numel()  # something was seen
    return max(forward.numbers, backward.numbers)


def test_nothing_of_the_size_of_the_matrix_is_made():
    """700 tokens: a matrix of weights would have 490 000 numbers."""
    T = 700
    Q, K, V = inputs(T=T, S=T, d_k=7, d_v=11, dtype=torch.float32)
    assert most(lambda *x: attention(*x)[0], Q, K, V) == T * T
    assert most(lambda *x: window_attention(*x, 13), Q, K, V) <= 2 * max(T * 11, 128 * 128)
    assert most(lambda *x: topk_attention(*x, 13, block_q=16).output, Q, K, V) <= max(2 * 16 * T + 16 * T, T * 13)


# Precision


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32], ids=str)
def test_rounding_stays_within_what_pytorch_allows_itself(dtype):
    """Flash has a test of its own, with more to it."""
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


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32], ids=str)
@every
def test_autocast_lowers_no_sum(kind, dtype):
    """A layer under autocast may hand in half precision; what becomes of it is computed as ever, both ways."""
    Q, K, V = inputs(2, T=31, S=31, d_k=17, d_v=13, dtype=dtype)
    # a backward that autograd writes is rounded as autograd sees fit
    tensors = {"entropy": (Q, K), "partial": ()}.get(kind, (Q, K, V))
    plain = KINDS[kind](Q, K, V)
    expected = [plain, *gradients(plain, tensors)]
    with torch.autocast("cpu", torch.bfloat16):
        output = KINDS[kind](Q, K, V)
        found = [output, *gradients(output, tensors)]
    for ours, right in zip(found, expected, strict=True):
        assert ours.dtype == right.dtype
        assert torch.equal(ours, right)


# Other people's programs


def anything():
    """Every public function of this folder, on inputs that were made beforehand."""
    Q, K, V = (x.detach() for x in inputs(2, 2, dtype=torch.float32))
    mask = torch.rand(13, 13, dtype=torch.float32, device="cpu") < 0.9
    numbers = normal(13, 13, dtype=torch.float32, grad=False)
    halves = [partial_attention(Q, K[..., s, :], V[..., s, :]) for s in (slice(7), slice(7, None))]
    grads = [x.clone().requires_grad_() for x in (Q, K, V, numbers)]
    pull, rule = torch.ones_like(V), all_of(causal, window(5, 0))
    shares = [shard(Q[..., :12, :], rank, 2) for rank in range(2)]
    return {
        "flash": lambda: flash_attention(Q, K, V, mask, causal=True, return_lse=True),
        "flash, numbers": lambda: torch.autograd.grad(flash_attention(*grads), grads, pull),
        "flash, ruled": lambda: torch.autograd.grad(flash_attention(*grads, rule=rule, block_q=4), grads, pull),
        "tiles": lambda: [tiles_of(rule, (2, 13, 13), block_q=4).kinds],
        "topk": lambda: topk_attention(Q, K, V, 3, mask, causal=True),
        "topk, numbers": lambda: torch.autograd.grad(topk_attention(*grads[:3], 3, grads[3]).output, grads, pull),
        "topk_mask": lambda: [topk_mask(Q, 3)],
        "window": lambda: torch.autograd.grad(window_attention(*grads[:3], 3, block=5), grads[:3], pull),
        "entropy": lambda: [attention_entropy(Q, K, mask, causal=True)],
        "partial": lambda: partial_attention(Q, K, V, mask),
        "empty": lambda: empty_partial((5, 3)),
        "merge": lambda: merge(*halves),
        "shard": lambda: [shard(Q[..., :12, :], 1, 3), unshard(shares)],
        "ring": lambda: torch.autograd.grad(ring_attention(*grads[:3], causal=True, zigzag=False), grads[:3], pull),
        "ring check": lambda: [torch.tensor([case["error"] for case in check_ring(8, 2, 3)], device="cpu").float()],
    }


@pytest.mark.parametrize("name", anything())
def test_the_defaults_of_other_people_change_nothing(name):
    """Double precision by default, and a device by default that is not that of the inputs."""
    call = anything()[name]
    expected = call()
    with foreign_defaults():
        found = call()
    for ours, right in zip(found, expected, strict=True):
        assert (ours.dtype, ours.device) == (right.dtype, right.device)
        assert torch.equal(ours, right)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@kinds("flash", "flash, ruled", "topk", "window", "entropy", "partial")
def test_a_cuda_device_gives_the_same(kind):
    here = inputs(2)
    there = [x.detach().cuda().requires_grad_() for x in here]
    tensors = slice(2 if kind == "entropy" else 3)
    right, ours = KINDS[kind](*here), KINDS[kind](*there)
    pull = normal(*right.shape, grad=False)
    expected = [right, *torch.autograd.grad(right, here[tensors], pull)]
    found = [ours, *torch.autograd.grad(ours, there[tensors], pull.cuda())]
    for a, b in zip(found, expected, strict=True):
        assert a.is_cuda
        torch.testing.assert_close(a.cpu(), b, rtol=1e-12, atol=1e-12)


# What comes from outside

X, SCORES = torch.ones(6, 7), torch.ones(2, 3)


@every
@pytest.mark.parametrize("value", [0.125, None, 1], ids=str)
def test_scale_is_a_switch(kind, value):
    """A number given for it would count silently as True."""
    with pytest.raises(ValueError, match=f"^scale must be True or False, got {value}\\.$"):
        KINDS[kind](X, X, X, scale=value)


SWITCHES = {f"{kind}, causal": (KINDS[kind], (X, X, X), "causal") for kind in KINDS if kind != "partial"} | {
    "ring, zigzag": (ring_attention, (X, X, X), "zigzag"),
    "shard, zigzag": (shard, (X, 0, 2), "zigzag"),
    "unshard, zigzag": (unshard, ([X, X],), "zigzag"),
}


@pytest.mark.parametrize(("function", "given", "option"), SWITCHES.values(), ids=SWITCHES)
def test_so_are_the_others(function, given, option):
    with pytest.raises(ValueError, match=f"^{option} must be True or False, got 2\\.$"):
        function(*given, **{option: 2})


INTEGERS = {
    "flash": (lambda n: flash_attention(X, X, X, block_q=n, block_k=n)),
    "topk": (lambda n: topk_attention(X, X, X, n, block_q=n).output),
    "topk_mask": (lambda n: topk_mask(SCORES, n)),
    "window": (lambda n: window_attention(X, X, X, n, block=n)),
    "shard": (lambda n: shard(X[:4], n - 1, n)),
}


@pytest.mark.parametrize("function", INTEGERS.values(), ids=INTEGERS)
@pytest.mark.parametrize("kind", [np.int64, np.uint8, torch.tensor])
def test_an_integer_may_be_anybody_s(function, kind):
    assert torch.equal(function(kind(2)), function(2))
    with pytest.raises(ValueError, match=r" must be an integer (of at least [01]|from 0 to .*), got 2\.0\.$"):
        function(2.0)


FEW = {kind: (lambda kind=kind: KINDS[kind](X[0], X[0], X[0])) for kind in KINDS} | {
    "topk_mask": lambda: topk_mask(SCORES[0], 1),
    "empty": lambda: empty_partial((3,)),
    "empty, none": lambda: empty_partial(()),
    "merge": lambda: merge(*[(partial_attention(X, X, X)._replace(out=X[0], lse=X[0, 0]))] * 2),
    "shard": lambda: shard(X[0], 0, 1),
    "unshard": lambda: unshard([X[0]]),
}


@pytest.mark.parametrize("call", FEW.values(), ids=FEW)
def test_too_few_axes_are_told_in_one_sentence(call):
    message = r"^[^\n]+ must have at least two axes \((sequence, width|queries, keys)\), got [^\n]+\.$"
    with pytest.raises(ValueError, match=message):
        call()
