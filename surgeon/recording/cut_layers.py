"""Which cuts are in which layer: by number, or by name."""

from collections.abc import Mapping, Sequence

from surgeon.models.cuts import Cut
from surgeon.recording.cutting import Cuts

NO_END = 1_000_000  # layers: how many there are is known afterwards


class CutLayers:
    """What is cut, and where.

    Parameters
    ----------
    cuts : sequence of Cut, or mapping
        Layers are counted in the order in which they attend, or named.
    """

    def __init__(self, cuts: Cuts) -> None:
        self._cuts = cuts

    @property
    def any(self) -> bool:
        """Whether anything is cut."""
        return bool(self._cuts)

    def of(self, layer: int, name: str) -> list[Cut]:
        """The cuts in one layer, whose number a model may not have."""
        if isinstance(self._cuts, Mapping):
            return list(self._cuts.get(name, ()))
        return [c for c in self._cuts if layer in c.layers_of(NO_END)]

    def check_layers(self, order: Sequence[str]) -> None:
        """Raise a ValueError unless each cut is in a layer that attended."""
        if isinstance(self._cuts, Mapping):
            for name in self._cuts:
                if name not in order:
                    raise ValueError(
                        f"cuts must name layers that attend:"
                        f" {', '.join(order)}, got {name!r}."
                    )
            return
        for cut in self._cuts if order else ():
            cut.layers_of(len(order))

    def check_numbers(self, name: str) -> None:
        """Raise a ValueError if cuts go by number where a module repeats."""
        if self._cuts and not isinstance(self._cuts, Mapping):
            raise ValueError(
                "cuts must be given by name, as a mapping, where a module"
                " attends more than once in a call (in pieces?), got"
                f" {name}, whose weights are named {name}, {name}#2 and so on"
                " in the recording."
            )
