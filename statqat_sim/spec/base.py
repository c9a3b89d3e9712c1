"""What every validated spec value is: frozen, strict, and closed to unknown keys."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, TypeAlias, TypeVar

from pydantic import BaseModel, ConfigDict, Field

MAX_BITS = 32
MAX_TABLE_BITS = 16
"""Up to this width every code can be listed; codebooks are never wider."""

MAX_BIAS = 4096
"""Of a float, in magnitude; float64 holds no format's values much sooner."""

KeyProblem: TypeAlias = tuple[str, str]
"""The key that is wrong, and the message."""

Word = TypeVar("Word", bound=StrEnum)
Worded = Annotated[Word, Field(strict=False)]
"""YAML holds a word; the value holds its enum member."""


class Spec(BaseModel):
    """Base of all spec values. Equal specs hash equal, so plans and kernels are cached by them."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)
