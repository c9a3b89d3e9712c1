"""The torch backend: plans as torch operations, one by one and compiled, on tensors and arrays of any kind."""

from __future__ import annotations

import pickle
import subprocess
import sys
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import ml_dtypes
import numpy as np
import pytest
import torch
from checking import array_of
from hypothesis import given, settings
from hypothesis import strategies as st
from inputs import SPECIALS, around, random_bits, specs

from statqat_sim.arrays import CPU
from statqat_sim.arrays.tensors import TENSORS
from statqat_sim.backends.torch_ops import TorchBackend
from statqat_sim.backends.torch_ops.kernel import TorchKernel
from statqat_sim.backends.torch_ops.printer import printed
from statqat_sim.codec import Codec
from statqat_sim.plan.builder import Builder
from statqat_sim.plan.lower import Lowering, Purpose, lower
from statqat_sim.plan.program import CodecPlan, Op, PlanShape, Step, Storage, Stream
from statqat_sim.reference.backend import ReferenceKernel
from statqat_sim.reference.interpret import interpret
from statqat_sim.spec.catalog import formats, load_format, parse_format
from statqat_sim.testing import assert_bit_exact

Array = Any
CATALOG = formats(kind="number")
COMPILED = (
    *("float8_e4m3fn", "float4_e2m1fn", "float4_e3m0fn", "float8_e8m0fnu", "bfloat16", "int8", "ue4m3"),
    *("nf4", "posit8", "takum_log8", "lns8", "p3109_binary8p3se"),
)
E4M3 = load_format("float8_e4m3fn")
CODEC, REFERENCE = Codec(E4M3, "torch"), Codec(E4M3, "reference")
STOCHASTIC = "{{name: drawn, element: {{kind: int, bits: 4}}, encode: {{rounding: stochastic_a, random_bits: {}}}}}"

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning"),  # torch's compiler warns of torch
    pytest.mark.filterwarnings("ignore:.*\\.grad attribute of a Tensor:UserWarning"),
]


def normal(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(seed).standard_normal(shape, np.float32))


def together(*calls: Callable[[], Any]) -> list[Any]:
    """What calls give when torch compiles them as one function: every compilation takes seconds."""
    torch.compiler.reset()
    results: list[Any] = torch.compile(lambda: [call() for call in calls], fullgraph=True)()
    return results


# --- every operation, one by one ---------------------------------------------------------------------------------

X, Y = Stream("x", Storage.FLOAT32), Stream("scale", Storage.FLOAT32)
WORD_OPS = [Op.ADD, Op.SUB, Op.MUL, Op.MULHI, Op.AND, Op.OR, Op.XOR, Op.MIN, Op.MAX, Op.EQ, Op.LT]
FLOAT_OPS = [Op.FADD, Op.FSUB, Op.FMUL, Op.FDIV]
ENDS = np.array(
    [0, 1, 31, 0x7FFF_FFFF, 0x8000_0000, 0x8000_0001, 0xFFFF_FFFF, 0x7F80_0000, 0xFF80_0000, 0x7F80_0001, 0xFFC1_2345]
    + [0x3F80_0000, 0x0040_0000, 0x2000_0001, 0x1F80_0003, 0x7F7F_FFFF, 0x0080_0000],
    np.uint32,
)
"""Among them NaN that signal, with payloads, and of both signs; subnormals and what they come from."""


def of_two_streams(*steps: Step) -> CodecPlan:
    steps = (Step(Op.INPUT), Step(Op.INPUT, (), 1), *steps)
    return CodecPlan(PlanShape(steps, (X, Y), (), (), Storage.UINT32, (len(steps) - 1,)))


