"""Conversion of any library's arrays to what kernels read, and of results back. Imports no library but numpy."""

from statqat_sim.arrays.addresses import addresses
from statqat_sim.arrays.cpu import CPU, CpuLibrary
from statqat_sim.arrays.inputs import as_float32, as_numpy, as_scale, real_array, refuse_flag
from statqat_sim.arrays.kinds import (
    FLOATS,
    HALVES,
    INTEGERS,
    LONG_INTEGERS,
    READ,
    Array,
    DeviceType,
    Floats,
    Integers,
    device_type,
    dtype_name,
    float_storage,
    is_cpu_array,
    is_cpu_tensor,
    plain_name,
    shape_of,
    word_type,
)
from statqat_sim.arrays.library import ArrayLibrary
from statqat_sim.arrays.results import in_kind, result_array, separate
from statqat_sim.arrays.watched import is_compiling, left_out, outside_graphs, refuse_watched

__all__ = [
    "CPU",
    "FLOATS",
    "HALVES",
    "INTEGERS",
    "LONG_INTEGERS",
    "READ",
    "Array",
    "ArrayLibrary",
    "CpuLibrary",
    "DeviceType",
    "Floats",
    "Integers",
    "addresses",
    "as_float32",
    "as_numpy",
    "as_scale",
    "device_type",
    "dtype_name",
    "float_storage",
    "in_kind",
    "is_compiling",
    "is_cpu_array",
    "is_cpu_tensor",
    "left_out",
    "outside_graphs",
    "plain_name",
    "real_array",
    "refuse_flag",
    "refuse_watched",
    "result_array",
    "separate",
    "shape_of",
    "word_type",
]
