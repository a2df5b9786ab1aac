"""A trained model cut while it works: does it still tell meanings apart?"""

from collections.abc import Mapping, Sequence
from importlib.resources import files

import numpy as np
import pandas as pd
import torch
from scipy.stats import rankdata
from torch import Tensor

from surgeon.anatomy.masks import create_padding_mask
from surgeon.arguments import generator_from, positive_integer
from surgeon.models.cuts import Cut, WeightsOf, silent
from surgeon.models.encoder import HEADS, LAYERS, pad, pool
from surgeon.models.specimen import Specimen
from surgeon.procedures.topk import topk_mask

GRADES = ("unrelated", "related", "paraphrase")  # in rising order of likeness
MEASURES = ("over_unrelated", "over_related", "spearman", "moved")
# of the bootstrap: what lies between is an interval of 95%
TAILS = (0.025, 0.975)


def load_pairs() -> pd.DataFrame:
    """Forty sentences, each with three others.

    One of them means the same, one is of the same subject, and one of
    another.

    Returns
    -------
    pandas.DataFrame
        120 rows, sorted by topic: `topic` (which of the forty, from 0),
        `grade` (one of `GRADES`), `first`, `second`. They were written for
        this experiment, so that the words do not decide: a paraphrase shares
        few words with its sentence, and what is unrelated shares some.

    Examples
    --------
    >>> load_pairs().loc[[3, 5], ["grade", "second"]].to_numpy().tolist()
    [['unrelated', 'The couple sat on the bank and watched the river.'],
     ['paraphrase', 'Their request for a loan was turned down.']]
    """
    table = files("surgeon.ablations") / "sentence_pairs.csv"
    with table.open(encoding="utf-8") as file:
        wide = pd.read_csv(file)
    rows = [
        {
            "topic": topic,
            "grade": grade,
            "first": row["sentence"],
            "second": row[grade],
        }
        for topic, row in wide.iterrows()
        for grade in GRADES
    ]
    return pd.DataFrame(rows)


def distinct(pairs: pd.DataFrame) -> tuple[list[str], Tensor]:
    """The sentences of pairs, each once, and where each pair's two are.

    Places among the sentences, int64 [2, pairs].
    """
    both = np.concatenate([pairs["first"], pairs["second"]])
    places, sentences = pd.factorize(both)
    return list(sentences), torch.from_numpy(places).view(2, -1)


def embed_pairs(
    specimen: Specimen, pairs: pd.DataFrame, cuts: Sequence[Cut] = ()
) -> Tensor:
    """Vectors of both sentences of each pair, [2, pairs, 384].

    Each sentence is read once.
    """
    sentences, places = distinct(pairs)
    vectors = specimen.encode(sentences, cuts=cuts)
    return vectors[places.to(vectors.device)]


def keep_top(k: int) -> WeightsOf:
    """For `Cut`: each query keeps its `k` largest weights, shared out anew.

    So `surgeon.topk_attention` has it.

    Parameters
    ----------
    k : int
        At least 1.

    Returns
    -------
    callable
        What `Cut` takes for `weights`.

    Raises
    ------
    ValueError
        If `k` is not a positive integer.

    Examples
    --------
    >>> seen = torch.tensor([[True, True, True]])
    >>> keep_top(2)(torch.tensor([[0.1, 0.6, 0.3]]), seen)
    tensor([[0.0000, 0.6667, 0.3333]])
    """
    positive_integer("k", k)

    def kept(weights: Tensor, seen: Tensor) -> Tensor:
        best = weights * topk_mask(weights.masked_fill(~seen, -torch.inf), k)
        total = best.sum(-1, keepdim=True)
        return best / total.masked_fill(
            total == 0, 1.0
        )  # of nothing, nothing

    return kept


def silence_each(specimen: Specimen, sentences: Sequence[str]) -> Tensor:
    """Vectors of sentences with one head silenced, for every head in turn.

    Below the silenced head nothing changes. So the whole model runs once, and
    of each layer's twelve cuts only what lies above runs again, all twelve in
    one batch.

    Parameters
    ----------
    specimen : Specimen
        As `surgeon.models.specimen.load` gives it.
    sentences : sequence of str
        `N` sentences.

    Returns
    -------
    Tensor
        [6, 12, N, 384]: for each layer and head, as ``specimen.encode`` with
        ``cuts=[Cut(layer, head, weights=silent)]``.

    Raises
    ------
    ValueError
        As `Specimen.encode`.
    """
    ids = [ids for ids, _ in specimen.tokenize(sentences)]
    tables = specimen.word.weight
    vectors = tables.new_empty(LAYERS, HEADS, len(ids), tables.shape[1])
    cuts = [Cut(heads=head, weights=silent) for head in range(HEADS)]
    for T in {len(one) for one in ids}:
        # Sentences of one length, so that nothing is padded.
        which = [n for n, one in enumerate(ids) if len(one) == T]
        x = specimen.embed(pad([ids[n] for n in which]))
        real = create_padding_mask([T] * len(which), T, device=x.device)
        for n, layer in enumerate(specimen.layers):
            # 1. This layer once for each head that is cut in it.
            cut = torch.cat([layer(x, real, [one])[0] for one in cuts])
            # 2. What lies above, for all of them at once.
            for above in specimen.layers[n + 1 :]:
                cut, _, _ = above(cut, real.repeat(HEADS, 1, 1), [])
            pooled = pool(cut, [T] * len(cut))
            vectors[n][:, which] = pooled.unflatten(0, (HEADS, -1))
            # 3. This layer whole, for the layers above.
            x, _, _ = layer(x, real, [])
    return vectors


