"""Results of `bench.pretraining`: stored as JSON, printed as Markdown by `python -m bench.pretraining_report`."""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final, Self

if not __package__:  # run as a file: python put this folder on its path, not the one above it
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from bench.accumulator_report import FLOAT, Loss
from bench.pairs import Machine
from bench.report import rounded, write_lines
from bench.table import markdown_table

RESULTS: Final = Path(__file__).parent / "results" / "pretraining.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class PretrainingReport:
    """One run of the bench."""

    machine: Machine
    quick: bool
    """Whether this only tests the bench itself: a net that is hardly trained."""
    net: str
    """A description of the GPT."""
    losses: tuple[Loss, ...]
    """By recipe."""

    def above_float(self, recipe: str) -> tuple[float, ...]:
        """Of each seed: the loss above that of floats, in bits per character."""
        found = (row.bits_per_character for row in self.losses)
        return tuple(each[recipe] - each[FLOAT] for each in found)

    def write(self, path: Path) -> None:
        """Write JSON, one line per row."""
        write_lines(rounded(asdict(self)), path)

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read what `write` wrote."""
        document = json.loads(path.read_text("utf-8"))
        losses = tuple(Loss(**each) for each in document["losses"])
        return cls(machine=Machine(**document["machine"]), quick=document["quick"], net=document["net"], losses=losses)


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table of a JSON file."""
    parser = argparse.ArgumentParser(prog="bench.pretraining_report", description="Print pretraining as Markdown.")
    parser.add_argument("json", type=Path, nargs="?", default=RESULTS, help="what bench.pretraining wrote")
    print(markdown(PretrainingReport.read(parser.parse_args(arguments).json)))


def markdown(report: PretrainingReport) -> str:
    """A table of recipes, and a line about the net and the machine."""
    rows = [_cells(report, name) for name in report.losses[0].bits_per_character]
    table = markdown_table(("linear layers", "bits per character", "above float32", "least to greatest"), rows)
    warning = "A trial run: its figures mean nothing. " if report.quick else ""
    return f"{table}\n\n{warning}{report.net}, {len(report.losses)} seeds. {report.machine}."


def _cells(report: PretrainingReport, name: str) -> tuple[str, ...]:
    """The mean loss over seeds, and each seed's loss above its own float one."""
    mean = f"{statistics.fmean(row.bits_per_character[name] for row in report.losses):.3f}"
    if name == FLOAT:
        return name, mean, "", ""
    found = report.above_float(name)
    return name, mean, f"{statistics.fmean(found):+.3f}", f"{min(found):+.3f} to {max(found):+.3f}"


if __name__ == "__main__":
    main()
