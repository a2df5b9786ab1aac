"""What the value of a claim must keep to."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Bound:
    """What a value must keep to: its ends, which are themselves allowed.

    Where there is neither, the value must be true.
    """

    low: float | None = None
    high: float | None = None

    def __post_init__(self) -> None:
        low, high = self.low, self.high
        if low is not None and high is not None and not low <= high:
            raise ValueError(
                f"claim must have bounds in order, got {low} and {high}."
            )

    @property
    def is_truth(self) -> bool:
        return self.low is None and self.high is None

    def __str__(self) -> str:
        low, high = self.low, self.high
        if low is not None and high is not None:
            return f"between {low:.12g} and {high:.12g}"
        if low is not None:
            return f"at least {low:.12g}"
        return "true" if high is None else f"at most {high:.12g}"

    def read(self, value: Any) -> float | bool:
        """The value as a number, or as a truth where that is asked for."""
        if not self.is_truth:
            return _number(value)
        if not _is_boolean(value):
            raise ValueError(
                f"claim needs a bound for the number {value!r}: at_least,"
                " at_most or within."
            )
        if getattr(value, "shape", ()):
            raise ValueError(f"claim needs one truth, got {_kind(value)}.")
        return bool(value)

    def holds(self, measured: float | bool) -> bool:
        """Whether a value keeps to it; NaN never does."""
        if self.is_truth:
            return bool(measured)
        above = self.low is None or measured >= self.low
        return above and (self.high is None or measured <= self.high)


def digits(number: float | bool) -> str:
    """A number as a claim shows it."""
    if isinstance(number, bool):
        return str(number)
    if number.is_integer() and abs(number) < 1e6:
        return f"{number:.0f}"
    return f"{number:.4g}"


def _number(value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError, RuntimeError):
        raise ValueError(
            f"claim needs one number, got {_kind(value)}."
        ) from None


def _is_boolean(value: Any) -> bool:
    """Python's, NumPy's or PyTorch's, one or many."""
    name = str(getattr(value, "dtype", type(value).__name__))
    return name in ("bool", "torch.bool")


def _kind(value: Any) -> str:
    shape = getattr(value, "shape", ())
    if shape:
        return f"an array of shape {list(shape)}"
    return type(value).__name__
