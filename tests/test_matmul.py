"""Products of whole matrices: operands of every kind, long K, plans, recipes, conversions, and wrong uses."""

from __future__ import annotations

import ctypes
import inspect
import re
import subprocess
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
import torch

import statqat_sim as sqs
from statqat_sim.testing import assert_bit_exact, assert_matmul_bits

H100 = sqs.load_accelerator("nvidia_h100")
B200 = sqs.load_accelerator("nvidia_b200")
IDEAL = sqs.load_accelerator("ideal")
F16, FP8 = "mma.f16.f32", "wgmma.e4m3.f32"


def normal(*shape: int, seed: int = 0, dtype: Any = np.float32) -> Any:
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


def one_instruction(name: str, text: str, search: tuple[Path, ...] = ()) -> Any:
    return sqs.parse_accelerator(f"name: one\ninstructions:\n  {name}: {text}\n", search=search)


# --- operands ----------------------------------------------------------------------------------------------------


def test_codes_floats_and_typed_arrays_are_the_same_operand() -> None:
    a, b = normal(5, 40), normal(40, 7, seed=1)
    codec = sqs.Codec(sqs.load_format("float8_e4m3fn"))
    expected = H100.matmul(a, b, instruction=FP8)
    x, y = codec.encode(a), codec.encode(b)
    assert_bit_exact(H100.matmul(x, y, instruction=FP8, a_format="e4m3", b_format="float8_e4m3fn"), expected)
    typed = x.view(ml_dtypes.float8_e4m3fn), y.view(ml_dtypes.float8_e4m3fn)
    assert_bit_exact(H100.matmul(*typed, instruction=FP8), expected)
    tensors = [torch.from_numpy(each).view(torch.float8_e4m3fn) for each in (x, y)]
    d = H100.matmul(*tensors, instruction=FP8)
    assert isinstance(d, torch.Tensor)
    assert_bit_exact(d, expected)


def test_codes_of_one_of_several_formats_need_its_name() -> None:
    codes = np.zeros((2, 2), np.uint8)
    with pytest.raises(ValueError, match="a_format=float8_e4m3fn, float8_e5m2"):
        H100.matmul(codes, codes, instruction=FP8)
    with pytest.raises(LookupError, match="a cannot be 'float16'"):
        H100.matmul(codes, codes, instruction=FP8, a_format="float16", b_format="e4m3")


def test_a_format_of_the_instruction_s_name_means_what_the_instruction_means() -> None:
    codes, e4m3 = np.full((2, 2), 0x38, np.uint8), sqs.load_format("float8_e4m3fn")
    for name in ("float8_e5m2", "float8_e4m3fn.ml_dtypes"):
        other = sqs.load_format(name).model_copy(update={"name": e4m3.name})
        with pytest.raises(LookupError, match="a_format float8_e4m3fn differs from the instruction's format"):
            H100.matmul(codes, codes, instruction=FP8, a_format=other, b_format=e4m3)
        with pytest.raises(LookupError, match="allowed: b_format='float8_e4m3fn', which names the latter"):
            H100.matmul(codes, codes, instruction=FP8, a_format=e4m3, b_format=other)
    same = e4m3.model_copy(update={"title": "What it is called does not matter."})
    assert H100.matmul(codes, codes, instruction=FP8, a_format=same, b_format=e4m3).tolist() == [[2, 2], [2, 2]]


def test_tf32_loses_low_bits() -> None:
    a = np.array([[np.nextafter(np.float32(1), np.float32(2))]])
    assert H100.matmul(a, a, instruction="mma.tf32.f32") == 1


def test_stacks_are_broadcast() -> None:
    a, b = normal(3, 1, 4, 20), normal(2, 20, 6, seed=1)
    d = H100.matmul(a, b, instruction=F16)
    assert d.shape == (3, 2, 4, 6)
    assert_bit_exact(d[2, 1], H100.matmul(a[2, 0], b[1], instruction=F16))


