"""Accelerators that no file describes, and operands for them: hypothesis strategies, and checks against the oracle."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from hypothesis import strategies as st
from mma_cases import Array, codes_of, drawn, exact, finite, random_codes, values_of

import statqat_sim as sqs
from statqat_sim.matmul import Accelerator
from statqat_sim.spec.accelerator import Instruction, OperandFormat
from statqat_sim.spec.accelerator_dot import Enter, Sum
from statqat_sim.spec.integer import IntElement
from statqat_sim.spec.number import NumberFormat

NAME = "unit.a.d"
"""Of the one instruction that an accelerator has."""

MODES = (
    *("toward_zero", "nearest_even", "toward_positive", "toward_negative"),
    *("nearest_away", "nearest_zero", "nearest_up", "to_odd"),
)
CUTS = MODES[:4]
OPERANDS = ("float16", "bfloat16", "tf32", "float8_e4m3fn", "float8_e5m2", "float4_e2m1fn", "float8_e4m3fnuz", "posit8")
NARROW_OPERANDS = ("float4_e2m1fn", "float6_e2m3fn", "float6_e3m2fn", "float8_e4m3fn")
INTEGERS = ("int8", "uint8", "int4", "uint4", "int16", "int32")
SUMS = ("int32", "int32", "int16", "int8")
POWERS = ("float8_e8m0fnu", "float8_e8m0fnu", "float4_e3m0fn", "p3109_binary8p1se")
SCALES = ("float8_e8m0fnu", "ue4m3", "ue4m3", "float8_e4m3fn", "float8_e5m2", "float16", "float4_e3m0fn")
ORDERS = ("ascending", "descending", "odd_first", "even_first", "swapped_pairs")
ENTERS = {
    "aligned": ("term", "term", "last", "none"),
    "exact": ("term", "last", "none"),
    "chain": ("first", "last", "none"),
    "pairwise": ("last", "first", "none"),
}

Part = dict[str, Any]


# --- accelerators ------------------------------------------------------------------------------------------------


@st.composite
def accelerators(draw: st.DrawFn) -> str:
    """The text of an accelerator with one instruction, of any sort."""
    parts = draw(st.one_of(plain(), joined(), scaled(), grouped(), integers()))
    return text_of(parts)


@st.composite
def plain(draw: st.DrawFn) -> Part:
    """Sums of one part, or chains of several."""
    sum_ = draw(st.sampled_from(("aligned", "aligned", "aligned", "exact", "chain", "pairwise")))
    step = draw(st.integers(1, 12))
    dot: Part = {"sum": sum_, "step": step, "c": draw(st.sampled_from(ENTERS[sum_]))}
    if sum_ == "aligned":
        dot["aligned"] = draw(alignments())
    if sum_ == "chain" and dot["c"] != "first":
        dot["split"] = draw(st.integers(1, min(step, 3)))
    size = step if dot["c"] == "none" else step * draw(st.integers(1, 2))
    is_ordered = sum_ in ("chain", "pairwise")
    if sum_ != "pairwise" and draw(st.integers(0, 5)) == 0:
        del dot["step"]
        dot |= {"order": draw(st.sampled_from(ORDERS))} if is_ordered else {}
    elif is_ordered:
        dot["order"] = draw(st.one_of(st.sampled_from(ORDERS), st.permutations(range(step)).map(list)))
    parts = draw(results(OPERANDS, size))
    if sum_ == "aligned" and draw(st.booleans()):
        parts["special"]["product_limit"] = draw(st.sampled_from((128, 15, 0, -20)))
    return parts | {"dot": dot}


@st.composite
def joined(draw: st.DrawFn) -> Part:
    """Aligned sums of several parts, which C joins."""
    step = draw(st.integers(1, 12))
    merge: Part = {key: draw(st.integers(0, 48)) for key in ("dot_fraction_bits", "c_fraction_bits")}
    merge["round"] = draw(st.sampled_from(MODES))
    if draw(st.booleans()):
        merge["normalised_bits"] = draw(st.integers(0, 48))
    if draw(st.booleans()):
        merge["c_reach"] = draw(st.integers(0, 60))
    dot: Part = {"sum": "aligned", "step": step, "c": "join", "split": draw(st.integers(1, min(step, 4)))}
    dot |= {"aligned": draw(alignments(bits=40)), "merge": merge}
    parts = draw(results(OPERANDS, step * draw(st.integers(1, 2))))
    if draw(st.booleans()):
        parts["special"]["product_limit"] = draw(st.sampled_from((128, 15, 0, -20)))
    return parts | {"dot": dot}


@st.composite
def scaled(draw: st.DrawFn) -> Part:
    """Block scales whose exponents are added to those of products."""
    step = draw(st.sampled_from((1, 2, 4, 6, 8, 12)))
    block = draw(st.sampled_from([step * 2, step, *(each for each in (1, 2, 3, 4) if step % each == 0)]))
    scale = {"format": draw(st.sampled_from(POWERS)), "block": block, "apply": "exponent"}
    dot = {"sum": "aligned", "step": step, "c": "term", "aligned": draw(alignments(bits=40))}
    return draw(results(OPERANDS, step * draw(st.integers(1, 2)))) | {"dot": dot, "scale": scale}


@st.composite
def grouped(draw: st.DrawFn, cuts: tuple[str, ...] = CUTS) -> Part:
    """Block scales that multiply the exact sums of groups; `cuts`: how terms are cut, each a kernel to compile."""
    group = draw(st.sampled_from((2, 2, 3, 4, 8, 16, 40)))
    step = group * draw(st.integers(1, max(1, 32 // group)))
    block = draw(st.sampled_from((group, step, 2 * step)))
    scale = {"format": draw(st.sampled_from(SCALES)), "block": block, "apply": "group"}
    dot = {"sum": "aligned", "step": step, "group": group, "c": "term", "aligned": draw(alignments(bits=36, cuts=cuts))}
    operands = OPERANDS if draw(st.integers(0, 3)) == 0 else NARROW_OPERANDS
    return draw(results(operands, step * draw(st.integers(1, 2)))) | {"dot": dot, "scale": scale}


@st.composite
def integers(draw: st.DrawFn) -> Part:
    """Sums of integers that wrap, or are clamped."""
    step = draw(st.integers(1, 8))
    dot: Part = {"sum": "integer", "c": draw(st.sampled_from(("term", "none")))}
    operands: Part = {key: draw(st.sampled_from(INTEGERS)) for key in "ab"}
    operands |= {key: draw(st.sampled_from(SUMS)) for key in "cd"}
    operands["shape"] = ["M", "N", draw(st.sampled_from((step, "K") if dot["c"] == "none" else (step, 2 * step, "K")))]
    if draw(st.booleans()):
        dot["step"] = step
    return {"operands": operands, "dot": dot, "special": {"overflow": draw(st.sampled_from(("wrap", "saturate")))}}


@st.composite
def alignments(draw: st.DrawFn, bits: int = 60, cuts: tuple[str, ...] = CUTS) -> Part:
    """The `aligned` part; with few fraction bits the kernels of lanes compute it."""
    zero = draw(st.one_of(st.just("lowest"), st.integers(-200, 20), st.integers(-512, 512)))
    if bits < 60:
        return {"fraction_bits": draw(st.integers(0, bits)), "round": draw(st.sampled_from(cuts))} | {
            "zero_exponent": zero
        }
    mode, per = draw(st.sampled_from(MODES)), draw(st.sampled_from(("term", "term", "sum")))
    return {"fraction_bits": draw(st.integers(0, bits)), "round": mode, "per": per, "zero_exponent": zero}


@st.composite
def results(draw: st.DrawFn, operands: tuple[str, ...], size: int) -> Part:
    """The parts `operands`, `round` and `special`."""
    d = draw(st.sampled_from(("float32", "float32", "float16", "float16", "bfloat16", "tf32")))
    exponent_bits, largest = {"float32": (8, 23), "float16": (5, 10), "bfloat16": (8, 7), "tf32": (8, 10)}[d]
    widths = {"exponent_bits": exponent_bits, "mantissa_bits": draw(st.integers(1, largest))}
    to = draw(st.sampled_from((None, widths)))
    c = draw(st.sampled_from((d, "float16")))
    formats = {key: draw(st.sampled_from(operands)) for key in "ab"} | {"c": c, "d": d, "shape": ["M", "N", size]}
    special = {
        "nan": {"float32": 0x7FFFFFFF, "float16": 0x7FFF, "bfloat16": 0xFFC1, "tf32": 0x3FE00}[d],
        "negative_zero": draw(st.sampled_from(("never", "never", "underflow", "ieee"))),
        "flush": draw(st.sampled_from(("none", "none", "inputs", "outputs", "both"))),
        "overflow": draw(st.sampled_from(("inf", "saturate"))),
    }
    if special["flush"] in ("inputs", "both"):
        special["flushed"] = draw(st.sampled_from(("signed", "positive")))
    rounding: Part = {"mode": draw(st.sampled_from(MODES))} | ({} if to is None else {"to": to})
    return {"operands": formats, "round": rounding, "special": special}


def text_of(parts: Mapping[str, Any]) -> str:
    """An accelerator's text."""
    lines = (f"    {key}: {written(part)}\n" for key, part in parts.items())
    return f"name: drawn\nevidence: {{status: guess}}\ninstructions:\n  {NAME}:\n{''.join(lines)}"


