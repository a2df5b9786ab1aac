"""A trained model that writes, to dissect: SmolLM2 of 135 million numbers."""

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor

from surgeon.anatomy.cache import KeyValueCache
from surgeon.anatomy.softmax import stable_softmax
from surgeon.arguments import (
    generator_from,
    place,
    positive_integer,
    positive_number,
)
from surgeon.models.cuts import Cut
from surgeon.models.decoder import Decoder, Sizes, Step
from surgeon.models.language_model_files import find_model
from surgeon.models.language_model_reading import read_model
from surgeon.models.transformer import losses

if TYPE_CHECKING:
    from tokenizers import Tokenizer

#: What the model reads: a string, or the numbers of tokens.
Text = str | Sequence[int]


class Trace(NamedTuple):
    """What one text left behind in the model, layer by layer."""

    ids: list[int]  #: numbers of its `T` tokens
    tokens: list[str]  #: what they say
    #: the tokens before the first layer and after each, [L + 1, T, D]
    hidden: Tensor
    #: products of the turned queries and keys, times the scale of the cuts,
    #: but not yet scaled or masked, [L, H, T, T]
    scores: Tensor
    weights: Tensor  #: attention weights, [L, H, T, T]
    #: value vectors before any cut, [L, H_kv, T, d_k]; head `h` takes those
    #: of ``h // (H // H_kv)``
    values: Tensor
    logits: Tensor  #: scores for the token after each, [T, vocabulary]


class LanguageModel(Decoder):
    """A model of Llama's kind that reads and writes texts.

    `load` makes a trained one, `untrained` one with random numbers. There is
    no token for the beginning of a text: nothing is said about the first one.

    Parameters
    ----------
    sizes : Sizes
        How large it is.
    tokenizer : tokenizers.Tokenizer, optional
        What cuts texts into tokens. Without one, texts are numbers.
    end : int, optional
        The token after which it writes no more.

    Notes
    -----
    Source: allal2025 (book/references.bib).
    """

    def __init__(
        self,
        sizes: Sizes,
        tokenizer: "Tokenizer | None" = None,
        end: int | None = None,
    ) -> None:
        super().__init__(sizes)
        self.tokenizer, self.end = tokenizer, end

    def tokenize(self, text: Text) -> tuple[list[int], list[str]]:
        """Numbers of a text's tokens, and what each says.

        Parameters
        ----------
        text : str or sequence of int
            Any text, or numbers of tokens.

        Returns
        -------
        ids : list of int
        pieces : list of str
            A character that is cut into several tokens is none of theirs.

        Raises
        ------
        ValueError
            If this is no text, if a number is out of range, or if a model
            without a tokenizer gets a string.
        """
        if isinstance(text, str):
            ids = self._cutter().encode(text).ids
        elif isinstance(text, Sequence):
            count = self.sizes.vocabulary
            given: Sequence[Any] = text
            ids = [place("tokens of text", one, count) for one in given]
        else:
            raise ValueError(
                "text must be a string or a sequence of integers, got"
                f" {type(text).__name__}."
            )
        return ids, [self.decode([one]) for one in ids]

    def decode(self, ids: Sequence[int]) -> str:
        """What tokens say, one after the other.

        Without a tokenizer, their numbers.
        """
        if self.tokenizer is None:
            return " ".join(map(str, ids))
        return self.tokenizer.decode(list(ids), skip_special_tokens=False)

    @torch.no_grad()
    def logits(self, text: Text, *, cuts: Sequence[Cut] = ()) -> Tensor:
        """Scores for the token after each.

        Parameters
        ----------
        text : str or sequence of int
            At least one token.
        cuts : sequence of Cut
            What to change in the attention.

        Returns
        -------
        Tensor
            [T, vocabulary].

        Raises
        ------
        ValueError
            If there is no token, or more than the model was made for, if
            these are no cuts of this model, or if a cut's mask or weights do
            not fit; or as `tokenize`.
        """
        ids, _ = self._read(text)
        return self(ids, cuts)[0]

    @torch.no_grad()
    def trace(self, text: Text, *, cuts: Sequence[Cut] = ()) -> Trace:
        """Everything that a text leaves behind.

        Takes and raises what `logits` does.

        Returns
        -------
        Trace
            ids, tokens, hidden, scores, weights, values, logits.
        """
        ids, tokens = self._read(text)
        x = self.embed(ids)
        steps = list(self.walk(x, cuts))
        each = Step(*map(torch.cat, zip(*steps, strict=True)))
        return Trace(
            ids[0].tolist(),
            tokens,
            torch.cat([x, each.x]),
            each.scores,
            each.weights,
            each.values,
            self.read(each.x[-1]),
        )

    @torch.no_grad()
    def losses(self, text: Text, *, cuts: Sequence[Cut] = ()) -> Tensor:
        """What each token but the first costs, given those before it.

        Takes and raises what `logits` does; a text must have two tokens.

        Returns
        -------
        Tensor
            Nats, [T - 1].
        """
        ids, _ = self._read(text, least=2)
        return losses(self(ids, cuts)[0, :-1], ids[0, 1:])

    def loss(self, text: Text, *, cuts: Sequence[Cut] = ()) -> float:
        """The mean of `losses`, in nats a token."""
        return float(self.losses(text, cuts=cuts).mean())

    @torch.no_grad()
    def generate(
        self,
        prompt: Text,
        steps: int,
        *,
        cuts: Sequence[Cut] = (),
        seed: int | torch.Generator | None = None,
        temperature: float = 1.0,
        cache: bool = True,
    ) -> str:
        """Let the model write on.

        Parameters
        ----------
        prompt : str or sequence of int
            What it writes on from, at least one token.
        steps : int
            Most tokens to write; the one that ends a text ends it earlier.
        cuts : sequence of Cut
            What to change in the attention.
        seed : int or torch.Generator, optional
            Where the randomness comes from. Without it the likeliest token is
            written each time.
        temperature : float
            What the scores are divided by before a token is drawn.
        cache : bool
            Whether keys and values are kept. With a cut that shows the future
            (``causal=False``) they are not: all that stands there is read
            anew for each token.

        Returns
        -------
        str
            What it wrote, without the prompt.

        Raises
        ------
        ValueError
            If `steps` is no positive integer, `temperature` no positive
            number, or `seed` neither; or as `logits`.
        """
        ids, _ = self._read(prompt)
        steps = positive_integer("steps", steps)
        temperature = positive_number("temperature", temperature)
        generator = None if seed is None else generator_from(seed)
        self._check_length(ids.shape[1] + steps - 1)
        caches = None
        if cache and all(cut.causal for cut in cuts):
            capacity = ids.shape[1] + steps
            caches = [KeyValueCache(capacity) for _ in self.layers]
        text, new = ids, ids
        for _ in range(steps):
            read = text if caches is None else new
            # of all that stands there, the last token alone has a next one
            logits = self.read(self.through(read, cuts, caches)[:, -1])
            new = _choose(logits / temperature, generator)
            if new.item() == self.end:
                break
            text = torch.cat([text, new], dim=1)
        return self.decode(text[0, ids.shape[1] :].tolist())

    def _read(self, text: Text, least: int = 1) -> tuple[Tensor, list[str]]:
        """Numbers of tokens [1, T], and what they say."""
        ids, pieces = self.tokenize(text)
        if len(ids) < least:
            raise ValueError(
                f"text must have at least {least} token"
                f"{'s' if least > 1 else ''}, got {len(ids)}."
            )
        self._check_length(len(ids))
        return torch.tensor([ids], device=self.word.weight.device), pieces

    def _check_length(self, tokens: int) -> None:
        if tokens > self.sizes.limit:
            raise ValueError(
                f"text must have at most {self.sizes.limit} tokens, which the"
                f" model was made for, got {tokens}."
            )

    def _cutter(self) -> "Tokenizer":
        if self.tokenizer is None:
            raise ValueError(
                "text must be numbers of tokens for a model without a"
                " tokenizer, got a string."
            )
        return self.tokenizer