def test_c_is_accumulated_on() -> None:
    a, b, c = normal(4, 16), normal(16, 6, seed=1), normal(6, seed=2)
    d = H100.matmul(a, b, c, instruction=F16)
    assert_bit_exact(d[1], H100.matmul(a[1:2], b, c, instruction=F16)[0])
    assert not np.array_equal(d, H100.matmul(a, b, instruction=F16))


@pytest.mark.parametrize("instruction", [F16, FP8, "mma.f16.f16", "mma.e4m3.f32"])
def test_of_no_products_d_is_c(instruction: str) -> None:
    c = normal(3, 2).astype(np.float16)
    d = H100.matmul(np.zeros((3, 0), np.float32), np.zeros((0, 2), np.float32), c, instruction=instruction)
    assert np.array_equal(d, c)
    assert H100.matmul(np.zeros((0, 4), np.float32), np.zeros((4, 2), np.float32), instruction=instruction).shape == (
        0,
        2,
    )


def test_a_k_of_a_million() -> None:
    a = np.ones((1, 1 << 20), np.float32)
    assert H100.matmul(a, a.T, instruction="mma.bf16.f32") == 1 << 20
    assert IDEAL.matmul(a, a.T, instruction="dot.f32.f32") == 1 << 20
    assert (
        sqs.load_accelerator("t4").matmul(a.astype(np.int8), a.T.astype(np.int8), instruction="mma.s8.s32") == 1 << 20
    )


def test_nan_and_infinities_anywhere() -> None:
    a, b = normal(4, 64), normal(64, 5, seed=1)
    a[0, 3], a[1, 60], b[9, 2] = np.nan, np.inf, -np.inf
    d = H100.matmul(a, b, instruction=F16)
    with np.errstate(invalid="ignore"):
        expected = a @ b
    assert np.array_equal(np.isnan(d), np.isnan(expected))
    assert np.array_equal(d[np.isinf(expected)], expected[np.isinf(expected)])
    assert (d.view(np.uint32)[np.isnan(d)] == 0x7FFFFFFF).all()


def test_threads_do_not_matter() -> None:
    a, b = normal(130, 160), normal(160, 129, seed=1)
    results = []
    for count in (1, 2, 5):
        sqs.set_threads(count)
        results += [H100.matmul(a, b, instruction=F16), H100.matmul(a[:1], np.tile(b, 40), instruction=F16)]
    sqs.set_threads(None)
    for one, other in zip(results, results[2:], strict=False):
        assert_bit_exact(one, other)


# --- what is known of hardware -----------------------------------------------------------------------------------


def test_zero_terms_have_an_exponent() -> None:
    """On an H100 sums of tiny products are cut where a zero's exponent says: 0x1.6p-146, not 0x1.8p-146."""
    a = np.full((1, 16), 149 * 2.0**-82, np.float32)
    a[0, 15] = 0
    b = np.full((16, 1), 176 * 2.0**-82, np.float32)  # a product is 0.8003 · 2^-149, and 409/512 of it are left
    d = H100.matmul(a, b, instruction="mma.bf16.f32")
    text = """
name: without
instructions:
  mma.bf16.f32:
    dot: {step: 16, sum: aligned, aligned: {fraction_bits: 25}, c: term}
    round: {mode: toward_zero}
"""
    other = sqs.parse_accelerator(text).matmul(a, b, instruction="mma.bf16.f32")
    assert [float(x[0, 0]).hex() for x in (d, other)] == ["0x1.6000000000000p-146", "0x1.8000000000000p-146"]


PROGRAM = r"""
#include <immintrin.h>
#include <stdint.h>
__attribute__((target("avx512bf16,avx512f,avx512vl")))
void run(long n, const uint32_t *a, const uint32_t *b, const float *c, float *d) {
    for (long i = 0; i < n; i += 16) {
        __m512i x = _mm512_loadu_si512(a + i), y = _mm512_loadu_si512(b + i);
        _mm512_storeu_ps(d + i, _mm512_dpbf16_ps(_mm512_loadu_ps(c + i), (__m512bh)x, (__m512bh)y));
    }
}
"""


