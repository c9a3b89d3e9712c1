"""Texts that stand for formats and quantizers in calls of operations, which take numbers, texts and tensors alone."""

from __future__ import annotations

from dataclasses import fields, is_dataclass
from functools import cache
from types import SimpleNamespace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from statqat_sim.codec import Codec
from statqat_sim.errors import UnsupportedError, none_of, shown
from statqat_sim.quantizer import QUANTIZERS, Scale, StateQuantizer
from statqat_sim.runtime import backend_for
from statqat_sim.spec.block import BlockFormat
from statqat_sim.spec.catalog import catalog, load_format, parse_format
from statqat_sim.spec.files import builtin_directory
from statqat_sim.spec.format import Format
from statqat_sim.spec.text import format_text

_quantizers: dict[str, StateQuantizer] = {}
_codecs: dict[tuple[str, str], Codec] = {}
_traced = SimpleNamespace()  # torch's compiler sees attributes that are added while it traces


@cache
def format_key(format: Format) -> str:
    """What every process knows the format by: its name where it is a built-in one, else its whole text."""
    path = catalog().file(format.name)
    is_built_in = path is not None and builtin_directory() in path.parents
    return format.name if is_built_in and load_format(format.name) == format else format_text(format)


@cache
def format_of(key: str) -> Format:
    """The format of a key."""
    return parse_format(key) if "\n" in key else load_format(key)


def codec_for(key: str, x: Tensor) -> Codec:
    """The codec of a format, on the backend that owns tensors such as x."""
    place = key, x.device.type
    if place not in _codecs:
        _codecs[place] = Codec(format_of(key), backend_for(x).name)
    return _codecs[place]


def traced_codec(key: str) -> Codec:
    """The codec of a format whose plans run as torch operations; torch's compiler traces this and the codec."""
    return getattr(_traced, _prepared(key))  # type: ignore[no-any-return]


def _prepared(key: str) -> str:
    """The name of a codec among those that can be traced."""
    if not hasattr(_traced, key):
        setattr(_traced, key, Codec(format_of(key), "torch"))
    return key


_prepared._dynamo_marked_constant = True  # type: ignore[attr-defined]  # torch's compiler runs it while it traces


def quantizer_key(quantizer: StateQuantizer) -> str:
    """What this process knows the quantizer by; every process does so where it is a named one with its defaults."""
    for name, make in QUANTIZERS.items():
        if type(quantizer) is make and _is_same(quantizer, make()):
            return name
    count, key = 1, repr(quantizer)
    while key in _quantizers and not _is_same(_quantizers[key], quantizer):
        count += 1
        key = f"{quantizer!r} #{count}"
    _quantizers[key] = quantizer
    return key


def quantizer_of(key: str) -> StateQuantizer:
    """The quantizer of a key.

    Raises:
        LookupError: if it is known in another process only.
    """
    if key in QUANTIZERS:
        return QUANTIZERS[key]()
    if key not in _quantizers:
        told = none_of(key, (*QUANTIZERS, *_quantizers))
        raise LookupError(f"no quantizer is known as {shown(key)} in this process{told}")
    return _quantizers[key]


def plain_scale(scale: Scale, quantizer: object) -> NDArray[np.float32]:
    """The numbers of a scale.

    Raises:
        UnsupportedError: if there are zero-points beside them, without which they mean nothing.
    """
    if scale.zero_point is not None:
        told = f"{quantizer} chooses zero-points, which layers do not take"
        raise UnsupportedError(f"{told}; allowed: quantizers without them, or block formats with offsets")
    return scale.value


def is_stochastic(format: Format) -> bool:
    """Whether a format rounds at random."""
    number = format.element if isinstance(format, BlockFormat) else format
    return number.encode.rounding.is_stochastic


def _is_same(one: Any, other: Any) -> bool:
    """Whether two quantizers, or options of them, do the same; arrays have no one answer to ==, and are compared whole.

    Of a copy that is not found to be the same there would be a key more for each.
    """
    if one is other or type(one) is not type(other):
        return one is other
    if isinstance(one, np.ndarray):
        return (one.dtype, one.shape, one.tobytes()) == (other.dtype, other.shape, other.tobytes())
    if is_dataclass(one):
        return all(_is_same(getattr(one, each.name), getattr(other, each.name)) for each in fields(one) if each.compare)
    try:
        if isinstance(one, Tensor):
            return one.dtype == other.dtype and one.equal(other)
        return bool(one == other)
    except (ValueError, RuntimeError):  # of arrays of other libraries
        return False
