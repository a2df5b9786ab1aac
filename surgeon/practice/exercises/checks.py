"""Judges of the exercises in the four understanding checks."""

import math
from typing import Any

import torch
from torch import Tensor

from surgeon.anatomy.dot_product import attention
from surgeon.anatomy.heads import merge_heads, split_heads
from surgeon.anatomy.masks import create_causal_mask
from surgeon.imaging.rank import effective_rank
from surgeon.practice.exercises.answers import (
    Unreadable,
    read_function,
    read_number,
    read_sizes,
    read_tensor,
)
from surgeon.practice.exercises.judged import (
    Raised,
    call,
    is_near,
    judge_formula,
    judge_number,
    judge_numbers,
)
from surgeon.practice.verdict import Judged


def _normal(*shape: int, seed: int = 0) -> Tensor:
    drawn = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=drawn, dtype=torch.float64)


def score_growth_rows(answer: Any) -> Judged:
    queries = torch.tensor([[2.0, 2, 1], [1, 1, 1]]).double()
    spreads = queries.norm(dim=1).tolist()
    return judge_numbers(
        answer,
        spreads,
        ["The first spread", "The second spread"],
        right="A row spreads by its query's length; the longer is sharper.",
        hint="Each term has a coin's sign. What do their variances add to?",
        slips=[
            (
                [spread**2 for spread in spreads],
                "These are the variances; a spread is the root.",
            ),
            (queries.sum(1).tolist(), "That is the largest score there is."),
            ([math.sqrt(3)] * 2, "That is what holds on average."),
            (spreads[::-1], "The two are in the other order."),
        ],
    )


def score_growth_wider(answer: Any) -> Judged:
    width = 16 * (12 / 4) ** 2
    return judge_numbers(
        answer,
        [width, width],
        ["The width", "The variance"],
        right="Three times the spread takes nine times the width.",
        hint="The spread is the root of the width.",
        slips=[
            ([48, 144], "The spread grows like the root of the width."),
            ([48, 48], "The spread grows like the root of the width."),
            ([width, 12], "That is the spread; the variance is its square."),
        ],
        digits=3,
    )


def score_growth_flat(answer: Any) -> Judged:
    grid = (torch.arange(20001, dtype=torch.float64) / 10000 - 1) * 3**0.5
    fourth = float((grid**4).mean() / (grid**2).mean() ** 2)
    product = fourth**2 - 3  # the excess of one product of two entries
    return judge_number(
        answer,
        product / 4,
        right="Light tails in the factors, and hardly heavy in the product.",
        hint="What is the fourth moment of a product of two such entries?",
        slips=[
            (product, "That is the excess at width 1."),
            (3 + product / 4, "That is the kurtosis, not what exceeds 3."),
            (fourth - 3, "That is the excess of an entry."),
            (
                (fourth - 3) / 4,
                "An entry's moments are squared in a product.",
            ),
            (6 / 4, "That is for normal entries."),
        ],
    )


def minus_infinity_first_word(answer: Any) -> Judged:
    blocked = 1023
    true = math.log(99 * blocked)
    return judge_number(
        answer,
        true,
        right="Its power stands against the powers of 1,023 zeros.",
        hint="What do the powers of the blocked scores, e^0 each, add up to?",
        slips=[
            (math.log(99), "That holds if one key is blocked."),
            (math.log(blocked), "That leaves half to the blocked keys."),
            (true / math.log(2), "The power is one of e, not of 2."),
            (true / math.log(10), "The power is one of e, not of 10."),
            (99 * blocked, "That is the power, and not the score."),
        ],
    )


def minus_infinity_poison(answer: Any) -> Judged:
    if isinstance(answer, str) and answer.strip().lower() == "all":
        answer = 5
    Q, K, V = _normal(3, 5, 7)
    V[-1] = math.nan
    output = attention(Q, K, V, create_causal_mask(5).double())[0]
    spoilt = int(output.isnan().any(-1).sum())
    return judge_number(
        answer,
        spoilt,
        right="The weight is 0, and 0 times NaN is NaN.",
        hint="What is 0 times NaN, in floating point?",
        slips=[
            (1, "The others multiply that value too, by a weight of 0."),
            (0, "At least one query gives that value some weight."),
        ],
    )


def output_width_four(answer: Any) -> Judged:
    sizes = read_sizes(answer, 8)
    model, heads, d_k, d_v = 512, 8, 32, 64
    narrow, wide = [model, heads * d_k], [model, heads * d_v]
    true = [*narrow, *narrow, *wide, *wide[::-1]]
    turned = [n for at in range(0, 8, 2) for n in true[at : at + 2][::-1]]
    if sizes == turned:
        said = "As `nn.Linear` keeps them, [out, in]."
        return Judged(True, said)
    names = [name for name in ("W_Q", "W_K", "W_V", "W_O") for _ in "io"]
    return judge_numbers(
        sizes,
        true,
        names,
        right="A head's d_k is asked of two of the four only.",
        hint="Eight heads stand side by side. How wide is each?",
        slips=[
            ([model] * 8, "d_k need not be d_model over the heads."),
            (
                [model, d_k] * 2 + [model, d_v, d_v, model],
                "That is for one head.",
            ),
        ],
        digits=3,
    )


