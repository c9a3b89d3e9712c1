"""`recipe`: an instruction that the compiler makes of others."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Final

from pydantic import Field

from statqat_sim.errors import Problem, did_you_mean, shown
from statqat_sim.spec.accelerator import Add, Fused, Instruction, Recipe, Selection, Start
from statqat_sim.spec.base import KeyProblem, Spec, Worded
from statqat_sim.spec.located import UNREADABLE, Located
from statqat_sim.spec.parts import is_mapping
from statqat_sim.spec.validate import validate

MAX_STEPS: Final = 64
ADD: Final = "add."
"""How the names of additions begin; the format that they are in follows."""

SELECTION: Final = re.compile(r"k % (\d+) (?:in \((\d+(?:, \d+)*),?\)|== (\d+))")


class FusedKeys(Spec):
    """A step that is another instruction."""

    instruction: str
    k: str | None = Field(None, examples=["k % 4 in (0, 1)"])
    c: Worded[Start] = Start.PREVIOUS


class AddKeys(Spec):
    """A step that adds."""

    instruction: str
    with_: Annotated[str, Field(alias="with")] = "c"


def read_recipe(node: Located, problems: list[Problem]) -> Recipe:
    """The steps under `recipe`; those that are sound."""
    part = node.value.get("recipe")
    if part is None or part.value is UNREADABLE:
        return ()
    if not isinstance(part.value, list) or not 1 <= len(part.value) <= MAX_STEPS:
        problems.append(part.problem(f"expected a list of 1 to {MAX_STEPS} mappings, got {shown(part.value)}"))
        return ()
    steps = [_step(each, problems) for each in part.value]
    return tuple(step for step in steps if step is not None)


def _step(node: Located, problems: list[Problem]) -> Fused | Add | None:
    if not is_mapping(node, problems):
        return None
    named = node.value.get("instruction")
    if named is not None and isinstance(named.value, str) and named.value.startswith(ADD):
        return _add(node, problems)
    keys = validate(FusedKeys, node, problems)
    if keys is None:
        return None
    if keys.k is None:
        return Fused(instruction=keys.instruction, c=keys.c)
    selection = _selection(node.value["k"], problems)
    return None if selection is None else Fused(instruction=keys.instruction, k=selection, c=keys.c)


def _add(node: Located, problems: list[Problem]) -> Add | None:
    for key, entry in node.value.items():
        if key not in ("instruction", "with"):
            hint = did_you_mean(key, ("instruction", "with"))
            problems.append(node.key_problem(key, f"unknown key{hint} (allowed: instruction, with)"))
            return None
        if key == "with" and entry.value != "c":
            problems.append(entry.problem(f"expected c, got {shown(entry.value)}"))
            return None
    return Add(instruction=node.value["instruction"].value)


def _selection(node: Located, problems: list[Problem]) -> Selection | None:
    found = SELECTION.fullmatch(node.value)
    modulus = int(found[1]) if found else 0
    residues = tuple(int(each) for each in (found[2] or found[3]).split(", ")) if found else ()
    if not modulus or len(set(residues)) < len(residues) or any(each >= modulus for each in residues):
        problems.append(node.problem(f"expected a choice like 'k % 4 in (0, 1)', got {shown(node.value)}"))
        return None
    return Selection(modulus=modulus, residues=tuple(sorted(residues)))


def recipe_k(instruction: Instruction, known: Mapping[str, Instruction]) -> tuple[int | None, list[KeyProblem]]:
    """How many products one run of a recipe takes, and what is wrong with its steps."""
    found: list[KeyProblem] = []
    sizes: set[int] = set()
    for index, step in enumerate(instruction.recipe):
        place = f"recipe.{index}.instruction"
        if isinstance(step, Add):
            continue
        named = known.get(step.instruction)
        if named is None:
            hint = did_you_mean(step.instruction, known)
            found.append(
                (place, f"no instruction is named {shown(step.instruction)}{hint}; allowed: {', '.join(known)}")
            )
        elif named.recipe:
            found.append((place, f"{step.instruction} is a recipe itself; allowed: an instruction with 'dot'"))
        elif named.k is not None:
            share = (step.k.modulus, len(step.k.residues)) if step.k else (1, 1)
            sizes.add(named.k * share[0] // share[1])
    size = instruction.k or (max(sizes) if sizes else None)
    return size, found
