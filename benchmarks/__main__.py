"""Measure everything in one run, print two tables, and leave results.json and results.svg behind."""

import argparse
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

import pandas as pd
import torch
from matplotlib.figure import Figure

from benchmarks.contestants import CONTESTANTS, HOLDS_THE_MATRIX, WINDOW, inputs, once
from benchmarks.memory import in_a_child

AGAINST = "SDPA, fused"  # what ratios are relative to
BANDED, DENSE = f"window of {WINDOW}", f"SDPA, mask of the window of {WINDOW}"  # two ways to the same window
LARGEST_MATRIX = 4096  # tokens: whoever holds the matrix stops here, and longer texts are timed FEW times
FEW = 3
RANKS = 4  # processes of the ring


def timed(
    names: list[str], tensors: list[torch.Tensor], causal: bool, gradients: bool, repeats: int
) -> dict[str, float]:
    """Median seconds of each contestant; they run alternately, so that a slow moment of the machine hits all alike."""
    seconds: dict[str, list[float]] = {name: [] for name in names}
    for turn in range(repeats + 1):
        for name in names:
            start = time.perf_counter()
            once(CONTESTANTS[name], tensors, causal, gradients)
            if tensors[0].is_cuda:
                torch.cuda.synchronize()
            if turn:  # the first turn warms up
                seconds[name].append(time.perf_counter() - start)
    return {name: median(times) for name, times in seconds.items()}


def taking_part(tokens: int) -> list[str]:
    """Who is compared at this length: all but the dense window, which is a target's, and no matrix beyond its limit."""
    too_large = HOLDS_THE_MATRIX if tokens > LARGEST_MATRIX else ()
    return [name for name in CONTESTANTS if name not in (DENSE, *too_large)]


def compare(options: argparse.Namespace) -> list[dict[str, Any]]:
    """Seconds, and the ratio to PyTorch's fused kernel in the same run, for every contestant, length and direction."""
    rows = []
    for tokens in options.lengths:
        for gradients in (False, True):
            tensors = inputs(options.heads, tokens, options.width, options.device, gradients)
            for causal in (False, True):
                names, repeats = taking_part(tokens), options.repeats if tokens <= LARGEST_MATRIX else FEW
                seconds = timed(names, tensors, causal, gradients, repeats)
                for name in names:
                    row = {"contestant": name, "tokens": tokens, "causal": causal, "backward": gradients}
                    row |= {"seconds": seconds[name], "ratio": seconds[name] / seconds[AGAINST]}
                    rows.append(row)
                    print(f"{tokens:6d} {name:22s} {seconds[name]:9.4f} s {row['ratio']:7.2f}", file=sys.stderr)
    return rows


def memories(options: argparse.Namespace) -> list[dict[str, Any]]:
    """Bytes beyond inputs and results, a process for each."""
    rows = []
    for tokens in options.lengths:
        for name in taking_part(tokens):
            found = in_a_child(name, options.heads, tokens, options.width, options.device)
            for gradients, number in zip((False, True), found, strict=True):
                rows.append({"contestant": name, "tokens": tokens, "backward": gradients, "bytes": number})
            print(f"{tokens:6d} {name:22s} {found[0] / 2**20:9.1f} MiB", file=sys.stderr)
    return rows


