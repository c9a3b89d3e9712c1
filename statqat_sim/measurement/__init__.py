"""Measured quantization error: one row of numbers for each tensor, format and quantizer."""

from statqat_sim.measurement.row import Row
from statqat_sim.measurement.table import GIVEN, AnyFormat, Per, as_float32s, loaded_formats, measure

__all__ = ["GIVEN", "AnyFormat", "Per", "Row", "as_float32s", "loaded_formats", "measure"]
