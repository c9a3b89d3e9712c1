"""Hypothesis strategies that draw valid block formats, and arrays for them. They import no code of the language.

    @given(case=block_cases())
    def test_something(case: BlockCase) -> None:
        format = statqat_sim.parse_format(case.text)
        ...  # quantize case.x along case.axis with scale=case.scale

Every drawn text is valid by construction: `parse_format` never refuses one. Elements have up to 8 bits and values that
float32 holds; they refuse no NaN and do not round stochastically. Keys stand only where they mean something, mostly
where they differ from the default. Failing examples shrink towards one level, few keys and plain numbers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any, Literal

import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray
from strategies import ROUNDINGS, Mapped, float_elements, number_mappings, to_yaml
from strategies import _Fields as Fields

Float32s = NDArray[np.float32]
Kind = Literal["float", "int", "codebook"]

KINDS: tuple[Kind, ...] = ("float", "int", "codebook")
POWER_OF_TWO = ("floor", "ceil", "rceil", "even")
RULES = ("absmax", "absmax", *POWER_OF_TWO, "signed_absmax", "mse", "mse", "given", "minmax")
"""As often as they are drawn; `minmax` stands in one format of five."""


@dataclass(frozen=True)
class ScaleFormat:
    """What a scale's format has, as far as the keys of a level depend on it; `clamps` are values of it, ascending.

    `written` is its name, or what stands in its place.
    """

    written: str | Mapped
    bits: int
    nan: bool = True
    zero: bool = True
    signed: bool = False
    powers: bool = True  # all powers of two from the smallest to the largest
    kind: str = "float"
    clamps: Sequence[float] = (0.25, 1.0, 4.0)

    @property
    def takes_mse(self) -> bool:
        return self.bits <= 8 and self.kind in ("float", "int")


SCALE_FORMATS = (
    ScaleFormat("float8_e8m0fnu", 8, zero=False),
    ScaleFormat("ue4m3", 8),
    ScaleFormat("ue6m2", 8, zero=False),
    ScaleFormat("p3109_binary8p1uf", 8),
    ScaleFormat("p3109_binary8p3uf", 8),
    ScaleFormat("p3109_binary8p4ue", 8),
    ScaleFormat("float8_e4m3fn", 8, signed=True),
    ScaleFormat("float8_e4m3fnuz", 8, signed=True),
    ScaleFormat("float8_e5m2", 8, signed=True),
    ScaleFormat("float4_e3m0fn", 4, nan=False, signed=True),
    ScaleFormat("float6_e3m2fn", 6, nan=False, signed=True),
    ScaleFormat("float16", 16, signed=True),
    ScaleFormat("bfloat16", 16, signed=True),
    ScaleFormat("float32", 32, signed=True),
    ScaleFormat("uint4", 4, nan=False, kind="int", clamps=(1.0, 3.0, 12.0)),
    ScaleFormat("uint8", 8, nan=False, kind="int", clamps=(1.0, 5.0, 200.0)),
    ScaleFormat("int8", 8, nan=False, signed=True, kind="int", clamps=(1.0, 5.0, 100.0)),
    ScaleFormat("posit8", 8, signed=True, powers=False, kind="posit"),
    ScaleFormat(
        {"element": {"kind": "int", "bits": 8, "encoding": "unsigned", "fraction_bits": 4}}, 8, nan=False, kind="int"
    ),
)
"""The first one is what failing examples shrink to."""

MINIMUM_FORMATS = ("float16", "float32", "bfloat16", "float8_e4m3fn", "int8", "int4")
UNSIGNED_MINIMUM_FORMATS = ("ue4m3", "uint8", "uint4", "p3109_binary8p3uf")
NESTED_ELEMENTS = ("uint6", "uint4", "uint8", "ue4m3")
SIGNED_NESTED_ELEMENTS = ("int8", "float8_e4m3fn")


def block_specs(kinds: Sequence[Kind] = KINDS, *, rules: Sequence[str] = RULES) -> st.SearchStrategy[str]:
    """YAML text of a valid block format named `random`.

    Args:
        kinds: element kinds to draw from.
        rules: rules of scales to draw from; where an element or a format allows none of them, it is `absmax`.
    """
    return block_mappings(kinds, rules=rules).map(to_yaml)


@st.composite
def block_mappings(draw: st.DrawFn, kinds: Sequence[Kind] = KINDS, *, rules: Sequence[str] = RULES) -> Mapped:
    """The same as `block_specs`, as plain Python values: for tests that change a key or read one."""
    spec = draw(elements(kinds))
    blocks = draw(nested_blocks())
    if "minmax" in rules and spec["element"]["kind"] != "codebook" and draw(st.integers(0, 4)) == 4:
        return spec | draw(offset_parts(spec, blocks[-1]))
    shared = draw(shared_exponents(blocks))
    depth = len(blocks) - len(shared)
    levels: list[Mapped] = []
    for i, block in enumerate(blocks[:depth]):
        place = Place(i, is_anchor=i == depth - 1, is_innermost=i == len(blocks) - 1, outer=tuple(levels))
        levels.append(draw(scale_levels(spec["element"], block, place, rules)))
    return spec | {"scales": levels + shared}


def block_rank(spec: Mapped) -> int:
    """How many dimensions an array must have."""
    return 2 if any(isinstance(level["block"], list) for level in spec["scales"]) else 0


def needs_scale(spec: Mapped) -> bool:
    """Whether the caller must give a scale."""
    return any(level.get("rule") == "given" for level in spec["scales"])


# --- elements --------------------------------------------------------------------------------------------------


@st.composite
def elements(draw: st.DrawFn, kinds: Sequence[Kind] = KINDS) -> Mapped:
    """A spec's name, `element` and `encode`."""
    drawn = number_mappings(kinds, max_bits=8, exact="float32", roundings=ROUNDINGS)
    spec = draw(drawn.filter(lambda spec: has_positive(spec["element"])))
    encode = {key: word for key, word in spec.get("encode", {}).items() if (key, word) != ("nan_input", "error")}
    return {"name": "random", "element": spec["element"]} | ({"encode": encode} if encode else {})


