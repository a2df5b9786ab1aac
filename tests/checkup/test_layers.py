"""Layers as people write them: how each is asked is found out, and sound ones fail nothing."""

import re

import layers
import pytest
import torch
from examined import names
from layers import Annotated, AsideUnlessAlike, InOne, Longer, Tokens, Turning, ValuesFirst, WithPlaces
from torch import nn

from surgeon import attention, examine, stable_softmax
from surgeon.checkup.subjects.fused import FUSED, side_by_side
from surgeon.checkup.subjects.supplies import CACHES, SUPPLIED, supplies
from surgeon.zoo.fault import Layer

pytestmark = pytest.mark.long

EQUAL = [order for order in FUSED if order != "G q k v"]


@pytest.mark.parametrize("name", SUPPLIED)
def test_what_a_layer_wants_besides_is_handed_in_and_stands_still(name):
    """No cache, the places of the tokens, and angles by which nothing turns."""

    class Wants(nn.Module):
        forward = eval(f"lambda self, x, {name}: x")

    (supply, said), *_ = supplies(Wants(), 6)
    given = supply(5)[name]
    angles = {"freqs_cis": [1.0], "cos": [1.0], "sin": [0.0], "position_embeddings": [1.0, 0.0]}
    expected = {"start_pos": 0, "use_cache": False, "offset": 0} | dict.fromkeys(CACHES)
    if name in angles:
        tables = given if name == "position_embeddings" else [given]
        assert all((table == value).all() for table, value in zip(tables, angles[name], strict=True))
        assert {table.shape[-2:] for table in tables} == {(5, 6)}
        assert said.startswith(f"It wants {name}: it got angles of zero")
        return
    assert said == ""
    if name in expected:
        assert given == expected[name]
        assert type(given) is type(expected[name])
    else:
        assert given.flatten().tolist() == list(range(5))


@pytest.mark.parametrize("order", FUSED)
def test_one_projection_is_put_together_as_it_is_taken_apart(order):
    H, G, d = (6, 2, 7) if order == "G q k v" else (4, 4, 7)
    Q, K, V = (torch.randn(2, 5, n * d) for n in (H, G, G))
    apart = layers.split(order, H, G)(side_by_side(Q, K, V, order, H, G), d)
    assert all(torch.equal(x, y) for x, y in zip(apart, (Q, K, V), strict=True))


@pytest.mark.parametrize("order", EQUAL)
def test_the_order_of_one_projection_is_found_out(order):
    report = examine(InOne(order))
    assert names(report) == []
    assert f"(probed at qkv, proj, in the order {order})" in report.subject
    assert report["heads apart"].passed
    assert report["known form"].passed


@pytest.mark.parametrize(("order", "kv_heads"), [("3 H d", 2), ("G q k v", 2), ("3 H d", 1)])
def test_the_order_of_grouped_heads_is_found_out(order, kv_heads):
    """Nobody says how many key heads there are, but for the widths of what goes in and out."""
    report = examine(InOne(order, 6, kv_heads))
    assert names(report) == []
    assert f"in the order {order})" in report.subject
    assert report["known form"].passed


def test_an_order_is_taken_as_declared():
    """Scores of other heads are no scores of these: what was declared is not second-guessed."""
    assert examine(InOne("H 3 d"), fused="H 3 d").passed
    assert not examine(InOne("H 3 d"), fused="3 H d").passed
    with pytest.raises(ValueError, match="fused must be one of '3 H d', 'H 3 d', 'G q k v', 'H d 3', 'd 3 H', got '3'"):
        examine(InOne(), fused="3")


@pytest.mark.parametrize("kind", [Annotated, ValuesFirst, AsideUnlessAlike, Turning, WithPlaces])
def test_a_layer_of_another_make_fails_nothing(kind):
    report = examine(kind())
    assert names(report) == []
    for law in ("known form", "heads apart", "mask obeyed", "future, training", "half precision"):
        assert report[law].passed, law


def test_a_wide_layer_costs_no_more_than_its_attention():
    """Neither its matrices nor products with them: they are left out of the copy."""

    class Untouchable(nn.Linear):
        def __deepcopy__(self, memo):
            raise AssertionError("copied")

        def forward(self, x):
            raise AssertionError("multiplied")

    layer = InOne()
    layer.qkv, layer.proj = Untouchable(28, 84), Untouchable(28, 28)
    assert names(examine(layer)) == []


