"""How a model is called: what its arguments are called and mean."""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from surgeon.checkup.models.question import Question, Reply
from surgeon.checkup.subjects.answering import SubjectError

KINDS = ("decoder", "encoder", "encoder-decoder")
MASKS = ("1 is a token", "True is a token", "True is padding")
POSITIONS = ("absolute", "relative")
# what an argument means: what it is usually called
USUAL = {
    "mask": ("attention_mask",),
    "positions": ("position_ids",),
    "embeds": ("inputs_embeds",),
    "cache": ("past_key_values", "cache", "cache_params", "kv_cache"),
    "documents": ("documents", "document_ids"),
    "source": ("src",),
    "source_mask": ("src_key_padding_mask", "src_padding", "src_mask"),
    "ids": ("tgt", "trg"),
}
# usual names that say themselves how a mask is read
OF_PADDING = ("src_key_padding_mask", "src_padding")
OUTPUTS = ("logits", "last_hidden_state")


@dataclass(frozen=True, kw_only=True)
class Adapter:
    """What a caller says of a model, and what its signature says besides.

    Parameters
    ----------
    kind : str or None
        One of `KINDS`; None if nobody said.
    names : mapping
        Its arguments by their meaning: keys of `USUAL`. What has no name is
        not handed in, but for `ids`, which come first then.
    convention : str or None
        How it reads masks: one of `MASKS`; by its name, if nobody said.
    new_cache : callable, optional
        Makes an empty cache, if it wants one.
    back : str, int or callable, optional
        Where a reply holds the cache; if not given, where it is found.
    reorder, crop : callable, optional
        ``reorder(cache, rows)`` and ``crop(cache, tokens, removed)`` change a
        cache, or return one.
    marks : callable, optional
        From documents [B, T] to arguments by name.
    output : str, int or callable, optional
        Where a reply holds what is examined.
    options : mapping or callable
        Further arguments; a callable is given the number of tokens.
    checkpointing : callable, optional
        Switches checkpoints on, in a model that it is given.
    programs : mapping
        What sets a model to another program for its attention, by name.
    unasked : str
        Which program is left out, and why, in a sentence; empty if none is.
    generate : callable, optional
        ``generate(model, ids, seen, new, cached)`` writes on, greedily.
    by_piece : bool
        Whether its mask is of the tokens that are handed in, and not of those
        in a cache, too.
    switches : bool
        Whether it wants to be told `use_cache`.
    guessed : bool
        Whether nobody said that it has a cache, and an argument's name does.
    vocab, max_len, window, layers, sinks, pad, base : int or None
        Words; the longest text; the window, its own token counted; how many
        layers look through it; first tokens that are always seen; the word
        for padding; the first position.
    special : tuple of int
        Words that are not drawn.
    positions : str or None
        One of `POSITIONS`.
    pictures : tuple of int
        Channels, rows and columns, of a model that reads pictures.
    said : tuple of str
        Sentences for the portrait.
    """

    kind: str | None = None
    names: Mapping[str, str] = field(default_factory=dict)
    convention: str | None = None
    new_cache: Callable[..., Any] | None = None
    back: str | int | Callable[..., Any] | None = None
    reorder: Callable[..., Any] | None = None
    crop: Callable[..., Any] | None = None
    marks: Callable[..., Mapping[str, Any]] | None = None
    output: str | int | Callable[..., Any] | None = None
    options: Mapping[str, Any] | Callable[..., Mapping[str, Any]] | None = (
        None
    )
    checkpointing: Callable[..., Any] | None = None
    programs: Mapping[str, Callable[..., Any]] = field(default_factory=dict)
    unasked: str = ""
    generate: Callable[..., Any] | None = None
    by_piece: bool = False
    switches: bool = False
    guessed: bool = False
    vocab: int = 0
    max_len: int | None = None
    window: int | None = None
    layers: int | None = None
    sinks: int = 0
    pad: int | None = None
    base: int = 0
    special: tuple[int, ...] = ()
    positions: str | None = None
    pictures: tuple[int, ...] = ()
    said: tuple[str, ...] = ()

    def takes(self, meaning: str) -> bool:
        """Whether there is an argument for this."""
        return bool(self.names.get(meaning))

    @property
    def caches(self) -> bool:
        return self.takes("cache")

    def call(self, model: Callable[..., Any], asked: Question) -> Any:
        """Ask, in the model's own words; its reply as it is."""
        named: dict[str, Any] = {}
        given: list[Tensor] = []
        T = asked.ids.shape[1]
        if asked.embeds is not None:
            named[self.names["embeds"]] = asked.embeds
        elif self.takes("ids"):
            named[self.names["ids"]] = asked.ids
        else:
            given.append(asked.ids)
        if asked.source is not None:
            if not self.takes("source"):
                given.insert(0, asked.source)
            else:
                named[self.names["source"]] = asked.source
        for meaning, seen in (
            ("mask", asked.seen),
            ("source_mask", asked.source_seen),
        ):
            if seen is not None and self.takes(meaning):
                if self.by_piece and meaning == "mask":
                    seen = seen[:, -T:]
                name = self.names[meaning]
                named[name] = self.written(seen, name)
        if asked.positions is not None and self.takes("positions"):
            named[self.names["positions"]] = asked.positions
        if asked.documents is not None:
            if self.marks is not None:
                named |= self.marks(asked.documents)
            else:
                named[self.names["documents"]] = asked.documents
        named |= self._caching(asked)
        options = self.options
        more = options(T) if callable(options) else options
        return model(*given, **{**named, **(more or {}), **asked.more})

    def _caching(self, asked: Question) -> dict[str, Any]:
        """What is said about a cache."""
        if not asked.caching or not self.caches:
            return {"use_cache": False} if self.switches else {}
        told: dict[str, Any] = {"use_cache": True} if self.switches else {}
        if asked.cache is not None:
            told[self.names["cache"]] = asked.cache
        return told

    def written(self, seen: Tensor, name: str) -> Tensor:
        """A mask in the model's own convention."""
        usual = MASKS[2] if name in OF_PADDING else MASKS[0]
        convention = self.convention or usual
        if convention == "True is padding":
            return ~seen
        return seen if convention[0] == "T" else seen.long()

    def read(self, reply: Any, asked: Question, given: Any) -> Reply:
        """What the reply means.

        Raises
        ------
        SubjectError
            If there is no tensor of numbers in it, for each row.
        """
        output = _found(reply, self.output)
        if output is None and self.output is None:
            found = (getattr(reply, name, None) for name in OUTPUTS)
            output = next((x for x in found if x is not None), None)
            if output is None and isinstance(reply, (tuple, list)) and reply:
                output = reply[0]
            if output is None:
                output = reply
        if not isinstance(output, Tensor) or not output.is_floating_point():
            kind = type(output).__name__
            raise SubjectError(
                f"it returned no tensor of numbers, but {kind}"
            )
        B = len(asked.ids)
        if output.ndim < 2 or len(output) != B:
            raise SubjectError(
                f"of {B} rows it returned a tensor {list(output.shape)}"
            )
        if output.ndim == 2:
            output = output[:, None]
        cache = self._handed_back(reply, given) if asked.caching else None
        return Reply(output.flatten(2), cache)

    def _handed_back(self, reply: Any, given: Any) -> Any:
        """The cache for the next call."""
        if self.back is not None:
            return _found(reply, self.back)
        name = self.names.get("cache", "")
        if (found := getattr(reply, name, None)) is not None:
            return found
        if self.guessed and not self.switches:
            return None  # what a reply holds besides may be anything
        if self.new_cache is None and isinstance(reply, (tuple, list)):
            return reply[1] if len(reply) > 1 else None
        return given


