"""Ways to call `Accelerator.matmul`: operands of every kind, as numpy arrays."""

from __future__ import annotations

from typing import Any

import numpy as np

Array = Any


def normal(*shape: int, seed: int = 0) -> Array:
    return np.random.default_rng(seed).standard_normal(shape, np.float32)


def codes(low: int, high: int, *shape: int, dtype: str = "uint8", seed: int = 0) -> Array:
    return np.random.default_rng(seed).integers(low, high, shape, dtype=dtype)


TINY = np.float32(2.0**-130)
"""Makes what a library that flushes subnormals loses."""

WAYS: dict[str, tuple[str, dict[str, Any]]] = {
    "codes": (
        "nvidia_h100",
        {"instruction": "wgmma.e4m3.f32", "a": codes(0, 256, 3, 1, 5, 40), "b": codes(0, 256, 2, 40, 7, seed=1)}
        | {"a_format": "e4m3", "b_format": "e5m2", "c": normal(7)},
    ),
    "floats": (
        "nvidia_h100",
        {"instruction": "mma.f16.f16", "a": normal(9, 20), "b": normal(20, 33), "c": normal(9, 1)},
    ),
    "recipe": (
        "nvidia_h100",
        {"instruction": "mma.e4m3.f32", "a": normal(2, 50), "b": normal(50, 3), "c": normal(2, 3)},
    ),
    "parts": (
        "nvidia_h100",
        {"instruction": "wgmma.e4m3.f32", "a": normal(3, 200), "b": normal(200, 5) * TINY, "c": normal(5) * TINY}
        | {"plan": {"k_slab": 64, "promote_every": 64, "split_k": 2}},
    ),
    "parts in float16": (
        "nvidia_h100",
        {"instruction": "mma.f16.f16", "a": normal(3, 40), "b": normal(40, 5), "c": normal(5)}
        | {"plan": {"promote_every": 16, "split_k": 2}},
    ),
    "integers": (
        "nvidia_h100",
        {
            "instruction": "mma.s8.s32",
            "a": codes(-128, 128, 3, 70, dtype="int8"),
            "b": codes(-9, 9, 70, 5, dtype="int64"),
        }
        | {"c": codes(-(1 << 31), 1 << 31, 3, 5, dtype="int64"), "a_format": "int8", "b_format": "int8"},
    ),
    "float64": ("nvidia_h100", {"instruction": "mma.f64.f64", "a": normal(3, 9), "b": normal(9, 2).astype(np.float64)}),
    "scales": (
        "nvidia_b200",
        {"instruction": "mxf8f6f4.e4m3.f32", "a": normal(3, 70), "b": normal(70, 5), "c": normal(3, 5)}
        | {"a_scale": codes(120, 130, 3, 3), "b_scale": codes(0, 256, 3, 5)},
    ),
    "empty": ("nvidia_h100", {"instruction": "mma.f16.f32", "a": normal(3, 0), "b": normal(0, 2), "c": normal(2)}),
}
"""Device, and arguments."""