def targets(times: pd.DataFrame, memory: pd.DataFrame, options: argparse.Namespace) -> list[dict[str, Any]]:
    """The figures this package wants to reach, beside what came out; nothing is asserted of a time."""
    longest = max(options.lengths)
    middle = min(LARGEST_MATRIX, longest)

    def ratio(causal: bool, backward: bool, to: str = AGAINST) -> float:
        chosen = times[(times["tokens"] == middle) & (times["causal"] == causal) & (times["backward"] == backward)]
        seconds = chosen.set_index("contestant")["seconds"]
        return float(seconds["flash"] / seconds[to])

    def window_of(tokens: int, *names: str) -> dict[str, float]:
        tensors = inputs(options.heads, tokens, options.width, options.device, False)
        return timed(list(names), tensors, False, False, FEW)

    long = window_of(longest, BANDED, DENSE)
    doubling = long[BANDED] / window_of(longest // 2, BANDED)[BANDED]
    chosen = (memory["tokens"] == longest) & (memory["contestant"] == "flash") & ~memory["backward"]
    beyond = memory[chosen]["bytes"].item()
    ring = ring_of(RANKS, min(1024, longest))
    rows = [
        (f"flash forward, {middle} tokens, against fused SDPA", ratio(False, False), 1.25),
        (f"flash forward, causal, {middle} tokens, against fused SDPA", ratio(True, False), 1.25),
        (f"flash forward and backward, causal, {middle} tokens, against fused SDPA", ratio(True, True), 1.25),
        (f"flash forward, {middle} tokens, against plain attention", ratio(False, False, "plain"), 0.4),
        (f"MiB beyond inputs and output, flash forward, {longest} tokens", beyond / 2**20, 64),
        (f"{BANDED}, {longest} tokens, against SDPA with that mask", long[BANDED] / long[DENSE], 0.1),
        (f"{BANDED}, {longest} tokens against {longest // 2}", doubling, 2.2),
        (f"ring over {RANKS} processes: relative error of output and gradients", ring["error"], 1e-5),
        (f"ring over {RANKS} processes, causal: work of the busiest rank to the idlest", ring["work"], 1.1),
    ]
    return [{"what": what, "measured": value, "at most": bound} for what, value, bound in rows]


def ring_of(ranks: int, tokens: int) -> dict[str, float]:
    """A ring started by torchrun on this machine: its largest error, and how evenly the causal work is shared."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(ranks)]
    command += ["-m", "surgeon.procedures.ring_check", "--tokens", str(tokens)]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    cases = {case["layout"]: case for case in json.loads(done.stdout.splitlines()[-1])}
    zigzag = cases["causal, zigzag"]["pairs"]
    return {"error": max(case["error"] for case in cases.values()), "work": max(zigzag) / min(zigzag)}


def draw(times: pd.DataFrame, memory: pd.DataFrame, path: Path) -> None:
    """Seconds and bytes against length, forward, all keys."""
    fig = Figure(figsize=(11, 4.5), layout="constrained")
    left, right = fig.subplots(1, 2)
    for ax, frame, what in ((left, times[~times["causal"]], "seconds"), (right, memory, "bytes")):
        for name, rows in frame[~frame["backward"]].groupby("contestant", sort=False):
            ax.loglog(rows["tokens"], rows[what].clip(lower=2**16 if what == "bytes" else None), marker="o", label=name)
        ax.set(xlabel="tokens", ylabel=f"{what}, forward")
    left.legend(fontsize="small")
    fig.savefig(path)


def table(times: pd.DataFrame, memory: pd.DataFrame) -> pd.DataFrame:
    """One row a contestant and length; a column for each direction's ratio, and the memory."""
    names = {
        (False, False): "forward",
        (True, False): "forward, causal",
        (False, True): "and backward",
        (True, True): "and backward, causal",
    }
    label = [names[c, b] for c, b in zip(times["causal"], times["backward"], strict=True)]
    ratios = times.assign(column=label).pivot(index=["tokens", "contestant"], columns="column", values="ratio")
    seconds = times.assign(column=label).pivot(index=["tokens", "contestant"], columns="column", values="seconds")
    wide = ratios[list(names.values())].round(2)
    wide.insert(0, "seconds forward", seconds["forward"].round(4))
    mib = memory.assign(column=memory["backward"].map({False: "MiB forward", True: "MiB and backward"}))
    mib = mib.pivot(index=["tokens", "contestant"], columns="column", values="bytes") / 2**20
    return wide.join(mib[["MiB forward", "MiB and backward"]].round(1))


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="benchmarks", description=__doc__)
    parser.add_argument("--lengths", type=int, nargs="+", default=[512, 1024, 2048, 4096, 16384])
    parser.add_argument("--heads", type=int, default=8)
    parser.add_argument("--width", type=int, default=64)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--out", type=Path, default=Path("_build/bench"))
    options = parser.parse_args(arguments)
    options.lengths.sort()
    options.out.mkdir(parents=True, exist_ok=True)
    times, memory = pd.DataFrame(compare(options)), pd.DataFrame(memories(options))
    reached = targets(times, memory, options)
    processor = torch.cuda.get_device_name() if options.device == "cuda" else platform.processor() or platform.machine()
    machine = {"torch": torch.__version__, "threads": torch.get_num_threads(), "device": processor}
    machine |= {"heads": options.heads, "width": options.width, "dtype": "float32"}
    found = {
        "machine": machine,
        "targets": reached,
        "times": times.to_dict("records"),
        "memory": memory.to_dict("records"),
    }
    (options.out / "results.json").write_text(json.dumps(found, indent=1) + "\n")
    draw(times, memory, options.out / "results.svg")
    print(
        f"{options.heads} heads of width {options.width}, float32, PyTorch {torch.__version__}, {processor}, ", end=""
    )
    print(f"{torch.get_num_threads()} threads. Medians; ratios to '{AGAINST}' in the same run, so below 1 is faster.\n")
    print(table(times, memory).to_string(), end="\n\n")
    print(pd.DataFrame(reached).to_string(index=False, float_format="{:.3g}".format), end="\n\n")
    print(f"Results: {options.out / 'results.json'}, {options.out / 'results.svg'}")


if __name__ == "__main__":
    main()
