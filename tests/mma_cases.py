"""Inputs of matrix products, and what the exact oracle makes of them."""

from __future__ import annotations

import zlib
from collections.abc import Iterable
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

import statqat_sim as sqs
from statqat_sim.plan.lower_mma import lower_mma
from statqat_sim.reference.dot import Codes, result_code
from statqat_sim.spec.accelerator import Float64, Instruction, OperandFormat

Array = NDArray[Any]

FAMILIES = ("normal", "wide", "cancelling", "sparse", "tiny", "maximal", "finite_bits", "bits")


loaded = cache(sqs.load_accelerator)
"""An accelerator by its name; its file is read once."""


def distinct(cases: Iterable[tuple[str, ...]]) -> list[tuple[str, ...]]:
    """Of cases (device, instruction, format of A, format of B) those that no earlier one computes in the same way."""
    found: dict[object, tuple[str, ...]] = {}
    for case in cases:
        device, name, *formats = case
        instruction = loaded(device).instructions[name]
        a, b = (
            next(each for each in operands if each.name == format)
            for operands, format in zip((instruction.a, instruction.b), formats, strict=True)
        )
        found.setdefault((lower_mma(instruction, a, b), instruction.special, instruction.to), case)
    return list(found.values())


def families_of(case: tuple[str, ...], many: int) -> list[str]:
    """Some families, others for other cases."""
    first = zlib.crc32("".join(case).encode())
    return [FAMILIES[(first + 3 * index) % len(FAMILIES)] for index in range(many)]


def code_dtype(format: OperandFormat) -> str:
    return next(f"uint{width}" for width in (8, 16, 32, 64) if format.bits <= width)


def random_codes(rng: np.random.Generator, format: OperandFormat, shape: tuple[int, ...]) -> Array:
    """Any codes at all."""
    return rng.integers(0, 1 << format.bits, shape, dtype=np.uint64).astype(code_dtype(format))


def values_of(format: OperandFormat, codes: Array) -> Array:
    if isinstance(format, Float64):
        return codes.view(np.float64)
    return np.asarray(sqs.Codec(format).decode(codes))


def codes_of(format: OperandFormat, values: Array) -> Array:
    """Codes nearest to these values; of formats without Inf, saturated."""
    if isinstance(format, Float64):
        return values.astype(np.float64).view(np.uint64)
    codes: Array = sqs.Codec(format).encode(values.astype(np.float32))
    return codes


def finite(format: OperandFormat, codes: Array) -> Array:
    """The codes, those of Inf and NaN as zeros."""
    return np.where(np.isfinite(values_of(format, codes)), codes, 0).astype(codes.dtype)


def drawn(
    family: str,
    rng: np.random.Generator,
    shape: tuple[int, int, int],
    formats: tuple[OperandFormat, OperandFormat, OperandFormat],
) -> tuple[Array, Array, Array]:
    """Codes of A, B and C: `(rows, K)`, `(K, columns)`, `(rows, columns)`."""
    rows, size, columns = shape
    shapes = (rows, size), (size, columns), (rows, columns)
    if family in ("bits", "finite_bits"):
        a, b, c = (random_codes(rng, format, each) for format, each in zip(formats, shapes, strict=True))
        return (a, b, c) if family == "bits" else tuple(map(finite, formats, (a, b, c)))  # type: ignore[return-value]
    a, b, c = (rng.standard_normal(each) for each in shapes)
    match family:
        case "wide":
            a, b, c = (x * 2.0 ** rng.integers(-14, 8, x.shape) for x in (a, b, c))
        case "cancelling":
            a[:, 1::2] = a[:, : size // 2 * 2 : 2]
            b[1::2] = -b[: size // 2 * 2 : 2] * (1 + (rng.random(b[1::2].shape) < 0.3) / 8)
            c *= 2.0**-10
        case "sparse":
            a, b, c = (x * (rng.random(x.shape) < keep) for x, keep in zip((a, b, c), (0.3, 0.3, 0.5), strict=True))
        case "tiny":
            a, b = (x * _tiny(format) for x, format in zip((a, b), formats, strict=False))
            c *= (rng.random(c.shape) < 0.5) * 2.0**-140
        case "maximal":
            largest = [_largest(format) for format in formats]
            b = np.sign(b + (0.8 if rng.random() < 0.5 else 50)) * largest[1]
            a, c = np.full_like(a, largest[0]), c * 1e30
    with np.errstate(over="ignore"):
        return tuple(finite(f, codes_of(f, x)) for f, x in zip(formats, (a, b, c), strict=True))  # type: ignore[return-value]


def _tiny(format: OperandFormat) -> float:
    """Around the smallest products that results hold."""
    exponent_bits = getattr(getattr(format, "element", None), "exponent_bits", 8)
    return 2.0**-73 if exponent_bits == 8 else 2.0**-13


def _largest(format: OperandFormat) -> float:
    return 1e300 if isinstance(format, Float64) else format.max


def exact(
    instruction: Instruction, a: Array, b: Array, c: Array, formats: tuple[OperandFormat, OperandFormat], *scales: Array
) -> Array:
    """The oracle's codes of D; scales: codes of A's, `(rows, blocks)`, and of B's, `(blocks, columns)`."""
    result = np.zeros(c.shape, np.uint64)
    for i, j in np.ndindex(*c.shape):
        of_a, of_b = ([], []) if not scales else (scales[0][i].tolist(), scales[1][:, j].tolist())
        left, right = Codes(a[i].tolist(), formats[0], of_a), Codes(b[:, j].tolist(), formats[1], of_b)
        result[i, j] = result_code(instruction, left, right, int(c[i, j]))
    return result


def bits_of(d: Array) -> Array:
    """A result's bits."""
    return d.view(f"u{d.itemsize}").astype(np.uint64)


def assert_same(actual: Array, expected: Array, what: str) -> None:
    """Codes of D and those of the oracle; the first that differs is told."""
    wrong = np.argwhere(actual != expected)
    first = tuple(wrong[0]) if len(wrong) else ()
    told = f"{what}: {len(wrong)} of {actual.size} differ, at {first}"
    assert not len(wrong), f"{told}: {int(actual[first]):#x}, expected {int(expected[first]):#x}"
