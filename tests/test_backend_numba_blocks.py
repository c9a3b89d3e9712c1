"""Block formats on the numba backend: every kind of block, of array and of rule gives what the interpreter gives."""

from __future__ import annotations

import pickle
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from statqat_sim import runtime
from statqat_sim.backends.numba_cpu import block_cache, cache, threads
from statqat_sim.backends.numba_cpu.block_kernel import NumbaBlockKernel
from statqat_sim.geometry import Geometry
from statqat_sim.plan.block import BlockPlan
from statqat_sim.plan.lower_block import lower_block
from statqat_sim.plan.program import Packed
from statqat_sim.reference.block_backend import ReferenceBlockKernel
from statqat_sim.spec.block import BlockFormat
from statqat_sim.spec.catalog import parse_format
from statqat_sim.testing import assert_bit_exact

Array = Any
E8M0, E4M3, E2M1 = "float8_e8m0fnu", "float8_e4m3fn", "float4_e2m1fn"
NESTED = "{element: uint6, scales: [{block: %s, format: float16}]}"


def text(element: str, *levels: str, further: str = "") -> str:
    scales = "".join(f"  - {{{level}}}\n" for level in levels)
    return f"name: probe\nelement: {element}\n{further}scales:\n{scales}"


def mx(element: str, block: int | str = 32, rule: str = "floor") -> str:
    return text(element, f"block: {block}, format: {E8M0}, rule: {rule}")


def nested(inner: int, outer: int | str) -> str:
    """As k-quants are: scales and minima of 6 bits."""
    format = NESTED % outer
    offset = f"offset: {{kind: minimum, sign: -1, scales: [{{block: {inner}, format: {format}}}]}}\n"
    return text("uint4", f"block: {inner}, rule: minmax, format: {format}", further=offset)


def drawing(bits: int) -> str:
    return f"encode: {{rounding: stochastic_a, random_bits: {bits}}}\n"


FORMATS = {
    "mxfp4": mx(E2M1),
    "mxfp8 of 64": mx(E4M3, 64, "rceil"),
    "of 2": mx(E2M1, 2),
    "of 5": text(E2M1, f"block: 5, format: {E4M3}"),
    "of 24": text("int4", "block: tensor, format: float32", f"block: 24, format: {E4M3}"),
    "of 1000": mx(E2M1, 1000),
    "nvfp4": text(E2M1, "block: tensor, format: float32", f"block: 16, format: {E4M3}"),
    "16 × 16": mx(E4M3, "[16, 16]"),
    "128 × 128": text(E4M3, "block: [128, 128], format: float32"),
    "5 × 3": mx("int8", "[5, 3]"),
    "channel": text("int8", "block: channel, format: float32"),
    "tensor": text("int8", "block: tensor, format: float32"),
    "signed of 17": text(E2M1, "block: 17, format: float16, rule: signed_absmax"),
    "signed of 4 × 6": text(E2M1, "block: [4, 6], format: float16, rule: signed_absmax"),
    "signed channel": text("int8", "block: channel, format: float32, rule: signed_absmax"),
    "codebook": text("nf4", "block: 64, format: float32"),
    "codebook of 24": text("nf4", "block: 24, format: float32"),
    "signed of 13": text("nf4", "block: 13, format: float16, rule: signed_absmax"),
    "minimum": text(
        "uint4",
        "block: 32, format: float16, rule: minmax",
        further="offset: {kind: minimum, scales: [{block: 32, format: float16}]}\n",
    ),
    "zero point": text(
        "uint4", "block: 100, format: float32, rule: minmax", further="offset: {kind: zero_point, format: uint4}\n"
    ),
    "k-quant": nested(32, 8),
    "k-quant of 12": nested(12, 3),
    "nested to the channel": text(E2M1, "block: 12, format: " + NESTED % "channel"),
    "micro-exponents": text(
        E2M1,
        "block: channel, format: float32",
        f"block: 96, format: {E4M3}",
        "block: 12, format: uint2, combine: exponent_subtract, rule: floor",
    ),
    "four levels": text(
        "int8",
        "block: tensor, format: float32",
        "block: [30, 60], format: float32",
        f"block: [5, 20], format: {E4M3}",
        "block: [1, 4], format: uint1, combine: exponent_subtract, rule: floor",
    ),
}
CHOOSING = {
    "of 16": text(E2M1, "block: tensor, format: float32", f"block: 16, format: {E4M3}, rule: mse"),
    "of 32": mx(E2M1, 32, "mse"),
    "of 24": mx("int4", 24, "mse"),
    "of 13": mx("int4", 13, "mse"),
    "of 100": mx("int4", 100, "mse"),
    "of 5 × 3": text(E2M1, f"block: [5, 3], format: {E4M3}, rule: mse, candidates: [0, 1, -1]"),
    "of a channel": mx("int8", "channel", "mse"),
}
SHAPES = [((), 0), ((0,), 0), ((1,), 0), ((33,), 0), ((5000,), 0), ((0, 5), 1), ((5, 0), 1), ((70, 200), 1)]
SHAPES += [((70, 200), 0), ((3, 70, 45), 1), ((2, 3, 40, 1), 2), ((130, 260), 1)]


