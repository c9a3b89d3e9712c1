"""The facts of a number format: values for JSON, and tables and text to read."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from rich.table import Table

from statqat_sim.report.table import DIVIDER, plain_table
from statqat_sim.spec.base import BYTE
from statqat_sim.spec.lns import LnsElement
from statqat_sim.spec.number import NumberFormat
from statqat_sim.spec.posit import PositElement
from statqat_sim.spec.takum import TakumElement, TakumVariant
from statqat_sim.spec.tapered import Regime, TaperedElement

if TYPE_CHECKING:
    from statqat_sim.plan.program import CodecPlan

TABLE_BITS = 8
"""The largest code size, in bits, for which `show` prints every value."""


def facts(fmt: NumberFormat) -> dict[str, Any]:
    """All facts of a number format, for JSON; None for those it lacks."""
    return {
        "name": fmt.name,
        "title": fmt.title,
        "kind": fmt.element.kind,
        "bits": fmt.bits,
        "max": fmt.max,
        "min": fmt.min,
        "smallest": fmt.smallest,
        "min_normal": fmt.min_normal,
        "min_subnormal": fmt.min_subnormal,
        "ulp_at_one": fmt.ulp_at_one,
        "dynamic_range_db": fmt.dynamic_range_db,
        "finite_codes": fmt.finite_codes,
        "nan_codes": fmt.nan_codes,
        "inf_codes": fmt.inf_codes,
        "element": fmt.element.model_dump(mode="json"),
        "encode": fmt.encode.model_dump(mode="json"),
        "pack": fmt.pack.model_dump(mode="json"),
        "aliases": list(fmt.aliases),
        "source": fmt.source,
        "oracle": list(fmt.oracle),
    }


def values(fmt: NumberFormat) -> list[float | str]:
    """The value of every code, for JSON."""
    return list(map(json_value, fmt.table().tolist()))


def json_value(value: float) -> float | str:
    """A number for JSON, which lacks NaN and Inf: these become the strings `nan`, `inf`, `-inf`."""
    return value if math.isfinite(value) else str(value)


def plan_facts(plan: CodecPlan) -> dict[str, Any]:
    """The size and the text of a plan, for JSON."""
    return {"steps": len(plan.shape.steps), "program": str(plan).splitlines()}


# --- one format --------------------------------------------------------------------------------------------------


def value_table(fmt: NumberFormat, width: int) -> Table:
    """The value of every code, with as many codes per row as fit `width` characters."""
    texts = [number(value) for value in fmt.table().tolist()]
    widest = max(len("+15"), *map(len, texts))
    fitting = (n for n in (16, 8, 4, 2) if n <= len(texts) and len("0x00") + n * (DIVIDER + widest) <= width)
    across = next(fitting, 1)
    table = plain_table()
    table.add_column("code", style="bold", no_wrap=True)
    for offset in range(across):
        table.add_column(f"+{offset}", justify="right", overflow="fold")
    for start in range(0, len(texts), across):
        table.add_row(f"{start:#04x}", *texts[start : start + across])
    return table


def number(value: float | None) -> str:
    """A number in full: the shortest text that reads back as the same float64, without `.0`."""
    if value is None:
        return "none"
    return repr(value).removesuffix(".0")


def fact_texts(fmt: NumberFormat) -> Iterator[tuple[str, str]]:
    """The facts of a number format as pairs of label and text."""
    yield "name", fmt.name
    yield "title", fmt.title or "none"
    yield "aliases", ", ".join(fmt.aliases) or "none"
    yield "kind", fmt.element.kind
    yield "bits", str(fmt.bits)
    yield "max", _with_power(fmt.max)
    yield "min", _with_power(fmt.min)
    yield "smallest above zero", _with_power(fmt.smallest)
    yield "min normal", _with_power(fmt.min_normal)
    yield "min subnormal", _with_power(fmt.min_subnormal)
    yield "ulp at one", _with_power(fmt.ulp_at_one)
    yield "dynamic range", f"{fmt.dynamic_range_db:.2f} dB"
    yield "codes", f"{fmt.finite_codes} finite, {fmt.nan_codes} NaN, {fmt.inf_codes} Inf"
    yield "element", listed(fmt.element.model_dump(mode="json", exclude={"kind", "regimes"}))
    yield from _precision(fmt)
    unused = set() if fmt.encode.drawn_bits else {"random_bits"}
    yield "encode", listed(fmt.encode.model_dump(mode="json", exclude=unused))
    if fmt.bits < BYTE:
        yield "pack", listed(fmt.pack.model_dump(mode="json"))
    yield "source", fmt.source or "none"
    yield "oracle", ", ".join(fmt.oracle) or "none"


def _precision(fmt: NumberFormat) -> Iterator[tuple[str, str]]:
    """The precision over the range, for kinds whose keys do not state it."""
    match fmt.element:
        case PositElement() | TakumElement(variant=TakumVariant.LINEAR):
            yield "fraction bits", "; ".join(_fraction_bits(fmt))
        case TakumElement():
            yield "ratio of neighbours", f"{1 + (fmt.ulp_at_one or math.nan):.6g} at one, larger outward"
        case LnsElement(fraction_bits=bits) as element:
            yield "ratio of neighbours", f"2^(1/{1 << bits}) = {number(element.power(1))}"
        case TaperedElement(regimes=regimes):
            yield from ((f"regime {regime.prefix}", _regime(regime)) for regime in regimes)


def _fraction_bits(fmt: NumberFormat) -> Iterator[str]:
    """For each number of fraction bits, the powers of two between which positive values have at least that many."""
    exponents = Counter(math.frexp(value)[1] - 1 for value in fmt.grid().tolist() if value > 0)
    widths = {exponent: (count - 1).bit_length() for exponent, count in exponents.items()}
    *finer, least = sorted(set(widths.values()), reverse=True)
    for width in finer:
        within = [exponent for exponent, bits in widths.items() if bits >= width]
        yield f"{width} from 2^{min(within)} to 2^{max(within) + 1}"
    yield f"{least} beyond" if finer else str(least)


def _regime(regime: Regime) -> str:
    """The values of a regime's codes, in words."""
    if regime.subnormal_exponent is not None:
        first, last = regime.subnormal_exponent + 1, regime.subnormal_exponent + (1 << regime.mantissa_bits) - 1
        return f"0, and the powers 2^{first} to 2^{last}"
    last = regime.top_exponent
    exponents = (
        f"exponents ±{(last + 1) // 2} to ±{last}" if last > 1 else f"exponents ±{last}" if last else "exponent 0"
    )
    return f"{exponents}, fraction bits {regime.mantissa_bits}"


def _with_power(value: float | None) -> str:
    """A number, followed by the power of two that it equals if that is easier to read."""
    text = number(value)
    if value is None or not (0 < value < 0.1 or value >= 1024):
        return text
    mantissa, exponent = math.frexp(value)
    return f"{text} = 2^{exponent - 1}" if mantissa == 0.5 else text


def listed(keys: Mapping[str, Any]) -> str:
    """Keys and their values, without those that are None."""
    return ", ".join(f"{key}: {plain(value)}" for key, value in keys.items() if value is not None)


def plain(value: Any) -> str:
    """The value of a key as written in a format file; of a list only its length."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return f"{len(value)} values"
    return str(value)
