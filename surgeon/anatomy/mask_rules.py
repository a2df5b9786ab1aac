"""Who may look at whom, said as a rule: of a query's place and a key's."""

from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor

from surgeon.anatomy.mask_reading import Device, block, check_shape
from surgeon.arguments import natural_number, positive_integer, whole_number

#: batch, head, query and key, as integers, to whether that query may look
Rule = Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]

#: what a mask of each kind is, if True stands for may look
KINDS: dict[str, Callable[[Tensor], Tensor]] = {
    "boolean": lambda may_look: may_look,
    "integer": lambda may_look: may_look.long(),
    "zero-one": lambda may_look: may_look.float(),
    "additive": lambda may_look: block(~may_look),
    "blocked": lambda may_look: ~may_look,
}


def mask_of(
    rule: Rule,
    shape: Sequence[int],
    *,
    kind: str = "boolean",
    device: Device = "cpu",
) -> Tensor:
    r"""The mask that a rule describes.

    A rule is a function of four integers, the number of the sequence `b`, of
    the head `h`, of the query `i` and of the key `j`, each counted from 0. It
    answers whether query `i` may look at key `j`. It is asked once, with
    tensors that broadcast, so it is written with comparisons, arithmetic,
    ``&`` and ``|``, and with tables that are read as ``table[b, i]``. Such a
    rule serves PyTorch's ``create_block_mask`` as well.

    Parameters
    ----------
    rule : callable
        Takes `b` [B, 1, 1, 1], `h` [H, 1, 1], `i` [T, 1] and `j` [S], and
        returns booleans that broadcast to [B, H, T, S]. With fewer queries
        than keys, as after a cache, `i` is still counted from 0; see
        `shifted`.
    shape : sequence of int
        Shape of the scores: [T, S], [B, T, S] or [B, H, T, S]. An axis that
        is not there has the number 0.
    kind : str
        "boolean", True where a query may look; "integer" and "zero-one", 1
        there, the latter float32; "additive", 0 there and :math:`-\infty`
        elsewhere, float32; "blocked", True where it may not look, as
        ``nn.MultiheadAttention`` takes it.
    device : str or torch.device
        Where the mask is made, and where the rule's own tensors are.

    Returns
    -------
    Tensor
        Of shape `shape`.

    Raises
    ------
    ValueError
        If the shape is none of these, if there is no such kind, if the rule
        is no function or returns anything else than booleans that broadcast,
        or if a mask of floating zeros and ones would hold zeros alone, which
        `surgeon.as_additive` reads as numbers to add.

    Notes
    -----
    Source: dong2024 (book/references.bib).

    Examples
    --------
    >>> mask_of(lambda b, h, i, j: (i >= j) & (i - j < 2), (3, 3))
    tensor([[ True, False, False],
            [ True,  True, False],
            [False,  True,  True]])
    """
    lead, T, S = scores_shape(shape)
    if kind not in KINDS:
        names = ", ".join(KINDS)
        raise ValueError(f"kind must be one of {names}, got {kind!r}.")
    answers = ask(rule, lead, slice(0, T), slice(0, S), device)
    if kind == "zero-one" and not answers.any():
        raise ValueError(
            "rule must let some query look at some key for a mask of kind"
            " zero-one, since zeros alone block nothing; use boolean."
        )
    return KINDS[kind](answers.expand(*lead, T, S).contiguous())


def ask(
    rule: Rule,
    lead: Sequence[int],
    queries: slice,
    keys: slice,
    device: Device,
) -> Tensor:
    """A rule's answers in a rectangle, broadcastable to [*lead, t, s].

    A rule that does not look at `b` or `h` is asked for one of them only.
    """
    if not callable(rule):
        got = type(rule).__name__
        raise ValueError(f"rule must be a function of b, h, i, j, got {got}.")
    B, H = (*lead, 1, 1)[:2]
    count = partial(torch.arange, dtype=torch.long, device=device)

    # 1. The numbers of texts, heads, queries and keys, each on its axis
    b, h = count(0, B)[:, None, None, None], count(0, H)[:, None, None]
    i = count(queries.start, queries.stop)[:, None]
    j = count(keys.start, keys.stop)
    # 2. All pairs at once: the four broadcast to [B, H, t, s].
    answers = rule(b, h, i, j)

    check_answers(answers, (B, H, len(i), len(j)))
    answers = answers[(None,) * (4 - answers.ndim)]
    # an axis that the scores have not is 1 here
    return answers.reshape(*answers.shape[: len(lead)], *answers.shape[-2:])


