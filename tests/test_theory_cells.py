"""Cells against the oracle's encoder: at both sides of the thresholds, far out, and at 0."""

from __future__ import annotations

import copy
import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from strategies import number_specs

import statqat_sim as sqs
from statqat_sim.errors import UnsupportedError
from statqat_sim.reference.exact import Number, decode, encode_number, through
from statqat_sim.spec.encode import Overflow, Rounding
from statqat_sim.spec.number import NumberFormat
from statqat_sim.theory import Cells, cells, nearest
from statqat_sim.theory.cells import LEAST_NORMAL
from statqat_sim.theory.pieces import pieces

CATALOG = [name for name in sqs.formats() if isinstance(fmt := sqs.load_format(name), NumberFormat) and fmt.bits <= 16]


def became(format: NumberFormat, x: float) -> Number:
    """What the oracle makes of a number."""
    if format.encode.flush_inputs and abs(x) < LEAST_NORMAL:
        x = 0.0
    return decode(format, encode_number(format, through(format.encode.via, Fraction(x))))


def points(format: NumberFormat, found: Cells, count: int) -> list[float]:
    """Both sides of some thresholds, and numbers far out."""
    rng = np.random.default_rng(0)
    some = rng.choice(found.thresholds, min(found.thresholds.size, count), replace=False)
    around = np.append(some, [x for x in found.limits if math.isfinite(x)])
    beside = np.maximum(np.abs(around), abs(format.smallest) / 1000) * (1e-12 if format.encode.via == "exact" else 1e-6)
    far = float(np.abs(found.values).max()) * np.array([-math.pi, -1.01, -1 / math.pi, 1 / math.pi, 1.01, math.pi])
    x = np.concatenate((around - beside, around + beside, far, [0.0]))
    if format.encode.via != "exact":  # what float32 does not hold is another matter
        x = x[(x == 0) | (np.abs(x) > 1e-36) & (np.abs(x) < 3e38)]
    return x.tolist()  # type: ignore[no-any-return]


def agrees(format: NumberFormat, found: Cells, x: float) -> bool:
    place = found.zero if x == 0 else int(np.searchsorted(found.thresholds, x))
    is_lost = x < found.limits[0] or x > found.limits[1] or (x == 0 and found.zero_is_nan)
    number = became(format, x)
    if is_lost and format.encode.overflow is Overflow.WRAP:
        return True
    value = 0.0 if number.__class__ is not Fraction and "ZERO" in str(number) else number
    return value == found.values[place] if not is_lost else not isinstance(number, Fraction)


def check(format: NumberFormat, count: int) -> None:
    found = cells(format)
    assert found.values.size == found.thresholds.size + 1
    assert (np.diff(found.thresholds) >= 0).all()
    assert np.isfinite(found.values).all()
    assert not any(each.flags.writeable for each in (found.values, found.thresholds, copy.deepcopy(found).values))
    wrong = [x for x in points(format, found, count) if not agrees(format, found, x)]
    assert not wrong


@pytest.mark.parametrize("name", CATALOG)
def test_cells_of_the_catalog(name: str) -> None:
    check(sqs.load_format(name), 12)  # type: ignore[arg-type]


@given(number_specs(max_bits=9), st.sampled_from([mode for mode in Rounding if not mode.is_stochastic]))
@settings(max_examples=150, deadline=None)
def test_cells_of_any_format(text: str, rounding: Rounding) -> None:
    format = sqs.parse_format(text)
    assert isinstance(format, NumberFormat)
    assume(format.bits <= 9)
    if format.encode.rounding.is_stochastic:
        with pytest.raises(UnsupportedError, match="cells of rounding: stochastic_"):
            cells(format)
    encode = format.encode.model_copy(update={"rounding": rounding})
    format = format.model_copy(update={"encode": encode})
    sizes = np.abs(format.grid())
    assume(sizes.max() < 1e30 and sizes[sizes > 0].min() > 1e-30)  # through bfloat16 the rest is Inf or 0
    check(format, 40)


@pytest.mark.parametrize("name", ["posit16", "takum_log16", "lns16", "float16"])
def test_many_thresholds_of_wide_formats(name: str) -> None:
    check(sqs.load_format(name), 400)  # type: ignore[arg-type]


