"""The confusion matrix: each faulty attention fails its own finding and no other; sound ones fail none."""

import re
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn.functional import scaled_dot_product_attention

from surgeon import MultiHeadAttention, attention, examine, grouped_attention
from surgeon.checkup.finding import LAWS
from surgeon.zoo.catalogue import ZOO
from surgeon.zoo.fault import Layer, right

ROOT = Path(__file__).resolve().parents[2]
SEEDS = range(5)


def layer(kind, *sizes, **options):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return kind(*sizes, **options)


HEALTHY = {
    "attention": (lambda: attention, {}),
    "attention by heads": (lambda: attention, {"layout": "B H T d", "heads": 3}),
    "grouped_attention": (lambda: grouped_attention, {"layout": "B H T d", "heads": 6, "kv_heads": 2}),
    "multi-query": (lambda: grouped_attention, {"layout": "B H T d", "heads": 3, "kv_heads": 1}),
    "MultiHeadAttention": (lambda: layer(MultiHeadAttention, 21, 3, dropout=0.25), {}),
    "MultiHeadAttention, grouped": (lambda: layer(MultiHeadAttention, 42, 6, num_kv_heads=2), {}),
    "MultiHeadAttention, one head": (lambda: layer(MultiHeadAttention, 7, 1), {}),
    "MultiHeadAttention, from outside": (lambda: layer(MultiHeadAttention, 21, 3), {"projections": False}),
    "the zoo's function": (lambda: right, {}),
    "the zoo's layer": (lambda: layer(Layer, 28, 4, dropout=0.25), {}),
    "scaled_dot_product_attention": (lambda: scaled_dot_product_attention, {}),
    "MultiheadAttention with weights": (
        lambda: layer(nn.MultiheadAttention, 21, 3, dropout=0.25, batch_first=True),
        {"dead_rows": "nan"},
    ),
    "MultiheadAttention without": (
        lambda: layer(nn.MultiheadAttention, 21, 3, dropout=0.25, batch_first=True),
        {"options": {"need_weights": False}},
    ),
    "MultiheadAttention, sequence first": (
        lambda: layer(nn.MultiheadAttention, 21, 3),
        {"options": {"need_weights": False}},
    ),
}


@pytest.mark.parametrize("name", ZOO)
def test_a_fault_fails_its_own_finding_and_no_other(name):
    for seed in SEEDS:
        report = ZOO[name].examine(seed)
        assert [finding.name for finding in report.failed] == [ZOO[name].finding], f"seed {seed}: {report.diagnosis}"


@pytest.mark.parametrize("name", HEALTHY)
def test_a_sound_subject_fails_nothing(name):
    make, held = HEALTHY[name]
    for seed in SEEDS:
        report = examine(make(), seed=seed, **held)
        assert report.failed == [], f"seed {seed}: {report.diagnosis}"
        assert report["answers"].passed


@pytest.mark.parametrize("name", ["attention", "MultiHeadAttention", "scaled_dot_product_attention"])
def test_what_is_known_of_a_sound_subject_is_told(name):
    """Only what cannot apply is left open: a check-up that tried nothing would fail nothing."""
    make, held = HEALTHY[name]
    untold = {finding.name for finding in examine(make(), **held) if finding.passed is None}
    assert untold <= {
        "heads apart",  # of one head
        "grouped heads in order",  # without groups
        "weights returned",  # by none
        "future, training",  # of a function
        "rectangular causal",  # without a flag
        "dropout after softmax",  # without dropout
    }


def test_every_law_is_broken_by_somebody_but_those_of_the_adapter():
    assert set(LAWS) - {fault.finding for fault in ZOO.values()} == {"answers", "known form"}


@pytest.mark.parametrize("name", ZOO)
def test_a_fault_has_its_story(name):
    fault, bibliography = ZOO[name], (ROOT / "book" / "references.bib").read_text(encoding="utf8")
    assert fault.name == name == fault.made.__name__
    assert fault.story.endswith(".")
    assert fault.repair
    assert not fault.thread or re.search(rf"^@\w+{{{fault.thread},$", bibliography, re.MULTILINE)


def test_the_zoo_is_full_and_most_of_it_was_shipped():
    assert len(ZOO) >= 24
    assert sum(bool(fault.thread) for fault in ZOO.values()) > len(ZOO) / 2


def test_a_fault_is_not_the_right_one():
    """Without this, a finding about modes or memory could be failed by something else than the mutation."""
    assert not {fault.made for fault in ZOO.values()} & {right, Layer}


def test_layers_are_made_without_touching_the_global_generator():
    state = torch.get_rng_state()
    made = [fault.subject() for fault in ZOO.values()]
    assert len(made) == len(ZOO)
    assert torch.equal(torch.get_rng_state(), state)
