"""What to ask a patient: each question, put as it says, tells what a patient has from what is like it."""

import math

import pytest
import torch
from said_in_practice import SAID

from surgeon import attention, findings
from surgeon.practice import patients as ward
from surgeon.zoo.families import FAMILIES, family_of

POOL = [fault for family in FAMILIES.values() for fault in ward.within(family)]
DRAW = torch.Generator().manual_seed(5)
Q, K = (torch.randn(2, 5, 4, generator=DRAW) for _ in range(2))
V = torch.eye(5).expand(2, 5, 5)
HIDDEN = torch.arange(5) != 3  # key 3, from every query
NOTHING = torch.zeros(2, 5, 5, dtype=torch.bool)


def patient_with(fault):
    patient = ward.Patient(7)
    ward._RECORDS[patient] = ward._Record(fault)
    return patient


def hides(patient, mask):
    return patient(Q, K, V, mask.expand(2, 5, 5))[0]


def moves_with_another_text(patient):
    other = [torch.cat([x[:1], x[1:].flip(-1)]) for x in (Q, K, V)]
    return not torch.allclose(patient(Q, K, V)[0][0], patient(*other)[0][0])


def sums_to_one_elsewhere(patient):
    weights = patient(Q, K, V)[1]
    ones = [torch.allclose(weights.sum(axis), torch.ones(())) for axis in range(3)]
    return any(ones) and not ones[2]


def wins_at_another_place(patient):
    """Key 3 wins; the identity says where."""
    keys = torch.zeros(2, 5, 4).index_fill(1, torch.tensor([3]), 9.0)
    place = patient(torch.ones(2, 5, 4), keys, V)[0].argmax(-1)
    return (place == place[0, 0]).all() and place[0, 0] != 3


def ratio_is_another(patient):
    for width in (1, 4):
        keys = torch.stack([torch.zeros(width), torch.full((width,), 1 / width)])[None]
        _, (((zero, one),),) = patient(torch.ones(1, 1, width), keys, torch.eye(2)[None])
        if not math.isclose(one / zero, math.exp(width**-0.5), rel_tol=1e-4):
            return True
    return False


def even_weights_are_ones(patient):
    return torch.allclose(patient(torch.zeros_like(Q), K, V)[0], torch.ones(()))


def output_is_not_the_weights(patient):
    output, weights = patient(Q, K, V, torch.ones(5, 5, dtype=torch.bool).tril().expand(2, 5, 5))
    return output.shape != weights.shape or not torch.allclose(output, weights, atol=1e-6)


def gradient_is_another(patient):
    if not torch.allclose(patient(Q, K, V)[0], attention(Q, K, V)[0], atol=1e-6):
        return False
    found = []
    for function in (patient, attention):
        q, k = Q.clone().requires_grad_(), K.clone().requires_grad_()
        output = (function(q, k, V)[0] * torch.arange(5)).sum()
        found.append(torch.autograd.grad(output, (q, k), allow_unused=True) if output.requires_grad else (None, None))
    return not all(a is not None and torch.allclose(a, b, atol=1e-4) for a, b in zip(*found, strict=True))


def weight_is_what_it_was(patient):
    hidden = hides(patient, HIDDEN)[..., 3]
    return (hidden > 0.01).any() and torch.allclose(hidden, patient(Q, K, V)[0][..., 3])


def hidden_key_has_all(patient):
    return (hides(patient, HIDDEN)[..., 3] > 0.999).all()


def diagonal_is_off(patient):
    output = patient(Q, K, V, causal=True)[0][0]
    return bool((output.diagonal() == 0).any() or (output.diagonal(1) > 0).any())


def rows_sum_to_less(patient):
    output = hides(patient, HIDDEN)
    return (output[..., 3] == 0).all() and (output.sum(-1) < 0.999).any()


def hidden_keys_win(patient):
    """The mask changes something; but when the key that is seen has so low a score, the hidden one has the weight."""
    keys = torch.tensor([[[-1e20], [0.0]]])
    output = patient(torch.ones(1, 1, 1), keys, torch.eye(2)[None], torch.tensor([[[True, False]]]))[0]
    changed = not weight_is_what_it_was(patient) and not hidden_key_has_all(patient)
    return changed and output[0, 0, 1] > 0.4


def row_is_empty(patient):
    output = hides(patient, HIDDEN)[0]
    return bool((output[:, 3] > 0).any()) and not torch.allclose(output[3], attention(Q, K, V)[0][0, 3])


