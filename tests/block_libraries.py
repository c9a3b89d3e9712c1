"""How other software is asked to put arrays into block formats. Each library is imported when it is asked for.

    arrays = quantize("torchao==0.18:to_mx.floor", "float4_e2m1fn", x)
    values = dequantize("gguf==0.19:Q4_0", buffer)

Results are arrays by name, of whatever the library gives: `scale0` and `scale1` or `scale` as codes or floats,
outermost first; `codes`, one to an element; `elements`, packed codes; `bytes`, whole blocks; `values`. Nothing of
statqat_sim is imported here.
"""

from __future__ import annotations

import logging
import re
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

Array: TypeAlias = NDArray[Any]
Arrays: TypeAlias = dict[str, Array]
Quantize: TypeAlias = Callable[[str, str, Array], Arrays]

ENTRY = re.compile(r"(?P<library>\w+)(==(?P<release>[\d.]+))?:(?P<name>[\w.]+)")


def quantize(entry: str, element: str, x: Array) -> Arrays:
    """What the library of an entry makes of x, with elements in a format of this name where it offers several."""
    parts = _parts(entry)
    with _quiet():
        return QUANTIZE[parts["library"]](parts["name"], element, x)


def dequantize(entry: str, buffer: Array) -> Array:
    """The values of packed blocks, `(blocks, bytes of each)`: float32 `(blocks, elements of each)`."""
    assert library(entry) == "gguf", entry
    return _gguf_dequantize(_parts(entry)["name"], buffer)


def library(entry: str) -> str:
    return _parts(entry)["library"]


def is_installed(entry: str) -> bool:
    """Whether the release that an entry names is at hand; any release if it names none."""
    try:
        found = re.split(r"[.+]", version(library(entry)))
    except PackageNotFoundError:
        return False
    named = (_parts(entry)["release"] or "").split(".")
    return named == [""] or found[: len(named)] == named


def _parts(entry: str) -> re.Match[str]:
    parts = ENTRY.fullmatch(entry)
    assert parts is not None, entry
    return parts


@contextmanager
def _quiet() -> Iterator[None]:
    """Without what these libraries say of numbers beyond their range, and of what torch has deprecated."""
    level = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(level)


# --- torchao -----------------------------------------------------------------------------------------------------


def _torchao(name: str, element: str, x: Array) -> Arrays:
    """`to_mx.floor` and the other modes; `nvfp4_quantize` with the scale of the whole array, or `.one_level`; tensors
    of integers: `Int8Tensor` of rows, `IntxUnpackedToInt8Tensor` of 4 bits and groups of 128."""
    function, _, mode = name.partition(".")
    if function.endswith("Tensor"):
        return _torchao_integers(function, x)
    return _to_mx(mode, element, x) if function == "to_mx" else _torchao_nvfp4(mode, x)


def _torchao_integers(name: str, x: Array) -> Arrays:
    import torch
    from torchao.quantization import IntxUnpackedToInt8Tensor, PerRow
    from torchao.quantization.quantize_.workflows import Int8Tensor

    data = torch.from_numpy(x.copy())
    if name == "Int8Tensor":
        found, zero = Int8Tensor.from_hp(data, PerRow()), 0
    else:
        found, zero = IntxUnpackedToInt8Tensor.from_hp(data, (1, 128), torch.int4), 8
    return {"scale": found.scale.numpy(), "codes": _bytes(found.qdata + zero), "values": found.dequantize().numpy()}


def _to_mx(mode: str, element: str, x: Array) -> Arrays:
    import torch
    from torchao.prototype.mx_formats import constants
    from torchao.prototype.mx_formats.mx_tensor import ScaleCalculationMode, to_mx

    dtypes = {
        "float8_e4m3fn": torch.float8_e4m3fn,
        "float8_e5m2": torch.float8_e5m2,
        "float6_e2m3fn": constants.DTYPE_FP6_E2M3,
        "float6_e3m2fn": constants.DTYPE_FP6_E3M2,
        "float4_e2m1fn": torch.float4_e2m1fn_x2,
    }
    scale, data = to_mx(torch.from_numpy(x.copy()), dtypes[element], 32, ScaleCalculationMode[mode.upper()])
    name = "elements" if element == "float4_e2m1fn" else "codes"
    return {"scale": _bytes(scale), name: _bytes(data)}


