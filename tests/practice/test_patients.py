"""Ten patients: what they are, that the check-up finds what each has, and what a diagnosis is answered."""

import re

import pytest
import torch
from said_in_practice import SAID

from surgeon import diagnose, examine, findings, patients
from surgeon.practice import patients as ward
from surgeon.practice.titles import TITLES
from surgeon.zoo.families import FAMILIES, family_of

pytestmark = pytest.mark.long

POOL = [fault for family in FAMILIES.values() for fault in ward.within(family)]


def with_fault(fault):
    patient = ward.Patient(7)
    ward._RECORDS[patient] = ward._Record(fault)
    return patient


def faults(seed):
    return [ward._RECORDS[patient].fault for patient in patients(seed)]


@pytest.mark.parametrize("seed", range(20))
def test_there_are_ten_each_with_another_fault_and_every_family_is_there(seed):
    found = faults(seed)
    assert len({fault.name for fault in found}) == 10
    assert {family_of(fault).name for fault in found} == set(FAMILIES) - {"dropout"}
    assert found == faults(seed)


def test_another_seed_is_another_ten():
    assert len({tuple(fault.name for fault in faults(seed)) for seed in range(20)}) == 20


def test_a_patient_says_nothing_of_itself():
    for number, patient in enumerate(patients(), start=1):
        assert repr(patient) == patient.__name__ == f"Patient {number}"
        told = f"{vars(patient)} {dir(patient)} {patient.__doc__}"
        assert not [fault for fault in POOL if fault.name in told or fault.story in told]


@pytest.mark.parametrize("fault", POOL, ids=lambda fault: fault.name)
def test_the_check_up_finds_what_a_patient_has_and_nothing_else(fault):
    how = {"causal": "causal"} if "causal" in fault.held else {}
    assert [f.name for f in examine(with_fault(fault), **how).failed] == [fault.finding]


@pytest.mark.parametrize("name", ["softmax_over_batch", "softmax_over_queries", "undivided"])
def test_of_rows_that_do_not_sum_to_one_no_report_says_that_they_do(name):
    """A law that holds is told by its sentence: all of that sentence must be true of the patient."""
    (fault,) = [fault for fault in POOL if fault.name == name]
    held = {f.name: f.meaning for f in examine(with_fault(fault)).held}
    assert "mask before softmax" in held
    assert [meaning for meaning in held.values() if re.search("sums? to one|one unit", meaning)] == []


@pytest.mark.parametrize("fault", POOL, ids=lambda fault: fault.name)
def test_it_is_diagnosed_by_the_name_or_by_the_words(fault):
    page = f"ablations/zoo/{family_of(fault).name}"
    for said in (fault.finding, findings()[fault.finding].words, f" {fault.finding.upper()}. "):
        answer = diagnose(with_fault(fault), said)
        assert answer.right
        assert repr(answer) == (
            f"Right: Patient 7 has it. {fault.story} Instead: {fault.repair} Page: {TITLES[page]} ({page})."
        )
        assert f'<a data-page="{page}" href=' in answer._repr_html_()


def test_findings_are_those_that_a_patient_can_have():
    assert set(findings()) == {fault.finding for fault in POOL}
    assert len({each.words for each in findings().values()}) == len(findings())


@pytest.mark.parametrize(
    ("name", "finding", "said"),
    [
        ("lost_mask", "mask polarity", "No, but it is in the same family, which this book calls “masks”."),
        ("undivided", "large scores", "No, but it is in the same family, which this book calls “softmax”."),
        (
            "no_root",
            "mask obeyed",
            "No, that law holds. A question for this patient: choose two keys whose dot products",
        ),
        ("sees_the_next", "mask obeyed", "No, that law holds. A question for this patient: ask with causal=True"),
        (
            "softmax_over_queries",
            "scale",
            "No, that is not what it has. A question for this patient: add",
        ),
        (
            "blind_to_itself",
            "scale",
            "No, that law holds. A question for this patient: ask with causal=True and read the diagonal;",
        ),
    ],
)
def test_a_wrong_diagnosis_is_told_how_near_it_is(name, finding, said):
    (fault,) = [fault for fault in POOL if fault.name == name]
    answer = diagnose(with_fault(fault), finding)
    assert not answer.right
    assert str(answer).startswith(said)
    family = family_of(fault).name
    assert str(answer).endswith(f": {SAID[f'{family}, next']}.") != (finding in family_of(fault).findings)
    assert fault.story not in str(answer)
    assert answer._repr_html_().startswith('<p class="verdict"><strong>No,</strong> ')
    assert "Page:" not in str(answer)


def test_a_patient_is_causal_whatever_else_it_has():
    """But for those whose fault that is."""
    Q, K, V = torch.randn(3, 1, 5, 7, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).split(1)
    lower = torch.ones(5, 5, dtype=torch.bool).tril()
    for fault in POOL:
        if family_of(fault).name in ("scale", "softmax"):
            asked, told = with_fault(fault)(Q[0], K[0], V[0], causal=True), with_fault(fault)(Q[0], K[0], V[0], lower)
            torch.testing.assert_close(asked, told)


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: patients(-1), "seed must be"),
        (lambda: diagnose(lambda Q, K, V: Q, "scale"), r"patient must be one of patients\(\), got function."),
        (lambda: diagnose(patients()[0], "a cold"), r"finding must be one that findings\(\) lists, got 'a cold'."),
        (lambda: diagnose(patients()[0], "the scale"), "Did you mean 'scale'"),
        (lambda: patients()[0](1, 2, 3), "Q must be a floating-point tensor, got int."),
    ],
)
def test_what_cannot_be_answered_is_refused(call, said):
    with pytest.raises(ValueError, match=said):
        call()
