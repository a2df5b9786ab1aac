"""The pictures' cells by double loops, heads made to be a picture, random repeats, and what was kept."""

import math

import pytest
import torch

from surgeon.ablations.language_heads import (
    cells_of,
    is_punctuation,
    load_language_heads,
    random_repeat,
    resemblance,
    sentences,
)
from surgeon.anatomy.masks import create_causal_mask
from surgeon.imaging.patterns import uniform_weights
from surgeon.models.texts import load_texts

TOKENS = [
    "Now",
    " cut",
    ",",
    " cut",
    " once",
    ".",
    " And",
    " look",
    ":",
    "\n",
    " cut",
    " again",
    "7",
    "!",
    " So",
    " be",
]
TOKENS += [" it", ",", " and", " be", " quick", "."]
IDS = [TOKENS.index(token) for token in TOKENS]
T = len(TOKENS)
CAUSAL = create_causal_mask(T)


def test_cells_are_those_of_a_double_loop():
    cells = cells_of(IDS, TOKENS)
    for i in range(T):
        for j in range(T):
            expected = {
                "itself": i == j,
                "previous": j == i - 1,
                "next": j == i + 1,
                "first": j == 0,
                "punctuation": TOKENS[j] in {",", ".", ":", "\n", "!"},
                "far": 0 < j < i - 16,
                "same": j < i and TOKENS[i] == TOKENS[j],
                "followed": 0 < j < i and TOKENS[i] == TOKENS[j - 1],
            }
            assert {name: bool(each[i, j]) for name, each in cells.items()} == expected


@pytest.mark.parametrize(
    ("token", "expected"), [("“", True), (" -", True), ("\n\n", True), ("7", False), (" é", False), ("'s", False)]
)
def test_what_has_neither_letter_nor_digit_is_punctuation(token, expected):
    assert is_punctuation(token) is expected


def test_sentences_end_with_their_full_stop_or_line():
    assert sentences(TOKENS).tolist() == [-1, 0, -1, 0, 0, -1, 1, 1, -1, -1, 2, 2, 2, -1, 3, 3, 3, -1, 3, 3, 3, -1]


@pytest.mark.parametrize("name", ["itself", "previous", "first", "punctuation", "followed"])
def test_a_head_made_to_be_a_picture_is_it_and_an_even_head_is_near_it_by_chance_alone(name):
    """Its queries share all weight among the picture's cells; the others look at the first token."""
    cells = cells_of(IDS, TOKENS)[name] & (CAUSAL == 0)
    heads = torch.zeros(T, T, dtype=torch.float64)
    heads[:, 0] = 1.0
    share = cells.double() / cells.sum(-1, keepdim=True)
    heads = torch.where(cells.any(-1, keepdim=True), share, heads)
    found = resemblance(heads, IDS, TOKENS, CAUSAL)
    even = resemblance(uniform_weights(CAUSAL, dtype=torch.float64), IDS, TOKENS, CAUSAL)
    assert float(found[name]) == pytest.approx(1.0, abs=1e-12)
    assert float(even[name]) < 0.4
    assert found["next"].isnan()


def test_a_horizontal_line_is_one_even_row_among_sharp_ones():
    heads = torch.eye(T, dtype=torch.float64)
    heads[11, :12] = 1 / 12
    found = resemblance(heads, IDS, TOKENS, CAUSAL)
    assert float(found["horizontal"]) == pytest.approx(1.0, abs=1e-6)
    even = resemblance(uniform_weights(CAUSAL, dtype=torch.float64), IDS, TOKENS, CAUSAL)
    assert float(even["horizontal"]) == pytest.approx(0.0, abs=1e-6)
    assert math.isnan(float(resemblance(torch.eye(4), IDS[:4], TOKENS[:4], CAUSAL[:4, :4])["far"]))


def test_without_a_mask_the_token_after_is_a_picture_too():
    after = torch.eye(T)[[*range(1, T), T - 1]]
    assert float(resemblance(after, IDS, TOKENS)["next"]) == 1.0


def test_heads_are_measured_side_by_side():
    generator = torch.Generator().manual_seed(0)
    weights = torch.rand(3, 2, T, T, generator=generator).tril()
    weights = weights / weights.sum(-1, keepdim=True)
    together = resemblance(weights, IDS, TOKENS, CAUSAL)
    alone = resemblance(weights[2, 1], IDS, TOKENS, CAUSAL)
    for name, each in together.items():
        assert list(each.shape) == [3, 2]
        assert torch.allclose(each[2, 1], alone[name], atol=1e-6, equal_nan=True)


# ---- Random repeats ------------------------------------------------------------------------------------------------


def test_a_random_repeat_says_different_tokens_twice_and_follows_its_seed():
    ids = random_repeat(31, 1000, seed=3)
    assert ids[:31] == ids[31:]
    assert len(set(ids)) == 31
    assert min(ids) >= 100
    assert max(ids) < 1000
    assert ids == random_repeat(31, 1000, seed=3) != random_repeat(31, 1000, seed=4)
    assert sorted(random_repeat(7, 107)[:7]) == list(range(100, 107))


def test_a_random_repeat_needs_tokens_to_draw():
    with pytest.raises(ValueError, match=r"^vocabulary must be 107 or more for 7 tokens, got 106[.]$"):
        random_repeat(7, 106)
    with pytest.raises(ValueError, match="length"):
        random_repeat(0, 1000)


# ---- What was kept -------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def kept():
    return load_language_heads()


def test_what_was_kept_is_whole(kept):
    rows = kept.pictures.groupby(["model", "picture"]).size()
    assert set(rows["decoder"]) == {270}
    assert set(rows["encoder"]) == {72}
    assert set(rows["encoder"].index) == set(cells_of(IDS, TOKENS)) | {"blocks", "horizontal"}
    assert set(rows["encoder"].index) - set(rows["decoder"].index) == {"next"}
    shares = kept.pictures[~kept.pictures.picture.isin(["blocks", "horizontal"])]
    assert shares[["seen", "unseen"]].stack().between(0, 1).all()
    assert kept.sink[["weight", "brought"]].stack().between(0, 1).all()
    assert len(kept.hidden) == 31
    assert len(kept.values) == 90
    assert {len(each) for each in kept.prose.values()} == {len(load_texts(seen=False)) - 2}


def test_the_heads_that_were_cut_are_those_that_the_seen_texts_chose(kept):
    heads = kept.pictures[kept.pictures.model == "decoder"]
    best = heads[heads.picture == "followed"].nlargest(len(kept.best), "seen")
    assert set(kept.best) == set(zip(best.layer, best["head"], strict=True))
    first = heads[heads.picture == "previous"].nlargest(1, "seen").iloc[0]
    assert kept.previous == (first.layer, first["head"])
    by_cut = kept.repeats.set_index("cut")
    assert sorted(map(tuple, by_cut.loc["best", "heads"])) == sorted(kept.best)
    chosen = set(kept.best)
    for heads in (*by_cut.loc["anywhere", "heads"], *by_cut.loc["same layers", "heads"]):
        drawn = set(map(tuple, heads))
        assert len(drawn) == len(chosen)
        assert not drawn & chosen
    layers = sorted(layer for layer, _ in chosen)
    assert all(sorted(layer for layer, _ in heads) == layers for heads in by_cut.loc["same layers", "heads"])
