"""Problems of recipes: with their own keys, and with the instructions that they use."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from statqat_sim.errors import none_of, shown
from statqat_sim.spec.accelerator import Add, Float64, Fused, Instruction, OperandFormat, Recipe, Start
from statqat_sim.spec.accelerator_dot import Enter
from statqat_sim.spec.accelerator_operands import SHORT
from statqat_sim.spec.accelerator_recipe import ADD, recipe_k
from statqat_sim.spec.base import KeyProblem
from statqat_sim.spec.members import includes


def own_problems(instruction: Instruction) -> Iterator[KeyProblem]:
    """Keys that belong to a recipe's instructions, not to the recipe."""
    told = "does not go with 'recipe', whose instructions have their own"
    said = instruction.model_fields_set
    written = {"dot": instruction.dot, "scale": instruction.scale, "round": said & {"mode", "to"} or None}
    for key, part in written.items():
        if part is not None:
            yield key, f"{key!r} {told}"
    for key in sorted(instruction.special.model_fields_set - {"nan"}):
        yield f"special.{key}", f"{key!r} {told}; allowed: nan"


def recipe_problems(instruction: Instruction, known: Mapping[str, Instruction]) -> Iterator[KeyProblem]:
    """Problems of a recipe's steps; `known`: the instructions that they may name."""
    if missing := [*_missing(instruction.recipe, known)]:
        yield from missing
        return
    yield from _of_steps(instruction, known)
    yield from _of_c(instruction.recipe)
    yield from recipe_k(instruction, known)[1]


def _missing(recipe: Recipe, known: Mapping[str, Instruction]) -> Iterator[KeyProblem]:
    """Steps that name an unknown instruction, or another recipe."""
    for index, step in enumerate(recipe):
        place, name = f"recipe.{index}.instruction", step.instruction
        if isinstance(step, Add):
            continue
        if name not in known:
            yield place, f"no instruction is named {shown(name)}{none_of(name, known)}"
        elif known[name].recipe:
            yield place, f"{name} is a recipe itself; allowed: an instruction with 'dot'"


def _of_steps(instruction: Instruction, known: Mapping[str, Instruction]) -> Iterator[KeyProblem]:
    """Problems of each step, given the format of the result so far."""
    result: OperandFormat | None = None
    for index, step in enumerate(instruction.recipe):
        if isinstance(step, Add):
            found, result = _of_addition(step, instruction), instruction.d
        else:
            named = known[step.instruction]
            found, result = _of_step(step, named, instruction, result), named.d
        yield from ((f"recipe.{index}.{key}", told) for key, told in found)


def _of_addition(step: Add, instruction: Instruction) -> Iterator[KeyProblem]:
    """Additions must be named after D, to which they round once."""
    c, d = instruction.c, instruction.d
    names = [*(short for short, name in SHORT.items() if name == d.name), d.name, *getattr(d, "aliases", ())]
    if step.instruction.removeprefix(ADD) not in names:
        yield "instruction", f"{shown(step.instruction)} does not give D, {d.name}; allowed: {ADD}{names[0]}"
    if not _holds(d, c):
        yield "instruction", f"{d.name} does not hold C, {c.name}; allowed: a D that does"


def _of_step(step: Fused, named: Instruction, whole: Instruction, before: OperandFormat | None) -> Iterator[KeyProblem]:
    """A step must not round its inputs or result; `before`: the format of the result so far, None for zeros."""
    if named.scale is not None:
        yield "instruction", f"{named.name} has block scales, and recipes have none; allowed: one without 'scale'"
    operands = [("A", named.a, each) for each in whole.a] + [("B", named.b, each) for each in whole.b]
    for what, inner, outer in operands:
        if not _takes(inner, outer):
            told = f"{what} of {named.name} is {inner[0].name}, which does not hold {outer.name} of the recipe"
            yield "instruction", f"{told}; allowed: one that does"
    if not _holds(whole.d, named.d):
        told = f"D of {named.name} is {named.d.name}, which {whole.d.name} of the recipe does not hold"
        yield "instruction", f"{told}; allowed: one that it holds"
    starts = {Start.ZERO: (), Start.PREVIOUS: () if before is None else (before,), Start.GIVEN: (whole.c, whole.d)}
    yield from _of_start(step, named, starts[step.c])


def _of_start(step: Fused, named: Instruction, starts: Sequence[OperandFormat]) -> Iterator[KeyProblem]:
    """Problems with what a step accumulates on; `starts`: the formats that its instruction accumulates on."""
    if named.dot is not None and named.dot.c is Enter.NONE and step.c is not Start.ZERO:
        yield "c", f"{named.name} takes no C; allowed: zero"
    for start in dict.fromkeys(starts):
        if not any(_holds(each, start) for each in (named.c, named.d)):
            told = f"{named.name} accumulates on {named.c.name}, which does not hold {start.name}"
            yield "c", f"{told}; allowed: an instruction whose C or D does"


def _of_c(recipe: Recipe) -> Iterator[KeyProblem]:
    """Every result must be used by the next step, and C must enter once."""
    for index, step in enumerate(recipe):
        if index and isinstance(step, Fused) and step.c is not Start.PREVIOUS:
            yield f"recipe.{index}.c", f"{step.c} drops the result of the step before; allowed: previous"
    times = sum(isinstance(step, Add) or step.c is Start.GIVEN for step in recipe)
    if times != 1:
        yield "recipe", f"C enters {times} times; allowed: once, in the first step by 'c: given' or in an addition"


def _takes(operands: Sequence[OperandFormat], other: OperandFormat) -> bool:
    """Whether one of the operands is the same format, or the first has all its values."""
    is_one = not isinstance(other, Float64) and other.element in [
        each.element for each in operands if not isinstance(each, Float64)
    ]
    return is_one or _holds(operands[0], other)


def _holds(operand: OperandFormat, other: OperandFormat) -> bool:
    """Whether an operand has every value of the other."""
    if isinstance(operand, Float64) or isinstance(other, Float64):
        return isinstance(operand, Float64)
    return includes(operand.element, other.element)
