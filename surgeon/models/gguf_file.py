"""GGUF files: what stands at their head, and their numbers unpacked."""

import math
import mmap
import os
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

MAGIC = b"GGUF"
# kinds of single values, as struct names them; 8 is a string, 9 a list
SINGLE = dict(enumerate("BbHhIif?")) | {10: "Q", 11: "q", 12: "d"}
STRING, LIST = 8, 9


class Packed(NamedTuple):
    """Where a tensor's numbers lie, and how they are packed."""

    shape: tuple[int, ...]  #: rows first
    kind: int  #: a key of `KINDS`
    start: int  #: bytes from the beginning of the file


class GGUF(NamedTuple):
    """What a file says of itself."""

    fields: dict[str, Any]  #: numbers, strings, and lists of them
    tensors: dict[str, Packed]


def read_head(path: str | os.PathLike[str]) -> GGUF:
    """All that a GGUF file holds but the numbers.

    Parameters
    ----------
    path : path
        A file of version 2 or 3, little-endian.

    Returns
    -------
    GGUF
        fields, tensors.

    Raises
    ------
    ValueError
        If this is no such file, or if it ends too early.

    Notes
    -----
    The package `gguf` reads the same, and any other version; on this model's
    file, whose vocabulary has 49,152 entries, it takes many times as long.
    """
    with Path(path).open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        if file.read(4) != MAGIC:
            raise ValueError(f"{path} must be a GGUF file, got another kind.")
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as view:
            head = _Head(view)
            try:
                found = head.read()
            except (struct.error, UnicodeDecodeError):
                raise ValueError(
                    f"{path} must be whole, got {size} bytes, which end in"
                    " its head."
                ) from None
    for name, packed in found.tensors.items():
        if packed.kind in KINDS and packed.start + _nbytes(packed) > size:
            raise ValueError(
                f"{path} must be whole, got {size} bytes, which end before"
                f" {name}."
            )
    return found


def unpack(path: str | os.PathLike[str], packed: Packed) -> Tensor:
    r"""A tensor's numbers, in float32.

    Most are kept in blocks of 32, which share a scale `d` and some a minimum
    `m` of 16 bits; of each weight there are 4 or 8 bits `q`:

    .. math::

        w = d\,q \;(\mathrm{Q8\_0}), \qquad w = d\,(q - 8)\;(\mathrm{Q4\_0}),
        \qquad w = d\,q + m \;(\mathrm{Q4\_1})

    Parameters
    ----------
    path : path
        The file.
    packed : Packed
        As `read_head` has it.

    Returns
    -------
    Tensor
        float32, of the tensor's shape.

    Raises
    ------
    ValueError
        If it is packed in another way than those of `KINDS`.
    """
    if packed.kind not in KINDS:
        names = ", ".join(kind.name for kind in KINDS.values())
        raise ValueError(
            f"numbers must be packed as one of {names}, got the kind number"
            f" {packed.kind} of GGUF."
        )
    kind = KINDS[packed.kind]
    count = _nbytes(packed)
    raw = np.fromfile(path, np.uint8, count, offset=packed.start)
    numbers = torch.empty(packed.shape, dtype=torch.float32, device="cpu")
    blocks = raw.reshape(-1, kind.nbytes)
    kind.unpack(blocks, numbers.numpy().reshape(len(blocks), -1))
    return numbers


def _plain(dtype: str) -> Callable[[np.ndarray, np.ndarray], None]:
    def copy(blocks: np.ndarray, out: np.ndarray) -> None:
        out[:] = blocks.view(dtype)

    return copy


def _bf16(blocks: np.ndarray, out: np.ndarray) -> None:
    # the upper half of a float32
    out.view("<u4")[:] = blocks.view("<u2").astype("<u4") << 16


def _q8_0(blocks: np.ndarray, out: np.ndarray) -> None:
    scale = blocks[:, :2].view("<f2").astype(np.float32)
    np.multiply(blocks[:, 2:].view(np.int8), scale, out=out)


def _q4_0(blocks: np.ndarray, out: np.ndarray) -> None:
    scale = blocks[:, :2].view("<f2").astype(np.float32)
    _nibbles(blocks[:, 2:], out)
    out -= 8
    out *= scale


def _q4_1(blocks: np.ndarray, out: np.ndarray) -> None:
    scale, least = (
        blocks[:, at : at + 2].view("<f2").astype(np.float32) for at in (0, 2)
    )
    _nibbles(blocks[:, 4:], out)
    out *= scale
    out += least


def _nibbles(packed: np.ndarray, out: np.ndarray) -> None:
    """The lower halves of 16 bytes, then their upper halves."""
    np.bitwise_and(packed, 15, out=out[:, :16], casting="unsafe")
    np.right_shift(packed, 4, out=out[:, 16:], casting="unsafe")


class Kind(NamedTuple):
    """A way to pack numbers, by blocks."""

    name: str
    block: int  #: weights in one
    nbytes: int  #: bytes in one
    unpack: Callable[[np.ndarray, np.ndarray], None]


KINDS = {
    0: Kind("F32", 1, 4, _plain("<f4")),
    1: Kind("F16", 1, 2, _plain("<f2")),
    2: Kind("Q4_0", 32, 18, _q4_0),
    3: Kind("Q4_1", 32, 20, _q4_1),
    8: Kind("Q8_0", 32, 34, _q8_0),
    30: Kind("BF16", 1, 2, _bf16),
}


def _nbytes(packed: Packed) -> int:
    kind = KINDS[packed.kind]
    return math.prod(packed.shape) // kind.block * kind.nbytes


class _Head:
    """A file's head, read from front to back."""

    def __init__(self, view: mmap.mmap) -> None:
        self.view, self.at = view, len(MAGIC)

    def read(self) -> GGUF:
        version, tensors, fields = self.single("I"), *self.several("QQ")
        if version not in (2, 3):
            raise ValueError(
                f"a GGUF file must be of version 2 or 3, got {version}."
            )
        said = {}
        for _ in range(fields):
            name = self.string()  # before its value
            said[name] = self.value(self.single("I"))
        found = {}
        for _ in range(tensors):
            name, axes = self.string(), self.single("I")
            shape = self.several(f"{axes}Q")[::-1]
            kind, start = self.several("IQ")
            found[name] = Packed(shape, kind, start)
        step = said.get("general.alignment", 32)
        data = -(-self.at // step) * step
        moved = {
            name: packed._replace(start=data + packed.start)
            for name, packed in found.items()
        }
        return GGUF(said, moved)

    def several(self, kinds: str) -> tuple[Any, ...]:
        form = f"<{kinds}"
        values = struct.unpack_from(form, self.view, self.at)
        self.at += struct.calcsize(form)
        return values

    def single(self, kind: str) -> Any:
        return self.several(kind)[0]

    def string(self) -> str:
        length = self.single("Q")
        text = self.view[self.at : self.at + length]
        self.at += length
        return text.decode("utf8")

    def value(self, kind: int) -> Any:
        if kind == STRING:
            return self.string()
        if kind != LIST:
            return self.single(SINGLE[kind])
        of, count = self.several("IQ")
        if of in SINGLE:
            return list(self.several(f"{count}{SINGLE[of]}"))
        return [self.value(of) for _ in range(count)]
