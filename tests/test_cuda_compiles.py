"""Nvcc compiles what the GPU backend prints, without a warning. What it computes is in `test_backend_cuda`.

In the normal run every shape of a plan is compiled for every GPU, with little optimization. `long` has them as cupy
compiles them, with scales in every place, and takes some minutes.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest
from nvcc import ARCHITECTURES, NVCC, QUICK, UNIT, compiled, require
from reduction_cases import PLANS
from stochastic import drawn

from statqat_sim.backends.cupy_gpu.elementwise import Feed, elementwise
from statqat_sim.backends.cupy_gpu.kernel_text import KernelText
from statqat_sim.backends.cupy_gpu.mma_text import MmaForm, mma_kernel
from statqat_sim.backends.cupy_gpu.reduction_text import reduction_kernel
from statqat_sim.backends.cupy_gpu.steps import never_nan
from statqat_sim.plan.lower import Purpose, lower
from statqat_sim.plan.mma import Unit
from statqat_sim.plan.program import CodecPlan, Storage
from statqat_sim.plan.source import LAYOUTS
from statqat_sim.spec.catalog import formats, load_format
from statqat_sim.spec.number import NumberFormat

FAMILIES = ("float", "int", "listed")
"""Kinds of elements; those whose codes are listed are one family."""

SCALES = (Feed.ARRAY, Feed.ROW, Feed.NUMBER)

pytestmark = pytest.mark.skipif(NVCC is None, reason="nvcc is not installed")


def plans_of(format: NumberFormat, floats: Iterable[Storage]) -> Iterator[CodecPlan]:
    dense = {Purpose.PACK, Purpose.UNPACK}
    for purpose in Purpose:
        if purpose not in dense or format.bits <= 8:
            yield from (lower(format, purpose, floats=storage) for storage in floats)


def of_family(family: str) -> list[NumberFormat]:
    """The catalog's formats."""
    numbers = [load_format(name) for name in formats(kind="number")]
    return [each for each in numbers if family == (each.element.kind if each.element.kind in FAMILIES else "listed")]


def kernels_of(plans: Iterable[CodecPlan], places: Iterable[Feed] = SCALES) -> list[KernelText]:
    """Every kernel that plans of these shapes run as; `places`: where scales lie."""
    texts = {}
    for plan in plans:
        names = [stream.name for stream in plan.shape.streams[1:]]
        for scale in places if "scale" in names else (Feed.ARRAY,):
            feeds = [Feed.DRAWN if name == "random" else scale for name in names]
            texts[elementwise(plan.shape, (Feed.ARRAY, *feeds), never_nan(plan)).text] = None
    return list(texts)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("family", FAMILIES)
def test_every_shape_of_a_family_compiles(family: str, architecture: str, tmp_path: Path) -> None:
    require(architecture)
    every = [plan for format in of_family(family) for plan in plans_of(format, [Storage.FLOAT32])]
    compiled(kernels_of(every, [Feed.ARRAY]), architecture, "cubin", tmp_path, *QUICK)


def test_every_type_of_floats_and_random_bits_compile(tmp_path: Path) -> None:
    """As cupy compiles them, with scales in every place."""
    require("sm_90a")
    floats = [Storage.FLOAT16, Storage.BFLOAT16, Storage.FLOAT64]
    every = list(plans_of(load_format("float4_e2m1fn"), floats))
    every += [
        plan for bits in (8, 32) for plan in plans_of(drawn("float8_e4m3fn", random_bits=bits), [Storage.FLOAT32])
    ]
    compiled(kernels_of(every), "sm_90a", "cubin", tmp_path)


def reductions(*names: str) -> list[KernelText]:
    return [reduction_kernel(PLANS[name](storage)).text for name in names for storage in LAYOUTS]


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_reductions_and_matrix_instructions_compile(architecture: str, tmp_path: Path) -> None:
    require(architecture)
    compiled(reductions(*PLANS) + matrix_kernels(MMA_FORMS), architecture, "cubin", tmp_path, *QUICK)


def test_reductions_have_everything_in_registers(tmp_path: Path) -> None:
    """And no arithmetic that options change."""
    require("sm_90a")
    text = compiled(reductions("extremes", "histogram 6"), "sm_90a", "ptx", tmp_path).read_text()
    assert "ld.global.v4.u32" in text or "ld.global.v4.b32" in text
    assert not re.findall(r"\bfma\b|\.ftz|\.approx|\.local", text)


MMA_FORMS = MmaForm.every()
EXACT = MmaForm(Unit.EXACT, 0, False)
"""Whose kernel takes as long to compile as all others, and lies in memory: its numbers have 48 words."""


def matrix_kernels(forms: Iterable[MmaForm]) -> list[KernelText]:
    return [mma_kernel(form).text for form in forms]


def test_no_option_changes_matrix_instructions(tmp_path: Path) -> None:
    """One of each way of summing, with the arithmetic that it is written in.

    Only chains of float64 are contracted, only sums of neighbours wait in memory. What is cut to integers may be
    flushed before.
    """
    require("sm_90a")
    some = {form.unit: form for form in MMA_FORMS if form != EXACT}
    text = compiled(matrix_kernels(some.values()), "sm_90a", "ptx", tmp_path).read_text()
    for unit, kernel in zip(some, text.split(".visible .entry")[1:], strict=True):
        found = set(re.findall(r"\bfma\b|\S*\.ftz\S*|\.approx|\.local\b", kernel))
        allowed = {Unit.NARROW: {"cvt.rzi.ftz.s32.f32"}, Unit.FUSED: {"fma"}, Unit.STEPS: {".local"}}
        assert found <= allowed.get(unit, set()), unit


@pytest.mark.long
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_all_matrix_instructions_compile(architecture: str, tmp_path: Path) -> None:
    require(architecture)
    compiled(matrix_kernels(MMA_FORMS), architecture, "cubin", tmp_path)


def test_no_option_changes_the_arithmetic(tmp_path: Path) -> None:
    """No contraction, no flush to zero, no approximation; and everything lies in registers."""
    require("sm_90a")
    every = [
        plan for name in ("float8_e4m3fn", "nf4", "int3") for plan in plans_of(load_format(name), [Storage.FLOAT32])
    ]
    text = compiled(kernels_of(every), "sm_90a", "ptx", tmp_path).read_text()
    assert "div.rn.f32" in text
    assert "ld.global.v4.u32" in text or "ld.global.v4.b32" in text
    assert not re.findall(r"\bfma\b|\.ftz|\.approx|\.local", text)


@pytest.mark.long
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_the_catalog_compiles(architecture: str, tmp_path: Path) -> None:
    require(architecture)
    every = [
        plan for family in FAMILIES for format in of_family(family) for plan in plans_of(format, [Storage.FLOAT32])
    ]
    texts = kernels_of(every) + reductions(*PLANS)
    for first in range(0, len(texts), UNIT):
        compiled(texts[first : first + UNIT], architecture, "cubin", tmp_path)
