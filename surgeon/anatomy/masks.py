"""Who may look at whom: the masks that one makes, and several as one."""

from collections.abc import Sequence

import torch
from torch import Tensor

from surgeon.anatomy.mask_reading import Device, as_additive, block
from surgeon.arguments import natural_number, positive_integer


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
    ones = torch.ones(T, T, dtype=torch.bool, device=device)
    return block(~ones.tril())


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


def create_window_mask(
    seq_len: int, window: int, *, causal: bool = False, device: Device = "cpu"
) -> Tensor:
    r"""A band round the diagonal: query `i` may look at keys with :math:`|i - j| \le` `window`.

    Parameters
    ----------
    seq_len : int
        Number of tokens `T`, at least 1.
    window : int
        How far a query sees, in tokens, at least 0; 0 leaves it itself alone.
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
    return block(~band)


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
        If a length is not an integer from 0 to `seq_len`.

    Examples
    --------
    >>> create_padding_mask([1, 3], 3)
    tensor([[[ True, False, False]],
    <BLANKLINE>
            [[ True,  True,  True]]])
    """
    counts = torch.as_tensor(lengths, device=device)
    positions = torch.arange(
        positive_integer("seq_len", seq_len), device=device
    )
    if (
        counts.ndim != 1
        or counts.dtype in (torch.bool,)
        or counts.is_floating_point()
    ):
        raise ValueError(
            f"lengths must be a sequence of integers, got {counts.dtype}"
            f" values of shape {list(counts.shape)}."
        )
    if ((counts < 0) | (counts > seq_len)).any():
        raise ValueError(
            f"lengths must lie between 0 and seq_len ({seq_len}), got"
            f" {counts.tolist()}."
        )
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
    tensors = [mask for mask in masks if isinstance(mask, Tensor)]
    try:
        shape = torch.broadcast_shapes(*(mask.shape for mask in tensors))
    except RuntimeError:
        shapes = " and ".join(str(list(mask.shape)) for mask in tensors)
        raise ValueError(
            f"masks must have shapes that broadcast, got {shapes}."
        ) from None
    dtype = (
        torch.float64
        if any(mask.dtype == torch.float64 for mask in tensors)
        else torch.float32
    )
    device = tensors[0].device if tensors else "cpu"
    total = torch.zeros(shape, dtype=dtype, device=device)
    for mask in masks:
        total = total + as_additive(mask, shape, dtype=dtype, device=device)
    return total
