"""Capture: the attention weights of any model, while it runs."""

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import nn

from surgeon.arguments import positive_integer, truth
from surgeon.recording.cutting import Cuts, check_captured_cuts
from surgeon.recording.functions import put_in_place_of
from surgeon.recording.handed import Read, second
from surgeon.recording.libraries import seen_kernels
from surgeon.recording.recording import Recording
from surgeon.recording.session import Session
from surgeon.recording.unseen import entries

# Who hands out weights: a module, its name, or a function
Handing = nn.Module | str | Callable[..., Any]


@contextmanager
def capture(
    model: nn.Module,
    *,
    of: Sequence[Handing] | Mapping[Handing, Read] = (),
    cuts: Cuts = (),
    check: bool = True,
    at_most: int = 2**30,
) -> Iterator[Recording]:
    """Record the attention weights of a model while it runs.

    Whoever wrote it, and whichever kernel it uses: in the context PyTorch's
    fused attention is computed in steps, its multi-head and its flexible
    attention too, and a softmax over the last axis, by PyTorch or by hand,
    whose shares then weigh a sum is taken for attention. Models of
    transformers that use other kernels are switched to PyTorch's, and what
    was compiled runs uncompiled. Afterwards all is as it was, after an error
    too.

    Parameters
    ----------
    model : torch.nn.Module
        It is called in the context as ever; gradients flow.
    of : sequence or mapping
        What hands out its weights and is not looked into: modules, their
        names, or functions, which return (output, weights); or a mapping
        from these to a function from what they return to weights.
    cuts : sequence of Cut, or mapping
        What is cut in this model: `heads`, `mask`, `hide`, `weights` and
        `mute` of `surgeon.models.cuts.Cut`. Layers are counted in the order
        in which they are seen to attend; or, in a mapping from a layer's name
        to a sequence of cuts, named as in `weights` of the recording.
    check : bool
        Whether each call is made twice, first without all this, to compare:
        outputs must be the same to rounding, under autocast to its. With
        cuts, the difference is measured instead. A model in training mode is
        called once.
    at_most : int
        How many bytes of weights are kept; layers beyond are left out, and a
        warning names them.

    Returns
    -------
    context manager of Recording
        `weights`, by the layer's name, [B, H, T, S]; `stack`, for
        `surgeon.explore`; `patterns`, four numbers a head; `change`, what
        cuts changed; `unseen`, where something seems to attend unseen.

    Warns
    -----
    UserWarning
        If something seems to attend that is not seen, by the module's name,
        or if layers are left out.

    Raises
    ------
    ValueError
        If an argument is of another kind, if a module is captured already,
        if outputs differ by more than rounding, if the model was called and
        no attention was seen, or if a cut does not fit.

    Notes
    -----
    A row that may see nothing is recorded as zeros; the output stays what it
    was, NaN or zeros. PyTorch's fast path, which gives zeros at padding, is
    off, also in the call to compare with.

    Only what is seen has a number: in a model where one of three layers
    attends unseen, the third is layer 1. Look at the names before you cut by
    number. What attends unseen is noticed, and named in a warning, where a
    module's class is called an attention or has the usual projections, where
    an operation is called one, where a function of flash-attn, xformers or
    SageAttention is called, and where ``exp(scores)`` weighs a sum before it
    is divided. A kernel under another name, in a module under another name,
    cannot be noticed: to PyTorch it is a function like any other.

    A module that attends more than once in one call of it, as over
    heads, over blocks of queries or of keys, has a name for each (``#2``),
    each normalised by itself: where a softmax is taken in pieces that are
    joined later, none of these is the whole. `stack` and `patterns` warn of
    that, and cuts must name them.

    Not seen are kernels of other libraries outside transformers, programs of
    TorchScript, attention without a softmax, and shares that are never
    formed, or not multiplied as such: ``exp(s) @ v`` divided afterwards, and
    a sum of ``w[..., None] * v``. Name with `of` what hands out weights.

    Under activation checkpointing, take the backward pass inside the context,
    and make no cuts: parts are then called again by themselves. They are
    recorded the first time.

    Examples
    --------
    >>> import torch
    >>> layer = torch.nn.MultiheadAttention(6, 2, batch_first=True).eval()
    >>> x = torch.zeros(1, 3, 6)
    >>> with capture(layer) as recording:
    ...     output, _ = layer(x, x, x, need_weights=False)
    >>> recording
    Recording(1 layers, each [1, 2, 3, 3])
    >>> recording.stack()[0, 1]
    tensor([[0.3333, 0.3333, 0.3333],
            [0.3333, 0.3333, 0.3333],
            [0.3333, 0.3333, 0.3333]])
    """
    if not isinstance(model, nn.Module):
        raise ValueError(
            f"model must be a torch.nn.Module, got {type(model).__name__}."
        )
    if isinstance(model, torch.jit.ScriptModule):
        raise ValueError(
            "model must not be a program of TorchScript, into which nobody"
            f" sees, got {type(model).__name__}."
        )
    check_captured_cuts(cuts)
    check = truth("check", check)
    recording = Recording(positive_integer("at_most", at_most))
    modules, functions = _handing(model, of)
    session = Session(recording, cuts, check, modules)
    with ExitStack() as undo:
        undo.enter_context(seen_kernels(model))
        _hook(model, session, undo)
        for function in entries(sys.modules):
            if function not in functions:
                put_in_place_of(function, session.noticing(function), undo)
        for function, read in functions.items():
            name = getattr(function, "__name__", "function")
            seen = session.seen_in(name, read)
            put_in_place_of(function, seen, undo)
        undo.callback(session.end)
        yield recording
    session.check_seen()


