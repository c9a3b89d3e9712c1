"""Results of the QAT study: values of each seed, intervals of paired differences, JSON."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

from bench.pairs import Machine
from bench.qat_methods import Cell, cells
from bench.qat_settings import Settings
from bench.qat_statistics import Interval, paired
from bench.qat_store import CPU_SECONDS, Store, parts
from bench.report import write_json

PHASES = ("converted", "trained")
REFERENCES = ("OCTAV", "LSQ", "QuEST clip", "QuEST clip, Hadamard")
"""Published methods that every row is compared with, besides float32 and the baseline of its family."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A format and a method, on one task."""

    task: str
    """"GPT, converted", "GPT, trained", or "MiniLM"."""
    family: str
    format: str
    method: str
    values: dict[int, float]
    """By seed: held-out bits per character, or the mean cosine with float32's embeddings."""
    more: dict[str, float]
    """Other metrics, means over seeds."""
    against: dict[str, Interval]
    """This row minus the row of that name, paired by seed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Study:
    """The results of one run of the study."""

    machine: Machine
    size: str
    settings: dict[str, Any]
    float32: dict[str, dict[int, float]]
    """Bits per character by seed: of the float32 models, and of the control with the same extra training."""
    cpu_seconds: float
    """Processor time of all workers together."""
    rows: tuple[Row, ...]

    @classmethod
    def gather(cls, folder: Path, settings: Settings, *, size: str, machine: Machine) -> Self:
        """Collect the results that the folder holds so far."""
        seeds = {int(name): values for name, values in parts(folder, "gpt")}
        found = {phase: _by_seed(seeds, f"float32, {phase}") for phase in PHASES}
        rows = [row for phase in PHASES for row in _gpt_rows(seeds, phase, found[phase])]
        rows += _minilm_rows(folder)
        text = json.loads((folder / "settings.json").read_text("utf-8"))
        seconds = sum(kept[CPU_SECONDS] for kind in ("gpt", "minilm") for _, kept in parts(folder, kind))  # type: ignore[misc]
        return cls(machine=machine, size=size, settings=text, float32=found, cpu_seconds=seconds, rows=tuple(rows))

    def write(self, path: Path) -> None:
        """Write JSON."""
        write_json(asdict(self), path)

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read what `write` wrote."""
        document = json.loads(path.read_text("utf-8"))
        float32 = {phase: _integers(values) for phase, values in document["float32"].items()}
        rows = tuple(
            Row(
                **{**row, "values": _integers(row["values"])}
                | {"against": {name: Interval(**each) for name, each in row["against"].items()}}
            )
            for row in document["rows"]
        )
        return cls(**{**document, "machine": Machine(**document["machine"]), "float32": float32, "rows": rows})


def _gpt_rows(seeds: Mapping[int, Mapping[str, Any]], phase: str, float32: Mapping[int, float]) -> Iterator[Row]:
    found = {cell.name: _by_seed(seeds, f"{cell.name}, {phase}") for cell in cells()}
    for cell in cells():
        if found[cell.name]:
            others = {"float32": float32, **{other.method.name: found[other.name] for other in _references(cell)}}
            yield _row(cell, f"GPT, {phase}", found[cell.name], others, {})


def _minilm_rows(folder: Path) -> Iterator[Row]:
    values = {cell.name: Store(folder / f"minilm-{cell.name}.json").read() for cell in cells()}
    found = {name: {int(key): each for key, each in kept.items() if key.isdigit()} for name, kept in values.items()}
    cosines = {name: {seed: each["cosine"] for seed, each in kept.items()} for name, kept in found.items()}  # type: ignore[index]
    for cell in cells():
        if cosines[cell.name]:
            more = {"weight SQNR, dB": values[cell.name]["weights"], **_means(list(found[cell.name].values()))}
            others = {other.method.name: cosines[other.name] for other in _references(cell)}
            yield _row(cell, "MiniLM", cosines[cell.name], others, more)


def _row(
    cell: Cell, task: str, values: dict[int, float], others: Mapping[str, Mapping[int, float]], more: dict[str, Any]
) -> Row:
    intervals = {name: paired(values, other) for name, other in others.items()}
    return Row(
        task=task,
        family=cell.family,
        format=cell.format,
        method=cell.method.name,
        values=values,
        more=more,
        against={name: interval for name, interval in intervals.items() if interval is not None},
    )


def _references(cell: Cell) -> Iterator[Cell]:
    """The rows that a cell is compared with: the baseline of its family, and published methods."""
    for other in cells():
        is_named = other.is_first or other.method.name in REFERENCES
        if other.family == cell.family and other != cell and is_named:
            yield other


def _by_seed(seeds: Mapping[int, Mapping[str, Any]], key: str) -> dict[int, float]:
    return {seed: values[key] for seed, values in sorted(seeds.items()) if key in values}


def _means(values: list[Any]) -> dict[str, float]:
    return {key: sum(each[key] for each in values) / len(values) for key in values[0]}


def _integers(values: Mapping[str, float]) -> dict[int, float]:
    return {int(seed): value for seed, value in values.items()}
