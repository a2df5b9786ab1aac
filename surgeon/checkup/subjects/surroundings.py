"""What surrounds a question, and must not answer it."""

import random
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

import numpy as np
import torch


@contextmanager
def ordinary() -> Iterator[None]:
    """Gradients are kept, and new tensors are made on the CPU.

    Whoever examines under `no_grad`, under `inference_mode` or with another
    default device gets the report that everybody gets.
    """
    # A mode for new tensors is asked at every call of PyTorch's: only where
    # they would be made elsewhere.
    here = torch.get_default_device().type == "cpu"
    device = nullcontext() if here else torch.device("cpu")
    with torch.inference_mode(False), torch.enable_grad(), device:
        yield


@contextmanager
def apart(seed: int | None) -> Iterator[None]:
    """Everybody's global generators, seeded alike and put back afterwards.

    With no seed they are left in the open.
    """
    if seed is None:
        yield
        return
    python, numpy = random.getstate(), np.random.get_state()
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        random.seed(seed)
        np.random.seed(seed)
        try:
            yield
        finally:
            random.setstate(python)
            np.random.set_state(numpy)
