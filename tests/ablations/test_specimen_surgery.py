"""Cuts in the trained model: the pairs that it is asked about, and the numbers that say what it lost."""

import math
import re
from importlib.resources import files

import numpy as np
import pandas as pd
import pytest
import torch
from foreign import foreign_defaults
from scipy.stats import spearmanr

from surgeon.ablations.specimen_surgery import (
    GRADES,
    MEASURES,
    compare_cuts,
    distinct,
    embed_pairs,
    keep_top,
    load_pairs,
    separation,
    silence_each,
)
from surgeon.anatomy.dot_product import dissect
from surgeon.anatomy.masks import create_causal_mask, create_padding_mask
from surgeon.models.cuts import Cut, silent
from surgeon.models.specimen import Specimen, load
from surgeon.procedures.topk import topk_attention, topk_mask

TOPICS, WIDTH = 7, 5


@pytest.fixture(scope="module")
def specimen() -> Specimen:
    return load()


def words(sentence: str) -> set[str]:
    return set(re.findall(r"[a-z'-]+", sentence.lower()))


def overlap(pairs: pd.DataFrame) -> pd.Series:
    both = [(words(a), words(b)) for a, b in zip(pairs["first"], pairs["second"], strict=True)]
    return pd.Series([len(a & b) / len(a | b) for a, b in both], pairs["grade"])


def invented(topics: int = TOPICS) -> pd.DataFrame:
    rows = [(t, grade, f"{t}", f"{t} {grade}") for t in range(topics) for grade in GRADES]
    return pd.DataFrame(rows, columns=["topic", "grade", "first", "second"])


