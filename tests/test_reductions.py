"""Reductions give the same integers on every backend: the interpreter's. CUDA's text runs as `cuda_on_cpu` has it."""

from __future__ import annotations

import pickle
import shutil
from typing import Any

import numpy as np
import pytest
import torch
from cuda_on_cpu import CudaOnCpu
from inputs import DTYPES, around
from numpy.typing import NDArray
from reduction_cases import PLANS, SPECIAL, amax_plan, in_dtype, wide_range

from statqat_sim.backends.cupy_gpu import block_device, reduction_text
from statqat_sim.histogram import Counter, extremes
from statqat_sim.plan.program import Storage
from statqat_sim.plan.reduction import ReductionPlan, extremes_plan, histogram_plan
from statqat_sim.runtime import backends, reduction_kernel
from statqat_sim.spec.catalog import load_format

BACKENDS = ("numba", "torch", CudaOnCpu.name)
CUDA = CudaOnCpu()
needs_gcc = pytest.mark.skipif(shutil.which("g++") is None, reason="g++ is not installed")
EACH_BACKEND = [pytest.param(name, marks=needs_gcc if name == CUDA.name else ()) for name in BACKENDS]


def run(backend: str, plan: ReductionPlan, x: Any, rows: int) -> tuple[NDArray[Any], ...]:
    where = CUDA if backend == CUDA.name else backends()[backend]
    return tuple(np.asarray(each) for each in reduction_kernel(where, plan)(x, rows=rows))


def check(backend: str, plan: ReductionPlan, x: Any, rows: int = 1) -> None:
    found, expected = run(backend, plan, x, rows), run("reference", plan, x, rows)
    for ours, theirs in zip(found, expected, strict=True):
        assert ours.dtype == theirs.dtype
        assert ours.shape == theirs.shape == (rows, plan.width)
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("floats", DTYPES)
@pytest.mark.parametrize("name", PLANS)
@pytest.mark.parametrize("backend", EACH_BACKEND)
def test_every_backend_gives_what_the_definition_gives(backend: str, name: str, floats: str) -> None:
    plan, x = PLANS[name](Storage(floats)), in_dtype(wide_range(3 * 1371 - len(SPECIAL)), floats)
    for rows in (1, 3):
        check(backend, plan, x, rows)
    check(backend, plan, x[1:2], 1)
    check(backend, plan, x[3:3001], 2)  # rows that begin at odd places
    check(backend, plan, x[:0], 1)
    check(backend, plan, x[:0], 3)


@pytest.mark.parametrize("backend", EACH_BACKEND)
def test_all_kinds_of_float64(backend: str) -> None:
    """Near ties and ends of a format, which are rounded to odd; what lies beyond float32."""
    bits = around(load_format("float8_e5m2"), "float64")
    x = np.concatenate([np.asarray(bits).view(np.float64).reshape(-1), [1e300, -1e-320, 2.0**128, np.nan, -np.inf]])
    for plan in (make(Storage.FLOAT64) for make in PLANS.values()):
        check(backend, plan, x)


@pytest.mark.parametrize("floats", DTYPES)
def test_extremes_are_exact(floats: str) -> None:
    x = in_dtype(wide_range(4 * 500 - len(SPECIAL)), floats)
    wide = x.float().numpy() if isinstance(x, torch.Tensor) else x
    low, high = extremes(wide.reshape(4, -1), (1,))
    (found,) = run("reference", extremes_plan(Storage(floats)), x, 4)
    np.testing.assert_array_equal(found.view(np.float64), np.stack([-low, high], axis=1))


@pytest.mark.parametrize("backend", EACH_BACKEND)
@pytest.mark.parametrize("name", PLANS)
def test_long_rows_of_few_values(backend: str, name: str) -> None:
    """Sums of many elements of one bin leave 32 bits, and blocks have pieces of rows."""
    plan, random = PLANS[name](Storage.FLOAT32), np.random.default_rng(0)
    words = np.full(2 * 70_001, 0x3F80_0000 | (1 << plan.shift) - 1, np.uint32)
    words[::7] = 0x8000_0000
    words[3::11] = 0
    words[5::13] = random.integers(0, 1 << 32, len(words[5::13]), np.uint32)
    check(backend, plan, words.view(np.float32), 2)
    check(backend, plan, words[:-1].view(np.float32), 1)


@needs_gcc
@pytest.mark.parametrize("name", ["amax", "extremes", "histogram 0", "histogram 6"])
def test_blocks_take_several_pieces_of_many_rows(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(block_device, "MOST_BLOCKS", 5)
    monkeypatch.setattr(reduction_text, "LEAST_PIECE", 128)
    plan = PLANS[name](Storage.FLOAT16)
    x = in_dtype(wide_range(17 * 301 - len(SPECIAL)), "float16")
    check(CUDA.name, plan, x, 17)
    check(CUDA.name, plan, x, 1)


@pytest.mark.parametrize(
    ("rows", "length", "piece"),
    [
        (1, 1, 128),
        (1, 65536, 65536),
        (1, 65537, 32896),
        (1, 1 << 28, 65536),
        (1, 1 << 30, 1 << 18),
        (5000, 1 << 20, 1 << 20),
    ],
)
def test_pieces_are_as_long_as_rows_are_few(rows: int, length: int, piece: int) -> None:
    assert reduction_text.piece_elements(rows, length) == piece


@needs_gcc
def test_a_window_away_from_the_data_loses_nothing() -> None:
    """It is chosen by a few elements: here they say nothing about the others."""
    x = np.full(256 * 100, 2.0**-100, np.float32)
    x[np.arange(len(x)) % 100 != 0] = wide_range(len(x) - 256 - len(SPECIAL))
    check(CUDA.name, histogram_plan(Storage.FLOAT32, 6), x)


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")  # torch's compiler warns of torch
@pytest.mark.parametrize("compiler", ["aot_eager", pytest.param("inductor", marks=pytest.mark.long)])
def test_torch_traces_reductions_and_counters(compiler: str) -> None:
    kernel = reduction_kernel(backends()["torch"], amax_plan(Storage.FLOAT32))
    counter = Counter(channel_axis=1, backend="torch")

    def reduced(x: torch.Tensor) -> list[torch.Tensor]:
        seen = counter.count(x)
        return [*kernel(x, rows=2), seen.counts, seen.sums, seen.low, seen.high]

    x = torch.from_numpy(wide_range(1000 - len(SPECIAL)).reshape(500, 2))
    for ours, theirs in zip(torch.compile(reduced, fullgraph=True, backend=compiler)(x), reduced(x), strict=True):
        assert ours.dtype == theirs.dtype
        np.testing.assert_array_equal(ours.numpy(), theirs.numpy())


@pytest.mark.parametrize("backend", ["numba", "torch"])
def test_integers_are_read_as_floats_and_others_are_refused(backend: str) -> None:
    kernel, x = reduction_kernel(backends()[backend], extremes_plan(Storage.FLOAT32)), np.int16([-7, 5])
    np.testing.assert_array_equal(np.asarray(kernel(x)[0]).view(np.float64), [[7, 5]])
    with pytest.raises(TypeError, match="x is float64; allowed: float32"):
        kernel(np.zeros(3))


@pytest.mark.parametrize("backend", ["numba", "torch"])
def test_a_kernel_is_the_same_in_another_process(backend: str) -> None:
    kernel, x = reduction_kernel(backends()[backend], amax_plan(Storage.FLOAT32)), np.float32([1, -3])
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(kernel))(x)[0], kernel(x)[0])
