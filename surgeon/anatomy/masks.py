"""Who may look at whom: the masks that one makes, and several as one."""

from collections.abc import Sequence

import torch
from torch import Tensor

from surgeon.anatomy.mask_reading import (
    Device,
    as_additive,
    block,
    check_kind,
)
from surgeon.arguments import natural_number, positive_integer, truth


def create_causal_mask(seq_len: int, device: Device = "cpu") -> Tensor:
    r"""The mask that hides the future.

    Query `i` may look at keys `j` :math:`\le` `i`.

    Parameters
    ----------
    seq_len : int
        Number of tokens `T`, at least 1.
    device : str or torch.device
        Where the mask is made.

    Returns
    -------
    Tensor
        Additive mask [T, T], float32: 0 on and below the diagonal,
        :math:`-\infty` above.

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

    # 1. A query may look at itself and at what came before it.
    ones = torch.ones(T, T, dtype=torch.bool, device=device)
    may_look = ones.tril()
    # 2. Nothing is added there, and minus infinity everywhere else.
    zeros = torch.zeros(T, T, dtype=torch.float32, device=device)
    return zeros.masked_fill(~may_look, -torch.inf)


def create_reverse_mask(seq_len: int, device: Device = "cpu") -> Tensor:
    r"""The causal mask the wrong way round.

    Query `i` may look at keys `j` :math:`\ge` `i`, at the answer.

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


def create_window_mask(
    seq_len: int,
    window: int | None = None,
    *,
    sliding_window: int | None = None,
    causal: bool = False,
    device: Device = "cpu",
) -> Tensor:
    r"""A band round the diagonal.

    Query `i` may look at keys `j` with :math:`|i - j| \le` `window`.

    Parameters
    ----------
    seq_len : int
        Number of tokens `T`, at least 1.
    window : int, optional
        How far a query sees to each side, in tokens, at least 0; 0 leaves it
        itself alone. FlashAttention counts so, as ``window_size``.
    sliding_window : int, optional
        In its place, and with `causal` alone: how many keys a query sees, its
        own counted, at least 1. Mistral and other models of `transformers`
        count so, under this name.
    causal : bool
        Whether the half of the band that lies in the future is hidden as
        well.
    device : str or torch.device
        Where the mask is made.

    Returns
    -------
    Tensor
        Additive mask [T, T], float32.

    Raises
    ------
    ValueError
        If `seq_len` or `sliding_window` is not an integer of at least 1, if
        `window` is not one of at least 0, if both or none of the two are
        given, if `sliding_window` is given without `causal`, or if `causal`
        is no boolean.

    Examples
    --------
    >>> create_window_mask(3, 1, causal=True)
    tensor([[0., -inf, -inf],
            [0., 0., -inf],
            [-inf, 0., 0.]])

    The same, as another library counts:

    >>> create_window_mask(3, sliding_window=2, causal=True)
    tensor([[0., -inf, -inf],
            [0., 0., -inf],
            [-inf, 0., 0.]])
    """
    T = positive_integer("seq_len", seq_len)
    causal = truth("causal", causal)
    steps = steps_back(window, sliding_window, causal)
    ones = torch.ones(T, T, dtype=torch.bool, device=device)
    band = ones.tril(0 if causal else steps).triu(-steps)
    return block(~band)


def steps_back(
    window: int | None, sliding_window: int | None, causal: bool
) -> int:
    """How far back a query sees, in either way of counting a window.

    A sliding window counts the query's own key, so it is one more. Without
    `causal` it is refused: to both sides it is not read alike everywhere.
    """
    if window is not None and sliding_window is None:
        return natural_number("window", window)
    if sliding_window is None or window is not None:
        got = "none" if window is None else "both"
        raise ValueError(
            f"one of window and sliding_window must be given, got {got}."
        )
    if not causal:
        raise ValueError(
            "sliding_window counts back from the query and needs causal=True;"
            " to both sides, use window."
        )
    return positive_integer("sliding_window", sliding_window) - 1


def create_padding_mask(
    lengths: Sequence[int] | Tensor, seq_len: int, *, device: Device = "cpu"
) -> Tensor:
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
        Boolean mask [B, 1, S], True where the key is real; the middle axis
        stands for every query.

    Raises
    ------
    ValueError
        If `seq_len` is not a positive integer, or a length is not an integer
        from 0 to it.

    Examples
    --------
    >>> create_padding_mask([1, 3], 3)
    tensor([[[ True, False, False]],
    <BLANKLINE>
            [[ True,  True,  True]]])
    """
    S = positive_integer("seq_len", seq_len)
    counts = check_lengths(lengths, S, device)
    positions = torch.arange(S, device=device)
    return (positions < counts[:, None])[:, None, :]


def check_lengths(
    lengths: Sequence[int] | Tensor, seq_len: int, device: Device
) -> Tensor:
    """The lengths as a tensor [B], if each is from 0 to `seq_len`."""
    counts = as_counts(lengths)
    if ((counts < 0) | (counts > seq_len)).any():
        raise ValueError(
            f"lengths must lie between 0 and seq_len ({seq_len}), got"
            f" {counts.tolist()}."
        )
    return counts.to(device)


def as_counts(lengths: Sequence[int] | Tensor) -> Tensor:
    """The lengths as a tensor [B], where they are; or a ValueError."""
    place = lengths.device if isinstance(lengths, Tensor) else "cpu"
    try:
        counts = torch.as_tensor(lengths, device=place)
    except (TypeError, ValueError, RuntimeError):
        raise ValueError(
            f"lengths must be a sequence of integers, got {lengths!r}."
        ) from None
    integers = not (counts.is_floating_point() or counts.is_complex())
    if counts.ndim != 1 or counts.dtype == torch.bool or not integers:
        raise ValueError(
            f"lengths must be a sequence of integers, got {counts.dtype}"
            f" values of shape {list(counts.shape)}."
        )
    return counts


def combine_masks(*masks: Tensor) -> Tensor:
    r"""One mask that allows what every mask allows.

    Each is read by its own convention, as `as_additive` reads it.

    Parameters
    ----------
    *masks : Tensor
        At least one; their shapes broadcast and end in (queries, keys).

    Returns
    -------
    Tensor
        Additive mask, at least float32: the sum of the additive forms, so
        that :math:`-\infty` anywhere blocks.

    Raises
    ------
    ValueError
        If there is no mask, if one cannot be read, or if their shapes or
        devices disagree.

    Examples
    --------
    >>> combine_masks(create_causal_mask(2), torch.tensor([[True, False]]))
    tensor([[0., -inf],
            [0., -inf]])
    """
    if not masks:
        raise ValueError("combine_masks needs at least one mask, got none.")
    shape, precision = common_shape(masks), torch.float32
    for mask in masks:
        precision = torch.promote_types(precision, mask.dtype)
    device = masks[0].device
    total = torch.zeros(shape, dtype=precision, device=device)
    for mask in masks:
        total = total + as_additive(
            mask, shape, dtype=precision, device=device
        )
    return total


def common_shape(masks: Sequence[Tensor]) -> torch.Size:
    """The shape that masks broadcast to, or a ValueError."""
    for mask in masks:
        check_kind(mask)
        if mask.ndim < 2:
            raise ValueError(
                "mask must have at least two axes (queries, keys), got shape"
                f" {list(mask.shape)}."
            )
    try:
        return torch.broadcast_shapes(*(mask.shape for mask in masks))
    except RuntimeError:
        shapes = " and ".join(str(list(mask.shape)) for mask in masks)
        raise ValueError(
            f"masks must have shapes that broadcast, got {shapes}."
        ) from None
