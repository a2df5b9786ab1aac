"""What is there instead of the design, read off where no name fits.

Numbers, pairs of columns, feature maps, and keys that are seen.
"""

import math
from collections.abc import Iterator
from dataclasses import replace
from typing import NamedTuple

import torch
from torch import Tensor

from surgeon.checkup.designs.bounds import Sink
from surgeon.checkup.designs.design import PARTS, Design
from surgeon.checkup.designs.schemes import Called, Paired, Table, Turning
from surgeon.checkup.designs.wrong import Wrong
from surgeon.checkup.exam import Exam
from surgeon.checkup.forms import Inputs
from surgeon.checkup.probes.reading import read_weights
from surgeon.checkup.probes.settling import bare_logs, sink_of, table_of

CLOSE = 1e-3  # of logarithms of shares
NARROW = 16  # width of heads of which every pair of columns is tried
PLACES = "What is added for places is another"


def numbers_instead(exam: Exam, tokens: int) -> Iterator[Wrong]:
    """Designs whose numbers are those that are there, and what they are."""
    design = exam.design
    if design.sink is not None and design.sink.scores is not None:
        yield from _sinks(exam, design)
    if isinstance(design.positions, Turning):
        yield from _pairs(exam, design)
    elif design.positions is not None:
        yield from _distances(exam, design, tokens)


def _sinks(exam: Exam, design: Design) -> Iterator[Wrong]:
    found = sink_of(exam, design)
    if found is None or not found.isfinite().all():
        return
    assert design.sink is not None
    assert design.sink.scores is not None
    meant = design.sink.scores.reshape(-1)
    verb = "sinks are" if len(found) > 1 else "sink is"
    yield Wrong(
        PARTS["sink"],
        f"The {verb} {_listed(found)}, not {_listed(meant)}.",
        replace(design, sink=Sink(found)),
    )


def _listed(numbers: Tensor) -> str:
    few = [f"{x:.3g}" for x in numbers.tolist()[:6]]
    return ", ".join([*few, *["…"] * (len(numbers) > 6)])


# Pairs of columns


def _pairs(exam: Exam, design: Design) -> Iterator[Wrong]:
    """Which columns are pairs, and how far each turns from place to place."""
    if design.norm or design.cap or exam.d_k > NARROW:
        return
    found = _turns(exam, design)
    if found is None or not found:
        return
    assert isinstance(design.positions, Turning)
    meant = _meant(design.positions, exam.d_k)
    if set(found) <= set(meant):  # the slowest may not be seen to turn
        found = {pair: found.get(pair, 0.0) for pair in meant}
    law, scheme = PARTS["positions"], Paired(tuple(found), _numbers(found))
    wrong = replace(design, positions=scheme)
    if set(found) != set(meant):
        told, sound = (
            ", ".join(f"{a} with {b}" for a, b in pairs[:4])
            for pairs in (list(found), list(meant))
        )
        yield Wrong(
            law, f"Other columns are pairs: {told}, not {sound}.", wrong
        )
        return
    told, sound = (_listed(_numbers(x)) for x in (found, meant))
    meaning = f"Pairs turn by {told} a place, not by {sound}."
    there, here = _numbers(found), _numbers(meant)
    if len(here) > 1 and torch.allclose(there[1:], here[:-1], rtol=1e-3):
        meaning += " Each has the frequency of the pair before it."
    elif len(here) > 1 and torch.allclose(there[:-1], here[1:], rtol=1e-3):
        meaning += " Each has the frequency of the pair after it."
    yield Wrong(law, meaning, wrong)


Pairs = dict[tuple[int, int], float]


def _numbers(pairs: Pairs) -> Tensor:
    return torch.tensor(list(pairs.values()), dtype=torch.float64)


def _meant(scheme: Turning, width: int) -> Pairs:
    """The declared pairs of columns, and how far they turn."""
    columns, turns = scheme.columns(width), scheme.turns(width).tolist()
    half = columns // 2
    if scheme.pairs == "halves":
        return {(i, half + i): turns[i] for i in range(half)}
    return {(2 * i, 2 * i + 1): turns[i] for i in range(half)}


def _turns(exam: Exam, design: Design) -> Pairs | None:
    """Pairs of columns that turn into each other, and how far a place.

    Queries are one column, keys another, for every two of them; a query and
    the key before it are one place apart. None if that is no rotation.
    """
    d, H, G = exam.d_k, exam.held.heads, exam.held.kv_heads
    eye = torch.eye(d, dtype=exam.dtype)
    Q = eye.repeat_interleave(d, 0)[:, None, None].repeat(1, H, 3, 1)
    K = eye.repeat(d, 1)[:, None, None].repeat(1, G, 3, 1)
    weights = read_weights(exam, Q, K)
    if weights is None or not (weights[:, :, 1, :2] > 0).all():
        return None
    factor = exam.how.get("factor") or design.factor(d, 3, 3)
    logs = (
        weights[:, :1, 1, :2].double().log()[..., 0]
        - (weights[:, :1, 1, :2].double().log()[..., 1])
    )
    change = (logs / float(torch.as_tensor(factor).flatten()[0])).view(d, d)
    off = change - change.diagonal().diag()
    found: Pairs = {}
    for a in range(d):
        partners = (off[a].abs() > exam.tolerance).nonzero().flatten()
        if len(partners) > 1:
            return None
        if len(partners) and a < (b := int(partners[0])):
            cos = 1 + float(change[a, a])
            found[a, b] = math.atan2(float(off[a, b]), cos)
    return found


