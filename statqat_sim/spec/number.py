"""A number format: the meaning of its codes, and how numbers are encoded. Built only by `reader.py`."""

from __future__ import annotations

import math
from functools import cached_property
from typing import TYPE_CHECKING

from statqat_sim.errors import UnsupportedError, of_type
from statqat_sim.spec.base import MAX_TABLE_BITS, Spec
from statqat_sim.spec.encode import Element, EncodePolicy
from statqat_sim.spec.listed import ListedElement
from statqat_sim.spec.pack import Pack

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


def checked_format(format: object, allowed: str = "a NumberFormat") -> NumberFormat:
    """`format` itself, checked; `allowed`: the types that the caller takes, for the error message.

    Raises:
        TypeError: unless it is a NumberFormat.
    """
    if not isinstance(format, NumberFormat):
        hint = f"; statqat_sim.load_format({format!r}) gives one" if isinstance(format, str) else ""
        raise TypeError(f"format is {of_type(format)}; allowed: {allowed}{hint}")
    return format


class NumberFormat(Spec):
    """A validated scalar format. Every fact of it is derived from `element` and `encode`."""

    name: str
    element: Element
    encode: EncodePolicy
    pack: Pack = Pack()
    aliases: tuple[str, ...] = ()
    title: str = ""
    source: str = ""
    oracle: tuple[str, ...] = ()

    @property
    def bits(self) -> int:
        """Bits of one code."""
        return self.element.bits

    @property
    def bits_per_element(self) -> float:
        """Bits of one code: number formats store no scales."""
        return float(self.bits)

    @property
    def max(self) -> float:
        """Largest finite value."""
        return self.element.highest

    @property
    def min(self) -> float:
        """Most negative finite value; for a format without negative values, the smallest one."""
        return self.element.lowest

    @property
    def min_normal(self) -> float:
        """Smallest positive value of full precision."""
        return self.element.min_normal

    @property
    def min_subnormal(self) -> float | None:
        """Smallest positive subnormal value, if the format has any."""
        return self.element.min_subnormal

    @property
    def smallest(self) -> float:
        """Smallest value above zero."""
        return self.element.smallest

    @property
    def dynamic_range_db(self) -> float:
        """20·log10(max / smallest), in dB; computed from magnitudes if no value is above zero."""
        largest = self.max if self.max > 0 else -self.min
        return 20 * (math.log10(largest) - math.log10(abs(self.smallest)))

    @property
    def ulp_at_one(self) -> float | None:
        """Distance from 1 to the next larger value; None if 1 or that value does not exist."""
        return self.element.ulp_at_one

    @property
    def nan_codes(self) -> int:
        """The number of codes that are NaN."""
        return self.element.nan_count

    @property
    def inf_codes(self) -> int:
        """The number of infinite codes."""
        return self.element.inf_count

    @property
    def finite_codes(self) -> int:
        """The number of finite codes; +0 and -0 count as two."""
        return (1 << self.bits) - self.nan_codes - self.inf_codes

    def table(self) -> NDArray[np.float64]:
        """Value of every code, float64, shape `(2**bits,)`.

        Raises:
            UnsupportedError: for formats of more than 16 bits.
        """
        import numpy as np

        return np.array(self._values, np.float64)

    def grid(self) -> NDArray[np.float64]:
        """The finite values that the encoder produces, ascending, each once, float64.

        Raises:
            UnsupportedError: for formats of more than 16 bits.
        """
        import numpy as np

        if isinstance(self.element, ListedElement):
            return np.array(self.element.levels, np.float64)
        produced = [value for code, value in enumerate(self._values) if self.element.produces(code)]
        return np.unique(np.array(produced, np.float64) + 0.0)

    @cached_property
    def _values(self) -> tuple[float, ...]:
        if self.bits > MAX_TABLE_BITS:
            what = f"{self.name}: a table of 2^{self.bits} values; allowed: formats of up to {MAX_TABLE_BITS} bits"
            raise UnsupportedError(what)
        if isinstance(self.element, ListedElement):
            return self.element.values_by_code
        return tuple(map(self.element.value, range(1 << self.bits)))
