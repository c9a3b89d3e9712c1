"""The rows of `theory`: the expected error of a format under a prior, and their table."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TypedDict

from rich.table import Table

from statqat_sim.metrics import finite_or_none
from statqat_sim.prior import Prior
from statqat_sim.report.table import number_text, plain_table
from statqat_sim.spec.block import BlockFormat
from statqat_sim.spec.format import Format
from statqat_sim.theory import ExpectedError, expected_error
from statqat_sim.theory.choices import choices

OCTAVES, PER_OCTAVE = 3, 2
"""The scales listed around the best one: octaves to either side, and scales per octave."""


class TheoryRow(TypedDict):
    """One format, prior and scale. JSON-ready: None stands for a number that is undefined or not finite."""

    format: str
    prior: str
    choice: str | None
    """How the scale was chosen; None for the scales around the best one."""
    scale: float | None
    clips_at: float | None
    """scale · max of the format."""
    sqnr_db: float | None
    mse: float
    overload: float
    """The part of `mse` due to clipping."""
    overflow: float | None
    """The probability of Inf or NaN, which `mse` counts as clipping."""
    entropy_bits: float | None
    rho: float | None
    """The factor by which each step of the alternating method shrinks the distance to its fixed point."""


def theory_rows(format: Format, prior: Prior, scale: float | None = None) -> list[TheoryRow]:
    """A number format at `scale`, or at the usual choices and around the best one; a block format at its own scales."""
    if isinstance(format, BlockFormat):
        return [_block_row(format, prior, phase) for phase in (False, True)]
    if scale is not None:
        return [_row("given", expected_error(format, prior=prior, scale=scale))]
    named = choices(format, prior)
    best = named["optimal"]
    between = [best * 2 ** (k / PER_OCTAVE) for k in range(-OCTAVES * PER_OCTAVE, OCTAVES * PER_OCTAVE + 1) if k]
    scales: list[tuple[str | None, float]] = [*named.items(), *((None, s) for s in between)]
    return [_row(choice, expected_error(format, prior=prior, scale=s)) for choice, s in sorted(scales, key=_by_scale)]


def _by_scale(choice: tuple[str | None, float]) -> float:
    return choice[1]


def _row(choice: str | None, error: ExpectedError) -> TheoryRow:
    return {
        "format": error.format.name,
        "prior": error.prior.name,
        "choice": choice,
        "scale": float(error.scale),
        "clips_at": float(error.scale) * error.format.max,
        "sqnr_db": finite_or_none(float(error.sqnr_db)),
        "mse": float(error.mse),
        "overload": float(error.overload),
        "overflow": float(error.overflow),
        "entropy_bits": float(error.entropy),
        "rho": finite_or_none(float(error.rho)),
    }


def _block_row(format: BlockFormat, prior: Prior, random_phase: bool) -> TheoryRow:
    error = expected_error(format, prior=prior, random_phase=random_phase)
    return {
        "format": format.name,
        "prior": prior.name,
        "choice": "random phase" if random_phase else "block",
        "scale": None,
        "clips_at": None,
        "sqnr_db": finite_or_none(error.sqnr_db),
        "mse": error.mse,
        "overload": error.overload,
        "overflow": None,
        "entropy_bits": None,
        "rho": None,
    }


def theory_table(rows: Sequence[TheoryRow]) -> Table:
    """One row for each scale, with a section for each format and prior."""
    table = plain_table()
    for name in ("format", "prior"):
        table.add_column(name, overflow="fold")
    for name in ("scale", "clips at", "SQNR dB", "overload %", "entropy", "rho"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("choice")
    for index, row in enumerate(rows):
        if index and (row["format"], row["prior"]) != (rows[index - 1]["format"], rows[index - 1]["prior"]):
            table.add_section()
        table.add_row(*_texts(row))
    return table


def _texts(row: TheoryRow) -> Iterator[str]:
    yield row["format"]
    yield row["prior"]
    for value, form in (
        (row["scale"], ".5g"),
        (row["clips_at"], ".4g"),
        (row["sqnr_db"], ".2f"),
        (100 * row["overload"] / row["mse"] if row["mse"] else None, ".1f"),
        (row["entropy_bits"], ".2f"),
        (row["rho"], ".5f"),
    ):
        yield number_text(value, form)
    yield row["choice"] or ""
