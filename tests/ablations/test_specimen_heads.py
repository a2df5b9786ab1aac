"""The long run over all heads: what is kept, and that it is what the functions of the page give."""

import numpy as np
import pytest
import torch

from experiments.specimen import of_heads
from surgeon.ablations.specimen_heads import load_heads
from surgeon.ablations.specimen_surgery import MEASURES, compare_cuts, embed_pairs, load_pairs, resampled, separation
from surgeon.models.cuts import Cut, silent
from surgeon.models.encoder import HEADS, LAYERS
from surgeon.models.specimen import load


def test_what_is_kept_has_every_head_once_and_intervals_round_each_change():
    heads = load_heads()
    table = heads.table
    assert len(table.drop_duplicates(["measure", "layer", "head"])) == len(table) == len(MEASURES) * LAYERS * HEADS
    assert heads.topics == load_pairs().topic.nunique()
    assert (table.low <= table.high).all()
    order = table.query("measure != 'moved'")
    assert (order.at_once_low <= order.low + 1e-9).all()
    assert (order.high <= order.at_once_high + 1e-9).all()
    assert all(low <= middle <= high for middle, low, high in (*heads.ratios.values(), *heads.columns.values()))
    assert list(heads.cls_over) == list(heads.columns)[1:]


@pytest.mark.long
def test_a_kept_change_is_what_a_cut_on_all_topics_gives():
    """One head of the last layer, and the one that costs most."""
    specimen, pairs, table = load(), load_pairs(), load_heads().table
    cut = compare_cuts(specimen, {"it": [Cut(5, 10, weights=silent)]}, pairs, draws=1000).set_index("measure")
    kept = table.query("layer == 5 and head == 10").set_index("measure")
    for measure in MEASURES:
        assert kept.loc[measure, "change"] == pytest.approx(cut.loc[measure, "change"], abs=2e-4)
        assert kept.loc[measure, "low"] == pytest.approx(cut.loc[measure, "change_low"], abs=0.01)


@pytest.mark.long
def test_the_wide_intervals_hold_all_heads_in_all_but_one_draw_in_twenty():
    specimen, pairs = load(), load_pairs().query("topic < 3").reset_index(drop=True)
    whole = embed_pairs(specimen, pairs)
    found = of_heads(specimen, pairs, whole, draws=40)
    for measure in MEASURES[:3]:
        one = {name: np.array(found["heads"][measure][name]) for name in ("change", "low", "high", "at_once_low")}
        error = (one["change"] - one["at_once_low"]) / found["factor"]
        assert one["change"].shape == (LAYERS, HEADS)
        assert ((error == 0) == (one["low"] == one["high"])).all()
    assert found["factor"] > 1.96
    assert set(found["moved"]) == {"last_over_others", "least_of_last_over_most_of_others"}


def test_against_another_cut_a_change_is_the_difference_of_two():
    pairs = load_pairs()
    x = torch.randn(3, 2, len(pairs), 5, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    whole, one, other = x / x.norm(dim=-1, keepdim=True)
    table = separation(one, pairs, whole, beside=other, draws=7, seed=torch.Generator().manual_seed(5))
    drawn = resampled({"a": one, "b": other}, pairs, whole, draws=7, seed=5)
    for row in table.itertuples():
        gap = drawn["a"][row.measure] - drawn["b"][row.measure]
        assert row.change == pytest.approx(gap[0])
        assert row.change_low == pytest.approx(np.quantile(gap[1:], 0.025))
