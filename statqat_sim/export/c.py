"""Formats as a header of C99, which C++ takes too."""

from __future__ import annotations

from collections.abc import Sequence

from statqat_sim.arrays import left_out
from statqat_sim.export.c_blocks import block_lines
from statqat_sim.export.c_numbers import number_lines
from statqat_sim.export.c_text import comment
from statqat_sim.export.functions import checked, heading, identifier
from statqat_sim.spec.block import BlockFormat
from statqat_sim.spec.number import NumberFormat


@left_out
def to_c(format: NumberFormat | BlockFormat, *, floats: Sequence[str] = ("float32",)) -> str:
    """A format as a C99 header, without dependencies but the standard headers.

    Results are those of `Codec`, on every machine and under every compiler option, as only integers are computed. NAME
    is the format's name, with `_` for what C does not take; headers whose names differ in nothing else exclude each
    other.

    Of a number format: for each kind of `floats`, `NAME_from_float32_bits(x)` is the code of a float given as its bits;
    with stochastic rounding it takes `random`, too. `NAME_to_float32_bits(code)` is a code's float32, and so for
    float64 if that is named. `NAME_from_float32` and `NAME_to_float32` do the same with `float`, and `double`.

    Of a block format: `NAME_quantize(rows, columns, x, codes, ...)` quantizes a matrix of `float` along its rows, and
    `NAME_dequantize(rows, columns, codes, ..., y)` is its inverse. The arrays of scales follow the codes, outermost
    first, then those of offsets: codes as unsigned integers, float32 scales as `float`. After `x` come `random`, for
    stochastic rounding an integer for each element, and `given`, where the format's scales are the caller's: a NaN,
    which the codec refuses, becomes their format's NaN, Inf or largest value. Where words of blocks have to be kept, a
    last argument `workspace` has room for `NAME_workspace(rows, columns)` integers of 32 bits.

    Args:
        format: a number format, or a block format without `rule: mse`.
        floats: what encoders read: `"float16"`, `"bfloat16"`, `"float32"`, `"float64"`; of block formats `"float32"`.

    Raises:
        TypeError: if `format` is no format, or `floats` a string.
        ValueError: if `floats` are none, or none that encoders read.
        UnsupportedError: for formats that refuse NaN, and block formats that compare errors.
    """
    format, guard = checked(format, floats), f"{identifier(format.name)}_H"
    lines = block_lines(format) if isinstance(format, BlockFormat) else number_lines(format, floats)
    text = [comment([*heading(format)]), f"#ifndef {guard}", f"#define {guard}", ""]
    text += ["#include <stddef.h>"] if isinstance(format, BlockFormat) else []
    text += ["#include <stdint.h>", "#include <string.h>", ""]
    return "\n".join([*text, *lines, "#endif", ""])
