"""Hypothesis strategies that draw valid specs. They know the rules of the language, and import none of its code.

    @given(text=number_specs())
    def test_something(text: str) -> None:
        format = statqat_sim.parse_format(text)

Every drawn text is valid by construction: `parse_format` never refuses one. Most formats have at most 8 bits, a
good part up to 32. All kinds, encodings, special values and encode policies occur (`nan_input: error` too: encoding a
NaN then raises); keys that say the default are left out three times of four. Stochastic roundings occur where they are
asked for: `roundings=STOCHASTIC`, or both; an element that has none of those asked for rounds to nearest even. Failing
examples shrink towards few bits and few keys.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

from hypothesis import strategies as st

KINDS = ("float", "int", "codebook", "posit", "takum", "lns", "tapered")
LEAST_BITS = {"posit": 2, "takum": 2, "lns": 3, "tapered": 3}  # of the others 1
IRRATIONAL = ("takum", "lns")  # kinds with values that are not exact in float32
ROUNDINGS = (
    "nearest_even",
    "nearest_away",
    "nearest_zero",
    "nearest_up",
    "toward_zero",
    "toward_positive",
    "toward_negative",
    "to_odd",
)
STOCHASTIC = ("stochastic_a", "stochastic_b", "stochastic_c")
SPECIALS = (  # nan, inf
    ("none", "none"),
    ("all_ones", "none"),
    ("negative_zero", "none"),
    ("ieee", "ieee"),
    ("none", "max_code"),
    ("all_ones", "max_code"),
    ("negative_zero", "max_code"),
)
SUBNORMALS = ("gradual", "none", "flush", "raw")
MAX_EXPONENT_BITS = 11  # what float64 has
MAX_CODEBOOK_VALUES = 64

Exact = Literal["float64", "float32"]
Mapped = dict[str, Any]


def number_specs(
    kinds: Sequence[str] = KINDS, *, max_bits: int = 32, exact: Exact = "float64", roundings: Sequence[str] = ROUNDINGS
) -> st.SearchStrategy[str]:
    """YAML text of a valid number format named `random`.

    Args:
        kinds: element kinds to draw from.
        max_bits: widest code (float and int up to 32 bits, the others 16); 16 for formats whose table can be listed.
        exact: "float32" draws only formats whose values are all exact in float32 (subnormals included): no takum, no
            lns.
        roundings: rounding modes to draw from.
    """
    return number_mappings(kinds, max_bits=max_bits, exact=exact, roundings=roundings).map(to_yaml)


@st.composite
def number_mappings(
    draw: st.DrawFn,
    kinds: Sequence[str] = KINDS,
    *,
    max_bits: int = 32,
    exact: Exact = "float64",
    roundings: Sequence[str] = ROUNDINGS,
) -> Mapped:
    """The same as `number_specs`, as plain Python values: for tests that change a key or read one."""
    fit = [kind for kind in kinds if LEAST_BITS.get(kind, 1) <= max_bits]
    kind = draw(st.sampled_from([kind for kind in fit if exact == "float64" or kind not in IRRATIONAL]))
    element, traits = draw(ELEMENTS[kind](max_bits, exact))
    parts = {"encode": draw(encode_policies(traits, roundings)), "pack": draw(packings(traits.bits))}
    return {"name": "random", "element": element} | {part: keys for part, keys in parts.items() if keys}


class Traits:
    """What an element has, as far as encode policies depend on it."""

    def __init__(
        self, *, bits: int, nan: bool = False, inf: bool = False, zero: bool = True, negative: bool = True
    ) -> None:
        self.bits, self.nan, self.inf, self.zero, self.negative = bits, nan, inf, zero, negative
        self.wraps = False
        self.overflows = True  # whether the largest value has a successor
        self.takes_random_bits = False
        self.tie_domains = ["arithmetic"]


# --- elements --------------------------------------------------------------------------------------------------


def widths(least: int, max_bits: int) -> st.SearchStrategy[int]:
    """Code widths: most draws have at most 8 bits."""
    limits = [min(limit, max_bits) for limit in (8, 8, 8, 16, max_bits)]
    return st.sampled_from(limits).flatmap(lambda most: st.integers(least, max(least, most)))


@st.composite
def float_elements(draw: st.DrawFn, max_bits: int, exact: Exact) -> tuple[Mapped, Traits]:
    signed = draw(st.booleans()) if max_bits > 1 else False
    magnitude_bits = draw(widths(1 + signed, max_bits)) - signed
    most_mantissa, most_exponent = (23, 8) if exact == "float32" else (31, MAX_EXPONENT_BITS)
    magnitude_bits = min(magnitude_bits, most_mantissa + most_exponent)
    least_exponent = max(1, magnitude_bits - most_mantissa)
    exponent_bits = draw(st.integers(least_exponent, min(magnitude_bits, most_exponent)))
    mantissa_bits = magnitude_bits - exponent_bits
    fields = _Fields(exponent_bits, mantissa_bits, exact)
    meanings = [
        (subnormals, nan, inf) for subnormals in SUBNORMALS for nan, inf in SPECIALS if signed or nan != "negative_zero"
    ]
    subnormals, nan, inf = draw(st.sampled_from([meaning for meaning in meanings if fields.allow(*meaning)]))
    zeros = ["signed"] if signed and nan != "negative_zero" else []
    zeros += ["positive"] + ["none"] * (subnormals == "none" and nan != "negative_zero")
    zero = draw(st.sampled_from(zeros))
    low, high = fields.biases(subnormals, nan, inf)
    bias = draw(_near(fields.default_bias, low, high))
    element = {"kind": "float", "exponent_bits": exponent_bits, "mantissa_bits": mantissa_bits}
    defaults = {
        "signed": (signed, True),
        "bias": (bias, fields.default_bias),
        "subnormals": (subnormals, "gradual"),
        "nan": (nan, "none"),
        "inf": (inf, "none"),
        "zero": (zero, zeros[0]),
    }
    traits = Traits(
        bits=magnitude_bits + signed, nan=nan != "none", inf=inf != "none", zero=zero != "none", negative=signed
    )
    has_odd_gap = subnormals == "raw" or (subnormals == "none" and zero != "none")
    traits.takes_random_bits = not has_odd_gap
    return element | draw(_written(defaults)), traits


class _Fields:
    """Which meanings of the special codes, and which biases, a pair of field widths allows."""

    def __init__(self, exponent_bits: int, mantissa_bits: int, exact: Exact) -> None:
        self.exponent_bits, self.mantissa_bits = exponent_bits, mantissa_bits
        self.emax, self.least_quantum = (127, -149) if exact == "float32" else (1023, -1074)
        self.default_bias = (1 << (exponent_bits - 1)) - 1

    def largest(self, nan: str, inf: str) -> int:
        """The largest finite magnitude."""
        if nan == "ieee":
            return (((1 << self.exponent_bits) - 1) << self.mantissa_bits) - 1
        return (1 << (self.exponent_bits + self.mantissa_bits)) - 1 - (nan == "all_ones") - (inf == "max_code")

    def biases(self, subnormals: str, nan: str, inf: str) -> tuple[int, int]:
        """Between these all values are exact."""
        top_field = max(self.largest(nan, inf) >> self.mantissa_bits, 1)
        shares_quantum = subnormals in ("gradual", "flush")  # exponent field 0 has the quantum of field 1
        return top_field - self.emax, shares_quantum - self.mantissa_bits - self.least_quantum

    def allow(self, subnormals: str, nan: str, inf: str) -> bool:
        first = 1 << self.mantissa_bits if subnormals == "flush" else 1
        low, high = self.biases(subnormals, nan, inf)
        return self.largest(nan, inf) >= first and low <= high and (nan != "ieee" or self.mantissa_bits > 0)


def _near(default: int, low: int, high: int) -> st.SearchStrategy[int]:
    """Mostly the default or close to it, sometimes anything from low to high."""
    close = range(max(low, default - 4), min(high, default + 4) + 1)
    choices = [st.just(default)] * 3 if low <= default <= high else []
    choices += [st.sampled_from(close)] * 2 if close else []
    return st.one_of(*choices, st.integers(low, high))


@st.composite
def int_elements(draw: st.DrawFn, max_bits: int, exact: Exact) -> tuple[Mapped, Traits]:
    encodings = ["twos_complement", "unsigned", "offset_binary", "sign_magnitude"]
    most = min(max_bits, 24 if exact == "float32" else 32)
    bits = draw(widths(1, most))
    encoding = draw(st.sampled_from(encodings[:3] if bits == 1 else encodings))
    top = (1 << bits) - 1
    half = 1 << (bits - 1)
    offset = draw(st.one_of(st.just(half), st.integers(0, top))) if encoding == "offset_binary" else half
    low, high = {
        "twos_complement": (-half, half - 1),
        "unsigned": (0, top),
        "offset_binary": (-offset, top - offset),
        "sign_magnitude": (1 - half, half - 1),
    }[encoding]
    least, greatest = low, high
    if draw(st.integers(0, 3)) == 3:  # at least one of 1 and -1 stays inside
        least = draw(st.integers(low, 0 if high > 0 else -1))
        greatest = draw(st.integers(0 if least < 0 else 1, high))
    element: Mapped = {"kind": "int", "bits": bits}
    defaults = {
        "encoding": (encoding, "twos_complement"),
        "fraction_bits": (draw(st.sampled_from([0, 0, 0, 1, 2, 6, bits, -1, -3, 64, -64])), 0),
    }
    if encoding == "offset_binary":
        defaults["offset"] = (offset, half)
    element |= draw(_written(defaults))
    bounds = {"min": (least, low), "max": (greatest, high)}
    written = {
        key: value for key, (value, default) in bounds.items() if value != default or draw(st.integers(0, 7)) == 7
    }
    traits = Traits(bits=bits, negative=least < 0)
    traits.wraps = not written and encoding != "sign_magnitude"
    traits.takes_random_bits = True
    return element | written, traits


@st.composite
def codebook_elements(draw: st.DrawFn, max_bits: int, exact: Exact) -> tuple[Mapped, Traits]:
    bits = draw(st.one_of(st.integers(1, min(6, max_bits)), st.integers(1, min(16, max_bits))))
    most = min(1 << bits, MAX_CODEBOOK_VALUES)
    width = 32 if exact == "float32" else 64
    plain = st.integers(-64, 64).map(lambda n: n / 8)
    wild = st.floats(width=width, allow_nan=False, allow_infinity=False)
    value = st.one_of(plain, plain, st.sampled_from([0.0, -0.0, 1.0, -1.0]), wild)
    full = draw(st.booleans())
    values = draw(st.lists(value, min_size=most if full else 1, max_size=most))
    if not any(values):
        values[draw(st.integers(0, len(values) - 1))] = 1.0
    if len(values) > 1 and draw(st.booleans()):  # duplicates
        values[draw(st.integers(0, len(values) - 1))] = values[draw(st.integers(0, len(values) - 1))]
    if not any(values):
        values[0] = 1.0
    traits = Traits(bits=bits, nan=len(values) < 1 << bits, zero=0.0 in values, negative=min(values) < 0)
    traits.overflows = False
    return {"kind": "codebook", "bits": bits, "values": values}, traits


def listed_widths(least: int, max_bits: int) -> st.SearchStrategy[int]:
    """Code widths of kinds whose codes are listed: most draws have at most 8 bits, few 16."""
    limits = [min(limit, max_bits) for limit in (8, 8, 8, 8, 8, 8, 8, 12, 16)]
    return st.sampled_from(limits).flatmap(lambda most: st.integers(least, max(least, most)))


@st.composite
def posit_elements(draw: st.DrawFn, max_bits: int, exact: Exact) -> tuple[Mapped, Traits]:
    bits = draw(listed_widths(2, max_bits))
    emax = 126 if exact == "float32" else 1023
    most_es = max(es for es in range(9) if (bits - 2) << es <= emax)
    es = draw(st.one_of(st.integers(0, min(2, most_es)), st.integers(0, most_es)))
    traits = Traits(bits=bits, nan=True)
    traits.overflows, traits.tie_domains = False, ["arithmetic", "bitstring"]
    return {"kind": "posit", "bits": bits, "es": es}, traits


@st.composite
def takum_elements(draw: st.DrawFn, max_bits: int, exact: Exact) -> tuple[Mapped, Traits]:
    bits = draw(listed_widths(2, max_bits))
    variant = draw(_written({"variant": (draw(st.sampled_from(["linear", "logarithmic"])), "linear")}))
    traits = Traits(bits=bits, nan=True)
    traits.overflows, traits.tie_domains = False, ["arithmetic", "bitstring"]
    return {"kind": "takum", "bits": bits} | variant, traits


@st.composite
def lns_elements(draw: st.DrawFn, max_bits: int, exact: Exact) -> tuple[Mapped, Traits]:
    bits = draw(listed_widths(3, max_bits))
    fraction_bits = draw(st.integers(max(0, bits - 12), bits - 2))
    traits = Traits(bits=bits, nan=True)
    traits.overflows, traits.tie_domains = False, ["arithmetic", "log"]
    return {"kind": "lns", "bits": bits, "fraction_bits": fraction_bits}, traits


@st.composite
def tapered_elements(draw: st.DrawFn, max_bits: int, exact: Exact) -> tuple[Mapped, Traits]:
    most = min(max_bits, draw(st.sampled_from([8, 8, 8, 12, 16]))) - 1
    least_exponent = -150 if exact == "float32" else -1075
    prefixes, widths = draw(_prefixes_and_widths(7 if exact == "float32" else 9))
    low, high = _magnitude_bits(prefixes, widths, least_exponent)
    if low > min(high, most):  # 2 regimes always fit
        prefixes, widths = ["0", "1"], [None, 0]
        low, high = _magnitude_bits(prefixes, widths, least_exponent)
    magnitude_bits = draw(st.integers(low, min(high, most)))
    largest = (1 << max(width for width in widths if width is not None)) - 1
    regimes: list[Mapped] = []
    for prefix, width in zip(prefixes, widths, strict=True):
        mantissa_bits = magnitude_bits - len(prefix) - (width or 0)
        exponent = draw(st.integers(least_exponent, -largest - (1 << mantissa_bits))) if width is None else width
        key = "subnormal_exponent" if width is None else "exponent_bits"
        regimes.append({"prefix": prefix, key: exponent, "mantissa_bits": mantissa_bits})
    zero_is_code_0 = "1" not in prefixes[0]
    nan = draw(st.sampled_from(["none", "negative_zero"] if zero_is_code_0 else ["none"]))
    inf = draw(st.sampled_from(["none", "max_code"]))
    traits = Traits(bits=magnitude_bits + 1, nan=nan != "none", inf=inf != "none")
    traits.overflows = traits.inf
    specials = draw(_written({"nan": (nan, "none"), "inf": (inf, "none")}))
    regimes = draw(st.permutations(regimes))
    return {"kind": "tapered", "bits": magnitude_bits + 1, "regimes": regimes} | specials, traits


@st.composite
def _prefixes_and_widths(draw: st.DrawFn, most_exponent_bits: int) -> tuple[list[str], list[int | None]]:
    """A complete prefix code and distinct exponent widths; the first regime is that of the subnormals (None)."""
    prefixes = ["0", "1"]
    for _ in range(draw(st.integers(0, 4))):
        split = prefixes.pop(draw(st.integers(0, len(prefixes) - 1)))
        prefixes += [split + "0", split + "1"]
    limit = max(draw(st.sampled_from([4, 4, most_exponent_bits])), len(prefixes) - 2)
    count = len(prefixes) - 1
    widths = draw(st.lists(st.integers(0, limit), min_size=count, max_size=count, unique=True))
    prefixes.sort(key=lambda prefix: (-len(prefix), prefix))  # many subnormals reach below float64
    return prefixes, [None, *widths]


def _magnitude_bits(prefixes: list[str], widths: list[int | None], least_exponent: int) -> tuple[int, int]:
    """Between these all regimes have mantissa bits, and the subnormal values are not too many."""
    largest = (1 << max(width for width in widths if width is not None)) - 1
    low = max(len(prefix) + (width or 0) + 1 for prefix, width in zip(prefixes, widths, strict=True))
    room = -largest - least_exponent  # at least 1 << mantissa_bits
    return low, len(prefixes[0]) + room.bit_length() - 1


ELEMENTS = {
    "float": float_elements,
    "int": int_elements,
    "codebook": codebook_elements,
    "posit": posit_elements,
    "takum": takum_elements,
    "lns": lns_elements,
    "tapered": tapered_elements,
}


@st.composite
def _written(draw: st.DrawFn, values: Mapping[str, tuple[Any, Any]]) -> Mapped:
    """Every key whose value differs from its default, and some of the others."""
    return {key: value for key, (value, default) in values.items() if value != default or draw(st.integers(0, 3)) == 3}


# --- encode ----------------------------------------------------------------------------------------------------


@st.composite
def encode_policies(draw: st.DrawFn, traits: Traits, roundings: Sequence[str] = ROUNDINGS) -> Mapped:
    """An `encode` mapping that asks only for what the element has; any key may be left out."""
    nan, inf = traits.nan, traits.inf
    fit = [mode for mode in roundings if mode not in STOCHASTIC or traits.takes_random_bits] or ["nearest_even"]
    choices: dict[str, st.SearchStrategy[Any]] = {
        "rounding": st.sampled_from(fit),
        "random_bits": st.integers(1, 32),
        "overflow": _offered(saturate=True, inf=inf, nan=nan and traits.overflows, wrap=traits.wraps),
        "inf_input": _offered(overflow=True, saturate=True, inf=inf, nan=nan),
        "nan_input": _offered(max=True, nan=nan, zero=traits.zero, error=True) | st.integers(0, (1 << traits.bits) - 1),
        "zero_input": _offered(min=True, nan=nan and not traits.zero),
        "underflow": _offered(zero=True, min=True),
        "negative_input": _offered(clamp=True, nan=nan and not traits.negative, abs=not traits.negative),
        "flush_inputs": st.booleans(),
        "via": _offered(exact=True, float32=True, bfloat16=True),
        "tie_domain": st.sampled_from(traits.tie_domains),
    }
    kept = draw(st.sets(st.sampled_from(sorted(choices))))
    if "nearest_even" not in fit:
        kept.add("rounding")
    return {key: draw(choices[key]) for key in choices if key in kept}


def packings(bits: int) -> st.SearchStrategy[Mapped]:
    """A `pack` mapping, mostly empty."""
    orders = [{}, {}, {}, {"bit_order": "msb"}, {"bit_order": "lsb"}]
    nibbles = [{"nibbles": "low_first"}, {"nibbles": "high_first"}, {"nibbles": "low_first", "bit_order": "msb"}]
    return st.sampled_from(orders + nibbles * (bits == 4))


def _offered(**words: bool) -> st.SearchStrategy[str]:
    return st.sampled_from([word for word, offered in words.items() if offered])


# --- text ------------------------------------------------------------------------------------------------------


def to_yaml(spec: Mapping[str, Any]) -> str:
    """YAML text of plain values, one line per top-level key."""
    return "".join(f"{key}: {inline(value)}\n" for key, value in spec.items())


def inline(value: Any) -> str:
    """A value in flow style, in a spelling that YAML 1.1 and YAML 1.2 read alike."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key}: {inline(entry)}" for key, entry in value.items()) + "}"
    if isinstance(value, str):
        return value if value.isidentifier() else f'"{value}"'
    if isinstance(value, Iterable):
        return "[" + ", ".join(map(inline, value)) + "]"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return _float_text(value)
    return str(value)


def _float_text(value: float) -> str:
    """`1.0e-05` where Python says `1e-05`, and `.inf`, `.nan`."""
    if not math.isfinite(value):
        return {math.inf: ".inf", -math.inf: "-.inf"}.get(value, ".nan")
    mantissa, _, exponent = repr(value).partition("e")
    return f"{mantissa}{'' if '.' in mantissa else '.0'}{'e' if exponent else ''}{exponent}"
