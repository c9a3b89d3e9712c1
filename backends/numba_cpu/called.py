"""Decorators of functions that compiled code alone calls: numba makes no wrappers for Python and C, which take long.

A call from Python ends the process.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final, TypeVar

from numba import njit

_Function = TypeVar("_Function", bound=Callable[..., Any])

_NO_WRAPPERS: Final[Mapping[str, Any]] = {"no_cpython_wrapper": True, "no_cfunc_wrapper": True}

called: Callable[[_Function], _Function] = njit(**_NO_WRAPPERS)
inlined: Callable[[_Function], _Function] = njit(forceinline=True, **_NO_WRAPPERS)
"""Of a function that LLVM must inline."""