def test_cells_by_hand() -> None:
    found = cells(sqs.load_format("int2_narrow"))  # type: ignore[arg-type]
    assert (found.values.tolist(), found.thresholds.tolist(), found.zero) == ([-1, 0, 1], [-0.5, 0.5], 1)
    assert found.limits == (-math.inf, math.inf)
    posit = cells(sqs.load_format("posit4"))  # type: ignore[arg-type]
    assert posit.thresholds[posit.zero - 1 : posit.zero + 1].tolist() == [0, 0]  # only 0 becomes 0
    binary = cells(sqs.load_format("binary1_pm1"))  # type: ignore[arg-type]
    assert (binary.thresholds.tolist(), binary.zero) == ([0], 1)


def test_negative_inputs_of_unsigned_formats() -> None:
    clamp = cells(sqs.load_format("uint2"))  # type: ignore[arg-type]
    assert (clamp.values.tolist(), clamp.thresholds.tolist(), clamp.zero) == ([0, 1, 2, 3], [0.5, 1.5, 2.5], 0)
    lost = cells(sqs.load_format("p3109_binary8p3uf.sat_none"))  # type: ignore[arg-type]
    assert lost.limits == (0, math.inf)
    mirrored = cells(sqs.load_format("float8_e8m0fnu.nvidia_rz"))  # type: ignore[arg-type]
    assert mirrored.values[0] == mirrored.values[-1] == 2.0**127
    assert (mirrored.thresholds == -mirrored.thresholds[::-1]).all()
    assert mirrored.values[mirrored.zero] == 2.0**-127


def test_overflow_has_limits() -> None:
    half = cells(sqs.load_format("float16"))  # type: ignore[arg-type]
    assert half.limits == (-65520, 65520)
    wrapped = cells(sqs.load_format("int4.ml_dtypes"))  # type: ignore[arg-type]
    assert wrapped.limits == (-9, 8)


# --- random bits -------------------------------------------------------------------------------------------------


def stochastic(name: str, mode: str = "stochastic_a") -> NumberFormat:
    format = sqs.parse_format(f"{{name: s, extends: {name}, encode: {{rounding: {mode}}}}}")
    assert isinstance(format, NumberFormat)
    return format


def test_nearest_is_in_the_place_of_random_bits() -> None:
    format = stochastic("int4")
    assert nearest(format).encode.rounding is Rounding.NEAREST_EVEN
    plain = sqs.load_format("int4")
    assert nearest(plain) is plain  # type: ignore[arg-type]
    with pytest.raises(UnsupportedError, match="allowed: nearest_even, nearest_away"):
        cells(format)


def test_pieces_of_random_bits_end_at_values() -> None:
    whole = pieces(stochastic("float4_e2m1fn"))
    assert not whole.is_deterministic
    assert whole.jumps is None
    x = np.array([0.2, 0.6, 1.9, 2.5, 7.0, -5.0])
    at = np.searchsorted(whole.thresholds, x)
    error = whole.sign[at] * (x - whole.first[at]) * (x - whole.second[at])
    np.testing.assert_allclose(error, [0.2 * 0.3, 0.1 * 0.4, 0.4 * 0.1, 0.25, 1.0, 1.0])


def test_where_random_bits_have_no_choice() -> None:
    text = "{name: s, element: {kind: float, exponent_bits: 3, mantissa_bits: 1, subnormals: none, zero: none}}"
    format = sqs.parse_format(text)
    assert isinstance(format, NumberFormat)
    whole = pieces(
        format.model_copy(update={"encode": format.encode.model_copy(update={"rounding": Rounding.STOCHASTIC_B})})
    )
    at = np.searchsorted(whole.thresholds, [-0.01, 0.01])
    assert (whole.sign[at] == 1).all()  # inputs keep their sign
    assert (whole.first[at] == [-format.smallest, format.smallest]).all()


def test_what_pieces_do_not_know() -> None:
    with pytest.raises(UnsupportedError, match="allowed: formats of up to 16 bits"):
        pieces(sqs.load_format("float32"))  # type: ignore[arg-type]
    with pytest.raises(UnsupportedError, match="negative_input: abs under rounding: stochastic_a; allowed: clamp"):
        pieces(sqs.parse_format("{name: s, extends: uint4, encode: {rounding: stochastic_a, negative_input: abs}}"))  # type: ignore[arg-type]
