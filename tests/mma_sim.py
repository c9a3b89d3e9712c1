"""MMA-Sim 2.1.1, the reference model of matrix units: its name for each of our instructions, and its results."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from mma_cases import Array

from statqat_sim.spec.accelerator import OperandFormat

FP8 = {"float8_e4m3fn": "e4m3", "float8_e5m2": "e5m2"}
F8F6F4 = {**FP8, "float6_e3m2fn": "e3m2", "float6_e2m3fn": "e2m3", "float4_e2m1fn": "e2m1"}
FNUZ = {"float8_e4m3fnuz": "fp8", "float8_e5m2fnuz": "bf8"}
PTX = {"float16": "f16", "bfloat16": "bf16", "tf32": "tf32", "float64": "f64", **F8F6F4}
FP6 = {"float6_e3m2fn", "float6_e2m3fn"}
ARCHITECTURES = {
    "nvidia_v100": "Volta",
    "nvidia_t4": "Turing",
    "nvidia_a100": "Ampere",
    "nvidia_l40s": "Ada Lovelace",
    "nvidia_h100": "Hopper",
    "nvidia_b200": "Blackwell",
    "nvidia_rtx5090": "RTX Blackwell",
    "amd_mi100": "CDNA1",
    "amd_mi250x": "CDNA2",
    "amd_mi300x": "CDNA3",
}
MFMA = {
    ("CDNA3", "mfma.f32"): "f32_32x32x2_f32",
    ("CDNA3", "mfma.f64"): "f64_16x16x4_f64",
    ("CDNA3", "mfma.f16"): "f32_32x32x8_f16",
    ("CDNA3", "mfma.bf16"): "f32_32x32x8_bf16",
    ("CDNA3", "mfma.xf32"): "f32_16x16x8_xf32",
    ("CDNA2", "mfma.f64"): "f64_16x16x4f64",
    ("CDNA2", "mfma_1k.bf16"): "f32_32x32x8bf16_1k",
    ("", "mfma.f32"): "f32_32x32x2f32",
    ("", "mfma.f16"): "f32_32x32x8f16",
    ("", "mfma.bf16"): "f32_32x32x4bf16",
}
SCALED = {
    "mxf8f6f4": "k32.kind::mxf8f6f4.block32.f32.{a}.{b}{c}.ue8m0",
    "mxf4": "k64.kind::mxf4.block32.f32.e2m1.e2m1{c}.ue8m0",
    "mxf4nvf4": "k64.kind::mxf4nvf4.block16.f32.e2m1.e2m1{c}.ue4m3",
    "mxf4nvf4_ue8m0": "k64.kind::mxf4nvf4.block16.f32.e2m1.e2m1{c}.ue8m0",
    "mxf4nvf4_ue8m0_block32": "k64.kind::mxf4nvf4.block32.f32.e2m1.e2m1{c}.ue8m0",
}
MMA = {
    "mma": {"f16": 16, "bf16": 16, "tf32": 8, "f64": 4, "e4m3": 32, "e5m2": 32},
    "mma_k8": {"f16": 8, "bf16": 8},
    "mma_k4": {"tf32": 4},
    "mma_k16": {"e4m3": 16, "e5m2": 16},
}


@dataclass(frozen=True)
class Model:
    """One of MMA-Sim's operations, and how many products it takes."""

    run: Any
    k: int
    packs: bool = False
    """Whether it takes two 4-bit codes in a byte."""


@cache
def model(device: str, instruction: str, a: str, b: str) -> Model | None:
    """MMA-Sim's operation for our instruction with these formats; None if it has none."""
    family, _, d = instruction.split(".")
    architecture = ARCHITECTURES[device]
    if device.startswith("amd"):
        return _mfma(architecture, instruction, a, b)
    from mmasim import nv_ptx

    x, y = PTX.get(a, ""), PTX.get(b, "")
    if not x or not y or d == "s32":
        return None
    if family in SCALED:
        rest = SCALED[family].format(a=x, b=y, c="" if device == "nvidia_b200" else ".f32")
        if device == "nvidia_b200":
            operation = nv_ptx.TCGen05MMABlockScale(architecture, f"m128n8{rest}")
        else:
            operation = nv_ptx.MMABlockScale(architecture, f"m16n8{rest}")
        return Model(operation, operation.k, operation.packing == 2)
    if family == "wgmma":
        size = {"tf32": 8, "f16": 16, "bf16": 16}.get(x, 32)
        operation = nv_ptx.WGMMA(architecture, f"m64n8k{size}.{d}.{x}.{y}")
        return Model(operation, size)
    if family == "tcgen05" or (family == "f8f6f4" and device == "nvidia_b200"):
        kind = "f8f6f4" if family == "f8f6f4" else "tf32" if x == "tf32" else "f16"
        size = {"tf32": 8, "f16": 16}.get(kind, 32)
        return Model(nv_ptx.TCGen05MMA(architecture, f"m64n8k{size}.kind::{kind}.{d}.{x}.{y}"), size)
    if family == "f8f6f4":
        return Model(nv_ptx.MMA(architecture, f"m16n8k32.kind::f8f6f4.{d}.{x}.{y}.{d}"), 32)
    return _mma(architecture, family, d, x, y)


