"""Libraries whose kernels no mode sees: switched to what it does see."""

import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import nn

SEEN = ("eager", "sdpa", None)
IMPLEMENTATION = "_attn_implementation"
FLEXIBLE = "torch.nn.attention.flex_attention"
# Its switch for those who want to look inside: else it compiles itself.
DEBUG = "_FLEX_ATTENTION_DISABLE_COMPILE_DEBUG"


@contextmanager
def seen_kernels(model: nn.Module) -> Iterator[None]:
    """While it lasts, attention goes ways on which it is seen.

    Models of transformers use PyTorch's kernel where they use another's, or
    their own eager form where they have no such; what was compiled, a part
    or all of it, runs uncompiled; and PyTorch's layers leave their fast path.
    """
    with ExitStack() as undo:
        fast = torch.backends.mha.get_fastpath_enabled()
        undo.callback(torch.backends.mha.set_fastpath_enabled, fast)
        torch.backends.mha.set_fastpath_enabled(False)
        # Whoever compiles has imported this; to ask would import it.
        if "torch._dynamo" in sys.modules:
            undo.enter_context(torch.compiler.set_stance("force_eager"))
        flexible: Any = sys.modules.get(FLEXIBLE)
        if flexible is not None:
            undo.callback(setattr, flexible, DEBUG, getattr(flexible, DEBUG))
            setattr(flexible, DEBUG, True)
        _switch(model, undo)
        yield


def _switch(model: nn.Module, undo: ExitStack) -> None:
    """The library's own switch, for those models in it that need it."""
    if "transformers" not in sys.modules:
        return
    for module in model.modules():
        config: Any = getattr(module, "config", None)
        switch: Any = getattr(module, "set_attn_implementation", None)
        before = getattr(config, IMPLEMENTATION, None)
        if switch is None or before in SEEN:
            continue
        undo.callback(setattr, config, IMPLEMENTATION, before)
        try:
            switch("sdpa")
        except (ValueError, ImportError):
            switch("eager")
