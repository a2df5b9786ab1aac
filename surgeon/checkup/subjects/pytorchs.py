"""PyTorch's own: nn.MultiheadAttention, and the layers that are made of it.

Its projections become identities, so that what goes in is what the heads
get. Of an encoder's or a decoder's layer it is the self-attention, asked
through the layer, masks and all.
"""

import copy
import math
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from surgeon.checkup.subjects.answering import (
    Aside,
    SubjectError,
    answer,
)
from surgeon.checkup.subjects.conventions import check_documents
from surgeon.checkup.subjects.declaration import (
    Declaration,
    Held,
    Options,
)
from surgeon.checkup.subjects.subject import Subject
from surgeon.checkup.subjects.surroundings import apart

# The arguments of a layer for masks and padding, and how many sequences it
# is called with.
LAYERS = {
    "TransformerEncoderLayer": ("src_mask", "src_key_padding_mask", 1),
    "TransformerDecoderLayer": ("tgt_mask", "tgt_key_padding_mask", 2),
}
STACK = "TransformerEncoder"
NARROW = 512  # beyond it, fewer heads are asked
INNER = "Its self_attn is examined, and nothing else of the layer."
CROSS = "Its cross-attention is multihead_attn: hand it in as well."


def is_pytorchs(subject: Any, name: str) -> bool:
    """Whether it is PyTorch's own of this name, or made of that."""
    return any(
        kind.__name__ == name and kind.__module__.startswith("torch.nn")
        for kind in type(subject).__mro__
    )


def pytorchs_own(
    module: Any, title: str, declared: Declaration
) -> Subject | None:
    """What is PyTorch's own, held as PyTorch documents it.

    None if it is something else.
    """
    own = ("MultiheadAttention", *LAYERS)
    if any(is_pytorchs(module, name) for name in own):
        check_documents(module.forward, title, declared.meant.documents)
    if is_pytorchs(module, "MultiheadAttention"):
        return _attention(module, title, declared)
    for name, (mask, padding, sequences) in LAYERS.items():
        if is_pytorchs(module, name):
            through = Through(mask, padding, sequences)
            return _layer(module, title, declared, through)
    return None


def with_added_keys(module: Any, declared: Declaration) -> Declaration:
    """With the keys that nn.MultiheadAttention adds by itself.

    As identities have them, their scores are 0, and so are their values: a
    sink.
    """
    probed = declared.projections is not False
    if not probed or not is_pytorchs(module, "MultiheadAttention"):
        return declared
    several = int(module.bias_k is not None) + int(module.add_zero_attn)
    if not several or declared.meant.sink is not None:
        return declared
    meant = replace(declared.meant, sink=math.log(several))
    return replace(declared, meant=meant)


def as_documented(module: Any, declared: Declaration) -> Declaration:
    """With what PyTorch documents for its own, asked from outside."""
    name, inner = (
        next((n for n in LAYERS if is_pytorchs(module, n)), ""),
        module,
    )
    if is_pytorchs(module, STACK):
        name, inner = "TransformerEncoderLayer", module.layers[0]
    if not name:
        return declared
    first = getattr(inner.self_attn, "batch_first", True)
    mask, padding, _ = LAYERS[name]
    mask = "mask" if inner is not module else mask
    return replace(
        declared,
        mask=declared.mask or "True blocks",
        names={"mask": mask, **declared.names},
        padding=declared.padding or padding,
        layout=declared.layout or (None if first else "T B d"),
    )


def _attention(module: Any, title: str, declared: Declaration) -> Subject:
    """nn.MultiheadAttention, with identities for its projections."""
    by = declared.meant.documents  # a mask for every head, it may be
    few = None if by else _narrowed(module)
    twin: Any = few or copy.deepcopy(module).eval()
    _with_identities(twin)
    d = module.embed_dim // module.num_heads
    held = Held(
        layout="B T (H d)" if module.batch_first else "T B (H d)",
        heads=twin.num_heads,
        kv_heads=twin.num_heads,
        widths=(d, d),
        mask=declared.convention or "True blocks",
        mask_name="attn_mask",
        mask_shape=declared.mask_shape or "(B H) T S",
        padding="key_padding_mask",
        causal=declared.causal,
        dropout=declared.dropout,
        documents=by,
        options=_with_every_head(declared.options),
    )
    said = f"{title} (identities for its projections)"
    subject = Subject(twin, _ask_attention, said, held)
    if twin.num_heads < module.num_heads:
        few, many = twin.num_heads, module.num_heads
        said = f"Of its {many} heads, which are alike, {few} are asked."
        subject.said = [said]
    return subject