def _mma(architecture: str, family: str, d: str, x: str, y: str) -> Model | None:
    from mmasim import nv_ptx

    c = "f16" if family.endswith("_c16") else d
    if architecture == "Volta" or family.startswith("mma_m8n8k4"):
        return Model(nv_ptx.MMA(architecture, f"m8n8k4.{d}.{x}.{y}.{c}"), 4)
    size = 8 if architecture == "Turing" else MMA[family][x]
    shape = "m8n8" if x == "f64" else "m16n8"
    return Model(nv_ptx.MMA(architecture, f"{shape}k{size}.{d}.{x}.{y}.{c}"), size)


def _mfma(architecture: str, instruction: str, a: str, b: str) -> Model | None:
    from mmasim.amd import MFMA as Operation

    name = instruction.rpartition(".")[0]
    if a in FNUZ:
        suffix = f"f32_16x16x32_{FNUZ[a]}_{FNUZ[b]}"
    elif (architecture, name) in MFMA:
        suffix = MFMA[architecture, name]
    elif ("", name) in MFMA:
        suffix = MFMA["", name]
    else:
        return None
    operation = Operation(architecture, suffix)
    return Model(operation, operation.k)


def tensor(codes: Array, format: OperandFormat, *, packs: bool = False) -> Any:
    """Codes as MMA-Sim takes them; 6-bit codes lie low in a byte, 4-bit ones two bits up, or two to a byte."""
    import torch

    name = format.name
    if name == "float4_e2m1fn":
        if packs:
            return torch.from_numpy(codes[..., 0::2] << 4 | codes[..., 1::2])
        return torch.from_numpy(codes << 2)
    if name in FP6:
        return torch.from_numpy(codes.copy())
    if name == "tf32":
        return torch.from_numpy((codes << 13).view(np.float32))
    kinds = {"float8_e8m0fnu": "float8_e8m0fnu", "ue4m3": "float8_e4m3fn"}
    words = codes.view({1: np.uint8, 2: np.int16, 4: np.int32, 8: np.int64}[codes.itemsize])
    return torch.from_numpy(words.copy()).view(getattr(torch, kinds.get(name, name)))


def results(found: Model, a: Array, b: Array, c: Array, formats: tuple[OperandFormat, ...], *scales: Array) -> Array:
    """MMA-Sim's codes of D, K cut into its own instructions; `scales`: as those of `mma_cases.exact`, and a format."""
    d = tensor(c, formats[2])
    size = a.shape[1]
    for k0 in range(0, size, found.k):
        x = tensor(a[:, k0 : k0 + found.k], formats[0], packs=found.packs)
        y = tensor(np.ascontiguousarray(b[k0 : k0 + found.k].T), formats[1], packs=found.packs).T
        c_before, d = d, found.run(x, y, d, *_scales(found, k0, size, scales, formats))
        d = _with_nan(x, y, c_before, d) if formats[0].name in FNUZ else d
    words: Array = d.view(_word(d)).numpy().view(f"u{d.element_size()}").astype(np.uint64)
    return words


def _with_nan(x: Any, y: Any, c: Any, d: Any) -> Any:
    """D, NaN where an operand is: inside an operation MMA-Sim's CDNA3 gives NaN in C an exponent, and may drop it."""
    import torch

    has_nan = x.float().isnan().any(1)[:, None] | y.float().isnan().any(0) | c.isnan()
    return torch.where(has_nan, torch.nan, d)


def _scales(
    found: Model, k0: int, size: int, scales: tuple[Array, ...], formats: tuple[OperandFormat, ...]
) -> Iterator[Any]:
    if scales:
        block = size // scales[0].shape[1]
        here = slice(k0 // block, (k0 + found.k) // block)
        yield tensor(np.ascontiguousarray(scales[0][:, here]), formats[3])
        yield tensor(np.ascontiguousarray(scales[1][here].T), formats[3]).T


def _word(d: Any) -> Any:
    import torch

    return {2: torch.int16, 4: torch.int32, 8: torch.int64}[d.element_size()]
