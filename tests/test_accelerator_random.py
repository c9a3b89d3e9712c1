"""Accelerators that no file describes, against the exact oracle."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from mma_cases import FAMILIES, assert_same, bits_of
from mma_random import FOUND, MODES, Operands, accelerators, grouped, integers, joined, parsed, plain, scaled, text_of

from statqat_sim.errors import UnsupportedError
from statqat_sim.plan.lower_mma import lower_mma
from statqat_sim.plan.mma import Unit

SORTS = {
    "plain": plain(),
    "joined": joined(),
    "scaled": scaled(),
    "grouped": grouped(("toward_zero",)),
    "integers": integers(),
}


def check(text: str, family: str, seed: int) -> Unit | None:
    """The kernel gives what the oracle says; which kernel it is, None if it is said that there is none."""
    try:
        accelerator, instruction = parsed(text)
    except UnsupportedError:
        return None
    unit = lower_mma(instruction, instruction.a[0], instruction.b[0]).unit
    operands = Operands.drawn(instruction, family, seed)
    d = accelerator.matmul(**operands.given(instruction))
    assert_same(bits_of(d), operands.expected(instruction), f"{family}\n{text}")
    return unit


@pytest.mark.parametrize("sort", SORTS)
def test_a_random_accelerator_is_what_the_oracle_says(sort: str) -> None:
    @settings(max_examples=30, suppress_health_check=[HealthCheck.too_slow])
    @given(SORTS[sort], st.sampled_from(FAMILIES), st.integers(0, 1 << 32))
    def test(parts: dict[str, object], family: str, seed: int) -> None:
        assume(check(text_of(parts), family, seed))

    test()


@pytest.mark.parametrize("name", FOUND)
def test_what_was_wrong_once(name: str) -> None:
    text, operands = FOUND[name]
    accelerator, instruction = parsed(text)
    d = accelerator.matmul(**operands.given(instruction))
    assert_same(bits_of(d), operands.expected(instruction), text)


@pytest.mark.long
@settings(max_examples=20_000, suppress_health_check=[HealthCheck.too_slow])
@given(accelerators(), st.sampled_from(FAMILIES), st.integers(0, 1 << 32))
def test_many_random_accelerators_are_what_the_oracle_says(text: str, family: str, seed: int) -> None:
    assume(check(text, family, seed))


PLAIN = """
name: plain
instructions:
  unit.a.d:
    operands: {{a: float8_e4m3fn, b: float8_e5m2, c: float32, d: float32, shape: [M, N, 8]}}
    dot: {{step: 8, sum: {sum}{rest}}}
    round: {{mode: {mode}}}
    special: {{nan: 0x7fffffff, negative_zero: never}}
"""


def test_random_accelerators_reach_every_kernel() -> None:
    aligned = ", aligned: {{fraction_bits: {bits}, round: {round}, zero_exponent: -133}}"
    texts = {
        Unit.NARROW: ("aligned", aligned.format(bits=20, round="toward_zero")),
        Unit.BROAD: ("aligned", aligned.format(bits=40, round="toward_zero")),
        Unit.EXACT: ("aligned", aligned.format(bits=60, round="to_odd")),
        Unit.STEPS: ("chain", ""),
    }
    for unit, (sum_, rest) in texts.items():
        for mode in MODES:
            for seed, family in enumerate(FAMILIES[:4]):
                assert check(PLAIN.format(sum=sum_, rest=rest, mode=mode), family, seed) is unit
