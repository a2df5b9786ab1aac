"""What a mask means: one function reads every convention, whole or a rectangle at a time."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

Device = str | torch.device


def as_additive(
    mask: Tensor,
    shape: Sequence[int],
    *,
    dtype: torch.dtype,
    device: Device,
) -> Tensor:
    r"""Read a mask, whatever its convention, as numbers to add to the scores.

    ============================================  =====================================
    what comes                                    what it means
    ============================================  =====================================
    boolean                                       True may attend
    integer                                       non-zero may attend
    floating, only 0 and 1, at least one 1        the brief's 0/1 mask: 1 may attend
    any other floating                            added to the scores as it is
    ============================================  =====================================

    Parameters
    ----------
    mask : Tensor
        Ends in (queries, keys); the axis of the queries may be 1, which
        stands for every query; leading axes broadcast.
    shape : sequence of int
        Shape of the scores, [..., T, S].
    dtype : torch.dtype
        Precision of the scores.
    device : torch.device
        Where the scores are.

    Returns
    -------
    Tensor
        Additive mask of `dtype`, 0 where attending is free and
        :math:`-\infty` where it is blocked, broadcastable to `shape`. A
        floating mask keeps its gradient.

    Raises
    ------
    ValueError
        If the mask is no tensor of these kinds, lies on another device, has a
        shape that does not fit the scores, or holds NaN or :math:`+\infty`.

    Examples
    --------
    >>> as_additive(torch.tensor([[1, 0]]), (1, 2), dtype=torch.float32, device="cpu")
    tensor([[0., -inf]])
    >>> as_additive(torch.tensor([[0.0, 0.0]]), (1, 2), dtype=torch.float32, device="cpu")  # additive: blocks nothing
    tensor([[0., 0.]])
    """
    return read_in_tiles(mask, shape, dtype=dtype, device=device)(
        slice(None), slice(None)
    )


def read_in_tiles(
    mask: Tensor, shape: Sequence[int], *, dtype: torch.dtype, device: Device
) -> Callable[[slice, slice], Tensor]:
    """Read a mask as `as_additive` does, a rectangle at a time; the whole mask decides which convention holds.

    Parameters
    ----------
    mask, shape, dtype, device
        As `as_additive` takes them.

    Returns
    -------
    callable
        Given a slice of the queries and one of the keys, the additive mask
        there, [..., t or 1, s].

    Raises
    ------
    ValueError
        As `as_additive`.

    Examples
    --------
    >>> tile = read_in_tiles(torch.eye(3), (3, 3), dtype=torch.float32, device="cpu")
    >>> tile(slice(0, 1), slice(1, 3))  # zeros only, in a mask of zeros and ones
    tensor([[-inf, -inf]])
    """
    _check_mask(mask, shape, torch.device(device))
    zero_blocks = not mask.is_floating_point() or bool(
        ((mask == 0) | (mask == 1)).all() and (mask == 1).any()
    )

    def tile(queries: slice, keys: slice) -> Tensor:
        piece = mask[
            ..., queries if mask.shape[-2] > 1 else slice(None), keys
        ]
        return block(piece == 0, dtype) if zero_blocks else piece.to(dtype)

    return tile


def visible(
    mask: Tensor | None, shape: Sequence[int], device: Device = "cpu"
) -> Tensor:
    """Which key each query may look at, as booleans.

    Parameters
    ----------
    mask : Tensor or None
        Any mask that `as_additive` reads; None hides nothing.
    shape : sequence of int
        Shape of the scores, [..., T, S].
    device : torch.device
        Where the result is wanted.

    Returns
    -------
    Tensor
        Boolean, of shape `shape`: True where the score is not blocked.

    Raises
    ------
    ValueError
        As `as_additive`.

    Examples
    --------
    >>> from surgeon.anatomy.masks import create_causal_mask
    >>> visible(create_causal_mask(2), (2, 2))
    tensor([[ True, False],
            [ True,  True]])
    """
    if mask is None:
        return torch.ones(tuple(shape), dtype=torch.bool, device=device)
    return (
        as_additive(mask, shape, dtype=torch.float32, device=device)
        > -torch.inf
    ).expand(tuple(shape))


def block(blocked: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
    """0 where free, minus infinity where blocked."""
    return torch.zeros(
        blocked.shape, dtype=dtype, device=blocked.device
    ).masked_fill(blocked, -torch.inf)


def _check_mask(
    mask: Tensor, shape: Sequence[int], device: torch.device
) -> None:
    if not isinstance(mask, Tensor):
        raise ValueError(
            "mask must be a boolean, integer or floating tensor, got"
            f" {type(mask).__name__}."
        )
    T, S = shape[-2:]
    if mask.is_complex():
        raise ValueError(
            "mask must be a boolean, integer or floating tensor, got"
            f" {mask.dtype}."
        )
    if mask.device != device:
        raise ValueError(
            f"mask must be on the device of the scores ({device}), got"
            f" {mask.device}."
        )
    if mask.ndim < 2 or mask.shape[-1] != S or mask.shape[-2] not in (1, T):
        raise ValueError(
            f"mask must end in (queries, keys) = ({T}, {S}), got shape"
            f" {list(mask.shape)}."
        )
    lead, given = tuple(shape[:-2]), tuple(mask.shape[:-2])
    fits = len(given) <= len(lead) and all(
        g in (1, n) for g, n in zip(given[::-1], lead[::-1], strict=False)
    )
    if not fits:
        raise ValueError(
            f"mask must broadcast over the leading axes {list(lead)} of the"
            f" scores, got shape {list(mask.shape)}."
        )
    if (
        mask.is_floating_point()
        and (mask.isnan() | (mask == torch.inf)).any()
    ):
        raise ValueError(
            "mask must hold 0/1, or finite numbers and -inf to add to the"
            " scores, got NaN or +inf; use -inf to block, or a boolean mask"
            " in which True may attend."
        )
