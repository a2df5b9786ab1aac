"""PyTorch's own attention, captured: every form in which it is asked."""

import pytest
import torch
from oracle import normal
from tensors import inputs, lower
from torch import nn
from torch.nn.functional import scaled_dot_product_attention

from surgeon import attention, capture


class Fused(nn.Module):
    """A model that is one call of the kernel."""

    def forward(self, Q, K, V, **said):
        return scaled_dot_product_attention(Q, K, V, **said)


def near(ours, theirs, tolerance=1e-12):
    torch.testing.assert_close(ours, theirs, rtol=tolerance, atol=tolerance)


SAID = {
    "nothing": {},
    "causal": {"is_causal": True},
    "boolean": {"attn_mask": lower(5, 7)},
    "added": {"attn_mask": normal(3, 5, 7, grad=False)},
    "a scale": {"scale": 0.3},
}


@pytest.mark.parametrize("said", SAID.values(), ids=SAID)
def test_the_kernel_in_steps(said):
    Q, K, V = inputs(2, 3, T=5, S=7, d_k=11, d_v=13)
    with capture(Fused()) as recording:
        output = Fused()(Q, K, V)  # another model, which nobody captures
    assert recording.weights == {}
    model = Fused().eval()
    plain = model(Q, K, V, **said)
    pull = normal(*plain.shape, grad=False)
    with capture(model) as recording:
        output = model(Q, K, V, **said)
    near(output, plain)
    near(torch.autograd.grad((output * pull).sum(), Q)[0], torch.autograd.grad((plain * pull).sum(), Q)[0])
    (weights,) = recording.weights.values()
    near(weights @ V, plain)
    near(weights.sum(-1), torch.ones(2, 3, 5, dtype=torch.float64))
    assert not weights.requires_grad


def test_the_books_attention_is_its_oracle():
    Q, K, V = inputs(2, 3, T=5, S=7)
    model = Fused().eval()
    with capture(model) as recording:
        model(Q, K, V, attn_mask=lower(5, 7))
    near(recording.weights["Fused"], attention(Q, K, V, lower(5, 7))[1].detach())


def test_heads_that_share_keys():
    Q, _, _ = inputs(2, 6, T=5, d_k=11)
    _, K, V = inputs(2, 3, S=7, d_k=11, d_v=13)
    model = Fused().eval()
    plain = model(Q, K, V, enable_gqa=True)
    with capture(model) as recording:
        near(model(Q, K, V, enable_gqa=True), plain)
    assert recording.stack().shape == (1, 6, 5, 7)


def test_rows_that_may_see_nothing_are_zeros():
    Q, K, V = inputs(2, 3, T=5, S=5)
    dead = lower(5, 5)
    dead[2] = False
    model = Fused().eval()
    with capture(model) as recording:
        output = model(Q, K, V, attn_mask=dead)
    assert (output[:, :, 2] == 0).all()
    assert (recording.weights["Fused"][:, :, 2] == 0).all()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_half_precision_stays_what_it_is(dtype):
    Q, K, V = (x.detach().to(dtype) for x in inputs(2, 3, T=5, S=7))
    model = Fused().eval()
    with capture(model) as recording:
        output = model(Q, K, V)
    assert output.dtype == dtype
    assert recording.compared == 1


def test_autocast_is_heeded():
    Q, K, V = (x.detach().float() for x in inputs(2, 3, T=5, S=7))
    model = Fused().eval()
    with torch.autocast("cpu", torch.bfloat16), capture(model):
        assert model(Q, K, V).dtype == torch.bfloat16


def test_dropout_falls_where_it_fell():
    """PyTorch's kernel draws once for each weight, and so do the steps."""
    Q, K, V = inputs(2, 3, T=5, S=7)
    model = Fused().eval()
    torch.manual_seed(0)
    plain = model(Q, K, V, dropout_p=0.4)
    with capture(model, check=False) as recording:
        torch.manual_seed(0)
        near(model(Q, K, V, dropout_p=0.4), plain)
    assert (recording.weights["Fused"] == 0).any()


def test_what_the_kernel_refuses_it_refuses_still():
    Q, K, V = inputs(2, 3, T=5, S=5)
    model = Fused().eval()
    with pytest.raises(RuntimeError, match="is_causal"), capture(model):
        model(Q, K, V, attn_mask=lower(5, 5), is_causal=True)


