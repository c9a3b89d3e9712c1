"""Runs cases on each number of threads, and prints a line for each."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import torch

import statqat_sim as sqs
from bench.cases import Case
from bench.loops import Threads
from bench.options import Job
from bench.pairs import Method, run_pairs
from bench.report import Comparison
from bench.table import comparison_cells


def compare(cases: Callable[[Threads], Iterable[Case]], job: Job) -> Iterator[Comparison]:
    """The rows of all cases, in order."""
    for count in job.threads:
        sqs.set_threads(count)
        torch.set_num_threads(count)
        with Threads(count) as pool:
            for case in cases(pool):
                row = _compared(case, job.elements, count, job.method)
                print("  ".join(comparison_cells(row)), flush=True)
                yield row


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
