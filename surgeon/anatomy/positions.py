"""Where order comes in: at the tokens, at queries and keys, or at the scores.

Attention compares what tokens are, and not where they stand. Each scheme
here tells it where, by changing one of the things that `QKᵀ` is made of:

- `Sinusoidal` adds a vector for each place to the tokens;
- `Rotary` turns queries and keys by angles that grow with the place;
- `Alibi` and `DistanceBias` add a number for each distance to the scores.
"""

import math
from typing import Literal

import torch
from torch import Tensor, nn

from surgeon.anatomy.precision import at_least_float32
from surgeon.arguments import natural_number, positive_integer, truth

Pairs = Literal["halves", "neighbours"]
PAIRS = ("halves", "neighbours")


def sinusoidal(
    places: Tensor, width: int, *, base: float = 10_000.0
) -> Tensor:
    r"""A vector for each place: waves, from short ones to long ones.

    .. math::

        p_{t, 2i} = \sin(\omega_i t), \qquad
        p_{t, 2i+1} = \cos(\omega_i t), \qquad
        \omega_i = \mathrm{base}^{-2i / \mathrm{width}}

    The product of two of them depends on their distance alone,
    :math:`p_t \cdot p_s = \sum_i \cos(\omega_i (t - s))`.

    Parameters
    ----------
    places : Tensor
        Places `t`, [..., T].
    width : int
        Even number of columns.
    base : float
        The longest wave is nearly `2 * pi * base` tokens long.

    Returns
    -------
    Tensor
        [..., T, width], float32, or float64 if the places are.

    Raises
    ------
    ValueError
        If `places` is no tensor of real numbers, if `width` is no even
        integer of at least 2, or if `base` is not above 1.

    Notes
    -----
    Source: vaswani2017, section 3.5 (book/references.bib).

    Examples
    --------
    >>> sinusoidal(torch.arange(2), 4)
    tensor([[0.0000, 1.0000, 0.0000, 1.0000],
            [0.8415, 0.5403, 0.0100, 0.9999]])
    """
    dtype = torch.promote_types(checked(places).dtype, torch.float32)
    frequencies = rotary_frequencies(
        width, base=base, dtype=dtype, device=places.device
    )
    angles = rotary_angles(places, frequencies)  # [..., T, width / 2]
    return torch.stack([angles.sin(), angles.cos()], -1).flatten(-2)


def rotary_frequencies(
    width: int,
    *,
    base: float = 10_000.0,
    stretch: float = 1.0,
    dtype: torch.dtype = torch.float32,
    device: str | torch.device = "cpu",
) -> Tensor:
    r"""How far each pair of columns turns from one place to the next.

    .. math:: \omega_i = \frac{1}{\mathrm{stretch}}\,
              \mathrm{base}^{-2i / \mathrm{width}}

    Parameters
    ----------
    width : int
        Even number of columns; two of them are a pair.
    base : float
        The larger, the slower the last pairs turn.
    stretch : float
        Longer texts are read as if their places stood closer, as if each
        were divided by `stretch` (position interpolation).
    dtype, device
        Of the result.

    Returns
    -------
    Tensor
        Radians a place, [width / 2], the fastest first.

    Raises
    ------
    ValueError
        If `width` is no even integer of at least 2, if `base` is not above
        1, or if `stretch` is not positive.

    Notes
    -----
    Source: su2021 (rotary), chen2023 (stretching) (book/references.bib).

    Examples
    --------
    >>> rotary_frequencies(4)
    tensor([1.0000, 0.0100])
    """
    if positive_integer("width", width) % 2:
        raise ValueError(f"width must be even, got {width}.")
    if not 1 < base < math.inf:
        raise ValueError(f"base must be finite and above 1, got {base!r}.")
    if not 0 < stretch < math.inf:
        raise ValueError(
            f"stretch must be positive and finite, got {stretch!r}."
        )
    even = torch.arange(0, width, 2, dtype=dtype, device=device)
    return base ** (-even / width) / stretch


def rotary_angles(places: Tensor, frequencies: Tensor) -> Tensor:
    """By how much each pair of columns is turned at each place.

    Parameters
    ----------
    places : Tensor
        [..., T].
    frequencies : Tensor
        Radians a place, [n].

    Returns
    -------
    Tensor
        Radians, [..., T, n].

    Raises
    ------
    ValueError
        If `places` is no tensor of real numbers.

    Examples
    --------
    >>> rotary_angles(torch.arange(3), torch.tensor([1.0, 0.25]))
    tensor([[0.0000, 0.0000],
            [1.0000, 0.2500],
            [2.0000, 0.5000]])
    """
    return checked(places)[..., None] * frequencies


