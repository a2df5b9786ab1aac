"""Answers to the book's exercises: at least three right and three wrong ones to each.

Beside a wrong one stands a part of what is said of it. The first right one is the book's own solution.
"""

import math
from fractions import Fraction

import numpy as np
import torch
from torch import tensor

from surgeon import attention, stable_softmax
from surgeon.book import example

E2, E4 = math.exp(2), math.exp(4)
EYE = torch.eye(9, dtype=torch.float64)
KEPT = torch.eye(7)


# What readers write


def same_text(texts):
    return torch.ones(len(texts), len(texts), dtype=torch.bool).tril() & (texts[:, None] == texts[None, :])


def same_text_in_loops(texts):
    return [[int(j <= i and texts[i] == texts[j]) for j in range(len(texts))] for i in range(len(texts))]


def same_text_added(texts):
    texts = np.array(texts)
    mask = np.where(texts[:, None] == texts[None, :], 0.0, -np.inf)
    return torch.tensor(mask + np.triu(np.full(mask.shape, -np.inf), 1).clip(max=0))


def same_text_from_a_list(texts):
    assert isinstance(texts, list)
    return same_text(torch.tensor(texts)).double()


def contents(split, join):
    x = torch.arange(3 * 10.0).reshape(3, 10)
    heads = split(x, 5)
    assert all(torch.equal(heads[h], x[:, 2 * h : 2 * h + 2]) for h in range(5))


def contents_and_back(split, join):
    x = torch.randn(2, 5, 21)
    return torch.equal(split(x, 3)[:, 1], x[..., 7:14]) and torch.equal(join(split(x, 3)), x)


def what_leaks(split, join):
    """A later word is changed, and no earlier row may change."""
    x = torch.randn(7, 6)
    later = x.clone()
    later[-1] += 1
    there, here = split(later, 2), split(x, 2)
    return bool((there[:, :-1] == here[:, :-1]).all()) and there.shape == (2, 7, 3)


def round_trip(split, join):
    x = torch.randn(7, 6)
    return torch.equal(join(split(x, 2)), x)


def shapes_alone(split, join):
    assert split(torch.randn(7, 6), 2).shape == (2, 7, 3)


def of_another_order(split, join):
    x = torch.randn(7, 6)
    assert torch.equal(split(x, 2), x.reshape(7, 2, 3))


def sees_the_last(attend):
    Q, K, V = torch.randn(2, 3), torch.randn(5, 3), torch.randn(5, 3)
    other = K.clone()
    other[-1] += 1
    before, after = (attend(Q, keys, V, causal=True)[0][-1] for keys in (K, other))
    return not torch.equal(before, after)


def keeps_its_input(attend):
    Q = torch.randn(5, 4)
    before = Q.clone()
    attend(Q, Q.clone(), Q.clone())
    assert torch.equal(Q, before)


def empty_rows_pass_finite_gradients(attend):
    Q, K, V = (torch.randn(3, 4, requires_grad=True) for _ in range(3))
    mask = torch.ones(3, 3, dtype=torch.bool)
    mask[0] = False
    attend(Q, K, V, mask)[0].sum().backward()
    assert all(x.grad.isfinite().all() for x in (Q, K, V))


def no_overflow(attend):
    Q, K, V = (torch.randn(3, 4) * 50 for _ in range(3))
    return bool(attend(Q, K, V, None)[0].isfinite().all())


def rows_sum_to_one(attend):
    Q, K, V = torch.randn(5, 4), torch.randn(7, 4), torch.randn(7, 3)
    return torch.allclose(attend(Q, K, V)[1].sum(-1), torch.ones(5))


def padded(Q, K, V, fast):
    d_k, d_v = Q.shape[-1], V.shape[-1]
    if d_k > d_v:
        return fast(Q, K, torch.cat([V, V.new_zeros(len(V), d_k - d_v)], -1))[:, :d_v]
    wide = [torch.cat([x, x.new_zeros(len(x), d_v - d_k)], -1) for x in (Q * (d_v / d_k) ** 0.5, K)]
    return fast(*wide, V)


def padded_always_to_a_common_width(Q, K, V, fast):
    """The keys take the factor."""
    width = 64
    Q_, K_, V_ = (torch.nn.functional.pad(x, (0, width - x.shape[-1])) for x in (Q, K, V))
    return fast(Q_, K_ * (width / Q.shape[-1]) ** 0.5, V_)[:, : V.shape[-1]]


