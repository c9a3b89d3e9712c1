"""Reads the formats of an instruction's operands: names, or names with overrides."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from statqat_sim.errors import Problem, SpecError, shown
from statqat_sim.spec.accelerator import Float64, OperandFormat, ShapeKeys
from statqat_sim.spec.encode import EncodePolicy
from statqat_sim.spec.format import Format
from statqat_sim.spec.inherit import Resolve, without
from statqat_sim.spec.integer import IntElement
from statqat_sim.spec.located import UNREADABLE, Document, Located
from statqat_sim.spec.number import NumberFormat
from statqat_sim.spec.parts import is_mapping
from statqat_sim.spec.reader import read_format
from statqat_sim.spec.validate import unknown_keys, validate

INT32: Final = "int32"
"""An accumulator format without a format file."""

FLOAT64: Final = frozenset({"float64", "fp64", "double", "binary64", "f64"})
SHORT: Final[Mapping[str, str]] = {
    "f64": "float64",
    "f32": "float32",
    "f16": "float16",
    "bf16": "bfloat16",
    "e4m3": "float8_e4m3fn",
    "e5m2": "float8_e5m2",
    "s8": "int8",
    "u8": "uint8",
    "s32": "int32",
}
"""Short names of formats within names of instructions, besides the formats' own names and aliases."""

MAX_OPERANDS: Final = 16
OPERANDS: Final = ("a", "b", "c", "d", "shape")
OVERRIDDEN: Final = ("format", "encode")
"""The keys of an operand that is a mapping."""

OF_ONES_OWN: Final = "; a format of your own is a file beside this one"
"""A hint for error messages about operands that describe a format."""


@dataclass(frozen=True, slots=True)
class Operands:
    """Reads operands; problems are appended to `problems`."""

    formats: Resolve
    problems: list[Problem]
    known: dict[str, OperandFormat | None] = field(default_factory=dict)
    """Formats read so far, by name."""

    def read(self, node: Located, name: str) -> dict[str, Any] | None:
        """The `operands` part of the instruction of this name: its formats and its shape."""
        part = node.value.get("operands") or Located({}, node.file, node.line, node.column, (*node.path, "operands"))
        if not is_mapping(part, self.problems):
            return None
        shape = validate(ShapeKeys, without(part, *"abcd"), self.problems, allowed=OPERANDS)
        a = self._several(part, "a") if "a" in part.value else self._by_name(part, name, 1)
        b = self._several(part, "b") if "b" in part.value else a
        d = self._result(part) if "d" in part.value else (self._by_name(part, name, 2) or (None,))[0]
        c = self.operand(part.value["c"]) if "c" in part.value else d
        if shape is None or not a or not b or c is None or d is None:
            return None
        return {"a": a, "b": b, "c": c, "d": d, "shape": shape.shape}

    def _by_name(self, node: Located, name: str, place: int) -> tuple[OperandFormat, ...] | None:
        """The formats given by the instruction's name, `<family>.<a>.<d>`, at this place."""
        words = name.split(".")
        if len(words) != 3:
            key = "ad"[place - 1]
            self.problems.append(node.problem(f"required key {key!r} is missing; allowed: to leave it out where the "
                                              "instruction is called <family>.<a>.<d>"))  # fmt: skip
            return None
        word = SHORT.get(words[place], words[place])
        operand = self._named(Located(word, node.file, node.line, node.column, node.path))
        return None if operand is None else (operand,)

    def _several(self, node: Located, key: str) -> tuple[OperandFormat, ...] | None:
        entry = node.value[key]
        listed = entry.value if isinstance(entry.value, list) else [entry]
        if not 1 <= len(listed) <= MAX_OPERANDS:
            self.problems.append(entry.problem(f"{len(listed)} formats; allowed: 1 to {MAX_OPERANDS}"))
            return None
        operands = [self.operand(each) for each in listed]
        return None if None in operands else tuple(operand for operand in operands if operand is not None)

    def _result(self, part: Located) -> OperandFormat | None:
        """D's format; a policy for encoding it would have no effect."""
        entry = part.value["d"]
        if isinstance(entry.value, dict) and "encode" in entry.value:
            told = "D is no input: 'round' says how it is rounded, 'special' what lies beyond its range"
            self.problems.append(entry.key_problem("encode", f"{told}; allowed: 'encode' of a, b and c"))
            return None
        return self.operand(entry)

    def operand(self, node: Located) -> OperandFormat | None:
        """A format by name, or from a mapping of `format` and overrides."""
        if isinstance(node.value, str):
            return self._named(node)
        if isinstance(node.value, dict) and "format" in node.value:
            return self.overridden(node)
        if node.value is not UNREADABLE:
            got = f"a mapping without 'format'{OF_ONES_OWN}" if isinstance(node.value, dict) else shown(node.value)
            self.problems.append(node.problem(f"expected the name of a format, or {{format, encode}}, got {got}"))
        return None

    def _named(self, node: Located) -> OperandFormat | None:
        if node.value in FLOAT64:
            return Float64()
        if node.value == INT32:
            return _int32()
        if node.value not in self.known:
            self.known[node.value] = None
            self.known[node.value] = self._number(node, lambda: Document(self.formats(node.value), ()))
        return self.known[node.value]

    def overridden(self, node: Located) -> NumberFormat | None:
        """The format that a mapping of `format` and `encode` describes."""
        self.problems.extend(unknown_keys(node, OVERRIDDEN))
        named = node.value["format"]
        if not isinstance(named.value, str):
            hint = OF_ONES_OWN if isinstance(named.value, dict) else ""
            self.problems.append(named.problem(f"expected the name of a format, got {shown(named.value)}{hint}"))
            return None
        entries = {"name": named, "extends": named}
        if "encode" in node.value:
            entries["encode"] = node.value["encode"]
        root = Located(entries, node.file, node.line, node.column, node.path, node.keys)
        return self._number(named, lambda: Document(root, ()))

    def _number(self, node: Located, text: Callable[[], Document]) -> NumberFormat | None:
        """A number format from its text."""
        try:
            format: Format = read_format(text(), self.formats)
        except LookupError as error:
            self.problems.append(node.problem(str(error.args[0])))
            return None
        except SpecError as error:
            self.problems.extend(error.problems)
            return None
        if isinstance(format, NumberFormat):
            return format
        self.problems.append(node.problem(f"{shown(node.value)} is a block format; allowed: a number format"))
        return None


def _int32() -> NumberFormat:
    element = IntElement(kind="int", bits=32)
    return NumberFormat(name=INT32, element=element, encode=EncodePolicy().resolved(element))
