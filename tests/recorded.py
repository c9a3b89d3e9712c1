"""Casts of software that the tests do not install: `golden/casts/`, one file per release.

Each is a step function over all inputs, recorded by running that software; the JSON beside it says which release, where
it comes from and how the file was made. Nothing there was computed by statqat_sim.

    cast = recorded("softposit", "")["posit8_es2"]
    cast.encode(np.float64([1.0]))      # codes
    cast.decode()                       # the value of every code
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

CASTS = Path(__file__).parent / "golden" / "casts"


@dataclass(frozen=True, slots=True)
class Cast:
    """One cast: inputs with bits from `first[i]` on, below `first[i + 1]`, have `code[i]`.

    The inputs are float64, or float32 where the software rounds float64 to that first. No steps: its cast is not
    recorded. `values`: what the software decodes each code to, float64 or float32; None if that is not recorded.
    """

    bits: int
    first: NDArray[np.uint32 | np.uint64] | None
    code: NDArray[np.uint16] | None
    values: NDArray[np.float32 | np.float64] | None

    def encode(self, x: NDArray[Any]) -> NDArray[Any]:
        """Codes of inputs of any dtype that numpy casts to a float."""
        assert self.first is not None
        assert self.code is not None
        with np.errstate(all="ignore"):
            inputs = np.asarray(x).astype(np.float32 if self.first.dtype == np.uint32 else np.float64)
        places = self.first.searchsorted(inputs.view(self.first.dtype), side="right") - 1
        return self.code[places].astype(np.uint8 if self.bits <= 8 else np.uint16)

    def decode(self) -> NDArray[Any]:
        assert self.values is not None
        return self.values


@cache
def recorded(library: str, release: str) -> Mapping[str, Cast]:
    """Casts of a library by name; none if no release that begins so is recorded."""
    for description in sorted(CASTS.glob(f"{library}-*.json")):
        facts = json.loads(description.read_text("utf-8"))
        if facts["release"].split(".")[: len(release.split("."))] == release.split(".") or not release:
            return _casts(description, facts)
    return {}


def _casts(description: Path, facts: Mapping[str, Any]) -> Mapping[str, Cast]:
    with np.load(description.with_suffix(".npz")) as arrays:
        found = {name: _summed(differences) for name, differences in arrays.items()}
    return {
        name: Cast(bits, found.get(f"{name}.first"), found.get(f"{name}.code"), _values(found.get(f"{name}.value")))
        for name, bits in facts["casts"].items()
    }


def _summed(differences: NDArray[Any]) -> NDArray[Any]:
    return np.cumsum(differences, dtype=differences.dtype)


def _values(words: NDArray[Any] | None) -> NDArray[Any] | None:
    return None if words is None else words.view(np.float32 if words.dtype == np.uint32 else np.float64)
