"""The on-disk cache of compiled kernels. Deleting anything there is always safe."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import platformdirs

DIRECTORY_VARIABLE = "STATQAT_CACHE_DIR"


def cache_directory() -> Path:
    """`$STATQAT_CACHE_DIR`, or `statqat_sim` in the platform's cache directory of this user."""
    chosen = os.environ.get(DIRECTORY_VARIABLE)
    return Path(chosen) if chosen else Path(platformdirs.user_cache_dir("statqat_sim", appauthor=False))


def cached_files() -> Iterator[Path]:
    """Every file that the cache holds."""
    return (path for path in sorted(kernel_directory().rglob("*")) if path.is_file())


def kernel_directory() -> Path:
    """The part of the cache directory that kernels lie in; the only one that is ever deleted."""
    return cache_directory() / "kernels"


def clear_cache() -> int:
    """Delete all cached kernels that can be deleted; returns the number of deleted files."""
    before = set(cached_files())
    shutil.rmtree(kernel_directory(), ignore_errors=True)
    return len(before.difference(cached_files()))