def in_pieces(Q, K, V, fast):
    """Wider values are cut in pieces as wide as the keys, and each is asked for alone."""
    width, wanted = Q.shape[-1], V.shape[-1]
    pieces = torch.nn.functional.pad(V, (0, -wanted % width)).split(width, -1)
    return torch.cat([fast(Q, K, piece) for piece in pieces], -1)[..., :wanted]


def padded_in_place(Q, K, V, fast):
    width = max(Q.shape[-1], V.shape[-1])
    wide = [torch.zeros(len(x), width, dtype=x.dtype) for x in (Q, K, V)]
    for new, x in zip(wide, (Q, K, V), strict=True):
        new[:, : x.shape[-1]] = x
    wide[0] *= math.sqrt(width) / math.sqrt(Q.shape[-1])
    return fast(*wide)[:, : V.shape[-1]].tolist()


def padded_and_too_flat(Q, K, V, fast):
    width = max(Q.shape[-1], V.shape[-1])
    return fast(*(torch.nn.functional.pad(x, (0, width - x.shape[-1])) for x in (Q, K, V)))[:, : V.shape[-1]]


def padded_and_not_cut(Q, K, V, fast):
    width = max(Q.shape[-1], V.shape[-1])
    return fast(*(torch.nn.functional.pad(x, (0, width - x.shape[-1])) for x in (Q, K, V)))


def padded_the_wrong_way(Q, K, V, fast):
    return padded(Q * (Q.shape[-1] / max(V.shape[-1], Q.shape[-1])), K, V, fast)


def column(A):
    return A.mean(0).max()


def column_over_its_baseline(A):
    n = A.shape[1]
    return (float(A.sum(0).max()) / A.shape[0] - 1 / n) / (1 - 1 / n)


def rows_alike(A):
    """The length of the mean row: 1 only if all rows are one key."""
    return A.mean(dim=0).square().sum().sqrt().numpy()


def looks_two_back():
    return torch.cat([torch.zeros(2, 9), torch.eye(9)[:7]]) * 12, torch.eye(9)


def is_looked_at_from_two_on():
    keys = np.zeros((9, 9))
    keys[np.arange(7), np.arange(7) + 2] = 1
    return np.eye(9) * 30, keys


def padded_twice(Q, K, V, fast):
    return padded(Q * (max(V.shape[-1], Q.shape[-1]) / Q.shape[-1]) ** 0.5, K, V, fast)