def rotate(x: Tensor, angles: Tensor, *, pairs: Pairs = "halves") -> Tensor:
    r"""Turn pairs of columns, each by its own angle.

    .. math::

        (a, b) \to (a \cos\theta - b \sin\theta,\;
                    a \sin\theta + b \cos\theta)

    Lengths stay, and a product :math:`q \cdot k` depends on the difference
    of the two angles alone.

    Parameters
    ----------
    x : Tensor
        [..., T, d].
    angles : Tensor
        Radians, [..., T, n], n at most d / 2: one for each pair. The first
        2 n columns are turned, and the others left alone.
    pairs : str
        Which columns are a pair: "halves" (column i and column i + n, as in
        Llama and GPT-NeoX) or "neighbours" (2 i and 2 i + 1, as in the paper
        and GPT-J). A model needs the one that it was trained with.

    Returns
    -------
    Tensor
        [..., T, d], in the precision of `x`.

    Raises
    ------
    ValueError
        If there are more angles than pairs of columns, or if `pairs` is
        neither word.

    Notes
    -----
    Half precision is computed in float32. Source: su2021
    (book/references.bib).

    Examples
    --------
    A quarter of a turn:

    >>> quarter = torch.tensor([[torch.pi / 2]])
    >>> rotate(torch.tensor([[3.0, 1.0]]), quarter)
    tensor([[-1.0000,  3.0000]])
    """
    check_pairs(pairs)
    n = angles.shape[-1]
    if 2 * n > x.shape[-1]:
        raise ValueError(
            f"angles must be at most one for two columns of x"
            f" ({x.shape[-1]}), got {n}."
        )
    turned, rest = (
        x[..., : 2 * n].to(at_least_float32(x.dtype)),
        x[..., 2 * n :],
    )
    cos, sin = angles.cos(), angles.sin()

    # 1. The columns in pairs (a, b), each [..., T, n].
    if pairs == "halves":
        a, b = turned[..., :n], turned[..., n:]
    else:
        a, b = turned[..., 0::2], turned[..., 1::2]
    # 2. Each pair is turned by its angle.
    a, b = a * cos - b * sin, a * sin + b * cos
    # 3. Back where they were.
    if pairs == "halves":
        turned = torch.cat([a, b], -1)
    else:
        turned = torch.stack([a, b], -1).flatten(-2)
    return torch.cat([turned.to(x.dtype), rest], -1)


def rotary(
    x: Tensor,
    places: Tensor | None = None,
    *,
    offset: int = 0,
    base: float = 10_000.0,
    stretch: float = 1.0,
    share: float = 1.0,
    pairs: Pairs = "halves",
    frequencies: Tensor | None = None,
) -> Tensor:
    r"""Turn queries or keys by where their tokens stand.

    .. math:: (R_t q) \cdot (R_s k) = q \cdot (R_{s - t}\, k)

    Parameters
    ----------
    x : Tensor
        Queries or keys, [..., T, d].
    places : Tensor, optional
        Of the tokens, [..., T]. `offset`, `offset + 1`, ... if not given.
    offset : int
        The place of the first token, where `places` does not say: with a
        cache, the number of tokens in it.
    base, stretch
        As `rotary_frequencies` takes them.
    share : float
        How much of the width is turned, in (0, 1]; `share * d` columns, an
        even number.
    pairs : str
        As `rotate` takes it.
    frequencies : Tensor, optional
        Radians a place, [n], for the first 2 n columns, in place of what
        `base`, `stretch` and `share` give.

    Returns
    -------
    Tensor
        [..., T, d], in the precision of `x`.

    Raises
    ------
    ValueError
        If `x` is no floating tensor [..., T, d], if `places` is no tensor of
        real numbers for its tokens, if `offset` is no integer of at least 0,
        if `share` does not give an even number of columns, or as
        `rotary_frequencies` and `rotate`.

    Notes
    -----
    Source: su2021 (book/references.bib).

    Examples
    --------
    >>> rotary(torch.tensor([[1.0, 0.0], [1.0, 0.0]]))
    tensor([[1.0000, 0.0000],
            [0.5403, 0.8415]])
    """
    if not isinstance(x, Tensor) or not x.is_floating_point() or x.ndim < 2:
        tensor = isinstance(x, Tensor)
        got = f"{x.dtype} {list(x.shape)}" if tensor else type(x).__name__
        raise ValueError(
            f"x must be a floating-point tensor [..., tokens, width], got"
            f" {got}."
        )
    T, d = x.shape[-2:]
    working = at_least_float32(x.dtype)
    if places is None:
        offset = natural_number("offset", offset)
        places = torch.arange(offset, offset + T, device=x.device)
    elif checked(places).ndim < 1 or places.shape[-1] not in (1, T):
        raise ValueError(
            f"places must be one for each of {T} tokens, got shape"
            f" {list(places.shape)}."
        )
    if frequencies is None:
        frequencies = rotary_frequencies(
            turned_columns(share, d),
            base=base,
            stretch=stretch,
            dtype=working,
            device=x.device,
        )
    angles = rotary_angles(places, frequencies.to(x.device, working))
    return rotate(x, angles, pairs=pairs)


