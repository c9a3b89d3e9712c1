"""`statqat-sim diff`: the differences of two formats."""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from statqat_sim.cli.console import show_table, write_json
from statqat_sim.cli.options import Json, Search

if TYPE_CHECKING:
    from statqat_sim.report.block_difference import BlockDifference
    from statqat_sim.report.difference import Difference, Range
    from statqat_sim.spec.block import BlockFormat
    from statqat_sim.spec.format import Format

NAMES = ("A", "B")
DIGITS = 9
"""Significant digits of the values shown with codes."""


def diff(
    a: Annotated[str, typer.Argument(metavar="A", help="A name, an alias or a .yaml file.")],
    b: Annotated[str, typer.Argument(metavar="B", help="Another.")],
    first: Annotated[int, typer.Option("--first", metavar="N", min=0, help="How many ranges of inputs to list.")] = 10,
    json: Json = None,
    search: Search = None,
) -> None:
    r"""Compare two formats: their keys, their codes of float32 inputs, and the values of their codes.

    Up to 16 bits this is exact: both encoders are step functions, found in rational arithmetic and compared on all
    2^32 inputs. Wider formats, stochastic rounding (with one seed) and overflow: wrap are compared on a sample: all
    float16 values, 2^20 random float32 and the formats' ends.

    All NaN count as one value, 0 and -0 as two. Each input that differs is counted once, in the first of the regions
    NaN, Inf, zero, negative (where a format has no negative values), overflow (beyond the largest value of one of
    them), ties (between inputs that do not differ), subnormal (below the smallest normal value of one), normal.

    Two block formats are compared on 2^18 normal values, rows of many magnitudes, with rows of zeros, a NaN and an Inf.

    \b
    statqat-sim diff float8_e4m3fn float8_e4m3fn.ml_dtypes
    statqat-sim diff float8_e5m2 my_format.yaml --first 40
    statqat-sim diff mxfp4 mxfp4.even
    """
    from statqat_sim.cli.outputs import check_results, paths_in
    from statqat_sim.report.difference import difference
    from statqat_sim.spec.block import BlockFormat
    from statqat_sim.spec.catalog import load_format

    check_results(paths_in([a, b]), text=json)
    formats = load_format(a, search or ()), load_format(b, search or ())
    one, other = formats
    if isinstance(one, BlockFormat) and isinstance(other, BlockFormat):
        _tell_blocks(one, other, first, json)
        return
    if isinstance(one, BlockFormat) or isinstance(other, BlockFormat):
        raise ValueError(_of_two_kinds(*formats))
    found = difference(one, other, first)
    if json:
        write_json([_item(found)], json)
        return
    _show_keys(found.formats, found.keys)
    typer.echo()
    for line in _summary(found):
        typer.echo(line)
    _show_regions(found)
    _show_ranges(found)
    _show_decoded(found, first)


# --- for people --------------------------------------------------------------------------------------------------


def _show(columns: Iterable[str], rows: Iterable[Sequence[str]], right: Container[str] = ()) -> None:
    from statqat_sim.report.table import table_of

    show_table(table_of(columns, rows, right))


def _show_keys(formats: Sequence[Format], keys: Iterable[tuple[str, Any, Any]]) -> None:
    from statqat_sim.report.facts import plain

    rows = [("name", *(fmt.name for fmt in formats))]
    rows += [(key, *("-" if value is None else plain(value) for value in values)) for key, *values in keys]
    _show(("", *NAMES), rows)


def _summary(found: Difference) -> Iterator[str]:
    from statqat_sim.report.verification import why_not

    inputs = f"{found.inputs} float32 inputs"
    if not found.exact:
        reason = next(f"{fmt.name} has {reason}" for fmt in found.formats if (reason := why_not(fmt)))
        yield f"Compared on a sample of {inputs}, not on all, since {reason.partition(';')[0]}."
    yield f"Of {'all ' * found.exact}{inputs}, {_counts(found)}."
    for fmt, count in zip(found.formats, found.refused, strict=True):
        if count:
            yield f"{_share(count, found.inputs)} are refused by {fmt.name} alone."
    if found.decoded == ():
        yield "All codes mean the same."
    if any(key == "encode.via" and "bfloat16" not in values for key, *values in found.keys):
        yield "via: float32 acts on float64 inputs alone, which are not compared."


def _counts(found: Difference) -> str:
    codes, values = found.other_codes, found.other_values
    if not codes and not values:
        return "none gets another " + ("value" if codes is None else "code or value")
    if codes == values:
        said = [f"{_share(codes, found.inputs)} get another code and another value"]
    else:
        said = [] if codes is None else [f"{_share(codes, found.inputs)} get another code"]
        said.append(f"{_share(values, found.inputs)} get another value")
    if found.zero_signs:
        said.append(f"{found.zero_signs} of these only another sign of zero")
    return ", ".join(said)


def _share(count: int, total: int) -> str:
    return f"{count} ({100 * count / total:.3g} %)"


def _show_regions(found: Difference) -> None:
    if not found.regions:
        return
    rows = [
        (region.name, str(region.inputs), _float32(region.example.first), *_results(found, region.example))
        for region in found.regions
    ]
    typer.echo()
    _show(("region", "inputs", "first", *NAMES), rows, right=("inputs", "first"))


