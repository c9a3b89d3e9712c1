"""Accelerators that no file describes, against the exact oracle."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mma_cases import FAMILIES, bits_of, drawn, exact
from test_accelerator_exact import assert_same

import statqat_sim as sqs
from statqat_sim.plan.mma import Unit, lower_mma

MODES = (
    *("toward_zero", "nearest_even", "toward_positive", "toward_negative"),
    *("nearest_away", "nearest_zero", "nearest_up", "to_odd"),
)
OPERANDS = ("float16", "bfloat16", "tf32", "float8_e4m3fn", "float8_e5m2", "float4_e2m1fn", "float8_e4m3fnuz", "posit8")


@st.composite
def dots(draw: st.DrawFn) -> tuple[dict[str, Any], int | None]:
    """A `dot` part, and how many products an instruction takes."""
    sum_ = draw(st.sampled_from(("aligned", "aligned", "aligned", "exact", "chain", "pairwise")))
    step = draw(st.integers(1, 12))
    dot: dict[str, Any] = {"sum": sum_, "step": step}
    enters = {
        "aligned": ("term", "last", "none"),
        "exact": ("term", "last", "none"),
        "chain": ("first", "last", "none"),
        "pairwise": ("last", "first", "none"),
    }
    dot["c"] = draw(st.sampled_from(enters[sum_]))
    if sum_ == "aligned":
        zero = draw(st.one_of(st.just("lowest"), st.integers(-200, 20)))
        bits, mode = draw(st.integers(0, 60)), draw(st.sampled_from(MODES))
        per = draw(st.sampled_from(("term", "term", "sum")))
        dot["aligned"] = {"fraction_bits": bits, "round": mode, "per": per, "zero_exponent": zero}
    if sum_ in ("chain", "pairwise"):
        orders = ("ascending", "descending", "odd_first", "even_first", "swapped_pairs")
        dot["order"] = draw(st.one_of(st.sampled_from(orders), st.permutations(range(step)).map(list)))
    if sum_ == "chain" and dot["c"] != "first":
        dot["split"] = draw(st.integers(1, 3))
    return dot, step * draw(st.integers(1, 2))


@st.composite
def accelerators(draw: st.DrawFn) -> str:
    """The text of an accelerator with one instruction, `unit.a.d`."""
    dot, size = draw(dots())
    d = draw(st.sampled_from(("float32", "float16")))
    largest = {"float32": 23, "float16": 10}[d]
    widths = {"exponent_bits": {"float32": 8, "float16": 5}[d], "mantissa_bits": draw(st.integers(1, largest))}
    to = draw(st.sampled_from((None, widths)))
    operands = {key: draw(st.sampled_from(OPERANDS)) for key in "ab"} | {"c": d, "d": d, "shape": ["M", "N", size]}
    special = {
        "nan": {"float32": 0x7FFFFFFF, "float16": 0x7FFF}[d],
        "negative_zero": draw(st.sampled_from(("never", "underflow", "ieee"))),
        "flush": draw(st.sampled_from(("none", "none", "inputs", "outputs", "both"))),
        "flushed": draw(st.sampled_from(("signed", "positive"))),
        "overflow": draw(st.sampled_from(("inf", "saturate"))),
    }
    rounding: dict[str, Any] = {"mode": draw(st.sampled_from(MODES))} | ({} if to is None else {"to": to})
    parts = {"operands": operands, "dot": dot, "round": rounding, "special": special}
    return "name: drawn\nevidence: {status: guess}\ninstructions:\n  unit.a.d:\n" + "".join(
        f"    {key}: {written(part)}\n" for key, part in parts.items()
    )


def written(value: Any) -> str:
    """A value as YAML in one line."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {written(each)}" for key, each in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(written, value)) + "]"
    return hex(value) if isinstance(value, int) and value > 1 << 12 else str(value)


def check(text: str, family: str, seed: int) -> Unit:
    """The kernel gives what the oracle says; which kernel it is."""
    accelerator, rng = sqs.parse_accelerator(text), np.random.default_rng(seed)
    instruction = accelerator.instructions["unit.a.d"]
    a_format, b_format = instruction.a[0], instruction.b[0]
    size = int(rng.integers(1, 2 * (instruction.k or 4) + 2))
    a, b, c = drawn(family, rng, (3, size, 3), (a_format, b_format, instruction.c))
    taken = None if instruction.dot is not None and instruction.dot.c == "none" else c
    d = accelerator.matmul(a, b, taken, instruction=instruction.name)
    expected = exact(instruction, a, b, c, (a_format, b_format))
    assert_same(bits_of(d), expected, f"{family}\n{text}")
    return lower_mma(instruction, a_format, b_format).unit


@settings(max_examples=150, suppress_health_check=[HealthCheck.too_slow])
@given(accelerators(), st.sampled_from(FAMILIES), st.integers(0, 1 << 32))
def test_a_random_accelerator_is_what_the_oracle_says(text: str, family: str, seed: int) -> None:
    check(text, family, seed)


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