@pytest.mark.parametrize("long_mask", [False, True], ids=["pads its mask", "wants it long"])
@pytest.mark.parametrize("front", [True, False], ids=["in front", "behind"])
def test_a_layer_that_lengthens_its_input(front, long_mask):
    report = examine(Longer(front, 3, long_mask))
    assert names(report) == []
    for law in ("answers", "batch elements apart", "mask obeyed", "future, evaluating"):
        assert report[law].passed, law


READ = {
    "True attends": lambda mask: mask,
    "True blocks": lambda mask: ~mask,
    "additive": lambda mask: mask >= 0,
    "0-1": lambda mask: mask == 1,
}


@pytest.mark.parametrize("convention", READ)
def test_the_convention_of_a_layer_from_outside_is_found_out(convention):
    class Reader(InOne):
        def forward(self, x, mask=None):
            return super().forward(x, None if mask is None else READ[convention](mask))

    report = examine(Reader(), projections=False, mask="find")
    assert names(report) == []
    assert report["mask polarity"].passed is None
    if convention != "0-1":
        assert report["mask polarity"].meaning == f"Found out, not declared: {convention}."
    assert report["future, evaluating"].passed


@pytest.mark.parametrize("shape", ["T S", "B T S", "B 1 T S", "B H T S"])
def test_the_shape_of_a_mask_is_found_out_from_outside(shape):
    axes = {"T S": 2, "B T S": 3, "B 1 T S": 4, "B H T S": 4}[shape]

    class Choosy(InOne):
        def forward(self, x, mask=None):
            if mask is not None:
                assert mask.ndim == axes
                assert shape != "B H T S" or mask.shape[1] == 4
                mask = mask[:, None] if axes == 3 else mask
            return super().forward(x, mask)

    report = examine(Choosy(), projections=False)
    assert names(report) == []
    assert report["mask obeyed"].passed


PYTORCHS = {
    "attention": lambda **how: nn.MultiheadAttention(28, 4, **how),
    "attention, other widths": lambda **how: nn.MultiheadAttention(28, 4, kdim=5, vdim=3, **how),
    "attention, keys added": lambda **how: nn.MultiheadAttention(28, 4, add_bias_kv=True, add_zero_attn=True, **how),
    "encoder": lambda **how: nn.TransformerEncoderLayer(28, 4, 56, **how),
    "encoder, norms first": lambda **how: nn.TransformerEncoderLayer(28, 4, 56, norm_first=True, **how),
    "decoder": lambda **how: nn.TransformerDecoderLayer(28, 4, 56, **how),
    "stack": lambda **how: nn.TransformerEncoder(
        nn.TransformerEncoderLayer(28, 4, 56, **how), 2, enable_nested_tensor=False
    ),
}


@pytest.mark.parametrize("batch_first", [True, False], ids=["batch first", "tokens first"])
@pytest.mark.parametrize("name", PYTORCHS)
def test_pytorchs_own_needs_nothing_said(name, batch_first):
    report = examine(PYTORCHS[name](batch_first=batch_first))
    assert [f.name for f in report.failed if f.weight == "fault"] == []
    assert set(names(report)) <= {"dead rows, forward"}  # NaN where weights are wanted
    for law in ("batch elements apart", "mask obeyed", "mask polarity", "padding on keys", "future, training"):
        assert report[law].passed, law
    if name != "stack":
        assert report["known form"].passed
    if "added" in name:
        assert report["sink"].passed


def by_mask(name, heads, lay):
    """Documents for who takes no numbers of them: a mask, True where keys are of another."""
    return lambda numbers: {name: lay((numbers[:, :, None] != numbers[:, None]), heads)}


@pytest.mark.parametrize(
    ("lay", "failed"),
    [
        (lambda mask, heads: mask.repeat_interleave(heads, 0), []),
        (lambda mask, heads: mask.repeat(heads, 1, 1), ["documents"]),
    ],
    ids=["in order", "in turns"],
)
@pytest.mark.parametrize("name", ["attention", "encoder"])
def test_documents_of_pytorchs_own_are_said_by_its_mask(name, lay, failed):
    mask = "attn_mask" if name == "attention" else "src_mask"
    report = examine(PYTORCHS[name](batch_first=True), documents=by_mask(mask, 4, lay), dead_rows="any")
    assert names(report) == failed
    assert report["mask obeyed"].passed
    assert report["documents"].passed is not bool(failed)


