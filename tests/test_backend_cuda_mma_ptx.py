"""Matrix kernels as nvcc compiles them, whose PTX runs on the CPU: see `cuda_on_cpu.ptx_meaning`.

The exact oracle is the measure. The normal run has one kernel of each unit, and takes about 20 seconds, half of them to
compile; `long` has all kernels, and takes some minutes.
"""

from __future__ import annotations

import shutil
from collections.abc import Collection

import numpy as np
import pytest
from cuda_on_cpu.backend import WithCudaMma
from cuda_on_cpu.ptx_launcher import PtxLauncher
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from mma_cases import FAMILIES, assert_same, bits_of, codes_of
from mma_compare import DISTINCT, compare, families
from mma_random import (
    ENTERS,
    FOUND,
    ORDERS,
    Operands,
    Part,
    accelerators,
    grouped,
    integers,
    joined,
    parsed,
    plain,
    text_of,
)
from nvcc import NVCC

import statqat_sim as sqs
from statqat_sim import runtime
from statqat_sim.backends.cupy_gpu.mma_text import MmaForm, mma_kernel
from statqat_sim.errors import UnsupportedError
from statqat_sim.matmul import Accelerator
from statqat_sim.plan.lower_mma import lower_mma
from statqat_sim.plan.mma import Unit
from statqat_sim.spec.accelerator import Instruction

pytestmark = [
    pytest.mark.skipif(shutil.which("g++") is None, reason="g++ is not installed"),
    pytest.mark.skipif(NVCC is None, reason="nvcc is not installed"),
]

PTX = PtxLauncher()
WITH_PTX = WithCudaMma(PTX)

INSTRUCTIONS = {
    Unit.NARROW: (("amd_mi300x", "mfma.f16.f32"), ("nvidia_a100", "mma.f16.f16")),
    Unit.BROAD: (("amd_mi300x", "mfma.bf16.f32"), ("nvidia_a100", "mma.tf32.f32")),
    Unit.GROUPS: (("nvidia_b200", "mxf4.e2m1.f32"), ("nvidia_b200", "mxf4nvf4.e2m1.f32")),
    Unit.STEPS: (("amd_mi250x", "mfma.f16.f32"), ("arm_bf16", "bfmmla.bf16.f32"), ("x86_amx", "tdpfp16ps.f16.f32")),
    Unit.FUSED: (("amd_mi250x", "mfma.f64.f64"), ("nvidia_a100", "mma.f64.f64")),
    Unit.EXACT: (("amd_mi100", "mfma.f16.f32"), ("arm_ebf16", "bfmmla.bf16.f32")),
    Unit.INTEGER: (("amd_mi100", "mfma.i8.i32"), ("x86_vnni", "vpdpbusds.u8.s32")),
}
"""Device and name of some of each unit."""

SPECIALS = [np.inf, np.nan, 3e38, 1.0, -0.0, 1e-40, -1e-5, -np.inf]
"""Both ends are Inf, and cancel: C has them backwards."""

AGAIN = 3, 11
"""Rows and columns are repeated, to more than a block of threads takes."""


@pytest.fixture(scope="module", autouse=True)
def _compiled() -> None:
    """One kernel of each unit, at once, which takes less time."""
    PTX.prepare(mma_kernel(form).text for form in SOME)


@pytest.fixture(autouse=True)
def _on_ptx(monkeypatch: pytest.MonkeyPatch) -> None:
    """Matrix instructions on numpy arrays run as PTX."""
    monkeypatch.setitem(runtime.backends(), "numba", WITH_PTX)  # type: ignore[arg-type]


def form_of(instruction: Instruction) -> MmaForm:
    return MmaForm.of(lower_mma(instruction, instruction.a[0], instruction.b[0]))


def some_of(unit: Unit) -> list[tuple[Accelerator, Instruction]]:
    accelerators = [(sqs.load_accelerator(device), name) for device, name in INSTRUCTIONS[unit]]
    return [(accelerator, accelerator.instructions[name]) for accelerator, name in accelerators]


SOME = list(dict.fromkeys(form_of(instruction) for unit in Unit for _, instruction in some_of(unit)))
EVERY = MmaForm.every()


def check(accelerator: Accelerator, instruction: Instruction, operands: Operands, what: str) -> None:
    """The kernel gives what the oracle says."""
    d = accelerator.matmul(**repeated(operands).given(instruction))
    assert_same(bits_of(d), np.tile(operands.expected(instruction), AGAIN), f"{instruction}, {what}")


def repeated(operands: Operands) -> Operands:
    """Rows and columns `AGAIN`."""
    rows, columns = (AGAIN[0], 1), (1, AGAIN[1])
    scales = tuple(np.tile(each, times) for each, times in zip(operands.scales, (rows, columns), strict=False))
    a, b = np.tile(operands.a, rows), np.tile(operands.b, columns)
    return Operands(a, b, np.tile(operands.c, AGAIN), scales, operands.plan)


