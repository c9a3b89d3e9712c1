"""Printed plans as functions of torch tensors, with the few operations that their text calls by name."""

from __future__ import annotations

import linecache
import platform
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, Final, TypeAlias

import numpy as np
import torch
from torch import Tensor

from statqat_sim.backends.torch_ops.operations import MADE_NAN, QUIET, signed
from statqat_sim.backends.torch_ops.printer import NAME, printed
from statqat_sim.plan.layout import INFINITY, MAGNITUDE
from statqat_sim.plan.program import CodecPlan

Halves: TypeAlias = tuple[Tensor, Tensor | None]
"""The low words of a stream, and the high ones if it has any."""

Run: TypeAlias = Callable[[tuple[Halves, ...], tuple[Tensor, ...], torch.device], tuple[Tensor, ...]]


def or_nan(result: Tensor, first: Tensor | int | None, second: Tensor | int | None) -> Tensor | int:
    """The bits of a float operation's result; of NaN those that `operations.MADE_NAN` says.

    Args:
        result: as the processor gives it, where at most one operand is NaN, see `unless_nan`.
        first: an operand's bits; None if it is no NaN.
        second: likewise.
    """
    return result.view(torch.int32) if _keeps_rule(result) else quiet(result, first, second)


def unless_nan(second: Tensor, first: Tensor) -> Tensor:
    """An operand, or a number where the one before it is NaN, which then is the result.

    Not 1: a compiler takes x * 1 for x, though a NaN that signals becomes quiet.
    """
    return torch.where(first == first, second, 2.0) if _keeps_rule(first) else second


def quiet(result: Tensor, first: Tensor | int | None, second: Tensor | int | None) -> Tensor:
    """The same where the processor does not keep the rule, or where the operation may be left out."""
    nan: Tensor | int = signed(MADE_NAN)
    for operand in (second, first):
        nan = nan if operand is None else _or_quiet(nan, operand)
    return torch.where(result == result, result.view(torch.int32), nan)


def _keeps_rule(operand: Tensor) -> bool:
    """Whether the processor gives NaN as `operations.MADE_NAN` says."""
    return IS_X86 and operand.device.type == "cpu"


def _or_quiet(bits: Tensor | int, operand: Tensor | int) -> Tensor | int:
    """The operand, made quiet, where it is NaN."""
    if isinstance(operand, int):
        return operand | QUIET
    return torch.where((operand & MAGNITUDE) > INFINITY, operand | QUIET, bits)


def fixed(bits: int, device: torch.device) -> Tensor:
    """A constant as float32."""
    return word(bits, device).view(torch.float32)


def word(bits: int, device: torch.device) -> Tensor:
    """A constant as int32."""
    return torch.full((), bits, dtype=torch.int32, device=device)


IS_X86: Final = platform.machine().lower() in ("x86_64", "amd64", "i686", "x86")

NAMES: Final = {
    "clamp_max": torch.clamp_max,
    "clamp_min": torch.clamp_min,
    "fixed": fixed,
    "float32": torch.float32,
    "int32": torch.int32,
    "int64": torch.int64,
    "left": torch.bitwise_left_shift,
    "maximum": torch.maximum,
    "minimum": torch.minimum,
    "or_nan": or_nan,
    "quiet": quiet,
    "right": torch.bitwise_right_shift,
    "unless_nan": unless_nan,
    "where": torch.where,
    "word": word,
}


@lru_cache(maxsize=1024)
def compiled(plan: CodecPlan) -> Run:
    """The function that a plan is."""
    text = printed(plan)
    place = f"<statqat_sim plan {abs(hash(text)):x}>"
    linecache.cache[place] = (len(text), None, text.splitlines(keepends=True), place)  # for tracebacks
    names: dict[str, Any] = dict(NAMES)
    exec(compile(text, place, "exec"), names)
    run: Run = names[NAME]
    return run


class Program:
    """A plan that runs: its function, and its tables on the devices where they were needed."""

    def __init__(self, plan: CodecPlan) -> None:
        self.plan = plan
        self.names = tuple(stream.name for stream in plan.shape.streams)
        self._run, self._tables = compiled(plan), _Tables(plan.tables)

    def __call__(self, streams: Mapping[str, Halves], device: torch.device) -> tuple[Tensor, ...]:
        """The outputs for streams that broadcast against each other; what depends on none of them has no axis."""
        return self._run(tuple(streams[name] for name in self.names), self._tables.on(device), device)


class _Tables:
    def __init__(self, tables: tuple[bytes, ...]) -> None:
        self._host = tuple(np.frombuffer(table, "<i4").astype(np.int32) for table in tables)
        self._on: dict[torch.device, tuple[Tensor, ...]] = {}

    def on(self, device: torch.device) -> tuple[Tensor, ...]:
        """The tables as int32 on a device."""
        tables = self._on.get(device)
        if tables is None:
            tables = tuple(torch.from_numpy(table).to(device) for table in self._host)
            if all(type(table) is Tensor for table in tables):  # else a tracer's, that hold nothing once it has ended
                self._on[device] = tables
        return tables

    on._dynamo_marked_constant = True  # type: ignore[attr-defined]  # evaluated while it is traced
