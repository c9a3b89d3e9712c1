"""Frozen values whose copies are as frozen as they are."""

from __future__ import annotations

from dataclasses import fields
from typing import Any


class Rebuilt:
    """A frozen dataclass whose copies and pickles are made by its constructor, which makes arrays read-only.

    By default they get the fields as they are, and copied or unpickled arrays can be written to.
    """

    __slots__ = ()

    def __reduce__(self) -> tuple[Any, ...]:
        given = (each for each in fields(self) if each.init)  # type: ignore[arg-type]
        return type(self), tuple(getattr(self, each.name) for each in given)
