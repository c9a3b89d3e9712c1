"""Located YAML -> an accelerator: inheritance, strict validation, and every problem of a file at once."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Final, TypeVar

from pydantic import Field

from statqat_sim.errors import Problem, SpecError
from statqat_sim.spec.accelerator import AcceleratorSpec, Evidence, GemmPlan, Instruction
from statqat_sim.spec.accelerator_entries import Entries
from statqat_sim.spec.accelerator_inherit import LISTS, Parent, merged, namesake
from statqat_sim.spec.accelerator_operands import Operands
from statqat_sim.spec.accelerator_recipe_rules import recipe_problems
from statqat_sim.spec.accelerator_rules import plan_problems
from statqat_sim.spec.base import Spec
from statqat_sim.spec.inherit import Resolve, without
from statqat_sim.spec.located import Document, Located
from statqat_sim.spec.parts import is_mapping, read_part
from statqat_sim.spec.reader import misnamed, name_problem
from statqat_sim.spec.validate import placed, validate

Part = TypeVar("Part")


class Header(Spec):
    """The descriptive keys of a file."""

    name: str
    aliases: Annotated[tuple[str, ...], Field(strict=False)] = ()
    title: str = ""
    source: str = ""
    extends: str | None = None


TOP_KEYS: Final = (*Header.model_fields, "evidence", "instructions", "conversions", "gemm")


def read_accelerator(document: Document, parent: Parent, formats: Resolve) -> AcceleratorSpec:
    """Validate one file's text, with all files and formats that it names.

    Raises:
        SpecError: with every problem found.
    """
    problems = list(document.problems)
    reader = _Reader(parent, Entries(Operands(formats, problems), problems), problems)
    accelerator = reader.read(document.root)
    if problems or accelerator is None:
        raise SpecError(problems)
    return accelerator


@dataclass(frozen=True, slots=True)
class _Reader:
    """Reads one file; problems are appended to `problems`."""

    parent: Parent
    entries: Entries
    problems: list[Problem]

    def read(self, own: Located) -> AcceleratorSpec | None:
        if not is_mapping(own, self.problems):
            return None
        node = merged(own, self.parent, self.problems)
        parts = set(TOP_KEYS) - set(Header.model_fields)
        self._check_names(own)
        header = validate(Header, without(node, *parts), self.problems, allowed=TOP_KEYS)
        evidence = read_part(node, "evidence", Evidence, self.problems) or Evidence()
        read = self.entries
        known = self._namesakes(own)
        instructions = self._named(node, "instructions", lambda each, name: read.instruction(each, name, evidence))
        self._check_recipes(node, instructions, known)
        conversions = self._named(node, "conversions", lambda each, name: read.conversion(each, name, evidence))
        gemm = read_part(node, "gemm", GemmPlan, self.problems) if "gemm" in node.value else None
        if gemm:
            self.problems.extend(placed(node.value["gemm"], plan_problems(gemm, _names(node), instructions), own))
        if not instructions and not conversions and not self.problems:
            self.problems.append(own.problem("neither 'instructions' nor 'conversions'; allowed: one of them, or both"))
        if header is None or self.problems:
            return None
        return AcceleratorSpec(
            evidence=evidence,
            instructions=tuple({**known, **instructions}.values()),
            conversions=tuple(conversions.values()),
            gemm=gemm,
            **header.model_dump(exclude={"extends"}),
        )

    def _namesakes(self, own: Located) -> dict[str, Instruction]:
        """Instructions that recipes use and the file lacks, from the built-in accelerator of the file's name."""
        found = namesake(own, self.parent, self.problems)
        if found is None:
            return {}
        evidence = read_part(found, "evidence", Evidence, self.problems) or Evidence()
        return self._named(found, "instructions", lambda each, name: self.entries.instruction(each, name, evidence))

    def _named(self, node: Located, key: str, read: Callable[[Located, str], Part | None]) -> dict[str, Part]:
        """The valid entries of a mapping of names."""
        entries = node.value.get(key)
        if entries is None or not is_mapping(entries, self.problems):
            return {}
        found = {name: read(entry, name) for name, entry in entries.value.items() if is_mapping(entry, self.problems)}
        return {name: each for name, each in found.items() if each is not None}

    def _check_names(self, own: Located) -> None:
        """Check that the names are words that people can type."""
        self.problems.extend(misnamed(own))
        for entries in (own.value[key] for key in LISTS if key in own.value):
            names = entries.value if isinstance(entries.value, dict) else {}
            self.problems.extend(entries.key_problem(name, told) for name in names if (told := name_problem(name)))

    def _check_recipes(
        self, node: Located, instructions: Mapping[str, Instruction], namesakes: Mapping[str, Instruction]
    ) -> None:
        """Check recipes against the instructions that they use; nothing follows from instructions with problems."""
        known = {**namesakes, **instructions}
        faulty = set(_names(node)) - instructions.keys()
        for name, instruction in instructions.items():
            if not instruction.recipe or any(step.instruction in faulty for step in instruction.recipe):
                continue
            place = node.value["instructions"].value[name]
            self.problems.extend(placed(place, recipe_problems(instruction, known), place))


def _names(node: Located) -> tuple[str, ...]:
    """The names of a file's instructions, of those with problems, too."""
    listed = node.value.get("instructions")
    return tuple(listed.value) if listed is not None and isinstance(listed.value, dict) else ()
