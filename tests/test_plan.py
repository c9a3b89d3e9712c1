"""Plans: the verifier, the builder, the interpreter op by op, the two lowerings, and how many shapes there are."""

from __future__ import annotations

import math
import pickle
import subprocess
import sys
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from checking import by_interpreter
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from inputs import accepted, around, edges, random_bits, some_codes, specs
from programs import FEW, M, in_python, programs
from strategies import ROUNDINGS, STOCHASTIC

from statqat_sim.errors import UnsupportedError
from statqat_sim.plan.builder import Builder, Word
from statqat_sim.plan.layout import (
    BFLOAT16,
    FLOAT16,
    FLOAT32,
    FLOAT64,
    INFINITY,
    LARGEST,
    ceil_magnitude,
    floor_magnitude,
    nearest_magnitude,
    power_of_two,
)
from statqat_sim.plan.lower import Lowering, Purpose, code_storage, lower, packed_storage
from statqat_sim.plan.philox import philox
from statqat_sim.plan.program import SMALL_TABLE, CodecPlan, Packed, PlanShape, Storage, Stream
from statqat_sim.plan.ranges import ranges
from statqat_sim.plan.step import Op, Step
from statqat_sim.reference.interpret import interpret
from statqat_sim.spec.catalog import formats, load_format, parse_format
from statqat_sim.spec.encode import Rounding
from statqat_sim.spec.number import NumberFormat

X, BYTE = Stream("x", Storage.FLOAT32), Stream("codes", Storage.UINT8)
READ = Step(Op.INPUT)


def const(value: int) -> Step:
    return Step(Op.CONST, value=value)


def plan_of(
    *steps: Step, stream: Stream = X, params: tuple[int, ...] = (), tables: tuple[bytes, ...] = ()
) -> CodecPlan:
    names = tuple(f"number {index}" for index in range(len(params)))
    table_names = tuple(f"table {index}" for index in range(len(tables)))
    return CodecPlan(PlanShape(steps, (stream,), names, table_names, Storage.UINT32, (len(steps) - 1,)), params, tables)


# --- the verifier ------------------------------------------------------------------------------------------------


FOUR_WORDS = bytes(16)


