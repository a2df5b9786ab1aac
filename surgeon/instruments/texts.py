"""What `explore` is given, read: weights of every head, names of tokens."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from surgeon.instruments.packing import below_diagonal, encode_weights

# What a browser draws without a wait.
MOST_CELLS = 65_536  # of one head: 256 queries by 256 keys
MOST_WEIGHTS = 8_000_000  # of all heads and texts: 16 MB
AXES = "[heads, T, S] or [layers, heads, T, S]"


class Heads(NamedTuple):
    """Every head on one text."""

    weights: np.ndarray  #: from 0 to 1, [L, H, T, S]
    tokens: list[str]  #: the names of the keys, S
    queries: list[str] | None  #: of the queries, T, where they are others
    name: str  #: what the text is called, or nothing


def read_texts(weights: Any, tokens: Any, queries: Any) -> list[Heads]:
    """One text, or several in lists or by name, if all fit together."""
    if isinstance(weights, Mapping):
        keys: list[Any] = list(weights)
        names = [str(key) for key in keys]
    elif _several(tokens):
        keys = list(range(len(tokens)))
        names = [""] * len(keys)
        for key in keys:
            _check_strings(f"tokens[{key}]", tokens[key])
    elif _without_texts(weights, tokens):
        raise ValueError("weights must hold at least one text, got none.")
    else:
        one = _read("", "", weights, tokens, queries)
        _check_size(one.weights.size)
        return [one]
    if not keys:
        raise ValueError("weights must hold at least one text, got none.")
    given = {"weights": weights, "tokens": tokens}
    given |= {} if queries is None else {"queries": queries}
    for what, all_of_it in given.items():
        _check_texts(what, all_of_it, keys, isinstance(weights, Mapping))
    read = [
        _read(
            name,
            f"[{key!r}]",
            weights[key],
            tokens[key],
            None if queries is None else queries[key],
        )
        for key, name in zip(keys, names, strict=True)
    ]
    L, H = read[0].weights.shape[:2]
    for text in read:
        if text.weights.shape[:2] != (L, H):
            raise ValueError(
                f"weights must have {L} layers of {H} heads in every text,"
                f" got {text.weights.shape[0]} of {text.weights.shape[1]}."
            )
    _check_size(sum(text.weights.size for text in read))
    return read


def pack(texts: Sequence[Heads], causal: bool) -> list[dict[str, Any]]:
    """The texts as the head explorer's script reads them.

    Raises
    ------
    ValueError
        If `causal` and weight lies above a diagonal, or queries and keys are
        of different texts.
    """
    packed: list[dict[str, Any]] = []
    for weights, tokens, queries, name in texts:
        if causal:
            _check_causal(weights, queries)
            weights = below_diagonal(weights)
        one = {"tokens": tokens, "weights": encode_weights(weights)}
        one |= {} if queries is None else {"queries": queries}
        packed.append(one | ({"name": name} if name else {}))
    return packed


def _several(tokens: Any) -> bool:
    """Whether these are the tokens of many texts: lists in a list."""
    if isinstance(tokens, str) or not isinstance(tokens, Sequence):
        return False
    return len(tokens) > 0 and _is_list(tokens[0])


def _is_list(thing: Any) -> bool:
    """Whether it could be tokens: no string, and no tensor of one number."""
    if isinstance(thing, str | bytes) or not hasattr(thing, "__len__"):
        return False
    return getattr(thing, "ndim", 1) > 0


def _without_texts(weights: Any, tokens: Any) -> bool:
    """Whether these are two empty lists, of as many texts."""
    given = (weights, tokens)
    return all(isinstance(one, list | tuple) and not one for one in given)


def _check_texts(what: str, given: Any, keys: list[Any], named: bool) -> None:
    """As many as there are texts, or of the same names."""
    if named:
        if not isinstance(given, Mapping) or set(given) != set(keys):
            raise ValueError(
                f"{what} must have the names of weights,"
                f" {', '.join(map(repr, keys))}."
            )
    elif not isinstance(given, Sequence) or len(given) != len(keys):
        got = len(given) if hasattr(given, "__len__") else given
        texts = "the 1 text"
        if len(keys) > 1:
            texts = f"each of the {len(keys)} texts"
        raise ValueError(f"{what} must have one for {texts}, got {got}.")


def _check_size(size: int) -> None:
    if size > MOST_WEIGHTS:
        raise ValueError(
            f"weights must be at most {MOST_WEIGHTS:,} numbers in all, got"
            f" {size:,}: show fewer layers, heads or tokens."
        )


def _check_causal(weights: np.ndarray, queries: list[str] | None) -> None:
    ahead = weights[..., *np.triu_indices(weights.shape[-2], 1)]
    if queries is not None or ahead.any():
        got = "queries of another text" if queries else f"{ahead.max():.4g}"
        raise ValueError(
            f"weights must be zero above the diagonal if causal, got {got}."
        )


def _read(
    name: str, place: str, weights: Any, tokens: Any, queries: Any
) -> Heads:
    if _is_list(tokens) and not len(tokens):
        raise ValueError(
            f"tokens{place} must hold at least one token, got none."
        )
    numbers = _numbers(f"weights{place}", weights)
    T, S = numbers.shape[2:]
    keys = _names(f"tokens{place}", tokens, S, "keys")
    if queries is not None:
        queries = _names(f"queries{place}", queries, T, "queries")
    elif T != S:
        raise ValueError(
            f"queries{place} must name the {T} queries, which are not the {S}"
            " keys."
        )
    return Heads(numbers, keys, queries, name)


def _names(which: str, names: Any, count: int, of: str) -> list[str]:
    """As strings of one line that a file can hold."""
    if isinstance(names, str) or not hasattr(names, "__len__"):
        raise ValueError(
            f"{which} must be a sequence of {count} strings, got"
            f" {type(names).__name__}."
        )
    _check_strings(which, names)
    if len(names) != count:
        raise ValueError(
            f"{which} must name each of the {count} {of}, got {len(names)}."
        )
    lines = (str(name).replace("\n", "\\n") for name in names)
    return [line.encode("utf-8", "replace").decode() for line in lines]


def _check_strings(which: str, names: Any) -> None:
    """That these are names, and not a tokenizer's numbers."""
    if not _is_list(names):
        return
    for name in names:
        if not isinstance(name, str):
            raise ValueError(
                f"{which} must be strings, got {type(name).__name__}: a"
                " tokenizer's convert_ids_to_tokens turns ids into them."
            )


