"""Rows of several tensors pooled into one."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from statqat_sim.measurement import Row
from statqat_sim.metrics import finite_decibels

ALL_TENSORS = "all tensors"


def by_format(rows: Iterable[Row]) -> dict[tuple[str, str], list[Row]]:
    """The rows of each format and quantizer."""
    groups: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        groups.setdefault((row["format"], row["quantizer"]), []).append(row)
    return groups


def pooled(rows: Sequence[Row]) -> Row:
    """One format's rows pooled as if its tensors were one: sums over all their finite inputs, each with its own scale.

    `scale` is empty and `zero_point` None; `entropy_bits` is the mean over inputs, as if each tensor's codes were
    coded separately. A number is None if it is None for a tensor with finite inputs.
    """
    counts = [row["elements"] - row["nonfinite"] for row in rows]
    power = mean([row["power"] for row in rows], counts)
    noise = mean([row["mse"] for row in rows], counts)
    errors = [row["max_error"] for row, count in zip(rows, counts, strict=True) if count]
    known = [error for error in errors if error is not None]
    return {
        **rows[0],
        "tensor": ALL_TENSORS,
        "scale": [],
        "zero_point": None,
        "sqnr_db": finite_decibels(power, noise),
        "mse": noise,
        "max_error": max(known) if known and len(known) == len(errors) else None,
        "clipped_fraction": mean([row["clipped_fraction"] for row in rows], counts),
        "flushed_fraction": mean([row["flushed_fraction"] for row in rows], counts),
        "entropy_bits": mean([row["entropy_bits"] for row in rows], counts),
        "power": power,
        "elements": sum(row["elements"] for row in rows),
        "nonfinite": sum(row["nonfinite"] for row in rows),
    }


def mean(values: Sequence[float | None], counts: Sequence[int]) -> float | None:
    """The mean of means, weighted with their counts; None if a counted mean is None, or all counts are 0."""
    total = 0.0
    for value, count in zip(values, counts, strict=True):
        if count and value is None:
            return None
        total += (value or 0.0) * count
    return total / sum(counts) if any(counts) else None