def with_specials(instruction: Instruction) -> Operands:
    """A special value in each row of A, which meets a zero in one column, and another in C in the next."""
    drawn = Operands.drawn(instruction, "normal", 0, rows=len(SPECIALS), columns=3)
    drawn.a[:, 0] = codes_of(instruction.a[0], np.array(SPECIALS))
    drawn.b[0, 1] = 0
    drawn.c[:, 2] = codes_of(instruction.c, np.array(SPECIALS[::-1]))
    if instruction.scale is not None:
        drawn.scales[0][::3, 0] = codes_of(instruction.scale.format, np.array([np.nan, 0, 1]))
    return drawn


@pytest.mark.parametrize("unit", Unit)
def test_instructions_are_what_the_oracle_says(unit: Unit) -> None:
    for accelerator, instruction in some_of(unit):
        assert form_of(instruction).unit is unit
        for seed, family in enumerate(FAMILIES):
            check(accelerator, instruction, Operands.drawn(instruction, family, seed), family)


@pytest.mark.parametrize("unit", Unit)
def test_special_values_are_what_the_oracle_says(unit: Unit) -> None:
    for accelerator, instruction in some_of(unit):
        check(accelerator, instruction, with_specials(instruction), "special")


def check_random(text: str, family: str, seed: int, forms: Collection[MmaForm]) -> MmaForm | None:
    """Of an accelerator whose kernel is one of these; which it is. None if it is another, or there is none."""
    try:
        accelerator, instruction = parsed(text)
    except UnsupportedError:
        return None
    form = form_of(instruction)
    if form not in forms:
        return None
    check(accelerator, instruction, Operands.drawn(instruction, family, seed), f"{family}\n{text}")
    return form


def cut_off(parts: Part) -> Part:
    """Its terms toward zero, as those that one kernel of each unit cuts."""
    dot: Part = parts["dot"]
    return parts | {"dot": dot | {"aligned": dot["aligned"] | {"round": "toward_zero"}}}


def in_float8(parts: Part) -> Part:
    """Its products as float32 holds them."""
    return parts | {"operands": parts["operands"] | {"a": "float8_e4m3fn", "b": "float8_e5m2"}}


def has_short_scales(parts: Part) -> bool:
    """The oracle takes seconds where they are float16."""
    scale: Part = parts["scale"]
    return scale["format"] != "float16"


@st.composite
def doubles(draw: st.DrawFn) -> Part:
    """Chains of float64."""
    step, enter = draw(st.integers(1, 8)), draw(st.sampled_from(ENTERS["chain"]))
    dot: Part = {"sum": "chain", "step": step, "c": enter, "order": draw(st.sampled_from(ORDERS))}
    if enter != "first":
        dot["split"] = draw(st.integers(1, min(step, 3)))
    return {
        "operands": dict.fromkeys("abcd", "float64") | {"shape": ["M", "N", step if enter == "none" else 2 * step]},
        "dot": dot,
    }


ALIGNED = st.one_of(plain().filter(lambda parts: "aligned" in parts["dot"]), joined()).map(cut_off)
SORTS = {
    "plain": plain(),
    "aligned": ALIGNED,
    "aligned float8": ALIGNED.map(in_float8),
    "grouped": grouped(("toward_zero",)).filter(has_short_scales),
    "integers": integers(),
    "doubles": doubles(),
}


@pytest.mark.parametrize("sort", SORTS)
def test_a_random_accelerator_is_what_the_oracle_says(sort: str) -> None:
    @settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much])
    @given(SORTS[sort], st.sampled_from(FAMILIES), st.integers(0, 1 << 32))
    def test(parts: Part, family: str, seed: int) -> None:
        assume(check_random(text_of(parts), family, seed, SOME))

    test()


@pytest.mark.long
def test_every_kernel_is_what_the_oracle_says() -> None:
    PTX.prepare(mma_kernel(form).text for form in EVERY)
    seen = set(SOME)

    @settings(max_examples=2000, suppress_health_check=[HealthCheck.too_slow])
    @given(accelerators(), st.sampled_from(FAMILIES), st.integers(0, 1 << 32))
    def test(text: str, family: str, seed: int) -> None:
        form = check_random(text, family, seed, EVERY)
        assume(form)
        assert form is not None
        seen.add(form)

    test()
    assert seen == set(EVERY)


@pytest.mark.long
@pytest.mark.parametrize("case", DISTINCT, ids="-".join)
def test_every_instruction_is_what_the_oracle_says(case: tuple[str, ...]) -> None:
    for family in families(case, 8):
        compare(case, family, 4)


@pytest.mark.long
@pytest.mark.parametrize("name", FOUND)
def test_what_was_wrong_once(name: str) -> None:
    text, operands = FOUND[name]
    check(*parsed(text), operands, name)