def plans_of_every_operation() -> list[CodecPlan]:
    """Each on two variables, and with a constant on either side."""
    plans = [of_two_streams(Step(op, (0, 1))) for op in (*WORD_OPS, *FLOAT_OPS)]
    low = Step(Op.CONST, (), 31), Step(Op.AND, (1, 2))
    plans += [of_two_streams(*low, Step(op, (0, 3))) for op in (Op.SHL, Op.SHR)]
    for constant in (0, 0x8000_0000, 0x3F80_0000, 0xFFC0_0001):
        fixed = Step(Op.CONST, (), constant)
        for op in WORD_OPS if constant == 0xFFC0_0001 else (*WORD_OPS, *FLOAT_OPS):
            plans += [of_two_streams(fixed, Step(op, args)) for args in ((0, 2), (2, 0))]
        plans += [of_two_streams(fixed, Step(Op.SELECT, args)) for args in ((0, 2, 1), (0, 1, 2), (0, 2, 2), (2, 0, 1))]
    for places in (0, 1, 31):
        plans += [of_two_streams(Step(Op.CONST, (), places), Step(op, (0, 2))) for op in (Op.SHL, Op.SHR)]
    plans += [of_two_streams(*low, Step(Op.CONST, (), 0xF000_0001), Step(op, (4, 3))) for op in (Op.SHL, Op.SHR)]
    truths = Step(Op.LT, (0, 1)), Step(Op.EQ, (0, 1))
    plans += [of_two_streams(*truths, Step(op, (2, 3))) for op in (Op.AND, Op.OR, Op.XOR, Op.ADD, Op.EQ, Op.MIN)]
    return [*plans, of_two_streams(*truths, Step(Op.SELECT, (2, 0, 1))), of_two_streams(truths[0])]


OPERATIONS = plans_of_every_operation()


def operands() -> tuple[Array, Array]:
    random = random_bits(1000, 1), random_bits(1000, 2)
    pairs = np.repeat(ENDS, len(ENDS)), np.tile(ENDS, len(ENDS))
    return np.concatenate([random[0], pairs[0]]), np.concatenate([random[1], pairs[1]])


def test_every_operation_gives_what_the_interpreter_gives() -> None:
    a, b = operands()
    for plan in OPERATIONS:
        result = TorchKernel(plan)(a.view(np.float32), scale=b.view(np.float32))
        np.testing.assert_array_equal(result, interpret(plan, [a, b]), err_msg=printed(plan))


@pytest.mark.long
def test_every_operation_gives_the_same_compiled() -> None:
    a, b = operands()
    x, y = (torch.from_numpy(each.view(np.float32)) for each in (a, b))
    kernels = [TorchKernel(plan) for plan in OPERATIONS]
    results = together(*[lambda kernel=kernel: kernel(x, scale=y) for kernel in kernels])
    for plan, result in zip(OPERATIONS, results, strict=True):
        np.testing.assert_array_equal(result.numpy(), interpret(plan, [a, b]), err_msg=printed(plan))


def test_tables_are_read_and_known_steps_are_not_printed() -> None:
    mask, parity = Step(Op.CONST, (), 255), Step(Op.PARAM)
    steps = [Step(Op.INPUT), mask, Step(Op.AND, (0, 1)), Step(Op.TABLE, (2,)), Step(Op.TABLE, (2,), 1), parity]
    steps += [Step(Op.MUL, (1, 5)), Step(Op.AND, (0, 6)), Step(Op.SELECT, (7, 3, 4))]
    tables = [np.random.default_rng(seed).integers(0, 1 << 32, 256, dtype=np.uint32).tobytes() for seed in (0, 1)]
    shape = PlanShape(tuple(steps), (X,), ("one bit",), ("a", "b"), Storage.UINT32, (8,))
    plan, x = CodecPlan(shape, (0x100,), tuple(tables)), random_bits(3000)
    assert "v6" not in printed(plan)
    assert_bit_exact(TorchKernel(plan)(x.view(np.float32)), interpret(plan, [x]))