def separation(
    embeddings: Tensor,
    pairs: pd.DataFrame,
    whole: Tensor,
    *,
    beside: Tensor | None = None,
    draws: int = 1000,
    seed: int | torch.Generator = 0,
) -> pd.DataFrame:
    r"""How well the cosines of pairs follow their grades, before and after.

    The share of (paraphrase, other) couples in which the paraphrase has the
    larger cosine, one half of a tie counted, is the area under the ROC curve:
    1 if every paraphrase is above every other pair, one half if chance
    decides.

    Parameters
    ----------
    embeddings : Tensor
        Vectors of length one after a cut, [2, pairs, d], as `embed_pairs`
        gives them.
    pairs : pandas.DataFrame
        As `load_pairs` gives them: of each topic, one pair of each grade.
    whole : Tensor
        The same vectors before the cut.
    beside : Tensor, optional
        What a change is against: `whole`, or the vectors after another cut,
        where one is to be compared with the other.
    draws : int
        Samples of the bootstrap, at least 1. It draws topics, with their
        three pairs; the same before and after the cut, so that a change is
        measured on the same sentences.
    seed : int or torch.Generator
        Of the bootstrap.

    Returns
    -------
    pandas.DataFrame
        One row a measure: `measure`, `value`, `low`, `high` (95% of the
        bootstrap), and `change`, `change_low`, `change_high`, against the
        whole model, or `beside`. The measures: `over_unrelated` and
        `over_related`, the share above for one grade of the others;
        `spearman`, the rank correlation of cosine and grade, which ties of
        the grades keep below 1, and 0 where all cosines are alike; `moved`,
        the mean of one minus the cosine between a sentence's vectors before
        and after.

    Raises
    ------
    ValueError
        If a topic has not one pair of each grade, if the vectors are not [2,
        pairs, d], or as `positive_integer`.

    Notes
    -----
    Source: efron1979 (book/references.bib).
    """
    against = whole if beside is None else beside
    after, before = resampled(
        {"embeddings": embeddings, "beside": against},
        pairs,
        whole,
        draws=draws,
        seed=seed,
    ).values()
    rows = []
    for name in MEASURES:
        value, *values = after[name]
        change, *changes = after[name] - before[name]
        rows.append(
            {
                "measure": name,
                **_interval("", value, values),
                **_interval("change", change, changes),
            }
        )
    return pd.DataFrame(rows)


def resampled(
    cut: Mapping[str, Tensor],
    pairs: pd.DataFrame,
    whole: Tensor,
    *,
    draws: int = 1000,
    seed: int | torch.Generator = 0,
) -> dict[str, dict[str, np.ndarray]]:
    """The measures of `separation` after several cuts, on the same draws.

    Parameters
    ----------
    cut : mapping of str to Tensor
        The vectors after each, as `separation` takes them.
    pairs, whole, draws, seed
        As `separation` takes them.

    Returns
    -------
    dict of dict of array
        Of each cut each measure, [1 + draws]: on the topics as they are, and
        then on each draw of them.

    Raises
    ------
    ValueError
        As `separation`.
    """
    order = _by_grade(pairs)
    for name, vectors in {"whole": whole, **cut}.items():
        if vectors.ndim != 3 or tuple(vectors.shape[:2]) != (2, len(pairs)):
            raise ValueError(
                f"{name} must be of shape [2, {len(pairs)}, d], got"
                f" {list(vectors.shape)}."
            )
    n = order.shape[1]
    draw = generator_from(seed)
    sizes = (positive_integer("draws", draws), n)
    drawn = torch.randint(n, sizes, generator=draw, device=draw.device)
    # First all topics once: the value itself.
    topics = np.concatenate([np.arange(n)[None], drawn.cpu().numpy()])
    return {
        name: _measure(vectors, whole, order, topics)
        for name, vectors in cut.items()
    }


