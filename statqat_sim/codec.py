"""A format and a backend: encode, decode, quantize, dequantize, fake-quantize, pack."""

from __future__ import annotations

import math
import secrets
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, ParamSpec, TypeVar

import numpy as np

from statqat_sim.arrays import (
    CPU,
    LONG_INTEGERS,
    dtype_name,
    float_storage,
    is_compiling,
    left_out,
    outside_graphs,
    plain_name,
    shape_of,
)
from statqat_sim.arrays.loaded import compiler_is_loaded
from statqat_sim.block_codec import BlockCodec
from statqat_sim.errors import UnsupportedError, shown
from statqat_sim.plan.lower import Purpose, lower
from statqat_sim.plan.program import Storage
from statqat_sim.quantized import QuantizedTensor
from statqat_sim.refusals import refuse_long, refuse_nan, refuse_scale
from statqat_sim.runtime import Backend, Kernel, backend_for, backend_named, is_traced, library_of
from statqat_sim.scale import Scale
from statqat_sim.spec.block import BlockFormat
from statqat_sim.spec.encode import NanInput, Overflow
from statqat_sim.spec.format import Format
from statqat_sim.spec.number import NumberFormat, checked_format
from statqat_sim.spec.scale import Nonfinite
from statqat_sim.spec.zero_point import with_any_zero_point, with_zero_point

SEED_BITS = 64
SEEDS = 1 << SEED_BITS
P = ParamSpec("P")
R = TypeVar("R")

FORMATS = "a NumberFormat or a BlockFormat"
"""The formats that a codec takes, for messages."""

SHIFTED = 16
"""How many codecs of shifted formats (one per zero-point) are kept."""


