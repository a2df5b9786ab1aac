"""What a mask means: one reading of every convention, whole or in tiles."""

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from surgeon.anatomy.precision import at_least_float32

Device = str | torch.device


def as_additive(
    mask: Tensor,
    shape: Sequence[int],
    *,
    dtype: torch.dtype,
    device: Device,
) -> Tensor:
    r"""Read a mask, whatever its convention, as numbers to add to the scores.

    ======================================  ==============================
    what comes                              what it means
    ======================================  ==============================
    boolean                                 True may attend
    integer                                 non-zero may attend
    floating, only 0 and 1, at least one 1  1 may attend (as assigned)
    any other floating                      added to the scores as it is
    ======================================  ==============================

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
        :math:`-\infty` where it is blocked, broadcastable to `shape`. Numbers
        to add keep their gradient; zeros and ones that are permissions have
        none. A number below the range of `dtype`, such as -1e300 for float32,
        becomes :math:`-\infty`.

    Raises
    ------
    ValueError
        If the mask is no tensor of these kinds, lies on another device, has a
        shape that does not fit the scores, or holds NaN or what is
        :math:`+\infty` in `dtype`.

    Examples
    --------
    >>> scores = dict(shape=(1, 2), dtype=torch.float32, device="cpu")
    >>> as_additive(torch.tensor([[1, 0]]), **scores)
    tensor([[0., -inf]])
    >>> as_additive(torch.tensor([[0.0, 0.0]]), **scores)  # blocks nothing
    tensor([[0., 0.]])
    """
    check_mask(mask, shape, device)

    # 1. Where numbers are permissions, zero blocks.
    if zeros_block(mask, dtype):
        return block(mask == 0, dtype)
    # 2. All other numbers are added as they are.
    return mask.to(dtype)


def rows_as_additive(
    mask: Tensor,
    shape: Sequence[int],
    *,
    dtype: torch.dtype,
    device: Device,
) -> Tensor:
    """Read a mask that may be a cut from a larger one, as `as_additive` does.

    A cut of a floating 0/1 mask can hold zeros alone, and zeros alone mean
    that nothing is added: what was blocked would be open. So floating zeros
    and ones are refused here, and a floating mask is always added.

    Parameters
    ----------
    mask, shape, dtype, device
        As `as_additive` takes them.

    Returns
    -------
    Tensor
        As `as_additive` returns it.

    Raises
    ------
    ValueError
        As `as_additive`, and if the mask holds floating zeros and ones.

    Examples
    --------
    >>> scores = dict(shape=(1, 2), dtype=torch.float32, device="cpu")
    >>> rows_as_additive(torch.tensor([[True, False]]), **scores)
    tensor([[0., -inf]])
    """
    check_mask(mask, shape, device)
    if not zeros_block(mask, dtype):
        return mask.to(dtype)
    if mask.is_floating_point():
        raise ValueError(
            "mask must be boolean, or numbers to add, where tokens follow a"
            " cache, got floating zeros and ones, of which a row of zeros"
            " would block nothing; use mask.bool()."
        )
    return block(mask == 0, dtype)


def read_in_tiles(
    mask: Tensor, shape: Sequence[int], *, dtype: torch.dtype, device: Device
) -> Callable[[slice, slice], Tensor]:
    """Read a mask as `as_additive` does, a rectangle at a time.

    The whole mask decides which convention holds.

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
    >>> scores = dict(shape=(3, 3), dtype=torch.float32, device="cpu")
    >>> tile = read_in_tiles(torch.eye(3), **scores)  # zeros and ones
    >>> tile(slice(0, 1), slice(1, 3))  # of which these are two zeros
    tensor([[-inf, -inf]])
    """
    check_mask(mask, shape, device)
    permissions = zeros_block(mask, dtype)
    one_row_for_all = mask.shape[-2] == 1

    def tile(queries: slice, keys: slice) -> Tensor:
        rows = slice(None) if one_row_for_all else queries
        piece = mask[..., rows, keys]
        return block(piece == 0, dtype) if permissions else piece.to(dtype)

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
        Boolean, of shape `shape`: True where the score is not blocked. A
        finite number to add blocks nothing, however low it is.

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
        check_shape(shape)
        return torch.ones(tuple(shape), dtype=torch.bool, device=device)
    check_kind(mask)
    # a precision in which no finite number of the mask becomes infinite
    dtype = at_least_float32(mask.dtype)
    added = as_additive(mask, shape, dtype=dtype, device=device)
    return (added > -torch.inf).expand(tuple(shape))


