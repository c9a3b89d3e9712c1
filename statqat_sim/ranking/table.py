"""`rank`: the formats of the catalog, best first, for each tensor."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray

from statqat_sim.arrays import Floats, left_out
from statqat_sim.codec import Codec
from statqat_sim.geometry import Geometry
from statqat_sim.measurement import AnyFormat, Per, Row, as_float32s, loaded_formats, measure
from statqat_sim.quantizer import Iterative
from statqat_sim.quantizer.better_rows import finite_or_zero
from statqat_sim.quantizer.levels import has_ends, levels
from statqat_sim.quantizer.options import check_choice
from statqat_sim.ranking.distribution import Distribution
from statqat_sim.ranking.row import RankRow, in_order, kind_of, rank_row
from statqat_sim.ranking.weights import weighted_means, weights_of
from statqat_sim.spec.block import BlockFormat
from statqat_sim.spec.catalog import formats as format_names
from statqat_sim.spec.catalog import load_format
from statqat_sim.spec.files import Search, directories_of
from statqat_sim.spec.format import Format
from statqat_sim.spec.headers import Kind
from statqat_sim.spec.number import NumberFormat

MOST_BITS = 16
"""The largest code size, in bits, of the formats ranked by default."""

SEED = 0
"""The seed of stochastic rounding: the default of `measure`."""


@dataclass(frozen=True, slots=True)
class _Data:
    """One tensor, its weights and the axis of its blocks."""

    tensor: str
    x: NDArray[np.float32]
    weights: Floats | None
    axis: int
    counts: tuple[int, int]
    """The number of elements, and of those that are NaN or Inf."""

    @classmethod
    def of(cls, tensor: str, array: Any, weights: Any, axis: int) -> _Data:
        x = as_float32s(array, tensor)
        nonfinite = x.size - int(np.count_nonzero(np.isfinite(x)))
        return cls(tensor, x, weights_of(weights, tensor, x), axis, (x.size, nonfinite))


@left_out
@np.errstate(under="ignore")
def rank(
    data: Any,
    formats: AnyFormat | Iterable[AnyFormat] | None = None,
    *,
    kind: Kind | None = None,
    per: Per = "tensor",
    channel_axis: int = 0,
    axis: int = -1,
    weights: Any = None,
    name: str = "x",
    search: Search = (),
) -> list[RankRow]:
    """Order formats by their SQNR on data, each at its best scale, and mark the Pareto front.

    One histogram of a tensor scores all number formats: their SQNR is an estimate that assumes the elements of a bin,
    1/64 of an octave wide, uniform. It cannot detect data that already lie on a format's grid; `identify` can. Block
    formats find their own scales and are measured, as are number formats with a scale for each channel, with
    stochastic rounding, or without a zero.

    Args:
        data: an array or CPU tensor of real numbers, or a mapping of names to them; converted to float32. NaN and Inf
            are left out.
        formats: names, paths of `.yaml` files, or values. None: the catalog's formats with codes of up to 16 bits, but
            no profiles (`NAME.PROFILE`), and no block formats that do not fit the data's shape.
        kind: "number" or "block": only formats of this kind.
        per: "tensor", or "channel": number formats get one scale for each slice along `channel_axis` of tensors with
            two or more axes, chosen by `Iterative`.
        channel_axis: see `per`.
        axis: the axis along which blocks run.
        weights: weights of the squared errors, an array that broadcasts to the data's shape, such as E[a²] of each
            input channel; or a mapping of the tensors' names to such arrays. Only with `per="tensor"`. Block formats
            ignore them when they choose scales.
        name: the rows' `tensor`, if the data is not a mapping.
        search: directories of further formats.

    Returns:
        For each tensor, one row for each format, best SQNR first.

    Raises:
        LookupError: if a format is unknown, or a tensor has no weights.
        SpecError: if a format's file is wrong.
        TypeError: if the data or the weights are not real numbers.
        ValueError: if an axis, a block or the weights do not fit, or an option has no such value.
        UnsupportedError: for number formats of more than 16 bits.

    >>> import numpy as np
    >>> rows = rank(np.linspace(-1, 1, 1001, dtype=np.float32), ["int4", "float4_e2m1fn", "int3", "mxfp4"])
    >>> [(row["format"], row["bits_per_element"], row["front"]) for row in rows]
    [('int4', 4.0, True), ('float4_e2m1fn', 4.0, False), ('mxfp4', 4.25, False), ('int3', 3.0, True)]
    """
    check_choice("per", per, get_args(Per))
    if kind is not None:
        check_choice("kind", kind, get_args(Kind))
    if weights is not None and per == "channel":
        raise ValueError("weights are given, and a scale for each channel; allowed: weights with per='tensor'")
    if formats is None:
        chosen: Sequence[Format] = catalog_formats(kind, search)
    else:
        chosen = _of_kind(loaded_formats(formats, search), kind)
    rows: list[RankRow] = []
    for tensor, array in (data if isinstance(data, Mapping) else {name: data}).items():
        one = _Data.of(tensor, array, weights, axis)
        fitting = [format for format in chosen if formats is not None or fits(format, one.x.shape, axis)]
        rows += in_order(_rows(one, fitting, channel_axis if per == "channel" else None))
    return rows


def catalog_formats(kind: Kind | None = None, search: Search = ()) -> list[Format]:
    """The formats ranked by default: codes of up to 16 bits, some value that float32 holds, no profiles.

    Raises:
        SpecError: if a format's file is wrong.
        ValueError: if there is no such kind.
    """
    search = directories_of(search)
    found = (load_format(stem, search) for stem in format_names(search, kind=kind) if "." not in stem)
    few = (format for format in found if format.bits <= MOST_BITS)
    return [format for format in few if isinstance(format, BlockFormat) or has_ends(format)]


def fits(format: Format, shape: tuple[int, ...], axis: int) -> bool:
    """Whether an array of this shape can be divided into the format's blocks."""
    try:
        if isinstance(format, BlockFormat):
            Geometry.of(shape, axis, format)
    except ValueError:
        return False
    return True


