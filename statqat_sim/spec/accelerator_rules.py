"""Problems of instructions whose keys contradict each other."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Final

from statqat_sim.errors import none_of, shown
from statqat_sim.spec.accelerator import (
    Apply,
    Float64,
    GemmPlan,
    Instruction,
    OperandFormat,
    ReduceOrder,
    precision_of,
)
from statqat_sim.spec.accelerator_dot import Beyond, Dot, Enter, Flush, Order, Sum
from statqat_sim.spec.accelerator_idle import idle_problems
from statqat_sim.spec.accelerator_recipe_rules import own_problems
from statqat_sim.spec.base import KeyProblem
from statqat_sim.spec.floating import FloatElement
from statqat_sim.spec.integer import IntElement
from statqat_sim.spec.members import only_powers_of_two
from statqat_sim.spec.number import NumberFormat

ENTERS: Mapping[Sum, tuple[Enter, ...]] = {
    Sum.ALIGNED: (Enter.TERM, Enter.JOIN, Enter.LAST, Enter.NONE),
    Sum.EXACT: (Enter.TERM, Enter.LAST, Enter.NONE),
    Sum.CHAIN: (Enter.FIRST, Enter.LAST, Enter.NONE),
    Sum.PAIRWISE: (Enter.FIRST, Enter.LAST, Enter.NONE),
    Sum.INTEGER: (Enter.TERM, Enter.NONE),
}

NO_IEEE_LAYOUT: Final = (
    "is not laid out as IEEE 754's formats are; allowed: signed floats with the default bias, gradual subnormals, "
    "'nan: ieee' and 'inf: ieee', such as float32, float16, bfloat16"
)


def instruction_problems(instruction: Instruction) -> Iterator[KeyProblem]:
    """The key and message of each problem."""
    yield from _nan_problems(instruction)
    yield from _seed_problems(instruction)
    if instruction.recipe:
        yield from own_problems(instruction)
        yield from _layout_problems(instruction)
        return
    dot = instruction.dot
    if dot is None:
        yield "", "required key 'dot' is missing (or 'recipe')"
        return
    yield from _dot_problems(dot)
    yield from idle_problems(instruction, dot)
    yield from _scale_problems(instruction, dot)
    yield from _operand_problems(instruction, dot)
    yield from _result_problems(instruction, dot)
    size = instruction.k
    if dot.step is not None and size is not None and size > dot.step and size % dot.step:
        yield "dot.step", f"a step of {dot.step} does not divide the instruction's K of {size}"
    if dot.c is Enter.NONE and dot.step is not None and size is not None and size > dot.step:
        yield "dot.step", f"without C no step goes on from the one before; allowed: the instruction's K of {size}"
    if size is not None and dot.step is not None and size < dot.step and not isinstance(dot.order, Order):
        yield "dot.order", f"it has {dot.step} places, and the instruction's K is {size}; allowed: a step of that"


def too_wide(code: int | None, operand: OperandFormat) -> str | None:
    """The problem with a code of this format; None if there is none."""
    if code is None or not code >> operand.bits:
        return None
    return f"{code:#x} has more bits than {operand.name}; allowed: {operand.bits}"


def _nan_problems(instruction: Instruction) -> Iterator[KeyProblem]:
    nan, d = instruction.special.nan, instruction.d
    if told := too_wide(nan, d):
        yield "special.nan", told
    elif nan is not None and (stored := precision_of(d)) is not None:
        inf = (1 << stored.exponent_bits) - 1 << stored.mantissa_bits
        if nan & (1 << d.bits - 1) - 1 <= inf:
            yield (
                "special.nan",
                f"{nan:#x} is no NaN of {d.name}; allowed: {inf + 1:#x} and above, and with the sign bit",
            )


def _seed_problems(instruction: Instruction) -> Iterator[KeyProblem]:
    """Floats that would be encoded with random bits of nobody's choice."""
    told = "rounds stochastically, and a product takes no seed; allowed: 'encode' with another rounding"
    b = () if instruction.b == instruction.a else instruction.b  # told of a, whose formats b has if it is left out
    for key, operands in {"a": instruction.a, "b": b, "c": (instruction.c,)}.items():
        for operand in operands:
            if isinstance(operand, NumberFormat) and operand.encode.rounding.is_stochastic:
                yield f"operands.{key}", f"{operand.name} {told}"
    if instruction.scale is not None and instruction.scale.format.encode.rounding.is_stochastic:
        yield "scale.format", f"{instruction.scale.format.name} {told}"


