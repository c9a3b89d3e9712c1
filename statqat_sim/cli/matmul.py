"""`statqat-sim matmul`: a product bit-exact to an accelerator, and its difference from another."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias

import typer

from statqat_sim.cli.console import show_table, types_told, write_json
from statqat_sim.cli.options import Json, Output, Search, plot_of

if TYPE_CHECKING:
    from statqat_sim.matmul import Accelerator
    from statqat_sim.matmul.operands import Side
    from statqat_sim.report.matmul import Comparison
    from statqat_sim.spec.accelerator import Instruction, OperandFormat

Unit: TypeAlias = Annotated[
    str, typer.Option("--accelerator", metavar="NAME|FILE", help="`statqat-sim accelerators` lists them.")
]
OfUnit: TypeAlias = Annotated[
    str | None,
    typer.Option("--instruction", metavar="NAME", help="One of the accelerator's; by default its own plan's."),
]
Other: TypeAlias = Annotated[
    str | None, typer.Option("--compare", metavar="NAME|FILE", help="Another accelerator, such as ideal.")
]
OfOther: TypeAlias = Annotated[
    str | None,
    typer.Option("--compare-instruction", metavar="NAME", help="The other's; by default one with the same operands."),
]


def matmul(
    a: Annotated[Path, typer.Argument(metavar="A.npy", help="Shape (..., M, K).")],
    b: Annotated[Path, typer.Argument(metavar="B.npy", help="Shape (..., K, N).")],
    accelerator: Unit,
    instruction: OfUnit = None,
    c: Annotated[Path | None, typer.Option("--c", metavar="C.npy", help="The matrix to add to.")] = None,
    a_format: Annotated[str | None, typer.Option("--a-format", metavar="NAME", help="The format of A's codes.")] = None,
    b_format: Annotated[str | None, typer.Option("--b-format", metavar="NAME", help="The format of B's codes.")] = None,
    compare: Other = None,
    compare_instruction: OfOther = None,
    plot: Annotated[Path | None, plot_of("the differences")] = None,
    output: Output = None,
    json: Json = None,
    search: Search = None,
) -> None:
    r"""Multiply matrices, bit-exact to an accelerator.

    Floats are encoded into the operands' formats first; unsigned integers are codes. With --compare, the other
    accelerator multiplies the values of these operands, and the differences are reported, in units in the last place.

    \b
    statqat-sim matmul a.npy b.npy --accelerator nvidia_h100 --instruction wgmma.e4m3.f32 -o d.npy
    statqat-sim matmul a.npy b.npy --accelerator nvidia_h100 --instruction wgmma.e4m3.f32 --compare ideal
    """
    from statqat_sim.cli.outputs import check_results, paths_in, write_arrays
    from statqat_sim.matmul import load_accelerator

    inputs = [*(path for path in (a, b, c) if path), *paths_in([accelerator, compare, a_format, b_format])]
    check_results(inputs, text=json, plot=plot, output=output)
    if (plot or json or compare_instruction) and not compare:
        raise ValueError("--plot, --json and --compare-instruction are about differences; they need --compare")
    unit = load_accelerator(accelerator, search or ())
    chosen = unit.instruction(instruction)
    arrays = [None if path is None else _read(path) for path in (a, b, c)]
    formats: dict[str, Any] = {"a_format": a_format, "b_format": b_format}
    sides = _sides(chosen, arrays, formats)
    d = unit.matmul(*arrays, instruction=chosen.name, **formats)
    if output:
        write_arrays([("d", d)], output)
    typer.echo(f"{unit.name} {chosen}: {d.dtype} {'×'.join(map(str, d.shape))}", err=bool(json))
    if compare:
        other = load_accelerator(compare, search or ())
        theirs = other.instruction(compare_instruction or _same_operands(other, chosen, sides))
        values = [*(side.values for side in sides), arrays[2]]
        formats = {"a_format": _known(theirs.a, sides[0].format), "b_format": _known(theirs.b, sides[1].format)}
        _sides(theirs, values, formats)
        expected = other.matmul(*values, instruction=theirs.name, **formats)  # rounded to formats that it has
        _tell(d, expected, f"{other.name} {theirs.name}", plot, json)


def _read(path: Path) -> Any:
    from statqat_sim.cli.tensors import tensors

    if path.suffix != ".npy":
        raise ValueError(f"{path}: not a file of one array; allowed: .npy")
    (tensor,) = tensors([path])
    return tensor.load()


def _sides(instruction: Instruction, arrays: Sequence[Any], formats: Mapping[str, Any]) -> tuple[Side, Side]:
    """A and B as an instruction reads them: their values, and the formats that these are in; C is looked at, too.

    Raises:
        ValueError: if an array has the wrong type: here a file is to blame, where the product's TypeError is a bug.
    """
    from statqat_sim.matmul.operands import accumulator, left, right
    from statqat_sim.matmul.place import Place

    a, b, c = arrays
    with types_told():
        place = Place.of(a, "a")
        x = left(instruction, a, formats["a_format"], None, place)
        y = right(instruction, b, formats["b_format"], None, place)
        accumulator(instruction, c, () if c is None else c.shape, place)
    return x, y


def _same_operands(other: Accelerator, instruction: Instruction, sides: tuple[Side, Side]) -> str:
    """The other accelerator's instruction with the same operand and result formats.

    Raises:
        LookupError: if there is none.
    """
    a, b = (side.format for side in sides)
    fitting = [
        each
        for each in other.instructions.values()
        if _known(each.a, a) and _known(each.b, b) and each.d == instruction.d
    ]
    if not fitting:
        what = f"{a.name} and {b.name}, and gives {instruction.d.name}"
        allowed = f"--compare-instruction with one of its own: {', '.join(other.instructions)}"
        raise LookupError(f"{other.name} ({other.evidence}) has no instruction that takes {what}; allowed: {allowed}")
    same = [each for each in fitting if each.name == instruction.name]
    return (same or fitting)[0].name


def _known(operands: Sequence[OperandFormat], format: OperandFormat) -> str | None:
    """The format's name, if it is one of an operand's; else None."""
    return next((each.name for each in operands if each.name == format.name), None)


def _tell(d: Any, expected: Any, other: str, plot: Path | None, json: str | None) -> None:
    from statqat_sim.report.matmul import compared
    from statqat_sim.report.matmul_plot import plot_differences

    found = compared(d, expected)
    if plot:
        plot_differences(found, f"compared with {other}", plot)
    if json:
        write_json([_item(found, other)], json)
        return
    typer.echo(f"compared with {other}: {found.differing} of {found.elements} elements differ")
    if found.first is not None and found.values is not None:
        place = ", ".join(map(str, found.first))
        typer.echo(f"first at [{place}]: {found.values[0]!r}, there {found.values[1]!r}")
        _show(found)


def _show(found: Comparison) -> None:
    from statqat_sim.report.matmul import histogram
    from statqat_sim.report.table import plain_table

    typer.echo(
        f"SQNR {found.sqnr_db:.2f} dB, largest error {found.largest_error:.6g}, mean error {found.mean_error:.3g}, "
        f"largest {int(abs(found.ulps).max(initial=0))} units in the last place; "
        f"{found.nonfinite} elements are Inf or NaN"
    )
    table = plain_table()
    for column in ("units in the last place, from", "elements"):
        table.add_column(column, justify="right")
    for step, count in histogram(found.ulps):
        table.add_row(str(step), str(count))
    show_table(table)


def _item(found: Comparison, other: str) -> dict[str, Any]:
    """The comparison for JSON, which has no Inf."""
    from statqat_sim.metrics import finite_or_none
    from statqat_sim.report.matmul import histogram

    return {
        "beside": other,
        "elements": found.elements,
        "differing": found.differing,
        "first": None if found.first is None else list(found.first),
        "values": None if found.values is None else [repr(each) for each in found.values],
        "nonfinite": found.nonfinite,
        "sqnr_db": finite_or_none(found.sqnr_db),
        "largest_error": found.largest_error,
        "mean_error": found.mean_error,
        "ulps": histogram(found.ulps),
    }
