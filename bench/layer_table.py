"""Print the results of the bench of layers as Markdown: `python -m bench.layer_table --help`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

if not __package__:  # run as a file: python put this folder on its path, not the one above it
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from bench.layer_report import LayerReport, Summary
from bench.table import markdown_table

RESULTS: Final = Path(__file__).parent / "results" / "layers.json"
COLUMNS: Final = {
    "minmax": "MinMax",
    "octav": "OCTAV",
    "sawb": "SAWB",
    "paper_analytic": "PaperAnalytic",
    "analytic": "Analytic",
    "iterative": "Iterative",
}
CLAIMED: Final = ("analytic", "paper_analytic")
"""The quantizers claimed to be above MinMax in every layer."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the tables of a JSON file."""
    parser = argparse.ArgumentParser(prog="bench.layer_table", description="Print the SQNR of layers as Markdown.")
    parser.add_argument("json", type=Path, nargs="?", default=RESULTS, help="what bench.layers wrote")
    print(markdown(LayerReport.read(parser.parse_args(arguments).json)))


def markdown(report: LayerReport) -> str:
    """A table for each way to share scales, one for blocks, and a line about the nets and the machine."""
    summaries = report.summaries()
    tables = [_number_table(summaries, per) for per in ("tensor", "channel")]
    return "\n\n".join((*tables, _block_table(summaries), _footnote(report)))


def _number_table(summaries: Iterable[Summary], per: str) -> str:
    """A row for each format: mean SQNR of each quantizer, and in how many layers the claimed ones are above MinMax."""
    formats: dict[str, dict[str, Summary]] = {}
    for summary in summaries:
        if summary.per == per:
            formats.setdefault(summary.format, {})[summary.quantizer] = summary
    header = (f"a scale for a {per}", *COLUMNS.values(), *(f"{COLUMNS[name]} > MinMax" for name in CLAIMED))
    return markdown_table(header, (_cells(name, found) for name, found in formats.items()))


def _cells(format: str, found: dict[str, Summary]) -> tuple[str, ...]:
    means = (f"{found[name].mean_sqnr_db:.2f}" if name in found else "" for name in COLUMNS)
    return format, *means, *(_above(found[name]) for name in CLAIMED)


def _block_table(summaries: Iterable[Summary]) -> str:
    header = ("blocks", "rule", "mean SQNR, dB", "median gain", "least gain", "better in")
    of_blocks = (each for each in summaries if each.per == "block")
    rows = ((each.format, each.quantizer, f"{each.mean_sqnr_db:.2f}", *_gains(each)) for each in of_blocks)
    return markdown_table(header, rows)


def _gains(summary: Summary) -> tuple[str, ...]:
    return f"{summary.median_gain_db:+.2f}", f"{summary.least_gain_db:+.2f}", _above(summary)


def _above(summary: Summary) -> str:
    return f"{summary.above} of {summary.layers}"


def _footnote(report: LayerReport) -> str:
    warning = "A trial run: its figures mean nothing. " if report.quick else ""
    nets = "; ".join(
        f"{net.name} ({net.note}): {net.layers} matrices, {net.elements:,} elements" for net in report.models
    )
    return f"{warning}Means over layers of SQNR in dB. {nets}. {report.machine}."


if __name__ == "__main__":
    main()
