"""What attends unseen between seen layers is named; what does not attend is not; shares by logarithms are seen."""

import sys
import types
import warnings

import pytest
import torch
import torch.nn.functional as F
from oracle import normal
from torch import nn

from surgeon import attention, capture
from surgeon.models.cuts import Cut, silent

W, H, B, T = 12, 3, 2, 7
LIBRARY = torch.library.Library("surgeon_tests", "DEF")
LIBRARY.define("flash_attn(Tensor q, Tensor k, Tensor v) -> Tensor")
LIBRARY.define("core(Tensor q, Tensor k, Tensor v) -> Tensor")
for each in ("flash_attn", "core"):
    LIBRARY.impl(each, lambda q, k, v: F.scaled_dot_product_attention(q, k, v), "CompositeExplicitAutograd")


def split(x):
    return x.unflatten(-1, (H, -1)).transpose(1, 2)


class Projected(nn.Module):
    """A layer with projections, whose middle is somebody's own."""

    def __init__(self, middle):
        super().__init__()
        self.q, self.k, self.v, self.o = (nn.Linear(W, W, dtype=torch.float64) for _ in range(4))
        self.num_heads, self.middle = H, middle

    def forward(self, x):
        middle = self.middle(split(self.q(x)), split(self.k(x)), split(self.v(x)))
        return self.o(middle.transpose(1, 2).flatten(2))


class FusedAttention(nn.Module):
    """By its name alone."""

    def forward(self, x):
        return torch.ops.surgeon_tests.core(x, x, x)


class Calls(nn.Module):
    """No name says what it does, but what it calls."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(x, x, x)


def by_powers(q, k, v):
    powers = torch.exp(q @ k.mT - (q @ k.mT).amax(-1, keepdim=True))
    return (powers @ v) / powers.sum(-1, keepdim=True)


def by_einsum(q, k, v):
    powers = torch.einsum("bid,bjd->bij", q, k).mul(0.1).exp()
    return torch.einsum("bij,bjd->bid", powers, v) / powers.sum(-1, keepdim=True)


class Kernel(torch.autograd.Function):
    """Compiled elsewhere: nothing of it is PyTorch's."""

    @staticmethod
    def forward(context, q, k, v):
        return torch.from_numpy(q.detach().numpy() / 2)


def between(unseen):
    """Seen, unseen, seen."""
    torch.manual_seed(0)
    seen = lambda: Projected(F.scaled_dot_product_attention)
    return nn.Sequential(seen(), unseen, seen()).eval()


UNSEEN = {
    "a name": (FusedAttention(), "1 (FusedAttention)"),
    "projections": (Projected(torch.ops.surgeon_tests.core), "1 (Projected, which projects)"),
    "an operation": (Calls(torch.ops.surgeon_tests.flash_attn), "1 (calls surgeon_tests::flash_attn)"),
    "an overload": (Calls(torch.ops.surgeon_tests.flash_attn.default), "1 (calls surgeon_tests::flash_attn)"),
    "PyTorch's own kernel": (
        Calls(lambda q, k, v: torch.ops.aten._scaled_dot_product_attention_math(q, k, v)[0]),
        "1 (calls aten::_scaled_dot_product_attention_math)",
    ),
    "powers": (Calls(by_powers), "1 (sums by exp(scores), which are not yet shares)"),
    "powers in an einsum": (Calls(by_einsum), "1 (sums by exp(scores), which are not yet shares)"),
    "within": (nn.Sequential(FusedAttention()), "1.0 (FusedAttention)"),
}


@pytest.mark.parametrize("unseen", UNSEEN.values(), ids=UNSEEN)
def test_what_attends_unseen_between_the_seen_is_named(unseen):
    layer, said = unseen
    model, x = between(layer), normal(B, T, W, grad=False)
    told = f"capture saw nothing attend in these, where something seems to: {said}. Layers are numbered"
    with warnings.catch_warnings(record=True) as warned, capture(model) as recording:
        warnings.simplefilter("always")
        model(x)
        model(x)  # said once
    assert len(warned) == 1
    assert str(warned[0].message).startswith(told)
    assert list(recording.weights) == ["0", "2"]
    assert list(recording.unseen) == [said.split(" ")[0]]
    assert repr(recording) == "Recording(2 layers, each [2, 3, 7, 7], 1 unseen)"


