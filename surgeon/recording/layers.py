"""Weights of any shape, as [B, H, T, S]: which axis is the heads'?"""

from collections.abc import Collection

from torch import Tensor


def by_head(
    weights: Tensor, heads: int | None, batch: Collection[int]
) -> Tensor:
    """Weights as [B, H, T, S], without copying them.

    Parameters
    ----------
    weights : Tensor
        [B, H, T, S]; [B * H, T, S], as where heads are folded into the
        batch; [B, T, S]; [T, S]; or with further axes before T.
    heads : int or None
        How many heads the module that made them says it has.
    batch : collection of int
        How many texts the model may have been given.

    Returns
    -------
    Tensor
        [B, H, T, S]: of three axes, with the heads split off where the
        module's number of them divides the first, unless that is the batch
        alone; of more than four, with those before T joined so that heads
        are as many as the module says. If it says nothing, all but the first
        are heads where that is the batch and T its length, as in groups;
        else the last, as in blocks.
    """
    T, S = weights.shape[-2:]
    lead = weights.shape[:-2]
    if not lead:
        return weights[None, None]
    if len(lead) == 1:
        (n,) = lead
        folded = heads and n % heads == 0
        if folded and (n // (heads or 1) in batch or n not in batch):
            return weights.unflatten(0, (-1, heads or 1))
        return weights[:, None]
    if len(lead) == 2:
        packed = heads and lead[1] != heads and lead[1] * T == heads
        return weights.flatten(1, 2).unsqueeze(2) if packed else weights
    if heads and lead[-1] != heads and lead[-1] * lead[-2] == heads:
        return weights.reshape(-1, heads, T, S)
    if not heads and lead[0] in batch and T in batch:
        return weights.reshape(lead[0], -1, T, S)
    return weights.reshape(-1, lead[-1], T, S)
