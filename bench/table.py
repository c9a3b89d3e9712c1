"""Print the results of a bench as Markdown: `python -m bench.table --help`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

if not __package__:  # run as a file: python put this folder on its path, not the one above it
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from bench.report import Comparison, Report, Section, Wait

RESULTS = Path(__file__).parent / "results" / "codec.json"

COMPARISON_HEADER = ("what", "threads", "ours, ns/element", "against", "its time / ours", "promised")
WAIT_HEADER = ("what", "ours", "promised", "against")


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the tables of a JSON file."""
    parser = argparse.ArgumentParser(prog="bench.table", description="Print the results of a bench as Markdown.")
    parser.add_argument("json", type=Path, nargs="?", default=RESULTS, help="what bench.codec or bench.blocks wrote")
    parser.add_argument("--sections", nargs="+", type=Section, default=list(Section), choices=list(Section))
    options = parser.parse_args(arguments)
    print(markdown(Report.read(options.json), options.sections))


def markdown(report: Report, sections: Iterable[Section] = tuple(Section)) -> str:
    """One table per section with rows, and a line about the machine."""
    tables = [_table(report, section) for section in sections]
    return "\n\n".join(filter(None, [*tables, footnote(report)]))


def comparison_cells(row: Comparison) -> tuple[str, ...]:
    """A row's cells, under `COMPARISON_HEADER`."""
    ratio = f"{short(row.ratio.median)} [{short(row.ratio.least)}–{short(row.ratio.greatest)}]"
    promised = "" if row.target is None else promise(f"≥ {row.target:.3g}", row.met)
    return row.case, str(row.threads), f"{row.ours_ns:.3f}", f"{row.peer}, {row.peer_ns:.3f}", ratio, promised


def wait_cells(row: Wait) -> tuple[str, ...]:
    """A row's cells, under `WAIT_HEADER`."""
    taken = f"{_time(row.value)} [{_time(row.spread.least)}–{_time(row.spread.greatest)}]"
    peer = "" if row.peer is None or row.peer_value is None else f"{row.peer}, {_time(row.peer_value)}"
    return row.case, taken, promise(f"≤ {_time(row.limit)}", row.met), peer


def _table(report: Report, section: Section) -> str:
    if section is Section.WAITS:
        return markdown_table(WAIT_HEADER, map(wait_cells, report.waits))
    rows = [row for row in report.comparisons if row.section is section]
    order = list(dict.fromkeys((row.case, row.peer) for row in rows))  # a case's numbers of threads stand together
    rows.sort(key=lambda row: order.index((row.case, row.peer)))
    return markdown_table(COMPARISON_HEADER, map(comparison_cells, rows))


def markdown_table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table; empty without rows."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines) if len(lines) > 2 else ""


def footnote(report: Report, unit: str = "elements") -> str:
    """A line about the method and the machine."""
    warning = "A trial run: its figures mean nothing. " if report.quick else ""
    skipped = "".join(f" Skipped: {reason}." for reason in report.skipped)
    method = f"{report.elements:,} {unit}, {report.pairs} pairs, median [least–greatest]."
    return f"{warning}{method} {report.machine}.{skipped}"


def promise(text: str, met: bool | None) -> str:
    """A promised value, marked by whether it is met."""
    return f"{text} ✓" if met else f"{text} **missed**"


def short(ratio: float) -> str:
    """A ratio with about three digits."""
    return f"{ratio:.2f}" if ratio < 10 else f"{ratio:.1f}" if ratio < 100 else f"{ratio:.0f}"


def _time(seconds: float) -> str:
    unit, factor = ("µs", 1e6) if seconds < 1e-4 else ("ms", 1e3) if seconds < 0.1 else ("s", 1)
    return f"{seconds * factor:.2f} {unit}"


if __name__ == "__main__":
    main()
