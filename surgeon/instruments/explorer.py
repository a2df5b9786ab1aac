"""Every head of any model, to be looked at in a notebook or in a file."""

import errno
import html
import os
import uuid
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from surgeon.arguments import place, truth
from surgeon.instruments.live import can_show_widgets
from surgeon.instruments.packing import tight_json
from surgeon.instruments.scripts import head_explorer_script, read, style
from surgeon.instruments.texts import Heads, pack, read_texts

MODES = ("all", "from", "to")
CHOICE = ("text", "layer", "head", "mode", "token")


class Explorer:
    """Every head of a model on some texts, and which one is looked at.

    Made by `surgeon.explore`. The last expression of a cell, it is shown
    there; `save` writes a file that any browser opens.

    What is assigned to an attribute is checked: a ValueError, if there is no
    such text, layer, head, token or mode. With another text or mode, a token
    that is not there becomes the last that is.

    Attributes
    ----------
    text, layer, head, token : int
        What is chosen, counted from 0. The token is a key's where `mode` is
        "to", and otherwise a query's.
    mode : str
        Which lines are drawn: "all"; "from", where the token looks; "to", who
        looks at it.
    """

    text: Any = 0
    layer: Any = 0
    head: Any = 0
    mode: Any = "all"
    token: Any = 0

    def hold(
        self, texts: list[Heads], layer: int, head: int, causal: bool
    ) -> None:
        """Take what has been read, and choose the head shown first."""
        self.texts = texts
        L, H = texts[0].weights.shape[:2]
        self.packed = {
            "layers": L,
            "heads": H,
            "causal": truth("causal", causal),
            "texts": pack(texts, causal),
        }
        self.layer = layer
        self.head = head

    def check(self, name: str, chosen: Any) -> Any:
        """What is chosen, if there is such a one; or a ValueError."""
        if name == "mode":
            if not isinstance(chosen, str) or chosen not in MODES:
                raise ValueError(
                    f"mode must be one of {', '.join(MODES)}, got {chosen!r}."
                )
            return str(chosen)
        counts = {
            "text": len(self.texts),
            "layer": self.packed["layers"],
            "head": self.packed["heads"],
            "token": self.token_count(),
        }
        return place(name, chosen, counts[name])

    def token_count(self) -> int:
        """How many tokens there are to choose from."""
        T, S = self.texts[self.text].weights.shape[2:]
        return int(S if self.mode == "to" else T)

    def __setattr__(self, name: str, value: Any) -> None:
        if name in CHOICE:
            value = self.check(name, value)
        super().__setattr__(name, value)
        if name in ("text", "mode"):
            self.token = min(self.token, self.token_count() - 1)

    @property
    def weights(self) -> Tensor:
        """The head that is chosen, on the text that is: [T, S], float64."""
        one = self.texts[self.text].weights[self.layer, self.head]
        return torch.from_numpy(one.copy())

    def html(self, title: str = "", heading: bool = True) -> str:
        """The page that `save` writes."""
        choice = {name: getattr(self, name) for name in CHOICE}
        said = html.escape(title or "Attention heads")
        return read("notebook/page.html").format(
            title=said,
            heading=f"<h1>{said}</h1>\n" if heading else "",
            style=style("head-explorer"),
            script=head_explorer_script(),
            heads=_embedded(self.packed),
            choice=_embedded(choice),
        )

    def save(self, path: str | os.PathLike[str], *, title: str = "") -> Path:
        """Write one file that opens from disk and asks nothing of anywhere.

        Parameters
        ----------
        path : str or path
            Where to. What stands there is replaced when the new file is
            whole.
        title : str
            What stands above the heads; if empty, "Attention heads".

        Returns
        -------
        pathlib.Path
            The file.

        Raises
        ------
        OSError
            If it cannot be written there: a FileNotFoundError, where there
            is no such folder, an IsADirectoryError, where it is a folder,
            and so on.
        """
        page, file = self.html(title), Path(path)
        try:
            _write_whole(file, page)
        except OSError as error:
            raise type(error)(
                error.errno,
                "path must be a file that can be written, got"
                f" {os.fspath(path)!r}: {error.strerror}.",
            ) from None
        return file

    def __repr__(self) -> str:
        count, n = (
            self.packed["layers"] * self.packed["heads"],
            len(self.texts),
        )
        return (
            f"[{count} head{'s' * (count > 1)} on {n} text{'s' * (n > 1)}:"
            f" layer {self.layer}, head {self.head}]"
        )

    def _repr_html_(self) -> str:
        """A page within the page, for where no widget can be shown."""
        L, H = self.packed["layers"], self.packed["heads"]
        longest = max(max(text.weights.shape[2:]) for text in self.texts)
        # The heads in rows, the lines of one of them, and what is around.
        rows = 44 * L if L <= 2 * H else 24 * L
        height = min(300 + min(rows, 544 * L // H) + 26 * longest, 1200)
        inside = html.escape(self.html(heading=False), quote=True)
        return (
            f'<iframe srcdoc="{inside}" sandbox="allow-scripts"'
            f' title="Attention heads" style="width: 100%; height:'
            f' {height}px; border: 0"></iframe>'
        )


def explore(
    weights: Any,
    tokens: Any,
    *,
    queries: Any = None,
    layer: int = 0,
    head: int = 0,
    causal: bool = False,
) -> Explorer:
    """Look at every head of any model: choose one, point at a token.

    Parameters
    ----------
    weights : Tensor, array, or a list of layers
        [heads, T, S] or [layers, heads, T, S], from 0 to 1, of any library;
        or what `transformers` gives as `attentions`, layers of [1, heads, T,
        S]. Of several texts, a list or a dict by name.
    tokens : sequence of str
        The names of the `S` keys. Of several texts, a list or a dict of such.
    queries : sequence of str, optional
        The names of the `T` queries, where they are not the keys, as in
        cross-attention. Of several texts, a list or a dict of such.
    layer, head : int
        The head that is shown first, counted from 0.
    causal : bool
        Whether no token sees a later one: what lies above the diagonal is
        drawn as blocked, and a file is half as large.

    Returns
    -------
    Explorer
        Shown where it ends a cell. In a notebook it is a widget if anywidget
        is installed (`pip install "attention-surgeon[widgets]"`): `layer`,
        `head`, `token`, `mode` and `text` follow the reader, and what is
        assigned to them is drawn. Else it is a page within the page.
        ``save("heads.html")`` writes one file.

    Raises
    ------
    ValueError
        If weights are no floating-point numbers of such a shape, lie outside
        0 to 1 or are NaN, or are none, as where a model of `transformers`
        runs without eager attention; if a head has more than 65,536 cells, or
        all have more than 8,000,000 numbers; if tokens are no strings but
        ids, or there is not a name for each key and each query, or not the
        same names of texts; if texts differ in layers or heads; if `layer` or
        `head` is none of those there are; if weight lies above the diagonal
        where `causal`.

    Examples
    --------
    >>> weights = torch.tensor([[[0.9, 0.1], [0.2, 0.8], [0.5, 0.5]]])
    >>> heads = explore(weights, ["die", "Katze"], queries=["a", "cat", "."])
    >>> heads
    [1 head on 1 text: layer 0, head 0]
    >>> heads.weights.shape
    torch.Size([3, 2])
    """
    texts = read_texts(weights, tokens, queries)
    explorer: Explorer
    if can_show_widgets():
        from surgeon.instruments.head_widget import HeadExplorer

        explorer = HeadExplorer()
    else:
        explorer = Explorer()
    explorer.hold(texts, layer, head, causal)
    return explorer


def _write_whole(file: Path, page: str) -> None:
    """Beside it first, so that what stands there is never half a page."""
    if file.is_dir():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    part = file.with_name(f".{file.name}.{uuid.uuid4().hex[:8]}")
    try:
        part.write_text(page, encoding="utf8")
        part.replace(file)
    finally:
        part.unlink(missing_ok=True)


def _embedded(thing: Any) -> str:
    """As JSON that ends no script before its end."""
    return tight_json(thing).decode().replace("<", "\\u003c")
