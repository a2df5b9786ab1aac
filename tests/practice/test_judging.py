"""The judge: each mistake is named, whoever wrote it, and no style that is right is refused."""

import re

import pytest
import torch
from right_tries import RIGHT
from said_in_practice import SAID, to_unwritten
from shown_sentences import sentences
from small_book import ROOT
from wrong_tries import UNKNOWN, WRONG

import surgeon
from surgeon import judge
from surgeon.checkup.finding import ALL_LAWS
from surgeon.practice.step import MANNERS
from surgeon.practice.steps import STEPS
from surgeon.practice.titles import TITLES
from surgeon.zoo.families import FAMILIES

TRIES = [
    (step, name, number)
    for step, mistakes in WRONG.items()
    for name, tries in mistakes.items()
    for number in range(len(tries))
]


@pytest.mark.parametrize(("step", "name", "number"), TRIES)
def test_a_wrong_try_is_named(step, name, number):
    verdict = judge(step, WRONG[step][name][number])
    assert (verdict.right, verdict.mistake) == (False, name), str(verdict)
    assert str(verdict) == SAID[f"{step}, {name}"]


@pytest.mark.long
@pytest.mark.parametrize(("step", "style"), [(step, style) for step in RIGHT for style in RIGHT[step]])
def test_a_right_try_passes_in_any_style(step, style):
    verdict = judge(step, RIGHT[step][style])
    assert verdict.right, str(verdict)
    assert str(verdict) == SAID[f"{step}, right, {style}"]


@pytest.mark.parametrize("step", STEPS)
def test_every_mistake_is_tried_and_so_are_three_styles(step):
    assert set(STEPS[step].mistakes) <= set(WRONG[step])
    assert set(WRONG[step]) <= set(STEPS[step].mistakes) | set(MANNERS)
    assert len(RIGHT[step]) >= 3


@pytest.mark.parametrize("step", STEPS)
def test_who_fails_one_question_alone_makes_a_mistake_that_is_known(step):
    known = set(STEPS[step].mistakes) | set(MANNERS)
    questions = STEPS[step].questions(torch.Generator().manual_seed(0))
    assert {each.edge for each in questions} - {""} <= known
    assert {*STEPS[step].laws, *STEPS[step].raising.values()} <= known
    assert not questions[0].edge


# What is no try yet, and what never answers

HINTS = {
    "no name": "What a cell uses is imported or written in a cell above it.",
    "own name": "What is assigned in a function is its own there, from the first line: give the result another name"
    " than the function that makes it.",
    "argument": "An argument hides the function of its name: give the function a second name above.",
}


def stub(scores, d_k): ...


def unwritten(scores, d_k):
    """Scores over the root of d_k."""
    raise NotImplementedError


@pytest.mark.parametrize("try_", [stub, unwritten, lambda scores, d_k: None, lambda scores, d_k: ...])
def test_a_stub_is_told_what_to_write(try_):
    verdict = judge("scale", try_)
    assert verdict.right is None
    assert str(verdict) == (
        "Nothing yet. In place of the dots under def, write what gives the scores back at another size, with a return"
        " at the end, and run the cell again."
    )


@pytest.mark.parametrize("step", STEPS)
def test_each_step_says_what_is_to_be_written(step):
    assert to_unwritten(step) == SAID[f"{step}, unwritten"]


def test_one_that_raises_gets_a_sentence():
    verdict = judge("scale", lambda scores: scores)
    assert verdict.right is False
    assert str(verdict).startswith("Not yet. Asked with scores [2, 3], d_k = 16, it raises TypeError: ")
    said = judge("scale", lambda scores, d_k: scores / nowhere)  # noqa: F821
    assert "NameError: name 'nowhere' is not defined. Hint: " in str(said)
    assert said.hint == HINTS["no name"]


def steps(Q, K, V, mask=None, scale=True):
    scores = scores(Q, K)  # noqa: F821
    return scores @ V, scores


def steps_by_a_hidden_name(Q, K, V, mask=None, scale=True):
    weights = scale(Q @ K.mT, Q.shape[-1])
    return weights @ V, weights


@pytest.mark.parametrize(
    ("try_", "said", "hint"),
    [
        (
            steps,
            "cannot access local variable 'scores' where it is not associated with a value.",
            "own name",
        ),
        (steps_by_a_hidden_name, "'bool' object is not callable.", "argument"),
    ],
)
def test_a_name_that_hides_a_function_gets_a_hint(try_, said, hint):
    verdict = judge("attention", try_)
    assert verdict.says.endswith(said)
    assert verdict.hint == HINTS[hint]


def test_one_that_never_ends_is_ended(monkeypatch):
    monkeypatch.setattr("surgeon.practice.judging.PATIENCE", 0.3)

    def endless(scores, d_k):
        while True:
            scores = scores + 1

    verdict = judge("scale", endless)
    assert verdict.says == "It had not answered after 0 seconds."
    assert verdict.hint == "Does each of its loops come to an end?"


@pytest.mark.parametrize("n", range(len(UNKNOWN)))
def test_what_is_no_known_mistake_is_said_in_a_sentence(n):
    step, try_ = UNKNOWN[n]
    verdict = judge(step, try_)
    assert (verdict.right, verdict.mistake) == (False, "")
    assert str(verdict) == SAID[f"{step}, unknown, {n}"]


