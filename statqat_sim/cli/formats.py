"""`statqat-sim formats`: the known formats."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from statqat_sim.cli.console import error_text, show_table, write_json
from statqat_sim.cli.options import Json, Search

if TYPE_CHECKING:
    from statqat_sim.spec.format import Format


def formats(
    filter: Annotated[str, typer.Argument(metavar="[FILTER]", help="Part of a name, alias, title or kind.")] = "",
    markdown: Annotated[bool, typer.Option("--markdown", help="Print the table as Markdown.")] = False,
    json: Json = None,
    search: Search = None,
) -> None:
    r"""List the formats.

    Those built in, and those in the folders of $STATQAT_FORMATS and --search. Block formats are of kind block; their
    bits are those of an element with its share of the scales.

    \b
    statqat-sim formats
    statqat-sim formats e4m3
    statqat-sim formats codebook --json -
    statqat-sim formats block
    """
    from statqat_sim.cli.outputs import check_results
    from statqat_sim.report.listing import facts_of, format_table, markdown_table

    check_results(text=json)
    found, broken = loaded(search or ())
    chosen = [fmt for fmt in found if matches(fmt, filter)]
    if not chosen and found:
        raise LookupError(f"no format has {filter!r} in its name, aliases, title or kind")
    if json:
        write_json(map(facts_of, chosen), json)
    elif markdown:
        typer.echo(markdown_table(chosen))
    else:
        show_table(format_table(chosen))
    for error in broken:
        typer.echo(error_text(error), err=True)
    if broken:
        raise typer.Exit(1)


def loaded(search: Sequence[Path]) -> tuple[list[Format], list[Exception]]:
    """Every valid format, and the errors of the others."""
    from statqat_sim.errors import SpecError
    from statqat_sim.spec.catalog import formats, load_format

    found: list[Format] = []
    broken: list[Exception] = []
    for name in formats(search):
        try:
            found.append(load_format(name, search))
        except (SpecError, OSError) as error:
            broken.append(error)
    return found, broken


def matches(fmt: Format, part: str) -> bool:
    """Whether `part` occurs in the format's name, an alias, its title or its kind, ignoring case."""
    from statqat_sim.report.listing import kind_of

    return any(part.lower() in text.lower() for text in (fmt.name, *fmt.aliases, fmt.title, kind_of(fmt)))
