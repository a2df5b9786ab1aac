"""A source of text, word by word: a stochastic automaton that slips."""

from collections.abc import Sequence

import torch
from torch import Tensor

from surgeon.arguments import generator_from, positive_integer, probability
from surgeon.models.rules import START, STOP, Rules, check_rules


class Automaton:
    r"""In each state some words may follow, each leading to a state.

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
    """

    def __init__(self, rules: Rules, *, slip: float = 0.01) -> None:
        check_rules(rules)
        self.slip = probability("slip", slip)
        self.states = (START, *(state for state in rules if state != START))
        spoken = (word for state in self.states for word in rules[state])
        self.words = tuple(dict.fromkeys([STOP, *spoken]))  # each once
        n, V = len(self.states), len(self.words)
        allowed = torch.zeros(n, V, dtype=torch.float64, device="cpu")  # G
        # a stray word changes nothing, unless it is the full stop
        here = torch.arange(n, device="cpu")
        self.next_state = here[:, None].repeat(1, V)
        self.next_state[:, 0] = 0
        for s, state in enumerate(self.states):
            total = sum(weight for _, weight in rules[state].values())
            for word, (following, weight) in rules[state].items():
                w = self.words.index(word)
                allowed[s, w] = weight / total
                self.next_state[s, w] = self.states.index(following)
        self.stray = allowed == 0
        self.probabilities = (1 - self.slip) * allowed + self.slip / V

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
        tokens = [self.words.index(word) for word in words]
        return torch.tensor(tokens, dtype=torch.int64, device="cpu")

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
        >>> grammar.decode(grammar.encode("some nurses near a patient ."))
        'some nurses near a patient.'
        """
        ids = torch.as_tensor(tokens, device="cpu")
        if ids.ndim != 1:
            raise ValueError(
                "tokens must be one text, with one axis, got shape"
                f" {list(ids.shape)}."
            )
        check_tokens(ids, len(self.words))
        spaced = " ".join(self.words[i] for i in ids.tolist())
        return spaced.replace(f" {STOP}", STOP)

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
        B = positive_integer("num_sequences", num_sequences)
        T = positive_integer("length", length)
        generator = generator_from(seed)
        cumulative = self.probabilities.cumsum(-1)
        # ends in exactly 1, above every number drawn
        cumulative = cumulative / cumulative[:, -1:]
        tokens = torch.zeros(B, 1 + T, dtype=torch.int64, device="cpu")
        state = tokens[:, 0]
        for t in range(1, 1 + T):
            drawn = torch.rand(
                B,
                1,
                generator=generator,
                dtype=torch.float64,
                device=generator.device,
            )
            word = torch.searchsorted(
                cumulative[state], drawn.cpu(), right=True
            )
            tokens[:, t] = word[:, 0]
            state = self.next_state[state, tokens[:, t]]
        return tokens

    def follow(self, tokens: Tensor) -> Tensor:
        """The state after each word.

        ``probabilities[follow(tokens)]`` is what may come next, and how
        likely it is.

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
        words = tokens.shape[-1] if tokens.ndim else 0
        if words == 0 or (tokens[..., 0] != 0).any():
            raise ValueError(
                f"tokens must begin with {STOP!r} (token 0), so that a"
                " sentence begins, got a text that does not."
            )
        leads = self.next_state.to(tokens.device)
        states = torch.zeros_like(tokens)
        for t in range(1, words):
            states[..., t] = leads[states[..., t - 1], tokens[..., t]]
        return states


def check_tokens(tokens: Tensor, vocab_size: int) -> None:
    """Raise a ValueError unless all are integers in [0, `vocab_size`)."""
    tensor = isinstance(tokens, Tensor)
    if not tensor or tokens.dtype != torch.int64:
        got = tokens.dtype if tensor else type(tokens).__name__
        raise ValueError(f"tokens must be an int64 tensor, got {got}.")
    outside = tokens[(tokens < 0) | (tokens >= vocab_size)]
    if len(outside):
        raise ValueError(
            f"tokens must lie between 0 and {vocab_size - 1}, got"
            f" {outside[0].item()}."
        )
