"""Three models alike but for the mask: what is measured agrees with itself, with the bounds and with an oracle."""

import inspect
import math
import re

import pandas as pd
import pytest
import torch
from foreign import foreign_defaults
from torch import nn

from surgeon.ablations import no_mask
from surgeon.ablations.no_mask import (
    MASKS,
    compare_masking,
    measure,
    parallel_losses,
    prefix_losses,
    train_under,
    write,
)
from surgeon.models.english import english_grammar
from surgeon.models.transformer import losses

pytestmark = pytest.mark.long

SMALL = {"steps": 200, "length": 13, "d_model": 32, "num_heads": 2, "held_out": 211}
TINY = {"steps": 3, "length": 11, "d_model": 6, "num_heads": 3, "num_layers": 1, "held_out": 5, "batch_size": 7}
COLUMNS = [
    "mask",
    "training_loss",
    "training_loss_se",
    "training_loss_but_last",
    "excess",
    "excess_se",
    "prefix_loss",
    "prefix_loss_se",
    "generated_nll",
    "generated_nll_se",
    "grammatical_share",
    "sentences",
    "source_nll",
    "best_loss",
    "one_word_loss",
    "uniform_loss",
    "source_share",
]


class Source(nn.Module):
    """A model that knows the grammar: its scores are the exact log-probabilities, whatever the mask."""

    max_len = 99

    def __init__(self, grammar):
        super().__init__()
        self.grammar = grammar

    def forward(self, tokens, mask=None):
        return self.grammar.probabilities[self.grammar.follow(tokens)].log(), []


@pytest.fixture(scope="module")
def comparison():
    return compare_masking(seed=0, **SMALL)


def row(comparison, mask):
    return comparison.summary.set_index("mask").loc[mask]


@pytest.mark.long
def test_an_honest_model_stays_above_the_bound_and_keeps_what_it_learned(comparison):
    causal = row(comparison, "causal")
    assert causal.excess > -4 * causal.excess_se
    assert causal.best_loss - 4 * causal.training_loss_se < causal.training_loss < causal.one_word_loss - 0.1
    assert causal.prefix_loss == pytest.approx(causal.training_loss, abs=1e-5)
    assert causal.grammatical_share > 0.5 * causal.source_share
    assert causal.generated_nll < causal.uniform_loss - 1


@pytest.mark.long
@pytest.mark.parametrize("mask", ["none", "reverse"])
def test_a_model_that_sees_the_answer_does_the_impossible_and_then_nothing(comparison, mask):
    cheat, causal = row(comparison, mask), row(comparison, "causal")
    assert cheat.training_loss < cheat.best_loss - 0.5
    assert cheat.excess < -50 * cheat.excess_se
    assert cheat.training_loss_but_last < 0.2
    assert cheat.prefix_loss > cheat.one_word_loss
    assert cheat.generated_nll > causal.generated_nll + 1
    assert cheat.grammatical_share < 0.5 * causal.grammatical_share


@pytest.mark.long
def test_no_mask_can_show_the_last_answer(comparison):
    """The reverse model sees one word there, the others all of the text before it: each above its bound."""
    last = comparison.by_position.query("words_seen == 13").set_index("mask").training_loss
    honest = comparison.grammar.best_losses(13)[-1].item()
    assert (last > honest - 0.2).all()
    assert (last > 1).all()


