"""Answers to the book's exercises are judged: right ones in any writing, wrong ones by what they look like."""

import math
import re
from decimal import Decimal
from fractions import Fraction
from importlib import import_module

import numpy as np
import pytest
import torch
from exercise_answers import RIGHT, WRONG, one_off
from said_in_practice import SAID
from small_book import ROOT

from surgeon.practice.exercises.asking import check, known_exercises

KNOWN = known_exercises()
JUDGED = [label for label, exercise in KNOWN.items() if exercise.wants]
EXPLAINED = [label for label, exercise in KNOWN.items() if exercise.explains]
NUMBERS = {label: answers[0] for label, answers in RIGHT.items() if isinstance(answers[0], int | float)}
PAGES = {
    path.relative_to(ROOT / "book").with_suffix("").as_posix(): path.read_text(encoding="utf8")
    for path in (ROOT / "book").rglob("*.md")
}


def labels(page: str) -> list[str]:
    return re.findall(r"^```\{exercise\}.*\n:label: ([\w-]+)$", page, re.MULTILINE)


# The catalogue and the pages


def test_every_exercise_of_the_book_is_known_and_where_it_stands():
    standing = {label: name for name, page in PAGES.items() for label in labels(page)}
    assert {label: exercise.page for label, exercise in KNOWN.items()} == standing
    assert len(KNOWN) == sum(page.count("```{exercise}") for page in PAGES.values())


@pytest.mark.parametrize("page", [name for name, page in PAGES.items() if labels(page)])
def test_a_cell_between_an_exercise_and_its_solution_judges_the_answer(page):
    """And there is none where no answer is judged."""
    judged = [label for label in labels(PAGES[page]) if KNOWN[label].wants]
    assert re.findall(r'^check\("([\w-]+)"', PAGES[page], re.MULTILINE) == judged
    for label in judged:
        parts = (
            rf"^:label: {label}\n(?:(?!```).*\n)*```\n\n"
            r"```\{code-cell\} ipython3\n:tags: \[hide-cell\]\n(?::.*\n)*\nfrom surgeon import check\n\n"
            rf'check\("{label}", \.\.\.\)\n```\n\n'
            rf"```\{{solution\}} {label}\n"
        )
        assert re.search(parts, PAGES[page], re.MULTILINE), label


@pytest.mark.parametrize("label", KNOWN)
def test_an_exercise_takes_an_answer_or_says_why_none_is_judged(label):
    exercise = KNOWN[label]
    assert bool(exercise.wants) != bool(exercise.explains)
    assert not (exercise.wants + exercise.explains).endswith(".")
    assert hasattr(import_module(exercise.module), label.replace("-", "_")) == bool(exercise.wants)


def test_three_right_and_three_wrong_answers_are_tried_for_each():
    assert set(RIGHT) == set(WRONG) == set(JUDGED)
    assert min(len(answers) for table in (RIGHT, WRONG) for answers in table.values()) >= 3


# The judges


@pytest.mark.parametrize(("label", "n"), [(label, n) for label in RIGHT for n in range(len(RIGHT[label]))])
def test_a_right_answer_passes(label, n):
    judged = check(label, RIGHT[label][n])
    assert judged.right is True, judged
    assert repr(judged) == SAID[f"{label}, right, {n}"]
    assert repr(judged).startswith("Right. ")
    assert not judged.hint
    assert judged.label == label


@pytest.mark.parametrize(("label", "n"), [(label, n) for label in WRONG for n in range(len(WRONG[label]))])
def test_a_wrong_answer_is_told_what_it_looks_like(label, n):
    answer, part = WRONG[label][n]
    judged = check(label, answer)
    assert judged.right is False, judged
    assert part in judged.says
    assert judged.hint
    assert re.fullmatch(r"Not yet\. .+[.?] Hint: .+[.?]", repr(judged))
    assert repr(judged) == SAID[f"{label}, wrong, {n}"]


@pytest.mark.parametrize("label", [label for label in RIGHT if list(one_off(label))])
def test_of_several_numbers_the_one_that_is_off_is_named(label):
    for n, answer in enumerate(one_off(label)):
        assert repr(check(label, answer)) == SAID[f"{label}, one off, {n}"]


@pytest.mark.parametrize("label", NUMBERS)
@pytest.mark.parametrize(
    "kind",
    [float, str, Fraction, Decimal, np.float64, np.asarray, torch.tensor, lambda x: torch.tensor([[x]]).double()],
)
def test_a_number_passes_in_whatever_holds_it(label, kind):
    assert check(label, kind(NUMBERS[label])).right


@pytest.mark.parametrize("label", JUDGED)
def test_the_dots_ask_what_is_wanted(label):
    judged = check(label, ...)
    assert judged.right is None
    assert repr(judged) == f"Put {KNOWN[label].wants}, in place of the dots, and run this cell."


@pytest.mark.parametrize("label", JUDGED)
def test_an_answer_of_another_kind_is_told_in_a_sentence_what_is_wanted(label):
    for answer in (None, "a guess", True, object(), 1 + 2j, {1: 2}, [], int, [[1], [2, "x"]], torch.tensor(1j)):
        judged = check(label, answer)
        assert judged.right is None, judged
        assert re.fullmatch(rf"This exercise takes {re.escape(KNOWN[label].wants)}; it got [^.]+\.", repr(judged))


@pytest.mark.parametrize("label", JUDGED)
def test_no_answer_raises_or_passes_by_being_odd(label):
    answers = [math.nan, "nan", math.inf, -math.inf, *([math.nan] * n for n in range(2, 12)), lambda *some: math.nan]
    assert [answer for answer in answers if check(label, answer).right] == []


@pytest.mark.parametrize("label", KNOWN)
def test_what_an_exercise_wants_is_said_word_for_word(label):
    assert repr(check(label, ...)) == SAID[f"{label}, dots"]


@pytest.mark.parametrize("label", EXPLAINED)
def test_reasons_are_not_judged(label):
    judged = check(label, "because")
    assert judged.right is None
    assert repr(judged) == f"No answer is judged here: {KNOWN[label].explains}. The solution unfolds."


@pytest.mark.parametrize(
    ("label", "near"), [("softmax-pensil", "softmax-pencil"), ("Rank-Count", "rank-count"), (3, "")]
)
def test_a_label_that_is_none_is_told_the_nearest(label, near):
    message = rf"label must be that of an exercise, such as '{near}[\w-]*', got {label!r}\."
    with pytest.raises(ValueError, match=message):
        check(label, 1)


def test_a_verdict_shows_as_a_paragraph_that_is_escaped():
    judged = check("scaling-merge", lambda s_1, s_2: exec("raise ValueError('<b> & co')"))
    assert "&lt;b&gt; &amp; co" in judged._repr_html_()
    assert "<em>Hint:</em>" in judged._repr_html_()
    assert "Hint" not in check("rank-count", 3)._repr_html_()
    assert "<strong>" not in check("rank-count", ...)._repr_html_()
    assert "<code>Q @ K</code>" in check("scores-transpose", [2, 3, 3])._repr_html_()


def test_what_a_function_does_to_its_inputs_is_its_own_affair():
    def spoils(A):
        found = A.mean(0).max().item()
        A.zero_()
        return found

    assert check("patterns-column", spoils).right
