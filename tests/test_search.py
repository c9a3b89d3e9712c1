"""Step functions of float32 by one look-up or by octaves, against a search among their steps."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from statqat_sim.plan.builder import Builder
from statqat_sim.plan.halves import Halves
from statqat_sim.plan.layout import FLOAT32, INFINITY, SIGN
from statqat_sim.plan.listed import has_value_shortcut, round_to_level, steps
from statqat_sim.plan.lower import Purpose, lower
from statqat_sim.plan.octaves import MOST_STEPS, OCTAVE, Octaves
from statqat_sim.plan.program import CodecPlan, Storage
from statqat_sim.plan.search import key_of, search, shortcut_of
from statqat_sim.plan.source import read, take_apart
from statqat_sim.reference.interpret import interpret
from statqat_sim.spec.catalog import load_format

FORMAT = load_format("posit8")
REGULAR = st.builds(lambda top, beyond: (top << 16) + beyond, st.integers(1, (INFINITY >> 16) - 1), st.integers(0, 1))
TINY = st.integers(1, 0xFFFF)
CODES, WHOLE = st.integers(0, 0xFFFF), st.integers(1, 0xFFFF).map(lambda top: top << 16)


def plan_of(keys: list[int], results: list[int]) -> CodecPlan:
    builder = Builder()
    source = take_apart(read(builder, "x", Storage.FLOAT32), FORMAT.element, FORMAT.encode, None)
    return builder.finish(search(source, tuple(keys), tuple(results)), Storage.UINT32)


def found(kind: type[Halves | Octaves], keys: list[int], results: list[int]) -> Halves | Octaves | None:
    """The step function in a form, if it has it."""
    return kind.of(tuple(keys), tuple(results))


def expected(keys: list[int], results: list[int], words: Any) -> list[int]:
    ordered = [int(word) ^ 0xFFFF_FFFF if word & SIGN else int(word) | SIGN for word in words]
    return [results[bisect_right(keys, key)] for key in ordered]


def words_near(keys: Sequence[int]) -> Any:
    magnitudes = {abs(key - SIGN) + step for key in keys for step in (-2, -1, 0, 1, 2, 0x8000)} | {0, 1, INFINITY - 1}
    finite = sorted(each for each in magnitudes if 0 <= each < INFINITY)
    return np.array([*finite, *(each | SIGN for each in finite)], np.uint32)


@settings(deadline=None)
@given(data=st.data(), is_whole=st.booleans(), has_tiny=st.booleans())
def test_a_step_function_of_halves_takes_one_look_up(data: st.DataObject, is_whole: bool, has_tiny: bool) -> None:
    magnitudes = data.draw(st.sets(REGULAR, min_size=20, max_size=40))
    magnitudes |= data.draw(st.sets(TINY, min_size=1, max_size=9)) if has_tiny else set()
    keys = sorted({SIGN + m if data.draw(st.booleans()) else SIGN - m for m in magnitudes})
    results = [data.draw(WHOLE if is_whole else CODES) for _ in range(len(keys) + 1)]
    if is_whole and has_tiny:  # a result of tiny words alone may have any bits
        at = bisect_right(keys, SIGN)
        if abs(keys[at - 1] - SIGN) < 1 << 16 and at < len(keys) and keys[at] - SIGN < 1 << 16:
            results[at] += 0x123
    plan, words = plan_of(keys, results), words_near(keys)
    assert plan.shape.tables == ("results of halves",)
    assert interpret(plan, [words]).tolist() == expected(keys, results, words)


@pytest.mark.parametrize("magnitude", [0x3F80_0002, 0x3F80_8000, 0x0001_0002])
def test_other_step_functions_are_no_functions_of_halves(magnitude: int) -> None:
    keys = sorted([SIGN - (0x4000 + each << 16) for each in range(20)] + [SIGN + magnitude])
    results = list(range(len(keys) + 1))
    assert found(Halves, keys, results) is None
    words = words_near(keys)
    assert interpret(plan_of(keys, results), [words]).tolist() == expected(keys, results, words)


def test_results_with_bits_in_both_halves_are_no_function_of_halves() -> None:
    keys = [SIGN + (0x4000 + each << 16) for each in range(20)]
    assert found(Halves, keys, [each << 16 for each in range(21)]) is not None
    assert found(Halves, keys, [(each << 16) + 1 for each in range(21)]) is None


def octaves(places: list[int], values: list[int], count: int) -> tuple[list[int], list[int]]:
    """The keys and results of `count` octaves that begin with these places and values, for both signs."""
    magnitudes = [place + each * OCTAVE for each in range(count) for place in places]
    results = [value + each * OCTAVE for each in range(count) for value in values]
    keys = [SIGN - each for each in reversed(magnitudes)] + [SIGN] + [SIGN + each for each in magnitudes]
    return keys, [*(each | SIGN for each in reversed(results)), SIGN, 0, *results]


@settings(deadline=None)
@given(data=st.data(), size=st.integers(1, MOST_STEPS), count=st.integers(9, 11), nearer=st.integers(-5, 5))
def test_a_step_function_of_octaves_reads_no_table(data: st.DataObject, size: int, count: int, nearer: int) -> None:
    first = data.draw(st.integers(OCTAVE, 200 * OCTAVE))
    offsets = data.draw(st.sets(st.integers(10, OCTAVE - 10), min_size=size - 1, max_size=size - 1))
    values = data.draw(st.lists(st.integers(0, 200 * OCTAVE), min_size=size, max_size=size))
    keys, results = octaves([first, *(first + each for each in sorted(offsets))], values, count)
    middle = keys.index(SIGN)
    keys[middle - 1], keys[middle + 1] = SIGN - first - nearer, SIGN + first + nearer  # where 0 begins is free
    plan, words = plan_of(keys, results), words_near(keys)
    assert plan.shape.tables == ()
    assert interpret(plan, [words]).tolist() == expected(keys, results, words)


def test_octaves_of_many_steps_are_left_to_tables() -> None:
    places = [0x3F80_0000 + each * 0x1_0000 for each in range(MOST_STEPS + 1)]
    assert found(Octaves, *octaves(places[:-1], places[:-1], 9)) is not None
    assert found(Octaves, *octaves(places, places, 9)) is None


@pytest.mark.parametrize("where", range(-8, 0))
def test_one_odd_step_or_result_is_no_function_of_octaves(where: int) -> None:
    places, values = [0x3F80_0000, 0x3FA0_0000, 0x3FC0_0000], [0x3F80_0000, 0x3FB0_0000, 0x3FD0_0000]
    keys, results = octaves(places, values, 9)
    assert found(Octaves, keys, results) is not None
    odd_keys, odd_results = keys.copy(), results.copy()
    odd_keys[where] += 1
    odd_keys[-1 - where] -= 1  # of the other sign
    odd_results[where] += 1
    assert found(Octaves, odd_keys, results) is None
    assert found(Octaves, keys, odd_results) is None  # of one sign alone
    odd_results[-1 - where] += 1
    assert found(Octaves, keys, odd_results) is None


def test_values_of_short_logarithmic_numbers_are_found_without_tables() -> None:
    format = load_format("lns8")
    plan = lower(format, Purpose.FAKE_QUANTIZE)
    assert plan.shape.tables == ()
    words = words_near(steps(format.element, format.encode, FLOAT32)[0])
    codes = interpret(lower(format, Purpose.ENCODE), [words])
    assert interpret(plan, [words]).tolist() == interpret(lower(format, Purpose.DECODE), [codes]).tolist()


def test_the_order_of_keys_is_that_of_values() -> None:
    builder = Builder()
    source = take_apart(read(builder, "x", Storage.FLOAT32), FORMAT.element, FORMAT.encode, None)
    plan = builder.finish(key_of(source).high, Storage.UINT32)
    values = np.array([-np.inf, -1.5, -1e-45, -0.0, 0.0, 1e-45, 1.5, np.inf], np.float32)
    keys = interpret(plan, [values.view(np.uint32)]).tolist()
    assert keys == sorted(keys)
    assert keys[3:5] == [SIGN - 1, SIGN]


@pytest.mark.parametrize("name", ["posit8", "posit8_es0", "posit10", "takum8", "hif8"])
def test_values_of_short_tapered_formats_are_found_without_their_codes(name: str) -> None:
    format = load_format(name)
    assert has_value_shortcut(format.element, format.encode)
    plan = lower(format, Purpose.FAKE_QUANTIZE)
    assert plan.shape.tables == ("results of halves",)
    tops, tiny = np.arange(1 << 16, dtype=np.uint32) << 16, np.arange(1 << 16, dtype=np.uint32)
    words = np.concatenate([*(tops | bottom for bottom in (0, 1, 0x7FFF, 0x8000, 0xFFFF)), tiny, tiny | SIGN])
    codes = interpret(lower(format, Purpose.ENCODE), [words])
    assert interpret(plan, [words]).tolist() == interpret(lower(format, Purpose.DECODE), [codes]).tolist()


@pytest.mark.parametrize("name", ["posit8", "takum8"])
def test_the_short_form_of_values_is_made_once(name: str) -> None:
    """To choose the plan, and for the plan."""
    format = load_format(name)
    shortcut_of.cache_clear()
    assert has_value_shortcut(format.element, format.encode)
    source = take_apart(read(Builder(), "x", Storage.FLOAT32), format.element, format.encode, None)
    round_to_level(source, format.element, format.encode)
    assert shortcut_of.cache_info().misses == 1
