"""Sums over each row in one pass: magnitudes and their squares, or the squares of errors.

This text is compiled as a generated module: see `row_sums`. Additions may be reordered, so that vectors hold them.
"""

from typing import Any

import numpy as np


def moments_of_rows(rows: Any, counts: Any, totals: Any, powers: Any) -> Any:
    """How many elements of each row are finite, the sum of their magnitudes, and that of their squares."""
    for index in range(rows.shape[0]):
        row, count, total, power = rows[index], np.int32(0), 0.0, 0.0
        for i in range(row.size):
            is_finite = abs(row[i]) < np.inf
            magnitude = np.float64(abs(row[i])) if is_finite else 0.0
            count += np.int32(is_finite)
            total += magnitude
            power += magnitude * magnitude
        counts[index], totals[index], powers[index] = count, total, power


def errors_of_rows(rows: Any, values: Any, errors: Any) -> Any:
    """Σ(x - y)² over the finite elements x of each row."""
    for index in range(rows.shape[0]):
        row, there, total = rows[index], values[index], 0.0
        for i in range(row.size):
            error = np.float64(row[i]) - np.float64(there[i]) if abs(row[i]) < np.inf else 0.0
            total += error * error
        errors[index] = total
