"""Measure what quantizers keep of each layer's weights: `python -m bench.layers --help`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from itertools import chain, product
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias

if not __package__:  # run as a file: python put this folder on its path, not the one above it
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from numpy.typing import NDArray

import statqat_sim as sqs
from bench import minilm
from bench.layer_report import Layer, LayerReport, Model
from bench.layer_table import markdown
from bench.layer_training import FULL, QUICK, trained
from bench.pairs import Machine
from bench.report import rounded
from statqat_sim.cli.console import progress
from statqat_sim.measurement import Row
from statqat_sim.quantizer.baselines import SAWB_COEFFICIENTS
from statqat_sim.spec.number import NumberFormat, checked_format

Matrices: TypeAlias = Mapping[str, NDArray[Any]]
Sharing: TypeAlias = Literal["tensor", "channel"]

INTEGERS: Final = tuple(f"int{bits}_narrow" for bits in range(2, 9))
"""Symmetric integers, without the least code, as published weight quantizers use them: one bound clips both signs."""
FORMATS: Final = (*INTEGERS, "float4_e2m1fn", "nf4", "float6_e2m3fn", "float6_e3m2fn", "float8_e4m3fn")
QUANTIZERS: Final = ("minmax", "octav", "sawb", "paper_analytic", "analytic", "iterative")
TABLES: Final = ("embeddings.", "characters.", "positions.")
"""Prefixes of the names of embeddings: their rows are not channels, so they have one scale per tensor."""
BLOCKS: Final = {
    "mxfp4": {"floor": "mxfp4", "ceil": "mxfp4.ceil", "rceil": "mxfp4.rceil", "even": "mxfp4.even", "mse": "mxfp4.mse"},
    "nvfp4": {"absmax": "nvfp4", "four_over_six": "nvfp4.four_over_six", "mse": "nvfp4.mse"},
}
"""Block formats, whose scale rules replace quantizers: rule to format, the plain one first."""

QUICK_FORMATS: Final = ("int4_narrow", "nf4", "float6_e2m3fn")
QUICK_LAYERS, QUICK_ROWS = 2, 4


@dataclass(frozen=True, slots=True)
class Job:
    """One matrix, and the formats to measure it in."""

    model: str
    layer: str
    matrix: NDArray[Any]
    formats: tuple[str, ...]

    @property
    def sharing(self) -> tuple[Sharing, ...]:
        """The ways to share scales that are measured."""
        return ("tensor",) if self.layer.startswith(TABLES) else ("tensor", "channel")


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure all layers, print the tables, and write JSON if asked to."""
    parser = argparse.ArgumentParser(
        prog="bench.layers",
        description="Measure what quantizers keep of each matrix of MiniLM and of a trained net.",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the rows to a file")
    parser.add_argument("--quick", action="store_true", help="a few rows of two layers each: a trial run")
    options = parser.parse_args(arguments)
    report = run(quick=options.quick)
    print(markdown(report))
    if options.json:
        report.write(options.json)


def run(*, quick: bool) -> LayerReport:
    """All layers of both nets."""
    machine = Machine.here()
    net = trained(QUICK if quick else FULL)
    note = f"trained here, {net.steps} steps: {net.bits:.2f} bits per held-out character"
    nets = {(minilm.NAME, "as published"): minilm.matrices(), ("char-GPT", note): net.matrices}
    if quick:
        nets = {key: _part(matrices) for key, matrices in nets.items()}
    models = tuple(
        Model(name=name, note=note, layers=len(matrices), elements=sum(matrix.size for matrix in matrices.values()))
        for (name, note), matrices in nets.items()
    )
    names = QUICK_FORMATS if quick else FORMATS
    jobs = [Job(name, layer, matrix, names) for (name, _), found in nets.items() for layer, matrix in found.items()]
    rows = map(measured, jobs) if quick else _in_processes(jobs)
    with progress() as bar:
        layers = tuple(chain.from_iterable(bar.track(rows, total=len(jobs), description="measuring")))
    return LayerReport(machine=machine, quick=quick, models=models, layers=layers)


def _in_processes(jobs: Sequence[Job]) -> Iterator[list[Layer]]:
    """The rows of each job, in order; one job per core at a time, each on one thread."""
    spawn = get_context("spawn")
    with ProcessPoolExecutor(mp_context=spawn, initializer=sqs.set_threads, initargs=(1,)) as pool:
        yield from pool.map(measured, jobs)


def _part(matrices: Matrices) -> dict[str, NDArray[Any]]:
    """A small part of a net, for quick runs."""
    return {name: matrices[name][:QUICK_ROWS] for name in list(matrices)[-QUICK_LAYERS:]}


def measured(job: Job) -> list[Layer]:
    """The rows of a layer."""
    formats = [checked_format(sqs.load_format(name)) for name in job.formats]
    rows = [_numbers(job, per, fmt) for per, fmt in product(job.sharing, formats)]
    return rows + [_blocks(job, name) for name in BLOCKS]


def _numbers(job: Job, per: Sharing, fmt: NumberFormat) -> Layer:
    chosen = [name for name in QUANTIZERS if name != "sawb" or fmt.bits in SAWB_COEFFICIENTS]
    found = dict(zip(chosen, map(_sqnr, sqs.measure(job.matrix, fmt, chosen, per=per)), strict=True))
    return Layer(model=job.model, layer=job.layer, per=per, format=fmt.name, sqnr_db=rounded(found))


def _blocks(job: Job, name: str) -> Layer:
    found = dict(zip(BLOCKS[name], map(_sqnr, sqs.measure(job.matrix, BLOCKS[name].values())), strict=True))
    return Layer(model=job.model, layer=job.layer, per="block", format=name, sqnr_db=rounded(found))


def _sqnr(row: Row) -> float:
    """The SQNR; raises RuntimeError if a format represents the weights exactly, which says nothing about scales."""
    if row["sqnr_db"] is None:
        raise RuntimeError(f"{row['tensor']} has no error in {row['format']}")
    return row["sqnr_db"]


if __name__ == "__main__":
    main()