def vectors(seed: int, topics: int = TOPICS) -> torch.Tensor:
    x = torch.randn(2, 3 * topics, WIDTH, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return x / x.norm(dim=-1, keepdim=True)


def slowly(embeddings: torch.Tensor, whole: torch.Tensor, pairs: pd.DataFrame, topics: list[int]) -> dict[str, float]:
    """The measures by loops and by SciPy, of topics that may occur more than once."""
    cosine = torch.linalg.vecdot(*embeddings)
    of = {(t, g): n for n, (t, g) in enumerate(zip(pairs["topic"], pairs["grade"], strict=True))}
    high, middle, low = ([float(cosine[of[t, g]]) for t in topics] for g in GRADES[::-1])
    share = lambda more, less: np.mean([(a > b) + (a == b) / 2 for a in more for b in less])
    turned = [
        1 - float(torch.linalg.vecdot(embeddings, whole)[side, of[t, g]])
        for t in topics
        for g in GRADES
        for side in (0, 1)
    ]
    return {
        "over_unrelated": share(high, low),
        "over_related": share(high, middle),
        "spearman": spearmanr([*low, *middle, *high], np.repeat([0, 1, 2], len(topics))).statistic,
        "moved": np.mean(turned),
    }


def test_the_pairs_are_as_many_and_as_long_as_they_should_be():
    pairs = load_pairs()
    assert len(pairs) >= 108
    assert set(pairs.groupby("topic")["grade"].agg(tuple)) == {GRADES}
    assert (pairs.groupby("topic")["first"].nunique() == 1).all()
    sentences = [*pairs["first"].unique(), *pairs["second"]]
    assert len(set(sentences)) == len(sentences)
    assert all(5 <= len(sentence.split()) <= 20 for sentence in sentences)
    assert all(re.fullmatch(r"[A-Z][a-zA-Z ,'-]+\.", sentence) for sentence in sentences)


def test_words_alone_would_grade_the_pairs_upside_down():
    shared = overlap(load_pairs()).groupby(level=0).mean()
    assert shared["paraphrase"] < 0.1 < 0.15 < shared["related"] < shared["unrelated"]


def test_the_pairs_travel_with_the_package():
    assert (files("surgeon") / "ablations" / "sentence_pairs.csv").is_file()


def test_each_sentence_is_listed_once_and_found_again():
    pairs = load_pairs()
    sentences, places = distinct(pairs)
    assert len(sentences) == len(set(sentences)) == 4 * pairs["topic"].nunique()
    assert [sentences[n] for n in places[0]] == pairs["first"].tolist()
    assert [sentences[n] for n in places[1]] == pairs["second"].tolist()


def test_pairs_are_embedded_as_their_sentences(specimen):
    pairs, cuts = load_pairs()[3:8], [Cut(layers=2, mask=create_causal_mask)]
    expected = [specimen.encode(pairs[side].tolist(), cuts=cuts) for side in ("first", "second")]
    torch.testing.assert_close(embed_pairs(specimen, pairs, cuts), torch.stack(expected), rtol=0, atol=1e-5)


@pytest.mark.parametrize("k", [1, 2, 5, 11])
def test_the_top_weights_are_those_of_topk_attention(k):
    Q, K, V = (
        torch.randn(2, 3, 5, 7, generator=torch.Generator().manual_seed(n), dtype=torch.float64) for n in range(3)
    )
    mask = create_padding_mask([5, 2], 5)[:, None]
    stages = dissect(Q, K, V, mask)
    weights = keep_top(k)(stages.weights, stages.masked > -torch.inf)
    torch.testing.assert_close(weights @ V, topk_attention(Q, K, V, k, mask).output)
    assert torch.equal(weights > 0, topk_mask(stages.masked, k))


def test_of_nothing_the_top_is_nothing():
    nothing = torch.zeros(3, 5)
    assert torch.equal(keep_top(2)(nothing, nothing.bool()), nothing)


def test_enough_top_weights_are_all_weights(specimen):
    sentences = load_pairs()["second"].tolist()[:5]
    cut = specimen.encode(sentences, cuts=[Cut(weights=keep_top(31))])
    torch.testing.assert_close(cut, specimen.encode(sentences), rtol=0, atol=1e-5)


@pytest.mark.long
@pytest.mark.parametrize(("layer", "head"), [(0, 0), (2, 7), (5, 11)])
def test_silencing_each_head_is_silencing_it_in_the_whole_model(specimen, layer, head):
    """Sentences of several lengths, two of one length, and an empty one."""
    sentences = ["", "Cut.", "The nurse smiled.", "Bees are disappearing from the countryside.", "The nurse slept."]
    expected = specimen.encode(sentences, cuts=[Cut(layer, head, weights=silent)])
    each = silence_each(specimen, sentences)
    assert each.shape == (6, 12, 5, 384)
    torch.testing.assert_close(each[layer, head], expected, rtol=0, atol=1e-5)
    assert (each[layer, head] - specimen.encode(sentences)).abs().max() > 1e-4


def test_the_measures_and_their_intervals_are_those_of_loops():
    """With ties: topics 0 and 1 have the same vectors."""
    pairs, before, after = invented(), vectors(0), vectors(1)
    after[:, 3:6] = after[:, :3]
    table = separation(after, pairs, before, draws=23, seed=4).set_index("measure")
    assert table.index.tolist() == list(MEASURES)
    drawn = torch.randint(TOPICS, (23, TOPICS), generator=torch.Generator().manual_seed(4)).tolist()
    for name in MEASURES:
        value, *values = [slowly(after, before, pairs, topics)[name] for topics in [range(TOPICS), *drawn]]
        was, *were = [slowly(before, before, pairs, topics)[name] for topics in [range(TOPICS), *drawn]]
        change = np.subtract(values, were)
        expected = [value, *np.quantile(values, [0.025, 0.975]), value - was, *np.quantile(change, [0.025, 0.975])]
        np.testing.assert_allclose(table.loc[name].to_numpy(float), expected, rtol=0, atol=1e-12)


def test_half_of_a_tie_counts():
    """The paraphrases of two topics tie with the unrelated pairs of both, and one of them with its related pair."""
    pairs, angles = invented(2), [0.7, 1.1, 0.7, 0.7, 0.7, 0.7]  # unrelated, related, paraphrase of each topic
    turned = torch.tensor(angles, dtype=torch.float64)
    after = torch.stack(
        [
            torch.stack([torch.ones(6).double(), torch.zeros(6).double()], -1),
            torch.stack([turned.cos(), turned.sin()], -1),
        ]
    )
    table = separation(after, pairs, after, draws=31).set_index("measure")
    assert table.loc["over_unrelated", ["value", "low", "high"]].tolist() == [0.5, 0.5, 0.5]
    assert table.loc["over_related", "value"] == 0.75  # above one, level with the other, twice
    assert table.loc["over_related", ["low", "high"]].tolist() == [0.5, 1.0]  # a topic that is drawn twice
    assert table.loc["spearman", "low"] == 0  # all alike
    assert table.loc["spearman", "value"] == pytest.approx(
        spearmanr([1.1, 1.1, 0.7, 1.1, 1.1, 1.1], [0, 0, 1, 1, 2, 2])[0]
    )


def test_vectors_that_are_there_are_not_made_again(specimen):
    pairs = load_pairs().query("topic < 3")
    cut = [Cut(scale=0.5)]
    made, given = (
        compare_cuts(specimen, {"half": how}, pairs, draws=5) for how in (cut, embed_pairs(specimen, pairs, cut))
    )
    pd.testing.assert_frame_equal(made, given)


@pytest.mark.long
def test_other_people_s_defaults_change_nothing(specimen):
    pairs = load_pairs().query("topic < 2")
    sentences, _ = distinct(pairs)

    def everything():
        cuts = {"two": [Cut(weights=keep_top(2))], "none": [Cut(2, 3, weights=silent)]}
        return compare_cuts(specimen, cuts, pairs, draws=5, seed=1), silence_each(specimen, sentences[:3])

    table, vectors = everything()
    with foreign_defaults():
        again, as_well = everything()
    pd.testing.assert_frame_equal(again, table)
    assert torch.equal(as_well, vectors)


def test_a_perfect_model_and_one_that_has_it_backwards():
    """Ties among the grades keep the rank correlation of n topics at the root of 8n² / (9n² − 1)."""
    pairs = invented()
    angle = torch.tensor([{"paraphrase": 0.1, "related": 0.8, "unrelated": 1.5}[grade] for grade in pairs["grade"]])
    angle = angle + torch.arange(3 * TOPICS) / 1000
    perfect = torch.stack(
        [torch.stack([torch.ones_like(angle), 0 * angle], -1), torch.stack([angle.cos(), angle.sin()], -1)]
    )
    wrong = perfect.clone()
    wrong[1] = torch.stack([angle.sin(), angle.cos()], -1)
    best = math.sqrt(8 * TOPICS**2 / (9 * TOPICS**2 - 1))
    table = separation(wrong, pairs, perfect, draws=11).set_index("measure")
    assert table.loc["over_unrelated", ["value", "low", "high", "change"]].tolist() == [0, 0, 0, -1]
    assert table.loc["over_related", ["value", "change"]].tolist() == [0, -1]
    assert table.loc["spearman", ["value", "change"]].tolist() == pytest.approx([-best, -2 * best])
    assert (separation(perfect, pairs, perfect, draws=11)["change"].abs() < 1e-6).all()


def test_the_order_of_the_pairs_does_not_matter():
    pairs, before, after = invented(), vectors(2), vectors(3)
    order = torch.randperm(len(pairs), generator=torch.Generator().manual_seed(5))
    shuffled = separation(after[:, order], pairs.iloc[order.numpy()], before[:, order], draws=13)
    pd.testing.assert_frame_equal(shuffled, separation(after, pairs, before, draws=13))


def test_the_seed_decides_the_draws_and_nothing_else():
    pairs, before, after = invented(), vectors(2), vectors(3)
    one, same, other = (separation(after, pairs, before, draws=13, seed=seed) for seed in (0, 0, 1))
    pd.testing.assert_frame_equal(one, same)
    assert one[["value", "change"]].equals(other[["value", "change"]])
    assert not one["low"].equals(other["low"])


def test_a_cut_that_changes_nothing_loses_nothing(specimen):
    pairs = load_pairs().query("topic < 5")
    cuts = {"none": [], "one": [Cut(scale=1.0)], "half": [Cut(scale=0.5)]}
    table = compare_cuts(specimen, cuts, pairs, draws=17, seed=3)
    assert table["cut"].tolist() == [name for name in cuts for _ in MEASURES]
    assert table.columns[:2].tolist() == ["cut", "measure"]
    by_cut = table.set_index(["cut", "measure"])
    assert by_cut.loc[["none", "one"], ["change", "change_low", "change_high"]].abs().to_numpy().max() < 1e-6
    assert by_cut.loc[("half", "moved"), "value"] > 0.01
    whole = embed_pairs(specimen, pairs)
    expected = separation(embed_pairs(specimen, pairs, cuts["half"]), pairs, whole, draws=17, seed=3)
    pd.testing.assert_frame_equal(by_cut.loc["half"].reset_index(), expected)
    pd.testing.assert_frame_equal(compare_cuts(specimen, cuts, pairs, whole, draws=17, seed=3), table)


@pytest.mark.long
def test_without_pairs_it_is_all_of_ours(specimen):
    ours = load_pairs()
    expected = compare_cuts(specimen, {"none": []}, ours, draws=3)
    pd.testing.assert_frame_equal(compare_cuts(specimen, {"none": []}, draws=3), expected)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda given: given | {"pairs": given["pairs"].assign(grade="related")}, "one pair of each grade"),
        (
            lambda given: given | {"pairs": given["pairs"][1:]},
            "pairs must hold one pair of each grade (unrelated, related,",
        ),
        (
            lambda given: given | {"embeddings": vectors(0)[:, 1:]},
            "embeddings must be of shape [2, 21, d], got [2, 20, 5].",
        ),
        (lambda given: given | {"whole": vectors(0)[0]}, "whole must be of shape [2, 21, d], got [21, 5]."),
        (lambda given: given | {"draws": 0}, "draws must be an integer of at least 1, got 0."),
        (lambda given: given | {"seed": -1}, "seed must be an integer from 0"),
    ],
    ids=["grades", "missing", "embeddings", "whole", "draws", "seed"],
)
def test_what_does_not_fit_is_named(change, message):
    given = {"embeddings": vectors(0), "pairs": invented(), "whole": vectors(0)}
    with pytest.raises(ValueError, match=re.escape(message)):
        separation(**change(given))


def test_a_grade_that_nobody_knows():
    pairs = pd.concat([invented(), pd.DataFrame([(0, "near", "0", "0 near")], columns=invented().columns)])
    with pytest.raises(ValueError, match="one pair of each grade"):
        separation(torch.zeros(2, len(pairs), 5), pairs, torch.zeros(2, len(pairs), 5))


def test_no_cut_and_no_k(specimen):
    with pytest.raises(ValueError, match=re.escape("cuts must name at least one operation, got none.")):
        compare_cuts(specimen, {})
    with pytest.raises(ValueError, match=re.escape("k must be an integer of at least 1, got 0.")):
        keep_top(0)
