"""Who seems to attend where nothing is seen: by names, calls and powers."""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from torch import nn
from torch._ops import OpOverload, OpOverloadPacket

from surgeon.checkup.subjects.projections import known_projections
from surgeon.recording.comparing import tensors

# Classes whose names end so attend, or ask others to.
NAMED = re.compile(
    r"(attention|attn|mha|mhsa)(v?\d+)?(block|layer|module|head|core)?$", re.I
)
# Compiled operations that attend
CALLED = re.compile(r"attn|attention|fmha", re.I)
# By what libraries are asked that compile their kernels themselves
ENTRIES = {
    "flash_attn": (
        "flash_attn_func",
        "flash_attn_kvpacked_func",
        "flash_attn_qkvpacked_func",
        "flash_attn_varlen_func",
        "flash_attn_varlen_kvpacked_func",
        "flash_attn_varlen_qkvpacked_func",
        "flash_attn_with_kvcache",
    ),
    "flash_attn_interface": ("flash_attn_func", "flash_attn_varlen_func"),
    "sageattention": ("sageattn",),
    "xformers.ops": ("memory_efficient_attention",),
}


@dataclass(eq=False)
class Frame:
    """One call of a module.

    Parameters
    ----------
    told : int
        How often something had been told to attend when it began.
    """

    told: int


@dataclass
class Unseen:
    """What seemed to attend in one call of a model, and was not seen.

    Parameters
    ----------
    found : dict
        From a module's name to why it is thought so.
    """

    found: dict[str, str] = field(default_factory=dict)
    _widths: dict[str, tuple[Frame | None, set[int]]] = field(
        default_factory=dict
    )

    def add(
        self,
        called: tuple[str, nn.Module],
        why: str,
        output: Any = None,
        around: Frame | None = None,
    ) -> None:
        """Remember a module that attends without being seen.

        Parameters
        ----------
        called : (str, Module)
            The module, by its name in the model.
        why : str
            What speaks for it.
        output : Any
            What it returned, if it has.
        around : Frame, optional
            The call in which it was called.
        """
        name = called[0] or type(called[1]).__name__
        self.found[name] = why
        widths = {x.shape[-1] for x in tensors(output) if x.ndim}
        self._widths[name] = around, widths

    def seen(self, inside: Frame, keys: int) -> None:
        """A call attends itself: what it asked for gave it the weights."""
        for name, (around, widths) in list(self._widths.items()):
            if around is inside and keys in widths:
                del self.found[name], self._widths[name]


def attends_by_name(module: nn.Module) -> str | None:
    """What speaks for a module's attending, if anything does.

    Its class's name; or projections to queries, keys, values and an output,
    called as people call them.
    """
    kind = type(module).__name__
    if NAMED.search(kind):
        return kind
    return f"{kind}, which projects" if _projects(module) else None


def _projects(module: nn.Module) -> bool:
    names = known_projections(module)
    whole = "qkv" in "".join(names[:1]).lower() or "c_attn" in names
    return len(names) == 4 or (whole and len(names) == 2)


def attends_by_call(function: Any) -> str | None:
    """The name of an operation that attends, if it is such."""
    if not isinstance(function, (OpOverload, OpOverloadPacket)):
        name = getattr(function, "__name__", "")
        return name if CALLED.search(name) else None
    name = str(function).removesuffix(".default").replace(".", "::")
    return name if CALLED.search(name.split("::", 1)[-1]) else None


def entries(modules: dict[str, Any]) -> Iterator[Callable[..., Any]]:
    """The functions of `ENTRIES` in libraries that are imported."""
    for library, names in ENTRIES.items():
        for name in names:
            function = getattr(modules.get(library), name, None)
            if callable(function):
                yield function
