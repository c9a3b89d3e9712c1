"""Formats as a package of synthesizable SystemVerilog."""

from __future__ import annotations

from collections.abc import Sequence

from statqat_sim.export.functions import checked, functions, heading, identifier
from statqat_sim.export.systemverilog_blocks import block_lines
from statqat_sim.export.systemverilog_text import definition
from statqat_sim.spec.block import BlockFormat
from statqat_sim.spec.number import NumberFormat


def to_systemverilog(format: NumberFormat | BlockFormat, *, floats: Sequence[str] = ("float32",)) -> str:
    """A format as a SystemVerilog package, of functions that can be synthesized.

    Results are those of `Codec`. Functions are straight lines of integer operations without state, but for loops over a
    block's elements, and each word has the width that is proven for it. The package is `NAME_pkg`; NAME is the format's
    name, with `_` for what SystemVerilog does not take.

    Of a number format: for each kind of `floats`, `from_float32(x)` is the code of a float given as its bits; with
    stochastic rounding it takes `random`, too. `to_float32(code)` are the bits of a code's float32, and so for float64
    if that is named.

    Of a block format: `quantize(x)` makes a `block_t`, codes and scales, of as many float32 as all its blocks divide,
    given as their bits, the first in the lowest; rows of two-dimensional blocks follow each other. `dequantize(q)` is
    its inverse. Scales of a whole tensor or channel cannot be found from one block: `quantize` takes the words that it
    needs of them, and `dequantize` their codes; functions such as `amax_key`, `scale0_of` and `scale0_product_of` make
    them of all elements. Blocks beyond 65536 bits have functions for single words alone.

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