def _dot_problems(dot: Dot) -> Iterator[KeyProblem]:
    if (dot.sum is Sum.ALIGNED) != (dot.aligned is not None):
        missing = dot.aligned is None
        yield (
            "dot",
            f"'sum: aligned' and 'aligned' go together, and {'that key is missing' if missing else 'sum differs'}",
        )
    if dot.aligned and dot.aligned.round.is_stochastic:
        yield "dot.aligned.round", "stochastic rounding is not for terms; allowed: the others"
    if dot.merge and dot.merge.round.is_stochastic:
        yield "dot.merge.round", "stochastic rounding is not for terms; allowed: the others"
    assert dot.c is not None
    if dot.c not in ENTERS[dot.sum]:
        yield "dot.c", f"{dot.c} does not go with 'sum: {dot.sum}'; allowed: {', '.join(ENTERS[dot.sum])}"
    if (dot.c is Enter.JOIN) != (dot.merge is not None):
        yield "dot", f"'c: join' and 'merge' go together, and {'that is missing' if dot.merge is None else 'c differs'}"
    if dot.split > 1 and dot.sum is not Sum.CHAIN and dot.c is not Enter.JOIN:
        yield "dot.split", "parts go with 'sum: chain', or 'c: join'; allowed here: 1"
    if dot.split > 1 and dot.sum is Sum.CHAIN and dot.c is Enter.FIRST:
        yield "dot.split", "several chains cannot all begin with C; allowed: 'c: last', or 1"
    if dot.sum is Sum.PAIRWISE and dot.step is None:
        yield "dot", "required key 'step' is missing: of how many products the sums of neighbours are"
    yield from _order_problems(dot)


def _order_problems(dot: Dot) -> Iterator[KeyProblem]:
    if isinstance(dot.order, Order):
        return
    if dot.step is None:
        yield "dot.order", "a list of places needs 'step', their number"
    elif sorted(dot.order) != list(range(dot.step)):
        yield "dot.order", f"expected each place of a step of {dot.step} once, got {list(dot.order)}"


def _scale_problems(instruction: Instruction, dot: Dot) -> Iterator[KeyProblem]:
    scale = instruction.scale
    is_grouped = scale is not None and scale.apply is Apply.GROUP
    if is_grouped != (dot.group > 1):
        yield "dot.group", "groups of products are what scales with 'apply: group' multiply; one needs the other"
    if scale is None:
        return
    if dot.sum is not Sum.ALIGNED or dot.c is not Enter.TERM or dot.split > 1:
        yield "scale", "scales go with 'sum: aligned' and 'c: term'"
    if scale.apply is Apply.EXPONENT and not only_powers_of_two(scale.format.element):
        yield "scale.apply", f"{scale.format.name} has other values than powers of two; allowed: group"
    if not isinstance(scale.format.element, FloatElement):
        yield "scale.format", f"{scale.format.name} is of kind {scale.format.element.kind}; allowed: float"
    step = instruction.step
    if dot.step is None or step is None:
        yield "dot", "required key 'step' is missing; it and the block of a scale divide each other"
        return
    if scale.block % step and step % scale.block:
        yield "scale.block", f"a step of {step} and blocks of {scale.block} do not divide each other"
    if is_grouped and (scale.block % dot.group or step % dot.group):
        yield "dot.group", f"groups of {dot.group} do not divide steps of {step} and blocks of {scale.block}"


def _is_integer(operand: OperandFormat) -> bool:
    return not isinstance(operand, Float64) and isinstance(operand.element, IntElement)


def _operand_problems(instruction: Instruction, dot: Dot) -> Iterator[KeyProblem]:
    everything = {"a": instruction.a, "b": instruction.b, "c": (instruction.c,), "d": (instruction.d,)}
    for key, operands in everything.items():
        for operand in operands:
            if _is_integer(operand) != (dot.sum is Sum.INTEGER):
                kinds = ("of kind int", "no integers") if dot.sum is Sum.INTEGER else ("no integers", "of kind int")
                yield (
                    f"operands.{key}",
                    f"{operand.name} does not go with 'sum: {dot.sum}', whose operands are {kinds[0]}",
                )
            elif isinstance(operand, Float64) and dot.sum is not Sum.CHAIN:
                yield f"operands.{key}", f"float64 does not go with 'sum: {dot.sum}'; allowed: chain"
    wide = {isinstance(operand, Float64) for operands in everything.values() for operand in operands}
    if len(wide) > 1:
        yield "operands", "float64 stands with other formats; allowed: for all operands or for none"


