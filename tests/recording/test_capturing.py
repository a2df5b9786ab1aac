"""Capture: what is taken for attention, what is not, and that all is as it was."""

import copy
import warnings

import pytest
import torch
import torch.nn.functional as F
from oracle import normal
from torch import nn
from torch.utils.checkpoint import checkpoint

import surgeon
from surgeon import MultiHeadAttention, attention, capture, stable_softmax
from surgeon.models.cuts import Cut, own_diagonal, silent, uniform

W, H, B, T = 12, 3, 2, 7


class Attention(nn.Module):
    """One layer of three heads, whose shares and product are somebody's own."""

    def __init__(self, shares, product):
        super().__init__()
        self.qkv = nn.Linear(W, 3 * W, dtype=torch.float64)
        self.num_heads, self.shares, self.product = H, shares, product

    def forward(self, x):
        q, k, v = self.qkv(x).unflatten(-1, (3, H, -1)).permute(2, 0, 3, 1, 4)
        mask = torch.ones(x.shape[1], x.shape[1], dtype=torch.bool).tril()
        scores = (q @ k.mT).masked_fill(~mask, -torch.inf)
        return self.product(self.shares(scores), v).transpose(1, 2).flatten(2)


def folded(weights, v):
    return torch.bmm(weights.flatten(0, 1), v.flatten(0, 1)).unflatten(0, (-1, H))


def by_powers(scores):
    powers = (scores - scores.amax(-1, keepdim=True)).exp()
    return powers / powers.sum(-1, keepdim=True)


def in_place(scores):
    powers = torch.exp(scores)
    powers /= powers.sum(dim=-1, keepdim=True) + 1e-12
    return powers


SHARES = {
    "F.softmax": lambda s: F.softmax(s, dim=-1),
    "torch.softmax": lambda s: torch.softmax(s, 3),
    "a method": lambda s: s.softmax(-1),
    "a module": nn.Softmax(dim=-1),
    "special": lambda s: torch.special.softmax(s, -1),
    "the book's": stable_softmax,
    "by powers": by_powers,
    "in place": in_place,
    "and dropout": lambda s: F.dropout(s.softmax(-1), 0.5, training=False),
    "and back": lambda s: s.float().softmax(-1).type_as(s),
}
PRODUCTS = {
    "@": lambda w, v: w @ v,
    "torch.matmul": torch.matmul,
    "by name": lambda w, v: torch.matmul(input=w, other=v),
    "bmm, folded": folded,
    "baddbmm": lambda w, v: torch.baddbmm(torch.zeros(1, 1, 1).double(), w.flatten(0, 1), v.flatten(0, 1)).unflatten(
        0, (-1, H)
    ),
    "turned, on the right": lambda w, v: (v.mT @ w.transpose(-1, -2)).mT,
    "turned, on the right, folded": lambda w, v: torch.bmm(
        v.flatten(0, 1).mT, w.flatten(0, 1).permute(0, 2, 1)
    ).mT.unflatten(0, (-1, H)),
    "turned, in an einsum": lambda w, v: torch.einsum("bhji,bhjd->bhid", w.mT, v),
    "turned and back": lambda w, v: w.mT.swapaxes(2, 3) @ v,
    "einsum": lambda w, v: torch.einsum("bhij,bhjd->bhid", w, v),
    "einsum, turned": lambda w, v: torch.einsum("bhjd,bhij->bhid", v, w),
}


def model_of(shares="F.softmax", product="@"):
    torch.manual_seed(0)
    return Attention(SHARES[shares], PRODUCTS[product]).eval()


WRITTEN = [(s, "@") for s in SHARES] + [("F.softmax", p) for p in PRODUCTS]


@pytest.mark.parametrize(("shares", "product"), WRITTEN, ids=lambda x: x)
def test_however_it_is_written(shares, product):
    x = normal(B, T, W, grad=False)
    true = {}
    keep = lambda w, v: true.setdefault("w", w) @ v
    plain = model_of(shares, product)(x)
    twin = model_of(shares)
    twin.product = keep
    twin(x)
    model = model_of(shares, product)
    with capture(model) as recording:
        output = model(x)
    torch.testing.assert_close(output, plain, rtol=0, atol=0)
    assert recording.weights.keys() == {"Attention"}
    torch.testing.assert_close(recording.weights["Attention"], true["w"].detach(), rtol=0, atol=0)


