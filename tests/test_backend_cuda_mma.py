"""Matrix instructions of the GPU backend: its kernels compiled by g++, and its arrays' way through `matmul`.

That numba gives what the exact oracle says of all these inputs is in `test_accelerator_exact`.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
import torch
from cuda_on_cpu.backend import LAUNCHER, TensorsOnCuda, WithCudaMma
from cuda_on_cpu.stand_in import FETCHED, Foreign, cupy_replaced, memory
from cuda_on_cpu.stand_in import Array as OnGpu
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from mma_cases import FAMILIES, assert_same, bits_of
from mma_compare import CASES, DISTINCT, arguments, chosen, compare, families
from mma_random import FOUND, Operands, accelerators, parsed
from mma_ways import WAYS, normal

import statqat_sim as sqs
from statqat_sim import runtime
from statqat_sim.backends.cupy_gpu import driver
from statqat_sim.backends.cupy_gpu.backend import CupyBackend
from statqat_sim.backends.cupy_gpu.mma_text import MmaForm, mma_kernel
from statqat_sim.errors import UnsupportedError
from statqat_sim.quantized import QuantizedTensor
from statqat_sim.testing import assert_bit_exact

pytestmark = pytest.mark.skipif(shutil.which("g++") is None, reason="g++ is not installed")

Array = Any
TILES = 9, 33
"""More rows and columns than a block and a warp have."""


@contextmanager
def on_cuda() -> Iterator[None]:
    """Matrix instructions on numpy arrays run as CUDA."""
    known = runtime.backends()
    ours, known["numba"] = known["numba"], WithCudaMma()  # type: ignore[index]  # a dict that nobody else changes
    try:
        yield
    finally:
        known["numba"] = ours  # type: ignore[index]


@pytest.fixture(scope="module", autouse=True)
def _compiled() -> None:
    """All kernels at once, which takes less time."""
    LAUNCHER.prepare(mma_kernel(form).text for form in MmaForm.every())


# --- the bits ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("case", DISTINCT, ids="-".join)
def test_an_instruction_is_what_the_oracle_and_numba_say(case: tuple[str, ...]) -> None:
    accelerator = chosen(case)[0]
    first, *others = families(case, 2)
    with on_cuda():
        compare(case, first, 2)
    for family in others or [first]:
        operands = arguments(case, family, TILES)
        expected = bits_of(accelerator.matmul(**operands))
        with on_cuda():
            assert_same(bits_of(accelerator.matmul(**operands)), expected, f"{case}, {family}")


@pytest.mark.long
@pytest.mark.parametrize("case", CASES, ids="-".join)
def test_many_results_are_what_the_oracle_says(case: tuple[str, ...]) -> None:
    with on_cuda():
        for family in families(case, 8):
            compare(case, family, 8)


@pytest.mark.parametrize("name", FOUND)
def test_what_was_wrong_once(name: str) -> None:
    text, operands = FOUND[name]
    accelerator, instruction = parsed(text)
    with on_cuda():
        d = accelerator.matmul(**operands.given(instruction))
    assert_same(bits_of(d), operands.expected(instruction), text)


def check(text: str, family: str, seed: int) -> bool:
    """The kernel gives what the oracle says; False if it is said that there is none."""
    try:
        accelerator, instruction = parsed(text)
    except UnsupportedError:
        return False
    operands = Operands.drawn(instruction, family, seed)
    with on_cuda():
        d = accelerator.matmul(**operands.given(instruction))
    assert_same(bits_of(d), operands.expected(instruction), f"{family}\n{text}")
    return True


@settings(max_examples=80, suppress_health_check=[HealthCheck.too_slow])
@given(accelerators(), st.sampled_from(FAMILIES), st.integers(0, 1 << 32))
def test_a_random_accelerator_is_what_the_oracle_says(text: str, family: str, seed: int) -> None:
    assume(check(text, family, seed))


@pytest.mark.long
@settings(max_examples=20_000, suppress_health_check=[HealthCheck.too_slow])
@given(accelerators(), st.sampled_from(FAMILIES), st.integers(0, 1 << 32))
def test_many_random_accelerators_are_what_the_oracle_says(text: str, family: str, seed: int) -> None:
    assume(check(text, family, seed))


# --- arrays on a GPU ---------------------------------------------------------------------------------------------


@pytest.fixture
def _cupy(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A GPU that is none."""
    monkeypatch.setattr(driver, "driver_version", lambda: 13000)
    monkeypatch.setattr("statqat_sim.backends.cupy_gpu.backend.why_not", lambda: None)
    monkeypatch.setitem(runtime.backends(), "cupy", CupyBackend())
    with cupy_replaced(monkeypatch):
        yield


@pytest.mark.usefixtures("_cupy")
@pytest.mark.parametrize("way", WAYS)
def test_arrays_on_a_gpu_are_computed_on_there(way: str) -> None:
    device, given = WAYS[way]
    accelerator = sqs.load_accelerator(device)
    expected, fetched = accelerator.matmul(**given), len(FETCHED)
    d = accelerator.matmul(
        **{name: OnGpu(each) if isinstance(each, np.ndarray) else each for name, each in given.items()}
    )
    assert isinstance(d, OnGpu)
    assert_bit_exact(memory(d), expected)
    assert len(FETCHED) == fetched


