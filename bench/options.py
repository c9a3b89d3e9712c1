"""The command-line options of the benches."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.pairs import Method

QUICK_ELEMENTS, QUICK_METHOD = 1 << 12, Method(pairs=2, sample_seconds=0, settle_seconds=0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """The size of a bench run."""

    elements: int
    threads: tuple[int, ...]
    method: Method
    quick: bool
    """Whether this only tests the bench itself, on arrays too small for the promised ratios."""


def bench_parser(name: str, description: str) -> argparse.ArgumentParser:
    """A parser with the options that all benches of kernels share."""
    parser = argparse.ArgumentParser(prog=name, description=description)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2], help="numbers of threads (default: 1 2)")
    parser.add_argument("--pairs", type=int, default=9, help="measured pairs of each case (default: 9)")
    parser.add_argument("--elements", type=int, default=1 << 24, help="elements of the arrays (default: 2^24)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the rows to a file")
    parser.add_argument("--quick", action="store_true", help="small arrays, 2 pairs, no start-up: a trial run")
    return parser


def parsed(parser: argparse.ArgumentParser, arguments: Sequence[str] | None) -> tuple[argparse.Namespace, Job]:
    """Parse the options, and the job that they describe; exits with a message if a number is below 1."""
    options = parser.parse_args(arguments)
    if min(*options.threads, options.pairs, options.elements) < 1:
        parser.error("numbers must be at least 1")
    job = Job(
        elements=QUICK_ELEMENTS if options.quick else options.elements,
        threads=tuple(options.threads),
        method=QUICK_METHOD if options.quick else Method(pairs=options.pairs),
        quick=options.quick,
    )
    return options, job
