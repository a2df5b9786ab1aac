"""What kind of attention is this? Its habits, read off its weights."""

import math
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from surgeon.checkup.exam import Exam, tolerance
from surgeon.checkup.forms import Inputs
from surgeon.checkup.probes.reading import moved, read_weights
from surgeon.checkup.subjects.answering import SubjectError

# How places come in: not at all; by their distance or otherwise; as numbers
# that are added to scores, as angles or the like, or added to the keys.
NONE, BIAS, PLACE_BIAS = "none", "bias by distance", "bias by place"
TURNED, ADDED, ASTRAY = "turned by distance", "added to keys", "astray"


# What a norm leaves of a length, for the small number beside its square
ALIKE = 1e-3
SHIFTED = (
    ", above the diagonal alone: a relative shift made for a decoder, in an"
    " encoder"
)
LARGEST = 16  # width of heads of which the rank is tried


@dataclass(frozen=True)
class Traits:
    """The habits of an attention of no known form.

    Parameters
    ----------
    seen : Tensor
        Boolean [T, S]: which keys have a weight.
    sums : (float, float)
        The least and the largest sum of a row of weights.
    stray : str
        Which key or query moves a score that is not its own; or nothing.
    places : str
        How places come in.
    query_length, key_length, constant : bool
        Whether the length of a query, of a key, and a constant along a row
        of scores change any weight.
    limit : float or None
        The largest score that passes, if there is one; NaN if it is there,
        and too high to be measured.
    rank : int or None
        Of the weights, if it shows that they are products of features.
    slack : float
        What rounding may make of a sum.
    """

    seen: Tensor
    sums: tuple[float, float]
    stray: str
    places: str
    query_length: bool
    key_length: bool
    constant: bool
    limit: float | None
    rank: int | None
    slack: float

    @property
    def sum_varies(self) -> bool:
        low, high = self.sums
        return high - low > self.slack

    @property
    def knows_constant(self) -> bool:
        """Whether a constant could be added to a row: no norm, no angles."""
        bare = self.places in (NONE, BIAS, PLACE_BIAS)
        return bare and self.query_length and self.key_length

    @property
    def whole(self) -> bool:
        """Whether every row sums to one."""
        return all(abs(total - 1) <= self.slack for total in self.sums)


def read_traits(exam: Exam, inputs: Inputs, weights: Tensor) -> Traits:
    """Ask for each habit; `weights` belong to `inputs`."""
    Q, K, _ = inputs
    read = partial(read_weights, exam)
    sums = weights.sum(-1)
    changes = lambda q, k: _differ(read(q, k), weights, ALIKE)
    query_length = changes(2 * Q, K)
    return Traits(
        seen=(weights > 0).flatten(0, 1).any(0),
        sums=(float(sums.min()), float(sums.max())),
        stray=_stray(exam, Q, K, weights),
        places=_places(exam),
        query_length=query_length,
        key_length=changes(Q, 2 * K),
        constant=_feels_constant(exam, Q, K),
        limit=_limit(exam) if query_length else None,
        rank=_rank(exam),
        slack=exam.tolerance * weights.shape[-1],
    )


def _differ(now: Tensor | None, then: Tensor, slack: float) -> bool:
    return now is None or float(moved(now, then).max()) > slack


def _feels_constant(exam: Exam, Q: Tensor, K: Tensor) -> bool:
    """The same is added to every score of a row."""
    q, k = Q.clone(), K.clone()
    q[..., 0], k[..., 0] = 0.0, 1.0
    still = read_weights(exam, q, k)
    q[..., 0] = 1 / exam.factor
    now = read_weights(exam, q, k)
    return still is None or _differ(now, still, exam.tolerance)


def _stray(exam: Exam, Q: Tensor, K: Tensor, weights: Tensor) -> str:
    """Whose score moves with what is neither its query nor its key?"""
    for j in range(K.shape[2]):
        q, k = Q.clone(), K.clone()
        q[:, :, j] = 0.3 - 0.7 * q[:, :, j]
        k[:, :, j] = 0.3 - 0.7 * k[:, :, j]
        now = read_weights(exam, q, K)
        rows = torch.arange(Q.shape[2]) != j
        if now is None or _differ(
            None if now is None else now[:, :, rows],
            weights[:, :, rows],
            exam.tolerance,
        ):
            said = f"another query's scores change with query {j}"
            above = now is not None and _above(exam, now, weights, j)
            return said + (SHIFTED if above else "")
        now = read_weights(exam, Q, k)
        if now is None or _uneven(exam, now, weights, j):
            return f"another key's scores change with key {j}"
    return ""


