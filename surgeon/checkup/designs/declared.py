"""What the caller says of the design, read into its parts."""

import copy
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

import torch
from torch import Tensor

from surgeon.anatomy.positions import (
    PAIRS,
    Alibi,
    Positions,
    Rotary,
    Sinusoidal,
)
from surgeon.anatomy.qk_norm import QueryKeyNorm
from surgeon.arguments import (
    natural_number,
    positive_integer,
    positive_number,
    whole_number,
)
from surgeon.checkup.designs.bounds import Cap, Sink
from surgeon.checkup.designs.design import Design, Scale
from surgeon.checkup.designs.linear import read_linear
from surgeon.checkup.designs.norms import CalledNorm, Norm, RowNorm
from surgeon.checkup.designs.pictures import read_picture
from surgeon.checkup.designs.schemes import (
    Called,
    Nowhere,
    Scheme,
    Slopes,
    Table,
    Turning,
)

POSITIONS = ("rotary", "alibi", "distance", "none")
NORMS = ("l2", "rms", "layer")
TURNED = ("base", "share", "pairs", "stretch", "frequencies", "offset")


@dataclass(frozen=True, kw_only=True)
class Said:
    """The arguments of `surgeon.examine` that say what is meant.

    Raises
    ------
    ValueError
        From `design`, if one of them is not as it is documented there.
    """

    positions: Any = None
    window: int | tuple[int, int] | None = None
    sliding_window: int | None = None
    sink: bool | float | Sequence[float] | Tensor | None = None
    softcap: float | None = None
    qk_norm: str | Callable[..., Any] | None = None
    scale: float | Scale | None = None
    picture: Sequence[Any] | None = None
    linear: str | Callable[..., Any] | None = None
    normalised: bool | None = None
    documents: str | Callable[..., Any] | None = None

    def __post_init__(self) -> None:
        if self.picture is not None and self.documents is not None:
            raise ValueError("picture or documents must be given, not both.")
        scale = self.scale
        if scale is None or callable(scale):
            return
        if not 0 < abs(scale) < math.inf:
            raise ValueError(
                "scale must be a finite number other than 0, or a function"
                f" of d_k, queries and keys, got {scale}."
            )

    @property
    def number(self) -> float | None:
        """What it multiplies scores by, if that is one number."""
        given = self.scale
        return None if given is None or callable(given) else float(given)

    def design(self) -> Design:
        """Its parts, what is learned not read off yet."""
        norm, last = read_norm(self.qk_norm)
        cap = self.softcap
        return Design(
            norm=norm,
            norm_last=last,
            positions=read_positions(self.positions),
            window=read_window(self.window, self.sliding_window),
            cap=None if cap is None else Cap(positive_number("softcap", cap)),
            sink=read_sink(self.sink),
            scale=self.scale if callable(self.scale) else None,
            picture=read_picture(self.picture),
            linear=read_linear(self.linear, self.normalised),
            documents=self.documents is not None,
        )


def read_positions(said: Any) -> Scheme | None:
    """The scheme that is meant by words, a mapping, or an object."""
    if said is None:
        return None
    if isinstance(said, Positions):
        return _of_the_book(said)
    if isinstance(said, str):
        said = _mapping(said)
    if isinstance(said, Mapping):
        return _by_name(dict(said))
    if callable(said):
        return Called(said)
    _refuse("positions", POSITIONS, said)


def _mapping(said: str) -> dict[str, Any]:
    """ "rotary base=5e5 pairs=halves" as a mapping."""
    kind, *words = said.split() or [""]
    found: dict[str, Any] = {"kind": kind.strip(",")}
    for word in (word.strip(",") for word in words):
        name, equals, value = word.partition("=")
        if not equals:
            raise ValueError(
                "positions must be a kind, then name=value for each"
                f" particular, got {said!r}."
            )
        found[name] = value
    return found


def _by_name(said: dict[str, Any]) -> Scheme:
    kind = said.pop("kind", None)
    if kind not in POSITIONS:
        _refuse("positions", POSITIONS, kind)
    known = {"rotary": TURNED, "alibi": ("slopes",)}.get(kind, ())
    if strange := sorted(set(said) - set(known)):
        names = ", ".join(known) or "nothing more"
        raise ValueError(
            f"positions of {kind} must say {names}, got {', '.join(strange)}."
        )
    if kind == "rotary":
        return _turning(said)
    if kind == "alibi":
        slopes = said.get("slopes")
        return Slopes(None if slopes is None else _numbers("slopes", slopes))
    return Table() if kind == "distance" else Nowhere()


