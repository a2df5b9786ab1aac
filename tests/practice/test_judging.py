"""The judge: each mistake is named, whoever wrote it, and no style that is right is refused."""

import re

import pytest
import torch
from right_tries import RIGHT
from small_book import ROOT
from wrong_tries import WRONG

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


@pytest.mark.parametrize(("step", "style"), [(step, style) for step in RIGHT for style in RIGHT[step]])
def test_a_right_try_passes_in_any_style(step, style):
    verdict = judge(step, RIGHT[step][style])
    assert verdict.right, str(verdict)


@pytest.mark.parametrize("step", STEPS)
def test_every_mistake_is_tried_and_so_are_three_styles(step):
    assert set(STEPS[step].mistakes) <= set(WRONG[step])
    assert set(WRONG[step]) <= set(STEPS[step].mistakes) | set(MANNERS)
    assert len(RIGHT[step]) >= 3


# What is no try yet, and what never answers


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


def test_one_that_raises_gets_a_sentence():
    verdict = judge("scale", lambda scores: scores)
    assert verdict.right is False
    assert str(verdict).startswith("Not yet. Asked with scores [2, 3], d_k = 16, it raises TypeError: ")
    said = str(judge("scale", lambda scores, d_k: scores / nowhere))  # noqa: F821
    assert "NameError: name 'nowhere' is not defined. Hint: What a cell uses is imported" in said


def steps(Q, K, V, mask=None, scale=True):
    scores = scores(Q, K)  # noqa: F821
    return scores @ V, scores


def steps_by_a_hidden_name(Q, K, V, mask=None, scale=True):
    weights = scale(Q @ K.mT, Q.shape[-1])
    return weights @ V, weights


@pytest.mark.parametrize(
    ("try_", "said"),
    [
        (
            steps,
            "cannot access local variable 'scores' where it is not associated with a value. Hint: What is assigned",
        ),
        (steps_by_a_hidden_name, "'bool' object is not callable. Hint: An argument hides the function of its name"),
    ],
)
def test_a_name_that_hides_a_function_gets_a_hint(try_, said):
    assert said in str(judge("attention", try_))


def test_one_that_never_ends_is_ended(monkeypatch):
    monkeypatch.setattr("surgeon.practice.judging.PATIENCE", 0.3)

    def endless(scores, d_k):
        while True:
            scores = scores + 1

    assert "had not answered after 0 seconds" in str(judge("scale", endless))


@pytest.mark.parametrize(
    ("step", "try_", "said"),
    [
        ("scores", lambda Q, K: (Q @ K.mT)[..., :1], "it gives the shape [3, 1] where [3, 3] is wanted"),
        ("scores", lambda Q, K: 7, "It gives a value of type int where a tensor is wanted."),
        ("scores", lambda Q, K: Q @ K.mT + 1, "it gives "),
        ("attention", lambda Q, K, V, mask=None: 7, "It must give two tensors, the output and the weights."),
        ("attention", lambda Q, K, V, mask=None: (V, V), "it gives the shape [2, 3, 2] and [2, 3, 2] where"),
        ("create_causal_mask", lambda n: torch.ones(n), "It gives the shape [3], not [3, 3]."),
        ("create_padding_mask", lambda lengths, n: torch.ones(n), "It gives the shape [4], where [2, 1, 4] is wanted."),
        ("analyze_attention_patterns", lambda a: 1.0, "It gives a value of type float, not a dict."),
        ("analyze_attention_patterns", lambda a: {"entropy": 1}, "It lacks max_attention, diagonal_mass, local_vs_gl"),
        ("analyze_attention_patterns", lambda a: RIGHT[STATISTICS]["window"](a) | {"entropy": a}, "must be one number"),
        ("analyze_attention_patterns", lambda a: RIGHT[STATISTICS]["window"](a) | {"entropy": 7}, "entropy = 7 where"),
        ("attention", lambda Q, K, V, mask=None: (V * 0 + 7, 0 * K @ K.mT), "it gives 7 at [0, 0, 0] where"),
    ],
)  # fmt: skip
def test_what_is_no_known_mistake_is_said_in_a_sentence(step, try_, said):
    verdict = judge(step, try_)
    assert (verdict.right, verdict.mistake) == (False, "")
    assert said in str(verdict)


STATISTICS = "analyze_attention_patterns"


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
