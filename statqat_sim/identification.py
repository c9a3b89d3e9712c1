"""Which format made a quantized tensor: every one that fits its size is tried on the original."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from statqat_sim import layouts
from statqat_sim.arrays import Array, as_float32, float_storage, is_cpu_array, real_array
from statqat_sim.codec import Codec
from statqat_sim.errors import UnsupportedError
from statqat_sim.geometry import Geometry, checked_axis
from statqat_sim.plan.program import Storage
from statqat_sim.quantized import QuantizedTensor, unpack
from statqat_sim.quantizer import MinMax
from statqat_sim.spec.block import BlockFormat
from statqat_sim.spec.catalog import formats as known_formats
from statqat_sim.spec.catalog import load_format
from statqat_sim.spec.format import Format
from statqat_sim.spec.number import NumberFormat

MAX_BITS = 8
"""Of the number formats that are tried: those of more bits take seconds."""

SAMPLE = 1 << 12
"""Values that a format is tried on first."""

LEAST = 0.5
"""The share of them that it must give."""

SAMPLER = "reference"
"""The backend that tries: it compiles nothing."""

LARGEST = float(np.finfo(np.float32).max)

BLOCK_RULES = "own"
"""The scales of block formats."""

Progress: TypeAlias = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Compared:
    """One array of a quantized tensor, beside what a format makes of the original."""

    name: str
    """`values`, `bytes`, or the array's name among the format's fields: `elements`, `scale`, `scale0`, ..."""
    identical: int
    total: int
    first: str | None
    """The first difference: where, what is there, and what the format gives; None without any."""

    @property
    def share(self) -> float:
        """Of elements that are identical; 1 where there are none."""
        return self.identical / self.total if self.total else 1.0


@dataclass(frozen=True, slots=True)
class Candidate:
    """A format, and how near it comes: `scale` says where the scales of a number format come from."""

    format: Format
    scale: str
    compared: tuple[Compared, ...]

    @property
    def exact(self) -> bool:
        """Whether it reproduces the tensor."""
        return all(each.identical == each.total for each in self.compared)

    @property
    def shares(self) -> tuple[float, ...]:
        """Of each array, in the order of importance."""
        return tuple(each.share for each in self.compared)


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
    """Tell which formats make a quantized tensor of its original.

    Of the quantized tensor one thing is given: its values, its packed bytes, or its codes and scales.

    Args:
        x: the original, an array or CPU tensor of real numbers.
        values: what the quantized tensor stands for, in x's shape. Halves are compared with values rounded to halves;
            zeros of either sign, and all NaN, count as equal.
        packed: its bytes: bytes, or an array of uint8.
        codes: one code for each element, or dense bytes as `QuantizedTensor.fields` gives them.
        scales: its scales, outermost first, then its offsets; or only the innermost scales. Integers are codes, floats
            what they stand for.
        scale: the outermost scale, where the caller of the format gave it; see `Codec.quantize`.
        axis: along which blocks run.
        formats: what is tried; None: all formats that `formats()` lists. Number formats of up to 8 bits are tried, on
            `values` alone, with scales 1, MinMax and largest magnitude / largest value, of the tensor and of each
            index of axis 0.
        progress: told how many formats of how many are done.

    Returns:
        The formats that fit, best first: their sizes are the tensor's; of values, they give half of the first ones or
        more, where these can be told without the rest. Stochastic rounding has no one result; it does not fit.

    Raises:
        TypeError: if an array has the wrong dtype.
        ValueError: unless one thing is given, if its shape is not x's, if x is empty, or has no such axis.
    """
    listed = [load_format(name) for name in known_formats()] if formats is None else list(formats)
    given = _Given.of(np.atleast_1d(as_float32(real_array(x, "x"), "x")), values, packed, codes, scales)
    axis = checked_axis(axis, given.x.shape)
    found: list[Candidate] = []
    for done, format in enumerate(listed):
        if progress is not None:
            progress(done, len(listed))
        if isinstance(format, BlockFormat):
            compared = _tried(given, format, axis, scale)
            found += [Candidate(format, BLOCK_RULES, compared)] if compared else []
        elif given.values is not None and scale is None:
            found += _numbers(given, given.values, format)
    return sorted(found, key=_rank)


def _rank(candidate: Candidate) -> tuple[object, ...]:
    """Best first; of equals, plain names before those of special profiles."""
    name = candidate.format.name
    return not candidate.exact, [-share for share in candidate.shares], len(name), name


def _numbers(given: _Given, values: _Values, format: NumberFormat) -> Iterator[Candidate]:
    """A number format under each scale with which it has the first values, and gives enough of them."""
    if format.bits > MAX_BITS or format.encode.rounding.is_stochastic:
        return
    with np.errstate(over="ignore"):
        grid = format.grid().astype(np.float32)
    for name, scale in given.scales_for(format):
        of_sample = scale if scale is None or len(scale) == 1 else scale[: given.rows]
        if not values.are_among(grid, scale):
            continue
        try:
            y = Codec(format, SAMPLER).fake_quantize(given.x[: given.rows], scale=of_sample)
            if values.first(given.rows).beside(y).share >= LEAST:
                yield Candidate(format, name, (values.beside(Codec(format).fake_quantize(given.x, scale=scale)),))
        except ValueError:  # it refuses NaN
            continue


# --- what is given ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Given:
    """The original, and what is known of the quantized tensor."""

    x: NDArray[np.float32]
    values: _Values | None = None
    packed: NDArray[np.uint8] | None = None
    codes: Array | None = None
    scales: tuple[Array, ...] = ()

    @classmethod
    def of(cls, x: NDArray[np.float32], values: Any, packed: Any, codes: Any, scales: Sequence[Any]) -> _Given:
        parts = {"values": values is not None, "packed": packed is not None, "codes": codes is not None or bool(scales)}
        if sum(parts.values()) != 1:
            told = " and ".join(name for name, is_given in parts.items() if is_given) or "nothing"
            raise ValueError(f"{told} given; allowed: one of values, packed, and codes with scales")
        if x.size == 0:
            raise ValueError(f"x has no elements (shape {x.shape}), and every format reproduces nothing")
        if values is not None:
            return cls(x, values=_Values.of(values, x.shape))
        if packed is not None:
            return cls(x, packed=_octets(packed))
        taken = None if codes is None else _integers(codes)
        return cls(x, codes=taken, scales=tuple(_scales(each, index) for index, each in enumerate(scales)))

    @property
    def rows(self) -> int:
        """So many indices of axis 0 are a sample."""
        return max(SAMPLE * len(self.x) // self.x.size, 1)

    @cached_property
    def _extremes(self) -> tuple[NDArray[np.float32], NDArray[np.float32] | None]:
        """The least and the greatest finite value: of all, and of each index of axis 0, if there are more axes."""
        rows = self.x.reshape(1, -1) if self.x.ndim < 2 else self.x.reshape(len(self.x), -1)
        finite = np.isfinite(rows)
        ends = [reduce(axis=1, initial=0, where=finite) for reduce in (rows.min, rows.max)]
        each = np.stack(ends, axis=1).astype(np.float32)
        whole = np.array([[each[:, 0].min(initial=0), each[:, 1].max(initial=0)]], np.float32)
        return whole, each if self.x.ndim > 1 else None

    def scales_for(self, format: NumberFormat) -> Iterator[tuple[str, NDArray[np.float32] | None]]:
        """The scales that are tried, with their names: of shapes that broadcast against x."""
        yield "1", None
        for extent, ends in zip(("tensor", "channel"), self._extremes, strict=True):
            if ends is None:
                continue
            shape = (-1, *(1,) * (self.x.ndim - 1)) if extent == "channel" else (1,) * self.x.ndim
            yield f"minmax, {extent}", MinMax().fit(ends, format, channel_axis=0).value.reshape(shape)
            if 0 < format.max <= LARGEST:
                amax = np.abs(ends).max(axis=1)
                absmax = np.where(amax > 0, amax / np.float32(format.max), np.float32(1))
                yield f"absmax, {extent}", absmax.reshape(shape)


@dataclass(frozen=True)
class _Values:
    """What the quantized tensor stands for, and the type that it was rounded to."""

    array: NDArray[np.float32]
    storage: Storage

    @classmethod
    def of(cls, values: Any, shape: tuple[int, ...]) -> _Values:
        array = np.atleast_1d(as_float32(values, "values"))
        if array.shape != shape:
            raise ValueError(f"values have shape {array.shape}; allowed: that of the original, {shape}")
        return cls(array, float_storage(values, "values"))

    def rounded(self, y: NDArray[np.float32]) -> NDArray[np.float32]:
        """Values as the tensor's type has them."""
        if self.storage is Storage.BFLOAT16:
            rounded: NDArray[np.float32] = Codec(_bfloat16()).fake_quantize(y)
            return rounded
        with np.errstate(over="ignore"):
            return y.astype(np.float16).astype(np.float32) if self.storage is Storage.FLOAT16 else y

    def beside(self, y: NDArray[np.float32]) -> Compared:
        """The values beside those of a format."""
        return _compared("values", self.array, self.rounded(y))

    def first(self, rows: int) -> _Values:
        """Those of so many indices of axis 0."""
        return _Values(self.array[:rows], self.storage)

    def are_too_many(self, format: BlockFormat, geometry: Geometry) -> bool:
        """Whether the first block has more values than there are codes."""
        rows, columns = geometry.extent(format.anchor.block)
        matrices = self.array.reshape(geometry.batch, geometry.rows, geometry.columns)
        block = matrices[:1, : min(rows, SAMPLE), : min(columns, SAMPLE)]
        return len(np.unique(block)) > 1 << format.bits

    def are_among(self, grid: NDArray[np.float32], scale: NDArray[np.float32] | None) -> bool:
        """Whether the first values are on a grid times the scale; of many scales, those of the first."""
        length = self.array[0].size if scale is not None and scale.size > 1 else self.array.size
        sample = np.unique(self.array.reshape(-1)[: min(length, SAMPLE)])
        with np.errstate(over="ignore", under="ignore"):
            scaled = grid if scale is None else grid * scale.reshape(-1)[0]
        return bool(np.isin(sample[np.isfinite(sample)], self.rounded(scaled)).all())


