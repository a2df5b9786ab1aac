"""Modules: by their projections, and from outside."""

import pytest
import torch
from examined import Fused, names

from surgeon import MultiHeadAttention, attention, examine
from surgeon.checkup.subjects.projections import known_projections
from surgeon.zoo.catalogue import ZOO

# As libraries and books call them: queries, keys, values and the output, all in one and the output, or no output.
CALLED = """
W_Q W_K W_V W_O | q_proj k_proj v_proj o_proj | q_proj k_proj v_proj out_proj | q_proj k_proj v_proj dense
q_proj k_proj v_proj proj | W_query W_key W_value out_proj | W_query W_key W_value | q_lin k_lin v_lin out_lin
q_linear k_linear v_linear out | wq wk wv wo | Wq Wk Wv Wo | W_q W_k W_v W_o | w_q w_k w_v w_o | w_qs w_ks w_vs fc
c_q c_k c_v c_proj | to_q to_k to_v to_out | q k v o | q k v proj | query key value proj | query key value out
queries keys values fc_out | query key value | c_attn c_proj | qkv proj | qkv out_proj | qkv out | qkv_proj o_proj
qkv_proj out_proj | query_key_value dense | to_qkv to_out | Wqkv out_proj | Wqkv Wo | in_proj out_proj
c_attn | qkv | to_qkv
"""


@pytest.mark.parametrize("names", [tuple(row.split()) for row in CALLED.replace("\n", "|").split("|") if row.split()])
def test_projections_are_known_by_the_names_that_people_use(names):
    module = torch.nn.Module()
    for name in ("norm", *names[::-1]):
        module.add_module(name, torch.nn.Identity())
    assert known_projections(module) == names


def test_projections_by_their_dotted_names():
    held = {"projections": ("inner.all", "inner.out"), "heads": 4}
    report = examine(Fused(), **held)
    assert report.passed, report.diagnosis
    assert report["known form"].passed
    assert report["weights returned"].passed
    assert names(examine(Fused(wrong=True), **held)) == ["heads apart"]


