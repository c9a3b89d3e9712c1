"""Block formats in C and SystemVerilog: as `Codec` has them, for every format of the catalog without `rule: mse`."""

from __future__ import annotations

import math
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from block_strategies import RULES, arrays, block_mappings, needs_scale
from checking import FIRST
from exported_blocks import BlockInSystemVerilog, MatricesInC, in_one_vector, joined, stored_in
from hypothesis import Phase, assume, given, settings
from hypothesis import strategies as st
from strategies import to_yaml

import statqat_sim as sqs
from statqat_sim.errors import UnsupportedError
from statqat_sim.export import to_c, to_systemverilog
from statqat_sim.export.arithmetic import FLOAT_OPERATIONS, arithmetic
from statqat_sim.export.blocks import blocks_of
from statqat_sim.export.functions import Function
from statqat_sim.export.powers import gives_powers, powers
from statqat_sim.export.simplify import simplified
from statqat_sim.geometry import block_sizes
from statqat_sim.plan.builder import Builder
from statqat_sim.plan.program import Storage
from statqat_sim.plan.step import Op
from statqat_sim.reference.interpret import interpret
from statqat_sim.spec.block import BlockFormat
from statqat_sim.spec.catalog import formats, load_format, parse_format
from statqat_sim.spec.scale import Rule
from statqat_sim.testing import assert_bit_exact

EXPORTED = [
    format
    for format in map(load_format, formats(kind="block"))
    if isinstance(format, BlockFormat) and all(level.rule is not Rule.MSE for level in format.scales)
]
SHAPES = [(3, 512), (2, 300), (5, 7), (1, 1), (130, 140), (3, 0), (0, 5)]
CHUNK = 18