@pytest.mark.parametrize(("shares", "product"), WRITTEN, ids=lambda x: x)
def test_however_it_is_written_it_can_be_cut(shares, product):
    """A head that is silent gives zeros, and its neighbours what they gave."""
    model, x = model_of(shares, product), normal(B, T, W, grad=False)
    plain = model(x).detach().unflatten(-1, (H, -1))
    with capture(model, cuts=[Cut(heads=1, weights=silent)]) as recording:
        output = model(x).detach().unflatten(-1, (H, -1))
    assert (output[:, :, 1] == 0).all()
    torch.testing.assert_close(output[:, :, [0, 2]], plain[:, :, [0, 2]])
    assert (recording.weights["Attention"][:, 1] == 0).all()
    change = recording.change
    assert change.largest == pytest.approx(float(plain[:, :, 1].abs().max()))
    assert change.share == pytest.approx(float(plain[:, :, 1].norm() / plain.norm()))
    torch.testing.assert_close(change.after - change.before, output.flatten(2) - plain.flatten(2))


class Reads(nn.Module):
    """A layer, and other shares that are no attention."""

    def __init__(self):
        super().__init__()
        self.attention, self.head = model_of(), nn.Linear(W, 5, dtype=torch.float64)
        self.experts = nn.Parameter(torch.ones(5, W, W, dtype=torch.float64))

    def forward(self, x):
        x = self.attention(x)
        words = self.head(x).softmax(-1)  # of a vocabulary: nothing is summed
        gates = self.head(x[:, 0]).softmax(-1)  # two axes
        by_place = torch.einsum("bte,bted->btd", words, torch.ones(B, T, 5, W).double())
        across = x.softmax(1).mT @ x  # over another axis
        away = self.head(x).softmax(-1).mT @ x  # over the axis before, and not theirs
        aside = x.mT @ self.head(x).softmax(-1)  # the same, on the right and not turned
        logs = (self.head(x).softmax(-1) + 1).log() @ torch.ones(5, 5).double()
        return words, gates @ torch.ones(5, 2).double(), by_place, across, away, aside, logs


def test_other_shares_are_no_attention():
    model = Reads()
    with capture(model) as recording:
        model(normal(B, T, W, grad=False))
    assert list(recording.weights) == ["attention"]


def test_the_books_own_layer():
    layer, x = MultiHeadAttention(W, H).double(), normal(B, T, W, grad=False)
    _, weights = layer(x)
    with capture(layer) as recording:
        layer(x)
    torch.testing.assert_close(recording.weights["MultiHeadAttention"], weights.detach())


class Calls(nn.Module):
    """A layer that hands out weights which never multiply anything in one piece."""

    def forward(self, x):
        return surgeon.attention(x, x, x)


@pytest.mark.parametrize("of", [[attention], {attention: lambda got: got[1]}], ids=["list", "mapping"])
def test_a_function_that_hands_out_its_weights(of):
    model, x = Calls(), normal(B, T, W, grad=False)
    with capture(model, of=of) as recording:
        _, weights = model(x)
    torch.testing.assert_close(recording.weights["attention"], weights[:, None].detach())
    assert surgeon.attention is attention


@pytest.mark.parametrize("way", ["module", "name", "mapping"])
def test_a_module_that_hands_out_its_weights(way):
    layer = nn.MultiheadAttention(W, H, batch_first=True, dtype=torch.float64)
    model = nn.Sequential(Thrice(layer))
    one = model[0].layer
    of = {"module": [one], "name": ["0.layer"], "mapping": {one: lambda got: got[1]}}[way]
    x = normal(B, T, W, grad=False)
    with capture(model, of=of) as recording:
        _, weights = model(x)
    torch.testing.assert_close(recording.weights["0.layer"], weights[:, None].detach())


class Thrice(nn.Module):
    def __init__(self, layer):
        super().__init__()
        self.layer = layer

    def forward(self, x):
        return self.layer(x, x, x)


