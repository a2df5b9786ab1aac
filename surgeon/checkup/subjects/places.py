"""How places come into the library's attentions, and what these want for it.

Tables of angles from the configuration, in double precision; a number for
each distance.
"""

import sys
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass, field
from inspect import signature
from typing import Any

import torch
from torch import Tensor

PATH = "transformers.models."
# From the number of sequences, of tokens, and a precision
Beside = Callable[[int, int, torch.dtype], dict[str, Any]]

# The models of which it is known which columns are a pair
HALVES = (
    *("gpt_neox", "falcon", "llama", "mistral", "qwen2", "qwen3"),
    *("gemma2", "gemma3", "phi", "phi3", "gpt_oss"),
)
NO_TABLE = (
    "Its angles are not known here: it got angles of zero, by which nothing"
    " turns."
)
IN_THE_MASK = (
    "On sdpa the model adds ALiBi to the mask: it is not examined here."
)


def nothing(B: int, T: int, dtype: torch.dtype) -> dict[str, Any]:
    """What most want besides `x` and a mask."""
    return {}


@dataclass(frozen=True, kw_only=True)
class Places:
    """How places come in.

    Parameters
    ----------
    positions : mapping or callable, optional
        As `surgeon.examine` takes it.
    beside : callable
        What the layer wants for it.
    stretch : float
        What queries and keys are multiplied by as they are turned.
    said : list of str
        Sentences for the portrait.
    """

    positions: Any = None
    beside: Beside = nothing
    stretch: float = 1.0
    said: list[str] = field(default_factory=list)


def library_kind(module: Any) -> type | None:
    """The library's class that it is, or is made of."""
    return next(
        (
            kind
            for kind in type(module).__mro__
            if kind.__module__.startswith(PATH)
        ),
        None,
    )


def places_of(inner: Any, family: str) -> Places:
    """How places come into an attention.

    Parameters
    ----------
    inner : torch.nn.Module
        The attention.
    family : str
        The library's name of the model.
    """
    kind = library_kind(inner) or type(inner)
    library = sys.modules[kind.__module__]
    wanted = signature(inner.forward).parameters
    if family == "t5":
        return _by_table(inner)
    if family == "bloom" or _has_alibi(inner, family):
        return _by_distance(inner, library, family)
    if "position_embeddings" in wanted:
        return _turned(inner, library, family)
    return Places()


# Angles


def _turned(inner: Any, library: Any, family: str) -> Places:
    """Rotary: halves of the first columns of a head."""
    tables = _tables(inner, library)
    if tables is None:
        d = _width(inner)
        still = lambda B, T, dtype: {
            "position_embeddings": (
                torch.ones(1, T, d, dtype=dtype),
                torch.zeros(1, T, d, dtype=dtype),
            )
        }
        return Places(beside=still, said=[NO_TABLE])
    frequencies, stretch, twice, base, share = tables

    def beside(B: int, T: int, dtype: torch.dtype) -> dict[str, Any]:
        angles = torch.arange(T)[:, None] * frequencies
        angles = torch.cat([angles, angles], -1) if twice else angles
        cos, sin = (
            (stretch * x)[None].to(dtype)
            for x in (angles.cos(), angles.sin())
        )
        given: dict[str, Any] = {"position_embeddings": (cos, sin)}
        if family == "falcon":
            given |= _for_falcon(inner, B, T, dtype) | {"alibi": None}
        return given

    if family not in HALVES:
        return Places(beside=beside)
    positions: dict[str, Any] = {"kind": "rotary", "pairs": "halves"}
    if base:
        positions |= {"base": base, "share": share}
    else:
        positions |= {"frequencies": frequencies}
    return Places(positions=positions, beside=beside, stretch=stretch)


def _tables(
    inner: Any, library: Any
) -> tuple[Tensor, float, bool, float, float] | None:
    """Frequencies, what they are stretched by, and how tables are laid out.

    Whether each frequency stands there twice; the base and the share of the
    width, if these say all.
    """
    config, kind = inner.config, getattr(inner, "layer_type", None)
    of = library_kind(inner) or type(inner)
    name = of.__name__.removesuffix("Attention")
    maker = getattr(library, f"{name}RotaryEmbedding", None)
    said = getattr(config, "rope_parameters", None) or {}
    said = said.get(kind, said) if kind in said else said
    if maker is None or not said:
        return None
    made = maker(config)
    prefix = f"{kind}_" if hasattr(made, f"{kind}_inv_freq") else ""
    theirs = getattr(made, f"{prefix}inv_freq").double()
    stretch = float(getattr(made, f"{prefix}attention_scaling"))
    x, places = torch.zeros(1, 2, 1), torch.arange(2)[None]
    cos, _ = made(x, places, kind) if prefix else made(x, places)
    twice = cos.shape[-1] == 2 * len(theirs)
    base = float(said.get("rope_theta", 0.0))
    d = _width(inner)
    even = torch.arange(0, 2 * len(theirs), 2, dtype=torch.float64)
    ours = base ** (-even / (2 * len(theirs))) if base else theirs
    if said.get("rope_type") == "default" and torch.allclose(
        ours, theirs, rtol=1e-5
    ):
        return ours, stretch, twice, base, 2 * len(theirs) / d
    return theirs, stretch, twice, 0.0, 1.0


def _width(inner: Any) -> int:
    """Of a head."""
    return int(getattr(inner, "head_dim", 0) or inner.head_size)


# Numbers for distances


def _has_alibi(inner: Any, family: str) -> bool:
    return family == "falcon" and bool(inner.config.alibi)


def _by_distance(inner: Any, library: Any, family: str) -> Places:
    """ALiBi, as the library has it: a number for each place of a key."""
    heads = inner.num_heads
    build = library.build_alibi_tensor
    one = build(torch.ones(1, 2), heads, torch.float64)
    slopes = one.reshape(heads, 2)[:, 1, None, None]
    # Falcon scales scores and numbers alike.
    by = inner.inv_norm_factor if family == "falcon" else 1.0

    def bias(
        Q: Tensor, K: Tensor, queries: Tensor, keys: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        return Q, K, by * slopes * keys

    def beside(B: int, T: int, dtype: torch.dtype) -> dict[str, Any]:
        given = {"alibi": build(torch.ones(B, T), heads, dtype)}
        if family == "falcon":
            return given | _for_falcon(inner, B, T, dtype)
        width = inner.hidden_size
        return given | {"residual": torch.zeros(B, T, width, dtype=dtype)}

    if family == "falcon" and inner.config._attn_implementation == "sdpa":
        return Places(beside=beside, said=[IN_THE_MASK])
    return Places(positions=bias, beside=beside)


def _for_falcon(
    inner: Any, B: int, T: int, dtype: torch.dtype
) -> dict[str, Any]:
    """A mask that hides nothing: the eager program cannot do without."""
    if inner.config._attn_implementation == "sdpa":
        return {}
    return {"attention_mask": torch.zeros(1, 1, T, T, dtype=dtype)}


def _by_table(inner: Any) -> Places:
    """T5's numbers for distances, where the layer has them."""
    if not inner.has_relative_attention_bias:
        return Places()
    table: Any = deepcopy(inner.relative_attention_bias).double()

    def bias(
        Q: Tensor, K: Tensor, queries: Tensor, keys: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        buckets = inner._relative_position_bucket(
            keys - queries[:, None],
            bidirectional=not inner.is_decoder,
            num_buckets=inner.relative_attention_num_buckets,
            max_distance=inner.relative_attention_max_distance,
        )
        return Q, K, table.weight.detach()[buckets].permute(2, 0, 1)

    return Places(positions=bias)
