"""Does a ring on these machines give what one process gives? `torchrun --nproc-per-node 4 -m surgeon.procedures.ring_check`."""

import argparse
import json
import os
import time
from collections import Counter
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from surgeon.procedures.flash import flash_attention
from surgeon.procedures.ring import ring_attention, shard, unshard

LAYOUTS = [
    ("all keys", False, False),
    ("causal, in order", True, False),
    ("causal, zigzag", True, True),
]


def check_ring(
    tokens: int, heads: int, width: int, device: str = "cpu"
) -> list[dict[str, Any]]:
    """Run a ring in each layout, forward and backward, on the process group that is there, and compare.

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
    rank, world = dist.get_rank(), dist.get_world_size()
    generator = torch.Generator().manual_seed(0)
    draws = [
        torch.randn(heads, tokens, width, generator=generator)
        for _ in range(4)
    ]
    *whole, pull = (x.to(device) for x in draws)
    results = []
    for layout, causal, zigzag in LAYOUTS:
        mine = [
            shard(x, rank, world, zigzag=zigzag).requires_grad_()
            for x in whole
        ]
        tally: Counter[str] = Counter()
        dist.barrier()
        start = time.perf_counter()
        output = ring_attention(
            *mine, causal=causal, zigzag=zigzag, tally=tally
        )
        forward = tally["bytes"]
        gradients = torch.autograd.grad(
            output, mine, shard(pull, rank, world, zigzag=zigzag)
        )
        answer: dict[str, float] = {
            "pairs": tally["pairs"],
            "bytes forward": forward,
            "bytes": tally["bytes"],
        }
        answer["seconds"] = time.perf_counter() - start
        answers, errors = [None] * world, []
        dist.all_gather_object(answers, answer)
        inputs = [x.clone().requires_grad_() for x in whole]
        alone = flash_attention(
            inputs[0], inputs[1], inputs[2], causal=causal
        )
        assert isinstance(alone, Tensor)
        for part, right in zip(
            [output, *gradients],
            [alone, *torch.autograd.grad(alone, inputs, pull)],
            strict=True,
        ):
            shares = [
                torch.empty_like(part, memory_format=torch.contiguous_format)
                for _ in range(world)
            ]
            dist.all_gather(shares, part.detach().contiguous())
            errors.append(
                float(
                    (unshard(shares, zigzag=zigzag) - right.detach()).norm()
                    / right.detach().norm()
                )
            )
        results.append(
            {"layout": layout, "error": max(errors)}
            | {key: [a[key] for a in answers] for key in answer}  # type: ignore[index]
        )
    return results


def main(arguments: Sequence[str] | None = None) -> None:
    """Join the group that torchrun started, check, and let rank 0 print what was found as JSON."""
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
    options = parser.parse_args(arguments)
    local = int(os.environ.get("LOCAL_RANK", 0))
    cuda = torch.cuda.device_count() > local
    device = f"cuda:{local}" if cuda else "cpu"
    if cuda:
        torch.cuda.set_device(local)
    dist.init_process_group(
        "nccl" if cuda else "gloo", timeout=timedelta(seconds=options.timeout)
    )
    found = check_ring(options.tokens, options.heads, options.width, device)
    if dist.get_rank() == 0:
        print(json.dumps(found))
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
