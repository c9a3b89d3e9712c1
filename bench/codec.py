"""Measure the codec: `python -m bench.codec --help`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

if not __package__:  # run as a file: python put this folder on its path, not the one above it
    sys.path[0] = str(Path(__file__).resolve().parents[1])

import torch

import statqat_sim as sqs
from bench.cases import COMPILED, Case, Data, compiled_by_torch, libraries
from bench.limits import Limits
from bench.loops import Threads
from bench.pairs import Machine, Method, run_pairs
from bench.report import Comparison, Report, Wait
from bench.table import comparison_cells, wait_cells
from bench.waits import small_call, start_up

QUICK_ELEMENTS, QUICK_METHOD = 1 << 12, Method(pairs=2, sample_seconds=0, settle_seconds=0)
SMALL_CALLS, QUICK_SMALL_CALLS = 20_000, 100


def main(arguments: Sequence[str] | None = None) -> None:
    """Run every case, print a line for each, and write JSON if asked to."""
    options = _options(arguments)
    method = QUICK_METHOD if options.quick else Method(pairs=options.pairs)
    elements = QUICK_ELEMENTS if options.quick else options.elements
    report = run(elements, options.threads, method, quick=options.quick)
    if options.json:
        report.write(options.json)


def run(elements: int, threads: Sequence[int], method: Method, *, quick: bool) -> Report:
    """All comparisons and waits; `quick` leaves out what compiles or starts processes."""
    machine = Machine.here()
    print(machine, flush=True)
    data = Data(elements)
    skipped: list[str] = []
    comparisons: list[Comparison] = []
    for count in threads:
        sqs.set_threads(count)
        torch.set_num_threads(count)
        with Threads(count) as pool:
            for case in _cases(data, pool, skipped, quick=quick):
                row = _compared(case, elements, count, method)
                print("  ".join(comparison_cells(row)), flush=True)
                comparisons.append(row)
    waits = []
    for wait in _waits(quick=quick):
        print("  ".join(wait_cells(wait)), flush=True)
        waits.append(wait)
    return Report(
        machine=machine,
        elements=elements,
        pairs=method.pairs,
        quick=quick,
        comparisons=tuple(comparisons),
        waits=tuple(waits),
        skipped=tuple(dict.fromkeys(skipped)),
    )


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
        except Exception as error:  # whatever is wrong with torch's compiler, the other cases can run
            skipped.append(f"{COMPILED}: {type(error).__name__}")
            print(error, file=sys.stderr)
        else:
            return case
    print(f"skipped: {skipped[-1]}", flush=True)
    return None


def _compared(case: Case, elements: int, threads: int, method: Method) -> Comparison:
    case.check()
    return Comparison.of(
        run_pairs(case.ours, case.peer, method),
        elements,
        section=case.section,
        case=case.name,
        peer=case.peer_name,
        threads=threads,
        target=case.target,
    )


def _waits(*, quick: bool) -> Iterator[Wait]:
    yield small_call(QUICK_SMALL_CALLS if quick else SMALL_CALLS)
    if not quick:
        yield from start_up()


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="bench.codec", description="Measure the codec beside its peers and limits.")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2], help="numbers of threads (default: 1 2)")
    parser.add_argument("--pairs", type=int, default=9, help="measured pairs of each case (default: 9)")
    parser.add_argument("--elements", type=int, default=1 << 24, help="elements of the arrays (default: 2^24)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the rows to a file")
    parser.add_argument("--quick", action="store_true", help="small arrays, 2 pairs, no start-up: a trial run")
    options = parser.parse_args(arguments)
    if min(*options.threads, options.pairs, options.elements) < 1:
        parser.error("numbers must be at least 1")
    return options


if __name__ == "__main__":
    main()
