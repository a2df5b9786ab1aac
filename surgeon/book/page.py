"""What a page says to its reader: a claim, a function's source, a figure."""

import ast
import hashlib
import html
import inspect
import io
import os
import re
import textwrap
from base64 import b64encode
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote

import matplotlib
from IPython.display import display
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from surgeon.book.bound import Bound, digits
from surgeon.book.parts import find_part

REPOSITORY = (
    os.environ.get("GITHUB_REPOSITORY")
    or "attention-surgeon/attention-surgeon"
)
BRANCH = os.environ.get("SURGEON_BRANCH") or "main"
PACKAGE = Path(__file__).resolve().parents[1]

Value = TypeVar("Value")


class ClaimError(AssertionError):
    """A page claims something that its own numbers contradict."""


def claim(
    statement: str,
    value: Value,
    *,
    at_least: float | None = None,
    at_most: float | None = None,
    within: tuple[float, float] | None = None,
) -> Value:
    """Check what a page says, say it with its mark, and hand the value back.

    Parameters
    ----------
    statement : str
        What is claimed, a sentence in plain text; words between backticks are
        set as code.
    value : bool or number
        What was measured; a tensor or an array of one such without axes is
        read as what it holds.
    at_least, at_most : float, optional
        Bounds of the value, themselves allowed.
    within : (float, float), optional
        Both bounds at once. With no bound at all, `value` is a truth that
        must hold.

    Returns
    -------
    bool or number
        `value`, unchanged, for the prose.

    Raises
    ------
    ClaimError
        If the value breaks its bound, NaN included; it names the statement,
        the value and the bound.
    ValueError
        If the bounds contradict each other, a number comes without a bound,
        or many values come at once.

    Examples
    --------
    >>> claim("Two rows of seven columns: fourteen.", 2 * 7, within=(14, 14))
    ✓ Two rows of seven columns: fourteen. 14 (between 14 and 14)
    14
    """
    if within and (at_least is not None or at_most is not None):
        raise ValueError(
            "claim takes within, or at_least and at_most, got both."
        )
    bound = Bound(*(within or (at_least, at_most)))
    measured = bound.read(value)
    number = digits(measured)
    if not bound.holds(measured):
        raise ClaimError(
            f"{statement!r} does not hold: measured {number}, claimed"
            f" {bound}."
        )
    said = {} if bound.is_truth else {"value": number, "bound": f"{bound}"}
    plain = f" {number} ({bound})" if said else ""
    show(f"✓ {statement}{plain}", html=_marked(statement, said))
    return value


def _marked(statement: str, said: dict[str, str]) -> str:
    """A claim's HTML: its mark, and a span for each of its parts."""
    parts = {name: html.escape(text) for name, text in said.items()}
    spans = "".join(
        f' <span class="claim-{name}">{text}</span>'
        for name, text in {"statement": inline(statement), **parts}.items()
    )
    mark = '<span class="claim-mark" aria-hidden="true">✓</span>'
    return f'<p class="claim" id="{_anchor(statement)}">{mark}{spans}</p>'


def source(
    *objects: Callable[..., Any], part: str | tuple[str, ...] | None = None
) -> None:
    """Show functions or classes from their files, each with a link there.

    Their docstrings are left out.

    Parameters
    ----------
    *objects : function or class
        What to show; it must come from a file of `surgeon`.
    part : str or tuple of str, optional
        A numbered step of one function, and nothing else of it: "1" is what
        stands below the comment ``# 1. ...``, up to the next such comment, a
        blank line or the end of its block. Of several, all lines from the
        first to the last.

    Raises
    ------
    ValueError
        If an object has no source in this repository, or if `part` comes
        with several objects or names no step of its function.
    """
    if part is not None and len(objects) != 1:
        raise ValueError(
            f"part must come with one function, got {len(objects)}."
        )
    for thing in objects:
        try:
            function = inspect.unwrap(thing)  # its decorator is elsewhere
            file = Path(inspect.getsourcefile(function) or "").resolve()
            path = f"{PACKAGE.name}/{file.relative_to(PACKAGE).as_posix()}"
            lines, first = inspect.getsourcelines(function)
        except (TypeError, ValueError, OSError):
            raise ValueError(
                f"source needs a function or class of surgeon, got {thing!r}."
            ) from None
        where = f"line {first}"
        if part is not None:
            start, end = find_part(function.__name__, "".join(lines), part)
            lines, first = lines[start:end], first + start
            where = f"lines {first}–{first + len(lines) - 1}"
        code = textwrap.dedent("".join(lines)).rstrip("\n")
        code = _without_docstrings(code) if part is None else code
        url = link(path, first, first + len(lines) - 1)
        place = f"[`{path}`, {where}]({url})"
        # A fence longer than any that the code holds.
        runs = [len(ticks) for ticks in re.findall("`+", code)]
        fence = "`" * max([3, *(1 + length for length in runs)])
        block = f"{fence}python\n{code}\n{fence}"
        show(code, markdown=f"{block}\n\n{place}")