def has_positive(element: Mapped) -> bool:
    """Whether the largest finite element is above zero, as every target needs."""
    match element["kind"]:
        case "codebook":
            return max(element["values"]) > 0
        case "int":
            return highest(element) > 0
        case _:
            return True


def highest(element: Mapped) -> int:
    """The largest n of an int."""
    bits: int = element["bits"]
    full = {"unsigned": (1 << bits) - 1, "offset_binary": (1 << bits) - 1 - element.get("offset", 1 << bits - 1)}
    most: int = element.get("max", full.get(element.get("encoding", ""), (1 << bits - 1) - 1))
    return most


# --- blocks ----------------------------------------------------------------------------------------------------


@st.composite
def nested_blocks(draw: st.DrawFn) -> list[Any]:
    """The blocks of one to three levels, outermost first; each contains and divides the next one's."""
    count = draw(st.sampled_from([1, 1, 2, 2, 3]))
    if draw(st.integers(0, 3)) == 3:
        sizes = draw(st.lists(st.tuples(st.integers(1, 3), st.integers(1, 3)), min_size=count, max_size=count))
        rows, columns = _products([r for r, _ in sizes]), _products([c for _, c in sizes])
        blocks: list[Any] = [list(pair) for pair in zip(rows, columns, strict=True)]
        wholes = ["tensor"]
    else:
        blocks = list(_products(draw(st.lists(st.sampled_from([4, 2, 3, 1, 5, 16]), min_size=count, max_size=count))))
        wholes = ["tensor", "channel"]
    blocks.reverse()
    if draw(st.booleans()):
        blocks[0] = draw(st.sampled_from(wholes))
    if count > 2 and blocks[0] == "tensor" and wholes[-1] == "channel" and draw(st.booleans()):
        blocks[1] = "channel"
    return blocks


def _products(sizes: Sequence[int]) -> list[int]:
    """Running products, so that each divides the next."""
    return [reduce(int.__mul__, sizes[: i + 1]) for i in range(len(sizes))]


# --- scales ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Place:
    """Where a level stands: `outer` are those outside of it."""

    depth: int
    is_anchor: bool
    is_innermost: bool
    outer: tuple[Mapped, ...]