def _bfloat16() -> NumberFormat:
    format = load_format("bfloat16")
    if not isinstance(format, NumberFormat):
        raise TypeError(f"bfloat16 is {format!r}; allowed: a number format")
    return format


def _octets(packed: Any) -> NDArray[np.uint8]:
    if is_cpu_array(packed):
        array = np.ascontiguousarray(packed)
        if array.dtype.itemsize != 1:
            raise TypeError(f"packed is {array.dtype}; allowed: bytes, or an array of uint8")
        return array.reshape(-1).view(np.uint8)
    try:
        return np.frombuffer(memoryview(packed).cast("B"), np.uint8)
    except TypeError:
        raise TypeError(f"packed is a {type(packed).__name__}; allowed: bytes, or an array of uint8") from None


def _integers(codes: Any) -> Array:
    array = np.asarray(codes)
    if array.dtype.kind not in "ui":
        raise TypeError(f"codes are {array.dtype}; allowed: integers")
    return np.ascontiguousarray(array)


def _scales(scales: Any, index: int) -> Array:
    """Codes as integers, values as float32."""
    name = f"scales[{index}]"
    array = np.asarray(scales) if np.ndim(scales) == 0 else scales
    if is_cpu_array(array) and str(array.dtype).rpartition(".")[2].lstrip("u").startswith("int"):
        return np.ascontiguousarray(np.asarray(array))
    return as_float32(array, name)


