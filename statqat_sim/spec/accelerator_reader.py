"""Located YAML -> an accelerator: inheritance, strict validation, and every problem of a file at once."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Final, TypeAlias, TypeVar

from pydantic import Field

from statqat_sim.errors import Problem, SpecError, did_you_mean, shown
from statqat_sim.spec.accelerator import (
    AcceleratorSpec,
    Conversion,
    ConversionKeys,
    Evidence,
    Float64,
    GemmPlan,
    Instruction,
    Operand,
    RoundKeys,
    ScaleKeys,
    Scaling,
    ShapeKeys,
)
from statqat_sim.spec.accelerator_dot import DEFAULT_ENTER, Aligned, Dot, DotKeys, Merge, Precision, Special
from statqat_sim.spec.accelerator_recipe import read_recipe, recipe_k
from statqat_sim.spec.accelerator_rules import instruction_problems, plan_problems
from statqat_sim.spec.base import Spec
from statqat_sim.spec.encode import EncodePolicy
from statqat_sim.spec.format import Format
from statqat_sim.spec.inherit import MAX_GENERATIONS, Resolve, without
from statqat_sim.spec.integer import IntElement
from statqat_sim.spec.located import UNREADABLE, Document, Located
from statqat_sim.spec.number import NumberFormat
from statqat_sim.spec.parts import is_mapping, read_part
from statqat_sim.spec.reader import NAME, read_format
from statqat_sim.spec.validate import Validated, placed, validate

INT32: Final = "int32"
"""An accumulator that no format file describes."""

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
"""Names of formats inside the names of instructions, beside the formats' own names and aliases."""

PARTS: Final = ("evidence", "operands", "scale", "dot", "round", "special", "recipe")
MAX_OPERANDS: Final = 16

Parent: TypeAlias = Callable[[str], Document]
"""The text of the accelerator of this name; raises LookupError, or SpecError."""

Part = TypeVar("Part")


class Header(Spec):
    """The descriptive keys of a file."""

    name: str
    aliases: Annotated[tuple[str, ...], Field(strict=False)] = ()
    title: str = ""
    source: str = ""
    extends: str | None = None


TOP_KEYS: Final = (*Header.model_fields, "evidence", "instructions", "conversions", "gemm")
INHERITED: Final = ("source", "evidence", "instructions", "conversions")


def read_accelerator(document: Document, parent: Parent, formats: Resolve) -> AcceleratorSpec:
    """Validate one file's text, with whatever it names.

    Raises:
        SpecError: with every problem found.
    """
    problems = list(document.problems)
    reader = _Reader(parent, formats, problems)
    accelerator = reader.read(document.root)
    if problems or accelerator is None:
        raise SpecError(problems)
    return accelerator