@pytest.mark.parametrize("averaged", [True, False], ids=["averaged", "by head"])
@pytest.mark.parametrize("wanted", [True, False], ids=["weights", "no weights"])
@pytest.mark.parametrize("first", [True, False], ids=["batch first", "batch second"])
def test_multihead_attention(first, wanted, averaged):
    layer = nn.MultiheadAttention(12, 3, batch_first=first, dtype=torch.float64).eval()
    x = normal(2, 7, 12, grad=False) if first else normal(7, 2, 12, grad=False)
    padding = torch.zeros(2, 7, dtype=torch.bool)
    padding[1, 5:] = True
    said = {"key_padding_mask": padding, "attn_mask": ~lower(7, 7)}
    true = layer(x, x, x, **said, average_attn_weights=False)[1]
    said |= {"need_weights": wanted, "average_attn_weights": averaged}
    output, weights = layer(x, x, x, **said)
    with capture(layer) as recording:
        again, found = layer(x, x, x, **said)
    near(again, output)
    near(recording.weights["MultiheadAttention"], true.detach())
    assert (found is None) == (weights is None) == (not wanted)
    if wanted:
        near(found, weights)


@pytest.mark.parametrize("wanted", [True, False], ids=["weights", "no weights"])
def test_multihead_attention_keeps_its_holes(wanted):
    """With weights wanted, PyTorch gives NaN where nothing is seen; without, zeros."""
    layer = nn.MultiheadAttention(12, 3, batch_first=True).eval()
    x, dead = normal(2, 7, 12, grad=False).float(), ~lower(7, 7)
    dead[3] = True
    with torch.no_grad():
        output, weights = layer(x, x, x, attn_mask=dead, need_weights=wanted)
        with capture(layer) as recording:
            again, found = layer(x, x, x, attn_mask=dead, need_weights=wanted)
    near(again, output, 1e-5) if not wanted else None
    assert torch.equal(again.isnan(), output.isnan())
    assert output.isnan().any() == wanted
    assert (recording.weights["MultiheadAttention"][:, :, 3] == 0).all()
    if wanted:
        assert torch.equal(found.isnan(), weights.isnan())


def test_multihead_attention_without_a_batch():
    layer = nn.MultiheadAttention(12, 3, kdim=5, vdim=7, add_zero_attn=True, bias=False).eval()
    Q, K, V = (normal(n, d, grad=False).float() for n, d in ((4, 12), (6, 5), (6, 7)))
    output, weights = layer(Q, K, V)
    with capture(layer) as recording:
        again, found = layer(Q, K, V)
    near(again, output, 1e-5)
    near(found, weights, 1e-5)
    assert recording.stack().shape == (1, 3, 4, 7)  # and the key of zeros


STACKS = {
    "encoder": (lambda: nn.TransformerEncoder(layer_of("Encoder"), 2, enable_nested_tensor=False), 1, 2),
    "decoder": (lambda: nn.TransformerDecoder(layer_of("Decoder"), 2), 2, 4),
}


def layer_of(kind: str) -> nn.Module:
    made = getattr(nn, f"Transformer{kind}Layer")
    return made(12, 3, 20, batch_first=True, dtype=torch.float64)


@pytest.mark.parametrize("grad", [True, False], ids=["gradients", "fast path"])
@pytest.mark.parametrize("stack", STACKS.values(), ids=STACKS)
def test_layers_of_pytorch(stack, grad):
    build, sequences, attending = stack
    model = build().eval()
    given = (normal(2, 7, 12, grad=False), normal(2, 5, 12, grad=False))[:sequences]
    fast = torch.backends.mha.get_fastpath_enabled()
    with torch.set_grad_enabled(grad):
        plain = model(*given)
        with capture(model) as recording:
            near(model(*given), plain)
    assert len(recording.weights) == attending
    assert next(iter(recording.weights)) == "layers.0.self_attn"
    assert torch.backends.mha.get_fastpath_enabled() == fast
    wide = [w.shape[-1] for w in recording.weights.values()]
    assert set(wide) == ({7} if sequences == 1 else {7, 5})


def test_under_autocast_rounding_is_that_of_its_precision():
    torch.manual_seed(0)
    x = torch.randn(2, 6, 32)
    layer = nn.TransformerEncoderLayer(32, 4, 64, batch_first=True).eval()

    class Inside(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = layer

        def forward(self, x):
            with torch.autocast("cpu", torch.bfloat16):
                return self.layer(x)

    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16), capture(layer) as recording:
        layer(x)
    with torch.no_grad(), capture(inside := Inside().eval()) as within:
        inside(x)
    assert recording.compared == within.compared == 1
