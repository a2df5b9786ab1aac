"""A ring of real processes gives what one process gives; who loses a neighbour is told so in time."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from hypothesis import given, settings
from hypothesis import strategies as st
from ring_worker import TOKENS, WIDTHS

from surgeon.procedures import ring_check
from surgeon.procedures.ring import (
    pairs,
    ring_attention,
    shard,
    unshard,
    visible_part,
)

HERE = Path(__file__).resolve().parents[1]
ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": "1"}
HEADS = 2 * 3  # leading axes of the workers' tensors


@pytest.fixture(scope="module")
def run():
    """From a task to what each rank of a ring left; none for a rank that left nothing."""
    command = [sys.executable, HERE / "ring_worker.py"]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=ENVIRONMENT
    ) as starter:

        def run(folder, world, task, *how, timeout=60):
            asked = {"folder": str(folder), "world": world, "task": task, "how": how, "timeout": timeout}
            print(json.dumps(asked), file=starter.stdin, flush=True)
            said = json.loads(starter.stdout.readline())
            assert said["well"], "\n".join(said["errors"])
            return said["left"]

        yield run


@pytest.mark.parametrize("world", [2, 3, 4])
def test_a_ring_is_one_process_cut_up(world, run, tmp_path):
    """Output and gradients; bytes and pairs as the formulas say; the work under a causal mask even in zigzag order."""
    ranks = run(tmp_path, world, "agree")
    for case in zip(*ranks, strict=True):
        causal, zigzag, dtype = case[0]["causal"], case[0]["zigzag"], case[0]["dtype"]
        assert max(rank["error"] for rank in case) <= (1e-13 if dtype == "torch.float64" else 2e-6)
        share = HEADS * TOKENS // world * (WIDTHS[1] + WIDTHS[2]) * (8 if dtype == "torch.float64" else 4)
        assert {rank["forward"] for rank in case} == {(world - 1) * share}
        assert {rank["bytes"] for rank in case} == {(2 * (world - 1) + world) * share}
        work = [rank["pairs"] for rank in case]
        assert sum(work) == HEADS * (TOKENS * (TOKENS + 1) // 2 if causal else TOKENS**2)
        if zigzag or not causal:
            assert max(work) == min(work)
        else:
            assert max(work) / min(work) >= 2 * world - 1 - 1  # the last rank sees nearly everything


def test_ranks_that_come_with_different_things_are_all_told(run, tmp_path):
    ranks = run(tmp_path, 2, "disagree")
    assert ranks[0] == ranks[1]
    shapes, causal, scale, zigzag, dtype, gradients, odd, leading = ranks[0]
    assert shapes == (
        "Q, K and V must have the same shapes on every rank, got [[[4, 3], [8, 3], [8, 3]], [[4, 3], [4, 3], [4, 3]]]."
    )
    usual = {"causal": False, "scale": True, "zigzag": True}
    for said, other in ((causal, {"causal": True}), (scale, {"scale": False}), (zigzag, {"zigzag": False})):
        answers = [usual | other, usual] if other == {"causal": True} else [usual, usual | other]
        assert said == f"Q, K and V must have the same options on every rank, got {answers}."
    assert dtype == "Q, K and V must have the same dtype on every rank, got ['torch.float32', 'torch.float64']."
    assert gradients.startswith("Q, K and V must have the same gradients on every rank, got [[True, ")
    assert odd == "a share cut in zigzag order must have two equal blocks, got 3 tokens."
    assert leading.startswith(
        "Q, K and V must be shares of one sequence, with the same leading axes, got [4, 3], [8, 3]"
    )


def test_a_ring_may_be_a_part_of_the_processes(run, tmp_path):
    outside, *inside = run(tmp_path, 3, "group")
    assert outside["said"] == "ring_attention must be called by the ranks of its group alone, got a rank outside it."
    assert all(rank["error"] < 1e-14 for rank in inside)


@pytest.mark.parametrize("how", ["dead", "backward", "silent"])
def test_losing_a_rank_is_an_error_within_the_timeout_and_no_hang(how, run, tmp_path):
    """Killed before a forward, or between forward and backward; or alive and silent."""
    timeout = 10
    first, lost, last = run(tmp_path, 3, "lose", how, timeout=timeout)
    assert lost is None
    for survivor, sentence in (
        (first, "rank 0 of 3 lost a neighbour (hears from 2, sends to 1); it died or did not answer in time: "),
        (last, "rank 2 of 3 lost a neighbour (hears from 1, sends to 0); it died or did not answer in time: "),
    ):
        assert survivor["said"].startswith(f"ring_attention: {sentence}")
        assert survivor["seconds"] < 2 * timeout


TORCHRUN = ["torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m"]


@pytest.mark.parametrize(
    ("start", "more"), [(TORCHRUN, []), ([], ["--ranks", "2"])], ids=["by torchrun", "by one that divides"]
)
def test_anyone_can_run_the_check_on_their_machines(start, more):
    command = [sys.executable, "-m", *start, "surgeon.procedures.ring_check"]
    command += ["--tokens", "44", "--heads", "3", "--width", "5", *more]
    done = subprocess.run(command, capture_output=True, text=True, env=ENVIRONMENT, timeout=120, cwd=HERE.parent)
    assert done.returncode == 0, done.stderr
    cases = json.loads(done.stdout)
    assert [case["layout"] for case in cases] == ["all keys", "causal, in order", "causal, zigzag"]
    assert all(case["error"] < 2e-6 for case in cases)
    early, late = 22 * 23 // 2, 22 * 22 + 22 * 23 // 2  # of the halves in order; in zigzag each has their mean
    assert [case["pairs"] for case in cases] == [
        [3 * 22 * 44] * 2,
        [3 * early, 3 * late],
        [3 * (early + late) // 2] * 2,
    ]
    share = 3 * 22 * 5 * 4
    assert all(case["bytes forward"] == [2 * share] * 2 for case in cases)
    assert all(case["bytes"] == [8 * share] * 2 for case in cases)


def test_the_check_waits_as_long_as_it_is_told(monkeypatch, capsys):
    """In this process alone, which stands for the ranks that torchrun starts."""
    patience = []

    def init(backend, timeout):
        patience.append(timeout.total_seconds())
        start(backend, store=dist.HashStore(), rank=0, world_size=1)

    start = dist.init_process_group
    monkeypatch.setattr(dist, "init_process_group", init)
    ring_check.main(["--tokens", "6", "--heads", "2", "--width", "3", "--timeout", "7"])
    assert patience == [7]
    assert [case["pairs"] for case in json.loads(capsys.readouterr().out)] == [[2 * 36], [2 * 21], [2 * 21]]
    assert not dist.is_initialized()


def test_without_a_process_group_it_says_how_to_start_one():
    x = torch.zeros(4, 3)
    with pytest.raises(ValueError, match=r"^ring_attention needs a process group: start the program with torchrun"):
        ring_attention(x, x, x)


# How a sequence is cut


@given(world=st.integers(1, 7), block=st.integers(1, 5), zigzag=st.booleans())
@settings(deadline=None)
def test_shares_put_together_are_the_whole(world, block, zigzag):
    x = torch.arange(2 * world * block * 3).reshape(1, 2 * world * block, 3)
    shares = [shard(x, rank, world, zigzag=zigzag) for rank in range(world)]
    assert all(list(share.shape) == [1, 2 * block, 3] for share in shares)
    assert torch.equal(unshard(shares, zigzag=zigzag), x)


@given(world=st.integers(1, 7), block=st.integers(1, 5), zigzag=st.booleans())
@settings(deadline=None)
def test_the_parts_of_a_causal_mask_are_the_mask(world, block, zigzag):
    """Every pair of a query and a key that may see each other is looked at once, and no other."""
    T, tokens = 2 * world * block, 2 * block
    seen = torch.zeros(T, T, dtype=torch.int64)
    where = [shard(torch.arange(T)[:, None], rank, world, zigzag=zigzag).flatten() for rank in range(world)]
    for rank in range(world):
        count = 0
        for source in range(world):
            part = visible_part(rank, source, tokens, True, zigzag)
            if part:
                rows, cols, diagonal = part
                block_of_pairs = torch.ones(rows.stop - rows.start, cols.stop - cols.start, dtype=torch.int64)
                block_of_pairs = block_of_pairs.tril() if diagonal else block_of_pairs
                seen[where[rank][rows][:, None], where[source][cols]] += block_of_pairs
                count += pairs(rows, cols, diagonal)
        if zigzag:
            assert count == T * (T + 1) // 2 // world
    assert torch.equal(seen, torch.ones(T, T, dtype=torch.int64).tril())


@pytest.mark.parametrize(
    ("rank", "world", "tokens", "message"),
    [
        (2, 2, 8, "rank must be an integer from 0 to world - 1 (1), got 2."),
        (-1, 2, 8, "rank must be an integer from 0 to world - 1 (1), got -1."),
        (0, 0, 8, "world must be an integer of at least 1, got 0."),
        (0, 3, 8, "x must have a multiple of 6 tokens to be shared by 3, got 8."),
        (1.0, 2, 8, "rank must be an integer from 0 to world - 1 (1), got 1.0."),
        (True, 2, 8, "rank must be an integer from 0 to world - 1 (1), got True."),
    ],
)
def test_a_sequence_that_cannot_be_cut(rank, world, tokens, message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        shard(torch.zeros(tokens, 3), rank, world)


@pytest.mark.parametrize(
    ("tokens", "message"),
    [
        ([], "shares must hold at least one share, got none."),
        ([2, 3], "shares[1] must have two equal blocks in zigzag order, got 3 tokens."),
    ],
)
def test_shares_that_cannot_be_put_together(tokens, message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        unshard([torch.zeros(n, 3) for n in tokens])
