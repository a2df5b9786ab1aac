"""Keys and values of what has been read, kept for what is still to be written."""

import torch
from torch import Tensor

from surgeon.arguments import positive_integer


class KeyValueCache:
    r"""The keys and values of one layer, token by token, with room for `capacity` tokens.

    .. math:: \mathrm{bytes} = 2 \cdot B \cdot H_{kv} \cdot S \cdot d \cdot \mathrm{bytes\ of\ a\ number}

    Room is made once, when the first tokens come, in their shape, dtype and
    device. Later tokens are written behind them, and nothing that was kept is
    copied again. A model has one for each of its layers.

    Parameters
    ----------
    capacity : int
        Most tokens that it will hold, at least 1.

    Raises
    ------
    ValueError
        If `capacity` is not a positive integer.

    Notes
    -----
    Source: shazeer2019 (book/references.bib), which counts what reading it
    costs.

    Examples
    --------
    >>> cache = KeyValueCache(capacity=5)
    >>> K, V = cache.append(torch.ones(2, 3, 7), torch.ones(2, 3, 7))  # 2 heads, 3 tokens
    >>> K, V = cache.append(torch.zeros(2, 1, 7), torch.zeros(2, 1, 7))
    >>> list(K.shape), len(cache), cache.nbytes
    ([2, 4, 7], 4, 448)
    """

    def __init__(self, capacity: int) -> None:
        self.capacity = positive_integer("capacity", capacity)
        self._kept: tuple[Tensor, Tensor] | None = (
            None  # [..., H_kv, capacity, d] each
        )
        self._length = 0

    def append(self, K: Tensor, V: Tensor) -> tuple[Tensor, Tensor]:
        """Keep the keys and values of the next tokens, and hand back all that are kept.

        Parameters
        ----------
        K, V : Tensor
            [..., H_kv, T, d], T at least 1, without gradients.

        Returns
        -------
        K, V : Tensor
            [..., H_kv, S, d], the S tokens so far, these included: views that
            later tokens leave alone.

        Raises
        ------
        ValueError
            If K and V do not go together, if they differ from what is kept in
            more than the number of tokens, if they require gradients, or if
            there is no room. Nothing is kept then.
        """
        self._check(K, V)
        start, stop = self._length, self._length + K.shape[-2]
        if self._kept is None:
            room_K, room_V = (
                x.new_empty(*x.shape[:-2], self.capacity, x.shape[-1])
                for x in (K, V)
            )
            self._kept = room_K, room_V
        for room, new in zip(self._kept, (K, V), strict=True):
            room[..., start:stop, :] = new
        self._length = stop
        all_K, all_V = (room[..., :stop, :] for room in self._kept)
        return all_K, all_V

    def __len__(self) -> int:
        """The number of tokens kept, S."""
        return self._length

    @property
    def nbytes(self) -> int:
        """Bytes of the keys and values kept; the room for tokens to come is not counted."""
        return (
            0
            if self._kept is None
            else sum(
                room[..., : self._length, :].nbytes for room in self._kept
            )
        )

    def _check(self, K: Tensor, V: Tensor) -> None:
        for name, x in (("K", K), ("V", V)):
            if (
                not isinstance(x, Tensor)
                or x.ndim < 2
                or not x.is_floating_point()
                or x.shape[-2] < 1
            ):
                got = _look(x) if isinstance(x, Tensor) else type(x).__name__
                raise ValueError(
                    f"{name} must be a floating-point tensor [..., tokens,"
                    f" width], got {got}."
                )
        if (
            K.shape[:-1] != V.shape[:-1]
            or K.dtype != V.dtype
            or K.device != V.device
        ):
            raise ValueError(
                "K and V must differ in nothing but their width, got"
                f" {_look(K)} and {_look(V)}."
            )
        if torch.is_grad_enabled() and (K.requires_grad or V.requires_grad):
            raise ValueError(
                "K and V must come without gradients, got some that require"
                " them: use torch.no_grad()."
            )
        for name, x, room in zip(
            "KV", (K, V), self._kept or (), strict=False
        ):
            expected = (*room.shape[:-2], x.shape[-2], room.shape[-1])
            if (
                x.shape != expected
                or x.dtype != room.dtype
                or x.device != room.device
            ):
                raise ValueError(
                    f"{name} must be as what is kept,"
                    f" {_look(room, expected)}, got {_look(x)}."
                )
        if self._length + K.shape[-2] > self.capacity:
            raise ValueError(
                f"cache must hold at most {self.capacity} tokens, got"
                f" {K.shape[-2]} to add to {self._length}."
            )


def _look(x: Tensor, shape: tuple[int, ...] = ()) -> str:
    return f"{list(shape or x.shape)} {x.dtype} on {x.device}"
