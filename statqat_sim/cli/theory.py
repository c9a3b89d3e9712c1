"""`statqat-sim theory`: the exact error of a format under a distribution."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, TypeAlias

import typer

from statqat_sim.cli.console import show_or_write
from statqat_sim.cli.options import Format, Json, Search, plot_of
from statqat_sim.cli.outputs import check_results, paths_in

Priors: TypeAlias = Annotated[
    str,
    typer.Option(
        "--prior",
        metavar="NAME,...",
        help="normal, laplace, student_t(5), logistic, uniform, generalised_normal(1.5), half_normal, gelu.",
    ),
]
OneScale: TypeAlias = Annotated[
    float | None, typer.Option("--scale", metavar="VALUE", help="One scale, instead of those around the best.")
]


def theory(
    format: Format,
    prior: Priors = "normal,laplace",
    scale: OneScale = None,
    plot: Annotated[Path | None, plot_of("error against clipping point")] = None,
    json: Json = None,
    search: Search = None,
) -> None:
    r"""Compute the exact error of a format of up to 16 bits under a distribution.

    Nothing is sampled: the errors of all codes are integrated. Named distributions have mean 0 and variance 1, but
    half_normal and gelu, the outputs of ReLU and GELU for a normal input. Each x becomes
    decode(encode(x / scale)) * scale. Inputs that become Inf or NaN count as clipped; formats with overflow: wrap are
    refused, since theirs may become any value.

    The choices of scales: `minmax` clips at the mean of the largest magnitude of 4096 inputs, `paper_iterative` is
    where least squares given the codes, repeated, leads from there; `paper_analytic` would be best for a normal
    distribution of the same power, `optimal` is best. With rho near 1 the repetition hardly moves. In a list, the
    choices stand among scales that are half octaves from the best.

    Block formats scale their own blocks: there are two rows, for inputs as they are and for those at a random phase,
    each block times 2^u, u uniform in [0, 1).

    \b
    statqat-sim theory int4 --prior normal,laplace
    statqat-sim theory float4_e2m1fn --prior "student_t(5)" --plot e2m1.png
    statqat-sim theory mxfp4 --json -
    """
    from statqat_sim.prior import prior_named
    from statqat_sim.report.theory import theory_rows, theory_table
    from statqat_sim.report.theory_plot import plot_theory
    from statqat_sim.spec.block import BlockFormat
    from statqat_sim.spec.catalog import load_format

    check_results(paths_in([format]), text=json, plot=plot)
    priors = [prior_named(name) for name in prior.split(",")]
    loaded = load_format(format, search or ())
    if isinstance(loaded, BlockFormat) and (plot or scale is not None):
        option = "--plot" if plot else "--scale"
        raise ValueError(f"{loaded.name} scales its own blocks; {option} is for number formats")
    rows = [row for each in priors for row in theory_rows(loaded, each, scale)]
    show_or_write(rows, lambda: theory_table(rows), json)
    if plot and not isinstance(loaded, BlockFormat):
        plot_theory(loaded, priors, plot)