def _has_bf16() -> bool:
    info = Path("/proc/cpuinfo")
    return info.exists() and "avx512_bf16" in info.read_text("utf-8")


@pytest.mark.skipif(not _has_bf16(), reason="this processor has no VDPBF16PS")
def test_vdpbf16ps_is_what_this_processor_does(tmp_path: Path) -> None:
    (tmp_path / "dot.c").write_text(PROGRAM)
    command = ["gcc", "-O1", "-shared", "-fPIC", "-o", str(tmp_path / "dot.so"), str(tmp_path / "dot.c")]
    if subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("no gcc that knows VDPBF16PS")
    run = ctypes.CDLL(str(tmp_path / "dot.so")).run
    rng, size = np.random.default_rng(0), 64
    unit = sqs.load_accelerator("x86_avx512_bf16")
    for family in ("normal", "wide", "bits", "subnormal", "zeros"):
        a, b, c = (_bf16_words(rng, family, count) for count in (size, size, size * size))
        d = np.zeros(size * size, np.float32)
        operands = np.repeat(a, size), np.tile(b, size), c, d
        run(ctypes.c_long(size * size), *(each.ctypes.data_as(ctypes.c_void_p) for each in operands))
        x, y = (each.view(np.uint16).reshape(size, 2) for each in (a, b))
        start = c.view(np.float32).reshape(size, size)
        got = unit.matmul(x, np.ascontiguousarray(y.T), start, instruction="vdpbf16ps.bf16.f32").reshape(-1)
        same = (got.view(np.uint32) == d.view(np.uint32)) | (np.isnan(got) & np.isnan(d))
        assert same.all(), (family, int((~same).sum()))


def _bf16_words(rng: np.random.Generator, family: str, count: int) -> Any:
    """Two bfloat16, or a float32, in each word."""
    if family == "bits":
        return rng.integers(0, 1 << 32, count, dtype=np.uint64).astype(np.uint32)
    if family == "zeros":  # and subnormals, of both signs, and ones
        return rng.choice(np.array([0, 1, 0x3F80], np.uint16), 2 * count).view(np.uint32) | _signs(rng, count)
    x = rng.standard_normal(2 * count)
    if family == "wide":
        x = x * 2.0 ** rng.integers(-30, 30, 2 * count)
    elif family == "subnormal":
        x = x * 2.0**-63
    return (x.astype(np.float32).view(np.uint32) >> 16).astype(np.uint16).view(np.uint32).copy()


def _signs(rng: np.random.Generator, count: int) -> Any:
    return rng.choice(np.array([0, 1 << 15, 1 << 31, 1 << 31 | 1 << 15], np.uint32), count)


# --- plans -------------------------------------------------------------------------------------------------------


def test_promotion_adds_sums_from_zero() -> None:
    a, b, c = normal(4, 512), normal(512, 3, seed=1), normal(4, 3, seed=2)
    parts = [H100.matmul(a[:, k : k + 128], b[k : k + 128], instruction=FP8) for k in range(0, 512, 128)]
    d = H100.matmul(a, b, c, instruction=FP8, plan={"promote_every": 128})
    assert_bit_exact(d, c + (((parts[0] + parts[1]) + parts[2]) + parts[3]))
    assert not np.array_equal(d, H100.matmul(a, b, c, instruction=FP8))


@pytest.mark.parametrize("order", ["ascending", "descending", "pairwise"])
def test_parts_of_k_are_added_in_order(order: str) -> None:
    a, b = normal(4, 224), normal(224, 3, seed=1)
    plan = sqs.GemmPlan(k_slab=64, split_k=3, reduce_order=order, instruction=F16)  # type: ignore[arg-type]
    d = H100.matmul(a, b, plan=plan)
    ends = (0, 128, 192, 224)  # four slabs: 2, 1, 1
    x, y, z = (H100.matmul(a[:, i:j], b[i:j], instruction=F16) for i, j in zip(ends, ends[1:], strict=False))
    sums = {"ascending": (x + y) + z, "descending": (z + y) + x, "pairwise": (x + y) + z}
    assert_bit_exact(d, sums[order])


