"""How many threads CPU backends use."""

from __future__ import annotations

import os
from functools import cache
from operator import index
from typing import Any

THREADS_VARIABLE = "STATQAT_NUM_THREADS"
"""The environment variable with the default number of threads."""

_threads: int | None = None


def get_threads() -> int:
    """How many threads a CPU backend uses: `set_threads`, `$STATQAT_NUM_THREADS`, or the available processors."""
    if _threads is not None:
        return _threads
    return _default_threads()


def set_threads(count: int | None) -> None:
    """Set the number of threads of CPU backends for this process; None returns to the default.

    Raises:
        ValueError: unless `count` is a whole number of at least 1.
    """
    global _threads
    _threads = None if count is None else _checked_count(count)


def _checked_count(count: Any) -> int:
    """Any library's integer as a plain one."""
    try:
        number = 0 if isinstance(count, bool) else index(count)
    except TypeError:
        number = 0
    if number < 1:
        raise ValueError(f"{count!r} threads; allowed: a whole number of at least 1, or None")
    return number


@cache
def _default_threads() -> int:
    named = os.environ.get(THREADS_VARIABLE, "")
    if named:
        if not named.isdecimal() or int(named) < 1:
            raise ValueError(f"${THREADS_VARIABLE} is {named!r}; allowed: a whole number of at least 1")
        return int(named)
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
