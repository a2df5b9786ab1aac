"""Attentions that are meant to be something, with what they are declared to be, and each thing that goes wrong."""

import math

import torch

from surgeon import stable_softmax
from surgeon.anatomy.positions import Alibi, DistanceBias, Rotary
from surgeon.anatomy.qk_norm import QueryKeyNorm

NEAR, SHIFTED = {"picture": (5, 7, 3, "cut")}, {"picture": (5, 7, 3, "shifted")}
HEADS = {"layout": "B H T d", "heads": 4}
CAUSAL = {"causal": True, "mask": "none"}


def made(turn=lambda Q, K: (Q, K), bias=None, bend=None, late=False, near=None, share=stable_softmax, factor=None):
    """Attention, with queries and keys changed, numbers added, scores bent, keys hidden, shared out in another way."""

    def subject(Q, K, V, mask=None):
        (T, d), S = Q.shape[-2:], K.shape[-2]
        given = d**-0.5 if factor is None else torch.as_tensor(factor(d, T, S), dtype=Q.dtype)
        Q, K = turn(Q, K)
        scores = (Q * given) @ K.mT
        if bend is not None and not late:
            scores = bend(scores)
        if bias is not None:
            scores = scores + bias(scores).to(scores.dtype)
        if near is not None:
            scores = scores.masked_fill(~near(behind(scores)), -math.inf)
        if mask is not None:
            scores = scores.masked_fill(~mask, -math.inf)
        return share(bend(scores) if late else scores) @ V

    return subject


def behind(scores):
    """How far keys are behind the query, the last beside the last."""
    T, S = scores.shape[-2:]
    return torch.arange(T)[:, None] + S - T - torch.arange(S)


def distance(scores):
    return behind(scores).abs()


