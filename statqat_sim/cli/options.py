"""Arguments and options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, TypeAlias

import typer

from statqat_sim.cli.console import STDOUT

Format: TypeAlias = Annotated[str, typer.Argument(metavar="NAME|FILE", help="A name, an alias or a .yaml file.")]
Search: TypeAlias = Annotated[
    list[Path] | None, typer.Option("--search", metavar="DIR", help="A folder of further formats; repeatable.")
]
Json: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--json",
        metavar="FILE",
        help=f"Write a JSON list to FILE, '{STDOUT}' for the standard output, and no table.",
    ),
]
Output: TypeAlias = Annotated[
    Path | None,
    typer.Option(
        "--output",
        "-o",
        metavar="FILE",
        help="Write an array to a .npy file, all arrays to an .npz file, or the bytes of an array to a .bin file.",
    ),
]
Axis: TypeAlias = Annotated[
    int,
    typer.Option("--axis", metavar="N", help="The axis along which blocks run; for two-dimensional blocks, the last."),
]
Unscaled: TypeAlias = Annotated[
    bool,
    typer.Option("--unscaled", help="Read float8 as its values alone, without the scales that other tensors hold."),
]

TO_FILE: Any = typer.Option("--output", "-o", metavar="FILE", help="Write to FILE, not to the standard output.")


def plot_of(what: str) -> Any:
    """The option of a picture of something."""
    return typer.Option("--plot", metavar="FILE", help=f"Draw {what} to a .png, .svg or .pdf file.")
