"""The command line `statqat-sim`. One module for each command; what a command needs is imported when it runs."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Sequence
from typing import Annotated, Any

import typer
from typer.core import TyperCommand

from statqat_sim import __version__
from statqat_sim.cli.accelerators import accelerators
from statqat_sim.cli.backends import backends
from statqat_sim.cli.cache import cache
from statqat_sim.cli.check import check
from statqat_sim.cli.console import USER_ERRORS, error_text
from statqat_sim.cli.decode import decode
from statqat_sim.cli.diff import diff
from statqat_sim.cli.encode import encode
from statqat_sim.cli.export import export
from statqat_sim.cli.formats import formats
from statqat_sim.cli.identify import identify
from statqat_sim.cli.matmul import matmul
from statqat_sim.cli.measure import measure
from statqat_sim.cli.new import new
from statqat_sim.cli.rank import rank
from statqat_sim.cli.schema import schema
from statqat_sim.cli.show import show
from statqat_sim.cli.theory import theory
from statqat_sim.cli.verify import verify

PROGRAM = "statqat-sim"

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    rich_markup_mode=None,  # plain text: long paths in error messages stay on one line
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _help(command: Callable[..., Any]) -> str:
    r"""A command's docstring as help text; a line with \b keeps the line breaks of the paragraph below it."""
    return (inspect.getdoc(command) or "").replace(r"\b", "\b")


class Command(TyperCommand):
    """A command that tells what is wrong with an option without pydantic's heading."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        try:
            return super().parse_args(ctx, args)
        except typer.BadParameter as error:
            error.message = error.message.removeprefix("Value error, ")
            raise


COMMANDS = (
    *(formats, show, diff, check, new, schema, encode, decode, export),
    *(measure, rank, theory, identify, verify),
    *(accelerators, matmul, backends, cache),
)
TAKE_NUMBERS = (encode, decode)
"""Commands whose arguments may begin with a minus sign."""

for command in COMMANDS:
    settings = {"ignore_unknown_options": True} if command in TAKE_NUMBERS else {}
    app.command(cls=Command, help=_help(command), context_settings=settings)(command)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"{PROGRAM} {__version__}")
        raise typer.Exit


def _program(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    r"""Hardware number formats from one YAML file: what they hold, and what they do to data.

    \b
    statqat-sim formats e4m3                            list formats
    statqat-sim show float8_e4m3fn                      all facts of one, and its value table
    statqat-sim diff float8_e4m3fn float8_e4m3fnuz      where two of them differ
    statqat-sim new my_format --like float8_e4m3fn      start a format of your own
    statqat-sim check my_format.yaml                    is the file right?
    statqat-sim encode my_format.yaml 0.1 -1/3          what it makes of numbers
    statqat-sim export my_format.yaml --to systemverilog   the same encoder and decoder, as a circuit; or --to c
    statqat-sim measure int8 my_format.yaml             its error on standard sources
    statqat-sim measure int8 nf4 --data model.safetensors
    statqat-sim rank --data model.safetensors           which formats keep it best for their bits?
    statqat-sim theory int4 --prior laplace             its exact error, and the best scale
    statqat-sim identify w.npy --values quantized.npy   which format made this of that?
    statqat-sim verify my_format.yaml                   is the encoder right, for all 2^32 float32 inputs?
    statqat-sim accelerators nvidia_h100                what a matrix unit computes, and how that is known
    statqat-sim matmul a.npy b.npy --accelerator nvidia_h100 --instruction wgmma.e4m3.f32 --compare ideal

    Folders of your own formats: --search, or $STATQAT_FORMATS.
    """


app.callback(help=_help(_program))(_program)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line; `arguments` default to the process's. Ends in SystemExit: 0, 1 (error) or 2 (usage)."""
    try:
        app(arguments, prog_name=PROGRAM)
    except (KeyError, IndexError):
        raise  # lookup errors too, but bugs rather than mistakes of the user
    except USER_ERRORS as error:
        typer.echo(error_text(error), err=True)
        sys.exit(1)
