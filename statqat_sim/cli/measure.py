"""`statqat-sim measure`: what formats make of data."""

from __future__ import annotations

from collections.abc import Container, Iterator
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from statqat_sim.cli.console import console, note, progress, show_table, write_json
from statqat_sim.cli.options import Axis, Json, Search
from statqat_sim.cli.outputs import check_folder, check_json

if TYPE_CHECKING:
    from statqat_sim.cli.tensors import Tensor
    from statqat_sim.measurement import Row
    from statqat_sim.spec.format import Format


class Per(StrEnum):
    """What shares a scale."""

    TENSOR = "tensor"
    CHANNEL = "channel"


def measure(
    formats: Annotated[list[str], typer.Argument(metavar="FORMAT", help="Names, aliases or .yaml files.")],
    data: Annotated[
        list[Path] | None,
        typer.Option(
            "--data",
            metavar="FILE...",
            help="Files .npy, .npz, .safetensors, .pt or .pth, or folders of them. Without it, 2^20 "
            "values each of normal, laplace, student_t5, lognormal, and normal with outliers (0.1 % times 30).",
        ),
    ] = None,
    per: Annotated[
        Per, typer.Option("--per", help="One scale for a tensor, or for each slice along axis 0 of two or more axes.")
    ] = Per.TENSOR,
    scale: Annotated[
        float | None,
        typer.Option(
            "--scale",
            metavar="VALUE",
            help="The scale, instead of the smallest without clipping; of block formats that of the outermost level.",
        ),
    ] = None,
    axis: Axis = -1,
    random_phase: Annotated[
        bool,
        typer.Option("--random-phase", help="Block formats: the mean over where powers of two lie; see above."),
    ] = False,
    seed: Annotated[
        int, typer.Option("--seed", help="Of the random bits of stochastic rounding, and of --random-phase.")
    ] = 0,
    plot: Annotated[
        Path | None, typer.Option("--plot", metavar="FILE", help="Draw SQNR against bits to a .png, .svg or .pdf file.")
    ] = None,
    json: Json = None,
    search: Search = None,
) -> None:
    r"""Measure the error of formats on data.

    The data is converted to float32. Each value x becomes y = decode(encode(x / scale)) * scale; SQNR is
    10 log10(sum of x^2 / sum of (x - y)^2). NaN and Inf are left out, integer tensors are skipped. In JSON, null
    stands for what is undefined or infinite, such as the SQNR of data without any error. A narrow terminal gets
    fewer columns.

    Block formats find their own scales; bits per element count them, and the column `quantizer` has their rule (of the
    innermost scale that is a factor). A scale that is a power of two fits some magnitudes better than others, and one
    source of one width shows one of them: with --random-phase each block is multiplied by 2^u, u uniform in [0, 1),
    and values and errors are divided by it again. The 2^20 values of a standard source give such a mean to about 0.01
    dB; 2^17 values to 0.03 dB.

    \b
    statqat-sim measure int8 float8_e4m3fn nf4
    statqat-sim measure int8 my_format.yaml --data model.safetensors --per channel
    statqat-sim measure mxfp4 nvfp4 --random-phase
    statqat-sim measure bfloat16 float16 --scale 1 --json - --data weights/ more.npy
    """
    from statqat_sim.report.errors import error_table
    from statqat_sim.report.plot import check_suffix, plot_errors
    from statqat_sim.spec.catalog import catalog, load_format

    if plot:
        check_suffix(plot)
        check_folder(plot)
    check_json(json)
    names, files = _sorted_out(formats, data or [], set(catalog(search or ()).files))
    how: dict[str, Any] = {"per": per.value, "scale": scale, "axis": axis, "random_phase": random_phase, "seed": seed}
    loaded = [load_format(name, search or ()) for name in names]
    if random_phase:
        _check_blocks(loaded)
    rows = _rows(_tensors(files), loaded, how)
    if json:
        write_json(rows, json)
    else:
        show_table(error_table(rows, console().width))
    if plot:
        plot_errors(rows, plot)


def _sorted_out(words: list[str], data: list[Path], known: Container[str]) -> tuple[list[str], list[Path]]:
    """Names of formats, and files of data: `--data` takes one word, the files after it come among the formats.

    A folder that has a format's name is that format; `./name` is the folder.

    Raises:
        LookupError: if there are no formats, or data without `--data`.
    """
    from statqat_sim.cli.tensors import READERS

    files = [word for word in words if word not in known and (Path(word).suffix in READERS or Path(word).is_dir())]
    names = [word for word in words if word not in files]
    if files and not data:
        raise LookupError(f"{files[0]} is data, not a format; write --data before the files")
    if not names:
        raise LookupError("no format is named; allowed: names, aliases and .yaml files, before --data")
    return names, [*data, *map(Path, files)]


def _check_blocks(formats: list[Format]) -> None:
    """Raises ValueError where no format has blocks."""
    from statqat_sim.spec.block import BlockFormat

    if not any(isinstance(fmt, BlockFormat) for fmt in formats):
        names = ", ".join(fmt.name for fmt in formats)
        raise ValueError(f"--random-phase is about blocks, and there are none in {names}; allowed: block formats")


def _tensors(data: list[Path]) -> list[Tensor]:
    from statqat_sim.cli.sources import standard_sources
    from statqat_sim.cli.tensors import tensors

    return tensors(data) if data else standard_sources()


def _rows(tensors: list[Tensor], formats: list[Format], how: dict[str, Any]) -> list[Row]:
    """The rows of all tensors, with a progress bar and notes on the standard error."""
    from statqat_sim.cli.tensors import NotRead, holds_integers
    from statqat_sim.measurement import measure

    rows: list[Row] = []
    notes: list[str] = []
    with progress() as bar:
        for tensor in bar.track(tensors, description="measuring"):
            try:
                array = tensor.load()
            except NotRead as error:
                if len(tensors) == 1:
                    raise
                notes.append(f"{error}; skipped")
                continue
            if holds_integers(array):
                notes.append(f"{tensor.name}: integers, skipped")
                continue
            fitting = formats if len(tensors) == 1 else list(_fitting(formats, tensor.name, array, how["axis"], notes))
            new = measure({tensor.name: array}, fitting, **how)
            rows += new
            if new and new[0]["nonfinite"]:
                notes.append(
                    f"{tensor.name}: {new[0]['nonfinite']} of {new[0]['elements']} values are NaN or Inf, left out"
                )
    for text in notes:
        note(text)
    if not rows:
        raise ValueError("nothing to measure: the data holds no tensor of floats that a format takes")
    return rows


def _fitting(formats: list[Format], name: str, array: Any, axis: int, notes: list[str]) -> Iterator[Format]:
    """The formats whose blocks such a tensor can have; a note for each of the others."""
    from statqat_sim.geometry import Geometry
    from statqat_sim.spec.block import BlockFormat

    for fmt in formats:
        try:
            if isinstance(fmt, BlockFormat):
                Geometry.of(tuple(array.shape), axis, fmt)
        except ValueError as error:
            notes.append(f"{name}: {error}; not measured in {fmt.name}")
        else:
            yield fmt
