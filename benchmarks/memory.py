"""Peak memory of one contestant, in a process of its own, beyond its inputs and results: prints bytes as JSON."""

import gc
import json
import re
import resource
import subprocess
import sys
from pathlib import Path

import torch

from benchmarks.contestants import CONTESTANTS, inputs, once

STATUS, RESET = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def resident(which: str) -> int:
    """Bytes of this process in memory: now ("VmRSS") or at most ("VmHWM")."""
    if STATUS.exists():
        found = re.search(rf"{which}:\s+(\d+) kB", STATUS.read_text())
        return 1024 * int(found.group(1)) if found else 0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # macOS counts in bytes, and knows no present size
    return peak if sys.platform == "darwin" else 1024 * peak


def measure(name: str, heads: int, tokens: int, width: int, device: str) -> list[int]:
    """Bytes beyond inputs and results at the worst moment: of a forward pass, and of a forward and a backward.

    A small run first loads what every run needs.
    """
    found = []
    for gradients in (False, True):
        once(CONTESTANTS[name], inputs(heads, 300, width, device, gradients), False, gradients)
        tensors = inputs(heads, tokens, width, device, gradients)
        before = reset(device)
        results = once(CONTESTANTS[name], tensors, False, gradients)
        peak = resident("VmHWM") if device == "cpu" else torch.cuda.max_memory_allocated()
        found.append(max(0, peak - before - sum(x.numel() * x.element_size() for x in results)))
        del tensors, results
    return found


def reset(device: str) -> int:
    """Forget the peak so far; bytes in use now."""
    gc.collect()  # what is thrown away later would hide as much of the peak
    if device != "cpu":
        torch.cuda.reset_peak_memory_stats()
        return int(torch.cuda.memory_allocated())
    if RESET.exists():  # Linux
        RESET.write_text("5")
    return resident("VmRSS")


def in_a_child(*task: str | int) -> list[int]:
    """`measure` in a fresh process, so that no other contestant's memory is counted or reused."""
    command = [sys.executable, "-m", "benchmarks.memory", json.dumps(task)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return list(json.loads(done.stdout))


if __name__ == "__main__":
    print(json.dumps(measure(*json.loads(sys.argv[1]))))
