"""The benchmarks measure what they say: attention, the memory that was allocated, and nothing left out."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch.nn.functional import scaled_dot_product_attention

import benchmarks.__main__ as bench
from benchmarks import memory
from benchmarks.contestants import CONTESTANTS, GROW, HOLDS_THE_MATRIX, TOP, WINDOW, inputs, once
from surgeon import create_window_mask, dissect, topk_mask
from surgeon.procedures.tile_loops import scores_are_small

ROOT = Path(__file__).resolve().parents[2]
DENSE = [name for name in CONTESTANTS if "window" not in name and "top" not in name]


def right(name, tensors, causal):
    Q, K, V, _ = tensors
    allowed = torch.ones(Q.shape[-2], Q.shape[-2], dtype=torch.bool)
    allowed = allowed.tril() if causal else allowed
    if "window" in name:
        allowed &= create_window_mask(Q.shape[-2], WINDOW) == 0
    if "top" in name:
        allowed = topk_mask(dissect(Q, K, V, allowed).masked, TOP)
    return scaled_dot_product_attention(Q * GROW if "large" in name else Q, K, V, attn_mask=allowed)


@pytest.mark.parametrize("causal", [False, True], ids=["open", "causal"])
@pytest.mark.parametrize("name", CONTESTANTS)
def test_every_contestant_computes_attention(name, causal):
    """300 tokens are more than the window, and more than the chosen keys."""
    tensors = inputs(2, 300, 8, "cpu", True)
    output, *gradients = once(CONTESTANTS[name], tensors, causal, True)
    expected = right(name, tensors, causal)
    torch.testing.assert_close(output, expected.detach(), rtol=1e-4, atol=1e-5)
    for ours, theirs in zip(gradients, torch.autograd.grad(expected, tensors[:3], tensors[3]), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-4)


def test_large_scores_need_a_running_maximum_and_the_others_do_not():
    """Or two contestants would be one."""
    Q, K, V, _ = inputs(8, 512, 64, "cpu", False)
    small = lambda grow: scores_are_small(*(x.flatten(0, 1) for x in (Q * grow, K, V)), None, 64**-0.5)
    assert small(1.0)
    assert not small(GROW)


def test_beyond_the_largest_matrix_nobody_holds_one():
    held = {tokens: set(HOLDS_THE_MATRIX) & set(bench.taking_part(tokens)) for tokens in (4096, 4097)}
    assert held == {4096: set(HOLDS_THE_MATRIX), 4097: set()}


WASTEFUL = """
import torch
from benchmarks import memory
from benchmarks.contestants import CONTESTANTS

CONTESTANTS["wasteful"] = lambda Q, K, V, causal: (
    Q + K.sum() + V.sum() + (torch.ones(2**24).sum() if Q.shape[-2] > 300 else 0)
)
print(memory.measure("wasteful", 2, 301, 8, "cpu")[0])
"""


@pytest.mark.skipif(not memory.STATUS.exists(), reason="the peak cannot be forgotten here")
def test_memory_is_what_was_allocated():
    """A contestant that fills 64 MiB for a moment, and only for sequences longer than the first, small run.

    In a process of its own, as `make bench` measures: what other tests gave back to the allocator may be given back
    to the system at any moment, and hides as much.
    """
    done = subprocess.run([sys.executable, "-c", WASTEFUL], cwd=ROOT, capture_output=True, text=True, check=True)
    assert 0.9 * 2**26 < int(done.stdout) < 1.2 * 2**26


@pytest.mark.long
def test_a_child_measures_the_matrix_that_plain_attention_holds():
    """1024 by 1024 for two heads is 8 MiB for one copy of the scores; in tiles it is less than one."""
    assert memory.in_a_child("plain", 2, 1024, 8, "cpu")[0] > 8 * 2**20
    assert memory.in_a_child("flash", 2, 1024, 8, "cpu")[0] < 8 * 2**20


@pytest.mark.long
def test_one_run_gives_one_table_and_everything_in_it(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(bench, "in_a_child", memory.measure)
    monkeypatch.setattr(bench, "RANKS", 2)
    bench.main(["--lengths", "32", "64", "--heads", "2", "--width", "8", "--repeats", "1", "--out", str(tmp_path)])
    found = json.loads((tmp_path / "results.json").read_text())
    run = {(t["contestant"], t["tokens"], t["causal"], t["backward"]) for t in found["times"]}
    names = [name for name in CONTESTANTS if name != bench.DENSE]
    assert run == {(n, t, c, b) for n in names for t in (32, 64) for c in (False, True) for b in (False, True)}
    assert all(t["seconds"] > 0 and t["ratio"] > 0 for t in found["times"])
    assert all(t["ratio"] == 1 for t in found["times"] if t["contestant"] == bench.AGAINST)
    assert {m["contestant"] for m in found["memory"]} == set(names) > set(HOLDS_THE_MATRIX)
    assert len(found["targets"]) == 9
    work, error = found["targets"][-1], found["targets"][-2]
    assert work["measured"] == 1
    assert 0 < error["measured"] <= error["at most"]
    assert {path.name for path in tmp_path.iterdir()} == {"results.json", "results.svg"}
    assert "<svg" in (tmp_path / "results.svg").read_text()
    said = capsys.readouterr().out
    assert all(name in said for name in names)
    assert all(row["what"] in said for row in found["targets"])
