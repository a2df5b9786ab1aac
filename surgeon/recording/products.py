"""Products in which shares weigh a sum: which operand are the shares?"""

from typing import Any

from torch import Tensor

from surgeon.recording.marks import Marks

# Where functions have what they multiply from the left, and what from the
# right, and what that is called
LEFT = {"matmul": (0, "input"), "bmm": (0, "input"), "baddbmm": (1, "batch1")}
RIGHT = {"matmul": (1, "other"), "bmm": (1, "mat2"), "baddbmm": (2, "batch2")}


def shares_in(
    name: str,
    args: tuple,
    named: dict[str, Any],
    marks: Marks,
    kind: str = "shares",
) -> int | str | None:
    """Where in the arguments of a function the shares are that it sums by.

    Their place, or their name; None if there are none, or if they are not
    what weighs: in ``shares @ values`` they stand on the left, and turned on
    the right; in an einsum their last axis is summed, and no other operand
    knows the axis before. The same of powers, if their kind is asked for.
    """
    if name in LEFT:
        place, called = (RIGHT if kind == "turned" else LEFT)[name]
        where = place if len(args) > place else called
        x = argument(args, named, where)
        return where if marks.of(x, kind) and x.ndim > 2 else None
    if name == "einsum" and args and isinstance(args[0], str):
        return _in_einsum(args, marks, kind)
    return None


def argument(args: tuple, named: dict[str, Any], where: int | str) -> Any:
    """The argument at a place, or of a name."""
    return named.get(where) if isinstance(where, str) else args[where]


def with_argument(
    args: tuple, named: dict[str, Any], where: int | str, x: Tensor
) -> tuple[tuple, dict[str, Any]]:
    """The arguments, with another tensor at a place, or of a name."""
    if isinstance(where, str):
        return args, {**named, where: x}
    return (*args[:where], x, *args[where + 1 :]), named


def _in_einsum(args: tuple, marks: Marks, kind: str) -> int | None:
    """The operand of an einsum that is shares and weighs a sum."""
    sides = args[0].replace(" ", "").split("->")
    operands = sides[0].split(",")
    if len(sides) != 2 or len(operands) != len(args) - 1:
        return None
    for n, letters in enumerate(operands, 1):
        if not marks.of(args[n], kind) or len(letters) < 3:
            continue
        ends = letters[-2:]
        query, key = ends[::-1] if kind == "turned" else ends
        others = "".join(x for m, x in enumerate(operands, 1) if m != n)
        if key in others and key not in sides[1] and query not in others:
            return n
    return None
