"""In the kernels of the tests' build: beside each claim of a page, its counter-example is asked.

A kernel imports this before its first cell, from a copy beside one of `.ci/claims.py`, which no page's run reads: see
`built.Book`. What a counter-example does, a forked child does, and the page cannot tell. A line for each claim goes to
a file of the page's.
"""

import json
import os
import sys
import traceback
from functools import wraps
from pathlib import Path

import claims
from IPython import get_ipython
from IPython.utils.capture import capture_output

SPEAKS = "surgeon.book.page"
name = Path(os.environ["SURGEON_TRACE"]).stem  # of the page, with dashes where it has slashes
note = Path(os.environ["SURGEON_NOTED"], f"{name}.jsonl")
max, min = claims.strict(max), claims.strict(min)  # noqa: A001


def asked(statement, value, ends, frame) -> None:
    child = os.fork()
    if child:
        os.waitpid(child, 0)
        return
    try:
        sys.modules["sitecustomize"].file = None  # what is read here is no page's doing,
        del os.environ["SURGEON_TRACE"]  # nor what is started
        claims.ROOT = Path(sys.modules[SPEAKS].__file__).parents[2]
        (page,) = (page for page in claims.pages() if claims.dashed(page) == name)
        with capture_output():
            made = claims.Recorder(page, against=True).note(statement, value, ends, frame)
    except BaseException:
        made = {"says": statement, "error": traceback.format_exc()}
    with note.open("a", encoding="utf8") as file:
        file.write(json.dumps(made) + "\n")
    os._exit(0)


def stand_in(said) -> None:
    say = said.claim

    @wraps(say)
    def claim(statement, value, *, at_least=None, at_most=None, within=None):
        asked(statement, value, within or (at_least, at_most), sys._getframe(1))
        return say(statement, value, at_least=at_least, at_most=at_most, within=within)

    said.claim = claim


def before_a_cell(info) -> None:
    """Before the first that would import what claims are made with."""
    if SPEAKS in (info.raw_cell or ""):
        import surgeon.book.page as said

        note.touch()
        stand_in(said)
        get_ipython().events.unregister("pre_run_cell", before_a_cell)


get_ipython().events.register("pre_run_cell", before_a_cell)