@pytest.mark.parametrize("order", ["ascending", "pairwise"])
def test_sums_of_parts_are_rounded_once_to_d(order: str) -> None:
    """C has more bits than D: a sum that float32 or float64 rounds first would be another."""
    text = "{operands: {c: float32, shape: [M, N, 1]}, dot: {sum: exact, step: 1}}"
    unit = one_instruction("mma.f32.bf16", text)
    a = np.array([[1, 2.0**-130], [1, -(2.0**-130)], [2.0**127, 2.0**127], [2.0**-133, 2.0**-133]], np.float32)
    c = np.array([[2.0**-8], [2.0**-8], [0], [0]], np.float32)
    d = unit.matmul(a, np.ones((2, 1), np.float32), c, instruction="mma.f32.bf16", plan={"split_k": 2})
    assert d.ravel().tolist() == [1, 1, np.inf, 2.0**-132]
    d = unit.matmul(
        a[:2, 1:], np.ones((1, 1), np.float32), c[:2] + 1, instruction="mma.f32.bf16", plan={"promote_every": 1}
    )
    assert d.ravel().tolist() == [1 + 2.0**-7, 1]


def test_sums_of_integers_wrap_to_d() -> None:
    unit = one_instruction("mma.int8.int8", "{dot: {sum: integer, step: 1}}")
    a = np.array([[100, 100]], np.int8)
    d = unit.matmul(a, np.ones((2, 1), np.int8), instruction="mma.int8.int8", plan={"split_k": 2})
    assert d == 200 - 256


def test_a_plan_is_checked() -> None:
    a = normal(2, 2)
    with pytest.raises(sqs.SpecError, match=r"plan\.promot_every: unknown key; did you mean 'promote_every'\?"):
        H100.matmul(a, a, instruction=F16, plan={"promot_every": 2})
    with pytest.raises(sqs.SpecError, match=r"plan\.k_slab: expected an integer from 1 to .*, got a list"):
        H100.matmul(a, a, instruction=F16, plan={"k_slab": [2]})
    with pytest.raises(ValueError, match="which instruction"):
        H100.matmul(a, a)
    with pytest.raises(TypeError, match="plan is of type int"):
        H100.matmul(a, a, instruction=F16, plan=3)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="promote_every is 48; allowed: multiples"):
        B200.matmul(a, a, instruction="mxf4.e2m1.f32", plan={"promote_every": 48})
    for wrong, told in (
        ({"k_slab": "x"}, "k_slab: expected an integer from 1 to 1073741824, got 'x'"),
        ({"k_slab": np.float64(2)}, r"k_slab: expected an integer from 1 to 1073741824, got np.float64\(2.0\)"),
        ({"k_slab": True}, "k_slab: expected an integer from 1 to 1073741824, got true"),
        ({"split_k": None}, "split_k: expected an integer from 1 to 1073741824, got nothing"),
        ({"k_slabs": 2}, r"k_slabs: unknown key; did you mean 'k_slab'\?"),
        ({"reduce_order": "up"}, "reduce_order: expected one of ascending, descending, pairwise, got 'up'"),
    ):
        with pytest.raises(sqs.SpecError, match=f"^<GemmPlan>: {told}"):
            sqs.GemmPlan(**wrong)
        with pytest.raises(sqs.SpecError, match=rf"^<dict>: plan\.{told}"):
            H100.matmul(a, a, instruction=F16, plan=wrong)
    written = sqs.GemmPlan().model_dump()
    assert_bit_exact(H100.matmul(a, a, instruction=F16, plan=written), H100.matmul(a, a, instruction=F16))
    for plan in ({"instruction": FP8}, sqs.GemmPlan(instruction=FP8)):
        with pytest.raises(ValueError, match=f"plan.instruction is '{FP8}'; allowed: {F16}, or none"):
            H100.matmul(a, a, instruction=F16, plan=plan)
    assert_bit_exact(H100.matmul(a, a, instruction=F16, plan={"instruction": F16}), H100.matmul(a, a, instruction=F16))


