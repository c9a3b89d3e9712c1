"""Which formats have all values of which others, beside sets of their values."""

from __future__ import annotations

import math

import pytest

from statqat_sim.spec.catalog import formats, load_format
from statqat_sim.spec.members import includes
from statqat_sim.spec.number import NumberFormat

LOADED = [load_format(name) for name in formats(kind="number")]
NUMBERS = {format.name: format for format in LOADED if isinstance(format, NumberFormat)}
NARROW = {name: format for name, format in NUMBERS.items() if format.bits <= 8}


def meant(format: NumberFormat) -> set[float | str]:
    """What codes mean: numbers, of both zeros one, and words for the others."""
    values = map(format.element.value, range(1 << format.bits))
    return {value if math.isfinite(value) else str(value) for value in values}


def test_narrow_formats_include_those_whose_values_they_have() -> None:
    everything = {name: meant(format) for name, format in NARROW.items()}
    for name, format in NARROW.items():
        produced = {*format.grid().tolist(), *(each for each in everything[name] if isinstance(each, str))}
        for other, smaller in NARROW.items():
            expected = format.element == smaller.element or everything[other] <= produced
            assert includes(format.element, smaller.element) == expected, (name, other)


@pytest.mark.parametrize(
    ("wide", "narrow"),
    [
        ("float32", "bfloat16"),
        ("float32", "tf32"),
        ("tf32", "float16"),
        ("float16", "float8_e5m2"),
        ("float16", "int8"),
    ],
)
def test_one_way_alone(wide: str, narrow: str) -> None:
    assert includes(NUMBERS[wide].element, NUMBERS[narrow].element)
    assert not includes(NUMBERS[narrow].element, NUMBERS[wide].element)


def test_neither_way() -> None:
    assert not includes(NUMBERS["float16"].element, NUMBERS["bfloat16"].element)
    assert not includes(NUMBERS["bfloat16"].element, NUMBERS["float16"].element)
