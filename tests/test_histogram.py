"""The signed log-histogram: exact counts and sums, merged bit for bit; moments within their proven bounds."""

from __future__ import annotations

import copy
import pickle
import shutil
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from cuda_on_cpu.stand_in import FETCHED, cupy_replaced
from cuda_on_cpu.stand_in import Array as OnGpu
from cuda_on_cpu.stand_in import Stream as GpuStream
from hypothesis import given
from hypothesis import strategies as st
from reduction_cases import SPECIAL, amax_plan, in_dtype, wide_range

import statqat_sim as sqs
from statqat_sim.backends.cupy_gpu.backend import CupyBackend
from statqat_sim.histogram import Counter, Histogram
from statqat_sim.plan.philox import philox
from statqat_sim.plan.program import Storage
from statqat_sim.plan.reduction import Reducer, ReductionPlan, histogram_plan
from statqat_sim.runtime import backends, reduction_kernel

DTYPES = ("float16", "bfloat16", "float32", "float64")


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("mantissa_bits", [0, 6, 10])
@pytest.mark.parametrize("rows", [1, 3])
def test_the_kernel_gives_what_the_definition_gives(dtype: str, mantissa_bits: int, rows: int) -> None:
    x = in_dtype(wide_range(3 * 2000 - len(SPECIAL)), dtype)
    plan = histogram_plan(Storage(dtype), mantissa_bits)
    expected = reduction_kernel(backends()["reference"], plan)(x, rows=rows)
    for ours, theirs in zip(reduction_kernel(backends()["numba"], plan)(x, rows=rows), expected, strict=True):
        assert ours.dtype == theirs.dtype == np.int64
        assert ours.shape == theirs.shape == (rows, plan.bins)
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_largest_magnitude_of_each_row(dtype: str) -> None:
    x = in_dtype(wide_range(4 * 500 - len(SPECIAL)), dtype)
    plan = amax_plan(Storage(dtype))
    (expected,) = reduction_kernel(backends()["reference"], plan)(x, rows=4)
    (found,) = reduction_kernel(backends()["numba"], plan)(x, rows=4)
    np.testing.assert_array_equal(found, expected)
    if dtype == "float32":
        finite = np.where(np.isfinite(x), np.abs(x), 0).reshape(4, -1)
        np.testing.assert_array_equal(found[:, 0].view(np.float32), finite.max(axis=1))


def test_every_element_has_its_bin_and_its_sum() -> None:
    """Against exact sums of the values of each bin, in integers of the smallest subnormal."""
    x = wide_range(4000)
    h = Histogram.of(x, mantissa_bits=3)
    finite = x[np.isfinite(x)]
    assert h.elements == len(x)
    assert h.nonfinite == len(x) - len(finite)
    bins = finite.view(np.uint32) >> np.uint32(20)
    for sign, tails in zip((0, 1), h.sides(), strict=True):
        for bin in np.unique(bins[bins >> 11 == sign]):
            values = np.abs(finite[bins == bin].astype(np.float64))
            place = np.searchsorted(tails.lower, values.min(), side="right") - 1
            assert tails.lower[place] <= values.min() <= values.max() < tails.upper[place]
            assert tails.counts[place] == len(values)
            assert tails.means[place] == pytest.approx(values.mean(), rel=1e-12)


def test_what_is_counted_of_large_data_on_many_threads() -> None:
    x = np.random.default_rng(1).standard_normal(1 << 20, dtype=np.float32)
    plan = histogram_plan(Storage.FLOAT32, 6)
    words = x.view(np.uint32)
    counts = np.bincount(words >> np.uint32(17), minlength=plan.bins)
    sums = np.bincount(words >> np.uint32(17), weights=(words & np.uint32(0x1FFFF)), minlength=plan.bins)
    try:
        for threads in (1, 3):
            sqs.set_threads(threads)
            (found,), (found_sums,) = reduction_kernel(backends()["numba"], plan)(x)
            np.testing.assert_array_equal(found, counts)
            np.testing.assert_array_equal(found_sums, sums.astype(np.int64))
    finally:
        sqs.set_threads(None)