def _rows(data: _Data, formats: Sequence[Format], channel_axis: int | None) -> list[RankRow]:
    """One row for each format, unordered."""
    blocks = [_block_row(data, format) for format in formats if isinstance(format, BlockFormat)]
    numbers = [format for format in formats if isinstance(format, NumberFormat)]
    if not numbers:
        return blocks
    if channel_axis is not None and data.x.ndim > 1:
        return [*blocks, *(_measured(data, format, channel_axis) for format in numbers)]
    shared = _distribution(data)
    return [*blocks, *(_number_row(data, format, shared) for format in numbers)]


def _distribution(data: _Data) -> Distribution:
    return Distribution.of(data.x) if data.weights is None else Distribution.weighted(data.x, data.weights)


def _number_row(data: _Data, format: NumberFormat, shared: Distribution) -> RankRow:
    scale, mse = shared.best(format)
    if levels(format).is_measured:
        return rank_row(data.tensor, format, (mse, shared.power), scale, data.counts)
    if data.weights is None:
        return _from(measure(data.x, format, scale=scale, name=data.tensor)[0], format)
    y = Codec(format).fake_quantize(finite_or_zero(data.x), scale=scale, seed=SEED)
    return rank_row(data.tensor, format, weighted_means(data.x, y, data.weights), scale, data.counts)


def _block_row(data: _Data, format: BlockFormat) -> RankRow:
    if data.weights is None:
        return _from(measure(data.x, format, axis=data.axis, name=data.tensor)[0], format)
    y = Codec(format).fake_quantize(finite_or_zero(data.x), axis=data.axis, seed=SEED)
    return rank_row(data.tensor, format, weighted_means(data.x, y, data.weights), None, data.counts)


def _measured(data: _Data, format: NumberFormat, channel_axis: int) -> RankRow:
    """The row of a number format with one scale for each channel."""
    (row,) = measure(data.x, format, Iterative(), per="channel", channel_axis=channel_axis, name=data.tensor)
    return _from(row, format)


def _from(row: Row, format: Format) -> RankRow:
    """The rank row of a measured row."""
    counts = row["elements"], row["nonfinite"]
    return rank_row(row["tensor"], format, (row["mse"], row["power"]), row["scale"], counts)


def _of_kind(formats: Sequence[Format], kind: Kind | None) -> list[Format]:
    return [format for format in formats if kind in (None, kind_of(format))]