@pytest.mark.long
def test_the_tables_agree_with_each_other(comparison):
    summary, cross, by_position = comparison.summary, comparison.cross, comparison.by_position
    assert summary.columns.tolist() == COLUMNS
    assert summary["mask"].tolist() == cross.index.tolist() == cross.columns.tolist() == ["causal", "none", "reverse"]
    assert cross.index.name == "trained with"
    assert cross.columns.name == "run with"
    assert [cross.loc[m, m] for m in MASKS] == pytest.approx(summary.training_loss.tolist())
    assert by_position.columns.tolist() == ["mask", "words_seen", "training_loss", "prefix_loss", "best_loss"]
    assert by_position.words_seen.tolist() == 3 * list(range(1, 14))
    for column in ("training_loss", "prefix_loss", "best_loss"):
        means = by_position.groupby("mask")[column].mean()
        assert means.tolist() == pytest.approx(summary[column].tolist())
    but_last = by_position.query("words_seen < 13").groupby("mask").training_loss.mean()
    assert but_last.tolist() == pytest.approx(summary.training_loss_but_last.tolist())
    assert (summary.excess + summary.source_nll).tolist() == pytest.approx(summary.training_loss.tolist())
    history = comparison.history
    assert history.columns.tolist() == ["mask", "step", "loss"]
    assert history.groupby("mask").size().to_dict() == dict.fromkeys(MASKS, 200)


@pytest.mark.long
def test_bounds_are_the_grammar_s(comparison):
    grammar, summary = comparison.grammar, comparison.summary
    assert set(summary.best_loss) == {grammar.best_loss(13)}
    assert set(summary.one_word_loss) == {grammar.one_word_loss(13)}
    assert set(summary.source_share) == {grammar.grammatical_share()}
    assert set(summary.uniform_loss) == {math.log(24)}


@pytest.mark.long
def test_what_is_said_of_the_texts_is_true_of_the_texts(comparison):
    grammar = comparison.grammar
    for mask, text in comparison.generated.items():
        measured = row(comparison, mask)
        assert text.shape == (211, 14)
        by_text = grammar.nll(text).mean(-1)
        assert measured.generated_nll == pytest.approx(by_text.mean().item())
        assert measured.generated_nll_se == pytest.approx(by_text.std().item() / math.sqrt(211))
        sentences, grammatical = grammar.judge(text)
        assert measured.sentences == sentences.sum()
        assert measured.grammatical_share == grammatical.sum() / sentences.sum()
        assert comparison.samples[mask] == [grammar.decode(t[1:]) for t in text[:8]]


def test_models_are_alike_but_for_the_mask():
    """One trained alone is the one trained beside others; at the first step nothing has told their texts apart."""
    together = compare_masking(seed=3, **TINY)
    for mask in MASKS:
        alone = compare_masking(masks=[mask], seed=3, **TINY)
        assert list(alone.models) == list(alone.samples) == list(alone.seconds) == [mask]
        expected = together.summary.query("mask == @mask").reset_index(drop=True)
        pd.testing.assert_frame_equal(alone.summary, expected)
        pd.testing.assert_frame_equal(alone.cross, together.cross.loc[[mask]])
    first = together.history.query("step == 0").loss
    assert first.std() < 0.05
    assert first.nunique() == 3


def test_one_model_is_trained_as_all_are_unless_somebody_says_otherwise():
    one, all_ = (inspect.signature(function).parameters for function in (train_under, compare_masking))
    said = {name: parameter.default for name, parameter in one.items() if name != "mask"}
    assert said == {name: all_[name].default for name in said}


def test_results_come_from_the_seed_alone(capfd):
    before = torch.get_rng_state()
    first = compare_masking(seed=5, **TINY)
    assert torch.equal(torch.get_rng_state(), before)
    assert capfd.readouterr() == ("", "")
    again, other = compare_masking(seed=5, **TINY), compare_masking(seed=6, **TINY)
    pd.testing.assert_frame_equal(first.summary, again.summary)
    assert first.samples == again.samples
    changed = ["training_loss", "source_nll", "prefix_loss", "generated_nll"]
    assert (first.summary[changed] != other.summary[changed]).all(axis=None)


def test_texts_held_out_were_not_trained_on():
    """With few steps every text can be looked at: none is shared beyond what chance repeats."""
    tried = compare_masking(masks=["causal"], seed=0, **TINY | {"length": 24})
    streams = torch.randint(2**31, (4,), generator=torch.Generator().manual_seed(0))
    assert streams.unique().numel() == 4
    grammar = tried.grammar
    trained, held_out = (grammar.sample(n, 24, int(streams[i])) for n, i in ((21, 1), (5, 2)))
    assert tried.summary.source_nll[0] == grammar.nll(held_out).mean().item()
    assert not (trained[:, None] == held_out).all(-1).any()


