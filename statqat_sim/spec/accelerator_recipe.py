"""`recipe`: an instruction that a compiler composes from others."""

from __future__ import annotations

import re
from collections.abc import Mapping
from math import gcd
from typing import Annotated, Final

from pydantic import Field

from statqat_sim.errors import Problem, shown
from statqat_sim.spec.accelerator import Add, Fused, Instruction, Recipe, Selection, Start
from statqat_sim.spec.accelerator_dot import MAX_STEP, Enter
from statqat_sim.spec.base import KeyProblem, Spec, Worded
from statqat_sim.spec.located import UNREADABLE, Located
from statqat_sim.spec.parts import is_mapping
from statqat_sim.spec.validate import unknown_keys, validate

MAX_STEPS: Final = 64
ADD: Final = "add."
"""The prefix of the names of additions; their format follows."""

ADDITION: Final = ("instruction", "with")
"""The keys of an addition."""

SELECTION: Final = re.compile(r"k % (\d{1,9}) (?:in \((\d{1,9}(?:, \d{1,9})*),?\)|== (\d{1,9}))")


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
    """The valid steps under `recipe`."""
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


def _add(node: Located, problems: list[Problem]) -> Add:
    problems.extend(unknown_keys(node, ADDITION))
    added = node.value.get("with")
    if added is not None and added.value not in ("c", UNREADABLE):
        problems.append(added.problem(f"expected c, got {shown(added.value)}"))
    return Add(instruction=node.value["instruction"].value)


def _selection(node: Located, problems: list[Problem]) -> Selection | None:
    found = SELECTION.fullmatch(node.value)
    modulus = int(found[1]) if found else 0
    residues = tuple(int(each) for each in (found[2] or found[3]).split(", ")) if found else ()
    if not modulus or len(set(residues)) < len(residues) or any(each >= modulus for each in residues):
        problems.append(node.problem(f"expected a choice like 'k % 4 in (0, 1)', got {shown(node.value)}"))
        return None
    if modulus > MAX_STEP:
        problems.append(node.problem(f"k % {modulus}; allowed: up to {MAX_STEP}"))
        return None
    return Selection(modulus=modulus, residues=tuple(sorted(residues)))


def recipe_k(instruction: Instruction, known: Mapping[str, Instruction]) -> tuple[int | None, list[KeyProblem]]:
    """The number of products of one run (None: any number), and problems of the recipe's steps with it.

    `known`: the instructions that recipes may use.
    """
    if not instruction.recipe:
        return instruction.k, []
    fused = {index: step for index, step in enumerate(instruction.recipe) if isinstance(step, Fused)}
    sizes = {index: step_k(step, known[step.instruction]) for index, step in fused.items()}
    told_by = [sizes[index] for index, step in fused.items() if known[step.instruction].k]
    size = instruction.k or max(told_by, default=None)
    if size is None:
        return None, [("recipe", "no step says how many products it takes; required key 'operands.shape' is missing")]
    told = f"products at a time, and the recipe {size}; allowed: what divides that"
    problems = [(f"recipe.{index}", f"it takes {each} {told}") for index, each in sizes.items() if size % each]
    for index, step in fused.items():
        named = known[step.instruction]
        count = size if step.k is None else size * len(step.k.residues) // step.k.modulus
        if named.dot is not None and named.dot.c is Enter.NONE and named.k is not None and count > named.k:
            told = f"{named.name} takes {named.k} products and no C to go on from, and here {count}"
            problems.append((f"recipe.{index}", f"{told}; allowed: {named.k}"))
    return size, problems


def step_k(step: Fused, named: Instruction) -> int:
    """The number of products from which a step selects those of one run of its instruction."""
    if step.k is None:
        return named.k or 1
    chosen = len(step.k.residues)
    size = named.k or chosen
    return step.k.modulus * size // gcd(size, chosen)
