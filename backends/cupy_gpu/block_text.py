"""What the kernels of block formats share: how they are declared, and how a plan's numbers reach them."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Sequence
from typing import Final, NamedTuple

import numpy as np

from statqat_sim.backends.cupy_gpu.bodies import block, indented
from statqat_sim.backends.cupy_gpu.kernel_text import KernelText
from statqat_sim.backends.cupy_gpu.launcher import Argument
from statqat_sim.backends.cupy_gpu.steps import statements
from statqat_sim.plan.program import Packed, PlanShape, Storage

WORDS: Final = {8: "u8", 16: "u16", 32: "u32", 64: "u64"}
"""Unsigned C types by their bits."""

FIRST_THREAD: Final = "blockIdx.x * (u64)blockDim.x + threadIdx.x"
ALL_THREADS: Final = "(u64)gridDim.x * blockDim.x"


class Printed(NamedTuple):
    """A kernel, and its arguments, in order."""

    text: KernelText
    takes: tuple[tuple[str, type[Argument] | None], ...]
    """Names, and what kinds of numbers they are; None: addresses."""


class Signature:
    """The arguments of a kernel that is being printed."""

    def __init__(self) -> None:
        self._declared: dict[str, str] = {}

    def number(self, name: str, kind: str = "u64") -> str:
        """A number; gives its name."""
        self._declared[name] = f"{kind} {name}"
        return name

    def source(self, name: str, kind: str) -> str:
        """An array that is read."""
        self._declared[name] = f"const {kind} *{name}"
        return name

    def target(self, name: str, kind: str) -> str:
        """An array that is written."""
        self._declared[name] = f"{kind} *{name}"
        return name

    def printed(self, name: str, lines: Iterable[str], *, cooperative: bool = False, functions: str = "") -> Printed:
        text = KernelText(name, tuple(self._declared.values()), "\n".join(indented(lines)), cooperative, functions)
        return Printed(text, tuple((name, _kind(declared)) for name, declared in self._declared.items()))


def _kind(declared: str) -> type[Argument] | None:
    if "*" in declared:
        return None
    return np.uint32 if declared.startswith("u32") else np.uint64


class Numbers(NamedTuple):
    """C expressions of a plan's own numbers."""

    params: tuple[str, ...]
    tables: tuple[str, ...]

    @classmethod
    def declared(cls, signature: Signature, place: int, shape: PlanShape) -> Numbers:
        """Those of the plan at a place among the kernel's plans, as arguments."""
        params = [signature.number(param_name(place, index), "u32") for index in range(len(shape.params))]
        return cls(tuple(params), cls.declared_tables(signature, place, shape))

    @staticmethod
    def declared_tables(signature: Signature, place: int, shape: PlanShape) -> tuple[str, ...]:
        return tuple(signature.source(table_name(place, index), "u32") for index in range(len(shape.tables)))


def param_name(place: int, index: int) -> str:
    """The argument that is a parameter of a kernel's plan at a place."""
    return f"p{place}_{index}"


def table_name(place: int, index: int) -> str:
    """The argument that is a table of a kernel's plan at a place."""
    return f"t{place}_{index}"


def c_type(storage: Storage | Packed) -> str:
    """The unsigned C type of an array's elements; dense codes are bytes."""
    return WORDS[storage.bits] if isinstance(storage, Storage) else "u8"


def printed_plan(
    shape: PlanShape,
    words: Sequence[str],
    prefix: str,
    numbers: Numbers,
    outputs: Collection[int] | None = None,
    proven: Collection[int] = (),
    has_nan: str | None = None,
) -> tuple[list[str], list[str]]:
    """A plan's statements, as far as those outputs need them, and the outputs' expressions.

    Args:
        shape: what is printed.
        words: C expressions of its streams.
        prefix: of its variables' names.
        numbers: the plan's own.
        outputs: which ones; None: all.
        proven: operations that never give NaN; see `steps.never_nan`.
        has_nan: see `steps.statements`.
    """
    streams = [(word, "0") for word in words]
    lines, results = statements(shape, streams, prefix, numbers.params, numbers.tables, proven, has_nan)
    wanted = [result for place, result in enumerate(results) if outputs is None or place in outputs]
    return _needed(lines, wanted), wanted


def _needed(lines: Sequence[str], results: Iterable[str]) -> list[str]:
    """The statements that results depend on: each begins with "const u32 name"."""
    read, kept = _names(results), []
    for line in reversed(lines):
        if line.split()[2] in read:
            read |= _names([line])
            kept.append(line)
    return kept[::-1]


def _names(texts: Iterable[str]) -> set[str]:
    return {name for text in texts for name in re.findall(r"\w+", text)}


def each_thread(threads: str, lines: Iterable[str]) -> list[str]:
    """The body for each number `thread` below `threads`."""
    head = f"for (u64 thread = {FIRST_THREAD}; thread < {threads}; thread += {ALL_THREADS})"
    return block(head, lines)