class Loop(nn.Module):
    """One layer that attends as often as it is told to."""

    def __init__(self, times=3):
        super().__init__()
        self.layer, self.times = model_of(), times

    def forward(self, x):
        for _ in range(self.times):
            x = self.layer(x)
        return x


def test_a_layer_that_attends_again_has_a_number():
    model = Loop()
    with capture(model) as recording:
        model(normal(B, T, W, grad=False))
        model(normal(B, T + 1, W, grad=False))
    assert list(recording.weights) == ["layer", "layer#2", "layer#3"]
    assert recording.stack(row=1).shape == (3, H, T + 1, T + 1)
    assert recording.stack(["layer#2"]).shape == (1, H, T + 1, T + 1)
    assert repr(recording) == "Recording(3 layers, each [2, 3, 8, 8])"


def test_layers_are_counted_as_they_attend():
    model, x = Loop(), normal(B, T, W, grad=False)
    with capture(model, cuts=[Cut(layers=1, heads=[0, 2], weights=uniform)]) as recording:
        model(x)
    even = surgeon.uniform_weights(surgeon.create_causal_mask(T), dtype=torch.float64)
    weights = recording.stack()
    for layer in range(3):
        for head in range(H):
            cut = layer == 1 and head != 1
            assert torch.allclose(weights[layer, head], even) == cut
    found = recording.patterns()
    assert found.shape == (9, 7)
    row = found.iloc[4]
    assert (row["layer"], row["name"], row["head"]) == (1, "layer#2", 1)
    assert row["entropy"] == surgeon.analyze_attention_patterns(weights[1, 1])["entropy"]


# All is as it was


def test_all_is_as_it_was_after_an_error():
    model = Loop()
    model.layer.product = lambda w, v: {}["none"]
    before = copy.copy(model._forward_hooks), torch.backends.mha.get_fastpath_enabled()
    with pytest.raises(KeyError), capture(model, check=False):
        model(normal(B, T, W, grad=False))
    modules = list(model.modules())
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in modules)
    assert before == ({}, torch.backends.mha.get_fastpath_enabled())
    assert torch.overrides._get_current_function_mode_stack() == []
    with pytest.raises(ZeroDivisionError), capture(model):
        _ = 1 / 0
    model.layer.product = interrupted
    with pytest.raises(KeyboardInterrupt), capture(model, check=False):
        model(normal(B, T, W, grad=False))
    assert torch.overrides._get_current_function_mode_stack() == []


def interrupted(w, v):
    raise KeyboardInterrupt


def test_an_error_within_leaves_the_rest_to_be_recorded():
    model, x = Loop(), normal(B, T, W, grad=False)
    with capture(model, check=False) as recording:
        with pytest.raises(RuntimeError, match="permute"):
            model(normal(W, grad=False))
        model(x)
    assert len(recording.weights) == 3


def test_gradients_flow_as_they_did():
    model, x = Loop(), normal(B, T, W)
    plain = torch.autograd.grad(model(x).sum(), [x, *model.parameters()])
    with capture(model):
        found = torch.autograd.grad(model(x).sum(), [x, *model.parameters()])
    torch.testing.assert_close(found, plain, rtol=0, atol=0)


def test_a_cut_passes_gradients_to_what_is_left():
    model, x = model_of(), normal(B, T, W)
    with capture(model, cuts=[Cut(heads=0, weights=own_diagonal)]):
        (found,) = torch.autograd.grad(model(x)[..., :4].sum(), x)
    assert torch.isfinite(found).all()
    assert (found != 0).any()


def test_what_was_compiled_runs_uncompiled():
    model = model_of()
    compiled, x = torch.compile(model, backend="eager"), normal(B, T, W, grad=False)
    with capture(compiled) as recording:
        compiled(x)
    assert len(recording.weights) == 1


def test_a_model_in_training_is_called_once():
    model = Loop().train()
    with capture(model) as recording:
        model(normal(B, T, W, grad=False))
    assert recording.compared == 0
    model.eval()
    with capture(model) as recording:
        model(normal(B, T, W, grad=False))
    assert recording.compared == 1


# What is refused


