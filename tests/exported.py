"""Exported formats at work: C compiled by the system's compiler, SystemVerilog evaluated by slang."""

from __future__ import annotations

import ctypes
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from inputs import Words

from statqat_sim.export import to_c, to_systemverilog
from statqat_sim.export.functions import Function, functions, identifier
from statqat_sim.spec.number import NumberFormat

FLOATS = ("float32", "float16", "bfloat16", "float64")

FLAGS = ["-std=c99", "-O1", "-Wall", "-Wextra", "-Wpedantic", "-Wconversion", "-Wshadow", "-Werror"]
FLAGS += ["-ffast-math", "-fsanitize=undefined", "-fsanitize-undefined-trap-on-error"]
"""Strict about the text; careless about floats, which it does not use. (A linker that heard of `-ffast-math` would make
the whole process flush subnormal numbers.)"""


def unsigned(bits: int) -> Any:
    """The dtype of the unsigned integers that hold so many bits."""
    return np.dtype(f"u{next(width for width in (8, 16, 32, 64) if bits <= width) // 8}")


@dataclass(frozen=True)
class InC:
    """Functions of formats, compiled."""

    library: ctypes.CDLL

    @classmethod
    def compiled(cls, formats: Sequence[NumberFormat], folder: Path, floats: Sequence[str] = FLOATS) -> InC:
        source = ["#include <stddef.h>"]
        for format in formats:
            header = folder / f"{identifier(format.name)}.h"
            header.write_text(to_c(format, floats=floats), "utf-8")
            source.append(f'#include "{header.name}"')
            source += [_loop(format, function) for function in functions(format, floats)]
        (folder / "all.c").write_text("\n".join(source), "utf-8")
        made = folder / "all.so"
        subprocess.run(["gcc", *FLAGS, "-c", "-fPIC", "all.c"], cwd=folder, check=True)
        subprocess.run(["gcc", "-shared", "all.o", "-o", made.name], cwd=folder, check=True)
        return cls(ctypes.CDLL(str(made)))

    def run(self, format: NumberFormat, function: Function, *streams: Words) -> Words:
        arguments = [
            np.ascontiguousarray(stream, unsigned(argument.storage.bits))
            for stream, argument in zip(streams, function.arguments, strict=True)
        ]
        result = np.empty(len(streams[0]), unsigned(function.result_bits))
        pointers = [ctypes.c_void_p(array.ctypes.data) for array in (*arguments, result)]
        getattr(self.library, f"{identifier(format.name)}_{function.name}_all")(ctypes.c_size_t(len(result)), *pointers)
        return result


def _loop(format: NumberFormat, function: Function) -> str:
    name = f"{identifier(format.name)}_{function.name}"
    types = [f"uint{unsigned(argument.storage.bits).itemsize * 8}_t" for argument in function.arguments]
    pointers = ", ".join(f"const {type} *in{place}" for place, type in enumerate(types))
    values = ", ".join(f"in{place}[i]" for place in range(len(types)))
    result = f"uint{unsigned(function.result_bits).itemsize * 8}_t"
    return (
        f"void {name}_all(size_t count, {pointers}, {result} *out);\n"
        f"void {name}_all(size_t count, {pointers}, {result} *out)\n"
        f"{{ for (size_t i = 0; i < count; i++) out[i] = {name}_bits({values}); }}"
    )


@dataclass(frozen=True)
class InSystemVerilog:
    """A format's package, in an interpreter."""

    package: str
    session: Any

    @classmethod
    def read(cls, format: NumberFormat, floats: Sequence[str] = FLOATS) -> InSystemVerilog:
        from pyslang.ast import ScriptSession

        session = ScriptSession()
        session.eval(to_systemverilog(format, floats=floats))
        return cls(f"{identifier(format.name)}_pkg", session)

    def run(self, function: Function, *streams: Words) -> Words:
        widths = [argument.storage.bits for argument in function.arguments]
        results = []
        for words in zip(*(stream.tolist() for stream in streams), strict=True):
            values = ", ".join(f"{bits}'h{word:x}" for word, bits in zip(words, widths, strict=True))
            result = self.session.eval(f"{self.package}::{function.name}({values})").value
            assert not result.hasUnknown
            results.append(int(result))
        return np.array(results, unsigned(function.result_bits))
