"""What is said of models that are wrong in ways of their own, word for word."""

import re
from pathlib import Path

import pytest
import said_of_models
import torch
from odd_models import ODD, OF_THE_LIBRARY
from shown_sentences import sentences
from small_book import ROOT
from sound_models import TRUE
from waiting import waits_in_vain

import surgeon.checkup.models
from surgeon import examine_model
from surgeon.checkup.finding import Finding
from surgeon.checkup.models.examination import ModelReport
from surgeon.checkup.models.laws import MODEL_LAWS
from surgeon.zoo.models.reader import HELD, Cache, Reader


class Forgetful(Reader):
    def through(self, layer, x, places, allowed, cache, n):
        if cache is not None:
            T, S = allowed.shape[-2:]
            allowed = (torch.arange(S - T, S)[:, None] == torch.arange(S)).expand_as(allowed)
        return super().through(layer, x, places, allowed, cache, n)


class Fading(Cache):
    def add(self, n, K, V):
        return super().add(n, K, V * 1.1)


class Full(Cache):
    def add(self, n, K, V):
        if n in self.keys:
            raise RuntimeError("full")
        return super().add(n, K, V)


class FadingPrompt(Cache):
    def add(self, n, K, V):
        told = super().add(n, K, V)
        if K.shape[2] > 1 and n in self.values:
            self.values[n] = self.values[n] * 1.1
        return told


class PromptRefused(Reader):
    def through(self, layer, x, places, allowed, cache, n):
        if cache is not None and x.shape[1] > 1:
            raise RuntimeError("one at a time")
        return super().through(layer, x, places, allowed, cache, n)


class PromptDoubled(Reader):
    def through(self, layer, x, places, allowed, cache, n):
        told = super().through(layer, x, places, allowed, cache, n)
        return told * 2 if cache is not None and x.shape[1] > 1 else told


class PaddedIsNaN(Reader):
    def told(self, x, seen):
        lost = seen is not None and not seen.all()
        return super().told(x, seen) * (torch.nan if lost else 1)


class MaskOfBatches(Reader):
    def allowed(self, T, S, seen, documents):
        alone = seen is not None and len(seen) == 1
        return super().allowed(T, S, None if alone else seen, documents)


class EmptyRowCounts(Reader):
    def told(self, x, seen):
        empty = seen is not None and not seen.any(-1).all()
        return super().told(x, seen) * (2 if empty else 1)


class TwiceTheGradient(Reader):
    def placed(self, x, places):
        return super().placed(2 * x - x.detach(), places)


class GradientByPadding(Reader):
    def told(self, x, seen):
        padded = seen is not None and not seen.all()
        return super().told(2 * x - x.detach() if padded else x, seen)


def refuse(model):
    raise RuntimeError("not here")


SAID = {
    "forgetful": (
        Forgetful,
        {"rotary": True},
        {"positions": "relative"},
        "cache, one by one",
        "With its cache it forgets: each token is answered as if it stood alone.",
    ),
    "fading": (
        Reader,
        {},
        {"new_cache": Fading},
        "cache, one by one",
        "Token by token through its cache, it answers otherwise than to the whole, from token 0 on, told its position,"
        " too. What differs may be keys, values, positions, the mask, or which head reads which key.",
    ),
    "full": (
        Reader,
        {},
        {"new_cache": Full},
        "cache, one by one",
        "Token by token through its cache, it raises RuntimeError: full",
    ),
    "a prompt refused": (
        PromptRefused,
        {},
        {},
        "cache, prompt first",
        "A prompt read into its cache: it raises RuntimeError: one at a time",
    ),
    "a prompt doubled": (
        PromptDoubled,
        {},
        {},
        "cache, prompt first",
        "The outputs of a prompt are others if it is read into a cache.",
    ),
    "behind a prompt": (
        Reader,
        {},
        {"new_cache": FadingPrompt},
        "cache, prompt first",
        "Behind a prompt of 4 tokens, the next is answered otherwise than in the whole, though token by token all is"
        " well.",
    ),
    "NaN with padding": (
        PaddedIsNaN,
        {},
        {},
        "padding on the right",
        "Tokens of a padded row are answered with NaN.",
    ),
    "a mask of batches": (
        MaskOfBatches,
        {},
        {},
        "padding on the left",
        "A padded row alone in its batch is answered otherwise: there its padding is read, whatever the mask says.",
    ),
    "an empty row": (
        EmptyRowCounts,
        {},
        {},
        "a row of padding",
        "A row without a token changes what other rows are answered.",
    ),
    "twice the gradient": (
        TwiceTheGradient,
        {},
        {},
        "gradients",
        "The gradient of word.weight is 2 of the slope.",
    ),
    "a gradient by padding": (
        GradientByPadding,
        {},
        {},
        "gradients with padding",
        "With padded rows, the gradient of norm.bias is not the sum of those of each row alone, though the"
        " answers are the same.",
    ),
    "no program": (
        Reader,
        {},
        {"programs": {"other": refuse}},
        "back ends agree",
        "It takes no other program: other (RuntimeError: not here).",
    ),
}
INSTEAD = {
    "forgetful": "Look through all of the cache: cat([cached, new]).",
    "fading": "Compare them layer by layer with those of the whole; the first that differs is it.",
}


