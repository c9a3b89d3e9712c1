"""Numbers and codes as people type them."""

from __future__ import annotations

import math
import re
import sys
from fractions import Fraction

from statqat_sim.errors import shown

RATIO = re.compile(r"([+-]?\d+)/(\d+)")
NUMBERS = "allowed: 1.5, -2e-3, 1/3, 0x1.8p-3, inf, nan"


def read_number(text: str) -> float:
    """The float64 nearest to a decimal, a fraction of integers, a C hexadecimal float, inf or nan.

    Raises:
        ValueError: if the text is none of these, or the number is beyond float64.
    """
    try:
        number = _nearest(text)
    except ZeroDivisionError:
        raise ValueError(f"{shown(text)} has a zero below the line; {NUMBERS}") from None
    except ValueError:
        raise ValueError(f"{shown(text)} is not a number; {NUMBERS}") from None
    except OverflowError:
        number = math.inf
    if math.isinf(number) and "inf" not in text.lower():
        raise ValueError(f"{shown(text)} is beyond float64, which ends at {sys.float_info.max}; allowed: inf")
    return number


def _nearest(text: str) -> float:
    if ratio := RATIO.fullmatch(text):
        return float(Fraction(int(ratio[1]), int(ratio[2])))
    return float.fromhex(text) if "x" in text.lower() else float(text)


def read_code(text: str, bits: int) -> int:
    """A code written as 126, 0x7e or 0b1111110.

    Raises:
        ValueError: if the text is not an integer, or the code does not fit `bits` bits.
    """
    try:
        code = int(text, 0)
    except ValueError:
        raise ValueError(f"{shown(text)} is not a code; allowed: whole numbers such as 126, 0x7e, 0b1111110") from None
    if code < 0 or code >> bits:
        raise ValueError(code_refusal(code, bits))
    return code


def code_refusal(code: int, bits: int) -> str:
    """The message for a number that is not a code of `bits` bits."""
    most = (1 << bits) - 1
    return f"code {code} does not have {bits} bits; allowed: 0 to {most} ({most:#x})"


def hex_code(code: int, bits: int) -> str:
    """The code in hexadecimal with leading zeros, as in 0x0f."""
    return f"{code:#0{2 + -(-bits // 4)}x}"


def binary_code(code: int, bits: int) -> str:
    """The code in binary with leading zeros."""
    return f"{code:0{bits}b}"
