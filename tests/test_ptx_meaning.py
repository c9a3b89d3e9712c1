"""What instructions of PTX do at their edges, as its manual says. Nothing here needs nvcc or a GPU."""

from __future__ import annotations

import shutil
from collections.abc import Sequence

import numpy as np
import pytest
from cuda_on_cpu.launcher import GccLauncher, headers, runner
from cuda_on_cpu.ptx import as_cpp

from statqat_sim.backends.cupy_gpu.kernel_text import KernelText

A, B = 0x8000_00FF, 0x1234_5678
"""Of registers %r2 and %r3."""

HIGH = "mov.b64 {%r4, %r1}, %rd1;"
"""The high word of a result of 64 bits."""

OF_NAN = {"eq": 0, "ne": 0, "lt": 0, "ge": 0, "equ": 1, "neu": 1, "ltu": 1, "geu": 1, "nan": 1}
"""Comparisons of it with 1."""

RESULTS = {
    "shl.b32 %r1, %r2, 32;": 0,
    "shr.u32 %r1, %r2, 32;": 0,
    "shr.s32 %r1, %r2, 4;": 0xF800_000F,
    "shr.s32 %r1, %r2, 300;": 0xFFFF_FFFF,
    "bfe.u32 %r1, %r2, 4, 8;": 0x0F,
    "bfe.u32 %r1, %r2, 256, 8;": 0xFF,
    "bfe.u32 %r1, %r2, 0, 256;": 0,
    "bfe.u32 %r1, %r2, 24, 255;": 0x80,
    "bfi.b32 %r1, %r2, %r3, 28, 8;": 0xF234_5678,
    "bfi.b32 %r1, %r2, %r3, 256, 8;": 0x1234_56FF,
    "bfi.b32 %r1, %r2, %r3, 0, 256;": B,
    "bfi.b32 %r1, %r2, %r3, 32, 8;": B,
    "prmt.b32 %r1, %r2, %r3, 0x7654;": B,
    "prmt.b32 %r1, %r2, %r3, 0xc8b1;": 0x00FF_FF00,
    "shf.l.wrap.b32 %r1, %r2, %r3, 36;": 0x2345_6788,
    "shf.r.wrap.b32 %r1, %r2, %r3, 36;": 0x8800_000F,
    "min.s32 %r1, %r2, %r3;": A,
    "max.s32 %r1, %r2, %r3;": B,
    "max.u32 %r1, %r2, %r3;": A,
    "mul.hi.u32 %r1, %r2, %r3;": A * B >> 32,
    "mul.wide.s32 %rd1, %r2, 2; mov.b64 {%r4, %r1}, %rd1;": 0xFFFF_FFFF,
    "mul.wide.u32 %rd1, %r2, 2; mov.b64 {%r4, %r1}, %rd1;": 1,
    "mad.wide.s32 %rd1, %r2, 2, -1; mov.b64 {%r4, %r1}, %rd1;": 0xFFFF_FFFF,
    "mov.b64 %rd1, {%r2, %r3}; shr.u64 %rd1, %rd1, 32; cvt.u32.u64 %r1, %rd1;": B,
    "mov.b64 %rd1, {-1, %r3}; shr.u64 %rd1, %rd1, 32; cvt.u32.u64 %r1, %rd1;": B,
    "cvt.s8.s32 %rs1, %r2; cvt.u32.u16 %r1, %rs1;": 0xFFFF,
    "cvt.u8.u32 %rs1, %r2; cvt.u32.u16 %r1, %rs1;": 0xFF,
    "cvt.s64.s32 %rd1, %r2; shr.u64 %rd1, %rd1, 32; cvt.u32.u64 %r1, %rd1;": 0xFFFF_FFFF,
    "cvt.rn.f32.s32 %r1, -3;": 0xC040_0000,
    "cvt.rn.f32.u32 %r1, 0xffffffff;": 0x4F80_0000,
    "cvt.rni.f32.f32 %r1, 0f40200000;": 0x4000_0000,
    "st.global.u8 [%rd2], %r2; ld.global.s8 %r1, [%rd2];": 0xFFFF_FFFF,
    "st.global.v2.u32 [%rd2], {%r2, %r3}; ld.global.u16 %r1, [%rd2+4];": 0x5678,
    "st.global.u32 [%rd2], %r2; atom.global.max.u32 %r1, [%rd2], %r3;": A,
    "st.global.u32 [%rd2], %r2; red.global.add.u32 [%rd2], -1; ld.global.u32 %r1, [%rd2];": A - 1,
    "add.rn.f32 %r1, 0f7f800000, 0fff800000;": 0x7FFF_FFFF,
    "mul.rn.f32 %r1, 0f00000001, 0f40000000;": 2,
    "cvt.rzi.ftz.s32.f32 %r1, 0fbff33333;": 0xFFFF_FFFF,
    "cvt.rzi.ftz.s32.f32 %r1, 0f80000001;": 0,
    "cvt.rzi.ftz.s32.f32 %r1, 0f7fffffff;": 0,
    "cvt.rzi.ftz.s32.f32 %r1, 0f4f000000;": 0x7FFF_FFFF,
    "cvt.rzi.ftz.s32.f32 %r1, 0fff800000;": 0x8000_0000,
    "cvt.rn.f32.f64 %r1, 0d36a8000000000000;": 2,
    f"cvt.f64.f32 %rd1, 0f80000001; {HIGH}": 0xB6A0_0000,
    f"cvt.rn.f64.s64 %rd1, -3; {HIGH}": 0xC008_0000,
    f"cvt.rpi.f64.f64 %rd1, 0dbfe0000000000000; {HIGH}": 0x8000_0000,
    f"copysign.f64 %rd1, 0d8000000000000000, 0d3ff8000000000000; {HIGH}": 0xBFF8_0000,
    f"copysign.f64 %rd1, 0d3ff8000000000000, 0dfff8000000000000; {HIGH}": 0x7FF8_0000,
    f"fma.rn.f64 %rd1, 0d3ff0000000000001, 0d3ff0000000000001, 0dbff0000000000002; {HIGH}": 0x3970_0000,
    f"mov.b64 %rd1, {{%r3, %r2}}; shr.s64 %rd1, %rd1, 68; {HIGH}": 0xFFFF_FFFF,
    f"mov.b64 %rd1, {{%r3, %r2}}; min.s64 %rd1, %rd1, 0; {HIGH}": A,
    f"mov.b64 %rd1, {{%r3, %r2}}; neg.s64 %rd1, %rd1; {HIGH}": 0x7FFF_FF00,
    "clz.b32 %r1, %r3;": 3,
    "clz.b32 %r1, 0;": 32,
    ".local .align 8 .b8 here[8]; mov.u64 %rd1, here; st.local.u32 [%rd1+4], %r2; ld.local.u32 %r1, [%rd1+4];": A,
    "setp.lt.s32 %p1, %r2, %r3; selp.u32 %r1, 1, 0, %p1;": 1,
    "setp.lt.u32 %p1, %r2, %r3; selp.u32 %r1, 1, 0, %p1;": 0,
    "setp.ne.u32 %p1, %r2, %r2; setp.eq.or.u32 %p1, %r2, %r3, !%p1; selp.u32 %r1, 1, 0, %p1;": 1,
} | {f"setp.{word}.f32 %p1, 0f7fc00000, 0f3f800000; selp.u32 %r1, 1, 0, %p1;": found for word, found in OF_NAN.items()}