@pytest.mark.parametrize("way", WAYS)
def test_tensors_on_a_gpu_are_computed_on_there(way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    device, given = WAYS[way]
    accelerator = sqs.load_accelerator(device)
    expected = accelerator.matmul(**given)
    monkeypatch.setitem(runtime.backends(), "numba", TensorsOnCuda())  # type: ignore[arg-type]
    tensors = {name: torch.from_numpy(each) for name, each in given.items() if isinstance(each, np.ndarray)}
    d = accelerator.matmul(**(given | tensors))
    assert isinstance(d, torch.Tensor)
    assert_bit_exact(d.numpy(), expected)


@pytest.mark.usefixtures("_cupy")
@pytest.mark.parametrize(
    ("format", "instruction"), [("nvfp4", "mxf4nvf4.e2m1.f32"), ("mxfp4", "mxf4nvf4_ue8m0.e2m1.f32")]
)
def test_quantized_tensors_on_a_gpu_bring_their_scales(format: str, instruction: str) -> None:
    codec, b200 = sqs.Codec(sqs.load_format(format)), sqs.load_accelerator("nvidia_b200")
    sides = codec.quantize(normal(3, 128)), codec.quantize(normal(128, 5, seed=1), axis=0)
    expected = b200.matmul(*sides, instruction=instruction)
    on_gpu = [
        QuantizedTensor(OnGpu(q.codes), tuple(map(OnGpu, q.scales)), q.format, q.axis)  # type: ignore[arg-type]
        for q in sides
    ]
    assert_bit_exact(memory(b200.matmul(*on_gpu, instruction=instruction)), expected)
    if format == "nvfp4":
        with pytest.raises(UnsupportedError, match="scales of whole tensors multiply D"):
            b200.matmul(*on_gpu, OnGpu(np.zeros(5, np.float32)), instruction=instruction)


@pytest.mark.usefixtures("_cupy")
def test_what_does_not_lie_where_a_does_is_refused() -> None:
    h100, x = sqs.load_accelerator("nvidia_h100"), normal(4, 4)
    with pytest.raises(TypeError, match="b is of type ndarray on cpu; allowed: what backend 'cupy' owns, as it does a"):
        h100.matmul(OnGpu(x), x, instruction="mma.f16.f32")
    with pytest.raises(TypeError, match="b is of type Array on <CUDA Device 0>; allowed: what backend 'numba' owns"):
        h100.matmul(x, OnGpu(x), instruction="mma.f16.f32")
    with pytest.raises(TypeError, match="b is on <CUDA Device 1>; allowed: <CUDA Device 0>, where a is"):
        h100.matmul(OnGpu(x.astype(float)), OnGpu(x.astype(float), device=1), instruction="mma.f64.f64")
    with pytest.raises(ValueError, match="a holds -300 to 1; allowed in int8: -128 to 127"):
        h100.matmul(OnGpu(np.array([[1, -300]])), OnGpu(x[:2]), instruction="mma.s8.s32", a_format="int8")


@pytest.mark.usefixtures("_cupy")
def test_what_another_library_computes_on_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a GPU tensors are computed on as tensors, and others' arrays as cupy's."""
    backend, x = runtime.backends()["cupy"], normal(4, 4)
    monkeypatch.setattr(backend, "owns", lambda array: not isinstance(array, np.ndarray))
    with pytest.raises(TypeError, match=r"b is of type torch.Tensor, and a of type cuda_on_cpu.Array; allowed: arr"):
        sqs.load_accelerator("nvidia_h100").matmul(OnGpu(x), torch.from_numpy(x), instruction="mma.f16.f32")


@pytest.mark.usefixtures("_cupy")
@pytest.mark.parametrize("way", WAYS)
def test_everything_runs_on_the_device_where_a_lies(way: str) -> None:
    """Which need not be the current one."""
    device, given = WAYS[way]
    accelerator = sqs.load_accelerator(device)
    there = {name: OnGpu(each, device=1) if isinstance(each, np.ndarray) else each for name, each in given.items()}
    d = accelerator.matmul(**there)
    assert d.device.id == 1
    assert_bit_exact(memory(d), accelerator.matmul(**given))


@pytest.mark.usefixtures("_cupy")
def test_conversions_on_a_gpu_give_codes_there() -> None:
    h100, x = sqs.load_accelerator("nvidia_h100"), np.float32([1.5, np.nan, -1e9])
    for name in ("cvt.rn.satfinite.e4m3x2.f32", "cvt.rn.f16.f32"):
        codes = h100.convert(OnGpu(x, device=1), name)
        assert codes.device.id == 1
        assert_bit_exact(memory(codes), h100.convert(x, name))
        foreign = h100.convert(Foreign(x), name)
        assert isinstance(foreign, Foreign)
        assert_bit_exact(memory(foreign.array), h100.convert(x, name))