@st.composite
def random_floats(draw: st.DrawFn) -> ScaleFormat:
    """A float format of up to 8 bits, written where it stands."""
    element, traits = draw(float_elements(8, "float32"))
    exponent_bits, mantissa_bits = element["exponent_bits"], element["mantissa_bits"]
    fields = Fields(exponent_bits, mantissa_bits, "float32")
    last = fields.largest(element.get("nan", "none"), element.get("inf", "none")) >> mantissa_bits
    bias = element.get("bias", fields.default_bias)
    normal_powers = [2.0 ** (exponent - bias) for exponent in range(1, last + 1)]
    subnormals = element.get("subnormals", "gradual")
    has_gap = subnormals == "raw" and mantissa_bits > 0
    return ScaleFormat(
        {"element": element},
        traits.bits,
        nan=traits.nan,
        zero=traits.zero,
        signed=traits.negative,
        powers=not has_gap and (subnormals == "gradual" or not traits.zero or last > 0),
        clamps=draw(st.lists(st.sampled_from(normal_powers), min_size=3, max_size=3).map(sorted)) if last else (),
    )


def scale_formats() -> st.SearchStrategy[ScaleFormat]:
    """Mostly those of the catalog."""
    return st.sampled_from(SCALE_FORMATS) | st.sampled_from(SCALE_FORMATS) | random_floats()


@st.composite
def scale_levels(draw: st.DrawFn, element: Mapped, block: Any, place: Place, rules: Sequence[str]) -> Mapped:
    """A level that multiplies."""
    if "absmax" in rules and place.is_anchor and isinstance(block, int) and draw(st.integers(0, 7)) == 7:
        keys: Mapped = {"format": draw(nested_formats(NESTED_ELEMENTS)), "block": block}
        return keys | draw(targets(element, "absmax", signed=False)) | draw(divisions("absmax", place))
    scale_format = draw(scale_formats())
    rule = draw(st.sampled_from(_fitting_rules(rules, element, scale_format, place)))
    keys = {"format": scale_format.written, "block": block} | ({"rule": rule} if rule != "absmax" else {})
    return keys | draw(_rule_keys(rule, element, scale_format, place)) | draw(_policies(rule, scale_format, place))


def _fitting_rules(rules: Sequence[str], element: Mapped, scale_format: ScaleFormat, place: Place) -> list[str]:
    refused = {
        "minmax": True,  # stands with an offset
        "even": element["kind"] == "codebook",
        "signed_absmax": not scale_format.signed,
        "mse": not (scale_format.takes_mse and place.is_innermost),
        "given": place.depth > 0,
    }
    refused |= {rule: refused.get(rule, False) or not scale_format.powers for rule in POWER_OF_TWO}
    return [rule for rule in rules if not refused.get(rule, False)] or ["absmax"]


@st.composite
def _rule_keys(draw: st.DrawFn, rule: str, element: Mapped, scale_format: ScaleFormat, place: Place) -> Mapped:
    """The keys that belong to a rule."""
    if rule == "given":
        return {}
    if rule == "mse":
        return draw(_candidates()) or draw(targets(element, rule, signed=False))
    keys = {} if rule == "rceil" else draw(targets(element, rule, scale_format.signed))
    if rule in ("absmax", "signed_absmax"):
        keys |= draw(_sometimes(rounding=st.sampled_from(ROUNDINGS)))
        keys |= draw(_sometimes(order=st.sampled_from(_orders(place)))) if place.outer else {}
    if not scale_format.clamps:
        return keys
    low, middle, high = scale_format.clamps
    return keys | draw(_sometimes(3, clamp=st.sampled_from([[low, high], [low, middle], [middle, high]])))


def _candidates() -> st.SearchStrategy[Mapped]:
    targeted = st.sampled_from([[6, 4], [1.5, 1], [100, 7, 3]]).map(lambda written: {"targets": written})
    return _sometimes(candidates=st.sampled_from([[0, 1], [-3, 0, 2], {"offsets": [0, -1]}]) | targeted)


def _orders(place: Place) -> list[str]:
    """`encode` asks for the target and the amax of the only level outside."""
    is_absmax = place.outer[-1].get("rule", "absmax") == "absmax"
    return ["target_first", "product"] + ["encode"] * (is_absmax and len(place.outer) == 1)


@st.composite
def targets(draw: st.DrawFn, element: Mapped, rule: str, signed: bool) -> Mapped:
    """A `target`, mostly left out."""
    words: list[Any] = ["max", "emax"]
    numbers = [1, 6, 7.5, 448, 0.1] + ([-8, -1.5] if signed and rule in ("absmax", "signed_absmax") else [])
    return draw(_sometimes(target=st.sampled_from(words + numbers)))


