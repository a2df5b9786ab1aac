"""Families: every fault is in one, under a name of its own."""

import pytest

from surgeon.zoo.catalogue import ZOO
from surgeon.zoo.families import FAMILIES, family_of, label, title


def test_every_fault_is_in_one_family_and_no_family_is_empty():
    members = [fault.name for family in FAMILIES.values() for fault in family.faults]
    assert sorted(members) == sorted(ZOO)
    assert all(family.faults for family in FAMILIES.values())
    assert all(name == family.name for name, family in FAMILIES.items())


def test_every_finding_of_a_family_is_that_of_a_fault():
    findings = [finding for family in FAMILIES.values() for finding in family.findings]
    assert sorted(findings) == sorted({fault.finding for fault in ZOO.values()})


@pytest.mark.parametrize("name", ZOO)
def test_a_fault_is_found_in_its_family(name):
    assert ZOO[name] in family_of(ZOO[name]).faults


def test_labels_and_titles_tell_faults_apart():
    for said in (label, title):
        assert len({said(fault) for fault in ZOO.values()}) == len(ZOO)
    assert label(ZOO["DropoutInEvaluation"]) == "bug-dropout-in-evaluation"
    assert title(ZOO["minus_ten_thousand"]) == "Minus ten thousand"
