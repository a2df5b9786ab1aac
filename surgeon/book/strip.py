"""The strip that says where a page is: the formula, with its part marked.

It brings its own style, since nothing else reaches a notebook's output.
"""

import html
import re
from typing import NamedTuple

from surgeon.book.page import show

FORMULA = "softmax(Q Kᵀ / √d_k + mask) V"
HEADS = f"[head_1 … head_H] W_O, where each head is {FORMULA}"
SHAPES = "Q [T, d_k], Kᵀ [d_k, S], mask [T, S], V [S, d_v]"


class Part(NamedTuple):
    """What a page is about: a part of the formula, and what it gives."""

    sign: str
    gives: str


PARTS = {
    "scores": Part("Q Kᵀ", "the scores, [T, S]"),
    "softmax": Part("softmax", "shares that add up to one, [T, S]"),
    "scaling": Part("/ √d_k", "the scaled scores, [T, S]"),
    "masking": Part("+ mask", "the masked scores, [T, S]"),
    "attention": Part("all of it", "the output, [T, d_v]"),
    "heads": Part("all of it", "the layer's output, [T, d_model]"),
    "positions": Part(
        "Q Kᵀ, at places i and j,",
        "scores that know where the words stand, [T, S]",
    ),
}

# The mark's colours do on light and on dark ground, and are written out: of a
# notebook that nobody has trusted, JupyterLab takes no style with a variable
# in it. All other colours are those of the place.
ACCENT, TINT, RULE = "#d55e00", "rgba(213,94,0,.1)", "rgba(128,128,128,.35)"
STRIP = (
    "margin:.75rem 0;padding:.6rem 0;text-align:center;line-height:1.5;"
    "font-family:var(--surgeon-serif,Georgia,'Times New Roman',serif);"
    f"font-size:1.2rem;border:solid {RULE};border-width:1px 0"
)
ROW = (
    "display:flex;flex-wrap:wrap;justify-content:center;align-items:baseline;"
    "gap:.4rem min(.8vw,.4rem)"
)
TOGETHER = "display:inline-flex;align-items:baseline"
PIECE = (
    "display:inline-flex;flex-direction:column;align-items:center;"
    "padding:.1rem .15rem;white-space:nowrap"
)
SMALL = (
    "font-family:var(--surgeon-sans,sans-serif);font-size:.8rem;"
    "color:var(--pst-color-text-muted,inherit)"
)
BOX = "border:1px solid;border-radius:.3rem;padding:.15rem .4rem"
MARK = f"border:2px solid {ACCENT};border-radius:.3rem;background:{TINT}"


def where(part: str) -> None:
    """Show where a page is: the formula of attention, its own part marked.

    Parameters
    ----------
    part : str
        What the page is about: "scores", "softmax", "scaling", "masking",
        "attention" (all of the formula), "heads" (copies of it side by side)
        or "positions" (the scores, and the places of their words).

    Raises
    ------
    ValueError
        If `part` is none of these.

    Examples
    --------
    >>> where("scores")
    [where we are: Q Kᵀ in softmax(Q Kᵀ / √d_k + mask) V gives the scores,
     [T, S]]
    """
    if part not in PARTS:
        raise ValueError(
            f"part must be one of {', '.join(PARTS)}, got {part!r}."
        )
    sign, gives = PARTS[part]
    formula, drawing = FORMULA, _formula(part)
    if part == "heads":
        formula, drawing = HEADS, _heads()
    said = f"{sign} in {formula} gives {gives}"
    alt = html.escape(f"Where we are: {said}. Shapes: {SHAPES}.")
    small = f'<div style="{SMALL};margin-top:.3rem">gives {_set(gives)}</div>'
    show(
        f"[where we are: {said}]",
        html=f'<div class="where" role="img" aria-label="{alt}"'
        f' style="{STRIP}"><div style="{ROW}">{drawing}</div>{small}</div>',
    )


def _formula(part: str) -> str:
    """The pieces in a row; those of a page's part are marked."""

    def at(place: str) -> str:
        return f"place {place}" if part == "positions" else ""

    pieces = {
        "softmax": _piece("softmax", "[T, S]"),
        "scores": _piece("_Q_", "[T, d_k]", at("i"))
        + _piece("_K_^⊤", "[d_k, S]", at("j")),
        "scaling": _piece("/ √d_k"),
        "masking": _piece("+ mask", "[T, S]"),
    }
    mine = "scores" if part == "positions" else part
    if mine in pieces:
        pieces[mine] = _marked(pieces[mine], TOGETHER)
    softmax, *inner = pieces.values()
    # Where the row is broken, a bracket stays with its neighbour.
    opened = _span(TOGETHER, softmax + _piece("("))
    closed = _span(TOGETHER, _piece(")") + _piece("_V_", "[S, d_v]"))
    whole = "".join([opened, *inner, closed])
    return _marked(whole, ROW) if part == "attention" else whole


def _heads() -> str:
    """Copies of the formula in boxes, and the matrix that mixes them."""

    def head(h: str) -> str:
        inside = f"softmax(_Q_{h} _K_{h}^⊤ / √d_k + mask) _V_{h}"
        small = f"font-size:.95rem;{BOX}"
        return _piece(inside, "[T, d_v]", style=small)

    mixed = _piece("_W_O", "[H d_v, d_model]")
    return _marked(head("1") + _piece("…") + head("H") + mixed, ROW)


def _piece(
    sign: str, shape: str = "", place: str = "", style: str = ""
) -> str:
    """A sign, and below it its shape, and its place."""
    below = "".join(_span(SMALL, _set(x)) for x in (shape, place) if x)
    return _span(PIECE, _span(style, _set(sign)) + below)


def _set(text: str) -> str:
    """Typeset: _Q_ is slanted, and what follows _ or ^ stands low or high."""
    script = 'style="font-size:.75em;line-height:0"'
    text = re.sub(r"_([A-Z])_", r"<i>\1</i>", text)
    text = re.sub(r"\bd(?=_)", "<i>d</i>", text)
    text = re.sub(r"(?<=</i>)_?(\w+)", rf"<sub {script}>\1</sub>", text)
    return re.sub(r"\^(.)", rf"<sup {script}>\1</sup>", text)


def _marked(pieces: str, style: str) -> str:
    return _span(f"{style};{MARK}", pieces, ' class="where-mark"')


def _span(style: str, content: str, more: str = "") -> str:
    styled = f' style="{style}"' if style else ""
    return f"<span{more}{styled}>{content}</span>"
