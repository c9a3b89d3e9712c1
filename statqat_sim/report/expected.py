"""The SQNR that theory expects, beside the measured one."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from statqat_sim.errors import UnsupportedError
from statqat_sim.measurement import Row
from statqat_sim.metrics import finite_or_none
from statqat_sim.prior import Prior
from statqat_sim.prior.scaled import Scaled
from statqat_sim.spec.block import BlockFormat
from statqat_sim.spec.format import Format
from statqat_sim.spec.zero_point import with_zero_point
from statqat_sim.theory import expected_error


class ExpectedRow(Row):
    """A row of `measure` with the SQNR expected under priors."""

    theory: dict[str, float | None]
    """The expected SQNR in dB under each prior, scaled to the data's mean of x², at the row's scale; None if there is
    no theory."""


def with_theory(
    rows: Iterable[Row], formats: Iterable[Format], priors: Sequence[Prior], random_phase: bool
) -> list[ExpectedRow]:
    """The rows, each with the SQNR expected under each prior.

    Args:
        rows: rows of `measure` with one scale per tensor.
        formats: the formats of the rows.
        priors: one or more.
        random_phase: whether block formats were measured with `random_phase`.
    """
    named = {format.name: format for format in formats}
    return [
        {**row, "theory": {prior.name: _expected(row, named[row["format"]], prior, random_phase) for prior in priors}}
        for row in rows
    ]


def _expected(row: Row, format: Format, prior: Prior, random_phase: bool) -> float | None:
    if not row["power"]:
        return None
    fitted = Scaled.to(prior, math.sqrt(row["power"] / prior.second_moment))
    try:
        if isinstance(format, BlockFormat):
            ratio = None if row["scale"] else expected_error(format, prior=fitted, random_phase=random_phase).sqnr_db
        else:
            shifted = with_zero_point(format, row["zero_point"]) if isinstance(row["zero_point"], int) else format
            ratio = float(expected_error(shifted, prior=fitted, scale=row["scale"]).sqnr_db)
    except UnsupportedError:
        return None
    return None if ratio is None else finite_or_none(ratio)