@pytest.mark.parametrize("name", ["flash_attn.flash_attn_func", "xformers.ops.memory_efficient_attention"])
def test_other_libraries_kernels_are_noticed_by_how_they_are_asked(name, monkeypatch):
    """Wherever a program knows the function; a library that is not installed is not asked for."""
    place, function = name.rsplit(".", 1)
    library = types.ModuleType(place)
    exec(f"def {function}(q, k, v): return Kernel.apply(q, k, v)", {"Kernel": Kernel}, vars(library))
    kernel = vars(library)[function]
    monkeypatch.setitem(sys.modules, place, library)
    program = types.ModuleType("their_program")
    program.attend = kernel
    monkeypatch.setitem(sys.modules, "their_program", program)
    model = between(Calls(lambda q, k, v: program.attend(q, k, v)))
    said = rf"seems to: 1 \(calls {function}\). Layers are"
    with pytest.warns(UserWarning, match=said), capture(model) as recording:
        model(normal(B, T, W, grad=False))
    assert list(recording.weights) == ["0", "2"]
    assert program.attend is kernel
    assert vars(library)[function] is kernel


def test_of_many_the_first_are_named():
    model = nn.Sequential(Projected(F.scaled_dot_product_attention), *(FusedAttention() for _ in range(5))).eval()
    said = r"seems to: 1 \(FusedAttention\), 2 \(FusedAttention\), 3 \(FusedAttention\) and 2 more. Layers"
    with pytest.warns(UserWarning, match=said), capture(model) as recording:
        model(normal(B, T, W, grad=False))
    assert list(recording.unseen) == ["1", "2", "3", "4", "5"]


def test_where_nothing_is_seen_the_error_says_where_something_attends():
    model = nn.Sequential(FusedAttention()).eval()
    said = r"^model must attend where it is seen, .* got none in 0 \(FusedAttention\): name with of what returns"
    with pytest.raises(ValueError, match=said), capture(model):
        model(normal(B, T, W, grad=False))


# What is no alarm


class HandsOver(nn.Module):
    """Its attention gives shares, or scores; the sum is taken by who asked."""

    def __init__(self, scorer):
        super().__init__()
        self.scorer, self.values = scorer, nn.Linear(W, 5, dtype=torch.float64)

    def forward(self, x):
        weights = self.scorer(x)
        weights = weights if isinstance(self.scorer, ShareAttention) else weights.softmax(-1)
        return weights @ self.values(x)


class ShareAttention(nn.Module):
    def forward(self, x):
        return (x @ x.mT).softmax(-1)


class ScoreAttention(nn.Module):
    def forward(self, x):
        return x @ x.mT


class Norms(nn.Module):
    """Powers, products and projections that attend to nothing."""

    def __init__(self):
        super().__init__()
        self.attention = Projected(F.scaled_dot_product_attention)
        self.spread, self.q, self.k, self.v = (nn.Linear(W, W, dtype=torch.float64) for _ in range(4))

    def forward(self, x):
        x = self.attention(x)
        decays = torch.exp(-F.softplus(self.spread(x)).cumsum(1))  # of a state space
        carried = decays.mT @ x
        norms = (x @ x.mT).exp() @ x.new_ones(T, 1)  # the sum of each row
        powers = (x @ x.mT).exp()
        return carried, norms, powers * 2, self.q(x) + self.k(x) + self.v(x)


class Skips(FusedAttention):
    def forward(self, x):
        return None


QUIET = {
    "shares handed over": HandsOver(ShareAttention()),
    "scores handed over": HandsOver(ScoreAttention()),
    "powers": Norms(),
    "who wraps what is seen": nn.Sequential(Projected(F.scaled_dot_product_attention)),
    "PyTorch's layer": nn.TransformerEncoderLayer(W, H, 5, batch_first=True, dtype=torch.float64),
}


