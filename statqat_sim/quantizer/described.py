"""How quantizers are shown, which is what rows of measurements call them."""

from __future__ import annotations

from dataclasses import MISSING, Field, fields
from typing import Any


class Described:
    """A dataclass whose `repr` has only the options that differ from their defaults: `MinMax()`."""

    def __repr__(self) -> str:
        options = ((field, getattr(self, field.name)) for field in fields(self))  # type: ignore[arg-type]
        told = ", ".join(f"{field.name}={value!r}" for field, value in options if not _is_default(field, value))
        return f"{type(self).__name__}({told})"


def _is_default(field: Field[Any], value: Any) -> bool:
    """Arrays, which have no one answer to ==, are never defaults."""
    default = field.default
    return default is not MISSING and type(value) is type(default) and bool(value == default)