@pytest.mark.parametrize("storage", [storage for storage in Storage if storage.bits <= 32])
def test_words_of_every_width_are_read_and_written(storage: Storage) -> None:
    widened = PlanShape((Step(Op.INPUT),), (Stream("x", storage),), (), (), Storage.UINT32, (0,))
    cut = PlanShape((Step(Op.INPUT),), (Stream("x", Storage.UINT32),), (), (), storage, (0,))
    x = np.arange(1 << 16, dtype=np.uint32) * np.uint32(0x0101_0101)
    kept = x & np.uint32((1 << storage.bits) - 1)
    assert_bit_exact(TorchKernel(CodecPlan(widened))(array_of(kept, storage)), kept)
    if storage not in (Storage.FLOAT16, Storage.BFLOAT16):  # of which no plan is a result
        assert_bit_exact(TorchKernel(CodecPlan(cut))(x), array_of(kept, storage))


@pytest.mark.parametrize("result", [Storage.UINT64, Storage.FLOAT64])
def test_wide_words_are_read_and_written_in_halves(result: Storage) -> None:
    x = np.arange(1, 1001, dtype=np.uint64) * np.uint64(0x0123_4567_89AB_CDEF)
    builder = Builder()
    high, low = builder.input_pair("x", Storage.UINT64)
    kernel = TorchKernel(builder.finish((high, low), result))
    assert_bit_exact(kernel(x), array_of(x << np.uint64(32) | x >> np.uint64(32), result))


# --- formats -----------------------------------------------------------------------------------------------------


ALL = (Purpose.ENCODE, Purpose.DECODE, Purpose.FAKE_QUANTIZE, Purpose.FAKE_QUANTIZE_SCALED)


def inputs_of(plan: CodecPlan, bits: Array) -> tuple[Array, Array]:
    """What a plan reads, and scales."""
    storage = plan.shape.streams[0].storage
    assert isinstance(storage, Storage)
    mask = bits.dtype.type((1 << storage.bits) - 1)
    scales = np.resize(np.float32([1, 0.3, -7, 1e-30, 1e30, 0, np.inf, np.nan]), len(bits))
    return array_of(bits & mask, storage), scales


def expected(plan: CodecPlan, bits: Array) -> Array:
    x, scales = inputs_of(plan, bits)
    return ReferenceKernel(plan)(x, scale=scales)


SOME = np.concatenate([SPECIALS, random_bits(300, 3)])


@pytest.mark.parametrize("name", CATALOG)
def test_scaled_formats_of_the_catalog(name: str) -> None:
    """Without a scale the conformance tests have them."""
    plan = lower(load_format(name), Purpose.FAKE_QUANTIZE_SCALED)
    x, scales = inputs_of(plan, SOME)
    assert_bit_exact(TorchKernel(plan)(x, scale=scales), expected(plan, SOME))


def check_compiled(names: Sequence[str], purposes: Sequence[Purpose] = ALL, floats: str = "float32") -> None:
    """Formats compiled as one function give what the interpreter gives."""
    plans = [lower(load_format(name), purpose, floats=Storage(floats)) for name in names for purpose in purposes]
    wide = SOME if floats == "float32" else random_bits(600, 4, floats)
    bits = [np.concatenate([around(load_format(name), floats, seed=1), wide]) for name in names for _ in purposes]
    calls = []
    for plan, each in zip(plans, bits, strict=True):
        x, scales = (tensor_of(array) for array in inputs_of(plan, each))
        calls.append(partial(TorchKernel(plan), x, scale=scales))
    for plan, each, result in zip(plans, bits, together(*calls), strict=True):
        assert_bit_exact(result.numpy(), expected(plan, each))


def tensor_of(array: Array) -> torch.Tensor:
    """The same bits as a tensor."""
    if array.dtype == ml_dtypes.bfloat16:
        return torch.from_numpy(array.view(np.uint16).copy()).view(torch.bfloat16)
    return torch.from_numpy(array.copy())


@pytest.mark.long
def test_compiled_formats_give_what_the_interpreter_gives() -> None:
    check_compiled(COMPILED, [Purpose.ENCODE])


@pytest.mark.long
def test_compiled_codes_give_what_the_interpreter_gives() -> None:
    check_compiled(COMPILED[::2], [Purpose.DECODE])