@st.composite
def _policies(draw: st.DrawFn, rule: str, scale_format: ScaleFormat, place: Place) -> Mapped:
    """What special blocks get, and how elements are divided."""
    keys = {}
    if rule != "given":
        keys |= draw(_sometimes(all_zero=st.sampled_from(["one", "min"] + ["zero"] * scale_format.zero)))
    if rule in ("absmax", "signed_absmax", "minmax") and scale_format.zero:
        keys |= draw(_sometimes(underflow=st.sampled_from(["min", "zero"])))
    if place.is_anchor:
        nonfinite = ["saturate"] + ["nan_block"] * scale_format.nan
        keys |= draw(_sometimes(nonfinite=st.sampled_from(nonfinite)))
        keys |= draw(divisions(rule, place))
    return keys


@st.composite
def divisions(draw: st.DrawFn, rule: str, place: Place) -> Mapped:
    """`apply` and `quotient` of the anchor."""
    keys: Mapped = draw(_sometimes(apply=st.sampled_from(["divide", "multiply_reciprocal"])))
    if rule in ("absmax", "signed_absmax", "minmax"):
        keys |= draw(_sometimes(quotient=st.sampled_from(["rounded", "unrounded"])))
    return keys


@st.composite
def shared_exponents(draw: st.DrawFn, blocks: Sequence[Any]) -> list[Mapped]:
    """The innermost levels, where they shift exponents: none of them mostly, never all."""
    if len(blocks) == 1 or draw(st.integers(0, 2)) < 2:
        return []
    combine = draw(st.sampled_from(["exponent_subtract", "exponent_add"]))
    count = draw(st.integers(1, len(blocks) - 1))
    levels = []
    for block in blocks[-count:]:
        name = draw(st.sampled_from(["uint1", "uint2", "uint3"]))
        keys = {"format": name, "block": block, "rule": "floor", "combine": combine}
        keys |= draw(_sometimes(target=st.sampled_from(["max", "emax", 1, 4, 24])))
        levels.append(keys | draw(_sometimes(3, all_zero=st.sampled_from(["one", "min"]))))
    return levels


# --- nested formats and offsets --------------------------------------------------------------------------------


@st.composite
def nested_formats(draw: st.DrawFn, elements: Sequence[str]) -> Mapped:
    """A block format of scales, as in k-quants."""
    format = st.sampled_from(["float16", "float32", "ue4m3"])
    inner = {"format": draw(format), "block": draw(st.sampled_from([2, 8, 3, "channel"])), "all_zero": "zero"}
    inner |= draw(_sometimes(nonfinite=st.just("saturate")))
    return {"element": draw(st.sampled_from(elements)), "scales": [inner]}


@st.composite
def offset_parts(draw: st.DrawFn, spec: Mapped, block: Any) -> Mapped:
    """`scales` and `offset` of a format of one level with `rule: minmax`."""
    element, rounding = spec["element"], spec.get("encode", {}).get("rounding", "nearest_even")
    is_integer = element["kind"] == "int" and not element.get("fraction_bits") and rounding == "nearest_even"
    scale_format = draw(scale_formats())
    place = Place(0, is_anchor=True, is_innermost=True, outer=())
    level = {"format": scale_format.written, "block": block, "rule": "minmax"}
    if draw(st.booleans()):
        offset = {"kind": "zero_point", "format": draw(st.sampled_from(["uint8", "int8", "uint4", "int16"]))}
        if is_integer and draw(st.booleans()):
            offset["added"] = "after_rounding"
        policies = _policies("minmax" if "added" in offset else "given", scale_format, place)  # or nothing is unrounded
        return {"scales": [level | draw(policies)], "offset": offset}
    level |= draw(_policies("minmax", scale_format, place))
    sign = draw(st.sampled_from([1, -1]))
    names, nested = (
        (MINIMUM_FORMATS, SIGNED_NESTED_ELEMENTS) if sign > 0 else (UNSIGNED_MINIMUM_FORMATS, NESTED_ELEMENTS)
    )
    format: Any = draw(st.sampled_from(names))
    if isinstance(block, int) and draw(st.integers(0, 2)) == 2:
        format = draw(nested_formats(nested))
        level = {"format": draw(nested_formats(NESTED_ELEMENTS)), "block": block, "rule": "minmax"}
        level |= draw(divisions("minmax", place))
    offset = {"kind": "minimum", "scales": [{"format": format, "block": block}]}
    return {"scales": [level], "offset": offset | ({"sign": sign} if sign < 0 else {})}


@st.composite
def _sometimes(draw: st.DrawFn, odds: int = 1, **key: st.SearchStrategy[Any]) -> Mapped:
    """The key in one of `odds + 1` draws."""
    name, values = next(iter(key.items()))
    return {name: draw(values)} if draw(st.integers(0, odds)) == odds else {}


