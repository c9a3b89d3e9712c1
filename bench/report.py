"""Results of a bench: rows, and the JSON file that stores them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, Self

from bench.options import Job
from bench.pairs import Machine, Pairs, Spread


class Section(StrEnum):
    """What the peer of a row is."""

    LIBRARIES = "libraries"
    LIMITS = "limits"
    OURSELVES = "ourselves"
    WAITS = "waits"


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Ours beside a peer that does the same work, that only moves the same bytes, or that is a simpler case of ours."""

    section: Section
    case: str
    peer: str
    threads: int
    ours_ns: float
    """Nanoseconds per element, median."""
    peer_ns: float
    ratio: Spread
    """Peer's time / our time of each pair."""
    target: float | None
    """The promised ratio."""

    @classmethod
    def of(cls, pairs: Pairs, elements: int, **rest: Any) -> Self:
        """The row of measured pairs; each call processes `elements` elements."""
        ours, peer = (spread.median * 1e9 / elements for spread in (pairs.ours, pairs.peer))
        return cls(ours_ns=ours, peer_ns=peer, ratio=pairs.ratio, **rest)

    @classmethod
    def read(cls, row: Mapping[str, Any]) -> Self:
        """The row that `asdict` wrote."""
        return cls(**{**row, "section": Section(row["section"]), "ratio": Spread(**row["ratio"])})

    @property
    def met(self) -> bool | None:
        """Whether the target is met; None without one."""
        return None if self.target is None else self.ratio.median >= self.target


@dataclass(frozen=True, slots=True, kw_only=True)
class Wait:
    """A latency: how long a user waits for a result."""

    case: str
    value: float
    """Seconds: the median, or for calls of microseconds the minimum, as timeit recommends."""
    spread: Spread
    limit: float
    """The promised seconds."""
    peer: str | None = None
    peer_value: float | None = None

    @classmethod
    def read(cls, row: Mapping[str, Any]) -> Self:
        """The row that `asdict` wrote."""
        return cls(**{**row, "spread": Spread(**row["spread"])})

    @property
    def met(self) -> bool:
        """Whether the limit is kept."""
        return self.value <= self.limit


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """One run of a bench."""

    machine: Machine
    elements: int
    pairs: int
    quick: bool
    """Whether this only tests the bench itself, on arrays too small for the promised ratios."""
    comparisons: tuple[Comparison, ...]
    waits: tuple[Wait, ...] = ()
    skipped: tuple[str, ...] = ()

    @classmethod
    def of(cls, machine: Machine, job: Job, comparisons: Iterable[Comparison], **rest: Any) -> Self:
        """The results of a job on a machine."""
        return cls(
            machine=machine,
            elements=job.elements,
            pairs=job.method.pairs,
            quick=job.quick,
            comparisons=tuple(comparisons),
            **rest,
        )

    def write(self, path: Path) -> None:
        """Write JSON; each row also says whether its target is met."""
        document = asdict(self)
        for name, rows in (("comparisons", self.comparisons), ("waits", self.waits)):
            document[name] = [{**asdict(row), "met": row.met} for row in rows]
        write_json(document, path)

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read what `write` wrote."""
        document = json.loads(path.read_text("utf-8"))
        for row in (*document["comparisons"], *document["waits"]):
            del row["met"]
        return cls(
            machine=Machine(**document["machine"]),
            elements=document["elements"],
            pairs=document["pairs"],
            quick=document["quick"],
            comparisons=tuple(map(Comparison.read, document["comparisons"])),
            waits=tuple(map(Wait.read, document["waits"])),
            skipped=tuple(document["skipped"]),
        )


def write_json(document: object, path: Path) -> None:
    """Write indented JSON with rounded floats."""
    _write(json.dumps(rounded(document), indent=1, ensure_ascii=False) + "\n", path)


def write_lines(document: Mapping[str, Any], path: Path) -> None:
    """Write JSON with one line per list item; floats are not rounded."""
    entries = []
    for key, value in document.items():
        text = json.dumps(value, ensure_ascii=False)
        if isinstance(value, list):
            text = "[\n" + ",\n".join("  " + json.dumps(item, ensure_ascii=False) for item in value) + "\n ]"
        entries.append(f" {json.dumps(key)}: {text}")
    _write("{\n" + ",\n".join(entries) + "\n}\n", path)


def _write(text: str, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def rounded(value: Any) -> Any:
    """The document with floats rounded to six significant digits: more would be noise."""
    match value:
        case float():
            return float(f"{value:.6g}")
        case dict():
            return {key: rounded(each) for key, each in value.items()}
        case list() | tuple():
            return [rounded(each) for each in value]
    return value