def _torchao_nvfp4(mode: str, x: Array) -> Arrays:
    import torch
    from torchao.prototype.mx_formats.nvfp4_tensor import nvfp4_quantize, per_tensor_amax_to_scale

    data = torch.from_numpy(x.copy())
    if mode == "one_level":
        scale, elements = nvfp4_quantize(data)
        return {"scale": _bytes(scale), "elements": _bytes(elements)}
    whole = per_tensor_amax_to_scale(torch.amax(torch.abs(data)))
    scale, elements = nvfp4_quantize(data, per_tensor_scale=whole)
    return {"scale0": whole.numpy(), "scale1": _bytes(scale), "elements": _bytes(elements)}


def to_blocked(scales: Array) -> Array:
    """Scales of rows as torchao swizzles them for tensor cores: bytes."""
    with _quiet():
        import torch
        from torchao.prototype.mx_formats.utils import to_blocked as swizzled

        return np.asarray(swizzled(torch.from_numpy(scales.copy())).numpy())


def _bytes(tensor: Any) -> Array:
    import torch

    return np.asarray(tensor.contiguous().view(torch.uint8).numpy())


# --- gguf --------------------------------------------------------------------------------------------------------


def _gguf(name: str, element: str, x: Array) -> Arrays:
    from gguf import GGMLQuantizationType, quants

    return {"bytes": quants.quantize(x, GGMLQuantizationType[name])}


def gguf_quantizes(entry: str) -> bool:
    """Whether gguf has an encoder, not only a decoder."""
    from gguf import GGMLQuantizationType, quants

    try:
        quants.quantize(np.zeros((1, 256), np.float32), GGMLQuantizationType[_parts(entry)["name"]])
    except NotImplementedError:
        return False
    return True


def gguf_block(entry: str) -> tuple[int, int]:
    """Elements and bytes of a block."""
    from gguf import GGML_QUANT_SIZES, GGMLQuantizationType

    elements, octets = GGML_QUANT_SIZES[GGMLQuantizationType[_parts(entry)["name"]]]
    return elements, octets


def _gguf_dequantize(name: str, buffer: Array) -> Array:
    from gguf import GGMLQuantizationType, quants

    with _quiet():
        return quants.dequantize(buffer, GGMLQuantizationType[name])


# --- others ------------------------------------------------------------------------------------------------------


def _bitsandbytes(name: str, element: str, x: Array) -> Arrays:
    """`nf4` and `fp4`, blocks of 64, on the CPU."""
    import torch
    from bitsandbytes import functional

    elements, state = functional.quantize_4bit(torch.from_numpy(x.copy()), blocksize=64, quant_type=name)
    values = functional.dequantize_4bit(elements, state)
    return {"scale": state.absmax.numpy(), "elements": elements.numpy(), "values": values.numpy()}


def _gfloat(name: str, element: str, x: Array) -> Arrays:
    """A block format of gfloat, in the scale that it computes; float64, whose logarithm is good enough."""
    import gfloat
    from gfloat import formats

    info = getattr(formats, f"format_info_{name}")
    blocks = [gfloat.quantize_block(info, block, gfloat.compute_scale_amax) for block in _float64(x, info.k)]
    return {"values": np.array(blocks, np.float64)}


def gfloat_float32(name: str, block: Array) -> Array:
    """One block, in the scale that gfloat computes of float32."""
    import gfloat
    from gfloat import formats

    with _quiet():
        return gfloat.quantize_block(getattr(formats, f"format_info_{name}"), block, gfloat.compute_scale_amax)


def gfloat_values(name: str, scales: Array, codes: Array) -> Array:
    """What gfloat decodes blocks to: float64 of the shape of `codes`, `(blocks, elements of each)`."""
    import gfloat
    from gfloat import formats

    info = getattr(formats, f"format_info_{name}")
    with _quiet():
        rows = [gfloat.decode_block(info, row) for row in np.column_stack([scales, codes]).astype(int).tolist()]
        return np.array([list(row) for row in rows])


def _float64(x: Array, size: int) -> Array:
    return x.astype(np.float64).reshape(-1, size)


QUANTIZE: dict[str, Quantize] = {
    "torchao": _torchao,
    "gguf": _gguf,
    "bitsandbytes": _bitsandbytes,
    "gfloat": _gfloat,
}
