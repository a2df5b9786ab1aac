"""Patients: attentions with one fault each, which answer and say nothing."""

from dataclasses import dataclass
from weakref import WeakKeyDictionary

import torch
from torch import Tensor

from surgeon.anatomy.dot_product import check_inputs
from surgeon.arguments import check_seed
from surgeon.checkup.examination import examine
from surgeon.checkup.report import Report
from surgeon.practice.findings import named
from surgeon.practice.verdict import Diagnosis
from surgeon.zoo.causality import up_to
from surgeon.zoo.families import FAMILIES, Family, family_of
from surgeon.zoo.fault import Fault, Result

# What to ask next, by the family of the fault that is there
NEXT = {
    "masks": "hide one key by a mask, and look at its weight and at the"
    " others; then show only a key whose score is as low as -1e20",
    "padding": "hide the same keys from all queries; then all keys from one"
    " query",
    "time": "ask with causal=True and read the diagonal; then with more keys"
    " than queries",
    "scale": "choose two keys whose dot products with a query you know, at"
    " two widths; then large ones in float16",
    "softmax": "add up the weights of a row; then take scores of a thousand",
    "heads": "let V be the identity, so that outputs say where they come"
    " from; then change one text of a batch",
    "memory": "look at what a call leaves behind, hands back, or sends back;"
    " and ask in bfloat16, or with a transposed K",
}
TEN = 10


class Patient:
    """An attention with one fault.

    Called as ``patient(Q, K, V, mask=None, causal=False)``, it gives its
    output and its weights. It says nothing else.
    """

    def __init__(self, number: int) -> None:
        self.__name__ = f"Patient {number}"

    def __repr__(self) -> str:
        return self.__name__

    def __call__(
        self,
        Q: Tensor,
        K: Tensor,
        V: Tensor,
        mask: Tensor | None = None,
        *,
        causal: bool = False,
    ) -> Result:
        check_inputs(Q, K, V)
        fault = _RECORDS[self].fault
        if "causal" in fault.held:
            result: Result = fault.made(Q, K, V, mask, causal=causal)
            return result
        if causal:
            mask = up_to(0, Q, K, mask)
        result = fault.made(Q, K, V, mask)
        return result


@dataclass
class _Record:
    """What nobody reads who wants to find out by asking."""

    fault: Fault
    report: Report | None = None


_RECORDS: WeakKeyDictionary[Patient, _Record] = WeakKeyDictionary()


def patients(seed: int = 0) -> list[Patient]:
    """Ten attentions, of which each has one fault of the zoo.

    Parameters
    ----------
    seed : int
        Which ten; the same for the same seed.

    Returns
    -------
    list of Patient
        Functions ``f(Q, K, V, mask=None, causal=False)`` that give an output
        and weights. Each family of faults is there at least once.

    Raises
    ------
    ValueError
        If the seed is no integer from 0 to 2**32 - 1.

    Examples
    --------
    >>> patients(seed=3)[:2]
    [Patient 1, Patient 2]
    """
    generator = torch.Generator().manual_seed(check_seed(seed))

    def shuffled(faults: list[Fault]) -> list[Fault]:
        order = torch.randperm(len(faults), generator=generator).tolist()
        return [faults[place] for place in order]

    families = [shuffled(within(family)) for family in FAMILIES.values()]
    chosen = [faults[0] for faults in families if faults]
    others = shuffled([each for faults in families for each in faults[1:]])
    chosen = shuffled([*chosen, *others[: TEN - len(chosen)]])
    found = []
    for number, fault in enumerate(chosen, start=1):
        patient = Patient(number)
        _RECORDS[patient] = _Record(fault)
        found.append(patient)
    return found


def within(family: Family) -> list[Fault]:
    """The faults of a family that a patient can have.

    Those of functions that are asked as every patient is.
    """
    return [
        fault
        for fault in family.faults
        if not fault.is_layer
        and (
            not fault.held
            or fault.held == {"causal": "causal"}
            or fault.held == {"layout": "B T d"}
        )
    ]


def diagnose(patient: Patient, finding: str) -> Diagnosis:
    """Whether a patient has what you think it has.

    Parameters
    ----------
    patient : Patient
        One of `patients`.
    finding : str
        What you found: a name of the check-up's, or the plain words that
        `findings` lists for it.

    Returns
    -------
    Diagnosis
        One line: right, with the story and its page; or no, and whether it
        is at least near, or what to try instead.

    Raises
    ------
    ValueError
        If the patient is none, or the finding unknown.

    Examples
    --------
    >>> diagnose(patients(seed=3)[0], "random state").right
    False
    """
    if not isinstance(patient, Patient) or patient not in _RECORDS:
        raise ValueError(
            "patient must be one of patients(), got"
            f" {type(patient).__name__}."
        )
    name = named(finding)
    record = _RECORDS[patient]
    fault, family = record.fault, family_of(record.fault)
    if name == fault.finding:
        return Diagnosis(
            True,
            f"{patient} has it. {fault.story} Instead: {fault.repair}",
            page=family.page,
        )
    if name in family.findings:
        return Diagnosis(
            False,
            "but it is in the same family, which this book calls"
            f" “{family.name}”.",
        )
    if record.report is None:
        record.report = examine(patient)
    law = record.report[name]
    no = "that law holds" if law.passed else "that is not what it has"
    return Diagnosis(
        False, f"{no}. A question for this patient: {NEXT[family.name]}."
    )