def _handing(
    model: nn.Module, of: Sequence[Handing] | Mapping[Handing, Read]
) -> tuple[dict[int, Read], dict[Callable[..., Any], Read]]:
    """Modules by id, and functions, with how to read their weights."""
    if isinstance(of, str):
        raise ValueError(
            f"of must be a sequence or a mapping, got {of!r:.60}; write"
            " [of] for a single one."
        )
    reads = dict(of) if isinstance(of, Mapping) else dict.fromkeys(of, second)
    modules: dict[int, Read] = {}
    functions: dict[Callable[..., Any], Read] = {}
    names = dict(model.named_modules())
    for one, read in reads.items():
        one = names.get(one, one) if isinstance(one, str) else one
        if isinstance(one, nn.Module) and one in names.values():
            modules[id(one)] = read
        elif callable(one) and not isinstance(one, nn.Module):
            functions[one] = read
        else:
            raise ValueError(
                "of must hold modules of the model, their names, or"
                f" functions, got {one!r:.60}."
            )
    return modules, functions


class _Entering:
    """A hook before a module, which knows whose it is."""

    def __init__(self, session: Session, name: str) -> None:
        self.session, self.name = session, name

    def __call__(self, module: nn.Module, args: tuple, named: Any) -> None:
        self.session.enter(self.name, module, args, named)


class _Leaving(_Entering):
    """A hook after a module."""

    def __call__(  # type: ignore[override]
        self, module: nn.Module, args: tuple, named: Any, output: Any
    ) -> None:
        self.session.leave(self.name, module, output)


def _hook(model: nn.Module, session: Session, undo: ExitStack) -> None:
    """Hooks before and after every module."""
    for name, module in model.named_modules():
        if isinstance(module, torch.jit.ScriptModule):
            continue  # takes no hooks, and nobody sees into it
        hooks = module._forward_pre_hooks.values()
        if any(isinstance(hook, _Entering) for hook in hooks):
            raise ValueError(
                "model must not be captured twice at a time, got"
                f" {name or type(model).__name__} a second time."
            )
        before = module.register_forward_pre_hook(
            _Entering(session, name), prepend=True, with_kwargs=True
        )
        undo.callback(before.remove)
        after = module.register_forward_hook(
            _Leaving(session, name), with_kwargs=True, always_call=True
        )
        undo.callback(after.remove)