MODULE = """.visible .entry written0(.param .u64 result)
{{
    .reg .pred %p<2>; .reg .b16 %rs<2>; .reg .b32 %r<5>; .reg .b64 %rd<4>;
    ld.param.u64 %rd3, [result];
    {lines}
    ret;
}}
"""


class Written(GccLauncher):
    """Of a module that is written here."""

    def source(self, texts: Sequence[KernelText], cooperative: bool) -> str:
        lines = [
            f"mov.b32 %r2, {A}; mov.b32 %r3, {B}; add.u64 %rd2, %rd3, {8 * place}; {each} st.global.u32 [%rd2], %r1;"
            for place, each in enumerate(RESULTS)
        ]
        module = as_cpp(MODULE.format(lines="\n".join(lines)))
        return "\n".join([*headers(cooperative), module, runner(0, texts[0], "written0")])


@pytest.fixture(scope="module")
def results() -> dict[str, int]:
    if shutil.which("g++") is None:
        pytest.skip("g++ is not installed")
    words = np.zeros(2 * len(RESULTS), np.uint32)
    Written().load(KernelText("written", ("u64 result",), ""))(1, 1, [np.uint64(words.ctypes.data)], words)
    return dict(zip(RESULTS, words[::2].tolist(), strict=True))


@pytest.mark.parametrize("instructions", RESULTS)
def test_instructions_do_what_the_manual_says(instructions: str, results: dict[str, int]) -> None:
    assert hex(results[instructions]) == hex(RESULTS[instructions])


@pytest.mark.parametrize(
    "instruction",
    [
        "sqrt.rn.f32 %r1, %r2",
        "add.rn.ftz.f32 %r1, %r1, %r2",
        "mul.f32 %r1, %r1, %r2",
        "max.f32 %r1, %r1, %r2",
        "add.sat.s32 %r1, %r1, 1",
        "mad.lo.cc.u32 %r1, %r1, %r2, %r3",
        "mul.hi.s32 %r1, %r1, %r2",
        "bfe.s32 %r1, %r1, 0, 8",
        "shf.l.clamp.b32 %r1, %r1, %r2, 40",
        "clz.b64 %r1, %rd1",
        "popc.b64 %r1, %rd1",
        "cvt.rzi.s32.f32 %r1, %r2",
        "cvt.rzi.ftz.u32.f32 %r1, %r2",
        "cvt.rzi.ftz.f32.f32 %r1, %r2",
        "cvt.ftz.f64.f32 %rd1, %r2",
        "cvt.rz.f32.f64 %r1, %rd1",
        "setp.lt.and.ftz.f32 %p1, %r1, %r2, %p1",
        "cvta.shared.u64 %rd1, %rd2",
        "ld.volatile.shared.u32 %r1, [%r2]",
        "ld.param.u32 %r1, [result+4]",
        "ld.param.v2.u32 {%r1, %r2}, [result]",
        "atom.global.max.s32 %r1, [%rd1], %r2",
        "atom.gpu.add.u32 %r1, [%rd1], %r2",
        "red.global.add.f32 [%rd1], %r2",
        "shfl.sync.down.b32 %r1, %r2, 1, 31, -1",
        "bar.sync 1, 64",
        ".loc 1 2 3\n add.u32 %r1, %r1, %r2",
        ".local .b32 here[2]",
        "ld.u32 %r1, [%rd1]",
        "cvta.local.u64 %rd1, %rd2",
    ],
)
def test_instructions_that_are_not_known_are_refused(instruction: str) -> None:
    with pytest.raises((AssertionError, KeyError, ValueError)):
        as_cpp(MODULE.format(lines=f"{instruction};"))
