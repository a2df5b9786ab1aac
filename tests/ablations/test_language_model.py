"""What cuts cost the language model: what is kept, and that it is what the functions of the page give."""

import numpy as np
import pytest

from experiments.language_model import short_texts
from surgeon.ablations.language_model import CUTS, changes, each_apart, load_losses, mean_losses
from surgeon.models.cuts import Cut, silent, unscaled
from surgeon.models.decoder import Sizes
from surgeon.models.language_model import load, untrained
from surgeon.models.texts import load_texts

SIZES = Sizes(37, layers=3, heads=6, key_heads=2, d_k=10, width=42, inner=29, base=500.0, epsilon=1e-3, limit=64)
TEXT = [5, 0, 36, 7, 7, 11, 2, 30, 19, 23, 1]


def test_what_is_kept_has_every_cut_on_every_text():
    kept, texts = load_losses(), load_texts()
    assert list(kept.cuts) == list(CUTS)
    assert kept.texts == [f"{text.kind}: {text.name}" for text in texts]
    assert all(losses.shape == (48,) and (losses > 0).all() for losses in kept.cuts.values())
    assert kept.heads.shape == (30, 9, 12)
    assert kept.unscaled.shape == (30,)
    assert {name: len(heads) for name, heads in kept.members.items() if "random" not in name} == {
        "3 dearest": 3,
        "9 dearest": 9,
        "27 dearest": 27,
        "27 cheapest": 27,
        "90 cheapest": 90,
    }
    assert all(losses.shape == (24,) for losses in kept.groups.values())
    unseen = [not text.seen for text in texts]
    assert kept.before["unseen"] == pytest.approx(kept.cuts["whole"][unseen], rel=1e-5)


@pytest.mark.long
def test_what_is_kept_is_what_the_model_does():
    """A cut of each kind on one text, a head and a layer on another, a group on a third."""
    model, kept = load(), load_losses()
    text = load_texts()[35].text
    for name in ("whole", "no mask", "wrong pairs", "window 16, 1 sink", "top 4"):
        assert model.loss(text, cuts=CUTS[name]) == pytest.approx(kept.cuts[name][35], abs=2e-3)
    short = short_texts(model)
    assert (len(short), {len(ids) for ids in short}) == (12, {48})
    assert model.loss(short[7], cuts=[Cut(1, 3, weights=silent)]) == pytest.approx(kept.heads[1, 3, 7], abs=2e-3)
    unseen = load_texts(seen=False)[5].text
    group = [Cut(n, h, weights=silent) for n, h in kept.members["9 dearest"]]
    assert model.loss(unseen, cuts=group) == pytest.approx(kept.groups["9 dearest"][5], abs=2e-3)


def test_the_dearest_heads_are_those_of_the_map():
    kept = load_losses()
    cost = (kept.heads - kept.before["short"]).mean(-1)
    order = [list(map(int, divmod(at, 9))) for at in np.argsort(-cost, axis=None)]
    for name, members in kept.members.items():
        if "dearest" in name:
            assert members == order[: len(members)]
        if "cheapest" in name:
            assert members == order[-len(members) :]


def test_one_by_one_is_each_cut_alone():
    model = untrained(SIZES, seed=3, spread=0.6).double()
    heads = each_apart(model, TEXT, lambda which: Cut(heads=which, weights=silent))
    layers = each_apart(model, TEXT, lambda which: unscaled(heads=which, d_k=10), heads=False)
    assert heads.shape == (3, 6)
    assert layers.shape == (3,)
    for n, h in np.ndindex(3, 6):
        assert heads[n, h] == pytest.approx(model.loss(TEXT, cuts=[Cut(n, h, weights=silent)]))
    for n in range(3):
        assert layers[n] == pytest.approx(model.loss(TEXT, cuts=[unscaled(n, d_k=10)]))
    assert mean_losses(model, [TEXT, TEXT[:4]]) == pytest.approx([model.loss(TEXT), model.loss(TEXT[:4])])


def test_changes_are_paired_and_their_intervals_over_texts():
    """Against SciPy's own bootstrap of the mean difference."""
    from scipy.stats import bootstrap

    generator = np.random.default_rng(5)
    before = generator.normal(3, 1, 31)
    after = before + generator.normal(0.2, 0.1, 31)
    table = changes({"a": after, "same": before}, before, draws=5000, seed=3)
    assert table.loc["a", "loss"] == pytest.approx(after.mean())
    assert table.loc["a", "change"] == pytest.approx((after - before).mean())
    theirs = bootstrap((after - before,), np.mean, method="percentile", n_resamples=5000, rng=generator)
    low, high = theirs.confidence_interval
    assert table.loc["a", ["low", "high"]].tolist() == pytest.approx([low, high], abs=0.005)
    assert table.loc["same", ["change", "low", "high"]].tolist() == [0, 0, 0]
    assert table.equals(changes({"a": after, "same": before}, before, draws=5000, seed=3))


@pytest.mark.parametrize(("options", "name"), [({"draws": 0}, "draws"), ({"seed": -1}, "seed")])
def test_changes_say_what_is_wrong(options, name):
    with pytest.raises(ValueError, match=f"^{name} must be an integer"):
        changes({}, np.ones(3), **options)
