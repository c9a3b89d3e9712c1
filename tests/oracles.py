"""Independent implementations of number formats, all behind one door.

An `oracle:` entry of a format file reads `library:name`, or `library==version:name` in a profile:

- without a version: the library gives every code the same value, and rounds alike inside the format's range (E8M0 is
  the exception: ml_dtypes and torch round its ties up);
- with a version: that release of the library encodes every input alike, Inf, NaN and overflow included. A comment
  above the file's `encode` tells the exceptions.

    oracle = resolve("ml_dtypes==0.6:float8_e4m3fn")
    oracle.decode()                     # the value of every code
    oracle.encode(np.float32([1.0]))    # codes, where the library has a cast
    oracle.installed()                  # whether the release that the entry names is the one at hand

Libraries are imported when they are asked for.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

Values: TypeAlias = NDArray[np.float64 | np.float32]
Codes: TypeAlias = NDArray[np.uint8 | np.uint16]
Decode: TypeAlias = Callable[[], Values]
Encode: TypeAlias = Callable[[NDArray[np.float32]], Codes]

ENTRY = re.compile(r"(?P<library>\w+)(==(?P<release>[\d.]+))?:(?P<name>\w+)")
NOT_RUN = ("cuda", "gguf", "onnx")
"""Compared with by hand: no dependency of the tests holds them."""


class Interface(NamedTuple):
    """What a library offers for one format.

    `decode`: value of every code, shape `(2**bits,)`, float64; float32 where the library holds float32.
    `encode`: codes of float32 inputs, rounded to nearest, ties to even; None where the library has no such cast.
    """

    bits: int
    decode: Decode
    encode: Encode | None


@dataclass(frozen=True, slots=True)
class Oracle:
    """One format of one library, and the release that the entry names, if any."""

    library: str
    release: str
    name: str
    bits: int
    decode: Decode
    encode: Encode | None

    def installed(self) -> bool:
        """Whether the release that the entry names is the one at hand; True if it names none."""
        at_hand = re.split(r"[.+]", version(self.library))
        named = self.release.split(".") if self.release else []
        return at_hand[: len(named)] == named


def is_run(entry: str) -> bool:
    """Whether tests can ask the library of this entry. Imports nothing."""
    return _parts(entry)["library"] not in NOT_RUN


def resolve(entry: str) -> Oracle:
    """The implementation behind an entry for which `is_run`.

    Raises:
        ValueError: if the entry is no entry, or its library is unknown.
        AttributeError: if the library has no such format.
    """
    parts = _parts(entry)
    interface = LIBRARIES[parts["library"]](parts["name"])
    return Oracle(parts["library"], parts["release"] or "", parts["name"], *interface)


def _parts(entry: str) -> re.Match[str]:
    parts = ENTRY.fullmatch(entry)
    libraries = (*LIBRARIES, *NOT_RUN)
    if parts is None or parts["library"] not in libraries:
        raise ValueError(f"{entry!r}; allowed: library:name, library==version:name of {', '.join(libraries)}")
    return parts


def _ml_dtypes(name: str) -> Interface:
    """Any type of ml_dtypes. Casts to its integers truncate."""
    import ml_dtypes

    dtype = np.dtype(getattr(ml_dtypes, name))
    is_int = "int" in name
    bits: int = (ml_dtypes.iinfo(dtype) if is_int else ml_dtypes.finfo(dtype)).bits
    return _numpy_dtype(dtype, bits, has_cast=not is_int)


def _numpy(name: str) -> Interface:
    """A type of numpy itself. Casts to its integers truncate."""
    dtype = np.dtype(name)
    return _numpy_dtype(dtype, 8 * dtype.itemsize, has_cast=dtype.kind == "f")


def _numpy_dtype(dtype: np.dtype[Any], bits: int, *, has_cast: bool) -> Interface:
    word = np.uint8 if dtype.itemsize == 1 else np.uint16

    def decode() -> Values:
        with np.errstate(all="ignore"):
            return np.arange(1 << bits, dtype=word).view(dtype).astype(np.float64)

    def encode(x: NDArray[np.float32]) -> Codes:
        with np.errstate(all="ignore"):
            return np.asarray(x, np.float32).astype(dtype).view(word)

    return Interface(bits, decode, encode if has_cast else None)


def _torch(name: str) -> Interface:
    """A torch dtype of 8 or 16 bits, on the CPU."""
    import torch

    dtype: torch.dtype = getattr(torch, name)
    bits = 8 * dtype.itemsize
    word, torch_word = (np.uint8, torch.uint8) if bits == 8 else (np.uint16, torch.uint16)

    def decode() -> Values:
        codes = torch.from_numpy(np.arange(1 << bits, dtype=word))
        return np.asarray(codes.view(dtype).to(torch.float64), np.float64)

    def encode(x: NDArray[np.float32]) -> Codes:
        codes: Codes = torch.from_numpy(np.array(x, np.float32)).to(dtype).view(torch_word).numpy()
        return codes

    return Interface(bits, decode, encode)


def _gfloat(name: str) -> Interface:
    """A format of gfloat, `p3109_k8p3se` and its kind included. Saturates; NaN only where the format has one."""
    import gfloat
    from gfloat import formats

    p3109 = re.fullmatch(r"p3109_k(\d+)p(\d+)([su])([ef])", name)
    if p3109 is None:
        info = getattr(formats, f"format_info_{name}")
    else:
        signedness = {"s": gfloat.Signedness.Signed, "u": gfloat.Signedness.Unsigned}[p3109[3]]
        domain = {"e": gfloat.Domain.Extended, "f": gfloat.Domain.Finite}[p3109[4]]
        info = formats.format_info_p3109(int(p3109[1]), int(p3109[2]), signedness, domain)
    bits: int = info.bits
    word = np.uint8 if bits <= 8 else np.uint16

    def decode() -> Values:
        with np.errstate(all="ignore"):
            return np.asarray(gfloat.decode_ndarray(info, np.arange(1 << bits)), np.float64)

    def encode(x: NDArray[np.float32]) -> Codes:
        with np.errstate(all="ignore"):
            rounded = gfloat.round_ndarray(info, np.asarray(x, np.float64), gfloat.RoundMode.TiesToEven, sat=True)
            return np.asarray(gfloat.encode_ndarray(info, rounded)).astype(word)

    return Interface(bits, decode, None if info.is_twos_complement else encode)


def _bitsandbytes(name: str) -> Interface:
    """A 4-bit code of bitsandbytes, which encodes whole blocks only."""

    def decode() -> Values:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # its import uses what torch has deprecated
            from bitsandbytes.functional import get_4bit_type
        return np.asarray(get_4bit_type(name, device="cpu"), np.float32)

    return Interface(4, decode, None)


LIBRARIES: dict[str, Callable[[str], Interface]] = {
    "ml_dtypes": _ml_dtypes,
    "numpy": _numpy,
    "torch": _torch,
    "gfloat": _gfloat,
    "bitsandbytes": _bitsandbytes,
}
