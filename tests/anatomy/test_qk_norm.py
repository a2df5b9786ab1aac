"""A layer whose queries and keys are normalised, whose scores are capped, or whose heads learn a temperature."""

import math
import re

import pytest
import torch
from oracle import CAUSAL, normal
from torch.nn import functional as F
from transformers.models.qwen3.configuration_qwen3 import Qwen3Config
from transformers.models.qwen3.modeling_qwen3 import Qwen3Attention, Qwen3RotaryEmbedding

from surgeon.anatomy.cache import KeyValueCache
from surgeon.anatomy.heads import MultiHeadAttention, merge_heads, split_heads
from surgeon.anatomy.positions import Alibi, Rotary
from surgeon.anatomy.qk_norm import QueryKeyNorm

OPTIONS = {
    "rms": {"qk_norm": "rms"},
    "l2": {"qk_norm": "l2"},
    "temperature": {"temperature": True},
    "rms, temperature": {"qk_norm": "rms", "temperature": True},
    "cap": {"softcap": 0.7},
    "all": {"qk_norm": "rms", "temperature": True, "softcap": 0.7},
}
options = pytest.mark.parametrize("given", OPTIONS.values(), ids=OPTIONS)


def built(**given):
    """Three query heads of width 14, whose learned numbers have learned something."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        layer = MultiHeadAttention(42, 3, **given).double()
    if layer.qk_norm is not None:
        with torch.no_grad():
            for n, parameter in enumerate(layer.qk_norm.parameters()):
                parameter += 0.3 * normal(*parameter.shape, seed=n, grad=False)
    return layer


def by_hand(layer, x, mask=None, bias=0.0):
    """Scores, head by head, as the formulas have them."""
    Q, K, V = (split_heads(W(x), 3) for W in (layer.W_Q, layer.W_K, layer.W_V))
    norm, over = layer.qk_norm, 14**0.5
    if norm is not None and norm.kind == "rms":
        Q, K = (F.rms_norm(z, (14,), g, eps=1e-6) for z, g in ((Q, norm.gain_Q), (K, norm.gain_K)))
    if norm is not None and norm.kind == "l2":
        Q, K = F.normalize(Q, dim=-1), F.normalize(K, dim=-1)
    if norm is not None and norm.log_temperature is not None:
        over = norm.log_temperature.exp()[:, None, None]
    scores = Q @ K.mT / over
    if layer.softcap:
        scores = layer.softcap * torch.tanh(scores / layer.softcap)
    scores = scores + bias
    if mask is not None:
        scores = scores.masked_fill(~mask, -torch.inf)
    weights = scores.softmax(-1)
    return layer.W_O(merge_heads(weights @ V)), weights


@options
@pytest.mark.parametrize("masked", [False, True], ids=["open", "causal"])
def test_a_layer_does_what_the_formulas_say(given, masked):
    layer, x, mask = built(**given), normal(2, 5, 42), CAUSAL if masked else None
    output, weights = layer(x, mask=mask)
    expected, expected_weights = by_hand(layer, x, mask)
    torch.testing.assert_close(weights, expected_weights)
    torch.testing.assert_close(output, expected)
    learned = [x, *layer.parameters()]
    ours, theirs = (torch.autograd.grad(y.square().sum(), learned) for y in (output, expected))
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b)


def test_off_a_layer_has_what_it_had():
    names = {f"W_{x}.{y}" for x in "QKVO" for y in ("weight", "bias")}
    assert set(built().state_dict()) == set(built(softcap=3.0).state_dict()) == names
    assert set(built(qk_norm="rms").state_dict()) == names | {"qk_norm.gain_Q", "qk_norm.gain_K"}
    assert set(built(qk_norm="l2").state_dict()) == names | {"qk_norm.log_temperature"}
    assert set(built(temperature=True).state_dict()) == names | {"qk_norm.log_temperature"}


def test_weights_are_drawn_as_without():
    plain = built().state_dict()
    for given in OPTIONS.values():
        with_it = built(**given).state_dict()
        assert all(torch.equal(with_it[name], plain[name]) for name in plain)


def test_a_temperature_starts_where_the_scale_is():
    layer, x = MultiHeadAttention(42, 3, temperature=True).double(), normal(2, 5, 42)
    plain = MultiHeadAttention(42, 3).double()
    plain.load_state_dict(layer.state_dict(), strict=False)
    torch.testing.assert_close(layer(x)[1], plain(x)[1], rtol=1e-6, atol=1e-6)  # its logarithm began in float32
    assert not layer.scale


@torch.no_grad()
def test_random_cosines_start_with_a_spread_of_about_one():
    norm = QueryKeyNorm(num_heads=3, width=64, kind="l2")
    Q, K = norm(normal(3, 101, 64, grad=False), normal(3, 103, 64, seed=1, grad=False))
    assert float((Q @ K.mT).std()) == pytest.approx(1.0, abs=0.05)


@pytest.mark.parametrize("size", [1.0, 1e3])
def test_cosines_over_a_temperature_stay_within_it_whatever_the_weights(size):
    layer, x = built(qk_norm="l2"), normal(2, 5, 42, grad=False)
    with torch.no_grad():
        layer.W_Q.weight *= size
        layer.W_K.weight *= size
    Q, K = layer.qk_norm(*(split_heads(W(x), 3) for W in (layer.W_Q, layer.W_K)))
    assert ((Q @ K.mT).abs().amax((0, 2, 3)) * layer.qk_norm.log_temperature.exp() <= 1 + 1e-12).all()


@torch.no_grad()
def test_normalised_scores_stay_within_the_root_of_the_width_times_the_weights():
    layer, x = built(qk_norm="rms"), 1e3 * normal(2, 5, 42, grad=False)
    Q, K = layer.qk_norm(*(split_heads(W(x), 3) for W in (layer.W_Q, layer.W_K)))
    bound = 14**0.5 * float((layer.qk_norm.gain_Q * layer.qk_norm.gain_K).abs().max())
    assert float((Q @ K.mT / 14**0.5).abs().max()) <= bound


def test_it_is_qwen_3_s_attention():
    """Normalised head by head, then turned: value and gradient."""
    config = Qwen3Config(
        hidden_size=42, num_attention_heads=6, num_key_value_heads=2, head_dim=8, num_hidden_layers=1,
        attention_bias=True, rms_norm_eps=1e-6, attn_implementation="eager", max_position_embeddings=64,
    )  # fmt: skip
    config.hidden_size = 48
    with torch.random.fork_rng():
        torch.manual_seed(0)
        theirs = Qwen3Attention(config, 0).double().eval()
        ours = MultiHeadAttention(48, 6, num_kv_heads=2, qk_norm="rms", positions=Rotary()).double()
    with torch.no_grad():
        for mine, its in (("W_Q", "q_proj"), ("W_K", "k_proj"), ("W_V", "v_proj"), ("W_O", "o_proj")):
            getattr(ours, mine).load_state_dict(getattr(theirs, its).state_dict())
        for mine, its in (("gain_Q", theirs.q_norm), ("gain_K", theirs.k_norm)):
            its.weight.copy_(1 + 0.3 * normal(8, seed=len(mine), grad=False))
            getattr(ours.qk_norm, mine).copy_(its.weight)
    x = normal(2, 5, 48)
    turned = Qwen3RotaryEmbedding(config)(x.float(), torch.arange(5)[None])
    blocked = torch.zeros(1, 1, 5, 5, dtype=torch.float64).masked_fill(~CAUSAL, -torch.inf)
    expected, _ = theirs(x, tuple(z.double() for z in turned), blocked)
    output, _ = ours(x, mask=CAUSAL)
    torch.testing.assert_close(output, expected, rtol=1e-5, atol=1e-6)
    pull = normal(2, 5, 48, seed=1, grad=False)
    for a, b in zip(*(torch.autograd.grad((y * pull).sum(), x) for y in (output, expected)), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-6)


def test_what_positions_and_masks_add_is_not_capped():
    layer, x = built(softcap=0.7, positions=Alibi(3)), normal(2, 5, 42)
    bias = layer.positions.bias(torch.arange(5), torch.arange(5)).double()
    assert bias.min() < -0.7
    torch.testing.assert_close(layer(x, mask=CAUSAL)[1], by_hand(layer, x, CAUSAL, bias)[1])


@options
@pytest.mark.parametrize("positions", [None, "rotary"])
@pytest.mark.parametrize("num_kv_heads", [1, 3])
@torch.no_grad()
def test_token_by_token_with_a_cache_is_all_at_once(given, positions, num_kv_heads):
    scheme = Rotary() if positions else None
    layer, x = built(num_kv_heads=num_kv_heads, positions=scheme, **given), normal(2, 5, 42, grad=False)
    whole, _ = layer(x, mask=CAUSAL)
    cache = KeyValueCache(5)
    pieces = [layer(x[:, i : i + 1], cache=cache)[0] for i in range(5)]
    torch.testing.assert_close(torch.cat(pieces, 1), whole)


@options
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
@torch.no_grad()
def test_half_precision_stays_half_precision(given, dtype):
    layer, x = built(**given), normal(2, 5, 42, grad=False)
    exact, _ = layer(x)
    output, weights = layer.to(dtype)(x.to(dtype))
    assert output.dtype == weights.dtype == dtype
    torch.testing.assert_close(output.double(), exact, rtol=0.05, atol=0.05)


@options
def test_derivatives_are_those_of_finite_differences(given):
    layer, x = built(**given), normal(3, 42)
    names = [name for name, _ in layer.named_parameters() if name.startswith("qk_norm")]

    def f(x, *learned):
        return torch.func.functional_call(layer, dict(zip(names, learned, strict=True)), (x,))[0]

    learned = [p.detach().clone().requires_grad_() for n, p in layer.named_parameters() if n in names]
    assert torch.autograd.gradcheck(f, (x, *learned))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"qk_norm": "layer"}, 'qk_norm must be "rms", "l2" or None, got \'layer\'.'),
        ({"qk_norm": False}, 'qk_norm must be "rms", "l2" or None, got False.'),
        ({"softcap": 0}, "softcap must be a positive, finite number, got 0."),
        ({"softcap": -1.0}, "softcap must be a positive, finite number, got -1.0."),
        ({"softcap": math.inf}, "softcap must be a positive, finite number, got inf."),
        ({"softcap": True}, "softcap must be a positive, finite number, got True."),
        ({"temperature": True, "scale": False}, "scale must be True where a temperature takes its place, got False."),
        ({"qk_norm": "l2", "scale": False}, "scale must be True where a temperature takes its place, got False."),
        ({"qk_norm": "rms", "temperature": 1}, "temperature must be True or False, got 1."),
    ],
    ids=str,
)
def test_bad_options_are_refused(given, message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        MultiHeadAttention(42, 3, **given)


def test_normalised_without_the_scale_is_what_gemma_4_does():
    """The scale may be left out where learned weights can do its work."""
    layer, x = built(qk_norm="rms", scale=False), normal(2, 5, 42)
    with_it = built(qk_norm="rms")
    with_it.load_state_dict(layer.state_dict())
    with torch.no_grad():
        layer.qk_norm.gain_Q /= 14**0.5
    torch.testing.assert_close(layer(x)[1], with_it(x)[1])
