"""Ranks of a ring, each a process of its own, as test_ring.py asks for them: a line of JSON in, a line out.

Where systems fork, a rank has PyTorch from this process, and need not import it.
"""

import json
import multiprocessing
import os
import signal
import sys
import time
import traceback
from collections import Counter
from datetime import timedelta
from pathlib import Path

import torch
import torch.distributed as dist
import torch.fx.experimental.symbolic_shapes  # what each rank would import with its first gradient
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


def start(folder: Path, rank: int, world: int, task: str, *how: str, timeout: float = 60.0) -> None:
    """Do a task, and leave the answer, or the error, in the folder."""
    try:
        dist.init_process_group(
            "gloo",
            init_method=f"file://{folder / 'store'}",
            rank=rank,
            world_size=world,
            timeout=timedelta(seconds=timeout),
        )
        answer = globals()[task](rank, world, *how)
        (folder / f"{rank}.json").write_text(json.dumps(answer))
    except BaseException:
        (folder / f"{rank}.error").write_text(traceback.format_exc())
        os._exit(1)
    os._exit(0)  # no farewell: a rank that lost another would wait for it


def run(folder: str, world: int, task: str, how: list[str], timeout: float) -> dict:
    """Start the ranks, wait, and say what each left; null for one that left nothing. None outlives this."""
    processes = multiprocessing.get_context("fork" if sys.platform == "linux" else "spawn")
    ranks = [
        processes.Process(target=start, args=(Path(folder), rank, world, task, *how), kwargs={"timeout": timeout})
        for rank in range(world)
    ]
    for process in ranks:
        process.start()
    survivors = [process for rank, process in enumerate(ranks) if not (task == "lose" and rank == 1)]
    for process in survivors:
        process.join(120)
    well = all(process.exitcode == 0 for process in survivors)
    for process in ranks:
        process.kill()
        process.join()
    left = [Path(folder) / f"{rank}.json" for rank in range(world)]
    return {
        "well": well,
        "errors": [path.read_text() for path in sorted(Path(folder).glob("*.error"))],
        "left": [json.loads(path.read_text()) if path.exists() else None for path in left],
    }


if __name__ == "__main__":
    for line in sys.stdin:
        print(json.dumps(run(**json.loads(line))), flush=True)