def _narrowed(module: Any) -> nn.Module | None:
    """One with fewer heads, each as wide, where there are very many.

    They are alike, and identities for all of them would take long. None of
    what is but made of PyTorch's, and may be otherwise.
    """
    d, like = module.head_dim, module.in_proj_weight
    few = max(2, NARROW // d)
    kind = type(module)
    own = kind.__module__.startswith("torch.nn.")
    if not own or kind.__name__ != "MultiheadAttention" or like is None:
        return None
    if few >= module.num_heads:
        return None
    with apart(0):
        return kind(
            few * d,
            few,
            dropout=module.dropout,
            bias=module.in_proj_bias is not None,
            add_bias_kv=module.bias_k is not None,
            add_zero_attn=module.add_zero_attn,
            batch_first=module.batch_first,
            dtype=like.dtype,
        ).eval()


def _with_identities(twin: Any) -> None:
    """Projections of ones, and nothing in the keys that it adds."""
    width = twin.embed_dim
    with torch.no_grad():
        if twin.in_proj_weight is not None:
            twin.in_proj_weight.copy_(torch.eye(width).repeat(3, 1))
        else:  # keys or values of another width
            twin.kdim = twin.vdim = width
            like = twin.q_proj_weight
            for name in ("q_proj_weight", "k_proj_weight", "v_proj_weight"):
                eye = torch.eye(width, dtype=like.dtype)
                setattr(twin, name, nn.Parameter(eye))
        twin.out_proj.weight.copy_(torch.eye(width))
        nothing = (twin.in_proj_bias, twin.out_proj.bias)
        for bias in (*nothing, twin.bias_k, twin.bias_v):
            if bias is not None:
                bias.zero_()


def _with_every_head(options: Options) -> Options:
    """The options, and that weights are wanted for each head."""
    every: dict[str, Any] = {"average_attn_weights": False}
    if callable(options):
        return lambda tokens: every | dict(options(tokens))
    return every | dict(options or {})


def _ask_attention(
    target: nn.Module,
    Q: Tensor,
    K: Tensor,
    V: Tensor,
    extras: dict[str, Any],
) -> Any:
    return answer(target, Q, K, V, **extras)


def _layer(
    module: Any, title: str, declared: Declaration, through: "Through"
) -> Subject | None:
    """An encoder's or a decoder's layer, asked at its self-attention."""
    inner: Any = getattr(module, "self_attn", None)
    if not is_pytorchs(inner, "MultiheadAttention"):
        return None
    twin = copy.deepcopy(module).eval()
    _with_identities(twin.self_attn)
    d = inner.embed_dim // inner.num_heads
    held = Held(
        layout="B T (H d)" if inner.batch_first else "T B (H d)",
        heads=inner.num_heads,
        kv_heads=inner.num_heads,
        widths=(d, d),
        mask=declared.convention or "True blocks",
        mask_name=declared.names.get("mask", through.mask),
        mask_shape=declared.mask_shape or "(B H) T S",
        padding=declared.padding or through.padding,
        causal=declared.causal,
        rectangular=False,
        documents=declared.meant.documents,
        options=declared.options,
    )
    said = f"{title} (its self_attn, identities for its projections)"
    subject = Subject(twin, through, said, held)
    subject.said.append(INNER)
    _through_it(subject)
    if hasattr(module, "multihead_attn"):
        subject.said.append(CROSS)
    return subject


def _through_it(subject: Subject) -> None:
    """Refuse a layer that leaves its self-attention aside."""
    held = subject.held
    shown = torch.ones(2, held.heads, 5, (held.widths or (1, 1))[0])
    try:
        subject.ask(shown, shown, shown)
    except Aside:
        raise
    except SubjectError:  # told where it is asked
        return


@dataclass(frozen=True)
class Through:
    """How a layer is asked with the Q, K and V of its self-attention.

    Parameters
    ----------
    mask, padding : str
        What the layer calls them.
    sequences : int
        How many it is called with: one, or one more that it reads.
    """

    mask: str
    padding: str
    sequences: int

    def __call__(
        self,
        target: Any,
        Q: Tensor,
        K: Tensor,
        V: Tensor,
        extras: dict[str, Any],
    ) -> Any:
        seen: list[Any] = []
        inner = target.self_attn
        # With hooks there is no fast path that passes them by.
        hooks = (
            inner.register_forward_pre_hook(
                lambda _, given, named: ((Q, K, V), _but_x(named)),
                with_kwargs=True,
            ),
            inner.register_forward_hook(
                lambda _, given, got: seen.append(got)
            ),
        )
        x = torch.ones(*Q.shape[:2], inner.embed_dim, dtype=Q.dtype)
        try:
            answer(
                target, *(x.clone() for _ in range(self.sequences)), **extras
            )
        finally:
            for hook in hooks:
                hook.remove()
        if not seen:
            raise Aside("It does not ask its self_attn.")
        return seen[-1]


def _but_x(named: dict[str, Any]) -> dict[str, Any]:
    """The arguments of a self-attention besides its three sequences."""
    sequences = ("query", "key", "value")
    return {name: x for name, x in named.items() if name not in sequences}