def _above(exam: Exam, now: Tensor, then: Tensor, j: int) -> bool:
    """Whether query j moves the scores of the one before, for keys ahead.

    Shares behind keep their proportions, and only those of that row move.
    """
    off = moved(now, then).amax((0, 1)) > exam.tolerance
    others = torch.arange(then.shape[-2])
    if off[(others != j) & (others != j - 1)].any() or j == 0:
        return False
    before, after = (x[:, :, j - 1, :j] for x in (then, now))
    cross = before.unsqueeze(-1) * after.unsqueeze(-2)
    return float((cross - cross.mT).abs().max()) <= exam.tolerance


def _uneven(exam: Exam, now: Tensor, then: Tensor, j: int) -> bool:
    """Whether shares but key j's change their proportions within a row."""
    rest = torch.arange(then.shape[-1]) != j
    now, then = now[..., rest], then[..., rest]
    # products of one row's shares before and after, crosswise
    cross = now.unsqueeze(-1) * then.unsqueeze(-2)
    return float((cross - cross.mT).abs().max()) > exam.tolerance


def _places(exam: Exam) -> str:
    """How places come in, with one token repeated."""
    q, k, _ = (x[:, :, :1] for x in exam.draw())
    T = exam.T
    Q, K = q.expand(-1, -1, T, -1), k.expand(-1, -1, T, -1)
    weights = read_weights(exam, Q.clone(), K.clone())
    if weights is None or not weights.isfinite().all():
        return NONE
    if _even(exam, weights):
        return NONE
    by_distance = not _crosswise(weights[..., 1:, 1:], weights[..., :-1, :-1])
    # A bias is the same for other tokens, those of another sequence.
    if not _crosswise(weights[:1], weights[1:]):
        return BIAS if by_distance else PLACE_BIAS
    if by_distance:
        return TURNED
    nothing = read_weights(exam, Q.clone(), 0 * K)
    if nothing is None or nothing.isnan().any() or not _even(exam, nothing):
        return ADDED
    return ASTRAY


def _even(exam: Exam, weights: Tensor) -> bool:
    """Whether all visible keys of a row have the same share."""
    seen = weights > 0
    high = weights.amax(-1, keepdim=True)
    return not bool(((high - weights) * seen > exam.tolerance).any())


def _crosswise(some: Tensor, others: Tensor) -> bool:
    """Whether shares have other proportions in some rows than in others.

    To single precision: tables of angles and of biases are seldom finer.
    """
    cross = some.unsqueeze(-1) * others.unsqueeze(-2)
    return float((cross - cross.mT).abs().max()) > tolerance(torch.float32)


def _limit(exam: Exam) -> float | None:
    """Beyond which difference of scores no share changes any more.

    The last query is along its own key, and across all others. Where their
    shares become too small to be numbers, it is half along them: if even so
    all become alike, there is a limit.
    """
    if exam.d_k < 2:
        return None
    across = _contrasts(exam, 0.0)
    if across is not None:
        first, last = across
        return last if abs(last - first) < 1e-2 * abs(last) else None
    along = _contrasts(exam, 0.5)
    bent = along is not None and abs(along[1]) < 1e-2
    return math.nan if bent else None


def _contrasts(exam: Exam, along: float) -> tuple[float, float] | None:
    """How the log of its own key's share differs from that of others.

    For a large query and a larger; None where a share is too small.
    """
    Q, K, _ = (torch.zeros_like(x) for x in exam.draw())
    K[..., 0], K[..., 1] = along, 1.0
    K[:, :, -1, 0], K[:, :, -1, 1] = 1.0, 0.0
    found = []
    for size in (1e3, 1e5):
        Q[..., 0] = size / exam.factor
        weights = read_weights(exam, Q, K)
        if weights is None or not weights.isfinite().all():
            return None
        own, others = weights[..., -1, -1], weights[..., -1, :-1].amax(-1)
        if not (others > torch.finfo(exam.dtype).tiny).all():
            return None
        found.append(float((own.log() - others.log()).max()))
    return found[0], found[1]


def _rank(exam: Exam) -> int | None:
    """Of the weights of late queries for early keys, if it is low.

    Those of an exponential are of full rank; products of features are not.
    Single precision cannot tell.
    """
    half = 3 * exam.d_k
    if exam.dtype != torch.float64 or half > 3 * LARGEST:
        return None
    Q, K, _ = exam.draw(2 * half, 2 * half, 1)
    try:
        weights = read_weights(exam, Q, K)
    except SubjectError:  # a size that it does not take
        return None
    if weights is None or not weights.isfinite().all():
        return None
    block = weights[0, 0, half:, :half]
    if not (block > 0).all():  # hidden keys have a rank of their own
        return None
    sizes = torch.linalg.svdvals(block)
    rank = int((sizes > 1e-10 * sizes[0]).sum())
    return rank if 0 < rank <= 2 * exam.d_k else None
