"""Models told places in six ways, on longer texts: tasks whose least loss is known, and what is kept of many starts."""

import json
import re
from importlib.resources import files

import pandas as pd
import pytest
import torch
from torch import nn

from surgeon.ablations.longer_texts import (
    BACK,
    BLOCK,
    FILE,
    LETTERS,
    SCHEMES,
    TASKS,
    Runs,
    beyond_the_least,
    draw_grammar,
    draw_recall,
    fit,
    in_blocks,
    lengthen,
    load_runs,
)
from surgeon.models.english import english_grammar
from surgeon.models.transformer import make_model

TINY = {"steps": 2, "batch_size": 5, "length": 7, "longest": 13, "d_model": 12, "num_heads": 3, "held_out": 3}


class Knows(nn.Module):
    """A model that answers as well as can be, in whatever it is asked."""

    def __init__(self, answer):
        super().__init__()
        self.answer = answer

    def forward(self, tokens, mask=None):
        return self.answer(tokens), []


def next_word(tokens):
    grammar = english_grammar()
    return grammar.probabilities[grammar.follow(tokens)].log()


def three_back(tokens):
    return 99.0 * nn.functional.one_hot(tokens.roll(BACK, 1), LETTERS)


# Tasks


@pytest.mark.parametrize(("task", "answer"), [("grammar", next_word), ("recall", three_back)])
def test_who_knows_how_the_texts_are_made_loses_nothing_beyond_the_least(task, answer):
    texts = TASKS[task](11, 17, 3)
    lost = beyond_the_least(Knows(answer), texts)
    assert lost.abs().max() < 1e-5
    assert lost.index.tolist() == list(range(texts.first + 1, 18))


def test_the_least_of_the_grammar_is_its_own_loss():
    read, told, least, first = draw_grammar(211, 19, 5)
    assert first == 0
    assert torch.equal(read[:, 1:], told[:, :-1])
    whole = torch.cat([read, told[:, -1:]], 1)
    assert torch.equal(least, english_grammar().nll(whole))
    assert least.mean().item() == pytest.approx(english_grammar().best_loss(19), abs=0.1)


def test_what_is_recalled_stood_three_before_and_any_letter_may():
    read, told, least, first = draw_recall(97, 19, 5)
    assert first == BACK == 3
    assert all(told[7, t - 3] == read[7, t - 3] for t in range(3, 19))
    assert told.shape == least.shape == (97, 16)
    assert read.unique().tolist() == list(range(LETTERS))
    assert (least == 0).all()


@pytest.mark.parametrize("task", TASKS)
def test_texts_follow_from_the_seed(task):
    draw = TASKS[task]
    assert torch.equal(draw(3, 7, 1).read, draw(3, 7, 1).read)
    assert not torch.equal(draw(3, 7, 1).read, draw(3, 7, 2).read)


# Training


@pytest.mark.parametrize("task", TASKS)
def test_training_lowers_the_loss_in_place(task):
    model = make_model(LETTERS, 8, d_model=12, num_heads=3, positions=None, seed=0)
    texts = TASKS[task](60 * 11, 8, 0)
    before = beyond_the_least(model, texts).mean()
    fit(model, texts, steps=60, learning_rate=1e-2)
    assert beyond_the_least(model, texts).mean() < before - 0.05


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_model_is_asked_at_every_place_and_is_what_its_seed_makes_it(scheme, task):
    one, again = (lengthen(scheme, task=task, seed=3, **TINY) for _ in range(2))
    assert one.excess.index.tolist() == list(range(1 if task == "grammar" else BACK + 1, 14))
    pd.testing.assert_series_equal(one.excess, again.excess)
    other = lengthen(scheme, task=task, seed=4, **TINY).excess
    assert not other.equals(one.excess)
    assert one.model.max_len == 13


def test_models_of_a_seed_start_alike_but_for_what_their_scheme_learns():
    at_rest = TINY | {"learning_rate": 1e-30}
    models = {scheme: lengthen(scheme, seed=3, **at_rest).model for scheme in SCHEMES}
    state = models["none"].state_dict()
    for scheme, model in models.items():
        own = set(model.state_dict()) - set(state)
        assert all(torch.allclose(model.state_dict()[name], x, rtol=0, atol=1e-20) for name, x in state.items())
        assert bool(own) == (scheme in ("learned", "distance bias"))