@pytest.mark.parametrize("model", QUIET.values(), ids=QUIET)
def test_what_does_not_attend_unseen_is_no_alarm(model):
    model = model.eval()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with capture(model) as recording:
            model(normal(B, T, W, grad=False))
    assert len(recording.weights) == 1
    assert recording.unseen == {}


def test_who_hands_out_is_no_alarm():
    """Neither a module, nor what it asks, nor what calls a function."""

    class HandingAttention(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = FusedAttention()

        def forward(self, x):
            return self.inner(x), x.new_full((B, T, T), 1 / T)

    class AsksAttention(nn.Module):
        def forward(self, x):
            return attention(x, x, x)[0]

    model = nn.Sequential(AsksAttention(), HandingAttention()).eval()
    with capture(model, of=[attention, "1"]) as recording:
        model(normal(B, T, W, grad=False))
    assert recording.unseen == {}
    assert len(recording.weights) == 2


# What is seen


SEEN = {
    "log_softmax": lambda s: F.log_softmax(s, dim=-1).exp(),
    "logsumexp": lambda s: torch.exp(s - torch.logsumexp(s, -1, keepdim=True)),
    "logsumexp, an axis added": lambda s: (s - s.logsumexp(-1)[..., None]).exp(),
    "exp2": lambda s: torch.exp2(s / 0.6931471805599453) / torch.exp2(s / 0.6931471805599453).sum(-1, keepdim=True),
}


@pytest.mark.parametrize("shares", SEEN.values(), ids=SEEN)
def test_shares_by_logarithms_are_seen_and_cut(shares):
    def middle(q, k, v):
        return shares(q @ k.mT / 2) @ v

    model, x = Projected(middle).eval(), normal(B, T, W, grad=False)
    true = (split(model.q(x)) @ split(model.k(x)).mT / 2).softmax(-1).detach()
    with capture(model) as recording:
        model(x)
    torch.testing.assert_close(recording.weights["Projected"], true)
    with capture(model, cuts=[Cut(heads=1, weights=silent)]) as recording:
        model(x)
    assert (recording.weights["Projected"][:, 1] == 0).all()


NEAR = -(torch.arange(T)[:, None] - torch.arange(T)).abs().double().expand(B, H, T, T)
MIXED = {
    "a gate before": lambda s: 0.25 * s.softmax(-1) + s.new_tensor(0.75) * NEAR.softmax(-1),
    "a gate of each head's before": lambda s: torch.full((1, H, 1, 1), 0.25).double() * s.softmax(-1),
    "a gate behind": lambda s: s.softmax(-1) * s.new_tensor(0.25) + NEAR.softmax(-1) * 0.75,
    "something added to": lambda s: torch.eye(T).double() + s.softmax(-1),
    "the difference of two": lambda s: s.softmax(-1) - 0.5 * NEAR.softmax(-1),
}


@pytest.mark.parametrize("shares", MIXED.values(), ids=MIXED)
def test_shares_are_seen_where_they_are_mixed_and_what_weighs_is_recorded(shares):
    """As in layers that mix what is alike with what is near; a cut goes by the shares, for no scores are theirs."""
    model, x = Projected(lambda q, k, v: shares(q @ k.mT / 2) @ v).eval(), normal(B, T, W, grad=False)
    true = shares(split(model.q(x)) @ split(model.k(x)).mT / 2).detach()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with capture(model) as recording:
            model(x)
        with capture(model, cuts=[Cut(hide=[2])]) as cut:
            model(x)
    torch.testing.assert_close(recording.weights["Projected"], true)
    assert (cut.weights["Projected"][..., 2] == 0).all()


def test_what_is_compiled_within_is_seen():
    """A function, and not a module."""
    middle = torch.compile(lambda q, k, v: (q @ k.mT).softmax(-1) @ v, backend="eager")
    model, x = between(Projected(middle)), normal(B, T, W, grad=False)
    with torch.no_grad():
        plain = model(x)
        with capture(model) as recording:
            torch.testing.assert_close(model(x), plain)
        torch.testing.assert_close(model(x), plain)
    assert list(recording.weights) == ["0", "1", "2"]
