"""What libraries that the tests install offer for a format. Each is imported when it is asked for.

bits, decode, encode, truncates = LIBRARIES["torch"]("float8_e4m3fn")
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

Values: TypeAlias = NDArray[np.float64 | np.float32]
Codes: TypeAlias = NDArray[np.uint8 | np.uint16]
Decode: TypeAlias = Callable[[], Values]
Encode: TypeAlias = Callable[[NDArray[Any]], Codes]


class Interface(NamedTuple):
    """What a library offers for one format.

    `decode`: value of every code, shape `(2**bits,)`, float64; float32 where the library holds float32. None where its
    values are not recorded.
    `encode`: codes of inputs of a float dtype; None where the library has no such cast.
    `truncates`: the cast rounds toward zero, as those of numpy and ml_dtypes to integers do; others to nearest even.
    """

    bits: int
    decode: Decode | None
    encode: Encode | None
    truncates: bool = False


def _ml_dtypes(name: str) -> Interface:
    """Any type of ml_dtypes."""
    import ml_dtypes

    dtype = np.dtype(getattr(ml_dtypes, name))
    is_int = "int" in name
    bits: int = (ml_dtypes.iinfo(dtype) if is_int else ml_dtypes.finfo(dtype)).bits
    return _numpy_dtype(dtype, bits, is_int)


def _numpy(name: str) -> Interface:
    """A type of numpy itself."""
    dtype = np.dtype(name)
    return _numpy_dtype(dtype, 8 * dtype.itemsize, dtype.kind in "iu")


def _numpy_dtype(dtype: np.dtype[Any], bits: int, is_int: bool) -> Interface:
    word = _word(8 * dtype.itemsize)

    def encode(x: NDArray[Any]) -> Codes:
        with np.errstate(all="ignore"):
            codes = np.asarray(x).astype(dtype).view(word)
        return codes & word((1 << bits) - 1) if is_int else codes  # the unused high bits repeat the sign

    return Interface(bits, lambda: _values_of(dtype, bits), encode, truncates=is_int)


def _values_of(dtype: np.dtype[Any], bits: int) -> Values:
    with np.errstate(all="ignore"):
        return np.arange(1 << bits, dtype=_word(8 * dtype.itemsize)).view(dtype).astype(np.float64)


def _torch(name: str) -> Interface:
    """A torch dtype of 8 or 16 bits, on the CPU."""
    import torch

    dtype: torch.dtype = getattr(torch, name)
    bits = 8 * dtype.itemsize
    torch_word = torch.uint8 if bits == 8 else torch.uint16

    def tensor(x: NDArray[Any]) -> torch.Tensor:
        if x.dtype.name == "bfloat16":
            return torch.from_numpy(x.view(np.uint16)).view(torch.bfloat16)
        return torch.from_numpy(np.array(x))

    def decode() -> Values:
        codes = torch.from_numpy(np.arange(1 << bits, dtype=_word(bits)))
        return np.asarray(codes.view(dtype).to(torch.float64), np.float64)

    def encode(x: NDArray[Any]) -> Codes:
        codes: Codes = tensor(x).to(dtype).view(torch_word).numpy()
        return codes

    return Interface(bits, decode, encode)


def _onnx(name: str) -> Interface:
    """A type of onnx as the reference evaluator casts to it: `FLOAT8E8M0_UP_NOSAT` is round_mode up, saturate 0."""
    import ml_dtypes
    from onnx import TensorProto, helper
    from onnx.reference.ops.op_cast import cast_to

    parts = re.fullmatch(r"([A-Z0-9]+?)(_UP|_DOWN|_NEAREST)?(_NOSAT)?", name)
    assert parts is not None, name
    number: int = getattr(TensorProto, parts[1])
    mode, saturate = (parts[2] or "_UP")[1:].lower(), not parts[3]
    dtype = helper.tensor_dtype_to_np_dtype(number)

    def encode(x: NDArray[Any]) -> Codes:
        with np.errstate(all="ignore"):
            codes: Codes = cast_to(x, number, saturate, mode).view(np.uint8)
        return codes

    bits: int = ml_dtypes.finfo(dtype).bits
    return Interface(bits, lambda: _values_of(dtype, bits), encode)


def _gfloat(name: str) -> Interface:
    """A format of gfloat, `p3109_k8p3se` and its kind included.

    Saturates, except under names that end in `_nosat`; NaN only where the format has one. `_scalar`: its functions of
    single numbers, which encode what E8M0 lacks differently.
    """
    import gfloat
    from gfloat import formats

    stem, saturates = name.removesuffix("_nosat").removesuffix("_scalar"), not name.endswith("_nosat")
    p3109 = re.fullmatch(r"p3109_k(\d+)p(\d+)([su])([ef])", stem)
    if p3109 is None:
        info = getattr(formats, f"format_info_{stem}")
    else:
        signedness = {"s": gfloat.Signedness.Signed, "u": gfloat.Signedness.Unsigned}[p3109[3]]
        domain = {"e": gfloat.Domain.Extended, "f": gfloat.Domain.Finite}[p3109[4]]
        info = formats.format_info_p3109(int(p3109[1]), int(p3109[2]), signedness, domain)
    bits: int = info.bits

    def decode() -> Values:
        with np.errstate(all="ignore"):
            return np.asarray(gfloat.decode_ndarray(info, np.arange(1 << bits)), np.float64)

    def encode(x: NDArray[Any]) -> Codes:
        with np.errstate(all="ignore"):
            nearest = gfloat.round_ndarray(info, x.astype(np.float64), gfloat.RoundMode.TiesToEven, sat=saturates)
            return np.asarray(gfloat.encode_ndarray(info, nearest)).astype(_word(bits))

    def encode_scalar(x: NDArray[Any]) -> Codes:
        even = gfloat.RoundMode.TiesToEven
        with np.errstate(invalid="ignore"):
            numbers = x.astype(np.float64).tolist()
        return np.array([gfloat.encode_float(info, gfloat.round_float(info, v, even, saturates)) for v in numbers])

    if name.endswith("_scalar"):
        return Interface(bits, decode, encode_scalar)
    return Interface(bits, decode, None if info.is_twos_complement else encode)


def _bitstring(name: str) -> Interface:
    """A type of bitstring, which refuses NaN where the format has none. Its E8M0 takes powers of two only."""
    from bitstring import Array

    bits: int = Array(name).itemsize

    def read_as(dtype: str, array: Any) -> list[Any]:
        other = Array(dtype)
        other.data = array.data
        return list(other)

    def decode() -> Values:
        return np.array(read_as(name, Array(f"u{bits}", range(1 << bits))), np.float64)

    def encode(x: NDArray[Any]) -> Codes:
        with np.errstate(invalid="ignore"):  # signalling NaN
            numbers = Array(name, x.astype(np.float64).tolist())
        return np.array(read_as(f"u{bits}", numbers), _word(bits))

    return Interface(bits, decode, None if name == "e8m0mxfp" else encode)


def _bitsandbytes(name: str) -> Interface:
    """A 4-bit code of bitsandbytes, which encodes whole blocks only."""

    def decode() -> Values:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # its import uses what torch has deprecated
            from bitsandbytes.functional import get_4bit_type
        return np.asarray(get_4bit_type(name, device="cpu"), np.float32)

    return Interface(4, decode, None)


def _word(bits: int) -> type[np.uint8 | np.uint16]:
    return np.uint8 if bits <= 8 else np.uint16


LIBRARIES: dict[str, Callable[[str], Interface]] = {
    "ml_dtypes": _ml_dtypes,
    "numpy": _numpy,
    "torch": _torch,
    "onnx": _onnx,
    "gfloat": _gfloat,
    "bitstring": _bitstring,
    "bitsandbytes": _bitsandbytes,
}