@pytest.mark.long
@pytest.mark.parametrize("floats", ["float16", "bfloat16", "float32", "float64"])
def test_compiled_formats_read_every_float(floats: str) -> None:
    purposes = ALL if floats == "float32" else [Purpose.FAKE_QUANTIZE]
    check_compiled(["float8_e4m3fn"], purposes, floats)


@pytest.mark.long
@pytest.mark.parametrize("floats", ["float32", "float16", "bfloat16", "float64"])
@pytest.mark.parametrize("name", CATALOG)
def test_every_compiled_format_gives_what_the_interpreter_gives(name: str, floats: str) -> None:
    check_compiled([name], floats=floats)


@pytest.mark.long
def test_compilers_without_vectors_give_the_same() -> None:
    """There int32 is C's, whose overflow is nobody's duty."""
    with torch._inductor.config.patch({"cpp.simdlen": 1}):
        check_compiled(COMPILED)


@settings(max_examples=30)
@given(text=specs(), seed=st.integers(0, 1000), lowering=st.sampled_from(list(Lowering)))
def test_random_specs_give_what_the_interpreter_gives(text: str, seed: int, lowering: Lowering) -> None:
    format, bits = parse_format(text), random_bits(60, seed)
    if format.encode.rounding.is_stochastic:
        return
    plan = lower(format, Purpose.ENCODE, lowering)
    x = bits.view(np.float32)
    assert_bit_exact(TorchKernel(plan)(x), ReferenceKernel(plan)(x))


# --- inputs of every type ----------------------------------------------------------------------------------------

INTEGERS = ["int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64"]


def integers(dtype: str) -> Array:
    ends = np.iinfo(dtype)
    random = np.random.default_rng(0).integers(ends.min, ends.max, 500, dtype, endpoint=True)
    shifted = random >> np.random.default_rng(1).integers(0, ends.bits, 500).astype(dtype)
    near = [
        (1 << power) + step for power in range(50, ends.bits) for step in (-1, 0, 1, 1 << 9) if power < ends.bits - 1
    ]
    return np.concatenate([random, shifted, np.array([ends.min, 0, 1, ends.max, *near], dtype)])


@pytest.mark.parametrize("name", ["float8_e4m3fn", "bfloat16", "float32"])
@pytest.mark.parametrize("dtype", INTEGERS)
def test_integers_are_read(dtype: str, name: str) -> None:
    x, ours, theirs = integers(dtype), Codec(load_format(name), "torch"), Codec(load_format(name), "reference")
    assert_bit_exact(ours.encode(torch.from_numpy(x)), theirs.encode(x))
    assert_bit_exact(ours.fake_quantize(torch.from_numpy(x)), theirs.fake_quantize(x))


@pytest.mark.parametrize("dtype", ["int64", "uint64"])
def test_long_integers_are_rounded_to_odd(dtype: str) -> None:
    x = integers(dtype)
    assert_bit_exact(
        TENSORS.as_native(torch.from_numpy(x), Storage.FLOAT64, "x"), CPU.as_native(x, Storage.FLOAT64, "x")
    )


def views(x: torch.Tensor) -> dict[str, torch.Tensor]:
    return {
        "transposed": x.mT,
        "permuted": x.permute(2, 0, 1),
        "every other": x[::2, :, ::3],
        "inner part": x[1:-1, :, 5:-5],
        "expanded": x[:, :1].expand(x.shape),
        "0-d": x[1, 2, 3],
        "empty": x[:0],
        "empty inside": x[:, :0, :],
        "flipped": x.flip(0),
    }


@pytest.mark.parametrize("kind", views(normal(8, 6, 40)))
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
def test_any_view_is_read(kind: str, dtype: torch.dtype) -> None:
    x = views(normal(8, 6, 40).to(dtype))[kind]
    plain = x.clone()
    assert_bit_exact(CODEC.encode(x), REFERENCE.encode(plain))
    assert_bit_exact(CODEC.fake_quantize(x, scale=0.3), REFERENCE.fake_quantize(plain, scale=0.3))
    assert_bit_exact(
        CODEC.decode(CODEC.encode(x), dtype="float64"), REFERENCE.decode(REFERENCE.encode(plain), dtype="float64")
    )


