"""Measure the GPU's kernels beside copies on the device and other libraries: `python -m bench.gpu --help`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TypeAlias

if not __package__:  # run as a file: python put this folder on its path, not the one above it
    sys.path[0] = str(Path(__file__).resolve().parents[1])

import torch

from bench.gpu_cases import GpuCase, GpuData, blocks, elementwise, reductions, torch_casts, torchao_blocks
from bench.gpu_matmul import matmuls
from bench.options import QUICK_ELEMENTS, QUICK_METHOD
from bench.pairs import Call, Machine, Method, run_pairs
from bench.report import Comparison, Report
from bench.table import comparison_cells
from statqat_sim.runtime import backends

LAUNCHES = 20
"""Calls per synchronization, which takes some microseconds; matrix products, which take longer, are timed singly."""

Cases: TypeAlias = Callable[[GpuData], Iterator[GpuCase]]
KINDS: tuple[Cases, ...] = (elementwise, blocks, reductions, matmuls, torch_casts, torchao_blocks)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run every case, print a line for each, and write JSON if asked to."""
    parser = argparse.ArgumentParser(prog="bench.gpu", description="Measure a GPU's kernels beside peers and limits.")
    parser.add_argument("--pairs", type=int, default=9, help="measured pairs of each case (default: 9)")
    parser.add_argument("--elements", type=int, default=1 << 28, help="elements of the arrays (default: 2^28)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the rows to a file")
    parser.add_argument("--quick", action="store_true", help="small arrays, 2 pairs: a trial run")
    options = parser.parse_args(arguments)
    if min(options.pairs, options.elements) < 1:
        parser.error("numbers must be at least 1")
    reason = backends()["cupy"].available()
    if reason is not None:
        sys.exit(f"bench.gpu: {reason}")
    elements = QUICK_ELEMENTS if options.quick else options.elements
    method = QUICK_METHOD if options.quick else Method(pairs=options.pairs, sample_seconds=0.2)
    report = run(GpuData(elements), method, quick=options.quick)
    if options.json:
        report.write(options.json)


def run(data: GpuData, method: Method, *, quick: bool, kinds: Sequence[Cases] = KINDS) -> Report:
    """All comparisons; peers that cannot run here are named in `skipped`."""
    is_gpu = data.x.is_cuda
    machine = Machine.told(torch.cuda.get_device_name() if is_gpu else None)
    skipped: list[str] = []
    rows = tuple(_row(case, data, method) for kind in kinds for case in _possible(kind, data, skipped))
    return Report(
        machine=machine,
        elements=data.count,
        pairs=method.pairs,
        quick=quick,
        comparisons=rows,
        skipped=tuple(skipped),
    )


def _possible(kind: Cases, data: GpuData, skipped: list[str]) -> Iterator[GpuCase]:
    """Cases until one fails because a library is missing or torch's compiler raises."""
    try:
        for case in kind(data):
            case.check()
            yield case
    except (ImportError, RuntimeError) as error:  # errors of torch's compiler among them
        skipped.append(f"{kind.__name__}: {error}".splitlines()[0])
        print(f"skipped: {skipped[-1]}", flush=True)


def _row(case: GpuCase, data: GpuData, method: Method) -> Comparison:
    launches = 1 if case.operations else LAUNCHES
    ours, peer = (partial(_launched, call, data, launches) for call in (case.ours, case.peer))
    row = Comparison.of(
        run_pairs(ours, peer, method),
        (case.operations or data.count) * launches,
        section=case.section,
        case=f"{case.name}, {'multiply-adds' if case.operations else f'{case.bytes:.4g} bytes'}",
        peer=case.peer_name,
        threads=0,
        target=case.target,
    )
    speed = f"{1 / row.ours_ns:.3g} GMAC/s" if case.operations else f"{case.bytes / row.ours_ns:.0f} GB/s"
    print("  ".join((*comparison_cells(row), speed)), flush=True)
    return row


def _launched(call: Call, data: GpuData, launches: int) -> None:
    for _ in range(launches):
        call()
    if data.x.is_cuda:
        torch.cuda.synchronize()


if __name__ == "__main__":
    main()
