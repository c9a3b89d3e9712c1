"""`statqat-sim show`: everything about one format."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from statqat_sim.cli.console import console, show_table, write_json
from statqat_sim.cli.options import Format, Json, Search, plot_of
from statqat_sim.cli.outputs import check_results, paths_in

if TYPE_CHECKING:
    from statqat_sim.plan.program import CodecPlan
    from statqat_sim.spec.block import BlockFormat
    from statqat_sim.spec.format import Format as AnyFormat
    from statqat_sim.spec.number import NumberFormat

PIPED_TABLE_WIDTH = 120


def show(
    format: Format,
    plan: Annotated[bool, typer.Option("--plan", help="Print the programs that encode and decode.")] = False,
    plot: Annotated[Path | None, plot_of("values, rounding and error")] = None,
    json: Json = None,
    search: Search = None,
) -> None:
    r"""Show the facts of a format, and up to 8 bits the value of every code.

    The plot shows its values and their density, the staircase of rounding (around 1, if there are many values), and
    the relative error over all magnitudes; stochastic rounding is drawn with seed 0. For a block format, values and
    plot are those of its elements.

    \b
    statqat-sim show float8_e4m3fn
    statqat-sim show mxfp4
    statqat-sim show my_format.yaml --plan
    statqat-sim show posit8 --plot posit8.png
    """
    from statqat_sim.cli.accelerators import show_accelerator
    from statqat_sim.spec.accelerator_catalog import is_accelerator
    from statqat_sim.spec.catalog import load_format

    inputs = paths_in([format])
    if is_accelerator(format, search or ()):
        if plan or plot:
            raise ValueError(f"{format} is an accelerator; --plan and --plot are about formats")
        check_results(inputs, text=json)
        show_accelerator(format, json, search)
        return
    check_results(inputs, text=json, plot=plot)
    fmt = load_format(format, search or ())
    _tell(fmt, plan, json)
    if plot:
        from statqat_sim.report.format_plot import plot_format

        plot_format(_element(fmt), plot)


def _tell(fmt: AnyFormat, plan: bool, json: str | None) -> None:
    """Print the format's facts, the values of its elements' codes, and its plans, or write them as JSON."""
    from statqat_sim.report import facts
    from statqat_sim.report.listing import fact_table, facts_of

    plans = _plans(fmt) if plan else {}
    element = _element(fmt)
    tabled = element.bits <= facts.TABLE_BITS
    if json:
        item = facts_of(fmt)
        if tabled:
            item["values"] = facts.values(element)
        if plan:
            item["plans"] = {purpose: facts.plan_facts(program) for purpose, program in plans.items()}
        write_json([item], json)
        return
    show_table(fact_table(fmt))
    if tabled:
        screen = console()
        show_table(facts.value_table(element, screen.width if screen.is_terminal else PIPED_TABLE_WIDTH))
    for purpose, program in plans.items():
        typer.echo(f"\n{purpose}: {len(program.shape.steps)} steps\n{program}")


def _element(fmt: AnyFormat) -> NumberFormat:
    """The element format of a block format; a number format itself."""
    from statqat_sim.spec.block import BlockFormat

    return fmt.element if isinstance(fmt, BlockFormat) else fmt


def _plans(fmt: AnyFormat) -> dict[str, CodecPlan]:
    """The plans of a number format, or those of a block format's steps, named after their statistics and results."""
    from statqat_sim.plan.lower import Purpose, lower
    from statqat_sim.spec.block import BlockFormat

    if isinstance(fmt, BlockFormat):
        return _block_plans(fmt)
    return {purpose.value: lower(fmt, purpose) for purpose in (Purpose.ENCODE, Purpose.DECODE)}


def _block_plans(fmt: BlockFormat) -> dict[str, CodecPlan]:
    from statqat_sim.plan.lower_block import lower_block

    plan = lower_block(fmt)
    plans: dict[str, CodecPlan] = {}
    for number, stage in enumerate(plan.stages):
        plans |= {f"{each.name}, key of an element": each.key for each in stage.statistics}
        plans |= {
            f"scales {number}" + (f", candidate {index}" if len(stage.plans) > 1 else ""): each
            for index, each in enumerate(stage.plans)
        }
    return {**plans, "encode": plan.encode, "decode": plan.decode}
