"""The interface to a device: compiled functions, addresses, memory. Host code uses nothing else of a GPU."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol, TypeAlias

import numpy as np

from statqat_sim.backends.cupy_gpu.kernel_text import KernelText

Argument: TypeAlias = np.uint32 | np.uint64
"""A kernel argument: a number, or a pointer as `np.uint64`; its width must be that of the declared argument."""


class Function(Protocol):
    """A compiled kernel."""

    def __call__(self, blocks: int, threads: int, arguments: Sequence[Argument], like: Any) -> None:
        """Launch the kernel on the device of `like`, on the current stream of its library, without synchronizing."""


class Launcher(Protocol):
    """A device's compiler and memory. Arrays are C-contiguous and of a library's own type, see `ArrayLibrary`."""

    def load(self, text: KernelText) -> Function:
        """The compiled kernel; each text is compiled once."""

    def pointer(self, array: Any) -> np.uint64:
        """The address of an array's first element; the caller keeps the array alive until the launch."""

    def words(self, count: int, like: Any) -> Any:
        """A new, uninitialized array of 32-bit words on the device of `like`.

        It may be released right after the launch: its memory is reused only by later work on the same stream.
        """

    def zeros(self, count: int, like: Any) -> Any:
        """Like `words`, zeroed on the current stream."""

    def constant(self, words: bytes, like: Any) -> np.uint64:
        """The address of a copy of these words on the device of `like`, uploaded on the first call and cached.

        The first call may synchronize, and cannot be captured in a CUDA graph.
        """