@pytest.mark.parametrize("plan", [{"promote_every": 128}, {"split_k": 2}])
def test_a_plan_that_cuts_k_adds_c_outside_even_where_k_is_too_short_to_be_cut(plan: dict[str, int]) -> None:
    a, b, c = normal(3, 16), normal(16, 2, seed=1), normal(3, 2, seed=2)
    inside, alone = H100.matmul(a, b, c, instruction=FP8), H100.matmul(a, b, instruction=FP8)
    assert not np.array_equal(c + alone, inside)
    assert_bit_exact(H100.matmul(a, b, c, instruction=FP8, plan=plan), c + alone)
    assert_bit_exact(H100.matmul(a, b, c, instruction=FP8, plan={"k_slab": 64}), inside)


def test_a_plan_takes_any_library_s_integers() -> None:
    plan = sqs.GemmPlan(k_slab=np.int64(64), split_k=np.uint8(3), promote_every=None)  # type: ignore[arg-type]
    assert plan == sqs.GemmPlan(k_slab=64, split_k=3)
    assert type(plan.k_slab) is type(plan.split_k) is int
    a = normal(2, 256)
    expected = H100.matmul(a, a.T, instruction=F16, plan=plan)
    assert_bit_exact(
        H100.matmul(a, a.T, instruction=F16, plan={"k_slab": np.int64(64), "split_k": np.uint8(3)}), expected
    )


def test_an_accelerators_own_plan_is_for_whatever_instruction_is_named() -> None:
    text = "name: mine\nextends: nvidia_h100\ngemm: {instruction: mma.f16.f32, split_k: 2}\n"
    mine, a, b = sqs.parse_accelerator(text), normal(2, 64), normal(64, 3, seed=1)
    d = mine.matmul(a, b, instruction="mma.bf16.f32")
    assert_bit_exact(d, H100.matmul(a, b, instruction="mma.bf16.f32", plan={"split_k": 2}))
    assert mine.instruction().name == "mma.f16.f32"
    d = mine.matmul(a, b, plan={"promote_every": 32})
    assert_bit_exact(d, H100.matmul(a, b, instruction="mma.f16.f32", plan={"promote_every": 32}))


def test_a_recipe_is_made_of_its_instructions() -> None:
    codec = sqs.Codec(sqs.load_format("float8_e4m3fn"))
    a, b, c = codec.fake_quantize(normal(4, 32)), codec.fake_quantize(normal(32, 3, seed=1)), normal(4, 3, seed=2)
    k = np.arange(32) % 4
    first = H100.matmul(a[:, k < 2], b[k < 2], instruction=F16)
    second = H100.matmul(a[:, k >= 2], b[k >= 2], first, instruction=F16)
    assert_bit_exact(H100.matmul(a, b, c, instruction="mma.e4m3.f32"), c + second)


@pytest.mark.parametrize("nan", [0xFFF8000000000000, 0x7FF8000000000001])
def test_a_double_nan_has_the_code_of_the_file(nan: int) -> None:
    unit = one_instruction("m.f64.f64", f"{{dot: {{sum: chain}}, special: {{nan: {nan:#x}}}}}")
    one = np.ones((1, 1))
    assert unit.matmul(one * np.nan, one, instruction="m.f64.f64").view(np.uint64) == nan