def link(path: str, first: int, last: int) -> str:
    """The address of some lines of a file in the book's repository."""
    place = quote(f"{REPOSITORY}/blob/{BRANCH}/{path}")
    return f"https://github.com/{place}#L{first}-L{last}"


def figure(fig: Figure, caption: str, alt: str) -> None:
    """Show a figure as SVG, with a caption and an alternative text.

    Both may be computed.

    Parameters
    ----------
    fig : matplotlib.figure.Figure
        What to show.
    caption : str
        The point it makes, in plain text; words between backticks are set as
        code.
    alt : str
        What a person would see, with the numbers that matter.

    Raises
    ------
    ValueError
        If the caption or the alternative text is empty.
    """
    show(f"[figure: {caption}]", html=drawn(fig, caption, alt))


def drawn(fig: Figure, caption: str, alt: str) -> str:
    """The HTML of what `figure` shows, for what has a figure inside it.

    It takes and raises the same.
    """
    for name, text in (("caption", caption), ("alt", alt)):
        if not text.strip():
            raise ValueError(f"{name} must say something, got an empty text.")
    buffer = io.BytesIO()
    # The same figure gives the same file. (`savefig` would draw it twice.)
    with matplotlib.rc_context({"svg.hashsalt": caption}):
        FigureCanvasSVG(fig).print_svg(buffer, metadata={"Date": None})
    width, height = (round(96 * inches) for inches in fig.get_size_inches())
    data = b64encode(buffer.getvalue()).decode()
    return (
        '<figure class="measured">'
        f'<img src="data:image/svg+xml;base64,{data}" width="{width}"'
        f' height="{height}" alt="{html.escape(alt)}">'
        f"<figcaption>{inline(caption)}</figcaption></figure>"
    )


class _Shown:
    """One thing in several forms.

    The front end takes the richest that it knows, a terminal the plain one.
    """

    def __init__(self, plain: str, widget: Any, **forms: str) -> None:
        self.plain, self.widget, self.forms = plain, widget, forms

    def __repr__(self) -> str:
        return self.plain

    def _repr_mimebundle_(
        self, include: Any = None, exclude: Any = None
    ) -> dict[str, Any]:
        rich = {f"text/{form}": text for form, text in self.forms.items()}
        if self.widget is not None:
            rich |= self.widget._repr_mimebundle_()[0]
        return rich | {"text/plain": self.plain}


def show(plain: str, *, widget: Any = None, **forms: str) -> None:
    """Show text, and what says more to a front end: `html`, `markdown`.

    Where a kernel answers, a notebook takes a widget before all others.
    """
    display(_Shown(plain, widget, **forms))


def _without_docstrings(code: str) -> str:
    """The code with every docstring's lines taken out."""
    lines = code.splitlines()
    for node in ast.walk(ast.parse(code)):
        if not isinstance(node, ast.FunctionDef | ast.ClassDef):
            continue
        if ast.get_docstring(node) is not None:
            doc = node.body[0]
            first, last = doc.lineno - 1, doc.end_lineno or doc.lineno
            lines[first:last] = [""] * (last - first)
    text = "\n".join(lines).strip("\n")
    # Nothing stands between a head and its body.
    text = re.sub(r"(:[^\S\n]*(#[^\n]*)?)\n(\s*\n)+", r"\1\n", text)
    return re.sub(r"\n{3,}", "\n\n", text)


def inline(text: str) -> str:
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", html.escape(text))


def _anchor(statement: str) -> str:
    return "claim-" + hashlib.sha256(statement.encode()).hexdigest()[:10]