def _turning(said: dict[str, Any]) -> Turning:
    found: dict[str, Any] = {}
    for name in ("base", "share", "stretch"):
        if name in said:
            found[name] = positive_number(name, _number(name, said[name]))
    if found.get("share", 1.0) > 1 or found.get("base", 2.0) <= 1:
        raise ValueError(
            "positions must have a share of at most 1 and a base above 1,"
            f" got {said}."
        )
    pairs = said.get("pairs", "halves")
    if pairs not in PAIRS:
        raise ValueError(
            f"pairs must be one of {', '.join(PAIRS)}, got {pairs!r}."
        )
    if said.get("frequencies") is not None:
        found["frequencies"] = _numbers("frequencies", said["frequencies"])
    if "offset" in said:
        offset = _number("offset", said["offset"])
        whole: Any = int(offset) if offset == int(offset) else offset
        found["offset"] = natural_number("offset", whole)
    return Turning(pairs=pairs, **found)


def _of_the_book(said: Positions) -> Scheme:
    """One of the schemes of `surgeon.anatomy.positions`."""
    if isinstance(said, Rotary):
        return Turning(
            base=said.base,
            share=said.share,
            pairs=said.pairs,
            stretch=said.stretch,
            frequencies=said.frequencies,
        )
    if isinstance(said, Alibi):
        return Slopes()
    if isinstance(said, Sinusoidal):
        raise ValueError(
            "positions must come in at queries, keys or scores, got"
            " Sinusoidal, which is added to tokens before attention."
        )

    def placed(Q: Tensor, K: Tensor, queries: Tensor, keys: Tensor) -> Any:
        with torch.no_grad():
            bias = said.bias(queries, keys)
        q, k = said.turn(Q, queries), said.turn(K, keys)
        return q, k, None if bias is None else bias.double()

    return Called(placed)


def read_window(
    window: Any, sliding_window: Any
) -> tuple[float, float] | None:
    """How many keys behind and ahead, the query's own not counted."""
    if window is not None and sliding_window is not None:
        raise ValueError(
            "window or sliding_window must be given, not both: the one counts"
            " keys beside the query's own, the other counts that, too."
        )
    if sliding_window is not None:
        return positive_integer("sliding_window", sliding_window) - 1, 0
    if window is None:
        return None
    if whole_number(window) is not None:
        both = natural_number("window", window)
        return both, both
    if isinstance(window, (tuple, list)) and len(window) == 2:
        back, ahead = (natural_number("window", side) for side in window)
        return back, ahead
    raise ValueError(
        "window must be a number of keys to each side, or (behind, ahead),"
        f" got {window!r}."
    )


def read_sink(said: Any) -> Sink | None:
    """A sink that is learned, or of one number, or of one a head."""
    if said is None or said is False:
        return None
    if said is True:
        return Sink(None)
    return Sink(_numbers("sink", said))


def read_norm(said: Any) -> tuple[Norm | None, bool]:
    """The norm, and whether it comes after the rotation."""
    if said is None:
        return None, False
    if isinstance(said, QueryKeyNorm):
        return _by_both(said), False
    if callable(said):
        return CalledNorm(said), False
    if not isinstance(said, str):
        _refuse("qk_norm", NORMS, said)
    kind, *words = said.replace("all heads", "all-heads").split()
    if kind not in NORMS:
        _refuse("qk_norm", NORMS, kind)
    eps = [w for w in words if w.startswith("eps=")]
    rest = set(words) - {"after", "all-heads", *eps}
    if rest:
        raise ValueError(
            'qk_norm may say "after", "all heads" and "eps=...", got'
            f" {' '.join(sorted(rest))!r}."
        )
    number = _number("eps", eps[0][4:]) if eps else math.nan
    over = (1, -1) if "all-heads" in words else (-1,)
    return RowNorm(kind, number, over=over), "after" in words


def _by_both(said: QueryKeyNorm) -> Norm:
    """A module that takes queries and keys at once."""
    twin = copy.deepcopy(said).double().requires_grad_(requires_grad=False)

    def both(Q: Tensor, K: Tensor) -> tuple[Tensor, Tensor]:
        q, k = twin(Q, K)
        return q, k

    return both


def _number(name: str, value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError):
        raise ValueError(f"{name} must be a number, got {value!r}.") from None


def _numbers(name: str, said: Any) -> Tensor:
    """A tensor [n] in float64, of a number, a list, or words."""
    if isinstance(said, str):
        said = [_number(name, word) for word in said.split(",")]
    try:
        found = torch.as_tensor(said, dtype=torch.float64).detach().cpu()
    except (TypeError, ValueError, RuntimeError):
        found = torch.zeros(0)
    found = found.reshape(1) if found.ndim == 0 else found
    if found.ndim != 1 or not len(found) or not found.isfinite().all():
        raise ValueError(
            f"{name} must be a finite number, or one for each head, got"
            f" {said!r}."
        )
    return found


def _refuse(name: str, known: Sequence[str], said: Any) -> NoReturn:
    kinds = ", ".join(f'"{kind}"' for kind in known)
    raise ValueError(
        f"{name} must begin with one of {kinds}, or be a function, got"
        f" {said!r}."
    )
