"""Hand back: the sixth step, and with it the whole function."""

import inspect
import math
from typing import Any

import torch
from torch import Tensor

from surgeon.anatomy.dot_product import attend, attention
from surgeon.practice.hiding_step import some_mask
from surgeon.practice.step import Function, Misfit, Question, Step, normal
from surgeon.practice.weight_steps import WHOLE, cut_off
from surgeon.practice.whole_mistakes import MISTAKES


def ask_attention(generator: torch.Generator) -> list[Question]:
    def of(T: int, S: int, *, large: float = 1.0) -> tuple[Tensor, ...]:
        Q, K = (normal(generator, 2, n, 7) for n in (T, S))
        return Q * large, K, normal(generator, 2, S, 11)

    lower = torch.ones(5, 5, dtype=torch.bool).tril().expand(2, 5, 5)
    small = [normal(generator, 2, 3, 2) for _ in range(3)]
    return [
        Question((*small, None, True)),
        Question((*of(5, 5), None, True)),
        Question((*of(5, 3), None, True)),
        Question((*of(5, 5), lower, True), "masked"),
        Question((*of(5, 5), some_mask(generator, 2, 5, 5), True), "masked"),
        Question((*of(5, 3), None, False), "scale not heard"),
        Question((*of(5, 3, large=1e4), None, True), "not shifted"),
    ]


CONVENTIONS = {
    "True attends": lambda mask: mask,
    "additive": lambda mask: torch.zeros(
        mask.shape, dtype=torch.float64
    ).masked_fill(~mask, -math.inf),
    "0-1": lambda mask: mask.to(torch.float64),
}


def spoken_to(yours: Function) -> Function:
    """A try, asked in its own convention of masks, and as it takes scale."""
    taken = inspect.signature(yours).parameters
    generator = torch.Generator().manual_seed(1)
    Q, K, V, mask, _ = ask_attention(generator)[4].args
    right = attention(Q, K, V, mask)[0]
    says = CONVENTIONS["True attends"]
    for convention in CONVENTIONS.values():
        try:
            value = yours(*[x.clone() for x in (Q, K, V)], convention(mask))
            if torch.allclose(value[0].to(right.dtype), right, atol=1e-6):
                says = convention
                break
        except Exception:  # told when it is asked
            continue

    def asked(
        Q: Tensor, K: Tensor, V: Tensor, mask: Tensor | None, scale: bool
    ) -> Any:
        how = {} if scale or "scale" not in taken else {"scale": False}
        if not scale and not how:  # takes no such argument
            Q = Q * math.sqrt(Q.shape[-1])
        return yours(Q, K, V, None if mask is None else says(mask), **how)

    return asked


def read_both(value: Any, question: Question) -> tuple[Tensor, Tensor]:
    """Output and weights."""
    Q, K, V = question.args[:3]
    output, weights = (
        (*Q.shape[:-1], V.shape[-1]),
        (*Q.shape[:-1], K.shape[-2]),
    )
    if isinstance(value, Tensor):
        raise Misfit(mistake="weights kept back")
    shapes = (
        [tuple(getattr(x, "shape", ())) for x in value]
        if isinstance(value, (tuple, list))
        else []
    )
    if len(shapes) != 2:
        raise Misfit("It must give two tensors, the output and the weights.")
    if output != weights and shapes == [weights, output]:
        raise Misfit(mistake="in the other order")
    # a row that sees nothing may be NaN: nobody is asked for one here
    return value[0].nan_to_num(0.0), value[1].nan_to_num(0.0)


HANDING_BACK = Step(
    "attention",
    "gives the output and the weights",
    "All six steps hold, with a mask and without, and the check-up finds no"
    " fault.",
    WHOLE,
    lambda Q, K, V, mask, scale: tuple(attention(Q, K, V, mask, scale)),
    ask_attention,
    MISTAKES,
    [(attend, None), (attention, None)],
    read=read_both,
    laws={"cut off": cut_off},
    inside=lambda yours: yours,
    adapt=spoken_to,
)
