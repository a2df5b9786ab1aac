"""A small transformer language model that looks through our attention."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from surgeon.anatomy.cache import KeyValueCache
from surgeon.anatomy.heads import MultiHeadAttention
from surgeon.anatomy.masks import create_causal_mask
from surgeon.anatomy.positions import Positions, Sinusoidal, checked
from surgeon.anatomy.softmax import log_sum_exp, stable_softmax
from surgeon.arguments import check_seed, generator_from, positive_integer
from surgeon.models.automaton import check_tokens

# from a number of tokens to their mask; None hides nothing
MaskOf = Callable[[int], Tensor | None]


class Block(nn.Module):
    """One layer: tokens look at each other, then each thinks for itself.

    What comes out of either is added to what was there.

    Parameters
    ----------
    d_model, num_heads : int
        Width of the tokens, and number of heads.
    scale : bool
        Whether scores are divided by the square root of the heads' width.
    positions, sink
        As `MultiHeadAttention` takes them.
    """

    def __init__(
        self,
        d_model: int,
        num_heads: int,
        *,
        scale: bool = True,
        positions: Positions | None = None,
        sink: bool | float | None = None,
    ) -> None:
        super().__init__()
        self.norm_1 = nn.LayerNorm(d_model)
        self.attention = MultiHeadAttention(
            d_model, num_heads, scale=scale, sink=sink, positions=positions
        )
        self.norm_2 = nn.LayerNorm(d_model)
        self.mlp = nn.Sequential(
            nn.Linear(d_model, 4 * d_model),
            nn.GELU(),
            nn.Linear(4 * d_model, d_model),
        )

    def forward(
        self,
        x: Tensor,
        mask: Tensor | None = None,
        cache: KeyValueCache | None = None,
        places: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """[B, T, d_model] to the same, and the weights [B, H, T, S]."""
        # what takes the attention's place need not know of either
        given = {"cache": cache, "places": places}
        told = {name: x for name, x in given.items() if x is not None}
        looked, weights = self.attention(self.norm_1(x), mask=mask, **told)
        x = x + looked
        return x + self.mlp(self.norm_2(x)), weights


class TransformerLM(nn.Module):
    """A language model: scores for every word that may come next.

    Nothing in it knows which way the text runs. What a position may see is
    the mask's business alone. Where a word stands, `positions` tells it: once
    at the input, where a scheme adds to the tokens, or in every layer.

    Parameters
    ----------
    vocab_size : int
        Number of words `V`.
    max_len : int
        Number of positions it knows, the longest text it can read.
    d_model, num_heads, num_layers : int
        Width of the tokens, heads a layer, layers.
    scale : bool
        Whether scores are divided by the square root of the heads' width.
    positions : Positions or str or None
        "learned", a vector for each place up to `max_len`; a scheme of
        `surgeon.anatomy.positions`, which all layers share; or None, and
        words are told apart by what they are alone.
    sink : bool or float, optional
        As `MultiHeadAttention` takes it.

    Raises
    ------
    ValueError
        If a size is not a positive integer, if `num_heads` does not divide
        `d_model`, if `positions` is none of these, or if `sink` is no boolean
        and no finite number.

    Notes
    -----
    Its initial weights come from PyTorch's global generator, as every
    module's do; `make_model` leaves that untouched.
    """

    def __init__(
        self,
        vocab_size: int,
        max_len: int,
        *,
        d_model: int = 48,
        num_heads: int = 4,
        num_layers: int = 2,
        scale: bool = True,
        positions: Positions | str | None = "learned",
        sink: bool | float | None = None,
    ) -> None:
        super().__init__()
        self.vocab_size = positive_integer("vocab_size", vocab_size)
        self.max_len = positive_integer("max_len", max_len)
        d_model = positive_integer("d_model", d_model)
        num_layers = positive_integer("num_layers", num_layers)
        self.word = nn.Embedding(self.vocab_size, d_model)
        learned = nn.Embedding(self.max_len, d_model)
        scheme = checked_scheme(positions)
        self.has_places = positions is not None
        self.added = scheme if isinstance(scheme, Sinusoidal) else None
        in_layers = None if self.added else scheme
        self.has_places_in_layers = in_layers is not None
        self.blocks = nn.ModuleList(
            Block(
                d_model,
                num_heads,
                scale=scale,
                positions=in_layers,
                sink=sink,
            )
            for _ in range(num_layers)
        )
        self.norm = nn.LayerNorm(d_model)
        self.unembed = nn.Linear(d_model, self.vocab_size)
        # PyTorch's spread of 1 would drown what the first layers add to it
        for table in (self.word, learned):
            nn.init.normal_(table.weight, std=0.1)
        # drawn by all, so that models that differ in nothing else start alike
        self.position = learned if positions == "learned" else None

    def forward(
        self,
        tokens: Tensor,
        mask: Tensor | None = None,
        *,
        places: Tensor | None = None,
        caches: Sequence[KeyValueCache] | None = None,
    ) -> tuple[Tensor, list[Tensor]]:
        """Read texts, and score the words that may follow each token.

        Parameters
        ----------
        tokens : Tensor
            int64 [B, T].
        mask : Tensor, optional
            [T, T], or any other that `MultiHeadAttention` reads; without it,
            everyone sees everything.
        places : Tensor, optional
            Where the S tokens stand, int64 [S] or [B, S]: with caches, those
            that came before are the first. 0, 1, 2, ... if not given.
        caches : sequence of KeyValueCache, optional
            One for each layer: the tokens follow those that it holds, and the
            model is causal.

        Returns
        -------
        logits : Tensor
            [B, T, V]: scores for the token at `t + 1`, told at `t`.
        weights : list of Tensor
            Attention weights, [B, H, T, S] a layer.

        Raises
        ------
        ValueError
            If the tokens are no int64 tensor [B, T] from 0 to `vocab_size` -
            1, if there are none or more than `max_len`, if the mask or the
            places do not fit, if learned places do not lie from 0 to
            `max_len` - 1, or if there are not as many caches as layers.
        """
        check_tokens(tokens, self.vocab_size)
        if tokens.ndim != 2 or not 1 <= tokens.shape[1] <= self.max_len:
            raise ValueError(
                "tokens must have shape [B, T] with T from 1 to"
                f" {self.max_len}, got {list(tokens.shape)}."
            )
        kept = one_for_each(caches, len(self.blocks))
        told = places if self.has_places_in_layers else None
        places = self.check_places(tokens, places, kept[0])
        here = places[..., -tokens.shape[1] :]
        x = self.word(tokens)  # [B, T, d_model]
        if self.position is not None:
            x = x + self.position(here)
        if self.added is not None:
            x = self.added.add(x, here)
        weights = []
        for block, cache in zip(self.blocks, kept, strict=True):
            x, looked_at = block(x, mask, cache, told)
            weights.append(looked_at)
        return self.unembed(self.norm(x)), weights

    def check_places(
        self,
        tokens: Tensor,
        places: Tensor | None,
        cache: KeyValueCache | None,
    ) -> Tensor:
        """The tokens' places, [S] or [B, S]; a ValueError if they misfit."""
        S = tokens.shape[1] + (0 if cache is None else len(cache))
        if places is None:
            places = torch.arange(S, device=tokens.device)
        elif not self.has_places:
            raise ValueError(
                "places must come with a model that has positions, got some"
                " for one that has none."
            )
        if checked(places).shape not in ((S,), (len(tokens), S)):
            raise ValueError(
                f"places must have shape [{S}] or {[len(tokens), S]}, got"
                f" {list(places.shape)}."
            )
        if self.position is None:
            return places
        if places.is_floating_point():
            raise ValueError(
                "places must be integers, which find learned ones, got"
                f" {places.dtype}."
            )
        first, last = int(places.min()), int(places.max())
        if first < 0 or last >= self.max_len:
            raise ValueError(
                f"places must lie between 0 and {self.max_len - 1}, got"
                f" {first if first < 0 else last}."
            )
        return places.long()