# Said by what tests expect beside the file: of errors, of laws, of patients
ELSEWHERE = [
    *HINTS.values(),
    "It had not answered after 0 seconds.",
    "The law that is broken: ",
    "Asked with scores [2, 3], d_k = 16, it raises TypeError: no.",
    "This exercise takes three numbers; it got one.",
    "No, that law holds. A question for this patient: look.",
    "Patient 7 has it. It is cold. Instead: Warm it.",
]
SENTENCES = {
    whole: pattern
    for path in (ROOT / "surgeon" / "practice").rglob("*.py")
    for whole, pattern in sentences(path.read_text(encoding="utf8"))
}


@pytest.mark.parametrize("whole", SENTENCES)
def test_every_sentence_is_expected_of_some_try(whole):
    assert any(re.search(SENTENCES[whole], said) for said in (*SAID.values(), *ELSEWHERE))


# What is right, with a remark


def test_what_the_check_up_calls_a_hazard_is_said_besides():
    said = str(judge("attention", RIGHT["attention"]["without the flag"]))
    assert said.startswith("Right. ")
    assert "Elsewhere it breaks: A row that may look at nothing gives NaN." in said


def test_an_empty_row_and_a_number_in_float32_are_remarked():
    assert "(A row of -∞ alone" in str(judge("softmax", RIGHT["softmax"]["torch"]))
    assert "(A row of -∞ alone" not in str(judge("softmax", RIGHT["softmax"]["the assignment's"]))
    assert "kept in float32" in str(judge("scale", RIGHT["scale"]["tensor"]))


def by_the_values(Q, K, V, mask=None, scale=True):
    s = Q @ K.transpose(-2, -1)
    if scale:
        s = s / V.shape[-1] ** 0.5
    if mask is not None:
        s = s.masked_fill(mask == 0, float("-inf"))
    w = torch.softmax(s, -1)
    return w @ V, w


def test_what_no_known_mistake_explains_the_check_up_may_name():
    verdict = judge("attention", by_the_values)
    assert (verdict.right, verdict.mistake) == (False, "scale")
    assert "Scores are divided by √d_v, the width of the values." in str(verdict)


def test_what_no_question_reached_the_check_up_finds():
    """In half precision the scores are doubled: only the whole attention is asked in it."""

    def scale(scores, d_k):
        if scores.shape[-3:-2] == (3,) and scores.shape[-2:] != (2, 3) and d_k == 7 and scores.ndim == 3:
            return scores
        return scores / d_k**0.5

    found = judge("scale", RIGHT["scale"]["power"])
    assert found.right
    found = judge("scale", scale)
    assert found.right is False
    assert str(found).startswith("Not yet. Right alone, and not in a whole attention. ")
    assert found.hint == f"The law that is broken: {ALL_LAWS[found.mistake][0]}"


# What it says, and to whom


def test_a_verdict_is_one_line_and_a_link():
    verdict = judge("scale", WRONG["scale"]["divided by d_k"][0])
    assert repr(verdict) == str(verdict)
    assert str(verdict) == (
        "Not yet. Scores are divided by d_k, not by its square root. Hint: The dot product of two"
        " vectors of d_k independent numbers, of mean 0 and variance 1, has variance d_k. What is its standard"
        " deviation? Page: Scaling (anatomy/scaling)."
    )
    html = verdict._repr_html_()
    assert re.search('<a data-page="anatomy/scaling" href="https://[^"]+">Scaling</a> ', html)
    assert html.startswith('<p class="verdict"><strong>Not yet.</strong> Scores are')
    assert "Hint" not in judge("scale", RIGHT["scale"]["power"])._repr_html_()


@pytest.mark.parametrize("step", STEPS)
def test_the_solution_is_shown_to_whoever_asks_and_to_nobody_else(step, capsys):
    wrong = next(iter(WRONG[step].values()))[0]
    judge(step, wrong)
    assert capsys.readouterr().out == ""
    shown = judge(step, wrong, show=True)
    out = capsys.readouterr().out
    assert out.strip()
    assert out.strip() not in str(shown)


@pytest.mark.parametrize("step", STEPS)
def test_a_right_function_is_not_shown_to_itself_as_wrong(step):
    """The tested source of each step passes."""
    assert judge(step, STEPS[step].right if step != "attention" else surgeon.attention).right


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"step": "scales"}, "step must be one of scores, scale, mask, "),
        ({"step": ["scale"]}, "step must be one of scores, scale, mask, "),
        ({"yours": 7}, "yours must be a function, got int."),
        ({"seed": -1}, "seed must be"),
    ],
)
def test_what_cannot_be_judged_is_refused(given, said):
    with pytest.raises(ValueError, match=said):
        judge(**{"step": "scale", "yours": stub} | given)


def test_pages_are_named_by_the_titles_that_they_have():
    """Those that a verdict can name, and no others; all are in the book."""
    mistakes = [mistake for step in STEPS.values() for mistake in step.mistakes.values()]
    pages = {each.page for each in (*STEPS.values(), *mistakes, *MANNERS.values(), *FAMILIES.values())}
    pages |= {page for _, page in ALL_LAWS.values()}
    texts = {page: (ROOT / "book" / f"{page}.md").read_text(encoding="utf8") for page in pages}
    assert {page: re.search("^# (.+)$", text, re.MULTILINE)[1] for page, text in texts.items()} == TITLES
    contents = (ROOT / "_toc.yml").read_text(encoding="utf8")
    assert [page for page in pages if f"file: book/{page}\n" not in contents] == []