def test_a_mask_of_documents_is_for_every_head_of_a_wide_layer():
    """As many as it has, though few are asked where nothing is said of documents."""
    wide = nn.MultiheadAttention(560, 80, batch_first=True)
    lay = lambda mask, heads: mask.repeat_interleave(heads, 0)
    report = examine(wide, documents=by_mask("attn_mask", 80, lay), dead_rows="any")
    assert names(report) == []
    assert report["documents"].passed


def test_pytorchs_layer_from_outside_needs_nothing_said():
    report = examine(nn.TransformerEncoderLayer(28, 4, 56), projections=False)
    assert names(report) == []
    assert report["padding on keys"].passed
    assert report["mask polarity"].passed


def test_a_fault_of_a_layers_own_mask_is_found_through_it():
    class Inverted(nn.TransformerEncoderLayer):
        def _sa_block(self, x, attn_mask, key_padding_mask, is_causal=False):
            turned = None if attn_mask is None else torch.where(attn_mask == 0, -torch.inf, 0.0).to(x.dtype)
            return super()._sa_block(x, turned, key_padding_mask, is_causal=is_causal)

    assert names(examine(Inverted(28, 4, 56, batch_first=True))) == ["mask polarity"]


def test_a_language_model_is_told_what_to_hand_in():
    said = re.escape(
        "subject must be an attention, got Tokens, which takes integers, as a language model does: hand in one of its"
        " attention layers (model.layers[0], model.layers[1] and 1 more), as in examine(model.layers[0]);"
        " examine_model examines the whole."
    )
    with pytest.raises(ValueError, match=f"^{said}$"):
        examine(Tokens())

    class Mixer(nn.MultiheadAttention):
        """PyTorch's own by another name."""

    mixing = Tokens()
    mixing.layers = nn.ModuleList([Mixer(28, 4)])
    with pytest.raises(ValueError, match=re.escape("as in examine(model.layers[0])")):
        examine(mixing)

    def on_tokens(x):
        return Tokens()(x)

    with pytest.raises(ValueError, match="got on_tokens, which takes integers, as a language model does: hand in one"):
        examine(on_tokens, width=28)


def test_an_attention_with_an_embedding_is_no_language_model():
    class Relative(nn.Module):
        def __init__(self):
            super().__init__()
            self.by_distance, self.all = nn.Embedding(9, 1), nn.Linear(28, 84)

        def forward(self, x, mask=None):
            if x.shape[-1] != 28:
                raise TypeError("no")
            places = torch.arange(x.shape[1])
            bias = self.by_distance(places[:, None] - places + 4)[..., 0]
            Q, K, V = self.all(x).chunk(3, -1)
            return attention(Q, K, V, bias if mask is None else bias.masked_fill(~mask, -torch.inf))

    assert examine(Relative(), width=28)["answers"].passed
    broken = examine(Relative(), width=27)
    assert names(broken) == ["answers"]


class WithSinks(Layer):
    """A layer with a sink for each head, read in some way."""

    def __init__(self, read=lambda sinks: sinks):
        super().__init__(28, 4)
        self.sinks = torch.nn.Parameter(torch.tensor([0.5, -1.0, 0.25, 2.0]))
        self.read = read

    def attend(self, Q, K, V, mask):
        scores = Q / Q.shape[-1] ** 0.5 @ K.mT
        if mask is not None:
            scores = scores.masked_fill(~(mask if mask.ndim == 2 else mask[:, None]), -torch.inf)
        column = self.read(self.sinks).to(scores)[:, None, None].expand(*scores.shape[:-1], 1)
        weights = stable_softmax(torch.cat([scores, column], -1))[..., :-1]
        return weights @ V, weights


@pytest.mark.parametrize(
    ("read", "said"),
    [
        (lambda sinks: sinks, ""),
        (lambda sinks: sinks.exp(), ""),  # as it may be meant
        (lambda sinks: sinks.flip(0), "Heads have one another's sinks, in reverse order."),
        (lambda sinks: sinks.roll(1, 0), "Heads have one another's sinks, one place away."),
        (lambda sinks: sinks[:1].expand(4), "All heads have the first head's sink."),
        (lambda sinks: -sinks, "The sink has the other sign."),
        (lambda sinks: sinks / 7**0.5, "The sink is multiplied by the scale, as products are."),
    ],
    ids=["right", "powers", "reverse", "next", "first", "sign", "scaled"],
)
def test_a_learned_sink_is_compared_with_the_parameter_of_its_layer(read, said):
    report = examine(WithSinks(read), sink=True)
    assert names(report) == ["sink"] * bool(said), report.diagnosis
    assert not said or report["sink"].meaning == said
