"""Attentions of other kinds: what is sound fails nothing and is told for what it is; what is not, is named."""

import pytest
from examined import names
from kinds import SOUND, UNTOLD, WRONG, in_single
from said_in_portraits import PORTRAITS
from said_instead import OF_KINDS

from surgeon import examine

FREE = {"answers", "same answer twice", "batch elements apart", "mask obeyed", "mask polarity", "mask diagonal"}
FREE |= {"mask before softmax", "future, evaluating", "padding on keys", "minus infinity", "dead rows, forward"}
FREE |= {"dead rows, backward", "inputs unchanged", "random state", "strided inputs", "values in step with keys"}


@pytest.mark.long
@pytest.mark.parametrize(("single", "seed"), [(False, 0), (True, 1)], ids=["float64", "float32"])
@pytest.mark.parametrize("name", SOUND)
def test_a_sound_attention_of_another_kind_fails_nothing_and_is_told_for_what_it_is(name, single, seed):
    subject, like = SOUND[name]
    report = examine(in_single(subject) if single else subject, seed=seed)
    assert names(report) == [], report.diagnosis
    assert like in report["known form"].meaning
    assert report.diagnosis == "Nothing found." or report.diagnosis.startswith("Nothing found: ")
    told = {finding.name for finding in report if finding.passed}
    few = {"values in step with keys"} if name == "documents" else set()  # two keys in a row are too few
    assert told >= FREE - few, FREE - told


@pytest.mark.long
@pytest.mark.parametrize("name", WRONG)
def test_a_fault_of_another_kind_is_named(name):
    subject, law, said = WRONG[name]
    for seed in (0, 1):
        report = examine(subject, seed=seed)
        assert names(report) == [law], f"seed {seed}: {report.diagnosis}"
        assert report[law].meaning == said
        assert OF_KINDS.get(name, report[law].instead) == report[law].instead


@pytest.mark.long
@pytest.mark.parametrize("name", UNTOLD)
def test_what_may_be_meant_fails_nothing(name):
    subject, said = UNTOLD[name]
    for seed in (0, 1):
        report = examine(subject, seed=seed)
        assert names(report) == [], f"seed {seed}: {report.diagnosis}"
        assert report["known form"].passed is None
        assert report["known form"].meaning == said
        assert said in report.portrait


@pytest.mark.long
@pytest.mark.parametrize("name", PORTRAITS)
def test_a_portrait_says_what_kind_of_attention_it_is(name):
    make, held, lines = PORTRAITS[name]
    assert examine(make(), **held).portrait == lines
