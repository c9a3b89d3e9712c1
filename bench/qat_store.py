"""Stores results as they are computed, one file per part of a study, so that an interrupted run can resume."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

Value: TypeAlias = float | dict[str, float]

SETTINGS = "settings.json"
CPU_SECONDS = "CPU seconds"
"""The key of the processor time that the other values took."""


@dataclass(frozen=True)
class Store:
    """A JSON file of values by key, written after each new value."""

    path: Path

    def read(self) -> dict[str, Value]:
        """All values stored so far."""
        values: dict[str, Value] = json.loads(self.path.read_text("utf-8")) if self.path.exists() else {}
        return values

    def once(self, key: str, compute: Callable[[], Value]) -> Value:
        """The value of the key, computed and stored if it is missing."""
        values = self.read()
        if key not in values:
            start = time.process_time()
            values[key] = compute()
            values[CPU_SECONDS] = float(values.get(CPU_SECONDS, 0.0)) + time.process_time() - start  # type: ignore[arg-type]
            replace(self.path, json.dumps(values, indent=1))
        return values[key]


def open_folder(folder: Path, settings: Mapping[str, Any]) -> None:
    """Create the folder of a study, or resume it.

    Raises:
        ValueError: if it holds a study with other settings.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path, text = folder / SETTINGS, json.dumps(settings, indent=1, sort_keys=True)
    if path.exists() and json.loads(path.read_text("utf-8")) != json.loads(text):
        raise ValueError(f"{folder} holds a study with other settings; name another folder, or delete it")
    replace(path, text)


def parts(folder: Path, kind: str) -> Iterator[tuple[str, dict[str, Value]]]:
    """The name and values of each part of a kind, sorted by name."""
    for path in sorted(folder.glob(f"{kind}-*.json")):
        yield path.stem.removeprefix(f"{kind}-"), Store(path).read()


def replace(path: Path, text: str) -> None:
    """Write a file atomically."""
    unfinished = path.with_name(f"{path.name}.{os.getpid()}")
    unfinished.write_text(text + "\n", encoding="utf-8")
    unfinished.replace(path)