def corner_is_wrong(patient):
    right = attention(Q, K, V, torch.ones(5, 5, dtype=torch.bool).tril())[0]
    square = torch.allclose(patient(Q, K, V, causal=True)[0], right, atol=1e-6)
    return square and patient(Q[:, :2], K, V, causal=True)[0][0, -1, -1] == 0


def nothing_seen_is_not_zero(patient):
    return bool((patient(Q, K, V, NOTHING)[0] != 0).any())


def nothing_seen_sends_nan(patient):
    q = Q.clone().requires_grad_()
    output = patient(q, K, V, NOTHING)[0]
    return output.eq(0).all() and output.requires_grad and torch.autograd.grad(output.sum(), q)[0].isnan().any()


def large_shares_are_wrong(patient):
    """One row has scores of a thousand, and one of minus a thousand."""
    wrong = []
    for size in (1.0, 1000.0):
        scores = torch.tensor([size, size - 1.5])
        rows = torch.tensor([[[1.0], [-1.0]]])
        right = torch.stack([scores.softmax(0), (-scores).softmax(0)])
        output = patient(rows, scores[None, :, None], torch.eye(2)[None])[0][0]
        wrong.append(not torch.allclose(output, right, atol=1e-3))
    return wrong == [False, True]


def half_overflows(patient):
    sixty = torch.full((1, 2, 64), 60.0, dtype=torch.float16)
    missing = patient(sixty, sixty, torch.ones(1, 2, 1, dtype=torch.float16))[0].isnan().any()
    return missing and not ratio_is_another(patient)


def average_of_ones_is_another(patient):
    keys = torch.zeros(1, 1000, 4, dtype=torch.bfloat16)
    return not torch.allclose(patient(keys[:, :1], keys, torch.ones_like(keys))[0].float(), torch.ones(()), atol=0.02)


def view_has_another_answer(patient):
    view = K.mT.contiguous().mT
    answers = [patient(Q.clone(), keys, V)[0] for keys in (view, K)]
    return not torch.allclose(*answers)


def inputs_are_others(patient):
    mine = [x.clone() for x in (Q, K, V)]
    patient(*mine)
    return not all(map(torch.equal, mine, (Q, K, V)))


SEEN = {
    "batch elements apart": moves_with_another_text,
    "softmax over keys": sums_to_one_elsewhere,
    "values in step with keys": wins_at_another_place,
    "scale": ratio_is_another,
    "convex hull": even_weights_are_ones,
    "weights returned": output_is_not_the_weights,
    "gradients": gradient_is_another,
    "mask obeyed": weight_is_what_it_was,
    "mask polarity": hidden_key_has_all,
    "mask diagonal": diagonal_is_off,
    "mask before softmax": rows_sum_to_less,
    "minus infinity": hidden_keys_win,
    "padding on keys": row_is_empty,
    "rectangular causal": corner_is_wrong,
    "dead rows, forward": nothing_seen_is_not_zero,
    "dead rows, backward": nothing_seen_sends_nan,
    "large scores": large_shares_are_wrong,
    "scale before overflow": half_overflows,
    "half precision": average_of_ones_is_another,
    "strided inputs": view_has_another_answer,
    "inputs unchanged": inputs_are_others,
}


def test_every_finding_has_a_question_in_one_line():
    assert set(SEEN) == set(findings())
    for name, (words, ask) in findings().items():
        assert (words, ask) == (SAID[f"{name}, words"], SAID[f"{name}, ask"])
        assert len(ask) <= 72
        assert ask.endswith("?")
        assert words not in ask
    assert len({ask for _, ask in findings().values()}) == len(findings())


@pytest.mark.parametrize("fault", POOL, ids=lambda fault: fault.name)
def test_what_a_patient_has_is_seen_by_its_question(fault):
    assert bool(SEEN[fault.finding](patient_with(fault)))


@pytest.mark.parametrize("fault", POOL, ids=lambda fault: fault.name)
def test_what_its_family_asks_else_is_answered_as_a_right_one_does(fault):
    near = [name for name in family_of(fault).findings if name in SEEN and name != fault.finding]
    assert [name for name in near if SEEN[name](patient_with(fault))] == []


@pytest.mark.parametrize("name", SEEN)
def test_a_right_attention_has_nothing(name):
    def right(Q, K, V, mask=None, *, causal=False):
        if causal:
            mask = torch.ones(Q.shape[-2], K.shape[-2], dtype=torch.bool).tril(K.shape[-2] - Q.shape[-2])
        scale = Q.shape[-1] ** 0.5
        return attention(Q / scale, K, V, mask, False)

    assert not SEEN[name](right)