@given(st.lists(st.floats(width=32), max_size=40), st.permutations(range(4)), st.data())
def test_parts_merged_in_any_order_are_the_whole(values: list[float], order: list[int], data: st.DataObject) -> None:
    x = np.array(values, np.float32)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(values)), min_size=3, max_size=3)))
    parts = [Histogram.of(part) for part in np.split(x, cuts)]
    whole = Histogram.of(x)
    merged = Histogram.empty().merge(*(parts[i] for i in order))
    assert merged == whole
    assert hash(merged) == hash(whole)
    assert (parts[0] + parts[1]) + (parts[2] + parts[3]) == whole
    assert merged.elements == len(values)


def test_channels_are_what_each_is_alone() -> None:
    x = np.random.default_rng(2).standard_normal((5, 3, 40)).astype(np.float32)
    h = Histogram.of(x, channel_axis=1)
    assert h.channels == 3
    for index, channel in enumerate(h.each_channel()):
        assert channel == Histogram.of(x[:, index])
    first, second = Histogram.of(x[:2], channel_axis=1), Histogram.of(x[2:], channel_axis=1)
    assert first + second == h
    together, alone = h.folded(), Histogram.of(x).folded()
    np.testing.assert_array_equal(together.counts, alone.counts)
    np.testing.assert_array_equal(together.outer_sums, alone.outer_sums)


