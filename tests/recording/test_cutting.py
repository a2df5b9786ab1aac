"""Cuts in weights, held against the same in scores."""

import pytest
import torch
from oracle import normal
from sound_models import of_transformers

from surgeon import attention, capture, create_causal_mask
from surgeon.anatomy.sinks import share_of_keys
from surgeon.models.cuts import Cut, top_k
from surgeon.recording.cutting import cut_weights, seen_of


@pytest.mark.parametrize("way", ["eager", "sdpa"])
@pytest.mark.parametrize("name", ["GPT-2", "BERT", "Llama"])
def test_a_hidden_key_is_a_masked_one(name, way):
    model = of_transformers(name, attn_implementation=way).double().eval()
    ids = torch.arange(3, 14)[None]
    mask = torch.ones_like(ids)
    mask[0, 3] = 0
    given = {"input_ids": ids, "position_ids": torch.arange(11)[None]}
    with torch.no_grad():
        masked = model(**given, attention_mask=mask)[0]
        with capture(model, cuts=[Cut(hide=3)]) as recording:
            cut = model(**given, attention_mask=torch.ones_like(ids))[0]
    # softmax in float32 in the library's eager form
    torch.testing.assert_close(cut, masked, rtol=0, atol=1e-6)
    assert (recording.stack()[..., 3] == 0).all()
    assert recording.change.largest > 1e-3


def test_a_mask_is_a_mask():
    Q, K, V = (normal(2, 3, 5, 7, seed=n, grad=False) for n in range(3))
    added = normal(5, 5, grad=False).masked_fill(~torch.ones(5, 5).bool().tril(), -torch.inf)
    plain = attention(Q, K, V)[1]
    found = cut_weights(plain, torch.ones_like(plain).bool(), [Cut(mask=lambda T: added)])
    torch.testing.assert_close(found, attention(Q, K, V, added)[1])


def test_where_a_sink_took_its_share_it_keeps_it():
    scores, sink = normal(1, 3, 5, 7, grad=False), torch.tensor(0.5, dtype=torch.float64)
    weights = scores.exp() / scores.exp().sum(-1, keepdim=True) * share_of_keys(scores, sink)
    hidden = scores.clone()
    hidden[..., 2] = -torch.inf
    true = hidden.exp() / (hidden.exp().sum(-1, keepdim=True) + sink.exp())
    torch.testing.assert_close(cut_weights(weights, weights > 0, [Cut(hide=2)]), true)


def test_rows_that_may_see_nothing_stay_zero():
    weights = torch.eye(3).expand(1, 2, 3, 3)
    with pytest.warns(UserWarning, match="cannot be told from zero"):  # without scores
        found = cut_weights(weights, weights > 0, [Cut(heads=1, hide=[0, 1, 9])])
    assert torch.equal(found[0, 0], torch.eye(3))
    assert torch.equal(found[0, 1], torch.diag(torch.tensor([0.0, 0.0, 1.0])))


def test_a_muted_key_is_looked_at_and_gives_nothing():
    weights = torch.full((1, 2, 3, 4), 0.25)
    found = cut_weights(weights, weights > 0, [Cut(heads=0, mute=1)])
    assert torch.equal(found[0, 0].sum(-1), torch.full((3,), 0.75))
    assert (found[0, 0, :, 1] == 0).all()
    assert torch.equal(found[0, 1], weights[0, 1])


def test_cuts_in_one_head_act_in_the_order_of_attention():
    """The largest of those that are left, whichever was named first."""
    weights = torch.tensor([0.5, 0.3, 0.2]).expand(1, 1, 3, 3)
    found = cut_weights(weights, weights > 0, [Cut(weights=top_k(1)), Cut(hide=0)])
    assert torch.equal(found[0, 0], torch.tensor([0.0, 1.0, 0.0]).expand(3, 3))


def test_a_mask_behind_a_cache_is_that_of_the_last_queries():
    weights = torch.full((1, 1, 2, 5), 0.2)
    found = cut_weights(weights, weights > 0, [Cut(mask=create_causal_mask)])
    torch.testing.assert_close(found[0, 0], torch.tensor([[0.25] * 4 + [0.0], [0.2] * 5]))


def test_who_may_be_seen_is_read_from_scores():
    low = torch.finfo(torch.float32).min
    scores = torch.tensor([[0.0, -torch.inf, -300.0], [1.0, low, -10_000.0], [low, low, low], [-torch.inf] * 3])
    seen = [[True, False, True], [True, False, False], [True] * 3, [False] * 3]
    assert seen_of(scores).tolist() == seen


