"""Rows of block formats, which find their own scales."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from statqat_sim.codec import Codec, check_word
from statqat_sim.geometry import Geometry
from statqat_sim.measurement.row import Float32s, Row, Sums
from statqat_sim.quantized import QuantizedTensor
from statqat_sim.quantizer.measured import chunks
from statqat_sim.spec.block import BlockFormat
from statqat_sim.spec.scale import Block, Nonfinite, ScaleLevel


@dataclass(frozen=True, slots=True)
class Blocks:
    """How block formats are measured; the fields are arguments of `measure`."""

    axis: int
    scale: Any
    seed: int
    random_phase: bool


def block_row(tensor: str, x: Float32s, format: BlockFormat, name: str, how: Blocks) -> Row:
    """The row of a tensor in a block format; `name`: the row's `quantizer`.

    Raises:
        ValueError: if there is no such axis, or the scale does not fit.
        UnsupportedError: if a scale is given for a format with offsets.
    """
    sums = Sums(format.bits)
    try:
        divisor = _phases(x, format, how) if how.random_phase else None
        with np.errstate(over="ignore", invalid="ignore"):  # signalling NaN
            measured = x if divisor is None else x * divisor
        _add(sums, measured, divisor, _without_nan_blocks(format), how)
        scale = None if how.scale is None else _told(how.scale)
    except ValueError as error:
        raise ValueError(f"{tensor}: {error}") from error
    return sums.row(tensor, format, name, scale, x.size)


def _told(scale: Any) -> float | list[float]:
    """The caller's scale as the row's `scale`."""
    given = np.asarray(scale, np.float32)
    if not np.isfinite(given).all():
        raise ValueError("scale has infinite values; allowed: finite ones")
    return float(given.item()) if given.size == 1 else list(given.ravel().tolist())


def _add(sums: Sums, x: Float32s, divisor: Float32s | None, format: BlockFormat, how: Blocks) -> None:
    codec, finite = Codec(format), np.isfinite(x)
    filled = x if finite.all() else np.where(finite, x, np.float32(np.inf))  # some formats refuse NaN
    q = codec.quantize(filled, axis=how.axis, scale=how.scale, seed=how.seed)
    y, ends = codec.dequantize(q), _ends(codec, q, format)
    for part in chunks(x.size):
        keep = finite.reshape(-1)[part]
        kept, decoded, codes, least, greatest = (_flat(each, part)[keep] for each in (x, y, q.codes, *ends))
        sums.add(kept, decoded, codes, None if divisor is None else _flat(divisor, part)[keep])
        sums.add_clipped(kept, np.minimum(least, greatest), np.maximum(least, greatest))


def _flat(array: Any, part: slice) -> NDArray[Any]:
    """A range of the elements in C order."""
    return np.asarray(array).reshape(-1)[part]


def _ends(codec: Codec, q: QuantizedTensor, format: BlockFormat) -> tuple[Float32s, Float32s]:
    """Every element's value if its code were that of the least, or of the greatest element value.

    A negative scale swaps the two.
    """
    element = format.element
    codes = Codec(element).encode(np.array([element.min, element.max]))
    least, greatest = (codec.dequantize(replace(q, codes=np.full(q.shape, code, q.codes.dtype))) for code in codes)
    return least, greatest


def _without_nan_blocks(format: BlockFormat) -> BlockFormat:
    """The format with a saturating scale, so that NaN and Inf do not affect the other elements of their block."""
    anchor = format.anchor
    scales = tuple(_saturating(level) if level is anchor else level for level in format.scales)
    return format.model_copy(update={"scales": scales})


def _saturating(level: ScaleLevel) -> ScaleLevel:
    return level.model_copy(update={"nonfinite": Nonfinite.SATURATE})


# --- phases ----------------------------------------------------------------------------------------------------


def _phases(x: Float32s, format: BlockFormat, how: Blocks) -> Float32s:
    """2^u of each element's block, u uniform in [0, 1): float32, in x's shape."""
    check_word(how.seed, "seed")
    geometry = Geometry.of(x.shape, how.axis, format)
    block = format.anchor.block
    phases = np.random.default_rng(how.seed).random(geometry.scale_shape(block))
    return _spread(np.exp2(phases).astype(np.float32), block, geometry)


def _spread(scales: Float32s, block: Block, geometry: Geometry) -> Float32s:
    """Block values repeated for each element of their block."""
    match block:
        case int():
            sizes = {geometry.axis: block}
        case (rows, columns):
            sizes = {-2: rows, -1: columns}
        case _:
            return np.broadcast_to(scales, geometry.shape)
    for axis, size in sizes.items():
        if geometry.shape:
            scales = np.repeat(scales, size, axis).take(range(geometry.shape[axis]), axis)
    return scales
