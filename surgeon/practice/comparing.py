"""Whether two answers are the same, as far as it matters to a judge."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from surgeon.practice.step import Misfit, Question

# What a number kept in float32 on the way may cost: a style, and no mistake.
ROUNDING = 1e-6
SINGLE = 2e-4  # where the inputs are float32 themselves


def nearly(given: Any, right: Any, *, double: float = ROUNDING) -> bool:
    """Whether an answer is the right one, to rounding.

    A float32 where float64 is right may still be: its dtype is asked for
    apart.
    """
    if isinstance(given, BaseException) or isinstance(right, BaseException):
        return False
    if isinstance(right, dict):
        return isinstance(given, dict) and all(
            key in given and _close(given[key], right[key]) for key in right
        )
    if isinstance(right, tuple):
        return len(given) == len(right) and all(
            nearly(*pair, double=double)
            for pair in zip(given, right, strict=True)
        )
    if not isinstance(right, Tensor):
        return bool(_close(given, right))
    if not isinstance(given, Tensor) or given.shape != right.shape:
        return False
    if not right.is_floating_point():
        return torch.equal(given, right)
    if not given.is_floating_point():
        return False
    single = right.dtype == torch.float32
    tolerance = SINGLE if single else double
    return torch.allclose(
        given.detach().to(right.dtype),
        right.detach(),
        rtol=tolerance,
        atol=tolerance,
        equal_nan=True,
    )


def _close(given: Any, right: Any) -> bool:
    """Of two numbers; NaN is close to NaN, and infinity to infinity."""
    a, b = (
        torch.tensor(float(x), dtype=torch.float64) for x in (given, right)
    )
    return torch.allclose(a, b, rtol=ROUNDING, atol=ROUNDING, equal_nan=True)


def same(wrong: Any, given: Any) -> bool:
    """Whether a try answers as a mistake does: the same numbers, or none."""
    errors = [isinstance(x, BaseException) for x in (wrong, given)]
    if not any(errors):
        return nearly(given, wrong)
    misfits = [isinstance(x, Misfit) for x in (wrong, given)]
    return all(errors) and (
        not any(misfits) or (all(misfits) and f"{wrong}" == f"{given}")
    )


def written_over(yours: Callable[..., Any], question: Question) -> bool:
    """Whether a call leaves other numbers in what came than were there."""
    before, handed = question.copied(), question.copied()
    yours(*handed)
    return not all(
        torch.equal(a.nan_to_num(), b.nan_to_num())
        for a, b in zip(before, handed, strict=True)
        if isinstance(a, Tensor)
    )


def gradients(
    yours: Callable[..., Any], right: Callable[..., Any], question: Question
) -> bool:
    """Whether a try sends back what the right one sends back."""
    return nearly(_back(yours, question), _back(right, question))


def _back(
    function: Callable[..., Any], question: Question
) -> tuple[Tensor, ...] | Exception:
    """The gradients of a weighing of all finite numbers of an answer."""
    args = question.copied()
    wanted = [
        x.requires_grad_()
        for x in args
        if isinstance(x, Tensor) and x.is_floating_point()
    ]
    try:
        # a copy that is no leaf, into which may be written
        answer = function(
            *(x.clone() if isinstance(x, Tensor) else x for x in args)
        )
        answer = answer[0] if isinstance(answer, tuple) else answer
        finite = torch.where(answer > -1e30, answer, 0.0)
        pull = torch.linspace(
            -1, 2, finite.numel(), dtype=finite.dtype
        ).reshape(finite.shape)
        return torch.autograd.grad((finite * pull).sum(), wanted)
    except RuntimeError as error:
        return error


def in_float32(subject: Callable[..., Any]) -> Callable[..., Any]:
    """An attention that is asked in float32 where float64 comes.

    So the check-up bears with a number that is kept in float32 on the way.
    """

    def asked(
        Q: Tensor, K: Tensor, V: Tensor, mask: Tensor | None = None
    ) -> Any:
        double = Q.dtype == torch.float64
        inputs = (x.float() if double else x for x in (Q, K, V))
        return subject(*inputs, mask)

    return asked
