"""Print the results of the QAT study as Markdown: `python -m bench.qat_table --help`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

if not __package__:  # run as a file: python put this folder on its path, not the one above it
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from bench.qat_methods import OURS, cells
from bench.qat_report import REFERENCES, Row, Study
from bench.qat_statistics import Interval
from bench.table import markdown_table

RESULTS = Path(__file__).parent / "results" / "qat.json"
CONVERTED, TRAINED, MINILM = "GPT, converted", "GPT, trained", "MiniLM"
HEADER = (
    "format, scales",
    "GPT converted: bits/character above float32",
    "minus the first",
    "GPT trained: above the control",
    "minus the first",
    "MiniLM: cosine",
    "minus the first",
)
DUELS = ("INT4", "E2M1")
"""Families whose rows are also compared with published methods."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the tables of a JSON file."""
    parser = argparse.ArgumentParser(prog="bench.qat_table", description="Print the study as Markdown.")
    parser.add_argument("json", type=Path, nargs="?", default=RESULTS, help="what bench.qat_study wrote")
    print(markdown(Study.read(parser.parse_args(arguments).json)))


def markdown(study: Study) -> str:
    """All rows beside the baseline of their family, then ours beside published methods, and a line about the run."""
    duels = markdown_table(("minus", *REFERENCES), _duels(study))
    return "\n\n".join(filter(None, [markdown_table(HEADER, _all(study)), duels, _footnote(study)]))


def _all(study: Study) -> Iterator[Sequence[str]]:
    found = {(row.task, row.family, row.method): row for row in study.rows}
    for cell in cells():
        rows = [found.get((task, cell.family, cell.method.name)) for task in (CONVERTED, TRAINED, MINILM)]
        if any(rows):
            first = next(other.method.name for other in cells() if other.family == cell.family and other.is_first)
            name = f"**{cell.name}**" if cell.is_first else cell.name
            yield name, *(text for row in rows for text in (_value(row), _difference(row, first)))


def _duels(study: Study) -> Iterator[Sequence[str]]:
    ours = {method.name for method in OURS}
    for row in study.rows:
        if row.family in DUELS and row.method in ours and row.task != MINILM:
            yield f"{row.task}: {row.family} {row.method}", *(_difference(row, name) for name in REFERENCES)


def _value(row: Row | None) -> str:
    """The loss above float32's, or the cosine with float32's embeddings."""
    if row is None:
        return ""
    if row.task == MINILM:
        return f"{sum(row.values.values()) / len(row.values):.4f}"
    return f"{row.against['float32'].mean:+.4f}" if "float32" in row.against else ""


def _difference(row: Row | None, other: str) -> str:
    """The interval of this row minus another; where it excludes 0, bold, with the side it lies on."""
    interval = None if row is None else row.against.get(other)
    if row is None or interval is None:
        return ""
    text = f"{interval.mean:+.4f} [{interval.low:+.4f}, {interval.high:+.4f}]"
    if not (interval.is_above_zero or interval.is_below_zero):
        return text
    return f"**{text}** {'better' if is_better(row.task, interval) else 'worse'}"


def is_better(task: str, interval: Interval) -> bool:
    """Whether a difference is an improvement: above 0 for a cosine, below 0 for a loss."""
    return interval.mean > 0 if task == MINILM else interval.mean < 0


def _footnote(study: Study) -> str:
    counts = {len(row.values) for row in study.rows}
    seeds = f"{min(counts)} to {max(counts)}" if len(counts) > 1 else f"{max(counts, default=0)}"
    warning = "A trial run: its figures mean little. " if study.size == "quick" else ""
    base, control = (f"{sum(kept.values()) / max(len(kept), 1):.3f}" for kept in study.float32.values())
    steps = study.settings.get("extra", {}).get("steps")
    return (
        f"{warning}{seeds} seeds, differences paired by seed with 95 % intervals. float32 has {base} bits/character, "
        f"and the control {control} after the same {steps} extra steps. "
        f"{study.cpu_seconds / 60:.0f} CPU minutes. {study.machine}."
    )


if __name__ == "__main__":
    main()
