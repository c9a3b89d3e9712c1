"""Why cupy cannot run on this machine. The CUDA driver is queried without cupy."""

from __future__ import annotations

import ctypes
import sys
from functools import cache
from importlib.util import find_spec
from typing import Final

from statqat_sim.errors import to_install

LIBRARY: Final = "nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1"

OLDEST_CUPY: Final = 14
"""The first version with `Stream.from_external` and arrays of bfloat16."""


@cache
def driver_version() -> int | None:
    """The newest CUDA version that the driver supports, as 1000 · major + 10 · minor; None without a driver."""
    try:
        library = ctypes.CDLL(LIBRARY)
        found = ctypes.c_int()
        failed = library.cuDriverGetVersion(ctypes.byref(found))
    except (OSError, AttributeError):
        return None
    return None if failed or not found.value else found.value


def version_text(version: int) -> str:
    """A driver version as "major.minor"."""
    return f"{version // 1000}.{version % 1000 // 10}"


@cache
def why_not() -> str | None:
    """Why cupy cannot run here, as text for an error message; None if it can."""
    version = driver_version()
    if version is None:
        return f"this machine has no CUDA driver ({LIBRARY}); it needs an NVIDIA GPU and its driver"
    if version < 12000:
        return f"the CUDA driver is for CUDA {version_text(version)}; allowed: 12.0 and later"
    if find_spec("cupy") is None:
        extra = "cuda13" if version >= 13000 else "cuda12"
        return f"cupy is not installed; {to_install(extra)}"
    return _why_no_device()


def _why_no_device() -> str | None:
    try:
        import cupy
    except ImportError as error:
        return f"cupy cannot be imported: {error}".strip()
    if int(cupy.__version__.partition(".")[0]) < OLDEST_CUPY:
        return f"cupy is {cupy.__version__}; allowed: {OLDEST_CUPY} and later"
    try:
        count = cupy.cuda.runtime.getDeviceCount()
    except cupy.cuda.runtime.CUDARuntimeError as error:
        return f"cupy finds no GPU: {error}"
    return None if count else "cupy finds no GPU"
