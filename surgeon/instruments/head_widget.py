"""The head explorer as a notebook's widget: both sides can choose."""

from typing import Any

import anywidget
import traitlets

from surgeon.instruments.explorer import Explorer
from surgeon.instruments.packing import tight_json
from surgeon.instruments.scripts import head_explorer_script, read, style
from surgeon.instruments.texts import Heads


class HeadExplorer(Explorer, anywidget.AnyWidget):
    """What `surgeon.explore` returns where a widget can be shown."""

    _esm = (
        head_explorer_script()
        + read("notebook/around.mjs")
        + read("notebook/head-widget.mjs")
    )
    _css = style("head-explorer")
    _heads = traitlets.Unicode().tag(sync=True)

    text = traitlets.Int().tag(sync=True)
    layer = traitlets.Int().tag(sync=True)
    head = traitlets.Int().tag(sync=True)
    mode = traitlets.Unicode("all").tag(sync=True)
    token = traitlets.Int().tag(sync=True)

    def hold(
        self, texts: list[Heads], layer: int, head: int, causal: bool
    ) -> None:
        super().hold(texts, layer, head, causal)
        self._heads = tight_json(self.packed).decode()

    @traitlets.validate("text", "layer", "head", "mode", "token")
    def _there(self, proposal: Any) -> Any:
        """What the browser chooses, which comes by no attribute."""
        return self.check(proposal.trait.name, proposal.value)

    @traitlets.observe("text", "mode")
    def _other_tokens(self, change: Any) -> None:
        self.token = min(self.token, self.token_count() - 1)

    def _repr_mimebundle_(self, **kwargs: Any) -> Any:
        return anywidget.AnyWidget._repr_mimebundle_(self, **kwargs)