def is_in(said, told):
    """Whether it is a part of what was told that no word goes on beyond."""
    return re.search(rf"(?<!\w){re.escape(said)}(?!\w)", told) is not None


@pytest.mark.long
@pytest.mark.parametrize("name", SAID)
def test_what_is_said(name):
    made, sizes, held, law, said = SAID[name]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = made(**sizes)
    report = examine_model(model, **{**HELD, **held})
    assert said == report[law].meaning, report.details
    assert INSTEAD.get(name, report[law].instead) == report[law].instead
    assert {finding.name for finding in report.failed} <= {law}
    assert waits_in_vain(report) == []


def said_at_the_top(portrait, *, failed=False, untold=("future, evaluating", "the past is seen")):
    """Of a report of four laws, of which one is told."""
    findings = [Finding(law, None if law in untold else True) for law in ("future, evaluating", "the past is seen")]
    findings += [Finding("alone or in company", True), Finding("answers", None)]
    findings += [Finding("random state", False, weight="fault")] if failed else []
    return ModelReport("A model", findings, portrait=portrait).blind


def test_what_it_is_declared_to_be_and_no_law_could_tell_is_said_at_the_top_where_nothing_failed():
    decoder = ["A decoder.", "Four layers."]
    assert said_at_the_top(decoder) == (
        "3 of 4 laws could not be told, among them those of a decoder: “future, evaluating”, “the past is seen”"
    )
    assert said_at_the_top(["An encoder."]) == said_at_the_top([]) == ""
    assert said_at_the_top(decoder, failed=True) == said_at_the_top(["An encoder."], failed=True) == ""
    assert said_at_the_top(decoder, untold=()) == said_at_the_top(decoder, untold=("the past is seen",)) == ""


def test_every_law_has_a_page_of_the_book():
    contents = (ROOT / "_toc.yml").read_text(encoding="utf8")
    assert [law for law, (_, page) in MODEL_LAWS.items() if f"file: book/{page}\n" not in contents] == []


def numberless(said):
    """Another machine rounds otherwise, and another library has another version."""
    return re.sub(r"\d[\d.e+-]*", "#", said)


@pytest.mark.long
@pytest.mark.parametrize("name", [*ODD, *OF_THE_LIBRARY])
def test_what_is_said_of_an_odd_model(name):
    if name in OF_THE_LIBRARY:
        pytest.importorskip("transformers")
    make, held, expected = (ODD | OF_THE_LIBRARY)[name]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = make()
    report = examine_model(model, **held)
    assert waits_in_vain(report) == []
    told = {finding.name: finding.meaning for finding in report}
    told |= {f"instead of {finding.name}": finding.instead for finding in report}
    told["portrait"] = " ".join(report.portrait)
    told["at the top"] = report.blind
    assert {law for law, said in expected.items() if not is_in(numberless(said), numberless(told[law]))} == set(), told


FOLDER = Path(surgeon.checkup.models.__file__).parent
TOLD = {
    whole: pattern
    for path in sorted(FOLDER.rglob("*.py"))
    if path.name != "shell.py"
    for whole, pattern in sentences(path.read_text(encoding="utf8"))
}


def test_sentences_are_found_in_the_source():
    assert len(TOLD) > 150
    for some in ("It reads pictures.", "The gradient of {} is {} of the slope.", "It raises {}"):
        assert some in TOLD


@pytest.mark.parametrize("whole", TOLD)
def test_every_sentence_is_expected_of_somebody(whole):
    """The laws themselves are said wherever they hold."""
    expected = [text for both in said_of_models.SAID.values() for text in both]
    expected += [said for *_, said in SAID.values()] + list(INSTEAD.values())
    expected += [said for *_, each in (ODD | OF_THE_LIBRARY).values() for said in each.values()]
    expected += [said for laws in TRUE.values() for _, said in laws.values()]
    expected += [law for law, _ in MODEL_LAWS.values()]
    assert any(re.search(TOLD[whole], text) for text in expected)
