"""Keys and values of what was read, kept for what is to be written."""

import torch
from torch import Tensor

from surgeon.arguments import positive_integer


class KeyValueCache:
    r"""The keys and values of one layer, token by token.

    .. math::

        \mathrm{bytes} = 2 \cdot B \cdot H_{kv} \cdot S \cdot d
        \cdot \mathrm{bytes\ of\ a\ number}

    Room for `capacity` tokens is made once, when the first tokens come, in
    their shape, dtype and device. Later tokens are written behind them, and
    nothing that was kept is copied again. A model has one for each of its
    layers.

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
    >>> three, one = torch.ones(2, 3, 7), torch.ones(2, 1, 7)  # of 2 heads
    >>> K, V = cache.append(three, three)
    >>> K, V = cache.append(one, one)
    >>> list(K.shape), len(cache), cache.nbytes
    ([2, 4, 7], 4, 448)
    """

    def __init__(self, capacity: int) -> None:
        self.capacity = positive_integer("capacity", capacity)
        # [..., H_kv, capacity, d] each, of which `_length` tokens are kept
        self._rooms: tuple[Tensor, Tensor] | None = None
        self._length = 0

    def append(self, K: Tensor, V: Tensor) -> tuple[Tensor, Tensor]:
        """Keep the next tokens' keys and values, and hand back all of them.

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
        if self._rooms is None:
            self._rooms = self._room_for(K), self._room_for(V)
        room_K, room_V = self._rooms
        room_K[..., start:stop, :] = K
        room_V[..., start:stop, :] = V
        self._length = stop
        return room_K[..., :stop, :], room_V[..., :stop, :]

    def __len__(self) -> int:
        """The number of tokens kept, S."""
        return self._length

    @property
    def nbytes(self) -> int:
        """Bytes of what is kept; room for tokens to come does not count."""
        rooms = self._rooms or ()
        return sum(room[..., : self._length, :].nbytes for room in rooms)

    def _room_for(self, x: Tensor) -> Tensor:
        # What is made in inference mode cannot be written to outside of it.
        with torch.inference_mode(False):
            return x.new_empty(*x.shape[:-2], self.capacity, x.shape[-1])

    def _check(self, K: Tensor, V: Tensor) -> None:
        for name, x in (("K", K), ("V", V)):
            floating = isinstance(x, Tensor) and x.is_floating_point()
            if not floating or x.ndim < 2 or x.shape[-2] < 1:
                got = _look(x) if isinstance(x, Tensor) else type(x).__name__
                raise ValueError(
                    f"{name} must be a floating-point tensor [..., tokens,"
                    f" width], got {got}."
                )
        if K.shape[:-1] != V.shape[:-1] or _kind(K) != _kind(V):
            raise ValueError(
                "K and V must differ in nothing but their width, got"
                f" {_look(K)} and {_look(V)}."
            )
        if torch.is_grad_enabled() and (K.requires_grad or V.requires_grad):
            raise ValueError(
                "K and V must come without gradients, got some that require"
                " them: use torch.no_grad()."
            )
        rooms = self._rooms or ()
        for name, x, room in zip("KV", (K, V), rooms, strict=False):
            expected = (*room.shape[:-2], x.shape[-2], room.shape[-1])
            if x.shape != expected or _kind(x) != _kind(room):
                raise ValueError(
                    f"{name} must be as what is kept,"
                    f" {_look(room, expected)}, got {_look(x)}."
                )
        if self._length + K.shape[-2] > self.capacity:
            raise ValueError(
                f"cache must hold at most {self.capacity} tokens, got"
                f" {K.shape[-2]} to add to {self._length}."
            )


def _kind(x: Tensor) -> tuple[torch.dtype, torch.device]:
    return x.dtype, x.device


def _look(x: Tensor, shape: tuple[int, ...] = ()) -> str:
    return f"{list(shape or x.shape)} {x.dtype} on {x.device}"
