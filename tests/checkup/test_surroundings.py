"""What surrounds an examination: modes, defaults and states, before and after it."""

import random

import numpy as np
import pytest
import torch
from examined import softened
from foreign import foreign_defaults
from torch import nn

from surgeon import MultiHeadAttention, attention, examine
from surgeon.zoo.catalogue import ZOO

SURROUNDINGS = {
    "no_grad": torch.no_grad,
    "inference_mode": torch.inference_mode,
    "other defaults": foreign_defaults,
}
EXAMINED = {
    "function": (lambda: attention, {}),
    "function by heads": (lambda: attention, {"layout": "B H T d", "heads": 3}),
    "layer": (lambda: MultiHeadAttention(28, 4, dropout=0.25), {}),
    "layer from outside": (lambda: MultiHeadAttention(28, 4, dropout=0.25), {"projections": False}),
    "PyTorch's module": (lambda: nn.MultiheadAttention(28, 4, batch_first=True), {"dead_rows": "nan"}),
    "CausalInEvaluationOnly": (ZOO["CausalInEvaluationOnly"].subject, ZOO["CausalInEvaluationOnly"].held),
    "dead_rows_nan_backward": (ZOO["dead_rows_nan_backward"].subject, {}),
    "lost_mask": (ZOO["lost_mask"].subject, {}),
}


def told(report):
    return [(f.name, f.passed, f.measured, f.bound, f.meaning) for f in report]


def maps(report):
    return [f.map for f in report if f.map is not None]


@pytest.fixture(scope="module", params=EXAMINED)
def examined(request):
    """A subject, what is said of it, and its report where nothing surrounds it."""
    make, held = EXAMINED[request.param]
    subject = make()
    return subject, held, examine(subject, **held)


@pytest.mark.long
@pytest.mark.parametrize("around", SURROUNDINGS)
def test_a_report_is_the_same_wherever_it_is_asked_for(examined, around):
    subject, held, plain = examined
    with SURROUNDINGS[around]():
        report = examine(subject, **held)
    assert told(report) == told(plain)
    assert len(maps(report)) == len(maps(plain)) > 0
    assert all(torch.equal(x, y) for x, y in zip(maps(report), maps(plain), strict=True))


def test_a_module_made_without_gradients_is_examined_with_them():
    with torch.inference_mode():
        made = MultiHeadAttention(28, 4)
        inside = examine(made)
    assert inside.passed, inside.diagnosis
    assert examine(made).passed
    assert inside["gradients"].passed


def test_modes_and_defaults_are_put_back():
    with torch.no_grad(), torch.device("meta"):
        examine(attention)
        assert not torch.is_grad_enabled()
        assert torch.ones(1).device.type == "meta"
    with torch.inference_mode():
        examine(attention)
        assert torch.is_inference_mode_enabled()
    assert torch.is_grad_enabled()


def test_nothing_global_is_touched():
    for subject in (attention, ZOO["SeedsEverything"].subject(), ZOO["DropoutInEvaluation"].subject()):
        torch.manual_seed(3)
        states = torch.get_rng_state(), np.random.get_state(legacy=False), random.getstate()
        examine(subject)
        assert torch.equal(torch.get_rng_state(), states[0])
        assert np.array_equal(np.random.get_state(legacy=False)["state"]["key"], states[1]["state"]["key"])
        assert random.getstate() == states[2]


FORMS = {"known": (lambda *given: attention(*given)[0], 200), "unknown": (softened, 450)}


@pytest.mark.parametrize(("form", "fewer"), FORMS.values(), ids=FORMS)
def test_of_a_sound_attention_many_keys_and_sizes_of_scores_are_asked_at_once(form, fewer):
    """What an examination costs is what it asks: many keys, and many sizes of scores, go in one batch."""
    asked = []

    def counted(Q, K, V, mask=None):
        asked.append(len(Q))
        return form(Q, K, V, mask)

    assert examine(counted).failed == []
    assert len(asked) < fewer
    assert max(asked) == 30  # powers of ten, from which a visible score must not be outbid
