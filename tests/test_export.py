"""Number formats in C and SystemVerilog: as Python's interpreter of plans has them, for every format of the catalog."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from checking import FIRST
from command import commands, told
from exported import FLOATS, InC, InSystemVerilog
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from inputs import Words, around, random_bits, some_codes, specs
from programs import FEW, in_python, programs
from strategies import ROUNDINGS, STOCHASTIC

import statqat_sim as sqs
from statqat_sim.errors import UnsupportedError
from statqat_sim.export import to_c, to_systemverilog
from statqat_sim.export.functions import Function, functions
from statqat_sim.export.simplify import simplified
from statqat_sim.plan.builder import Builder
from statqat_sim.plan.lower import Purpose, lower
from statqat_sim.plan.program import CodecPlan, Storage
from statqat_sim.plan.step import Op, Step
from statqat_sim.reference.interpret import interpret
from statqat_sim.spec.catalog import formats, load_format, parse_format
from statqat_sim.spec.encode import NanInput
from statqat_sim.spec.number import NumberFormat
from statqat_sim.testing import assert_bit_exact

NUMBERS = [format for format in map(load_format, formats(kind="number")) if isinstance(format, NumberFormat)]
DRAWN = [
    parse_format(f"{{name: drawn{bits}, extends: {name}, encode: {{rounding: {mode}, random_bits: {bits}}}}}")
    for name, mode, bits in (
        ("float8_e4m3fn", "stochastic_a", 8),
        ("int8", "stochastic_b", 12),
        ("bfloat16", "stochastic_c", 32),
    )
]
EXPORTED = [*DRAWN, *(format for format in NUMBERS if format.encode.nan_input is not NanInput.ERROR)]
CHUNK = 16
MOST_BITS = 10
"""Longer lists of values take slang, which looks through them one by one, too long."""

needs_gcc = pytest.mark.skipif(shutil.which("gcc") is None, reason="gcc is not installed")


def needs(program: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(shutil.which(program) is None, reason=f"{program} is not installed")


def streams_of(format: NumberFormat, function: Function, most: int) -> list[Words]:
    """Inputs of a function: what lies around values, or codes; and random bits."""
    if not function.encodes:
        return [some_codes(format, 1 << 16)]
    floats = function.floats.value
    x = np.concatenate([around(format, floats, most), random_bits(10 * most, 1, floats)])
    return [x, *fields_of(function, len(x))]


def fields_of(function: Function, count: int) -> list[Words]:
    """The random bits that a function takes."""
    return [np.array(FIRST.fields(count, each.storage.bits), np.uint32) for each in function.arguments[1:]]


def on_words(plan: CodecPlan, *streams: Words) -> Words:
    """The interpreter's results, of 64 bits where they have two words."""
    words = [stream.astype(np.uint64 if stream.itemsize == 8 else np.uint32) for stream in streams]
    result = interpret(plan, words)
    return result.view("<u8")[..., 0] if result.ndim > 1 else result


def expected(format: NumberFormat, function: Function, *streams: Words) -> Words:
    """By the lowering that codecs use."""
    purpose = Purpose.ENCODE if function.encodes else Purpose.DECODE
    return on_words(lower(format, purpose, floats=function.floats), *streams)


# --- plans in fewer steps ----------------------------------------------------------------------------------------


@settings(max_examples=300)
@given(plan=programs())
def test_fewer_steps_compute_the_same(plan: CodecPlan | None) -> None:
    assume(plan is not None)
    shorter = simplified(plan)
    assert len(shorter.shape.steps) <= len(plan.shape.steps)
    x = np.minimum(FEW, np.uint32((1 << plan.shape.streams[0].storage.bits) - 1))
    assert interpret(shorter, [x]).tolist() == [in_python(plan, word)[-1] for word in x.tolist()], str(plan)


@settings(max_examples=100)
@given(text=specs(roundings=[*ROUNDINGS, *STOCHASTIC]), floats=st.sampled_from(FLOATS), seed=st.integers(0, 2**32 - 1))
def test_what_is_exported_of_random_specs(text: str, floats: str, seed: int) -> None:
    format = parse_format(text)
    assume(format.encode.nan_input is not NanInput.ERROR)
    for function in functions(format, [floats]):
        x = around(format, floats, 12, seed) if function.encodes else some_codes(format, 1 << 12)
        streams = [x, *fields_of(function, len(x))]
        wrong = np.flatnonzero(on_words(function.plan, *streams) != expected(format, function, *streams))
        assert not len(wrong), [hex(word) for word in x[wrong[:5]]]


def test_superfluous_steps_are_left_out() -> None:
    builder = Builder()
    byte = builder.input("x", Storage.UINT8)
    same = ((byte & 0xFF) + 0).max(0).min(255) >> builder.param("no shift", 0)
    always = byte.lt(256).where(same ^ 0, 7) | builder.const(0)
    never = byte.eq(300).where(9, byte.lt(1).where(1, 0))
    left = simplified(builder.finish((always, never), Storage.UINT32)).shape
    assert left.steps == (Step(Op.INPUT), Step(Op.CONST, value=1), Step(Op.LT, (0, 1)))
    assert left.outputs == (0, 2)


