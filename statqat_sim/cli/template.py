"""The text of a new format file: every key of the language, what it means, what it may be."""

from __future__ import annotations

import textwrap
import types
from collections.abc import Iterator, Mapping
from enum import Enum
from typing import Any, get_args

from annotated_types import Ge, Le
from pydantic.fields import FieldInfo

from statqat_sim.spec.base import Spec
from statqat_sim.spec.number import NumberFormat
from statqat_sim.spec.reader import KINDS
from statqat_sim.spec.tapered import Regime

WIDTH = 100
INDENT = "  "
VALUES_PER_LINE = 4

MEANING: Mapping[str, str] = {
    "kind": "what codes are made of",
    "bits": "bits of one code",
    # float
    "exponent_bits": "bits of the exponent field",
    "mantissa_bits": "bits of the mantissa field",
    "signed": "whether the top bit is a sign",
    "bias": "exponent field minus exponent (default 2^(exponent_bits - 1) - 1)",
    "subnormals": "what exponent field 0 means (none: a binade like any other; raw: gradual, one binade lower)",
    "nan": "which codes are NaN",
    "inf": "which codes are infinite",
    "zero": "which zeros there are (positive: no -0)",
    # int
    "encoding": "how an integer is written in bits",
    "offset": "code minus integer, for offset_binary only (default 2^(bits - 1))",
    "fraction_bits": "how many of the bits are below the binary point; kind lns: of the logarithm's bits",
    "min": "least integer that the encoder produces (default: what the bits hold)",
    "max": "greatest integer that the encoder produces (default: what the bits hold)",
    # codebook
    "values": "the values of code 0, code 1, ... (codes beyond the list are NaN)",
    # posit, takum, tapered
    "es": "exponent bits",
    "variant": "what follows the characteristic: a mantissa, or more bits of the exponent of the square root of e",
    "regimes": "the codes that begin, after the sign, with a prefix. With exponent_bits, an exponent of so many bits "
    "in sign and magnitude, its leading one left out, and a mantissa follow; with subnormal_exponent, the M of the "
    "mantissa field is 2^(subnormal_exponent + M), and 0 for M = 0",
    # encode
    "rounding": "which of its neighbours a value between them becomes",
    "random_bits": "how many random bits stochastic rounding takes",
    "tie_domain": "where the midpoint of two neighbours lies (bitstring: kinds posit and takum; log: kind lns)",
    "overflow": "what a value beyond the largest becomes",
    "inf_input": "what an infinite input becomes (overflow: as above)",
    "nan_input": "what a NaN becomes",
    "zero_input": "what zero becomes in a format without zero",
    "underflow": "what a nonzero value that rounds to zero becomes (min: the smallest)",
    "negative_input": "what a negative input becomes in a format without negative values",
    "flush_inputs": "whether subnormal inputs count as zero",
    "via": "an intermediate that inputs are rounded to first",
    # pack
    "nibbles": "which half of a byte holds the first of two 4-bit codes",
    "bit_order": "whether a row of codes is a little-endian string of bits (lsb) or a big-endian one (msb)",
}
"""What each key of `element`, `encode` and `pack` is about."""

CODE_TOO = {"nan_input"}
"""Keys that take a code beside their words."""


def template(name: str, model: NumberFormat) -> str:
    """A format file named `name`, with all that `model` says and its defaults written out."""
    return "\n".join(_lines(name, model)) + "\n"


def _lines(name: str, model: NumberFormat) -> Iterator[str]:
    yield from _comment(
        f"A number format. `statqat-sim check {name}.yaml` tells what is wrong with this file, `statqat-sim show "
        f"{name}.yaml` what the format is. Each key has the value that it has in {model.name}, or its default; in "
        "element, encode and pack, a key with its default may be left out."
    )
    yield ""
    yield from (*_comment("the file's stem"), f'name: "{name}"')
    yield from (*_comment("further names, such as [short, other_name]"), "aliases: []")
    yield from (*_comment("what it is, on one line"), f'title: "{name}, made from {model.name}"')
    yield from (*_comment("the document and section that its numbers come from"), 'source: ""')
    yield from (*_comment("independent implementations, such as [ml_dtypes:float8_e4m3fn]"), "oracle: []")
    yield from ("", *_comment("What codes mean."), "element:", *_mapping(model.element))
    yield from ("", *_comment("How reals become codes."), "encode:", *_mapping(model.encode))
    yield from ("", *_comment("How codes lie in bytes where they are packed."), "pack:", *_mapping(model.pack))


def _mapping(spec: Spec) -> Iterator[str]:
    """Each key of a part below its meaning; a key that has no value is itself a comment."""
    fields = type(spec).model_fields
    for key in sorted(fields, key=lambda key: key != "kind"):
        value, field = getattr(spec, key), fields[key]
        yield from _comment(f"{MEANING[key]}: {_allowed(key, field)}", INDENT)
        if isinstance(value, tuple):
            yield from (f"{INDENT}{key}: [", *_list(value), f"{INDENT}]")
        elif value is None:
            yield f"{INDENT}# {key}: 0"
        else:
            yield f"{INDENT}{key}: {_word(value)}"


def _list(values: tuple[Any, ...]) -> Iterator[str]:
    """The lines of a list: numbers several to a line, mappings one."""
    texts = [_flow(value) if isinstance(value, Spec) else _number(value) for value in values]
    across = 1 if any(isinstance(value, Spec) for value in values) else VALUES_PER_LINE
    for start in range(0, len(texts), across):
        yield f"{INDENT}{INDENT}{', '.join(texts[start : start + across])},"


def _flow(spec: Spec) -> str:
    """A mapping on one line, without the keys that have no value; texts such as "01" are quoted."""
    entries = ((key, getattr(spec, key)) for key in type(spec).model_fields)
    texts = (
        f'{key}: "{value}"' if isinstance(value, str) else f"{key}: {value}"
        for key, value in entries
        if value is not None
    )
    return "{" + ", ".join(texts) + "}"


def _comment(text: str, indent: str = "") -> list[str]:
    return textwrap.wrap(text, WIDTH, initial_indent=f"{indent}# ", subsequent_indent=f"{indent}# ")


def _word(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return str(value.value if isinstance(value, Enum) else value)


def _number(value: float) -> str:
    """A float with a fraction, and in scientific notation with a sign: YAML reads nothing else as a float."""
    mantissa, e, exponent = repr(value).partition("e")
    mantissa += "" if "." in mantissa else ".0"
    return f"{mantissa}{e}{int(exponent):+d}" if e else mantissa


def _allowed(key: str, field: FieldInfo) -> str:
    if key == "kind":
        return " | ".join(KINDS)
    words = [member.value for kind in _kinds(field.annotation) if issubclass(kind, Enum) for member in kind]
    if words:
        return " | ".join([*words, *["a code"] * (key in CODE_TOO)])
    bounds = {type(bound): bound for bound in field.metadata}
    if Ge in bounds and Le in bounds:
        return f"{bounds[Ge].ge} to {bounds[Le].le}"
    kinds = set(_kinds(field.annotation))
    texts = {bool: "true | false", int: "an integer", Regime: "a list of mappings, one for each prefix"}
    return next((text for kind, text in texts.items() if kind in kinds), "numbers")


def _kinds(annotation: Any) -> Iterator[type]:
    """The types that an annotation is made of."""
    parts = get_args(annotation)
    if isinstance(annotation, type) and not isinstance(annotation, types.GenericAlias):
        yield annotation
    for part in parts:
        yield from _kinds(part)
