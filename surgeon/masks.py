"""Who may look at whom: masks, and the one function that reads what a mask means."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from surgeon.checks import natural_number, positive_integer

Device = str | torch.device


def create_causal_mask(seq_len: int, device: Device = "cpu") -> Tensor:
    r"""The mask that hides the future: query `i` may look at keys `j` :math:`\le` `i`.

    Parameters
    ----------
    seq_len : int
        Number of tokens `T`, at least 1.
    device : str or torch.device
        Where the mask is made.

    Returns
    -------
    Tensor
        Additive mask [T, T], float32: 0 on and below the diagonal, :math:`-\infty` above.

    Raises
    ------
    ValueError
        If `seq_len` is not a positive integer.

    Notes
    -----
    Source: vaswani2017 (book/references.bib), section 3.2.3.

    Examples
    --------
    >>> create_causal_mask(3)
    tensor([[0., -inf, -inf],
            [0., 0., -inf],
            [0., 0., 0.]])
    """
    T = positive_integer("seq_len", seq_len)
    ones = torch.ones(T, T, dtype=torch.bool, device=device)
    return _block(~ones.tril())


def create_reverse_mask(seq_len: int, device: Device = "cpu") -> Tensor:
    r"""The causal mask the wrong way round: query `i` may look at keys `j` :math:`\ge` `i`, at the answer.

    Parameters
    ----------
    seq_len : int
        Number of tokens `T`, at least 1.
    device : str or torch.device
        Where the mask is made.

    Returns
    -------
    Tensor
        Additive mask [T, T], float32, the transpose of `create_causal_mask`.

    Raises
    ------
    ValueError
        If `seq_len` is not a positive integer.

    Examples
    --------
    >>> create_reverse_mask(3)
    tensor([[0., 0., 0.],
            [-inf, 0., 0.],
            [-inf, -inf, 0.]])
    """
    return create_causal_mask(seq_len, device).mT.contiguous()


def create_window_mask(seq_len: int, window: int, *, causal: bool = False, device: Device = "cpu") -> Tensor:
    r"""A band round the diagonal: query `i` may look at keys with :math:`|i - j| \le` `window`.

    Parameters
    ----------
    seq_len : int
        Number of tokens `T`, at least 1.
    window : int
        How far a query sees, in tokens, at least 0; 0 leaves it itself alone.
    causal : bool
        Whether the half of the band that lies in the future is hidden as well.
    device : str or torch.device
        Where the mask is made.

    Returns
    -------
    Tensor
        Additive mask [T, T], float32.

    Raises
    ------
    ValueError
        If `seq_len` is not a positive integer or `window` is a negative one.

    Examples
    --------
    >>> create_window_mask(3, 1, causal=True)
    tensor([[0., -inf, -inf],
            [0., 0., -inf],
            [-inf, 0., 0.]])
    """
    natural_number("window", window)
    T = positive_integer("seq_len", seq_len)
    ones = torch.ones(T, T, dtype=torch.bool, device=device)
    band = ones.tril(0 if causal else window).triu(-window)
    return _block(~band)


def create_padding_mask(lengths: Sequence[int] | Tensor, seq_len: int, *, device: Device = "cpu") -> Tensor:
    """The mask that hides the padding of a batch, on the axis of the keys.

    Parameters
    ----------
    lengths : sequence of int
        Real tokens in each of the `B` sequences, each from 0 to `seq_len`.
    seq_len : int
        Tokens `S` that each sequence was padded to.
    device : str or torch.device
        Where the mask is made.

    Returns
    -------
    Tensor
        Boolean mask [B, 1, S], True where the key is real; the middle axis stands for every query.

    Raises
    ------
    ValueError
        If a length is not an integer from 0 to `seq_len`.

    Examples
    --------
    >>> create_padding_mask([1, 3], 3)
    tensor([[[ True, False, False]],
    <BLANKLINE>
            [[ True,  True,  True]]])
    """
    counts = torch.as_tensor(lengths, device=device)
    positions = torch.arange(positive_integer("seq_len", seq_len), device=device)
    if counts.ndim != 1 or counts.dtype in (torch.bool,) or counts.is_floating_point():
        raise ValueError(
            f"lengths must be a sequence of integers, got {counts.dtype} values of shape {list(counts.shape)}."
        )
    if ((counts < 0) | (counts > seq_len)).any():
        raise ValueError(f"lengths must lie between 0 and seq_len ({seq_len}), got {counts.tolist()}.")
    return (positions < counts[:, None])[:, None, :]


def combine_masks(*masks: Tensor) -> Tensor:
    r"""One mask that allows what every mask allows, each read by its own convention.

    Parameters
    ----------
    *masks : Tensor
        At least one; their shapes broadcast and end in (queries, keys).

    Returns
    -------
    Tensor
        Additive mask, at least float32: the sum of the additive forms, so that :math:`-\infty` anywhere blocks.

    Raises
    ------
    ValueError
        If there is no mask, if one cannot be read, or if their shapes or devices disagree.

    Examples
    --------
    >>> combine_masks(create_causal_mask(2), torch.tensor([[True, False]]))
    tensor([[0., -inf],
            [0., -inf]])
    """
    if not masks:
        raise ValueError("combine_masks needs at least one mask, got none.")
    tensors = [mask for mask in masks if isinstance(mask, Tensor)]
    try:
        shape = torch.broadcast_shapes(*(mask.shape for mask in tensors))
    except RuntimeError:
        shapes = " and ".join(str(list(mask.shape)) for mask in tensors)
        raise ValueError(f"masks must have shapes that broadcast, got {shapes}.") from None
    dtype = torch.float64 if any(mask.dtype == torch.float64 for mask in tensors) else torch.float32
    device = tensors[0].device if tensors else "cpu"
    total = torch.zeros(shape, dtype=dtype, device=device)
    for mask in masks:
        total = total + as_additive(mask, shape, dtype=dtype, device=device)
    return total


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
        Ends in (queries, keys); the axis of the queries may be 1, which stands for every query; leading axes broadcast.
    shape : sequence of int
        Shape of the scores, [..., T, S].
    dtype : torch.dtype
        Precision of the scores.
    device : torch.device
        Where the scores are.

    Returns
    -------
    Tensor
        Additive mask of `dtype`, 0 where attending is free and :math:`-\infty` where it is blocked, broadcastable to
        `shape`. A floating mask keeps its gradient.

    Raises
    ------
    ValueError
        If the mask is no tensor of these kinds, lies on another device, has a shape that does not fit the scores, or
        holds NaN or :math:`+\infty`.

    Examples
    --------
    >>> as_additive(torch.tensor([[1, 0]]), (1, 2), dtype=torch.float32, device="cpu")
    tensor([[0., -inf]])
    >>> as_additive(torch.tensor([[0.0, 0.0]]), (1, 2), dtype=torch.float32, device="cpu")  # additive: blocks nothing
    tensor([[0., 0.]])
    """
    return read_in_tiles(mask, shape, dtype=dtype, device=device)(slice(None), slice(None))


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
        Given a slice of the queries and one of the keys, the additive mask there, [..., t or 1, s].

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
    zero_blocks = not mask.is_floating_point() or bool(((mask == 0) | (mask == 1)).all() and (mask == 1).any())

    def tile(queries: slice, keys: slice) -> Tensor:
        piece = mask[..., queries if mask.shape[-2] > 1 else slice(None), keys]
        return _block(piece == 0, dtype) if zero_blocks else piece.to(dtype)

    return tile