def block(blocked: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
    """0 where free, minus infinity where blocked."""
    zeros = torch.zeros(blocked.shape, dtype=dtype, device=blocked.device)
    return zeros.masked_fill(blocked, -torch.inf)


def zeros_block(mask: Tensor, dtype: torch.dtype) -> bool:
    """Whether a mask is one of permissions, in which 0 blocks.

    This is the only look at a mask's numbers: what `dtype` cannot hold is
    refused here, with a ValueError.
    """
    # 1. Booleans and integers are permissions.
    if not mask.is_floating_point():
        return True
    # 2. So are zeros and ones, if there is a one.
    if largest_number(mask, dtype) != 1:
        return False
    return bool(((mask == 0) | (mask == 1)).all())


def largest_number(mask: Tensor, dtype: torch.dtype) -> float:
    """The largest number of a mask, in `dtype`; a ValueError if infinite.

    One look finds all that cannot be added: NaN is handed on by the maximum,
    and rounding to `dtype` keeps the order of numbers.
    """
    if not mask.numel():
        return 0.0
    top = mask.detach().amax()
    largest = float(top.to(dtype))
    if largest < math.inf:
        return largest
    if top.isfinite():
        raise ValueError(
            f"mask must hold numbers that are finite in {dtype}, the"
            f" precision of the scores, got {float(top)}."
        )
    raise ValueError(
        "mask must hold 0/1, or finite numbers and -inf to add to the scores,"
        " got NaN or +inf; use -inf to block, or a boolean mask in which True"
        " may attend."
    )


def check_mask(mask: Tensor, shape: Sequence[int], device: Device) -> None:
    """Raise a ValueError, as `as_additive` documents it, if a mask misfits.

    It looks at the kind, the place and the shape of a mask, and at none of
    its numbers.
    """
    check_shape(shape)
    check_kind(mask)
    place = torch.device(device)
    numbers = {place.index, mask.device.index} - {None}  # "cuda" has none
    if mask.device.type != place.type or len(numbers) > 1:
        raise ValueError(
            f"mask must be on the device of the scores ({place}), got"
            f" {mask.device}."
        )
    T, S = shape[-2:]
    if mask.ndim < 2 or mask.shape[-1] != S or mask.shape[-2] not in (1, T):
        raise ValueError(
            f"mask must end in (queries, keys) = ({T}, {S}), got shape"
            f" {list(mask.shape)}."
        )
    lead, given = tuple(shape[:-2]), tuple(mask.shape[:-2])
    sizes = zip(given[::-1], lead[::-1], strict=False)
    if len(given) > len(lead) or any(g not in (1, n) for g, n in sizes):
        raise ValueError(
            f"mask must broadcast over the leading axes {list(lead)} of the"
            f" scores, got shape {list(mask.shape)}."
        )


def check_kind(mask: Tensor) -> None:
    """Raise a ValueError if this is no tensor that can be a mask."""
    if not isinstance(mask, Tensor) or mask.is_complex():
        tensor = isinstance(mask, Tensor)
        got = mask.dtype if tensor else type(mask).__name__
        raise ValueError(
            f"mask must be a boolean, integer or floating tensor, got {got}."
        )


def check_shape(shape: Sequence[int]) -> None:
    """Raise a ValueError if this is no shape of scores."""
    if len(shape) < 2:
        raise ValueError(
            "shape must end in (queries, keys), as that of scores does, got"
            f" {list(shape)}."
        )
