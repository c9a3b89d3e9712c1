"""`statqat-sim show`: everything about one format."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from statqat_sim.cli.console import Json, Search, console, show_table, write_json

if TYPE_CHECKING:
    from statqat_sim.plan.program import CodecPlan
    from statqat_sim.spec.number import NumberFormat

PIPED_TABLE_WIDTH = 120


def show(
    format: Annotated[str, typer.Argument(metavar="NAME|FILE", help="A name, an alias or a .yaml file.")],
    plan: Annotated[bool, typer.Option("--plan", help="Print the programs that encode and decode.")] = False,
    json: Json = None,
    search: Search = None,
) -> None:
    r"""Show the facts of a format, and up to 8 bits the value of every code.

    \b
    statqat-sim show float8_e4m3fn
    statqat-sim show my_format.yaml --plan
    """
    from statqat_sim.report import facts
    from statqat_sim.spec.catalog import load_format

    fmt = load_format(format, search or ())
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
