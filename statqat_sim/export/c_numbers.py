"""The functions of a number format in C99."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from statqat_sim.export.c_text import declared, definition, unsigned
from statqat_sim.export.functions import Conversion, functions, identifier
from statqat_sim.plan.program import Storage
from statqat_sim.spec.number import NumberFormat

NATIVE: Final = {Storage.FLOAT32: "float", Storage.FLOAT64: "double"}
"""The floats that C has."""


def number_lines(format: NumberFormat, floats: Sequence[str]) -> Iterator[str]:
    """Encoders and decoders, on bits and on C's own floats; see `to_c`."""
    name = identifier(format.name)
    for function in functions(format, floats):
        yield from (*definition(name, function, "_bits"), "")
        if function.floats in NATIVE:
            yield from (*_on_floats(name, function), "")


def _on_floats(name: str, function: Conversion) -> Iterator[str]:
    """The function on C's own floats."""
    prefix, native = f"{name}_{function.name}", NATIVE[function.floats]
    bits = unsigned(function.floats.bits)
    if function.encodes:
        first, *others = function.arguments
        arguments = ", ".join(
            [f"{native} {first.name}", *(f"{unsigned(each.storage.bits)} {each.name}" for each in others)]
        )
        yield f"static inline {unsigned(function.result_bits)} {prefix}({arguments})"
        yield "{"
        yield f"    {bits} bits;"
        yield f"    memcpy(&bits, &{first.name}, sizeof bits);"
        yield f"    return {prefix}_bits({', '.join(['bits', *(each.name for each in others)])});"
    else:
        (code,) = function.arguments
        yield f"static inline {native} {prefix}({declared(code)})"
        yield "{"
        yield f"    const {bits} bits = {prefix}_bits({code.name});"
        yield f"    {native} value;"
        yield "    memcpy(&value, &bits, sizeof value);"
        yield "    return value;"
    yield "}"
