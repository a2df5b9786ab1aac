"""What is said of what a reader wrote: one line."""

import html
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from surgeon.checkup.finding import BOOK
from surgeon.practice.titles import TITLES

Heads = Mapping[bool | None, str]


@dataclass(frozen=True, repr=False)
class Said:
    """A line: whether it is right, why, where to look, and the page.

    In a notebook, the page is a link, which the book's own site finds by its
    address; what stands between backticks is code.
    """

    right: bool | None
    says: str
    hint: str = ""
    page: str = ""

    HEADS: ClassVar[Heads] = {
        True: "Right.",
        False: "Not yet.",
    }

    @property
    def head(self) -> str:
        return self.HEADS.get(self.right, "")

    def __str__(self) -> str:
        hint = f"Hint: {self.hint}" if self.hint else ""
        page = f"{TITLES[self.page]} ({self.page})" if self.page else ""
        page = f"Page: {page}." if page else ""
        return " ".join(filter(None, [self.head, self.says, hint, page]))

    __repr__ = __str__

    def _repr_html_(self) -> str:
        said = [f"<strong>{self.head}</strong>"] if self.head else []
        said.append(_inline(self.says))
        if self.hint:
            said.append(f"<em>Hint:</em> {_inline(self.hint)}")
        if self.page:
            said.append(
                f'<em>Page:</em> <a data-page="{self.page}"'
                f' href="{BOOK}{self.page}.html">{TITLES[self.page]}</a>'
                f" ({self.page})."
            )
        return f'<p class="verdict">{" ".join(said)}</p>'


def _inline(text: str) -> str:
    """What stands between backticks is code."""
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", html.escape(text))


@dataclass(frozen=True, repr=False)
class Verdict(Said):
    """The judge's answer to one try.

    Printed, it is a line: what holds, or which mistake the try looks like,
    with a hint and the page about it.

    Parameters
    ----------
    right : bool or None
        Whether it holds; None where nothing was written yet.
    says : str
        What holds, or what it looks like, in a sentence or two.
    hint : str
        Where to look; empty where nothing is wrong.
    page : str
        The page about it, such as "anatomy/scaling".
    step : str
        The step that was tried.
    mistake : str
        The mistake's name in the judge's catalogue; empty where there is
        none, or none that is known.
    """

    step: str = ""
    mistake: str = ""

    HEADS: ClassVar[Heads] = {
        **Said.HEADS,
        None: "Nothing yet.",
    }


@dataclass(frozen=True, repr=False)
class Judged(Said):
    """What `surgeon.check` says; printed, it is a line.

    Parameters
    ----------
    right : bool or None
        Whether the answer is right; None where there was none to judge.
    says : str
        Why it is right, what the answer looks like, or what is wanted.
    hint : str
        Where to look; empty where nothing is wrong.
    page : str
        Empty: the exercise's own page is open.
    label : str
        The exercise.
    """

    label: str = ""


@dataclass(frozen=True, repr=False)
class Diagnosis(Said):
    """The answer to a diagnosis; printed, it is a line.

    Parameters
    ----------
    right : bool
        Whether it is what the patient has.
    says : str
        The answer, in one line.
    hint : str
        A question for this patient; empty where there is none.
    page : str
        Where the fault is told, once it is found.
    """

    HEADS: ClassVar[Heads] = {
        True: "Right:",
        False: "No,",
    }
