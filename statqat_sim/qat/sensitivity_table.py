"""What `qat.sensitivity` gives: a row for each layer and format."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from statqat_sim.errors import did_you_mean
from statqat_sim.qat.tensor_config import TensorConfig


@dataclass(frozen=True, slots=True, kw_only=True)
class SensitivityRow:
    """One layer's weights in one format, all others as they are.

    Args:
        layer: its qualified name; of layers that share a weight all their names, joined by `|`.
        format: what the table calls the format.
        sqnr_db: of the weights; None where there is no error.
        noise: Σ(w - q)² / Σw².
        loss_change: of the mean loss over the batches; None where there were no batches.
        elements: of the weights.
        bits: of codes and scales, in all.
    """

    layer: str
    format: str
    sqnr_db: float | None
    noise: float
    loss_change: float | None
    elements: int
    bits: int

    @property
    def bits_per_element(self) -> float:
        """With scales and padding."""
        return self.bits / self.elements if self.elements else math.nan


@dataclass(frozen=True, slots=True, kw_only=True)
class Sensitivity:
    """Layers × formats; `str` is a table, `plot` draws a heat map, and `qat.assign` chooses from it.

    Args:
        rows: layer by layer, the formats in their order.
        configs: of the formats, by what the rows call them.
        loss: the mean over the batches with all weights as they are; None where there were no batches.
        patterns: globs for a rule that is about a layer, by the layer.
    """

    rows: tuple[SensitivityRow, ...]
    configs: Mapping[str, TensorConfig]
    loss: float | None
    patterns: Mapping[str, str]

    @property
    def layers(self) -> tuple[str, ...]:
        """In the model's order."""
        return tuple(dict.fromkeys(row.layer for row in self.rows))

    @property
    def formats(self) -> tuple[str, ...]:
        """In the order that they were given."""
        return tuple(self.configs)

    def row(self, layer: str, format: str) -> SensitivityRow:
        """The row of a layer and a format.

        Raises:
            LookupError: if there is none.
        """
        for row in self.rows:
            if (row.layer, row.format) == (layer, format):
                return row
        hint = did_you_mean(str(layer), self.layers) or did_you_mean(str(format), self.formats)
        raise LookupError(f"no row of {layer!r} in {format!r}{hint}")

    def plot(self, path: str | os.PathLike[str]) -> None:
        """Draw SQNR and loss change, layer × format, as a picture; raises as `statqat_sim.report.plot.save` does."""
        from statqat_sim.report.sensitivity_plot import plot_sensitivity

        plot_sensitivity(self, Path(path))

    def __str__(self) -> str:
        from statqat_sim.report.layers import sensitivity_text

        return sensitivity_text(self)
