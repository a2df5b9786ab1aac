"""The encoder with held scores is the encoder, where nothing holds them."""

import math

import pytest
import torch

from surgeon.ablations.sharp_encoder import read_held
from surgeon.models.cuts import Cut
from surgeon.models.specimen import load

SENTENCES = ["The surgeon dropped the scalpel because it was sharp.", "Scalpels!"]


@pytest.fixture(scope="module")
def specimen():
    return load()


def test_without_a_remedy_it_is_the_specimen(specimen):
    held = read_held(specimen, SENTENCES)
    torch.testing.assert_close(held.vectors, specimen.encode(SENTENCES), rtol=1e-4, atol=1e-5)
    tops = [specimen.trace(one).scores.amax((-1, -2)) / math.sqrt(32) for one in SENTENCES]
    torch.testing.assert_close(held.largest, torch.stack(tops).amax(0), rtol=1e-4, atol=1e-4)


def test_factors_are_those_of_the_scores(specimen):
    factors = torch.ones(6, 12)
    factors[2, 5] = 0.25
    held = read_held(specimen, SENTENCES, factors=factors)
    cut = specimen.encode(SENTENCES, cuts=[Cut(layers=2, heads=5, scale=0.25)])
    torch.testing.assert_close(held.vectors, cut, rtol=1e-4, atol=1e-5)
    plain = read_held(specimen, SENTENCES)
    torch.testing.assert_close(held.largest[2, 5], 0.25 * plain.largest[2, 5], rtol=1e-4, atol=1e-4)
    assert torch.equal(held.largest[:2], plain.largest[:2])


def test_a_cap_holds_every_head_and_a_high_one_changes_nothing(specimen):
    plain, low, high = (read_held(specimen, SENTENCES, softcap=cap) for cap in (None, 5.0, 1e6))
    assert plain.largest.max() > 5.0
    assert (low.largest <= 5.0).all()
    torch.testing.assert_close(high.vectors, plain.vectors, rtol=1e-3, atol=1e-4)


def test_normalised_scores_stay_within_the_root_of_the_width(specimen):
    held = read_held(specimen, SENTENCES, normalise=True)
    assert (held.largest <= math.sqrt(32) + 1e-4).all()
    torch.testing.assert_close(held.vectors.norm(dim=-1), torch.ones(2))
    assert not torch.allclose(held.vectors, read_held(specimen, SENTENCES).vectors, atol=1e-2)


def test_bad_input_is_refused(specimen):
    with pytest.raises(ValueError, match=r"^cap must be a positive, finite number, got 0\.$"):
        read_held(specimen, SENTENCES, softcap=0)
    with pytest.raises(ValueError, match=r"^sentences must be a sequence of strings, got 'Scalpels!'"):
        read_held(specimen, "Scalpels!")
