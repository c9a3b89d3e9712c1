"""Stochastic rounding: its random bits, its results against the oracle, and what they are on average."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from checking import BACKENDS, COMPILED, Draws, array_of, by_interpreter, check, on_backend
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from inputs import LAYOUTS, around, exact_codes, random_bits, specs
from stochastic import KNOWN_ANSWERS, drawn, fields_themselves
from strategies import STOCHASTIC

from statqat_sim import set_threads
from statqat_sim.backends.numba_cpu import cache, kernel, threads
from statqat_sim.codec import Codec
from statqat_sim.plan import philox as generator
from statqat_sim.plan.builder import Builder
from statqat_sim.plan.program import Storage
from statqat_sim.reference import exact
from statqat_sim.reference.interpret import interpret
from statqat_sim.reference.philox import philox4x32, random_field
from statqat_sim.runtime import backend_named
from statqat_sim.spec.catalog import load_format, parse_format
from statqat_sim.spec.number import NumberFormat
from statqat_sim.testing import assert_bit_exact

Array = Any
SEEDS = st.integers(0, 2**64 - 1)
OFFSETS = st.sampled_from([0, 1, 7, 4095, 2**32 - 5, 2**35 + 3, 2**63]) | st.integers(0, 2**63)
SPLIT = threads.MIN_ELEMENTS
PIECE = cache.PIECE


@pytest.fixture(autouse=True)
def _default_threads() -> Iterator[None]:
    yield
    set_threads(None)


# --- random bits -------------------------------------------------------------------------------------------------


def fields(backend: str, width: int, shape: Any, seed: int, offset: int = 0) -> Array:
    return backend_named(backend).compile(fields_themselves(width))(np.zeros(shape, np.uint8), seed=seed, offset=offset)


@pytest.mark.parametrize(("counter", "key", "expected"), KNOWN_ANSWERS)
def test_the_generators_rounds_give_the_published_words(
    counter: tuple[int, ...], key: tuple[int, ...], expected: tuple[int, ...]
) -> None:
    """Any counter and key, also such as no block number and seed make."""
    builder = Builder()
    inputs = [builder.input(f"word {index}", Storage.UINT32) for index in range(6)]
    words, keys = (inputs[0], inputs[1], inputs[2], inputs[3]), (inputs[4], inputs[5])
    for _ in range(generator.ROUNDS):
        words = generator._round(words, keys)
        keys = keys[0] + generator.KEY_STEPS[0], keys[1] + generator.KEY_STEPS[1]
    plan = builder.finish(words, Storage.UINT32)
    streams = [np.uint32([word]) for word in (*counter, *key)]
    assert interpret(plan, streams).tolist() == [list(expected)]


@settings(max_examples=100)
@given(seed=SEEDS, block=st.integers(0, 2**64 - 1))
def test_the_plan_of_a_block_is_philox(seed: int, block: int) -> None:
    counter, key = (block & 0xFFFF_FFFF, block >> 32, 0, 0), (seed & 0xFFFF_FFFF, seed >> 32)
    words = interpret(generator.philox(), [np.array([block], np.uint64), np.array([seed], np.uint64)])
    assert words.tolist() == [list(philox4x32(counter, key))]


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_first_block_of_seed_0_is_the_published_one(backend: str) -> None:
    words = list(KNOWN_ANSWERS[0][2])
    assert fields(backend, 32, 4, seed=0).tolist() == words
    assert fields(backend, 16, 8, seed=0).tolist() == [word >> shift & 0xFFFF for word in words for shift in (0, 16)]
    assert fields(backend, 8, 16, seed=0).tolist() == [w >> shift & 0xFF for w in words for shift in (0, 8, 16, 24)]


@pytest.mark.parametrize("width", [8, 16, 32])
@pytest.mark.parametrize("backend", BACKENDS)
def test_fields_are_those_of_the_oracle(backend: str, width: int) -> None:
    """Any seed, any offset inside a block, and any size, across the places where an array is cut into pieces."""
    for seed in (0, 1, 0xFFFF_FFFF, 1 << 32, 0x0123_4567_89AB_CDEF, 2**64 - 1):
        for offset in (0, 1, 3, 15, 2**32 - 2, 2**32 * 128 // width - 3, 2**63 + 1, 2**64 - 300):
            expected = [random_field(seed, offset + index, width) for index in range(130)]
            for size in (1, 5, 64, 130):
                assert fields(backend, width, size, seed, offset).tolist() == expected[:size]
    many = fields(backend, width, 3 * PIECE + 77, 9, 5)
    for place in (0, PIECE - 1, PIECE, PIECE + 1, 2 * PIECE - 6, 3 * PIECE, 3 * PIECE + 76):
        assert many[place] == random_field(9, 5 + place, width)


@pytest.mark.parametrize("width", [8, 16, 32])
@pytest.mark.parametrize("backend", COMPILED)
def test_fields_are_those_of_the_interpreter(backend: str, width: int) -> None:
    for size, offset in ((10_000, 0), (10_000, 2**40 + 1), (SPLIT + 5001, 3)):
        assert_bit_exact(fields(backend, width, size, 77, offset), fields("reference", width, size, 77, offset))


# --- results -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("floats", LAYOUTS)
def test_plans_of_random_specs(floats: str) -> None:
    check_random(floats, by_interpreter, 60)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("floats", ["float32", "float64"])
def test_backends_on_random_specs(backend: str, floats: str) -> None:
    check_random(floats, on_backend(backend), 7)


@pytest.mark.long
@pytest.mark.parametrize("floats", LAYOUTS)
def test_plans_of_many_random_specs(floats: str) -> None:
    check_random(floats, by_interpreter, 5000)


@pytest.mark.long
@pytest.mark.parametrize("backend", COMPILED)
@pytest.mark.parametrize("floats", LAYOUTS)
def test_backends_on_many_random_specs(backend: str, floats: str) -> None:
    check_random(floats, on_backend(backend), 1000)


def check_random(floats: str, run: Any, examples: int) -> None:
    @settings(max_examples=examples)
    @given(text=specs(("float", "int"), roundings=STOCHASTIC), seed=SEEDS, offset=OFFSETS)
    def check_one(text: str, seed: int, offset: int) -> None:
        format = parse_format(text)
        assume(format.encode.rounding.is_stochastic)
        bits = np.concatenate([around(format, floats, 6, seed % 2**32), random_bits(40, seed % 2**32, floats)])
        np.random.default_rng(seed).shuffle(bits)
        check(format, run, bits, floats, Draws(seed, offset))

    check_one()


ELEMENTS = [
    "{kind: float, exponent_bits: 4, mantissa_bits: 3, nan: all_ones}",
    "{kind: float, exponent_bits: 3, mantissa_bits: 0}",
    "{kind: float, exponent_bits: 3, mantissa_bits: 2, subnormals: flush}",
    "{kind: float, exponent_bits: 3, mantissa_bits: 2, subnormals: none, zero: none}",
    "{kind: float, exponent_bits: 8, mantissa_bits: 12, nan: ieee, inf: ieee}",
    "{kind: float, exponent_bits: 8, mantissa_bits: 23, nan: ieee, inf: ieee}",
    "{kind: float, exponent_bits: 2, mantissa_bits: 29}",
    "{kind: int, bits: 4}",
    "{kind: int, bits: 32, fraction_bits: 12}",
]


@pytest.mark.parametrize("bits", range(1, 33))
@pytest.mark.parametrize("mode", STOCHASTIC)
def test_every_number_of_random_bits(mode: str, bits: int) -> None:
    for index, element in enumerate(ELEMENTS):
        format = drawn(element, mode, bits)
        floats = ("float32", "float64")[(index + bits) % 2]
        inputs = random_bits(60, bits + 100 * index, floats)
        check(format, by_interpreter, inputs, floats, Draws(bits, index))


WIDTHS = [1, 8, 9, 16, 17, 31, 32]


@pytest.mark.parametrize("backend", COMPILED)
@pytest.mark.parametrize("bits", WIDTHS)
def test_backends_with_every_width_of_field(backend: str, bits: int) -> None:
    """One element for each mode: they are few enough to be compiled, and each is met."""
    for index, mode in enumerate(STOCHASTIC):
        place = 3 * WIDTHS.index(bits) + index
        format, floats = drawn(ELEMENTS[place % len(ELEMENTS)], mode, bits), ("float32", "float64")[place % 2]
        check(format, on_backend(backend), random_bits(100, bits, floats), floats, Draws(3, 5))


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("dtype", ["int8", "uint16", "int32", "uint32", "int64", "uint64"])
def test_integers_are_drawn_like_floats(backend: str, dtype: str) -> None:
    format = drawn("{kind: float, exponent_bits: 7, mantissa_bits: 3}", "stochastic_c", 24)
    rng = np.random.default_rng(0)
    x = rng.integers(0, min(np.iinfo(dtype).max, 2**53), 200, dtype, endpoint=True) >> rng.integers(0, 7, 200).astype(
        dtype
    )
    codes = [exact.encode_integer(format, n, random=random_field(4, 3 + i, 24)) for i, n in enumerate(x.tolist())]
    assert Codec(format, backend).encode(x, seed=4, offset=3).tolist() == codes


@pytest.mark.parametrize("mode", STOCHASTIC)
@pytest.mark.parametrize("overflow", ["saturate", "inf", "nan"])
@pytest.mark.parametrize("backend", BACKENDS)
def test_the_successor_may_be_drawn(backend: str, overflow: str, mode: str) -> None:
    """Between the largest value and its successor overflow is a matter of chance; beyond, it is certain."""
    element = "{kind: float, exponent_bits: 4, mantissa_bits: 3, nan: ieee, inf: ieee}"
    policy = f"{{rounding: {mode}, random_bits: 3, overflow: {overflow}}}"
    format = parse_format(f"name: end\nelement: {element}\nencode: {policy}\n")
    x = np.repeat(np.array([239, 240, 241, 247, 248, 250, 255, 255.999, 256, 300, np.inf]), 40)
    x = np.concatenate([x, -x])
    random = [random_field(1, index, 3) for index in range(len(x))]
    codes = Codec(format, backend).encode(x, seed=1)
    assert codes.tolist() == exact_codes(format, x.view(np.uint64), "float64", random).tolist()
    between = (np.abs(x) > 241) & (np.abs(x) < 255)
    assert len(set(codes[between & (x > 0)].tolist())) == (1 if overflow == "saturate" else 2)


def test_a_value_stays_what_it_is() -> None:
    for element in ELEMENTS[:4] + ELEMENTS[7:8]:
        for mode in STOCHASTIC:
            codec = Codec(drawn(element, mode, 4))
            grid = codec.format.grid().astype(np.float32)
            for seed in range(5):
                assert_bit_exact(codec.fake_quantize(grid, seed=seed) + np.float32(0), grid + np.float32(0))


# --- one element, one draw ---------------------------------------------------------------------------------------


FAST, SLOW = drawn("float8_e4m3fn", "stochastic_a", 16), drawn("float8_e4m3fn", "stochastic_c", 11)
INT4 = drawn("int4", "stochastic_b", 7)
SINGLE = drawn("{kind: float, exponent_bits: 8, mantissa_bits: 16, nan: ieee, inf: ieee}", "stochastic_a", 32)


def normal(*shape: int, seed: int = 0) -> Array:
    return np.random.default_rng(seed).standard_normal(shape, np.float32) * 3


@pytest.mark.parametrize("format", [FAST, INT4, SINGLE])
@pytest.mark.parametrize("size", [SPLIT + 4099, 2 * SPLIT + 1])
def test_threads_change_no_bit(format: NumberFormat, size: int) -> None:
    x = normal(size)
    expected = Codec(format, "reference").encode(x, seed=5, offset=11)
    codec = Codec(format, "numba")
    for count in (1, 2, 3, 7):
        set_threads(count)
        assert_bit_exact(codec.encode(x, seed=5, offset=11), expected)
        assert_bit_exact(codec.fake_quantize(x, seed=5, offset=11), codec.decode(expected))


@pytest.mark.parametrize("format", [FAST, SLOW, INT4, SINGLE])
@pytest.mark.parametrize("backend", BACKENDS)
def test_parts_of_an_array_get_what_the_whole_gets(backend: str, format: NumberFormat) -> None:
    codec, x = Codec(format, backend), normal(3 * PIECE + 100)
    whole = codec.encode(x, seed=8, offset=2**33)
    values = codec.fake_quantize(x, seed=8, offset=2**33)
    for start, stop in ((0, 1), (1, 2), (3, 200), (5, 5), (63, 4097), (PIECE - 1, 2 * PIECE + 2), (7, len(x))):
        part = x[start:stop]
        assert_bit_exact(codec.encode(part, seed=8, offset=2**33 + start), whole[start:stop])
        assert_bit_exact(codec.fake_quantize(part, seed=8, offset=2**33 + start), values[start:stop])


@pytest.mark.parametrize("backend", BACKENDS)
def test_an_elements_index_is_its_place_in_c_order(backend: str) -> None:
    """However the array lies in memory; a view of an array is an array of its own."""
    codec, x = Codec(FAST, backend), normal(6, 8, 50)
    for view in (
        lambda a: a.transpose(2, 0, 1),
        lambda a: a[::-1, ::2, 5:],
        np.asfortranarray,
        lambda a: np.broadcast_to(a[:, :1], a.shape),
        lambda a: a[2, 3, 4, ...],
        lambda a: a[:0],
    ):
        part = view(x)
        plain = np.ascontiguousarray(part).reshape(part.shape)
        flat = codec.encode(plain.reshape(-1), seed=4, offset=9).reshape(part.shape)
        assert_bit_exact(codec.encode(part, seed=4, offset=9), flat)
        out = np.zeros((*part.shape, 2), np.uint8)[..., 0]
        codec.encode(part, seed=4, offset=9, out=out)
        assert_bit_exact(out, flat)


@pytest.mark.parametrize("name", ["float16", "bfloat16", "float64", "tensor"])
@pytest.mark.parametrize("backend", BACKENDS)
def test_the_type_of_an_input_changes_no_draw(backend: str, name: str) -> None:
    x = array_of(random_bits(500, 1, "bfloat16"), Storage.BFLOAT16).astype(np.float32)
    x = np.where(np.abs(x) < 3e4, x, np.float32(1.1)).astype(np.float16).astype(np.float32)
    x = array_of(x.view(np.uint32) >> np.uint32(16), Storage.BFLOAT16).astype(np.float32)
    x = np.where(np.abs(x) < 2.0**-14, np.float32(0), x)
    codec = Codec(INT4, backend)
    if name == "tensor":
        other: Any = torch.from_numpy(x)
    else:
        other = torch.from_numpy(x).to(torch.bfloat16) if name == "bfloat16" else x.astype(name)
    assert_bit_exact(codec.encode(other, seed=3), codec.encode(x, seed=3))


@pytest.mark.parametrize("shape", [(1000,), (7, 33), (3, 5, 21), (2, 5000), (600, 9), ()])
@pytest.mark.parametrize("backend", BACKENDS)
def test_packing_changes_no_draw(backend: str, shape: tuple[int, ...]) -> None:
    codec, x = Codec(INT4, backend), normal(*shape) if shape else np.float32(0.4)
    dense = codec.encode(x, seed=6, offset=13, packed=True)
    values = codec.fake_quantize(x, seed=6, offset=13)
    assert_bit_exact(codec.decode(dense, packed=True, shape=shape), values)


def test_packing_many_rows_on_threads_changes_no_draw() -> None:
    x = normal(700, 401)
    for count in (1, 2, 5):
        set_threads(count)
        codec, reference = Codec(INT4, "numba"), Codec(INT4, "reference")
        assert_bit_exact(codec.encode(x, seed=6, packed=True), reference.encode(x, seed=6, packed=True))


@pytest.mark.parametrize("kind", ["number", "rows", "elements", "columns"])
def test_scales_change_no_draw(kind: str) -> None:
    shapes = {"number": (), "rows": (40, 1), "elements": (40, 700), "columns": (700,)}
    scale = np.exp2(normal(*shapes[kind], seed=2)).astype(np.float32) if kind != "number" else np.float32(0.3)
    x, codec, reference = normal(40, 700), Codec(FAST, "numba"), Codec(FAST, "reference")
    for count in (1, 3):
        set_threads(count)
        found = codec.fake_quantize(x, scale=scale, seed=7, offset=1)
        assert_bit_exact(found, reference.fake_quantize(x, scale=scale, seed=7, offset=1))
    quotient = (x / scale).astype(np.float32)
    assert_bit_exact(found, codec.fake_quantize(quotient, seed=7, offset=1) * np.broadcast_to(scale, x.shape))


def test_many_rows_with_scales_on_threads_change_no_draw() -> None:
    x, scale = normal(30, SPLIT // 10), np.exp2(normal(30, 1, seed=1))
    expected = Codec(FAST, "reference").fake_quantize(x, scale=scale, seed=7)
    for count in (1, 2, 3):
        set_threads(count)
        assert_bit_exact(Codec(FAST, "numba").fake_quantize(x, scale=scale, seed=7), expected)


@pytest.mark.parametrize("first", [0, 1, 63])
def test_streamed_outputs_change_no_draw(first: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernel, "STREAMING_BYTES", 1)
    x = normal(SPLIT + 9000)
    for size in (1, 64, 65, 5000, SPLIT + 8000):
        out = np.full(first + size + 64, 99, np.uint8)
        Codec(FAST, "numba").encode(x[:size], seed=1, out=out[first : first + size])
        assert_bit_exact(out[first : first + size], Codec(FAST, "reference").encode(x[:size], seed=1))
        assert (out[:first] == 99).all()
        assert (out[first + size :] == 99).all()


def test_a_result_in_place() -> None:
    x = normal(SPLIT + 100)
    expected = Codec(FAST, "reference").fake_quantize(x, seed=2)
    Codec(FAST, "numba").fake_quantize(x, out=x, seed=2)
    assert_bit_exact(x, expected)


# --- seeds -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("backend", BACKENDS)
def test_without_a_seed_each_call_draws_anew(backend: str) -> None:
    codec, x = Codec(FAST, backend), normal(1000)
    for call in (codec.encode, codec.fake_quantize, lambda x: codec.fake_quantize(x, scale=0.7)):
        first, second = call(x), call(x)
        assert (first != second).any()


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_seed_says_it_all(backend: str) -> None:
    codec, x = Codec(FAST, backend), normal(1000)
    seeds = [0, 1, 2, 2**32, 2**32 + 1, 2**63, 2**64 - 1]
    results = [codec.encode(x, seed=seed) for seed in seeds]
    for seed, result in zip(seeds, results, strict=True):
        assert_bit_exact(codec.encode(x.copy(), seed=seed), result)
    assert all((a != b).any() for i, a in enumerate(results) for b in results[:i])


# --- on average --------------------------------------------------------------------------------------------------


COUNT = 1 << 18
WITHIN = 5.5
"""Standard errors: one fixed draw in 26 million lies further out."""


def shares_above(mode: str, bits: int, share: float, seed: int) -> float:
    """How many of COUNT equal inputs, so far from 3 to 4, became 4."""
    codec = Codec(drawn("{kind: int, bits: 4}", mode, bits))
    codes = codec.encode(np.full(COUNT, 3 + share), seed=seed)
    assert set(codes.tolist()) <= {3, 4}
    return float((codes == 4).mean())


@pytest.mark.parametrize("bits", [3, 8, 16, 24, 32])
@pytest.mark.parametrize("mode", STOCHASTIC)
def test_a_neighbour_is_chosen_as_often_as_it_is_near(mode: str, bits: int) -> None:
    """Within what V, the share of all words that carry, differs from the share itself: a cuts, b and c round."""
    for seed, share in enumerate((0.1, 0.25, 0.5, 0.7311, 0.999)):
        exact = share * 2**bits
        expected = {"stochastic_a": math.floor(exact), "stochastic_b": math.floor(exact + 0.5)}.get(mode, round(exact))
        probability = expected / 2**bits
        error = math.sqrt(probability * (1 - probability) / COUNT)
        found = shares_above(mode, bits, share, seed)
        assert abs(found - probability) <= WITHIN * error, (share, found)


@pytest.mark.parametrize("name", ["float8_e4m3fn", "float8_e5m2", "float4_e2m1fn", "bfloat16", "int8"])
def test_the_mean_is_the_input_and_the_variance_that_of_a_coin(name: str) -> None:
    """Many roundings of each of many inputs: errors of mean 0, of variance ν(1 - ν) gaps², one from the other free."""
    codec = Codec(drawn(name, "stochastic_c", 32))
    largest = min(codec.format.max, 1e4)
    x = (
        np.random.default_rng(3).uniform(-0.95, 0.95, 500)
        * largest
        * 2.0 ** -np.random.default_rng(4).integers(0, 6, 500)
    )
    turns = 4000
    rounded = codec.fake_quantize(np.broadcast_to(x, (turns, len(x))), seed=12)
    grid = codec.format.grid()
    above = np.searchsorted(grid, x)
    low, high = grid[above - 1], grid[above]
    share = (x - low) / (high - low)
    variance = share * (1 - share) * (high - low) ** 2
    error = rounded.mean(axis=0) - x
    assert (np.abs(error) <= WITHIN * np.sqrt(variance / turns) + 2.0**-31 * (high - low)).all()
    z = error / np.sqrt(variance / turns)
    assert abs((z**2).sum() - len(x)) <= WITHIN * math.sqrt(2 * len(x))
    found = rounded.var(axis=0) / variance
    kurtosis = (1 - 3 * share * (1 - share)) / (share * (1 - share))
    assert (np.abs(found - 1) <= WITHIN * np.sqrt((kurtosis - 1) / turns) + WITHIN**2 / turns).all()


@pytest.mark.parametrize("lag", [1, 2, 3, 4, 8, 16, 4096])
def test_draws_of_different_elements_are_uncorrelated(lag: int) -> None:
    codec = Codec(drawn("int4", "stochastic_a", 16))
    up = codec.encode(np.full(COUNT + lag, 2.5), seed=21) == 3
    agreement = (up[lag:] == up[:-lag]).mean()
    assert abs(agreement - 0.5) <= WITHIN * 0.5 / math.sqrt(COUNT)


def test_draws_of_neighbouring_seeds_are_uncorrelated() -> None:
    codec, x = Codec(drawn("int4", "stochastic_a", 16)), np.full(COUNT, 2.5)
    for first, second in ((0, 1), (0, 1 << 32), (2**64 - 1, 0)):
        agreement = (codec.encode(x, seed=first) == codec.encode(x, seed=second)).mean()
        assert abs(agreement - 0.5) <= WITHIN * 0.5 / math.sqrt(COUNT)


@pytest.mark.parametrize("bits", [1, 5, 8, 12, 16])
def test_every_random_word_is_as_likely_as_any_other(bits: int) -> None:
    """Chi-square of the words themselves."""
    count = COUNT * 4
    width = next(width for width in (8, 16) if bits <= width)
    words = fields("numba", width, count, seed=99) >> np.uint8(width - bits)
    counts = np.bincount(words, minlength=1 << bits)
    expected = count / (1 << bits)
    square = float(((counts - expected) ** 2 / expected).sum())
    freedom = (1 << bits) - 1
    assert abs(square - freedom) <= WITHIN * math.sqrt(2 * freedom) + WITHIN**2


# --- where nothing is random -------------------------------------------------------------------------------------


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_seed_changes_nothing_elsewhere(backend: str) -> None:
    codec, x = Codec(load_format("float8_e4m3fn"), backend), normal(100)
    assert_bit_exact(codec.encode(x, seed=1, offset=3), codec.encode(x))
    assert_bit_exact(codec.fake_quantize(x, seed=1, scale=0.3), codec.fake_quantize(x, scale=0.3))
    drawn_codec = Codec(FAST, backend)
    codes = np.arange(256, dtype=np.uint8)
    assert_bit_exact(drawn_codec.decode(codes), codec.decode(codes))