def _numbers(which: str, weights: Any) -> np.ndarray:
    """[L, H, T, S], in float64 and from 0 to 1."""
    array = _array(which, weights)
    array = array[None] if array.ndim == 3 else array
    if array.ndim != 4 or 0 in array.shape:
        raise ValueError(
            f"{which} must have shape {AXES}, none of them 0, got"
            f" {list(array.shape)}."
        )
    T, S = array.shape[2:]
    if T * S > MOST_CELLS:
        raise ValueError(
            f"{which} must have at most {MOST_CELLS:,} cells a head, got"
            f" {T} queries by {S} keys."
        )
    _check_size(array.size)
    holes = int(np.isnan(array).sum())
    if holes:
        raise ValueError(
            f"{which} must hold numbers, got NaN in {holes} cells."
        )
    outside = array[(array < -1e-3) | (array > 1 + 1e-3)]
    if outside.size:
        raise ValueError(
            f"{which} must lie between 0 and 1, got {float(outside[0]):.4g}."
        )
    return array.astype(np.float64).clip(0.0, 1.0)


def _array(which: str, weights: Any) -> np.ndarray:
    """Any library's array; of a list or tuple of them, each is a layer."""
    listed = isinstance(weights, list | tuple)
    none = listed and not weights
    if (
        weights is None
        or none
        or (listed and any(w is None for w in weights))
    ):
        raise ValueError(
            f"{which} must hold numbers, got {weights if none else None}: the"
            ' model handed out none; load it with attn_implementation="eager"'
            " and ask for output_attentions=True, or use surgeon.capture."
        )
    if listed and hasattr(weights[0], "shape"):
        layers = [_array(which, layer) for layer in weights]
        if len({layer.shape for layer in layers}) > 1:
            raise ValueError(
                f"{which} must have layers of one shape, got"
                f" {[list(layer.shape) for layer in layers]}."
            )
        stacked = np.stack(layers)
        # Models put the axis of the batch in front: here, of one text.
        one = stacked.ndim == 5 and stacked.shape[1] == 1
        return stacked[:, 0] if one else stacked
    if isinstance(weights, Tensor):
        weights = weights.detach().cpu()
        if weights.dtype == torch.bfloat16:  # NumPy has none
            weights = weights.float()
    array = np.asarray(weights)
    if array.dtype.kind != "f":
        got = str(array.dtype)
        if hasattr(weights, "stack") and hasattr(weights, "patterns"):
            got = f"a {type(weights).__name__}, whose stack() gives such"
        raise ValueError(
            f"{which} must hold floating-point numbers, got {got}."
        )
    return array