class Codec:
    """Bit-exact conversion between arrays of numbers and a format's codes. Results are of the input's kind.

    `encode` and `decode` are for number formats; `quantize`, `dequantize` and `pack` for block formats, whose codes
    have scales; `fake_quantize` gives floats for both.

    Args:
        format: a number format or a block format.
        backend: a backend's name; `"auto"` takes the one that owns each array: numpy arrays and CPU tensors run on
            numba.

    Raises:
        TypeError: if `format` is neither a NumberFormat nor a BlockFormat, or `backend` is not a string.
        LookupError: if no backend has this name.
        UnsupportedError: if the backend cannot run here.

    >>> import numpy as np, statqat_sim as sqs
    >>> codec = sqs.Codec(sqs.load_format("float8_e4m3fn"))
    >>> codec.encode(np.array([1.0, 0.1, 1000.0], np.float32))
    array([ 56,  29, 126], dtype=uint8)
    >>> codec.fake_quantize(np.array([1.0, 0.1, 1000.0], np.float32))
    array([1.000000e+00, 1.015625e-01, 4.480000e+02], dtype=float32)
    """

    def __init__(self, format: Format, backend: str = "auto") -> None:
        self.format: Format = format if isinstance(format, BlockFormat) else checked_format(format, FORMATS)
        self._backend: Backend | None = None if backend == "auto" else backend_named(backend)
        self._is_traced = self._backend is not None and is_traced(self._backend)
        self._compiled = SimpleNamespace()  # torch's compiler sees attributes that are added while it traces
        self._kernels: dict[tuple[object, ...], Kernel] = {}
        self._shifted: dict[int | None, Codec] = {}
        self._blocks = BlockCodec(format, self._backend) if isinstance(format, BlockFormat) else None
        policy = format.element.encode if isinstance(format, BlockFormat) else format.encode
        keeps_nan = isinstance(format, BlockFormat) and format.anchor.nonfinite is Nonfinite.NAN_BLOCK
        self._refuses_nan = policy.nan_input is NanInput.ERROR and not keeps_nan
        self._wraps = policy.overflow is Overflow.WRAP and not isinstance(format, BlockFormat)
        self._may_refuse = self._refuses_nan or self._wraps
        self._is_stochastic = policy.rounding.is_stochastic

    def __repr__(self) -> str:
        return f"Codec({self.format.name}, backend={self._backend.name if self._backend else 'auto'})"

    def encode(self, x: Any, *, out: Any = None, seed: int | None = None, offset: int = 0, packed: bool = False) -> Any:
        """The code of each element, of a number format. A float64 is rounded once.

        Args:
            x: float16, bfloat16, float32, float64 or integers, any shape and strides.
            out: where the codes go: x's shape, uint8, uint16 or uint32 by the format's width.
            seed: the seed of stochastic rounding's random bits, below 2^64; None: a new one each time. Other roundings
                do not use it.
            offset: the index of x's first element among the random bits, so that parts of an array get what the whole
                gets.
            packed: dense codes of up to 8 bits as bytes: each row, along the last axis, begins with a byte of its own.

        Raises:
            TypeError: if an array has the wrong dtype or kind.
            ValueError: if a shape does not fit, or for a NaN under `nan_input: error`.
            UnsupportedError: for packed codes of more than 8 bits; for block formats.
        """
        run = self._traced(Codec._encode) if is_compiling() else Codec._encode
        return run(self, x, out, seed, offset, packed)

    def decode(
        self,
        codes: Any,
        *,
        out: Any = None,
        dtype: str = "float32",
        packed: bool = False,
        shape: tuple[int, ...] | None = None,
    ) -> Any:
        """The value of each code of a number format, rounded once to float32 where float32 is coarser.

        Args:
            codes: uint8, uint16 or uint32 by the format's width; bits above that width are ignored. If packed, uint8.
            out: where the values go: an array of `dtype`, of the codes' shape.
            dtype: `"float32"`, or `"float64"`, which holds every value.
            packed: whether `codes` are dense, as `encode` packs them.
            shape: the codes' shape, needed if packed rows end with padding; the bytes may then be flat.

        Raises:
            TypeError: if an array has the wrong dtype or kind.
            ValueError: if a shape does not fit.
            UnsupportedError: for packed codes of more than 8 bits; for block formats.
        """
        run = self._traced(Codec._decode) if is_compiling() else Codec._decode
        return run(self, codes, out, dtype, packed, shape)

    def quantize(
        self,
        x: Any,
        *,
        axis: int = -1,
        scale: Any = None,
        weights: Any = None,
        seed: int | None = None,
        offset: int = 0,
    ) -> QuantizedTensor:
        """Codes and scales of a block format; x becomes float32 first.

        Args:
            x: float16, bfloat16, float32, float64 or integers, any shape and strides.
            axis: along which blocks run; blocks of rows and columns lie in the last two axes.
            scale: given scales, in place of those that the outermost level's rule finds: a number, which is rounded
                to float32, or a float32 array that broadcasts to the level's scales. Each becomes the nearest scale
                that the level's format holds: in MX 0.3 becomes 0.25, and 0 the smallest power of two. Values, not
                codes: integer arrays are refused where scales are stored as codes. 0 and above, but for rules that
                find negative ones. Formats with `rule: given` need it.
            weights: weights of the squared errors that `rule: mse` compares, one for each index of `axis`.
            seed: the seed of stochastic rounding's random bits, below 2^64; None: a new one each time.
            offset: the index of x's first element among the random bits.

        Raises:
            TypeError: if an array has the wrong dtype or kind.
            ValueError: if a shape or an axis does not fit, for wrong scales or weights, or for a NaN under
                `nan_input: error`.
            UnsupportedError: for number formats, and for a scale in formats that find offsets with their scales.

        >>> import numpy as np, statqat_sim as sqs
        >>> q = sqs.Codec(sqs.load_format("mxfp4")).quantize(np.array([1.0, -6.0, 0.1, 3.0], np.float32))
        >>> q.codes, q.scales
        (array([ 2, 15,  0,  5], dtype=uint8), (array([127], dtype=uint8),))
        """
        run = self._traced(Codec._quantize) if is_compiling() else Codec._quantize
        return run(self, x, axis, scale, weights, seed, offset)

    def dequantize(self, q: QuantizedTensor, *, out: Any = None) -> Any:
        """The values of a tensor in this block format, as float32.

        Args:
            q: what `quantize` or `unpack` gave.
            out: where the values go: float32, of q's shape.

        Raises:
            TypeError: if q is not a QuantizedTensor, or `out` has the wrong dtype or kind.
            ValueError: if q is in another format, or `out` has another shape.
            UnsupportedError: for number formats.
        """
        run = self._traced(BlockCodec.dequantize) if compiler_is_loaded() else BlockCodec.dequantize  # see `left_out`
        return run(self._with_blocks("decode"), q, out)

    @left_out
    def pack(
        self,
        x: Any,
        axis: int = -1,
        *,
        scale: Any = None,
        weights: Any = None,
        seed: int | None = None,
        offset: int = 0,
    ) -> bytes:
        """The bytes of `quantize(x, ...).pack()`, in one pass. Arguments and errors are those of `quantize`."""
        blocks = self._with_blocks("encode(x, packed=True)")
        _refuse_zero_point(scale, self.format)
        self._refuse(x)
        return blocks.pack(x, axis, scale, weights, self._random(x, seed, offset))

    def fake_quantize(
        self,
        x: Any,
        *,
        scale: Any = None,
        axis: int = -1,
        weights: Any = None,
        out: Any = None,
        seed: int | None = None,
        offset: int = 0,
    ) -> Any:
        """decode(encode(x)); with a scale decode(encode(x / scale)) × scale, each operation rounded to float32.

        A `Scale` with zero-points shifts the range of a format of kind int: (q - zero_point) × scale with
        q = saturate(round(x / scale) + zero_point). In a block format dequantize(quantize(x)).

        Args:
            x: float16, bfloat16, float32, float64 or integers, any shape and strides.
            scale: a number, which is rounded to float32, or a `Scale` or float32 array that broadcasts against x;
                None: no scaling. A scale of 0 gives the codes of 0. In a block format as `quantize` takes it.
            axis: along which blocks run; number formats do not use it.
            weights: as `quantize` takes them; only for block formats.
            out: where the values go: of x's shape, float64 for float64 or wide integers, else float32; may be x. In
                a block format always float32.
            seed: the seed of stochastic rounding's random bits, below 2^64; None: a new one each time.
            offset: the index of x's first element among the random bits.

        Raises:
            TypeError: if an array has the wrong dtype or kind.
            ValueError: if a shape does not fit, for NaN scales (not checked in arrays on devices, nor in tensors on
                backend `torch`), for a zero-point out of range, or for a NaN under `nan_input: error`.
            UnsupportedError: for zero-points where the format takes none.
        """
        run = self._traced(Codec._fake_quantize) if is_compiling() else Codec._fake_quantize
        return run(self, x, scale, axis, weights, out, seed, offset)

    def _traced(self, method: Callable[P, R]) -> Callable[P, R]:
        """The method as torch's compiler traces it; or, if it cannot trace the backend, as it leaves it out."""
        return method if self._is_traced else outside_graphs(method)

    def _encode(self, x: Any, out: Any, seed: int | None, offset: int, packed: bool) -> Any:
        self._refuse(x)
        kernel = self._kernel(x, Purpose.PACK if packed else Purpose.ENCODE)
        return kernel(x, out=out, **self._random(x, seed, offset))

    def _decode(self, codes: Any, out: Any, dtype: str, packed: bool, shape: tuple[int, ...] | None) -> Any:
        if shape is not None and not packed:
            raise ValueError("shape says how packed codes lie; allowed: with packed=True")
        kernel = self._kernel(codes, Purpose.UNPACK if packed else Purpose.DECODE, _value_storage(dtype))
        return kernel(codes, out=out, shape=shape) if packed else kernel(codes, out=out)

    def _quantize(self, x: Any, axis: int, scale: Any, weights: Any, seed: int | None, offset: int) -> QuantizedTensor:
        blocks = self._with_blocks("encode, fake_quantize(x, scale=...)")
        _refuse_zero_point(scale, self.format)
        self._refuse(x)
        return blocks.quantize(x, axis, scale, weights, self._random(x, seed, offset))

    def _fake_quantize(
        self, x: Any, scale: Any, axis: int, weights: Any, out: Any, seed: int | None, offset: int
    ) -> Any:
        if self._blocks is not None:
            _refuse_zero_point(scale, self.format)
            self._refuse(x)
            return self._blocks.fake_quantize(x, axis, scale, weights, out, self._random(x, seed, offset))
        if weights is not None:
            raise ValueError(f"{self.format.name} has no blocks, whose scales weights are for; allowed: None")
        if isinstance(scale, Scale) and scale.zero_point is not None:
            return self._with_zero_points(x, scale, out, seed, offset)
        if scale is None:
            self._refuse(x)
            kernel = self._kernel(x, Purpose.FAKE_QUANTIZE)
            return kernel(x, out=out, **self._random(x, seed, offset))
        kernel = self._kernel(x, Purpose.FAKE_QUANTIZE_SCALED)
        scale = self._checked_scale(scale, x)
        self._refuse(x, scale)
        return kernel(x, out=out, scale=scale, **self._random(x, seed, offset))

    def _with_zero_points(self, x: Any, scale: Scale, out: Any, seed: int | None, offset: int) -> Any:
        """`fake_quantize`: one zero-point shifts the format; with several, results of a wider format are clamped.

        Clamping after rounding gives the same result: multiplication by a scale is monotonic.
        """
        low, high = scale.ends(self._number_format())
        assert scale.zero_point is not None
        if scale.value.size == 1:
            codec = self._codec_with(int(scale.zero_point.item()))
            return codec.fake_quantize(x, scale=scale.value.reshape(()), out=out, seed=seed, offset=offset)
        library = library_of(self._backend or backend_for(x), x)
        if library is not CPU:
            told = f"{scale.zero_point.size} zero-points are taken by arrays in the CPU's memory, on backend 'numba'"
            raise UnsupportedError(f"{told}; allowed here: one for all elements")
        y = self._codec_with(None).fake_quantize(x, scale=scale.value, out=out, seed=seed, offset=offset)
        values = library.result(y, tuple(y.shape), float_storage(y, "y"), y)
        np.maximum(values, low, out=values)  # both take a third of the time of np.clip
        np.minimum(values, high, out=values)
        return y

    def _codec_with(self, zero_point: int | None) -> Codec:
        """The codec of the format with this zero-point, or with any, on the same backend; those last used are kept."""
        codec = self._shifted.pop(zero_point, None)
        if codec is None:
            format = self._number_format()
            shifted = with_any_zero_point(format) if zero_point is None else with_zero_point(format, zero_point)
            codec = Codec(shifted, self._backend.name if self._backend else "auto")
        self._shifted[zero_point] = codec
        for unused in list(self._shifted)[:-SHIFTED]:
            self._shifted.pop(unused, None)
        return codec

    def _with_blocks(self, instead: str) -> BlockCodec:
        """The block codec of a block format; `instead`: the methods that number formats have, for the message."""
        if self._blocks is None:
            told = f"{self.format.name} is a number format, and only block formats have scales of their own"
            raise UnsupportedError(f"{told}; allowed: {instead}")
        return self._blocks

    def _number_format(self) -> NumberFormat:
        if isinstance(self.format, BlockFormat):
            told = f"{self.format.name} is a block format, whose codes mean nothing without their scales"
            raise UnsupportedError(f"{told}; allowed: quantize, dequantize, fake_quantize, pack")
        return self.format

    def _checked_scale(self, scale: Any, x: Any) -> Any:
        """The scale; arrays whose values are checked are converted to float32.

        Raises:
            ValueError: if one is NaN.
        """
        if isinstance(scale, int | float) and scale == scale:
            return scale
        library = CPU if isinstance(scale, float) else library_of(self._backend or backend_for(x), x)
        if not library.looks:
            return scale
        values = library.as_scale(scale, shape_of(x, "x"), x)
        refuse_scale(scale, values, self.format.name, library, may_be_negative=True)
        return values

    def _refuse(self, x: Any, scale: Any = None) -> None:
        """Raise ValueError for inputs that the format has no code for; synchronizes with their device."""
        if not self._may_refuse:
            return
        library = library_of(self._backend or backend_for(x), x)
        with library.on_device_of(x):
            if self._refuses_nan:
                refuse_nan(x, self.format.name, scale, library)
            if self._wraps and dtype_name(x) in LONG_INTEGERS:
                refuse_long(x, self.format.name, library)

    def _random(self, x: Any, seed: int | None, offset: int) -> dict[str, int]:
        """The seed and offset of a kernel's random bits; empty if it has none."""
        if seed is not None:
            check_word(seed, "seed")
        if offset != 0:
            check_word(offset, "offset")
        if not self._is_stochastic:
            return {}
        size = math.prod(shape_of(x, "x"))
        if int(offset) + size > SEEDS:
            raise ValueError(f"offset is {offset}; allowed: with x's {size} elements at most 2^{SEED_BITS}")
        return {"seed": new_seed() if seed is None else int(seed), "offset": int(offset)}

    def _kernel(self, array: Any, purpose: Purpose, floats: Storage | None = None) -> Kernel:
        """The kernel for arrays of this kind; `floats`: the dtype of a decoder's result."""
        if self._backend is not None:
            name = self._prepared(self._backend, purpose, floats or float_storage(array, "x"))
            return getattr(self._compiled, name)  # type: ignore[no-any-return]
        key = (type(array), getattr(array, "dtype", None), str(getattr(array, "device", "")), purpose, floats)
        kernel = self._kernels.get(key)
        if kernel is None:
            name = self._prepared(backend_for(array), purpose, floats or float_storage(array, "x"))
            kernel = self._kernels[key] = getattr(self._compiled, name)
        return kernel

    def _prepared(self, backend: Backend, purpose: Purpose, floats: Storage) -> str:
        """The name of the backend's kernel among those that are compiled."""
        name = f"{backend.name} {purpose} {floats}"
        if not hasattr(self._compiled, name):
            setattr(self._compiled, name, backend.compile(lower(self._number_format(), purpose, floats=floats)))
        return name

    _prepared._dynamo_marked_constant = True  # type: ignore[attr-defined]  # torch's compiler runs it while it traces


def new_seed() -> int:
    """An unpredictable seed."""
    return secrets.randbits(SEED_BITS)


def check_word(number: Any, name: str) -> None:
    """Raises ValueError unless it is an integer below 2^64."""
    if isinstance(number, bool) or not isinstance(number, int | np.integer) or not 0 <= number < SEEDS:
        raise ValueError(f"{name} is {shown(number)}; allowed: 0 to 2^{SEED_BITS} - 1")


def _refuse_zero_point(scale: Any, format: Format) -> None:
    """Raises ValueError for a scale with zero-points: block formats have offsets of their own."""
    if isinstance(scale, Scale) and scale.zero_point is not None:
        raise ValueError(f"scale has zero-points, and {format.name} is a block format; allowed: scales without")


def _value_storage(dtype: Any) -> Storage:
    """How a decoder stores values of this dtype."""
    name = plain_name(getattr(dtype, "__name__", dtype))
    if name not in (Storage.FLOAT32, Storage.FLOAT64):
        raise ValueError(f"dtype is {shown(name)}; allowed: 'float32', 'float64'")
    return Storage(name)
