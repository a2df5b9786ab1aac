"""In a kernel of the tests' JupyterLab: beside each claim of a page, its counter-example is asked.

A kernel imports this before its first cell, see `lab.started`. A line for each claim goes to a file of the page's.
"""

import json
import os
import sys
from functools import wraps
from pathlib import Path

import claims
from IPython.utils.capture import capture_output

import surgeon.book.page as said

claims.ROOT = Path(said.__file__).parents[2]
page = Path(os.environ["JPY_SESSION_NAME"])
note = Path(os.environ["SURGEON_NOTED"], page.relative_to(claims.ROOT)).with_suffix(".jsonl")
note.parent.mkdir(parents=True, exist_ok=True)
note.touch()
recorder = claims.Recorder(page, against=True)
max, min = claims.strict(max), claims.strict(min)  # noqa: A001
say = said.claim


@wraps(say)
def claim(statement, value, *, at_least=None, at_most=None, within=None):
    with capture_output():
        made = recorder.note(statement, value, within or (at_least, at_most), sys._getframe(1))
    with note.open("a", encoding="utf8") as file:
        file.write(json.dumps(made) + "\n")
    return say(statement, value, at_least=at_least, at_most=at_most, within=within)


said.claim = claim