# Numbers added for places


def _distances(exam: Exam, design: Design, tokens: int) -> Iterator[Wrong]:
    """A number for each distance, or for each two places."""
    law = PARTS["positions"]
    there = bare_logs(exam, tokens)
    if there is None:
        return
    q, k = (torch.zeros(1, n, tokens, exam.d_k) for n in _heads(exam))
    meant = design.compared(q.double(), k.double())[2].double()
    own = meant.diagonal(dim1=-2, dim2=-1)[..., None]
    gap = there - (meant - own)
    other = (gap.abs() > CLOSE).any(0)  # [T, T]
    if not other.any():
        return
    numbers, off = table_of(exam, tokens)
    if numbers is not None and off < CLOSE:
        ahead, behind = other.triu(1).any(), other.tril(-1).any()
        where = ": it is another number for each distance."
        if not (ahead and behind):
            side, rest = ("ahead", "behind") if ahead else ("behind", "ahead")
            where = f" for keys {side}; for those {rest}, it is as declared."
        wrong = replace(design, positions=Table(numbers))
        yield Wrong(law, PLACES + where, wrong)
    numbers = there.nan_to_num()
    fixed = Called(lambda Q, K, queries, keys: (Q, K, numbers))
    rows = other.any(-1)
    yield Wrong(
        law,
        f"{PLACES} in {int(rows.sum())} of {tokens} rows, as for query"
        f" {int(rows.int().argmax())}.",
        replace(design, positions=fixed),
    )


def _heads(exam: Exam) -> tuple[int, int]:
    return exam.held.heads, exam.held.kv_heads


# Feature maps


def maps_instead(design: Design, inputs: Inputs, weights: Tensor) -> str:
    """Whose feature map is another, in words, if only one of both is.

    Rows of the weights are sums of the features of keys, and columns, but
    for what each row is divided by, of the features of queries.
    """
    assert design.linear is not None
    Q, K, _ = (x.double() for x in inputs)
    factor = design.factor(Q.shape[-1], Q.shape[2], K.shape[2])
    q, k, _ = design.compared(Q, K)
    q, k = (design.linear.features(x)[0, 0] for x in (q * factor, k))
    row, (first, second) = weights[0, 0, -1], weights[0, 0, 1:, :2].unbind(-1)
    ratio = torch.cat([first[:, None] * q[1:], -second[:, None] * q[1:]], -1)
    whole = (weights.sum(-1) - 1).abs().max() < CLOSE
    if design.linear.normalised and not whole:  # divided by something else
        return ""
    exact = inputs[0].dtype == torch.float64
    by_keys = _spans(k, row, 1e-9 if exact else 1e-4)
    by_queries = _null(ratio, 1e-12 if exact else 1e-6)
    if by_keys == by_queries:
        return ""
    whose, other = ("Keys", "queries") if by_queries else ("Queries", "keys")
    return f"{whose} have another feature map; {other} have that declared."


def _spans(columns: Tensor, row: Tensor, slack: float) -> bool:
    """Whether a vector is a sum of columns, fewer than it has numbers."""
    found = torch.linalg.lstsq(columns, row[:, None], driver="gelsd").solution
    off = columns @ found - row[:, None]
    return float(off.norm()) < slack * float(row.norm())


def _null(matrix: Tensor, slack: float) -> bool:
    """Whether a tall matrix maps something to nothing."""
    sizes = torch.linalg.svdvals(matrix)
    return float(sizes[-1]) < slack * float(sizes[0])


# Keys that are seen


class Pattern(NamedTuple):
    """Keys that are seen, [T, S], and what they are called."""

    seen: Tensor
    meaning: str


def pattern_instead(weights: Tensor, *, past: bool) -> Pattern | None:
    """Which keys are seen, in words; `past` if later ones are never."""
    seen = (weights > 0).flatten(0, 1).any(0)
    T, S = seen.shape
    if T != S or seen.all():
        return None
    t = torch.arange(T)
    for size in range(2, T):
        block = t[:, None] // size == t // size
        if torch.equal(seen, block.tril() if past else block):
            return Pattern(
                seen, f"Keys are seen in blocks of {size}, not in a band."
            )
    counts = " ".join(map(str, seen.sum(-1).tolist()))
    return Pattern(
        seen, f"Other keys are seen: of {S}, the queries see {counts}."
    )
