"""Train and convert with every format and quantizer, and compare them: `python -m bench.qat_study --help`."""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from dataclasses import asdict, replace
from multiprocessing import get_context
from pathlib import Path

if not __package__:  # run as a file: python put this folder on its path, not the one above it
    sys.path[0] = str(Path(__file__).resolve().parents[1])

import torch

import statqat_sim as sqs
from bench.pairs import Machine
from bench.qat_data import source
from bench.qat_gpt import Seed
from bench.qat_methods import Cell, cells
from bench.qat_minilm import Fidelity
from bench.qat_report import Study
from bench.qat_settings import FULL, GPU, QUICK, Settings
from bench.qat_store import open_folder
from bench.qat_table import markdown


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the study, print its table, and write JSON if asked to."""
    options = _parser().parse_args(arguments)
    settings = {"quick": QUICK, "full": FULL, "gpu": GPU}[options.size]
    if options.seeds is not None:
        settings = replace(settings, seeds=options.seeds)
    if settings.seeds < 2:
        sys.exit("--seeds must be at least 2: one says nothing about spread")
    if options.size == "gpu" and not torch.cuda.is_available():
        sys.exit("--gpu needs a GPU that torch sees")
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.work or Path(temporary)
        open_folder(folder, {**asdict(settings), "size": options.size, "text": source(settings.files).sha256})
        if not options.merge:
            run(settings, folder, workers=options.workers, device="cuda" if options.size == "gpu" else "cpu")
        study = Study.gather(folder, settings, size=options.size, machine=Machine.here())
    print(markdown(study))
    if options.json:
        study.write(options.json)


def run(settings: Settings, folder: Path, *, workers: int, device: str) -> None:
    """Compute everything that the folder lacks; each worker uses one thread."""
    chosen = [cell for cell in cells() if cell.family in settings.families]
    chosen = [cell for cell in chosen if not settings.methods or cell.is_first or cell.method.name in settings.methods]
    context = get_context("spawn")
    start = time.monotonic()
    with ProcessPoolExecutor(workers, mp_context=context, initializer=_one_thread) as pool:
        tasks: dict[Future[None], str] = {}
        for seed in range(settings.seeds):
            tasks[pool.submit(_seed, seed, settings, folder, device, chosen)] = f"GPT, seed {seed}"
        for cell in chosen:
            tasks[pool.submit(_fidelity, cell, settings, folder, device)] = f"MiniLM, {cell.name}"
        for task in as_completed(tasks):
            task.result()
            print(f"{time.monotonic() - start:6.0f} s  {tasks[task]}", file=sys.stderr, flush=True)


def _seed(number: int, settings: Settings, folder: Path, device: str, chosen: Iterable[Cell]) -> None:
    Seed(number, settings, folder, device).run(chosen)


def _fidelity(cell: Cell, settings: Settings, folder: Path, device: str) -> None:
    Fidelity(settings, folder, device).run(cell)


def _one_thread() -> None:
    torch.set_num_threads(1)
    sqs.set_threads(1)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="bench.qat_study", description=__doc__.split(":")[0])
    size = parser.add_mutually_exclusive_group()
    for name, what in (
        ("quick", "two seeds and the main rows, below 4 minutes: a trial run"),
        ("full", "what is committed, below 45 minutes on two cores (the default)"),
        ("gpu", "a larger model on a GPU, below 10 minutes"),
    ):
        size.add_argument(f"--{name}", action="store_const", const=name, dest="size", help=what)
    parser.set_defaults(size="full")
    parser.add_argument("--seeds", type=int, help="how many, where not as many as the size has")
    parser.add_argument("--workers", type=int, default=min(2, os.cpu_count() or 1), help="processes (default: 2)")
    parser.add_argument("--work", type=Path, metavar="DIR", help="keep what is done; a run that was cut off goes on")
    parser.add_argument("--merge", action="store_true", help="run nothing, gather what the folder holds")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the results to a file")
    return parser


if __name__ == "__main__":
    main()