def written(value: Any) -> str:
    """A value as YAML in one line."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {written(each)}" for key, each in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(written, value)) + "]"
    return hex(value) if isinstance(value, int) and value > 1 << 12 else str(value)


# --- operands ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Operands:
    """Codes of A, B and C, and of block scales where the instruction has some; C is all zeros where none enters."""

    a: Array
    b: Array
    c: Array
    scales: tuple[Array, ...] = ()
    plan: Part | None = None
    """How K is cut, where that does not change D."""

    @classmethod
    def drawn(cls, instruction: Instruction, family: str, seed: int, rows: int = 3, columns: int = 3) -> Operands:
        """Of a family of inputs, for up to two runs of the instruction and a bit more; for one if it takes no C."""
        rng = np.random.default_rng(seed)
        size = int(rng.integers(1, 2 * (instruction.k or 4) + 2))
        if instruction.k and instruction.dot is not None and instruction.dot.c is Enter.NONE:
            size = min(size, instruction.k)
        formats = instruction.a[0], instruction.b[0], instruction.c
        is_integer = instruction.dot is not None and instruction.dot.sum is Sum.INTEGER
        a, b, c = drawn("bits" if is_integer else family, rng, (rows, size, columns), formats)
        if instruction.scale is None:
            return cls(a, b, c)
        blocks = -(-size // instruction.scale.block)
        format = instruction.scale.format
        scales = (scale_codes(family, rng, format, shape) for shape in ((rows, blocks), (blocks, columns)))
        return cls(a, b, c, tuple(scales))

    def given(self, instruction: Instruction) -> dict[str, Any]:
        """Arguments of `Accelerator.matmul`; scales of more than 8 bits as values."""
        assert instruction.dot is not None
        taken = None if instruction.dot.c is Enter.NONE else self.c
        arguments = {"a": self.a, "b": self.b, "c": taken, "instruction": instruction.name, "plan": self.plan}
        if instruction.scale is None:
            return arguments
        format = instruction.scale.format
        scales = [each if format.bits <= 8 else values_of(format, each) for each in self.scales]
        return arguments | dict(zip(("a_scale", "b_scale"), scales, strict=True))

    def expected(self, instruction: Instruction) -> Array:
        """What the oracle says of D: the bits of what it comes in."""
        formats: tuple[OperandFormat, OperandFormat] = (instruction.a[0], instruction.b[0])
        return contained(instruction.d, exact(instruction, self.a, self.b, self.c, formats, *self.scales))


def contained(d: OperandFormat, codes: Array) -> Array:
    """Codes of D as bits of int32, where it is an integer, or of float32, where numpy lacks its dtype."""
    rest = np.uint64(32 - min(d.bits, 32))
    if isinstance(d, NumberFormat) and isinstance(d.element, IntElement):
        words = (codes << rest).astype(np.uint32).view(np.int32) >> int(rest)
        return words.view(np.uint32).astype(np.uint64)
    return codes << rest if d.name in ("bfloat16", "tf32") else codes


def scale_codes(family: str, rng: np.random.Generator, format: NumberFormat, shape: tuple[int, ...]) -> Array:
    """Any codes, any finite values, or powers of two around 1."""
    if family == "bits":
        return random_codes(rng, format, shape)
    if family in ("finite_bits", "wide"):
        return finite(format, random_codes(rng, format, shape))
    return codes_of(format, np.exp2(rng.integers(-4, 4, shape)))


def parsed(text: str) -> tuple[Accelerator, Instruction]:
    """An accelerator and its one instruction."""
    accelerator = sqs.parse_accelerator(text)
    return accelerator, accelerator.instructions[NAME]


# --- accelerators that were computed wrong once ------------------------------------------------------------------


def of_sums(sum_: str, zero: int = -133) -> Part:
    """`dot` with one product a step."""
    aligned = {"fraction_bits": 13, "round": "toward_zero", "zero_exponent": zero}
    enter = "first" if sum_ == "chain" else "term"
    return {"step": 1, "sum": sum_, "c": enter} | ({"aligned": aligned} if sum_ == "aligned" else {})


def c_is_flushed(sum_: str) -> tuple[str, Operands]:
    """After the first step C is float32, as D is, and no longer flushed as float16."""
    operands = {"a": "bfloat16", "b": "bfloat16", "c": "float16", "d": "float32", "shape": ["M", "N", 1]}
    text = text_of({"operands": operands, "dot": of_sums(sum_), "special": {"flush": "both"}})
    _, instruction = parsed(text)
    values = np.float32([[2**-20, 2**-30]]), np.float32([[1], [1]]), np.zeros((1, 1), np.float32)
    formats = instruction.a[0], instruction.b[0], instruction.c
    a, b, c = (codes_of(format, each) for format, each in zip(formats, values, strict=True))
    return text, Operands(a, b, c)


def zeros_are_large(zero: int) -> tuple[str, Operands]:
    """A zero product whose exponent is so high that no float32 is a term's unit."""
    operands = {"a": "float8_e4m3fn", "b": "float8_e4m3fn", "c": "float32", "d": "float32", "shape": ["M", "N", 1]}
    text = text_of({"operands": operands, "dot": of_sums("aligned", zero)})
    _, instruction = parsed(text)
    return text, Operands.drawn(instruction, "sparse", 0)


