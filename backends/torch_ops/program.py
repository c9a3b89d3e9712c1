"""Printed plans as functions of torch tensors, and the operations that the printed text calls by name."""

from __future__ import annotations

import linecache
import platform
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, Final, TypeAlias

import numpy as np
import torch
from torch import Tensor

from statqat_sim.backends.torch_ops.operations import QUIET, signed
from statqat_sim.backends.torch_ops.printer import NAME, printed
from statqat_sim.plan.layout import INFINITY, MADE_NAN, MAGNITUDE
from statqat_sim.plan.program import CodecPlan

Halves: TypeAlias = tuple[Tensor, Tensor | None]
"""The low words of a stream, and its high words or None."""

Run: TypeAlias = Callable[[tuple[Halves, ...], tuple[Tensor, ...], torch.device], tuple[Tensor, ...]]


def or_nan(result: Tensor, first: Tensor | int | None, second: Tensor | int | None) -> Tensor | int:
    """The bits of a float operation's result, with NaN as `layout.MADE_NAN` defines.

    Args:
        result: the processor's result; at most one operand is NaN, see `unless_nan`.
        first: bits of the first operand; None if it cannot be NaN.
        second: likewise of the second operand.
    """
    return result.view(torch.int32) if _keeps_rule(result) else quiet(result, first, second)


def unless_nan(second: Tensor, first: Tensor) -> Tensor:
    """The second operand, replaced by a number where the first is NaN, so that the result is the first's NaN.

    The number is not 1: a compiler replaces x * 1 by x, although the operation makes a signaling NaN quiet.
    """
    return torch.where(first == first, second, 2.0) if _keeps_rule(first) else second


def quiet(result: Tensor, first: Tensor | int | None, second: Tensor | int | None) -> Tensor:
    """Like `or_nan`, for processors that give other NaN, and for operations that a compiler may remove."""
    nan: Tensor | int = signed(MADE_NAN)
    for operand in (second, first):
        nan = nan if operand is None else _or_quiet(nan, operand)
    return torch.where(result == result, result.view(torch.int32), nan)


def _keeps_rule(operand: Tensor) -> bool:
    """Whether the processor itself gives NaN as `layout.MADE_NAN` defines."""
    return IS_X86 and operand.device.type == "cpu"


def _or_quiet(bits: Tensor | int, operand: Tensor | int) -> Tensor | int:
    """The operand, made quiet, where it is NaN, else `bits`."""
    if isinstance(operand, int):
        return operand | QUIET
    return torch.where((operand & MAGNITUDE) > INFINITY, operand | QUIET, bits)


def fixed(bits: int, device: torch.device) -> Tensor:
    """A constant as a float32 tensor of shape ()."""
    return word(bits, device).view(torch.float32)


def word(bits: int, device: torch.device) -> Tensor:
    """A constant as an int32 tensor of shape ()."""
    return torch.full((), bits, dtype=torch.int32, device=device)


def look_up(table: Tensor, index: Tensor) -> Tensor:
    """The words at these places, none of them negative: the compiler's code does not wrap them, as where it indexes."""
    return torch.nn.functional.embedding(index, table.unsqueeze(1)).squeeze(-1)


IS_X86: Final = platform.machine().lower() in ("x86_64", "amd64", "i686", "x86")

NAMES: Final = {
    "clamp_max": torch.clamp_max,
    "clamp_min": torch.clamp_min,
    "fixed": fixed,
    "float32": torch.float32,
    "int32": torch.int32,
    "int64": torch.int64,
    "left": torch.bitwise_left_shift,
    "look_up": look_up,
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
    """The printed function of a plan, compiled to Python bytecode."""
    text = printed(plan)
    place = f"<statqat_sim plan {abs(hash(text)):x}>"
    linecache.cache[place] = (len(text), None, text.splitlines(keepends=True), place)  # source lines for tracebacks
    names: dict[str, Any] = dict(NAMES)
    exec(compile(text, place, "exec"), names)
    run: Run = names[NAME]
    return run


class Program:
    """An executable plan: its function, and its tables, cached on each device that used them."""

    def __init__(self, plan: CodecPlan) -> None:
        self.plan = plan
        self.names = tuple(stream.name for stream in plan.shape.streams)
        self._run, self._tables = compiled(plan), _Tables(plan.tables)

    def __call__(self, streams: Mapping[str, Halves], device: torch.device) -> tuple[Tensor, ...]:
        """The outputs for streams that broadcast against each other; one that depends on no stream has shape ()."""
        return self._run(tuple(streams[name] for name in self.names), self._tables.on(device), device)


class _Tables:
    def __init__(self, tables: tuple[bytes, ...]) -> None:
        self._host = tuple(np.frombuffer(table, "<i4").astype(np.int32) for table in tables)
        self._on: dict[torch.device, tuple[Tensor, ...]] = {}

    def on(self, device: torch.device) -> tuple[Tensor, ...]:
        """The tables as int32 tensors on a device."""
        tables = self._on.get(device)
        if tables is None:
            tables = tuple(torch.from_numpy(table).to(device) for table in self._host)
            if all(type(table) is Tensor for table in tables):  # a tracer's tensors are invalid after tracing
                self._on[device] = tables
        return tables

    on._dynamo_marked_constant = True  # type: ignore[attr-defined]  # evaluated while it is traced