# --- data ------------------------------------------------------------------------------------------------------

DATA = ("small", "normal", "spread", "outliers", "mostly_zero", "subnormal", "ties", "extreme")
CORNERS = (
    [0.0, -0.0, 1.0, -1.0, np.inf, -np.inf, np.nan, 2.0**-149, -(2.0**-149), 2.0**-126, 3.4028235e38, -3.4028235e38]
    + [float(np.nextafter(np.float32(2.0**k), np.float32(0))) for k in (-3, 0, 3)]
    + [0.1, 6.5, 448.0, 464.0]
)


@st.composite
def arrays(draw: st.DrawFn, *, min_dims: int = 0, finite: bool = False) -> Float32s:
    """A float32 array of up to three dimensions, sometimes empty; NaN and Inf only if not `finite`."""
    shape = draw(shapes(min_dims=min_dims))
    random = np.random.default_rng(draw(st.integers(0, 2**16)))
    x = np.array(sample(draw(st.sampled_from(DATA)), random, shape), np.float32)
    corners = [corner for corner in CORNERS if np.isfinite(corner) or not finite]
    places = st.tuples(st.integers(0, max(x.size - 1, 0)), st.sampled_from(corners))
    for place, corner in draw(st.lists(places, max_size=4 if x.size else 0)):
        x.reshape(-1)[place] = corner
    return x


def sample(kind: str, random: np.random.Generator, shape: tuple[int, ...]) -> Any:
    """Finite numbers of one kind."""
    normal = random.standard_normal(shape)
    match kind:
        case "small":
            return random.integers(-8, 9, shape)
        case "spread":
            return normal * 2.0 ** random.integers(-20, 21, shape)
        case "outliers":
            return normal * np.where(random.random(shape) < 0.1, 1000, 1)
        case "mostly_zero":
            return normal * (random.random(shape) < 0.15)
        case "subnormal":
            return normal * 2.0**-127 * 2.0 ** random.integers(-22, 3, shape)
        case "ties":
            return random.integers(-64, 65, shape) / 8 * 2.0 ** random.integers(-3, 4)
        case "extreme":
            return np.clip(normal, -1, 1) * 2.0 ** random.choice([-100, -60, 60, 100, 127], shape)
        case _:
            return normal


@st.composite
def shapes(draw: st.DrawFn, *, min_dims: int = 0) -> tuple[int, ...]:
    """Shapes of at most 96 elements; mostly two dimensions, the last one the longest."""
    dims = max(draw(st.sampled_from([1, 2, 2, 3, 0])), min_dims)
    lengths = {0: [], 1: [[33, 64, 5, 1]], 2: [[3, 1, 6], [16, 13, 9, 2]], 3: [[2, 3], [3, 1], [8, 5, 16]]}[dims]
    shape = tuple(draw(st.sampled_from(lengths_of_one)) for lengths_of_one in lengths)
    if shape and draw(st.integers(0, 15)) == 15:
        empty = draw(st.integers(0, dims - 1))
        shape = (*shape[:empty], 0, *shape[empty + 1 :])
    return shape


@dataclass(frozen=True)
class BlockCase:
    """A format and what is quantized with it; `scale` is None unless the format needs one."""

    text: str
    x: Float32s
    axis: int
    scale: float | None


@st.composite
def block_cases(
    draw: st.DrawFn, kinds: Sequence[Kind] = KINDS, *, rules: Sequence[str] = RULES, finite: bool = False
) -> BlockCase:
    """A valid format, an array, an axis, and a scale if the format needs one."""
    spec = draw(block_mappings(kinds, rules=rules))
    rank = block_rank(spec)
    x = draw(arrays(min_dims=rank, finite=finite))
    axis = draw(st.sampled_from([-1, *range(-x.ndim, x.ndim)])) if x.ndim and not rank else -1
    scales = st.sampled_from([1.0, 0.1, 3.0, 2.0**-20, 1e30, 0.0])
    return BlockCase(to_yaml(spec), x, axis, draw(scales) if needs_scale(spec) else None)


def with_keys(spec: Mapped, level: int, **keys: Any) -> Mapped:
    """The spec with keys of one of its scales changed."""
    scales: list[Mapping[str, Any]] = list(spec["scales"])
    scales[level] = {**scales[level], **keys}
    return spec | {"scales": scales}