def _show_ranges(found: Difference) -> None:
    if not found.ranges:
        return
    rows = [
        (_float32(each.first), f"{each.first:#010x}", _float32(each.last), str(each.count), *_results(found, each))
        for each in found.ranges
    ]
    typer.echo()
    _show(("from", "bits", "to", "inputs", *NAMES), rows, right=("from", "to", "inputs"))
    if more := found.range_count - len(rows):
        typer.echo(f"... and {more} more ranges of inputs (--first N)")


def _results(found: Difference, each: Range) -> list[str]:
    """The code and the value in each format."""
    from statqat_sim.cli.numbers import hex_code
    from statqat_sim.report.pieces import REFUSED

    return [
        "refused" if code == REFUSED else f"{hex_code(code, fmt.bits)} = {value:.{DIGITS}g}"
        for fmt, code, value in zip(found.formats, each.codes, each.values, strict=True)
    ]


def _float32(bits: int) -> str:
    """The shortest text that reads back as the float32 with these bits."""
    import numpy as np

    return str(np.uint32(bits).view(np.float32)).removesuffix(".0")


def _show_decoded(found: Difference, first: int) -> None:
    if not found.decoded:
        return
    from statqat_sim.cli.numbers import hex_code
    from statqat_sim.report.facts import number

    fmt = found.formats[0]
    typer.echo(f"\n{len(found.decoded)} of {1 << fmt.bits} codes mean another value")
    _show(
        ("code", *NAMES), [(hex_code(each.code, fmt.bits), *map(number, each.values)) for each in found.decoded[:first]]
    )


# --- block formats -----------------------------------------------------------------------------------------------


def _of_two_kinds(*formats: Format) -> str:
    """Why a block format is not compared with a number format."""
    from statqat_sim.spec.block import BlockFormat

    block, number = sorted(formats, key=lambda fmt: not isinstance(fmt, BlockFormat))
    return f"{block.name} is a block format, and {number.name} a number format; allowed: two of one kind"


def _tell_blocks(a: BlockFormat, b: BlockFormat, first: int, json: str | None) -> None:
    from statqat_sim.report.block_difference import block_difference

    found = block_difference(a, b, first)
    if json:
        write_json([_block_item(found)], json)
        return
    _show_keys(found.formats, found.keys)
    said = f"{_share(found.other_values, found.inputs)} get another value" if found.other_values else "none differs"
    typer.echo(f"\nOf a sample of {found.inputs} float32 inputs in blocks, {said}.")
    if found.examples:
        rows = [(str(list(each.place)), f"{each.x:.{DIGITS}g}", *map(_value, each.values)) for each in found.examples]
        typer.echo()
        _show(("place", "input", *NAMES), rows, right=("input", *NAMES))
    if more := found.other_values - len(found.examples):
        typer.echo(f"... and {more} more inputs (--first N)")


def _value(value: float) -> str:
    return f"{value:.{DIGITS}g}"


def _block_item(found: BlockDifference) -> dict[str, Any]:
    from statqat_sim.report.facts import json_value

    a, b = found.formats
    examples = [
        {"place": list(each.place), "x": json_value(each.x), "values": _pair(each.values)} for each in found.examples
    ]
    return {
        "a": a.name,
        "b": b.name,
        "keys": [{"key": key, "a": value, "b": other} for key, value, other in found.keys],
        "exact": False,
        "inputs": found.inputs,
        "other_values": found.other_values,
        "examples": examples,
    }


# --- for JSON ----------------------------------------------------------------------------------------------------


def _item(found: Difference) -> dict[str, Any]:
    a, b = found.formats
    decoded = found.decoded
    return {
        "a": a.name,
        "b": b.name,
        "keys": [{"key": key, "a": value, "b": other} for key, value, other in found.keys],
        "exact": found.exact,
        "inputs": found.inputs,
        "other_codes": found.other_codes,
        "other_values": found.other_values,
        "zero_signs": found.zero_signs,
        "refused": dict(zip(("a", "b"), found.refused, strict=True)),
        "regions": [
            {"region": each.name, "inputs": each.inputs, "example": _range_item(each.example)} for each in found.regions
        ],
        "range_count": found.range_count,
        "ranges": list(map(_range_item, found.ranges)),
        "decoded": None if decoded is None else [{"code": each.code, **_pair(each.values)} for each in decoded],
    }


def _range_item(each: Range) -> dict[str, Any]:
    """A range for JSON: bits are integers, codes of refused inputs are None."""
    from statqat_sim.report.pieces import REFUSED

    a, b = (None if code == REFUSED else code for code in each.codes)
    ends = {
        "first": _float32(each.first),
        "first_bits": each.first,
        "last": _float32(each.last),
        "last_bits": each.last,
    }
    values = _pair(each.values)
    return {**ends, "inputs": each.count, "codes": {"a": a, "b": b}, "values": values}


def _pair(values: Sequence[float]) -> dict[str, float | str]:
    from statqat_sim.report.facts import json_value

    return dict(zip(("a", "b"), map(json_value, values), strict=True))
