"""`statqat-sim accelerators`: the known matrix units."""

from __future__ import annotations

from typing import Annotated, TypeAlias

import typer

from statqat_sim.cli.console import show_or_write, show_table, write_json
from statqat_sim.cli.options import Json, Search

Name: TypeAlias = Annotated[
    str, typer.Argument(metavar="[NAME|FILE]", help="An accelerator: its instructions and conversions.")
]


def accelerators(
    name: Name = "",
    json: Json = None,
    search: Search = None,
) -> None:
    r"""List the accelerators, or what one of them computes.

    Those built in, and those in folders called `accelerator` in the folders of $STATQAT_FORMATS and --search.
    The evidence says how an accelerator's arithmetic is known.

    \b
    statqat-sim accelerators
    statqat-sim accelerators nvidia_h100
    statqat-sim accelerators my_chip.yaml --json -
    """
    from statqat_sim.cli.outputs import check_results, paths_in
    from statqat_sim.report.accelerators import accelerator_table, item
    from statqat_sim.spec.accelerator_catalog import accelerators as names
    from statqat_sim.spec.accelerator_catalog import load_spec

    check_results(paths_in([name]), text=json)
    if name:
        show_accelerator(name, json, search)
        return
    specs = [load_spec(each, search or ()) for each in names(search or ())]
    show_or_write([item(each) for each in specs], lambda: accelerator_table(specs), json)


def show_accelerator(name: str, json: str | None, search: Search) -> None:
    """Print the instructions and conversions of one accelerator, or write them as JSON."""
    from statqat_sim.report.accelerators import conversion_table, instruction_table, item
    from statqat_sim.spec.accelerator_catalog import load_spec

    spec = load_spec(name, search or ())
    if json:
        write_json([item(spec)], json)
        return
    typer.echo(f"{spec.name}: {spec.title}\n{spec.evidence}\nsource: {spec.source}\n")
    show_table(instruction_table(spec))
    if spec.conversions:
        typer.echo()
        show_table(conversion_table(spec))
