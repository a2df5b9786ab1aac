"""A source of English-looking text whose next-word distribution is known exactly, and with it every bound on a loss."""

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from surgeon.arguments import generator_from, positive_integer, probability

STOP, START = (
    ".",
    "start",
)  # the word that ends a sentence, and the state that it leads to

Rules = Mapping[str, Mapping[str, tuple[str, float]]]


class Grammar:
    r"""A stochastic automaton: in each state some words may follow, each with a probability, each leading to a state.

    State and word determine the next state, so a text that begins with a
    sentence has one state after every word, and the distribution of its next
    word is known. So that no text is impossible, the source slips:

    .. math:: P(w \mid s) = (1 - \varepsilon)\, G(w \mid s) + \varepsilon / V

    with `G` the rules and `V` the number of words. A word that the rules do
    not allow is *stray*: it leaves the state as it was, unless it is ".",
    which always ends the sentence.

    Parameters
    ----------
    rules : mapping
        ``{state: {word: (next state, weight)}}``; in each state the weights
        are divided by their sum. A sentence begins in the state "start",
        where "." leads and no other word does.
    slip : float
        Probability :math:`\varepsilon`, in [0, 1), with which a word is drawn
        uniformly from the vocabulary instead.

    Attributes
    ----------
    words, states : tuple of str
        The vocabulary, "." first, and the states, "start" first. A token is
        an index into `words`.
    probabilities : Tensor
        :math:`P(w \mid s)`, float64 [states, V].
    next_state : Tensor
        Where a word leads, int64 [states, V].
    stray : Tensor
        Whether the rules forbid a word, boolean [states, V].

    Raises
    ------
    ValueError
        If a state of the rules is empty, unknown or cut off from "start", if
        a weight is not positive, if "." leads elsewhere or another word leads
        to "start", or if `slip` is outside [0, 1).

    Examples
    --------
    >>> toss = {"start": {"heads": ("tossed", 1), "tails": ("tossed", 1)}, "tossed": {".": ("start", 1)}}
    >>> round(Grammar(toss, slip=0).entropy_rate() / math.log(2), 9)  # every other word is a full stop: no surprise
    0.5
    """

    def __init__(self, rules: Rules, *, slip: float = 0.01) -> None:
        _check_rules(rules)
        self.slip = probability("slip", slip)
        self.states = (START, *(state for state in rules if state != START))
        self.words = tuple(
            dict.fromkeys(
                [
                    STOP,
                    *(word for state in self.states for word in rules[state]),
                ]
            )
        )
        n, V = len(self.states), len(self.words)
        allowed = torch.zeros(n, V, dtype=torch.float64)  # G(w | s)
        self.next_state = torch.arange(n)[:, None].repeat(
            1, V
        )  # a stray word changes nothing,
        self.next_state[:, 0] = 0  # unless it is the full stop
        for s, state in enumerate(self.states):
            total = sum(weight for _, weight in rules[state].values())
            for word, (following, weight) in rules[state].items():
                w = self.words.index(word)
                allowed[s, w] = weight / total
                self.next_state[s, w] = self.states.index(following)
        self.stray = allowed == 0
        self.probabilities = (1 - slip) * allowed + slip / V

    def encode(self, text: str) -> Tensor:
        """Words to tokens.

        Parameters
        ----------
        text : str
            Words of the vocabulary between spaces; a full stop may touch the
            word before it.

        Returns
        -------
        Tensor
            int64 [number of words].

        Raises
        ------
        ValueError
            If a word is not in the vocabulary.
        """
        words = text.replace(STOP, f" {STOP} ").split()
        for word in words:
            if word not in self.words:
                raise ValueError(
                    f"text must be made of the grammar's {len(self.words)}"
                    f" words, got {word!r}."
                )
        return torch.tensor(
            [self.words.index(word) for word in words], dtype=torch.int64
        )

    def decode(self, tokens: Tensor | Sequence[int]) -> str:
        """Tokens to words.

        Parameters
        ----------
        tokens : Tensor or sequence of int
            One text, [number of words].

        Returns
        -------
        str
            The words with spaces between them, and none before a full stop.

        Raises
        ------
        ValueError
            If a token is no index into the vocabulary, or there is more than
            one axis.

        Examples
        --------
        >>> from surgeon.models.english import english_grammar
        >>> grammar = english_grammar()
        >>> grammar.decode(grammar.encode("some nurses near the surgeon wait ."))
        'some nurses near the surgeon wait.'
        """
        ids = torch.as_tensor(tokens)
        if ids.ndim != 1:
            raise ValueError(
                "tokens must be one text, with one axis, got shape"
                f" {list(ids.shape)}."
            )
        check_tokens(ids, len(self.words))
        return " ".join(self.words[i] for i in ids.tolist()).replace(
            f" {STOP}", STOP
        )

    def sample(
        self, num_sequences: int, length: int, seed: int | torch.Generator = 0
    ) -> Tensor:
        """Texts that begin with a sentence.

        Parameters
        ----------
        num_sequences, length : int
            How many texts `B`, and how many words `T` each has after the full
            stop that it begins with.
        seed : int or torch.Generator
            Where the randomness comes from.

        Returns
        -------
        Tensor
            int64 [B, 1 + T]; the first column is "." throughout.

        Raises
        ------
        ValueError
            If a number is not a positive integer, or the seed neither a
            generator nor an integer from 0 to 2**32 - 1.
        """
        B, T = (
            positive_integer("num_sequences", num_sequences),
            positive_integer("length", length),
        )
        generator = generator_from(seed)
        cumulative = self.probabilities.cumsum(-1)
        cumulative = (
            cumulative / cumulative[:, -1:]
        )  # ends in exactly 1, above every number drawn
        tokens = torch.zeros(B, 1 + T, dtype=torch.int64)
        state = torch.zeros(B, dtype=torch.int64)
        for t in range(1, 1 + T):
            drawn = torch.rand(B, 1, generator=generator, dtype=torch.float64)
            tokens[:, t] = torch.searchsorted(
                cumulative[state], drawn, right=True
            ).squeeze(-1)
            state = self.next_state[state, tokens[:, t]]
        return tokens

    def follow(self, tokens: Tensor) -> Tensor:
        """The state after each word: ``probabilities[follow(tokens)]`` is what may come next, and how likely it is.

        Parameters
        ----------
        tokens : Tensor
            int64 [..., 1 + T], each text beginning with ".", as `sample`
            gives them.

        Returns
        -------
        Tensor
            int64 [..., 1 + T], indices into `states`.

        Raises
        ------
        ValueError
            If a token is no index into the vocabulary, or a text does not
            begin with ".".
        """
        check_tokens(tokens, len(self.words))
        if (
            tokens.ndim < 1
            or tokens.shape[-1] < 1
            or (tokens[..., 0] != 0).any()
        ):
            raise ValueError(
                f"tokens must begin with {STOP!r} (token 0), so that a"
                " sentence begins, got a text that does not."
            )
        states = torch.zeros_like(tokens)
        for t in range(1, tokens.shape[-1]):
            states[..., t] = self.next_state[
                states[..., t - 1], tokens[..., t]
            ]
        return states

    def nll(self, tokens: Tensor) -> Tensor:
        r"""Exact negative log-likelihood, :math:`-\log P(w_t \mid s_{t-1})`, of each word after the first, in nats.

        Parameters
        ----------
        tokens : Tensor
            int64 [..., 1 + T], each text beginning with ".".

        Returns
        -------
        Tensor
            float64 [..., T]; infinite only where `slip` is 0 and the word is
            stray.

        Raises
        ------
        ValueError
            As `follow`.

        Examples
        --------
        >>> from surgeon.models.english import english_grammar
        >>> grammar = english_grammar(slip=0)
        >>> grammar.nll(grammar.encode(". the nurse")).exp()  # one determiner in two, one noun in six
        tensor([2., 6.], dtype=torch.float64)
        """
        before = self.follow(tokens)[..., :-1]
        return -torch.log(self.probabilities[before, tokens[..., 1:]])

    def strays(self, tokens: Tensor) -> Tensor:
        """Which words after the first the rules forbid where they stand.

        Parameters
        ----------
        tokens : Tensor
            int64 [..., 1 + T], each text beginning with ".".

        Returns
        -------
        Tensor
            Boolean [..., T].

        Raises
        ------
        ValueError
            As `follow`.

        Examples
        --------
        >>> from surgeon.models.english import english_grammar
        >>> grammar = english_grammar()
        >>> grammar.strays(grammar.encode(". the nurse wait ."))  # cut short as well: it still has no verb
        tensor([False, False,  True,  True])
        """
        before = self.follow(tokens)[..., :-1]
        return self.stray[before, tokens[..., 1:]]

    def judge(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """How many sentences each text has, and how many of them are grammatical.

        A sentence ends with ".", and is grammatical if no word of it is
        stray. Only sentences that begin early enough for the longest
        grammatical one to end inside the text are counted, so that no short
        one is favoured: for texts of the source, the expected counts are in
        the ratio `grammatical_share()`.

        Parameters
        ----------
        tokens : Tensor
            int64 [..., 1 + T], each text beginning with ".".

        Returns
        -------
        sentences, grammatical : Tensor
            int64 [...].

        Raises
        ------
        ValueError
            If no grammatical sentence is the longest, if that does not fit
            into `T` words, or as `follow`.
        """
        longest, T = self.longest_sentence(), tokens.shape[-1] - 1
        if longest > T:
            raise ValueError(
                f"tokens must have room for the longest sentence ({longest}"
                f" words), got {T}."
            )
        stray, ends = (
            self.strays(tokens).long(),
            (tokens[..., 1:] == 0).long(),
        )
        sentence = (
            ends.cumsum(-1) - ends
        )  # full stops before the word: which sentence it is in
        zeros = torch.zeros_like(ends)
        strays = zeros.scatter_add(-1, sentence, stray)
        sizes = zeros.scatter_add(-1, sentence, torch.ones_like(ends))
        begins = sizes.cumsum(-1) - sizes
        counted = (sizes > 0) & (begins + longest <= T)
        return counted.sum(-1), (counted & (strays == 0)).sum(
            -1
        )  # with room and no stray word, it has ended

    def longest_sentence(self) -> float:
        """Words in the longest grammatical sentence, "." included; infinite where the rules have a loop."""
        reached = torch.zeros(len(self.states), dtype=torch.bool)
        reached[0] = True
        for length in range(1, len(self.states) + 1):
            going_on = reached[:, None] & ~self.stray
            going_on[:, 0] = False
            reached = torch.zeros_like(reached).index_fill(
                0, self.next_state[going_on], True
            )
            if not reached.any():
                return length
        return math.inf

    def grammatical_share(self) -> float:
        """Exact probability that a sentence of the source has no stray word.

        Solves ``share(s) = P(".", allowed | s) + sum over other allowed words
        of P(w | s) share(next state)``.
        """
        allowed = self.probabilities.masked_fill(self.stray, 0.0)
        n = len(self.states)
        going_on = torch.zeros(n, n, dtype=torch.float64).scatter_add_(
            1, self.next_state[:, 1:], allowed[:, 1:]
        )
        return torch.linalg.solve(
            torch.eye(n, dtype=torch.float64) - going_on, allowed[:, 0]
        )[0].item()

    def stationary(self) -> Tensor:
        """Share of time that a long text spends in each state, float64 [states]: the `p` with `p = p T` and sum 1."""
        n = len(self.states)
        transition = torch.zeros(n, n, dtype=torch.float64).scatter_add_(
            1, self.next_state, self.probabilities
        )
        equations = torch.cat(
            [
                transition.mT - torch.eye(n, dtype=torch.float64),
                torch.ones(1, n, dtype=torch.float64),
            ]
        )
        right = torch.zeros(n + 1, 1, dtype=torch.float64)
        right[-1] = 1
        return torch.linalg.lstsq(equations, right).solution.squeeze(-1)

    def entropy_rate(self) -> float:
        r"""The least mean loss on an endless text, :math:`\sum_s p(s) H(P(\cdot \mid s))`, in nats a word."""
        return (self.stationary() @ entropy(self.probabilities)).item()

    def best_loss(self, length: int) -> float:
        r"""The least expected loss, a word, of any model that predicts each word of a text from the words before it.

        .. math:: \frac{1}{T} \sum_{t=0}^{T-1} \sum_s p_t(s)\, H(P(\cdot \mid s)), \qquad p_0 = \text{start}

        Parameters
        ----------
        length : int
            Number `T` of words to be predicted, from a sentence's start.

        Returns
        -------
        float
            Nats. A model whose expected loss lies below it has seen what it
            was to predict.

        Raises
        ------
        ValueError
            If `length` is not a positive integer.
        """
        return self.best_losses(length).mean().item()

    def best_losses(self, length: int) -> Tensor:
        """`best_loss` position by position: the least expected loss on each word of a text, float64 [length]."""
        return self._joint(length).sum(1) @ entropy(
            self.probabilities
        )  # [T, states] @ [states]

    def one_word_loss(
        self, length: int | None = None, *, position: bool = False
    ) -> float:
        r"""The least expected loss, a word, of any model that sees the current word alone: :math:`H(w_{t+1} \mid w_t)`.

        Parameters
        ----------
        length : int, optional
            Number `T` of words to be predicted, from a sentence's start;
            without it, an endless text.
        position : bool
            Whether that model also knows how many words came before, as one
            with position embeddings does.

        Returns
        -------
        float
            Nats.

        Raises
        ------
        ValueError
            If `length` is not a positive integer, or is missing where
            `position` is asked for.

        Examples
        --------
        >>> from surgeon.models.english import english_grammar
        >>> grammar = english_grammar()
        >>> grammar.best_loss(24) < grammar.one_word_loss(24, position=True) < grammar.one_word_loss(24)
        True
        """
        if length is None and position:
            raise ValueError(
                "length must be given with position, since an endless text"
                " has no average position, got None."
            )
        joint = (
            self._step(self.stationary())[None]
            if length is None
            else self._joint(length)
        )  # [T, V, states]
        if not position:
            joint = joint.mean(0, keepdim=True)
        word = joint.sum(-1)  # [T, V]
        following = (
            joint @ self.probabilities / word.clamp_min(1e-300)[..., None]
        )  # P(next | word), [T, V, V]
        return (word * entropy(following)).sum(-1).mean().item()

    def _joint(self, length: int) -> Tensor:
        """Distribution of the current word and the state after it, before each of `length` words: [T, V, states]."""
        joint = torch.zeros(
            positive_integer("length", length),
            len(self.words),
            len(self.states),
            dtype=torch.float64,
        )
        joint[0, 0, 0] = 1  # a full stop, a sentence begins
        for t in range(1, length):
            joint[t] = self._step(joint[t - 1].sum(0))
        return joint

    def _step(self, states: Tensor) -> Tensor:
        """From a distribution over states, that of the next word and the state it leads to: [states] -> [V, states]."""
        spoken = states[:, None] * self.probabilities  # [states, V]
        return torch.zeros_like(spoken.mT).scatter_add(
            1, self.next_state.mT, spoken.mT
        )


def entropy(probabilities: Tensor) -> Tensor:
    r"""Shannon's entropy of each row, :math:`-\sum_w p_w \log p_w`, in nats; [..., V] -> [...]."""
    return -torch.xlogy(probabilities, probabilities).sum(-1)


def check_tokens(tokens: Tensor, vocab_size: int) -> None:
    """Raise a ValueError unless every token is an integer from 0 to `vocab_size` - 1."""
    if not isinstance(tokens, Tensor) or tokens.dtype != torch.int64:
        got = (
            tokens.dtype
            if isinstance(tokens, Tensor)
            else type(tokens).__name__
        )
        raise ValueError(f"tokens must be an int64 tensor, got {got}.")
    outside = tokens[(tokens < 0) | (tokens >= vocab_size)]
    if len(outside):
        raise ValueError(
            f"tokens must lie between 0 and {vocab_size - 1}, got"
            f" {outside[0].item()}."
        )


def _check_rules(rules: Rules) -> None:
    if START not in rules:
        raise ValueError(
            f"rules must have a state {START!r}, got"
            f" {', '.join(map(repr, rules)) or 'none'}."
        )
    for state, words in rules.items():
        if not words:
            raise ValueError(
                "rules must allow at least one word in every state, got none"
                f" in {state!r}."
            )
        for word, (following, weight) in words.items():
            if following not in rules:
                raise ValueError(
                    "rules must lead to states that they have, got"
                    f" {following!r} after {word!r}."
                )
            if (word == STOP) != (following == START):
                raise ValueError(
                    f"rules must lead to {START!r} by {STOP!r} and by nothing"
                    f" else, got {word!r} to {following!r}."
                )
            if not 0 < weight < math.inf:
                raise ValueError(
                    f"rules must have positive, finite weights, got {weight}"
                    f" for {word!r} in {state!r}."
                )
    forward = {
        state: {following for following, _ in words.values()}
        for state, words in rules.items()
    }
    backward = {
        state: {before for before in rules if state in forward[before]}
        for state in rules
    }
    for edges in (forward, backward):
        reached = [START]
        for state in reached:
            reached += sorted(edges[state] - set(reached))
        for state in rules:
            if state not in reached:
                raise ValueError(
                    f"rules must connect every state with {START!r}, there"
                    f" and back, got {state!r} cut off."
                )