@pytest.mark.parametrize(
    ("steps", "message"),
    [
        ([], "outputs are steps of it"),
        ([READ, Step(Op.ADD, (0, 1))], "step 1: wrong operands"),  # itself
        ([Step(Op.ADD, (1, 1)), READ], "step 0: wrong operands"),  # a later step
        ([READ, Step(Op.ADD, (0, -1))], "step 1: wrong operands"),
        ([READ, Step(Op.ADD, (0,))], "step 1: wrong operands"),
        ([READ, Step(Op.SELECT, (0, 0))], "step 1: wrong operands"),
        ([READ, Step(Op.CONST, (0,))], "step 1: wrong operands"),
        ([Step(Op.INPUT, value=1)], "step 0: wrong value"),
        ([Step(Op.INPUT, value=-1)], "step 0: wrong value"),
        ([Step(Op.PARAM)], "step 0: wrong value"),
        ([READ, Step(Op.TABLE, (0,))], "step 1: wrong value"),
        ([const(1 << 32)], "step 0: wrong value"),
        ([const(-1)], "step 0: wrong value"),
        ([Step(Op.INPUT_HIGH, value=1)], "step 0: wrong value"),
        ([READ, Step(Op.INPUT_HIGH, (0,))], "step 1: wrong operands"),
        ([READ, Step(Op.MULHI, (0,))], "step 1: wrong operands"),
        ([READ, const(2), Step(Op.MUL, (0, 1)), Step(Op.SHL, (0, 2))], "a shift by up to 4294967295"),
        ([READ, const(33), Step(Op.MULHI, (0, 1)), Step(Op.SHL, (0, 2))], "a shift by up to 32"),
        ([READ, Step(Op.ADD, (0, 0), 3)], "step 1: wrong value"),
        ([READ, const(32), Step(Op.SHL, (0, 1))], "a shift by up to 32"),
        ([READ, const(32), Step(Op.SHR, (0, 1))], "a shift by up to 32"),
        ([READ, Step(Op.SHR, (0, 0))], "a shift by up to 4294967295"),
        ([READ, const(31), Step(Op.SUB, (1, 0)), Step(Op.SHL, (0, 2))], "a shift by up to 4294967295"),
        ([READ, const(31), Step(Op.MAX, (0, 1)), Step(Op.SHL, (0, 2))], "a shift by up to 4294967295"),
        ([READ, const(31), const(1), Step(Op.ADD, (1, 2)), Step(Op.SHL, (0, 3))], "a shift by up to 32"),
        ([READ, const(3), const(32), Step(Op.SELECT, (0, 1, 2)), Step(Op.SHL, (0, 3))], "a shift by up to 32"),
        ([READ, const(31), Step(Op.OR, (0, 1)), Step(Op.SHL, (0, 2))], "a shift by up to 4294967295"),
        ([READ, const(31), Step(Op.XOR, (0, 1)), Step(Op.SHL, (0, 2))], "a shift by up to 4294967295"),
        ([READ, const(5), Step(Op.SHL, (1, 1)), Step(Op.SHL, (0, 2))], "a shift by up to 160"),
        ([READ, const(1), Step(Op.AND, (0, 1)), const(63), Step(Op.SHR, (3, 2)), Step(Op.SHL, (0, 4))], "by up to 63"),
        ([READ, const(1), Step(Op.FMUL, (1, 1)), Step(Op.SHL, (0, 2))], "a shift by up to 2139095040"),
        (
            [READ, const(28), const(1), Step(Op.AND, (0, 2)), Step(Op.SHR, (0, 3)), Step(Op.SHL, (0, 4))],
            "a shift by up",
        ),
    ],
)
def test_malformed_programs_are_refused(steps: list[Step], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        plan_of(*steps)


def test_what_is_proven_is_accepted() -> None:
    bounded = plan_of(READ, const(31), Step(Op.MIN, (0, 1)), Step(Op.SHL, (0, 2)))
    assert interpret(bounded, [np.uint32([1, 40])]).tolist() == [2, 40 << 31 & 0xFFFF_FFFF]
    plan_of(READ, const(31), Step(Op.AND, (0, 1)), Step(Op.SHR, (0, 2)))
    plan_of(READ, const(27), Step(Op.SHR, (0, 1)), Step(Op.SHL, (0, 2)))
    plan_of(READ, const(31), Step(Op.LT, (0, 1)), Step(Op.SHL, (0, 2)))
    plan_of(READ, const(0), Step(Op.EQ, (0, 1)), const(30), Step(Op.ADD, (2, 3)), Step(Op.SHL, (0, 4)))
    plan_of(READ, const(32), Step(Op.MULHI, (0, 1)), Step(Op.SHL, (0, 2)))
    plan_of(READ, const(7), Step(Op.AND, (0, 1)), const(4), Step(Op.MUL, (2, 3)), Step(Op.SHL, (0, 4)))


@pytest.mark.parametrize("outputs", [(), (1,), (-1,), (0, 1)])
def test_outputs_are_steps(outputs: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="outputs are steps of it, one at least"):
        CodecPlan(PlanShape((READ,), (X,), (), (), Storage.UINT32, outputs))


@pytest.mark.parametrize(("mask", "accepted"), [(3, True), (4, False), (7, False)])
def test_a_table_is_read_inside_its_bounds(mask: int, accepted: bool) -> None:
    steps = READ, const(mask), Step(Op.AND, (0, 1)), Step(Op.TABLE, (2,))
    if accepted:
        assert plan_of(*steps, tables=(FOUR_WORDS,))
    else:
        with pytest.raises(ValueError, match=f"table 0 is read at up to {mask}, outside its bounds"):
            plan_of(*steps, tables=(FOUR_WORDS,))


def test_bytes_need_a_table_of_256_words() -> None:
    plan_of(READ, Step(Op.TABLE, (0,)), stream=BYTE, tables=(bytes(1024),))
    with pytest.raises(ValueError, match="read at up to 255"):
        plan_of(READ, Step(Op.TABLE, (0,)), stream=BYTE, tables=(bytes(1020),))


def test_numbers_fit_the_shape() -> None:
    shape = PlanShape((READ, Step(Op.PARAM), Step(Op.ADD, (0, 1))), (X,), ("number",), (), Storage.UINT32, (2,))
    assert CodecPlan(shape, (7,)).params == (7,)
    for params, tables in (((), ()), ((1, 2), ()), ((1,), (FOUR_WORDS,))):
        with pytest.raises(ValueError, match="do not match its shape"):
            CodecPlan(shape, params, tables)
    for word in (-1, 1 << 32):
        with pytest.raises(ValueError, match="not a 32-bit word"):
            CodecPlan(shape, (word,))
    with pytest.raises(ValueError, match="not made of 32-bit words"):
        plan_of(READ, const(0), Step(Op.AND, (0, 1)), Step(Op.TABLE, (2,)), tables=(bytes(5),))


def test_a_shift_by_a_parameter_is_checked_for_each_format() -> None:
    shape = PlanShape((READ, Step(Op.PARAM), Step(Op.SHR, (0, 1))), (X,), ("shift",), (), Storage.UINT32, (2,))
    CodecPlan(shape, (31,))
    with pytest.raises(ValueError, match="a shift by up to 32"):
        CodecPlan(shape, (32,))


@settings(max_examples=300)
@given(plan=programs())
def test_an_accepted_program_never_leaves_its_tables_nor_shifts_too_far(plan: CodecPlan | None) -> None:
    """The interpreter, and Python's own unbounded integers, agree on whatever the verifier lets pass."""
    assume(plan is not None)
    x = np.minimum(FEW, np.uint32((1 << plan.shape.streams[0].storage.bits) - 1))
    assert interpret(plan, [x]).tolist() == [in_python(plan, word)[-1] for word in x.tolist()], str(plan)


@settings(max_examples=300)
@given(plan=programs(), x=st.lists(st.integers(0, M), max_size=20))
def test_each_word_lies_in_the_range_that_is_proven_for_it(plan: CodecPlan | None, x: list[int]) -> None:
    assume(plan is not None)
    largest = (1 << plan.shape.streams[0].storage.bits) - 1
    for word in [*FEW.tolist(), *x]:
        for known, found in zip(ranges(plan), in_python(plan, word & largest), strict=True):
            assert known.low <= found <= known.high, str(plan)


def test_a_range_is_as_narrow_as_numbers_allow() -> None:
    builder = Builder()
    byte, word = builder.input("byte", Storage.UINT8), builder.input("word", Storage.UINT32)
    narrow = {
        (0, 255): byte,
        (3, 258): byte + 3,
        (M - 2, M): (byte & 2) - 3,  # always below 0
        (1, 256): builder.const(256) - byte,
        (0, 252): byte.above(3),
        (0, 127): (byte & 127) - ((byte & 127) & 0x70).above(16),  # which was taken from it
        (0, 15): byte >> 4,
        (16, 2**27): builder.const(16) << byte.min(23),
        (7, 255): byte | 7,
        (0, 1): word.lt(5),
        (1, 1): byte.lt(256),
        (0, 0): byte.eq(256),
        (2, 9): word.where(2, 9),
        (4, 20): builder.table("t", np.array([1, 4, 20, 5], "<u4").tobytes(), byte.min(1) + 1),
    }
    plan = builder.finish(tuple(narrow.values()), Storage.UINT32)
    assert [(known.low, known.high) for known in map(ranges(plan).__getitem__, plan.shape.outputs)] == list(narrow)


# --- the interpreter ---------------------------------------------------------------------------------------------


FLOAT_OPS: dict[Op, Callable[[Any, Any], Any]] = {
    Op.FADD: lambda a, b: a + b,
    Op.FSUB: lambda a, b: a - b,
    Op.FMUL: lambda a, b: a * b,
    Op.FDIV: lambda a, b: a / b,
}


@pytest.mark.parametrize("op", FLOAT_OPS)
def test_float_operations_round_once_and_keep_subnormals(op: Op) -> None:
    """Against exact rationals, rounded once to nearest even."""
    a, b = random_bits(3000, 1), random_bits(3000, 2)
    small = np.array([1, 3, 0x0000_FFFF, 0x007F_FFFF, 0x0080_0001, 0x2000_0001, 0x1F80_0003, 0x3F80_0000], np.uint32)
    a, b = np.concatenate([a, np.repeat(small, 8)]), np.concatenate([b, np.tile(small, 8)])
    usable = np.isfinite(a.view(np.float32)) & np.isfinite(b.view(np.float32)) & (b & np.uint32(0x7FFF_FFFF) != 0)
    a, b = a[usable], b[usable]
    shape = PlanShape(
        (READ, Step(Op.INPUT, value=1), Step(op, (0, 1))),
        (X, Stream("y", Storage.FLOAT32)),
        (),
        (),
        Storage.UINT32,
        (2,),
    )
    results = interpret(CodecPlan(shape), [a, b])
    pairs = zip(a.view(np.float32).tolist(), b.view(np.float32).tolist(), results.tolist(), strict=True)
    for left, right, result in pairs:
        exact = FLOAT_OPS[op](Fraction(left), Fraction(right))
        assert result & 0x7FFF_FFFF == nearest_magnitude(abs(exact)), (left, right)
        if exact:
            assert result >> 31 == (exact < 0), (left, right)


@pytest.mark.parametrize("storage", [Storage.UINT8, Storage.UINT16, Storage.UINT32])
def test_a_result_is_cut_to_its_storage(storage: Storage) -> None:
    shape = PlanShape((READ,), (Stream("x", Storage.UINT32),), (), (), storage, (0,))
    assert interpret(CodecPlan(shape), [np.uint32([0x1234_5678])]).tolist() == [0x1234_5678 & ((1 << storage.bits) - 1)]


WIDE = np.array([0, 1, 0xFFFF_FFFF, 1 << 32, 0x0123_4567_89AB_CDEF, (1 << 64) - 1], np.uint64)


def test_a_wide_element_is_two_words() -> None:
    steps = READ, Step(Op.INPUT_HIGH), Step(Op.MULHI, (0, 1)), Step(Op.MUL, (0, 1))
    shape = PlanShape(steps, (Stream("x", Storage.UINT64),), (), (), Storage.UINT32, (0, 1, 2, 3))
    words = interpret(CodecPlan(shape), [WIDE]).tolist()
    numbers = [divmod(x, 1 << 32) for x in WIDE.tolist()]
    assert words == [[low, high, high * low >> 32, high * low & M] for high, low in numbers]


def test_a_result_of_two_words_is_low_word_first() -> None:
    builder = Builder()
    high, low = builder.input_pair("x", Storage.FLOAT64)
    plan = builder.finish((low, high), Storage.FLOAT64)
    assert by_interpreter(plan, WIDE).tolist() == WIDE.tolist()


def test_a_result_that_reads_nothing_has_the_shape_of_its_streams() -> None:
    builder = Builder()
    builder.input("x", Storage.UINT8)
    plan = builder.finish((builder.const(7), builder.param("p", 8)), Storage.UINT32)
    assert interpret(plan, [np.zeros((3, 5), np.uint8)]).tolist() == [[[7, 8]] * 5] * 3


@pytest.mark.parametrize(
    ("storage", "bits"),
    [("uint8", 8), ("uint16", 16), ("uint32", 32), ("uint64", 64)]
    + [("float16", 16), ("bfloat16", 16), ("float32", 32), ("float64", 64)],
)
def test_a_storage_knows_its_width(storage: str, bits: int) -> None:
    assert Storage(storage).bits == bits


@pytest.mark.parametrize("bits", range(1, 9))
def test_dense_rows_end_with_a_whole_byte(bits: int) -> None:
    for count in range(50):
        assert Packed(bits).row_bytes(count) == math.ceil(count * bits / 8)


# --- the builder -------------------------------------------------------------------------------------------------


def built(make: Callable[[Word], Word]) -> CodecPlan:
    return Builder.finish((builder := Builder()), make(builder.input("x", Storage.UINT32)), Storage.UINT32)


def test_a_step_is_recorded_once_and_unused_ones_are_left_out() -> None:
    def make(x: Word) -> Word:
        x.builder.param("unused", 9)
        x.builder.table("unused", FOUR_WORDS, x & 3)
        return (x + 1) ^ (x + 1) + x.builder.param("used", 5)

    plan = built(make)
    assert [step.op for step in plan.shape.steps] == ["input", "const", "add", "param", "add", "xor"]
    assert (plan.shape.params, plan.params, plan.tables) == (("used",), (5,), ())


def test_one_name_is_one_number() -> None:
    builder = Builder()
    builder.param("bias", 7)
    builder.param("bias", 7)
    with pytest.raises(ValueError, match="'bias' has two values"):
        builder.param("bias", 8)


def test_another_part_has_names_of_its_own() -> None:
    builder = Builder()
    x = builder.input("x", Storage.UINT32) + builder.param("bias", 7)
    with builder.scope("via"):
        x = x + builder.param("bias", 8)
        with builder.scope("inner"):
            x = x + builder.param("bias", 9)
    plan = builder.finish(x + builder.param("bias", 7), Storage.UINT32)
    assert dict(zip(plan.shape.params, plan.params, strict=True)) == {"bias": 7, "via: bias": 8, "via: inner: bias": 9}


def test_a_part_that_fails_gives_its_name_to_no_other() -> None:
    builder = Builder()
    with pytest.raises(LookupError), builder.scope("via"):
        raise LookupError
    plan = builder.finish(builder.input("x", Storage.UINT32) + builder.param("bias", 7), Storage.UINT32)
    assert plan.shape.params == ("bias",)


def test_numbers_wrap_to_words() -> None:
    assert built(lambda x: x + x.builder.param("minus one", -1) + -1).params == (M,)


def test_a_plan_reads_well() -> None:
    def make(x: Word) -> Word:
        shifted = x >> x.builder.param("mantissa bits", 3)
        return x.lt(4).where(x.builder.table("values", FOUR_WORDS, shifted & 3), shifted.above(1))

    assert str(built(make)).splitlines() == [
        "v0 =  input x                     # uint32",
        "v1 =  0x3                         # mantissa bits",
        "v2 =  shr v0, v1",
        "v3 =  0x4",
        "v4 =  lt v0, v3",
        "v5 =  0x3",
        "v6 =  and v2, v5",
        "v7 =  table v6                    # values: 4 words",
        "v8 =  0x1",
        "v9 =  max v2, v8",
        "v10 = sub v9, v8",
        "v11 = select v4, v7, v10",
        "return v11                        # uint32",
    ]


def test_a_plan_of_wide_and_dense_elements_reads_well() -> None:
    builder = Builder()
    high, low = builder.input_pair("x", Storage.FLOAT64)
    codes = builder.input("codes", Packed(3))
    assert str(builder.finish((low.mul_high(high) * codes, high), Storage.FLOAT64)).splitlines() == [
        "v0 =  input x                     # float64",
        "v1 =  input_high x                # float64",
        "v2 =  input codes                 # 3 bits, dense",
        "v3 =  mulhi v0, v1",
        "v4 =  mul v3, v2",
        "return v4, v1                     # float64",
    ]
    assert str(builder.finish(codes, Packed(5, big_endian=True))).splitlines() == [
        "v0 =  input codes                 # 3 bits, dense",
        "return v0                         # 5 bits, dense, big-endian",
    ]


# --- equality, hashes, shapes ------------------------------------------------------------------------------------


E4M3 = "{kind: float, exponent_bits: 4, mantissa_bits: 3, nan: all_ones}"


def named(element: str, encode: str = "{}", name: str = "probe") -> NumberFormat:
    return parse_format(f"name: {name}\nelement: {element}\nencode: {encode}\n")


def test_equal_formats_have_one_plan() -> None:
    plans = [lower(named(E4M3, name=name), Purpose.ENCODE) for name in ("one", "other")]
    assert plans[0] is plans[1] is lower(load_format("float8_e4m3fn"), Purpose.ENCODE)


def test_plans_are_values() -> None:
    plan = lower(load_format("float8_e4m3fn"), Purpose.ENCODE)
    copy = pickle.loads(pickle.dumps(plan))
    assert (copy, hash(copy), hash(copy.shape)) == (plan, hash(plan), hash(plan.shape))
    other = lower(load_format("float8_e5m2"), Purpose.ENCODE)
    assert (other.shape, hash(other.shape)) == (plan.shape, hash(plan.shape))
    assert other != plan
    assert lower(load_format("float8_e4m3fn"), Purpose.DECODE).shape != plan.shape


def test_a_plan_of_another_process_has_the_hash_of_this_one() -> None:
    """Python salts the hashes of strings in each process: a plan must not bring its own along."""
    code = (
        "import pickle, sys; from statqat_sim import load_format\n"
        "from statqat_sim.plan.lower import Purpose, lower\n"
        "plan = lower(load_format('int4'), Purpose.ENCODE); hash(plan)\n"
        "sys.stdout.buffer.write(pickle.dumps(plan))"
    )
    sent = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout
    here = lower(load_format("int4"), Purpose.ENCODE)
    assert pickle.loads(sent) in {here}


MOST_SHAPES = {  # found for 195 formats, of dense codes and float64 for those of up to 8 bits: 3 or so fewer
    (Purpose.ENCODE, "float32"): 63,
    (Purpose.ENCODE, "float64"): 54,
    (Purpose.DECODE, "float32"): 32,
    (Purpose.DECODE, "float64"): 19,
    (Purpose.PACK, "float32"): 85,
    (Purpose.UNPACK, "float32"): 40,
    (Purpose.FAKE_QUANTIZE, "float32"): 66,
    (Purpose.FAKE_QUANTIZE_SCALED, "float32"): 66,
}


def test_few_shapes_serve_the_catalog() -> None:
    shapes: dict[tuple[Purpose, str], set[PlanShape]] = {key: set() for key in MOST_SHAPES}
    for format in map(load_format, formats(kind="number")):
        for purpose, floats in MOST_SHAPES:
            if format.bits <= 8 or (floats == "float32" and purpose not in (Purpose.PACK, Purpose.UNPACK)):
                shapes[purpose, floats].add(lower(format, purpose, floats=Storage(floats)).shape)
    found = {key: len(kinds) for key, kinds in shapes.items()}
    assert all(count <= MOST_SHAPES[key] for key, count in found.items()), found


@pytest.mark.parametrize(
    ("floats", "names"),
    [("bfloat16", ["float8_e4m3fn", "float8_e5m2", "int8", "nf4", "hif8"]), ("float16", ["int8", "nf4", "hif8"])],
)
def test_the_halves_differ_from_float32_in_their_first_steps_alone(floats: str, names: list[str]) -> None:
    for name in names:
        short, long = (lower(load_format(name), Purpose.ENCODE, floats=Storage(f)) for f in (floats, "float32"))
        assert (short.params, short.tables, short.shape.result) == (long.params, long.tables, long.shape.result)


@pytest.mark.parametrize(
    ("purpose", "family"),
    [
        (Purpose.ENCODE, ["float8_e4m3fn", "float8_e5m2", "float8_e4m3", "float8_e3m4"]),
        (Purpose.ENCODE, ["float4_e2m1fn", "float6_e2m3fn", "float6_e3m2fn", "float4_e1m2fn"]),
        (Purpose.ENCODE, ["float8_e4m3fnuz", "float8_e5m2fnuz", "p3109_binary8p3se", "p3109_binary6p3sf"]),
        (Purpose.ENCODE, ["int2", "int3", "int4", "int8"]),
        (Purpose.DECODE, ["float8_e5m2", "float8_e4m3", "float8_e3m4"]),
        (Purpose.DECODE, ["float8_e4m3fnuz", "float8_e5m2fnuz", "p3109_binary8p3sf"]),
        (Purpose.DECODE, ["float6_e2m3fn", "float6_e3m2fn"]),
        (Purpose.DECODE, ["float4_e2m1fn", "float4_e3m0fn", "int2", "int4", "uint1", "uint4", "nf4", "bnb_fp4"]),
    ],
)
def test_a_family_has_one_shape(purpose: Purpose, family: list[str]) -> None:
    assert len({lower(load_format(name), purpose).shape for name in family}) == 1


@pytest.mark.parametrize(("name", "keeps"), [("float8_e4m3fn", True), ("float8_e5m2", False), ("float6_e2m3fn", True)])
def test_a_float16_keeps_its_exponents_if_half_a_step_is_normal(name: str, keeps: bool) -> None:
    ops = [step.op for step in lower(load_format(name), Purpose.ENCODE, floats=Storage.FLOAT16).shape.steps]
    assert (Op.FMUL not in ops) is keeps


@pytest.mark.parametrize(("mask", "by_number", "is_small"), [(15, False, True), (15, True, False), (31, False, False)])
def test_a_shape_tells_the_tables_that_fit_registers(mask: int, by_number: bool, is_small: bool) -> None:
    fixed = Step(Op.PARAM) if by_number else const(mask)
    steps = READ, fixed, Step(Op.AND, (0, 1)), Step(Op.TABLE, (2,))
    shape = plan_of(*steps, params=(mask,) if by_number else (), tables=(bytes(128),)).shape
    assert [shape.reads_small_table(step) for step in steps] == [False, False, False, is_small]


@pytest.mark.parametrize(
    ("bits", "storage"),
    [(1, "uint8"), (8, "uint8"), (9, "uint16"), (16, "uint16"), (17, "uint32"), (32, "uint32")],
)
def test_a_code_is_held_by_the_narrowest_word(bits: int, storage: str) -> None:
    format = named(f"{{kind: int, encoding: unsigned, bits: {bits}}}")
    assert code_storage(format) == lower(format, Purpose.ENCODE).shape.result == storage
    assert lower(format, Purpose.DECODE).shape.streams[0].storage == storage


@pytest.mark.parametrize("bits", range(1, 17))
def test_dense_codes_have_the_formats_width(bits: int) -> None:
    format = named(f"{{kind: int, encoding: unsigned, bits: {bits}}}")
    if bits > 8:
        for purpose in (Purpose.PACK, Purpose.UNPACK):
            with pytest.raises(UnsupportedError, match=f"probe: packed codes of {bits} bits; allowed: up to 8 bits"):
                lower(format, purpose)
        return
    dense = Packed(bits) if bits < 8 else Storage.UINT8
    assert packed_storage(format) == lower(format, Purpose.PACK).shape.result == dense
    assert lower(format, Purpose.UNPACK).shape.streams[0].storage == dense


@pytest.mark.parametrize(
    ("pack", "bits", "big_endian"),
    [("{}", 4, False), ("{nibbles: high_first}", 4, True), ("{nibbles: low_first}", 4, False)]
    + [("{bit_order: msb}", bits, True) for bits in (1, 3, 4, 7)],
)
def test_the_order_of_dense_codes(pack: str, bits: int, big_endian: bool) -> None:
    format = parse_format(f"name: probe\nelement: {{kind: int, encoding: unsigned, bits: {bits}}}\npack: {pack}\n")
    assert packed_storage(format) == Packed(bits, big_endian)


def test_only_stochastic_plans_read_random_bits() -> None:
    for mode in Rounding:
        for bits, field in ((1, "uint8"), (8, "uint8"), (9, "uint16"), (16, "uint16"), (17, "uint32"), (32, "uint32")):
            format = named(E4M3, f"{{rounding: {mode.value}, random_bits: {bits}}}")
            for purpose in (Purpose.ENCODE, Purpose.PACK, Purpose.FAKE_QUANTIZE, Purpose.FAKE_QUANTIZE_SCALED):
                random = [stream for stream in lower(format, purpose).shape.streams if stream.name == "random"]
                assert random == ([Stream("random", Storage(field))] if mode.is_stochastic else [])
            for purpose in (Purpose.DECODE, Purpose.UNPACK):
                assert len(lower(format, purpose).shape.streams) == 1


def test_the_random_bits_are_four_words_of_a_block_number_and_a_seed() -> None:
    shape = philox().shape
    assert shape.streams == (Stream("block", Storage.UINT64), Stream("seed", Storage.UINT64))
    assert len(shape.outputs) == 4


# --- the two lowerings -------------------------------------------------------------------------------------------


def uses_the_fpu(plan: CodecPlan) -> bool:
    return any(step.op is Op.FADD for step in plan.shape.steps)


FAST = ["float8_e4m3fn", "float8_e5m2", "float4_e2m1fn", "float16", "p3109_binary8p3se", "int8", "uint4", "q0_7"]


@pytest.mark.parametrize("name", FAST)
def test_the_fpu_rounds_where_it_may(name: str) -> None:
    assert uses_the_fpu(lower(load_format(name), Purpose.ENCODE))
    assert not uses_the_fpu(lower(load_format(name), Purpose.ENCODE, Lowering.INTEGER))


@pytest.mark.parametrize(
    "element",
    [
        "{kind: float, exponent_bits: 3, mantissa_bits: 0}",  # ties go by the exponent's parity
        "{kind: float, exponent_bits: 4, mantissa_bits: 3, subnormals: flush}",
        "{kind: float, exponent_bits: 8, mantissa_bits: 3}",  # the magic number is beyond the largest float32
        "{kind: float, exponent_bits: 4, mantissa_bits: 3, bias: 125}",  # half a step is subnormal
        "{kind: float, exponent_bits: 5, mantissa_bits: 23}",
        "{kind: int, bits: 23}",  # the sum has no room for the sign of the rest
        "{kind: int, bits: 32}",
    ],
)
def test_the_fpu_does_not_round_where_it_would_be_wrong(element: str) -> None:
    fastest, integer = (lower(named(element), Purpose.ENCODE, lowering) for lowering in Lowering)
    assert fastest == integer
    assert not uses_the_fpu(fastest)


def check_lowerings(format: NumberFormat, bits: Any, floats: str = "float32") -> None:
    bits, storage = accepted(format, bits, floats), Storage(floats)
    inputs = {Purpose.ENCODE: bits, Purpose.FAKE_QUANTIZE: bits, Purpose.DECODE: some_codes(format, 1000)}
    for purpose, words in inputs.items():
        plans = [lower(format, purpose, lowering, floats=storage) for lowering in Lowering]
        fastest, integer = (by_interpreter(plan, words) for plan in plans)
        wrong = np.flatnonzero(fastest != integer)
        assert not len(wrong), [(hex(words[i]), hex(fastest[i]), hex(integer[i])) for i in wrong[:5]]


@pytest.mark.parametrize("floats", ["float16", "bfloat16", "float32", "float64"])
@pytest.mark.parametrize("name", formats(kind="number"))
def test_the_integer_lowering_is_one_for_circuits(name: str, floats: str) -> None:
    """No float operation, and no table longer than the list of values, or 16; both lowerings give the same bits."""
    format = load_format(name)
    for purpose in (Purpose.ENCODE, Purpose.DECODE):
        plan = lower(format, purpose, Lowering.INTEGER, floats=Storage(floats))
        assert not {Op.FADD, Op.FSUB, Op.FMUL, Op.FDIV} & {step.op for step in plan.shape.steps}
        assert all(len(table) <= 4 * max(1 << format.bits, SMALL_TABLE) for table in plan.tables)
    check_lowerings(format, around(format, floats, 8), floats)


@pytest.mark.parametrize("floats", ["float32", "float64"])
@pytest.mark.parametrize("mode", Rounding)
def test_both_lowerings_agree_around_every_boundary(mode: Rounding, floats: str) -> None:
    for name in FAST:
        format = parse_format(f"name: mode\nextends: {name}\nencode: {{rounding: {mode.value}, random_bits: 3}}\n")
        bits = edges(format, most=1000) if floats == "float32" else around(format, floats, 60)
        check_lowerings(format, bits, floats)


@settings(max_examples=150)
@given(
    text=specs(roundings=[*ROUNDINGS, *STOCHASTIC]),
    floats=st.sampled_from(["float16", "bfloat16", "float32", "float64"]),
    seed=st.integers(0, 2**32 - 1),
)
def test_both_lowerings_agree_on_any_format(text: str, floats: str, seed: int) -> None:
    format = parse_format(text)
    check_lowerings(format, np.concatenate([around(format, floats, 12, seed), random_bits(200, seed, floats)]), floats)


def test_a_float64_becomes_a_float32_first_where_that_changes_nothing() -> None:
    for name in ("float8_e4m3fn", "int8", "posit8"):
        short, long = (lower(load_format(name), Purpose.ENCODE, floats=Storage(f)) for f in ("float32", "float64"))
        assert short.params == long.params
    for name in ("bfloat16", "float32", "nf4", "lns8"):  # boundaries below the normal float32, or too fine for it
        short, long = (lower(load_format(name), Purpose.ENCODE, floats=Storage(f)) for f in ("float32", "float64"))
        assert short.params != long.params


# --- exact float32 arithmetic ------------------------------------------------------------------------------------


def value_of(magnitude: int) -> Fraction:
    return Fraction(float(np.uint32(magnitude).view(np.float32)))


nonnegative = st.one_of(
    st.floats(0, 1e39),
    st.floats(0, 1e-37),
    st.fractions(0, 10),
    st.integers(0, LARGEST).map(value_of),
    st.integers(0, LARGEST - 1).map(lambda bits: (value_of(bits) + value_of(bits + 1)) / 2),
    st.tuples(st.integers(0, LARGEST - 1).map(value_of), st.fractions(0, 1)).map(lambda pair: pair[0] * (1 + pair[1])),
).map(Fraction)


@settings(max_examples=500)
@given(value=nonnegative)
def test_floor_and_ceil_are_the_neighbours(value: Fraction) -> None:
    below, above = floor_magnitude(value), ceil_magnitude(value)
    assert value_of(below) <= value
    assert below == LARGEST or value_of(below + 1) > value
    assert above == INFINITY or value_of(above) >= value
    assert above == 0 or value_of(above - 1) < value
    assert above == below + (value_of(below) != value)


@settings(max_examples=500)
@given(value=nonnegative)
def test_nearest_is_the_nearer_neighbour_or_the_even_one(value: Fraction) -> None:
    below, above, nearest = floor_magnitude(value), ceil_magnitude(value), nearest_magnitude(value)
    high = value_of(above) if above < INFINITY else Fraction(2) ** 128
    up, down = high - value, value - value_of(below)
    even = below if below % 2 == 0 else above
    assert nearest == (above if up < down else below if down < up else even)


@settings(max_examples=500)
@given(x=st.floats(allow_nan=False, allow_infinity=False))
def test_nearest_bits_are_those_of_numpy(x: float) -> None:
    with np.errstate(over="ignore"):
        assert FLOAT32.pattern(x) == int(np.float32(x).view(np.uint32))


LAYOUTS = {np.float16: FLOAT16, np.float32: FLOAT32, np.float64: FLOAT64, ml_dtypes.bfloat16: BFLOAT16}


@pytest.mark.parametrize("dtype", LAYOUTS)
@settings(max_examples=200)
@given(x=st.floats(allow_nan=False), data=st.data())
def test_every_layout_rounds_as_numpy_does(dtype: type, x: float, data: st.DataObject) -> None:
    layout, bits = LAYOUTS[dtype], 8 * np.dtype(dtype).itemsize
    with np.errstate(over="ignore"):
        rounded = np.float64(x).astype(dtype)
        assert layout.pattern(x) == int(rounded.view(f"u{bits // 8}")), x
    magnitude = data.draw(st.integers(0, layout.infinity - 1))
    value = Fraction(float(np.array(magnitude, f"u{bits // 8}").view(dtype)))
    assert [f(value) for f in (layout.floor_magnitude, layout.ceil_magnitude, layout.nearest_magnitude)] == [
        magnitude
    ] * 3
    assert (layout.floor_magnitude(value + TINY), layout.ceil_magnitude(value + TINY)) == (magnitude, magnitude + 1)


TINY = Fraction(1, 1 << 1100)


def test_extremes() -> None:
    assert [f(Fraction(2) ** 200) for f in (floor_magnitude, ceil_magnitude, nearest_magnitude)] == [
        LARGEST,
        INFINITY,
        INFINITY,
    ]
    tiny = Fraction(1, 2**200)
    assert [f(tiny) for f in (floor_magnitude, ceil_magnitude, nearest_magnitude)] == [0, 1, 0]
    assert [nearest_magnitude(Fraction(n, 2**150)) for n in (1, 2, 3)] == [0, 1, 2]
    assert [FLOAT32.pattern(x) for x in (0.0, -0.0, -1.0)] == [0, 0x8000_0000, 0xBF80_0000]
    assert [power_of_two(n) for n in (-2, 0, 3)] == [Fraction(1, 4), 1, 8]