@pytest.mark.parametrize("mask", MASKS)
def test_the_source_itself_has_no_excess(mask):
    """An oracle that ignores its mask: no excess, no difference between training and use, the source's own share."""
    grammar = english_grammar()
    oracle, texts = Source(grammar), grammar.sample(97, 13, 1)
    written = write(oracle, 997, 13, MASKS[mask], seed=2)
    summary, cross, by_position = measure({mask: oracle}, grammar, texts, {mask: written})
    found = summary.iloc[0]
    assert found.excess == pytest.approx(0, abs=1e-12)
    assert found.training_loss == pytest.approx(found.source_nll)
    assert found.prefix_loss == pytest.approx(found.source_nll)
    assert cross.loc[mask].tolist() == pytest.approx([found.source_nll] * 3)
    assert by_position.prefix_loss.mean() == pytest.approx(found.source_nll)
    assert abs(found.generated_nll - found.best_loss) < 4 * found.generated_nll_se
    share = found.source_share
    assert abs(found.grammatical_share - share) < 4 * math.sqrt(share * (1 - share) / found.sentences)


@pytest.mark.long
def test_losses_in_use_are_read_at_the_last_word_of_every_prefix(comparison):
    model, grammar = comparison.models["reverse"], comparison.grammar
    texts = grammar.sample(3, 13, 4)
    told = prefix_losses(model, texts, MASKS["reverse"])
    assert told.shape == (3, 13)
    assert told.dtype == torch.float64
    with torch.no_grad():
        logits = model(texts[:, :5], MASKS["reverse"](5))[0]
    torch.testing.assert_close(told[:, 4], losses(logits[:, 4], texts[:, 5]).double(), atol=1e-5, rtol=1e-5)
    in_parallel = parallel_losses(model, texts, MASKS["reverse"])
    torch.testing.assert_close(told[:, -1], in_parallel[:, -1], atol=1e-5, rtol=1e-5)
    assert (told[:, :-1].mean(-1) > in_parallel[:, :-1].mean(-1)).all()


@pytest.mark.long
@pytest.mark.parametrize("mask", MASKS)
def test_each_model_is_asked_and_writes_under_its_own_mask(comparison, mask):
    grammar, model = comparison.grammar, comparison.models[mask]
    texts = grammar.sample(31, 13, 8)
    summary, cross, _ = measure({mask: model}, grammar, texts, comparison.generated)
    assert summary.prefix_loss[0] == pytest.approx(prefix_losses(model, texts, MASKS[mask]).mean().item())
    for other, mask_of in MASKS.items():
        assert cross.loc[mask, other] == pytest.approx(parallel_losses(model, texts, mask_of).mean().item())
    tiny = compare_masking(masks=[mask], seed=4, **TINY)
    streams = torch.randint(2**31, (4,), generator=torch.Generator().manual_seed(4)).tolist()
    assert torch.equal(tiny.generated[mask], write(tiny.models[mask], 5, 11, MASKS[mask], streams[3]))


@pytest.mark.parametrize(
    "option",
    [
        {"steps": 4},
        {"batch_size": 5},
        {"length": 12},
        {"learning_rate": 1e-3},
        {"d_model": 12},
        {"num_heads": 2},
        {"num_layers": 2},
        {"slip": 0.5},
        {"held_out": 7},
    ],
    ids=lambda option: next(iter(option)),
)
def test_every_option_reaches_what_it_is_for(option):
    usual, other = (compare_masking(masks=["causal"], **TINY | more) for more in ({}, option))
    model, attention = other.models["causal"], other.models["causal"].blocks[0].attention
    found = {
        "steps": len(other.history),
        "length": model.max_len,
        "d_model": attention.d_model,
        "num_heads": attention.num_heads,
        "num_layers": len(model.blocks),
        "held_out": len(other.generated["causal"]),
    }
    assert (usual.history.loss.iloc[-1] == other.history.loss.iloc[-1]) == ("held_out" in option)
    assert {name: n for name, n in option.items() if name in found}.items() <= found.items()


