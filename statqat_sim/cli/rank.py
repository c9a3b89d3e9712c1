"""`statqat-sim rank`: formats ordered by their SQNR on data."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias

import typer

from statqat_sim.cli.console import show_or_write
from statqat_sim.cli.data import Data, check_blocks, fitting, given_or_standard, rows_of, sorted_out
from statqat_sim.cli.measure import Per
from statqat_sim.cli.options import Axis, Json, Search, Unscaled, plot_of
from statqat_sim.cli.outputs import check_results, paths_in

if TYPE_CHECKING:
    from statqat_sim.cli.tensors import Tensor
    from statqat_sim.ranking import RankRow
    from statqat_sim.spec.format import Format


class Kind(StrEnum):
    """The kinds of formats."""

    NUMBER = "number"
    BLOCK = "block"


Formats: TypeAlias = Annotated[
    list[str] | None,
    typer.Argument(metavar="[FORMAT]...", help="Names, aliases or .yaml files; without any, the catalog's."),
]
PerTensor: TypeAlias = Annotated[
    Per, typer.Option("--per", help="Number formats: one scale for a tensor, or for each slice along axis 0.")
]
Weights: TypeAlias = Annotated[
    Path | None,
    typer.Option(
        "--weights",
        metavar="FILE",
        help="Weights of squared errors: tensors of the same names that broadcast, such as means of a^2 of inputs.",
    ),
]
LeastAxes: TypeAlias = Annotated[
    int, typer.Option("--least-axes", metavar="N", help="Only tensors with this many axes or more: 2 for matrices.")
]


def rank(
    formats: Formats = None,
    data: Data = None,
    kind: Annotated[Kind | None, typer.Option("--kind", help="Only formats of this kind.")] = None,
    per: PerTensor = Per.TENSOR,
    weights: Weights = None,
    unscaled: Unscaled = False,
    axis: Axis = -1,
    least_axes: LeastAxes = 0,
    front: Annotated[bool, typer.Option("--front", help="Print only the Pareto front.")] = False,
    plot: Annotated[Path | None, plot_of("SQNR over bits, and the front,")] = None,
    json: Json = None,
    search: Search = None,
) -> None:
    r"""Rank formats by their SQNR on data, each at its best scale.

    Without names these are all of the catalog with codes of up to 16 bits, but not the profiles (NAME.PROFILE), nor
    block formats that do not fit a tensor's shape. One histogram of a tensor scores all number formats: it assumes that
    data are smooth within 1/64 of an octave, and cannot detect that they already lie on a format's grid (`identify`
    can). Block formats find their own scales and are measured; so are number formats with --per channel.

    A star marks the Pareto front: no other format has at least the SQNR in fewer bits, or a higher one in as many.

    \b
    statqat-sim rank --data model.safetensors --least-axes 2 --front --plot front.svg
    statqat-sim rank int4 nf4 mxfp4 nvfp4 my_format.yaml --data w.npy
    statqat-sim rank --kind number --data w.npy --json ranks.json
    """
    from statqat_sim.report.ranking import on_front, rank_table, together
    from statqat_sim.report.ranking_plot import plot_ranking
    from statqat_sim.spec.catalog import catalog, load_format

    if weights and per is Per.CHANNEL:
        raise ValueError("--weights and --per channel; allowed: --weights with --per tensor")
    names, files = sorted_out(formats or [], data or [], set(catalog(search or ()).files))
    check_results([*paths_in(names), *files, *([weights] if weights else [])], text=json, plot=plot)
    loaded = {fmt.name: fmt for fmt in (load_format(name, search or ()) for name in names)}
    _check_kind(list(loaded.values()), kind)
    if loaded:
        check_blocks(list(loaded.values()), {"--axis": axis != -1})
    how: dict[str, Any] = {"kind": kind and kind.value, "per": per.value, "axis": axis, "search": search or ()}
    how["weights"] = None if weights is None else _weights(weights)
    rows = _rows(given_or_standard(files, unscaled=unscaled), list(loaded.values()), how, least_axes)
    shown = on_front(rows) if front else rows
    show_or_write(shown, lambda: rank_table(shown if len(_names(rows)) == 1 else [*shown, *_total(rows, front)]), json)
    if plot:
        plot_ranking(together(rows), plot)


def _check_kind(formats: list[Format], kind: Kind | None) -> None:
    """Raises ValueError if `--kind` leaves out every format that is named."""
    from statqat_sim.spec.block import BlockFormat

    if kind and formats and not any(isinstance(fmt, BlockFormat) == (kind is Kind.BLOCK) for fmt in formats):
        names = ", ".join(fmt.name for fmt in formats)
        raise ValueError(f"--kind {kind.value} leaves out {names}; allowed: formats of that kind, or no --kind")


def _total(rows: list[RankRow], front: bool) -> list[RankRow]:
    """The rows followed by the ranking of all tensors together."""
    from statqat_sim.report.ranking import on_front, together

    return on_front(together(rows)) if front else together(rows)


def _names(rows: list[RankRow]) -> set[str]:
    return {row["tensor"] for row in rows}


def _weights(path: Path) -> Any:
    """A mapping of names to weights, or the array of a file with only one."""
    from statqat_sim.cli.tensors import tensors

    found = tensors([path])
    return found[0].load() if len(found) == 1 else {tensor.name: tensor.load() for tensor in found}


def _rows(tensors: list[Tensor], formats: list[Format], how: dict[str, Any], least_axes: int) -> list[RankRow]:
    """The rows of all tensors with enough axes; several tensors are ranked only in the formats that fit them."""
    from statqat_sim.ranking import catalog_formats, fits, rank

    chosen = formats or catalog_formats(how["kind"], how["search"])

    def ranked(name: str, array: Any, notes: list[str]) -> list[RankRow]:
        if not formats:
            fitted = [fmt for fmt in chosen if fits(fmt, tuple(array.shape), how["axis"])]
        else:
            fitted = chosen if len(tensors) == 1 else list(fitting(chosen, name, array, how["axis"], notes))
        return rank({name: array}, fitted, **how)

    return rows_of(tensors, "rank", ranked, least_axes)
