"""Results of `bench.accumulators`: stored as JSON, printed as Markdown by `python -m bench.accumulator_report`."""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, Self

if not __package__:  # run as a file: python put this folder on its path, not the one above it
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from bench.pairs import Machine
from bench.report import rounded, write_lines
from bench.table import markdown_table

RESULTS: Final = Path(__file__).parent / "results" / "accumulators.json"
FLOAT, TORCH, IDEAL = "float32", "torch", "ideal"
DIGITS = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Error:
    """The error of dot products of `k` Gaussian elements in E4M3."""

    k: int
    sqnr_db: Mapping[str, float]
    """By accumulator, against the exact product of the same codes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Loss:
    """The losses of one seed's GPT, in several variants, on held-out text."""

    seed: int
    bits_per_character: Mapping[str, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class AccumulatorReport:
    """One run of the bench."""

    machine: Machine
    quick: bool
    """Whether this only tests the bench itself: short products, an untrained net."""
    net: str
    """A description of the GPT."""
    errors: tuple[Error, ...]
    losses: tuple[Loss, ...]
    """Of the float model, of the model in E4M3 with torch's float32 products, and with each accumulator."""

    def write(self, path: Path) -> None:
        """Write JSON, one line per row."""
        document = rounded(asdict(self)) | {"losses": [_exact(row) for row in self.losses]}
        write_lines(document, path)

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read what `write` wrote."""
        document = json.loads(path.read_text("utf-8"))
        return cls(
            machine=Machine(**document["machine"]),
            quick=document["quick"],
            net=document["net"],
            errors=tuple(Error(**each) for each in document["errors"]),
            losses=tuple(Loss(**each) for each in document["losses"]),
        )


def _exact(row: Loss) -> dict[str, Any]:
    """A row of losses with `DIGITS` decimals: `rounded` would lose their small differences."""
    values = {name: round(value, DIGITS) for name, value in row.bits_per_character.items()}
    return {"seed": row.seed, "bits_per_character": values}


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the tables of a JSON file."""
    parser = argparse.ArgumentParser(prog="bench.accumulator_report", description="Print accumulators as Markdown.")
    parser.add_argument("json", type=Path, nargs="?", default=RESULTS, help="what bench.accumulators wrote")
    print(markdown(AccumulatorReport.read(parser.parse_args(arguments).json)))


def markdown(report: AccumulatorReport) -> str:
    """A table of errors, one of losses, and a line about the net and the machine."""
    names = list(report.errors[0].sqnr_db)
    errors = [(f"{row.k}", *(f"{row.sqnr_db[name]:.1f}" for name in names)) for row in report.errors]
    header = ("accumulator", "bits per character", "above ideal, ×10⁻⁶", "least to greatest")
    losses = [_cells(report, name) for name in report.losses[0].bits_per_character]
    tables = markdown_table(("K, SQNR in dB", *names), errors), markdown_table(header, losses)
    return "\n\n".join((*tables, _footnote(report)))


def _cells(report: AccumulatorReport, name: str) -> tuple[str, ...]:
    """The mean loss over seeds, and each seed's loss above its own with the ideal accumulator."""
    values = [row.bits_per_character[name] for row in report.losses]
    mean = f"{statistics.fmean(values):.6f}"
    if name == IDEAL:
        return name, mean, "", ""
    found = [1e6 * (row.bits_per_character[name] - row.bits_per_character[IDEAL]) for row in report.losses]
    return name, mean, f"{statistics.fmean(found):+.1f}", f"{min(found):+.1f} to {max(found):+.1f}"


def _footnote(report: AccumulatorReport) -> str:
    warning = "A trial run: its figures mean nothing. " if report.quick else ""
    return f"{warning}{report.net}, {len(report.losses)} seeds. {report.machine}."


if __name__ == "__main__":
    main()