def format_of(written: str) -> BlockFormat:
    format = parse_format(written)
    assert isinstance(format, BlockFormat)
    return format


def values(shape: tuple[int, ...], *, special: bool = True) -> Array:
    """Of many magnitudes; among them zeros, Inf, NaN and a subnormal, in some blocks."""
    rng = np.random.default_rng(sum(shape))
    x = np.asarray(rng.standard_normal(shape, np.float32) * np.exp(2 * rng.standard_normal(shape, np.float32)))
    flat = x.reshape(-1)
    if special and flat.size > 50:
        flat[::37], flat[5], flat[40], flat[9], flat[32:48] = 0, np.inf, np.nan, 1e-42, -0.0
    return x


def assert_same(plan: BlockPlan, x: Array, geometry: Geometry, **further: Any) -> None:
    """Codes, scales and values, there and back."""
    kernel, reference = NumbaBlockKernel(plan), ReferenceBlockKernel(plan)
    (codes, stored), (expected, scales) = (one.quantize(x, geometry, **further) for one in (kernel, reference))
    assert_bit_exact(codes, expected)
    for found, scale in zip(stored, scales, strict=True):
        assert_bit_exact(found, scale)
    assert_bit_exact(kernel.fake_quantize(x, geometry, **further), reference.fake_quantize(x, geometry, **further))
    back = reference.dequantize(expected, scales, geometry)
    assert_bit_exact(kernel.dequantize(codes, stored, geometry), back)


@pytest.fixture(autouse=True)
def _default_threads() -> Iterator[None]:
    yield
    runtime.set_threads(None)


@pytest.mark.parametrize("name", FORMATS)
def test_every_kind_of_block_in_every_kind_of_array(name: str) -> None:
    format = format_of(FORMATS[name])
    is_flat = not any(isinstance(level.block, tuple) for level in format.scales)
    for shape, axis in SHAPES:
        if is_flat or (len(shape) > 1 and axis >= len(shape) - 2):
            assert_same(lower_block(format), values(shape), Geometry.of(shape, axis, format))


@pytest.mark.parametrize("name", CHOOSING)
def test_candidates(name: str) -> None:
    format = format_of(CHOOSING[name])
    for shape, axis in [((70, 45), 1), ((70, 45), 0), ((3, 40, 1), 1)]:
        geometry = Geometry.of(shape, axis, format)
        assert_same(lower_block(format), values(shape), geometry)
        weights = np.random.default_rng(0).random(shape[axis])
        assert_same(lower_block(format), values(shape), geometry, weights=weights)


@pytest.mark.parametrize("rule", ["floor", "mse"])
@pytest.mark.parametrize("bits", [8, 16, 32])
def test_random_bits_are_those_of_an_element_s_index(bits: int, rule: str) -> None:
    format = format_of(text(E2M1, f"block: 32, format: {E8M0}, rule: {rule}", further=drawing(bits)))
    for shape, axis in [((5000,), 0), ((7, 33, 5), 1), ((7, 33), 1)]:
        assert_same(lower_block(format), values(shape), Geometry.of(shape, axis, format), seed=1 << 40, offset=3)


def test_scales_of_the_caller() -> None:
    format = format_of(text(E2M1, "block: channel, format: float32, rule: given", f"block: 16, format: {E4M3}"))
    for shape, axis in [((70, 45), 1), ((70, 45), 0)]:
        geometry = Geometry.of(shape, axis, format)
        given = np.random.default_rng(0).random(geometry.scale_shape(format.scales[0].block), np.float32)
        assert_same(lower_block(format), values(shape), geometry, given=given)
    with pytest.raises(ValueError, match="comes from the caller"):
        NumbaBlockKernel(lower_block(format)).fake_quantize(values((70, 45)), geometry)


