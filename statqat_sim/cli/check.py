"""`statqat-sim check`: the validation of format and accelerator files."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from statqat_sim.cli.console import error_text
from statqat_sim.cli.options import Search

if TYPE_CHECKING:
    from statqat_sim.spec.format import Format


def check(
    files: Annotated[list[str], typer.Argument(metavar="FILE", help="Files, or folders of .yaml files.")],
    search: Search = None,
) -> None:
    r"""Check format and accelerator files; each problem is reported as file:line:column.

    \b
    statqat-sim check my_format.yaml
    statqat-sim check my_formats/
    """
    from statqat_sim.errors import SpecError, UnsupportedError
    from statqat_sim.plan.lower_mma import check_mma
    from statqat_sim.spec.accelerator_catalog import is_accelerator, load_spec
    from statqat_sim.spec.catalog import load_format

    wrong = 0
    for file in _expanded(files):
        path = _as_path(file)
        try:
            if is_accelerator(path):
                check_mma(load_spec(path, search or ()).instructions)
            else:
                _lower(load_format(path, search or ()))
        except (SpecError, UnsupportedError, OSError) as error:
            wrong += 1
            told = f"{file}: {error}" if isinstance(error, UnsupportedError) else error_text(error)  # which names it
            typer.echo(told, err=True)
        else:
            typer.echo(f"{file}: ok")
    if wrong:
        raise typer.Exit(1)


def _lower(fmt: Format) -> None:
    """Raises UnsupportedError for a format that cannot be lowered to a plan."""
    from statqat_sim.plan.lower import Purpose, lower
    from statqat_sim.plan.lower_block import lower_block
    from statqat_sim.spec.block import BlockFormat

    if isinstance(fmt, BlockFormat):
        lower_block(fmt)
        return
    for purpose in (Purpose.ENCODE, Purpose.DECODE):
        lower(fmt, purpose)


def _expanded(files: list[str]) -> Iterator[str]:
    for file in files:
        if not Path(file).is_dir():
            yield file
            continue
        inside = [str(path) for path in sorted(Path(file).rglob("*.yaml"))]
        if not inside:
            raise FileNotFoundError(f"{file}: no .yaml file in this folder")
        yield from inside


def _as_path(file: str) -> str:
    """The file, written so that `load_format` takes it for a path and not for a name."""
    from statqat_sim.spec.files import is_path

    return file if is_path(file) else os.path.join(os.curdir, file)  # noqa: PTH118  (Path drops the folder)