def one_for_each(
    caches: Sequence[KeyValueCache] | None, layers: int
) -> Sequence[KeyValueCache | None]:
    """One cache or None for each layer; a ValueError if they misfit."""
    if caches is None:
        return [None] * layers
    if len(caches) != layers:
        raise ValueError(
            f"caches must be one for each of the {layers} layers, got"
            f" {len(caches)}."
        )
    return caches


def checked_scheme(positions: Positions | str | None) -> Positions | None:
    """The scheme, None for "learned" and None; otherwise a ValueError."""
    if positions is None or isinstance(positions, Positions):
        return positions
    if positions != "learned":
        raise ValueError(
            'positions must be "learned", None, or a scheme of'
            f" surgeon.anatomy.positions, got {positions!r}."
        )
    return None


def make_model(
    vocab_size: int,
    max_len: int,
    *,
    d_model: int = 48,
    num_heads: int = 4,
    num_layers: int = 2,
    scale: bool = True,
    positions: Positions | str | None = "learned",
    sink: bool | float | None = None,
    seed: int = 0,
) -> TransformerLM:
    """A `TransformerLM` whose initial weights depend on `seed` alone.

    It is made without touching PyTorch's global generator.

    Parameters
    ----------
    vocab_size, max_len, d_model, num_heads, num_layers : int
    scale, positions, sink
        As `TransformerLM` takes them.
    seed : int
        The same seed and sizes give the same weights.

    Returns
    -------
    TransformerLM

    Raises
    ------
    ValueError
        As `TransformerLM`, or if `seed` is not an integer from 0 to
        2**32 - 1.

    Examples
    --------
    >>> model = make_model(vocab_size=7, max_len=5, d_model=12, num_heads=3)
    >>> tokens, mask = torch.tensor([[0, 6, 2]]), create_causal_mask(3)
    >>> logits, weights = model(tokens, mask)
    >>> list(logits.shape), [list(layer.shape) for layer in weights]
    ([1, 3, 7], [[1, 3, 3, 3], [1, 3, 3, 3]])
    """
    seed = check_seed(seed)
    # modules draw from the global generator: seed it, and put it back
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        return TransformerLM(
            vocab_size,
            max_len,
            d_model=d_model,
            num_heads=num_heads,
            num_layers=num_layers,
            scale=scale,
            positions=positions,
            sink=sink,
        )


