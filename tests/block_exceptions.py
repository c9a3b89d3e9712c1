"""Blocks of which other software makes something else than the format that names it as its oracle.

`test_oracles_blocks.py` shows what it does with some of them.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from statqat_sim.spec.catalog import load_format

Blocks: TypeAlias = NDArray[np.float32]
"""Of shape `(blocks, elements of each)`; an exception gives one bool for each block."""

FLOAT16_ENDS = 65520.0
"""The least float32 that becomes Inf in float16."""


def largest(blocks: Blocks) -> NDArray[np.float32]:
    return np.asarray(np.abs(blocks).max(axis=-1))


def all_zero(blocks: Blocks) -> Any:
    return ~blocks.any(axis=-1)


def above_largest(target: float) -> Callable[[Blocks], Any]:
    """Up to two float32 above a power of two times the largest element, where a float32 log2 is rounded to it."""

    def fails(blocks: Blocks) -> Any:
        fraction = np.frexp(largest(blocks))[0] * 2
        least = np.float32(np.frexp(np.float32(target))[0] * 2)
        return (fraction > least) & (fraction <= least + np.float32(2.0**-22))

    return fails


def below_power_of_two(blocks: Blocks) -> Any:
    """Up to four float32 below, where a float32 log2 is rounded up to it."""
    return np.frexp(largest(blocks))[0] >= 1 - 2.0**-22


def beyond_float16(steps: int) -> Callable[[Blocks], Any]:
    """Scales (or minima) that float16 cannot hold: it makes Inf of them. All zeros: ggml's scale may be -0."""

    def fails(blocks: Blocks) -> Any:
        return (largest(blocks) / steps >= FLOAT16_ENDS) | all_zero(blocks)

    return fails


def ggml_nibbles(half: int, low: float) -> Callable[[Blocks], Any]:
    """ggml adds 8.5 (or 16.5) in float32 and cuts off: quotients close below a tie are rounded up to it."""
    beyond = beyond_float16(half)

    def fails(blocks: Blocks) -> Any:
        place = np.abs(blocks).argmax(axis=-1)
        raw = np.take_along_axis(blocks, place[:, None], axis=-1) / np.float32(-half)
        with np.errstate(divide="ignore", invalid="ignore"):
            sums = (blocks * (np.float32(1) / raw)).astype(np.float64) + low
        above = sums - np.floor(sums)
        return beyond(blocks) | (above > 1 - 2.0**-19).any(axis=-1)

    return fails


def ggml_minimum(levels: int) -> Callable[[Blocks], Any]:
    def fails(blocks: Blocks) -> Any:
        span = blocks.max(axis=-1) - blocks.min(axis=-1)
        beyond = (np.abs(blocks.min(axis=-1)) >= FLOAT16_ENDS) | (span / levels >= FLOAT16_ENDS)
        return beyond | all_zero(blocks)

    return fails


def near_the_middle_of(name: str) -> Callable[[Blocks], Any]:
    """bitsandbytes rounds to float32 what lies in the middle between two values of its float32 table."""

    def fails(blocks: Blocks) -> Any:
        values = load_format(name).grid()
        middles = (values[1:] + values[:-1]) / 2
        with np.errstate(divide="ignore", invalid="ignore"):
            quotients = blocks / largest(blocks)[:, None]
        near = [np.abs(quotients - middle) < 2.0**-22 * abs(middle) for middle in middles]
        return np.any(near, axis=(0, -1))

    return fails


EXCEPTIONS: dict[str, Callable[[Blocks], Any]] = {
    r"mxfp4.rceil torchao": above_largest(6),
    r"mxfp6_e2m3.rceil torchao": above_largest(7.5),
    r"mxfp6_e3m2.rceil torchao": above_largest(28),
    r"mxfp8_e4m3.rceil torchao": above_largest(448),
    r"mxfp8_e5m2.rceil torchao": above_largest(57344),
    r"nvfp4(.torchao|_one_level) torchao": all_zero,
    r"(int4_block128|int8_channel).torchao torchao": all_zero,
    r"gguf_mxfp4 gguf": below_power_of_two,
    r"gguf_q4_0 gguf": ggml_nibbles(8, 8.5),
    r"gguf_q5_0 gguf": ggml_nibbles(16, 16.5),
    r"gguf_q4_1 gguf": ggml_minimum(15),
    r"gguf_q5_1 gguf": ggml_minimum(31),
    r"gguf_q8_0 gguf": beyond_float16(127),
    r"gguf_tq[12]_0 gguf": beyond_float16(1),
    r"fp4_bnb_block64 bitsandbytes": near_the_middle_of("bnb_fp4"),
    r"nf4_block64 bitsandbytes": near_the_middle_of("nf4"),
}


def excepted(name: str, entry: str, blocks: Blocks) -> Any:
    """Which blocks a format and its oracle disagree about."""
    for pattern, fails in EXCEPTIONS.items():
        if re.match(pattern, f"{name} {entry}"):
            return fails(blocks)
    return np.zeros(len(blocks), bool)