def needs(program: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(shutil.which(program) is None, reason=f"{program} is not installed")


def matrix(rng: np.random.Generator, shape: tuple[int, int]) -> Any:
    """Rows of any bits at all, of few numbers and zeros, of subnormal numbers; numbers of many binades."""
    x = (rng.standard_normal(shape) * 2.0 ** rng.normal(0, 4, shape)).astype(np.float32)
    x[1::3] = rng.integers(-3, 4, x[1::3].shape)  # which of the largest comes first decides on the sign of some scales
    x[1::3, : shape[1] // 3] = 0
    x[2::3] *= np.float32(2.0**-130)
    x[:1] = rng.integers(0, 1 << 32, x[:1].shape, dtype=np.uint32).view(np.float32)
    return x


def check_in_c(compiled: MatricesInC, format: BlockFormat, x: Any, scale: float | None = None) -> None:
    """Codes, scales and values of a matrix are those of the codec; the interpreter's, as it compiles nothing."""
    codec = sqs.Codec(format, "reference")
    q = codec.quantize(x, scale=scale)
    inputs = [] if scale is None else [np.full(q.scales[0].shape, scale, np.float32)]
    for found, wanted in zip(compiled.quantize(q, x, *inputs), stored_in(q), strict=True):
        assert_bit_exact(found, wanted)
    assert_bit_exact(compiled.dequantize(q), codec.dequantize(q))


# --- arithmetic --------------------------------------------------------------------------------------------------

NUMPY = {Op.FADD: np.add, Op.FSUB: np.subtract, Op.FMUL: np.multiply, Op.FDIV: np.divide}
CORNERS = np.array(
    [0, 1, 2, 0x7FFFFF, 0x800000, 0x800001, 0x400000, 0x3F800000, 0x3F800001, 0x3FFFFFFF, 0x7F7FFFFF, 0x7F800000]
    + [0x7F800001, 0x7FC00000, 0x7FFFFFFF, 0xFFFFFF, 0x1000000, 0x34000000, 0x33FFFFFF, 0x7F000000, 0x4B000000],
    np.uint32,
)


def operands(rng: np.random.Generator, count: int) -> tuple[Any, Any]:
    """Corners with corners, any bits, exponents close to each other and far, short significands, subnormal numbers."""
    corners = np.concatenate([CORNERS, CORNERS | np.uint32(1 << 31)])
    exponents = rng.integers(0, 256, (5, count))
    others = [
        exponents[0],
        exponents[0] + rng.integers(-30, 31, count),
        254 - exponents[2] + rng.integers(-30, 31, count),
    ]
    others += [exponents[3] - 127 + rng.integers(-30, 31, count), np.zeros(count)]
    kept = 0x7FFFFF << rng.integers(0, 24, (2, 5, count))
    fractions = rng.integers(0, 1 << 23, (2, 5, count)) & kept
    signs = rng.integers(0, 2, (2, 5, count)) << 31
    fields = np.stack([exponents, np.clip(others, 0, 255)]).astype(np.int64) << 23
    drawn = (signs | fields | fractions).astype(np.uint32).reshape(2, -1)
    a, b = np.concatenate([drawn, drawn[::-1]], axis=1)
    first, second = (grid.reshape(-1) for grid in np.meshgrid(corners, corners))
    return np.concatenate([first, a]), np.concatenate([second, b])


@pytest.mark.parametrize("op", FLOAT_OPERATIONS)
def test_floats_are_added_multiplied_and_divided_by_integers(op: Op) -> None:
    a, b = operands(np.random.default_rng(0), 40_000)
    general, with_power = FLOAT_OPERATIONS[op]
    with np.errstate(all="ignore"):
        wanted = NUMPY[op](a.view(np.float32), b.view(np.float32)).view(np.uint32)
    for plan in (arithmetic(general), simplified(arithmetic(general))):
        assert_bit_exact(interpret(plan, [a, b]), wanted)
    if with_power is not general:
        of_powers = np.concatenate([np.arange(256) << 23, 1 << np.arange(23), [0x7FC00000, 0x7F800001]])
        power = np.random.default_rng(1).choice(of_powers, len(a)).astype(np.uint32) | b & np.uint32(1 << 31)
        with np.errstate(all="ignore"):
            wanted = NUMPY[op](a.view(np.float32), power.view(np.float32)).view(np.uint32)
        assert_bit_exact(interpret(simplified(arithmetic(with_power)), [a, power]), wanted)


def test_powers_of_two_are_recognised() -> None:
    builder = Builder()
    scale, code, x = (builder.input(name, Storage.UINT32) for name in ("scale", "code", "x"))
    yes = [scale, code << 23, builder.const(1) << (code & 31), scale.fmul(scale), scale.fdiv(builder.const(0x3F800000))]
    yes += [x.lt(7).where(scale, 0x7FC00000), scale & 0x7FFFFFFF, scale ^ 0x80000000, builder.const(0x400000)]
    no = [x, x & 0x7FFFFFFF, scale.fmul(x), scale.fadd(scale), code << 22, builder.const(0x3FC00000), scale | x]
    no += [x.lt(7).where(scale, x), scale & 0x3F8FFFFF, scale >> 1, builder.const(0x600000)]
    plan = builder.finish((*yes, *no), Storage.UINT32)
    found = powers(plan, {"scale"})
    assert [found[output] for output in plan.shape.outputs] == [True] * len(yes) + [False] * len(no)


def test_decoders_of_powers_of_two_are_recognised_by_trying_all_codes() -> None:
    of_powers, others = ("mxfp4", "mx9"), ("nvfp4_2d", "fp8_block128_deepseek", "gguf_q8_0", "gguf_nvfp4")
    for name, gives in (*((each, True) for each in of_powers), *((each, False) for each in others)):
        (_, function), *_ = blocks_of(load_format(name)).decoding.words  # type: ignore[arg-type]
        assert gives_powers(function.plan, frozenset()) == gives


@pytest.mark.parametrize("name", ["mxfp4", "mxfp8_e5m2.even", "mxint8.rceil", "mx6", "bfp16_amd", "msfp12"])
def test_scales_that_are_powers_of_two_need_no_multiplier(name: str) -> None:
    text = to_systemverilog(load_format(name))
    assert "multiply_by_power" in text
    assert " * " not in text.split("typedef")[0].replace("// a * b", "")


# --- C -----------------------------------------------------------------------------------------------------------


@needs("gcc")
@pytest.mark.parametrize(
    ("scale", "stored"), [("float32", 0x7FC00000), ("float8_e4m3fn", 0x7F), ("float6_e3m2fn", 0x1F)]
)
def test_a_given_nan_is_encoded_as_the_text_says(scale: str, stored: int, tmp_path: Path) -> None:
    format = parse_format(f"{{name: given, element: int4, scales: [{{format: {scale}, block: 2, rule: given}}]}}")
    assert "Given scales are not checked" in to_c(format)
    assert "Given scales are not checked" in to_systemverilog(format)
    x = np.float32([[3, 3, 3, 3]])
    q = sqs.Codec(format, "reference").quantize(x, scale=1)
    codes, scales = MatricesInC.compiled([format], tmp_path).quantize(q, x, np.float32([[np.nan, 1]]))
    assert codes.tolist() == [[0, 0, 3, 3]]
    assert scales.reshape(-1).view(np.uint32 if scale == "float32" else np.uint8)[0] == stored


@needs("gcc")
@pytest.mark.parametrize("first", range(0, len(EXPORTED), CHUNK))
def test_every_format_in_c(first: int, tmp_path: Path) -> None:
    chosen = EXPORTED[first : first + CHUNK]
    compiled, rng = MatricesInC.compiled(chosen, tmp_path), np.random.default_rng(first)
    for format in chosen:
        for shape in SHAPES:
            check_in_c(compiled, format, matrix(rng, shape))


@needs("gcc")
@settings(max_examples=12, phases=[Phase.explicit, Phase.reuse, Phase.generate])  # compilers take too long to shrink
@given(data=st.data())
def test_random_formats_in_c(data: Any, tmp_path_factory: pytest.TempPathFactory) -> None:
    specs = data.draw(st.lists(block_mappings(rules=[rule for rule in RULES if rule != "mse"]), min_size=3, max_size=3))
    named = [{**spec, "name": f"random{place}"} for place, spec in enumerate(specs)]
    chosen = [parse_format(to_yaml(spec)) for spec in named]
    compiled = MatricesInC.compiled(chosen, tmp_path_factory.mktemp("c"))
    for spec, format in zip(specs, chosen, strict=True):
        x = data.draw(arrays(min_dims=1))
        scale = data.draw(st.sampled_from([1.0, 0.1, 2.0**-20, 1e30, 0.0])) if needs_scale(spec) else None
        check_in_c(compiled, format, x.reshape(-1, x.shape[-1]) if x.size else x[..., :0].reshape(0, 0), scale)


@needs("gcc")
def test_codes_that_nothing_reads(tmp_path: Path) -> None:
    constant = "{kind: codebook, bits: 1, values: [1.0, 1.0]}"
    format = parse_format(f"{{name: one, element: {constant}, scales: [{{format: float16, block: 4}}]}}")
    check_in_c(MatricesInC.compiled([format], tmp_path), format, matrix(np.random.default_rng(0), (3, 9)))


THREE_LEVELS = """
name: three_levels
element: float4_e2m1fn
scales:
  - {format: float32, block: tensor}
  - {format: float8_e4m3fn, block: 16}
  - {format: uint1, block: 4, rule: floor, combine: exponent_subtract}
"""
"""The second level compares other keys than the first and the third."""


@needs("gcc")
def test_levels_share_equal_keys_alone(tmp_path: Path) -> None:
    format = parse_format(THREE_LEVELS)
    check_in_c(MatricesInC.compiled([format], tmp_path), format, matrix(np.random.default_rng(0), (3, 40)))
    assert [function.name for function in blocks_of(format).all if "key" in function.name] == ["amax_key", "amax_key1"]


@needs("gcc")
@pytest.mark.parametrize("name", ["rows", "columns", "rows.x", "columns_16", "x", "codes", "verilator"])
def test_names_of_formats_are_no_variables(name: str, tmp_path: Path) -> None:
    format = parse_format(f"{{name: {name}, element: int4, scales: [{{format: float8_e8m0fnu, block: 16}}]}}")
    check_in_c(MatricesInC.compiled([format], tmp_path), format, matrix(np.random.default_rng(0), (3, 40)))
    BlockInSystemVerilog.read(format)


@needs("gcc")
def test_stochastic_rounding_takes_random_bits(tmp_path: Path) -> None:
    format = parse_format("{name: drawn, extends: nvfp4, encode: {rounding: stochastic_b, random_bits: 12}}")
    compiled, x = MatricesInC.compiled([format], tmp_path), matrix(np.random.default_rng(0), (6, 80))
    q = sqs.Codec(format).quantize(x, seed=FIRST.seed)
    random = np.array(FIRST.fields(x.size, 16), np.uint16)
    for found, wanted in zip(compiled.quantize(q, x, random), stored_in(q), strict=True):
        assert_bit_exact(found, wanted)


@needs("gcc")
def test_a_program_of_its_own_quantizes(tmp_path: Path) -> None:
    """In C, and in C++; a header may be read twice."""
    (tmp_path / "mxfp4.h").write_text(to_c(load_format("mxfp4")), "utf-8")
    main = """#include <stdio.h>
    #include "mxfp4.h"
    #include "mxfp4.h"
    int main(void)
    {
        float x[2][40], y[2][40];
        uint8_t codes[2][40], scale[2][2];
        for (int i = 0; i < 80; i++) x[i / 40][i % 40] = (float)(i - 30) / 8;
        mxfp4_quantize(2, 40, &x[0][0], &codes[0][0], &scale[0][0]);
        mxfp4_dequantize(2, 40, &codes[0][0], &scale[0][0], &y[0][0]);
        for (int i = 0; i < 80; i++) printf("%a\\n", (double)y[i / 40][i % 40]);
        return 0;
    }
    """
    (tmp_path / "main.c").write_text(main, "utf-8")
    x = ((np.arange(80, dtype=np.float32) - 30) / 8).reshape(2, 40)
    wanted = sqs.Codec(load_format("mxfp4")).fake_quantize(x).reshape(-1).tolist()
    for compiler in (["gcc", "-std=c99"], ["g++", "-std=c++11"]):
        if shutil.which(compiler[0]) is not None:
            flags = ["-Wall", "-Wextra", "-Wpedantic", "-Wconversion", "-Wshadow", "-Werror", "-O2"]
            subprocess.run([*compiler, *flags, "main.c", "-o", "main"], cwd=tmp_path, check=True)
            printed = subprocess.run([tmp_path / "main"], capture_output=True, text=True, check=True).stdout
            assert [float.fromhex(line) for line in printed.splitlines()] == wanted


# --- SystemVerilog -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("format", EXPORTED, ids=lambda format: format.name)
def test_every_format_in_systemverilog(format: BlockFormat) -> None:
    """One block at a time; scales of the whole tensor are those of the block."""
    blocks, rng = blocks_of(format), np.random.default_rng(0)
    sizes = [block_sizes(level.block, along_rows=True) for level in blocks.levels if level.block != "tensor"]
    rows, columns = (math.lcm(*each) for each in zip(*sizes, strict=True))
    if rows * columns > 2048 or blocks.levels[-1].block == "channel":
        assert format.name.startswith(("fp8_block128x128_deepseek", "int8_channel"))
        assert " quantize(" not in to_systemverilog(format)
        return
    for row in matrix(rng, (3, rows * columns)):
        check_in_systemverilog(format, row.reshape(rows, columns))


def check_in_systemverilog(format: BlockFormat, x: Any, *inputs: tuple[int, int], **how: Any) -> None:
    package, codec = BlockInSystemVerilog.read(format), sqs.Codec(format, "reference")  # slang counts a session's steps
    q = codec.quantize(x, **how)
    codes, *stored = stored_in(q)
    outer = [one.block in ("tensor", "channel") for one in package.blocks.stored]
    words = outer_words(package, x, *inputs)
    inner = [
        in_one_vector(array, one.storage.bits)
        for array, one, is_outer in zip(stored, package.blocks.stored, outer, strict=True)
        if not is_outer
    ]
    block = joined([in_one_vector(codes, format.element.bits), *inner])
    assert package.call("quantize", in_one_vector(x.view(np.uint32), 32), *inputs, *words) == block[0]
    whole = [
        in_one_vector(array, array.itemsize * 8) for array, is_outer in zip(stored, outer, strict=True) if is_outer
    ]
    values = in_one_vector(codec.dequantize(q).view(np.uint32), 32)[0]
    assert package.call("dequantize", block, *whole) == values


def outer_words(package: BlockInSystemVerilog, x: Any, *given: tuple[int, int]) -> list[tuple[int, int]]:
    """The words of tensors and channels that `quantize` takes, of elements that are all in one of either."""
    known: dict[str, int] = {"given": given[0][0]} if given else {}
    for level in package.blocks.levels:
        if level.block in ("tensor", "channel"):
            for maximum in level.maxima:
                keys = (package.call(maximum.key.name, (int(word), 32)) for word in x.view(np.uint32).reshape(-1))
                known[maximum.name] = max(keys, default=0)
            known |= {name: called(package, function, known) for name, function in level.words}
    read = sorted(
        package.blocks.read & known.keys() - {"given", *(m.name for lv in package.blocks.levels for m in lv.maxima)}
    )
    return [(known[name], 32) for name in read]


def called(package: BlockInSystemVerilog, function: Function, known: Mapping[str, int]) -> int:
    return package.call(function.name, *((known[each.name], each.storage.bits) for each in function.arguments))


@settings(max_examples=25, phases=[Phase.explicit, Phase.reuse, Phase.generate])
@given(data=st.data())
def test_random_formats_in_systemverilog(data: Any) -> None:
    spec = data.draw(block_mappings(rules=[rule for rule in RULES if rule not in ("mse", "given", "signed_absmax")]))
    format = parse_format(to_yaml(spec))
    blocks = blocks_of(format)
    sizes = [block_sizes(level.block, along_rows=True) for level in blocks.levels]
    sized = [size for size in sizes if 0 not in size]
    assume(sizes[-1] in sized)
    rows, columns = (math.lcm(*each) for each in zip(*sized, strict=True))
    assume(rows * columns <= 64)
    check_in_systemverilog(format, matrix(np.random.default_rng(data.draw(st.integers(0, 99))), (rows, columns)))


def test_random_bits_and_given_scales_in_systemverilog() -> None:
    rng = np.random.default_rng(0)
    format = parse_format("{name: drawn, extends: mxfp4, encode: {rounding: stochastic_a, random_bits: 12}}")
    assert "of which the top 12 are used" in to_systemverilog(format)
    check_in_systemverilog(
        format, matrix(rng, (1, 32)), in_one_vector(np.array(FIRST.fields(32, 16)), 16), seed=FIRST.seed
    )
    format = parse_format("{name: given, element: int4, scales: [{format: float32, block: 8, rule: given}]}")
    scale = np.float32([[0.75]])
    check_in_systemverilog(format, matrix(rng, (1, 8)), in_one_vector(scale.view(np.uint32), 32), scale=scale)


@pytest.mark.parametrize(
    "scales",
    ["{format: float32, block: channel}", "{format: float32, block: tensor}", "{format: float32, block: 2048}"]
    + ["{format: float32, block: 1024}, {format: float32, block: 1}"],
)
def test_blocks_without_a_size_and_large_ones_have_functions_of_words_alone(scales: str) -> None:
    text = to_systemverilog(parse_format(f"{{name: words, element: float32, scales: [{scales}]}}"))
    assert "function automatic logic [31:0] encode(" in text
    assert "block_t" not in text
    assert " quantize(" not in text


@pytest.mark.parametrize("name", ["mxfp4", "nvfp4", "nvfp4_2d", "gguf_q4_0", "gguf_q4_k", "mx9", "hif4"])
def test_slang_finds_nothing_to_say(name: str) -> None:
    from pyslang.ast import Compilation
    from pyslang.syntax import SyntaxTree

    compilation = Compilation()
    compilation.addSyntaxTree(SyntaxTree.fromText(to_systemverilog(load_format(name))))
    assert not [str(each.code) for each in compilation.getAllDiagnostics()]


@needs("verilator")
@pytest.mark.parametrize("name", ["mxfp4", "nvfp4", "gguf_q4_0", "gguf_q4_k", "mx9"])
def test_verilator_finds_nothing_but_unused_bits(name: str, tmp_path: Path) -> None:
    file = tmp_path / f"{name}_pkg.sv"
    file.write_text(to_systemverilog(load_format(name)), "utf-8")
    subprocess.run(["verilator", "--lint-only", "-Wall", "-Wno-UNUSEDSIGNAL", str(file)], check=True)


@needs("yosys")
def test_yosys_makes_gates_of_a_block(tmp_path: Path) -> None:
    format = parse_format(
        "{name: small, element: float4_e2m1fn, scales: [{format: float8_e8m0fnu, block: 4, rule: floor}]}"
    )
    top = """
module top(input logic [127:0] x, output logic [23:0] q, output logic [127:0] y);
  assign q = small_pkg::quantize(x);
  assign y = small_pkg::dequantize(q);
endmodule
"""
    (tmp_path / "block.sv").write_text(to_systemverilog(format) + top, "utf-8")
    script = (
        "read_verilog -sv block.sv; hierarchy -top top; proc; opt; select -assert-none t:$mul t:$div t:$dff t:$dlatch"
    )
    subprocess.run(["yosys", "-q", "-p", script], cwd=tmp_path, check=True)


# --- errors ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("export", [to_c, to_systemverilog])
def test_what_cannot_be_exported_is_told(export: Any) -> None:
    with pytest.raises(UnsupportedError, match=r"mxfp4\.mse compares errors \(rule: mse\), which is not exported"):
        export(load_format("mxfp4.mse"))
    with pytest.raises(
        ValueError, match=r"floats: mxfp4, a block format, reads float32, not bfloat16; allowed: float32"
    ):
        export(load_format("mxfp4"), floats=["bfloat16"])
    careful = parse_format("{name: careful, extends: mxfp8_e4m3, encode: {nan_input: error}}")
    with pytest.raises(UnsupportedError, match=r"careful refuses NaN \(nan_input: error\)"):
        export(careful)
