"""Measure matrix products: `python -m bench.matmul --help`.

The peer is MMA-Sim 2.1.1, which gives the same bits. It multiplies smaller matrices, at the same time per multiply-add.
Times are processor times, summed over threads, so that other work on the machine does not count.
"""

from __future__ import annotations

import sys
import time
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

if not __package__:  # run as a file: python put this folder on its path, not the one above it
    sys.path[0] = str(Path(__file__).resolve().parents[1])

import numpy as np
import torch

import statqat_sim as sqs
from bench.matmul_cases import CASES, PROMISED_RATIO, Case
from bench.options import Job, bench_parser, parsed
from bench.pairs import Machine, run_pairs
from bench.report import Comparison, Report, Section
from bench.table import comparison_cells

SIZE, PEER_SIZE = 512, 64


def main(arguments: Sequence[str] | None = None) -> None:
    """Run every case, print a line for each, and write JSON if asked to."""
    parser = bench_parser("bench.matmul", "Measure matrix products beside MMA-Sim.")
    parser.set_defaults(elements=SIZE**3)
    options, job = parsed(parser, arguments)
    report = run(replace(job, method=replace(job.method, clock=time.process_time)))
    if options.json:
        report.write(options.json)


def run(job: Job) -> Report:
    """All comparisons: nanoseconds per multiply-add."""
    machine = Machine.told()
    size = 64 if job.quick else SIZE
    return Report.of(machine, replace(job, elements=size**3), _rows(job, size))


def _rows(job: Job, size: int) -> Iterator[Comparison]:
    torch.set_num_threads(1)  # threads that wait for each other use processor time
    for count in job.threads:
        sqs.set_threads(count)
        for case in CASES:
            row = _compared(job, size, count, case)
            told = f"{1 / row.ours_ns:.2f}e9 per second, promised {case.promised / 1e9:.2f}e9"
            print("  ".join((*comparison_cells(row), told)), flush=True)
            yield row


def _compared(job: Job, size: int, threads: int, case: Case) -> Comparison:
    """Ours on whole matrices beside MMA-Sim on small ones, its time scaled to the same number of multiply-adds."""
    accelerator, instruction, format = sqs.load_accelerator(case.accelerator), case.instruction, case.format
    a, b, scales = _operands(size, format, accelerator, instruction)
    small_a, small_b, small_scales = _operands(PEER_SIZE, format, accelerator, instruction)
    theirs = _mma_sim(instruction, small_a, small_b, **small_scales)
    ours = accelerator.matmul(small_a, small_b, instruction=instruction, **_formats(format), **small_scales)
    assert np.array_equal(ours.view(np.uint32), theirs().view(np.uint32))
    pairs = run_pairs(
        lambda: accelerator.matmul(a, b, instruction=instruction, **_formats(format), **scales), theirs, job.method
    )
    factor = (size / PEER_SIZE) ** 3
    ratio = type(pairs.ratio)(
        *(each * factor for each in (pairs.ratio.median, pairs.ratio.least, pairs.ratio.greatest))
    )
    return Comparison(
        section=Section.LIBRARIES,
        case=f"{case.name}, {size}^3",
        peer="MMA-Sim 2.1.1, one thread",
        threads=threads,
        ours_ns=pairs.ours.median * 1e9 / size**3,
        peer_ns=pairs.peer.median * 1e9 / PEER_SIZE**3,
        ratio=ratio,
        target=PROMISED_RATIO,
    )


def _formats(format: str) -> dict[str, str]:
    return {"a_format": format, "b_format": format}


def _operands(size: int, format: str, accelerator: Any, instruction: str) -> tuple[Any, Any, dict[str, Any]]:
    """Codes of normal numbers, and of block scales if the instruction takes any."""
    rng = np.random.default_rng(0)
    codec = sqs.Codec(sqs.load_format(format))
    a, b = (codec.encode(rng.standard_normal((size, size)).astype(np.float32)) for _ in range(2))
    scale = accelerator.instructions[instruction].scale
    if scale is None:
        return a, b, {}
    shape = size // scale.block
    shapes = (size, shape), (shape, size)
    given = [rng.integers(0x20, 0x50, each, dtype=np.uint8) for each in shapes]
    return a, b, {"a_scale": given[0], "b_scale": given[1]}


def _mma_sim(instruction: str, a: Any, b: Any, a_scale: Any = None, b_scale: Any = None) -> Any:
    """A call of MMA-Sim on the same codes, one instruction after another along K."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch warns while it builds an extension
        from mmasim import nv_ptx
    operation: Any
    if instruction == "mma.f16.f32":
        operation, kind = nv_ptx.MMA("Hopper", "m16n8k16.f32.f16.f16.f32"), torch.float16
    elif instruction == "wgmma.e4m3.f32":
        operation, kind = nv_ptx.WGMMA("Hopper", "m64n8k32.f32.e4m3.e4m3"), torch.float8_e4m3fn
    else:
        name = "m128n8k64.kind::mxf4nvf4.block16.f32.e2m1.e2m1.ue4m3"
        operation, kind = nv_ptx.TCGen05MMABlockScale("Blackwell", name), None
    x, y = (_packed(each) if kind is None else _tensor(each, kind) for each in (a, b.T))
    scales = [] if a_scale is None else [_tensor(each, torch.float8_e4m3fn) for each in (a_scale, b_scale.T)]
    per = 2 if kind is None else 1

    def run() -> Any:
        d = torch.zeros(a.shape[0], b.shape[1])
        for k in range(0, a.shape[1], operation.k):
            k0, k1 = k // per, (k + operation.k) // per
            blocks = [each[:, k // 16 : (k + operation.k) // 16] for each in scales]
            if blocks:
                d = operation(x[:, k0:k1], y[:, k0:k1].T, d, blocks[0], blocks[1].T)
            else:
                d = operation(x[:, k0:k1], y[:, k0:k1].T, d)
        return d.numpy()

    return run


def _tensor(codes: Any, kind: torch.dtype) -> torch.Tensor:
    words = np.ascontiguousarray(codes).view({1: np.uint8, 2: np.int16}[codes.itemsize])
    return torch.from_numpy(words.copy()).view(kind)


def _packed(codes: Any) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(codes[:, 0::2] << 4 | codes[:, 1::2]))


if __name__ == "__main__":
    main()
