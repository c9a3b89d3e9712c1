"""Decorators of compiled functions, without wrappers for callers that they do not have: those take long to compile."""

from collections.abc import Callable, Mapping
from typing import Any, Final, TypeVar

from numba import njit

_Function = TypeVar("_Function", bound=Callable[..., Any])

_FOR_PYTHON: Final[Mapping[str, Any]] = {"nogil": True, "no_cfunc_wrapper": True}
_NO_WRAPPERS: Final[Mapping[str, Any]] = {"no_cpython_wrapper": True, "no_cfunc_wrapper": True}


def kernel(signature: Any = None, *, cache: bool = False) -> Callable[[_Function], _Function]:
    """`njit` of a function that Python alone calls; it releases the GIL."""
    decorate: Callable[[_Function], _Function] = njit(signature, cache=cache, **_FOR_PYTHON)
    return decorate


called: Callable[[_Function], _Function] = njit(**_NO_WRAPPERS)
"""Of a function that compiled code alone calls: a call from Python ends the process."""

inlined: Callable[[_Function], _Function] = njit(forceinline=True, **_NO_WRAPPERS)
"""Of a function that compiled code alone calls and that LLVM must inline: a call from Python ends the process."""