def row(parts: Part, a: Any, *, plan: Part | None = None) -> tuple[str, Operands]:
    """A row of values, or of unsigned integers that are codes, times a column of ones."""
    text = text_of(parts)
    _, instruction = parsed(text)
    values = np.atleast_2d(a)
    codes = values if values.dtype.kind == "u" else codes_of(instruction.a[0], values)
    ones = codes_of(instruction.b[0], np.ones((values.shape[1], 1)))
    return text, Operands(codes, ones, codes_of(instruction.c, np.zeros((1, 1))), plan=plan)


def parts_begin_in_blocks() -> tuple[str, Operands]:
    """Parts of whole instructions, whose blocks of scales are longer."""
    operands = {"a": "float8_e4m3fn", "b": "float8_e4m3fn", "c": "float32", "d": "float32", "shape": ["M", "N", 16]}
    dot = {"sum": "aligned", "step": 16, "c": "term", "aligned": {"fraction_bits": 25}}
    scale = {"format": "float8_e8m0fnu", "block": 32, "apply": "exponent"}
    text, found = row({"operands": operands, "dot": dot, "scale": scale}, np.ones(96), plan={"split_k": 2})
    scales = np.uint8([[127, 128, 129]]), np.uint8([[127], [127], [127]])
    return text, replace(found, scales=scales)


