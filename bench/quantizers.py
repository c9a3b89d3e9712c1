"""Measure the quantizers: `python -m bench.quantizers --help`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

if not __package__:  # run as a file: python put this folder on its path, not the one above it
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from bench.comparing import compare
from bench.options import Job, bench_parser, parsed
from bench.pairs import Machine
from bench.quantizer_cases import Weights, check_quality, quantizer_cases
from bench.report import Report

ELEMENTS = 2048 * 4096


def main(arguments: Sequence[str] | None = None) -> None:
    """Run every case, print a line for each, and write JSON if asked to."""
    parser = bench_parser("bench.quantizers", "Measure the quantizers beside memory, MinMax and a naive search.")
    parser.set_defaults(elements=ELEMENTS)
    options, job = parsed(parser, arguments)
    report = run(job)
    if options.json:
        report.write(options.json)


def run(job: Job) -> Report:
    """All comparisons, after a check of the quality of the scales."""
    machine = Machine.told()
    data = Weights(job.elements)
    print(f"error above brute force: {check_quality(data.x):.3%}", flush=True)
    return Report.of(machine, job, compare(lambda pool: quantizer_cases(data, pool), job))


if __name__ == "__main__":
    main()
