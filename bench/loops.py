"""Plain loops that only move bytes: the limit set by memory."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from types import TracebackType
from typing import Any, Self, TypeAlias

import numpy as np
from numba import njit
from numpy.typing import NDArray

from bench.pairs import Call

Array: TypeAlias = NDArray[Any]
Loop: TypeAlias = Callable[[Array, Array], object]

GRAIN = 4096
"""Pieces start at multiples of this many elements, so that no two threads write to the same cache line."""


def copy(source: Array, target: Array) -> None:
    """Numpy's copy, which moves the bytes of a fake-quantize."""
    np.copyto(target, source)


def _move(source: Array, target: Array) -> None:
    for i in range(source.size):
        target[i] = source[i]


move: Loop = njit(nogil=True)(_move)
"""Reads words of one width and writes their low bits in another: the bytes of an encode or decode. Ordinary stores."""


class Threads:
    """Runs a loop over pieces of arrays, one per thread; the caller's thread runs the first."""

    def __init__(self, count: int) -> None:
        self.count = count
        self._pool = ThreadPoolExecutor(max(count - 1, 1))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._pool.shutdown()

    def over(self, loop: Loop, source: Array, target: Array) -> Call:
        """A call that runs `loop` on two flat arrays; they are cut into pieces once, here."""
        size = -(-source.size // (self.count * GRAIN)) * GRAIN
        starts = range(0, source.size, size)
        first, *others = [partial(loop, source[start : start + size], target[start : start + size]) for start in starts]

        def call() -> None:
            waiting = [self._pool.submit(other) for other in others]
            first()
            for piece in waiting:
                piece.result()

        return call