def turned_columns(share: float, width: int) -> int:
    """How many columns of a width a share of it is: an even number."""
    columns = round(share * width) if 0 < share <= 1 else 0
    if columns < 2 or columns % 2:
        raise ValueError(
            "share must be in (0, 1] and give an even number of columns of"
            f" {width}, got {share!r}."
        )
    return columns


def alibi_slopes(num_heads: int) -> Tensor:
    r"""How much each head's scores fall from one token to the next.

    .. math:: m_h = 2^{-8h / H}, \qquad h = 1 \dots H

    for a number of heads that is a power of two; for others, the slopes of
    the next smaller power, and every second one of the next larger.

    Parameters
    ----------
    num_heads : int
        Number of heads `H`, at least 1.

    Returns
    -------
    Tensor
        float32 [H].

    Raises
    ------
    ValueError
        If `num_heads` is no positive integer.

    Notes
    -----
    Source: press2022 (book/references.bib).

    Examples
    --------
    >>> alibi_slopes(4)
    tensor([0.2500, 0.0625, 0.0156, 0.0039])
    """
    H = positive_integer("num_heads", num_heads)
    power = 2 ** (H.bit_length() - 1)
    steps = [8 * h / power for h in range(1, power + 1)]
    steps += [4 * h / power for h in range(1, 2 * power, 2)][: H - power]
    slopes = [2**-step for step in steps]
    return torch.tensor(slopes, dtype=torch.float32, device="cpu")


def alibi(num_heads: int, queries: Tensor, keys: Tensor) -> Tensor:
    r"""What distance takes from each head's scores.

    .. math:: -m_h\, |t - s|

    Parameters
    ----------
    num_heads : int
        Number of heads `H`.
    queries, keys : Tensor
        Places `t`, [..., T], and `s`, [..., S].

    Returns
    -------
    Tensor
        To be added to the scores, [..., H, T, S].

    Raises
    ------
    ValueError
        If `num_heads` is no positive integer, or if places are no tensors of
        real numbers.

    Notes
    -----
    The paper's texts are causal, and the sign of the distance does not
    matter there; here it is symmetric. Source: press2022
    (book/references.bib).

    Examples
    --------
    >>> alibi(2, torch.tensor([2]), torch.arange(3))
    tensor([[[-0.1250, -0.0625,  0.0000]],
    <BLANKLINE>
            [[-0.0078, -0.0039,  0.0000]]])
    """
    slopes = alibi_slopes(num_heads).to(queries.device)[:, None, None]
    far = distances(queries, keys).abs()
    return slopes * -far[..., None, :, :]


def distances(queries: Tensor, keys: Tensor) -> Tensor:
    """How far keys lie ahead of queries, `s - t`.

    [..., T] and [..., S] to [..., T, S]; behind is negative.
    """
    return checked(keys)[..., None, :] - checked(queries)[..., :, None]