# --- conversions -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("nan", ["", ", nan: 0x7f"])
def test_conversions_round_stochastically_by_a_seed(nan: str) -> None:
    entry = f"{{format: float8_e4m3fn, encode: {{rounding: stochastic_a}}{nan}}}"
    unit = sqs.parse_accelerator(f"name: one\nconversions: {{cvt.rs: {entry}}}\n")
    x = np.full(64, 1.0625, np.float32)
    codes = unit.convert(x, "cvt.rs", seed=7)
    assert set(codes.tolist()) == {0x38, 0x39}
    assert_bit_exact(codes, unit.convert(x, "cvt.rs", seed=7))
    assert_bit_exact(codes, sqs.Codec(unit.conversions["cvt.rs"].format).encode(x, seed=7))
    assert_bit_exact(codes[9:], unit.convert(x[9:], "cvt.rs", seed=7, offset=9))


def test_conversions_give_codes() -> None:
    x = np.array([1.0, 1000.0, -np.inf, np.nan, -np.nan], np.float32)
    codes = H100.convert(x, "cvt.rn.satfinite.e4m3x2.f32")
    assert codes.tolist() == [0x38, 0x7E, 0xFE, 0x7F, 0x7F]
    assert B200.convert(x, "cvt.rn.satfinite.e2m1x2.f32").tolist() == [2, 7, 15, 7, 7]
    assert H100.convert(x[3:], "cvt.rn.bf16.f32").tolist() == [0x7FFF, 0x7FFF]
    tie = np.array([1 + 2.0**-11, 1 + 3 * 2.0**-11], np.float32)
    modes = [H100.convert(tie, f"cvt.{mode}.tf32.f32") & 3 for mode in ("rna", "rn", "rz")]
    assert [each.tolist() for each in modes] == [[1, 2], [0, 2], [0, 1]]
    tensor = H100.convert(torch.from_numpy(x), "cvt.rn.satfinite.e4m3x2.f32")
    assert isinstance(tensor, torch.Tensor)
    assert_bit_exact(tensor, codes)
    with pytest.raises(LookupError, match="did you mean 'cvt.rn.satfinite.e4m3x2.f32'"):
        H100.convert(x, "cvt.rn.satfinite.e4m3.f32")


# --- wrong uses --------------------------------------------------------------------------------------------------


def test_shapes_that_do_not_fit_are_told() -> None:
    with pytest.raises(ValueError, match=r"a has shape \(2, 3\) and b \(4, 5\)"):
        H100.matmul(normal(2, 3), normal(4, 5), instruction=F16)
    with pytest.raises(ValueError, match="leading axes that broadcast"):
        H100.matmul(normal(2, 4, 3), normal(3, 3, 5), instruction=F16)
    with pytest.raises(ValueError, match=r"a has shape \(3,\)"):
        H100.matmul(normal(3), normal(3, 5), instruction=F16)
    with pytest.raises(ValueError, match="c has shape"):
        H100.matmul(normal(2, 3), normal(3, 5), normal(4), instruction=F16)


def test_wrong_dtypes_are_told() -> None:
    x = normal(2, 2)
    with pytest.raises(TypeError, match="a is int8; allowed: floats, or codes of float16 as uint16"):
        H100.matmul(x.astype(np.int8), x, instruction=F16)
    with pytest.raises(TypeError, match="a is uint8; allowed: codes of float16 as uint16"):
        H100.matmul(x.astype(np.uint8), x, instruction=F16)
    with pytest.raises(TypeError, match="a is of type list"):
        H100.matmul([[1.0]], x, instruction=F16)
    with pytest.raises(ValueError, match="a holds -300 to 1; allowed in int8: -128 to 127"):
        H100.matmul(np.array([[1, -300]]), np.ones((2, 1), np.int8), instruction="mma.s8.s32", a_format="int8")
    for dtype in ("complex64", "bool"):
        with pytest.raises(TypeError, match=f"b is {dtype}; allowed: an array of float16"):
            H100.matmul(x, x.astype(dtype), instruction=F16)
    with pytest.raises(TypeError, match="c is float32; allowed: int8, uint8, int16, .*, uint64"):
        H100.matmul(x.astype(np.int8), x.astype(np.int8), x, instruction="mma.s8.s32", a_format="int8", b_format="int8")
    told = "a is complex64; allowed: float64, float32, float16, integers, or codes as uint64"
    with pytest.raises(TypeError, match=told):
        H100.matmul(x.astype(np.complex64), x, instruction="mma.f64.f64")


