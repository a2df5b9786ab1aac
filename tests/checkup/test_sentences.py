"""The sentences of the check-up, which are what it is for: each is expected of somebody, word for word."""

import ast
import re
from pathlib import Path

import designed
import kinds
import pytest
import said_by_the_zoo
import said_in_portraits
import said_instead
import said_of_functions
import said_of_modules
import said_of_questions
from shown_sentences import sentences
from waiting import unmeasured, waits_in_vain

import surgeon.checkup
from surgeon import examine
from surgeon.checkup.models.laws import MODEL_LAWS

FOLDER = Path(surgeon.checkup.__file__).parent
SAID = (
    said_of_functions.SAID
    | {f"module, {name}": said for name, said in said_of_modules.SAID.items()}
    | said_of_questions.SAID
)


@pytest.mark.long
@pytest.mark.parametrize("name", SAID)
def test_what_is_said(name):
    make, held, expected = SAID[name]
    report = examine(make(), **held)
    told = {f"{finding.verdict} {finding.name}": finding.meaning for finding in report}
    assert {law: told.get(law, "") for law in expected} == expected, report
    assert waits_in_vain(report) + unmeasured(report) == []
    if name in said_instead.SAID:
        law, instead = said_instead.SAID[name]
        assert report[law].instead == instead


TOLD = {
    whole: pattern
    for path in sorted(FOLDER.rglob("*.py"))
    if FOLDER / "models" not in path.parents  # what is said of models has its own
    if path.name not in ("__main__.py", "report.py", "report_text.py", "report_html.py")
    for whole, pattern in sentences(path.read_text(encoding="utf8"))
}


CALLS = ("broken", "faulty", "wait")


def test_laws_that_others_wait_for_are_called_by_their_names():
    """In all that asks whether one is broken."""
    known = set(surgeon.checkup.finding.ALL_LAWS) | set(MODEL_LAWS)
    for path in FOLDER.rglob("*.py"):
        calls = [node for node in ast.walk(ast.parse(path.read_text(encoding="utf8"))) if isinstance(node, ast.Call)]
        asked = [call for call in calls if isinstance(call.func, ast.Attribute) and call.func.attr in CALLS]
        names = {arg.value for call in asked for arg in call.args if isinstance(arg, ast.Constant)}
        assert names <= known, path.name


def test_what_is_said_instead_is_said_of_somebody():
    assert set(said_instead.SAID) <= set(SAID)
    assert set(said_instead.OF_KINDS) <= set(kinds.WRONG)


def test_sentences_are_found_in_the_source():
    assert len(TOLD) > 100
    for some in (
        "Dropout gives NaN.",
        "Heads are {}.",
        "It refuses a mask: {}",
        " Rows sum to {}: the division by the sum is missing.",
        "{} loses more than rounding each stage once: a long sum is kept in half precision.",
        "The subject must return a tensor first, got {}.",
        "Cannot be told: the subject raises ",
    ):
        assert some in TOLD


TWENTY = examine(kinds.SOUND["a window of twenty"][0])["known form"].meaning


@pytest.mark.parametrize("whole", TOLD)
def test_every_sentence_is_expected_of_somebody(whole):
    """The laws themselves are said wherever they hold."""
    expected = [text for _, _, said in SAID.values() for text in said.values()]
    expected += [line for _, _, lines in said_in_portraits.PORTRAITS.values() for line in lines]
    expected += [said for _, _, said in kinds.WRONG.values()]
    expected += [said for _, said in kinds.UNTOLD.values()]
    expected += [said for *_, said in designed.WRONG.values()]
    expected += [TWENTY, *(text for said in said_of_questions.COMPILED.values() for text in said)]
    expected += [*said_by_the_zoo.SAID.values(), *(law for law, _ in surgeon.checkup.finding.ALL_LAWS.values())]
    tables = said_instead.OF_THE_ZOO, said_instead.OF_DESIGNS, said_instead.OF_KINDS
    expected += [text for table in tables for text in table.values()]
    expected += [*(text for _, text in said_instead.SAID.values())]
    assert any(re.search(TOLD[whole], text) for text in expected)
