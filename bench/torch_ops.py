"""Measure plans compiled by torch beside numba: `python -m bench.torch_ops --help`."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")  # torch reads it once: huge pages, as numpy's arrays have them

if not __package__:  # run as a file: python put this folder on its path, not the one above it
    sys.path[0] = str(Path(__file__).resolve().parents[1])

import torch

import statqat_sim as sqs
from bench.block_cases import BlockData
from bench.cases import Case
from bench.comparing import compare
from bench.loops import Threads
from bench.options import Job, bench_parser, parsed
from bench.pairs import Machine
from bench.report import Report, Section

ROWS = (
    *((name, -1) for name in ("float8_e4m3fn", "float6_e2m3fn", "int8", "nf4", "posit8", "takum8", "hif8", "lns8")),
    *((name, axis) for axis in (-1, 0) for name in ("mxfp4", "nvfp4")),
    *((name, -1) for name in ("nvfp4_2d", "fp8_block128x128_deepseek", "mxfp4.mse", "bfp16_amd", "mx9", "hif4")),
    *((name, -1) for name in ("gguf_q4_0", "gguf_q4_k")),
)
"""Formats, and the axis along which their blocks run."""

TARGET = 1 / 2
"""The promised ratio, numba's time / torch's: at most twice as long."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run every case, print a line for each, and write JSON if asked to."""
    options, job = parsed(bench_parser("bench.torch_ops", "Measure torch's compiled plans beside numba."), arguments)
    report = run(job)
    if options.json:
        report.write(options.json)


def run(job: Job) -> Report:
    """All comparisons; quick ones run eagerly, as compilation takes seconds."""
    machine = Machine.told()
    data = BlockData(job.elements)
    skipped = ("torch.compile: takes too long for --quick",) if job.quick else ()
    comparisons = compare(lambda threads: cases(data, threads, quick=job.quick), job)
    return Report.of(machine, job, comparisons, skipped=skipped)


def cases(data: BlockData, threads: Threads, *, quick: bool) -> Iterator[Case]:
    """Fake-quantize into a preallocated output with both backends."""
    x = torch.from_numpy(data.x)
    for name, axis in ROWS:
        torch.compiler.reset()  # compiled code has the number of threads as a constant; eight formats are kept
        format, out = sqs.load_format(name), torch.zeros_like(x)
        traced, numba = sqs.Codec(format, "torch").fake_quantize, sqs.Codec(format, "numba").fake_quantize
        ours = traced if quick else torch.compile(traced, fullgraph=True, dynamic=False)
        yield Case(
            section=Section.OURSELVES,
            name=f"fake_quantize {name}{', axis=0' * (axis == 0)}, {'torch' if quick else 'torch.compile'}",
            peer_name="numba",
            ours=lambda ours=ours, out=out, axis=axis: ours(x, axis=axis, out=out),  # type: ignore[misc]
            peer=lambda numba=numba, axis=axis: numba(data.x, axis=axis, out=data.values),  # type: ignore[misc]
            target=TARGET,
            results=(out.numpy(), data.values),
        )


if __name__ == "__main__":
    main()