def test_integers_wrap_or_are_clamped() -> None:
    a = np.full((1, 1 << 18), 127, np.int8)
    exact = 127 * 127 * (1 << 18)
    wrapped = (exact + (1 << 31)) % (1 << 32) - (1 << 31)
    assert H100.matmul(a, a.T, instruction="mma.s8.s32")[0, 0] == wrapped
    assert H100.matmul(a, a.T, instruction="mma_satfinite.s8.s32")[0, 0] == (1 << 31) - 1


@pytest.mark.parametrize("step", ["", ", step: 2"])
def test_integers_are_clamped_after_each_instruction(step: str) -> None:
    """D of an instruction's run is C of its next, whether or not its step is written."""
    text = f"{{operands: {{shape: [M, N, 2]}}, dot: {{sum: integer{step}}}, special: {{overflow: saturate}}}}"
    a, ones = np.array([[100, 100, -100, -50]], np.int8), np.ones((4, 1), np.int8)
    assert one_instruction("mma.int8.int8", text).matmul(a, ones, instruction="mma.int8.int8") == 127 - 150


WIDE = "{kind: float, exponent_bits: 11, mantissa_bits: 20, nan: ieee, inf: ieee}"
BEYOND = {
    "mma.wide.float32": ("{dot: {sum: exact}}", "wide has values that float32 does not hold"),
    "mma.float32.wide": ("{dot: {sum: exact}}", "wide has values that float32 does not hold"),
    "mma.u32.int32": ("{dot: {sum: integer}}", "u32 has 0 to 4294967295; allowed: what int32 holds"),
    "mma.int8.uint8": ("{dot: {sum: integer}}", "D is unsigned; allowed: twos_complement"),
    "mma.int32.int32": (
        "{dot: {sum: integer, step: 2}, special: {overflow: saturate}}",
        "steps of 2 products of 32 and 32 bits saturate; allowed: sums that int64 holds",
    ),
}


@pytest.mark.parametrize("name", BEYOND)
def test_what_kernels_do_not_hold_is_refused(name: str, tmp_path: Path) -> None:
    (tmp_path / "wide.yaml").write_text(f"name: wide\nelement: {WIDE}\nencode: {{overflow: inf}}\n")
    (tmp_path / "u32.yaml").write_text("name: u32\nelement: {kind: int, bits: 32, encoding: unsigned}\n")
    text, told = BEYOND[name]
    with pytest.raises(sqs.UnsupportedError, match=rf"^<string>: {name} \(evidence: guess\): {told}"):
        one_instruction(name, text, (tmp_path,))


@pytest.mark.parametrize("sum_", ["exact", "chain"])
def test_a_sum_without_c_goes_on_from_nothing(sum_: str) -> None:
    operands = "{a: float16, b: float16, c: float32, d: float32, shape: [M, N, 8]}"
    unit = one_instruction("f16.f32", f"{{operands: {operands}, dot: {{sum: {sum_}, c: none}}}}")
    ones = np.ones((1, 9), np.float32)
    assert unit.matmul(ones[:, :8], ones.T[:8], instruction="f16.f32") == 8
    with pytest.raises(sqs.UnsupportedError, match=r"K is 9, and it takes 8 products and no C .*promote_every=8"):
        unit.matmul(ones, ones.T, instruction="f16.f32")
    for plan in ({"promote_every": 8}, {"split_k": 2}, {"k_slab": 16, "promote_every": 8}):
        assert unit.matmul(ones, ones.T, instruction="f16.f32", plan=plan) == 9
    long = {"promote_every": 16}
    assert unit.matmul(ones[:, :8], ones.T[:8], instruction="f16.f32", plan=long) == 8
    with pytest.raises(sqs.UnsupportedError, match="K is 9, and it takes 8 products"):
        unit.matmul(ones, ones.T, instruction="f16.f32", plan=long)


