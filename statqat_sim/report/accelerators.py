"""Tables of accelerators, and of one accelerator's instructions and conversions."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from rich.table import Table

from statqat_sim.report.table import table_of
from statqat_sim.spec.accelerator import AcceleratorSpec, Add, Instruction
from statqat_sim.spec.accelerator_dot import Dot

COLUMNS = ("name", "evidence", "instructions", "conversions", "title")
INSTRUCTION_COLUMNS = ("instruction", "evidence", "A", "B", "C", "D", "K", "arithmetic")


def item(spec: AcceleratorSpec) -> dict[str, Any]:
    """All facts of an accelerator, for JSON."""
    facts: dict[str, Any] = spec.model_dump(mode="json", include={"name", "aliases", "title", "source", "evidence"})
    facts["instructions"] = [_instruction_item(each) for each in spec.instructions]
    conversions = [
        {"name": each.name, "format": each.format.name, "evidence": each.evidence.status.value}
        for each in spec.conversions
    ]
    return facts | {"conversions": conversions}


def _instruction_item(instruction: Instruction) -> dict[str, Any]:
    facts = dict(zip(INSTRUCTION_COLUMNS, instruction_cells(instruction), strict=True))
    return {key.lower(): text for key, text in facts.items()} | {"source": instruction.evidence.source}


def accelerator_table(specs: Iterable[AcceleratorSpec]) -> Table:
    """One row for each accelerator."""
    rows = ((s.name, s.evidence.status, str(len(s.instructions)), str(len(s.conversions)), s.title) for s in specs)
    return table_of(COLUMNS, rows)


def instruction_table(spec: AcceleratorSpec) -> Table:
    """One row for each instruction."""
    return table_of(INSTRUCTION_COLUMNS, map(instruction_cells, spec.instructions))


def conversion_table(spec: AcceleratorSpec) -> Table:
    """One row for each conversion."""
    rows = ((each.name, each.evidence.status, each.format.name) for each in spec.conversions)
    return table_of(("conversion", "evidence", "to"), rows)


def instruction_cells(instruction: Instruction) -> tuple[str, ...]:
    """An instruction's cells, in the order of `INSTRUCTION_COLUMNS`."""
    operands = [", ".join(each.name for each in side) for side in (instruction.a, instruction.b)]
    size = "" if instruction.k is None else str(instruction.k)
    names = instruction.c.name, instruction.d.name
    return (instruction.name, instruction.evidence.status, *operands, *names, size, arithmetic(instruction))


def arithmetic(instruction: Instruction) -> str:
    """How an instruction sums, in a few words."""
    if instruction.dot is None:
        return " + ".join("C" if isinstance(step, Add) else step.instruction for step in instruction.recipe)
    words = [*_sum_words(instruction.dot), instruction.mode.replace("_", " ")]
    if instruction.to:
        words.append(f"to E{instruction.to.exponent_bits}M{instruction.to.mantissa_bits}")
    if instruction.scale:
        words.append(f"{instruction.scale.format.name} scales of {instruction.scale.block}")
    return ", ".join(words)


def _sum_words(dot: Dot) -> Iterator[str]:
    many = "all products" if dot.step is None else f"{dot.step} products"
    yield f"{dot.sum}: {many}"
    if dot.aligned:
        yield f"F = {dot.aligned.fraction_bits}"
        yield f"zeros at 2^{dot.aligned.zero_exponent}" if dot.aligned.zero_exponent != "lowest" else "zeros at nothing"
    if dot.split > 1:
        yield f"{dot.split} parts"
    yield f"C {dot.c}"
