"""The torch backend: plans as torch operations, one by one and compiled, on tensors and arrays of any kind."""

from __future__ import annotations

import pickle
import subprocess
import sys
from collections.abc import Sequence
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
from torch_compiled import WARNINGS, normal, together

from statqat_sim.arrays import CPU
from statqat_sim.arrays.tensors import TENSORS
from statqat_sim.backends.torch_ops import TorchBackend
from statqat_sim.backends.torch_ops.kernel import TorchKernel
from statqat_sim.codec import Codec
from statqat_sim.plan.lower import Lowering, Purpose, lower
from statqat_sim.plan.program import CodecPlan, Storage
from statqat_sim.reference.backend import ReferenceKernel
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

pytestmark = WARNINGS


# --- formats -----------------------------------------------------------------------------------------------------


ALL = (Purpose.ENCODE, Purpose.DECODE, Purpose.FAKE_QUANTIZE, Purpose.FAKE_QUANTIZE_SCALED)


def inputs_of(plan: CodecPlan, bits: Array) -> tuple[Array, Array]:
    """What a plan reads, and scales."""
    storage = plan.shape.streams[0].storage
    assert isinstance(storage, Storage)
    mask = bits.dtype.type((1 << min(storage.bits, 8 * bits.itemsize)) - 1)
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
        (np.zeros(10, np.uint8), TypeError, "out is of type ndarray; allowed: a uint8 array"),
        (torch.zeros(9, dtype=torch.uint8), ValueError, r"out has shape \(9,\); allowed: \(10,\)"),
        (torch.zeros(1, dtype=torch.uint8).expand(10), ValueError, "elements of out may share memory"),
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


@pytest.mark.parametrize("codec", [CODEC, Codec(load_format("mxfp4"), "torch")], ids=["number", "blocks"])
def test_elements_of_out_have_a_place_each(codec: Codec) -> None:
    memory = torch.zeros(8, 64)
    with pytest.raises(
        ValueError, match="elements of out may share memory; allowed: tensors whose strides keep them apart"
    ):
        codec.fake_quantize(normal(3, 2), out=memory.as_strided((3, 2), (1, 1)))
    x = normal(4, 32)
    for out in (memory[::2, 1::2], memory.reshape(64, 8)[::2, :4].T):
        assert torch.equal(codec.fake_quantize(x, out=out), codec.fake_quantize(x))
    empty = torch.zeros(1, 0).expand(4, 0)
    assert codec.fake_quantize(x[:, :0], out=empty) is empty


def test_any_shape_of_out_is_compiled_at_once() -> None:
    torch.compiler.reset()
    write = torch.compile(lambda x, out: CODEC.fake_quantize(x, out=out), fullgraph=True, dynamic=True, backend="eager")
    for rows in (5, 7):
        x, out = normal(rows, 4), torch.zeros(rows, 9)[:, 1::2]
        write(x, out)
        assert torch.equal(out, CODEC.fake_quantize(x))


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
        (np.zeros(10, np.float32), TypeError, "scale is of type ndarray; allowed: a number or a float32 tensor"),
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
    with pytest.raises(
        TypeError, match=r"codes is int64; allowed: uint8; if its values fit, convert it: codes\.to\(torch\.uint8\)"
    ):
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