def losses(logits: Tensor, targets: Tensor) -> Tensor:
    r"""Loss of each prediction, in nats.

    .. math:: -\log \mathrm{softmax}(z)_w = \log \sum_v e^{z_v} - z_w

    Parameters
    ----------
    logits : Tensor
        Scores `z`, [..., V].
    targets : Tensor
        The words `w` that came, int64 [...].

    Returns
    -------
    Tensor
        [...], at least float32.

    Raises
    ------
    ValueError
        If the shapes disagree, or a target is no index into the vocabulary.

    Examples
    --------
    Undecided between four:

    >>> losses(torch.zeros(2, 4), torch.tensor([0, 3])).exp()
    tensor([4., 4.])
    """
    if logits.shape[:-1] != targets.shape:
        expected = list(logits.shape[:-1])
        raise ValueError(
            "targets must have the shape of logits but for the last axis,"
            f" {expected}, got {list(targets.shape)}."
        )
    check_tokens(targets, logits.shape[-1])
    came = logits.gather(-1, targets[..., None]).squeeze(-1)
    return log_sum_exp(logits) - came


def cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    """Mean of `losses`, a tensor without axes."""
    return losses(logits, targets).mean()


@torch.no_grad()
def predict(
    model: TransformerLM, prefix: Tensor, mask_of: MaskOf = create_causal_mask
) -> Tensor:
    """Score the next word when the prefix is all there is.

    Its last position tells, under the mask for its length.

    Parameters
    ----------
    model : TransformerLM
        What predicts.
    prefix : Tensor
        int64 [B, T], T at least 1.
    mask_of : callable
        From a number of tokens to their mask, or to None; the one that the
        model was trained with.

    Returns
    -------
    Tensor
        Logits [B, V].

    Raises
    ------
    ValueError
        If the prefix is no [B, T] with at least one token, or as the model's
        `forward`.
    """
    _check_prefix(prefix)
    mask = mask_of(prefix.shape[1])
    mask = None if mask is None else mask.to(prefix.device)
    logits, _ = model(prefix, mask)
    return logits[:, -1]


def generate(
    model: TransformerLM,
    prefix: Tensor,
    steps: int,
    mask_of: MaskOf = create_causal_mask,
    *,
    seed: int | torch.Generator = 0,
) -> Tensor:
    """Let the model write: draw a word, append it, ask again.

    Parameters
    ----------
    model : TransformerLM
        What writes.
    prefix : Tensor
        int64 [B, P]: what has been written before, at least one token.
    steps : int
        Number of words to write.
    mask_of : callable
        As `predict` takes it.
    seed : int or torch.Generator
        Where the randomness comes from.

    Returns
    -------
    Tensor
        int64 [B, P + steps], the prefix included.

    Raises
    ------
    ValueError
        If `steps` is not a positive integer, if the text would outgrow the
        model's positions, or as `predict`.

    Examples
    --------
    >>> model = make_model(vocab_size=7, max_len=5)
    >>> list(generate(model, torch.zeros(3, 1, dtype=torch.int64), 4).shape)
    [3, 5]
    """
    generator = generator_from(seed)
    _check_prefix(prefix)
    # the last word is written and not read
    room = model.max_len + 1 - prefix.shape[1]
    steps = positive_integer("steps", steps)
    if steps > room:
        raise ValueError(
            f"steps must be at most {room} after a prefix of"
            f" {prefix.shape[1]} tokens, got {steps}."
        )
    text = prefix
    for _ in range(steps):
        chances = stable_softmax(predict(model, text, mask_of))
        chances = chances.to(generator.device)
        word = torch.multinomial(chances, 1, generator=generator)
        # [B, P + 1], [B, P + 2], ...
        text = torch.cat([text, word.to(text.device)], dim=-1)
    return text


def _check_prefix(prefix: Tensor) -> None:
    if prefix.ndim != 2 or prefix.shape[1] < 1:
        raise ValueError(
            "prefix must have shape [B, T] with at least one token each, got"
            f" {list(prefix.shape)}."
        )
