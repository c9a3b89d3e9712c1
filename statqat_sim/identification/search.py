"""`identify`: every format that fits the size of a quantized tensor is tried on the original."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeAlias

import numpy as np

from statqat_sim.arrays import as_float32, left_out, real_array
from statqat_sim.geometry import checked_axis
from statqat_sim.identification.blocks import check_scale, tried
from statqat_sim.identification.given import Given
from statqat_sim.identification.numbers import Extremes, number_candidates
from statqat_sim.identification.result import BLOCK_RULES, Candidate
from statqat_sim.spec.block import BlockFormat
from statqat_sim.spec.catalog import formats as known_formats
from statqat_sim.spec.catalog import load_format
from statqat_sim.spec.format import Format

Progress: TypeAlias = Callable[[int, int], None]


@left_out
@np.errstate(under="ignore")
def identify(
    x: Any,
    *,
    values: Any = None,
    packed: Any = None,
    codes: Any = None,
    scales: Sequence[Any] = (),
    scale: Any = None,
    axis: int = -1,
    formats: Iterable[Format] | None = None,
    progress: Progress | None = None,
) -> list[Candidate]:
    """Find the formats that produce a quantized tensor from its original.

    The quantized tensor is given in one representation: its values, its packed bytes, or its codes and scales.

    Args:
        x: the original, an array or CPU tensor of real numbers.
        values: the dequantized values, in x's shape. float16 and bfloat16 values are compared with values rounded to
            that dtype; zeros of either sign are equal, and so are all NaN.
        packed: the packed tensor: bytes, or an array of uint8.
        codes: one code for each element, or dense bytes as `QuantizedTensor.fields` returns them.
        scales: the scales, outermost first, then the offsets; or only the innermost scales. Integers are codes, floats
            are values. With codes of number formats: floats, or words of bfloat16 or float16.
        scale: the outermost scale, if the caller of the format chose it; see `Codec.quantize`.
        axis: the axis along which blocks run.
        formats: the formats to try; None: all that `formats()` lists. Number formats of up to 8 bits are tried on
            `values` and on `codes`, unless `scale` is given: with the values in `scales`, or else with scale 1,
            MinMax's, and largest magnitude / largest value, each of the tensor and of each index of axis 0.
        progress: called with the number of formats done and the number of all.

    Returns:
        The formats that fit, best first. The sizes of their arrays are the tensor's, and they reproduce at least half
        of a sample, if the sample can be quantized without the rest. Formats with stochastic rounding never fit: their
        result is not unique.

    Raises:
        TypeError: if an array has the wrong dtype.
        ValueError: unless exactly one representation is given; if its shape is not x's, if x is empty or has no such
            axis, or if no format takes the scale.
    """
    listed = [load_format(name) for name in known_formats()] if formats is None else list(formats)
    given = Given.of(np.atleast_1d(as_float32(real_array(x, "x"), "x")), values, packed, codes, scales)
    axis = checked_axis(axis, given.x.shape)
    if scale is not None:
        check_scale(scale, listed, given.x.shape, axis)
    has_numbers = scale is None and (given.values is not None or given.codes is not None)
    extremes = Extremes.of(given.x) if has_numbers else None
    found: list[Candidate] = []
    for done, format in enumerate(listed):
        if progress is not None:
            progress(done, len(listed))
        if isinstance(format, BlockFormat):
            compared = tried(given, format, axis, scale)
            found += [Candidate(format, BLOCK_RULES, compared)] if compared else []
        elif extremes is not None:
            found += number_candidates(given, format, extremes)
    return sorted(found, key=_rank)


def _rank(candidate: Candidate) -> tuple[object, ...]:
    """Sort key: best first; among equals shorter names first, so that a format precedes its profiles."""
    name = candidate.format.name
    return not candidate.exact, [-share for share in candidate.shares], len(name), name