# --- block formats ---------------------------------------------------------------------------------------------


def _tried(given: _Given, format: BlockFormat, axis: int, scale: Any) -> tuple[Compared, ...] | None:
    """What is alike in a block format; None if the format does not fit."""
    if format.element.encode.rounding.is_stochastic or (format.needs_scale and scale is None):
        return None
    try:
        geometry = Geometry.of(given.x.shape, axis, format)
        if given.packed is not None and layouts.packed_size(format, geometry) != given.packed.size:
            return None
        if given.packed is None and given.values is None and not _sizes_fit(given, format, geometry):
            return None
        codec = Codec(format)
        if given.values is not None:
            if given.values.are_too_many(format, geometry) or not _promises(
                given, given.values, format, geometry, scale
            ):
                return None
            return (given.values.beside(codec.fake_quantize(given.x, axis=axis, scale=scale)),)
        q = codec.quantize(given.x, axis=axis, scale=scale)
    except (ValueError, UnsupportedError):  # no such axis; NaN, or a scale, that the format refuses
        return None
    return _packed_beside(given.packed, q) if given.packed is not None else _arrays_beside(given, q)


def _promises(given: _Given, values: _Values, format: BlockFormat, geometry: Geometry, scale: Any) -> bool:
    """Whether it gives enough of a sample; what cannot be told without the rest is promising."""
    are_whole = geometry.axis > 0 and all(isinstance(level.block, int) for level in format.scales)
    if not are_whole or scale is not None:
        return True
    y = Codec(format, SAMPLER).fake_quantize(given.x[: given.rows], axis=geometry.axis)
    return values.first(given.rows).beside(y).share >= LEAST


