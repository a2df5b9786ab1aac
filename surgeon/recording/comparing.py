"""Two calls of one model, held against each other."""

import copy
import math
import warnings
from collections.abc import Collection, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from surgeon.recording.recording import Change

USUAL = ("logits", "last_hidden_state")


def asked_plainly(module: nn.Module, args: tuple, named: Any) -> Any:
    """What a module gives, asked with copies, and nothing else is moved.

    Without gradients; random numbers are drawn as they are drawn again, and
    what it warns of is heard then.
    """
    memo = {id(x): x.detach().clone() for x in tensors((args, named))}
    args, named = copy.deepcopy((args, named), memo)
    devices = {p.device.index for p in module.parameters() if p.is_cuda}
    forked = torch.random.fork_rng(sorted(devices))
    with torch.no_grad(), forked, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return module(*args, **named)


def in_backward() -> bool:
    """Whether this is called by a backward pass, to compute a part again."""
    return torch._C._current_graph_task_id() != -1


def tensors(output: Any) -> Iterator[Tensor]:
    """The tensors in what a model gives, or is given."""
    if isinstance(output, Tensor):
        yield output
    elif isinstance(output, Mapping):
        for one in output.values():
            yield from tensors(one)
    elif isinstance(output, (tuple, list)):
        for one in output:
            yield from tensors(one)


def main_tensor(output: Any) -> Tensor | None:
    """The output that matters: logits, hidden states, or what comes first."""
    for name in USUAL:
        found = getattr(output, name, None)
        if isinstance(found, Tensor):
            return found
    floating = (x for x in tensors(output) if x.is_floating_point())
    return next((x for x in floating if x.ndim), None)


def autocast_to(device: str) -> set[torch.dtype]:
    """What products are rounded to now on a device, if autocast is on."""
    if not torch.amp.is_autocast_available(device):
        return set()
    if not torch.is_autocast_enabled(device):
        return set()
    return {torch.get_autocast_dtype(device)}


def check_alike(
    before: Any, after: Any, name: str, coarse: Collection[torch.dtype] = ()
) -> None:
    """Raise a ValueError unless two outputs are the same to rounding.

    The largest difference may be the largest number times the root of the
    precision: 1.5e-8 in float64, 3.5e-4 in float32, 0.09 in bfloat16. That
    is the output's own, or the one that autocast computes in, if coarser.
    """
    for old, new in zip(tensors(before), tensors(after), strict=False):
        if not old.is_floating_point() or not old.numel():
            continue
        holes = (old.isnan() != new.isnan()).any()
        old, new = old.nan_to_num(), new.detach().nan_to_num()
        off = float((old.double() - new.double()).abs().max())
        kinds = {old.dtype}
        if old.dtype != torch.float64:  # which autocast leaves alone
            kinds |= set(coarse)
        slack = math.sqrt(max(torch.finfo(kind).eps for kind in kinds))
        most = slack * float(old.abs().max())
        if holes or off > most:
            raise ValueError(
                "model must give the same while it is captured, got"
                f" {off:.2g} of difference from {name}, where rounding"
                f" explains {most:.2g}; say check=False to record it anyway."
            )


def change_of(before: Any, after: Any) -> Change | None:
    """What cuts changed in an output; None if there is none to compare."""
    old, new = main_tensor(before), main_tensor(after)
    if old is None or new is None or old.shape != new.shape:
        return None
    new = new.detach()
    off = (new - old).double()
    largest, norm = float(off.abs().max()), float(old.double().norm())
    share = float(off.norm()) / norm if norm else math.inf
    return Change(old, new, largest, share if largest else 0.0)
