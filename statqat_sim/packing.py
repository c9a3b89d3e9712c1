"""Shapes of arrays of dense codes: packed into bytes row by row along the last axis."""

from __future__ import annotations

import math
from operator import index
from typing import Any

from statqat_sim.arrays import Array
from statqat_sim.errors import shown
from statqat_sim.plan.program import Packed, Storage


def array_shape(shape: tuple[int, ...], storage: Storage | Packed) -> tuple[int, ...]:
    """The shape of the array that holds elements of this shape; a single dense code is a row of its own."""
    if isinstance(storage, Storage):
        return shape
    return (*shape[:-1], storage.row_bytes(shape[-1])) if shape else (1,)


def element_shape(
    array: tuple[int, ...], storage: Storage | Packed, shape: tuple[int, ...] | None, what: str
) -> tuple[int, ...]:
    """The shape of the elements that an array of this shape holds.

    Args:
        array: the array's shape.
        storage: how it holds them.
        shape: the elements' shape, if the caller gives it; needed for dense codes with padded rows. The array may
            then be flat.
        what: the array's name.

    Raises:
        ValueError: if they do not fit.
    """
    if shape is None:
        return array if isinstance(storage, Storage) else _whole_codes(array, storage, what)
    shape = sizes(shape)
    wanted = array_shape(shape, storage)
    if array not in (wanted, (math.prod(wanted),)):
        raise ValueError(f"{what} has shape {array}; allowed: {wanted}, the bytes of {storage.bits}-bit codes {shape}")
    return shape


def sizes(shape: Any) -> tuple[int, ...]:
    """The shape as a tuple of plain integers.

    Raises:
        ValueError: unless it is a sequence of integers of at least 0.
    """
    try:
        found = tuple(map(index, shape))
    except TypeError:
        found = (-1,)
    if any(size < 0 for size in found):
        raise ValueError(f"shape is {shown(shape)}; allowed: a tuple of sizes, as in shape=(3, 5)")
    return found


def _whole_codes(array: tuple[int, ...], packed: Packed, what: str) -> tuple[int, ...]:
    """The shape of dense codes that fill their rows."""
    if not array:
        raise ValueError(f"{what} has shape (); allowed: rows of bytes, of one axis or more")
    bits = 8 * array[-1]
    if bits % packed.bits:
        told = f"{what} has rows of {bits} bits, not a whole number of {packed.bits}-bit codes"
        raise ValueError(f"{told}; say their shape, without the padding: shape=(..., {bits // packed.bits})")
    return (*array[:-1], bits // packed.bits)


def rows_of(shape: tuple[int, ...], *storages: Storage | Packed) -> tuple[int, int]:
    """(rows, elements per row), each row a whole number of bytes; a single row if no row is padded."""
    size = math.prod(shape)
    length = shape[-1] if shape else 1
    if any(isinstance(storage, Packed) and length * storage.bits % 8 for storage in storages):
        return size // max(length, 1), length
    return 1, size


def row_bytes(storage: Storage | Packed, count: int) -> int:
    """The bytes of `count` elements that start at a byte boundary."""
    return storage.row_bytes(count) if isinstance(storage, Packed) else count * storage.bits // 8


def begins_with_byte(storage: Storage | Packed, place: int) -> bool:
    """Whether the element at this index of a row starts at a byte boundary."""
    return isinstance(storage, Storage) or place * storage.bits % 8 == 0


def span(array: Array, storage: Storage | Packed, start: int, stop: int) -> Array:
    """The part of a flat array that holds elements `start` to `stop`; `start` lies at a byte boundary."""
    if isinstance(storage, Packed):
        return array[start * storage.bits // 8 : storage.row_bytes(stop)]
    return array[start:stop]