def test_matrices_that_nobody_named_are_asked_from_outside_and_a_vector_is_none():
    class Blend(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.second, self.third, self.last = (torch.nn.Linear(28, 28) for _ in range(4))

        def forward(self, query, key, value, mask=None):
            given = zip((self.first, self.second, self.third), (query, key, value), strict=True)
            Q, K, V = (matrix(x).unflatten(-1, (4, 7)).transpose(1, 2) for matrix, x in given)
            return self.last(attention(Q, K, V, mask)[0].transpose(1, 2).flatten(2))

    class Bare(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.gain = torch.nn.Parameter(torch.ones(1))

        def forward(self, query, key, value, mask=None):
            return attention(query, key, value, mask)[0] * self.gain

    outside, named = examine(Blend()), examine(Blend(), projections=("first", "second", "third", "last"), heads=4)
    assert outside.subject == "Blend (on x, from outside)"
    assert outside["known form"].passed is None
    assert named["known form"].passed
    bare = examine(Bare())
    assert bare.subject.startswith("Bare (B T d, ")
    assert bare["known form"].passed
    assert names(outside) == names(named) == names(bare) == []


def test_an_output_projection_may_be_given_all_tokens_in_one_row():
    class Flat(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.num_heads = 4
            self.q_proj, self.k_proj, self.v_proj, self.out_proj = (torch.nn.Linear(28, 28) for _ in range(4))

        def forward(self, x, mask=None):
            Q, K, V = (f(x).unflatten(-1, (4, 7)).transpose(1, 2) for f in (self.q_proj, self.k_proj, self.v_proj))
            heads = attention(Q, K, V, mask)[0].transpose(1, 2)
            return self.out_proj(heads.reshape(-1, 28)).view_as(x)

    report = examine(Flat())
    assert names(report) == []
    assert report["known form"].passed


def test_one_projection_of_all_three_is_asked_for_as_many_queries_as_keys():
    """It takes a context, as GPT-2's layers do, and more keys than queries are an error of its own."""

    class OneMatrix(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.num_heads = 4
            self.c_attn, self.c_proj = torch.nn.Linear(28, 84), torch.nn.Linear(28, 28)

        def forward(self, hidden_states, attention_mask=None, encoder_hidden_states=None):
            Q, K, V = (x.unflatten(-1, (4, 7)).transpose(-2, -3) for x in self.c_attn(hidden_states).chunk(3, -1))
            scores = Q @ K.mT / 7**0.5
            scores = scores if attention_mask is None else scores + attention_mask
            weights = scores.softmax(-1)
            return self.c_proj((weights @ V).transpose(-2, -3).flatten(-2)), weights

    report = examine(OneMatrix(), mask="additive")
    assert names(report) == ["dead rows, forward", "scale before overflow"]
    assert report["known form"].passed
    assert report["rectangular causal"].passed is None


def test_a_layer_from_outside_tells_what_it_can():
    report = examine(Fused(), width=28)
    assert report.passed
    told = ("batch elements apart", "mask obeyed", "future, training", "future, evaluating", "dead rows, forward")
    assert all(report[name].passed for name in told)
    assert report["scale"].passed is None
    assert "projections" in report["scale"].meaning
    assert names(examine(Fused(wrong=True), width=28)) != []


def test_a_layer_from_outside_that_writes_into_what_it_is_given():
    class Writer(Fused):
        def forward(self, x, attn_mask=None):
            return super().forward(x.mul_(2.0), attn_mask)

    class MaskWriter(Fused):
        def forward(self, x, attn_mask=None):
            output = super().forward(x, attn_mask)
            if attn_mask is not None:
                attn_mask.fill_(True)
            return output

    assert examine(Fused(), width=28)["inputs unchanged"].passed
    for kind, said in ((Writer, "x"), (MaskWriter, "the mask")):
        report = examine(kind(), width=28)
        assert names(report) == ["inputs unchanged"]
        assert report["inputs unchanged"].meaning == f"It writes into {said}."


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda keep: keep, ""),
        (lambda keep: ~keep, "Padding reaches the tokens beside it"),
        (lambda keep: keep | True, "Padding reaches the tokens beside it"),
        (lambda keep: keep & False | torch.eye(5, dtype=torch.bool), "Real tokens are hidden"),
    ],
    ids=["sound", "inverted", "lost", "too much"],
)
def test_padding_of_a_layer_from_outside(change, said):
    class Padded(Fused):
        def forward(self, x, keep=None):
            return super().forward(x, None if keep is None else change(keep[:, None, None]))

    report = examine(Padded(), width=28, padding="keep")
    assert report["padding on keys"].passed == (not said)
    assert said in report["padding on keys"].meaning
    assert names(report) == ["padding on keys"] * bool(said)


@pytest.mark.parametrize(
    ("kind", "finding"),
    [
        ("CausalInTrainingOnly", "future, evaluating"),
        ("CausalInEvaluationOnly", "future, training"),
        ("DropoutInEvaluation", "same answer twice"),
    ],
)
def test_a_faulty_layer_from_outside(kind, finding):
    fault = ZOO[kind]
    assert names(examine(fault.subject(), projections=False, **fault.held)) == [finding]


def test_bert_from_its_own_library():
    bert = pytest.importorskip("transformers.models.bert.modeling_bert")
    config = bert.BertConfig(hidden_size=28, num_attention_heads=4, num_hidden_layers=1, attn_implementation="eager")
    report = examine(bert.BertSelfAttention(config), mask="additive", dead_rows="any")
    for name in ("known form", "heads apart", "mask obeyed", "future, training", "dropout after softmax", "scale"):
        assert report[name].passed, report.diagnosis


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("projections", [None, False], ids=["probed", "from outside"])
def test_a_module_is_left_as_it_was(training, projections):
    layer = MultiHeadAttention(28, 4, dropout=0.25).train(training)
    layer.W_V.weight.grad = torch.ones(28, 28)
    kept = {name: x.detach().clone() for name, x in layer.named_parameters()}
    examine(layer, projections=projections)
    assert all(torch.equal(x, kept[name]) for name, x in layer.named_parameters())
    assert (layer.W_V.weight.grad == 1).all()
    assert layer.W_Q.weight.grad is None
    assert layer.training == training
    assert all(module.training == training for module in layer.modules())
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in layer.modules())
    assert layer.W_Q.weight.dtype == torch.float32