def _result_problems(instruction: Instruction, dot: Dot) -> Iterator[KeyProblem]:
    if instruction.mode.is_stochastic:
        yield "round.mode", "stochastic rounding is not for results; allowed: the others"
    wraps = instruction.special.overflow is Beyond.WRAP
    if dot.sum is Sum.INTEGER:
        if instruction.special.overflow is Beyond.INF and "overflow" in instruction.special.model_fields_set:
            yield "special.overflow", "integers have no Inf; allowed: wrap, saturate"
        return
    if wraps:
        yield "special.overflow", "only integers wrap; allowed: inf, saturate"
    yield from _layout_problems(instruction)
    stored = precision_of(instruction.d)
    if stored is not None and not _holds(stored.exponent_bits, stored.mantissa_bits, instruction):
        allowed = f"{stored.exponent_bits} exponent_bits, and up to {stored.mantissa_bits} mantissa_bits"
        yield "round.to", f"{instruction.d.name} does not hold it; allowed: {allowed}"
    is_plain = instruction.mode == "nearest_even" and instruction.special.flush is Flush.NONE and instruction.to is None
    if isinstance(instruction.d, Float64) and not is_plain:
        yield "round", "float64 is rounded to nearest even, and nothing is flushed; allowed: no 'round', no 'flush'"


def _layout_problems(instruction: Instruction) -> Iterator[KeyProblem]:
    """Problems with the format of the accumulator."""
    for key, operand in (("c", instruction.c), ("d", instruction.d)):
        if not _is_integer(operand) and precision_of(operand) is None:
            yield f"operands.{key}", f"{operand.name} {NO_IEEE_LAYOUT}"


def _holds(exponent_bits: int, mantissa_bits: int, instruction: Instruction) -> bool:
    to = instruction.to
    return to is None or (to.exponent_bits == exponent_bits and to.mantissa_bits <= mantissa_bits)


def plan_problems(
    plan: GemmPlan, names: Collection[str], instructions: Mapping[str, Instruction]
) -> Iterator[KeyProblem]:
    """Problems of a file's plan; `names`: those of all of its instructions; `instructions`: those without problems."""
    if plan.instruction is not None and plan.instruction not in names:
        yield "instruction", f"no instruction is named {shown(plan.instruction)}{none_of(plan.instruction, names)}"
    if plan.reduce_order is not ReduceOrder.ASCENDING and plan.split_k == 1:
        yield "reduce_order", "K is not split; allowed: beside 'split_k' above 1"
    meant = {name: each for name, each in instructions.items() if plan.instruction in (None, name)}
    found = {name: [*cut_problems(plan, each), *_run_problems(plan, each)] for name, each in meant.items()}
    if all(found.values()):  # one that takes the plan is enough where it names none
        yield from ((key, f"{name}: {told}") for name, problems in found.items() for key, told in problems)


def cut_problems(plan: GemmPlan, instruction: Instruction) -> Iterator[KeyProblem]:
    """Lengths of a plan that cut a block of an instruction's scales."""
    for key in ("k_slab", "promote_every"):
        length, scale = getattr(plan, key), instruction.scale
        if scale is not None and length is not None and length % scale.block:
            yield key, f"{key} is {length}; allowed: multiples of its blocks of {scale.block}"


def _run_problems(plan: GemmPlan, instruction: Instruction) -> Iterator[KeyProblem]:
    """A length of a plan's runs that is beyond what an instruction takes."""
    key = "k_slab" if plan.promote_every is None else "promote_every"
    most, length = most_products(instruction), getattr(plan, key)
    if most is not None and length is not None and length > most:
        yield key, f"{key} is {length}, and it takes {most} products and no C to go on from; allowed: up to {most}"


def most_products(instruction: Instruction) -> int | None:
    """The longest K that it takes, if the results of its runs cannot be added because it takes no C; None: any."""
    return instruction.k if instruction.dot is not None and instruction.dot.c is Enter.NONE else None
