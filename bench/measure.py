"""Time the main job: measuring a model's weights in six formats. `python -m bench.measure --help`."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

if not __package__:  # run as a file: python put this folder on its path, not the one above it
    sys.path[0] = str(Path(__file__).resolve().parents[1])

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save_file

from bench import minilm
from bench.pairs import Machine, Spread, seconds
from bench.report import write_json

FORMATS = ("float8_e4m3fn", "float8_e5m2", "float4_e2m1fn", "int8", "bfloat16", "nf4")
RUNS = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """The time of one job, run several times as a process that starts, reads, measures and writes JSON."""

    machine: Machine
    model: str
    tensors: int
    elements: int
    formats: tuple[str, ...]
    runs: int
    seconds: Spread
    """Wall time of the whole process."""
    start_seconds: float
    """Wall time of `statqat-sim --version`, which every command takes."""
    ns_per_element: float
    """Median time per element and format."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the job, print its time, and write JSON if asked to."""
    parser = argparse.ArgumentParser(
        prog="bench.measure", description="Time the command `measure` on MiniLM's matrices."
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the result to a file")
    parser.add_argument("--quick", action="store_true", help="two small matrices, one run: a trial run")
    options = parser.parse_args(arguments)
    name, matrices = ("made up", _small_matrices()) if options.quick else (minilm.NAME, minilm.matrices())
    job = run(name, matrices, runs=1 if options.quick else RUNS)
    print(
        f"{job.tensors} matrices, {job.elements:,} elements, {len(job.formats)} formats: "
        f"{job.seconds.median:.2f} s [{job.seconds.least:.2f}–{job.seconds.greatest:.2f}], "
        f"of which start {job.start_seconds:.2f} s; {job.ns_per_element:.2f} ns per element and format. {job.machine}."
    )
    if options.json:
        write_json(asdict(job), options.json)


def run(model: str, matrices: Mapping[str, NDArray[Any]], runs: int) -> Job:
    """Time the job on these matrices, after a run that fills the kernel cache.

    Raises:
        RuntimeError: if it did not measure each matrix in each format.
        subprocess.CalledProcessError: if it failed.
    """
    machine = Machine.here()
    with tempfile.TemporaryDirectory() as directory:
        data, rows = Path(directory, "matrices.safetensors"), Path(directory, "rows.json")
        save_file(dict(matrices), data)
        command = ("measure", *FORMATS, "--data", str(data), "--json", str(rows))
        _statqat_sim(*command)
        if len(json.loads(rows.read_text("utf-8"))) != len(matrices) * len(FORMATS):
            raise RuntimeError("statqat-sim measure did not give a row for each matrix and format")
        spread = Spread.of(seconds(lambda: _statqat_sim(*command)) for _ in range(runs))
    elements = sum(matrix.size for matrix in matrices.values())
    return Job(
        machine=machine,
        model=model,
        tensors=len(matrices),
        elements=elements,
        formats=FORMATS,
        runs=runs,
        seconds=spread,
        start_seconds=min(seconds(lambda: _statqat_sim("--version")) for _ in range(runs)),
        ns_per_element=spread.median * 1e9 / (elements * len(FORMATS)),
    )


def _statqat_sim(*arguments: str) -> None:
    """Run the command line in a process of its own."""
    subprocess.run([sys.executable, "-m", "statqat_sim.cli", *arguments], check=True, stdout=subprocess.DEVNULL)


def _small_matrices() -> dict[str, NDArray[Any]]:
    random = np.random.default_rng(0)
    return {name: random.standard_normal((64, 32), dtype=np.float32) for name in ("first", "second")}


if __name__ == "__main__":
    main()
