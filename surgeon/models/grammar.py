"""English-looking text with every bound on a model's loss known exactly."""

import math

import torch
from torch import Tensor

from surgeon.arguments import positive_integer
from surgeon.models.automaton import Automaton


class Grammar(Automaton):
    r"""An automaton, with what can be known of its texts.

    What a text cost, whether it is grammatical, and the least loss that any
    model can have, from the distribution of its next word.

    Parameters
    ----------
    rules, slip
        As `surgeon.models.automaton.Automaton` takes them.

    Examples
    --------
    >>> toss = {"heads": ("tossed", 1), "tails": ("tossed", 1)}
    >>> rules = {"start": toss, "tossed": {".": ("start", 1)}}

    Every other word is a full stop, and no surprise:

    >>> round(Grammar(rules, slip=0).entropy_rate() / math.log(2), 9)
    0.5
    """

    def nll(self, tokens: Tensor) -> Tensor:
        r"""What each word costs, :math:`-\log P(w_t \mid s_{t-1})`, in nats.

        This is the exact negative log-likelihood of every word but the first.

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
        One determiner in two, one noun in six:

        >>> from surgeon.models.english import english_grammar
        >>> grammar = english_grammar(slip=0)
        >>> grammar.nll(grammar.encode(". the nurse")).exp()
        tensor([2., 6.], dtype=torch.float64)
        """
        before = self.follow(tokens)[..., :-1]
        told = self.probabilities.to(tokens.device)[before, tokens[..., 1:]]
        return -torch.log(told)

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
        Cut short as well, since it still has no verb:

        >>> from surgeon.models.english import english_grammar
        >>> grammar = english_grammar()
        >>> grammar.strays(grammar.encode(". the nurse wait ."))
        tensor([False, False,  True,  True])
        """
        before = self.follow(tokens)[..., :-1]
        return self.stray.to(tokens.device)[before, tokens[..., 1:]]

    def judge(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """How many sentences a text has, and how many are grammatical.

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
        stray = self.strays(tokens).long()
        ends = (tokens[..., 1:] == 0).long()
        # full stops before the word: which sentence it is in
        sentence = ends.cumsum(-1) - ends
        zeros = torch.zeros_like(ends)
        strays = zeros.scatter_add(-1, sentence, stray)
        sizes = zeros.scatter_add(-1, sentence, torch.ones_like(ends))
        begins = sizes.cumsum(-1) - sizes
        counted = (sizes > 0) & (begins + longest <= T)
        # with room and no stray word, it has ended
        grammatical = counted & (strays == 0)
        return counted.sum(-1), grammatical.sum(-1)

    def longest_sentence(self) -> float:
        """Words in the longest grammatical sentence, "." included.

        Infinite where the rules have a loop.
        """
        n = len(self.states)
        reached = torch.arange(n, device="cpu") == 0
        for length in range(1, n + 1):
            going_on = reached[:, None] & ~self.stray
            going_on[:, 0] = False
            reached = torch.zeros_like(reached)
            reached[self.next_state[going_on]] = True
            if not reached.any():
                return length
        return math.inf

    def grammatical_share(self) -> float:
        """Exact probability that a sentence has no stray word.

        Solves ``share(s) = P(".", allowed | s) + sum over other allowed words
        of P(w | s) share(next state)``.
        """
        allowed = self.probabilities.masked_fill(self.stray, 0.0)
        going_on = self._between(self.next_state[:, 1:], allowed[:, 1:])
        share = torch.linalg.solve(_one(going_on) - going_on, allowed[:, 0])
        return share[0].item()

    def stationary(self) -> Tensor:
        """Share of time that a long text spends in each state.

        float64 [states]: the `p` with `p = p T` and sum 1.
        """
        T = self._between(self.next_state, self.probabilities)
        equations = torch.cat([T.mT - _one(T), torch.ones_like(T[:1])])
        right = torch.zeros_like(equations[:, :1])
        right[-1] = 1
        return torch.linalg.lstsq(equations, right).solution.squeeze(-1)

    def entropy_rate(self) -> float:
        r"""The least mean loss on an endless text, in nats a word.

        .. math:: \sum_s p(s)\, H(P(\cdot \mid s))
        """
        return (self.stationary() @ entropy(self.probabilities)).item()

    def best_loss(self, length: int) -> float:
        r"""The least expected loss, a word, of any model that looks back.

        It predicts each word of a text from all the words before it:

        .. math:: \frac{1}{T} \sum_{t=0}^{T-1} \sum_s p_t(s)\,
                  H(P(\cdot \mid s)), \qquad p_0 = \text{start}

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
        """`best_loss` of each word of a text by itself, float64 [length]."""
        states = self._joint(length).sum(1)  # [T, states]
        return states @ entropy(self.probabilities)

    def one_word_loss(
        self, length: int | None = None, *, position: bool = False
    ) -> float:
        r"""The least expected loss of any model that sees one word alone.

        The current word is all that it knows: :math:`H(w_{t+1} \mid w_t)`, a
        word.

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
        >>> counting = grammar.one_word_loss(24, position=True)
        >>> grammar.best_loss(24) < counting < grammar.one_word_loss(24)
        True
        """
        if length is None and position:
            raise ValueError(
                "length must be given with position, since an endless text"
                " has no average position, got None."
            )
        if length is None:
            joint = self._step(self.stationary())[None]
        else:
            joint = self._joint(length)  # [T, V, states]
        if not position:
            joint = joint.mean(0, keepdim=True)
        word = joint.sum(-1)  # [T, V]
        both = joint @ self.probabilities  # P(word, next), [T, V, V]
        following = both / word.clamp_min(1e-300)[..., None]  # P(next | word)
        return (word * entropy(following)).sum(-1).mean().item()

    def _between(self, next_state: Tensor, chances: Tensor) -> Tensor:
        """The chances of words, added up by the states that they lead to."""
        n = len(self.states)
        return chances.new_zeros(n, n).scatter_add(1, next_state, chances)

    def _joint(self, length: int) -> Tensor:
        """What was said last and what state it led to, word by word.

        Their joint distribution before each of `length` words, [T, V,
        states].
        """
        T = positive_integer("length", length)
        shape = T, len(self.words), len(self.states)
        joint = self.probabilities.new_zeros(shape)
        joint[0, 0, 0] = 1  # a full stop, a sentence begins
        for t in range(1, T):
            joint[t] = self._step(joint[t - 1].sum(0))
        return joint

    def _step(self, states: Tensor) -> Tensor:
        """From a distribution over states to the next of `_joint`.

        [states] -> [V, states].
        """
        spoken = (states[:, None] * self.probabilities).mT  # [V, states]
        nowhere = torch.zeros_like(spoken)
        return nowhere.scatter_add(1, self.next_state.mT, spoken)


def entropy(probabilities: Tensor) -> Tensor:
    r"""Shannon's entropy of each row, in nats; [..., V] -> [...].

    .. math:: -\sum_w p_w \log p_w
    """
    return -torch.xlogy(probabilities, probabilities).sum(-1)


def _one(square: Tensor) -> Tensor:
    """The identity matrix, like that one."""
    return torch.ones_like(square[0]).diag()
