"""Keys and values of what was read, kept for what is to be written."""

import torch
from torch import Tensor

from surgeon.anatomy.mask_reading import Device
from surgeon.anatomy.masks import steps_back
from surgeon.arguments import natural_number, positive_integer


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
        """The number of tokens that came, and the next one's place."""
        return self._length

    def coming(self, tokens: int, device: Device = "cpu") -> Tensor:
        """Where the keys stand that `append` will hand back next.

        Parameters
        ----------
        tokens : int
            How many are to be appended.
        device : str or torch.device
            Where the places are made.

        Returns
        -------
        Tensor
            int64 [S], in the order of the keys; the first token that ever
            came has the place 0.
        """
        return torch.arange(self._length + tokens, device=device)

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
        self._check_room(K.shape[-2])

    def _check_room(self, tokens: int) -> None:
        if self._length + tokens > self.capacity:
            raise ValueError(
                f"cache must hold at most {self.capacity} tokens, got"
                f" {tokens} to add to {self._length}."
            )


class WindowCache(KeyValueCache):
    r"""The last keys and values of one layer, in a ring.

    A token at place `p` lies in slot :math:`p \bmod R` of
    `R` = `window` + 1. The one that it finds there stands `R` places before
    it, and is seen by no later token. So the memory stays the same however
    long the text grows.

    Parameters
    ----------
    window : int, optional
        How far back a token sees, in tokens, at least 0; itself not counted.
    sliding_window : int, optional
        In its place: how many keys a token sees, its own counted, as in
        `surgeon.create_window_mask`.
    sinks : int
        How many of the first tokens are kept for good, and seen by all that
        come later, at least 0. They have slots before the ring.

    Raises
    ------
    ValueError
        If both or none of the two ways to count are given, or if a number is
        no integer or too small.

    Notes
    -----
    It takes the place of a `KeyValueCache`: masks and places are still told
    of all tokens that came, the dropped ones included, and `len` counts
    them. Source: beltagy2020, xiao2024 (sinks) (book/references.bib).

    Examples
    --------
    >>> cache = WindowCache(2)
    >>> for token in range(5):
    ...     x = torch.full((1, 1), float(token))
    ...     K, V = cache.append(x, x)
    >>> K.flatten(), len(cache), cache.nbytes
    (tensor([3., 4., 2.]), 5, 24)
    """

    def __init__(
        self,
        window: int | None = None,
        *,
        sliding_window: int | None = None,
        sinks: int = 0,
    ) -> None:
        self.window = steps_back(window, sliding_window, causal=True)
        self.sinks = natural_number("sinks", sinks)
        super().__init__(self.sinks + self.window + 1)

    def append(self, K: Tensor, V: Tensor) -> tuple[Tensor, Tensor]:
        """Keep the next tokens' keys and values, and hand back what they see.

        Parameters
        ----------
        K, V : Tensor
            [..., H_kv, T, d], T at least 1, without gradients.

        Returns
        -------
        K, V : Tensor
            [..., H_kv, S, d], these tokens and those before them that the
            first of them may see, in the order that `coming` tells. For one
            token they are views, which the next one writes to.

        Raises
        ------
        ValueError
            As `KeyValueCache.append`, but there is always room.
        """
        self._check(K, V)
        if self._rooms is None:
            self._rooms = self._room_for(K), self._room_for(V)
        write = self._write_one if K.shape[-2] == 1 else self._write_several
        room_K, room_V = self._rooms
        all_K, all_V = write(room_K, K), write(room_V, V)
        self._length += K.shape[-2]
        return all_K, all_V

    def _write_one(self, room: Tensor, x: Tensor) -> Tensor:
        """One token takes the slot of a token that is not seen any more."""
        place, R = self._length, self.window + 1
        slot = place
        if place >= self.capacity:
            slot = self.sinks + (place - self.sinks) % R
        room[..., slot : slot + 1, :] = x
        return room[..., : place + 1, :]

    def _write_several(self, room: Tensor, x: Tensor) -> Tensor:
        """The first of several still sees what the last drops."""
        start, stop = self._length, self._length + x.shape[-2]
        old, kept = (self._held(came, x.device) for came in (start, stop))
        # 1. What is kept, and beside it what comes: nothing is dropped yet.
        both = torch.cat([room[..., : len(old), :], x], -2)
        # 2. A slot keeps its token, or takes the one that it would hold now.
        slots = torch.arange(len(kept), device=x.device)
        chosen = torch.where(kept < start, slots, len(old) + kept - start)
        room[..., : len(kept), :] = both[..., chosen, :]
        return both

    def coming(self, tokens: int, device: Device = "cpu") -> Tensor:
        """Where the keys stand that `append` will hand back next.

        Parameters
        ----------
        tokens, device
            As `KeyValueCache.coming`.

        Returns
        -------
        Tensor
            int64 [S]. They do not rise: a ring starts anywhere.
        """
        start, stop = self._length, self._length + tokens
        if tokens == 1:
            return self._held(stop, device)
        new = torch.arange(start, stop, device=device)
        return torch.cat([self._held(start, device), new])

    def seen(self, tokens: int, device: Device = "cpu") -> Tensor:
        """Which of the keys to come each new token may look at.

        Parameters
        ----------
        tokens, device
            As `KeyValueCache.coming`.

        Returns
        -------
        Tensor
            Boolean [T, S]: itself, the window before it, and the sinks.
        """
        stop = self._length + tokens
        here = torch.arange(self._length, stop, device=device)[:, None]
        there = self.coming(tokens, device)
        near = (here - there <= self.window) | (there < self.sinks)
        return (there <= here) & near

    def _held(self, came: int, device: Device) -> Tensor:
        """The places in the slots, once so many tokens came."""
        slots = torch.arange(min(came, self.capacity), device=device)
        steps_before_the_last = (came - 1 - slots) % (self.window + 1)
        in_ring = came - 1 - steps_before_the_last
        return torch.where(slots < self.sinks, slots, in_ring)

    def _check_room(self, tokens: int) -> None:
        """What is too old makes room."""


def _kind(x: Tensor) -> tuple[torch.dtype, torch.device]:
    return x.dtype, x.device


def _look(x: Tensor, shape: tuple[int, ...] = ()) -> str:
    return f"{list(shape or x.shape)} {x.dtype} on {x.device}"
