"""Formats as a package of synthesizable SystemVerilog."""

from __future__ import annotations

from collections.abc import Sequence

from statqat_sim.arrays import left_out
from statqat_sim.export.functions import checked, functions, heading, identifier
from statqat_sim.export.systemverilog_blocks import block_lines
from statqat_sim.export.systemverilog_text import definition
from statqat_sim.spec.block import BlockFormat
from statqat_sim.spec.number import NumberFormat


@left_out
def to_systemverilog(format: NumberFormat | BlockFormat, *, floats: Sequence[str] = ("float32",)) -> str:
    """A format as a SystemVerilog package, of functions that can be synthesized.

    Results are those of `Codec`. Functions of words are straight lines of integer operations without state, in which
    each word has the width that is proven for it. The package is `NAME_pkg`; NAME is the format's name, with `_` for
    what SystemVerilog does not take.

    Of a number format: for each kind of `floats`, `from_float32(x)` is the code of a float given as its bits; with
    stochastic rounding it takes `random`, too. `to_float32(code)` are the bits of a code's float32, and so for float64
    if that is named.

    Of a block format: `quantize(x)` makes the bits of a `block_t`, codes and scales, of those of as many float32 as the
    blocks of all levels divide, the first in the lowest; rows of two-dimensional blocks follow each other.
    `dequantize(q)` is its inverse. After `x` come `random`, for stochastic rounding a field for each element, and
    `given`, where the format's scales are the caller's: a NaN, which the codec refuses, becomes their format's NaN,
    Inf or largest value. Scales of a whole tensor or channel cannot be found from one block: last `quantize` takes the
    words that it needs of them, by their names in alphabetical order, and `dequantize` takes their codes. Functions of
    words make these: the amax of a tensor is the largest `amax_key(x)` of its elements, its scale's code
    `scale0_of(amax)`. Formats whose innermost blocks are tensors or channels, and blocks beyond 65536 bits, have
    functions of words alone.

    Args:
        format: a number format, or a block format without `rule: mse`.
        floats: what encoders read: `"float16"`, `"bfloat16"`, `"float32"`, `"float64"`; of block formats `"float32"`.

    Raises:
        TypeError: if `format` is no format, or `floats` a string.
        ValueError: if `floats` are none, or none that encoders read.
        UnsupportedError: for formats that refuse NaN, and block formats that compare errors.
    """
    format, package = checked(format, floats), f"{identifier(format.name)}_pkg"
    text = [*(f"// {line}" for line in heading(format)), f"package {package};"]
    if isinstance(format, BlockFormat):
        lines = list(block_lines(format))
    else:
        lines = [line for function in functions(format, floats) for line in ("", *definition(function))]
    text += (f"  {line}".rstrip() for line in lines)
    return "\n".join([*text, "", f"endpackage : {package}", ""])
