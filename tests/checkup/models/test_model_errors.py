"""What is refused, what a model raises, and what never ends."""

import time

import pytest
import torch
from torch import nn

from surgeon import examine_model
from surgeon.checkup.models.subject import free_memory


def logits(ids):
    return torch.nn.functional.one_hot(ids, 11).double()


@pytest.mark.parametrize(
    ("held", "said"),
    [
        ({"kind": "both"}, "kind must be one of"),
        ({"mask": "0-1"}, "mask must be one of"),
        ({"positions": "learned"}, "positions must be one of"),
        ({"names": {"tokens": "x"}}, "names must be one of"),
        ({"accept": {"scale": "why"}}, "accept must name findings, such as 'answers'"),
        ({"accept": {"writings": "why"}}, "accept must name findings, such as 'writing'"),
        ({"patience": 0}, "patience must be a positive number of seconds or None, got 0"),
        ({"vocab": None}, "vocab must be how many words the model knows, at least 4, got None"),
        ({"vocab": 3}, "vocab must be how many words the model knows, at least 4, got 3"),
        ({"seed": -1}, "seed must be"),
        ({"options": "fast"}, "options must be a mapping, as {'use_cache': True}, or a function, got 'fast'."),
        ({"new_cache": dict}, "names must say what the model calls its cache where new_cache is given, as"),
    ],
)
def test_what_is_refused(held, said):
    with pytest.raises(ValueError, match=said):
        examine_model(logits, **{"vocab": 11, **held})


@pytest.mark.parametrize(
    ("model", "said"),
    [
        (lambda ids: 1 / 0, "It raises ZeroDivisionError: division by zero"),
        (lambda ids: "logits", "It raises it returned no tensor of numbers, but str"),
        (lambda ids: ids, "It raises it returned no tensor of numbers, but Tensor"),
        (lambda ids: torch.ones(3, 7, 2), "It raises of 2 rows it returned a tensor [3, 7, 2]"),
        (lambda ids: logits(ids) / 0, "answered with numbers that are none"),
    ],
)
def test_what_answers_nothing_is_a_finding(model, said):
    report = examine_model(model, vocab=11)
    assert [f.name for f in report.failed] == ["answers"]
    assert said in report["answers"].meaning
    assert all(f.passed is None for f in report if f.name != "answers")


def test_what_raises_now_and_then_is_a_finding():
    calls = []

    def moody(ids):
        calls.append(ids)
        if len(calls) > 3:
            raise RuntimeError("no more")
        return logits(ids)

    report = examine_model(moody, vocab=11)
    assert report["answers"].meaning == "It answers once, and then raises RuntimeError: no more"


def test_what_never_ends_is_given_up():
    def slow(ids):
        time.sleep(0.2)
        return logits(ids)

    report = examine_model(slow, vocab=11, patience=0.5)
    assert [f.name for f in report.failed] == ["answers"]
    assert "given up after 0.5 s" in report["answers"].meaning


def test_a_model_too_large_to_be_copied_is_asked_as_it_is():
    class Words(nn.Module):
        def __init__(self):
            super().__init__()
            self.embed = nn.Embedding(11, 5)
            self.modes = []

        def forward(self, ids):
            self.modes.append(self.training)
            return self.embed(ids).cumsum(1)

    model = Words().train()
    report = examine_model(model, memory=1e-9)
    assert report.failed == []
    assert "It is examined in its own precision." in report.portrait
    assert model.training
    assert set(model.modes) == {False, True}


def test_an_odd_model_is_told_what_it_is():
    """What no model of the zoo is told: sentences for whoever declares little, or has little to declare."""
    told = examine_model(lambda ids: logits(ids) + logits(ids).mean(1, keepdim=True), vocab=11)
    assert "its outputs depend on earlier and later tokens" in told["future, evaluating"].meaning
    assert told["future, evaluating"].passed is None
    pooled = examine_model(lambda ids: logits(ids).sum(1), vocab=11)
    assert pooled["future, evaluating"].meaning == (
        "It gives one output for a row, and none for each token. If it can give them all, examine a module around it"
        " that returns them, as model(ids, targets=ids)[0]."
    )
    near = examine_model(lambda ids: logits(ids), vocab=11, kind="decoder")
    said = "Outputs depend on tokens up to 0 places away, and on none further: declare the window, if it has one."
    assert near["the past is seen"].meaning == said


def test_what_comes_back_beside_logits_is_no_cache_unless_it_is_said_to_be():
    def with_weights(ids, cache=None):
        return logits(ids).cumsum(1), torch.ones(len(ids))

    report = examine_model(with_weights, vocab=11)
    assert report["cache, one by one"].passed is None

    def counting(ids, cache=0.0):
        return logits(ids).cumsum(1) + cache, (logits(ids).sum(1, keepdim=True) + cache)

    report = examine_model(counting, vocab=11, names={"cache": "cache"})
    assert report["cache, one by one"].passed
    assert report["cache, in chunks"].passed


def test_a_row_of_an_embedding_for_padding_is_no_word():
    class Padded(nn.Module):
        def __init__(self):
            super().__init__()
            self.embed, self.asked = nn.Embedding(5, 3, padding_idx=0), []

        def forward(self, ids):
            Padded.asked.append(ids.clone())
            return self.embed(ids).cumsum(1)

    Padded.asked = []
    report = examine_model(Padded())
    assert report["gradients"].passed
    assert all((ids > 0).all() for ids in Padded.asked)


def test_a_cache_that_is_kept_where_use_cache_is_said_is_found():
    def switched(ids, past_key_values=None, use_cache=False):
        told = logits(ids).cumsum(1) + (0.0 if past_key_values is None else past_key_values)
        return (told, told[:, -1:]) if use_cache else (told, None)

    assert examine_model(switched, vocab=11)["cache, one by one"].passed
    off = examine_model(switched, vocab=11, options={"use_cache": False})["cache, one by one"]
    assert off.meaning.startswith("It handed no cache back")


def test_usual_names_of_a_source_say_what_it_is():
    def translating(src, tgt, src_key_padding_mask=None):
        seen = torch.ones_like(src) if src_key_padding_mask is None else (~src_key_padding_mask).long()
        return logits(tgt).cumsum(1) + (logits(src) * seen[..., None]).sum(1, keepdim=True)

    report = examine_model(translating, vocab=11)
    assert report.failed == []
    assert report["source padding"].passed
    assert "An encoder-decoder." in report.portrait

    def encoding(src, src_key_padding_mask=None):
        seen = torch.ones_like(src) if src_key_padding_mask is None else (~src_key_padding_mask).long()
        return logits(src) + (logits(src) * seen[..., None]).sum(1, keepdim=True)

    report = examine_model(encoding, vocab=11, kind="encoder")
    assert report.failed == []
    assert report["padding on the left"].passed


def test_half_of_the_memory_that_is_free_is_told_in_gib_and_four_where_it_is_not(monkeypatch):
    told = {"SC_AVPHYS_PAGES": 3, "SC_PAGE_SIZE": 2**30}
    monkeypatch.setattr("os.sysconf", told.__getitem__)
    assert free_memory() == 1.5

    def refuse(name):
        raise ValueError("unrecognized configuration name")

    monkeypatch.setattr("os.sysconf", refuse)
    assert free_memory() == 4.0
