"""`statqat-sim export`: a format's codec in another language."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, TypeAlias

import typer

from statqat_sim.cli.options import TO_FILE, Format, Search


class Language(StrEnum):
    """What is written."""

    C = "c"
    SYSTEMVERILOG = "systemverilog"


Floats: TypeAlias = Annotated[
    list[str] | None,
    typer.Option(
        "--floats",
        metavar="NAME",
        help="What number formats read: float16, bfloat16, float32 (the default), float64; repeatable.",
    ),
]


def export(
    format: Format,
    to: Annotated[Language, typer.Option("--to", help="A header of C99, or a package of SystemVerilog.")],
    floats: Floats = None,
    output: Annotated[str | None, TO_FILE] = None,
    search: Search = None,
) -> None:
    r"""Write a format's encoder and decoder in C, or in SystemVerilog that can be synthesized.

    They are the plans of `Codec`, printed: the same bits, by integer operations alone. Block formats quantize matrices
    in C, and a block at a time in SystemVerilog.

    \b
    statqat-sim export float8_e4m3fn --to c --output float8_e4m3fn.h
    statqat-sim export mxfp4 --to systemverilog --output mxfp4_pkg.sv
    statqat-sim export my_format.yaml --to systemverilog --floats bfloat16 -o my_format_pkg.sv
    """
    from statqat_sim.cli.console import STDOUT, write_text
    from statqat_sim.cli.outputs import check_results, paths_in
    from statqat_sim.export import to_c, to_systemverilog
    from statqat_sim.spec.catalog import load_format

    check_results(paths_in([format]), text=output)
    fmt = load_format(format, search or ())
    printed = {Language.C: to_c, Language.SYSTEMVERILOG: to_systemverilog}[to]
    write_text(printed(fmt, floats=floats or ("float32",)).rstrip("\n"), output or STDOUT)
    if output and output != STDOUT:
        typer.echo(f"{output}: written", err=True)
