"""Block formats on the numba backend: every kind of block, of array and of rule gives what the interpreter gives."""

from __future__ import annotations

import pickle
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from block_kinds import (
    CHOOSING,
    E2M1,
    E4M3,
    E8M0,
    FORMATS,
    SHAPES,
    Array,
    drawing,
    format_of,
    mx,
    text,
    values,
)

from statqat_sim import set_threads
from statqat_sim.backends.numba_cpu import block_cache, cache, threads
from statqat_sim.backends.numba_cpu.block_kernel import NumbaBlockKernel
from statqat_sim.geometry import Geometry
from statqat_sim.plan.block import BlockPlan
from statqat_sim.plan.lower_block import lower_block
from statqat_sim.plan.program import Packed
from statqat_sim.reference.block_backend import ReferenceBlockKernel
from statqat_sim.testing import assert_bit_exact


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
    set_threads(None)


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


@pytest.mark.parametrize(
    "offset", ["{kind: minimum, scales: [{block: 32, format: float16}]}", "{kind: zero_point, format: uint4}"]
)
def test_random_bits_stand_beside_an_offset(offset: str) -> None:
    """Values read the offset after the random bits."""
    further = f"{drawing(16)}offset: {offset}\n"
    format = format_of(text("uint4", "block: 32, format: float16, rule: minmax", further=further))
    for shape, axis in [((5000,), 0), ((7, 33), 0)]:
        assert_same(lower_block(format), values(shape), Geometry.of(shape, axis, format), seed=1, offset=3)


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
        set_threads(count)
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