class Forgets(nn.Module):
    """It answers otherwise each time."""

    def __init__(self):
        super().__init__()
        self.layer, self.times = model_of(), 0

    def forward(self, x):
        self.times += 1
        return self.layer(x) + self.times


def test_outputs_that_differ_are_an_error():
    model, x = Forgets().eval(), normal(B, T, W, grad=False)
    with (
        pytest.raises(ValueError, match=r"^model must give the same while .* say check=False") as caught,
        capture(model),
    ):
        model(x)
    assert "1 of difference from Forgets" in str(caught.value)
    with capture(model, check=False) as recording:
        model(x)
    assert len(recording.weights) == 1


def test_memory_has_a_limit():
    model, x = Loop(), normal(B, T, W, grad=False)
    one = B * H * T * T * 8
    said = r"^capture kept 2 layers and left out 1, from layer#3 on"
    with pytest.warns(UserWarning, match=said), capture(model, at_most=2 * one) as recording:
        model(x)
    assert list(recording.weights) == ["layer", "layer#2"]
    assert recording.left_out == ["layer#3"]
    with pytest.raises(ValueError, match=r"^at_most must leave room for layer#3, got \d+ bytes.$"):
        recording.stack()
    assert recording.stack(["layer"]).shape == (1, H, T, T)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with capture(model, at_most=3 * one):
            model(x)
            model(x)


def test_a_model_that_does_not_attend():
    model = nn.Linear(W, W)
    said = r"^model must attend where it is seen, .* got none: name with of"
    with pytest.raises(ValueError, match=said), capture(model):
        model(torch.ones(2, W))
    with capture(model) as recording:
        pass  # and is not called
    with pytest.raises(ValueError, match=r"^weights must have been recorded, got none.$"):
        recording.stack()


def test_a_model_is_captured_once_at_a_time():
    model = Loop()
    with capture(model):
        said = r"^model must not be captured twice at a time, got Attention a second"
        with pytest.raises(ValueError, match=said), capture(model.layer):
            pass
        with capture(other := Loop()) as recording:
            other(normal(B, T, W, grad=False))
    assert len(recording.weights) == 3
    assert not model.layer._forward_hooks


def test_layers_that_differ_are_not_stacked():
    model = nn.TransformerDecoder(nn.TransformerDecoderLayer(W, H, 5, batch_first=True), 1).eval()
    with capture(model) as recording:
        model(torch.ones(B, T, W), torch.ones(B, 5, W))
    with pytest.raises(ValueError, match=r"^names must be of layers that are alike, got layers.0.self_attn with"):
        recording.stack()
    assert recording.stack(["layers.0.multihead_attn"]).shape == (1, H, T, 5)


REFUSED = {
    "a function": (lambda m: capture(lambda x: x), "model must be a torch.nn.Module, got function."),
    "a cut": (lambda m: capture(m, cuts=Cut()), "cuts must be a sequence of Cut"),
    "a scale": (lambda m: capture(m, cuts=[Cut(scale=2.0)]), "cuts of a captured model must leave scale, causal"),
    "a mask": (lambda m: capture(m, cuts=[Cut(causal=False)]), "cuts of a captured model must leave scale, causal"),
    "a layer": (lambda m: capture(m, cuts=[Cut(layers=3)]), "layers must be integers from 0 to 2, got 3."),
    "a head": (lambda m: capture(m, cuts=[Cut(heads=3)]), "heads must be integers from 0 to 2, got 3."),
    "handed out": (lambda m: capture(m, of=[nn.Linear(1, 1)]), "of must hold modules of the model, their names"),
    "a name": (lambda m: capture(m, of=["layers"]), "of must hold modules of the model, their names"),
    "one name": (lambda m: capture(m, of="layer"), "of must be a sequence or a mapping, got 'layer'; write [of] for"),
    "a cut by name": (lambda m: capture(m, cuts={"layer": Cut()}), "cuts must be a sequence of Cut"),
    "a number by name": (
        lambda m: capture(m, cuts={"layer": [Cut(layers=0)]}),
        "cuts by name must leave layers as they are, got layers for 'layer'.",
    ),
    "no such name": (
        lambda m: capture(m, cuts={"layers": [Cut(heads=0)]}),
        "cuts must name layers that attend: layer, layer#2, layer#3, got 'layers'.",
    ),
    "no weights": (lambda m: capture(m, of=["layer"]), "of must name what returns (output, weights), got NoneType"),
    "memory": (lambda m: capture(m, at_most=0), "at_most must be an integer of at least 1, got 0."),
    "check": (lambda m: capture(m, check=1), "check must be True or False, got 1."),
}


