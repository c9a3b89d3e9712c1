"""Reads one instruction or conversion of an accelerator's text: validates its parts, and their combination."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from statqat_sim.errors import Problem, shown
from statqat_sim.spec.accelerator import (
    Conversion,
    ConversionKeys,
    Evidence,
    Float64,
    Instruction,
    RoundKeys,
    ScaleKeys,
    Scaling,
    precision_of,
)
from statqat_sim.spec.accelerator_dot import DEFAULT_ENTER, Aligned, Dot, DotKeys, Merge, Precision, Special
from statqat_sim.spec.accelerator_operands import OVERRIDDEN, Operands
from statqat_sim.spec.accelerator_recipe import read_recipe
from statqat_sim.spec.accelerator_rules import NO_IEEE_LAYOUT, instruction_problems, too_wide
from statqat_sim.spec.inherit import without
from statqat_sim.spec.located import Located
from statqat_sim.spec.parts import is_mapping, read_part
from statqat_sim.spec.validate import Validated, placed, unknown_keys, validate

PARTS: Final = ("evidence", "operands", "scale", "dot", "round", "special", "recipe")
"""The keys of an instruction."""

CONVERSION: Final = ("format", "encode", "nan", "evidence")
"""The keys of a conversion."""


@dataclass(frozen=True, slots=True)
class Entries:
    """Reads entries; problems are appended to `problems`."""

    operands: Operands
    problems: list[Problem]

    def instruction(self, node: Located, name: str, inherited: Evidence) -> Instruction | None:
        """The instruction of this name; `inherited`: the file's evidence, used if the instruction has none."""
        before = len(self.problems)
        self.problems.extend(unknown_keys(node, PARTS))
        evidence = self._evidence(node, inherited)
        operands = self.operands.read(node, name)
        keys: dict[str, Any] = {
            "scale": self._scale(node),
            "dot": self._dot(node),
            "special": read_part(node, "special", Special, self.problems),
            **self._round(node),
        }
        recipe = read_recipe(node, self.problems)
        if len(self.problems) > before or operands is None or keys["special"] is None:
            return None
        instruction = Instruction(name=name, evidence=evidence, recipe=recipe, **operands, **keys)
        found = list(placed(node, instruction_problems(instruction), node))
        self.problems.extend(found)
        return None if found else instruction

    def conversion(self, node: Located, name: str, inherited: Evidence) -> Conversion | None:
        """The conversion of this name, likewise."""
        self.problems.extend(unknown_keys(node, CONVERSION))
        keys = validate(ConversionKeys, without(node, *(set(node.value) - {"nan"})), self.problems)
        evidence = self._evidence(node, inherited)
        if "format" not in node.value:
            self.problems.append(node.problem("required key 'format' is missing"))
            return None
        target = without(node, *(set(node.value) - set(OVERRIDDEN)))
        format = self.operands.overridden(
            Located(target.value, node.file, node.line, node.column, node.path, node.keys)
        )
        if keys is None or format is None:
            return None
        if told := too_wide(keys.nan, format):
            self.problems.append(node.value["nan"].problem(told))
        return Conversion(name=name, evidence=evidence, format=format, nan=keys.nan)

    def _evidence(self, node: Located, inherited: Evidence) -> Evidence:
        if "evidence" not in node.value:
            return inherited
        return read_part(node, "evidence", Evidence, self.problems) or inherited

    def _scale(self, node: Located) -> Scaling | None:
        part = node.value.get("scale")
        if part is None or not is_mapping(part, self.problems):
            return None
        keys = validate(ScaleKeys, without(part, "format"), self.problems, allowed=Scaling.model_fields)
        if "format" not in part.value:
            self.problems.append(part.problem("required key 'format' is missing"))
            return None
        format = self.operands.operand(part.value["format"])
        if isinstance(format, Float64):
            self.problems.append(
                part.value["format"].problem("float64 is no format of scales; allowed: a number format")
            )
            return None
        return None if keys is None or format is None else Scaling(format=format, **dict(keys))

    def _dot(self, node: Located) -> Dot | None:
        part = node.value.get("dot")
        if part is None or not is_mapping(part, self.problems):
            return None
        keys = validate(DotKeys, without(part, "aligned", "merge"), self.problems, allowed=Dot.model_fields)
        aligned = self._nested(part, "aligned", Aligned)
        merge = self._nested(part, "merge", Merge)
        if keys is None:
            return None
        entries = dict(keys) | {"c": keys.c or DEFAULT_ENTER[keys.sum]}
        return Dot(aligned=aligned, merge=merge, **entries)

    def _nested(self, node: Located, key: str, model: type[Validated]) -> Validated | None:
        """The part under a key; None if it is missing or wrong."""
        return read_part(node, key, model, self.problems) if key in node.value else None

    def _round(self, node: Located) -> dict[str, Any]:
        part = node.value.get("round")
        if part is None or not is_mapping(part, self.problems):
            return {}
        keys = validate(RoundKeys, without(part, "to"), self.problems, allowed=("mode", "to"))
        to = self._precision(part) if "to" in part.value else None
        return {} if keys is None else {"mode": keys.mode, "to": to}

    def _precision(self, node: Located) -> Precision | None:
        """A precision given by widths, or by a format."""
        entry = node.value["to"]
        if isinstance(entry.value, dict):
            return read_part(node, "to", Precision, self.problems)
        operand = self.operands.operand(entry)
        precision = precision_of(operand) if operand else None
        if operand and precision is None:
            self.problems.append(entry.problem(f"{shown(entry.value)} {NO_IEEE_LAYOUT}"))
        return precision