@pytest.mark.parametrize(
    ("cut", "said"),
    [
        (
            Cut(weights=lambda a, seen: a[0]),
            "weights of a cut must give a tensor [1, 2, 3, 4], as they were given, got",
        ),
        (
            Cut(weights=lambda a, seen: 1),
            "weights of a cut must give a tensor [1, 2, 3, 4], as they were given, got int",
        ),
        (Cut(heads=2), "heads must be integers from 0 to 1, got 2."),
    ],
    ids=["shape", "kind", "head"],
)
def test_what_does_not_fit_is_refused(cut, said):
    weights = torch.full((1, 2, 3, 4), 0.25)
    with pytest.raises(ValueError) as caught:  # noqa: PT011
        cut_weights(weights, weights > 0, [cut])
    assert str(caught.value).startswith(said)


def test_a_mask_wants_a_key_for_each_query():
    weights = torch.full((1, 2, 4, 3), 1 / 3)
    with pytest.raises(ValueError, match=r"^mask of a cut must be in a layer with a key for each query, got 4"):
        cut_weights(weights, weights > 0, [Cut(mask=create_causal_mask)])


class Leads(torch.nn.Module):
    """Attention in which the first key has almost all the weight."""

    def __init__(self, way):
        super().__init__()
        self.way = way

    def forward(self, q, k, v):
        if self.way == "fused":
            return torch.nn.functional.scaled_dot_product_attention(q, k, v, scale=1.0)
        shares = (q @ k.mT).softmax(-1)
        if self.way == "dropped":
            shares = torch.dropout(shares, 0.5, True)
        return shares @ v


def leading(by, dtype):
    """A query, and three keys, the first of which leads."""
    return torch.ones(1, 1, 1, 1).to(dtype), torch.tensor([by, 0.5, 0.0]).to(dtype).view(1, 1, 3, 1)


@pytest.mark.parametrize("way", ["fused", "eager"])
@pytest.mark.parametrize(("dtype", "by"), [(torch.float16, 18), (torch.float32, 105), (torch.float64, 800)])
def test_what_a_hidden_key_left_too_little_of_is_read_from_scores(way, dtype, by):
    q, k = leading(by, dtype)
    v = torch.tensor([5.0, 1.0, 2.0]).to(dtype).view(1, 1, 3, 1)
    model = Leads(way).eval()
    with capture(model, cuts=[Cut(hide=0)]) as recording:
        found = model(q, k, v)
    true = torch.tensor([0.5, 0.0]).softmax(-1).to(dtype)
    torch.testing.assert_close(recording.stack()[0, 0, 0, 1:].to(dtype), true)
    torch.testing.assert_close(found.flatten(), (true @ v[0, 0, 1:]).flatten())


def test_where_a_sink_stands_beyond_the_keys_it_is_not_cut():
    class Sink(torch.nn.Module):
        def forward(self, q, k, v):
            scores = torch.cat([q @ k.mT, q.new_zeros(1, 1, 1, 1)], -1)
            return scores.softmax(-1)[..., :-1] @ v

    q, k = leading(105, torch.float32)
    with capture(model := Sink().eval(), cuts=[Cut(hide=0)]) as recording:
        model(q, k, k)
    true = torch.tensor([0.0, *torch.tensor([0.5, 0.0, 0.0]).softmax(-1)[:2]])
    torch.testing.assert_close(recording.stack()[0, 0, 0], true)


def test_where_only_shares_are_known_it_is_said():
    q, k = leading(105, torch.float32)
    model = Leads("dropped").train()
    with pytest.warns(UserWarning, match=r"^cuts hide keys that had all the weight, so"):
        often(model, q, k)


def often(model, q, k):
    """Until the leading key is not dropped."""
    torch.manual_seed(1)
    with capture(model, cuts=[Cut(hide=0)]):
        for _ in range(8):
            model(q, k, k)


def test_a_row_that_saw_the_hidden_key_alone_is_zero_and_no_warning():
    class Causal(torch.nn.Module):
        def forward(self, x):
            past = torch.ones(3, 3).tril().bool()
            scores = (x @ x.mT).masked_fill(~past, torch.finfo(x.dtype).min)
            return scores.softmax(-1) @ x

    with capture(model := Causal().eval(), cuts=[Cut(hide=0)]) as recording:
        model(normal(1, 2, 3, 5, grad=False))
    assert (recording.stack()[0, :, 0] == 0).all()
