"""Does a ring on these machines give what one process gives?

`torchrun --nproc-per-node 4 -m surgeon.procedures.ring_check`, or, of one
process that divides, `python -m surgeon.procedures.ring_check --ranks 4`
"""

import argparse
import importlib
import json
import os
import time
from collections import Counter
from collections.abc import Sequence
from datetime import timedelta
from tempfile import TemporaryDirectory
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.multiprocessing import start_processes

from surgeon.arguments import positive_integer
from surgeon.procedures.flash import flash_attention
from surgeon.procedures.ring import ring_attention, shard, unshard

# Whether causal, and whether cut in zigzag order.
LAYOUTS = {
    "all keys": (False, False),
    "causal, in order": (True, False),
    "causal, zigzag": (True, True),
}


def check_ring(
    tokens: int, heads: int, width: int, device: str = "cpu"
) -> list[dict[str, Any]]:
    """Run a ring in each layout, forward and backward, and compare.

    It runs on the process group that is there.

    Parameters
    ----------
    tokens, heads, width : int
        The whole sequence, [heads, tokens, width], float32, standard normal;
        every rank makes it and takes its share.
    device : str
        Where each rank works.

    Returns
    -------
    list of dict
        For each layout: "layout"; "error", the largest relative error
        (Frobenius) of the output and the gradients of Q, K and V against one
        process; and a list with an entry a rank for "pairs" looked at
        (forward), "bytes forward" and "bytes" sent in all, and "seconds" of
        forward and backward.

    Raises
    ------
    ValueError
        As `surgeon.procedures.ring.ring_attention` and
        `surgeon.procedures.ring.shard`.
    """
    generator = torch.Generator().manual_seed(0)
    shape = heads, tokens, width
    draws = torch.randn(
        4, *shape, generator=generator, dtype=torch.float32, device="cpu"
    )
    *whole, pull = draws.to(device)
    return [
        {"layout": layout} | check_layout(whole, pull, causal, zigzag)
        for layout, (causal, zigzag) in LAYOUTS.items()
    ]


def check_layout(
    whole: list[Tensor], pull: Tensor, causal: bool, zigzag: bool
) -> dict[str, Any]:
    """One layout: its largest error, and what each rank did.

    Gradients are those of the output times `pull`.
    """
    rank, world = dist.get_rank(), dist.get_world_size()
    *mine, my_pull = (
        shard(x, rank, world, zigzag=zigzag) for x in (*whole, pull)
    )
    mine = [x.requires_grad_() for x in mine]
    tally: Counter[str] = Counter()
    # First, so that what PyTorch does once in a process is not timed below.
    theirs = one_process(whole, pull, causal)
    dist.barrier()
    start = time.perf_counter()
    output = ring_attention(*mine, causal=causal, zigzag=zigzag, tally=tally)
    forward = tally["bytes"]
    ours = [output, *torch.autograd.grad(output, mine, my_pull)]
    answer = {
        "pairs": tally["pairs"],
        "bytes forward": forward,
        "bytes": tally["bytes"],
        "seconds": time.perf_counter() - start,
    }
    error = max(
        relative_error(gathered(part, zigzag), right)
        for part, right in zip(ours, theirs, strict=True)
    )
    answers: list[Any] = [None] * world
    dist.all_gather_object(answers, answer)
    return {"error": error} | {
        what: [each[what] for each in answers] for what in answer
    }


def one_process(
    whole: list[Tensor], pull: Tensor, causal: bool
) -> list[Tensor]:
    """What is right: the output and the gradients of Q, K and V."""
    Q, K, V = (x.clone().requires_grad_() for x in whole)
    output = flash_attention(Q, K, V, causal=causal)
    assert isinstance(output, Tensor)
    return [output, *torch.autograd.grad(output, (Q, K, V), pull)]


def gathered(part: Tensor, zigzag: bool) -> Tensor:
    """The whole sequence of which every rank has a share."""
    part = part.detach().contiguous()
    shares = [torch.empty_like(part) for _ in range(dist.get_world_size())]
    dist.all_gather(shares, part)
    return unshard(shares, zigzag=zigzag)


def relative_error(x: Tensor, right: Tensor) -> float:
    """In the Frobenius norm."""
    right = right.detach()
    return float((x - right).norm() / right.norm())


def main(arguments: Sequence[str] | None = None) -> None:
    """Join the group that torchrun started, check, and print as JSON.

    Rank 0 prints for all. With `--ranks` no torchrun is needed: this process
    has loaded PyTorch, and is divided into so many.
    """
    parser = argparse.ArgumentParser(
        prog="surgeon.procedures.ring_check", description=__doc__
    )
    parser.add_argument("--tokens", type=int, default=1024)
    parser.add_argument("--heads", type=int, default=8)
    parser.add_argument("--width", type=int, default=64)
    parser.add_argument(
        "--timeout",
        type=float,
        default=60,
        help="seconds to wait for a rank that is silent",
    )
    parser.add_argument(
        "--ranks",
        type=int,
        help="divide into so many processes, where torchrun starts none",
    )
    options = parser.parse_args(arguments)
    if options.ranks is None:
        join(options, int(os.environ.get("LOCAL_RANK", 0)))
        return
    ranks = positive_integer("ranks", options.ranks)
    # What gradients import when they are first asked for: not in each rank.
    importlib.import_module("torch.fx.experimental.symbolic_shapes")
    with TemporaryDirectory() as folder:
        start_processes(
            join_through_a_file,
            (options, f"file://{folder}/store"),
            ranks,
            start_method="fork",
        )


def join_through_a_file(
    rank: int, options: argparse.Namespace, file: str
) -> None:
    """`join`, as one of the processes that one was divided into."""
    join(options, rank, init_method=file, rank=rank, world_size=options.ranks)


def join(options: argparse.Namespace, local: int, **group: Any) -> None:
    """Join a group as the rank `local` of this machine, check, and leave."""
    cuda = torch.cuda.device_count() > local
    device = f"cuda:{local}" if cuda else "cpu"
    if cuda:
        torch.cuda.set_device(local)
    wait = timedelta(seconds=options.timeout)
    backend = "nccl" if cuda else "gloo"
    dist.init_process_group(backend, timeout=wait, **group)
    found = check_ring(options.tokens, options.heads, options.width, device)
    if dist.get_rank() == 0:
        print(json.dumps(found))
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