def test_a_plan_that_names_no_instruction_is_one_for_those_that_take_it() -> None:
    half = "{operands: {shape: [16, 8, 8]}, dot: {sum: exact, c: none}}"
    start, end = f"name: two\ninstructions:\n  half.f16.f32: {half}\n", "gemm: {promote_every: 64}\n"
    unit = sqs.parse_accelerator(f"{start}  m.f16.f32: {{dot: {{sum: exact}}}}\n{end}")
    ones = np.ones((1, 70), np.float32)
    assert unit.matmul(ones, ones.T, instruction="m.f16.f32") == 70
    with pytest.raises(sqs.SpecError, match="half.f16.f32: promote_every is 64, and it takes 8 products"):
        sqs.parse_accelerator(start + end)


# --- for users' tests --------------------------------------------------------------------------------------------


def test_assert_matmul_bits() -> None:
    a, b = normal(3, 32), normal(32, 2, seed=1)
    d = H100.matmul(a, b, instruction=FP8)
    assert_matmul_bits(d, a, b, accelerator="nvidia_h100", instruction=FP8)
    assert_matmul_bits(torch.from_numpy(d), a, b, accelerator=H100, instruction=FP8)
    with pytest.raises(AssertionError, match="of 6 elements differ"):
        assert_matmul_bits(a @ b, a, b, accelerator="nvidia_h100", instruction=FP8)


def test_assert_matmul_bits_takes_scales_and_the_plan_s_instruction() -> None:
    codec = sqs.Codec(sqs.load_format("nvfp4"))
    a, b = codec.quantize(normal(3, 32)), codec.quantize(normal(32, 2, seed=1), axis=0)
    how = {"accelerator": B200, "plan": {"instruction": "mxf4nvf4.e2m1.f32"}, "a_format": "e2m1", "b_format": "e2m1"}
    scales = {"a_scale": a.scales[-1], "b_scale": b.scales[-1]}
    d = B200.matmul(a.codes, b.codes, instruction="mxf4nvf4.e2m1.f32", a_format="e2m1", b_format="e2m1", **scales)
    assert_matmul_bits(d, a.codes, b.codes, **how, **scales)
    with pytest.raises(AssertionError, match="of 6 elements differ"):
        assert_matmul_bits(d, a.codes, b.codes, **how)


def test_assert_matmul_bits_takes_all_that_matmul_takes() -> None:
    ours, theirs = (set(inspect.signature(each).parameters) for each in (assert_matmul_bits, sqs.Accelerator.matmul))
    assert ours - {"actual", "accelerator"} == theirs - {"self"}


# --- long products -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("device", "instruction"), [("h100", FP8), ("mi250x", "mfma.f16.f32"), ("mi100", "mfma.f16.f32")]
)
def test_a_long_k_is_one_chain_of_instructions(device: str, instruction: str) -> None:
    unit = sqs.load_accelerator(device)
    a, b = normal(2, 20_000), normal(20_000, 3, seed=1)
    halves = unit.matmul(a[:, :9_600], b[:9_600], instruction=instruction)
    halves = unit.matmul(a[:, 9_600:], b[9_600:], halves, instruction=instruction)
    assert_bit_exact(unit.matmul(a, b, instruction=instruction), halves)


def test_an_instruction_in_the_place_of_c_is_told() -> None:
    told = re.escape("c is 'mma.f16.f32'; allowed: an array; an instruction is named by instruction='mma.f16.f32'")
    with pytest.raises(TypeError, match=told):
        sqs.load_accelerator("nvidia_h100").matmul(np.ones((1, 16)), np.ones((16, 1)), "mma.f16.f32")
