"""What surrounds a question, and must not answer it."""

import random
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from contextvars import ContextVar

import numpy as np
import torch

# Whether somebody further out puts everybody's generators back.
_kept: ContextVar[bool] = ContextVar("kept", default=False)


@contextmanager
def ordinary() -> Iterator[None]:
    """Gradients are kept, and new tensors are made on the CPU.

    Whoever examines under `no_grad`, under `inference_mode` or with another
    default device gets the report that everybody gets. Everybody's global
    generators are put back in the end.
    """
    # A mode for new tensors is asked at every call of PyTorch's: only where
    # they would be made elsewhere.
    here = torch.get_default_device().type == "cpu"
    device = nullcontext() if here else torch.device("cpu")
    modes = torch.inference_mode(False), torch.enable_grad()
    with modes[0], modes[1], device, _generators_kept():
        yield


@contextmanager
def _generators_kept() -> Iterator[None]:
    """Everybody's global generators are put back; once is enough."""
    if _kept.get():
        yield
        return
    python, numpy = random.getstate(), np.random.get_state()
    token = _kept.set(True)
    with torch.random.fork_rng(devices=[]):
        try:
            yield
        finally:
            _kept.reset(token)
            random.setstate(python)
            np.random.set_state(numpy)


@contextmanager
def apart(seed: int | None) -> Iterator[None]:
    """Everybody's global generators, seeded alike and put back afterwards.

    During an examination, `ordinary` puts them back when it ends. With no
    seed they are left in the open.
    """
    if seed is None:
        yield
        return
    with nullcontext() if _kept.get() else _generators_kept():
        torch.default_generator.manual_seed(seed)
        random.seed(seed)
        np.random.seed(seed)
        yield
