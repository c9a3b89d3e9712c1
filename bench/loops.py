"""Plain loops that move bytes and do nothing else: the limit that memory sets."""

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
"""Pieces start at multiples of this, so that no two threads write to one cache line."""


def copy(source: Array, target: Array) -> None:
    """Numpy's copy: the bytes of a fake-quantize."""
    np.copyto(target, source)


def _move(source: Array, target: Array) -> None:
    for i in range(source.size):
        target[i] = source[i]


move: Loop = njit(nogil=True)(_move)
"""Reads a word of one width, writes its low bits in another: the bytes of an encode or a decode. No special stores."""


class Threads:
    """Runs a loop over pieces of arrays: one for each thread, of which the caller's is the first."""

    def __init__(self, count: int) -> None:
        self.count = count
        self._pool = ThreadPoolExecutor(max(count - 1, 1))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._pool.shutdown()

    def over(self, loop: Loop, source: Array, target: Array) -> Call:
        """A call of `loop` on all of two flat arrays; the pieces are cut once, here."""
        size = -(-source.size // (self.count * GRAIN)) * GRAIN
        starts = range(0, source.size, size)
        first, *others = [partial(loop, source[start : start + size], target[start : start + size]) for start in starts]

        def call() -> None:
            waiting = [self._pool.submit(other) for other in others]
            first()
            for piece in waiting:
                piece.result()

        return call