def output_width_pad(answer: Any) -> Judged:
    function = read_function(answer)
    for d_k, d_v in ((19, 13), (11, 29)):
        case = f"With d_k = {d_k} and d_v = {d_v} "
        Q, K, V = _normal(5, d_k), _normal(7, d_k), _normal(7, d_v)
        called: list[Tensor] = []

        def fast(Q: Tensor, K: Tensor, V: Tensor) -> Tensor:
            if not Q.shape[-1] == K.shape[-1] == V.shape[-1]:
                raise ValueError("fast takes one width for Q, K and V")
            called.append(Q)  # noqa: B023
            return attention(Q, K, V)[0]

        hint = "What do zero columns of V give, and those of Q and K?"
        try:
            given = call(function, Q.clone(), K.clone(), V.clone(), fast)
            output = read_tensor(given, 2)
        except Raised as error:
            return Judged(False, f"{case}{error}", hint)
        except Unreadable as error:
            return Judged(False, f"{case}it gives {error}.", hint)
        if not called:
            return Judged(False, f"{case}fast is not called.", hint)
        true = attention(Q, K, V)[0]
        if output.shape != true.shape:
            said = f"the output is {list(output.shape)}, not [5, {d_v}]."
            return Judged(False, f"{case}{said}", hint)
        width = max(d_k, d_v)
        for factor, looks in (
            (1, "the weights are too flat: fast divides by another root."),
            (
                math.sqrt(d_k / width),
                "the scale is undone the wrong way round.",
            ),
            (width / d_k, "the scale is undone twice: one root is enough."),
        ):
            wrong = attention(Q * factor * math.sqrt(d_k / width), K, V)[0]
            if d_k < d_v and torch.allclose(output, wrong, atol=1e-5):
                more = "By which root does it divide, and by which should it?"
                return Judged(False, f"{case}{looks}", more)
        if not torch.allclose(output, true, atol=1e-5):
            return Judged(False, f"{case}the numbers are others.", hint)
    return Judged(
        True, "Whichever side is the wider, the output is the same."
    )


def output_width_order(answer: Any) -> Judged:
    T, S, model = 7, 5, 16 * 9 * 25

    def times(H: float) -> float:
        head = 2 * T * S * model / H
        return H * 2 * T * S * model / (H * head)

    return judge_formula(
        answer,
        times,
        [{"H": 3}, {"H": 8}, {"H": 15}],
        right="Each head's values are as wide as the model.",
        hint="How wide are the values of one head afterwards?",
        slips=[
            (lambda H: 1, "The values of a head are wider than before."),
            (lambda H: H * H, "H heads stood on the other side as well."),
            (lambda H: 1 / H, "It costs more, not less."),
        ],
    )


def _layer_rank(x: Tensor, heads: int) -> int:
    """The rank of what a layer of random matrices makes of a text."""
    width = x.shape[-1]
    W_Q, W_K, W_V, W_O = _normal(4, width, width, seed=1)
    Q, K, V = (split_heads(x @ W, heads) for W in (W_Q, W_K, W_V))
    output = merge_heads(attention(Q, K, V)[0]) @ W_O
    return int(torch.linalg.matrix_rank(output))


def rank_count(answer: Any) -> Judged:
    flat = _normal(3, 2) @ _normal(2, 20, seed=2)
    return judge_number(
        answer,
        _layer_rank(flat, 4),
        right="Heads times rank is 8, and three rows have no more.",
        hint="Three bounds hold at once: which is the least?",
        slips=[
            (8, "How many rows does the output have?"),
            (2, "Several heads can make more directions than came in."),
            (4, "Heads are counted with the rank of what they read."),
        ],
    )


def rank_same_word(answer: Any) -> Judged:
    same = _normal(1, 24).expand(5, 24)
    if is_near(read_number(answer), 0):
        said = "So it is, if what the matrices make of the word is zero."
        return Judged(True, said)
    return judge_number(
        answer,
        _layer_rank(same, 8),
        right="An average of equal values is that value, in every head.",
        hint="What is an average of five equal values?",
        slips=[
            (5, "The bound allows it; is it reached?"),
            (8, "Five rows have no more than five directions."),
        ],
    )


def rank_larger(answer: Any) -> Judged:
    def most(T: float) -> float:
        V = torch.zeros(int(T), 3, dtype=torch.float64)
        V[0] = 1
        weights = torch.zeros(int(T), int(T), dtype=torch.float64)
        weights[:, 0] = 1  # all look at the one value
        return float((weights @ V).norm() / V.norm())

    return judge_formula(
        answer,
        most,
        [{"T": 2}, {"T": 7}, {"T": 101}],
        right="All T rows can be the one value that is not zero.",
        hint="Let one value be v and all others 0. What is the worst A?",
        slips=[
            (lambda T: T, "T rows: but the norm is a root of squares."),
            (lambda T: 1, "The rows of A sum to one; its columns need not."),
            (lambda T: T * T, "T rows: but the norm is a root of squares."),
        ],
    )


def rank_degrees(answer: Any) -> Judged:
    A = read_tensor(answer, 2)
    if A.shape != (3, 3):
        raise Unreadable(f"a matrix {list(A.shape)}")
    values = torch.tensor([[10.0, 0], [-10, 0], [0, 1]]).double()
    hint = "What makes the large direction smaller, and spares the small one?"
    if (A < 0).any():
        return Judged(False, "A weight cannot be negative.", hint)
    sums = A.sum(-1)
    if not torch.allclose(sums, torch.ones_like(sums), atol=0.01):
        return Judged(False, "Its rows do not add up to one.", hint)
    before, after = (float(effective_rank(x)) for x in (values, A @ values))
    if after > before + 0.01:
        said = f"The effective rank goes from {before:.2f} to {after:.2f}."
        return Judged(True, said)
    went = "stays" if abs(after - before) < 0.01 else "falls"
    return Judged(False, f"Under it the effective rank {went}.", hint)
