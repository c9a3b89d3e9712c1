"""`statqat-sim show`: everything about one format."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from statqat_sim.cli.console import console, show_table, write_json
from statqat_sim.cli.options import Format, Json, Search
from statqat_sim.cli.outputs import check_folder, check_json

if TYPE_CHECKING:
    from statqat_sim.plan.program import CodecPlan
    from statqat_sim.spec.number import NumberFormat

PIPED_TABLE_WIDTH = 120


def show(
    format: Format,
    plan: Annotated[bool, typer.Option("--plan", help="Print the programs that encode and decode.")] = False,
    plot: Annotated[
        Path | None,
        typer.Option("--plot", metavar="FILE", help="Draw values, rounding and error to a .png, .svg or .pdf file."),
    ] = None,
    json: Json = None,
    search: Search = None,
) -> None:
    r"""Show the facts of a format, and up to 8 bits the value of every code.

    The picture has its values and how densely they lie, what rounding makes of inputs (of those around 1, if there are
    many values), and the relative error over all magnitudes; stochastic rounding is drawn with seed 0.

    \b
    statqat-sim show float8_e4m3fn
    statqat-sim show my_format.yaml --plan
    statqat-sim show posit8 --plot posit8.png
    """
    from statqat_sim.spec.catalog import load_format

    if plot:
        from statqat_sim.report.plot import check_suffix

        check_suffix(plot)
        check_folder(plot)
    check_json(json)
    fmt = load_format(format, search or ())
    _tell(fmt, plan, json)
    if plot:
        from statqat_sim.report.format_plot import plot_format

        plot_format(fmt, plot)


def _tell(fmt: NumberFormat, plan: bool, json: str | None) -> None:
    from statqat_sim.report import facts

    plans = _plans(fmt) if plan else {}
    tabled = fmt.bits <= facts.TABLE_BITS
    if json:
        item = facts.facts(fmt)
        if tabled:
            item["values"] = facts.values(fmt)
        if plan:
            item["plans"] = {purpose: facts.plan_facts(program) for purpose, program in plans.items()}
        write_json([item], json)
        return
    show_table(facts.fact_table(fmt))
    if tabled:
        screen = console()
        show_table(facts.value_table(fmt, screen.width if screen.is_terminal else PIPED_TABLE_WIDTH))
    for purpose, program in plans.items():
        typer.echo(f"\n{purpose}: {len(program.shape.steps)} steps\n{program}")


def _plans(fmt: NumberFormat) -> dict[str, CodecPlan]:
    from statqat_sim.plan.lower import Purpose, lower

    return {purpose.value: lower(fmt, purpose) for purpose in (Purpose.ENCODE, Purpose.DECODE)}