@dataclass(frozen=True, slots=True)
class _Reader:
    """Reads what one file says; every problem goes to `problems`."""

    parent: Parent
    formats: Resolve
    problems: list[Problem]
    known: dict[str, Operand | None] = field(default_factory=dict)
    """Operands by their names."""

    def read(self, own: Located) -> AcceleratorSpec | None:
        if not is_mapping(own, self.problems):
            return None
        node = self._merged(own)
        parts = set(TOP_KEYS) - set(Header.model_fields)
        self._check_names(own)
        header = validate(Header, without(node, *parts), self.problems, allowed=TOP_KEYS)
        evidence = read_part(node, "evidence", Evidence, self.problems) or Evidence()
        namesakes = self._namesakes(own, evidence)
        instructions = self._entries(node, "instructions", lambda each, name: self._instruction(each, name, evidence))
        self._check_recipes(node, instructions, namesakes)
        conversions = self._entries(node, "conversions", lambda each, name: self._conversion(each, name, evidence))
        gemm = read_part(node, "gemm", GemmPlan, self.problems) if "gemm" in node.value else None
        if gemm:
            self.problems.extend(placed(node.value["gemm"], plan_problems(gemm, instructions), own))
        if not instructions and not conversions and not self.problems:
            self.problems.append(own.problem("neither 'instructions' nor 'conversions'; allowed: one of them, or both"))
        if header is None or self.problems:
            return None
        return AcceleratorSpec(
            evidence=evidence,
            instructions=tuple({**namesakes, **instructions}.values()),
            conversions=tuple(conversions.values()),
            gemm=gemm,
            **header.model_dump(exclude={"extends"}),
        )

    def _check_names(self, own: Located) -> None:
        """Names are what people type."""
        for key in ("instructions", "conversions"):
            entries = own.value.get(key)
            names = entries.value if entries is not None and isinstance(entries.value, dict) else {}
            for name in names:
                if not NAME.fullmatch(name):
                    what = f"{shown(name)} is not a plain name; allowed: letters, digits, and . _ + -"
                    self.problems.append(entries.key_problem(name, what))
        named = own.value.get("name")
        if named is not None and isinstance(named.value, str) and not NAME.fullmatch(named.value):
            what = f"{shown(named.value)} is not a plain name; allowed: letters, digits, and . _ + -"
            self.problems.append(named.problem(what))

    # --- inheritance -----------------------------------------------------------------------------------------------

    def _merged(self, own: Located, line: tuple[str, ...] = ()) -> Located:
        """The mapping over that of the file that it extends; instructions are replaced one by one, as a whole."""
        extends = own.value.get("extends")
        if extends is None or not isinstance(extends.value, str):
            return own
        if extends.value in line or len(line) >= MAX_GENERATIONS:
            circle = " -> ".join((*line, extends.value))
            self.problems.append(extends.problem(f"an accelerator cannot extend itself: {circle}"))
            return own
        found = self._text(extends)
        if found is None:
            return own
        node = self._merged(found, (*line, extends.value))
        entries = {key: entry for key, entry in node.value.items() if key in INHERITED and key not in own.value}
        for key, entry in own.value.items():
            both = key in ("instructions", "conversions") and key in node.value
            entries[key] = _over(node.value[key], entry) if both else entry
        return Located(entries, own.file, own.line, own.column, own.path, own.keys)

    def _text(self, named: Located) -> Located | None:
        try:
            root = self.parent(named.value).sound()
        except LookupError as error:
            self.problems.append(named.problem(str(error.args[0])))
            return None
        except SpecError as error:
            self.problems.extend(error.problems)
            return None
        return root if is_mapping(root, self.problems) else None

    def _namesakes(self, own: Located, evidence: Evidence) -> dict[str, Instruction]:
        """What recipes name and the file lacks, as the built-in accelerator of the file's name has it."""
        wanted = _missing_instructions(own)
        named = own.value.get("name")
        if not wanted or named is None or not isinstance(named.value, str):
            return {}
        try:
            root = self.parent(named.value).sound()
        except (LookupError, SpecError):
            return {}
        node = self._merged(root)
        entries = node.value["instructions"].value if "instructions" in node.value else {}
        if root.file == own.file:
            return {}
        found = {name: self._instruction(entries[name], name, evidence) for name in wanted if name in entries}
        return {name: each for name, each in found.items() if each is not None}

    # --- instructions ----------------------------------------------------------------------------------------------

    def _entries(self, node: Located, key: str, read: Callable[[Located, str], Part | None]) -> dict[str, Part]:
        """The sound entries of a mapping of names."""
        entries = node.value.get(key)
        if entries is None or not is_mapping(entries, self.problems):
            return {}
        found = {name: read(entry, name) for name, entry in entries.value.items() if is_mapping(entry, self.problems)}
        return {name: each for name, each in found.items() if each is not None}

    def _instruction(self, node: Located, name: str, inherited: Evidence) -> Instruction | None:
        before = len(self.problems)
        self._refuse_unknown(node, PARTS)
        evidence = self._evidence(node, inherited)
        operands = self._operands(node, name)
        keys: dict[str, Any] = {
            "scale": self._scale(node),
            "dot": self._dot(node),
            "special": read_part(node, "special", Special, self.problems),
            **self._round(node),
        }
        recipe = read_recipe(node, self.problems)
        if len(self.problems) > before or operands is None:
            return None
        instruction = Instruction(name=name, evidence=evidence, recipe=recipe, **operands, **keys)
        found = list(placed(node, instruction_problems(instruction), node))
        self.problems.extend(found)
        return None if found else instruction

    def _refuse_unknown(self, node: Located, allowed: tuple[str, ...]) -> None:
        for key in node.value:
            if key not in allowed:
                told = f"unknown key{did_you_mean(key, allowed)} (allowed: {', '.join(sorted(allowed))})"
                self.problems.append(node.key_problem(key, told))

    def _evidence(self, node: Located, inherited: Evidence) -> Evidence:
        if "evidence" not in node.value:
            return inherited
        return read_part(node, "evidence", Evidence, self.problems) or inherited

    def _operands(self, node: Located, name: str) -> dict[str, Any] | None:
        part = node.value.get("operands") or Located({}, node.file, node.line, node.column, (*node.path, "operands"))
        if not is_mapping(part, self.problems):
            return None
        shape = validate(ShapeKeys, without(part, *"abcd"), self.problems, allowed=("a", "b", "c", "d", "shape"))
        a = self._several(part, "a") if "a" in part.value else self._by_name(part, name, 1)
        b = self._several(part, "b") if "b" in part.value else a
        d = self._one(part, "d") if "d" in part.value else (self._by_name(part, name, 2) or (None,))[0]
        c = self._one(part, "c") if "c" in part.value else d
        if shape is None or not a or not b or c is None or d is None:
            return None
        return {"a": a, "b": b, "c": c, "d": d, "shape": shape.shape}

    def _by_name(self, node: Located, name: str, place: int) -> tuple[Operand, ...] | None:
        """The format that the instruction's name `<family>.<a>.<d>` has at this place."""
        words = name.split(".")
        if len(words) != 3:
            key = "ad"[place - 1]
            self.problems.append(node.problem(f"required key {key!r} is missing; allowed: to leave it out where the "
                                              "instruction is called <family>.<a>.<d>"))  # fmt: skip
            return None
        word = SHORT.get(words[place], words[place])
        operand = self._named(Located(word, node.file, node.line, node.column, node.path))
        return None if operand is None else (operand,)

    def _several(self, node: Located, key: str) -> tuple[Operand, ...] | None:
        entry = node.value[key]
        listed = entry.value if isinstance(entry.value, list) else [entry]
        if not 1 <= len(listed) <= MAX_OPERANDS:
            self.problems.append(entry.problem(f"{len(listed)} formats; allowed: 1 to {MAX_OPERANDS}"))
            return None
        operands = [self._operand(each) for each in listed]
        return None if None in operands else tuple(operand for operand in operands if operand is not None)

    def _one(self, node: Located, key: str) -> Operand | None:
        return self._operand(node.value[key])

    def _operand(self, node: Located) -> Operand | None:
        """A format by its name, or a mapping of `format` with what overrides it."""
        if isinstance(node.value, str):
            return self._named(node)
        if isinstance(node.value, dict) and "format" in node.value:
            return self._overridden(node)
        if node.value is not UNREADABLE:
            told = f"expected the name of a format, or {{format, encode}}, got {shown(node.value)}"
            self.problems.append(node.problem(told))
        return None

    def _named(self, node: Located) -> Operand | None:
        if node.value in FLOAT64:
            return Float64()
        if node.value == INT32:
            return _int32()
        if node.value not in self.known:
            self.known[node.value] = None
            self.known[node.value] = self._number(node, lambda: Document(self.formats(node.value), ()))
        return self.known[node.value]

    def _overridden(self, node: Located) -> NumberFormat | None:
        self._refuse_unknown(node, ("format", "encode"))
        named = node.value["format"]
        if not isinstance(named.value, str):
            self.problems.append(named.problem(f"expected the name of a format, got {shown(named.value)}"))
            return None
        entries = {"name": named, "extends": named}
        if "encode" in node.value:
            entries["encode"] = node.value["encode"]
        root = Located(entries, node.file, node.line, node.column, node.path, node.keys)
        return self._number(named, lambda: Document(root, ()))

    def _number(self, node: Located, text: Callable[[], Document]) -> NumberFormat | None:
        """A number format by its text."""
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

    # --- parts -----------------------------------------------------------------------------------------------------

    def _scale(self, node: Located) -> Scaling | None:
        part = node.value.get("scale")
        if part is None or not is_mapping(part, self.problems):
            return None
        keys = validate(ScaleKeys, without(part, "format"), self.problems, allowed=Scaling.model_fields)
        if "format" not in part.value:
            self.problems.append(part.problem("required key 'format' is missing"))
            return None
        format = self._operand(part.value["format"])
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
        """The part under a key, which may be left out."""
        return read_part(node, key, model, self.problems) if key in node.value else None

    def _round(self, node: Located) -> dict[str, Any]:
        part = node.value.get("round")
        if part is None or not is_mapping(part, self.problems):
            return {}
        keys = validate(RoundKeys, without(part, "to"), self.problems, allowed=("mode", "to"))
        to = self._precision(part) if "to" in part.value else None
        return {} if keys is None else {"mode": keys.mode, "to": to}

    def _precision(self, node: Located) -> Precision | None:
        """Widths, or a format that has some."""
        from statqat_sim.spec.accelerator import precision_of

        entry = node.value["to"]
        if isinstance(entry.value, dict):
            return read_part(node, "to", Precision, self.problems)
        operand = self._operand(entry)
        precision = precision_of(operand) if operand else None
        if operand and precision is None:
            self.problems.append(entry.problem(f"{shown(entry.value)} is not laid out as IEEE 754's formats are"))
        return precision

    def _check_recipes(
        self, node: Located, instructions: Mapping[str, Instruction], namesakes: Mapping[str, Instruction]
    ) -> None:
        """Recipes name instructions that there are, which are no recipes themselves."""
        for name, instruction in instructions.items():
            place = node.value["instructions"].value[name]
            self.problems.extend(placed(place, recipe_k(instruction, {**namesakes, **instructions})[1], place))

    def _conversion(self, node: Located, name: str, inherited: Evidence) -> Conversion | None:
        allowed = ("format", "encode", "nan", "evidence")
        self._refuse_unknown(node, allowed)
        keys = validate(ConversionKeys, without(node, *(set(node.value) - {"nan"})), self.problems)
        evidence = self._evidence(node, inherited)
        if "format" not in node.value:
            self.problems.append(node.problem("required key 'format' is missing"))
            return None
        target = without(node, "nan", "evidence")
        format = self._overridden(Located(target.value, node.file, node.line, node.column, node.path, node.keys))
        if keys is None or format is None:
            return None
        return Conversion(name=name, evidence=evidence, format=format, nan=keys.nan)


def _int32() -> NumberFormat:
    element = IntElement(kind="int", bits=32)
    return NumberFormat(name=INT32, element=element, encode=EncodePolicy().resolved(element))


def _missing_instructions(own: Located) -> list[str]:
    """The instructions that recipes name and the file does not have."""
    entries = own.value.get("instructions")
    if entries is None or not isinstance(entries.value, dict):
        return []
    wanted: list[str] = []
    for entry in entries.value.values():
        recipe = entry.value.get("recipe") if isinstance(entry.value, dict) else None
        steps = recipe.value if recipe is not None and isinstance(recipe.value, list) else []
        named = [step.value.get("instruction") for step in steps if isinstance(step.value, dict)]
        wanted += [each.value for each in named if each is not None and isinstance(each.value, str)]
    return [name for name in dict.fromkeys(wanted) if name not in entries.value and not name.startswith("add.")]


def _over(parent: Located, child: Located) -> Located:
    """Entries of both, the child's first."""
    if not (isinstance(parent.value, dict) and isinstance(child.value, dict)):
        return child
    return Located({**parent.value, **child.value}, child.file, child.line, child.column, child.path, child.keys)