def test_a_negated_view_is_read() -> None:
    x = torch.complex(normal(50), normal(50, seed=1)).conj().imag
    assert x.is_neg()
    assert_bit_exact(CODEC.encode(x), REFERENCE.encode(x.resolve_neg()))


def test_numpy_arrays_come_back_as_numpy_arrays() -> None:
    x = normal(20, 30).numpy()
    x.flags.writeable = False
    codes = CODEC.encode(x)
    assert (type(codes), codes.dtype) == (np.ndarray, np.uint8)
    assert_bit_exact(codes, REFERENCE.encode(x))
    out = np.zeros((30, 20), np.float32).T
    assert CODEC.fake_quantize(x, out=out) is out
    assert_bit_exact(out, REFERENCE.fake_quantize(x))
    assert_bit_exact(CODEC.encode(x.astype(ml_dtypes.bfloat16)), REFERENCE.encode(x.astype(ml_dtypes.bfloat16)))


# --- scales, packed codes, random bits, out ----------------------------------------------------------------------


@pytest.mark.parametrize(
    "scale",
    [
        0.3,
        2,
        np.float64(0.3),
        torch.tensor(0.3),
        torch.tensor(3),
        torch.tensor(0.3, dtype=torch.float64),
        torch.linspace(0.2, 0.9, 7).reshape(7, 1),
    ],
    ids=repr,
)
def test_scales(scale: Any) -> None:
    x = normal(5, 7, 9)
    assert_bit_exact(CODEC.fake_quantize(x, scale=scale), REFERENCE.fake_quantize(x.numpy(), scale=scale))


@pytest.mark.parametrize("bits", range(1, 9))
@pytest.mark.parametrize("length", [1, 7, 8, 40])
def test_packed_codes(bits: int, length: int) -> None:
    format = parse_format(f"name: dense\nelement: {{kind: int, bits: {bits}}}\n")
    ours, theirs, x = Codec(format, "torch"), Codec(format, "reference"), normal(3, length) * (1 << bits) / 4
    packed = ours.encode(x, packed=True)
    assert_bit_exact(packed, theirs.encode(x.numpy(), packed=True))
    values = ours.decode(packed, packed=True, shape=tuple(x.shape))
    assert_bit_exact(values, theirs.fake_quantize(x.numpy()))
    assert_bit_exact(ours.decode(packed.reshape(-1), packed=True, shape=tuple(x.shape)), values)


@pytest.mark.parametrize("bits", [3, 8, 12, 32])
def test_random_bits(bits: int) -> None:
    format = parse_format(STOCHASTIC.format(bits))
    ours, theirs, x = Codec(format, "torch"), Codec(format, "reference"), normal(9, 11) * 3
    for seed, offset in ((0, 0), (1, 5), (2**64 - 1, 2**33 + 7), (2**63, 2**64 - 99)):
        wanted = theirs.encode(x.numpy(), seed=seed, offset=offset)
        assert_bit_exact(ours.encode(x, seed=seed, offset=offset), wanted)
    assert ours.encode(x[:0], seed=1).shape == (0, 11)


def test_out() -> None:
    x = normal(20, 30)
    expected = REFERENCE.fake_quantize(x.numpy())
    out = torch.zeros(30, 20).T
    assert CODEC.fake_quantize(x, out=out) is out
    assert_bit_exact(out.contiguous(), expected)
    memory = torch.cat([x.reshape(-1), torch.zeros(1)])
    CODEC.fake_quantize(memory[:-1], out=memory[1:])
    assert_bit_exact(memory[1:], expected.reshape(-1))
    assert CODEC.fake_quantize(x, out=x) is x
    assert_bit_exact(x, expected)