# --- C -----------------------------------------------------------------------------------------------------------


@needs_gcc
@pytest.mark.parametrize("first", range(0, len(EXPORTED), CHUNK))
def test_every_format_in_c(first: int, tmp_path: Path) -> None:
    chosen = EXPORTED[first : first + CHUNK]
    compiled = InC.compiled(chosen, tmp_path)
    for format in chosen:
        for function in functions(format, FLOATS):
            streams = streams_of(format, function, 200)
            found = compiled.run(format, function, *streams)
            wrong = np.flatnonzero(found != expected(format, function, *streams))
            assert not len(wrong), (format.name, function.name, [hex(word) for word in streams[0][wrong[:5]]])


@needs_gcc
def test_bits_above_a_code_are_ignored_in_c(tmp_path: Path) -> None:
    chosen = [load_format(name) for name in ("nf4", "float6_e3m2fn", "posit10", "int4")]
    compiled = InC.compiled(chosen, tmp_path, ["float32", "float64"])
    for format in chosen:
        codes = np.arange(1 << format.bits, dtype=np.uint32)
        for function in functions(format, ["float64"])[1:]:
            found = compiled.run(format, function, codes | np.uint32(0xFFFF_FFFF << format.bits & 0xFFFF_FFFF))
            assert_bit_exact(found, compiled.run(format, function, codes))


@needs_gcc
def test_a_format_of_one_code_reads_nothing(tmp_path: Path) -> None:
    format = parse_format("{name: one, element: {kind: codebook, bits: 1, values: [1.0, 1.0]}}")
    InC.compiled([format], tmp_path)


@needs_gcc
@pytest.mark.parametrize("compiler", [["gcc", "-std=c99"], ["g++", "-std=c++11"]])
def test_floats_of_c_go_in_and_out(compiler: list[str], tmp_path: Path) -> None:
    """And a header may be read twice, by files of one program."""
    if shutil.which(compiler[0]) is None:
        pytest.skip(f"{compiler[0]} is not installed")
    format = load_format("float8_e4m3fn")
    (tmp_path / "e4m3.h").write_text(to_c(format, floats=["float32", "float64"]), "utf-8")
    main = """#include <stdio.h>
    #include "e4m3.h"
    #include "e4m3.h"
    int main(void)
    {
        for (int code = 0; code < 256; code++) {
            const float value = float8_e4m3fn_to_float32((uint8_t)code);
            const double same = float8_e4m3fn_to_float64((uint8_t)code);
            printf("%a %a %d %d\\n", (double)value, same, float8_e4m3fn_from_float32(value * 1.01f),
                   float8_e4m3fn_from_float64(same * 1.01));
        }
        return 0;
    }
    """
    (tmp_path / "main.c").write_text(main, "utf-8")
    flags = ["-Wall", "-Wextra", "-Wpedantic", "-Werror", "-O2"]
    subprocess.run([*compiler, *flags, "main.c", "-o", "main"], cwd=tmp_path, check=True)
    printed = subprocess.run([tmp_path / "main"], capture_output=True, text=True, check=True).stdout.splitlines()
    codec, codes = sqs.Codec(format), np.arange(256, dtype=np.uint8)
    values = codec.decode(codes)
    again = codec.encode(values * np.float32(1.01)).tolist()
    for line, value, code in zip(printed, values.tolist(), again, strict=True):
        first, second, *codes_found = line.split()
        assert all(float.fromhex(text) == value or value != value for text in (first, second))
        assert codes_found == [str(code)] * 2 or value != value


# --- SystemVerilog -----------------------------------------------------------------------------------------------


SHORT = [format for format in EXPORTED if format.bits <= MOST_BITS or format.element.kind in ("float", "int")]


