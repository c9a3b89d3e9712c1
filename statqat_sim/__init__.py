"""Hardware number formats, emulated bit for bit, from one YAML file.

Names are loaded when first used, so that importing the package costs next to nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from statqat_sim.codec import Codec
    from statqat_sim.errors import Problem, SpecError, UnsupportedError
    from statqat_sim.measurement import measure
    from statqat_sim.metrics import mse, sqnr_db
    from statqat_sim.quantizer import MinMax, Scale
    from statqat_sim.runtime import get_threads, set_threads
    from statqat_sim.spec.catalog import formats, load_format, parse_format
    from statqat_sim.spec.number import NumberFormat

_HOMES = {
    "Codec": "codec",
    "MinMax": "quantizer",
    "NumberFormat": "spec.number",
    "Problem": "errors",
    "Scale": "quantizer",
    "SpecError": "errors",
    "UnsupportedError": "errors",
    "formats": "spec.catalog",
    "get_threads": "runtime",
    "load_format": "spec.catalog",
    "measure": "measurement",
    "mse": "metrics",
    "parse_format": "spec.catalog",
    "set_threads": "runtime",
    "sqnr_db": "metrics",
}

__all__ = [*sorted(_HOMES)]  # noqa: PLE0604
__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'statqat_sim' has no attribute {name!r}")
    value = getattr(import_module(f"statqat_sim.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
