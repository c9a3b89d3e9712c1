"""Latencies: a small call, the first result of a new format, an import."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from timeit import repeat

import ml_dtypes
import numpy as np

import statqat_sim as sqs
from bench.made_up import E2M5_AWAY, E3M4_AWAY
from bench.pairs import Spread
from bench.report import Wait

SMALL_ELEMENTS = 64
REPEATS = 7

SMALL_LIMIT, WARM_LIMIT, COLD_LIMIT, IMPORT_LIMIT = 2.5e-6, 1.0, 4.0, 0.15
WARM_RUNS, COLD_RUNS = 5, 3

FIRST_RESULT = """
import sys, time
import statqat_sim as sqs
start = time.perf_counter()
import numpy as np
codes = sqs.Codec(sqs.load_format(sys.argv[1])).encode(np.array([0.1, -1.0, 2.5], np.float32))
print(time.perf_counter() - start)
"""

IMPORT = """
import time
import numpy
start = time.perf_counter()
import statqat_sim
print(time.perf_counter() - start)
"""


def small_call(calls: int) -> Wait:
    """`encode` of 64 elements into a preallocated output; the best of seven, as timeit does."""
    x = np.random.default_rng(0).standard_normal(SMALL_ELEMENTS, dtype=np.float32)
    codec, out = sqs.Codec(sqs.load_format("float8_e4m3fn")), np.zeros(SMALL_ELEMENTS, np.uint8)
    ours = [t / calls for t in repeat(lambda: codec.encode(x, out=out), repeat=REPEATS, number=calls)]
    peer = [t / calls for t in repeat(lambda: x.astype(ml_dtypes.float8_e4m3fn), repeat=REPEATS, number=calls)]
    return Wait(
        case=f"encode float8_e4m3fn, {SMALL_ELEMENTS} elements",
        value=min(ours),
        spread=Spread.of(ours),
        limit=SMALL_LIMIT,
        peer="ml_dtypes astype",
        peer_value=min(peer),
    )


def start_up() -> Iterator[Wait]:
    """Start-up in fresh processes, each with a cache in a temporary directory.

    Raises:
        RuntimeError: if a process with a warm cache compiled something.
        subprocess.CalledProcessError: if a process failed.
    """
    with tempfile.TemporaryDirectory() as directory:
        yield _import(Path(directory))
        known, new = Path(directory, "e3m4_away.yaml"), Path(directory, "e2m5_away.yaml")
        known.write_text(E3M4_AWAY, "utf-8")
        new.write_text(E2M5_AWAY, "utf-8")
        yield _warm(known, new, Path(directory, "warm"))
        yield _cold(new, Path(directory))


def _import(directory: Path) -> Wait:
    _fresh(IMPORT, cache=directory)  # Python writes the modules' bytecode once
    times = [_fresh(IMPORT, cache=directory) for _ in range(WARM_RUNS)]
    return _wait("import statqat_sim, after numpy", times, IMPORT_LIMIT)


def _warm(known: Path, new: Path, cache: Path) -> Wait:
    """The first result of a new format whose kernel another format of the same shape has compiled already."""
    _fresh(FIRST_RESULT, known, cache=cache)
    before = _files(cache)
    times = [_fresh(FIRST_RESULT, new, cache=cache) for _ in range(WARM_RUNS)]
    if _files(cache) != before or not before:
        raise RuntimeError("a new format with a warm cache compiled something")
    return _wait("first codes of a new format file, warm cache", times, WARM_LIMIT)


def _cold(new: Path, directory: Path) -> Wait:
    times = [_fresh(FIRST_RESULT, new, cache=directory / f"cold{run}") for run in range(COLD_RUNS)]
    return _wait("first codes of a new format file, empty cache", times, COLD_LIMIT)


def _wait(case: str, times: list[float], limit: float) -> Wait:
    spread = Spread.of(times)
    return Wait(case=case, value=spread.median, spread=spread, limit=limit)


def _fresh(program: str, *arguments: Path, cache: Path) -> float:
    """The seconds that a program prints, run in a new process in the cache's directory, away from the sources."""
    command = [sys.executable, "-c", program, *map(str, arguments)]
    variables = {**os.environ, "STATQAT_CACHE_DIR": str(cache)}
    done = subprocess.run(command, env=variables, cwd=cache.parent, check=True, stdout=subprocess.PIPE, text=True)
    return float(done.stdout)


def _files(directory: Path) -> Mapping[Path, int]:
    """Every file in a directory tree, with its modification time."""
    return {path: path.stat().st_mtime_ns for path in directory.rglob("*") if path.is_file()}
