"""Our AdamW beside PyTorch's, number by number."""

import subprocess
import sys

import pytest
import torch
from oracle import normal
from torch import nn

from surgeon.models.adamw import AdamW


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("options", [{}, {"weight_decay": 0.0}, {"weight_decay": 0.3}], ids=str)
def test_every_step_is_pytorch_s_to_the_last_bit(options, dtype):
    """Over steps with a rate of their own each; the last layer has no gradient in every third step."""
    ours, theirs = (nn.Sequential(nn.Linear(5, 7), nn.Tanh(), nn.Linear(7, 3)).to(dtype) for _ in range(2))
    theirs.load_state_dict(ours.state_dict())
    one, other = AdamW(ours.parameters(), **options), torch.optim.AdamW(theirs.parameters(), fused=True, **options)
    x = normal(11, 5, dtype=dtype, grad=False)
    for step in range(7):
        other.param_groups[0]["lr"] = rate = 0.1 / (step + 1)
        for model in (ours, theirs):
            (model if step % 3 else model[0])(x).square().sum().backward()
        one.step(rate)
        other.step()
        other.zero_grad()
        for p, q in zip(ours.parameters(), theirs.parameters(), strict=True):
            assert torch.equal(p, q)
            assert p.grad is None


CODE = """
import sys, torch
from surgeon.models.copier import make_copier, train_copier
from surgeon.models.specimen import load
train_copier(make_copier(5), max_len=5, steps=2)
load().encode(["Scalpel."])
assert "torch._dynamo" not in sys.modules
"""


def test_neither_training_nor_loading_waits_for_pytorch_s_compiler():
    done = subprocess.run([sys.executable, "-W", "error", "-c", CODE], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
