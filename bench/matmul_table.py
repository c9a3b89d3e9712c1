"""Print the results of `bench.matmul` as Markdown: `python -m bench.matmul_table`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

if not __package__:  # run as a file: python put this folder on its path, not the one above it
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from bench.matmul_cases import CASES, PROMISED_RATIO
from bench.report import Comparison, Report
from bench.table import footnote, markdown_table, promise, short

RESULTS = Path(__file__).parent / "results" / "matmul.json"
HEADER = (
    "instruction",
    "threads",
    "multiply-adds per second of one core",
    "promised",
    "MMA-Sim's time / ours",
    "promised",
)


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table of a JSON file."""
    parser = argparse.ArgumentParser(prog="bench.matmul_table", description="Print matrix products as Markdown.")
    parser.add_argument("json", type=Path, nargs="?", default=RESULTS, help="what bench.matmul wrote")
    print(markdown(Report.read(parser.parse_args(arguments).json)))


def markdown(report: Report) -> str:
    """A row for each case and number of threads, and a line about the machine."""
    return f"{markdown_table(HEADER, _rows(report.comparisons))}\n\n{footnote(report, 'multiply-adds')}"


def _rows(comparisons: Sequence[Comparison]) -> Iterator[tuple[str, ...]]:
    for case in CASES:
        for row in comparisons:
            if row.case.startswith(f"{case.name},"):
                speed, ratio = 1e9 / row.ours_ns, row.ratio
                told = f"{short(ratio.median)} [{short(ratio.least)}–{short(ratio.greatest)}]"
                promised = promise(f"≥ {_giga(case.promised)}", speed >= case.promised)
                yield (
                    row.case,
                    str(row.threads),
                    _giga(speed),
                    promised,
                    told,
                    promise(f"≥ {PROMISED_RATIO:.3g}", row.met),
                )


def _giga(speed: float) -> str:
    return f"{speed / 1e9:.2f}e9"


if __name__ == "__main__":
    main()
