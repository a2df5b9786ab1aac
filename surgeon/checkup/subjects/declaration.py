"""What is said of a subject, and what it is then held by."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from surgeon.arguments import positive_integer
from surgeon.checkup.designs.declared import Said
from surgeon.checkup.subjects.conventions import MASKS, SHAPES
from surgeon.checkup.subjects.fused import FUSED
from surgeon.checkup.subjects.layouts import LAYOUTS

Options = Mapping[str, Any] | Callable[[int], Mapping[str, Any]] | None
NAMED = ("Q", "K", "V", "mask", "x", "context")


@dataclass(frozen=True, kw_only=True)
class Declaration:
    """What the caller says of the subject, as `surgeon.examine` documents it.

    Raises
    ------
    ValueError
        If it contradicts itself, or names what there is not.
    """

    layout: str | None = None
    names: Mapping[str, str] = field(default_factory=dict)
    mask: str | None = None
    mask_shape: str | None = None
    padding: str | None = None
    causal: str | bool | None = None
    dropout: str | None = None
    heads: int | None = None
    kv_heads: int | None = None
    projections: Sequence[str] | bool | None = None
    fused: str | None = None
    widths: tuple[int, int] | None = None
    width: int | None = None
    meant: Said = field(default_factory=Said)
    options: Options = None

    def __post_init__(self) -> None:
        one_of("layout", self.layout, LAYOUTS)
        one_of("mask", self.mask, (*MASKS, "find", "none"))
        one_of("mask_shape", self.mask_shape, SHAPES)
        one_of("fused", self.fused, FUSED)
        for name, number in self._counts():
            positive_integer(name, number)
        self._check_heads()
        strange = sorted(set(self.names) - set(NAMED))
        if strange:
            raise ValueError(
                "names must have keys among Q, K, V, mask, x and context, got"
                f" {strange}."
            )

    def _counts(self) -> list[tuple[str, int]]:
        """What must be a positive integer, if it is given."""
        given = [
            ("heads", self.heads),
            ("kv_heads", self.kv_heads),
            *(("widths", number) for number in self.widths or ()),
            ("width", self.width),
        ]
        return [
            (name, number) for name, number in given if number is not None
        ]

    def _check_heads(self) -> None:
        heads, kv_heads, layout = self.heads or 1, self.kv_heads, self.layout
        if layout is not None and "H" not in layout and heads > 1:
            raise ValueError(
                f"layout must have an axis H for {heads} heads,"
                f" got {layout!r}."
            )
        if self.heads and kv_heads and heads % kv_heads:
            raise ValueError(
                f"kv_heads must divide heads ({heads}), got {kv_heads}."
            )

    @property
    def convention(self) -> str | None:
        """How it reads masks, if that is said, and not to be found out."""
        return None if self.mask == "find" else self.mask


@dataclass(frozen=True, kw_only=True)
class Held:
    """How a subject is held: everything needed to ask it.

    Parameters
    ----------
    layout, mask, mask_shape : str
        One of `LAYOUTS`, `MASKS` or "none", `SHAPES`; an empty shape is to be
        found out.
    mask_name, mask_needed
        The mask's argument (it goes fourth if there is none), and whether
        "no mask" must be said by None.
    padding_reads : str, optional
        The convention of the argument for padding, if not that of the mask.
    rectangular, why_square
        Whether it takes other numbers of keys than of queries, and why not.
    flag_beside_mask : bool
        Whether the causal flag is but a hint, and the mask must come with it.
    open_mask : bool
        Whether "everything" must be said by a mask, because none means
        causal.
    documents : str or callable, optional
        Its argument for the number of each token's document, or a function of
        these that returns its arguments.
    """

    layout: str = "B T d"
    heads: int = 1
    kv_heads: int = 1
    widths: tuple[int, int] | None = None
    mask: str = "True attends"
    mask_name: str | None = None
    mask_needed: bool = False
    mask_shape: str = ""
    padding: str | None = None
    padding_reads: str | None = None
    causal: str | bool | None = None
    dropout: str | None = None
    rectangular: bool = True
    why_square: str = "It takes as many keys as queries."
    flag_beside_mask: bool = False
    open_mask: bool = False
    documents: str | Callable[..., Any] | None = None
    options: Options = None

    @property
    def takes_mask(self) -> bool:
        return self.mask != "none"

    @property
    def can_be_causal(self) -> bool:
        return bool(self.causal) or self.takes_mask

    def worded(self, meaning: str) -> str:
        """What is said of "the mask", where it was asked without one."""
        if not self.causal or self.flag_beside_mask:
            return meaning
        lost = meaning.startswith("The mask has no effect")
        own = "The causal flag" if lost else "The causal mask"
        return meaning.replace("The mask ", f"{own} ", 1)

    def __str__(self) -> str:
        axes = ", ".join(self.mask_shape.split())
        masks = f"mask {self.mask} [{axes}]" if self.takes_mask else "no mask"
        return f"{self.layout}, {masks}"


def one_of(name: str, value: str | None, known: Sequence[str]) -> None:
    """Refuse a value that is none of those that are known."""
    if value is not None and value not in known:
        raise ValueError(
            f"{name} must be one of {', '.join(map(repr, known))}, got"
            f" {value!r}."
        )
