"""What kernels need of a device: compiled functions, addresses, memory. Host code knows no more of a GPU than this."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol, TypeAlias

import numpy as np

from statqat_sim.backends.cupy_gpu.kernel_text import KernelText

Argument: TypeAlias = np.uint32 | np.uint64
"""Numbers, and pointers as `np.uint64`: their width is that of the declared argument."""


class Function(Protocol):
    """A compiled kernel."""

    def __call__(self, blocks: int, threads: int, arguments: Sequence[Argument], like: Any) -> None:
        """Launch it on the device of `like`, on the current stream of its library; nothing waits for the device."""


class Launcher(Protocol):
    """A device's compiler and memory. Arrays are a library's own kind, in C order: what `ArrayLibrary` gives."""

    def load(self, text: KernelText) -> Function:
        """The kernel, compiled once for each text."""

    def pointer(self, array: Any) -> np.uint64:
        """The address of an array's first element; the caller keeps the array alive until the launch."""

    def words(self, count: int, like: Any) -> Any:
        """A new array of 32-bit words, whatever they hold, on the device of `like`.

        It may be released after the launch: its memory is then given only to what follows on the same stream.
        """

    def zeros(self, count: int, like: Any) -> Any:
        """The same, zeroed on the current stream."""

    def constant(self, words: bytes, like: Any) -> np.uint64:
        """The address of these words on the device of `like`: copied there when first asked for, and kept.

        That first call may wait for the device, and cannot be captured in a graph.
        """
