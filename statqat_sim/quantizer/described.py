"""The `repr` of quantizers, which names them in rows of measurements."""

from __future__ import annotations

from dataclasses import MISSING, Field, fields
from typing import Any


class Described:
    """A dataclass whose `repr` shows only options that differ from their defaults, as in `MinMax()`."""

    def __repr__(self) -> str:
        options = ((field, getattr(self, field.name)) for field in fields(self))  # type: ignore[arg-type]
        told = ", ".join(f"{field.name}={value!r}" for field, value in options if not _is_default(field, value))
        return f"{type(self).__name__}({told})"


def _is_default(field: Field[Any], value: Any) -> bool:
    """Whether an option has its default; never True for arrays, whose == is elementwise."""
    default = field.default
    return default is not MISSING and type(value) is type(default) and bool(value == default)