def test_results_carry_no_gradients() -> None:
    x, scale = normal(50).requires_grad_(), torch.tensor(0.3, requires_grad=True)
    assert not CODEC.fake_quantize(x, scale=scale).requires_grad
    assert not CODEC.fake_quantize(x * 2, scale=scale).requires_grad


def test_a_copy_stands_on_its_own() -> None:
    codec, x = Codec(load_format("nf4"), "torch"), normal(100)
    expected = codec.encode(x)
    assert_bit_exact(pickle.loads(pickle.dumps(codec)).encode(x), expected)


# --- compiled codecs ---------------------------------------------------------------------------------------------


@pytest.mark.long
def test_codecs_are_traced_whole() -> None:
    """Lowering and printing happen while torch traces; so they do for a codec that was never used."""
    x, scale = normal(8, 64), torch.rand(8, 1)
    names = ("float8_e4m3fn", "nf4", "int8")
    ours = [Codec(load_format(name), "torch") for name in names]
    calls = [lambda codec=codec: codec.fake_quantize(x, scale=scale) for codec in ours]
    calls += [lambda codec=codec: codec.decode(codec.encode(x.bfloat16())) for codec in ours]
    calls.append(lambda: ours[0].encode(x, packed=True))
    theirs = [Codec(load_format(name), "reference") for name in names]
    wanted = [codec.fake_quantize(x.numpy(), scale=scale.numpy()) for codec in theirs]
    wanted += [codec.decode(codec.encode(x.bfloat16())) for codec in theirs]
    wanted.append(theirs[0].encode(x.numpy(), packed=True))
    for result, each in zip(together(*calls), wanted, strict=True):
        assert_bit_exact(result, each)


def test_random_bits_are_drawn_in_compiled_code() -> None:
    """Many of them: where the compiler saw what is multiplied, its loops had no end."""
    x, drawn = normal(300, 1001), [(8, 3, 0), (32, 2**64 - 1, 2**33 + 7)]
    formats = [parse_format(STOCHASTIC.format(bits)) for bits, _, _ in drawn]
    ours, theirs = ([Codec(format, backend) for format in formats] for backend in ("torch", "numba"))
    options = [{"seed": seed, "offset": offset} for _, seed, offset in drawn]
    calls = [lambda codec=codec, each=each: codec.encode(x, **each) for codec, each in zip(ours, options, strict=True)]
    for result, codec, each in zip(together(*calls), theirs, options, strict=True):
        assert_bit_exact(result, codec.encode(x, **each))


@pytest.mark.long
def test_seeds_may_change_between_compiled_calls() -> None:
    format = parse_format(STOCHASTIC.format(16))
    encode, reference = Codec(format, "torch").encode, Codec(format, "numba").encode
    torch.compiler.reset()
    compiled = torch.compile(lambda x, seed, offset: encode(x, seed=seed, offset=offset), fullgraph=True)
    for seed, offset, size in ((3, 0, 100), (2**63 - 1, 2**33 + 7, 100), (5, 1, 30_000)):
        x = normal(size)
        assert_bit_exact(compiled(x, seed, offset), reference(x, seed=seed, offset=offset))


def test_out_is_written_by_a_compiled_codec() -> None:
    x, out = normal(8, 64), torch.zeros(64, 8).T
    torch.compiler.reset()
    torch.compile(CODEC.fake_quantize, fullgraph=True)(x, out=out)
    assert_bit_exact(out.contiguous(), REFERENCE.fake_quantize(x.numpy()))


def test_shapes_that_change_are_compiled_once_more_and_no_oftener() -> None:
    torch.compiler.reset()
    counted = torch._dynamo.testing.CompileCounterWithBackend("eager")
    compiled = torch.compile(CODEC.fake_quantize, fullgraph=True, backend=counted)
    for size in (100, 200, 300, 400):
        x = normal(size, 3)
        assert_bit_exact(compiled(x), REFERENCE.fake_quantize(x.numpy()))
    assert counted.frame_count <= 2


# --- what is refused ---------------------------------------------------------------------------------------------