@pytest.mark.parametrize("refused", REFUSED.values(), ids=REFUSED)
def test_what_is_refused_is_refused_in_a_sentence(refused):
    asks, said = refused
    model = Loop()
    with pytest.raises(ValueError) as caught, asks(model):  # noqa: PT011
        model(normal(B, T, W, grad=False))
    assert str(caught.value).startswith(said)
    assert "\n" not in str(caught.value)
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())


def test_what_is_handed_out_cannot_be_cut():
    model = Thrice(nn.MultiheadAttention(W, H, batch_first=True)).eval()
    said = r"^cuts must be in layers whose weights are used where they are seen, got"
    with pytest.raises(ValueError, match=said), capture(model, of=["layer"], cuts=[Cut(heads=0)]) as recording:
        model(torch.ones(B, T, W))
    assert recording.weights == {}


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"names": ["none"]}, "names must be of layer, layer#2, layer#3, got 'none'."),
        ({"row": 2}, "row must be an integer from 0 to 1, got 2."),
    ],
    ids=["name", "row"],
)
def test_what_is_not_there_is_not_stacked(wrong, said):
    model = Loop()
    with capture(model) as recording:
        model(normal(B, T, W, grad=False))
    with pytest.raises(ValueError) as caught:  # noqa: PT011
        recording.stack(**wrong)
    assert str(caught.value) == said


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
def test_a_part_of_torchscript_is_left_alone():
    class Holds(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer, self.scripted = model_of(), torch.jit.script(nn.Linear(W, W).double())

        def forward(self, x):
            return self.scripted(self.layer(x))

    with capture(model := Holds().eval()) as recording:
        model(normal(B, T, W, grad=False))
    assert list(recording.weights) == ["layer"]
    with pytest.raises(ValueError, match=r"^model must not be a program of TorchScript"), capture(model.scripted):
        pass


class Pieces(nn.Module):
    """Keys in two pieces, joined by their log-sum-exp."""

    def forward(self, x):
        each, sums = [], []
        for keys in x.chunk(2, -2):
            scores = x @ keys.mT
            each.append(scores.softmax(-1) @ keys)
            sums.append(scores.logsumexp(-1))
        shares = torch.stack(sums).softmax(0)
        return sum(s[..., None] * a for s, a in zip(shares, each, strict=True))


def test_what_attends_in_pieces_is_not_silently_layers():
    model, x = nn.Sequential(Pieces()).eval(), normal(B, H, 8, 5, grad=False)
    with capture(model) as recording:
        model(x)
    assert list(recording.weights) == ["0", "0#2"]
    said = r"^0 attends more than once in a call \(in pieces\?\)"
    with pytest.warns(UserWarning, match=said):
        recording.stack()
    with pytest.warns(UserWarning, match=said):
        recording.patterns()
    assert recording.stack(["0#2"]).shape == (1, H, 8, 4)
    said = r"^cuts must be given by name, .* got 0, whose weights are named 0, 0#2"
    with pytest.raises(ValueError, match=said), capture(model, cuts=[Cut(hide=0)]):
        model(x)


def test_cuts_by_name():
    model, x = Loop().eval(), normal(B, T, W, grad=False)
    with capture(model, cuts=[Cut(layers=1, heads=2, weights=silent)]) as numbered:
        by_number = model(x)
    with capture(model, cuts={"layer#2": [Cut(heads=2, weights=silent)]}) as named:
        by_name = model(x)
    assert torch.equal(by_name, by_number)
    assert named.change.share == numbered.change.share > 0
    pieces = Pieces().eval()
    with capture(pieces, cuts={"Pieces#2": [Cut(mute=0)]}) as recording:
        pieces(normal(B, H, 8, 5, grad=False))
    muted = [bool((w[..., 0] == 0).all()) for w in recording.weights.values()]
    assert muted == [False, True]


def test_dropout_is_said_where_rows_are_described():
    model = nn.TransformerEncoderLayer(W, H, 5, dropout=0.5, batch_first=True).train()
    with capture(model) as recording:
        model(torch.ones(B, T, W))
    said = r"^weights of self_attn must have rows .* call .eval\(\) first \(got [\d.]+\).$"
    with pytest.raises(ValueError, match=said):
        recording.patterns()


def test_a_change_is_told_in_a_line():
    model = Loop().eval()
    with capture(model, cuts=[Cut(layers=0, weights=silent)]) as recording:
        model(normal(B, T, W, grad=False))
    change = recording.change
    told = f"Change(largest={change.largest:.4g}, share={change.share:.4g}, of outputs [2, 7, 12] in torch.float64)"
    assert repr(change) == told


def test_what_is_handed_out_must_be_shares():
    model = Thrice(nn.MultiheadAttention(W, H, batch_first=True)).eval()
    said = r"^of must name what .* got a row that sums to 4.5 for the weights of layer.$"
    with pytest.raises(ValueError, match=said), capture(model, of={"layer": lambda got: got[1] * 4.5}):
        model(torch.ones(B, T, W))


class Grouped(nn.Module):
    """Heads of queries in groups that share keys, as an einsum has them; nobody says how many there are."""

    def __init__(self):
        super().__init__()
        self.queries, self.keys = nn.Linear(W, W, dtype=torch.float64), nn.Linear(W, 4, dtype=torch.float64)

    def forward(self, x):
        q, k = self.queries(x).unflatten(-1, (2, 3, 2)), self.keys(x).unflatten(-1, (2, 2))
        weights = torch.einsum("bigrd,bjgd->bgrij", q, k).softmax(-1)
        return torch.einsum("bgrij,bjgd->bigrd", weights, k).flatten(2)


def test_groups_of_heads_are_heads_and_no_texts():
    model, x = Grouped().eval(), normal(B, T, W, grad=False)
    plain = model(x).detach().unflatten(-1, (6, 2))
    with capture(model, cuts=[Cut(heads=4, weights=silent)]) as recording:
        output = model(x).detach().unflatten(-1, (6, 2))
    assert recording.weights["Grouped"].shape == (B, 6, T, T)
    assert (output[:, :, 4] == 0).all()
    torch.testing.assert_close(output[:, :, :4], plain[:, :, :4])


class Checkpointed(nn.Module):
    def __init__(self, **said):
        super().__init__()
        self.layers, self.said = nn.ModuleList([model_of(), model_of()]), said

    def forward(self, x):
        for layer in self.layers:
            x = checkpoint(layer, x, **self.said)
        return x


@pytest.mark.parametrize("said", [{"use_reentrant": False}, {"use_reentrant": True}], ids=str)
def test_what_is_called_again_in_the_backward_pass_is_neither_recorded_nor_compared_again(said):
    model, x = Checkpointed(**said).eval(), normal(B, T, W)
    (plain,) = torch.autograd.grad(model(x).sum(), x) if not said["use_reentrant"] else (None,)
    with capture(model) as recording:
        model(x).sum().backward()
    assert list(recording.weights) == ["layers.0", "layers.1"]
    assert recording.compared == 1
    if plain is not None:
        torch.testing.assert_close(x.grad, plain)


def test_cuts_are_refused_where_parts_are_called_again():
    model, x = Checkpointed(use_reentrant=False).eval(), normal(B, T, W)
    said = r"^cuts must be made where each part is called once, got a call of layers.1 in the backward pass, as under"
    with capture(model, cuts=[Cut(layers=1, heads=0, weights=silent)]):
        output = model(x).sum()
        with pytest.raises(ValueError, match=said):
            output.backward()


def test_a_recording_is_not_explored_whole():
    with capture(model := Loop()) as recording:
        model(normal(B, T, W, grad=False))
    said = r"^weights must hold floating-point numbers, got a Recording, whose stack\(\) gives such.$"
    with pytest.raises(ValueError, match=said):
        surgeon.explore(recording, list("abcdefg"))
