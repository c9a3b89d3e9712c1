"""Block formats that tests name: one of every kind of scale, offset and layout."""

from __future__ import annotations

from functools import cache

from statqat_sim.spec.block import BlockFormat
from statqat_sim.spec.catalog import parse_format

E2M1_BY_32 = "element: float4_e2m1fn\nscales: [{format: float8_e8m0fnu, block: 32, rule: %s%s}]\n"
K_SCALES = "format: {element: uint6, scales: [{format: float16, block: 8, rule: absmax, target: 63}]}, block: 32"

SPECS = {
    "mxfp4": E2M1_BY_32 % ("floor", ", target: emax, all_zero: min"),
    "mxfp6": (
        "element: float6_e2m3fn\nscales: [{format: float8_e8m0fnu, block: 32, rule: floor, target: emax}]\n"
        "pack: {bit_order: msb}\n"
    ),
    "nvfp4": (
        "element: float4_e2m1fn\nscales:\n"
        "  - {format: float32, block: tensor, rule: absmax, target: 2688}\n"
        "  - {format: float8_e4m3fn, block: 16, rule: absmax, target: 6}\n"
        "pack: {swizzle: sm100_128x4}\n"
    ),
    "mx9": (
        "element: {kind: int, bits: 8, encoding: sign_magnitude, fraction_bits: 6}\nscales:\n"
        "  - {format: float8_e8m0fnu, block: 16, rule: floor, target: 1}\n"
        "  - {format: uint1, block: 2, rule: floor, combine: exponent_subtract}\n"
    ),
    "searched": E2M1_BY_32 % ("mse", ""),
    "stochastic": "encode: {rounding: stochastic_a}\n" + E2M1_BY_32 % ("floor", ", target: emax"),
    "given": "element: int4\nscales: [{format: float16, block: 8, rule: given}]\npack: {nibbles: high_first}\n",
    "squares": "element: int4\nscales: [{format: float32, block: [4, 8], rule: absmax}]\n",
    "channels": "element: int8\nscales: [{format: float32, block: channel, rule: absmax}]\n",
    "whole": "element: float8_e4m3fn\nscales: [{format: bfloat16, block: tensor, rule: absmax}]\n",
    "zero_points": (
        "element: uint4\nscales: [{format: float16, block: 32, rule: minmax}]\n"
        "offset: {kind: zero_point, format: uint4}\n"
    ),
    "q4_0": (
        "element: {kind: int, bits: 4, encoding: offset_binary}\nencode: {rounding: nearest_up}\n"
        "scales: [{format: float16, block: 32, rule: signed_absmax, target: -8, all_zero: zero}]\n"
        "pack: {layout: interleaved, nibbles: half_split}\n"
    ),
    "q4_1": (
        "element: uint4\nscales: [{format: float16, block: 32, rule: minmax}]\n"
        "offset: {kind: minimum, scales: [{format: float16, block: 32}]}\n"
        "pack: {layout: interleaved, nibbles: half_split}\n"
    ),
    "q5_0": (
        "element: {kind: int, bits: 5, encoding: offset_binary}\n"
        "scales: [{format: float16, block: 32, rule: signed_absmax, target: -16}]\npack: {layout: ggml_q5_0}\n"
    ),
    "q5_1": (
        "element: uint5\nscales: [{format: float16, block: 32, rule: minmax}]\n"
        "offset: {kind: minimum, scales: [{format: float16, block: 32}]}\npack: {layout: ggml_q5_0}\n"
    ),
    "q8_0": "element: int8\nscales: [{format: float16, block: 32, rule: absmax}]\npack: {layout: interleaved}\n",
    "q4_k": (
        f"element: uint4\nscales: [{{{K_SCALES}, rule: minmax}}]\n"
        f"offset: {{kind: minimum, sign: -1, scales: [{{{K_SCALES}}}]}}\npack: {{layout: ggml_q4_k}}\n"
    ),
    "nested": f"element: int4\nscales: [{{{K_SCALES}, rule: absmax}}]\npack: {{layout: interleaved}}\n",
    "tq2_0": (
        "element: {kind: int, bits: 2, encoding: offset_binary, offset: 1, max: 1}\n"
        "scales: [{format: float16, block: 256, rule: absmax}]\npack: {layout: ggml_tq2_0}\n"
    ),
}
SQUARES = ("squares",)
"""Formats whose blocks lie in two axes."""


@cache
def block_format(name: str) -> BlockFormat:
    format = parse_format(f"name: {name}\n{SPECS[name]}")
    assert isinstance(format, BlockFormat)
    return format