def _interval(
    name: str, value: float, drawn: Sequence[float]
) -> dict[str, float]:
    """A number, and where the middle of its bootstrap begins and ends."""
    low, high = np.quantile(drawn, TAILS)
    if not name:
        return {"value": value, "low": low, "high": high}
    return {name: value, f"{name}_low": low, f"{name}_high": high}


def compare_cuts(
    specimen: Specimen,
    cuts: Mapping[str, Sequence[Cut] | Tensor],
    pairs: pd.DataFrame | None = None,
    whole: Tensor | None = None,
    *,
    draws: int = 1000,
    seed: int = 0,
) -> pd.DataFrame:
    """Make each cut in turn: how well are the grades still told apart?

    Parameters
    ----------
    specimen : Specimen
        As `surgeon.models.specimen.load` gives it.
    cuts : mapping of str to sequence of Cut, or to Tensor
        Names of operations, and what each of them cuts; or, where it is there
        already, ``embed_pairs(specimen, pairs, cuts)``.
    pairs : pandas.DataFrame, optional
        `load_pairs` if not given.
    whole : Tensor, optional
        ``embed_pairs(specimen, pairs)``, if it is there already.
    draws, seed
        As `separation` takes them; every cut is measured on the same draws.

    Returns
    -------
    pandas.DataFrame
        One row an operation and measure: `cut`, and the columns of
        `separation`.

    Raises
    ------
    ValueError
        If there is no cut, or as `separation` and `Specimen.encode`.
    """
    if not cuts:
        raise ValueError("cuts must name at least one operation, got none.")
    pairs = load_pairs() if pairs is None else pairs
    whole = embed_pairs(specimen, pairs) if whole is None else whole
    tables = []
    for name, made in cuts.items():
        if not isinstance(made, Tensor):
            made = embed_pairs(specimen, pairs, made)
        table = separation(made, pairs, whole, draws=draws, seed=seed)
        table.insert(0, "cut", name)
        tables.append(table)
    return pd.concat(tables, ignore_index=True)


def _measure(
    vectors: Tensor, whole: Tensor, order: np.ndarray, drawn: np.ndarray
) -> dict[str, np.ndarray]:
    """Each measure on each draw of topics.

    `order` [3, topics] tells where the pairs of each grade are.
    """
    cosine = _products(*vectors)[order]  # [3, topics]
    sides = np.stack(
        [_products(a, b) for a, b in zip(vectors, whole, strict=True)]
    )
    moved = 1 - sides.mean(0)[order].mean(0)  # [topics]
    # [draws, 3 * topics]
    each = cosine[:, drawn].swapaxes(0, 1).reshape(len(drawn), -1)
    topics = range(order.shape[1])
    times = np.stack([(drawn == topic).sum(1) for topic in topics], axis=1)
    return {
        "over_unrelated": _share_above(cosine[2], cosine[0], times),
        "over_related": _share_above(cosine[2], cosine[1], times),
        "spearman": _rank_correlation(each),
        "moved": moved[drawn].mean(1),
    }


def _products(one: Tensor, other: Tensor) -> np.ndarray:
    """The product of each vector with its partner, [n, d] to [n]."""
    return (one * other).sum(-1).double().cpu().numpy()


def _rank_correlation(cosines: np.ndarray) -> np.ndarray:
    """Spearman's, of cosines [draws, 3 * n] whose grades rise by thirds.

    Cosines that are all alike are in no order: 0.
    """
    ranks = rankdata(cosines, axis=1)
    grades = np.repeat(np.arange(3.0), cosines.shape[1] // 3)
    ranks -= ranks.mean(1, keepdims=True)
    grades -= grades.mean()
    spread = np.sqrt((ranks**2).sum(1) * (grades**2).sum())
    return ranks @ grades / np.where(spread == 0, 1.0, spread)


def _share_above(
    high: np.ndarray, low: np.ndarray, times: np.ndarray
) -> np.ndarray:
    """How often one of `high` is above one of `low`, on each draw.

    `times` [draws, n] tells how often it took each.
    """
    above = (np.sign(high[:, None] - low) + 1) / 2  # [n, n]: 1, a half, or 0
    return ((times @ above) * times).sum(1) / len(high) ** 2


def _by_grade(pairs: pd.DataFrame) -> np.ndarray:
    """Rows of the pairs, by grade and topic, [3, topics]."""
    topic, topics = pd.factorize(pairs["topic"], sort=True)
    grade = pd.Index(GRADES).get_indexer(pd.Index(pairs["grade"]))
    order = np.full((len(GRADES), len(topics)), -1)
    order[grade, topic] = np.arange(len(pairs))
    known, full = (grade >= 0).all(), (order >= 0).all()
    if not (known and full and len(pairs) == order.size):
        raise ValueError(
            f"pairs must hold one pair of each grade ({', '.join(GRADES)})"
            " for every topic."
        )
    return order