@pytest.mark.parametrize("format", SHORT, ids=lambda format: format.name)
def test_every_format_in_systemverilog(format: NumberFormat) -> None:
    package = InSystemVerilog.read(format)
    for function in functions(format, FLOATS):
        streams = [stream[:: max(1, len(stream) // 100)] for stream in streams_of(format, function, 8)]
        found = package.run(function, *streams)
        wrong = np.flatnonzero(found != expected(format, function, *streams))
        assert not len(wrong), (function.name, [hex(word) for word in streams[0][wrong[:5]]])


@pytest.mark.parametrize("name", ["float8_e4m3fn", "int8", "nf4", "posit8", "float8_e8m0fnu", "hif8", "float32"])
def test_slang_finds_nothing_to_say(name: str) -> None:
    from pyslang.ast import Compilation
    from pyslang.syntax import SyntaxTree

    compilation = Compilation()
    compilation.addSyntaxTree(SyntaxTree.fromText(to_systemverilog(load_format(name), floats=FLOATS)))
    assert not [str(each.code) for each in compilation.getAllDiagnostics()]


@needs("verilator")
@pytest.mark.parametrize("name", ["float8_e4m3fn", "int8", "nf4", "posit8", "float8_e8m0fnu"])
def test_verilator_finds_nothing_but_unused_bits(name: str, tmp_path: Path) -> None:
    file = tmp_path / f"{name}_pkg.sv"
    file.write_text(to_systemverilog(load_format(name), floats=FLOATS), "utf-8")
    subprocess.run(["verilator", "--lint-only", "-Wall", "-Wno-UNUSEDSIGNAL", str(file)], check=True)


@needs("yosys")
@pytest.mark.parametrize("name", ["float8_e4m3fn", "int8", "nf4"])
def test_yosys_makes_gates_of_it(name: str, tmp_path: Path) -> None:
    format = load_format(name)
    (tmp_path / "codec.sv").write_text(
        to_systemverilog(format)
        + f"""
module top(input logic [31:0] x, output logic [{format.bits - 1}:0] code, output logic [31:0] y);
  assign code = {name}_pkg::from_float32(x);
  assign y = {name}_pkg::to_float32(code);
endmodule
""",
        "utf-8",
    )
    script = "read_verilog -sv codec.sv; synth -top top; select -assert-none t:$dff t:$dlatch t:$_DLATCH_*"
    subprocess.run(["yosys", "-q", "-p", script], cwd=tmp_path, check=True)


# --- names, texts and errors -------------------------------------------------------------------------------------


def named(name: str, more: str = "") -> Any:
    return parse_format(f"name: {name}\nelement: {{kind: int, bits: 4}}\n{more}")


def test_names_become_identifiers() -> None:
    assert "_3bit_v1_0_from_float32(float x)" in to_c(named("3bit-v1.0"))
    assert "package _3bit_v1_0_pkg;" in to_systemverilog(named("3bit-v1.0"))


def test_titles_cannot_end_a_comment() -> None:
    format = named("tricky", 'title: "ends */ here, /* begins\\n#error no\\n`error no"\n')
    assert to_c(format).count("*/") == len(re.findall(r"/\*", to_c(format)))
    assert "\n#error" not in to_c(format)
    assert "\n`error" not in to_systemverilog(format)


def test_headings_hold_nothing_that_compilers_act_on() -> None:
    """Trigraphs, marks of direction, and words that linters take for theirs at the beginning of a comment."""
    format = named("verilator", 'title: "what??/ \\u202Eabc"\n')
    for text in (to_c(format), to_systemverilog(format)):
        assert "Format verilator: what? ?/ abc\n" in text


def test_functions_are_those_asked_for() -> None:
    format = load_format("int8")
    assert [function.name for function in functions(format, ["bfloat16", "float64", "bfloat16"])] == [
        *("from_bfloat16", "from_float64", "to_float32", "to_float64")
    ]
    assert "float64" not in to_c(format) + to_systemverilog(format)


def test_stochastic_rounding_takes_random_bits() -> None:
    format = named("drawn", "encode: {rounding: stochastic_a, random_bits: 12}\n")
    assert "drawn_from_float32_bits(uint32_t x, uint16_t random)" in to_c(format)
    assert "of which the top 12 are used" in to_systemverilog(format)


@pytest.mark.parametrize("export", [to_c, to_systemverilog])
def test_what_cannot_be_exported_is_told(export: Any) -> None:
    with pytest.raises(UnsupportedError, match=r"careful refuses NaN \(nan_input: error\)"):
        export(named("careful", "encode: {nan_input: error}\n"))
    with pytest.raises(ValueError, match=r"'float23' is no kind of floats; did you mean 'float32'\?"):
        export(load_format("int8"), floats=["float23"])
    with pytest.raises(ValueError, match="floats is empty; allowed: float16, bfloat16, float32, float64"):
        export(load_format("int8"), floats=[])
    with pytest.raises(TypeError, match=r"floats is the string 'float32'; allowed: a sequence"):
        export(load_format("int8"), floats="float32")
    with pytest.raises(TypeError, match=r"format is 'int8'; allowed: a format, from load_format"):
        export("int8")


# --- the command -------------------------------------------------------------------------------------------------


def test_the_command_prints_what_the_functions_return(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    run, format = commands(capsys), load_format("nf4")
    assert run("export", "nf4", "--to", "c").out == to_c(format)
    assert run("export", "mxfp4", "--to", "c").out == to_c(load_format("mxfp4"))
    file = tmp_path / "nf4_pkg.sv"
    answer = run("export", "nf4", "--to", "systemverilog", "--floats", "bfloat16", "--floats", "float32", "-o", file)
    assert (answer.code, answer.out) == (0, "")
    assert file.read_text("utf-8") == to_systemverilog(format, floats=["bfloat16", "float32"])


def test_the_command_tells_mistakes(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    run = commands(capsys)
    told(run("export", "mxfp4.mse", "--to", "c"), "mxfp4.mse compares errors (rule: mse), which is not exported")
    told(run("export", "mxfp4", "--to", "c", "--floats", "float16"), "a block format, reads float32, not float16")
    told(run("export", "nf4", "--to", "c", "--floats", "half"), "'half' is no kind of floats")
    file = tmp_path / "mine.yaml"
    file.write_text("name: mine\nelement: {kind: int, bits: 4}\n", "utf-8")
    told(run("export", file, "--to", "c", "-o", file), "would replace")
    assert run("export", "nf4", "--to", "vhdl").code == 2
