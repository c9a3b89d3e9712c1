"""Rewrites the README's tables: formats from the catalog, speeds from `bench/results`."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
TABLES = {
    "format-table": ("statqat_sim.cli", "formats", "--markdown"),
    "speed-table": ("bench.table",),
    "block-speed-table": ("bench.table", "bench/results/blocks.json"),
    "layer-table": ("bench.layer_table",),
    "scale-speed-table": ("bench.table", "bench/results/quantizers.json"),
    "torch-table": ("bench.table", "bench/results/torch_ops.json"),
    "matmul-table": ("bench.matmul_table",),
    "qat-table": ("bench.qat_table",),
    "accumulator-table": ("bench.accumulator_report",),
    "pretraining-table": ("bench.pretraining_report",),
}


def printed(marker: str) -> str:
    """The output of the command that prints a table."""
    command = [sys.executable, "-m", *TABLES[marker]]
    return subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout.strip()


def stands(marker: str, text: str) -> str:
    """The table after a marker in the README's text.

    Raises:
        LookupError: if the marker is missing.
    """
    found = _pattern(marker).search(text)
    if found is None:
        raise LookupError(f"README.md has no marker {marker!r}")
    return found[2].strip()


def updated(text: str) -> str:
    """The README's text with all tables rewritten."""
    for marker in TABLES:
        table = printed(marker)
        text = _pattern(marker).sub(lambda found, table=table: f"{found[1]}\n{table}\n{found[3]}", text)
    return text


def _pattern(marker: str) -> re.Pattern[str]:
    return re.compile(rf"(<!-- {marker} -->)\n(.*?)(<!-- /{marker} -->)", re.DOTALL)


if __name__ == "__main__":
    path = ROOT / "README.md"
    path.write_text(updated(path.read_text(encoding="utf-8")), encoding="utf-8")
