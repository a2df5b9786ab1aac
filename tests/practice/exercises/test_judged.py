"""A number is as right as a reader rounds it."""

import math

import pytest

from surgeon.practice.exercises.judged import Raised, call, holds, is_near, judge_formula, judge_number, judge_numbers


@pytest.mark.parametrize(
    ("given", "true", "digits", "near"),
    [
        (0.45, 0.4527, 2, True),
        (0.46, 0.4527, 2, False),
        (0.5, 0.4527, 1, True),
        (144, 144.4, 3, True),
        (145, 144.4, 3, False),
        (0.0, 0.0, 2, True),
        (0.06, 0.0, 2, False),
        (-3, -3.04, 2, True),
        (3, -3.04, 2, False),
        (math.nan, 1, 2, False),
        (math.inf, math.inf, 2, True),
        (1e9, math.inf, 2, False),
        (0.0099, 0.00999, 1, True),
    ],
)
def test_a_number_is_near_to_the_digits_that_a_reader_gives(given, true, digits, near):
    assert is_near(given, true, digits) is near


def test_a_slip_near_the_right_number_is_right():
    judged = judge_number(1.04, 1.0, right="Yes.", hint="No.", slips=[(1.04, "A slip.")])
    assert judged.right


def test_the_number_that_is_off_is_named():
    judged = judge_numbers([1, 3, 4], [1, 2, 3], ["a", "b", "c"], right="", hint="Look.")
    assert repr(judged) == "Not yet. b is another number. Hint: Look."


def test_a_formula_is_tried_on_every_case():
    cases = [{"x": 2.0}, {"x": 3.0}]
    assert judge_formula(lambda x: x * x, lambda x: x**2, cases, right="Yes.", hint="").right
    judged = judge_formula(lambda x: 2 * x, lambda x: x**2, cases, right="", hint="Try 3.")
    assert repr(judged) == "Not yet. At x = 3 it gives another number. Hint: Try 3."


@pytest.mark.parametrize(
    ("test", "passes"),
    [(lambda x: None, True), (lambda x: x, True), (lambda x: not x, False), (lambda x: pytest.fail("no"), None)],
)
def test_a_readers_test_asserts_or_returns(test, passes):
    if passes is None:
        with pytest.raises(BaseException, match="no"):
            holds(test, True)
    else:
        assert holds(test, True) is passes


def test_a_failed_assertion_is_a_verdict_and_another_error_is_none():
    def asserts(x):
        assert not x

    assert holds(asserts, 1) is False
    with pytest.raises(Raised, match=r"^Your function raises ZeroDivisionError: division by zero\.$"):
        holds(lambda x: x / 0, 1)
    with pytest.raises(Raised, match=r"^Your function raises KeyError: 'k'\.$"):
        call(lambda: {}["k"])