def test_a_model_is_trained_by_itself_as_it_is_beside_others():
    """What the arguments decide: the weights and the losses, and not how many texts are held out afterwards."""
    beside = compare_masking(seed=3, **TINY)
    alone = train_under("none", seed=3, **{name: n for name, n in TINY.items() if name != "held_out"})
    for ours, theirs in zip(alone.model.parameters(), beside.models["none"].parameters(), strict=True):
        assert torch.equal(ours, theirs)
    assert alone.history.loss.tolist() == beside.history.query("mask == 'none'").loss.tolist()
    assert alone.seconds > 0


def test_a_build_trains_and_asks_each_model_once(monkeypatch, tmp_path):
    """Two pages that compare some of the same models share what these answered, too."""
    monkeypatch.setenv("SURGEON_ONCE", str(tmp_path))
    first = compare_masking(masks=["causal", "reverse"], seed=3, **TINY)
    trained, asked = [], []
    train, ask = no_mask.train_under, no_mask.measure
    monkeypatch.setattr(no_mask, "train_under", lambda mask, **how: trained.append(mask) or train(mask, **how))
    monkeypatch.setattr(no_mask, "measure", lambda models, *of: asked.extend(models) or ask(models, *of))
    second = compare_masking(seed=3, **TINY)
    assert trained == asked == ["none"]
    for table in ("summary", "cross", "by_position", "history"):
        expected = getattr(first, table)
        found = getattr(second, table)
        kept = found.index != "none" if table == "cross" else found["mask"] != "none"
        found = found[kept] if table == "cross" else found[kept].reset_index(drop=True)
        pd.testing.assert_frame_equal(found, expected)


def test_a_default_device_without_numbers_is_not_used():
    with foreign_defaults():
        result = compare_masking(**TINY)
    assert {str(x.device) for model in result.models.values() for x in model.parameters()} == {"cpu"}
    assert result.summary.drop(columns="mask").map(math.isfinite).all(axis=None)


def test_progress_is_shown_where_it_is_asked_for(capfd):
    compare_masking(masks=["none"], progress=True, **TINY)
    assert "training" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"masks": ["sideways"]}, "masks must be names among causal, none, reverse, got 'sideways'."),
        ({"masks": [None]}, "masks must be names among causal, none, reverse, got None."),
        ({"masks": []}, "masks must be at least one name, each once, got []."),
        ({"masks": ["none", "none"]}, "masks must be at least one name, each once, got ['none', 'none']."),
        ({"steps": 0}, "steps must be an integer of at least 1, got 0."),
        ({"held_out": 1}, "held_out must be at least 2, or there is no standard error, got 1."),
        ({"held_out": 2.0}, "held_out must be an integer of at least 1, got 2.0."),
        ({"length": 10}, "length must have room for the longest sentence (11 words), got 10."),
        ({"length": None}, "length must be an integer of at least 1, got None."),
        ({"slip": 1}, "slip must be a probability in [0, 1), got 1."),
        ({"seed": -1}, "seed must be an integer from 0 to 2**32 - 1, got -1."),
        ({"num_heads": 5}, "num_heads must be a positive integer that divides d_model (48), got 5."),
        ({"batch_size": 0}, "batch_size must be an integer of at least 1, got 0."),
        ({"learning_rate": -1.0}, "learning_rate must be positive and finite, got -1.0."),
    ],
    ids=lambda value: None if isinstance(value, str) else ", ".join(value),
)
def test_bad_arguments(options, message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        compare_masking(**options)
