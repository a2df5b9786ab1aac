"""An alignment's marks: by hand, and on weights whose marks are known."""

import re

import pytest
import torch

from surgeon import create_padding_mask
from surgeon.imaging.patterns import uniform_weights
from surgeon.models.alignment import score_alignment


def test_the_scores_are_what_they_say():
    truth = torch.tensor([[2, 0], [1, -1]])
    weights = torch.tensor([[[0.2, 0.3, 0.5], [0.4, 0.6, 0.0]], [[0.1, 0.8, 0.1], [1.0, 0.0, 0.0]]])
    found = score_alignment(weights, truth)
    assert found == pytest.approx({"on_truth": (0.5 + 0.4 + 0.8) / 3, "argmax_right": 2 / 3})
    lengths = torch.tensor([5, 7])
    even = uniform_weights(create_padding_mask(lengths, 11), (2, 3, 11))
    assert score_alignment(even, torch.zeros(2, 3, dtype=torch.int64))["on_truth"] == pytest.approx((1 / 5 + 1 / 7) / 2)
    assert score_alignment(torch.eye(7), torch.arange(7)) == {"on_truth": 1.0, "argmax_right": 1.0}


def test_a_row_of_zeros_finds_nothing():
    assert score_alignment(torch.zeros(1, 3), torch.tensor([0])) == {"on_truth": 0.0, "argmax_right": 0.0}


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_weights_on_a_cuda_device_have_the_same_marks(device):
    weights, truth = torch.tensor([[0.5, 0.5, 0.0], [0.25, 0.0, 0.75]]), torch.tensor([1, 2])
    assert score_alignment(weights.cuda(), truth.to(device)) == score_alignment(weights, truth)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: score_alignment(torch.eye(3), torch.zeros(2, dtype=torch.int64)),
            "truth must have the shape of the weights but for the last axis, [3], got [2].",
        ),
        (
            lambda: score_alignment(torch.eye(3), torch.tensor([0, 1, 3])),
            "truth must be integers below the number of keys (3), got 3.",
        ),
        (
            lambda: score_alignment(torch.eye(3), torch.tensor([0.0, 1.0, 2.5])),
            "truth must be integers below the number of keys (3), got 2.5.",
        ),
        (
            lambda: score_alignment(torch.eye(3), torch.tensor([-1, -1, -1])),
            "truth must name a key for at least one output, got none.",
        ),
        (
            lambda: score_alignment(2 * torch.eye(3), torch.arange(3)),
            "attention_weights must have rows that sum to one or to zero, got 2.",
        ),
    ],
)
def test_bad_input_gets_one_sentence(call, message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        call()
