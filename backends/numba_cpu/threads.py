"""Contiguous pieces of an array on a thread pool. Loops release the GIL; a forked child starts its own pool."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from threading import Lock

from statqat_sim.threads import get_threads

MIN_ELEMENTS = 1 << 18
"""Smaller arrays run on the calling thread: splitting them costs more than it gains."""

ALIGNMENT = 4096
"""Pieces start at multiples of this many elements, so that no two threads write to the same cache lines."""

_pool: ThreadPoolExecutor | None = None
_pool_lock = Lock()


def run_in_pieces(count: int, unit: int, run: Callable[[int, int], None]) -> None:
    """Call `run(start, stop)` for pieces that cover `range(count)`; each item is `unit` elements.

    Returns, or raises, only when no piece is running any more: the caller may then free the memory they write to.
    """
    pieces = min(get_threads(), count) if count * unit >= MIN_ELEMENTS else 1
    if pieces <= 1:
        run(0, count)
        return
    grain = ALIGNMENT if unit == 1 else 1
    size = -(-count // (pieces * grain)) * grain
    starts = range(0, count, size)
    others: list[Future[None]] = []
    try:
        for start in starts[1:]:
            others.append(_submit(run, start, min(start + size, count)))  # noqa: PERF401  # may be interrupted
        run(0, min(size, count))
    finally:
        _wait_for(others)
    for other in others:
        other.result()


def _submit(run: Callable[[int, int], None], start: int, stop: int) -> Future[None]:
    """Start a piece on the pool, or run it here if the interpreter exits: pools then take no more work."""
    try:
        return _threads().submit(run, start, stop)
    except RuntimeError as error:
        if "cannot schedule new futures" not in str(error):
            raise
    run(start, stop)
    ended: Future[None] = Future()
    ended.set_result(None)
    return ended


def _wait_for(pieces: list[Future[None]]) -> None:
    """Wait until all pieces have ended, even if the wait is interrupted."""
    try:
        wait(pieces)
    except BaseException:
        _wait_for(pieces)
        raise


def _threads() -> ThreadPoolExecutor:
    global _pool
    with _pool_lock:
        if _pool is None:
            _pool = ThreadPoolExecutor(max_workers=os.cpu_count() or 1, thread_name_prefix="statqat_sim")
        return _pool


def _forget_pool() -> None:
    """In a forked child the parent's threads do not exist."""
    global _pool, _pool_lock
    _pool, _pool_lock = None, Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_pool)
