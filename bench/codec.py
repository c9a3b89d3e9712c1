"""Measure the codec: `python -m bench.codec --help`."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

if not __package__:  # run as a file: python put this folder on its path, not the one above it
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from bench.cases import COMPILED, Case, Data, compiled_by_torch, libraries
from bench.comparing import compare
from bench.limits import Limits
from bench.loops import Threads
from bench.options import Job, bench_parser, parsed
from bench.pairs import Machine
from bench.report import Report, Wait
from bench.table import wait_cells
from bench.waits import small_call, start_up

SMALL_CALLS, QUICK_SMALL_CALLS = 20_000, 100


def main(arguments: Sequence[str] | None = None) -> None:
    """Run every case, print a line for each, and write JSON if asked to."""
    parser = bench_parser("bench.codec", "Measure the codec beside its peers and limits.")
    options, job = parsed(parser, arguments)
    report = run(job)
    if options.json:
        report.write(options.json)


def run(job: Job) -> Report:
    """All comparisons and waits; a quick job skips those that compile or start processes."""
    machine = Machine.told()
    data = Data(job.elements)
    skipped: list[str] = []
    comparisons = tuple(compare(lambda pool: _cases(data, pool, skipped, quick=job.quick), job))
    waits = []
    for wait in _waits(quick=job.quick):
        print("  ".join(wait_cells(wait)), flush=True)
        waits.append(wait)
    return Report.of(machine, job, comparisons, waits=tuple(waits), skipped=tuple(dict.fromkeys(skipped)))


def _cases(data: Data, pool: Threads, skipped: list[str], *, quick: bool) -> Iterator[Case]:
    compiled = _compiled(data, skipped, quick=quick)
    if compiled:
        yield compiled
    yield from libraries(data, pool)
    yield from Limits(data, pool).cases()


def _compiled(data: Data, skipped: list[str], *, quick: bool) -> Case | None:
    """The case of `torch.compile`, which needs a C++ compiler; None, with a reason in `skipped`, if it fails."""
    if quick:
        skipped.append(f"{COMPILED}: takes too long for --quick")
    else:
        try:
            case = compiled_by_torch(data)
            case.peer()
        except Exception as error:  # whatever torch's compiler raises, the other cases can run
            skipped.append(f"{COMPILED}: {type(error).__name__}")
            print(error, file=sys.stderr)
        else:
            return case
    print(f"skipped: {skipped[-1]}", flush=True)
    return None


def _waits(*, quick: bool) -> Iterator[Wait]:
    yield small_call(QUICK_SMALL_CALLS if quick else SMALL_CALLS)
    if not quick:
        yield from start_up()


if __name__ == "__main__":
    main()
