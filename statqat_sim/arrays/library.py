"""The interface of codecs and kernels to a library of arrays: numpy, torch or cupy."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any, Protocol

from statqat_sim.plan.program import Packed, Storage


class ArrayLibrary(Protocol):
    """One library's arrays, on which a backend computes without leaving the library or the array's device.

    Nothing here copies an array to another device, and only `first` synchronizes with a device.
    """

    looks: bool
    """Whether codecs may read values of scales and weights; False where that would synchronize with a device."""

    def as_native(self, array: Any, storage: Storage | Packed, what: str) -> Any:
        """The array, C-contiguous, with the dtype of `storage`; integers are converted to these floats.

        Raises:
            TypeError: unless it is an array of this library of the dtype that `storage` names, or such integers.
        """

    def as_float32(self, array: Any, what: str) -> Any:
        """Numbers rounded once to float32, C-contiguous; contiguous float32 arrays are not copied.

        Raises:
            TypeError: unless it is an array of this library with numbers that encoders read.
        """

    def as_scale(self, scale: Any, shape: tuple[int, ...], like: Any) -> Any:
        """A scale as a float32 array that broadcasts against `shape`, on the device of `like`.

        A number, of any dtype, is rounded to float32.

        Raises:
            TypeError: if it is an array of another dtype, library or device.
            ValueError: if it does not broadcast, or is a number beyond float32's range.
        """

    def as_weights(self, weights: Any, like: Any) -> Any:
        """Weights as contiguous float64, on the device of `like`.

        Raises:
            TypeError: if they are not real numbers.
        """

    def broadcast(self, array: Any, shape: tuple[int, ...]) -> Any:
        """The array broadcast to this shape, C-contiguous."""

    def result(self, out: Any, shape: tuple[int, ...], storage: Storage | Packed, like: Any) -> Any:
        """`out` as an array that can be written to, or a new one of the library, on the device of `like`.

        Raises:
            TypeError: if `out` has another dtype, library or device.
            ValueError: if it has another shape, is read-only, its elements may share memory, or it requires gradients.
        """

    def is_plain(self, target: Any) -> bool:
        """Whether an array is C-contiguous, so that kernels may write to it."""

    def first(self, mask: Any) -> int | None:
        """The index of the first true element, in C order; None if there is none. Synchronizes with the device."""

    def separate(self, source: Any, target: Any) -> Any:
        """`source`, copied if writing `target` front to back would overwrite elements not yet read."""

    def in_kind(self, result: Any, like: Any) -> Any:
        """`result` as the kind of array that `like` is."""

    def on_device_of(self, array: Any) -> AbstractContextManager[Any]:
        """A context in which operators on the library's arrays run on this array's device."""