@pytest.mark.parametrize("mantissa_bits", [0, 2, 6])
@pytest.mark.parametrize("seed", range(3))
def test_moments_of_cells_are_within_their_bounds(mantissa_bits: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    x = (random.standard_t(3, 300) * 2).astype(np.float32)
    edges = np.concatenate(([-np.inf], np.sort(random.standard_normal(40) * 3), [0.0, np.inf]))
    edges.sort()
    found = Histogram.of(x, mantissa_bits=mantissa_bits).cell_moments(edges)
    wide = x.astype(np.float64)
    cell = np.searchsorted(edges, wide, side="left") - 1
    m0 = np.bincount(cell, minlength=len(edges) - 1)
    m1 = np.bincount(cell, weights=wide, minlength=len(edges) - 1)
    assert (np.abs(found.m0 - m0) <= found.m0_error + 1e-9).all()
    assert (np.abs(found.m1 - m1) <= found.m1_error + 1e-9).all()
    assert found.m0.sum() == pytest.approx(300)
    assert found.m1.sum() == pytest.approx(wide.sum())
    assert found.m0_error.max() > 0  # the bound says something only where bins are cut


@pytest.mark.parametrize("again", [copy.copy, copy.deepcopy, lambda h: pickle.loads(pickle.dumps(h))])
def test_copies_are_as_frozen(again: Any) -> None:
    h = Histogram.of(np.arange(6.0).reshape(2, 3), channel_axis=0)
    copied = again(h)
    assert copied == h
    assert not any(each.flags.writeable for each in (copied.keys, copied.counts, copied.sums, copied.low, copied.high))


def test_a_callers_arrays_stay_the_callers() -> None:
    h = Histogram.of(np.arange(4, dtype=np.float32))
    arrays = [each.copy() for each in (h.keys, h.counts, h.sums, h.low, h.high)]
    built = Histogram(1, h.mantissa_bits, *arrays)
    for array in arrays:
        array[:] = 7
    assert built == h


def test_values_are_frozen_and_say_what_does_not_fit() -> None:
    h = Histogram.of(np.ones(3, np.float32))
    with pytest.raises(ValueError, match="read-only"):
        h.counts[0] = 2
    with pytest.raises(ValueError, match="a histogram of 2 channels and 6 mantissa bits; allowed: 1 and 6"):
        h.merge(Histogram.empty(channels=2))
    with pytest.raises(ValueError, match="mantissa_bits is 11; allowed: 0 to 10"):
        Histogram.of(np.ones(3, np.float32), mantissa_bits=11)
    with pytest.raises(ValueError, match="channel_axis is 1, of an array with 1 axes; allowed: -1 to 0"):
        Histogram.of(np.ones(3, np.float32), channel_axis=1)
    with pytest.raises(TypeError, match=r"channel_axis is 0\.0; allowed: one axis, as an integer"):
        Histogram.of(np.ones(3, np.float32), channel_axis=0.0)  # type: ignore[arg-type]
    for add in (lambda: h + 3, lambda: h.merge(h, 3)):
        with pytest.raises(TypeError, match="unsupported operand"):
            add()
    with pytest.raises(ValueError, match="reads stream x alone"):
        ReductionPlan(philox(), Reducer.MAXIMUM)


@pytest.mark.parametrize("x", [np.zeros((0, 4)), np.zeros(3), np.array([np.nan, np.inf]), np.float64([1e300, -1e-300])])
def test_degenerate_data_have_histograms(x: Any) -> None:
    h = Histogram.of(x)
    assert h.elements == x.size
    assert h + h == Histogram.of(np.concatenate((x, x)))
    assert np.isfinite(h.cell_moments([-np.inf, 0.5, np.inf]).m1).all()


# --- where the data lie ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("backend", ["numba", "torch", "reference"])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("channel_axis", [None, 0, 1])
def test_a_named_backend_counts_the_same(backend: str, dtype: str, channel_axis: int | None) -> None:
    x = in_dtype(wide_range(600 - len(SPECIAL)), dtype).reshape(30, 20)
    expected = Histogram.of(x, channel_axis=channel_axis)
    assert Histogram.of(x, channel_axis=channel_axis, backend=backend) == expected
    assert Counter(channel_axis=channel_axis, backend=backend).count(x).histogram() == expected


@pytest.mark.parametrize("backend", ["auto", "torch"])
def test_tables_of_parts_in_any_order_are_those_of_the_whole(backend: str) -> None:
    x = torch.from_numpy(wide_range(4 * 300 - len(SPECIAL)).reshape(-1, 3))
    counter = Counter(channel_axis=1, mantissa_bits=2, backend=backend)
    parts, whole = [counter.count(part) for part in x.split([100, 0, 250, 50])], counter.count(x)
    seen = (parts[3] + parts[1]) + (parts[0] + parts[2])
    for name in ("counts", "sums", "low", "high"):
        ours, theirs = getattr(seen, name), getattr(whole, name)
        assert ours.dtype == theirs.dtype == (torch.float64 if name in ("low", "high") else torch.int64)
        assert torch.equal(ours, theirs)
    assert seen.histogram() == Histogram.of(x, channel_axis=1, mantissa_bits=2)


def test_ranks_reduce_dense_tables() -> None:
    """Sums of counts and sums, the least low, the greatest high."""
    x = np.concatenate((in_dtype(wide_range(1000), "float64"), np.random.default_rng(3).standard_normal(1000) * 1e200))
    ranks = [Counter().count(part) for part in np.array_split(x, 3)]
    counts, sums = (np.sum([getattr(rank, name) for rank in ranks], axis=0) for name in ("counts", "sums"))
    low, high = np.min([rank.low for rank in ranks], axis=0), np.max([rank.high for rank in ranks], axis=0)
    assert Histogram.from_tables(counts, sums, low, high) == Histogram.of(x)
    assert Histogram.from_tables(*map(torch.from_numpy, (counts, sums, low, high))) == Histogram.of(x)


@pytest.mark.parametrize(
    ("arrays", "told"),
    [
        ([np.zeros(4)] * 4, r"counts have shape \(4,\); allowed: \(channels, 2\^\(9 \+ mantissa_bits\)\)"),
        ([np.zeros((1, 256))] * 4, r"counts have shape \(1, 256\)"),
        ([np.zeros((1, 513))] * 4, r"counts have shape \(1, 513\)"),
        ([np.zeros((1, 512)), np.zeros((2, 512)), np.zeros(1), np.zeros(1)], r"sums \(2, 512\), low \(1,\), high"),
        ([np.zeros((2, 512)), np.zeros((2, 512)), np.zeros(2), np.zeros(1)], r"high \(1,\); allowed: as `Tables`"),
    ],
)
def test_tables_that_do_not_belong_together_are_told(arrays: list[Any], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        Histogram.from_tables(*arrays)
    with pytest.raises(ValueError, match="tables of 1 channels with 512 bins; allowed: 1 channels with 32768 bins"):
        Counter().count([1.0]) + Counter(mantissa_bits=0).count([1.0])
    with pytest.raises(TypeError, match="unsupported operand"):
        Counter().count([1.0]) + 3


def test_short_rows_are_sorted_and_long_ones_counted_in_tables() -> None:
    for length in (0, 1, 7, 127, 128, 200):
        x = np.resize(wide_range(50), (40, length)).astype(np.float32)
        h = Histogram.of(x, channel_axis=0, mantissa_bits=0)
        for index, channel in enumerate(h.each_channel()):
            assert channel == Histogram.of(x[index], mantissa_bits=0)


@pytest.fixture
def _cupy(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    if shutil.which("g++") is None:
        pytest.skip("g++ is not installed")
    monkeypatch.setitem(backends(), "cupy", CupyBackend())  # type: ignore[arg-type]  # a dict that nobody changes
    monkeypatch.setattr("statqat_sim.backends.cupy_gpu.backend.why_not", lambda: None)
    with cupy_replaced(monkeypatch):
        yield


@pytest.mark.usefixtures("_cupy")
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "int8", "int64"])
@pytest.mark.parametrize("channel_axis", [None, 0, 1, -1])
def test_arrays_on_a_gpu_are_counted_there(dtype: str, channel_axis: int | None) -> None:
    x = np.abs(wide_range(600 - len(SPECIAL))).clip(0, 100) if "int" in dtype else wide_range(600 - len(SPECIAL))
    x = in_dtype(np.nan_to_num(x) if "int" in dtype else x, dtype).reshape(10, 20, 3)
    expected, nothing = Histogram.of(x, channel_axis=channel_axis), x[:, :, :0] if channel_axis == 0 else x[:0]
    stream = GpuStream(7)
    with stream:
        counter = Counter(channel_axis=channel_axis)
        seen = counter.count(OnGpu(x)) + counter.count(OnGpu(nothing))
    assert stream.launches
    assert not stream.waits
    assert not FETCHED
    assert seen.histogram() == expected
    FETCHED.clear()
    assert Histogram.of(OnGpu(x), channel_axis=channel_axis) == expected
    assert sum(FETCHED) <= 24 * len(expected.keys) + 16 * expected.channels  # and none of the data


@pytest.mark.usefixtures("_cupy")
@pytest.mark.parametrize("channel_axis", [None, 0, 1])
def test_arrays_are_counted_on_a_device_that_is_not_the_current_one(channel_axis: int | None) -> None:
    x, counter = wide_range(300 - len(SPECIAL)).reshape(60, 5), Counter(channel_axis=channel_axis)
    expected, there = Histogram.of(x, channel_axis=channel_axis), OnGpu(x, device=1)
    assert Histogram.of(there, channel_axis=channel_axis) == expected
    tables = counter.count(there) + counter.count(there)
    assert {each.device.id for each in (tables.counts, tables.sums, tables.low, tables.high)} == {1}
    assert tables.histogram() == expected + expected


@pytest.mark.usefixtures("_cupy")
def test_many_channels_on_a_gpu_are_counted_some_at_a_time() -> None:
    x = np.random.default_rng(0).standard_normal((20, 50)).astype(np.float32)
    assert Histogram.of(OnGpu(x), channel_axis=0, mantissa_bits=10) == Histogram.of(x, channel_axis=0, mantissa_bits=10)
    assert Histogram.of(OnGpu(x[:0]), channel_axis=0) == Histogram.of(x[:0], channel_axis=0)


@pytest.mark.usefixtures("_cupy")
@pytest.mark.parametrize("channel_axis", [None, 0, 1])
def test_quantizers_of_arrays_on_a_gpu(channel_axis: int | None) -> None:
    """MinMax reads their extremes; others say that histograms serve them."""
    x, format = wide_range(300 - len(SPECIAL)).reshape(60, 5), sqs.load_format("int4")
    scale = sqs.MinMax().fit(OnGpu(x), format, channel_axis=channel_axis)
    np.testing.assert_array_equal(scale.value, sqs.MinMax().fit(x, format, channel_axis=channel_axis).value)
    assert sum(FETCHED) == 16 * scale.value.size
    FETCHED.clear()
    told = r"x is on <CUDA Device 0>; allowed: .* or choose\(Histogram.of\(x\), format\), which counts x where it lies"
    for quantizer in (sqs.Iterative(), sqs.Percentile(), sqs.Search(), sqs.Analytic(), sqs.Iterative(norm=1)):
        with pytest.raises(TypeError, match=told):
            quantizer.fit(OnGpu(x), format, channel_axis=channel_axis)
    assert not FETCHED


def test_what_nothing_here_counts_is_told() -> None:
    x = torch.zeros(3, device="meta")
    with pytest.raises(TypeError, match=r"no backend owns torch\.Tensor"):
        Histogram.of(x)
    with pytest.raises(TypeError, match="x is on meta; allowed: arrays in the CPU's memory, or choose"):
        sqs.Iterative().fit(x, sqs.load_format("int4"))
    with pytest.raises(LookupError, match="no backend is named 'tprch'"):
        Histogram.of([1.0], backend="tprch")
