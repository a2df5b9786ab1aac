"""One rank of a ring, started by test_ring.py as a process of its own: RANK WORLD STORE TASK. Prints JSON."""

import json
import os
import signal
import sys
import time
from collections import Counter
from datetime import timedelta

import torch
import torch.distributed as dist
from oracle import normal, reference

from surgeon.procedures.ring import ring_attention, shard

TOKENS, WIDTHS = 24, (5, 5, 7)


def agree(rank: int, world: int) -> list[dict]:
    """Against PyTorch on the whole sequence, in one process: output and gradients, every layout, two precisions."""
    return [
        check(rank, world, causal, zigzag, scale, dtype)
        for causal in (False, True)
        for zigzag in (True, False)
        for scale, dtype in ((True, torch.float64), (True, torch.float32), (False, torch.float64))
    ]


def check(rank: int, world: int, causal: bool, zigzag: bool, scale: bool, dtype: torch.dtype) -> dict:
    cut = lambda x: shard(x.detach(), rank, world, zigzag=zigzag)
    whole = [normal(2, 3, TOKENS, d, seed=s, dtype=dtype) for s, d in enumerate(WIDTHS)]
    pull = normal(2, 3, TOKENS, WIDTHS[2], seed=9, dtype=dtype, grad=False)
    allowed = torch.ones(TOKENS, TOKENS, dtype=torch.bool).tril() if causal else None
    right = reference(*whole, allowed, scale)
    right = [right, *torch.autograd.grad((right * pull).sum(), whole)]
    mine = [cut(x).requires_grad_() for x in whole]
    tally: Counter[str] = Counter()
    output = ring_attention(*mine, causal=causal, zigzag=zigzag, scale=scale, tally=tally)
    forward = tally["bytes"]
    ours = [output, *torch.autograd.grad((output * cut(pull)).sum(), mine)]
    pairs = zip(ours, map(cut, right), strict=True)
    errors = [float((a.detach() - b).norm() / b.norm()) for a, b in pairs]
    case = {"causal": causal, "zigzag": zigzag, "dtype": str(dtype), "error": max(errors)}
    return case | {"pairs": tally["pairs"], "forward": forward, "bytes": tally["bytes"]}


def disagree(rank: int, world: int) -> list[str]:
    """What each rank is told when they come with different things."""
    x = torch.zeros(4, 3)
    calls = [
        lambda: ring_attention(x, x if rank else x.repeat(2, 1), x if rank else x.repeat(2, 1)),
        lambda: ring_attention(x, x, x, causal=rank == 0),
        lambda: ring_attention(x, x, x, scale=rank == 0),
        lambda: ring_attention(x, x, x, zigzag=rank == 0),
        lambda: ring_attention(*(x.to(torch.float64 if rank else torch.float32),) * 3),
        lambda: ring_attention(x.requires_grad_(rank == 0), x, x),
        lambda: ring_attention(*(torch.zeros(3, 3),) * 3, causal=True),
        lambda: ring_attention(torch.zeros(4, 3), *(torch.zeros(8, 3),) * 2),
    ]
    said = []
    for call in calls:
        try:
            call()
            said.append("nothing")
        except ValueError as error:
            said.append(str(error))
    return said


def group(rank: int, world: int) -> dict:
    """A ring of the last two ranks alone, and a rank outside that tries to join in."""
    pair = dist.new_group([world - 2, world - 1])
    whole = normal(TOKENS, 3, grad=False)
    if rank < world - 2:
        try:
            ring_attention(whole, whole, whole, group=pair)
        except ValueError as error:
            return {"said": str(error)}
        return {"said": "nothing"}
    x = shard(whole, rank - (world - 2), 2)
    right = shard(reference(whole, whole, whole), rank - (world - 2), 2)
    return {"error": float((ring_attention(x, x, x, group=pair) - right).abs().max())}


def lose(rank: int, world: int, how: str) -> dict:
    """Rank 1 dies, or goes silent, at some point; what do the others say, and after how long?"""
    x = torch.zeros(4, 3, requires_grad=True)
    ring_attention(x, x, x).sum().backward()  # everyone is there
    if how == "backward":
        output = ring_attention(x, x, x)
    if rank == 1 and how == "silent":
        time.sleep(3600)
    if rank == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    start = time.monotonic()
    try:
        if how == "backward":
            output.sum().backward()
        else:
            ring_attention(x, x, x)
    except RuntimeError as error:
        return {"said": str(error), "seconds": time.monotonic() - start}
    return {"said": "nothing", "seconds": time.monotonic() - start}


if __name__ == "__main__":
    rank, world, store, task, *rest = sys.argv[1:]
    seconds = float(rest.pop()) if len(rest) > 1 else 60
    dist.init_process_group(
        "gloo", init_method=f"file://{store}", rank=int(rank), world_size=int(world), timeout=timedelta(seconds=seconds)
    )
    answer = globals()[task](int(rank), int(world), *rest)
    print(json.dumps(answer), flush=True)
    os._exit(0)  # no farewell: a rank that lost another would wait for it
