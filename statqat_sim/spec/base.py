"""The base of validated spec values: frozen, strict, and without unknown keys."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Final, TypeAlias, TypeVar

from pydantic import BaseModel, ConfigDict, Field

BYTE: Final = 8
"""The bits of a byte."""

MAX_BITS = 32
MAX_TABLE_BITS = 16
"""The widest codes that are listed one by one; codebooks are never wider."""

MAX_BIAS = 4096
"""The largest magnitude of a float's bias; far smaller biases already exceed float64's range."""

KeyProblem: TypeAlias = tuple[str, str]
"""The key that is wrong, and the message."""

Word = TypeVar("Word", bound=StrEnum)
Worded = Annotated[Word, Field(strict=False)]
"""A word in YAML, stored as its enum member."""


class Spec(BaseModel):
    """Base of all spec values. Equal specs hash equal, so plans and kernels are cached by them."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)