def turned(x, first=0, base=1e4, pairs="halves", angles="", share=1.0, sign=1, stretch=1, falling=2):
    """Rotary."""
    n = round(share * x.shape[-1])
    turns = base ** (-torch.arange(0, n, 2, dtype=torch.float64) / n * falling / 2)
    angle = (torch.arange(x.shape[-2]) + first).double()[:, None] * turns * sign * stretch
    angle = torch.cat([angle, angle], -1) if (angles or pairs) == "halves" else angle.repeat_interleave(2, -1)
    some, rest = x[..., :n], x[..., n:]
    if pairs == "halves":
        across = torch.cat([-some[..., n // 2 :], some[..., : n // 2]], -1)
    else:
        across = torch.stack([-some[..., 1::2], some[..., ::2]], -1).flatten(-2)
    return torch.cat([some * angle.cos().to(x.dtype) + across * angle.sin().to(x.dtype), rest], -1)


def rotary(late=0, of="QK", **how):
    """Both turned; `late` places ahead, or one of them alone."""

    def turn(Q, K):
        first = K.shape[-2] - Q.shape[-2] + late
        return turned(Q, first, **how) if "Q" in of else Q, turned(K, **how) if "K" in of else K

    return turn


def in_pairs(pairs, turns):
    """Any columns turned together, each pair by its own angle."""

    def turn(Q, K):
        found = []
        for x, first in ((Q, K.shape[-2] - Q.shape[-2]), (K, 0)):
            places, y = torch.arange(x.shape[-2], dtype=x.dtype) + first, x.clone()
            for (a, b), by in zip(pairs, turns, strict=True):
                cos, sin = (places * by).cos(), (places * by).sin()
                y[..., a], y[..., b] = x[..., a] * cos - x[..., b] * sin, x[..., b] * cos + x[..., a] * sin
            found.append(y)
        return found

    return turn


def but_in(right, wrong, axis, *where):
    """Right, and wrong for some queries (-2), heads (-3) or sequences (0)."""

    def subject(Q, K, V, mask=None):
        good, bad = right(Q, K, V, mask).clone(), wrong(Q, K, V, mask)
        for i in where:
            if i < good.shape[axis]:
                good.select(axis, i).copy_(bad.select(axis, i))
        return good

    return subject


def unless_one(right, wrong):
    """Wrong, and right for one query."""
    return lambda Q, K, V, mask=None: (right if Q.shape[-2] == 1 else wrong)(Q, K, V, mask)


def new_late(late):
    """Beside a cache, new queries and keys are placed some places away."""

    def turn(Q, K):
        T, S = Q.shape[-2], K.shape[-2]
        late_by = late if T < S else 0
        old, new = turned(K[..., : S - T, :]), turned(K[..., max(0, S - T) :, :], max(0, S - T) + late_by)
        return turned(Q, S - T + late_by), torch.cat([old, new], -2) if T < S else turned(K)

    return turn


def from_the_first(Q, K):
    return turned(Q), turned(K)


def by_heads(Q, K):
    return tuple(turned(x.transpose(-2, -3)).transpose(-2, -3) for x in (Q, K))


def shared_by_three(turn):
    """Each key head is shared by three query heads, after the turn."""

    def subject(Q, K, V, mask=None):
        Q, K = turn(Q, K)
        return made()(Q, K.repeat_interleave(3, -3), V.repeat_interleave(3, -3), mask)

    return subject


def opposite(Q, K):
    return turned(Q, K.shape[-2] - Q.shape[-2]), turned(K, sign=-1)


SLOPES = 2.0 ** -torch.arange(2, 9, 2, dtype=torch.float64)


def sloping(slopes=SLOPES, far=distance):
    return made(bias=lambda scores: -slopes[:, None, None] * far(scores))


def lost_for_one(scores):
    return -SLOPES[:, None, None] * distance(scores) * (scores.shape[-2] > 1)


def rms(x, over=-1):
    return x / (x.square().mean(over, keepdim=True) + 1e-6).sqrt()


def unit(x, over=-1):
    return x / x.norm(dim=over, keepdim=True).clamp(min=1e-12)


def both(norm, *of):
    """A norm of queries and of keys, or of some."""
    return lambda Q, K: (norm(Q) if "Q" in of or not of else Q, norm(K) if "K" in of or not of else K)


def with_values(*of):
    """A norm of values, and of queries or keys, with weights."""
    return lambda Q, K, V, mask=None: made(both(rms, "", *of))(Q, K, 1.5 * rms(V), mask)


def square(x):
    return x / (x.square().mean(-1, keepdim=True) + 1e-6)


def centred(x):
    x = x - x.mean(-1, keepdim=True)
    return x / (x.square().mean(-1, keepdim=True) + 1e-5).sqrt()


def all_heads(x):
    return rms(x, (-3, -1))


def of_all(x, by):
    """All heads' root mean squares, with weights of their own."""
    gains = 1 + 0.3 * torch.sin(by * torch.arange(x.shape[1] * x.shape[-1], dtype=torch.float64))
    return all_heads(x) * gains.view(x.shape[1], 1, -1).to(x.dtype)


def root(x):
    return (x.square().mean(-1, keepdim=True) + 1e-6).sqrt()


def unit_of(x):
    return x.norm(dim=-1, keepdim=True)


def other_row(Q, K, length=root):
    """Both divided row by row, which broadcasts where there are as many keys as queries."""
    same = Q.shape[-2] == K.shape[-2]
    return (Q / length(Q) / length(K), K) if same else (Q / length(Q), K / length(K))


def of_the_query(Q, K):
    return rms(Q), K / root(Q) if Q.shape[-2] == K.shape[-2] else rms(K)


GAINS = [1 + 0.3 * torch.sin(torch.arange(8.0, dtype=torch.float64) * by) for by in (1, 2)]


def gained(Q, K):
    return rms(Q) * GAINS[0].to(Q.dtype), rms(K) * GAINS[1].to(K.dtype)


def normed_late(Q, K):
    return gained(*rotary()(Q, K))


def normed_early(Q, K):
    return rotary()(*gained(Q, K))


def cap(size, outer=None):
    return lambda scores: (size if outer is None else outer) * torch.tanh(scores / size)


SINKS = [0.5, -1.0, 0.25, 2.0]


def its_own(size):
    return lambda scores: scores * torch.tanh(scores / size)


def with_sink(sinks):
    """Softmax of a row with one more score, dropped."""

    def share(scores):
        column = torch.as_tensor(sinks, dtype=scores.dtype)
        column = column[:, None, None] if column.ndim == 1 else column
        return stable_softmax(torch.cat([scores, column.expand(*scores.shape[:-1], 1)], -1))[..., :-1]

    return share


def beside(sinks, bare=False):
    """Powers less the maximum of the row, and a sink that is not."""

    def share(scores):
        top = scores.amax(-1, keepdim=True).clamp(min=torch.finfo(scores.dtype).min)
        powers, sink = torch.exp(scores - top), torch.as_tensor(sinks, dtype=scores.dtype)
        sink = sink[:, None, None] if sink.ndim else sink
        return powers / (powers.sum(-1, keepdim=True) + (sink * torch.exp(-top) if bare else sink.exp()))

    return share


def by_place(scores):
    return with_sink(torch.tensor([SINKS[i % 4] for i in range(scores.shape[-2])])[:, None])(scores)


def window(back, ahead=None):
    return lambda far: (far <= back) & (-far <= (back if ahead is None else ahead))


def causal_window(count):
    """The last `count` keys, the query's own among them; always causal."""
    return lambda Q, K, V: made(near=window(count - 1, 0))(Q, K, V)


BIAS = DistanceBias(4, num_buckets=8, max_distance=16)
with torch.no_grad():
    BIAS.table.copy_(torch.sin(torch.arange(32.0)).reshape(8, 4))


def buckets(scores):
    T, S = scores.shape[-2:]
    return BIAS.bias(torch.arange(T) + S - T, torch.arange(S)).detach()


def of_buckets(sign=1, mirrored=False, flipped=False, late=0):
    """T5's kind, by the book's own buckets."""

    def bias(scores):
        T, S = scores.shape[-2:]
        queries, keys = torch.arange(T) + S - T + late, torch.arange(S)
        found = BIAS.bias(keys, queries).mT if mirrored else BIAS.bias(queries, keys)
        return sign * (found.flip(-3) if flipped else found).detach()

    return made(bias=bias)


def from_one_side(Q, K, queries, keys):
    """A scheme of one's own: queries and keys turned, and a number for each distance."""
    far = (queries[:, None] - keys).abs()
    places = (x.to(Q.dtype)[:, None] * (1e4 ** (-torch.arange(0, 4) / 4)).to(Q.dtype) for x in (queries, keys))
    (q, k) = (
        torch.cat([x[..., :4] * a.cos() - x[..., 4:] * a.sin(), x[..., 4:] * a.cos() + x[..., :4] * a.sin()], -1)
        for x, a in zip((Q, K), places, strict=True)
    )
    return q, k, -0.25 * far


def own_scheme(of="QK", late=0):
    turn = rotary(late, of)
    return made(turn, bias=lambda scores: -0.25 * (behind(scores) + late).abs())


def positive(x):
    return torch.nn.functional.elu(x) + 1


def featured(queries=positive, keys=positive, divided=True, open_sum=False):
    """Linear attention: products of features for weights."""

    def subject(Q, K, V, mask=None):
        products = queries(Q) @ keys(K).mT
        weights = products if mask is None else products * mask
        total = (products if open_sum else weights).sum(-1, keepdim=True)
        return weights / total.masked_fill(total == 0, 1.0) @ V if divided else weights @ V

    return subject


def in_windows(rows, columns, height, width, by_columns=False, filled=False):
    """Each pixel sees those of its own window; `filled` up by keys of zero, or not."""
    pixels = [(i, j) for i in range(rows) for j in range(columns)]
    if by_columns:
        pixels = [(i, j) for j in range(columns) for i in range(rows)]
    numbers = torch.tensor([i // height * columns + j // width for i, j in pixels])
    same = numbers[:, None] == numbers
    lacking = (height * width - same.sum(-1)).log()[:, None]
    hidden = torch.zeros(same.shape, dtype=torch.float64).masked_fill(~same, -math.inf)
    return made(bias=lambda scores: hidden, share=with_sink(lacking) if filled else stable_softmax)


def around(rows, columns, above, below, left, right, whole=False, closed=False, flat=False, filled=False):
    """Each pixel sees those round it, one by one: outside the picture none, or as said."""
    height, width = above + below + 1, left + right + 1
    seen, lacking = torch.zeros(rows * columns, rows * columns, dtype=torch.bool), []
    for i in range(rows):
        for j in range(columns):
            top = min(max(i - above, 0), rows - height) if whole else i - above
            side = min(max(j - left, 0), columns - width) if whole else j - left
            for a in range(top, top + height):
                for b in range(side, side + width):
                    inside = 0 <= a < rows and 0 <= b < columns
                    at = (a % rows) * columns + b % columns if closed else a * columns + b
                    if inside or closed or (flat and 0 <= at < rows * columns):
                        seen[i * columns + j, at] = True
            lacking.append(height * width - int(seen[i * columns + j].sum()))
    hidden = torch.zeros(seen.shape, dtype=torch.float64).masked_fill(~seen, -math.inf)
    empty = torch.tensor(lacking, dtype=torch.float64).log()[:, None]
    return made(bias=lambda scores: hidden, share=with_sink(empty) if filled else stable_softmax)


def numbered(rule, rows=5, columns=4):
    """Pixels that see those of the same number, by the row and the column."""
    numbers = torch.tensor([rule(i, j) for i in range(rows) for j in range(columns)])
    hidden = torch.zeros(rows * columns, rows * columns, dtype=torch.float64)
    hidden = hidden.masked_fill(numbers[:, None] != numbers, -math.inf)
    return made(bias=lambda scores: hidden)


def documented(rule):
    """Packed texts: what a query sees by the numbers of documents, its own [B, T, 1] and the key's [B, 1, T]."""

    def subject(Q, K, V, mask=None, numbers=None):
        seen = rule(numbers[:, :, None], numbers[:, None])
        return made()(Q, K, V, seen if mask is None else mask & seen)

    return subject


def beside_the_end(queries, keys):
    near = (torch.arange(keys.shape[-1])[:, None] - torch.arange(keys.shape[-1])).abs() < 2
    return (queries == keys) | near


def hidden_beyond_two(T, S):
    far = (torch.arange(T)[:, None] - torch.arange(S)).abs()
    return torch.zeros(T, S, dtype=torch.float64).masked_fill(far > 2, -math.inf)


def past(Q, K):
    T, S = Q.shape[-2], K.shape[-2]
    return torch.ones(T, S, dtype=torch.bool).tril(S - T)


def kept_by_length():
    """Rotary whose angles are remembered by the number of tokens alone, whatever their offset."""
    kept = {}

    def turn(Q, K):
        offsets = K.shape[-2] - Q.shape[-2], 0
        firsts = (kept.setdefault((x.shape[-2], x.dtype), first) for x, first in zip((Q, K), offsets, strict=True))
        return tuple(turned(x, first) for x, first in zip((Q, K), firsts, strict=True))

    return lambda Q, K, V: made(turn)(Q, K, V, past(Q, K))


def everything(Q, K, V, mask=None):
    """A norm, a rotation, a cap, a window and a sink."""
    return made(lambda Q, K: rotary()(rms(Q), rms(K)), bend=cap(20.0), near=window(2), share=with_sink(0.3))(
        Q, K, V, mask
    )


ALL = {"qk_norm": "rms", "positions": "rotary", "softcap": 20.0, "window": 2, "sink": 0.3}
ROTARY, ALIBI, RMS = {"positions": "rotary"}, {"positions": "alibi", **HEADS}, {"qk_norm": "rms"}
EIGHT = {"widths": (8, 8)}
OWN = {"positions": from_one_side, **EIGHT}
TABLE = {"positions": BIAS, **HEADS}


def weighted(x, which):
    """A norm with weights, as a function."""
    return rms(x) * (1 + 0.3 * torch.sin(torch.arange(x.shape[-1], dtype=torch.float64))).to(x.dtype)


def of_places(scores):
    T, S = scores.shape[-2:]
    return torch.sin(torch.arange(T)[:, None] * torch.arange(S) / 2).double()


def in_blocks(size):
    return lambda scores: torch.where(
        torch.arange(scores.shape[-2])[:, None] // size == torch.arange(scores.shape[-1]) // size, 0.0, -math.inf
    ).double()


def odd_keys(scores):
    """Each query sees those keys that are an odd number away, and itself."""
    far = distance(scores)
    return torch.where((far % 2 == 1) | (far == 0), 0.0, -math.inf).double()


def nearly(scores):
    """ALiBi's slopes, of the root of the distance."""
    return -SLOPES[:, None, None] * distance(scores) ** 0.5


def ahead_alone(scores):
    return -SLOPES[:, None, None] * (distance(scores) + 3.0 * (behind(scores) < 0))


def behind_alone(scores):
    return -SLOPES[:, None, None] * (distance(scores) + 3.0 * (behind(scores) > 0))


# what it is called: (the attention, what it is declared to be)
SOUND = {
    "rotary": (made(rotary()), ROTARY),
    "rotary, both from the first": (made(from_the_first), ROTARY),
    "rotary, neighbours of another base": (
        made(rotary(pairs="neighbours", base=5e5)),
        {"positions": "rotary base=500000, pairs=neighbours"},
    ),
    "rotary, half of the width": (made(rotary(share=0.5)), {"positions": {"kind": "rotary", "share": 0.5}}),
    "rotary, as an object": (made(rotary(base=1e5)), {"positions": Rotary(base=1e5)}),
    "rotary, its own frequencies": (
        made(rotary(base=5e4)),
        {"positions": {"kind": "rotary", "frequencies": (5e4 ** (-torch.arange(4) / 4)).tolist(), "offset": 3}},
    ),
    "ALiBi": (sloping(), ALIBI),
    "ALiBi, as an object": (sloping(), {"positions": Alibi(4), **HEADS}),
    "ALiBi, its slopes told": (
        sloping(SLOPES + 0.1),
        {"positions": f"alibi slopes={','.join(map(str, (SLOPES + 0.1).tolist()))}"},
    ),
    "ALiBi, five heads by the plain rule": (
        sloping(2.0 ** (-8 * torch.arange(1, 6, dtype=torch.float64) / 5)),
        {"positions": "alibi", "layout": "B H T d", "heads": 5},
    ),
    "a number a distance": (made(bias=lambda scores: torch.sin(7.0 * behind(scores))), {"positions": "distance"}),
    "a number a bucket": (of_buckets(), TABLE),
    "a scheme of its own": (own_scheme(), OWN),
    "no places": (made(), {"positions": "none"}),
    "a window": (made(near=window(2)), {"window": 2}),
    "a window behind and ahead": (made(near=window(3, 1)), {"window": (3, 1)}),
    "a window of eighty": (made(near=window(80)), {"window": 80}),
    "a sliding window": (causal_window(3), {"sliding_window": 3, **CAUSAL}),
    "sinks, learned": (made(share=with_sink(SINKS)), {"sink": True, **HEADS}),
    "sinks, told": (made(share=with_sink(SINKS)), {"sink": SINKS, "layout": "B H T d"}),
    "softmax-plus-one": (made(share=with_sink(0.0)), {"sink": 0.0}),
    "a cap of 50": (made(bend=cap(50.0)), {"softcap": 50.0}),
    "a cap of 300": (made(bend=cap(300.0)), {"softcap": 300.0}),
    "root mean squares": (made(both(rms)), RMS),
    "root mean squares, with weights, turned": (made(normed_early), RMS | ROTARY | EIGHT),
    "root mean squares after the rotation": (made(normed_late), {"qk_norm": "rms after"} | ROTARY | EIGHT),
    "root mean squares of all heads": (made(both(all_heads)), {"qk_norm": "rms all heads", **HEADS}),
    "root mean squares of all heads, with weights": (
        made(lambda Q, K: (of_all(Q, 1), of_all(K, 2))),
        {"qk_norm": "rms all heads", **HEADS},
    ),
    "root mean squares of all heads, with weights, turned": (
        made(lambda Q, K: rotary()(of_all(Q, 1), of_all(K, 2))),
        {"qk_norm": "rms all heads", **HEADS} | ROTARY | EIGHT,
    ),
    "centred rows": (made(both(centred)), {"qk_norm": "layer eps=1e-5"}),
    "cosines": (made(both(unit), factor=lambda *_: 10.0), {"qk_norm": "l2", "scale": 10.0}),
    "cosines, with a factor for each head": (
        made(both(unit), factor=lambda *_: torch.tensor([3.0, 5.0, 7.0, 9.0])[:, None, None]),
        {"qk_norm": "l2", **HEADS},
    ),
    "a norm as a function": (made(both(rms)), {"qk_norm": lambda x, which: rms(x)}),
    "a norm of the book": (made(both(rms)), {"qk_norm": QueryKeyNorm(1, 8, "rms"), **EIGHT}),
    "a scale of the number of keys": (
        made(factor=lambda d, T, S: math.log(S + 1) / d),
        {"scale": lambda d, T, S: math.log(S + 1) / d},
    ),
    "everything": (everything, ALL),
    "products of features": (featured(), {"linear": "elu+1"}),
    "products of features, not divided": (featured(divided=False), {"linear": "elu+1", "normalised": False}),
    "features of its own": (featured(square, square, divided=False), {"linear": square, "normalised": False}),
    "windows on a picture": (in_windows(5, 4, 2, 3), {"picture": (5, 4, (2, 3))}),
    "square windows": (in_windows(4, 4, 2, 2), {"picture": (4, 4, 2)}),
    "blocks, by their name": (in_windows(5, 4, 2, 3), {"picture": (5, 4, (2, 3), "blocks")}),
    "windows round each pixel, cut": (around(5, 7, 1, 1, 1, 1), {"picture": (5, 7, 3, "cut")}),
    "oblong windows round each pixel, cut": (around(5, 4, 1, 1, 2, 2), {"picture": (5, 4, (3, 5), "cut")}),
    "windows round each pixel, shifted": (around(5, 7, 1, 1, 1, 1, whole=True), SHIFTED),
    "oblong windows round each pixel, shifted": (
        around(5, 7, 1, 1, 2, 2, whole=True),
        {"picture": (5, 7, (3, 5), "shifted")},
    ),
    "a window as large as the picture": (around(3, 5, 1, 1, 2, 2, whole=True), {"picture": (3, 5, (3, 5), "shifted")}),
    "documents": (documented(lambda queries, keys: queries == keys), {"documents": "numbers"}),
    "documents, by a function": (
        documented(lambda queries, keys: queries == keys),
        {"documents": lambda numbers: {"numbers": numbers + 1}},
    ),
}

NORM, FEATURES = "norm of queries and keys", "linear attention"
LINEAR, PACKED = {"linear": "elu+1"}, {"documents": "numbers"}
NOT_TURNED = (
    "Places do not count: nothing is turned along the tokens. Angles that grow along heads or the batch cancel."
)
# what it is called: (the attention, what it is declared to be, the law that it breaks, what is said of it)
WRONG = {
    "pairs mixed": (
        made(rotary(angles="neighbours")),
        ROTARY,
        "positions",
        "Pairs are mixed: halves are turned by angles that are laid out for neighbours.",
    ),
    "pairs mixed the other way": (
        made(rotary(pairs="neighbours", angles="halves")),
        ROTARY,
        "positions",
        "Pairs are mixed: neighbours are turned by angles that are laid out for halves.",
    ),
    "other pairs": (
        made(rotary(pairs="neighbours")),
        ROTARY,
        "positions",
        'Neighbours are pairs, not halves. If that is meant, say so: positions="rotary pairs=neighbours".',
    ),
    "turned along the heads": (made(by_heads), ROTARY | HEADS, "positions", NOT_TURNED),
    "turned along heads that share keys": (
        shared_by_three(by_heads),
        ROTARY | {"layout": "B H T d", "heads": 6, "kv_heads": 2},
        "positions",
        "Angles grow along heads, not along the tokens.",
    ),
    "keys of the next query": (
        made(lambda Q, K: (rotary()(Q, K)[0].roll(1, -2), K)),
        ROTARY,
        "known form",
        "It is not what was declared.",
    ),
    "another base": (
        made(rotary(base=5e5)),
        ROTARY,
        "positions",
        'The base is 500,000, not 10,000. If that is meant, say so: positions="rotary base=500000".',
    ),
    "an odd base": (made(rotary(base=23456.0)), ROTARY, "positions", "The base is 23,456, not 10,000."),
    "keys not turned": (made(rotary(of="Q")), ROTARY, "positions", "Keys are not turned."),
    "queries not turned": (made(rotary(of="K")), ROTARY, "positions", "Queries are not turned."),
    "turned the other way": (made(rotary(sign=-1)), ROTARY, "positions", "Angles have the other sign."),
    "turned in opposite directions": (
        made(opposite),
        ROTARY,
        "positions",
        "Queries and keys are turned in opposite directions.",
    ),
    "one place late": (
        made(rotary(late=1)),
        ROTARY,
        "positions",
        "Angles of another offset: queries are turned as if they stood one place ahead of their own.",
    ),
    "places twice as far": (
        made(rotary(stretch=2)),
        ROTARY,
        "positions",
        "Angles of another length: places count twice.",
    ),
    "frequencies that fall slowly": (
        made(rotary(falling=1)),
        ROTARY,
        "positions",
        "Frequencies fall half as fast as they should.",
    ),
    "frequencies of the whole width": (
        made(rotary(share=0.25, falling=0.5)),
        {"positions": "rotary share=0.25"},
        "positions",
        "Frequencies are those of the whole width, not of what is turned.",
    ),
    "all of the width turned": (
        made(rotary()),
        {"positions": "rotary share=0.5"},
        "positions",
        "100% of the width is turned, not 50%.",
    ),
    "not turned": (made(), ROTARY, "positions", NOT_TURNED),
    "no numbers": (made(), ALIBI, "positions", "Places do not count: nothing is added for them."),
    "places that should not count": (
        made(rotary()),
        {"positions": "none"},
        "positions",
        "Places count, and were said not to.",
    ),
    "far is high": (sloping(-SLOPES), ALIBI, "positions", "Distance raises scores, where it should lower them."),
    "ahead is high": (
        sloping(far=behind),
        ALIBI,
        "positions",
        "Keys ahead are raised by their distance, as those behind are lowered: made for a decoder.",
    ),
    "behind is high": (
        sloping(far=lambda scores: -behind(scores)),
        ALIBI,
        "positions",
        "Keys behind are raised by their distance: the difference of places has the other sign.",
    ),
    "slopes in reverse": (
        sloping(SLOPES.flip(0)),
        ALIBI,
        "positions",
        "Heads have one another's slopes, in reverse order.",
    ),
    "slopes one place away": (
        sloping(SLOPES.roll(1)),
        ALIBI,
        "positions",
        "Heads have one another's slopes, one place away.",
    ),
    "one slope for all": (
        sloping(SLOPES[:1].expand(4)),
        ALIBI,
        "positions",
        "All heads have the first head's slope.",
    ),
    "slopes from one": (sloping(4 * SLOPES), ALIBI, "positions", "Slopes begin at one: 2^(-8h/H) with h from 0."),
    "slopes twice as high": (sloping(2 * SLOPES), ALIBI, "positions", "Distances count twice."),
    "other slopes": (
        sloping(torch.tensor([0.3, 0.1, 0.7, 0.01])),
        ALIBI,
        "positions",
        "The slopes are 0.3, 0.1, 0.7, 0.01.",
    ),
    "lost for one query": (
        made(bias=lost_for_one),
        ALIBI,
        "positions",
        "What is added for places is lost where there is one query, as beside a cache.",
    ),
    "distances multiplied by the scale": (
        made(bias=lambda scores: -SLOPES[:, None, None] * distance(scores) / 8**0.5),
        ALIBI | EIGHT,
        "positions",
        "What is added for places is multiplied by the scale, as products are.",
    ),
    "no matter of distance": (
        made(bias=lambda scores: torch.sin(3.0 * torch.arange(scores.shape[-1])) * scores.shape[-2] ** 0.5),
        {"positions": "distance"},
        "positions",
        "What is added for places is no matter of their distance alone.",
    ),
    "buckets of the other sign": (
        of_buckets(-1),
        TABLE,
        "positions",
        "What is added for places has the other sign.",
    ),
    "buckets of the other direction": (
        of_buckets(mirrored=True),
        TABLE,
        "positions",
        "Distances have the other sign: places of queries and of keys are taken for each other.",
    ),
    "buckets of other heads": (
        of_buckets(flipped=True),
        TABLE,
        "positions",
        "Heads have one another's numbers, in reverse order.",
    ),
    "buckets one place late": (
        of_buckets(late=1),
        TABLE,
        "positions",
        "Queries are placed one ahead of their own place.",
    ),
    "a scheme without its numbers": (
        made(rotary()),
        OWN,
        "positions",
        "What is added for places is lost.",
    ),
    "a scheme for queries alone": (own_scheme("Q"), OWN, "positions", "Keys are not turned."),
    "one key too many behind": (
        causal_window(4),
        {"sliding_window": 3, **CAUSAL},
        "window",
        "One key too many is seen behind the query.",
    ),
    "one key too few behind": (
        causal_window(2),
        {"sliding_window": 3, **CAUSAL},
        "window",
        "One key too few is seen behind the query.",
    ),
    "one key too many ahead": (
        made(near=window(3, 2)),
        {"window": (3, 1)},
        "window",
        "One key too many is seen ahead of the query.",
    ),
    "one key too few ahead": (
        made(near=window(3, 0)),
        {"window": (3, 1)},
        "window",
        "One key too few is seen ahead of the query.",
    ),
    "one key too many on each side": (
        made(near=window(3)),
        {"window": 2},
        "window",
        "One key too many is seen on each side.",
    ),
    "one key too few on each side": (
        made(near=window(1)),
        {"window": 2},
        "window",
        "One key too few is seen on each side.",
    ),
    "no end behind": (
        made(near=lambda far: -far <= 1),
        {"window": (3, 1)},
        "window",
        "The window ends ahead, and not behind.",
    ),
    "no end ahead": (
        made(near=lambda far: far <= 3),
        {"window": (3, 1)},
        "window",
        "The window ends behind, and not ahead.",
    ),
    "a window that looks ahead": (
        made(near=window(1, 3)),
        {"window": (3, 1)},
        "window",
        "The window looks ahead instead of behind.",
    ),
    "a window twice as wide": (made(near=window(4)), {"window": 2}, "window", "The window is twice as wide."),
    "a window of eighty-one": (
        made(near=window(81)),
        {"window": 80},
        "window",
        "One key too many is seen behind the query.",
    ),
    "a window from the first query": (
        made(bias=lambda scores: hidden_beyond_two(*scores.shape[-2:])),
        {"window": 2, "alignment": "bottom-right"},
        "window",
        "The window counts from the first query, not from the last.",
    ),
    "angles of an earlier call": (
        kept_by_length(),
        ROTARY | CAUSAL,
        "same answer twice",
        "The answer depends on what was asked before: something is kept between calls, under too few of its sizes.",
    ),
    "angles from the other end than the mask": (
        lambda Q, K, V: made(from_the_first)(Q, K, V, past(Q, K)),
        ROTARY | CAUSAL,
        "positions",
        "Angles of another offset: with more keys than queries, the causal mask puts the last query beside the last"
        " key, and places are counted as if the first stood beside the first.",
    ),
    "new tokens one place ahead": (
        made(new_late(1)),
        ROTARY,
        "positions",
        "Angles of another offset: beside a cache, new queries and keys are turned as if they stood one place ahead of"
        " their own.",
    ),
    "new tokens one place behind, behind a mask": (
        lambda Q, K, V: made(new_late(-1))(Q, K, V, past(Q, K)),
        ROTARY | CAUSAL,
        "positions",
        "Angles of another offset: beside a cache, new queries and keys are turned as if they stood one place behind"
        " their own.",
    ),
    "no window": (made(), {"window": 2}, "window", "The window hides nothing."),
    "no sink": (made(), {"sink": True, **HEADS}, "sink", "The sink takes nothing: rows sum to one."),
    "no sink, of one told": (made(), {"sink": 0.0}, "sink", "The sink takes nothing: rows sum to one."),
    "one added after the shift": (
        made(share=beside(0.0)),
        {"sink": 0.0},
        "sink",
        "The one beside the powers is not shifted: others are divided by the power of the row's maximum, and it is"
        " not.",
    ),
    "the sink itself": (
        made(share=beside([0.5, 1.0, 0.25, 2.0], bare=True)),
        {"sink": [0.5, 1.0, 0.25, 2.0], "layout": "B H T d"},
        "sink",
        "The sink itself is added to the sum, and not its power.",
    ),
    "a sink of the other sign": (
        made(share=with_sink([-s for s in SINKS])),
        {"sink": SINKS},
        "sink",
        "The sink has the other sign.",
    ),
    "each sink twice": (
        made(share=with_sink([s + math.log(2) for s in SINKS])),
        {"sink": SINKS},
        "sink",
        "The sink is counted twice.",
    ),
    "one for every sink": (
        made(share=with_sink(0.0)),
        {"sink": SINKS},
        "sink",
        "The sink is one of zero: softmax-plus-one.",
    ),
    "the first head's sink": (
        made(share=with_sink(SINKS[0])),
        {"sink": SINKS},
        "sink",
        "All heads have the first head's sink.",
    ),
    "the mean of sinks": (
        made(share=with_sink(sum(SINKS) / 4)),
        {"sink": SINKS},
        "sink",
        "All heads have the mean of the sinks.",
    ),
    "sinks in reverse": (
        made(share=with_sink(SINKS[::-1])),
        {"sink": SINKS},
        "sink",
        "Heads have one another's sinks, in reverse order.",
    ),
    "sinks one place away": (
        made(share=with_sink(SINKS[-1:] + SINKS[:-1])),
        {"sink": SINKS},
        "sink",
        "Heads have one another's sinks, one place away.",
    ),
    "sinks of places": (
        made(share=by_place),
        {"sink": SINKS},
        "sink",
        "The sink belongs to the query's place, not to its head.",
    ),
    "learned sinks of places": (
        made(share=by_place),
        {"sink": True, **HEADS},
        "sink",
        "The sink belongs to the query's place, not to its head.",
    ),
    "rows that lack this and that": (
        made(
            share=lambda scores: (
                stable_softmax(scores)
                * torch.sin(1 + torch.arange(scores.shape[1] * scores.shape[-2])).abs().reshape(scores.shape[1], -1, 1)
            )
        ),
        {"sink": True, **HEADS},
        "sink",
        "What rows lack of one is no number of their head.",
    ),
    "capped late": (
        made(bend=cap(50.0), late=True),
        {"softcap": 50.0},
        "soft cap",
        "Scores are capped after keys are hidden: minus infinity becomes minus the cap, and a hidden key keeps a"
        " share.",
    ),
    "not capped": (made(), {"softcap": 50.0}, "soft cap", "Scores are not capped."),
    "another cap": (made(bend=cap(30.0)), {"softcap": 50.0}, "soft cap", "The cap is 30, not 50."),
    "another cap, beside keys that are hidden": (
        made(bend=cap(30.0), near=window(2)),
        {"softcap": 50.0, "window": 2},
        "soft cap",
        "The cap is 30, not 50.",
    ),
    "capped before the scale": (
        made(bend=lambda scores: cap(30.0)(scores * 8**0.5) / 8**0.5),
        {"softcap": 30.0, **EIGHT},
        "soft cap",
        "Products are capped before they are scaled.",
    ),
    "cut off": (
        made(bend=lambda scores: scores.clamp(-2.0, 2.0)),
        {"softcap": 2.0},
        "soft cap",
        "Scores over the cap are cut off, where they should bend.",
    ),
    "the cap not multiplied back": (
        made(bend=cap(5.0, 1.0)),
        {"softcap": 5.0},
        "soft cap",
        "The tangent of s/c is not multiplied by c.",
    ),
    "not divided by the cap": (
        made(bend=cap(1.0, 5.0)),
        {"softcap": 5.0},
        "soft cap",
        "Scores are not divided by the cap before the tangent.",
    ),
    "no norm": (made(), RMS, NORM, "Queries and keys are not normalised."),
    "a norm of queries alone": (made(both(rms, "Q")), RMS, NORM, "The keys are not normalised."),
    "a norm of keys alone": (made(both(rms, "K")), RMS, NORM, "The queries are not normalised."),
    "a norm over the tokens": (
        made(both(lambda x: rms(x, -2))),
        RMS,
        NORM,
        "Lengths are taken over the tokens, not over the width of a head.",
    ),
    "a norm over the heads": (
        made(both(lambda x: rms(x, -3))),
        RMS | HEADS,
        NORM,
        "Lengths are taken over the heads, not over the width of one.",
    ),
    "a norm of all heads": (
        made(both(all_heads)),
        RMS | HEADS,
        NORM,
        "Lengths are taken over all heads together, not over the width of one.",
    ),
    "a norm of all tokens": (
        made(both(lambda x: rms(x, (-2, -1)))),
        RMS,
        NORM,
        "Lengths are taken over all tokens together, not over each.",
    ),
    "a norm of one head": (
        made(both(rms)),
        {"qk_norm": "rms all heads", **HEADS},
        NORM,
        "Lengths are taken over the width of one head, not over all heads together.",
    ),
    "keys by the norm of queries": (made(of_the_query), RMS, NORM, "Keys are divided by the norm of queries."),
    "the norm of another row": (
        made(other_row),
        RMS,
        NORM,
        "A score is divided by the norm of another row: that of the key in the query's own place, not of its own key.",
    ),
    "a norm of keys and values": (with_values("K"), RMS, NORM, "Values are normalised, and queries are not."),
    "a norm of queries and values": (with_values("Q"), RMS, NORM, "Values are normalised, and keys are not."),
    "a norm of values": (with_values(), RMS, NORM, "Values are normalised, and neither queries nor keys are."),
    "a declared norm without its weights": (
        made(both(rms)),
        {"qk_norm": weighted},
        NORM,
        "Rows are divided by their root mean square, and that is all: weights that were declared are left out.",
    ),
    "another declared norm": (
        made(both(unit)),
        {"qk_norm": weighted},
        NORM,
        "Rows are divided by their length, and that is all: weights that were declared are left out.",
    ),
    "other pairs of columns": (
        made(in_pairs([(0, 4), (1, 5)], [1.0, 0.1])),
        {"positions": "rotary share=0.5", **EIGHT},
        "positions",
        "Other columns are pairs: 0 with 4, 1 with 5, not 0 with 2, 1 with 3.",
    ),
    "other pairs of columns in a window": (
        made(in_pairs([(0, 4), (1, 5)], [1.0, 0.1]), near=window(1)),
        {"positions": "rotary share=0.5", "window": 1, **EIGHT},
        "positions",
        "Other columns are pairs: 0 with 4, 1 with 5, not 0 with 2, 1 with 3.",
    ),
    "frequencies one pair late": (
        made(in_pairs([(0, 4), (1, 5), (2, 6), (3, 7)], [3.0, 1.0, 0.1, 0.01])),
        ROTARY | EIGHT,
        "positions",
        "Pairs turn by 3, 1, 0.1, 0.01 a place, not by 1, 0.1, 0.01, 0.001. Each has the frequency of the pair before"
        " it.",
    ),
    "frequencies one pair early": (
        made(in_pairs([(0, 4), (1, 5), (2, 6), (3, 7)], [0.1, 0.01, 0.001, 0.5])),
        ROTARY | EIGHT,
        "positions",
        "Pairs turn by 0.1, 0.01, 0.001, 0.5 a place, not by 1, 0.1, 0.01, 0.001. Each has the frequency of the pair"
        " after it.",
    ),
    "numbers of other distances": (
        made(bias=nearly),
        ALIBI,
        "positions",
        "What is added for places is another: it is another number for each distance.",
    ),
    "numbers of other distances ahead": (
        made(bias=ahead_alone),
        ALIBI,
        "positions",
        "What is added for places is another for keys ahead; for those behind, it is as declared.",
    ),
    "numbers of other distances behind": (
        made(bias=behind_alone),
        ALIBI,
        "positions",
        "What is added for places is another for keys behind; for those ahead, it is as declared.",
    ),
    "numbers of other places": (
        made(bias=lambda scores: buckets(scores) + of_places(scores)),
        TABLE,
        "positions",
        "What is added for places is another in 4 of 5 rows, as for query 1.",
    ),
    "lost for the last query": (
        but_in(sloping(), made(), -2, 4),
        ALIBI,
        "positions",
        "Places do not count: nothing is added for them. So it is for the last query alone.",
    ),
    "lost for two queries": (
        but_in(sloping(), made(), -2, 1, 2),
        ALIBI,
        "positions",
        "Places do not count: nothing is added for them. So it is for queries 1, 2 alone.",
    ),
    "lost in a head": (
        but_in(made(bend=cap(5.0)), made(), -3, 2),
        {"softcap": 5.0, **HEADS},
        "soft cap",
        "Scores are not capped. So it is in head 2 alone.",
    ),
    "lost in a sequence": (
        but_in(made(both(rms)), made(), 0, 1),
        RMS,
        NORM,
        "Queries and keys are not normalised. So it is in sequence 1 alone.",
    ),
    "lost for several queries": (
        unless_one(made(bend=cap(5.0)), made()),
        {"softcap": 5.0},
        "soft cap",
        "Scores are not capped. With one query it is as declared.",
    ),
    "one query turned in a head alone": (
        but_in(made(rotary()), made(rotary(of="K")), -3, 1, 2),
        ROTARY | HEADS,
        "positions",
        "Queries are not turned. So it is in heads 1, 2 alone.",
    ),
    "its own tangent": (
        made(bend=its_own(5.0)),
        {"softcap": 5.0},
        "soft cap",
        "The tangent of s/c is multiplied by s, not by c.",
    ),
    "sinks that are scaled": (
        made(share=with_sink([s / 8**0.5 for s in SINKS])),
        {"sink": SINKS, **EIGHT},
        "sink",
        "The sink is multiplied by the scale, as products are.",
    ),
    "other sinks": (
        made(share=with_sink([0.7, 0.1, -0.3, 1.25])),
        {"sink": SINKS},
        "sink",
        "The sinks are 0.7, 0.1, -0.3, 1.25, not 0.5, -1, 0.25, 2.",
    ),
    "another sink": (
        made(share=with_sink(0.7)),
        {"sink": 0.25},
        "sink",
        "The sink is 0.7, not 0.25.",
    ),
    "blocks for a window": (
        made(bias=in_blocks(3)),
        {"window": 2},
        "window",
        "Keys are seen in blocks of 3, not in a band.",
    ),
    "odd keys for a window": (
        made(bias=odd_keys),
        {"window": 2},
        "window",
        "Other keys are seen: of 6, the queries see 4 4 4 4 4 4.",
    ),
    "no root": (
        made(both(square)),
        RMS,
        NORM,
        "Rows are divided by the square of their length: the root is missing.",
    ),
    "root mean squares for lengths": (
        made(both(rms), factor=lambda *_: 10.0),
        {"qk_norm": "l2", "scale": 10.0},
        NORM,
        "Rows are divided by their root mean square, which is another norm.",
    ),
    "cosines by the norm of another row, of an unknown factor": (
        made(lambda Q, K: other_row(Q, K, unit_of), factor=lambda *_: 7.0),
        {"qk_norm": "l2"},
        NORM,
        "A score is divided by the norm of another row: that of the key in the query's own place, not of its own key.",
    ),
    "a norm after the rotation": (
        made(normed_late),
        RMS | ROTARY | EIGHT,
        NORM,
        "Queries and keys are normalised after they are turned, not before they are turned.",
    ),
    "a norm before the rotation": (
        made(normed_early),
        {"qk_norm": "rms after"} | ROTARY | EIGHT,
        NORM,
        "Queries and keys are normalised before they are turned, not after they are turned.",
    ),
    "rotary, unscaled": (made(rotary(), factor=lambda *_: 1.0), ROTARY, "scale", "Scores are not scaled."),
    "no features": (made(), LINEAR, FEATURES, "It is softmax of products, and not products of features."),
    "features, not divided": (featured(divided=False), LINEAR, FEATURES, "Weights are not divided by their sum."),
    "features, divided": (
        featured(),
        {"linear": "elu+1", "normalised": False},
        FEATURES,
        "Weights are divided by their sum.",
    ),
    "features of queries alone": (
        featured(positive, torch.relu),
        {"linear": torch.relu},
        FEATURES,
        "Queries have another feature map; keys have that declared.",
    ),
    "features of keys alone": (
        featured(positive, lambda x: x.exp() + x.square()),
        LINEAR,
        FEATURES,
        "Keys have another feature map; queries have that declared.",
    ),
    "features of neither": (
        featured(lambda x: x.square() + 0.1, lambda x: x.exp() + x.square()),
        LINEAR,
        "known form",
        "It is not what was declared. It looks like one with products of features for weights (linear attention).",
    ),
    "no features of keys": (
        featured(keys=lambda x: x),
        LINEAR,
        FEATURES,
        "Keys have no feature map: they are as they come.",
    ),
    "no features of queries": (
        featured(queries=lambda x: x),
        LINEAR,
        FEATURES,
        "Queries have no feature map: they are as they come.",
    ),
    "other features": (
        featured(torch.exp, torch.exp),
        LINEAR,
        FEATURES,
        "The features are those of exp, which is another map.",
    ),
    "a sum over hidden keys": (
        featured(open_sum=True),
        LINEAR,
        FEATURES,
        "Weights are divided by the sum over all keys, hidden ones included.",
    ),
    "windows that are filled up": (
        in_windows(5, 4, 2, 3, filled=True),
        {"picture": (5, 4, (2, 3))},
        "window",
        "Windows at the edge are filled up, and what fills them is seen.",
    ),
    "a picture read by columns": (
        in_windows(5, 4, 2, 3, by_columns=True),
        {"picture": (5, 4, (2, 3))},
        "window",
        "Rows and columns of the picture are taken for each other.",
    ),
    "a picture turned": (
        in_windows(4, 5, 2, 3),
        {"picture": (5, 4, (2, 3))},
        "window",
        "Rows are counted by the height of the picture, not by its width.",
    ),
    "a window turned": (
        in_windows(5, 4, 3, 2),
        {"picture": (5, 4, (2, 3))},
        "window",
        "The height and the width of the window are taken for each other.",
    ),
    "a larger window": (
        in_windows(4, 6, 3, 3),
        {"picture": (4, 6, 2)},
        "window",
        "The window is one larger to each side.",
    ),
    "a window of whole rows": (
        in_windows(4, 6, 2, 6),
        {"picture": (4, 6, 2)},
        "window",
        "The window is as wide as the picture.",
    ),
    "a window of whole columns": (
        in_windows(4, 6, 4, 2),
        {"picture": (4, 6, 2)},
        "window",
        "The window is as high as the picture.",
    ),
    "narrow windows in the next row": (
        numbered(lambda i, j: i // 2 * 1 + j // 3),
        {"picture": (5, 4, (2, 3))},
        "window",
        "The last windows in a row are counted with the first in the next: the width of the picture is divided"
        " by theirs, and rounded down.",
    ),
    "windows that begin before the picture": (
        numbered(lambda i, j: (i + 1) // 2 * 2 + (j + 2) // 3),
        {"picture": (5, 4, (2, 3))},
        "window",
        "The picture is filled up in front of its first pixel, not behind its last: other pixels share a window.",
    ),
    "windows round each pixel for blocks": (
        around(5, 7, 1, 1, 1, 1),
        {"picture": (5, 7, 3)},
        "window",
        "Each pixel sees a window round itself, and not its block.",
    ),
    "blocks for windows round each pixel": (
        in_windows(5, 7, 3, 3),
        NEAR,
        "window",
        "The picture is cut into blocks: no window is round its pixel.",
    ),
    "windows round each pixel, filled up": (
        around(5, 7, 1, 1, 1, 1, filled=True),
        NEAR,
        "window",
        "Windows at the edge are filled up, and what fills them is seen.",
    ),
    "windows round each pixel, wrapped": (
        around(5, 7, 1, 1, 1, 1, closed=True),
        NEAR,
        "window",
        "The picture is closed to a ring: a window goes on at the opposite border.",
    ),
    "windows round each pixel, through the rows": (
        around(5, 7, 1, 1, 1, 1, flat=True),
        NEAR,
        "window",
        "Where a row of the picture ends, a window goes on in the next.",
    ),
    "windows round each pixel, cut for shifted": (
        around(5, 7, 1, 1, 1, 1),
        SHIFTED,
        "window",
        "Windows are cut at the border of the picture, not shifted to stay whole.",
    ),
    "windows round each pixel, shifted for cut": (
        around(5, 7, 1, 1, 1, 1, whole=True),
        NEAR,
        "window",
        "Windows are shifted at the border of the picture to stay whole, not cut.",
    ),
    "windows round each pixel, larger": (
        around(5, 7, 2, 2, 2, 2),
        NEAR,
        "window",
        "The window is one larger to each side.",
    ),
    "shifted windows, smaller": (
        around(5, 7, 1, 1, 1, 1, whole=True),
        {"picture": (5, 7, 5, "shifted")},
        "window",
        "The window is one smaller to each side.",
    ),
    "windows round each pixel, turned": (
        around(5, 7, 2, 2, 1, 1),
        {"picture": (5, 7, (3, 5), "cut")},
        "window",
        "The height and the width of the window are taken for each other.",
    ),
    "windows round each pixel, of whole rows": (
        around(5, 7, 1, 1, 6, 6),
        NEAR,
        "window",
        "The window is as wide as the picture.",
    ),
    "windows round each pixel, of a picture turned": (
        around(7, 5, 1, 1, 2, 2),
        {"picture": (5, 7, (3, 5), "cut")},
        "window",
        "Rows are counted by the height of the picture, not by its width.",
    ),
    **{
        f"windows round each pixel, {said}": (around(5, 7, *sides), NEAR, "window", f"One {said}.")
        for said, sides in {
            "row too many is seen above the pixel": (2, 1, 1, 1),
            "row too few is seen below the pixel": (1, 0, 1, 1),
            "column too few is seen on the right of the pixel": (1, 1, 1, 0),
            "column too many is seen on the left of the pixel": (1, 1, 2, 1),
            "row too many is seen above and below the pixel": (2, 2, 1, 1),
            "column too few is seen on both sides of the pixel": (1, 1, 0, 0),
        }.items()
    },
    "no windows": (in_windows(4, 6, 4, 6), {"picture": (4, 6, 2)}, "window", "Windows hide nothing."),
    "documents that see each other": (
        lambda Q, K, V, mask=None, numbers=None: made()(Q, K, V, mask),
        PACKED,
        "documents",
        "Documents see each other: their numbers have no effect.",
    ),
    "documents that see those before": (
        documented(lambda queries, keys: queries >= keys),
        PACKED,
        "documents",
        "Documents see those before them: numbers are compared by order.",
    ),
    "the first sequence's documents": (
        documented(lambda queries, keys: queries[:1] == keys[:1]),
        PACKED,
        "documents",
        "All sequences have the documents of the first.",
    ),
    "documents turned over": (
        documented(lambda queries, keys: (queries != keys) | (keys.amax() == 0)),
        PACKED,
        "documents",
        "Documents see each other, and not themselves.",
    ),
    "documents a token too long": (
        documented(beside_the_end),
        PACKED,
        "documents",
        "Documents see the token beside their end.",
    ),
    "documents that see each other, of an unknown form": (
        lambda Q, K, V, mask=None, numbers=None: made(bend=cap(5.0))(Q, K, V, mask),
        PACKED,
        "documents",
        "Documents see each other.",
    ),
    "documents of chance": (
        documented(lambda queries, keys: (queries + keys) % 3 != 1),
        PACKED,
        "documents",
        "Documents act in no known way.",
    ),
}
