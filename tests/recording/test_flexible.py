"""PyTorch's flexible attention, captured: scores changed by anybody, masks by their rule."""

import pytest
import torch
from oracle import normal
from tensors import inputs
from torch import nn
from torch.nn.attention import flex_attention as flexible

from surgeon import attention, capture
from surgeon.models.cuts import Cut, silent

SLOPES = torch.tensor([0.3, 0.7, 1.1], dtype=torch.float64)


class Flexible(nn.Module):
    def __init__(self, **said):
        super().__init__()
        self.said = said

    def forward(self, Q, K, V):
        return flexible.flex_attention(Q, K, V, **self.said)


def causal(b, h, i, j):
    return i >= j


def sloped(score, b, h, i, j):
    return score - SLOPES[h] * (i - j)


@pytest.fixture
def uncompiled(monkeypatch):
    """Nothing is compiled to compare with either."""
    monkeypatch.setattr(flexible, "_FLEX_ATTENTION_DISABLE_COMPILE_DEBUG", True)


def asked(T, S):
    added = -SLOPES[:, None, None] * (torch.arange(T)[:, None] - torch.arange(S))
    seen = torch.arange(T)[:, None] >= torch.arange(S)
    block = flexible.create_block_mask(causal, None, None, T, S, device="cpu")
    return {
        "nothing": ({}, torch.zeros(T, S, dtype=torch.float64)),
        "scores": ({"score_mod": sloped}, added),
        "a mask": ({"block_mask": block}, torch.zeros(T, S, dtype=torch.float64).masked_fill(~seen, -torch.inf)),
        "both": ({"block_mask": block, "score_mod": sloped}, added.masked_fill(~seen, -torch.inf)),
        "a scale": ({"scale": 0.9}, torch.zeros(T, S, dtype=torch.float64)),
    }


@pytest.mark.parametrize("name", asked(1, 1))
def test_flexible_attention_in_steps(uncompiled, name):
    Q, K, V = (x.detach() for x in inputs(2, 3, T=5, S=7, d_k=11, d_v=13))
    said, added = asked(5, 7)[name]
    model = Flexible(**said).eval()
    scale = said.get("scale", 11**-0.5)
    output, weights = attention(Q * scale, K, V, added, scale=False)
    plain = model(Q, K, V)
    with capture(model) as recording:
        found = model(Q, K, V)
    torch.testing.assert_close(found, plain)
    torch.testing.assert_close(found, output)
    torch.testing.assert_close(recording.weights["Flexible"], weights)
    assert recording.compared == 1
    assert flexible._FLEX_ATTENTION_DISABLE_COMPILE_DEBUG


def test_groups_one_text_for_all_and_rows_that_see_nothing(uncompiled):
    Q, (K, V) = normal(2, 6, 5, 4, grad=False), (normal(1, 2, 5, 4, seed=s, grad=False) for s in (1, 2))
    block = flexible.create_block_mask(lambda b, h, i, j: i > j, 2, None, 5, 5, device="cpu")
    lse = flexible.AuxRequest(lse=True)
    model = Flexible(block_mask=block, enable_gqa=True, return_aux=lse).eval()
    plain, told = model(Q, K, V)
    with capture(model) as recording:
        found, again = model(Q, K, V)
    torch.testing.assert_close(found, plain)
    torch.testing.assert_close(again.lse, told.lse)
    assert recording.stack().shape == (1, 6, 5, 5)
    assert (recording.stack()[:, :, 0] == 0).all()


def test_it_is_cut(uncompiled):
    Q, K, V = (x.detach() for x in inputs(2, 3, T=5, S=5, d_k=4, d_v=4))
    model = Flexible(score_mod=sloped).eval()
    with capture(model, cuts=[Cut(heads=1, weights=silent)]) as recording:
        output = model(Q, K, V)
    plain = model(Q, K, V)
    assert (output[:, 1] == 0).all()
    torch.testing.assert_close(output[:, ::2], plain[:, ::2])
    assert recording.change.largest == pytest.approx(float(plain[:, 1].abs().max()))


def test_compiled_as_its_documentation_advises(uncompiled):
    Q, K, V = (x.detach() for x in inputs(2, 3, T=5, S=5, d_k=4, d_v=4))
    once = torch.compile(flexible.flex_attention, backend="eager")

    class Compiled(nn.Module):
        def forward(self, Q, K, V):
            return once(Q, K, V, score_mod=sloped)

    with capture(model := Compiled().eval()) as recording:
        model(Q, K, V)
    assert recording.stack().shape == (1, 3, 5, 5)


def test_under_autocast_it_rounds_as_products_do(uncompiled):
    Q, K, V = (x.detach().float() for x in inputs(2, 3, T=5, S=5, d_k=4, d_v=4))
    model = Flexible().eval()
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16), capture(model) as recording:
        assert model(Q, K, V).dtype == torch.bfloat16
    assert recording.compared == 1