@pytest.mark.parametrize("big_endian", [False, True])
@pytest.mark.parametrize("element", ["int3", "int4", "float6_e2m3fn"])
@pytest.mark.parametrize("shape", [(33,), (5, 64), (3, 5, 4101), (6, 13)])
def test_dense_codes(shape: tuple[int, ...], element: str, big_endian: bool) -> None:
    format = format_of(mx(element, 24))
    plan, packed = lower_block(format), Packed(format.bits, big_endian)
    geometry, x = Geometry.of(shape, -1, format), values(shape)
    codes, stored = NumbaBlockKernel(plan).quantize(x, geometry, packed=packed)
    expected, scales = ReferenceBlockKernel(plan).quantize(x, geometry, packed=packed)
    assert_bit_exact(codes, expected)
    assert_bit_exact(stored[0], scales[0])


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("name", ["mxfp4", "nvfp4", "of 24", "channel"])
def test_threads_change_nothing(name: str, axis: int) -> None:
    format = format_of(FORMATS[name])
    shape = (701, threads.MIN_ELEMENTS // 701 + 100)
    x, geometry = values(shape, special=False), Geometry.of(shape, axis, format)
    expected, scales = ReferenceBlockKernel(lower_block(format)).quantize(x, geometry)
    kernel = NumbaBlockKernel(lower_block(format))
    for count in (1, 2, 3):
        runtime.set_threads(count)
        codes, stored = kernel.quantize(x, geometry)
        assert_bit_exact(codes, expected)
        for found, scale in zip(stored, scales, strict=True):
            assert_bit_exact(found, scale)


@pytest.mark.parametrize("name", ["mxfp4", "of 5", "16 × 16", "channel"])
def test_nothing_is_written_beyond_the_values(name: str) -> None:
    format = format_of(FORMATS[name])
    kernel = NumbaBlockKernel(lower_block(format))
    for columns in range(1, 140):
        x, room = values((3, columns)), np.full(3 * columns + 64, 99, np.float32)
        geometry = Geometry.of(x.shape, 1, format)
        out = room[: 3 * columns].reshape(3, columns)
        assert kernel.fake_quantize(x, geometry, out=out) is out
        assert_bit_exact(out, kernel.fake_quantize(x, geometry))
        assert (room[3 * columns :] == 99).all()


@pytest.mark.parametrize("name", FORMATS)
def test_values_may_replace_their_elements(name: str) -> None:
    format = format_of(FORMATS[name])
    x = values((70, 130))
    kernel, geometry = NumbaBlockKernel(lower_block(format)), Geometry.of(x.shape, -1, format)
    expected = kernel.fake_quantize(x, geometry)
    assert_bit_exact(kernel.fake_quantize(x, geometry, out=x), expected)


def test_formats_of_one_shape_share_their_machine_code(monkeypatch: pytest.MonkeyPatch) -> None:
    x = values((100, 64))
    first, second = (format_of(text(f"{{kind: float, exponent_bits: {bits}, mantissa_bits: 2, nan: none}}",
                                    f"block: 32, format: {E4M3}")) for bits in (2, 3))  # fmt: skip
    geometry = Geometry.of(x.shape, -1, first)
    kernel = NumbaBlockKernel(lower_block(first))
    kernel.dequantize(*kernel.quantize(x, geometry), geometry)
    kernel.fake_quantize(x, geometry)
    monkeypatch.setattr(cache, "_load", lambda *_: pytest.fail("compiled"))
    assert_same(lower_block(second), x, geometry)


def test_a_kernel_s_name_depends_on_all_files_that_print_it() -> None:
    folder, digested = Path(cache.__file__).parent, {*cache.PRINTER, *block_cache.FILES}
    found, unread = set[str](), {"block_printer.py"}
    while unread:
        found |= unread
        texts = [(folder / name).read_text("utf-8") for name in unread]
        named = {
            f"{name}.py" for text in texts for name in re.findall(r"from statqat_sim\.backends\.numba_cpu\.(\w+)", text)
        }
        unread = named - found
    assert {"block_body.py", "vector.py"} < found <= digested


def test_a_copy_gives_the_same() -> None:
    format = format_of(FORMATS["nvfp4"])
    x = values((40, 64))
    kernel, geometry = NumbaBlockKernel(lower_block(format)), Geometry.of(x.shape, -1, format)
    copied = pickle.loads(pickle.dumps(kernel))
    assert_bit_exact(copied.fake_quantize(x, geometry), kernel.fake_quantize(x, geometry))
