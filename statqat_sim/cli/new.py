"""`statqat-sim new`: a commented file to start a format, or an accelerator, from."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, TypeAlias

import typer

from statqat_sim.cli.options import Search

Like: TypeAlias = Annotated[
    str,
    typer.Option("--like", metavar="NAME|FILE", help="The format or accelerator to start from."),
]


def new(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Its name: letters, digits, and . _ + -")],
    like: Like = "float8_e4m3fn",
    output: Annotated[Path, typer.Option("--output", metavar="DIR", help="The folder to write to.")] = Path(),
    search: Search = None,
) -> None:
    r"""Write NAME.yaml, a commented file to change at will.

    It holds every key of the format that it is like, defaults included, and what each key may be; or the instructions
    of the accelerator that it is like, and what each key means.

    \b
    statqat-sim new my_format --like float8_e4m3fn
    statqat-sim new my_levels --like nf4 --output my_formats
    statqat-sim new my_blocks --like mxfp4
    statqat-sim new my_chip --like nvidia_h100
    """
    from statqat_sim.spec.accelerator_catalog import is_accelerator

    _refuse_taken(name, search or ())
    path = output / f"{name}.yaml"
    text = (_accelerator if is_accelerator(like, search or ()) else _format)(name, like, path, search or ())
    output.mkdir(parents=True, exist_ok=True)
    with path.open("x", encoding="utf-8") as stream:  # never overwrites a file
        stream.write(text)
    where = "".join(f" --search {folder}" for folder in search or ())
    typer.echo(f"{path}: written; change it, then: statqat-sim check {path}{where}")


def _format(name: str, like: str, path: Path, search: Sequence[Path]) -> str:
    """The text of a format's file."""
    from statqat_sim.cli.block_template import block_template
    from statqat_sim.cli.template import template
    from statqat_sim.spec.block import BlockFormat
    from statqat_sim.spec.catalog import load_format, parse_format

    model = load_format(like, search)
    text = block_template(name, model) if isinstance(model, BlockFormat) else template(name, model)
    parse_format(text, file=str(path), search=search)
    return text


def _accelerator(name: str, like: str, path: Path, search: Sequence[Path]) -> str:
    """The text of an accelerator's file, whose formats have to be found from where it is to lie.

    Raises:
        ValueError: if some are not, as they lie beside the model.
    """
    from statqat_sim.cli.accelerator_template import accelerator_template
    from statqat_sim.errors import SpecError
    from statqat_sim.spec.accelerator_catalog import load_spec, parse_spec

    text = accelerator_template(name, load_spec(like, search), search)
    try:
        parse_spec(text, file=str(path), search=search, beside=path)
    except SpecError as error:
        beside = Path(like).parent
        told = "; ".join(dict.fromkeys(problem.message for problem in error.problems))
        raise ValueError(
            f"{like} names formats beside it, which {path} would not find: {told}; "
            f"allowed: '--output {beside}' or '--search {beside}'"
        ) from None
    return text


def _refuse_taken(name: str, search: Sequence[Path]) -> None:
    """Raises ValueError for an invalid name, or the name of an existing format or accelerator."""
    from statqat_sim.errors import shown
    from statqat_sim.spec.accelerator_catalog import is_accelerator
    from statqat_sim.spec.catalog import catalog
    from statqat_sim.spec.reader import name_problem

    if told := name_problem(name):
        raise ValueError(told)
    if name.endswith((".yaml", ".yml")):
        raise ValueError(f"{shown(name)} is a file's name; write {shown(name.rpartition('.')[0])}")
    known = catalog(search)
    if name in known.files or name in known.aliases:
        raise ValueError(f"{shown(name)} is the name of another format; allowed: a new one")
    if is_accelerator(name, search):
        raise ValueError(f"{shown(name)} is the name of another accelerator; allowed: a new one")