def of_bfloat16(a: Any, nan: int, plan: Part | None = None) -> tuple[str, Operands]:
    """A D that numpy has no dtype for."""
    operands = {"a": "bfloat16", "b": "bfloat16", "c": "bfloat16", "d": "bfloat16", "shape": ["M", "N", 4]}
    parts = {"operands": operands, "dot": {"sum": "exact", "step": 4, "c": "term"}, "special": {"nan": nan}}
    return row(parts, a, plan=plan)


def of_integers(format: str, a: Any, overflow: str) -> tuple[str, Operands]:
    """Two products an instruction, and no step."""
    d = {"int8": "int8"}.get(format, "int32")
    operands = {"a": format, "b": format, "c": d, "d": d, "shape": ["M", "N", 2]}
    return row({"operands": operands, "dot": {"sum": "integer"}, "special": {"overflow": overflow}}, a)


TIE = [1, 0, 0, 0, 3 * 2.0**-9, 0, 0, 0]
"""Two parts whose sum bfloat16 rounds."""

FOUND = {
    **{f"C is flushed, {sum_}": c_is_flushed(sum_) for sum_ in ("aligned", "exact", "chain")},
    **{f"zeros count as 2^{zero}": zeros_are_large(zero) for zero in (139, 141, 500)},
    "parts begin in blocks": parts_begin_in_blocks(),
    **{f"NaN of bfloat16 is {nan:#x}": of_bfloat16([np.nan, 1], nan) for nan in (0x7FC0, 0xFFFF)},
    "parts add up in bfloat16": of_bfloat16(TIE, 0x7FC0, {"split_k": 2}),
    "codes of int32": of_integers("int32", np.uint32([16777217, 0x80000001]), "wrap"),
    "D of int8 is C": of_integers("int8", [100, 100, -100, -50], "saturate"),
}
"""Texts and operands."""