def distance_buckets(
    distance: Tensor,
    *,
    num_buckets: int = 32,
    max_distance: int = 128,
    causal: bool = False,
) -> Tensor:
    """Distances sorted into buckets: near ones alone, far ones together.

    Half of the buckets are for one distance each, from 0; the other half
    grow like a logarithm up to `max_distance`, and the last takes all that
    lies beyond.

    Parameters
    ----------
    distance : Tensor
        Integers, keys ahead of queries; behind is negative.
    num_buckets : int
        How many buckets, at least 4. If both directions are told apart, each
        has half of them.
    max_distance : int
        From here on, all distances share a bucket; more than a direction has
        buckets for single distances.
    causal : bool
        Whether all that lies ahead goes to bucket 0, and all buckets are for
        what lies behind.

    Returns
    -------
    Tensor
        int64, as `distance`, from 0 to `num_buckets` - 1.

    Raises
    ------
    ValueError
        If `num_buckets` is no integer of at least 4 (a multiple of 4, unless
        `causal`), if `max_distance` is too small, or if `causal` is no
        boolean.

    Notes
    -----
    Source: raffel2020 (T5), and its published code (book/references.bib).

    Examples
    --------
    >>> far = -torch.tensor([0, 1, 2, 3, 4, 8, 16, 1000])
    >>> distance_buckets(far, num_buckets=8, max_distance=16, causal=True)
    tensor([0, 1, 2, 3, 4, 6, 7, 7])
    """
    num_buckets = positive_integer("num_buckets", num_buckets)
    causal = truth("causal", causal)
    if num_buckets < 4 or num_buckets % (2 if causal else 4):
        raise ValueError(
            "num_buckets must be a multiple of 4 (of 2, and at least 4, if"
            f" causal), got {num_buckets}."
        )
    each = num_buckets if causal else num_buckets // 2
    single = each // 2
    if positive_integer("max_distance", max_distance) <= single:
        raise ValueError(
            f"max_distance must be more than {single}, got {max_distance}."
        )
    ahead = torch.zeros_like(distance) if causal else (distance > 0) * each
    far = (-distance).clamp(min=0) if causal else distance.abs()
    grown = torch.log(far.clamp(min=1).float() / single)
    grown = grown / math.log(max_distance / single) * (each - single)
    shared = (single + grown.long()).clamp(max=each - 1)
    return ahead + torch.where(far < single, far, shared)


def count_places(real: Tensor) -> Tensor:
    """Places counted from the first real token, whatever padding precedes.

    Parameters
    ----------
    real : Tensor
        Boolean [..., T], True where a token is no padding.

    Returns
    -------
    Tensor
        int64 [..., T]: real tokens are 0, 1, 2, ...; padding has the place of
        the last real token before it, or 0.

    Raises
    ------
    ValueError
        If `real` is no boolean tensor with an axis.

    Examples
    --------
    >>> count_places(torch.tensor([False, False, True, True, True]))
    tensor([0, 0, 0, 1, 2])
    """
    boolean = isinstance(real, Tensor) and real.dtype == torch.bool
    if not boolean or real.ndim < 1:
        got = real.dtype if isinstance(real, Tensor) else type(real).__name__
        raise ValueError(
            f"real must be a boolean tensor [..., tokens], got {got}."
        )
    return (real.long().cumsum(-1) - 1).clamp(min=0)


class Positions(nn.Module):
    """What a scheme may change; this one changes nothing.

    `MultiHeadAttention` asks all three, in this order. Places are [T], or
    [B, T] where sequences of a batch have their own.
    """

    def add(self, x: Tensor, places: Tensor) -> Tensor:
        """The tokens, [B, T, d_model], told where they stand."""
        return x

    def turn(self, x: Tensor, places: Tensor) -> Tensor:
        """Queries or keys, [B, H, T, d], told where they stand."""
        return x

    def bias(self, queries: Tensor, keys: Tensor) -> Tensor | None:
        """What is added to scores, [H, T, S] or [B, H, T, S]; or None."""
        return None


class Sinusoidal(Positions):
    """Waves added to the tokens, as `sinusoidal` makes them.

    Parameters
    ----------
    amplitude : float
        Height of the waves. The paper adds waves of height 1 to embeddings
        times the root of their width.
    base : float
        As `sinusoidal` takes it.

    Raises
    ------
    ValueError
        When it is used, as `sinusoidal`.

    Notes
    -----
    Source: vaswani2017 (book/references.bib).

    Examples
    --------
    >>> x = torch.zeros(1, 3, 2)
    >>> Sinusoidal().add(x, torch.arange(3))
    tensor([[[ 0.0000,  1.0000],
             [ 0.8415,  0.5403],
             [ 0.9093, -0.4161]]])
    """

    def __init__(
        self, amplitude: float = 1.0, *, base: float = 10_000.0
    ) -> None:
        super().__init__()
        self.amplitude, self.base = amplitude, base

    def add(self, x: Tensor, places: Tensor) -> Tensor:
        """`x` and the waves of its places."""
        places = places.to(at_least_float32(x.dtype))
        waves = sinusoidal(places, x.shape[-1], base=self.base)
        return x + (self.amplitude * waves).to(x.dtype)