def _packed_beside(packed: NDArray[np.uint8], q: QuantizedTensor) -> tuple[Compared, ...]:
    """The bytes, and the arrays that they hold."""
    octets = _compared("bytes", packed, np.frombuffer(q.pack(), np.uint8))
    theirs, ours = unpack(packed, q.format, q.shape, q.axis).arrays(), q.arrays()
    names = [layouts.ELEMENTS, *(name for name in ours if name != layouts.ELEMENTS)]
    return octets, *(_compared(name, theirs[name], ours[name]) for name in names)


def _sizes_fit(given: _Given, format: BlockFormat, geometry: Geometry) -> bool:
    """Whether codes and scales have as many elements as the format's."""
    fields = layouts.fields_of(format, geometry)
    names = _names_of_scales(len(given.scales), list(fields))
    if names is None or not all(_fits(array, fields[name]) for array, name in zip(given.scales, names, strict=True)):
        return False
    if given.codes is None:
        return True
    row = fields[layouts.ELEMENTS].row_shape
    dense = math.prod(row[:-1]) * -(-row[-1] * format.bits // 8)
    return given.codes.size in (math.prod(geometry.shape), dense)


def _fits(array: Array, field: layouts.Field) -> bool:
    """Whether it has the field's size: words of as many bits, or values."""
    is_value = array.dtype.kind == "f"
    if is_value and not field.is_float and not field.name.startswith(layouts.SCALE):
        return False
    same_width = not field.is_float or is_value or array.itemsize * 8 == field.storage.bits
    return array.size == math.prod(field.shape) and same_width


def _names_of_scales(count: int, fields: Sequence[str]) -> Sequence[str] | None:
    """Which fields so many arrays are; None if there are not so many."""
    scales = [name for name in fields if name.startswith(layouts.SCALE)]
    others = [name for name in fields if name != layouts.ELEMENTS]
    if count == len(others):
        return others
    return scales[len(scales) - count :] if count <= len(scales) else None


def _arrays_beside(given: _Given, q: QuantizedTensor) -> tuple[Compared, ...]:
    arrays = q.arrays()
    names = _names_of_scales(len(given.scales), list(arrays)) or ()
    compared = [] if given.codes is None else [_codes_beside(given.codes, q)]
    values: Mapping[str, Any] = dict(zip(arrays, q.scale_values(), strict=False))
    for theirs, name in zip(given.scales, names, strict=True):
        ours = arrays[name]
        if theirs.dtype.kind == "f":
            ours = values.get(name, ours)
        elif ours.dtype.kind == "f":
            ours = ours.view(f"u{ours.itemsize}")
        compared.append(_compared(name, _as_codes(theirs, ours), ours))
    return tuple(compared)


def _codes_beside(codes: Array, q: QuantizedTensor) -> Compared:
    """One code for each element, or dense bytes; signs of integers may be extended."""
    if codes.size == math.prod(q.shape):
        return _compared(layouts.ELEMENTS, codes & codes.dtype.type(_mask(q.format.bits, codes.dtype)), q.codes)
    dense = q.fields()[layouts.ELEMENTS]
    return _compared(layouts.ELEMENTS, _as_codes(codes, dense), dense)


def _mask(bits: int, dtype: np.dtype[Any]) -> int:
    """As many ones as a code has, of a signed type all where it has no more."""
    return -1 if dtype.kind == "i" and bits >= 8 * dtype.itemsize else (1 << bits) - 1


def _as_codes(array: Array, like: Array) -> Array:
    """Signed integers as the words that they are."""
    return array.view(like.dtype) if array.dtype.kind == "i" and array.itemsize == like.itemsize else array


def _compared(name: str, theirs: Array, ours: Any) -> Compared:
    """Two arrays of one size, in the shape of the format's."""
    expected = np.asarray(ours)
    found = np.asarray(theirs).reshape(expected.shape)
    same = found == expected
    if expected.dtype.kind == "f" and not same.all():
        same |= np.isnan(found) & np.isnan(expected)
    wrong = np.flatnonzero(~same)
    first = None
    if wrong.size:
        place = tuple(int(index) for index in np.unravel_index(wrong[0], expected.shape))
        first = f"{list(place)}: {found[place]!s}, not {expected[place]!s}"
    return Compared(name, expected.size - wrong.size, expected.size, first)
