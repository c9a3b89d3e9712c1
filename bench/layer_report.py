"""Results of the bench of layers: the SQNR of each layer, summaries, and their JSON file."""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

from bench.pairs import Machine
from bench.report import rounded, write_lines


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """A net whose matrices are measured."""

    name: str
    layers: int
    elements: int
    note: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """One matrix in one format."""

    model: str
    layer: str
    per: str
    """The elements that share a scale: `tensor`, `channel` (a row of the matrix) or `block`."""
    format: str
    sqnr_db: Mapping[str, float]
    """By quantizer, or by scale rule for block formats; the first is the baseline of the others."""

    @property
    def gains_db(self) -> Mapping[str, float]:
        """The gain of each over the baseline."""
        first = next(iter(self.sqnr_db.values()))
        return {name: value - first for name, value in self.sqnr_db.items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """A quantizer in one format over several layers, beside the baseline, which is MinMax except for blocks."""

    per: str
    format: str
    quantizer: str
    layers: int
    mean_sqnr_db: float
    median_gain_db: float
    least_gain_db: float
    worst_layer: str
    above: int
    """The number of layers in which it has a higher SQNR than the baseline."""
    below: int

    @property
    def always_above(self) -> bool:
        """Whether it beats the baseline in every layer, as the paper claims for its analytic quantizer."""
        return self.above == self.layers

    @classmethod
    def of(cls, layers: Iterable[Layer], quantizer: str) -> Self:
        """Summarize the rows of one format with the same sharing."""
        rows = list(layers)
        gains = {f"{row.model} {row.layer}": row.gains_db[quantizer] for row in rows}
        worst = min(gains, key=lambda name: gains[name])
        return cls(
            per=rows[0].per,
            format=rows[0].format,
            quantizer=quantizer,
            layers=len(rows),
            mean_sqnr_db=statistics.fmean(row.sqnr_db[quantizer] for row in rows),
            median_gain_db=statistics.median(gains.values()),
            least_gain_db=gains[worst],
            worst_layer=worst,
            above=sum(gain > 0 for gain in gains.values()),
            below=sum(gain < 0 for gain in gains.values()),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerReport:
    """One run of the bench."""

    machine: Machine
    quick: bool
    """Whether this only tests the bench itself: small parts of a few layers."""
    models: tuple[Model, ...]
    layers: tuple[Layer, ...]

    def summaries(self, model: str | None = None) -> list[Summary]:
        """One summary per sharing, format and quantizer, over the layers of a model or of all models."""
        groups: dict[tuple[str, str], list[Layer]] = {}
        for layer in self.layers:
            if model in (None, layer.model):
                groups.setdefault((layer.per, layer.format), []).append(layer)
        return [Summary.of(rows, name) for rows in groups.values() for name in rows[0].sqnr_db]

    def write(self, path: Path) -> None:
        """Write JSON, one line per row; summaries are included for human readers."""
        document = {
            "machine": asdict(self.machine),
            "quick": self.quick,
            "models": [asdict(model) for model in self.models],
            "summaries": [_summary(each, "all") for each in self.summaries()]
            + [_summary(each, model.name) for model in self.models for each in self.summaries(model.name)],
            "layers": [asdict(layer) for layer in self.layers],
        }
        write_lines(rounded(document), path)

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read what `write` wrote."""
        document = json.loads(path.read_text("utf-8"))
        return cls(
            machine=Machine(**document["machine"]),
            quick=document["quick"],
            models=tuple(Model(**each) for each in document["models"]),
            layers=tuple(Layer(**each) for each in document["layers"]),
        )


def _summary(summary: Summary, model: str) -> dict[str, Any]:
    return {"model": model, **asdict(summary), "always_above": summary.always_above}