class Rotary(Positions):
    """Queries and keys turned by their places, as `rotary` turns them.

    Parameters
    ----------
    base, stretch, share, pairs, frequencies
        As `rotary` takes them.

    Raises
    ------
    ValueError
        If `pairs` is neither word; all else when it is used, as `rotary`.

    Notes
    -----
    Keys go into a cache turned, and are not turned again. Source: su2021
    (book/references.bib).

    Examples
    --------
    >>> q = torch.tensor([[[[1.0, 0.0], [1.0, 0.0]]]])
    >>> Rotary().turn(q, torch.tensor([0, 1]))
    tensor([[[[1.0000, 0.0000],
              [0.5403, 0.8415]]]])
    """

    frequencies: Tensor | None

    def __init__(
        self,
        *,
        base: float = 10_000.0,
        stretch: float = 1.0,
        share: float = 1.0,
        pairs: Pairs = "halves",
        frequencies: Tensor | None = None,
    ) -> None:
        super().__init__()
        check_pairs(pairs)
        self.base, self.stretch, self.share = base, stretch, share
        self.pairs = pairs
        self.register_buffer("frequencies", frequencies, persistent=False)

    def turn(self, x: Tensor, places: Tensor) -> Tensor:
        """Queries or keys, turned."""
        return rotary(
            x,
            for_heads(places),
            base=self.base,
            stretch=self.stretch,
            share=self.share,
            pairs=self.pairs,
            frequencies=self.frequencies,
        )


class Alibi(Positions):
    """Scores lowered by distance, in each head at its own slope.

    Parameters
    ----------
    num_heads : int
        Number of query heads.

    Raises
    ------
    ValueError
        If `num_heads` is no positive integer.

    Notes
    -----
    Source: press2022 (book/references.bib).

    Examples
    --------
    >>> Alibi(1).bias(torch.tensor([1]), torch.arange(2)) * 2**8
    tensor([[[-1., 0.]]])
    """

    def __init__(self, num_heads: int) -> None:
        super().__init__()
        self.num_heads = positive_integer("num_heads", num_heads)

    def bias(self, queries: Tensor, keys: Tensor) -> Tensor:
        """As `alibi` has it."""
        return alibi(self.num_heads, queries, keys)


class DistanceBias(Positions):
    """A learned number for each head and each bucket of distances.

    Parameters
    ----------
    num_heads : int
        Number of query heads.
    num_buckets, max_distance, causal
        As `distance_buckets` takes them.

    Raises
    ------
    ValueError
        As `distance_buckets`, or if `num_heads` is no positive integer.

    Notes
    -----
    `table` [num_buckets, num_heads] starts at zero: at first, no distance
    counts. Source: raffel2020 (T5) (book/references.bib).

    Examples
    --------
    >>> scheme = DistanceBias(3)
    >>> list(scheme.bias(torch.arange(5), torch.arange(7)).shape)
    [3, 5, 7]
    """

    def __init__(
        self,
        num_heads: int,
        *,
        num_buckets: int = 32,
        max_distance: int = 128,
        causal: bool = False,
    ) -> None:
        super().__init__()
        H = positive_integer("num_heads", num_heads)
        self.num_buckets, self.max_distance = num_buckets, max_distance
        self.causal = causal
        self.bucket(torch.zeros(1, dtype=torch.int64, device="cpu"))
        self.table = nn.Parameter(torch.zeros(num_buckets, H))

    def bucket(self, distance: Tensor) -> Tensor:
        """The bucket of each distance."""
        return distance_buckets(
            distance,
            num_buckets=self.num_buckets,
            max_distance=self.max_distance,
            causal=self.causal,
        )

    def bias(self, queries: Tensor, keys: Tensor) -> Tensor:
        """The learned number of each distance, [..., H, T, S]."""
        bucket = self.bucket(distances(queries, keys))  # [..., T, S]
        return self.table[bucket].movedim(-1, -3)


def for_heads(places: Tensor) -> Tensor:
    """Places of a batch, [B, T], as heads read them: [B, 1, T]."""
    return places if places.ndim < 2 else places.unsqueeze(-2)


def checked(places: Tensor) -> Tensor:
    """The places, if they are a tensor of real numbers; or a ValueError."""
    tensor = isinstance(places, Tensor)
    if not tensor or places.dtype == torch.bool or places.is_complex():
        got = places.dtype if tensor else type(places).__name__
        raise ValueError(
            f"places must be a tensor of real numbers, got {got}."
        )
    return places


def check_pairs(pairs: str) -> None:
    """Raise a ValueError if this is no way to pair columns."""
    if pairs not in PAIRS:
        raise ValueError(
            f"pairs must be one of {', '.join(PAIRS)}, got {pairs!r}."
        )
