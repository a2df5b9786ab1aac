"""The head explorer as a notebook's widget: both sides can choose."""

from typing import Any

import anywidget
import traitlets

from surgeon.arguments import place
from surgeon.instruments.explorer import MODES, Explorer
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

    @traitlets.validate("text", "layer", "head", "token")
    def _there(self, proposal: Any) -> int:
        name, chosen = proposal.trait.name, proposal.value
        counts = {
            "text": len(self.texts),
            "layer": self.packed["layers"],
            "head": self.packed["heads"],
            "token": self._count(),
        }
        return place(name, chosen, counts[name])

    @traitlets.validate("mode")
    def _known(self, proposal: Any) -> str:
        if proposal.value not in MODES:
            raise ValueError(
                f"mode must be one of {', '.join(MODES)}, got"
                f" {proposal.value!r}."
            )
        return str(proposal.value)

    @traitlets.observe("text", "mode")
    def _other_tokens(self, change: Any) -> None:
        self.token = min(self.token, self._count() - 1)

    def _count(self) -> int:
        """How many tokens there are to choose from."""
        T, S = self.texts[self.text].weights.shape[2:]
        return int(S if self.mode == "to" else T)

    def _repr_mimebundle_(self, **kwargs: Any) -> Any:
        return anywidget.AnyWidget._repr_mimebundle_(self, **kwargs)
