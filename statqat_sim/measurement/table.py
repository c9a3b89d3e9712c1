"""`measure`: one row for each tensor, format and quantizer."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from typing import Any, Literal, TypeAlias, get_args

import numpy as np

from statqat_sim.arrays import left_out, real_array, refuse_flag
from statqat_sim.codec import Codec
from statqat_sim.errors import of_type, shown
from statqat_sim.measurement.blocks import Blocks, block_row
from statqat_sim.measurement.numbers import Channels, GivenScale, number_row
from statqat_sim.measurement.row import Float32s, Row
from statqat_sim.quantizer import Quantizer, Scale, quantizer_named
from statqat_sim.quantizer.options import check_choice
from statqat_sim.spec.block import BlockFormat
from statqat_sim.spec.catalog import load_format
from statqat_sim.spec.files import Search, directories_of
from statqat_sim.spec.format import Format
from statqat_sim.spec.number import NumberFormat

GIVEN = "given"
"""`quantizer` of rows whose scale the caller gave."""

AnyFormat: TypeAlias = str | os.PathLike[str] | Format
Per: TypeAlias = Literal["tensor", "channel"]


@left_out
@np.errstate(under="ignore")
def measure(
    x: Any,
    formats: AnyFormat | Iterable[AnyFormat],
    quantizers: str | Quantizer | Iterable[str | Quantizer] = ("minmax",),
    *,
    scale: Any = None,
    per: Per = "tensor",
    channel_axis: int = 0,
    axis: int = -1,
    random_phase: bool = False,
    seed: int = 0,
    name: str = "x",
    search: Search = (),
) -> list[Row]:
    """Quantize data, and measure the error of the result y.

    In a number format, y = decode(encode(x / scale)) · scale with the scale that a quantizer chooses. A block format
    finds its scales by its own rules and has one row, independent of the quantizers.

    Args:
        x: an array or CPU tensor of real numbers, or a mapping of names to them. Other dtypes are first converted to
            float32, to nearest even, with an error that is not measured; numbers beyond float32 become non-finite. In
            blocks, non-finite elements count as missing.
        formats: number formats and block formats: names, paths of `.yaml` files, or values.
        quantizers: quantizers of number formats: names, or values (whose rows are named by their `repr`).
        scale: the scale, used instead of quantizers: a number, or one number for each channel. For a block format, the
            scale of the outermost level, as in `Codec.quantize`.
        per: `"tensor"`, or `"channel"`: number formats get one scale for each slice along `channel_axis` of tensors
            with two or more axes.
        channel_axis: see `per`.
        axis: the axis along which blocks run.
        random_phase: multiply each block by 2^u, u uniform in [0, 1), and divide its values and errors by 2^u again.
            Power-of-two scales fit some magnitudes better than others; this averages over them. Blocks are those of
            the innermost scale that is a factor; number formats are not affected.
        seed: the seed of stochastic rounding and of u; every row starts its random sequence anew.
        name: the rows' `tensor`, if x is not a mapping.
        search: directories of further formats.

    Returns:
        A row for each tensor, format and quantizer, in this order.

    Raises:
        LookupError: if a format or quantizer is unknown.
        SpecError: if a format's file is wrong.
        TypeError: if x or a scale is not real numbers, or an argument has the wrong type.
        ValueError: if a scale or an axis does not fit, or an option has no such value.
        UnsupportedError: if a scale is given for a block format with offsets.

    >>> import numpy as np
    >>> rows = measure(np.linspace(-1, 1, 101, dtype=np.float32), ["int4", "int8"])
    >>> [(row["format"], round(row["sqnr_db"], 2)) for row in rows]
    [('int4', 23.05), ('int8', 48.22)]
    """
    check_choice("per", per, get_args(Per))
    loaded = loaded_formats(formats, search)
    choosers = _choosers(quantizers, scale, loaded)
    blocks = Blocks(axis, scale, seed, random_phase)
    rows: list[Row] = []
    for tensor, array in (x if isinstance(x, Mapping) else {name: x}).items():
        values = as_float32s(array, tensor)
        for format in loaded:
            if isinstance(format, BlockFormat):
                rows.append(block_row(tensor, values, format, _rule(format, scale), blocks))
                continue
            codec, channels = Codec(format), Channels.of(values, channel_axis if per == "channel" else None, tensor)
            rows += [number_row(tensor, channels, codec, format, chooser, seed) for chooser in choosers]
    return rows


def loaded_formats(formats: AnyFormat | Iterable[AnyFormat], search: Search) -> list[Format]:
    """One or more formats, loaded; see `measure`."""
    search = directories_of(search)
    kinds = (str, os.PathLike, NumberFormat, BlockFormat)
    listed = _listed(formats, "formats", kinds)
    return [each if isinstance(each, NumberFormat | BlockFormat) else load_format(each, search) for each in listed]


def as_float32s(x: Any, tensor: str) -> Float32s:
    """Numbers as float32, to nearest even; `tensor`: their name in error messages."""
    with np.errstate(all="ignore"):
        return real_array(x, tensor).astype(np.float32, copy=False)


def _listed(one_or_more: Any, what: str, kinds: tuple[type, ...]) -> list[Any]:
    if isinstance(one_or_more, kinds):
        return [one_or_more]
    if not isinstance(one_or_more, Iterable):
        told = f"{what} is {of_type(one_or_more)}"
        raise TypeError(f"{told}; allowed: names, {what}, or lists of them")
    return list(one_or_more)


def _choosers(quantizers: Any, scale: Any, formats: Iterable[Format]) -> list[tuple[str, Quantizer]]:
    """The quantizers for number formats, each after its name in rows."""
    if scale is not None:
        if not isinstance(scale, Scale):
            refuse_flag(real_array(scale, "scale"), "scale")
        if not any(isinstance(format, NumberFormat) for format in formats):
            return []  # blocks may have negative scales
        return [(GIVEN, GivenScale(scale if isinstance(scale, Scale) else Scale(np.asarray(scale))))]
    listed = [quantizers] if hasattr(quantizers, "fit") else _listed(quantizers, "quantizers", (str,))
    return [(each, quantizer_named(each)) if isinstance(each, str) else (repr(each), _fits(each)) for each in listed]


def _fits(quantizer: Any) -> Quantizer:
    """The quantizer, checked to be an instance and not a class."""
    if isinstance(quantizer, type) or not hasattr(quantizer, "fit"):
        raise TypeError(f"{shown(quantizer)} is not a quantizer; allowed: names, or values such as MinMax()")
    found: Quantizer = quantizer
    return found


def _rule(format: BlockFormat, scale: Any) -> str:
    """The `quantizer` of a block format's rows."""
    return GIVEN if scale is not None else format.anchor.rule.value
