"""Rewrites the tables of Markdown pages: formats from the catalog, figures from `bench/results`."""

from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent

README, RESULTS, CATALOG = "README.md", "bench/RESULTS.md", "formats/CATALOG.md"


@dataclass(frozen=True, slots=True)
class Table:
    """A table between two markers of a page, and the module that prints it."""

    marker: str
    page: str
    command: tuple[str, ...]

    def printed(self) -> str:
        """The output of the command."""
        command = [sys.executable, "-m", *self.command]
        return subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout.strip()

    def in_text(self, text: str) -> str:
        """The table as it stands in the page's text.

        Raises:
            LookupError: if the marker is missing.
        """
        found = self._pattern.search(text)
        if found is None:
            raise LookupError(f"{self.page} has no marker {self.marker!r}")
        return found[2].strip()

    def written_to(self, text: str) -> str:
        """The page's text with the table printed anew."""
        table = self.printed()
        return self._pattern.sub(lambda found: f"{found[1]}\n{table}\n{found[3]}", text)

    @property
    def _pattern(self) -> re.Pattern[str]:
        return re.compile(rf"(<!-- {self.marker} -->)\n(.*?)(<!-- /{self.marker} -->)", re.DOTALL)


TABLES = (
    Table("glance-table", README, ("bench.glance",)),
    Table("format-table", CATALOG, ("statqat_sim.cli", "formats", "--markdown")),
    Table("speed-table", RESULTS, ("bench.table",)),
    Table("block-speed-table", RESULTS, ("bench.table", "bench/results/blocks.json")),
    Table("torch-table", RESULTS, ("bench.table", "bench/results/torch_ops.json")),
    Table("scale-speed-table", RESULTS, ("bench.table", "bench/results/quantizers.json")),
    Table("matmul-table", RESULTS, ("bench.matmul_table",)),
    Table("layer-table", RESULTS, ("bench.layer_table",)),
    Table("qat-table", RESULTS, ("bench.qat_table",)),
    Table("pretraining-table", RESULTS, ("bench.pretraining_report",)),
    Table("accumulator-table", RESULTS, ("bench.accumulator_report",)),
)


def main() -> None:
    """Rewrite every table."""
    for table in TABLES:
        page = ROOT / table.page
        page.write_text(table.written_to(page.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main()
