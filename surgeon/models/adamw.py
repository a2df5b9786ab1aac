"""AdamW: PyTorch's own arithmetic, and nothing of its compiler."""

from collections.abc import Iterable

import torch
from torch import Tensor
from torch.optim.adamw import adamw


class AdamW:
    """AdamW, with the learning rate given at every step.

    Each number moves against the mean of its gradients, in units of their
    root mean square, after it has shrunk by the weight decay. To the last
    bit it does what ``torch.optim.AdamW(..., fused=True)`` does. That class
    loads PyTorch's compiler before its first step, which takes as long as
    some of our models take to train.

    Parameters
    ----------
    parameters : iterable of Tensor
        What is trained.
    weight_decay : float
        How much a number shrinks in a step, for each unit of the rate.

    Notes
    -----
    Source: loshchilov2019 (book/references.bib).

    Examples
    --------
    >>> x = torch.tensor([2.0, -3.0], requires_grad=True)
    >>> optimizer = AdamW([x], weight_decay=0.0)
    >>> x.square().sum().backward()
    >>> optimizer.step(0.5)
    >>> x
    tensor([ 1.5000, -2.5000], requires_grad=True)
    """

    def __init__(
        self, parameters: Iterable[Tensor], weight_decay: float = 0.01
    ) -> None:
        self.parameters = list(parameters)
        self.weight_decay = weight_decay
        self.means = [torch.zeros_like(p) for p in self.parameters]
        self.squares = [torch.zeros_like(p) for p in self.parameters]
        self.counts = [
            torch.zeros((), dtype=torch.float32, device=p.device)
            for p in self.parameters
        ]

    @torch.no_grad()
    def step(self, learning_rate: float) -> None:
        """Move what has a gradient, in place, and forget the gradients."""
        each = zip(
            self.parameters,
            self.means,
            self.squares,
            self.counts,
            strict=True,
        )
        moved = [state for state in each if state[0].grad is not None]
        parameters, means, squares, counts = map(
            list, zip(*moved, strict=True)
        )
        adamw(
            parameters,
            [p.grad for p in parameters],
            means,
            squares,
            [],
            counts,
            fused=True,
            amsgrad=False,
            beta1=0.9,
            beta2=0.999,
            lr=learning_rate,
            weight_decay=self.weight_decay,
            eps=1e-8,
            maximize=False,
        )
        for p in parameters:
            p.grad = None
