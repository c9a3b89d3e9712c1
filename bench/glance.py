"""Print all rows beside other libraries, and how many promises are kept, as Markdown: `python -m bench.glance`."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

if not __package__:  # run as a file: python put this folder on its path, not the one above it
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from bench.report import Comparison, Report, Section, Wait
from bench.table import markdown_table, short

RESULTS: Final = Path(__file__).parent / "results"

BENCHES: Final = ("codec", "blocks", "quantizers", "matmul", "torch_ops")
"""The benches whose rows are ratios of times."""

OF_MEMORY: Final = ("fake_quantize float8_e4m3fn", "fake_quantize mxfp4")
"""Cases that are printed beside numpy's copy, too."""

HEADER: Final = ("what", "ours, ns", "beside", "its time / ours, 1 thread", "2 threads")


def main() -> None:
    """Print the table."""
    print(markdown([Report.read(RESULTS / f"{name}.json") for name in BENCHES]))


def markdown(reports: list[Report]) -> str:
    """A row for each case and peer, and a line about promises and the machine."""
    return f"{markdown_table(HEADER, _rows(reports))}\n\n{_promises(reports)}"


def _rows(reports: list[Report]) -> Iterator[tuple[str, ...]]:
    told = [row for report in reports for row in report.comparisons if _is_told(row)]
    of_each: dict[tuple[str, str], list[Comparison]] = {}
    for row in sorted(told, key=lambda row: row.section is Section.LIMITS):
        of_each.setdefault((row.case, row.peer), []).append(row)
    for (case, peer), rows in of_each.items():
        yield case, f"{rows[0].ours_ns:.3f}", peer, *map(_ratio, rows)


def _is_told(row: Comparison) -> bool:
    return row.section is Section.LIBRARIES or (row.case in OF_MEMORY and row.peer == "numpy copy")


def _ratio(row: Comparison) -> str:
    return f"{short(row.ratio.median)} [{short(row.ratio.least)}–{short(row.ratio.greatest)}]"


def _promises(reports: list[Report]) -> str:
    rows: list[Comparison | Wait] = [row for report in reports for row in (*report.comparisons, *report.waits)]
    kept = [row.met for row in rows if row.met is not None]
    return f"Of {len(kept)} promised ratios and times {sum(kept)} are kept. {reports[0].machine}."


if __name__ == "__main__":
    main()