def load(place: str | os.PathLike[str] | None = None) -> LanguageModel:
    """SmolLM2-135M-Instruct on the operating table, or a kin of it.

    Parameters
    ----------
    place : path, optional
        A GGUF file, a folder that holds one, or a folder as Hugging Face
        keeps models of Llama's kind. If not given,
        `surgeon.models.language_model_files.find_model` says where the file
        comes from.

    Returns
    -------
    LanguageModel
        On the CPU, in float32, its parameters frozen.

    Raises
    ------
    ValueError
        If a file is missing, is not the one that was published, or holds a
        model of another kind.
    FileNotFoundError
        If nothing was named, installed, kept, or downloaded.

    Examples
    --------
    >>> model = load()
    >>> model.generate("The capital of France is", 2)
    ' Paris.'
    """
    contents = read_model(find_model(place))
    # shapes without numbers: nothing is drawn, and no memory filled
    with torch.device("meta"):
        model = LanguageModel(
            contents.sizes, contents.tokenizer, contents.end
        )
    model.load_state_dict(contents.state, assign=True)
    return model.requires_grad_(False)


def untrained(
    sizes: Sizes, seed: int | torch.Generator = 0, spread: float = 0.02
) -> LanguageModel:
    """A model that has learnt nothing, without a tokenizer.

    Parameters
    ----------
    sizes : Sizes
        How large it is.
    seed : int or torch.Generator
        Where the randomness comes from.
    spread : float
        Standard deviation of the normal numbers in its matrices.

    Returns
    -------
    LanguageModel
        Its parameters frozen, its word vectors also the rows that unembed.

    Raises
    ------
    ValueError
        If `seed` is not an integer from 0 to 2**32 - 1.
    """
    generator = generator_from(seed)
    with torch.device("meta"):
        model = LanguageModel(sizes)
    state = {}
    for name, parameter in model.state_dict().items():
        drawn = torch.empty(
            parameter.shape, dtype=torch.float32, device=generator.device
        )
        drawn.normal_(std=spread, generator=generator)
        state[name] = drawn if drawn.ndim > 1 else torch.ones_like(drawn)
    state["unembed.weight"] = state["word.weight"]
    model.load_state_dict(state, assign=True)
    return model.requires_grad_(False)


def _choose(logits: Tensor, generator: torch.Generator | None) -> Tensor:
    """The likeliest token of each row, or one that is drawn, [B, 1]."""
    if generator is None:
        return logits.argmax(-1, keepdim=True)
    chances = stable_softmax(logits).to(generator.device)
    return torch.multinomial(chances, 1, generator=generator).to(
        logits.device
    )
