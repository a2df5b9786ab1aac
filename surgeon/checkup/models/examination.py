"""`examine_model`: the whole check-up of a model."""

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, ClassVar

from surgeon.arguments import check_seed
from surgeon.checkup.assent import assent, check_accept
from surgeon.checkup.models.adapter import (
    KINDS,
    MASKS,
    POSITIONS,
    USUAL,
    Adapter,
    arguments,
    paddings_of,
    usual_names,
    words_of,
)
from surgeon.checkup.models.course import conduct
from surgeon.checkup.models.exam import ModelExam
from surgeon.checkup.models.laws import FUTURE, MODEL_LAWS
from surgeon.checkup.models.library import of_transformers
from surgeon.checkup.models.subject import ModelSubject, free_memory
from surgeon.checkup.patience import OutOfPatience, listening, within
from surgeon.checkup.report import Report
from surgeon.checkup.subjects.declaration import one_of
from surgeon.checkup.subjects.holds import title_of
from surgeon.checkup.subjects.surroundings import apart, ordinary

# Laws without which nobody knows whether it is what was declared
SAYS_WHICH = {
    "A decoder.": (*FUTURE, "the past is seen"),
    "An encoder-decoder.": (FUTURE[0], "source padding", "source read whole"),
}


class ModelReport(Report):
    """The findings of one examination of a model."""

    says_what: ClassVar[set[str]] = {"alone or in company"}
    what: ClassVar[str] = "whether a row depends on its company"

    @property
    def blind(self) -> str:
        """Also if it was declared to be what no law could tell."""
        said = super().blind
        for kind, laws in SAYS_WHICH.items():
            if said or self.failed or kind not in self.portrait:
                continue
            untold = {f.name for f in self.untold}
            if laws[0] in untold:
                named = ", ".join(f"“{n}”" for n in laws if n in untold)
                said = (
                    f"{len(untold)} of {len(self)} laws could not be told,"
                    f" among them those of {kind[0].lower()}{kind[1:-1]}:"
                    f" {named}"
                )
        return said


