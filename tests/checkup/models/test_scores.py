"""The largest of a model's scores, where they are seen."""

import math

import pytest
import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.functional import scaled_dot_product_attention

from surgeon import examine_model
from surgeon.checkup.models.scores import Scores

B, H, T, D = 2, 3, 7, 5


def drawn(*shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


@pytest.mark.parametrize("kernel", [SDPBackend.MATH, SDPBackend.FLASH_ATTENTION])
def test_scores_are_seen_inside_of_a_fused_kernel(kernel):
    Q, K, V = drawn(3, B, H, T, D)
    wanted = float((Q @ K.mT).abs().max()) / math.sqrt(D)
    with torch.no_grad(), sdpa_kernel(kernel), Scores(T) as met:
        scaled_dot_product_attention(Q, K, V, is_causal=True)
    assert met.number == 1
    assert met.largest == pytest.approx(wanted)


def test_a_scale_and_shared_heads_are_counted():
    Q, K = drawn(B, 4, T, D), drawn(B, 2, T, D)
    wanted = float((Q @ K.repeat_interleave(2, 1).mT).abs().max()) * 3
    with torch.no_grad(), sdpa_kernel(SDPBackend.FLASH_ATTENTION), Scores(T) as met:
        scaled_dot_product_attention(Q, K, K, scale=3.0, enable_gqa=True)
    assert met.largest == pytest.approx(wanted)


def test_a_batched_product_is_seen_and_that_with_values_is_not():
    Q, K = drawn(2, B, H, T, D)
    with Scores(T) as met:
        products = Q @ K.mT
        (products.softmax(-1) * 1e9) @ K
    assert met.number == 1
    assert met.largest == float(products.abs().max())


def test_a_head_as_wide_as_the_text_is_not_guessed():
    Q, K = drawn(2, B, H, T, T)
    with Scores(T) as met:
        Q @ K.mT
    assert met.number == 0
    assert met.near("float16", 65504.0).startswith("Its scores were not seen")


class Loud(nn.Module):
    """One head with scores of a given size."""

    def __init__(self, size):
        super().__init__()
        self.embed, self.size = nn.Embedding(11, 5), size

    def forward(self, ids):
        x = nn.functional.normalize(self.embed(ids), dim=-1)
        scores = (x * self.size) @ x.mT
        hidden = torch.ones(ids.shape[1], ids.shape[1], dtype=torch.bool).triu(1)
        return scores.masked_fill(hidden, -torch.inf).softmax(-1) @ x


@pytest.mark.parametrize(("size", "overflows"), [(60000.0, False), (70000.0, True)])
def test_scores_near_the_end_of_float16_are_told_and_beyond_it_they_overflow(size, overflows):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = Loud(size)
    told = examine_model(model, kind="decoder")
    share = f"{size / 65504:.2g} of the largest number of float16, 65504."
    assert told["float16"].meaning.endswith(share)
    assert ("overflows" in told["float16"].meaning) == overflows