def check_answers(answers: Tensor, full: tuple[int, ...]) -> None:
    """Raise a ValueError if a rule has not answered every pair."""
    if not isinstance(answers, Tensor) or answers.dtype != torch.bool:
        tensor = isinstance(answers, Tensor)
        got = answers.dtype if tensor else type(answers).__name__
        raise ValueError(f"rule must return a boolean tensor, got {got}.")
    sizes = zip(answers.shape[::-1], full[::-1], strict=False)
    if answers.ndim > 4 or any(n not in (1, size) for n, size in sizes):
        raise ValueError(
            "rule must return a tensor that broadcasts to (batch, heads,"
            f" queries, keys) = {full}, got shape {list(answers.shape)}."
        )


def scores_shape(shape: Sequence[int]) -> tuple[tuple[int, ...], int, int]:
    """The leading axes, at most two, the queries and the keys."""
    check_shape(shape)
    *lead, T, S = shape
    if len(lead) > 2:
        raise ValueError(
            "shape must be that of scores [queries, keys], [batch, queries,"
            f" keys] or [batch, heads, queries, keys], got {list(shape)}."
        )
    return tuple(lead), T, S


# Rules


def causal(b: Tensor, h: Tensor, i: Tensor, j: Tensor) -> Tensor:
    """Itself and the past.

    With as many queries as keys. Otherwise, `shifted` puts the last query
    beside the last key.
    """
    return i >= j


def window(back: int, ahead: int) -> Rule:
    """The keys from `back` before the query to `ahead` after it.

    FlashAttention takes the same pair as ``window_size``.
    """
    back = natural_number("back", back)
    ahead = natural_number("ahead", ahead)
    return lambda b, h, i, j: (i - j <= back) & (j - i <= ahead)


def prefix(length: int) -> Rule:
    """All of the first `length` keys, and from there on the past.

    A prefix language model reads its prompt both ways, and writes causally
    (raffel2020, book/references.bib).
    """
    length = natural_number("length", length)
    return lambda b, h, i, j: (j < length) | (i >= j)


def documents(numbers: Tensor) -> Rule:
    """Keys of the query's own text, where several are packed in a row.

    `numbers` says of each token which text it belongs to: integers [T], or
    [B, T] for a batch whose rows are packed differently.
    """
    kind = getattr(numbers, "dtype", None)
    if (
        not isinstance(numbers, Tensor)
        or numbers.ndim not in (1, 2)
        or numbers.is_floating_point()
        or numbers.is_complex()
    ):
        shape = list(getattr(numbers, "shape", []))
        got = type(numbers).__name__ if kind is None else f"{kind} {shape}"
        raise ValueError(
            f"numbers must be integers [T] or [B, T], a tensor, got {got}."
        )
    if numbers.ndim == 1:
        return lambda b, h, i, j: numbers[i] == numbers[j]
    return lambda b, h, i, j: numbers[b, i] == numbers[b, j]


def global_tokens(count: int) -> Rule:
    """The first `count` tokens see all, and all see them.

    With a window beside it, `any_of(window(w, w), global_tokens(1))`, it is
    Longformer's (beltagy2020, book/references.bib).
    """
    count = positive_integer("count", count)
    return lambda b, h, i, j: (i < count) | (j < count)


def all_of(*rules: Rule) -> Rule:
    """What every rule allows."""
    first, *others = at_least_one(rules)

    def rule(b: Tensor, h: Tensor, i: Tensor, j: Tensor) -> Tensor:
        allowed = first(b, h, i, j)
        for other in others:
            allowed = allowed & other(b, h, i, j)
        return allowed

    return rule


def any_of(*rules: Rule) -> Rule:
    """What some rule allows."""
    first, *others = at_least_one(rules)

    def rule(b: Tensor, h: Tensor, i: Tensor, j: Tensor) -> Tensor:
        allowed = first(b, h, i, j)
        for other in others:
            allowed = allowed | other(b, h, i, j)
        return allowed

    return rule


def shifted(rule: Rule, by: int) -> Rule:
    """The rule for queries that stand `by` places later than counted.

    After a cache of `P` tokens the first new query has the number 0 and the
    place `P`: `shifted(causal, S - T)` is what `flash_attention` calls
    ``causal=True``, the last query beside the last key.
    """
    steps = whole_number(by)
    if steps is None:
        raise ValueError(f"by must be an integer, got {by!r}.")
    return lambda b, h, i, j: rule(b, h, i + steps, j)


def at_least_one(rules: Sequence[Rule]) -> Sequence[Rule]:
    """The rules, or a ValueError if there is none."""
    if not rules:
        raise ValueError("at least one rule must be given, got none.")
    return rules
