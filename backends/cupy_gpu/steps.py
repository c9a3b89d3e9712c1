"""Prints a plan's steps as C, one statement each."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from functools import lru_cache
from typing import Final

from statqat_sim.backends.cupy_gpu.bodies import block
from statqat_sim.plan.layout import INFINITY
from statqat_sim.plan.program import CodecPlan, PlanShape
from statqat_sim.plan.ranges import ranges
from statqat_sim.plan.step import Op, Step

PATTERNS: Final = {
    Op.ADD: "{} + {}",
    Op.SUB: "{} - {}",
    Op.MUL: "{} * {}",
    Op.MULHI: "__umulhi({}, {})",
    Op.AND: "{} & {}",
    Op.OR: "{} | {}",
    Op.XOR: "{} ^ {}",
    Op.SHL: "{} << {}",
    Op.SHR: "{} >> {}",
    Op.MIN: "min({}, {})",
    Op.MAX: "max({}, {})",
    Op.EQ: "{} == {}",
    Op.LT: "{} < {}",
    Op.SELECT: "{} ? {} : {}",
}
FLOATS: Final = {Op.FADD: "add", Op.FSUB: "sub", Op.FMUL: "mul", Op.FDIV: "div"}


def statements(
    shape: PlanShape,
    streams: Sequence[tuple[str, str]],
    prefix: str,
    params: Sequence[str],
    tables: Sequence[str],
    numbers: Collection[int] = (),
    has_nan: str | None = None,
) -> tuple[list[str], tuple[str, ...]]:
    """A plan in C: its statements, and the expressions of its outputs.

    Args:
        shape: the steps to print.
        streams: C expressions of the low and the high word of each stream; the high word of a narrow stream is unused.
        prefix: start of the variables' names.
        params: C expressions of the plan's parameters.
        tables: C expressions of pointers to const u32.
        numbers: float operations that never give NaN; see `never_nan`.
        has_nan: a C variable that is set if another operation gives NaN, in which case the outputs are invalid. None:
            operations give the right NaN themselves.
    """
    lines: list[str] = []
    results: list[str] = []
    for index, step in enumerate(shape.steps):
        args = [results[arg] for arg in step.args]
        if step.op in FLOATS:
            text = _float_operation(FLOATS[step.op], args, index in numbers, has_nan)
        else:
            text = _expression(step, args, streams, params, tables)
        if step.op in (Op.CONST, Op.PARAM):
            results.append(text)
        else:
            results.append(f"{prefix}{index}")
            lines.append(f"const u32 {prefix}{index} = {text};")
    return lines, tuple(results[output] for output in shape.outputs)


def _float_operation(name: str, args: Sequence[str], is_number: bool, has_nan: str | None) -> str:
    if is_number:
        return f"number_{name}({', '.join(args)})"
    return f"word_{name}({', '.join(args)})" if has_nan is None else f"noted_{name}({', '.join([*args, has_nan])})"


def without_nan(has_nan: str, print_lines: Callable[[str | None], Iterable[str]]) -> list[str]:
    """Fast statements that assume that no operation gives NaN, followed by correct ones that run if one did.

    Args:
        has_nan: name of the C variable that the fast statements set.
        print_lines: called with `has_nan` for the fast statements and with None for the correct ones. Both assign the
            same results, and neither reads them.
    """
    lines = list(print_lines(has_nan))
    if not any(has_nan in line for line in lines):
        return lines
    otherwise = block(f"if (__builtin_expect({has_nan}, false))", print_lines(None))
    return block("", [f"bool {has_nan} = false;", *lines, *otherwise])


@lru_cache(maxsize=1024)
def never_nan(plan: CodecPlan) -> frozenset[int]:
    """Indices of a plan's float operations that cannot give NaN, as bounds of their operands prove."""
    proven = ranges(plan)
    return frozenset(
        index
        for index, step in enumerate(plan.shape.steps)
        if step.op in FLOATS and _gives_number(step.op, [proven[arg].high for arg in step.args])
    )


def _gives_number(op: Op, largest: Sequence[int]) -> bool:
    """Whether the operation never gives NaN on nonnegative operands up to these words; a quotient always may."""
    match op:
        case Op.FADD:
            return max(largest) <= INFINITY
        case Op.FSUB:
            return max(largest) <= INFINITY and min(largest) < INFINITY
        case Op.FMUL:
            return max(largest) < INFINITY
    return False


def _expression(
    step: Step,
    args: Sequence[str],
    streams: Sequence[tuple[str, str]],
    params: Sequence[str],
    tables: Sequence[str],
) -> str:
    match step.op:
        case Op.INPUT:
            return streams[step.value][0]
        case Op.INPUT_HIGH:
            return streams[step.value][1]
        case Op.CONST:
            return f"{step.value:#x}u"
        case Op.PARAM:
            return params[step.value]
        case Op.TABLE:
            return f"__ldg({tables[step.value]} + {args[0]})"
        case _:
            return PATTERNS[step.op].format(*args)
