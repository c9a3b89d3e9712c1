"""Encoders proven over all 2^32 float32 inputs, and proofs that fail when they should."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from statqat_sim.codec import Codec
from statqat_sim.errors import UnsupportedError
from statqat_sim.plan.lower import Lowering, Purpose, lower
from statqat_sim.reference.prove import BLOCK, Encoder, prove
from statqat_sim.runtime import backend_named
from statqat_sim.spec.catalog import formats, load_format, parse_format
from statqat_sim.spec.encode import NanInput, Overflow
from statqat_sim.spec.number import NumberFormat

ALL = 2**32
NAN_INPUTS = 2 * (2**23 - 1)

MADE_UP = {
    "unusual_floats": """
        element: {kind: float, exponent_bits: 3, mantissa_bits: 3, bias: 5, nan: negative_zero}
        encode: {rounding: toward_positive, overflow: nan}
        """,
    "gap_at_zero": """
        element: {kind: float, exponent_bits: 4, mantissa_bits: 2, subnormals: raw, nan: ieee, inf: ieee}
        encode: {rounding: nearest_away, overflow: inf, inf_input: nan, via: bfloat16, flush_inputs: true}
        """,
    "refuses_nan": """
        element: {kind: int, bits: 5, encoding: sign_magnitude, fraction_bits: 2}
        encode: {rounding: nearest_up, nan_input: error}
        """,
    "log_ties": """
        element: {kind: lns, bits: 6, fraction_bits: 2}
        encode: {rounding: nearest_zero, tie_domain: log, underflow: min, flush_inputs: true}
        """,
}
PROVEN = ["float8_e4m3fn", "float8_e5m2", "float4_e2m1fn", "bfloat16", "nf4", "posit8", "takum_log8", "hif8"]


def made_up(name: str) -> NumberFormat:
    lines = (line.strip() for line in MADE_UP[name].strip().splitlines())
    return parse_format("\n".join([f"name: {name}", *lines]))


def is_proven_by_steps(format: NumberFormat) -> bool:
    encode = format.encode
    return format.bits <= 16 and encode.overflow is not Overflow.WRAP and not encode.rounding.is_stochastic


def check(format: NumberFormat) -> int:
    """Prove the encoder that users get; how often its code changes."""
    proof = prove(format, Codec(format).encode)
    assert proof.holds, "\n".join(map(str, proof.mismatches))
    assert proof.inputs == ALL - NAN_INPUTS * (format.encode.nan_input is NanInput.ERROR)
    assert proof.seconds > 0
    return proof.change_points


@pytest.mark.parametrize("name", PROVEN)
def test_every_input_of_a_built_in_format(name: str) -> None:
    check(load_format(name))


@pytest.mark.parametrize("name", MADE_UP)
def test_every_input_of_a_made_up_format(name: str) -> None:
    check(made_up(name))


@pytest.mark.parametrize("format", [load_format("float8_e4m3fn"), made_up("unusual_floats")], ids=lambda f: f.name)
def test_every_input_of_the_integer_lowering(format: NumberFormat) -> None:
    """The other way to round these: both are the oracle's encoder, so each is the other's equal."""
    plan = lower(format, Purpose.ENCODE, Lowering.INTEGER)
    assert plan != lower(format, Purpose.ENCODE)
    proof = prove(format, backend_named("numba").compile(plan))
    assert proof.holds, "\n".join(map(str, proof.mismatches))


@pytest.mark.long
@pytest.mark.parametrize("name", [name for name in formats(kind="number") if name not in PROVEN])
def test_every_input_of_the_catalog(name: str) -> None:
    if not is_proven_by_steps(load_format(name)):
        pytest.skip("more than 16 bits, wraps, or is stochastic")
    check(load_format(name))


# --- the proof itself --------------------------------------------------------------------------------------------


SMALL = load_format("float4_e2m1fn")


def spoiled(places: dict[int, int]) -> Encoder:
    """The encoder of `SMALL` with other codes for the inputs with these bits."""
    encode = Codec(SMALL).encode

    def encoder(x: Any, *, out: Any) -> Any:
        codes = encode(x, out=out)
        first = int(x.view(np.uint32)[0])
        for bits, code in places.items():
            if 0 <= bits - first < len(x):
                codes[bits - first] = code
        return codes

    return encoder


def codes_of(bits: list[int]) -> list[int]:
    return Codec(SMALL).encode(np.array(bits, np.uint32).view(np.float32)).tolist()


def test_a_wrong_input_is_found_wherever_it_is() -> None:
    ends_of_blocks = [7 * BLOCK - 1, 7 * BLOCK]
    nans = [0x7F80_0001, 0x7FFF_FFFF, 0xFF80_0001, 0xFFFF_FFFF]
    bits = sorted([0, *ends_of_blocks, 0x3F80_0001, 0x7F80_0000, 0x8000_0000, *nans])
    right = codes_of(bits)
    proof = prove(SMALL, spoiled({place: code ^ 1 for place, code in zip(bits, right, strict=True)}))
    assert not proof.holds
    assert proof.wrong == len(bits)
    assert [(m.bits, m.expected, m.code ^ 1) for m in proof.mismatches] == list(zip(bits, right, right, strict=True))
    assert str(proof.mismatches[3]) == "1.0000001192092896 (0x3f800001): code 0x3, expected 0x2"


def test_the_first_wrong_inputs_are_named_and_all_are_counted() -> None:
    def zeros(x: Any, *, out: Any) -> Any:
        out[...] = 0
        return out

    proof = prove(SMALL, zeros)
    right = 0x3E80_0000 + 1  # 0 up to 0.25, the tie to even
    assert proof.wrong == ALL - right
    assert [mismatch.bits for mismatch in proof.mismatches] == list(range(right, right + 10))
    assert proof.change_points == 0


def test_steps_at_other_places_are_wrong() -> None:
    """An encoder that takes ties away from zero differs from one that takes them to even at every second tie."""
    even = load_format("float8_e4m3fn")
    away = parse_format("name: away\nextends: float8_e4m3fn\nencode: {rounding: nearest_away}\n")
    proof = prove(even, Codec(away).encode)
    ties = [2.0**-10, 5 * 2.0**-10, 9 * 2.0**-10, 13 * 2.0**-10]  # from code 0 to 1, 2 to 3, 4 to 5, 6 to 7
    assert [mismatch.bits for mismatch in proof.mismatches[:4]] == np.float32(ties).view(np.uint32).tolist()
    assert [mismatch.expected for mismatch in proof.mismatches] == list(range(0, 20, 2))
    assert proof.wrong == 2 * 63  # up to the tie from 0x7c to 0x7d, of both signs


def test_an_encoder_may_return_codes_of_its_own_and_progress_is_told() -> None:
    told: list[tuple[int, int]] = []
    encode = Codec(SMALL).encode
    proof = prove(SMALL, lambda x, *, out: encode(x), lambda done, total: told.append((done, total)))
    assert proof.holds
    assert told == [(done, ALL) for done in range(BLOCK, ALL + 1, BLOCK)]
    assert proof.change_points == 8 + 8  # 7 steps up, NaN; -0, 7 steps down, NaN as +6


def test_an_encoder_must_give_one_code_for_each_input() -> None:
    with pytest.raises(ValueError, match=r"shape \(1,\) for 1048576 inputs"):
        prove(SMALL, lambda x, *, out: out[:1])


@pytest.mark.parametrize("element", ["{kind: int, bits: 17}", "{kind: float, exponent_bits: 8, mantissa_bits: 9}"])
def test_wide_formats_are_not_proven(element: str) -> None:
    wide = parse_format(f"name: wide\nelement: {element}\n")
    with pytest.raises(UnsupportedError, match="16 bits"):
        prove(wide, Codec(wide).encode)


@pytest.mark.parametrize("policy", ["{overflow: wrap}", "{rounding: stochastic_b}"])
def test_what_has_no_steps_is_not_proven(policy: str) -> None:
    format = parse_format(f"name: stepless\nelement: {{kind: int, bits: 4}}\nencode: {policy}\n")
    with pytest.raises(UnsupportedError, match="steps of .*; allowed: "):
        prove(format, lambda x, *, out: out)