def _found(reply: Any, where: str | int | Callable[..., Any] | None) -> Any:
    if callable(where):
        return where(reply)
    if isinstance(where, int):
        return reply[where]
    if isinstance(where, str):
        return getattr(reply, where, None)
    return None


def arguments(model: Callable[..., Any]) -> dict[str, inspect.Parameter]:
    """Those of its signature; none, if it will not say."""
    asked = getattr(model, "forward", model)
    try:
        return dict(inspect.signature(asked).parameters)
    except (TypeError, ValueError):
        return {}


def usual_names(
    model: Callable[..., Any], given: Mapping[str, str]
) -> dict[str, str]:
    """What its arguments are called: as said, or as usual."""
    known = arguments(model)
    found = {
        meaning: next((n for n in names if n in known), "")
        for meaning, names in USUAL.items()
    }
    if not found["ids"]:  # an encoder by itself, which calls its words so
        found["mask"] = found["mask"] or found["source_mask"]
        found["source"] = found["source_mask"] = ""
    elif not found["source"]:
        found["ids"] = ""
    return {**found, **given}


def words_of(model: Any) -> int:
    """How many words it knows, by its first embedding; 0 if none is found."""
    if not isinstance(model, nn.Module):
        return 0
    tables = (m for m in model.modules() if isinstance(m, nn.Embedding))
    first = next(tables, None)
    return first.num_embeddings if first is not None else 0


def paddings_of(model: Any) -> tuple[int, ...]:
    """Rows of its embeddings that are for padding, and never learn."""
    if not isinstance(model, nn.Module):
        return ()
    tables = (m for m in model.modules() if isinstance(m, nn.Embedding))
    return tuple(m.padding_idx for m in tables if m.padding_idx is not None)


def counted(seen: Tensor, base: int = 0) -> Tensor:
    """Positions [B, T] that count tokens and no padding."""
    places = seen.long().cumsum(-1) - 1
    return places.clamp(min=0) + base


def no_words(ids: Tensor) -> bool:
    return ids.dtype != torch.long