def visible(mask: Tensor | None, shape: Sequence[int], device: Device = "cpu") -> Tensor:
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
    >>> visible(create_causal_mask(2), (2, 2))
    tensor([[ True, False],
            [ True,  True]])
    """
    if mask is None:
        return torch.ones(tuple(shape), dtype=torch.bool, device=device)
    return (as_additive(mask, shape, dtype=torch.float32, device=device) > -torch.inf).expand(tuple(shape))


def _block(blocked: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
    """0 where free, minus infinity where blocked."""
    return torch.zeros(blocked.shape, dtype=dtype, device=blocked.device).masked_fill(blocked, -torch.inf)


def _check_mask(mask: Tensor, shape: Sequence[int], device: torch.device) -> None:
    if not isinstance(mask, Tensor):
        raise ValueError(f"mask must be a boolean, integer or floating tensor, got {type(mask).__name__}.")
    T, S = shape[-2:]
    if mask.is_complex():
        raise ValueError(f"mask must be a boolean, integer or floating tensor, got {mask.dtype}.")
    if mask.device != device:
        raise ValueError(f"mask must be on the device of the scores ({device}), got {mask.device}.")
    if mask.ndim < 2 or mask.shape[-1] != S or mask.shape[-2] not in (1, T):
        raise ValueError(f"mask must end in (queries, keys) = ({T}, {S}), got shape {list(mask.shape)}.")
    lead, given = tuple(shape[:-2]), tuple(mask.shape[:-2])
    fits = len(given) <= len(lead) and all(g in (1, n) for g, n in zip(given[::-1], lead[::-1], strict=False))
    if not fits:
        raise ValueError(
            f"mask must broadcast over the leading axes {list(lead)} of the scores, got shape {list(mask.shape)}."
        )
    if mask.is_floating_point() and (mask.isnan() | (mask == torch.inf)).any():
        raise ValueError(
            "mask must hold 0/1, or finite numbers and -inf to add to the scores, got NaN or +inf; "
            "use -inf to block, or a boolean mask in which True may attend."
        )
