"""`statqat-sim measure`: the error of formats on data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias

import typer

from statqat_sim.cli.console import console, show_or_write
from statqat_sim.cli.data import Data, check_blocks, fitting, given_or_standard, rows_of, sorted_out
from statqat_sim.cli.options import Axis, Json, Search, Unscaled, plot_of
from statqat_sim.cli.outputs import check_results, paths_in

if TYPE_CHECKING:
    from statqat_sim.cli.tensors import Tensor
    from statqat_sim.measurement import Row
    from statqat_sim.prior import Prior
    from statqat_sim.spec.format import Format


class Per(StrEnum):
    """The elements that share a scale."""

    TENSOR = "tensor"
    CHANNEL = "channel"


Formats: TypeAlias = Annotated[list[str], typer.Argument(metavar="FORMAT", help="Names, aliases or .yaml files.")]
PerTensor: TypeAlias = Annotated[
    Per, typer.Option("--per", help="One scale for a tensor, or for each slice along axis 0 of two or more axes.")
]
GivenScale: TypeAlias = Annotated[
    float | None,
    typer.Option(
        "--scale",
        metavar="VALUE",
        help="The scale, instead of a quantizer's; of block formats that of the outermost level.",
    ),
]
Quantizers: TypeAlias = Annotated[
    str | None,
    typer.Option("--quantizer", metavar="NAME,...", help="The quantizers of number formats; see above."),
]
Priors: TypeAlias = Annotated[
    str, typer.Option("--prior", metavar="NAME,...", help="Add the expected SQNR under these priors; see above.")
]
RandomPhase: TypeAlias = Annotated[
    bool, typer.Option("--random-phase", help="Block formats: the mean over where powers of two lie; see above.")
]
Seed: TypeAlias = Annotated[int, typer.Option("--seed", help="The seed of stochastic rounding and of --random-phase.")]


def measure(
    formats: Formats,
    data: Data = None,
    per: PerTensor = Per.TENSOR,
    scale: GivenScale = None,
    quantizer: Quantizers = None,
    prior: Priors = "",
    unscaled: Unscaled = False,
    axis: Axis = -1,
    random_phase: RandomPhase = False,
    seed: Seed = 0,
    plot: Annotated[Path | None, plot_of("SQNR against bits")] = None,
    json: Json = None,
    search: Search = None,
) -> None:
    r"""Measure the error of formats on data.

    The data is converted to float32. Each value x becomes y = decode(encode(x / scale)) * scale; SQNR is
    10 log10(sum of x^2 / sum of (x - y)^2). NaN and Inf are left out, integer tensors are skipped. In JSON, null
    stands for what is undefined or infinite, such as the SQNR of data without any error. A narrow terminal gets
    fewer columns.

    Scales of number formats are MinMax's, the smallest without clipping, or with --quantizer those of minmax,
    percentile, analytic, iterative, search, or of published rules: octav, aciq, sawb, lsq_init, absmean,
    paper_analytic, paper_iterative, or none: 1. With --prior, rows also have the exact theory: the expected SQNR at the
    row's scale if the data had this distribution (see `theory`), scaled to their mean of x^2.

    Block formats find their own scales; bits per element count them, and the column `quantizer` has their rule (of the
    innermost scale that is a factor). A scale that is a power of two fits some magnitudes better than others, and one
    source of one width shows one of them: with --random-phase each block is multiplied by 2^u, u uniform in [0, 1),
    and values and errors are divided by it again. The 2^20 values of a standard source give such a mean to about 0.01
    dB; 2^17 values to 0.03 dB.

    \b
    statqat-sim measure int8 float8_e4m3fn nf4
    statqat-sim measure int8 my_format.yaml --data model.safetensors --per channel
    statqat-sim measure mxfp4 nvfp4 --random-phase
    statqat-sim measure int4 nf4 --quantizer minmax,analytic,iterative --prior normal,laplace
    statqat-sim measure bfloat16 float16 --scale 1 --json - --data weights/ more.npy
    """
    from statqat_sim.report.error_plot import plot_errors
    from statqat_sim.report.errors import error_table
    from statqat_sim.report.expected import with_theory
    from statqat_sim.spec.catalog import catalog, load_format

    names, files = sorted_out(formats, data or [], set(catalog(search or ()).files))
    check_results([*paths_in(names), *files], text=json, plot=plot)
    if not names:
        raise LookupError("no format is named; allowed: names, aliases and .yaml files, before --data")
    how: dict[str, Any] = {"per": per.value, "scale": scale, "axis": axis, "random_phase": random_phase, "seed": seed}
    how["quantizers"] = _quantizers(quantizer, scale)
    priors = _priors(prior, per)
    loaded = [load_format(name, search or ()) for name in names]
    _check_numbers(loaded, {"--quantizer": quantizer is not None, "--per channel": per is Per.CHANNEL})
    check_blocks(loaded, {"--random-phase": random_phase, "--axis": axis != -1})
    rows: Sequence[Row] = _rows(given_or_standard(files, unscaled=unscaled), loaded, how)
    if priors:
        rows = with_theory(rows, loaded, priors, random_phase)
    show_or_write(rows, lambda: error_table(rows, console().width), json)
    if plot:
        plot_errors(rows, plot)


def _check_numbers(formats: Sequence[Format], given: Mapping[str, bool]) -> None:
    """Raises ValueError for options on the choice of scales if every format finds its own."""
    from statqat_sim.spec.block import BlockFormat

    idle = [option for option, is_given in given.items() if is_given]
    if idle and all(isinstance(fmt, BlockFormat) for fmt in formats):
        told = f"{formats[0].name} is a block format, which finds its own scales"
        raise ValueError(f"{idle[0]}: {told}; allowed: with number formats")


def _quantizers(names: str | None, scale: float | None) -> list[str]:
    """The names in `--quantizer`, checked before any file is read."""
    from statqat_sim.quantizer import quantizer_named

    if names is None:
        return ["minmax"]
    if scale is not None:
        raise ValueError("--quantizer chooses scales, and --scale gives one; allowed: one of them")
    listed = list(dict.fromkeys(name.strip() for name in names.split(",")))
    for name in listed:
        quantizer_named(name)
    return listed


def _priors(names: str, per: Per) -> list[Prior]:
    """The priors named by `--prior`."""
    from statqat_sim.prior import prior_named

    if names and per is Per.CHANNEL:
        raise ValueError("--prior is about tensors that have one scale; allowed: --per tensor")
    return [prior_named(name) for name in names.split(",") if names]


def _rows(tensors: list[Tensor], formats: list[Format], how: dict[str, Any]) -> list[Row]:
    """The rows of all tensors; several tensors are measured only in the formats that fit them."""
    from statqat_sim.measurement import measure

    def measured(name: str, array: Any, notes: list[str]) -> list[Row]:
        chosen = formats if len(tensors) == 1 else list(fitting(formats, name, array, how["axis"], notes))
        return measure({name: array}, chosen, **how)

    return rows_of(tensors, "measure", measured)
