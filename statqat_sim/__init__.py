"""Hardware number formats, emulated bit for bit, from one YAML file.

Names are loaded when first used, so that importing the package costs next to nothing.
"""

from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from statqat_sim.codec import Codec as Codec
    from statqat_sim.errors import Problem as Problem
    from statqat_sim.errors import SpecError as SpecError
    from statqat_sim.errors import UnsupportedError as UnsupportedError
    from statqat_sim.export import to_c as to_c
    from statqat_sim.export import to_systemverilog as to_systemverilog
    from statqat_sim.histogram import Histogram as Histogram
    from statqat_sim.matmul import Accelerator as Accelerator
    from statqat_sim.matmul import GemmPlan as GemmPlan
    from statqat_sim.matmul import load_accelerator as load_accelerator
    from statqat_sim.matmul import parse_accelerator as parse_accelerator
    from statqat_sim.measurement import measure as measure
    from statqat_sim.metrics import mse as mse
    from statqat_sim.metrics import sqnr_db as sqnr_db
    from statqat_sim.quantized import QuantizedTensor as QuantizedTensor
    from statqat_sim.quantized import unpack as unpack
    from statqat_sim.quantizer import Analytic as Analytic
    from statqat_sim.quantizer import Iterative as Iterative
    from statqat_sim.quantizer import MinMax as MinMax
    from statqat_sim.quantizer import Percentile as Percentile
    from statqat_sim.quantizer import Scale as Scale
    from statqat_sim.quantizer import Search as Search
    from statqat_sim.quantizer import Stream as Stream
    from statqat_sim.quantizer import Unscaled as Unscaled
    from statqat_sim.ranking import rank as rank
    from statqat_sim.spec.accelerator_catalog import accelerators as accelerators
    from statqat_sim.spec.block import BlockFormat as BlockFormat
    from statqat_sim.spec.catalog import formats as formats
    from statqat_sim.spec.catalog import load_format as load_format
    from statqat_sim.spec.catalog import parse_format as parse_format
    from statqat_sim.spec.number import NumberFormat as NumberFormat
    from statqat_sim.theory import expected_error as expected_error
    from statqat_sim.threads import get_threads as get_threads
    from statqat_sim.threads import set_threads as set_threads

_HOMES = {
    "Accelerator": "matmul",
    "Analytic": "quantizer",
    "BlockFormat": "spec.block",
    "Codec": "codec",
    "GemmPlan": "matmul",
    "Histogram": "histogram",
    "Iterative": "quantizer",
    "MinMax": "quantizer",
    "NumberFormat": "spec.number",
    "Percentile": "quantizer",
    "Problem": "errors",
    "QuantizedTensor": "quantized",
    "Scale": "quantizer",
    "Search": "quantizer",
    "SpecError": "errors",
    "Stream": "quantizer",
    "Unscaled": "quantizer",
    "UnsupportedError": "errors",
    "accelerators": "spec.accelerator_catalog",
    "expected_error": "theory",
    "formats": "spec.catalog",
    "get_threads": "threads",
    "load_accelerator": "matmul",
    "load_format": "spec.catalog",
    "measure": "measurement",
    "mse": "metrics",
    "parse_accelerator": "matmul",
    "parse_format": "spec.catalog",
    "rank": "ranking",
    "set_threads": "threads",
    "sqnr_db": "metrics",
    "to_c": "export",
    "to_systemverilog": "export",
    "unpack": "quantized",
}

__all__ = sorted(_HOMES)
__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'statqat_sim' has no attribute {name!r}")
    value = getattr(import_module(f"statqat_sim.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})


class _Package(ModuleType):
    """Keeps `formats` the function: importing the data package of that name must not put a module in its place."""

    def __setattr__(self, name: str, value: object) -> None:
        if not (name == "formats" and isinstance(value, ModuleType)):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package
