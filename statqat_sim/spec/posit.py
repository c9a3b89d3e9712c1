"""Elements that are posits."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import Field

from statqat_sim.spec.base import MAX_TABLE_BITS, KeyProblem
from statqat_sim.spec.listed import TwosComplementElement


class PositElement(TwosComplementElement):
    """Posit Standard (2022), with `es` exponent bits as given; the standard's own posits have es 2."""

    kind: Literal["posit"]
    bits: Annotated[int, Field(ge=2, le=MAX_TABLE_BITS)]
    es: Annotated[int, Field(ge=0, le=8)]

    def magnitude(self, code: int, bits: int) -> tuple[int, int]:
        """From regime, exponent and fraction; missing exponent bits are zeros."""
        body = bits - 1
        first = code >> (body - 1)
        run = body - (code ^ ((1 << body) - 1) if first else code).bit_length()
        regime = run - 1 if first else -run
        width = max(body - run - 1, 0)
        rest = (code & ((1 << width) - 1)) << self.es  # so that all exponent bits exist
        exponent, fraction = divmod(rest, 1 << width)
        return (1 << width) + fraction, (regime << self.es) + exponent - width

    def problems(self) -> Iterator[KeyProblem]:
        """Impossible combinations of keys."""
        largest = (self.bits - 2) << self.es
        if largest > 1023:
            yield "es", f"the largest value is 2^{largest}, beyond float64; use fewer bits or a smaller es"
