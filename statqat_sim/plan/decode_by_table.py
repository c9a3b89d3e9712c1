"""Decoders that read a table: of listed formats (codebooks, posits, …), and of all narrow formats."""

from __future__ import annotations

import math
import struct
from typing import Final

import numpy as np

from statqat_sim.plan.builder import Word
from statqat_sim.plan.program import SMALL_TABLE
from statqat_sim.plan.step import WORD_BITS
from statqat_sim.plan.tables import look_up
from statqat_sim.spec.encode import Element
from statqat_sim.spec.floating import FloatElement, NanCodes
from statqat_sim.spec.listed import ListedElement

NARROW_BITS: Final = (SMALL_TABLE - 1).bit_length()
"""Codes up to this width are looked up by one instruction; no arithmetic is faster."""


def decode_by_table(code: Word, element: Element) -> Word:
    """The float32 word of a code; code bits above the format's width are ignored."""
    return _entry("values", float32_words(element), code)


def decode_by_table_exactly(code: Word, element: Element) -> tuple[Word, Word]:
    """The low and high words of a code's float64; code bits above the format's width are ignored."""
    words = [int.from_bytes(struct.pack("<d", value), "little") for value in _values(element)]
    low, high = ([word >> shift & (1 << WORD_BITS) - 1 for word in words] for shift in (0, WORD_BITS))
    return _entry("low values", low, code), _entry("values", high, code)


def float32_words(element: Element | ListedElement) -> list[int]:
    """The float32 words of all values, rounded once to nearest even by numpy, which is fast even for 65536 codes."""
    with np.errstate(over="ignore", under="ignore"):
        words: list[int] = np.array(_values(element), np.float64).astype(np.float32).view(np.uint32).tolist()
    return words


def _values(element: Element | ListedElement) -> list[float]:
    """Values by code. A float's NaN has its code's sign, unless -0 is the NaN."""
    if isinstance(element, ListedElement):
        return list(element.values_by_code)
    values = [element.value(code) for code in range(1 << element.bits)]
    if not isinstance(element, FloatElement) or element.nan is NanCodes.NEGATIVE_ZERO:
        return values
    negative = [bool(code & element.sign_bit) for code in range(len(values))]
    return [-math.nan if math.isnan(value) and sign else value for value, sign in zip(values, negative, strict=True)]


def _entry(name: str, words: list[int], code: Word) -> Word:
    """Read a table; shorter tables of narrow codes are repeated to one size, so that all share one shape."""
    if len(words) <= SMALL_TABLE:
        return look_up(name, words * (SMALL_TABLE // len(words)), code & (SMALL_TABLE - 1))
    return look_up(name, words, code & code.builder.param("code mask", len(words) - 1))