TOLD = "allowed: an array of float16, bfloat16, float32, float64, integers"


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (torch.zeros(3, dtype=torch.bool), f"x is bool; {TOLD}"),
        (torch.zeros(3, dtype=torch.complex64), f"x is complex64; {TOLD}"),
        (torch.zeros(3, dtype=torch.float8_e4m3fn), f"x is float8_e4m3fn; {TOLD}"),
        (torch.zeros(3).to_sparse(), "x is a sparse_coo tensor; allowed: strided ones"),
        ([1.0], f"x is list; {TOLD}"),
    ],
    ids=["bool", "complex", "float8", "sparse", "list"],
)
def test_other_inputs_are_refused(x: Any, message: str) -> None:
    with pytest.raises(TypeError, match=message):
        CODEC.encode(x)


@pytest.mark.parametrize(
    ("out", "error", "message"),
    [
        (torch.zeros(10, dtype=torch.int8), TypeError, "out is int8; allowed: uint8"),
        (np.zeros(10, np.uint8), TypeError, "out is a ndarray; allowed: a uint8 array"),
        (torch.zeros(9, dtype=torch.uint8), ValueError, r"out has shape \(9,\); allowed: \(10,\)"),
        (torch.zeros(1, dtype=torch.uint8).expand(10), ValueError, "out is read-only"),
        (
            torch.zeros(10, dtype=torch.uint8, device="meta"),
            TypeError,
            "out is on meta; allowed: cpu, where the input is",
        ),
    ],
    ids=["dtype", "numpy", "shape", "expanded", "device"],
)
def test_an_unfit_out_is_refused(out: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        CODEC.encode(normal(10), out=out)


@pytest.mark.parametrize(
    ("scale", "error", "message"),
    [
        (torch.zeros(4), ValueError, r"scale has shape \(4,\); allowed: shapes that broadcast to \(10,\)"),
        (torch.zeros(1, 10), ValueError, r"scale has shape \(1, 10\)"),
        (
            torch.zeros(10, dtype=torch.float64),
            TypeError,
            r"scale is float64; allowed: float32; convert it: scale.to\(",
        ),
        (np.zeros(10, np.float32), TypeError, "scale is a ndarray; allowed: a number or a float32 tensor"),
        (torch.zeros(10, device="meta"), TypeError, "scale is on meta; allowed: cpu"),
        (torch.zeros((), dtype=torch.complex64), TypeError, "scale is complex64; allowed: an array of real numbers"),
        (1e39, ValueError, r"scale is 1e\+39; allowed: what float32 holds"),
    ],
    ids=["shape", "rank", "dtype", "numpy", "device", "complex", "large"],
)
def test_an_unfit_scale_is_refused(scale: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        CODEC.fake_quantize(normal(10), scale=scale)


def test_other_codes_are_refused() -> None:
    with pytest.raises(TypeError, match=r"codes is int64; allowed: uint8; convert it: codes\.to\(torch\.uint8\)"):
        CODEC.decode(torch.zeros(3, dtype=torch.int64))


def test_tensors_share_memory_or_not() -> None:
    x = torch.arange(10.0)
    assert TENSORS.separate(x, torch.zeros(10)) is x
    assert TENSORS.separate(x, x) is x
    assert TENSORS.separate(x[:5], x[5:]).data_ptr() == x.data_ptr()
    assert TENSORS.separate(x[:9], x[1:]).data_ptr() != x.data_ptr()
    assert TENSORS.separate(x, x.view(torch.int16)).data_ptr() != x.data_ptr()


def test_the_first_of_a_mask() -> None:
    assert TENSORS.first(torch.tensor([[False, False], [True, True]])) == 2
    assert TENSORS.first(torch.zeros(3, dtype=torch.bool)) is None


def test_the_backend_is_taken_only_by_name_and_loads_torch_late() -> None:
    assert not TorchBackend().owns(torch.zeros(1))
    assert TorchBackend().available() is None
    code = "import sys; from statqat_sim.backends.torch_ops import TorchBackend; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