def examine_model(
    model: Callable[..., Any],
    *,
    kind: str | None = None,
    vocab: int | None = None,
    max_len: int | None = None,
    names: Mapping[str, str] | None = None,
    mask: str | None = None,
    pad: int | None = None,
    special: tuple[int, ...] = (),
    positions: str | None = None,
    window: int | None = None,
    layers: int | None = None,
    sinks: int = 0,
    new_cache: Callable[[], Any] | None = None,
    cache_back: str | int | Callable[[Any], Any] | None = None,
    reorder: Callable[..., Any] | None = None,
    crop: Callable[..., Any] | None = None,
    documents: Callable[..., Mapping[str, Any]] | None = None,
    checkpointing: Callable[[Any], Any] | None = None,
    programs: Mapping[str, Callable[[Any], Any]] | None = None,
    generate: Callable[..., Any] | None = None,
    output: str | int | Callable[[Any], Any] | None = None,
    options: (
        Mapping[str, Any] | Callable[[int], Mapping[str, Any]] | None
    ) = None,
    accept: Mapping[str, str] | None = None,
    memory: float | None = None,
    patience: float | None = 300.0,
    seed: int = 0,
) -> Report:
    """Examine anyone's model, by its behaviour alone: tokens in, logits out.

    The same rows are asked alone, in batches, padded, packed, and through a
    cache; what should not matter must not. Weights need not be trained.

    Parameters
    ----------
    model : callable or torch.nn.Module
        ``f(ids)`` with ids int64 [B, T], which returns logits or hidden
        states [B, T, d], alone, first in a tuple, or as `logits` or
        `last_hidden_state`. A module is copied, and asked in float64; the one
        that is given is left as it was. Of a model of `transformers`, its
        configuration and signature say the rest.
    kind : str, optional
        "decoder", "encoder" or "encoder-decoder"; if not given, a decoder if
        no output depends on a later token.
    vocab : int, optional
        How many words it knows; of a module, the size of its first embedding.
    max_len : int, optional
        The longest text that it takes.
    names : mapping, optional
        What it calls "ids", "mask", "positions", "embeds", "cache",
        "documents", "source" and "source_mask": ``{"mask": "padding"}``. If
        not given, `attention_mask`, `position_ids`, `inputs_embeds`,
        `past_key_values`, `cache` or `kv_cache`, `documents`, `src`, `tgt`,
        and `src_key_padding_mask`, `src_padding` or `src_mask`, where it has
        them; "" for what it must not be given.
    mask : str, optional
        How it reads its mask [B, S] of padding: "1 is a token" (integers),
        "True is a token", or "True is padding". If not given, the first; the
        last of `src_key_padding_mask` and `src_padding`.
        Whether it takes one [B, 1, T, T] of who may see whom is tried.
    pad : int, optional
        The word for padding; if not given, `padding_idx` of an embedding.
    special : tuple of int
        Words that are not drawn, since they mean more than themselves.
    positions : str, optional
        "relative", if only distances count; "absolute", if there is a table
        of `max_len` positions.
    window, layers, sinks : int, optional
        How many tokens a layer sees behind, its own counted; how many layers
        there are, if all look through it; how many first tokens stay in
        sight.
    new_cache : callable, optional
        Makes an empty cache, if that must be handed in.
    cache_back : str, int or callable, optional
        Where a reply holds the cache. If not given, its attribute of the
        argument's name, the second of a tuple, or the cache that went in.
    reorder, crop : callable, optional
        ``reorder(cache, rows)``, and ``crop(cache, kept, removed)``, change a
        cache, or return another.
    documents : callable, optional
        From integers [1, T], which document each token belongs to, to
        arguments by name.
    checkpointing : callable, optional
        Switches checkpoints on in the model that it is given.
    programs : mapping, optional
        What sets the model that it is given to another program for its
        attention, by name.
    generate : callable, optional
        ``generate(model, ids, seen, new, cached)`` returns ids with `new`
        more, greedily; `seen` is None or booleans, False for padding.
    output : str, int or callable, optional
        Where a reply holds what is examined.
    options : mapping or callable, optional
        Further arguments of each call; a callable is given the number of
        tokens and returns them.
    accept : mapping, optional
        Findings that are known and meant, each with its reason.
    memory : float, optional
        GiB that copies and gradients may take; half of what is free, if not
        given. A model too large to be cast is asked in its own precision.
    patience : float or None
        Seconds after which the examination is given up.
    seed : int
        Of the questions.

    Returns
    -------
    Report
        As that of `surgeon.examine`, with the laws of whole models.

    Raises
    ------
    ValueError
        If an argument is none of what is listed here, or if a function does
        not come with the size of its vocabulary. What the model raises
        becomes a finding.

    Examples
    --------
    >>> from surgeon import create_causal_mask
    >>> from surgeon.models.transformer import make_model
    >>> masked = lambda T: {"mask": create_causal_mask(T)}
    >>> report = examine_model(make_model(11, 16), options=masked)
    >>> report.failed, report["future, evaluating"].passed
    ([], True)
    >>> [f.name for f in examine_model(make_model(11, 16), kind="decoder",
    ...                                vocab=11).failed]
    ['future, evaluating']
    """
    started = time.perf_counter()
    if kind is not None:
        one_of("kind", kind, KINDS)
    if mask is not None:
        one_of("mask", mask, MASKS)
    if positions is not None:
        one_of("positions", positions, POSITIONS)
    for name in names or {}:
        one_of("names", name, tuple(USUAL))
    if not (callable(options) or isinstance(options, Mapping | None)):
        raise ValueError(
            "options must be a mapping, as {'use_cache': True}, or a"
            f" function, got {options!r}."
        )
    accepted = check_accept(accept, MODEL_LAWS)
    if patience is not None and not 0 < patience < math.inf:
        raise ValueError(
            "patience must be a positive number of seconds or None, got"
            f" {patience}."
        )
    check_seed(seed)
    title = title_of(model)
    adapter = of_transformers(
        model,
        Adapter(
            kind=kind,
            names=dict(names or {}),
            convention=mask,
            new_cache=new_cache,
            back=cache_back,
            reorder=reorder,
            crop=crop,
            marks=documents,
            checkpointing=checkpointing,
            programs=dict(programs or {}),
            generate=generate,
            output=output,
            options=options,
            vocab=vocab or 0,
            max_len=max_len,
            window=window,
            layers=layers,
            sinks=sinks,
            pad=pad,
            special=tuple(special),
            positions=positions,
        ),
    )
    adapter = _completed(model, adapter)
    heard: list[str] = []
    # no state of a generator that a model might leave by itself
    with ordinary(), listening(heard), apart(seed ^ 1):
        limit = free_memory() if memory is None else memory
        subject = ModelSubject(model, adapter, title, limit)
        exam = ModelExam(subject, seed)
        try:
            with within(patience):
                conduct(exam)
        except OutOfPatience:
            why = (
                f"The examination was given up after {patience:g} s, while"
                f" “{exam.trying}” was tried."
            )
            told = f"Cannot be told: {why[0].lower()}{why[1:]}"
            exam.break_off("no answer", why, told)
    laws = [exam.findings[law] for law in MODEL_LAWS if law in exam.findings]
    seconds = time.perf_counter() - started
    return ModelReport(
        title, assent(laws, accepted), seconds, heard, exam.portrait
    )


def _completed(model: Callable[..., Any], adapter: Adapter) -> Adapter:
    """What its signature and its first embedding say besides."""
    words = adapter.vocab or words_of(model)
    if not adapter.pictures and words < 4:
        raise ValueError(
            "vocab must be how many words the model knows, at least 4, got"
            f" {adapter.vocab or None}."
        )
    names = usual_names(model, adapter.names)
    named = names["cache"] or "cache" in adapter.names
    if adapter.new_cache is not None and not named:
        raise ValueError(
            "names must say what the model calls its cache where new_cache is"
            " given, as {'cache': 'kv_cache'}, got none."
        )
    made = adapter.new_cache is not None or adapter.back is not None
    both = bool(names["ids"] and names["source"])
    kind = adapter.kind or ("encoder-decoder" if both else None)
    if kind != "encoder-decoder":
        names["source"] = names["source_mask"] = ""
    pads = paddings_of(model)
    said = adapter.pad is not None or not pads
    return replace(
        adapter,
        kind=kind,
        vocab=words,
        names=names,
        guessed=not (made or adapter.names.get("cache")),
        switches=adapter.switches
        or (kind != "encoder" and "use_cache" in arguments(model)),
        pad=adapter.pad if said else pads[0],
        special=(*adapter.special, *pads),
    )