@pytest.mark.parametrize("scheme", SCHEMES)
def test_longer_texts_change_nothing_at_the_places_before(scheme):
    """The mask is causal; nothing leaks back from what is further than the training went."""
    model = lengthen(scheme, seed=3, **TINY).model
    texts = draw_recall(5, 13, 1)
    cut = draw_recall(5, 13, 1)._replace(
        read=texts.read[:, :7], told=texts.told[:, : 7 - BACK], least=texts.least[:, : 7 - BACK]
    )
    whole = beyond_the_least(model, texts)
    assert whole[: 7 - BACK].tolist() == pytest.approx(beyond_the_least(model, cut).tolist(), abs=1e-5)


def test_the_distance_bias_has_no_bucket_that_training_never_reaches():
    scheme = SCHEMES["distance bias"](4, 24)
    seen = scheme.bucket(-torch.arange(24)).unique()
    beyond = scheme.bucket(-torch.arange(24, 400)).unique()
    assert seen.tolist() == list(range(16))
    assert beyond.tolist() == [15]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"scheme": "rope"},
            "scheme must be one of none, learned, sinusoidal, rotary, alibi, distance bias, got 'rope'.",
        ),
        ({"task": "copy"}, "task must be one of grammar, recall, got 'copy'."),
        ({"length": 3}, "length must be more than 3 words, got 3."),
        ({"longest": 6}, "longest must be at least length (7), got 6."),
        ({"steps": 0}, "steps must be an integer of at least 1, got 0."),
        ({"held_out": 0}, "held_out must be an integer of at least 1, got 0."),
        ({"longest": 0}, "longest must be an integer of at least 1, got 0."),
        ({"batch_size": 0}, "batch_size must be an integer of at least 1, got 0."),
    ],
    ids=lambda value: "".join(value) if isinstance(value, dict) else "",
)
def test_what_cannot_be_is_refused(change, message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        lengthen(**({"scheme": "none"} | TINY | change))


# What is kept


def test_what_is_kept_is_every_scheme_on_both_tasks_from_eight_starts_with_versions():
    kept = json.loads((files("surgeon.ablations") / FILE).read_text(encoding="utf8"))
    runs = load_runs()
    assert len(runs.seeds) == len(set(runs.seeds)) >= 8
    assert list(kept["tasks"]) == list(TASKS)
    for schemes in kept["tasks"].values():
        assert list(schemes) == list(SCHEMES)
        assert {len(means) for starts in schemes.values() for means in starts} == {4 * runs.length // BLOCK}
    assert len(runs.table) == 2 * 6 * len(runs.seeds) * 12
    assert not runs.table.isna().any(axis=None)
    assert {"python", "torch", "numpy"} <= set(runs.versions)
    assert re.fullmatch(r"\d{4}-\d\d-\d\d", runs.date)


@pytest.mark.long
@pytest.mark.parametrize(("scheme", "task"), [("alibi", "grammar"), ("rotary", "recall")])
def test_a_start_can_be_made_again(scheme, task):
    """But for what another machine's sums may do to a training."""
    runs = load_runs()
    again = lengthen(scheme, task=task, steps=runs.steps, length=runs.length, seed=runs.seeds[0]).excess
    kept = runs.table.query("scheme == @scheme and task == @task and seed == @runs.seeds[0]")
    within = kept.place <= runs.length
    assert in_blocks(again)[:3] == pytest.approx(kept.excess[within].tolist(), abs=0.02)


def test_a_mean_up_to_a_place_counts_places_and_not_blocks():
    """Of the first block of recall, five places are asked."""
    excess = pd.Series(range(4, 17), pd.Index(range(4, 17), name="place"), dtype=float)
    first, second = in_blocks(excess)
    assert (first, second) == (6.0, 12.5)
    rows = [
        ("recall", scheme, 1, place, places, mean)
        for scheme in SCHEMES
        for place, places, mean in ((8, 5, first), (16, 8, second))
    ]
    table = pd.DataFrame(rows, columns=["task", "scheme", "seed", "place", "places", "excess"])
    runs = Runs(table, [1], 1, 8, {}, "")
    assert runs.up_to(16, "recall").loc[1].tolist() == pytest.approx([excess.mean()] * 6)
    assert runs.up_to(8, "recall").loc[1].tolist() == [6.0] * 6
    assert runs.up_to(16, "recall").columns.tolist() == list(SCHEMES)


def test_places_of_what_is_kept_are_those_that_were_asked():
    counts = load_runs().table.groupby("task").apply(lambda one: one.drop_duplicates("place").places.sum())
    assert counts["grammar"] == 96
    assert counts["recall"] == 96 - BACK