RIGHT = {
    "scores-dropped": [
        ([0, 4, 0, 0, 4, 0, 2], [0, 0, 2, 0]),
        (example.Q[2] @ example.K.mT, torch.tensor([-1, 0, 2, 0])),
        [0, 4, 0, 0, 4, 0, 2, 0, 0, "1/2", 0],
        (np.array([0, 4.0, 0, 0, 4, 0, 2]), (-1, -1, 5, 0)),
    ],
    "scores-transpose": [(7, 5, 3), tensor([2, 3, 4]), ["7", "7", "11"], np.array([5, 2, 3])],
    "scores-shout": [1.5, "3/2", tensor(1.5), Fraction(3, 2), 1.5 * 2**0.5],
    "softmax-pencil": [
        [Fraction(1, 8), Fraction(2, 8), Fraction(5, 8)],
        "1/8, 2/8, 5/8",
        tensor([0.125, 0.25, 0.625]),
        [0.13, "25%", 0.63],
        [[1 / 8, 2 / 8, 5 / 8], [1 / 8, 2 / 8, 5 / 8]],
    ],
    "softmax-dropped": [
        [0.453, 0.453, 0.061],
        [54.6 / 120.6, 54.6 / 120.6, 7.4 / 120.6],
        "45%, 45%, 6.1%",
        stable_softmax(example.Q[2] @ example.K.mT)[[1, 4, 6]],
    ],
    "softmax-underflow": [25 * math.log(2), 17, 17.3, tensor(17.33), np.float32(17.329)],
    "softmax-two-keys": [(0, Fraction(1, 4)), [0.0, 0.25], tensor([0, 0.25]), ("0", "1/4")],
    "scaling-dropped": [
        [0.344, 0.344, 0.126],
        [E2 / (2 * E2 + math.e + 4)] * 2 + [math.e / (2 * E2 + math.e + 4)],
        "34%, 34%, 13%",
        attention(example.Q, example.K, example.V)[1][2, [1, 4, 6]],
    ],
    "scaling-merge": [
        lambda s_1, s_2: (s_1 + s_2) / 2**0.5,
        lambda a, b: (8 * a + 8 * b) / np.sqrt(128),
        lambda a, b: 0.707 * (a + b),
        lambda a, b: tensor((a + b) / math.sqrt(2)),
    ],
    "masking-documents": [
        same_text,
        lambda t: same_text(t)[None, None],
        same_text_in_loops,
        same_text_added,
        same_text_from_a_list,
    ],
    "attention-twice": [
        lambda a: 2 * a / (1 + a),
        lambda a: 1 - (1 - a) / (1 + a),
        lambda a: 1 / (1 + (1 - a) / a / 2),
        lambda a: tensor([2 * a]) / (1 + a),
    ],
    "attention-linear": [
        lambda T, d_k, d_v: 2 * T * d_k * d_v,
        lambda T, k, v: T * k * v + k * T * v,
        lambda T, k, v: 4 * T * k * v,
        lambda *sizes: 2 * math.prod(sizes),
    ],
    "heads-round-trip": [contents, contents_and_back, what_leaks],
    "positions-slope": [math.exp(-2.5), "8%", 0.082, tensor(0.0821), np.exp(-2.5)],
    "heatmaps-two-back": [
        looks_two_back(),
        is_looked_at_from_two_on(),
        [torch.cat([torch.zeros(2, 11), torch.eye(11)[:9]]), torch.eye(11)],
        (EYE[[0, 0, *range(7)]] * 9, EYE),  # the first two read the first
    ],
    "patterns-column": [
        column,
        column_over_its_baseline,
        rows_alike,
        lambda A: max(sum(r[j] for r in A) / len(A) for j in range(A.shape[1])),
    ],
    "patterns-split": [
        lambda a: a * math.log(2),
        lambda a: 0.693 * a,
        lambda a: a,  # in bits
        lambda a: -2 * (a / 2) * np.log(a / 2) + a * np.log(a),
    ],
    "patterns-window": [lambda w: 1 / (w + 1), lambda w: Fraction(1, w + 1), lambda w: tensor(1.0) / (1 + w)],
    "specimen-dice": [(Fraction(1, 72), Fraction(73, 2)), ("1/72", 36.5), [0.014, 36.5], tensor([1.4e-2, 36.5])],
    "lm-heads-even": [sum(1 / i for i in range(2, 101)) / 99, 0.042, "4.2%", tensor(0.0423)],
    "no-scale-before": [
        lambda scores: scores.std(-1).mean(),
        lambda scores: float(scores.var()),
        lambda scores: stable_softmax(scores).max(-1).values.mean().item(),
        lambda scores: scores.abs().max() / 4,
    ],
    "no-scale-wider": [(math.sqrt(2), 4), [1.41, 4], (1 / math.sqrt(2), 4), tensor([1.4, 4.0])],
    "wrong-mask-not-zero": [(1.5 / 24, 1.5 / 48), (0.06, 0.03), ("6.3%", "3.1%"), tensor([1.47 / 24, 1.47 / 48])],
    "sharp-scores-sharp": [
        (1 / (1 + 999 * math.exp(-16)), 1 / (1 + 999 * math.exp(-8))),
        (0.9999, 0.75),
        ("99.99%", "75%"),
        tensor([0.9999, 0.749]),
    ],
    "sharp-scores-half": [(2, 2**0.25), (2, 1.19), tensor([2.0, 1.189]), ["2", 1.2]],
    "sinks-thousand": [(1 / 1001, math.log(1000)), ("0.1%", 6.9), ["1/1001", 6.91], tensor([0.001, 6.9078])],
    "sinks-zeros": [0, 0.0, tensor(0.0), "softmax plus one"],
    "specimen-surgery-couples": [
        (Fraction(4, 6), Fraction(2, 3)),
        ("4/6", "4/6"),
        [0.67, 0.67],
        tensor([2 / 3, 2 / 3]),
    ],
    "specimen-surgery-best": [math.sqrt(8 / 9), 0.94, "94%", tensor(2**1.5 / 3)],
    "bug-zoo-caught": [sees_the_last, empty_rows_pass_finite_gradients, keeps_its_input, no_overflow],
    "score-growth-rows": [(3, math.sqrt(3)), [3, 1.73], tensor([[2.0, 2, 1], [1, 1, 1]]).norm(dim=1), ("3", 1.7)],
    "score-growth-wider": [(144, 144), tensor([144, 144]), ["144", 12**2], np.array([144.0, 144.0])],
    "score-growth-flat": [3 / 50, "3/50", 0.06, tensor(0.06), "6%"],
    "minus-infinity-first-word": [math.log(99 * 1023), 11.5, tensor(11.53), np.float64(11.5)],
    "minus-infinity-poison": [5, "all", tensor(5), 5.0],
    "output-width-four": [
        ((512, 256), (512, 256), (512, 512), (512, 512)),
        [torch.zeros(512, 256).shape, [512, 256], [512, 512], [512, 512]],
        [(256, 512), (256, 512), (512, 512), (512, 512)],
        [512, 256, 512, 256, 512, 512, 512, 512],
    ],
    "output-width-pad": [padded, padded_always_to_a_common_width, padded_in_place, in_pieces],
    "output-width-order": [lambda H: H, lambda H: 64 / (64 / H), lambda H: np.float32(H), lambda H: tensor(H)],
    "rank-count": [3, 3.0, tensor(3), "3"],
    "rank-same-word": [1, 0, tensor(1), "1"],
    "rank-larger": [lambda T: T**0.5, math.sqrt, lambda T: tensor(T).sqrt(), lambda T: torch.ones(int(T)).norm()],
    "rank-degrees": [
        [[11 / 20, 9 / 20, 0], [9 / 20, 11 / 20, 0], [0, 0, 1]],
        tensor([[0.55, 0.45, 0], [0.45, 0.55, 0], [0, 0, 1]]),
        np.array([[0.6, 0.4, 0], [0.4, 0.6, 0], [0, 0, 1]]),
        [[0.5, 0.4, 0.1], [0.4, 0.5, 0.1], [0, 0, 1]],
    ],
    "flash-pencil": [(5, Fraction(32, 5)), (5, 6.4), tensor([5, 6.4]), ("5", "32/5")],
    "sparse-least-mass": [(1, 3), tensor([1, 3]), (0, 2), ["1", "3"]],
    "sparse-worth": [2, 2.0, tensor(2), "2"],
    "sparse-layers": [(100, 30_000), tensor([100, 29_700]), ("100", 3e4), [100, 10_000**2 / (100**2 / 3)]],
    "multi-query-batch": [40, 40.0, tensor(40), "40"],
    "multi-query-when-absorbed": [170, 512 * 128 // (512 - 128), 65536 / 384, tensor(170), "512/3"],
    "ring-two-ranks": [((10, 26), (18, 18)), [10, 26, 18, 18], tensor([10, 26, 18, 18]), "10, 26, 18, 18"],
    "ring-shared-heads": [lambda H, H_kv: H_kv / H, lambda H, K: 1 / (H / K), lambda H, K: Fraction(int(K), int(H))],
    "company-window-places": [
        [0, 1, 2, 2, 2, 2],
        tensor([0, 1, 2, 2, 2, 2]),
        "0, 1, 2, 2, 2, 2",
        np.arange(6).clip(max=2),
    ],
    "checkup-axis": [1, 1.0, tensor(1), "1"],
    "model-checkup-window": [(6, 8), [6, 8], tensor([6, 8]), ("6", "8")],
}

WRONG = {
    "scores-dropped": [
        (([0, 2, 0, 0, 2, 0, 1], [0, 0, 2, 0]), "surgeon is another number"),
        (([0, 4, 0, 0, 4, 0, 2], [2, 0, 2, 0]), "scalpel"),
        (([0, 4, 0, 0, 4, 0, 2], [0, 1, 2, 0]), "scalpel"),
        (([0, 4, 0, 0, 4, 0, 2], [0, 0, 0, 0]), "no score above 0"),
    ],
    "scores-transpose": [((4, 4, 4), "runs"), ((7, 3, 3), "[7, 3]"), ((2, 5, 5), "shape of scores")],
    "scores-shout": [(3, "has to beat"), (1, "As it is"), (2, "not the number")],
    "softmax-pencil": [
        ([1, 2, 5], "powers"),
        ([12.5, 25, 62.5], "per cent"),
        ([0, math.log(2) / math.log(10), math.log(5) / math.log(10)], "scores themselves"),
        ([1 / 3] * 3, "first weight"),
    ],
    "softmax-dropped": [
        ([E4 / (2 * E4 + E2)] * 2 + [E2 / (2 * E4 + E2)], "four words"),
        ([0.4, 0.4, 0.2], "scores themselves"),
        ([0.344, 0.344, 0.126], "with the scale"),
        ([0.453, 0.453, 0.1], "share of it"),
    ],
    "softmax-underflow": [
        (24 * math.log(2), "smallest number itself"),
        (25, "powers of 2"),
        (24, "exponent"),
        (9.7, "normal"),
    ],
    "softmax-two-keys": [((0.5, 0.25), "weight"), ((0, 0.5), "not its gradient"), ((0, 1), "gradient is another")],
    "scaling-dropped": [
        ([0.453, 0.453, 0.061], "without the scale"),
        ([math.e / (2 * math.e + math.exp(0.5) + 4)] * 2 + [math.exp(0.5) / (2 * math.e + math.exp(0.5) + 4)], "root"),
        ([0.2265, 0.2265, 0.0307], "divided the shares"),
        ([0.42, 0.42, 0.155], "four words"),
    ],
    "scaling-merge": [
        (lambda a, b: a + b, "larger root"),
        (lambda a, b: (a + b) / 2, "its root"),
        (lambda a, b: (a + b) * 2**0.5, "other side"),
        (lambda a, b: a * b, "At s_1 = 1.5"),
        (lambda a: a, "raises TypeError"),
        (lambda a, b: None, "in place of a number"),
    ],
    "masking-documents": [
        (lambda t: t[:, None] == t[None, :], "later words"),
        (lambda t: torch.ones(len(t), len(t)).tril(), "earlier texts"),
        (lambda t: ~same_text(torch.as_tensor(t)), "hides what should be seen"),
        (lambda t: same_text(torch.as_tensor(t)).mT, "turned round"),
        (lambda t: torch.ones(3, 3), "no mask"),
        (lambda t: torch.ones(len(t), len(t)), "another mask"),
    ],
    "attention-twice": [
        (lambda a: 2 * a, "more than one"),
        (lambda a: a, "change nothing"),
        (lambda a: a / (1 + a), "one of the two"),
        (lambda a: 1 / 2, "At a = 0.1"),
    ],
    "attention-linear": [
        (lambda T, k, v: T**2 * (k + v), "brackets"),
        (lambda T, k, v: T * k * v, "one of two"),
        (lambda T, k, v: 2 * T * T * k, "another number"),
    ],
    "heads-round-trip": [
        (round_trip, "passes your test"),
        (shapes_alone, "passes your test"),
        (of_another_order, "right pair"),
        (lambda split, join: split(7), "With the right pair: Your function raises"),
    ],
    "positions-slope": [
        (8.2, "per cent"),
        (1 - math.exp(-2.5), "nearer"),
        (math.exp(-3), "six"),
        (0.0323, "one key"),
        (math.exp(-2), "four"),
        (2**-2.5, "of e, not of 2"),
        (0.5, "not the number"),
    ],
    "heatmaps-two-back": [
        ((EYE * 9, EYE), "itself"),
        ((EYE.roll(1, 0) * 9, EYE), "by one place"),
        ((EYE.roll(2, 0) * 9, EYE), "came in at the front"),
        ((EYE.roll(-2, 0) * 9, EYE), "not back"),
        ((EYE * 0, EYE), "Not every"),
    ],
    "patterns-column": [
        (lambda A: A.max(), "as large"),
        (lambda A: A.max(-1).values.mean(), "as large"),
        (lambda A: A[:, 0].mean(), "which key"),
        (lambda A: A.sum(0).max(), "0 to 1"),
        (lambda A: A.mean(0), "in place of a number"),
        (lambda A: math.nan, "gives no number"),
    ],
    "patterns-split": [
        (lambda a: math.log(2), "all weight"),
        (lambda a: -a / 2 * math.log(a / 2), "one half"),
        (lambda a: -a * math.log(2), "fall"),
        (lambda a: -a * math.log(a / 2), "both halves"),
        (lambda a: 0, "another number"),
    ],
    "patterns-window": [
        (lambda w: 1 / w, "itself"),
        (lambda w: 1 / (2 * w + 1), "later"),
        (lambda w: w / (w + 1), "others"),
        (lambda w: 0.25, "At w = 1"),
    ],
    "specimen-dice": [
        ((1 / 72**2, 36.5), "wins twice"),
        ((1 / 72, 36), "begin at 1"),
        ((1 / 72, 1), "nothing"),
        ((1.4, 36.5), "per cent"),
    ],
    "lm-heads-even": [(0.01, "without a mask"), (0.0519, "first query"), (4.19, "sum"), (0.02, "not 1 over")],
    "no-scale-before": [
        (lambda scores: scores.mean(), "much the same"),
        (lambda scores: 0.5, "much the same"),
        (lambda scores: stable_softmax(scores).sum(-1).mean(), "much the same"),
        (lambda scores: scores, "in place of a number"),
        (lambda Q, K: Q @ K.mT, "raises TypeError"),
    ],
    "no-scale-wider": [
        ((2, 2), "one over the width"),
        ((1.41, 2), "Doubling"),
        ((4, 1.41), "other order"),
        ((1.41, 1.41), "round"),
        ((1.41, 3), "growth"),
    ],
    "wrong-mask-not-zero": [
        ((1.5, 1.5), "alone"),
        ((0.0625, 0.0625), "twice as many"),
        ((0.0625, 0.125), "not a sum"),
        ((0, 0), "24"),
    ],
    "sharp-scores-sharp": [
        ((1, 0.75), "below"),
        ((0.749, 0.052), "negative"),
        ((0.749, 0.99989), "other order"),
        ((0.9999, 0.9999), "width 16"),
    ],
    "sharp-scores-half": [
        ((1, 1), "both matrices"),
        ((2, 0.5), "anew"),
        ((2, 1.414), "two clips"),
        ((4, 4), "one clip"),
    ],
    "sinks-thousand": [
        ((0.999, 6.9), "keys get"),
        ((0.001, 1000), "power e^b"),
        ((0.001, 9.97), "not of 2"),
        ((0.001, 3), "not of 10"),
        ((0.5, 6.9), "thousand"),
        ((0.1, 6.9), "per cent"),
    ],
    "sinks-zeros": [(1, "e^b"), (-math.inf, "no power"), (2, "not the number")],
    "specimen-surgery-couples": [
        ((2 / 3, 0.467), "order alone"),
        ((0.5, 0.5), "each of the other"),
        ((4, 4), "couples"),
        ((1 / 3, 1 / 3), "lose"),
    ],
    "specimen-surgery-best": [(1, "No order"), (8 / 9, "square"), (0.816, "Kendall"), (0, "not the number")],
    "bug-zoo-caught": [
        (rows_sum_to_one, "training shows"),
        (lambda attend: True, "No bug"),
        (lambda attend: False, "right attention"),
        (lambda attend: attend(1), "raises"),
    ],
    "score-growth-rows": [
        ((9, 3), "variances"),
        ((5, 3), "largest"),
        ((1.73, 1.73), "average"),
        ((1.73, 3), "other order"),
    ],
    "score-growth-wider": [
        ((48, 48), "root"),
        ((48, 144), "root"),
        ((144, 12), "square"),
        ((36, 144), "width is another"),
    ],
    "score-growth-flat": [
        (0.24, "width 1"),
        (3.06, "exceeds 3"),
        (-1.2, "an entry"),
        (-0.3, "squared"),
        (1.5, "normal"),
        (-0.06, "sign"),
        (6, "per cent"),
    ],
    "minus-infinity-first-word": [
        (math.log(99), "one key"),
        (math.log(1023), "half"),
        (math.log2(99 * 1023), "not of 2"),
        (math.log10(99 * 1023), "not of 10"),
        (99 * 1023, "power"),
    ],
    "minus-infinity-poison": [(1, "others multiply"), (0, "some weight"), (4, "not the number")],
    "output-width-four": [
        ([(512, 512)] * 4, "need not be"),
        ([(512, 32), (512, 32), (512, 64), (64, 512)], "one head"),
        ([(512, 256), (512, 256), (512, 512), (256, 512)], "W_O"),
    ],
    "output-width-pad": [
        (padded_and_too_flat, "too flat"),
        (padded_and_not_cut, "the output is [5, 19]"),
        (padded_the_wrong_way, "wrong way round"),
        (padded_twice, "undone twice"),
        (lambda Q, K, V, fast: 1 + padded(Q, K, V, fast), "numbers are others"),
        (lambda Q, K, V, fast: fast(Q, K, V), "raises ValueError"),
        (lambda Q, K, V, fast: attention(Q, K, V)[0], "not called"),
    ],
    "output-width-order": [
        (lambda H: 1, "wider"),
        (lambda H: H * H, "other side"),
        (lambda H: 1 / H, "more"),
        (lambda H: 8, "At H = 3"),
    ],
    "rank-count": [(8, "rows"), (2, "more directions"), (4, "rank of what"), (20, "not the number")],
    "rank-same-word": [(5, "reached"), (8, "Five rows"), (2, "not the number")],
    "rank-larger": [
        (lambda T: T, "root of squares"),
        (lambda T: 1, "columns"),
        (lambda T: T * T, "root"),
        (lambda T: 2, "At T = 2"),
    ],
    "rank-degrees": [
        (torch.eye(3), "stays"),
        (torch.full((3, 3), 1 / 3), "falls"),
        ([[2, -1, 0], [-1, 2, 0], [0, 0, 1]], "negative"),
        ([[1, 1, 0], [0, 1, 0], [0, 0, 1]], "add up to one"),
    ],
    "flash-pencil": [
        ((5, 4), "own split"),
        ((6.4, 5), "other order"),
        ((6.4, 6.4), "weighs"),
        ((5, 5), "plain average"),
    ],
    "sparse-least-mass": [
        ((1, 1), "need not"),
        ((1, 2), "farthest"),
        ((3, 1), "other order"),
        ((2, 3), "drops the least"),
    ],
    "sparse-worth": [
        (1, "vanishes"),
        (0.5, "time it takes"),
        (1e6, "computes all"),
        (math.inf, "computes all"),
        (4, "not the number"),
    ],
    "sparse-layers": [
        ((100, 100), "same way"),
        ((100, 10_000), "mostly shorter"),
        ((100, 17_320), "Variances"),
        ((50, 30_000), "reach it"),
    ],
    "multi-query-batch": [(80, "fit as well"), (2, "often"), (41, "not the number"), (320, "not the number")],
    "multi-query-when-absorbed": [
        (171, "takes more"),
        (128, "r wide"),
        (146, "compare"),
        (85.3333, "both made"),
        (341.3333, "both cost"),
    ],
    "ring-two-ranks": [
        ((6, 22, 14, 14), "itself"),
        ((32, 32, 32, 32), "later ones"),
        ((10, 26, 16, 20), "four blocks"),
        ((10, 10, 10, 10), "too"),
        ((10, 26, 26, 10), "rank 0 in zigzag"),
    ],
    "ring-shared-heads": [
        (lambda H, K: H / K, "fewer"),
        (lambda H, K: 1, "bytes"),
        (lambda H, K: (K / H) ** 0.5, "no root"),
        (lambda H, K: 1 / K, "ratio"),
    ],
    "company-window-places": [
        ([0, 1, 2, 3, 4, 5], "without a window"),
        ([1, 2, 3, 3, 3, 3], "taken off"),
        ([0, 1, 1, 1, 1, 1], "two words back"),
        ([0, 1, 2, 0, 1, 2], "word 4"),
    ],
    "checkup-axis": [(0, "give it away"), (4, "one reason"), (20, "cause"), (3, "not the number")],
    "model-checkup-window": [
        ((7, 9), "own token"),
        ((8, 10), "looks three"),
        ((3, 4), "one layer"),
        ((6, 7), "further"),
        ((9, 16), "multiply"),
    ],
}


def one_off(label):
    """The right answer, if it is several numbers, with each of them in turn another one."""
    answer = RIGHT[label][0]
    if isinstance(answer, list | tuple) and all(isinstance(one, int | float | Fraction) for one in answer):
        for n in range(len(answer)):
            yield [777 if place == n else one for place, one in enumerate(answer)]
