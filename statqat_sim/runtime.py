"""The door between the core and the backends: what a backend is, which there are, and which owns an array."""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import cache
from importlib.metadata import entry_points
from typing import Any, Protocol, runtime_checkable

from statqat_sim.errors import UnsupportedError, did_you_mean
from statqat_sim.plan.program import CodecPlan

GROUP = "statqat_sim.backends"
"""Entry points of this group are backends; a third party adds its own without touching the core."""


class Kernel(Protocol):
    """A compiled elementwise plan. Arrays are the backend's own kind, of any shape and strides."""

    def __call__(
        self, x: Any, *, out: Any = None, scale: Any = None, seed: int = 0, offset: int = 0, shape: Any = None
    ) -> Any:
        """The result, in `out` if given.

        Args:
            x: the first stream, of the plan's width; integers where it reads floats are converted.
            out: an array of the result's width, of x's shape or of its packed codes'.
            scale: for plans with a scale stream: a number or an array that broadcasts against x.
            seed: for plans with random bits, below 2^64.
            offset: the index of x's first element among the random bits.
            shape: of the elements, where x is packed.

        Raises:
            TypeError: if an array has the wrong dtype or kind.
            ValueError: if shapes do not fit.
        """


@runtime_checkable
class Backend(Protocol):
    """Where plans run. Importing a backend's module must be cheap; it loads its compiler when first used."""

    name: str

    def available(self) -> str | None:
        """None, or why the backend cannot run here and what to install."""

    def versions(self) -> Mapping[str, str]:
        """What it runs on, for reports."""

    def owns(self, array: object) -> bool:
        """Whether `backend="auto"` gives it this array; looks at the type and imports nothing."""

    def compile(self, plan: CodecPlan) -> Kernel:
        """The kernel of an elementwise plan."""


THREADS_VARIABLE = "STATQAT_NUM_THREADS"

_threads: int | None = None


def get_threads() -> int:
    """How many threads a CPU backend uses: `set_threads`, `$STATQAT_NUM_THREADS`, or the processors at hand."""
    if _threads is not None:
        return _threads
    return _default_threads()


def set_threads(count: int | None) -> None:
    """Set the number of threads of CPU backends for this process; None returns to the default.

    Raises:
        ValueError: unless `count` is at least 1.
    """
    global _threads
    if count is not None and (type(count) is not int or count < 1):
        raise ValueError(f"{count!r} threads; allowed: a whole number of at least 1, or None")
    _threads = count


@cache
def _default_threads() -> int:
    named = os.environ.get(THREADS_VARIABLE, "")
    if named:
        if not named.isdecimal() or int(named) < 1:
            raise ValueError(f"${THREADS_VARIABLE} is {named!r}; allowed: a whole number of at least 1")
        return int(named)
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@cache
def backends() -> Mapping[str, Backend]:
    """Every installed backend by name, available or not."""
    return {entry.name: entry.load()() for entry in entry_points(group=GROUP)}


def backend_named(name: str) -> Backend:
    """The backend of this name.

    Raises:
        LookupError: if there is none; the message suggests the nearest.
        UnsupportedError: if it cannot run here.
    """
    known = backends()
    if name not in known:
        allowed = ", ".join(("auto", *sorted(known)))
        raise LookupError(f"no backend is named {name!r}{did_you_mean(name, known)}; allowed: {allowed}")
    return _ready(known[name])


def backend_for(array: object) -> Backend:
    """The backend that owns this kind of array.

    Raises:
        TypeError: if none does.
        UnsupportedError: if the one that does cannot run here; there is no fall-back to another.
    """
    for backend in backends().values():
        if backend.owns(array):
            return _ready(backend)
    kind = f"{type(array).__module__}.{type(array).__qualname__}"
    raise TypeError(f"no backend owns {kind}; allowed: numpy arrays and CPU tensors, or what an installed backend owns")


def _ready(backend: Backend) -> Backend:
    reason = backend.available()
    if reason is not None:
        raise UnsupportedError(f"backend {backend.name!r}: {reason}")
    return backend
