"""Texts of several kinds, written for this book, for a model to read."""

import tomllib
from importlib.resources import files
from typing import NamedTuple

FILE = "texts.toml"


class Text(NamedTuple):
    """A short text.

    Attributes
    ----------
    kind : str
        What it is: a story, a recipe, code and so on.
    name : str
        What it is called; no two of a kind share a name.
    text : str
        The text, without a line's end at its own.
    seen : bool
        Whether it is of the half on which heads are chosen; what was chosen
        is tested on the others.
    """

    kind: str
    name: str
    text: str
    seen: bool


def load_texts(*, seen: bool | None = None) -> list[Text]:
    """Forty-eight texts, four of each kind, of some hundred tokens each.

    Parameters
    ----------
    seen : bool, optional
        True for the half on which heads are chosen, two of each kind; False
        for the half on which what was chosen is tested; both if not given.

    Returns
    -------
    list of Text
        Kind by kind, and of each kind the seen ones first. Always the same,
        in the same order. The texts of the kind ``"repetition"`` say all that
        they say twice.

    Examples
    --------
    >>> texts = load_texts()
    >>> len(texts), len(load_texts(seen=True)), len({t.kind for t in texts})
    (48, 24, 12)
    >>> texts[0].kind, texts[0].name, texts[0].text[:39]
    ('story', 'lighthouse', 'The keeper of the lighthouse had not sp')
    """
    place = files("surgeon.models") / FILE
    kinds = tomllib.loads(place.read_text(encoding="utf8"))
    return [
        Text(kind, name, text.strip(), half == "seen")
        for kind, halves in kinds.items()
        for half, texts in halves.items()
        for name, text in texts.items()
        if seen is None or seen == (half == "seen")
    ]
